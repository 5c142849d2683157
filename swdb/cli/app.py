"""The command line: puts the commands together, and turns errors into lines and exit codes.

torch and rich are loaded inside the commands, so that `swdb --help` answers at once.
"""

import sys
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from swdb.cli.assumptions import assumptions
from swdb.cli.bench import bench
from swdb.cli.bundle import bundle
from swdb.cli.command_line import CommandLine
from swdb.cli.evaluate import evaluate
from swdb.cli.failures import exit_code_of
from swdb.cli.make import make
from swdb.cli.make_proxy import make_proxy
from swdb.cli.merge import merge
from swdb.cli.options import say
from swdb.cli.plan import plan
from swdb.cli.prepare_voc import prepare_voc
from swdb.cli.preregister import preregister
from swdb.cli.report import report
from swdb.cli.reproduce_table import reproduce_table
from swdb.cli.rescore import rescore
from swdb.cli.status import status
from swdb.cli.terminal import prepared
from swdb.cli.train import train
from swdb.cli.verify import verify
from swdb.core import lease
from swdb.core.errors import BadInput

USAGE = typer.BadParameter.__mro__[1]  # of all that is mistyped; the library does not export it


def refuse_mistyped(error: Exception, verb: str, line: CommandLine) -> NoReturn:
    """Say the library's error about a word, an option or its value as one of ours; no words at all are a call for help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        raise error
    said = error.format_message().rstrip(".")
    wrong = BadInput(f"swdb {verb}".rstrip(), said[:1].lower() + said[1:])
    raise typer.Exit(exit_code_of(wrong, line)) from None


class Commands(TyperGroup):
    """All commands, over one net that turns whatever they raise into lines and exit codes."""

    def main(self, args=None, *more, **options):
        """Run on streams that never fail for what is printed on them."""
        with prepared():
            try:
                return super().main(args, *more, **options)
            except Exception as error:  # before a command begins: the help that nobody takes
                sys.exit(exit_code_of(error, CommandLine(tuple(sys.argv[1:] if args is None else args))))

    def parse_args(self, ctx, args):
        """Keep the command line as it was typed, for hints and proposals."""
        ctx.obj = CommandLine(tuple(args))
        try:
            return super().parse_args(ctx, args)
        except USAGE as error:
            refuse_mistyped(error, "", ctx.obj)

    def invoke(self, ctx):
        """Run the command and turn errors into exit codes."""
        lease.announce = say  # what waits before there is a progress bar
        try:
            if (name := ctx.obj.empty_option) is not None:
                raise BadInput(name, "empty", "a value, or no such option")
            return super().invoke(ctx)
        except USAGE as error:
            refuse_mistyped(error, ctx.obj.verb if ctx.obj.verb in self.commands else "", ctx.obj)
        except (Exception, KeyboardInterrupt) as error:
            if any(kind.__module__.split(".")[0] in ("typer", "click") for kind in type(error).__mro__):
                raise  # the way in which these libraries end
            raise typer.Exit(exit_code_of(error, ctx.obj)) from None


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
app.command("verify")(verify)
app.command("plan")(plan)
app.command("preregister")(preregister)
app.command("report")(report)
app.command("bundle")(bundle)
app.command("rescore")(rescore)
app.command("merge")(merge)
app.command("make")(make)
app.command("status")(status)
app.command("assumptions")(assumptions)
app.command("bench")(bench)

if __name__ == "__main__":
    sys.exit(app())
