"""`swdb eval --lab`: one run in all ways, kept beside its scores, printed at once the second time, part of no table."""

import json
import shutil

import pytest
from commands import FP32, call, contents, next_command, only, succeed, the_error
from conftest import swdb

from swdb.core.files import read_json, write_json


def lab(work, *words: object):
    return call("eval", "dual", "--lab", *words, *FP32, "--workdir", work)


def test_a_run_is_scored_in_all_ways_beside_its_scores_and_no_table_changes(own):
    before = contents(own / "reports")
    result = lab(own)
    assert result.exit_code == 0, result.stderr
    assert "a diagnosis: nothing of it stands in a table" in result.stdout
    assert "evaluated otherwise" in result.stdout and "of this preset" in " ".join(result.stdout.split())
    path = only(own, "runs/dual-s0-*/evals/lab.json")
    assert f"kept: {path} and {path.with_suffix('.md')}" in result.stderr.splitlines()
    assert next_command(result)[:2] == ["reproduce-table", "all"]
    table = succeed("reproduce-table", "all", "--no-train", "--seeds", "1", *FP32, "--workdir", own)
    after = {name: found for name, found in contents(own / "reports").items() if ".leases" not in name}
    assert "evaluated otherwise" not in table.stdout and after.keys() == before.keys()
    assert {name: data for name, (_, data) in after.items()} == {name: data for name, (_, data) in before.items()}


def test_the_second_time_it_is_printed_at_once_in_every_form(own):
    first = lab(own)
    path = only(own, "runs/dual-s0-*/evals/lab.json")
    before = contents(path.parent)
    result = swdb("eval", "dual", "--lab", *FP32, "--workdir", own)
    assert result.stdout == first.stdout and " ...\n" not in result.stderr
    assert lab(own, "--format", "md").stdout == path.with_suffix(".md").read_text()
    assert json.loads(lab(own, "--json").stdout) == read_json(path)
    assert contents(path.parent) == before


def test_the_score_s_own_numbers_are_those_that_eval_prints(own):
    found = {one["key"]: one["miou"] for one in json.loads(lab(own, "--json").stdout)["choices"]}
    words = ("--scales", "0.75,1,1.25", "--crf", "dsrg", "--json")
    value = json.loads(succeed("eval", "dual", *words, *FP32, "--workdir", own).stdout)
    assert found["strong-0.75-1-1.25-crf-dsrg"] == value["miou"]


def test_what_another_version_looked_at_is_looked_at_again(own):
    first = lab(own, "--json").stdout
    path = only(own, "runs/dual-s0-*/evals/lab.json")
    write_json(path, read_json(path) | {"id": "dual-s0-lab-0123456789", "choices": []})
    assert lab(own, "--json").stdout == first


def test_a_score_that_is_not_there_is_made_first(own):
    shutil.rmtree(only(own, "runs/dual-s0-*/evals/val-weak"))
    assert lab(own, "--branch", "weak").exit_code == 0
    assert only(own, "runs/dual-s0-*/evals/lab-weak.json") and only(own, "runs/dual-s0-*/evals/val-weak/result.json")


def test_a_run_that_is_not_trained_is_refused(own):
    result = call("eval", "dual-s7", "--lab", *FP32, "--workdir", own)
    assert result.exit_code == 3 and "not trained yet" in the_error(result)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lab", "--flip"], "--lab --flip: --lab scores in all ways at once; expected only one of the two"),
        (["--lab", "--crf", "dsrg"], "--lab --crf: --lab scores in all ways at once; expected only one of the two"),
        (["--format", "md"], "--format md: one score has no table; expected --lab beside it"),
        (["--lab", "--format", "markdown"], "--format 'markdown': unknown; expected md, rich"),
    ],
)
def test_options_that_do_not_go_together_are_refused(own, words, said):
    result = call("eval", "dual", *words, *FP32, "--workdir", own)
    assert result.exit_code == 2
    assert the_error(result) == said


def test_a_damaged_laboratory_is_named(own):
    lab(own)
    path = only(own, "runs/dual-s0-*/evals/lab.json")
    write_json(path, {name: value for name, value in read_json(path).items() if name != "choices"})
    result = lab(own)
    assert result.exit_code == 3 and the_error(result).startswith(f"{path}: damaged")
