"""Figures for people: image, ground truth, proxy and both branches side by side.

in: finished scores, or any images with captions -> out: one sheet
"""

from pathlib import Path

import cv2
import numpy as np

from swdb.core.files import write_atomic
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT

TILE = 112  # pixels
GAP = 4
TITLE = 22
MARGIN = 18  # between the examples of an album
HEADING = 36
ABREAST = 4  # examples of an album in a row
SWATCH = 130  # width of a colour and its name

Example = tuple[str, list[np.ndarray | None]]  # a caption and its images
INK = (40, 40, 40)


def grid(columns: dict[str, list[np.ndarray]]) -> np.ndarray:
    """Lay columns of images (H, W, 3) uint8 RGB out under their titles; returns one sheet."""
    rows = len(next(iter(columns.values())))
    height = TITLE + rows * (TILE + GAP)
    sheet = np.full((height, len(columns) * (TILE + GAP) - GAP, 3), 255, np.uint8)
    for k, (title, images) in enumerate(columns.items()):
        left = k * (TILE + GAP)
        _write(sheet, title, left + 2, TITLE - 7)
        for row, image in enumerate(images):
            top = TITLE + row * (TILE + GAP)
            sheet[top : top + TILE, left : left + TILE] = _tile(image)
    return sheet


def album(blocks: dict[str, list[Example]], legend: dict[str, np.ndarray]) -> np.ndarray:
    """Lay out examples under the titles of their blocks, several in a row, and a legend of colours (3,) uint8 by name.

    An example is a caption and its images (H, W, 3) uint8 RGB, equally many in all; None leaves a tile empty.
    """
    tiles = max(len(images) for examples in blocks.values() for _, images in examples)
    example_width, example_height = tiles * (TILE + GAP) + MARGIN, TITLE + TILE + GAP
    width = min(ABREAST, max(map(len, blocks.values()))) * example_width - MARGIN - GAP
    parts = []
    for title, examples in blocks.items():
        rows = -(-len(examples) // ABREAST)
        block = np.full((HEADING + rows * example_height + MARGIN, width, 3), 255, np.uint8)
        _write(block, title, 2, HEADING - 12, 0.6)
        for k, (caption, images) in enumerate(examples):
            top, left = HEADING + k // ABREAST * example_height, k % ABREAST * example_width
            _write(block, caption, left + 2, top + TITLE - 7)
            for column, image in enumerate(images):
                if image is not None:
                    start = left + column * (TILE + GAP)
                    block[top + TITLE : top + TITLE + TILE, start : start + TILE] = _tile(image)
        parts.append(block)
    return np.concatenate([*parts, _swatches(legend, width)])


def _swatches(legend: dict[str, np.ndarray], width: int) -> np.ndarray:
    """Draw a square of each colour with its name beside it, in as many rows as it takes."""
    abreast = max(1, width // SWATCH)
    sheet = np.full((-(-len(legend) // abreast) * TITLE, width, 3), 255, np.uint8)
    for k, (name, colour) in enumerate(legend.items()):
        top, left = k // abreast * TITLE, k % abreast * SWATCH
        sheet[top + 4 : top + 18, left : left + 14] = colour
        _write(sheet, name, left + 19, top + TITLE - 7)
    return sheet


def _write(sheet: np.ndarray, text: str, left: int, base: int, size: float = 0.42) -> None:
    cv2.putText(sheet, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)


def _tile(image: np.ndarray) -> np.ndarray:
    """Fit an image into a square tile, keeping its aspect."""
    height, width = image.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    top, left = (TILE - small.shape[0]) // 2, (TILE - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    return tile


def figure(path: Path, dataset: DataSet, ids: list[str], masks: dict[str, dict[str, np.ndarray]]) -> None:
    """Write a grid: image and ground truth of val images, then `masks` by title and image id (H, W) uint8."""
    colours = dataset.facts.palette
    truth = [dataset.mask(image_id, VAL_SPLIT) for image_id in ids]
    columns = {
        "image": [dataset.image(image_id) for image_id in ids],
        "ground truth": [colours[mask] for mask in truth],
        **{title: [colours[by_id[image_id]] for image_id in ids] for title, by_id in masks.items()},
    }
    save(path, grid(columns))


def save(path: Path, sheet: np.ndarray) -> None:
    """Write a sheet (H, W, 3) uint8 RGB as PNG or JPEG, as the path's suffix says, atomically."""
    ok, encoded = cv2.imencode(path.suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    assert ok
    write_atomic(path, lambda stream: stream.write(encoded.tobytes()))
