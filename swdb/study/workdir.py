"""Opening a work directory at a preset: what was typed, and what the directory remembers.

A directory remembers in which precision it computes, and the files that a preset cannot do without: named once, they are
kept in `inputs/`, and their sha256 beside them, so that ids can be planned when the files are gone.

in: a folder, a preset's name, what was typed -> out: a `Study`
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swdb.core.errors import BadInput, DiskRefused, MissingArtefact
from swdb.core.files import damage_of, file_digest, read_json, sweep_temporary, write_atomic, write_json
from swdb.core.lease import leased
from swdb.core.processor import has_fast_bf16, may_have_gpu
from swdb.data.kinds import check_settings
from swdb.proxy.saliency import saliency_digest
from swdb.proxy.sec_cues import CUE_LIST, cue_digests
from swdb.specs.preprocessing import Preprocessing, read_preprocessing, written
from swdb.specs.presets import PRECISIONS, load_preset
from swdb.specs.study import LAYOUT, NamedFile, Study

LAYOUT_VERSION = 2  # of the work directory; 1 was swdb 0.1's, which had no file that said so
PRECISION = "precision.json"
FORGET = "none"  # in place of a folder of saliency maps
NAMED = "the files that were named"


@dataclass(frozen=True)
class Named:
    """The files that were typed with a command, and what was declared of them; None where nothing was."""

    weights: Path | None = None
    cues: Path | None = None
    saliency: Path | None = None
    preprocessing: str | None = None


def open_study(
    folder: Path,
    preset_name: str,
    precision: str | None = None,
    named: Named | None = None,
    remember: bool = True,
    proxy_seeds: bool = False,
) -> Study:
    """Open a work directory at a preset.

    `precision`: as typed, else the preset's, the directory's, or that of its plan; where none of them says, what this
    machine would choose, which nobody is held to. `remember`: whether named files are kept. `proxy_seeds`: whether every
    seed has proxies of its own.
    """
    named = named or Named()
    preset = load_preset(preset_name)
    check_settings(preset)
    _check_place(folder)
    _check_layout(folder)
    if named.cues is not None and preset.proxy.cues != "file":
        preset = replace(preset, proxy=replace(preset.proxy, cues="file"))
        kept_cues = False
    else:
        kept_cues = preset.proxy.cues == "file"
    if named.saliency is not None and preset.proxy.cues == "file":
        raise BadInput(
            f"--saliency {named.saliency}", "cues from a file say themselves where background is", "no --saliency"
        )
    memory = _Memory(folder / "inputs" / preset.name, remember)
    declared = None if named.preprocessing is None else read_preprocessing(named.preprocessing)
    kept_weights = preset.network.weights == "file"
    weights = memory.file("weights", named.weights, _weights_digests, kept_weights)
    if declared is not None:
        if weights is None:
            found = "says how images are made into inputs for weights from a file, and none is named"
            raise BadInput(f"--preprocessing {named.preprocessing}", found, "--weights FILE beside it")
        weights = memory.declared(weights, declared, kept_weights)
    files = {
        "weights": weights,
        "cues": memory.file("cues", named.cues, cue_digests, kept_cues),
        "saliency": memory.saliency(named.saliency) if preset.proxy.cues == "classifier" else None,
    }
    named_files = {name: file for name, file in files.items() if file is not None}
    study = Study(folder, preset, "fp32", named_files, preset.compile, proxy_seeds)
    return replace(study, precision=precision or known_precision(study) or _assumed_precision())


# ---------------------------------------------------------------- precision


def known_precision(study: Study) -> str | None:
    """Return the precision that the preset, the work directory or its plan says; None where none does yet."""
    if study.preset.precision != "auto":
        return study.preset.precision
    path = study.folder / PRECISION
    if path.is_file():
        stored = read_json(path)
        precision = stored.get("precision") if isinstance(stored, dict) else None
        if precision not in PRECISIONS:
            raise MissingArtefact(path, f"names the precision {precision!r}", " or ".join(PRECISIONS))
        return precision
    try:
        planned = read_json(study.reports / "plan.json")["study"]["precision"]
    except (MissingArtefact, KeyError, TypeError):
        return None
    return planned if planned in PRECISIONS else None


def decide_precision(study: Study, choose: Callable[[], tuple[str, dict[str, Any]]]) -> Study:
    """Return the study in the precision that is known or, where none is, in what the machine that trains first chooses.

    `choose` returns the precision and what it was chosen by; it is asked once for a work directory.
    """
    if (known := known_precision(study)) is not None:
        return replace(study, precision=known)
    with leased(study.folder / PRECISION, "choosing the precision"):
        if (known := known_precision(study)) is None:
            known, because = choose()
            write_json(study.folder / PRECISION, {"precision": known, "because": because})
    return replace(study, precision=known)


def _assumed_precision() -> str:
    """Return what this machine would probably choose, without loading torch to ask it."""
    return "bf16" if has_fast_bf16() or may_have_gpu() else "fp32"


# ---------------------------------------------------------------- the layout


def _check_place(folder: Path) -> None:
    """Refuse a work directory that can be none, also where nothing would be written yet."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        found = "is no folder" if there == folder else f"{there} is no folder"
        raise BadInput(f"--workdir {folder}", found, "a folder, or a new name")


