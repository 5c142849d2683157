"""What a training needs on its device, against what a real step allocates, and against the accounting of VGG16 by hand."""

from dataclasses import replace

import pytest
import torch
from conftest import TINY
from torch import nn
from torch.profiler import profile

from swdb.methods.method import METHODS
from swdb.methods.training import run_needs
from swdb.nn.classifier import classifier_needs
from swdb.nn.memory import CONTEXT, KERNELS, needs_of
from swdb.nn.networks import BACKBONES, valueless
from swdb.proxy.dsrg import DsrgNetwork, dsrg_needs
from swdb.specs.presets import classifier_training, load_preset
from swdb.specs.tables import all_runs, load_tables
from swdb.specs.tasks import RunTask, run_task

RUNS = all_runs(load_tables())
GIB = 2**30


def task_of(preset: str, name: str, **training) -> RunTask:
    preset = load_preset(preset)
    return run_task(replace(preset, training=replace(preset.training, **training)), RUNS[name])


def allocated(step) -> int:
    """Return the most bytes that torch's allocator had given out at one time during a step, beyond what was there before."""
    with profile(profile_memory=True) as watched:
        step()
    changes = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    assert len(changes) > 50
    return most


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("mixed", "small"),
        ("dual", "small"),
        ("dual-kl", "small"),
        ("dual", "efficientnet_lite0"),
        ("dual", "efficientnet_lite0_stride8"),
    ],
)
def test_a_step_on_fake_tensors_takes_what_a_real_one_does(name, backbone):
    task = task_of("synthetic", name, batch=8)
    task = replace(task, network=replace(task.network, backbone=backbone))
    method, side = METHODS[task.run.method], task.training.crop
    network = method.network(task, 7)

    def step():
        inputs, labels = torch.zeros(8, 3, side, side), torch.zeros(8, side, side, dtype=torch.int64)
        sum(method.losses(network, (inputs, labels), task).values()).backward()

    step()
    network.zero_grad(set_to_none=True)
    needs, real = run_needs(task, 7, "fp32"), allocated(step)
    assert needs.step == pytest.approx(real, rel=0.25)  # the CPU's convolutions work in copies of their own
    assert needs.step <= 1.02 * real
    assert needs.weights == sum(tensor.nbytes for tensor in network.parameters())


@pytest.mark.parametrize(
    ("name", "precision", "gib"),
    [("mixed", "bf16", 2.9), ("dual", "bf16", 2.9), ("dual-kl", "bf16", 4.1), ("dual", "fp32", 4.3)],
)
def test_vgg16_at_the_papers_scale(name, precision, gib):
    assert run_needs(task_of("voc", name), 21, precision).tensors / GIB == pytest.approx(gib, rel=0.05)


def test_a_larger_batch_needs_more_and_half_precision_less():
    small, large = (run_needs(task_of("voc", "dual", batch=batch), 21, "bf16") for batch in (16, 32))
    assert small.weights == large.weights and 1.8 * small.step < large.step < 2 * small.step
    assert small.step < 0.7 * run_needs(task_of("voc", "dual"), 21, "fp32").step


def test_classifier_and_both_rounds_of_dsrg_are_counted():
    preset = load_preset("voc")
    training = classifier_training(preset, 10)
    classifier = classifier_needs(BACKBONES["vgg16"], 20, training, "bf16")
    first, second = (dsrg_needs("vgg16", preset.dsrg, 21, "bf16", number) for number in (1, 2))
    with valueless():
        network = DsrgNetwork(BACKBONES["vgg16"](), preset.dsrg, 21)
    assert first.weights == second.weights == 4 * sum(tensor.numel() for tensor in network.parameters())
    assert first.moments == first.weights  # SGD keeps one value for each, Adam two
    assert classifier.moments == 2 * classifier.weights
    assert first.tensors / GIB == pytest.approx(4.3, rel=0.15)
    assert 0.2 * GIB < classifier.step < second.step


def test_the_store_the_context_and_the_libraries_come_on_top():
    needs = run_needs(task_of(TINY, "dual"), 6, "fp32")
    assert needs.tensors == needs.weights + needs.moments + needs.step
    assert needs.least == needs.tensors + CONTEXT + KERNELS
    assert needs.with_store(GIB).total == needs.least + GIB and needs.total == needs.least


class Scale(nn.Module):
    """One value."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(("kept", "mib"), [(False, 4), (True, 20)])
def test_tensors_that_are_gone_do_not_count(kept, mib):
    def losses(network, compute):
        made = []
        for _ in range(5):
            made.append(torch.empty(2**20))  # 4 MiB
            if not kept:
                made.clear()
        return {"one": network.scale.sum()}

    assert needs_of(Scale, losses, "fp32").step == pytest.approx(mib * 2**20, abs=1000)
