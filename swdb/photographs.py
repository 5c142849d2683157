"""Taking photographs: VOC 2012 and SBD, as official archives or unpacked folders, into one layout with one meaning.

The 1,464 train ids keep VOC's own masks with their border; the others take SBD's; val is always VOC's own. Lists are
derived from what the sources hold and sorted, so every form of the sources ends in the same data set.

in: sources -> out: the layout of VOC 2012 below a folder; what is there already is not taken again
"""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from swdb import voc
from swdb.archives import Member, members
from swdb.dataset import LISTS, read_tags, write_lists, write_tags
from swdb.errors import BadInput, MissingArtefact, nearest
from swdb.files import Progress, Stage
from swdb.pictures import read_mask
from swdb.preset import Data
from swdb.sbd import Job, write_masks

# What is where in the sources, by the end of a member's name: the folders above may be called anything.
LIST = re.compile(r"(?:^|/)ImageSets/Segmentation/(train|val|train_aug)\.txt$")
BOXES = re.compile(r"(?:^|/)Annotations/(\w+)\.xml$")
IMAGE = re.compile(r"(?:^|/)JPEGImages/(\w+)\.jpg$")
VOC_MASK = re.compile(r"(?:^|/)SegmentationClass/(\w+)\.png$")
AUG_MASK = re.compile(r"(?:^|/)SegmentationClassAug/(\w+)\.png$")
SBD_MASK = re.compile(
    r"(?:^|/)cls/(\w+)\.mat$|(?:^|/)(\d{4}_\d{6})\.png$"
)  # SBD itself, or masks that others converted
SBD_LIST = re.compile(r"(?:^|/)dataset/(?:train|val)\.txt$")


@dataclass(frozen=True)
class Sources:
    """Where photographs, masks and image-level labels come from."""

    voc: Path | None = None  # the archive, or a folder that holds VOCdevkit/VOC2012
    sbd: Path | None = (
        None  # the archive, its folder, or a folder or zip of SegmentationClassAug; else looked for in `voc`
    )
    image_labels: str = "boxes"  # boxes, masks, or a CSV of image,classes

    def options(self) -> str:
        """Return the options that name these sources again."""
        labels = None if self.image_labels == "boxes" else self.image_labels
        named = (("voc", self.voc), ("sbd", self.sbd), ("image-labels", labels))
        return "".join(f" --{name} {shlex.quote(str(value))}" for name, value in named if value is not None)

    def identity(self) -> list[Any]:
        """Return what tells these sources from others: what was taken from them is only taken up again for the same."""
        found = []
        labels = None if self.image_labels in ("boxes", "masks") else Path(self.image_labels)
        for path in (self.voc, self.sbd, labels):
            whole = path is not None and path.is_file()
            found.append(
                [str(path and path.resolve()), *([path.stat().st_size, path.stat().st_mtime_ns] if whole else [])]
            )
        return [*found, self.image_labels]


@dataclass
class Found:
    """What one reading of the VOC source told: its lists, its tags, and which files it has."""

    lists: dict[str, list[str]] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    masks: set[str] = field(default_factory=set)
    augmented: set[str] = field(default_factory=set)


def take(data: Data, sources: Sources, root: Path, stage: Stage, mend: str) -> tuple[list[str], str]:
    """Take what the preset wants below `root`; returns the class names and where the image-level labels come from."""
    assert sources.voc is not None
    found = _look_through(data, sources, stage("look through VOC 2012", 0), mend)
    strong, val = (_wanted(data, sources, found, split, mend) for split in (voc.STRONG_SPLIT, voc.VAL_SPLIT))
    if data.holdout:
        strong, val = _hold_out(strong, data.holdout)
    official = {image_id for split in (voc.STRONG_SPLIT, voc.VAL_SPLIT) for image_id in found.lists[split]}
    others = _take_sbd(data, sources, root, found, official, stage, mend)
    lists = {voc.STRONG_SPLIT: strong, voc.ALL_SPLIT: sorted({*strong, *others}), voc.VAL_SPLIT: val}
    _take_voc(data, sources.voc, root, lists, stage, mend)
    if sources.image_labels == "masks":
        found.tags = _tags_of_masks(data, root, lists, stage, mend)
        if data.classes or data.require:
            lists = {split: [i for i in ids if _is_kept(data, found.tags[i])] for split, ids in lists.items()}
    write_lists(root, lists)
    _sweep(root, lists)
    kept = set(data.classes or voc.CLASSES[1:])
    ids = lists[voc.ALL_SPLIT] + lists[voc.VAL_SPLIT]
    write_tags(root, {i: [name for name in voc.CLASSES if name in kept and name in found.tags[i]] for i in ids})
    return [voc.CLASSES[0], *(data.classes or voc.CLASSES[1 : data.num_classes])], Path(sources.image_labels).name


