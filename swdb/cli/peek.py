"""`swdb reproduce-table --show-peek`: what choosing the best step on val would have printed, under the tables. Not a result."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Annotated

import typer

from swdb.cli import arguments
from swdb.cli.options import say
from swdb.core.artefact import Artefact
from swdb.core.errors import SwdbError
from swdb.core.files import damage_of
from swdb.core.numbers import signed
from swdb.reports.results import NOT_RUN, runs_behind

if TYPE_CHECKING:
    from swdb.specs.tables import Table
    from swdb.study.graph import Graph
    from swdb.study.plan import Place, Plan

ShowPeek = Annotated[
    bool,
    typer.Option(
        "--show-peek", help="Train again and score on the way: what best-on-val would have printed. No result."
    ),
]
TITLE = "Best on val would have printed (not a result: the tables count last weights, and choose nothing on val):"
Peeks = Mapping["Place", Artefact | None]  # None: an average of runs, or a run of another version


def _peek(graph: "Graph", score: Artefact) -> Artefact | None:
    runs = runs_behind(score)
    try:
        spec, seed = arguments.run_and_seed(graph.runs, runs[0].name, None)
        planned = graph.run(spec, seed)
    except SwdbError:  # of another version, or of files that were never named here
        return None
    return graph.peek(spec, seed) if [one.id for one in runs] == [planned.id] else None


def with_peeks(graph: "Graph", plan: "Plan", todo: list[Artefact], show_peek: bool) -> tuple[list[Artefact], Peeks]:
    """Return what is to be made, behind it the peeks with what those need, and the peek behind each cell and seed.

    Says what they cost; without `show_peek` there are none.
    """
    from swdb.core.artefact import still_needed

    peeks: Peeks = {place: _peek(graph, score) for place, score in plan.scores.items()} if show_peek else {}
    wanted = {one.id: one for one in peeks.values() if one is not None}.values()
    if left := [one for one in wanted if not one.done]:
        steps = sum(one.steps for one in left)
        say(
            f"--show-peek trains {len(left)} run{'s' * (len(left) > 1)} once more ({steps:,} steps), scored on their way; no table reads that"
        )
    known = {one.id for one in todo}
    return todo + [one for one in still_needed(graph.needed(*wanted)) if one.id not in known], peeks


def show_peeks(tables: Iterable["Table"], peeks: Peeks, seeds: Sequence[int], form: str) -> None:
    """Print what the peeks say, if there are any, a line each cell: beside tables for people on stdout, else on stderr."""
    if not peeks:
        return
    lines = [line for table in tables for line in peek_lines(table, peeks, seeds)]
    shown = [TITLE, *(f"- {line}" for line in lines)]
    if form in ("rich", "md"):
        typer.echo("\n".join(["", *shown] if form == "md" else shown))
    else:
        for line in shown:
            say(line)


def peek_lines(table: "Table", peeks: Peeks, seeds: Sequence[int]) -> list[str]:
    """Return a line for each cell of a table that has a peek in the plan."""
    lines = []
    for row in table.rows:
        for column in table.columns:
            places = [one for one in peeks if one[:3] == (table.number, row.key, column.key) and one.seed in seeds]
            if places:
                said = _said([peeks[place] for place in places], column.branch or "")
                lines.append(f"Table {table.number}, {row.key}, {column.key}: {said}")
    return lines


def _said(peeks: Sequence[Artefact | None], branch: str) -> str:
    """Say what the peeks at one cell's runs, a seed each, came to."""
    if None in peeks:
        return "cannot be said: an average of runs, or a run that would be planned otherwise now"
    done = [one for one in peeks if one is not None and one.done]
    if not done:
        return NOT_RUN
    best, last, steps = [], [], []
    for one in done:
        record = one.read_record()
        one.check()
        with damage_of(one.record, "a peek"):
            best.append(float(record["best"][branch]["miou"]))
            last.append(float(record["last"][branch]))
            steps.append(f"{int(record['best'][branch]['step']):,}")
    seeds = f"{len(done)} seed{'s' * (len(done) > 1)}"
    at = f"best at step {', '.join(steps)} of {done[0].steps:,}"
    return f"{mean(best):.1f} instead of {mean(last):.1f} ({signed(mean(best) - mean(last), 2)} points; {seeds}, {at})"
