"""Taking photographs: VOC 2012 and SBD, as official archives or unpacked folders, into one layout with one meaning.

The 1,464 train ids keep VOC's own masks with their border; the others take SBD's; val is always VOC's own. Lists are
derived from what the sources hold and sorted, so every form of the sources ends in the same data set.

in: sources -> out: the layout of VOC 2012 below a folder; what is there already is not taken again
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import Stage
from swdb.data import voc
from swdb.data.dataset import write_lists, write_tags
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
from swdb.specs.presets import Data


def take(data: Data, sources: Sources, root: Path, stage: Stage, mend: str) -> tuple[list[str], str]:
    """Take what the preset wants below `root`; returns the class names and where the image-level labels come from."""
    assert sources.voc is not None
    found = look_through(data, sources, stage("look through VOC 2012", 0), mend)
    strong, val = (wanted_ids(data, sources, found, split, mend) for split in (voc.STRONG_SPLIT, voc.VAL_SPLIT))
    if data.holdout:
        strong, val = _hold_out(strong, data.holdout)
    expected = {voc.STRONG_SPLIT: data.num_strong, voc.ALL_SPLIT: data.num_train, voc.VAL_SPLIT: data.num_val}
    if sources.image_labels == "masks":
        expected = {}  # the masks decide later what is kept; the audit counts it
    for split, ids in ((voc.STRONG_SPLIT, strong), (voc.VAL_SPLIT, val)):
        refuse_count(split, ids, expected.get(split), found, mend)
    official = {image_id for split in (voc.STRONG_SPLIT, voc.VAL_SPLIT) for image_id in found.lists[split]}
    others = _take_sbd(data, sources, root, found, official, stage, mend)
    lists = {voc.STRONG_SPLIT: strong, voc.ALL_SPLIT: sorted({*strong, *others}), voc.VAL_SPLIT: val}
    refuse_count(voc.ALL_SPLIT, lists[voc.ALL_SPLIT], expected.get(voc.ALL_SPLIT), found, mend)
    _take_voc(data, sources.voc, root, lists, stage, mend)
    if sources.image_labels == "masks":
        found.tags = _tags_of_masks(data, root, lists, stage, mend)
        if data.classes or data.require:
            lists = {split: [i for i in ids if is_kept(data, found.tags[i])] for split, ids in lists.items()}
    write_lists(root, lists)
    _sweep(root, lists)
    kept = set(data.classes or voc.CLASSES[1:])
    ids = lists[voc.ALL_SPLIT] + lists[voc.VAL_SPLIT]
    write_tags(root, {i: [name for name in voc.CLASSES if name in kept and name in found.tags[i]] for i in ids})
    return [voc.CLASSES[0], *(data.classes or voc.CLASSES[1 : data.num_classes])], Path(sources.image_labels).name


def _hold_out(strong: list[str], count: int) -> tuple[list[str], list[str]]:
    """Split `count` ids off, evenly spread over the sorted list: they stand for val where settings are chosen."""
    val = [strong[k * len(strong) // count] for k in range(count)]
    return sorted(set(strong) - set(val)), val


def _take_sbd(
    data: Data, sources: Sources, root: Path, found: Found, official: set[str], stage: Stage, mend: str
) -> list[str]:
    """Convert SBD's masks for the images that VOC's own lists do not name; returns their ids."""
    source, option, pattern = sbd_source(sources)
    if not sources.sbd and not found.augmented:
        raise MissingArtefact(
            f"--voc {sources.voc} holds no SegmentationClassAug, and no other source of SBD's masks is named; add --sbd with benchmark.tgz, its folder, or a SegmentationClassAug folder or zip"
        )
    held, taken = set(), set()
    listed = set(found.lists.get(voc.ALL_SPLIT, ())) - official
    chosen = bool(listed and (sources.lists or not sources.sbd))  # the list decides, else what SBD has

    def target(image_id: str) -> Path:
        return voc.mask_path(root, image_id, voc.ALL_SPLIT)

    def wanted(name: str) -> bool:
        if not chosen and sources.sbd and SBD_LIST.search(name):
            return True
        image_id = id_in(pattern, name)
        if image_id is None or image_id in official or (chosen and image_id not in listed):
            return False
        held.add(image_id)
        return (image_id in found.images or not data.available_only) and by_tags(data, sources, found, image_id, mend)

    def jobs() -> Iterator[tuple[Job, Member]]:
        for member in members(source, wanted, mend, option):
            if SBD_LIST.search(member.name):
                listed.update(set(read_list(member, mend)) - official)
                continue
            image_id = id_in(pattern, member.name)
            taken.add(image_id)
            if not _is_made(target(image_id), member):
                kind = "mat" if member.name.endswith(".mat") else "png"
                yield Job(image_id, kind, member.read(), f"{option} {source}: {member.name}"), member

    total = data.num_train - data.num_strong
    progress = stage("convert SBD masks", max(total, 0))
    for _ in _write(jobs(), target, data, mend):
        progress(len(taken), max(total, 0))
    if not data.available_only:
        lost = [i for i in sorted(listed - taken) if by_tags(data, sources, found, i, mend)]
        place = "cls/{}.mat" if sources.sbd else "SegmentationClassAug/{}.png"
        lists = f"the list {voc.ALL_SPLIT}.txt of VOC" if voc.ALL_SPLIT in found.lists else "SBD's own lists"
        refuse_missing(lost, place, f"{lists} names it", mend)
        refuse_missing(sorted(taken - found.images), "JPEGImages/{}.jpg", "SBD has a mask for it", mend)
    if not held:
        raise BadInput(
            f"{option} {source} holds no masks beside those of VOC's own lists, expected cls/ID.mat or ID.png; mend the source, then run: {mend}"
        )
    return sorted(taken)


def _take_voc(data: Data, source: Path, root: Path, lists: dict[str, list[str]], stage: Stage, mend: str) -> None:
    """Take images and VOC's own masks as they are, linked where they lie on the same disk; masks of a subset anew."""
    val = set(lists[voc.VAL_SPLIT])
    images, own = {*lists[voc.ALL_SPLIT], *val}, {*lists[voc.STRONG_SPLIT], *val}
    progress = stage("take images and masks", len(images) + len(own))

    def wanted(name: str) -> bool:
        return id_in(IMAGE, name) in images or id_in(VOC_MASK, name) in own

    def remapped() -> Iterator[tuple[Job, Member]]:
        for done, member in enumerate(members(source, wanted, mend, "--voc"), start=1):
            progress(done, len(images) + len(own))
            if (image_id := id_in(IMAGE, member.name)) is not None:
                _place(member, voc.image_path(root, image_id))
                continue
            image_id = id_in(VOC_MASK, member.name)
            target = mask_of(image_id)
            if not data.classes:
                _place(member, target)
            elif not _is_made(target, member):
                yield Job(image_id, "png", member.read(), f"--voc {source}: {member.name}"), member

    def mask_of(image_id: str) -> Path:
        return voc.mask_path(root, image_id, voc.VAL_SPLIT if image_id in val else voc.ALL_SPLIT)

    for _ in _write(remapped(), mask_of, data, mend):
        pass


