"""What a method of a paper is asked for, and which methods there are.

A new one is a file beside `strong_weak.py`, an entry here, and its words for tables in `specs/methods.py`: which settings
its trainings read, and which artefacts they are made from.
"""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn

from swdb.core.artefact import Artefact
from swdb.core.progress import Progress
from swdb.methods.decouplednet import DecoupledNet
from swdb.methods.material import Batch, Batches, Material
from swdb.methods.strong_weak import StrongWeak
from swdb.nn.model import Model
from swdb.nn.networks import Preprocessing
from swdb.nn.trainer import Schedule
from swdb.specs.tasks import RunTask


class Method(Protocol):
    """A network, its batches and losses, its prediction. B images, C classes, H x W pixels."""

    def network(self, task: RunTask, num_classes: int) -> nn.Module:
        """Build a run's network with random values."""

    def begin(self, network: nn.Module, artefact: Artefact) -> Preprocessing:
        """Give a new network the values that it does not begin at random; returns how images are preprocessed for them."""

    def groups(self, network: nn.Module, task: RunTask) -> list[dict]:
        """Return the optimizer's groups of parameters with their learning rates."""

    def schedule(self, task: RunTask) -> Schedule:
        """Return how steps are taken."""

    def batches(self, task: RunTask, material: Material) -> Batches:
        """Return what a run sees, step by step; refuses material that it cannot learn from."""

    def blank(self, task: RunTask, num_classes: int) -> Batch:
        """Return a batch without contents, of the shapes that the batches have: to count what a step takes."""

    def losses(self, network: nn.Module, batch: Batch, task: RunTask) -> dict[str, Tensor]:
        """Return the terms to minimise, by name, of a batch as `batches` cut it."""

    def settle(self, network: nn.Module, batches: Batches, task: RunTask, model: Model, progress: Progress) -> None:
        """Do what is left after the last step, before the weights are written; and before anybody looks at the network.

        It hangs on the weights alone, and steps that follow are what they are without.
        """

    def view(
        self, model: Model, inputs: Tensor, branches: Iterable[str], scale: float, mirrored: bool
    ) -> dict[str, Tensor]:
        """Return branches' class probabilities (B, C, H, W) float32 of whole images as seen once: scaled, perhaps mirrored."""

    def predict(self, model: Model, inputs: Tensor, branch: str, scales: tuple[float, ...], flip: bool) -> Tensor:
        """Return a branch's class probabilities (B, C, H, W) float32 of whole images, averaged over views."""


METHODS: dict[str, Method] = {"strong-weak": StrongWeak(), "decouplednet": DecoupledNet()}
