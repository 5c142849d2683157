"""Makes what a plan lists: each artefact from its inputs, in order, skipping what is finished.

in: a plan -> out: finished artefacts and scores on disk; progress through an `Observer`
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from swdb.core.files import Progress
from swdb.data import audit, dataset
from swdb.data.dataset import DataSet
from swdb.data.images import read_mask
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.data.store import Store, training_store
from swdb.data.voc import ALL_SPLIT, VAL_SPLIT
from swdb.evaluation import evaluate, figures
from swdb.methods import training
from swdb.nn import initial_weights
from swdb.nn.compute import Machine
from swdb.proxy import cues, masks
from swdb.proxy.cue_file import lacking_lines
from swdb.specs.tables import BRANCHES, Recipe
from swdb.study.plan import Artefact, Scoring, Work


class Observer(Protocol):
    """Who wants to know how far the work is."""

    def stage(self, name: str, total: int, counts: bool = False) -> Progress:
        """Begin a stage, whose steps may count towards the whole; returns a function to be called with (done, of)."""

    def tell(self, line: str) -> None:
        """Say something that people should know before the work is over."""


@dataclass
class Pipeline:
    """Makes artefacts of one work directory on one machine."""

    work: Work
    machine: Machine
    observer: Observer

    @cached_property
    def data(self) -> DataSet:
        """The prepared data set, audited; the synthetic one is drawn where it is not there yet."""
        data = self.work.preset.data
        if data.dataset == "synthetic" and not (self.work.data_root / "manifest.json").is_file():
            prepare(data, self.work.data_root, NO_SOURCES, self.observer.stage, self.work.where)
        found = dataset.load(data, self.work.folder, self.work.where)
        audit.verify(found, self.observer.stage)
        return found

    @cached_property
    def store(self) -> Store:
        """The decoded training images."""
        total = len(self.data.ids(ALL_SPLIT))
        longest_side = self.work.preset.training.longest_side
        return training_store(self.data, longest_side, self.observer.stage("decode the training images", total))

    @property
    def unmasked(self) -> Store:
        """The training images without their true masks: all that cues and proxies are made from."""
        return replace(self.store, masks=None)

    def make(self, artefacts: Iterable[Artefact]) -> None:
        """Make every artefact that is not finished, in the order given."""
        data = self.data  # first of all: without data nothing else is worth a download
        for artefact in artefacts:
            inputs = self.work.input_digests(artefact, data.manifest["tree_root"])
            if artefact.done:
                artefact.check(inputs)
            else:
                artefact.begin(inputs)
                self._make_one(artefact)
            if artefact.kind == "proxies" and not artefact.passport.is_file():
                masks.issue_passport(self.work, artefact, data, self.observer.stage)

    def make_and_score(self, plan: list[Artefact], scores: list[tuple[Artefact, Scoring]]) -> None:
        """Make a plan; every run is scored as soon as it is trained, so that tables fill from the first."""
        for artefact in plan:
            self.make([artefact])
            for scored, scoring in scores:
                if scored.id == artefact.id:
                    self.score(artefact, scoring)

    def figure(self, artefact: Artefact, num_images: int = 6) -> Path:
        """Draw image, truth, proxy and both branches' predictions for the first validation images."""
        run = _recipe(self.work, artefact)
        ids = self.data.ids(VAL_SPLIT)[:num_images]
        masks = {"proxy": self.proxies_of(ids)}
        for branch in BRANCHES if run.dual else BRANCHES[:1]:
            scoring = self.work.scoring(branch)
            self.score(artefact, scoring)
            folder = scoring.folder(artefact) / "predictions"
            masks[f"{branch} branch"] = {
                image_id: read_mask(folder / f"{image_id}.png", self.data.data.num_classes) for image_id in ids
            }
        path = self.work.reports / "figures" / f"{artefact.name}.png"
        figures.figure(path, self.data, ids, masks)
        return path

    def _make_one(self, artefact: Artefact) -> None:
        work, machine = self.work, self.machine
        if artefact.kind == "cues":
            cues.make_cue_artefact(work, artefact, self.data, self.unmasked, machine, self.observer.stage)
            for line in lacking_lines(artefact.read_record("swdb make-proxy")["counts"]):
                self.observer.tell(line)
        elif artefact.kind == "proxies":
            masks.make_proxies(work, artefact, self.data, self.unmasked, machine, self.observer.stage)
        elif artefact.kind == "weights":
            progress = self.observer.stage(artefact.name, artefact.steps, counts=True)
            initial_weights.make_initial_weights(work, artefact, machine, progress)
        else:
            store = self.store  # decoded before the run's stage begins
            progress = self.observer.stage(artefact.name, artefact.steps, counts=True)
            training.train_run(work, _recipe(work, artefact), artefact, self.data, store, machine, progress)

    def score(self, artefact: Artefact, scoring: Scoring) -> dict:
        """Score a finished run with one branch; what is scored already is read."""
        found = scoring.result(artefact)
        if found is not None:
            return found
        run = _recipe(self.work, artefact)
        network, look = training.load_trained(self.work, run, artefact.seed)
        progress = self.observer.stage(f"{artefact.name} {scoring.name}", self.data.data.num_val)
        longest_side = self.work.preset.training.longest_side
        return evaluate.evaluate(artefact, scoring, self.data, network, look, self.machine, progress, longest_side)

    def proxies_of(self, ids: list[str]) -> dict[str, np.ndarray]:
        """Make proxy masks of the first kind for validation images, for looking at only."""
        self.make(self.work.needed(self.work.proxies(1)))
        return masks.proxies_of(self.work, self.data, ids, self.machine)


def _recipe(work: Work, artefact: Artefact) -> Recipe:
    """Return the values behind a run's artefact."""
    return work.recipe(artefact.name.rpartition("-s")[0])
