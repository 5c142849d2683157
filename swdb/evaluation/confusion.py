"""The metric: integer confusion counts, and the IoU that follows from them. Pure numpy.

mIoU here is the mean over all classes of sum(intersection) / sum(union), the sums taken over the whole split and
void pixels left out; a class with neither prediction nor truth has no IoU and is left out of the mean.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.errors import MissingArtefact
from swdb.core.files import BROKEN_NPZ, is_pipe

CLOSE = 1e-9  # points: sums of the last bits may differ between processors, and no digit that is shown does
PREDICTIONS, COUNTS = "predictions", "confusion.npz"  # what a score's folder holds beside its record


def read_counts(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of a score's images (N,) and what was counted of each, (N, C, C) int64; raises MissingArtefact."""
    try:
        if is_pipe(path):
            raise ValueError
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            ids, counts = stored["ids"], stored["counts"]
        square = counts.ndim == 3 and counts.shape[1] == counts.shape[2] and counts.dtype.kind in "iu"
        if not (square and ids.shape == counts.shape[:1] and len(ids) and counts.min() >= 0):
            raise ValueError
        return ids, counts.astype(np.int64)
    except FileNotFoundError:
        raise MissingArtefact(path, "missing", "counts of every image") from None
    except BROKEN_NPZ:
        raise MissingArtefact(path, "damaged", "counts of every image") from None


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


def known_mean(values: np.ndarray) -> float:
    """Return the mean of those that are numbers; NaN where none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def json_number(value: float) -> float | None:
    """Return what JSON can say of a mean: None where nothing was counted."""
    return None if math.isnan(value) else value


def same_score(then: Any, now: float | None) -> bool:
    """Whether what a record says of an IoU, a number or None, is what its counts come to."""
    if then is None or now is None:
        return then is now
    return isinstance(then, float | int) and abs(then) <= 100 + CLOSE and abs(then - now) <= CLOSE  # percent


def miou(counts: np.ndarray) -> float:
    """Return the mean IoU in % over all classes that appear."""
    return float(np.nanmean(iou(counts)))
