"""What VOC 2012 and SBD hold, before anything is imported: lists, image-level labels, which files are there.

in: archives or folders -> out: lists of ids, tags by id, names of files; or one error that says what is not there
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from swdb.core.errors import BadInput, IncompleteSource, MissingArtefact, reason
from swdb.core.files import decode_text
from swdb.core.progress import Advance, silent
from swdb.data.facts import ALL_SPLIT, LISTS, STRONG_SPLIT, VAL_SPLIT
from swdb.data.sources.archives import Member, members, refuse_own
from swdb.data.sources.places import (
    ANNOTATION,
    IMAGE,
    LIST,
    OWN_MASK,
    SBD_MASK,
    SBD_PLACES,
    VOC_PLACES,
    Claim,
    Claims,
    differing,
)
from swdb.data.sources.tags import read_classes, read_label_file
from swdb.specs.presets import Data

NAMED = ", ".join(f"{split}.txt" for split in LISTS)  # what a folder of lists holds


@dataclass(frozen=True)
class Sources:
    """Where images, masks and image-level labels come from."""

    voc: Path | None = None  # the archive, or a folder that holds VOCdevkit/VOC2012
    sbd: Path | None = None  # the archive, its folder, or a folder or zip of SegmentationClassAug; else it is in `voc`
    image_labels: str = "boxes"  # boxes, masks, or a CSV of image,classes
    lists: Path | None = None  # a folder of train.txt, train_aug.txt and val.txt that go before VOC's own

    def refuse_own(self) -> None:
        """Raise BadInput where one of the sources was made by swdb itself."""
        labels = None if self.image_labels in ("boxes", "masks") else Path(self.image_labels)
        for option, path in (("voc", self.voc), ("sbd", self.sbd), ("image-labels", labels), ("lists", self.lists)):
            if path is not None:
                refuse_own(path, f"--{option} {path}")

    def fingerprint(self) -> list[Any]:
        """Return what tells these sources from others: what was imported from them is only taken up again for the same."""
        found = []
        labels = None if self.image_labels in ("boxes", "masks") else Path(self.image_labels)
        for path in (self.voc, self.sbd, labels, self.lists):
            whole = path is not None and path.is_file()
            found.append(
                [
                    str(path and os.path.realpath(path)),
                    *([path.stat().st_size, path.stat().st_mtime_ns] if whole else []),
                ]
            )
        return [*found, self.image_labels]


@dataclass
class Found:
    """What one reading of the VOC source told: its lists, its tags, and which files it has."""

    claims: Claims  # complete
    lists: dict[str, list[str]] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, BadInput] = field(default_factory=dict)  # what is wrong with an image's annotation
    left_out: dict[str, str] = field(default_factory=dict)  # listed images that are not imported, and why

    @cached_property
    def images(self) -> set[str]:
        """Ids of the images that are there."""
        return self.claims.keys(IMAGE)

    @cached_property
    def masks(self) -> set[str]:
        """Ids of VOC's own masks that are there."""
        return self.claims.keys(OWN_MASK)


def sbd_claims(sources: Sources, found: Found) -> Claims:
    """Return who claims to be SBD's masks: files of the source that was named for them, still unread, else VOC's own."""
    return Claims(sources.sbd, "--sbd", SBD_PLACES) if sources.sbd else found.claims


def reference_lists(sources: Sources) -> dict[str, list[str]] | None:
    """Return the three lists of sources, by split; train_aug from the names of SBD's masks; None where one is unknown."""
    found = _read(sources, None, silent())
    lists = found.lists
    if lists.keys() == {STRONG_SPLIT, VAL_SPLIT}:
        claims = sbd_claims(sources, found)
        if sources.sbd:
            for _ in members(claims.source, lambda name: bool(claims.note(name) and False), claims.option):
                pass  # names are all that is wanted
            claims.close(names_alone=True)
        official = {*lists[STRONG_SPLIT], *lists[VAL_SPLIT]}
        if others := claims.keys(SBD_MASK) - official:
            lists[ALL_SPLIT] = sorted({*lists[STRONG_SPLIT], *others})
    return lists if len(lists) == len(LISTS) else None


def look_through(sources: Sources, advance: Advance) -> Found:
    """Read the lists and boxes of the VOC source, and note which images and masks it has; compare the lists."""
    found = _read(sources, sources.image_labels in ("boxes", "masks"), advance)
    claims = found.claims
    for split in (STRONG_SPLIT, VAL_SPLIT):
        if split not in found.lists:
            lacking = f"ImageSets/Segmentation/{split}.txt is missing"
            raise BadInput(claims.where, lacking, "VOC 2012 with JPEGImages, SegmentationClass and ImageSets")
    if sources.lists is not None:
        found.lists = _named_lists(sources.lists)
    _compare_lists(found.lists, claims.where if sources.lists is None else f"--lists {sources.lists}")
    if sources.image_labels not in ("boxes", "masks"):
        found.tags = read_label_file(Path(sources.image_labels))
    return found


def _read(sources: Sources, boxes: bool | None, advance: Advance) -> Found:
    """Go once through the VOC source: note all names, read the lists and perhaps the boxes; None where lists are all.

    An annotation at fault is one only where its image is asked for.
    """
    claims = Claims(sources.voc, "--voc", VOC_PLACES)
    found, said = Found(claims), []

    def wanted(name: str) -> bool:
        claim = claims.note(name)
        return claim is not None and (claim.what == LIST or (boxes and claim.what == ANNOTATION))

    for done, member in enumerate(members(sources.voc, wanted, "--voc"), start=1):
        claim = claims.claim(member.name)
        said.append((claim, member.name, at_hand(member) if claim.what == LIST else read_classes(member, claims.where)))
        advance(done, 0)
    claims.close(names_alone=boxes is None)
    said = [entry for entry in said if claims.counts(entry[1])]
    found.lists = read_lists(claims, [(claim, member) for claim, _, member in said if claim.what == LIST])
    said = [entry for entry in said if entry[0].what == ANNOTATION]
    for claim, _, content in said:
        if isinstance(content, BadInput):
            found.faults[claim.key] = content
        else:
            found.tags[claim.key] = content
    told = ((claim, name, getattr(content, "found", content)) for claim, name, content in said)
    for claim, names in differing(told):
        found.faults[claim.key] = claims.conflict(claim, names)
    return found


def at_hand(member: Member) -> Member:
    """Return a small member with its bytes, so that it can be read when the source has moved on."""
    content = member.read()
    return replace(member, read=lambda: content)


def read_lists(claims: Claims, named: list[tuple[Claim, Member]]) -> dict[str, list[str]]:
    """Read the lists that count, by name; raises BadInput for two of one name that hold different images."""
    said = [(claim, member.name, read_list(member, claims.where)) for claim, member in named]
    for claim, names in differing((claim, name, sorted(ids)) for claim, name, ids in said):
        raise claims.conflict(claim, names)
    return {claim.key: ids for claim, _, ids in sorted(said, key=lambda entry: entry[1], reverse=True)}


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
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{where}, {path.name}", f"cannot be read ({reason(error)})", "a text file") from error
        lists[split] = read_list(Member(path.name, len(content), path, lambda content=content: content), where)
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


def read_list(member: Member, where: str) -> list[str]:
    """Read a list of image ids; raises BadInput for an empty one, an id twice, or what is not text."""
    place = f"{where}: the list {Path(member.name).name}"
    try:
        ids = decode_text(member.read()).split()
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
    if image_id in found.faults:
        raise found.faults[image_id]
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
