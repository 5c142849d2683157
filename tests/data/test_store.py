"""The decoded store: the same pixels as in the files, on one canvas, whole or not there."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import voc_tree
from conftest import TESTS
from gpu import needs_gpu
from voc_tree import DATA, SIZES, TRAIN, TRAIN_AUG, VAL, image_file
from voc_tree import prepared_mask as mask_file

from swdb.core import lease
from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, DiskRefused, MissingArtefact, SwdbError
from swdb.core.files import write_json
from swdb.core.progress import silent
from swdb.data import store as stores
from swdb.data.dataset import DataSet, load
from swdb.data.images import masks_digest, read_image, read_mask, resize_longest_side
from swdb.data.prepare import prepare
from swdb.data.sources.voc2012 import Sources
from swdb.data.store import Store, gather, proxy_masks, training_store

CANVAS = 24  # the preset's image_size
STORED = ["images.npy", "masks.npy", "sizes.npy", "store.json"]
unwatched = silent()


@pytest.fixture
def data(tmp_path) -> DataSet:
    """A prepared data set of real images of different sizes, that a test may spoil."""
    root = tmp_path / "work" / "data" / "mini"
    prepare(DATA, root, Sources(voc_tree.build(tmp_path / "unpacked")), silent)
    return load(DATA, root)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Proxy masks of the training images, one value an image."""
    path = tmp_path / "proxies"
    path.mkdir()
    for label, (image_id, size) in enumerate(zip(TRAIN_AUG, SIZES, strict=False), start=1):
        voc_tree.save_mask(path / f"{image_id}.png", np.full(size, label))
    return path


def finished(folder: Path) -> Artefact:
    """Proxies that were finished as their masks are now."""
    artefact = Artefact("proxies", "dsrg-1", "dsrg-1-0123456789", folder)
    write_json(artefact.record, {"id": artefact.id, "digest": masks_digest(folder)})
    return artefact


def open_store(data: DataSet, longest_side: int = 0, advance=unwatched) -> Store:
    return training_store(data, longest_side, advance)


def names(path: Path) -> list[str]:
    """What is in a folder, temporary files included; of leases only their folder would be there."""
    return sorted(entry.name for entry in path.iterdir() if entry.name != ".leases") if path.exists() else []


# ---------------------------------------------------------------- decoding


def test_the_store_holds_the_pixels_of_the_files(data):
    store = open_store(data)
    assert store.images.shape == (4, CANVAS, CANVAS, 3) and store.masks.shape == (4, CANVAS, CANVAS)
    assert store.images.dtype == store.masks.dtype == np.uint8
    for k, (image_id, (height, width)) in enumerate(zip(TRAIN_AUG, SIZES[:4], strict=True)):
        image, mask = read_image(image_file(data.root, image_id)), read_mask(mask_file(data.root, image_id), 21)
        assert image.shape == (height, width, 3)
        assert np.array_equal(store.images[k, :height, :width], image)
        assert np.array_equal(store.masks[k, :height, :width], mask)


def test_the_canvas_around_a_mask_is_void(data):
    # Whatever a crop takes from there must not be learnt from.
    store = open_store(data)
    outside = 0
    for k, (height, width) in enumerate(SIZES[:4]):
        inside = np.zeros((CANVAS, CANVAS), bool)
        inside[:height, :width] = True
        assert (store.masks[k][~inside] == 255).all()
        outside += (~inside).sum()
    assert outside == 4 * CANVAS**2 - sum(height * width for height, width in SIZES[:4])


def test_true_sizes_are_height_and_width(data):
    sizes = open_store(data).sizes
    assert sizes.dtype == torch.int64
    assert sizes.tolist() == [list(size) for size in SIZES[:4]]


def test_the_store_holds_the_training_images_and_no_others(data):
    store = open_store(data)
    assert store.ids == TRAIN_AUG and not set(store.ids) & set(VAL)


