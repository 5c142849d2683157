"""How fast swdb is, as ratios taken in one run (machines differ, ratios travel). `make bench`.

Every ratio alternates its two sides and takes medians, so that a machine that slows down slows both.
`--tables` also times the whole main job from nothing, which takes as long as the tables do.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from swdb.data.store import proxy_masks
from swdb.methods import training
from swdb.methods.strong_weak import losses
from swdb.nn.compute import Machine, machine
from swdb.study.plan import Work
from swdb.study.runner import Pipeline
from swdb.study.workdir import open_work

TINY = Path(__file__).parent.parent / "tests" / "tiny.toml"
ROUNDS, STEPS = 7, 12


class Quiet:
    def tell(self, line: str) -> None:
        pass

    def stage(self, name: str, total: int, counts: bool = False) -> Callable[[int, int], None]:
        return lambda done, of: None


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

    def __init__(self, work: Work, pipeline: Pipeline, name: str, on: Machine):
        self.run, self.work, self.on = work.recipe(name), work, on
        network, self.look = training.build(work, self.run, 0)
        self.network = on.layout(network).train()
        self.store = pipeline.store
        strong = training.strong_rows(pipeline.data, self.store, self.run, 0)
        names = [labels for labels in (self.run.strong_branch, self.run.weak_branch) if labels]
        self.sets = [training.label_set(labels, strong, len(self.store.ids), 1) for labels in names]
        made = work.proxies(1)
        self.proxies = proxy_masks(made.folder, made.content_digest(), pipeline.data, self.store, lambda *_: None)
        self.optimizer = torch.optim.Adam(self.network.groups(work.preset.training), fused=True)
        self.step = 0
        self.constant = self.batch()

    def batch(self):
        self.step += 1
        return training.batch_at(self.step, self.sets, self.store, self.proxies, self.work, 0, self.look, self.on)

    def train(self, batch) -> None:
        pictures, labels, num_strong = batch
        with self.on.autocast():
            terms = losses(
                self.network, self.on.pictures(pictures), labels, num_strong, self.run, self.work.preset.training
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
    work = open_work(folder, "synthetic", "bf16")
    on = machine("auto", "bf16")
    short = shortened(work)
    pipeline = Pipeline(short, on, Quiet())
    pipeline.make(short.needed(short.proxies(1)))
    dual, single = Step(short, pipeline, "dual", on), Step(short, pipeline, "mixed", on)
    fresh, constant = ratio(dual.fresh_steps, dual.constant_steps)
    lines = [("training loop / constant batch", f"{fresh / constant:.3f}", "at most 1.10")]
    lines.append(("images a second, dual", f"{STEPS * short.preset.training.batch / fresh:.0f}", ""))
    two, one = ratio(dual.constant_steps, single.constant_steps)
    lines.append(("dual step / single step", f"{two / one:.2f}", ""))
    lines.append(("FLOPs of dual / single", f"{dual.flops() / single.flops():.2f}", "below 1.25"))
    plain = machine("auto", "fp32")
    slow = Step(short, pipeline, "dual", plain)
    quick, full = ratio(dual.constant_steps, slow.constant_steps)
    lines.append(("bf16 channels_last / fp32", f"{quick / full:.2f}", "chosen where below 1"))
    return lines


def shortened(work: Work) -> Work:
    """The same work with proxies that took no time: their quality does not matter to a clock."""
    from dataclasses import replace

    preset = replace(work.preset, proxy=replace(work.preset.proxy, steps=1, pretext_steps=1))
    return replace(work, preset=preset)


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
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| what | measured | target |\n| --- | ---: | --- |")
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
