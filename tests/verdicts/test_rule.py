"""The rule for all claims together: what each look may spend, Holm's step-down, and that only the seeds count."""

from itertools import pairwise

import numpy as np
import pytest

from swdb.specs.claims import Claim
from swdb.verdicts import rule
from swdb.verdicts.rule import ALPHA, apply, at_look, common_seeds, holm, looks, next_look

NAN = np.nan
CELLS = [f"1:c{k}.x" for k in range(6)]
ARMS = {cell: k for k, cell in enumerate(CELLS)}
CLAIMS = [
    Claim(key=f"k{k}", text="t", place="p", kind="ordering", lower=(a,), higher=(b,))
    for k, (a, b) in enumerate(pairwise(CELLS))
]


def scores(seeds: int, effect: float = 0.0, seed: int = 0) -> np.ndarray:
    """Return scores (6, seeds): every cell `effect` above the one before."""
    return 50 + effect * np.arange(6)[:, None] + np.random.RandomState(seed).normal(0, 1, (6, seeds))


def found(values: np.ndarray, family: int = len(CLAIMS)) -> rule.Found:
    return apply(CLAIMS, ARMS, values, {}, family)


# ---------------------------------------------------------------- looks


def test_the_looks_are_at_3_5_8_and_12_seeds_then_at_each_doubling():
    assert [look for look, _ in looks(100)] == [3, 5, 8, 12, 20, 40, 80]
    assert list(looks(2)) == [] and [look for look, _ in looks(4)] == [3]


def test_all_looks_together_never_spend_more_than_alpha():
    spent = [alpha for _, alpha in looks(10**6)]
    assert spent[:4] == [0.01] * 4 and all(b < a for a, b in pairwise(spent[3:]))
    assert 0.99 * ALPHA < sum(spent) <= ALPHA


@pytest.mark.parametrize(
    ("seeds", "following"), [(0, 3), (1, 3), (3, 5), (4, 5), (11, 12), (12, 20), (19, 20), (20, 40), (41, 80)]
)
def test_the_next_look_is_said(seeds, following):
    assert next_look(seeds) == following


# ---------------------------------------------------------------- Holm


def test_holm_is_as_in_his_paper():
    # 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before), 0.9
    assert holm(np.array([0.03, 0.01, 0.9, 0.02]), 4) == pytest.approx([0.06, 0.04, 0.9, 0.06])


def test_claims_that_were_not_run_count_as_the_family_says():
    assert holm(np.array([0.01, 0.02]), 10) == pytest.approx([0.10, 0.18])
    assert holm(np.array([0.5]), 10) == pytest.approx([1.0])


def test_holm_goes_row_by_row():
    p = np.random.RandomState(0).rand(30, 7)
    assert holm(p, 9) == pytest.approx(np.stack([holm(one, 9) for one in p]))


# ---------------------------------------------------------------- the rule


def test_large_effects_are_decided_at_the_first_look_and_none_at_two_seeds():
    values = scores(12, effect=8)
    assert (found(values[:, :2]).decided == 0).all() and np.isnan(found(values[:, :2]).p).all()
    assert (found(values[:, :3]).decided == 1).all() and (found(values[:, :3]).look == 3).all()
    assert (found(-values[:, :3]).decided == -1).all()


def test_seeds_between_two_looks_change_nothing():
    values = scores(5, effect=1)
    three, four = found(values[:, :3]), found(values[:, :4])
    assert (three.decided == four.decided).all() and three.p == pytest.approx(four.p)
    assert (four.look == 3).all()


def test_what_is_decided_stays_decided_whatever_comes_after():
    values = scores(5, effect=8)
    values[:, 3:] = values[::-1, 3:]  # turned round
    assert (found(values).decided == 1).all() and (found(values).look == 3).all()


