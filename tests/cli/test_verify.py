"""`swdb verify`: the ledger from finished work, for people and for CI; every artefact that is spoilt is one line."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import made_up_scores
import pytest
from commands import call, contents, copied, hinted_command, next_command, succeed, the_error, the_hint
from conftest import REPOSITORY, TINY
from simulated import PRINTED, SOURCES, TURNED, exchanged, printed_means

from swdb.core.files import read_json, write_json


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """A folder with two studies of three seeds at a preset that is the paper's: as printed, and with effects turned."""
    folder = tmp_path_factory.mktemp("studies")
    preset = made_up_scores.preset_of(folder, comparable=True)
    made_up_scores.preset_of(folder, comparable=False)
    means = printed_means(SOURCES, PRINTED)
    made_up_scores.study(folder / "good" / "work", preset=preset)
    turned = exchanged(means, SOURCES, TURNED, {"1:strong.miou": -12.0})
    made_up_scores.study(folder / "bad" / "work", preset=preset, means=turned)
    return folder


@pytest.fixture
def good(studies, tmp_path) -> tuple[str, ...]:
    """The options of a study that a test may spoil."""
    work = copied(studies / "good" / "work", tmp_path)
    return "--preset", str(studies / "as-printed.toml"), "--workdir", str(work)


@pytest.fixture
def bad(studies) -> tuple[str, ...]:
    return "--preset", str(studies / "as-printed.toml"), "--workdir", str(studies / "bad" / "work")


def work_of(options: tuple[str, ...]) -> Path:
    return Path(options[-1])


def ledger_of(*words: str) -> dict:
    return json.loads(succeed("verify", "--json", *words).stdout)


def verdicts_of(*words: str) -> dict[str, dict]:
    return {one["claim"]["key"]: one for one in ledger_of(*words)["claims"]}


# ---------------------------------------------------------------- what is said


def test_the_regime_check_is_said_with_its_numbers_and_what_it_lacks(good, bad):
    first, second, third = ledger_of(*good)["regime"]["conditions"]
    assert first["word"] == "shown" and first["condition"]["points"] == 6.0 and first["seeds"] == [0, 1, 2]
    assert second["effect"] is not None and third["word"] == "NOT RUN" and "quality.json" in third["why"]
    text = " ".join(succeed("verify", *good).stdout.split())
    assert text.count("regime check: ") == 4 and "paper prints 68.9 - 57.0 = +11.9" in text
    assert ledger_of(*bad)["regime"]["outside"] is True
    assert "outside the paper's regime, so it counts for less" in " ".join(succeed("verify", *bad).stdout.split())


def test_every_sentence_of_the_supplement_is_printed_with_what_became_of_it(good):
    text = succeed("verify", "--sentences", *good).stdout
    assert "section 4: … consistently better than combining the result …" in text
    assert text.count("\n  no claim: ") >= 10 and "the paper contradicts itself: it prints 62.3" in text
    found = json.loads(succeed("verify", "--sentences", "--json", *good).stdout)["sentences"]
    verdicts = {key: word for one in found for key, word in one["claims"].items()}
    assert verdicts == {key: one["shown"] for key, one in verdicts_of(*good).items()}


def test_every_claim_has_a_line_and_nothing_is_written(good):
    before = contents(work_of(good))
    result = succeed("verify", *good)
    text = " ".join(result.stdout.split())
    assert "REPRODUCED: mixing strong and weak labels in one branch is worse than strong labels alone (+" in text
    assert "finds a true 2-point effect in" in text and "would take" in text
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("Table ")] == ["Table 1", "Table 2", "Table 3", "Table 4"]
    assert lines[-1].startswith("30 claims on preset as-printed: ")
    assert next_command(result)[0] == "plan"
    assert contents(work_of(good)) == before


def test_json_has_all_that_is_known_of_a_claim(good):
    found = ledger_of(*good)
    assert found["preset"] == "as-printed" and found["comparable_to_paper"] and found["left_out"] == []
    one = next(one for one in found["claims"] if one["claim"]["key"] == "mixing-hurts")
    assert one["word"] == one["shown"] == "REPRODUCED" and one["seeds"] == [0, 1, 2] and one["registered"] == "not"
    assert one["seeds_interval"]["low"] < one["effect"] < one["seeds_interval"]["high"]
    assert one["p"] < one["p_adjusted"] < 0.05 and 0 < one["finds"] < 1 and one["finds_effect"] == 2.0


