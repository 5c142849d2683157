"""One run evaluated in all ways that are in use, from as few forward passes as it takes: a diagnosis, not a result.

Each scale and mirror is looked at once; averages, CRFs and both branches share what the network said of it. What is done
of a laboratory is kept in parts beside it, so a kill costs one part.

in: a laboratory's artefact, whose inputs are the data set, a finished run and its score
-> out: `runs/<id>/evals/lab.{json,md}`
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, digest, write_text
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import image_size, read_mask
from swdb.data.resident import sent
from swdb.data.voc import IGNORE
from swdb.evaluation.choices import Choice, Geometry, choices_of
from swdb.evaluation.confusion import CLOSE, COUNTS, json_number, miou, read_counts
from swdb.evaluation.definitions import DEFINITIONS
from swdb.evaluation.evaluate import PREDICTIONS, batches_of, counted, images_of, true_masks
from swdb.evaluation.geometry import arranged, brought_back, on_grid, shrunk
from swdb.evaluation.kept import counted_parts
from swdb.evaluation.lab_table import markdown
from swdb.evaluation.views import Look, averaged, looking, views_of, way_of
from swdb.methods.method import METHODS, Method
from swdb.methods.training import load_trained
from swdb.nn.dense_crf import energy_of, refine
from swdb.nn.labelling import Fitting, parts_of
from swdb.nn.losses import resize
from swdb.nn.model import Model
from swdb.specs.crf_parameters import crf_set
from swdb.specs.tasks import LabTask, Scoring


def examine(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Score a run in all ways, write them as Markdown; returns what the record says."""
    task: LabTask = artefact.task
    dataset, run, score = (tools.dataset(artefact.input("data")), artefact.input("run"), artefact.input("score"))
    bench = Bench(
        METHODS[run.task.run.method],
        load_trained(run, dataset.num_classes, tools.compute),
        choices_of(task, run.task.run),
        dataset.num_classes,
    )
    counts, stored = stored_counts(score, dataset)
    totals, void = _examined(artefact, dataset, bench, tools)
    named = [(choice, miou(total)) for choice, total in zip(bench.choices, totals, strict=True)]
    record = {
        "run": run.id,
        "seed": run.task.seed,
        "branch": task.scoring.branch,
        "images": len(counts),
        "preset": task.preset,
        "comparable": task.comparable,
        "paper": task.printed,
        "miou": stored,
        "recomputed": named[0][1],
        "definitions": [
            {"key": one.key, "words": one.words, "where": one.where, "miou": json_number(one.score(counts, void))}
            for one in DEFINITIONS
        ],
        "choices": [
            {"key": one.key, "words": one.words, "where": one.where, "miou": json_number(value)}
            for one, value in named[1:]
        ],
        "passes": len(bench.passes),
        "machine": tools.compute.describe(),
    }
    write_text(artefact.record.with_suffix(".md"), markdown(record))
    return {"digest": digest([record["definitions"], record["choices"]]), **record}


def stored_counts(score: Artefact, dataset: DataSet) -> tuple[np.ndarray, float]:
    """Return the counts of a finished score (N, C, C) and its mIoU; raises MissingArtefact where they do not agree."""
    ids, counts = read_counts(path := score.folder / COUNTS)
    with damage_of(score.record, "a score"):
        stored = float(score.read_record()["miou"])
    if (
        ids.tolist() != dataset.ids(VAL_SPLIT)
        or counts.shape[1:] != (dataset.num_classes,) * 2
        or not abs(miou(counts.sum(0)) - stored) <= CLOSE  # nor is it, of NaN
    ):
        raise MissingArtefact(path, "counts that do not give the score", f"those of {stored:.2f}")
    return counts, stored


# ---------------------------------------------------------------- one part after the other


