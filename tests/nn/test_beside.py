"""Weight gradients by a second thread are those of autograd, to the last bit."""

import threading

import pytest
import torch
from torch import nn

from swdb.nn import beside, step
from swdb.nn.beside import Beside
from swdb.nn.compute import StepSettings
from swdb.nn.step import Objective, Rates, Stepper


def network() -> nn.Sequential:
    """A few convolutions of all sorts, one of them used twice."""
    torch.manual_seed(0)
    twice = nn.Conv2d(8, 8, 3, padding=1)
    layers = [nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True), twice, nn.ReLU(inplace=True), twice]
    return nn.Sequential(*layers, nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2), nn.Conv2d(8, 4, 1))


def loss_of(model: nn.Module, precision: torch.dtype) -> torch.Tensor:
    inputs = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        return model(inputs).float().square().mean()


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_those_of_autograd(precision, layout):
    one, other = network().to(memory_format=layout), network().to(memory_format=layout)
    loss_of(one, precision).backward()
    helper = Beside(other)
    with helper():
        loss = loss_of(other, precision)
    helper.backward(loss)
    assert all(map(torch.equal, gradients(one), gradients(other))) and len(gradients(one)) == 8


def test_the_network_is_as_it_was_afterwards():
    model = network()
    helper = Beside(model)
    with helper():
        pass
    assert not any("forward" in vars(layer) for layer in model)
    with pytest.raises(RuntimeError), helper():
        model(torch.zeros(1, 4, 8, 8))  # four channels, where three are expected
    assert not any("forward" in vars(layer) for layer in model)


def test_what_goes_wrong_in_the_other_thread_is_raised(monkeypatch):
    def fails(*arguments):
        raise MemoryError

    model = network()
    helper = Beside(model)
    monkeypatch.setattr(beside, "_weight_gradients", fails)
    with helper():
        loss = loss_of(model, torch.float32)
    with pytest.raises(MemoryError):
        helper.backward(loss)
    assert helper.pending == []


def test_layers_of_other_sorts_are_left_to_autograd():
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 2, 1))
    model[2].weight.requires_grad_(False)
    assert Beside(model).layers == []


def steps(idle: list[bool]) -> tuple[list[torch.Tensor], Stepper, int]:
    """Take steps with a core that is idle at some of them; returns the weights, and how many batches that core cut."""
    model, at = network(), iter(idle)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def draw(number):
        return {"inputs": torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(number))}

    def cut(drawn):
        cut_by.append(threading.current_thread() is threading.main_thread())
        return {"inputs": drawn["inputs"] * 2}

    cut_by = []
    objective = Objective(draw, lambda batch: {"loss": model(batch["inputs"]).square().mean()}, cut=cut)
    settings = StepSettings(core_is_idle=lambda: next(at))
    stepper = Stepper(model, optimizer, objective, Rates([1e-2], lambda step: 1.0), 1.0, 0, settings)
    for number in range(len(idle)):
        stepper.take(number, len(idle))
    return list(model.parameters()), stepper, cut_by.count(False)


@pytest.mark.parametrize(("most", "expected"), [(1, (0, 5, 3)), (2, (0, 5, 3)), (8, (0, 5, 0))])
def test_a_training_ends_in_the_same_weights_whenever_a_core_was_idle(one_thread, monkeypatch, most, expected):
    monkeypatch.setattr(step, "MOST_COMING", most)
    alone, never, none = steps([False] * 6)
    always, stepper, all_but_the_first = steps([True] * 6)
    sometimes, _, some = steps([False, True, True, False, True, False])
    assert (none, all_but_the_first, some) == expected
    assert all(map(torch.equal, alone, always)) and all(map(torch.equal, alone, sometimes))
    assert never.beside is None and stepper.beside is not None


def test_with_several_threads_nothing_is_handed_over():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert steps([True] * 2)[1].beside is None
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
