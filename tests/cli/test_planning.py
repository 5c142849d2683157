"""What tables need: plans that write nothing, and what a study remembers of files that are gone."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import CPU, FP32, contents, copied, next_command, only, preset_file, succeed
from conftest import TINY
from pretended_gpu import pretended_gpu
from refusing import read_only

from swdb.nn import compute


def table(work: Path, *words: object):
    return succeed("reproduce-table", *words, *FP32, "--workdir", work)


# ---------------------------------------------------------------- plans


def test_a_plan_shows_what_is_there_and_what_is_not(own):
    shutil.rmtree(only(own, "runs/dual-n0-s0-*"))
    plan = table(own, "3", "--dry-run", "--seeds", "1").stdout.splitlines()
    state = {line.split()[1]: "done" if " done " in line else "to do" for line in plan if "-s0" in line}
    assert state.pop("dual-n0-s0") == "to do" and set(state.values()) == {"done"}
    assert state.keys() == {"dual-n1-s0", "dual-n2-s0", "dual-s0", "strong-s0", "mixed-s0", "weak-s0"}
    assert next(line for line in plan if "dsrg-1 " in line).count(" done ") == 1
    assert any(line.startswith("6 optimizer steps are left") for line in plan)


def test_a_run_is_trained_under_the_id_that_the_plan_named(prepared):
    plan = table(prepared, "1", "--rows", "strong", "--dry-run", "--seeds", "1").stdout
    folder = Path(succeed("train", "strong", *FP32, "--workdir", prepared).stdout.strip())
    assert f" {folder.name}" in plan


@pytest.mark.parametrize("work", ["nothing", "own"])
def test_a_dry_run_writes_nothing_at_all(own, tmp_path, monkeypatch, work):
    def choose(name):
        raise AssertionError("torch was asked for a device")

    monkeypatch.setattr(compute, "choose_device", choose)
    folder = own if work == "own" else tmp_path / "nothing"
    before = contents(tmp_path)
    result = table(folder, "all", "--dry-run")
    assert "dual-25-s1" in result.stdout  # two seeds are the preset's
    assert contents(tmp_path) == before
    assert folder.exists() == (work == "own")


def test_a_dry_run_is_printed_where_the_disk_is_read_only(own, monkeypatch):
    read_only(monkeypatch)
    assert "dual-s0" in table(own, "all", "--dry-run").stdout


def test_a_plan_says_that_the_first_training_decides_the_precision(tmp_path):
    result = succeed("reproduce-table", "4", "--dry-run", *CPU, "--workdir", tmp_path / "work")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("precision: ")]
    assert line.split()[1] in ("fp32", "bf16")
    assert "first" in line and "decides" in line


def test_a_plan_says_a_precision_that_is_typed_or_decided(own, tmp_path):
    typed = table(own, "4", "--dry-run")
    assert "precision: fp32, as typed" in typed.stdout.splitlines()
    planned = succeed("reproduce-table", "4", "--dry-run", *CPU, "--workdir", own)  # as finished tables were
    assert "precision: fp32" in planned.stdout.splitlines()
    (own / "precision.json").write_text('{"precision": "bf16"}')
    decided = succeed("reproduce-table", "4", "--dry-run", *CPU, "--workdir", own)
    assert "precision: bf16" in decided.stdout.splitlines()


def test_a_plan_says_whether_the_gpu_holds_the_study(tmp_path):
    with pretended_gpu(memory=1 << 30):
        plan = ("reproduce-table", "4", "--dry-run", "--preset", TINY, "--workdir", tmp_path, "--device", "cuda")
        (line,) = [line for line in succeed(*plan).stdout.splitlines() if line.startswith("GPU: ")]
    assert line.startswith("GPU: a pretended GPU has 1.0 GiB free") and line.endswith("it does not fit")


def test_the_command_after_a_plan_makes_what_it_showed(own, tmp_path):
    path = preset_file(tmp_path, ("seeds = 2", "seeds = 1"))
    options = ("--preset", path, "--precision", "fp32", "--device", "cpu", "--workdir", own)
    for words in (["4"], ["all"], ["1", "--rows", "mixed,strong", "--seeds", "1"]):
        proposed = next_command(succeed("reproduce-table", *words, "--dry-run", *options))
        assert proposed[: 1 + len(words)] == ["reproduce-table", *words]
        assert "--dry-run" not in proposed
        succeed(*proposed)


def test_a_named_file_that_a_plan_did_not_keep_is_named_in_the_command_after_it(own, tmp_path):
    path = preset_file(tmp_path, ('weights = "pretext"', 'weights = "file"'))
    initial = shutil.copy(only(own, "weights/pretext-*/weights.pt"), tmp_path / "initial.pth")
    options = ("--preset", path, "--precision", "fp32", "--device", "cpu", "--workdir", own)
    words = ("reproduce-table", "1", "--rows", "strong", "--seeds", "1", "--dry-run")
    proposed = next_command(succeed(*words, *options, "--weights", initial))
    assert not (own / "inputs").exists()
    succeed(*proposed, "--device", "cpu")


# ---------------------------------------------------------------- a study of files that were named, and are gone


@dataclass
class Named:
    """A finished study whose preset takes its initial weights and its cues from files."""

    work: Path
    options: tuple
    printed: str


@pytest.fixture(scope="module")
def with_files(finished, tmp_path_factory) -> Named:
    folder = tmp_path_factory.mktemp("files")
    work = copied(finished, folder, "weights", "classifiers", "cues", "proxies", "runs", "reports")
    path = preset_file(folder, ('weights = "pretext"', 'weights = "file"'), ('cues = "classifier"', 'cues = "file"'))
    files = {"--weights": folder / "initial.pth", "--cues": folder / "seeds.npz"}
    shutil.copy(only(finished, "weights/pretext-*/weights.pt"), files["--weights"])
    shutil.copy(only(finished, "cues/cues-*/cues.npz"), files["--cues"])
    options = ("1", "--rows", "mixed", "--seeds", "1", "--preset", path, "--device", "cpu")
    named = [word for pair in files.items() for word in pair]
    result = succeed("reproduce-table", *options, "--precision", "fp32", "--workdir", work, *named)
    assert "NOT RUN" in result.stdout and "weights" not in " ".join(next_command(result))
    for file in files.values():
        file.unlink()
    return Named(work, options, result.stdout)


@pytest.fixture
def without_files(with_files, tmp_path) -> Named:
    """A copy in which the kept copies of the files are gone, too."""
    work = copied(with_files.work, tmp_path)
    for kind in ("weights", "cues"):
        assert list((work / "inputs" / "tiny" / kind).iterdir())
        shutil.rmtree(work / "inputs" / "tiny" / kind)
    return Named(work, with_files.options, with_files.printed)


def test_a_study_whose_named_files_are_gone_is_printed(without_files):
    for words in (["--no-train"], []):  # nothing is left to train, so nothing is missed
        result = succeed("reproduce-table", *without_files.options, *words, "--workdir", without_files.work)
        assert result.stdout == without_files.printed


def test_a_study_whose_named_files_are_gone_is_planned(without_files):
    before = contents(without_files.work)
    result = succeed("reproduce-table", *without_files.options, "--dry-run", "--workdir", without_files.work)
    assert "to do" not in result.stdout.replace("0 to do", "")
    assert "nothing is left to train" in result.stdout
    assert contents(without_files.work) == before


def test_a_study_is_printed_from_its_plan_where_nothing_says_any_more_what_was_named(without_files):
    shutil.rmtree(without_files.work / "inputs")
    for words in ("--no-train", "--dry-run"):
        result = succeed("reproduce-table", *without_files.options, words, "--workdir", without_files.work)
        assert result.stdout == without_files.printed or words == "--dry-run"


@pytest.mark.parametrize(
    "content", ['{"version": 99}', "{", "[]", '{"version": 1}', '{"version": 1, "artefacts": {}, "cells": [{}]}']
)
@pytest.mark.parametrize("words", ["--no-train", "--dry-run"])
def test_a_plan_of_another_version_or_a_damaged_one_is_left_aside_with_one_line(without_files, content, words):
    # the precision was noted in the plan alone
    path = without_files.work / "reports" / "tiny" / "plan.json"
    path.write_text(content)
    command = ("reproduce-table", *without_files.options, words, "--precision", "fp32", "--workdir", without_files.work)
    result = succeed(*command)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith(str(path))]
    assert ("99" in line) == ("99" in content)
    assert path.read_text() == content
    assert (
        result.stdout == without_files.printed
        if words == "--no-train"
        else "to do" not in result.stdout.replace("0 to do", "")
    )


def test_a_table_is_planned_again_over_a_plan_of_another_version(own):
    path = own / "reports" / "tiny" / "plan.json"
    path.write_text('{"version": 99}')
    table(own, "4", "--seeds", "1")
    assert json.loads(path.read_text())["version"] == 1


def test_finished_scores_are_found_over_the_plan_of_other_settings(own):
    path = own / "reports" / "tiny" / "plan.json"
    before = succeed("verify", "--preset", TINY, "--workdir", own)
    plan = json.loads(path.read_text())
    plan["study"]["settings"] = "0" * 64
    path.write_text(json.dumps(plan))
    after = succeed("verify", "--preset", TINY, "--workdir", own)
    assert after.stdout == before.stdout and str(path) not in before.stderr
    assert f"{path}: planned with other settings or files; " in after.stderr


def test_a_plan_keeps_what_was_planned_before(own):
    path = own / "reports" / "tiny" / "plan.json"
    before = json.loads(path.read_text())
    table(own, "4", "--seeds", "1")
    after = json.loads(path.read_text())
    assert {json.dumps(cell) for cell in after["cells"]} == {json.dumps(cell) for cell in before["cells"]}
