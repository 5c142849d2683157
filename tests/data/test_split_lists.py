"""Other projects' list files, one by one: every format is read, and what is none says why."""

from pathlib import Path

import pytest

from swdb.data import split_lists
from swdb.data.split_lists import SplitList, Tally, read_list


def read(path: Path, content: str | bytes) -> SplitList | str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_list(path, path.parent)


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize(
    "content",
    [
        "2007_000032\n2007_000039\n",
        "2007_000032\n2007_000039",  # UniMatch's lists end without a line end
        "2007_000032.jpg\n2007_000039.JPG\n",
        "2007_000032.jpg 0\n2007_000039.jpg 0\n",  # SEC's
        "2007_000032 -1\n2007_000039  1\n",  # VOC's lists by class
        "2007_000032 0 14\n2007_000039 19\n",
        "JPEGImages/2007_000032.jpg SegmentationClass/2007_000032.png\nJPEGImages/2007_000039.jpg SegmentationClass/2007_000039.png\n",
        "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n/JPEGImages/2007_000039.jpg /SegmentationClassAug/2007_000039.png\n",
        "JPEGImages/2007_000032.jpg\tmasks/2007_000032.png\nJPEGImages/2007_000039.jpg\tmasks/2007_000039.png\n",
        "JPEGImages/2007_000032.jpg, masks/2007_000032.png\nJPEGImages/2007_000039.jpg,masks/2007_000039.png\n",
        "my images/2007_000032.jpg\tmy masks/2007_000032.png\nmy images/2007_000039.jpg,my masks/2007_000039.png\n",
        "JPEGImages\\2007_000032.jpg masks\\2007_000032.png\nJPEGImages\\2007_000039.jpg masks\\2007_000039.png\n",
        "2007_000032\r\n\r\n2007_000039\r\n",
        "\n  2007_000032  \n\n\t2007_000039\n\n",
        "\ufeff2007_000032\n2007_000039\n",
        "/my data/VOC 2012/2007_000032.jpg /my data/masks/2007_000032.png\n/my data/2007_000039.jpg /m m/2007_000039.png\n",
        "my data/2007_000032.jpg my masks/2007_000032.png\n'my data/2007_000039.jpg' \"my masks/2007_000039.png\"\n",
        "/my data/2007_000032.jpg\n/my data/2007_000039.jpg 3\n",
        "/my data/2007_000032\n/my data/2007_000039 3\n",
        "/my data/2007_000032 /my masks/2007_000032\n/my data/2007_000039 /my masks/2007_000039\n",
        "C:\\My Data\\2007_000032.jpg C:\\My Masks\\2007_000032.png\nC:\\My Data\\2007_000039.jpg 0\n",
        "i/2007_000032.jpg m/2007_000032.png e/2007_000032.png\ni/2007_000039.jpg m/2007_000039.png 1\n",
        "i/2007_000032.jpg,m/2007_000032.png,e/2007_000032.png\ni/2007_000039.jpg,m/2007_000039.png,1\n",
        "# two images, from nowhere\n2007_000032\n2007_000039\n",
    ],
)
def test_every_format_gives_the_same_ids(tmp_path, content):
    found = read(tmp_path / "list.txt", content)
    assert found.ids == ("2007_000032", "2007_000039")
    assert found.odd == found.duplicates == found.mismatched == Tally(0, None)


def test_ids_of_other_data_sets_are_ids(tmp_path):
    names = ("aachen_000000_000019_leftImg8bit", "000000391895", "60-09_größe_1")
    assert read(tmp_path / "list.txt", "".join(f"a/{name}.png\n" for name in names)).ids == names


def test_folders_of_masks_are_counted(tmp_path):
    content = "a/1.jpg x/Fine/1.png\na/2.jpg Fine/2.png\na/3.jpg /Aug/3.png\na/4.jpg 4.png\n5.jpg\n"
    assert read(tmp_path / "list.txt", content).mask_folders == {"Fine": 2, "Aug": 1, "(none)": 1}


@pytest.mark.parametrize("other", ["i/1.jpg m/2.png e/1.png", "i/1.jpg m/1.png e/2.png", "/a b/1.jpg /c d/2.png"])
def test_any_file_of_another_image_is_found(tmp_path, other):
    found = read(tmp_path / "list.txt", f"{other}\ni/3.jpg m/3.png e/3.png\n")
    assert found.ids == ("1", "3") and found.mismatched == Tally(1, other)


def test_a_line_of_prose_is_odd_whatever_it_ends_in(tmp_path):
    found = read(tmp_path / "list.txt", "a1\nb2\nthe image 2007_000032.jpg is wrong\nVOC 2012 a1\n")
    assert found.ids == ("a1", "b2") and found.odd.count == 2


def test_a_long_line_without_a_path_is_passed_over_at_once(tmp_path):
    assert "0 of 1 line" in read(tmp_path / "list.txt", "a b" * 2_000_000)


