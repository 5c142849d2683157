"""What happened to an artefact while it was made, for people: one line a moment in `logs/<id>.log`.

Whoever makes an artefact writes here, in a command of its own, in a worker or in a job of a cluster; `swdb status` shows
the last line. A journal is never read to decide anything, and a disk that does not take a line stops nobody.

in: an id, lines -> out: `<work directory>/logs/<id>.log`
"""

import os
import platform
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from swdb.core.progress import Advance

LOGS = "logs"  # below the work directory
EVERY = 5.0  # seconds between two lines about how far the work is
ERROR = "error: "  # how the line begins that says why an artefact could not be made
BEGUN, FINISHED = "begun by", "finished"  # how the lines begin that say when it was made
TAIL = 4096  # bytes at the end of a journal that are looked at


class Journal:
    """The journal of one artefact."""

    def __init__(self, workdir: Path, artefact_id: str):
        self.path = workdir / LOGS / f"{artefact_id}.log"
        self._due = 0.0

    def begin(self) -> None:
        """Note who begins."""
        self.note(f"{BEGUN} process {os.getpid()} on {platform.node()}")

    def note(self, line: str) -> None:
        """Append a line with the local time in front."""
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {' '.join(line.split())}\n")

    def watched(self, name: str, advance: Advance) -> Advance:
        """Return an advance that also notes how far the work is, every few seconds."""

        def watch(done: int, of: int) -> None:
            advance(done, of)
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + EVERY
                self.note(f"{name}: {done}" + (f" of {of}" if of else ""))

        return watch


def last_lines(path: Path, count: int = 1) -> list[str]:
    """Return the last lines of a journal, the last one last; none where there is no journal."""
    try:
        with path.open("rb") as stream:
            return last_lines_of(stream.fileno(), count)
    except OSError:
        return []


def last_lines_of(descriptor: int, count: int) -> list[str]:
    """Return the last lines of an open file; the place where it is written stays. Raises OSError."""
    start = max(0, os.fstat(descriptor).st_size - TAIL)
    text = os.pread(descriptor, TAIL, start).decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()][-count:]


class Times(NamedTuple):
    """When an artefact was made, in the local time of whoever made it; None where no journal says so."""

    begun: datetime | None
    finished: datetime | None


def times_of(path: Path) -> Times:
    """Return when an artefact was begun, the first time, and when it was finished, the last time."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return Times(None, None)
    begun, finished = ([_time(line) for line in lines if line[20:].startswith(words)] for words in (BEGUN, FINISHED))
    return Times(next(filter(None, begun), None), next(filter(None, reversed(finished)), None))


def _time(line: str) -> datetime | None:
    try:
        return datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
