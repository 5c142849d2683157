"""Real images: every form of the sources ends in one data set, whatever is broken, changed or interrupted on the way."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import voc_tree
from conftest import TESTS
from PIL import Image
from voc_tree import (
    DATA,
    NAMES,
    TRAIN,
    TRAIN_AUG,
    VAL,
    aug_file,
    boxes_file,
    build_official,
    image_file,
    kit,
    list_file,
    mask_file,
    mat_file,
    prepared_mask,
)

from swdb.core import lease
from swdb.core.errors import BadInput, DiskRefused, IncompleteSource, MissingArtefact, SwdbError
from swdb.core.files import read_json
from swdb.core.progress import silent
from swdb.data.dataset import DataSet
from swdb.data.prepare import prepare
from swdb.data.sources import sbd
from swdb.data.sources.voc2012 import Sources, reference_lists
from swdb.data.voc import IGNORE, VOC2012
from swdb.specs.presets import Data

WEAK = TRAIN_AUG[2:]
ALL = TRAIN_AUG + VAL
ANY = replace(DATA, num_strong=0, num_train=0, num_val=0)  # as many as there are
OWN = VOC2012.palette
# Where VOC 2012 and SBD are imported from, below the folder that `build_official` fills.
FORMS = {
    "both archives": (NAMES["voc"], NAMES["sbd"]),
    "both unpacked": ("VOCdevkit", "benchmark_RELEASE"),
    "the inner folders": ("VOCdevkit/VOC2012", "benchmark_RELEASE/dataset"),
    "an archive and a folder": (NAMES["voc"], "benchmark_RELEASE"),
    "a folder and an archive": ("VOCdevkit", NAMES["sbd"]),
    "an archive and converted masks": (NAMES["voc"], "SegmentationClassAug"),
    "a folder and a zip of converted masks": ("VOCdevkit", "SegmentationClassAug.zip"),
}
PACKED, UNPACKED = FORMS["both archives"], FORMS["both unpacked"]


def sources_of(folder: Path, form: tuple[str, str] = PACKED, labels: str = "boxes") -> Sources:
    return Sources(folder / form[0], folder / form[1], labels)


def files_of(root: Path) -> dict[str, bytes]:
    """All files below a folder, by name; the audit's notes hold the times of the files and are left out."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "audit.json"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def marks(paths) -> dict[Path, tuple[int, int]]:
    """What tells a file from one that was written again in its place."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def labels_of(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def refused(settings: Data, root: Path, sources: Sources, kind: type[SwdbError] = BadInput) -> SwdbError:
    """The error with which sources are refused; nothing may be where the set would have been."""
    with pytest.raises(SwdbError) as caught:
        prepare(settings, root, sources, silent)
    assert type(caught.value) is kind and str(caught.value).isprintable()
    assert not root.exists()
    return caught.value


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch):
    """Nothing here is about power cuts: what is written need not reach the disk, which takes long."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    """All sources (read only)."""
    return build_official(tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def expected(official, tmp_path_factory) -> dict[str, bytes]:
    """The files of the set that all sources end in."""
    return files_of(prepare(DATA, tmp_path_factory.mktemp("data") / "mini", sources_of(official), silent).root)


@pytest.fixture
def own(tmp_path) -> Path:
    """All sources, to be spoilt."""
    return build_official(tmp_path / "own")


# ---------------------------------------------------------------- one set from every form


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_sources_ends_in_the_same_files(official, expected, tmp_path, form):
    dataset = prepare(DATA, tmp_path / "mini", sources_of(official, FORMS[form]), silent)
    assert files_of(dataset.root) == expected  # the manifest with the sha256 is one of them


@pytest.mark.parametrize("listed", [True, False])
def test_a_tree_with_the_converted_masks_inside_is_enough(own, expected, tmp_path, listed):
    shutil.move(own / "SegmentationClassAug", kit(own))
    if listed:
        list_file(own, "train_aug").write_text("\n".join(reversed(TRAIN_AUG)))
    dataset = prepare(DATA, tmp_path / "mini", Sources(own / "VOCdevkit"), silent)
    assert files_of(dataset.root) == expected


def test_of_the_masks_inside_a_tree_only_those_of_its_list_are_imported(own, tmp_path):
    shutil.move(own / "SegmentationClassAug", kit(own))
    list_file(own, "train_aug").write_text("\n".join(TRAIN_AUG[:3]))
    dataset = prepare(ANY, tmp_path / "mini", Sources(own / "VOCdevkit"), silent)
    assert dataset.ids("train_aug") == TRAIN_AUG[:3]
    for path in (prepared_mask(dataset.root, TRAIN_AUG[3]), image_file(dataset.root, TRAIN_AUG[3])):
        assert not path.exists()


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
def test_lists_are_sorted_whatever_their_order_in_the_source(own, expected, tmp_path, form):
    for split, ids in (("train", TRAIN), ("val", VAL)):
        list_file(own, split).write_text("\r\n".join(reversed(ids)))
    voc_tree.pack(own)
    dataset = prepare(DATA, tmp_path / "mini", sources_of(own, form), silent)
    assert (dataset.ids("train"), dataset.ids("train_aug"), dataset.ids("val")) == (TRAIN, TRAIN_AUG, VAL)
    assert files_of(dataset.root) == expected


def test_train_and_val_keep_voc_s_masks_with_their_border_and_the_others_get_sbd_s(official, expected, tmp_path):
    dataset = prepare(DATA, tmp_path / "mini", sources_of(official), silent)
    for image_id in ALL:
        found = labels_of(prepared_mask(dataset.root, image_id))
        own = image_id not in WEAK
        source = mask_file(official, image_id) if own else aug_file(official, image_id)
        assert np.array_equal(found, labels_of(source))
        assert (IGNORE in found) == own and 7 not in found  # 7 is what SBD has for VOC's own ids


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
def test_images_and_voc_s_masks_are_imported_byte_for_byte(official, tmp_path, form):
    dataset = prepare(DATA, tmp_path / "mini", sources_of(official, form), silent)
    for image_id in ALL:
        assert image_file(dataset.root, image_id).read_bytes() == image_file(official, image_id).read_bytes()
    for image_id in TRAIN + VAL:
        assert prepared_mask(dataset.root, image_id).read_bytes() == mask_file(official, image_id).read_bytes()


def test_nothing_but_the_set_is_there(expected):
    top = "VOCdevkit/VOC2012"
    assert sorted(expected) == sorted(
        ["image_labels.csv", "manifest.json"]
        + [f"{top}/ImageSets/Segmentation/{split}.txt" for split in ("train", "train_aug", "val")]
        + [f"{top}/JPEGImages/{image_id}.jpg" for image_id in ALL]
        + [f"{top}/SegmentationClassAug/{image_id}.png" for image_id in TRAIN_AUG]
        + [f"{top}/SegmentationClass/{image_id}.png" for image_id in VAL]
    )


@pytest.mark.parametrize("form", FORMS)
def test_sources_are_left_as_they_were(own, tmp_path, form):
    before, files = files_of(own), marks(path for path in own.rglob("*") if path.is_file())
    prepare(replace(DATA, classes=("bottle",), num_classes=2), tmp_path / "part", sources_of(own, FORMS[form]), silent)
    prepare(DATA, tmp_path / "mini", sources_of(own, FORMS[form]), silent)
    assert files_of(own) == before and marks(files) == files


LISTS = {"train": TRAIN, "train_aug": TRAIN_AUG, "val": VAL}


@pytest.mark.parametrize("form", FORMS)
def test_the_three_lists_are_known_from_every_form_of_the_sources(official, form):
    assert reference_lists(sources_of(official, FORMS[form])) == LISTS


def test_the_three_lists_of_a_tree_are_known_if_it_has_a_third_one_or_its_masks(own):
    tree = Sources(own / "VOCdevkit")
    assert reference_lists(tree) is None
    list_file(own, "train_aug").write_text("\n".join(TRAIN_AUG))
    assert reference_lists(tree) == LISTS
    list_file(own, "train_aug").unlink()
    shutil.move(own / "SegmentationClassAug", kit(own))
    assert reference_lists(tree) == LISTS


@pytest.mark.parametrize("labels", ["boxes", "masks"])
def test_progress_ends_where_it_was_said_to_end(official, tmp_path, labels):
    stages = {}

    def progress(name, total, counts=False):
        told = stages[name] = [(0, total)]
        return lambda done, of: told.append((done, of))

    prepare(DATA, tmp_path / "mini", sources_of(official, labels=labels), progress)
    first, *others = stages.values()
    assert {of for _, of in first} == {0}  # nobody knows how much there is to look through
    assert len(others) == (3 if labels == "boxes" else 4)
    for told in others:
        total = told[0][1]
        assert told == sorted(told) and told[-1] == (total, total) and total > 0


# ---------------------------------------------------------------- masks that others wrote


def renumber(path: Path) -> None:
    """Save a mask as a program does that makes PNGs smaller: it looks the same, by a palette of what it shows alone."""
    labels = labels_of(path)
    used, numbers = np.unique(labels, return_inverse=True)
    mask = Image.fromarray((len(used) - 1 - numbers).reshape(labels.shape).astype(np.uint8))
    mask.putpalette(OWN[used[::-1]].tobytes())
    path.unlink()
    mask.save(path)


@pytest.mark.parametrize(
    "form", [PACKED, UNPACKED, ("VOCdevkit", "SegmentationClassAug"), (NAMES["voc"], "SegmentationClassAug.zip")]
)
def test_masks_of_a_renumbered_palette_are_imported_by_their_colours(own, official, expected, tmp_path, form):
    for image_id in TRAIN + VAL:
        renumber(mask_file(own, image_id))
    for image_id in WEAK:
        renumber(aug_file(own, image_id))
    voc_tree.pack(own)
    sources = sources_of(own, form)
    before = files_of(own)
    dataset = prepare(DATA, tmp_path / "mini", sources, silent)
    assert dataset.digest in expected["manifest.json"].decode()
    for image_id in ALL:
        source = mask_file(official, image_id) if image_id not in WEAK else aug_file(official, image_id)
        assert np.array_equal(labels_of(prepared_mask(dataset.root, image_id)), labels_of(source))
    assert files_of(own) == before


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
def test_a_renumbered_mask_is_not_written_again_by_the_next_start(own, tmp_path, form):
    for image_id in TRAIN + VAL:
        renumber(mask_file(own, image_id))
    voc_tree.pack(own)
    root, sources = tmp_path / "data" / "mini", sources_of(own, form)
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, sources, Stops(22))  # within the audit
    kept = imported_so_far(root)
    assert len(kept) == 2 * len(ALL)
    prepare(DATA, root, sources, silent)
    now = marks(kit(root).rglob("*.*g"))
    assert {path: now[moved(path, root)] for path in kept} == kept


def test_a_mask_of_unknown_colours_is_refused_by_file_value_and_colour(own, tmp_path):
    mask = Image.open(mask_file(own, TRAIN[0]))
    mask.putpalette([value for label in range(256) for value in (label, 255 - label, 7)])
    mask_file(own, TRAIN[0]).unlink()
    mask.save(mask_file(own, TRAIN[0]))
    error = refused(DATA, tmp_path / "mini", sources_of(own, UNPACKED))
    assert error.subject == f"--voc {own / 'VOCdevkit'}: VOC2012/SegmentationClass/{TRAIN[0]}.png"
    assert "(0, 255, 7)" in error.found and "grey PNG" in error.expected


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("form", [PACKED, UNPACKED])
@pytest.mark.parametrize("again", [False, True])
def test_sbd_s_masks_over_voc_s_own_are_refused_in_a_part_of_some_classes_too(own, tmp_path, split, form, again):
    for image_id in LISTS[split]:
        shutil.copy(aug_file(own, image_id), mask_file(own, image_id))
    voc_tree.pack(own)
    settings = replace(ANY, classes=("bottle", "bus"), num_classes=3)  # those masks show buses
    for _ in range(1 + again):  # what the first start has written tells the second one nothing
        error = refused(settings, tmp_path / "mini", sources_of(own, form))
        assert error.subject == f"VOCdevkit/VOC2012/ImageSets/Segmentation/{split}.txt"
        assert "0% of its masks have a void border" in error.found and "SBD" in error.expected


def test_an_annotation_that_nobody_asks_for_may_be_anything(own, expected, tmp_path):
    for image_id, content in (("2011_009999", "<annotation>"), ("2011_009998", "")):
        boxes_file(own, image_id).write_text(content)
    voc_tree.save_boxes(boxes_file(own, "2011_009997"), ["tiger"])
    assert files_of(prepare(DATA, tmp_path / "mini", sources_of(own, UNPACKED), silent).root) == expected


def test_a_class_of_an_annotation_that_is_none_of_voc_s_is_refused(own, tmp_path):
    voc_tree.save_boxes(boxes_file(own, WEAK[0]), ["bottle", "Bird", "tiger"])
    error = refused(DATA, tmp_path / "mini", sources_of(own, UNPACKED))
    assert error.subject == f"--voc {own / 'VOCdevkit'}: VOC2012/Annotations/{WEAK[0]}.xml: class 'tiger'"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_of_a_marked_encoding_are_read(own, expected, tmp_path, encoding):
    for split in ("train", "val"):
        path = list_file(own, split)
        path.write_bytes(path.read_text().encode(encoding))
    assert files_of(prepare(DATA, tmp_path / "mini", sources_of(own, UNPACKED), silent).root) == expected


# ---------------------------------------------------------------- image-level labels


def rows_of(root: Path) -> dict[str, str]:
    first, *lines = (root / "image_labels.csv").read_text().splitlines()
    assert first == "image,classes"
    return dict(line.split(",") for line in lines)


def save_labels(path: Path, rows: dict[str, str], header: str = "image,classes") -> str:
    path.write_text(f"{header}\n" + "".join(f"{image_id},{names}\n" for image_id, names in rows.items()))
    return str(path)


BOXES = {
    **{TRAIN[0]: "aeroplane bottle", TRAIN[1]: "bicycle bottle", WEAK[0]: "bird bottle"},
    **{WEAK[1]: "boat bottle", VAL[0]: "bottle", VAL[1]: "aeroplane bottle"},
}


def test_labels_come_from_the_boxes_by_default_and_the_manifest_says_so(expected, official, tmp_path):
    dataset = prepare(DATA, tmp_path / "mini", sources_of(official), silent)
    assert rows_of(dataset.root) == BOXES and dataset.manifest["image_labels"] == "boxes"


def test_a_class_with_a_box_but_without_pixels_is_a_label_of_the_boxes_only(own, tmp_path):
    voc_tree.save_boxes(boxes_file(own, TRAIN[0]), ["aeroplane", "sofa", "bottle", "aeroplane"])
    boxes = prepare(DATA, tmp_path / "boxes", sources_of(own, UNPACKED), silent)
    assert rows_of(boxes.root)[TRAIN[0]] == "aeroplane bottle sofa"  # in VOC's order, each once
    masks = prepare(DATA, tmp_path / "masks", sources_of(own, UNPACKED, "masks"), silent)
    assert rows_of(masks.root) == BOXES and masks.manifest["image_labels"] == "masks"
    assert masks.manifest["key"] == boxes.manifest["key"]
    assert masks.digest != boxes.digest


def test_labels_from_masks_need_no_boxes(own, tmp_path):
    shutil.rmtree(kit(own) / "Annotations")
    assert rows_of(prepare(DATA, tmp_path / "m", sources_of(own, UNPACKED, "masks"), silent).root) == BOXES


def test_labels_come_from_a_csv_and_the_manifest_names_it(official, tmp_path):
    path = save_labels(tmp_path / "mine.csv", {**BOXES, TRAIN[0]: "sofa cat", "2010_000001": "cow"})
    dataset = prepare(DATA, tmp_path / "mini", sources_of(official, labels=path), silent)
    assert rows_of(dataset.root) == {**BOXES, TRAIN[0]: "cat sofa"}  # in VOC's order; of the set's images only
    assert dataset.manifest["image_labels"] == "mine.csv"


# ---------------------------------------------------------------- a part, on purpose


def part(root: Path, sources: Sources, **options: tuple[str, ...] | bool) -> DataSet:
    classes = options.get("classes", ())
    return prepare(replace(ANY, num_classes=len(classes) + 1 if classes else 21, **options), root, sources, silent)


def lists_of(dataset: DataSet) -> list[list[str]]:
    return [dataset.ids(split) for split in ("train", "train_aug", "val")]


def test_numbers_of_0_are_counted(official, expected, tmp_path):
    dataset = prepare(ANY, tmp_path / "mini", sources_of(official), silent)
    assert (dataset.settings.num_strong, dataset.settings.num_train, dataset.settings.num_val) == (2, 4, 2)
    assert dataset.settings == DATA and files_of(dataset.root) == expected


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
def test_what_is_there_is_imported_where_that_is_asked_for(own, tmp_path, form):
    for path in (image_file(own, TRAIN[0]), mask_file(own, VAL[1]), image_file(own, WEAK[0]), mat_file(own, WEAK[1])):
        path.unlink()
    image_file(own, WEAK[0]).with_name(f"{WEAK[1]}.jpg").unlink()
    for image_id in (VAL[0], TRAIN[1]):  # an image that no list names is not ours
        shutil.copy(image_file(own, image_id), image_file(own, "2011_00000" + image_id[-1]))
    voc_tree.pack(own)
    error = refused(ANY, tmp_path / "whole", sources_of(own, form), IncompleteSource)
    assert f"JPEGImages/{TRAIN[0]}.jpg is missing" in error.found and "train.txt" in error.found
    dataset = part(tmp_path / "part", sources_of(own, form), available_only=True)
    assert lists_of(dataset) == [[TRAIN[1]], [TRAIN[1]], [VAL[0]]]
    assert len(list(kit(dataset.root).rglob("*.jpg"))) == 2 and len(list(kit(dataset.root).rglob("*.png"))) == 2


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
@pytest.mark.parametrize("labels", ["boxes", "masks"])
def test_other_classes_become_void_and_kept_ones_get_the_numbers_of_their_order(official, tmp_path, form, labels):
    dataset = part(tmp_path / "part", sources_of(official, form, labels), classes=("bird", "bottle", "aeroplane"))
    assert dataset.class_names == ["background", "bird", "bottle", "aeroplane"]
    becomes = {0: 0, 1: 3, 3: 1, 5: 2}
    for image_id in ALL:
        before = labels_of(mask_file(official, image_id) if image_id not in WEAK else aug_file(official, image_id))
        after = [[becomes.get(label, IGNORE) for label in row] for row in before.tolist()]
        assert labels_of(prepared_mask(dataset.root, image_id)).tolist() == after
    shown = {image_id: names.replace("bicycle ", "").replace("boat ", "") for image_id, names in BOXES.items()}
    assert rows_of(dataset.root) == shown


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
@pytest.mark.parametrize("labels", ["boxes", "masks"])
def test_images_without_a_kept_class_are_left_out(official, tmp_path, form, labels):
    dataset = part(tmp_path / "part", sources_of(official, form, labels), classes=("aeroplane", "boat"))
    assert lists_of(dataset) == [[TRAIN[0]], [TRAIN[0], WEAK[1]], [VAL[1]]]
    assert sorted(path.stem for path in kit(dataset.root).rglob("*.*g")) == sorted(2 * [TRAIN[0], WEAK[1], VAL[1]])


@pytest.mark.parametrize("labels", ["boxes", "masks"])
def test_a_requirement_narrows_the_images_and_not_the_classes(official, tmp_path, labels):
    kept = {"classes": ("aeroplane", "boat", "bottle"), "require": ("aeroplane", "boat")}
    dataset = part(tmp_path / "part", sources_of(official, labels=labels), **kept)
    assert lists_of(dataset) == [[TRAIN[0]], [TRAIN[0], WEAK[1]], [VAL[1]]]
    assert dataset.class_names[1:] == ["aeroplane", "boat", "bottle"]
    assert rows_of(dataset.root)[VAL[1]] == "aeroplane bottle"


def test_a_requirement_without_a_choice_of_classes_keeps_all_of_them(official, tmp_path):
    dataset = part(tmp_path / "part", sources_of(official), require=("aeroplane",))
    assert lists_of(dataset) == [[TRAIN[0]], [TRAIN[0]], [VAL[1]]] and len(dataset.class_names) == 21


def test_held_out_strong_images_stand_for_val_and_val_is_not_touched(official, tmp_path):
    dataset = prepare(
        replace(DATA, num_strong=1, num_train=3, num_val=1, holdout=1), tmp_path / "dev", sources_of(official), silent
    )
    assert lists_of(dataset) == [[TRAIN[1]], [TRAIN[1], *WEAK], [TRAIN[0]]]
    assert not set(VAL) & {path.stem for path in kit(dataset.root).rglob("*.*g")}
    assert np.array_equal(dataset.mask(TRAIN[0], "val"), labels_of(mask_file(official, TRAIN[0])))


def test_a_part_has_a_digest_of_its_own(official, expected, tmp_path):
    kinds = ({"classes": ("bottle",)}, {"classes": ("bottle", "aeroplane")}, {"require": ("aeroplane",)}, {})
    digests = [part(tmp_path / str(k), sources_of(official), **kind).digest for k, kind in enumerate(kinds)]
    assert len(set(digests)) == 4 and digests[-1] in expected["manifest.json"].decode()


def test_a_part_without_an_image_in_one_of_its_lists_is_refused(official, tmp_path):
    settings = replace(ANY, classes=("boat",), num_classes=2)
    error = refused(settings, tmp_path / "part", sources_of(official))
    assert "'mini'" in error.subject and "0 in train.txt, 1 in train_aug.txt, 0 in val.txt" in error.found


# ---------------------------------------------------------------- interrupted, killed, changed


class Stops:
    """A progress at whose `number`th step the user presses Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, name: str, total: int, counts: bool = False):
        return self.step

    def step(self, done: int, of: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def beside(root: Path) -> list[str]:
    """What lies beside a data set, but for the leases."""
    return [path.name for path in root.parent.iterdir() if path.name != ".leases"]


def imported_so_far(root: Path) -> dict[Path, tuple[int, int]]:
    """Images and masks that an interrupted start has left."""
    return marks(path for path in kit(root.with_name(f".{root.name}.partial")).rglob("[!.]*.*g"))


def moved(path: Path, root: Path) -> Path:
    """Where a file of the unfinished set lies in the finished one."""
    return root / path.relative_to(root.with_name(f".{root.name}.partial"))


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
@pytest.mark.parametrize("labels", ["boxes", "masks"])
def test_after_an_interrupt_at_any_step_the_next_start_ends_in_the_same_set(official, tmp_path, form, labels):
    sources = sources_of(official, form, labels)
    whole = files_of(prepare(DATA, tmp_path / "whole", sources, silent).root)
    root, number = tmp_path / "data" / "mini", 0
    with lease.leased(root):  # once for all starts: it would be half of the time
        while True:
            number += 1
            try:
                prepare(DATA, root, sources, Stops(number))
                break
            except KeyboardInterrupt:
                assert not root.exists()
            kept = imported_so_far(root)
            prepare(DATA, root, sources, silent)
            assert files_of(root) == whole
            now = marks(kit(root).rglob("*.*g"))  # renamed with their folder
            assert {path: now[moved(path, root)] for path in kept} == kept
            shutil.rmtree(root)
    assert number > 20


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
def test_what_an_interrupted_start_has_imported_is_not_imported_again(official, tmp_path, form):
    root, sources = tmp_path / "data" / "mini", sources_of(official, form)
    taken = 0
    for number in (12, 16, 20, 24):
        with pytest.raises(KeyboardInterrupt):
            prepare(DATA, root, sources, Stops(number))
        kept = imported_so_far(root)
        with pytest.raises(KeyboardInterrupt):
            prepare(DATA, root, sources, Stops(number))
        now = imported_so_far(root)
        assert {path: now.get(path) for path in kept} == kept
        taken = max(taken, len(kept))
    assert taken >= 8


def test_masks_that_are_converted_already_are_not_converted_again(official, tmp_path, monkeypatch):
    converted, read = [], sbd.read_mat
    monkeypatch.setattr(sbd, "read_mat", lambda data, where: converted.append(where) or read(data, where))
    root = tmp_path / "data" / "mini"
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, sources_of(official), Stops(20))
    prepare(DATA, root, sources_of(official), silent)
    assert [Path(where).stem for where in converted] == WEAK


