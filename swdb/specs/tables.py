"""What is run and printed, as values: the rows of the tables, read strictly from TOML.

in: `tables/table*.toml` -> out: frozen dataclasses, or one error naming file, row and key
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from swdb.core.errors import BadInput, unknown
from swdb.specs.claims import KEY, KEY_IN_WORDS, Claim, check_cells, check_claim, prepared, with_numbers
from swdb.specs.methods import METHODS
from swdb.specs.runs import RunSpec, check_run
from swdb.specs.toml import read_dataclass, read_toml

PACKAGE = Path(__file__).parents[1]
MOST_TABLES = 999


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of values: measured from a branch's prediction, or quoted from the literature."""

    key: str
    title: str
    branch: str | None = None  # missing: a literature column
    run: str | None = None  # which of a row's `runs` is measured; missing: the row's own `run`
    provenance: str = ""
    printed: bool = True  # false: a column of ours, for which the paper has no values
    quoted: str | None = None  # of a column of ours: the literature column that says what others measured there


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a table. Its cells come from one run, from a run for each column, or from an average of runs."""

    key: str
    labels: tuple[str, ...]
    run: RunSpec | None = None
    runs: dict[str, RunSpec] = field(default_factory=dict)  # for columns that name one, by that name
    average: tuple[str, ...] = ()  # names of runs whose probabilities are averaged; nothing is trained
    paper: dict[str, float] = field(default_factory=dict)  # printed value for each column's key, mIoU in %
    printed: bool = True  # false: a row of ours, for which the paper has no values
    in_text: bool = False  # printed in the text, not in the table

    @property
    def below_line(self) -> bool:
        """Whether it stands below the last line of the printed table."""
        return self.in_text or not self.printed


@dataclass(frozen=True, slots=True)
class CellSource:
    """Whose prediction a cell scores: one run's, or the average of several, by one branch."""

    runs: tuple[RunSpec, ...]
    branch: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One table."""

    number: int
    title: str
    label_titles: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]

    @property
    def first_below_line(self) -> Row | None:
        """The first of the rows below the printed table's last line."""
        return next((row for row in self.rows if row.below_line), None)

    def cells(self, runs: Mapping[str, RunSpec]) -> Iterator[tuple[Row, Column, CellSource]]:
        """Yield the cells that are measured, row by row; `runs` are all runs by name."""
        for row in self.rows:
            for column in self.columns:
                if (source := cell_source(row, column, runs)) is not None:
                    yield row, column, source


def cell_source(row: Row, column: Column, runs: Mapping[str, RunSpec]) -> CellSource | None:
    """Return whose prediction a cell scores; None for literature, and where the runs have no such branch."""
    if column.branch is None:
        return None
    own = row.run if column.run is None else row.runs.get(column.run)
    chosen = tuple(runs[name] for name in row.average) or ((own,) if own else ())
    if not chosen or any(column.branch not in run.branches for run in chosen):
        return None
    return CellSource(chosen, column.branch)


def printed_by_source(tables: Mapping[int, Table], runs: Mapping[str, RunSpec]) -> dict[CellSource, float]:
    """Return what the paper prints for a prediction, where it prints something."""
    cells = [
        (row.paper.get(column.key), source) for table in tables.values() for row, column, source in table.cells(runs)
    ]
    return {source: value for value, source in reversed(cells) if value is not None}


def tables_folder() -> Path:
    """Return where the table specs lie: beside the package in a checkout, inside it in a wheel."""
    inside = PACKAGE / "tables"
    return inside if inside.is_dir() else PACKAGE.parent / "tables"


def load_tables(folder: Path | None = None) -> dict[int, Table]:
    """Read every table spec, by number; raises BadInput where rows contradict each other."""
    folder = folder or tables_folder()
    tables, found = {}, {}
    for path in sorted(folder.glob("table*.toml")):
        table = _read_table(path)
        if table.number in tables:
            raise BadInput(f"{path.name}, key 'number'", f"found {table.number}, as in {found[table.number]}")
        tables[table.number] = table
        found[table.number] = path.name
    if not tables:
        raise BadInput(folder, "no table specs", "table*.toml")
    runs = all_runs(tables, found)
    for table in tables.values():
        for row in table.rows:
            _check_references(row, table, runs, f"{found[table.number]}, row {row.key!r}")
    return _with_claims(tables, runs, found)


def runs_of(row: Row) -> tuple[RunSpec, ...]:
    """List the runs that a row spells out."""
    return tuple(filter(None, (row.run, *row.runs.values())))


