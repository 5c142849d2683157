"""The paper's method: one backbone and n shared layers, a strong and a weak branch, the losses, the prediction.

A row of a table is this network and these losses with other values; there is no other place where rows differ.

in: inputs (B, 3, H, W) float, labels (B, H, W) int64 of 0..C-1 and 255 -> out: losses by name; probabilities (B, C, H, W)
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swdb.core.artefact import Artefact
from swdb.core.progress import Progress
from swdb.data.store import drawn_rows, taken_rows
from swdb.methods.material import Batch, Material
from swdb.nn.initial_weights import load_initial
from swdb.nn.losses import cross_entropy, kl_constraint, resize
from swdb.nn.model import Model, averaged
from swdb.nn.networks import BACKBONES, Preprocessing, head, neck, upsample
from swdb.nn.sampling import LabelSet, crop_drawn, drawn_crops, sample_crops, sample_indices
from swdb.nn.step import Drawn
from swdb.nn.trainer import Schedule
from swdb.specs.presets import Network
from swdb.specs.tasks import RunTask


class StrongWeakNetwork(nn.Module):
    """Backbone -> neck of n shared layers -> a head for each branch.

    A single-branch row is the same network without the weak head.
    """

    def __init__(self, settings: Network, num_classes: int, shared_layers: int, dual: bool):
        super().__init__()
        self.backbone = BACKBONES[settings.backbone]()
        self.neck = neck(
            self.backbone.channels, settings.neck_channels, shared_layers, settings.neck_init_scale, settings.neck_init
        )
        width = settings.neck_channels if shared_layers else self.backbone.channels
        # The strong head comes first: with one seed, rows of the same n begin with the same neck and strong head.
        self.heads = nn.ModuleDict(
            {
                branch: head(width, settings.head_channels, settings.head_dilation, settings.dropout, num_classes)
                for branch in (("strong", "weak") if dual else ("strong",))
            }
        )

    def features(self, inputs: Tensor) -> Tensor:
        """Return what the branches share, (B, D, h, w)."""
        return self.neck(self.backbone(inputs))

    def logits(self, features: Tensor, branch: str) -> Tensor:
        """Return a branch's logits (B, C, h * stride, w * stride) float32, bilinearly upsampled by the stride."""
        return upsample(self.heads[branch](features), self.backbone)


class StrongWeak:
    """The method as `training.py` and `evaluation/evaluate.py` ask it; see `method.py`."""

    def network(self, task: RunTask, num_classes: int) -> StrongWeakNetwork:
        """Build a run's network, its values drawn from torch's generator; its `backbone` takes the initial weights."""
        return StrongWeakNetwork(task.network, num_classes, task.run.shared_layers, task.run.dual)

    def begin(self, network: StrongWeakNetwork, artefact: Artefact) -> Preprocessing:
        """Give the backbone its initial weights."""
        return load_initial(artefact.input("weights"), network.backbone)

    def groups(self, network: StrongWeakNetwork, task: RunTask) -> list[dict]:
        """Return the optimizer's groups: small steps for the pre-trained backbone, larger ones for what is new."""
        new = [*network.neck.parameters(), *network.heads.parameters()]
        return [
            {"params": list(network.backbone.parameters()), "lr": task.training.lr_backbone},
            {"params": new, "lr": task.training.lr_new},
        ]

    def schedule(self, task: RunTask) -> Schedule:
        """Return the one schedule of all rows of a preset."""
        training = task.training
        return Schedule(
            training.steps,
            training.warmup,
            training.decay_at,
            training.decay_factor,
            training.weight_decay,
            training.clip_norm,
        )

    def batches(self, task: RunTask, material: Material) -> "LabelledCrops":
        """Return crops of the images of each branch's set."""
        run = task.run
        sets = [
            label_set(labels, material.strong, len(material.store.ids), run.oversample)
            for labels in (run.strong_branch, run.weak_branch)
            if labels
        ]
        return LabelledCrops(sets, material, task)

    def blank(self, task: RunTask, num_classes: int) -> Batch:
        """Return inputs and labels without contents."""
        batch, crop = task.training.batch, task.training.crop
        return torch.empty(batch, 3, crop, crop), torch.empty(batch, crop, crop, dtype=torch.int64)

    def losses(self, network: StrongWeakNetwork, batch: Batch, task: RunTask) -> dict[str, Tensor]:
        """Return the terms of L_total by name; their sum is minimised.

        batch: inputs (B, 3, H, W) and labels (B, H, W). Its first images (`task.num_strong`) come from the strong branch's
        set, the others from the weak branch's. L_data is the pixel cross-entropy of each branch on its own images;
        equation 2 adds L_kl.
        """
        (inputs, labels), run, num_strong = batch, task.run, task.num_strong
        features = network.features(inputs)
        height, width = labels.shape[-2:]

        def logits(features: Tensor, branch: str) -> Tensor:
            return network.logits(features, branch)[..., :height, :width]  # the stride rounds up

        strong_labels, weak_labels = labels[:num_strong], labels[num_strong:]
        if not run.dual:
            return {"strong": cross_entropy(logits(features, "strong"), labels)}
        if not run.kl:
            strong, weak = logits(features[:num_strong], "strong"), logits(features[num_strong:], "weak")
            return {"strong": cross_entropy(strong, strong_labels), "weak": cross_entropy(weak, weak_labels)}
        strong, weak = logits(features, "strong"), logits(features, "weak")  # the constraint sees all images
        return {
            "strong": cross_entropy(strong[:num_strong], strong_labels),
            "weak": cross_entropy(weak[num_strong:], weak_labels),
            "kl": task.training.kl_weight * kl_constraint(strong, weak, labels, task.training.kl_mean),
        }

    def settle(
        self, network: StrongWeakNetwork, batches: "LabelledCrops", task: RunTask, model: Model, progress: Progress
    ) -> None:
        """Leave the network as the last step left it."""

    @torch.no_grad()
    def view(
        self, model: Model, inputs: Tensor, branches: Iterable[str], scale: float, mirrored: bool
    ) -> dict[str, Tensor]:
        """Return branches' class probabilities (B, C, H, W) float32 of whole images as seen once: scaled, perhaps mirrored."""
        network, size = model.network, inputs.shape[-2:]
        scaled = inputs if scale == 1 else _scaled(inputs, scale)
        height, width = scaled.shape[-2:]
        features, found = network.features(scaled.flip(-1) if mirrored else scaled), {}
        for branch in branches:
            logits = network.logits(features, branch)
            logits = logits[..., :height, :width]  # the stride rounds up: what lies beyond the image goes
            logits = logits.flip(-1) if mirrored else logits
            found[branch] = resize(logits, size).softmax(1)
        return found

    def predict(self, model: Model, inputs: Tensor, branch: str, scales: tuple[float, ...], flip: bool) -> Tensor:
        """Return class probabilities (B, C, H, W) float32 of whole images, averaged over scales and mirrors."""
        return averaged(lambda *view: self.view(model, inputs, (branch,), *view)[branch], scales, flip)


