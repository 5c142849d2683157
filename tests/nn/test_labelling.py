"""Images are labelled in batches that do not depend on what is there, and what is there stays."""

import shutil
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swdb.core.errors import BadInput, DiskRefused
from swdb.core.folders import put_in_place
from swdb.core.lease import Lease
from swdb.core.shares import offer_parts
from swdb.data.voc import VOC2012
from swdb.nn import labelling
from swdb.nn.labelling import Fitting, Labelling, by_size, neighbours, parts_of

SIZES = [(3, 4), (4, 3), (3, 4), (2, 2), (3, 4), (3, 4)]


def no_more_than(pixels):
    return lambda area: pixels // area


@dataclass
class Images:
    """Ten images whose labels are their own number, in batches of two; what was done with them is noted."""

    folder: Path
    device: torch.device
    seen: list = field(default_factory=list)
    threads: set = field(default_factory=set)
    told: list = field(default_factory=list)

    @property
    def labelling(self) -> Labelling:
        names, batches = [f"i{k}" for k in range(10)], [[k, k + 1] for k in range(0, 10, 2)]
        return Labelling(self.folder / "masks", names, batches, VOC2012.palette, self.read, self.label, self.device)

    def read(self, rows):
        self.threads.add(threading.current_thread())
        return [2 * row for row in rows]

    def label(self, rows, found):
        assert threading.current_thread() is threading.main_thread() and found == [2 * row for row in rows]
        self.seen.append(rows)
        return [torch.full((3, 4), row, dtype=torch.uint8) for row in rows], lambda: None

    def make(self, one: Labelling | None = None):
        (one or self.labelling).all_parts(self.folder / "leases", dict, lambda *told: self.told.append(told))

    def help(self, one: Labelling | None = None):
        offer_parts(self.folder / "leases", dict)
        (one or self.labelling).free_parts(self.folder / "leases")

    def labels(self):
        paths = sorted((self.folder / "masks").iterdir())
        return {path.name: np.unique(np.asarray(Image.open(path))).tolist() for path in paths}


WHOLE = {f"i{k}.png": [k] for k in range(10)}


@pytest.fixture(params=["cpu", "cuda"])
def images(request, tmp_path, monkeypatch) -> Images:
    """Images of which a CPU and a GPU say the same; what the host does beside a GPU is done by threads."""
    monkeypatch.setitem(labelling.PART, request.param, 3)  # images, so two batches a part
    return Images(tmp_path, torch.device(request.param))


# ---------------------------------------------------------------- batches


def test_batches_hold_images_of_one_size():
    assert by_size(SIZES, no_more_than(36)) == [[0, 2, 4], [5], [1], [3]]
    assert neighbours(SIZES, no_more_than(36)) == [[0], [1], [2], [3], [4, 5]]
    assert neighbours([(3, 4)] * 5, no_more_than(24)) == [[0, 1], [2, 3], [4]]


def test_an_image_that_is_too_large_is_a_batch_by_itself():
    assert by_size([(9, 9), (9, 9)], no_more_than(10)) == [[0], [1]]


# ---------------------------------------------------------------- labels become files


def test_every_image_gets_its_labels_and_progress_ends_at_their_number(images):
    images.make()
    assert images.labels() == WHOLE and images.seen == images.labelling.batches
    assert images.told == [(2, 10), (4, 10), (6, 10), (8, 10), (10, 10)]
    assert (threading.main_thread() in images.threads) == (images.device.type == "cpu")
    assert images.threads
    assert not (images.folder / "leases").exists()


def test_a_batch_is_the_same_though_some_of_its_files_are_there_and_those_stay(images):
    images.make()
    path = images.folder / "masks" / "i5.png"
    path.write_bytes(b"there")
    for name in ("i0.png", "i4.png"):
        (images.folder / "masks" / name).unlink()
    images.seen.clear()
    images.told.clear()
    images.make()
    assert images.seen == [[0, 1], [4, 5]] and path.read_bytes() == b"there"
    assert images.told == [(9, 10), (10, 10)]


def test_nothing_is_read_or_labelled_where_all_is_there(images):
    images.make()
    images.seen.clear()
    images.threads.clear()
    images.make()
    assert not images.seen and not images.threads and images.told[-1] == (10, 10)


