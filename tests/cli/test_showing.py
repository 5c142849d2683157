"""Tables are written and printed from what is finished, with the same verdicts wherever they stand."""

import json
from pathlib import Path

import pytest
from commands import FP32, contents, succeed
from conftest import TINY
from refusing import read_only

FORMATS = ("md", "csv", "json")


def table(work: Path, *words: object):
    return succeed("reproduce-table", *words, *FP32, "--workdir", work)


def test_claims_are_judged_the_same_wherever_they_are_shown(own):
    alone = json.loads(table(own, "3", "--no-train", "--seeds", "1", "--format", "json").stdout)
    whole = json.loads(table(own, "all", "--no-train", "--seeds", "1", "--format", "json").stdout)
    assert alone["claims"] == whole[2]["claims"] and alone["judged"]["family"] == 25
    assert {claim["word"] for claim in alone["claims"]} == {"UNDECIDED", "NOT COMPARABLE"}  # with one seed
    # the branches' gain over separate training is about runs of Table 2
    assert {tuple(claim["seeds"]) for claim in alone["claims"]} == {(0,)}


def test_a_report_is_never_replaced_by_one_that_has_less(own):
    table(own, "1", "--rows", "strong", "--seeds", "2")
    reports = [own / "reports" / "tiny" / f"table1.{form}" for form in FORMATS]
    before = [path.read_bytes() for path in reports]
    for words in (["--rows", "mixed"], ["--rows", "strong", "--no-train"], []):
        result = table(own, "1", "--seeds", "1", *words)
        assert "of seed 0 alone;" in result.stdout and "NOT RUN" not in result.stdout
        assert [path.read_bytes() for path in reports] == before


def test_looking_at_another_study_leaves_its_reports(own):
    before = contents(own / "reports")
    result = succeed("reproduce-table", "all", "--no-train", "--preset", TINY, "--workdir", own, "--precision", "bf16")
    assert "NOT RUN" in result.stdout and "written" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("kept: ")]) == 4
    assert contents(own / "reports") == before


@pytest.mark.parametrize("words", [["--no-train"], []], ids=["no training", "finished"])
def test_a_table_is_printed_though_the_disk_is_read_only(own, monkeypatch, words):
    expected = table(own, "all", "--seeds", "1", *words).stdout
    before = contents(own / "reports")
    read_only(monkeypatch)
    result = table(own, "all", "--seeds", "1", *words)
    monkeypatch.undo()
    assert result.stdout == expected
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("not written: ")]
    assert str(own / "reports" / "tiny") in line and "read-only" in line
    assert "written: " not in result.stderr.replace("not written: ", "")
    assert contents(own / "reports") == before
