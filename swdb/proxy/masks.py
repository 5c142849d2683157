"""Proxy masks: what image-level labels can say about pixels, one palette PNG for every training image, made by DSRG.

Set 1 comes from a network on seed cues that grow, set 2 from the same network after its retrain round on set 1.

in: images, tags, cues, initial weights -> out: `proxies/<id>/{*.png, weights.pt, done.json}`
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.files import sweep_temporary
from swdb.core.progress import Advance
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.images import image_size, masks_digest, resize_longest_side, write_mask
from swdb.data.store import Store, gather, proxy_masks
from swdb.nn.checkpoints import load_weights
from swdb.nn.compute import Compute
from swdb.nn.dense_crf import energy_of, refine
from swdb.nn.initial_weights import load_initial
from swdb.nn.losses import resize
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, preprocessing_of, upsample, valueless
from swdb.nn.sampling import warp_to_square
from swdb.nn.trainer import Job, seed_initial
from swdb.proxy.cues import load_cues
from swdb.proxy.dsrg import DsrgNetwork, train_on_cues, train_on_masks
from swdb.specs.crf_parameters import crf_set
from swdb.specs.presets import Dsrg
from swdb.specs.tasks import ProxiesTask

VOC_SIDE = 500  # pixels: of the images that the CRF's parameters are for

BATCH_PIXELS = 400_000  # of images of one size that are labelled together

Scores = Callable[[Tensor], Tensor]  # images (B, H, W, 3) uint8 RGB -> logits (B, C, H, W)
Labeller = Callable[[Tensor], Tensor]  # images (B, H, W, 3) uint8 RGB -> probabilities (B, C, H, W) after the CRF


def make_proxies(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Make one set: train on the cues, or on the masks of set 1, then write a mask for every image."""
    task: ProxiesTask = artefact.task
    dataset = tools.dataset(artefact.input("data"))
    store = tools.store(artefact.input("data"), task.longest_side).images_only
    tags = dataset.tags(store.ids)
    job = Job(artefact.folder, artefact.id, advance=tools.progress(artefact.name, artefact.steps, counts=True))
    if (first := artefact.find_input("proxies")) is None:
        model = new_model(artefact, dataset.num_classes, tools.compute)
        maps, _ = load_cues(artefact.input("cues"), dataset, store.ids)
        training = train_on_cues(job, model, store, maps, tags, task.dsrg)
    else:
        model = load_model(first, dataset.num_classes, tools.compute)
        masks = proxy_masks(first, dataset, store)
        training = train_on_masks(job, model, store, masks, task.dsrg)
    model.network.eval()
    advance = tools.progress(f"{artefact.name} masks", len(store.ids))
    _write_masks(artefact.folder, dataset, store, tags if task.dsrg.tags_only else None, labeller(task, model), advance)
    return {
        "digest": masks_digest(artefact.folder),
        "training": training,
        "preprocessing": asdict(model.preprocessing),
    }


def new_model(artefact: Artefact, num_classes: int, compute: Compute) -> Model:
    """Build DSRG's network with its initial values."""
    task: ProxiesTask = artefact.task
    seed_initial(0, branch=1)
    backbone = BACKBONES[task.backbone]()
    network = DsrgNetwork(backbone, task.dsrg, num_classes)
    return Model(network, load_initial(artefact.input("weights"), backbone), compute)


def load_model(artefact: Artefact, num_classes: int, compute: Compute) -> Model:
    """Load the network of a finished set."""
    task, record = artefact.task, artefact.read_record()
    with valueless():
        network = DsrgNetwork(BACKBONES[task.backbone](), task.dsrg, num_classes)
    load_weights(artefact.folder, record["training"]["weights_sha256"], network)
    return Model(compute.layout(network).eval(), preprocessing_of(record), compute)


def proxies_of(artefact: Artefact, dataset: DataSet, ids: list[str], compute: Compute) -> dict[str, np.ndarray]:
    """Return a finished set's masks (H, W) uint8 for other images than the training ones, by id: for figures, never for training."""
    task: ProxiesTask = artefact.task
    label = labeller(task, load_model(artefact, dataset.num_classes, compute))
    masks = {}
    for image_id, allowed in zip(ids, dataset.tags(ids), strict=True):
        image = dataset.image(image_id)
        shown = np.array(resize_longest_side(image, task.longest_side))
        refined = label(torch.from_numpy(shown)[None])[0]
        masks[image_id] = _mask(refined, image.shape[:2], allowed if task.dsrg.tags_only else None)
    return masks


