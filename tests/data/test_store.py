"""The decoded store: the same pixels as in the files, on one canvas, whole or not there."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import voc_tree
from conftest import TESTS
from voc_tree import DATA, SIZES, TRAIN, TRAIN_AUG, VAL, image_file
from voc_tree import prepared_mask as mask_file

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.data.dataset import DataSet, load
from swdb.data.images import masks_digest, read_image, read_mask, shrink
from swdb.data.prepare import prepare
from swdb.data.sources.voc2012 import Sources
from swdb.data.store import Store, gather, proxy_masks, training_store

CANVAS = 24  # the preset's image_size
WHERE = "--preset mini.toml"


def silent(done: int, of: int) -> None:
    """A progress function that nobody looks at."""


@pytest.fixture
def data(tmp_path) -> DataSet:
    """A prepared data set of photographs of different sizes, that a test may spoil."""
    sources = Sources(voc_tree.build(tmp_path / "unpacked"))
    prepare(DATA, tmp_path / "work" / "data" / "mini", sources, lambda name, total: silent)
    return load(DATA, tmp_path / "work", WHERE)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Proxy masks of the training images, one value an image."""
    path = tmp_path / "proxies"
    path.mkdir()
    for label, (image_id, size) in enumerate(zip(TRAIN_AUG, SIZES, strict=False), start=1):
        voc_tree.save_mask(path / f"{image_id}.png", np.full(size, label))
    return path


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir()) if path.exists() else []


# ---------------------------------------------------------------- decoding


def test_the_store_holds_the_pixels_of_the_files(data):
    store = training_store(data, 0, silent)
    assert store.images.shape == (4, CANVAS, CANVAS, 3) and store.masks.shape == (4, CANVAS, CANVAS)
    assert store.images.dtype == store.masks.dtype == np.uint8
    for k, (image_id, (height, width)) in enumerate(zip(TRAIN_AUG, SIZES[:4], strict=True)):
        image, mask = read_image(image_file(data.root, image_id)), read_mask(mask_file(data.root, image_id), 21)
        assert image.shape == (height, width, 3)
        assert np.array_equal(store.images[k, :height, :width], image)
        assert np.array_equal(store.masks[k, :height, :width], mask)


def test_the_canvas_around_a_mask_is_void(data):
    # Whatever a crop takes from there must not be learnt from.
    store = training_store(data, 0, silent)
    outside = 0
    for k, (height, width) in enumerate(SIZES[:4]):
        inside = np.zeros((CANVAS, CANVAS), bool)
        inside[:height, :width] = True
        assert (store.masks[k][~inside] == 255).all()
        outside += (~inside).sum()
    assert outside == 4 * CANVAS**2 - sum(height * width for height, width in SIZES[:4])


def test_true_sizes_are_height_and_width(data):
    sizes = training_store(data, 0, silent).sizes
    assert sizes.dtype == torch.int64
    assert sizes.tolist() == [list(size) for size in SIZES[:4]]


def test_the_store_holds_the_training_images_and_no_others(data):
    store = training_store(data, 0, silent)
    assert store.ids == TRAIN_AUG and not set(store.ids) & set(VAL)


def test_decoding_never_opens_the_validation_images(data):
    for image_id in VAL:
        image_file(data.root, image_id).unlink()
        mask_file(data.root, image_id).unlink()
    assert len(training_store(data, 0, silent).images) == 4


def test_what_is_decoded_is_not_decoded_again(data):
    first = training_store(data, 0, silent)
    told = []
    again = training_store(data, 0, lambda done, of: told.append(done))
    assert told == []
    assert np.array_equal(again.images, first.images) and np.array_equal(again.masks, first.masks)
    assert torch.equal(again.sizes, first.sizes)


