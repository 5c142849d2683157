"""What VOC 2012 tells before anything is imported: lists, tags, which files are there; and lists that replace its own."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import voc_tree
from voc_tree import DATA, NAMES, TRAIN, TRAIN_AUG, VAL

from swdb.core.errors import BadInput, IncompleteSource, MissingArtefact, SwdbError
from swdb.core.progress import silent
from swdb.data.dataset import DataSet
from swdb.data.prepare import prepare
from swdb.data.sources.voc2012 import Sources, is_kept, look_through
from swdb.specs.presets import Data

LISTS = {"train": TRAIN[:1], "train_aug": [TRAIN[0], TRAIN_AUG[3]], "val": VAL[1:]}
MINI = replace(DATA, num_strong=1, num_train=2, num_val=1)  # of as many images as these lists name


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    """VOC 2012 and SBD in all forms (read only)."""
    return voc_tree.build_official(tmp_path_factory.mktemp("official"))


@pytest.fixture
def lists(tmp_path) -> Path:
    """Lists of fewer images than VOC's own, that a test may spoil."""
    folder = tmp_path / "lists"
    folder.mkdir()
    for split, ids in LISTS.items():
        relist(folder / f"{split}.txt", *ids)
    return folder


def relist(path: Path, *ids: str) -> None:
    path.write_text("".join(f"{image_id}\n" for image_id in ids))


def sources_of(official: Path, lists: Path | None = None, sbd: str = NAMES["sbd"], labels: str = "boxes") -> Sources:
    return Sources(official / NAMES["voc"], official / sbd, labels, lists)


def prepared(sources: Sources, root: Path, settings: Data = MINI) -> DataSet:
    return prepare(settings, root, sources, silent)


def refused(
    sources: Sources, tmp_path: Path, kind: type[SwdbError] = BadInput, settings: Data = MINI
) -> BadInput | MissingArtefact:
    """The error with which sources are refused; nothing may be where the data set would have been."""
    with pytest.raises(SwdbError) as caught:
        prepared(sources, tmp_path / "mini", settings)
    assert type(caught.value) is kind and str(caught.value).isprintable()
    assert not (tmp_path / "mini").exists()
    return caught.value


def missing(words: list[str], text: str) -> list[str]:
    return [word for word in words if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)]


# ---------------------------------------------------------------- lists that are named


@pytest.mark.parametrize("sbd", ["benchmark.tgz", "benchmark_RELEASE", "SegmentationClassAug.zip"])
def test_lists_that_are_named_go_before_those_of_the_sources(official, lists, tmp_path, sbd):
    found = prepared(sources_of(official, lists, sbd), tmp_path / "mini")
    assert {split: found.ids(split) for split in LISTS} == LISTS
    masks = sorted(path.stem for path in voc_tree.kit(found.root).rglob("*.png"))
    assert masks == sorted(LISTS["train_aug"] + LISTS["val"])


def test_a_named_list_that_cannot_be_read_is_named(official, lists, tmp_path, monkeypatch):
    read = Path.read_bytes

    def refuse(path):
        if path.parent == lists:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    error = refused(sources_of(official, lists), tmp_path, BadInput)
    assert str(lists) in error.subject and "Permission denied" in error.found


@pytest.mark.parametrize("split", LISTS)
def test_a_named_list_that_is_missing_is_named(official, lists, tmp_path, split):
    (lists / f"{split}.txt").unlink()
    error = refused(sources_of(official, lists), tmp_path, MissingArtefact)
    assert (error.subject, error.found) == (f"--lists {lists}", f"{split}.txt is missing")


def test_lists_in_no_folder_are_named(official, tmp_path):
    error = refused(sources_of(official, tmp_path / "nowhere"), tmp_path)
    assert error.subject == f"--lists {tmp_path / 'nowhere'}"
    assert all(f"{split}.txt" in error.expected for split in LISTS)


@pytest.mark.parametrize(
    ("split", "text", "found"),
    [
        ("train", b"", "empty"),
        ("val", f"{VAL[1]}\n{VAL[1]}\n".encode(), f"{VAL[1]} twice"),
        ("val", b"\xff\xfe", "not text"),
        ("train", f"{TRAIN[0]}\n../../secret\n".encode(), "'../../secret'"),
        ("train", f"{TRAIN[0]}\n2008_000002.jpg;\n".encode(), "'2008_000002.jpg;'"),
        ("train", f"{TRAIN[0]}\na/b\n".encode(), "'a/b'"),
    ],
)
def test_a_faulty_named_list_is_refused(official, lists, tmp_path, split, text, found):
    (lists / f"{split}.txt").write_bytes(text)
    error = refused(sources_of(official, lists), tmp_path)
    assert error.subject == f"--lists {lists}: the list {split}.txt" and found in error.found


@pytest.mark.parametrize(
    ("split", "ids", "words"),
    [
        ("val", [TRAIN[0]], ["train.txt", "val.txt", "1", TRAIN[0]]),
        ("val", [TRAIN_AUG[3]], ["train_aug.txt", "val.txt", "1", TRAIN_AUG[3]]),
        ("train_aug", [TRAIN_AUG[3]], ["train_aug.txt lacks 1", "train.txt", TRAIN[0]]),
    ],
)
def test_named_lists_that_contradict_each_other_are_refused(official, lists, tmp_path, split, ids, words):
    relist(lists / f"{split}.txt", *ids)
    error = refused(sources_of(official, lists), tmp_path)
    assert error.subject == f"--lists {lists}" and missing(words, error.found) == []


