"""`swdb report`: one HTML file with every claim, and all that its verdict rests on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swdb.cli.command_line import PROXY_SEEDS, CommandLine
from swdb.cli.judging import Judged, judged
from swdb.cli.options import PresetName, ProxySeeds, Workdir, open_graph, propose
from swdb.cli.outputs import head, require_replaceable
from swdb.cli.planning import planned
from swdb.cli.sensitivity import finished
from swdb.core.errors import MissingArtefact, SwdbError
from swdb.core.files import write_text

if TYPE_CHECKING:
    from swdb.data.dataset import DataSet
    from swdb.reports.html import Commands, Evidence
    from swdb.study.graph import Graph
    from swdb.study.plan import Plan


def report(
    context: typer.Context,
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    proxy_seeds: ProxySeeds = False,
    output: Annotated[
        Path | None, typer.Option("--output", help="The file to write; else reports/<preset>/index.html.")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Show photographs too; drawn scenes are always shown.")
    ] = False,
) -> None:
    """Write a report that needs nothing but a browser: verdicts, tables, curves, images, runs and costs, settings.

    \b
    swdb report
    swdb report --preset voc --images --output report.html
    """
    from swdb.cli import progress
    from swdb.reports.html import page
    from swdb.specs.tables import load_tables

    graph = open_graph(workdir, preset, remember=False, proxy_seeds=proxy_seeds)
    path = graph.study.reports / "index.html" if output is None else output
    require_replaceable("--output", path, is_report, "report")
    found = judged(graph, load_tables(), plan_of(graph))
    evidence = evidence_of(graph, found, preset, images)
    with progress.bar() as bar:
        text = page(evidence, bar.progress)
    write_text(path, text)
    typer.echo(str(path))
    if found.problems:
        raise found.problems[0]
    left = any(not score.done for score in found.plan.scores.values()) or not found.plan.scores
    following = ("reproduce-table", "all", "--dry-run") if left else ("bundle",)
    propose(context.obj, graph.study, *following)


def is_report(path: Path) -> bool:
    """Whether a file is a report of ours."""
    from swdb.reports.html import GENERATOR

    return f'name="generator" content="{GENERATOR}' in head(path)


def plan_of(graph: "Graph") -> "Plan":
    """Return the plan of all tables and seeds that were ever planned; an empty one where nothing can be planned yet."""
    from swdb.specs.tables import load_tables
    from swdb.study.plan import Plan, identity_of

    try:
        return planned(graph, [*load_tables().values()], range(graph.study.preset.seeds), recorded=True)
    except MissingArtefact:  # a file that planning needs was never named here
        return Plan(identity_of(graph.study), {})


def evidence_of(graph: "Graph", found: Judged, preset: str, photographs: bool) -> "Evidence":
    """Put together what a report is made from."""
    from swdb.reports.html import Evidence
    from swdb.specs.tables import load_tables
    from swdb.study.costs import read_cost

    study, tables, plan = graph.study, load_tables(), found.plan
    seeds = 1 + max((place.seed for place in plan.scores), default=study.preset.seeds - 1)
    return Evidence(
        preset=study.preset,
        precision=study.precision,
        files={name: dict(file.digests) for name, file in study.files.items()},
        tables=found.measured,
        scores={number: plan.cells(number) for number in tables},
        ledger=found.ledger,
        cost=lambda artefact_id: read_cost(study.folder, artefact_id),
        commands=commands_of(graph, preset, seeds),
        dataset=_dataset(graph),
        photographs=photographs,
        readings=finished(graph, tables, plan),
        left_out=[str(problem).removeprefix(f"{study.folder}/") for problem in found.problems],
    )


def _dataset(graph: "Graph") -> "DataSet | None":
    from swdb.data.dataset import open_artefact

    try:
        return open_artefact(graph.data)
    except SwdbError:
        return None


def commands_of(graph: "Graph", preset: str, seeds: int) -> "Commands":
    """Return the commands that make everything again, in a directory called as it is by default."""
    from swdb.cli.hints import kept_files, named_once, prepare_again
    from swdb.data.kinds import facts_of
    from swdb.reports.html import Commands

    study = graph.study
    named = CommandLine(("report", "--preset", Path(preset).name, *([PROXY_SEEDS] if study.proxy_seeds else [])))
    line = CommandLine((*named.words, "--precision", study.precision))
    before = [] if facts_of(study.preset.data).synthetic else [prepare_again(line, prepared=False)]
    if kept_files(study.preset):
        before.append(named_once(line, study.preset))
    many = ("--seeds", str(seeds))
    return Commands(
        before=tuple(before),
        everything=(line.other("reproduce-table", "all", *many), named.other("report")),
        of_row=lambda number, row: line.other("reproduce-table", str(number), "--rows", row, *many),
        of_run=lambda name, seed: line.other("train", name, "--seed", str(seed)),
    )
