"""`swdb reproduce-table`: plans that write nothing, tables from what is finished, and what a study remembers."""

import errno
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from commands import CPU, FP32, call, contents, copied, next_command, only, preset_file, succeed, the_error
from conftest import TINY, other_data
from pretended_gpu import pretended_gpu

from swdb.nn import compute

FORMATS = ("md", "csv", "json")


def table(work: Path, *words: object):
    return succeed("reproduce-table", *words, *FP32, "--workdir", work)


def read_only(monkeypatch) -> None:
    """Let the disk refuse to change anything, as one that is mounted read-only does: root would be allowed everything."""
    open_path = Path.open

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    def open_to_read(path, mode="r", *arguments, **options):
        return refuse() if set(mode) & set("wax+") else open_path(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_to_read)
    for function in ("replace", "rename", "mkdir", "link", "unlink"):
        monkeypatch.setattr(os, function, refuse)


# ---------------------------------------------------------------- from finished runs


def test_all_four_tables_are_printed_and_written(own):
    result = table(own, "all", "--seeds", "1")
    assert [line.split(".")[0] for line in result.stdout.splitlines() if line.startswith("Table ")] == [
        "Table 1", "Table 2", "Table 3", "Table 4",
    ]  # fmt: skip
    assert "NOT RUN" not in result.stdout
    written = sorted((own / "reports" / "tiny").glob("table*"))
    assert len(written) == 12
    (said,) = [line for line in result.stderr.splitlines() if line.startswith("written: ")]
    assert sorted(said.removeprefix("written: ").split(", ")) == [str(path) for path in written]


def test_printing_again_makes_nothing(own):
    before = contents(own / "runs") | contents(own / "proxies")
    result = table(own, "all", "--seeds", "1")
    assert contents(own / "runs") | contents(own / "proxies") == before
    assert not any(line.endswith(" ...") for line in result.stderr.splitlines())


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_is_printed_as_it_is_written(own, form):
    shown = table(own, "3", "--no-train", "--seeds", "1", "--format", form).stdout
    written = (own / "reports" / "tiny" / f"table3.{form}").read_text()
    if form == "json":  # what is written says besides from which scores, and under which id
        assert json.loads(shown).items() <= json.loads(written).items()
    else:
        assert shown == written


def test_a_table_in_csv_can_be_read_by_pandas(own):
    table(own, "3", "--no-train", "--seeds", "1")
    shown = pd.read_csv(own / "reports" / "tiny" / "table3.csv")
    assert list(shown.columns) == ["table", "row", "labels", "column", "paper", "seed", "measured", "run"]
    assert shown.measured.notna().all()


def test_all_tables_as_json_are_one_document(own):
    result = table(own, "all", "--seeds", "1", "--format", "json")
    assert [one["table"] for one in json.loads(result.stdout)] == [1, 2, 3, 4]


def test_all_tables_as_csv_have_one_head(own):
    lines = table(own, "all", "--seeds", "1", "--format", "csv").stdout.splitlines()
    assert [k for k, line in enumerate(lines) if line.startswith("table,row,")] == [0]
    assert len(lines) == 1 + 6 + 8 + 8 + 6  # 25 measured cells, 3 of the literature


def test_claims_are_judged_the_same_wherever_they_are_shown(own):
    alone = json.loads(table(own, "3", "--no-train", "--seeds", "1", "--format", "json").stdout)
    whole = json.loads(table(own, "all", "--no-train", "--seeds", "1", "--format", "json").stdout)
    assert alone["claims"] == whole[2]["claims"] and alone["judged"]["family"] == 22
    assert {claim["word"] for claim in alone["claims"]} == {"UNDECIDED", "NOT COMPARABLE"}  # with one seed
    # the branches' gain over separate training is about runs of Table 2
    assert {tuple(claim["seeds"]) for claim in alone["claims"]} == {(0,)}


def test_a_table_says_the_scores_that_it_was_made_from(own):
    table(own, "4", "--seeds", "1")
    record = json.loads((own / "reports" / "tiny" / "table4.json").read_text())
    scores = {json.loads(path.read_text())["id"] for path in own.glob("runs/dual-*-s0-*/evals/val-*/result.json")}
    assert len(record["inputs"]) == 3 and record["inputs"].keys() <= scores


