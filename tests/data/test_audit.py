"""The audit of a prepared data set: what it reports, what it refuses, what it reads a second time."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import voc_tree
from conftest import TINY
from PIL import Image
from voc_tree import DATA, SIZES, TRAIN, TRAIN_AUG, VAL, image_file, list_file
from voc_tree import prepared_mask as mask_file

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.core.files import digest, file_digest, tree_root
from swdb.core.progress import silent
from swdb.data import audit as audits
from swdb.data.audit import audit, contents, lines, verify
from swdb.data.dataset import DataSet, load, read_tags, write_tags
from swdb.data.facts import Official
from swdb.data.images import palette_png, read_mask
from swdb.data.kinds import KINDS
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.data.sources.voc2012 import Sources
from swdb.data.voc import CLASSES, VOC2012
from swdb.specs.presets import load_preset

ALL = TRAIN_AUG + VAL


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """A prepared data set of six real images (read only)."""
    folder = tmp_path_factory.mktemp("real")
    prepare(DATA, folder / "work" / "data" / "mini", Sources(voc_tree.build(folder / "unpacked")), silent)
    return folder / "work" / "data" / "mini"


@pytest.fixture
def data(real, tmp_path) -> DataSet:
    """The prepared real images, for a test to spoil; audited once already."""
    found = load(DATA, Path(shutil.copytree(real, tmp_path / "mini")))
    audit(found, silent)
    return found


@pytest.fixture(scope="module")
def synthetic_once(tmp_path_factory) -> DataSet:
    """The tiny synthetic data set (read only)."""
    return prepare(load_preset(TINY).data, tmp_path_factory.mktemp("synthetic") / "data" / "tiny", NO_SOURCES, silent)


@pytest.fixture
def synthetic(synthetic_once, tmp_path) -> DataSet:
    """The tiny synthetic data set, for a test to spoil."""
    return replace(synthetic_once, root=Path(shutil.copytree(synthetic_once.root, tmp_path / "tiny")))


def report(data: DataSet) -> dict:
    return audit(data, silent)


def root(data: DataSet) -> str:
    return report(data)["tree_root"]


def refused(data: DataSet, kind: type[SwdbError] = BadInput, **options) -> SwdbError:
    """Return the error with which a data set is refused."""
    with pytest.raises(kind) as caught:
        audit(data, silent, **options)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The ids of the images that the audit reads from now on."""
    seen = []
    real = audits.read_image
    monkeypatch.setattr(audits, "read_image", lambda path: seen.append(path.stem) or real(path))
    return seen


def rewrite(path: Path, content: bytes) -> None:
    """Put other bytes in place of a file's."""
    path.unlink()
    path.write_bytes(content)


def relabel(data: DataSet, image_id: str, change) -> None:
    """Save an image's mask as `change` makes it of its labels."""
    path = mask_file(data.root, image_id)
    voc_tree.save_mask(path, change(read_mask(path, 21).copy()))


def without_void(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 255, 0, labels)


def become(data: DataSet, one: str, other: str) -> None:
    """Let an image be a copy of another, mask and all."""
    for place in (image_file, mask_file):
        rewrite(place(data.root, one), place(data.root, other).read_bytes())


# ---------------------------------------------------------------- the report


def test_the_report_has_these_fields(data):
    found = report(data)
    assert found.keys() == {"images", "void", "sides", "image_labels", "duplicates", "tree_root"}
    assert found == json.loads(json.dumps(found))


def test_images_are_counted_by_what_they_are_for(data):
    assert report(data)["images"] == {"strong": 2, "weak": 2, "val": 2}


def test_void_is_counted_in_pixels_and_in_masks(data):
    # Every mask of the tree has a border of 14 pixels.
    pixels = [height * width for height, width in SIZES]
    relabel(data, TRAIN_AUG[3], without_void)
    assert report(data)["void"] == {
        "strong": {"pixels_percent": round(2800 / sum(pixels[:2]), 2), "masks_percent": 100.0},
        "weak": {"pixels_percent": round(1400 / sum(pixels[2:4]), 2), "masks_percent": 50.0},
        "val": {"pixels_percent": round(2800 / sum(pixels[4:]), 2), "masks_percent": 100.0},
    }


