"""The pipeline makes what is missing, in order, from inputs that are checked."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, other_data
from PIL import Image

from swdb.core.errors import MissingArtefact
from swdb.evaluation.figures import GAP, TILE, TITLE
from swdb.nn.compute import Machine
from swdb.specs.presets import load_preset
from swdb.study.plan import Scoring, Work
from swdb.study.runner import Pipeline

CPU = Machine(torch.device("cpu"), "fp32")


class Seen(list):
    """An observer that keeps the names of the stages."""

    def stage(self, name, total, counts=False):
        self.append(name)
        return lambda done, of: None

    def tell(self, line):
        self.append(line)


def pipeline_in(folder: Path, preset=None) -> Pipeline:
    return Pipeline(Work(folder, preset or load_preset(TINY), "fp32"), CPU, Seen())


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("copied") / "work"
    shutil.copytree(finished, folder)
    assert pipeline_in(folder).data.ids("val")  # files that were copied are audited once more
    return folder


@pytest.fixture
def own(finished, tmp_path) -> Path:
    """A finished work directory that a test may spoil."""
    shutil.copytree(finished, tmp_path / "work")
    return tmp_path / "work"


def times(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


# ---------------------------------------------------------------- data first


def test_the_embedded_data_set_is_drawn_where_it_is_missing(tmp_path):
    pipeline = pipeline_in(tmp_path / "work")
    assert len(pipeline.data.ids("train_aug")) == 32
    assert pipeline.observer == ["draw the data set", "audit the data set"]


def test_a_data_set_that_is_there_is_not_drawn_again(copied):
    pipeline = pipeline_in(copied)
    before = times(copied / "data")
    assert len(pipeline.data.ids("val")) == 6
    assert pipeline.observer == []
    assert times(copied / "data") == before


def test_photographs_are_not_drawn_and_nothing_is_made_without_them(tmp_path):
    pipeline = pipeline_in(tmp_path / "work", load_preset("voc"))
    with pytest.raises(MissingArtefact, match=r"'voc' is not in .*; run: swdb prepare-voc --preset voc .*--voc DIR"):
        pipeline.make([pipeline.work.initial_weights])  # a download: data are asked for before it
    assert not (tmp_path / "work" / "weights").exists()


# ---------------------------------------------------------------- making


def test_finished_artefacts_are_not_touched(copied):
    pipeline = pipeline_in(copied)
    plan = pipeline.work.plan(pipeline.work.recipes.values(), [0])
    before = times(copied)
    pipeline.make(plan)
    assert len(plan) == 18 + 4  # and the initial weights, the cues, two sets of proxies
    assert times(copied) == before
    assert pipeline.observer == []


def test_what_is_missing_is_made_in_the_plans_order(own):
    pipeline = pipeline_in(own)
    work = pipeline.work
    for name in ("weak", "weak-then-strong"):
        shutil.rmtree(work.run(work.recipe(name), 0).folder)
    plan = work.plan([work.recipe("weak-then-strong")], [0])
    pipeline.make(plan)
    assert [name for name in pipeline.observer if name.endswith("-s0")] == ["weak-s0", "weak-then-strong-s0"]
    assert all(artefact.done for artefact in plan)


def test_a_run_is_scored_as_soon_as_it_is_trained(own):
    pipeline = pipeline_in(own)
    work = pipeline.work
    runs = [work.run(work.recipe(name), 0) for name in ("strong", "dual")]
    for run in runs:
        shutil.rmtree(run.folder)
    scores = [(runs[0], Scoring("strong")), (runs[1], Scoring("strong")), (runs[1], Scoring("weak"))]
    pipeline.make_and_score(runs, scores)
    assert [name for name in pipeline.observer if "-s0" in name] == [
        "strong-s0", "strong-s0 val-strong", "dual-s0", "dual-s0 val-strong", "dual-s0 val-weak",
    ]  # fmt: skip
    assert all(scoring.result(run) is not None for run, scoring in scores)


def test_a_finished_score_is_read_without_the_network(own):
    pipeline = pipeline_in(own)
    run = pipeline.work.run(pipeline.work.recipe("dual"), 0)
    (run.folder / "weights.pt").unlink()
    on_disk = json.loads((run.folder / "evals" / "val-weak" / "result.json").read_text())
    assert pipeline.score(run, Scoring("weak")) == on_disk


# ---------------------------------------------------------------- inputs are checked


def test_a_run_on_other_data_is_refused_and_left_alone(own):
    pipeline = pipeline_in(own)
    run = pipeline.work.run(pipeline.work.recipe("dual"), 0)
    other_data(own)
    before = times(run.folder)
    with pytest.raises(MissingArtefact, match=r"dual-s0-\w+ was trained on other data .* delete that folder and run"):
        pipeline.make([run])
    assert times(run.folder) == before


@pytest.mark.parametrize("proxy_set", [1, 2])
def test_proxies_of_other_data_are_refused(own, proxy_set):
    pipeline = pipeline_in(own)
    other_data(own)
    with pytest.raises(MissingArtefact, match=rf"dsrg-{proxy_set}-\w+ .*other data"):
        pipeline.make([pipeline.work.proxies(proxy_set)])


def test_damaged_weights_of_a_finished_run_are_refused(own):
    pipeline = pipeline_in(own)
    run = pipeline.work.run(pipeline.work.recipe("dual"), 0)
    weights = run.folder / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(MissingArtefact, match=r"weights\.pt is missing or damaged; delete the folder"):
        pipeline.score(run, Scoring("strong", flip=True))


def test_damaged_initial_weights_are_refused(own):
    pipeline = pipeline_in(own)
    shutil.rmtree(pipeline.work.run(pipeline.work.recipe("strong"), 0).folder)
    weights = pipeline.work.initial_weights.folder / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(MissingArtefact, match=r"weights\.pt is missing or damaged"):
        pipeline.make([pipeline.work.run(pipeline.work.recipe("strong"), 0)])


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize(("name", "columns"), [("dual", 5), ("strong", 4)])
def test_a_figure_has_a_column_for_every_branch(copied, name, columns):
    pipeline = pipeline_in(copied)
    path = pipeline.figure(pipeline.work.run(pipeline.work.recipe(name), 0), num_images=2)
    assert path == copied / "reports" / "tiny" / "figures" / f"{name}-s0.png"
    with Image.open(path) as sheet:
        assert sheet.size == (columns * (TILE + GAP) - GAP, TITLE + 2 * (TILE + GAP))


def test_proxies_for_looking_at_are_masks_of_the_pictures_own_size(copied):
    pipeline = pipeline_in(copied)
    ids = pipeline.data.ids("val")
    masks = pipeline.proxies_of(ids)
    assert list(masks) == ids
    assert all(mask.shape == (32, 32) and mask.dtype == np.uint8 and mask.max() < 6 for mask in masks.values())


def test_another_preset_is_another_run(copied):
    tiny = load_preset(TINY)
    longer = replace(tiny, training=replace(tiny.training, steps=7))
    work, other = Work(copied, tiny, "fp32"), Work(copied, longer, "fp32")
    assert work.run(work.recipe("dual"), 0).done
    assert not other.run(other.recipe("dual"), 0).done
