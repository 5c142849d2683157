"""Preparing a data set, drawn or imported from an unpacked VOC 2012: whole or not there."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import voc_tree
from conftest import TINY
from PIL import Image
from voc_tree import DATA, TRAIN, TRAIN_AUG, VAL, image_file, kit, list_file, mask_file, prepared_mask

from swdb.core import lease
from swdb.core.errors import (
    BadInput,
    DiskRefused,
    IncompleteSource,
    LeaseLost,
    MissingArtefact,
    NotMade,
    SwdbError,
)
from swdb.core.progress import silent
from swdb.data import prepare as preparing
from swdb.data.dataset import DataSet, data_key, load
from swdb.data.images import read_image, read_mask
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.data.sources.voc2012 import Sources
from swdb.data.synthetic import Scene, draw
from swdb.specs.presets import load_preset

TINY_DATA = load_preset(TINY).data  # 12 strong, 32 training and 6 val images of 32 x 32 pixels
NAMES = ["background", "alpha", "beta", "gamma", "delta", "epsilon"]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Try for a lease again at once."""
    monkeypatch.setattr(lease, "POLL", 0.01)


def files_of(root: Path) -> dict[str, bytes]:
    """All files below a folder, by name; the audit's notes hold the times of the files and are left out."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "audit.json"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def names(folder: Path) -> list[str]:
    """What is in a folder, half finished sets included; of leases only their folder would be there."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".leases")


def labels_of(path: Path) -> set[int]:
    """The values of a mask, read with Pillow alone."""
    return set(np.unique(np.asarray(Image.open(path))).tolist())


# ---------------------------------------------------------------- the synthetic data set


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> DataSet:
    """The tiny synthetic data set (read only)."""
    return prepare(TINY_DATA, tmp_path_factory.mktemp("work") / "data" / "tiny", NO_SOURCES, silent)


def test_the_synthetic_set_has_the_files_of_voc_s_layout(synthetic):
    counts = {}
    for name in files_of(synthetic.root):
        folder = name.rpartition("/")[0]
        counts[folder] = counts.get(folder, 0) + 1
    top = "VOCdevkit/VOC2012"
    assert counts == {
        "": 2,  # image_labels.csv, manifest.json
        f"{top}/JPEGImages": 38,
        f"{top}/SegmentationClassAug": 32,
        f"{top}/SegmentationClass": 6,
        f"{top}/ImageSets/Segmentation": 3,
    }


def test_the_splits_have_the_preset_s_sizes_and_no_image_in_common(synthetic):
    train, train_aug, val = (
        list_file(synthetic.root, name).read_text().split() for name in ("train", "train_aug", "val")
    )
    assert (len(set(train)), len(set(train_aug)), len(set(val))) == (12, 32, 6)
    assert set(train) < set(train_aug) and not set(train_aug) & set(val)
    assert (synthetic.ids("train"), synthetic.ids("train_aug"), synthetic.ids("val")) == (train, train_aug, val)
    assert synthetic.manifest["counts"] == {"train": 12, "train_aug": 32, "val": 6}


def test_every_listed_image_has_a_jpeg_and_a_palette_mask_in_voc_s_colours(synthetic):
    masks = sorted(kit(synthetic.root).rglob("*.png"))
    assert len(masks) == 38
    for path in masks:
        with Image.open(path) as mask, Image.open(image_file(synthetic.root, path.stem)) as image:
            assert (mask.format, mask.mode, mask.size) == ("PNG", "P", (32, 32))
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))
            colours = np.array(mask.getpalette("RGB")).reshape(-1, 3)
        assert colours[:6].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]]
        assert colours[255].tolist() == [224, 224, 192]


def test_each_mask_and_image_is_the_scene_that_was_drawn(synthetic):
    # The images are drawn in threads; each must still be what its own index draws.
    ids = synthetic.ids("train_aug") + synthetic.ids("val")
    for index, image_id in enumerate(ids):
        image, mask = draw(TINY_DATA.seed, index, Scene(size=32))
        path = next(kit(synthetic.root).rglob(f"{image_id}.png"))
        assert np.array_equal(read_mask(path, 6), mask)
        difference = read_image(image_file(synthetic.root, image_id)).astype(int) - image
        assert np.abs(difference).mean() < 8  # JPEG keeps the image, not the bytes
    assert len(ids) == 38


