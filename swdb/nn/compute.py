"""On what tensors are computed, in which precision, and how a result says so.

in: what was typed for --device, a precision -> out: a `Compute`
"""

import platform
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import cv2
import torch
from torch import Tensor, nn

from swdb.core.errors import BadInput
from swdb.core.processor import has_fast_bf16, processor_name


@dataclass(frozen=True)
class Compute:
    """Where and in which precision tensors are computed."""

    device: torch.device
    precision: str  # "fp32" or "bf16": the convolutions' inputs; losses and weights stay fp32

    def autocast(self):
        """Return the context for forward passes."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

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

        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else processor_name()
        return {
            "device": self.device.type,
            "name": name,
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        }


def use_threads(count: int) -> None:
    """Let this process compute with so many threads: sums of more threads add up in another order."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def choose_device(name: str) -> torch.device:
    """Choose the device ("auto": a GPU where there is one); raises BadInput for one that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
        if chosen.type not in ("cpu", "cuda"):
            raise RuntimeError
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError):
        expected = "auto, cpu, or cuda on a machine with a GPU that torch can use"
        raise BadInput(f"--device {name}", "not there", expected) from None
    return chosen


def preferred_precision(device: torch.device) -> str:
    """Return the precision in which a device trains fastest without harm."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if has_fast_bf16() else "fp32"
