"""The figure of a run: a few validation images with their truth, a proxy, and what each branch predicts.

in: a trained run -> out: `reports/<preset>/figures/<run>.png`
"""

from pathlib import Path

from swdb.core.artefact import Artefact
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import read_mask
from swdb.evaluation.figures import figure
from swdb.proxy.masks import proxies_of
from swdb.specs.tables import CellSource
from swdb.study.graph import Graph
from swdb.study.runner import Runner

NUM_IMAGES = 6


def draw_run(graph: Graph, runner: Runner, artefact: Artefact) -> Path:
    """Draw a finished run, scoring its branches first; the proxies of validation images are made for looking at only."""
    run, seed = artefact.task.run, artefact.task.seed
    proxies = graph.of(run).proxies(run.proxy_set, seed)
    runner.make(graph.needed(proxies))
    dataset = runner.dataset(graph.data)
    ids = dataset.ids(VAL_SPLIT)[:NUM_IMAGES]
    masks = {"proxy": proxies_of(proxies, dataset, ids, runner.compute)}
    for branch in run.branches:
        score = graph.score(CellSource((run,), branch), seed)
        runner.make([score])
        folder = score.folder / "predictions"
        masks[f"{branch} branch"] = {
            image_id: read_mask(folder / f"{image_id}.png", dataset.num_classes) for image_id in ids
        }
    path = graph.study.reports / "figures" / f"{artefact.name}.png"
    figure(path, dataset, ids, masks)
    return path
