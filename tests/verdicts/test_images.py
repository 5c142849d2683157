"""The bootstrap over images: exact sums, the same draws for every run, and the spread that it should have."""

import numpy as np
import pytest

from swdb.evaluation.confusion import confusion, miou
from swdb.verdicts.images import draws, miou_of, parts, resampled


def counts_of(seed: int, images: int = 60, classes: int = 4, right: float = 0.7) -> np.ndarray:
    random = np.random.RandomState(seed)
    found = []
    for _ in range(images):
        truth = random.randint(0, classes, 200)
        guess = np.where(random.rand(200) < right, truth, random.randint(0, classes, 200))
        found.append(confusion(truth, guess, classes))
    return np.stack(found)


def test_the_score_of_the_parts_is_that_of_the_counts():
    counts = counts_of(0)
    assert miou_of(parts(counts).sum(0)) == pytest.approx(miou(counts.sum(0)), abs=1e-12)


def test_a_class_that_never_appears_is_left_out():
    counts = np.array([[[3, 1, 0], [2, 4, 0], [0, 0, 0]]])
    assert miou_of(parts(counts).sum(0)) == pytest.approx(miou(counts.sum(0)))
    assert miou_of(np.zeros((2, 3))) == 0


def test_every_drawn_split_has_as_many_images():
    drawn = draws(60, 500)
    assert drawn.shape == (500, 60) and (drawn.sum(1) == 60).all() and (drawn >= 0).all()
    assert drawn.mean(0) == pytest.approx(np.ones(60), abs=0.25)


def test_the_draws_are_the_same_on_every_machine():
    # numpy's legacy generator is frozen: seed 0 gives 4 0 3 3 3, 1 3 2 4 0, 0 4 2 1 0
    assert draws(5, 3).tolist() == [[1, 0, 0, 3, 1], [1, 1, 1, 1, 1], [2, 1, 1, 0, 1]]


def test_one_product_is_what_adding_up_the_drawn_images_gives():
    runs = [counts_of(1), counts_of(2, right=0.5)]
    found = resampled([parts(counts) for counts in runs], 50)
    for row, weights in zip(found, draws(60, 50), strict=True):
        picked = np.repeat(np.arange(60), weights.astype(int))
        assert row == pytest.approx([miou(counts[picked].sum(0)) for counts in runs], abs=1e-12)


def test_the_sums_are_whole_numbers_so_no_order_of_adding_matters():
    kept = parts(counts_of(3) * 100_000)
    columns = kept.reshape(60, -1)
    exact = (draws(60, 20).astype(int)[:, :, None] * columns.astype(int)).sum(1)
    assert (draws(60, 20) @ columns == exact).all()


def test_runs_see_the_same_images_so_what_all_share_cancels():
    counts = counts_of(4)
    better = counts.copy()
    better[:, 0, 0] += 5  # a little better on every image
    found = resampled([parts(counts), parts(better)])
    assert (found[:, 1] - found[:, 0]).std() < 0.3 * found[:, 0].std()


def test_the_spread_is_that_of_other_splits_of_the_same_size():
    whole = counts_of(5, images=4000)
    other_splits = [miou(whole[start : start + 100].sum(0)) for start in range(0, 4000, 100)]
    drawn = np.mean([resampled([parts(whole[start : start + 100])], 300).std() for start in range(0, 1000, 100)])
    assert drawn == pytest.approx(np.std(other_splits, ddof=1), rel=0.3)


@pytest.mark.parametrize("images", [1, 2])
def test_one_image_is_drawn_again_and_again(images):
    kept = parts(counts_of(6, images=images))
    assert resampled([kept], 10).shape == (10, 1)
