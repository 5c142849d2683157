"""In which formats tables are printed: those that are kept, and two for an article.

in: measured tables and their ledger -> out: text
"""

from swdb.reports.latex import document
from swdb.reports.rescience import rescience
from swdb.reports.results import MeasuredTable
from swdb.reports.tables import FORMATS, render
from swdb.specs.presets import Preset
from swdb.verdicts.verdict import Ledger

PRINTED = (*FORMATS, "latex", "rescience")


def printed(tables: list[MeasuredTable], preset: Preset, form: str, ledger: Ledger) -> str:
    """Return tables in one of PRINTED; the metadata of an article is of all of them together."""
    if form == "latex":
        return document(tables, preset, ledger)
    return rescience(preset, ledger) if form == "rescience" else render(tables, preset, form, ledger)
