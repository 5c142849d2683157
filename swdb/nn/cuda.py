"""The GPU as this program uses it: whether torch can, in which arithmetic, in which order it adds, and its names.

Everything here is asked before or beside the work; it changes nothing on a machine without a GPU.
"""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from swdb.core.processor import NVIDIA

VERSION = Path("/sys/module/nvidia/version")


def cuda_works() -> bool:
    """Whether torch can use a GPU. Its warning about a driver that it cannot use is left to `trouble`."""
    return _look()[0]


def trouble() -> str:
    """Say what keeps torch from a GPU whose driver is there; empty where nothing does, or where GPUs are hidden on purpose."""
    works, said = _look()
    if works or not NVIDIA.exists() or os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return ""
    return said or f"torch {torch.__version__} was built for CUDA {torch.version.cuda}"


def _look() -> tuple[bool, str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        works = torch.cuda.is_available()
    words = re.sub(r"\(Triggered internally .*", "", str(said[0].message)) if said else ""
    return works, " ".join(words.split())[:200]


def has_bf16() -> bool:
    """Whether the GPU computes in bf16 itself; older ones only emulate it, and have no convolutions in it."""
    return cuda_works() and torch.cuda.is_bf16_supported(including_emulation=False)


def prepare() -> None:
    """Let CUDA give the same bits every time, and let fp32 be fp32; to be called before its first use.

    What has no deterministic form warns and goes on: hours of work are worth more than that.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # else convolutions round to TF32's 10 bits
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads what was not written


@contextmanager
def any_order() -> Iterator[None]:
    """Allow what torch calls nondeterministic, where the order does not matter, as for the smallest of some integers."""
    on, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(on, warn_only=warn_only)


def describe(device: torch.device) -> dict[str, Any]:
    """Say what of a GPU and its libraries may show in a result."""
    ieee = torch.backends.cudnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
    return {
        "driver": VERSION.read_text(encoding="ascii").strip() if VERSION.is_file() else "",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "capability": ".".join(map(str, torch.cuda.get_device_capability(device))),
        "tf32": not ieee,
        "deterministic": torch.backends.cudnn.deterministic and torch.are_deterministic_algorithms_enabled(),
    }
