"""The training loop: steps by hand, and a run that is killed at any moment ends as if nothing had happened."""

import errno
import json
import math
import re
import shutil
import signal
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import call, hinted_command, the_error
from conftest import TINY
from stopping import stopped
from studies import CPU, changed, graph_of, runner
from torch import nn

from swdb.core.errors import BadInput, DiskRefused, LeaseLost, MissingArtefact
from swdb.core.files import file_digest
from swdb.core.lease import leased
from swdb.core.progress import silent
from swdb.nn import checkpoints, trainer
from swdb.nn.checkpoints import load_tensors, load_weights, save_tensors
from swdb.nn.compute import StepSettings
from swdb.nn.networks import valueless
from swdb.nn.step import Objective
from swdb.nn.trainer import AS_THE_DEVICE_LIKES, Job, Schedule, Stops, optimise, seed_initial
from swdb.specs.presets import Preset, load_preset, write_preset
from swdb.specs.tables import CellSource
from swdb.study.runner import Runner

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


def objective(losses_at) -> Objective:
    """What is minimised, where a step is all that losses hang on."""
    return Objective(lambda step: {"step": torch.tensor(step)}, lambda drawn: losses_at(int(drawn["step"])))


class Points(nn.Module):
    """Two parameters that are pulled to places that change from step to step."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([0.5]))

    def losses_at(self, step):
        return {"a": ((self.a - step) ** 2).sum(), "b": 3 * ((self.b + step) ** 2).sum()}


@pytest.mark.parametrize("clip_norm", [0.0, 2.0])
def test_a_step_is_adam_with_l2_in_the_gradient_clipping_and_the_schedule(tmp_path, clip_norm):
    points = Points()
    rates = np.array([0.01, 0.01, 0.1])
    groups = [{"params": [points.a], "lr": 0.01}, {"params": [points.b], "lr": 0.1}]
    schedule = Schedule(9, warmup=3, decay_at=0.5, decay_factor=0.1, weight_decay=0.2, clip_norm=clip_norm)
    optimise(Job(tmp_path, "points"), points, groups, schedule, objective(points.losses_at))

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


def test_sgd_has_momentum_and_l2_in_the_gradient(tmp_path):
    points = Points()
    schedule = Schedule(7, warmup=0, decay_at=1, decay_factor=1, weight_decay=0.2, power=0.9, optimizer="sgd")
    groups = [{"params": [points.a], "lr": 0.01}, {"params": [points.b], "lr": 0.02, "weight_decay": 0.0}]
    optimise(Job(tmp_path, "points"), points, groups, schedule, objective(points.losses_at))

    x, velocity = np.array([1.0, -2.0, 0.5]), np.zeros(3)
    for step in range(7):
        gradient = np.array([2 * (x[0] - step), 2 * (x[1] - step), 6 * (x[2] + step)])
        velocity = 0.9 * velocity + gradient + np.array([0.2, 0.2, 0.0]) * x  # a group may have a decay of its own
        x = x - np.array([0.01, 0.01, 0.02]) * (1 - step / 7) ** 0.9 * velocity
    assert [*points.a.tolist(), *points.b.tolist()] == pytest.approx(x.tolist(), abs=1e-4)


def test_first_values_hang_on_the_seed_and_the_branch_alone():
    drawn = []
    for seed, branch in ((0, 0), (0, 1), (1, 0), (0, 0)):
        seed_initial(seed, branch)
        drawn.append(tuple(torch.randn(3).tolist()))
    assert drawn[0] == drawn[3]
    assert len(set(drawn)) == 3


# ---------------------------------------------------------------- a small training, in this process


def fit(
    folder,
    advance=lambda done, of: None,
    steps=9,
    at_step=lambda step: None,
    name="small",
    settings=AS_THE_DEVICE_LIKES,
):
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
    record = optimise(Job(folder, name, 3, advance), network, groups, schedule, objective(losses_at), settings)
    return network, record


def cut_off(folder, at, **options):
    """Train until the beginning of a step, and no further."""
    with pytest.raises(ZeroDivisionError):
        fit(folder, at_step=lambda step: 1 // (at - step), **options)


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
    again, _ = fit(tmp_path, lambda done, of: seen.append((done, of)), at_step=steps.append)
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
        fit(tmp_path / "cut", **({"at_step": cut} if moment == "in a step" else {"advance": cut}))
    done_again = []
    fit(tmp_path / "cut", at_step=done_again.append)
    assert done_again == list(range(at, 9))  # what a checkpoint holds is not computed twice
    for name in ("weights.pt", "log.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_half_a_log_line_is_cut_off(tmp_path, every_step):
    fit(tmp_path / "whole")
    cut_off(tmp_path / "cut", 5)
    with (tmp_path / "cut" / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "lo')
    fit(tmp_path / "cut")
    assert (tmp_path / "cut" / "log.jsonl").read_text() == (tmp_path / "whole" / "log.jsonl").read_text()


def test_lines_are_known_by_their_steps_where_a_loss_of_power_took_some(tmp_path, every_step):
    fit(tmp_path / "whole")
    cut_off(tmp_path / "cut", 5)
    log = tmp_path / "cut" / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines[:3], *lines[4:], '{"step": 5}\n']))
    fit(tmp_path / "cut")
    assert [line["step"] for line in lines_of(tmp_path / "cut")] == [0, 1, 2, 4, 5, 6, 7, 8]


def test_a_checkpoint_that_a_kill_left_beside_last_weights_goes(tmp_path):
    fit(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"as large as three networks")
    fit(tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_weights_that_the_last_step_spoils_are_no_result(tmp_path):
    points = Points()
    schedule, groups = Schedule(1, 0, 1, 1), [{"params": [points.a], "lr": math.inf}]
    with pytest.raises(BadInput) as caught:
        optimise(Job(tmp_path, "points-s0"), points, groups, schedule, objective(points.losses_at))
    assert caught.value.subject == "points-s0" and "a is not finite after the last step" in caught.value.found
    assert not (tmp_path / "weights.pt").exists() and not (tmp_path / "training.json").exists()


def test_what_a_killed_writer_left_half_done_is_cleared_away(tmp_path):
    left = tmp_path / ".checkpoint.pt.ab12cd34ef56.tmp"  # as large as a checkpoint, one more for every kill
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


def test_a_full_disk_is_said_of_the_file_that_did_not_fit(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer, "check_lease", full)  # before the log is written
    with pytest.raises(DiskRefused) as caught:
        fit(tmp_path)
    assert caught.value.subject == tmp_path / "log.jsonl"


def test_a_training_whose_lease_was_taken_over_writes_no_more(tmp_path, monkeypatch, every_step):
    with leased(tmp_path / "run") as lease:

        def lose(step):
            if step == 4:
                (lease.folder / f"{lease.epoch + 1}.epoch").touch()  # as whoever takes it over does

        with pytest.raises(LeaseLost):
            fit(tmp_path / "run", at_step=lose)
    assert [line["step"] for line in lines_of(tmp_path / "run")] == [0, 1, 2, 3]
    assert load_tensors(tmp_path / "run" / "checkpoint.pt")["step"] == 4


THREADED = StepSettings(threaded=True)


@pytest.mark.parametrize("at", [1, 4, 8])
def test_a_training_whose_checkpoints_a_thread_writes_goes_on_from_the_last_one(tmp_path, every_step, at):
    fit(tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "cut", at_step=lambda step: 1 // (at - step), settings=THREADED)
    assert load_tensors(tmp_path / "cut" / "checkpoint.pt")["step"] == at  # whole before the error was raised
    fit(tmp_path / "cut", settings=THREADED)
    for name in ("weights.pt", "log.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_waits_for_the_thread_that_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 1e9)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, at_step=lambda step: signal.raise_signal(signal.SIGINT) if step == 4 else None, settings=THREADED)
    assert load_tensors(tmp_path / "checkpoint.pt")["step"] == 5
    assert not list(tmp_path.glob(".checkpoint*"))


def test_a_thread_that_lost_the_lease_ends_the_training(tmp_path, every_step):
    with leased(tmp_path / "run") as lease:

        def lose(step):
            if step == 4:
                (lease.folder / f"{lease.epoch + 1}.epoch").touch()

        with pytest.raises(LeaseLost):
            fit(tmp_path / "run", at_step=lose, settings=THREADED)
    assert load_tensors(tmp_path / "run" / "checkpoint.pt")["step"] in (3, 4)  # none of after


@pytest.mark.parametrize("ending", ["the last step", "Ctrl-C"])
def test_a_disk_that_is_full_for_a_thread_is_heard_before_the_training_ends(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0 if ending == "the last step" else 1e9)

    def full(path, write):
        raise DiskRefused(path, "the disk is full")

    monkeypatch.setattr(checkpoints, "write_atomic", full)
    stop = lambda step: signal.raise_signal(signal.SIGINT) if ending == "Ctrl-C" else None  # noqa: E731
    with pytest.raises(DiskRefused) as caught:
        fit(tmp_path, at_step=stop, steps=1, settings=THREADED)
    assert caught.value.subject == tmp_path / "checkpoint.pt"
    assert not (tmp_path / "training.json").exists()


@pytest.mark.parametrize("ids", [None, ["a", "b"]])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_run_and_step_and_ends_nothing(tmp_path, every_step, value, ids):
    points = Points()

    def losses_at(step):
        terms = points.losses_at(step)
        return {**terms, "b": terms["b"] * value} if step == 7 else terms

    schedule = Schedule(30, warmup=0, decay_at=1, decay_factor=1)
    job = Job(tmp_path, "points-s0", ids_at=None if ids is None else lambda step: [f"{name}{step}" for name in ids])
    with pytest.raises(BadInput) as caught:
        optimise(job, points, [{"params": [points.a], "lr": 0.1}], schedule, objective(losses_at))
    assert caught.value.subject == "points-s0"
    assert str(value) in caught.value.found
    assert "at step 7" in caught.value.found
    assert ("images a7, b7" in caught.value.found) is (ids is not None)
    assert "learning rates" in caught.value.expected
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "weights.pt").exists()
    assert not (tmp_path / "training.json").exists()
    assert load_tensors(tmp_path / "checkpoint.pt")["step"] == 7  # of the last good step
    assert [line["step"] for line in lines_of(tmp_path)] == list(range(7))


@pytest.mark.parametrize("damage", ["truncated", "empty", "noise"])
def test_a_damaged_checkpoint_is_refused_and_left_there(tmp_path, every_step, damage):
    cut_off(tmp_path, 3)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    damaged = {"truncated": whole[: len(whole) // 2], "empty": b"", "noise": bytes(range(256))}[damage]
    path.write_bytes(damaged)
    with pytest.raises(MissingArtefact) as caught:
        fit(tmp_path)
    assert caught.value.subject == path
    assert "damaged" in caught.value.found
    assert path.read_bytes() == damaged


def test_a_checkpoint_of_another_run_is_refused(tmp_path, every_step):
    cut_off(tmp_path, 3, name="other-s0")
    with pytest.raises(MissingArtefact) as caught:
        fit(tmp_path)
    assert caught.value.subject == tmp_path / "checkpoint.pt"
    assert "'other-s0'" in caught.value.found
    assert "'small'" in caught.value.expected


@pytest.mark.parametrize("damage", ["flipped", "deleted"])
def test_last_weights_that_are_not_those_that_were_written_are_refused(tmp_path, damage):
    network, record = fit(tmp_path)
    path = tmp_path / "weights.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage == "flipped":
        path.write_bytes(content)
    with pytest.raises(MissingArtefact) as caught:
        load_weights(tmp_path, record["weights_sha256"], network)
    assert caught.value.subject == path
    with pytest.raises(MissingArtefact):
        fit(tmp_path)  # nor are they taken for the end of a training that goes on


def test_last_weights_are_loaded_by_their_digest_alone(tmp_path):
    network, record = fit(tmp_path)
    for path in tmp_path.iterdir():
        if path.name != "weights.pt":
            path.unlink()
    for context in (nullcontext, valueless):
        with context():
            again = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
        load_weights(tmp_path, record["weights_sha256"], again)
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
        again(torch.randn(2, 4)).sum().backward()  # it can be trained further
        assert all(parameter.grad is not None for parameter in again.parameters())


def test_a_training_that_is_not_finished_has_no_last_weights(tmp_path, every_step):
    cut_off(tmp_path, 3)
    assert not (tmp_path / "training.json").exists()
    with pytest.raises(MissingArtefact):
        load_weights(tmp_path, file_digest(tmp_path / "checkpoint.pt"), nn.Linear(1, 1))


def test_tensors_come_back_as_they_were_saved(tmp_path):
    state = {"weight": torch.randn(3, 4).to(torch.bfloat16), "step": 7, "name": "run"}
    assert save_tensors(tmp_path / "t.pt", state) == file_digest(tmp_path / "t.pt")
    again = load_tensors(tmp_path / "t.pt")
    assert torch.equal(again["weight"], state["weight"])
    assert (again["step"], again["name"]) == (7, "run")


@pytest.mark.parametrize("content", [{"weight": Path("anything")}, None], ids=["an object", "no file"])
def test_what_is_not_a_file_of_tensors_is_refused_by_name(tmp_path, content):
    if content is not None:
        torch.save(content, tmp_path / "t.pt")
    with pytest.raises(MissingArtefact) as caught:
        load_tensors(tmp_path / "t.pt")
    assert caught.value.subject == tmp_path / "t.pt"
    assert ("plain tensors" in caught.value.found) is (content is not None)


# ---------------------------------------------------------------- real processes, really killed

STEPS = 30  # more than the lines that are written at once; the tiny preset's 6 are few to be stopped in
LONGER = changed(load_preset(TINY), "training", steps=STEPS)


def saved(folder: Path, preset: Preset) -> str:
    """Save a preset for commands; returns the file's path."""
    path = folder / "preset.toml"
    write_preset(path, preset)
    return str(path)


