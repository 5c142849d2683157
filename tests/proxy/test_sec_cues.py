"""Published seed cues: what the file and its list say is checked, and the published ones are known."""

import pickle

import numpy as np
import pytest
from pickled import CELLS, CONTENT, LABELS, MEND, REAL, read, refusal, written

from swdb.core.errors import BadInput, MissingArtefact
from swdb.proxy.grid import cue_map
from swdb.proxy.sec_cues import read_cues

# ---------------------------------------------------------------- pickles of plain data that are no cues


@pytest.mark.parametrize("content", [[1], "text", 7, LABELS, None, (1,)], ids=lambda value: type(value).__name__)
def test_anything_but_a_dict_is_refused(tmp_path, content):
    assert "expected a dict" in refusal(tmp_path, pickle.dumps(content, 2))


@pytest.mark.parametrize(
    "key", ["0_masks", "labels", "x_labels", "-1_labels", "0_labels ", "0_labels\n", "²_cues", b"\xff"]
)
def test_an_unknown_key_is_refused(tmp_path, key):
    assert "found the key" in refusal(tmp_path, {key: LABELS})


def test_a_number_that_is_not_in_the_list_is_refused(tmp_path):
    assert "found the key '2_labels'" in refusal(tmp_path, {**CONTENT, "2_labels": LABELS})


@pytest.mark.parametrize("again", [b"0_labels", "00_labels"])
def test_an_image_that_comes_twice_is_refused(tmp_path, again):
    assert "2008_000001 (" in refusal(tmp_path, pickle.dumps({**CONTENT, again: LABELS}, 3))


@pytest.mark.parametrize("label", [0, 21, -1, 255])
def test_a_label_that_is_no_object_class_is_refused(tmp_path, label):
    line = refusal(tmp_path, {"1_labels": np.array([label])})
    assert "2008_000002" in line and str(label) in line and "expected 1..20" in line


@pytest.mark.parametrize(
    ("cell", "found"),
    [((21, 0, 0), "class 21"), ((-1, 0, 0), "class -1"), ((1, 41, 0), "row 41"), ((1, 0, -1), "column -1")],
)
def test_a_cell_outside_the_grid_or_the_classes_is_refused(tmp_path, cell, found):
    line = refusal(tmp_path, {"0_cues": np.array([(1, 2, 3), cell]).T})
    assert "2008_000001" in line and f"found {found}, expected" in line


def test_a_cell_with_two_classes_is_refused_by_name(tmp_path):
    line = refusal(tmp_path, {"1_cues": np.array([[8, 1, 12], [3, 3, 3], [4, 5, 4]])})
    assert "2008_000002" in line and "found cat and dog in row 3, column 4" in line


def test_a_cell_that_is_named_twice_with_one_class_is_read(tmp_path):
    found = read(tmp_path, {"0_cues": np.array([[8, 8], [3, 3], [4, 4]])})
    assert (cue_map(found.cells["2008_000001"]) == 8).sum() == 1


@pytest.mark.parametrize(
    "value",
    [
        CELLS[:2],
        CELLS[0],
        np.zeros((3, 1, 1), int),
        tuple(CELLS[:2]),
        (CELLS[0], CELLS[1], CELLS[2, :3]),
        [1, 2, 3],
        {},
    ],
)
def test_cues_of_another_shape_are_refused(tmp_path, value):
    assert "2008_000001 (0_cues)" in refusal(tmp_path, {"0_cues": value})


@pytest.mark.parametrize("value", [CELLS, np.int64(3), 3, "8", [8, "8"], [8, True], [2**70], [8.0], None, [[8]]])
def test_labels_of_another_shape_or_kind_are_refused(tmp_path, value):
    assert "2008_000001 (0_labels)" in refusal(tmp_path, {"0_labels": value})


# ---------------------------------------------------------------- the list, and what the file leaves out


