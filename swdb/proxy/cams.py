"""Seed cues from our own classifier: class activation maps say where objects are, its gradients where nothing is.

SEC made its cues so (Kolesnikov and Lampert, ECCV 2016; akolesnikoff/SEC, weak-localization/*/localization.ipynb),
with a network for objects and one for background; here one classifier does both.

in: a trained classifier, images, tags -> out: cue maps (N, 41, 41) uint8, 255 where there is no cue
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from swdb.core.errors import SwdbError
from swdb.core.progress import Advance
from swdb.core.shares import Add, Terms, do_free_parts, open_folder, replacing_in, shared_parts
from swdb.data.resident import sent
from swdb.data.store import Store, gather
from swdb.data.voc import IGNORE
from swdb.nn.classifier import Classifier
from swdb.nn.efficientnet import InvertedResidual
from swdb.nn.labelling import Fitting
from swdb.nn.model import Model
from swdb.nn.networks import Backbone, bilinear
from swdb.nn.sampling import warp_to_square
from swdb.proxy.cue_file import cue_file, read_cue_file
from swdb.proxy.grid import GRID

BATCH = 32  # images at once: VGG16 at 401 pixels takes about 4 GB
PART = 256  # images between two savings
Background = Callable[[str, tuple[int, int]], np.ndarray]  # (id, (height, width)) -> (41, 41) bool


@dataclass(frozen=True)
class CamSettings:
    """How cues are read off a classifier's maps."""

    sizes: tuple[int, ...]  # pixels; the classifier looks at each image warped to squares of all of them
    threshold: float  # share of a map's maximum
    background_share: float  # of the grid

    @property
    def middle_size(self) -> int:
        """The size at which gradients are taken."""
        return sorted(self.sizes)[len(self.sizes) // 2]


def cue_maps(model: Model, images: Tensor, sizes: Tensor, tags: np.ndarray, settings: CamSettings) -> np.ndarray:
    """Return the cues of a batch, (B, 41, 41) uint8: 0 background, 1..C-1 the tagged classes, 255 no cue.

    images (B, S, S, 3) uint8 RGB of `sizes` (B, 2) int64 inside the canvas, tags (B, C-1) bool. A foreground cue wins
    over one of background.
    """
    objects = object_cues(model, images, sizes, tags, settings)
    return merge(objects, background_points(model, images, sizes, tags, settings))


@dataclass(frozen=True)
class CueMaking:
    """The cues of a whole store, in parts of 256 images that are files in `folder`, so that a killed run can go on.

    The folder must belong to this classifier and these settings. A part that is damaged is made again.
    """

    folder: Path
    store: Store
    tags: np.ndarray  # (N, C-1) bool
    settings: CamSettings
    load: Callable[[], Model]  # the classifier, when it is asked for
    fit: Fitting
    background: Background | None = None  # in the place of the rule of gradients

    def all_parts(self, leases: Path, terms: Terms, advance: Advance) -> np.ndarray:
        """Make the parts that are missing, together with others who compute on the same terms; returns all cues (N, 41, 41).

        For whoever holds the lease on the folder. leases: where those of the parts lie (`shares.parts_folder`).
        """
        open_folder(self.folder)
        parts, total, told = self._parts(), len(self.tags), 0
        add = replacing_in(self.folder)
        with shared_parts(leases, terms, parts, self._is_done, "making cues") as taken:
            for part in taken:
                others = sum(len(one) for one in parts if one != part and self._path(one).is_file())
                for done in self._make(part, add):
                    told = max(told, others + done)
                    advance(told, total)
        if told < total:
            advance(total, total)
        return np.concatenate([self._read(part) for part in parts])

    def free_parts(self, leases: Path) -> None:
        """Make the parts that nobody is at, for a process that holds no lease on the folder; adds what is missing."""
        do_free_parts(leases, self.folder, self._parts(), self._is_done, self._make, "helping to make cues")

    def _parts(self) -> list[range]:
        count = len(self.tags)
        return [range(first, min(first + PART, count)) for first in range(0, count, PART)]

    def _make(self, part: range, add: Add) -> Iterator[int]:
        """Make the cues of a part; yields how many of its images are done."""
        batches, size = [], tuple(self.store.images.shape[1:3])
        for start in part[::BATCH]:
            rows = np.arange(start, min(start + BATCH, part.stop))
            batches += self.fit(lambda piece, rows=rows: list(self._cues(rows[piece])), len(rows), size)
            yield len(batches)
        path = self._path(part)
        add(path.name, cue_file(self.store.ids[part.start : part.stop], np.stack(batches), self._names))

    def _cues(self, index: np.ndarray) -> np.ndarray:
        """Return the cues of some rows, (B, 41, 41) uint8."""
        model, tags = self.load(), self.tags[index]
        images = gather(self.store.images, index, model.compute.device)
        sizes = self.store.sizes[torch.from_numpy(index)]
        if self.background is None:
            return cue_maps(model, images, sizes, tags, self.settings)
        objects = object_cues(model, images, sizes, tags, self.settings)
        given = [self.background(self.store.ids[k], tuple(self.store.sizes[k].tolist())) for k in index]
        return merge(objects, np.stack(given))

    def _path(self, part: range) -> Path:
        return self.folder / f"{part.start:06d}.npz"

    def _is_done(self, part: range) -> bool:
        return self._read(part) is not None

    def _read(self, part: range) -> np.ndarray | None:
        return _finished(self._path(part), self.store.ids[part.start : part.stop], self._names)

    @property
    def _names(self) -> list[str]:
        return [str(label) for label in range(self.tags.shape[1] + 1)]


def _finished(path: Path, ids: list[str], names: list[str]) -> np.ndarray | None:
    """Read a part again; None where it is not there, damaged, or of other images."""
    try:
        found, maps, classes = read_cue_file(path)
    except SwdbError:
        return None
    return maps if (found, classes) == (ids, names) else None


def merge(objects: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Put background cues (bool) where there are no object cues (uint8, 255: none); same shape, uint8."""
    return np.where((objects == IGNORE) & background, np.uint8(0), objects)


# ---------------------------------------------------------------- where objects are


@torch.no_grad()
def object_cues(model: Model, images: Tensor, sizes: Tensor, tags: np.ndarray, settings: CamSettings) -> np.ndarray:
    """Return cues of the tagged classes, (B, 41, 41) uint8 of 1..C-1 and 255: where a map exceeds its threshold (0..1).

    A map is positive evidence, averaged over all sizes and both mirrorings and divided by its maximum. SEC: one size.
    """
    classifier: Classifier = model.network
    straight = torch.zeros(len(images), dtype=torch.bool)
    seen = []
    for side in settings.sizes:
        inputs = model.normalise(warp_to_square(images, sizes, straight, side))
        for mirrored in (False, True):
            maps = model(inputs.flip(3) if mirrored else inputs)
            points = to_grid(maps.relu(), classifier.backbone, side)
            seen.append(points.flip(3) if mirrored else points)
    total = sum(seen)
    evidence = total / total.amax((2, 3), keepdim=True).clamp(min=1e-6)
    return resolve_overlaps((evidence > settings.threshold).cpu().numpy() & tags[:, :, None, None])


def resolve_overlaps(claims: np.ndarray) -> np.ndarray:
    """Give every point to one of the classes that claim it, (B, C-1, h, w) bool -> (B, h, w) uint8 of 1..C-1 and 255.

    The class with fewer points in the image wins, so that a small object before a large one stays; equal ones: the
    first. That SEC prefers the smaller object too is from memory, and how exactly is UNKNOWN: its notebooks do not say.
    """
    points = claims.sum((2, 3), keepdims=True)
    winner = np.where(claims, points, claims.shape[2] * claims.shape[3] + 1).argmin(1) + 1
    return np.where(claims.any(1), winner, IGNORE).astype(np.uint8)


def to_grid(maps: Tensor, backbone: Backbone, side: int) -> Tensor:
    """Bring feature maps (B, K, h, w) of images of `side` pixels to the 41 x 41 grid, (B, K, 41, 41) float32, bilinearly.

    Point i lies at fraction i/40 of the image, corner on corner; a feature's centre where the backbone has it.
    """
    pixels = torch.arange(GRID, device=maps.device) * ((side - 1) / (GRID - 1))
    rows, columns = (bilinear(size, backbone, pixels) for size in maps.shape[-2:])
    return rows @ maps.float() @ columns.T


# ---------------------------------------------------------------- where nothing is


def background_points(
    model: Model, images: Tensor, sizes: Tensor, tags: np.ndarray, settings: CamSettings
) -> np.ndarray:
    """Return the share of points that matters least for the tags, (B, 41, 41) bool: SEC's cues for background.

    What a point matters: the largest absolute gradient of the tagged classes' summed logits at any channel of an inner
    layer, after a median of 3 x 3 points. SEC's notebook sums all classes, whatever the tags; here that is so for an
    image without tags. Gradients are fp32, whatever the precision. Of equal points, upper and left ones first.
    """
    classifier: Classifier = model.network
    asked = np.where(tags.any(1, keepdims=True), tags, True)
    straight, side = torch.zeros(len(images), dtype=torch.bool), settings.middle_size
    inputs = model.normalise(warp_to_square(images, sizes, straight, side))
    matters = to_grid(
        _gradient(classifier, inputs, sent(torch.from_numpy(asked), inputs.device)), classifier.backbone, side
    )
    smooth = np.stack([cv2.medianBlur(one, 3) for one in matters[:, 0].cpu().numpy()]).reshape(len(images), -1)
    lowest = smooth.argsort(1, kind="stable")[:, : round(settings.background_share * GRID**2)]
    chosen = np.zeros(smooth.shape, bool)
    np.put_along_axis(chosen, lowest, True, 1)
    return chosen.reshape(-1, GRID, GRID)


def _gradient(classifier: Classifier, inputs: Tensor, asked: Tensor) -> Tensor:
    """Return the largest absolute gradient of the asked logits (B, C-1) at any channel of the inner layer, (B, 1, h, w)."""
    layers, split = classifier.backbone.features, inner_layer(classifier.backbone.features)
    with torch.no_grad():
        inner = layers[:split](inputs)
    inner.requires_grad_()
    logits = classifier.scores(layers[split:](inner)).mean((2, 3))
    (gradient,) = torch.autograd.grad((logits * asked).sum(), inner)
    if not isinstance(layers[split - 1], InvertedResidual):  # whose features are linear
        gradient = gradient * (inner > 0)  # at what goes into the ReLU, as in Caffe
    return gradient.abs().amax(1, keepdim=True)


def inner_layer(layers: nn.Sequential) -> int:
    """Return how many layers end with the first that has the final stride, its ReLU included: VGG16's conv4_1, SEC's choice.

    Its features lie where those of the last layer lie.
    """
    moving = [k for k, layer in enumerate(layers) if np.max(getattr(layer, "stride", 1)) > 1]
    first = max(moving, default=-1) + 1
    followed = first + 1 < len(layers) and isinstance(layers[first + 1], nn.ReLU)
    return min(first + 1 + followed, len(layers))
