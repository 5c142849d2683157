"""The drawings of the report: intervals of claims, losses, classes, and curves beside the paper's values.

They are narrow, so that a phone shows them at their size; a wide page puts them side by side.

in: plain values -> out: a `Chart` each
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from swdb.reports.svg import (
    BAD,
    BAND,
    FIRST,
    FOURTH,
    GOOD,
    INK,
    MUTED,
    OPEN,
    PAGE,
    RULE,
    SECOND,
    THIRD,
    Chart,
    canvas,
    chart,
    label,
)

WIDTH = 360  # points: a phone's width
ROW = 17  # height of a claim
BAR = 15  # height of a class
LINES, SIGNS = (FIRST, SECOND, THIRD, FOURTH), ("o", "s", "^", "v")
MARKS = {"good": ("o", GOOD, GOOD), "bad": ("s", BAD, BAD), "open": ("o", OPEN, PAGE)}  # sign, edge, face
STEPS_IN_TABLE = 11
BESIDE = 0.02  # of a curve's width: how far one series stands from the next, and single seeds from their mean


@dataclass(frozen=True)
class Range:
    """A claim's difference with its intervals, in points of mIoU; None where nothing was measured."""

    name: str
    look: str  # good, bad, open, or empty where nothing can be drawn
    verdict: str
    effect: float | None
    seeds: tuple[float, float] | None
    images: tuple[float, float] | None
    margin: float | None = None  # what counts as equal


@dataclass(frozen=True)
class Spread:
    """A mean over seeds with its standard deviation, at some places; without one where there is a single seed."""

    at: np.ndarray
    mean: np.ndarray
    sd: np.ndarray | None


@dataclass(frozen=True)
class Series:
    """A column's values along a parameter: ours by seed, and the paper's."""

    name: str
    at: tuple[float, ...]
    by_seed: tuple[tuple[float, ...], ...]
    paper: tuple[float | None, ...]


