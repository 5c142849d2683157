"""The settings of a preset, each with the status that its value has there."""

from dataclasses import fields, replace

from conftest import TINY
from studies import changed

from swdb.reports.html_settings import settings_shown
from swdb.specs.presets import load_preset


def by_key(preset) -> dict:
    return {one.key: one for one in settings_shown(preset)}


def test_every_hyper_parameter_is_there():
    preset = load_preset(TINY)
    wanted = {one.name for one in fields(preset) if one.metadata} | {
        f"{group}.{one.name}" for group, values in preset.groups.items() for one in fields(values)
    }
    assert by_key(preset).keys() == wanted


def test_the_papers_own_value_has_the_papers_status():
    voc = by_key(load_preset("voc"))
    assert (voc["training.batch"].value, voc["training.batch"].status) == ("16", "STATED")
    assert {one.status for one in voc.values()} == {"STATED", "INFERRED", "UNKNOWN"}
    assert not [one for one in voc.values() if "ours at this scale" in one.why]


def test_another_value_is_ours_and_names_the_papers():
    tiny = by_key(load_preset(TINY))
    assert tiny["training.batch"].status == "UNKNOWN"
    assert tiny["training.batch"].why.startswith("ours at this scale; at the paper's: 16 (STATED; ")
    assert tiny["training.weight_decay"].status == "STATED"  # as in the paper


def test_an_equal_value_is_the_papers_wherever_it_stands():
    preset = changed(load_preset(TINY), "training", batch=16)
    assert by_key(preset)["training.batch"].status == "STATED"


def test_values_are_words():
    voc = by_key(load_preset("voc"))
    assert voc["evaluation.flip"].value == "no" and voc["data.classes"].value == "none"
    assert by_key(replace(load_preset("voc"), compile=""))["compile"].value == "none"
