"""The audit of a prepared data set: every file read, every list compared, one sha256 over all contents.

It runs when a data set is prepared, before anything is trained on it, and for `prepare-voc --check`. What was read is
remembered with each file's size and times, so that a second audit of an unchanged data set takes seconds.

in: a data set -> out: `audit.json` and a report; or one error that counts what is wrong and names the first
"""

import hashlib
from collections import defaultdict
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from swdb.core.errors import BadInput, DiskRefused, MissingArtefact, SwdbError
from swdb.core.files import digest, file_digest, read_json, tree_root, write_atomic, write_json
from swdb.core.parallel import in_order
from swdb.core.progress import Progress
from swdb.data.agreement import Labelled, refuse_backgroundless, refuse_borderless, refuse_contradictions, refuse_shared
from swdb.data.dataset import LABELS, DataSet
from swdb.data.facts import ALL_SPLIT, LISTS, STRONG_SPLIT, VAL_SPLIT
from swdb.data.images import check_sizes, read_image, read_mask
from swdb.data.voc import IGNORE

VERSION = 2  # raised when a record means something else


class Record(NamedTuple):
    """What the audit saw of one image and its mask."""

    stamps: str  # sizes and times of both files, by which a change is noticed
    split: str
    image: str  # sha256 of the file
    mask: str  # sha256 of the labels; of the file where the data set is synthetic
    height: int
    width: int
    values: list[int]
    void: int  # pixels


Seen = tuple[dict[str, Record], dict[str, str]]  # images by id; lists and image-level labels by path


def audit(dataset: DataSet, progress: Progress, discard: bool = False) -> dict[str, Any]:
    """Read what is new or changed, compare everything, and return the report.

    Raises BadInput that counts the faults and names the first; `discard` deletes faulty files, so that the next start
    takes them again.
    """
    lists = {split: dataset.ids(split) for split in LISTS}
    _check_lists(dataset, lists)
    splits = {image_id: split for split in (ALL_SPLIT, VAL_SPLIT) for image_id in lists[split]}
    path, texts = dataset.root / "audit.json", _texts(dataset)
    known, known_texts = _remembered(path)
    records, changed = {}, []
    for image_id, split in splits.items():
        found = known.get(image_id)
        if found and found.split == split and found.stamps == _stamps(dataset, image_id, split):
            records[image_id] = found
        else:
            changed.append(image_id)
    faults = _read_changed(dataset, changed, splits, records, progress, discard) if changed else []
    records = {image_id: records[image_id] for image_id in splits if image_id in records}  # whatever was read when
    if changed or known.keys() - records.keys() or known_texts != texts:
        _note(path, {"version": VERSION, "texts": texts, "records": records}, needed=discard)
    if faults:
        first = faults[0]
        raise type(first)(first.subject, f"{first.found}{_and_more(len(faults))}", first.expected)
    _check_borders(dataset, lists, records)
    _check_tags(dataset, lists, records)
    _check_background(dataset, lists, records)
    _check_shared(dataset, lists, records)
    return _report(dataset, lists, records, texts)


def _note(path: Path, seen: dict[str, Any], needed: bool) -> None:
    """Write down what was seen; where that is not needed, the next audit is only slower on a disk that takes nothing."""
    with nullcontext() if needed else suppress(DiskRefused):
        write_json(path, seen, indent=None)


def verify(dataset: DataSet, progress: Progress) -> dict[str, Any]:
    """Audit a prepared data set against its manifest; raises MissingArtefact where its contents have changed since."""
    path = dataset.root / "audit.json"
    before = path.read_bytes() if path.is_file() else None
    report = audit(dataset, progress)
    then, now = dataset.digest, report["tree_root"]
    if then != now:
        seen = _remembered(path)
        if before is not None:
            write_atomic(path, lambda stream: stream.write(before))  # so that the next audit can name it, too
        changed = _changed(dataset, _remembered(path), seen)
        raise MissingArtefact(
            dataset.root,
            f"has changed since it was prepared: {changed}",
            f"contents of sha256 {then[:10]}, not {now[:10]}",
        )
    return report


