"""The classification network on image-level labels; `cams.py` asks it where what it found is.

in: pictures (B, 3, H, W) float and tags (B, C-1) -> out: maps of scores (B, C-1, h, w)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swdb.data.store import Store, gather
from swdb.nn.compute import Machine
from swdb.nn.networks import Backbone, Preprocessing
from swdb.nn.sampling import cut, place, positions
from swdb.nn.trainer import Schedule, optimise, seed_initial
from swdb.specs.presets import Preset


class Classifier(nn.Module):
    """A backbone and one 1x1 layer of class scores; their mean over the picture is the logit of a tag.

    As every score is linear in the features of its cell, the map of scores is the class activation map
    (Zhou et al., CVPR 2016) without further ado.
    """

    def __init__(self, backbone: Backbone, num_tags: int):
        super().__init__()
        self.backbone = backbone
        self.scores = nn.Conv2d(backbone.channels, num_tags, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return activation maps (B, C-1, h, w)."""
        return self.scores(self.backbone(pictures))


def train_classifier(
    folder: Path,
    identity: str,
    backbone: Backbone,
    store: Store,
    tags: np.ndarray,
    preset: Preset,
    steps: int,
    look: Preprocessing,
    machine: Machine,
    progress: Callable[[int, int], None],
) -> tuple[Classifier, dict[str, Any]]:
    """Fit the tags (N, C-1) of a store's pictures by sigmoid cross-entropy; returns the network and the loop's record."""
    training, proxy = preset.training, preset.proxy
    seed_initial(0, branch=1)
    classifier = machine.layout(Classifier(backbone, tags.shape[1]))
    store = store.to(machine.device)
    targets = torch.from_numpy(tags.astype(np.float32))

    def losses_at(step: int) -> dict[str, Tensor]:
        index = positions(len(tags), 0, 0, step, proxy.batch)
        images = gather(store.images, index, machine.device)
        sizes = store.sizes[torch.from_numpy(index)]
        at = place(0, step, sizes, training.crop, training.scale_min, training.scale_max)
        pictures, _ = cut(images, None, sizes, at, training.crop, look)
        with machine.autocast():
            maps = classifier(machine.pictures(pictures))
        wanted = targets[torch.from_numpy(index)].to(machine.device)
        return {"tags": F.binary_cross_entropy_with_logits(maps.float().mean((2, 3)), wanted)}

    def ids_at(step: int) -> list[str]:
        return [store.ids[row] for row in positions(len(tags), 0, 0, step, proxy.batch)] if store.ids else []

    groups = [{"params": list(classifier.parameters()), "lr": proxy.lr}]
    schedule = Schedule(steps, 0, proxy.decay_at, proxy.decay_factor, clip_norm=training.clip_norm)
    record = optimise(folder, identity, classifier, groups, schedule, losses_at, 0, progress, ids_at=ids_at)
    return classifier.eval(), record
