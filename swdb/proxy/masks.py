"""Proxy masks: what image-level labels can say about pixels, one palette PNG for every training image, made by DSRG.

Set 1 comes from a network on seed cues that grow, set 2 from the same network after its retrain round on set 1.

in: images, tags, cues, initial weights -> out: `proxies/<id>/{*.png, weights.pt, passport.json, passport.md, done.json}`
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.core.files import Progress, Stage
from swdb.data import voc
from swdb.data.dataset import DataSet
from swdb.data.images import image_size, masks_digest, shrink, write_mask
from swdb.data.store import Store, gather, proxy_masks
from swdb.nn.compute import Machine
from swdb.nn.dense_crf import energy_of, refine
from swdb.nn.initial_weights import load_initial
from swdb.nn.losses import to_size
from swdb.nn.networks import BACKBONES, Preprocessing, enlarge
from swdb.nn.sampling import normalise, to_pictures, warp
from swdb.nn.trainer import load_finished, seed_initial
from swdb.proxy.cues import load_cues
from swdb.proxy.dsrg import DsrgNetwork, train_on_cues, train_on_masks
from swdb.proxy.quality import write_passport
from swdb.specs.crf_parameters import crf_set
from swdb.specs.presets import Preset
from swdb.study.plan import Artefact, Work

VOC_SIDE = 500  # pixels: of the pictures that the CRF's parameters are for

BATCH_PIXELS = 400_000  # of pictures of one size that are labelled together

Scores = Callable[[Tensor], Tensor]  # pictures (B, H, W, 3) uint8 RGB -> logits (B, C, H, W)
Labeller = Callable[[Tensor], Tensor]  # pictures (B, H, W, 3) uint8 RGB -> probabilities (B, C, H, W) after the CRF


def make_proxies(work: Work, artefact: Artefact, data: DataSet, store: Store, machine: Machine, stage: Stage) -> None:
    """Make one set: train on the cues, or on the masks of set 1, then write a mask for every image."""
    proxy_set, tags = artefact.recipe["set"], data.tags(store.ids)
    network, look = _network(work)
    progress = stage(artefact.name, artefact.steps, counts=True)
    if proxy_set == 1:
        maps, _ = load_cues(work.cues, data, store.ids)
        training = train_on_cues(
            artefact.folder, artefact.id, network, store, maps, tags, work.preset.dsrg, look, machine, progress
        )
    else:
        first = work.proxies(1)
        load_finished(first.folder, network)
        masks = proxy_masks(first.folder, first.content_digest(), data, store, lambda *_: None)
        training = train_on_masks(
            artefact.folder, artefact.id, network, store, masks, work.preset.dsrg, look, machine, progress
        )
    label = _labeller(work.preset, proxy_set, machine.layout(network).eval(), machine, look)
    _write_masks(
        artefact.folder,
        data,
        store,
        tags,
        label,
        work.preset.dsrg.tags_only,
        stage(f"{artefact.name} masks", len(store.ids)),
    )
    artefact.finish({"masks_sha256": masks_digest(artefact.folder), "training": training})


def issue_passport(work: Work, artefact: Artefact, data: DataSet, stage: Stage) -> None:
    """Write the passport of a finished set: what it was made from, and how good it is where true masks exist.

    The only place where proxies are compared with true masks, after the set is closed: what makes cues and proxies is
    handed pictures without masks.
    """
    ids = data.ids(voc.ALL_SPLIT)
    maps, counts = load_cues(work.cues, data, ids)
    record = artefact.read_record("swdb make-proxy")
    recipe = work.cues.recipe
    digests = {"weights": work.initial_weights.content_digest(), "cues": work.cues.content_digest()}
    made = {
        "set": artefact.recipe["set"],
        "sources": {
            **record["inputs"],
            **digests,
            **{f"cues, the {key}": recipe[key] for key in ("file", "list", "saliency") if key in recipe},
            "masks": record["masks_sha256"],
        },
        "settings": {"cues": recipe, "set 1": work.proxies(1).recipe, f"set {artefact.recipe['set']}": artefact.recipe},
        "cue_counts": counts,
    }
    progress = stage(f"{artefact.name} passport", len(ids))
    write_passport(artefact.folder, data, ids, data.tags(ids), made, progress, maps)


def proxies_of(work: Work, data: DataSet, ids: list[str], machine: Machine) -> dict[str, np.ndarray]:
    """Return set 1's masks (H, W) uint8 for other images than the training ones, by id: for pictures, never for training."""
    network, look = _network(work)
    load_finished(work.proxies(1).folder, network)
    label = _labeller(work.preset, 1, machine.layout(network).eval(), machine, look)
    masks = {}
    for image_id, allowed in zip(ids, data.tags(ids), strict=True):
        image = data.image(image_id)
        shown = np.array(shrink(image, work.preset.training.longest_side))
        refined = label(torch.from_numpy(shown)[None])[0]
        masks[image_id] = _mask(refined, image.shape[:2], allowed if work.preset.dsrg.tags_only else None)
    return masks


