"""The one net under all commands: whatever is raised becomes a line, an exit code, and nothing else.

    a SwdbError, an OSError            `error:` and perhaps `hint:`; 2 or 3
    no memory                          `error:`; 2
    Ctrl-C                             how to go on; 130
    anything else: a bug of ours       `error:` with the file that holds the traceback; 70

in: an exception, the command line -> out: lines on stderr, an exit code
"""

import platform
import secrets
import sys
import tempfile
import traceback
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from swdb.cli.command_line import CommandLine
from swdb.cli.hints import hint
from swdb.cli.terminal import on_one_line
from swdb.core.errors import BadInput, DiskRefused, MissingArtefact, SwdbError, reason, system_error
from swdb.core.files import write_text

INTERRUPTED, BUG = 130, 70  # 70: as BSD's sysexits.h has it; 1 is for `verify --strict`
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
)  # as torch says it

GPU_FAILS = ("CUDA error", "CUDNN_STATUS", "CUBLAS_STATUS", "cuDNN error")  # as torch says it


def exit_code_of(error: BaseException, line: CommandLine) -> int:
    """Say what happened on stderr; returns the exit code."""
    if isinstance(error, KeyboardInterrupt):
        _say(f"interrupted; what was done is kept\nhint: go on with: {on_one_line(str(line))}")
        return INTERRUPTED
    known = _known(error)
    if known is None:
        where = _keep_traceback(error, line)
        _say(f"error: a bug in swdb: {on_one_line(_summary(error))}; {where}")
        return BUG
    _say(f"error: {on_one_line(str(known))}")
    if help_line := hint(known, line):
        _say(f"hint: {on_one_line(help_line)}")
    return MissingArtefact.exit_code if _is_prepared(known, line) else known.exit_code


def _is_prepared(error: SwdbError, line: CommandLine) -> bool:
    """Whether an error is about a prepared data set: then what was typed is right, and what was made of it is damaged."""
    if isinstance(error, DiskRefused) or line.verb == "prepare-voc" or not isinstance(error.subject, Path):
        return False  # that command reads what others made
    return (line.place_in_workdir(error.subject) or ())[:1] == ("data",)


def _known(error: BaseException) -> SwdbError | None:
    """Return what the user can do something about; None for a bug of ours."""
    if isinstance(error, SwdbError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return system_error(error, "a file")
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in NO_MEMORY)
    ):
        found = f"there is not enough ({on_one_line(reason(error))[:200]})"
        return BadInput("memory", found, "smaller batches, crops or networks in the preset, or another device")
    if isinstance(error, RuntimeError) and any(words in str(error) for words in GPU_FAILS):
        found = f"fails ({on_one_line(reason(error))[:200]})"
        return BadInput(
            "the GPU", found, "a GPU that works; the run resumes from its last checkpoint, here or on another device"
        )
    return None


def _summary(error: BaseException) -> str:
    words = str(error).strip().partition("\n")[0][:200]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _keep_traceback(error: BaseException, line: CommandLine) -> str:
    """Write the traceback into the work directory, else among temporary files; returns where it is, for the error's line."""
    text = _account(error, line)
    name = f"{datetime.now():%Y-%m-%d-%H%M%S}-{secrets.token_hex(4)}.log"
    for folder in (line.workdir / "errors", Path(tempfile.gettempdir()) / "swdb-errors"):
        with suppress(OSError, SwdbError, ValueError):
            write_text(folder / name, text)
            return f"the traceback is in {on_one_line(str((folder / name).absolute()))}"
    _say(text)
    return "the traceback is above"


def _account(error: BaseException, line: CommandLine) -> str:
    """Collect what a developer needs to find the bug."""
    versions = [f"Python {platform.python_version()}"]
    for name in ("swdb", "torch", "torchvision", "numpy", "opencv-python-headless", "filelock", "rich", "typer"):
        with suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    told = "".join(traceback.format_exception(error))
    return f"{line}\n{', '.join(versions)}\n{platform.platform()}, {sys.executable}\n\n{told}"


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # who cannot be told, is not
        print(text, file=sys.stderr, flush=True)
