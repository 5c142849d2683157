"""Scoring a finished run on the validation split: predictions, integer confusion counts, mIoU.

Every image is predicted at its own size. Counts are kept image by image, so any score can be had again without a GPU.

in: a finished run, a branch -> out: `runs/<id>/evals/<eval id>/{predictions/*.png, confusion.npz, result.json}`
"""

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from swdb.core.files import Progress, write_atomic, write_json
from swdb.data import voc
from swdb.data.dataset import DataSet
from swdb.data.images import check_sizes, read_mask, shrink, write_mask
from swdb.evaluation.confusion import confusion, iou, miou
from swdb.methods.strong_weak import StrongWeakNetwork, probabilities
from swdb.nn.compute import Machine
from swdb.nn.dense_crf import energy_of, refine
from swdb.nn.losses import to_size
from swdb.nn.networks import Preprocessing
from swdb.nn.sampling import to_pictures
from swdb.specs.crf_parameters import crf_set
from swdb.study.plan import Artefact, Scoring

BATCH_PIXELS = 600_000  # of pictures of one size that are predicted together


def evaluate(
    artefact: Artefact,
    scoring: Scoring,
    data: DataSet,
    network: StrongWeakNetwork,
    look: Preprocessing,
    machine: Machine,
    progress: Progress,
    longest_side: int = 0,
) -> dict[str, Any]:
    """Predict and score the validation split with one branch; predictions that are there already are kept.

    The network sees pictures shrunk to `longest_side` (0: as they are); predictions are enlarged and scored at full size.
    """
    folder = scoring.folder(artefact)
    ids = data.ids(voc.VAL_SPLIT)
    num_classes = data.data.num_classes
    network = machine.layout(network).eval()
    predictions = folder / "predictions"
    missing = [image_id for image_id in ids if not (predictions / f"{image_id}.png").is_file()]
    done = len(ids) - len(missing)
    for batch_ids, images in _batches(data, missing):
        shown = np.stack([shrink(image, longest_side) for image in images])
        pictures = to_pictures(torch.from_numpy(shown).to(machine.device), look)
        with machine.autocast():
            scores = probabilities(network, machine.pictures(pictures), scoring.branch, scoring.scales, scoring.flip)
        scores = to_size(scores, images.shape[1:3])
        if scoring.crf is not None:
            scores = refine(energy_of(scores), torch.from_numpy(images), crf_set(scoring.crf))
        labels = scores.argmax(1)
        for image_id, label in zip(batch_ids, labels.to(torch.uint8).cpu().numpy(), strict=True):
            write_mask(predictions / f"{image_id}.png", label)
        done += len(batch_ids)
        progress(done, len(ids))
    counts = np.stack([_score(data, predictions, image_id, num_classes) for image_id in ids])
    write_atomic(
        folder / "confusion.npz",
        lambda stream: np.savez_compressed(stream, ids=np.array(ids), counts=counts.astype(np.int32)),
    )
    per_class = iou(counts.sum(0))
    result = {
        "run": artefact.id,
        "branch": scoring.branch,
        "scales": list(scoring.scales),
        "flip": scoring.flip,
        "crf": scoring.crf,
        "split": voc.VAL_SPLIT,
        "images": len(ids),
        "miou": miou(counts.sum(0)),
        "iou": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(data.class_names, per_class, strict=True)
        },
        "data": data.manifest["tree_root"],
        "seed": artefact.seed,
        "machine": artefact.read_record("swdb train")["machine"],
    }
    write_json(folder / "result.json", result)
    return result


def _batches(data: DataSet, ids: list[str]):
    """Read pictures and yield them in batches of one size: (ids, (B, H, W, 3) uint8 RGB)."""
    loaded = ((image_id, data.image(image_id)) for image_id in ids)
    for _, same_size in groupby(loaded, key=lambda item: item[1].shape):
        batch: list[tuple[str, np.ndarray]] = []
        for item in same_size:
            batch.append(item)
            if len(batch) * item[1][..., 0].size >= BATCH_PIXELS:
                yield [k for k, _ in batch], np.stack([image for _, image in batch])
                batch = []
        if batch:
            yield [k for k, _ in batch], np.stack([image for _, image in batch])


def _score(data: DataSet, predictions: Path, image_id: str, num_classes: int) -> np.ndarray:
    truth = data.mask(image_id, voc.VAL_SPLIT)
    mend = "delete it and run the same command again"
    prediction = read_mask(predictions / f"{image_id}.png", num_classes, mend)
    picture, truth_path = voc.image_path(data.root, image_id), voc.mask_path(data.root, image_id, voc.VAL_SPLIT)
    check_sizes(
        data.data.image_size, picture, prediction, truth_path, truth, data.mend
    )  # a prediction is as large as its image
    return confusion(truth, prediction, num_classes)
