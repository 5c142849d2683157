"""Facts of PASCAL VOC 2012, against values typed from the development kit."""

from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED

from swdb.core.files import digest
from swdb.data import voc
from swdb.data.facts import LISTS
from swdb.data.voc import VOC2012

# The colours of classes 0 to 20 in the official masks.
COLOURS = [
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
    (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128),
    (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128),
]  # fmt: skip
LAYOUT, KIT = VOC2012.layout, Path("root/VOCdevkit/VOC2012")


def test_the_palette_holds_the_official_colours():
    assert [tuple(colour) for colour in voc.palette()[:21].tolist()] == COLOURS
    assert np.array_equal(VOC2012.palette, voc.palette())


def test_the_void_border_is_cream():
    assert voc.palette()[voc.IGNORE].tolist() == [224, 224, 192]


def test_no_two_labels_share_a_colour():
    colours = voc.palette()
    assert colours.shape == (256, 3) and colours.dtype == "uint8"
    assert len({tuple(colour) for colour in colours.tolist()}) == 256


def test_classes_stand_at_their_official_numbers():
    assert len(voc.CLASSES) == len(set(voc.CLASSES)) == voc.MAX_CLASS + 1 == 21
    numbers = {"background": 0, "aeroplane": 1, "bicycle": 2, "cat": 8, "diningtable": 11, "person": 15, "sofa": 18}
    assert {name: voc.CLASSES.index(name) for name in numbers} == numbers
    assert voc.CLASSES[20] == "tvmonitor"
    assert VOC2012.classes == voc.CLASSES


def test_the_void_value_is_not_a_class():
    assert voc.IGNORE == 255


def test_files_lie_where_the_official_archive_has_them():
    assert LAYOUT.image_path(Path("root"), "2007_000032") == KIT / "JPEGImages/2007_000032.jpg"
    assert LAYOUT.list_path(Path("root"), "train_aug") == KIT / "ImageSets/Segmentation/train_aug.txt"


def test_val_is_scored_on_voc_s_own_masks_and_trained_on_the_augmented_ones():
    # SBD's masks of val images exist too; scoring on them would be another benchmark.
    assert LAYOUT.mask_path(Path("root"), "a", "val") == KIT / "SegmentationClass/a.png"
    assert LAYOUT.mask_path(Path("root"), "a", "train") == KIT / "SegmentationClassAug/a.png"
    assert LAYOUT.mask_path(Path("root"), "a", "train_aug") == KIT / "SegmentationClassAug/a.png"


def test_the_border_tells_voc_s_own_masks_in_train_and_val_but_not_in_train_aug():
    assert set(VOC2012.bordered) == {"train", "val"}


def test_kept_classes_are_numbered_in_the_order_given_and_the_others_become_void():
    table = voc.kept_labels(("dog", "cat"))
    assert table.shape == (256,) and table.dtype == np.uint8
    kept = {0: 0, voc.CLASSES.index("dog"): 1, voc.CLASSES.index("cat"): 2}
    assert {label: table[label] for label in kept} == kept
    assert all(table[label] == voc.IGNORE for label in range(256) if label not in kept)


def test_where_all_classes_are_kept_no_label_changes():
    assert voc.kept_labels(()) is None


def test_the_official_counts_are_those_of_the_development_kit_and_the_augmented_list():
    assert VOC2012.official.counts == {"train": 1464, "train_aug": 10582, "val": 1449}


@pytest.mark.parametrize("split", LISTS)
def test_the_official_digests_are_those_of_the_real_lists(split):
    path = SHARED / "data" / "lists" / f"{split}.txt"
    if not path.is_file():
        pytest.skip("the lists of PASCAL VOC are not here")
    ids = path.read_text().split()
    assert len(ids) == VOC2012.official.counts[split]
    assert digest(sorted(ids)) == VOC2012.official.digests[split]