def _scaled(inputs: Tensor, scale: float) -> Tensor:
    """Scale whole images (B, 3, H, W); no side of them vanishes."""
    height, width = (math.floor(side * scale) for side in inputs.shape[-2:])
    if min(height, width) < 1:
        return resize(inputs, (max(1, height), max(1, width)))
    return F.interpolate(inputs, scale_factor=scale, mode="bilinear", align_corners=False)


# ---------------------------------------------------------------- batches


def label_set(labels: str, strong: np.ndarray, num_images: int, oversample: int) -> LabelSet:
    """List what a branch learns from (see specs/methods.py), strong images `oversample` times where the set is mixed."""
    everything = np.arange(num_images)
    if labels == "strong":
        return LabelSet(strong, np.zeros(len(strong), bool))
    if labels == "all-strong":
        return LabelSet(everything, np.zeros(num_images, bool))
    if labels == "weak":
        return LabelSet(everything, np.ones(num_images, bool))
    others = np.setdiff1d(everything, strong)
    index = np.concatenate([np.tile(strong, oversample), others])
    return LabelSet(index, np.arange(len(index)) >= len(strong) * oversample)


@dataclass(frozen=True)
class LabelledCrops:
    """Crops of images with their masks, the strong branch's before the weak branch's."""

    sets: list[LabelSet]  # the strong branch's, then the weak branch's, if there is one
    material: Material
    task: RunTask

    def draw(self, step: int) -> Drawn:
        """Draw a batch on the host: which rows, where they are cut, and what of them is not on the device."""
        training, seed, store = self.task.training, self.task.seed, self.material.store
        counts = self.task.num_strong, training.batch - self.task.num_strong
        rows, from_proxy = [], []
        for branch, (labels, count) in enumerate(zip(self.sets, counts, strict=False)):
            at = sample_indices(len(labels.index), seed, branch, step, count)
            rows.append(labels.index[at])
            from_proxy.append(labels.is_proxy[at])
        index = np.concatenate(rows)
        sizes = store.sizes[torch.from_numpy(index)]
        crops = sample_crops(seed, step, sizes, training.crop, training.scale_min, training.scale_max)
        drawn = {"rows": torch.from_numpy(index), **drawn_crops(crops, sizes)}
        drawn |= drawn_rows("images", store.images, index) | drawn_rows("masks", store.masks, index)
        if self.material.proxies is not None:
            drawn["is_proxy"] = torch.from_numpy(np.concatenate(from_proxy))
            drawn |= drawn_rows("proxies", self.material.proxies, index)
        return drawn

    def cut(self, drawn: Drawn) -> Batch:
        """Return inputs (B, 3, crop, crop) and labels (B, crop, crop) of what was drawn, on the device."""
        material, crop = self.material, self.task.training.crop
        images, masks = (taken_rows(name, getattr(material.store, name), drawn) for name in ("images", "masks"))
        if material.proxies is not None:
            proxies = taken_rows("proxies", material.proxies, drawn)
            masks = torch.where(drawn["is_proxy"][:, None, None], proxies, masks)
        return crop_drawn(images, masks, drawn, crop, material.model.preprocessing)