def inputs(finished: Path, folder: Path) -> Path:
    """Copy everything that a run needs."""
    return shutil.copytree(finished, folder / "work", ignore=shutil.ignore_patterns("runs", "reports"))


@pytest.fixture(scope="module")
def undisturbed(finished, tmp_path_factory) -> Path:
    """The folder of run dual, trained in one go."""
    assert torch.get_num_threads() == 1  # as in the processes: how many there are decides in which order sums are taken
    graph = graph_of(inputs(finished, tmp_path_factory.mktemp("undisturbed")), LONGER)
    run = graph.run(graph.run_spec("dual"), 0)
    runner().make([run])
    return run.folder


@pytest.fixture
def soon(monkeypatch):
    """Do not wait long before what a dead process held is taken over."""
    monkeypatch.setattr("swdb.study.runner.POLL", 0.01)


def call_counting_steps(*command) -> int:
    """Run a command to its end in this process; returns how many optimizer steps it took."""
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        step = torch.optim.Adam.step
        patch.setattr(
            torch.optim.Adam, "step", lambda self, *args, **options: steps.append(1) or step(self, *args, **options)
        )
        result = call(*command)
    assert result.exit_code == 0, result.stderr
    return len(steps)


def assert_ended_like(undisturbed: Path, folder: Path) -> None:
    assert (folder / "weights.pt").read_bytes() == (undisturbed / "weights.pt").read_bytes()
    assert [line["step"] for line in lines_of(folder)] == list(range(STEPS))
    assert (folder / "log.jsonl").read_bytes() == (undisturbed / "log.jsonl").read_bytes()
    assert {path.name for path in folder.iterdir()} == {path.name for path in undisturbed.iterdir()}