def test_decoding_never_opens_the_validation_images(data):
    for image_id in VAL:
        image_file(data.root, image_id).unlink()
        mask_file(data.root, image_id).unlink()
    assert len(open_store(data).images) == 4


def test_what_is_decoded_is_not_decoded_again(data):
    first = open_store(data)
    told = []
    again = open_store(data, advance=lambda done, of: told.append(done))
    assert told == []
    assert np.array_equal(again.images, first.images) and np.array_equal(again.masks, first.masks)
    assert torch.equal(again.sizes, first.sizes)


def test_decoding_tells_how_far_it_is(data):
    told = []
    open_store(data, advance=lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_store_cannot_be_written_to_by_mistake(data):
    with pytest.raises(ValueError, match="read-only"):
        open_store(data).images[0] = 0


# ---------------------------------------------------------------- files that do not fit


def refused(call, *arguments, kind: type[SwdbError] = BadInput) -> SwdbError:
    """Return the error that a call ends with."""
    with pytest.raises(kind) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value


def not_decoded(data: DataSet, kind: type[SwdbError] = BadInput) -> SwdbError:
    """Return the error with which a data set is not decoded; nothing half decoded may be left."""
    error = refused(open_store, data, kind=kind)
    assert names(data.root / "store") == []
    return error


def test_an_image_larger_than_the_canvas_is_named_with_both_sizes(data):
    voc_tree.save_image(image_file(data.root, TRAIN[0]), 20, 25)
    voc_tree.save_mask(mask_file(data.root, TRAIN[0]), np.zeros((20, 25)))
    error = not_decoded(data)
    assert error.subject == image_file(data.root, TRAIN[0])
    assert "25x20" in error.found and "24" in error.expected.split()


def test_a_mask_of_another_size_than_its_image_is_named_with_both_sizes(data):
    voc_tree.save_mask(mask_file(data.root, TRAIN[0]), np.zeros((16, 20)))
    error = not_decoded(data)
    assert error.subject == mask_file(data.root, TRAIN[0])
    assert "20x16" in error.found and "16x20" in error.expected and f"{TRAIN[0]}.jpg" in error.expected


@pytest.mark.parametrize("file_of", [image_file, mask_file])
def test_a_missing_file_is_named(data, file_of):
    path = file_of(data.root, TRAIN_AUG[3])
    path.unlink()
    error = not_decoded(data, MissingArtefact)
    assert (error.subject, error.found) == (path, "missing")


@pytest.mark.parametrize("file_of", [image_file, mask_file])
def test_a_truncated_file_is_named(data, file_of):
    path = file_of(data.root, TRAIN_AUG[2])
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) * 3 // 4])
    error = not_decoded(data)
    assert error.subject == path and "cannot be read" in error.found


def test_a_mask_value_that_is_not_a_class_is_named(data):
    voc_tree.save_mask(mask_file(data.root, TRAIN[1]), np.full(SIZES[1], 21))
    error = not_decoded(data)
    assert error.subject == mask_file(data.root, TRAIN[1])
    assert "21" in error.found.split() and error.expected == "0 to 20 and 255"


# ---------------------------------------------------------------- interrupted, killed, full, damaged


def stop_at(number: int):
    """A function that is told how far the work is, and at which the user presses Ctrl-C."""

    def advance(done: int, of: int) -> None:
        if done == number:
            raise KeyboardInterrupt

    return advance


@pytest.mark.parametrize("number", [1, 3, 4])
def test_an_interrupted_decoding_leaves_nothing_and_the_next_start_works(data, number):
    with pytest.raises(KeyboardInterrupt):
        open_store(data, advance=stop_at(number))
    assert names(data.root / "store") == []
    store = open_store(data)
    assert np.array_equal(store.masks[0, :20, :16], read_mask(mask_file(data.root, TRAIN[0]), 21))


