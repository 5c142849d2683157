"""The command line: puts the commands together, and turns errors into lines and exit codes.

torch and rich are loaded inside the commands, so that `swdb --help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from swdb.cli.command_line import CommandLine
from swdb.cli.evaluate import evaluate
from swdb.cli.hints import hint
from swdb.cli.make import make
from swdb.cli.make_proxy import make_proxy
from swdb.cli.options import say
from swdb.cli.prepare_voc import prepare_voc
from swdb.cli.reproduce_table import reproduce_table
from swdb.cli.train import train
from swdb.core import lease
from swdb.core.errors import SwdbError, disk_error

INTERRUPTED = 130


class Commands(TyperGroup):
    """The one place where errors become lines: a user's mistake is two lines at most, a bug of ours keeps its traceback."""

    def parse_args(self, ctx, args):
        """Keep the command line as it was typed, for hints and proposals."""
        ctx.obj = CommandLine(tuple(args))
        return super().parse_args(ctx, args)

    def invoke(self, ctx):
        """Run the command and turn errors into exit codes."""
        lease.announce = say  # what waits before there is a progress bar
        try:
            return super().invoke(ctx)
        except SwdbError as error:
            _fail(error, ctx.obj)
        except OSError as error:
            refused = disk_error(error, Path(error.filename or "a file"))
            if not isinstance(refused, SwdbError):
                raise
            _fail(refused, ctx.obj)
        except KeyboardInterrupt:
            typer.echo(f"interrupted; what was done is kept\nhint: go on with: {ctx.obj}", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _fail(error: SwdbError, line: CommandLine) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    if help_line := hint(error, line):
        typer.echo(f"hint: {help_line}", err=True)
    raise typer.Exit(error.exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"swdb {version('swdb')}")
        raise typer.Exit


app = typer.Typer(cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Reproduce Tables 1-4 of the supplement of "Improving Semi-supervised Semantic Segmentation via Strong-weak Dual-branch Network".

    \b
    swdb reproduce-table 4       all that Table 4 needs, on the embedded data
    swdb reproduce-table all --dry-run           what exists, what is left to do
    """


app.command("prepare-voc")(prepare_voc)
app.command("make-proxy")(make_proxy)
app.command("train")(train)
app.command("eval")(evaluate)
app.command("reproduce-table")(reproduce_table)
app.command("make")(make)

if __name__ == "__main__":
    sys.exit(app())
