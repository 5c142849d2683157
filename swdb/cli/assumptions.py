"""`swdb assumptions`: every setting and every choice, with what is known of the paper's own value."""

import json as jsonlib
from typing import Annotated

import typer

from swdb.cli import arguments
from swdb.cli.options import PresetName, say
from swdb.core.errors import unknown

FORMATS = ("md", "json")
Status = Annotated[
    str | None, typer.Option("--status", help="Only those of this status: STATED, INFERRED, SCALED or UNKNOWN.")
]
Weight = Annotated[int | None, typer.Option("--table", help="Only those that the numbers of this table may hang on.")]


def assumptions(
    context: typer.Context,
    status: Status = None,
    table: Weight = None,
    preset: PresetName = "synthetic",
    form: Annotated[str, typer.Option("--format", help="rich, md or json; md and json are whole.")] = "rich",
) -> None:
    """List what the numbers rest on: STATED in the paper, INFERRED, SCALED by the preset, or UNKNOWN.

    \b
    swdb assumptions --status UNKNOWN --table 2
    swdb assumptions --preset voc --format md
    """
    from swdb.cli import console
    from swdb.reports.assumptions import as_json, number_words, settings_page
    from swdb.specs.presets import load_preset
    from swdb.specs.register import STATUSES, register
    from swdb.specs.tables import load_tables

    arguments.form(form, FORMATS)
    if status is not None and status.upper() not in STATUSES:
        raise unknown("--status", status, STATUSES)
    if table is not None and table not in (numbers := load_tables()):
        raise unknown("--table", str(table), map(str, numbers))
    chosen = load_preset(preset)
    if form == "md":
        typer.echo(settings_page(chosen), nl=False)
    elif form == "json":
        typer.echo(jsonlib.dumps(as_json(chosen), indent=2, ensure_ascii=False))
    else:
        every = register(chosen)
        rows = [row for row in every if status is None or row.status == status.upper()]
        rows = [row for row in rows if table is None or table in row.tables]
        console.print_assumptions(rows, f"{chosen.name}: {number_words(every)}")
    say(f"next: {context.obj.other('reproduce-table', 'all', '--dry-run')}")
