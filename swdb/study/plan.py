"""The plan of a study, written down when it starts: which score stands behind which cell, made from which run and inputs.

Whatever prints results reads the plan and the records that it leads to, so a finished study can be printed when the
files that were named to it are gone, or when a later version would plan other ids.

in: tables, rows, seeds -> out: `plan.json` among the study's reports; and back
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json, write_json
from swdb.core.lease import leased
from swdb.core.names import is_inner_path, is_plain_name
from swdb.specs.study import Study
from swdb.specs.tables import Row, Table, cell_name, cell_source
from swdb.study.graph import Graph

VERSION = 1  # of plan.json


class Place(NamedTuple):
    """Where a value stands."""

    table: int
    row: str
    column: str
    seed: int

    @property
    def cell(self) -> str:
        """The cell as claims name it."""
        return cell_name(self.table, self.row, self.column)


@dataclass(frozen=True)
class Plan:
    """What a study makes: a score for each cell and seed."""

    study: dict[str, Any]  # what tells this study from others in one work directory: settings, precision, files
    scores: Mapping[Place, Artefact]
    beside: tuple[Artefact, ...] = ()  # what else is made with them: diagnoses, scores of the paper read in another way

    @property
    def artefacts(self) -> list[Artefact]:
        """All that is made, inputs first."""
        return with_inputs(*self.scores.values(), *self.beside)

    def is_of(self, study: Study) -> bool:
        """Whether this is the plan of a study, as far as that knows its files: they may be gone since."""
        identity, files = identity_of(study), self.study["files"]
        known = all(files.get(name) == digests for name, digests in identity["files"].items())
        return known and {**identity, "files": files} == self.study

    def cells(self, table: int) -> dict[tuple[str, str], dict[int, Artefact]]:
        """Return the scores of a table by row and column, and by seed."""
        found: dict[tuple[str, str], dict[int, Artefact]] = {}
        for (number, row, column, seed), score in self.scores.items():
            if number == table:
                found.setdefault((row, column), {})[seed] = score
        return found

    def part(self, rows: Container[tuple[int, str]] | None = None, seeds: Container[int] | None = None) -> "Plan":
        """Return the scores of this plan with some rows (table, row) and some seeds only; None: all."""

        def chosen(place: Place) -> bool:
            return (rows is None or place[:2] in rows) and (seeds is None or place.seed in seeds)

        scores = {place: score for place, score in self.scores.items() if chosen(place)}
        return replace(self, scores=scores, beside=())

    def extended(self, other: "Plan | None") -> "Plan":
        """Return this plan with what another one has and it has not itself."""
        if other is None:
            return self
        beside = {one.id: one for one in (*other.beside, *self.beside)}
        return replace(self, scores={**other.scores, **self.scores}, beside=tuple(beside.values()))


def mious(scores: Mapping[Any, Artefact]) -> dict[str, dict[int, float]]:
    """Return the mIoU of finished scores by cell and seed, as their places have them: those of a plan, or of readings."""
    found: dict[str, dict[int, float]] = {}
    for place, score in scores.items():
        if score.done:
            found.setdefault(place.cell, {})[place.seed] = score.read_record()["miou"]
    return found


def identity_of(study: Study) -> dict[str, Any]:
    """Return what tells a study from others of the same preset's name."""
    files = {name: dict(file.digests) for name, file in study.files.items()}
    own = {"proxy_seeds": True} if study.proxy_seeds else {}
    return {"settings": study.preset.digest(), "precision": study.precision, "files": files, **own}


def make_plan(graph: Graph, rows: Iterable[tuple[Table, Row]], seeds: Iterable[int]) -> Plan:
    """Plan the cells of rows: seed after seed, so that whoever stops early has whole tables with fewer seeds.

    Cells whose runs cannot be built on the preset's backbone are left out: nobody can run them.
    """
    rows, scores = list(rows), {}
    for seed in seeds:
        for table, row in rows:
            for column in table.columns:
                source = cell_source(row, column, graph.runs)
                if source is not None and graph.can_make(*source.runs):
                    scores[Place(table.number, row.key, column.key, seed)] = graph.score(source, seed)
    return Plan(identity_of(graph.study), scores)


