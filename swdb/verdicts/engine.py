"""From measured scores to the ledger: which claims are judged together, by which rule, and what is said of each.

in: table specs, scores by cell and seed, counts of images if they are there -> out: a `Ledger`
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from swdb.core.errors import BadInput
from swdb.specs.claims import ONLY_COMPARABLE, Claim, contrary
from swdb.specs.tables import Table, measured_cells, printed_values, rows_in_words
from swdb.verdicts import images, rule
from swdb.verdicts.contrasts import Outcome
from swdb.verdicts.spread import Noise
from swdb.verdicts.verdict import (
    CONTRADICTED,
    NOT_COMPARABLE,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    Interval,
    Ledger,
    Spread,
    Verdict,
)

Values = Mapping[str, Mapping[int, float]]  # mIoU in % by cell ("N:row.column") and seed
Counts = Mapping[str, Mapping[int, np.ndarray]]  # images.parts by cell and seed
LEAST_ALIKE = 3  # different scores that two seeds share before they are taken for one


@dataclass(frozen=True)
class Family:
    """What is judged together: fixed by the table specs, whatever was run."""

    claims: tuple[tuple[int, Claim], ...]  # with the number of their table
    arms: Mapping[str, int]  # cells that the same prediction stands behind are one arm
    printed: Mapping[str, float] = field(default_factory=dict)

    @property
    def cells(self) -> list[list[str]]:
        """The cells of each arm."""
        found: list[list[str]] = [[] for _ in range(1 + max(self.arms.values(), default=-1))]
        for cell, arm in self.arms.items():
            found[arm].append(cell)
        return found

    def decidable(self, comparable: bool) -> list[int]:
        """List the claims (places in `claims`) that seeds can decide: they are what the adjustment counts."""
        return [k for k, (_, claim) in enumerate(self.claims) if comparable or claim.kind not in ONLY_COMPARABLE]


def family_of(tables: Mapping[int, Table]) -> Family:
    """Return the claims of all tables, and which of their cells are the same arm."""
    known: dict[object, int] = {}
    arms = {cell: known.setdefault(source, len(known)) for cell, source in measured_cells(tables).items()}
    claims = tuple((number, claim) for number, table in sorted(tables.items()) for claim in table.claims)
    return Family(claims, arms, printed_values(tables))


def judge(
    family: Family,
    values: Values,
    comparable: bool,
    preset: str = "",
    counts: Counts | None = None,
    limits: Sequence[str] = (),
    registered: Mapping[str, str] | None = None,
) -> Ledger:
    """Judge every claim of a family; raises BadInput for scores that cannot be, and for one seed under two names."""
    seeds, scores = collect(family, values)
    decidable = family.decidable(comparable)
    claims = [family.claims[k][1] for k in decidable]
    found = rule.apply(claims, family.arms, scores, family.printed, len(decidable))
    noises = rule.noises_of(scores)
    drawn = _drawn(family, seeds, counts or {})
    verdicts = []
    for k, (table, claim) in enumerate(family.claims):
        said = {"claim": claim, "table": table, "comparable": comparable}
        said["contrary"] = _contrary(claim, family.printed)
        common = rule.common_seeds(claim, family.arms, scores)
        said["seeds"] = tuple(seeds[place] for place in common)
        if k not in decidable:
            verdicts.append(Verdict(word=NOT_COMPARABLE, why=_incomparable(claim), **said))
        elif lacking := _lacking(family, claim, scores):
            verdicts.append(Verdict(word=NOT_RUN, why=lacking, **said))
        else:
            place = decidable.index(k)
            numbers, one = numbers_of(family, claim, scores, common, noises, drawn)
            verdict = _worded(said, numbers, one, found, place, len(decidable))
            falls = _falls(family, claim, scores[:, common]) if verdict.word == REPRODUCED else ""
            verdicts.append(replace(verdict, why=falls or verdict.why))
    looks = tuple(look for look, _ in rule.looks(len(seeds)))
    return Ledger(preset, comparable, tuple(verdicts), len(decidable), looks, tuple(limits), dict(registered or {}))


# ---------------------------------------------------------------- what was measured


def collect(family: Family, values: Values) -> tuple[list[int], np.ndarray]:
    """Return the seeds in order, and the scores (arms, seeds) with NaN where nothing was run; refuses what cannot be."""
    merged: list[dict[int, float]] = [{} for _ in family.cells]
    for cell, by_seed in values.items():
        if cell not in family.arms:
            raise BadInput(f"cell {cell!r}", "unknown", "a measured cell of a table")
        for seed, score in by_seed.items():
            _check_score(cell, seed, score)
            before = merged[family.arms[cell]].setdefault(seed, score)
            if before != score:
                other = next(c for c in family.cells[family.arms[cell]] if values.get(c, {}).get(seed) == before)
                found = f"{score} with seed {seed}, but {before} in {other!r}, which is the same run"
                raise BadInput(f"cell {cell!r}", found, "one score")
    seeds = sorted({seed for by_seed in merged for seed in by_seed})
    scores = np.array([[by_seed.get(seed, np.nan) for seed in seeds] for by_seed in merged], float)
    scores = scores.reshape(len(merged), len(seeds))
    _refuse_twins(seeds, scores)
    return seeds, scores


def _check_score(cell: str, seed: int, score: float) -> None:
    if type(seed) is not int or seed < 0:
        raise BadInput(f"cell {cell!r}", f"found seed {seed!r}", "a whole number, 0 or more")
    number = isinstance(score, int | float) and not isinstance(score, bool)
    if not (number and math.isfinite(score) and 0 <= score <= 100):
        raise BadInput(f"cell {cell!r}, seed {seed}", f"found a score of {score!r}", "an mIoU from 0 to 100")


def _refuse_twins(seeds: Sequence[int], scores: np.ndarray) -> None:
    """Refuse the same trainings under two names: two seeds whose scores are equal to the last digit, in cells that differ."""
    seen: dict[bytes, int] = {}
    for place, seed in enumerate(seeds):
        column = scores[:, place]
        if len(np.unique(column[~np.isnan(column)])) < LEAST_ALIKE:
            continue
        if (twin := seen.setdefault(column.tobytes(), seed)) != seed:
            number = int((~np.isnan(column)).sum())
            raise BadInput(
                f"seeds {twin} and {seed}", f"the same scores in all {number} cells", "a training of its own for each"
            )


def _lacking(family: Family, claim: Claim, scores: np.ndarray) -> str:
    """Name the rows of a claim that nobody ran."""
    lacking = [cell for cell in claim.measured_cells if np.isnan(scores[family.arms[cell]]).all()]
    return f"nobody ran {rows_in_words(lacking)}" if lacking else ""


def _incomparable(claim: Claim) -> str:
    what = "the values of the literature" if claim.kind == "literature" else "the printed values"
    return f"another scale than the paper's, so {what} say nothing here"


def _contrary(claim: Claim, printed: Mapping[str, float]) -> str:
    """Say where the paper's own numbers are against its sentence."""
    against = [
        f"{printed[high]:.1f} ({high}) against {printed[low]:.1f} ({low})" for low, high in contrary(claim, printed)
    ]
    return f"the paper contradicts itself: it prints {' and '.join(against)}" if against else ""


