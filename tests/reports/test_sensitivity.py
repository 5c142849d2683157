"""The table of readings: what is written of each comparison, and what it says that it is not."""

import csv
import io
import json
from dataclasses import replace

import pytest
from conftest import TINY

from swdb.core.files import write_json
from swdb.reports.sensitivity import (
    CSV_HEADER,
    FORMATS,
    HEADER,
    Finding,
    by_claim,
    lacks,
    lines_of,
    markdown,
    notes,
    render,
    words_of,
    write,
)
from swdb.specs.presets import load_preset
from swdb.specs.sensitivity import load_sensitivity
from swdb.specs.tables import load_tables
from swdb.verdicts.readings import AGREES, FOR, OTHER_DIRECTION, UNDECIDED, Comparison, Side
from swdb.verdicts.verdict import NOT_RUN, Interval

PRESET = load_preset(TINY)
TABLES = load_tables()
CLAIMS = {claim.key: (number, claim) for number, table in TABLES.items() for claim in table.claims}
READS = {one.reading.key: one for one in load_sensitivity(TABLES).readings}


def compared(key: str, default: Side | None, otherwise: Side | None, change=None, interval=None) -> Comparison:
    number, claim = CLAIMS[key]
    return Comparison(claim, number, (0, 1) if default else (), default, otherwise, change, interval)


SHOWN = Side(1.26, Interval(0.5, 2.02), 0.004, FOR)
OPEN = Side(-0.04, Interval(-0.9, 0.82), 0.9, UNDECIDED)
FINDINGS = [
    Finding(
        READS["kl-over-classes"].reading,
        ("dual-kl-kl-over-classes",),
        (compared("kl-hurts", SHOWN, OPEN, -1.3, Interval(-2.0, -0.6)),),
    ),
    Finding(
        READS["random-neck"].reading,
        ("dual-random-neck",),
        (compared("kl-hurts", SHOWN, SHOWN, 0.0), compared("mixing-hurts", None, None)),
    ),
]


def test_a_line_holds_both_sides_their_difference_and_what_they_say_together():
    (line,) = lines_of(FINDINGS[0])
    assert line == (
        "kl-hurts",
        "+1.3 [+0.5, +2.0] for",
        "0.0 [-0.9, +0.8] undecided",
        "-1.3 [-2.0, -0.6]",
        OTHER_DIRECTION,
    )
    assert len(line) == len(HEADER)
    assert lines_of(FINDINGS[0], ends=False)[0][1:4] == ("+1.3 ±0.8 for", "0.0 ±0.9 undecided", "-1.3 ±0.7")
    assert lines_of(FINDINGS[1])[1] == ("mixing-hurts", NOT_RUN, NOT_RUN, "", NOT_RUN)


def test_claim_by_claim_it_says_which_readings_agree():
    assert by_claim(FINDINGS) == {
        "kl-hurts": {OTHER_DIRECTION: ["kl-over-classes"], AGREES: ["random-neck"]},
        "mixing-hurts": {NOT_RUN: ["random-neck"]},
    }


def test_markdown_has_the_claims_first_then_each_reading_with_its_trainings():
    text = markdown(FINDINGS, "Readings", PRESET)
    assert text.startswith("**Sensitivity. Readings — tiny scenes for tests**\n")
    assert "| kl-hurts | random-neck | – | – | kl-over-classes | – |" in text
    assert "**kl-over-classes**: what 1/\\|s\\| of equation 1 counts" in text
    assert "Trained for it: dual-kl-kl-over-classes." in text
    assert text.index("| mixing-hurts |") < text.index("**kl-over-classes**") < text.index("**random-neck**")


def test_it_says_that_it_is_ours_and_decides_nothing():
    lines = notes(FINDINGS, PRESET)
    assert any("a table of ours" in line for line in lines)
    assert any("without any adjustment, and decide nothing" in line for line in lines)
    assert any("seeds 0, 1" in line for line in lines)
    assert any("another scale than the paper's" in line for line in lines)
    assert not any("another scale" in line for line in notes(FINDINGS, replace(PRESET, comparable=True)))
    assert not any("seeds" in line for line in notes([], PRESET))


def test_csv_has_one_line_for_each_reading_and_claim():
    lines = [*csv.DictReader(io.StringIO(render(FINDINGS, "Readings", PRESET, "csv")))]
    assert [*lines[0]] == [*CSV_HEADER]
    assert [(line["reading"], line["claim"], line["default_verdict"]) for line in lines] == [
        ("kl-over-classes", "kl-hurts", FOR), ("random-neck", "kl-hurts", FOR), ("random-neck", "mixing-hurts", NOT_RUN),
    ]  # fmt: skip
    assert (lines[0]["seeds"], lines[0]["otherwise_effect"], lines[0]["same_verdict"]) == ("0 1", "-0.04", "False")


def test_json_says_what_a_reading_changes_and_that_nothing_is_adjusted():
    found = json.loads(render(FINDINGS, "Readings", PRESET, "json"))
    assert (found["adjusted"], found["alpha"], found["preset"]) == (False, 0.05, "tiny")
    first = found["readings"][0]
    assert first["changes"] == {"training.kl_mean": "pixels-and-classes"} and first["runs"] == [
        "dual-kl-kl-over-classes"
    ]
    assert first["claims"][0]["otherwise_p"] == 0.9 and first["claims"][0]["same_direction"] is False


def test_a_reading_in_words_names_question_place_and_both_answers():
    reading = READS["whole-batches"].reading
    assert all(
        part in words_of(reading) for part in (reading.question, reading.place, reading.default, reading.otherwise)
    )


def test_what_is_written_can_be_counted_against_later(tmp_path):
    assert lacks(FINDINGS, tmp_path) == 0
    paths = write(FINDINGS, "Readings", PRESET, tmp_path)
    assert sorted(path.name for path in paths) == sorted(f"sensitivity.{form}" for form in FORMATS)
    assert lacks(FINDINGS, tmp_path) == 0
    assert lacks(FINDINGS[1:], tmp_path) == 1 and lacks([], tmp_path) == 2


@pytest.mark.parametrize("damage", [{}, [], {"readings": [{}]}, {"readings": 3}])
def test_a_damaged_table_on_disk_is_replaced(tmp_path, damage):
    write_json(tmp_path / "sensitivity.json", damage)
    assert lacks(FINDINGS, tmp_path) == 0