def reference_lists(sources: Sources, mend: str) -> dict[str, list[str]] | None:
    """Return the three lists of sources, by split; train_aug from the names of SBD's masks; None where one is unknown."""
    found = {}
    for member in members(sources.voc, lambda name: bool(LIST.search(name)), mend, "--voc"):
        found[LIST.search(member.name)[1]] = _read_list(member, mend)
    if found.keys() == {voc.STRONG_SPLIT, voc.VAL_SPLIT}:
        source, option, pattern = _sbd_source(sources)
        ids = set()
        for _ in members(source, lambda name: bool(ids.add(_id(pattern, name))), mend, option):
            pass  # names are all that is wanted
        if others := ids - {None, *found[voc.STRONG_SPLIT], *found[voc.VAL_SPLIT]}:
            found[voc.ALL_SPLIT] = sorted({*found[voc.STRONG_SPLIT], *others})
    return found if len(found) == len(LISTS) else None


# ---------------------------------------------------------------- lists and image-level labels


def _look_through(data: Data, sources: Sources, progress: Progress, mend: str) -> Found:
    """Read the lists and boxes of the VOC source, and note which images and masks it has."""
    found = Found()
    places = ((IMAGE, found.images), (VOC_MASK, found.masks), (AUG_MASK, found.augmented))

    def wanted(name: str) -> bool:
        for pattern, ids in places:
            if match := pattern.search(name):
                ids.add(match[1])
        return bool(LIST.search(name) or (sources.image_labels == "boxes" and BOXES.search(name)))

    for done, member in enumerate(members(sources.voc, wanted, mend, "--voc"), start=1):
        if match := LIST.search(member.name):
            ids = _read_list(member, mend)
            if set(ids) != set(found.lists.setdefault(match[1], ids)):
                raise BadInput(
                    f"--voc {sources.voc} holds two lists {match[1]}.txt of different images (one is {member.name}), expected one VOC 2012; name its folder itself with --voc, then run: {mend}"
                )
        elif match := BOXES.search(member.name):
            found.tags[match[1]] = _read_boxes(member, mend)
        progress(done, 0)
    for split in (voc.STRONG_SPLIT, voc.VAL_SPLIT):
        if split not in found.lists:
            raise BadInput(
                f"--voc {sources.voc}: the list ImageSets/Segmentation/{split}.txt is missing, expected VOC 2012 with JPEGImages, SegmentationClass and ImageSets; mend the source, then run: {mend}"
            )
    _compare_lists(found.lists, mend)
    if sources.image_labels not in ("boxes", "masks"):
        found.tags = read_tags(Path(sources.image_labels), mend)
        _refuse_unknown(found.tags, sources.image_labels, mend)
    return found


def _compare_lists(lists: dict[str, list[str]], mend: str) -> None:
    """Refuse lists that share what they must not, or lack what they must have."""
    strong, val = set(lists[voc.STRONG_SPLIT]), set(lists[voc.VAL_SPLIT])
    everything = set(lists.get(voc.ALL_SPLIT, strong))
    for split, ids in ((voc.STRONG_SPLIT, strong), (voc.ALL_SPLIT, everything)):
        if ids & val:
            raise BadInput(
                f"{len(ids & val)} images are in both {split}.txt and {voc.VAL_SPLIT}.txt (first: {min(ids & val)}); mend the source, then run: {mend}"
            )
    if strong - everything:
        raise BadInput(
            f"the list {voc.ALL_SPLIT}.txt lacks {len(strong - everything)} images of {voc.STRONG_SPLIT}.txt (first: {min(strong - everything)}); mend the source, then run: {mend}"
        )


def _refuse_unknown(tags: dict[str, list[str]], path: str, mend: str) -> None:
    """Refuse image-level labels that are no classes of VOC's: left out in silence, they would be missed in training."""
    for image_id, names in tags.items():
        for name in names:
            if name not in voc.CLASSES[1:]:
                raise BadInput(
                    f"{path}: image {image_id} has the unknown class {name!r}; {nearest(name, voc.CLASSES[1:])} mend it, then run: {mend}"
                )


def _read_list(member: Member, mend: str) -> list[str]:
    try:
        ids = member.read().decode().split()
    except UnicodeDecodeError:
        raise BadInput(f"{member.name} is no list of image ids; mend the source, then run: {mend}") from None
    if not ids:
        raise BadInput(
            f"the list {Path(member.name).name} is empty, expected image ids; mend the source, then run: {mend}"
        )
    twice = {image_id for image_id in ids if ids.count(image_id) > 1} if len(ids) != len(set(ids)) else set()
    if twice:
        raise BadInput(f"the list {Path(member.name).name} names {min(twice)} twice; mend the source, then run: {mend}")
    return ids