def _changed(dataset: DataSet, before: Seen, now: Seen) -> str:
    """Say what is not as the last audit saw it."""
    changed = [dataset.root / name for name, content in now[1].items() if before[1].get(name, content) != content]
    for image_id, record in now[0].items():
        old = before[0].get(image_id, record)
        if old.image != record.image:
            changed.append(dataset.image_path(image_id))
        if old.mask != record.mask:
            changed.append(dataset.mask_path(image_id, record.split))
    if not changed:
        return "where is not known, for the notes of the last audit are gone"
    return f"{changed[0].relative_to(dataset.root)} has other contents{_and_more(len(changed))}"


def _and_more(count: int) -> str:
    return f" (and {count - 1} more such files)" if count > 1 else ""


def _remembered(path: Path) -> Seen:
    """Return what the last audit saw; nothing where there was none, or it was another version's."""
    try:
        noted = read_json(path)
        if noted["version"] != VERSION or not isinstance(noted["texts"], dict):
            return {}, {}
        return {image_id: Record(*values) for image_id, values in noted["records"].items()}, noted["texts"]
    except (MissingArtefact, KeyError, TypeError, AttributeError):
        return {}, {}


def _texts(dataset: DataSet) -> dict[str, str]:
    """Return the sha256 of the lists and the image-level labels, by relative path."""
    paths = (*(dataset.list_path(split) for split in LISTS), dataset.root / LABELS)
    for path in paths:
        if not path.is_file():
            raise MissingArtefact(path, "missing")
    return {path.relative_to(dataset.root).as_posix(): file_digest(path) for path in paths}


def _stamps(dataset: DataSet, image_id: str, split: str) -> str:
    """Return sizes and times of an image's two files; the time of the last status change cannot be set back."""
    found = []
    for path in (dataset.image_path(image_id), dataset.mask_path(image_id, split)):
        try:
            status = path.stat()
        except OSError:
            return ""
        found.append(f"{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}")
    return "/".join(found)


def _read_changed(
    dataset: DataSet,
    changed: list[str],
    splits: dict[str, str],
    records: dict[str, Record],
    progress: Progress,
    discard: bool,
) -> list[SwdbError]:
    """Read images on all cores and add their records; returns an error for every image that cannot be used."""
    advance = progress("audit the data set", len(changed))

    def examine(image_id: str) -> Record | SwdbError:
        try:
            return _examine(dataset, image_id, splits[image_id])
        except SwdbError as error:
            return error

    faults = []
    for done, (image_id, found) in enumerate(zip(changed, in_order(examine, changed), strict=True), start=1):
        if isinstance(found, Record):
            records[image_id] = found
        else:
            faults.append(found)
            if discard:
                dataset.image_path(image_id).unlink(missing_ok=True)
                dataset.mask_path(image_id, splits[image_id]).unlink(missing_ok=True)
        advance(done, len(changed))
    return faults


def _examine(dataset: DataSet, image_id: str, split: str) -> Record:
    """Read an image and its mask whole."""
    stamps = _stamps(dataset, image_id, split)
    image_path, mask_path = dataset.image_path(image_id), dataset.mask_path(image_id, split)
    image, mask = read_image(image_path), read_mask(mask_path, dataset.num_classes)
    check_sizes(dataset.settings.image_size, image_path, image, mask_path, mask)
    counts = np.bincount(mask.ravel(), minlength=256)
    labels = mask_digest(dataset, mask_path, mask)
    height, width = mask.shape
    values = np.flatnonzero(counts).tolist()
    return Record(stamps, split, file_digest(image_path), labels, height, width, values, int(counts[IGNORE]))


def mask_digest(dataset: DataSet, path: Path, mask: np.ndarray) -> str:
    """Return what a true mask counts by.

    One mask has many encodings as PNG, so real images' masks count by their labels; synthetic ones are made here.
    """
    return file_digest(path) if dataset.facts.synthetic else labels_digest(mask)


