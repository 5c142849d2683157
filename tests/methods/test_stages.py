"""What a run's id hangs on, and what it does not: what does is another training, what does not shares the one there is."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TINY
from studies import changed, graph_of, study_of

from swdb.core.errors import BadInput
from swdb.methods.stages import RunStage
from swdb.specs.methods import METHODS
from swdb.specs.presets import Network, Preset, Training, load_preset
from swdb.specs.runs import RunSpec
from swdb.specs.study import NamedFile
from swdb.specs.tables import all_runs, load_tables
from swdb.study.graph import Graph

PRESET = load_preset(TINY)
SINGLE = RunSpec(name="single", strong_branch="strong")
MIXED = RunSpec(name="mixed", strong_branch="strong+weak")
WEAK = RunSpec(name="weak", strong_branch="weak")


def run_id(folder, run: RunSpec, preset: Preset = PRESET, seed: int = 0, precision: str = "fp32", **files) -> str:
    """Return the digest in the id of a run, without the name before it."""
    study = replace(study_of(folder, preset, **files), precision=precision)
    runs = all_runs(load_tables()) | {"weak": WEAK, run.name: run}
    return Graph(study, runs).run(run, seed).id.rpartition("-")[2]


def other(value):
    """Return another value of the same kind."""
    if isinstance(value, str):
        return {"small": "vgg16", "pretext": "random", "identity": "random", "pixels": "pixels-and-classes"}[value]
    return value + 1 if isinstance(value, int) else value / 2 if value else 0.5


# ---------------------------------------------------------------- what enters


@pytest.mark.parametrize(
    "values",
    [
        {"method": "another"},
        {"strong_branch": "strong"},
        {"weak_branch": "weak"},
        {"oversample": 2},
        {"shared_layers": 2},
        {"kl": True},
        {"proxy_set": 2},
        {"strong_per_class": 5},
        {"start_from": "weak"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_every_value_of_a_row_but_its_name_enters(tmp_path, monkeypatch, values):
    monkeypatch.setitem(METHODS, "another", METHODS["strong-weak"])
    assert values.keys() <= {f.name for f in fields(RunSpec)}
    assert run_id(tmp_path, replace(MIXED, **values)) != run_id(tmp_path, MIXED)


@pytest.mark.parametrize("group", ["network", "training"])
def test_every_setting_of_network_and_training_enters(tmp_path, group):
    names = [f.name for f in fields({"network": Network, "training": Training}[group])]
    ids = {"": run_id(tmp_path, SINGLE)}
    for name in names:
        ids[name] = run_id(
            tmp_path, SINGLE, changed(PRESET, group, **{name: other(getattr(getattr(PRESET, group), name))})
        )
    assert len(names) >= 7
    assert len(set(ids.values())) == len(names) + 1


def test_seed_and_precision_enter(tmp_path):
    ids = {
        run_id(tmp_path, SINGLE, seed=seed, precision=precision) for seed in (0, 1) for precision in ("fp32", "bf16")
    }
    assert len(ids) == 4


def test_a_compiler_enters_and_none_does_not(tmp_path):
    plain, compiled = (
        Graph(replace(graph_of(tmp_path).study, compile=name), all_runs(load_tables())) for name in ("", "inductor")
    )
    for made in (lambda one: one.weights, lambda one: one.proxies(1), lambda one: one.run(one.run_spec("dual"), 0)):
        assert made(plain).id == made(graph_of(tmp_path)).id != made(compiled).id
        assert made(compiled).key["compile"] == "inductor" and "compile" not in made(plain).key


@pytest.mark.parametrize(
    "values", [{"seed": 7}, {"num_train": 33}, {"name": "other"}], ids=lambda values: next(iter(values))
)
def test_another_data_set_enters(tmp_path, values):
    assert run_id(tmp_path, SINGLE, changed(PRESET, "data", **values)) != run_id(tmp_path, SINGLE)


def test_the_contents_of_a_file_of_weights_enter(tmp_path):
    ids = {run_id(tmp_path, SINGLE, weights=NamedFile(tmp_path / "w.pth", {"file": digest})) for digest in ("a", "b")}
    assert len(ids | {run_id(tmp_path, SINGLE)}) == 3


@pytest.mark.parametrize(("group", "values"), [("proxy", {"threshold": 0.3}), ("dsrg", {"steps": 7})])
def test_what_proxies_are_made_with_enters_where_they_are_learnt_from(tmp_path, group, values):
    preset = changed(PRESET, group, **values)
    assert run_id(tmp_path, MIXED, preset) != run_id(tmp_path, MIXED)
    assert run_id(tmp_path, SINGLE, preset) == run_id(tmp_path, SINGLE)


def test_the_run_that_another_starts_from_enters_with_all_its_values(tmp_path):
    graph = graph_of(tmp_path)
    second = graph.run_spec("weak-then-strong")
    graph.runs = graph.runs | {second.start_from: replace(graph.run_spec(second.start_from), proxy_set=2)}
    assert graph.run(second, 0).id != graph_of(tmp_path).run(second, 0).id


def test_a_version_that_is_raised_by_hand_enters(tmp_path):
    class Next(RunStage):
        version = RunStage.version + 1

    study = study_of(tmp_path)
    assert Next().artefact(study, SINGLE, 0, ()).id != RunStage().artefact(study, SINGLE, 0, ()).id


# ---------------------------------------------------------------- what does not enter


def test_a_rows_name_is_for_people(tmp_path):
    assert run_id(tmp_path, replace(MIXED, name="same")) == run_id(tmp_path, MIXED)


def test_folder_and_words_of_a_preset_do_not_enter(tmp_path):
    words = replace(PRESET, name="other", title="other", comparable=True, seeds=5)
    assert run_id(tmp_path / "elsewhere", MIXED, words) == run_id(tmp_path, MIXED)


@pytest.mark.parametrize("values", [{"scales": (0.5, 1.0)}, {"flip": True}], ids=lambda values: next(iter(values)))
def test_how_a_prediction_is_scored_does_not_enter(tmp_path, values):
    assert run_id(tmp_path, MIXED, changed(PRESET, "evaluation", **values)) == run_id(tmp_path, MIXED)


def test_where_a_file_of_weights_lies_does_not_enter(tmp_path):
    ids = {
        run_id(tmp_path, SINGLE, weights=NamedFile(tmp_path / name, {"file": "a"})) for name in ("a/w.pth", "b/w.pth")
    }
    assert len(ids) == 1


def test_what_is_added_later_stays_out_at_its_default(tmp_path):
    # so that what was made before it keeps its id
    key = graph_of(tmp_path).run(SINGLE, 0).key
    assert "longest_side" not in key["training"]
    assert "lr_new" in key["training"]
    assert key["run"] == {"strong_branch": "strong"}


# ---------------------------------------------------------------- the artefact


def test_a_run_is_planned_with_all_that_making_it_takes(tmp_path):
    graph = graph_of(tmp_path)
    run = graph.run_spec("weak-then-strong")
    artefact = graph.run(run, 3)
    assert (artefact.kind, artefact.name, artefact.steps) == ("run", "weak-then-strong-s3", PRESET.training.steps)
    assert artefact.folder == tmp_path / "runs" / artefact.id
    assert (artefact.task.run, artefact.task.seed) == (run, 3)
    assert (artefact.task.network, artefact.task.training) == (PRESET.network, PRESET.training)
    assert [other.kind for other in artefact.inputs] == ["data", "weights", "run"]
    assert artefact.input("run").name == f"{run.start_from}-s3"
    assert graph.run(graph.run_spec("dual"), 0).find_input("proxies") is graph.proxies(1)
    assert graph.run(graph.run_spec("weak-retrain"), 0).find_input("proxies") is graph.proxies(2)


# ---------------------------------------------------------------- looked at before hours of training


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_class_without_a_strong_image_is_refused_where_a_method_learns_from_these_alone(tmp_path, synthetic):
    runs = all_runs(load_tables())
    dataset = SimpleNamespace(
        ids=lambda split: ["a", "b"],
        tags=lambda ids: np.array([[True, False], [True, False]]),
        class_names=("background", "cat", "dog"),
        list_path=lambda split: tmp_path / "train.txt",
        facts=SimpleNamespace(synthetic=synthetic),
    )
    tools, graph = SimpleNamespace(dataset=lambda artefact: dataset), Graph(study_of(tmp_path, PRESET), runs)
    artefact = graph.run(runs["decoupled-5"], 0)
    with pytest.raises(BadInput, match="no strong image has the class 'dog', and run 'decoupled-5'") as caught:
        RunStage().check(artefact, tools)
    drawn = ("key 'data.num_strong'", "more strong images, or another data.seed")  # again, it would be drawn as it is
    listed = (tmp_path / "train.txt", "a strong image of every class")
    assert (caught.value.subject, caught.value.expected) == (drawn if synthetic else listed)
    ours = graph.run(runs["dual-5"], 0)
    RunStage().check(ours, tools)
