"""Preparing a data set: drawn, or taken from photographs, in a folder beside its place, audited, then renamed into it.

in: a preset's [data], perhaps sources -> out: `data/<name>/`, whole or not there
"""

import io
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.core.files import Progress, Stage, disk_error, read_json, write_json
from swdb.core.parallel import in_order
from swdb.data import audit, synthetic, voc
from swdb.data.dataset import LISTS, DataSet, recipe, sources_hint, write_lists, write_tags
from swdb.data.images import palette_png
from swdb.data.sources.importer import take
from swdb.data.sources.voc2012 import Sources
from swdb.specs.presets import Data

NO_SOURCES = Sources()


def prepare(data: Data, root: Path, sources: Sources, stage: Stage, where: str = "") -> DataSet:
    """Make the data set beside `root` and rename it into place: half a data set is never seen.

    What an interrupted start has taken from the same sources is kept for the next one. Numbers of images that `data`
    leaves at 0 are counted. Raises BadInput or MissingArtefact that name the file, what was found and what mends it.
    """
    partial = root.with_name(f".{root.name}.partial")
    if data.dataset != "synthetic" and sources.voc is None:
        raise MissingArtefact(
            f"the data set {data.name!r} needs photographs; run: swdb prepare-voc {where}{' --again' * root.exists()}{sources_hint(data)}"
        )
    mend = f"swdb prepare-voc {where}{sources.options()}"
    try:
        _keep_or_clear(partial, {"recipe": recipe(data), "sources": sources.identity()})
        if data.dataset == "synthetic":
            class_names, origin = _draw_all(data, partial, stage("draw the data set", data.num_train + data.num_val))
        else:
            class_names, origin = take(data, sources, partial, stage, mend)
        counts = {split: len(voc.split_path(partial, split).read_text().split()) for split in LISTS}
        if not all(counts.values()):
            found = ", ".join(f"{count} in {split}.txt" for split, count in counts.items())
            raise BadInput(
                f"{data.name!r} would have {found}, expected images in all of them; mend the source, or choose other --classes or --require"
            )
        if not data.num_train:
            sizes = dict(zip(("num_strong", "num_train", "num_val"), counts.values(), strict=True))
            data = replace(data, **sizes)
        manifest = {"recipe": recipe(data), "classes": class_names, "counts": counts, "image_labels": origin}
        manifest["tree_root"] = _audit(DataSet(partial, data, manifest, where), stage, f"a whole source, then: {mend}")
        write_json(partial / "manifest.json", manifest)
        if root.exists():
            (root / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(root)
        os.replace(partial, root)
        (root / "sources.json").unlink()  # last, so that a kill before the renaming loses nothing
    except OSError as error:
        raise disk_error(error, root) from error
    return DataSet(root, data, manifest, where)


def _audit(made: DataSet, stage: Stage, mend: str) -> str:
    """Return the tree root of what was taken; a fault is called by the name that the file has in the source."""
    try:
        return audit.audit(made, stage, mend, discard=True)["tree_root"]
    except SwdbError as error:
        raise type(error)(str(error).replace(f"{made.root}{os.sep}", "")) from None


def _keep_or_clear(partial: Path, contents: dict[str, Any]) -> None:
    """Keep what an interrupted start left behind if it was made from the same, else delete it."""
    note = partial / "sources.json"
    if partial.exists():
        try:
            if note.is_file() and read_json(note, "") == contents:
                return
        except MissingArtefact:
            pass
        shutil.rmtree(partial)
    write_json(note, contents)


def _draw_all(data: Data, root: Path, progress: Progress) -> tuple[list[str], str]:
    """Draw the synthetic set: train images first (the strong ones lead), then val; tags are read off the masks."""
    scene = synthetic.Scene(size=data.image_size)
    total = data.num_train + data.num_val
    ids = [f"{data.seed:04d}_{index:06d}" for index in range(total)]
    train, val = ids[: data.num_train], ids[data.num_train :]

    def draw(index: int) -> list[int]:
        image, mask = synthetic.draw(data.seed, index, scene)
        jpeg = voc.image_path(root, ids[index])
        buffer = io.BytesIO()  # Pillow would not notice a full disk
        Image.fromarray(image).save(buffer, format="JPEG", quality=95)
        jpeg.write_bytes(buffer.getvalue())
        split = voc.ALL_SPLIT if index < data.num_train else voc.VAL_SPLIT
        voc.mask_path(root, ids[index], split).write_bytes(palette_png(mask))
        return sorted(set(np.unique(mask).tolist()) - {0, voc.IGNORE})

    for split in (voc.ALL_SPLIT, voc.VAL_SPLIT):
        voc.mask_path(root, "", split).parent.mkdir(parents=True, exist_ok=True)
    voc.image_path(root, "").parent.mkdir(parents=True, exist_ok=True)
    tags = {}
    for done, present in enumerate(in_order(draw, range(total)), start=1):
        tags[ids[done - 1]] = [synthetic.CLASSES[label] for label in present]
        progress(done, total)
    write_lists(root, {voc.STRONG_SPLIT: train[: data.num_strong], voc.ALL_SPLIT: train, voc.VAL_SPLIT: val})
    write_tags(root, tags)
    return list(synthetic.CLASSES), "masks"
