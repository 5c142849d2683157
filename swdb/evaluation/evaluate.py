"""Scoring on the validation split: predictions of a run, or averaged over several, integer confusion counts, mIoU.

Every image is predicted at its own size. Counts are kept image by image, so any score can be had again without a GPU.

in: a score's artefact, whose inputs are the data set and finished runs
-> out: `runs/<id>/evals/<name>/{predictions/*.png, confusion.npz, result.json}`
"""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.files import damage_of, digest, file_digest, sweep_temporary, write_atomic
from swdb.core.progress import Advance
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import check_sizes, masks_digest, read_mask, resize_longest_side, write_mask
from swdb.evaluation.confusion import confusion, iou, miou
from swdb.methods.method import METHODS
from swdb.methods.training import load_trained
from swdb.nn.compute import Compute
from swdb.nn.dense_crf import energy_of, refine
from swdb.nn.losses import resize
from swdb.specs.crf_parameters import crf_set
from swdb.specs.tasks import ScoreTask, Scoring

BATCH_PIXELS = 600_000  # of images of one size that are predicted together

Predict = Callable[[Tensor], Tensor]  # images (B, H, W, 3) uint8 RGB -> probabilities (B, C, H, W)


def evaluate(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Predict and score the validation split; predictions that are there already are kept. Returns what its record says."""
    task: ScoreTask = artefact.task
    dataset = tools.dataset(artefact.input("data"))
    runs = [other for other in artefact.inputs if other.kind == "run"]
    predict = _predictor(runs, task.scoring, dataset.num_classes, tools.compute)
    with damage_of(runs[0].record):
        machine = runs[0].read_record()["machine"]
    predictions = artefact.folder / "predictions"
    advance = tools.progress(artefact.name, len(dataset.ids(VAL_SPLIT)))
    write_predictions(predictions, dataset, predict, task, advance)
    return {
        **score(artefact.folder, dataset),
        "run": "+".join(run.id for run in runs),
        "branch": task.scoring.branch,
        "scales": list(task.scoring.scales),
        "flip": task.scoring.flip,
        "crf": task.scoring.crf,
        "seed": runs[0].task.seed,
        "machine": machine,
    }


def _predictor(runs: list[Artefact], scoring: Scoring, num_classes: int, compute: Compute) -> Predict:
    """Load finished runs; returns the function that averages their probabilities."""
    models = [(METHODS[run.task.run.method], load_trained(run, num_classes, compute)) for run in runs]

    def predict(images: Tensor) -> Tensor:
        found = []
        for method, model in models:
            inputs = model.inputs(images)
            with compute.autocast():
                inputs = compute.inputs(inputs)
                found.append(method.predict(model.network, inputs, scoring.branch, scoring.scales, scoring.flip))
        return found[0] if len(found) == 1 else torch.stack(found).mean(0)

    return predict


def write_predictions(folder: Path, dataset: DataSet, predict: Predict, task: ScoreTask, advance: Advance) -> None:
    """Write a palette PNG for every validation image that has none yet.

    `predict` sees images shrunk to the task's longest side; what it says is brought back to full size, and refined there.
    """
    sweep_temporary(folder)
    ids = dataset.ids(VAL_SPLIT)
    missing = [image_id for image_id in ids if not (folder / f"{image_id}.png").is_file()]
    done = len(ids) - len(missing)
    for batch_ids, images in _batches(dataset, missing):
        shown = np.stack([resize_longest_side(image, task.longest_side) for image in images])
        scores = resize(predict(torch.from_numpy(shown)), images.shape[1:3])
        if task.scoring.crf is not None:
            scores = refine(energy_of(scores), torch.from_numpy(images), crf_set(task.scoring.crf))
        labels = scores.argmax(1).to(torch.uint8).cpu().numpy()
        for image_id, label in zip(batch_ids, labels, strict=True):
            write_mask(folder / f"{image_id}.png", label, dataset.facts.palette)
        done += len(batch_ids)
        advance(done, len(ids))


def score(folder: Path, dataset: DataSet) -> dict[str, Any]:
    """Count the predictions of a folder against the truth, keep the counts, and return mIoU and IoUs with a digest of all."""
    ids, predictions = dataset.ids(VAL_SPLIT), folder / "predictions"
    counts = np.stack([_count(dataset, predictions / f"{image_id}.png", image_id) for image_id in ids])
    path = folder / "confusion.npz"
    write_atomic(path, lambda stream: np.savez_compressed(stream, ids=np.array(ids), counts=counts.astype(np.int32)))
    total = counts.sum(0)
    return {
        "digest": digest([file_digest(path), masks_digest(predictions)]),
        "split": VAL_SPLIT,
        "images": len(ids),
        "miou": miou(total),
        "iou": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(dataset.class_names, iou(total), strict=True)
        },
        "data": dataset.digest,
    }


def _batches(dataset: DataSet, ids: list[str]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Read images and yield them in batches of one size: (ids, (B, H, W, 3) uint8 RGB)."""
    loaded = ((image_id, dataset.image(image_id)) for image_id in ids)
    for _, same_size in groupby(loaded, key=lambda item: item[1].shape):
        batch: list[tuple[str, np.ndarray]] = []
        for item in same_size:
            batch.append(item)
            if len(batch) * item[1][..., 0].size >= BATCH_PIXELS:
                yield [k for k, _ in batch], np.stack([image for _, image in batch])
                batch = []
        if batch:
            yield [k for k, _ in batch], np.stack([image for _, image in batch])


def _count(dataset: DataSet, path: Path, image_id: str) -> np.ndarray:
    """Count one prediction, which is as large as its image."""
    truth, prediction = dataset.mask(image_id, VAL_SPLIT), read_mask(path, dataset.num_classes)
    truth_path = dataset.mask_path(image_id, VAL_SPLIT)
    check_sizes(dataset.settings.image_size, dataset.image_path(image_id), prediction, truth_path, truth)
    return confusion(truth, prediction, dataset.num_classes)
