"""How much there is to compute in a step, counted without computing it, and how fast this device computes at best.

in: a preset and the kinds of its steps -> out: floating point operations by kind; TFLOP/s of a matrix product
"""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from swdb.methods.decoupled_network import Recognizer
from swdb.methods.method import METHODS
from swdb.nn.classifier import new_classifier
from swdb.nn.compute import Compute
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, valueless
from swdb.proxy.dsrg import DsrgNetwork
from swdb.specs.preprocessing import Preprocessing
from swdb.specs.presets import Preset
from swdb.specs.runs import RunSpec
from swdb.specs.tasks import run_task

SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices
CEILING_SECONDS = 0.4  # for each precision
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def matmul_ceiling(device: torch.device, precision: str) -> float:
    """Measure the TFLOP/s of a matrix product in a precision: the best of those that a moment has room for."""
    side = SIDES[device.type]
    left, right = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    best, ends = float("inf"), time.perf_counter() + CEILING_SECONDS
    while True:
        _wait(device)
        started = time.perf_counter()
        left @ right
        _wait(device)
        best = min(best, time.perf_counter() - started)
        if time.perf_counter() > ends:
            return 2 * side**3 / best / 1e12


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_flops(preset: Preset, run: RunSpec) -> int:
    """Count the operations of a training step of a run."""
    task, classes, method = run_task(preset, run), preset.data.num_classes, METHODS[run.method]

    def losses() -> Tensor:
        return sum(method.losses(method.network(task, classes), method.blank(task, classes), task).values())

    return _count(losses)


def prediction_flops(preset: Preset, run: RunSpec, shape: tuple[int, int]) -> int:
    """Count the operations of predicting one image as the tables want it."""
    evaluation, method = preset.evaluation, METHODS[run.method]

    def predict() -> None:
        network = method.network(run_task(preset, run), preset.data.num_classes).eval()
        model = Model(network, Preprocessing(), Compute(valueless(), "fp32"))
        method.predict(model, _inputs(1, *shape), run.branches[0], evaluation.scales, evaluation.flip)

    return _count(predict)


def proxy_flops(preset: Preset) -> dict[str, int]:
    """Count the operations of the steps that proxies take, of the networks alone: the CRF's are no matrix products."""
    dsrg, proxy, classes = preset.dsrg, preset.proxy, preset.data.num_classes

    def classifier() -> Tensor:
        network = new_classifier(BACKBONES[preset.network.backbone](), classes - 1)
        return network(_inputs(proxy.batch, preset.training.crop, preset.training.crop)).sum()

    def seeded(batch: int) -> Callable[[], Tensor]:
        def step() -> Tensor:
            network = DsrgNetwork(BACKBONES[preset.network.backbone](), dsrg, classes)
            return network(_inputs(batch, dsrg.size, dsrg.size)).sum()

        return step

    steps: Mapping[str, Callable[[], Tensor]] = {
        "classifier": classifier,
        "dsrg-1": seeded(dsrg.batch),
        "dsrg-2": seeded(dsrg.retrain_batch),
    }
    return {kind: _count(step) for kind, step in steps.items()}


def recognizer_flops(preset: Preset) -> int:
    """Count the operations of a training step of DecoupledNet's recognizer."""
    settings = preset.decouplednet

    def step() -> Tensor:
        network = Recognizer(preset.network.backbone, settings, preset.data.num_classes - 1)
        return network(_inputs(settings.recognizer_batch, settings.size, settings.size)).sum()

    return _count(step)


def _inputs(batch: int, height: int, width: int) -> Tensor:
    return torch.zeros(batch, 3, height, width)


class AllTogether(nullcontext):
    """In the place of what tells modules apart, whose hooks do not bear that a gradient is taken in a forward pass."""

    parents = frozenset({"Global"})


def _count(compute: Callable[[], Tensor | None]) -> int:
    """Count the operations of whatever is computed on tensors without values, backwards too where a loss comes out."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = AllTogether()
    with valueless(), counter:
        loss = compute()
        if loss is not None:
            loss.backward()
    return counter.get_total_flops()