KILLED = """
import os, signal, sys
from pathlib import Path
import voc_tree
from swdb.data.sources.voc2012 import Sources
from swdb.data.prepare import prepare
left = int(sys.argv[1])
def step(done, of):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
prepare(voc_tree.DATA, Path(sys.argv[2]), Sources(*map(Path, sys.argv[3:])), lambda name, total, counts=False: step)
"""


def run(program: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run a program that may import the helpers of the tests."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
@pytest.mark.parametrize("number", [11, 16])
def test_after_a_kill_the_next_start_ends_in_the_same_set(official, expected, tmp_path, monkeypatch, form, number):
    monkeypatch.setattr(lease, "POLL", 0.01)  # seconds until a dead holder is looked at for the second time
    root, sources = tmp_path / "data" / "mini", sources_of(official, form)
    assert run(KILLED, number, root, sources.voc, sources.sbd).returncode == -signal.SIGKILL
    kept = imported_so_far(root)
    assert kept and not root.exists()
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, sources, Stops(24))
    now = imported_so_far(root)
    assert {path: now.get(path) for path in kept} == kept
    prepare(DATA, root, sources, silent)
    assert files_of(root) == expected and beside(root) == ["mini"]


@pytest.mark.parametrize("written", [f"{WEAK[1]}.png", f"{TRAIN[1]}.jpg", f"{VAL[0]}.png"])
def test_half_a_file_that_an_interrupt_left_is_not_taken_for_a_whole_one(
    official, expected, tmp_path, monkeypatch, written
):
    write, halves = Path.write_bytes, []

    def write_half(path: Path, content: bytes) -> None:
        if written in path.name:
            halves.append(write(path, content[: len(content) // 2]))
            raise KeyboardInterrupt
        write(path, content)

    root = tmp_path / "data" / "mini"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_half)
        with pytest.raises(KeyboardInterrupt):
            prepare(DATA, root, sources_of(official), silent)
    assert len(halves) == 1
    prepare(DATA, root, sources_of(official), silent)
    assert files_of(root) == expected


def test_half_a_file_that_a_kill_left_is_swept(official, expected, tmp_path):
    root = tmp_path / "data" / "mini"
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, sources_of(official), Stops(16))
    partial = root.with_name(".mini.partial")
    for path in (image_file(partial, ALL[0]), prepared_mask(partial, WEAK[0])):
        path.with_name(f".{path.name}.0123456789ab.tmp").write_bytes(b"half")
    prepare(DATA, root, sources_of(official), silent)
    assert files_of(root) == expected


def touched_later(path: Path) -> None:
    """Let a file be clearly younger than all before it."""
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


@pytest.mark.parametrize("form", [PACKED, UNPACKED])
@pytest.mark.parametrize("number", [11, 20])
def test_what_changed_in_a_source_after_an_interrupt_is_imported_again(own, tmp_path, form, number):
    root = tmp_path / "data" / "mini"
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, sources_of(own, form), Stops(number))
    voc_tree.save_mat(mat_file(own, WEAK[0]), np.full((24, 24), 9))
    voc_tree.save_image(image_file(own, TRAIN[0]), 20, 16, seed=77)
    labels = np.where(labels_of(mask_file(own, VAL[0])) == 5, 8, labels_of(mask_file(own, VAL[0])))
    voc_tree.save_mask(mask_file(own, VAL[0]), labels)
    voc_tree.pack(own)
    for name in (mat_file(own, WEAK[0]), *(own / name for name in NAMES.values())):
        touched_later(name)
    dataset = prepare(DATA, root, sources_of(own, form), silent)
    assert (labels_of(prepared_mask(root, WEAK[0])) == 9).all()
    assert image_file(root, TRAIN[0]).read_bytes() == image_file(own, TRAIN[0]).read_bytes()
    assert np.array_equal(dataset.mask(VAL[0], "val"), labels)
    fresh = prepare(DATA, tmp_path / "fresh", sources_of(own, form), silent)
    assert files_of(root) == files_of(fresh.root)


