"""The CUDA path without a GPU: every stage to its end, no wait in a step, a graph that does what the step does."""

from dataclasses import replace

import pytest
import torch
from conftest import TINY
from pretended_gpu import pretended_gpu
from studies import Watcher, graph_of

from swdb.nn import trainer
from swdb.nn.compute import Compute, StepSettings, choose_device
from swdb.specs.tables import CellSource
from swdb.study.runner import Runner


def gpu_runner(precision="bf16", **settings):
    return Runner(Compute(choose_device("cuda"), precision, StepSettings(**settings)), Watcher())


def test_try(tmp_path):
    with pretended_gpu() as watch:
        graph = graph_of(tmp_path / "work")
        runs = [graph.run(graph.run_spec(name), 0) for name in ("dual", "dual-kl", "weak-retrain")]
        scores = [graph.score(CellSource((graph.run_spec("dual"),), "weak"), 0)]
        gpu_runner(graph=False).make(graph.needed(*runs, *scores))
    for t in watch.steps:
        print(t, watch.steps[t], watch.per_step(t), dict(watch.waits[t, "step"]), dict(watch.waits[t, ""]))
    print(watch.convolutions)
