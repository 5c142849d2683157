"""`swdb merge`: other people's seeds join ours."""

from pathlib import Path
from typing import Annotated

import typer

from swdb.cli.options import Json, say, show
from swdb.cli.outputs import is_bundle, require_replaceable
from swdb.cli.rescore import Data, refuse
from swdb.core.errors import BadInput

Bundles = Annotated[list[Path], typer.Argument(metavar="BUNDLE", help="Two or more bundles of one study.")]
Whole = Annotated[Path, typer.Option("--output", help="The .zip of all of them.")]


def merge(bundles: Bundles, output: Whole, data: Data = None, json: Json = False) -> None:
    """Merge bundles of the same preset, tables and data set, with other seeds, into one; it is rescored first.

    \b
    swdb merge ours.zip theirs.zip --output merged.zip
    swdb merge a.zip b.zip c.zip --output merged.zip --data work
    """
    from swdb.cli import progress
    from swdb.cli.command_line import joined
    from swdb.evidence.merge import merge as put_together

    if len(bundles) < 2:
        raise BadInput("bundles", "one is named", "two or more")
    if any(one.exists() and output.exists() and one.samefile(output) for one in bundles):
        raise BadInput(f"--output {output}", "is one of the bundles", "a new name: they stay as they are")
    require_replaceable("--output", output, is_bundle, "bundle")
    with progress.bar() as bar:
        found = put_together(bundles, output, data, bar.progress)
    if found.findings:
        values = {"merged": None, "findings": [str(one) for one in found.findings]}
        refuse("the merged bundle", list(map(str, found.findings)), values, json)
    machines = [f"{one.get('name')} ({one.get('device')}, {one.get('precision')})" for one in found.machines]
    lines = [f"{output}: seeds {', '.join(map(str, found.seeds))}", *(f"trained on {one}" for one in machines)]
    show(lines, {"merged": str(output), "seeds": found.seeds, "machines": found.machines}, json)
    say(f"next: {joined(['swdb', 'rescore', str(output)])}")
