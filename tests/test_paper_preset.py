"""Everything at the paper's preset, from the official archives to the four tables: only sizes and steps are reduced."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import voc_tree
from commands import the_error, the_hint
from conftest import swdb
from PIL import Image
from voc_tree import TRAIN, TRAIN_AUG, VAL

from swdb.data.voc import CLASSES
from swdb.specs.presets import PRESETS
from swdb.specs.tables import load_tables, measured_cells

# What is reduced: images, steps, batch, crop; and the weights are random, for a download has no place in a test.
REDUCED = {
    "num_strong = 1464": "num_strong = 2",
    "num_train = 10582": "num_train = 4",
    "num_val = 1449": "num_val = 2",
    'weights = "imagenet"': 'weights = "random"',
    "steps = 13228": "steps = 2",
    "steps = 6614": "steps = 2",
    "batch = 16": "batch = 2",
    "crop = 328": "crop = 16",
    "cam_sizes = [241, 321, 401]": "cam_sizes = [16]",
    "size = 321": "size = 24",
    "test_sizes = [241, 321, 401]": "test_sizes = [24]",
    "dilations = [6, 12, 18, 24]": "dilations = [1, 2, 3, 4]",
    "head_channels = 1024\nhead_init": "head_channels = 16\nhead_init",
    "neck_channels = 512": "neck_channels = 16",
    "head_channels = 1024\nhead_dilation": "head_channels = 16\nhead_dilation",
    "steps = 8000": "steps = 2",
    "batch = 20": "batch = 2",
    "retrain_steps = 20000": "retrain_steps = 2",
    "retrain_batch = 10": "retrain_batch = 2",
    "size = 320\nwindow = 350\nkernel = 7": "size = 64\nwindow = 70\nkernel = 2",
    "recognizer_channels = 4096": "recognizer_channels = 16",
    "recognizer_batch = 64": "recognizer_batch = 2",
    "\nchannels = 2048": '\nchannels = 16\nsubsets = "single"\nmost_classes = 16',
    "steps = [5500, 7500, 15000]": "steps = [2, 2, 2]",
    "batch = 64\nnorm_images = 4\nnorm_batches = 101": "batch = 2\nnorm_images = 2\nnorm_batches = 2\nnorm_batch = 2",
}


def paint_every_class(folder: Path) -> None:
    """Let the strong images show all classes, half of them each: DecoupledNet asks for every class."""
    for image_id, labels in zip(TRAIN, np.arange(1, len(CLASSES)).reshape(2, -1), strict=True):
        path = voc_tree.mask_file(folder, image_id)
        mask = np.array(Image.open(path))
        mask[-1, : len(labels)] = labels
        voc_tree.save_mask(path, mask)
    voc_tree.pack(folder)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The output of preparing, and the four tables as JSON, printed from the archives of a tiny VOC 2012 and SBD."""
    folder = tmp_path_factory.mktemp("paper")
    text = (PRESETS / "voc.toml").read_text()
    for old, new in REDUCED.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "voc.toml").write_text(text)
    official = voc_tree.build_official(folder / "official")
    paint_every_class(official)
    labels = [f"{image_id},{' '.join(CLASSES[1:])}\n" for image_id in TRAIN_AUG + VAL]  # no class may be without image
    (folder / "labels.csv").write_text("image,classes\n" + "".join(labels))
    options = ["--preset", folder / "voc.toml", "--workdir", folder / "work"]
    sources = [word for key, name in voc_tree.NAMES.items() for word in (f"--{key}", official / name)]
    prepared = swdb("prepare-voc", *options, *sources, "--image-labels", folder / "labels.csv")
    assert prepared.returncode == 0, prepared.stderr
    run = ["--precision", "fp32", "--device", "cpu", "--seeds", "1", "--format", "json"]
    printed = swdb("reproduce-table", "all", *options, *run)
    assert printed.returncode == 0, printed.stderr
    yield (
        prepared.stdout,
        json.loads(printed.stdout),
        sorted(path.parent.name for path in folder.glob("work/runs/*/done.json")),
    )
    shutil.rmtree(folder / "work")  # networks of VGG16's size


def test_the_archives_become_the_papers_data_set(tables):
    prepared, _, _ = tables
    assert "2 strong, 4 training, 2 validation images" in prepared
    assert "images: 2 strong + 2 weak, 2 val; none in both train and val" in prepared


def test_all_twenty_one_trainings_are_run(tables):
    _, _, runs = tables
    assert len(runs) == 21
    assert sum(name.startswith("dual") for name in runs) == 9
    assert sum(name.startswith("decoupled") for name in runs) == 3


def test_every_measured_cell_of_the_four_tables_has_a_value(tables):
    _, printed, _ = tables
    assert [table["table"] for table in printed] == [1, 2, 3, 4]
    values = [value for table in printed for row in table["rows"] for value in row["values"].values()]
    measured = [value for value in values if value["by_seed"]]
    assert (len(measured), len(values)) == (len(measured_cells(load_tables())), 35) == (30, 35)
    assert all(0 <= value["mean"] <= 100 and list(value["by_seed"]) == ["0"] for value in measured)


def test_tables_at_the_papers_preset_are_comparable_to_the_paper(tables):
    _, printed, _ = tables
    assert all(table["comparable_to_paper"] for table in printed)
    assert len({table["data_sha256"] for table in printed}) == 1


def test_without_voc_the_error_says_what_is_missing_and_the_hint_how_to_get_it(tmp_path: Path):
    result = swdb("reproduce-table", "2", "--preset", "voc", "--workdir", tmp_path / "work")
    assert result.returncode == 3
    assert "not prepared yet" in the_error(result)
    assert "swdb prepare-voc --download --preset voc" in the_hint(result)
