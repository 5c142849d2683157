"""What is run and printed, as values: the rows of the tables, read strictly from TOML.

in: `tables/table*.toml` -> out: frozen dataclasses, or one error naming file, row, key and mend
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from swdb.core.errors import BadInput, nearest
from swdb.specs.presets import PACKAGE
from swdb.specs.toml import read_dataclass, read_toml

# What a branch may learn from; the words of the printed tables stand in each row's labels.
LABEL_SETS = {
    "strong": "the strong images with their masks ('1.4k strong')",
    "strong+weak": "the strong images with masks, all others with proxy masks ('1.4k strong + 9k weak')",
    "weak": "all images with proxy masks ('10k weak')",
    "all-strong": "all images with masks ('10k strong')",
}
BRANCHES = ("strong", "weak")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What one training varies; two rows with the same values share the training."""

    name: str
    strong_branch: str  # label set of the branch that predicts; the only one where weak_branch is missing
    weak_branch: str | None = None
    oversample: int = 1  # how often the strong images stand in a mixed set
    shared_layers: int = 3  # the paper's n: "We use n = 3 in the main experiments"
    kl: bool = False  # equation 1
    proxy_set: int = 1
    start_from: str | None = None  # the name of a run whose last weights this one begins with
    strong_per_class: int | None = None  # Table 4: strong images a class, drawn by seed

    @property
    def dual(self) -> bool:
        """Whether the run has two branches."""
        return self.weak_branch is not None

    @property
    def needs_proxies(self) -> bool:
        """Whether any of its label sets holds proxy masks."""
        return any(labels in ("weak", "strong+weak") for labels in (self.strong_branch, self.weak_branch))


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of values: measured from a branch's prediction, or quoted from the literature."""

    key: str
    title: str
    branch: str | None = None  # missing: a literature column
    provenance: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a printed table."""

    key: str
    labels: tuple[str, ...]
    run: Recipe
    paper: dict[str, float]  # printed value for each column's key, mIoU in %
    in_text: bool = False  # printed in the text, not in the table


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What the paper states of two cells, written row.column: `lower` is worse than `higher`, or equal to it."""

    text: str
    lower: str
    higher: str
    equal: bool = False  # the paper says that there is no difference


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One printed table."""

    number: int
    title: str
    label_titles: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]

    def cells(self) -> list[tuple[Row, Column]]:
        """List the cells that are measured, row by row."""
        return [(row, column) for row in self.rows for column in self.columns if column.branch]


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
            raise BadInput(f"{path.name}, key 'number': {found[table.number]} is table {table.number} too")
        tables[table.number] = table
        found[table.number] = path.name
    if not tables:
        raise BadInput(f"no table specs (table*.toml) in {folder}")
    recipes = all_recipes(tables)
    for table in tables.values():
        for row in table.rows:
            seen, name = [row.run.name], row.run.start_from
            while name is not None:
                where = f"{found[table.number]}, row {row.key!r}, key 'start_from'"
                if name not in recipes:
                    raise BadInput(f"{where}: unknown run {name!r}; {nearest(name, recipes)}")
                if name in seen:
                    raise BadInput(f"{where}: run {name!r} starts from itself")
                if (recipes[name].shared_layers, recipes[name].dual) != (row.run.shared_layers, row.run.dual):
                    raise BadInput(f"{where}: run {name!r} has another network; expected the same n and branches")
                seen.append(name)
                name = recipes[name].start_from
    return tables


def all_recipes(tables: dict[int, Table]) -> dict[str, Recipe]:
    """List every training of the tables once, by name; the same name must mean the same values, and the other way round."""
    recipes: dict[str, Recipe] = {}
    names: dict[Recipe, str] = {}
    for table in tables.values():
        for row in table.rows:
            known = recipes.setdefault(row.run.name, row.run)
            where = f"table{table.number}.toml, row {row.key!r}, key 'run'"
            for f in fields(Recipe):
                if getattr(known, f.name) != getattr(row.run, f.name):
                    raise BadInput(
                        f"{where}: run {known.name!r} has another {f.name!r} in another row; give it another name"
                    )
            same = names.setdefault(replace(row.run, name=""), known.name)
            if same != known.name:
                raise BadInput(
                    f"{where}: the runs {same!r} and {known.name!r} have the same values; give them one name, so that they share the training"
                )
    return recipes


def _read_table(path: Path) -> Table:
    raw = read_toml(path)
    where = path.name
    lists = {"row": "rows", "column": "columns", "claim": "claims"}
    known = {f.name for f in fields(Table)} - set(lists.values()) | set(lists)
    for key in raw:
        if key not in known:
            raise BadInput(f"{where}: unknown key {key!r}; {nearest(key, known)}")
    for singular, plural in lists.items():
        raw[plural] = raw.pop(singular, [])
    table = read_dataclass(Table, raw, where)
    if not table.rows:
        raise BadInput(f"{where}: no [[row]] found, expected at least one")
    for column in table.columns:
        if column.branch not in (None, *BRANCHES):
            raise BadInput(
                f"{where}, column {column.key!r}: unknown branch {column.branch!r}; {nearest(column.branch, BRANCHES)}"
            )
    for kind, entries in (("row", table.rows), ("column", table.columns)):
        keys = [entry.key for entry in entries]
        for key in keys:
            if keys.count(key) > 1:
                raise BadInput(f"{where}, {kind} {key!r}: the key is there twice; give each {kind} a key of its own")
    for row in table.rows:
        _check_row(row, table, f"{where}, row {row.key!r}")
    cells = {f"{row.key}.{column.key}" for row, column in table.cells()}
    for claim in table.claims:
        for end in (claim.lower, claim.higher):
            if end not in cells:
                raise BadInput(f"{where}, claim {claim.text!r}: unknown cell {end!r}; {nearest(end, cells)}")
    return table


def _check_row(row: Row, table: Table, where: str) -> None:
    """Refuse a row that does not fit its table, or a training that cannot be made."""
    if len(row.labels) != len(table.label_titles):
        raise BadInput(
            f"{where}: found {len(row.labels)} labels, expected {len(table.label_titles)} as in label_titles"
        )
    columns = [column.key for column in table.columns]
    for key in (*row.paper, *columns):
        if key not in columns:
            raise BadInput(f"{where}, key 'paper': unknown column {key!r}; {nearest(key, columns)}")
        if key not in row.paper:
            raise BadInput(f"{where}, key 'paper': the printed value of column {key!r} is missing")
    run = row.run
    for key in ("strong_branch", "weak_branch"):
        labels = getattr(run, key)
        if labels is not None and labels not in LABEL_SETS:
            raise BadInput(f"{where}, key {key!r}: unknown label set {labels!r}; {nearest(labels, LABEL_SETS)}")
    checks = (
        (run.shared_layers >= 0, "shared_layers", "0 or more"),
        (run.oversample >= 1, "oversample", "1 or more"),
        (run.proxy_set in (1, 2), "proxy_set", "1 or 2"),
        (run.strong_per_class is None or run.strong_per_class >= 1, "strong_per_class", "1 or more"),
        (
            run.oversample == 1 or "strong+weak" in (run.strong_branch, run.weak_branch),
            "oversample",
            "1, as no set is mixed",
        ),
        (run.proxy_set == 1 or run.needs_proxies, "proxy_set", "none, as no set holds proxies"),
        (not run.kl or run.dual, "kl", "false, for there is no weak_branch"),
        (
            run.dual or all(column.branch != "weak" for column in table.columns),
            "weak_branch",
            "a label set, for a column is scored by the weak branch",
        ),
    )
    for holds, key, expected in checks:
        if not holds:
            raise BadInput(f"{where}: key {key!r} is out of range; expected {expected}")
