"""Losses over pixels, and maps brought to the size they are compared at.

in: logits (B, C, H, W) float, labels (B, H, W) int64 of 0..C-1 and 255 -> out: scalars
"""

import torch.nn.functional as F
from torch import Tensor

from swdb.data.voc import IGNORE


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the pixels that are not void; 0 where all are. logits (B, C, H, W), labels (B, H, W)."""
    if logits.is_cuda:  # whose own sum adds in any order
        total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none").sum()
    else:
        total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def kl_constraint(strong: Tensor, weak: Tensor, labels: Tensor, mean: str = "pixels") -> Tensor:
    """Equation 1: -1/|s| sum_{u,c} s^s log(s^w / s^s), the mean over pixels u of KL(strong || weak).

    mean: what |s| counts, `pixels` or `pixels-and-classes`. Gradients reach both branches. Pixels outside the image (and void
    ones) do not count: nothing says what is there.
    """
    log_strong, log_weak = F.log_softmax(strong, 1), F.log_softmax(weak, 1)
    per_pixel = (log_strong.exp() * (log_strong - log_weak)).sum(1)  # sum over classes c
    valid = labels != IGNORE
    average = (per_pixel * valid).sum() / valid.sum().clamp(min=1)
    return average / strong.shape[1] if mean == "pixels-and-classes" else average


def resize(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bring maps (B, C, H, W) to another height and width bilinearly; those that have it stay as they are."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
