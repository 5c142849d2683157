"""The clock beside a stage: what a step takes, what of it goes to data, waits for a device, memory."""

import warnings

import numpy as np
import pytest
import torch
from studies import CPU
from torch import nn

from swdb.nn.compute import Compute
from swdb.timing import stopwatch
from swdb.timing.stopwatch import Clock, Enough, Tools, count_waits, forget_peak, peak_mib, time_images, time_training

DATA, STEP = 0.004, 0.012  # seconds


class Watch:
    """A clock on which only as much time passes as a test lets pass."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def tools(count: int, seconds: float = 60.0, **options) -> Tools:
    return Tools(CPU, None, count, seconds, timer=Watch(), **options)


def training(steps: int, seen: list | None = None, waits: int = 0, at_once: int = 1):
    """A training of which every step is 4 ms of data, of some steps at once, and 8 ms of network."""

    def make(tools: Tools) -> None:
        network = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        advance = tools.progress("training", steps, counts=True)
        for step in range(steps):
            if seen is not None:
                seen.append(step)
            tools.timer.sleep(0 if step % at_once else DATA * at_once)
            loss = network(torch.rand(1, 2)).sum()
            tools.timer.sleep(STEP - DATA)
            loss.backward()
            for _ in range(waits):
                warnings.warn("called a synchronizing CUDA operation", stacklevel=2)
            optimizer.step()
            advance(step + 1, steps)

    return make


def nothing() -> None:
    pass


def test_a_step_is_the_time_from_one_to_the_next_and_data_what_comes_before_the_network():
    seen = []
    timing = time_training(training(100, seen), tools(10), nothing)
    assert timing.count == 10 and len(seen) == 10 + stopwatch.WARM  # the first ones are not counted
    assert timing.seconds == pytest.approx(STEP) and timing.data_share == pytest.approx(DATA / STEP)


def test_a_training_ends_after_the_time_that_it_was_given():
    seen = []
    timing = time_training(training(10_000, seen), tools(5000, seconds=5.5 * STEP), nothing)
    assert len(seen) == 6 and timing.count == 6 - stopwatch.WARM


def test_what_is_decoded_before_a_training_does_not_end_it():
    def make(tools: Tools) -> None:
        advance = tools.progress("decode the proxy masks", 1000)
        for done in range(1000):
            tools.timer.sleep(0.001)
            advance(done + 1, 1000)
        training(100)(tools)

    assert time_training(make, tools(4), nothing).seconds == pytest.approx(STEP)


def test_one_long_step_is_a_measurement_too():
    timing = time_training(training(5), tools(5, seconds=0.0), nothing)
    assert timing.count == 1 and timing.seconds == pytest.approx(STEP - DATA) and timing.data_share is None


def test_the_data_of_several_steps_that_come_at_once_are_shared_among_them():
    timing = time_training(training(16, at_once=4), tools(12), nothing)
    assert timing.seconds == pytest.approx(STEP)
    assert timing.data_share == pytest.approx(DATA / STEP)


def test_a_training_that_ends_of_itself_is_timed():
    assert time_training(training(6), tools(50), nothing).count == 6 - stopwatch.WARM


def test_no_hook_stays_behind():
    clock = Clock(torch.device("cpu"), 100, 60.0)
    with clock.hooked():
        training(2)(tools(10))
    training(2)(tools(10))
    assert len(clock.ends) == 2


def test_an_error_of_a_stage_is_not_swallowed():
    def fails(tools):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        time_training(fails, tools(5), nothing)
    with pytest.raises(ZeroDivisionError):
        time_images(fails, tools(5))


def images(count: int, after: float = 0.0):
    def make(tools: Tools) -> None:
        tools.progress("before", 1)(1, 1000)
        advance = tools.progress("images", count)
        for done in range(count):
            tools.timer.sleep(0.002)
            advance(done + 1, count)
        tools.timer.sleep(after)

    return make


def test_images_are_timed_until_it_is_enough():
    timing = time_images(images(500), tools(20))
    assert timing.count == 20 and timing.seconds == pytest.approx(0.002)


def test_what_comes_after_the_images_counts_where_a_stage_may_end():
    timing = time_images(images(10, after=0.1), tools(1000, whole=True))
    assert timing.count == 10 and timing.seconds == pytest.approx(0.012)


def test_a_stage_is_ended_by_the_clock_it_was_handed():
    advance = tools(3).progress("x", 10)
    advance(2, 10)
    with pytest.raises(Enough):
        advance(3, 10)
    tools(3, whole=True).progress("x", 3)(3, 3)


def on_gpu(count: int) -> Tools:
    return Tools(Compute(torch.device("cuda"), "fp32"), None, count, 60.0, timer=Watch())


def test_the_host_s_waits_are_counted_a_step(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    assert count_waits(training(100, waits=3), on_gpu(4), nothing) == 3
    assert modes == ["warn", "default"] * 2
    assert count_waits(training(1, waits=3), on_gpu(4), nothing) is None  # too short to tell its beginning from a step
    assert count_waits(training(100, waits=3), tools(4), nothing) is None  # on a CPU nobody waits


def test_on_a_gpu_steps_are_timed_without_marks_between_them(monkeypatch):
    synchronised, seen, begun = [], [], []
    monkeypatch.setattr(torch.cuda, "synchronize", synchronised.append)
    make = training(1000, seen)

    def noting(tools):
        begun.append((len(synchronised), tools.compute.step.graph))
        make(tools)

    timing = time_training(noting, on_gpu(5), nothing)
    assert timing.seconds == pytest.approx(STEP) and timing.data_share == pytest.approx(DATA / STEP)
    (marked, timed) = begun
    assert marked[1] is False and timed[1] is None  # a recorded step has no place for marks
    assert timed[0] == len(synchronised) > 5  # in the second pass nobody waited


def test_a_peak_of_memory_is_seen_and_forgotten():
    device = torch.device("cpu")
    forget_peak(device)
    before = peak_mib(device)
    if before is None:
        pytest.skip("the system does not say how much memory a process takes")
    block = np.ones(200 * 2**20, np.uint8)
    assert peak_mib(device) > before + 150
    del block
    forget_peak(device)
    assert peak_mib(device) < before + 100
