"""The grid that seed cues lie on: 41 x 41 points on every image, laid out, restricted to tags, compared with true masks.

in: points (3, K), true masks (H, W) -> out: cue maps (41, 41) uint8, their quality
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from swdb.data.voc import IGNORE

GRID = 41  # points a side: the networks see an image of 321 = 8 * 40 + 1 pixels, point i at pixel 8 * i


def grid_points(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return an index for the pixels at all points, (41, 41), in an image of (height, width)."""
    rows, columns = (np.rint(np.arange(GRID) * (size - 1) / (GRID - 1)).astype(int) for size in shape)
    return rows[:, None], columns[None]


def cue_map(points: np.ndarray, mapping: np.ndarray | None = None) -> np.ndarray:
    """Lay points (3, K) on the grid, (41, 41) uint8; 255 where there is no cue.

    `mapping` (256,) uint8 says what becomes of each class id where a data set has fewer classes; 255 drops it.
    """
    grid = np.full((GRID, GRID), IGNORE, np.uint8)
    classes, rows, columns = points
    grid[rows, columns] = classes if mapping is None else mapping[classes]
    return grid


def restrict(cue_map: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Drop the cues of all classes that the tags (C-1,) bool do not name; background stays. Same shape, uint8."""
    named = np.zeros(256, bool)
    named[0] = True
    named[1 : len(tags) + 1] = tags
    return np.where(named[cue_map], cue_map, np.uint8(IGNORE))


def cue_quality(pairs: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int) -> dict[str, Any]:
    """Compare cue maps (41, 41) with true masks (H, W): percentages, ready for JSON, null where there is no such point.

    A point's truth is the mask at its pixel; where that is void, the point counts for coverage alone.
    precision: of the cues, how many are right, over all and by class 0..C-1
    coverage: of all points, how many have a cue, any, an object's, background's
    class_coverage: of the points that truly are of a class 0..C-1, how many have its cue
    """
    images = bare = 0
    seeded = np.zeros(num_classes + 1, np.int64)  # by cue; the last entry is without
    counts = np.zeros((num_classes, num_classes + 1), np.int64)  # by truth and cue, so too
    for cues, mask in pairs:
        truth, found = mask[grid_points(mask.shape)], np.where(cues == IGNORE, num_classes, cues)
        valid = truth != IGNORE
        np.add.at(counts, (truth[valid], found[valid]), 1)
        np.add.at(seeded, found, 1)
        images, bare = images + 1, bare + bool((cues == IGNORE).all())
    right, cued, true, points = np.diagonal(counts), counts[:, :-1].sum(0), counts.sum(1), seeded.sum()
    return {
        "images": images,
        "images_without_cue": _percent(bare, images),
        "precision": {"all": _percent(right.sum(), cued.sum()), "by_class": [*map(_percent, right, cued)]},
        "coverage": {
            "all": _percent(seeded[:-1].sum(), points),
            "foreground": _percent(seeded[1:-1].sum(), points),
            "background": _percent(seeded[0], points),
        },
        "class_coverage": [*map(_percent, right, true)],
    }


def _percent(part: int, whole: int) -> float | None:
    return 100 * int(part) / int(whole) if whole else None