def _examined(artefact: Artefact, dataset: DataSet, bench: "Bench", tools: Tools) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of each choice over the split (K, C, C), and what is predicted on void pixels (N, C)."""
    ids, device = dataset.ids(VAL_SPLIT), tools.compute.device
    sizes = [image_size(dataset.image_path(image_id)) for image_id in ids]
    predictions, fit = artefact.input("score").folder / PREDICTIONS, Fitting(tools.tell)
    advance = tools.progress(artefact.name, len(ids))

    def look(batch: list[int]) -> tuple[np.ndarray, np.ndarray]:
        named = [ids[row] for row in batch]
        shown, images = images_of(dataset, named, artefact.task.longest_side)
        truth = true_masks(dataset, named, images)
        said = [read_mask(predictions / f"{name}.png", dataset.num_classes) for name in named]
        void = [
            np.bincount(one[true == IGNORE], minlength=dataset.num_classes)
            for one, true in zip(said, truth, strict=True)
        ]
        shown, images, truth = (sent(torch.from_numpy(one), device) for one in (shown, images, truth))
        found = fit(lambda part: bench.counts(shown[part], images[part], truth[part]), len(batch), sizes[batch[0]])
        return torch.stack(found).sum(0).cpu().numpy(), np.stack(void)

    totals: np.ndarray | int = 0
    void = np.zeros((len(ids), dataset.num_classes), np.int64)
    parts = parts_of(batches_of(sizes, device), device)
    counted_of = counted_parts(
        artefact, tools.compute.describe, parts, lambda part: _together(map(look, part)), advance
    )
    for part, (counts, of_part) in zip(parts, counted_of, strict=True):
        totals, void[[row for batch in part for row in batch]] = totals + counts, of_part
    return totals, void


def _together(found: Iterator[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    counts, void = zip(*found, strict=True)
    return sum(counts), np.concatenate(void)


# ---------------------------------------------------------------- one batch


@dataclass(frozen=True)
class Bench:
    """A run's network, and the ways in which its predictions are counted."""

    method: Method
    model: Model
    choices: list[Choice]
    num_classes: int

    @property
    def passes(self) -> list[tuple[str, int, float, bool]]:
        """List the forward passes that a batch takes: what is shown of an image, its side, scale and mirror."""
        ours, whole = self.choices[0].scoring, [one.scoring for one in self.choices if one.geometry is None]
        other = dict.fromkeys((one.shown, one.side) for one in self._geometries if one.shown != "whole")
        return [("whole", 0, *view) for view in views_of(map(way_of, whole))] + [
            (*shown, *view) for shown in other for view in views_of([way_of(ours)])
        ]

    @property
    def _geometries(self) -> list[Geometry]:
        return [one.geometry for one in self.choices if one.geometry is not None]

    def counts(self, shown: Tensor, images: Tensor, truth: Tensor) -> list[Tensor]:
        """Count a batch in all ways: what the network sees and full size (B, H, W, 3), truth (B, H, W) -> B of (K, C, C)."""
        inputs, size = self.model.inputs(shown), tuple(truth.shape[1:])
        ours, found = way_of(self.choices[0].scoring), {}
        whole = [one for one in self.choices if one.geometry is None]
        for way, probabilities in averaged(self._look_at(inputs), dict.fromkeys(way_of(one.scoring) for one in whole)):
            full = resize(probabilities, size)
            for one in whole:
                if way_of(one.scoring) == way:
                    found[one.key] = self._count(truth, _refined(full, images, one.scoring))
            if way == ours:
                for one in self.choices:
                    if one.geometry is not None and one.geometry.shown == "whole":
                        found[one.key] = self._count(*self._at_its_size(one.geometry, truth, probabilities))
        for geometry in dict.fromkeys(Geometry(one.shown, one.side) for one in self._geometries):
            if geometry.shown != "whole":
                found |= self._shown_otherwise(geometry, inputs, truth)
        return list(torch.stack([found[one.key] for one in self.choices], 1))

    def _look_at(self, inputs: Tensor) -> Look:
        return looking(self.method, self.model, inputs)

    def _shown_otherwise(self, geometry: Geometry, inputs: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Count what the network says of images that it sees cut, padded or resized, by the choices' keys."""
        ours, size = self.choices[0].scoring, tuple(inputs.shape[-2:])
        ((_, said),) = averaged(self._look_at(arranged(inputs, geometry)), [way_of(ours)])
        found = {}
        for one in self.choices:
            if one.geometry is None or (one.geometry.shown, one.geometry.side) != (geometry.shown, geometry.side):
                continue
            if one.geometry.scored == "seen":
                found[one.key] = self._count(arranged(shrunk(truth, size), geometry, nearest=True), said)
            else:
                full = resize(brought_back(said, geometry, size), tuple(truth.shape[1:]))
                found[one.key] = self._count(truth, full)
        return found

    def _at_its_size(self, geometry: Geometry, truth: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        """Return truth and probabilities where the network computes: at the size that it sees, or at its own points."""
        truth = shrunk(truth, tuple(said.shape[-2:]))
        if geometry.scored == "seen":
            return truth, said
        backbone: nn.Module = self.model.network.backbone
        return on_grid(truth, backbone), on_grid(said, backbone)

    def _count(self, truth: Tensor, scores: Tensor) -> Tensor:
        """Count the best classes of scores (B, C, H, W) against the truth (B, H, W), (B, C, C) int64."""
        return counted(truth, scores.argmax(1).to(torch.uint8), self.num_classes)


def _refined(scores: Tensor, images: Tensor, scoring: Scoring) -> Tensor:
    """Refine probabilities as a scoring says."""
    return scores if scoring.crf is None else refine(energy_of(scores), images, crf_set(scoring.crf))
