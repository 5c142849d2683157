"""How likely the rule finds what is there: beside each verdict, how often a true effect of so many points is decided with the
seeds at hand, and how many seeds it takes.

The effect that is asked about is 2 points, or what the paper prints where that is less; of equalities it is that the cells
are apart as printed, of values that the printed ones are true. Other claims are taken to show nothing, so Holm's step-down
helps none: with several true claims more is found. Each claim is judged by the contrasts that judge scores, on means and
moderated variances that are drawn from their distributions and grow from look to look: what a noncentral t says, and what
looks, moderation, steps and several pairs make of it. The draws are always the same ones.

in: a claim, the spread of its cells -> out: shares of studies, numbers of seeds
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from swdb.specs.claims import ONLY_COMPARABLE, Claim
from swdb.verdicts import rule
from swdb.verdicts.contrasts import Arms, outcome
from swdb.verdicts.engine import Family, Values, collect
from swdb.verdicts.spread import LEAST_PRIOR, MOST_PRIOR, Noise, squeezed
from swdb.verdicts.verdict import NOT_COMPARABLE, Ledger, Verdict

POINTS = 2.0  # a true effect that is worth finding
WANTED = 0.8  # the share in which it should be found
MOST_SEEDS = 400  # what takes more is out of reach
PRIOR = 16.0  # degrees of freedom that the pool is worth where nothing is measured: what simulated studies have
DRAWS, MOST_CELLS = 1000, 16


# ---------------------------------------------------------------- the effect that is asked about


@dataclass(frozen=True)
class Effect:
    """A true effect: its size in points as verdicts show it, and the means of the claim's cells."""

    points: float
    means: tuple[float, ...]  # of `measured_cells`, in their order


def assumed(claim: Claim, printed: Mapping[str, float]) -> Effect:
    """Return the effect of a claim that is worth finding: 2 points, or what is printed where that is less."""
    cells = claim.measured_cells
    if claim.kind in ("ordering", "literature"):
        pairs = [*zip(claim.lower, claim.higher, strict=True)]
        points = _less(min(printed.get(high, np.inf) - printed.get(low, 0.0) for low, high in pairs))
        base = {high: printed[low] for low, high in pairs} if claim.kind == "literature" else {}
        return Effect(points, tuple(base.get(cell, 0.0) + points * (cell in claim.higher) for cell in cells))
    if claim.kind == "trend":
        first, last = (printed.get(claim.rising[end], np.nan) for end in (0, -1))
        points = _less(last - first)
        return Effect(points, tuple(np.linspace(0.0, points, len(cells)).tolist()))
    means = [printed.get(cell, np.nan) for cell in cells]
    if claim.kind == "value":
        return Effect(0.0, tuple(means))
    apart = max(means) - min(means)
    return Effect(apart, tuple(means)) if apart < claim.margin else Effect(0.0, (0.0,) * len(cells))


def _less(points: float) -> float:
    """Return what is printed where that is a positive effect of less than 2 points, else these."""
    return round(points, 6) if 0 < points < POINTS else POINTS


def as_measured(claim: Claim, values: Values, seeds: Sequence[int]) -> Effect:
    """Return the means of a claim's cells as they were measured, over the seeds that they have in common."""
    means = tuple(float(np.mean([values[cell][seed] for seed in seeds])) for cell in claim.measured_cells)
    return Effect(max(means) - min(means), means)


# ---------------------------------------------------------------- the spread that is expected


@dataclass(frozen=True)
class Expected:
    """By what further runs are expected to differ."""

    variance: np.ndarray  # (arms,), of one run, the best guess
    prior: float  # degrees of freedom that the pool is worth
    common: bool  # whether what a seed does to all arms alike is left out

    def own_degrees(self, seeds: int) -> float:
        """Return the degrees of freedom of an arm's own variance with so many seeds."""
        arms = len(self.variance)
        return (seeds - 1) * ((arms - 1) / arms if self.common else 1.0)

    def degrees(self, seeds: int) -> float:
        """Return the degrees of freedom that a variance is taken to have: those of the pool count, too."""
        own = self.own_degrees(seeds)
        return min(self.prior + own, own * len(self.variance))

    def moderated(self, seeds: int, own: np.ndarray, pool: np.ndarray) -> np.ndarray:
        """Return the variances that arms are judged by: their `own`, squeezed towards the `pool` where that is larger."""
        return np.maximum(squeezed(own, pool[:, None], self.own_degrees(seeds), self.prior), own)


def expected(noise: Noise | None, seeds: int, common: bool) -> Expected | None:
    """Return what is expected after what was measured with so many seeds; None where nothing differs."""
    if noise is None or not (noise.pooled > 0 and noise.cells):
        return None
    own = Expected(noise.likely, 0.0, common).own_degrees(max(seeds, 2))
    prior = float(np.clip(noise.degrees.max() - own, LEAST_PRIOR, MOST_PRIOR))
    return Expected(noise.likely, prior, common)


def supposed(sd: Sequence[float], common: bool) -> Expected:
    """Return what is expected where nothing is measured, from a supposed spread of each arm in points."""
    return Expected(np.square(np.asarray(sd, float)), PRIOR, common)


# ---------------------------------------------------------------- what is found


