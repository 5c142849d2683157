"""The command line as tests type it, and what it answers."""

import resource
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import TINY
from typer.testing import CliRunner

from swdb.cli.app import app

COMMANDS = (
    "prepare-voc",
    "make-proxy",
    "train",
    "eval",
    "reproduce-table",
    "verify",
    "plan",
    "preregister",
    "report",
    "bundle",
    "rescore",
    "merge",
    "make",
    "status",
    "assumptions",
    "bench",
)
CPU = ("--preset", TINY, "--device", "cpu")
FP32 = (*CPU, "--precision", "fp32")


def call(*arguments: object, **options):
    """Run the command line in this process, where torch is loaded already."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="swdb", **options)


def succeed(*arguments: object):
    """Run a command that must succeed."""
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def the_error(result) -> str:
    """Return the error of a command, one line without `error: `; a hint may follow it, and a traceback is a bug."""
    assert isinstance(getattr(result, "exception", SystemExit()), SystemExit), repr(result.exception)
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    errors = [k for k, line in enumerate(lines) if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    rest = lines[errors[0] + 1 :]
    assert not rest or (len(rest) == 1 and rest[0].startswith("hint: ")), result.stderr
    return lines[errors[0]].removeprefix("error: ")


def the_hint(result) -> str:
    """Return the hint of a command, without `hint: `."""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("hint: "), result.stderr
    return last.removeprefix("hint: ")


def hinted_command(result) -> list[str]:
    """Return the arguments of the swdb command in a hint."""
    command = the_hint(result).rpartition("swdb ")[2]
    return shlex.split(command)


def run_hinted_rm(result) -> None:
    """Run the rm command in a hint as it stands."""
    label, _, command = the_hint(result).rpartition(": ")
    assert label == "delete it, then run again" and command.startswith("rm ")
    subprocess.run(command, shell=True, check=True)


def code(result) -> int:
    return result.returncode if isinstance(result, subprocess.CompletedProcess) else result.exit_code


def next_command(result) -> list[str]:
    """Return the arguments of the command that is proposed on the last line of stderr."""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("next: swdb "), result.stderr
    return shlex.split(last)[2:]


def preset_file(folder: Path, *changes: tuple[str, str], name: str = "changed.toml") -> Path:
    """Write the tiny preset with changes."""
    text = Path(TINY).read_text()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path


def copied(work: Path, folder: Path, *left_out: str) -> Path:
    """Copy a work directory to a place where a test may spoil it, without what fits the patterns."""
    return Path(shutil.copytree(work, folder / "work", ignore=shutil.ignore_patterns(".leases", *left_out)))


def only(folder: Path, pattern: str) -> Path:
    """Return the one path of a pattern."""
    (path,) = folder.glob(pattern)
    return path


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file below a folder was written, and its bytes."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let every file end at `limit` bytes, as on a disk that is full: the system refuses to write further."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
