"""Slow, obvious ways of computing what swdb computes fast, to compare with."""

import numpy as np
import torch

from swdb.cues import GRID


def enlarged(cells, backbone):
    """Enlarge (B, C, h, w) to pixels by numpy's linear interpolation between the centres of cells, axis by axis."""
    values = cells.detach().double().numpy()
    for axis in (2, 3):
        size = values.shape[axis]
        centres = backbone.first_centre + backbone.stride * np.arange(size)
        pixels = np.arange(backbone.stride * size)
        values = np.apply_along_axis(lambda line, p=pixels, c=centres: np.interp(p, c, line), axis, values)
    return torch.from_numpy(values).float()


def enlarge_cues(cue_map: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarge a cue map (41, 41) to (height, width) uint8: every pixel takes the nearest cell.

    Cell i lies at i/40 of the extent from the first pixel's centre to the last one's. Of two cells equally near the
    even one wins, so that a mirrored picture has mirrored cues.
    """
    rows, columns = (np.rint(np.arange(size) * (GRID - 1) / max(size - 1, 1)).astype(int) for size in (height, width))
    return cue_map[rows[:, None], columns]
