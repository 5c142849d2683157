"""Arrays that live on the GPU: uploaded once in a process, in chunks, where they fit; and what is sent there step by step.

in: memory-mapped arrays -> out: tensors on the device; on a CPU, and where they do not fit, the arrays as they are
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GPU_SHARE = 0.5  # of the free GPU memory that one upload may take
CHUNK = 2**26  # bytes of the host's memory that an upload goes through

_uploaded: dict[Any, Tensor] = {}  # by device and file


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Copy to a GPU without waiting for what it computes; what is there already, or needs no GPU, stays as it is."""
    if device.type != "cuda" or values.is_cuda:
        return values
    return values.pin_memory().to(device, non_blocking=True)


def resident(arrays: tuple[np.ndarray, ...], device: torch.device) -> tuple[np.ndarray | Tensor, ...]:
    """Keep arrays on the GPU for all trainings of this process: all of them, or none where they do not fit."""
    if device.type != "cuda":
        return arrays
    keys = [_key(array, device) for array in arrays]
    needed = sum(array.nbytes for key, array in zip(keys, arrays, strict=True) if key not in _uploaded)
    if needed > GPU_SHARE * free_memory(device):
        for key in [key for key in _uploaded if key not in keys]:  # of other data sets, perhaps
            del _uploaded[key]
        if needed > GPU_SHARE * free_memory(device):
            return arrays
    found = []
    for key, array in zip(keys, arrays, strict=True):
        tensor = _uploaded.get(key)
        if tensor is None:
            tensor = _upload(array, device)
        if key is not None:
            _uploaded[key] = tensor
        found.append(tensor)
    return tuple(found)


def free_memory(device: torch.device) -> int:
    """Return how many bytes tensors may still take: what the driver has free, and what torch keeps and does not use."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _key(array: np.ndarray, device: torch.device) -> Any:
    """Return what tells the contents of a mapped file from others; None for an array of this process alone."""
    name = getattr(array, "filename", None)
    if name is None:
        return None
    found = Path(name).stat()
    return device, str(name), found.st_ino, found.st_mtime_ns, array.shape


def _upload(array: np.ndarray, device: torch.device) -> Tensor:
    whole = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, device=device)
    rows = max(1, CHUNK // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        part = torch.from_numpy(np.array(array[start : start + rows]))  # a copy: what is mapped cannot be written to
        whole[start : start + len(part)].copy_(part)
    return whole
