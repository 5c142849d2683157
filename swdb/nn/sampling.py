"""Which image, where, how large, mirrored or not: drawn from counters, so nothing has to be remembered.

A draw depends on (seed, purpose, step) alone, by Philox; a killed run goes on with the very samples it
would have seen. The crops are then taken on the device in one gather for the whole batch.

in: seed, step, a label set -> out: inputs (B, 3, crop, crop) float, labels (B, crop, crop) int64 with 255
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.data.resident import sent
from swdb.nn.networks import Preprocessing

# Purposes keep the streams of one seed apart. Never renumber: the numbers are part of every run's identity.
ORDER, CROPS, DROPOUT, STRONG_SUBSET, INITIAL, WINDOWS = range(6)

SEEDS_AT_ONCE = 64  # steps whose seeds are drawn together: a single draw, out of a cold cache, takes ten times as long


def rng_for(seed: int, purpose: int, *place: int) -> np.random.Generator:
    """Return the generator that belongs to (seed, purpose, place); the same numbers, the same draws."""
    counter = [0, purpose, *place, *[0] * (2 - len(place))]
    return np.random.Generator(np.random.Philox(key=seed, counter=counter))


def dropout_seed(seed: int, step: int) -> int:
    """Return what a device's generator is seeded with at a step."""
    return _dropout_seeds(seed, step // SEEDS_AT_ONCE)[step % SEEDS_AT_ONCE]


@lru_cache(maxsize=8)
def _dropout_seeds(seed: int, block: int) -> list[int]:
    steps = range(block * SEEDS_AT_ONCE, (block + 1) * SEEDS_AT_ONCE)
    return [int(rng_for(seed, DROPOUT, step).integers(2**62)) for step in steps]


@dataclass(frozen=True)
class LabelSet:
    """What a branch learns from: rows of the store, and for each whether its label is the proxy mask."""

    index: np.ndarray  # (K,) int64
    is_proxy: np.ndarray  # (K,) bool


@lru_cache(maxsize=8)
def _permutation(seed: int, branch: int, epoch: int, size: int) -> np.ndarray:
    return rng_for(seed, ORDER, branch, epoch).permutation(size)


def sample_indices(size: int, seed: int, branch: int, step: int, count: int) -> np.ndarray:
    """Return `count` indices into a set of `size`: permutation after permutation, read on from step to step."""
    first, last = step * count, (step + 1) * count
    epochs = range(first // size, (last - 1) // size + 1)
    order = np.concatenate([_permutation(seed, branch, epoch, size) for epoch in epochs])
    return order[first - epochs[0] * size : last - epochs[0] * size]


@dataclass(frozen=True)
class Crops:
    """Where crops of a batch lie.

    scale: (B,), or (B, 2) as y, x where the aspect is not kept; offset: of the crop in the scaled image, (B, 2) as y, x;
    flip: (B,).
    """

    scale: Tensor
    offset: Tensor
    flip: Tensor


def sample_crops(seed: int, step: int, sizes: Tensor, crop: int, scale_min: float, scale_max: float) -> Crops:
    """Draw scales (uniform in the logarithm), crop positions and mirrors for images of `sizes` (B, 2).

    Where the scaled image is smaller than the crop it lies at a random place inside it.
    """
    batch = len(sizes)
    draws = torch.from_numpy(rng_for(seed, CROPS, step).random((batch, 4)))
    scale = scale_min * (scale_max / scale_min) ** draws[:, 0]
    room = sizes * scale[:, None] - crop
    offset = draws[:, 1:3] * room
    return Crops(scale.float(), offset.float(), draws[:, 3] < 0.5)


def drawn_crops(crops: Crops, sizes: Tensor) -> dict[str, Tensor]:
    """Name what `crop_drawn` needs to know of a batch."""
    return {"sizes": sizes, "scale": crops.scale, "offset": crops.offset, "flip": crops.flip}


def crop_drawn(
    images: Tensor, labels: Tensor | None, drawn: dict[str, Tensor], crop: int, preprocessing: Preprocessing
) -> tuple[Tensor, Tensor | None]:
    """Take a batch of crops where `drawn` says; see `crop_batch`."""
    crops = Crops(drawn["scale"], drawn["offset"], drawn["flip"])
    return crop_batch(images, labels, drawn["sizes"], crops, crop, preprocessing)


def crop_batch(
    images: Tensor, labels: Tensor | None, sizes: Tensor, at: Crops, crop: int, preprocessing: Preprocessing
) -> tuple[Tensor, Tensor | None]:
    """Take a batch of crops: bilinear inputs, nearest labels (if any); outside lies the mean colour and 255.

    images (B, S, S, 3) uint8 RGB, labels (B, S, S) uint8 -> (B, 3, crop, crop) float, (B, crop, crop) int64; all on one device
    """
    device, canvas = images.device, images.shape[1]
    scale, offset, flip = at.scale.view(len(images), -1).expand(-1, 2), at.offset, at.flip
    pixel = torch.arange(crop, device=device) + 0.5
    # (B, crop) in pixels of the image
    ys, xs = ((pixel + offset[:, k, None]) / scale[:, k, None] - 0.5 for k in (0, 1))
    height, width = sizes[:, :1], sizes[:, 1:]
    xs = torch.where(flip[:, None], width - 1 - xs, xs)
    down, across = (ys > -0.5) & (ys < height - 0.5), (xs > -0.5) & (xs < width - 0.5)
    # 1 or 0, for a CPU takes three times as long to pair bools
    inside = down.view(torch.uint8)[:, :, None] * across.view(torch.uint8)[:, None, :]
    ys, xs = torch.minimum(ys.clamp(min=0), height - 1.0), torch.minimum(xs.clamp(min=0), width - 1.0)

    grid = _every_pair((2 * xs + 1) / canvas - 1, (2 * ys + 1) / canvas - 1)
    raw = F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, align_corners=False)
    inputs = normalise(raw, preprocessing) * inside[:, None]
    if labels is None:
        return inputs, None
    places = (ys.round() * canvas)[:, :, None] + xs.round()[:, None, :]  # in an image's pixels, one row after the other
    nearest = labels.flatten(1).gather(1, places.long().flatten(1)).view(inside.shape)
    return inputs, (nearest | (inside - 1)).long()  # outside lies 0 - 1, which is IGNORE


def _every_pair(xs: Tensor, ys: Tensor) -> Tensor:
    """Pair each x (B, W) with each y (B, H): (B, H, W, 2), written in one pass, x + 0 beside 0 + y."""
    is_x, is_y = _x_and_y(xs.shape[1], xs.device)
    beside = (xs[..., None] * is_x).flatten(1)[:, None]  # x, 0, x, 0, ...
    return torch.addcmul(beside, ys[:, :, None], is_y).view(*ys.shape, -1, 2)


@lru_cache(maxsize=8)
def _x_and_y(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return 1, 0 and 0, 1, 0, 1, ..., (2,) and (2 * width,) float."""
    both = torch.eye(2, device=device)
    return both[0], both[1].repeat(width)


def warp_to_square(images: Tensor, sizes: Tensor, flip: Tensor, size: int) -> Tensor:
    """Warp whole images to squares without keeping their aspect, as DSRG does, corner pixel on corner pixel; mirror some.

    images (B, S, S, 3) uint8 RGB of `sizes` (B, 2) int64 inside the canvas, flip (B,) bool -> (B, 3, size, size) float of 0..255
    """
    device, canvas = images.device, images.shape[1:3]
    sizes, flip = sent(sizes, device), sent(flip, device)
    fraction = torch.linspace(0, 1, size, device=device)
    ys, xs = (fraction * (sizes[:, k, None] - 1) for k in (0, 1))  # (B, size) in pixels of the image
    xs = torch.where(flip[:, None], xs.flip(1), xs)
    grid = _every_pair((2 * xs + 1) / canvas[1] - 1, (2 * ys + 1) / canvas[0] - 1)
    return F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, align_corners=False)


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Turn RGB of 0..255, (B, 3, H, W) float, into what the initial weights expect; 0 is the mean colour."""
    if preprocessing.order == "BGR":
        images = images.flip(1)
    mean, std = _mean_and_std(preprocessing, images.device)
    return (images - mean) / std


@lru_cache(maxsize=8)
def _mean_and_std(preprocessing: Preprocessing, device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (
        sent(torch.tensor(values), device)[:, None, None] for values in (preprocessing.mean, preprocessing.std)
    )
    return mean, std


def to_inputs(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Turn whole images, (B, H, W, 3) uint8 RGB, into (B, 3, H, W) float as the initial weights expect."""
    return normalise(images.permute(0, 3, 1, 2).float(), preprocessing)


def strong_subset(tags: np.ndarray, per_class: int, seed: int, counting: str = "images") -> np.ndarray:
    """Draw `per_class` images for every class, nested in `per_class`; returns sorted rows of `tags` (N, C-1) bool.

    Classes take turns, each drawing its next image among those not yet drawn, in an order that only the seed
    decides; so 5 a class lie in 10 a class, in 25 a class. A class without images left draws no more. Where `counting` is
    occurrences, a class passes its turn if the images that others drew show it often enough: each then occurs in
    `per_class` images or more, and fewer are drawn in all.
    """
    generator = rng_for(seed, STRONG_SUBSET)
    queues = [[k for k in generator.permutation(len(tags)) if tags[k, c]] for c in range(tags.shape[1])]
    drawn: list[int] = []
    taken: set[int] = set()
    for turn in range(per_class):
        for column, queue in enumerate(queues):
            if counting == "occurrences" and tags[drawn, column].sum() > turn:
                continue
            image = next((k for k in queue if k not in taken), None)
            if image is not None:
                taken.add(image)
                drawn.append(int(image))
    return np.array(sorted(drawn), np.int64)
