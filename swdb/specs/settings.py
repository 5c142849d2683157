"""Settings: values of a preset with unit, range, status and source, each declared in one place.

STATED (the paper, or those who quote it, say so), INFERRED (follows from something stated), UNKNOWN (our choice).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from swdb.core.names import is_plain_name

STATED, INFERRED, UNKNOWN = "STATED", "INFERRED", "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Check:
    """A range: whether a value is in it, and how the range is called."""

    holds: Callable[[Any], bool]
    expected: str
    words: tuple[str, ...] = ()  # where it is one of some
    most: float = (
        1e9  # no number of a preset is larger: nothing overflows, and what no memory can hold is refused early
    )

    def admits(self, value: Any) -> bool:
        """Whether a value is in the range; numbers that are not finite never are."""
        return all(math.isfinite(one) and one <= self.most for one in _numbers(value)) and self.holds(value)

    def expected_of(self, value: Any) -> str:
        """Say what was expected in the place of a value that is not in the range."""
        if any(math.isfinite(one) and one > self.most for one in _numbers(value)):
            return f"at most {self.most:,.0f}"
        return self.expected or "finite numbers"


def _numbers(value: Any) -> list[Any]:
    values = value if isinstance(value, tuple) else (value,)
    return [
        one if isinstance(one, float) else max(-HUGE, min(one, HUGE)) for one in values if isinstance(one, int | float)
    ]


HUGE = 10**300  # what is larger is no float
MOST_VALUES = 50  # of a list: they are part of names
ABOVE_0 = Check(lambda value: value > 0, "above 0")
AT_LEAST_0 = Check(lambda value: value >= 0, "0 or more")
AT_LEAST_1 = Check(lambda value: value >= 1, "1 or more")
AT_LEAST_16 = Check(lambda value: value >= 16, "16 or more", most=16_384)  # sides of images and crops
SIDE_OR_0 = Check(lambda value: value == 0 or AT_LEAST_16.holds(value), "0, or 16 or more", most=16_384)
IMAGES = Check(AT_LEAST_1.holds, "1 or more", most=10_000_000)
BATCH = Check(AT_LEAST_1.holds, "1 or more", most=16_384)
CHANNELS = Check(AT_LEAST_1.holds, "1 or more", most=16_384)
DILATION = Check(AT_LEAST_1.holds, "1 or more", most=1_024)
SEEDS = Check(AT_LEAST_1.holds, "1 or more", most=1_000)
SCALE = Check(lambda value: value >= 0.1, "0.1 or more", most=4)
POWER = Check(ABOVE_0.holds, "above 0", most=100)
DECAY = Check(lambda value: 0 < value <= 1, "above 0, at most 1")
INTERVAL = Check(lambda value: value >= 1e-4, "0.0001 or more")
BETWEEN_0_AND_1 = Check(lambda value: 0 < value < 1, "between 0 and 1")
SHARE = Check(lambda value: 0 <= value <= 1, "0 to 1")
PROBABILITY = Check(lambda value: 0 <= value < 1, "0 to below 1")
EVEN = Check(lambda value: value >= 2 and value % 2 == 0, "an even number, 2 or more", most=16_384)
FOLDER_NAME = Check(is_plain_name, "a folder's name")
UNIQUE = Check(lambda value: len(set(value)) == len(value), "every name once")
RADIUS = Check(
    lambda value: not value or (len(value) == 2 and 0 < value[0] <= value[1]),
    "none, or two values above 0, the least and the largest",
    most=32,
)
ANY = Check(lambda value: True, "")


def one_of(words: Iterable[str]) -> Check:
    """Return the range of some words."""
    words = tuple(words)
    return Check(lambda value: value in words, ", ".join(words), words)


def each(check: Check) -> Check:
    """Return the range of lists that are not empty and whose values are all in a range."""
    return Check(
        lambda values: 0 < len(values) <= MOST_VALUES and all(map(check.holds, values)),
        f"one or more values, each {check.expected}",
        most=check.most,
    )


def setting(
    unit: str,
    status: str,
    why: str,
    check: Check = ANY,
    omit_default: bool = False,
    formerly: str = "",
    tables: tuple[int, ...] = (),
    **options: Any,
) -> Any:
    """Declare a setting: its unit, status, reason or source, range, and the name by which older presets know it.

    `omit_default`: at its default it stays out of fingerprints, so that a setting that is added later leaves the ids of
    what was made before it as they are. `tables`: whose numbers may hang on it.
    """
    said = {"unit": unit, "status": status, "why": why, "check": check, "omit_default": omit_default}
    return field(metadata=said | {"formerly": formerly, "tables": tables}, **options)


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
