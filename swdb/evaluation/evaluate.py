"""Scoring on the validation split: predictions of a run, or averaged over several, integer confusion counts, mIoU.

Every image is predicted at its own size. Counts are kept image by image, so any score can be had again without a GPU.

in: a score's artefact, whose inputs are the data set and finished runs
-> out: `runs/<id>/evals/<name>/{predictions/*.png, confusion.npz, result.json}`
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.errors import SwdbError
from swdb.core.files import damage_of, digest, file_digest, write_atomic
from swdb.core.shares import are_offered, parts_folder
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import check_sizes, image_size, masks_digest, read_mask, resize_longest_side
from swdb.data.resident import sent
from swdb.evaluation.confusion import COUNTS, PREDICTIONS, confusion, iou_by_name, miou
from swdb.methods.method import METHODS
from swdb.methods.training import load_trained
from swdb.nn.compute import Compute
from swdb.nn.dense_crf import are_finite, energy_of, refine, require_finite
from swdb.nn.labelling import Fitting, Labelled, Labelling, Size, by_size, in_threads, neighbours
from swdb.nn.losses import resize
from swdb.specs.crf_parameters import crf_set
from swdb.specs.tasks import ScoreTask, Scoring

BATCH_PIXELS = {"cpu": 600_000, "cuda": 2_400_000}  # of images of one size that are predicted together

Predict = Callable[[Tensor], Tensor]  # images (B, H, W, 3) uint8 RGB -> probabilities (B, C, H, W)
Counts = dict[str, np.ndarray]  # by image


def evaluate(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Predict and score the validation split; predictions that are there already are kept. Returns what its record says."""
    task: ScoreTask = artefact.task
    dataset = tools.dataset(artefact.input("data"))
    runs = artefact.inputs_of("run")
    predict = _predictor(runs, task.scoring, dataset.num_classes, tools.compute)
    with damage_of(runs[0].record):
        machine = runs[0].read_record()["machine"]
    counts: Counts = {}
    labelling = _labelling(artefact, dataset, tools, lambda: predict, counts)
    advance = tools.progress(artefact.name, len(labelling.names))
    labelling.all_parts(parts_folder(artefact.folder), tools.compute.describe, advance)
    return {
        **score(artefact.folder, dataset, counts, in_threads(tools.compute.device)),
        "run": "+".join(run.id for run in runs),
        "branch": task.scoring.branch,
        "scales": list(task.scoring.scales),
        "flip": task.scoring.flip,
        "crf": task.scoring.crf,
        "seed": runs[0].task.seed,
        "machine": machine,
    }


def help_with_predictions(artefact: Artefact, tools: Tools) -> None:
    """Predict images of a score that another process is making; what is wrong with it, that one says."""
    leases = parts_folder(artefact.folder)
    if not are_offered(leases, tools.compute.describe):
        return
    with suppress(SwdbError):
        dataset = tools.dataset(artefact.input("data"))
        runs = artefact.inputs_of("run")
        load = partial(_predictor, runs, artefact.task.scoring, dataset.num_classes, tools.compute)
        _labelling(artefact, dataset, tools, load, {}).free_parts(leases)


def _predictor(runs: list[Artefact], scoring: Scoring, num_classes: int, compute: Compute) -> Predict:
    """Load finished runs; returns the function that averages their probabilities."""
    models = [(METHODS[run.task.run.method], load_trained(run, num_classes, compute)) for run in runs]

    def predict(images: Tensor) -> Tensor:
        found = []
        for method, model in models:
            inputs = model.inputs(images)
            with compute.autocast():
                inputs = compute.inputs(inputs)
                found.append(method.predict(model, inputs, scoring.branch, scoring.scales, scoring.flip))
        return found[0] if len(found) == 1 else torch.stack(found).mean(0)

    return predict


