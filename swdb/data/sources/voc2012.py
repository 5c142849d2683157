"""The sources of photographs: what they are, and what VOC 2012 tells before anything is taken from it.

in: archives or folders -> out: lists of ids, image-level labels, and which files are there; or one error that says what is not
"""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from swdb.core.errors import BadInput, MissingArtefact, nearest
from swdb.core.files import Progress
from swdb.data import voc
from swdb.data.dataset import LISTS, read_tags
from swdb.data.sources.archives import Member, members
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
    """Where photographs, masks and image-level labels come from."""

    voc: Path | None = None  # the archive, or a folder that holds VOCdevkit/VOC2012
    sbd: Path | None = None  # the archive, its folder, or a folder or zip of SegmentationClassAug; else it is in `voc`
    image_labels: str = "boxes"  # boxes, masks, or a CSV of image,classes
    lists: Path | None = None  # a folder of train.txt, train_aug.txt and val.txt that go before VOC's own

    def options(self) -> str:
        """Return the options that name these sources again."""
        labels = None if self.image_labels == "boxes" else self.image_labels
        named = (("voc", self.voc), ("sbd", self.sbd), ("image-labels", labels), ("lists", self.lists))
        return "".join(f" --{name} {shlex.quote(str(value))}" for name, value in named if value is not None)

    def identity(self) -> list[Any]:
        """Return what tells these sources from others: what was taken from them is only taken up again for the same."""
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
    left_out: dict[str, str] = field(default_factory=dict)  # listed images that are not taken, and why


def sbd_source(sources: Sources) -> tuple[Path, str, re.Pattern]:
    """Return where SBD's masks are, the option that named it, and what they are called there."""
    return (sources.sbd, "--sbd", SBD_MASK) if sources.sbd else (sources.voc, "--voc", AUG_MASK)


def id_in(pattern: re.Pattern, name: str) -> str | None:
    """Return the image id in a member's name, if the pattern is in it."""
    match = pattern.search(name)
    return next(filter(None, match.groups()), None) if match else None


def reference_lists(sources: Sources, mend: str) -> dict[str, list[str]] | None:
    """Return the three lists of sources, by split; train_aug from the names of SBD's masks; None where one is unknown."""
    found = {}
    for member in members(sources.voc, lambda name: bool(LIST.search(name)), mend, "--voc"):
        found[LIST.search(member.name)[1]] = read_list(member, mend)
    if found.keys() == {voc.STRONG_SPLIT, voc.VAL_SPLIT}:
        source, option, pattern = sbd_source(sources)
        ids = set()
        for _ in members(source, lambda name: bool(ids.add(id_in(pattern, name))), mend, option):
            pass  # names are all that is wanted
        if others := ids - {None, *found[voc.STRONG_SPLIT], *found[voc.VAL_SPLIT]}:
            found[voc.ALL_SPLIT] = sorted({*found[voc.STRONG_SPLIT], *others})
    return found if len(found) == len(LISTS) else None


def look_through(data: Data, sources: Sources, progress: Progress, mend: str) -> Found:
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
            ids = read_list(member, mend)
            if set(ids) != set(found.lists.setdefault(match[1], ids)):
                raise BadInput(
                    f"--voc {sources.voc} holds two lists {match[1]}.txt of different images (one is {member.name}), expected one VOC 2012; name its folder itself with --voc"
                )
        elif match := BOXES.search(member.name):
            found.tags[match[1]] = _read_boxes(member, mend)
        progress(done, 0)
    for split in (voc.STRONG_SPLIT, voc.VAL_SPLIT):
        if split not in found.lists:
            raise BadInput(
                f"--voc {sources.voc}: the list ImageSets/Segmentation/{split}.txt is missing, expected VOC 2012 with JPEGImages, SegmentationClass and ImageSets; mend the source, then run: {mend}"
            )
    if sources.lists is not None:
        found.lists = _named_lists(sources.lists, mend)
    _compare_lists(found.lists, mend)
    if sources.image_labels not in ("boxes", "masks"):
        if not Path(sources.image_labels).is_file():
            raise BadInput(
                f"--image-labels {sources.image_labels}: no such file; expected boxes, masks, or a CSV of image,classes; mend that, then run: {mend}"
            )
        found.tags = read_tags(Path(sources.image_labels), mend)
        _refuse_unknown(found.tags, sources.image_labels, mend)
    return found


