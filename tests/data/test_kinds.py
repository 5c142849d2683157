"""Kinds of data sets: what a preset cannot ask of one, and that another kind is its facts and an importer."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from PIL import Image

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, NotMade
from swdb.core.files import read_json, write_json
from swdb.core.progress import Progress, silent
from swdb.data import kinds, prepare
from swdb.data.audit import lines, verify
from swdb.data.dataset import DataSet, data_key, load, write_lists, write_tags
from swdb.data.facts import LISTS, Facts, Fault, Layout
from swdb.data.images import masks_digest, palette_png, read_mask
from swdb.data.kinds import KINDS, check_settings, facts_of
from swdb.data.sources.voc2012 import Sources
from swdb.data.store import proxy_masks, training_store
from swdb.data.voc import CLASSES
from swdb.evaluation import figures
from swdb.specs.presets import Data, Preset, load_preset, preset_names

SYNTHETIC, VOC, ANIMALS = (load_preset(name) for name in (TINY, "voc", "voc-animals-dev"))


def changed(preset: Preset, group: str, **values) -> Preset:
    """Return a preset with other settings in one of its groups."""
    return replace(preset, **{group: replace(getattr(preset, group), **values)})


def refused(preset: Preset) -> BadInput:
    """Return the error with which a preset's settings are refused; it fits a line and names the preset."""
    with pytest.raises(BadInput) as caught:
        check_settings(preset)
    assert "\n" not in str(caught.value) and f"preset {preset.name}" in str(caught.value.subject)
    return caught.value


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("name", [*preset_names(), TINY])
def test_the_settings_of_every_preset_are_those_of_its_data_set(name):
    check_settings(load_preset(name))


def test_every_kind_has_an_importer_and_is_called_as_its_facts_say():
    assert KINDS.keys() == prepare.IMPORTERS.keys() == {facts.kind for facts in KINDS.values()}
    assert all(KINDS[kind].kind == kind for kind in KINDS)


@pytest.mark.parametrize(("preset", "kind"), [(SYNTHETIC, "synthetic"), (VOC, "voc"), (ANIMALS, "voc")])
def test_the_facts_are_those_of_the_kind_that_the_preset_names(preset, kind):
    assert facts_of(preset.data) is KINDS[kind]


@pytest.mark.parametrize(("word", "near"), [("sinthetic", "synthetic"), ("VOC", ""), ("vocs", "voc")])
def test_an_unknown_kind_gets_the_nearest_one(word, near):
    error = refused(changed(SYNTHETIC, "data", dataset=word))
    assert "'data.dataset'" in error.subject and f"'{word}'" in str(error)
    assert (error.found, error.near) == ("unknown", near)
    assert near or error.expected == "synthetic, voc"


PARTS = ("num_classes", "classes", "require", "available_only", "holdout")
MISTAKES = {  # the preset, its group, what is set, the key that is named, a part of what is found and of what is expected
    "drawn classes in another number": (SYNTHETIC, "data", {"num_classes": 5}, "data.num_classes", "5", "6"),
    "more classes than are drawn": (SYNTHETIC, "data", {"num_classes": 22}, "data.num_classes", "22", "6"),
    "classes of a synthetic set": (SYNTHETIC, "data", {"classes": ("alpha",)}, "data.classes", "alpha", "none"),
    "requirements of a synthetic set": (SYNTHETIC, "data", {"require": ("alpha",)}, "data.require", "alpha", "none"),
    "what is available of a synthetic set": (
        SYNTHETIC, "data", {"available_only": True}, "data.available_only", "True", "none",
    ),
    "held out of a synthetic set": (SYNTHETIC, "data", {"holdout": 6}, "data.holdout", "6", "none"),
    "more classes than VOC has": (VOC, "data", {"num_classes": 22}, "data.num_classes", "22", "21"),
    "unknown class": (ANIMALS, "data", {"classes": (*ANIMALS.data.classes[:-1], "persona")}, "data.classes", "'persona'", "person"),
    "background as a class": (
        ANIMALS, "data", {"classes": (*ANIMALS.data.classes[:-1], "background")}, "data.classes", "'background'", "person",
    ),
    "more classes than are counted": (ANIMALS, "data", {"num_classes": 6}, "data.num_classes", "6", "7"),
    "fewer classes than are counted": (ANIMALS, "data", {"num_classes": 21}, "data.num_classes", "21", "7"),
    "unknown required class": (VOC, "data", {"require": ("kat",)}, "data.require", "'kat'", "cat"),
    "a required class that is not kept": (
        ANIMALS, "data", {"require": ("bus",)}, "data.require", "'bus'", ", ".join(sorted(ANIMALS.data.classes)),
    ),
    "badges of photographs": (VOC, "data", {"badge_radius": (6.0, 8.0)}, "data.badge_radius", "(6.0, 8.0)", "none: photographs"),
    "pretext weights for real images": (VOC, "network", {"weights": "pretext"}, "network.weights", "'pretext'", "synthetic"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_the_data_set_cannot_have_is_named_with_preset_and_key(mistake):
    preset, group, values, key, found, expected = MISTAKES[mistake]
    error = refused(changed(preset, group, **values))
    assert f"'{key}'" in error.subject and found in error.found and expected in (error.near or error.expected)


@pytest.mark.parametrize(
    ("preset", "group", "values"),
    [
        (VOC, "data", {"num_classes": 6}),  # the first ones
        (VOC, "data", {"require": ("cat",)}),
        (VOC, "data", {"classes": ("dog", "cat"), "num_classes": 3, "require": ("dog",)}),
        (VOC, "data", {"available_only": True}),
        (VOC, "network", {"weights": "random"}),
        (SYNTHETIC, "network", {"weights": "random"}),
        (SYNTHETIC, "data", {"badge_radius": (6.0, 8.0)}),
    ],
)
def test_parts_that_there_can_be_are_accepted(preset, group, values):
    check_settings(changed(preset, group, **values))


# ---------------------------------------------------------------- another kind: a file of facts, and an importer

# The first file.
SHAPES = ("background", "circle", "square")
PALETTE = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)], 1).astype(np.uint8)
ONLY_SHAPES = f"at most {len(SHAPES)}"


