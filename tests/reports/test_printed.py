"""Formats that are printed."""

from swdb.reports.latex import document
from swdb.reports.ledger import ledger_of
from swdb.reports.printed import PRINTED, printed
from swdb.reports.rescience import rescience
from swdb.reports.results import measure
from swdb.reports.tables import FORMATS, render
from swdb.specs.presets import load_preset
from swdb.specs.tables import all_runs, load_tables

PRESET, TABLES = load_preset("synthetic"), load_tables()


def test_each_format_is_what_its_module_writes():
    tables = [measure(table, all_runs(TABLES), {}) for table in TABLES.values()]
    ledger = ledger_of(tables, PRESET)
    assert printed(tables, PRESET, "latex", ledger) == document(tables, PRESET, ledger)
    assert printed(tables, PRESET, "rescience", ledger) == rescience(PRESET, ledger)
    assert all(printed(tables, PRESET, form, ledger) == render(tables, PRESET, form, ledger) for form in FORMATS)
    assert set(PRINTED) == {*FORMATS, "latex", "rescience"}
