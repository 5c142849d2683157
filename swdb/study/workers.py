"""The workers of a command: processes that make artefacts side by side, each taking the next one that is free.

Nobody hands out work: the leases are the queue (`study/queue.py`), and every worker has the whole list. This side starts
them, shows how far they are, replaces one that dies, tells the others what to leave out, and ends them all: at one Ctrl-C
they save their work and stop, at a second one they are killed. A worker whose command is gone stops by itself.

in: planned artefacts, slots -> out: finished ones on disk, and what could not be made
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import IO, Any, Protocol

import swdb
from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact, NotMade, disk_error
from swdb.core.journal import ERROR, Journal, last_lines, last_lines_of
from swdb.core.progress import Advance
from swdb.study.capacity import Slot
from swdb.study.queue import made_from, without

TRIES = 2  # of an artefact whose worker died
STARTS = 5  # of workers, one after the other, that die before they come to work
MOST_IDLE = 20  # workers that die one after the other without having begun anything
SHOWN = 5  # lines of a log
PATIENCE = 10.0  # seconds that an ended worker is given to be gone


class RemoteTraceback(Exception):
    """The traceback of an error that was raised in a worker, as text: the cause of that error here."""


class Display(Protocol):
    """Who shows how far workers are: a line for each of them."""

    def lane(self, number: int) -> Any:
        """Return the observer of one worker, which can also be `idle()`."""

    def tell(self, line: str) -> None:
        """Say something that people should know before the work is over."""


@dataclass(frozen=True)
class Assignment:
    """What a worker is told when it begins: everything that it needs, for it reads no options."""

    artefacts: list[Artefact]
    left_out: frozenset[str]  # ids
    workdir: Path
    device: str
    precision: str
    threads: int
    doing: str
    compiler: str = ""
    more: bool = False  # whether other artefacts follow


@dataclass
class Worker:
    """One process, as this side sees it."""

    number: int
    slot: Slot
    process: subprocess.Popen
    connection: Connection
    log: IO[bytes]  # without a name: nothing is left of it when this process is killed
    observer: Any
    making: Artefact | None = None
    advance: Advance | None = None
    ready: bool = False  # whether it ever came to work
    has_two_cores: bool = False  # whether it was told that it may use one that another worker does not


@dataclass
class Workers:
    """The workers of one command; begun at once, so that they load torch while the command looks at its inputs."""

    slots: list[Slot]
    workdir: Path
    precision: str
    threads: int
    doing: str
    display: Display
    compiler: str = ""
    program: tuple[str, ...] = (sys.executable, "-m", "swdb.study.worker")
    _workers: list[Worker] = field(default_factory=list, repr=False)
    _artefacts: dict[str, Artefact] = field(default_factory=dict, repr=False)
    _deaths: Counter = field(default_factory=Counter, repr=False)
    _failed: dict[str, tuple[Artefact, Exception]] = field(default_factory=dict, repr=False)
    _left_out: set[str] = field(default_factory=set, repr=False)
    _told: set[str] = field(default_factory=set, repr=False)
    _fatal: Exception | None = None
    _begun: bool = False  # with some of the artefacts

    def __enter__(self) -> "Workers":
        for number, slot in enumerate(self.slots):
            self._workers.append(self._start(number, slot))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._workers and self._begun and kind is not None and issubclass(kind, KeyboardInterrupt):
            self._stop()
        self._kill()

    def begin(self, artefacts: list[Artefact]) -> None:
        """Let workers begin with some artefacts, and with the others when `make` is asked for all."""
        self._artefacts = {artefact.id: artefact for artefact in artefacts}
        for worker in self._workers:
            self._assign(worker, more=True)
        self._begun = True

    def make(self, artefacts: list[Artefact]) -> list[tuple[Artefact, Exception]]:
        """Make artefacts; returns those that could not be made, each with its error. Raises what ends all work."""
        self._artefacts = {artefact.id: artefact for artefact in artefacts}
        for worker in self._workers:
            if self._begun:
                self._send(worker, artefacts)
            else:
                self._assign(worker)
        try:
            self._watch()
        except KeyboardInterrupt:
            self._stop()
            raise
        if self._fatal is not None:
            raise self._fatal
        for artefact in artefacts:
            if not artefact.done and artefact.id not in self._left_out:  # no worker should end before
                raise NotMade(artefact.folder, "not made, and no worker is left")
        return list(self._failed.values())

    # ---------------------------------------------------------------- starting and ending

    def _start(self, number: int, slot: Slot) -> Worker:
        """Start a worker; it hears of this process's end by that of the connection."""
        here, there = Pipe()
        threads = str(self.threads)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [_package(), os.environ.get("PYTHONPATH")])),  # the same code
            **slot.environment,
        }
        try:
            log = tempfile.TemporaryFile("ab+", buffering=0)  # noqa: SIM115  # as long as the worker lives
            process = subprocess.Popen(
                [*self.program, str(there.fileno())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                pass_fds=(there.fileno(),), process_group=0,  # Ctrl-C reaches this process alone, which passes it on
            )  # fmt: skip
        except OSError as error:
            raise disk_error(error, tempfile.gettempdir()) from error
        finally:
            there.close()
        return Worker(number, slot, process, here, log, self.display.lane(number))

    def _assign(self, worker: Worker, more: bool = False) -> None:
        assignment = Assignment(
            list(self._artefacts.values()), frozenset(self._left_out), self.workdir.absolute(),
            worker.slot.device, self.precision, self.threads, self.doing, self.compiler, more,
        )  # fmt: skip
        worker.observer.idle()
        self._send(worker, assignment)

    def _send(self, worker: Worker, words: Any) -> None:
        with contextlib.suppress(OSError):  # one that died already is seen to have
            worker.connection.send(words)

    def _stop(self) -> None:
        """Let all workers save their work and end; a second Ctrl-C kills them."""
        self._signal_all(signal.SIGINT)
        self.display.tell("stopping: workers save what they have; Ctrl-C again kills them")
        try:
            self._watch(replace=False)
        except KeyboardInterrupt:
            self._kill()

    def _signal_all(self, number: int) -> None:
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.process.send_signal(number)

    def _kill(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(OSError):
                os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
            self._forget(worker)
        self._workers.clear()

    def _forget(self, worker: Worker) -> None:
        worker.connection.close()
        worker.log.close()

    # ---------------------------------------------------------------- while they work

    def _watch(self, replace: bool = True) -> None:
        """Hear what workers say until all have ended; `replace` those that die."""
        while self._workers:
            for connection in wait([worker.connection for worker in self._workers]):
                worker = next(one for one in self._workers if one.connection is connection)
                try:
                    kind, *values = worker.connection.recv()
                except (EOFError, OSError):
                    self._ended(worker, replace and self._fatal is None)
                else:
                    getattr(self, f"_hear_{kind}")(worker, *values)
                    if kind in ("ready", "begin", "made", "failed"):
                        self._share_idle_cores()

    def _share_idle_cores(self) -> None:
        """Let as many workers use a second core as others have nothing to make; of trainings on a CPU, and of the same bits."""
        idle = sum(one.ready and one.making is None for one in self._workers)
        for worker in self._workers:
            may = worker.making is not None and idle > 0
            idle -= may
            if may != worker.has_two_cores:
                worker.has_two_cores = may
                self._send(worker, may)

    def _hear_ready(self, worker: Worker) -> None:
        worker.ready = True

    def _hear_begin(self, worker: Worker, artefact_id: str) -> None:
        worker.making = self._artefacts[artefact_id]
        self._deaths[""] = 0  # workers do come to work

    def _hear_made(self, worker: Worker) -> None:
        worker.making = None
        worker.observer.idle()

    def _hear_idle(self, worker: Worker) -> None:
        worker.observer.idle()

    def _hear_stage(self, worker: Worker, name: str, total: int, counts: bool) -> None:
        worker.advance = worker.observer.progress(name, total, counts)

    def _hear_at(self, worker: Worker, done: int, of: int) -> None:
        if worker.advance is not None:
            worker.advance(done, of)

    def _hear_tell(self, worker: Worker, line: str) -> None:
        if line not in self._told:  # all workers wait for the same
            self.display.tell(line)
        self._told.add(line)

    def _hear_failed(self, worker: Worker, error: Exception, account: str) -> None:
        artefact, worker.making = worker.making, None
        worker.observer.idle()
        error.__cause__ = RemoteTraceback(account)
        if artefact is not None:
            self._leave_out(artefact, error, worker)

    def _hear_fatal(self, worker: Worker, error: Exception, account: str) -> None:
        """Let everybody stop at what would end all work."""
        worker.making = None
        error.__cause__ = RemoteTraceback(account)
        if self._fatal is None:
            self._fatal = error
            self._signal_all(signal.SIGINT)

    def _leave_out(self, artefact: Artefact, error: Exception, by: Worker | None = None) -> None:
        """Leave an artefact out with all that is made from it, and tell people and the workers so, last the one it failed in."""
        dependants = made_from(self._artefacts.values(), {artefact.id})
        self._failed.setdefault(artefact.id, (artefact, error))
        self._left_out |= {artefact.id, *(one.id for one in dependants)}
        for worker in sorted(self._workers, key=lambda one: one is by):
            self._send(worker, frozenset(self._left_out))
        if any(not one.done for one in self._artefacts.values() if one.id not in self._left_out):
            self.display.tell(without(artefact, error, dependants))

    def _ended(self, worker: Worker, replace: bool) -> None:
        """See off a worker: one that died is reported, what it made is tried once more, by another one in its place."""
        self._workers.remove(worker)
        code = _code_of(worker.process)
        lines = last_lines_of(worker.log.fileno(), SHOWN)
        self._forget(worker)
        if code == 0 or not replace:
            return
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        artefact = worker.making
        if artefact is not None:
            journal = Journal(self.workdir, artefact.id)
            lines = lines or last_lines(journal.path, SHOWN)
            journal.note(f"{ERROR}the process that made it {how}")
        name = artefact.id if artefact is not None else ""
        self._deaths[name] += 1
        what = f" while it made {name}" if name else ""
        self.display.tell(f"worker {worker.number} {how}{what}" + ("; its last lines:" if lines else ""))
        for line in lines:
            self.display.tell(f"  {line}")
        if self._deaths[name] < (TRIES if name else MOST_IDLE if worker.ready else STARTS):
            self.display.tell("it is tried once more" if name else "another one is started")
        else:
            self._give_up(artefact, how)
        if self._fatal is None:
            self._workers.append(self._start(worker.number, worker.slot))
            self._assign(self._workers[-1])
        self._share_idle_cores()

    def _give_up(self, artefact: Artefact | None, how: str) -> None:
        found = f"the process that made it {how}, {TRIES} times"
        if artefact is None:
            self._fatal = MissingArtefact(self.workdir, "workers cannot be started", "ones that live")
            self._signal_all(signal.SIGINT)
        else:
            memory = "enough memory: fewer --jobs" if "signal 9" in how else ""
            self._leave_out(artefact, MissingArtefact(artefact.folder, found, memory))


def _package() -> str:
    """Return the folder that this very package is imported from."""
    return str(Path(swdb.__file__).absolute().parent.parent)


def _code_of(process: subprocess.Popen) -> int:
    """Return the exit code of a process whose connection ended; kills one that goes on without."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
