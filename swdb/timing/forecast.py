"""What is left of a study: how long it takes with so many workers, how much memory and disk.

Workers take the first artefact whose inputs are there; so the data's chain (initial weights, classifier, cues, two rounds of
DSRG) is gone through by one of them, while the others make runs that need no proxies, or help with masks and evaluations.

in: planned artefacts, rates -> out: seconds, MiB, bytes
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swdb.core.artefact import Artefact
from swdb.core.numbers import duration
from swdb.specs.study import Study
from swdb.study.runner import CHECKPOINTS
from swdb.timing.rates import Rates, Work, image_kind, step_kind, trained_as

TINY = 1e-9  # seconds
GIB = 2**30


def remaining_seconds(
    left: Iterable[Artefact], rates: Rates, jobs: int, spent: Mapping[str, float] | None = None
) -> float | None:
    """Return how long `jobs` workers take for what is left; None where nobody knows how fast its trainings are.

    `spent`: which share of an artefact is done already, by id.
    """
    left = list(left)
    works = works_of(left, rates, jobs)
    if any(works[one.id] is None for one in left):
        return None
    kept = {
        one.id: Work(*(part * (1 - (spent or {}).get(one.id, 0.0)) for part in works[one.id] or (0.0,))) for one in left
    }
    return simulated(left, kept, jobs)


def works_of(artefacts: Iterable[Artefact], rates: Rates, jobs: int) -> dict[str, Work | None]:
    """Return what each artefact takes, by id."""
    return {one.id: rates.work(one, jobs) for one in artefacts}


def simulated(left: Sequence[Artefact], works: Mapping[str, Work], jobs: int) -> float:
    """Return the seconds until all of `left` are made: each worker takes the first one that can be made, or helps."""
    place = {one.id: k for k, one in enumerate(left)}
    lacking = [sum(other.id in place for other in one.inputs) for one in left]
    followers: list[list[int]] = [[] for _ in left]
    for k, one in enumerate(left):
        for other in one.inputs:
            if other.id in place:
                followers[place[other.id]].append(k)
    ready = [k for k, count in enumerate(lacking) if not count]  # sorted, so a heap
    running: dict[int, list[float]] = {}
    now = 0.0
    while ready or running:
        while ready and len(running) < max(1, jobs):
            k = heapq.heappop(ready)
            running[k] = list(works[left[k].id])
        sharing = [k for k, (alone, _) in running.items() if alone <= TINY]
        speed = 1 + (max(1, jobs) - len(running)) / max(1, len(sharing))  # of each, with its helpers
        passed = min(alone if alone > TINY else shared / speed for alone, shared in running.values())
        now += passed
        for k, parts in list(running.items()):
            if parts[0] > TINY:
                parts[0] -= passed
            else:
                parts[1] -= passed * speed
            if max(parts) > TINY:
                continue
            del running[k]
            for follower in followers[k]:
                lacking[follower] -= 1
                if not lacking[follower]:
                    heapq.heappush(ready, follower)
    return now


# ---------------------------------------------------------------- of a whole study


@dataclass(frozen=True)
class Forecast:
    """What is left of a study."""

    steps: int  # of optimizers, that are left
    seconds: Mapping[str, float | None]  # of each artefact that is left, by id; None: nobody knows
    total: float | None  # with so many jobs at once; None where the time of a training is not known
    jobs: int
    peak_mib: float | None  # memory of the worker that needs most, as measured
    lasting: int | None  # bytes on the disk; None where nobody knows
    passing: int | None  # bytes of checkpoints while trainings last
    finished: int  # runs that the rates come from
    benched: bool  # whether a benchmark was at hand

    def lines(self, unknown: str) -> list[str]:
        """Say it in words; `unknown` says how what nobody knows is learnt."""
        return [self._time(unknown), *self._memory(), *self._room()]

    def _time(self, unknown: str) -> str:
        left = f"{self.steps} optimizer steps are left" if self.steps else "nothing is left to train"
        if self.total is None:
            return f"{left}; how long they take is not known here yet: {unknown}"
        if not self.total:
            return left
        sources = [f"{self.finished} finished runs"] * bool(self.finished) + ["the benchmark"] * self.benched
        rate = f" at the rate of {' and '.join(sources)}" if sources else ""
        several = f" with {self.jobs} jobs, {duration(self.work)} of work," if self.jobs > 1 else ""
        return f"{left}, about {duration(self.total)}{several}{rate}"

    def _memory(self) -> list[str]:
        return [] if self.peak_mib is None else [f"memory: up to {self.peak_mib / 1024:.1f} GiB a worker"]

    def _room(self) -> list[str]:
        if not self.lasting:
            return []
        passing = f", and {amount(self.passing)} of checkpoints while trainings last" if self.passing else ""
        return [f"disk: about {amount(self.lasting)}{passing}"]

    @property
    def work(self) -> float | None:
        """Seconds of all that is left, one after the other."""
        return None if self.total is None else sum(filter(None, self.seconds.values()))


def amount(size: int) -> str:
    """Say how many bytes something takes."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.0f} MiB"