# ---------------------------------------------------------------- parts of a table


def test_only_the_rows_and_seeds_that_were_asked_for_are_run(prepared):
    result = table(prepared, "3", "--rows", "n3", "--seeds", "1")
    assert [path.name.rpartition("-")[0] for path in (prepared / "runs").glob("[!.]*")] == ["dual-s0"]
    assert result.stdout.count("NOT RUN") == 6 + 1 + 5  # cells, the note, five claims that need n0
    rows = {row["key"]: row for row in json.loads((prepared / "reports/tiny/table3.json").read_text())["rows"]}
    assert {key: list(row["values"]["strong"]["by_seed"]) for key, row in rows.items()} == {
        "n0": [], "n1": [], "n2": [], "n3": ["0"],
    }  # fmt: skip
    assert rows["n3"]["values"]["weak"]["by_seed"].keys() == {"0"}
    figure = succeed(*next_command(result), "--device", "cpu")  # the run that it names is there
    assert "figure: " in figure.stderr


def test_a_second_seed_is_added_to_what_is_finished(own):
    before = contents(only(own, "runs/strong-s0-*"))
    result = table(own, "1", "--rows", "strong", "--seeds", "2", "--format", "csv")
    seeds = pd.read_csv(own / "reports" / "tiny" / "table1.csv").query("row == 'strong'").seed.tolist()
    assert seeds == [0, 1] and ",strong," in result.stdout
    assert contents(only(own, "runs/strong-s0-*")) == before


def test_a_report_is_never_replaced_by_one_that_has_less(own):
    table(own, "1", "--rows", "strong", "--seeds", "2")
    reports = [own / "reports" / "tiny" / f"table1.{form}" for form in FORMATS]
    before = [path.read_bytes() for path in reports]
    for words in (["--rows", "mixed"], ["--rows", "strong", "--no-train"], []):
        result = table(own, "1", "--seeds", "1", *words)
        assert "over seeds 0;" in result.stdout and "NOT RUN" not in result.stdout
        assert [path.read_bytes() for path in reports] == before


def test_looking_at_another_study_leaves_its_reports(own):
    before = contents(own / "reports")
    result = succeed("reproduce-table", "all", "--no-train", "--preset", TINY, "--workdir", own, "--precision", "bf16")
    assert "NOT RUN" in result.stdout and "written" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("kept: ")]) == 4
    assert contents(own / "reports") == before


def test_what_only_finished_runs_were_made_from_is_not_made_again(own):
    expected = table(own, "all", "--seeds", "1").stdout
    for name in ("weights", "cues", "classifiers"):
        shutil.rmtree(own / name)
    for path in own.rglob("*.pt"):
        path.unlink()
    assert table(own, "all", "--seeds", "1").stdout == expected
    assert not list(own.glob("weights/*/done.json"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machine": "x"}, ("reproduce-table", "2", "--no-train", "--seeds", "1")),
        ({"data": 5}, ("reproduce-table", "2", "--no-train", "--seeds", "1")),
        ({"iou": None}, ("eval", "dual")),
    ],
)
def test_a_record_of_another_form_is_damaged(own, change, words):
    path = only(own, "runs/dual-s0-*/evals/val-strong") / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    result = call(*words, *FP32, "--workdir", own)
    assert result.exit_code == 3 and the_error(result).endswith("result.json: damaged; expected a score")


def test_records_that_are_none_do_not_stop_a_plan(own):
    for number, text in enumerate(("{", "[]", '{"training": 3}')):
        folder = own / "runs" / f"foo-s0-{number:010d}"
        folder.mkdir()
        (folder / "done.json").write_text(text)
    assert "about" in table(own, "all", "--seeds", "2", "--dry-run").stdout


def test_finished_runs_on_other_data_are_refused(own):
    other_data(own)
    for words in (["all", "--seeds", "1"], ["2", "--no-train", "--seeds", "1"]):
        result = call("reproduce-table", *words, *FP32, "--workdir", own)
        assert result.exit_code == 3
        assert "has changed since" in the_error(result)


