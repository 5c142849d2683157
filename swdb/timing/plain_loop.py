"""A training loop as it is usually written, to measure ours against: the same network, losses, batch and crop, and the rest
as in a hundred repositories.

Files are decoded by Pillow in the worker processes of a DataLoader, scaled, cropped and mirrored one by one; everything is
fp32 and NCHW; every step reads its loss. It learns the same, and nothing in it is slow on purpose.

in: a prepared data set, a run -> out: seconds a step
"""

import random
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from swdb.data.dataset import DataSet
from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT
from swdb.data.voc import IGNORE
from swdb.methods.method import METHODS
from swdb.specs.preprocessing import IMAGENET_RGB
from swdb.specs.presets import Preset, Training
from swdb.specs.runs import RunSpec
from swdb.specs.tasks import run_task

WARM = 2  # steps that are not counted


class Pairs(Dataset):
    """Images with strong labels, each beside one of all images with any: what the two branches learn from."""

    def __init__(self, strong: list[tuple[Path, Path]], weak: list[tuple[Path, Path]], length: int, training: Training):
        self.strong, self.weak, self.length, self.training = strong, weak, length, training
        self.mean = np.array(IMAGENET_RGB.mean, np.float32)
        self.std = np.array(IMAGENET_RGB.std, np.float32)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        return (*self._load(random.choice(self.strong)), *self._load(random.choice(self.weak)))

    def _load(self, paths: tuple[Path, Path]) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = Image.open(paths[0]).convert("RGB"), Image.open(paths[1])
        scale = random.uniform(self.training.scale_min, self.training.scale_max)
        size = [max(1, round(side * scale)) for side in image.size]
        image, mask = image.resize(size, Image.Resampling.BILINEAR), mask.resize(size, Image.Resampling.NEAREST)
        if random.random() < 0.5:
            image, mask = ImageOps.mirror(image), ImageOps.mirror(mask)
        crop = self.training.crop
        pixels, labels = np.asarray(image, np.float32), np.asarray(mask)
        pixels = (pixels - self.mean) / self.std
        below, beside = (max(0, crop - side) for side in labels.shape)
        pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)))
        labels = np.pad(labels, ((0, below), (0, beside)), constant_values=IGNORE)
        top, left = (random.randint(0, side - crop) for side in labels.shape)
        pixels, labels = (array[top : top + crop, left : left + crop] for array in (pixels, labels))
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), torch.from_numpy(labels.astype(np.int64))


def plain_seconds(
    preset: Preset, run: RunSpec, dataset: DataSet, device: torch.device, workers: int, steps: int, limit: float
) -> tuple[float, int]:
    """Return the median seconds of a step of a dual run, and of how many; ends after `steps`, or `limit` seconds."""
    training, method, task = preset.training, METHODS[run.method], run_task(preset, run)
    weak, strong = (
        [(dataset.image_path(image_id), dataset.mask_path(image_id, ALL_SPLIT)) for image_id in dataset.ids(split)]
        for split in (ALL_SPLIT, STRONG_SPLIT)
    )
    pairs = Pairs(strong, weak, (steps + WARM) * task.num_strong, training)
    loader = DataLoader(
        pairs, batch_size=task.num_strong, shuffle=True, num_workers=workers, pin_memory=device.type == "cuda"
    )
    network = method.network(task, dataset.num_classes).to(device).train()
    optimizer = torch.optim.Adam(method.groups(network, task), weight_decay=training.weight_decay)
    ends, began = [], time.perf_counter()
    for strong_images, strong_labels, weak_images, weak_labels in loader:
        images = torch.cat([strong_images, weak_images]).to(device)
        labels = torch.cat([strong_labels, weak_labels]).to(device)
        loss = sum(method.losses(network, (images, labels), task).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        ends.append(time.perf_counter())
        if ends[-1] - began > limit:
            break
    warm = min(WARM, len(ends) - 1)
    times = [after - before for before, after in zip([began, *ends], ends, strict=False)][warm:]
    return statistics.median(times), len(times)
