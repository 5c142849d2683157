"""From an error and the command line to the command that helps: the one place that knows both.

in: an error with its subject, the command line -> out: one line, or nothing where the error says it all

What knows data sets is imported where it is asked, so that `swdb --help` answers at once.
"""

import re
from dataclasses import replace
from pathlib import Path

from swdb.cli.command_line import CommandLine, quoted
from swdb.cli.terminal import STDOUT
from swdb.core.artefact import FOLDERS
from swdb.core.errors import (
    BadInput,
    DiskRefused,
    IncompleteSource,
    LeaseLost,
    MissingArtefact,
    NotMade,
    NotNamed,
    NotOurs,
    OtherStudy,
    SwdbError,
)
from swdb.specs.presets import Preset, load_preset

DIAGNOSES = ("val.json", "quality.json")  # beside the masks: what DSRG's own network scores, and how good they are
WRITTEN = ("output", "junit", "summary")  # options that name what is written outside the work directory
ANIMALS_LISTS = "results/voc-animals/lists"  # below the checkout: the images that the presets of animals count on
SOURCES = ("--voc", "--sbd", "--image-labels", "--lists")


def hint(error: SwdbError, line: CommandLine) -> str:
    """Return what helps against an error, most of the time a command."""
    if error.near:
        return f"did you mean {error.near!r}?"
    if isinstance(error, NotNamed):
        return f"name it once: {named_once(line)}"
    if error.subject == STDOUT:
        return f"what was made is kept; see it with: {line.again()}"
    if isinstance(error, NotOurs):
        return f"move that elsewhere, then run again: {line.again()}"
    if isinstance(error, DiskRefused):
        full = "full" in error.found
        return f"free some space, then run again: {line.again()}" if full else _another_place(error.subject, line)
    if isinstance(error, IncompleteSource):
        part = line.again("--available-only", "--name", "NAME")
        return f"complete the source and run the same command again, or import what is there: {part}"
    if isinstance(error, OtherStudy):
        return "leave one of the two out: bundles of one study are merged, each with seeds of its own"
    if isinstance(error, LeaseLost):
        return f"run again: {line.again()}"
    if isinstance(error.subject, Path):
        return _about_path(error, error.subject, line)
    return _about_words(error, error.subject, line)


def _another_place(subject: Path | str, line: CommandLine) -> str:
    """Name the option that says where what the disk refused was to be written: one that was typed, else the work directory."""
    for name in WRITTEN:
        if (place := line.option(name)) is not None and Path(subject).absolute().is_relative_to(Path(place).absolute()):
            return f"choose another place with --{name} {'DIR' if line.verb == 'rescore' else 'FILE'}"
    if line.verb in ("merge", "rescore"):  # which have no work directory: it is where temporary files go
        return "choose another place for temporary files with TMPDIR"
    return "choose another place with --workdir DIR"


