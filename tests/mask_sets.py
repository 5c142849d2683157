"""A few masks with their true masks, small enough to count by hand, and the quality report on them."""

from dataclasses import replace

import numpy as np
from conftest import TINY
from PIL import Image

from swdb.data.dataset import DataSet
from swdb.data.facts import ALL_SPLIT
from swdb.data.images import palette_png
from swdb.proxy.grid import GRID
from swdb.proxy.quality import write_report
from swdb.specs.presets import load_preset

NAMES = ["background", "cat", "cow", "dog"]
VOID = 255
MADE = {
    "sources": {"cues": "ab" * 32, "weights": "cd" * 32},
    "settings": {"proxy": {"steps": 8000, "rate": 1e-3}, "dsrg": {"foreground": 0.85}},
    "set": 1,
}

NETWORK = {  # what is shown of its score on val
    "set": 1,
    "images": 1449,
    "ways": [
        {"views": [321], "crf": None, "miou": 51.04, "miou_by_its_scorer": 53.59},
        {"views": [241, 321, 401], "crf": "dsrg", "miou": 56.26, "miou_by_its_scorer": None},
    ],
    "its_scorer": "evaluate.py: dropped",
}

# Truth and mask of three images; the last has no true mask. Scored are 7 + 3 pixels.
TRUTHS = {"a": [[0, 0, 1, 1], [0, 0, 1, VOID]], "b": [[0, 0, 2, 2]]}
MASKS = {"a": [[0, 1, 1, 1], [0, 0, 0, 1]], "b": [[0, VOID, 2, 0]], "c": [[3, 3, 0, 0]]}
TAGS = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]], bool)  # a: cat; b: cow and dog; c: none


class MaskSet:
    """A data set with proxy masks, built from arrays; `report` writes the report and returns it."""

    def __init__(self, root, truths=TRUTHS, masks=MASKS, tags=TAGS):
        self.ids, self.tags, self.folder, self.told = [*masks], np.asarray(tags, bool), root / "dsrg-1-abc", []
        settings = replace(load_preset(TINY).data, num_classes=len(NAMES))
        self.dataset = DataSet(root / "data", settings, {"classes": NAMES})
        for image_id, mask in masks.items():
            self.save(self.mask(image_id), mask)
            image = self.dataset.image_path(image_id)
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((*np.shape(mask), 3), 90, np.uint8)).save(image)
        for image_id, truth in truths.items():
            self.save(self.truth(image_id), truth)

    def mask(self, image_id):
        return self.folder / f"{image_id}.png"

    def truth(self, image_id):
        return self.dataset.mask_path(image_id, ALL_SPLIT)

    def save(self, path, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(palette_png(np.array(labels, np.uint8)))

    def report(self, cues=None):
        advance = lambda done, of: self.told.append((done, of))  # noqa: E731
        return write_report(self.folder, self.dataset, self.ids, self.tags, MADE, advance, cues)

    def files(self):
        return {path.name: path.read_bytes() for path in self.folder.glob("quality.*")}

    @property
    def markdown(self):
        return (self.folder / "quality.md").read_text()


def no_cues(count):
    return np.full((count, GRID, GRID), VOID, np.uint8)


def few_cues():
    """Right: background and cat in a; wrong: a cat in a, background in b; without a truth: one in a, one in c."""
    cues = no_cues(3)
    cues[0, [0, 0, 40, 40], [0, 40, 0, 40]] = [0, 1, 1, 1]
    cues[1, 0, 40] = 0
    cues[2, 5, 5] = 3
    return cues


def many(root, count=30, without=()):
    """Images of which image k has k of 40 pixels right; its truth is all cat, its mask cat and then cow."""
    names = [f"i{k:02d}" for k in range(count)]
    masks = {name: [[1] * k + [2] * (40 - k)] for k, name in enumerate(names)}
    return MaskSet(root, {name: [[1] * 40] for name in names if name not in without}, masks, np.ones((count, 3)))
