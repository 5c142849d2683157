"""Where and in which precision tensors are computed."""

import pytest
import torch
from torch import nn

from swdb.core.errors import BadInput
from swdb.nn.compute import Machine, machine


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "gpu0"])
def test_a_device_that_is_not_there_is_refused_by_name(name):
    with pytest.raises(BadInput, match=f"--device {name} is not there"):
        machine(name, "fp32")


def test_auto_takes_a_gpu_where_there_is_one():
    assert machine("auto", "fp32").device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_half_precision_lays_out_channels_last_and_computes_convolutions_in_bf16():
    half, full = Machine(torch.device("cpu"), "bf16"), Machine(torch.device("cpu"), "fp32")
    pictures = torch.randn(2, 3, 8, 8)
    for chosen, dtype, last in ((half, torch.bfloat16, True), (full, torch.float32, False)):
        layer = chosen.layout(nn.Conv2d(3, 4, 3))
        assert layer.weight.dtype == torch.float32
        assert layer.weight.is_contiguous(memory_format=torch.channels_last) is last
        assert chosen.pictures(pictures).is_contiguous(memory_format=torch.channels_last) is last
        with chosen.autocast():
            assert layer(chosen.pictures(pictures)).dtype == dtype
