"""What the paper leaves open, read in another way: which trainings that changes, and which claims it touches. Pure Python.

A reading stands beside the tables and leaves them as they are: it names trainings of theirs, and for each there is one more,
with other values. A cell under the reading is scored from those in place of its own.

in: `tables/sensitivity.toml`, the tables -> out: readings with their trainings, or one error naming reading and key
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_type_hints

from swdb.core.errors import BadInput, unknown
from swdb.specs.changes import check_changes
from swdb.specs.claims import KEY, Claim
from swdb.specs.runs import RunSpec, check_run
from swdb.specs.tables import CellSource, Table, all_runs, load_tables, measured_cells, tables_folder
from swdb.specs.toml import Pairs, read_dataclass, read_toml, read_value

FILE = "sensitivity.toml"
OURS = "strong-weak"
WHICH: dict[str, Callable[[RunSpec], bool]] = {  # the trainings that a reading is about, in a word
    "kl": lambda run: run.kl,
    "dual": lambda run: run.dual,
    "single": lambda run: run.method == OURS and not run.dual,
    "neck": lambda run: run.method == OURS and run.shared_layers > 0,
    "few-strong": lambda run: run.strong_per_class is not None,
    "proxies": lambda run: run.needs_proxies,
}
APART = ("name", "method", "start_from", "changes")  # what a reading cannot vary as a row does


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One question that the paper leaves open, as the tables answer it and as it could be answered, too."""

    key: str
    question: str
    place: str  # where the paper speaks of it
    default: str  # how the tables read it
    otherwise: str
    which: str | None = None  # the trainings that it changes: one of WHICH, or `runs` by name
    runs: tuple[str, ...] = ()
    begin: tuple[str, ...] = ()  # runs that those start from: changed as well, but only to start from
    changes: Pairs = ()  # of settings
    row: Pairs = ()  # of what rows vary


@dataclass(frozen=True)
class Read:
    """A reading with its trainings, each by the name of that in whose place it stands."""

    reading: Reading
    runs: Mapping[str, RunSpec]
    begin: Mapping[str, RunSpec]

    def source(self, source: CellSource) -> CellSource:
        """Return whose prediction a cell scores under the reading."""
        return replace(source, runs=tuple(self.runs.get(run.name, run) for run in source.runs))


@dataclass(frozen=True)
class Sensitivity:
    """The table of all readings."""

    title: str
    readings: tuple[Read, ...]

    @property
    def runs(self) -> dict[str, RunSpec]:
        """All trainings of the readings, by name."""
        found = [run for one in self.readings for run in (*one.begin.values(), *one.runs.values())]
        return {run.name: run for run in found}


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    title: str
    reading: tuple[Reading, ...]


def load_sensitivity(tables: Mapping[int, Table] | None = None, folder: Path | None = None) -> Sensitivity:
    """Read the readings; raises BadInput where one changes nothing, what cannot be trained, or what no claim is about."""
    tables = load_tables(folder) if tables is None else tables
    known = all_runs(tables)
    found = read_dataclass(_File, read_toml((folder or tables_folder()) / FILE), FILE)
    names: dict[RunSpec, str] = {replace(run, name=""): name for name, run in known.items()}
    readings: list[Read] = []
    for reading in found.reading:
        where = f"{FILE}, reading {reading.key!r}"
        _check(reading, known, where)
        if reading.key in [one.reading.key for one in readings]:
            raise BadInput(where, "the key is there twice", "a key of its own for each reading")
        readings.append(read := _trainings(reading, known, where))
        for run in (*read.begin.values(), *read.runs.values()):
            check_run(run, where)
            same = names.setdefault(replace(run, name=""), run.name)
            if same != run.name or run.name in known:
                raise BadInput(where, f"run {run.name!r} is there already, as {same!r}", "values that no other run has")
        if not claims_touched(read, tables):
            raise BadInput(where, "no claim is about what it changes", "runs that a claim is about")
    return Sensitivity(found.title, tuple(readings))


def every_run(tables: Mapping[int, Table] | None = None) -> dict[str, RunSpec]:
    """List all trainings by name: those of the tables, then those of the readings."""
    tables = load_tables() if tables is None else tables
    return {**all_runs(tables), **load_sensitivity(tables).runs}


def claims_touched(read: Read, tables: Mapping[int, Table]) -> list[tuple[int, Claim]]:
    """List the claims, each with its table, that hang on a cell which a reading changes."""
    changed = cells_changed(read, tables)
    claims = [(number, claim) for number, table in tables.items() for claim in table.claims]
    return [(number, claim) for number, claim in claims if changed.keys() & set(claim.measured_cells)]


def cells_changed(read: Read, tables: Mapping[int, Table]) -> dict[str, CellSource]:
    """Return whose prediction the cells score that a reading changes, by the name that claims give a cell."""
    return {cell: now for cell, source in measured_cells(tables).items() if (now := read.source(source)) != source}


def _check(reading: Reading, known: Mapping[str, RunSpec], where: str) -> None:
    """Refuse a reading that does not say what it changes, or of what."""
    if not KEY.fullmatch(reading.key):
        raise BadInput(f"{where}, key 'key'", f"found {reading.key!r}", "small letters, digits and single hyphens")
    if (reading.which is None) == (not reading.runs):
        raise BadInput(where, "which trainings it changes is not said, or twice", "either 'which' or 'runs'")
    if reading.which is not None and reading.which not in WHICH:
        raise unknown(f"{where}, key 'which'", reading.which, WHICH)
    for name in (*reading.runs, *reading.begin):
        if name not in known:
            raise unknown(f"{where}, run", name, known)
    if not (reading.changes or reading.row):
        raise BadInput(where, "changes nothing", "'changes' of settings, or of a 'row'")
    check_changes(reading.changes, where)
    declared = {one.name: one for one in fields(RunSpec) if one.name not in APART}
    for name, value in reading.row:
        if name not in declared:
            raise unknown(f"{where}, key 'row', key", name, declared)
        read_value(get_type_hints(RunSpec)[name], declared[name], value, f"{where}, key 'row', key {name!r}")


def _trainings(reading: Reading, known: Mapping[str, RunSpec], where: str) -> Read:
    """Return a reading with its trainings; whoever starts from one of them is one of them."""
    names = dict.fromkeys(reading.runs or [name for name, run in known.items() if WHICH[reading.which](run)])
    while more := [name for name, run in known.items() if run.start_from in names and name not in names]:
        names |= dict.fromkeys(more)
    if not names:
        raise BadInput(f"{where}, key 'which'", f"no run is {reading.which!r}", "trainings of the tables")

    def under(name: str) -> RunSpec:
        run = known[name]
        start = run.start_from
        if start in names or start in reading.begin:
            start = f"{start}-{reading.key}"
        both = dict(run.changes) | dict(reading.changes)
        changes = tuple(sorted(both.items()))
        return replace(run, name=f"{name}-{reading.key}", start_from=start, changes=changes, **dict(reading.row))

    return Read(reading, {name: under(name) for name in names}, {name: under(name) for name in reading.begin})
