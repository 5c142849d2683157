"""Options that several commands share, and how a command opens a study and shows what it found."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swdb.cli import arguments
from swdb.cli.command_line import CommandLine
from swdb.cli.terminal import on_one_line
from swdb.core.artefact import Artefact
from swdb.core.files import json_text
from swdb.specs.crf_parameters import CRF_SETS
from swdb.specs.presets import preset_names

if TYPE_CHECKING:
    from swdb.nn.compute import Compute
    from swdb.specs.study import Study
    from swdb.study.capacity import Resources, Slot
    from swdb.study.graph import Graph
    from swdb.study.runner import Runner


def _presets(incomplete: str) -> list[str]:
    return [name for name in preset_names() if name.startswith(incomplete)]


def complete_runs(incomplete: str) -> list[str]:
    """Complete the name of a run of the tables."""
    from swdb.specs.tables import all_runs, load_tables

    return [name for name in all_runs(load_tables()) if name.startswith(incomplete)]


Workdir = Annotated[Path, typer.Option("--workdir", help="Where everything is kept.")]
NAMED = ", ".join(name for name in preset_names() if not name.endswith("-dev"))
PresetName = Annotated[str, typer.Option("--preset", help=f"{NAMED}, or a TOML file.", autocompletion=_presets)]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Jobs = Annotated[
    str,
    typer.Option(
        "--jobs", envvar="SWDB_JOBS", show_envvar=False, help="How many artefacts are made at once: auto, or a number."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="Threads of each job: 1 by default; more add up in another order and change scores slightly.",
    ),
]
Devices = Annotated[str | None, typer.Option("--devices", help="GPUs by number, as in 0,1,2; else all.")]
PerDevice = Annotated[int, typer.Option("--per-device", min=1, max=64, help="How many jobs share a GPU.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="fp32 or bf16; else the preset's, or what the first training here chose."),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Initial backbone weights, .pth, .npz or .safetensors, instead of the preset's."),
]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        "--preprocessing",
        help="Of --weights: imagenet, caffe, imagenet-caffe, imagenet-lite or FILE.toml; else by the file.",
    ),
]
Cues = Annotated[
    Path | None,
    typer.Option("--cues", help="Seed cues: localization_cues.pickle.gz as published, or a cues.npz of swdb's."),
]
ProxySeeds = Annotated[
    bool,
    typer.Option(
        "--proxy-seeds", help="The study in which every seed has proxies of its own; else all share those of seed 0."
    ),
]
RunName = Annotated[
    str,
    typer.Argument(
        help="A run, as swdb reproduce-table all --dry-run shows it: dual or dual-s0.", autocompletion=complete_runs
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="The run's seed, where its name does not say it; 0 by default."),
]
Crf = Annotated[
    str | None, typer.Option("--crf", help=f"Refine by a dense CRF with parameters of: {', '.join(CRF_SETS)}.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
Budget = Annotated[str | None, typer.Option("--budget", help="The time there is, as in 90m, 12h or 3d.")]
# of prepare-voc
Voc = Annotated[
    Path | None, typer.Option("--voc", help="VOC 2012: the archive, or a folder that holds VOCdevkit/VOC2012.")
]
Sbd = Annotated[
    Path | None, typer.Option("--sbd", help="SBD: benchmark.tgz, its folder, or a SegmentationClassAug folder or zip.")
]
ImageLabels = Annotated[
    str, typer.Option("--image-labels", help="Image-level labels from: boxes, masks, or a CSV of image,classes.")
]
Lists = Annotated[
    Path | None, typer.Option("--lists", help="A folder of train.txt, train_aug.txt, val.txt that replace VOC's own.")
]
Download = Annotated[bool, typer.Option("--download", help="Fetch the official archives (3.4 GB), resuming.")]
AvailableOnly = Annotated[
    bool, typer.Option("--available-only", help="Import the images that are there: a named part.")
]
Classes = Annotated[str | None, typer.Option("--classes", help="Keep these classes only, as in cat,cow; others: void.")]
Require = Annotated[str | None, typer.Option("--require", help="Keep only images that show one of these classes.")]
PartName = Annotated[str | None, typer.Option("--name", help="The part's name; else made from what is kept.")]
Check = Annotated[bool, typer.Option("--check", help="Audit what is prepared, and print the report.")]
AuditSplits = Annotated[
    Path | None, typer.Option("--audit-splits", help="Report on other projects' list files below this folder.")
]
# of reproduce-table
TableNumber = Annotated[
    str,
    typer.Argument(
        metavar="N", help="A table, 1 to 4; all; or sensitivity: the claims under other readings of the paper."
    ),
]
Rows = Annotated[
    str | None,
    typer.Option("--rows", help="Only these rows, or readings, by their keys in the table's file: mixed,strong."),
]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, help="How many seeds, from 0; else the preset's.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be made and what exists; make nothing.")]
NoTrain = Annotated[bool, typer.Option("--no-train", help="Print from what is finished; train nothing.")]
UntilDecided = Annotated[
    bool, typer.Option("--until-decided", help="Run the most informative seed next, until claims are decided.")
]
Format = Annotated[str, typer.Option("--format", help="rich, md, csv, json; for an article: latex, rescience.")]


def open_graph(
    workdir: Path,
    preset: str,
    precision: str | None = None,
    weights: Path | None = None,
    cues: Path | None = None,
    saliency: Path | None = None,
    remember: bool = True,
    trains_on: str | None = None,
    preprocessing: str | None = None,
    choose: Callable[[str], tuple[str, dict[str, Any]]] | None = None,
    proxy_seeds: bool = False,
) -> "Graph":
    """Open a study and plan it; `trains_on`: the device of a command that trains, which decides the precision if need be.

    choose: returns the precision for a device, and why, where that is not one of this machine.
    """
    from swdb.specs.sensitivity import every_run
    from swdb.study.graph import Graph
    from swdb.study.workdir import Named, decide_precision, note_layout, open_study

    named = Named(weights, cues, saliency, preprocessing)
    study = open_study(workdir, preset, arguments.precision(precision), named, remember, proxy_seeds)
    if trains_on is not None:
        require_data(study)
        if (line := note_layout(workdir)) is not None:
            say(line)
        if precision is None:
            study = decide_precision(study, lambda: (choose or _choose_precision)(trains_on))
    return Graph(study, every_run())


def require_data(study: "Study") -> None:
    """Raise NotMade at once where a data set has to be imported first; a synthetic one is drawn when it is needed."""
    from swdb.data.dataset import load
    from swdb.data.kinds import facts_of
    from swdb.study.stages import DATA

    if not facts_of(study.preset.data).synthetic:
        load(study.preset.data, DATA.artefact(study).folder)


def _choose_precision(device: str) -> tuple[str, dict[str, Any]]:
    from swdb.nn.compute import Compute, choose_device, preferred_precision

    chosen = choose_device(device)
    precision = preferred_precision(chosen)
    return precision, Compute(chosen, precision).describe()


@contextmanager
def running(
    line: CommandLine, study: "Study", resources: "Resources", todo: list[Artefact], again: bool = False
) -> Iterator["Runner"]:
    """Open a runner, which loads torch, with a progress bar over all steps that are still to do, and workers if it is worth it.

    Whatever a library prints meanwhile goes to stderr: stdout is for results.
    """
    from swdb.cli import progress
    from swdb.study import capacity

    doing, threads = str(line)[:200], capacity.threads_of(resources)
    slots = [] if again else capacity.slots(resources, todo, study.folder)
    steps = sum(artefact.steps for artefact in todo if again or not artefact.done)
    with progress.bar(steps) as bar, redirect_stdout(sys.stderr), ExitStack() as stack:
        workers = None
        if len(slots) > 1:
            from swdb.study.workers import Workers

            hired = Workers(slots, study.folder, study.precision, threads, doing, bar, study.compile)
            workers = stack.enter_context(hired)
        from swdb.study.runner import Runner
        from swdb.timing.time_left import TimeLeft

        bar.time_left = TimeLeft(study, todo, resources.device, max(1, len(slots)))
        compute = _compute(resources, study, threads, slots)
        if compute.device.type == "cuda":
            workers = workers if slots and slots[0].device == "cuda" else None  # a GPU that was not seen before torch
            from swdb.timing.card import refuse_too_small

            refuse_too_small(study, todo, capacity.gpu_numbers(resources, len(capacity.visible_gpus())))
        yield Runner(compute, bar, doing, workdir=study.folder, workers=workers)


def _compute(resources: "Resources", study: "Study", threads: int, slots: list["Slot"]) -> "Compute":
    """Return where this process computes: of GPUs that workers use, none is begun here."""
    import torch

    from swdb.core.processor import usable_cores
    from swdb.nn.compute import Compute, StepSettings, choose_device, prepare_process

    prepare_process(threads)
    alone = resources.jobs is None and len(slots) < 2 and usable_cores() > 1
    step = StepSettings(compile=study.compile, core_is_idle=lambda: alone)
    if len(slots) > 1 and slots[0].device == "cuda":
        return Compute(torch.device("cuda"), study.precision, step)
    device = f"cuda:{resources.devices[0]}" if resources.devices else resources.device
    return Compute(choose_device(device), study.precision, step)


def propose(line: CommandLine, study: "Study", verb: str, *words: str) -> None:
    """Name the command that follows; files that are not kept in the work directory are named in it again."""
    kept = [name for name, file in study.files.items() if file.path.is_relative_to(study.folder / "inputs")]
    say(f"next: {line.other(verb, *words, kept=kept)}")


def say(text: str) -> None:
    """Print one line to stderr."""
    from swdb.cli import console

    console.say(text)


def show(lines: list[str], values: Any, json: bool) -> None:
    """Print what a command found out: its JSON, or its lines."""
    parts = (on_one_line(part) for line in lines for part in line.split("\n"))
    typer.echo(json_text(values) if json else "\n".join(parts))
