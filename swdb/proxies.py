"""Proxy masks: what image-level labels can say about pixels, one palette PNG for every training image.

Set 1 comes from the class activation maps of a classifier, or from a network trained on published seed cues; set 2
from a network that was trained on set 1.
DSRG, the paper's own way, has its place here as another `proxy.method`.

in: images, tags, initial weights -> out: `proxies/<id>/*.png`, `report.json` (quality against the true masks,
a diagnosis that training never reads), `done.json`
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb import voc
from swdb.classifier import Classifier, activation_maps, train_classifier
from swdb.confusion import confusion, iou
from swdb.cues import Cues, cue_map, cue_quality, read_cues, restrict
from swdb.dataset import DataSet
from swdb.errors import BadInput
from swdb.files import Stage, write_json
from swdb.loop import Machine, load_finished, seed_initial
from swdb.method import StrongWeakNetwork, probabilities, to_size
from swdb.networks import BACKBONES, Backbone, Preprocessing
from swdb.pictures import masks_digest, read_mask, shrink, write_mask
from swdb.plan import Artefact, Work
from swdb.sampling import to_pictures
from swdb.seeding import train_on_cues
from swdb.store import Store
from swdb.weights import load_initial

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
    scores = _cam_scores(classifier, preset.proxy.threshold, machine, look)
    _write_all(artefact, data, store.ids, tags, scores, preset.training.longest_side, stage)
    _finish(artefact, data, store.ids, tags, {}, {"training": training}, stage)


def make_cue_proxies(
    work: Work, artefact: Artefact, data: DataSet, store: Store, machine: Machine, stage: Stage
) -> None:
    """Make proxy set 1 from published seed cues: train a network on them, keep of its predictions what the tags allow."""
    preset, tags = work.preset, data.tags(store.ids)
    maps, counted = _cues_of(work, data, store.ids, tags)
    network, look = _cue_network(work)
    progress = stage(artefact.name, artefact.steps, counts=True)
    network, training = train_on_cues(
        artefact.folder, artefact.id, network, store, maps, preset, look, machine, progress
    )
    scores = _network_scores(network, machine, look)
    _write_all(artefact, data, store.ids, tags, scores, preset.training.longest_side, stage)
    truth = ((maps[k], data.mask(image_id, voc.ALL_SPLIT)) for k, image_id in enumerate(store.ids))
    quality = _named(cue_quality(truth, data.data.num_classes), data.class_names)
    report = {"cues": {"file": work.cues_file.name, **counted, **quality}}
    _finish(artefact, data, store.ids, tags, report, {"training": training}, stage)


def make_retrained_proxies(
    artefact: Artefact,
    data: DataSet,
    store: Store,
    network: StrongWeakNetwork,
    look: Preprocessing,
    longest_side: int,
    machine: Machine,
    stage: Stage,
) -> None:
    """Make proxy set 2: what a network that was trained on set 1 predicts, restricted to the tags."""
    tags = data.tags(store.ids)
    _write_all(artefact, data, store.ids, tags, _network_scores(network, machine, look), longest_side, stage)
    _finish(artefact, data, store.ids, tags, {}, {}, stage)


def proxies_of(work: Work, data: DataSet, ids: list[str], machine: Machine) -> dict[str, np.ndarray]:
    """Return set 1's masks (H, W) uint8 for other images than the training ones, by id: for pictures, never for training."""
    tags, folder, longest = data.tags(ids), work.proxies(1).folder, work.preset.training.longest_side
    if work.preset.proxy.method == "cues":
        network, look = _cue_network(work)
        load_finished(folder, network)
        scores = _network_scores(machine.layout(network).eval(), machine, look)
    else:
        backbone, look = _initial_backbone(work)
        classifier = Classifier(backbone, data.data.num_classes - 1)
        load_finished(folder, classifier)
        scores = _cam_scores(machine.layout(classifier).eval(), work.preset.proxy.threshold, machine, look)
    return {image_id: _label(data.image(image_id), tags[k], scores, longest) for k, image_id in enumerate(ids)}


