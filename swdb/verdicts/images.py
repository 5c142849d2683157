"""Would the ranking of the trained networks hold on other images? A paired bootstrap over the images of the split.

Images are drawn with replacement, the same ones for every run, and each run's mIoU is computed anew from its counts: a
ratio of sums, so that what is drawn are the sums' parts. All runs and draws are one matrix product of whole numbers, which
is exact in float64: every machine gets the same.

in: counts of images by run -> out: mIoU (draws, runs) of resampled splits
"""

from collections.abc import Sequence

import numpy as np

DRAWS, SEED = 1000, 0


def parts(counts: np.ndarray) -> np.ndarray:
    """Return what IoUs are made of, image by image: (images, C, C) counts -> (images, 2, C) hits and unions."""
    counts = np.asarray(counts, np.float64)
    hits, ones = np.diagonal(counts, axis1=-2, axis2=-1), np.ones(counts.shape[-1])
    return np.stack([hits, counts @ ones + ones @ counts - hits], 1)


def miou_of(sums: np.ndarray) -> np.ndarray:
    """Return mIoU in % from sums of hits and unions (..., 2, C); classes that never appear are left out."""
    hits, unions = sums[..., 0, :], sums[..., 1, :]
    appears = unions > 0
    values = np.divide(hits, unions, out=np.zeros_like(hits), where=appears)
    return 100 * values.sum(-1) / np.maximum(appears.sum(-1), 1)


def draws(images: int, number: int = DRAWS) -> np.ndarray:
    """Return how often each image stands in each drawn split, (draws, images); numpy's legacy generator, which never changes."""
    chosen = np.random.RandomState(SEED).randint(0, images, size=(number, images))
    places = chosen + images * np.arange(number)[:, None]
    return np.bincount(places.ravel(), minlength=number * images).reshape(number, images).astype(np.float64)


def resampled(runs: Sequence[np.ndarray], number: int = DRAWS) -> np.ndarray:
    """Return the mIoU of every run on every drawn split, (draws, runs); `runs` hold `parts` of the same images in one order."""
    images = len(runs[0])
    weights = draws(images, number)
    columns = np.concatenate([run.reshape(images, -1) for run in runs], 1)
    return miou_of((weights @ columns).reshape(number, len(runs), *runs[0].shape[1:]))
