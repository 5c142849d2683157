"""The figure of a run: what each branch predicts beside the truth and a proxy."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studies import Watcher, graph_of, runner

from swdb.data.facts import VAL_SPLIT
from swdb.data.images import read_mask
from swdb.evaluation.figures import GAP, TILE, TITLE
from swdb.specs.tables import CellSource
from swdb.study import figure
from swdb.study.figure import NUM_IMAGES, draw_run


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory) -> Path:
    return shutil.copytree(finished, tmp_path_factory.mktemp("copied") / "work")


def run_in(folder: Path, name: str):
    graph = graph_of(folder)
    return graph, graph.run(graph.run_spec(name), 0)


@pytest.mark.parametrize(("name", "columns"), [("dual", 5), ("strong", 4)])
def test_a_figure_has_a_column_for_every_branch(copied, name, columns):
    graph, run = run_in(copied, name)
    path = draw_run(graph, runner(), run)
    assert path == copied / "reports" / "tiny" / "figures" / f"{name}-s0.png"
    with Image.open(path) as sheet:
        assert sheet.size == (columns * (TILE + GAP) - GAP, TITLE + NUM_IMAGES * (TILE + GAP))


@pytest.fixture
def drawn(monkeypatch) -> list:
    """What would be drawn: image ids, and masks by title and id."""
    found = []
    monkeypatch.setattr(figure, "figure", lambda path, dataset, ids, masks: found.append((ids, masks)))
    return found


def test_a_figure_shows_the_first_validation_images_with_proxy_and_predictions_of_their_own_size(copied, drawn):
    graph, run = run_in(copied, "dual")
    at = runner()
    draw_run(graph, at, run)
    ((ids, masks),) = drawn
    dataset = at.dataset(graph.data)
    assert ids == dataset.ids(VAL_SPLIT)[:NUM_IMAGES] and len(ids) == 6
    assert list(masks) == ["proxy", "strong branch", "weak branch"]
    for title, by_id in masks.items():
        assert list(by_id) == ids
        for mask in by_id.values():
            assert mask.shape == (32, 32) and mask.dtype == np.uint8 and mask.max() < 6, title
    for branch in ("strong", "weak"):
        folder = run.folder / "evals" / f"val-{branch}" / "predictions"
        np.testing.assert_array_equal(masks[f"{branch} branch"][ids[2]], read_mask(folder / f"{ids[2]}.png", 6))


def test_what_is_not_scored_yet_is_scored_first_and_nothing_is_trained(copied, drawn):
    graph, run = run_in(copied, "dual-kl")  # whose weak branch no table asks for
    score = graph.score(CellSource((run.task.run,), "weak"), 0)
    assert not score.done
    watcher = Watcher()
    draw_run(graph, runner(watcher), run)
    assert score.done and watcher.stages == ["dual-kl-s0-val-weak"]


def test_a_figure_of_a_run_without_proxies_makes_some_for_looking_at(finished, tmp_path, drawn):
    shutil.copytree(finished, tmp_path / "work")
    graph, run = run_in(tmp_path / "work", "strong")
    shutil.rmtree(graph.proxies(1).folder)
    watcher = Watcher()
    draw_run(graph, runner(watcher), run)
    assert graph.proxies(1).done and not (graph.proxies(1).folder / f"{drawn[0][0][0]}.png").exists()
    assert "dsrg-1" in watcher.stages and "strong-s0" not in watcher.stages
