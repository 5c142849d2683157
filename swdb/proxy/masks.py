"""Proxy masks: what image-level labels can say about pixels, one palette PNG for every training image, made by DSRG.

Set 1 comes from a network on seed cues that grow, set 2 from the same network after its retrain round on set 1.

in: images, tags, cues, initial weights -> out: `proxies/<id>/{*.png, weights.pt, done.json}`
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.errors import SwdbError
from swdb.core.files import read_json
from swdb.core.shares import are_offered, parts_folder
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.images import image_size, masks_digest, resize_longest_side
from swdb.data.resident import sent
from swdb.data.store import Store, proxy_masks
from swdb.nn.checkpoints import load_weights
from swdb.nn.compute import Compute
from swdb.nn.dense_crf import are_finite, require_finite
from swdb.nn.head_weights import begin_heads
from swdb.nn.initial_weights import load_initial
from swdb.nn.labelling import Fitting, Labelled, Labelling, by_size
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, Preprocessing, preprocessing_of, valueless
from swdb.nn.trainer import Job, seed_initial
from swdb.proxy.cues import load_cues
from swdb.proxy.dsrg import DsrgNetwork, train_on_cues, train_on_masks
from swdb.proxy.labeller import best_classes, labeller
from swdb.specs.tasks import ProxiesTask

BATCH_PIXELS = {"cpu": 400_000, "cuda": 1_600_000}  # of images of one size that are labelled together


def make_proxies(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Make one set: train on the cues, or on the masks of set 1, then write a mask for every image."""
    task: ProxiesTask = artefact.task
    dataset = tools.dataset(artefact.input("data"))
    store = tools.store(artefact.input("data"), task.longest_side).images_only
    tags = dataset.tags(store.ids)
    first = artefact.find_input("proxies")
    masks = None if first is None else proxy_masks(first, dataset, store, tools.progress)
    job = Job(artefact.folder, artefact.id, task.seed, tools.progress(artefact.name, artefact.steps, counts=True))
    if first is None:
        model = new_model(artefact, dataset.num_classes, tools.compute)
        maps, _ = load_cues(artefact.input("cues"), dataset, store.ids)
        training = train_on_cues(job, model, store, maps, tags, task.dsrg)
    else:
        model = load_model(first, dataset.num_classes, tools.compute)
        training = train_on_masks(job, model, store, masks, task.dsrg)
    model.network.eval()
    advance = tools.progress(f"{artefact.name} masks", len(store.ids))
    labelling = _labelling(artefact, dataset, store, tools, lambda: model)
    labelling.all_parts(parts_folder(artefact.folder), tools.compute.describe, advance)
    return {
        "digest": masks_digest(artefact.folder),
        "training": training,
        "preprocessing": asdict(model.preprocessing),
    }


def help_with_masks(artefact: Artefact, tools: Tools) -> None:
    """Label images of a set that another process is making, once it is trained; what is wrong with it, that one says."""
    leases = parts_folder(artefact.folder)
    if not are_offered(leases, tools.compute.describe):
        return
    with suppress(SwdbError):
        dataset = tools.dataset(artefact.input("data"))
        store = tools.store(artefact.input("data"), artefact.task.longest_side).images_only
        load = partial(_load_under_way, artefact, dataset.num_classes, tools.compute)
        _labelling(artefact, dataset, store, tools, load).free_parts(leases)


def new_model(artefact: Artefact, num_classes: int, compute: Compute) -> Model:
    """Build DSRG's network with its initial values."""
    task: ProxiesTask = artefact.task
    seed_initial(task.seed, branch=1)
    backbone = BACKBONES[task.backbone]()
    network = DsrgNetwork(backbone, task.dsrg, num_classes)
    if (heads := artefact.find_input("head-weights")) is not None:
        begin_heads(heads, network.heads)
    return Model(network, load_initial(artefact.input("weights"), backbone), compute)


