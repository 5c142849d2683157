"""One run: a row's values and a seed become a trained network.

Opens training images only; the validation split is not read here. The last weights are the ones that count.

in: a run's artefact, the store, proxies, initial weights -> out: `runs/<id>/{weights.pt, log.jsonl, samples.json, done.json}`
"""

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from swdb.core.files import Progress, write_json
from swdb.data import voc
from swdb.data.dataset import DataSet
from swdb.data.store import Store, gather, proxy_masks
from swdb.methods.strong_weak import StrongWeakNetwork, losses
from swdb.nn.compute import Machine, describe
from swdb.nn.initial_weights import load_initial
from swdb.nn.networks import Preprocessing
from swdb.nn.sampling import LabelSet, cut, place, positions, strong_subset
from swdb.nn.trainer import Schedule, load_finished, optimise, seed_initial
from swdb.specs.tables import Recipe
from swdb.study.plan import Artefact, Work


def train_run(
    work: Work, run: Recipe, artefact: Artefact, data: DataSet, store: Store, machine: Machine, progress: Progress
) -> None:
    """Train one run to its end, going on from its last checkpoint."""
    network, look = build(work, run, artefact.seed)
    network = machine.layout(network)
    strong = strong_rows(data, store, run, artefact.seed)
    write_json(
        artefact.folder / "run.json",
        {"id": artefact.id, "run": asdict(run), "recipe": artefact.recipe, "preprocessing": asdict(look)},
    )
    write_json(artefact.folder / "samples.json", {"strong_images": [store.ids[row] for row in strong]})
    sets = [
        label_set(labels, strong, len(store.ids), run.oversample)
        for labels in (run.strong_branch, run.weak_branch)
        if labels
    ]
    proxies = None
    if run.needs_proxies:
        made = work.proxies(run.proxy_set)
        proxies = proxy_masks(made.folder, made.content_digest(), data, store, lambda *_: None)
    on_device = store.to(machine.device)

    def losses_at(step: int) -> dict[str, Tensor]:
        pictures, labels, num_strong = batch_at(step, sets, on_device, proxies, work, artefact.seed, look, machine)
        with machine.autocast():
            return losses(network, machine.pictures(pictures), labels, num_strong, run, work.preset.training)

    training = work.preset.training
    schedule = Schedule(
        training.steps,
        training.warmup,
        training.decay_at,
        training.decay_factor,
        training.weight_decay,
        training.clip_norm,
    )
    record = optimise(
        artefact.folder, artefact.id, network, network.groups(training), schedule, losses_at, artefact.seed, progress
    )
    artefact.finish({"training": record, "machine": describe(machine)})


def build(work: Work, run: Recipe, seed: int) -> tuple[StrongWeakNetwork, Preprocessing]:
    """Build a run's network with its initial values: the backbone's weights, then those of the run it starts from."""
    preset = work.preset
    seed_initial(seed)
    network = StrongWeakNetwork(preset.network, preset.data.num_classes, run.shared_layers, run.dual)
    look = load_initial(work.initial_weights, network.backbone)
    if run.start_from:
        load_finished(work.run(work.recipe(run.start_from), seed).folder, network)
    return network, look


def load_trained(work: Work, run: Recipe, seed: int) -> tuple[StrongWeakNetwork, Preprocessing]:
    """Load a finished run's network with its last weights, and how pictures must look for it."""
    network, look = build(work, run, seed)
    artefact = work.run(run, seed)
    artefact.read_record(f"swdb train {run.name} --seed {seed} {work.options}")
    load_finished(artefact.folder, network)
    return network.eval(), look


def strong_rows(data: DataSet, store: Store, run: Recipe, seed: int) -> np.ndarray:
    """Return the store's rows whose true masks the run may see as strong ones, sorted."""
    row_of = {image_id: row for row, image_id in enumerate(store.ids)}
    ids = data.ids(voc.STRONG_SPLIT)
    rows = np.array([row_of[image_id] for image_id in ids])
    if run.strong_per_class is None:
        return np.sort(rows)
    subset = strong_subset(data.tags(ids), run.strong_per_class, seed)
    return np.sort(rows[subset])


def label_set(labels: str, strong: np.ndarray, num_images: int, oversample: int) -> LabelSet:
    """List what a branch learns from (see spec.LABEL_SETS), strong images `oversample` times where the set is mixed."""
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


def batch_at(
    step: int,
    sets: list[LabelSet],
    store: Store,
    proxies: np.ndarray | None,
    work: Work,
    seed: int,
    look: Preprocessing,
    machine: Machine,
) -> tuple[Tensor, Tensor, int]:
    """Return pictures (B, 3, crop, crop), labels (B, crop, crop) and how many of the first belong to the strong branch."""
    training = work.preset.training
    num_strong = training.batch if len(sets) == 1 else round(training.batch * training.strong_share)
    rows, from_proxy = [], []
    for branch, (labels, count) in enumerate(zip(sets, (num_strong, training.batch - num_strong), strict=False)):
        at = positions(len(labels.index), seed, branch, step, count)
        rows.append(labels.index[at])
        from_proxy.append(labels.is_proxy[at])
    index, is_proxy = np.concatenate(rows), np.concatenate(from_proxy)
    masks = gather(store.masks, index, machine.device)
    if is_proxy.any():
        assert proxies is not None
        masks = masks.clone()
        masks[torch.from_numpy(is_proxy).to(masks.device)] = gather(proxies, index[is_proxy], machine.device)
    sizes = store.sizes[torch.from_numpy(index)]
    placed = place(seed, step, sizes, training.crop, training.scale_min, training.scale_max)
    pictures, labels = cut(gather(store.images, index, machine.device), masks, sizes, placed, training.crop, look)
    return pictures, labels, num_strong
