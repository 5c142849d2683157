"""How many workers there are, and where: by cores, memory and GPUs, or as it was typed."""

import math
from types import SimpleNamespace

import pytest

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput
from swdb.core.files import write_json
from swdb.study import capacity
from swdb.study.capacity import GUESS, Resources, Slot, chosen_gpus, largest, slots, threads_of, visible_gpus
from swdb.study.costs import MIB, settings_of


@pytest.fixture
def machine(monkeypatch):
    """A machine of four cores, much memory and no GPU, unless a test says otherwise."""

    def made(cores=4, memory=math.inf, gpus=()):
        monkeypatch.setattr(capacity, "usable_cores", lambda: cores)
        monkeypatch.setattr(capacity, "usable_memory", lambda: memory)
        monkeypatch.setattr(capacity, "visible_gpus", lambda: list(gpus))

    made()
    return made


def artefacts(folder, count=10) -> list[Artefact]:
    return [Artefact("run", f"r{k}", f"r{k}", folder / "runs" / f"r{k}", steps=5) for k in range(count)]


def test_a_cpu_has_a_worker_for_each_core_with_one_thread(machine, tmp_path):
    assert slots(Resources(), artefacts(tmp_path), tmp_path) == [Slot("cpu")] * 4
    assert threads_of(Resources()) == 1


def test_threads_take_cores_and_what_is_typed_holds(machine, tmp_path):
    assert len(slots(Resources(threads=2), artefacts(tmp_path), tmp_path)) == 2
    assert threads_of(Resources(threads=2)) == 2
    assert len(slots(Resources(jobs=7), artefacts(tmp_path), tmp_path)) == 7


def test_no_more_workers_than_there_is_to_make(machine, tmp_path):
    planned = artefacts(tmp_path)
    assert len(slots(Resources(), planned[:2], tmp_path)) == 2
    assert len(slots(Resources(), [], tmp_path)) == 1
    for one in planned[:9]:
        write_json(one.record, {})
    assert len(slots(Resources(), planned, tmp_path)) == 1


def test_memory_limits_them_as_a_guess_and_as_measured(machine, tmp_path):
    machine(memory=3 * GUESS)
    assert len(slots(Resources(), artefacts(tmp_path), tmp_path)) == 2  # nine tenths of it are used
    run = settings_of(artefacts(tmp_path)[0])
    for name, settings, peak in (("x", run, 400), ("y", run, 900), ("z", "another", 9000)):
        write_json(tmp_path / "costs" / f"{name}.json", {"kind": "run", "settings": settings, "peak_mib": peak})
    (tmp_path / "costs" / "broken.json").write_text("{")
    assert largest(artefacts(tmp_path), tmp_path) == 900 * MIB
    assert len(slots(Resources(), artefacts(tmp_path), tmp_path)) == 3
    machine(memory=1)
    assert len(slots(Resources(), artefacts(tmp_path), tmp_path)) == 1


def test_more_threads_than_cores_are_refused(machine):
    with pytest.raises(BadInput) as caught:
        threads_of(Resources(threads=5))
    assert (caught.value.subject, caught.value.expected) == ("--threads 5", "at most 4")


# ---------------------------------------------------------------- GPUs


def test_each_gpu_has_a_worker(machine, tmp_path):
    machine(gpus=("0", "1", "2"))
    assert slots(Resources(), artefacts(tmp_path), tmp_path) == [Slot("cuda", str(k)) for k in range(3)]
    shared = slots(Resources(per_device=2), artefacts(tmp_path), tmp_path)
    assert [slot.visible for slot in shared] == ["0", "1", "2", "0", "1", "2"]
    assert shared[1].environment == {"CUDA_VISIBLE_DEVICES": "1"} and Slot("cpu").environment == {}


def test_gpus_are_chosen_by_number_among_those_that_are_seen(machine, tmp_path):
    machine(gpus=("GPU-a", "GPU-b", "GPU-c"))
    assert chosen_gpus(Resources(devices=(2, 0))) == ["GPU-c", "GPU-a"]
    assert chosen_gpus(Resources(device="cuda:1")) == ["GPU-b"]
    assert chosen_gpus(Resources(device="cpu")) == []
    assert [slot.visible for slot in slots(Resources(devices=(2,), jobs=2), artefacts(tmp_path), tmp_path)] == [
        "GPU-c"
    ] * 2


@pytest.mark.parametrize(
    ("gpus", "asked", "found", "expected"),
    [
        (("0",), Resources(devices=(7,)), "there is no GPU 7", "0"),
        ((), Resources(devices=(0,)), "there is no GPU 0", "none: there is no GPU that torch can use"),
        (("0",), Resources("cpu", devices=(0,)), "numbers GPUs, beside --device cpu", "--device cuda"),
    ],
)
def test_gpus_that_are_not_there_are_refused(machine, gpus, asked, found, expected):
    machine(gpus=gpus)
    with pytest.raises(BadInput) as caught:
        chosen_gpus(asked)
    assert (caught.value.found, caught.value.expected) == (found, expected)
    assert caught.value.subject == f"--devices {asked.devices[0]}"


@pytest.mark.parametrize(
    ("environment", "count", "expected"),
    [
        (None, 2, ["0", "1"]),
        ("2,3", 2, ["2", "3"]),
        ("GPU-a,GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("", 0, []),
        ("5,9", 1, ["5"]),
    ],
)
def test_gpus_are_named_as_the_driver_shows_them(monkeypatch, environment, count, expected):
    import torch

    monkeypatch.setattr(capacity, "may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if environment is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment)
    assert visible_gpus() == expected


def test_torch_is_not_asked_where_there_is_no_driver(monkeypatch):
    monkeypatch.setattr(capacity, "may_have_gpu", lambda: False)
    monkeypatch.setitem(__import__("sys").modules, "torch", SimpleNamespace())  # has no cuda
    assert visible_gpus() == []


def test_a_gpu_that_is_typed_and_not_there_is_no_reason_to_start_workers(machine, tmp_path):
    assert slots(Resources("cuda"), artefacts(tmp_path), tmp_path) == [Slot("cuda")]