def test_decoding_tells_how_far_it_is(data):
    told = []
    training_store(data, 0, lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_store_cannot_be_written_to_by_mistake(data):
    with pytest.raises(ValueError, match="read-only"):
        training_store(data, 0, silent).images[0] = 0


# ---------------------------------------------------------------- files that do not fit


def refusal(data: DataSet, kind: type[SwdbError] = BadInput) -> str:
    """The one line with which a data set is not decoded; nothing half decoded may be left."""
    with pytest.raises(kind) as caught:
        training_store(data, 0, silent)
    assert "\n" not in str(caught.value)
    assert names(data.root / "store") == []
    return str(caught.value)


def test_an_image_larger_than_the_canvas_is_named_with_both_sizes(data):
    voc_tree.save_image(image_file(data.root, TRAIN[0]), 20, 25)
    voc_tree.save_mask(mask_file(data.root, TRAIN[0]), np.zeros((20, 25)))
    message = refusal(data)
    assert "2007_000001.jpg is 25x20, expected at most 24" in message
    assert f"swdb prepare-voc {WHERE}" in message


def test_a_mask_of_another_size_than_its_image_is_named_with_both_sizes(data):
    voc_tree.save_mask(mask_file(data.root, TRAIN[0]), np.zeros((16, 20)))
    message = refusal(data)
    assert "2007_000001.png is 20x16" in message and "2007_000001.jpg is 16x20" in message
    assert f"swdb prepare-voc {WHERE} --again" in message


@pytest.mark.parametrize("file_of", [image_file, mask_file])
def test_a_missing_file_is_named(data, file_of):
    path = file_of(data.root, TRAIN_AUG[3])
    path.unlink()
    message = refusal(data, MissingArtefact)
    assert f"{path} is missing" in message and f"swdb prepare-voc {WHERE} --again" in message


@pytest.mark.parametrize("file_of", [image_file, mask_file])
def test_a_truncated_file_is_named(data, file_of):
    path = file_of(data.root, TRAIN_AUG[2])
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) * 3 // 4])
    message = refusal(data)
    assert f"{path} cannot be read" in message and f"swdb prepare-voc {WHERE} --again" in message


def test_a_mask_value_that_is_no_class_is_named(data):
    voc_tree.save_mask(mask_file(data.root, TRAIN[1]), np.full(SIZES[1], 21))
    assert "2007_000002.png has the value 21, expected 0 to 20 and 255" in refusal(data)


# ---------------------------------------------------------------- interrupted, killed, full, damaged


def stop_at(number: int):
    """A progress function at which the user presses Ctrl-C."""

    def progress(done: int, of: int) -> None:
        if done == number:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("number", [1, 3, 4])
def test_an_interrupted_decoding_leaves_nothing_and_the_next_start_works(data, number):
    with pytest.raises(KeyboardInterrupt):
        training_store(data, 0, stop_at(number))
    assert names(data.root / "store") == []
    store = training_store(data, 0, silent)
    assert np.array_equal(store.masks[0, :20, :16], read_mask(mask_file(data.root, TRAIN[0]), 21))


KILLED = """
import os, signal, sys
from pathlib import Path
from swdb.data.dataset import load
from swdb.data.store import training_store
sys.path.insert(0, sys.argv[1])
from voc_tree import DATA
def progress(done, of):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
training_store(load(DATA, Path(sys.argv[2]), ""), 0, progress)
"""


def test_a_killed_decoding_is_begun_anew(data):
    workdir = data.root.parent.parent
    killed = subprocess.run([sys.executable, "-c", KILLED, TESTS, workdir], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not {"images.npy", "masks.npy", "store.json"} & set(names(data.root / "store"))
    store = training_store(data, 0, silent)
    assert np.array_equal(store.images[3, :9, :7], read_image(image_file(data.root, TRAIN_AUG[3])))
    assert names(data.root / "store") == ["images.npy", "masks.npy", "sizes.npy", "store.json"]


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
    message = refusal(data)
    assert "the disk is full" in message and "images.npy" in message


@pytest.mark.parametrize("name", ["images.npy", "masks.npy", "sizes.npy"])
@pytest.mark.parametrize("keep", [0.0, 0.5, None])
def test_a_damaged_store_is_one_line_or_decoded_anew(data, name, keep):
    path = data.root / "store" / name
    expected = np.array(training_store(data, 0, silent).images)
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[: int(keep * len(content))])
    try:
        store = training_store(data, 0, silent)
    except SwdbError as error:
        assert str(data.root / "store") in str(error) and "\n" not in str(error)
    else:
        assert np.array_equal(store.images, expected)


