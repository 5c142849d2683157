"""Settings: ranges that refuse what is not in them, and what of a group enters ids."""

import json
import math
from dataclasses import dataclass, fields, replace

import pytest

from swdb.specs.settings import (
    ABOVE_0,
    ANY,
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_16,
    BETWEEN_0_AND_1,
    EVEN,
    FOLDER_NAME,
    INFERRED,
    PROBABILITY,
    SHARE,
    STATED,
    UNIQUE,
    UNKNOWN,
    Check,
    each,
    fingerprint,
    one_of,
    setting,
)

WORDS = one_of(["fp32", "bf16"])


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (ABOVE_0, [1, 1e-300, 1e9], [1e300, 10**400, 0, 0.0, -0.0, -1, -1e-300]),
        (AT_LEAST_0, [0, 0.0, 1e-300, 7], [-1, -1e-300]),
        (AT_LEAST_1, [1, 1.0, 2], [0, 0.999, -1]),
        (AT_LEAST_16, [16, 17], [15, 0, -16]),
        (BETWEEN_0_AND_1, [1e-9, 0.5, 0.999], [0, 0.0, 1, 1.0, 1.5, -0.5]),
        (SHARE, [0, 0.0, 0.5, 1, 1.0], [-1e-9, 1.001, 2]),
        (PROBABILITY, [0, 0.0, 0.999], [1, 1.0, -1e-9]),
        (EVEN, [2, 4, 16], [0, 1, 3, -2]),
        (FOLDER_NAME, ["tiny", "voc-animals", "a.b", "a b", "größer"], ["", ".", "..", ".leases", "a/b", "/", "/a"]),
        (UNIQUE, [(), ("a",), ("a", "b")], [("a", "a"), ("a", "b", "a")]),
        (WORDS, ["fp32", "bf16"], ["fp16", "", "FP32", "fp32, bf16", "fp"]),
        (each(AT_LEAST_16), [(16,), (24, 32)], [(), (8,), (24, 8), (8, 24)]),
        (each(WORDS), [("fp32",), ("bf16", "fp32")], [(), ("fp16",), ("fp32", "fp16")]),
        (ANY, [0, -1.5, "", "x", (), (1, 2), True], []),
    ],
    ids=lambda value: value.expected or "anything" if isinstance(value, Check) else "",
)
def test_a_range_admits_what_is_in_it_and_nothing_else(check, good, bad):
    assert [value for value in good if not check.admits(value)] == []
    assert [value for value in bad if check.admits(value)] == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("check", [ABOVE_0, AT_LEAST_0, AT_LEAST_1, SHARE, PROBABILITY, BETWEEN_0_AND_1, ANY])
def test_no_range_admits_a_number_that_is_not_finite(check, value):
    assert not check.admits(value)
    for values in ((value,), (1.0, value), (value, 1.0)):
        assert not each(check).admits(values)
        assert not ANY.admits(values)


def test_every_range_says_what_it_expects():
    ranges = (
        ABOVE_0,
        AT_LEAST_0,
        AT_LEAST_1,
        AT_LEAST_16,
        BETWEEN_0_AND_1,
        SHARE,
        PROBABILITY,
        EVEN,
        FOLDER_NAME,
        UNIQUE,
    )
    assert len({check.expected for check in ranges}) == len(ranges) and all(check.expected for check in ranges)
    assert ANY.expected == ""


def test_a_range_of_words_expects_them_in_their_order():
    assert WORDS.expected == "fp32, bf16"


def test_words_may_be_readable_only_once():
    check = one_of(word for word in ("fp32", "bf16"))
    assert [check.admits(word) for word in ("bf16", "fp32", "bf16", "fp16")] == [True, True, True, False]


def test_a_range_of_lists_expects_what_its_values_are_to_be():
    assert AT_LEAST_16.expected in each(AT_LEAST_16).expected and each(AT_LEAST_16).expected != AT_LEAST_16.expected


# ---------------------------------------------------------------- settings and fingerprints


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    steps: int = setting("steps", STATED, "the paper", AT_LEAST_1)
    scales: tuple[float, ...] = setting("factors", INFERRED, "a habit", each(ABOVE_0), default=(1.0,))
    flip: bool = setting("yes or no", UNKNOWN, "", default=False)
    classes: tuple[str, ...] = setting("names", UNKNOWN, "", UNIQUE, omit_default=True, default=())
    holdout: int = setting("images", UNKNOWN, "", AT_LEAST_0, omit_default=True, default=0)


def test_a_setting_says_all_that_was_declared():
    found = {one.name: dict(one.metadata) for one in fields(Group)}
    assert found["steps"] == {
        "unit": "steps", "status": "STATED", "why": "the paper", "check": AT_LEAST_1, "omit_default": False,
        "formerly": "", "tables": (),
    }  # fmt: skip
    assert (found["flip"]["check"], found["flip"]["status"]) == (ANY, "UNKNOWN")
    assert found["classes"]["omit_default"] is True


def test_a_setting_without_a_default_must_be_given_and_others_need_not():
    with pytest.raises(TypeError, match="steps"):
        Group()
    assert Group(steps=6) == Group(steps=6, scales=(1.0,), flip=False, classes=(), holdout=0)


def test_what_is_at_its_default_is_in_a_fingerprint_unless_it_is_to_be_omitted():
    assert fingerprint(Group(steps=6)) == {"steps": 6, "scales": [1.0], "flip": False}


@pytest.mark.parametrize(
    ("name", "value", "noted"),
    [
        ("steps", 7, 7),
        ("scales", (0.75, 1.0), [0.75, 1.0]),
        ("flip", True, True),
        ("classes", ("cat", "dog"), ["cat", "dog"]),
        ("holdout", 5, 5),
    ],
)
def test_what_is_not_at_its_default_is_in_a_fingerprint(name, value, noted):
    before = Group(steps=6)
    assert fingerprint(replace(before, **{name: value})) == fingerprint(before) | {name: noted}


def test_a_fingerprint_is_as_json_gives_it_back():
    found = fingerprint(Group(steps=6, scales=(0.75, 1.0), classes=("größer",)))
    assert json.loads(json.dumps(found)) == found
