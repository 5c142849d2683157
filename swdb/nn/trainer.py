"""The one training loop: optimizer steps that a kill cannot harm.

Every step is a function of (seed, step) and the weights before it; a checkpoint holds weights, optimizer and
step, is written under another name and renamed. So a run that was killed goes on and ends with the same weights.

in: a network, its losses at a step -> out: `weights.pt`, `log.jsonl` (a line for every step) in the artefact's folder
"""

import io
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from swdb.core.errors import BadInput, MissingArtefact, disk_error
from swdb.core.files import damage_of, file_digest, is_intact, read_json, sweep_temporary, write_atomic, write_json
from swdb.core.lease import check_lease
from swdb.core.progress import Advance, silent
from swdb.nn.sampling import DROPOUT, INITIAL, rng_for

CHECKPOINT_SECONDS = float(os.environ.get("SWDB_CHECKPOINT_SECONDS", "20"))
LOG_EVERY = 20  # steps; the losses stay on the device until then
WEIGHTS = "weights.pt"


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
class Job:
    """One training: where it keeps itself, what it is called, its seed, and who watches."""

    folder: Path
    id: str  # a checkpoint of another one is refused
    seed: int = 0
    advance: Advance = field(default_factory=silent)
    ids_at: Callable[[int], list[str]] | None = None  # the images of a step, for an error that names them


def optimise(
    job: Job,
    network: nn.Module,
    groups: list[dict],
    schedule: Schedule,
    losses_at: Callable[[int], dict[str, Tensor]],
) -> dict[str, Any]:
    """Train to the schedule's end, from the last checkpoint where there is one, and write the last weights.

    Returns the training's record: steps, seconds, the sha256 of the weights. Raises BadInput on a loss that is not finite,
    with the step and, where the job tells them, the images.
    """
    ended = job.folder / "training.json"
    if ended.is_file():
        job.advance(schedule.steps, schedule.steps)
        record = read_json(ended)
        with damage_of(ended):
            sha256, _ = record["weights_sha256"], record["seconds"]
        load_weights(job.folder, sha256, network)
        return record
    optimizer = _optimizer(schedule, groups)
    rates = [group["lr"] for group in optimizer.param_groups]
    step, seconds = _resume(job, network, optimizer)
    job.advance(step, schedule.steps)
    network.train()
    pending: list[dict[str, Tensor]] = []
    started = saved = time.monotonic()
    with _interrupts() as interrupted:
        while step < schedule.steps:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * schedule.factor(step)
            torch.manual_seed(int(rng_for(job.seed, DROPOUT, step).integers(2**62)))
            terms = losses_at(step)
            optimizer.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            if schedule.clip_norm:
                nn.utils.clip_grad_norm_(network.parameters(), schedule.clip_norm)
            optimizer.step()
            pending.append({name: term.detach() for name, term in terms.items()})
            step += 1
            due = time.monotonic() - saved >= CHECKPOINT_SECONDS or interrupted
            if due or step % LOG_EVERY == 0 or step == schedule.steps:
                _log(job, step, pending)
                job.advance(step, schedule.steps)
            if due:
                _save(job, network, optimizer, step, seconds + time.monotonic() - started)
                saved = time.monotonic()
            if interrupted:
                raise KeyboardInterrupt
    record = {
        "steps": step,
        "seconds": round(seconds + time.monotonic() - started, 2),
        "weights_sha256": save_tensors(job.folder / WEIGHTS, network.state_dict()),
    }
    write_json(ended, record)
    (job.folder / "checkpoint.pt").unlink(missing_ok=True)
    return record


def _optimizer(schedule: Schedule, groups: list[dict]) -> torch.optim.Optimizer:
    """Build Adam, or SGD with momentum 0.9; a group may have a weight decay of its own.

    Caffe's velocity carries the learning rate and torch's does not: after a drop of the rate they differ for some steps.
    """
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=schedule.weight_decay, fused=True)
    return torch.optim.Adam(groups, weight_decay=schedule.weight_decay, fused=True)


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


