"""Changes: what one run takes otherwise than its preset, read strictly, and the preset that comes of it."""

import pytest
from conftest import TINY

from swdb.core.errors import BadInput
from swdb.specs.changes import changed, check_changes
from swdb.specs.presets import load_preset

PRESET = load_preset(TINY)  # 6 steps of 4 images


def test_a_preset_takes_the_values_of_a_run_and_keeps_all_others():
    found = changed(PRESET, (("network.dropout", 0.5), ("training.lr_new", 1)), "run 'x'")
    assert (found.network.dropout, found.training.lr_new) == (0.5, 1.0)
    assert type(found.training.lr_new) is float
    assert (found.training.batch, found.dsrg, found.data) == (PRESET.training.batch, PRESET.dsrg, PRESET.data)


def test_no_change_gives_the_same_preset():
    assert changed(PRESET, (), "run 'x'") is PRESET


@pytest.mark.parametrize(
    ("name", "factor", "expected"),
    [("steps", "x2", 12), ("steps", "x0.5", 3), ("batch", "x2", 8), ("lr_new", "x0.1", 1e-4), ("warmup", "x1.25", 2)],
)
def test_a_number_may_be_a_factor_of_the_presets_own(name, factor, expected):
    found = getattr(changed(PRESET, ((f"training.{name}", factor),), "run 'x'").training, name)
    assert (found, type(found)) == (expected, type(expected))


def test_a_list_is_taken_as_a_list():
    assert changed(PRESET, (("dsrg.dilations", (1, 4)),), "run 'x'").dsrg.dilations == (1, 4)


@pytest.mark.parametrize(
    ("name", "value", "subject", "found", "expected"),
    [
        ("training.step", 3, "key 'changes', setting", "'training.step'", "steps"),
        ("step", 3, "key 'changes', setting", "'step'", ""),
        ("data.num_strong", 3, "key 'changes'", "'data.num_strong' is the same for all runs of a preset", "network"),
        ("evaluation.flip", True, "key 'changes'", "'evaluation.flip' is the same for all runs", "training"),
        ("training.batch", 3, "setting 'training.batch'", "found 3", "an even number"),
        ("training.batch", "3", "setting 'training.batch'", "found '3'", "int, or a factor"),
        ("training.batch", "x", "setting 'training.batch'", "found 'x'", "'x2' or 'x0.5'"),
        ("training.batch", "x0", "setting 'training.batch'", "found 'x0'", "a factor of the preset's"),
        ("training.lr_new", "x0.0", "setting 'training.lr_new'", "found 'x0.0'", "float, or a factor"),
        ("training.batch", "x-2", "setting 'training.batch'", "found 'x-2'", "int"),
        ("training.batch", True, "setting 'training.batch'", "found True", "int"),
        (
            "network.backbone",
            "x2",
            "setting 'network.backbone'",
            "found 'x2'",
            "small, squeezenet1_1, vgg16, efficientnet_lite0, efficientnet_lite0_stride8",
        ),
        ("dsrg.dilations", (), "setting 'dsrg.dilations'", "found []", "one or more values"),
    ],
)
def test_what_cannot_be_changed_is_refused_when_tables_are_read(name, value, subject, found, expected):
    with pytest.raises(BadInput) as error:
        check_changes(((name, value),), "table9.toml, row 'a'")
    assert error.value.exit_code == 2
    assert "table9.toml, row 'a'" in str(error.value.subject) and subject in str(error.value.subject)
    assert found in str(error.value) and expected in f"{error.value} {error.value.near}"


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("training.steps", "x0.01", "found 0"),
        ("training.batch", "x0.75", "found 3"),
        ("training.batch", "x9999", "found 39996"),
        ("training.scale_min", 2.0, "found 2.0"),
    ],
)
def test_what_does_not_fit_a_preset_is_refused_when_it_is_planned(name, value, found):
    with pytest.raises(BadInput) as error:
        changed(PRESET, ((name, value),), "preset 'tiny' as run 'x' changes it")
    assert "preset 'tiny' as run 'x' changes it" in str(error.value.subject)
    assert found in str(error.value)
