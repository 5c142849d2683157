"""What tables may say of a method is declared once, and fits the rows and the method's own file."""

from dataclasses import fields
from importlib.util import find_spec

import pytest
from conftest import TINY

from swdb.core.errors import BadInput
from swdb.specs.decoupled import STRIDES
from swdb.specs.methods import LABEL_SETS, METHODS, check_backbone
from swdb.specs.presets import BACKBONES, load_preset
from swdb.specs.runs import RunSpec
from swdb.specs.tables import all_runs, load_tables
from swdb.study.graph import Graph


def test_there_is_the_paper_s_method_and_rows_have_it_unless_they_say_otherwise():
    assert list(METHODS) == ["strong-weak", "decouplednet"]
    assert RunSpec(name="x", strong_branch="strong").method == "strong-weak"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_file_of_its_name(name):
    assert find_spec(f"swdb.methods.{name.replace('-', '_')}") is not None


@pytest.mark.parametrize("name", METHODS)
def test_a_row_can_give_every_branch_of_a_method_a_label_set(name):
    method = METHODS[name]
    assert method.branches and len(set(method.branches)) == len(method.branches)
    assert {f"{branch}_branch" for branch in method.branches} <= {one.name for one in fields(RunSpec)}
    assert all(method.label_sets.values())  # each says what it means


@pytest.mark.parametrize("name", METHODS)
def test_what_means_nothing_to_a_method_is_a_default_of_every_row_of_it(name):
    method, runs = METHODS[name], all_runs(load_tables()).values()
    of_rows = {one.name: one.default for one in fields(RunSpec)}
    assert set(method.foreign) <= of_rows.keys()
    for run in (one for one in runs if one.method == name):
        assert all(getattr(run, key) == of_rows[key] for key in method.foreign)


@pytest.mark.parametrize("name", METHODS)
def test_the_settings_that_a_method_reads_and_what_its_runs_are_made_from_are_there(name):
    preset = load_preset(TINY)
    for setting in METHODS[name].settings:
        group, _, one = setting.partition(".")
        assert group in preset.groups and (not one or hasattr(preset.groups[group], one))
    assert all(hasattr(Graph, kind) for kind in METHODS[name].made_from)


def test_the_tables_use_every_label_set_and_no_other():
    runs = all_runs(load_tables()).values()
    assert {labels for run in runs for labels in (run.strong_branch, run.weak_branch) if labels} == set(LABEL_SETS)


@pytest.mark.parametrize(
    ("strong", "weak", "branches"),
    [("strong", None, ("strong",)), ("weak", None, ("strong",)), ("strong", "strong+weak", ("strong", "weak"))],
)
def test_a_run_has_the_branches_that_it_gives_a_label_set(strong, weak, branches):
    run = RunSpec(name="x", strong_branch=strong, weak_branch=weak)
    assert run.branches == branches and run.dual is (len(branches) == 2)


def test_a_method_on_a_backbone_that_lacks_what_it_needs_is_refused_with_those_that_have_it():
    with pytest.raises(BadInput) as caught:
        check_backbone("decouplednet", "efficientnet_lite0", "run 'decoupled-5'")
    assert caught.value.subject == "run 'decoupled-5'" and "pools that keep switches" in caught.value.found
    assert caught.value.expected == "network.backbone small, squeezenet1_1 or vgg16"
    assert {name for name in BACKBONES if METHODS["decouplednet"].can_be_built_on(name)} == STRIDES.keys()
    for backbone in BACKBONES:
        check_backbone("strong-weak", backbone, "run 'dual'")
