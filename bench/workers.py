"""What workers gain and cost, as ratios and times taken in one run. `make bench`; `--tables` compares whole tables, for an hour.

The other way is that of version 0.1: one run after the other, each with all threads. Beside another process: both ways while
one process keeps a core busy.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import toy_worker

from swdb.core.processor import usable_cores
from swdb.specs.presets import load_preset
from swdb.specs.study import Study
from swdb.specs.tables import all_runs, load_tables
from swdb.study.capacity import Slot
from swdb.study.graph import Graph
from swdb.study.plan import make_plan, write_plan
from swdb.study.workers import Workers

WORKERS, ARTEFACTS, SEEDS = 8, 64, 50


class Quiet:
    """A display that shows nothing but what goes wrong."""

    def lane(self, number: int) -> "Quiet":
        return self

    def progress(self, name: str, total: int, counts: bool = False):
        return lambda done, of: None

    def idle(self) -> None:
        pass

    def tell(self, line: str) -> None:
        print(line)


def no_work(count: int) -> float:
    """Return the seconds that workers take for a root and `count` artefacts of no work that are made from it."""
    folder = Path(tempfile.mkdtemp(prefix="swdb-bench-"))
    try:
        artefacts = toy_worker.planned(folder, count)[: count + 1]
        began = time.perf_counter()
        with Workers(
            [Slot("cpu")] * WORKERS, folder, "fp32", 1, "bench", Quiet(), program=toy_worker.PROGRAM
        ) as workers:
            assert workers.make(artefacts) == []
        return time.perf_counter() - began
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def swdb(*words: object, threads: str = "") -> float:
    """Run a command; returns its seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "SWDB_JOBS"}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "swdb", *map(str, words)], check=True, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began


def large_study(folder: Path) -> int:
    """Write the plan of a large study; returns how many artefacts it has."""
    graph = Graph(Study(folder, load_preset("synthetic"), "fp32"), all_runs(load_tables()))
    rows = [(table, row) for table in load_tables().values() for row in table.rows]
    plan = make_plan(graph, rows, range(SEEDS))
    write_plan(graph.study, plan)
    return len(graph.needed(*plan.scores.values()))


@contextmanager
def busy_core():
    """Keep a core busy while the block runs."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def tables(preset: str, number: str, seeds: int) -> list[tuple[str, str, str]]:
    """Time a table from nothing both ways; a single one beside a busy process, too."""
    cores, found = usable_cores(), {}
    ways = {"workers": (), "one after the other": ("--jobs", 1, "--threads", cores)}
    for where, beside in (("quiet", nullcontext), ("busy", busy_core)):
        for way, options in ways.items():
            if where == "busy" and (way == "one after the other" or number == "all"):
                continue  # it takes an hour and more, and says what is known
            folder = Path(tempfile.mkdtemp(prefix="swdb-bench-"))
            try:
                with beside():
                    words = ("reproduce-table", number, "--preset", preset, "--seeds", seeds, "--workdir", folder)
                    found[where, way] = swdb(*words, *options)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            print(f"table {number}, {seeds} seeds, {where}, {way}: {found[where, way]:.0f} s", flush=True)
    quiet, other = found["quiet", "workers"], found["quiet", "one after the other"]
    name, target = f"table {number}, {seeds} seeds, {cores} workers", 0.75 if number == "all" else 0.85
    lines = [(f"{name} / one run after the other with {cores} threads", f"{quiet / other:.2f}", f"at most {target}")]
    if busy := found.get(("busy", "workers")):
        lines.append((f"{name}, beside a busy process / quiet", f"{busy / quiet:.2f}", "at most 2"))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", metavar="N", help="time a table from nothing, too: 1, 2, 3, 4 or all")
    parser.add_argument("--preset", default="synthetic")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    few, many = no_work(1), no_work(ARTEFACTS + 1)
    each = 1000 * (many - few) / ARTEFACTS
    lines = [(f"an artefact of no work, {WORKERS} workers on {usable_cores()} cores", f"{each:.0f} ms", "under 30 ms")]
    folder = Path(tempfile.mkdtemp(prefix="swdb-bench-"))
    try:
        count = large_study(folder)
        for what, words in {
            "status": ("status",),
            "plan": ("reproduce-table", "all", "--seeds", SEEDS, "--dry-run"),
        }.items():
            spent = swdb(*words, "--workdir", folder)
            lines.append((f"{what} of a study of {count:,} artefacts", f"{spent:.2f} s", "at most 2 s"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.tables:
        lines += tables(options.preset, options.tables, options.seeds)
    print("| what | measured | target |\n| --- | ---: | --- |")
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
