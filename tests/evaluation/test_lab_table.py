"""The table of a laboratory, and the sentence that says how much of a gap to the paper it explains."""

import pytest

from swdb.evaluation.lab_table import DIAGNOSIS, cells, closing, markdown, notes, table, title

RECORD = {
    "run": "dual-s0-abc",
    "branch": "strong",
    "images": 1449,
    "preset": "voc",
    "comparable": True,
    "paper": 72.2,
    "miou": 67.0,
    "recomputed": 67.0,
    "passes": 19,
    "definitions": [
        {"key": "pooled", "words": "ours", "where": "CPS", "miou": 67.0},
        {"key": "absent-0", "words": "absent 0", "where": "UniMatch", "miou": 66.9999},
        {"key": "hit", "words": "dropped | hit", "where": "DSRG", "miou": None},
    ],
    "choices": [{"key": "strong-flip", "words": "mirrored", "where": "mmseg", "miou": 69.6}],
}


def test_a_way_is_shown_with_its_difference_to_ours_and_who_uses_it():
    assert [cells(line) for line in table(RECORD)] == [
        ("ours", "67.00", "0.00", "CPS"),
        ("absent 0", "67.00", "0.00", "UniMatch"),  # and not -0.00
        ("dropped | hit", "–", "–", "DSRG"),
        ("mirrored", "69.60", "+2.60", "mmseg"),
    ]
    assert [line.section for line in table(RECORD)] == ["definitions"] * 3 + ["choices"]


def test_at_the_paper_s_preset_the_last_sentence_says_which_part_of_the_gap_is_explained():
    assert closing(RECORD) == (
        "At preset voc the largest gain is +2.60 points (mirrored): such choices explain at most 50% of the 5.20 points that "
        "are missing to the paper's 72.2."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"comparable": False, "preset": "tiny"},
            "that is of this preset, whose scores cannot be compared with the paper's.",
        ),
        ({"paper": None}, "the paper prints no score for this run and branch."),
        ({"paper": 60.0}, "nothing is missing to the paper's 60.0."),
        ({"paper": 68.0}, "explain at most 100% of the 1.00 points that are missing to the paper's 68.0."),
        ({"choices": []}, "no way gives more than ours (67.00): such choices explain at most 0% of the 5.20 points"),
    ],
)
def test_the_last_sentence_says_what_can_be_said(changes, said):
    assert said in closing(RECORD | changes)
    assert notes(RECORD | changes)[-1] == closing(RECORD | changes)


def test_what_another_machine_computed_is_compared_with_what_it_computed_itself():
    other = RECORD | {"recomputed": 67.1}
    assert [line.points for line in table(other)][-1] == pytest.approx(2.5)
    assert any("another machine" in line for line in notes(other))
    assert not any("another machine" in line for line in notes(RECORD))


def test_it_says_that_it_is_a_diagnosis():
    assert DIAGNOSIS in title(RECORD)
    text = markdown(RECORD)
    assert DIAGNOSIS in text and closing(RECORD) in text
    assert r"| dropped \| hit | DSRG | – | – |" in text.splitlines()
