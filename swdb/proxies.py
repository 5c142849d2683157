"""Proxy masks: what image-level labels can say about pixels, one palette PNG for every training image.

Set 1 comes from the class activation maps of a classifier; set 2 from a network that was trained on set 1.
DSRG, the paper's own way, has its place here as another `proxy.method`.

in: images, tags, initial weights -> out: `proxies/<id>/*.png`, `report.json` (quality against the true masks,
a diagnosis that training never reads), `done.json`
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from swdb import voc
from swdb.classifier import Classifier, activation_maps, train_classifier
from swdb.confusion import confusion, iou
from swdb.dataset import DataSet, Progress, masks_digest, read_mask, write_mask
from swdb.errors import BadInput
from swdb.files import write_json
from swdb.loop import Machine, load_finished, seed_initial
from swdb.method import StrongWeakNetwork, probabilities
from swdb.networks import BACKBONES, Backbone, Preprocessing
from swdb.plan import Artefact, Work
from swdb.sampling import to_pictures
from swdb.store import Store
from swdb.weights import load_initial

Stage = Callable[..., Progress]  # begins a stage of the progress bar: Observer.stage
Scores = Callable[[np.ndarray], Tensor]  # an image (H, W, 3) uint8 RGB -> scores (C, H, W)


def make_cam_proxies(
    work: Work, artefact: Artefact, data: DataSet, store: Store, machine: Machine, stage: Stage
) -> None:
    """Make proxy set 1: train the classifier, threshold its activation maps."""
    preset = work.preset
    tags = data.tags(store.ids)
    _check_tags(tags, data.class_names)
    backbone, look = _initial_backbone(work)
    progress = stage(artefact.name, artefact.steps, counts=True)
    classifier, training = train_classifier(
        artefact.folder, artefact.id, backbone, store, tags, preset, preset.proxy.steps, look, machine, progress
    )
    _write_all(artefact, store, tags, _cam_scores(classifier, preset.proxy.threshold, machine, look), stage)
    _finish(artefact, data, store.ids, tags, {"training": training})


def make_retrained_proxies(
    artefact: Artefact,
    data: DataSet,
    store: Store,
    network: StrongWeakNetwork,
    look: Preprocessing,
    machine: Machine,
    stage: Stage,
) -> None:
    """Make proxy set 2: what a network that was trained on set 1 predicts, restricted to the tags."""
    tags = data.tags(store.ids)

    def scores(image: np.ndarray) -> Tensor:
        with machine.autocast():
            pictures = machine.pictures(_pictures(image, machine, look))
            return probabilities(network, pictures, "strong", (1.0,), False)[0]

    _write_all(artefact, store, tags, scores, stage)
    _finish(artefact, data, store.ids, tags, {})


def proxies_of(work: Work, data: DataSet, ids: list[str], machine: Machine) -> dict[str, np.ndarray]:
    """Return set 1's masks (H, W) uint8 for other images than the training ones, by id: for pictures, never for training."""
    backbone, look = _initial_backbone(work)
    classifier = Classifier(backbone, data.data.num_classes - 1)
    load_finished(work.proxies(1).folder, classifier)
    scores = _cam_scores(machine.layout(classifier).eval(), work.preset.proxy.threshold, machine, look)
    tags = data.tags(ids)
    return {image_id: _label(data.image(image_id), tags[k], scores) for k, image_id in enumerate(ids)}


def _initial_backbone(work: Work) -> tuple[Backbone, Preprocessing]:
    seed_initial(0)
    backbone = BACKBONES[work.preset.network.backbone]()
    return backbone, load_initial(work.initial_weights, backbone)


def _cam_scores(classifier: Classifier, threshold: float, machine: Machine, look: Preprocessing) -> Scores:
    """Scores of all classes from activation maps: background wins where every map is below the threshold."""

    def scores(image: np.ndarray) -> Tensor:
        maps = activation_maps(classifier, _pictures(image, machine, look))[0]
        return torch.cat([torch.full_like(maps[:1], threshold), maps])

    return scores


def _pictures(image: np.ndarray, machine: Machine, look: Preprocessing) -> Tensor:
    return to_pictures(torch.from_numpy(np.array(image)).to(machine.device)[None], look)


def _check_tags(tags: np.ndarray, class_names: list[str]) -> None:
    for column, name in enumerate(class_names[1:]):
        if not tags[:, column].any():
            raise BadInput(
                f"no training image has the class {name!r}; a classifier cannot learn it: check image_labels.csv"
            )


def _write_all(artefact: Artefact, store: Store, tags: np.ndarray, scores: Scores, stage: Stage) -> None:
    """Write a mask for every image of the store; those that are there are kept."""
    progress = stage(f"{artefact.name} masks", len(store.ids))
    for k, image_id in enumerate(store.ids):
        path = artefact.folder / f"{image_id}.png"
        if not path.is_file():
            height, width = store.sizes[k].tolist()
            write_mask(path, _label(store.images[k, :height, :width], tags[k], scores))
        progress(k + 1, len(store.ids))


@torch.no_grad()
def _label(image: np.ndarray, tags: np.ndarray, scores: Scores) -> np.ndarray:
    """Return the best-scored class of every pixel among background and the image's tags, (H, W) uint8."""
    values = scores(image)
    allowed = torch.from_numpy(np.concatenate([[True], tags])).to(values.device)
    return values.masked_fill(~allowed[:, None, None], -torch.inf).argmax(0).to(torch.uint8).cpu().numpy()


def _finish(artefact: Artefact, data: DataSet, ids: list[str], tags: np.ndarray, more: dict) -> None:
    """Score the masks against the true ones for the report, and close the set."""
    counts = np.zeros((data.data.num_classes, data.data.num_classes), np.int64)
    silent = 0  # images of which a tag has no pixel
    for k, image_id in enumerate(ids):
        path = artefact.folder / f"{image_id}.png"
        proxy = read_mask(path, data.data.num_classes, f"swdb make-proxy {data.where} --again")
        counts += confusion(data.mask(image_id, voc.ALL_SPLIT), proxy, data.data.num_classes)
        silent += not set(np.flatnonzero(tags[k]) + 1) <= set(np.unique(proxy).tolist())
    per_class = iou(counts)
    report = {
        "images": len(ids),
        "miou": round(float(np.nanmean(per_class)), 2),
        "iou": {
            name: None if np.isnan(value) else round(float(value), 2)
            for name, value in zip(data.class_names, per_class, strict=True)
        },
        "foreground_share": round(float(counts[:, 1:].sum() / counts.sum()), 4),
        "true_foreground_share": round(float(counts[1:].sum() / counts.sum()), 4),
        "images_with_a_tag_without_pixels": int(silent),
        "scored_on": "the training images' true masks; a diagnosis, never read by training",
    }
    write_json(artefact.folder / "report.json", report)
    artefact.finish({"masks_sha256": masks_digest(artefact.folder), **more})
