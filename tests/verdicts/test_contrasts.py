"""What means say for and against each kind of claim: against scipy.stats, and what must hold for any numbers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from swdb.specs.claims import Claim
from swdb.verdicts.contrasts import STEP_AGAINST, Arms, Outcome, outcome

A, B, C, D = "1:a.x", "1:b.x", "1:c.x", "1:d.x"
CELLS = (A, B, C, D)
ORDERING = Claim(key="o", text="t", place="p", kind="ordering", lower=(A,), higher=(B,))
SEVERAL = replace(ORDERING, lower=(A, A, A), higher=(B, C, D))
TREND = Claim(key="t", text="t", place="p", kind="trend", rising=CELLS)
EQUAL = Claim(key="e", text="t", place="p", kind="equivalence", equal=(A, B), margin=1.0)
FLAT = Claim(key="f", text="t", place="p", kind="robustness", flat=(A, B, C), margin=2.0)
VALUE = Claim(key="v", text="t", place="p", kind="value", printed=(A, B), margin=3.0)
QUOTED = Claim(key="q", text="t", place="p", kind="literature", lower=("1:a.y",), higher=(A,))
PRINTED = {A: 50.0, B: 51.0, C: 52.0, D: 53.0, "1:a.y": 49.0}
ALL = (ORDERING, SEVERAL, TREND, EQUAL, FLAT, VALUE, QUOTED)


def arms(means, sd=1.0, seeds=3, degrees=20.0) -> Arms:
    means = np.asarray(means, float)
    return Arms(means, np.broadcast_to(np.square(sd), means.shape), np.full(means.shape, degrees), seeds)


def judged(claim: Claim, means, **options) -> Outcome:
    return outcome(claim, arms(means, **options), CELLS, PRINTED)


def shown(found: Outcome) -> float:
    return float(found.estimate.value[int(found.shown)])


# ---------------------------------------------------------------- orderings


@pytest.mark.parametrize("difference", [-3.0, -0.4, 0.4, 2.5])
def test_an_ordering_is_a_two_sided_t_test_whose_sign_gives_the_word(difference):
    found = judged(ORDERING, [50, 50 + difference, 0, 0], sd=1.2, seeds=5, degrees=17)
    p = 2 * stats.t.sf(abs(difference) / (1.2 * np.sqrt(2 / 5)), 17)
    towards, away = (found.p_for, found.p_against) if difference > 0 else (found.p_against, found.p_for)
    assert towards == pytest.approx(p) and away == 1
    assert shown(found) == pytest.approx(difference)


def test_an_ordering_of_two_cells_alone_is_a_paired_t_test():
    # with the spread of two cells the rule is scipy's
    from swdb.verdicts.spread import moderated

    values = np.array([[61.2, 60.1, 63.0, 60.9], [62.0, 61.9, 63.1, 62.8]])
    noise = moderated(values, common=True)
    found = outcome(ORDERING, Arms(values.mean(1), noise.variance, noise.degrees, 4), (A, B), {})
    assert found.p_for == pytest.approx(stats.ttest_rel(values[1], values[0]).pvalue)


def test_at_every_pair_means_that_the_weakest_one_decides():
    found = judged(SEVERAL, [50, 54, 53, 51])
    alone = judged(ORDERING, [50, 51, 0, 0])
    assert found.p_for == pytest.approx(float(alone.p_for)) and shown(found) == pytest.approx(1.0)
    assert found.p_against == 1


def test_one_pair_the_other_way_round_suffices_against_every_pair_and_pays_for_all():
    found = judged(SEVERAL, [50, 54, 53, 48])
    alone = judged(ORDERING, [50, 48, 0, 0])
    assert found.p_for == 1 and found.p_against == pytest.approx(3 * float(alone.p_against))


def test_literature_is_a_one_sample_test_against_a_constant():
    values = np.array([50.2, 51.0, 50.4])
    found = outcome(
        QUOTED, Arms(values.mean(keepdims=True), np.array([values.var(ddof=1)]), np.array([2.0]), 3), (A,), PRINTED
    )
    assert found.p_for == pytest.approx(stats.ttest_1samp(values, 49.0).pvalue)
    assert shown(found) == pytest.approx(values.mean() - 49)


# ---------------------------------------------------------------- trends


def test_a_trend_is_a_test_of_the_slope():
    means = np.array([50.0, 50.5, 52.0, 52.5])
    found = judged(TREND, means, seeds=4, degrees=9)
    weights = np.array([-1.5, -0.5, 0.5, 1.5])
    t = (weights @ means) / np.sqrt((weights**2).sum() / 4)
    assert found.p_for == pytest.approx(2 * stats.t.sf(t, 9)) and found.p_against == 1
    assert shown(found) == pytest.approx(3 * np.polyfit(range(4), means, 1)[0])  # the fitted line's rise


def test_a_step_that_goes_clearly_down_spoils_a_trend():
    steady, broken = judged(TREND, [50, 54, 58, 62]), judged(TREND, [50, 58, 54, 62])
    assert steady.p_for < 1e-4 and broken.p_for == 1 and broken.p_against == 1


def test_a_step_that_chance_may_have_turned_does_not_spoil_it():
    down = 0.5
    p = min(1, 3 * 2 * stats.t.sf(down / np.sqrt(2 / 3), 20))
    assert p > STEP_AGAINST
    assert judged(TREND, [50, 54, 54 - down, 58]).p_for < 0.001


def test_a_slope_that_falls_contradicts_a_trend():
    found = judged(TREND, [62, 58, 54, 50])
    assert found.p_against < 1e-4 and found.p_for == 1 and shown(found) == pytest.approx(-12)


# ---------------------------------------------------------------- equalities


@pytest.mark.parametrize("difference", [0.0, 0.4, -0.9, 1.3, -4.0])
def test_an_equality_is_two_one_sided_tests_against_the_margin(difference):
    found = judged(EQUAL, [50, 50 + difference, 0, 0], sd=0.5, seeds=8, degrees=30)
    error = 0.5 * np.sqrt(2 / 8)
    lower, upper = stats.t.sf((difference + 1) / error, 30), stats.t.cdf((difference - 1) / error, 30)
    assert found.p_for == pytest.approx(max(lower, upper))
    assert found.p_against == pytest.approx(min(1, 2 * stats.t.sf((abs(difference) - 1) / error, 30)))


def test_robust_means_that_every_pair_is_within_the_margin():
    found = judged(FLAT, [50, 51.2, 50.4, 0], sd=0.5, seeds=8)
    worst = judged(replace(EQUAL, margin=2.0), [50, 51.2, 0, 0], sd=0.5, seeds=8)
    assert found.p_for == pytest.approx(float(worst.p_for)) and abs(shown(found)) == pytest.approx(1.2)
    beyond = judged(FLAT, [50, 55, 50.4, 0], sd=0.5, seeds=8)
    alone = judged(replace(EQUAL, margin=2.0), [50, 55, 0, 0], sd=0.5, seeds=8)
    assert beyond.p_against == pytest.approx(min(1, 3 * float(alone.p_against))) and beyond.p_for > 0.99


def test_a_wider_margin_is_easier_to_stay_within_and_harder_to_exceed():
    found = [judged(replace(EQUAL, margin=margin), [50, 51.5, 0, 0]) for margin in (0.5, 1.0, 2.0, 4.0)]
    assert (np.diff([float(one.p_for) for one in found]) < 0).all()
    assert (np.diff([float(one.p_against) for one in found]) >= 0).all()


# ---------------------------------------------------------------- values


def test_a_value_is_compared_with_what_one_more_run_could_give():
    found = judged(VALUE, [50.5, 53.5, 0, 0], sd=0.8, seeds=4, degrees=15)
    error = 0.8 * np.sqrt(1 + 1 / 4)
    p = 2 * stats.t.sf(2.5 / error, 15)
    assert found.p_against == pytest.approx(min(1, 2 * p)) and shown(found) == pytest.approx(2.5)
    assert found.p_for == 1
    assert found.estimate.half_width(found.share)[0] == pytest.approx(stats.t.ppf(1 - 0.05 / 4, 15) * error)


@pytest.mark.parametrize(
    ("means", "sd", "within"),
    [
        ([50.5, 51.5, 0, 0], 0.8, True),
        ([50.5, 55.0, 0, 0], 0.8, False),  # one lies outside
        ([50.5, 51.5, 0, 0], 2.0, False),  # so wide that it says nothing
        ([50.0, 51.0, 0, 0], 0.0, False),  # without spread nothing is known
    ],
)
def test_values_come_out_as_printed_where_all_lie_within_narrow_intervals(means, sd, within):
    assert bool(judged(VALUE, means, sd=sd, seeds=4).within) is within


# ---------------------------------------------------------------- whatever the numbers


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.kind)
def test_p_values_are_probabilities_and_never_small_for_both(claim):
    found = judged(claim, np.random.RandomState(0).normal(51, 2, (2000, 4)), sd=0.7)
    for p in (found.p_for, found.p_against):
        assert p.shape == (2000,) and ((p >= 0) & (p <= 1)).all()
    assert not ((found.p_for < 0.2) & (found.p_against < 0.2)).any()


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.kind)
def test_many_at_once_are_what_each_is_alone(claim):
    means = np.random.RandomState(1).normal(51, 2, (20, 4))
    together = judged(claim, means)
    for k, one in enumerate(means):
        alone = judged(claim, one)
        assert together.p_for[k] == pytest.approx(float(alone.p_for))
        assert together.p_against[k] == pytest.approx(float(alone.p_against))
        assert together.shown[k] == alone.shown


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.kind)
def test_without_spread_nothing_is_shown(claim):
    found = judged(claim, [50, 60, 40, 70], sd=0.0)
    assert (found.p_for, found.p_against) == (1, 1)


def test_swapping_the_sides_of_an_ordering_swaps_for_and_against():
    means = np.random.RandomState(2).normal(50, 1, (200, 4))
    one, other = judged(ORDERING, means), judged(replace(ORDERING, lower=(B,), higher=(A,)), means)
    assert one.p_for == pytest.approx(other.p_against) and one.p_against == pytest.approx(other.p_for)


def test_swapping_the_cells_of_an_equality_changes_nothing():
    means = np.random.RandomState(3).normal(50, 1, (200, 4))
    one, other = judged(EQUAL, means), judged(replace(EQUAL, equal=(B, A)), means)
    assert one.p_for == pytest.approx(other.p_for) and one.p_against == pytest.approx(other.p_against)


@pytest.mark.parametrize("claim", [ORDERING, SEVERAL, TREND])
def test_a_larger_effect_is_never_harder_to_see(claim):
    sizes = np.linspace(-4, 4, 41)
    found = judged(claim, 50 + sizes[:, None] * np.array([0, 1, 2, 3]))
    assert (np.diff(found.p_for) <= 1e-12).all() and (np.diff(found.p_against) >= -1e-12).all()


def test_of_several_cells_the_fewest_degrees_of_freedom_count():
    few = Arms(np.array([50.0, 52.0]), np.ones(2), np.array([3.0, 20.0]), 3)
    assert outcome(ORDERING, few, (A, B), {}).p_for == pytest.approx(2 * stats.t.sf(2 / np.sqrt(2 / 3), 3))
