"""What DecoupledNet's decoder learns from: windows around the classes that are asked for, our combinatorial cropping.

For every strong image and every set of its classes, a window encloses the pixels of that set; the mask says of each pixel
whether its class is in the set. Hong et al. take windows from region proposals, whose lists are not to be had, so this is
INFERRED: each side of the set's box moves out by a random share of the free space. The window is warped to a square, as
`select_seg_binary_layer.cpp` does, and a crop of it is taken and perhaps mirrored. All of it is drawn by (seed, step): nothing
is stored.

in: strong images with masks, a step -> out: inputs (B, 3, S, S), masks (B, S, S) of 0, 1, 255, asked (B, C-1) of 0 and 1
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from swdb.core.errors import BadInput
from swdb.data.facts import STRONG_SPLIT
from swdb.data.store import drawn_rows, taken_rows
from swdb.data.voc import IGNORE
from swdb.methods.material import Batch, Material
from swdb.nn.sampling import WINDOWS, Crops, crop_drawn, drawn_crops, rng_for, sample_indices
from swdb.nn.step import Drawn
from swdb.specs.decoupled import Decoupled

TRAINING, STATISTICS = 0, 1  # streams of draws
SHOWN = 1  # pixels of the box that a crop shows at least


@dataclass(frozen=True)
class Questions:
    """Every set of classes of every strong image: rows of the store (Q,), asked (Q, C-1) bool, boxes (Q, 4) y0 x0 y1 x1."""

    rows: np.ndarray
    asked: np.ndarray
    boxes: np.ndarray  # the least ones that hold all pixels of the set, ends excluded


def boxes_of(mask: np.ndarray, num_classes: int) -> dict[int, tuple[np.ndarray, int]]:
    """Return the box (y0, x0, y1, x1) of each class in a mask (H, W), and how many pixels it has; not of background."""
    found = {}
    for label in np.unique(mask):
        if 0 < label < num_classes:
            ys, xs = np.nonzero(mask == label)
            found[int(label)] = np.array([ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]), len(ys)
    return found


def sets_of(labels: list[int], subsets: str) -> list[tuple[int, ...]]:
    """List the sets of classes that an image is asked for: every one but the empty, or each class alone."""
    sizes = range(1, 1 + (len(labels) if subsets == "all" else min(1, len(labels))))
    return [one for size in sizes for one in combinations(labels, size)]


def questions_of(material: Material, settings: Decoupled) -> Questions:
    """List what can be asked of the strong images; raises BadInput where a class is in none of them.

    Of an image with more than `most_classes` classes those with the most pixels count.
    """
    num_classes, store = material.dataset.num_classes, material.store
    rows, asked, boxes = [], [], []
    for row, (height, width) in zip(material.strong, store.sizes[material.strong].tolist(), strict=True):
        mask = store.masks[row] if isinstance(store.masks, np.ndarray) else store.masks[row].cpu().numpy()
        found = boxes_of(mask[:height, :width], num_classes)
        kept = sorted(sorted(found, key=lambda label: (-found[label][1], label))[: settings.most_classes])
        for labels in sets_of(kept, settings.subsets):
            rows.append(row)
            asked.append(np.isin(np.arange(1, num_classes), labels))
            together = np.stack([found[label][0] for label in labels])
            boxes.append([*together[:, :2].min(0), *together[:, 2:].max(0)])
    for column, name in enumerate(material.dataset.class_names[1:]):
        if not any(one[column] for one in asked):
            found = f"none of the {len(material.strong)} strong images of the draw shows the class {name!r}"
            raise BadInput(material.dataset.list_path(STRONG_SPLIT), found, "a strong image of every class")
    return Questions(np.array(rows), np.stack(asked), np.array(boxes, float))


@dataclass(frozen=True)
class Windows:
    """Windows of the strong images with what is asked for in each; a batch is a function of its step."""

    questions: Questions
    material: Material
    settings: Decoupled
    seed: int

    def draw(self, step: int) -> Drawn:
        """Draw the batch of a training step on the host."""
        return self._drawn(step, self.settings.batch, TRAINING)

    def draw_for_statistics(self, number: int) -> Drawn:
        """Draw one of the batches over which batch norms take their statistics: crops of the middle, mirrored or not."""
        return self._drawn(number, self.settings.norm_batch, STATISTICS)

    def _drawn(self, step: int, batch: int, stream: int) -> Drawn:
        size, window, store = self.settings.size, self.settings.window, self.material.store
        at = sample_indices(len(self.questions.rows), self.seed, stream, step, batch)
        rows, boxes = self.questions.rows[at], self.questions.boxes[at]
        sizes = store.sizes[torch.from_numpy(rows)]
        draws = rng_for(self.seed, WINDOWS, step, stream).random((batch, 7))
        windows = moved_out(boxes, sizes.numpy(), self.settings.room * draws[:, :4])
        places = draws[:, 4:6] if stream == TRAINING else np.full((batch, 2), 0.5)
        crops = crops_of(windows, boxes, sizes.numpy(), places, draws[:, 6] < 0.5, window, size)
        drawn = {"rows": torch.from_numpy(rows), **drawn_crops(crops, sizes)}
        drawn["asked"] = torch.from_numpy(self.questions.asked[at].astype(np.float32))
        return drawn | drawn_rows("images", store.images, rows) | drawn_rows("masks", store.masks, rows)

    def cut(self, drawn: Drawn) -> Batch:
        """Return inputs (B, 3, S, S), masks (B, S, S) int64 of what was asked for, asked (B, C-1), on the device."""
        store = self.material.store
        images, masks = (taken_rows(name, getattr(store, name), drawn) for name in ("images", "masks"))
        inputs, labels = crop_drawn(images, masks, drawn, self.settings.size, self.material.model.preprocessing)
        return inputs, binary(labels, drawn["asked"]), drawn["asked"]


def moved_out(boxes: np.ndarray, sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Move each side of boxes (B, 4) outwards by a share (B, 4) of the free space between it and the edge of its image."""
    ends = np.concatenate([np.zeros_like(sizes), sizes], 1)
    return boxes + shares * (ends - boxes)