def test_one_table_is_shown_as_all_are_judged(good):
    assert verdicts_of("--table", "3", *good).items() <= verdicts_of(*good).items()
    assert {one["table"] for one in ledger_of("--table", "3", *good)["claims"]} == {3}
    assert the_error(call("verify", "--table", "7", *good)) == "table '7': unknown; expected 1, 2, 3, 4, all"


def test_elsewhere_the_mechanism_shows(good, studies):
    work = work_of(good)
    (work / "reports" / "elsewhere").mkdir()
    plan = read_json(work / "reports" / "as-printed" / "plan.json")
    write_json(work / "reports" / "elsewhere" / "plan.json", {**plan, "preset": "elsewhere"})
    options = ("--preset", str(studies / "elsewhere.toml"), "--workdir", str(work))
    found = verdicts_of(*options)
    assert found["mixing-hurts"]["shown"] == "MECHANISM SHOWN"
    assert found["values-1"]["word"] == found["better-than-decouplednet"]["word"] == "NOT COMPARABLE"


def test_of_nothing_all_is_not_run(tmp_path):
    options = ("--preset", TINY, "--workdir", tmp_path / "work")
    result = succeed("verify", *options)
    assert "25 NOT RUN" in result.stdout and next_command(result)[:2] == ["reproduce-table", "all"]
    assert not (tmp_path / "work").exists()


def test_one_seed_decides_nothing(tmp_path):
    made_up_scores.study(tmp_path / "work", seeds=1)
    words = {one["word"] for one in verdicts_of("--preset", TINY, "--workdir", str(tmp_path / "work")).values()}
    assert words == {"UNDECIDED", "NOT COMPARABLE"}


# ---------------------------------------------------------------- CI


def test_strict_ends_with_1_where_the_papers_preset_contradicts_a_claim(bad, good, tmp_path):
    assert {one["word"] for one in verdicts_of(*bad).values()} >= {"CONTRADICTED", "REPRODUCED"}
    result = call("verify", "--strict", "--junit", tmp_path / "deep" / "verdicts.xml", *bad)
    assert result.exit_code == 1 and "error:" not in result.stderr and "CONTRADICTED" in result.stdout
    root = ElementTree.parse(tmp_path / "deep" / "verdicts.xml").getroot()
    failures = [
        case.get("name").partition(":")[0] for case in root.iter("testcase") if case.find("failure") is not None
    ]
    assert "mixing-hurts" in failures and int(root.get("failures")) == len(failures)
    assert call("verify", *bad).exit_code == 0
    assert call("verify", "--strict", *good).exit_code == 0
    assert call("verify", "--strict", "--table", "4", *bad).exit_code == 0  # which has none of them


def test_strict_is_content_elsewhere(bad, studies, tmp_path):
    work = copied(work_of(bad), tmp_path)
    (work / "reports" / "as-printed").rename(work / "reports" / "elsewhere")
    result = call("verify", "--strict", "--preset", studies / "elsewhere.toml", "--workdir", work)
    assert result.exit_code == 0 and "MECHANISM NOT SHOWN" in result.stdout


def test_one_file_for_verdicts_and_summary_is_refused(good, tmp_path):
    (tmp_path / "link").symlink_to("same")
    result = call("verify", "--junit", tmp_path / "same", "--summary", tmp_path / "link", *good)
    assert result.exit_code == 2
    assert the_error(result) == f"--summary {tmp_path / 'link'}: is the file of --junit, too; expected a file for each"
    assert not (tmp_path / "same").exists()


def test_a_summary_is_appended_and_never_grows_too_long(good, tmp_path):
    path = tmp_path / "summary.md"
    path.write_text("before")
    succeed("verify", "--summary", path, *good)
    lines = path.read_text().splitlines()
    assert lines[0] == "before" and lines[1].startswith("## 30 claims on preset as-printed")
    assert sum(line.startswith("| 1 | ") for line in lines) == 6
    for _ in range(3):
        path.write_bytes(path.read_bytes() + b"x" * 400_000)
        succeed("verify", "--summary", path, *good)
    assert path.stat().st_size <= 2**20 + 200_000  # what others wrote was too long; ours is not in it any more
    assert path.read_text().endswith("x" * 400_000)


@pytest.mark.parametrize("option", ["--junit", "--summary"])
def test_a_file_that_cannot_be_written_is_one_line(good, option, tmp_path):
    result = call("verify", option, tmp_path, *good)
    assert result.exit_code == 2 and str(tmp_path) in the_error(result)


# ---------------------------------------------------------------- what is spoilt


