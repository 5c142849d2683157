"""One run: a row's values and a seed become a trained network.

Opens training images only; the validation split is not read here. The last weights are the ones that count.

in: a run's artefact; data, initial weights, proxies are its inputs -> out: `runs/<id>/{weights.pt, log.jsonl, samples.json}`
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from swdb.core.artefact import Artefact
from swdb.core.files import write_json
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.facts import STRONG_SPLIT
from swdb.data.resident import resident
from swdb.data.store import Store, drawn_rows, proxy_masks, taken_rows
from swdb.methods.method import METHODS
from swdb.nn.checkpoints import load_weights
from swdb.nn.compute import Compute
from swdb.nn.initial_weights import load_initial
from swdb.nn.memory import Needs, needs_of
from swdb.nn.model import Model
from swdb.nn.networks import preprocessing_of, valueless
from swdb.nn.sampling import LabelSet, crop_drawn, drawn_crops, sample_crops, sample_indices, strong_subset
from swdb.nn.step import Drawn, Objective
from swdb.nn.trainer import Job, Schedule, Stops, optimise, seed_initial
from swdb.specs.presets import Training
from swdb.specs.tables import RunSpec
from swdb.specs.tasks import RunTask

NOBODY = Stops()


def train_run(artefact: Artefact, tools: Tools, name: str = "", stops: Stops = NOBODY) -> dict[str, Any]:
    """Train one run to its end, going on from its last checkpoint; returns what its record says.

    name: what it is called where somebody watches; stops: who looks at its network on the way, which changes nothing.
    """
    task: RunTask = artefact.task
    run, training, method = task.run, task.training, METHODS[task.run.method]
    dataset, store = tools.dataset(artefact.input("data")), tools.store(artefact.input("data"), training.longest_side)
    model = build(artefact, dataset.num_classes, tools.compute)
    network = tools.compute.layout(model.network)
    strong = strong_rows(dataset, store, run, task.seed)
    write_json(artefact.folder / "samples.json", {"strong_images": [store.ids[row] for row in strong]})
    sets = [
        label_set(labels, strong, len(store.ids), run.oversample)
        for labels in (run.strong_branch, run.weak_branch)
        if labels
    ]
    proxies = None
    if run.needs_proxies:
        (proxies,) = resident((proxy_masks(artefact.input("proxies"), dataset, store),), tools.compute.device)
    batches = Batches(sets, store.to(tools.compute.device), proxies, training, task.seed, model)

    def losses_of(inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        with tools.compute.autocast():
            return method.losses(network, tools.compute.inputs(inputs), labels, batches.num_strong, run, training)

    losses_of = tools.compute.compiled(losses_of)
    objective = Objective(batches.draw, lambda batch: losses_of(batch["inputs"], batch["labels"]), cut=batches.cut)

    advance = tools.progress(name or artefact.name, artefact.steps, counts=True)
    job = Job(artefact.folder, artefact.id, task.seed, advance, stops=stops)
    groups, schedule = method.groups(network, training), schedule_of(training)
    record = optimise(job, network, groups, schedule, objective, tools.compute.step)
    return {
        "digest": record["weights_sha256"],
        "training": record,
        "preprocessing": asdict(model.preprocessing),
        "machine": tools.compute.describe(),
    }


def run_needs(task: RunTask, num_classes: int, precision: str) -> Needs:
    """Count what training a run needs on its device."""
    method, training = METHODS[task.run.method], task.training
    num_strong = training.batch if not task.run.dual else round(training.batch * training.strong_share)

    def losses(network: nn.Module, compute: Compute) -> dict[str, Tensor]:
        inputs = torch.empty(training.batch, 3, training.crop, training.crop)
        labels = torch.empty(training.batch, training.crop, training.crop, dtype=torch.int64)
        with compute.autocast():
            return method.losses(network, compute.inputs(inputs), labels, num_strong, task.run, training)

    return needs_of(lambda: method.network(task.network, num_classes, task.run), losses, precision)


def schedule_of(training: Training) -> Schedule:
    """Return the one schedule of all rows of a preset."""
    return Schedule(
        training.steps,
        training.warmup,
        training.decay_at,
        training.decay_factor,
        training.weight_decay,
        training.clip_norm,
    )


def build(artefact: Artefact, num_classes: int, compute: Compute) -> Model:
    """Build a run's network with its initial values: the backbone's weights, then those of the run it starts from."""
    task: RunTask = artefact.task
    seed_initial(task.seed)
    network = METHODS[task.run.method].network(task.network, num_classes, task.run)
    preprocessing = load_initial(artefact.input("weights"), network.backbone)
    if (start := artefact.find_input("run")) is not None:
        load_weights(start.folder, start.digest(), network)
    return Model(network, preprocessing, compute)


def load_trained(artefact: Artefact, num_classes: int, compute: Compute) -> Model:
    """Load a finished run's network with its last weights, and the preprocessing that goes with it, to predict."""
    task: RunTask = artefact.task
    with valueless():
        network = METHODS[task.run.method].network(task.network, num_classes, task.run)
    load_weights(artefact.folder, artefact.digest(), network)
    return Model(compute.layout(network).eval(), preprocessing_of(artefact.read_record()), compute)


