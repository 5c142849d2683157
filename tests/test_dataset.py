"""Preparing a data set, drawn or taken from an unpacked VOC 2012, and reading its pictures and masks."""

import csv
import io
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
from voc_tree import DATA, TRAIN, TRAIN_AUG, VAL, image_file, kit, list_file, mask_file

from swdb import dataset, synthetic
from swdb.dataset import load, masks_digest, palette_png, prepare, read_image, read_mask, write_mask
from swdb.errors import BadInput, MissingArtefact, SwdbError
from swdb.preset import load_preset

TINY_DATA = load_preset(TINY).data  # 12 strong, 32 training and 6 val images of 32 x 32 pixels
NAMES = ["background", "alpha", "beta", "gamma", "delta", "epsilon"]


def silent(done: int, of: int) -> None:
    """A progress function that nobody looks at."""


def files_of(root: Path) -> dict[str, bytes]:
    """All files below a folder, by name."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def labels_of(path: Path) -> set[int]:
    """The values of a mask, read with Pillow alone."""
    return set(np.unique(np.asarray(Image.open(path))).tolist())


# ---------------------------------------------------------------- the drawn data set


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> dataset.DataSet:
    """The tiny drawn data set (read only)."""
    return prepare(TINY_DATA, tmp_path_factory.mktemp("work") / "data" / "tiny", None, silent)


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
    again = prepare(TINY_DATA, tmp_path / "tiny", None, silent)
    assert again.manifest == drawn.manifest and files_of(again.root) == files_of(drawn.root)


def test_another_seed_draws_another_set_under_other_names(drawn, tmp_path):
    other = prepare(replace(TINY_DATA, seed=1, num_train=13, num_val=1), tmp_path / "tiny", None, silent)
    assert other.manifest["tree_root"] != drawn.manifest["tree_root"]
    assert not set(other.ids("train_aug")) & set(drawn.ids("train_aug"))


def test_progress_is_told_up_to_the_end(tmp_path):
    told = []
    prepare(TINY_DATA, tmp_path / "tiny", None, lambda done, of: told.append((done, of)))
    assert told == [(done, 38) for done in range(1, 39)]


def test_scenes_have_five_classes_and_a_preset_that_says_otherwise_is_refused(tmp_path):
    path = tmp_path / "four.toml"
    path.write_text(Path(TINY).read_text().replace("num_classes = 6", "num_classes = 4"))
    with pytest.raises(BadInput, match=r"^four.toml: key 'data.num_classes' .* expected 6, as drawn$"):
        load_preset(str(path))


# ---------------------------------------------------------------- opening a data set


WHERE = "--preset tiny.toml --workdir there"  # the options that lead a proposed command back


def open_tiny(root: Path) -> dataset.DataSet:
    return load(TINY_DATA, root.parent.parent, WHERE)


@pytest.fixture
def own(drawn, tmp_path) -> dataset.DataSet:
    """A copy of the drawn set that a test may spoil."""
    return open_tiny(Path(shutil.copytree(drawn.root, tmp_path / "data" / "tiny")))


def test_a_prepared_set_is_opened_as_it_was_prepared(own, drawn):
    assert (own.data, own.manifest) == (TINY_DATA, drawn.manifest)
    assert files_of(own.root) == files_of(drawn.root)


def test_a_set_that_is_not_there_names_the_command_that_draws_it(tmp_path):
    with pytest.raises(MissingArtefact, match=f"run: swdb prepare-voc {WHERE}$"):
        load(TINY_DATA, tmp_path, WHERE)


def test_photographs_that_are_not_there_name_the_command_and_the_folder_it_needs(tmp_path):
    with pytest.raises(MissingArtefact, match=r"run: swdb prepare-voc --preset mini\.toml --voc DIR"):
        load(DATA, tmp_path, "--preset mini.toml")


def test_a_set_of_other_settings_is_not_taken(own):
    with pytest.raises(MissingArtefact, match=f"other settings; run: swdb prepare-voc {WHERE} --again"):
        load(replace(TINY_DATA, num_strong=11), own.root.parent.parent, WHERE)


def test_a_set_of_an_older_drawing_is_not_taken(own, monkeypatch):
    monkeypatch.setattr(synthetic, "DRAWING_VERSION", synthetic.DRAWING_VERSION + 1)
    with pytest.raises(MissingArtefact, match="--again"):
        open_tiny(own.root)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_manifest_names_the_command_that_mends_it(own, content):
    (own.root / "manifest.json").write_text(content)
    with pytest.raises(MissingArtefact, match=rf"manifest\.json .*run: swdb prepare-voc {WHERE} --again"):
        open_tiny(own.root)


def test_a_missing_list_is_named(own):
    list_file(own.root, "val").unlink()
    with pytest.raises(MissingArtefact, match=rf"val\.txt is missing; run: swdb prepare-voc {WHERE} --again"):
        own.ids("val")


def test_an_empty_list_is_named_with_what_was_expected(own):
    list_file(own.root, "train").write_text("\n")
    with pytest.raises(
        BadInput, match=rf"train\.txt is empty; expected 12 image ids; .*swdb prepare-voc {WHERE} --again"
    ):
        own.ids("train")


def labels_file(own: dataset.DataSet, old: str, new: str) -> None:
    path = own.root / "image_labels.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_missing_image_labels_are_named(own):
    (own.root / "image_labels.csv").unlink()
    with pytest.raises(MissingArtefact, match=rf"image_labels\.csv is missing; run: swdb prepare-voc {WHERE}"):
        own.tags(own.ids("val"))


def test_an_image_without_labels_is_named(own):
    with pytest.raises(BadInput, match=rf"image_labels\.csv has no line for image nobody; .*swdb prepare-voc {WHERE}"):
        own.tags(["nobody"])


def test_an_unknown_class_is_named_with_its_image_and_the_mend(own):
    first = own.ids("train_aug")[0]
    labels_file(own, f"{first},", f"{first},alfa ")
    with pytest.raises(BadInput) as caught:
        own.tags([first])
    message = str(caught.value)
    assert all(
        word in message for word in ("image_labels.csv", first, "'alfa'", "alpha", f"swdb prepare-voc {WHERE}")
    ), message


@pytest.mark.parametrize(("old", "new"), [("image,classes", "id;tags"), (",", ";")])
def test_image_labels_of_another_form_are_refused_in_one_line(own, old, new):
    path = own.root / "image_labels.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SwdbError, match=rf"image_labels\.csv.*swdb prepare-voc {WHERE}"):
        own.tags(own.ids("train_aug"))


def test_a_spoilt_picture_or_mask_of_the_set_names_the_command_that_mends_the_set(own):
    first = own.ids("val")[0]
    image_file(own.root, first).write_bytes(b"")
    with pytest.raises(BadInput, match=rf"{first}\.jpg cannot be read .*swdb prepare-voc {WHERE} --again"):
        own.image(first)
    (kit(own.root) / "SegmentationClass" / f"{first}.png").unlink()
    with pytest.raises(MissingArtefact, match=rf"{first}\.png is missing, .*swdb prepare-voc {WHERE} --again"):
        own.mask(first, "val")


# ---------------------------------------------------------------- interrupted, killed, full


def stop_at(number: int):
    """A progress function at which the user presses Ctrl-C."""

    def progress(done: int, of: int) -> None:
        if done == number:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("number", [1, 20, 38])
def test_an_interrupted_drawing_leaves_no_half_set_and_the_next_start_succeeds(drawn, tmp_path, number):
    root = tmp_path / "data" / "tiny"
    with pytest.raises(KeyboardInterrupt):
        prepare(TINY_DATA, root, None, stop_at(number))
    assert not root.exists()
    with pytest.raises(MissingArtefact):
        open_tiny(root)
    prepare(TINY_DATA, root, None, silent)
    assert files_of(root) == files_of(drawn.root)
    assert [path.name for path in root.parent.iterdir()] == ["tiny"]


def test_an_interrupted_second_drawing_leaves_the_first_one(own):
    before = files_of(own.root)
    with pytest.raises(KeyboardInterrupt):
        prepare(replace(TINY_DATA, seed=5), own.root, None, stop_at(10))
    assert files_of(own.root) == before


def test_a_second_drawing_replaces_the_first_one_whole(own):
    prepare(replace(TINY_DATA, seed=5), own.root, None, silent)
    names = {path.stem for path in kit(own.root).rglob("*.jpg")}
    assert len(names) == 38 and all(name.startswith("0005_") for name in names)


KILLED = """
import os, signal, sys
from pathlib import Path
from swdb.dataset import prepare
from swdb.preset import load_preset
def progress(done, of):
    if done == 20:
        os.kill(os.getpid(), signal.SIGKILL)
