"""Moderated variances: against sums by hand and least squares by another road, and what gaps and few seeds do."""

import numpy as np
import pytest

from swdb.verdicts.spread import LEAST_PRIOR, MOST_PRIOR, moderated, squeezed

NAN = np.nan


def by_least_squares(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each cell's residual sum of squares and degrees of freedom, from the hat matrix of cells and seeds."""
    cells, seeds = np.nonzero(~np.isnan(values))
    design = np.zeros((len(cells), sum(values.shape)))
    design[np.arange(len(cells)), cells] = 1
    design[np.arange(len(cells)), values.shape[0] + seeds] = 1
    hat = design @ np.linalg.pinv(design)
    left = values[cells, seeds] - hat @ values[cells, seeds]
    squares = np.bincount(cells, left**2, len(values))
    return squares, np.bincount(cells, 1 - np.diag(hat), len(values))


def test_two_cells_with_common_seeds_have_the_spread_of_their_difference():
    # differences 1, 2, 3: variance 1, that of one run 1/2; two degrees of freedom, as in a paired t test
    noise = moderated(np.array([[10.0, 20.0, 30.0], [11.0, 22.0, 33.0]]), common=True)
    assert noise.variance == pytest.approx([0.5, 0.5]) and noise.degrees == pytest.approx([2.0, 2.0])
    assert noise.pooled == pytest.approx(0.5) and noise.cells == 2


def test_runs_by_themselves_have_their_own_spread():
    noise = moderated(np.array([[1.0, 2.0, 3.0]]), common=False)
    assert noise.variance == pytest.approx([1.0]) and noise.degrees == pytest.approx([2.0])
    assert moderated(np.array([[1.0, 2.0, 3.0]]), common=True) is None  # a seed's effect and noise cannot be told apart


def test_a_balanced_table_is_squeezed_as_by_hand():
    # own variances 1 and 4 and 1 about the cells' means, no seed effect asked for: pool 2, prior by its formula
    values = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]])
    own, chance = np.array([1.0, 4.0, 1.0]), 2 / 2
    prior = np.clip(2 * (1 + chance) / max(own.var(ddof=1) / 4 - chance, 1e-3) + 4, 4, 20)
    noise = moderated(values, common=False)
    assert noise.likely == pytest.approx((prior * 2 + 2 * own) / (prior + 2)) == squeezed(own, 2.0, 2.0, prior)
    assert noise.variance == pytest.approx(np.maximum(noise.likely, own))
    assert noise.degrees == pytest.approx(min(prior + 2, 6))


@pytest.mark.parametrize("gaps", [0, 1, 2, 3])
def test_residuals_and_degrees_are_those_of_least_squares_with_gaps_too(gaps):
    values = np.random.RandomState(gaps).normal(50, 2, (5, 4))
    for k in range(gaps):
        values[k, k] = NAN
        values[4, :k] = NAN
    squares, degrees = by_least_squares(values)
    noise = moderated(values, common=True)
    assert noise.pooled == pytest.approx(squares.sum() / degrees.sum())
    prior = (squares - noise.likely * degrees) / (noise.likely - noise.pooled)  # solved for it
    assert prior == pytest.approx(np.full(5, prior[0])) and LEAST_PRIOR - 1e-6 <= prior[0] <= MOST_PRIOR + 1e-6
    assert noise.degrees == pytest.approx(np.minimum(prior + degrees, degrees.sum()))


def test_what_a_seed_does_to_all_cells_is_left_out_only_where_it_cancels():
    random = np.random.RandomState(0)
    values = random.normal(0, 1, (20, 5)) + 30 * np.arange(5)
    assert moderated(values, common=True).pooled < 2 < 1000 < moderated(values, common=False).pooled


def test_sets_of_values_are_handled_at_once_as_one_by_one():
    many = np.random.RandomState(1).normal(60, 1, (7, 6, 3))
    together = moderated(many, common=True)
    for k, one in enumerate(many):
        alone = moderated(one, common=True)
        assert together.variance[k] == pytest.approx(alone.variance)
        assert together.degrees[k] == pytest.approx(alone.degrees)


def test_sets_with_gaps_in_different_places_are_a_mistake_of_ours():
    values = np.ones((2, 3, 3))
    values[0, 0, 0] = NAN
    with pytest.raises(ValueError, match="gaps"):
        moderated(values, common=True)


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize("values", [[[1.0], [2.0]], [[NAN, NAN]], [[1.0, NAN], [NAN, 2.0]], [[NAN]]])
def test_without_two_seeds_of_a_cell_there_is_no_spread(values, common):
    assert moderated(np.array(values), common) is None


def test_a_cell_with_one_seed_has_the_spread_of_the_others():
    values = np.random.RandomState(2).normal(50, 1, (6, 4))
    values[5, 1:] = NAN
    noise = moderated(values, common=True)
    assert noise.variance[5] == noise.likely[5] == pytest.approx(noise.pooled) and noise.cells == 5


def test_a_cell_that_nobody_ran_changes_nothing():
    values = np.random.RandomState(3).normal(50, 1, (4, 3))
    with_none = np.vstack([values, np.full(3, NAN)])
    assert moderated(with_none, True).variance[:4] == pytest.approx(moderated(values, True).variance)


@pytest.mark.parametrize("common", [True, False])
def test_equal_scores_have_no_spread_whatever_floating_point_says(common):
    values = np.full((3, 3), 0.1) * np.array([[1.0], [3.0], [7.0]])
    assert (moderated(values, common).variance == 0).all()


def test_cells_of_one_kind_are_pooled_more_than_cells_that_differ():
    random = np.random.RandomState(4)
    alike = random.normal(0, 1, (300, 20, 6))
    unlike = alike * np.where(np.arange(20) < 3, 4.0, 1.0)[:, None]
    degrees = [moderated(values, True).degrees.mean() for values in (alike, unlike)]
    assert degrees[0] > degrees[1]


def test_the_variance_of_many_sets_is_right_on_average():
    values = 2 * np.random.RandomState(5).normal(size=(2000, 10, 3))
    for common in (True, False):
        noise = moderated(values, common)
        assert noise.likely.mean() == pytest.approx(4.0, rel=0.03) and noise.pooled.mean() == pytest.approx(
            4.0, rel=0.03
        )


def test_a_cell_that_looks_noisier_than_the_others_is_judged_by_what_it_looks_like():
    values = np.random.RandomState(6).normal(50, 1, (12, 5)) * np.where(np.arange(12) == 3, 4.0, 1.0)[:, None]
    noise = moderated(values, common=False)
    assert noise.variance[3] == pytest.approx(values[3].var(ddof=1)) and noise.variance[3] > 1.5 * noise.likely[3]
    quiet = values.var(1, ddof=1) < noise.pooled
    assert quiet.any() and (noise.variance[quiet] == noise.likely[quiet]).all()
