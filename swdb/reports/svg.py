"""A drawing of matplotlib as a part of a page: an `<svg>` element that follows the page's colours and fonts, and has words.

The same drawing gives the same bytes: ids are salted by a key, numbers are rounded, no date and no program is named. The
colours that are drawn with stand for the page's own (CSS variables), so that one drawing is right in light and in dark.

in: a key, a size, what to draw -> out: a `Chart`: the element, and its numbers as a table; a chart as a file of its own
"""

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 72  # of an inch: what matplotlib's SVG counts in
FONT = 10
# Drawn with these, shown as the page's variables of these names.
INK, MUTED, RULE, BAND = "#010101", "#020202", "#030303", "#040404"
FIRST, SECOND, THIRD, FOURTH = "#050505", "#060606", "#070707", "#080808"
GOOD, BAD, OPEN = "#090909", "#0a0a0a", "#0b0b0b"
PAGE = "#0c0c0c"
VARIABLES = {
    INK: "ink", MUTED: "muted", RULE: "rule", BAND: "band", FIRST: "first", SECOND: "second", THIRD: "third",
    FOURTH: "fourth", GOOD: "good", BAD: "bad", OPEN: "open", PAGE: "page",
}  # fmt: skip
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: sizes are the same everywhere
    "font.size": FONT,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": FONT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": FONT,
    "svg.fonttype": "none",  # text stays text
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
NUMBERS = ("d", "x", "y", "width", "height", "points", "transform", "x1", "x2", "y1", "y2", "cx", "cy", "r")
LONG = re.compile(r"-?\d+\.\d{2,}")
LONGEST_LABEL = 44  # characters
STYLE_SHEET = (
    Path(__file__).parent / "templates" / "style.css"
)  # the page's, which begins with its colours, light and dark
TITLE, LETTER = 22, 7  # points above a drawing that is a file, for its title; of a letter there


@dataclass(frozen=True)
class Chart:
    """A drawing for a page, what it shows in words, and its numbers."""

    title: str
    description: str
    svg: str  # an element, safe as it is
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    key: str


def label(text: str, most: int = LONGEST_LABEL) -> str:
    """Return text as a drawing can show it: on one line, printable, not longer than `most`."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


@contextmanager
def canvas(key: str, width: float, height: float) -> Iterator["Figure"]:
    """Give an empty figure of a size in points, in the page's style whatever this machine's matplotlib is set to."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of signs that its font lacks: the page's fonts show them
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": key})
        yield Figure(figsize=(width / POINTS, height / POINTS), layout="constrained")


def chart(
    key: str,
    figure: "Figure",
    title: str,
    description: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> Chart:
    """Turn a figure into a chart; `key` tells it from the others of a page."""
    svg = _as_element(figure, key, title, description)
    return Chart(title, description, svg, tuple(header), tuple(map(tuple, rows)), key)


def as_file(one: Chart) -> str:
    """Return a chart as a picture by itself: its title above it, on its own ground, in the colours that the reader has chosen."""
    root = ET.fromstring(one.svg)
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    box = {"x": left, "y": top - TITLE, "width": width, "height": height + TITLE}
    sizes = {name: f"{value:g}" for name, value in box.items()}
    colours = STYLE_SHEET.read_text(encoding="utf-8").partition("@media print")[0]
    style, ground, title = ET.Element("style"), ET.Element("rect", sizes | {"fill": "var(--page)"}), ET.Element("text")
    style.text = " ".join(colours.split())
    title.attrib = {
        "x": f"{left + 4:g}",
        "y": f"{top - 7:g}",
        "style": f"font: 600 {FONT + 1}px var(--font); fill: var(--ink)",
    }
    title.text = label(one.title, int(width / LETTER))
    root.attrib |= {"xmlns": "http://www.w3.org/2000/svg", "viewBox": " ".join(sizes.values())}
    root.attrib |= {"width": sizes["width"], "height": sizes["height"], "xmlns:xlink": "http://www.w3.org/1999/xlink"}
    root[2:2] = [style, ground, title]
    return ET.tostring(root, encoding="unicode") + "\n"


def _as_element(figure: "Figure", key: str, title: str, description: str) -> str:
    """Return the `<svg>` element of a figure, named by its title and description."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata=NO_METADATA)  # drawn once; savefig draws twice
    root = ET.fromstring(stream.getvalue())
    for parent in root.iter():
        for child in [*parent]:
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    used = {value[1:] for one in root.iter() for name, value in one.items() if name.endswith("}href")}
    used |= {
        name for one in root.iter() for value in one.attrib.values() for name in re.findall(r"url\(#([^)]+)\)", value)
    }
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
        one.attrib = _attributes(one.attrib, key, used)
    box = root.attrib["viewBox"]
    root.attrib = {"class": "chart", "viewBox": box, "role": "img", "aria-labelledby": f"{key}-title {key}-desc"}
    words = [ET.Element("title", id=f"{key}-title"), ET.Element("desc", id=f"{key}-desc")]
    words[0].text, words[1].text = label(title, 200), label(description, 2000)
    root[:0] = words
    for one in root.iter():
        if one.tag not in ("title", "desc", "text", "tspan"):
            one.text = None
        one.tail = None
    return ET.tostring(root, encoding="unicode")


def _attributes(found: dict[str, str], key: str, used: set[str]) -> dict[str, str]:
    """Return an element's attributes: ids of this page's, the page's colours and fonts, short numbers."""
    kept = {}
    for name, value in found.items():
        name = name.rpartition("}")[2]
        if name == "id":
            if value not in used:
                continue
            value = f"{key}-{value}"
        elif name == "href":
            value = f"#{key}-{value[1:]}"
        elif name == "clip-path":
            value = value.replace("url(#", f"url(#{key}-")
        elif name == "style":
            value = _style(value)
        elif name in NUMBERS:
            value = " ".join(LONG.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), value).split())
        kept[name] = value
    return kept


def _style(text: str) -> str:
    """Return a style with the page's colours and font."""
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    text = text.replace("'DejaVu Sans'", "var(--font)").replace("; -inkscape-stroke:none", "")
    return LONG.sub(lambda found: f"{float(found[0]):.2f}", text)