def test_image_labels_agree_with_the_masks(synthetic):
    with (synthetic.root / "image_labels.csv").open(newline="") as stream:
        rows = {row["image"]: row["classes"].split() for row in csv.DictReader(stream)}
    assert rows.keys() == set(synthetic.ids("train_aug") + synthetic.ids("val")) and len(rows) == 38
    for image_id, names in rows.items():
        present = labels_of(next(kit(synthetic.root).rglob(f"{image_id}.png"))) - {0, 255}
        assert names == [NAMES[label] for label in sorted(present)]


def test_tags_have_a_column_for_every_class_but_the_background(synthetic):
    ids = synthetic.ids("train_aug")[::-1]  # in the order asked for, not the file's
    tags = synthetic.tags(ids)
    assert tags.shape == (32, 5) and tags.dtype == bool
    for row, image_id in zip(tags, ids, strict=True):
        present = labels_of(kit(synthetic.root) / "SegmentationClassAug" / f"{image_id}.png")
        assert row.tolist() == [label in present for label in range(1, 6)]


def test_classes_stand_in_the_manifest_background_first(synthetic):
    assert synthetic.class_names == NAMES


def test_the_same_preset_draws_the_same_set(synthetic, tmp_path):
    again = prepare(TINY_DATA, tmp_path / "tiny", NO_SOURCES, silent)
    assert again.manifest == synthetic.manifest and files_of(again.root) == files_of(synthetic.root)


def test_a_set_s_scenes_are_as_the_preset_says(tmp_path):
    settings = replace(TINY_DATA, badge_radius=(7.0, 9.0), num_strong=5, num_train=8, num_val=1)
    larger = prepare(settings, tmp_path / "tiny", NO_SOURCES, silent)
    image_id = larger.ids("val")[0]
    _, mask = draw(TINY_DATA.seed, 8, Scene(size=32, badge_radius=(7.0, 9.0)))
    assert np.array_equal(larger.mask(image_id, "val"), mask)
    assert not np.array_equal(mask, draw(TINY_DATA.seed, 8, Scene(size=32))[1])
    with pytest.raises(MissingArtefact, match="prepared with other settings"):
        load(replace(settings, badge_radius=()), larger.root)


def test_another_seed_draws_another_set_under_other_names(synthetic, tmp_path):
    other = prepare(replace(TINY_DATA, seed=1, num_train=13, num_val=1), tmp_path / "tiny", NO_SOURCES, silent)
    assert other.digest != synthetic.digest
    assert not set(other.ids("train_aug")) & set(synthetic.ids("train_aug"))


def test_what_was_prepared_is_what_is_opened(synthetic):
    assert load(TINY_DATA, synthetic.root) == synthetic
    assert synthetic.manifest["key"] == data_key(TINY_DATA) and synthetic.manifest["kind"] == "data"


def test_progress_is_told_up_to_the_end(tmp_path):
    told = {}
    prepare(
        TINY_DATA,
        tmp_path / "tiny",
        NO_SOURCES,
        lambda name, total: lambda done, of: told.setdefault((name, total), []).append((done, of)),
    )
    every = [(done, 38) for done in range(1, 39)]
    assert told == {("draw the data set", 38): every, ("audit the data set", 38): every}


# ---------------------------------------------------------------- once, or again


def must_not_run(*_):
    raise AssertionError("the data set is there already")


@pytest.fixture
def own(synthetic, tmp_path) -> DataSet:
    """A copy of the synthetic set that a test may spoil."""
    return load(TINY_DATA, Path(shutil.copytree(synthetic.root, tmp_path / "data" / "tiny")))


def test_a_set_that_is_there_is_left_alone(own, monkeypatch):
    before = files_of(own.root)
    monkeypatch.setitem(preparing.IMPORTERS, "synthetic", must_not_run)
    assert prepare(TINY_DATA, own.root, NO_SOURCES, must_not_run) == own
    assert files_of(own.root) == before


def test_a_set_of_other_settings_is_not_taken_for_the_one_that_was_asked_for(own):
    before = files_of(own.root)
    with pytest.raises(MissingArtefact) as caught:
        prepare(replace(TINY_DATA, seed=5), own.root, NO_SOURCES, silent)
    assert caught.value.subject == own.root and files_of(own.root) == before


