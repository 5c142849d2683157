"""Verdicts and the ledger as values: what is printed of them, and what a machine reads."""

import json

import pytest

from swdb.specs.claims import Claim
from swdb.verdicts.verdict import (
    CONTRADICTED,
    NOT_COMPARABLE,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    WORDS,
    Interval,
    Ledger,
    Spread,
    Verdict,
    verdict_json,
)

CLAIM = Claim(key="k", text="a < b", place="Table 1", kind="ordering", lower=("1:a.x",), higher=("1:b.x",))


@pytest.mark.parametrize(
    ("word", "elsewhere"),
    [
        (REPRODUCED, "MECHANISM SHOWN"),
        (CONTRADICTED, "MECHANISM NOT SHOWN"),
        (UNDECIDED, UNDECIDED),
        (NOT_COMPARABLE, NOT_COMPARABLE),
        (NOT_RUN, NOT_RUN),
    ],
)
def test_where_the_preset_is_not_the_papers_a_mechanism_is_shown_and_nothing_reproduced(word, elsewhere):
    assert word in WORDS
    assert Verdict(CLAIM, 1, word, comparable=True).shown == word
    assert Verdict(CLAIM, 1, word, comparable=False).shown == elsewhere


def test_json_holds_the_whole_claim_its_digest_and_both_intervals():
    verdict = Verdict(
        CLAIM, 1, REPRODUCED, effect=1 / 3, seeds_interval=Interval(0.123456789, 1.0),
        images_interval=Interval(-1.0, 2.0, basis="images"), p=1e-300, p_adjusted=2e-299, look=3, seeds=(0, 1, 2),
        spread=Spread(0.75, 22.0, 22, "words"),
    )  # fmt: skip
    said = json.loads(json.dumps(verdict_json(verdict)))
    assert said["claim"] == CLAIM.content() and said["claim_sha256"] == CLAIM.digest
    assert said["effect"] == 0.333333  # six digits: the same on every machine
    assert said["seeds_interval"] == {"low": 0.123457, "high": 1.0, "share": 0.95, "basis": "seeds"}
    assert said["images_interval"] == {"low": -1.0, "high": 2.0, "share": 0.95, "basis": "images"}
    assert (said["p"], said["look"], said["seeds"], said["spread"]["arms"]) == (1e-300, 3, [0, 1, 2], 22)
    assert said["finds"] is None and said["seeds_needed"] is None


def test_a_ledger_says_of_each_claim_whether_it_was_registered_and_finds_those_of_a_table():
    verdicts = (Verdict(CLAIM, 1, UNDECIDED), Verdict(CLAIM, 2, NOT_RUN))
    ledger = Ledger("voc", True, verdicts, family=2, looks=(3,), registered={"k": "before"})
    assert ledger.of_table(2) == verdicts[1:]
    said = ledger.to_json()
    assert [claim["registered"] for claim in said["claims"]] == ["before", "before"]
    assert (said["family"], said["looks"], said["comparable_to_paper"]) == (2, [3], True)
    assert Ledger("voc", True, verdicts, 2, ()).to_json()["claims"][0]["registered"] == "not"
