"""The rule for all claims together: at how many seeds it is looked, what each look may spend, Holm's step-down.

Whoever judges 25 claims at 5 % each finds one where there is nothing, and adding seeds until something turns significant
always succeeds. So the 5 % are shared out, once over looks and at each look over all claims of the tables that seeds can decide:

- It is looked at 3, 5, 8 and 12 seeds, with 1 % each, then at 20, 40, 80, ... with half of what was left: 5 % in all.
- A look at n seeds sees the first n seeds that a claim's cells share, by their numbers, and nothing else; four seeds are
  looked at like three. With k seeds the looks at 3 ... k are gone through from the first one whenever the program is called: so what comes out depends
  on the seeds that are there, and not on how often somebody has called it, nor on whether it was called before.
- At each look Holm's step-down counts every claim that the specs hold, also those whose runs are not there.
- A claim is decided at the first look at which its p-value, times what Holm and the look make of it, is 0.05 or less, and
  stays decided at later looks. (A run of another cell that comes in afterwards adds to the spread of an earlier look, too.)

in: claims, scores (..., arms, seeds) -> out: `Found`, (..., claims) each; the same for one study and for thousands simulated
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from swdb.specs.claims import ONLY_COMPARABLE, Claim
from swdb.verdicts.contrasts import SHARE, STEP_AGAINST, Arms, Outcome, outcome
from swdb.verdicts.spread import Noise, moderated

VERSION = 1  # raised by hand when equal scores would give another verdict
ALPHA = 0.05
EARLY = (3, 5, 8, 12)  # seeds at the first looks
EARLY_ALPHA = 0.01  # that each of them may spend
FIRST_LATE = 20  # from then on at each doubling


def content() -> dict[str, Any]:
    """Return the rule as values, to be fixed before anything is run."""
    early = {"looks": list(EARLY), "alpha_each": EARLY_ALPHA, "first_late_look": FIRST_LATE}
    return {"version": VERSION, "alpha": ALPHA, **early, "step_against": STEP_AGAINST, "share": SHARE}


def looks(seeds: int) -> Iterator[tuple[int, float]]:
    """Yield the looks that so many seeds allow, each with what it may spend of ALPHA."""
    yield from ((look, EARLY_ALPHA) for look in EARLY if look <= seeds)
    look, left = FIRST_LATE, ALPHA - EARLY_ALPHA * len(EARLY)
    while look <= seeds:
        left /= 2
        yield look, left
        look *= 2


def next_look(seeds: int) -> int:
    """Return at how many seeds it is looked next."""
    return next(look for look, _ in looks(2 * max(seeds, FIRST_LATE) + 2) if look > seeds)


@dataclass(frozen=True)
class Found:
    """What the rule finds; (..., claims) each."""

    decided: np.ndarray  # 1 as the claim says, -1 against it, 0 undecided
    p: np.ndarray  # at `look`, of the claim alone; NaN where it was never looked at
    p_adjusted: np.ndarray
    look: np.ndarray  # of the decision, or the last one; 0 where it was never looked at


def apply(
    claims: Sequence[Claim],
    arms: Mapping[str, int],
    values: np.ndarray,
    printed: Mapping[str, float],
    family: int,
) -> Found:
    """Judge claims on scores (..., arms, seeds), NaN where nothing was run.

    arms: which arm a cell is. printed: the paper's values by cell. family: how many claims the adjustment counts.
    """
    shape = (*values.shape[:-2], len(claims))
    decided, look_of = np.zeros(shape, int), np.zeros(shape, int)
    p, p_adjusted = np.full(shape, np.nan), np.ones(shape)
    within = np.zeros(shape, bool)
    for look, alpha in looks(values.shape[-1]):
        found = at_look(claims, arms, values, printed, look)
        if not any(found):
            break
        p_for, p_against = _p_values(found, shape)
        best = np.minimum(p_for, p_against)
        adjusted = np.minimum(1.0, holm(best, family) * (ALPHA / alpha))
        seen = np.array([one is not None for one in found])
        open_still = (decided == 0) & seen
        new = open_still & (adjusted <= ALPHA)
        decided = np.where(new, np.where(p_for <= p_against, 1, -1), decided)
        p, look_of = np.where(open_still, best, p), np.where(open_still, look, look_of)
        p_adjusted = np.where(open_still, adjusted, p_adjusted)
        for k, one in enumerate(found):
            if one is not None and one.within is not None:
                within[..., k] = one.within
    return Found(np.where((decided == 0) & within, 1, decided), p, p_adjusted, look_of)


def at_look(
    claims: Sequence[Claim],
    arms: Mapping[str, int],
    values: np.ndarray,
    printed: Mapping[str, float],
    look: int,
) -> list[Outcome | None]:
    """Return what each claim's cells say over their first `look` seeds; None where they have not so many in common."""
    noises = noises_of(first(values, look))
    found = []
    for claim in claims:
        common = common_seeds(claim, arms, values)
        found.append(judged(claim, arms, values, printed, common[:look], noises) if len(common) >= look else None)
    return found


def judged(
    claim: Claim,
    arms: Mapping[str, int],
    values: np.ndarray,
    printed: Mapping[str, float],
    seeds: Sequence[int],
    noises: tuple[Noise | None, Noise | None],
) -> Outcome | None:
    """Return what a claim's cells say over some seeds (places in `values`); None without any spread to judge by."""
    noise = noise_for(claim, noises)
    if noise is None:
        return None
    cells = claim.measured_cells
    at = [arms[cell] for cell in cells]
    chosen = values[..., at, :][..., seeds]
    return outcome(
        claim, Arms(chosen.mean(-1), noise.variance[..., at], noise.degrees[..., at], len(seeds)), cells, printed
    )


def noises_of(values: np.ndarray) -> tuple[Noise | None, Noise | None]:
    """Return the noise of differences between cells, and that of single runs."""
    return moderated(values, common=True), moderated(values, common=False)


def noise_for(claim: Claim, noises: tuple[Noise | None, Noise | None]) -> Noise | None:
    """Return the noise that a claim is judged by: what seeds do to all cells alike counts where constants are compared."""
    return noises[1 if claim.kind in ONLY_COMPARABLE else 0]


def first(values: np.ndarray, look: int) -> np.ndarray:
    """Return the values of every arm's first `look` seeds, NaN for its others."""
    return np.where(np.cumsum(~np.isnan(values), -1) <= look, values, np.nan)


def common_seeds(claim: Claim, arms: Mapping[str, int], values: np.ndarray) -> np.ndarray:
    """Return the seeds (places in `values`) that all cells of a claim have."""
    at = [arms[cell] for cell in claim.measured_cells]
    ran = ~np.isnan(values[..., at, :])
    return np.flatnonzero(ran[(0,) * (ran.ndim - 2)].all(0))


def _p_values(found: Sequence[Outcome | None], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    p_for, p_against = np.ones(shape), np.ones(shape)
    for k, one in enumerate(found):
        if one is not None:
            p_for[..., k], p_against[..., k] = one.p_for, one.p_against
    return p_for, p_against


def holm(p: np.ndarray, family: int) -> np.ndarray:
    """Return p-values adjusted for `family` claims by Holm's step-down; those that are not among them count as 1."""
    order = np.argsort(p, -1)
    ranked = np.take_along_axis(p, order, -1) * (family - np.arange(p.shape[-1]))
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(1.0, np.maximum.accumulate(ranked, -1)), -1)
    return adjusted