def _check_layout(folder: Path) -> None:
    path = folder / LAYOUT
    if not path.is_file():
        return
    found = read_json(path)
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, int) or version < LAYOUT_VERSION:
        raise MissingArtefact(path, "damaged", f"the version of the work directory, {LAYOUT_VERSION}")
    if version > LAYOUT_VERSION:
        raise BadInput(path, f"version {version}, of a newer swdb", f"version {LAYOUT_VERSION}")


def note_layout(folder: Path) -> str | None:
    """Note that this version works in a directory; returns what to say where version 0.1 did before."""
    if (folder / LAYOUT).is_file():
        return None
    old = [name for name in ("weights", "cues", "proxies", "runs") if _holds_old(folder, name)]
    write_json(folder / LAYOUT, {"version": LAYOUT_VERSION})
    if not old:
        return None
    return (
        f"{folder} was made by swdb 0.1: its data sets and named files are kept; {', '.join(old)} are made again under "
        f"new ids, and the old ones can be deleted"
    )


def _holds_old(folder: Path, name: str) -> bool:
    """Whether a folder of artefacts holds one of version 0.1, whose records name no kind."""
    for path in folder.glob(f"{name}/*/done.json"):
        with contextlib.suppress(MissingArtefact):
            found = read_json(path)
            if isinstance(found, dict) and "kind" not in found:
                return True
    return False


# ---------------------------------------------------------------- files that were named


