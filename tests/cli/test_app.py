"""The command line as a whole: help, version, completion, the way from nothing to a table, one net for all errors."""

import shlex
import signal
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from commands import COMMANDS, CPU, FP32, call, next_command, only, preset_file, the_error, the_hint
from conftest import TINY, swdb
from goldens import assert_golden
from typer.main import get_command

from swdb.__main__ import main
from swdb.cli import arguments
from swdb.cli.app import app
from swdb.core.errors import (
    BadInput,
    DiskRefused,
    IncompleteSource,
    LeaseLost,
    MissingArtefact,
    NotMade,
    NotNamed,
    SwdbError,
)

# ---------------------------------------------------------------- what is offered


def test_help(tmp_path):
    result = swdb("--help", cwd=tmp_path)
    assert result.returncode == 0
    assert_golden("help_swdb.txt", result.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(command, "--help", terminal_width=78)  # as in a terminal of 80 columns
    assert result.exit_code == 0
    assert_golden(f"help_{command}.txt", result.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_two_commands_that_parse(command):
    shown = [line.split("  ")[0] for line in map(str.strip, call(command, "--help").stdout.splitlines())]
    examples = [
        shlex.split(line)[2:] for line in shown if line.startswith(f"swdb {command} ") or line == f"swdb {command}"
    ]
    assert len(examples) >= 2
    for example in examples:
        with get_command(app).commands[command].make_context(command, example) as context:
            assert context.params


def test_the_set_of_options_is_frozen():
    # An option says where, how much, on what device; what changes a result goes through a row or a preset.
    computing = {
        "--preset", "--workdir", "--device", "--precision", "--weights", "--preprocessing", "--cues", "--help",
        "--jobs", "--threads", "--devices", "--per-device",
    }  # fmt: skip
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
        "make-proxy": computing | {"--proxy-seeds", "--set", "--again", "--saliency", "--json", "--on", "--slurm"},
        "train": computing | {"--proxy-seeds", "--seed"},
        "eval": computing
        | {
            "--proxy-seeds",
            "--seed",
            "--branch",
            "--flip",
            "--scales",
            "--crf",
            "--figure",
            "--lab",
            "--format",
            "--json",
        },
        "reproduce-table": computing
        | {
            "--proxy-seeds",
            "--rows",
            "--seeds",
            "--dry-run",
            "--no-train",
            "--show-peek",
            "--format",
            "--on",
            "--slurm",
        }
        | {"--until-decided", "--budget"},
        "verify": {
            "--proxy-seeds",
            "--table",
            "--sentences",
            "--strict",
            "--json",
            "--junit",
            "--summary",
            "--preset",
            "--workdir",
            "--help",
        },
        "plan": {
            "--proxy-seeds",
            "--power",
            "--budget",
            "--spread",
            "--device",
            "--jobs",
            "--weights",
            "--preprocessing",
            "--cues",
            "--json",
            "--preset",
            "--workdir",
            "--help",
        },
        "preregister": {"--proxy-seeds", "--seeds", "--preset", "--workdir", "--json", "--help"},
        "report": {"--proxy-seeds", "--preset", "--workdir", "--output", "--images", "--help"},
        "make": computing | {"--again"},
        "status": {"--preset", "--workdir", "--proxy-seeds", "--json", "--help"},
        "assumptions": {"--status", "--table", "--preset", "--format", "--help"},
        "bench": {"--preset", "--workdir", "--device", "--precision", "--threads", "--steps", "--json", "--help"},
        "bundle": {"--proxy-seeds", "--preset", "--workdir", "--output", "--table", "--json", "--help"},
        "rescore": {"--data", "--output", "--json", "--help"},
        "merge": {"--data", "--output", "--json", "--help"},
    }
    assert tuple(offered) == COMMANDS


def test_the_version_is_the_package_s():
    assert call("--version").stdout == f"swdb {version('swdb')}\n"


def test_swdb_installs_as_a_console_script():
    (script,) = entry_points(group="console_scripts", name="swdb")
    assert script.load() is main


def test_without_a_command_the_commands_are_listed():
    result = call()
    assert result.exit_code == 2
    assert all(f"\n  {command} " in result.output for command in COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_be_taught_to_complete(shell):
    assert "--show-completion" in call("--help").stdout
    result = call(env={"_SWDB_COMPLETE": f"source_{shell}"})
    assert result.exit_code == 0
    assert f"_SWDB_COMPLETE=complete_{shell}" in result.stdout


# ---------------------------------------------------------------- from nothing to a table


STEPS = ("prepare-voc", "make-proxy", "dry run", "reproduce-table", "eval")


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """From an empty folder to a table and a figure, in the work directory that is the default.

    But for the first command and the plan, each command is the one that the one before it proposed.
    """
    folder, results = tmp_path_factory.mktemp("walk"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        results["prepare-voc"] = call("prepare-voc", "--preset", TINY)
        results["make-proxy"] = call(*next_command(results["prepare-voc"]))
        plan = ("reproduce-table", "3", "--rows", "n3", "--seeds", "1", "--dry-run", "--preset", TINY)
        results["dry run"] = call(*plan)
        results["reproduce-table"] = call(*next_command(results["dry run"]))
        results["eval"] = call(*next_command(results["reproduce-table"]))
    return folder, results


@pytest.mark.parametrize("step", STEPS)
def test_every_command_succeeds(walk, step):
    result = walk[1][step]
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("step", STEPS)
def test_every_command_ends_by_naming_the_next_one(walk, step):
    command = next_command(walk[1][step])
    assert command[0] in COMMANDS
    assert command[command.index("--preset") + 1] == TINY  # as it was typed
    assert "--workdir" not in command


@pytest.mark.parametrize("step", STEPS)
def test_results_are_on_stdout_and_progress_is_on_stderr(walk, step):
    result = walk[1][step]
    assert result.stdout.strip()
    assert not any(line.endswith(" ...") or line.startswith("next:") for line in result.stdout.splitlines())
    assert "Warning" not in result.stderr


def test_the_commands_lead_from_data_to_a_table_and_a_figure(walk):
    folder, results = walk
    assert [next_command(results[step])[0] for step in STEPS] == [
        "make-proxy", "reproduce-table", "reproduce-table", "eval", "reproduce-table",
    ]  # fmt: skip
    work = folder / "work"
    assert [path.name for path in folder.iterdir()] == ["work"]
    assert len(list(work.glob("proxies/dsrg-*"))) == 2
    assert (work / "reports" / "tiny" / "table3.md").is_file()
    assert (work / "reports" / "tiny" / "figures" / "dual-s0.png").is_file()


# ---------------------------------------------------------------- one net for all errors


def raising(monkeypatch, error: BaseException):
    """Let a command raise an error, and return what comes of it."""

    def chosen_tables(*arguments):
        raise error

    monkeypatch.setattr(arguments, "chosen_tables", chosen_tables)
    return call("reproduce-table", "1", "--no-train", "--preset", TINY)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (BadInput, 2), (IncompleteSource, 2), (DiskRefused, 2), (SwdbError, 2),
        (MissingArtefact, 3), (NotMade, 3), (NotNamed, 3), (LeaseLost, 3),
    ],
)  # fmt: skip
def test_an_error_for_the_user_is_one_line_and_perhaps_a_hint(monkeypatch, kind, code):
    result = raising(monkeypatch, kind(Path("work/precision.json"), "found this", "that"))
    assert result.exit_code == code
    assert the_error(result) == "work/precision.json: found this; expected that"
    assert result.stdout == ""


@pytest.mark.parametrize(
    "words", [("verify", "--table", ""), ("eval", "dual", "--scales="), ("bundle", "--output", "")]
)
def test_an_option_that_was_given_nothing_is_refused(tmp_path, words):
    result = call(*words, "--workdir", tmp_path)
    assert result.exit_code == 2
    assert the_error(result) == f"{words[-1].rstrip('=') or words[-2]}: empty; expected a value, or no such option"


def test_ctrl_c_while_the_command_line_is_loaded_ends_without_a_traceback(monkeypatch):
    class Loaded:
        def find_spec(self, name, *more):
            if name == "swdb.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "swdb.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Loaded(), *sys.meta_path])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130


