"""How fast each kind of work is in a work directory: as its finished artefacts say, else as the benchmark measured it.

    a step of a training      single, dual, dual-kl (with -nK for another number of shared layers), classifier, dsrg-1, dsrg-2,
                              recognizer, decoupled
    an image                  cues, labels-1, labels-2 (DSRG's masks with their CRF; on val with two of them), evaluation

in: records below a work directory, `bench/<preset>.json` -> out: seconds, memory and bytes of a planned artefact
"""

import json
import platform
import statistics
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json
from swdb.core.processor import processor_name
from swdb.data.dataset import counted
from swdb.specs.runs import RunSpec
from swdb.specs.study import Study
from swdb.study.costs import read_cost

VERSION = 1  # of bench/<preset>.json
RECENT = 5  # finished artefacts of a kind: what else the machine does may change
RECORDS = ("*/*/done.json", "proxies/*/quality.json", "proxies/*/val.json", "*/*/evals/*/result.json")
BEHIND = {"score": "run", "dsrg-score": "proxies"}  # with whose settings an artefact counts
SHARED_LAYERS = RunSpec.__dataclass_fields__["shared_layers"].default


class Work(NamedTuple):
    """Seconds that an artefact takes: of one worker alone, and of work that idle workers share."""

    alone: float
    shared: float = 0.0


def run_kind(run: Mapping[str, Any]) -> str:
    """Name the kind of step of a run, from its values that are not the default."""
    if run.get("method") == "decouplednet":
        return "decoupled"
    kind = "single" if run.get("weak_branch") is None else "dual-kl" if run.get("kl") else "dual"
    layers = run.get("shared_layers", SHARED_LAYERS)
    return kind if layers == SHARED_LAYERS else f"{kind}-n{layers}"


def step_kind(kind: str, key: Mapping[str, Any]) -> str | None:
    """Name the kind of step that an artefact is trained by; None where nothing is trained."""
    if kind == "run":
        return run_kind(key["run"])
    if kind == "proxies":
        return f"dsrg-{key['set']}"
    return {"classifier": "classifier", "weights": "classifier", "recognizer": "recognizer"}.get(kind)


def trained_as(artefact: Artefact) -> Artefact:
    """Return the artefact whose training is gone through: a peek repeats that of its run."""
    return artefact.input("run") if artefact.kind == "peek" else artefact


def image_kind(artefact: Artefact) -> str | None:
    """Name the kind of work that an artefact takes for each image; None where there is none, or none worth a name."""
    if artefact.kind in ("proxies", "dsrg-score"):
        return f"labels-{artefact.key['set']}"
    if artefact.kind == "cues":
        return "cues" if artefact.find_input("classifier") else None
    return "evaluation" if artefact.kind in ("score", "recognition") else None


def bench_path(workdir: Path, preset: str) -> Path:
    """Return where the benchmark of a preset is kept."""
    return workdir / "bench" / f"{preset}.json"


def this_machine() -> dict[str, Any]:
    """Return what tells whether a benchmark was made on this machine."""
    return {"host": platform.node(), "processor": processor_name()}


def read_bench(study: Study, device: str = "auto") -> dict[str, Any] | None:
    """Read the benchmark of a study, None where there is none of these settings, this precision, machine and device."""
    path = bench_path(study.folder, study.preset.name)
    if not path.is_file():
        return None
    with suppress(MissingArtefact, KeyError, TypeError, AttributeError, ValueError):
        found = read_json(path)
        wanted = {"version": VERSION, "settings": study.preset.digest(), "precision": study.precision}
        here = this_machine() if found["machine"]["device"] == "cuda" else {"processor": processor_name()}
        same = all(found[name] == value for name, value in wanted.items())
        same = same and all(found["machine"][name] == value for name, value in here.items())
        if same and device.partition(":")[0] in ("auto", found["machine"]["device"]) and _is_whole(found):
            return found
    return None


def _is_whole(found: Mapping[str, Any]) -> bool:
    """Whether a benchmark says what is asked of it; raises what it raises where it has another form."""
    return all(float(one["seconds"]) > 0 and one["unit"] in ("step", "image") for one in found["kinds"].values())


