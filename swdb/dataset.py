"""A data set on disk in the layout of VOC 2012: preparing it, its manifest, and reading one picture or mask.

in: a preset's [data] -> out: `data/<name>/` with VOCdevkit/VOC2012, image_labels.csv and manifest.json
"""

import csv
import io
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from swdb import synthetic, voc
from swdb.errors import BadInput, MissingArtefact
from swdb.files import digest, disk_error, file_digest, read_json, tree_root, write_atomic, write_json, write_text
from swdb.preset import Data

LISTS = (voc.STRONG_SPLIT, voc.ALL_SPLIT, voc.VAL_SPLIT)
Progress = Callable[[int, int], None]  # (done, of)
MEND = "swdb prepare-voc --again"


def recipe(data: Data) -> dict[str, Any]:
    """Return what the data set's identity hangs on; its digest stands for the set before it is there."""
    drawn = {"drawing": synthetic.DRAWING_VERSION} if data.dataset == "synthetic" else {}
    return {**asdict(data), **drawn}


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
        return f"swdb prepare-voc {self.where} --again".replace("  ", " ")

    def image(self, image_id: str) -> np.ndarray:
        """Read a picture as (H, W, 3) uint8 RGB."""
        return read_image(voc.image_path(self.root, image_id), self.mend)

    def mask(self, image_id: str, split: str) -> np.ndarray:
        """Read a true mask as (H, W) uint8;"""
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
        known = _read_tags(self.root / "image_labels.csv", self.mend)
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
        hint = (
            ""
            if data.dataset == "synthetic"
            else " --voc DIR (an unpacked VOC 2012 with SegmentationClassAug, see: swdb prepare-voc --help)"
        )
        raise MissingArtefact(f"the data set {data.name!r} is not in {root}; run: swdb prepare-voc {where}{hint}")
    manifest = read_json(root / "manifest.json", f"swdb prepare-voc {where} --again")
    if not isinstance(manifest, dict) or not {"recipe", "classes", "counts", "tree_root"} <= manifest.keys():
        raise MissingArtefact(f"{root / 'manifest.json'} is damaged; run: swdb prepare-voc {where} --again")
    if manifest["recipe"] != recipe(data):
        raise MissingArtefact(f"{root} was prepared with other settings; run: swdb prepare-voc {where} --again")
    return DataSet(root, data, manifest, where)


# ---------------------------------------------------------------- preparing


