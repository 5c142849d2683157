"""What a data set says of itself: where its files lie, and which classes a preset keeps of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from voc_tree import DATA

from swdb.data.facts import ALL_SPLIT, LISTS, STRONG_SPLIT, VAL_SPLIT, Layout
from swdb.data.kinds import KINDS
from swdb.data.synthetic import SCENES
from swdb.data.voc import VOC2012
from swdb.specs.presets import load_preset

ROOT = Path("root")
LAYOUT = Layout(
    images="pictures/{}.png",
    masks={STRONG_SPLIT: "fine/{}.png", ALL_SPLIT: "coarse/{}.png", VAL_SPLIT: "held out/{}.png"},
    lists="lists of {}.txt",
)


def test_the_splits_are_called_as_in_the_lists_of_voc_and_the_strong_one_leads():
    assert LISTS == ("train", "train_aug", "val") == (STRONG_SPLIT, ALL_SPLIT, VAL_SPLIT)


def test_files_lie_below_the_root_where_the_layout_says():
    assert LAYOUT.image_path(ROOT, "a") == ROOT / "pictures" / "a.png"
    assert LAYOUT.list_path(ROOT, "val") == ROOT / "lists of val.txt"


@pytest.mark.parametrize(("split", "folder"), [("train", "fine"), ("train_aug", "coarse"), ("val", "held out")])
def test_every_split_has_its_own_place_for_masks(split, folder):
    assert LAYOUT.mask_path(ROOT, "a", split) == ROOT / folder / "a.png"


def test_without_a_choice_all_classes_are_kept():
    assert VOC2012.class_names(DATA) == list(VOC2012.classes)
    assert SCENES.class_names(load_preset(TINY).data) == list(SCENES.classes)


def test_fewer_classes_without_names_are_the_first_ones():
    assert VOC2012.class_names(replace(DATA, num_classes=3)) == ["background", "aeroplane", "bicycle"]


def test_chosen_classes_are_kept_in_the_order_given_behind_the_background():
    settings = replace(DATA, num_classes=3, classes=("dog", "cat"))
    assert VOC2012.class_names(settings) == ["background", "dog", "cat"]


@pytest.mark.parametrize("facts", KINDS.values(), ids=KINDS)
def test_the_facts_of_every_kind_are_complete(facts):
    assert facts.title and facts.classes[0] == "background" and len(set(facts.classes)) == len(facts.classes) <= 254
    assert facts.palette.shape == (256, 3) and facts.palette.dtype == np.uint8
    assert set(facts.layout.masks) == set(LISTS) >= set(facts.bordered)
    assert facts.official is None or facts.official.counts.keys() == facts.official.digests.keys() == set(LISTS)
    assert bool(facts.version) is facts.synthetic  # what is drawn here says by which drawing
