"""The real command line: goldens, the way from nothing to a table, and one line for every mistake."""

import json
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import call, code, next_command, the_line
from conftest import TINY, other_data, swdb
from goldens import assert_golden
from PIL import Image
from typer.main import get_command

from swdb.cli.app import app
from swdb.core.files import only_writer
from swdb.data.images import palette_png

COMMANDS = ("prepare-voc", "make-proxy", "train", "eval", "reproduce-table")
FP32 = ("--preset", TINY, "--precision", "fp32", "--device", "cpu")
IDS = "VOCdevkit/VOC2012/ImageSets/Segmentation"


def preset_file(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the tiny preset with changes."""
    text = Path(TINY).read_text()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / "changed.toml"
    path.write_text(text)
    return path


@pytest.fixture
def own(finished, tmp_path) -> Path:
    """A finished work directory that a test may spoil."""
    shutil.copytree(finished, tmp_path / "work")
    return tmp_path / "work"


# ---------------------------------------------------------------- what is offered


def test_help(tmp_path):
    result = swdb("--help", cwd=tmp_path)
    assert result.returncode == 0
    assert_golden("help_swdb.txt", result.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command, tmp_path):
    result = swdb(command, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert_golden(f"help_{command}.txt", result.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_two_commands_that_parse(command):
    shown = [line.split("  ")[0] for line in map(str.strip, call(command, "--help").stdout.splitlines())]
    examples = [shlex.split(line)[2:] for line in shown if line.startswith(f"swdb {command}")]
    assert len(examples) >= 2
    for example in examples:
        with get_command(app).commands[command].make_context(command, example) as context:
            assert context.params


def test_the_set_of_options_is_frozen():
    # An option says where, how much, on what device; what changes a result goes through a row or a preset.
    computing = {"--preset", "--workdir", "--device", "--precision", "--weights", "--cues", "--help"}
    offered = {
        name: {option for parameter in command.get_params(command.make_context(name, [], resilient_parsing=True))
               for option in parameter.opts if option.startswith("-")}
        for name, command in get_command(app).commands.items()
    }  # fmt: skip
    assert offered == {
        "prepare-voc": {
            "--dataset",
            "--preset",
            "--voc",
            "--sbd",
            "--image-labels",
            "--download",
            "--available-only",
            "--classes",
            "--require",
            "--name",
            "--lists",
            "--check",
            "--audit-splits",
            "--again",
            "--workdir",
            "--json",
            "--help",
        },
        "make-proxy": computing | {"--set", "--again", "--saliency", "--json"},
        "train": computing | {"--seed"},
        "eval": computing | {"--seed", "--branch", "--flip", "--scales", "--crf", "--figure", "--json"},
        "reproduce-table": computing | {"--rows", "--seeds", "--dry-run", "--no-train", "--format"},
    }


def test_the_version_is_the_packages():
    assert call("--version").stdout == f"swdb {version('swdb')}\n"


def test_swdb_installs_as_a_console_script():
    (script,) = entry_points(group="console_scripts", name="swdb")
    assert script.load() is app


# ---------------------------------------------------------------- from nothing to a table


@dataclass
class Walk:
    """All commands, one after the other, in a folder that was empty before, each in a process of its own."""

    folder: Path
    results: dict[str, subprocess.CompletedProcess]

    @property
    def work(self) -> Path:
        return self.folder / "work"  # the default


STEPS = {
    "prepare": ["prepare-voc"],
    "proxy": ["make-proxy", "--set", "1"],
    "dry": ["reproduce-table", "3", "--dry-run", "--seeds", "1"],
    "train": ["train", "dual", "--seed", "0"],
    "weak": ["eval", "dual", "--branch", "weak", "--json"],
    "figure": ["eval", "dual", "--flip", "--figure"],
    "table": ["reproduce-table", "3", "--rows", "n3", "--seeds", "1"],
}
FORMATS = ("md", "csv", "json")  # rendered from finished runs, in this process


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> Walk:
    folder = tmp_path_factory.mktemp("walk")
    results = {name: swdb(*step, "--preset", TINY, cwd=folder) for name, step in STEPS.items()}
    again = ["reproduce-table", "3", "--no-train", "--seeds", "1", "--preset", TINY, "--workdir", folder / "work"]
    return Walk(folder, results | {form: call(*again, "--format", form) for form in FORMATS})


@pytest.mark.parametrize("step", [*STEPS, *FORMATS])
def test_every_command_succeeds(walk, step):
    assert code(walk.results[step]) == 0, walk.results[step].stderr


@pytest.mark.parametrize("step", [*STEPS, *FORMATS])
def test_every_command_ends_by_naming_the_next_one(walk, step):
    command = next_command(walk.results[step])
    assert command[0] in COMMANDS
    assert command[command.index("--preset") + 1] == TINY  # as it was typed


@pytest.mark.parametrize("step", [*STEPS, *FORMATS])
def test_results_are_on_stdout_and_progress_is_on_stderr(walk, step):
    result = walk.results[step]
    assert result.stdout.strip()
    assert not any(line.endswith(" ...") or line.startswith("next:") for line in result.stdout.splitlines())
    assert "Warning" not in result.stderr


def test_prepare_voc_reports_the_counts(walk):
    assert "12 strong, 32 training, 6 validation images" in walk.results["prepare"].stdout
    assert len(list((walk.work / "data/tiny/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))) == 38


def test_make_proxy_writes_a_mask_for_every_training_image(walk):
    assert ": 32 masks, mIoU" in walk.results["proxy"].stdout
    (folder,) = (walk.work / "proxies").glob("dsrg-1-*")
    assert len(list(folder.glob("*.png"))) == 32


def test_a_dry_run_shows_what_is_there_and_what_is_not(walk):
    lines = walk.results["dry"].stdout.splitlines()
    state = {line.split()[1]: "done" if " done " in line else "to do" for line in lines if "-" in line and "s0" in line}
    assert state == {"dual-n0-s0": "to do", "dual-n1-s0": "to do", "dual-n2-s0": "to do", "dual-s0": "to do"}
    assert next(line for line in lines if "dsrg-1" in line).count(" done ") == 1


def test_train_prints_the_runs_folder(walk):
    folder = walk.folder / walk.results["train"].stdout.strip()
    assert (folder / "weights.pt").is_file()
    assert folder.name.startswith("dual-s0-")


def test_train_makes_the_run_that_the_plan_named(walk):
    run = Path(walk.results["train"].stdout.strip()).name
    assert run in walk.results["dry"].stdout


def test_eval_prints_json_for_the_branch_that_was_asked_for(walk):
    value = json.loads(walk.results["weak"].stdout)
    assert (value["branch"], value["flip"], value["scales"], value["images"]) == ("weak", False, [1.0], 6)
    assert list(value["iou"]) == ["background", "alpha", "beta", "gamma", "delta", "epsilon"]


def test_eval_prints_every_class(walk):
    lines = walk.results["figure"].stdout.splitlines()
    assert "strong branch: mIoU" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["background", "alpha", "beta", "gamma", "delta", "epsilon"]


def test_eval_writes_predictions_and_a_figure_and_says_where(walk):
    said = dict(line.split(": ", 1) for line in walk.results["figure"].stderr.splitlines() if ": " in line)
    assert len(list((walk.folder / said["predictions"]).glob("*.png"))) == 6
    with Image.open(walk.folder / said["figure"]) as sheet:
        assert sheet.size[0] > sheet.size[1] / 2 > 100


def test_the_plain_score_of_an_eval_is_the_tables(walk):
    weak = json.loads(walk.results["weak"].stdout)["miou"]
    rows = json.loads(walk.results["json"].stdout)["rows"]
    assert next(row for row in rows if row["key"] == "n3")["values"]["weak"]["by_seed"] == {"0": weak}


def test_only_the_rows_that_were_asked_for_are_run(walk):
    rows = json.loads(walk.results["json"].stdout)["rows"]
    assert {row["key"]: list(row["values"]["strong"]["by_seed"]) for row in rows} == {
        "n0": [], "n1": [], "n2": [], "n3": ["0"],
    }  # fmt: skip
    assert walk.results["table"].stdout.count("NOT RUN") == 6 + 1 + 2  # cells, the note, two claims that need n0


def test_a_table_is_printed_as_it_is_written(walk):
    for form in FORMATS:
        assert walk.results[form].stdout == (walk.work / "reports" / "tiny" / f"table3.{form}").read_text()


def test_a_table_in_csv_can_be_read_by_pandas(walk):
    shown = pd.read_csv(walk.work / "reports" / "tiny" / "table3.csv")
    assert list(shown.columns) == ["table", "row", "labels", "column", "paper", "seed", "measured", "run"]
    assert shown[shown.row == "n3"].measured.notna().all()


# ---------------------------------------------------------------- finished runs


def test_all_four_tables_are_printed_from_finished_runs(own):
    result = call("reproduce-table", "all", "--seeds", "1", *FP32, "--workdir", own)
    assert result.exit_code == 0
    assert [line.split(".")[0] for line in result.stdout.splitlines() if line.startswith("Table ")] == [
        "Table 1", "Table 2", "Table 3", "Table 4",
    ]  # fmt: skip
    assert "NOT RUN" not in result.stdout
    assert len(list((own / "reports" / "tiny").glob("table*"))) == 12


def test_all_tables_as_json_are_one_document(own):
    result = call("reproduce-table", "all", "--seeds", "1", "--format", "json", *FP32, "--workdir", own)
    assert [table["table"] for table in json.loads(result.stdout)] == [1, 2, 3, 4]


def test_all_tables_as_csv_have_one_head(own):
    result = call("reproduce-table", "all", "--seeds", "1", "--format", "csv", *FP32, "--workdir", own)
    lines = result.stdout.splitlines()
    assert [k for k, line in enumerate(lines) if line.startswith("table,row,")] == [0]
    assert len(lines) == 1 + 6 + 8 + 8 + 6  # 25 measured cells, 3 of the literature


def test_no_train_prints_what_is_there_and_makes_nothing(tmp_path):
    result = call("reproduce-table", "1", "--no-train", *FP32, "--workdir", tmp_path / "work")
    assert result.exit_code == 0
    rows = [line for line in result.stdout.splitlines() if "strong" in line and "NOT RUN" in line and "." in line]
    assert len(rows) >= 6
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["reports"]


def test_a_dry_run_makes_nothing(tmp_path):
    result = call("reproduce-table", "all", "--dry-run", *FP32, "--workdir", tmp_path / "work")
    assert result.exit_code == 0
    assert "dual-25-s1" in result.stdout  # two seeds are the preset's
    assert not (tmp_path / "work").exists()


def test_a_run_is_the_same_with_its_seed_in_its_name(own):
    folders = {
        call("train", *name, *FP32, "--workdir", own).stdout
        for name in (["dual"], ["dual-s0"], ["dual", "--seed", "0"])
    }
    assert len(folders) == 1
    assert (Path(folders.pop().strip()) / "done.json").is_file()


def test_data_that_are_there_are_not_drawn_again(own):
    call("prepare-voc", "--preset", TINY, "--workdir", own, "--check")  # files that were copied are audited once more
    before = {path: path.stat().st_mtime_ns for path in (own / "data").rglob("*")}
    result = call("prepare-voc", "--preset", TINY, "--workdir", own)
    assert result.exit_code == 0
    assert "prepared already" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in (own / "data").rglob("*")} == before


def test_data_drawn_again_are_the_same_bytes(own):
    manifest = own / "data" / "tiny" / "manifest.json"
    before = manifest.read_bytes()
    assert call("prepare-voc", "--preset", TINY, "--workdir", own, "--again").exit_code == 0
    assert manifest.read_bytes() == before


# ---------------------------------------------------------------- the next command leads on


def test_the_next_command_finds_the_work_directory_again(own, tmp_path):
    proposed = next_command(call("train", "dual", *FP32, "--workdir", own))
    assert proposed[:4] == ["eval", "dual", "--seed", "0"]
    assert proposed[proposed.index("--workdir") + 1] == str(own)


def test_the_next_command_survives_a_blank_in_a_path(tmp_path):
    folder = tmp_path / "my work"
    proposed = next_command(call("prepare-voc", "--preset", TINY, "--workdir", folder))
    assert proposed[proposed.index("--workdir") + 1] == str(folder)


def test_the_next_command_has_the_precision_that_was_typed(own):
    # the directory's own precision is another one; without the option the next command would train everything anew
    (own / "precision.json").write_text('{"precision": "bf16"}')
    proposed = next_command(call("train", "dual", *FP32, "--workdir", own))
    result = call(*proposed, "--device", "cpu")
    assert result.exit_code == 0, result.stderr


def test_the_mending_command_mends(tmp_path):
    # what an error proposes is run as it stands
    work = tmp_path / "work"
    line = the_line(call("eval", "strong", *FP32, "--workdir", work))
    proposed = shlex.split(line.partition("run: swdb ")[2])
    assert proposed[:2] == ["train", "strong"]
    assert call(*proposed, "--device", "cpu", "--precision", "fp32").exit_code == 0
    assert call("eval", "strong", *FP32, "--workdir", work).exit_code == 0


# ---------------------------------------------------------------- mistakes: one line, exit code 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "dul"], "unknown run 'dul'; did you mean 'dual'?"),
        (["train", "xyz"], "unknown run 'xyz'; known: all-strong, dual, dual-10"),
        (["train", "dual-s0", "--seed", "1"], "dual-s0 names seed 0, --seed says 1"),
        (["train", "dual", "--precision", "fp16"], "--precision fp16: did you mean 'bf16'?"),
        (["train", "dual", "--preset", "synthetc"], "unknown preset 'synthetc'; did you mean 'synthetic'?"),
        (["train", "dual", "--preset", "nowhere.toml"], "unknown preset 'nowhere.toml'"),
        (["prepare-voc", "--dataset", "imagenet"], "unknown preset 'imagenet'; known: synthetic"),
        (["make-proxy", "--set", "3"], "--set 3: expected 1, 2 or all"),
        (["eval", "dual", "--branch", "stron"], "--branch stron: did you mean 'strong'?"),
        (["eval", "strong", "--branch", "weak"], "run 'strong' has one branch only; expected --branch strong"),
        (["eval", "dual", "--scales", "big"], "--scales big: expected numbers, as in 0.75,1,1.25"),
        (["eval", "dual", "--scales", "1,,2"], "--scales 1,,2: expected numbers"),
        (["eval", "dual", "--scales", "0"], "--scales 0: expected factors of 0.1 to 4"),
        (["eval", "dual", "--scales", "nan"], "--scales nan: expected factors of 0.1 to 4"),
        (["reproduce-table", "5"], "unknown table '5'; expected 1, 2, 3, 4, all"),
        (["reproduce-table", "1", "--rows", "mixd"], "--rows: unknown row 'mixd'; did you mean 'mixed'?"),
        (["reproduce-table", "1", "--rows", "n3"], "--rows: unknown row 'n3'; "),
        (["reproduce-table", "1", "--format", "html"], "--format html: known: csv, json, md, rich"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_name_gets_one_line_and_exit_code_2(tmp_path, arguments, expected):
    preset = [] if "--preset" in arguments or "--dataset" in arguments else ["--preset", TINY]
    result = call(*arguments, *preset, "--workdir", tmp_path / "work")
    assert result.exit_code == 2
    assert the_line(result).startswith(f"swdb: {expected}")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_wrong_name_in_a_process_of_its_own(tmp_path):
    result = swdb("reproduce-table", "1", "--rows", "mixd", "--preset", TINY, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "swdb: --rows: unknown row 'mixd'; did you mean 'mixed'?\n"


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "gpu", "meta"])
def test_a_device_that_cannot_be_used_is_named(tmp_path, device):
    if device == "cuda" and has_gpu():
        pytest.skip("there is a GPU")
    arguments = ["--preset", TINY, "--precision", "fp32", "--workdir", tmp_path / "work", "--device", device]
    result = call("train", "strong", *arguments)
    assert result.exit_code == 2
    assert the_line(result).startswith(f"swdb: --device {device} ")
    assert not (tmp_path / "work" / "runs").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("steps = 6\nbatch = 4\ncrop", "stepz = 6\nbatch = 4\ncrop"),
            "key 'training': unknown key 'stepz'; did you mean 'steps'?",
        ),
        (("warmup = 2\nclip", 'warmup = "two"\nclip'), "key 'training', key 'warmup': found 'two', expected int"),
        (("comparable = false\n", ""), "key 'comparable' is missing"),
        (("crop = 32", "crop = 8"), "key 'training.crop' is out of range; expected 16 or more"),
        (("[network]", "[network"), "is not valid TOML"),
        (('backbone = "small"', 'backbone = "smal"'), "'smal'"),
        (('weights = "pretext"', 'weights = "pretex"'), "'pretex'"),
        (('dataset = "synthetic"', 'dataset = "synthetik"'), "'synthetik'"),
        (('cues = "classifier"', 'cues = "classifiers"'), "'classifiers'"),
        (("num_classes = 6", "num_classes = 4"), "num_classes"),
    ],
    ids=["key", "type", "missing", "range", "not toml", "backbone", "weights", "dataset", "proxy", "classes"],
)
def test_a_preset_that_cannot_be_run_is_refused_before_anything_is_made(tmp_path, change, expected):
    path = preset_file(tmp_path, change)
    result = call(
        "make-proxy", "--preset", path, "--workdir", tmp_path / "work", "--device", "cpu", "--precision", "fp32"
    )
    assert result.exit_code == 2
    line = the_line(result)
    assert "changed.toml" in line
    assert expected in line
    assert not (tmp_path / "work").exists()


def test_a_preset_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes('title = "Größe"'.encode("latin-1"))
    result = call("train", "dual", "--preset", path, "--workdir", tmp_path / "work")
    assert result.exit_code == 2
    assert "latin.toml" in the_line(result)


@pytest.mark.parametrize(
    "arguments",
    [["prepare-voc", "--preset", TINY], ["train", "strong", *FP32], ["reproduce-table", "1", "--no-train", *FP32]],
    ids=lambda arguments: arguments[0],
)
def test_a_work_directory_below_a_file_is_named(tmp_path, arguments):
    (tmp_path / "file").write_text("precious")
    result = call(*arguments, "--workdir", tmp_path / "file" / "work")
    assert result.exit_code == 2
    line = the_line(result)
    assert str(tmp_path / "file" / "work") in line
    assert "--workdir DIR" in line
    assert (tmp_path / "file").read_text() == "precious"


def test_a_stored_precision_that_is_none_is_named(tmp_path):
    (tmp_path / "precision.json").write_text('{"precision": "fp8"}')
    result = call("train", "dual", "--preset", TINY, "--workdir", tmp_path)
    assert result.exit_code == 2
    assert "names the precision 'fp8'; expected fp32 or bf16; delete the file" in the_line(result)


# ---------------------------------------------------------------- missing: one line, exit code 3


def test_eval_before_training_names_the_training(tmp_path):
    result = swdb("eval", "dual-s1", "--preset", TINY, cwd=tmp_path)
    assert result.returncode == 3
    assert f"run: swdb train dual --seed 1 --preset {TINY}" in the_line(result)
    assert len(result.stderr.splitlines()) == 1


def test_a_weights_file_that_is_not_there_is_named(tmp_path):
    result = call("train", "dual", *FP32, "--workdir", tmp_path / "work", "--weights", tmp_path / "no.pth")
    assert result.exit_code == 3
    assert f"--weights {tmp_path / 'no.pth'}: no such file" in the_line(result)


@pytest.mark.parametrize("command", [["prepare-voc"], ["make-proxy"], ["train", "dual"], ["reproduce-table", "1"]])
def test_without_photographs_one_line_says_how_to_get_them_and_nothing_is_downloaded(tmp_path, monkeypatch, command):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    result = call(*command, "--preset", "voc", "--workdir", tmp_path / "work")
    assert result.exit_code == 3
    line = the_line(result)
    assert "'voc'" in line
    assert "swdb prepare-voc --preset voc" in line
    assert "--voc DIR" in line
    assert not (tmp_path / "torch").exists()
    assert not (tmp_path / "work" / "data").exists()


def test_a_folder_that_holds_no_voc_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    result = call("prepare-voc", "--preset", "voc", "--voc", tmp_path / "empty", "--workdir", tmp_path / "work")
    assert result.exit_code == 2
    assert "ImageSets/Segmentation/train.txt is missing" in the_line(result)
    assert not (tmp_path / "work" / "data" / "voc").exists()


# ---------------------------------------------------------------- damaged data


def damage_mask(root: Path, image_id: str, folder: str, how: str) -> Path:
    path = root / "VOCdevkit" / "VOC2012" / folder / f"{image_id}.png"
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:60])
    elif how == "value 77":
        path.write_bytes(palette_png(np.full((32, 32), 77, np.uint8)))
    elif how == "wrong size":
        path.write_bytes(palette_png(np.zeros((16, 32), np.uint8)))
    elif how == "colour":
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)
    else:
        path.unlink()
    return path


DAMAGES = pytest.mark.parametrize("how", ["truncated", "value 77", "wrong size", "colour", "missing"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("prepared") / "work"
    assert call("prepare-voc", "--preset", TINY, "--workdir", work).exit_code == 0
    return work


@DAMAGES
def test_a_damaged_training_mask_is_named(prepared, tmp_path, how):
    work = shutil.copytree(prepared, tmp_path / "work")
    path = damage_mask(work / "data" / "tiny", "0000_000003", "SegmentationClassAug", how)
    result = call("train", "strong", *FP32, "--workdir", work)
    assert result.exit_code == (3 if how == "missing" else 2)
    line = the_line(result)
    assert str(path) in line
    assert "swdb prepare-voc" in line


@DAMAGES
def test_a_damaged_validation_mask_is_named(own, how):
    path = damage_mask(own / "data" / "tiny", "0000_000035", "SegmentationClass", how)
    result = call("eval", "dual", "--flip", *FP32, "--workdir", own)
    assert result.exit_code == (3 if how == "missing" else 2)
    line = the_line(result)
    assert str(path) in line
    assert "swdb prepare-voc" in line


def test_a_truncated_training_image_is_named(prepared, tmp_path):
    work = shutil.copytree(prepared, tmp_path / "work")
    path = work / "data/tiny/VOCdevkit/VOC2012/JPEGImages/0000_000003.jpg"
    path.write_bytes(path.read_bytes()[:200])
    result = call("train", "strong", *FP32, "--workdir", work)
    assert result.exit_code == 2
    assert str(path) in the_line(result)


@pytest.mark.parametrize("split", ["train", "train_aug", "val"])
def test_an_empty_split_is_named(own, split):
    path = own / "data" / "tiny" / IDS / f"{split}.txt"
    path.write_text("")
    command = ["eval", "dual", "--flip"] if split == "val" else ["train", "strong", "--seed", "1"]
    result = call(*command, *FP32, "--workdir", own)
    assert result.exit_code == 2
    line = the_line(result)
    assert f"{path} is empty" in line
    assert "swdb prepare-voc" in line


def test_data_of_other_settings_are_refused(own, tmp_path):
    path = preset_file(tmp_path, ("image_size = 32", "image_size = 48"))
    result = call("train", "strong", "--preset", path, "--precision", "fp32", "--workdir", own)
    assert result.exit_code == 3
    assert "was prepared with other settings; run: swdb prepare-voc" in the_line(result)


@pytest.mark.parametrize(
    "command", [["train", "dual"], ["eval", "dual"], ["reproduce-table", "all", "--seeds", "1"]], ids=lambda c: c[0]
)
def test_finished_runs_on_other_data_are_refused(own, command):
    other_data(own)
    result = call(*command, *FP32, "--workdir", own)
    assert result.exit_code == 3
    assert "other data" in the_line(result)


def test_a_damaged_manifest_is_named(own):
    (own / "data" / "tiny" / "manifest.json").write_text("{")
    result = call("train", "dual", *FP32, "--workdir", own)
    assert result.exit_code == 3
    line = the_line(result)
    assert "manifest.json is damaged" in line
    assert "swdb prepare-voc" in line


# ---------------------------------------------------------------- two at once, Ctrl-C, a full disk


def test_a_work_directory_has_one_writer(own):
    with only_writer(own):
        result = swdb("train", "strong", "--seed", "1", *FP32, "--workdir", own)
    assert result.returncode == 2
    line = the_line(result)
    assert f"is working in {own}" in line
    assert "--workdir DIR" in line
    assert len(result.stderr.splitlines()) == 1


def test_reading_needs_no_lock(own):
    with only_writer(own):
        assert call("reproduce-table", "all", "--seeds", "1", *FP32, "--workdir", own).exit_code == 0
        assert call("reproduce-table", "all", "--seeds", "2", "--dry-run", *FP32, "--workdir", own).exit_code == 0


@dataclass
class Interrupted:
    """A long command, a second one in the same work directory meanwhile, Ctrl-C on the first, and its second start."""

    root: Path
    process: int
    second: subprocess.CompletedProcess
    first: subprocess.CompletedProcess
    left: list[str]
    again: subprocess.CompletedProcess


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted")
    preset = preset_file(folder, ("num_train = 32", "num_train = 600"))
    command = ["prepare-voc", "--preset", str(preset), "--workdir", str(folder / "work")]
    root = folder / "work" / "data" / "tiny"
    with subprocess.Popen(
        [sys.executable, "-m", "swdb", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        began = first.stderr.readline()
        first.send_signal(signal.SIGSTOP)  # it holds the directory for as long as the second one needs
        second = swdb(*command)
        first.send_signal(signal.SIGINT)
        first.send_signal(signal.SIGCONT)
        out, err = first.communicate(timeout=60)
    ended = subprocess.CompletedProcess(command, first.returncode, out, began + err)
    left = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
    return Interrupted(root, first.pid, second, ended, left, swdb(*command))


def test_the_second_of_two_commands_is_refused_and_told_who_is_at_work(interrupted):
    assert interrupted.second.returncode == 2
    assert f"another swdb command (process {interrupted.process}) is working in" in the_line(interrupted.second)


def test_ctrl_c_ends_with_one_line_and_130(interrupted):
    assert interrupted.first.returncode == 130
    assert the_line(interrupted.first).startswith("swdb: interrupted;")


def test_half_a_data_set_is_never_seen(interrupted):
    assert "tiny" not in interrupted.left


def test_an_interrupted_command_can_be_started_again(interrupted):
    assert interrupted.again.returncode == 0, interrupted.again.stderr
    assert len((interrupted.root / IDS / "train_aug.txt").read_text().split()) == 600
    assert [path.name for path in interrupted.root.parent.iterdir()] == ["tiny"]


def full_disk(limit: int):
    """Let every file end at `limit` bytes, as on a disk that is full: the system refuses to write further."""

    def before_start() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return before_start


def test_a_full_disk_while_data_are_drawn_gets_one_line_and_a_second_start_succeeds(tmp_path):
    command = ["prepare-voc", "--preset", TINY, "--workdir", tmp_path / "work"]
    result = swdb(*command, preexec_fn=full_disk(1024))  # a picture has about 1,500 bytes
    assert result.returncode == 2
    assert "the disk is full" in the_line(result)
    assert not (tmp_path / "work" / "data" / "tiny").exists()
    assert call(*command).exit_code == 0
    for path in (tmp_path / "work/data/tiny/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"):
        with Image.open(path) as picture:
            picture.load()


def test_a_full_disk_while_weights_are_written_gets_one_line_and_a_second_start_succeeds(prepared, tmp_path):
    work = shutil.copytree(prepared, tmp_path / "work")
    command = ["train", "strong", *FP32, "--workdir", work]
    result = swdb(*command, preexec_fn=full_disk(300_000))
    assert result.returncode == 2
    assert "the disk is full" in the_line(result)
    assert "weights.pt" in the_line(result)
    assert call(*command).exit_code == 0


def test_a_full_disk_while_images_are_decoded_gets_one_line_and_a_second_start_succeeds(own):
    shutil.rmtree(own / "data" / "tiny" / "store")
    command = ["train", "strong", "--seed", "1", *FP32, "--workdir", own]
    result = swdb(*command, preexec_fn=full_disk(50_000))  # 32 pictures of 32 x 32 x 3
    assert result.returncode == 2
    assert "the disk is full" in the_line(result)
    assert "images.npy" in the_line(result)
    assert call(*command).exit_code == 0


def test_a_full_disk_under_stdout_gets_one_line(own):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = [sys.executable, "-m", "swdb", "reproduce-table", "all", "--seeds", "1", *FP32, "--workdir", str(own)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert "the disk is full" in the_line(result)