def _network(work: Work) -> tuple[DsrgNetwork, Preprocessing]:
    """Build DSRG's network with its initial values."""
    seed_initial(0, branch=1)
    backbone = BACKBONES[work.preset.network.backbone]()
    network = DsrgNetwork(backbone, work.preset.dsrg, work.preset.data.num_classes)
    return network, load_initial(work.initial_weights, backbone)


def _write_masks(
    folder: Path,
    data: DataSet,
    store: Store,
    tags: np.ndarray,
    label: Labeller,
    tags_only: bool,
    progress: Progress,
) -> None:
    """Write a mask for every image, in batches of one size; those that are there are kept.

    A batch holds the same pictures after a kill as before it, so that it gives the same masks to the last bit.
    """
    paths = [folder / f"{image_id}.png" for image_id in store.ids]
    done = sum(path.is_file() for path in paths)
    for rows, (height, width) in _same_size(store.sizes):
        missing = {row for row in rows if not paths[row].is_file()}
        if not missing:
            continue
        images = gather(store.images, np.array(rows), torch.device("cpu"))[:, :height, :width]
        for row, refined in zip(rows, label(images), strict=True):
            if row in missing:
                size = image_size(voc.image_path(data.root, store.ids[row]), data.mend)
                write_mask(paths[row], _mask(refined, size, tags[row] if tags_only else None))
        done += len(missing)
        progress(done, len(paths))


def _same_size(sizes: Tensor) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Yield batches of rows of a store whose pictures have one size, and that size."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for row, (height, width) in enumerate(sizes.tolist()):
        by_size.setdefault((height, width), []).append(row)
    for size, alike in by_size.items():
        count = max(1, BATCH_PIXELS // (size[0] * size[1]))
        for start in range(0, len(alike), count):
            yield alike[start : start + count], size


def _mask(refined: Tensor, size: tuple[int, int], tags: np.ndarray | None) -> np.ndarray:
    """Return the best class of every pixel at the picture's own size, (H, W) uint8; among background and `tags`, if given."""
    refined = to_size(refined[None], size)[0]
    if tags is not None:
        allowed = torch.from_numpy(np.concatenate([[True], tags])).to(refined.device)
        refined = refined.masked_fill(~allowed[:, None, None], -torch.inf)
    return refined.argmax(0).to(torch.uint8).cpu().numpy()


def _labeller(preset: Preset, proxy_set: int, network: DsrgNetwork, machine: Machine, look: Preprocessing) -> Labeller:
    """Return the function that labels pictures: logits over several sizes, softmax, CRF with the energy -log p: test-ms.py.

    Network and CRF see pictures as large as the preset trains on them; the CRF's parameters shrink with them.
    """
    shown_side = preset.training.longest_side or preset.data.image_size
    crf = crf_set(preset.dsrg.crf).scaled(shown_side / VOC_SIDE)
    scores = _squares(preset, network, machine, look) if proxy_set == 1 else _scaled(preset, network, machine, look)

    @torch.no_grad()
    def label(images: Tensor) -> Tensor:
        images = images.to(machine.device)
        return refine(energy_of(scores(images).softmax(1)), images, crf)

    return label


def _squares(preset: Preset, network: DsrgNetwork, machine: Machine, look: Preprocessing) -> Scores:
    """Sum the logits of pictures warped to several squares, as the first round saw them."""

    def scores(images: Tensor) -> Tensor:
        size = images.shape[1:3]
        upright, whole = torch.zeros(len(images), dtype=torch.bool), torch.tensor([size]).expand(len(images), 2)
        total = torch.zeros((), device=images.device)
        for side in preset.dsrg.test_sizes:
            squares = normalise(warp(images, whole, upright, side), look)
            with machine.autocast():
                cells = network(machine.pictures(squares))
            logits = enlarge(cells, network.backbone)[..., :side, :side]
            total = total + F.interpolate(logits, size, mode="bilinear", align_corners=True)
        return total

    return scores


def _scaled(preset: Preset, network: DsrgNetwork, machine: Machine, look: Preprocessing) -> Scores:
    """Sum the logits of pictures at several scales of their own aspect, as the retrain round saw them: test-ms-f.py."""

    def scores(images: Tensor) -> Tensor:
        pictures = to_pictures(images, look)
        total = torch.zeros((), device=images.device)
        for scale in preset.dsrg.retrain_scales:
            height, width = (max(1, round(side * scale)) for side in images.shape[1:3])
            with machine.autocast():
                cells = network(machine.pictures(to_size(pictures, (height, width))))
            total = total + to_size(enlarge(cells, network.backbone)[..., :height, :width], images.shape[1:3])
        return total

    return scores