# ---------------------------------------------------------------- what finished artefacts say


@dataclass
class Finished:
    """Artefacts of one kind and one set of values that are finished, in the order in which they were."""

    per_step: list[float] = field(default_factory=list)  # seconds of training
    beyond: list[float] = field(default_factory=list)  # seconds of making it besides
    peak_mib: list[float] = field(default_factory=list)  # memory of the worker
    folders: list[Path] = field(default_factory=list)

    def add(self, record: Mapping[str, Any], cost: Mapping[str, float], folder: Path) -> None:
        """Count one more record; raises what it raises for one of another form, and counts nothing of it."""
        training, whole = record.get("training"), cost.get("seconds")
        spent = 0.0 if training is None else float(training["seconds"])
        per_step = [spent / training["steps"]] if training and training["steps"] else []
        beyond = [] if whole is None else [max(0.0, float(whole) - spent)]
        peak = cost.get("peak_mib")
        self.peak_mib += [] if peak is None else [float(peak)]
        self.per_step += per_step
        self.beyond += beyond
        self.folders.append(folder)


def usual(seconds: list[float]) -> float:
    """Return what is usual of late."""
    return statistics.median(seconds[-RECENT:])


def _values(kind: str, key: Mapping[str, Any]) -> str:
    """Return the values that artefacts of one kind must share to be equally fast: not which run, nor its seed or length."""
    values = {name: value for name, value in key.items() if name not in ("run", "seed")}
    if kind == "run" and isinstance(values.get("training"), dict):
        values["training"] = {name: value for name, value in values["training"].items() if name != "steps"}
    return json.dumps(values, sort_keys=True)


