"""The regime check in words: under the tables, in their titles, and as one table of all presets beside the paper.

in: a Ledger; results by preset -> out: lines, titles, a Markdown table
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swdb.core.files import damage_of, read_json
from swdb.core.markdown import markdown_table
from swdb.core.numbers import signed, span
from swdb.specs.presets import Preset
from swdb.specs.regime import COMPARED
from swdb.specs.tables import load_tables, printed_values
from swdb.verdicts.verdict import MET, NOT_MET, NOT_RUN, Checked, Ledger

OUTSIDE = "outside the paper's regime"


def regime_lines(ledger: Ledger) -> list[str]:
    """Say whether a study is in the paper's regime, and why, one sentence a line; nothing where it was not checked."""
    if not ledger.regime:
        return []
    head = f"regime check: {regime_words(ledger)}; no claim, so nothing is adjusted: 95 % intervals, each by itself"
    return [head, *(f"regime check: {condition_line(one)}" for one in ledger.regime)]


def regime_words(ledger: Ledger) -> str:
    """Say in one clause whether a study is in the paper's regime."""
    return _words([one.word for one in ledger.regime])


def words_of(judged: Mapping[str, Any]) -> str:
    """Say the same of how a table's JSON was judged."""
    return _words([one["word"] for one in judged.get("regime", {}).get("conditions", ())] or [NOT_RUN])


def _words(words: list[str]) -> str:
    if NOT_MET in words:
        return OUTSIDE
    if all(word == MET for word in words):
        return "in the paper's regime, as far as it is checked"
    return NOT_RUN if all(word == NOT_RUN for word in words) else "whether it is in the paper's regime is not decided"


def condition_line(checked: Checked) -> str:
    """Say what became of a condition, with its numbers."""
    parts = []
    if checked.effect is not None:
        parts.append(f"{checked.higher:.1f} - {checked.lower:.1f} = {signed(checked.effect)} points")
        if checked.interval is not None:
            parts.append(f"other trainings {span(checked.interval.low, checked.interval.high)}")
        parts.append("1 seed" if len(checked.seeds) == 1 else f"{len(checked.seeds)} seeds")
    if checked.printed is not None:
        high, low = checked.printed
        parts.append(f"the paper prints {high:.1f} - {low:.1f} = {signed(high - low)}")
    numbers = f" ({'; '.join(parts)})" if parts else ""
    why = f" - {checked.why}" if checked.why else ""
    return f"{checked.word}: {checked.condition.text}{numbers}{why}"


def titled(preset: Preset, ledger: Ledger) -> str:
    """Return the preset's title, which says where it is shown to be outside the paper's regime."""
    return f"{preset.title}; {OUTSIDE}" if ledger.outside else preset.title


def comparison(results: Path) -> str:
    """Return a Markdown table: the cells that make the regime, as printed and in each preset's results below a folder."""
    printed = printed_values(load_tables())
    header = ["preset", *(cell.partition(":")[2].rpartition(".")[0] for cell in COMPARED), "regime check"]
    rows = [["the paper", *(f"{printed[cell]:.1f}" for cell in COMPARED), "its own"]]
    for path in sorted(results.glob("*/table2.json")):
        with damage_of(path, "a table"):
            found = read_json(path)
            means = {
                f"2:{row['key']}.{column}": cell["mean"]
                for row in found["rows"]
                for column, cell in row["values"].items()
            }
            rows.append([path.parent.name, *(_mean(means[cell]) for cell in COMPARED), words_of(found["judged"])])
    return "\n".join(markdown_table(header, rows, words=1)) + "\n"


def _mean(value: float | None) -> str:
    return NOT_RUN if value is None else f"{value:.1f}"
