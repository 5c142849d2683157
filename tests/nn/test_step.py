"""A step: what is packed comes out as it was, and every way of taking one moves the weights to the same place."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from gpu import needs_gpu
from pretended_gpu import kept_switches, pretended_gpu
from torch import nn

from swdb.nn.checkpoints import load_tensors
from swdb.nn.compute import Compute, StepSettings, choose_device
from swdb.nn.step import COMING_BYTES, MOST_COMING, Coming, Objective, Packed, Rates, Stepper
from swdb.nn.trainer import Job, Schedule, optimise

RATE = 2.0**-6  # and its halves are the same number in fp32 and in fp64
DRAWN = {
    "rows": torch.tensor([3, 0, 2]),
    "flip": torch.tensor([True, False, True]),
    "scale": torch.tensor([0.5, 1.25, 2.0]),
    "images": torch.arange(30, dtype=torch.uint8).view(2, 5, 3),
    "exact": torch.tensor([1e-9], dtype=torch.float64),
    "one": torch.tensor(7),
    "none": torch.empty(0, 4),
}


def test_what_is_packed_is_unpacked_as_it_was():
    packed = Packed(DRAWN)
    whole = packed.bytes()
    assert whole.dtype == torch.uint8 and len(whole) % 16 == 0
    found = packed.parts(whole)
    assert found.keys() == DRAWN.keys()
    for name, tensor in DRAWN.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_on_a_processor_nothing_is_packed():
    assert Packed(DRAWN).unpacked(torch.device("cpu")) is DRAWN


def test_one_copy_brings_everything_to_the_gpu_and_is_not_waited_for():
    with pretended_gpu() as watch:
        found = Packed(DRAWN).unpacked(torch.device("cuda"))
        assert not watch.waits and watch.launches["", ""] == 1
        for name, tensor in DRAWN.items():
            assert torch.equal(found[name].cpu(), tensor)


def coming(size: int) -> tuple[Coming, list[int]]:
    """Make batches of so many bytes; returns also the steps that were cut, in that order."""
    cut = []

    def cut_drawn(drawn):
        cut.append(int(drawn["step"]))
        return cut[-1] * 10

    return Coming(
        Objective(lambda step: {"step": torch.tensor(step), "images": torch.empty(size)}, dict, cut=cut_drawn)
    ), cut


def test_a_processor_cuts_the_batches_of_several_steps_at_once_and_none_beyond_the_end():
    batches, cut = coming(1)
    assert batches.batch(3, 20) == 30 and cut == [*range(3, 11)]
    assert [batches.batch(step, 20) for step in range(4, 11)] == [*range(40, 110, 10)] and len(cut) == MOST_COMING
    assert batches.batch(18, 20) == 180 and cut[-2:] == [18, 19]
    assert not coming(1)[0].cut and [*batches.cut] == [19]


@pytest.mark.parametrize(("share", "count"), [(0.6, 1), (0.3, 3), (2.0, 1)])
def test_large_batches_are_cut_ahead_as_far_as_memory_may_be_taken(share, count):
    batches, cut = coming(int(COMING_BYTES * share / 4))
    batches.batch(0, 20)
    assert cut == [*range(count)]


def test_a_batch_that_is_there_is_not_ordered_again():
    batches, cut = coming(1)
    with ThreadPoolExecutor(1) as threads:
        batches.order(0, threads)
        batches.order(0, threads)
        assert batches.batch(0, 1) == 0 and cut == [0]
        batches.batch(1, 3)
        batches.order(2, threads)
    assert cut == [0, 1, 2]


def test_rates_are_those_of_the_schedule():
    schedule = Schedule(10, warmup=4, decay_at=0.6, decay_factor=0.1)
    rates = Rates([1.0, 10.0], schedule.factor)
    assert [rates.at(step) for step in (0, 5, 6)] == [[0.25, 2.5], [1.0, 10.0], [0.1, 1.0]]


# ---------------------------------------------------------------- the same weights, whichever way


class Dropping(nn.Module):
    """A small network with dropout."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))

    def forward(self, inputs):
        return self.layers(inputs)


def fit(folder, device="cpu", optimizer="adam", steps=8, compute=None, broken_at=-1, **settings):
    """Train a small network; returns its last weights and the training's record."""
    torch.manual_seed(0)
    compute = compute or Compute(torch.device("cpu"), "fp32", StepSettings(**settings))
    network = Dropping().to(device)

    def draw(step):
        _ = 1 // (step - broken_at)  # and no further
        return {
            "inputs": torch.randn(6, 4, generator=torch.Generator().manual_seed(step)),
            "wanted": torch.tensor([1.0, 2.0]),
        }

    def loss(inputs, wanted):
        return (network(inputs) - wanted).pow(2).mean(0)

    loss = compute.compiled(loss)

    def losses(drawn):
        one, two = loss(drawn["inputs"], drawn["wanted"])
        return {"one": one, "two": two, "seen": drawn["inputs"].sum()}

    seen = []
    objective = Objective(draw, losses, ("seen",), lambda step, values: seen.append((step, values["seen"])))
    layers = network.layers
    groups = [{"params": layers[0].parameters(), "lr": RATE}, {"params": layers[3].parameters(), "lr": RATE / 4}]
    schedule = Schedule(steps, 2, 0.5, 0.5, weight_decay=0.01, clip_norm=1.0, optimizer=optimizer)
    record = optimise(Job(folder, "small"), network, groups, schedule, objective, compute.step)
    assert [step for step, _ in seen] == list(range(steps - len(seen), steps))
    return load_tensors(folder / "weights.pt"), record


