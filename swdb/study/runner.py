"""Makes what a plan lists: each artefact from its inputs, under a lease, skipping what is finished.

Several processes may work in one directory: each takes the next artefact whose inputs are there and whose lease is free,
helps others with theirs, and waits where nothing is left to do. What cannot be made is left out with all that is made
from it, and everything else goes on.

in: planned artefacts -> out: finished ones on disk; progress through an `Observer`
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from swdb.core import lease
from swdb.core.artefact import Artefact, lacking, with_inputs
from swdb.core.errors import DiskRefused, LeaseLost, MissingArtefact, NotMade, SwdbError, reason
from swdb.core.files import remove_folder
from swdb.core.folders import check_place, put_in_place
from swdb.core.journal import ERROR, Journal
from swdb.core.lease import POLL, Lease, leased
from swdb.core.processor import forget_peak_memory, peak_memory
from swdb.core.progress import Advance
from swdb.core.stage import ChecksEarly, Shared, TakesRoom
from swdb.data.audit import verify
from swdb.data.dataset import DataSet, open_artefact
from swdb.data.facts import ALL_SPLIT
from swdb.study.costs import MIB, note_cost
from swdb.study.preregistration import RECORDED, forget_note, noted_at_begin
from swdb.study.queue import Queue, without
from swdb.study.stages import STAGES

if TYPE_CHECKING:
    from swdb.data.store import Store
    from swdb.nn.compute import Compute


NAMELESS = 5.0  # seconds
HELP_EVERY = 1.0  # seconds between two offers to help, which look at what is there
SHORTEST_POLL = 0.02  # seconds; what is waited for longer is looked at less often
CHECKPOINTS = 6  # as large as the weights: the network and Adam's two moments, and their successor beside them


class Observer(Protocol):
    """Who wants to know how far the work is."""

    def progress(self, name: str, total: int, counts: bool = False) -> Advance:
        """Begin a stage of the work, whose steps may count towards the whole."""

    def tell(self, line: str) -> None:
        """Say something that people should know before the work is over."""


class Helpers(Protocol):
    """Who makes artefacts in processes of their own; `study/workers.py`."""

    def begin(self, artefacts: list[Artefact]) -> None:
        """Begin with some of the artefacts that `make` is asked for later, and go on until then."""

    def make(self, artefacts: list[Artefact]) -> list[tuple[Artefact, Exception]]:
        """Make artefacts; returns those that could not be made, each with its error."""


@dataclass
class Runner:
    """Makes artefacts on one machine; the tools of all stages."""

    compute: "Compute"
    observer: Observer
    doing: str = "swdb"  # what a process that waits for this one is told
    workdir: Path | None = None  # where journals are kept; None: none are
    workers: Helpers | None = None  # None: everything is made in this process
    failures: list[tuple[Artefact, Exception]] = field(default_factory=list)  # what could not be made
    _journal: Journal | None = field(default=None, repr=False)  # of the artefact that is being made
    _nameless: dict[str, float] = field(default_factory=dict, repr=False)  # since when, by id
    _help_at: float = field(default=0.0, repr=False)  # when to offer help again
    _beyond_help: set[str] = field(default_factory=set, repr=False)  # ids
    _datasets: dict[str, DataSet] = field(default_factory=dict, repr=False)
    _stores: dict[tuple[str, int], "Store"] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        lease.announce = self.observer.tell

    def progress(self, name: str, total: int, counts: bool = False) -> Advance:
        """Begin a stage of the work that somebody watches."""
        advance = self.observer.progress(name, total, counts)
        return advance if self._journal is None else self._journal.watched(name, advance)

    def tell(self, line: str) -> None:
        """Say something that people should know before the work is over."""
        if self._journal is not None:
            self._journal.note(line)
        self.observer.tell(line)

    def dataset(self, artefact: Artefact) -> DataSet:
        """Open a prepared data set, audited once."""
        if artefact.id not in self._datasets:
            dataset = open_artefact(artefact)
            verify(dataset, self.progress)
            self._datasets[artefact.id] = dataset
        return self._datasets[artefact.id]

    def store(self, artefact: Artefact, longest_side: int) -> "Store":
        """Open the decoded training images of a data set."""
        from swdb.data.store import training_store

        if (artefact.id, longest_side) not in self._stores:
            dataset = self.dataset(artefact)
            advance = self.progress("decode the training images", len(dataset.ids(ALL_SPLIT)))
            self._stores[artefact.id, longest_side] = training_store(dataset, longest_side, advance)
        return self._stores[artefact.id, longest_side]

    def make(self, artefacts: Iterable[Artefact]) -> None:
        """Make every artefact that is not finished, in the order given as far as inputs and other processes allow.

        Raises NotMade where one lacks an input that is not among those to be made. What cannot be made is left out, with
        what is made from it; the first error is raised when all else is finished, and `failures` has them all.
        """
        artefacts = list(artefacts)
        self._prepare(artefacts)
        if self.workers is None or all(one.done for one in artefacts):
            self.make_free(Queue(artefacts, self.doing))
        else:
            self.failures += self.workers.make(artefacts)
        if self.failures:
            raise self.failures[0][1]

    def _prepare(self, artefacts: list[Artefact]) -> None:
        """Make the data, look for what can be seen to fail before anything is trained, and read what is read from files."""
        for artefact, other in lacking(one for one in artefacts if not one.done):
            if not _is_held(other):
                raise NotMade(other.folder, f"not made yet, and {artefact.id} is made from it")
        data = [one for one in artefacts if one.kind == "data"]
        self._begin_without(data, artefacts)
        for artefact in data:
            self._make_first([artefact])
            self.dataset(artefact)
        todo = [one for one in artefacts if not one.done]
        self._check_early(todo)
        self._check_room(todo)
        self._make_first([one for one in artefacts if _is_untrained(one)])  # a file that is none is known in seconds

    def _begin_without(self, data: list[Artefact], artefacts: list[Artefact]) -> None:
        """Let workers train, while data are drawn here, what is not made from them: a pretext."""
        todo = [one for one in artefacts if one.steps and not one.done and with_inputs(one) == [one]]
        if self.workers is None or not todo or all(one.done for one in data):
            return
        self._check_early(todo)
        self.workers.begin(todo)

    def _make_first(self, artefacts: list[Artefact]) -> None:
        self.make_free(Queue(artefacts, self.doing))
        if self.failures:
            raise self.failures[0][1]

    def make_again(self, artefacts: Iterable[Artefact]) -> None:
        """Make artefacts again, in the order given; what is there of one stays until the new one is whole."""
        artefacts = list(artefacts)
        self._check_early(artefacts)
        for artefact in artefacts:
            with leased(artefact.leased_path, self.doing) as lease:
                for other in artefact.inputs:
                    other.check()
                if artefact.shares_folder or not (artefact.folder.exists() or artefact.anew.done):
                    self._begin_and_finish(artefact)
                    continue
                _check_place(artefact)
                anew = artefact.anew
                with leased(anew.folder, self.doing):
                    self._make_anew(anew)
                    lease.check()
                    put_in_place(anew.folder, artefact.folder, artefact.record_name)

    def _make_anew(self, anew: Artefact) -> None:
        """Make an artefact beside its place, going on with what an interrupted start left there if it is of any use."""
        try:
            if anew.done:
                anew.check()
            else:
                self._begin_and_finish(anew)
        except LeaseLost:
            raise
        except MissingArtefact:  # made from other inputs, or damaged
            remove_folder(anew.folder)
            self._begin_and_finish(anew)

    def _begin_and_finish(self, artefact: Artefact) -> None:
        with self._noted(artefact):
            gone_on_with = artefact.is_under_way
            registered = noted_at_begin(self.workdir, artefact, gone_on_with) if self.workdir is not None else []
            artefact.begin()
            forget_peak_memory()
            began = time.monotonic()
            made = STAGES[artefact.kind].make(artefact, self)
            artefact.finish({**made, **({RECORDED: registered} if registered else {})})
            forget_note(artefact)
            if self.workdir is not None:
                spent = None if gone_on_with else time.monotonic() - began
                note_cost(self.workdir, artefact, spent, peak_memory())

    @contextmanager
    def _noted(self, artefact: Artefact) -> Iterator[None]:
        """Keep the journal of an artefact while it is made."""
        if self.workdir is None:
            yield
            return
        self._journal = Journal(self.workdir, artefact.id)
        self._journal.begin()
        try:
            yield
            self._journal.note("finished")
        except BaseException as error:
            words = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{ERROR}{error or type(error).__name__}"
            self._journal.note(words)
            raise
        finally:
            self._journal = None

    def _check_early(self, todo: list[Artefact]) -> None:
        for artefact in todo:
            stage = STAGES[artefact.kind]
            if isinstance(stage, ChecksEarly):
                stage.check(artefact, self)

    def _check_room(self, todo: list[Artefact]) -> None:
        """Refuse to begin where the disk has no room for the weights of all trainings, and for the checkpoints of one."""
        sizes = [stage.room(one, self) for one in todo if isinstance(stage := STAGES[one.kind], TakesRoom)]
        if not sizes:
            return
        folder = next(path for path in todo[0].folder.parents if path.is_dir())
        disk, needed = shutil.disk_usage(folder), sum(sizes) + CHECKPOINTS * max(sizes)
        if disk.total and disk.free < needed:  # some network file systems say 0 of 0
            found = (
                f"the disk is full ({disk.free // MIB:,} MiB are free, {len(sizes)} trainings need {needed // MIB:,})"
            )
            raise DiskRefused(folder, found)

    def make_free(self, queue: Queue) -> None:
        """Make what is free of a queue until nothing is left of it, nor comes; `failures` has what could not be made."""
        said: set[tuple[str, lease.Holder | None]] = set()
        pause = SHORTEST_POLL
        while True:
            is_open = queue.is_open  # looked at first: whoever closes a queue has filled it before
            if not (left := queue.left()) and not is_open:
                break
            taken = queue.take()
            if taken is None:
                self._wait(queue, left, said, pause)
                pause = min(2 * pause, POLL)
                continue
            pause = SHORTEST_POLL
            artefact, mine = taken
            if mine is None:
                artefact.check()
                queue.settled.add(artefact.id)
                continue
            try:
                self._make_one(artefact)
                queue.settled.add(artefact.id)
            except DiskRefused:
                raise  # nothing else would fare better
            except LeaseLost as error:
                self._lost(artefact, error)
            except Exception as error:
                self._failed(queue, artefact, error)
            finally:
                mine.release()

    def _lost(self, artefact: Artefact, error: LeaseLost) -> None:
        """Let the process that took an artefact over make it."""
        raise error

    def _failed(self, queue: Queue, artefact: Artefact, error: Exception) -> None:
        """Leave an artefact out that cannot be made, and say what is left out with it."""
        self.failures.append((artefact, error))
        dependants = queue.leave_out(artefact)
        if queue.left():
            self.observer.tell(without(artefact, error, dependants))

    def _wait(
        self, queue: Queue, left: list[Artefact], said: set[tuple[str, lease.Holder | None]], pause: float
    ) -> None:
        """Help other processes with what they are making, or wait a moment for them, and say once for whom."""
        held = queue.held or _makers_of_vanished(left)
        if time.monotonic() >= self._help_at:
            self._help([artefact for artefact, _ in held])
            self._help_at = time.monotonic() + HELP_EVERY
        for artefact, holder in held:
            known = holder.is_dead or lease.is_colleague(holder) if holder else not self._is_long_nameless(artefact)
            if not known and (artefact.id, holder) not in said:
                said.add((artefact.id, holder))
                self.tell(f"waiting for {artefact.id}, held by {holder or 'another process'}")
        time.sleep(pause)

    def _is_long_nameless(self, artefact: Artefact) -> bool:
        """Whether nobody has said for a while who holds an artefact's lease; who took it just now has perhaps not said so yet."""
        return time.monotonic() - self._nameless.setdefault(artefact.id, time.monotonic()) > NAMELESS

    def _help(self, held: list[Artefact]) -> None:
        """Do a share of what other processes are making."""
        for artefact in held:
            stage = STAGES[artefact.kind]
            if not isinstance(stage, Shared) or artefact.task is None or artefact.id in self._beyond_help:
                continue
            try:
                stage.help(artefact, self)
            except SwdbError:
                pass  # whoever makes it meets the same
            except Exception as error:  # no memory for two, say: whoever makes it may have enough for one
                self._beyond_help.add(artefact.id)
                self.tell(f"{artefact.id}: this process cannot help with it: {reason(error)}")

    def _make_one(self, artefact: Artefact) -> None:
        if artefact.done:  # by whoever held the lease before
            return
        for other in artefact.inputs:
            other.check()
        if not _left_whole(artefact):
            self._begin_and_finish(artefact)


