"""`swdb prepare-voc`: prepares a data set, checks one, or audits other projects' lists."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swdb.cli import arguments, hints
from swdb.cli.command_line import CommandLine
from swdb.cli.options import (
    AuditSplits,
    AvailableOnly,
    Check,
    Classes,
    Download,
    ImageLabels,
    Json,
    Lists,
    PartName,
    PresetName,
    Require,
    Sbd,
    Voc,
    Workdir,
    say,
    show,
)
from swdb.core.errors import BadInput

if TYPE_CHECKING:
    from swdb.core.progress import Progress
    from swdb.data.dataset import DataSet
    from swdb.data.sources.voc2012 import Sources
    from swdb.specs.study import Study

# Of what an audit of split lists knows, what fits a terminal; the rest is in its sentences and its JSON.
SHOWN = ("List", "Images", "Finely labelled (%)", "Only in SBD", "In val", "Not in VOC")


def prepare_voc(
    context: typer.Context,
    dataset: Annotated[str | None, typer.Option("--dataset", help="The same as --preset.")] = None,
    preset: PresetName = "synthetic",
    voc: Voc = None,
    sbd: Sbd = None,
    image_labels: ImageLabels = "boxes",
    lists: Lists = None,
    download: Download = False,
    available_only: AvailableOnly = False,
    classes: Classes = None,
    require: Require = None,
    name: PartName = None,
    check: Check = False,
    audit_splits: AuditSplits = None,
    again: Annotated[bool, typer.Option("--again", help="Prepare again what is there already.")] = False,
    workdir: Workdir = Path("work"),
    json: Json = False,
) -> None:
    """Prepare a data set in VOC's layout and audit it: draw the embedded one, or import VOC 2012 and SBD.

    \b
    swdb prepare-voc --preset voc --download
    swdb prepare-voc --preset voc --voc VOCtrainval.tar --sbd benchmark.tgz
    swdb prepare-voc --preset voc --voc DIR --available-only --classes cat
    swdb prepare-voc --preset voc --check
    """
    from swdb.data.sources.voc2012 import Sources
    from swdb.study.workdir import note_layout, open_study

    imports = {"--again": again, "--download": download}
    named = {"--voc": voc, "--sbd": sbd, "--lists": lists, "--image-labels": image_labels != "boxes"}
    part_of = {"--available-only": available_only, "--classes": classes, "--require": require, "--name": name}
    if check:
        arguments.refuse_beside("--check", {**imports, **named}, "it looks at what is prepared")
    if audit_splits is not None:
        arguments.refuse_beside(
            "--audit-splits", {"--check": check, **imports, **part_of}, "it reports on lists, and prepares nothing"
        )
    typed = context.get_parameter_source("preset")
    if dataset and preset != dataset and typed is not None and typed.name != "DEFAULT":
        raise BadInput(f"--dataset {dataset}", f"--preset {preset} beside it", "one of them")
    study = open_study(workdir, dataset or preset)
    sources = Sources(voc, sbd, image_labels, lists)
    line: CommandLine = context.obj
    if audit_splits is not None:
        show_splits(line, study, audit_splits, sources, json)
        return
    part = any(part_of.values())
    if part:
        study = replace(study, preset=arguments.part_of(study.preset, name, classes, require, available_only))
    if check:
        show_check(study, json)
        return
    if (old := note_layout(workdir)) is not None:
        say(old)
    found, report = prepare_set(study, sources, download, again)
    show_prepared(found, report, json)
    say(f"next: {following(line, study, found, part)}")


def show_prepared(found: "DataSet", report: dict[str, Any], json: bool) -> None:
    """Show what was prepared, and its audit."""
    from swdb.data.audit import lines
    from swdb.data.dataset import unlike_published

    counts = found.manifest["counts"]
    images = f"{counts['train']} strong, {counts['train_aug']} training, {counts['val']} validation images"
    first = f"{found.root}: {images}, sha256 {found.digest[:16]}"
    show([first, *lines(report)], {"root": str(found.root), **found.manifest, "audit": report}, json)
    if other := unlike_published(found.settings, found.digest):
        say(other)


def prepare_set(study: "Study", sources: "Sources", download: bool, again: bool) -> tuple["DataSet", dict[str, Any]]:
    """Prepare the data set where it is not there yet; returns it and its audit."""
    from swdb.cli import progress
    from swdb.data.audit import verify
    from swdb.data.kinds import facts_of
    from swdb.data.prepare import NO_SOURCES, prepare

    settings, root = study.preset.data, study.folder / "data" / study.preset.data.name
    if facts_of(settings).synthetic and (sources != NO_SOURCES or download):
        where = "--voc, --sbd, --image-labels, --download"
        raise BadInput(where, f"preset {study.preset.name!r} is synthetic", "--preset voc: they go with real images")
    with progress.bar() as bar:
        if (root / "manifest.json").is_file() and not again:
            say(f"{root} is prepared already (--again prepares it again)")
            found = open_prepared(study)
        else:
            if download:
                sources = fetch(study, sources, bar.progress)
            found = prepare(settings, root, sources, bar.progress, again)
        return found, verify(found, bar.progress)


def fetch(study: "Study", sources: "Sources", progress: "Progress") -> "Sources":
    """Download the official archives that no option names, one process at a time."""
    from swdb.core.lease import leased
    from swdb.data.sources import download

    folder, found = study.folder / "downloads", {}
    with leased(folder, "downloading"):
        for option, wanted in (("voc", download.VOC2012), ("sbd", download.SBD)):
            if getattr(sources, option) is None:
                found[option] = download.fetch(wanted, folder, progress(f"download {wanted.name}", 0))
    return replace(sources, **found)


def open_prepared(study: "Study") -> "DataSet":
    """Open what is prepared; a part is opened with the numbers of images that it was found to have."""
    from swdb.data.dataset import counted, load

    settings, root = study.preset.data, study.folder / "data" / study.preset.data.name
    return load(counted(settings, root), root)


def following(line: CommandLine, study: "Study", found: "DataSet", part: bool) -> str:
    """Return the command that follows a preparation; a part gets a preset of its own, which it names."""
    from swdb.specs.presets import write_preset

    preset = study.preset
    if not part:
        unnamed = set(hints.kept_files(preset)) - set(study.files)
        return hints.named_once(line, preset) if unnamed else line.other("make-proxy")
    settings = found.settings
    kept = f"classes {', '.join(settings.classes)}; " if settings.classes else ""
    weak = settings.num_train - settings.num_strong
    title = f"{preset.name}, a part of {found.facts.title}: {kept}{settings.num_strong} strong, {weak} weak, {settings.num_val} val images"
    path = study.folder / "presets" / f"{preset.name}.toml"
    write_preset(path, replace(preset, title=title, data=settings))
    say(f"the part has a preset of its own: {path}")
    return line.other("make-proxy", preset=str(path))


def show_check(study: "Study", json: bool) -> None:
    """Audit a prepared data set against its manifest, and show the report."""
    from swdb.cli import progress
    from swdb.data import audit

    with progress.bar() as bar:
        report = audit.verify(open_prepared(study), bar.progress)
    show(audit.lines(report), report, json)


def show_splits(line: CommandLine, study: "Study", folder: Path, sources: "Sources", json: bool) -> None:
    """Report on list files of other projects, compared with the lists of VOC where those are known."""
    from swdb.data import split_audit
    from swdb.data.dataset import read_lists
    from swdb.data.facts import LISTS
    from swdb.data.sources.voc2012 import reference_lists
    from swdb.data.voc import VOC2012

    root, lists = study.folder / "data" / "voc", None
    if sources.voc is not None:
        lists = reference_lists(sources)
    elif (root / "manifest.json").is_file():
        lists = read_lists(VOC2012, root)
    known = split_audit.Reference(*(frozenset(lists[split]) for split in LISTS)) if lists else None
    report = split_audit.audit_splits(folder, known)
    table = split_audit.as_frame(report)[[*SHOWN]].to_string(index=False)
    show([*table.splitlines(), "", *split_audit.lines(report)], split_audit.as_json(report), json)
    if any(finding.kind == "reference" for finding in report.findings):
        say(f"hint: name VOC's own lists: {line.again('--voc', 'DIR', '--sbd', 'DIR')}")