prepare(load_preset(sys.argv[1]).data, Path(sys.argv[2]), None, progress)
"""


def test_a_killed_drawing_leaves_no_half_set_and_the_next_start_succeeds(drawn, tmp_path):
    root = tmp_path / "data" / "tiny"
    killed = subprocess.run([sys.executable, "-c", KILLED, TINY, root], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not root.exists()
    prepare(TINY_DATA, root, None, silent)
    assert files_of(root) == files_of(drawn.root)
    assert [path.name for path in root.parent.iterdir()] == ["tiny"]


FULL = """
import resource, sys
from pathlib import Path
from swdb.dataset import prepare
from swdb.errors import BadInput
from swdb.preset import load_preset
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))  # no file may grow beyond: the system refuses as a full disk does
try:
    prepare(load_preset(sys.argv[1]).data, Path(sys.argv[2]), None, lambda done, of: None)
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
    taken = prepare(DATA, tmp_path / "data" / "mini", tree, silent)
    after = files_of(taken.root)
    pictures = [name for name in before if name.endswith((".jpg", ".png"))]
    assert len(pictures) == 12
    assert all(after[name] == before[name] for name in pictures)
    assert (taken.ids("train"), taken.ids("train_aug"), taken.ids("val")) == (TRAIN, TRAIN_AUG, VAL)
    assert files_of(tree) == before


