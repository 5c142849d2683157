"""Tables as Markdown: the one place that knows how they are written."""

from collections.abc import Sequence
from typing import Any


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]], words: int = 1) -> list[str]:
    """Lay out a table, a line each; the first columns hold words, the others numbers; None is shown as a dash."""
    ruler = "".join(" --- |" if k < words else " ---: |" for k in range(len(header)))
    lines = [header, *([_text(value) for value in row] for row in rows)]
    first, *others = [f"| {' | '.join(line)} |" for line in lines]
    return [first, f"|{ruler}", *others]


def escaped(text: str) -> str:
    """Return text whose stars and bars Markdown shows as they are, also inside a table."""
    return text.replace("*", r"\*").replace("|", r"\|")


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
