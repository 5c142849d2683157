"""The audit of a prepared data set: every file read, every list compared, one sha256 over all contents.

It runs when a data set is prepared, before anything is trained on it, and for `prepare-voc --check`. What was read is
remembered with each file's size and times, so that a second audit of an unchanged data set takes seconds.

in: a data set -> out: `audit.json` and a report; or one error that counts what is wrong and names the first
"""

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.core.files import Stage, digest, file_digest, read_json, tree_root, write_atomic, write_json
from swdb.core.parallel import in_order
from swdb.data import voc
from swdb.data.dataset import LISTS, DataSet
from swdb.data.images import check_sizes, read_image, read_mask

VERSION = 2  # raised when a record means something else
BORDERED = 0.5  # share of VOC's own masks that must have void pixels; all of the real ones do, none of SBD's


class Record(NamedTuple):
    """What the audit saw of one image and its mask."""

    stamps: str  # sizes and times of both files, by which a change is noticed
    split: str
    image: str  # sha256 of the file
    mask: str  # sha256 of the labels; of the file where the data set is drawn
    height: int
    width: int
    values: list[int]
    void: int  # pixels


Seen = tuple[dict[str, Record], dict[str, str]]  # images by id; lists and image-level labels by path


def audit(data: DataSet, stage: Stage, mend: str, discard: bool = False) -> dict[str, Any]:
    """Read what is new or changed, compare everything, and return the report.

    Raises BadInput that counts the faults and names the first, with the command `mend`; `discard` deletes faulty
    files, so that the next start takes them anew.
    """
    lists = {split: data.ids(split) for split in LISTS}
    _check_lists(data, lists, mend)
    splits = {image_id: split for split in (voc.ALL_SPLIT, voc.VAL_SPLIT) for image_id in lists[split]}
    path, texts = data.root / "audit.json", _texts(data)
    known, known_texts = _remembered(path)
    records, changed = {}, []
    for image_id, split in splits.items():
        found = known.get(image_id)
        if found and found.split == split and found.stamps == _stamps(data, image_id, split):
            records[image_id] = found
        else:
            changed.append(image_id)
    faults = _read_changed(data, changed, splits, records, stage, mend, discard) if changed else []
    records = {image_id: records[image_id] for image_id in splits if image_id in records}  # whatever was read when
    if changed or known.keys() - records.keys() or known_texts != texts:
        write_json(path, {"version": VERSION, "texts": texts, "records": records}, indent=None)
    if faults:
        more = f" (and {len(faults) - 1} more such files)" if len(faults) > 1 else ""
        raise type(faults[0])(f"{faults[0]}{more}")
    _check_borders(data, lists, records, mend)
    return _report(data, lists, records, texts)


def verify(data: DataSet, stage: Stage) -> dict[str, Any]:
    """Audit a prepared data set against its manifest; raises MissingArtefact where its contents have changed since."""
    path = data.root / "audit.json"
    before = path.read_bytes() if path.is_file() else None
    report = audit(data, stage, data.mend)
    then, now = data.manifest["tree_root"], report["tree_root"]
    if then != now:
        seen = _remembered(path)
        if before is not None:
            write_atomic(path, lambda stream: stream.write(before))  # so that the next audit can name it, too
        changed = _changed(data, _remembered(path), seen)
        raise MissingArtefact(
            f"{data.root} has changed since it was prepared: {changed}; its contents have the sha256 {now[:10]}, expected {then[:10]}; run: {data.mend}"
        )
    return report


def _changed(data: DataSet, before: Seen, now: Seen) -> str:
    """Say what is not as the last audit saw it."""
    changed = [data.root / name for name, content in now[1].items() if before[1].get(name, content) != content]
    for image_id, record in now[0].items():
        old = before[0].get(image_id, record)
        if old.image != record.image:
            changed.append(voc.image_path(data.root, image_id))
        if old.mask != record.mask:
            changed.append(voc.mask_path(data.root, image_id, record.split))
    if not changed:
        return "nobody knows where, for the notes of the last audit are gone"
    more = f" (and {len(changed) - 1} more such files)" if len(changed) > 1 else ""
    return f"{changed[0].relative_to(data.root)} has other contents{more}"


def _remembered(path: Path) -> Seen:
    """Return what the last audit saw; nothing where there was none, or it was another version's."""
    try:
        noted = read_json(path, "")
        if noted["version"] != VERSION:
            return {}, {}
        return {image_id: Record(*values) for image_id, values in noted["records"].items()}, noted["texts"]
    except (MissingArtefact, KeyError, TypeError, AttributeError):
        return {}, {}


