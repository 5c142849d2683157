"""What a data set says of itself: classes, palette, lists, where its files lie, what is known of the official one.

Every kind of data set has one `Facts` in a file of its own (`voc.py`, `synthetic.py`), and an entry in `kinds.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from swdb.specs.presets import Data

# Splits: the roles that the lists of every data set have.
STRONG_SPLIT = "train"  # images with pixel masks: the paper's "1.4k strong"
ALL_SPLIT = "train_aug"  # the strong ones and all others: its "10k"
VAL_SPLIT = "val"
LISTS = (STRONG_SPLIT, ALL_SPLIT, VAL_SPLIT)


class Fault(NamedTuple):
    """What a data set of a kind cannot have: a setting of [data], what was found there, what was expected."""

    key: str
    found: str
    expected: str = ""
    near: str = ""  # the word that was probably meant


@dataclass(frozen=True)
class Layout:
    """Where the files of a prepared data set lie, below its root."""

    images: str  # with {} for the id, as below
    masks: Mapping[str, str]  # by split
    lists: str  # with {} for the split

    def image_path(self, root: Path, image_id: str) -> Path:
        """Return the path of one image."""
        return root / self.images.format(image_id)

    def mask_path(self, root: Path, image_id: str, split: str) -> Path:
        """Return the path of one true mask."""
        return root / self.masks[split].format(image_id)

    def list_path(self, root: Path, split: str) -> Path:
        """Return the path of one list of image ids."""
        return root / self.lists.format(split)


@dataclass(frozen=True)
class Official:
    """What is known of a data set as it is published: sizes of its lists, and digests of their sorted ids."""

    counts: Mapping[str, int]
    digests: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Facts:
    """The facts of one kind of data set."""

    kind: str  # what [data] says for `dataset`
    title: str  # for people
    classes: tuple[str, ...]  # background first
    palette: np.ndarray  # (256, 3) uint8 RGB: the colours of the labels
    layout: Layout
    faults: Callable[[Data], Iterator[Fault]]  # what of [data] no such data set can have
    synthetic: bool = False  # drawn by swdb: anybody can make it again, byte for byte, and may be shown it
    version: Mapping[str, int] = field(default_factory=dict)  # of the drawing: enters ids
    published: Mapping[str, str] = field(default_factory=dict)  # sha256 of the sets behind `results/`, by digest of key
    official: Official | None = None
    bordered: tuple[str, ...] = ()  # splits whose masks have a void border around objects
    own_masks: str = "its own masks"  # how those are called where others were found

    def class_names(self, settings: Data) -> list[str]:
        """List the classes that a preset keeps, background first."""
        return [self.classes[0], *(settings.classes or self.classes[1 : settings.num_classes])]
