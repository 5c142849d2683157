"""From finished scores to the cells of a table: measured values by seed, and their means. No torch.

in: a table spec and the scores behind its cells -> out: one `MeasuredTable`, JSON-ready values
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, read_json
from swdb.evaluation.confusion import COUNTS
from swdb.reports import mask_scores
from swdb.reports.mask_scores import MaskScore
from swdb.reports.proxy_use import ProxyUse, Scores, proxy_use, proxy_use_from_json
from swdb.reports.recognition import Recognition, from_json, recognitions
from swdb.specs.presets import Preset
from swdb.specs.runs import RunSpec
from swdb.specs.tables import Column, Row, Table, all_runs, cell_source, load_tables, runs_of
from swdb.verdicts.verdict import Ledger

NOT_RUN = "NOT RUN"
NOT_MEASURABLE = "–"


@dataclass(frozen=True)
class Cell:
    """One value of a table: the paper's, and ours by seed (mIoU in %)."""

    row: Row
    column: Column
    measurable: bool  # whether a run, or an average of some, could stand behind it
    by_seed: dict[int, float]
    runs: dict[int, str]  # the ids of the runs behind every seed's value, joined by +
    counts: dict[int, Path] = field(default_factory=dict)  # where the counts of every image lie, if they are kept

    @property
    def paper(self) -> float | None:
        """What the paper printed; None in a row of ours."""
        return self.row.paper.get(self.column.key)

    @property
    def compared(self) -> float | None:
        """The value that the difference is taken from: the paper's, or in a column of ours the one that the paper quotes of others."""
        return self.row.paper.get(self.column.quoted) if self.column.quoted else self.paper

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
    data_digest: str
    proxies: list[str]
    machines: list[str]
    proxy_use: ProxyUse | None = None
    recognitions: tuple[Recognition, ...] = ()  # diagnoses beside scores, which no cell reads
    masks: Mapping[int, MaskScore] = field(default_factory=dict)  # of the proxies behind the weak row, by seed

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


def measure(table: Table, runs: Mapping[str, RunSpec], scores: Scores, shared: Scores | None = None) -> MeasuredTable:
    """Collect the finished scores of a table; `runs` are all runs by name.

    shared: where seeds have proxies of their own, the scores of those seeds on one pair, for comparison.

    Raises MissingArtefact where they were made on different contents of the data set, or on others than there are now.
    """
    cells, finished = {}, []
    for row in table.rows:
        for column in table.columns:
            done = {seed: one for seed, one in scores.get((row.key, column.key), {}).items() if one.done}
            records = {seed: _scored(score) for seed, score in done.items()}
            _refuse_twins(done, records)
            finished += [(score, records[seed]) for seed, score in done.items()]
            cells[row.key, column.key] = Cell(
                row,
                column,
                cell_source(row, column, runs) is not None,
                {seed: record["miou"] for seed, record in records.items()},
                {seed: "+".join(run.id for run in runs_behind(score)) for seed, score in done.items()},
                {seed: score.folder / COUNTS for seed, score in done.items()},
            )
    proxies = {one.id for score, _ in finished for run in runs_behind(score) if (one := run.find_input("proxies"))}
    machines = {_machine(record["machine"]) for _, record in finished}
    use = proxy_use(scores, shared)
    found = tuple(recognitions(scores))
    masks = mask_scores.mask_scores(table.number, scores)
    digest = _data_digest(finished)
    return MeasuredTable(table, cells, digest, sorted(proxies), sorted(machines), use, found, masks)


def _scored(score: Artefact) -> dict[str, Any]:
    """Read the record of a score; raises MissingArtefact where it does not say what a table needs."""
    record = score.read_record()
    with damage_of(score.record, "a score"):
        _machine(record["machine"])
    check_record(score, record)
    return record


def check_record(score: Artefact, record: Mapping[str, Any]) -> None:
    """Refuse a record that has no mIoU or no data set, or what no mIoU can be; raises MissingArtefact."""
    with damage_of(score.record, "a score"):
        if not (isinstance(record["miou"], float) and isinstance(record["data"], str)):
            raise TypeError
    check_score(score.record, record["miou"])