def _write_masks(
    folder: Path, dataset: DataSet, store: Store, tags: np.ndarray | None, label: Labeller, advance: Advance
) -> None:
    """Write a mask for every image, in batches of one size, among its `tags` if given; those that are there are kept.

    A batch holds the same images after a kill as before it, so that it gives the same masks to the last bit.
    """
    sweep_temporary(folder)
    paths = [folder / f"{image_id}.png" for image_id in store.ids]
    done = sum(path.is_file() for path in paths)
    for rows, (height, width) in _same_size(store.sizes):
        missing = {row for row in rows if not paths[row].is_file()}
        if not missing:
            continue
        images = gather(store.images, np.array(rows), torch.device("cpu"))[:, :height, :width]
        for row, refined in zip(rows, label(images), strict=True):
            if row in missing:
                size = image_size(dataset.image_path(store.ids[row]))
                labels = _mask(refined, size, None if tags is None else tags[row])
                write_mask(paths[row], labels, dataset.facts.palette)
        done += len(missing)
        advance(done, len(paths))


def _same_size(sizes: Tensor) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Yield batches of rows of a store whose images have one size, and that size."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for row, (height, width) in enumerate(sizes.tolist()):
        by_size.setdefault((height, width), []).append(row)
    for size, rows in by_size.items():
        count = max(1, BATCH_PIXELS // (size[0] * size[1]))
        for start in range(0, len(rows), count):
            yield rows[start : start + count], size


def _mask(refined: Tensor, size: tuple[int, int], tags: np.ndarray | None) -> np.ndarray:
    """Return the best class of every pixel at the image's own size, (H, W) uint8; among background and `tags`, if given."""
    refined = resize(refined[None], size)[0]
    if tags is not None:
        allowed = torch.from_numpy(np.concatenate([[True], tags])).to(refined.device)
        refined = refined.masked_fill(~allowed[:, None, None], -torch.inf)
    return refined.argmax(0).to(torch.uint8).cpu().numpy()


# ---------------------------------------------------------------- labelling images


def labeller(task: ProxiesTask, model: Model) -> Labeller:
    """Return the function that labels images: logits over several sizes, softmax, CRF with the energy -log p: test-ms.py.

    Network and CRF see images as large as the preset trains on them; the CRF's parameters shrink with them.
    """
    crf = crf_set(task.dsrg.crf).scaled(task.image_side / VOC_SIDE)
    scores = _squares(task.dsrg, model) if task.proxy_set == 1 else _scaled(task.dsrg, model)

    @torch.no_grad()
    def label(images: Tensor) -> Tensor:
        images = images.to(model.compute.device)
        return refine(energy_of(scores(images).softmax(1)), images, crf)

    return label


def _squares(dsrg: Dsrg, model: Model) -> Scores:
    """Sum the logits of images warped to several squares, as the first round saw them."""
    backbone = model.network.backbone

    def scores(images: Tensor) -> Tensor:
        size = images.shape[1:3]
        upright, whole = torch.zeros(len(images), dtype=torch.bool), torch.tensor([size]).expand(len(images), 2)
        total = torch.zeros((), device=images.device)
        for side in dsrg.test_sizes:
            logits = model(model.normalise(warp_to_square(images, whole, upright, side)))
            logits = upsample(logits, backbone)[..., :side, :side]
            total = total + F.interpolate(logits, size, mode="bilinear", align_corners=True)
        return total

    return scores


def _scaled(dsrg: Dsrg, model: Model) -> Scores:
    """Sum the logits of images at several scales of their own aspect, as the retrain round saw them: test-ms-f.py."""
    backbone = model.network.backbone

    def scores(images: Tensor) -> Tensor:
        inputs = model.inputs(images)
        total = torch.zeros((), device=images.device)
        for scale in dsrg.retrain_scales:
            height, width = (max(1, round(side * scale)) for side in images.shape[1:3])
            logits = model(resize(inputs, (height, width)))
            total = total + resize(upsample(logits, backbone)[..., :height, :width], images.shape[1:3])
        return total

    return scores
