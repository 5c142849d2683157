"""The training loop: steps by hand, and a run that is killed at any moment ends as if nothing had happened."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY
from torch import nn
from typer.testing import CliRunner

from swdb.cli.app import app
from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest
from swdb.nn import trainer
from swdb.nn.compute import machine
from swdb.nn.trainer import Schedule, load_finished, load_tensors, optimise, save_tensors
from swdb.study.runner import Pipeline
from swdb.study.workdir import open_work

STEPS = 30  # long enough to be killed in the middle; the tiny preset's 6 are over in no time


ON_CPU = ("--device", "cpu", "--precision", "fp32")


# ---------------------------------------------------------------- steps by hand


def test_a_drop_may_come_again_and_again():
    # DSRG's solver-s: gamma 0.33 after every 1000 of 8000 steps
    schedule = Schedule(8000, warmup=0, decay_at=0.125, decay_factor=0.33, repeated=True)
    assert [schedule.factor(step) for step in (0, 999, 1000, 1999, 2000, 7999)] == pytest.approx(
        [1, 1, 0.33, 0.33, 0.33**2, 0.33**7]
    )


def test_the_poly_schedule_falls_to_nothing():
    # solver-f: poly with power 0.9
    schedule = Schedule(20000, warmup=0, decay_at=1, decay_factor=1, power=0.9)
    assert [schedule.factor(step) for step in (0, 10000, 19999)] == pytest.approx([1, 0.5**0.9, (1 / 20000) ** 0.9])


def test_the_rate_rises_stays_and_drops():
    schedule = Schedule(steps=10, warmup=4, decay_at=0.6, decay_factor=0.1)
    expected = [0.25, 0.5, 0.75, 1, 1, 1, 0.1, 0.1, 0.1, 0.1]
    assert [schedule.factor(step) for step in range(10)] == pytest.approx(expected)


def test_the_paper_drops_its_rate_after_12_of_20_epochs():
    per_epoch = 10582 / 16
    schedule = Schedule(steps=13228, warmup=0, decay_at=0.6, decay_factor=0.1)
    assert schedule.factor(math.floor(12 * per_epoch)) == 1
    assert schedule.factor(math.ceil(12 * per_epoch) + 1) == pytest.approx(0.1)


class Points(nn.Module):
    """Two parameters that are pulled to places that change from step to step."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([0.5]))

    def losses_at(self, step):
        return {"a": ((self.a - step) ** 2).sum(), "b": 3 * ((self.b + step) ** 2).sum()}


@pytest.mark.parametrize("clip_norm", [0.0, 2.0])
def test_a_step_is_adam_with_l2_in_the_gradient_clipping_and_the_schedule(tmp_path, quiet, clip_norm):
    points = Points()
    rates = np.array([0.01, 0.01, 0.1])
    groups = [{"params": [points.a], "lr": 0.01}, {"params": [points.b], "lr": 0.1}]
    schedule = Schedule(9, warmup=3, decay_at=0.5, decay_factor=0.1, weight_decay=0.2, clip_norm=clip_norm)
    optimise(tmp_path, "points", points, groups, schedule, points.losses_at, 0, quiet)

    # Kingma and Ba's algorithm 1 in float64, as it is printed.
    x, m, v = np.array([1.0, -2.0, 0.5]), np.zeros(3), np.zeros(3)
    for step in range(9):
        gradient = np.array([2 * (x[0] - step), 2 * (x[1] - step), 6 * (x[2] + step)])
        norm = np.sqrt((gradient**2).sum())
        if clip_norm and norm > clip_norm:
            gradient = gradient * clip_norm / norm
        gradient = gradient + 0.2 * x
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        rate = rates * min(1, (step + 1) / 3) * (0.1 if step >= 4.5 else 1)
        x = x - rate * (m / (1 - 0.9 ** (step + 1))) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
    assert [*points.a.tolist(), *points.b.tolist()] == pytest.approx(x.tolist(), abs=1e-4)


# ---------------------------------------------------------------- a small training, in this process


