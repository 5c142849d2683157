"""The tables and the ledger of a study as files: the one place of a bundle that knows how they are rendered.

in: a study, its plan, the specs of all tables -> out: texts by name, the ledger
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from swdb.reports.assumptions import settings_page
from swdb.reports.ledger import ledger_of
from swdb.reports.results import measure
from swdb.reports.tables import FORMATS, render
from swdb.specs.study import Study
from swdb.specs.tables import Table, all_runs
from swdb.study.plan import Plan
from swdb.study.preregistration import standings

SETTINGS = "settings.md"


@dataclass(frozen=True)
class Rendered:
    """What is read of a study: texts by the names of their files, and the verdicts behind them."""

    files: dict[str, str]
    ledger: dict[str, Any]


def rendered(study: Study, plan: Plan, tables: Mapping[int, Table], numbers: Iterable[int]) -> Rendered:
    """Render some tables from the scores that are finished; the ledger is of the claims of all tables."""
    runs = all_runs(tables)
    measured = {number: measure(table, runs, plan.cells(number)) for number, table in tables.items()}
    ledger = ledger_of(measured.values(), study.preset, standings(study, tables, plan))
    files = {SETTINGS: settings_page(study.preset)}
    for number in numbers:
        for form in FORMATS:
            files[f"table{number}.{form}"] = render([measured[number]], study.preset, form, ledger)
    return Rendered(files, ledger.to_json())