KILLED = """
import os, signal, sys
from pathlib import Path
from swdb.data.dataset import load
from swdb.data.store import training_store
sys.path.insert(0, sys.argv[1])
from voc_tree import DATA
def advance(done, of):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
training_store(load(DATA, Path(sys.argv[2])), 0, advance)
"""


def test_a_killed_decoding_is_begun_again_and_what_it_left_is_swept(data, monkeypatch):
    command = [sys.executable, "-c", KILLED, TESTS, data.root]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = names(data.root / "store")
    assert len(left) == 2 and all(name.startswith(".") and name.endswith(".tmp") for name in left)
    monkeypatch.setattr(lease, "POLL", 0.01)  # seconds until the dead holder's lease is taken over
    store = open_store(data)
    assert np.array_equal(store.images[3, :9, :7], read_image(image_file(data.root, TRAIN_AUG[3])))
    assert names(data.root / "store") == STORED


def faster_elsewhere(monkeypatch, decode) -> None:
    """Let another process decode while this one waits for the lease."""
    real = stores.leased

    @contextmanager
    def late(path: Path, doing: str):
        monkeypatch.setattr(stores, "leased", real)
        decode()
        with real(path, doing) as held:
            yield held

    monkeypatch.setattr(stores, "leased", late)


def test_images_that_another_process_decoded_meanwhile_are_not_decoded_again(data, monkeypatch):
    told = []
    faster_elsewhere(monkeypatch, lambda: open_store(data))
    store = open_store(data, advance=lambda done, of: told.append(done))
    assert told == [] and np.array_equal(store.images[3, :9, :7], read_image(image_file(data.root, TRAIN_AUG[3])))


def test_proxies_that_another_process_decoded_meanwhile_are_not_decoded_again(data, folder, monkeypatch):
    told, store, proxies = [], open_store(data), finished(folder)
    faster_elsewhere(monkeypatch, lambda: proxy_masks(proxies, data, store))
    masks = proxy_masks(proxies, data, store, lambda done, of: told.append(done))
    assert told == [] and masks[3, 0, 0] == 4


@pytest.fixture
def full_disk(monkeypatch):
    """A disk with 1000 free bytes. Pretended: a store that is truly too large would fill the disk, were it begun."""
    real = os.statvfs

    def statvfs(path):
        found = real(path)
        return os.statvfs_result((found.f_bsize, 1, found.f_blocks, 1000, 1000, *found[5:]))

    return lambda: monkeypatch.setattr(os, "statvfs", statvfs)


def test_a_store_that_the_disk_cannot_hold_is_refused_before_it_is_begun(data, full_disk):
    full_disk()
    error = not_decoded(data, DiskRefused)
    assert error.subject == data.root / "store" / "images.npy" and "full" in error.found


@pytest.fixture
def refuse_room(monkeypatch):
    """A file system that does not set room aside, for a reason."""

    def refusing(number: int) -> None:
        def refuse(descriptor, start, size):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", refuse)

    return refusing


def test_the_room_of_an_array_is_taken_before_the_next_one_is_begun(data, refuse_room):
    refuse_room(errno.ENOSPC)
    error = not_decoded(data, DiskRefused)
    assert error.subject == data.root / "store" / "images.npy" and "full" in error.found


def test_a_file_system_that_cannot_take_room_is_used_without(data, refuse_room):
    refuse_room(errno.EOPNOTSUPP)
    assert open_store(data).images.shape[0] == 4


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("keep", [0.0, 0.5, None])
def test_a_damaged_store_is_decoded_again(data, name, keep):
    path, before = data.root / "store" / name, open_store(data)
    expected = np.array(before.images), np.array(before.masks), before.sizes
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[: int(keep * len(content))])
    told = []
    store = open_store(data, advance=lambda done, of: told.append(done))
    assert told == [1, 2, 3, 4]
    assert np.array_equal(store.images, expected[0]) and np.array_equal(store.masks, expected[1])
    assert torch.equal(store.sizes, expected[2])


