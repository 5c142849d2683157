"""How far a study is: what became of each artefact of its plan, seen from any machine, with nobody to ask.

Records say what is done, leases who is at work, journals how far that is or why it failed, and the queue of a cluster what
waits in it. Each folder is listed once, and only what is not done is looked into.

in: a plan, the jobs that were submitted, the queue -> out: a state for each artefact
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from swdb.cluster.jobs import Noted
from swdb.cluster.slurm import Queued
from swdb.core.artefact import Artefact
from swdb.core.journal import ERROR, LOGS, last_lines
from swdb.core.lease import STALE, Holder, Lease, now_on_disk
from swdb.study.plan import Plan

WORDS = ("done", "running", "queued", "failed", "lost", "to do")
STAMP = len("2026-01-31 12:00:00 ")  # in front of each line of a journal


@dataclass(frozen=True)
class State:
    """What became of an artefact."""

    artefact: Artefact
    word: str  # one of WORDS
    where: str = ""  # the machine
    since: str = ""  # that machine's local time
    line: str = ""  # how far it is, or why it is not
    job: str = ""  # its number in the queue


def states(
    workdir: Path, plan: Plan, jobs: Mapping[str, Noted] | None = None, queued: Mapping[str, Queued] | None = None
) -> list[State]:
    """Return the state of every artefact of a plan, inputs first; queued: None where no queue can be asked."""
    view = _View(workdir, jobs or {}, queued)
    return [view.state(artefact) for artefact in plan.artefacts]


def counts(found: Iterable[State]) -> dict[str, int]:
    """Count states by word."""
    number = Counter(state.word for state in found)
    return {word: number[word] for word in WORDS}


@dataclass
class _View:
    """A work directory at one moment."""

    workdir: Path
    jobs: Mapping[str, Noted]
    queued: Mapping[str, Queued] | None
    _names: dict[Path, frozenset[str]] = field(default_factory=dict)  # by folder
    _now: list[float | None] = field(default_factory=list)  # by the disk's clock, once it was asked

    def state(self, artefact: Artefact) -> State:
        """Tell what became of an artefact: the first of what can be seen, in this order."""
        if artefact.done:
            return State(artefact, "done")
        job = self.jobs.get(artefact.id)
        number = job.job if job else ""
        holder, gone = self._holder(artefact)
        line = self._last_line(artefact)
        if holder is not None and not gone:
            return State(artefact, "running", holder.host, holder.since, line, number)
        known = self._known(job)
        if job and known and known.is_alive:
            word = "queued" if known.state == "PENDING" else "running"
            reason = "" if known.reason == "None" else known.reason
            return State(artefact, word, known.node, job.submitted, reason, number)
        if line.startswith(ERROR):
            return State(artefact, "failed", line=line.removeprefix(ERROR), job=number)
        if holder is not None:
            return State(artefact, "lost", holder.host, holder.since, f"{gone}; last: {line}" if line else gone, number)
        if job and self.queued is None:
            return State(artefact, "queued", "", job.submitted, "no queue can be asked here", number)
        if job:
            found = f"its job is gone ({known.state.lower() if known else 'the queue knows nothing of it'})"
            return State(artefact, "lost", "", job.submitted, found, number)
        return State(artefact, "to do", line=line)

    def _known(self, job: Noted | None) -> Queued | None:
        known = (self.queued or {}).get(job.job) if job else None
        return known if known and job and known.name == job.name else None  # numbers begin again on a new cluster

    def _holder(self, artefact: Artefact) -> tuple[Holder | None, str]:
        """Return who holds an artefact's lease, and in which words that one is gone; empty where it is at work."""
        path = artefact.leased_path
        if path.name not in self._listed(path.parent / ".leases"):
            return None, ""
        lease = Lease(path)
        holder = lease.holder()
        if holder is None:
            return None, ""
        if holder.is_dead:
            return holder, f"process {holder.pid} is gone"
        if not self._now:
            self._now.append(now_on_disk(self.workdir))
        silence = 0.0 if self._now[0] is None else lease.silence(self._now[0])
        return holder, f"process {holder.pid} has been silent for {min(silence, 1e7):.0f} s" if silence > STALE else ""

    def _last_line(self, artefact: Artefact) -> str:
        name = f"{artefact.id}.log"
        if name not in self._listed(self.workdir / LOGS):
            return ""
        return "".join(last_lines(self.workdir / LOGS / name))[STAMP:]

    def _listed(self, folder: Path) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(path.name for path in folder.iterdir())
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]