def prepare(data: Data, root: Path, source: Path | None, progress: Progress, where: str = "") -> DataSet:
    """Make the data set in a folder beside `root` and rename it into place: half a data set is never seen."""
    partial = root.with_name(f".{root.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        if data.dataset == "synthetic":
            class_names, tag_source = _draw_all(data, partial, progress)
        elif source is None:
            raise MissingArtefact(
                f"the data set {data.name!r} needs photographs; run: swdb prepare-voc {where} --voc DIR, with DIR holding VOCdevkit/VOC2012"
            )
        else:
            class_names, tag_source = _take_tree(data, source, partial, where, progress)
        counts = {split: len(voc.split_path(partial, split).read_text().split()) for split in LISTS}
        files = [path for path in partial.rglob("*") if path.is_file()]
        manifest = {
            "recipe": recipe(data),
            "classes": class_names,
            "counts": counts,
            "image_labels": tag_source,
            "tree_root": tree_root(partial, files),
        }
        write_json(partial / "manifest.json", manifest)
        if root.exists():
            (root / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(root)
        os.replace(partial, root)
    except OSError as error:
        raise disk_error(error, root) from error
    return DataSet(root, data, manifest, where)


def _draw_all(data: Data, root: Path, progress: Progress) -> tuple[list[str], str]:
    """Draw the synthetic set: train images first (the strong ones lead), then val; tags are read off the masks."""
    scene = synthetic.Scene(size=data.image_size)
    total = data.num_train + data.num_val
    ids = [f"{data.seed:04d}_{index:06d}" for index in range(total)]
    train, val = ids[: data.num_train], ids[data.num_train :]

    def draw(index: int) -> list[int]:
        image, mask = synthetic.draw(data.seed, index, scene)
        jpeg = voc.image_path(root, ids[index])
        buffer = io.BytesIO()  # Pillow would not notice a full disk
        Image.fromarray(image).save(buffer, format="JPEG", quality=95)
        jpeg.write_bytes(buffer.getvalue())
        split = voc.ALL_SPLIT if index < data.num_train else voc.VAL_SPLIT
        voc.mask_path(root, ids[index], split).write_bytes(palette_png(mask))
        return sorted(set(np.unique(mask).tolist()) - {0, voc.IGNORE})

    for split in (voc.ALL_SPLIT, voc.VAL_SPLIT):
        voc.mask_path(root, "", split).parent.mkdir(parents=True, exist_ok=True)
    voc.image_path(root, "").parent.mkdir(parents=True, exist_ok=True)
    tags = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, present in enumerate(pool.map(draw, range(total)), start=1):
            tags.append(present)
            progress(done, total)
    _write_lists(root, {voc.STRONG_SPLIT: train[: data.num_strong], voc.ALL_SPLIT: train, voc.VAL_SPLIT: val})
    _write_tags(
        root, {image_id: [synthetic.CLASSES[k] for k in present] for image_id, present in zip(ids, tags, strict=True)}
    )
    return list(synthetic.CLASSES), "masks"


def _take_tree(data: Data, source: Path, root: Path, where: str, progress: Progress) -> tuple[list[str], str]:
    """Copy an unpacked tree of the official layout (hard links where the disk allows), reading every file; tags from the masks."""
    mend = f"mend the tree, then run: swdb prepare-voc {where} --voc {source}"
    tree = voc.devkit(source)
    if not tree.is_dir():
        raise BadInput(
            f"--voc {source}: found no VOCdevkit/VOC2012 in it, expected the official layout with JPEGImages, SegmentationClass, SegmentationClassAug, ImageSets/Segmentation; {mend}"
        )
    lists = {}
    for split in LISTS:
        path = voc.split_path(source, split)
        if not path.is_file():
            raise BadInput(f"--voc {source}: the list {path.relative_to(source)} is missing; {mend}")
        lists[split] = path.read_text().split()
    _check_lists(data, lists, mend)
    wanted = [(i, voc.ALL_SPLIT) for i in lists[voc.ALL_SPLIT]] + [(i, voc.VAL_SPLIT) for i in lists[voc.VAL_SPLIT]]
    tags = {}
    for done, (image_id, split) in enumerate(wanted, start=1):
        picture, mask_path = voc.image_path(source, image_id), voc.mask_path(source, image_id, split)
        for path in (picture, mask_path):
            if not path.is_file():
                missing = path.relative_to(source)
                raise BadInput(f"--voc {source}: {missing} is missing, though the list {split}.txt names it; {mend}")
            _link(path, root / path.relative_to(source))
        mask = read_mask(mask_path, data.num_classes, mend)
        check_sizes(data, picture, read_image(picture, mend), mask_path, mask, mend)
        tags[image_id] = [voc.CLASSES[k] for k in np.unique(mask) if k not in (0, voc.IGNORE)]
        progress(done, len(wanted))
    _write_lists(root, lists)
    _write_tags(root, tags)
    return list(voc.CLASSES[: data.num_classes]), "masks"


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)  # of the file itself: a link that is moved leads nowhere
    except OSError:
        shutil.copyfile(source, target)


def _check_lists(data: Data, lists: dict[str, list[str]], mend: str) -> None:
    """Compare the lists with what the preset expects; train and val must not share an image."""
    expected = {voc.STRONG_SPLIT: data.num_strong, voc.ALL_SPLIT: data.num_train, voc.VAL_SPLIT: data.num_val}
    for split, ids in lists.items():
        if len(ids) != len(set(ids)):
            raise BadInput(f"the list {split}.txt names {max(ids, key=ids.count)} twice; {mend}")
        if len(ids) != expected[split]:
            raise BadInput(f"the list {split}.txt has {len(ids)} ids, expected {expected[split]}; {mend}")
    lacking = set(lists[voc.STRONG_SPLIT]) - set(lists[voc.ALL_SPLIT])
    if lacking:
        raise BadInput(
            f"the list {voc.STRONG_SPLIT}.txt names images that {voc.ALL_SPLIT}.txt lacks (first: {min(lacking)}); {mend}"
        )
    shared = set(lists[voc.ALL_SPLIT]) & set(lists[voc.VAL_SPLIT])
    if shared:
        raise BadInput(
            f"{len(shared)} images are in both {voc.ALL_SPLIT}.txt and {voc.VAL_SPLIT}.txt (first: {min(shared)}); {mend}"
        )


def _write_lists(root: Path, lists: dict[str, list[str]]) -> None:
    for split, ids in lists.items():
        write_text(voc.split_path(root, split), "".join(f"{image_id}\n" for image_id in ids))


def _write_tags(root: Path, tags: dict[str, list[str]]) -> None:
    lines = [f"{image_id},{' '.join(names)}\n" for image_id, names in tags.items()]
    write_text(root / "image_labels.csv", "image,classes\n" + "".join(lines))


def _read_tags(path: Path, mend: str) -> dict[str, list[str]]:
    if not path.is_file():
        raise MissingArtefact(f"{path} is missing; run: {mend}")
    with path.open(newline="") as stream:
        reader = csv.DictReader(stream)
        if reader.fieldnames != ["image", "classes"]:
            raise BadInput(f"{path} begins with {reader.fieldnames}, expected image,classes; mend it with: {mend}")
        return {row["image"]: (row["classes"] or "").split() for row in reader}


# ---------------------------------------------------------------- one picture, one mask


def palette_png(labels: np.ndarray) -> bytes:
    """Encode labels (H, W) uint8 as a PNG with VOC's palette, as the official masks are."""
    picture = Image.fromarray(labels)
    picture.putpalette(voc.palette().tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def write_mask(path: Path, labels: np.ndarray) -> None:
    """Write a mask (H, W) uint8 as a palette PNG, atomically."""
    encoded = palette_png(labels)
    write_atomic(path, lambda stream: stream.write(encoded))


def read_image(path: Path, mend: str = MEND) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 RGB; raises MissingArtefact or BadInput that names the file."""
    return np.asarray(_open(path, "an image", mend).convert("RGB"))


def read_mask(path: Path, num_classes: int, mend: str = MEND) -> np.ndarray:
    """Read a mask as (H, W) uint8 of 0..num_classes-1 and 255; raises BadInput for colours or other values."""
    picture = _open(path, "a mask", mend)
    if picture.mode not in ("P", "L"):
        raise BadInput(
            f"{path} is a {picture.mode} picture, expected a palette PNG of class ids (mode P); a colour copy of a mask cannot be used; mend it with: {mend}"
        )
    labels = np.asarray(picture)
    wrong = np.unique(labels[(labels >= num_classes) & (labels != voc.IGNORE)])
    if wrong.size:
        raise BadInput(
            f"{path} has the value {wrong[0]}, expected 0 to {num_classes - 1} and {voc.IGNORE}; mend it with: {mend}"
        )
    return labels


def check_sizes(data: Data, picture: Path, image: np.ndarray, mask_path: Path, mask: np.ndarray, mend: str) -> None:
    """Refuse a mask of another size than its image, and an image larger than the preset's largest."""
    (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape
    if (height, width) != (mask_height, mask_width):
        raise BadInput(
            f"{mask_path} is {mask_width}x{mask_height}, its image {picture.name} is {width}x{height}; mend it with: {mend}"
        )
    if max(height, width) > data.image_size:
        raise BadInput(
            f"{picture} is {width}x{height}, expected at most {data.image_size} pixels a side; mend it with: {mend}"
        )


def _open(path: Path, what: str, mend: str) -> Image.Image:
    try:
        with path.open("rb") as stream:
            picture = Image.open(stream)
            picture.load()
    except FileNotFoundError:
        raise MissingArtefact(f"{path} is missing, expected {what}; mend it with: {mend}") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as {what} ({error}); mend it with: {mend}") from None
    return picture


def masks_digest(folder: Path) -> str:
    """Return one sha256 over all PNGs of a folder."""
    return digest([[path.name, file_digest(path)] for path in sorted(folder.glob("*.png"))])
