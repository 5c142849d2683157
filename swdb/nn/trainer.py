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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import disk_error, file_digest, read_json, write_atomic, write_json, write_text
from swdb.nn.sampling import DROPOUT, INITIAL, stream

CHECKPOINT_SECONDS = float(os.environ.get("SWDB_CHECKPOINT_SECONDS", "20"))
LOG_EVERY = 20  # steps; the losses stay on the device until then


def seed_initial(seed: int, branch: int = 0) -> None:
    """Seed torch for initial values."""
    torch.manual_seed(int(stream(seed, INITIAL, branch).integers(2**62)))


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

    def factor(self, step: int) -> float:
        """Return what every group's learning rate is multiplied by at a step (from 0)."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.power:
            return rise * (1 - step / self.steps) ** self.power
        if self.repeated:
            return rise * self.decay_factor ** int(step / (self.decay_at * self.steps))
        return rise * (self.decay_factor if step >= self.decay_at * self.steps else 1.0)


def optimise(
    folder: Path,
    identity: str,
    network: nn.Module,
    groups: list[dict],
    schedule: Schedule,
    losses_at: Callable[[int], dict[str, Tensor]],
    seed: int,
    progress: Callable[[int, int], None],
    method: str = "adam",
    ids_at: Callable[[int], list[str]] | None = None,
) -> dict[str, Any]:
    """Train to the schedule's end, from the last checkpoint where there is one, and write the last weights.

    Returns the training's record: steps, seconds, the sha256 of the weights. Raises BadInput on a loss that is not finite,
    with the step and, where `ids_at` tells them, the images.
    """
    if (folder / "training.json").is_file():
        progress(schedule.steps, schedule.steps)
        return load_finished(folder, network)
    optimizer = _optimizer(method, groups, schedule.weight_decay)
    rates = [group["lr"] for group in optimizer.param_groups]
    step, seconds = _resume(folder, identity, network, optimizer)
    progress(step, schedule.steps)
    network.train()
    pending: list[dict[str, Tensor]] = []
    started = saved = time.monotonic()
    with _interrupts() as interrupted:
        while step < schedule.steps:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * schedule.factor(step)
            torch.manual_seed(int(stream(seed, DROPOUT, step).integers(2**62)))
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
                _log(folder, identity, step, pending, ids_at)
                progress(step, schedule.steps)
            if due:
                _save(folder, identity, network, optimizer, step, seconds + time.monotonic() - started)
                saved = time.monotonic()
            if interrupted:
                raise KeyboardInterrupt
    save_tensors(folder / "weights.pt", network.state_dict())
    record = {
        "steps": step,
        "seconds": round(seconds + time.monotonic() - started, 2),
        "weights_sha256": file_digest(folder / "weights.pt"),
    }
    write_json(folder / "training.json", record)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return record


def _optimizer(method: str, groups: list[dict], weight_decay: float) -> torch.optim.Optimizer:
    """Build Adam, or SGD with momentum 0.9; a group may have a weight decay of its own.

    Caffe's velocity carries the learning rate and torch's does not: after a drop of the rate they differ for some steps.
    """
    if method == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=weight_decay, fused=True)
    return torch.optim.Adam(groups, weight_decay=weight_decay, fused=True)


def load_finished(folder: Path, network: nn.Module) -> dict[str, Any]:
    """Load the last weights of a finished training and return its record.

    Raises MissingArtefact where it is not finished, or the weights are not those that were written.
    """
    mend = f"delete the folder {folder} and run the same command again"
    path = folder / "weights.pt"
    record = read_json(folder / "training.json", f"the same command again after you deleted the folder {folder}")
    if not path.is_file() or file_digest(path) != record["weights_sha256"]:
        raise MissingArtefact(f"{path} is missing or damaged; {mend}")
    network.load_state_dict(load_tensors(path))
    return record


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


def _log(
    folder: Path,
    identity: str,
    step: int,
    pending: list[dict[str, Tensor]],
    ids_at: Callable[[int], list[str]] | None,
) -> None:
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.jsonl").open("a") as log:
            log.writelines(lines)
    except OSError as error:
        raise disk_error(error, folder / "log.jsonl") from error
    if good < len(values):
        ids = ids_at(first + good) if ids_at else []
        images = f" (images {', '.join(ids)})" if ids else ""
        raise BadInput(
            f"{identity}: the loss is {values[good]} at step {first + good}{images}; training diverged: lower lr_new or lr_backbone in the preset"
        )
    pending.clear()


def _save(
    folder: Path, identity: str, network: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    state = {
        "identity": identity,
        "step": step,
        "seconds": seconds,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    save_tensors(folder / "checkpoint.pt", state)


def _resume(folder: Path, identity: str, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Load the last checkpoint, if any, and cut the log to it; returns the next step and the seconds spent so far."""
    for left in folder.glob(".*.tmp"):  # what a killed writer did not finish
        left.unlink()
    path = folder / "checkpoint.pt"
    step, seconds = 0, 0.0
    if path.is_file():
        state = load_tensors(path)
        if state.get("identity") != identity:
            raise MissingArtefact(
                f"{path} is a checkpoint of {state.get('identity')!r}, expected {identity!r}; delete the folder {folder} and run the same command again"
            )
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    log = folder / "log.jsonl"
    if log.is_file():
        kept = log.read_text().splitlines(keepends=True)[:step]
        write_text(log, "".join(kept))
    return step, seconds


def save_tensors(path: Path, state: dict[str, Any]) -> None:
    """Write a dict of tensors and plain values atomically."""
    buffer = io.BytesIO()  # torch would turn a full disk into an error that nobody can read
    torch.save(state, buffer)
    write_atomic(path, lambda stream: stream.write(buffer.getbuffer()))


def load_tensors(path: Path) -> dict:
    """Load a file of plain tensors on the CPU; raises MissingArtefact for anything else, and never unpickles objects."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise MissingArtefact(f"{path} is missing; run the command that makes it again") from None
    except Exception as error:  # torch raises a dozen kinds for damaged archives
        raise MissingArtefact(
            f"{path} is damaged or holds more than plain tensors ({type(error).__name__}); delete it and run the same command again"
        ) from None
