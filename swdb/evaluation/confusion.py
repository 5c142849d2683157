"""The metric: integer confusion counts, and the IoU that follows from them. Pure numpy.

mIoU here is the mean over all classes of sum(intersection) / sum(union), the sums taken over the whole split and
void pixels left out; a class with neither prediction nor truth has no IoU and is left out of the mean.
"""

from collections.abc import Iterable

import numpy as np

PREDICTIONS, COUNTS = "predictions", "confusion.npz"  # what a score's folder holds beside its record


def confusion(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Count pixels by (true class, predicted class), (C, C) int64; void pixels of the truth do not count."""
    rows = truth.astype(np.uint16) * np.uint16(num_classes)  # of void: behind all others
    pairs = np.bincount((rows + prediction).ravel(), minlength=num_classes**2)[: num_classes**2]
    return pairs.reshape(num_classes, num_classes)


def iou(counts: np.ndarray) -> np.ndarray:
    """Return the IoU of every class in % from counts (..., C, C), (..., C) float64; NaN for a class that never appears."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    union = counts.sum(-1) + counts.sum(-2) - hits
    return 100 * np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def iou_by_name(counts: np.ndarray, names: Iterable[str]) -> dict[str, float | None]:
    """Return the IoU in % of every class by its name, from counts (C, C); None for a class that never appears."""
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, iou(counts), strict=True)}


def miou(counts: np.ndarray) -> float:
    """Return the mean IoU in % over all classes that appear."""
    return float(np.nanmean(iou(counts)))
