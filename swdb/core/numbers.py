"""Numbers in words, as tables, ledgers and figures show them.

in: a number -> out: text
"""


def signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign, rounded; what rounds to zero has none."""
    words = f"{value:+.{digits}f}"
    return words if float(words) else words[1:]


def span(low: float, high: float) -> str:
    """Return an interval in words."""
    return f"{signed(low)} to {signed(high)}"


def duration(seconds: float | None) -> str:
    """Say how long something takes; nothing where nobody knows, or where it is no time at all."""
    if not seconds:
        return ""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
