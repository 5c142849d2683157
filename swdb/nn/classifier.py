"""The classification network on image-level labels; `proxy/cams.py` asks it where what it found is.

in: inputs (B, 3, H, W) float and tags (B, C-1) -> out: maps of scores (B, C-1, h, w)
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swdb.data.store import Store, drawn_rows, taken_rows
from swdb.nn.compute import Compute
from swdb.nn.memory import Needs, needs_of
from swdb.nn.model import Model
from swdb.nn.networks import Backbone
from swdb.nn.sampling import crop_drawn, drawn_crops, sample_crops, sample_indices
from swdb.nn.step import Drawn, Objective
from swdb.nn.trainer import Job, Schedule, optimise, seed_initial
from swdb.specs.presets import ClassifierTraining


class Classifier(nn.Module):
    """A backbone and one 1x1 layer of class scores; their mean over the image is the logit of a tag.

    As every score is linear in the features of its place, the map of scores is the class activation map
    (Zhou et al., CVPR 2016) without further ado.
    """

    def __init__(self, backbone: Backbone, num_tags: int):
        super().__init__()
        self.backbone = backbone
        self.scores = nn.Conv2d(backbone.channels, num_tags, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return activation maps (B, C-1, h, w)."""
        return self.scores(self.backbone(inputs))


def new_classifier(backbone: Backbone, num_tags: int, seed: int = 0) -> Classifier:
    """Build a classifier on a backbone, its scores begun as always with a seed."""
    seed_initial(seed, branch=1)
    return Classifier(backbone, num_tags)


def train_classifier(
    job: Job, model: Model, store: Store, tags: np.ndarray, settings: ClassifierTraining
) -> dict[str, Any]:
    """Fit the tags (N, C-1) of a store's images by sigmoid cross-entropy, drawn by the job's seed; returns the loop's record.

    model: a `Classifier`, which is laid out here and is in evaluation mode afterwards.
    """
    compute = model.compute
    classifier = compute.layout(model.network)
    store = store.to(compute.device)
    targets = torch.from_numpy(tags.astype(np.float32))

    def rows_at(step: int) -> np.ndarray:
        return sample_indices(len(tags), job.seed, 0, step, settings.batch)

    def draw(step: int) -> Drawn:
        rows = rows_at(step)
        at = torch.from_numpy(rows)
        crops = sample_crops(job.seed, step, store.sizes[at], settings.crop, settings.scale_min, settings.scale_max)
        drawn = {"rows": at, "wanted": targets[at], **drawn_crops(crops, store.sizes[at])}
        return drawn | drawn_rows("images", store.images, rows)

    def tag_loss(inputs: Tensor, wanted: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(inputs).float().mean((2, 3)), wanted)

    tag_loss = compute.compiled(tag_loss)

    def cut(drawn: Drawn) -> Drawn:
        images = taken_rows("images", store.images, drawn)
        inputs, _ = crop_drawn(images, None, drawn, settings.crop, model.preprocessing)
        return {"inputs": inputs, "wanted": drawn["wanted"]}

    def losses(batch: Drawn) -> dict[str, Tensor]:
        return {"tags": tag_loss(batch["inputs"], batch["wanted"])}

    def ids_at(step: int) -> list[str]:
        return [store.ids[row] for row in rows_at(step)] if store.ids else []

    groups = [{"params": list(classifier.parameters()), "lr": settings.lr}]
    schedule = Schedule(settings.steps, 0, settings.decay_at, settings.decay_factor, clip_norm=settings.clip_norm)
    job = replace(job, ids_at=ids_at)
    record = optimise(job, classifier, groups, schedule, Objective(draw, losses, cut=cut), compute.step)
    classifier.eval()
    return record


def classifier_needs(
    backbone: Callable[[], Backbone], num_tags: int, settings: ClassifierTraining, precision: str
) -> Needs:
    """Count what training a classifier needs on its device."""

    def losses(classifier: nn.Module, compute: Compute) -> dict[str, Tensor]:
        inputs = torch.empty(settings.batch, 3, settings.crop, settings.crop)
        with compute.autocast():
            maps = classifier(compute.inputs(inputs))
        wanted = torch.empty(settings.batch, num_tags)
        return {"tags": F.binary_cross_entropy_with_logits(maps.float().mean((2, 3)), wanted)}

    return needs_of(lambda: Classifier(backbone(), num_tags), losses, precision)
