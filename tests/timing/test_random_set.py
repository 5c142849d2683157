"""A data set of random images: of the shape of the real ones, and read as they are."""

import numpy as np
import pytest
from conftest import TINY

from swdb.data.audit import audit
from swdb.data.dataset import load
from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT, VAL_SPLIT
from swdb.proxy.cues import load_cues
from swdb.specs.presets import load_preset
from swdb.timing.random_set import (
    finish_cues,
    random_mask,
    random_settings,
    shape_of,
    write_random_masks,
    write_random_set,
)


@pytest.mark.parametrize(("preset", "shape"), [(TINY, (32, 32)), ("voc", (375, 500)), ("voc-animals", (375, 500))])
def test_images_have_the_preset_s_size_and_shape(tmp_path, preset, shape):
    settings = random_settings(load_preset(preset).data, 4, 2)
    dataset = write_random_set(tmp_path / "set", settings)
    assert shape_of(settings) == shape
    assert [len(dataset.ids(split)) for split in (STRONG_SPLIT, ALL_SPLIT, VAL_SPLIT)] == [4, 4, 2]
    for split in (ALL_SPLIT, VAL_SPLIT):
        image_id = dataset.ids(split)[0]
        assert dataset.image(image_id).shape == (*shape, 3) and dataset.mask(image_id, split).shape == shape
    assert load(settings, tmp_path / "set").num_classes == settings.num_classes


def test_tags_are_those_of_the_masks(tmp_path, quiet):
    dataset = write_random_set(tmp_path / "set", random_settings(load_preset("voc").data, 6, 2))
    ids = dataset.ids(ALL_SPLIT)
    for image_id, tags in zip(ids, dataset.tags(ids), strict=True):
        assert set(np.flatnonzero(tags) + 1) == set(np.unique(dataset.mask(image_id, ALL_SPLIT))) - {0}


def test_it_is_a_data_set_that_stands_an_audit(tmp_path):
    dataset = write_random_set(tmp_path / "set", random_settings(load_preset(TINY).data, 8, 4))
    assert audit(dataset, lambda *words, **options: lambda done, of: None)["tree_root"]


def test_images_are_compressible_as_photographs_are(tmp_path):
    dataset = write_random_set(tmp_path / "set", random_settings(load_preset("voc").data, 1, 1))
    size = dataset.image_path(dataset.ids(ALL_SPLIT)[0]).stat().st_size
    assert 20_000 < size < 200_000  # VOC's have about 85,000 bytes


def test_masks_and_cues_are_read_as_finished_ones(tmp_path, graph):
    dataset = write_random_set(graph.data.folder, graph.study.preset.data)
    finish_cues(graph.cues, dataset)
    ids = dataset.ids(ALL_SPLIT)
    maps, _ = load_cues(graph.cues, dataset, ids)
    cued = [set(np.unique(one)) - {0, 255} for one in maps]
    assert all(labels <= set(np.flatnonzero(tags) + 1) for labels, tags in zip(cued, dataset.tags(ids), strict=True))
    assert sum(map(len, cued)) > len(ids)
    assert len(write_random_masks(graph.proxies(1), dataset, ids[:3])) == 64
    assert len(list(graph.proxies(1).folder.glob("*.png"))) == 3


def test_a_mask_has_background_and_few_classes():
    mask = random_mask(np.random.default_rng(3), (50, 80), 21)
    assert mask.shape == (50, 80) and mask.dtype == np.uint8
    assert 1 <= len(np.unique(mask)) <= 3 and mask.max() < 21


@pytest.mark.parametrize("preset", [TINY, "voc", "voc-animals"])
def test_the_strong_images_show_every_class(tmp_path, preset):
    data = load_preset(preset).data
    dataset = write_random_set(tmp_path / "set", random_settings(data, data.num_classes, 1))
    strong = dataset.ids(STRONG_SPLIT)
    shown = set().union(*(np.unique(dataset.mask(image_id, ALL_SPLIT)).tolist() for image_id in strong))
    assert shown == set(range(data.num_classes)) and len(strong) < len(dataset.ids(ALL_SPLIT))