def _labelling(
    artefact: Artefact, dataset: DataSet, tools: Tools, load: Callable[[], Predict], counts: Counts
) -> Labelling:
    """Say how the validation images are predicted; `load` is asked for what predicts, if need be.

    The networks see images shrunk to the task's longest side; what they say is brought back to full size, and refined
    there. A GPU counts what it predicts at once, into `counts`.
    """
    task, device, ids = artefact.task, tools.compute.device, dataset.ids(VAL_SPLIT)
    sizes = [image_size(dataset.image_path(image_id)) for image_id in ids]
    crf = None if task.scoring.crf is None else crf_set(task.scoring.crf)
    predict_of, fit, on_gpu = cache(load), Fitting(tools.tell), device.type == "cuda"

    def read(rows: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        shown, images = images_of(dataset, [ids[row] for row in rows], task.longest_side)
        truth = true_masks(dataset, [ids[row] for row in rows], images) if on_gpu else None
        return shown, images, truth

    def label(rows: list[int], found: tuple[np.ndarray, np.ndarray, np.ndarray | None]) -> Labelled:
        shown, images, truth = (None if array is None else sent(torch.from_numpy(array), device) for array in found)
        predict, size = predict_of(), sizes[rows[0]]

        def work(part: slice) -> list[tuple[Tensor, Tensor | None, Tensor | None]]:
            scores = resize(predict(shown[part]), size)
            if crf is not None:
                scores = refine(energy_of(scores), images[part], crf, check=False)
            labels = scores.argmax(1).to(torch.uint8)
            nothing = [None] * len(labels)
            counted = nothing if truth is None else confusion_on_device(truth[part], labels, dataset.num_classes)
            finite = nothing if crf is None else [are_finite(one) for one in scores]
            return list(zip(labels, counted, finite, strict=True))

        labels, counted, finite = zip(*fit(work, len(rows), size), strict=True)

        def finish() -> None:
            if crf is not None:
                require_finite(torch.stack(finite).all())
            if truth is not None:
                counts.update(zip((ids[row] for row in rows), torch.stack(counted).cpu().numpy(), strict=True))

        return labels, finish

    batches = batches_of(sizes, device)
    return Labelling(artefact.folder / PREDICTIONS, ids, batches, dataset.facts.palette, read, label, device)


def batches_of(sizes: Sequence[Size], device: torch.device) -> list[list[int]]:
    """Return which images are predicted together, by their rows: all of one batch have one size."""
    # On a CPU larger batches gain nothing, and images that follow each other are what it has always put together.
    together = by_size if device.type == "cuda" else neighbours
    return together(sizes, lambda area: -(-BATCH_PIXELS[device.type] // area))


def images_of(dataset: DataSet, ids: Sequence[str], longest_side: int) -> tuple[np.ndarray, np.ndarray]:
    """Read images of one size (B, H, W, 3) uint8 RGB, as a network sees them and as they are."""
    images = [dataset.image(image_id) for image_id in ids]
    return np.stack([resize_longest_side(image, longest_side) for image in images]), np.stack(images)


def true_masks(dataset: DataSet, ids: Sequence[str], images: Sequence[np.ndarray]) -> np.ndarray:
    """Read the true masks of images of one size, (B, H, W) uint8."""
    return np.stack([true_mask(dataset, image_id, image) for image_id, image in zip(ids, images, strict=True)])


def score(folder: Path, dataset: DataSet, known: Counts, each: Callable = map) -> dict[str, Any]:
    """Count the predictions of a folder against the truth, keep the counts, and return mIoU and IoUs with a digest of all.

    known: the counts of images that need not be read again. each: how the others are gone through, in their order.
    """
    ids, predictions = dataset.ids(VAL_SPLIT), folder / PREDICTIONS

    def count(image_id: str) -> np.ndarray:
        return known[image_id] if image_id in known else _count(dataset, predictions / f"{image_id}.png", image_id)

    counts = np.stack(list(each(count, ids)))
    path = folder / COUNTS
    write_atomic(path, lambda stream: np.savez_compressed(stream, ids=np.array(ids), counts=counts.astype(np.int32)))
    total = counts.sum(0)
    return {
        "digest": digest([file_digest(path), masks_digest(predictions)]),
        "split": VAL_SPLIT,
        "images": len(ids),
        "miou": miou(total),
        "iou": iou_by_name(total, dataset.class_names),
        "data": dataset.digest,
    }


def _count(dataset: DataSet, path: Path, image_id: str) -> np.ndarray:
    """Count one prediction, which is as large as its image."""
    prediction = read_mask(path, dataset.num_classes)
    return confusion(true_mask(dataset, image_id, prediction), prediction, dataset.num_classes)


def true_mask(dataset: DataSet, image_id: str, like: np.ndarray) -> np.ndarray:
    """Read an image's true mask, which is as large as the image, or as its prediction."""
    truth, truth_path = dataset.mask(image_id, VAL_SPLIT), dataset.mask_path(image_id, VAL_SPLIT)
    check_sizes(dataset.settings.image_size, dataset.image_path(image_id), like, truth_path, truth)
    return truth


def confusion_on_device(truth: Tensor, prediction: Tensor, num_classes: int) -> Tensor:
    """Count as `confusion` does, image by image where they lie: (B, H, W) uint8 both -> (B, C, C) int64.

    A product of zeros and ones: exact in any precision while an image has fewer than 2**24 pixels, and the same every time.
    """
    classes = torch.arange(num_classes, device=truth.device)
    is_true, is_predicted = ((mask.flatten(1)[..., None] == classes).float() for mask in (truth, prediction))
    with torch.autocast(truth.device.type, enabled=False):
        return (is_true.mT @ is_predicted).long()


def counted(truth: Tensor, prediction: Tensor, num_classes: int) -> Tensor:
    """Count image by image where they lie: (B, H, W) uint8 both -> (B, C, C) int64."""
    if prediction.is_cuda:
        return confusion_on_device(truth, prediction, num_classes)
    pairs = zip(truth.numpy(), prediction.numpy(), strict=True)
    return torch.from_numpy(np.stack([confusion(*pair, num_classes) for pair in pairs]))
