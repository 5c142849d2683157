"""A finished study without training: predictions are drawn near the truth, and counted as the program counts them."""

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from made_up import MACHINE
from studies import graph_of

from swdb.core.artefact import with_inputs
from swdb.core.files import digest
from swdb.core.journal import Journal
from swdb.core.progress import silent
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import palette_png
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.evaluation.confusion import PREDICTIONS
from swdb.evaluation.evaluate import score
from swdb.specs.tables import load_tables
from swdb.study.graph import Graph
from swdb.study.plan import Plan, make_plan, write_plan
from swdb.study.stages import DATA

OTHER_MACHINE = MACHINE | {"name": "Made-up 9100"}
ROWS = {
    "mixed",
    "x6",
    "strong",
    "weak",
    "weak-retrain",
    "dual",
    "n3",
}  # of all tables: enough where all would take longer
SALTED = ("weights", "classifier", "cues", "proxies", "run")  # what two machines make with different bytes


def drawn_study(
    folder: Path, seeds: Iterable[int], machine: dict = MACHINE, salt: str = "", rows: set[str] | None = None
) -> Graph:
    """Draw the tiny data set and finish all scores of some seeds; another `salt` makes other weights of the same ids."""
    graph = graph_of(folder)
    prepare(graph.study.preset.data, DATA.artefact(graph.study).folder, NO_SOURCES, silent)
    finish(graph, seeds, machine, salt, rows)
    return graph


def finish(
    graph: Graph, seeds: Iterable[int], machine: dict = MACHINE, salt: str = "", rows: set[str] | None = None
) -> Plan:
    """Finish all scores of some seeds, of a data set that is prepared; `rows`: only these are planned."""
    chosen = [(table, row) for table in load_tables().values() for row in table.rows if rows is None or row.key in rows]
    plan = make_plan(graph, chosen, seeds)
    dataset = DataSet(graph.data.folder, graph.study.preset.data, graph.data.read_record())
    for one in with_inputs(*plan.scores.values()):
        if one.done:
            continue
        Journal(graph.study.folder, one.id).begin()
        record = {"digest": digest([one.id, salt if one.kind in SALTED else ""]), "machine": machine}
        if one.kind == "score":
            predict(one.folder, dataset, f"{one.id}{salt}")
            record |= score(one.folder, dataset, {})
        one.finish(record)
        Journal(graph.study.folder, one.id).note("finished")
    return write_plan(graph.study, plan)


def predict(folder: Path, dataset: DataSet, name: str) -> None:
    """Write predictions that are the truth with a block of another class in each image, drawn by a name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    (folder / PREDICTIONS).mkdir(parents=True)
    for image_id in dataset.ids(VAL_SPLIT):
        labels = dataset.mask(image_id, VAL_SPLIT).copy()
        labels[labels == 255] = 0
        height, width = labels.shape
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        labels[top : top + height // 3, left : left + width // 3] = rng.integers(0, dataset.num_classes)
        (folder / PREDICTIONS / f"{image_id}.png").write_bytes(palette_png(labels, dataset.facts.palette))