def test_taking_a_tree_again_leaves_the_tree(tree, tmp_path):
    before = files_of(tree)
    for _ in range(2):
        prepare(DATA, tmp_path / "data" / "mini", tree, silent)
    assert files_of(tree) == before


def test_a_taken_tree_gets_voc_s_class_names_and_tags_from_its_masks(tree, tmp_path):
    taken = prepare(DATA, tmp_path / "mini", tree, silent)
    assert len(taken.class_names) == 21 and taken.class_names[:3] == ["background", "aeroplane", "bicycle"]
    lines = (taken.root / "image_labels.csv").read_text().splitlines()
    assert lines[:3] == ["image,classes", "2007_000001,aeroplane bottle", "2007_000002,bicycle bottle"]
    assert len(lines) == 7


def test_a_preset_with_fewer_classes_takes_a_tree_that_has_no_others(tree, tmp_path):
    taken = prepare(replace(DATA, num_classes=6), tmp_path / "mini", tree, silent)
    assert taken.class_names == ["background", "aeroplane", "bicycle", "bird", "boat", "bottle"]


def test_a_tree_of_links_is_taken(tree, tmp_path):
    # A copy of the tree made of relative links, as people make where the disk is small.
    linked = tmp_path / "linked"
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            target = linked / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(*[".."] * len(path.relative_to(tmp_path).parent.parts)) / path.relative_to(tmp_path))
    taken = prepare(DATA, tmp_path / "data" / "deeper" / "mini", linked, silent)
    for image_id in TRAIN_AUG + VAL:
        assert image_file(taken.root, image_id).read_bytes() == image_file(tree, image_id).read_bytes()
        assert mask_file(taken.root, image_id).read_bytes() == mask_file(tree, image_id).read_bytes()


def test_photographs_without_a_folder_to_take_them_from_name_the_option(tmp_path):
    with pytest.raises(MissingArtefact, match=r"swdb prepare-voc .*--voc DIR"):
        prepare(DATA, tmp_path / "mini", None, silent)


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
    "another folder": (
        lambda tree: (tree / "VOCdevkit").rename(tree / "VOC"), ["unpacked", "VOCdevkit/VOC2012"],
    ),
    "no strong list": (lambda tree: list_file(tree, "train").unlink(), ["train.txt is missing"]),
    "no training list": (lambda tree: list_file(tree, "train_aug").unlink(), ["train_aug.txt is missing"]),
    "no val list": (lambda tree: list_file(tree, "val").unlink(), ["val.txt is missing"]),
    "no training image": (
        lambda tree: image_file(tree, TRAIN_AUG[3]).unlink(),
        ["JPEGImages/2008_000004.jpg is missing", "train_aug.txt"],
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
        lambda tree: relist(tree, "train", [TRAIN[0], "2009_000009"]), ["train.txt", "train_aug.txt", "2009_000009"],
    ),
    "fewer strong images": (lambda tree: relist(tree, "train", TRAIN[:1]), ["train.txt has 1 ids", "expected 2"]),
    "fewer training images": (
        lambda tree: relist(tree, "train_aug", TRAIN_AUG[:3]), ["train_aug.txt has 3 ids", "expected 4"],
    ),
    "fewer val images": (lambda tree: relist(tree, "val", VAL[:1]), ["val.txt has 1 ids", "expected 2"]),
    "no strong images": (lambda tree: relist(tree, "train", []), ["train.txt", "expected 2"]),
    "no training images": (lambda tree: relist(tree, "train_aug", []), ["train_aug.txt", "expected 4"]),
    "no val images": (lambda tree: relist(tree, "val", []), ["val.txt", "expected 2"]),
}  # fmt: skip


