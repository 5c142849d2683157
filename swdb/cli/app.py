"""The command line: parses, calls, ends by naming the next command. The only module that imports typer.

torch and rich are loaded inside the commands, so that `swdb --help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from swdb.core.errors import BadInput, SwdbError, nearest
from swdb.core.files import disk_error
from swdb.specs.crf_parameters import CRF_SETS

INTERRUPTED = 130


class Commands(TyperGroup):
    """The one place where errors become lines: a user's mistake is one line, a bug of ours keeps its traceback."""

    def invoke(self, ctx):
        """Run the command and turn errors into exit codes."""
        try:
            return super().invoke(ctx)
        except SwdbError as error:
            _fail(str(error), error.exit_code)
        except OSError as error:
            mended = disk_error(error, Path(error.filename or "a file"))
            if not isinstance(mended, SwdbError):
                raise
            _fail(str(mended), mended.exit_code)
        except KeyboardInterrupt:
            _fail("interrupted; what was done is kept: the same command continues", INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"swdb: {message}", err=True)
    raise typer.Exit(code)


app = typer.Typer(
    cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, no_args_is_help=True
)

Workdir = Annotated[Path, typer.Option("--workdir", help="Where everything is kept.")]
PresetName = Annotated[str, typer.Option("--preset", help="The scale: synthetic, voc, or a TOML file.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="fp32 or bf16; else the work directory's, chosen once from the processor."),
]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="Initial backbone weights, .pth or .npz, instead of the preset's.")
]
Cues = Annotated[
    Path | None,
    typer.Option("--cues", help="Seed cues: localization_cues.pickle.gz as published, or a cues.npz of swdb's."),
]
Voc = Annotated[
    Path | None, typer.Option("--voc", help="VOC 2012: the archive, or a folder that holds VOCdevkit/VOC2012.")
]
Sbd = Annotated[
    Path | None,
    typer.Option("--sbd", help="SBD: benchmark.tgz, its folder, or a SegmentationClassAug folder or zip."),
]
ImageLabels = Annotated[
    str, typer.Option("--image-labels", help="Image-level labels from: boxes, masks, or a CSV of image,classes.")
]
Lists = Annotated[
    Path | None, typer.Option("--lists", help="A folder of train.txt, train_aug.txt, val.txt that replace VOC's own.")
]
Download = Annotated[bool, typer.Option("--download", help="Fetch the official archives (3.4 GB), resuming.")]
AvailableOnly = Annotated[bool, typer.Option("--available-only", help="Take the images that are there: a named part.")]
Classes = Annotated[str | None, typer.Option("--classes", help="Keep these classes only, as in cat,cow; others: void.")]
Require = Annotated[str | None, typer.Option("--require", help="Keep only images that show one of these classes.")]
SubsetName = Annotated[str | None, typer.Option("--name", help="The part's name; else made from what is kept.")]
Check = Annotated[bool, typer.Option("--check", help="Audit what is prepared, and print the report.")]
AuditSplits = Annotated[
    Path | None, typer.Option("--audit-splits", help="Report on other projects' list files below this folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"swdb {version('swdb')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Reproduce Tables 1-4 of the supplement of "Improving Semi-supervised Semantic Segmentation via Strong-weak Dual-branch Network".

    \b
    swdb reproduce-table 4              all that Table 4 needs, on the embedded data set
    swdb reproduce-table all --dry-run  what would be made, and what exists already
    """


@app.command("prepare-voc")
def prepare_voc(
    dataset: Annotated[str | None, typer.Option("--dataset", help="synthetic or voc; short for --preset.")] = None,
    preset: PresetName = "synthetic",
    voc: Voc = None,
    sbd: Sbd = None,
    image_labels: ImageLabels = "boxes",
    lists: Lists = None,
    download: Download = False,
    available_only: AvailableOnly = False,
    classes: Classes = None,
    require: Require = None,
    name: SubsetName = None,
    check: Check = False,
    audit_splits: AuditSplits = None,
    again: Annotated[bool, typer.Option("--again", help="Prepare anew what is there already.")] = False,
    workdir: Workdir = Path("work"),
    json: Json = False,
) -> None:
    """Prepare a data set in VOC's layout and audit it: draw the embedded one, or take VOC 2012 and SBD.

    \b
    swdb prepare-voc --preset voc --download
    swdb prepare-voc --preset voc --voc VOCtrainval_11-May-2012.tar --sbd benchmark.tgz
    swdb prepare-voc --preset voc --voc DIR --available-only --classes cat,dog --name cats
    swdb prepare-voc --preset voc --check
    """
    from swdb.cli import intake
    from swdb.core.files import only_writer
    from swdb.data.sources.voc2012 import Sources

    if check and (again or download or voc or sbd):
        raise BadInput("--check looks at what is prepared; expected it without --again, --download, --voc and --sbd")
    work = _open(workdir, dataset or preset)
    sources = Sources(voc, sbd, image_labels, lists)
    if audit_splits is not None:
        _show(intake.audit_splits(work, audit_splits, sources), json)
        return
    if available_only or classes or require or name:
        work = intake.part_of(work, name, classes, require, available_only)
    with only_writer(workdir):
        if check:
            _show(intake.check(work), json)
            return
        shown, following = intake.prepare_set(work, sources, download, again)
    _show(shown, json)
    from swdb.cli import console

    console.say(f"next: {following}")


@app.command("make-proxy")
def make_proxy(
    preset: PresetName = "synthetic",
    proxy_set: Annotated[
        str, typer.Option("--set", help="1 (DSRG on seed cues), 2 (its retrain round on set 1) or all.")
    ] = "all",
    again: Annotated[bool, typer.Option("--again", help="Delete the set and make it anew.")] = False,
    workdir: Workdir = Path("work"),
    device: Device = "auto",
    precision: Precision = None,
    weights: Weights = None,
    cues: Cues = None,
    saliency: Annotated[
        Path | None,
        typer.Option("--saliency", help="Saliency maps (<id>.png or .jpg; dark: background), kept; or none."),
    ] = None,
    json: Json = False,
) -> None:
    """Make proxy masks from image-level labels by DSRG, as palette PNGs with a passport: sources, settings, quality.

    \b
    swdb make-proxy
    swdb make-proxy --set 1 --device cuda
    swdb make-proxy --preset voc --cues localization_cues.pickle.gz
    swdb make-proxy --preset voc --saliency DIR
    """
    from swdb.cli import console, making
    from swdb.core.files import only_writer

    work = _open(workdir, preset, precision, weights, cues, saliency)
    with only_writer(workdir):
        shown = making.make_sets(work, proxy_set, again, device)
    _show(shown, json)
    console.say(f"next: swdb reproduce-table 2 {work.options}")


@app.command()
def train(
    run: Annotated[str, typer.Argument(help="A run, as swdb reproduce-table all --dry-run shows it: dual or dual-s0.")],
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="The run's seed, where its name does not say it; 0 by default.")
    ] = None,
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    device: Device = "auto",
    precision: Precision = None,
    weights: Weights = None,
    cues: Cues = None,
) -> None:
    """Train one run, with all that it needs; an interrupted one continues.

    \b
    swdb train dual --seed 0
    swdb train mixed-x6 --seed 2 --device cuda
    """
    from swdb.cli import arguments, console, making
    from swdb.core.files import only_writer

    work = _open(workdir, preset, precision, weights, cues)
    run, seed = arguments.run_and_seed(work, run, seed)
    artefact = work.run(work.recipe(run), seed)
    todo = work.needed(artefact)
    with only_writer(workdir), making.opened(work, device, todo) as pipeline:
        pipeline.make(todo)
    typer.echo(str(artefact.folder))
    console.say(f"next: swdb eval {run} --seed {seed} {work.options}")


@app.command("eval")
def evaluate(
    run: Annotated[str, typer.Argument(help="A run, as swdb reproduce-table all --dry-run shows it: dual or dual-s0.")],
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="The run's seed, where its name does not say it; 0 by default.")
    ] = None,
    branch: Annotated[str, typer.Option("--branch", help="strong or weak.")] = "strong",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored picture.")] = False,
    scales: Annotated[
        str | None, typer.Option("--scales", help="Average over scales, as in 0.75,1,1.25; else the preset's.")
    ] = None,
    crf: Annotated[
        str | None, typer.Option("--crf", help=f"Refine by a dense CRF with parameters of: {', '.join(CRF_SETS)}.")
    ] = None,
    figure: Annotated[
        bool, typer.Option("--figure", help="Write a grid of a few images: truth, proxy, both branches.")
    ] = False,
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    device: Device = "auto",
    precision: Precision = None,
    weights: Weights = None,
    cues: Cues = None,
    json: Json = False,
) -> None:
    """Score a trained run on the validation split: per-class IoU and mIoU, predictions as palette PNGs.

    \b
    swdb eval dual --branch weak
    swdb eval dual --flip --scales 0.75,1,1.25 --crf deeplab-vgg16-run-densecrf
    swdb eval dual --figure
    """
    from swdb.cli import arguments, console, making
    from swdb.core.files import only_writer
    from swdb.study.plan import Scoring

    work = _open(workdir, preset, precision, weights, cues)
    run, seed = arguments.run_and_seed(work, run, seed)
    recipe = work.recipe(run)
    if branch not in ("strong", "weak"):
        raise BadInput(f"--branch {branch}: {nearest(branch, ('strong', 'weak'))}")
    if branch == "weak" and not recipe.dual:
        raise BadInput(f"run {run!r} has one branch only; expected --branch strong")
    tables = work.scoring(branch)
    at = arguments.scales(scales) if scales else tables.scales
    scoring = Scoring(branch, at, flip or tables.flip, arguments.crf(crf))
    artefact = work.run(recipe, seed)
    artefact.read_record(f"swdb train {run} --seed {seed} {work.options}")
    with only_writer(workdir), making.opened(work, device, []) as pipeline:
        pipeline.make([artefact])
        result = pipeline.score(artefact, scoring)
        path = pipeline.figure(artefact) if figure else None
    _show(making.shown_score(result), json)
    console.say(f"predictions: {scoring.folder(artefact) / 'predictions'}")
    if path:
        console.say(f"figure: {path}")
    console.say(f"next: swdb reproduce-table all {work.options}")


@app.command("reproduce-table")
def reproduce_table(
    number: Annotated[str, typer.Argument(metavar="N", help="1, 2, 3, 4 or all.")],
    rows: Annotated[str | None, typer.Option("--rows", help="Only these rows, as in mixed,strong.")] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="How many seeds, from 0; else the preset's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be made and what exists; make nothing.")
    ] = False,
    no_train: Annotated[bool, typer.Option("--no-train", help="Print from what is finished; train nothing.")] = False,
    form: Annotated[str, typer.Option("--format", help="rich, md, csv or json.")] = "rich",
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    device: Device = "auto",
    precision: Precision = None,
    weights: Weights = None,
    cues: Cues = None,
) -> None:
    """Train and score every run of a table, then print it next to the paper's values.

    \b
    swdb reproduce-table 4
    swdb reproduce-table all --seeds 1 --dry-run
    swdb reproduce-table 1 --rows mixed,strong --format md
    """
    from swdb.cli import arguments, console, making
    from swdb.core.files import only_writer
    from swdb.reports import tables as report
    from swdb.reports.results import measure

    if form not in ("rich", *report.FORMATS):
        raise BadInput(f"--format {form}: {nearest(form, ('rich', *report.FORMATS))}")
    work = _open(workdir, preset, precision, weights, cues, remember=not dry_run)
    tables = arguments.chosen_tables(work, number)
    chosen = list(range(seeds or work.preset.seeds))
    wanted = arguments.chosen_rows(tables, rows)
    plan = work.plan(dict.fromkeys(row.run for _, row in wanted), chosen)
    scores = work.scores(wanted, chosen)
    if dry_run:
        console.print_plan(plan, [(s.name, s.result(a) is not None) for a, s in scores], work, work.estimate(plan))
        limits = "".join(f" --{name} {value}" for name, value in (("rows", rows), ("seeds", seeds)) if value)
        console.say(f"next: swdb reproduce-table {number}{limits} {work.options}")
        return
    finished = all(artefact.done for artefact in plan) and all(s.result(a) is not None for a, s in scores)
    if not finished and not no_train:
        with only_writer(workdir), making.opened(work, device, plan) as pipeline:
            pipeline.make_and_score(plan, scores)
    measured = [measure(work, table, chosen) for table in tables]
    written = [path for table in measured for path in report.write_report(table, work)]
    if form == "rich":
        for table in measured:
            console.print_table(table, work)
    else:
        typer.echo(report.render(measured, work, form), nl=False)
    console.say(f"written: {', '.join(map(str, written))}")
    console.say(f"next: swdb eval dual --figure {work.options}")


def _open(
    workdir: Path,
    preset: str,
    precision: str | None = None,
    weights: Path | None = None,
    cues: Path | None = None,
    saliency: Path | None = None,
    remember: bool = True,
):
    from swdb.study.workdir import PRECISIONS, open_work

    if precision is not None and precision not in PRECISIONS:
        raise BadInput(f"--precision {precision}: {nearest(precision, PRECISIONS)}")
    return open_work(workdir, preset, precision, weights, cues, saliency, remember)


def _show(shown, json: bool) -> None:
    """Print what a command found out: its JSON, or its lines."""
    _print_json(shown.values) if json else typer.echo("\n".join(shown.lines))


def _print_json(value) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(app())
