"""What a training has in hand: the data set, its decoded images, whose true masks it may see, proxy masks, the network.

in: a run's artefact, its data set and store opened -> out: `Material`, on the device
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.progress import Progress
from swdb.data.dataset import DataSet
from swdb.data.facts import STRONG_SPLIT
from swdb.data.resident import resident
from swdb.data.store import Store, proxy_masks
from swdb.nn.model import Model
from swdb.nn.sampling import strong_subset
from swdb.nn.step import Drawn
from swdb.specs.runs import RunSpec
from swdb.specs.tasks import RunTask

Batch = tuple[Tensor, ...]  # inputs (B, 3, H, W), and after them what the losses compare with


class Batches(Protocol):
    """What a training sees: each batch a function of its step, drawn on the host and cut on the device."""

    def draw(self, step: int) -> Drawn:
        """Draw a batch on the host: which images, where they are cut, and what of them is not on the device."""

    def cut(self, drawn: Drawn) -> Batch:
        """Take on the device what was drawn, without asking the host."""


@dataclass(frozen=True)
class Material:
    """What the batches of a training are taken from."""

    dataset: DataSet
    store: Store  # all training images, where the device can hold them
    strong: np.ndarray  # the store's rows whose true masks the run may see as strong ones, sorted
    proxies: np.ndarray | Tensor | None
    model: Model  # for its preprocessing and device

    @property
    def strong_ids(self) -> list[str]:
        """The images whose true masks the run may see as strong ones."""
        return [self.store.ids[row] for row in self.strong]


def gather(artefact: Artefact, dataset: DataSet, store: Store, model: Model, progress: Progress) -> Material:
    """Put together what a run is trained on."""
    task: RunTask = artefact.task
    device, proxies = model.compute.device, None
    if task.run.needs_proxies:
        (proxies,) = resident((proxy_masks(artefact.input("proxies"), dataset, store, progress),), device)
    return Material(dataset, store.to(device), strong_rows(dataset, store, task.run, task.seed), proxies, model)


def strong_rows(dataset: DataSet, store: Store, run: RunSpec, seed: int) -> np.ndarray:
    """Return the store's rows whose true masks the run may see as strong ones, sorted: the same for runs of all methods."""
    row_of = {image_id: row for row, image_id in enumerate(store.ids)}
    ids = dataset.ids(STRONG_SPLIT)
    rows = np.array([row_of[image_id] for image_id in ids])
    if run.strong_per_class is None:
        return np.sort(rows)
    subset = strong_subset(dataset.tags(ids), run.strong_per_class, seed, run.few_strong)
    return np.sort(rows[subset])