def all_runs(tables: Mapping[int, Table], files: Mapping[int, str] | None = None) -> dict[str, RunSpec]:
    """List every training of the tables once, by name; one name means one set of values, and the other way round."""
    runs: dict[str, RunSpec] = {}
    names: dict[RunSpec, str] = {}
    spelled = [(table, row, run) for table in tables.values() for row in table.rows for run in runs_of(row)]
    for table, row, run in spelled:
        known = runs.setdefault(run.name, run)
        file = (files or {}).get(table.number, f"table{table.number}.toml")
        where = f"{file}, row {row.key!r}, key 'run'"
        for f in fields(RunSpec):
            if getattr(known, f.name) != getattr(run, f.name):
                raise BadInput(where, f"run {known.name!r} has another {f.name!r} in another row", "a name of its own")
        same = names.setdefault(replace(run, name=""), known.name)
        if same != known.name:
            raise BadInput(
                where,
                f"the runs {same!r} and {known.name!r} have the same values",
                "one name, so that they share the training",
            )
    return runs


def _read_table(path: Path) -> Table:
    raw = read_toml(path)
    where = path.name
    lists = {"row": "rows", "column": "columns", "claim": "claims"}
    known = {f.name for f in fields(Table)} - set(lists.values()) | set(lists)
    for key in raw:
        if key not in known:
            raise unknown(f"{where}, key", key, known)
    for singular, plural in lists.items():
        raw[plural] = raw.pop(singular, [])
    if isinstance(raw["claims"], list):
        raw["claims"] = [prepared(claim) for claim in raw["claims"]]
    table = read_dataclass(Table, raw, where)
    if not table.rows:
        raise BadInput(where, "no [[row]]", "at least one")
    if not 1 <= table.number <= MOST_TABLES:
        raise BadInput(f"{where}, key 'number'", f"found {table.number}", f"1 to {MOST_TABLES}")
    for kind, entries in (("row", table.rows), ("column", table.columns)):
        keys = [entry.key for entry in entries]
        for key in keys:
            if not KEY.fullmatch(key):
                raise BadInput(f"{where}, {kind} {key!r}, key 'key'", f"found {key!r}", KEY_IN_WORDS)
            if keys.count(key) > 1:
                raise BadInput(
                    f"{where}, {kind} {key!r}", "the key is there twice", f"a key of its own for each {kind}"
                )
    for column in table.columns:
        _check_column(column, table, f"{where}, column {column.key!r}")
    for row in table.rows:
        _check_row(row, table, f"{where}, row {row.key!r}")
    _check_order(table, where)
    return table


def _check_order(table: Table, where: str) -> None:
    """Refuse a printed row below the printed table's line."""
    if (first := table.first_below_line) is None:
        return
    for row in table.rows[table.rows.index(first) :]:
        if not row.below_line:
            expected = f"a place above row {first.key!r}, which stands below the printed table's line"
            raise BadInput(f"{where}, row {row.key!r}", "a printed row below that line", expected)


def _check_column(column: Column, table: Table, where: str) -> None:
    """Refuse a column that nothing can stand in."""
    branches = {name for method in METHODS.values() for name in method.branches}
    if column.branch is not None and column.branch not in branches:
        raise unknown(f"{where}, branch", column.branch, branches)
    if not column.printed and column.branch is None:
        raise BadInput(f"{where}, key 'branch'", "missing", "a branch, as the column is not printed")
    if column.quoted is not None:
        if column.printed:
            raise BadInput(f"{where}, key 'quoted'", f"found {column.quoted!r}", "none, as the column is printed")
        literature = [one.key for one in table.columns if one.branch is None]
        if column.quoted not in literature:
            raise unknown(f"{where}, key 'quoted', literature column", column.quoted, literature)


def _check_row(row: Row, table: Table, where: str) -> None:
    """Refuse a row that does not fit its table, or a training that cannot be made."""
    if len(row.labels) != len(table.label_titles):
        raise BadInput(where, f"found {len(row.labels)} labels", f"{len(table.label_titles)}, as in label_titles")
    columns = [column.key for column in table.columns if column.printed]
    for key, value in row.paper.items():
        if key not in columns:
            raise unknown(f"{where}, key 'paper', column", key, columns)
        if not 0 <= value <= 100:  # nor what is no number
            raise BadInput(f"{where}, key 'paper', column {key!r}", f"found {value}", "an mIoU from 0 to 100")
    for key in columns if row.printed else []:
        if key not in row.paper:
            raise BadInput(f"{where}, key 'paper'", f"the printed value of column {key!r} is missing")
    if not row.printed and row.paper:
        raise BadInput(f"{where}, key 'paper'", "found values", "none, as the row is not printed")
    if row.average and runs_of(row):
        raise BadInput(f"{where}, key 'average'", "found runs beside it", "either an average or runs")
    if len(set(row.average)) < len(row.average):
        twice = max(row.average, key=row.average.count)
        raise BadInput(f"{where}, key 'average'", f"run {twice!r} is named twice", "each run of an average once")
    if len(row.average) == 1:
        raise BadInput(f"{where}, key 'average'", f"found {row.average[0]!r} alone", "two runs or more")
    if not row.average and not runs_of(row):
        raise BadInput(f"{where}, key 'run'", "missing", "a run, runs by name, or an average")
    for column in table.columns:
        if column.run is not None and not row.average and column.run not in row.runs:
            raise BadInput(
                f"{where}, key 'runs'", f"no run {column.run!r}, which column {column.key!r} is measured from"
            )
    named = {column.run for column in table.columns if column.run is not None}
    for name in row.runs:
        if name not in named:
            raise unknown(f"{where}, key 'runs', column's run", name, named)
    for run in runs_of(row):
        check_run(run, where)
    for column in table.columns:
        run = row.run if column.run is None else row.runs.get(column.run)
        if column.branch is not None and run is not None:
            _check_branch(column, run, where)


