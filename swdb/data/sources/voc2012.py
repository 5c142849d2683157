"""What VOC 2012 and SBD hold, before anything is imported: lists, image-level labels, which files are there.

in: archives or folders -> out: lists of ids, tags by id, names of files; or one error that says what is not there
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from swdb.core.errors import BadInput, IncompleteSource, MissingArtefact, unknown
from swdb.core.progress import Advance
from swdb.data.dataset import read_tags
from swdb.data.facts import ALL_SPLIT, LISTS, STRONG_SPLIT, VAL_SPLIT
from swdb.data.sources.archives import Member, members
from swdb.data.voc import CLASSES
from swdb.specs.presets import Data

# What is where in the sources, by the end of a member's name: the folders above may be called anything.
LIST = re.compile(r"(?:^|/)ImageSets/Segmentation/(train|val|train_aug)\.txt$")
BOXES = re.compile(r"(?:^|/)Annotations/(\w+)\.xml$")
IMAGE = re.compile(r"(?:^|/)JPEGImages/(\w+)\.jpg$")
VOC_MASK = re.compile(r"(?:^|/)SegmentationClass/(\w+)\.png$")
AUG_MASK = re.compile(r"(?:^|/)SegmentationClassAug/(\w+)\.png$")
# SBD's own, or masks that others converted.
SBD_MASK = re.compile(r"(?:^|/)cls/(\w+)\.mat$|(?:^|/)(\d{4}_\d{6})\.png$")
SBD_LIST = re.compile(r"(?:^|/)dataset/(?:train|val)\.txt$")
NAMED = ", ".join(f"{split}.txt" for split in LISTS)  # what a folder of lists holds


@dataclass(frozen=True)
class Sources:
    """Where images, masks and image-level labels come from."""

    voc: Path | None = None  # the archive, or a folder that holds VOCdevkit/VOC2012
    sbd: Path | None = None  # the archive, its folder, or a folder or zip of SegmentationClassAug; else it is in `voc`
    image_labels: str = "boxes"  # boxes, masks, or a CSV of image,classes
    lists: Path | None = None  # a folder of train.txt, train_aug.txt and val.txt that go before VOC's own

    def fingerprint(self) -> list[Any]:
        """Return what tells these sources from others: what was imported from them is only taken up again for the same."""
        found = []
        labels = None if self.image_labels in ("boxes", "masks") else Path(self.image_labels)
        for path in (self.voc, self.sbd, labels, self.lists):
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
    left_out: dict[str, str] = field(default_factory=dict)  # listed images that are not imported, and why


def sbd_source(sources: Sources) -> tuple[Path, str, re.Pattern]:
    """Return where SBD's masks are, the option that named it, and what they are called there."""
    return (sources.sbd, "--sbd", SBD_MASK) if sources.sbd else (sources.voc, "--voc", AUG_MASK)


def id_in(pattern: re.Pattern, name: str) -> str | None:
    """Return the image id in a member's name, if the pattern is in it."""
    match = pattern.search(name)
    return next(filter(None, match.groups()), None) if match else None


def reference_lists(sources: Sources) -> dict[str, list[str]] | None:
    """Return the three lists of sources, by split; train_aug from the names of SBD's masks; None where one is unknown."""
    found = {}
    for member in members(sources.voc, lambda name: bool(LIST.search(name)), "--voc"):
        found[LIST.search(member.name)[1]] = read_list(member, f"--voc {sources.voc}")
    if found.keys() == {STRONG_SPLIT, VAL_SPLIT}:
        source, option, pattern = sbd_source(sources)
        ids = set()
        for _ in members(source, lambda name: bool(ids.add(id_in(pattern, name))), option):
            pass  # names are all that is wanted
        if others := ids - {None, *found[STRONG_SPLIT], *found[VAL_SPLIT]}:
            found[ALL_SPLIT] = sorted({*found[STRONG_SPLIT], *others})
    return found if len(found) == len(LISTS) else None


def look_through(sources: Sources, advance: Advance) -> Found:
    """Read the lists and boxes of the VOC source, and note which images and masks it has."""
    found, where = Found(), f"--voc {sources.voc}"
    places = ((IMAGE, found.images), (VOC_MASK, found.masks), (AUG_MASK, found.augmented))

    def wanted(name: str) -> bool:
        for pattern, ids in places:
            if match := pattern.search(name):
                ids.add(match[1])
        return bool(LIST.search(name) or (sources.image_labels == "boxes" and BOXES.search(name)))

    for done, member in enumerate(members(sources.voc, wanted, "--voc"), start=1):
        if match := LIST.search(member.name):
            ids = read_list(member, where)
            if set(ids) != set(found.lists.setdefault(match[1], ids)):
                two = f"holds two lists {match[1]}.txt of different images (one is {member.name})"
                raise BadInput(where, two, "one VOC 2012: name its folder itself")
        elif match := BOXES.search(member.name):
            found.tags[match[1]] = _read_boxes(member, where)
        advance(done, 0)
    for split in (STRONG_SPLIT, VAL_SPLIT):
        if split not in found.lists:
            lacking = f"ImageSets/Segmentation/{split}.txt is missing"
            raise BadInput(where, lacking, "VOC 2012 with JPEGImages, SegmentationClass and ImageSets")
    if sources.lists is not None:
        found.lists = _named_lists(sources.lists)
    _compare_lists(found.lists, where if sources.lists is None else f"--lists {sources.lists}")
    if sources.image_labels not in ("boxes", "masks"):
        found.tags = _named_labels(Path(sources.image_labels))
    return found


