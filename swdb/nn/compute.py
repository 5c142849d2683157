"""On what tensors are computed, in which precision, and how a result says so.

in: what was typed for --device, a precision -> out: a `Machine`
"""

import platform
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from swdb.core.errors import BadInput


@dataclass(frozen=True)
class Machine:
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

    def pictures(self, pictures: Tensor) -> Tensor:
        """Lay a batch out as `layout` does the network."""
        return pictures.contiguous(memory_format=torch.channels_last) if self.precision == "bf16" else pictures


def machine(device: str, precision: str) -> Machine:
    """Choose the device ("auto": a GPU where there is one); raises BadInput for one that is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        if chosen.type not in ("cpu", "cuda"):
            raise RuntimeError
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError):
        raise BadInput(
            f"--device {device} is not there; expected auto, cpu, or cuda on a machine with a GPU that torch can use"
        ) from None
    return Machine(chosen, precision)


def describe(machine: Machine) -> dict[str, Any]:
    """Say on what a result was computed."""
    import torchvision

    name = torch.cuda.get_device_name(machine.device) if machine.device.type == "cuda" else _processor()
    return {
        "device": machine.device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "precision": machine.precision,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