def test_a_later_look_decides_what_the_first_left_open_at_its_own_price():
    values = scores(12, effect=1.9)
    late = (found(values).decided == 1) & (found(values[:, :3]).decided == 0)
    assert late.any() and (found(values).look[late] > 3).all()
    one = found(values)
    seen = at_look(CLAIMS, ARMS, values, {}, int(one.look[late][0]))
    place = int(np.flatnonzero(late)[0])
    best = np.array([min(float(o.p_for), float(o.p_against)) for o in seen])
    assert one.p_adjusted[place] == pytest.approx(holm(best, 5)[place] * ALPHA / 0.01)
    assert one.p[place] == pytest.approx(best[place])


def test_decided_is_what_has_an_adjusted_p_of_at_most_alpha():
    many = np.stack([scores(8, effect=1.2, seed=k) for k in range(200)])
    one = found(many)
    assert ((one.decided != 0) == (one.p_adjusted <= ALPHA)).all()
    assert 0.1 < (one.decided != 0).mean() < 0.9


def test_a_larger_family_never_decides_more():
    many = np.stack([scores(5, effect=1.2, seed=k) for k in range(100)])
    few, all_of_them = found(many, 5).decided != 0, found(many, 30).decided != 0
    assert not (all_of_them & ~few).any() and all_of_them.sum() < few.sum()


def test_simulated_studies_are_judged_like_single_ones():
    many = np.stack([scores(8, effect=1.2, seed=k) for k in range(30)])
    together = found(many)
    for k, one in enumerate(many):
        alone = found(one)
        assert (together.decided[k] == alone.decided).all() and together.p[k] == pytest.approx(alone.p)
        assert (together.look[k] == alone.look).all()


def test_with_no_effect_at_all_at_most_five_in_a_hundred_studies_decide_anything():
    many = np.stack([scores(12, seed=k) for k in range(1500)])
    assert (found(many).decided != 0).any(1).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1500)


@pytest.mark.parametrize("pattern", ["alike", "one", "some", "all"])
def test_false_decisions_stay_rare_where_cells_differ_in_noise(pattern):
    sd = {
        "alike": np.ones(6),
        "one": np.array([1, 1, 4, 1, 1, 1]),
        "some": np.array([1, 1, 1, 1, 1.7, 1.7]),
        "all": np.array([0.4, 2, 0.7, 1, 1.4, 3]),
    }[pattern]
    many = 50 + np.random.RandomState(7).normal(size=(1500, 6, 12)) * sd[:, None]
    assert (found(many).decided != 0).any(1).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1500)


def test_a_claim_is_looked_at_with_the_seeds_that_all_its_cells_have():
    values = scores(5, effect=8)
    values[0, 1] = values[1, 4] = NAN
    assert common_seeds(CLAIMS[0], ARMS, values).tolist() == [0, 2, 3]
    one = found(values)
    assert one.look[0] == 3 and one.decided[0] == 1 and one.look[3] == 3
    values[1, 0] = NAN
    assert found(values).look[0] == 0 and found(values).decided[0] == 0  # two seeds in common: no look


def test_cells_with_more_seeds_are_looked_at_later_on_while_others_wait():
    values = scores(5, effect=1.0)
    values[:2, 3:] = NAN
    one = found(values)
    assert one.look[0] == 3 and one.look[4] == 5


def test_values_are_judged_without_a_p_for_them():
    claim = Claim(key="v", text="t", place="p", kind="value", printed=tuple(CELLS[:2]), margin=3.0)
    values = np.random.RandomState(0).normal(50, 0.5, (6, 3))
    printed = dict.fromkeys(CELLS, 50.0)
    one = apply([claim], ARMS, values, printed, 1)
    assert one.decided == 1 and one.p_adjusted > ALPHA
    assert apply([claim], ARMS, values + 8, printed, 1).decided == -1
    assert apply([claim], ARMS, values * [[1], [1.1], [1], [1], [1], [1]], printed, 1).decided == -1
    assert apply([claim], ARMS, values[:, :2], printed, 1).decided == 0
