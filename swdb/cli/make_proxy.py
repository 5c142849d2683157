"""`swdb make-proxy`: sets of proxy masks, each with the report on its quality."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swdb.cli import arguments
from swdb.cli.on_slurm import On, SlurmOptions, open_slurm
from swdb.cli.options import (
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
    Threads,
    Weights,
    Workdir,
    open_graph,
    propose,
    running,
    show,
)
from swdb.core.errors import BadInput

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.study.graph import Graph

ProxySet = Annotated[str, typer.Option("--set", help="1 (DSRG on seed cues), 2 (its retrain round on set 1) or all.")]
Again = Annotated[
    bool, typer.Option("--again", help="Make the set again; the old one stays until the new one is whole.")
]
Saliency = Annotated[
    Path | None,
    typer.Option("--saliency", help="Saliency maps (<id>.png or .jpg; dark: background), kept; or none."),
]


def make_proxy(
    context: typer.Context,
    preset: PresetName = "synthetic",
    proxy_set: ProxySet = "all",
    again: Again = False,
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
    saliency: Saliency = None,
    json: Json = False,
    on: On = "here",
    slurm: SlurmOptions = None,
) -> None:
    """Make proxy masks from image-level labels by DSRG, as palette PNGs with a report on their quality.

    \b
    swdb make-proxy
    swdb make-proxy --set 1 --device cuda
    swdb make-proxy --preset voc --cues localization_cues.pickle.gz
    swdb make-proxy --preset voc --saliency DIR
    """
    if proxy_set not in ("1", "2", "all"):
        raise BadInput(f"--set {proxy_set}", "unknown", "1, 2 or all")
    resources = arguments.resources(device, jobs, threads, devices, per_device)
    queue = open_slurm(context.obj, on, slurm, workdir, device)
    if queue and again:
        raise BadInput("--again", "replaces what is there, and jobs make only what is not", "--on here beside it")
    choose = queue.choose_precision if queue else None
    graph = open_graph(
        workdir, preset, precision, weights, cues, saliency, True, device, preprocessing, choose, proxy_seeds
    )
    numbers = (1, 2) if proxy_set == "all" else (int(proxy_set),)
    own = range(graph.study.preset.seeds if proxy_seeds else 1)
    sets = [graph.proxies(number, seed) for seed in own for number in numbers]
    if again:  # what they are made from first: nothing is replaced that could not be made again
        inputs = graph.needed(*(other for seed in own for other in graph.proxies(numbers[0], seed).inputs))
        with running(context.obj, graph.study, resources, inputs) as runner:
            runner.make(inputs)
        with running(context.obj, graph.study, resources, sets, again=True) as runner:
            runner.make_again(sets)
    todo = graph.needed(*sets)
    if queue and not all(artefact.done for artefact in todo):
        queue.submit(graph.study, todo)
        return
    with running(context.obj, graph.study, resources, todo) as runner:
        runner.make(todo)
    show(*_found(graph, sets), json)
    propose(context.obj, graph.study, "reproduce-table", "2")


def _found(graph: "Graph", sets: list["Artefact"]) -> tuple[list[str], dict[str, Any]]:
    """Return what is known of finished sets, in lines and by their ids: their quality, and what their networks score."""
    from swdb.reports.tables import proxy_lines

    lines, values = [], {}
    for one in sets:
        quality, network = graph.quality(one).read_record(), graph.dsrg_score(one).read_record()
        lines += proxy_lines(one.folder, quality, network, graph.study.preset)
        values[one.id] = {**quality, "network": network}
    return lines, values
