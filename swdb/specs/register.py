"""The register of assumptions: every setting and every choice, with what is known of the paper's own value.

The status is that of the value *at the preset at hand*: where the paper's is known and the preset takes another one, that
value is SCALED, whatever the paper says of its own.

in: a preset -> out: rows, counts of them by status
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from swdb.specs.choices import CHOICES
from swdb.specs.presets import Preset, load_preset
from swdb.specs.settings import INFERRED, STATED, UNKNOWN

PAPER = "voc"  # the preset that holds the paper's values
SCALED = "SCALED"
STATUSES = {
    STATED: "the paper says so, or those who quote it",
    INFERRED: "follows from something stated, or from the code of a method that the paper names",
    SCALED: "the paper's value is known, and this preset takes another one",
    UNKNOWN: "the paper is silent: our choice",
}
NAMES = ("name", "data.name")  # of folders: nothing hangs on them


@dataclass(frozen=True)
class Assumption:
    """A setting of a preset, or a choice that is none."""

    key: str
    value: str
    unit: str
    status: str  # of the value here: one of STATUSES
    paper: str  # the paper's value, or ours at its scale where the paper is silent
    paper_status: str
    source: str
    tables: tuple[int, ...] = ()  # in which numbers may hang on it
    is_setting: bool = True

    @property
    def about(self) -> str:
        """The source or reason, after the paper's value where that is another one."""
        said = f"scaled: the paper's is {self.paper} ({self.paper_status})" if self.status == SCALED else ""
        return "; ".join(filter(None, (said, self.source)))


def register(preset: Preset) -> list[Assumption]:
    """List what a preset assumes: its settings in their order, then the choices."""
    paper = _settings(whole := load_preset(PAPER))
    same_data = preset.data.dataset == whole.data.dataset
    rows = []
    for key, (value, about) in _settings(preset).items():
        paper_value, said = paper[key][0], about["status"]
        same = value == paper_value and (
            same_data or not key.startswith("data.")
        )  # in other data it means other things
        status = said if said == UNKNOWN or same else SCALED
        values = as_text(value), about["unit"], status, as_text(paper_value), said, about["why"]
        rows.append(Assumption(key, *values, about["tables"]))
    for one in CHOICES:
        rows.append(Assumption(one.key, one.text, "", UNKNOWN, one.text, UNKNOWN, one.place, one.tables, False))
    return rows


def counts(rows: Iterable[Assumption]) -> dict[str, int]:
    """Count assumptions by status, in the order of STATUSES."""
    found = Counter(row.status for row in rows)
    return {status: found[status] for status in STATUSES}


def of_weight(rows: Iterable[Assumption], table: int) -> list[Assumption]:
    """List what is unknown and a table's numbers may hang on."""
    return [row for row in rows if row.status == UNKNOWN and table in row.tables]


def as_text(value: Any) -> str:
    """Return a value as people read it: lists without brackets, yes and no, no whole number with a fraction of 0."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(as_text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _settings(preset: Preset) -> dict[str, tuple[Any, Any]]:
    """Return the value of every setting and what is declared of it, by key."""
    groups = {"": preset, **{f"{name}.": values for name, values in preset.groups.items()}}
    return {
        key: (getattr(values, one.name), one.metadata)
        for prefix, values in groups.items()
        for one in fields(values)
        if one.metadata and (key := f"{prefix}{one.name}") not in NAMES
    }
