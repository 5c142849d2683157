"""The proof of the rule, in whatever size: sets of tables are drawn, the engine judges them, and what is right is known.

The claims are those of `tables/*.toml`; nothing of the rule is repeated here. Printed numbers are made up where nothing should
be found: with all means alike even the literature must say the same.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from swdb.specs.tables import Table, load_tables, measured_cells
from swdb.verdicts import rule
from swdb.verdicts.engine import family_of
from swdb.verdicts.simulation import CENTRE, Means, Tally, draw, exchanged, printed_means, right, tally


def quoted_values(tables: Mapping[int, Table]) -> dict[str, float]:
    """List what others measured, as the paper quotes it, by the cells of ours that measure the same."""
    return {
        f"{table.number}:{row.key}.{column.key}": row.paper[column.quoted]
        for table in tables.values()
        for row in table.rows
        for column in table.columns
        if column.quoted in row.paper
    }


TABLES = load_tables()
FAMILY, SOURCES = family_of(TABLES), measured_cells(TABLES)
PRINTED = {**FAMILY.printed, **quoted_values(TABLES)}  # what means are made up from
CLAIMS = [claim for _, claim in FAMILY.claims]
SPREADS = (0.5, 0.75, 1.0, 1.5)  # points of one run: those measured are 0.75 and 1.49
FACTORS = (1.0, 0.5, 0.25)  # of the printed effects
LOOKED = (3, 5, 8, 12)  # seeds at hand: with 12 it was looked at all four
TURNED = (
    ("2:dual-kl.miou", "2:dual.miou"),
    ("2:dual-all-strong.miou", "2:all-strong.miou"),
    ("2:weak-retrain.miou", "2:weak.miou"),
)
ALIKE, SAME_PRINTED = dict.fromkeys(SOURCES, CENTRE), dict.fromkeys(FAMILY.printed, CENTRE)

Judge = Callable[
    [np.ndarray, Means], np.ndarray
]  # scores (sets, arms, seeds), printed values -> decisions (sets, claims)


@dataclass(frozen=True)
class World:
    """What is true of the cells, and what is printed."""

    name: str
    means: Means
    printed: Means


def engine(scores: np.ndarray, printed: Means) -> np.ndarray:
    """Let the engine judge."""
    return rule.apply(CLAIMS, FAMILY.arms, scores, printed, len(CLAIMS)).decided


def nothing_to_find() -> World:
    """All means alike, and as printed."""
    return World("no effect", ALIKE, SAME_PRINTED)


def on_the_margins() -> World:
    """Equalities that just do not hold: the difference is the margin."""
    shifts = {}
    for claim in CLAIMS:
        if claim.kind in ("equivalence", "robustness"):
            shifts[(claim.equal or claim.flat)[0]] = claim.margin
    return World("on the margins", exchanged(ALIKE, SOURCES, (), shifts), SAME_PRINTED)


def planted(factors=FACTORS) -> Iterator[World]:
    """The printed effects times a factor, as they are and with some turned."""
    for factor in factors:
        means = printed_means(SOURCES, PRINTED, factor)
        yield World(f"effects x {factor:g}", means, FAMILY.printed)
        yield World(
            f"effects x {factor:g}, some turned",
            exchanged(means, SOURCES, TURNED, {"1:fine-tuned.miou": 3.0}),
            FAMILY.printed,
        )


def judged(world: World, sd: float, seeds: int, sets: int, judge: Judge = engine, seed: int = 0) -> Tally:
    """Draw sets of tables of a world and count what is decided, and what of it is wrong."""
    generator = np.random.default_rng((seed, seeds, round(100 * sd), *world.name.encode()))
    scores = draw(SOURCES, world.means, sd, seeds, sets, generator)
    return tally(judge(scores, world.printed), [right(claim, world.means, world.printed) for claim in CLAIMS])


def former_rule(scores: np.ndarray, printed: Means) -> np.ndarray:
    """Judge orderings as the program once did: the mean paired difference beyond two of its own standard errors, at any look."""
    decided = np.zeros((len(scores), len(CLAIMS)), int)
    for look in (seeds for seeds in LOOKED if seeds <= scores.shape[-1]):
        for k, claim in enumerate(CLAIMS):
            if claim.kind != "ordering":
                continue
            low, high = ([FAMILY.arms[cell] for cell in cells] for cells in (claim.lower, claim.higher))
            differences = scores[:, high, :look] - scores[:, low, :look]
            means, errors = differences.mean(-1), differences.std(-1, ddof=1) / look**0.5
            now = np.where((means > 2 * errors).all(-1), 1, np.where((means < -2 * errors).any(-1), -1, 0))
            decided[:, k] = np.where(decided[:, k] == 0, now, decided[:, k])
    return decided


def margin(share: float, number: int, chance: float = 0.01) -> float:
    """Return how far chance takes an observed share above the true one, but in `chance` of cases: exact binomial."""
    from scipy.stats import binom

    return float(binom.isf(chance, number, share)) / number - share
