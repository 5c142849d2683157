"""The CUDA path without a GPU: every stage to its end, no wait in a step, a graph that does what a step does, faults found."""

import copy
import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from commands import only
from pretended_gpu import OnGpu, pretended_gpu
from studies import Watcher, graph_of
from torch import Tensor

from swdb.cli.failures import _known
from swdb.core.errors import BadInput
from swdb.methods import strong_weak
from swdb.methods.method import METHODS
from swdb.nn import dense_crf, losses, trainer
from swdb.nn.checkpoints import Checkpoints
from swdb.nn.compute import Compute, StepSettings, choose_device
from swdb.nn.model import Model
from swdb.specs.presets import BACKBONES, load_preset
from swdb.specs.tables import CellSource, all_runs, load_tables
from swdb.specs.tasks import Scoring, run_task
from swdb.study.figure import draw_run
from swdb.study.graph import Graph
from swdb.study.runner import Runner

RUNS = ("dual", "dual-kl", "weak-retrain")  # two branches, with the constraint, and one branch on the second proxies
# Operations a step that would launch kernels, and a few to spare. On a real GPU norms, dropout and zeroing are fewer.
MOST_LAUNCHES = {
    "pretext": 150, "classifier": 150, "dsrg-1": 560, "dsrg-2": 270, "dual-s0": 355, "dual-kl-s0": 380, "weak-retrain-s0": 265,
}  # fmt: skip


def gpu_runner(**settings) -> Runner:
    """A runner on the pretended GPU."""
    return Runner(Compute(choose_device("cuda"), "bf16", StepSettings(**settings)), Watcher())


def runs_of(graph: Graph, *names: str):
    return [graph.run(graph.run_spec(name), 0) for name in names]


def both_forms_of_crf():
    """Let the features of the tiny preset's squares lie below what is computed whole, its images above."""
    return mock.patch.dict(dense_crf.EXACT_UP_TO, cuda=100)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> SimpleNamespace:
    """Everything made on the pretended GPU, one operation after the other; what was seen meanwhile."""
    work = tmp_path_factory.mktemp("plain") / "work"
    with both_forms_of_crf(), pretended_gpu() as watch:
        graph = graph_of(work)
        runner = gpu_runner(graph=False)
        runner.make(graph.needed(*runs_of(graph, *RUNS)))
        seen = copy.deepcopy(watch)
        scoring = Scoring("weak", (0.75, 1.0), flip=True, crf="dsrg")
        runner.make([graph.score(CellSource((graph.run_spec("dual"),), "weak"), 0, scoring)])
        figure = draw_run(graph, runner, *runs_of(graph, "dual"))
    return SimpleNamespace(work=work, seen=seen, figure=figure)


def untrained(plain, folder: Path, *left_out: str) -> Graph:
    """Plan the same in a copy that lacks some of what was made."""
    return graph_of(shutil.copytree(plain.work, folder / "work", ignore=shutil.ignore_patterns("reports", *left_out)))


def sha256_of(plain, run) -> str:
    return json.loads((plain.work / "runs" / run.id / "done.json").read_text())["digest"]


def steps_recorded(artefact) -> dict[str, str]:
    return artefact.read_record()["training"]["step"]


# ---------------------------------------------------------------- what is there to the end, and waits for nothing


def test_every_stage_ends_and_convolutions_are_in_the_precision_that_was_asked_for(plain):
    assert set(plain.seen.steps) == set(MOST_LAUNCHES)
    assert dict(plain.seen.steps) == {
        "pretext": 4, "classifier": 6, "dsrg-1": 6, "dsrg-2": 4, "dual-s0": 6, "dual-kl-s0": 6, "weak-retrain-s0": 6,
    }  # fmt: skip
    assert plain.seen.convolutions["dual-s0"] == {torch.bfloat16}
    assert plain.seen.convolutions["classifier"] == {torch.bfloat16, torch.float32}  # the gradients of cues are fp32
    assert plain.figure.is_file() and only(plain.work, "runs/dual-s0-*/evals/*crf-dsrg/result.json")
    assert json.loads(only(plain.work, "proxies/dsrg-2-*/done.json").read_text())["training"]["steps"] == 4


