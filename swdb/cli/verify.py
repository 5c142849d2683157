"""`swdb verify`: what the finished runs say of the paper's claims, for people and for continuous integration."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swdb.cli import arguments
from swdb.cli.judging import judged
from swdb.cli.options import Json, PresetName, ProxySeeds, Workdir, open_graph, propose, say, show
from swdb.cli.outputs import head, require_replaceable
from swdb.cli.planning import planned
from swdb.core.errors import BadInput, disk_error

if TYPE_CHECKING:
    from swdb.specs.tables import Table
    from swdb.study.graph import Graph
    from swdb.study.plan import Plan
    from swdb.verdicts.verdict import Ledger

MOST_NAMED = 10  # artefacts that are left out, a line each

Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 where a preset at the paper's scale contradicts a claim.")
]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write the verdicts as JUnit XML.")]
Summary = Annotated[Path | None, typer.Option("--summary", help="Append a Markdown summary: $GITHUB_STEP_SUMMARY.")]
Sentences = Annotated[
    bool, typer.Option("--sentences", help="Print every sentence of the supplement with what became of it.")
]
TableOption = Annotated[str, typer.Option("--table", help="1, 2, 3, 4 or all; all are judged together either way.")]


def verify(
    context: typer.Context,
    number: TableOption = "all",
    strict: Strict = False,
    sentences: Sentences = False,
    json: Json = False,
    junit: Junit = None,
    summary: Summary = None,
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    proxy_seeds: ProxySeeds = False,
) -> None:
    """Judge the paper's claims from what is finished; trains and scores nothing.

    \b
    swdb verify
    swdb verify --preset voc --strict --junit verdicts.xml
    swdb verify --table 3 --json
    swdb verify --sentences
    """
    from swdb.reports import ci
    from swdb.specs.tables import load_tables

    tables = load_tables()
    if sentences and number != "all":
        raise BadInput(f"--table {number}", "--sentences are those of the whole supplement", "only one of the two")
    chosen = {table.number for table in arguments.chosen_tables(tables, number)}
    if junit is not None and summary is not None and os.path.realpath(junit) == os.path.realpath(summary):
        raise BadInput(f"--summary {summary}", "is the file of --junit, too", "a file for each")
    if junit is not None:
        require_replaceable("--junit", junit, is_verdicts, "file of verdicts")
    graph = open_graph(workdir, preset, remember=False, proxy_seeds=proxy_seeds)
    plan = planned(graph, [*tables.values()], range(0), recorded=True)
    found = judged(graph, tables, plan)
    ledger, problems = with_hours(found.ledger, graph, tables, plan), found.problems
    shown = replace(ledger, verdicts=tuple(one for one in ledger.verdicts if one.table in chosen))
    if sentences:
        show_sentences(ledger, json)
    elif json:
        show([], {**shown.to_json(), "left_out": [str(problem) for problem in problems]}, json)
    else:
        from swdb.cli import console

        console.print_ledger(shown)
    if junit is not None:
        write_junit(junit, ci.junit(shown))
    if summary is not None:
        append(summary, shown)
    for problem in problems[1:MOST_NAMED]:
        say(f"left out: {problem}")
    if len(problems) > MOST_NAMED:
        say(f"left out: {len(problems) - MOST_NAMED} more; --json names them")
    if problems:
        raise problems[0]
    if strict and any(ci.is_failure(one, ledger) for one in shown.verdicts):
        raise typer.Exit(1)
    propose(context.obj, graph.study, *following(ledger))


def show_sentences(ledger: "Ledger", json: bool) -> None:
    """Print the supplement sentence by sentence, with the verdicts on the claims that read them."""
    from swdb.reports.sentences import as_json, lines
    from swdb.specs.sentences import load_sentences

    found = load_sentences()
    show(list(lines(found, ledger)), {"sentences": as_json(found, ledger)}, json)


def following(ledger: "Ledger") -> tuple[str, ...]:
    """Return the words of the command that follows: what is still to be run, or what it would take."""
    from swdb.reports.ledger import waits_for_runs
    from swdb.verdicts.verdict import UNDECIDED

    if any(map(waits_for_runs, ledger.verdicts)):
        return "reproduce-table", "all"
    undecided = any(verdict.word == UNDECIDED for verdict in ledger.verdicts)
    return ("plan",) if undecided else ("reproduce-table", "all", "--no-train")


def with_hours(ledger: "Ledger", graph: "Graph", tables: Mapping[int, "Table"], plan: "Plan") -> "Ledger":
    """Return a ledger that says what the seeds that each claim takes cost, as far as the rates are known here."""
    from swdb.specs.tables import measured_cells
    from swdb.timing.price import prices

    price = prices(graph, plan, measured_cells(tables))
    hours = {one.claim.key: price.hours(one.claim, one.seeds_needed) for one in ledger.verdicts}
    return replace(ledger, verdicts=tuple(replace(one, hours_needed=hours[one.claim.key]) for one in ledger.verdicts))


def is_verdicts(path: Path) -> bool:
    """Whether a file is JUnit XML of ours."""
    return '<testsuites name="swdb verify"' in head(path)


def write_junit(path: Path, text: str) -> None:
    """Write a file that the user named."""
    from swdb.core.files import write_text

    write_text(path, text)


def append(path: Path, ledger: "Ledger") -> None:
    """Append a summary to a file that others append to as well; together they have a largest size."""
    from swdb.reports.ci import MOST_BYTES, summary

    try:
        there = path.stat().st_size if path.exists() else 0
        text = summary(ledger, max(0, MOST_BYTES - there - 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if there else "") + text if text else "")
    except OSError as error:
        raise disk_error(error, path) from error
