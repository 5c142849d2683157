"""Runs of DecoupledNet for tests: their values, whatever the tables say, and a study in which one is finished."""

from pathlib import Path

from studies import graph_of, runner

from swdb.core.artefact import Artefact
from swdb.specs.runs import RunSpec
from swdb.specs.tables import CellSource
from swdb.study.graph import Graph

FIVE = RunSpec(name="decoupled-5", method="decouplednet", strong_branch="strong", strong_per_class=5)
ALL = RunSpec(name="decoupled-all", method="decouplednet", strong_branch="strong")
SOURCE = CellSource((FIVE,), "strong")


def planned(folder: Path, preset=None) -> tuple[Graph, Artefact]:
    """Plan a study and the score of a run of five images a class."""
    graph = graph_of(folder) if preset is None else graph_of(folder, preset)
    graph.runs = graph.runs | {FIVE.name: FIVE}
    return graph, graph.score(SOURCE, 0)


def made(folder: Path, preset=None) -> tuple[Graph, Artefact]:
    """Make it, with all that it needs."""
    graph, score = planned(folder, preset)
    runner().make(graph.needed(score))
    return graph, score
