"""What a classification network found stands under the table, and in no cell; a damaged record is named and no more."""

import json
from dataclasses import replace

import pytest
from made_up import SCORES, TABLE, measured_in, scores_in

from swdb.core.errors import MissingArtefact
from swdb.core.files import digest, write_json
from swdb.reports.recognition import RECORD, Recognition, checked, from_json, recognition_lines, recognitions

FOUND = {
    "map": 0.75,
    "recall": {"cat": 0.9, "cow": 0.5, "dog": None},
    "no_class_found": 0.125,
    "miou_true_tags": 61.5,
    "iou_true_tags": {"cat": 50.0},
}


def record(found, run):
    """A record as it is written."""
    found = {**found, "run": run}
    return {"id": "an id", "digest": digest(found), **found, "machine": {}}


@pytest.fixture
def scores(tmp_path):
    """Made-up scores, with records beside those of row `marked`."""
    found = scores_in(tmp_path)
    for seed, score in found["marked", "strong"].items():
        write_json(score.folder.parent / RECORD, record({**FOUND, "miou_true_tags": 60.0 + seed}, score.inputs[0].id))
    return {("marked", "strong"): found["marked", "strong"], ("plain", "strong"): found["plain", "strong"]}


def test_what_lies_beside_scores_is_read_and_what_says_nothing_of_a_class_that_is_not_there_is_left_out(scores):
    found = list(recognitions(scores))
    assert [(one.row, one.column, one.seed) for one in found] == [("marked", "strong", seed) for seed in (0, 1, 2)]
    assert found[0].found["recall"] == {"cat": 0.9, "cow": 0.5}
    assert found[0].run.startswith("marked-s0-")


def test_one_line_for_a_row_with_means_over_seeds(scores):
    (line,) = recognition_lines(TABLE, recognitions(scores))
    assert "Strong branch" in line and "no cell reads" in line
    for words in ("finds 70 % of the classes", "least cow, 50 %", "none at all in 12 %", "precision 75 %", "mIoU 61.0"):
        assert words in line, words


def test_no_cell_and_no_mean_hangs_on_it(scores, tmp_path):
    with_it, without = measured_in(tmp_path), measured_in(tmp_path / "other")
    assert with_it.recognitions and not without.recognitions
    assert {place: cell.by_seed for place, cell in with_it.cells.items()} == {
        place: cell.by_seed for place, cell in without.cells.items()
    }


DAMAGE = {
    "no recall": {key: value for key, value in FOUND.items() if key != "recall"},
    "a recall in per cent": {**FOUND, "recall": {"cat": 90.0}},
    "no class at all": {**FOUND, "recall": {"cat": None}},
    "text": {**FOUND, "map": "0.5"},
    "a truth": {**FOUND, "map": True},
    "no number": {**FOUND, "map": float("nan")},
    "an mIoU of more than all": {**FOUND, "miou_true_tags": 101.0},
    "a list": [],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_named_and_the_table_stands(scores, damage):
    score = scores["marked", "strong"][1]
    run, content = score.inputs[0].id, DAMAGE[damage]
    (score.folder.parent / RECORD).write_text(json.dumps(record(content, run) if content else content))
    lines = list(recognition_lines(TABLE, recognitions(scores)))
    assert len(lines) == 2 and "cannot be read for marked-s1-" in lines[0] and "\n" not in lines[0]
    with pytest.raises(MissingArtefact):
        checked(DAMAGE[damage], score.record)


def test_a_number_that_was_edited_by_hand_is_not_told(scores):
    path = scores["marked", "strong"][1].folder.parent / RECORD
    path.write_text(path.read_text().replace("61.0", "91.0"))
    damaged, line = recognition_lines(TABLE, recognitions(scores))
    assert "cannot be read for marked-s1-" in damaged and "mIoU 61.0 " in line  # the mean of 60 and 62


def test_a_record_that_is_missing_is_named_where_there_should_be_one(scores):
    score = scores["marked", "strong"][1]
    (score.folder.parent / RECORD).unlink()
    assert len(list(recognition_lines(TABLE, recognitions(scores)))) == 1  # made-up runs have no recognizer
    run = score.inputs[0]
    recognizer = replace(run, id="recognizer-0123456789", kind="recognizer")
    asks = replace(score, inputs=(replace(run, inputs=(*run.inputs, recognizer)), *score.inputs[1:]))
    scores["marked", "strong"][1] = asks
    missing, line = recognition_lines(TABLE, recognitions(scores))
    assert "cannot be read for marked-s1-" in missing and "reproduce-table makes it again" in missing
    assert "\n" not in missing and "mIoU 61.0 " in line


def test_a_record_of_another_run_is_not_taken_for_this_one_s(scores):
    other, score = (scores["marked", "strong"][seed] for seed in (0, 1))
    (score.folder.parent / RECORD).write_bytes((other.folder.parent / RECORD).read_bytes())
    assert [one.found is None for one in recognitions(scores)] == [False, True, False]


def test_what_is_written_down_is_read_back(scores):
    found = tuple(recognitions(scores))
    broken = replace(found[0], found=None)
    assert from_json(json.loads(json.dumps([one.to_json() for one in (*found, broken)])), "x") == (*found, broken)
    with pytest.raises(MissingArtefact):
        from_json([{**found[0].to_json(), "found": {"map": 2.0}}], "x")


def test_an_average_has_none(scores):
    score = scores["marked", "strong"][0]
    both = replace(score, inputs=(*score.inputs, replace(score.inputs[0], id="another")))
    assert list(recognitions({("marked", "strong"): {0: both}})) == []
    assert isinstance(next(recognitions({("marked", "strong"): {0: score}})), Recognition) and SCORES