def test_a_store_of_another_list_is_not_taken(data):
    # Whoever edits a list by hand must not train on masks of other images.
    training_store(data, 0, silent)
    voc_tree.list_file(data.root, "train_aug").write_text("\n".join(TRAIN_AUG[::-1]))
    try:
        store = training_store(data, 0, silent)
    except SwdbError as error:
        assert "store" in str(error) or "train_aug" in str(error)
    else:
        assert store.sizes.tolist() == [list(size) for size in SIZES[3::-1]]


# ---------------------------------------------------------------- proxy masks


def open_proxies(folder: Path, data: DataSet, progress=silent) -> np.ndarray:
    """Open the proxy masks as they are now: with the digest that they have."""
    return proxy_masks(folder, masks_digest(folder), data, training_store(data, 0, silent), progress)


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


def test_masks_that_are_not_those_that_were_made_are_refused(data, folder):
    made = masks_digest(folder)
    voc_tree.save_mask(folder / f"{TRAIN_AUG[0]}.png", np.zeros(SIZES[0]))
    with pytest.raises(MissingArtefact) as caught:
        proxy_masks(folder, made, data, training_store(data, 0, silent), silent)
    assert str(folder) in str(caught.value) and f"swdb make-proxy {WHERE} --again" in str(caught.value)
    assert "masks.npy" not in names(folder)


def test_a_missing_proxy_mask_is_refused(data, folder):
    made = masks_digest(folder)
    (folder / f"{TRAIN_AUG[2]}.png").unlink()
    with pytest.raises(MissingArtefact, match=f"swdb make-proxy {WHERE} --again"):
        proxy_masks(folder, made, data, training_store(data, 0, silent), silent)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"no picture"), "cannot be read"),
        (lambda path: voc_tree.save_mask(path, np.zeros((16, 20))), "is 20x16, its image is 16x20"),
        (lambda path: voc_tree.save_mask(path, np.full(SIZES[0], 21)), "has the value 21, expected 0 to 20 and 255"),
    ],
)
def test_a_proxy_mask_that_does_not_fit_is_named_with_the_command_that_makes_it(data, folder, fault, words):
    path = folder / f"{TRAIN_AUG[0]}.png"
    fault(path)
    with pytest.raises(SwdbError) as caught:
        open_proxies(folder, data)
    message = str(caught.value)
    assert f"{path} {words}" in message and f"swdb make-proxy {WHERE} --again" in message, message
    assert "masks.npy" not in names(folder)


@pytest.mark.parametrize("number", [1, 4])
def test_an_interrupted_decoding_of_proxies_leaves_no_masks_and_the_next_start_works(data, folder, number):
    before = names(folder)
    with pytest.raises(KeyboardInterrupt):
        open_proxies(folder, data, stop_at(number))
    assert names(folder) == before
    assert open_proxies(folder, data)[3, 0, 0] == 4


def test_proxies_that_the_disk_cannot_hold_are_refused_before_they_are_begun(data, folder, full_disk):
    store, before = training_store(data, 0, silent), names(folder)
    full_disk()
    with pytest.raises(BadInput, match=r"the disk is full: .*masks\.npy"):
        proxy_masks(folder, masks_digest(folder), data, store, silent)
    assert names(folder) == before


def test_decoded_proxies_survive_their_pngs(data, folder):
    # What was checked once is what training reads: later changes to the PNGs do not reach it.
    made = masks_digest(folder)
    first = np.array(open_proxies(folder, data))
    shutil.copy(folder / f"{TRAIN_AUG[0]}.png", folder / f"{TRAIN_AUG[1]}.png")
    assert np.array_equal(proxy_masks(folder, made, data, training_store(data, 0, silent), silent), first)


# ---------------------------------------------------------------- shrunk pictures

LONGEST = 12
SHRUNK = [(12, 10), (6, 12), (12, 12), (9, 7)]  # (20, 16), (12, 24), (24, 24); (9, 7) is small enough as it is


def test_a_store_of_shrunk_pictures_has_their_longest_side_and_a_folder_of_its_own(data):
    store = training_store(data, LONGEST, silent)
    assert store.images.shape == (4, LONGEST, LONGEST, 3) and store.masks.shape == (4, LONGEST, LONGEST)
    assert store.sizes.tolist() == [list(size) for size in SHRUNK]
    assert names(data.root / "store-12") == ["images.npy", "masks.npy", "sizes.npy", "store.json"]
    assert not (data.root / "store").exists()


