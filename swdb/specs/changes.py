"""Settings that one run takes another value of than its preset: `changes = { "training.steps" = "x2" }`.

Such a run is made as if the preset said so, and so is all that it is made from; what it starts from says for itself what it
changes. A number may be written as a factor of the preset's, so that a change means the same at every scale.

in: pairs of a setting and its value -> out: a preset; or one error naming the setting
"""

import re
from dataclasses import Field, fields, is_dataclass, replace
from functools import cache
from typing import Any, get_type_hints

from swdb.core.errors import BadInput, unknown
from swdb.specs.presets import Preset, check_together
from swdb.specs.toml import Pairs, read_value

FIXED = ("data", "evaluation")  # what all rows of a preset have in common: else no two of them could be compared
FACTOR = re.compile(r"x(\d{1,4}(?:\.\d{1,4})?)", re.ASCII)


def check_changes(changes: Pairs, where: str) -> None:
    """Refuse settings that there are not, that no run may change, and values that they cannot have."""
    known = _changeable()
    for name, value in changes:
        if name.partition(".")[0] in FIXED and name.partition(".")[2]:
            groups = ", ".join(dict.fromkeys(one.partition(".")[0] for one in known))
            found = f"{name!r} is the same for all runs of a preset"
            raise BadInput(f"{where}, key 'changes'", found, f"a setting of {groups}")
        if name not in known:
            raise unknown(f"{where}, key 'changes', setting", name, known)
        hint, declared = known[name]
        named = f"{where}, key 'changes', setting {name!r}"
        if hint not in (int, float) or not isinstance(value, str):
            read_value(hint, declared, _as_read(value), named)
        elif not _factor(value):
            raise BadInput(
                named, f"found {value!r}", f"{hint.__name__}, or a factor of the preset's, as 'x2' or 'x0.5'"
            )


def changed(preset: Preset, changes: Pairs, where: str) -> Preset:
    """Return a preset with the changes of a run; raises BadInput, naming `where`, for values that do not go together."""
    known = _changeable()
    for name, value in changes:
        hint, declared = known[name]
        group, _, key = name.partition(".")
        values = getattr(preset, group)
        if hint in (int, float) and (factor := _factor(value)):
            value = hint(round(getattr(values, key) * factor, 12 if hint is float else None))
        value = read_value(hint, declared, _as_read(value), f"{where}, {name}")
        preset = replace(preset, **{group: replace(values, **{key: value})})
    if changes:
        check_together(preset, where)
    return preset


def _factor(value: Any) -> float:
    """Return the factor that a value is written as; 0 where it is none."""
    match = FACTOR.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) if match else 0.0


def _as_read(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@cache
def _changeable() -> dict[str, tuple[Any, Field]]:
    """Return the type and declaration of every setting that a run may change, by name."""
    groups = {name: kind for name, kind in get_type_hints(Preset).items() if is_dataclass(kind) and name not in FIXED}
    return {
        f"{group}.{one.name}": (get_type_hints(kind)[one.name], one)
        for group, kind in groups.items()
        for one in fields(kind)
    }
