"""Every setting of a preset with the status that its value has there: the paper's status only where the value is the paper's.

in: a preset -> out: lines of key, value, unit, status, source or reason
"""

from dataclasses import fields
from typing import Any, NamedTuple

from swdb.specs.presets import Preset, load_preset
from swdb.specs.settings import UNKNOWN

PAPERS = "voc"  # the preset whose values the declared statuses are about


class SettingShown(NamedTuple):
    """One setting in words."""

    key: str
    value: str
    unit: str
    status: str
    why: str


def settings_shown(preset: Preset) -> list[SettingShown]:
    """List every hyper-parameter; a value of ours in place of the paper's is UNKNOWN, and names that one."""
    papers, found = load_preset(PAPERS), []
    for prefix, values in _groups(preset).items():
        others = _groups(papers)[prefix]
        for one in fields(values):
            about = one.metadata
            if not about:
                continue
            value, paper = getattr(values, one.name), getattr(others, one.name)
            status, why = about["status"], about["why"]
            if value != paper:
                status, why = UNKNOWN, _of_ours(_words(paper), about)
            found.append(SettingShown(f"{prefix}{one.name}", _words(value), about["unit"], status, why))
    return found


def _groups(preset: Preset) -> dict[str, Any]:
    return {"": preset, **{f"{name}.": values for name, values in preset.groups.items()}}


def _of_ours(paper: str, about: Any) -> str:
    """Say that a value is ours, and what stands in its place at the paper's scale."""
    source = f"; {about['why']}" if about["why"] else ""
    return f"ours at this scale; at the paper's: {paper} ({about['status']}{source})"


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value != "" else "none"
