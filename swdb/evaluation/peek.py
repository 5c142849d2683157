"""What choosing the best step on val would have printed: a run's training once more, scored on its way. Not a result.

A run keeps its last weights alone, and never sees the validation split. So its steps are taken again, from the same inputs
and seed, and it is here that val is opened. The end must be the run's own weights, to the last bit: else this would be the
curve of another training.

in: a peek's artefact, whose inputs are a finished run and what that was made from
-> out: `peeks/<id>/curve.json`, mIoU of each branch by step
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput
from swdb.core.files import damage_of, digest, read_json, write_json
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import image_size
from swdb.data.resident import sent
from swdb.evaluation.confusion import miou
from swdb.evaluation.evaluate import batches_of, counted, images_of, true_masks
from swdb.evaluation.views import averaged, looking, way_of
from swdb.methods.method import METHODS
from swdb.methods.training import train_run
from swdb.nn.checkpoints import CHECKPOINT, WEIGHTS
from swdb.nn.labelling import Fitting
from swdb.nn.losses import resize
from swdb.nn.model import Model
from swdb.nn.networks import preprocessing_of
from swdb.nn.trainer import Stops
from swdb.specs.tasks import PeekTask

CURVE = "curve.json"


def peek(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Train a run again and score it on its way; returns what the record says."""
    task: PeekTask = artefact.task
    run, dataset = artefact.input("run"), tools.dataset(artefact.input("data"))
    made, here = run.read_record(), tools.compute.describe()
    with damage_of(run.record):
        there, preprocessing = made["machine"], preprocessing_of(made)
    if there != here:
        tools.tell(f"{run.id} was trained on {_named(there)}, here it is {_named(here)}: its end may be another one")
    curve = _begun(artefact, here)

    def look(step: int, network: nn.Module) -> None:
        if str(step) not in curve["scores"]:
            model = Model(network, preprocessing, tools.compute)
            curve["scores"][str(step)] = scores(model, run.task.run.method, task, dataset, tools)
            write_json(artefact.folder / CURVE, curve)

    stops = Stops(frozenset(steps_of(run.steps, task.points)), look)
    again = train_run(replace(run, folder=artefact.folder), tools, artefact.name, stops)
    if again["digest"] != run.digest():
        found = f"ended with other weights than {run.id}, which was trained on {_named(there)}"
        raise BadInput(artefact.id, found, f"the same weights, as this machine gives them: {_named(here)}")
    for name in ("training.json", WEIGHTS, "samples.json"):  # so ordered that what a kill leaves can be gone on with
        (artefact.folder / name).unlink(missing_ok=True)
    found = {"curve": curve["scores"], "best": best(curve["scores"]), "last": curve["scores"][str(run.steps)]}
    return {
        "digest": digest(found),
        "run": run.id,
        "weights": run.digest(),
        "steps": run.steps,
        **found,
        "machine": here,
    }


def steps_of(steps: int, points: int) -> list[int]:
    """Return the steps after which a training is scored, at equal distances; the last one is its end."""
    return sorted({max(1, round(steps * point / points)) for point in range(1, points + 1)})


def best(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Return the best step and score of each branch; the first of equal ones, as who keeps the best so far has it."""
    found: dict[str, dict[str, Any]] = {}
    for step, by_branch in sorted(scores.items(), key=lambda item: int(item[0])):
        for branch, value in by_branch.items():
            if branch not in found or value > found[branch]["miou"]:
                found[branch] = {"step": int(step), "miou": value}
    return found


def _begun(artefact: Artefact, here: dict[str, Any]) -> dict[str, Any]:
    """Return the curve as far as it was scored here; what another machine began is begun again."""
    path = artefact.folder / CURVE
    if path.is_file():
        with damage_of(path, "a curve"):
            found = read_json(path)
            if found["machine"] == here and isinstance(found["scores"], dict):
                return found
        for name in (CHECKPOINT, "training.json", WEIGHTS):
            (artefact.folder / name).unlink(missing_ok=True)
    curve = {"machine": here, "scores": {}}
    write_json(path, curve)
    return curve


def scores(model: Model, method: str, task: PeekTask, dataset: DataSet, tools: Tools) -> dict[str, float]:
    """Return the mIoU of each branch of a network as it is now, counted as a score counts it; nothing is written."""
    ids, device = dataset.ids(VAL_SPLIT), tools.compute.device
    sizes = [image_size(dataset.image_path(image_id)) for image_id in ids]
    ways = {way_of(scoring): scoring.branch for scoring in task.scorings}
    totals = dict.fromkeys(ways.values(), np.zeros((dataset.num_classes,) * 2, np.int64))
    fit = Fitting(tools.tell)
    for batch in batches_of(sizes, device):
        named = [ids[row] for row in batch]
        shown, images = images_of(dataset, named, task.longest_side)
        shown, truth = (sent(torch.from_numpy(array), device) for array in (shown, true_masks(dataset, named, images)))

        def count(part: slice, shown: torch.Tensor = shown, truth: torch.Tensor = truth) -> list[dict[str, np.ndarray]]:
            found: list[dict[str, np.ndarray]] = [{} for _ in truth[part]]
            look = looking(METHODS[method], model, model.inputs(shown[part]))
            for way, probabilities in averaged(look, ways):
                labels = resize(probabilities, tuple(truth.shape[1:])).argmax(1).to(torch.uint8)
                for one, counts in zip(
                    found, counted(truth[part], labels, dataset.num_classes).cpu().numpy(), strict=True
                ):
                    one[ways[way]] = counts
            return found

        for one in fit(count, len(batch), sizes[batch[0]]):
            totals = {branch: total + one[branch] for branch, total in totals.items()}
    return {branch: miou(total) for branch, total in totals.items()}


def _named(machine: dict[str, Any]) -> str:
    return f"{machine.get('name')} ({machine.get('device')}, torch {machine.get('torch')})"
