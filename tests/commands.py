"""The command line as tests type it, and what it answers."""

import shlex
import subprocess

from typer.testing import CliRunner

from swdb.cli.app import app


def call(*arguments: object):
    """Run the command line in this process, where torch is loaded already."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="swdb")


def the_line(result) -> str:
    """Return the one line of an error; nothing else may look like one, and a traceback is a bug."""
    assert isinstance(getattr(result, "exception", SystemExit()), SystemExit), repr(result.exception)
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    assert [line for line in lines if line.startswith("swdb: ")] == lines[-1:], result.stderr
    return lines[-1]


def code(result) -> int:
    return result.returncode if isinstance(result, subprocess.CompletedProcess) else result.exit_code


def next_command(result) -> list[str]:
    """Return the arguments of the command that is proposed on the last line of stderr."""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("next: swdb "), result.stderr
    return shlex.split(last)[2:]
