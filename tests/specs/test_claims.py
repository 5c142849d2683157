"""What the paper states as an ordering is decided by a rule on paired differences, fixed beforehand."""

import pytest

from swdb.specs.claims import STANDARD_ERRORS, Verdict, decide


def test_the_bar_is_two_standard_errors():
    assert STANDARD_ERRORS == 2.0


def test_a_difference_above_two_standard_errors_confirms():
    # differences 1, 2, 3: mean 2, sd 1, standard error 1/sqrt(3) = 0.577; 2 > 1.155
    verdict = decide({0: 10.0, 1: 10.0, 2: 10.0}, {0: 11.0, 1: 12.0, 2: 13.0})
    assert (verdict.word, verdict.num_seeds) == ("CONFIRMED", 3)
    assert verdict.difference == pytest.approx(2.0)
    assert verdict.standard_error == pytest.approx(0.57735, abs=1e-5)


def test_a_difference_below_minus_two_standard_errors_contradicts():
    verdict = decide({0: 11.0, 1: 12.0, 2: 13.0}, {0: 10.0, 1: 10.0, 2: 10.0})
    assert verdict.word == "CONTRADICTED"
    assert verdict.difference == pytest.approx(-2.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_exactly_two_standard_errors_decide_nothing(sign):
    # differences 1 and 3: mean 2, sd sqrt(2), standard error 1: exactly on the edge
    assert decide({0: 0.0, 1: 0.0}, {0: 1.0 * sign, 1: 3.0 * sign}).word == "UNDECIDED"


@pytest.mark.parametrize(("sign", "word"), [(1, "CONFIRMED"), (-1, "CONTRADICTED")])
def test_a_little_beyond_the_edge_decides(sign, word):
    # differences 1.01 and 3: mean 2.005, standard error 0.995, the edge at 1.99
    assert decide({0: 0.0, 1: 0.0}, {0: 1.01 * sign, 1: 3.0 * sign}).word == word


def test_equal_differences_have_no_error_and_decide():
    assert decide({0: 1.0, 1: 2.0}, {0: 1.5, 1: 2.5}) == Verdict("CONFIRMED", 0.5, 0.0, 2)


def test_no_difference_in_any_seed_is_undecided():
    assert decide({0: 5.0, 1: 6.0}, {0: 5.0, 1: 6.0}) == Verdict("UNDECIDED", 0.0, 0.0, 2)


def test_one_seed_decides_nothing_however_large_the_difference():
    assert decide({0: 10.0}, {0: 90.0}) == Verdict("UNDECIDED", 80.0, None, 1)


@pytest.mark.parametrize(("lower", "higher"), [({}, {}), ({0: 1.0}, {}), ({}, {0: 1.0}), ({0: 1.0}, {1: 2.0})])
def test_without_a_common_seed_a_claim_was_not_run(lower, higher):
    assert decide(lower, higher) == Verdict("NOT RUN", None, None, 0)


def test_only_common_seeds_count_and_they_are_paired():
    # seeds 7 and 8 stand on one side only and would turn the verdict round
    verdict = decide({0: 10.0, 1: 50.0, 7: 99.0}, {1: 51.0, 0: 11.0, 8: 0.0})
    assert verdict == Verdict("CONFIRMED", 1.0, 0.0, 2)


@pytest.mark.parametrize("sign", [1, -1])
def test_equality_is_contradicted_by_a_difference_in_either_direction(sign):
    lower, higher = {0: 10.0, 1: 10.0, 2: 10.0}, {0: 10 + 1.0 * sign, 1: 10 + 2.0 * sign, 2: 10 + 3.0 * sign}
    verdict = decide(lower, higher, equal=True)
    assert verdict.word == "CONTRADICTED" and verdict.difference == pytest.approx(2.0 * sign)


@pytest.mark.parametrize(
    "higher",
    [
        {0: 10.0, 1: 10.0},  # no difference at all
        {0: 11.0, 1: 13.0},  # 2, exactly two standard errors
        {0: 12.0, 1: 9.0},
        {0: 90.0},  # one seed
    ],
)
def test_equality_is_never_confirmed(higher):
    assert decide({0: 10.0, 1: 10.0}, higher, equal=True).word == "UNDECIDED"


def test_equality_without_a_common_seed_was_not_run():
    assert decide({0: 10.0}, {1: 10.0}, equal=True) == Verdict("NOT RUN", None, None, 0)