def test_preparing_again_replaces_the_set_whole(own):
    (own.root / "store").mkdir()  # decoded from what was there before
    prepare(replace(TINY_DATA, seed=5), own.root, NO_SOURCES, silent, again=True)
    names = {path.stem for path in kit(own.root).rglob("*.jpg")}
    assert len(names) == 38 and all(name.startswith("0005_") for name in names)
    assert not (own.root / "store").exists()


def test_an_interrupted_second_drawing_leaves_the_first_one(own):
    before = files_of(own.root)
    with pytest.raises(KeyboardInterrupt):
        prepare(replace(TINY_DATA, seed=5), own.root, NO_SOURCES, stop_at(10), again=True)
    assert files_of(own.root) == before


# ---------------------------------------------------------------- interrupted, killed, full


def stop_at(number: int):
    """A progress whose stages the user interrupts with Ctrl-C."""

    def advance(done: int, of: int) -> None:
        if done == number:
            raise KeyboardInterrupt

    return lambda name, total: advance


@pytest.mark.parametrize("number", [1, 20, 38])
def test_an_interrupted_drawing_leaves_no_half_set_and_the_next_start_succeeds(synthetic, tmp_path, number):
    root = tmp_path / "data" / "tiny"
    with pytest.raises(KeyboardInterrupt):
        prepare(TINY_DATA, root, NO_SOURCES, stop_at(number))
    assert not root.exists()
    with pytest.raises(NotMade):
        load(TINY_DATA, root)
    prepare(TINY_DATA, root, NO_SOURCES, silent)
    assert files_of(root) == files_of(synthetic.root)
    assert names(root.parent) == ["tiny"]


def test_what_an_interrupted_start_drew_of_another_set_is_not_kept(tmp_path):
    root = tmp_path / "data" / "tiny"
    with pytest.raises(KeyboardInterrupt):
        prepare(replace(TINY_DATA, seed=5), root, NO_SOURCES, stop_at(38))
    made = prepare(TINY_DATA, root, NO_SOURCES, silent)
    assert not any("0005_" in name for name in files_of(made.root))


KILLED = """
import os, signal, sys
from pathlib import Path
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.specs.presets import load_preset
def advance(done, of):
    if done == 20:
        os.kill(os.getpid(), signal.SIGKILL)
prepare(load_preset(sys.argv[1]).data, Path(sys.argv[2]), NO_SOURCES, lambda name, total: advance)
"""


def test_a_killed_drawing_leaves_no_half_set_and_the_next_start_succeeds(synthetic, tmp_path):
    root = tmp_path / "data" / "tiny"
    killed = subprocess.run([sys.executable, "-c", KILLED, TINY, root], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not root.exists()
    prepare(TINY_DATA, root, NO_SOURCES, silent)
    assert files_of(root) == files_of(synthetic.root)
    assert names(root.parent) == ["tiny"]


FULL = """
import resource, sys
from pathlib import Path
from swdb.core.errors import DiskRefused
from swdb.core.progress import silent
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.specs.presets import load_preset
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))  # no file may grow beyond: the system refuses as a full disk does
try:
    prepare(load_preset(sys.argv[1]).data, Path(sys.argv[2]), NO_SOURCES, silent)
except DiskRefused as error:
    print(error.subject, error.found, sep="\\n")
"""


def test_a_full_disk_while_drawing_is_one_error_and_leaves_no_half_set(tmp_path):
    root = tmp_path / "data" / "tiny"
    full = subprocess.run([sys.executable, "-c", FULL, TINY, root], capture_output=True, text=True, check=False)
    assert full.stdout.splitlines() == [str(root), "the disk is full"], full.stderr
    assert not root.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "data").write_bytes(b"a file")
    with pytest.raises(DiskRefused) as caught:
        prepare(TINY_DATA, tmp_path / "data" / "tiny", NO_SOURCES, silent)
    assert tmp_path / "data" in [caught.value.subject, *caught.value.subject.parents]


# ---------------------------------------------------------------- several processes

# Draws with a hand on the brake: tells that it has begun, or that it waits, and goes on when it is told to.
BRAKED = """
import sys, time
from pathlib import Path
from swdb.core import lease
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.specs.presets import load_preset
preset, root, go = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
lease.POLL, told = 0.01, []
def say(word):
    if word not in told:
        told.append(word)
        print(word, flush=True)
lease.announce = lambda line: say("waiting")
def advance(done, of):
    say("begun")
    while not go.exists():
        time.sleep(0.01)
made = prepare(load_preset(preset).data, root, NO_SOURCES, lambda name, total: advance)
say(made.digest)
"""


