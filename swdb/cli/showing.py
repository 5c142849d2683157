"""Tables with the ledger's verdicts, written and printed from what is finished.

in: a plan whose scores are finished or not -> out: `reports/<preset>/table<N>.*`, and the same on stdout
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from swdb.cli.options import say
from swdb.cli.planning import planned
from swdb.core.errors import DiskRefused, MissingArtefact

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.specs.study import Study
    from swdb.specs.tables import Table
    from swdb.study.graph import Graph
    from swdb.study.plan import Plan


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

    Raises MissingArtefact, and prints nothing, where a score cannot be believed.
    """
    from swdb.cli import console
    from swdb.reports.ledger import ledger_of
    from swdb.reports.printed import printed
    from swdb.reports.results import measure
    from swdb.reports.sound import check_sound
    from swdb.study.stages import TABLE

    check_sound(plan.scores)
    study, shared = graph.study, on_one_pair(graph, tables, seeds)
    whole = [measure(table, graph.runs, plan.cells(number)) for number, table in every.items()]
    ledger = ledger_of(whole, study.preset, registered_in(study, every, plan))

    def made_from(chosen: "Plan") -> list["Artefact"]:
        return [
            TABLE.artefact(
                study, table, graph.runs, chosen.cells(table.number), ledger, shared and shared.cells(table.number)
            )
            for table in tables
        ]

    measured = [artefact.task.measure() for artefact in made_from(plan.part(None, seeds))]
    written = write([one for one in made_from(plan) if not (keep and would_lose(one))])
    if form == "rich":
        for table in measured:
            console.print_table(table, study.preset, ledger)
    else:
        typer.echo(printed(measured, study.preset, form, ledger), nl=False)
    if written:
        say(f"written: {', '.join(map(str, written))}")


def on_one_pair(graph: "Graph", tables: list["Table"], seeds: range) -> "Plan | None":
    """Return the plan of the same tables where all seeds share one pair of proxies, to compare with; None where they do."""
    from swdb.study.graph import Graph

    if not graph.study.proxy_seeds:
        return None
    return planned(Graph(replace(graph.study, proxy_seeds=False), graph.runs), tables, seeds, recorded=True)


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
        say(f"kept: {artefact.record.with_suffix('.md')}, which has {lost} value{'s' * (lost > 1)} not found here")
    return lost > 0


def write(artefacts: list["Artefact"]) -> list[Path]:
    """Write the reports of tables; returns their files, none where the disk does not take them."""
    from swdb.core.lease import leased
    from swdb.reports.tables import report_paths
    from swdb.study.stages import TABLE

    try:
        for artefact in artefacts:
            with leased(artefact.leased_path, "writing a table"):
                artefact.finish(TABLE.make(artefact, None))
    except DiskRefused as error:
        say(f"not written: {error}")
        return []
    return [path for one in artefacts for path in report_paths(one.task.table.number, one.folder)]
