"""Opening a prepared data set: its lists, image-level labels, images and masks."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import voc_tree
from conftest import REPOSITORY, TINY
from voc_tree import DATA, image_file, kit, list_file

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, MissingArtefact, NotMade, SwdbError
from swdb.core.files import digest, read_json, write_json
from swdb.core.progress import silent
from swdb.data.audit import verify
from swdb.data.dataset import (
    DataSet,
    data_key,
    load,
    open_artefact,
    read_lists,
    read_tags,
    unlike_published,
    write_lists,
    write_tags,
)
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.data.synthetic import SCENES
from swdb.data.voc import VOC2012
from swdb.specs.presets import load_preset

TINY_DATA = load_preset(TINY).data  # 12 strong, 32 training and 6 val images of 32 x 32 pixels


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> DataSet:
    """The tiny synthetic data set (read only)."""
    return prepare(TINY_DATA, tmp_path_factory.mktemp("work") / "data" / "tiny", NO_SOURCES, silent)


def files_of(root: Path) -> dict[str, bytes]:
    """All files below a folder, by name."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def own(synthetic, tmp_path) -> DataSet:
    """A copy of the synthetic set that a test may spoil."""
    return load(TINY_DATA, Path(shutil.copytree(synthetic.root, tmp_path / "data" / "tiny")))


def refused(call, *arguments, kind: type[SwdbError] = BadInput) -> SwdbError:
    """Return the error that a call ends with, and see that it fits a line."""
    with pytest.raises(kind) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value


# ---------------------------------------------------------------- what the id digests


def test_the_key_holds_the_settings_and_the_version_of_the_drawing():
    key = data_key(TINY_DATA)
    assert (key["dataset"], key["name"], key["num_train"]) == ("synthetic", "tiny", 32)
    assert key["drawing"] == SCENES.version["drawing"]
    assert "drawing" not in data_key(DATA) and data_key(DATA)["dataset"] == "voc"


def test_the_key_of_what_was_prepared_before_later_settings_came_is_unchanged():
    data = load_preset("synthetic-small-badges").data
    assert digest(data_key(data))[:16] == "d61b8c022f270cdf"


# ---------------------------------------------------------------- opening


def test_a_prepared_set_is_opened_as_it_was_prepared(own, synthetic):
    assert (own.settings, own.manifest) == (TINY_DATA, synthetic.manifest)
    assert (own.facts, own.num_classes, own.digest) == (SCENES, 6, synthetic.manifest["digest"])
    assert files_of(own.root) == files_of(synthetic.root)


@pytest.mark.parametrize("settings", [TINY_DATA, DATA])
def test_a_set_that_is_not_there_is_said_to_be_not_made_yet(tmp_path, settings):
    error = refused(load, settings, tmp_path / "place", kind=NotMade)
    assert error.subject == tmp_path / "place" and repr(settings.name) in error.found and error.exit_code == 3


def test_a_set_of_other_settings_is_not_accepted(own):
    error = refused(load, replace(TINY_DATA, num_strong=11), own.root, kind=MissingArtefact)
    assert error.subject == own.root and "other settings" in error.found and not isinstance(error, NotMade)


def test_a_set_of_an_older_drawing_is_not_accepted(own, monkeypatch):
    monkeypatch.setitem(SCENES.version, "drawing", SCENES.version["drawing"] + 1)
    assert refused(load, TINY_DATA, own.root, kind=MissingArtefact).subject == own.root


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_manifest_is_named(own, content):
    (own.root / "manifest.json").write_text(content)
    error = refused(load, TINY_DATA, own.root, kind=MissingArtefact)
    assert error.subject == own.root / "manifest.json" and error.found == "damaged"


@pytest.mark.parametrize("lost", ["key", "digest", "classes", "counts"])
def test_a_manifest_that_lacks_something_is_damaged(own, lost):
    path = own.root / "manifest.json"
    write_json(path, {name: value for name, value in own.manifest.items() if name != lost})
    error = refused(load, TINY_DATA, own.root, kind=MissingArtefact)
    assert (error.subject, error.found) == (path, "damaged")


def test_a_digest_that_is_not_text_is_damaged(own):
    write_json(own.root / "manifest.json", own.manifest | {"digest": 7})
    assert refused(load, TINY_DATA, own.root, kind=MissingArtefact).found == "damaged"


def test_a_manifest_of_version_0_1_is_read_as_it_is(own):
    path = own.root / "manifest.json"
    renamed = {"key": "recipe", "digest": "tree_root"}
    manifest = {renamed.get(name, name): value for name, value in own.manifest.items() if name != "kind"}
    write_json(path, manifest)
    before = path.read_bytes()
    old = load(TINY_DATA, own.root)
    assert old.digest == own.digest == verify(old, silent)["tree_root"]
    assert read_json(path) == manifest and path.read_bytes() == before  # reading changes nothing
    error = refused(load, replace(TINY_DATA, num_strong=11), own.root, kind=MissingArtefact)
    assert "other settings" in error.found


def test_the_data_set_of_an_artefact_is_opened_with_its_settings(own):
    artefact = Artefact("data", "tiny", "tiny-0123456789", own.root, task=TINY_DATA, record_name="manifest.json")
    assert open_artefact(artefact) == own


# ---------------------------------------------------------------- lists


def test_a_missing_list_is_named(own):
    list_file(own.root, "val").unlink()
    error = refused(own.ids, "val", kind=MissingArtefact)
    assert (error.subject, error.found) == (own.list_path("val"), "missing")


