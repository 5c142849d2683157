"""DecoupledNet, column [1] of Table 4, as a method: what `method.py` asks, answered by its networks and windows.

A run trains the decoder behind the frozen recognizer. Its weights hold both, so that a finished run predicts alone.

in: strong images as `windows.py` cuts them -> out: one loss; probabilities (B, C, H, W) of its one branch, strong
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.progress import Progress
from swdb.methods.decoupled_network import DecoupledNetwork, estimate_statistics
from swdb.methods.decoupled_prediction import black, predict
from swdb.methods.material import Batch, Material
from swdb.methods.recognizer import load_recognizer, schedule_of
from swdb.methods.windows import Windows, questions_of
from swdb.nn.losses import cross_entropy
from swdb.nn.model import Model, averaged
from swdb.nn.networks import Preprocessing
from swdb.nn.step import Packed
from swdb.nn.trainer import Schedule
from swdb.specs.tasks import RunTask


class DecoupledNet:
    """The method as `training.py` and `evaluation/evaluate.py` ask it; see `method.py`."""

    def network(self, task: RunTask, num_classes: int) -> DecoupledNetwork:
        """Build a run's network, its values drawn from torch's generator; the recognizer's are loaded later."""
        return DecoupledNetwork(task.network.backbone, task.decouplednet, num_classes)

    def begin(self, network: DecoupledNetwork, artefact: Artefact) -> Preprocessing:
        """Load the recognizer, which stays as it is."""
        return load_recognizer(artefact.input("recognizer"), network.recognizer)

    def groups(self, network: DecoupledNetwork, task: RunTask) -> list[dict]:
        """Return the optimizer's groups: of the decoder alone."""
        return network.groups()

    def schedule(self, task: RunTask) -> Schedule:
        """Return how steps are taken: fewer of them where strong images are few."""
        settings = task.decouplednet
        return schedule_of(settings, *settings.schedule(task.run.strong_per_class or 0))

    def batches(self, task: RunTask, material: Material) -> Windows:
        """Return windows of the strong images."""
        settings = task.decouplednet
        return Windows(questions_of(material, settings), material, settings, task.seed)

    def blank(self, task: RunTask, num_classes: int) -> Batch:
        """Return inputs, masks and flags without contents."""
        batch, size = task.decouplednet.batch, task.decouplednet.size
        masks = torch.empty(batch, size, size, dtype=torch.int64)
        return torch.empty(batch, 3, size, size), masks, torch.empty(batch, num_classes - 1)

    def losses(self, network: DecoupledNetwork, batch: Batch, task: RunTask) -> dict[str, Tensor]:
        """Return the cross-entropy of {not asked for, asked for}, a mean over the pixels that are not void."""
        inputs, masks, asked = batch
        return {"asked": cross_entropy(network(inputs, asked), masks)}

    def settle(
        self, network: DecoupledNetwork, batches: Windows, task: RunTask, model: Model, progress: Progress
    ) -> None:
        """Take the statistics with which batch norms predict; `BN_make_INFERENCE_script.py` does so after the last step."""
        total, device = task.decouplednet.norm_batches, next(network.parameters()).device
        advance = progress(f"batch statistics of {task.run.name}-s{task.seed}", total)

        def drawn() -> Iterator[tuple[Tensor, Tensor]]:
            for number in range(total):
                inputs, _, asked = batches.cut(Packed(batches.draw_for_statistics(number)).unpacked(device))
                yield model.compute.inputs(inputs), asked
                advance(number + 1, total)

        with model.compute.autocast():
            estimate_statistics(network, drawn())

    def view(
        self,
        model: Model,
        inputs: Tensor,
        branches: Iterable[str],
        scale: float,
        mirrored: bool,
        tags: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return class probabilities (B, C, H, W) float32 of whole images, asked about at the method's size times a scale.

        tags: true ones (B, C-1) bool, in the place of those that the recognizer finds.
        """
        network, seen = model.network, inputs.flip(-1) if mirrored else inputs
        found = predict(network, seen, black(model.preprocessing), tags, asked_side(network, scale))
        return dict.fromkeys(branches, found.flip(-1) if mirrored else found)

    def predict(
        self,
        model: Model,
        inputs: Tensor,
        branch: str,
        scales: tuple[float, ...],
        flip: bool,
        tags: Tensor | None = None,
    ) -> Tensor:
        """Return class probabilities (B, C, H, W) float32 of whole images, averaged over scales and mirrors."""
        return averaged(lambda *view: self.view(model, inputs, (branch,), *view, tags)[branch], scales, flip)


def asked_side(network: DecoupledNetwork, scale: float) -> int:
    """Return the side of the squares that a scale asks about: whole cells of the deepest features, and enough for fc6."""
    cell = network.decoder.start.stride * 2 ** len(network.decoder.levels)
    return max(network.settings.kernel, round(scale * network.settings.size / cell)) * cell