# ---------------------------------------------------------------- what is said


def numbers_of(
    family: Family,
    claim: Claim,
    scores: np.ndarray,
    common: np.ndarray,
    noises: tuple[Noise | None, Noise | None],
    drawn: "_Drawn | None",
) -> tuple[dict[str, object], Outcome | None]:
    """Return effect, intervals and spread over all seeds that a claim's cells have in common; drawn: None for no images."""
    if len(common) == 0:
        return {}, None
    arms, noise = family.arms, rule.noise_for(claim, noises)
    guess = noise or _no_noise(len(scores))  # for the effect alone
    one = rule.judged(claim, arms, scores, family.printed, common, (guess, guess))
    shown, estimate = int(one.shown), one.estimate
    effect, weights = float(estimate.value[shown]), estimate.weights[shown]
    sign = -1.0 if claim.kind == "robustness" and effect < 0 else 1.0
    numbers: dict[str, object] = {"effect": sign * effect}
    if noise is not None and estimate.error[shown] > 0:
        half = float(estimate.half_width(one.share)[shown])
        numbers["seeds_interval"] = Interval(sign * effect - half, sign * effect + half)
        numbers["spread"] = _spread(noise, [arms[cell] for cell in claim.measured_cells])
    if drawn is not None:
        at = [arms[cell] for cell in claim.measured_cells]
        numbers["images_interval"] = drawn.interval(at, sign * weights, sign * estimate.constant[shown], common)
    return numbers, one


def _no_noise(arms: int) -> Noise:
    return Noise(np.zeros(arms), np.zeros(arms), np.zeros(()), 0, np.zeros(arms))


def _spread(noise: Noise, at: Sequence[int]) -> Spread:
    """Describe the spread that a claim was judged by: the average variance that its cells are judged by."""
    sd, degrees = float(np.sqrt(noise.variance[at].mean())), float(noise.degrees[at].min())
    pooled = float(np.sqrt(noise.pooled))
    words = f"{sd:.2f} points a run, squeezed towards {pooled:.2f} of {noise.cells} cells"
    return Spread(sd, degrees, noise.cells, words)


