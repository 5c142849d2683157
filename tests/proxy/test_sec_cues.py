"""Published seed cues: what the file and its list say is checked, and the published ones are known."""

import gzip
import json
import pickle

import numpy as np
import pytest
from goldens import FOLDER
from pickled import CONTENT, LABELS, POINTS, REAL, as_sec_wrote, read, refusal, written

from swdb.core.errors import BadInput, MissingArtefact
from swdb.proxy.grid import cue_map
from swdb.proxy.pickle_reader import integers, read_pickle
from swdb.proxy.sec_cues import read_cues

# ---------------------------------------------------------------- pickles of plain data that are not cues


@pytest.mark.parametrize("content", [[1], "text", 7, LABELS, None, (1,)], ids=lambda value: type(value).__name__)
def test_anything_but_a_dict_is_refused(tmp_path, content):
    assert refusal(tmp_path, pickle.dumps(content, 2)).expected.startswith("a dict")


@pytest.mark.parametrize(
    "key", ["0_masks", "labels", "x_labels", "-1_labels", "0_labels ", "0_labels\n", "²_cues", b"\xff"]
)
def test_an_unknown_key_is_refused(tmp_path, key):
    assert refusal(tmp_path, {key: LABELS}).found.startswith("the key")


def test_a_number_that_is_not_in_the_list_is_refused(tmp_path):
    assert "'2_labels'" in refusal(tmp_path, {**CONTENT, "2_labels": LABELS}).found


@pytest.mark.parametrize("again", [b"0_labels", "00_labels"])
def test_an_image_that_comes_twice_is_refused(tmp_path, again):
    error = refusal(tmp_path, pickle.dumps({**CONTENT, again: LABELS}, 3))
    assert error.found.startswith("2008_000001 (") and error.found.endswith("twice") and error.expected == "once"


@pytest.mark.parametrize("label", [0, 21, -1, 255])
def test_a_label_that_is_not_an_object_class_is_refused(tmp_path, label):
    error = refusal(tmp_path, {"1_labels": np.array([label])})
    assert "2008_000002" in error.found and str(label) in error.found and error.expected == "1..20"


@pytest.mark.parametrize(
    ("point", "found", "expected"),
    [
        ((21, 0, 0), "class 21", "0..20"),
        ((-1, 0, 0), "class -1", "0..20"),
        ((1, 41, 0), "row 41", "0..40"),
        ((1, 0, -1), "column -1", "0..40"),
    ],
)
def test_a_point_outside_the_grid_or_the_classes_is_refused(tmp_path, point, found, expected):
    error = refusal(tmp_path, {"0_cues": np.array([(1, 2, 3), point]).T})
    assert "2008_000001" in error.found and error.found.endswith(found) and error.expected == expected


def test_a_point_with_two_classes_is_refused_by_name(tmp_path):
    error = refusal(tmp_path, {"1_cues": np.array([[8, 1, 12], [3, 3, 3], [4, 5, 4]])})
    assert "2008_000002" in error.found and error.found.endswith("cat and dog in row 3, column 4")


def test_a_point_that_is_named_twice_with_one_class_is_read(tmp_path):
    found = read(tmp_path, {"0_cues": np.array([[8, 8], [3, 3], [4, 4]])})
    assert (cue_map(found.points["2008_000001"]) == 8).sum() == 1


@pytest.mark.parametrize(
    "value",
    [
        POINTS[:2],
        POINTS[0],
        np.zeros((3, 1, 1), int),
        tuple(POINTS[:2]),
        (POINTS[0], POINTS[1], POINTS[2, :3]),
        [1, 2, 3],
        {},
    ],
)
def test_cues_of_another_shape_are_refused(tmp_path, value):
    assert "2008_000001 (0_cues)" in refusal(tmp_path, {"0_cues": value}).found