def score(options: tuple[str, ...], run: str = "mixed-s0") -> Path:
    (found,) = work_of(options).glob(f"runs/{run}-*/evals/val-strong")
    return found


def left_out(options: tuple[str, ...], *found: str) -> dict:
    """Verify a spoilt study: exit code 3, one line for each that is left out, and a ledger of the others."""
    result = call("verify", "--json", *options)
    assert result.exit_code == 3
    the_error(result)
    told = json.loads(result.stdout)
    assert len(told["left_out"]) == len(found)
    for words, line in zip(found, told["left_out"], strict=True):
        assert words in line and "\n" not in line
    said = [line for line in result.stderr.splitlines() if line.startswith("left out: ")]
    assert len(said) == len(found) - 1
    return told


def test_a_half_written_record_is_left_out_and_named(good):
    path = score(good) / "result.json"
    path.write_text(path.read_text()[:50])
    told = left_out(good, "damaged")
    (one,) = [one for one in told["claims"] if one["claim"]["key"] == "mixing-hurts"]
    assert one["seeds"] == [1, 2] and one["word"] == "UNDECIDED"
    assert the_hint(call("verify", *good)).startswith("delete it, then run again: rm -r ")


def test_a_score_that_was_edited_is_not_that_of_its_counts(good):
    path = score(good) / "result.json"
    write_json(path, {**read_json(path), "miou": 99.0})
    left_out(good, "the counts say mIoU")


def test_counts_that_are_damaged_are_left_out_as_well(good):
    (score(good) / "confusion.npz").write_bytes(b"PK\x03\x04 no archive")
    (score(good, "strong-s1") / "confusion.npz").write_bytes(b"")
    left_out(good, "damaged", "damaged")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -3.0, 1e9])
def test_impossible_scores_are_one_line(good, value):
    path = score(good) / "result.json"
    path.write_text(json.dumps({**read_json(path), "miou": value}))
    left_out(good, "found a score of")


def test_other_data_and_missing_runs_are_one_line_each(good):
    path = score(good) / "result.json"
    write_json(path, {**read_json(path), "data": "f" * 64})
    (score(good, "strong-s0").parent.parent / "done.json").unlink()
    # the run's own score, and the two averages that it is part of
    left_out(good, "missing, and", "missing, and", "missing, and", "was scored on other data")


def test_many_that_are_spoilt_are_not_all_named(good):
    for path in work_of(good).glob("runs/*/evals/*/result.json"):
        path.write_text("{")
    result = call("verify", *good)
    assert result.exit_code == 3 and "30 claims" in result.stdout
    assert any("more; --json names them" in line for line in result.stderr.splitlines())
    assert len(result.stderr.splitlines()) < 15


# ---------------------------------------------------------------- fixed before or after


def test_a_ledger_says_what_was_registered_after_the_runs(good):
    succeed("preregister", *good)
    assert {one["registered"] for one in verdicts_of(*good).values()} == {"after"}
    assert "fixed after the runs behind them" in " ".join(call("verify", *good).stdout.split())


def test_a_ledger_says_what_was_registered_before_the_runs(good):
    succeed("preregister", *good)
    (registered,) = read_json(work_of(good) / "preregistration.json")["registrations"]
    for path in work_of(good).glob("runs/*/done.json"):  # as a run that begins now would say
        write_json(path, {**read_json(path), "registrations": [registered["digest"]]})
    assert {one["registered"] for one in verdicts_of(*good).values()} == {"before"}
    assert "all 30 claims were fixed before the runs behind them" in " ".join(call("verify", *good).stdout.split())


def test_a_registration_that_was_edited_is_one_line(good):
    succeed("preregister", *good)
    path = work_of(good) / "preregistration.json"
    path.write_text(path.read_text().replace('"margin": 1.0', '"margin": 9.0'))
    left_out(good, "was edited since")
    assert hinted_command(call("verify", *good))[0] == "preregister"


# ---------------------------------------------------------------- fast and light

WATCHED = """
import sys, time
from swdb.cli.app import app
try:
    app(prog_name="swdb")
finally:
    print("torch", "torch" in sys.modules, "seconds", time.process_time(), file=sys.stderr)
"""


def test_a_ledger_takes_a_moment_and_no_torch(good):
    command = [sys.executable, "-c", WATCHED, "verify", *good]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    _, torch, _, seconds = result.stderr.splitlines()[-1].split()
    assert torch == "False" and float(seconds) < 4  # 2 on a machine that does nothing else