def crops_of(
    windows: np.ndarray,
    boxes: np.ndarray,
    sizes: np.ndarray,
    places: np.ndarray,
    flip: np.ndarray,
    window: int,
    size: int,
) -> Crops:
    """Say where crops of `size` lie, at `places` (B, 2) of 0..1, in windows (B, 4) that are warped to squares of `window`.

    A crop that would show nothing of its box is moved until it does, for there would be nothing to ask for.
    """
    scale = window / (windows[:, 2:] - windows[:, :2])
    width = sizes[:, 1]
    start, box = windows[:, :2].copy(), boxes.copy()
    start[:, 1] = np.where(flip, width - windows[:, 3], windows[:, 1])  # what is mirrored is mirrored before it is cut
    box[:, 1], box[:, 3] = (
        np.where(flip, width - boxes[:, 3], boxes[:, 1]),
        np.where(flip, width - boxes[:, 1], boxes[:, 3]),
    )
    first, last = (box[:, :2] - start) * scale, (box[:, 2:] - start) * scale
    least, most = np.minimum(first + SHOWN, last) - size, np.maximum(last - SHOWN, first)
    offset = np.clip(places * (window - size), np.clip(least, 0, window - size), np.clip(most, 0, window - size))
    return Crops(
        torch.from_numpy(scale).float(), torch.from_numpy(offset + start * scale).float(), torch.from_numpy(flip)
    )


def binary(labels: Tensor, asked: Tensor) -> Tensor:
    """Turn labels (B, H, W) int64 into 1 where the class is asked for (B, C-1), 255 where void, 0 everywhere else."""
    table = torch.zeros(len(asked), IGNORE + 1, dtype=torch.int64, device=labels.device)
    table[:, 1 : 1 + asked.shape[1]] = asked.long()
    table[:, IGNORE] = IGNORE
    return table.gather(1, labels.flatten(1)).view_as(labels)