# ---------------------------------------------------------------- what a training keeps


def _log(job: Job, step: int, pending: list[dict[str, Tensor]]) -> None:
    """Append one JSON line for every step since the last call; refuses losses that are not finite."""
    if not pending:
        return
    names = list(pending[0])
    values = torch.stack(
        [torch.stack([terms[name].float() for name in names]) for terms in pending]
    ).tolist()  # one read from the device
    first = step - len(pending)
    finite = [all(map(math.isfinite, row)) for row in values]
    good = finite.index(False) if False in finite else len(values)
    lines = []
    for offset, row in enumerate(values[:good]):
        terms = {name: round(value, 6) for name, value in zip(names, row, strict=True)}
        lines.append(json.dumps({"step": first + offset, "loss": round(sum(row), 6), **terms}) + "\n")
    path = job.folder / "log.jsonl"
    try:
        check_lease(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.writelines(lines)
    except OSError as error:
        raise disk_error(error, path) from error
    if good < len(values):
        ids = job.ids_at(first + good) if job.ids_at else []
        images = f" (images {', '.join(ids)})" if ids else ""
        found = f"the loss is {values[good]} at step {first + good}{images}: the training diverged"
        raise BadInput(job.id, found, "finite losses: lower its learning rates in the preset")
    pending.clear()


def _save(job: Job, network: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float) -> None:
    state = {
        "id": job.id,
        "step": step,
        "seconds": seconds,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    save_tensors(job.folder / "checkpoint.pt", state)


def _resume(job: Job, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Load the last checkpoint, if any, and cut the log to it; returns the next step and the seconds spent so far."""
    sweep_temporary(job.folder)
    path = job.folder / "checkpoint.pt"
    step, seconds = 0, 0.0
    if path.is_file():
        state = load_tensors(path)
        if state.get("id") != job.id:
            raise MissingArtefact(path, f"a checkpoint of {state.get('id')!r}", f"one of {job.id!r}")
        with damage_of(path, "a checkpoint"):
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            step, seconds = state["step"], state["seconds"]
    log = job.folder / "log.jsonl"
    if log.is_file():
        kept = log.read_bytes().splitlines(keepends=True)[:step]
        write_atomic(log, lambda stream: stream.writelines(kept))
    return step, seconds


# ---------------------------------------------------------------- files of tensors


def room_for(network: nn.Module) -> int:
    """Return how many bytes the weights of a network take on disk, whether it has values or none."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def save_tensors(path: Path, state: dict[str, Any]) -> str:
    """Write a dict of tensors and plain values atomically; returns the sha256 of the file."""
    buffer = io.BytesIO()  # torch would turn a full disk into an error that nobody can read
    torch.save(state, buffer)
    write_atomic(path, lambda stream: stream.write(buffer.getbuffer()))
    return file_digest(path)


def load_tensors(path: Path) -> dict:
    """Load a file of plain tensors on the CPU; raises MissingArtefact for anything else, and never unpickles objects."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise MissingArtefact(path, "missing") from None
    except Exception as error:  # torch raises a dozen kinds for damaged archives
        found = f"damaged, or holds more than plain tensors ({type(error).__name__})"
        raise MissingArtefact(path, found) from None


def load_weights(folder: Path, sha256: str, network: nn.Module) -> None:
    """Load the last weights of a finished training; raises MissingArtefact where they are not those that were written."""
    path = folder / WEIGHTS
    if not is_intact(path, sha256):
        found = "damaged" if path.is_file() else "missing"
        raise MissingArtefact(path, found, "the weights that were written")
    # a network without values (`networks.valueless`) takes the tensors themselves; another one copies theirs
    network.load_state_dict(load_tensors(path), assign=any(tensor.is_meta for tensor in network.parameters()))
