"""Shared options: their completion, and how a command opens a study, decides its precision and proposes another command."""

import json
import shlex

import pytest
from commands import CPU, FP32, call, only, preset_file, succeed
from conftest import TINY
from studies import study_of

from swdb.cli import options
from swdb.cli.command_line import CommandLine
from swdb.core.errors import BadInput, NotMade
from swdb.specs.presets import preset_names
from swdb.specs.tables import all_runs, load_tables
from swdb.study.capacity import Resources

RUNS = [*all_runs(load_tables())]


# ---------------------------------------------------------------- completion


def completed(*words: str) -> list[str]:
    """Ask for completion of the last word, as bash does."""
    asked = {
        "_SWDB_COMPLETE": "complete_bash",
        "COMP_WORDS": shlex.join(["swdb", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return call(env=asked).stdout.split()


def test_names_of_runs_are_completed():
    assert options.complete_runs("dual-n") == [name for name in RUNS if name.startswith("dual-n")] != []
    assert options.complete_runs("") == RUNS
    assert options.complete_runs("nothing") == []


@pytest.mark.parametrize("verb", ["train", "eval"])
def test_a_shell_is_told_the_runs(verb):
    assert completed(verb, "mixed-") == [name for name in RUNS if name.startswith("mixed-")] != []


@pytest.mark.parametrize("verb", ["prepare-voc", "make-proxy", "train", "eval", "reproduce-table", "make"])
def test_a_shell_is_told_the_presets(verb):
    assert completed(verb, "--preset", "voc-") == [name for name in preset_names() if name.startswith("voc-")] != []


def test_a_shell_is_told_the_commands():
    assert completed("make") == ["make-proxy", "make"]


# ---------------------------------------------------------------- opening a study


def test_the_first_training_decides_the_precision_and_says_by_what(prepared):
    succeed("train", "strong", *CPU, "--workdir", prepared)
    noted = json.loads((prepared / "precision.json").read_text())
    assert noted["precision"] in ("fp32", "bf16") and noted["because"]["device"] == "cpu"


def test_what_was_decided_holds_for_who_trains_later(prepared, monkeypatch):
    def choose(device):
        raise AssertionError("asked again")

    (prepared / "precision.json").write_text('{"precision": "bf16"}')
    monkeypatch.setattr(options, "_choose_precision", choose)
    graph = options.open_graph(prepared, TINY, trains_on="cpu")
    assert graph.study.precision == "bf16"


def test_a_precision_that_is_typed_decides_nothing_for_others(prepared):
    graph = options.open_graph(prepared, TINY, "bf16", trains_on="cpu")
    assert graph.study.precision == "bf16"
    assert not (prepared / "precision.json").exists()


@pytest.mark.parametrize(
    "command", [["eval", "dual"], ["reproduce-table", "1", "--no-train"], ["reproduce-table", "1", "--dry-run"]]
)
def test_who_does_not_train_decides_nothing(prepared, command):
    call(*command, *CPU, "--workdir", prepared)
    assert not (prepared / "precision.json").exists()


@pytest.mark.parametrize("verb", [["prepare-voc"], ["prepare-voc", "--again"], ["prepare-voc", "--check"]])
def test_preparing_a_data_set_decides_no_precision(prepared, verb):
    succeed(*verb, "--preset", TINY, "--workdir", prepared)
    assert not (prepared / "precision.json").exists()


def test_a_preset_may_say_the_precision_itself(prepared, tmp_path):
    path = preset_file(tmp_path, ("seeds = 2", 'seeds = 2\nprecision = "bf16"'))
    graph = options.open_graph(prepared, str(path), trains_on="cpu")
    assert graph.study.precision == "bf16"
    assert not (prepared / "precision.json").exists()


@pytest.mark.parametrize("command", [["train", "dul"], ["train", "dual-s0", "--seed", "1"]])
def test_a_wrong_word_leaves_nothing_behind(tmp_path, command):
    call(*command, *CPU, "--workdir", tmp_path / "work")
    assert not (tmp_path / "work").exists()


# ---------------------------------------------------------------- work directories of other versions


@pytest.fixture
def old(prepared):
    """A work directory as swdb 0.1 left it: no swdb.json, other ids, a manifest with other names."""
    (prepared / "swdb.json").unlink()
    for folder in ("weights/pretext-0011223344", "proxies/dsrg-1-0011223344", "runs/dual-s0-0011223344"):
        (prepared / folder).mkdir(parents=True)
        (prepared / folder / "done.json").write_text("{}")
    path = prepared / "data" / "tiny" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest |= {"recipe": manifest.pop("key"), "tree_root": manifest.pop("digest")}
    path.write_text(json.dumps(manifest))
    return prepared


@pytest.mark.parametrize(
    "command", [["prepare-voc"], ["train", "strong", "--device", "cpu"]], ids=lambda words: words[0]
)
def test_a_work_directory_of_version_0_1_gets_one_clear_line_once(old, command):
    first, second = (succeed(*command, "--preset", TINY, "--workdir", old) for _ in range(2))
    lines = [line for line in first.stderr.splitlines() if "0.1" in line]
    assert len(lines) == 1 and str(old) in lines[0]
    assert all(kind in lines[0] for kind in ("weights", "proxies", "runs"))
    assert "0.1" not in second.stderr
    assert json.loads((old / "swdb.json").read_text()) == {"version": 2}
    assert (old / "runs" / "dual-s0-0011223344" / "done.json").is_file()  # whoever wants may delete it


def test_a_data_set_that_version_0_1_prepared_is_used_as_it_is(old):
    path = old / "data" / "tiny" / "manifest.json"
    before = path.read_bytes()
    succeed("prepare-voc", "--check", "--preset", TINY, "--workdir", old)
    succeed("train", "strong", *FP32, "--workdir", old)
    assert path.read_bytes() == before
    inputs = json.loads((only(old, "runs/strong-s0-*") / "done.json").read_text())["inputs"]
    assert json.loads(before)["tree_root"] in inputs.values()


def test_a_work_directory_of_a_later_version_is_refused(prepared):
    (prepared / "swdb.json").write_text('{"version": 3}')
    with pytest.raises(BadInput) as caught:
        options.open_graph(prepared, TINY)
    assert caught.value.subject == prepared / "swdb.json" and "3" in caught.value.found and "2" in caught.value.expected


@pytest.mark.parametrize("preset", ["voc", "voc-animals"])
def test_real_images_are_missed_before_anything_is_written(tmp_path, preset):
    with pytest.raises(NotMade) as caught:
        options.open_graph(tmp_path / "work", preset, trains_on="cpu")
    assert caught.value.subject == tmp_path / "work" / "data" / preset
    assert not (tmp_path / "work").exists()


# ---------------------------------------------------------------- proposing and showing


def test_a_proposal_names_files_that_the_work_directory_does_not_keep(own, capsys):
    # this preset's cues come from a classifier: a file goes before it only where it is named
    cues = only(own, "cues/cues-*/cues.npz")
    graph = options.open_graph(own, TINY, "fp32", cues=cues)
    line = CommandLine(("make-proxy", "--preset", TINY, "--cues", str(cues)))
    options.propose(line, graph.study, "train", "dual")
    assert capsys.readouterr().err == f"next: swdb train dual --preset {TINY} --cues {cues}\n"


def test_a_proposal_leaves_out_files_that_the_work_directory_keeps(own, tmp_path, capsys):
    path = preset_file(tmp_path, ('cues = "classifier"', 'cues = "file"'))
    cues = only(own, "cues/cues-*/cues.npz")
    graph = options.open_graph(own, str(path), "fp32", cues=cues)
    line = CommandLine(("make-proxy", "--preset", str(path), "--cues", str(cues), "--workdir", str(own)))
    options.propose(line, graph.study, "train", "dual")
    assert capsys.readouterr().err == f"next: swdb train dual --preset {path} --workdir {own}\n"


def test_what_is_shown_is_lines_or_json(capsys):
    options.show(["one", "two"], {"ü": 1}, json=False)
    options.show(["one", "two"], {"ü": 1}, json=True)
    assert capsys.readouterr().out == 'one\ntwo\n{\n  "ü": 1\n}\n'


def test_a_runner_is_told_the_precision_and_who_asks(own):
    graph = options.open_graph(own, TINY, "fp32")
    line = CommandLine(("train", "dual", "--workdir", "x" * 500))
    with options.running(line, graph.study, Resources("cpu"), []) as runner:
        assert runner.compute.precision == "fp32"
        assert runner.doing.startswith("swdb train dual") and len(runner.doing) <= 200


def test_a_bar_counts_the_steps_that_are_left(own, monkeypatch):
    from swdb.cli import progress

    totals, bar = [], progress.bar
    monkeypatch.setattr(progress, "bar", lambda total=0: totals.append(total) or bar(total))
    graph = options.open_graph(own, TINY, "fp32")
    todo = graph.needed(graph.run(graph.runs["dual"], 0), graph.run(graph.runs["dual"], 1))
    with options.running(CommandLine(), graph.study, Resources("cpu", 1), todo):
        pass
    assert totals == [6]  # all is there but the run of seed 1


# ---------------------------------------------------------------- stdout is for results


def test_what_a_library_prints_while_work_goes_on_goes_to_stderr(tmp_path, capsys):
    with options.running(CommandLine(("train",)), study_of(tmp_path), Resources("cpu"), []):
        print('Downloading: "https://..."')
    print("the result")
    printed = capsys.readouterr()
    assert printed.out == "the result\n" and "Downloading" in printed.err


# ---------------------------------------------------------------- the preprocessing of weights


@pytest.mark.parametrize(
    "words", [("make-proxy",), ("train", "dual"), ("reproduce-table", "1"), ("eval", "dual"), ("make", "x")]
)
def test_a_preprocessing_is_read_before_anything_else_happens(words, tmp_path):
    options_of = ("--preset", TINY, "--workdir", tmp_path / "work", "--weights", tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes(b"x")
    result = call(*words, *options_of, "--preprocessing", "cafe")
    assert result.exit_code == 2 and "--preprocessing 'cafe'" in result.stderr and "'caffe'" in result.stderr
    assert not (tmp_path / "work").exists()