@pytest.mark.parametrize("training", MOST_LAUNCHES)
def test_the_host_waits_for_no_step_and_for_the_log_once(plain, training):
    assert dict(plain.seen.waits[training, "step"]) == {}
    log = {line: count for line, count in plain.seen.waits[training, ""].items() if line.startswith("nn/trainer.py")}
    assert list(log.values()) == [1, 1], log  # of 4 or 6 steps, when they are over; and whether the weights are finite


@pytest.mark.parametrize("training", MOST_LAUNCHES)
def test_a_step_launches_no_more_than_it_did(plain, training):
    assert 0.9 * MOST_LAUNCHES[training] < plain.seen.per_step(training) <= MOST_LAUNCHES[training]


def test_a_run_says_on_what_gpu_and_how_its_steps_were_taken(plain):
    record = json.loads(only(plain.work, "runs/dual-s0-*/done.json").read_text())
    machine = record["machine"]
    assert (machine["device"], machine["name"], machine["capability"]) == ("cuda", "a pretended GPU", "9.0")
    assert (machine["tf32"], machine["deterministic"]) == (False, True) and {"driver", "cuda", "cudnn"} <= set(machine)
    assert record["training"]["step"] == {
        "batch": "one copy a step, cut on the device",
        "rates": "tensors on the device",
        "optimizer": "adam, fused",
        "graph": "none: turned off",
        "compile": "none",
        "checkpoints": "by a thread",
    }


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name != "small"])
def test_the_large_backbones_go_forward_and_backward_without_a_wait(backbone, precision):
    network_settings = replace(load_preset("voc").network, backbone=backbone, head_channels=16, neck_channels=512)
    run, preset = all_runs(load_tables())["dual-kl"], load_preset("voc")
    task = run_task(replace(preset, network=network_settings, training=replace(preset.training, batch=2)), run)
    with pretended_gpu() as watch:
        compute = Compute(choose_device("cuda"), precision)
        method = METHODS[run.method]
        network = compute.layout(method.network(task, 21))
        inputs, labels = torch.zeros(2, 3, 33, 33).to("cuda"), torch.zeros(2, 33, 33, dtype=torch.int64).to("cuda")
        optimizer = torch.optim.Adam(method.groups(network, task), fused=True)
        watch.waits.clear()
        with compute.autocast():
            terms = method.losses(network, (compute.inputs(inputs), labels), task)
        sum(terms.values()).backward()
        optimizer.step()
        assert not watch.waits
        assert watch.convolutions[""] == {torch.bfloat16 if precision == "bf16" else torch.float32}


def test_what_is_not_finite_is_found_by_the_log_with_its_images(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "normalise", lambda model, squares: squares * torch.nan)
    with pretended_gpu() as watch:
        proxies = untrained(plain, tmp_path, "runs", "proxies").proxies(1)
        with pytest.raises(BadInput) as caught:
            gpu_runner().make([proxies])
        assert not watch.waits["dsrg-1", "step"]
    assert caught.value.subject == proxies.id and "at step 0 (images " in caught.value.found


# ---------------------------------------------------------------- the graph


def test_a_recorded_step_gives_the_same_weights_to_the_last_bit(plain, tmp_path):
    with both_forms_of_crf(), pretended_gpu() as watch:
        graph = untrained(plain, tmp_path, "runs", "proxies")
        runs = runs_of(graph, *RUNS)
        made = graph.needed(*runs)
        gpu_runner(graph=True).make(made)
        for training in ("dsrg-1", "dsrg-2", "dual-s0", "dual-kl-s0", "weak-retrain-s0"):
            assert watch.launches[training, "step"] <= 3 * watch.steps[training]  # replay, and its answer copied out
            assert dict(watch.waits[training, "step"]) == {}
    for run in runs:
        assert run.digest() == sha256_of(plain, run)
    for trained in (*runs, *(one for one in made if one.kind == "proxies")):
        assert steps_recorded(trained)["graph"] == "replayed; its first step was that without"
        assert steps_recorded(trained)["optimizer"] == "adam, fused, capturable"


