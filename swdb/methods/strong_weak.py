"""The paper's method: one backbone and n shared layers, a strong and a weak branch, the losses, the prediction.

A row of a table is this network and these losses with other values; there is no other place where rows differ.

in: inputs (B, 3, H, W) float, labels (B, H, W) int64 of 0..C-1 and 255 -> out: losses by name; probabilities (B, C, H, W)
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swdb.nn.losses import cross_entropy, kl_constraint, resize
from swdb.nn.networks import BACKBONES, head, neck, upsample
from swdb.specs.presets import Network, Training
from swdb.specs.tables import RunSpec


class StrongWeakNetwork(nn.Module):
    """Backbone -> neck of n shared layers -> a head for each branch.

    A single-branch row is the same network without the weak head.
    """

    def __init__(self, settings: Network, num_classes: int, shared_layers: int, dual: bool):
        super().__init__()
        self.backbone = BACKBONES[settings.backbone]()
        self.neck = neck(self.backbone.channels, settings.neck_channels, shared_layers, settings.neck_init_scale)
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

    def network(self, settings: Network, num_classes: int, run: RunSpec) -> StrongWeakNetwork:
        """Build a run's network, its values drawn from torch's generator."""
        return StrongWeakNetwork(settings, num_classes, run.shared_layers, run.dual)

    def groups(self, network: StrongWeakNetwork, training: Training) -> list[dict]:
        """Return the optimizer's groups: small steps for the pre-trained backbone, larger ones for what is new."""
        new = [*network.neck.parameters(), *network.heads.parameters()]
        return [
            {"params": list(network.backbone.parameters()), "lr": training.lr_backbone},
            {"params": new, "lr": training.lr_new},
        ]

    def losses(
        self,
        network: StrongWeakNetwork,
        inputs: Tensor,
        labels: Tensor,
        num_strong: int,
        run: RunSpec,
        training: Training,
    ) -> dict[str, Tensor]:
        """Return the terms of L_total by name; their sum is minimised.

        The first `num_strong` of the batch come from the strong branch's set, the others from the weak branch's.
        L_data is the pixel cross-entropy of each branch on its own images; equation 2 adds L_kl.
        """
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
            "kl": training.kl_weight * kl_constraint(strong, weak, labels),
        }

    @torch.no_grad()
    def view(
        self, network: StrongWeakNetwork, inputs: Tensor, branches: Iterable[str], scale: float, mirrored: bool
    ) -> dict[str, Tensor]:
        """Return branches' class probabilities (B, C, H, W) float32 of whole images as seen once: scaled, perhaps mirrored."""
        size = inputs.shape[-2:]
        scaled = inputs if scale == 1 else _scaled(inputs, scale)
        height, width = scaled.shape[-2:]
        features, found = network.features(scaled.flip(-1) if mirrored else scaled), {}
        for branch in branches:
            logits = network.logits(features, branch)
            logits = logits[..., :height, :width]  # the stride rounds up: what lies beyond the image goes
            logits = logits.flip(-1) if mirrored else logits
            found[branch] = resize(logits, size).softmax(1)
        return found

    def predict(
        self, network: StrongWeakNetwork, inputs: Tensor, branch: str, scales: tuple[float, ...], flip: bool
    ) -> Tensor:
        """Return class probabilities (B, C, H, W) float32 of whole images, averaged over scales and mirrors."""
        total = torch.zeros((), device=inputs.device)
        for scale in scales:
            for mirrored in (False, True) if flip else (False,):
                total = total + self.view(network, inputs, (branch,), scale, mirrored)[branch]
        return total / (len(scales) * (2 if flip else 1))


def _scaled(inputs: Tensor, scale: float) -> Tensor:
    """Scale whole images (B, 3, H, W); no side of them vanishes."""
    height, width = (math.floor(side * scale) for side in inputs.shape[-2:])
    if min(height, width) < 1:
        return resize(inputs, (max(1, height), max(1, width)))
    return F.interpolate(inputs, scale_factor=scale, mode="bilinear", align_corners=False)
