"""Preparing a data set, drawn or taken from an unpacked VOC 2012: whole or not there."""

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

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.data import dataset, synthetic
from swdb.data.dataset import load
from swdb.data.images import read_image, read_mask
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.data.sources.voc2012 import Sources
from swdb.specs.presets import load_preset

TINY_DATA = load_preset(TINY).data  # 12 strong, 32 training and 6 val images of 32 x 32 pixels
NAMES = ["background", "alpha", "beta", "gamma", "delta", "epsilon"]


def silent(name: str, total: int, counts: bool = False):
    """Stages whose progress nobody looks at."""
    return lambda done, of: None


def files_of(root: Path) -> dict[str, bytes]:
    """All files below a folder, by name; the audit's notes hold the times of the files and are left out."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "audit.json"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def labels_of(path: Path) -> set[int]:
    """The values of a mask, read with Pillow alone."""
    return set(np.unique(np.asarray(Image.open(path))).tolist())


# ---------------------------------------------------------------- the drawn data set


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> dataset.DataSet:
    """The tiny drawn data set (read only)."""
    return prepare(TINY_DATA, tmp_path_factory.mktemp("work") / "data" / "tiny", NO_SOURCES, silent)


def test_the_drawn_set_has_the_files_of_voc_s_layout(drawn):
    counts = {}
    for name in files_of(drawn.root):
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


def test_the_splits_have_the_preset_s_sizes_and_no_image_in_common(drawn):
    train, train_aug, val = (list_file(drawn.root, name).read_text().split() for name in ("train", "train_aug", "val"))
    assert (len(set(train)), len(set(train_aug)), len(set(val))) == (12, 32, 6)
    assert set(train) < set(train_aug) and not set(train_aug) & set(val)
    assert (drawn.ids("train"), drawn.ids("train_aug"), drawn.ids("val")) == (train, train_aug, val)
    assert drawn.manifest["counts"] == {"train": 12, "train_aug": 32, "val": 6}


def test_every_listed_image_has_a_jpeg_and_a_palette_mask_in_voc_s_colours(drawn):
    masks = sorted(kit(drawn.root).rglob("*.png"))
    assert len(masks) == 38
    for path in masks:
        with Image.open(path) as mask, Image.open(image_file(drawn.root, path.stem)) as image:
            assert (mask.format, mask.mode, mask.size) == ("PNG", "P", (32, 32))
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))
            colours = np.array(mask.getpalette("RGB")).reshape(-1, 3)
        assert colours[:6].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]]
        assert colours[255].tolist() == [224, 224, 192]


def test_each_mask_and_picture_is_the_scene_that_was_drawn(drawn):
    # The pictures are drawn in threads; each must still be what its own index draws.
    ids = drawn.ids("train_aug") + drawn.ids("val")
    for index, image_id in enumerate(ids):
        image, mask = synthetic.draw(TINY_DATA.seed, index, synthetic.Scene(size=32))
        path = next(kit(drawn.root).rglob(f"{image_id}.png"))
        assert np.array_equal(read_mask(path, 6), mask)
        difference = read_image(image_file(drawn.root, image_id)).astype(int) - image
        assert np.abs(difference).mean() < 8  # JPEG keeps the picture, not the bytes
    assert len(ids) == 38


def test_image_labels_agree_with_the_masks(drawn):
    with (drawn.root / "image_labels.csv").open(newline="") as stream:
        rows = {row["image"]: row["classes"].split() for row in csv.DictReader(stream)}
    assert rows.keys() == set(drawn.ids("train_aug") + drawn.ids("val")) and len(rows) == 38
    for image_id, names in rows.items():
        present = labels_of(next(kit(drawn.root).rglob(f"{image_id}.png"))) - {0, 255}
        assert names == [NAMES[label] for label in sorted(present)]


def test_tags_have_a_column_for_every_class_but_the_background(drawn):
    ids = drawn.ids("train_aug")[::-1]  # in the order asked for, not the file's
    tags = drawn.tags(ids)
    assert tags.shape == (32, 5) and tags.dtype == bool
    for row, image_id in zip(tags, ids, strict=True):
        present = labels_of(kit(drawn.root) / "SegmentationClassAug" / f"{image_id}.png")
        assert row.tolist() == [label in present for label in range(1, 6)]


def test_classes_stand_in_the_manifest_background_first(drawn):
    assert drawn.class_names == NAMES


def test_the_same_preset_draws_the_same_set(drawn, tmp_path):
    again = prepare(TINY_DATA, tmp_path / "tiny", NO_SOURCES, silent)
    assert again.manifest == drawn.manifest and files_of(again.root) == files_of(drawn.root)


def test_another_seed_draws_another_set_under_other_names(drawn, tmp_path):
    other = prepare(replace(TINY_DATA, seed=1, num_train=13, num_val=1), tmp_path / "tiny", NO_SOURCES, silent)
    assert other.manifest["tree_root"] != drawn.manifest["tree_root"]
    assert not set(other.ids("train_aug")) & set(drawn.ids("train_aug"))


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


def test_scenes_have_five_classes_and_a_preset_that_says_otherwise_is_refused(tmp_path):
    path = tmp_path / "four.toml"
    path.write_text(Path(TINY).read_text().replace("num_classes = 6", "num_classes = 4"))
    with pytest.raises(BadInput, match=r"^four.toml: key 'data.num_classes' .* expected 6, as drawn$"):
        load_preset(str(path))


# ---------------------------------------------------------------- interrupted, killed, full


@pytest.fixture
def own(drawn, tmp_path) -> dataset.DataSet:
    """A copy of the drawn set that a test may spoil."""
    root = Path(shutil.copytree(drawn.root, tmp_path / "data" / "tiny"))
    return load(TINY_DATA, root.parent.parent, "")


def stop_at(number: int):
    """A progress function at which the user presses Ctrl-C."""

    def progress(done: int, of: int) -> None:
        if done == number:
            raise KeyboardInterrupt

    return lambda name, total: progress


@pytest.mark.parametrize("number", [1, 20, 38])
def test_an_interrupted_drawing_leaves_no_half_set_and_the_next_start_succeeds(drawn, tmp_path, number):
    root = tmp_path / "data" / "tiny"
    with pytest.raises(KeyboardInterrupt):
        prepare(TINY_DATA, root, NO_SOURCES, stop_at(number))
    assert not root.exists()
    with pytest.raises(MissingArtefact):
        load(TINY_DATA, root.parent.parent, "")
    prepare(TINY_DATA, root, NO_SOURCES, silent)
    assert files_of(root) == files_of(drawn.root)
    assert [path.name for path in root.parent.iterdir()] == ["tiny"]


def test_an_interrupted_second_drawing_leaves_the_first_one(own):
    before = files_of(own.root)
    with pytest.raises(KeyboardInterrupt):
        prepare(replace(TINY_DATA, seed=5), own.root, NO_SOURCES, stop_at(10))
    assert files_of(own.root) == before


def test_a_second_drawing_replaces_the_first_one_whole(own):
    prepare(replace(TINY_DATA, seed=5), own.root, NO_SOURCES, silent)
    names = {path.stem for path in kit(own.root).rglob("*.jpg")}
    assert len(names) == 38 and all(name.startswith("0005_") for name in names)


KILLED = """
import os, signal, sys
from pathlib import Path
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.specs.presets import load_preset
def progress(done, of):
    if done == 20:
        os.kill(os.getpid(), signal.SIGKILL)
