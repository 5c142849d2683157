"""When does a second branch pay? What it gains over strong labels alone, beside how good the weak labels are, preset by preset.

in: the tables of all presets below a folder, the printed values -> out: a `Case` each; a drawing, a section of Markdown
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import mean
from typing import Any

from swdb.core.files import damage_of, read_json
from swdb.core.markdown import markdown_table
from swdb.proxy.quality_page import PUBLISHED_BY_SET
from swdb.reports import charts
from swdb.reports.charts import LINES, WIDTH, interval, number, seeds_in_words
from swdb.reports.regime import words_of
from swdb.reports.results import MeasuredTable, measured_from_json
from swdb.reports.svg import INK, PAGE, Chart, canvas, chart, label
from swdb.specs.regime import STRONG, WEAK
from swdb.specs.tables import load_tables, printed_values
from swdb.verdicts.verdict import NOT_RUN

DUAL = "2:dual.miou"
FIGURE = "second-branch.svg"  # beside the presets' folders
WHOSE = "several-crf"  # how a network is scored where DSRG's own figure was published
SIGNS = (*charts.SIGNS, "P")  # with four colours: twenty presets that look different
TITLE = "When does a second branch pay? One point a preset"
APART, GAIN, POINTS = "strong − weak", "dual − strong", "points of mIoU"
Ends = tuple[float, float, float]  # lowest, middle, highest
WORDS = 3  # columns of HEADER that hold words
HEADER = (
    "preset", "verdict", "regime check", "proxies' masks, training images", "their network, val", APART, GAIN,
    "other trainings", "seeds",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One cell less another one, in points of mIoU, with its interval over seeds."""

    effect: float
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Case:
    """What is known of a preset, or of the paper: the quality of its weak labels, and what the second branch gains."""

    name: str
    masks: tuple[float, ...]  # mIoU in % of its proxies on the training images, each set once
    network: float | None  # of the network behind them, on val
    apart: Difference | None  # strong - weak
    gain: Difference | None  # dual - strong
    seeds: int = 0  # behind the gain
    verdict: str = ""
    regime: str = ""
    printed: bool = False  # the paper's own


# ---------------------------------------------------------------- what is known


def cases(results: Path) -> list[Case]:
    """Return the paper, and each preset with a Table 2 below a folder; raises MissingArtefact for what is no table."""
    printed = printed_values(load_tables())
    apart, gain = (Difference(printed[high] - printed[low]) for low, high in ((WEAK, STRONG), (STRONG, DUAL)))
    paper = Case("the paper", (), PUBLISHED_BY_SET[1]["miou"], apart, gain, printed=True)
    return [paper, *(_case(path) for path in sorted(results.glob("*/table2.json")))]


def _case(path: Path) -> Case:
    found = read_json(path)
    table = measured_from_json(found, path)
    with damage_of(path, "a table"):
        apart, gain = (_verdict(found["claims"], low, high) for low, high in ((WEAK, STRONG), (STRONG, DUAL)))
        masks = dict.fromkeys(one.miou for one in table.masks.values() if one.miou is not None)
        return Case(
            path.parent.name,
            tuple(masks),
            _network(table),
            _difference(apart),
            _difference(gain),
            len(gain.get("seeds", ())),
            str(gain.get("shown", NOT_RUN)),
            words_of(found["judged"]),
        )


def _verdict(claims: Sequence[dict[str, Any]], low: str, high: str) -> dict[str, Any]:
    """Return what became of the claim that one cell is below another one; nothing where it was not judged."""
    for one in claims:
        if (one["claim"]["kind"], one["claim"].get("lower"), one["claim"].get("higher")) == ("ordering", [low], [high]):
            return one
    return {}


def _difference(verdict: dict[str, Any]) -> Difference | None:
    if verdict.get("effect") is None:
        return None
    found = verdict["seeds_interval"]
    return Difference(float(verdict["effect"]), (float(found["low"]), float(found["high"])) if found else None)


def _network(table: MeasuredTable) -> float | None:
    """Return what the networks behind the proxies of the weak row score on val, their mean; None where nobody scored them."""
    networks = table.proxy_use.networks if table.proxy_use else {}
    ids = {one.proxies for one in table.masks.values()}
    scores = [found["miou"][WHOSE] for name, found in networks.items() if found and name in ids]
    return mean(scores) if scores else None


# ---------------------------------------------------------------- how it is shown