@pytest.mark.parametrize("value", [POINTS, np.int64(3), 3, "8", [8, "8"], [8, True], [2**70], [8.0], None, [[8]]])
def test_labels_of_another_shape_or_kind_are_refused(tmp_path, value):
    assert "2008_000001 (0_labels)" in refusal(tmp_path, {"0_labels": value}).found


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
    assert list(found.labels) == list(found.points) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ("a 0\na 1\n", "line 2 is 'a 1'"),
        ("a 0\nb 0\n", "line 2 is 'b 0'"),
        ("a 0\nb 1 2\n", "line 2 is 'b 1 2'"),
        ("a 0\n..\n", "line 2 is '..'"),
        ("a zero\n", "line 1 is 'a zero'"),
        ("a\n\x1b[31m\n", "line 2 is '\\x1b[31m'"),
        ("\n", "nothing in it"),
    ],
)
def test_a_list_of_other_lines_is_refused(tmp_path, ids, found):
    path = written(tmp_path, CONTENT, ids=ids)
    with pytest.raises(BadInput) as caught:
        read_cues(path)
    error = caught.value
    assert error.subject == tmp_path / "input_list.txt" and error.found == found
    assert "2008_007028.jpg 0" in error.expected and str(error).isprintable()


@pytest.mark.parametrize("name", ["input_list.txt", "cues.pickle"])
def test_a_missing_file_is_named(tmp_path, name):
    path = written(tmp_path, CONTENT)
    (tmp_path / name).unlink()
    with pytest.raises(MissingArtefact) as caught:
        read_cues(path)
    assert caught.value.subject == tmp_path / name and name in caught.value.expected


def test_labels_without_cues_and_cues_without_labels_are_kept_not_refused(tmp_path):
    content = {"0_labels": [8, 12], "0_cues": np.array([[0, 8, 15], [0, 1, 2], [0, 1, 2]]), "1_labels": [3, 2]}
    found = read(tmp_path, content)
    assert found.labels == {"2008_000001": (8, 12), "2008_000002": (2, 3)}
    assert found.points["2008_000001"][0].tolist() == [0, 8, 15]
    assert found.points["2008_000002"].shape == (3, 0)
    alone = read(tmp_path, {"1_cues": POINTS})
    assert alone.labels == {"2008_000002": ()}
    np.testing.assert_array_equal(alone.points["2008_000002"], POINTS)


# ---------------------------------------------------------------- the published form, and the published file

SMALL = FOLDER / "sec_cues"  # three images with invented cues, in the bytes that Python 2 would have written of them


def test_a_file_in_the_published_form_gives_the_points_that_were_written():
    found = read_cues(SMALL / "localization_cues.pickle")
    expected = json.loads((SMALL / "points.json").read_text())
    assert list(found.labels) == list(found.points) == list(expected)  # the list names a fourth image
    for image_id, known in expected.items():
        assert found.labels[image_id] == tuple(known["labels"])
        assert found.points[image_id].dtype == np.int64
        np.testing.assert_array_equal(found.points[image_id], known["points"])
    assert sum(points.shape[1] for points in found.points.values()) > 300


def entries_of(content):
    return {key: integers(value, key) for key, value in read_pickle(content).items()}


def test_the_file_in_the_published_form_is_what_its_writer_writes():
    small = (SMALL / "localization_cues.pickle").read_bytes()
    assert as_sec_wrote(entries_of(small)) == small


def test_the_writer_writes_the_published_bytes():
    if not REAL.is_file():
        pytest.skip("the published cues are not at hand")
    with gzip.open(REAL) as stream:
        begin = stream.read(2**23)
    begin = begin[: begin.index(b"tbu(X") + 3] + b"."  # the first thousand entries, and the end
    entries = entries_of(begin)
    assert len(entries) == 1000 and as_sec_wrote(entries) == begin


def test_the_published_cues_are_read_as_they_are_known():
    if not REAL.is_file():
        pytest.skip("the published cues are not at hand")
    found = read_cues(REAL)
    assert len(found.labels) == len(found.points) == 10_582
    counts = np.bincount([label for labels in found.labels.values() for label in labels], minlength=21)
    assert counts[1:].tolist() == [
        586, 485, 698, 460, 651, 385, 1079, 1000, 1063, 262, 520, 1176, 444, 481, 3876, 485, 299, 474, 499, 548,
    ]  # fmt: skip
    assert all({*tags} == {*found.points[i][0].tolist()} - {0} for i, tags in found.labels.items())
    maps = np.stack([cue_map(points) for points in found.points.values()])
    assert (maps != 255).sum() == sum(points.shape[1] for points in found.points.values())  # no point is named twice
    assert round(100 * (maps != 255).mean(), 1) == 24.0
    assert round(100 * (maps == 0).mean(), 1) == 9.8