@dataclass(frozen=True)
class _Memory:
    """What a work directory remembers of the files named for a preset: `<folder>/named.json`, and copies."""

    folder: Path
    remember: bool

    def file(
        self, kind: str, named: Path | None, digests: Callable[[Path], dict[str, str]], kept: bool
    ) -> NamedFile | None:
        """Return the file that was named now or, of `kept` kinds, before; keeps what is named of those."""
        option = f"--{kind}"
        if named is None:
            return self._recall(kind, digests) if kept else None
        if not named.is_file():
            raise MissingArtefact(f"{option} {named}", "no such file")
        found = NamedFile(named, digests(named))
        if not kept or not self.remember:
            return found
        for folder in (self.folder, self.folder / kind):
            if folder.is_symlink():
                raise DiskRefused(folder, "is a link", "a folder of its own: files that are kept are written there")
        with leased(self.folder, f"keeping {option} {named}"):
            sweep_temporary(self.folder / kind)
            companions = [named.with_name(CUE_LIST)] if kind == "cues" and named.with_name(CUE_LIST).is_file() else []
            for path in (named, *companions):
                write_atomic(self.folder / kind / path.name, lambda stream, path=path: stream.write(path.read_bytes()))
            found = NamedFile(self.folder / kind / named.name, self._as_declared(kind, found.digests))
            before = self._noted_before(kind)
            self._note(kind, found)
            # What is kept may have been named itself: only what was not, and what was kept here before, is deleted, and last.
            kept_now = {self.folder / kind / path.name for path in (named, *companions)}
            for old in before - kept_now:
                old.unlink(missing_ok=True)
        return found

    def declared(self, weights: NamedFile, preprocessing: Preprocessing, kept: bool) -> NamedFile:
        """Return weights with the preprocessing that was declared of them; notes it where they are `kept`."""
        found = NamedFile(weights.path, {**weights.digests, "preprocessing": written(preprocessing)})
        if kept and self.remember:
            with leased(self.folder, "noting --preprocessing"):
                self._note("weights", found)
        return found

    def _as_declared(self, kind: str, digests: Mapping[str, str]) -> dict[str, str]:
        """Add what was declared of the same bytes before: it belongs to them."""
        noted = self._read_whole().get(kind)
        before = {} if noted is None or noted.digests.get("file") != digests["file"] else noted.digests
        return {**{name: text for name, text in before.items() if name == "preprocessing"}, **digests}

    def _noted_before(self, kind: str) -> set[Path]:
        """Return the files that an earlier command kept here, as its note says: no others are ours to delete."""
        noted = self._read_whole().get(kind)
        if noted is None or noted.path.parent != self.folder / kind:
            return set()
        return {noted.path, noted.path.with_name(CUE_LIST)} if kind == "cues" else {noted.path}

    def saliency(self, named: Path | None) -> NamedFile | None:
        """Return the folder of saliency maps that was named now or before; notes it, or forgets it for `none`."""
        if named is None:
            return self._recall("saliency", None)
        if str(named) == FORGET:
            if self.remember and self.folder.exists():
                with leased(self.folder, "forgetting --saliency"):
                    self._note("saliency", None)
            return None
        if not named.is_dir():
            raise BadInput(f"--saliency {named}", "no such folder", "one with a grey <id>.png for every training image")
        found = NamedFile(named.resolve(), {"saliency": saliency_digest(named)})
        if self.remember:
            with leased(self.folder, f"noting --saliency {named}"):
                self._note("saliency", found)
        return found

    def _recall(self, kind: str, digests: Callable[[Path], dict[str, str]] | None) -> NamedFile | None:
        """Return what is noted; of a directory of version 0.1, which noted nothing, what is kept there."""
        noted = self._read().get(kind)
        if noted is not None:
            return noted
        if digests is None:
            old = self.folder / "saliency.json"
            if not old.is_file():
                return None
            with damage_of(old, NAMED):
                found = read_json(old)
                return _noted(self.folder, found["folder"], {"saliency": found["sha256"]})
        kept = next((path for path in sorted((self.folder / kind).glob("[!.]*")) if path.name != CUE_LIST), None)
        return None if kept is None else NamedFile(kept, digests(kept))

    def _read(self) -> dict[str, NamedFile]:
        """Read what is noted, by kind; files that are kept are noted by their place in this folder."""
        path = self.folder / "named.json"
        if not path.is_file():
            return {}
        with damage_of(path, NAMED):
            found = read_json(path)
            return {kind: _noted(self.folder, one["path"], one["digests"]) for kind, one in found.items()}

    def _read_whole(self) -> dict[str, NamedFile]:
        """Read what is noted; nothing where that is damaged: what is named now is a beginning."""
        try:
            return self._read()
        except MissingArtefact:
            return {}

    def _note(self, kind: str, file: NamedFile | None) -> None:
        noted = self._read_whole()
        noted.pop(kind, None)
        if file is not None:
            noted[kind] = file
        if kind == "saliency":
            (self.folder / "saliency.json").unlink(missing_ok=True)  # version 0.1's note
        entries = {name: {"path": self._place(one.path), "digests": dict(one.digests)} for name, one in noted.items()}
        write_json(self.folder / "named.json", entries)

    def _place(self, path: Path) -> str:
        """Return how a path is noted: of what is kept here, so that the work directory can be moved."""
        return str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path)


def _noted(folder: Path, path: Any, digests: Any) -> NamedFile:
    """Return a file as it is noted; raises TypeError for what no note says."""
    values = digests.values()
    if not isinstance(path, str) or not digests or not all(isinstance(value, str) for value in values):
        raise TypeError
    return NamedFile(folder / path, digests)


def _weights_digests(path: Path) -> dict[str, str]:
    """Return the sha256 of a file of weights and, of those that a work directory made, the preprocessing in their record."""
    digests, record = {"file": file_digest(path)}, path.with_name("done.json")
    if record.is_file():
        with contextlib.suppress(MissingArtefact, AttributeError, KeyError, TypeError):
            made = read_json(record)
            if digests["file"] in (made["digest"], made.get("training", {}).get("weights_sha256")):
                digests["preprocessing"] = written(Preprocessing(**made["preprocessing"]))
    return digests
