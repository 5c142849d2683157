"""The one training loop: optimizer steps that a kill cannot harm.

Every step is a function of (seed, step) and the weights before it, and a checkpoint holds all of that. So a run that was
killed goes on and ends with the same weights.

in: a network, its losses at a step -> out: `weights.pt`, `log.jsonl` (a line for every step) in the artefact's folder
"""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from swdb.core.errors import BadInput, disk_error
from swdb.core.files import damage_of, read_json, sweep_temporary, write_atomic, write_json
from swdb.core.lease import check_lease, seconds_said
from swdb.core.progress import Advance, silent
from swdb.nn.checkpoints import WEIGHTS, Checkpoints, load_weights, save_tensors
from swdb.nn.compute import StepSettings
from swdb.nn.sampling import INITIAL, rng_for
from swdb.nn.step import Objective, Rates, Stepper

CHECKPOINT_SECONDS = seconds_said("SWDB_CHECKPOINT_SECONDS", 20.0, zero=True)
LOG_EVERY = 20  # steps; the losses stay on the device until then
AS_THE_DEVICE_LIKES = StepSettings()


def seed_initial(seed: int, branch: int = 0) -> None:
    """Seed torch for initial values."""
    torch.manual_seed(int(rng_for(seed, INITIAL, branch).integers(2**62)))