@pytest.mark.parametrize("other", [{"classes": ("bottle",), "num_classes": 2}, {"require": ("aeroplane",)}])
def test_what_was_imported_for_another_part_is_not_mixed_in(official, tmp_path, other):
    root, data = tmp_path / "data" / "mini", replace(ANY, **other)
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, sources_of(official), Stops(20))
    dataset = prepare(data, root, sources_of(official), silent)
    assert files_of(root) == files_of(prepare(data, tmp_path / "fresh", sources_of(official), silent).root)
    assert dataset.settings.num_strong


def test_a_start_from_another_folder_goes_on_as_well(official, tmp_path, monkeypatch):
    monkeypatch.chdir(official)
    relative = Sources(Path("VOCdevkit"), Path("benchmark_RELEASE"))
    root = tmp_path / "data" / "mini"
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, relative, Stops(20))
    kept = imported_so_far(root)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, sources_of(official, UNPACKED), Stops(20))
    now = imported_so_far(root)
    assert kept and {path: now.get(path) for path in kept} == kept


# ---------------------------------------------------------------- broken one way at a time


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def relist(path: Path, ids: list[str]) -> None:
    path.write_text("".join(f"{image_id}\n" for image_id in ids))


def colour(path: Path) -> None:
    """Make a mask the colour image that OpenCV or a converter would have left."""
    coloured = Image.open(path).convert("RGB")
    path.unlink()
    coloured.save(path)