def test_the_smallest_and_the_largest_side_are_told(data):
    assert report(data)["sides"] == {"smallest": 7, "largest": 24}


def test_image_level_labels_are_counted_by_class(data):
    found = report(data)["image_labels"]
    assert found["from"] == "boxes"
    present = {name: count for name, count in found["images_by_tag"].items() if count}
    assert list(found["images_by_tag"]) == list(CLASSES[1:])
    assert present == {"aeroplane": 2, "bicycle": 1, "bird": 1, "boat": 1, "bottle": 6}


def disagreements(data: DataSet) -> list[int]:
    """Images with a class that has no tag, with a tag that has no pixels, and without any tag."""
    found = report(data)["image_labels"]
    names = ("images_with_an_untagged_class_in_the_mask", "images_with_a_tag_without_pixels", "images_without_a_tag")
    return [found[name] for name in names]


def test_labels_are_compared_with_the_masks(data):
    tags = read_tags(data.root / "image_labels.csv")
    assert tags[TRAIN[0]] == ["aeroplane", "bottle"] and disagreements(data) == [0, 0, 0]
    write_tags(data.root, {**tags, TRAIN[0]: ["aeroplane"]})
    assert disagreements(data) == [1, 0, 0]
    write_tags(data.root, {**tags, TRAIN[0]: ["aeroplane", "bottle", "cat", "dog"]})
    assert disagreements(data) == [0, 1, 0]
    write_tags(data.root, {**tags, TRAIN[0]: [], VAL[0]: []})
    assert disagreements(data) == [2, 0, 2]


def test_images_that_are_all_different_have_no_duplicates(data):
    assert report(data)["duplicates"] == {"groups": 0, "across_train_and_val": 0, "first": None}


def test_duplicates_within_train_are_found(data):
    become(data, TRAIN_AUG[1], TRAIN_AUG[2])
    assert report(data)["duplicates"] == {"groups": 1, "across_train_and_val": 0, "first": TRAIN_AUG[1:3]}


def test_duplicates_across_train_and_val_are_shown_before_others(data):
    become(data, TRAIN_AUG[1], TRAIN_AUG[0])
    become(data, VAL[1], TRAIN_AUG[3])
    assert report(data)["duplicates"] == {"groups": 2, "across_train_and_val": 1, "first": [TRAIN_AUG[3], VAL[1]]}


def test_the_lines_say_all_of_it(data):
    relabel(data, TRAIN_AUG[3], without_void)
    become(data, TRAIN_AUG[1], TRAIN_AUG[2])
    shown = lines(report(data))
    assert len(shown) == 7 and not any("\n" in line for line in shown)
    for words in (
        "2 strong + 2 weak, 2 val",
        "strong 3.1 % of pixels in 100 % of masks, weak 2.2 % of pixels in 50 % of masks, val 6.7 % of pixels in 100 %",
        "7 to 24 pixels",
        "image-level labels from boxes: aeroplane 2, bicycle 1, bird 1, boat 1, bottle 6, bus 0, car 0",
        "1 images show a class without its tag, 1 have a tag without pixels, 0 have no tag",
        f"1 images are there under several ids, 0 of them in train and val (first: {', '.join(TRAIN_AUG[1:3])})",
        f"sha256 {root(data)}",
    ):
        assert any(words in line for line in shown), (words, shown)


def test_the_lines_of_a_set_without_duplicates_name_none(data):
    assert "0 images are there under several ids, 0 of them in train and val" in lines(report(data))


# ---------------------------------------------------------------- the sha256


def root_by_hand(data: DataSet, mask_digest) -> str:
    """The sha256 over names and digests, as the docstrings promise it."""
    splits = {image_id: "val" if image_id in data.ids("val") else "train_aug" for image_id in data.ids("train_aug")}
    splits |= dict.fromkeys(data.ids("val"), "val")
    contents = {data.root / "image_labels.csv": file_digest(data.root / "image_labels.csv")}
    for split in ("train", "train_aug", "val"):
        contents[list_file(data.root, split)] = file_digest(list_file(data.root, split))
    for image_id, split in splits.items():
        contents[image_file(data.root, image_id)] = file_digest(image_file(data.root, image_id))
        path = data.mask_path(image_id, split)
        contents[path] = mask_digest(path)
    named = sorted((path.relative_to(data.root).parts, content) for path, content in contents.items())
    text = "".join(f"{'/'.join(parts)}\0{content}\n" for parts, content in named)
    return hashlib.sha256(text.encode()).hexdigest()


