"""`swdb eval`: the score of one run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swdb.cli import arguments
from swdb.cli.options import (
    Crf,
    Cues,
    Device,
    Devices,
    Jobs,
    Json,
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
    say,
    show,
)
from swdb.core.errors import NotMade
from swdb.core.files import damage_of

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.study.graph import Graph
    from swdb.study.runner import Runner


def evaluate(
    context: typer.Context,
    run: RunName,
    seed: Seed = None,
    branch: Annotated[str, typer.Option("--branch", help="strong or weak.")] = "strong",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored image.")] = False,
    scales: Annotated[
        str | None, typer.Option("--scales", help="Average over scales, as in 0.75,1,1.25; else the preset's.")
    ] = None,
    crf: Crf = None,
    figure: Annotated[
        bool, typer.Option("--figure", help="Write a grid of a few images: truth, proxy, both branches.")
    ] = False,
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
    json: Json = False,
) -> None:
    """Score a trained run on the validation split: per-class IoU and mIoU, predictions as palette PNGs.

    \b
    swdb eval dual --branch weak
    swdb eval dual --flip --scales 0.75,1,1.25 --crf deeplab-vgg16-run-densecrf
    swdb eval dual --figure
    """
    from swdb.specs.tables import CellSource
    from swdb.specs.tasks import Scoring

    resources = arguments.resources(device, jobs, threads, devices, per_device)
    trains_on = device if figure else None  # a figure shows proxies, which may have to be made
    named = (weights, cues, None, True, trains_on, preprocessing, None)
    graph = open_graph(workdir, preset, precision, *named, proxy_seeds)
    spec, number = arguments.run_and_seed(graph.runs, run, seed)
    arguments.branch(branch, spec)
    tables = graph.scoring(branch)
    at = arguments.scales(scales) if scales else tables.scales
    scoring = Scoring(branch, at, flip or tables.flip, arguments.crf(crf))
    artefact = graph.run(spec, number)
    require_trained(artefact)
    score = graph.score(CellSource((spec,), branch), number, scoring)
    with running(context.obj, graph.study, resources, [score]) as runner:
        runner.make([score])
        path = draw(graph, runner, artefact) if figure else None
    result = score.read_record()
    with damage_of(score.record, "a score"):
        lines = score_lines(result)
    show(lines, result, json)
    say(f"predictions: {score.folder / 'predictions'}")
    if path:
        say(f"figure: {path}")
    propose(context.obj, graph.study, "reproduce-table", "all")


def require_trained(run: "Artefact") -> None:
    """Raise NotMade where a run is not finished."""
    if not run.done:
        raise NotMade(run.folder, "not trained yet", "a finished run")


def draw(graph: "Graph", runner: "Runner", run: "Artefact") -> Path:
    """Draw what a run predicts; returns the figure's path."""
    from swdb.study.figure import draw_run  # it loads torch

    return draw_run(graph, runner, run)


def score_lines(result: dict[str, Any]) -> list[str]:
    """Return what a score says, for people: mIoU, and the IoU of every class."""
    crf = f", CRF {result['crf']}" if result["crf"] else ""
    first = (
        f"{result['run']}, {result['branch']} branch{crf}: mIoU {result['miou']:.2f} on {result['images']} val images"
    )
    of_class = [
        f"  {name:<12} {'absent' if value is None else f'{value:.2f}'}" for name, value in result["iou"].items()
    ]
    return [first, *of_class]
