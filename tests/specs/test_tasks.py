"""Tasks: what making an artefact takes, as values, and the readable names of scorings."""

import pickle
from dataclasses import FrozenInstanceError, is_dataclass, replace
from pathlib import Path

import pytest
from conftest import TINY

from swdb.specs import tasks
from swdb.specs.crf_parameters import CRF_SETS
from swdb.specs.presets import classifier_training, load_preset
from swdb.specs.runs import RunSpec
from swdb.specs.study import NamedFile
from swdb.specs.tasks import (
    ClassifierTask,
    CuesTask,
    HeadsTask,
    LabTask,
    PeekTask,
    ProxiesTask,
    RecognitionTask,
    RecognizerTask,
    RunTask,
    ScoreTask,
    Scoring,
    WeightsTask,
    run_task,
)


@pytest.mark.parametrize(
    ("scoring", "name"),
    [
        (Scoring("strong"), "val-strong"),
        (Scoring("weak"), "val-weak"),
        (Scoring("strong", flip=True), "val-strong-flip"),
        (Scoring("weak", (0.75, 1.0, 1.25), True), "val-weak-0.75-1-1.25-flip"),
        (Scoring("strong", (0.5,)), "val-strong-0.5"),
        (Scoring("strong", crf="dsrg"), "val-strong-crf-dsrg"),
        (Scoring("strong", (1.0, 2.0), True, "dsrg"), "val-strong-1-2-flip-crf-dsrg"),
    ],
)
def test_a_scoring_has_a_readable_name_which_leaves_out_what_is_usual(scoring, name):
    assert scoring.name == name


def test_scorings_that_differ_have_names_that_differ_and_are_good_for_folders():
    scorings = [
        Scoring(branch, scales, flip, crf)
        for branch in ("strong", "weak")
        for scales in ((1.0,), (0.5, 1.0), (1.0, 0.5), (0.75, 1.0, 1.25))
        for flip in (False, True)
        for crf in (None, *CRF_SETS)
    ]
    names = [scoring.name for scoring in scorings]
    assert len(set(names)) == len(scorings) == len(set(scorings))
    assert not any("/" in name or " " in name for name in names)


def test_scales_that_are_nearly_the_same_have_names_that_differ():
    assert Scoring("strong", (0.75,)).name != Scoring("strong", (0.75000001,)).name


TINY_PRESET = load_preset(TINY)
FILE = NamedFile(Path("vgg16.pth"), {"file": "a" * 64})
TRAINING = classifier_training(TINY_PRESET, 4)
TASKS = [
    WeightsTask("vgg16", "file", FILE, TINY_PRESET.data, TRAINING),
    ClassifierTask("small", TRAINING),
    HeadsTask(WeightsTask("vgg16", "imagenet", None, TINY_PRESET.data, TRAINING), 1024),
    CuesTask(FILE, None, TINY_PRESET.proxy, 0),
    ProxiesTask(2, "small", TINY_PRESET.dsrg, 0, 32),
    RunTask(RunSpec(name="strong", strong_branch="strong"), 0, TINY_PRESET.network, TINY_PRESET.training),
    RecognizerTask("small", TINY_PRESET.decouplednet, 0),
    ScoreTask(Scoring("strong"), 0),
    RecognitionTask(Scoring("strong"), 0),
    LabTask(Scoring("strong"), 0, 328, 500, "voc", True, 72.2),
    PeekTask((Scoring("strong"), Scoring("weak")), 0, 10),
]


def test_a_run_takes_the_steps_of_its_method_and_its_number_of_strong_images():
    steps = lambda **values: run_task(TINY_PRESET, RunSpec(name="run", strong_branch="strong", **values)).steps  # noqa: E731
    assert steps(strong_per_class=5) == steps() == TINY_PRESET.training.steps == 6
    assert [steps(method="decouplednet", strong_per_class=count) for count in (5, 10, 25, None)] == [6, 8, 8, 8]


def test_these_are_all_tasks():
    declared = {value for value in vars(tasks).values() if is_dataclass(value) and value.__module__ == tasks.__name__}
    assert declared == {type(task) for task in TASKS} | {Scoring}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_task_is_a_value(task):
    assert replace(task) == task and pickle.loads(pickle.dumps(task)) == task
    name = next(iter(vars(task)))
    with pytest.raises(FrozenInstanceError):
        setattr(task, name, None)
    assert replace(task, **{name: None}) != task
