"""How much memory a training needs on its device, counted before it begins: a step on tensors that have no values.

The step is taken forward and backward with fake tensors, and at every operation the bytes of all tensors that are alive
are added up. What a device needs beyond tensors is known roughly: its context, and what its libraries work in.

in: a network, its losses -> out: `Needs`, bytes
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from swdb.nn.compute import Compute

CONTEXT = 2**29  # bytes that CUDA takes for itself in every process
KERNELS = 3 * 2**29  # bytes in which cuDNN and cuBLAS work: between 1 and 2 GiB
MOMENTS = {"adam": 2, "sgd": 1}  # tensors as large as the weights that an optimizer keeps


@dataclass(frozen=True)
class Needs:
    """What a training takes on its device, in bytes."""

    weights: int
    moments: int  # of the optimizer
    step: int  # at the peak of a step: activations, gradients, and what is computed on the way
    store: int = 0  # images and masks that stay on the device; where they do not fit, they stay outside

    @property
    def tensors(self) -> int:
        """What the training cannot do without, in tensors."""
        return self.weights + self.moments + self.step

    @property
    def least(self) -> int:
        """What a device must have free, with the store outside."""
        return self.tensors + CONTEXT + KERNELS

    @property
    def total(self) -> int:
        """What a device must have free to hold the store, too."""
        return self.least + self.store

    def with_store(self, store: int) -> "Needs":
        """Add images and masks of so many bytes."""
        return replace(self, store=store)


def needs_of(
    build: Callable[[], nn.Module],
    losses: Callable[[nn.Module, Compute], dict[str, Tensor]],
    precision: str,
    optimizer: str = "adam",
) -> Needs:
    """Count what a step needs. `build` makes the network and `losses` its losses on inputs of its own; nothing is computed."""
    compute = Compute(torch.device("cpu"), precision)
    with FakeTensorMode():
        network = build().train()
        weights = sum(tensor.untyped_storage().nbytes() for tensor in network.state_dict().values())
        with PeakBytes() as watched:
            sum(losses(network, compute).values()).backward()
    return Needs(weights, MOMENTS[optimizer] * weights, watched.peak)


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are made in it: now alive, and at most at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {_address(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        out = func(*args, **(kwargs or {}))
        for address in [key for key, (storage, _) in self._alive.items() if storage.expired()]:
            self.now -= self._alive.pop(address)[1]
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and (address := _address(tensor)) not in given and address not in self._alive:
                storage = tensor.untyped_storage()
                self._alive[address] = StorageWeakRef(storage), storage.nbytes()
                self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        return out


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
