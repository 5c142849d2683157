"""From finished scores to the cells of a table: measured values by seed, means, claims. No torch.

in: a table spec and the scores behind its cells -> out: one `MeasuredTable`, JSON-ready values
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, read_json
from swdb.specs.claims import Verdict, decide
from swdb.specs.presets import Preset
from swdb.specs.tables import Claim, Column, Row, RunSpec, Table, cell_source, runs_of

NOT_RUN = "NOT RUN"
NOT_MEASURABLE = "–"

Scores = Mapping[tuple[str, str], Mapping[int, Artefact]]  # by row and column, by seed


@dataclass(frozen=True)
class Cell:
    """One value of a table: the paper's, and ours by seed (mIoU in %)."""

    row: Row
    column: Column
    measurable: bool  # whether a run, or an average of some, could stand behind it
    by_seed: dict[int, float]
    runs: dict[int, str]  # the ids of the runs behind every seed's value, joined by +

    @property
    def paper(self) -> float | None:
        """What the paper printed; None in a row of ours."""
        return self.row.paper.get(self.column.key)

    @property
    def mean(self) -> float | None:
        """Mean over the seeds; None where nothing was run."""
        return mean(self.by_seed.values()) if self.by_seed else None

    @property
    def sd(self) -> float | None:
        """Standard deviation over the seeds (n - 1); None with fewer than two."""
        return stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None

    @property
    def measured(self) -> str:
        """How the value is shown: `55.2 ± 0.4`, one seed without ±."""
        if self.column.branch is None:
            return "literature"
        if not self.measurable:
            return NOT_MEASURABLE
        if self.mean is None:
            return NOT_RUN
        return f"{self.mean:.1f}" + (f" ± {self.sd:.1f}" if self.sd is not None else "")


@dataclass(frozen=True)
class MeasuredTable:
    """A table with what was measured for it."""

    spec: Table
    cells: dict[tuple[str, str], Cell]  # by row key and column key
    claims: list[tuple[Claim, Verdict]]
    data_digest: str
    proxies: list[str]
    machines: list[str]

    @property
    def seeds(self) -> list[int]:
        """All seeds that stand behind any cell."""
        return sorted({seed for cell in self.cells.values() for seed in cell.by_seed})

    @property
    def complete(self) -> bool:
        """Whether every measurable cell has every seed."""
        whole = all(sorted(cell.by_seed) == self.seeds for cell in self.cells.values() if cell.measurable)
        return whole and bool(self.seeds)

    def lacks(self, path: Path) -> int:
        """Count the values that a table on disk (its JSON) has in these cells, and this one has not."""
        with suppress(MissingArtefact), damage_of(path):
            before = {
                (row["key"], column, int(seed))
                for row in read_json(path)["rows"]
                for column, cell in row["values"].items()
                for seed in cell["by_seed"]
            }
            places = {(*place, seed) for place, cell in self.cells.items() for seed in cell.by_seed}
            return sum(one not in places and one[:2] in self.cells for one in before)
        return 0


def measure(table: Table, runs: Mapping[str, RunSpec], scores: Scores) -> MeasuredTable:
    """Collect the finished scores of a table; `runs` are all runs by name.

    Raises MissingArtefact where they were made on different contents of the data set, or on others than there are now.
    """
    cells, finished = {}, []
    for row in table.rows:
        for column in table.columns:
            done = {seed: one for seed, one in scores.get((row.key, column.key), {}).items() if one.done}
            records = {seed: _scored(score) for seed, score in done.items()}
            finished += [(score, records[seed]) for seed, score in done.items()]
            cells[row.key, column.key] = Cell(
                row,
                column,
                cell_source(row, column, runs) is not None,
                {seed: record["miou"] for seed, record in records.items()},
                {seed: "+".join(run.id for run in runs_behind(score)) for seed, score in done.items()},
            )
    by_name = {f"{table.number}:{row}.{column}": cell.by_seed for (row, column), cell in cells.items()}
    claims = [(claim, _former(claim, by_name)) for claim in table.claims if len(claim.cells) == 2]
    proxies = {one.id for score, _ in finished for run in runs_behind(score) if (one := run.find_input("proxies"))}
    machines = {_machine(record["machine"]) for _, record in finished}
    return MeasuredTable(table, cells, claims, _data_digest(finished), sorted(proxies), sorted(machines))


def _former(claim: Claim, by_name: Mapping[str, dict[int, float]]) -> Verdict:
    lower, higher = claim.cells
    return decide(by_name[lower], by_name[higher], claim.kind == "equivalence")


def _scored(score: Artefact) -> dict[str, Any]:
    """Read the record of a score; raises MissingArtefact where it does not say what a table needs."""
    record = score.read_record()
    with damage_of(score.record, "a score"):
        _machine(record["machine"])
        if not (isinstance(record["miou"], float) and isinstance(record["data"], str)):
            raise TypeError
    return record


def runs_behind(score: Artefact) -> list[Artefact]:
    """List the runs that a score was made from."""
    return [other for other in score.inputs if other.kind == "run"]


def _data_digest(finished: list[tuple[Artefact, dict[str, Any]]]) -> str:
    """Return the digest of the data set that all scores were made on; refuses a mixture, and another one than now."""
    if not finished:
        return ""
    first, record = finished[0]
    data = first.find_input("data")
    expected = data.digest() if data is not None and data.done else record["data"]
    for score, one in finished:
        if one["data"] != expected:
            found = f"has changed since {score.id} was scored: it was {one['data'][:10]}, it is {expected[:10]}"
            raise MissingArtefact(data.folder if data else score.folder, found, "the data of then")
    return expected


def _machine(described: dict[str, Any]) -> str:
    return f"{described['name']} ({described['device']}, {described['precision']}, {described['threads']} threads), torch {described['torch']}"


def as_json(measured: MeasuredTable, preset: Preset) -> dict[str, Any]:
    """Return everything a machine may want to read about a table."""
    rows = []
    for row in measured.spec.rows:
        values = {}
        for column in measured.spec.columns:
            cell = measured.cells[row.key, column.key]
            values[column.key] = {
                "paper": cell.paper,
                "literature": column.branch is None,
                "mean": cell.mean,
                "sd": cell.sd,
                "by_seed": cell.by_seed,
                "runs": cell.runs,
            }
        names = [*row.average, *(run.name for run in runs_of(row))]
        rows.append(
            {
                "key": row.key,
                "labels": list(row.labels),
                "in_text": row.in_text,
                "run": "+".join(names),
                "values": values,
            }
        )
    return {
        "table": measured.spec.number,
        "title": measured.spec.title,
        "preset": preset.name,
        "comparable_to_paper": preset.comparable,
        "seeds": measured.seeds,
        "selection": "last weights; nothing is chosen on the validation split",
        "data_sha256": measured.data_digest,
        "proxies": measured.proxies,
        "quality_reports": [f"proxies/{name}/quality.json" for name in measured.proxies],
        "machines": measured.machines,
        "rows": rows,
        "claims": [{**asdict(claim), **asdict(verdict)} for claim, verdict in measured.claims],
    }
