"""`swdb train`: one run, with all that it needs."""

from pathlib import Path

import typer

from swdb.cli import arguments
from swdb.cli.options import (
    Cues,
    Device,
    Devices,
    Jobs,
    PerDevice,
    Precision,
    Preprocessing,
    PresetName,
    ProxySeeds,
    RunName,
    Seed,
    Threads,
    Weights,
    Workdir,
    open_graph,
    propose,
    running,
)


def train(
    context: typer.Context,
    run: RunName,
    seed: Seed = None,
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    device: Device = "auto",
    jobs: Jobs = "auto",
    threads: Threads = None,
    devices: Devices = None,
    per_device: PerDevice = 1,
    precision: Precision = None,
    weights: Weights = None,
    preprocessing: Preprocessing = None,
    cues: Cues = None,
    proxy_seeds: ProxySeeds = False,
) -> None:
    """Train one run, with all that it needs; an interrupted one continues.

    \b
    swdb train dual --seed 0
    swdb train mixed-x6 --seed 2 --device cuda
    """
    from swdb.specs.sensitivity import every_run

    resources = arguments.resources(device, jobs, threads, devices, per_device)
    spec, number = arguments.run_and_seed(every_run(), run, seed)
    files = {"weights": weights, "cues": cues, "preprocessing": preprocessing}
    graph = open_graph(workdir, preset, precision, trains_on=device, proxy_seeds=proxy_seeds, **files)
    artefact = graph.run(spec, number)
    todo = graph.needed(artefact)
    with running(context.obj, graph.study, resources, todo) as runner:
        runner.make(todo)
    typer.echo(str(artefact.folder))
    propose(context.obj, graph.study, "eval", spec.name, "--seed", str(number))
