"""`swdb reproduce-table`: all that a table needs, then the table beside the paper's values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from swdb.cli import arguments, sensitivity
from swdb.cli.command_line import CommandLine
from swdb.cli.on_slurm import On, OnSlurm, SlurmOptions, limits, open_slurm
from swdb.cli.options import (
    Budget,
    Cues,
    Device,
    Devices,
    DryRun,
    Format,
    Jobs,
    NoTrain,
    PerDevice,
    Precision,
    Preprocessing,
    PresetName,
    ProxySeeds,
    Rows,
    Seeds,
    TableNumber,
    Threads,
    UntilDecided,
    Weights,
    Workdir,
    open_graph,
    propose,
    say,
)
from swdb.cli.peek import ShowPeek, show_peeks, with_peeks
from swdb.cli.planning import following, make_most, plan_of, planned, record, show_plan
from swdb.cli.showing import show_tables
from swdb.cli.until_decided import Search, check_options

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.specs.tables import Row, Table
    from swdb.study.capacity import Resources
    from swdb.study.graph import Graph
    from swdb.study.plan import Plan


def reproduce_table(
    context: typer.Context,
    number: TableNumber,
    rows: Rows = None,
    seeds: Seeds = None,
    dry_run: DryRun = False,
    no_train: NoTrain = False,
    show_peek: ShowPeek = False,
    until_decided: UntilDecided = False,
    budget: Budget = None,
    form: Format = "rich",
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
    proxy_seeds: ProxySeeds = False,
    on: On = "here",
    slurm: SlurmOptions = None,
) -> None:
    """Train and score every run of a table, then print it next to the paper's values.

    \b
    swdb reproduce-table 4
    swdb reproduce-table all --seeds 1 --dry-run
    swdb reproduce-table 1 --rows mixed,strong --format md
    swdb reproduce-table 2 --until-decided --budget 2h
    swdb reproduce-table sensitivity --rows kl-over-classes,occurrences
    swdb reproduce-table all --on slurm --slurm partition=gpu,gpus=1
    """
    from swdb.specs.tables import load_tables

    readings, looks, every = number == sensitivity.SENSITIVITY, dry_run or no_train, load_tables()
    spend = check_options(budget, until_decided, seeds, rows, on, dry_run, no_train)
    if readings:
        others = {"--until-decided": until_decided, "--show-peek": show_peek}
        sensitivity.check_typed(every, rows, form, others)
    tables = [] if readings else chosen_tables(every, number, form)
    chosen = arguments.chosen_rows(tables, None if readings else rows)
    resources = arguments.resources(device, jobs, threads, devices, per_device)
    queue = open_slurm(context.obj, on, slurm, workdir, device, looks)
    how = {"trains_on": None if looks else device, "choose": queue.choose_precision if queue else None}
    files = {"weights": weights, "cues": cues, "preprocessing": preprocessing}
    graph = open_graph(workdir, preset, precision, remember=not dry_run, proxy_seeds=proxy_seeds, **files, **how)
    if until_decided:
        return decide(context.obj, graph, every, tables, resources, spend, form)
    if readings:
        asked = sensitivity.ask(graph, every, rows, seeds, form, looks)
        return sensitivity.answer(context.obj, asked, resources, queue, precision, dry_run)
    asked = Asked(number, every, tables, chosen, arguments.seeds(seeds, graph.study.preset), form, show_peek, looks)
    if dry_run:
        preview(context.obj, graph, asked, resources, precision)
    else:
        reproduce(context.obj, graph, asked, resources, queue)


def chosen_tables(every: Mapping[int, "Table"], number: str, form: str) -> list["Table"]:
    """Read which tables are asked for, and in which form."""
    from swdb.reports.printed import PRINTED

    arguments.form(form, PRINTED)
    return arguments.chosen_tables(every, number, sensitivity.SENSITIVITY)


@dataclass(frozen=True)
class Asked:
    """What somebody wants to see."""

    number: str  # as it was typed
    every: Mapping[int, "Table"]
    tables: list["Table"]
    rows: list[tuple["Table", "Row"]]
    seeds: range
    form: str
    show_peek: bool
    looks: bool  # nothing is made

    def same(self, line: CommandLine) -> tuple[str, ...]:
        """The words that ask for it again."""
        return ("reproduce-table", self.number, *limits(line))


def preview(line: CommandLine, graph: "Graph", asked: Asked, resources: "Resources", precision: str | None) -> None:
    """Print what would be made, how long it may take and what room."""
    _, plan, todo = plan_of(graph, asked.every, asked.rows, asked.seeds, looks=True)
    todo, _ = with_peeks(graph, plan, todo, asked.show_peek)
    show_plan(line, graph, todo, precision, resources, (asked.rows, asked.seeds))
    propose(line, graph.study, *asked.same(line))


def reproduce(line: CommandLine, graph: "Graph", asked: Asked, resources: "Resources", queue: OnSlurm | None) -> None:
    """Make what is left, here or as jobs, unless somebody only looks; then show the tables."""
    everything, plan, todo = plan_of(graph, asked.every, asked.rows, asked.seeds, asked.looks)
    todo, peeks = with_peeks(graph, plan, todo, asked.show_peek)
    failed = None
    if not asked.looks:
        record(graph, plan, finished := all(artefact.done for artefact in todo))
        if queue is not None and not finished:
            return queue.submit(graph.study, todo, asked.number)
        failed = None if finished else make_most(line, graph.study, resources, todo)
    show_tables(graph, everything, asked.every, asked.tables, asked.seeds, asked.form, keep=asked.looks)
    show_peeks(asked.tables, peeks, asked.seeds, asked.form)
    if failed is not None:
        raise failed
    propose(line, graph.study, *(following(graph, plan) or asked.same(line)))


def decide(
    line: CommandLine,
    graph: "Graph",
    every: Mapping[int, "Table"],
    tables: list["Table"],
    resources: "Resources",
    budget: float | None,
    form: str,
) -> None:
    """Run seeds until the claims of some tables are decided, then print these; see `until_decided.py`."""
    from swdb.study.capacity import slots

    study, failures = graph.study, []

    def plan(seeds: Iterable[int]) -> "Plan":
        return planned(graph, [*every.values()], seeds, recorded=False)

    def make(part: "Plan", todo: list["Artefact"]) -> None:
        record(graph, part, finished=False)
        failures.append(make_most(line, study, resources, todo))

    jobs = len(slots(resources, graph.everything(range(1)), study.folder))
    chosen = frozenset(table.number for table in tables)
    ended = Search(graph, every, chosen, plan, make, resources.device, jobs, budget).run()
    everything = plan(())
    seeds = range(1 + max((place.seed for place, one in everything.scores.items() if one.done), default=0))
    show_tables(graph, everything, every, tables, seeds, form, keep=False)
    say(ended)
    for failure in filter(None, failures):
        raise failure
    propose(line, study, "verify")
