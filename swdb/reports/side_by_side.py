"""What became of every claim, preset by preset: the ledgers of all results side by side, and what the paper prints.

in: the ledgers of all presets below a folder, the printed values -> out: a Markdown table
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.files import damage_of, read_json
from swdb.core.markdown import escaped, markdown_table
from swdb.core.numbers import signed
from swdb.data.kinds import facts_of
from swdb.reports.ledger import LEDGER
from swdb.specs.claims import Claim
from swdb.specs.presets import load_preset
from swdb.specs.tables import load_tables, printed_values
from swdb.verdicts.contrasts import Arms, outcome
from swdb.verdicts.verdict import NOT_COMPARABLE, NOT_RUN

MECHANISM = "MECHANISM "  # before a verdict at another scale than the paper's: said once, above the table
NOT_JUDGED = "–"  # a ledger that is older than the claim


def claims_by_preset(results: Path, numbers: Collection[int] | None = None) -> str:
    """Return verdict and effect of each claim (rows) in each preset's results below a folder (columns), beside the printed effect.

    `numbers`: of the tables whose claims are shown; None: all. Claims that are nowhere comparable are left out. Seeds stand
    beside a verdict that has fewer than others of its preset. Raises MissingArtefact for what is no ledger.
    """
    tables = load_tables()
    printed = printed_values(tables)
    ledgers = {path.parent.name: _by_key(path) for path in sorted(results.glob(f"*/{LEDGER}"))}
    most = {name: max((len(one["seeds"]) for one in of.values()), default=0) for name, of in ledgers.items()}
    rows: list[list[Any]] = [["*images*", "", *map(_images, ledgers)], ["*seeds*", "", *most.values()]]
    for claim in (
        one for table in tables.values() if numbers is None or table.number in numbers for one in table.claims
    ):
        found = [of.get(claim.key) for of in ledgers.values()]
        if any(one is not None and one["word"] != NOT_COMPARABLE for one in found):
            cells = [_cell(one, of) for one, of in zip(found, most.values(), strict=True)]
            rows.append([escaped(claim.text), _printed_effect(claim, printed), *cells])
    return "\n".join(markdown_table(["claim", "the paper", *ledgers], rows)) + "\n"


def _printed_effect(claim: Claim, printed: Mapping[str, float]) -> str | None:
    """Return what the printed values say, as an effect is taken from measured ones; None where not all of them are printed."""
    cells = claim.measured_cells
    if not all(cell in printed for cell in cells):
        return None
    means = np.array([printed[cell] for cell in cells])
    found = outcome(claim, Arms(means, np.zeros(len(cells)), np.ones(len(cells)), seeds=1), cells, printed)
    return signed(float(found.estimate.value[found.shown]))


def _by_key(path: Path) -> dict[str, dict[str, Any]]:
    with damage_of(path, "a ledger"):
        return {one["claim"]["key"]: _read(one) for one in read_json(path)["claims"]}


def _read(one: Mapping[str, Any]) -> dict[str, Any]:
    effect = None if one["effect"] is None else float(one["effect"])
    return {"word": str(one["word"]), "shown": str(one["shown"]), "effect": effect, "seeds": [*one["seeds"]]}


def _images(preset: str) -> str:
    return "drawn scenes" if facts_of(load_preset(preset).data).synthetic else "photographs"


def _cell(one: Mapping[str, Any] | None, most: int) -> str:
    if one is None:
        return NOT_JUDGED
    words = one["shown"].removeprefix(MECHANISM)
    if one["word"] in (NOT_RUN, NOT_COMPARABLE) or one["effect"] is None:
        return words
    fewer = f" ({len(one['seeds'])} seeds)" if len(one["seeds"]) < most else ""
    return f"{words} {signed(one['effect'])}{fewer}"
