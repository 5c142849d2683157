"""The stage that makes tables from scores."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.stage import Tools
from swdb.reports.results import MeasuredTable, Scores, measure
from swdb.reports.tables import write_report
from swdb.specs.presets import Preset
from swdb.specs.runs import RunSpec
from swdb.specs.study import Study
from swdb.specs.tables import Table
from swdb.verdicts.verdict import Ledger


@dataclass(frozen=True)
class TableTask:
    """A table, and the scores behind its cells; it is made from those that are finished."""

    table: Table
    runs: Mapping[str, RunSpec]
    scores: Scores
    preset: Preset
    ledger: Ledger  # of all tables
    shared: Scores | None = None  # those of the same seeds on one pair of proxies, where each seed has its own

    def measure(self) -> MeasuredTable:
        """Collect what is finished."""
        return measure(self.table, self.runs, self.scores, self.shared)


class TableStage:
    """A table beside the paper's values; it is rendered again whenever it is asked for."""

    kind, version, folder = "table", 1, "reports"

    def artefact(
        self,
        study: Study,
        table: Table,
        runs: Mapping[str, RunSpec],
        scores: Scores,
        ledger: Ledger,
        shared: Scores | None = None,
    ) -> Artefact:
        """Plan a table; its record is its JSON form."""
        behind = (*scores.values(), *(shared or {}).values())
        inputs = {one.id: one for by_seed in behind for one in by_seed.values()}
        place = {"folder": study.reports, "record_name": f"table{table.number}.json", "shares_folder": True}
        task = TableTask(table, runs, scores, study.preset, ledger, shared)
        key = {"table": asdict(table), "preset": study.preset.name}
        return study.artefact(self, f"table{table.number}", key, tuple(inputs.values()), task, **place)

    def make(self, artefact: Artefact, tools: Tools | None) -> dict[str, Any]:
        """Render it from the scores that are finished."""
        task: TableTask = artefact.task
        return write_report(task.measure(), task.preset, artefact.folder, task.ledger)