def shorten(path: Path) -> None:
    """Cut a file short as a new file: the prepared set may hold a link to the old one."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def sbd_list(folder: Path, split: str) -> Path:
    return folder / "benchmark_RELEASE" / "dataset" / f"{split}.txt"


# A name for the fault; what is done to what is packed then; the error: its class, the option that its subject begins
# with (none for a file of the prepared set), the subject's end, words of what was found, words of what was expected.
FAULTS = {
    "a .mat is missing": (
        lambda own: mat_file(own, WEAK[0]).unlink(),
        IncompleteSource, "sbd", "", [f"cls/{WEAK[0]}.mat is missing", "SBD's own lists"], [],
    ),
    "a .mat that is something else": (
        lambda own: mat_file(own, WEAK[0]).write_text("<html>"),
        BadInput, "sbd", f"/cls/{WEAK[0]}.mat", ["cannot be read"], ["SBD"],
    ),
    "a .mat cut short": (
        lambda own: cut(mat_file(own, WEAK[1]), 0.6),
        BadInput, "sbd", f"/cls/{WEAK[1]}.mat", ["cannot be read", "cut short"], ["SBD"],
    ),
    "a .mat with another value": (
        lambda own: voc_tree.save_mat(mat_file(own, WEAK[0]), np.full((24, 24), 21)),
        BadInput, "sbd", f"/cls/{WEAK[0]}.mat", ["value 21"], ["0 to 20"],
    ),
    "a .mat of another size than its image": (
        lambda own: voc_tree.save_mat(mat_file(own, WEAK[0]), np.zeros((24, 20))),
        BadInput, "", f"SegmentationClassAug/{WEAK[0]}.png", ["20x24"], ["24x24", f"{WEAK[0]}.jpg"],
    ),
    "an image that is only in SBD": (
        lambda own: image_file(own, WEAK[1]).unlink(),
        IncompleteSource, "voc", "", [f"JPEGImages/{WEAK[1]}.jpg is missing", "SBD has a mask"], [],
    ),
    "a mask of VOC's in colours": (
        lambda own: colour(mask_file(own, TRAIN[0])),
        BadInput, "", f"SegmentationClassAug/{TRAIN[0]}.png", ["RGB"], ["mode P"],
    ),
    "a mask of VOC's of another size": (
        lambda own: voc_tree.save_mask(mask_file(own, VAL[1]), np.full((9, 10), 255)),
        BadInput, "", f"SegmentationClass/{VAL[1]}.png", ["10x9"], ["10x10", f"{VAL[1]}.jpg"],
    ),
    "a mask of VOC's cut short": (
        lambda own: shorten(mask_file(own, VAL[1])),
        BadInput, "", f"SegmentationClass/{VAL[1]}.png", ["cannot be read"], ["a mask"],
    ),
    "SBD's masks in place of VOC's own": (
        lambda own: [shutil.copy(aug_file(own, i), mask_file(own, i)) for i in VAL],
        BadInput, "", "Segmentation/val.txt", ["void border"], ["SBD"],
    ),
    "an image cut short": (
        lambda own: shorten(image_file(own, WEAK[0])),
        BadInput, "", f"JPEGImages/{WEAK[0]}.jpg", ["cannot be read"], ["an image"],
    ),
    "an image is missing": (
        lambda own: image_file(own, VAL[0]).unlink(),
        IncompleteSource, "voc", "", [f"JPEGImages/{VAL[0]}.jpg is missing", "val.txt"], [],
    ),
    "a mask of VOC's is missing": (
        lambda own: mask_file(own, TRAIN[1]).unlink(),
        IncompleteSource, "voc", "", [f"SegmentationClass/{TRAIN[1]}.png is missing", "train.txt"], [],
    ),
    "a list is missing": (
        lambda own: list_file(own, "val").unlink(),
        BadInput, "voc", "", ["ImageSets/Segmentation/val.txt is missing"], ["VOC 2012"],
    ),
    "a list names an image twice": (
        lambda own: relist(list_file(own, "train"), [*TRAIN, TRAIN[0]]),
        BadInput, "voc", "train.txt", [TRAIN[0], "twice"], [],
    ),
    "SBD's list names an image twice": (
        lambda own: relist(sbd_list(own, "val"), [WEAK[0], WEAK[0]]),
        BadInput, "sbd", "val.txt", [WEAK[0], "twice"], [],
    ),
    "a list is empty": (
        lambda own: relist(list_file(own, "val"), []), BadInput, "voc", "val.txt", ["empty"], ["image ids"],
    ),
    "a list that is not text": (
        lambda own: list_file(own, "val").write_bytes(b"\xff\xfe"),
        BadInput, "voc", "val.txt", ["not text"], ["image ids"],
    ),
    "a list names an unknown image": (
        lambda own: relist(list_file(own, "train"), [*TRAIN, "2012_009999"]),
        IncompleteSource, "voc", "", ["JPEGImages/2012_009999.jpg is missing", "train.txt"], [],
    ),
    "train and val overlap": (
        lambda own: relist(list_file(own, "val"), [*VAL, TRAIN[1]]),
        BadInput, "voc", "", ["train.txt", "val.txt", "1", TRAIN[1]], [],
    ),
    "an image less": (
        lambda own: relist(list_file(own, "train"), TRAIN[:1]),
        IncompleteSource, "voc", "", ["train.txt", "1"], ["2"],
    ),
    "boxes are missing": (
        lambda own: boxes_file(own, WEAK[0]).unlink(),
        BadInput, "voc", "", [WEAK[0]], [f"Annotations/{WEAK[0]}.xml", "--image-labels"],
    ),
    "boxes that are not XML": (
        lambda own: boxes_file(own, WEAK[0]).write_text("<annotation>"),
        BadInput, "voc", f"Annotations/{WEAK[0]}.xml", ["not XML"], ["a VOC annotation"],
    ),
}  # fmt: skip


def missing(words: list[str], text: str) -> list[str]:
    return [word for word in words if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)]


@pytest.mark.parametrize("form", ["both archives", "both unpacked"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_the_next_start_goes_on_once_it_is_fixed(own, expected, tmp_path, fault, form):
    spoil, kind, option, end, found, expects = FAULTS[fault]
    shutil.copytree(own, tmp_path / "good")
    sources = sources_of(own, FORMS[form])
    spoil(own)
    voc_tree.pack(own)
    error = refused(DATA, tmp_path / "data" / "mini", sources, kind)
    begin = f"--{option} {getattr(sources, option)}" if option else "VOCdevkit/VOC2012/"
    assert error.subject.startswith(begin) and error.subject.endswith(end or begin)
    assert missing(found, error.found) == [] and missing(expects, error.expected) == [], str(error)
    for path in [path for path in (tmp_path / "good").rglob("*") if path.is_file()]:
        bad = own / path.relative_to(tmp_path / "good")
        if not bad.exists() or bad.read_bytes() != path.read_bytes():
            bad.unlink(missing_ok=True)
            shutil.copyfile(path, bad)
            touched_later(bad)
    prepare(DATA, tmp_path / "data" / "mini", sources, silent)
    assert files_of(tmp_path / "data" / "mini") == expected


def test_a_fault_costs_nothing_of_what_was_imported_already(own, tmp_path):
    root, sources = tmp_path / "data" / "mini", sources_of(own, UNPACKED)
    shorten(image_file(own, WEAK[0]))
    refused(DATA, root, sources)
    kept = imported_so_far(root)
    assert len(kept) == 10  # the faulty image went, and its mask
    refused(DATA, root, sources)
    assert imported_so_far(root) == kept


@pytest.mark.parametrize(("key", "share"), [("voc", 0.3), ("voc", 0.7), ("voc", 0.99), ("sbd", 0.5), ("sbd", 0.99)])
def test_a_truncated_archive_is_named_and_a_whole_one_imported(own, expected, tmp_path, key, share):
    whole = (own / NAMES[key]).read_bytes()
    cut(own / NAMES[key], share if key == "sbd" else share * whole.rstrip(b"\0").__len__() / len(whole))
    error = refused(DATA, tmp_path / "mini", sources_of(own))
    assert error.subject.startswith(f"--{key} {own / NAMES[key]}") and "truncated or damaged" in error.found
    (own / NAMES[key]).write_bytes(whole)
    assert files_of(prepare(DATA, tmp_path / "mini", sources_of(own), silent).root) == expected


@pytest.mark.parametrize("form", ["SegmentationClassAug", "SegmentationClassAug.zip"])
def test_a_converted_mask_in_colours_is_named(own, tmp_path, form):
    colour(aug_file(own, WEAK[0]))
    voc_tree.pack(own)
    error = refused(DATA, tmp_path / "mini", sources_of(own, (NAMES["voc"], form)))
    assert error.subject.startswith(f"--sbd {own / form}: ") and error.subject.endswith(f"{WEAK[0]}.png")
    assert "RGB" in error.found and "mode P" in error.expected


def test_a_mask_in_colours_is_named_where_labels_come_from_masks(own, tmp_path):
    colour(mask_file(own, TRAIN[0]))
    error = refused(DATA, tmp_path / "mini", sources_of(own, UNPACKED, "masks"))
    assert str(error.subject).endswith(f"VOCdevkit/VOC2012/SegmentationClassAug/{TRAIN[0]}.png")
    assert "RGB" in error.found and "mode P" in error.expected


@pytest.mark.parametrize("key", ["voc", "sbd"])
def test_a_missing_source_is_named(own, tmp_path, key):
    (own / NAMES[key]).unlink()
    error = refused(DATA, tmp_path / "mini", sources_of(own), MissingArtefact)
    assert (error.subject, error.found) == (f"--{key} {own / NAMES[key]}", "missing")


def test_archives_under_each_others_option_are_refused(own, tmp_path):
    error = refused(DATA, tmp_path / "mini", sources_of(own, (NAMES["sbd"], NAMES["voc"])))
    assert error.subject == f"--voc {own / NAMES['sbd']}"
    assert "train.txt is missing" in error.found and "VOC 2012" in error.expected


@pytest.mark.parametrize(
    "name", [NAMES["voc"], "VOCdevkit", "benchmark_RELEASE/dataset/cls", "benchmark_RELEASE/dataset/img"]
)
def test_a_source_of_masks_that_holds_none_is_refused(own, tmp_path, name):
    for settings in (DATA, replace(ANY, available_only=True)):
        error = refused(settings, tmp_path / "mini", sources_of(own, (NAMES["voc"], name)))
        assert error.subject == f"--sbd {own / name}"
        assert "holds no masks" in error.found and "cls/ID.mat" in error.expected


def test_a_tree_without_converted_masks_names_the_option_that_has_them(official, tmp_path):
    error = refused(DATA, tmp_path / "mini", Sources(official / "VOCdevkit"), MissingArtefact)
    assert error.subject == f"--voc {official / 'VOCdevkit'}" and "SegmentationClassAug" in error.found
    assert "--sbd" in error.expected and "benchmark.tgz" in error.expected


def test_two_data_sets_in_one_folder_are_not_mixed(own, tmp_path):
    other = kit(own).with_name("VOC2007")
    shutil.copytree(kit(own), other)
    relist(other / "ImageSets" / "Segmentation" / "val.txt", VAL[:1])
    error = refused(DATA, tmp_path / "mini", sources_of(own, UNPACKED))
    assert error.subject == f"--voc {own / 'VOCdevkit'}"
    assert "two lists val.txt" in error.found and "VOC2012/ImageSets/Segmentation/val.txt" in error.found
    prepare(DATA, tmp_path / "mini", sources_of(own, ("VOCdevkit/VOC2012", NAMES["sbd"])), silent)


# A name for the fault; rows and header of the file; the error's subject, for the file's path; what was found, what was meant.
CSV_FAULTS = {
    "no such file": (None, "", "--image-labels {}", "no such file", ""),
    "another header": (BOXES, "id,labels", "{}", "['id', 'labels']", ""),
    "no header": (BOXES, f"{TRAIN[0]},cat", "{}", f"['{TRAIN[0]}', 'cat']", ""),
    "an image less": (
        {k: v for k, v in BOXES.items() if k != WEAK[1]}, "image,classes", "--image-labels {}", f"image {WEAK[1]} has no", "",
    ),
    "an unknown class": (
        {**BOXES, VAL[0]: "bottle aeroplan"}, "image,classes",
        f"--image-labels {{}}: image {VAL[0]}: class 'aeroplan'", "unknown", "aeroplane",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", CSV_FAULTS)
def test_a_faulty_csv_is_named_and_one_that_was_fixed_is_read(official, tmp_path, fault):
    rows, header, subject, found, meant = CSV_FAULTS[fault]
    path = tmp_path / "mine.csv"
    if rows is not None:
        save_labels(path, rows, header)
    error = refused(DATA, tmp_path / "mini", sources_of(official, labels=str(path)))
    assert str(error.subject) == subject.format(path) and found in error.found and error.near == meant
    save_labels(path, BOXES)
    touched_later(path)
    assert rows_of(prepare(DATA, tmp_path / "mini", sources_of(official, labels=str(path)), silent).root) == BOXES


def test_a_csv_that_is_not_text_is_named(official, tmp_path):
    (tmp_path / "mine.csv").write_bytes(b"\xff\xfe\0")
    error = refused(DATA, tmp_path / "mini", sources_of(official, labels=str(tmp_path / "mine.csv")))
    assert error.subject == tmp_path / "mine.csv" and "not a CSV" in error.found


def test_a_destination_below_a_file_is_named(official, tmp_path):
    (tmp_path / "data").write_text("in the way")
    error = refused(DATA, tmp_path / "data" / "mini", sources_of(official), DiskRefused)
    assert error.subject == tmp_path / "data" / "mini" and "is a file" in error.found
    assert (tmp_path / "data").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_destination_is_named(official, tmp_path):
    (tmp_path / "data").mkdir(mode=0o500)
    error = refused(DATA, tmp_path / "data" / "mini", sources_of(official), DiskRefused)
    assert error.subject.is_relative_to(tmp_path / "data") and "no permission" in error.found


FULL = """
import resource, sys
from pathlib import Path
import voc_tree
from swdb.core.errors import DiskRefused
from swdb.core.progress import silent
from swdb.data.sources.voc2012 import Sources
from swdb.data.prepare import prepare
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # no file may grow beyond: the system refuses as a full disk does
try:
    prepare(voc_tree.DATA, Path(sys.argv[2]), Sources(*map(Path, sys.argv[3:])), silent)
