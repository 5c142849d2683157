"""Opening a prepared data set: its lists, image-level labels, pictures and masks."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from PIL import Image
from voc_tree import DATA, image_file, kit, list_file

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.data import dataset, synthetic
from swdb.data.dataset import load
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.specs.presets import load_preset

TINY_DATA = load_preset(TINY).data  # 12 strong, 32 training and 6 val images of 32 x 32 pixels
NAMES = ["background", "alpha", "beta", "gamma", "delta", "epsilon"]


def silent(name: str, total: int, counts: bool = False):
    """Stages whose progress nobody looks at."""
    return lambda done, of: None


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> dataset.DataSet:
    """The tiny drawn data set (read only)."""
    return prepare(TINY_DATA, tmp_path_factory.mktemp("work") / "data" / "tiny", NO_SOURCES, silent)


def files_of(root: Path) -> dict[str, bytes]:
    """All files below a folder, by name."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def labels_of(path: Path) -> set[int]:
    """The values of a mask, read with Pillow alone."""
    return set(np.unique(np.asarray(Image.open(path))).tolist())


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
    with pytest.raises(MissingArtefact, match=r"run: swdb prepare-voc --preset mini\.toml --download, .*--voc DIR"):
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