def toy_faults(settings: Data) -> Iterator[Fault]:
    if settings.num_classes > len(SHAPES):
        yield Fault("num_classes", f"found {settings.num_classes}", ONLY_SHAPES)


TOY = Facts(
    kind="toy",
    title="toy shapes",
    classes=SHAPES,
    palette=PALETTE,
    layout=Layout(
        images="pictures/{}.png",
        masks={"train": "labels/{}.png", "train_aug": "labels/{}.png", "val": "labels of val/{}.png"},
        lists="splits/{}.lst",
    ),
    faults=toy_faults,
    bordered=("val",),
)


# The second file.
def import_toy(settings: Data, sources: Sources, root: Path, progress: Progress) -> str:
    """Copy images and masks from a folder, and read the tags off the masks."""
    lists = {split: (sources.voc / f"{split}.txt").read_text().split() for split in LISTS}
    advance, tags = progress("copy the toy", len(lists["train_aug"]) + len(lists["val"])), {}
    for split in ("train_aug", "val"):
        for image_id in lists[split]:
            for target, folder in (
                (TOY.layout.image_path(root, image_id), "rgb"),
                (mask_of(root, image_id, split), "gt"),
            ):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(sources.voc / folder / target.name, target)
            shown = np.unique(read_mask(mask_of(root, image_id, split), settings.num_classes))
            tags[image_id] = [SHAPES[label] for label in shown if 0 < label < 255]
            advance(len(tags), 0)
    write_lists(TOY, root, lists)
    write_tags(root, tags)
    return "shapes"


def mask_of(root: Path, image_id: str, split: str) -> Path:
    return TOY.layout.mask_path(root, image_id, split)


IDS = {"train": ["one", "two"], "train_aug": ["one", "two", "three"], "val": ["four"]}
LABELS = {"one": 1, "two": 2, "three": 1, "four": 2}
SIZE = {"one": (8, 10), "two": (10, 10), "three": (10, 6), "four": (5, 9)}
TOY_DATA = Data(dataset="toy", name="shapes", num_classes=3, num_strong=2, num_train=3, num_val=1, image_size=10)


def toy_mask(image_id: str) -> np.ndarray:
    """Return a square of the image's class with a void border, in background."""
    mask = np.zeros(SIZE[image_id], np.uint8)
    mask[1:4, 1:4] = 255
    mask[2, 2] = LABELS[image_id]
    return mask


def toy_image(image_id: str) -> np.ndarray:
    return np.random.default_rng(LABELS[image_id]).integers(0, 256, (*SIZE[image_id], 3)).astype(np.uint8)


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    """A folder of four images, with their kind registered."""
    monkeypatch.setitem(kinds.KINDS, "toy", TOY)
    monkeypatch.setitem(prepare.IMPORTERS, "toy", import_toy)
    folder = tmp_path / "download"
    for name in ("rgb", "gt"):
        (folder / name).mkdir(parents=True)
    for image_id in LABELS:
        Image.fromarray(toy_image(image_id)).save(folder / "rgb" / f"{image_id}.png")
        (folder / "gt" / f"{image_id}.png").write_bytes(palette_png(toy_mask(image_id), PALETTE))
    for split, ids in IDS.items():
        (folder / f"{split}.txt").write_text("\n".join(ids))
    return folder


@pytest.fixture
def toy(source, tmp_path) -> DataSet:
    """The toy data set, prepared and opened again."""
    root = tmp_path / "data" / "shapes"
    prepare.prepare(TOY_DATA, root, Sources(source), silent)
    return load(TOY_DATA, root)


def test_another_kind_is_prepared_in_its_own_layout(toy):
    files = {path.relative_to(toy.root).as_posix() for path in toy.root.rglob("*") if path.is_file()}
    assert files == {
        "manifest.json", "audit.json", "image_labels.csv",
        *(f"splits/{split}.lst" for split in IDS),
        *(f"pictures/{image_id}.png" for image_id in LABELS),
        *(f"labels/{image_id}.png" for image_id in IDS["train_aug"]), "labels of val/four.png",
    }  # fmt: skip


