"""Slow, obvious ways of computing what swdb computes fast, to compare with."""

import numpy as np
import torch

from swdb.data.voc import IGNORE
from swdb.proxy.grid import GRID


def upsample_by_hand(features, backbone):
    """Upsample (B, C, h, w) to pixels by numpy's linear interpolation between the centres of features, axis by axis."""
    values = features.detach().double().numpy()
    for axis in (2, 3):
        size = values.shape[axis]
        centres = backbone.first_centre + backbone.stride * np.arange(size)
        pixels = np.arange(backbone.stride * size)
        values = np.apply_along_axis(lambda line, p=pixels, c=centres: np.interp(p, c, line), axis, values)
    return torch.from_numpy(values).float()


def upsample_cues(cue_map: np.ndarray, height: int, width: int) -> np.ndarray:
    """Upsample a cue map (41, 41) to (height, width) uint8: every pixel takes the nearest grid point.

    Point i lies at i/40 of the extent from the first pixel's centre to the last one's. Of two points equally near the
    even one wins, so that a mirrored image has mirrored cues.
    """
    rows, columns = (np.rint(np.arange(size) * (GRID - 1) / max(size - 1, 1)).astype(int) for size in (height, width))
    return cue_map[rows[:, None], columns]


def softmax(logits):
    """Softmax over axis 1 in float64."""
    values = logits.detach().numpy().astype(np.float64)
    values = np.exp(values - values.max(1, keepdims=True))
    return values / values.sum(1, keepdims=True)


def cross_entropy_by_hand(logits, labels):
    """Mean of -log p(label) over the pixels that are not void, one pixel after the other."""
    p, labels = softmax(logits), labels.numpy()
    terms = [-np.log(p[b, labels[b, y, x], y, x]) for b, y, x in zip(*np.nonzero(labels != IGNORE), strict=True)]
    return float(np.mean(terms)) if terms else 0.0


def kl_by_hand(strong, weak, labels):
    """Equation 1 as it is printed: -1/|s| sum_{u,c} s^s log(s^w / s^s), over the pixels that are not void."""
    s, w = softmax(strong), softmax(weak)
    per_pixel = -(s * np.log(w / s)).sum(1)
    return float(per_pixel[labels.numpy() != IGNORE].mean())
