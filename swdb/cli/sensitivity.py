"""`swdb reproduce-table sensitivity`: what the paper leaves open, read in another way, and what becomes of its claims."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from swdb.cli import arguments
from swdb.cli.command_line import CommandLine
from swdb.cli.on_slurm import OnSlurm, limits
from swdb.cli.options import propose, say
from swdb.cli.planning import make_most, needed, planned, record, show_plan
from swdb.core.errors import BadInput, DiskRefused, MissingArtefact, unknown

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.reports.sensitivity import Finding
    from swdb.specs.sensitivity import Read, Sensitivity
    from swdb.specs.tables import Table
    from swdb.study.capacity import Resources
    from swdb.study.graph import Graph
    from swdb.study.plan import Plan
    from swdb.study.readings import Question, ReadPlace

SENSITIVITY = "sensitivity"  # the word for it in the place of a table's number


def check_typed(every: Mapping[int, "Table"], rows: str | None, form: str, others: Mapping[str, Any]) -> None:
    """Refuse unknown readings, formats in which they are not printed, and options that are about the paper's tables alone."""
    from swdb.reports.sensitivity import FORMATS
    from swdb.specs.sensitivity import load_sensitivity

    arguments.form(form, FORMATS)
    chosen_readings(load_sensitivity(every), rows)
    for option, value in others.items():
        if value:
            raise BadInput(option, "goes with the paper's tables", f"no {option} beside {SENSITIVITY}")


def chosen_readings(sensitivity: "Sensitivity", keys: str | None) -> list["Read"]:
    """Read the keys of readings; all where none is named."""
    known = {one.reading.key: one for one in sensitivity.readings}
    names = [name.strip() for name in keys.split(",")] if keys is not None else [*known]
    for name in names:
        if name not in known:
            raise unknown("--rows: reading", name, known)
    return [one for key, one in known.items() if key in names]


@dataclass(frozen=True)
class Asked:
    """What somebody wants to see."""

    graph: "Graph"
    every: Mapping[int, "Table"]
    title: str
    all_questions: list["Question"]
    keys: frozenset[str]  # of the readings that are wanted
    seeds: range
    form: str
    looks: bool  # nothing is made

    @property
    def questions(self) -> list["Question"]:
        """The questions that are wanted."""
        return [one for one in self.all_questions if one.read.reading.key in self.keys]


def ask(
    graph: "Graph", every: Mapping[int, "Table"], rows: str | None, seeds: int | None, form: str, looks: bool
) -> Asked:
    """Return what is asked of a study, without readings that its preset has itself."""
    from swdb.specs.sensitivity import load_sensitivity
    from swdb.study.readings import questions, reads_so_itself

    preset, whole = graph.study.preset, load_sensitivity(every)
    reads = []
    for read in whole.readings:
        if reads_so_itself(graph, read):
            say(f"{read.reading.key}: left out, for preset {preset.name!r} reads the paper so itself")
        else:
            reads.append(read)
    asked = [one for one in questions(reads, every, preset.comparable) if one.claims]
    keys = frozenset(one.reading.key for one in chosen_readings(whole, rows))
    return Asked(graph, every, whole.title, asked, keys, arguments.seeds(seeds, preset), form, looks)


@dataclass(frozen=True)
class Planned:
    """The scores behind both sides of every comparison."""

    tables: "Plan"  # as the tables read the paper: whole tables
    readings: Mapping["ReadPlace", "Artefact"]

    def part(self, seeds: Container[int]) -> "Planned":
        """Return this with some seeds only."""
        return Planned(
            self.tables.part(None, seeds), {place: one for place, one in self.readings.items() if place.seed in seeds}
        )


def answer(
    line: CommandLine,
    asked: Asked,
    resources: "Resources",
    queue: OnSlurm | None,
    precision: str | None,
    dry_run: bool,
) -> None:
    """Make what is left, here or as jobs, unless somebody only looks; then show what became of the claims.

    dry_run: print what would be made, how long it may take and what room.
    """
    whole, study = plan_whole(asked), asked.graph.study
    wanted, readings, todo = left_of(asked, whole)
    if dry_run:
        show_plan(line, asked.graph, todo, precision, resources, ([], asked.seeds))
        return propose(line, study, "reproduce-table", SENSITIVITY, *limits(line))
    failed = None
    if not asked.looks:
        record(asked.graph, wanted, finished := all(artefact.done for artefact in todo), readings)
        if queue is not None and not finished:
            return queue.submit(study, todo, SENSITIVITY)
        failed = None if finished else make_most(line, study, resources, todo)
    show(asked, findings(asked, asked.questions, whole.part(asked.seeds)))
    keep(asked, findings(asked, asked.all_questions, whole))
    if failed is not None:
        raise failed
    propose(line, study, "reproduce-table", "all")