def test_what_is_to_be_done_on_the_host_comes_before_the_files_and_its_error_is_raised(images):
    def refused():
        raise BadInput("x", "y")

    def label(rows, found):
        labels, _ = images.label(rows, found)
        return labels, refused if rows == [4, 5] else lambda: None

    with pytest.raises(BadInput):
        images.make(replace(images.labelling, label=label))
    assert set(images.labels()) <= set(WHOLE) - {"i4.png", "i5.png"} and "i3.png" in images.labels()
    assert Lease(images.folder / "leases" / "000001").try_take()  # an error keeps none


def test_half_written_files_of_killed_processes_are_swept(images):
    images.make()
    half = images.folder / "masks" / f".i3.{'0' * 12}.tmp"
    half.touch()
    images.make()
    assert not half.exists()


# ---------------------------------------------------------------- who helps


def test_who_helps_does_what_is_free_and_leaves_the_rest_to_whoever_makes_it(images):
    (images.folder / "masks").mkdir()
    offer_parts(images.folder / "leases", dict)
    another = Lease(images.folder / "leases" / "000001", "another")
    assert another.try_take()
    images.help()
    assert images.seen == [[0, 1], [2, 3], [8, 9]]
    another.release()
    images.make()
    assert images.seen[3:] == [[4, 5], [6, 7]] and images.labels() == WHOLE
    assert images.told == [(8, 10), (10, 10)]


def test_who_helps_makes_no_folder(images):
    with pytest.raises(DiskRefused):
        images.help()
    assert not (images.folder / "masks").exists() and not images.seen


@pytest.mark.parametrize("fate", ["deleted", "another"])
def test_who_wakes_up_after_hours_leaves_the_folder_in_its_place_alone(images, fate):
    masks, again = images.folder / "masks", images.folder / "again"
    masks.mkdir()
    again.mkdir()
    (again / "i9.png").write_bytes(b"of other inputs")

    def label(rows, found):
        if fate == "deleted":
            shutil.rmtree(masks, ignore_errors=True)
        elif again.exists():
            put_in_place(again, masks, "done.json")
        return images.label(rows, found)

    with pytest.raises(DiskRefused):
        images.help(replace(images.labelling, label=label))
    assert not masks.exists() if fate == "deleted" else [path.name for path in masks.iterdir()] == ["i9.png"]


def test_who_helps_writes_nothing_over_what_appeared_meanwhile(images):
    (images.folder / "masks").mkdir()

    def label(rows, found):
        (images.folder / "masks" / "i1.png").write_bytes(b"of whoever was faster")
        return images.label(rows, found)

    images.help(replace(images.labelling, label=label))
    assert (images.folder / "masks" / "i1.png").read_bytes() == b"of whoever was faster"
    assert len(list((images.folder / "masks").iterdir())) == 10


# ---------------------------------------------------------------- a GPU that is too small


class Gpu:
    """Works on as many pixels as its memory takes."""

    def __init__(self, pixels: int, size: tuple[int, int]):
        self.pixels, self.area = pixels, size[0] * size[1]
        self.asked: list[int] = []

    def __call__(self, part: slice) -> list[int]:
        count = part.stop - part.start
        self.asked.append(count)
        if count * self.area > self.pixels:
            raise torch.OutOfMemoryError
        return list(range(part.start, part.stop))


def test_what_a_gpu_refuses_is_halved_and_stays_so():
    told: list[str] = []
    fit, gpu = Fitting(told.append), Gpu(36, (3, 4))
    assert fit(gpu, 8, (3, 4)) == list(range(8)) and gpu.asked == [8, 4, 2, 2, 2, 2]
    assert len(told) == 2 and "8 images of 4x3 pixels" in told[0] and told[1].endswith("trying 2")
    small = Gpu(36, (2, 2))
    assert fit(small, 8, (2, 2)) == list(range(8)) and small.asked == [6, 2] and len(told) == 2


def test_an_image_that_a_gpu_does_not_take_is_an_error_with_its_size():
    with pytest.raises(BadInput) as caught:
        Fitting(lambda line: None)(Gpu(11, (3, 4)), 4, (3, 4))
    assert caught.value.subject == "the GPU's memory" and "4x3" in caught.value.found


def test_other_errors_are_not_taken_for_a_small_memory():
    def broken(part):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        Fitting(print)(broken, 4, (3, 4))


def test_parts_hold_whole_batches_and_all_of_them(monkeypatch):
    monkeypatch.setitem(labelling.PART, "cpu", 4)
    batches = [[0, 1, 2], [3], [4, 5, 6, 7, 8, 9], [10]]
    assert parts_of(batches, torch.device("cpu")) == [[[0, 1, 2], [3]], [[4, 5, 6, 7, 8, 9]], [[10]]]