def labels_digest(path: Path) -> str:
    labels = np.asarray(Image.open(path))
    return hashlib.sha256(f"{labels.shape[0]}x{labels.shape[1]}".encode() + labels.tobytes()).hexdigest()


def test_the_sha256_of_real_images_is_that_over_images_labels_lists_and_tags(data):
    assert root(data) == root_by_hand(data, labels_digest) == data.digest


def test_the_sha256_of_a_synthetic_set_is_that_over_the_bytes_of_its_files(synthetic):
    assert root(synthetic) == root_by_hand(synthetic, file_digest) == synthetic.digest


@pytest.mark.parametrize("encoding", ["other level", "other palette", "grey"])
def test_a_real_image_s_mask_counts_by_its_labels_not_by_its_bytes(data, encoding):
    before, path = root(data), mask_file(data.root, TRAIN[0])
    encoded, labels = path.read_bytes(), read_mask(path, 21)
    path.unlink()
    if encoding == "other palette":
        path.write_bytes(palette_png(labels, np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)))
    else:
        Image.fromarray(labels).save(path, compress_level=0 if encoding == "other level" else 9)
    assert path.read_bytes() != encoded
    assert root(data) == before


def test_a_synthetic_mask_counts_by_its_bytes(synthetic):
    before, path = root(synthetic), synthetic.mask_path(synthetic.ids("train")[0], "train_aug")
    labels = read_mask(path, 6)
    path.unlink()
    Image.fromarray(labels).save(path)
    assert root(synthetic) != before


def one_label(data: DataSet) -> None:
    def change(labels: np.ndarray) -> np.ndarray:
        labels[0, 0] = 3
        return labels

    relabel(data, VAL[1], change)


def one_byte_of_a_jpeg(data: DataSet) -> None:
    path = image_file(data.root, TRAIN_AUG[2])
    content = bytearray(path.read_bytes())
    content[15] ^= 1  # the density of dots, which changes no pixel
    rewrite(path, bytes(content))


def one_tag(data: DataSet) -> None:
    path = data.root / "image_labels.csv"
    path.write_text(path.read_text().replace("bicycle", "bird", 1))


def one_line_of_a_list(data: DataSet) -> None:
    list_file(data.root, "train").write_text(f"{TRAIN_AUG[0]}\n{TRAIN_AUG[3]}\n")


def the_order_of_a_list(data: DataSet) -> None:
    list_file(data.root, "train_aug").write_text("\n".join(TRAIN_AUG[::-1]) + "\n")


LIST_FOLDER = "VOCdevkit/VOC2012/ImageSets/Segmentation"
NAMED = {  # what the audit calls that which has changed
    one_label: f"VOCdevkit/VOC2012/SegmentationClass/{VAL[1]}.png",
    one_byte_of_a_jpeg: f"VOCdevkit/VOC2012/JPEGImages/{TRAIN_AUG[2]}.jpg",
    one_tag: "image_labels.csv",
    one_line_of_a_list: f"{LIST_FOLDER}/train.txt",
    the_order_of_a_list: f"{LIST_FOLDER}/train_aug.txt",
}
CHANGES = list(NAMED)


@pytest.mark.parametrize("change", CHANGES)
def test_another_content_has_another_sha256(data, change):
    before = root(data)
    change(data)
    assert root(data) != before
    assert root(data) == root_by_hand(data, labels_digest)


@pytest.mark.parametrize("change", CHANGES)
def test_a_set_that_has_changed_since_it_was_prepared_is_refused(data, change):
    assert verify(data, silent) == report(data)
    change(data)
    for _ in range(2):  # what has changed is told every time
        with pytest.raises(MissingArtefact) as caught:
            verify(data, silent)
        error = caught.value
        assert error.subject == data.root and f": {NAMED[change]} has other contents" in error.found
        assert "more such files" not in error.found and "\n" not in str(error)
    assert root(data)[:10] in error.expected and data.digest[:10] in error.expected