@pytest.mark.parametrize(
    ("split", "ids", "kind", "found"),
    [
        ("train_aug", [TRAIN[0], "2011_999999"], BadInput, "2011_999999 has no image-level labels"),
        ("val", ["2011_999999"], IncompleteSource, "JPEGImages/2011_999999.jpg is missing"),
    ],
)
def test_an_image_that_only_a_named_list_knows_is_named(official, lists, tmp_path, split, ids, kind, found):
    relist(lists / f"{split}.txt", *ids)
    error = refused(sources_of(official, lists), tmp_path, kind)
    assert error.subject == f"--voc {official / NAMES['voc']}" and found in error.found


def test_a_source_that_is_not_there_is_named(tmp_path):
    error = refused(Sources(tmp_path / "nowhere"), tmp_path, MissingArtefact)
    assert (error.subject, error.found) == (f"--voc {tmp_path / 'nowhere'}", "missing")


# ---------------------------------------------------------------- what tells sources from others


def test_other_lists_are_other_sources(official, lists):
    assert Sources(official).fingerprint() != Sources(official, lists=lists).fingerprint()


@pytest.mark.parametrize("option", ["voc", "sbd", "image_labels"])
def test_a_file_that_changed_is_another_source(tmp_path, option):
    path, found = tmp_path / "file", []
    for content, time in ((b"one", 1), (b"one", 2), (b"more", 2)):
        path.write_bytes(content)
        os.utime(path, ns=(time, time))
        found.append(Sources(**{option: str(path) if option == "image_labels" else path}).fingerprint())
    assert found[0] != found[1] != found[2] != found[0]


def test_a_source_is_the_same_by_whatever_path(official, monkeypatch):
    monkeypatch.chdir(official)
    (relative,) = {
        str(Sources(Path(name)).fingerprint()) for name in ("VOCdevkit", "./VOCdevkit", "VOCdevkit/../VOCdevkit")
    }
    assert relative == str(Sources(official / "VOCdevkit").fingerprint())


# ---------------------------------------------------------------- what is there, and what is wanted of it


@pytest.mark.parametrize("form", [NAMES["voc"], "VOCdevkit", "VOCdevkit/VOC2012"])
def test_one_reading_finds_lists_tags_and_files(official, form):
    told = []
    found = look_through(Sources(official / form), lambda done, of: told.append((done, of)))
    assert {split: sorted(ids) for split, ids in found.lists.items()} == {"train": TRAIN, "val": VAL}
    assert found.images == {*TRAIN_AUG, *VAL} and found.masks == {*TRAIN, *VAL}
    assert not found.claims.keys("mask of SBD's")
    assert found.tags.keys() == found.images and found.tags[TRAIN[0]] == ["aeroplane", "bottle"]
    assert told == [(done, 0) for done in range(1, 2 + 6 + 1)]  # two lists and the boxes of six images


def test_boxes_are_read_as_evidence_where_labels_come_from_masks(official):
    asked, beside = (
        look_through(Sources(official / NAMES["voc"], image_labels=of), silent()) for of in ("boxes", "masks")
    )
    assert beside.tags == asked.tags != {}


@pytest.mark.parametrize(
    ("classes", "require", "kept"),
    [
        ((), (), True),
        (("cat",), (), True),
        (("cow",), (), False),
        (("cat", "cow"), ("cow",), False),
        ((), ("dog",), True),
    ],
)
def test_an_image_is_kept_by_its_tags(classes, require, kept):
    assert is_kept(replace(DATA, classes=classes, require=require), ["cat", "dog"]) == kept


def test_where_a_part_has_fewer_images_than_its_preset_says_one_that_was_left_out_is_named(official, lists, tmp_path):
    relist(lists / "train.txt", TRAIN[0], "2011_999999")
    relist(lists / "train_aug.txt", TRAIN[0], "2011_999999", TRAIN_AUG[3])
    settings = replace(DATA, num_strong=2, num_train=3, num_val=1, available_only=True)
    error = refused(sources_of(official, lists), tmp_path, IncompleteSource, settings)
    assert missing(["train.txt", "1"], error.found) == [] and error.expected == "2"
    assert "2011_999999 was left out" in error.found and "not there" in error.found


def test_an_image_without_a_kept_tag_is_left_out_for_that(official, tmp_path):
    settings = replace(DATA, num_classes=2, classes=("bicycle",), num_strong=2, num_train=2, num_val=1)
    error = refused(sources_of(official), tmp_path, IncompleteSource, settings)
    assert missing(["train.txt", "1"], error.found) == [] and error.expected == "2"
    assert f"{TRAIN[0]} was left out" in error.found and "no tag" in error.found


def test_a_part_by_masks_is_prepared_again_by_the_numbers_that_were_counted(official, tmp_path):
    part = replace(DATA, classes=("aeroplane",), num_classes=2, num_strong=0, num_train=0, num_val=0)
    sources = sources_of(official, labels="masks")
    first = prepared(sources, tmp_path / "first", part)
    assert first.manifest["counts"] == {"train": 1, "train_aug": 1, "val": 1}  # of 2, 4 and 2, as their masks show
    again = prepared(sources, tmp_path / "again", first.settings)
    assert again.digest == first.digest