def fit(folder, progress=lambda *_: None, steps=9, at_step=lambda step: None, identity="small"):
    """Train a small network with dropout; its losses hang on everything that a resumed run must find again."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))

    def losses_at(step):
        at_step(step)
        inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
        one, two = network(inputs).pow(2).mean(0)
        return {"one": one, "two": two}

    groups = [{"params": list(network.parameters()), "lr": 0.02}]
    schedule = Schedule(steps, warmup=2, decay_at=0.6, decay_factor=0.1, weight_decay=1e-4, clip_norm=1.0)
    record = optimise(folder, identity, network, groups, schedule, losses_at, 3, progress)
    return network, record


def lines_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def every_step(monkeypatch):
    """Write a checkpoint after every step."""
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)


def test_every_step_has_a_line_with_its_loss_and_terms(tmp_path):
    fit(tmp_path, steps=45)  # more than two blocks of lines
    lines = lines_of(tmp_path)
    assert [line["step"] for line in lines] == list(range(45))
    assert all(list(line) == ["step", "loss", "one", "two"] for line in lines)
    assert all(line["loss"] == pytest.approx(line["one"] + line["two"], abs=2e-6) for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_a_finished_training_leaves_weights_and_their_digest_and_no_checkpoint(tmp_path, every_step):
    network, record = fit(tmp_path)
    assert record["steps"] == 9
    assert record["weights_sha256"] == file_digest(tmp_path / "weights.pt")
    assert json.loads((tmp_path / "training.json").read_text()) == record
    stored = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert all(torch.equal(value, stored[name]) for name, value in network.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "training.json", "weights.pt"]


def test_a_finished_training_is_not_done_again(tmp_path):
    first, _ = fit(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    steps, seen = [], []
    again, _ = fit(tmp_path, progress=lambda done, of: seen.append((done, of)), at_step=steps.append)
    assert steps == []
    assert seen == [(9, 9)]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("moment", ["in a step", "between log and checkpoint"])
@pytest.mark.parametrize("at", range(9))
def test_a_training_that_was_cut_off_at_any_step_ends_with_the_same_bytes(tmp_path, every_step, at, moment):
    def cut(step, _=None):
        if step == at + (moment != "in a step"):
            raise RuntimeError("power cut")

    fit(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        fit(tmp_path / "cut", **({"at_step": cut} if moment == "in a step" else {"progress": cut}))
    done_again = []
    fit(tmp_path / "cut", at_step=done_again.append)
    assert done_again == list(range(at, 9))  # what a checkpoint holds is not computed twice
    for name in ("weights.pt", "log.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_half_a_log_line_is_cut_off(tmp_path, every_step):
    fit(tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "cut", at_step=lambda step: 1 // (5 - step))
    with (tmp_path / "cut" / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "lo')
    fit(tmp_path / "cut")
    assert (tmp_path / "cut" / "log.jsonl").read_text() == (tmp_path / "whole" / "log.jsonl").read_text()


def test_what_a_killed_writer_left_half_done_is_cleared_away(tmp_path):
    left = tmp_path / ".checkpoint.pt.ab12cd34.tmp"  # as large as a checkpoint, one more for every kill
    left.write_bytes(b"half a checkpoint")
    fit(tmp_path)
    assert not left.exists()


def test_ctrl_c_lets_the_step_end_keeps_the_work_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 1e9)
    before = signal.getsignal(signal.SIGINT)
    fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", at_step=lambda step: signal.raise_signal(signal.SIGINT) if step == 4 else None)
    assert signal.getsignal(signal.SIGINT) is before
    assert load_tensors(tmp_path / "cut" / "checkpoint.pt")["step"] == 5
    done_again = []
    fit(tmp_path / "cut", at_step=done_again.append)
    assert done_again == [5, 6, 7, 8]
    assert (tmp_path / "cut" / "weights.pt").read_bytes() == (tmp_path / "whole" / "weights.pt").read_bytes()


def test_a_second_ctrl_c_does_not_wait_for_the_step(tmp_path):
    reached = []

    def twice(step):
        if step == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            reached.append(step)

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, at_step=twice)
    assert reached == []


def test_training_works_outside_the_main_thread(tmp_path):
    fit(tmp_path / "main")
    thread = threading.Thread(target=fit, args=(tmp_path / "other",))
    thread.start()
    thread.join()
    assert (tmp_path / "other" / "weights.pt").read_bytes() == (tmp_path / "main" / "weights.pt").read_bytes()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_run_and_step_and_ends_nothing(tmp_path, every_step, quiet, value):
    points = Points()

    def losses_at(step):
        terms = points.losses_at(step)
        return {**terms, "b": terms["b"] * value} if step == 7 else terms

    with pytest.raises(BadInput, match=r"points-s0.* at step 7;.*lr") as refused:
        schedule = Schedule(30, warmup=0, decay_at=1, decay_factor=1)
        optimise(tmp_path, "points-s0", points, [{"params": [points.a], "lr": 0.1}], schedule, losses_at, 0, quiet)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "weights.pt").exists()
    assert not (tmp_path / "training.json").exists()
    assert load_tensors(tmp_path / "checkpoint.pt")["step"] == 7  # of the last good step
    assert [line["step"] for line in lines_of(tmp_path)] == list(range(7))


@pytest.mark.parametrize("damage", ["truncated", "empty", "noise"])
def test_a_damaged_checkpoint_is_refused_and_left_there(tmp_path, every_step, damage):
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, at_step=lambda step: 1 // (3 - step))
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    damaged = {"truncated": whole[: len(whole) // 2], "empty": b"", "noise": bytes(range(256))}[damage]
    path.write_bytes(damaged)
    with pytest.raises(MissingArtefact, match=r"checkpoint\.pt is damaged"):
        fit(tmp_path)
    assert path.read_bytes() == damaged


def test_a_checkpoint_of_another_run_is_refused(tmp_path, every_step):
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, at_step=lambda step: 1 // (3 - step), identity="other-s0")
    with pytest.raises(MissingArtefact, match="a checkpoint of 'other-s0', expected 'small'"):
        fit(tmp_path)


@pytest.mark.parametrize("damage", ["flipped", "deleted"])
def test_last_weights_that_are_not_those_that_were_written_are_refused(tmp_path, damage):
    network, _ = fit(tmp_path)
    content = bytearray((tmp_path / "weights.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "weights.pt").unlink()
    if damage == "flipped":
        (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(MissingArtefact, match=r"weights\.pt is missing or damaged"):
        load_finished(tmp_path, network)


def test_a_training_that_is_not_finished_has_no_last_weights(tmp_path, every_step):
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, at_step=lambda step: 1 // (3 - step))
    with pytest.raises(MissingArtefact, match=r"training\.json is missing; run: the same command again"):
        load_finished(tmp_path, nn.Linear(1, 1))


def test_tensors_come_back_as_they_were_saved(tmp_path):
    state = {"weight": torch.randn(3, 4).to(torch.bfloat16), "step": 7, "name": "run"}
    save_tensors(tmp_path / "t.pt", state)
    again = load_tensors(tmp_path / "t.pt")
    assert torch.equal(again["weight"], state["weight"])
    assert (again["step"], again["name"]) == (7, "run")


def test_an_object_in_a_file_of_tensors_is_refused(tmp_path):
    torch.save({"weight": Path("anything")}, tmp_path / "t.pt")
    with pytest.raises(MissingArtefact, match=r"t\.pt is damaged or holds more than plain tensors"):
        load_tensors(tmp_path / "t.pt")


def test_a_missing_file_of_tensors_is_named(tmp_path):
    with pytest.raises(MissingArtefact, match=r"t\.pt is missing"):
        load_tensors(tmp_path / "t.pt")


# ---------------------------------------------------------------- real processes, really killed


def preset(folder, **values):
    """The tiny preset with other values; returns the file's path."""
    text = Path(TINY).read_text()
    for key, value in values.items():
        assert f"\n{key} = " in text
        head, tail = text.split(f"\n{key} = ", 1)
        text = f"{head}\n{key} = {value}\n{tail.split(chr(10), 1)[1]}"
    path = folder / "killed.toml"
    path.write_text(text)
    return str(path)