def plan_whole(asked: Asked) -> Planned:
    """Plan whole tables and all readings, with the wanted seeds and those that were ever planned: a report never shrinks."""
    return with_readings(asked, planned(asked.graph, [*asked.every.values()], asked.seeds, recorded=asked.looks))


def with_readings(asked: Asked, tables: "Plan") -> Planned:
    """Plan all readings beside whole tables that are planned, with the wanted seeds and all of theirs."""
    from swdb.study.readings import plan_readings

    seeds = sorted({*asked.seeds, *(place.seed for place in tables.scores)})
    return Planned(tables, plan_readings(asked.graph, asked.all_questions, seeds))


def left_of(asked: Asked, whole: Planned) -> tuple["Plan", list["Artefact"], list["Artefact"]]:
    """Return the part of the tables that the wanted claims rest on, the scores under their readings, and all that is to be
    made for both.
    """
    from swdb.core.artefact import still_needed
    from swdb.study.readings import rows_of

    tables = whole.tables.part(rows_of(asked.questions, asked.every), asked.seeds)
    scores = [one for place, one in whole.part(asked.seeds).readings.items() if place.reading in asked.keys]
    todo = {one.id: one for one in needed(asked.graph, tables)}
    todo |= {one.id: one for one in still_needed(asked.graph.needed(*scores))}
    return tables, scores, [*todo.values()]


def findings(asked: Asked, questions: Iterable["Question"], scores: Planned) -> list["Finding"]:
    """Compare claims under readings, from the scores that are finished; raises what is wrong with one of them."""
    from swdb.reports.sensitivity import Finding
    from swdb.reports.sound import check_sound
    from swdb.study.plan import mious
    from swdb.verdicts.engine import family_of
    from swdb.verdicts.readings import compare

    check_sound({**scores.tables.scores, **scores.readings})
    family = family_of(asked.every)
    default = mious(scores.tables.scores)
    found = []
    for question in questions:
        read = question.read
        own = mious({place: one for place, one in scores.readings.items() if place.reading == read.reading.key})
        otherwise = {**default, **{cell: own.get(cell, {}) for cell in question.changed}}
        trained = filter(asked.graph.can_make, (*read.begin.values(), *read.runs.values()))
        runs = tuple(run.name for run in trained)
        found.append(Finding(read.reading, runs, tuple(compare(family, question.claims, default, otherwise))))
    return found


def finished(graph: "Graph", every: Mapping[int, "Table"], tables: "Plan") -> list["Finding"]:
    """Return the readings of which something is finished, as a report shows them beside planned tables; none where nobody has
    tried any, or where they cannot be planned or believed any more.
    """
    from swdb.reports.sensitivity import FORMATS, is_kept

    if not is_kept(graph.study.reports):
        return []
    try:
        asked = ask(graph, every, None, None, FORMATS[0], looks=True)
        found = findings(asked, asked.all_questions, with_readings(asked, tables))
    except MissingArtefact as error:  # a file that was named is gone, or a score is damaged
        say(f"readings are left out: {error}")
        return []
    return [one for one in found if any(line.otherwise is not None for line in one.comparisons)]


def show(asked: Asked, found: list["Finding"]) -> None:
    """Print the table."""
    from swdb.cli import console
    from swdb.reports.sensitivity import HEADER, lines_of, notes, render, title, words_of

    preset = asked.graph.study.preset
    if asked.form == "rich":
        blocks = {words_of(one.reading): lines_of(one, ends=False) for one in found}
        console.print_blocks(title(asked.title, preset), HEADER, blocks, notes(found, preset))
    else:
        typer.echo(render(found, asked.title, preset, asked.form), nl=False)


def keep(asked: Asked, found: list["Finding"]) -> None:
    """Write the table of all readings, unless there is one that says more: of another version, say."""
    from swdb.reports.sensitivity import lacks, write

    preset, folder = asked.graph.study.preset, asked.graph.study.reports
    if lost := lacks(found, folder):
        what = "a comparison that is" if lost == 1 else f"{lost} comparisons that are"
        return say(f"kept: {folder / 'sensitivity.md'}, which has {what} not found here")
    try:
        say(f"written: {', '.join(map(str, write(found, asked.title, preset, folder)))}")
    except DiskRefused as error:
        say(f"not written: {error}")