def test_pictures_masks_and_proxies_are_shrunk_alike(data, folder):
    random = np.random.default_rng(0)
    for image_id, size in zip(TRAIN_AUG, SIZES, strict=False):
        voc_tree.save_mask(folder / f"{image_id}.png", random.integers(0, 21, size))
    store = training_store(data, LONGEST, silent)
    proxies = proxy_masks(folder, masks_digest(folder), data, store, silent)
    assert proxies.shape == store.masks.shape
    for k, (image_id, (height, width)) in enumerate(zip(TRAIN_AUG, SHRUNK, strict=True)):
        image, mask = read_image(image_file(data.root, image_id)), read_mask(mask_file(data.root, image_id), 21)
        assert np.array_equal(store.images[k, :height, :width], shrink(image, LONGEST))
        assert np.array_equal(store.masks[k, :height, :width], shrink(mask, LONGEST))
        assert np.array_equal(proxies[k, :height, :width], shrink(read_mask(folder / f"{image_id}.png", 21), LONGEST))
        for labels in (store.masks[k], proxies[k]):
            assert (labels[height:] == 255).all() and (labels[:, width:] == 255).all()


def test_stores_of_other_sizes_stand_side_by_side(data):
    whole = np.array(training_store(data, 0, silent).images)
    training_store(data, LONGEST, silent)
    for longest_side in (0, LONGEST):
        training_store(data, longest_side, stop_at(1))  # neither is decoded again
    assert np.array_equal(training_store(data, 0, silent).images, whole)


def test_a_longest_side_that_no_picture_reaches_shrinks_nothing(data):
    store = training_store(data, 30, silent)
    assert store.sizes.tolist() == [list(size) for size in SIZES[:4]] and store.images.shape[1] == 30
    assert np.array_equal(store.masks[0, :20, :16], read_mask(mask_file(data.root, TRAIN[0]), 21))


def test_a_picture_that_is_too_large_is_refused_before_it_is_shrunk(data):
    voc_tree.save_image(image_file(data.root, TRAIN[0]), 20, 25)
    voc_tree.save_mask(mask_file(data.root, TRAIN[0]), np.zeros((20, 25)))
    with pytest.raises(BadInput, match=r"2007_000001\.jpg is 25x20, expected at most 24"):
        training_store(data, LONGEST, silent)


def test_a_proxy_mask_of_another_shape_is_refused_after_it_is_shrunk(data, folder):
    voc_tree.save_mask(folder / f"{TRAIN_AUG[0]}.png", np.zeros((16, 20)))
    with pytest.raises(BadInput, match=r"2007_000001\.png is 12x10, its image is 10x12; .*make-proxy"):
        proxy_masks(folder, masks_digest(folder), data, training_store(data, LONGEST, silent), silent)


# ---------------------------------------------------------------- batches


def test_rows_are_gathered_alike_from_a_file_and_from_memory(data):
    mapped = training_store(data, 0, silent).images
    index, device = np.array([3, 0, 0, 2]), torch.device("cpu")
    taken = gather(mapped, index, device)
    assert taken.dtype == torch.uint8 and taken.shape == (4, CANVAS, CANVAS, 3)
    assert np.array_equal(taken.numpy(), np.stack([mapped[3], mapped[0], mapped[0], mapped[2]]))
    assert torch.equal(gather(torch.from_numpy(np.array(mapped)), index, device), taken)


def test_a_batch_is_a_copy_of_the_store(data):
    images = training_store(data, 0, silent).images
    before = np.array(images)
    gather(images, np.array([0, 1]), torch.device("cpu")).zero_()
    assert np.array_equal(images, before)


def test_on_the_cpu_the_store_stays_where_it_is(data):
    store = training_store(data, 0, silent)
    assert store.to(torch.device("cpu")) is store


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_the_gpu_the_store_holds_the_same_pixels(data):
    store = training_store(data, 0, silent)
    moved: Store = store.to(torch.device("cuda"))
    assert moved.images.device.type == moved.masks.device.type == "cuda"
    assert np.array_equal(moved.images.cpu().numpy(), store.images)
    assert np.array_equal(moved.masks.cpu().numpy(), store.masks)
    taken = gather(moved.images, np.array([2, 0]), torch.device("cuda"))
    assert np.array_equal(taken.cpu().numpy(), store.images[[2, 0]])