@pytest.mark.parametrize("name", STORED[:3])
def test_a_store_with_one_other_byte_is_decoded_again(data, name):
    path, before = data.root / "store" / name, open_store(data)
    expected = np.array(before.images), np.array(before.masks), before.sizes
    flip_last_byte(path)
    store = open_store(data)
    assert np.array_equal(store.images, expected[0]) and np.array_equal(store.masks, expected[1])
    assert torch.equal(store.sizes, expected[2])


def flip_last_byte(path: Path) -> None:
    """Damage a file in place, so that nothing but its contents says so."""
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        (last,) = stream.read()
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last ^ 1]))


def test_a_store_of_another_list_is_decoded_again(data):
    # Whoever edits a list by hand must not train on masks of other images.
    before = np.array(open_store(data).images)
    voc_tree.list_file(data.root, "train_aug").write_text("\n".join(TRAIN_AUG[::-1]))
    store = open_store(data)
    assert store.ids == TRAIN_AUG[::-1] and store.sizes.tolist() == [list(size) for size in SIZES[3::-1]]
    assert np.array_equal(store.images, before[::-1])


def test_cues_and_proxies_are_made_from_a_store_without_true_masks(data):
    store = open_store(data)
    assert store.images_only.masks is None
    assert store.images_only.images is store.images and store.images_only.ids == store.ids


# ---------------------------------------------------------------- proxy masks


def open_proxies(folder: Path, data: DataSet, advance=unwatched) -> np.ndarray:
    """Open the proxy masks as they are now: with the digest that they have."""
    return proxy_masks(finished(folder), data, open_store(data), lambda name, total: advance)


def test_proxy_masks_hold_the_pixels_of_the_files_with_void_around(data, folder):
    masks = open_proxies(folder, data)
    assert masks.shape == (4, CANVAS, CANVAS) and masks.dtype == np.uint8
    for k, (height, width) in enumerate(SIZES[:4]):
        expected = np.full((CANVAS, CANVAS), 255)
        expected[:height, :width] = k + 1
        assert np.array_equal(masks[k], expected)


def test_proxy_masks_are_decoded_once(data, folder):
    told = []
    first = np.array(open_proxies(folder, data, lambda done, of: told.append((done, of))))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert np.array_equal(open_proxies(folder, data, stop_at(1)), first)


def test_proxy_masks_need_nobody_who_watches(data, folder):
    assert proxy_masks(finished(folder), data, open_store(data)).shape == (4, CANVAS, CANVAS)


def test_masks_that_are_not_those_that_were_made_are_refused(data, folder):
    proxies = finished(folder)
    voc_tree.save_mask(folder / f"{TRAIN_AUG[0]}.png", np.zeros(SIZES[0]))
    error = refused(proxy_masks, proxies, data, open_store(data), kind=MissingArtefact)
    assert error.subject == folder and "masks.npy" not in names(folder)


def test_a_missing_proxy_mask_is_refused(data, folder):
    proxies = finished(folder)
    (folder / f"{TRAIN_AUG[2]}.png").unlink()
    assert refused(proxy_masks, proxies, data, open_store(data), kind=MissingArtefact).subject == folder


def test_proxies_that_are_not_finished_are_refused(data, folder):
    proxies = finished(folder)
    proxies.record.unlink()
    error = refused(proxy_masks, proxies, data, open_store(data), kind=MissingArtefact)
    assert error.subject == proxies.record and "masks.npy" not in names(folder)


@pytest.mark.parametrize(
    ("fault", "found", "expected"),
    [
        (lambda path: path.unlink(), "missing", "a mask"),
        (lambda path: path.write_bytes(b"not an image"), "cannot be read", "a mask"),
        (lambda path: voc_tree.save_mask(path, np.zeros((16, 20))), "20x16", "16x20"),
        (lambda path: voc_tree.save_mask(path, np.full(SIZES[0], 21)), "the value 21", "0 to 20 and 255"),
    ],
)
def test_a_proxy_mask_that_does_not_fit_is_named(data, folder, fault, found, expected):
    path = folder / f"{TRAIN_AUG[0]}.png"
    fault(path)
    error = refused(open_proxies, folder, data, kind=SwdbError)
    assert error.subject == path and found in error.found and expected in error.expected
    assert "masks.npy" not in names(folder)


