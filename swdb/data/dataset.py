"""A prepared data set on disk in the layout of VOC 2012: its lists, pictures, masks and image-level labels.

in: a preset's [data] -> out: `data/<name>/` with VOCdevkit/VOC2012, image_labels.csv and manifest.json, opened
"""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import read_json, write_text
from swdb.data import synthetic, voc
from swdb.data.images import read_image, read_mask
from swdb.specs.presets import Data, identity

LISTS = (voc.STRONG_SPLIT, voc.ALL_SPLIT, voc.VAL_SPLIT)


def recipe(data: Data) -> dict[str, Any]:
    """Return what the data set's identity hangs on; its digest stands for the set before it is there."""
    drawn = {"drawing": synthetic.DRAWING_VERSION} if data.dataset == "synthetic" else {}
    return {**identity(data), **drawn}


@dataclass(frozen=True)
class DataSet:
    """A prepared data set. Masks hold class ids 0..num_classes-1 and the void value 255."""

    root: Path
    data: Data
    manifest: dict[str, Any]
    where: str = ""  # options that lead the proposed commands back here

    @property
    def mend(self) -> str:
        """The command that makes the data set whole again."""
        return again(self.data, self.where)

    def image(self, image_id: str) -> np.ndarray:
        """Read a picture as (H, W, 3) uint8 RGB."""
        return read_image(voc.image_path(self.root, image_id), self.mend)

    def mask(self, image_id: str, split: str) -> np.ndarray:
        """Read a true mask as (H, W) uint8."""
        return read_mask(voc.mask_path(self.root, image_id, split), self.data.num_classes, self.mend)

    def ids(self, split: str) -> list[str]:
        """Return the image ids of a split, in the order of its list."""
        path = voc.split_path(self.root, split)
        if not path.is_file():
            raise MissingArtefact(f"{path} is missing; run: {self.mend}")
        ids = path.read_text().split()
        if not ids:
            raise BadInput(
                f"{path} is empty; expected {self.manifest['counts'].get(split)} image ids; mend it with: {self.mend}"
            )
        return ids

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes, background first."""
        return self.manifest["classes"]

    def tags(self, ids: list[str]) -> np.ndarray:
        """Return the image-level labels, (len(ids), num_classes - 1) bool; column k is class k + 1."""
        known = read_tags(self.root / "image_labels.csv", self.mend)
        columns = {name: k for k, name in enumerate(self.class_names[1:])}
        tags = np.zeros((len(ids), len(columns)), bool)
        for row, image_id in enumerate(ids):
            if image_id not in known:
                raise BadInput(f"image_labels.csv has no line for image {image_id}; mend it with: {self.mend}")
            for name in known[image_id]:
                if name not in columns:
                    raise BadInput(
                        f"image_labels.csv: image {image_id} has the unknown class {name!r}; expected {', '.join(columns)}; mend it with: {self.mend}"
                    )
                tags[row, columns[name]] = True
        return tags


def load(data: Data, workdir: Path, where: str) -> DataSet:
    """Open a prepared data set; raises MissingArtefact with the mending command where it is not there or another one."""
    root = workdir / "data" / data.name
    if not (root / "manifest.json").is_file():
        raise MissingArtefact(
            f"the data set {data.name!r} is not in {root}; run: swdb prepare-voc {where}{sources_hint(data)}"
        )
    manifest = read_json(root / "manifest.json", again(data, where))
    if not isinstance(manifest, dict) or not {"recipe", "classes", "counts", "tree_root"} <= manifest.keys():
        raise MissingArtefact(f"{root / 'manifest.json'} is damaged; run: {again(data, where)}")
    if manifest["recipe"] != recipe(data):
        other = "choose another --name, or " if data.classes or data.require or data.available_only else ""
        raise MissingArtefact(f"{root} was prepared with other settings; {other}run: {again(data, where)}")
    return DataSet(root, data, manifest, where)


def again(data: Data, where: str) -> str:
    """Return the command that prepares a data set anew, with the sources that photographs need."""
    sources = " --voc DIR --sbd DIR" if data.dataset == "voc" else ""
    return f"swdb prepare-voc {where} --again{sources}".replace("  ", " ")


def sources_hint(data: Data) -> str:
    """Return what a proposed `prepare-voc` of photographs still needs, and how to come by it."""
    if data.dataset == "synthetic":
        return ""
    if data.available_only:
        return " --voc DIR (DIR holds VOCdevkit/VOC2012 with SegmentationClassAug, whole or in part)"
    return (
        " --download, or with --voc DIR --sbd DIR (unpacked, or VOCtrainval_11-May-2012.tar and benchmark.tgz; 3.4 GB)"
    )


def write_lists(root: Path, lists: dict[str, list[str]]) -> None:
    """Write the lists of image ids by split."""
    for split, ids in lists.items():
        write_text(voc.split_path(root, split), "".join(f"{image_id}\n" for image_id in ids))


def write_tags(root: Path, tags: dict[str, list[str]]) -> None:
    """Write image-level labels: class names by image id."""
    lines = [f"{image_id},{' '.join(names)}\n" for image_id, names in tags.items()]
    write_text(root / "image_labels.csv", "image,classes\n" + "".join(lines))


def read_tags(path: Path, mend: str) -> dict[str, list[str]]:
    """Read image-level labels, class names by image id; raises BadInput for a file of another form."""
    if not path.is_file():
        raise MissingArtefact(f"{path} is missing; run: {mend}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != ["image", "classes"]:
                raise BadInput(f"{path} begins with {reader.fieldnames}, expected image,classes; mend it with: {mend}")
            return {row["image"]: (row["classes"] or "").split() for row in reader}
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is no CSV of image,classes ({error}); mend it with: {mend}") from None
