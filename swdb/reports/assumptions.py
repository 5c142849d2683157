"""How the register of assumptions is shown: as Markdown, as JSON, and in one line under a table.

in: a preset -> out: text, JSON-ready values
"""

from dataclasses import asdict
from typing import Any

from swdb.core.markdown import escaped, markdown_table
from swdb.specs.presets import Preset
from swdb.specs.register import STATUSES, Assumption, counts, of_weight, register


def number_words(rows: list[Assumption]) -> str:
    """Say how many assumptions have which status."""
    return ", ".join(f"{count} {status}" for status, count in counts(rows).items() if count)


def footnote(preset: Preset, table: int) -> str:
    """Say under a table what stands behind its numbers, and which unknown things they may hang on."""
    rows = register(preset)
    unknown = ", ".join(row.key for row in of_weight(rows, table))
    weight = f"; unknown, and may matter here: {unknown}" if unknown else ""
    return f"settings and choices: {number_words(rows)}{weight}; swdb assumptions lists them"


def settings_page(preset: Preset) -> str:
    """List every setting with its status and source, then the choices, as Markdown."""
    rows = register(preset)
    settings = [
        [row.key, escaped(row.value), row.unit, row.status, escaped(row.about)] for row in rows if row.is_setting
    ]
    choices = [[row.key, escaped(row.value), row.status, escaped(row.source)] for row in rows if not row.is_setting]
    lines = [
        f"# Settings of preset {preset.name}",
        "",
        *markdown_table(["key", "value", "unit", "status", "source or reason"], settings, words=5),
        "",
        "## Choices that are no settings",
        "",
        *markdown_table(["key", "choice", "status", "switch or place"], choices, words=4),
        "",
        f"Of these, {number_words(rows)}. The status is that of the value here:",
        "",
        *(f"- {status}: {meaning}" for status, meaning in STATUSES.items()),
    ]
    return "\n".join(lines) + "\n"


def as_json(preset: Preset) -> dict[str, Any]:
    """Return the register with its counts and the meaning of its words."""
    rows = register(preset)
    return {
        "preset": preset.name,
        "counts": counts(rows),
        "statuses": STATUSES,
        "assumptions": [asdict(row) for row in rows],
    }