def refusal(tree: Path, root: Path, data=DATA) -> str:
    """The one line with which a tree is refused; nothing may be left where the set would have been."""
    with pytest.raises(SwdbError) as caught:
        prepare(data, root, tree, silent)
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
    prepare(DATA, tmp_path / "all", tree, silent)  # 7 is a car where all classes are used
    message = refusal(tree, tmp_path / "six", replace(DATA, num_classes=6))
    assert "2007_000001.png" in message and "value 7" in message and "0 to 5 and 255" in message


def test_a_folder_that_is_not_there_is_named(tmp_path):
    message = refusal(tmp_path / "nowhere", tmp_path / "mini")
    assert str(tmp_path / "nowhere") in message and "VOCdevkit/VOC2012" in message


def test_a_refused_tree_leaves_the_prepared_set(tree, tmp_path):
    root = tmp_path / "data" / "mini"
    prepare(DATA, root, tree, silent)
    before = files_of(root)
    mask_file(tree, VAL[0]).unlink()
    with pytest.raises(SwdbError):
        prepare(DATA, root, tree, silent)
    assert files_of(root) == before


def test_a_mended_tree_is_taken(tree, tmp_path):
    relist(tree, "val", VAL[:1])
    refusal(tree, tmp_path / "data" / "mini")
    relist(tree, "val", VAL)
    assert prepare(DATA, tmp_path / "data" / "mini", tree, silent).ids("val") == VAL
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mini"]


def test_taking_a_tree_can_be_interrupted(tree, tmp_path):
    root = tmp_path / "data" / "mini"
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, tree, stop_at(3))
    assert not root.exists()
    assert len(prepare(DATA, root, tree, silent).ids("train_aug")) == 4


def test_the_manifest_says_what_was_taken(tree, tmp_path):
    taken = prepare(DATA, tmp_path / "mini", tree, silent)
    manifest = json.loads((taken.root / "manifest.json").read_text())
    assert manifest["counts"] == {"train": 2, "train_aug": 4, "val": 2}
    assert manifest["recipe"]["dataset"] == "voc" and "drawing" not in manifest["recipe"]


def test_one_changed_pixel_is_another_data_set(tree, tmp_path):
    first = prepare(DATA, tmp_path / "one", tree, silent).manifest["tree_root"]
    relabel(mask_file(tree, TRAIN[0]), 5, 4)
    assert prepare(DATA, tmp_path / "two", tree, silent).manifest["tree_root"] != first


# ---------------------------------------------------------------- one picture, one mask


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).choice([0, 1, 5, 20, 255], (12, 10)).astype(np.uint8)


def test_a_written_mask_is_read_back_and_shows_voc_s_colours(labels, tmp_path):
    write_mask(tmp_path / "a" / "m.png", labels)
    assert np.array_equal(read_mask(tmp_path / "a" / "m.png", 21), labels)
    with Image.open(tmp_path / "a" / "m.png") as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert (shown[labels == 20] == (0, 64, 128)).all() and (shown[labels == 255] == (224, 224, 192)).all()


def test_a_mask_is_read_whatever_its_palette(labels, tmp_path):
    voc_tree.save_mask(tmp_path / "m.png", labels)
    assert np.array_equal(read_mask(tmp_path / "m.png", 21), labels)


def test_a_grey_mask_of_class_ids_is_read(labels, tmp_path):
    Image.fromarray(labels).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png", 21), labels)