@cache
def _normal() -> np.ndarray:
    """Return normal values (looks, draws, cells): identical on every machine, for good."""
    drawn = np.random.RandomState(0)  # numpy's legacy generator, which never changes
    normal = drawn.standard_normal((len([*rule.looks(MOST_SEEDS)]), DRAWS // 2, MOST_CELLS))
    return np.concatenate([normal, -normal], 1)


@cache
def _squares(degrees: tuple[float, ...], arms: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean squares of unit noise at each look: of each cell (looks, draws, cells), and pooled over all arms.

    degrees: of freedom of one arm at each look; what was drawn for a look is part of the next one's.
    """
    drawn = np.random.RandomState(1)
    more = np.diff(degrees, prepend=0.0)
    cells = np.stack([2 * drawn.standard_gamma(one / 2, (DRAWS, MOST_CELLS)) for one in more]).cumsum(0)
    pooled = np.stack([2 * drawn.standard_gamma(one * arms / 2, DRAWS) for one in more]).cumsum(0)
    return cells / np.array(degrees)[:, None, None], pooled / (np.array(degrees) * arms)[:, None]


@dataclass(frozen=True)
class Search:
    """What the rule finds of a claim, look by look."""

    claim: Claim
    effect: Effect
    at: tuple[int, ...]  # the arms of its cells
    expected: Expected
    family: int
    printed: Mapping[str, float]
    either: bool = False  # whether decisions against the claim count, too

    def until(self, enough: Callable[[int, float], bool]) -> dict[int, float]:
        """Return the share of studies that decide (for the claim) at each look or before, up to the first that is enough."""
        number, looks, normal = len(self.claim.measured_cells), [*rule.looks(MOST_SEEDS)], _normal()
        true, arms = self.expected.variance[[*self.at]], len(self.expected.variance)
        cells, pooled = _squares(tuple(self.expected.own_degrees(look) for look, _ in looks), arms)
        decided, sums, before, found = np.zeros(DRAWS, int), np.zeros((DRAWS, number)), 0, {}
        for k, (look, alpha) in enumerate(looks):
            sums = sums + np.sqrt(look - before) * normal[k, :, :number]
            means, before = np.array(self.effect.means) + np.sqrt(true) * sums / look, look
            pool = self.expected.variance.mean() * pooled[k]
            variance = self.expected.moderated(look, true * cells[k, :, :number], pool)
            now = self._decided(means, variance, look, alpha / self.family)
            decided = np.where(decided == 0, now, decided)
            found[look] = float((decided != 0 if self.either else decided == 1).mean())
            if self.claim.kind == "value":  # which is not proved, but holds at the last look or does not
                found[look], decided = float((now == 1).mean()), np.minimum(decided, 0)
            if enough(look, found[look]):
                break
        return found

    def _decided(self, means: np.ndarray, variance: np.ndarray, look: int, bound: float) -> np.ndarray:
        """Return what a look decides, if other claims are no help: 1 for the claim, -1 against it, 0 nothing."""
        arms = Arms(means, variance, np.full(variance.shape, self.expected.degrees(look)), look)
        one = outcome(self.claim, arms, self.claim.measured_cells, self.printed)
        decided = np.where(one.p_for <= np.minimum(bound, one.p_against), 1, np.where(one.p_against <= bound, -1, 0))
        return decided if one.within is None else np.where((decided == 0) & one.within, 1, decided)


def search(claim: Claim, family: Family, spread: Expected, size: int, effect: Effect | None = None) -> Search:
    """Return what the rule finds of a claim among `size` that are judged together; effect: None: what is worth finding."""
    at = tuple(family.arms[cell] for cell in claim.measured_cells)
    return Search(claim, effect or assumed(claim, family.printed), at, spread, size, family.printed, effect is not None)


@dataclass(frozen=True)
class Power:
    """What is found of a claim."""

    points: float  # the true effect that is asked about
    finds: float | None  # the share of studies in which it is found with the seeds at hand; None before the first look
    seeds_needed: int | None  # until it is found in `WANTED` of them; None: more than MOST_SEEDS


def power(one: Search, seeds: int, wanted: float = WANTED) -> Power:
    """Return what is found with so many seeds, and how many it takes to find it in the wanted share of studies."""
    found = one.until(lambda look, share: share >= wanted and rule.next_look(look) > seeds)
    at_hand = [share for look, share in found.items() if look <= seeds]
    needed = next((look for look, share in found.items() if share >= wanted), None)
    return Power(one.effect.points, at_hand[-1] if at_hand else None, needed)


# ---------------------------------------------------------------- beside verdicts


def expectations(
    family: Family, values: Values, sd: Mapping[int, float] | None = None
) -> tuple[Expected | None, Expected | None]:
    """Return the spread that is expected of differences, and that of single runs, from scores.

    sd: what is supposed by arm, in points, where nothing is measured.
    """
    seeds, scores = collect(family, values)
    noises = rule.noises_of(scores) if seeds else (None, None)
    measured = expected(noises[0], len(seeds), True), expected(noises[1], len(seeds), False)
    if measured[0] is not None or sd is None:
        return measured
    ordered = [sd[arm] for arm in range(len(family.cells))]
    return supposed(ordered, True), supposed(ordered, False)


def spread_of(claim: Claim, spreads: tuple[Expected | None, Expected | None]) -> Expected | None:
    """Return the spread that a claim is judged by."""
    return spreads[1 if claim.kind in ONLY_COMPARABLE else 0]


def with_power(ledger: Ledger, family: Family, values: Values) -> Ledger:
    """Return a ledger that says of each verdict what it would find, and how many seeds that takes."""
    spreads = expectations(family, values)
    return replace(ledger, verdicts=tuple(_said(one, ledger, family, spreads) for one in ledger.verdicts))


def _said(
    verdict: Verdict, ledger: Ledger, family: Family, spreads: tuple[Expected | None, Expected | None]
) -> Verdict:
    spread = spread_of(verdict.claim, spreads)
    if verdict.word == NOT_COMPARABLE or spread is None:
        return verdict
    found = power(search(verdict.claim, family, spread, ledger.family), len(verdict.seeds))
    return replace(verdict, finds=found.finds, finds_effect=found.points, seeds_needed=found.seeds_needed)
