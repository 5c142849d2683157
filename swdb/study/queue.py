"""What one process still has to make: the next artefact whose inputs are there and whose lease is free.

The leases are the queue: nobody hands out work, and any number of processes may look at the same artefacts.

in: planned artefacts -> out: one after the other, each with its lease held
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from swdb.core.artefact import Artefact
from swdb.core.lease import Holder, Lease

MOST_NAMED = 12  # artefacts in one line


@dataclass
class Queue:
    """Artefacts in the order in which they are wanted."""

    artefacts: list[Artefact]
    doing: str = "swdb"  # what a process that waits for this one is told
    is_open: bool = False  # whether more may come
    settled: set[str] = field(default_factory=set)  # finished, and checked by this process
    left_out: set[str] = field(default_factory=set)  # could not be made, or is made from what could not
    held: list[tuple[Artefact, Holder | None]] = field(default_factory=list)  # by other processes, at the last look
    _leases: dict[str, Lease] = field(default_factory=dict, repr=False)

    def left(self) -> list[Artefact]:
        """List what is still to be made; what was finished may have been deleted since, so all are looked at every time."""
        return [
            one for one in self.artefacts if one.id not in self.left_out and not (one.id in self.settled and one.done)
        ]

    def take(self) -> tuple[Artefact, Lease | None] | None:
        """Return the next artefact, with its lease held where it is to be made; None where there is none just now."""
        self.held = []
        planned = {one.id for one in self.artefacts}
        for artefact in self.left():
            if any(other.id in planned or not artefact.done for other in artefact.missing_inputs()):
                continue
            if artefact.done:
                return artefact, None
            lease = self._leases.setdefault(artefact.id, Lease(artefact.leased_path, self.doing))
            if lease.try_take():
                if artefact.id not in self.left_out:
                    return artefact, lease
                lease.release()  # it was left out just now, by whoever held the lease
                continue
            self.held.append((artefact, lease.holder()))
        return None

    def leave_out(self, artefact: Artefact) -> list[Artefact]:
        """Leave out what could not be made, with all that is made from it; returns that."""
        self.left_out.add(artefact.id)
        dependants = made_from(self.artefacts, {artefact.id})
        self.left_out.update(one.id for one in dependants)
        return dependants


def made_from(artefacts: Iterable[Artefact], ids: set[str]) -> list[Artefact]:
    """List those of some artefacts that are unfinished and made from some others, by way of other unfinished ones too."""

    def needs(artefact: Artefact) -> bool:
        return not artefact.done and any(other.id in ids or needs(other) for other in artefact.inputs)

    return [artefact for artefact in artefacts if needs(artefact)]


def without(artefact: Artefact, error: Exception, dependants: list[Artefact]) -> str:
    """Say what could not be made, and what is left out with it."""
    names = [one.name for one in dependants]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    left_out = f"; left out with it: {', '.join(names[:MOST_NAMED])}{more}" if names else ""
    return f"failed: {artefact.id}: {error}{left_out}; everything else goes on"
