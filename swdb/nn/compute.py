"""On what tensors are computed, in which precision, and how a result says so.

in: what was typed for --device, a precision -> out: a `Compute`
"""

import platform
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import cv2
import torch
from torch import Tensor, nn

from swdb.core.errors import BadInput
from swdb.core.processor import has_fast_bf16, keep_freed_memory, processor_name
from swdb.nn import cuda


def never() -> bool:
    """Say no."""
    return False


@dataclass(frozen=True)
class StepSettings:
    """How optimizer steps are taken. None: as the device likes it. Only `compile` changes numbers, and so enters keys."""

    graph: bool | None = None  # record the step once and replay it: a CUDA graph; None: in a long run on a GPU
    device_rates: bool | None = None  # learning rates as tensors on the device; a graph needs them
    threaded: bool | None = None  # checkpoints are written by a thread
    compile: str = ""  # torch.compile's backend for network and losses, such as inductor; empty: none
    core_is_idle: Callable[[], bool] = field(default=never, compare=False)  # asked at every step; see beside.py


@dataclass(frozen=True)
class Compute:
    """Where, in which precision and in which way tensors are computed."""

    device: torch.device
    precision: str  # "fp32" or "bf16": the convolutions' inputs; losses and weights stay fp32
    step: StepSettings = StepSettings()

    def autocast(self):
        """Return the context for forward passes."""
        if self.precision == "bf16":
            # a CUDA graph must cast the weights itself, not find them cast
            return torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=self.device.type != "cuda")
        return nullcontext()

    def compiled(self, function: Callable) -> Callable:
        """Compile a function of tensors where the settings ask for that."""
        return torch.compile(function, backend=self.step.compile, dynamic=False) if self.step.compile else function

    def layout(self, module: nn.Module) -> nn.Module:
        """Move a network to the device, in channels_last where the precision is bf16."""
        return module.to(
            self.device, memory_format=torch.channels_last if self.precision == "bf16" else torch.contiguous_format
        )

    def inputs(self, inputs: Tensor) -> Tensor:
        """Lay a batch out as `layout` does the network."""
        return inputs.contiguous(memory_format=torch.channels_last) if self.precision == "bf16" else inputs

    def describe(self) -> dict[str, Any]:
        """Say on what a result was computed."""
        import torchvision

        on_gpu = self.device.type == "cuda"
        return {
            "device": self.device.type,
            "name": torch.cuda.get_device_name(self.device) if on_gpu else processor_name(),
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            **(cuda.describe(self.device) if on_gpu else {}),
        }


def prepare_process(threads: int) -> None:
    """Let this process compute with so many threads, for sums of more add up in another order, and keep the memory it frees."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    keep_freed_memory()


def choose_device(name: str) -> torch.device:
    """Choose the device ("auto": a GPU where there is one); raises BadInput for one that is not there or cannot be used."""
    if name == "auto":
        if reason := cuda.trouble():
            raise BadInput(
                "--device auto",
                f"there is a GPU that torch cannot use ({reason})",
                "a driver that it can, or --device cpu",
            )
        device = "cuda" if cuda.cuda_works() else "cpu"
    else:
        device = name
    try:
        chosen = torch.device(device)
        if chosen.type not in ("cpu", "cuda"):
            raise RuntimeError
        if chosen.type == "cuda" and cuda.cuda_works():
            cuda.prepare()
            if chosen.index is not None:  # streams, events and graphs are those of the current device
                torch.cuda.set_device(chosen)
        if torch.zeros(1, device=chosen).add_(1).item() != 1:  # a kernel of its own, read back
            raise RuntimeError
    except (RuntimeError, AssertionError):
        reason = cuda.trouble() if device.startswith("cuda") else ""
        expected = "auto, cpu, or cuda on a machine with a GPU that torch can use"
        raise BadInput(f"--device {name}", f"cannot be used ({reason})" if reason else "not there", expected) from None
    return chosen


def preferred_precision(device: torch.device) -> str:
    """Return the precision in which a device trains fastest without harm."""
    if device.type == "cuda":
        return "bf16" if cuda.has_bf16() else "fp32"
    return "bf16" if has_fast_bf16() else "fp32"
