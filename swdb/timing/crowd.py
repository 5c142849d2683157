"""How much slower a worker is where others keep the other cores busy: they share the memory's bandwidth, caches and clock.

Each worker is a process of its own, as in a study; all begin together and train the same kind of run for a moment.

in: a planned study with a random data set -> out: seconds a step, of each worker
"""

import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from swdb.specs.presets import Preset, load_preset, write_preset
from swdb.specs.study import Study
from swdb.specs.tables import all_runs, load_tables
from swdb.study.graph import Graph

MOST = 16  # processes
SECONDS = 3.0  # that they train
SLOWEST = 1.0  # seconds a step: longer ones are not measured again
READY = "ready"


def crowded_seconds(folder: Path, preset: Preset, precision: str, run: str, threads: int, processes: int) -> float:
    """Return the median seconds of a step where so many processes train at once; raises RuntimeError where one of them dies."""
    path = folder / "crowd.toml"
    write_preset(path, preset)
    words = [sys.executable, "-m", __name__, str(folder), str(path), precision, run, str(threads), str(SECONDS)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        workers = []
        for number in range(processes):
            worker = stack.enter_context(subprocess.Popen([*words, str(number + 1)], **pipes))
            stack.callback(worker.kill)  # before its pipes are closed and it is waited for
            workers.append(worker)
        for worker in workers:
            while (line := worker.stdout.readline()).strip() != READY:
                if not line:
                    raise _ended(worker)
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        found = []
        for worker in workers:
            said = worker.communicate()[0].split()
            if worker.returncode or not said:
                raise _ended(worker)
            found.append(float(said[-1]))
        return statistics.median(found)


def _ended(worker: subprocess.Popen) -> RuntimeError:
    return RuntimeError(f"a worker of the benchmark ended with {worker.wait()}")


def main(folder: str, preset: str, precision: str, run: str, threads: str, seconds: str, seed: str) -> None:
    """Train a run with a seed of its own once a line is read, and print the seconds of a step."""
    import torch

    from swdb.data.dataset import load
    from swdb.nn.compute import Compute, prepare_process
    from swdb.study.stages import RUN
    from swdb.timing.stopwatch import Tools, time_training

    prepare_process(int(threads))
    graph = Graph(Study(Path(folder), load_preset(preset), precision), all_runs(load_tables()))
    data = load(graph.study.preset.data, graph.data.folder)
    artefact = graph.run(graph.run_spec(run), int(seed))
    tools = Tools(Compute(torch.device("cpu"), precision), data, 10**6, float(seconds))
    tools.store(graph.data, graph.study.preset.training.longest_side)
    print(READY, flush=True)
    sys.stdin.readline()
    print(time_training(lambda tools: RUN.make(artefact, tools), tools, lambda: None).seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