def braked(root: Path, go: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", BRAKED, TINY, str(root), str(go)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_processes_that_prepare_one_set_the_second_waits_and_takes_it_as_it_is(synthetic, tmp_path):
    root, go = tmp_path / "data" / "tiny", tmp_path / "go"
    first = braked(root, go)
    try:
        assert first.stdout.readline() == "begun\n"
        second = braked(root, go)
        try:
            assert second.stdout.readline() == "waiting\n"
            assert not root.exists()
            go.touch()
            outputs = [process.communicate(timeout=60) for process in (first, second)]
        finally:
            second.kill()
    finally:
        first.kill()
    assert outputs == [(f"{synthetic.digest}\n", "")] * 2  # the second has not begun anything
    assert files_of(root) == files_of(synthetic.root) and names(root.parent) == ["tiny"]


def test_who_lost_the_lease_while_it_stood_still_replaces_nothing(own, tmp_path):
    root = own.root
    before = files_of(root)

    def progress(name: str, total: int):
        def advance(done: int, of: int) -> None:
            if name == "audit the data set" and done == of:  # nothing is left but to put it in place
                held = lease._held[root]
                (held.folder / f"{held.epoch + 1}.epoch").touch()  # another process has taken over, and is done

        return advance

    with pytest.raises(LeaseLost):
        prepare(replace(TINY_DATA, seed=5), root, NO_SOURCES, progress, again=True)
    assert files_of(root) == before


def test_who_finds_its_files_swept_by_whom_took_over_says_so(own):
    root = own.root
    before = files_of(root)

    def progress(name: str, total: int):
        held = lease._held[root]
        (held.folder / f"{held.epoch + 1}.epoch").touch()
        shutil.rmtree(root.with_name(f".{root.name}.partial"))
        return lambda done, of: None

    with pytest.raises(LeaseLost):
        prepare(replace(TINY_DATA, seed=5), root, NO_SOURCES, progress, again=True)
    assert files_of(root) == before


# ---------------------------------------------------------------- an unpacked VOC 2012


@pytest.fixture
def tree(tmp_path) -> Path:
    """A small unpacked tree that a test may spoil."""
    return voc_tree.build(tmp_path / "unpacked")


def test_an_unpacked_tree_is_imported_byte_for_byte_and_left_as_it_was(tree, tmp_path):
    before = files_of(tree)
    imported = prepare(DATA, tmp_path / "data" / "mini", Sources(tree), silent)
    after = files_of(imported.root)
    images = [name for name in before if name.endswith((".jpg", ".png"))]
    assert len(images) == 12
    for name in images:  # one folder holds all training masks
        own = name.replace("SegmentationClass/", "SegmentationClassAug/") if Path(name).stem in TRAIN else name
        assert after[own if name.endswith(".png") else name] == before[name] or "2008_" in name
    assert (imported.ids("train"), imported.ids("train_aug"), imported.ids("val")) == (TRAIN, TRAIN_AUG, VAL)
    assert files_of(tree) == before


def test_importing_a_tree_again_leaves_the_tree(tree, tmp_path):
    before = files_of(tree)
    for again in (False, True):
        prepare(DATA, tmp_path / "data" / "mini", Sources(tree), silent, again)
    assert files_of(tree) == before


def test_an_imported_tree_gets_voc_s_class_names_and_tags_from_its_boxes(tree, tmp_path):
    imported = prepare(DATA, tmp_path / "mini", Sources(tree), silent)
    assert len(imported.class_names) == 21 and imported.class_names[:3] == ["background", "aeroplane", "bicycle"]
    lines = (imported.root / "image_labels.csv").read_text().splitlines()
    assert lines[:3] == ["image,classes", "2007_000001,aeroplane bottle", "2007_000002,bicycle bottle"]
    assert len(lines) == 7


def test_a_preset_with_fewer_classes_imports_a_tree_that_has_no_others(tree, tmp_path):
    imported = prepare(replace(DATA, num_classes=6), tmp_path / "mini", Sources(tree), silent)
    assert imported.class_names == ["background", "aeroplane", "bicycle", "bird", "boat", "bottle"]


def test_a_tree_of_links_is_imported(tree, tmp_path):
    # A copy of the tree made of relative links, as people make where the disk is small.
    linked = tmp_path / "linked"
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            target = linked / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(*[".."] * len(path.relative_to(tmp_path).parent.parts)) / path.relative_to(tmp_path))
    imported = prepare(DATA, tmp_path / "data" / "deeper" / "mini", Sources(linked), silent)
    for image_id in TRAIN_AUG + VAL:
        assert image_file(imported.root, image_id).read_bytes() == image_file(tree, image_id).read_bytes()
        assert np.array_equal(
            read_mask(prepared_mask(imported.root, image_id), 21), read_mask(mask_file(tree, image_id), 21)
        )