@pytest.mark.parametrize(
    "ids",
    [
        "a.jpg 0\nb.jpg 1\n",
        "b.jpg 1\na.jpg 0\n",
        "a\nb\n",
        "a.jpg\nb.png",
        "a.jpg 0\r\n\r\nb.jpg 1\r\n",
        "/JPEGImages/a.jpg 0\nJPEGImages/b.jpg\t1\n",
    ],
)
def test_the_list_gives_names_by_number_or_in_order(tmp_path, ids):
    found = read(tmp_path, {"0_labels": [1], "1_labels": [2]}, ids=ids)
    assert found.labels == {"a": (1,), "b": (2,)}


def test_the_images_come_in_the_order_of_the_list(tmp_path):
    found = read(tmp_path, {"1_labels": [2], "7_labels": [3], "0_labels": [1]}, ids="c 7\na 0\nb 1\nunnamed 3\n")
    assert list(found.labels) == list(found.cells) == ["c", "a", "b"]


def test_another_list_may_be_named(tmp_path):
    path = written(tmp_path, CONTENT)
    (tmp_path / "other.txt").write_text("other_name.jpg 0\n")
    assert list(read_cues(path, MEND, tmp_path / "other.txt").labels) == ["other_name"]


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ("a 0\na 1\n", "line 2 is 'a 1'"),
        ("a 0\nb 0\n", "line 2 is 'b 0'"),
        ("a 0\nb 1 2\n", "line 2 is 'b 1 2'"),
        ("a 0\n..\n", "line 2 is '..'"),
        ("a zero\n", "line 1 is 'a zero'"),
        ("a\n\x1b[31m\n", "line 2 is '\\x1b[31m'"),
        ("\n", "found nothing in it"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, ids, found):
    path = written(tmp_path, CONTENT, ids=ids)
    with pytest.raises(BadInput) as caught:
        read_cues(path, MEND)
    line = str(caught.value)
    assert line.startswith(str(tmp_path / "input_list.txt")) and found in line and line.endswith(MEND)
    assert "2008_007028.jpg 0" in line and line.isprintable()


@pytest.mark.parametrize("name", ["input_list.txt", "cues.pickle"])
def test_a_missing_file_is_said_to_be_missing_and_where_to_put_it(tmp_path, name):
    path = written(tmp_path, CONTENT)
    (tmp_path / name).unlink()
    with pytest.raises(MissingArtefact) as caught:
        read_cues(path, MEND)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / name} is missing; put the published {name} there") and line.endswith(MEND)


def test_labels_without_cues_and_cues_without_labels_are_counted_not_refused(tmp_path):
    content = {"0_labels": [8, 12], "0_cues": np.array([[0, 8, 15], [0, 1, 2], [0, 1, 2]]), "1_labels": [3, 2]}
    found = read(tmp_path, content)
    assert found.without_cues == [("2008_000001", 12), ("2008_000002", 2), ("2008_000002", 3)]
    assert found.without_labels == [("2008_000001", 15)]
    assert found.cells["2008_000002"].shape == (3, 0)
    alone = read(tmp_path, {"1_cues": CELLS})
    assert alone.labels == {"2008_000002": ()}
    assert alone.without_labels == [("2008_000002", 8), ("2008_000002", 18)]


# ---------------------------------------------------------------- the published file


def test_the_published_cues_are_read_as_they_are_known():
    if not REAL.is_file():
        pytest.skip("the published cues are not at hand")
    found = read_cues(REAL, MEND)
    assert len(found.labels) == len(found.cells) == 10_582
    counts = np.bincount([label for labels in found.labels.values() for label in labels], minlength=21)
    assert counts[1:].tolist() == [
        586, 485, 698, 460, 651, 385, 1079, 1000, 1063, 262, 520, 1176, 444, 481, 3876, 485, 299, 474, 499, 548,
    ]  # fmt: skip
    assert found.without_cues == found.without_labels == []
    maps = np.stack([cue_map(cells) for cells in found.cells.values()])
    assert (maps != 255).sum() == sum(cells.shape[1] for cells in found.cells.values())  # no cell is named twice
    assert round(100 * (maps != 255).mean(), 1) == 24.0
    assert round(100 * (maps == 0).mean(), 1) == 9.8
