"""A claim as the tables read the paper, and as a reading does: what its cells say in both cases, over the same seeds.

The paper's claims are judged together, by a rule that counts how many they are (rule.py); nothing here enters there. Each
comparison stands alone: both sides by the same test, over all seeds that both have, with p-values as they are. So these say
where readings agree, and do not decide anything.

in: scores of cells by seed, as read by default and under a reading -> out: a `Comparison` for each claim
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from swdb.specs.claims import Claim
from swdb.verdicts import rule
from swdb.verdicts.contrasts import SHARE
from swdb.verdicts.engine import Family, Values, collect, numbers_of
from swdb.verdicts.verdict import NOT_RUN, Interval

FOR, AGAINST, UNDECIDED = "for", "against", "undecided"
AGREES, OPEN, OTHER_VERDICT, OTHER_DIRECTION = "agrees", "both undecided", "other verdict", "other direction"
TOGETHER = (AGREES, OPEN, OTHER_VERDICT, OTHER_DIRECTION, NOT_RUN)
SIGNED = ("ordering", "trend", "literature")  # kinds whose effect has a direction; others are within a margin, or not


@dataclass(frozen=True)
class Side:
    """What a claim's cells say as they are read in one way."""

    effect: float  # points of mIoU
    interval: Interval | None
    p: float | None  # of this claim alone, of this look alone
    word: str


@dataclass(frozen=True)
class Comparison:
    """A claim under a reading, beside what it is by default."""

    claim: Claim
    table: int
    seeds: tuple[int, ...] = ()  # that both sides have
    default: Side | None = None  # None: no seed in common
    otherwise: Side | None = None
    change: float | None = None  # of the default's contrast, points of mIoU: mean over the seeds of differences by seed
    change_interval: Interval | None = None

    @property
    def same_direction(self) -> bool | None:
        """Whether both effects have one sign or, of equivalence, lie on one side of the margin; None: cannot be said."""
        if self.default is None or self.otherwise is None or self.claim.kind == "value":
            return None
        return _points_up(self.claim, self.default.effect) == _points_up(self.claim, self.otherwise.effect)

    @property
    def same_verdict(self) -> bool | None:
        """Whether both sides are for, against, or undecided; None: cannot be said."""
        if self.default is None or self.otherwise is None:
            return None
        return self.default.word == self.otherwise.word

    @property
    def together(self) -> str:
        """Say how far both go together, one of TOGETHER; where nothing is shown on either side, directions are chance's."""
        if self.default is None or self.otherwise is None:
            return NOT_RUN
        if self.default.word == self.otherwise.word == UNDECIDED:
            return OPEN
        if self.same_direction is False:
            return OTHER_DIRECTION
        return AGREES if self.same_verdict else OTHER_VERDICT


def compare(
    family: Family, claims: Sequence[tuple[int, Claim]], default: Values, otherwise: Values
) -> list[Comparison]:
    """Compare claims, each with its table; `otherwise` has the scores of the study under the reading, all its cells."""
    seeds, scores = collect(family, default)
    seeds_there, there = collect(family, otherwise)
    both = [seed for seed in seeds if seed in seeds_there]
    scores = scores[:, [seeds.index(seed) for seed in both]]
    there = there[:, [seeds_there.index(seed) for seed in both]]
    return [_compared(family, table, claim, both, scores, there) for table, claim in claims]


def _compared(
    family: Family, table: int, claim: Claim, seeds: list[int], scores: np.ndarray, there: np.ndarray
) -> Comparison:
    common = np.intersect1d(*(rule.common_seeds(claim, family.arms, one) for one in (scores, there)))
    if len(common) == 0:
        return Comparison(claim, table)
    (default, weights), (otherwise, _) = (_side(family, claim, one, common) for one in (scores, there))
    at = [family.arms[cell] for cell in claim.measured_cells]
    by_seed = weights @ (there - scores)[at][:, common]
    used = tuple(seeds[place] for place in common)
    return Comparison(claim, table, used, default, otherwise, float(by_seed.mean()), _paired(by_seed))


def _side(family: Family, claim: Claim, scores: np.ndarray, common: np.ndarray) -> tuple[Side, np.ndarray]:
    """Return what a claim's cells say, and the weights of the contrast that is shown for it."""
    numbers, one = numbers_of(family, claim, scores, common, rule.noises_of(scores), None)
    effect, interval = numbers["effect"], numbers.get("seeds_interval")
    shown = int(one.shown)
    sign = -1.0 if effect * float(one.estimate.value[shown]) < 0 else 1.0  # of robustness the size is shown
    p_for, p_against = float(one.p_for), float(one.p_against)
    if interval is None:
        return Side(effect, None, None, UNDECIDED), sign * one.estimate.weights[shown]
    word = UNDECIDED
    if min(p_for, p_against) <= rule.ALPHA:
        word = FOR if p_for <= p_against else AGAINST
    elif one.within is not None and one.within:
        word = FOR
    return Side(effect, interval, min(p_for, p_against), word), sign * one.estimate.weights[shown]


def _paired(differences: np.ndarray) -> Interval | None:
    """Return where the mean of differences lies, each of one seed; None where nothing says how much they differ."""
    number = len(differences)
    if number < 2 or (sd := float(differences.std(ddof=1))) == 0:
        return None
    half = float(stdtrit(number - 1, (1 + SHARE) / 2)) * sd / number**0.5
    return Interval(float(differences.mean()) - half, float(differences.mean()) + half)


def _points_up(claim: Claim, effect: float) -> bool:
    return effect > 0 if claim.kind in SIGNED else abs(effect) < (claim.margin or 0.0)
