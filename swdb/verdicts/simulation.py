"""Made-up sets of tables in which the truth is known: what the rule says of them proves what its verdicts are worth.

    y[arm, seed] = mean of the arm + common part of the seed + noise of the run

Cells that score the same branch of the same runs are one arm, in however many tables they stand. The noise of runs with few
strong images is larger, as measured; runs of one seed share a part (the order of the data, the crops).

in: what is true of the cells -> out: scores (repetitions, arms, seeds); which verdicts on a claim are right
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from swdb.specs.claims import Claim
from swdb.specs.tables import CellSource

CORRELATION = 0.1  # of runs of one seed; measured: 0.07 on synthetic, 0.20 on voc-animals-squeezenet
FEW_STRONG_SPREAD = 1.7  # times the spread of other runs, of those of Table 4; measured: 1.5 to 1.7
CENTRE = 65.0  # printed differences shrink and grow around it
UNPRINTED = 0.6  # points over the best of its runs, for an average that the paper does not print: a guess
TINY = 1e-9  # points

Means = Mapping[str, float]  # by cell


# ---------------------------------------------------------------- what is true


def printed_means(sources: Mapping[str, CellSource], printed: Means, factor: float = 1.0) -> dict[str, float]:
    """Return means by cell: the printed values, with all differences times a factor."""
    known = {source: printed[cell] for cell, source in sources.items() if cell in printed}
    for source in sources.values():
        if source not in known:
            known[source] = UNPRINTED + max(known[CellSource((run,), source.branch)] for run in source.runs)
    return {cell: CENTRE + factor * (known[source] - CENTRE) for cell, source in sources.items()}


def exchanged(
    means: Means, sources: Mapping[str, CellSource], pairs: Iterable[tuple[str, str]], shifts: Means
) -> dict[str, float]:
    """Return means in which the cells of each pair have each other's, and others are shifted, wherever else they stand."""
    known = {source: means[cell] for cell, source in sources.items()}
    for one, other in ((sources[first], sources[second]) for first, second in pairs):
        known[one], known[other] = known[other], known[one]
    for cell, shift in shifts.items():
        known[sources[cell]] += shift
    return {cell: known[source] for cell, source in sources.items()}


@dataclass(frozen=True)
class Right:
    """Which decisions on a claim are right; both may be wrong, where there is nothing to find."""

    claim: bool
    contrary: bool


def right(claim: Claim, means: Means, printed: Means) -> Right:
    """Return which decisions on a claim are right where these are the means; `printed`: what literature and paper say."""
    if claim.kind in ("ordering", "literature"):
        lower = [printed[cell] if claim.kind == "literature" else means[cell] for cell in claim.lower]
        smallest = min(means[high] - low for high, low in zip(claim.higher, lower, strict=True))
        return Right(smallest > TINY, smallest < -TINY)
    if claim.kind == "trend":
        values = [means[cell] for cell in claim.rising]
        slope = sum(value * (k - (len(values) - 1) / 2) for k, value in enumerate(values))
        falls = any(after < before - TINY for before, after in pairwise(values))
        return Right(slope > TINY and not falls, slope < -TINY)
    if claim.kind == "value":
        off = max(abs(means[cell] - printed[cell]) for cell in claim.printed)
        return Right(off <= claim.margin, off > TINY)
    values = [means[cell] for cell in claim.equal or claim.flat]
    apart = max(values) - min(values)
    return Right(apart < claim.margin - TINY, apart > claim.margin - TINY)


# ---------------------------------------------------------------- what is drawn


def draw(
    sources: Mapping[str, CellSource],
    means: Means,
    sd: float,
    seeds: int,
    repetitions: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw scores (repetitions, arms, seeds); `sd`: points of one run, beside the common part of its seed."""
    arms = {source: (means[cell], sd * spread_factor(source)) for cell, source in sources.items()}
    if any(means[cell] != arms[source][0] for cell, source in sources.items()):
        raise ValueError("cells of one arm have different means")
    mean, spread = np.array([*arms.values()]).T[..., None]
    common = generator.standard_normal((repetitions, 1, seeds)) * sd * (CORRELATION / (1 - CORRELATION)) ** 0.5
    return mean + common + spread * generator.standard_normal((repetitions, len(arms), seeds))


def spread_factor(source: CellSource) -> float:
    """Return how many times as much a cell varies as others do."""
    return FEW_STRONG_SPREAD if any(run.strong_per_class is not None for run in source.runs) else 1.0


# ---------------------------------------------------------------- what the rule made of it


@dataclass(frozen=True)
class Tally:
    """How often decisions on sets of tables were made, and wrong."""

    sets: int
    decisions: int
    wrong: int
    sets_with_wrong: int
    claims: int

    @property
    def right_share(self) -> float:
        """Which share of the decisions was right; 1 where none was made."""
        return 1 - self.wrong / self.decisions if self.decisions else 1.0

    @property
    def decided_share(self) -> float:
        """Which share of claims was decided."""
        return self.decisions / (self.sets * self.claims)

    @property
    def false_share(self) -> float:
        """Which share of the sets holds a wrong decision."""
        return self.sets_with_wrong / self.sets


def tally(decided: np.ndarray, truths: Sequence[Right]) -> Tally:
    """Count decisions (sets, claims): 1 for a claim, -1 for its contrary, 0 none."""
    claim, contrary = (np.array([getattr(one, name) for one in truths]) for name in ("claim", "contrary"))
    wrong = ((decided == 1) & ~claim) | ((decided == -1) & ~contrary)
    return Tally(len(decided), int((decided != 0).sum()), int(wrong.sum()), int(wrong.any(1).sum()), len(truths))