def check_score(where: Path | str, score: float) -> None:
    """Refuse what no mIoU can be; raises MissingArtefact, for the program does not write it."""
    if not (math.isfinite(score) and 0 <= score <= 100):
        raise MissingArtefact(where, f"found a score of {score}", "an mIoU from 0 to 100")


def _refuse_twins(scores: Mapping[int, Artefact], records: Mapping[int, dict[str, Any]]) -> None:
    """Refuse one training under the names of two seeds: by its id, or by the digest of its weights."""
    seen: dict[str, int] = {}
    for seed, score in scores.items():
        digests = records[seed].get("inputs", {})
        for run in runs_behind(score):
            for name in {run.id, digests.get(run.id, run.id) if isinstance(digests, dict) else run.id}:
                if (twin := seen.setdefault(name, seed)) != seed:
                    found = f"its run is that of seed {twin}, too"
                    raise MissingArtefact(score.record, found, f"a training of its own for seed {seed}")


def runs_behind(score: Artefact) -> list[Artefact]:
    """List the runs that a score was made from."""
    return score.inputs_of("run")


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


def as_json(measured: MeasuredTable, preset: Preset, ledger: Ledger) -> dict[str, Any]:
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
        "proxy_use": measured.proxy_use.to_json() if measured.proxy_use else None,
        "recognitions": [one.to_json() for one in measured.recognitions],
        "mask_scores": {str(seed): one.to_json() for seed, one in measured.masks.items()},
        "quality_reports": [f"proxies/{name}/quality.json" for name in measured.proxies],
        "machines": measured.machines,
        "rows": rows,
        **_judged(ledger, measured.spec.number),
    }


def _judged(ledger: Ledger, number: int) -> dict[str, Any]:
    """Return a table's part of the ledger, and how all of it was judged."""
    whole = ledger.to_json()
    return {
        "claims": [claim for claim in whole["claims"] if claim["table"] == number],
        "judged": {name: whole[name] for name in ("family", "looks", "limits", "regime")},
    }


def measured_from_json(found: Any, where: Path | str) -> MeasuredTable:
    """Return the table that `as_json` has written down, by today's specs and without counts of images.

    Raises MissingArtefact, naming `where`, for values that are no such table, and for rows that the specs do not have.
    """
    tables = load_tables()
    with damage_of(Path(where), "a table"):
        spec, runs, cells = tables[found["table"]], all_runs(tables), {}
        values = {row["key"]: row["values"] for row in found["rows"]}
        places = {(row.key, column.key) for row in spec.rows for column in spec.columns}
        printed = {
            (row.key, column.key) for row in spec.rows for column in spec.columns if row.printed and column.printed
        }
        if not printed <= {(row, column) for row, of in values.items() for column in of} <= places:
            raise MissingArtefact(where, "has other rows or columns than the specs", f"those of Table {spec.number}")
        not_there = {"by_seed": {}, "runs": {}}  # one of ours that is younger than what was written down
        for row in spec.rows:
            for column in spec.columns:
                cell = values.get(row.key, {}).get(column.key, not_there)
                measurable = cell_source(row, column, runs) is not None
                by_seed = {_seed(seed): float(score) for seed, score in cell["by_seed"].items()}
                for score in by_seed.values():
                    check_score(where, score)
                ids = {_seed(seed): str(one) for seed, one in cell["runs"].items()}
                if len(by_seed) != len(cell["by_seed"]) or len(set(ids.values())) < len(ids):
                    raise MissingArtefact(
                        where, f"row {row.key!r} has one training under two seeds", "one of its own each"
                    )
                cells[row.key, column.key] = Cell(row, column, measurable, by_seed, ids)
        seen = from_json(found.get("recognitions", ()), where)
        use = proxy_use_from_json(found.get("proxy_use"), where)
        masks = mask_scores.from_json(found.get("mask_scores", {}), where)
        digest, proxies, machines = str(found["data_sha256"]), [*found["proxies"]], [*found["machines"]]
        return MeasuredTable(spec, cells, digest, proxies, machines, use, seen, masks)


def _seed(text: str) -> int:
    if str(int(text)) != text or int(text) < 0:
        raise ValueError(text)
    return int(text)