def _texts(data: DataSet) -> dict[str, str]:
    """Return the sha256 of the lists and the image-level labels, by relative path."""
    paths = (*(voc.split_path(data.root, split) for split in LISTS), data.root / "image_labels.csv")
    for path in paths:
        if not path.is_file():
            raise MissingArtefact(f"{path} is missing; run: {data.mend}")
    return {path.relative_to(data.root).as_posix(): file_digest(path) for path in paths}


def _stamps(data: DataSet, image_id: str, split: str) -> str:
    """Return sizes and times of an image's two files; the time of the last status change cannot be set back."""
    found = []
    for path in (voc.image_path(data.root, image_id), voc.mask_path(data.root, image_id, split)):
        try:
            status = path.stat()
        except OSError:
            return ""
        found.append(f"{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}")
    return "/".join(found)


def _read_changed(
    data: DataSet,
    changed: list[str],
    splits: dict[str, str],
    records: dict[str, Record],
    stage: Stage,
    mend: str,
    discard: bool,
) -> list[SwdbError]:
    """Read images on all cores and add their records; returns an error for every image that cannot be used."""
    progress = stage("audit the data set", len(changed))

    def examine(image_id: str) -> Record | SwdbError:
        try:
            return _examine(data, image_id, splits[image_id], mend)
        except SwdbError as error:
            return error

    faults = []
    for done, (image_id, found) in enumerate(zip(changed, in_order(examine, changed), strict=True), start=1):
        if isinstance(found, Record):
            records[image_id] = found
        else:
            faults.append(found)
            if discard:
                voc.image_path(data.root, image_id).unlink(missing_ok=True)
                voc.mask_path(data.root, image_id, splits[image_id]).unlink(missing_ok=True)
        progress(done, len(changed))
    return faults


def _examine(data: DataSet, image_id: str, split: str, mend: str) -> Record:
    """Read an image and its mask whole."""
    stamps = _stamps(data, image_id, split)
    image_path, mask_path = voc.image_path(data.root, image_id), voc.mask_path(data.root, image_id, split)
    image, mask = read_image(image_path, mend), read_mask(mask_path, data.data.num_classes, mend)
    check_sizes(data.data.image_size, image_path, image, mask_path, mask, mend)
    counts = np.bincount(mask.ravel(), minlength=256)
    # One mask has many encodings as PNG, so photographs' masks count by their labels; drawn ones are made here.
    drawn = data.data.dataset == "synthetic"
    labels = file_digest(mask_path) if drawn else _labels_digest(mask)
    height, width = mask.shape
    values = np.flatnonzero(counts).tolist()
    return Record(stamps, split, file_digest(image_path), labels, height, width, values, int(counts[voc.IGNORE]))


def _labels_digest(mask: np.ndarray) -> str:
    total = hashlib.sha256("x".join(map(str, mask.shape)).encode())
    total.update(np.ascontiguousarray(mask))
    return total.hexdigest()


def _check_lists(data: DataSet, lists: dict[str, list[str]], mend: str) -> None:
    """Compare the lists with what the preset expects; train and val must not share an image."""
    expected = dict(zip(LISTS, (data.data.num_strong, data.data.num_train, data.data.num_val), strict=True))
    for split, ids in lists.items():
        if len(ids) != len(set(ids)):
            raise BadInput(f"the list {split}.txt names {max(ids, key=ids.count)} twice; mend it with: {mend}")
        if len(ids) != expected[split]:
            raise BadInput(f"the list {split}.txt has {len(ids)} ids, expected {expected[split]}; mend it with: {mend}")
    lacking = set(lists[voc.STRONG_SPLIT]) - set(lists[voc.ALL_SPLIT])
    if lacking:
        raise BadInput(
            f"the list {voc.STRONG_SPLIT}.txt names images that {voc.ALL_SPLIT}.txt lacks (first: {min(lacking)}); mend it with: {mend}"
        )
    shared = set(lists[voc.ALL_SPLIT]) & set(lists[voc.VAL_SPLIT])
    if shared:
        raise BadInput(
            f"{len(shared)} images are in both {voc.ALL_SPLIT}.txt and {voc.VAL_SPLIT}.txt (first: {min(shared)}); mend it with: {mend}"
        )
    if tuple(map(len, lists.values())) == tuple(voc.OFFICIAL_COUNTS.values()):
        for split, ids in lists.items():
            if digest(sorted(ids)) != voc.OFFICIAL_LISTS[split]:
                raise BadInput(
                    f"the list {split}.txt has the {len(ids)} ids of VOC 2012's own in number only: some are others; mend it with: {mend}"
                )