def _left_whole(artefact: Artefact) -> bool:
    """Put what was made again in its place where a kill came between; returns whether there was any."""
    if artefact.shares_folder or not (anew := artefact.anew).done:
        return False
    try:
        anew.check()
    except MissingArtefact:  # made from other inputs, or damaged
        return False
    _check_place(artefact)
    put_in_place(anew.folder, artefact.folder, artefact.record_name)
    return True


def _check_place(artefact: Artefact) -> None:
    check_place(artefact.folder, artefact.record_name, artefact.begun.name, "training.json", "log.jsonl")


def _is_untrained(artefact: Artefact) -> bool:
    """Whether no training stands between what was named and an artefact: weights and cues that are read from a file."""
    return not artefact.steps and all(map(_is_untrained, artefact.inputs))


def _makers_of_vanished(todo: list[Artefact]) -> list[tuple[Artefact, lease.Holder]]:
    """Return who is making the inputs that vanished and that nobody here makes; raises NotMade where nobody is."""
    makers = []
    for artefact, other in lacking(one for one in todo if not one.done):
        if not _is_held(other):
            raise NotMade(other.folder, f"is gone, and {artefact.id} is made from it")
        makers.append((other, Lease(other.leased_path).holder()))
    return makers


def _is_held(artefact: Artefact) -> bool:
    """Whether another process makes it now."""
    holder = Lease(artefact.leased_path).holder()
    return holder is not None and not holder.is_dead
