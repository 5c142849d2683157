"""Folders of other projects' lists: every leak is found, and what cannot be told is said to be unknown."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SHARED

from swdb.core.errors import BadInput
from swdb.data.split_audit import (
    VOC_SIZES,
    Reference,
    as_frame,
    as_json,
    audit_splits,
    lines,
)
from swdb.data.split_lists import Tally, read_list

REAL = SHARED / "data" / "lists"

FINE = [f"2007_{number:06}" for number in range(1464)]
SBD = [f"2008_{number:06}" for number in range(9118)]
VAL = [f"2009_{number:06}" for number in range(1449)]
VOC = Reference(frozenset(FINE), frozenset(FINE + SBD), frozenset(VAL))


def write(path: Path, ids: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{image_id}\n" for image_id in ids))
    return path


def refused(folder: Path) -> BadInput:
    """Return the error with which a folder is refused."""
    with pytest.raises(BadInput) as caught:
        audit_splits(folder, VOC)
    assert "\n" not in str(caught.value)
    return caught.value


def findings(folder: Path, kind: str, reference: Reference | None = VOC) -> list[str]:
    return [finding.text for finding in audit_splits(folder, reference).findings if finding.kind == kind]


# ---------------------------------------------------------------- files that are not lists


def test_what_is_not_a_list_is_named_with_the_reason(tmp_path):
    write(tmp_path / "notes.txt", ["see the paper"])
    assert f"notes.txt: {read_list(tmp_path / 'notes.txt', tmp_path)}" in refused(tmp_path).found


def test_a_file_that_may_not_be_read_is_passed_over(tmp_path, monkeypatch):
    write(tmp_path / "locked.txt", FINE[:2])
    write(tmp_path / "open.txt", FINE[:2])
    opened = Path.open

    def refusing(path, *arguments, **options):
        if path.name == "locked.txt":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refusing)
    report = audit_splits(tmp_path, VOC)
    assert report.passed_over == (("locked.txt", "cannot be read (Permission denied)"),)
    assert [split.name for split in report.lists] == ["open.txt"]


def test_a_folder_that_may_not_be_read_is_passed_over(tmp_path, monkeypatch):
    write(tmp_path / "a" / "labeled.txt", FINE[:2])
    write(tmp_path / "b" / "labeled.txt", FINE[:2])
    listed = Path.iterdir

    def refusing(path):
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    assert audit_splits(tmp_path, VOC).passed_over == (("a", "a folder that cannot be read (Permission denied)"),)


def test_a_pipe_and_a_broken_link_and_a_link_to_itself_are_passed_over(tmp_path):
    write(tmp_path / "labeled.txt", FINE[:2])
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "itself.txt").symlink_to(tmp_path / "itself.txt")
    report = audit_splits(tmp_path, VOC)
    assert [name for name, _ in report.passed_over] == ["broken.txt", "itself.txt", "pipe.txt"]


# ---------------------------------------------------------------- folders


def test_folders_are_searched_to_their_ends_and_names_are_relative(tmp_path):
    for name in ("pascal/1_8/labeled.txt", "pascal/1_4/labeled.txt", "city/1_8/labeled.LST", "train.txt"):
        write(tmp_path / name, FINE[:3])
    write(tmp_path / "train.csv", FINE[:3])
    write(tmp_path / ".hidden.txt", FINE[:3])
    write(tmp_path / ".git" / "labeled.txt", FINE[:3])
    report = audit_splits(tmp_path, VOC)
    names = ["city/1_8/labeled.LST", "pascal/1_4/labeled.txt", "pascal/1_8/labeled.txt", "train.txt"]
    assert [split.name for split in report.lists] == names
    assert report.passed_over == ()


def test_a_circle_of_links_ends_and_is_named(tmp_path):
    write(tmp_path / "a" / "labeled.txt", FINE[:2])
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    report = audit_splits(tmp_path, VOC)
    assert [split.name for split in report.lists] == ["a/labeled.txt"]
    assert report.passed_over == (("a/round", "a link to a folder; audit that folder itself"),)


def test_a_name_of_any_bytes_can_be_printed(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/labeled_\xff\n.txt"))
    write(path, SBD[:3])
    report = audit_splits(tmp_path, VOC)
    assert report.lists[0].name == "labeled_??.txt"
    "\n".join(lines(report)).encode()  # a lone surrogate would raise


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("2007_000032\n"), "is a file"),
        (lambda path: path.mkdir(), "no .txt or .lst file"),
        (lambda path: write(path / "README.txt", ["Hello"]), "README.txt: 0 of 1 line with an image id"),
    ],
)
def test_where_no_list_is_found_one_line_names_the_folder_and_what_was_expected(tmp_path, make, words):
    make(tmp_path / "lists")
    error = refused(tmp_path / "lists")
    assert error.subject == f"--audit-splits {tmp_path / 'lists'}" and words in error.found and error.expected


# ---------------------------------------------------------------- against VOC's own lists


def test_images_are_counted_by_where_they_are(tmp_path):
    write(tmp_path / "mixed.txt", FINE[:4] + SBD[:3] + VAL[:2] + ["x1"])
    (found,) = audit_splits(tmp_path, VOC).lists
    assert (found.fine, found.sbd, found.val, found.unknown) == (4, 3, 2, Tally(1, "x1"))
    assert found.share == 40


def test_clean_lists_have_no_finding(tmp_path):
    write(tmp_path / "183" / "labeled.txt", FINE[:183])
    write(tmp_path / "183" / "unlabeled.txt", FINE[183:] + SBD)
    write(tmp_path / "train_aug.txt", FINE + SBD)
    write(tmp_path / "trainval.txt", FINE + VAL)
    write(tmp_path / "val.txt", VAL)
    report = audit_splits(tmp_path, VOC)
    assert report.findings == ()
    assert [(pair.labelled, pair.overlap) for pair in report.pairs] == [("183/labeled.txt", Tally(0, None))]
    assert "1 of 1 pair" in lines(report)[0]


def test_an_image_in_both_lists_of_a_setting_is_a_leak(tmp_path):
    write(tmp_path / "92" / "labeled.txt", FINE[:92])
    write(tmp_path / "92" / "unlabeled.txt", FINE[90:])
    (text,) = findings(tmp_path, "leak")
    assert text.startswith(f"92/labeled.txt and 92/unlabeled.txt share 2 images (first: {FINE[90]})")


def test_the_whole_labelled_list_among_the_unlabelled_is_told_apart(tmp_path):
    write(tmp_path / "sup.txt", FINE[:92])
    write(tmp_path / "unsup.txt", FINE + SBD)
    (text,) = findings(tmp_path, "leak")
    assert "share 92 images" in text and "the whole labelled list" in text


def test_lists_of_several_settings_in_one_folder_are_paired_by_name(tmp_path):
    for part, number in (("1-8", 183), ("1-16", 92)):
        write(tmp_path / f"pseudoseg_labeled_{part}.txt", FINE[:number])
        write(tmp_path / f"pseudoseg_unlabeled_{part}.txt", FINE[number:])
    report = audit_splits(tmp_path, VOC)
    # 1-8's labelled images are among 1-16's unlabelled ones, as they must be
    assert [(pair.labelled[-8:], pair.unlabelled[-8:]) for pair in report.pairs] == [
        ("1-16.txt",) * 2,
        ("_1-8.txt",) * 2,
    ]
    assert report.findings == ()


def test_two_lists_alone_in_a_folder_belong_together_whatever_they_are_called(tmp_path):
    write(tmp_path / "a" / "train_labeled.txt", FINE[:10])
    write(tmp_path / "a" / "unlabeled_rest.txt", FINE[9:20])
    write(tmp_path / "b" / "unlabeled_rest.txt", FINE[:20])
    (pair,) = audit_splits(tmp_path, VOC).pairs
    assert (pair.unlabelled, pair.overlap, pair.whole) == ("a/unlabeled_rest.txt", Tally(1, FINE[9]), False)


@pytest.mark.parametrize("name", ["labeled.txt", "unlabeled.txt", "train.txt", "1_8.txt"])
def test_a_training_list_that_holds_val_images_is_a_leak(tmp_path, name):
    write(tmp_path / name, FINE[:5] + VAL[7:9])
    (text,) = findings(tmp_path, "leak")
    assert text.startswith(f"{name} holds 2 images (first: {VAL[7]}) of VOC's val")


@pytest.mark.parametrize("name", ["trainval.txt", "train_val.txt", "test.txt", "val.txt", "scored.txt"])
def test_a_list_for_something_else_may_hold_val_images(tmp_path, name):
    write(tmp_path / name, (FINE[:5] if name.startswith("t") else []) + VAL)
    assert findings(tmp_path, "leak") == []


def test_a_training_list_of_nothing_but_val_images_is_a_leak(tmp_path):
    write(tmp_path / "train.txt", VAL[:9])
    assert len(findings(tmp_path, "leak")) == 1


def test_a_val_list_that_holds_training_images_is_a_leak(tmp_path):
    write(tmp_path / "val.txt", [*VAL, SBD[4]])
    (text,) = findings(tmp_path, "leak")
    assert text.startswith(f"val.txt holds 1 image (first: {SBD[4]}) of train_aug")


def test_a_val_list_that_lacks_images_is_found(tmp_path):
    write(tmp_path / "val.txt", VAL[:-1])
    assert findings(tmp_path, "quality") == [
        "val.txt: 1,448 of the 1,449 images of val; a score on it is not one on val"
    ]


def test_unknown_ids_are_found(tmp_path):
    write(tmp_path / "train.txt", [*FINE, "2012_999998", "2012_999999"])
    assert findings(tmp_path, "unknown") == [
        "train.txt: 2 images (first: 2012_999998) in none of train, train_aug and val"
    ]


def test_another_data_set_s_list_has_that_one_finding(tmp_path):
    (tmp_path / "labeled.txt").write_text("left/a_1_left.png gt/a_1_ids.png\nleft/a_2_left.png gt/a_2_ids.png\n")
    (finding,) = audit_splits(tmp_path, VOC).findings
    assert finding.kind == "unknown" and "another data set?" in finding.text


def test_masks_of_other_images_and_duplicates_and_odd_lines_are_found(tmp_path):
    (tmp_path / "train.txt").write_text(f"a/{FINE[0]}.jpg m/{FINE[1]}.png\n{FINE[0]}\n{FINE[2]}\nsee below\n")
    report = audit_splits(tmp_path, VOC)
    assert [finding.text for finding in report.findings] == [
        f"train.txt: 1 line (first: a/{FINE[0]}.jpg m/{FINE[1]}.png) with the mask of another image",
        f"train.txt: 1 line (first: {FINE[0]}) with an image named before",
        "train.txt: 1 line (first: see below) without an image id",
    ]


@pytest.mark.parametrize(
    ("fine", "size", "shares"),
    [
        (92, 662, ("14 %", "100 %")),  # CPS and UniMatch's "1/16"
        (662, 662, ("100 %", "14 %")),  # U2PL's
        (1464, 2646, ("55 %", "14 %")),  # U2PL's "1/4": more there are not
        (397, 2646, ("15 %", "55 %")),
        (430, 1000, ("43 %", "100 %")),  # CCT's
    ],
)
def test_the_share_of_finely_labelled_images_is_said_where_the_size_leaves_it_open(tmp_path, fine, size, shares):
    write(tmp_path / "labeled.txt", FINE[:fine] + SBD[: size - fine])
    here, other = shares
    assert findings(tmp_path, "quality") == [
        f"labeled.txt: {size:,} images, {here} finely labelled; a list of the same size may hold {other}: name the source when you quote a result"
    ]


@pytest.mark.parametrize("size", [92, 183, 366, 732, 1464])
def test_parts_of_the_finely_labelled_images_are_what_they_seem(tmp_path, size):
    write(tmp_path / "labeled.txt", FINE[:size])
    assert findings(tmp_path, "quality") == []


def test_lists_of_one_size_and_two_qualities_are_set_side_by_side(tmp_path):
    write(tmp_path / "cps" / "labeled.txt", FINE[:92] + SBD[:570])
    write(tmp_path / "u2pl" / "labeled.txt", FINE[:662])
    assert (
        "cps/labeled.txt and u2pl/labeled.txt both hold 662 images, but 14 % and 100 % finely labelled: results on them do not compare"
        in findings(tmp_path, "quality")
    )


def test_findings_come_with_the_worst_first(tmp_path):
    write(tmp_path / "a_labeled.txt", [*FINE[:92], *SBD[:570]])
    write(tmp_path / "b_labeled.txt", [FINE[0], FINE[0]])
    write(tmp_path / "c_labeled.txt", [FINE[0], "x1"])
    write(tmp_path / "d_labeled.txt", [FINE[0], VAL[0]])
    kinds = [finding.kind for finding in audit_splits(tmp_path, VOC).findings]
    assert list(dict.fromkeys(kinds)) == ["leak", "unknown", "duplicate", "quality"]


def test_a_reference_that_is_not_all_of_voc_is_one_finding(tmp_path):
    write(tmp_path / "train.txt", FINE[:2])
    (text,) = findings(tmp_path, "reference", replace(VOC, val=frozenset(VAL[:869])))
    assert "(1464, 10582, 869)" in text and str(VOC_SIZES) in text


# ---------------------------------------------------------------- without VOC's own lists


def test_without_a_reference_one_finding_says_what_is_not_known(tmp_path):
    write(tmp_path / "labeled.txt", FINE[:92] + SBD[:570])
    (finding,) = audit_splits(tmp_path, None).findings
    assert finding.kind == "reference" and finding.lists == () and "finely labelled" in finding.text


def test_without_a_reference_leaks_between_the_lists_are_found_all_the_same(tmp_path):
    write(tmp_path / "val.txt", VAL)
    write(tmp_path / "labeled.txt", [*FINE[:9], VAL[3]])
    write(tmp_path / "unlabeled.txt", FINE[8:20])
    first, second = sorted(findings(tmp_path, "leak", None))
    assert f"share 1 image (first: {FINE[8]})" in first
    assert second.startswith(f"labeled.txt holds 1 image (first: {VAL[3]}) of the val lists beside it")


def test_without_a_reference_the_table_says_unknown(tmp_path):
    write(tmp_path / "labeled.txt", FINE[:2])
    row = as_frame(audit_splits(tmp_path, None)).iloc[0]
    assert row["Images"] == 2 and row["Duplicates"] == 0
    assert [title for title, value in row.items() if value == "unknown"] == [
        "Finely labelled",
        "Finely labelled (%)",
        "Only in SBD",
        "In val",
        "Not in VOC",
        "First not in VOC",
    ]


# ---------------------------------------------------------------- what is shown


@pytest.fixture
def report(tmp_path):
    """Two lists that share an image, and a file that is not a list."""
    (tmp_path / "labeled.txt").write_text(
        f"JPEGImages/{FINE[0]}.jpg Fine/{FINE[0]}.png\n{SBD[0]}\n{SBD[0]}\n{VAL[0]}\n"
    )
    write(tmp_path / "unlabeled.txt", [SBD[0], "x1"])
    (tmp_path / "notes.txt").write_text("nothing\n")
    return audit_splits(tmp_path, VOC)


def test_the_table_has_a_row_for_every_list(report):
    assert as_frame(report).to_dict("records") == [
        {
            "List": "labeled.txt",
            "Role": "labelled",
            "Images": 3,
            "Duplicates": 1,
            "Finely labelled": 1,
            "Finely labelled (%)": 33.3,
            "Only in SBD": 1,
            "In val": 1,
            "Not in VOC": 0,
            "First not in VOC": "",
            "Masks": "Fine 1",
        },
        {
            "List": "unlabeled.txt",
            "Role": "unlabelled",
            "Images": 2,
            "Duplicates": 0,
            "Finely labelled": 0,
            "Finely labelled (%)": 0.0,
            "Only in SBD": 1,
            "In val": 0,
            "Not in VOC": 1,
            "First not in VOC": "x1",
            "Masks": "",
        },
    ]


def test_the_json_says_the_same(report, tmp_path):
    value = json.loads(json.dumps(as_json(report)))
    assert value["folder"] == str(tmp_path)
    assert value["lists"][0] == {
        "name": "labeled.txt",
        "role": "labelled",
        "ids": 3,
        "duplicates": {"count": 1, "first": SBD[0]},
        "mismatched": {"count": 0, "first": None},
        "odd": {"count": 0, "first": None},
        "mask_folders": {"Fine": 1},
        "fine": 1,
        "sbd": 1,
        "val": 1,
        "unknown": {"count": 0, "first": None},
    }
    overlap = {"count": 1, "first": SBD[0]}
    assert value["pairs"] == [
        {"labelled": "labeled.txt", "unlabelled": "unlabeled.txt", "overlap": overlap, "whole": False}
    ]
    assert [finding["text"] for finding in value["findings"]] == [finding.text for finding in report.findings]
    assert value["passed_over"] == {"notes.txt": "0 of 1 line with an image id"}


def test_the_json_of_a_report_without_reference_has_nulls(tmp_path):
    write(tmp_path / "labeled.txt", FINE[:2])
    (found,) = as_json(audit_splits(tmp_path, None))["lists"]
    assert [found[key] for key in ("fine", "sbd", "val", "unknown")] == [None] * 4


def test_the_lines_say_how_much_was_read_every_finding_and_what_was_passed_over(report, tmp_path):
    first, *middle, last = lines(report)
    assert first == f"2 lists below {tmp_path}; 0 of 1 pair of a labelled and an unlabelled list share no image"
    assert middle == [f"{finding.kind}: {finding.text}" for finding in report.findings] and len(middle) >= 4
    assert last == "passed over: notes.txt: 0 of 1 line with an image id"
    assert all("\n" not in line for line in lines(report))


# ---------------------------------------------------------------- real lists


@pytest.fixture(scope="module")
def real() -> Reference:
    """VOC's own lists, where they are at hand."""
    if not REAL.is_dir():
        pytest.skip("the lists of PASCAL VOC are not here")
    return Reference(*(frozenset(read_list(REAL / f"{name}.txt", REAL).ids) for name in ("train", "train_aug", "val")))


def test_the_real_lists_have_voc_s_sizes_and_do_not_overlap(real):
    assert (len(real.train), len(real.train_aug), len(real.val)) == VOC_SIZES
    report = audit_splits(REAL, real)
    assert report.findings == () and report.passed_over == ()
    counts = {split.name: (split.fine, split.sbd, split.val, split.unknown.count) for split in report.lists}
    assert counts == {"train.txt": (1464, 0, 0, 0), "train_aug.txt": (1464, 9118, 0, 0), "val.txt": (0, 0, 1449, 0)}


def test_a_draw_from_the_real_train_aug_holds_few_finely_labelled_images(real, tmp_path):
    images = sorted(real.train_aug)
    random.Random(0).shuffle(images)
    write(tmp_path / "1_16" / "labeled.txt", images[:662])
    write(tmp_path / "1_16" / "unlabeled.txt", images[662:])
    report = audit_splits(tmp_path, real)
    assert [finding.kind for finding in report.findings] == ["quality"]
    assert report.pairs[0].overlap.count == 0 and 10 < report.lists[0].share < 18
