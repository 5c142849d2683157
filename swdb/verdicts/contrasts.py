"""What the measured means say for a claim and against it: one function for each kind of claim.

Each returns two p-values. `p_for` is small where the means show what the claim says, `p_against` where they show that it is
wrong; both may be large, then the claim is not decided. A standard error of zero shows nothing: both are 1.

    ordering      t test of the difference, two-sided; of several pairs all must show it, and one suffices against it
    trend         t test of the slope, and no single step against it at p 0.2; against: a slope that falls
    equivalence   two one-sided tests against the margin; against: the difference is beyond the margin
    robustness    the same for every pair of cells, all of which must be within the margin
    value         is the printed value beyond what another run like ours could have given? (prediction interval)
    literature    an ordering in which the lower values are constants

in: means of cells with their noise (leading dimensions: one for each simulated study, or none) -> out: `Outcome`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from scipy.special import stdtr, stdtrit

from swdb.specs.claims import Claim

STEP_AGAINST = 0.2  # a trend is not shown where a step against it has at most this p
SHARE = 0.95  # of the intervals


@dataclass(frozen=True)
class Arms:
    """The cells of one claim over the same seeds; (..., cells) each."""

    means: np.ndarray
    variance: np.ndarray  # of one run
    degrees: np.ndarray
    seeds: int


@dataclass(frozen=True)
class Estimate:
    """Contrasts of means, each with its standard error and degrees of freedom; (..., contrasts) each."""

    value: np.ndarray
    error: np.ndarray
    degrees: np.ndarray
    weights: np.ndarray  # (contrasts, cells)
    constant: np.ndarray  # (contrasts,), taken from the weighted means

    def above(self, bound: float = 0.0) -> np.ndarray:
        """Return the one-sided p-value of `greater than bound`."""
        return self._tail(bound - self.value)

    def below(self, bound: float = 0.0) -> np.ndarray:
        """Return the one-sided p-value of `less than bound`."""
        return self._tail(self.value - bound)

    def _tail(self, distance: np.ndarray) -> np.ndarray:
        known = self.error > 0
        return np.where(known, stdtr(self.degrees, distance / np.where(known, self.error, 1.0)), 1.0)

    def half_width(self, share: float = SHARE) -> np.ndarray:
        """Return half the width of the interval that holds the true contrast in `share` of studies."""
        return stdtrit(self.degrees, (1 + share) / 2) * self.error


@dataclass(frozen=True)
class Outcome:
    """What a claim's cells say."""

    p_for: np.ndarray  # (...)
    p_against: np.ndarray  # (...)
    estimate: Estimate
    shown: np.ndarray  # (...), which of the contrasts is shown as the effect
    share: float = SHARE  # of the shown contrast's interval: several values hold together in 95 %
    within: np.ndarray | None = None  # of values: (...), all are within their intervals, and these are narrow enough


def outcome(claim: Claim, arms: Arms, cells: Sequence[str], printed: Mapping[str, float]) -> Outcome:
    """Return what a claim's cells say; `cells` are the names of `arms`, `printed` the paper's values by name."""
    at = {cell: k for k, cell in enumerate(cells)}
    if claim.kind == "ordering":
        pairs = [(at[low], at[high]) for low, high in zip(claim.lower, claim.higher, strict=True)]
        return ordering(_estimate(arms, [{low: -1.0, high: 1.0} for low, high in pairs]))
    if claim.kind == "literature":
        constants = [printed[cell] for cell in claim.lower]
        return ordering(_estimate(arms, [{at[cell]: 1.0} for cell in claim.higher], constants))
    if claim.kind == "trend":
        return trend(arms, [at[cell] for cell in claim.rising])
    if claim.kind == "value":
        return value(
            arms, [at[cell] for cell in claim.printed], [printed[cell] for cell in claim.printed], claim.margin
        )
    chosen = [at[cell] for cell in claim.equal or claim.flat]
    return equivalence(_estimate(arms, [{a: -1.0, b: 1.0} for a, b in combinations(chosen, 2)]), claim.margin)


