"""A data set of random images, of a preset's size and shape, and whatever else a benchmark needs that nobody has made.

Images and masks are smooth, as photographs are, so that they take the time to decode and the bytes that real ones take.

in: a planned study in an empty folder -> out: its data set and inputs, finished, with random contents
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from swdb.core.artefact import Artefact
from swdb.core.files import file_digest, write_json
from swdb.data.dataset import MANIFEST, DataSet, data_key, write_lists, write_tags
from swdb.data.facts import ALL_SPLIT, LISTS, STRONG_SPLIT, VAL_SPLIT
from swdb.data.images import masks_digest, palette_png
from swdb.data.kinds import facts_of
from swdb.proxy.cue_file import write_cue_file
from swdb.proxy.grid import GRID
from swdb.specs.presets import Data

PATCHES = 6  # random values a side, that images and masks are made of
LABELS = 3  # at most in one mask
SHAPE = (3, 4)  # of photographs: height to width


def shape_of(settings: Data) -> tuple[int, int]:
    """Return the height and width of most images of a data set."""
    side = settings.image_size
    return (side, side) if facts_of(settings).synthetic else (side * SHAPE[0] // SHAPE[1], side)


def random_settings(settings: Data, num_train: int, num_val: int) -> Data:
    """Return the settings of a random data set like another one, with fewer images."""
    num_strong = min(num_train, max(num_train // 2, settings.num_classes - 1))  # one of every class
    small = {"num_strong": num_strong, "num_train": num_train, "num_val": num_val}
    return replace(settings, name="random", holdout=0, **small)


def random_image(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw a smooth image with some grain, (H, W, 3) uint8."""
    coarse = rng.uniform(20, 235, (PATCHES, PATCHES, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def random_mask(rng: np.random.Generator, shape: tuple[int, int], num_classes: int, label: int = 0) -> np.ndarray:
    """Draw a mask of background and some classes in smooth regions, (H, W) uint8; `label` stands in a corner of it."""
    labels = np.concatenate([[0], 1 + rng.permutation(num_classes - 1)[: LABELS - 1]])
    coarse = rng.random((PATCHES, PATCHES, len(labels))).astype(np.float32)
    mask = labels[cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC).argmax(2)].astype(np.uint8)
    mask[: shape[0] // PATCHES, : shape[1] // PATCHES] = label
    return mask


def write_random_set(root: Path, settings: Data) -> DataSet:
    """Write a random data set in the layout of its kind."""
    facts, rng, shape = facts_of(settings), np.random.default_rng(0), shape_of(settings)
    names = facts.class_names(settings)
    ids = [f"random_{k:04d}" for k in range(settings.num_train + settings.num_val)]
    train, val = ids[: settings.num_train], ids[settings.num_train :]
    lists = {STRONG_SPLIT: train[: settings.num_strong], ALL_SPLIT: train, VAL_SPLIT: val}
    tags = {}
    for split in (ALL_SPLIT, VAL_SPLIT):
        for number, image_id in enumerate(lists[split]):
            label = 1 + number % (settings.num_classes - 1)  # the first images show every class
            mask = random_mask(rng, shape, settings.num_classes, label)
            buffer = io.BytesIO()
            Image.fromarray(random_image(rng, shape)).save(buffer, format="JPEG", quality=95)
            paths = facts.layout.image_path(root, image_id), facts.layout.mask_path(root, image_id, split)
            for path, content in zip(paths, (buffer.getvalue(), palette_png(mask, facts.palette)), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            tags[image_id] = [names[label] for label in np.unique(mask) if label]
    write_lists(facts, root, lists)
    write_tags(root, tags)
    manifest = {
        "kind": "data",
        "key": data_key(settings),
        "classes": names,
        "counts": {split: len(lists[split]) for split in LISTS},
        "image_labels": "masks",
        "digest": "random",
    }
    write_json(root / MANIFEST, manifest)
    return DataSet(root, settings, manifest)


def finish_cues(artefact: Artefact, dataset: DataSet) -> None:
    """Finish cues: a tenth of the points of every image, of the labels that it has."""
    rng, ids = np.random.default_rng(1), dataset.ids(ALL_SPLIT)
    maps = np.full((len(ids), GRID, GRID), 255, np.uint8)
    for one, tags in zip(maps, dataset.tags(ids), strict=True):
        labels = np.concatenate([[0], 1 + np.flatnonzero(tags)])
        at = rng.random(one.shape) < 0.1
        one[at] = rng.choice(labels, int(at.sum()))
    write_cue_file(artefact.folder / "cues.npz", ids, maps, dataset.class_names)
    artefact.finish({"digest": file_digest(artefact.folder / "cues.npz"), "counts": {}})


def write_random_masks(artefact: Artefact, dataset: DataSet, ids: Sequence[str]) -> str:
    """Write a random mask for each image into an artefact's folder; returns the digest of all."""
    rng, shape = np.random.default_rng(2), shape_of(dataset.settings)
    artefact.folder.mkdir(parents=True, exist_ok=True)
    for image_id in ids:
        mask = random_mask(rng, shape, dataset.num_classes)
        (artefact.folder / f"{image_id}.png").write_bytes(palette_png(mask, dataset.facts.palette))
    return masks_digest(artefact.folder)