def test_an_error_that_says_it_all_has_no_hint(monkeypatch):
    result = raising(monkeypatch, BadInput("strong-s1", "the loss is [nan]"))
    assert result.stderr == "error: strong-s1: the loss is [nan]\n"


@pytest.mark.parametrize("name", ["here/file.txt", None])
def test_what_the_disk_refuses_is_an_error_for_the_user(monkeypatch, name):
    result = raising(monkeypatch, OSError(28, "No space left on device", name))
    assert result.exit_code == 2
    assert the_error(result) == f"{name or 'a file'}: the disk is full"


def test_an_error_of_the_system_that_nobody_foresaw_is_an_error_for_the_user_too(monkeypatch):
    result = raising(monkeypatch, OSError(116, "Stale file handle", "work/x"))
    assert result.exit_code == 2
    assert the_error(result) == "work/x: cannot be used (Stale file handle)"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 TiB")])
def test_no_memory_is_an_error_for_the_user(monkeypatch, error):
    result = raising(monkeypatch, error)
    assert result.exit_code == 2
    assert the_error(result).startswith("memory: there is not enough")


def test_what_an_error_says_stays_on_its_line(monkeypatch):
    result = raising(monkeypatch, BadInput("a\nname\x1b[31m", "bad"))
    assert the_error(result) == r"a\nname\x1b[31m: bad"


