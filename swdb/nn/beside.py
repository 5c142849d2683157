"""Weight gradients by a second thread: a training uses a core that is idle, and ends in the same bits.

In a backward pass nothing waits for the gradients of weights but the optimizer. So a convolution hands them to another
thread and goes on with the gradient of its input. Each is the operation that autograd would have used, on one thread: the
result does not depend on whether a core was idle, and that may change at every step.

in: a network -> out: losses whose gradients are computed by two threads
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

convolution_backward = torch.ops.aten.convolution_backward


class Beside:
    """Computes the weight gradients of a network's convolutions beside everything else, on a CPU."""

    def __init__(self, network: nn.Module):
        self.layers = [layer for layer in network.modules() if _is_plain(layer)]
        self.pending: list[tuple[nn.Conv2d, Future]] = []
        self.threads = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Let the forward passes in the block be such that `backward` computes their gradients by two threads."""
        for layer in self.layers:
            layer.forward = MethodType(self._forward, layer)
        try:
            yield
        finally:
            for layer in self.layers:
                del layer.forward

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of all parameters, as `loss.backward()` does."""
        try:
            loss.backward()
            found: dict[nn.Parameter, Tensor] = {}
            for layer, gradients in self.pending:
                for parameter, gradient in zip((layer.weight, layer.bias), gradients.result(), strict=True):
                    found[parameter] = found[parameter] + gradient if parameter in found else gradient
        finally:
            self.pending.clear()
        for parameter, gradient in found.items():  # cast when all are added up, as autocast does
            gradient = gradient.to(parameter.dtype)
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def _forward(self, layer: nn.Conv2d, inputs: Tensor) -> Tensor:
        """Convolve, in the precision that autocast would take."""
        weight, bias = layer.weight.detach(), layer.bias.detach()
        if torch.is_autocast_enabled("cpu"):
            inputs, weight, bias = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (inputs, weight, bias))
        return _Convolution.apply(inputs, layer.weight, layer.bias, weight, bias, layer, self)

    def hand_over(self, layer: nn.Conv2d, *tensors: Tensor) -> None:
        """Let the other thread compute a layer's gradients from that of its output, its inputs and its weights."""
        self.pending.append((layer, self.threads.submit(_weight_gradients, layer, *tensors)))


class _Convolution(torch.autograd.Function):
    """A convolution whose weight gradients come later; its parameters are named so that autograd records it."""

    @staticmethod
    def forward(
        context: Any,
        inputs: Tensor,
        _: Tensor,
        __: Tensor,
        weight: Tensor,
        bias: Tensor,
        layer: nn.Conv2d,
        beside: Beside,
    ) -> Tensor:
        context.save_for_backward(inputs, weight)
        context.layer, context.beside = layer, beside
        with torch.autocast("cpu", enabled=False):
            return torch.conv2d(inputs, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = context.saved_tensors
        context.beside.hand_over(context.layer, gradient, inputs, weight)
        mine = None
        if context.needs_input_grad[0]:
            mine = _backward(context.layer, gradient, inputs, weight, [True, False, False])[0]
        return mine, *[None] * 6


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer is a convolution whose weights are all trained, with zeros around its inputs."""
    if type(layer) is not nn.Conv2d or layer.bias is None or layer.padding_mode != "zeros":
        return False
    return layer.weight.requires_grad and layer.bias.requires_grad and not isinstance(layer.padding, str)


@torch.no_grad()
def _weight_gradients(layer: nn.Conv2d, gradient: Tensor, inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return _backward(layer, gradient, inputs, weight, [False, True, True])[1:]


def _backward(layer: nn.Conv2d, gradient: Tensor, inputs: Tensor, weight: Tensor, which: list[bool]) -> Any:
    return convolution_backward(
        gradient, inputs, weight, [len(weight)], layer.stride, layer.padding, layer.dilation, False, [0, 0],
        layer.groups, which,
    )  # fmt: skip