def _check_borders(data: DataSet, lists: dict[str, list[str]], records: dict[str, Record], mend: str) -> None:
    """Tell VOC's own masks from SBD's by their void border; a set of fewer classes has void everywhere."""
    if data.data.dataset == "synthetic" or data.data.classes:
        return
    for split in (voc.STRONG_SPLIT, voc.VAL_SPLIT):
        bordered = np.mean([records[image_id].void > 0 for image_id in lists[split]])
        if bordered < BORDERED:
            raise BadInput(
                f"only {bordered:.0%} of the masks of {split}.txt have a void border, expected all: these are SBD's masks, not VOC's own from SegmentationClass; mend it with: {mend}"
            )


# ---------------------------------------------------------------- the report


def _report(
    data: DataSet, lists: dict[str, list[str]], records: dict[str, Record], texts: dict[str, str]
) -> dict[str, Any]:
    strong, everything, val = (lists[split] for split in LISTS)
    groups = {"strong": strong, "weak": sorted(set(everything) - set(strong)), "val": val}
    sides = [(record.width, record.height) for record in records.values()]
    return {
        "images": {name: len(ids) for name, ids in groups.items()},
        "void": {name: _void([records[image_id] for image_id in ids]) for name, ids in groups.items()},
        "sides": {"smallest": min(map(min, sides)), "largest": max(map(max, sides))},
        "image_labels": {"from": data.manifest["image_labels"], **_compare_tags(data, records)},
        "duplicates": _duplicates(records),
        "tree_root": _root(data, records, texts),
    }


def _void(records: list[Record]) -> dict[str, float]:
    """Return the share of void pixels in % and of masks that have any: VOC's own have a border, SBD's have none."""
    pixels = sum(record.height * record.width for record in records)
    return {
        "pixels_percent": round(100 * sum(record.void for record in records) / max(pixels, 1), 2),
        "masks_percent": round(100 * sum(record.void > 0 for record in records) / max(len(records), 1), 2),
    }


def _compare_tags(data: DataSet, records: dict[str, Record]) -> dict[str, Any]:
    """Count images by tag, and those whose tags and mask disagree."""
    ids = list(records)
    tags = data.tags(ids)
    shown = np.zeros_like(tags)
    for row, image_id in enumerate(ids):
        for value in records[image_id].values:
            if 0 < value < voc.IGNORE:
                shown[row, value - 1] = True
    return {
        "images_by_tag": dict(zip(data.class_names[1:], tags.sum(0).tolist(), strict=True)),
        "images_without_a_tag": int((~tags.any(1)).sum()),
        "images_with_an_untagged_class_in_the_mask": int((shown & ~tags).any(1).sum()),
        "images_with_a_tag_without_pixels": int((tags & ~shown).any(1).sum()),
    }


def _duplicates(records: dict[str, Record]) -> dict[str, Any]:
    """Find pictures that are there under several ids, file by file the same."""
    by_content = defaultdict(list)
    for image_id, record in records.items():
        by_content[record.image].append(image_id)
    groups = [ids for ids in by_content.values() if len(ids) > 1]
    across = [ids for ids in groups if len({records[image_id].split for image_id in ids}) > 1]
    return {"groups": len(groups), "across_train_and_val": len(across), "first": (across or groups or [None])[0]}


def _root(data: DataSet, records: dict[str, Record], texts: dict[str, str]) -> str:
    """Return one sha256 over pictures, masks, lists and image-level labels."""
    contents = {}
    for image_id, record in records.items():
        contents[voc.image_path(data.root, image_id)] = record.image
        contents[voc.mask_path(data.root, image_id, record.split)] = record.mask
    contents = {path.relative_to(data.root): content for path, content in contents.items()}
    return tree_root(contents | {Path(name): content for name, content in texts.items()})


def lines(report: dict[str, Any]) -> list[str]:
    """Return the report for people, one fact a line."""
    images, void, labels, same = (report[name] for name in ("images", "void", "image_labels", "duplicates"))
    borders = ", ".join(
        f"{name} {share['pixels_percent']:.1f} % of pixels in {share['masks_percent']:.0f} % of masks"
        for name, share in void.items()
    )
    by_tag = ", ".join(f"{name} {count}" for name, count in labels["images_by_tag"].items())
    duplicates = f"{same['groups']} pictures are there under several ids, {same['across_train_and_val']} of them in train and val"
    return [
        f"images: {images['strong']} strong + {images['weak']} weak, {images['val']} val; none in both train and val",
        f"void: {borders}",
        f"sides: {report['sides']['smallest']} to {report['sides']['largest']} pixels; every mask is as large as its image",
        f"image-level labels from {labels['from']}: {by_tag}",
        f"labels against masks: {labels['images_with_an_untagged_class_in_the_mask']} images show a class without its tag, "
        f"{labels['images_with_a_tag_without_pixels']} have a tag without pixels, {labels['images_without_a_tag']} have no tag",
        duplicates + (f" (first: {', '.join(same['first'])})" if same["first"] else ""),
        f"sha256 {report['tree_root']}",
    ]