def _read_boxes(member: Member, mend: str) -> list[str]:
    """Return the classes of the objects of a VOC annotation, difficult ones included."""
    try:
        names = {node.text for node in ElementTree.fromstring(member.read()).findall("object/name")}
    except ElementTree.ParseError as error:
        raise BadInput(f"{member.name} is no VOC annotation ({error}); mend the source, then run: {mend}") from None
    return sorted(names & set(voc.CLASSES))


def _is_kept(data: Data, tags: list[str]) -> bool:
    """Whether an image shows what the preset asks for, by its tags."""
    return not (data.classes or data.require) or bool(set(tags) & set(data.require or data.classes))


def _wanted(data: Data, sources: Sources, found: Found, split: str, mend: str) -> list[str]:
    """Return the sorted ids of one of VOC's own lists that the preset wants; their files must be there."""
    ids = sorted(found.lists[split])
    if data.available_only:
        ids = [image_id for image_id in ids if image_id in found.images & found.masks]
    for place, have in (("JPEGImages/{}.jpg", found.images), ("SegmentationClass/{}.png", found.masks)):
        _refuse_missing(sorted(set(ids) - have), place, f"the list {split}.txt names it", mend)
    return [image_id for image_id in ids if _by_tags(data, sources, found, image_id, mend)]


def _by_tags(data: Data, sources: Sources, found: Found, image_id: str, mend: str) -> bool:
    """Whether the image is wanted, as far as its tags are known before its mask is read."""
    if sources.image_labels == "masks":
        return True
    if image_id not in found.tags:
        place = f"Annotations/{image_id}.xml" if sources.image_labels == "boxes" else sources.image_labels
        raise BadInput(
            f"image {image_id} has no image-level labels, expected them in {place}; mend the source, then run: {mend}, or name another source with --image-labels FILE.csv or --image-labels masks"
        )
    return _is_kept(data, found.tags[image_id])


def _refuse_missing(ids: list[str], place: str, named_by: str, mend: str) -> None:
    if ids:
        more = f" (and {len(ids) - 1} more)" if len(ids) > 1 else ""
        raise BadInput(
            f"{place.format(ids[0])}{more} is missing, though {named_by}; mend the source, then run: {mend}, or take what is there with --available-only"
        )