def test_a_run_that_is_killed_in_a_step_and_then_in_a_checkpoint_ends_with_the_same_weights(
    finished, undisturbed, tmp_path, soon
):
    work = inputs(finished, tmp_path)
    folder = work / "runs" / undisturbed.name
    train = ["train", "dual", "--preset", saved(tmp_path, LONGER), "--workdir", work, *ON_CPU]

    killed = stopped(signal.SIGKILL, "step", 9, *train)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_tensors(folder / "checkpoint.pt")["step"] == len(lines_of(folder)) == 8
    assert not (folder / "done.json").exists()

    killed = stopped(signal.SIGKILL, "checkpoint.pt", 5, *train)  # it goes on at step 8
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert any(folder.glob(".checkpoint.pt.*.tmp"))  # it was killed in the middle of writing
    assert load_tensors(folder / "checkpoint.pt")["step"] == 12  # and the one before is whole
    assert len(lines_of(folder)) == 13
    assert not (folder / "done.json").exists()

    assert call_counting_steps(*train) == STEPS - 12  # what a checkpoint holds is not computed twice
    assert_ended_like(undisturbed, folder)


def test_ctrl_c_exits_with_130_and_the_command_that_it_names_goes_on(finished, undisturbed, tmp_path, soon):
    work = inputs(finished, tmp_path)
    folder = work / "runs" / undisturbed.name
    train = ["train", "dual", "--preset", saved(tmp_path, LONGER), "--workdir", work, *ON_CPU]
    interrupted = stopped(signal.SIGINT, "step", 10, *train, seconds=1e9)
    assert interrupted.returncode == 130, interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    assert "interrupted" in interrupted.stderr.splitlines()[-2]
    assert load_tensors(folder / "checkpoint.pt")["step"] == len(lines_of(folder)) == 10
    assert call_counting_steps(*hinted_command(interrupted)) == STEPS - 10
    assert_ended_like(undisturbed, folder)