def load_model(artefact: Artefact, num_classes: int, compute: Compute) -> Model:
    """Load the network of a finished set."""
    record = artefact.read_record()
    return _load_trained(artefact, record["training"], preprocessing_of(record), num_classes, compute)


def _load_under_way(artefact: Artefact, num_classes: int, compute: Compute) -> Model:
    """Load the network of a set whose masks are not finished; its preprocessing is that of the weights it began with."""
    source = artefact.find_input("proxies") or artefact.input("weights")
    training, preprocessing = read_json(artefact.folder / "training.json"), preprocessing_of(source.read_record())
    return _load_trained(artefact, training, preprocessing, num_classes, compute)


def _load_trained(
    artefact: Artefact, training: dict[str, Any], preprocessing: Preprocessing, num_classes: int, compute: Compute
) -> Model:
    with valueless():
        network = DsrgNetwork(BACKBONES[artefact.task.backbone](), artefact.task.dsrg, num_classes)
    load_weights(artefact.folder, training["weights_sha256"], network)
    return Model(compute.layout(network).eval(), preprocessing, compute)


def proxies_of(artefact: Artefact, dataset: DataSet, ids: list[str], compute: Compute) -> dict[str, np.ndarray]:
    """Return a finished set's masks (H, W) uint8 for other images than the training ones, by id: for figures, never for training."""
    task: ProxiesTask = artefact.task
    label = labeller(task, load_model(artefact, dataset.num_classes, compute))
    masks = {}
    for image_id, allowed in zip(ids, dataset.tags(ids), strict=True):
        image = dataset.image(image_id)
        shown = np.array(resize_longest_side(image, task.longest_side))
        refined = label(torch.from_numpy(shown)[None])[0]
        require_finite(are_finite(refined))
        allowed = _allowed(allowed[None], compute.device)[0] if task.dsrg.tags_only else None
        masks[image_id] = best_classes(refined, image.shape[:2], allowed).cpu().numpy()
    return masks


def _labelling(
    artefact: Artefact, dataset: DataSet, store: Store, tools: Tools, load: Callable[[], Model]
) -> Labelling:
    """Say how a set's images are labelled, among their tags if the preset says so; `load` is asked for the network if need be."""
    task, device = artefact.task, tools.compute.device
    pixels, sizes = BATCH_PIXELS[device.type], [tuple(size) for size in store.sizes.tolist()]
    allowed = _allowed(dataset.tags(store.ids), device) if task.dsrg.tags_only else None
    labeller_of, fit = cache(lambda: labeller(task, load())), Fitting(tools.tell)

    def read(rows: list[int]) -> tuple[np.ndarray, list[tuple[int, int]]]:
        height, width = sizes[rows[0]]
        images = np.ascontiguousarray(store.images[np.array(rows), :height, :width])
        return images, [image_size(dataset.image_path(store.ids[row])) for row in rows]

    def label(rows: list[int], found: tuple[np.ndarray, list[tuple[int, int]]]) -> Labelled:
        images, whole, among = sent(torch.from_numpy(found[0]), device), found[1], labeller_of()

        def work(part: slice) -> list[tuple[Tensor, Tensor]]:
            refined = among(images[part])
            of_rows = zip(refined, rows[part], whole[part], strict=True)
            masks = [best_classes(one, size, None if allowed is None else allowed[row]) for one, row, size in of_rows]
            return [(mask, are_finite(one)) for mask, one in zip(masks, refined, strict=True)]

        labels, finite = zip(*fit(work, len(rows), sizes[rows[0]]), strict=True)
        return labels, lambda: require_finite(torch.stack(finite).all())

    batches = by_size(sizes, lambda area: pixels // area)
    return Labelling(artefact.folder, store.ids, batches, dataset.facts.palette, read, label, device)


def _allowed(tags: np.ndarray, device: torch.device) -> Tensor:
    """Return which classes images may have, (N, C) bool on the device: background and their tags (N, C-1)."""
    return torch.from_numpy(np.concatenate([np.ones((len(tags), 1), bool), tags], 1)).to(device)