def _hold_out(strong: list[str], count: int) -> tuple[list[str], list[str]]:
    """Split `count` ids off, evenly spread over the sorted list: they stand for val where settings are chosen."""
    val = [strong[k * len(strong) // count] for k in range(count)]
    return sorted(set(strong) - set(val)), val


# ---------------------------------------------------------------- masks and images


def _take_sbd(
    data: Data, sources: Sources, root: Path, found: Found, official: set[str], stage: Stage, mend: str
) -> list[str]:
    """Convert SBD's masks for the images that VOC's own lists do not name; returns their ids."""
    source, option, pattern = _sbd_source(sources)
    if not sources.sbd and not found.augmented:
        raise MissingArtefact(
            f"--voc {sources.voc} holds no SegmentationClassAug, and no other source of SBD's masks is named; add --sbd with benchmark.tgz, its folder, or a SegmentationClassAug folder or zip"
        )
    held, taken = set(), set()
    listed = set(found.lists.get(voc.ALL_SPLIT, ())) - official

    def target(image_id: str) -> Path:
        return voc.mask_path(root, image_id, voc.ALL_SPLIT)

    def wanted(name: str) -> bool:
        if sources.sbd and SBD_LIST.search(name):
            return True
        image_id = _id(pattern, name)
        if image_id is None or image_id in official or (not sources.sbd and listed and image_id not in listed):
            return False
        held.add(image_id)
        return (image_id in found.images or not data.available_only) and _by_tags(data, sources, found, image_id, mend)

    def jobs() -> Iterator[Job]:
        for member in members(source, wanted, mend, option):
            if SBD_LIST.search(member.name):
                listed.update(set(_read_list(member, mend)) - official)
                continue
            image_id = _id(pattern, member.name)
            taken.add(image_id)
            if not _is_newer(target(image_id), member):
                kind = "mat" if member.name.endswith(".mat") else "png"
                yield Job(image_id, kind, member.read(), f"{option} {source}: {member.name}")

    total = data.num_train - data.num_strong
    progress = stage("convert SBD masks", max(total, 0))
    for _ in write_masks(jobs(), target, voc.kept_labels(data.classes), mend):
        progress(len(taken), max(total, len(taken)))
    if not held:
        raise BadInput(
            f"{option} {source} holds no masks beside those of VOC's own lists, expected cls/ID.mat or ID.png; mend the source, then run: {mend}"
        )
    if not data.available_only:
        lost = [i for i in sorted(listed - taken) if _by_tags(data, sources, found, i, mend)]
        place = "cls/{}.mat" if sources.sbd else "SegmentationClassAug/{}.png"
        lists = f"the list {voc.ALL_SPLIT}.txt of VOC" if voc.ALL_SPLIT in found.lists else "SBD's own lists"
        _refuse_missing(lost, place, f"{lists} names it", mend)
        _refuse_missing(sorted(taken - found.images), "JPEGImages/{}.jpg", "SBD has a mask for it", mend)
    return sorted(taken)


def _sbd_source(sources: Sources) -> tuple[Path, str, re.Pattern]:
    """Return where SBD's masks are, the option that named it, and what they are called there."""
    return (sources.sbd, "--sbd", SBD_MASK) if sources.sbd else (sources.voc, "--voc", AUG_MASK)


def _id(pattern: re.Pattern, name: str) -> str | None:
    match = pattern.search(name)
    return next(filter(None, match.groups()), None) if match else None


def _take_voc(data: Data, source: Path, root: Path, lists: dict[str, list[str]], stage: Stage, mend: str) -> None:
    """Take images and VOC's own masks as they are, linked where they lie on the same disk; masks of a subset anew."""
    val = set(lists[voc.VAL_SPLIT])
    images, own = {*lists[voc.ALL_SPLIT], *val}, {*lists[voc.STRONG_SPLIT], *val}
    table = voc.kept_labels(data.classes)
    progress = stage("take images and masks", len(images) + len(own))

    def wanted(name: str) -> bool:
        return _id(IMAGE, name) in images or _id(VOC_MASK, name) in own

    def remapped() -> Iterator[Job]:
        for done, member in enumerate(members(source, wanted, mend, "--voc"), start=1):
            progress(done, len(images) + len(own))
            if (image_id := _id(IMAGE, member.name)) is not None:
                _place(member, voc.image_path(root, image_id))
                continue
            image_id = _id(VOC_MASK, member.name)
            target = mask_of(image_id)
            if table is None:
                _place(member, target)
            elif not _is_newer(target, member):
                yield Job(image_id, "png", member.read(), f"--voc {source}: {member.name}")

    def mask_of(image_id: str) -> Path:
        return voc.mask_path(root, image_id, voc.VAL_SPLIT if image_id in val else voc.ALL_SPLIT)

    for _ in write_masks(remapped(), mask_of, table, mend):
        pass


def _is_newer(target: Path, member: Member) -> bool:
    """Whether a file was already made from this member; members of an archive are as old as the archive, which is noted."""
    try:
        return (
            member.path is None or target.stat().st_mtime_ns >= member.path.stat().st_mtime_ns
            if target.exists()
            else False
        )
    except OSError:
        return False


def _place(member: Member, target: Path) -> None:
    """Link a file, or write its bytes under another name and rename it: a kill leaves no half file."""
    if member.path is not None and target.exists() and target.samefile(member.path):
        return
    if member.path is None and target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        if member.path is None:
            raise OSError
        os.link(member.path.resolve(), temporary)  # of the file itself: a link that is moved leads nowhere
    except OSError:
        temporary.write_bytes(member.read())
    os.replace(temporary, target)


def _sweep(root: Path, lists: dict[str, list[str]]) -> None:
    """Delete what was taken and then not wanted, and what a killed start left half written."""
    train, val = set(lists[voc.ALL_SPLIT]), set(lists[voc.VAL_SPLIT])
    named = {voc.image_path(root, i) for i in train | val}
    named |= {voc.mask_path(root, i, split) for split in (voc.ALL_SPLIT, voc.VAL_SPLIT) for i in lists[split]}
    for folder in {path.parent for path in named}:
        for path in folder.iterdir():
            if path not in named:
                path.unlink()


def _tags_of_masks(
    data: Data, root: Path, lists: dict[str, list[str]], stage: Stage, mend: str
) -> dict[str, list[str]]:
    """Return the classes that each mask shows."""
    names = [voc.CLASSES[0], *(data.classes or voc.CLASSES[1:])]
    split_of = {i: split for split in (voc.ALL_SPLIT, voc.VAL_SPLIT) for i in lists[split]}
    progress: Callable[[int, int], None] = stage("image-level labels from the masks", len(split_of))
    tags = {}
    for done, (image_id, split) in enumerate(split_of.items(), start=1):
        labels = np.unique(read_mask(voc.mask_path(root, image_id, split), data.num_classes, mend))
        tags[image_id] = [names[label] for label in labels if label not in (0, voc.IGNORE)]
        progress(done, len(split_of))
    return tags
