"""Preparing a data set: drawn, or imported from sources, in a folder beside its place, audited, then renamed into it.

in: a preset's [data], perhaps sources -> out: `data/<name>/`, whole or not there
"""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from swdb.core.errors import BadInput, DiskRefused, LeaseLost, MissingArtefact, NotMade, SwdbError, disk_error, reason
from swdb.core.files import read_json, sweep_temporary, write_json
from swdb.core.folders import check_place, put_in_place, unfinished
from swdb.core.lease import leased
from swdb.core.progress import Progress
from swdb.data import synthetic
from swdb.data.audit import audit
from swdb.data.dataset import (
    LABELS,
    MANIFEST,
    NOTE,
    DataSet,
    counted,
    data_key,
    load,
    read_lists,
    with_counts,
    write_lists,
    write_tags,
)
from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT, VAL_SPLIT
from swdb.data.images import palette_png
from swdb.data.kinds import facts_of
from swdb.data.sources.importer import import_voc
from swdb.data.sources.voc2012 import Sources
from swdb.data.synthetic import SCENES
from swdb.data.voc import IGNORE
from swdb.specs.presets import Data

NO_SOURCES = Sources()

Importer = Callable[[Data, Sources, Path, Progress], str]  # fills a folder; returns where the tags come from


def prepare(settings: Data, root: Path, sources: Sources, progress: Progress, again: bool = False) -> DataSet:
    """Make the data set beside `root` and rename it into place: half a data set is never seen.

    Where another process prepares it, waits for it; a set that is there by then is left alone, unless `again`. What an
    interrupted start has imported from the same sources is kept for the next one. Numbers of images that `settings`
    leave at 0 are counted. Raises BadInput or MissingArtefact that name the file and what was found.
    """
    facts = facts_of(settings)
    if not facts.synthetic and sources.voc is None:
        raise NotMade(root, f"the data set {settings.name!r} is not prepared yet, and no source is named")
    try:
        if again or not (root / MANIFEST).is_file():
            check_place(root, MANIFEST, LABELS)
        partial = unfinished(root)
        root.parent.mkdir(parents=True, exist_ok=True)
        # Two leases, for a write is checked against that of a folder above it: no other process asks for the second first.
        with leased(root, f"preparing {root.name}") as lease, leased(partial, f"preparing {root.name}"):
            if again or not (root / MANIFEST).is_file():
                try:
                    _fill(settings, partial, sources, progress)
                finally:
                    lease.check()  # before what went wrong is told: who took this over has perhaps swept it
                put_in_place(partial, root, MANIFEST)
            (root / NOTE).unlink(missing_ok=True)  # last, so that a kill before the renaming loses nothing
    except OSError as error:
        raise _refused(error, root) from error
    return load(counted(settings, root), root)


def _refused(error: OSError, root: Path) -> SwdbError:
    """Turn what the system refuses into an error about the set, or about the source where that is what it names."""
    if not isinstance(error.filename, str):
        return disk_error(error, root)
    named, ours = Path(error.filename).absolute(), root.parent.absolute()
    if named.is_relative_to(ours) or ours.is_relative_to(named):
        return disk_error(error, root)
    return BadInput(error.filename, f"cannot be read ({reason(error)})", "a source that can")


def _fill(settings: Data, partial: Path, sources: Sources, progress: Progress) -> None:
    """Make the whole set in a folder of its own, its manifest last."""
    facts = facts_of(settings)
    _keep_or_clear(partial, {"key": data_key(settings), "sources": sources.fingerprint()})
    with _named_as_in_layout(partial):
        labels_from = IMPORTERS[facts.kind](settings, sources, partial, progress)
    counts = {split: len(ids) for split, ids in read_lists(facts, partial).items()}
    if not all(counts.values()):
        found = ", ".join(f"{count} in {split}.txt" for split, count in counts.items())
        raise BadInput(f"the data set {settings.name!r}", f"would have {found} images", "some in all of them")
    settings = settings if settings.num_train else with_counts(settings, counts)
    manifest = {
        "kind": "data",
        "key": data_key(settings),
        "classes": facts.class_names(settings),
        "counts": counts,
        "image_labels": labels_from,
    }
    with _named_as_in_layout(partial):
        manifest["digest"] = audit(DataSet(partial, settings, manifest), progress, discard=True)["tree_root"]
    for folder in (partial, facts.layout.list_path(partial, ALL_SPLIT).parent):
        sweep_temporary(folder)
    write_json(partial / MANIFEST, manifest)


@contextmanager
def _named_as_in_layout(partial: Path) -> Iterator[None]:
    """Call the file of a fault by its name in the layout: the source has it too, and the folder is soon gone."""
    try:
        yield
    except (BadInput, MissingArtefact) as error:
        inside = isinstance(error.subject, Path) and error.subject.is_relative_to(partial)
        if not inside or isinstance(error, DiskRefused | LeaseLost):
            raise
        raise type(error)(str(error.subject.relative_to(partial)), error.found, error.expected, error.near) from None


def _keep_or_clear(partial: Path, contents: dict[str, Any]) -> None:
    """Keep what an interrupted start left behind if it was made from the same, else delete it."""
    note = partial / NOTE
    if partial.exists():
        try:
            if note.is_file() and read_json(note) == contents:
                return
        except MissingArtefact:
            pass
        shutil.rmtree(partial)
    write_json(note, contents)


def draw_scenes(settings: Data, sources: Sources, root: Path, progress: Progress) -> str:
    """Draw the synthetic set: train images first (the strong ones lead), then val; tags are read off the masks."""
    scene = synthetic.scene_of(settings)
    total = settings.num_train + settings.num_val
    ids = [f"{settings.seed:04d}_{index:06d}" for index in range(total)]
    train, val = ids[: settings.num_train], ids[settings.num_train :]
    layout, advance = SCENES.layout, progress("draw the data set", total)

    def draw(index: int) -> list[int]:
        image, mask = synthetic.draw(settings.seed, index, scene)
        buffer = io.BytesIO()  # Pillow would not notice a full disk
        Image.fromarray(image).save(buffer, format="JPEG", quality=95)
        layout.image_path(root, ids[index]).write_bytes(buffer.getvalue())
        split = ALL_SPLIT if index < settings.num_train else VAL_SPLIT
        layout.mask_path(root, ids[index], split).write_bytes(palette_png(mask, SCENES.palette))
        return sorted(set(np.unique(mask).tolist()) - {0, IGNORE})

    for path in (layout.image_path(root, ""), *(layout.mask_path(root, "", split) for split in (ALL_SPLIT, VAL_SPLIT))):
        path.parent.mkdir(parents=True, exist_ok=True)
    tags = {}
    # One after the other: threads would wait for each other, as nearly all of it holds Python's lock.
    for index in range(total):
        tags[ids[index]] = [synthetic.CLASSES[label] for label in draw(index)]
        advance(index + 1, total)
    write_lists(SCENES, root, {STRONG_SPLIT: train[: settings.num_strong], ALL_SPLIT: train, VAL_SPLIT: val})
    write_tags(root, tags)
    return "masks"


IMPORTERS: dict[str, Importer] = {"synthetic": draw_scenes, "voc": import_voc}
