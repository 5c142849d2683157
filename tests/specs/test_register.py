"""The register: a status is that of the value here, not of the paper's own."""

from dataclasses import replace

import pytest
from conftest import TINY

from swdb.specs import register as registers
from swdb.specs.choices import CHOICES
from swdb.specs.presets import Preset, load_preset, preset_names
from swdb.specs.register import SCALED, STATUSES, as_text, counts, of_weight, register
from swdb.specs.settings import INFERRED, STATED, UNKNOWN

SYNTHETIC, VOC = load_preset("synthetic"), load_preset("voc")


def row(preset: Preset, key: str):
    (found,) = [one for one in register(preset) if one.key == key]
    return found


def test_at_the_papers_preset_nothing_is_scaled():
    rows = register(VOC)
    assert counts(rows)[SCALED] == 0
    assert all((one.value, one.status) == (one.paper, one.paper_status) for one in rows)


@pytest.mark.parametrize("name", [*preset_names(), TINY])
def test_a_value_that_is_not_the_papers_is_never_called_its(name):
    for one in register(load_preset(name)):
        assert one.status in STATUSES
        drawn = load_preset(name).data.dataset == "synthetic" and "data." in one.key
        same = one.value == one.paper and not drawn
        assert (one.status in (STATED, INFERRED)) == (same and one.paper_status != UNKNOWN)
        assert (one.status == UNKNOWN) == (one.paper_status == UNKNOWN)


def test_the_batch_is_the_papers_and_the_crop_is_not():
    assert (row(SYNTHETIC, "training.batch").status, row(SYNTHETIC, "training.batch").value) == (STATED, "16")
    crop = row(SYNTHETIC, "training.crop")
    assert (crop.value, crop.status, crop.paper, crop.paper_status) == ("48", SCALED, "328", STATED)
    assert crop.about.startswith("scaled: the paper's is 328 (STATED); 328, reported")


def test_all_classes_of_another_data_set_are_not_the_papers():
    assert row(SYNTHETIC, "data.classes").value == row(VOC, "data.classes").value
    assert (row(SYNTHETIC, "data.classes").status, row(VOC, "data.classes").status) == (SCALED, STATED)


def test_where_the_paper_is_silent_another_value_stays_unknown():
    assert row(SYNTHETIC, "network.neck_channels").value != row(VOC, "network.neck_channels").value
    assert row(SYNTHETIC, "network.neck_channels").status == UNKNOWN


def test_one_changed_setting_changes_one_status():
    other = replace(VOC, training=replace(VOC.training, weight_decay=0.0))
    changed = [a.key for a, b in zip(register(VOC), register(other), strict=True) if a.status != b.status]
    assert changed == ["training.weight_decay"]


def test_every_setting_and_every_choice_is_there_once_and_folder_names_are_not():
    rows = register(SYNTHETIC)
    keys = [one.key for one in rows]
    assert len(set(keys)) == len(keys)
    assert {"seeds", "precision", "data.seed", "dsrg.crf", "evaluation.flip"} < set(keys)
    assert not set(registers.NAMES) & set(keys)
    assert [one.key for one in rows if not one.is_setting] == [one.key for one in CHOICES]
    assert sum(counts(rows).values()) == len(rows)


def test_unknown_things_of_weight_are_those_of_a_table():
    assert {one.key for one in of_weight(register(VOC), 3)} > {"network.neck_init_scale", "neck"}
    assert {"training.kl_mean", "kl-images"} < {one.key for one in of_weight(register(VOC), 2)}
    assert "kl-mean" not in {one.key for one in of_weight(register(VOC), 3)}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (False, "no"),
        ((), "none"),
        ((0.75, 1.0), "0.75, 1"),
        (1e-4, "0.0001"),
        (3, "3"),
        ("", "none"),
        ("x", "x"),
    ],
)
def test_values_in_words(value, text):
    assert as_text(value) == text
