"""Pictures for people: image, ground truth, proxy and both branches side by side.

in: finished evaluations -> out: one PNG grid
"""

from pathlib import Path

import cv2
import numpy as np

from swdb import voc
from swdb.dataset import DataSet
from swdb.files import write_atomic

TILE = 112  # pixels
GAP = 4
TITLE = 22
INK = (40, 40, 40)


def grid(columns: dict[str, list[np.ndarray]]) -> np.ndarray:
    """Lay columns of pictures (H, W, 3) uint8 RGB out under their titles; returns one picture."""
    rows = len(next(iter(columns.values())))
    height = TITLE + rows * (TILE + GAP)
    sheet = np.full((height, len(columns) * (TILE + GAP) - GAP, 3), 255, np.uint8)
    for k, (title, pictures) in enumerate(columns.items()):
        left = k * (TILE + GAP)
        cv2.putText(sheet, title, (left + 2, TITLE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
        for row, picture in enumerate(pictures):
            top = TITLE + row * (TILE + GAP)
            sheet[top : top + TILE, left : left + TILE] = _tile(picture)
    return sheet


def _tile(picture: np.ndarray) -> np.ndarray:
    """Fit a picture into a square tile, keeping its aspect."""
    height, width = picture.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    top, left = (TILE - small.shape[0]) // 2, (TILE - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    return tile


def figure(path: Path, data: DataSet, ids: list[str], masks: dict[str, dict[str, np.ndarray]]) -> None:
    """Write a grid: image and ground truth of val images, then `masks` by title and image id (H, W) uint8."""
    colours = voc.palette()
    truth = [data.mask(image_id, voc.VAL_SPLIT) for image_id in ids]
    columns = {
        "image": [data.image(image_id) for image_id in ids],
        "ground truth": [colours[mask] for mask in truth],
        **{title: [colours[by_id[image_id]] for image_id in ids] for title, by_id in masks.items()},
    }
    sheet = cv2.cvtColor(grid(columns), cv2.COLOR_RGB2BGR)
    ok, encoded = cv2.imencode(".png", sheet)
    assert ok
    write_atomic(path, lambda stream: stream.write(encoded.tobytes()))