def test_a_repeated_id_is_counted_and_kept_once(tmp_path):
    found = read(tmp_path / "list.txt", "a1\nb2\na1.jpg\na1\nb2\n")
    assert found.ids == ("a1", "b2")
    assert found.duplicates == Tally(3, "a1")


def test_a_pair_of_two_images_is_counted_and_the_first_named(tmp_path):
    found = read(tmp_path / "list.txt", "a/1.jpg m/1.png\na/2.jpg m/3.png\na/4.jpg m/5.png\n")
    assert found.mismatched == Tally(2, "a/2.jpg m/3.png")
    assert found.ids == ("1", "2", "4")


def test_a_line_without_an_id_is_counted_and_the_first_named(tmp_path):
    found = read(tmp_path / "list.txt", "2007_000032\nsee the paper\n2007_000039\n")
    assert (found.ids, found.odd) == (("2007_000032", "2007_000039"), Tally(1, "see the paper"))


def test_a_line_that_would_disturb_a_terminal_is_made_printable(tmp_path):
    odd = read(tmp_path / "list.txt", f"2007_000032\n\x1b[31m{'x' * 500} y\n").odd
    assert odd.first.startswith("?[31mxxx") and len(odd.first) == 80


# ---------------------------------------------------------------- files that are not lists


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n \n# only a comment\n", "empty"),
        (b"\x89PNG\x00\x01", "binary"),
        ("2007_000032\n".encode("utf-16"), "binary"),
        ("größer\n".encode("latin-1"), "not UTF-8"),
        (b"Copyright (c) 2020, all rights reserved\n", "0 of 1 line with an image id"),
        (b"torch==1.1.0\ntqdm\nnumpy>=1.2\n", "0 of 3 lines"),
        (b"0.123 0.456\n0.1 0.2\n", "0 of 2 lines"),
        (b"2007_000032,aeroplane person\n2007_000039,tvmonitor\n", "0 of 2 lines"),
        (b"Lists for VOC.\nAn example:\n2007_000032\nwith much prose\n", "1 of 4 lines"),
        (b"image,mask\n2007_000032.jpg,2007_000032.png\n", "header (image,mask)"),
        (b"image\tclasses\n2007_000032\taeroplane\n", "header (image?classes)"),
    ],
)
def test_what_is_not_a_list_says_why(tmp_path, content, reason):
    found = read(tmp_path / "notes.txt", content)
    assert isinstance(found, str) and reason in found


def test_a_file_of_16_mib_is_read_and_a_byte_more_is_not(tmp_path, monkeypatch):
    assert split_lists.LARGEST == 16 * 2**20
    monkeypatch.setattr(split_lists, "LARGEST", 2**20)
    line = b"2007_000032\n"
    exact = line + b" " * (2**20 - len(line))
    assert read(tmp_path / "a.txt", exact).ids == ("2007_000032",)
    assert read(tmp_path / "a.txt", exact + b" ") == "larger than 1 MiB"


def test_a_file_of_too_many_lines_is_not_read(tmp_path):
    assert read(tmp_path / "a.txt", b"1\n" * 1_000_001) == "more than 1,000,000 lines"


def test_a_huge_file_is_not_read_to_its_end(tmp_path):
    with (tmp_path / "huge.txt").open("wb") as stream:
        stream.truncate(2**40)  # a sparse file: takes no room, but could not be held
    assert read_list(tmp_path / "huge.txt", tmp_path) == "larger than 16 MiB"


# ---------------------------------------------------------------- roles


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("labeled.txt", "labelled"),
        ("1_8/Labelled.txt", "labelled"),
        ("pseudoseg_labeled_1-8.txt", "labelled"),
        ("labeled1.txt", "labelled"),
        ("label.txt", "labelled"),
        ("1000_train_supervised.txt", "labelled"),
        ("train_sup.lst", "labelled"),
        ("unlabeled.txt", "unlabelled"),
        ("unlabelled.txt", "unlabelled"),
        ("train_unlabeled.txt", "unlabelled"),
        ("un_labeled.txt", "unlabelled"),
        ("1000_train_unsupervised.txt", "unlabelled"),
        ("unsup.txt", "unlabelled"),
        ("val.txt", "val"),
        ("voc_val_1449.txt", "val"),
        ("validation.txt", "val"),
        ("val_labeled.txt", "val"),
        ("train.txt", "other"),
        ("trainval.txt", "other"),
        ("train_val.txt", "other"),
        ("semi-supervised.txt", "other"),
        ("interval.txt", "other"),
        ("support.txt", "other"),
        ("unlabeled/val/train.txt", "other"),
    ],
)
def test_the_file_s_name_says_the_role(tmp_path, name, role):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("2007_000032\n")
    assert read_list(path, tmp_path).role == role