def test_real_images_without_a_source_are_not_made(tmp_path):
    with pytest.raises(NotMade) as caught:
        prepare(DATA, tmp_path / "mini", NO_SOURCES, silent)
    assert caught.value.subject == tmp_path / "mini" and "no source" in caught.value.found


def test_numbers_of_images_that_are_left_open_are_counted(tree, tmp_path):
    open_numbers = replace(DATA, num_strong=0, num_train=0, num_val=0)
    imported = prepare(open_numbers, tmp_path / "mini", Sources(tree), silent)
    assert imported.settings == DATA
    assert load(DATA, imported.root) == imported
    assert prepare(open_numbers, imported.root, Sources(tree), silent) == imported  # which is there already


def test_a_set_with_an_empty_list_is_refused(tree, tmp_path):
    settings = replace(DATA, num_strong=0, num_train=0, num_val=0, require=("bicycle",))  # which no val image shows
    with pytest.raises(BadInput) as caught:
        prepare(settings, tmp_path / "mini", Sources(tree), silent)
    assert repr(DATA.name) in caught.value.subject and "0 in val.txt" in caught.value.found
    assert not (tmp_path / "mini").exists()


def cut(path: Path, share: float) -> None:
    """Cut a file short."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def relabel(path: Path, old: int, new: int) -> None:
    """Change a value of a mask."""
    labels = np.array(Image.open(path))
    assert (labels == old).any()
    labels[labels == old] = new
    voc_tree.save_mask(path, labels)


def relist(tree: Path, split: str, ids: list[str]) -> None:
    list_file(tree, split).write_text("".join(f"{image_id}\n" for image_id in ids))


def colour(path: Path) -> None:
    """Make a mask the colour image that OpenCV or a converter would have left."""
    Image.open(path).convert("RGB").save(path)


# The fault, what is done to the tree, the class of the error, and parts of its subject, of what was found and of what
# was expected.
FAULTS = {
    "no strong list": (lambda tree: list_file(tree, "train").unlink(), BadInput, "", "train.txt is missing", "VOC 2012"),
    "no val list": (lambda tree: list_file(tree, "val").unlink(), BadInput, "", "val.txt is missing", "VOC 2012"),
    "no training image": (
        lambda tree: image_file(tree, TRAIN_AUG[3]).unlink(),
        IncompleteSource, "", ["JPEGImages/2008_000004.jpg is missing", "a mask for it"], "",
    ),
    "no val image": (
        lambda tree: image_file(tree, VAL[0]).unlink(),
        IncompleteSource, "", ["JPEGImages/2007_000005.jpg is missing", "val.txt"], "",
    ),
    "no training mask": (
        lambda tree: mask_file(tree, TRAIN_AUG[3]).unlink(),
        IncompleteSource, "", ["SegmentationClassAug/2008_000004.png is missing", "train_aug.txt"], "",
    ),
    "no val mask": (
        lambda tree: mask_file(tree, VAL[1]).unlink(),
        IncompleteSource, "", ["SegmentationClass/2007_000006.png is missing", "val.txt"], "",
    ),
    "a mask in colours": (
        lambda tree: colour(mask_file(tree, TRAIN_AUG[2])), BadInput, "2008_000003.png", "RGB", "mode P",
    ),
    "the mask value 21": (
        lambda tree: relabel(mask_file(tree, VAL[0]), 5, 21), BadInput, "2007_000005.png", "value 21", "0 to 20 and 255",
    ),
    "the mask value 254": (
        lambda tree: relabel(mask_file(tree, TRAIN[1]), 255, 254),
        BadInput, "2007_000002.png", "value 254", "0 to 20 and 255",
    ),
    "a training image cut short": (
        lambda tree: cut(image_file(tree, TRAIN_AUG[2]), 0.7), BadInput, "2008_000003.jpg", "cannot be read", "an image",
    ),
    "a val image cut short": (
        lambda tree: cut(image_file(tree, VAL[0]), 0.7), BadInput, "2007_000005.jpg", "cannot be read", "an image",
    ),
    "an image that is a web page": (
        lambda tree: image_file(tree, TRAIN[0]).write_text("<html>404"),
        BadInput, "2007_000001.jpg", "cannot be read", "an image",
    ),
    "an empty image file": (
        lambda tree: image_file(tree, TRAIN[0]).write_bytes(b""),
        BadInput, "2007_000001.jpg", "cannot be read", "an image",
    ),
    "a training mask cut short": (
        lambda tree: cut(mask_file(tree, TRAIN_AUG[2]), 0.9), BadInput, "2008_000003.png", "cannot be read", "a mask",
    ),
    "a val mask cut short": (
        lambda tree: cut(mask_file(tree, VAL[0]), 0.9), BadInput, "2007_000005.png", "cannot be read", "a mask",
    ),
    "a mask of another size": (
        lambda tree: voc_tree.save_mask(mask_file(tree, TRAIN[0]), np.zeros((16, 20))),
        BadInput, "2007_000001.png", "20x16", "16x20",
    ),
    "a val mask of another size": (
        lambda tree: voc_tree.save_mask(mask_file(tree, VAL[1]), np.zeros((9, 10))),
        BadInput, "2007_000006.png", "10x9", "10x10",
    ),
    "an image larger than the preset says": (
        lambda tree: (
            voc_tree.save_image(image_file(tree, TRAIN[0]), 20, 25),
            voc_tree.save_mask(mask_file(tree, TRAIN[0]), np.zeros((20, 25))),
        ),
        BadInput, "2007_000001.jpg", "25x20", "24",
    ),
    "a val image in the training list": (
        lambda tree: (
            relist(tree, "train_aug", [*TRAIN_AUG[:3], VAL[0]]),
            shutil.copy(mask_file(tree, VAL[0]), kit(tree) / "SegmentationClassAug"),
        ),
        BadInput, "", ["train_aug.txt", "val.txt", "2007_000005"], "no image",
    ),
    "a training image twice": (
        lambda tree: relist(tree, "train_aug", [*TRAIN_AUG[:3], TRAIN_AUG[2]]),
        BadInput, "train_aug.txt", ["2008_000003", "twice"], "once",
    ),
    "a strong image twice": (
        lambda tree: relist(tree, "train", [TRAIN[0], TRAIN[0]]), BadInput, "train.txt", ["2007_000001", "twice"], "once",
    ),
    "a val image twice": (
        lambda tree: relist(tree, "val", [VAL[0], VAL[0]]), BadInput, "val.txt", ["2007_000005", "twice"], "once",
    ),
    "a strong image that is not a training image": (
        lambda tree: relist(tree, "train_aug", TRAIN_AUG[1:]),
        BadInput, "", ["train_aug.txt lacks", "train.txt", "2007_000001"], "",
    ),
    "fewer strong images": (
        lambda tree: (relist(tree, "train", TRAIN[:1]), relist(tree, "train_aug", TRAIN_AUG[:1] + TRAIN_AUG[2:])),
        IncompleteSource, "", "train.txt is 1", "2",
    ),
    "fewer training images": (
        lambda tree: relist(tree, "train_aug", TRAIN_AUG[:3]), IncompleteSource, "", "train_aug.txt is 3", "4",
    ),
    "fewer val images": (
        lambda tree: relist(tree, "val", VAL[:1]), IncompleteSource, "", "val.txt is 1", "2",
    ),
    "a strong image without a file": (
        lambda tree: (relist(tree, "train", ["2009_000009"]), relist(tree, "train_aug", ["2009_000009"])),
        IncompleteSource, "", ["JPEGImages/2009_000009.jpg is missing", "train.txt"], "",
    ),
    "no strong images": (lambda tree: relist(tree, "train", []), BadInput, "train.txt", "empty", "ids"),
    "no training images": (lambda tree: relist(tree, "train_aug", []), BadInput, "train_aug.txt", "empty", "ids"),
    "no val images": (lambda tree: relist(tree, "val", []), BadInput, "val.txt", "empty", "ids"),
    "a strong image in val": (
        lambda tree: relist(tree, "val", [VAL[0], TRAIN[1]]),
        BadInput, "", ["train.txt", "val.txt", "2007_000002"], "no image",
    ),
    "no boxes": (
        lambda tree: voc_tree.boxes_file(tree, TRAIN[0]).unlink(),
        BadInput, "", "2007_000001", ["Annotations/2007_000001.xml", "--image-labels"],
    ),
    "boxes that are not XML": (
        lambda tree: voc_tree.boxes_file(tree, TRAIN[0]).write_text("<annotation>"),
        BadInput, "Annotations/2007_000001.xml", "not XML", "a VOC annotation",
    ),
    "strong masks without the void border": (
        lambda tree: [relabel(mask_file(tree, i), 255, 0) for i in TRAIN], BadInput, "train.txt", "void border", "SBD",
    ),
    "val masks without the void border": (
        lambda tree: [relabel(mask_file(tree, i), 255, 0) for i in VAL], BadInput, "val.txt", "void border", "SBD",
    ),
}  # fmt: skip


def refused(tree: Path, root: Path, settings=DATA) -> SwdbError:
    """Return the error with which a tree is refused; nothing may be left where the set would have been."""
    with pytest.raises(SwdbError) as caught:
        prepare(settings, root, Sources(tree), silent)
    assert "\n" not in str(caught.value)
    assert not root.exists()
    return caught.value


def says(text: str, parts: str | list[str]) -> bool:
    return all(part in text for part in ([parts] if isinstance(parts, str) else parts))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_tree_is_refused_in_one_line_that_names_the_file(tree, tmp_path, fault):
    spoil, kind, subject, found, expected = FAULTS[fault]
    spoil(tree)
    error = refused(tree, tmp_path / "mini")
    assert type(error) is kind
    assert subject in str(error.subject) and says(error.found, found) and says(error.expected, expected), error
    # What was being imported is a folder that nobody knows of: a file has the name that it has in its source.
    assert ".partial" not in str(error)
    assert subject or error.subject == f"--voc {tree}"


def test_a_mask_value_that_a_preset_of_fewer_classes_lacks_is_refused(tree, tmp_path):
    relabel(mask_file(tree, TRAIN[0]), 5, 7)
    prepare(DATA, tmp_path / "all", Sources(tree), silent)  # 7 is a car where all classes are used
    error = refused(tree, tmp_path / "six", replace(DATA, num_classes=6))
    assert "2007_000001.png" in str(error.subject) and "value 7" in error.found and error.expected == "0 to 5 and 255"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    error = refused(tmp_path / "nowhere", tmp_path / "mini")
    assert isinstance(error, MissingArtefact) and error.subject == f"--voc {tmp_path / 'nowhere'}"


def test_a_refused_tree_leaves_the_prepared_set(tree, tmp_path):
    root = tmp_path / "data" / "mini"
    prepare(DATA, root, Sources(tree), silent)
    before = files_of(root)
    mask_file(tree, VAL[0]).unlink()
    with pytest.raises(IncompleteSource):
        prepare(DATA, root, Sources(tree), silent, again=True)
    assert files_of(root) == before


def test_a_repaired_tree_is_imported(tree, tmp_path):
    relist(tree, "val", VAL[:1])
    refused(tree, tmp_path / "data" / "mini")
    relist(tree, "val", VAL)
    assert prepare(DATA, tmp_path / "data" / "mini", Sources(tree), silent).ids("val") == VAL
    assert names(tmp_path / "data") == ["mini"]


def test_importing_a_tree_can_be_interrupted(tree, tmp_path):
    root = tmp_path / "data" / "mini"
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, Sources(tree), stop_at(3))
    assert not root.exists()
    assert len(prepare(DATA, root, Sources(tree), silent).ids("train_aug")) == 4


def test_the_manifest_says_what_was_imported(tree, tmp_path):
    imported = prepare(DATA, tmp_path / "mini", Sources(tree), silent)
    manifest = json.loads((imported.root / "manifest.json").read_text())
    assert manifest.keys() == {"kind", "key", "classes", "counts", "image_labels", "digest"}
    assert manifest["counts"] == {"train": 2, "train_aug": 4, "val": 2}
    assert manifest["key"]["dataset"] == "voc" and "drawing" not in manifest["key"]
    assert manifest["image_labels"] == "boxes" and manifest["digest"] == imported.digest


def test_one_changed_pixel_is_another_data_set(tree, tmp_path):
    first = prepare(DATA, tmp_path / "one", Sources(tree), silent).digest
    relabel(mask_file(tree, TRAIN[0]), 5, 4)
    assert prepare(DATA, tmp_path / "two", Sources(tree), silent).digest != first