def ordering(differences: Estimate) -> Outcome:
    """Judge differences that should all be positive; shown is the smallest one."""
    number = differences.value.shape[-1]
    up, down = np.minimum(1.0, 2 * differences.above()), np.minimum(1.0, 2 * differences.below())
    p_for = np.where(differences.value > 0, up, 1.0).max(-1)
    p_against = np.minimum(1.0, number * np.where(differences.value < 0, down, 1.0).min(-1))
    return Outcome(p_for, p_against, differences, differences.value.argmin(-1))


def trend(arms: Arms, rising: Sequence[int]) -> Outcome:
    """Judge cells that should rise steadily; shown is the rise of the fitted line from the first to the last.

    `p_for` is that of the rise alone: a step against it that chance may have made does not stand in the way.
    """
    places = np.arange(len(rising)) - (len(rising) - 1) / 2
    slope = places / (places**2).sum() * (len(rising) - 1)
    line = _estimate(arms, [dict(zip(rising, slope, strict=True))])
    steps = ordering(_estimate(arms, [{a: -1.0, b: 1.0} for a, b in pairwise(rising)]))
    found = ordering(line)
    p_for = np.where(steps.p_against > STEP_AGAINST, found.p_for, 1.0)
    return Outcome(p_for, found.p_against, line, found.shown)


def equivalence(differences: Estimate, margin: float) -> Outcome:
    """Judge differences that should all lie within the margin, on either side; shown is the largest one."""
    number = differences.value.shape[-1]
    p_for = np.maximum(differences.above(-margin), differences.below(margin)).max(-1)
    beyond = np.minimum(differences.above(margin), differences.below(-margin))
    p_against = np.minimum(1.0, 2 * number * beyond.min(-1))
    return Outcome(p_for, p_against, differences, np.abs(differences.value).argmax(-1))


def value(arms: Arms, cells: Sequence[int], printed: Sequence[float], margin: float) -> Outcome:
    """Judge whether printed values could come from one more run of each cell; shown is the one that is farthest off.

    That they could is no proof, so there is no `p_for`: it counts for the claim where all of them lie in intervals that
    hold together in 95 % of studies, and none of these is wider than the margin on either side.
    """
    error = np.sqrt(arms.variance * (1 + 1 / arms.seeds))
    differences = _estimate(arms, [{cell: 1.0} for cell in cells], printed, error)
    share = 1 - (1 - SHARE) / len(cells)
    both = np.minimum(1.0, 2 * np.minimum(differences.above(), differences.below()))
    p_against = np.minimum(1.0, len(cells) * both.min(-1))
    half = differences.half_width(share)
    known = (differences.error > 0).all(-1)
    within = ((np.abs(differences.value) <= half) & (half <= margin)).all(-1) & known
    return Outcome(np.ones_like(p_against), p_against, differences, both.argmin(-1), share, within)


def _estimate(
    arms: Arms,
    contrasts: Sequence[Mapping[int, float]],
    constants: Sequence[float] | None = None,
    error_of_runs: np.ndarray | None = None,
) -> Estimate:
    """Return weighted sums of means less constants; of several cells the fewest degrees of freedom count."""
    weights = np.zeros((len(contrasts), arms.means.shape[-1]))
    for k, contrast in enumerate(contrasts):
        for arm, weight in contrast.items():
            weights[k, arm] += weight
    constant = np.zeros(len(contrasts)) if constants is None else np.asarray(constants, float)
    squares = arms.variance / arms.seeds if error_of_runs is None else error_of_runs**2
    used = np.where(weights != 0, 0.0, np.inf)
    degrees = (arms.degrees[..., None, :] + used).min(-1)
    return Estimate(arms.means @ weights.T - constant, np.sqrt(squares @ (weights**2).T), degrees, weights, constant)
