"""Every definition of mIoU, by counts small enough to be worked out by hand."""

import numpy as np
import pytest

from swdb.evaluation.confusion import miou
from swdb.evaluation.definitions import BATCH, DEFINITIONS

# Two images, four classes. True class by predicted class; the last class never appears, the third is only predicted.
FIRST = [[6, 2, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]  # IoU 6/8, 2/4
SECOND = [[3, 0, 1, 0], [4, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]  # IoU 3/8, 0/4, 0/1
COUNTS = np.array([FIRST, SECOND])
VOID = np.array([[1, 0, 2, 0], [0, 3, 0, 0]])  # what is predicted there
# together: hits 9, 2, 0; unions 12 + 9 + 4 - 9, ...: 16, 8, 1
BY_HAND = {
    "pooled": (9 / 16 + 2 / 8 + 0) / 3,
    "hit": (9 / 16 + 2 / 8) / 2,
    "absent-0": (9 / 16 + 2 / 8 + 0 + 0) / 4,
    "true": (9 / 16 + 2 / 8) / 2,
    "foreground": (2 / 8 + 0) / 2,
    "float32": (9 / 16 + 2 / 8 + 0) / 3,
    "images": ((6 / 8 + 2 / 4) / 2 + (3 / 8 + 0 + 0) / 3) / 2,
    "pairs": (6 / 8 + 2 / 4 + 3 / 8 + 0 + 0) / 5,
    "images-absent-1": ((6 / 8 + 2 / 4 + 1 + 1) / 4 + (3 / 8 + 0 + 0 + 1) / 4) / 2,
    "batches": (9 / 16 + 2 / 8 + 0) / 3,  # both are in one
    "void-background": (10 / 16 + 2 / 11 + 0)
    / 3,  # a hit more of background; 3 more said alpha, 2 said beta (void's truth)
    "void-errors": (9 / 17 + 2 / 11 + 0) / 3,
}


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda one: one.key)
def test_a_definition_gives_what_is_worked_out_by_hand(definition):
    expected = BY_HAND[definition.key]
    if definition.key == "void-background":  # truth of background: 12 + 6 void; hits 9 + 1; said background 13 + 1
        expected = (10 / (12 + 6 + 13 + 1 - 10) + 2 / (6 + 4 + 3 - 2) + 0) / 3
    assert definition.score(COUNTS.copy(), VOID.copy()) == pytest.approx(100 * expected, abs=1e-5)


def test_the_first_definition_is_ours():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (20, 5, 5))
    assert DEFINITIONS[0].key == "pooled" and DEFINITIONS[0].score(counts, counts.sum(2)) == miou(counts.sum(0))


def test_definitions_leave_the_counts_as_they_are():
    counts, void = COUNTS.copy(), VOID.copy()
    for definition in DEFINITIONS:
        definition.score(counts, void)
    np.testing.assert_array_equal(counts, COUNTS)
    np.testing.assert_array_equal(void, VOID)


def test_a_mean_over_batches_is_one_of_batches_in_the_order_of_the_list():
    counts = np.stack([np.array(FIRST)] * BATCH + [np.array(SECOND)])
    (of_batches,) = [one for one in DEFINITIONS if one.key == "batches"]
    expected = ((6 / 8 + 2 / 4) / 2 + (3 / 8 + 0 + 0) / 3) / 2
    assert of_batches.score(counts, np.zeros((BATCH + 1, 4), int)) == pytest.approx(100 * expected)


def test_sums_of_float32_lose_pixels_that_integers_keep():
    big = np.zeros((2, 2, 2), np.int64)
    big[0, 0, 0], big[1, 0, 0], big[1, 0, 1] = 2**24, 1, 1  # 2**24 + 1 is no float32
    (rounded,) = [one for one in DEFINITIONS if one.key == "float32"]
    void = np.zeros((2, 2), int)
    assert rounded.score(big, void) != DEFINITIONS[0].score(big, void)
    assert rounded.score(big, void) == pytest.approx(DEFINITIONS[0].score(big, void), abs=1e-4)


def test_where_nothing_is_left_to_average_there_is_no_number():
    nothing = np.zeros((1, 3, 3), np.int64)
    nothing[0, 0, 1] = 5
    (hit,) = [one for one in DEFINITIONS if one.key == "hit"]
    assert np.isnan(hit.score(nothing, np.zeros((1, 3), int)))


def test_every_definition_has_a_key_of_its_own_and_says_who_uses_it():
    assert len({one.key for one in DEFINITIONS}) == len(DEFINITIONS) == len(BY_HAND)
    assert all(one.words and one.where for one in DEFINITIONS)