def test_of_several_changed_files_the_first_is_named_and_the_others_are_counted(data):
    one_label(data)
    one_byte_of_a_jpeg(data)
    one_tag(data)
    with pytest.raises(MissingArtefact) as caught:
        verify(data, silent)
    assert f"{NAMED[one_tag]} has other contents (and 2 more such files)" in caught.value.found


def test_without_the_notes_of_the_last_audit_a_changed_set_is_refused_all_the_same(data):
    (data.root / "audit.json").unlink()
    one_label(data)
    with pytest.raises(MissingArtefact) as caught:
        verify(data, silent)
    assert caught.value.subject == data.root and "where is not known" in caught.value.found


# ---------------------------------------------------------------- faulty files


FAULTS = {  # the class of the error, the file, what is done to it, and a part of what is found and of what is expected
    "image missing": (MissingArtefact, image_file, Path.unlink, "missing", "an image"),
    "mask missing": (MissingArtefact, mask_file, Path.unlink, "missing", "a mask"),
    "image cut": (
        BadInput, image_file, lambda path: rewrite(path, path.read_bytes()[:200]), "cannot be read", "an image",
    ),
    "mask not an image": (
        BadInput, mask_file, lambda path: rewrite(path, b"not an image"), "cannot be read", "a mask",
    ),
    "mask in colours": (
        BadInput, mask_file, lambda path: Image.open(path).convert("RGB").save(path), "RGB", "palette PNG",
    ),
    "mask of no class": (
        BadInput, mask_file, lambda path: voc_tree.save_mask(path, np.full(SIZES[2], 21)), "value 21", "0 to 20 and 255",
    ),
    "mask of another size": (
        BadInput, mask_file, lambda path: voc_tree.save_mask(path, np.zeros((24, 23))), "23x24", "24x24",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [f"{LIST_FOLDER}/{split}.txt" for split in ("train", "train_aug", "val")] + ["image_labels.csv"]
)
def test_a_missing_list_or_labels_are_named(data, name):
    (data.root / name).unlink()
    with pytest.raises(MissingArtefact) as caught:
        verify(data, silent)
    assert (caught.value.subject, caught.value.found) == (data.root / name, "missing")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_named(data, fault):
    kind, place, spoil, found, expected = FAULTS[fault]
    path = place(data.root, TRAIN_AUG[2])
    spoil(path)
    error = refused(data, kind)
    assert type(error) is kind and error.subject == path
    assert found in error.found and expected in error.expected and "more such files" not in error.found


def test_an_image_larger_than_the_preset_says_is_named(data):
    voc_tree.save_image(image_file(data.root, VAL[0]), 16, 25)
    voc_tree.save_mask(mask_file(data.root, VAL[0]), np.zeros((16, 25)))
    error = refused(data)
    assert error.subject == image_file(data.root, VAL[0])
    assert "25x16" in error.found and "24" in error.expected.split()


def test_of_several_faulty_files_the_first_is_named_and_the_others_are_counted(data):
    mask_file(data.root, VAL[0]).unlink()
    rewrite(image_file(data.root, TRAIN_AUG[1]), b"")
    rewrite(mask_file(data.root, TRAIN_AUG[3]), b"not an image")
    error = refused(data)
    assert error.subject == image_file(data.root, TRAIN_AUG[1])
    assert error.found.endswith("(and 2 more such files)")


def test_only_what_is_faulty_or_repaired_is_read_again(data, reads):
    path = mask_file(data.root, VAL[0])
    content = path.read_bytes()
    path.unlink()
    for _ in range(2):
        refused(data, MissingArtefact)
    path.write_bytes(content)
    assert root(data) == data.digest
    assert reads == [VAL[0]] * 3


def test_faulty_files_are_deleted_only_where_that_is_asked_for(data):
    spoilt, missing = TRAIN_AUG[2], TRAIN_AUG[3]
    rewrite(mask_file(data.root, spoilt), b"not an image")
    image_file(data.root, missing).unlink()
    before = {path for path in data.root.rglob("*") if path.is_file()}
    refused(data)
    assert {path for path in data.root.rglob("*") if path.is_file()} == before
    refused(data, discard=True)
    gone = {place(data.root, image_id) for place in (image_file, mask_file) for image_id in (spoilt, missing)}
    assert before - {path for path in data.root.rglob("*") if path.is_file()} == gone & before


def test_preparing_imports_faulty_files_again_once_their_source_is_repaired(tmp_path):
    tree, place = voc_tree.build(tmp_path / "tree"), tmp_path / "data" / "mini"
    source = image_file(tree, TRAIN_AUG[2])
    whole = source.read_bytes()
    rewrite(source, whole[:200])
    with pytest.raises(BadInput) as caught:
        prepare(DATA, place, Sources(tree), silent)
    assert Path(caught.value.subject).name == source.name and "cannot be read" in caught.value.found
    assert source.read_bytes() == whole[:200]
    rewrite(source, whole)
    prepare(DATA, place, Sources(tree), silent)
    assert image_file(place, TRAIN_AUG[2]).read_bytes() == whole


# ---------------------------------------------------------------- lists


LIST_FAULTS = {  # the list, what stands in it, whose fault it is, and a part of what is found and of what is expected
    "twice": ("train_aug", [*TRAIN_AUG[:3], TRAIN_AUG[0]], f"names {TRAIN_AUG[0]} twice", "once"),
    "one too few": ("train", TRAIN[:1], "is 1", "2"),
    "one too many": ("val", [*VAL, "2007_000009"], "is 3", "2"),
    "strong but not in train_aug": ("train", [TRAIN[0], VAL[0]], f"train_aug.txt lacks (first: {VAL[0]})", ""),
    "train and val": ("val", [VAL[1], TRAIN_AUG[3]], f"shares 1 of its images with train_aug.txt (first: {TRAIN_AUG[3]})", ""),
}  # fmt: skip


@pytest.mark.parametrize("fault", LIST_FAULTS)
def test_a_faulty_list_is_refused_before_anything_is_read(data, reads, fault):
    split, ids, found, expected = LIST_FAULTS[fault]
    (data.root / "audit.json").unlink()
    list_file(data.root, split).write_text("\n".join(ids))
    error = refused(data)
    assert error.subject == list_file(data.root, split) and found in error.found and expected in error.expected
    assert reads == []


@pytest.fixture
def official(monkeypatch):
    """Let the tiny set's lists be VOC's own."""
    found = {"train": TRAIN, "train_aug": TRAIN_AUG, "val": VAL}
    counts = {split: len(ids) for split, ids in found.items()}
    known = Official(counts, {split: digest(sorted(ids)) for split, ids in found.items()})
    monkeypatch.setitem(KINDS, "voc", replace(VOC2012, official=known))
    return known


def test_lists_as_long_as_the_official_ones_must_hold_the_official_ids(data, official):
    the_order_of_a_list(data)
    report(data)  # in any order
    for place in (image_file, mask_file):
        path = place(data.root, VAL[1])
        path.rename(path.with_stem("2007_000009"))
    list_file(data.root, "val").write_text(f"{VAL[0]}\n2007_000009\n")
    error = refused(data)
    assert (
        error.subject == list_file(data.root, "val") and "as many ids" in error.found and VOC2012.title in error.found
    )


def test_lists_of_other_lengths_are_not_compared_with_the_official_ones(data, official, monkeypatch):
    monkeypatch.setitem(official.digests, "val", "0" * 64)
    assert refused(data).subject == list_file(data.root, "val")
    monkeypatch.setitem(official.counts, "train", 3)
    report(data)


# ---------------------------------------------------------------- VOC's own masks and SBD's


@pytest.mark.parametrize(("split", "ids"), [("train", TRAIN), ("val", VAL)])
def test_masks_without_a_void_border_where_voc_s_own_belong_are_refused(data, split, ids):
    relabel(data, ids[0], without_void)
    report(data)  # one of two: an object may fill its image
    relabel(data, ids[1], without_void)
    error = refused(data)
    assert error.subject == list_file(data.root, split) and "0%" in error.found
    assert error.expected == VOC2012.own_masks


def test_sbd_s_masks_need_no_border(data):
    for image_id in TRAIN_AUG[2:]:
        relabel(data, image_id, without_void)
    assert report(data)["void"]["weak"] == {"pixels_percent": 0.0, "masks_percent": 0.0}


def test_borders_tell_nothing_where_classes_become_void(data):
    for image_id in ALL:
        relabel(data, image_id, without_void)
    refused(data)
    report(replace(data, settings=replace(DATA, classes=("aeroplane", "bicycle", "bird", "boat", "bottle"))))


def test_synthetic_masks_need_no_border(synthetic):
    for image_id in synthetic.ids("val"):
        path = synthetic.mask_path(image_id, "val")
        voc_tree.save_mask(path, without_void(read_mask(path, 6)))
    assert report(synthetic)["void"]["val"]["masks_percent"] == 0


# ---------------------------------------------------------------- tags against masks


def retag(data: DataSet, change) -> None:
    """Write image-level labels as `change` makes them of an image's."""
    path = data.root / "image_labels.csv"
    tags = read_tags(path)
    path.unlink()  # it may be linked
    write_tags(data.root, {image_id: change(names) for image_id, names in tags.items()})


def test_where_tags_and_masks_contradict_each_other_nothing_is_trained_on_them(synthetic):
    count, other = len(synthetic.ids("train")), synthetic.class_names[1:]
    before = read_tags(synthetic.root / "image_labels.csv")
    for change, what in (
        (lambda names: [], "show a class without its tag"),
        (lambda names: [name for name in other if name not in names], "show a class without its tag"),
        (lambda names: other, "have a tag of a class without pixels"),
    ):
        retag(synthetic, change)
        error = refused(synthetic)
        assert error.subject == synthetic.root / "image_labels.csv" and "5% at most" in error.expected
        assert what in error.found and f" of {count} strong images" in error.found
        write_tags(synthetic.root, before)
    report(synthetic)


# ---------------------------------------------------------------- a second audit


def test_a_first_audit_reads_every_image_and_tells_how_far_it_is(data):
    told = []

    def progress(name, total):
        told.append((name, total))
        return lambda done, of: told.append((done, of))

    (data.root / "audit.json").unlink()
    audit(data, progress)
    assert told == [("audit the data set", 6), *((done, 6) for done in range(1, 7))]


def test_a_second_audit_opens_no_image_and_reports_the_same(data, monkeypatch):
    def opened(path, *_):
        raise AssertionError(f"{path} was read again")

    first, written = report(data), (data.root / "audit.json").stat().st_mtime_ns
    monkeypatch.setattr(audits, "read_image", opened)
    monkeypatch.setattr(audits, "read_mask", opened)
    assert audit(data, opened) == first
    assert (data.root / "audit.json").stat().st_mtime_ns == written


def test_only_what_changed_is_read_again(data, reads):
    one_label(data)
    one_byte_of_a_jpeg(data)
    report(data)
    assert sorted(reads) == [VAL[1], TRAIN_AUG[2]]
    report(data)
    assert len(reads) == 2


def test_a_change_whose_time_was_set_back_is_noticed(data, reads):
    path = image_file(data.root, TRAIN_AUG[2])
    before, status = root(data), path.stat()
    content = bytearray(path.read_bytes())
    content[15] ^= 1
    with path.open("r+b") as stream:  # the same file, as long as before
        stream.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert root(data) != before
    assert reads == [TRAIN_AUG[2]]


def test_an_image_that_moved_to_val_is_read_with_its_mask_there(data, reads):
    moved = mask_file(data.root, TRAIN_AUG[3])
    moved.rename(data.mask_path(TRAIN_AUG[3], "val"))
    list_file(data.root, "train_aug").write_text("\n".join(TRAIN_AUG[:3]))
    list_file(data.root, "val").write_text("\n".join([*VAL, TRAIN_AUG[3]]))
    found = report(replace(data, settings=replace(DATA, num_train=3, num_val=3)))
    assert found["images"] == {"strong": 2, "weak": 1, "val": 3}
    assert reads == [TRAIN_AUG[3]]


def test_the_report_does_not_depend_on_what_was_read_when(data):
    become(data, TRAIN_AUG[0], TRAIN_AUG[2])  # the first image is read last
    again, notes = report(data), (data.root / "audit.json").read_bytes()
    (data.root / "audit.json").unlink()
    assert report(data) == again and again["duplicates"]["first"] == [TRAIN_AUG[0], TRAIN_AUG[2]]
    assert (data.root / "audit.json").read_bytes() == notes


def test_images_that_are_no_longer_listed_are_forgotten(data):
    list_file(data.root, "val").write_text(VAL[0])
    report(replace(data, settings=replace(DATA, num_val=1)))
    assert set(json.loads((data.root / "audit.json").read_text())["records"]) == {*TRAIN_AUG, VAL[0]}


def noted(**values) -> bytes:
    """Notes of this version."""
    return json.dumps({"version": audits.VERSION, **values}).encode()


DAMAGE = {
    "gone": None,
    "empty": b"",
    "half": noted(texts={}, records={})[:-12],
    "not text": b"\xff\xfe\x00",
    "a list": b"[]",
    "nothing": b"null",
    "no version": b'{"texts": {}, "records": {}}',
    "no records": noted(texts={}),
    "no texts": noted(records={}),
    "texts in a list": noted(texts=[], records={}),
    "records in a list": noted(texts={}, records=[]),
    "too few values": noted(texts={}, records={TRAIN[0]: ["", "val"]}),
    "a number for a record": noted(texts={}, records={TRAIN[0]: 7}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_notes_of_an_audit_are_made_again(data, reads, damage):
    notes = data.root / "audit.json"
    first, content = report(data), notes.read_bytes()
    notes.unlink()
    if DAMAGE[damage] is not None:
        notes.write_bytes(DAMAGE[damage])
    assert report(data) == first
    assert sorted(reads) == sorted(ALL) and notes.read_bytes() == content


def test_notes_of_another_version_are_made_again(data, reads, monkeypatch):
    first = report(data)
    monkeypatch.setattr(audits, "VERSION", audits.VERSION + 1)
    assert report(data) == first and sorted(reads) == sorted(ALL)
    assert report(data) == first and len(reads) == len(ALL)


def test_a_val_split_that_is_trained_on_is_refused(synthetic):
    first, *_ = synthetic.ids("train_aug")
    for image_id in synthetic.ids("val"):
        rewrite(synthetic.image_path(image_id), synthetic.image_path(first).read_bytes())
    error = refused(synthetic)
    assert error.subject == synthetic.list_path("val") and "6 of its 6 images are training images" in error.found


def test_masks_without_background_are_refused(synthetic):
    for image_id in synthetic.ids("train_aug"):
        path = synthetic.mask_path(image_id, "train_aug")
        labels = synthetic.mask(image_id, "train_aug").copy()
        labels[labels == 0] = 255
        voc_tree.save_mask(path, labels)
    error = refused(synthetic)
    assert error.subject == synthetic.list_path("train_aug") and "have no background" in error.found


def test_a_few_untagged_images_of_every_split_are_too_many_together(synthetic):
    lines = (synthetic.root / "image_labels.csv").read_text().splitlines()
    chosen = {*synthetic.ids("train")[:2], *synthetic.ids("train_aug")[-2:], *synthetic.ids("val")[:2]}
    kept = [line.split(",")[0] + "," if line.split(",")[0] in chosen else line for line in lines]
    (synthetic.root / "image_labels.csv").write_text("\n".join(kept) + "\n")
    assert "6 of 38 images show a class without its tag" in refused(synthetic).found


def test_the_digests_of_all_contents_come_to_the_data_sets_own(data):
    found = contents(data)
    assert tree_root({Path(name): content for name, content in found.items()}) == data.digest
    name = data.mask_path(VAL[0], "val").relative_to(data.root).as_posix()
    assert found[name] == audits.labels_digest(data.mask(VAL[0], "val"))
    assert len(found) == 2 * len(ALL) + 4  # images, masks, three lists, image-level labels