except DiskRefused as error:
    print(error.subject, "-", error.found)
"""


@pytest.mark.parametrize("place", ["the lease", "a mask", "an image", "the audit"])
def test_a_full_disk_is_named_and_the_next_start_goes_on(official, expected, tmp_path, place):
    root, sources = tmp_path / "data" / "mini", sources_of(official)
    partial = root.with_name(".mini.partial")
    mask, image = prepared_mask(partial, WEAK[0]), image_file(partial, WEAK[0])  # the first mask and the largest file
    most, subject = {
        "the lease": (100, root),
        "a mask": (len(expected[mask.relative_to(partial).as_posix()]) - 1, mask),
        "an image": (len(expected[image.relative_to(partial).as_posix()]) - 1, image),
        "the audit": (len(expected[image.relative_to(partial).as_posix()]), partial / "audit.json"),
    }[place]
    full = run(FULL, most, root, sources.voc, sources.sbd)
    assert full.stdout.endswith(f"{subject} - the disk is full\n") and full.stdout.count("\n") == 1, full.stderr
    assert not root.exists()
    prepare(DATA, root, sources, silent)
    assert files_of(root) == expected and beside(root) == ["mini"]


def test_the_sources_are_noted_only_while_they_are_needed(official, tmp_path):
    root = tmp_path / "data" / "mini"
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, root, sources_of(official), Stops(5))
    noted = read_json(root.with_name(".mini.partial") / "sources.json")
    assert str(official / NAMES["voc"]) in str(noted) and noted["key"]["num_strong"] == 2
    prepare(DATA, root, sources_of(official), silent)
    assert not (root / "sources.json").exists()


def test_a_named_list_without_weak_images_is_refused_not_overruled(own, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    for split, ids in (("train", TRAIN), ("train_aug", TRAIN), ("val", VAL)):
        (lists / f"{split}.txt").write_text("\n".join(ids))
    error = refused(DATA, tmp_path / "root", replace(sources_of(own), lists=lists))
    assert error.subject == f"--lists {lists}" and "names no image beside those of train.txt" in error.found


def test_masks_that_the_boxes_beside_them_contradict_give_no_tags(own, tmp_path):
    for image_id in (*TRAIN_AUG, *VAL):
        voc_tree.save_boxes(boxes_file(own, image_id), ["tvmonitor"])
    error = refused(DATA, tmp_path / "root", sources_of(own, UNPACKED, labels="masks"))
    assert error.subject == "--image-labels masks" and "6 of 6 images" in error.found