def _group(artefact: Artefact) -> tuple[str, str]:
    """Return the kind and the values of a planned artefact; a score counts with what was trained with its settings."""
    if (trained := artefact.find_input(BEHIND.get(artefact.kind, ""))) is not None:
        return artefact.kind, _values(trained.kind, trained.key) + json.dumps(artefact.key, sort_keys=True)
    return artefact.kind, _values(artefact.kind, artefact.key)


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the records below a work directory, those of trainings before those of scores, the oldest first."""
    for pattern in RECORDS:
        for path in sorted(folder.glob(pattern), key=_written_at):
            with suppress(MissingArtefact, OSError):
                found = read_json(path)
                if isinstance(found, dict) and isinstance(found.get("key"), dict) and "kind" in found:
                    yield path, found


def _written_at(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def read_finished(folder: Path) -> dict[tuple[str, str], Finished]:
    """Read how fast what is finished in a work directory was made, by kind and values; runs also by their kind of step."""
    groups: dict[tuple[str, str], Finished] = {}
    trained: dict[str, Mapping[str, Any]] = {}  # keys by id
    for path, record in _records(folder):
        kind, key, cost = record["kind"], record["key"], read_cost(folder, str(record.get("id")))
        with suppress(KeyError, TypeError, AttributeError, ValueError, StopIteration):
            if kind in BEHIND.values():
                trained[record["id"]] = key
            if kind == "run":
                exact = groups.setdefault((run_kind(key["run"]), _values(kind, key)), Finished())
                exact.add(record, cost, path.parent)
            if kind in BEHIND:
                behind = next(trained[one] for one in record["inputs"] if one in trained)
                group = kind, _values(BEHIND[kind], behind) + json.dumps(key, sort_keys=True)
            else:
                group = kind, _values(kind, key)
            groups.setdefault(group, Finished()).add(record, cost, path.parent)
    return groups


# ---------------------------------------------------------------- both together


@dataclass(frozen=True)
class Rates:
    """How fast a study's work is."""

    finished: Mapping[tuple[str, str], Finished]
    bench: Mapping[str, Any] | None
    num_train: int
    num_val: int
    batch: int  # images of a run's step, as the preset has it

    def work(self, artefact: Artefact, jobs: int = 1) -> Work | None:
        """Return the seconds that an artefact takes where `jobs` of them are made at once; None where nobody knows."""
        if artefact.kind == "peek":
            training, each = self.work(trained_as(artefact), jobs), self._benched("evaluation", jobs) or 0.0
            looks = artefact.key["points"] * len(artefact.key["scorings"]) * each * self.num_val
            return None if training is None else Work(sum(training) + looks)
        kind, values = _group(artefact)
        same = self.finished.get((kind, values), Finished())
        alone = 0.0
        if artefact.steps:
            per_step = self._seconds_a_step(artefact, values, jobs)
            if per_step is None:
                return None
            alone = artefact.steps * per_step
        around = usual(same.beyond) if same.beyond else None
        images = image_kind(artefact)
        if images is None:
            return Work(alone + (around or 0.0))
        if around is None and (measured := self._benched(images, jobs)) is not None:
            around = measured * self._images(artefact)
        if artefact.kind == "dsrg-score":  # nobody helps with it
            return Work(alone + (around or 0.0))
        return Work(alone, around or 0.0)

    def _images(self, artefact: Artefact) -> int:
        """Return how many images an artefact goes through, one that refines them twice counting each twice."""
        on_val = {"score": 1, "dsrg-score": 2}
        return self.num_val * on_val[artefact.kind] if artefact.kind in on_val else self.num_train

    def _seconds_a_step(self, artefact: Artefact, values: str, jobs: int) -> float | None:
        """Return what a step takes: by artefacts of the same kind of step, by the benchmark, by others of its kind."""
        step = step_kind(artefact.kind, artefact.key)
        if artefact.kind == "run" and (exact := self.finished.get((step, values))) and exact.per_step:
            return usual(exact.per_step)
        same = self.finished.get((artefact.kind, values))
        if artefact.kind != "run" and same and same.per_step:
            return usual(same.per_step)
        if (measured := self._benched(step, jobs)) is not None:
            batch = artefact.key.get("training", {}).get("batch", self.batch) if artefact.kind == "run" else self.batch
            return measured * batch / self.batch  # a run may change it; what was measured is the preset's
        nearest = self.finished.get((step.partition("-n")[0], values)) if artefact.kind == "run" else None
        for found in (nearest, same):
            if found and found.per_step:
                return usual(found.per_step)
        return None

    def _benched(self, kind: str | None, jobs: int) -> float | None:
        """Return the benchmark's seconds for a kind of work, slower where other workers keep the other cores busy."""
        if self.bench is None or kind not in self.bench["kinds"]:
            return None
        crowd = self.bench.get("crowd") or {}
        processes, slowdown = crowd.get("processes", 1), crowd.get("slowdown", 1.0)
        busy = (min(jobs, processes) - 1) / (processes - 1) if processes > 1 else 0.0
        # more jobs than cores wait for each other
        queueing = max(1.0, jobs / max(processes, int(self.bench["machine"].get("cores", jobs))))
        return float(self.bench["kinds"][kind]["seconds"]) * (1 + (slowdown - 1) * busy) * queueing

    def peak_mib(self, artefact: Artefact) -> float | None:
        """Return the memory that a worker took at most when it made one like this; None where nobody measured it."""
        same = self.finished.get(_group(artefact))
        if same and same.peak_mib:
            return max(same.peak_mib)
        kinds = (step_kind(artefact.kind, artefact.key) if artefact.steps else None, image_kind(artefact))
        found = [
            self.bench["kinds"][kind].get("peak_mib") for kind in kinds if self.bench and kind in self.bench["kinds"]
        ]
        return max(filter(None, found), default=None)

    def folder_like(self, artefact: Artefact) -> Path | None:
        """Return the folder of a finished artefact whose files are as large as those of a planned one."""
        kind, values = _group(artefact)
        if kind == "run":
            kind = run_kind(artefact.key["run"])
        same = self.finished.get((kind, values))
        return same.folders[0] if same and same.folders else None


def read_rates(study: Study, device: str = "auto") -> Rates:
    """Read how fast the work of a study is, from its work directory."""
    data = counted(study.preset.data, study.folder / "data" / study.preset.data.name)
    finished, bench = read_finished(study.folder), read_bench(study, device)
    return Rates(finished, bench, data.num_train, data.num_val, study.preset.training.batch)
