"""`swdb make`: exactly the artefacts that are named, by the ids that plans show."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swdb.cli import arguments
from swdb.cli.options import (
    Cues,
    Device,
    Devices,
    Jobs,
    PerDevice,
    Precision,
    Preprocessing,
    PresetName,
    Threads,
    Weights,
    Workdir,
    open_graph,
    running,
)
from swdb.core.errors import MissingArtefact, NotMade, unknown

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.study.graph import Graph

FEW_SEEDS = 10  # an id is looked for among the runs with so many seeds, and with those that stand in names
SEED = re.compile(r"-s(\d{1,9})(?=[-+])")


def make(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids, as swdb reproduce-table --dry-run shows them.")],
    again: Annotated[
        bool, typer.Option("--again", help="Make them again; what is there stays until the new ones are whole.")
    ] = False,
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    device: Device = "auto",
    jobs: Jobs = "auto",
    threads: Threads = None,
    devices: Devices = None,
    per_device: PerDevice = 1,
    precision: Precision = None,
    weights: Weights = None,
    preprocessing: Preprocessing = None,
    cues: Cues = None,
) -> None:
    """Make exactly these artefacts; refuses where an input is missing, and does nothing where they are done.

    \b
    swdb make dsrg-1-c1520a663d
    swdb make dual-s0-df366fe016 dual-kl-s0-cd5cb243ca --device cuda
    """
    resources = arguments.resources(device, jobs, threads, devices, per_device)
    graph = open_graph(workdir, preset, precision, weights, cues, trains_on=device, preprocessing=preprocessing)
    artefacts = find(graph, ids)
    if again:
        refuse(artefacts)
        with running(context.obj, graph.study, resources, artefacts, again=True) as runner:
            runner.make_again(artefacts)
    elif not all(artefact.done for artefact in artefacts):
        with running(context.obj, graph.study, resources, artefacts) as runner:
            runner.make(artefacts)
    for artefact in artefacts:
        typer.echo(str(artefact.folder))


def find(graph: "Graph", ids: list[str]) -> list["Artefact"]:
    """Find planned artefacts by id, in the order in which they can be made; raises BadInput for one that is not planned."""
    from swdb.study.graph import Graph

    wanted, found = set(ids), []
    both = [graph, Graph(replace(graph.study, proxy_seeds=True), graph.runs)]  # an id says itself which study it is of
    for artefact in chain.from_iterable(map(partial(candidates, ids=ids), both)):
        if artefact.id in wanted:
            wanted.discard(artefact.id)
            found.append(artefact)
        if not wanted:
            return found
    raise unknown("id", min(wanted), [artefact.id for artefact in graph.everything(range(graph.study.preset.seeds))])


def candidates(graph: "Graph", ids: list[str]) -> Iterator["Artefact"]:
    """Yield the artefacts of a study among which ids are looked for."""
    seeds = likely_seeds(graph, ids)
    return chain(graph.everything(seeds), averages(graph, seeds))


def likely_seeds(graph: "Graph", ids: list[str]) -> list[int]:
    """List the seeds with which ids are looked for: the first few, those that stand in names, those of the plan's scores."""
    from swdb.study.plan import read_plan

    seeds = {*range(FEW_SEEDS), *(int(number) for word in ids for number in SEED.findall(word))}
    with suppress(MissingArtefact):
        if (plan := read_plan(graph.study)) is not None:
            seeds.update(place.seed for place, score in plan.scores.items() if score.id in ids)
    return sorted(seeds)


def averages(graph: "Graph", seeds: Iterable[int]) -> Iterator["Artefact"]:
    """Yield the scores of tables and readings that are of several runs together."""
    from swdb.specs.sensitivity import cells_changed, load_sensitivity
    from swdb.specs.tables import load_tables, measured_cells

    tables = load_tables()
    sources = [*measured_cells(tables).values()]
    sources += [one for read in load_sensitivity(tables).readings for one in cells_changed(read, tables).values()]
    for source in sources:
        if len(source.runs) > 1:
            yield from (graph.score(source, seed) for seed in seeds)


def refuse(artefacts: list["Artefact"]) -> None:
    """Refuse to replace what could not be made again, and data sets: `prepare-voc --again` knows their sources."""
    from swdb.core.artefact import lacking

    for artefact in artefacts:
        if artefact.kind == "data":
            raise MissingArtefact(artefact.folder, "a data set is prepared again by a command of its own")
    for artefact, other in lacking(artefacts):
        raise NotMade(other.folder, f"not made yet, and {artefact.id} is made from it")
