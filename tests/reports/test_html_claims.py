"""The claims as the report shows them."""

import pytest

from swdb.reports.html_claims import claims_shown, counts, intervals_chart
from swdb.reports.ledger import claim_line
from swdb.specs.tables import load_tables
from swdb.verdicts.verdict import Interval, Ledger, Spread, Verdict

CLAIMS = {number: table.claims for number, table in load_tables().items()}


def ledger(*verdicts: Verdict, **said) -> Ledger:
    return Ledger("tiny", False, verdicts, len(verdicts), (3,), **said)


def verdict(word: str, table: int = 1, place: int = 0, comparable: bool = True, **said) -> Verdict:
    return Verdict(CLAIMS[table][place], table, word, comparable, **said)


FOUND = {
    "effect": 4.25,
    "seeds_interval": Interval(1.0, 7.5),
    "images_interval": Interval(3.0, 5.5, basis="images"),
    "p": 0.001,
    "p_adjusted": 0.02,
    "seeds": (0, 1, 2),
    "spread": Spread(1.4, 30.0, 18, "1.40 points, of all cells"),
    "finds": 0.91,
    "finds_effect": 2.0,
}


def test_claims_are_numbered_table_by_table():
    shown = claims_shown(
        ledger(*(verdict("NOT RUN", table, place) for table, place in ((1, 0), (2, 0), (1, 1), (2, 1))))
    )
    assert [one.name for one in shown] == ["1.1", "2.1", "1.2", "2.2"]


def test_a_decided_claim_says_what_it_rests_on():
    (one,) = claims_shown(ledger(verdict("REPRODUCED", **FOUND)))
    assert (one.look, one.sign, one.effect) == ("good", "●", "+4.2")
    assert (one.seeds_interval, one.images_interval, one.p) == ("+1.0 to +7.5", "+3.0 to +5.5", "0.02")
    assert (one.num_seeds, one.spread) == ("3", "1.40 points, of all cells")
    assert one.finds == "finds a true 2-point effect in 91 %"


def test_what_would_be_found_is_said_in_the_words_of_the_ledger():
    equal = next(k for k, claim in enumerate(CLAIMS[1]) if claim.kind == "equivalence")
    found = verdict("UNDECIDED", 1, equal, **FOUND | {"finds_effect": 0.0})
    (one,) = claims_shown(ledger(found))
    assert one.finds == "shows it in 91 % where cells are 0 points apart"
    assert one.finds in claim_line(found)


@pytest.mark.parametrize(
    ("word", "look", "sign"),
    [
        ("REPRODUCED", "good", "●"),
        ("CONTRADICTED", "bad", "■"),
        ("UNDECIDED", "open", "○"),
        ("NOT RUN", "none", "–"),
        ("NOT COMPARABLE", "none", "–"),
    ],
)
def test_verdicts_are_told_apart_without_colour(word, look, sign):
    (one,) = claims_shown(ledger(verdict(word)))
    assert (one.look, one.sign) == (look, sign)


def test_what_would_decide_it_is_said_with_its_cost():
    open_one, dear, unknown = claims_shown(
        ledger(
            verdict("UNDECIDED", seeds_needed=9, hours_needed=12.34),
            verdict("UNDECIDED", place=1, seeds_needed=1),
            verdict("UNDECIDED", place=2),
        )
    )
    assert open_one.needs == "would take 9 seeds, 12.3 hours"
    assert (dear.needs, unknown.needs) == ("would take 1 seed", "")


def test_when_a_claim_was_fixed_is_said():
    key = CLAIMS[1][0].key
    for word, shown in (
        ("before", "fixed before the runs"),
        ("after", "fixed after the runs"),
        ("not", "not registered"),
    ):
        (one,) = claims_shown(ledger(verdict("NOT RUN"), registered={key: word}))
        assert one.registered == shown


def test_verdicts_are_counted_as_they_are_shown():
    found = counts(
        ledger(verdict("REPRODUCED", comparable=False), verdict("REPRODUCED", 2, comparable=False), verdict("NOT RUN"))
    )
    assert found == [("MECHANISM SHOWN", 2, "good"), ("NOT RUN", 1, "none")]


def test_the_drawing_has_every_claim_and_there_is_none_of_nothing():
    chart = intervals_chart(claims_shown(ledger(verdict("REPRODUCED", **FOUND), verdict("NOT RUN", place=1))))
    assert chart.rows[0][:3] == ("1.1", "REPRODUCED", "+4.2") and chart.rows[1][:2] == ("1.2", "NOT RUN")
    assert intervals_chart(claims_shown(ledger(verdict("NOT RUN")))) is None


def test_of_several_differences_it_is_said_which():
    shown = claims_shown(ledger(*(Verdict(claim, 3, "NOT RUN") for claim in CLAIMS[3])))
    assert "largest difference" in {one.which for one in shown} and "first to last" in {one.which for one in shown}
