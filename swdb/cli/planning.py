"""What tables need: their plan, what of it is still to be made, how long that takes, and what may follow.

in: a graph, tables, rows, seeds -> out: a `Plan`, artefacts to be made; the dry run on the terminal
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from swdb.cli import arguments
from swdb.cli.command_line import CommandLine
from swdb.cli.options import running, say
from swdb.cli.proxy_costs import proxy_lines
from swdb.core.errors import DiskRefused, MissingArtefact, SwdbError
from swdb.core.processor import may_have_gpu

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.specs.study import Study
    from swdb.specs.tables import Row, Table
    from swdb.study.capacity import Resources
    from swdb.study.graph import Graph
    from swdb.study.plan import Plan


def planned(graph: "Graph", tables: list["Table"], seeds: Iterable[int], recorded: bool) -> "Plan":
    """Return the plan of whole tables, with the wanted seeds and those that were ever planned: a report on disk is never
    replaced by one that has less.

    Where nothing is trained, what was recorded stands before what would be planned now: a finished study is shown as it
    was made.
    """
    from swdb.study.plan import Plan, make_plan, plan_path, read_plan

    earlier = None
    try:
        earlier = read_plan(graph.study)
    except MissingArtefact as error:
        say(f"{error}; it is left aside")
    rows = [(table, row) for table in tables for row in table.rows]
    if earlier is None:
        return make_plan(graph, rows, seeds)
    if not earlier.is_of(graph.study):
        say(f"{plan_path(graph.study)}: planned with other settings or files; finished scores of these are looked for")
        return make_plan(graph, rows, seeds or range(graph.study.preset.seeds))
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


def plan_of(
    graph: "Graph", every: Mapping[int, "Table"], wanted: list[tuple["Table", "Row"]], seeds: range, looks: bool
) -> tuple["Plan", "Plan", list["Artefact"]]:
    """Return the plan of whole tables, the part of it that is wanted, and what that needs."""
    everything = planned(graph, [*every.values()], seeds, recorded=looks)
    plan = everything.part({(table.number, row.key) for table, row in wanted}, seeds)
    return everything, plan, needed(graph, plan)


def needed(graph: "Graph", plan: "Plan") -> list["Artefact"]:
    """List what is there of all that a plan needs, and what is still to be made, in order."""
    from swdb.core.artefact import still_needed, with_inputs

    scores = list(plan.scores.values())
    recorded = any(score.task is None for score in scores)
    return still_needed(with_inputs(*scores) if recorded else graph.needed(*scores))


def record(graph: "Graph", plan: "Plan", finished: bool, more: Iterable["Artefact"] = ()) -> None:
    """Write the plan down, with all that is made for it and for more scores; a disk that does not take it is no matter
    where everything is finished.
    """
    from swdb.study.plan import write_plan

    in_tables = {one.id for one in plan.artefacts}
    beside = tuple(one for one in graph.needed(*plan.scores.values(), *more) if one.id not in in_tables)
    try:
        write_plan(graph.study, replace(plan, beside=beside))
    except DiskRefused:
        if not finished:
            raise


def show_plan(
    line: CommandLine,
    graph: "Graph",
    todo: list["Artefact"],
    precision: str | None,
    resources: "Resources",
    asked: tuple[list[tuple["Table", "Row"]], range],
) -> None:
    """Print what would be made of rows and seeds, in which precision, how long it may take and what room."""
    from swdb.cli import console
    from swdb.reports.notes import left_out
    from swdb.study.capacity import slots
    from swdb.timing.forecast import forecast
    from swdb.timing.rates import read_rates

    study, device = graph.study, resources.device
    rates, jobs = read_rates(study, device), len(slots(resources, todo, study.folder))
    found = forecast(study, todo, rates, jobs)
    lines = [*found.lines(f"{line.other('bench')} measures it"), *proxy_lines(graph, *asked, rates, jobs)]
    for table in {table.number: table for table, _ in asked[0]}.values():
        lines += left_out(table, study.preset)
    if device.startswith("cuda") or (device == "auto" and may_have_gpu()):
        from swdb.timing.card import card_lines

        lines += card_lines(study, todo, rates, device)
    console.print_plan(todo, precision_words(graph, precision), found.seconds, lines)


def precision_words(graph: "Graph", typed: str | None) -> str:
    """Say in which precision is computed, and who decided that."""
    from swdb.study.workdir import known_precision

    precision = graph.study.precision
    if typed is not None:
        return f"{precision}, as typed"
    if known_precision(graph.study) is not None:
        return precision
    return f"{precision} here; the first machine that trains in this work directory decides"


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
    from swdb.reports.results import runs_behind

    found: list[tuple[str, ...]] = []
    for artefact in {run.id: run for score in plan.scores.values() for run in runs_behind(score)}.values():
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