def _named_lists(folder: Path) -> dict[str, list[str]]:
    """Read the three lists of a folder that the user named."""
    where = f"--lists {folder}"
    if not folder.is_dir():
        raise BadInput(where, "no such folder", f"one with {NAMED} in it")
    lists = {}
    for split in LISTS:
        path = folder / f"{split}.txt"
        if not path.is_file():
            raise MissingArtefact(where, f"{path.name} is missing", NAMED)
        lists[split] = read_list(Member(path.name, path.stat().st_size, path, path.read_bytes), where)
    return lists


def _compare_lists(lists: dict[str, list[str]], where: str) -> None:
    """Refuse lists that share what they must not, or lack what they must have."""
    strong, val = set(lists[STRONG_SPLIT]), set(lists[VAL_SPLIT])
    everything = set(lists.get(ALL_SPLIT, strong))
    for split, ids in ((STRONG_SPLIT, strong), (ALL_SPLIT, everything)):
        if shared := ids & val:
            found = f"{split}.txt and {VAL_SPLIT}.txt share {len(shared)} of their images (first: {min(shared)})"
            raise BadInput(where, found, "lists that share no image")
    if lacking := strong - everything:
        found = f"{ALL_SPLIT}.txt lacks {len(lacking)} images of {STRONG_SPLIT}.txt (first: {min(lacking)})"
        raise BadInput(where, found, "all of them")


def _named_labels(path: Path) -> dict[str, list[str]]:
    """Read a CSV of image-level labels; names that are not classes of VOC's are refused: left out, they would be missed."""
    if not path.is_file():
        raise BadInput(f"--image-labels {path}", "no such file", "boxes, masks, or a CSV of image,classes")
    tags = read_tags(path)
    for image_id, names in tags.items():
        for name in names:
            if name not in CLASSES[1:]:
                raise unknown(f"--image-labels {path}: image {image_id}: class", name, CLASSES[1:])
    return tags


def read_list(member: Member, where: str) -> list[str]:
    """Read a list of image ids; raises BadInput for an empty one, an id twice, or what is not text."""
    place = f"{where}: the list {Path(member.name).name}"
    try:
        ids = member.read().decode().split()
    except UnicodeDecodeError:
        raise BadInput(place, "not text", "image ids") from None
    if not ids:
        raise BadInput(place, "empty", "image ids")
    odd = [image_id for image_id in ids if not re.fullmatch(r"[\w-]+", image_id)]
    if odd:
        raise BadInput(place, f"has {odd[0][:80]!r}", "image ids")
    times = Counter(ids)
    twice = [image_id for image_id, number in times.items() if number > 1]
    if twice:
        raise BadInput(place, f"names {min(twice)} twice", "every image once")
    return ids


def _read_boxes(member: Member, where: str) -> list[str]:
    """Return the classes of the objects of a VOC annotation, difficult ones included."""
    try:
        names = {node.text for node in ElementTree.fromstring(member.read()).findall("object/name")}
    except ElementTree.ParseError as error:
        raise BadInput(f"{where}: {member.name}", f"not XML ({error})", "a VOC annotation") from None
    return sorted(names & set(CLASSES))


def is_kept(settings: Data, tags: list[str]) -> bool:
    """Whether an image shows what the preset asks for, by its tags."""
    return not (settings.classes or settings.require) or bool(set(tags) & set(settings.require or settings.classes))


def wanted_ids(settings: Data, sources: Sources, found: Found, split: str) -> list[str]:
    """Return the sorted ids of one of VOC's own lists that the preset wants; their files must be there."""
    ids = sorted(found.lists[split])
    if settings.available_only:
        there = found.images & found.masks
        found.left_out |= {image_id: "its image or mask is not there" for image_id in ids if image_id not in there}
        ids = [image_id for image_id in ids if image_id in there]
    where = f"--voc {sources.voc}"
    for place, have in (("JPEGImages/{}.jpg", found.images), ("SegmentationClass/{}.png", found.masks)):
        refuse_missing(where, sorted(set(ids) - have), place, f"the list {split}.txt names it")
    return [image_id for image_id in ids if by_tags(settings, sources, found, image_id)]


def by_tags(settings: Data, sources: Sources, found: Found, image_id: str) -> bool:
    """Whether the image is wanted, as far as its tags are known before its mask is read."""
    if sources.image_labels == "masks":
        return True
    if image_id not in found.tags:
        boxes = sources.image_labels == "boxes"
        where = f"--voc {sources.voc}" if boxes else f"--image-labels {sources.image_labels}"
        place = f"Annotations/{image_id}.xml" if boxes else "a line for it"
        raise BadInput(where, f"image {image_id} has no image-level labels", f"{place}, or other --image-labels")
    kept = is_kept(settings, found.tags[image_id])
    if not kept:
        found.left_out.setdefault(image_id, "it has no tag that is kept")
    return kept


def refuse_count(where: str, split: str, ids: list[str], expected: int | None, found: Found) -> None:
    """Raise IncompleteSource where a list has not the number of images that the preset says; names one that was left out."""
    if not expected or len(ids) == expected:
        return
    reasons = sorted(found.left_out.items(), key=lambda item: (item[1].startswith("it has"), item[0]))
    first = f" ({reasons[0][0]} was left out, for {reasons[0][1]}; {len(reasons)} in all)" if reasons else ""
    raise IncompleteSource(where, f"the number of images in {split}.txt is {len(ids)}{first}", f"{expected}")


def refuse_missing(where: str, ids: list[str], place: str, named_by: str) -> None:
    """Raise IncompleteSource that counts what is missing and names the first, where anything is."""
    if ids:
        more = f" (and {len(ids) - 1} more)" if len(ids) > 1 else ""
        raise IncompleteSource(where, f"{place.format(ids[0])}{more} is missing, though {named_by}")
