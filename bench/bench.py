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

from swdb.core.processor import usable_cores
from swdb.methods.method import METHODS
from swdb.nn.compute import Compute, choose_device, prepare_process
from swdb.specs.presets import load_preset
from swdb.specs.tasks import run_task
from swdb.study.stages import RUN
from swdb.timing.benchmark import begin
from swdb.timing.crowd import crowded_seconds
from swdb.timing.plain_loop import plain_seconds
from swdb.timing.stopwatch import time_training

TINY = Path(__file__).parent.parent / "tests" / "tiny.toml"
ROUNDS, STEPS, PLAIN_STEPS = 5, 40, 12


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "swdb", *arguments]


def seconds(call: Callable[[], object], timer: Callable[[], float] = time.perf_counter) -> float:
    started = timer()
    call()
    return timer() - started


class Steps:
    """Steps of a training of the synthetic preset on random images: by the program, bare, and by a plain loop."""

    def __init__(self, folder: Path, precision: str):
        self.preset, self.on = load_preset("synthetic"), Compute(choose_device("auto"), precision)
        self.bench = begin(self.preset, self.on, STEPS, 1.0, folder)
        self.runs = self.bench.runs
        self.timer = time.perf_counter

    def alone(self) -> "Steps":
        """Count the processor's time from here on, where a step is taken by one thread: others do not disturb it."""
        one_thread = self.on.device.type == "cpu" and torch.get_num_threads() == 1
        self.timer = time.thread_time if one_thread else time.perf_counter
        return self

    def ours(self, kind: str) -> float:
        """Seconds of a step as a study takes it."""
        artefact = self.bench.graph.run(self.runs[kind], 0)
        again = lambda: shutil.rmtree(artefact.folder, ignore_errors=True)  # noqa: E731
        tools = replace(self.bench.tools(STEPS), timer=self.timer)
        return time_training(lambda tools: RUN.make(artefact, tools), tools, again).seconds

    def bare(self, kind: str) -> Callable[[], float]:
        """Seconds of a step with nothing around it: one batch that is there already, forward, backward, new weights."""
        task, training = run_task(self.preset, self.runs[kind]), self.preset.training
        method = METHODS[task.run.method]
        network = self.on.layout(method.network(task, self.preset.data.num_classes)).train()
        optimizer = torch.optim.Adam(method.groups(network, task), fused=True)
        inputs = self.on.inputs(torch.randn(training.batch, 3, training.crop, training.crop, device=self.on.device))
        labels = torch.randint(0, 6, (training.batch, training.crop, training.crop), device=self.on.device)

        def step() -> None:
            with self.on.autocast():
                terms = method.losses(network, (inputs, labels), task)
            optimizer.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm)
            optimizer.step()
            if self.on.device.type == "cuda":
                torch.cuda.synchronize()

        return lambda: statistics.median(seconds(step, self.timer) for _ in range(STEPS))

    def plain(self) -> float:
        """Seconds of a step of the plain loop, with our threads or one for each core, whichever is faster."""
        threads, cores, found = torch.get_num_threads(), usable_cores(), []
        dual, data, device = self.runs["dual"], self.bench.data, self.on.device
        for number in dict.fromkeys((threads, cores)):
            torch.set_num_threads(number)
            took, _ = plain_seconds(self.preset, dual, data, device, cores, PLAIN_STEPS, 60)
            found.append(took)
        torch.set_num_threads(threads)
        return min(found)

    def together(self) -> float:
        """Seconds of a step for each of as many runs at once as there are cores, over their number."""
        study, cores = self.bench.graph.study, usable_cores()
        return crowded_seconds(study.folder, study.preset, study.precision, self.runs["dual"].name, 1, cores) / cores


def in_turn(*sides: Callable[[], float], rounds: int = ROUNDS) -> list[float]:
    """Return the medians of what each side measures, taken in turn."""
    found = [[side() for side in sides] for _ in range(rounds)]
    return [statistics.median(one) for one in zip(*found, strict=True)]


def bench_steps(folder: Path) -> list[tuple[str, str, str]]:
    fast, slow = (Steps(folder / precision, precision) for precision in ("bf16", "fp32"))
    batch = fast.preset.training.batch
    loop, bare, single, full = in_turn(
        lambda: fast.alone().ours("dual"),
        fast.alone().bare("dual"),
        lambda: fast.ours("single"),
        lambda: slow.alone().ours("dual"),
    )
    flops = fast.bench.flops
    lines = [
        ("training loop / bare step", f"{loop / bare:.3f}", "at most 1.05"),
        ("images a second, dual", f"{batch / loop:.0f}", ""),
        ("dual step / single step", f"{loop / single:.2f}", ""),
        ("FLOPs of dual / single", f"{flops['dual'] / flops['single']:.2f}", "below 1.25"),
        ("bf16 channels_last / fp32", f"{loop / full:.2f}", "chosen where below 1"),
    ]
    best = fast if loop < full else slow
    best.timer = time.perf_counter
    plain, ours = in_turn(best.plain, lambda: best.ours("dual"), rounds=3)
    lines.append(("images a second, plain loop", f"{batch / plain:.0f}", ""))
    lines.append(("one run / plain loop", f"{plain / ours:.2f}", ""))
    if best.on.device.type == "cpu" and usable_cores() > 1:
        plain, ours = in_turn(best.plain, best.together, rounds=3)
        lines.append((f"{usable_cores()} runs at once / plain loop", f"{plain / ours:.2f}", "at least 3"))
    return lines


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
    prepare_process(torch.get_num_threads())  # as a worker does
    folder = Path(tempfile.mkdtemp(prefix="swdb-bench-"))
    try:
        sections = [bench_commands, bench_steps] + [bench_tables] * options.tables
        lines = [line for section in sections for line in section(folder / section.__name__)]
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
