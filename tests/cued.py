"""A work directory of six prepared real images with published cues, and a preset of a few steps."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import voc_tree
from conftest import TINY
from studies import graph_of
from voc_tree import DATA, TRAIN_AUG, VAL

from swdb.core.progress import silent
from swdb.data.prepare import prepare
from swdb.data.sources.voc2012 import Sources
from swdb.proxy.sec_cues import cue_digests
from swdb.specs.presets import load_preset
from swdb.specs.study import NamedFile
from swdb.study.graph import Graph

LIST = "".join(f"{image_id}.jpg {k}\n" for k, image_id in enumerate([*TRAIN_AUG, *VAL]))
CUES = {  # class, row and column of every point; the images' tags are 1, 2, 3, 4 (aeroplane .. boat) and 5 (bottle) each
    "0_labels": np.array([1, 5]),
    # right: the corner's background, the object, the bottle in the last pixel; wrong: an aeroplane at the top right;
    # and a car, which is not a tag of this image and must be dropped
    "0_cues": np.array([[0, 1, 5, 1, 7], [0, 6, 40, 0, 20], [0, 8, 40, 40, 20]]),
    "1_labels": np.array([2, 5]),
    "1_cues": np.array([[0, 2], [0, 40], [0, 0]]),  # background, right; a bicycle at the bottom left, wrong
    "3_labels": np.array([4, 5]),
    "3_cues": np.zeros((3, 0), np.int64),  # known, but without a point; of image 2 the file says nothing
    "4_labels": np.array([5]),
    "4_cues": np.array([[5], [0], [0]]),  # a validation image, which nothing is learnt from
}
TAGS = [{1, 5}, {2, 5}, {3, 5}, {4, 5}]  # of TRAIN_AUG


def graph(folder: Path, content: dict = CUES, **data) -> Graph:
    """Prepare the images below `folder`, write the cues, and plan a study of a few steps."""
    sources = folder / "sources"
    if not sources.exists():
        voc_tree.build(sources)
    (sources / "input_list.txt").write_text(LIST)
    cues = sources / "localization_cues.pickle"
    cues.write_bytes(pickle.dumps(content, 2))
    tiny = load_preset(TINY)
    preset = replace(
        tiny,
        data=replace(DATA, **data),
        network=replace(tiny.network, weights="random"),
        training=replace(tiny.training, crop=16, longest_side=16),
        proxy=replace(tiny.proxy, cues="file"),
        dsrg=replace(tiny.dsrg, size=16, test_sizes=(16, 24), steps=4, batch=2, retrain_steps=2, retrain_batch=2),
    )
    prepare(preset.data, folder / "work" / "data" / "mini", Sources(sources), silent)
    return graph_of(folder / "work", preset, cues=NamedFile(cues, cue_digests(cues)))
