"""`swdb status`: one look at a study, in a terminal and as JSON."""

import json

import pytest
from commands import call, contents, copied, hinted_command, only, succeed, the_error
from conftest import TINY

from swdb.cli import console
from swdb.core.journal import Journal
from swdb.core.lease import Lease

OPTIONS = ("--preset", TINY)


def look(work, *words: object):
    return succeed("status", *words, *OPTIONS, "--workdir", work)


@pytest.fixture
def partly(finished, tmp_path):
    """A work directory in which three runs are not done."""
    return copied(finished, tmp_path, "strong-s0-*", "dual-n0-s0-*", "all-strong-s0-*")


def test_a_finished_study_is_done(finished, tmp_path):
    work = copied(finished, tmp_path)
    before = contents(work)
    lines = look(work).stdout.splitlines()
    whole = len(lines) - 5
    assert lines[-1] == f"{whole} artefacts: {whole} done" and whole > 40
    assert contents(work) == before


def test_diagnoses_beside_the_scores_are_listed(finished):
    told = json.loads(look(finished, "--json").stdout)
    kinds = {entry["kind"] for entry in told["artefacts"]}
    assert {"score", "quality", "dsrg-score", "recognition"} <= kinds


def test_what_runs_what_failed_and_what_is_to_do_stand_apart(partly, finished):
    running, failed, _ = (only(finished, f"runs/{name}-s0-*").name for name in ("strong", "dual-n0", "all-strong"))
    held = Lease(partly / "runs" / running, "swdb train")
    assert held.try_take()
    Journal(partly, running).note("strong-s0: 120 of 400")
    Journal(partly, failed).note("error: the disk is full")
    result = look(partly)
    told = json.loads(look(partly, "--json").stdout)
    held.release()
    entries = {entry["id"]: entry for entry in told["artefacts"]}
    assert entries[running]["state"] == "running" and entries[running]["line"] == "strong-s0: 120 of 400"
    assert entries[failed] == {
        "id": failed,
        "kind": "run",
        "name": "dual-n0-s0",
        "state": "failed",
        "line": "the disk is full",
    }
    assert told["counts"]["running"] == told["counts"]["failed"] == 1 and told["preset"] == "tiny"
    assert sum(told["counts"].values()) == len(entries)
    assert result.stdout.splitlines()[-1].endswith(
        f"{told['counts']['done']} done, 1 running, 1 failed, {told['counts']['to do']} to do"
    )
    words = {line.split()[1]: line.split()[0] for line in result.stdout.splitlines() if len(line.split()) > 1}
    assert words[running] == "running" and words[failed] == "failed"


def test_of_a_long_list_only_what_is_neither_done_nor_to_do_is_shown(partly, finished, monkeypatch):
    monkeypatch.setattr(console, "MOST_STATES", 10)
    failed = only(finished, "runs/dual-n0-s0-*").name
    assert len(look(partly).stdout.splitlines()) == 1
    Journal(partly, failed).note("error: the disk is full")
    first, summary = (line.split() for line in look(partly).stdout.splitlines() if "failed" in line)
    assert first == ["failed", failed, "the", "disk", "is", "full"] and "artefacts:" in summary


def test_without_a_plan_the_command_that_makes_one_is_named(tmp_path):
    result = call("status", *OPTIONS, "--workdir", tmp_path / "work")
    assert result.exit_code == 3
    assert the_error(result).endswith("plan.json: no tables were begun with this preset")
    assert hinted_command(result)[:2] == ["reproduce-table", "all"]
    assert not (tmp_path / "work").exists()


def test_a_damaged_list_of_jobs_is_named_with_the_command_that_deletes_it(partly):
    (partly / "slurm").mkdir()
    (partly / "slurm" / "jobs.json").write_text("{")
    result = call("status", *OPTIONS, "--workdir", partly)
    assert result.exit_code == 3
    assert "jobs.json: damaged" in the_error(result)
    assert result.stderr.splitlines()[-1].startswith("hint: delete it, then run again: rm ")
