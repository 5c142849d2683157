"""Checkpoints: what a thread writes is what was there when it was asked to, one at a time, and its errors are heard."""

import errno
import threading

import pytest
import torch
from torch import nn

from swdb.core.errors import DiskRefused, LeaseLost, MissingArtefact
from swdb.nn import checkpoints
from swdb.nn.checkpoints import Checkpoints, load_tensors, room_for, save_tensors


def training(seed: int = 0):
    """A network and an optimizer that has taken a step."""
    torch.manual_seed(seed)
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, fused=True)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return network, optimizer


def equal(one, other) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture
def slow_disk(monkeypatch):
    """A disk that writes when it is told to; returns the event, and what was begun and ended."""
    go, told, real = threading.Event(), [], save_tensors

    def slow(path, state):
        told.append(f"begin {state['step']}")
        assert go.wait(10)
        found = real(path, state)
        told.append(f"end {state['step']}")
        return found

    monkeypatch.setattr(checkpoints, "save_tensors", slow)
    return go, told


@pytest.mark.parametrize("threaded", [False, True])
def test_what_was_saved_comes_back(tmp_path, threaded):
    network, optimizer = training()
    keep = Checkpoints(tmp_path, "small", threaded)
    keep.save(network, optimizer, 7, 1.5)
    keep.wait()
    again, other = training(1)
    assert Checkpoints(tmp_path, "small", threaded).resume(again, other) == (7, 1.5)
    assert equal(network.state_dict(), again.state_dict())
    for one, two in zip(optimizer.state.values(), other.state.values(), strict=True):
        assert equal(one, two)


def test_both_ways_write_the_same_state(tmp_path):
    network, optimizer = training()
    for threaded in (False, True):
        keep = Checkpoints(tmp_path / str(threaded), "small", threaded)
        keep.save(network, optimizer, 7, 1.5)
        keep.wait()
    one, other = (load_tensors(tmp_path / name / "checkpoint.pt") for name in ("False", "True"))
    assert equal(one["network"], other["network"]) and one["step"] == other["step"]
    assert all(equal(one["optimizer"]["state"][k], other["optimizer"]["state"][k]) for k in (0, 1))
    assert one["optimizer"]["param_groups"] == other["optimizer"]["param_groups"]


def test_a_thread_writes_what_was_there_though_the_training_goes_on(tmp_path, slow_disk):
    go, told = slow_disk
    network, optimizer = training()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    keep = Checkpoints(tmp_path, "small", True)
    keep.save(network, optimizer, 1, 0.0)
    with torch.no_grad():
        network.weight.fill_(9)
    keep.look()  # waits for nothing
    assert told == ["begin 1"] or told == []
    go.set()
    keep.wait()
    assert equal(before, load_tensors(tmp_path / "checkpoint.pt")["network"])


def test_one_is_written_at_a_time(tmp_path, slow_disk):
    go, told = slow_disk
    network, optimizer = training()
    keep = Checkpoints(tmp_path, "small", True)
    keep.save(network, optimizer, 1, 0.0)
    threading.Timer(0.05, go.set).start()
    keep.save(network, optimizer, 2, 0.0)
    keep.wait()
    assert told == ["begin 1", "end 1", "begin 2", "end 2"]
    assert load_tensors(tmp_path / "checkpoint.pt")["step"] == 2


@pytest.mark.parametrize(
    ("raised", "heard"),
    [(LeaseLost("run", "taken over"), LeaseLost), (DiskRefused("run", "the disk is full"), DiskRefused)],
)
def test_what_the_thread_raises_is_raised_at_the_next_look_once(tmp_path, monkeypatch, raised, heard):
    def refuse(path, write):
        raise raised

    monkeypatch.setattr(checkpoints, "write_atomic", refuse)
    network, optimizer = training()
    keep = Checkpoints(tmp_path, "small", True)
    keep.save(network, optimizer, 1, 0.0)
    keep._thread.join()
    with pytest.raises(heard):
        keep.look()
    keep.look()
    keep.wait()


def test_a_full_disk_is_heard_before_the_next_one_is_begun(tmp_path, monkeypatch):
    def full(*_):
        raise DiskRefused(tmp_path, "the disk is full") from OSError(errno.ENOSPC, "")

    monkeypatch.setattr(checkpoints, "write_atomic", full)
    network, optimizer = training()
    keep = Checkpoints(tmp_path, "small", True)
    keep.save(network, optimizer, 1, 0.0)
    with pytest.raises(DiskRefused):
        keep.save(network, optimizer, 2, 0.0)


def test_how_steps_are_taken_is_not_what_a_checkpoint_says(tmp_path):
    network, optimizer = training()
    optimizer.param_groups[0]["lr"] = 0.7
    keep = Checkpoints(tmp_path, "small", False)
    keep.save(network, optimizer, 1, 0.0)
    again = nn.Linear(3, 2)
    other = torch.optim.Adam(again.parameters(), lr=0.1, fused=True, capturable=True)
    keep.resume(again, other)
    assert other.param_groups[0]["capturable"] and other.param_groups[0]["lr"] == 0.1


def test_without_a_checkpoint_a_training_begins_and_another_ones_is_refused(tmp_path):
    network, optimizer = training()
    keep = Checkpoints(tmp_path, "small", False)
    assert keep.resume(network, optimizer) == (0, 0.0)
    keep.save(network, optimizer, 3, 0.0)
    with pytest.raises(MissingArtefact) as caught:
        Checkpoints(tmp_path, "other", False).resume(network, optimizer)
    assert "'small'" in caught.value.found and "'other'" in caught.value.expected
    keep.remove()
    keep.remove()
    assert not keep.path.exists()


def test_room_is_that_of_the_weights():
    assert room_for(nn.Linear(3, 2)) == 4 * 8
