"""What a method of a paper is asked for, and which methods there are.

A new one is a file beside `strong_weak.py`, an entry here, and its words for tables in `specs/methods.py`.
"""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn

from swdb.methods.strong_weak import StrongWeak
from swdb.specs.presets import Network, Training
from swdb.specs.tables import RunSpec


class Method(Protocol):
    """A network, its losses, its prediction. B images, C classes, H x W pixels."""

    def network(self, settings: Network, num_classes: int, run: RunSpec) -> nn.Module:
        """Build a run's network with random values; its `backbone` takes the initial weights."""

    def groups(self, network: nn.Module, training: Training) -> list[dict]:
        """Return the optimizer's groups of parameters with their learning rates."""

    def losses(
        self, network: nn.Module, inputs: Tensor, labels: Tensor, num_strong: int, run: RunSpec, training: Training
    ) -> dict[str, Tensor]:
        """Return the terms to minimise, by name: inputs (B, 3, H, W), labels (B, H, W), the strong branch's images first."""

    def view(
        self, network: nn.Module, inputs: Tensor, branches: Iterable[str], scale: float, mirrored: bool
    ) -> dict[str, Tensor]:
        """Return branches' class probabilities (B, C, H, W) float32 of whole images as seen once: scaled, perhaps mirrored."""

    def predict(self, network: nn.Module, inputs: Tensor, branch: str, scales: tuple[float, ...], flip: bool) -> Tensor:
        """Return a branch's class probabilities (B, C, H, W) float32 of whole images, averaged over views."""


METHODS: dict[str, Method] = {"strong-weak": StrongWeak()}