@pytest.mark.parametrize("fault", ["a value of Python", "a wait", "no memory"])
def test_a_graph_that_is_not_the_step_is_not_used_and_the_record_says_why(plain, tmp_path, monkeypatch, fault):
    real, calls = strong_weak.cross_entropy, []

    def faulty(logits: Tensor, labels: Tensor) -> Tensor:
        calls.append(1)
        recorded = len(calls) in (3, 4)  # two branches; the first step is taken without, then recorded
        if fault == "a wait" and recorded:
            logits.sum().item()
        if fault == "no memory" and len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(logits, labels) * (1.5 if fault == "a value of Python" and recorded else 1)

    monkeypatch.setattr(strong_weak, "cross_entropy", faulty)
    with pretended_gpu():
        (run,) = runs_of(untrained(plain, tmp_path, "runs"), "dual")
        gpu_runner(graph=True).make([run])
    assert run.digest() == sha256_of(plain, run)
    reason = {
        "a value of Python": "another than without, at step 0",
        "a wait": "capturing: _local_scalar_dense at",
        "no memory": "out of memory",
    }[fault]
    assert reason in steps_recorded(run)["graph"] and steps_recorded(run)["graph"].startswith("none: ")


def test_a_short_run_is_not_recorded(plain, tmp_path):
    with pretended_gpu():
        (run,) = runs_of(untrained(plain, tmp_path, "runs"), "dual")
        gpu_runner().make([run])
    assert steps_recorded(run)["graph"] == "none: it would not pay for 6 steps"
    assert run.digest() == sha256_of(plain, run)


# ---------------------------------------------------------------- stopped, and short of memory


@pytest.mark.parametrize(
    ("graph", "memory"), [(False, 0), (True, 24 << 30)], ids=["store outside", "store inside, graph"]
)
def test_a_run_that_is_interrupted_at_every_step_ends_with_the_same_weights(
    plain, tmp_path, monkeypatch, graph, memory
):
    monkeypatch.setattr(trainer, "_interrupts", lambda: nullcontext([1]))
    taken = 0
    with pretended_gpu(memory) as watch:
        (run,) = runs_of(untrained(plain, tmp_path, "runs"), "dual")
        while not run.done:
            try:
                gpu_runner(graph=graph).make([run])
            except KeyboardInterrupt:
                taken += 1
        waits = dict(watch.waits["dual-s0", "step"])
    assert taken == 6 and waits == {}
    assert run.digest() == sha256_of(plain, run)


def test_without_memory_in_the_middle_the_user_hears_one_line_and_the_run_goes_on_later(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    steps = []

    def exhausted(logits: Tensor, labels: Tensor) -> Tensor:
        steps.append(1)
        if len(steps) == 7:  # two branches a step
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB."
            )
        return losses.cross_entropy(logits, labels)

    with pretended_gpu():
        (run,) = runs_of(untrained(plain, tmp_path, "runs"), "dual")
        with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError) as caught:
            patch.setattr(strong_weak, "cross_entropy", exhausted)
            gpu_runner().make([run])
        told = _known(caught.value)
        assert isinstance(told, BadInput) and told.subject == "memory" and "2.00 GiB" in told.found
        assert torch.load(run.folder / "checkpoint.pt", weights_only=True)["step"] == 3
        gpu_runner().make([run])
    assert run.digest() == sha256_of(plain, run)