def same(one, other) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_rates_as_tensors_move_the_weights_as_numbers_do(tmp_path, optimizer):
    numbers, said = fit(tmp_path / "numbers", optimizer=optimizer)
    tensors, otherwise = fit(tmp_path / "tensors", optimizer=optimizer, device_rates=True)
    assert same(numbers, tensors)
    assert (said["step"]["rates"], otherwise["step"]["rates"]) == ("numbers", "tensors on the device")


def test_an_optimizer_that_a_graph_could_hold_moves_the_weights_as_another(tmp_path):
    steps = []
    for capturable in (False, True):
        torch.manual_seed(0)
        layer = nn.Linear(4, 2)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, weight_decay=0.1, fused=True, capturable=capturable)
        for step in range(5):
            optimizer.zero_grad()
            layer(torch.full((1, 4), float(step))).sum().backward()
            optimizer.step()
        steps.append(layer.state_dict())
    assert same(*steps)


@pytest.mark.parametrize("threaded", [False, True])
def test_checkpoints_by_a_thread_change_nothing(tmp_path, monkeypatch, threaded):
    monkeypatch.setattr("swdb.nn.trainer.CHECKPOINT_SECONDS", 0.0)
    plain, _ = fit(tmp_path / "plain")
    weights, record = fit(tmp_path / "other", threaded=threaded)
    assert same(plain, weights)
    assert record["step"]["checkpoints"] == ("by a thread" if threaded else "between steps")
    assert not (tmp_path / "other" / "checkpoint.pt").exists()


def test_a_compiled_step_moves_the_weights_as_the_plain_one_to_rounding(tmp_path):
    plain, _ = fit(tmp_path / "plain")
    compiled, record = fit(tmp_path / "compiled", compile="aot_eager")
    assert record["step"]["compile"] == "aot_eager"
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_graph_a_step_and_a_processor_move_the_weights_to_the_same_place(tmp_path, optimizer):
    ends, records = [], []
    for wanted in (False, True):
        with pretended_gpu() as watch:
            compute = Compute(choose_device("cuda"), "fp32", StepSettings(graph=wanted))
            weights, record = fit(tmp_path / str(wanted), "cuda", optimizer, compute=compute)
            assert dict(watch.waits["small", "step"]) == dict(watch.waits["", "step"]) == {}
        ends.append(weights)
        records.append(record["step"])
    assert same(*ends)
    assert records[0]["graph"] == "none: turned off" and records[1]["graph"].startswith("replayed")
    here, _ = fit(tmp_path / "cpu", optimizer=optimizer)
    for name, value in here.items():
        torch.testing.assert_close(ends[0][name], value, rtol=1e-4, atol=1e-5)


@needs_gpu
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_on_a_real_gpu_a_graph_and_a_step_are_the_same_and_no_step_is_waited_for(tmp_path, monkeypatch, optimizer):
    take = Stepper.run

    def watched(self, drawn):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return take(self, drawn)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Stepper, "run", watched)
    with kept_switches():
        device = choose_device("cuda")
        ends = [
            fit(tmp_path / str(graph), device, optimizer, compute=Compute(device, "fp32", StepSettings(graph=graph)))
            for graph in (False, True)
        ]
    assert same(ends[0][0], ends[1][0])
    assert ends[1][1]["step"]["graph"].startswith("replayed")


def test_a_graph_begins_in_the_middle_of_a_run_too(tmp_path, monkeypatch):
    monkeypatch.setattr("swdb.nn.trainer.CHECKPOINT_SECONDS", 0.0)
    for optimizer in ("adam", "sgd"):
        with pretended_gpu():
            compute = Compute(choose_device("cuda"), "fp32", StepSettings(graph=True))
            whole, _ = fit(tmp_path / f"whole-{optimizer}", "cuda", optimizer, compute=compute)
            folder = tmp_path / f"cut-{optimizer}"
            with pytest.raises(ZeroDivisionError):
                fit(folder, "cuda", optimizer, compute=compute, broken_at=4)
            assert load_tensors(folder / "checkpoint.pt")["step"] == 4
            weights, record = fit(folder, "cuda", optimizer, compute=compute)
        assert same(whole, weights) and record["step"]["graph"].startswith("replayed")


def test_on_a_processor_the_record_says_how_steps_were_taken(tmp_path):
    _, record = fit(tmp_path)
    assert record["step"] == {
        "batch": "in the host's memory",
        "rates": "numbers",
        "optimizer": "adam, fused",
        "graph": "none: there is no GPU",
        "compile": "none",
        "checkpoints": "between steps",
    }