def inputs(finished, folder):
    """A copy of everything that a run needs."""
    return shutil.copytree(finished, folder / "work", ignore=shutil.ignore_patterns("runs", "reports"))


def pipeline(work):
    return Pipeline(
        work, machine("cpu", "fp32"), SimpleNamespace(stage=lambda *_, **__: lambda done, of: None, tell=str)
    )


@pytest.fixture(scope="module")
def undisturbed(finished, tmp_path_factory):
    """The folder of run dual, trained in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    work = open_work(inputs(finished, folder), preset(folder, steps=STEPS), "fp32")
    run = work.run(work.recipe("dual"), 0)
    with one_thread():
        pipeline(work).make([run])
    return run.folder


@contextmanager
def one_thread():
    """Compute like the processes that `start` starts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def start(work, *arguments) -> subprocess.Popen:
    """Start the real command, with a checkpoint after every step; what it says goes to a file beside the work.

    One thread, as in `undisturbed`: how many there are decides in which order sums are taken.
    """
    command = [sys.executable, "-m", "swdb", *map(str, arguments), "--workdir", str(work), *ON_CPU]
    with (work.parent / "stderr.txt").open("w") as said:
        environment = {**os.environ, "SWDB_CHECKPOINT_SECONDS": "0", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)


def send_when(process: subprocess.Popen, number: int, seen: Callable[[], bool]) -> None:
    """Send a signal while `seen` is true: the process is stopped, looked at, and hit only if it is still so."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if seen():
            os.kill(process.pid, signal.SIGSTOP)
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), "the command ended before the moment came"
            still = seen()
            if still:
                os.kill(process.pid, number)
            os.kill(process.pid, signal.SIGCONT)
            if still:
                return
        assert process.poll() is None, "the command ended before the moment came"
        time.sleep(0.0003)
    process.kill()
    raise AssertionError("the moment did not come")


def logged(folder: Path, count: int) -> Callable[[], bool]:
    log = folder / "log.jsonl"
    return lambda: log.is_file() and len(log.read_bytes().splitlines()) >= count


def is_writing_a_checkpoint(folder: Path) -> Callable[[], bool]:
    # Only once there is a whole checkpoint that the half one could harm.
    return lambda: (folder / "checkpoint.pt").is_file() and any(folder.glob(".checkpoint.pt.*.tmp"))


def assert_ended_like(folder: Path, undisturbed: Path) -> None:
    assert (folder / "weights.pt").read_bytes() == (undisturbed / "weights.pt").read_bytes()
    assert [line["step"] for line in lines_of(folder)] == list(range(STEPS))
    assert (folder / "log.jsonl").read_text() == (undisturbed / "log.jsonl").read_text()


def test_a_run_that_is_killed_while_it_steps_ends_with_the_same_weights(finished, undisturbed, tmp_path):
    work = inputs(finished, tmp_path)
    train = ["train", "dual", "--preset", preset(tmp_path, steps=STEPS)]
    folder = work / "runs" / undisturbed.name
    for count in (1, 12):
        process = start(work, *train)
        send_when(process, signal.SIGKILL, logged(folder, count))
        assert process.wait() == -signal.SIGKILL
        assert not (folder / "done.json").exists()
    assert start(work, *train).wait() == 0, (tmp_path / "stderr.txt").read_text()
    assert_ended_like(folder, undisturbed)


def test_a_run_that_is_killed_while_it_writes_a_checkpoint_ends_with_the_same_weights(finished, undisturbed, tmp_path):
    work = inputs(finished, tmp_path)
    train = ["train", "dual", "--preset", preset(tmp_path, steps=STEPS)]
    folder = work / "runs" / undisturbed.name
    process = start(work, *train)
    send_when(process, signal.SIGKILL, is_writing_a_checkpoint(folder))
    assert process.wait() == -signal.SIGKILL
    assert any(folder.glob(".checkpoint.pt.*.tmp"))  # it was killed in the middle of writing
    assert 0 < load_tensors(folder / "checkpoint.pt")["step"] < STEPS  # and the one before is whole
    assert start(work, *train).wait() == 0, (tmp_path / "stderr.txt").read_text()
    assert_ended_like(folder, undisturbed)


def test_ctrl_c_exits_with_130_says_that_work_is_kept_and_the_same_command_goes_on(finished, undisturbed, tmp_path):
    work = inputs(finished, tmp_path)
    train = ["train", "dual", "--preset", preset(tmp_path, steps=STEPS)]
    folder = work / "runs" / undisturbed.name
    process = start(work, *train)
    send_when(process, signal.SIGINT, logged(folder, 10))
    assert process.wait() == 130
    said = (tmp_path / "stderr.txt").read_text()
    assert said.splitlines()[-1] == "swdb: interrupted; what was done is kept: the same command continues"
    assert "Traceback" not in said
    assert load_tensors(folder / "checkpoint.pt")["step"] >= 10
    assert start(work, *train).wait() == 0, (tmp_path / "stderr.txt").read_text()
    assert_ended_like(folder, undisturbed)


def test_a_scoring_that_is_killed_goes_on_and_ends_with_the_same_result(tmp_path):
    file = preset(tmp_path, num_val=160)
    (tmp_path / "work").mkdir()
    work = open_work(tmp_path / "work", file, "fp32")
    run, scoring = work.run(work.recipe("strong"), 0), work.scoring("strong")
    pipeline(work).make(work.needed(run))
    folder = scoring.folder(run)
    with one_thread():
        pipeline(work).score(run, scoring)
    expected = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(expected) == 160 + 2  # predictions, counts, result
    shutil.rmtree(folder)

    process = start(work.folder, "eval", "strong", "--preset", file)
    send_when(process, signal.SIGKILL, lambda: len(list(folder.glob("predictions/*.png"))) >= 20)
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("predictions/*.png")}
    assert 20 <= len(before) < 160
    assert start(work.folder, "eval", "strong", "--preset", file).wait() == 0, (tmp_path / "stderr.txt").read_text()
    for path, content in expected.items():
        if path.suffix != ".npz":  # a zip holds the time of day
            assert (folder / path).read_bytes() == content, path
    with np.load(folder / "confusion.npz") as counts:
        assert counts["counts"].shape == (160, 6, 6)
    assert all(path.stat().st_mtime_ns == time_before for path, time_before in before.items())


# ---------------------------------------------------------------- what the commands refuse


def checkpoint_of(name, work, preset_file, monkeypatch):
    """Cut a run off after its first checkpoint, in this process; returns its run folder."""
    opened = open_work(work, preset_file, "fp32")
    run = opened.run(opened.recipe(name), 0)

    def power_cut(done, of):
        if done == 2:
            raise RuntimeError("power cut")

    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    stages = SimpleNamespace(
        stage=lambda stage, *_, **__: power_cut if stage == run.name else lambda done, of: None, tell=str
    )
    with pytest.raises(RuntimeError, match="power cut"):
        Pipeline(opened, machine("cpu", "fp32"), stages).make([run])
    assert (run.folder / "checkpoint.pt").is_file()
    return run.folder


def refused(*arguments):
    """Run a command in this process: it ends before anything is computed."""
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="swdb")


def assert_refused(result, *words):
    """Exit code 3 and one line from swdb that says all the words."""
    assert result.exit_code == 3, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("swdb: ")]
    for word in words:
        assert word in line


@pytest.mark.parametrize("damage", ["of another run", "truncated"])
def test_train_refuses_a_checkpoint_that_is_not_its_own_or_not_whole(finished, tmp_path, monkeypatch, damage):
    work = inputs(finished, tmp_path)
    folder = checkpoint_of("dual", work, TINY, monkeypatch)
    path = folder / "checkpoint.pt"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
        words = [str(path), "damaged", "run the same command again"]
    else:
        other = checkpoint_of("strong", work, TINY, monkeypatch)
        shutil.copyfile(other / "checkpoint.pt", path)
        words = [str(path), other.name, folder.name, f"delete the folder {folder}"]
    content = path.read_bytes()
    assert_refused(refused("train", "dual", "--preset", TINY, "--workdir", work, *ON_CPU), *words)
    assert path.read_bytes() == content


def test_eval_refuses_weights_with_a_flipped_byte(finished, tmp_path):
    work = shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns("evals", "reports"))
    (folder,) = (work / "runs").glob("dual-s0-*")
    content = bytearray((folder / "weights.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "weights.pt").write_bytes(content)
    result = refused("eval", "dual", "--preset", TINY, "--workdir", work, *ON_CPU)
    assert_refused(result, str(folder / "weights.pt"), "damaged", f"delete the folder {folder}")
    assert not (folder / "evals").exists()


def test_a_training_that_diverges_names_its_step_and_run(finished, tmp_path):
    work = open_work(inputs(finished, tmp_path), preset(tmp_path, lr_new="1e30"), "fp32")
    run = work.run(work.recipe("dual"), 0)
    with pytest.raises(BadInput, match=rf"{run.id}: the loss is \[.*(nan|inf).*\] at step [1-5]; .*lower lr_new"):
        pipeline(work).make([run])
    assert not run.done
