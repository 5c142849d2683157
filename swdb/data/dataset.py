"""A prepared data set on disk: its lists, images, masks and image-level labels, opened with the facts of its kind.

in: a preset's [data] -> out: `data/<name>/` with images, masks and lists in the kind's layout, image_labels.csv, manifest.json
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, MissingArtefact, NotMade
from swdb.core.files import digest, read_json, write_text
from swdb.core.names import is_plain_name
from swdb.data.facts import ALL_SPLIT, LISTS, STRONG_SPLIT, VAL_SPLIT, Facts
from swdb.data.images import read_image, read_mask
from swdb.data.kinds import facts_of
from swdb.specs.presets import Data
from swdb.specs.settings import fingerprint

MANIFEST = "manifest.json"
LABELS = "image_labels.csv"
NOTE = "sources.json"  # what an unfinished set is made from


def data_key(settings: Data) -> dict[str, Any]:
    """Return what the data set's id digests; it stands for the set before that is there."""
    return {**fingerprint(settings), **facts_of(settings).version}


def unlike_published(settings: Data, sha256: str) -> str:
    """Say that a drawn set is not the one that the published numbers were measured on; empty where it is, or none is."""
    published = facts_of(settings).published.get(digest(data_key(settings)), sha256)
    if published == sha256:
        return ""
    return (
        f"not the data set of the published numbers (sha256 {published[:16]}): drawn with another version of OpenCV or on "
        "another kind of processor, it has other pixels here, and every number may differ"
    )


@dataclass(frozen=True)
class DataSet:
    """A prepared data set. Masks hold class ids 0..num_classes-1 and the void value 255."""

    root: Path
    settings: Data
    manifest: dict[str, Any]

    @property
    def facts(self) -> Facts:
        """What is known of data sets of this kind."""
        return facts_of(self.settings)

    @property
    def num_classes(self) -> int:
        """How many classes there are, background included."""
        return self.settings.num_classes

    @property
    def digest(self) -> str:
        """The sha256 of its contents, as recorded when it was prepared."""
        return self.manifest.get("digest") or self.manifest["tree_root"]  # version 0.1's name

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes, background first."""
        return self.manifest["classes"]

    def image_path(self, image_id: str) -> Path:
        """Return the path of one image."""
        return self.facts.layout.image_path(self.root, image_id)

    def mask_path(self, image_id: str, split: str) -> Path:
        """Return the path of one true mask."""
        return self.facts.layout.mask_path(self.root, image_id, split)

    def list_path(self, split: str) -> Path:
        """Return the path of one list of image ids."""
        return self.facts.layout.list_path(self.root, split)

    def image(self, image_id: str) -> np.ndarray:
        """Read an image as (H, W, 3) uint8 RGB."""
        return read_image(self.image_path(image_id))

    def mask(self, image_id: str, split: str) -> np.ndarray:
        """Read a true mask as (H, W) uint8."""
        return read_mask(self.mask_path(image_id, split), self.num_classes)

    def ids(self, split: str) -> list[str]:
        """Return the image ids of a split, in the order of its list."""
        path = self.list_path(split)
        if not path.is_file():
            raise MissingArtefact(path, "missing")
        ids = path.read_text(encoding="utf-8").split()
        if not ids:
            raise BadInput(path, "empty", f"{self.manifest['counts'].get(split)} image ids")
        for image_id in ids:  # masks and predictions are written under these names
            if not is_plain_name(image_id):
                raise BadInput(path, f"has {image_id[:80]!r}", "image ids")
        return ids

    def tags(self, ids: list[str]) -> np.ndarray:
        """Return the image-level labels, (len(ids), num_classes - 1) bool; column k is class k + 1."""
        path = self.root / LABELS
        known = read_tags(path)
        columns = {name: k for k, name in enumerate(self.class_names[1:])}
        tags = np.zeros((len(ids), len(columns)), bool)
        for row, image_id in enumerate(ids):
            if image_id not in known:
                raise BadInput(path, f"has no line for image {image_id}")
            for name in known[image_id]:
                if name not in columns:
                    raise BadInput(path, f"image {image_id} has the unknown class {name!r}", ", ".join(columns))
                tags[row, columns[name]] = True
        return tags


def load(settings: Data, root: Path) -> DataSet:
    """Open a prepared data set; raises MissingArtefact where it is not there or another one."""
    path = root / MANIFEST
    if not path.is_file():
        raise NotMade(root, f"the data set {settings.name!r} is not prepared yet")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not {"classes", "counts"} <= manifest.keys():
        raise MissingArtefact(path, "damaged", "a manifest")
    key = manifest.get("key", manifest.get("recipe"))  # version 0.1's name
    if key is None or not isinstance(manifest.get("digest", manifest.get("tree_root")), str):
        raise MissingArtefact(path, "damaged", "a manifest")
    if key != data_key(settings):
        raise MissingArtefact(root, "prepared with other settings", "those of the preset")
    classes, counts = manifest["classes"], manifest["counts"]
    if not isinstance(counts, dict) or [type(counts.get(split)) for split in LISTS] != [int] * len(LISTS):
        raise MissingArtefact(path, "damaged", "a manifest")
    if not isinstance(classes, list) or [type(name) for name in classes] != [str] * settings.num_classes:
        raise MissingArtefact(path, "damaged", "a manifest")
    return DataSet(root, settings, manifest)


def with_counts(settings: Data, counts: Mapping[str, int]) -> Data:
    """Return the settings with the numbers of images that a data set was found to have."""
    return replace(settings, num_strong=counts[STRONG_SPLIT], num_train=counts[ALL_SPLIT], num_val=counts[VAL_SPLIT])


def counted(settings: Data, root: Path) -> Data:
    """Return the settings with the numbers of what is prepared, where they say none; `load` says what is damaged."""
    if settings.num_train or not (root / MANIFEST).is_file():
        return settings
    try:
        return with_counts(settings, read_json(root / MANIFEST)["counts"])
    except (TypeError, KeyError):
        return settings


def open_artefact(artefact: Artefact) -> DataSet:
    """Open the data set of a planned artefact."""
    return load(artefact.task, artefact.folder)


def write_lists(facts: Facts, root: Path, lists: dict[str, list[str]]) -> None:
    """Write the lists of image ids by split."""
    for split, ids in lists.items():
        write_text(facts.layout.list_path(root, split), "".join(f"{image_id}\n" for image_id in ids))


def read_lists(facts: Facts, root: Path) -> dict[str, list[str]]:
    """Read the lists of image ids by split."""
    return {split: facts.layout.list_path(root, split).read_text(encoding="utf-8").split() for split in LISTS}


def write_tags(root: Path, tags: dict[str, list[str]]) -> None:
    """Write image-level labels: class names by image id."""
    lines = [f"{image_id},{' '.join(names)}\n" for image_id, names in tags.items()]
    write_text(root / LABELS, "image,classes\n" + "".join(lines))


def read_tags(path: Path) -> dict[str, list[str]]:
    """Read image-level labels, class names by image id; raises BadInput for a file of another form."""
    if not path.is_file():
        raise MissingArtefact(path, "missing", "a CSV of image,classes")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != ["image", "classes"]:
                raise BadInput(path, f"begins with {reader.fieldnames}", "image,classes")
            return {row["image"]: (row["classes"] or "").split() for row in reader}
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(path, f"not a CSV ({error})", "a CSV of image,classes") from None
