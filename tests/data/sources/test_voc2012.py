"""What VOC 2012 tells before anything is taken: lists, tags, which files are there; and lists that replace its own."""

from pathlib import Path

import pytest
import voc_tree
from voc_tree import TRAIN, TRAIN_AUG, VAL

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.data.prepare import prepare
from swdb.data.sources.voc2012 import Sources, id_in, sbd_source

LISTS = {"train": TRAIN[:1], "train_aug": [TRAIN[0], TRAIN_AUG[3]], "val": VAL[1:]}


def silent(name: str, total: int, counts: bool = False):
    """Stages whose progress nobody looks at."""
    return lambda done, of: None


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
        (folder / f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids))
    return folder


def taken(official: Path, lists: Path, root: Path, sbd: str):
    from dataclasses import replace

    data = replace(voc_tree.DATA, num_strong=1, num_train=2, num_val=1)
    sources = Sources(official / voc_tree.NAMES["voc"], official / sbd, lists=lists)
    return prepare(data, root, sources, silent)


@pytest.mark.parametrize("sbd", ["benchmark.tgz", "benchmark_RELEASE", "SegmentationClassAug.zip"])
def test_lists_that_are_named_go_before_those_of_the_sources(official, lists, tmp_path, sbd):
    found = taken(official, lists, tmp_path / "mini", sbd)
    assert {split: found.ids(split) for split in LISTS} == LISTS
    masks = sorted(path.stem for path in voc_tree.kit(found.root).rglob("*.png"))
    assert masks == sorted(LISTS["train_aug"] + LISTS["val"])


@pytest.mark.parametrize("split", LISTS)
def test_a_named_list_that_is_missing_is_named(official, lists, tmp_path, split):
    (lists / f"{split}.txt").unlink()
    with pytest.raises(MissingArtefact, match=rf"--lists .*: {split}\.txt is missing"):
        taken(official, lists, tmp_path / "mini", "benchmark.tgz")


@pytest.mark.parametrize(
    ("split", "text", "words"),
    [
        ("train", "", "train.txt is empty"),
        ("val", f"{VAL[1]}\n{VAL[1]}\n", "val.txt names 2007_000006 twice"),
        ("val", f"{TRAIN[0]}\n", "in both train.txt and val.txt"),
        ("train_aug", f"{TRAIN_AUG[3]}\n", "train_aug.txt lacks 1 images of train.txt"),
        ("train_aug", f"{TRAIN[0]}\n2011_999999\n", "image 2011_999999 has no image-level labels"),
        ("val", "2011_999999\n", "JPEGImages/2011_999999.jpg is missing"),
    ],
)
def test_a_faulty_named_list_is_refused_in_one_line(official, lists, tmp_path, split, text, words):
    (lists / f"{split}.txt").write_text(text)
    with pytest.raises(BadInput) as caught:
        taken(official, lists, tmp_path / "mini", "benchmark.tgz")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_other_lists_are_other_sources(official, lists, tmp_path):
    plain, named = Sources(official), Sources(official, lists=lists)
    assert plain.identity() != named.identity()
    assert f"--lists {lists}" in named.options() and "--lists" not in plain.options()


def test_where_sbd_is_not_named_its_masks_are_looked_for_in_voc():
    assert sbd_source(Sources(Path("voc")))[:2] == (Path("voc"), "--voc")
    assert sbd_source(Sources(Path("voc"), Path("sbd")))[:2] == (Path("sbd"), "--sbd")


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("benchmark_RELEASE/dataset/cls/2008_000002.mat", "2008_000002"),
        ("benchmark_RELEASE/dataset/inst/2008_000002.mat", None),
        ("SegmentationClassAug/2008_000002.png", "2008_000002"),
        ("2008_000002.png", "2008_000002"),
        ("__MACOSX/._2008_000002.png", None),
        ("SegmentationClassAug/readme.txt", None),
    ],
)
def test_what_is_a_mask_of_sbds_is_told_by_its_name(name, image_id):
    assert id_in(sbd_source(Sources(Path("voc"), Path("sbd")))[2], name) == image_id


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SwdbError, match="nowhere"):
        prepare(voc_tree.DATA, tmp_path / "mini", Sources(tmp_path / "nowhere"), silent)


def test_lists_in_no_folder_are_named(official, tmp_path):
    with pytest.raises(BadInput, match=r"--lists .*nowhere: no such folder; expected one with train\.txt, train_aug"):
        prepare(voc_tree.DATA, tmp_path / "mini", Sources(official, lists=tmp_path / "nowhere"), silent)


@pytest.mark.parametrize("odd", ["../../secret", "2008_000002.jpg;", "a/b"])
def test_a_list_with_what_is_no_id_is_refused(official, lists, tmp_path, odd):
    (lists / "train.txt").write_text(f"{TRAIN[0]}\n{odd}\n")
    with pytest.raises(BadInput) as caught:
        taken(official, lists, tmp_path / "mini", "benchmark.tgz")
    assert "train.txt" in str(caught.value) and repr(odd) in str(caught.value)


def test_where_a_part_has_fewer_images_than_its_preset_says_one_that_was_left_out_is_named(official, lists, tmp_path):
    from dataclasses import replace

    (lists / "train.txt").write_text(f"{TRAIN[0]}\n2011_999999\n")
    (lists / "train_aug.txt").write_text(f"{TRAIN[0]}\n2011_999999\n{TRAIN_AUG[3]}\n")
    data = replace(voc_tree.DATA, num_strong=2, num_train=3, num_val=1, available_only=True)
    sources = Sources(official / voc_tree.NAMES["voc"], official / "benchmark.tgz", lists=lists)
    with pytest.raises(BadInput) as caught:
        prepare(data, tmp_path / "mini", sources, silent)
    message = str(caught.value)
    assert "train.txt has 1 ids, expected 2; 2011_999999 was left out, for its image or mask is not there" in message
    assert "--available-only --name" in message and "\n" not in message


def test_an_image_without_a_kept_tag_is_left_out_for_that(official, tmp_path):
    from dataclasses import replace

    data = replace(voc_tree.DATA, num_classes=2, classes=("bicycle",), num_strong=2, num_train=2, num_val=1)
    sources = Sources(official / voc_tree.NAMES["voc"], official / "benchmark.tgz")
    with pytest.raises(
        BadInput, match=r"train\.txt has 1 ids, expected 2; \w+ was left out, for it has no tag that is"
    ):
        prepare(data, tmp_path / "mini", sources, silent)


def test_a_part_by_masks_is_taken_again_by_the_numbers_that_were_counted(official, tmp_path):
    from dataclasses import replace

    part = replace(voc_tree.DATA, classes=("aeroplane",), num_classes=2, num_strong=0, num_train=0, num_val=0)
    sources = Sources(official / voc_tree.NAMES["voc"], official / "benchmark.tgz", image_labels="masks")
    first = prepare(part, tmp_path / "first", sources, silent)
    assert first.manifest["counts"] == {"train": 1, "train_aug": 1, "val": 1}  # of 2, 4 and 2, as their masks show
    again = prepare(first.data, tmp_path / "again", sources, silent)
    assert again.manifest["tree_root"] == first.manifest["tree_root"]
