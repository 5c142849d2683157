"""One worker: a process that makes artefacts beside others, and says what it does to the command that started it.

python -m swdb.study.worker FD        (by `study/workers.py` alone; FD: a connection to it)

What libraries print, and the last words of a crash, go into the journal of the artefact that is being made.
in: an `Assignment` -> out: finished artefacts on disk; events
"""

import faulthandler
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from swdb.core import lease
from swdb.core.artefact import Artefact
from swdb.core.errors import LeaseLost
from swdb.core.journal import Journal
from swdb.core.progress import Advance
from swdb.study.queue import Queue
from swdb.study.runner import Runner
from swdb.study.workers import Assignment

INTERRUPTED = 130
PATIENCE = 5.0  # seconds that the command is given to answer


class Reporter:
    """An observer that passes everything on."""

    def __init__(self, connection: Connection):
        self._connection, self._lock = connection, threading.Lock()

    def send(self, kind: str, *values: object) -> None:
        """Pass an event on; a command that is gone hears nothing, and `_obey` ends this process."""
        with self._lock, suppress(OSError):
            self._connection.send((kind, *values))

    def progress(self, name: str, total: int, counts: bool = False) -> Advance:
        """Begin a stage of the work."""
        self.send("stage", name, total, counts)
        return lambda done, of: self.send("at", done, of)

    def tell(self, line: str) -> None:
        """Say something that people should know."""
        self.send("tell", line)


class Making(Runner):
    """The runner of a worker: it says what it begins, and leaves the rest to the others where something fails."""

    observer: Reporter

    def _make_one(self, artefact: Artefact) -> None:
        self.observer.send("begin", artefact.id)
        with _output_to(Journal(self.workdir, artefact.id)):
            super()._make_one(artefact)
        self.observer.send("made")

    def _help(self, held: list[Artefact]) -> None:
        super()._help(held)
        self.observer.send("idle")  # else what was helped with last would stand in the display

    def _lost(self, artefact: Artefact, error: LeaseLost) -> None:
        self.observer.send("made")
        self.tell(f"{artefact.id}: {error}; left to it")

    def _failed(self, queue: Queue, artefact: Artefact, error: Exception) -> None:
        self.observer.send("failed", sendable(error), traceback_of(error))
        until = time.monotonic() + PATIENCE
        while artefact.id not in queue.left_out and time.monotonic() < until:  # the lease is held until all others know
            time.sleep(0.01)
        queue.leave_out(artefact)


def traceback_of(error: Exception) -> str:
    """Return the traceback of an error, for whoever debugs it."""
    return "".join(traceback.format_exception(error))


def sendable(error: Exception) -> Exception:
    """Return an error as it can travel to another process: itself, or its words where it cannot."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a library's error does when it is taken apart
        return RuntimeError(f"{type(error).__name__}: {error}")


@contextmanager
def _output_to(journal: Journal) -> Iterator[None]:
    """Send what is printed meanwhile, by whatever prints it, into a journal."""
    kept = None
    with suppress(OSError):
        journal.path.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(journal.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        kept = [os.dup(number) for number in (1, 2)]
        for number in (1, 2):
            os.dup2(target, number)
        os.close(target)
    try:
        yield
    finally:
        for number, before in zip((1, 2), kept or (), strict=False):
            os.dup2(before, number)
            os.close(before)


def main(fd: int) -> int:
    """Work until nothing is left that this process could do; returns the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored where the command began
    faulthandler.enable()
    connection = Connection(fd)
    reporter = Reporter(connection)
    lease.is_colleague = _is_colleague
    try:
        core_is_idle = threading.Event()
        runner, queue = _begin(connection, reporter, core_is_idle)
        reporter.send("ready")
        threading.Thread(target=_obey, args=(connection, queue, core_is_idle), daemon=True).start()
        runner.make_free(queue)
    except EOFError:  # the command ended before it had anything to do
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        reporter.send("fatal", sendable(error), traceback_of(error))
    return 0


def _begin(connection: Connection, reporter: Reporter, core_is_idle: threading.Event) -> tuple[Making, Queue]:
    """Load torch, then wait for what is to be done."""
    from swdb.nn.compute import Compute, StepSettings, choose_device, prepare_process

    todo: Assignment = connection.recv()
    prepare_process(todo.threads)
    step = StepSettings(compile=todo.compiler, core_is_idle=core_is_idle.is_set)
    compute = Compute(choose_device(todo.device), todo.precision, step)
    runner = Making(compute, reporter, todo.doing, workdir=todo.workdir)
    queue = Queue(todo.artefacts, todo.doing, todo.more, left_out=set(todo.left_out))
    while connection.poll():  # said while this process was beginning
        _hear(connection.recv(), queue, core_is_idle)
    return runner, queue


def _obey(connection: Connection, queue: Queue, core_is_idle: threading.Event) -> None:
    """Do what the command says; where the command is gone, stop as at its Ctrl-C."""
    try:
        while True:
            _hear(connection.recv(), queue, core_is_idle)
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGINT)


def _hear(said: list[Artefact] | frozenset[str] | bool, queue: Queue, core_is_idle: threading.Event) -> None:
    """Note what all is to be made, or left out, or whether a core is idle that a training here may use."""
    if isinstance(said, list):
        queue.artefacts, queue.is_open = said, False
    elif isinstance(said, frozenset):
        queue.left_out.update(said)
    elif said:
        core_is_idle.set()
    else:
        core_is_idle.clear()


def _is_colleague(holder: lease.Holder) -> bool:
    return holder.machine == lease.this_machine() and lease.parent_of(holder.pid) == os.getppid()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
