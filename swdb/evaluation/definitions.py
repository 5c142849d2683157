"""What is called mIoU: the definitions in use, on the counts of one and the same predictions. Pure numpy.

Ours is the first. The others are there to tell how far a printed number may lie from ours for no other reason; some are
known errors, and none of them is used for a table.

in: counts by image (N, C, C), predictions on void pixels by image (N, C) -> out: a score in % for each definition
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swdb.evaluation.confusion import iou, known_mean, miou

BACKGROUND = 0  # the class
BATCH = 16  # images, the paper's batch in training: it names none for validation


@dataclass(frozen=True)
class Definition:
    """One meaning of mIoU."""

    key: str
    words: str
    where: str  # who counts like that
    score: Callable[[np.ndarray, np.ndarray], float]  # of counts (N, C, C) and predictions on void pixels (N, C)


def _pooled(counts: np.ndarray, void: np.ndarray) -> float:
    return miou(counts.sum(0))


def _hit(counts: np.ndarray, void: np.ndarray) -> float:
    total = counts.sum(0)
    return known_mean(iou(total)[total.diagonal() > 0])


def _absent_as_0(counts: np.ndarray, void: np.ndarray) -> float:
    return float(np.nan_to_num(iou(counts.sum(0))).mean())


def _true(counts: np.ndarray, void: np.ndarray) -> float:
    total = counts.sum(0)
    return known_mean(iou(total)[total.sum(1) > 0])


def _foreground(counts: np.ndarray, void: np.ndarray) -> float:
    return known_mean(np.delete(iou(counts.sum(0)), BACKGROUND))


def _float_sums(counts: np.ndarray, void: np.ndarray) -> float:
    """Add up intersections and unions in float32, image after image, as they come from torch.histc."""
    hits = np.diagonal(counts, axis1=1, axis2=2)
    union = counts.sum(1) + counts.sum(2) - hits
    inside, whole = (np.add.accumulate(one.astype(np.float32), 0, np.float32)[-1] for one in (hits, union))
    return known_mean(100 * np.divide(inside, whole, out=np.full(len(whole), np.nan, np.float32), where=whole > 0))


def _of_images(counts: np.ndarray, void: np.ndarray) -> float:
    return known_mean(np.array([known_mean(one) for one in iou(counts)]))


def _of_pairs(counts: np.ndarray, void: np.ndarray) -> float:
    return known_mean(iou(counts).ravel())


def _of_images_absent_as_1(counts: np.ndarray, void: np.ndarray) -> float:
    return float(np.nan_to_num(iou(counts), nan=100.0).mean())


def _of_batches(counts: np.ndarray, void: np.ndarray) -> float:
    starts = range(0, len(counts), BATCH)
    return known_mean(np.array([known_mean(iou(counts[start : start + BATCH].sum(0))) for start in starts]))


def _void_as_background(counts: np.ndarray, void: np.ndarray) -> float:
    total = counts.sum(0)
    total[BACKGROUND] += void.sum(0)
    return miou(total)


def _void_as_errors(counts: np.ndarray, void: np.ndarray) -> float:
    """Let what is predicted on void pixels be wrong whatever it is: it widens a class's union and never its hits."""
    total = counts.sum(0)
    hits = total.diagonal().astype(np.float64)
    union = total.sum(0) + total.sum(1) - hits + void.sum(0)
    return known_mean(100 * np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0))


DEFINITIONS = (
    Definition(
        "pooled",
        "ours: sums over the split, mean over the classes that appear, void left out",
        "CPS, mmsegmentation: numpy's nanmean over classes",
        _pooled,
    ),
    Definition(
        "hit",
        "classes without a right pixel are dropped",
        "DSRG's training/tools/evaluate.py, AdvSemiSeg's utils/metric.py",
        _hit,
    ),
    Definition("absent-0", "classes that never appear count 0", "UniMatch: 1e-10 in the denominator", _absent_as_0),
    Definition("true", "only classes that the truth has", "deeplab-pytorch, libs/utils/metric.py", _true),
    Definition(
        "foreground",
        "the background is left out",
        "an option of torchmetrics' MeanIoU (include_background)",
        _foreground,
    ),
    Definition("float32", "the sums are of float32", "CCT and mmsegmentation: torch.histc", _float_sums),
    Definition(
        "images",
        "mean over images of the mIoU of one image",
        "mIoU-I of Wang et al., Revisiting Evaluation Metrics for Semantic Segmentation, NeurIPS 2023",
        _of_images,
    ),
    Definition("pairs", "mean over all pairs of an image and a class in it", "torchmetrics' MeanIoU, 1.9", _of_pairs),
    Definition(
        "images-absent-1",
        "mean over images and all classes, absent ones count 100",
        "segmentation_models.pytorch: macro-imagewise, zero_division 1",
        _of_images_absent_as_1,
    ),
    Definition(
        "batches",
        f"mean over batches of {BATCH} images (a known error)",
        "whoever averages a batch's metric: segmentation_models.pytorch, issues 207 and 226",
        _of_batches,
    ),
    Definition(
        "void-background",
        "void pixels count as background",
        "the CENG501 reproduction of this paper: 255 became class 0",
        _void_as_background,
    ),
    Definition(
        "void-errors", "void pixels count as errors", "nowhere known: the worst that void can do", _void_as_errors
    ),
)
