"""`swdb eval`: the score of one run, or of several averaged."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swdb.cli import arguments
from swdb.cli.lab import refuse_beside_lab, show_lab
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
from swdb.core.errors import BadInput, NotMade
from swdb.core.files import damage_of
from swdb.specs.tables import CellSource

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.specs.tasks import Scoring
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
    lab: Annotated[
        bool, typer.Option("--lab", help="Score it in all ways that are in use, from one set of predictions.")
    ] = False,
    form: Annotated[str, typer.Option("--format", help="Of --lab: rich or md.")] = "rich",
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

    Of several, with a + between them, the class probabilities are averaged.

    \b
    swdb eval dual --branch weak
    swdb eval dual --flip --scales 0.75,1,1.25 --crf deeplab-vgg16-run-densecrf
    swdb eval dual --figure
    swdb eval dual --lab
    swdb eval strong+mixed --seed 1
    """
    ways = {"--flip": flip, "--scales": scales, "--crf": crf}
    refuse_together(figure, form, json, ways)
    refuse_beside_lab(lab, form, {**ways, "--figure": figure})
    resources = arguments.resources(device, jobs, threads, devices, per_device)
    trains_on = device if figure else None  # a figure shows proxies, which may have to be made
    files = {"weights": weights, "cues": cues, "preprocessing": preprocessing}
    graph = open_graph(workdir, preset, precision, trains_on=trains_on, proxy_seeds=proxy_seeds, **files)
    source, number = arguments.source_and_seed(graph.runs, run, seed, branch)
    refuse_of_average(source, lab, figure)
    trained = [require_trained(graph.run(spec, number)) for spec in source.runs]
    if lab:
        return show_lab(context.obj, graph, resources, source, number, "json" if json else form)
    score = graph.score(source, number, scoring(graph, branch, scales, flip, crf))
    with running(context.obj, graph.study, resources, [score]) as runner:
        runner.make([score])
        path = draw(graph, runner, trained[0]) if figure else None
    tell(score, path, json)
    propose(context.obj, graph.study, "reproduce-table", "all")


def refuse_together(figure: bool, form: str, json: bool, ways: Mapping[str, object]) -> None:
    """Refuse ways of scoring beside a figure, and two forms of what is printed."""
    if figure:
        arguments.refuse_beside("--figure", ways, "it shows what the tables count")
    if json and form != "rich":
        raise BadInput(f"--format {form}", "--json beside it", "one of them")


def refuse_of_average(source: CellSource, lab: bool, figure: bool) -> None:
    """Refuse what is only there for one run."""
    for option, typed in (("--lab", lab), ("--figure", figure)):
        if typed and len(source.runs) > 1:
            names = "+".join(run.name for run in source.runs)
            raise BadInput(option, f"{names} is an average of runs", "one run")


def scoring(graph: "Graph", branch: str, scales: str | None, flip: bool, crf: str | None) -> "Scoring":
    """Return how a branch is scored: as for the tables, but for what was typed."""
    tables = graph.scoring(branch)
    at = arguments.scales(scales) if scales else tables.scales
    return replace(tables, scales=at, flip=flip or tables.flip, crf=arguments.crf(crf))


def require_trained(run: "Artefact") -> "Artefact":
    """Return a run; raises NotMade where it is not finished."""
    if not run.done:
        raise NotMade(run.folder, "not trained yet", "a finished run")
    return run


def draw(graph: "Graph", runner: "Runner", run: "Artefact") -> Path:
    """Draw what a run predicts; returns the figure's path."""
    from swdb.study.figure import draw_run  # it loads torch

    return draw_run(graph, runner, run)


def tell(score: "Artefact", figure: Path | None, json: bool) -> None:
    """Print a score, and say where its predictions and its figure are."""
    from swdb.reports.sound import read

    result = read(score)
    with damage_of(score.record, "a score"):
        show(score_lines(result), result, json)
    said = {"predictions": score.folder / "predictions", **({"figure": figure} if figure else {})}
    for what, where in said.items():
        say(f"{what}: {where}")


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
