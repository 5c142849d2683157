"""DecoupledNet without a GPU on a pretended one: its trainings wait for nothing, and a recorded step is the same to the bit."""

import copy
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from commands import only
from decoupled import planned
from pretended_gpu import pretended_gpu
from studies import Watcher

from swdb.nn.compute import Compute, StepSettings, choose_device
from swdb.study.runner import Runner

STEPS = {"pretext": 4, "recognizer": 6, "decoupled-5-s0": 6}
MOST_LAUNCHES = {"recognizer": 195, "decoupled-5-s0": 365}  # a step


def gpu_runner(**settings) -> Runner:
    return Runner(Compute(choose_device("cuda"), "bf16", StepSettings(**settings)), Watcher())


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> SimpleNamespace:
    """A run trained and scored on the pretended GPU, one operation after the other; what was seen meanwhile."""
    work = tmp_path_factory.mktemp("plain") / "work"
    with pretended_gpu() as watch:
        graph, score = planned(work)
        gpu_runner(graph=False).make(graph.needed(score))
        seen = copy.deepcopy(watch)
    return SimpleNamespace(work=work, seen=seen)


def test_it_trains_and_is_scored_in_the_precision_that_was_asked_for(plain):
    assert dict(plain.seen.steps) == STEPS
    assert plain.seen.convolutions["decoupled-5-s0"] == plain.seen.convolutions["recognizer"] == {torch.bfloat16}
    assert only(plain.work, "runs/decoupled-5-s0-*/evals/recognition.json")


@pytest.mark.parametrize("training", MOST_LAUNCHES)
def test_the_host_waits_for_no_step(plain, training):
    assert dict(plain.seen.waits[training, "step"]) == {}
    assert 0.8 * MOST_LAUNCHES[training] < plain.seen.per_step(training) <= MOST_LAUNCHES[training]


def test_a_recorded_step_gives_the_same_weights_to_the_last_bit(plain, tmp_path):
    left_out = shutil.ignore_patterns("runs", "recognizers")
    graph, score = planned(shutil.copytree(plain.work, tmp_path / "work", ignore=left_out))
    with pretended_gpu() as watch:
        gpu_runner(graph=True).make(graph.needed(score))
        for training in MOST_LAUNCHES:
            assert watch.launches[training, "step"] <= 3 * watch.steps[training]  # replay, and its answer copied out
            assert dict(watch.waits[training, "step"]) == {}
    for one in (graph.recognizer, score.input("run"), score):
        before = json.loads((plain.work / one.record.relative_to(graph.study.folder)).read_text())
        assert one.digest() == before["digest"]
    assert score.input("run").read_record()["training"]["step"]["graph"].startswith("replayed")
