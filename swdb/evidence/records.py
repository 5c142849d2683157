"""Whether what a bundle records fits together: specs and plan, plan and records, records and their inputs, lists and digests.

in: a bundle's small files, below a folder -> out: a study with its plan and specs; findings
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.errors import MissingArtefact, SwdbError
from swdb.core.files import damage_of, read_json, tree_root
from swdb.data.dataset import DataSet, load
from swdb.data.kinds import check_settings
from swdb.evidence.bundle_reader import Finding
from swdb.evidence.layout import CONTENTS, OTHERS, About, Listed, finished, place_of, plan_name, preset_name, study_of
from swdb.specs.presets import load_preset
from swdb.specs.study import Study
from swdb.specs.tables import Table, all_runs, cell_source, load_tables
from swdb.study.graph import Graph
from swdb.study.plan import Plan, from_json


@dataclass(frozen=True)
class Recorded:
    """The study of a bundle as it is recorded, below a folder that it was unpacked into."""

    about: About
    study: Study
    plan: Plan
    tables: dict[int, Table]

    @property
    def done(self) -> list[Artefact]:
        """What is finished."""
        return finished(self.plan)

    @property
    def data(self) -> Artefact:
        """The data set; raises MissingArtefact where its manifest is not there."""
        found = next((one for one in self.done if one.kind == "data"), None)
        if found is None:
            raise MissingArtefact("data", "has no manifest", "the record of the data set")
        return found

    @property
    def scores(self) -> list[Artefact]:
        """The scores that are finished."""
        return [one for one in self.done if one.kind == "score"]

    def dataset(self) -> DataSet:
        """Open what a bundle has of the data set."""
        return load(self.study.preset.data, self.data.folder)


def read_recorded(about: About, root: Path) -> Recorded:
    """Read specs and plan; raises BadInput or MissingArtefact for what cannot be read, by its name in the bundle."""
    with named_below(root):
        spec = root / preset_name(about.preset)
        if not spec.is_file():
            raise MissingArtefact(spec, "missing", "the preset")
        preset = load_preset(str(spec))
        check_settings(preset)
        tables = load_tables(root / "specs")
        path = root / plan_name(about.preset)
        found = read_json(path)
        with damage_of(path, "a plan"):
            study = study_of(root, preset, found["study"])
        plan = from_json(study, found, path)
        if unknown := [number for number in about.tables if number not in tables]:
            raise MissingArtefact(f"specs/table{unknown[0]}.toml", "missing", "the spec of a table that is rendered")
        return Recorded(about, study, plan, tables)


class named_below:
    """Let errors about files below a folder name them as the bundle does: the folder is gone when they are read."""

    def __init__(self, root: Path):
        self.root = root

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, SwdbError) and isinstance(error.subject, Path):
            with suppress(ValueError):
                error.subject = error.subject.relative_to(self.root).as_posix()


def faults(recorded: Recorded, listed: Mapping[str, Listed]) -> Iterator[Finding]:
    """Yield what does not fit together."""
    yield from _specs(recorded)
    yield from _planned(recorded)
    yield from _records(recorded)
    yield from _data(recorded, listed)


def _specs(recorded: Recorded) -> Iterator[Finding]:
    preset, where = recorded.study.preset, preset_name(recorded.about.preset)
    if preset.name != recorded.about.preset:
        yield Finding(where, f"is the preset {preset.name!r}", repr(recorded.about.preset))
    if preset.digest() != recorded.plan.study.get("settings"):
        planned = str(recorded.plan.study.get("settings"))[:10]
        yield Finding(where, f"has the settings {preset.digest()[:10]}", f"{planned}, with which the study was planned")


def _planned(recorded: Recorded) -> Iterator[Finding]:
    """Compare the plan with what the specs would plan: the values that everything is made with, and from what."""
    graph, where = Graph(recorded.study, all_runs(recorded.tables)), plan_name(recorded.about.preset)
    rows = {(table.number, row.key): row for table in recorded.tables.values() for row in table.rows}
    columns = {(table.number, one.key): one for table in recorded.tables.values() for one in table.columns}
    for place, score in recorded.plan.scores.items():
        cell = f"table {place.table}, row {place.row}, column {place.column}, seed {place.seed}"
        row, column = rows.get(place[:2]), columns.get((place.table, place.column))
        source = cell_source(row, column, graph.runs) if row and column else None
        if source is None:
            yield Finding(where, f"has a score for {cell}", "the cells of the tables")
            continue
        if (other := _difference(score, graph.score(source, place.seed))) is not None:
            yield Finding(where, f"{cell}: {other} is made with other values than the specs say", "those of the specs")


def _difference(planned: Artefact, expected: Artefact) -> str | None:
    """Return the id of the first artefact, behind a planned one, that the specs would make otherwise; ids may be a newer version's."""
    pairs = zip(with_inputs(planned), with_inputs(expected), strict=False)
    same_length = len(with_inputs(planned)) == len(with_inputs(expected))
    for one, other in pairs:
        if _made_with(one) != _made_with(other):
            return one.id
    return None if same_length else planned.id


