"""Importing real images: VOC 2012 and SBD, as official archives or unpacked folders, into one layout with one meaning.

The 1,464 train ids keep VOC's own masks with their border; the others take SBD's; val is always VOC's own. Lists are
derived from what the sources hold and sorted, so every form of the sources ends in the same data set.

in: sources -> out: VOC 2012's layout below a folder; what is there already is not imported again
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import replacing
from swdb.core.progress import Progress
from swdb.data.dataset import write_lists, write_tags
from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT, VAL_SPLIT
from swdb.data.images import read_mask
from swdb.data.sources.archives import Member, members
from swdb.data.sources.sbd import Job, write_masks
from swdb.data.sources.voc2012 import (
    IMAGE,
    SBD_LIST,
    VOC_MASK,
    Found,
    Sources,
    by_tags,
    id_in,
    is_kept,
    look_through,
    read_list,
    refuse_count,
    refuse_missing,
    sbd_source,
    wanted_ids,
)
from swdb.data.voc import CLASSES, IGNORE, VOC2012, kept_labels
from swdb.specs.presets import Data


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
    _import_voc(job, lists)
    if sources.image_labels == "masks":
        found.tags = _tags_of_masks(job, lists)
        if settings.classes or settings.require:
            lists = {split: [i for i in ids if is_kept(settings, found.tags[i])] for split, ids in lists.items()}
    write_lists(VOC2012, root, lists)
    _sweep(job, lists)
    kept = set(settings.classes or CLASSES[1:])
    ids = lists[ALL_SPLIT] + lists[VAL_SPLIT]
    write_tags(root, {i: [name for name in CLASSES if name in kept and name in found.tags[i]] for i in ids})
    return Path(sources.image_labels).name


def _hold_out(strong: list[str], count: int) -> tuple[list[str], list[str]]:
    """Split `count` ids off, evenly spread over the sorted list: they stand for val where settings are chosen."""
    val = [strong[k * len(strong) // count] for k in range(count)]
    return sorted(set(strong) - set(val)), val


def _import_sbd(job: Import, found: Found, official: set[str]) -> list[str]:
    """Convert SBD's masks for the images that VOC's own lists do not name; returns their ids."""
    settings, sources = job.settings, job.sources
    source, option, pattern = sbd_source(sources)
    where = f"{option} {source}"
    if not sources.sbd and not found.augmented:
        named = "benchmark.tgz, its folder, or a SegmentationClassAug folder or zip, named with --sbd"
        raise MissingArtefact(
            where, "holds no SegmentationClassAug, and no other source of SBD's masks is named", named
        )
    held, taken = set(), set()
    listed = set(found.lists.get(ALL_SPLIT, ())) - official
    chosen = bool(listed and (sources.lists or not sources.sbd))  # the list decides, else what SBD has

    def wanted(name: str) -> bool:
        if not chosen and sources.sbd and SBD_LIST.search(name):
            return True
        image_id = id_in(pattern, name)
        if image_id is None or image_id in official or (chosen and image_id not in listed):
            return False
        held.add(image_id)
        return (image_id in found.images or not settings.available_only) and by_tags(settings, sources, found, image_id)

    def jobs() -> Iterator[tuple[Job, Member]]:
        for member in members(source, wanted, option):
            if SBD_LIST.search(member.name):
                listed.update(set(read_list(member, where)) - official)
                continue
            image_id = id_in(pattern, member.name)
            taken.add(image_id)
            if not _is_made(job.mask_path(image_id, ALL_SPLIT), member):
                kind = "mat" if member.name.endswith(".mat") else "png"
                yield Job(image_id, kind, member.read(), f"{where}: {member.name}"), member

    total = max(settings.num_train - settings.num_strong, 0)
    advance = job.progress("convert SBD masks", total)
    for _ in _write(jobs(), lambda image_id: job.mask_path(image_id, ALL_SPLIT), settings):
        advance(len(taken), total)
    if not settings.available_only:
        lost = [i for i in sorted(listed - taken) if by_tags(settings, sources, found, i)]
        place = "cls/{}.mat" if sources.sbd else "SegmentationClassAug/{}.png"
        lists = f"the list {ALL_SPLIT}.txt" if ALL_SPLIT in found.lists else "SBD's own lists"
        refuse_missing(where, lost, place, f"{lists} names it")
        refuse_missing(
            f"--voc {sources.voc}", sorted(taken - found.images), "JPEGImages/{}.jpg", "SBD has a mask for it"
        )
    if not held:
        raise BadInput(where, "holds no masks beside those of VOC's own lists", "cls/ID.mat or ID.png")
    return sorted(taken)


def _import_voc(job: Import, lists: dict[str, list[str]]) -> None:
    """Import images and VOC's own masks as they are, linked where they lie on the same disk; masks of a part are rewritten."""
    val = set(lists[VAL_SPLIT])
    images, own = {*lists[ALL_SPLIT], *val}, {*lists[STRONG_SPLIT], *val}
    total = len(images) + len(own)
    advance = job.progress("import images and masks", total)

    def wanted(name: str) -> bool:
        return id_in(IMAGE, name) in images or id_in(VOC_MASK, name) in own

    def remapped() -> Iterator[tuple[Job, Member]]:
        for done, member in enumerate(members(job.sources.voc, wanted, "--voc"), start=1):
            advance(done, total)
            if (image_id := id_in(IMAGE, member.name)) is not None:
                _place(member, job.image_path(image_id))
                continue
            image_id = id_in(VOC_MASK, member.name)
            target = mask_of(image_id)
            if not job.settings.classes:
                _place(member, target)
            elif not _is_made(target, member):
                yield Job(image_id, "png", member.read(), f"--voc {job.sources.voc}: {member.name}"), member

    def mask_of(image_id: str) -> Path:
        return job.mask_path(image_id, VAL_SPLIT if image_id in val else ALL_SPLIT)

    for _ in _write(remapped(), mask_of, job.settings):
        pass


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


def _place(member: Member, target: Path) -> None:
    """Link a file, or write its bytes; a kill leaves no half file."""
    if target.exists() and (member.path is None or target.samefile(member.path)):
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