def number(value: float | None, form: str = ".1f") -> str:
    """Write a number with a true minus; a dash where there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    words = format(value, form)
    return words.replace("-", "−") if float(words) else words.lstrip("+-")


def interval(ends: tuple[float, float] | None, form: str = "+.1f") -> str:
    """Write an interval; a dash where there is none."""
    return "–" if ends is None else f"{number(ends[0], form)} to {number(ends[1], form)}"


# ---------------------------------------------------------------- claims


def intervals(key: str, title: str, ranges: Sequence[Range]) -> Chart:
    """Draw the difference of each claim with its interval over seeds (thick) and over images (thin), one line a claim."""
    shown = [one for one in ranges if one.effect is not None]
    most = _reach(shown)
    with canvas(key, WIDTH, 62 + ROW * len(ranges)) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=0.8)
        for row, one in enumerate(ranges):
            if one.margin is not None and one.effect is not None:
                axes.fill_betweenx([row - 0.45, row + 0.45], -one.margin, one.margin, color=BAND, linewidth=0)
            if one.effect is None:
                axes.text(0, row, f"  {one.verdict}", va="center", color=MUTED)
                continue
            sign, edge, face = MARKS.get(one.look, ("o", MUTED, PAGE))
            for ends, below, width in ((one.images, 0.24, 0.9), (one.seeds, 0.0, 2.2)):
                if ends is not None:
                    _line(axes, ends, row + below, most, edge, width)
            if abs(one.effect) <= most:
                axes.plot([one.effect], [row], sign, markersize=6, markeredgecolor=edge, markerfacecolor=face, zorder=3)
        axes.set_yticks(range(len(ranges)), [label(one.name) for one in ranges])
        axes.set(xlim=(-most, most), ylim=(max(len(ranges), 1) - 0.4, -0.6))
        axes.set_xlabel("difference in points of mIoU")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        header = ("claim", "verdict", "difference", "interval over seeds", "interval over images", "margin")
        rows = [
            (
                one.name,
                one.verdict,
                number(one.effect, "+.1f"),
                interval(one.seeds),
                interval(one.images),
                number(one.margin),
            )
            for one in ranges
        ]
        words = (
            f"{len(shown)} of {len(ranges)} claims have a measured difference. A filled circle: reproduced; a filled square: "
            "contradicted; an empty circle: undecided. Thick line: interval over seeds, thin line: over images; shaded: "
            "what counts as equal. Orderings and trends lie to the right of zero where they are as the paper says. Arrows: the "
            "interval goes on."
        )
        return chart(key, figure, title, words, header, rows)


def _reach(ranges: Sequence[Range]) -> float:
    """Return how far from zero is drawn: to all differences, and to intervals unless they are several times as wide."""
    effects = [abs(one.effect) for one in ranges]
    ends = [abs(end) for one in ranges for ends in (one.seeds, one.images) if ends for end in ends if np.isfinite(end)]
    margins = [one.margin for one in ranges if one.margin]
    middle = float(np.median(ends)) if ends else 0.0
    return 1.08 * max([1.0, *effects, *margins, *(end for end in ends if end <= 4 * middle)])


def _line(axes, ends: tuple[float, float], row: float, most: float, colour: str, width: float) -> None:
    """Draw an interval, with an arrow where it goes beyond what is drawn."""
    low, high = (min(max(end, -most), most) for end in ends)
    axes.plot([low, high], [row, row], color=colour, linewidth=width, solid_capstyle="butt")
    for end, at, sign in ((ends[0], low, "<"), (ends[1], high, ">")):
        if end != at:
            axes.plot([at], [row], sign, color=colour, markersize=4, clip_on=False)


# ---------------------------------------------------------------- trainings


def losses(key: str, title: str, curves: Mapping[str, Spread], num_seeds: int) -> Chart:
    """Draw the losses of a run over its steps: the mean over seeds, and a band of one standard deviation."""
    with canvas(key, WIDTH, 170) as figure:
        axes = figure.subplots()
        for (name, one), colour in zip(curves.items(), LINES, strict=False):
            axes.plot(one.at, one.mean, color=colour, label=label(name, 24))
            if one.sd is not None:
                axes.fill_between(one.at, one.mean - one.sd, one.mean + one.sd, color=colour, alpha=0.22, linewidth=0)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        if len(curves) > 1:
            axes.legend(loc="upper right", handlelength=1.2)
        header = ["step", *(word for name in curves for word in (f"{name}: mean", f"{name}: sd"))]
        first = next(iter(curves.values()))
        places = sorted({round(place) for place in np.linspace(0, len(first.at) - 1, STEPS_IN_TABLE)})
        rows = [
            [
                number(first.at[k], ",.0f"),
                *(
                    word
                    for one in curves.values()
                    for word in (number(one.mean[k], ".3f"), number(None if one.sd is None else one.sd[k], ".3f"))
                ),
            ]
            for k in places
        ]
        ends = "; ".join(
            f"{name} from {number(one.mean[0], '.2f')} to {number(one.mean[-1], '.2f')}" for name, one in curves.items()
        )
        words = f"Loss by step, mean over {seeds_in_words(num_seeds)}: {ends}."
        if num_seeds > 1:
            words += " The band is one standard deviation over seeds."
        return chart(key, figure, title, words, header, rows)


def seeds_in_words(count: int) -> str:
    """Say how many seeds."""
    return "1 seed" if count == 1 else f"{count} seeds"


# ---------------------------------------------------------------- classes


def classes(key: str, title: str, by_class: Mapping[str, Sequence[float]], miou: float) -> Chart:
    """Draw the IoU of each class: a bar to the mean over seeds, a line from the lowest seed to the highest."""
    names = [*by_class]
    means = [float(np.mean(values)) if len(values) else None for values in by_class.values()]
    with canvas(key, WIDTH, 46 + BAR * len(names)) as figure:
        axes = figure.subplots()
        for row, (values, mean) in enumerate(zip(by_class.values(), means, strict=True)):
            if mean is None:
                axes.text(0, row, " absent", va="center", color=MUTED)
                continue
            axes.barh(row, mean, height=0.62, color=FIRST, linewidth=0, alpha=0.75)
            if len(values) > 1:
                axes.plot([min(values), max(values)], [row, row], color=INK, linewidth=1.1)
        axes.axvline(miou, color=SECOND, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.set_yticks(range(len(names)), [label(name, 18) for name in names])
        axes.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("IoU in %; dashed: the mean over classes")
        axes.grid(axis="x", color=RULE)
        axes.set_axisbelow(True)
        rows = [
            (
                name,
                number(mean),
                number(min(values) if len(values) else None),
                number(max(values) if len(values) else None),
            )
            for (name, values), mean in zip(by_class.items(), means, strict=True)
        ]
        known = [(mean, name) for name, mean in zip(names, means, strict=True) if mean is not None]
        words = f"IoU by class, mean over seeds; mIoU {number(miou)}."
        if known:
            (low, worst), (high, best) = min(known), max(known)
            words += f" Lowest: {worst} {number(low)}; highest: {best} {number(high)}."
        return chart(key, figure, title, words, ("class", "mean", "lowest seed", "highest seed"), rows)


# ---------------------------------------------------------------- curves beside the paper's values


def sweep(key: str, title: str, parameter: str, series: Sequence[Series], orientation: bool) -> Chart:
    """Draw values along a parameter beside the paper's; `orientation`: the paper's are of another scale."""
    with canvas(key, WIDTH, 230) as figure:
        axes = figure.subplots()
        places = [at for one in series for at in one.at]
        shift = BESIDE * (max(places) - min(places))
        ours = [one.name for one in series if any(one.by_seed)]
        for one, (colour, sign) in zip(series, zip(LINES, SIGNS, strict=True), strict=False):
            if one.name in ours:
                _ours(axes, one, (colour, sign), shift, ours.index(one.name) - (len(ours) - 1) / 2)
            known = [(at, value) for at, value in zip(one.at, one.paper, strict=True) if value is not None]
            if known:
                style = {"color": colour, "linewidth": 1.1, "linestyle": (0, (4, 2)), "marker": "D", "markersize": 4}
                name = f"{one.name}, paper" if len(series) > 1 else "paper"
                axes.plot(*zip(*known, strict=True), markerfacecolor=PAGE, label=label(name, 30), **style)
        axes.set_xticks(sorted({at for one in series for at in one.at}))
        axes.set_xlabel(parameter)
        axes.set_ylabel("mIoU in %")
        axes.grid(axis="y")
        axes.margins(y=0.12)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", ncols=2, handlelength=2.2, columnspacing=1.2)
        rows = [
            (
                one.name,
                number(at, "g"),
                number(_mean(values), ".1f"),
                number(_sd(values)),
                str(len(values)),
                number(paper),
            )
            for one in series
            for at, values, paper in zip(one.at, one.by_seed, one.paper, strict=True)
        ]
        words = (
            f"mIoU by {parameter}: ours as lines with one standard deviation over seeds, each seed as a faint point beside "
            f"them, the paper's dashed. {'. '.join(map(_in_words, series))}."
        )
        if orientation:
            words += " The paper's values are of another scale and stand there for orientation only."
        return chart(key, figure, title, words, ("values", parameter, "mean", "sd", "seeds", "paper"), rows)


def _in_words(one: Series) -> str:
    """Say what a series holds, place by place."""
    places = zip(one.at, one.by_seed, one.paper, strict=True)
    said = (f"{number(_mean(values))} (paper {number(paper)}) at {number(at, 'g')}" for at, values, paper in places)
    return f"{one.name}: {', '.join(said)}"


def _ours(axes, one: Series, look: tuple[str, str], shift: float, place: float) -> None:
    """Draw our means with their spread, and single seeds beside them; series stand `shift` apart, this one at `place`."""
    colour, sign = look
    known = [(at + shift * place, values) for at, values in zip(one.at, one.by_seed, strict=True) if values]
    beside = -shift if place < 0 else shift
    for at, values in known:
        if len(values) > 1:
            axes.plot(
                [at + beside] * len(values), values, sign, color=colour, markersize=3.2, alpha=0.5, markeredgewidth=0
            )
    if known:
        axes.errorbar(
            [at for at, _ in known],
            [_mean(values) for _, values in known],
            [_sd(values) or 0.0 for _, values in known],
            color=colour,
            marker=sign,
            markersize=5,
            capsize=2.5,
            label=label(one.name, 30),
        )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
