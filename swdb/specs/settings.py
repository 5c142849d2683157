"""Settings: values of a preset with unit, range, status and source, each declared in one place.

STATED (the paper, or those who quote it, say so), INFERRED (follows from something stated), UNKNOWN (our choice).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

STATED, INFERRED, UNKNOWN = "STATED", "INFERRED", "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Check:
    """A range: whether a value is in it, and how the range is called."""

    holds: Callable[[Any], bool]
    expected: str
    words: tuple[str, ...] = ()  # where it is one of some

    def admits(self, value: Any) -> bool:
        """Whether a value is in the range; numbers that are not finite never are."""
        numbers = [one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, float)]
        return all(map(math.isfinite, numbers)) and self.holds(value)


ABOVE_0 = Check(lambda value: value > 0, "above 0")
AT_LEAST_0 = Check(lambda value: value >= 0, "0 or more")
AT_LEAST_1 = Check(lambda value: value >= 1, "1 or more")
AT_LEAST_16 = Check(lambda value: value >= 16, "16 or more")
BETWEEN_0_AND_1 = Check(lambda value: 0 < value < 1, "between 0 and 1")
SHARE = Check(lambda value: 0 <= value <= 1, "0 to 1")
PROBABILITY = Check(lambda value: 0 <= value < 1, "0 to below 1")
EVEN = Check(lambda value: value >= 2 and value % 2 == 0, "an even number, 2 or more")
FOLDER_NAME = Check(lambda value: value[:1] not in ("", ".") and "/" not in value, "a folder's name")
UNIQUE = Check(lambda value: len(set(value)) == len(value), "every name once")
ANY = Check(lambda value: True, "")


def one_of(words: Iterable[str]) -> Check:
    """Return the range of some words."""
    words = tuple(words)
    return Check(lambda value: value in words, ", ".join(words), words)


def each(check: Check) -> Check:
    """Return the range of lists that are not empty and whose values are all in a range."""
    return Check(
        lambda values: bool(values) and all(map(check.holds, values)), f"one or more values, each {check.expected}"
    )


def setting(unit: str, status: str, why: str, check: Check = ANY, omit_default: bool = False, **options: Any) -> Any:
    """Declare a setting: its unit, status, reason or source, and range.

    `omit_default`: at its default it stays out of fingerprints, so that a setting that is added later leaves the ids of
    what was made before it as they are.
    """
    return field(
        metadata={"unit": unit, "status": status, "why": why, "check": check, "omit_default": omit_default}, **options
    )


def non_defaults(values: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults, as they enter ids: as JSON would give them back.

    A field that is added later, with a default, leaves the ids of what was made before it as they are.
    """
    found = {one.name: getattr(values, one.name) for one in fields(values)}
    defaults = {one.name: one.default for one in fields(values)}
    return {name: _as_json(value) for name, value in found.items() if value != defaults[name]}


def fingerprint(values: Any) -> dict[str, Any]:
    """Return the settings of a group as they enter ids: as JSON would give them back."""
    found = {}
    for one in fields(values):
        value = getattr(values, one.name)
        if not (one.metadata["omit_default"] and value == one.default):
            found[one.name] = _as_json(value)
    return found


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
