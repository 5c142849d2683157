"""A claim under a reading: both sides over the same seeds, differences paired by seed, words without any adjustment."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulated import FAMILY, TABLES

from swdb.verdicts.engine import judge
from swdb.verdicts.readings import (
    AGAINST,
    AGREES,
    FOR,
    OPEN,
    OTHER_DIRECTION,
    OTHER_VERDICT,
    UNDECIDED,
    compare,
)  # fmt: skip
from swdb.verdicts.verdict import NOT_RUN

CLAIMS = {claim.key: (number, claim) for number, table in TABLES.items() for claim in table.claims}


def made(change=None, seeds=5, sd=0.3, draw=0) -> dict[str, dict[int, float]]:
    """Scores of all cells: 60, or as `change` says; cells that one prediction stands behind have one score."""
    random, found = np.random.RandomState(draw), {}
    for cells in FAMILY.cells:
        centre = next((change[cell] for cell in cells if cell in (change or {})), 60.0)
        by_seed = {k: float(centre + random.normal(0, sd)) for k in range(seeds)}
        found |= dict.fromkeys(cells, by_seed)
    return found


def one(key: str, default, otherwise):
    (found,) = compare(FAMILY, [CLAIMS[key]], default, otherwise)
    return found


KL, DUAL = "2:dual-kl.miou", "2:dual.miou"


def with_cell(values, cell, by_seed):
    return {**values, cell: by_seed}


def test_both_sides_are_the_differences_of_the_claim():
    default = made({DUAL: 63.0})
    otherwise = with_cell(default, KL, {k: v + 5 for k, v in default[KL].items()})
    found = one("kl-hurts", default, otherwise)
    difference = np.mean([default[DUAL][k] - default[KL][k] for k in range(5)])
    assert found.default.effect == pytest.approx(difference) and found.otherwise.effect == pytest.approx(difference - 5)
    assert (found.default.word, found.otherwise.word) == (FOR, AGAINST)
    assert found.change == pytest.approx(-5)
    assert (found.same_direction, found.same_verdict, found.together) == (False, False, OTHER_DIRECTION)
    assert found.seeds == (0, 1, 2, 3, 4)


def test_the_default_is_what_the_ledger_says_of_effect_and_interval():
    default = made({DUAL: 61.0})
    (verdict,) = [one for one in judge(FAMILY, default, False).verdicts if one.claim.key == "kl-hurts"]
    found = one("kl-hurts", default, default).default
    assert found.effect == pytest.approx(verdict.effect)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (verdict.seeds_interval.low, verdict.seeds_interval.high)
    )
    assert found.p < verdict.p_adjusted  # of this claim alone


def test_the_change_is_a_paired_t_interval():
    default, random = made(), np.random.RandomState(4)
    otherwise = with_cell(default, KL, {k: v - 1 + random.normal(0, 0.2) for k, v in default[KL].items()})
    found = one("kl-hurts", default, otherwise)
    pairs = [default[KL][k] - otherwise[KL][k] for k in range(5)]
    expected = stats.t.interval(0.95, 4, np.mean(pairs), stats.sem(pairs))
    assert (found.change_interval.low, found.change_interval.high) == pytest.approx(expected)


def test_only_seeds_that_both_sides_have_count():
    default = made(seeds=5)
    otherwise = with_cell(default, KL, {k: v + k for k, v in default[KL].items() if k in (1, 3)})
    found = one("kl-hurts", default, otherwise)
    assert found.seeds == (1, 3)
    assert found.change == pytest.approx(-2)
    assert found.default.effect == pytest.approx(np.mean([default[DUAL][k] - default[KL][k] for k in (1, 3)]))


def test_a_reading_that_nobody_ran_says_so():
    default = made()
    found = one("kl-hurts", default, with_cell(default, KL, {}))
    assert (found.default, found.otherwise, found.together) == (None, None, NOT_RUN)
    assert found.same_direction is None and found.same_verdict is None


def test_one_seed_has_effects_and_decides_nothing():
    default = made(seeds=1)
    found = one("kl-hurts", default, with_cell(default, KL, {0: 50.0}))
    assert found.default.word == found.otherwise.word == UNDECIDED
    assert found.default.interval is None and found.change_interval is None
    assert found.change == pytest.approx(default[KL][0] - 50)


def test_a_smaller_effect_of_the_same_sign_is_another_verdict_where_chance_may_make_it():
    default = made({DUAL: 62.0}, sd=0.5)
    otherwise = with_cell(default, KL, {k: default[DUAL][k] - 0.05 * (k + 1) for k in range(5)})
    found = one("kl-hurts", default, otherwise)
    assert (found.default.word, found.otherwise.word) == (FOR, UNDECIDED)
    assert found.together == OTHER_VERDICT


def test_equivalence_has_no_direction_but_a_side_of_its_margin():
    default = made(sd=0.1)
    cell = "1:fine-tuned.miou"
    inside = with_cell(default, cell, {k: v - 0.3 for k, v in default[cell].items()})
    beyond = with_cell(default, cell, {k: v + 3 for k, v in default[cell].items()})
    assert one("fine-tuning-converges", default, inside).together == AGREES
    found = one("fine-tuning-converges", default, beyond)
    assert (found.default.word, found.otherwise.word, found.together) == (FOR, AGAINST, OTHER_DIRECTION)


def test_of_robustness_the_largest_difference_is_shown_and_its_change_has_the_same_sign():
    default = made(sd=0.1)
    otherwise = {
        cell: {k: v - 4 for k, v in by_seed.items()} if cell in ("2:dual.miou", "3:n3.strong") else by_seed
        for cell, by_seed in default.items()
    }
    found = one("strong-branch-robust", default, otherwise)
    assert found.default.effect > 0 and found.otherwise.effect > 3
    assert found.together == OTHER_DIRECTION
    back = one("strong-branch-robust", otherwise, default)
    assert back.change == pytest.approx(-4, abs=0.6)


def test_what_a_reading_says_does_not_move_any_verdict_of_the_tables():
    default = made({DUAL: 61.0})
    before = judge(FAMILY, default, False)
    compare(FAMILY, [*CLAIMS.values()], default, made(draw=9))
    assert judge(FAMILY, default, False) == before and before.family == len(FAMILY.decidable(False))


def test_scores_that_cannot_be_are_refused_on_either_side():
    from swdb.core.errors import BadInput

    default = made()
    with pytest.raises(BadInput, match="found a score of 101"):
        one("kl-hurts", default, with_cell(default, KL, {0: 101.0}))


def test_a_value_has_no_direction():
    found = one("values-2", made(), made(draw=1))
    assert found.same_direction is None and found.same_verdict in (True, False)
    assert replace(found, default=None).same_verdict is None


def test_where_nothing_is_shown_on_either_side_directions_are_left_to_chance():
    default = made(sd=0.5)
    way = np.mean([default[DUAL][k] - default[KL][k] for k in range(5)])
    found = one("kl-hurts", default, with_cell(default, KL, {k: v + 2 * way for k, v in default[KL].items()}))
    assert found.same_direction is False and found.same_verdict
    assert found.together == OPEN