def _named(value: Any, names: list[str]) -> Any:
    """Round percentages, and turn lists over classes into values by class name."""
    if isinstance(value, dict):
        return {key: _named(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return {name: _named(inner, names) for name, inner in zip(names, value, strict=True)}
    return round(value, 2) if isinstance(value, float) else value


def _cues_of(work: Work, data: DataSet, ids: list[str], tags: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Read the cues of the training images as maps (N, 41, 41) uint8 within their tags, and count what is lacking."""
    path = work.cues_file
    assert path is not None
    cues: Cues = read_cues(path, f"swdb make-proxy {work.options} --cues FILE")
    table = voc.kept_labels(data.data.classes)
    empty = np.zeros((3, 0), np.int64)
    maps = np.stack(
        [restrict(cue_map(cues.cells.get(image_id, empty), table), tags[k]) for k, image_id in enumerate(ids)]
    )
    cued = np.array([[(one == label).any() for label in range(1, tags.shape[1] + 1)] for one in maps])
    if not cued.any():
        raise BadInput(
            f"{path} has no cues for any of the {len(ids)} training images; expected the cues of VOC's train_aug ids"
        )
    return maps, {
        "images_unknown_to_the_cues": sum(image_id not in cues.cells for image_id in ids),
        "images_with_a_tag_without_a_cue": int((tags & ~cued).any(1).sum()),
    }


def _cue_network(work: Work) -> tuple[StrongWeakNetwork, Preprocessing]:
    """Build the network that learns from cues: a single branch without shared layers, as LargeFOV is."""
    seed_initial(0, branch=1)
    network = StrongWeakNetwork(work.preset.network, work.preset.data.num_classes, 0, False)
    return network, load_initial(work.initial_weights, network.backbone)


def _network_scores(network: StrongWeakNetwork, machine: Machine, look: Preprocessing) -> Scores:
    """Scores of all classes from a trained network."""

    def scores(image: np.ndarray) -> Tensor:
        with machine.autocast():
            pictures = machine.pictures(_pictures(image, machine, look))
            return probabilities(network, pictures, "strong", (1.0,), False)[0]

    return scores


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


def _write_all(
    artefact: Artefact,
    data: DataSet,
    ids: list[str],
    tags: np.ndarray,
    scores: Scores,
    longest_side: int,
    stage: Stage,
) -> None:
    """Write a mask for every image; those that are there are kept."""
    progress = stage(f"{artefact.name} masks", len(ids))
    for k, image_id in enumerate(ids):
        path = artefact.folder / f"{image_id}.png"
        if not path.is_file():
            write_mask(path, _label(data.image(image_id), tags[k], scores, longest_side))
        progress(k + 1, len(ids))


@torch.no_grad()
def _label(image: np.ndarray, tags: np.ndarray, scores: Scores, longest_side: int) -> np.ndarray:
    """Return the best-scored class of every pixel among background and the image's tags, (H, W) uint8."""
    values = to_size(scores(shrink(image, longest_side))[None], image.shape[:2])[0]
    allowed = torch.from_numpy(np.concatenate([[True], tags])).to(values.device)
    return values.masked_fill(~allowed[:, None, None], -torch.inf).argmax(0).to(torch.uint8).cpu().numpy()


def _finish(
    artefact: Artefact, data: DataSet, ids: list[str], tags: np.ndarray, more: dict, record: dict, stage: Stage
) -> None:
    """Score the masks against the true ones for the report, add `more` to it, and close the set with `record`."""
    progress = stage(f"{artefact.name} report", len(ids))
    counts = np.zeros((data.data.num_classes, data.data.num_classes), np.int64)
    silent = 0  # images of which a tag has no pixel
    for k, image_id in enumerate(ids):
        path = artefact.folder / f"{image_id}.png"
        proxy = read_mask(path, data.data.num_classes, f"swdb make-proxy {data.where} --again")
        counts += confusion(data.mask(image_id, voc.ALL_SPLIT), proxy, data.data.num_classes)
        silent += not set(np.flatnonzero(tags[k]) + 1) <= set(np.unique(proxy).tolist())
        progress(k + 1, len(ids))
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
        **more,
    }
    write_json(artefact.folder / "report.json", report)
    artefact.finish({"masks_sha256": masks_digest(artefact.folder), **record})