def _check_branch(column: Column, run: RunSpec, where: str) -> None:
    """Refuse a run without the branch that a column is scored by."""
    branches = METHODS[run.method].branches
    if column.branch not in branches:
        found = f"column {column.key!r} is scored by the {column.branch} branch, which method {run.method!r} lacks"
        raise BadInput(f"{where}, run {run.name!r}", found, f"one of {', '.join(branches)}")
    if column.branch not in run.branches:
        expected = f"a label set, for a column is scored by the {column.branch} branch"
        raise BadInput(f"{where}, key '{column.branch}_branch'", "missing", expected)


def _check_references(row: Row, table: Table, runs: Mapping[str, RunSpec], where: str) -> None:
    """Refuse runs that are named and are not there, or cannot be started from."""
    for name in row.average:
        if name not in runs:
            raise unknown(f"{where}, key 'average', run", name, runs)
    if row.average and all(cell_source(row, column, runs) is None for column in table.columns):
        branches = ", ".join(sorted({column.branch for column in table.columns if column.branch}))
        found = f"{' and '.join(map(repr, row.average))} have no branch in common that a column is scored by"
        raise BadInput(f"{where}, key 'average'", found, f"runs with one of {branches}")
    for run in runs_of(row):
        seen, name = [run.name], run.start_from
        while name is not None:
            key = f"{where}, key 'start_from'"
            if name not in runs:
                raise unknown(f"{key}, run", name, runs)
            if name in seen:
                raise BadInput(key, f"run {name!r} starts from itself")
            other = runs[name]
            if (other.method, other.shared_layers, other.dual) != (run.method, run.shared_layers, run.dual):
                raise BadInput(key, f"run {name!r} has another network", "the same method, n and branches")
            seen.append(name)
            name = other.start_from


def cell_name(table: int, row: str, column: str) -> str:
    """Name a cell as claims do, by the keys of its row and column."""
    return f"{table}:{row}.{column}"


def rows_in_words(cells: Iterable[str]) -> str:
    """Say in which rows cells stand, by their keys, as in "rows n0, n1 of Table 3": `--rows` takes them."""
    found: dict[str, dict[str, None]] = {}  # tables, and the rows of each, in order
    for cell in cells:
        table, _, place = cell.partition(":")
        found.setdefault(table, {})[place.rpartition(".")[0]] = None
    return " and ".join(
        f"row{'s' if len(rows) > 1 else ''} {', '.join(rows)} of Table {table}" for table, rows in found.items()
    )


def measured_cells(tables: Mapping[int, Table]) -> dict[str, CellSource]:
    """List the cells of all tables that runs stand behind, as claims name them (`N:row.column`), each with its source."""
    runs = all_runs(tables)
    return {
        cell_name(table.number, row.key, column.key): source
        for table in tables.values()
        for row, column, source in table.cells(runs)
    }


def printed_values(tables: Mapping[int, Table]) -> dict[str, float]:
    """List what the paper prints, literature too, by cell as claims name it."""
    return {
        cell_name(table.number, row.key, column): value
        for table in tables.values()
        for row in table.rows
        for column, value in row.paper.items()
    }


def _with_claims(tables: dict[int, Table], runs: Mapping[str, RunSpec], files: Mapping[int, str]) -> dict[int, Table]:
    """Return the tables with claims whose cells name their table; refuses claims about cells that are not there."""
    printed, sources = printed_values(tables), measured_cells(tables)
    measured = {cell: printed.get(cell) for cell in sources}
    quoted = {cell: value for cell, value in printed.items() if cell not in sources}
    whole, seen = {}, {}
    for number, table in tables.items():
        own = tuple(cell for cell in measured if cell in printed and cell.startswith(f"{number}:"))
        claims = []
        for claim in table.claims:
            where = f"{files[number]}, claim {claim.key!r}"
            check_claim(claim, where)
            if claim.key in seen:
                raise BadInput(
                    where, f"the key is there already, in {seen[claim.key]}", "a key of its own for each claim"
                )
            seen[claim.key] = files[number]
            claims.append(with_numbers(claim, number, own))
            check_cells(claims[-1], measured, quoted, where)
        whole[number] = replace(table, claims=tuple(claims))
    return whole