def test_a_mask_of_few_classes_packed_in_four_bits_is_read(tmp_path):
    labels = np.random.default_rng(0).integers(0, 6, (7, 9)).astype(np.uint8)
    picture = Image.fromarray(labels)
    picture.putpalette([0, 0, 0, 255, 255, 255] * 8)
    picture.save(tmp_path / "m.png", bits=4)
    assert np.array_equal(read_mask(tmp_path / "m.png", 6), labels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1", "I;16"])
def test_a_mask_in_colours_or_other_depths_is_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "m.png")
    with pytest.raises(BadInput, match=rf"m\.png is a {mode} picture, expected a palette PNG"):
        read_mask(tmp_path / "m.png", 21)


@pytest.mark.parametrize(("value", "num_classes"), [(6, 6), (7, 6), (21, 21), (254, 21)])
def test_a_mask_value_out_of_range_is_named_with_the_range(tmp_path, value, num_classes):
    voc_tree.save_mask(tmp_path / "m.png", np.array([[0, value], [255, 1]]))
    with pytest.raises(BadInput, match=rf"m\.png has the value {value}, expected 0 to {num_classes - 1} and 255"):
        read_mask(tmp_path / "m.png", num_classes)


def test_a_missing_mask_or_image_is_named_with_the_mend(tmp_path):
    with pytest.raises(MissingArtefact, match=r"m\.png is missing, expected a mask; .*swdb prepare-voc"):
        read_mask(tmp_path / "m.png", 21)
    with pytest.raises(MissingArtefact, match=r"i\.jpg is missing, expected an image; .*swdb prepare-voc"):
        read_image(tmp_path / "i.jpg")


def cuts(encoded: bytes) -> list[int]:
    """Lengths to cut a file to: every ninth, and all that spare the pixels but not the end."""
    return sorted({*range(0, len(encoded), 9), *range(len(encoded) - 40, len(encoded))})


def test_wherever_a_mask_is_cut_it_is_refused_or_still_whole(labels, tmp_path):
    encoded = palette_png(labels)
    path = tmp_path / "m.png"
    refused = 0
    for length in cuts(encoded):
        path.write_bytes(encoded[:length])
        try:
            found = read_mask(path, 21)
        except BadInput as error:
            refused += 1
            assert str(path) in str(error) and "swdb prepare-voc" in str(error)
        else:
            assert np.array_equal(found, labels), length
    assert refused > 100  # all but the last few bytes, which hold no pixels


def test_wherever_an_image_is_cut_it_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((10, 12), 50).convert("RGB").save(buffer, "JPEG")
    encoded = buffer.getvalue()
    path = tmp_path / "i.jpg"
    assert len(cuts(encoded)) > 100
    for length in cuts(encoded):
        path.write_bytes(encoded[:length])
        with pytest.raises(BadInput, match=r"i\.jpg cannot be read as an image"):
            read_image(path)


def test_a_mask_with_one_flipped_byte_of_pixels_is_refused(labels, tmp_path):
    encoded = bytearray(palette_png(labels))
    encoded[encoded.index(b"IDAT") + 12] ^= 0xFF
    (tmp_path / "m.png").write_bytes(encoded)
    with pytest.raises(BadInput, match=r"m\.png cannot be read as a mask"):
        read_mask(tmp_path / "m.png", 21)


def test_a_grey_photograph_is_read_as_three_channels(tmp_path):
    Image.new("L", (5, 4), 100).save(tmp_path / "i.jpg")
    image = read_image(tmp_path / "i.jpg")
    assert image.shape == (4, 5, 3) and image.dtype == np.uint8 and (image == 100).all()


def test_channels_are_read_in_the_order_red_green_blue(tmp_path):
    Image.new("RGB", (16, 16), (250, 120, 10)).save(tmp_path / "i.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "i.jpg").astype(int) - (250, 120, 10)).max() <= 4


def test_the_digest_of_masks_changes_with_a_pixel_a_name_and_a_missing_mask(labels, tmp_path):
    for name in ("a", "b"):
        write_mask(tmp_path / f"{name}.png", labels)
    digests = [masks_digest(tmp_path)]
    assert masks_digest(tmp_path) == digests[0]
    (tmp_path / "masks.npy").write_bytes(b"the decoded copy is no mask")
    assert masks_digest(tmp_path) == digests[0]
    write_mask(tmp_path / "b.png", np.where(labels == 20, 5, labels).astype(np.uint8))
    digests.append(masks_digest(tmp_path))
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    digests.append(masks_digest(tmp_path))
    (tmp_path / "c.png").unlink()
    digests.append(masks_digest(tmp_path))
    assert len(set(digests)) == 4