def _worded(
    said: dict[str, object],
    numbers: dict[str, object],
    one: Outcome | None,
    found: rule.Found,
    place: int,
    family: int,
) -> Verdict:
    """Return the verdict on a claim that was run."""
    decided, look = int(found.decided[place]), int(found.look[place])
    known = {"p": float(found.p[place]), "p_adjusted": float(found.p_adjusted[place]), "look": look} if look else {}
    word = {1: REPRODUCED, -1: CONTRADICTED, 0: UNDECIDED}[decided]
    why = "" if decided else _open(said["claim"], numbers, one, known, len(said["seeds"]), family)
    return Verdict(word=word, why=why, **said, **numbers, **known)


def _falls(family: Family, claim: Claim, scores: np.ndarray) -> str:
    """Name the steps that go down although the claim, a trend, is shown to rise; scores (arms, seeds)."""
    means = [float(scores[family.arms[cell]].mean()) for cell in claim.rising]
    steps = pairwise(zip(claim.rising, means, strict=True))
    falls = [f"{one} to {other} falls by {low - high:.1f}" for (one, low), (other, high) in steps if high < low]
    return f"{' and '.join(falls)}, which chance may do" if falls else ""


def _open(
    claim: Claim,
    numbers: dict[str, object],
    one: Outcome | None,
    known: dict[str, object],
    seeds: int,
    family: int,
) -> str:
    """Say in one clause why a claim is not decided."""
    if seeds == 0:
        return "its cells have no seed in common"
    if seeds == 1:
        return "one seed, and nothing says how much the next one differs"
    if "seeds_interval" not in numbers:
        return "the seeds do not differ at all, so nothing says what chance does"
    if not known:
        return f"{seeds} seeds: the first look is at {rule.next_look(seeds)}"
    wait = "" if known["look"] == seeds else f"; {seeds} seeds, the next look is at {rule.next_look(seeds)}"
    effect = numbers["effect"]
    if claim.kind == "value":
        return _open_value(claim, one) + wait
    if claim.kind in ("equivalence", "robustness"):
        side = "within" if abs(effect) < claim.margin else "beyond"
        return f"{side} the margin of {claim.margin:g}, but chance could do that{wait}"
    if claim.kind == "trend" and effect > 0 and known["p_adjusted"] >= 1 and known["p"] >= 1:
        return f"it rises, but a step goes clearly down{wait}"
    if known["p"] > rule.ALPHA:
        return f"the difference may be chance (p {known['p']:.2g} before any adjustment){wait}"
    return f"too close for {family} claims judged together{wait}"


def _open_value(claim: Claim, one: Outcome) -> str:
    """Say what keeps printed values from being confirmed: wide intervals, one that lies beside its value, or the next look."""
    half = one.estimate.half_width(one.share)
    if (half > claim.margin).any():
        return f"an interval is wider than ± {claim.margin:g} points"
    if (np.abs(one.estimate.value) > half).any():
        return "a value lies outside its interval, but chance does that"
    return "all values lie in their intervals now"


# ---------------------------------------------------------------- other images


@dataclass(frozen=True)
class _Drawn:
    """mIoU on drawn splits by arm and place of the seed, each (draws,)."""

    miou: Mapping[tuple[int, int], np.ndarray]

    def interval(
        self, at: Sequence[int], weights: np.ndarray, constant: float, common: Sequence[int]
    ) -> Interval | None:
        """Return where a contrast of means lies on other images; None where the counts of a run are not kept."""
        used = [(arm, weight) for arm, weight in zip(at, weights, strict=True) if weight]
        if any((arm, place) not in self.miou for arm, _ in used for place in common):
            return None
        total = sum(weight * np.mean([self.miou[arm, place] for place in common], 0) for arm, weight in used)
        low, high = np.quantile(total - constant, [0.025, 0.975])
        return Interval(float(low), float(high), basis="images")


def _drawn(family: Family, seeds: Sequence[int], counts: Counts) -> _Drawn | None:
    """Return every run's mIoU on resampled splits; None where no counts are kept, or not of the same images."""
    places = {seed: place for place, seed in enumerate(seeds)}
    kept = {
        (family.arms[cell], places[seed]): parts
        for cell, by_seed in counts.items()
        for seed, parts in by_seed.items()
        if cell in family.arms and seed in places
    }
    if not kept or len({parts.shape for parts in kept.values()}) > 1:
        return None
    return _Drawn(dict(zip(kept, images.resampled([*kept.values()]).T, strict=True)))
