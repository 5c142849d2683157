"""Seed cues from our own classifier: class activation maps say where objects are, its gradients where nothing is.

SEC made its cues so (Kolesnikov and Lampert, ECCV 2016; akolesnikoff/SEC, weak-localization/*/localization.ipynb),
with a network for objects and one for background; here one classifier does both.

in: a trained classifier, pictures, tags -> out: cue maps (N, 41, 41) uint8, 255 where there is no cue
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from swdb.core.errors import SwdbError
from swdb.core.files import Progress, disk_error
from swdb.data.store import Store, gather
from swdb.data.voc import IGNORE
from swdb.nn.classifier import Classifier
from swdb.nn.compute import Machine
from swdb.nn.networks import Backbone, Preprocessing, bilinear
from swdb.nn.sampling import normalise, warp
from swdb.proxy.cue_file import read_cue_file, write_cue_file
from swdb.proxy.grid import GRID

BATCH = 32  # images at once: VGG16 at 401 pixels takes about 4 GB
PART = 256  # images between two savings
Background = Callable[[str, tuple[int, int]], np.ndarray]  # (id, (height, width)) -> (41, 41) bool


def cue_maps(
    classifier: Classifier,
    images: Tensor,
    sizes: Tensor,
    tags: np.ndarray,
    pixels: tuple[int, ...],
    threshold: float,
    background_share: float,
    look: Preprocessing,
    machine: Machine,
) -> np.ndarray:
    """Return the cues of a batch, (B, 41, 41) uint8: 0 background, 1..C-1 the tagged classes, 255 no cue.

    images (B, S, S, 3) uint8 RGB of `sizes` (B, 2) int64 inside the canvas, tags (B, C-1) bool. The classifier looks at
    each picture warped to squares of all `pixels`; at the middle one for its gradients. A foreground cue wins over one
    of background.
    """
    objects = object_cues(classifier, images, sizes, tags, pixels, threshold, look, machine)
    side = sorted(pixels)[len(pixels) // 2]
    background = quiet_cells(classifier, images, sizes, tags, side, background_share, look, machine)
    return _lay(objects, background)


def make_cues(
    folder: Path,
    classifier: Classifier,
    store: Store,
    tags: np.ndarray,
    settings: tuple[tuple[int, ...], float, float],
    look: Preprocessing,
    machine: Machine,
    progress: Progress,
    background: Background | None = None,
) -> np.ndarray:
    """Return the cues of a whole store, (N, 41, 41) uint8; tags (N, C-1) bool, settings (pixels, threshold, share).

    `background` takes the place of the rule of gradients. Every 256 images are kept in `folder/parts`, and a killed
    run goes on from there: the folder must belong to this classifier and these settings. A damaged part is made anew.
    """
    pixels, threshold, share = settings
    names = [str(label) for label in range(tags.shape[1] + 1)]
    store = store.to(machine.device)

    def cues_at(index: np.ndarray) -> np.ndarray:
        images, sizes = gather(store.images, index, machine.device), store.sizes[torch.from_numpy(index)]
        if background is None:
            return cue_maps(classifier, images, sizes, tags[index], pixels, threshold, share, look, machine)
        objects = object_cues(classifier, images, sizes, tags[index], pixels, threshold, look, machine)
        return _lay(objects, np.stack([background(store.ids[k], tuple(store.sizes[k].tolist())) for k in index]))

    parts = []
    for first in range(0, len(tags), PART):
        last = min(first + PART, len(tags))
        path, ids = folder / "parts" / f"{first:06d}.npz", store.ids[first:last]
        part = _finished(path, ids, names)
        if part is None:
            batches = []
            for start in range(first, last, BATCH):
                stop = min(start + BATCH, last)
                batches.append(cues_at(np.arange(start, stop)))
                progress(stop, len(tags))
            part = np.concatenate(batches)
            write_cue_file(path, ids, part, names)
        parts.append(part)
        progress(last, len(tags))
    return np.concatenate(parts)


def forget_parts(folder: Path) -> None:
    """Remove what `make_cues` kept for a run that is killed."""
    try:
        shutil.rmtree(folder / "parts")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise disk_error(error, folder / "parts") from error


def _finished(path: Path, ids: list[str], names: list[str]) -> np.ndarray | None:
    """Read a part again; None where it is not there, damaged, or of other images."""
    try:
        found, maps, classes = read_cue_file(path, "the same command again")
    except SwdbError:
        return None
    return maps if (found, classes) == (ids, names) else None


def _lay(objects: np.ndarray, background: np.ndarray) -> np.ndarray:
    return np.where((objects == IGNORE) & background, np.uint8(0), objects)


# ---------------------------------------------------------------- where objects are


@torch.no_grad()
def object_cues(
    classifier: Classifier,
    images: Tensor,
    sizes: Tensor,
    tags: np.ndarray,
    pixels: tuple[int, ...],
    threshold: float,
    look: Preprocessing,
    machine: Machine,
) -> np.ndarray:
    """Return cues of the tagged classes, (B, 41, 41) uint8 of 1..C-1 and 255: where a map exceeds its threshold (0..1).

    A map is positive evidence, averaged over all sizes and both mirrorings and divided by its maximum. SEC: one size.
    """
    straight = torch.zeros(len(images), dtype=torch.bool)
    seen = []
    for side in pixels:
        pictures = normalise(warp(images, sizes, straight, side), look)
        for mirrored in (False, True):
            with machine.autocast():
                maps = classifier(machine.pictures(pictures.flip(3) if mirrored else pictures))
            cells = to_cells(maps.relu(), classifier.backbone, side)
            seen.append(cells.flip(3) if mirrored else cells)
    total = sum(seen)
    evidence = total / total.amax((2, 3), keepdim=True).clamp(min=1e-6)
    return settle((evidence > threshold).cpu().numpy() & tags[:, :, None, None])


def settle(claims: np.ndarray) -> np.ndarray:
    """Give every cell to one of the classes that claim it, (B, C-1, h, w) bool -> (B, h, w) uint8 of 1..C-1 and 255.

    The class with fewer cells in the image wins, so that a small object before a large one stays; equal ones: the
    first. That SEC prefers the smaller object too is from memory, and how exactly is UNKNOWN: its notebooks do not say.
    """
    cells = claims.sum((2, 3), keepdims=True)
    winner = np.where(claims, cells, claims.shape[2] * claims.shape[3] + 1).argmin(1) + 1
    return np.where(claims.any(1), winner, IGNORE).astype(np.uint8)


def to_cells(maps: Tensor, backbone: Backbone, side: int) -> Tensor:
    """Bring feature maps (B, K, h, w) of pictures of `side` pixels to 41 x 41 cells, (B, K, 41, 41) float32, bilinearly.

    Cell i's centre lies at fraction i/40 of the picture, corner on corner; a feature's where the backbone has it.
    """
    pixels = torch.arange(GRID, device=maps.device) * ((side - 1) / (GRID - 1))
    rows, columns = (bilinear(size, backbone, pixels) for size in maps.shape[-2:])
    return rows @ maps.float() @ columns.T


# ---------------------------------------------------------------- where nothing is


def quiet_cells(
    classifier: Classifier,
    images: Tensor,
    sizes: Tensor,
    tags: np.ndarray,
    side: int,
    share: float,
    look: Preprocessing,
    machine: Machine,
) -> np.ndarray:
    """Return the share of cells that matters least for the tags, (B, 41, 41) bool: SEC's cues for background.

    What a cell matters: the largest absolute gradient of the tagged classes' summed logits at any channel of an inner
    layer, after a median of 3 x 3 cells. SEC's notebook sums all classes, whatever the tags; here that is so for an
    image without tags. Gradients are fp32, whatever the machine's precision. Of equal cells, upper and left ones first.
    """
    asked = np.where(tags.any(1, keepdims=True), tags, True)
    straight = torch.zeros(len(images), dtype=torch.bool)
    pictures = normalise(warp(images, sizes, straight, side), look)
    matters = to_cells(_gradient(classifier, pictures, torch.from_numpy(asked)), classifier.backbone, side)
    smooth = np.stack([cv2.medianBlur(one, 3) for one in matters[:, 0].cpu().numpy()]).reshape(len(images), -1)
    lowest = smooth.argsort(1, kind="stable")[:, : round(share * GRID**2)]
    quiet = np.zeros(smooth.shape, bool)
    np.put_along_axis(quiet, lowest, True, 1)
    return quiet.reshape(-1, GRID, GRID)


def _gradient(classifier: Classifier, pictures: Tensor, asked: Tensor) -> Tensor:
    """Return the largest absolute gradient of the asked logits (B, C-1) at any channel of the inner layer, (B, 1, h, w)."""
    layers, split = classifier.backbone.features, inner_layer(classifier.backbone.features)
    with torch.no_grad():
        inner = layers[:split](pictures)
    inner.requires_grad_()
    logits = classifier.scores(layers[split:](inner)).mean((2, 3))
    (gradient,) = torch.autograd.grad((logits * asked.to(logits.device)).sum(), inner)
    return (gradient * (inner > 0)).abs().amax(1, keepdim=True)  # at what goes into the ReLU, as in Caffe


def inner_layer(layers: nn.Sequential) -> int:
    """Return how many layers end with the first that has the final stride, its ReLU included: VGG16's conv4_1, SEC's choice.

    Its cells lie where those of the last layer lie.
    """
    moving = [k for k, layer in enumerate(layers) if np.max(getattr(layer, "stride", 1)) > 1]
    first = max(moving, default=-1) + 1
    followed = first + 1 < len(layers) and isinstance(layers[first + 1], nn.ReLU)
    return min(first + 1 + followed, len(layers))
