"""Several jobs at once, typed as a user types them: the same bytes as one after the other, whatever happens to a worker."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import FP32, call, copied, preset_file, succeed, the_error, the_hint
from conftest import TINY, swdb

from swdb.core.lease import parent_of


def results(work: Path) -> dict[str, bytes]:
    """Return the bytes that must be equal: masks, weights, predictions, counts, tables."""
    kinds = ("*.png", "weights.pt", "cues.npz", "confusion.npz", "table*.md", "table*.json", "log.jsonl")
    return {
        path.relative_to(work).as_posix(): path.read_bytes()
        for kind in kinds
        for path in sorted(work.rglob(kind))
        if ".leases" not in path.parts
    }


TABLE = ("reproduce-table", "4", *FP32, "--seeds", "1")


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """A work directory that one process made."""
    work = tmp_path_factory.mktemp("alone") / "work"
    succeed(*TABLE, "--workdir", work, "--jobs", "1")
    return work


def test_several_jobs_make_the_same_bytes_as_one(alone, tmp_path):
    result = swdb(*TABLE, "--workdir", tmp_path / "work", "--jobs", "3")
    assert result.returncode == 0, result.stderr
    assert results(tmp_path / "work") == results(alone)
    assert not [*(tmp_path / "work" / "logs").glob("worker-*")]


def workers_of(command: subprocess.Popen) -> list[int]:
    """Return the processes that a command started."""
    numbers = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [number for number in numbers if parent_of(number) == command.pid]


def begun(tmp_path: Path, *more: str, steps: int = 400) -> tuple[subprocess.Popen, Path, str]:
    """Begin a study with two jobs and wait until a training of a run is under way."""
    preset = preset_file(tmp_path, ("[training]\nsteps = 6", f"[training]\nsteps = {steps}"))
    work = tmp_path / "work"
    words = ("reproduce-table", "1", "--rows", "strong", "--seeds", "2", "--preset", preset)
    command = [*words, "--workdir", work, "--jobs", "2", "--device", "cpu", "--precision", "fp32", *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "swdb", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "SWDB_CHECKPOINT_SECONDS": "0"},
    )  # fmt: skip
    until = time.monotonic() + 120
    while process.poll() is None and not [*work.glob("runs/*/checkpoint.pt")] and time.monotonic() < until:
        time.sleep(0.02)
    return process, work, str(preset)


def ended(process: subprocess.Popen) -> str:
    _, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stderr
    return stderr


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(tmp_path):
    process, work, _ = begun(tmp_path)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    stderr = ended(process)
    assert process.returncode == 0, stderr
    assert "was killed by signal 9" in stderr
    assert len([*work.glob("runs/*/done.json")]) == 2 and not [*work.glob("runs/*/checkpoint.pt")]


def test_an_interrupt_keeps_the_work_of_all_and_says_how_to_go_on(tmp_path):
    process, work, _ = begun(tmp_path, steps=5000)
    process.send_signal(signal.SIGINT)
    stderr = ended(process)
    assert process.returncode == 130 and "interrupted; what was done is kept" in stderr
    assert [*work.glob("runs/*/checkpoint.pt")]
    assert not any(path.is_file() for path in work.glob("runs/*/done.json"))


def test_workers_of_a_killed_command_stop_and_the_next_command_goes_on(tmp_path):
    process, work, preset = begun(tmp_path)
    children = workers_of(process)
    process.kill()
    process.communicate()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() and parent_of(child) for child in children) and time.monotonic() < until:
        time.sleep(0.05)
    again = swdb("reproduce-table", "1", "--rows", "strong", "--seeds", "2", "--preset", preset, "--workdir", work,
                 "--device", "cpu", "--precision", "fp32", "--jobs", "2")  # fmt: skip
    assert again.returncode == 0, again.stderr


def test_a_run_that_cannot_be_trained_is_left_out_and_the_table_is_shown_without_it(finished, tmp_path):
    work = copied(finished, tmp_path, "averages")
    (run,), (mixed,) = (work.glob(f"runs/{name}-s0-*") for name in ("strong", "mixed"))
    for folder in (run, mixed):
        (folder / "done.json").unlink(), (folder / "training.json").unlink()
        shutil.rmtree(folder / "evals")
    (run / "checkpoint.pt").write_bytes(b"garbage")
    result = call("reproduce-table", "1", *FP32, "--seeds", "1", "--workdir", work)
    assert result.exit_code == 3
    assert (mixed / "done.json").is_file() and "NOT RUN" in result.stdout
    assert f"{run}/checkpoint.pt: damaged" in the_error(result)
    assert f"failed: {run.name}: " in result.stderr and "everything else goes on" in result.stderr


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--jobs", "0"), "--jobs 0: not a number of jobs; expected auto, or a whole number from 1"),
        (("--jobs", "many"), "--jobs many: not a number of jobs; expected auto, or a whole number from 1"),
        (("--jobs", "9999"), "--jobs 9999: too many; expected at most 512"),
        (("--devices", "a"), "--devices a: not numbers of GPUs; expected numbers, as in 0,1,2"),
        (("--devices", "0,0"), "--devices 0,0: a GPU is named twice; expected each once; --per-device K lets K workers share one"),
        (("--threads", "999"), None),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, options, error):
    result = call("train", "strong", "--preset", TINY, "--workdir", tmp_path / "work", *options)
    assert result.exit_code == 2
    found = the_error(result)
    assert found == error or (
        error is None and found.startswith("--threads 999: more than there are cores; expected at most ")
    )
    assert the_hint(result) == "swdb train --help"
