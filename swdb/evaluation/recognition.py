"""What the recognizer behind a run of DecoupledNet finds on the validation split, and what it costs. A diagnosis, not a result.

A class that is not found costs its whole IoU, whatever the decoder could do. So this counts what is found, and scores the run
once more with the true tags in the recognizer's place; no cell of a table reads it.

in: a recognition's artefact, whose inputs are the data set and a finished run -> out: `runs/<id>/evals/recognition.json`
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.files import digest
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import image_size
from swdb.data.resident import sent
from swdb.evaluation.confusion import iou_by_name, miou
from swdb.evaluation.evaluate import batches_of, counted, images_of, true_masks
from swdb.methods.decoupled_prediction import black, tag_probabilities, to_squares
from swdb.methods.method import METHODS
from swdb.methods.recognizer import tags_of
from swdb.methods.training import load_trained
from swdb.nn.labelling import Fitting
from swdb.nn.losses import resize
from swdb.nn.model import Model
from swdb.specs.tasks import RecognitionTask


def recognise(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Ask about every validation image; returns what the record says, and tells where no class is found anywhere."""
    run, dataset = artefact.input("run"), tools.dataset(artefact.input("data"))
    model = load_trained(run, dataset.num_classes, tools.compute)
    probable, there, total = _asked(artefact, model, dataset, tools)
    found = probable > model.network.settings.threshold
    names = dataset.class_names[1:]
    recall = {name: _share(found[there[:, k], k]) for k, name in enumerate(names)}
    precision = {name: average_precision(probable[:, k], there[:, k]) for k, name in enumerate(names)}
    nowhere = float((~found.any(1)).mean())
    if nowhere == 1:
        told = f"finds no class in any of the {len(found)} validation images (recall 0): all of them are background"
        tools.tell(f"the recognizer behind {run.id} {told}")
    record = {
        "run": run.id,
        "seed": run.task.seed,
        "split": VAL_SPLIT,
        "images": len(found),
        "threshold": model.network.settings.threshold,
        "map": float(np.mean([value for value in precision.values() if value is not None])),
        "average_precision": precision,
        "recall": recall,
        "found": int(found.sum()),
        "found_wrongly": int((found & ~there).sum()),
        "no_class_found": nowhere,
        "miou_true_tags": miou(total),
        "iou_true_tags": iou_by_name(total, dataset.class_names),
        "data": dataset.digest,
        "machine": tools.compute.describe(),
    }
    return {"digest": digest({name: value for name, value in record.items() if name != "machine"}), **record}


def _asked(
    artefact: Artefact, model: Model, dataset: DataSet, tools: Tools
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how probable each class is in each image and whether it is there (N, C-1), and counts with true tags (C, C)."""
    task: RecognitionTask = artefact.task
    ids, device, num_classes = dataset.ids(VAL_SPLIT), tools.compute.device, dataset.num_classes
    sizes = [image_size(dataset.image_path(image_id)) for image_id in ids]
    probable, there = np.zeros((len(ids), num_classes - 1), np.float32), np.zeros((len(ids), num_classes - 1), bool)
    total, fit, done = np.zeros((num_classes,) * 2, np.int64), Fitting(tools.tell), 0
    method = METHODS[artefact.input("run").task.run.method]
    advance = tools.progress(artefact.name, len(ids))

    def look(shown: Tensor, truth: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        tags = tags_of(truth, num_classes)
        inputs, scoring = model.inputs(shown), task.scoring
        with model.compute.autocast(), torch.no_grad():
            inputs = model.compute.inputs(inputs)
            squares = to_squares(inputs, model.network.settings.size, black(model.preprocessing))
            said = tag_probabilities(model.network.recognizer, model.network.see(squares).features)
            maps = method.predict(model, inputs, scoring.branch, scoring.scales, scoring.flip, tags)
        labels = resize(maps, tuple(truth.shape[1:])).argmax(1).to(torch.uint8)
        return list(zip(said, tags, counted(truth, labels, num_classes), strict=True))

    for batch in batches_of(sizes, device):
        named = [ids[row] for row in batch]
        shown, images = images_of(dataset, named, task.longest_side)
        shown, truth = (sent(torch.from_numpy(one), device) for one in (shown, true_masks(dataset, named, images)))
        found = fit(lambda part, shown=shown, truth=truth: look(shown[part], truth[part]), len(batch), sizes[batch[0]])
        for row, (said, tags, counts) in zip(batch, found, strict=True):
            probable[row], there[row] = said.float().cpu().numpy(), tags.cpu().numpy()
            total += counts.cpu().numpy()
        done += len(batch)
        advance(done, len(ids))
    return probable, there, total


def average_precision(scores: np.ndarray, there: np.ndarray) -> float | None:
    """Return the mean precision at the places of what is there (N,), by falling score; None where nothing is there."""
    if not there.any():
        return None
    right = there[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float(precision[right].mean())


def _share(found: np.ndarray) -> float | None:
    return float(found.mean()) if len(found) else None
