"""Rows of a table that differ in one number alone: n of Table 3, oversampling of Table 1, strong images a class of Table 4.

in: a MeasuredTable -> out: values along that number, ours and the paper's
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from swdb.reports.charts import Series
from swdb.reports.results import MeasuredTable
from swdb.specs.runs import RunSpec
from swdb.specs.tables import Row, runs_of

PARAMETERS = {
    "oversample": "oversampling of strong images",
    "shared_layers": "n, the shared layers",
    "strong_per_class": "strong images a class",
}
LEAST = 3  # values that make a curve


@dataclass(frozen=True)
class Sweep:
    """Rows along one number."""

    table: int
    key: str  # of PARAMETERS
    series: tuple[Series, ...]

    @property
    def parameter(self) -> str:
        """The number, in words."""
        return PARAMETERS[self.key]

    @property
    def title(self) -> str:
        """What stands above the drawing."""
        return f"Table {self.table}, by {self.parameter}"

    @property
    def measured(self) -> bool:
        """Whether any of its rows was run."""
        return any(values for one in self.series for values in one.by_seed)


def sweeps(measured: MeasuredTable) -> Iterator[Sweep]:
    """Yield the curves of a table."""
    spec = measured.spec
    for name in PARAMETERS:
        alike: dict[tuple[RunSpec, ...], dict[float, Row]] = {}
        for row in spec.rows:
            runs = runs_of(row)
            values = {getattr(run, name) for run in runs}
            if len(values) == 1 and (value := values.pop()) is not None:
                alike.setdefault(tuple(replace(run, name="", **{name: 1}) for run in runs), {})[value] = row
        for rows in alike.values():
            if len(rows) >= LEAST:
                yield Sweep(spec.number, name, tuple(_series(measured, dict(sorted(rows.items())))))


def _series(measured: MeasuredTable, rows: dict[float, Row]) -> Iterator[Series]:
    """Yield a table's columns along its rows; a column of the literature has the values that were printed there."""
    several = len(measured.spec.columns) > 1
    for column in measured.spec.columns:
        cells = [measured.cells[row.key, column.key] for row in rows.values()]
        by_seed = tuple(tuple(cell.by_seed.values()) for cell in cells)
        yield Series(
            column.title if several else "ours", tuple(map(float, rows)), by_seed, tuple(cell.paper for cell in cells)
        )