def _is_made(target: Path, member: Member) -> bool:
    """Whether a mask was already made from this member: it has its file's time; an archive's own time is noted elsewhere."""
    if not target.exists():
        return False
    return member.path is None or target.stat().st_mtime_ns == member.path.stat().st_mtime_ns


def _write(jobs: Iterator[tuple[Job, Member]], target: Callable[[str], Path], data: Data, mend: str) -> Iterator[None]:
    """Write masks on all cores, each with the time of the file that it was made from."""
    times: dict[str, int] = {}

    def noted() -> Iterator[Job]:
        for job, member in jobs:
            if member.path is not None:
                times[job.image_id] = member.path.stat().st_mtime_ns
            yield job

    for written in write_masks(noted(), target, voc.kept_labels(data.classes), f"a whole source, then: {mend}"):
        if written.image_id in times:
            time = times.pop(written.image_id)
            os.utime(target(written.image_id), ns=(time, time))
        yield


def _place(member: Member, target: Path) -> None:
    """Link a file, or write its bytes under another name and rename it: a kill leaves no half file."""
    if target.exists() and (member.path is None or target.samefile(member.path)):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    if member.path is None or not _linked(member.path, temporary):
        temporary.write_bytes(member.read())
    os.replace(temporary, target)


def _linked(path: Path, link: Path) -> bool:
    """Link a file itself, for a link that is moved leads nowhere; False where the disk does not allow it."""
    try:
        os.link(path.resolve(), link)
    except OSError:
        return False
    return True


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
    progress = stage("image-level labels from the masks", len(split_of))
    tags = {}
    for done, (image_id, split) in enumerate(split_of.items(), start=1):
        labels = np.unique(read_mask(voc.mask_path(root, image_id, split), data.num_classes, mend))
        tags[image_id] = [names[label] for label in labels if label not in (0, voc.IGNORE)]
        progress(done, len(split_of))
    return tags