def test_a_scoring_that_is_killed_goes_on_and_ends_with_the_same_result(finished, tmp_path, soon):
    work = shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns("evals", "reports"))
    graph = graph_of(work)
    score = graph.score(CellSource((graph.run_spec("strong"),), "strong"), 0)
    before = finished / score.folder.relative_to(work)
    expected = {path.relative_to(before): path.read_bytes() for path in before.rglob("*") if path.is_file()}
    assert len(expected) == 6 + 2  # predictions, counts, result

    evaluate = ["eval", "strong", "--preset", TINY, "--workdir", work, *ON_CPU]
    killed = stopped(signal.SIGKILL, ".png", 4, *evaluate)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not score.done
    kept = {path: path.stat().st_mtime_ns for path in score.folder.glob("predictions/*.png")}
    assert len(kept) == 3
    assert any(score.folder.glob("predictions/.*.tmp"))  # it was killed in the middle of writing

    result = call(*evaluate)
    assert result.exit_code == 0, result.stderr
    found = {path.relative_to(score.folder): path.read_bytes() for path in score.folder.rglob("*") if path.is_file()}
    assert found == expected
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


# ---------------------------------------------------------------- what the commands refuse


def checkpoint_of(name, work, monkeypatch) -> Path:
    """Cut a run off after its first checkpoint, in this process; returns its run folder."""
    graph = graph_of(work)
    run = graph.run(graph.run_spec(name), 0)

    def power_cut(done, of):
        if done == 2:
            raise RuntimeError("power cut")

    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    observer = SimpleNamespace(progress=lambda stage, *_, **__: power_cut if stage == run.name else silent(), tell=str)
    with pytest.raises(RuntimeError, match="power cut"):
        Runner(CPU, observer).make([run])
    assert (run.folder / "checkpoint.pt").is_file()
    return run.folder


