"""Whole studies of made-up scores: what reads finished work is tested on many seeds without any training.

Records, counts of images and the plan are as the program writes them; weights and pictures are not there.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from conftest import TINY
from simulated import FAMILY, PRINTED, SOURCES, TABLES, printed_means
from studies import graph_of

from swdb.core.artefact import Artefact
from swdb.core.files import write_atomic
from swdb.specs.presets import Preset, load_preset, write_preset
from swdb.study.graph import Graph
from swdb.study.plan import Plan, make_plan, write_plan
from swdb.verdicts.images import miou_of, parts
from swdb.verdicts.simulation import draw

IMAGES = 4
MACHINE = {"device": "cpu", "name": "Made-up 9000", "threads": 2, "precision": "fp32", "torch": "2.11.0"}


def preset_of(folder: Path, comparable: bool) -> Path:
    """Write the tiny preset, called comparable to the paper or not; returns its file."""
    path = folder / f"{'as-printed' if comparable else 'elsewhere'}.toml"
    write_preset(path, replace(load_preset(TINY), name=path.stem, comparable=comparable))
    return path


def counts_of(miou: float, seed: int) -> np.ndarray:
    """Return counts of a few images (images, 2, 2) whose mIoU is nearly the one that is asked for."""
    hits = 20_000 * miou / 100  # of two classes, each of which stands in 20,000 pixels of truth or prediction
    one = np.array([[hits, (20_000 - hits) / 2], [(20_000 - hits) / 2, hits]])
    scale = np.random.default_rng(seed).uniform(0.5, 1.5, IMAGES)
    return np.round(one * scale[:, None, None]).astype(np.int32)


def finish_score(score: Artefact, miou: float, seed: int) -> None:
    """Leave a score behind, with the counts that make it."""
    counts = counts_of(miou, seed)
    ids = np.array([f"image-{k}" for k in range(len(counts))])
    write_atomic(score.folder / "confusion.npz", lambda stream: np.savez_compressed(stream, ids=ids, counts=counts))
    found = float(miou_of(parts(counts).sum(0)))
    score.finish({"digest": "e" * 64, "miou": found, "data": "d" * 64, "machine": MACHINE, "seed": seed})


def study(
    folder: Path,
    seeds: int = 3,
    sd: float = 0.5,
    means: Mapping[str, float] | None = None,
    preset: Preset | Path | str = TINY,
    tables: tuple[int, ...] = (1, 2, 3, 4),
) -> tuple[Graph, Plan]:
    """Make a work directory in which all cells of some tables have scores drawn around these means, the printed ones else."""
    graph = graph_of(folder, load_preset(str(preset)) if not isinstance(preset, Preset) else preset)
    rows = [(table, row) for table in TABLES.values() if table.number in tables for row in table.rows]
    plan = make_plan(graph, rows, range(seeds))
    means = printed_means(SOURCES, PRINTED) if means is None else means
    scores = draw(SOURCES, means, sd, seeds, 1, np.random.default_rng(3))[0]
    for other in graph.needed(*plan.scores.values()):
        if other.kind != "score" and not other.done:
            other.finish({"digest": "d" * 64 if other.kind == "data" else f"sha256 of {other.id}", "machine": MACHINE})
    for (table, row, column, seed), score in plan.scores.items():
        if not score.done:
            arm = FAMILY.arms[f"{table}:{row}.{column}"]
            finish_score(score, float(scores[arm, seed].clip(0, 100)), seed)
    write_plan(graph.study, plan)
    return graph, plan
