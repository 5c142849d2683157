"""From finished runs to the cells of a table: measured values by seed, means, claims. No torch.

in: a table spec and a work directory -> out: one `MeasuredTable`, a pandas frame of it, JSON-ready values
"""

from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json
from swdb.specs.claims import Verdict, decide
from swdb.specs.tables import Claim, Column, Row, Table
from swdb.study.plan import Work

NOT_RUN = "NOT RUN"


@dataclass(frozen=True)
class Cell:
    """One value of a table: the paper's, and ours by seed (mIoU in %)."""

    row: Row
    column: Column
    by_seed: dict[int, float]
    runs: dict[int, str]  # the run's id behind every seed's value

    @property
    def paper(self) -> float:
        """What the paper printed."""
        return self.row.paper[self.column.key]

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
        """Whether every measured cell has every seed."""
        return all(sorted(cell.by_seed) == self.seeds for cell in self.cells.values() if cell.column.branch) and bool(
            self.seeds
        )


def measure(work: Work, table: Table, seeds: list[int]) -> MeasuredTable:
    """Collect the finished scores of a table's runs."""
    cells, data_digests, machines, proxies = {}, set(), set(), set()
    for row in table.rows:
        for column in table.columns:
            by_seed, runs = {}, {}
            for seed in seeds if column.branch else []:
                artefact = work.run(row.run, seed)
                result = work.scoring(column.branch).result(artefact)
                if result is None:
                    continue
                by_seed[seed], runs[seed] = result["miou"], artefact.id
                data_digests.add(result["data"])
                machines.add(_machine(result["machine"]))
                if row.run.needs_proxies:
                    proxies.add(artefact.recipe["proxies"])
            cells[row.key, column.key] = Cell(row, column, by_seed, runs)
    _check_data(work, table, data_digests)
    by_name = {f"{row}.{column}": cell.by_seed for (row, column), cell in cells.items()}
    claims = [(claim, decide(by_name[claim.lower], by_name[claim.higher], claim.equal)) for claim in table.claims]
    return MeasuredTable(table, cells, claims, next(iter(data_digests), ""), sorted(proxies), sorted(machines))


def _check_data(work: Work, table: Table, digests: set[str]) -> None:
    """Refuse a table over different contents of the data set, or over others than there are now."""
    mend = f"delete {work.folder / 'runs'} and run: swdb reproduce-table {table.number} {work.options}"
    if len(digests) > 1:
        raise MissingArtefact(
            f"table {table.number} would mix runs on {len(digests)} different contents of the data set; {mend}"
        )
    manifest = work.data_root / "manifest.json"
    now = read_json(manifest, f"swdb prepare-voc {work.where} --again")["tree_root"] if manifest.is_file() else None
    if digests and now is not None and digests != {now}:
        then = next(iter(digests))
        raise MissingArtefact(
            f"the runs of table {table.number} were trained on other data ({then[:10]}) than there is now ({now[:10]}); {mend}"
        )


def _machine(described: dict[str, Any]) -> str:
    return f"{described['name']} ({described['device']}, {described['precision']}, {described['threads']} threads), torch {described['torch']}"


def as_json(measured: MeasuredTable, work: Work) -> dict[str, Any]:
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
        rows.append(
            {"key": row.key, "labels": list(row.labels), "in_text": row.in_text, "run": row.run.name, "values": values}
        )
    return {
        "table": measured.spec.number,
        "title": measured.spec.title,
        "preset": work.preset.name,
        "comparable_to_paper": work.preset.comparable,
        "seeds": measured.seeds,
        "selection": "last weights; nothing is chosen on the validation split",
        "data_sha256": measured.data_digest,
        "proxies": measured.proxies,
        "passports": [f"proxies/{name}/passport.json" for name in measured.proxies],
        "machines": measured.machines,
        "rows": rows,
        "claims": [{**asdict(claim), **asdict(verdict)} for claim, verdict in measured.claims],
    }