def forecast(study: Study, artefacts: Iterable[Artefact], rates: Rates, jobs: int = 1) -> Forecast:
    """Say what those of some artefacts take that are not finished."""
    left = [one for one in artefacts if not one.done]
    works = works_of(left, rates, jobs)
    known = all(work is not None for work in works.values())
    lasting, passing = _disk(study, left, rates, jobs)
    return Forecast(
        steps=sum(one.steps for one in left),
        seconds={name: None if work is None else sum(work) for name, work in works.items()},
        total=simulated(left, works, jobs) if known else None,
        jobs=jobs,
        peak_mib=max(filter(None, map(rates.peak_mib, left)), default=None),
        lasting=lasting,
        passing=passing,
        finished=sum(len(one.per_step) for (kind, _), one in rates.finished.items() if kind == "run"),
        benched=rates.bench is not None,
    )


def _disk(study: Study, left: list[Artefact], rates: Rates, jobs: int) -> tuple[int | None, int | None]:
    """Return the bytes that what is left takes on the disk, and those of checkpoints while `jobs` trainings last."""
    weights = [
        _weights(one, rates) for one in left if one.kind in ("run", "classifier", "recognizer", "proxies", "weights")
    ]
    masks = [_masks(one, rates) for one in left if one.kind in ("proxies", "score")]
    if None in weights or None in masks:
        return None, None
    trained = sorted(_weights(one, rates) or 0 for one in left if one.steps)
    lasting = sum(weights) + sum(masks) + _decoded(study, left, rates)
    return lasting, CHECKPOINTS * sum(trained[-jobs:])


def _weights(artefact: Artefact, rates: Rates) -> int | None:
    """Return the bytes of an artefact's weights, from those of a finished one or from the benchmark."""
    artefact = trained_as(artefact)
    folder = rates.folder_like(artefact)
    if folder is not None and (folder / "weights.pt").is_file():
        return (folder / "weights.pt").stat().st_size
    kind = "backbone" if artefact.kind == "weights" else step_kind(artefact.kind, artefact.key)
    return (rates.bench or {}).get("weights_bytes", {}).get(kind)


def _masks(artefact: Artefact, rates: Rates) -> int | None:
    """Return the bytes of the PNGs that an artefact writes."""
    folder, kind = rates.folder_like(artefact), image_kind(artefact)
    if folder is not None:
        place = folder / "predictions" if artefact.kind == "score" else folder
        return sum(path.stat().st_size for path in place.glob("*.png"))
    each = (rates.bench or {}).get("kinds", {}).get(kind, {}).get("bytes")
    return None if each is None else round(each * (rates.num_val if kind == "evaluation" else rates.num_train))


def _decoded(study: Study, left: list[Artefact], rates: Rates) -> int:
    """Return the bytes of decoded images and masks that trainings read: as they lie in memory."""
    side = study.preset.training.longest_side or study.preset.data.image_size
    pixels = rates.num_train * side * side
    sets = {other.id: other for one in left for other in (one, *one.inputs) if other.kind == "proxies"}
    taken = sum(pixels for one in sets.values() if not (one.folder / "masks.npy").is_file())
    store = "store" if not study.preset.training.longest_side else f"store-{side}"
    folders: set[Path] = {other.folder for one in left for other in (one, *one.inputs) if other.kind == "data"}
    return taken + sum(4 * pixels for folder in folders if not (folder / store / "store.json").is_file())