def labels_digest(mask: np.ndarray) -> str:
    """Return the sha256 of a mask's labels (H, W) uint8, however they are encoded."""
    total = hashlib.sha256("x".join(map(str, mask.shape)).encode())
    total.update(np.ascontiguousarray(mask))
    return total.hexdigest()


def _check_lists(dataset: DataSet, lists: dict[str, list[str]]) -> None:
    """Compare the lists with what the preset expects; train and val must not share an image."""
    settings, paths = dataset.settings, {split: dataset.list_path(split) for split in LISTS}
    expected = dict(zip(LISTS, (settings.num_strong, settings.num_train, settings.num_val), strict=True))
    for split, ids in lists.items():
        if len(ids) != len(set(ids)):
            raise BadInput(paths[split], f"names {max(ids, key=ids.count)} twice", "every image once")
        if len(ids) != expected[split]:
            raise BadInput(paths[split], f"the number of its images is {len(ids)}", f"{expected[split]}")
    lacking = set(lists[STRONG_SPLIT]) - set(lists[ALL_SPLIT])
    if lacking:
        raise BadInput(paths[STRONG_SPLIT], f"names images that {ALL_SPLIT}.txt lacks (first: {min(lacking)})")
    shared = set(lists[ALL_SPLIT]) & set(lists[VAL_SPLIT])
    if shared:
        raise BadInput(
            paths[VAL_SPLIT], f"shares {len(shared)} of its images with {ALL_SPLIT}.txt (first: {min(shared)})"
        )
    official = dataset.facts.official
    if official and {split: len(ids) for split, ids in lists.items()} == official.counts:
        for split, ids in lists.items():
            if digest(sorted(ids)) != official.digests[split]:
                title = dataset.facts.title
                raise BadInput(paths[split], f"has as many ids as {title}'s own list, but others")


def _check_borders(dataset: DataSet, lists: dict[str, list[str]], records: dict[str, Record]) -> None:
    """Tell a data set's own masks from others' by their void border; a set of fewer classes has void everywhere."""
    if dataset.settings.classes:
        return
    for split in dataset.facts.bordered:
        bordered = [records[image_id].void > 0 for image_id in lists[split]]
        refuse_borderless(dataset.facts, dataset.list_path(split), bordered)


def _check_tags(dataset: DataSet, lists: dict[str, list[str]], records: dict[str, Record]) -> None:
    """Compare image-level labels with masks, by group and all together; raises BadInput where they contradict each other."""
    for name, ids in {**_groups(lists), "": sorted({*lists[ALL_SPLIT], *lists[VAL_SPLIT]})}.items():
        own = bool(dataset.facts.bordered) and name != "weak" if name else None
        labelled = Labelled(
            f"{name} images".strip(), ids, dataset.class_names[1:], *_tags_and_shown(dataset, ids, records), own
        )
        refuse_contradictions(dataset.root / LABELS, labelled)


def _check_background(dataset: DataSet, lists: dict[str, list[str]], records: dict[str, Record]) -> None:
    """Refuse masks without background."""
    for split in (ALL_SPLIT, VAL_SPLIT):
        refuse_backgroundless(
            dataset.list_path(split), [0 not in records[image_id].values for image_id in lists[split]]
        )


def _check_shared(dataset: DataSet, lists: dict[str, list[str]], records: dict[str, Record]) -> None:
    """Refuse val images that are trained on under other ids."""
    trained = {records[image_id].image: image_id for image_id in lists[ALL_SPLIT]}
    shared = [records[image_id].image in trained for image_id in lists[VAL_SPLIT]]
    first = next((f"{i} is {trained[records[i].image]}" for i in lists[VAL_SPLIT] if records[i].image in trained), "")
    refuse_shared(dataset.list_path(VAL_SPLIT), shared, first)


# ---------------------------------------------------------------- the report