@pytest.mark.parametrize("number", [1, 4])
def test_an_interrupted_decoding_of_proxies_leaves_no_masks_and_the_next_start_works(data, folder, number):
    finished(folder)
    before = names(folder)
    with pytest.raises(KeyboardInterrupt):
        open_proxies(folder, data, stop_at(number))
    assert names(folder) == before
    assert open_proxies(folder, data)[3, 0, 0] == 4


def test_what_a_killed_decoding_of_proxies_left_is_swept(data, folder):
    finished(folder)
    before = names(folder)
    (folder / ".masks.npy.0123456789ab.tmp").write_bytes(b"half of them")
    open_proxies(folder, data)
    assert names(folder) == sorted([*before, "masks.json", "masks.npy"])


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_damaged_masks_of_proxies_are_decoded_again(data, folder, keep):
    first, path = np.array(open_proxies(folder, data)), folder / "masks.npy"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: int(keep * len(content))])
    assert np.array_equal(open_proxies(folder, data), first)


def test_masks_of_proxies_with_one_other_byte_are_decoded_again(data, folder):
    first = np.array(open_proxies(folder, data))
    flip_last_byte(folder / "masks.npy")
    assert np.array_equal(open_proxies(folder, data), first)


def test_masks_of_other_proxies_in_the_same_place_are_decoded_again(data, folder):
    open_proxies(folder, data)
    voc_tree.save_mask(folder / f"{TRAIN_AUG[3]}.png", np.full(SIZES[3], 7))
    assert open_proxies(folder, data)[3, 0, 0] == 7


def test_proxies_that_the_disk_cannot_hold_are_refused_before_they_are_begun(data, folder, full_disk):
    store, proxies = open_store(data), finished(folder)
    before = names(folder)
    full_disk()
    error = refused(proxy_masks, proxies, data, store, kind=DiskRefused)
    assert error.subject == folder / "masks.npy" and "full" in error.found
    assert names(folder) == before


def test_decoded_proxies_survive_their_pngs(data, folder):
    # What was checked once is what training reads: later changes to the PNGs do not reach it.
    proxies = finished(folder)
    first = np.array(proxy_masks(proxies, data, open_store(data)))
    shutil.copy(folder / f"{TRAIN_AUG[0]}.png", folder / f"{TRAIN_AUG[1]}.png")
    assert np.array_equal(proxy_masks(proxies, data, open_store(data)), first)


# ---------------------------------------------------------------- shrunk images

LONGEST = 12
SHRUNK = [(12, 10), (6, 12), (12, 12), (9, 7)]  # (20, 16), (12, 24), (24, 24); (9, 7) is small enough as it is


def test_a_store_of_shrunk_images_has_their_longest_side_and_a_folder_of_its_own(data):
    store = open_store(data, LONGEST)
    assert store.images.shape == (4, LONGEST, LONGEST, 3) and store.masks.shape == (4, LONGEST, LONGEST)
    assert store.sizes.tolist() == [list(size) for size in SHRUNK]
    assert names(data.root / "store-12") == STORED
    assert not (data.root / "store").exists()


