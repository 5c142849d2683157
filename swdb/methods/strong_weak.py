"""The paper's method: one backbone and n shared layers, a strong and a weak branch, the losses, the prediction.

A row of a table is this network and these losses with other values; there is no other place where rows differ.

in: pictures (B, 3, H, W) float, labels (B, H, W) int64 of 0..C-1 and 255 -> out: losses by name; predictions (H, W) uint8
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swdb.nn.losses import cross_entropy, kl_constraint, to_size
from swdb.nn.networks import BACKBONES, enlarge, head, neck
from swdb.specs.presets import Network, Training
from swdb.specs.tables import Recipe


class StrongWeakNetwork(nn.Module):
    """Backbone -> neck of n shared layers -> a head for each branch.

    A single-branch row is the same network without the weak head.
    """

    def __init__(self, spec: Network, num_classes: int, shared_layers: int, dual: bool):
        super().__init__()
        self.backbone = BACKBONES[spec.backbone]()
        self.neck = neck(self.backbone.channels, spec.neck_channels, shared_layers, spec.neck_spread)
        width = spec.neck_channels if shared_layers else self.backbone.channels
        # The strong head comes first: with one seed, rows of the same n begin with the same neck and strong head.
        self.heads = nn.ModuleDict(
            {
                branch: head(width, spec.head_channels, spec.head_dilation, spec.dropout, num_classes)
                for branch in (("strong", "weak") if dual else ("strong",))
            }
        )

    def features(self, pictures: Tensor) -> Tensor:
        """Return what the branches share, (B, D, h, w)."""
        return self.neck(self.backbone(pictures))

    def logits(self, features: Tensor, branch: str) -> Tensor:
        """Return a branch's logits (B, C, h * stride, w * stride) float32, bilinearly enlarged by the stride."""
        return enlarge(self.heads[branch](features), self.backbone)

    def groups(self, training: Training) -> list[dict]:
        """Return the optimizer's groups: small steps for the pre-trained backbone, larger ones for what is new."""
        new = [*self.neck.parameters(), *self.heads.parameters()]
        return [
            {"params": list(self.backbone.parameters()), "lr": training.lr_backbone},
            {"params": new, "lr": training.lr_new},
        ]


def losses(
    network: StrongWeakNetwork, pictures: Tensor, labels: Tensor, num_strong: int, run: Recipe, training: Training
) -> dict[str, Tensor]:
    """Return the terms of L_total by name; their sum is minimised.

    The first `num_strong` of the batch come from the strong branch's set, the others from the weak branch's.
    L_data is the pixel cross-entropy of each branch on its own images; equation 2 adds L_kl.
    """
    features = network.features(pictures)
    height, width = labels.shape[-2:]

    def logits(features: Tensor, branch: str) -> Tensor:
        return network.logits(features, branch)[..., :height, :width]  # the stride rounds up

    if not run.dual:
        return {"strong": cross_entropy(logits(features, "strong"), labels)}
    if not run.kl:
        strong, weak = logits(features[:num_strong], "strong"), logits(features[num_strong:], "weak")
        return {"strong": cross_entropy(strong, labels[:num_strong]), "weak": cross_entropy(weak, labels[num_strong:])}
    strong, weak = logits(features, "strong"), logits(features, "weak")  # the constraint sees all images
    return {
        "strong": cross_entropy(strong[:num_strong], labels[:num_strong]),
        "weak": cross_entropy(weak[num_strong:], labels[num_strong:]),
        "kl": training.kl_weight * kl_constraint(strong, weak, labels),
    }


@torch.no_grad()
def probabilities(
    network: StrongWeakNetwork, pictures: Tensor, branch: str, scales: tuple[float, ...], flip: bool
) -> Tensor:
    """Return class probabilities (B, C, H, W) float32 of whole pictures, averaged over scales and mirrors."""
    size = pictures.shape[-2:]
    total = torch.zeros((), device=pictures.device)
    for scale in scales:
        scaled = pictures
        if scale != 1:
            scaled = F.interpolate(pictures, scale_factor=scale, mode="bilinear", align_corners=False)
        height, width = scaled.shape[-2:]
        for mirrored in (False, True) if flip else (False,):
            logits = network.logits(network.features(scaled.flip(-1) if mirrored else scaled), branch)
            logits = logits[..., :height, :width]  # the stride rounds up: what lies beyond the picture goes
            logits = logits.flip(-1) if mirrored else logits
            total = total + to_size(logits, size).softmax(1)
    return total / (len(scales) * (2 if flip else 1))
