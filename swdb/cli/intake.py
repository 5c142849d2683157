"""What `swdb prepare-voc` does: take in a data set, check one, audit other projects' lists; with progress, for people.

in: a work directory and what was typed -> out: what is shown, as lines and as JSON
"""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swdb.cli import arguments, console
from swdb.core.errors import BadInput
from swdb.core.files import read_json
from swdb.data import audit, dataset, split_lists, voc
from swdb.data.prepare import prepare
from swdb.data.sources import download
from swdb.data.sources.voc2012 import Sources, reference_lists
from swdb.specs.presets import write_preset
from swdb.study.plan import Work

# Of what an audit of split lists knows, what fits a terminal; the rest is in its sentences and its JSON.
SHOWN = ("List", "Images", "Finely labelled (%)", "Only in SBD", "In val", "Not in VOC")


@dataclass(frozen=True)
class Shown:
    """What a command found out."""

    lines: list[str]
    values: Any  # JSON-ready


def part_of(work: Work, name: str | None, classes: str | None, require: str | None, available_only: bool) -> Work:
    """Return the work with a preset for a part of its data set; proposed commands name the part again."""
    preset = arguments.subset(work.preset, name, classes, require, available_only)
    named = {"classes": classes, "require": require, "name": name}
    options = [f"--{key} {shlex.quote(value)}" for key, value in named.items() if value]
    return replace(work, preset=preset, part=" ".join(["--available-only"] * available_only + options))


def prepare_set(work: Work, sources: Sources, download: bool, again: bool) -> tuple[Shown, str]:
    """Prepare the data set where it is not there yet; returns what to show and the command that follows."""
    data, root = work.preset.data, work.data_root
    if data.dataset != "voc" and (sources != Sources() or download):
        raise BadInput(
            f"--voc, --sbd, --image-labels and --download go with photographs, but preset {work.preset.name!r} is drawn; expected --preset voc"
        )
    with console.bar() as bar:
        if (root / "manifest.json").is_file() and not again:
            console.say(f"{root} is prepared already (--again prepares it anew)")
            found = _open_prepared(work)
            report = audit.verify(found, bar.stage)
        else:
            if download:
                sources = _fetch(work, sources, bar.stage)
            found = prepare(data, root, sources, bar.stage, work.where)
            report = audit.audit(found, bar.stage, found.mend)
    following = f"swdb make-proxy {work.options}{work.lacking}"
    if work.part:
        path = _write_part(work, found)
        console.say(f"the part has a preset of its own: {path}")
        following = f"swdb make-proxy {replace(work, asked=(('preset', str(path)),), part='').options}"
    counts = found.manifest["counts"]
    first = f"{root}: {counts['train']} strong, {counts['train_aug']} training, {counts['val']} validation images, sha256 {found.manifest['tree_root'][:16]}"
    return Shown([first, *audit.lines(report)], {"root": str(root), **found.manifest, "audit": report}), following


def check(work: Work) -> Shown:
    """Audit a prepared data set against its manifest."""
    with console.bar() as bar:
        report = audit.verify(_open_prepared(work), bar.stage)
    return Shown(audit.lines(report), report)


def audit_splits(work: Work, folder: Path, sources: Sources) -> Shown:
    """Report on list files of other projects, compared with the lists of VOC where those are known."""
    mend = f"swdb prepare-voc --audit-splits {shlex.quote(str(folder))} --voc DIR --sbd DIR"
    reference = None
    if sources.voc is not None:
        reference = reference_lists(sources, mend)
    elif (work.folder / "data" / "voc" / "manifest.json").is_file():
        root = work.folder / "data" / "voc"
        reference = {split: voc.split_path(root, split).read_text().split() for split in dataset.LISTS}
    known = reference and split_lists.Reference(*(frozenset(reference[split]) for split in dataset.LISTS))
    report = split_lists.audit_splits(folder, known, mend)
    table = split_lists.as_frame(report)[[*SHOWN]].to_string(index=False)
    return Shown([*table.splitlines(), "", *split_lists.lines(report)], split_lists.as_json(report))


def _open_prepared(work: Work) -> dataset.DataSet:
    """Open what is prepared; a part is opened with the numbers of images that it was found to have."""
    data, path = work.preset.data, work.data_root / "manifest.json"
    if not data.num_train and path.is_file():
        noted = read_json(path, f"swdb prepare-voc {work.where} --again")
        try:
            strong, train, val = (noted["counts"][split] for split in dataset.LISTS)
            data = replace(data, num_strong=strong, num_train=train, num_val=val)
        except (TypeError, KeyError):
            pass  # load says what is damaged
    return dataset.load(data, work.folder, work.where)


def _fetch(work: Work, sources: Sources, stage) -> Sources:
    """Download the official archives that no option names."""
    folder, found = work.folder / "downloads", {}
    for option, wanted in (("voc", download.VOC2012), ("sbd", download.SBD)):
        if getattr(sources, option) is None:
            by_hand = {"voc": Path(download.VOC2012.name), "sbd": Path(download.SBD.name)}
            named = {"voc": sources.voc, "sbd": sources.sbd, **found}
            whole = replace(sources, **{key: named[key] or by_hand[key] for key in named})
            mend = f"swdb prepare-voc {work.where}{whole.options()}"
            found[option] = download.fetch(wanted, folder, stage(f"download {wanted.name}", 0), mend)
    return replace(sources, **found)


def _write_part(work: Work, found: dataset.DataSet) -> Path:
    """Write the preset of a part, with the numbers of images that were found."""
    data = found.data
    kept = f"classes {', '.join(data.classes)}; " if data.classes else ""
    title = f"{work.preset.name}, a part of PASCAL VOC 2012: {kept}{data.num_strong} strong, {data.num_train - data.num_strong} weak, {data.num_val} val images"
    path = work.folder / "presets" / f"{work.preset.name}.toml"
    write_preset(path, replace(work.preset, title=title, data=data))
    return path