@pytest.mark.parametrize("error", [ValueError("ours"), OSError("cannot identify"), KeyError("ours"), AssertionError()])
def test_a_bug_of_ours_is_a_line_and_its_traceback_is_in_a_file(monkeypatch, tmp_path, error):
    monkeypatch.chdir(tmp_path)
    result = raising(monkeypatch, error)
    assert result.exit_code == 70
    log = only(tmp_path, "work/errors/*.log")
    assert the_error(result).startswith(f"a bug in swdb: {type(error).__name__}")
    assert the_error(result).endswith(f"; the traceback is in {log}")
    assert "Traceback (most recent call last)" in log.read_text() and "chosen_tables" in log.read_text()


def test_ctrl_c_says_how_to_go_on(monkeypatch):
    result = raising(monkeypatch, KeyboardInterrupt())
    assert result.exit_code == 130
    first, second = result.stderr.splitlines()
    assert first.startswith("interrupted")
    assert second.startswith("hint: ")
    assert second.endswith(f"swdb reproduce-table 1 --no-train --preset {shlex.quote(TINY)}")


@pytest.mark.parametrize(
    "arguments",
    [["train"], ["train", "dual", "--seed", "-1"], ["train", "dual", "--sed", "1"], ["trian", "dual"], ["--nope"]],
)
def test_what_does_not_parse_is_refused_with_the_command_that_helps(arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    command = "swdb train" if arguments[0] == "train" else "swdb"
    assert the_error(result).startswith(f"{command}: ") and the_hint(result) == f"{command} --help"
    assert result.stdout == ""


def test_a_wrong_name_in_a_process_of_its_own(tmp_path):
    result = swdb("reproduce-table", "1", "--rows", "mixd", "--preset", TINY, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "error: --rows: row 'mixd': unknown\nhint: did you mean 'mixed'?\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [["prepare-voc", "--preset", TINY], ["train", "strong", *FP32], ["make", "x", *FP32], ["make-proxy", *FP32],
     ["reproduce-table", "1", *FP32], ["reproduce-table", "1", "--no-train"], ["reproduce-table", "1", "--dry-run"],
     ["verify"], ["plan"], ["status"], ["report"], ["bundle"]],
    ids=lambda arguments: f"{arguments[0]} {arguments[-1]}",
)  # fmt: skip
def test_a_work_directory_below_a_file_is_named(tmp_path, arguments):
    (tmp_path / "file").write_text("precious")
    result = call(*arguments, "--workdir", tmp_path / "file" / "work")
    assert result.exit_code == 2
    assert str(tmp_path / "file" / "work") in the_error(result)
    assert "--workdir DIR" in the_hint(result)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    "change",
    [
        ("steps = 6\nbatch = 4\ncrop", "stepz = 6\nbatch = 4\ncrop"),
        ('backbone = "small"', 'backbone = "smal"'),
        ('dataset = "synthetic"', 'dataset = "synthetik"'),
        ("num_classes = 6", "num_classes = 4"),
    ],
)
@pytest.mark.parametrize("command", [["make-proxy"], ["train", "dual"], ["reproduce-table", "1"], ["prepare-voc"]])
def test_a_preset_that_cannot_be_run_is_refused_before_anything_is_made(tmp_path, command, change):
    path = preset_file(tmp_path, change)
    device = [] if command == ["prepare-voc"] else ["--device", "cpu"]
    result = call(*command, "--preset", path, "--workdir", tmp_path / "work", *device)
    assert result.exit_code == 2
    assert the_error(result)
    assert not (tmp_path / "work").exists()