prepare(load_preset(sys.argv[1]).data, Path(sys.argv[2]), NO_SOURCES, lambda name, total: progress)
"""


def test_a_killed_drawing_leaves_no_half_set_and_the_next_start_succeeds(drawn, tmp_path):
    root = tmp_path / "data" / "tiny"
    killed = subprocess.run([sys.executable, "-c", KILLED, TINY, root], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not root.exists()
    prepare(TINY_DATA, root, NO_SOURCES, silent)
    assert files_of(root) == files_of(drawn.root)
    assert [path.name for path in root.parent.iterdir()] == ["tiny"]


FULL = """
import resource, sys
from pathlib import Path
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.data.dataset import load
from swdb.core.errors import BadInput
from swdb.specs.presets import load_preset
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))  # no file may grow beyond: the system refuses as a full disk does
try:
    prepare(load_preset(sys.argv[1]).data, Path(sys.argv[2]), NO_SOURCES, lambda name, total: lambda done, of: None)
except BadInput as error:
    print(error)
"""


def test_a_full_disk_while_drawing_is_one_line_and_leaves_no_half_set(tmp_path):
    root = tmp_path / "data" / "tiny"
    full = subprocess.run([sys.executable, "-c", FULL, TINY, root], capture_output=True, text=True, check=False)
    assert "the disk is full" in full.stdout and full.stdout.count("\n") == 1, full.stderr
    assert not root.exists()


# ---------------------------------------------------------------- an unpacked VOC 2012


@pytest.fixture
def tree(tmp_path) -> Path:
    """A small unpacked tree that a test may spoil."""
    return voc_tree.build(tmp_path / "unpacked")


def test_an_unpacked_tree_is_taken_byte_for_byte_and_left_as_it_was(tree, tmp_path):
    before = files_of(tree)
    taken = prepare(DATA, tmp_path / "data" / "mini", Sources(tree), silent)
    after = files_of(taken.root)
    pictures = [name for name in before if name.endswith((".jpg", ".png"))]
    assert len(pictures) == 12
    for name in pictures:  # one folder holds all training masks
        own = name.replace("SegmentationClass/", "SegmentationClassAug/") if Path(name).stem in TRAIN else name
        assert after[own if name.endswith(".png") else name] == before[name] or "2008_" in name
    assert (taken.ids("train"), taken.ids("train_aug"), taken.ids("val")) == (TRAIN, TRAIN_AUG, VAL)
    assert files_of(tree) == before


def test_taking_a_tree_again_leaves_the_tree(tree, tmp_path):
    before = files_of(tree)
    for _ in range(2):
        prepare(DATA, tmp_path / "data" / "mini", Sources(tree), silent)
    assert files_of(tree) == before


def test_a_taken_tree_gets_voc_s_class_names_and_tags_from_its_boxes(tree, tmp_path):
    taken = prepare(DATA, tmp_path / "mini", Sources(tree), silent)
    assert len(taken.class_names) == 21 and taken.class_names[:3] == ["background", "aeroplane", "bicycle"]
    lines = (taken.root / "image_labels.csv").read_text().splitlines()
    assert lines[:3] == ["image,classes", "2007_000001,aeroplane bottle", "2007_000002,bicycle bottle"]
    assert len(lines) == 7


def test_a_preset_with_fewer_classes_takes_a_tree_that_has_no_others(tree, tmp_path):
    taken = prepare(replace(DATA, num_classes=6), tmp_path / "mini", Sources(tree), silent)
    assert taken.class_names == ["background", "aeroplane", "bicycle", "bird", "boat", "bottle"]


def test_a_tree_of_links_is_taken(tree, tmp_path):
    # A copy of the tree made of relative links, as people make where the disk is small.
    linked = tmp_path / "linked"
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            target = linked / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(*[".."] * len(path.relative_to(tmp_path).parent.parts)) / path.relative_to(tmp_path))
    taken = prepare(DATA, tmp_path / "data" / "deeper" / "mini", Sources(linked), silent)
    for image_id in TRAIN_AUG + VAL:
        assert image_file(taken.root, image_id).read_bytes() == image_file(tree, image_id).read_bytes()
        assert np.array_equal(
            read_mask(prepared_mask(taken.root, image_id), 21), read_mask(mask_file(tree, image_id), 21)
        )


def test_photographs_without_a_folder_to_take_them_from_name_the_option(tmp_path):
    with pytest.raises(MissingArtefact, match=r"swdb prepare-voc .*--download, .*--voc DIR"):
        prepare(DATA, tmp_path / "mini", NO_SOURCES, silent)


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
    """Make a mask the colour picture that OpenCV or a converter would have left."""
    Image.open(path).convert("RGB").save(path)


# A name for the fault; what is done to the tree; words of the error: the file, what was found, what was expected.
FAULTS = {
    "no strong list": (lambda tree: list_file(tree, "train").unlink(), ["train.txt is missing"]),
    "no val list": (lambda tree: list_file(tree, "val").unlink(), ["val.txt is missing"]),
    "no training image": (
        lambda tree: image_file(tree, TRAIN_AUG[3]).unlink(),
        ["JPEGImages/2008_000004.jpg is missing", "a mask for it"],
    ),
    "no val image": (
        lambda tree: image_file(tree, VAL[0]).unlink(), ["JPEGImages/2007_000005.jpg is missing", "val.txt"],
    ),
    "no training mask": (
        lambda tree: mask_file(tree, TRAIN_AUG[3]).unlink(),
        ["SegmentationClassAug/2008_000004.png is missing", "train_aug.txt"],
    ),
    "no val mask": (
        lambda tree: mask_file(tree, VAL[1]).unlink(), ["SegmentationClass/2007_000006.png is missing", "val.txt"],
    ),
    "a mask in colours": (
        lambda tree: colour(mask_file(tree, TRAIN_AUG[2])), ["2008_000003.png", "RGB", "mode P"],
    ),
    "the mask value 21": (
        lambda tree: relabel(mask_file(tree, VAL[0]), 5, 21), ["2007_000005.png", "value 21", "0 to 20 and 255"],
    ),
    "the mask value 254": (
        lambda tree: relabel(mask_file(tree, TRAIN[1]), 255, 254), ["2007_000002.png", "value 254", "0 to 20 and 255"],
    ),
    "a training image cut short": (
        lambda tree: cut(image_file(tree, TRAIN_AUG[2]), 0.7), ["2008_000003.jpg", "cannot be read"],
    ),
    "a val image cut short": (
        lambda tree: cut(image_file(tree, VAL[0]), 0.7), ["2007_000005.jpg", "cannot be read"],
    ),
    "an image that is no picture": (
        lambda tree: image_file(tree, TRAIN[0]).write_text("<html>404"), ["2007_000001.jpg", "cannot be read"],
    ),
    "an empty image file": (
        lambda tree: image_file(tree, TRAIN[0]).write_bytes(b""), ["2007_000001.jpg", "cannot be read"],
    ),
    "a training mask cut short": (
        lambda tree: cut(mask_file(tree, TRAIN_AUG[2]), 0.9), ["2008_000003.png", "cannot be read"],
    ),
    "a val mask cut short": (
        lambda tree: cut(mask_file(tree, VAL[0]), 0.9), ["2007_000005.png", "cannot be read"],
    ),
    "a mask of another size": (
        lambda tree: voc_tree.save_mask(mask_file(tree, TRAIN[0]), np.zeros((16, 20))),
        ["2007_000001.png", "20x16", "16x20"],
    ),
    "a val mask of another size": (
        lambda tree: voc_tree.save_mask(mask_file(tree, VAL[1]), np.zeros((9, 10))),
        ["2007_000006.png", "10x9", "10x10"],
    ),
    "an image larger than the preset says": (
        lambda tree: (
            voc_tree.save_image(image_file(tree, TRAIN[0]), 20, 25),
            voc_tree.save_mask(mask_file(tree, TRAIN[0]), np.zeros((20, 25))),
        ),
        ["2007_000001.jpg", "25x20", "24"],
    ),
    "a val image in the training list": (
        lambda tree: (
            relist(tree, "train_aug", [*TRAIN_AUG[:3], VAL[0]]),
            shutil.copy(mask_file(tree, VAL[0]), kit(tree) / "SegmentationClassAug"),
        ),
        ["train_aug.txt", "val.txt", "2007_000005"],
    ),
    "a training image twice": (
        lambda tree: relist(tree, "train_aug", [*TRAIN_AUG[:3], TRAIN_AUG[2]]),
        ["train_aug.txt", "2008_000003", "twice"],
    ),
    "a strong image twice": (
        lambda tree: relist(tree, "train", [TRAIN[0], TRAIN[0]]), ["train.txt", "2007_000001", "twice"],
    ),
    "a val image twice": (lambda tree: relist(tree, "val", [VAL[0], VAL[0]]), ["val.txt", "2007_000005", "twice"]),
    "a strong image that is no training image": (
        lambda tree: relist(tree, "train_aug", TRAIN_AUG[1:]), ["train.txt", "train_aug.txt lacks", "2007_000001"],
    ),
    "fewer strong images": (
        lambda tree: (relist(tree, "train", TRAIN[:1]), relist(tree, "train_aug", TRAIN_AUG[:1] + TRAIN_AUG[2:])),
        ["train.txt has 1 ids", "expected 2"],
    ),
    "fewer training images": (
        lambda tree: relist(tree, "train_aug", TRAIN_AUG[:3]), ["train_aug.txt has 3 ids", "expected 4"],
    ),
    "fewer val images": (lambda tree: relist(tree, "val", VAL[:1]), ["val.txt has 1 ids", "expected 2"]),
    "a strong image without a file": (
        lambda tree: (relist(tree, "train", ["2009_000009"]), relist(tree, "train_aug", ["2009_000009"])),
        ["JPEGImages/2009_000009.jpg is missing", "train.txt"],
    ),
    "no strong images": (lambda tree: relist(tree, "train", []), ["train.txt is empty"]),
    "no training images": (lambda tree: relist(tree, "train_aug", []), ["train_aug.txt is empty"]),
    "no val images": (lambda tree: relist(tree, "val", []), ["val.txt is empty"]),
    "a strong image in val": (
        lambda tree: relist(tree, "val", [VAL[0], TRAIN[1]]), ["train.txt", "val.txt", "2007_000002"],
    ),
    "no boxes": (
        lambda tree: voc_tree.boxes_file(tree, TRAIN[0]).unlink(),
        ["2007_000001", "Annotations/2007_000001.xml", "--image-labels masks"],
    ),
    "boxes that are no XML": (
        lambda tree: voc_tree.boxes_file(tree, TRAIN[0]).write_text("<annotation>"),
        ["Annotations/2007_000001.xml", "no VOC annotation"],
    ),
    "strong masks without the void border": (
        lambda tree: [relabel(mask_file(tree, i), 255, 0) for i in TRAIN], ["train.txt", "void border", "SBD"],
    ),
    "val masks without the void border": (
        lambda tree: [relabel(mask_file(tree, i), 255, 0) for i in VAL], ["val.txt", "void border", "SBD"],
    ),
}  # fmt: skip


def refusal(tree: Path, root: Path, data=DATA) -> str:
    """The one line with which a tree is refused; nothing may be left where the set would have been."""
    with pytest.raises(SwdbError) as caught:
        prepare(data, root, Sources(tree), silent)
    assert "\n" not in str(caught.value)
    assert not root.exists()
    return str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_tree_is_refused_in_one_line_that_names_the_file(tree, tmp_path, fault):
    spoil, words = FAULTS[fault]
    spoil(tree)
    message = refusal(tree, tmp_path / "mini")
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_tree_is_refused_with_the_command_that_follows_the_mending(tree, tmp_path, fault):
    spoil, _ = FAULTS[fault]
    spoil(tree)
    # Preparing the same broken tree --again would not mend it: the tree is named, as --voc wants it.
    message = refusal(tree, tmp_path / "mini")
    assert "swdb prepare-voc" in message and "--voc" in message, message


def test_a_mask_value_that_a_preset_of_fewer_classes_lacks_is_refused(tree, tmp_path):
    relabel(mask_file(tree, TRAIN[0]), 5, 7)
    prepare(DATA, tmp_path / "all", Sources(tree), silent)  # 7 is a car where all classes are used
    message = refusal(tree, tmp_path / "six", replace(DATA, num_classes=6))
    assert "2007_000001.png" in message and "value 7" in message and "0 to 5 and 255" in message


def test_a_folder_that_is_not_there_is_named(tmp_path):
    message = refusal(tmp_path / "nowhere", tmp_path / "mini")
    assert str(tmp_path / "nowhere") in message and "--voc" in message


def test_a_refused_tree_leaves_the_prepared_set(tree, tmp_path):
    root = tmp_path / "data" / "mini"
    prepare(DATA, root, Sources(tree), silent)
    before = files_of(root)
    mask_file(tree, VAL[0]).unlink()
    with pytest.raises(SwdbError):
        prepare(DATA, root, Sources(tree), silent)
    assert files_of(root) == before


def test_a_mended_tree_is_taken(tree, tmp_path):
    relist(tree, "val", VAL[:1])
    refusal(tree, tmp_path / "data" / "mini")
    relist(tree, "val", VAL)
    assert prepare(DATA, tmp_path / "data" / "mini", Sources(tree), silent).ids("val") == VAL
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mini"]


def test_taking_a_tree_can_be_interrupted(tree, tmp_path):
    root = tmp_path / "data" / "mini"
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, Sources(tree), stop_at(3))
    assert not root.exists()
    assert len(prepare(DATA, root, Sources(tree), silent).ids("train_aug")) == 4


def test_the_manifest_says_what_was_taken(tree, tmp_path):
    taken = prepare(DATA, tmp_path / "mini", Sources(tree), silent)
    manifest = json.loads((taken.root / "manifest.json").read_text())
    assert manifest["counts"] == {"train": 2, "train_aug": 4, "val": 2}
    assert manifest["recipe"]["dataset"] == "voc" and "drawing" not in manifest["recipe"]


def test_one_changed_pixel_is_another_data_set(tree, tmp_path):
    first = prepare(DATA, tmp_path / "one", Sources(tree), silent).manifest["tree_root"]
    relabel(mask_file(tree, TRAIN[0]), 5, 4)
    assert prepare(DATA, tmp_path / "two", Sources(tree), silent).manifest["tree_root"] != first
