"""Numbers in words."""

import pytest

from swdb.core.numbers import signed


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