def strong_rows(dataset: DataSet, store: Store, run: RunSpec, seed: int) -> np.ndarray:
    """Return the store's rows whose true masks the run may see as strong ones, sorted."""
    row_of = {image_id: row for row, image_id in enumerate(store.ids)}
    ids = dataset.ids(STRONG_SPLIT)
    rows = np.array([row_of[image_id] for image_id in ids])
    if run.strong_per_class is None:
        return np.sort(rows)
    subset = strong_subset(dataset.tags(ids), run.strong_per_class, seed)
    return np.sort(rows[subset])


def label_set(labels: str, strong: np.ndarray, num_images: int, oversample: int) -> LabelSet:
    """List what a branch learns from (see specs/methods.py), strong images `oversample` times where the set is mixed."""
    everything = np.arange(num_images)
    if labels == "strong":
        return LabelSet(strong, np.zeros(len(strong), bool))
    if labels == "all-strong":
        return LabelSet(everything, np.zeros(num_images, bool))
    if labels == "weak":
        return LabelSet(everything, np.ones(num_images, bool))
    others = np.setdiff1d(everything, strong)
    index = np.concatenate([np.tile(strong, oversample), others])
    return LabelSet(index, np.arange(len(index)) >= len(strong) * oversample)


@dataclass(frozen=True)
class Batches:
    """The batches of a run: each a function of its step."""

    sets: list[LabelSet]  # the strong branch's, then the weak branch's, if there is one
    store: Store
    proxies: np.ndarray | Tensor | None
    training: Training
    seed: int
    model: Model  # for its preprocessing and device

    @property
    def num_strong(self) -> int:
        """How many of a batch, the first ones, belong to the strong branch."""
        batch = self.training.batch
        return batch if len(self.sets) == 1 else round(batch * self.training.strong_share)

    def draw(self, step: int) -> Drawn:
        """Draw a batch on the host: which rows, where they are cut, and what of them is not on the device."""
        training, num_strong = self.training, self.num_strong
        rows, from_proxy = [], []
        for branch, (labels, count) in enumerate(
            zip(self.sets, (num_strong, training.batch - num_strong), strict=False)
        ):
            at = sample_indices(len(labels.index), self.seed, branch, step, count)
            rows.append(labels.index[at])
            from_proxy.append(labels.is_proxy[at])
        index = np.concatenate(rows)
        sizes = self.store.sizes[torch.from_numpy(index)]
        crops = sample_crops(self.seed, step, sizes, training.crop, training.scale_min, training.scale_max)
        drawn = {"rows": torch.from_numpy(index), **drawn_crops(crops, sizes)}
        drawn |= drawn_rows("images", self.store.images, index) | drawn_rows("masks", self.store.masks, index)
        if self.proxies is not None:
            drawn["is_proxy"] = torch.from_numpy(np.concatenate(from_proxy))
            drawn |= drawn_rows("proxies", self.proxies, index)
        return drawn

    def cut(self, drawn: Drawn) -> Drawn:
        """Return `inputs` (B, 3, crop, crop) and `labels` (B, crop, crop) of what was drawn, on the device."""
        images, masks = (taken_rows(name, getattr(self.store, name), drawn) for name in ("images", "masks"))
        if self.proxies is not None:
            masks = torch.where(drawn["is_proxy"][:, None, None], taken_rows("proxies", self.proxies, drawn), masks)
        inputs, labels = crop_drawn(images, masks, drawn, self.training.crop, self.model.preprocessing)
        return {"inputs": inputs, "labels": labels}