def drawing(found: Sequence[Case]) -> Chart:
    """Draw the gain along the quality of the proxies, and along how much worse the weak labels are: a point a preset."""
    with canvas("second-branch", 2 * WIDTH, 270) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        names = {}
        for one, look in _looks(found):
            for axes, ends in zip(panels, (_quality(one), _apart(one)), strict=True):
                if one.gain and ends:
                    names[one.name] = _point(axes, ends, one, look)
        for axes, words in zip(
            panels, ("proxies on the training images, mIoU in %", f"{APART}, {POINTS}"), strict=True
        ):
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.set_xlabel(words)
            axes.grid()
            axes.set_axisbelow(True)
            axes.margins(x=0.12, y=0.1)
        panels[0].set_ylabel(f"{GAIN}, {POINTS}")
        if names:
            figure.legend(handles=[*names.values()], loc="outside upper left", ncols=3, handlelength=1.6)
        words = (
            "What a second branch gains over strong labels alone: left by the quality of the proxies, right by how much "
            f"better strong labels are than weak ones, with 95 % intervals over seeds. {'; '.join(map(_in_words, found))}."
        )
        return chart("second-branch", figure, TITLE, words, HEADER, [_row(one) for one in found])


def _looks(found: Sequence[Case]) -> Iterator[tuple[Case, tuple[str, str]]]:
    """Yield each case with its colour and sign; the paper's is no preset's."""
    looks = zip(cycle(LINES), cycle(SIGNS), strict=False)
    for one in found:
        yield one, (INK, "D") if one.printed else next(looks)


def _quality(one: Case) -> Ends | None:
    """Where a case lies on the left; the paper does not say what its masks score, so its network on val stands there."""
    known = [one.network] if one.printed else one.masks
    return (min(known), mean(known), max(known)) if known else None


def _apart(one: Case) -> Ends | None:
    """Where a case lies on the right."""
    if one.apart is None:
        return None
    low, high = one.apart.ends or (one.apart.effect, one.apart.effect)
    return low, one.apart.effect, high


def _point(axes, ends: Ends, one: Case, look: tuple[str, str]) -> Any:
    """Draw a case at the middle one of `ends`, with its intervals; the paper's is hollow. Returns what the legend shows."""
    (colour, sign), gain = look, one.gain
    low, at, high = ends
    axes.plot([low, high], [gain.effect] * 2, color=colour, linewidth=1.1, alpha=0.6)
    if gain.ends is not None:
        axes.plot([at, at], gain.ends, color=colour, linewidth=1.6, solid_capstyle="butt")
    name = f"{one.name} (left: DSRG on val, as published)" if one.printed else one.name
    face = PAGE if one.printed else colour
    style = {"color": colour, "markerfacecolor": face, "markersize": 7, "zorder": 3, "label": label(name)}
    return axes.plot([at], [gain.effect], sign, **style)[0]


def _row(one: Case) -> tuple[str, ...]:
    """Return a case as a line of the table."""
    masks = number(mean(one.masks) if one.masks else None)
    if len(one.masks) > 1:
        masks += f" ({number(min(one.masks))} to {number(max(one.masks))})"
    ends = interval(one.gain.ends if one.gain else None)
    seeds = str(one.seeds or "–")
    return one.name, one.verdict or "–", one.regime or "–", masks, number(one.network), *_numbers(one), ends, seeds


def _numbers(one: Case) -> tuple[str, str]:
    apart, gain = (number(of.effect if of else None, "+.1f") for of in (one.apart, one.gain))
    return apart, gain


def _in_words(one: Case) -> str:
    apart, gain = _numbers(one)
    place = _quality(one)
    quality = number(place and place[1])
    seeds = f", {seeds_in_words(one.seeds)}" if one.seeds else ""
    return f"{one.name}: proxies {quality}, {APART} {apart}, {GAIN} {gain}{seeds}"


def section(found: Sequence[Case]) -> str:
    """Return the drawing and its numbers as Markdown, and how far they may be read."""
    points = sum(one.gain is not None and not one.printed for one in found)
    many = f"{points} presets are {points} points" if points != 1 else "1 preset is 1 point"
    lines = [
        f"![what a second branch gains, by the quality of the weak labels]({FIGURE})",
        "",
        *markdown_table(HEADER, [*map(_row, found)], WORDS),
        "",
        f"**{many}, and no curve:** presets differ in images, network and schedule, too, not in the quality of their weak labels",
        "alone. Bars are 95 % intervals over seeds, each by itself; the verdict is adjusted for all claims of its preset.",
        "",
        "The paper's own point stands for itself, on another scale. What its masks score on the training images is not known:",
        f"on the left it lies at what DSRG's network scores on val, {number(PUBLISHED_BY_SET[1]['miou'])} "
        f"({PUBLISHED_BY_SET[1]['source']}),",
        "which compares with the column *their network, val* (several views, with CRF), and not with masks.",
    ]
    return "\n".join(lines) + "\n"
