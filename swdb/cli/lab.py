"""`swdb eval --lab`: one run's score in all ways that are in use. A diagnosis, which no table reads."""

import json as jsonlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from swdb.cli.command_line import CommandLine
from swdb.cli.options import propose, running, say
from swdb.core.errors import BadInput, unknown
from swdb.core.files import damage_of
from swdb.specs.tables import CellSource

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.study.capacity import Resources
    from swdb.study.graph import Graph

FORMATS = ("rich", "md")


def refuse_beside_lab(lab: bool, form: str, others: Mapping[str, Any]) -> None:
    """Refuse options that say how one score is made where all are asked for, and a form that only many have."""
    typed = [option for option, value in others.items() if value]
    if lab and typed:
        raise BadInput(f"--lab {typed[0]}", "--lab scores in all ways at once", "only one of the two")
    if form not in FORMATS:
        raise unknown("--format", form, FORMATS)
    if not lab and form != "rich":
        raise BadInput(f"--format {form}", "one score has no table", "--lab beside it")


def show_lab(
    line: CommandLine, graph: "Graph", resources: "Resources", source: CellSource, seed: int, form: str
) -> None:
    """Look at a run in all ways, if that was not done before, and print what came out: `form` is rich, md or json."""
    score, lab = graph.score(source, seed), graph.lab(source, seed)
    if is_made(lab):
        lab.check()
    else:
        with running(line, graph.study, resources, [score, lab]) as runner:
            runner.make([score])
            runner.make_again([lab]) if lab.done else runner.make([lab])
    record = lab.read_record()
    with damage_of(lab.record, "what a run scores in all ways"):
        show(record, form)
    say(f"kept: {lab.record} and {lab.record.with_suffix('.md')}")
    propose(line, graph.study, "reproduce-table", "all")


def is_made(lab: "Artefact") -> bool:
    """Whether a run was looked at in just these ways: of other ones, of another version, the same file may speak."""
    return lab.done and lab.read_record().get("id") == lab.id


def show(record: Mapping[str, Any], form: str) -> None:
    """Print a laboratory."""
    from swdb.cli import console
    from swdb.evaluation.lab_table import HEADER, SECTIONS, cells, markdown, notes, table, title

    if form == "json":
        typer.echo(jsonlib.dumps(record, indent=2, ensure_ascii=False))
    elif form == "md":
        typer.echo(markdown(record), nl=False)
    else:
        lines = table(record)
        parts = {words: [cells(one) for one in lines if one.section == key] for key, words in SECTIONS.items()}
        console.print_parts(title(record), HEADER, parts, notes(record))
