"""Claims as values: what each kind needs, what is refused, and a digest that moves with whatever a claim says."""

from dataclasses import replace

import pytest

from swdb.core.errors import BadInput
from swdb.core.files import digest
from swdb.specs.claims import CELLS_OF, Claim, check_cells, check_claim, prepared, with_numbers

ORDERING = Claim(key="a-1", text="a is worse", place="Table 1", kind="ordering", lower=("1:a.x",), higher=("1:b.x",))
TREND = Claim(key="rise", text="it rises", place="Table 1", kind="trend", rising=("1:a.x", "1:b.x", "1:c.x"))
EQUAL = Claim(key="same", text="alike", place="Table 1", kind="equivalence", equal=("1:a.x", "1:b.x"), margin=1.0)
FLAT = Claim(
    key="flat", text="robust", place="Table 1", kind="robustness", flat=("1:a.x", "1:b.x", "1:c.x"), margin=2.0
)
VALUE = Claim(key="values", text="as printed", place="Table 1", kind="value", margin=3.0)
QUOTED = replace(ORDERING, key="better", kind="literature", lower=("1:a.y",))
ALL = (ORDERING, TREND, EQUAL, FLAT, VALUE, QUOTED)
MEASURED = {"1:a.x": 50.0, "1:b.x": 51.0, "1:c.x": 52.0, "1:d.x": None}  # the last one is a row of ours
LITERATURE = {"1:a.y": 40.0}


def refused(claim: Claim) -> BadInput:
    with pytest.raises(BadInput) as caught:
        check_claim(claim, "table1.toml, claim")
        check_cells(claim, MEASURED, LITERATURE, "table1.toml, claim")
    return caught.value


def test_there_is_an_example_of_every_kind():
    assert {claim.kind for claim in ALL} == set(CELLS_OF)


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.kind)
def test_a_whole_claim_is_taken(claim):
    check_claim(claim, "here")
    check_cells(claim, MEASURED, LITERATURE, "here")


@pytest.mark.parametrize(
    ("claim", "subject", "found", "expected"),
    [
        (replace(ORDERING, key="A b"), "key 'key'", "found 'A b'", "small letters, digits and single hyphens"),
        (replace(ORDERING, key="a-"), "key 'key'", "found 'a-'", "small letters, digits and single hyphens"),
        (replace(ORDERING, place=" "), "key 'place'", "empty", "words"),
        (replace(ORDERING, text=""), "key 'text'", "empty", "words"),
        (replace(ORDERING, lower=()), "key 'lower'", "missing", "a cell, or a list"),
        (replace(ORDERING, lower=("1:a.x", "1:c.x")), "key 'higher'", "found 1 cells", "2, as in 'lower'"),
        (replace(ORDERING, higher=("1:a.x",)), "key 'higher'", "found '1:a.x', which is 'lower', too", "another cell"),
        (replace(ORDERING, margin=1.0), "key 'margin'", "found in a claim of kind 'ordering'", "none"),
        (replace(ORDERING, flat=("1:a.x",)), "key 'flat'", "found in a claim of kind 'ordering'", "lower, higher"),
        (replace(TREND, rising=("1:a.x", "1:b.x")), "key 'rising'", "found 2 cells", "3 or more"),
        (replace(TREND, rising=("1:a.x", "1:b.x", "1:a.x")), "key 'rising'", "found '1:a.x' twice", "each cell once"),
        (replace(EQUAL, equal=("1:a.x", "1:b.x", "1:c.x")), "key 'equal'", "found 3 cells", "2"),
        (replace(EQUAL, margin=None), "key 'margin'", "missing", "points of mIoU, fixed before anything is scored"),
        (replace(FLAT, margin=0.0), "key 'margin'", "found 0.0", "more than 0 points, 100 at most"),
        (replace(FLAT, margin=float("nan")), "key 'margin'", "found nan", "more than 0 points, 100 at most"),
        (replace(VALUE, margin=float("inf")), "key 'margin'", "found inf", "more than 0 points, 100 at most"),
        (replace(FLAT, margin=1e3), "key 'margin'", "found 1000.0", "more than 0 points, 100 at most"),
    ],
)
def test_what_its_kind_cannot_decide_is_refused(claim, subject, found, expected):
    error = refused(claim)
    assert (error.subject, error.found, error.expected) == (f"table1.toml, claim, {subject}", found, expected)


def test_an_unknown_kind_is_named_with_the_one_that_was_meant():
    error = refused(replace(ORDERING, kind="odering"))
    assert (error.subject, error.found, error.near) == ("table1.toml, claim, kind 'odering'", "unknown", "ordering")


@pytest.mark.parametrize(
    ("claim", "cell"),
    [
        (replace(ORDERING, lower=("1:z.x",)), "1:z.x"),
        (replace(ORDERING, lower=("1:a.y",)), "1:a.y"),  # literature is not measured
        (replace(QUOTED, lower=("1:c.x",)), "1:c.x"),  # what is measured is not quoted
        (replace(VALUE, printed=("1:d.x",)), "1:d.x"),  # the paper prints nothing there
    ],
)
def test_cells_that_are_not_there_for_its_kind_are_refused(claim, cell):
    error = refused(claim)
    assert (error.subject, error.found) == (f"table1.toml, claim, cell {cell!r}", "unknown")


def test_a_cell_that_is_written_alone_is_a_list_of_one():
    assert prepared({"lower": "a.x", "higher": ["b.x"], "text": "t"}) == {
        "lower": ["a.x"],
        "higher": ["b.x"],
        "text": "t",
    }
    assert prepared("no table") == "no table"


def test_cells_get_the_number_of_their_table_unless_they_name_one():
    claim = with_numbers(replace(ORDERING, lower=("a.x",), higher=("2:b.x",)), 3, ())
    assert (claim.lower, claim.higher) == (("3:a.x",), ("2:b.x",))


def test_values_without_cells_are_those_of_the_whole_table():
    assert with_numbers(VALUE, 1, ("1:a.x", "1:b.x")).printed == ("1:a.x", "1:b.x")
    assert with_numbers(replace(VALUE, printed=("c.x",)), 1, ("1:a.x",)).printed == ("1:c.x",)


def test_literature_need_not_be_measured():
    assert QUOTED.cells == ("1:a.y", "1:b.x") and QUOTED.measured_cells == ("1:b.x",)
    assert ORDERING.measured_cells == ORDERING.cells == ("1:a.x", "1:b.x")


def test_content_holds_what_a_claim_says_and_nothing_else():
    assert EQUAL.content() == {
        "key": "same", "text": "alike", "place": "Table 1", "kind": "equivalence", "equal": ["1:a.x", "1:b.x"], "margin": 1.0,
    }  # fmt: skip
    assert EQUAL.digest == digest(EQUAL.content())


@pytest.mark.parametrize(
    "change",
    [{"margin": 1.5}, {"equal": ("1:b.x", "1:a.x")}, {"text": "same"}, {"place": "Table 2"}, {"key": "other"}],
)
def test_whatever_changes_moves_the_digest(change):
    assert replace(EQUAL, **change).digest != EQUAL.digest