def test_a_preset_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes('title = "Größe"'.encode("latin-1"))
    result = call("train", "dual", "--preset", path, "--workdir", tmp_path / "work")
    assert result.exit_code == 2
    assert the_error(result).startswith("latin.toml: ")


def has_gpu() -> bool:
    from swdb.nn.cuda import cuda_works

    return cuda_works()


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "gpu", "meta"])
@pytest.mark.parametrize("precision", [[], ["--precision", "fp32"]], ids=["", "fp32"])
def test_a_device_that_cannot_be_used_is_named(tmp_path, device, precision):
    if device == "cuda" and has_gpu():
        pytest.skip("there is a GPU")
    command = ["train", "strong", "--preset", TINY, *precision, "--workdir", tmp_path / "work", "--device", device]
    result = call(*command)
    assert result.exit_code == 2
    assert the_error(result).startswith(f"--device {device}: ")
    assert not (tmp_path / "work" / "runs").exists()
    assert not (tmp_path / "work" / "precision.json").exists()


# ---------------------------------------------------------------- processes of their own: Ctrl-C, a full disk


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A long command, Ctrl-C, what it left behind, and its second start."""
    folder = tmp_path_factory.mktemp("interrupted")
    preset = preset_file(folder, ("num_train = 32", "num_train = 400"))
    command = ["prepare-voc", "--preset", str(preset), "--workdir", str(folder / "work")]
    with subprocess.Popen(
        [sys.executable, "-m", "swdb", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        began = process.stderr.readline()  # it draws
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    ended = subprocess.CompletedProcess(command, process.returncode, out, began + err)
    left = [path.name for path in (folder / "work" / "data").iterdir()]
    return folder / "work" / "data", ended, left, call(*command)


def test_ctrl_c_ends_with_two_lines_and_130(interrupted):
    _, ended, _, _ = interrupted
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    first, second = ended.stderr.splitlines()[-2:]
    assert first.startswith("interrupted")
    assert second.endswith(shlex.join(["swdb", *ended.args]))


def test_half_a_data_set_is_never_seen(interrupted):
    assert "tiny" not in interrupted[2]


def test_an_interrupted_command_can_be_started_again(interrupted):
    data, _, _, again = interrupted
    assert again.exit_code == 0, again.stderr
    train = data / "tiny" / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "train_aug.txt"
    assert len(train.read_text().split()) == 400
    assert [path.name for path in data.iterdir() if path.name != ".leases"] == ["tiny"]


def test_a_full_disk_under_stdout_gets_one_error(finished):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = ["reproduce-table", "all", "--seeds", "1", *CPU, "--precision", "fp32", "--workdir", str(finished)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "swdb", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert result.returncode == 2
    assert "the disk is full" in the_error(result)