def test_an_empty_list_is_named_with_what_was_expected(own):
    list_file(own.root, "train").write_text("\n")
    error = refused(own.ids, "train")
    assert (error.subject, error.found) == (own.list_path("train"), "empty") and "12" in error.expected


def test_lists_are_read_as_they_were_written(tmp_path):
    lists = {"train": ["b", "a"], "train_aug": ["b", "a", "größe"], "val": []}
    write_lists(VOC2012, tmp_path, lists)
    assert read_lists(VOC2012, tmp_path) == lists


# ---------------------------------------------------------------- image-level labels


def test_tags_are_read_as_they_were_written(tmp_path):
    tags = {"a": ["cat", "dog"], "b": [], "c": ["cow"]}
    write_tags(tmp_path, tags)
    assert read_tags(tmp_path / "image_labels.csv") == tags


def test_tags_have_a_column_for_every_class_in_the_order_of_the_ids(own):
    tags = {image_id: ["beta"] for image_id in own.ids("train_aug")}
    first, second = own.ids("train")[:2]
    write_tags(own.root, tags | {first: ["alpha", "epsilon"], second: []})
    assert own.tags([second, first]).tolist() == [[False] * 5, [True, False, False, False, True]]


@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_image_labels_that_a_spreadsheet_saved_are_read(tmp_path, bom):
    path = tmp_path / "labels.csv"
    path.write_text(f'{bom}image,classes\r\na,"cat dog"\r\n\r\nb\r\n', newline="")
    assert read_tags(path) == {"a": ["cat", "dog"], "b": []}


def test_missing_image_labels_are_named(own):
    (own.root / "image_labels.csv").unlink()
    error = refused(own.tags, own.ids("val"), kind=MissingArtefact)
    assert (error.subject, error.found) == (own.root / "image_labels.csv", "missing")


def test_an_image_without_labels_is_named(own):
    error = refused(own.tags, ["nobody"])
    assert error.subject == own.root / "image_labels.csv" and "nobody" in error.found


def labels_file(own: DataSet, old: str, new: str) -> None:
    path = own.root / "image_labels.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_unknown_class_is_named_with_its_image_and_the_known_ones(own):
    first = own.ids("train_aug")[0]
    labels_file(own, f"{first},", f"{first},alfa ")
    error = refused(own.tags, [first])
    assert error.subject == own.root / "image_labels.csv" and first in error.found and "'alfa'" in error.found
    assert error.expected == "alpha, beta, gamma, delta, epsilon"


@pytest.mark.parametrize(("old", "new"), [("image,classes", "id;tags"), (",", ";")])
def test_image_labels_of_another_form_are_refused(own, old, new):
    path = own.root / "image_labels.csv"
    path.write_text(path.read_text().replace(old, new))
    error = refused(own.tags, own.ids("train_aug"))
    assert error.subject == path and new.partition(",")[0] in error.found and error.expected == "image,classes"


@pytest.mark.parametrize("content", [b"\xff\xfei\x00", b"image,classes\n" + b'"' + b"x" * 200_000])
def test_image_labels_that_are_not_a_csv_are_refused(own, content):
    path = own.root / "image_labels.csv"
    path.write_bytes(content)
    error = refused(own.tags, own.ids("train_aug"))
    assert error.subject == path and "not a CSV" in error.found and "image,classes" in error.expected


# ---------------------------------------------------------------- images and masks


def test_images_and_masks_are_read_from_where_the_layout_has_them(own):
    first = own.ids("val")[0]
    assert own.image_path(first) == image_file(own.root, first)
    assert own.mask_path(first, "val") == kit(own.root) / "SegmentationClass" / f"{first}.png"
    assert own.image(first).shape == (32, 32, 3) and own.mask(first, "val").shape == (32, 32)
    assert own.image(first).dtype == own.mask(first, "val").dtype == np.uint8


def test_a_mask_value_that_the_set_has_not_is_refused(own):
    first = own.ids("val")[0]
    voc_tree.save_mask(own.mask_path(first, "val"), np.full((32, 32), 6))
    assert refused(own.mask, first, "val").expected == "0 to 5 and 255"


def test_a_spoilt_image_or_mask_of_the_set_is_named(own):
    first = own.ids("val")[0]
    image_file(own.root, first).write_bytes(b"")
    error = refused(own.image, first)
    assert error.subject == own.image_path(first) and "cannot be read" in error.found
    own.mask_path(first, "val").unlink()
    error = refused(own.mask, first, "val", kind=MissingArtefact)
    assert (error.subject, error.found) == (own.mask_path(first, "val"), "missing")


# ---------------------------------------------------------------- the published set


def test_the_published_digest_is_that_of_the_published_tables():
    published = read_json(REPOSITORY / "results" / "synthetic" / "data.json")
    assert SCENES.published[digest(published["key"])] == published["digest"]


def test_the_preset_s_own_set_has_a_published_digest():
    settings = load_preset("synthetic").data
    assert unlike_published(settings, SCENES.published[digest(data_key(settings))]) == ""


def test_another_drawing_of_the_published_set_is_told_from_it():
    said = unlike_published(load_preset("synthetic").data, "0" * 64)
    assert said.startswith("not the data set of the published numbers (sha256 4475c770e58cb6aa)")


def test_of_a_set_that_is_not_published_nothing_is_said():
    for settings in (TINY_DATA, load_preset("voc").data, replace(load_preset("synthetic").data, seed=1)):
        assert unlike_published(settings, "0" * 64) == ""