def _without(words: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return words without an option and its value."""
    before = ("", *words)
    return tuple(
        word for word, last in zip(words, before, strict=False) if name not in (word, last, word.partition("=")[0])
    )


def named_once(line: CommandLine, preset: Preset | None = None) -> str:
    """Return the command that names the files which a preset cannot do without."""
    preset = preset or _preset(line)
    lacking = []
    if preset is not None and preset.network.weights == "file":
        lacking += ["--weights", line.option("weights") or "FILE"]
    if preset is not None and preset.proxy.cues == "file":
        lacking += ["--cues", line.option("cues") or "localization_cues.pickle.gz"]
    return line.other("make-proxy", *lacking, kept=("weights", "cues"))


def kept_files(preset: Preset) -> tuple[str, ...]:
    """Name the files that a work directory keeps for a preset."""
    kinds = {"weights": preset.network.weights, "cues": preset.proxy.cues}
    return tuple(name for name, value in kinds.items() if value == "file")


def prepare_again(line: CommandLine, prepared: bool) -> str:
    """Return the command that prepares the data set of a command line, with sources where it needs some."""
    if line.verb == "prepare-voc":
        return line.again(*(["--again"] if prepared else []), *_sources(line), without="--check")
    return line.other("prepare-voc", *(["--again"] if prepared else []), *_sources(line))


def _sources(line: CommandLine) -> list[str]:
    """Return the options that name sources: none for drawn data, what is needed by hand, or the download."""
    from swdb.data.kinds import facts_of

    preset = _preset(line)
    if preset is None or facts_of(preset.data).synthetic or line.option("voc"):
        return []
    if not preset.data.available_only:
        return ["--download"]
    animals = preset.data.name.startswith("voc-animals") and not line.option("lists")
    lists = ["--lists", ANIMALS_LISTS] if animals else []
    return ["--voc", "DIR", "--sbd", "DIR", *lists]


def _preset(line: CommandLine) -> Preset | None:
    try:
        return load_preset(line.preset)
    except SwdbError:
        return None


def _about_path(error: SwdbError, path: Path, line: CommandLine) -> str:
    """Return what helps where a file or folder is the matter: by where it lies in the work directory."""
    parts = line.place_in_workdir(path)
    if parts is None:
        return f"fix or replace it, then run again: {line.again()}"
    place, kind = quoted(str(path)), parts[0] if parts else ""
    if kind == "swdb.json" and isinstance(error, BadInput):  # of a newer swdb
        return "choose another place with --workdir DIR"
    if parts[-1:] == ("plan.json",) and isinstance(error, NotMade):
        return f"begin with: {line.other('reproduce-table', 'all')}"
    if kind in ("swdb.json", "precision.json", "downloads") or parts[-1:] in (("plan.json",), ("jobs.json",)):
        return f"delete it, then run again: rm {place}"
    if kind == "preregistration.json":
        return f"put back what was registered, or move it elsewhere and register anew: {line.other('preregister')}"
    if kind == "inputs" and parts[-1] == "named.json":
        return f"delete it, then name the files again: rm {place}"
    if kind == "inputs":
        return f"name the files again: {named_once(line)}"
    if kind == "data":
        return f"prepare it: {prepare_again(line, not isinstance(error, NotMade))}"
    if kind in FOLDERS and "evals" in parts:
        folder = line.workdir.joinpath(*parts[:4])
        return f"delete it, then run again: rm -r {quoted(str(folder))}"
    if kind == "proxies" and parts[-1] in DIAGNOSES:  # the masks beside it stay, which took hours
        return f"delete it, then run again: rm {place}"
    if kind in FOLDERS and len(parts) > 1:
        return _about_artefact(line, kind, parts[1], isinstance(error, NotMade))
    return f"run again: {line.again()}"


def _about_artefact(line: CommandLine, kind: str, identity: str, not_made: bool) -> str:
    """Return the command that makes an artefact: again where something of it is damaged, a run with its inputs."""
    preset = _preset(line)
    kept = kept_files(preset) if preset else ()
    if not not_made and (line.workdir / kind / identity).exists():
        return f"make it again: {line.other('make', identity, '--again', kept=kept)}"
    if kind == "runs" and line.verb != "make":
        return f"train it: {line.other('train', identity.rpartition('-')[0], kept=kept)}"
    return f"make it: {line.other('make', identity, kept=kept)}"


def _is_source(subject: str) -> bool:
    """Whether a source of a data set is meant: an option that names one, or what is in it."""
    if subject.startswith("--"):
        return subject.partition(" ")[0] in SOURCES
    return not subject.startswith(("preset ", "key "))


def _about_words(error: SwdbError, subject: str, line: CommandLine) -> str:
    """Return what helps where something typed, a source, or a download is the matter."""
    if subject.startswith("http"):
        from swdb.data.sources.download import SBD, VOC2012

        by_hand = line.other("prepare-voc", "--voc", VOC2012.name, "--sbd", SBD.name)
        return f"try again later, it goes on where it was; or fetch it elsewhere and run: {by_hand}"
    if subject.startswith(("--weights ", "--cues ")) and str(line.workdir / "inputs") in subject:
        return f"name the files again: {named_once(line)}"
    if line.verb == "prepare-voc" and _is_source(subject):
        return f"fix the source, then run again: {line.again()}"
    if subject.partition(" ")[0] == "swdb":
        return f"{subject} --help"
    if subject.startswith("--saliency"):
        return f"name other maps, or forget them: {line.other('make-proxy', '--saliency', 'none')}"
    if subject.startswith("--data"):
        return f"name it, prepared: {replace(line, words=_without(line.words, '--data')).again('--data', 'DIR')}"
    if subject.startswith("bundle ") and error.found == "missing":
        return f"write one: {line.other('bundle')}"
    if subject.startswith("bundle "):
        return "ask whoever wrote it for the file as it was written"
    if subject.startswith("--workdir "):
        return "choose another place with --workdir DIR"
    if subject == "--on slurm" and "submitit" in error.found:
        return "in swdb's checkout: pip install '.[slurm]'"
    if subject.startswith("package ") and (extra := re.search(r"swdb(\[\w+\])", error.expected)):
        return f"in swdb's checkout: pip install '.{extra[1]}'"
    if subject.startswith("id "):
        return f"see the ids of this study: {line.other('reproduce-table', 'all', '--dry-run')}"
    if subject.startswith("--"):
        return f"swdb {line.verb} --help" if line.verb else "swdb --help"
    return f"run again: {line.again()}" if isinstance(error, MissingArtefact) else ""
