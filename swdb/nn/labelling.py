"""Label many images: in batches of one size, in parts that several processes share, read ahead and written while a GPU works.

A batch holds the same images whoever labels it and whatever was there before, so that it gives the same labels to the
last bit; of them, those files are written that are missing.

in: sizes of images, how a batch is read and labelled -> out: a palette PNG for each image in a folder
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb.core.errors import BadInput
from swdb.core.parallel import in_order
from swdb.core.progress import Advance
from swdb.core.shares import Add, Terms, do_free_parts, open_folder, replacing_in, shared_parts
from swdb.data.images import palette_png

PART = {"cpu": 8, "cuda": 64}  # images, or a few more, that a process takes at a time: a lease costs some 10 ms

Size = tuple[int, ...]  # height, width
Labelled = tuple[Sequence[Tensor], Callable[[], None]]  # labels (H, W) uint8 of images; what then is done on the host


@dataclass(frozen=True)
class Labelling:
    """Images that are to be labelled, batch by batch, and where their labels go."""

    folder: Path
    names: Sequence[str]  # of the images
    batches: Sequence[list[int]]  # rows of the names
    palette: np.ndarray
    read: Callable[[list[int]], Any]  # what a batch is labelled from
    label: Callable[[list[int], Any], Labelled]  # from rows and what was read of them
    device: torch.device

    def all_parts(self, leases: Path, terms: Terms, advance: Advance) -> None:
        """Label what is missing, together with others who compute on the same terms; for whoever holds the lease on the folder.

        leases: where those of the parts lie (`shares.parts_folder`).
        """
        open_folder(self.folder)
        told, total, add = 0, len(self.names), replacing_in(self.folder)
        with shared_parts(
            leases, terms, parts_of(self.batches, self.device), self._is_done, "labelling images"
        ) as parts:
            for part in parts:
                done = self._count()  # what others did, too
                for count in self._do(part, add):
                    done += count
                    told = max(told, done)
                    advance(told, total)
        if told < total:
            advance(total, total)

    def free_parts(self, leases: Path) -> None:
        """Label the parts that nobody is at, for a process that holds no lease on the folder; adds what is missing."""
        do_free_parts(
            leases, self.folder, parts_of(self.batches, self.device), self._is_done, self._do, "helping to label images"
        )

    def _count(self) -> int:
        there = set(os.listdir(self.folder))
        return sum(f"{name}.png" in there for name in self.names)

    def _is_there(self, row: int) -> bool:
        return (self.folder / f"{self.names[row]}.png").is_file()

    def _is_done(self, part: list[list[int]]) -> bool:
        return all(self._is_there(row) for batch in part for row in batch)

    def _do(self, part: list[list[int]], add: Add) -> Iterator[int]:
        """Label the batches of a part that lack a file; yields how many files each got."""
        lacking = [batch for batch in part if not self._is_done([batch])]
        each = in_threads(self.device)

        def labelled() -> Iterator[tuple[list[int], Labelled]]:
            for batch, found in zip(lacking, each(self.read, lacking), strict=True):
                yield batch, self.label(batch, found)

        def write(done: tuple[list[int], Labelled]) -> int:
            batch, (labels, finish) = done
            missing = [not self._is_there(row) for row in batch]
            arrays = [label.cpu().numpy() for label in labels]  # waits for a GPU, which has its next batch by now
            finish()
            for row, array, is_missing in zip(batch, arrays, missing, strict=True):
                if is_missing:
                    add(f"{self.names[row]}.png", palette_png(array, self.palette))
            return sum(missing)

        yield from each(write, labelled())


# ---------------------------------------------------------------- batches


def parts_of(batches: Sequence[list[int]], device: torch.device) -> list[list[list[int]]]:
    """Return neighbouring batches together, until they hold enough images."""
    parts: list[list[list[int]]] = []
    for batch in batches:
        if parts and sum(map(len, parts[-1])) < PART[device.type]:
            parts[-1].append(batch)
        else:
            parts.append([batch])
    return parts


def by_size(sizes: Sequence[Size], most: Callable[[int], int]) -> list[list[int]]:
    """Return batches of images of one size, wherever in the list they stand; `most` fit together, by their pixels."""
    rows: dict[Size, list[int]] = {}
    for row, size in enumerate(sizes):
        rows.setdefault(size, []).append(row)
    return [batch for size, same in rows.items() for batch in _cut(same, most(size[0] * size[1]))]


def neighbours(sizes: Sequence[Size], most: Callable[[int], int]) -> list[list[int]]:
    """Return batches of images of one size that follow each other in the list."""
    runs: list[list[int]] = []
    for row, size in enumerate(sizes):
        if runs and sizes[runs[-1][0]] == size:
            runs[-1].append(row)
        else:
            runs.append([row])
    return [batch for run in runs for batch in _cut(run, most(sizes[run[0]][0] * sizes[run[0]][1]))]


def _cut(rows: list[int], most: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), max(1, most)):
        yield rows[start : start + max(1, most)]


def in_threads(device: torch.device) -> Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]:
    """Return how work of the host is mapped over batches: in threads beside a GPU, one after the other on a CPU."""
    return in_order if device.type == "cuda" else map


class Fitting:
    """Works on batches in pieces that a GPU's memory takes: halves of what it refused, from then on.

    To predict and to label alone: a training's batch is what it is.
    """

    def __init__(self, tell: Callable[[str], None]):
        self.tell = tell
        self.most: float = float("inf")  # pixels together

    def __call__(self, work: Callable[[slice], list], count: int, size: Size) -> list:
        """Return what `work` returns for slices of `count` images of one size, one item an image, in their order."""
        pixels, done = size[0] * size[1], []
        while len(done) < count:
            together = min(count - len(done), max(1, int(min(self.most / pixels, count))))
            try:
                done += work(slice(len(done), len(done) + together))
                continue
            except torch.OutOfMemoryError:
                pass  # what the error holds must be free before the next try
            what = f"{size[1]}x{size[0]} pixels"
            if together == 1:
                raise BadInput("the GPU's memory", f"too small for one image of {what}", "more that is free")
            self.most = together // 2 * pixels
            torch.cuda.empty_cache()
            self.tell(f"the GPU's memory does not take {together} images of {what} at once: trying {together // 2}")
        return done
