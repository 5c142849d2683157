"""How fast a batch's seeds grow, beside loops over pixels in Python. `python bench/growing.py`.

All ways grow the same synthetic batch, take turns, and must agree; medians of three. The loops find the regions of each
image and class in two passes with a table of equal labels: once point by point over numpy's arrays, in the order that
DSRG's own code has, and once as lean as Python can, over lists.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

from swdb.core.processor import usable_cores
from swdb.proxy.region_growing import grow

ROUNDS = 3
SIDE, CLASSES = 41, 21
FOREGROUND, BACKGROUND = 0.85, 0.99
THREADS = (1, 2)

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # probabilities, seeds, tags


def draw(count: int) -> Batch:
    """Draw probabilities in blobs with ragged edges, one to three tags an image, and a quarter of all points seeded."""
    rng = np.random.default_rng(0)
    tags = np.zeros((count, CLASSES), bool)
    scores = np.zeros((count, CLASSES, SIDE, SIDE), np.float32)
    for image in range(count):
        tags[image, 0] = tags[image, rng.choice(np.arange(1, CLASSES), rng.integers(1, 4), replace=False)] = True
        for label in np.flatnonzero(tags[image]):
            coarse, fine = (cv2.resize(rng.normal(size=(n, n)), (SIDE, SIDE)) for n in (6, 30))
            scores[image, label] = 8 * coarse + 3 * fine
    scores[~tags] = -30
    probabilities = np.exp(scores - scores.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    seeded = rng.random((count, 1, SIDE, SIDE)) < 0.25
    return probabilities, (np.arange(CLASSES)[:, None, None] == probabilities.argmax(1)[:, None]) & seeded, tags


# ---------------------------------------------------------------- three ways


def over_arrays(probabilities: np.ndarray, seeds: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Grow the seeds of one image in DSRG's order: mark, divide into regions, choose, add; every step point by point."""
    result, regions, among = seeds.copy(), seeded_regions(seeds), np.flatnonzero(tags)
    for (y, x), value in np.ndenumerate(probabilities[among].max(0)):
        label = among[probabilities[among, y, x].argmax()]
        if value > (FOREGROUND if label else BACKGROUND):
            regions[y, x] = label
    for label in among:
        inside, chosen = regions == label, set()
        numbers = two_passes(inside)
        for (y, x), here in np.ndenumerate(inside):
            if here and seeds[label, y, x]:
                chosen.add(numbers[y][x])
            elif here and seeds[:, y, x].sum() == 1:
                numbers[y][x] = -1
        for (y, x), number in np.ndenumerate(np.array(numbers)):
            if number in chosen:
                result[label, y, x] = True
    return result


def over_lists(probabilities: np.ndarray, seeds: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Grow the seeds of one image: which class a point has is for numpy to say, and the loops run over lists."""
    result, regions, among = seeds.copy(), seeded_regions(seeds), np.flatnonzero(tags)
    best, value = among[probabilities[among].argmax(0)], probabilities[among].max(0)
    sure = value > np.where(best == 0, BACKGROUND, FOREGROUND)
    regions[sure] = best[sure]
    single = (seeds.sum(0) == 1).tolist()
    for label in among:
        numbers, own = two_passes((regions == label).tolist()), seeds[label].tolist()
        points = [(y, x) for y in range(SIDE) for x in range(SIDE) if numbers[y][x]]
        chosen = {numbers[y][x] for y, x in points if own[y][x]}
        for y, x in points:
            if numbers[y][x] in chosen and (own[y][x] or not single[y][x]):
                result[label, y, x] = True
    return result


def seeded_regions(seeds: np.ndarray) -> np.ndarray:
    regions = np.full((SIDE, SIDE), -1)
    for label in range(CLASSES):
        regions[seeds[label]] = label
    return regions


def two_passes(inside: list[list[bool]] | np.ndarray) -> list[list[int]]:
    """Number the regions of neighbouring points, corners too, from 1; 0 outside."""
    numbers, parent = [[0] * SIDE for _ in range(SIDE)], [0]
    for y in range(SIDE):
        for x in range(SIDE):
            if not inside[y][x]:
                continue
            near = [
                numbers[v][u] for v, u in ((y, x - 1), (y - 1, x - 1), (y - 1, x), (y - 1, x + 1))
                if v >= 0 and 0 <= u < SIDE and inside[v][u]
            ]  # fmt: skip
            if not near:
                near = [len(parent)]
                parent.append(len(parent))
            roots = {root_of(parent, number) for number in near}
            numbers[y][x] = smallest = min(roots)
            for root in roots:
                parent[root] = smallest
    return [[root_of(parent, number) for number in row] for row in numbers]


def root_of(parent: list[int], number: int) -> int:
    while parent[number] != number:
        number = parent[number]
    return number


def at_once(batch: Batch) -> np.ndarray:
    return grow(*map(torch.from_numpy, batch), FOREGROUND, BACKGROUND).numpy()


# ---------------------------------------------------------------- measuring


def one_by_one(way: Callable) -> Callable[[Batch], np.ndarray]:
    return lambda batch: np.stack([way(*image) for image in zip(*batch, strict=True)])


def seconds(way: Callable[[Batch], np.ndarray], batch: Batch, times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        way(batch)
    return (time.perf_counter() - begin) / times


def measure(count: int) -> list[tuple[str, str, str]]:
    batch = draw(count)
    loops = {"loops over arrays": one_by_one(over_arrays), "loops over lists": one_by_one(over_lists)}
    for name, way in loops.items():  # a race between results that differ would be none
        assert np.array_equal(way(batch), at_once(batch)), name
    slow: dict[str, list[float]] = {name: [] for name in loops}
    ours: dict[int, list[float]] = {threads: [] for threads in THREADS}
    for _ in range(ROUNDS):
        for name, way in loops.items():
            slow[name].append(seconds(way, batch, 1))
        for threads, found in ours.items():
            torch.set_num_threads(threads)
            at_once(batch)
            found.append(seconds(at_once, batch, 20))
    lines = [(name, f"{1000 * statistics.median(found):.0f} ms a batch", "") for name, found in slow.items()]
    for threads, found in ours.items():
        spent, many = statistics.median(found), f"{threads} thread{'s' * (threads > 1)}"
        lines.append((f"swdb, {many}", f"{1000 * spent:.1f} ms a batch", ""))
        for name, others in slow.items():
            target = "at least 50" if "arrays" in name else ""
            lines.append((f"swdb / {name}, {many}", f"{statistics.median(others) / spent:.0f}", target))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="images in the batch")
    options = parser.parse_args()
    lines = measure(options.count)
    print(f"{usable_cores()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| what | measured | target |\n| --- | ---: | --- |")
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
