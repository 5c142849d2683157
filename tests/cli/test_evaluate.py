"""`swdb eval`: the score of one run, its predictions, its figure, and what it hangs on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import FP32, call, contents, hinted_command, next_command, only, preset_file, succeed, the_error
from conftest import other_data, swdb
from PIL import Image

from swdb.cli.evaluate import score_lines
from swdb.data.images import palette_png

CLASSES = ["background", "alpha", "beta", "gamma", "delta", "epsilon"]
RECORD = {"run": "dual-s0-abc", "branch": "weak", "crf": None, "miou": 41.234, "images": 6, "iou": {}}


def evaluate(work: Path, *words: object):
    return call("eval", *words, *FP32, "--workdir", work)


# ---------------------------------------------------------------- what is shown


def test_a_score_is_shown_with_its_branch_and_every_class():
    assert score_lines(RECORD | {"iou": {"a": 50, "b": None}}) == [
        "dual-s0-abc, weak branch: mIoU 41.23 on 6 val images",
        "  a            50.00",
        "  b            absent",
    ]


def test_a_score_is_shown_with_its_crf():
    assert "weak branch, CRF dsrg: mIoU" in score_lines(RECORD | {"crf": "dsrg"})[0]


def test_every_class_is_printed_and_where_the_predictions_are(own):
    result = succeed("eval", "dual", "--flip", *FP32, "--workdir", own)
    first, *others = result.stdout.splitlines()
    assert "strong branch: mIoU" in first
    assert [line.split()[0] for line in others] == CLASSES
    said = dict(line.split(": ", 1) for line in result.stderr.splitlines() if ": " in line)
    folder = Path(said["predictions"])
    assert folder.parent.name == "val-strong-flip"
    assert len(list(folder.glob("*.png"))) == 6


def test_json_is_printed_for_the_branch_that_was_asked_for(own):
    value = json.loads(succeed("eval", "dual", "--branch", "weak", "--json", *FP32, "--workdir", own).stdout)
    assert (value["branch"], value["flip"], value["scales"], value["crf"], value["images"]) == (
        "weak",
        False,
        [1.0],
        None,
        6,
    )
    assert list(value["iou"]) == CLASSES


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        (["--scales", "0.75,1"], "val-strong-0.75-1", {"scales": [0.75, 1.0], "flip": False, "crf": None}),
        (["--flip", "--scales", "2"], "val-strong-2-flip", {"scales": [2.0], "flip": True, "crf": None}),
        (["--crf", "dsrg"], "val-strong-crf-dsrg", {"scales": [1.0], "flip": False, "crf": "dsrg"}),
    ],
)
def test_other_scores_lie_beside_the_table_s(own, options, name, expected):
    table = only(own, "runs/dual-s0-*/evals/val-strong")
    before = contents(table)
    value = json.loads(succeed("eval", "dual", *options, "--json", *FP32, "--workdir", own).stdout)
    assert {key: value[key] for key in expected} == expected
    assert (table.with_name(name) / "result.json").is_file()
    assert contents(table) == before


def test_without_options_a_score_is_that_of_the_tables(own):
    score = only(own, "runs/dual-s0-*/evals/val-weak/result.json")
    before = contents(score.parent)
    value = json.loads(succeed("eval", "dual-s0", "--branch", "weak", "--json", *FP32, "--workdir", own).stdout)
    assert value == json.loads(score.read_text())
    assert contents(score.parent) == before


def test_a_preset_may_score_its_tables_otherwise(own, tmp_path):
    path = preset_file(tmp_path, ("[evaluation]", "[evaluation]\nflip = true\nscales = [0.75, 1.0]"))
    options = ("--json", "--preset", path, "--precision", "fp32", "--device", "cpu", "--workdir", own)
    value = json.loads(succeed("eval", "dual", *options).stdout)
    assert (value["flip"], value["scales"]) == (True, [0.75, 1.0])


def test_a_figure_is_drawn_and_where_is_said(own):
    result = succeed("eval", "dual", "--figure", *FP32, "--workdir", own)
    path = own / "reports" / "tiny" / "figures" / "dual-s0.png"
    assert f"figure: {path}" in result.stderr.splitlines()
    with Image.open(path) as sheet:
        assert sheet.size[0] > sheet.size[1] / 2 > 100


def test_a_figure_scores_the_other_branch_first(own):
    shutil.rmtree(only(own, "runs/dual-s0-*/evals/val-weak"))
    succeed("eval", "dual", "--figure", *FP32, "--workdir", own)
    assert only(own, "runs/dual-s0-*/evals/val-weak/result.json").is_file()


def test_what_a_kill_left_of_a_score_is_completed(own):
    score = only(own, "runs/dual-s0-*/evals/val-strong")
    before = contents(score)
    for name in ("result.json", "confusion.npz", "predictions/0000_000033.png"):
        (score / name).unlink()
    assert evaluate(own, "dual").exit_code == 0
    after = contents(score)
    same = [name for name in before if name.endswith(".png")]
    assert {name: after[name][1] for name in same} == {name: before[name][1] for name in same}
    kept = "predictions/0000_000032.png"
    assert after[kept] == before[kept]


def test_an_average_of_the_tables_is_scored_under_its_name(own):
    table = only(own, "averages/strong-s0+mixed-s0-val-strong-*")
    before = contents(table)
    shutil.rmtree(table)
    value = json.loads(succeed("eval", "strong+mixed", "--json", *FP32, "--workdir", own).stdout)
    assert value["run"].startswith("strong-s0-") and "+mixed-s0-" in value["run"]
    after = contents(table)
    assert {name: content[1] for name, content in after.items() if name.endswith(".png")} == {
        name: content[1] for name, content in before.items() if name.endswith(".png")
    }


def test_an_average_with_a_run_of_other_data_is_refused(own):
    """One of its runs was trained before the data set was made anew: it is named, and nothing is predicted."""
    shutil.rmtree(only(own, "averages/strong-s0+mixed-s0-val-strong-*"))
    record = only(own, "runs/mixed-s0-*/done.json")
    said = json.loads(record.read_text())
    data = next(name for name in said["inputs"] if name.startswith("tiny-"))
    said["inputs"][data] = "0" * 64
    record.write_text(json.dumps(said))
    result = evaluate(own, "strong+mixed")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{record.parent}: {data} has changed since: it was 0000000000")
    assert not list(own.glob("averages/strong-s0+mixed-s0-val-strong-*/predictions/*.png"))


# ---------------------------------------------------------------- the next command


def test_the_next_command_prints_all_tables(own, tmp_path):
    path = preset_file(tmp_path, ("seeds = 2", "seeds = 1"))  # with all seeds there, nothing is left to train
    result = succeed("eval", "dual", "--preset", path, "--precision", "fp32", "--device", "cpu", "--workdir", own)
    proposed = next_command(result)
    assert proposed[:2] == ["reproduce-table", "all"]
    shown = succeed(*proposed)
    assert "NOT RUN" not in shown.stdout
    assert " ...\n" not in shown.stderr


# ---------------------------------------------------------------- what it hangs on


def test_a_run_that_is_not_trained_is_refused_and_the_hint_trains_it(prepared):
    result = evaluate(prepared, "strong-s1")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{prepared / 'runs' / 'strong-s1-'}")
    command = hinted_command(result)
    assert command[:2] == ["train", "strong-s1"]
    succeed(*command, "--device", "cpu")
    succeed("eval", "strong-s1", *FP32, "--workdir", prepared)


def test_a_run_that_is_not_trained_is_refused_in_a_process_of_its_own(tmp_path):
    result = swdb("eval", "dual-s1", "--preset", FP32[1], cwd=tmp_path)
    assert result.returncode == 3
    assert hinted_command(result) == ["train", "dual-s1", "--preset", FP32[1]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gone", ["classifiers", "cues", "proxies", "swdb.json", "reports"])
def test_a_finished_run_is_scored_without_what_it_was_made_from(own, gone):
    path = own / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert evaluate(own, "dual", "--flip").exit_code == 0
    assert not path.exists()


@pytest.mark.parametrize("name", ["log.jsonl", "samples.json"])
def test_a_finished_run_is_scored_without_the_notes_of_its_training(own, name):
    (only(own, "runs/dual-s0-*") / name).unlink()
    assert evaluate(own, "dual", "--flip").exit_code == 0


def test_scoring_decides_no_precision(own):
    (own / "precision.json").unlink(missing_ok=True)
    assert evaluate(own, "dual").exit_code == 0
    assert not (own / "precision.json").exists()


def test_other_data_than_a_run_was_trained_on_are_refused(own):
    other_data(own)
    for options in ([], ["--flip"]):  # a score that is there, and one that is not
        result = evaluate(own, "dual", *options)
        assert result.exit_code == 3
        assert str(only(own, "runs/dual-s0-*")) in the_error(result)
    assert not list(own.glob("runs/*/evals/val-strong-flip/result.json"))


@pytest.mark.parametrize("how", ["truncated", "value 77", "missing"])
def test_a_damaged_mask_of_the_validation_split_is_named(own, how):
    path = own / "data/tiny/VOCdevkit/VOC2012/SegmentationClass/0000_000035.png"
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:60])
    elif how == "missing":
        path.unlink()
    else:
        path.write_bytes(palette_png(np.full((32, 32), 77, np.uint8)))
    result = evaluate(own, "dual", "--flip")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{path}: ")
    assert hinted_command(result)[:2] == ["prepare-voc", "--again"]
