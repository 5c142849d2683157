"""What a training keeps on disk: files of tensors, its checkpoints, its last weights.

A checkpoint holds weights, optimizer and step, is written under another name and renamed; a kill leaves the one before.
On a GPU a thread writes it while the training goes on.

in: a network and its optimizer at a step -> out: `checkpoint.pt`, `weights.pt` in the training's folder
"""

import io
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, file_digest, is_intact, write_atomic

WEIGHTS = "weights.pt"
CHECKPOINT = "checkpoint.pt"


class Checkpoints:
    """Writes the checkpoints of one training, one at a time; `threaded`: while the training goes on."""

    def __init__(self, folder: Path, training_id: str, threaded: bool):
        self.path, self.id, self.threaded = folder / CHECKPOINT, training_id, threaded
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float) -> None:
        """Keep the state as it is now; raises what writing it, or the one before, raised."""
        self.wait()
        state = {
            "id": self.id,
            "step": step,
            "seconds": seconds,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        if not self.threaded:
            save_tensors(self.path, state)
            return
        copies, copied = tree_map(_copy, state), _moment(network)
        self._thread = threading.Thread(target=self._write, args=(copies, copied), name="checkpoint", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Raise what the thread raised, if it did; does not wait for it."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Wait for what is being written; raises what the thread raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, state: dict[str, Any], copied: "torch.cuda.Event | None") -> None:
        try:
            if copied is not None:
                copied.synchronize()
            save_tensors(self.path, state)
        except BaseException as error:  # for whoever trains
            self._error = error

    def resume(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
        """Load the checkpoint, if there is one; returns the next step and the seconds spent so far."""
        if not self.path.is_file():
            return 0, 0.0
        state = load_tensors(self.path)
        if state.get("id") != self.id:
            raise MissingArtefact(self.path, f"a checkpoint of {state.get('id')!r}", f"one of {self.id!r}")
        ours = [{name: group[name] for name in group if name != "params"} for group in optimizer.param_groups]
        with damage_of(self.path, "a checkpoint"):
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            for group, options in zip(optimizer.param_groups, ours, strict=True):
                group.update(options)  # how this device takes steps, not how the one before did
            return state["step"], state["seconds"]

    def remove(self) -> None:
        """Delete the checkpoint of a training that has ended."""
        self.path.unlink(missing_ok=True)


def _copy(value: Any) -> Any:
    """Copy a tensor to the host without waiting for the device."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach()
    return value.to("cpu", non_blocking=True) if value.is_cuda else value.clone()


def _moment(network: nn.Module) -> "torch.cuda.Event | None":
    """Return what the device has done when everything that was asked of it until now is done."""
    if not any(tensor.is_cuda for tensor in network.parameters()):
        return None
    event = torch.cuda.Event()
    event.record()
    return event


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
