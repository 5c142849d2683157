"""`swdb bench`: how fast every kind of step of a preset is on this machine, beside a plain loop."""

from pathlib import Path
from typing import Annotated

import typer

from swdb.cli import arguments
from swdb.cli.options import Device, Json, Precision, PresetName, Threads, Workdir, say

Steps = Annotated[int, typer.Option("--steps", min=1, help="Steps that are measured of each kind, if there is time.")]


def bench(
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    device: Device = "auto",
    precision: Precision = None,
    threads: Threads = None,
    steps: Steps = 20,
    json: Json = False,
) -> None:
    """Measure how fast every kind of step is here, on random images, and beside a plain loop; needs no data.

    What is found is kept, and plans say how long a study takes from it.

    \b
    swdb bench
    swdb bench --preset voc --device cuda
    swdb bench --preset voc-animals --steps 5 --json
    """
    import contextlib
    import sys

    from swdb.cli import console, progress
    from swdb.core.files import write_json
    from swdb.study.capacity import Resources, threads_of
    from swdb.study.workdir import known_precision, open_study
    from swdb.timing.rates import bench_path

    typed = arguments.precision(precision)
    study = open_study(workdir, preset, typed, remember=False)
    with progress.bar() as bar, contextlib.redirect_stdout(sys.stderr):
        from swdb.nn.compute import Compute, choose_device, preferred_precision, prepare_process
        from swdb.timing.benchmark import benchmark

        chosen = choose_device(device)
        prepare_process(threads_of(Resources(device, threads=threads)))
        decided = typed or known_precision(study) or preferred_precision(chosen)
        found = benchmark(study.preset, Compute(chosen, decided), steps, bar.progress)
    path = bench_path(workdir, study.preset.name)
    write_json(path, found)
    if json:
        typer.echo(path.read_text(encoding="utf-8"))
    else:
        console.print_bench(found)
    say(f"written: {path}")