@pytest.mark.parametrize("damage", ["of another run", "truncated"])
def test_train_refuses_a_checkpoint_that_is_not_its_own_or_not_whole(finished, tmp_path, monkeypatch, damage):
    work = inputs(finished, tmp_path)
    folder = checkpoint_of("dual", work, monkeypatch)
    path = folder / "checkpoint.pt"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
        words = [str(path), "damaged"]
    else:
        other = checkpoint_of("strong", work, monkeypatch)
        shutil.copyfile(other / "checkpoint.pt", path)
        words = [str(path), other.name, folder.name]
    content = path.read_bytes()
    result = call("train", "dual", "--preset", TINY, "--workdir", work, *ON_CPU)
    assert result.exit_code == 3
    assert all(word in the_error(result) for word in words)
    assert path.read_bytes() == content
    helped = call(*hinted_command(result), *ON_CPU)  # makes it again, from nothing
    assert helped.exit_code == 0, helped.stderr
    assert (folder / "weights.pt").read_bytes() == (finished / "runs" / folder.name / "weights.pt").read_bytes()


def test_eval_refuses_weights_with_a_flipped_byte(finished, tmp_path):
    work = shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns("evals", "reports"))
    (folder,) = (work / "runs").glob("dual-s0-*")
    content = bytearray((folder / "weights.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "weights.pt").write_bytes(content)
    result = call("eval", "dual", "--preset", TINY, "--workdir", work, *ON_CPU)
    assert result.exit_code == 3
    assert the_error(result).startswith(str(folder / "weights.pt"))
    assert not list(folder.glob("evals/*/result.json"))
    assert not list(folder.glob("evals/*/predictions/*"))


def test_a_training_that_diverges_names_its_step_and_run(finished, tmp_path):
    graph = graph_of(inputs(finished, tmp_path), changed(load_preset(TINY), "training", lr_new=1e30))
    run = graph.run(graph.run_spec("dual"), 0)
    with pytest.raises(BadInput) as caught:
        runner().make([run])
    assert caught.value.subject == run.id
    assert re.search(r"(nan|inf).* at step [1-5]\b", caught.value.found)
    assert "learning rates" in caught.value.expected
    assert not run.done


# ---------------------------------------------------------------- who looks on the way


def test_whoever_looks_sees_the_network_at_its_steps_ready_to_predict_and_changes_nothing(tmp_path):
    seen, ends = [], []

    def look(step, network):
        seen.append((step, network.training, network.weight.detach().clone()))
        network(torch.ones(2, 3))

    def squares(network):
        return lambda drawn: {"loss": network(drawn["x"]).square().mean()}

    for stops in (Stops(), Stops(frozenset({2, 5}), look)):
        torch.manual_seed(0)
        network = nn.Linear(3, 1)
        folder = tmp_path / str(len(ends))
        objective = Objective(lambda step: {"x": torch.full((4, 3), float(step))}, squares(network))
        groups = [{"params": list(network.parameters()), "lr": 0.1}]
        record = optimise(Job(folder, "toy", stops=stops), network, groups, Schedule(5, 0, 1.0, 1.0), objective)
        assert network.training
        ends.append(record["weights_sha256"])
    assert ends[0] == ends[1]
    assert [(step, training) for step, training, _ in seen] == [(2, False), (5, False)]
    assert torch.equal(seen[-1][2], network.weight) and not torch.equal(seen[0][2], seen[1][2])