# ---------------------------------------------------------------- plans


def test_a_plan_shows_what_is_there_and_what_is_not(own):
    shutil.rmtree(only(own, "runs/dual-n0-s0-*"))
    plan = table(own, "3", "--dry-run", "--seeds", "1").stdout.splitlines()
    state = {line.split()[1]: "done" if " done " in line else "to do" for line in plan if "-s0" in line}
    assert state == {"dual-n0-s0": "to do", "dual-n1-s0": "done", "dual-n2-s0": "done", "dual-s0": "done"}
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


# ---------------------------------------------------------------- nothing is trained


def test_no_train_prints_what_is_there_and_makes_nothing(tmp_path):
    result = table(tmp_path / "work", "1", "--no-train")
    rows = [line for line in result.stdout.splitlines() if "strong" in line and "NOT RUN" in line and "." in line]
    assert len(rows) >= 6
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"reports"}


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


def test_what_is_finished_is_printed_without_what_it_was_made_from(own):
    expected = table(own, "all", "--seeds", "1", "--no-train").stdout
    for folder in ("weights", "classifiers", "cues", "proxies", "data"):
        shutil.rmtree(own / folder)
    for path in own.glob("runs/*/*.pt"):
        path.unlink()
    before = contents(own / "runs")
    assert table(own, "all", "--seeds", "1", "--no-train").stdout == expected
    assert contents(own / "runs") == before


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


def test_a_plan_keeps_what_was_planned_before(own):
    path = own / "reports" / "tiny" / "plan.json"
    before = json.loads(path.read_text())
    table(own, "4", "--seeds", "1")
    after = json.loads(path.read_text())
    assert {json.dumps(cell) for cell in after["cells"]} == {json.dumps(cell) for cell in before["cells"]}


# ---------------------------------------------------------------- the proposed command works


def follow(result, *left_out: str):
    """Run the command that another one proposed, in this process."""
    return succeed(*[word for word in next_command(result) if word not in left_out])


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (("1",), ["eval", "mixed"]),
        (("2",), ["eval", "dual", "--figure"]),
        (("3",), ["eval"]),
        (("4",), ["eval"]),
        (("all",), ["eval"]),
        (("1", "--rows", "strong", "--no-train"), ["eval", "strong"]),
        (("2", "--rows", "mixed,dual"), ["eval", "dual", "--figure"]),
        (("4", "--dry-run"), ["reproduce-table", "4", "--seeds", "1"]),
        (("1", "--format", "md"), ["eval"]),
    ],
    ids=" ".join,
)
def test_the_command_that_a_finished_table_proposes_works(own, words, proposed):
    result = succeed("reproduce-table", *words, "--seeds", "1", *FP32, "--workdir", own)
    command = next_command(result)
    assert command[: len(proposed)] == proposed
    follow(result)


@pytest.mark.parametrize("words", [("1",), ("4", "--rows", "5"), ("all",)], ids=" ".join)
def test_where_nothing_is_finished_the_command_that_trains_is_proposed(tmp_path, words):
    result = succeed("reproduce-table", *words, "--no-train", "--preset", TINY, "--workdir", tmp_path / "my work")
    assert next_command(result)[: 1 + len(words)] == ["reproduce-table", *words]


def test_a_run_that_was_made_from_other_files_is_not_proposed(own):
    for record in own.glob("runs/*/done.json"):
        record.unlink()
    result = succeed("reproduce-table", "3", "--seeds", "1", "--no-train", *FP32, "--workdir", own)
    assert next_command(result)[:2] == ["reproduce-table", "3"]


@pytest.mark.parametrize("command", [["train", "strong"], ["eval", "dual"], ["eval", "strong", "--flip"]], ids=" ".join)
def test_what_other_commands_propose_works(own, tmp_path, command):
    path = preset_file(tmp_path, ("seeds = 2", "seeds = 1"))
    follow(succeed(*command, "--preset", path, "--device", "cpu", "--precision", "fp32", "--workdir", own))
