"""`swdb bench`: what it prints and keeps, and that a plan says the time from it."""

import json

import pytest
from commands import call, preset_file, succeed, the_error, the_hint
from conftest import TINY, swdb

from swdb.cli import console
from swdb.timing import benchmark

OPTIONS = ("--preset", TINY, "--device", "cpu")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A work directory in which the tiny preset was measured, and nothing made."""
    work = tmp_path_factory.mktemp("bench") / "work"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "usable_cores", lambda: 1)
        return work, succeed("bench", *OPTIONS, "--precision", "fp32", "--steps", "1", "--workdir", work)


def test_it_prints_a_table_and_says_where_it_is_kept(measured):
    work, result = measured
    path = work / "bench" / "tiny.json"
    assert result.stderr.splitlines()[-1] == f"written: {path}"
    assert [kind for kind in console.STEPS_IN_WORDS.values() if f" {kind} " not in result.stdout] == []
    found = json.loads(path.read_text())
    assert (found["preset"], found["precision"], found["machine"]["threads"]) == ("tiny", "fp32", 1)
    assert [one for one in work.rglob("*") if one.is_file()] == [path]


def test_progress_goes_to_stderr(measured):
    assert "measure tiny: " in measured[1].stderr and "measure tiny: " not in measured[1].stdout


def test_a_plan_takes_its_time_from_it(measured):
    work, _ = measured
    plan = ("reproduce-table", "4", "--dry-run", *OPTIONS, "--seeds", "1", "--workdir", work)
    text = succeed(*plan, "--precision", "fp32").stdout
    assert "at the rate of the benchmark" in text and "memory: up to " in text and "disk: about " in text
    assert "swdb bench" not in text


def test_where_nothing_was_measured_a_plan_names_the_command_that_does(tmp_path):
    result = swdb("reproduce-table", "4", "--dry-run", *OPTIONS, "--workdir", tmp_path / "work")
    (line,) = [line for line in result.stdout.splitlines() if "not known here yet" in line]
    assert line.endswith(f"swdb bench --preset {TINY} --workdir {tmp_path / 'work'} measures it")
    assert list(tmp_path.iterdir()) == []


def test_json_is_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "usable_cores", lambda: 1)
    monkeypatch.setattr(
        benchmark,
        "work_of",
        lambda bench: [lambda: bench.training("dual", bench.graph.run(bench.graph.run_spec("strong"), 0))],
    )
    result = succeed("bench", *OPTIONS, "--json", "--steps", "1", "--workdir", tmp_path)
    assert json.loads(result.stdout) == json.loads((tmp_path / "bench" / "tiny.json").read_text())


@pytest.mark.parametrize(
    ("words", "subject"),
    [
        (["--preset", "synthetix"], "preset 'synthetix'"),
        (["--device", "cuda:99"], "--device cuda:99"),
        (["--precision", "fp8"], "--precision"),
        (["--steps", "0"], "swdb bench"),
        (["--threads", "0"], "swdb bench"),
    ],
)
def test_what_is_mistyped_is_one_line(tmp_path, words, subject):
    result = call("bench", *words, "--workdir", tmp_path / "work")
    assert result.exit_code == 2 and the_error(result).startswith(subject) and the_hint(result)
    assert list(tmp_path.iterdir()) == []


def test_a_preset_of_the_user_s_is_measured_under_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "work_of", lambda bench: [lambda: bench.note("dual", "step", None)])
    path = preset_file(tmp_path, ('name = "tiny"\ntitle', 'name = "mine"\ntitle'))
    succeed("bench", "--preset", path, "--device", "cpu", "--workdir", tmp_path / "work")
    assert (tmp_path / "work" / "bench" / "mine.json").is_file()
