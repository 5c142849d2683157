"""How fast swdb is, as ratios taken in one run (machines differ, ratios travel). `make bench`.

Every ratio alternates its two sides and takes medians, so that a machine that slows down slows both.
`--tables` also times the whole main job from nothing, which takes as long as the tables do.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from swdb.core.processor import usable_cores
from swdb.core.progress import silent
from swdb.data.store import proxy_masks
from swdb.methods.method import METHODS
from swdb.methods.training import Batches, build, label_set, strong_rows
from swdb.nn.compute import Compute, choose_device
from swdb.specs.presets import Preset, load_preset
from swdb.specs.study import Study
from swdb.specs.tables import all_runs, load_tables
from swdb.study.graph import Graph
from swdb.study.runner import Runner

TINY = Path(__file__).parent.parent / "tests" / "tiny.toml"
ROUNDS, STEPS = 7, 12


class Quiet:
    progress = staticmethod(silent)

    def tell(self, line: str) -> None:
        pass


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "swdb", *arguments]


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def ratio(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Return medians of both, taken in turn."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(ROUNDS)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


class Step:
    """One training step of a run of the synthetic preset, with fresh or with constant batches."""

    def __init__(self, graph: Graph, runner: Runner, name: str, on: Compute):
        artefact, self.on = graph.run(graph.run_spec(name), 0), on
        self.run, self.training = artefact.task.run, artefact.task.training
        self.method = METHODS[self.run.method]
        dataset = runner.dataset(graph.data)
        store = runner.store(graph.data, self.training.longest_side)
        model = build(artefact, dataset.num_classes, on)
        self.network = on.layout(model.network).train()
        strong = strong_rows(dataset, store, self.run, 0)
        names = [labels for labels in (self.run.strong_branch, self.run.weak_branch) if labels]
        sets = [label_set(labels, strong, len(store.ids), 1) for labels in names]
        proxies = proxy_masks(graph.proxies(1), dataset, store)
        self.batches = Batches(sets, store, proxies, self.training, 0, model)
        self.optimizer = torch.optim.Adam(self.method.groups(self.network, self.training), fused=True)
        self.step = 0
        self.constant = self.batch()

    def batch(self):
        self.step += 1
        return self.batches.at(self.step)

    def train(self, batch) -> None:
        inputs, labels, num_strong = batch
        with self.on.autocast():
            terms = self.method.losses(
                self.network, self.on.inputs(inputs), labels, num_strong, self.run, self.training
            )
        self.optimizer.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()

    def fresh_steps(self) -> None:
        for _ in range(STEPS):
            self.train(self.batch())

    def constant_steps(self) -> None:
        for _ in range(STEPS):
            self.train(self.constant)

    def flops(self) -> int:
        with FlopCounterMode(display=False) as counter:
            self.train(self.constant)
        return counter.get_total_flops()


def bench_steps(folder: Path) -> list[tuple[str, str, str]]:
    device, preset = choose_device("auto"), shortened(load_preset("synthetic"))
    on, plain = Compute(device, "bf16"), Compute(device, "fp32")
    graph = Graph(Study(folder, preset, "bf16"), all_runs(load_tables()))
    runner = Runner(on, Quiet())
    runner.make(graph.needed(graph.proxies(1)))
    dual, single, slow = (Step(graph, runner, *of) for of in (("dual", on), ("mixed", on), ("dual", plain)))
    fresh, constant = ratio(dual.fresh_steps, dual.constant_steps)
    lines = [("training loop / constant batch", f"{fresh / constant:.3f}", "at most 1.10")]
    lines.append(("images a second, dual", f"{STEPS * preset.training.batch / fresh:.0f}", ""))
    two, one = ratio(dual.constant_steps, single.constant_steps)
    lines.append(("dual step / single step", f"{two / one:.2f}", ""))
    lines.append(("FLOPs of dual / single", f"{dual.flops() / single.flops():.2f}", "below 1.25"))
    quick, full = ratio(dual.constant_steps, slow.constant_steps)
    lines.append(("bf16 channels_last / fp32", f"{quick / full:.2f}", "chosen where below 1"))
    return lines


def shortened(preset: Preset) -> Preset:
    """The same preset with proxies that take little time: their quality does not matter to a clock."""
    return replace(preset, proxy=replace(preset.proxy, steps=1, pretext_steps=1))


def bench_commands(folder: Path) -> list[tuple[str, str, str]]:
    quiet = {"check": True, "capture_output": True}
    help_time = statistics.median(seconds(lambda: subprocess.run(command("--help"), **quiet)) for _ in range(ROUNDS))
    python_time = statistics.median(
        seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], **quiet)) for _ in range(ROUNDS)
    )
    tables = command("reproduce-table", "all", "--preset", str(TINY), "--workdir", str(folder), "--seeds", "1")
    subprocess.run(tables, **quiet)
    render = statistics.median(seconds(lambda: subprocess.run(tables, **quiet)) for _ in range(3))
    return [
        ("swdb --help", f"{help_time:.2f} s ({help_time / python_time:.1f} x an empty python)", "at most 0.3 s"),
        ("all tables from finished runs", f"{render:.2f} s", "at most 2 s"),
    ]


def bench_tables(folder: Path) -> list[tuple[str, str, str]]:
    lines = []
    for number, target in (("4", "at most 6 min"), ("all", "at most 25 min, table 4 included")):
        spent = seconds(
            lambda number=number: subprocess.run(
                command("reproduce-table", number, "--workdir", str(folder)), check=True, stdout=subprocess.DEVNULL
            )
        )
        lines.append((f"reproduce-table {number}", f"{spent / 60:.1f} min", target))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", action="store_true", help="time the tables from nothing, too")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="swdb-bench-"))
    try:
        lines = bench_commands(folder / "tiny") + bench_steps(folder / "steps")
        if options.tables:
            lines += bench_tables(folder / "tables")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    lines.append(("peak memory", f"{max(own, children) / 2**20:.2f} GB", "under 2 GB"))
    print(f"{usable_cores()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| what | measured | target |\n| --- | ---: | --- |")
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
