"""`swdb preregister`: written once, harmless again, kept beside what was registered before."""

import json
from pathlib import Path

import made_up_scores
import pytest
from commands import call, copied, next_command, succeed, the_error
from conftest import TINY

from swdb.core.files import read_json, write_json
from swdb.specs.presets import load_preset
from swdb.specs.tables import load_tables
from swdb.study.preregistration import FILE, read_registrations


def registered(work: Path, *words: object) -> dict:
    return json.loads(succeed("preregister", "--json", *words, "--preset", TINY, "--workdir", work).stdout)


def test_what_is_registered_is_all_that_a_verdict_hangs_on(tmp_path):
    found = registered(tmp_path)
    tables = load_tables()
    claims = {claim.key: claim for table in tables.values() for claim in table.claims}
    assert found["new"] and found["claims"].keys() == claims.keys() and len(claims) >= 27
    one = found["claims"]["fine-tuning-converges"]
    assert one["margin"] == 1.0 and one["text"] == claims["fine-tuning-converges"].text
    assert one["cells"]["1:fine-tuned.miou"]["runs"][0]["start_from"] == "weak"
    assert found["claims"]["better-than-decouplednet"]["cells"]["4:5.decouplednet"] == {"printed": 53.1}
    assert found["settings"] == load_preset(TINY).digest() and found["seeds"] == list(range(12))
    assert found["rule"]["looks"] == [3, 5, 8, 12] and found["rule"]["alpha"] == 0.05 and found["rule"]["version"] >= 1
    (kept,) = read_registrations(tmp_path)
    assert kept.digest == found["digest"] and sorted(path.name for path in tmp_path.iterdir()) == [".leases", FILE]


def test_again_is_harmless_and_other_seeds_are_another_registration(tmp_path):
    first = registered(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    again = registered(tmp_path)
    assert again == {**first, "new": False} and (tmp_path / FILE).read_bytes() == before
    other = registered(tmp_path, "--seeds", "5")
    assert other["new"] and [one.digest for one in read_registrations(tmp_path)] == [first["digest"], other["digest"]]


def test_it_is_said_in_words_with_the_command_that_follows(tmp_path):
    result = succeed("preregister", "--preset", TINY, "--workdir", tmp_path)
    first, second, third = result.stdout.splitlines()
    assert (
        first
        == "registered: 30 claims, 6 of them with margins, preset tiny, at most 12 seeds, the regime check's 3 conditions"
    )
    assert "sha256" in second and str(tmp_path / FILE) in third
    assert next_command(result)[:2] == ["reproduce-table", "all"]
    again = succeed("preregister", "--preset", TINY, "--workdir", tmp_path)
    assert again.stdout.splitlines()[0].startswith("registered already: ")


def test_after_the_runs_it_says_so(tmp_path):
    made_up_scores.study(tmp_path / "work", seeds=1, tables=(4,))
    result = succeed("preregister", "--preset", TINY, "--workdir", tmp_path / "work")
    assert "6 cells were scored before" in result.stderr


def test_a_changed_rule_or_claim_is_registered_beside_the_old_one(tmp_path, monkeypatch):
    first = registered(tmp_path)
    monkeypatch.setattr("swdb.verdicts.rule.VERSION", 99)
    second = registered(tmp_path)
    assert second["new"] and second["claims"] == first["claims"] and second["digest"] != first["digest"]


@pytest.mark.parametrize("text", ["{", '{"version": 1, "registrations": [{}]}', '{"version": 9, "registrations": []}'])
def test_what_is_damaged_is_named_and_kept(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    result = call("preregister", "--preset", TINY, "--workdir", tmp_path)
    assert result.exit_code == 3 and FILE in the_error(result)
    assert (tmp_path / FILE).read_text() == text
    assert "put back what was registered" in result.stderr


def test_too_many_seeds_are_refused(tmp_path):
    result = call("preregister", "--seeds", "100000", "--preset", TINY, "--workdir", tmp_path)
    assert result.exit_code == 2 and the_error(result) == "--seeds 100000: too many; expected at most 1,000"
    assert list(tmp_path.iterdir()) == []


def test_runs_of_a_real_study_name_it_and_are_the_same_runs(finished, tmp_path):
    work = copied(finished, tmp_path, "strong-s0-*", "weak-then-strong-s0-*", "reports")
    found = registered(work)
    options = ("--preset", TINY, "--workdir", work, "--device", "cpu", "--precision", "fp32")
    succeed("reproduce-table", "1", "--seeds", "1", *options)
    (run,) = work.glob("runs/strong-s0-*")
    record, before = read_json(run / "done.json"), read_json(finished / "runs" / run.name / "done.json")
    assert record["registrations"] == [found["digest"]] and "registrations" not in before
    assert record["digest"] == before["digest"]
    told = json.loads(succeed("verify", "--json", "--preset", TINY, "--workdir", work).stdout)
    stands = {one["claim"]["key"]: one["registered"] for one in told["claims"]}
    assert stands["fine-tuning-converges"] == "after"  # weak, from which the other one starts, is older
    text = (work / "reports" / "tiny" / "table1.md").read_text()
    assert "fixed after the runs behind them" in text
    for path in work.glob("runs/*/done.json"):
        write_json(path, {**read_json(path), "registrations": [found["digest"]]})
    told = json.loads(succeed("verify", "--json", "--preset", TINY, "--workdir", work).stdout)
    assert {one["registered"] for one in told["claims"]} == {"before"}
