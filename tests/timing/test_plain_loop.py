"""The plain loop learns the same as ours: the same labels on the same pixels, the same losses, batch and crop."""

import random

import numpy as np
import pytest
import torch
from conftest import TINY
from studies import changed

from swdb.data.facts import ALL_SPLIT
from swdb.data.voc import IGNORE
from swdb.specs.presets import load_preset
from swdb.specs.tables import all_runs, load_tables
from swdb.timing import plain_loop
from swdb.timing.plain_loop import Pairs, plain_seconds
from swdb.timing.random_set import random_settings, write_random_set

PRESET = load_preset(TINY)
DUAL = all_runs(load_tables())["dual"]


@pytest.fixture
def dataset(tmp_path):
    return write_random_set(tmp_path / "set", random_settings(PRESET.data, 6, 1))


def pairs_of(dataset, training) -> Pairs:
    paths = [(dataset.image_path(one), dataset.mask_path(one, ALL_SPLIT)) for one in dataset.ids(ALL_SPLIT)]
    return Pairs(paths[:1], paths, 10, training)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_a_crop_is_a_crop_of_image_and_mask_alike(dataset, scale):
    training = changed(PRESET, "training", scale_min=scale, scale_max=scale).training
    image, labels, *weak = pairs_of(dataset, training)[0]
    assert image.shape == (3, 32, 32) and image.dtype == torch.float32
    assert labels.shape == (32, 32) and labels.dtype == torch.int64
    assert (labels == IGNORE).any() == (scale < 1)
    assert torch.all(image[:, labels == IGNORE] == 0)  # beside the image lies the mean colour
    assert [one.shape for one in weak] == [image.shape, labels.shape]


def test_at_its_own_scale_an_image_is_seen_whole_or_mirrored(dataset):
    training = changed(PRESET, "training", scale_min=1.0, scale_max=1.0).training
    whole = dataset.mask(dataset.ids(ALL_SPLIT)[0], ALL_SPLIT)
    random.seed(0)
    seen = [pairs_of(dataset, training)[0][1].numpy() for _ in range(12)]
    assert all(np.array_equal(one, whole) or np.array_equal(one, whole[:, ::-1]) for one in seen)


@pytest.mark.parametrize("workers", [0, 2])
def test_its_steps_are_timed(dataset, workers, monkeypatch):
    read, item = [], torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: read.append(tensor.dim()) or item(tensor))
    seconds, count = plain_seconds(PRESET, DUAL, dataset, torch.device("cpu"), workers, 3, 60.0)
    assert count == 3 and seconds > 0
    assert len(read) >= count + plain_loop.WARM  # every step reads its loss


def test_it_ends_after_the_time_that_it_was_given(dataset):
    assert plain_seconds(PRESET, DUAL, dataset, torch.device("cpu"), 0, 1000, 0.0)[1] == 1
