"""Numbers in words."""

import pytest

from swdb.core.numbers import duration, signed, span


@pytest.mark.parametrize(
    ("value", "digits", "words"),
    [
        (1.25, 1, "+1.2"),
        (-3.0, 1, "-3.0"),
        (-0.04, 1, "0.0"),
        (0.0, 1, "0.0"),
        (-0.004, 2, "0.00"),
        (0.126, 2, "+0.13"),
    ],
)
def test_a_sign_is_always_there_but_zero_has_none(value, digits, words):
    assert signed(value, digits) == words


def test_an_interval_in_words():
    assert span(-0.3, 1.26) == "-0.3 to +1.3"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.0, ""), (0.2, "1 s"), (59.7, "60 s"), (150.0, "2 min"), (5400.0, "90 min"), (9000.0, "2.5 h")],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words