# ---------------------------------------------------------------- on disk


def plan_path(study: Study) -> Path:
    """Return where a study's plan lies."""
    return study.reports / "plan.json"


def write_plan(study: Study, plan: Plan) -> Plan:
    """Write a plan, with what an earlier one of the same study planned besides; returns both together."""
    path = plan_path(study)
    with leased(path, "writing the plan"):
        try:
            earlier = read_plan(study)
        except MissingArtefact:
            earlier = None  # of another version, or damaged: this one takes its place
        whole = plan.extended(earlier if earlier and earlier.study == plan.study else None)
        write_json(path, to_json(study, whole))
    return whole


def read_plan(study: Study) -> Plan | None:
    """Read a study's plan, None where there is none; raises MissingArtefact for another version and for damage."""
    path = plan_path(study)
    return from_json(study, read_json(path), path) if path.is_file() else None


def from_json(study: Study, found: Any, path: Path) -> Plan:
    """Rebuild a plan from what `path` says; raises MissingArtefact for another version and for damage."""
    try:
        if found["version"] != VERSION:
            raise MissingArtefact(path, f"a plan of version {found['version']}", f"version {VERSION}")
        artefacts = _artefacts(study.folder, found["artefacts"])
        scores = {
            Place(cell["table"], cell["row"], cell["column"], _seed(cell["seed"])): artefacts[cell["score"]]
            for cell in found["cells"]
        }
        if not isinstance(found["study"]["files"], dict):
            raise TypeError
        for place, score in scores.items():
            if any(run.key.get("seed", place.seed) != place.seed for run in score.inputs_of("run")):
                raise TypeError  # a score would stand under a seed that its runs do not have
        return Plan(found["study"], scores, tuple(artefacts[other] for other in found.get("beside", ())))
    except (KeyError, TypeError, AttributeError):
        raise MissingArtefact(path, "damaged", "a plan") from None


def _seed(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise TypeError
    return value


def to_json(study: Study, plan: Plan) -> dict[str, Any]:
    """Return what a plan's file says."""
    cells = [
        {
            "table": table,
            "row": row,
            "column": column,
            "seed": seed,
            "runs": [run.id for run in score.inputs_of("run")],
            "score": score.id,
        }
        for (table, row, column, seed), score in plan.scores.items()
    ]
    artefacts = {
        artefact.id: {
            "kind": artefact.kind,
            "name": artefact.name,
            "folder": artefact.folder.relative_to(study.folder).as_posix(),
            "record": artefact.record_name,
            "inputs": [other.id for other in artefact.inputs],
            "steps": artefact.steps,
            "key": artefact.key,
        }
        for artefact in plan.artefacts
    }
    return {
        "version": VERSION,
        "preset": study.preset.name,
        "study": plan.study,
        "cells": cells,
        **({"beside": [artefact.id for artefact in plan.beside]} if plan.beside else {}),
        "artefacts": artefacts,
    }


def _artefacts(folder: Path, entries: Mapping[str, Any]) -> dict[str, Artefact]:
    """Rebuild planned artefacts; inputs stand before what is made from them."""
    found: dict[str, Artefact] = {}
    for identity, entry in entries.items():
        if not (is_plain_name(identity) and is_inner_path(entry["folder"]) and is_plain_name(entry["record"])):
            raise TypeError  # leads elsewhere than below the work directory
        found[identity] = Artefact(
            kind=entry["kind"],
            name=entry["name"],
            id=identity,
            folder=folder / entry["folder"],
            key=entry["key"],
            inputs=tuple(found[other] for other in entry["inputs"]),
            steps=entry["steps"],
            record_name=entry["record"],
        )
    return found
