"""Depthwise convolutions against torch's own, in values and gradients; the precision they take; who does not use them."""

import pytest
import torch
from torch import nn

from swdb.nn import depthwise
from swdb.nn.depthwise import Depthwise

SHAPES = [  # channels, side, kernel, stride, dilation
    (8, 11, 5, 1, 2), (8, 9, 5, 1, 1), (8, 9, 3, 1, 2), (6, 7, 3, 1, 1), (8, 9, 3, 2, 1), (4, 21, 5, 2, 1), (4, 20, 5, 2, 1),
    (4, 20, 5, 2, 2), (4, 12, 3, 2, 2), (4, 3, 5, 1, 2), (4, 1, 5, 1, 2),
]  # fmt: skip


def gradients(function, layer, inputs):
    found = function(inputs)
    towards = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=found.dtype)
    return found, *torch.autograd.grad(found, [inputs, layer.weight, layer.bias], towards)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("channels", "side", "kernel", "stride", "dilation"), SHAPES)
def test_values_and_gradients_are_torchs(channels, side, kernel, stride, dilation, layout):
    layer = Depthwise(channels, kernel, stride, dilation).double()
    inputs = torch.randn(3, channels, side, side + 1, dtype=torch.double).to(memory_format=layout).requires_grad_()
    expected = gradients(lambda values: nn.Conv2d.forward(layer, values), layer, inputs)
    for found, right in zip(gradients(layer, layer, inputs), expected, strict=True):
        assert found.shape == right.shape
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel", "dilation", "own"), [(3, 1, 0), (3, 2, 1), (5, 1, 1), (5, 2, 1)])
def test_what_the_library_is_fast_at_is_left_to_it(monkeypatch, kernel, dilation, own):
    asked = []
    monkeypatch.setattr(depthwise, "_weight_gradient", lambda *values: asked.append(values[2].shape))
    Depthwise(4, kernel, 1, dilation)(torch.randn(1, 4, 9, 9)).sum().backward()
    assert len(asked) == own


@pytest.mark.parametrize("frozen", ["inputs", "weight", "bias"])
def test_gradients_that_nobody_wants_are_not_computed(monkeypatch, frozen):
    layer, inputs = Depthwise(4, 5, 1, 1), torch.randn(2, 4, 9, 9)
    if frozen == "inputs":
        monkeypatch.setattr(depthwise, "_input_gradient", None)
    else:
        getattr(layer, frozen).requires_grad_(False)
        inputs.requires_grad_()
    if frozen == "weight":
        monkeypatch.setattr(depthwise, "_weight_gradient", None)
    layer(inputs).sum().backward()
    values = {"inputs": inputs, "weight": layer.weight, "bias": layer.bias}
    assert {name for name, value in values.items() if value.grad is None} == {frozen}


def test_they_are_computed_in_fp32_on_a_cpu_and_others_as_asked():
    layer = Depthwise(8, 5, 1, 2)
    inputs = torch.randn(2, 8, 9, 9, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(inputs.bfloat16())
        assert nn.Conv2d(8, 8, 1)(found).dtype == torch.bfloat16
    expected = nn.functional.conv2d(
        inputs.bfloat16().float(), layer.weight, layer.bias, padding=4, dilation=2, groups=8
    )
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    found.sum().backward()
    assert layer.weight.grad.dtype == torch.float32 and torch.isfinite(inputs.grad).all()