def _named_lists(folder: Path, mend: str) -> dict[str, list[str]]:
    """Read the three lists of a folder that the user named."""
    if not folder.is_dir():
        raise BadInput(f"--lists {folder}: no such folder; expected one with {NAMED} in it")
    lists = {}
    for split in LISTS:
        path = folder / f"{split}.txt"
        if not path.is_file():
            raise MissingArtefact(f"--lists {folder}: {path.name} is missing, expected {NAMED} in it")
        lists[split] = read_list(Member(path.name, path.stat().st_size, path, path.read_bytes), mend)
    return lists


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
                    f"{path}: image {image_id} has the unknown class {name!r}; {nearest(name, voc.CLASSES[1:])} mend the source, then run: {mend}"
                )


def read_list(member: Member, mend: str) -> list[str]:
    """Read a list of image ids; raises BadInput for an empty one, an id twice, or what is no text."""
    try:
        ids = member.read().decode().split()
    except UnicodeDecodeError:
        raise BadInput(f"{member.name} is no list of image ids; mend the source, then run: {mend}") from None
    if not ids:
        raise BadInput(
            f"the list {Path(member.name).name} is empty, expected image ids; mend the source, then run: {mend}"
        )
    odd = [image_id for image_id in ids if not re.fullmatch(r"[\w-]+", image_id)]
    if odd:
        raise BadInput(
            f"the list {Path(member.name).name} has {odd[0][:80]!r}, expected image ids; mend the source, then run: {mend}"
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


def is_kept(data: Data, tags: list[str]) -> bool:
    """Whether an image shows what the preset asks for, by its tags."""
    return not (data.classes or data.require) or bool(set(tags) & set(data.require or data.classes))


def wanted_ids(data: Data, sources: Sources, found: Found, split: str, mend: str) -> list[str]:
    """Return the sorted ids of one of VOC's own lists that the preset wants; their files must be there."""
    ids = sorted(found.lists[split])
    if data.available_only:
        there = found.images & found.masks
        found.left_out |= {image_id: "its image or mask is not there" for image_id in ids if image_id not in there}
        ids = [image_id for image_id in ids if image_id in there]
    for place, have in (("JPEGImages/{}.jpg", found.images), ("SegmentationClass/{}.png", found.masks)):
        refuse_missing(sorted(set(ids) - have), place, f"the list {split}.txt names it", mend)
    return [image_id for image_id in ids if by_tags(data, sources, found, image_id, mend)]


def by_tags(data: Data, sources: Sources, found: Found, image_id: str, mend: str) -> bool:
    """Whether the image is wanted, as far as its tags are known before its mask is read."""
    if sources.image_labels == "masks":
        return True
    if image_id not in found.tags:
        place = f"Annotations/{image_id}.xml" if sources.image_labels == "boxes" else sources.image_labels
        raise BadInput(
            f"image {image_id} has no image-level labels, expected them in {place}; mend the source, then run: {mend}, or name another source with --image-labels FILE.csv or --image-labels masks"
        )
    kept = is_kept(data, found.tags[image_id])
    if not kept:
        found.left_out.setdefault(image_id, "it has no tag that is kept")
    return kept


def refuse_count(split: str, ids: list[str], expected: int | None, found: Found, mend: str) -> None:
    """Raise BadInput where a list has not the number of images that the preset says; names one that was left out."""
    if not expected or len(ids) == expected:
        return
    reasons = sorted(found.left_out.items(), key=lambda item: (item[1].startswith("it has"), item[0]))
    first = f"; {reasons[0][0]} was left out, for {reasons[0][1]} ({len(reasons)} in all)" if reasons else ""
    raise BadInput(
        f"the list {split}.txt has {len(ids)} ids, expected {expected}{first}; mend the source, then run: {mend}, or take what is there under a name of its own with --available-only --name NAME"
    )


def refuse_missing(ids: list[str], place: str, named_by: str, mend: str) -> None:
    """Raise BadInput that counts what is missing and names the first, where anything is."""
    if ids:
        more = f" (and {len(ids) - 1} more)" if len(ids) > 1 else ""
        raise BadInput(
            f"{place.format(ids[0])}{more} is missing, though {named_by}; mend the source, then run: {mend}, or take what is there with --available-only"
        )