def _made_with(artefact: Artefact) -> tuple[str, str, str]:
    """Return what the specs decide of an artefact. Of weights from a file that is its contents: no bundle says what the file
    was called, from which their name comes and, where its contents are not known, their preprocessing.
    """
    if artefact.kind == "weights" and "file" in artefact.key:
        return artefact.kind, "", _plain({name: artefact.key.get(name) for name in ("backbone", "file")})
    return artefact.kind, artefact.name, _plain(artefact.key)


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _records(recorded: Recorded) -> Iterator[Finding]:
    """Compare records with the plan, and the digests of their inputs with those inputs, whoever made them."""
    root, known = recorded.study.folder, defaultdict(set)
    records: dict[str, dict[str, Any]] = {}
    for one in recorded.done:
        with named_below(root):
            records[one.id] = one.read_record()
            known[one.id].add(one.digest())
            for other in sorted((root / OTHERS).glob(f"*/{place_of(one, root)}/{one.record_name}")):
                known[one.id].add(replace(one, folder=other.parent).digest())
    for one in recorded.done:
        record, where = records[one.id], f"{place_of(one, root)}/{one.record_name}"
        if one.kind != "data" and (record.get("id"), _plain(record.get("key"))) != (one.id, _plain(one.key)):
            yield Finding(where, f"is the record of {str(record.get('id'))[:100]}, or of other values", one.id)
        then = record.get("inputs", {})
        if not isinstance(then, dict):
            yield Finding(where, "names no inputs", "their digests by id")
            continue
        for other in one.inputs:
            if one.kind == "score" and other.kind == "run" and not other.done:
                yield Finding(
                    f"{place_of(other, root)}/{other.record_name}", f"missing, and {one.id} is its score", "its record"
                )
            if other.id in records and str(then.get(other.id)) not in known[other.id]:
                made_from = str(then.get(other.id))[:10]
                yield Finding(where, f"was made from {other.id} of digest {made_from}", "one that is in the bundle")


def _data(recorded: Recorded, listed: Mapping[str, Listed]) -> Iterator[Finding]:
    """Compare the data set's digest with those of its files, and these with the lists and true masks that are there."""
    place = place_of(recorded.data, recorded.study.folder)
    where = f"{place}/{CONTENTS}"
    with named_below(recorded.study.folder):
        contents = read_contents(recorded)
        digest = recorded.data.digest()
    root = tree_root({Path(name): content for name, content in contents.items()})
    if root != digest:
        yield Finding(where, f"its digests come to {root[:10]}", f"the data set's, {digest[:10]}")
    for name, one in listed.items():
        inner = name.removeprefix(f"{place}/")
        if inner in contents and inner != name and contents[inner] != one.sha256:
            yield Finding(name, f"is not the data set's (sha256 {one.sha256[:10]})", f"sha256 {contents[inner][:10]}")


def read_contents(recorded: Recorded) -> dict[str, str]:
    """Return the sha256 of the data set's files by their names in it."""
    path = recorded.data.folder / CONTENTS
    found = read_json(path)
    with damage_of(path, "digests by name"):
        if not all(type(value) is str for value in found.values()):
            raise TypeError
        return found
