"""Tables as Markdown: the one place that knows how they are written."""

import re
from collections.abc import Sequence
from typing import Any

SIGNS = re.compile(r"[*|]|<(?=[A-Za-z/!?])|&(?=#?\w+;)")  # what Markdown, or the HTML in it, would not show as it is


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]], words: int = 1) -> list[str]:
    """Lay out a table, a line each; the first columns hold words, the others numbers; None is shown as a dash."""
    ruler = "".join(" --- |" if k < words else " ---: |" for k in range(len(header)))
    lines = [header, *([_text(value) for value in row] for row in rows)]
    first, *others = [f"| {' | '.join(line)} |" for line in lines]
    return [first, f"|{ruler}", *others]


def escaped(text: str) -> str:
    """Return text whose stars, bars, tags and entities Markdown shows as they are, also inside a table."""
    return SIGNS.sub(lambda sign: {"<": "&lt;", "&": "&amp;"}.get(sign[0], f"\\{sign[0]}"), text)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
