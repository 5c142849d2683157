"""Makes what a plan lists: each artefact from its inputs, under a lease, skipping what is finished.

Several processes may work in one directory: each takes the next artefact whose inputs are there and whose lease is free,
and waits where nothing else is left to do.

in: planned artefacts -> out: finished ones on disk; progress through an `Observer`
"""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from swdb.core import lease
from swdb.core.artefact import Artefact, lacking
from swdb.core.errors import DiskRefused, LeaseLost, MissingArtefact, NotMade
from swdb.core.files import remove_folder
from swdb.core.folders import check_place, put_in_place
from swdb.core.lease import POLL, Lease, leased
from swdb.core.progress import Advance
from swdb.core.stage import ChecksEarly, TakesRoom
from swdb.data.audit import verify
from swdb.data.dataset import DataSet, open_artefact
from swdb.data.facts import ALL_SPLIT
from swdb.data.prepare import NO_SOURCES
from swdb.study.stages import STAGES

if TYPE_CHECKING:
    from swdb.data.store import Store
    from swdb.nn.compute import Compute


MIB = 2**20
CHECKPOINTS = 6  # as large as the weights: the network and Adam's two moments, and their successor beside them


class Observer(Protocol):
    """Who wants to know how far the work is."""

    def progress(self, name: str, total: int, counts: bool = False) -> Advance:
        """Begin a stage of the work, whose steps may count towards the whole."""

    def tell(self, line: str) -> None:
        """Say something that people should know before the work is over."""


@dataclass
class Runner:
    """Makes artefacts on one machine; the tools of all stages."""

    compute: "Compute"
    observer: Observer
    doing: str = "swdb"  # what a process that waits for this one is told
    sources: object = NO_SOURCES
    _datasets: dict[str, DataSet] = field(default_factory=dict, repr=False)
    _stores: dict[tuple[str, int], "Store"] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        lease.announce = self.observer.tell

    def progress(self, name: str, total: int, counts: bool = False) -> Advance:
        """Begin a stage of the work that somebody watches."""
        return self.observer.progress(name, total, counts)

    def tell(self, line: str) -> None:
        """Say something that people should know before the work is over."""
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

        Raises NotMade where one lacks an input that is not among those to be made.
        """
        artefacts = list(artefacts)
        for artefact, other in lacking(one for one in artefacts if not one.done):
            if not _is_under_way(other):
                raise NotMade(other.folder, f"not made yet, and {artefact.id} is made from it")
        for artefact in [one for one in artefacts if one.kind == "data"]:  # without data nothing else is worth a start
            self._make_all([artefact])
            self.dataset(artefact)
        todo = [one for one in artefacts if not one.done]
        self._check_early(todo)
        self._check_room(todo)
        self._make_all([one for one in artefacts if _is_untrained(one)])  # a file that is none is known in seconds
        self._make_all(artefacts)

    def make_again(self, artefacts: Iterable[Artefact]) -> None:
        """Make artefacts again, in the order given; what is there of one stays until the new one is whole."""
        artefacts = list(artefacts)
        self._check_early(artefacts)
        for artefact in artefacts:
            with leased(artefact.leased_path, self.doing) as lease:
                for other in artefact.inputs:
                    other.check()
                if artefact.shares_folder or not artefact.folder.exists():
                    self._begin_and_finish(artefact)
                    continue
                check_place(artefact.folder, artefact.record_name, artefact.begun.name, "training.json", "log.jsonl")
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
        artefact.begin()
        artefact.finish(STAGES[artefact.kind].make(artefact, self))

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

    def _make_all(self, artefacts: list[Artefact]) -> None:
        leases, said, settled, planned = {}, set(), set(), {one.id for one in artefacts}
        # What was finished may be deleted by another process, so all of them are looked at every time.
        while todo := [one for one in artefacts if one.id not in settled or not one.done]:
            held = []
            for artefact in todo:
                if any(other.id in planned or not artefact.done for other in artefact.missing_inputs()):
                    continue
                if artefact.done:
                    artefact.check()
                else:
                    mine = leases.setdefault(artefact.id, Lease(artefact.leased_path, self.doing))
                    if not mine.try_take():
                        held.append((artefact, mine.holder()))
                        continue
                    try:
                        self._make_one(artefact)
                    finally:
                        mine.release()
                settled.add(artefact.id)
                break  # back to the first one that is left
            else:
                self._wait(held or _makers_of_vanished(todo), said)

    def _wait(self, held: list[tuple[Artefact, lease.Holder | None]], said: set[lease.Holder]) -> None:
        """Wait a moment for other processes, and say once for whom."""
        for artefact, holder in held:
            if (artefact.id, holder) not in said and not (holder and holder.is_dead):
                said.add((artefact.id, holder))
                self.tell(f"waiting for {artefact.id}, held by {holder or 'another process'}")
        time.sleep(POLL)

    def _make_one(self, artefact: Artefact) -> None:
        if artefact.done:  # by whoever held the lease before
            return
        for other in artefact.inputs:
            other.check()
        self._begin_and_finish(artefact)


def _is_untrained(artefact: Artefact) -> bool:
    """Whether no training stands between what was named and an artefact: weights and cues that are read from a file."""
    return not artefact.steps and all(map(_is_untrained, artefact.inputs))


def _makers_of_vanished(todo: list[Artefact]) -> list[tuple[Artefact, lease.Holder]]:
    """Return who is making the inputs that vanished and that nobody here makes; raises NotMade where nobody is."""
    makers = []
    for artefact, other in lacking(one for one in todo if not one.done):
        if not _is_under_way(other):
            raise NotMade(other.folder, f"is gone, and {artefact.id} is made from it")
        makers.append((other, Lease(other.leased_path).holder()))
    return makers


def _is_under_way(artefact: Artefact) -> bool:
    """Whether another process makes it now."""
    holder = Lease(artefact.leased_path).holder()
    return holder is not None and not holder.is_dead
