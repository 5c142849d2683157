"""On what tensors are computed and in which precision: what is chosen, refused, and said of it."""

import platform

import pytest
import torch
import torchvision
from torch import nn

from swdb.core.errors import BadInput
from swdb.nn import compute, cuda
from swdb.nn.compute import Compute, choose_device, preferred_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "gpu0", "meta"])
def test_a_device_that_is_not_there_is_refused_by_name(name):
    with pytest.raises(BadInput) as caught:
        choose_device(name)
    assert caught.value.subject == f"--device {name}"
    assert {"auto", "cpu", "cuda"} <= set(caught.value.expected.replace(",", "").split())


@pytest.mark.parametrize("there", [False, True])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch, there):
    tried = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch, "zeros", lambda count, device: tried.append(device.type) or torch.ones(count).sub_(1))
    monkeypatch.setattr(cuda, "prepare", lambda: None)
    assert choose_device("auto").type == ("cuda" if there else "cpu")
    assert tried == ["cuda" if there else "cpu"]  # it is used once, so that a broken GPU is noticed here


def test_a_gpu_that_was_named_is_the_one_whose_streams_are_used(monkeypatch):
    current = []
    monkeypatch.setattr(cuda, "cuda_works", lambda: True)
    monkeypatch.setattr(cuda, "prepare", lambda: None)
    monkeypatch.setattr(torch, "zeros", lambda count, device: torch.ones(count).sub_(1))
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    for name in ("cuda", "cuda:1"):
        choose_device(name)
    assert current == [torch.device("cuda", 1)]


@pytest.mark.parametrize(("fast", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_cpu_prefers_half_precision_where_that_is_faster(monkeypatch, fast, precision):
    monkeypatch.setattr(compute, "has_fast_bf16", lambda: fast)
    assert preferred_precision(CPU) == precision


@pytest.mark.parametrize(("supported", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_prefers_half_precision_where_it_has_that(monkeypatch, supported, precision):
    monkeypatch.setattr(cuda, "has_bf16", lambda: supported)
    assert preferred_precision(torch.device("cuda")) == precision


def test_half_precision_lays_out_channels_last_and_computes_convolutions_in_bf16():
    inputs = torch.randn(2, 3, 8, 8)
    for precision, dtype, last in (("bf16", torch.bfloat16, True), ("fp32", torch.float32, False)):
        chosen = Compute(CPU, precision)
        layer = chosen.layout(nn.Conv2d(3, 4, 3))
        assert layer.weight.dtype == torch.float32
        assert layer.weight.is_contiguous(memory_format=torch.channels_last) is last
        assert chosen.inputs(inputs).is_contiguous(memory_format=torch.channels_last) is last
        assert torch.equal(chosen.inputs(inputs), inputs)
        with chosen.autocast():
            assert layer(chosen.inputs(inputs)).dtype == dtype


def test_a_result_says_on_what_and_with_which_versions_it_was_computed(monkeypatch):
    monkeypatch.setattr(compute, "processor_name", lambda: "Made-up 9000")
    assert Compute(CPU, "bf16").describe() == {
        "device": "cpu",
        "name": "Made-up 9000",
        "threads": torch.get_num_threads(),
        "precision": "bf16",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def test_a_process_computes_with_the_threads_it_is_told():
    before = torch.get_num_threads()
    try:
        compute.prepare_process(2)
        assert torch.get_num_threads() == 2 == Compute(CPU, "fp32").describe()["threads"]
    finally:
        compute.prepare_process(before)