def test_its_ids_tags_images_and_masks_are_read_by_its_own_facts(toy):
    assert toy.facts is TOY and toy.class_names == list(SHAPES)
    assert {split: toy.ids(split) for split in IDS} == IDS
    assert toy.tags(["two", "one"]).tolist() == [[False, True], [True, False]]
    assert np.array_equal(toy.image("four"), toy_image("four"))
    assert np.array_equal(toy.mask("four", "val"), toy_mask("four"))
    assert np.array_equal(toy.mask("one", "train"), toy_mask("one"))


def test_its_audit_counts_its_classes_and_its_borders(toy):
    report = verify(toy, silent)
    assert report["images"] == {"strong": 2, "weak": 1, "val": 1}
    assert report["image_labels"]["from"] == "shapes"
    assert report["image_labels"]["images_by_tag"] == {"circle": 2, "square": 2}
    assert report["image_labels"]["images_with_an_untagged_class_in_the_mask"] == 0
    assert any("circle 2, square 2" in line for line in lines(report))
    assert report["tree_root"] == toy.digest
    assert set(read_json(toy.root / "audit.json")["texts"]) == {"image_labels.csv", *(f"splits/{s}.lst" for s in IDS)}


def test_its_own_border_is_asked_for_where_its_facts_say_so(toy, source, tmp_path):
    (source / "gt" / "one.png").write_bytes(palette_png(np.where(toy_mask("one") == 255, 0, toy_mask("one")), PALETTE))
    prepare.prepare(TOY_DATA, tmp_path / "data" / "train", Sources(source), silent)  # not of its training images
    (source / "gt" / "four.png").write_bytes(palette_png(np.zeros(SIZE["four"], np.uint8), PALETTE))
    with pytest.raises(BadInput) as caught:
        prepare.prepare(TOY_DATA, tmp_path / "data" / "val", Sources(source), silent)
    assert caught.value.subject == "splits/val.lst" and caught.value.expected == TOY.own_masks


def test_a_faulty_file_of_another_kind_is_named_as_its_layout_has_it(source, tmp_path):
    (source / "rgb" / "three.png").write_bytes(b"not an image")
    with pytest.raises(BadInput) as caught:
        prepare.prepare(TOY_DATA, tmp_path / "data" / "shapes", Sources(source), silent)
    assert caught.value.subject == "pictures/three.png"


def test_its_training_images_and_proxies_are_decoded(toy, tmp_path):
    store = training_store(toy, 0, silent())
    assert store.ids == IDS["train_aug"] and store.sizes.tolist() == [list(SIZE[i]) for i in IDS["train_aug"]]
    assert np.array_equal(store.images[2, :10, :6], toy_image("three"))
    assert np.array_equal(store.masks[0, :8, :10], toy_mask("one"))
    proxies = Artefact("proxies", "dsrg-1", "dsrg-1-0123456789", tmp_path / "proxies")
    proxies.folder.mkdir()
    for image_id in store.ids:
        (proxies.folder / f"{image_id}.png").write_bytes(palette_png(toy_mask(image_id), toy.facts.palette))
    write_json(proxies.record, {"digest": masks_digest(proxies.folder)})
    assert np.array_equal(proxy_masks(proxies, toy, store), store.masks)


def test_its_figures_show_its_colours(toy, tmp_path):
    path = tmp_path / "figure.png"
    guess = np.full(SIZE["four"], 1, np.uint8)
    figures.figure(path, toy, ["four"], {"guess": {"four": guess}})
    sheet = np.asarray(Image.open(path))
    tiles = [sheet[figures.TITLE :, k * (figures.TILE + figures.GAP) :][: figures.TILE, : figures.TILE] for k in (1, 2)]
    shown = [{tuple(colour) for colour in np.unique(tile.reshape(-1, 3), axis=0).tolist()} for tile in tiles]
    white = (255, 255, 255)
    assert shown == [
        {white, *(tuple(PALETTE[label].tolist()) for label in (0, 2, 255))},
        {white, tuple(PALETTE[1].tolist())},
    ]


def test_its_settings_are_checked_by_its_own_facts_and_enter_its_id(source):
    preset = replace(VOC, name="shapes", data=TOY_DATA)
    check_settings(preset)
    error = refused(changed(preset, "data", num_classes=4))
    assert "'data.num_classes'" in error.subject and error.expected == ONLY_SHAPES
    assert "'network.weights'" in refused(changed(preset, "network", weights="pretext")).subject
    assert data_key(TOY_DATA)["dataset"] == "toy" and not set(SHAPES[1:]) & set(CLASSES)


def test_without_a_source_it_is_not_made(source, tmp_path):
    with pytest.raises(NotMade) as caught:
        prepare.prepare(TOY_DATA, tmp_path / "shapes", prepare.NO_SOURCES, silent)
    assert caught.value.subject == tmp_path / "shapes"
