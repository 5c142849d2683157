"""Facts of PASCAL VOC 2012, against values typed from the development kit."""

from pathlib import Path

from swdb.data import voc

# The colours of classes 0 to 20 in the official masks.
COLOURS = [
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
    (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128),
    (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128),
]  # fmt: skip


def test_the_palette_holds_the_official_colours():
    assert [tuple(colour) for colour in voc.palette()[:21].tolist()] == COLOURS


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


def test_the_void_value_is_no_class():
    assert voc.IGNORE == 255


def test_files_lie_where_the_official_archive_has_them():
    root = Path("root")
    assert voc.image_path(root, "2007_000032") == Path("root/VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg")
    assert voc.split_path(root, "train_aug") == Path("root/VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt")


def test_val_is_scored_on_voc_s_own_masks_and_trained_on_the_augmented_ones():
    # SBD's masks of val images exist too; scoring on them would be another benchmark.
    kit = Path("root/VOCdevkit/VOC2012")
    assert voc.mask_path(Path("root"), "a", "val") == kit / "SegmentationClass/a.png"
    assert voc.mask_path(Path("root"), "a", "train") == kit / "SegmentationClassAug/a.png"
    assert voc.mask_path(Path("root"), "a", "train_aug") == kit / "SegmentationClassAug/a.png"
