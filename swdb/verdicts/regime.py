"""Is a study in the paper's regime? Its conditions are looked at by 95 % intervals over seeds, each by itself.

The intervals are those of the claims: the same spread, squeezed towards that of all cells. Nothing is adjusted, neither for
the number of conditions nor for looks, and no claim's p-value changes; where a condition is shown to fail, the claims that are
contradicted carry a clause that says so.

in: a ledger, scores by cell and seed, the scores of proxies by seed -> out: the ledger with what became of the conditions
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from swdb.specs.regime import CONDITIONS, Condition
from swdb.specs.tables import rows_in_words
from swdb.verdicts import rule
from swdb.verdicts.contrasts import Estimate
from swdb.verdicts.engine import Family, Values, collect
from swdb.verdicts.verdict import (
    CONTRADICTED,
    MET,
    NOT_DECIDED,
    NOT_MET,
    NOT_RUN,
    Checked,
    Interval,
    Ledger,
)

DISCOUNT = "outside the paper's regime, so it counts for less"


def with_regime(ledger: Ledger, family: Family, values: Values, masks: Mapping[int, float], no_masks: str) -> Ledger:
    """Return a ledger with the regime check; as it is where its tables have not the cells that are checked.

    masks: by seed, the mIoU in % of the proxies that the weak row learnt from. no_masks: why some are missing.
    """
    if any(cell not in family.arms for condition in CONDITIONS for cell in condition.cells):
        return ledger
    seeds, scores = collect(family, values)
    found = tuple(_checked(one, family, seeds, scores, masks, no_masks) for one in CONDITIONS)
    checked = replace(ledger, regime=found)
    if not checked.outside:
        return checked
    verdicts = (replace(one, discount=DISCOUNT) if one.word == CONTRADICTED else one for one in ledger.verdicts)
    return replace(checked, verdicts=tuple(verdicts))


def _checked(
    condition: Condition,
    family: Family,
    seeds: Sequence[int],
    scores: np.ndarray,
    masks: Mapping[int, float],
    no_masks: str,
) -> Checked:
    at = [family.arms[cell] for cell in condition.cells]
    said = {"condition": condition, "printed": _printed(condition, family.printed)}
    ran = ~np.isnan(scores[at])
    if lacking := [cell for cell, of_cell in zip(condition.cells, ran, strict=True) if not of_cell.any()]:
        return Checked(word=NOT_RUN, why=f"nobody ran {rows_in_words(lacking)}", **said)
    common = np.flatnonzero(ran.all(0))
    if not len(common):
        return Checked(word=NOT_DECIDED, why="its cells have no seed in common", **said)
    if not condition.lower:
        common = np.array([place for place in common if seeds[place] in masks], int)
        if not len(common):
            return Checked(word=NOT_RUN, why=no_masks or "no quality report says what its proxies score", **said)
    said["seeds"] = tuple(seeds[place] for place in common)
    means = scores[np.ix_(at, common)].mean(-1)
    own = np.array([masks[seed] for seed in said["seeds"]]) if not condition.lower else np.zeros(0)
    high, low = float(means[-1]), float(means[0] if condition.lower else own.mean())
    said |= {"higher": high, "lower": low, "effect": high - low}
    half = _half_width(condition, at, scores, len(common), own)
    if half is None:
        why = "one seed, and nothing says how much the next one differs"
        alike = "the seeds do not differ at all, so nothing says what chance does"
        return Checked(word=NOT_DECIDED, why=why if len(common) == 1 else alike, **said)
    interval = Interval(high - low - half, high - low + half)
    word = _word(condition, interval)
    why = "" if word != NOT_DECIDED else "its interval holds both sides of the threshold"
    return Checked(word=word, interval=interval, why=why, **said)


def _half_width(
    condition: Condition, at: Sequence[int], scores: np.ndarray, seeds: int, own: np.ndarray
) -> float | None:
    """Return half the width of the interval; None where nothing says how much seeds differ.

    own: the proxies' scores. Where seeds have proxies of their own these vary, too, as if no network followed its own:
    the interval is never narrower than it may have to be.
    """
    noise = rule.noises_of(scores)[0 if condition.lower else 1]
    if noise is None or not (noise.variance[at] > 0).all() or seeds < 2:
        return None
    square, degrees = float(noise.variance[at].sum()), float(noise.degrees[at].min())
    if len(set(own)) > 1:
        square, degrees = square + float(own.var(ddof=1)), min(degrees, seeds - 1)
    one = Estimate(np.zeros(1), np.sqrt([square / seeds]), np.array([degrees]), np.zeros((1, 0)), np.zeros(1))
    return float(one.half_width()[0])


def _word(condition: Condition, interval: Interval) -> str:
    low, high = interval.low, interval.high
    if condition.within:
        if -condition.points <= low and high <= condition.points:
            return MET
        return NOT_MET if low > condition.points or high < -condition.points else NOT_DECIDED
    return MET if low >= condition.points else NOT_MET if high < condition.points else NOT_DECIDED


def _printed(condition: Condition, printed: Mapping[str, float]) -> tuple[float, float] | None:
    cells = (condition.higher, condition.lower)
    return tuple(printed[cell] for cell in cells) if all(cell in printed for cell in cells) else None
