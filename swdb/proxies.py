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
from swdb.dataset import DataSet, masks_digest, read_mask, write_mask
from swdb.errors import BadInput
from swdb.files import write_json
from swdb.loop import Machine, load_finished, seed_initial
from swdb.method import StrongWeakNetwork, probabilities
from swdb.networks import BACKBONES, Backbone, Preprocessing
from swdb.plan import Artefact, Work
from swdb.sampling import to_pictures
from swdb.store import Store
from swdb.weights import load_initial

Progress = Callable[[int, int], None]
Scores = Callable[[Tensor], Tensor]  # pictures (1, 3, H, W) -> scores (1, C, H, W)


def make_cam_proxies(
    work: Work, artefact: Artefact, data: DataSet, store: Store, machine: Machine, progress: Progress
) -> None:
    """Make proxy set 1: train the classifier, threshold its activation maps."""
    preset = work.preset
    tags = data.tags(store.ids)
    _check_tags(tags, data.class_names)
    backbone, look = _initial_backbone(work)
    classifier, training = train_classifier(
        artefact.folder, artefact.id, backbone, store, tags, preset, preset.proxy.steps, look, machine, progress
    )
    _write_all(artefact, data, store, tags, _cam_scores(classifier, preset.proxy.threshold), machine, look)
    _finish(artefact, data, store.ids, tags, {"training": training})


def proxies_of(work: Work, data: DataSet, ids: list[str], machine: Machine) -> dict[str, np.ndarray]:
    """Return set 1's masks (H, W) uint8 for other images than the training ones, by id: for pictures, never for training."""
    backbone, look = _initial_backbone(work)
    classifier = Classifier(backbone, data.data.num_classes - 1)
    load_finished(work.proxies(1).folder, classifier)
    scores = _cam_scores(machine.layout(classifier).eval(), work.preset.proxy.threshold)
    images = {image_id: torch.tensor(data.image(image_id)) for image_id in ids}
    tags = data.tags(ids)
    return {image_id: _label(images[image_id], tags[k], scores, machine, look) for k, image_id in enumerate(ids)}


def _initial_backbone(work: Work) -> tuple[Backbone, Preprocessing]:
    seed_initial(0)
    backbone = BACKBONES[work.preset.network.backbone]()
    return backbone, load_initial(work.initial_weights, backbone)


def _cam_scores(classifier: Classifier, threshold: float) -> Scores:
    """Scores of all classes from activation maps: background wins where every map is below the threshold."""

    def scores(pictures: Tensor) -> Tensor:
        maps = activation_maps(classifier, pictures)
        return torch.cat([torch.full_like(maps[:, :1], threshold), maps], 1)

    return scores


def make_retrained_proxies(
    artefact: Artefact, data: DataSet, store: Store, network: StrongWeakNetwork, look: Preprocessing, machine: Machine
) -> None:
    """Make proxy set 2: what a network that was trained on set 1 predicts, restricted to the tags."""
    tags = data.tags(store.ids)

    def scores(pictures: Tensor) -> Tensor:
        with machine.autocast():
            return probabilities(network, machine.pictures(pictures), "strong", (1.0,), False)

    _write_all(artefact, data, store, tags, scores, machine, look)
    _finish(artefact, data, store.ids, tags, {})


def _check_tags(tags: np.ndarray, class_names: list[str]) -> None:
    for column, name in enumerate(class_names[1:]):
        if not tags[:, column].any():
            raise BadInput(
                f"no training image has the class {name!r}; a classifier cannot learn it: check image_labels.csv"
            )


def _write_all(
    artefact: Artefact,
    data: DataSet,
    store: Store,
    tags: np.ndarray,
    scores: Scores,
    machine: Machine,
    look: Preprocessing,
) -> None:
    """Write a mask for every image of the store; those that are there are kept."""
    for k, image_id in enumerate(store.ids):
        path = artefact.folder / f"{image_id}.png"
        if path.is_file():
            continue
        height, width = store.sizes[k].tolist()
        image = torch.from_numpy(np.array(store.images[k, :height, :width]))
        write_mask(path, _label(image, tags[k], scores, machine, look))


@torch.no_grad()
def _label(image: Tensor, tags: np.ndarray, scores: Scores, machine: Machine, look: Preprocessing) -> np.ndarray:
    """Return the best-scored class of every pixel among background and the image's tags, (H, W) uint8."""
    values = scores(to_pictures(image.to(machine.device)[None], look))[0]
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
        "iou": {name: round(float(value), 2) for name, value in zip(data.class_names, per_class, strict=True)},
        "foreground_share": round(float(counts[:, 1:].sum() / counts.sum()), 4),
        "true_foreground_share": round(float(counts[1:].sum() / counts.sum()), 4),
        "images_with_a_tag_without_pixels": int(silent),
        "scored_on": "the training images' true masks; a diagnosis, never read by training",
    }
    write_json(artefact.folder / "report.json", report)
    record = {
        "recipe": artefact.recipe,
        "data": data.manifest["tree_root"],
        "masks_sha256": masks_digest(artefact.folder),
        **more,
    }
    write_json(artefact.record, record)
