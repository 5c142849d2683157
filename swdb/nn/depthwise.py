"""A convolution of each channel by itself whose gradients are fast on a CPU.

oneDNN, which torch asks, is slow in the backward pass of depthwise convolutions with a kernel of 5 or with dilation: they alone
took half of a step of EfficientNet-Lite0. Both gradients are depthwise convolutions themselves, and those it computes fast.

in: inputs (B, C, H, W), a kernel for each channel -> out: (B, C, h, w), and gradients equal to torch's up to rounding
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Depthwise(nn.Conv2d):
    """A convolution of each channel by itself, on a CPU never in bf16: the gradient of its weights takes four times as long there."""

    def __init__(self, channels: int, kernel: int, stride: int, dilation: int):
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation, groups=channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, h, w)."""
        if inputs.device.type != "cpu":
            return super().forward(inputs)
        with torch.autocast("cpu", enabled=False):
            inputs = inputs.to(self.weight.dtype)
            if self.kernel_size == (3, 3) and self.dilation == (1, 1):  # for which oneDNN has a fast backward pass
                return super().forward(inputs)
            return _Depthwise.apply(inputs, self.weight, self.bias, self.stride[0], self.padding[0], self.dilation[0])


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with gradients of its own."""

    @staticmethod
    def forward(
        context: Any, inputs: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, dilation: int
    ) -> Tensor:
        context.save_for_backward(inputs, weight)
        context.window = stride, padding, dilation
        return F.conv2d(inputs, weight, bias, stride, padding, dilation, len(weight))

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (inputs, weight), window = context.saved_tensors, context.window
        wanted, found = context.needs_input_grad, [None] * 6
        if wanted[0]:
            found[0] = _input_gradient(gradient, inputs, weight, *window)
        if wanted[1]:
            found[1] = _weight_gradient(gradient, inputs, weight, *window)
        if wanted[2]:
            found[2] = gradient.sum((0, 2, 3))
        return tuple(found)


def _input_gradient(
    gradient: Tensor, inputs: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """Return the gradient of the inputs: at stride 1 each pixel gets back through the turned kernel what it gave."""
    if stride == 1:
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, padding, dilation, len(weight))
    return torch.ops.aten.convolution_backward(
        gradient, inputs, weight, None, [stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0], len(weight),
        [True, False, False],
    )[0]  # fmt: skip


def _weight_gradient(
    gradient: Tensor, inputs: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """Return the gradient of the kernels: how the gradient agrees with the inputs shifted, in each channel of each image.

    That is a convolution of B * C channels by the gradient, whose steps are the dilation and whose dilation is the stride.
    """
    channels, kernel = weight.shape[0], weight.shape[2:]
    maps = _side_by_side(inputs)[None].permute(0, 3, 1, 2)
    pixels = _side_by_side(gradient)
    kernels = pixels.flatten(0, 1).t().contiguous().view(-1, 1, *pixels.shape[:2])
    found = F.conv2d(maps, kernels, None, dilation, padding, stride, len(kernels))
    found = found[..., : kernel[0], : kernel[1]]  # at a stride there may be shifts beyond the kernel
    return found.reshape(-1, channels, 1, *kernel).sum(0)


def _side_by_side(maps: Tensor) -> Tensor:
    """Lay maps (B, C, H, W) out as (H, W, B * C): all images' channels side by side, so that they vectorise."""
    return maps.permute(2, 3, 0, 1).flatten(2)