def _report(
    dataset: DataSet, lists: dict[str, list[str]], records: dict[str, Record], texts: dict[str, str]
) -> dict[str, Any]:
    groups = _groups(lists)
    sides = [(record.width, record.height) for record in records.values()]
    return {
        "images": {name: len(ids) for name, ids in groups.items()},
        "void": {name: _void([records[image_id] for image_id in ids]) for name, ids in groups.items()},
        "sides": {"smallest": min(map(min, sides)), "largest": max(map(max, sides))},
        "image_labels": {"from": dataset.manifest["image_labels"], **_compare_tags(dataset, records)},
        "duplicates": _duplicates(records),
        "tree_root": tree_root(_contents(dataset, records, texts)),
    }


def _groups(lists: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the ids by the kind of label that they are trained with, or that they are scored."""
    strong, everything, val = (lists[split] for split in LISTS)
    return {"strong": strong, "weak": sorted(set(everything) - set(strong)), "val": val}


def _void(records: list[Record]) -> dict[str, float]:
    """Return the share of void pixels in % and of masks that have any: VOC's own have a border, SBD's have none."""
    pixels = sum(record.height * record.width for record in records)
    return {
        "pixels_percent": round(100 * sum(record.void for record in records) / max(pixels, 1), 2),
        "masks_percent": round(100 * sum(record.void > 0 for record in records) / max(len(records), 1), 2),
    }


def _compare_tags(dataset: DataSet, records: dict[str, Record]) -> dict[str, Any]:
    """Count images by tag, and those whose tags and mask disagree."""
    tags, shown = _tags_and_shown(dataset, list(records), records)
    return {
        "images_by_tag": dict(zip(dataset.class_names[1:], tags.sum(0).tolist(), strict=True)),
        "images_without_a_tag": int((~tags.any(1)).sum()),
        "images_with_an_untagged_class_in_the_mask": int((shown & ~tags).any(1).sum()),
        "images_with_a_tag_without_pixels": int((tags & ~shown).any(1).sum()),
    }


def _tags_and_shown(dataset: DataSet, ids: list[str], records: dict[str, Record]) -> tuple[np.ndarray, np.ndarray]:
    """Return which classes images have by their tags and by their masks, (images, classes) bool each."""
    tags = dataset.tags(ids)
    shown = np.zeros_like(tags)
    for row, image_id in enumerate(ids):
        for value in records[image_id].values:
            if 0 < value < IGNORE:
                shown[row, value - 1] = True
    return tags, shown


def _duplicates(records: dict[str, Record]) -> dict[str, Any]:
    """Find images that are there under several ids, file by file the same."""
    by_content = defaultdict(list)
    for image_id, record in records.items():
        by_content[record.image].append(image_id)
    groups = [ids for ids in by_content.values() if len(ids) > 1]
    across = [ids for ids in groups if len({records[image_id].split for image_id in ids}) > 1]
    return {"groups": len(groups), "across_train_and_val": len(across), "first": (across or groups or [None])[0]}


def contents(dataset: DataSet) -> dict[str, str]:
    """Return what the last audit saw, as sha256 by relative path: `tree_root` of it is the data set's digest."""
    records, texts = _remembered(dataset.root / "audit.json")
    return {path.as_posix(): content for path, content in _contents(dataset, records, texts).items()}


def _contents(dataset: DataSet, records: dict[str, Record], texts: dict[str, str]) -> dict[Path, str]:
    """Return the sha256 of images, masks, lists and image-level labels by relative path."""
    found = {}
    for image_id, record in records.items():
        found[dataset.image_path(image_id)] = record.image
        found[dataset.mask_path(image_id, record.split)] = record.mask
    found = {path.relative_to(dataset.root): content for path, content in found.items()}
    return found | {Path(name): content for name, content in texts.items()}


def lines(report: dict[str, Any]) -> list[str]:
    """Return the report for people, one fact a line."""
    images, void, labels, same = (report[name] for name in ("images", "void", "image_labels", "duplicates"))
    borders = ", ".join(
        f"{name} {share['pixels_percent']:.1f} % of pixels in {share['masks_percent']:.0f} % of masks"
        for name, share in void.items()
    )
    by_tag = ", ".join(f"{name} {count}" for name, count in labels["images_by_tag"].items())
    duplicates = (
        f"{same['groups']} images are there under several ids, {same['across_train_and_val']} of them in train and val"
    )
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
