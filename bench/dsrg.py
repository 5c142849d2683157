"""What the CRF and growing cost in DSRG's training step, and how long both sets of proxies take. `python bench/dsrg.py`.

The step is timed with and without them, in turns, medians of seven: on the CPU at the synthetic preset and the part of
VOC, on a GPU at the paper's preset too. `--sets` times `swdb make-proxy` at the synthetic preset, from nothing.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import torch

from swdb.core.processor import usable_cores
from swdb.nn.compute import Compute
from swdb.nn.networks import BACKBONES
from swdb.proxy.dsrg import DsrgNetwork, balanced_seed_loss, renormalise, seeded_losses
from swdb.specs.presets import load_preset

ROUNDS = 7
PHOTOGRAPHS = ("voc-animals", "voc-animals-squeezenet")
PRESETS = {"cpu": ("synthetic", *PHOTOGRAPHS), "cuda": ("synthetic", *PHOTOGRAPHS, "voc")}


def steps(preset_name: str, on: Compute) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a training step of the first round on random images: as it is, and without CRF and growing."""
    preset = load_preset(preset_name)
    settings, classes = preset.dsrg, preset.data.num_classes
    network = on.layout(DsrgNetwork(BACKBONES[preset.network.backbone](), settings, classes)).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
    inputs = on.inputs(torch.randn(settings.batch, 3, settings.size, settings.size, device=on.device))
    side = network.backbone(inputs[:1]).shape[-1]
    small = torch.randint(0, 255, (settings.batch, side, side, 3), dtype=torch.uint8, device=on.device)
    seeds = torch.rand(settings.batch, classes, side, side, device=on.device) < 0.2 / classes
    tags = torch.rand(settings.batch, classes, device=on.device) < 0.2
    tags[:, 0] = True

    def step(losses: Callable[[torch.Tensor], torch.Tensor]) -> None:
        with on.autocast():
            logits = network(inputs).float()
        optimizer.zero_grad(set_to_none=True)
        losses(logits).backward()
        optimizer.step()
        if on.device.type == "cuda":
            torch.cuda.synchronize()

    def whole() -> None:
        step(lambda logits: sum(seeded_losses(logits, seeds, small, tags, settings)[0].values()))

    def bare() -> None:
        step(lambda logits: balanced_seed_loss(renormalise(logits.softmax(1) + 1e-4), seeds))

    return whole, bare


def seconds(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def measure(preset_name: str, on: Compute) -> str:
    whole, bare = steps(preset_name, on)
    whole(), bare()
    pairs = [(seconds(whole), seconds(bare)) for _ in range(ROUNDS)]
    with_them, without = (1000 * statistics.median(side) for side in zip(*pairs, strict=True))
    target = "at most 1.3 on a GPU" if on.device.type == "cuda" else ""
    what = f"{on.device.type} {on.precision}: DSRG's step, {preset_name}"
    return f"| {what} | {with_them:.1f} ms against {without:.1f} without CRF and growing: {with_them / without:.2f} x | {target} |"


def both_sets() -> str:
    with tempfile.TemporaryDirectory(prefix="swdb-bench-") as folder:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "swdb", "make-proxy", "--workdir", folder]
        subprocess.run(command, check=True, capture_output=True)
        spent = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return f"| swdb make-proxy, synthetic, both sets, from nothing | {spent:.0f} s, {peak:.0f} MB at most | 180 s, 2,000 MB |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", action="store_true", help="time make-proxy too: minutes")
    options = parser.parse_args()
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    print(f"{torch.get_num_threads()} threads of {usable_cores()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"GPU: {torch.cuda.get_device_name() if 'cuda' in devices else 'NOT MEASURED, none is here'}\n")
    print("| what | measured | target |\n| --- | --- | --- |")
    for device in devices:
        for preset_name in PRESETS[device]:
            print(measure(preset_name, Compute(torch.device(device), "bf16")), flush=True)
    if options.sets:
        print(both_sets())


if __name__ == "__main__":
    main()
