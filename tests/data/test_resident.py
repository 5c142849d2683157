"""Arrays on the GPU: the same values, uploaded once, in chunks, and left outside where they do not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gpu import needs_gpu
from pretended_gpu import pretended_gpu

from swdb.data import resident as residents
from swdb.data.resident import free_memory, resident, sent

GPU = torch.device("cuda")


def mapped(folder: Path, name: str = "images", count: int = 10, seed: int = 0) -> np.ndarray:
    """Write an array, and map it."""
    np.save(folder / f"{name}.npy", np.random.default_rng(seed).integers(0, 255, (count, 6, 5, 3), np.uint8))
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def uploads(watch) -> int:
    return sum(count for line, count in watch.waits["", ""].items() if "data/resident.py" in line)


def test_on_a_processor_nothing_moves(tmp_path):
    arrays = mapped(tmp_path), mapped(tmp_path, "masks")
    assert resident(arrays, torch.device("cpu")) is arrays
    values = torch.ones(2)
    assert sent(values, torch.device("cpu")) is values


@pytest.mark.parametrize(("chunk", "times"), [(1, 10), (3 * 90, 4), (2**26, 1)])
def test_what_is_uploaded_in_chunks_is_the_same(tmp_path, monkeypatch, chunk, times):
    monkeypatch.setattr(residents, "CHUNK", chunk)
    array = mapped(tmp_path)
    with pretended_gpu() as watch:
        (moved,) = resident((array,), GPU)
        assert moved.device.type == "cuda" and uploads(watch) == times
        found = moved.cpu().numpy()
    assert np.array_equal(found, array)


def test_a_file_is_uploaded_once_however_often_it_is_opened(tmp_path):
    first = mapped(tmp_path)
    again = np.load(tmp_path / "images.npy", mmap_mode="r")
    with pretended_gpu() as watch:
        (one,), (other,) = resident((first,), GPU), resident((again,), GPU)
        assert one is other and uploads(watch) == 1
        resident((first, mapped(tmp_path, "masks")), GPU)
        assert uploads(watch) == 2  # the masks alone


def test_a_file_that_was_written_anew_is_another(tmp_path):
    array = mapped(tmp_path)
    with pretended_gpu():
        (one,) = resident((array,), GPU)
        (other,) = resident((mapped(tmp_path, seed=1),), GPU)
        assert one is not other


def test_an_array_of_this_process_is_moved_and_not_kept(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    with pretended_gpu():
        (moved,) = resident((array,), GPU)
        assert moved.cpu().tolist() == array.tolist() and not residents._uploaded


def test_what_does_not_fit_stays_outside_all_of_it(tmp_path):
    arrays = mapped(tmp_path), mapped(tmp_path, "masks")
    size = sum(array.nbytes for array in arrays)
    for share, fits in ((2, True), (1.99, False)):
        with pretended_gpu(int(share * size)):
            found = resident(arrays, GPU)
            assert all(isinstance(one, torch.Tensor) for one in found) is fits and (fits or found is arrays)


def test_what_is_there_already_needs_no_room_and_others_make_room(tmp_path, monkeypatch):
    one, other = mapped(tmp_path), mapped(tmp_path, "others")
    with pretended_gpu():
        (first,) = resident((one,), GPU)
        monkeypatch.setattr(residents, "free_memory", lambda device: 0)
        assert resident((one,), GPU)[0] is first
        monkeypatch.setattr(residents, "free_memory", lambda device: 0 if residents._uploaded else 2 * other.nbytes)
        resident((other,), GPU)
        assert [key[1] for key in residents._uploaded] == [str(tmp_path / "others.npy")]


def test_what_torch_keeps_and_does_not_use_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 9999))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    assert free_memory(GPU) == 1400


def test_what_is_sent_is_not_waited_for():
    with pretended_gpu() as watch:
        moved = sent(torch.arange(5), GPU)
        assert sent(moved, GPU) is moved and not watch.waits
        assert moved.cpu().tolist() == [0, 1, 2, 3, 4]


@needs_gpu
def test_a_real_gpu_holds_the_same_values(tmp_path):
    array = mapped(tmp_path)
    (moved,) = resident((array,), GPU)
    assert np.array_equal(moved.cpu().numpy(), array) and resident((array,), GPU)[0] is moved
