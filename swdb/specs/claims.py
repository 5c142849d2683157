"""What the paper states as an ordering, and whether the measured values decide it. Pure Python.

The rule, fixed before any validation split was scored: over the seeds that both cells have, take the differences
higher - lower; their mean m and its standard error e decide.

    m > 2 e    CONFIRMED       m < -2 e    CONTRADICTED       otherwise, or with fewer than 2 seeds    UNDECIDED

With 3 seeds that is a lenient bar (p of about 0.18, two-sided); all seeds share one data set and its proxies.
"""

from dataclasses import dataclass
from statistics import mean, stdev

STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Verdict:
    """What became of a claim; difference and standard error in points of mIoU."""

    word: str  # CONFIRMED, CONTRADICTED, UNDECIDED or NOT RUN
    difference: float | None
    standard_error: float | None
    num_seeds: int


def decide(lower: dict[int, float], higher: dict[int, float], equal: bool = False) -> Verdict:
    """Apply the rule to measured values by seed.

    That two cells are `equal` can be contradicted, by a difference in either direction, but never confirmed.
    """
    seeds = sorted(lower.keys() & higher.keys())
    if not seeds:
        return Verdict("NOT RUN", None, None, 0)
    differences = [higher[seed] - lower[seed] for seed in seeds]
    difference = mean(differences)
    if len(seeds) < 2:
        return Verdict("UNDECIDED", difference, None, len(seeds))
    error = stdev(differences) / len(seeds) ** 0.5
    if equal:
        word = "CONTRADICTED" if abs(difference) > STANDARD_ERRORS * error else "UNDECIDED"
    elif difference > STANDARD_ERRORS * error:
        word = "CONFIRMED"
    elif difference < -STANDARD_ERRORS * error:
        word = "CONTRADICTED"
    else:
        word = "UNDECIDED"
    return Verdict(word, difference, error, len(seeds))