def test_a_checkpoint_holds_no_tensors_of_the_gpu_and_numbers_for_rates(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    kept, write = [], Checkpoints._write
    monkeypatch.setattr(
        Checkpoints, "_write", lambda self, state, event: kept.append(state) or write(self, state, event)
    )
    with pretended_gpu():
        (run,) = runs_of(untrained(plain, tmp_path, "runs"), "dual")
        gpu_runner(graph=True).make([run])
    assert [state["step"] for state in kept] == [1, 2, 3, 4, 5, 6]
    for state in kept:
        assert not any(isinstance(tensor, OnGpu) for tensor in state["network"].values())
        assert [group["lr"] for group in state["optimizer"]["param_groups"]] == [1e-3, 1e-3]


# ---------------------------------------------------------------- planted faults

FAULTS = {  # in the losses of a run: what it does, and what is found
    "a number is read": (lambda logits: logits.max().item() * 0, "_local_scalar_dense"),
    "a condition is read": (lambda logits: 0 if bool((logits > -1e9).all()) else 1, "_local_scalar_dense"),
    "a list is read": (lambda logits: logits[0, 0, 0].tolist()[0] * 0, "tolist"),
    "a mask is an index": (lambda logits: logits[logits > 1e9].sum(), "index by a mask"),
    "places are looked for": (lambda logits: (logits > 1e9).nonzero().sum(), "nonzero"),
    "tensors are compared": (lambda logits: int(torch.equal(logits, logits)) * 0, "equal"),
    "an index of the host": (lambda logits: logits[torch.tensor([0])].sum() * 0, "index by an index of the host"),
    "a copy from the host": (lambda logits: (logits[0, 0] * torch.zeros(32, 32).to(logits.device)).sum(), "copy to the GPU"),
    "a copy to the host": (lambda logits: logits.detach().sum().cpu() * 0, "copy to the host"),
    "a constant from a list": (lambda logits: logits.new_tensor([0.0])[0], "new_tensor"),
    "a tensor of the host": (lambda logits: (logits[0, 0] * torch.zeros(32, 32)).sum(), "same device"),
    "a table of the host": (lambda logits: torch.zeros(9)[logits.argmax(1)].sum(), "indexed on the GPU"),
    "a generator of the host": (
        lambda logits: torch.rand(1, device=logits.device, generator=torch.Generator())[0] * 0, "generator of the host",
    ),
    "numpy": (lambda logits: logits.detach().numpy().sum() * 0, "can't convert cuda:0"),
}  # fmt: skip


@pytest.fixture(scope="module")
def half_made(plain, tmp_path_factory) -> Graph:
    """What a run is made from."""
    return untrained(plain, tmp_path_factory.mktemp("faults"), "runs")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_with_its_line(half_made, monkeypatch, fault):
    plant, found = FAULTS[fault]
    real = losses.cross_entropy
    monkeypatch.setattr(strong_weak, "cross_entropy", lambda logits, labels: real(logits, labels) + plant(logits))
    with pretended_gpu() as watch:
        (run,) = runs_of(half_made, "dual")
        try:
            gpu_runner(graph=False).make([run])
            said = " ".join(watch.waits["dual-s0", "step"])
        except (RuntimeError, TypeError) as error:
            said = str(error)
        shutil.rmtree(run.folder)
    assert found in said and "methods/strong_weak.py:" in said


def test_operations_that_are_added_to_the_step_are_found(half_made, monkeypatch):
    real = losses.cross_entropy

    def slower(logits: Tensor, labels: Tensor) -> Tensor:
        for _ in range(10):
            logits = logits + 0
        return real(logits, labels)

    monkeypatch.setattr(strong_weak, "cross_entropy", slower)
    with pretended_gpu() as watch:
        (run,) = runs_of(half_made, "dual")
        gpu_runner(graph=False).make([run])
        shutil.rmtree(run.folder)
    assert watch.per_step("dual-s0") > MOST_LAUNCHES["dual-s0"]
