"""`swdb reproduce-table`: all that a table needs, then the table beside the paper's values."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from swdb.cli import arguments
from swdb.cli.command_line import CommandLine
from swdb.cli.on_slurm import On, SlurmOptions, limits, open_slurm
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
    Rows,
    Seeds,
    TableNumber,
    Threads,
    UntilDecided,
    Weights,
    Workdir,
    open_graph,
    propose,
    running,
    say,
)
from swdb.cli.until_decided import Search, check_options
from swdb.core.errors import DiskRefused, MissingArtefact, SwdbError, unknown

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.specs.study import Study
    from swdb.specs.tables import Row, Table
    from swdb.study.capacity import Resources
    from swdb.study.graph import Graph
    from swdb.study.plan import Plan


DRIVER = Path("/dev/nvidiactl")  # is there where a GPU's driver is loaded: torch is loaded to ask it, else it is not


def reproduce_table(
    context: typer.Context,
    number: TableNumber,
    rows: Rows = None,
    seeds: Seeds = None,
    dry_run: DryRun = False,
    no_train: NoTrain = False,
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
    on: On = "here",
    slurm: SlurmOptions = None,
) -> None:
    """Train and score every run of a table, then print it next to the paper's values.

    \b
    swdb reproduce-table 4
    swdb reproduce-table all --seeds 1 --dry-run
    swdb reproduce-table 1 --rows mixed,strong --format md
    swdb reproduce-table 2 --until-decided --budget 2h
    swdb reproduce-table all --on slurm --slurm partition=gpu,gpus=1
    """
    from swdb.specs.tables import load_tables

    check_form(form)
    spend = check_options(budget, until_decided, seeds, rows, on, dry_run, no_train)
    every = load_tables()
    tables = arguments.chosen_tables(every, number)
    wanted, looks = arguments.chosen_rows(tables, rows), dry_run or no_train
    resources = arguments.resources(device, jobs, threads, devices, per_device)
    queue = None if looks else open_slurm(context.obj, on, slurm, workdir, device)
    trains_on, choose = None if looks else device, queue.choose_precision if queue else None
    graph = open_graph(workdir, preset, precision, weights, cues, None, not dry_run, trains_on, preprocessing, choose)
    if until_decided:
        return decide(context.obj, graph, every, tables, resources, spend, form)
    asked = arguments.seeds(seeds, graph.study.preset)
    everything, plan, todo = plan_of(graph, every, wanted, asked, looks)
    same = ("reproduce-table", number, *limits(context.obj))
    if dry_run:
        return show_plan(context.obj, graph, todo, precision, resources, same)
    submit = None if queue is None else lambda: queue.submit(graph.study, todo, number)
    submitted, failed = (False, None) if looks else made(context.obj, graph.study, resources, plan, todo, submit)
    if submitted:
        return
    show_tables(graph, everything, every, tables, asked, form, keep=looks)
    if failed is not None:
        raise failed
    propose(context.obj, graph.study, *(following(graph, plan) or same))


def check_form(form: str) -> None:
    """Refuse a format that no table has."""
    from swdb.reports.tables import FORMATS

    if form not in ("rich", *FORMATS):
        raise unknown("--format", form, ("rich", *FORMATS))


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
        record(study, part, finished=False)
        failures.append(make_most(line, study, resources, todo))

    jobs = len(slots(resources, graph.everything(range(1)), study.folder))
    chosen = frozenset(table.number for table in tables)
    ended = Search(graph, every, chosen, plan, make, jobs, budget).run()
    everything = plan(())
    seeds = range(1 + max((place.seed for place, one in everything.scores.items() if one.done), default=0))
    show_tables(graph, everything, every, tables, seeds, form, keep=False)
    say(ended)
    for failure in filter(None, failures):
        raise failure
    propose(line, study, "verify")


def plan_of(
    graph: "Graph", every: Mapping[int, "Table"], wanted: list[tuple["Table", "Row"]], seeds: range, looks: bool
) -> tuple["Plan", "Plan", list["Artefact"]]:
    """Return the plan of whole tables, the part of it that is wanted, and what that needs."""
    everything = planned(graph, [*every.values()], seeds, recorded=looks)
    plan = everything.part({(table.number, row.key) for table, row in wanted}, seeds)
    return everything, plan, needed(graph, plan)


def made(
    line: CommandLine,
    study: "Study",
    resources: "Resources",
    plan: "Plan",
    todo: list["Artefact"],
    submit: Callable[[], None] | None,
) -> tuple[bool, Exception | None]:
    """Make what a plan needs, here or, with `submit`, elsewhere; returns whether it was submitted, and the error of a part."""
    record(study, plan, finished := all(artefact.done for artefact in todo))
    if submit is not None and not finished:
        submit()
        return True, None
    return False, None if finished else make_most(line, study, resources, todo)


def make_most(line: CommandLine, study: "Study", resources: "Resources", todo: list["Artefact"]) -> Exception | None:
    """Make what is left of a plan here, as far as it can be made; returns the first error of what cannot, where others could."""
    with running(line, study, resources, todo) as runner:
        try:
            runner.make(todo)
        except Exception as error:
            if runner.failures and any(one.done for one in todo if one.kind == "score"):
                return error
            raise
    return None


def following(graph: "Graph", plan: "Plan") -> tuple[str, ...]:
    """Return the words that score a finished run of a plan, one whose two branches a figure shows if there is any."""
    found: list[tuple[str, ...]] = []
    for artefact in {
        one.id: one for score in plan.scores.values() for one in score.inputs if one.kind == "run"
    }.values():
        try:
            spec, seed = arguments.run_and_seed(graph.runs, artefact.name, None)
            if not (artefact.done and graph.run(spec, seed).id == artefact.id):
                continue
        except SwdbError:  # of another version, or of files that were never named here
            continue
        words = ("eval", spec.name, *(("--seed", str(seed)) if seed else ()))
        if len(spec.branches) > 1:
            return (*words, "--figure")
        found.append(words)
    return found[0] if found else ()


def show_plan(
    line: CommandLine,
    graph: "Graph",
    todo: list["Artefact"],
    precision: str | None,
    resources: "Resources",
    same: tuple[str, ...],
) -> None:
    """Print what would be made and in which precision, how long it may take and what room; `same`: the words that make it."""
    from swdb.cli import console
    from swdb.study.capacity import slots
    from swdb.timing.forecast import forecast
    from swdb.timing.rates import read_rates

    study, device = graph.study, resources.device
    rates, jobs = read_rates(study, device), len(slots(resources, todo, study.folder))
    found = forecast(study, todo, rates, jobs)
    lines = found.lines(f"{line.other('bench')} measures it")
    if device.startswith("cuda") or (device == "auto" and DRIVER.exists()):
        from swdb.timing.card import card_lines

        lines += card_lines(study, todo, rates, device)
    console.print_plan(todo, precision_words(graph, precision), found.seconds, lines)
    propose(line, study, *same)


def show_tables(
    graph: "Graph",
    plan: "Plan",
    every: Mapping[int, "Table"],
    tables: list["Table"],
    seeds: range,
    form: str,
    keep: bool,
) -> None:
    """Write the tables from all scores that are finished, and print them from those of the wanted seeds.

    Claims are judged from all finished scores of `every` table: a verdict is the same wherever it is shown.
    `keep`: a report that has values which are not found here, of another study or version, is left as it is.
    """
    from swdb.cli import console
    from swdb.reports.ledger import ledger_of
    from swdb.reports.results import measure
    from swdb.reports.tables import render
    from swdb.study.stages import TABLE

    study = graph.study
    whole = [measure(table, graph.runs, plan.cells(number)) for number, table in every.items()]
    ledger = ledger_of(whole, study.preset, registered_in(study, every, plan))

    def made_from(chosen: "Plan") -> list["Artefact"]:
        return [TABLE.artefact(study, table, graph.runs, chosen.cells(table.number), ledger) for table in tables]

    measured = [artefact.task.measure() for artefact in made_from(plan.part(None, seeds))]
    written = write([one for one in made_from(plan) if not (keep and would_lose(one))])
    if form == "rich":
        for table in measured:
            console.print_table(table, study.preset, ledger)
    else:
        typer.echo(render(measured, study.preset, form, ledger), nl=False)
    if written:
        say(f"written: {', '.join(map(str, written))}")


def registered_in(study: "Study", every: Mapping[int, "Table"], plan: "Plan") -> dict[str, str]:
    """Return which claims were fixed before their runs; what was registered and damaged since fixes nothing, and is named."""
    from swdb.study.preregistration import standings

    try:
        return standings(study, every, plan)
    except MissingArtefact as error:
        say(f"{error}; what was registered counts for nothing")
        return {}


def would_lose(artefact: "Artefact") -> bool:
    """Whether a report on disk has values that would not be in it any more; says so."""
    lost = artefact.task.measure().lacks(artefact.record)
    if lost:
        say(f"kept: {artefact.record.with_suffix('.md')}, which has {lost} values that are not found here")
    return lost > 0


def planned(graph: "Graph", tables: list["Table"], seeds: Iterable[int], recorded: bool) -> "Plan":
    """Return the plan of whole tables, with the wanted seeds and those that were ever planned: a report on disk is never
    replaced by one that has less.

    Where nothing is trained, what was recorded stands before what would be planned now: a finished study is shown as it
    was made.
    """
    from swdb.study.plan import Plan, make_plan, read_plan

    earlier = None
    try:
        earlier = read_plan(graph.study)
    except MissingArtefact as error:
        say(f"{error}; it is left aside")
    rows = [(table, row) for table in tables for row in table.rows]
    if earlier is None or not earlier.is_of(graph.study):
        return make_plan(graph, rows, seeds)
    before = earlier.part({(table.number, row.key) for table, row in rows})
    every_seed = sorted({*seeds, *(place.seed for place in before.scores)})
    if not recorded:
        return make_plan(graph, rows, every_seed)
    try:
        now = make_plan(graph, rows, every_seed).scores
    except MissingArtefact:  # a file that planning needs was never named here
        return before
    other = {place: score for place, score in before.scores.items() if place not in now or now[place].id != score.id}
    return Plan(before.study, {**now, **other})


def record(study: "Study", plan: "Plan", finished: bool) -> None:
    """Write the plan down; a disk that does not take it is no matter where everything is finished."""
    from swdb.study.plan import write_plan

    try:
        write_plan(study, plan)
    except DiskRefused:
        if not finished:
            raise


def needed(graph: "Graph", plan: "Plan") -> list["Artefact"]:
    """List what is there of all that a plan needs, and what is still to be made, in order."""
    from swdb.core.artefact import still_needed, with_inputs

    scores = list(plan.scores.values())
    recorded = any(score.task is None for score in scores)
    return still_needed(with_inputs(*scores) if recorded else graph.needed(*scores))


def precision_words(graph: "Graph", typed: str | None) -> str:
    """Say in which precision is computed, and who decided that."""
    from swdb.study.workdir import known_precision

    precision = graph.study.precision
    if typed is not None:
        return f"{precision}, as typed"
    if known_precision(graph.study) is not None:
        return precision
    return f"{precision} here; the first machine that trains in this work directory decides"


def write(artefacts: list["Artefact"]) -> list[Path]:
    """Write the reports of tables; returns their files, none where the disk does not take them."""
    from swdb.reports.tables import report_paths
    from swdb.study.stages import TABLE

    try:
        for artefact in artefacts:
            artefact.finish(TABLE.make(artefact, None))
    except DiskRefused as error:
        say(f"not written: {error}")
        return []
    return [path for one in artefacts for path in report_paths(one.task.table.number, one.folder)]
