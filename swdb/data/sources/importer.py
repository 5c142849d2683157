"""Importing real images: VOC 2012 and SBD, as official archives or unpacked folders, into one layout with one meaning.

The 1,464 train ids keep VOC's own masks with their border; the others take SBD's; val is always VOC's own. Lists are
derived from what the sources hold and sorted, so every form of the sources ends in the same data set.

in: sources -> out: VOC 2012's layout below a folder; what is there already is not imported again
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import replacing
from swdb.core.progress import Progress
from swdb.data.agreement import Labelled, refuse_borderless, refuse_contradictions
from swdb.data.dataset import write_lists, write_tags
from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT, VAL_SPLIT
from swdb.data.images import has_other_palette, read_mask
from swdb.data.sources.archives import Member, is_streamed, members
from swdb.data.sources.places import (
    IMAGE,
    OWN_MASK,
    SBD_LIST,
    SBD_MASK,
    Claim,
    Claims,
    read_chosen,
)
from swdb.data.sources.sbd import Job, has_border, write_masks
from swdb.data.sources.voc2012 import (
    Found,
    Sources,
    at_hand,
    by_tags,
    is_kept,
    look_through,
    read_lists,
    refuse_count,
    refuse_missing,
    sbd_claims,
    wanted_ids,
)
from swdb.data.voc import CLASSES, IGNORE, VOC2012, kept_labels
from swdb.specs.presets import Data

SBD_EXPECTED = "cls/ID.mat, SegmentationClassAug/ID.png, or a folder of nothing but ID.png"
LOOKED_AT = 250  # masks of a list, or up to twice as many, in which a border is looked for where all are rewritten


@dataclass(frozen=True)
class Import:
    """One import under way: what is wanted, from where, to where, and who watches."""

    settings: Data
    sources: Sources
    root: Path
    progress: Progress

    def image_path(self, image_id: str) -> Path:
        """Return where an image goes."""
        return VOC2012.layout.image_path(self.root, image_id)

    def mask_path(self, image_id: str, split: str) -> Path:
        """Return where a mask goes."""
        return VOC2012.layout.mask_path(self.root, image_id, split)


def import_voc(settings: Data, sources: Sources, root: Path, progress: Progress) -> str:
    """Import what the preset wants below `root`; returns where the image-level labels come from."""
    assert sources.voc is not None
    sources.refuse_own()
    job, where = Import(settings, sources, root, progress), f"--voc {sources.voc}"
    found = look_through(sources, progress("look through VOC 2012", 0))
    strong, val = (wanted_ids(settings, sources, found, split) for split in (STRONG_SPLIT, VAL_SPLIT))
    if settings.holdout:
        strong, val = _hold_out(strong, settings.holdout)
    expected = {STRONG_SPLIT: settings.num_strong, ALL_SPLIT: settings.num_train, VAL_SPLIT: settings.num_val}
    if sources.image_labels == "masks":
        expected = {}  # the masks decide later what is kept; the audit counts it
    listed_in = f"--lists {sources.lists}" if sources.lists else where
    for split, ids in ((STRONG_SPLIT, strong), (VAL_SPLIT, val)):
        refuse_count(listed_in, split, ids, expected.get(split), found)
    official = {image_id for split in (STRONG_SPLIT, VAL_SPLIT) for image_id in found.lists[split]}
    others = _import_sbd(job, found, official)
    lists = {STRONG_SPLIT: strong, ALL_SPLIT: sorted({*strong, *others}), VAL_SPLIT: val}
    refuse_count(listed_in, ALL_SPLIT, lists[ALL_SPLIT], expected.get(ALL_SPLIT), found)
    _import_voc(job, found, lists)
    if sources.image_labels == "masks":
        boxes, found.tags = found.tags, _tags_of_masks(job, lists)
        _compare_with_boxes(job, boxes, found.tags)
        if settings.classes or settings.require:
            lists = {split: [i for i in ids if is_kept(settings, found.tags[i])] for split, ids in lists.items()}
    write_lists(VOC2012, root, lists)
    _sweep(job, lists)
    kept = set(settings.classes or CLASSES[1:])
    ids = lists[ALL_SPLIT] + lists[VAL_SPLIT]
    write_tags(root, {i: [name for name in CLASSES if name in kept and name in found.tags[i]] for i in ids})
    return Path(sources.image_labels).name


def _compare_with_boxes(job: Import, boxes: dict[str, list[str]], tags: dict[str, list[str]]) -> None:
    """Refuse tags read off masks that the annotations beside them, which nobody asked for, contradict."""
    ids, classes = sorted(boxes.keys() & tags.keys()), list(job.settings.classes or CLASSES[1:])
    if not ids:
        return
    said, shown = (np.array([[name in of[i] for name in classes] for i in ids]) for of in (boxes, tags))
    refuse_contradictions("--image-labels masks", Labelled("images", ids, classes, said, shown, own=False))


def _hold_out(strong: list[str], count: int) -> tuple[list[str], list[str]]:
    """Split `count` ids off, evenly spread over the sorted list: they stand for val where settings are chosen."""
    val = [strong[k * len(strong) // count] for k in range(count)]
    return sorted(set(strong) - set(val)), val


def _import_sbd(job: Import, found: Found, official: set[str]) -> list[str]:
    """Convert SBD's masks for the images that VOC's own lists do not name; returns their ids."""
    settings, sources = job.settings, job.sources
    claims = sbd_claims(sources, found)
    if not sources.sbd and not claims.keys(SBD_MASK):
        named = "benchmark.tgz, its folder, or a SegmentationClassAug folder or zip, named with --sbd"
        lacking = "holds no SegmentationClassAug, and no other source of SBD's masks is named"
        raise MissingArtefact(claims.where, lacking, named)
    held, taken = set(), set()
    listed = set(found.lists.get(ALL_SPLIT, ())) - official
    chosen = bool(
        ALL_SPLIT in found.lists and (sources.lists or not sources.sbd)
    )  # the list decides, else what SBD has
    if chosen and not listed:
        where = f"--lists {sources.lists}" if sources.lists else claims.where
        lacking = f"{ALL_SPLIT}.txt names no image beside those of {STRONG_SPLIT}.txt and {VAL_SPLIT}.txt"
        raise BadInput(where, lacking, "those with weak labels, too")

    def wanted(image_id: str) -> bool:
        if image_id in official or (chosen and image_id not in listed):
            return False
        held.add(image_id)
        return (image_id in found.images or not settings.available_only) and by_tags(settings, sources, found, image_id)

    def masks() -> Iterator[tuple[Claim, Member]]:
        if sources.sbd:
            yield from _look_through_sbd(claims, None if chosen else listed, wanted)
        ids = [image_id for image_id in sorted(claims.keys(SBD_MASK)) if wanted(image_id)]
        names = claims.choose({SBD_MASK: ids})
        yield from read_chosen(claims, {name: claim for name, claim in names.items() if claim.key not in taken})

    def jobs() -> Iterator[tuple[Job, Member]]:
        for claim, member in masks():
            taken.add(claim.key)
            if not _is_made(job.mask_path(claim.key, ALL_SPLIT), member):
                kind = "mat" if member.name.lower().endswith(".mat") else "png"
                yield Job(claim.key, kind, member.read(), f"{claims.where}: {member.name}"), member

    total = max(settings.num_train - settings.num_strong, 0)
    advance = job.progress("convert SBD masks", total)
    for _ in _write(jobs(), lambda image_id: job.mask_path(image_id, ALL_SPLIT), settings):
        advance(len(taken), total)
    if not settings.available_only:
        lost = [i for i in sorted(listed - official - taken) if by_tags(settings, sources, found, i)]
        place = "cls/{}.mat" if sources.sbd else "SegmentationClassAug/{}.png"
        lists = f"the list {ALL_SPLIT}.txt" if ALL_SPLIT in found.lists else "SBD's own lists"
        refuse_missing(claims.where, lost, place, f"{lists} names it")
        unseen = sorted(taken - found.images)
        refuse_missing(f"--voc {sources.voc}", unseen, "JPEGImages/{}.jpg", "SBD has a mask for it")
    if not held:
        raise BadInput(claims.where, "holds no masks beside those of VOC's own lists", SBD_EXPECTED)
    return sorted(taken)


def _look_through_sbd(
    claims: Claims, listed: set[str] | None, wanted: Callable[[str], bool]
) -> Iterator[tuple[Claim, Member]]:
    """Go once through a source of SBD's: note all names, and add SBD's own lists to `listed` where they are asked for.

    A stream, in which going through it costs as much as reading it, hands out what is wanted of the first place at once:
    that place takes precedence over any other in the source.
    """
    streamed, begun, lists = is_streamed(claims.source), set(), []

    def asked(name: str) -> bool:
        claim = claims.note(name)
        if claim is None or claim.what == SBD_LIST:
            return claim is not None and listed is not None
        return streamed and claim.rank == 0 and claim.key not in begun and wanted(claim.key)

    for member in members(claims.source, asked, claims.option):
        claim = claims.claim(member.name)
        if claim.what == SBD_LIST:
            lists.append((claim, at_hand(member)))
            continue
        begun.add(claim.key)
        yield claim, member
    claims.close()
    counting = [(claim, member) for claim, member in lists if claims.counts(member.name)]
    for ids in read_lists(claims, counting).values():
        listed.update(ids)


def _import_voc(job: Import, found: Found, lists: dict[str, list[str]]) -> None:
    """Import images and VOC's own masks as they are, linked where they lie on the same disk.

    Masks of a part are rewritten, and those of another palette. Raises BadInput where most have no void border: in a part
    every class that is left out becomes void, so nobody could tell afterwards.
    """
    val, settings = set(lists[VAL_SPLIT]), job.settings
    images, own = {*lists[ALL_SPLIT], *val}, {*lists[STRONG_SPLIT], *val}
    chosen = found.claims.choose({IMAGE: images, OWN_MASK: own})
    total = len(images) + len(own)
    advance = job.progress("import images and masks", total)
    own_splits = (STRONG_SPLIT, VAL_SPLIT) if settings.classes else ()
    looked_at = {i for split in own_splits for i in lists[split][:: len(lists[split]) // LOOKED_AT or 1]}
    bordered: dict[str, bool] = {}

    def rewritten() -> Iterator[tuple[Job, Member]]:
        for done, (claim, member) in enumerate(read_chosen(found.claims, chosen), start=1):
            advance(done, total)
            if claim.what == IMAGE:
                _place(member, job.image_path(claim.key))
                continue
            target = mask_of(claim.key)
            made = _is_made(target, member) if settings.classes else _is_placed(target, member)
            if made and claim.key not in looked_at:
                continue
            mask = Job(claim.key, "png", member.read(), f"--voc {job.sources.voc}: {member.name}")
            if claim.key in looked_at:
                bordered[claim.key] = has_border(mask)
            if settings.classes or has_other_palette(mask.data, VOC2012.palette, len(CLASSES)):
                if not _is_made(target, member):
                    yield mask, member
            else:
                _place(replace(member, read=lambda data=mask.data: data), target)

    def mask_of(image_id: str) -> Path:
        return job.mask_path(image_id, VAL_SPLIT if image_id in val else ALL_SPLIT)

    for _ in _write(rewritten(), mask_of, job.settings):
        pass
    for split in own_splits:
        seen = [bordered[image_id] for image_id in lists[split] if image_id in bordered]
        refuse_borderless(VOC2012, VOC2012.layout.list_path(job.root, split), seen)


def _is_made(target: Path, member: Member) -> bool:
    """Whether a mask was already made from this member: it has its file's time; an archive's own time is noted elsewhere."""
    if not target.exists():
        return False
    return member.path is None or target.stat().st_mtime_ns == member.path.stat().st_mtime_ns


def _write(jobs: Iterator[tuple[Job, Member]], target: Callable[[str], Path], settings: Data) -> Iterator[None]:
    """Write masks on all cores, each with the time of the file that it was made from."""
    times: dict[str, int] = {}

    def noted() -> Iterator[Job]:
        for job, member in jobs:
            if member.path is not None:
                times[job.image_id] = member.path.stat().st_mtime_ns
            yield job

    for written in write_masks(noted(), target, kept_labels(settings.classes)):
        if written.image_id in times:
            time = times.pop(written.image_id)
            os.utime(target(written.image_id), ns=(time, time))
        yield


def _is_placed(target: Path, member: Member) -> bool:
    """Whether a file was already placed as it is."""
    return target.exists() and (member.path is None or target.samefile(member.path))


def _place(member: Member, target: Path) -> None:
    """Link a file, or write its bytes; a kill leaves no half file."""
    if _is_placed(target, member):
        return
    with replacing(target) as temporary:
        if member.path is None or not _linked(member.path, temporary):
            temporary.write_bytes(member.read())


def _linked(path: Path, link: Path) -> bool:
    """Link a file itself, for a link that is moved leads nowhere; False where the disk does not allow it."""
    try:
        os.link(path.resolve(), link)
    except OSError:
        return False
    return True


def _sweep(job: Import, lists: dict[str, list[str]]) -> None:
    """Delete what was imported and then not wanted, and what a killed start left half written."""
    named = {job.image_path(i) for i in {*lists[ALL_SPLIT], *lists[VAL_SPLIT]}}
    named |= {job.mask_path(i, split) for split in (ALL_SPLIT, VAL_SPLIT) for i in lists[split]}
    for folder in {path.parent for path in named}:
        for path in folder.iterdir():
            if path not in named:
                path.unlink()


def _tags_of_masks(job: Import, lists: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the classes that each mask shows."""
    names = [CLASSES[0], *(job.settings.classes or CLASSES[1:])]
    split_of = {i: split for split in (ALL_SPLIT, VAL_SPLIT) for i in lists[split]}
    advance = job.progress("image-level labels from the masks", len(split_of))
    tags = {}
    for done, (image_id, split) in enumerate(split_of.items(), start=1):
        labels = np.unique(read_mask(job.mask_path(image_id, split), job.settings.num_classes))
        tags[image_id] = [names[label] for label in labels if label not in (0, IGNORE)]
        advance(done, len(split_of))
    return tags
