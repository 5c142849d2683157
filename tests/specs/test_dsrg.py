"""DSRG's settings: the paper's preset holds those of its public code, and what was added later leaves older ids alone."""

from dataclasses import fields

import pytest

from swdb.core.errors import BadInput
from swdb.specs.dsrg import Dsrg
from swdb.specs.presets import load_preset, preset_names
from swdb.specs.settings import INFERRED, UNKNOWN, fingerprint
from swdb.specs.toml import read_dataclass

VOC = {
    "size": 321, "test_sizes": (241, 321, 401), "dilations": (6, 12, 18, 24), "head_channels": 1024, "head_init": "fc6-fc7",
    "steps": 8000, "batch": 20, "lr_backbone": 5e-4, "lr_new": 5e-4, "lr_last": 5e-3, "decay_every": 0.125, "decay_factor": 0.33,
    "grow_foreground": 0.85, "grow_background": 0.99, "retrain_steps": 20000, "retrain_batch": 10, "retrain_rate": 2.0,
    "retrain_power": 0.9, "retrain_scales": (0.75, 1.0, 1.25), "optimizer": "sgd", "weight_decay": 5e-4, "clip_norm": 0.0,
}  # fmt: skip


def test_the_papers_preset_has_the_values_of_the_public_code():
    dsrg = load_preset("voc").dsrg
    assert {name: getattr(dsrg, name) for name in VOC} == VOC


def test_every_setting_says_its_unit_and_its_file_and_is_inferred_where_we_do_as_the_public_code():
    for one in fields(Dsrg):
        assert one.metadata["unit"] and one.metadata["why"], one.name
        assert one.metadata["status"] == (UNKNOWN if one.name == "crf_gradient" else INFERRED), one.name


def test_the_gradient_through_the_crf_enters_fingerprints_only_where_it_is_sent():
    for name in preset_names():
        dsrg = load_preset(name).dsrg
        assert not dsrg.crf_gradient and "crf_gradient" not in fingerprint(dsrg)


def test_heads_enter_fingerprints_only_where_they_do_not_begin_at_random():
    for name in preset_names():
        dsrg = load_preset(name).dsrg
        assert ("head_init" in fingerprint(dsrg)) == (dsrg.head_init != "random") == (name == "voc")


@pytest.mark.parametrize("value", ["fc6", "", "imagenet"])
def test_heads_begin_in_one_of_two_ways(value):
    found = fingerprint(load_preset("voc").dsrg) | {"head_init": value}
    with pytest.raises(BadInput) as caught:
        read_dataclass(Dsrg, found, "voc.toml")
    assert caught.value.expected == "random, fc6-fc7"
