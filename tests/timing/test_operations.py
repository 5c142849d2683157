"""Operations are counted without being done, and agree with what is done; a device's speed is measured."""

from dataclasses import replace

import pytest
import torch
from conftest import TINY
from decoupled import FIVE
from studies import changed
from torch.utils.flop_counter import FlopCounterMode

from swdb.methods.method import METHODS
from swdb.specs.presets import load_preset
from swdb.specs.tables import all_runs, load_tables
from swdb.specs.tasks import run_task
from swdb.timing import operations
from swdb.timing.operations import matmul_ceiling, prediction_flops, proxy_flops, recognizer_flops, step_flops

RUNS = all_runs(load_tables())
PRESET = load_preset(TINY)


@pytest.mark.parametrize("name", ["mixed", "dual", "dual-kl", "dual-n0"])
def test_a_step_has_the_operations_that_are_counted_while_it_is_done(name):
    run, training = RUNS[name], PRESET.training
    method, task = METHODS[run.method], run_task(PRESET, run)
    network = method.network(task, PRESET.data.num_classes)
    inputs = torch.rand(training.batch, 3, training.crop, training.crop)
    labels = torch.zeros(training.batch, training.crop, training.crop, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        sum(method.losses(network, (inputs, labels), task).values()).backward()
    assert step_flops(PRESET, run) == counter.get_total_flops() > 0


def test_a_branch_more_costs_less_than_a_network_more_and_kl_more_than_none():
    single, dual, kl = (step_flops(PRESET, RUNS[name]) for name in ("mixed", "dual", "dual-kl"))
    assert single <= dual < kl < 2 * single


def test_a_prediction_has_no_way_back():
    run = RUNS["dual"]
    once = prediction_flops(PRESET, run, (32, 32))
    assert 0 < once * PRESET.training.batch < step_flops(PRESET, run)
    assert prediction_flops(changed(PRESET, "evaluation", flip=True), run, (32, 32)) == 2 * once


def test_the_paper_s_scale_is_counted_without_its_memory():
    # 381 GFLOP an image of a dual step: computed here, they would take minutes
    preset = load_preset("voc")
    assert 330e9 < step_flops(preset, RUNS["dual"]) / preset.training.batch < 420e9
    found = proxy_flops(preset)
    assert found["dsrg-1"] == pytest.approx(found["dsrg-2"] * preset.dsrg.batch / preset.dsrg.retrain_batch)
    assert found["classifier"] < found["dsrg-2"] * preset.proxy.batch / preset.dsrg.retrain_batch


def test_the_ceiling_is_that_of_a_matrix_product(monkeypatch):
    monkeypatch.setattr(operations, "CEILING_SECONDS", 0.01)
    monkeypatch.setattr(operations, "SIDES", {"cpu": 128})
    for precision in ("fp32", "bf16"):
        assert 1e-4 < matmul_ceiling(torch.device("cpu"), precision) < 1e3


def test_another_batch_is_counted():
    double = replace(PRESET, proxy=replace(PRESET.proxy, batch=2 * PRESET.proxy.batch))
    assert proxy_flops(double)["classifier"] == 2 * proxy_flops(PRESET)["classifier"]


def test_decouplednet_at_the_paper_s_scale():
    # 295 GFLOP a crop: backbone forwards, bridge backwards through fc6 and fc7, decoder forwards and backwards
    preset = load_preset("voc")
    assert step_flops(preset, FIVE) / preset.decouplednet.batch == pytest.approx(295e9, rel=0.05)
    forwards_and_back = recognizer_flops(preset) / preset.decouplednet.recognizer_batch
    assert forwards_and_back == pytest.approx(3 * 66e9, rel=0.1)
