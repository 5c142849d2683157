"""What a training has in hand: which images are strong, recorded, nested, and drawn by the seed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY
from PIL import Image
from studies import changed, graph_of, runner

from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT
from swdb.specs.presets import load_preset

PRESET = load_preset(TINY)
NUM_STRONG, NUM_CLASSES = 12, 6  # as in tiny.toml


def present(dataset, image_id):
    """The classes in a true mask, read by another library's hand."""
    mask = np.asarray(Image.open(dataset.mask_path(image_id, ALL_SPLIT)))
    return set(np.unique(mask).tolist()) - {0, 255}


@pytest.fixture(scope="module")
def portions(tmp_path_factory):
    """Table 4's runs with two seeds on a data set with enough strong images; returns it and the ids of strong images."""
    preset = changed(PRESET, "data", name="more", num_strong=150, num_train=160, image_size=16)
    preset = changed(changed(preset, "training", steps=1, crop=16), "network", weights="random")
    # without proxies there is nothing to make beforehand, and which images are strong is the same
    graph, made_by = graph_of(tmp_path_factory.mktemp("portions"), preset), runner()
    specs = {k: replace(graph.run_spec(f"dual-{k}"), weak_branch="all-strong") for k in (5, 10, 25)}
    runs = {(k, seed): graph.run(spec, seed) for k, spec in specs.items() for seed in (0, 1)}
    made_by.make(graph.needed(*runs.values()))
    read = lambda run: json.loads((run.folder / "samples.json").read_text())["strong_images"]  # noqa: E731
    return made_by.dataset(graph.data), {place: read(run) for place, run in runs.items()}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_strong_images_of_a_portion_are_recorded_and_nested(portions, seed):
    _, drawn = portions
    five, ten, many = (set(drawn[k, seed]) for k in (5, 10, 25))
    assert five < ten < many
    assert [len(drawn[k, seed]) for k in (5, 10, 25)] == [len(five), len(ten), len(many)]
    assert len(five) <= 25
    assert len(ten) <= 50
    assert len(many) <= 125


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("per_class", [5, 10, 25])
def test_every_class_has_its_portion_of_the_strong_set(portions, per_class, seed):
    dataset, drawn = portions
    strong = {image_id: present(dataset, image_id) for image_id in dataset.ids(STRONG_SPLIT)}
    assert len(strong) == 150
    assert set(drawn[per_class, seed]) <= strong.keys()
    for label in range(1, NUM_CLASSES):
        there = sum(label in classes for classes in strong.values())
        assert sum(label in strong[k] for k in drawn[per_class, seed]) >= min(per_class, there)


def test_portions_are_drawn_by_the_seed(portions):
    _, drawn = portions
    assert drawn[5, 0] != drawn[5, 1]


def test_a_run_on_all_strong_images_records_them(finished):
    graph = graph_of(finished)
    names = json.loads((graph.run(graph.run_spec("dual"), 0).folder / "samples.json").read_text())["strong_images"]
    assert names == sorted(runner().dataset(graph.data).ids(STRONG_SPLIT))
    assert len(names) == NUM_STRONG
