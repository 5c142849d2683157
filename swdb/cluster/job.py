"""What runs in a job of the cluster: a command of ours, in a process of its own.

A job that is told to end (preempted, or near its time limit) interrupts its command as Ctrl-C does; a training saves
itself within a step and the job, when it is begun again, goes on bit for bit. A command that was killed is tried once more.

in: a command's words, and the code they were submitted with -> out: artefacts; journals say why there are none
"""

import ctypes
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from swdb.core.errors import MissingArtefact, SwdbError
from swdb.core.identity import Code
from swdb.core.journal import ERROR, Journal, last_lines

LATE = 60.0  # seconds until what another node wrote is seen on every file system
PATIENCE = 60.0  # seconds for a command to save itself


@dataclass
class Make:
    """A command in a job."""

    words: tuple[str, ...]  # of the command line
    workdir: Path
    ids: tuple[str, ...]  # of the artefacts that it makes
    needs: tuple[Path, ...]  # records of what they are made from
    code: Code
    seen: float = 0.0  # how new the newest file of its artefacts was when the job was stopped last
    _child: Any = field(default=None, init=False, repr=False)
    _told_to_end: bool = field(default=False, init=False)
    _interrupted: bool = field(default=False, init=False)

    def __call__(self) -> None:
        """Run the command; leaves the process with its exit code where it did not succeed."""
        for journal in self._journals():
            journal.note(f"job {os.environ.get('SLURM_JOB_ID', '')} begins on {platform.node()}")
        try:
            self.code.check()
            self._await_inputs()
        except SwdbError as error:
            self._fail(str(error), error.exit_code)
        signal.signal(signal.SIGTERM, self._end)
        for _ in range(2):
            exit_code, said = self._run()
            if exit_code == 0:
                return
            if self._told_to_end:
                sys.exit(128 + signal.SIGTERM)
            if exit_code > 0:
                self._fail(said or f"the command ended with exit code {exit_code}", exit_code)
        self._fail(f"the process was killed twice, by signal {-exit_code}", 128 - exit_code)

    def checkpoint(self) -> Any:
        """Let the command save itself; returns what goes on when the job begins again, None where nothing new was saved."""
        from submitit.core.utils import DelayedSubmission

        self._end()
        if self._child is not None:
            try:
                self._child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._child.kill()
        newest = self._newest()
        if newest > self.seen:
            return DelayedSubmission(replace(self, seen=newest))
        for journal in self._journals():
            journal.note(f"{ERROR}the time limit is too short: nothing new was saved before it came again")
        return None

    def _run(self) -> tuple[int, str]:
        """Run the command once; returns its exit code, and what it said was wrong."""
        command, said = [sys.executable, "-m", "swdb", *self.words], ""
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, errors="replace", preexec_fn=_as_child
        ) as child:
            self._child = child
            self._interrupt()  # it may have been told to end before its command was known
            for line in child.stderr:
                sys.stderr.write(line)
                sys.stderr.flush()
                said = line.partition(ERROR)[2].strip() if line.startswith(ERROR) else said
        return child.returncode, said

    def _end(self, *_: object) -> None:
        """Hear that the job must end; Slurm says it several times."""
        self._told_to_end = True
        self._interrupt()

    def _interrupt(self) -> None:
        """Interrupt a command of a job that must end, once: after a second Ctrl-C it would not wait for what is saved."""
        if self._told_to_end and not self._interrupted and self._child is not None and self._child.poll() is None:
            self._interrupted = True
            self._child.send_signal(signal.SIGINT)

    def _await_inputs(self) -> None:
        until = time.monotonic() + LATE
        while lost := [path for path in self.needs if not _is_there(path)]:
            if time.monotonic() > until:
                raise MissingArtefact(lost[0], "not seen from this node", "what the job's inputs were made into")
            time.sleep(1)

    def _newest(self) -> float:
        """Return when the newest file of the artefacts was written."""
        folders = (folder for one in self.ids for folder in self.workdir.glob(f"*/{one}"))
        return max((_written(path) for folder in folders for path in _files(folder)), default=0.0)

    def _journals(self) -> Sequence[Journal]:
        return [Journal(self.workdir, one) for one in self.ids]

    def _fail(self, line: str, exit_code: int) -> None:
        """Say why, here and in the journals that do not say it yet."""
        print(f"{ERROR}{line}", file=sys.stderr, flush=True)
        for journal in self._journals():
            if not any(ERROR in last for last in last_lines(journal.path)):
                journal.note(f"{ERROR}{line}")
        sys.exit(exit_code)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder, but for leases; what vanishes meanwhile is no error."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".leases"]
        yield from (Path(place) / name for name in names)


def _written(path: Path) -> float:
    """Return when a file was written; 0 where it is gone, as a temporary one of another node may be."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _is_there(path: Path) -> bool:
    """Whether a file is there; reading its folder makes a network file system look again."""
    try:
        return path.name in os.listdir(path.parent)
    except OSError:
        return False


def _as_child() -> None:
    """Hear Ctrl-C alone: Slurm signals every process of a job, and ours is told by its parent; end when that is killed."""
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