def test_images_masks_and_proxies_are_shrunk_in_the_same_way(data, folder):
    random = np.random.default_rng(0)
    for image_id, size in zip(TRAIN_AUG, SIZES, strict=False):
        voc_tree.save_mask(folder / f"{image_id}.png", random.integers(0, 21, size))
    store = open_store(data, LONGEST)
    proxies = proxy_masks(finished(folder), data, store)
    assert proxies.shape == store.masks.shape
    for k, (image_id, (height, width)) in enumerate(zip(TRAIN_AUG, SHRUNK, strict=True)):
        image, mask = read_image(image_file(data.root, image_id)), read_mask(mask_file(data.root, image_id), 21)
        assert np.array_equal(store.images[k, :height, :width], resize_longest_side(image, LONGEST))
        assert np.array_equal(store.masks[k, :height, :width], resize_longest_side(mask, LONGEST))
        assert np.array_equal(
            proxies[k, :height, :width], resize_longest_side(read_mask(folder / f"{image_id}.png", 21), LONGEST)
        )
        for labels in (store.masks[k], proxies[k]):
            assert (labels[height:] == 255).all() and (labels[:, width:] == 255).all()


def test_stores_of_other_sizes_stand_side_by_side(data):
    whole = np.array(open_store(data).images)
    open_store(data, LONGEST)
    for longest_side in (0, LONGEST):
        open_store(data, longest_side, stop_at(1))  # neither is decoded again
    assert np.array_equal(open_store(data).images, whole)


def test_a_longest_side_that_no_image_reaches_shrinks_nothing(data):
    store = open_store(data, 30)
    assert store.sizes.tolist() == [list(size) for size in SIZES[:4]] and store.images.shape[1] == 30
    assert np.array_equal(store.masks[0, :20, :16], read_mask(mask_file(data.root, TRAIN[0]), 21))


def test_an_image_that_is_too_large_is_refused_before_it_is_shrunk(data):
    voc_tree.save_image(image_file(data.root, TRAIN[0]), 20, 25)
    voc_tree.save_mask(mask_file(data.root, TRAIN[0]), np.zeros((20, 25)))
    error = refused(open_store, data, LONGEST)
    assert error.subject == image_file(data.root, TRAIN[0])
    assert "25x20" in error.found and "24" in error.expected.split()


def test_a_proxy_mask_of_another_shape_is_refused_after_it_is_shrunk(data, folder):
    voc_tree.save_mask(folder / f"{TRAIN_AUG[0]}.png", np.zeros((16, 20)))
    error = refused(proxy_masks, finished(folder), data, open_store(data, LONGEST))
    assert error.subject == folder / f"{TRAIN_AUG[0]}.png"
    assert "12x10" in error.found and "10x12" in error.expected


# ---------------------------------------------------------------- batches


def test_rows_are_the_same_from_a_file_and_from_memory(data):
    mapped = open_store(data).images
    index, device = np.array([3, 0, 0, 2]), torch.device("cpu")
    taken = gather(mapped, index, device)
    assert taken.dtype == torch.uint8 and taken.shape == (4, CANVAS, CANVAS, 3)
    assert np.array_equal(taken.numpy(), np.stack([mapped[3], mapped[0], mapped[0], mapped[2]]))
    assert torch.equal(gather(torch.from_numpy(np.array(mapped)), index, device), taken)


def test_a_batch_is_a_copy_of_the_store(data):
    images = open_store(data).images
    before = np.array(images)
    gather(images, np.array([0, 1]), torch.device("cpu")).zero_()
    assert np.array_equal(images, before)


def test_on_the_cpu_the_store_stays_where_it_is(data):
    store = open_store(data)
    assert store.to(torch.device("cpu")) is store


@needs_gpu
def test_on_the_gpu_the_store_holds_the_same_pixels(data):
    store = open_store(data)
    moved: Store = store.to(torch.device("cuda"))
    assert moved.images.device.type == moved.masks.device.type == "cuda"
    assert np.array_equal(moved.images.cpu().numpy(), store.images)
    assert np.array_equal(moved.masks.cpu().numpy(), store.masks)
    taken = gather(moved.images, np.array([2, 0]), torch.device("cuda"))
    assert np.array_equal(taken.cpu().numpy(), store.images[[2, 0]])