@dataclass(frozen=True)
class Schedule:
    """How steps are taken: a linear rise of the learning rates, then drops or a polynomial; decay and clipping."""

    steps: int
    warmup: int
    decay_at: float  # share of the steps
    decay_factor: float
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    repeated: bool = False  # the drop comes again after every `decay_at` of the steps
    power: float = 0.0  # of the poly schedule (1 - step / steps) ** power, instead of drops
    optimizer: str = "adam"  # or sgd, with momentum 0.9

    def factor(self, step: int) -> float:
        """Return what every group's learning rate is multiplied by at a step (from 0)."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.power:
            return rise * (1 - step / self.steps) ** self.power
        if self.repeated:
            return rise * self.decay_factor ** int(step / (self.decay_at * self.steps))
        return rise * (self.decay_factor if step >= self.decay_at * self.steps else 1.0)


@dataclass(frozen=True)
class Stops:
    """Steps after which somebody looks at the network of a training, and leaves it as it was: training itself has none.

    Whoever looks is asked again for a step that a training, killed meanwhile, comes to again.
    """

    steps: frozenset[int] = frozenset()
    look: Callable[[int, nn.Module], None] = lambda step, network: None


@dataclass(frozen=True)
class Job:
    """One training: where it keeps itself, what it is called, its seed, and who watches."""

    folder: Path
    id: str  # a checkpoint of another one is refused
    seed: int = 0
    advance: Advance = field(default_factory=silent)
    ids_at: Callable[[int], list[str]] | None = None  # the images of a step, for an error that names them
    stops: Stops = field(default_factory=Stops)
    settle: Callable[[nn.Module], None] = lambda network: None  # done to the network before it is looked at or written

    def place(self, step: int) -> str:
        """Say which step it was, and with which images."""
        ids = self.ids_at(step) if self.ids_at else []
        return f"step {step} (images {', '.join(ids)})" if ids else f"step {step}"

    def stop(self, step: int, network: nn.Module) -> None:
        """Let somebody look who wants to, after so many steps."""
        if step in self.stops.steps:
            self.settle(network)
            network.eval()
            self.stops.look(step, network)
            network.train()


def optimise(
    job: Job,
    network: nn.Module,
    groups: list[dict],
    schedule: Schedule,
    objective: Objective,
    settings: StepSettings = AS_THE_DEVICE_LIKES,
) -> dict[str, Any]:
    """Train to the schedule's end, from the last checkpoint where there is one, and write the last weights.

    Returns the training's record: steps, seconds, the sha256 of the weights, how steps were taken. Raises BadInput on a loss
    that is not finite, with the step and, where the job tells them, the images.
    """
    ended = job.folder / "training.json"
    if ended.is_file():
        return _ended(job, ended, schedule, network)
    on_gpu = next(network.parameters()).is_cuda
    optimizer = _optimizer(schedule, groups)
    rates = Rates([group["lr"] for group in optimizer.param_groups], schedule.factor)
    stepper = Stepper(network, optimizer, objective, rates, schedule.clip_norm, job.seed, settings)
    checkpoints = Checkpoints(job.folder, job.id, on_gpu if settings.threaded is None else settings.threaded)
    sweep_temporary(job.folder)
    step, seconds = checkpoints.resume(network, optimizer)
    log = Log(job, objective, step)
    job.advance(step, schedule.steps)
    network.train()
    job.stop(step, network)
    started = saved = time.monotonic()
    with _interrupts() as interrupted, waited_for(checkpoints):
        while step < schedule.steps:
            checkpoints.look()
            try:
                values = stepper.take(step, schedule.steps)
            except BadInput as error:  # of what only computes
                raise BadInput(
                    f"{job.id}, {job.place(step)}", f"{error.subject}: {error.found}", error.expected
                ) from None
            log.add(values, stepper.names)
            step += 1
            due = time.monotonic() - saved >= CHECKPOINT_SECONDS or interrupted
            if due or step % LOG_EVERY == 0 or step == schedule.steps:
                log.write(lasting=due)  # no checkpoint is newer than its log, whatever the power does
                job.advance(step, schedule.steps)
            if due:
                with stepper.numbers():
                    checkpoints.save(network, optimizer, step, seconds + time.monotonic() - started)
                saved = time.monotonic()
            if interrupted:
                checkpoints.wait()
                raise KeyboardInterrupt
            job.stop(step, network)
    record = {
        "steps": step,
        "seconds": round(seconds + time.monotonic() - started, 2),
        "weights_sha256": _written(job, network),
        "step": stepper.describe() | {"checkpoints": "by a thread" if checkpoints.threaded else "between steps"},
    }
    write_json(ended, record)
    checkpoints.remove()
    return record


def _written(job: Job, network: nn.Module) -> str:
    """Write the last weights; returns the sha256 of their file. Raises BadInput where they are not finite."""
    job.settle(network)
    state = network.state_dict()
    # A loss is that of the weights before its step, so what the last step did shows here alone.
    finite = torch.stack([torch.isfinite(tensor).all() for tensor in state.values()]).tolist()  # one read
    if False in finite:
        found = f"{[*state][finite.index(False)]} is not finite after the last step: the training diverged"
        raise BadInput(job.id, found, "finite weights: lower its learning rates in the preset")
    return save_tensors(job.folder / WEIGHTS, state)


def _ended(job: Job, ended: Path, schedule: Schedule, network: nn.Module) -> dict[str, Any]:
    """Return the record of a training that has ended, with its last weights in the network."""
    job.advance(schedule.steps, schedule.steps)
    record = read_json(ended)
    with damage_of(ended):
        sha256, _ = record["weights_sha256"], record["seconds"]
    load_weights(job.folder, sha256, network)
    Checkpoints(job.folder, job.id, threaded=False).remove()  # a kill may have come between
    return record


def _optimizer(schedule: Schedule, groups: list[dict]) -> torch.optim.Optimizer:
    """Build Adam, or SGD with momentum 0.9; a group may have a weight decay of its own.

    Caffe's velocity carries the learning rate and torch's does not: after a drop of the rate they differ for some steps.
    """
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=schedule.weight_decay, fused=True)
    return torch.optim.Adam(groups, weight_decay=schedule.weight_decay, fused=True)


@contextmanager
def waited_for(checkpoints: Checkpoints) -> Iterator[None]:
    """Let the checkpoint that is being written be whole before the work ends, however it ends."""
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the first error is the one that counts
            checkpoints.wait()
        raise
    checkpoints.wait()


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C in a list instead of raising in the middle of a step, so that the work can be kept."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def receive(number: int, _: object) -> None:
        if received:  # a second Ctrl-C does not wait for the step
            raise KeyboardInterrupt
        received.append(number)

    before = signal.signal(signal.SIGINT, receive)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)


# ---------------------------------------------------------------- the log


class Log:
    """A JSON line for every step, in `log.jsonl`; losses stay on the device until they are written."""

    def __init__(self, job: Job, objective: Objective, step: int):
        """Begin at a step: lines of later ones, written before a kill, are cut off."""
        self.job, self.objective, self.step = job, objective, step
        self.path = job.folder / "log.jsonl"
        self.pending: list[Tensor] = []
        self.names: tuple[str, ...] = ()
        if self.path.is_file():
            lines = self.path.read_bytes().splitlines(keepends=True)
            write_atomic(self.path, lambda stream: stream.writelines(one for one in lines if _step_of(one) < step))

    def add(self, values: Tensor, names: tuple[str, ...]) -> None:
        """Note what a step returned."""
        self.pending.append(values)
        self.names = names

    def write(self, lasting: bool = False) -> None:
        """Append the lines of all steps since the last time; refuses losses that are not finite. lasting: wait for the disk."""
        if not self.pending:
            return
        rows = torch.stack(self.pending).tolist()  # one read from the device
        self.pending = []
        steps, self.step = range(self.step, self.step + len(rows)), self.step + len(rows)
        watched = [dict(zip(self.names, row, strict=True)) for row in rows]
        terms = [{name: row[name] for name in self.names if name not in self.objective.watched} for row in watched]
        finite = [all(map(math.isfinite, one.values())) for one in terms]
        good = finite.index(False) if False in finite else len(rows)
        self._append([_line(step, one) for step, one in zip(steps, terms[:good], strict=False)], lasting)
        if good < len(rows):
            found = f"the loss is {list(terms[good].values())} at {self.job.place(steps[good])}: the training diverged"
            raise BadInput(self.job.id, found, "finite losses: lower its learning rates in the preset")
        for step, values in zip(steps, watched, strict=True):
            self.objective.see(step, values)

    def _append(self, lines: list[str], lasting: bool) -> None:
        try:
            check_lease(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as log:
                log.writelines(lines)
                if lasting:
                    log.flush()
                    os.fsync(log.fileno())
        except OSError as error:
            raise disk_error(error, self.path) from error


def _step_of(line: bytes) -> float:
    """Return the step of a line; infinity where a kill or a loss of power cut it."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf


def _line(step: int, terms: dict[str, float]) -> str:
    rounded = {name: round(value, 6) for name, value in terms.items()}
    return json.dumps({"step": step, "loss": round(sum(terms.values()), 6), **rounded}) + "\n"
