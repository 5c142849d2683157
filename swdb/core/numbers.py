"""Numbers in words, as tables, ledgers and figures show them.

in: a number -> out: text
"""


def signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign, rounded; what rounds to zero has none."""
    words = f"{value:+.{digits}f}"
    return words if float(words) else words[1:]
