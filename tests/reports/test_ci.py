"""A ledger for CI: well-formed whatever is in names, red only where the paper's own preset contradicts, never too long."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from simulated import CLAIMS

from swdb.reports.ci import MOST_BYTES, in_markdown, is_failure, junit, p_words, summary, summary_line
from swdb.verdicts.verdict import (
    CONTRADICTED,
    NOT_COMPARABLE,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    WORDS,
    Interval,
    Ledger,
    Verdict,
)

HOSTILE = "</testcase><script>alert(1)</script> & \"quoted\" 'too' ]]> \x00\x08\x1b[31m \ud800 \ufffe | `*_{}[]<!-- ü 漢 \n\n# title"


def verdict(word: str, **values) -> Verdict:
    known = {"effect": -1.234, "seeds_interval": Interval(-2.0, -0.5), "p_adjusted": 0.0123, "seeds": (0, 1, 2)}
    numbers = known if word in (REPRODUCED, CONTRADICTED, UNDECIDED) else {}
    said = {"finds": 0.91, "finds_effect": 2.0} | ({"why": "for a reason"} if word != REPRODUCED else {})
    return Verdict(**{"claim": CLAIMS[0], "table": 1, "word": word, **numbers, **said, **values})


def ledger(*verdicts: Verdict, comparable: bool = True, **values) -> Ledger:
    mine = tuple(replace(one, comparable=comparable) for one in verdicts)
    return Ledger(
        **{"preset": "voc", "comparable": comparable, "verdicts": mine, "family": 27, "looks": (3,), **values}
    )


ALL = ledger(*map(verdict, WORDS))


# ---------------------------------------------------------------- JUnit


def cases(text: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(text).iter("testcase"))


def test_what_is_reproduced_passes_what_is_contradicted_fails_all_else_is_skipped_with_its_reason():
    found = dict(zip(WORDS, cases(junit(ALL)), strict=True))
    assert len(found[REPRODUCED]) == 0
    (failure,) = found[CONTRADICTED]
    assert failure.tag == "failure" and failure.get("message") == "CONTRADICTED: for a reason"
    assert failure.text == "effect -1.2 points, over seeds -2.0 to -0.5, p adjusted 0.012, 3 seeds"
    for word in (UNDECIDED, NOT_COMPARABLE, NOT_RUN):
        (skipped,) = found[word]
        assert skipped.tag == "skipped" and skipped.get("message").startswith(f"{word}: for a reason")


def test_elsewhere_than_at_the_papers_scale_nothing_fails():
    elsewhere = ledger(*map(verdict, WORDS), comparable=False)
    found = dict(zip(WORDS, cases(junit(elsewhere)), strict=True))
    (skipped,) = found[CONTRADICTED]
    assert skipped.tag == "skipped" and skipped.get("message").startswith("MECHANISM NOT SHOWN")
    assert len(found[REPRODUCED]) == 0
    assert not any(is_failure(one, elsewhere) for one in elsewhere.verdicts)


def test_suites_are_tables_and_counts_add_up():
    two = ledger(verdict(CONTRADICTED), verdict(UNDECIDED), verdict(REPRODUCED, table=3))
    root = ElementTree.fromstring(junit(two))
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("skipped"), root.get("errors")) == (
        "testsuites", "3", "1", "1", "0",
    )  # fmt: skip
    assert [(suite.get("name"), suite.get("tests")) for suite in root] == [("Table 1", "2"), ("Table 3", "1")]
    case = cases(junit(two))[0]
    assert case.get("classname") == "swdb.voc.table1" and case.get("name").startswith("mixing-hurts: mixing strong")


def test_names_full_of_markup_stay_text():
    claim = replace(CLAIMS[0], text=HOSTILE)
    text = junit(ledger(verdict(CONTRADICTED, claim=claim, why=HOSTILE), preset=HOSTILE))
    text.encode("utf-8")
    (case,) = cases(text)
    assert "</testcase><script>alert(1)</script>" in case.get("name") and "漢" in case.get("name")
    assert not any(ord(sign) < 32 for sign in case.get("name")) and "\ud800" not in text


def test_no_claims_are_a_suite_of_none():
    root = ElementTree.fromstring(junit(ledger()))
    assert root.get("tests") == "0" and list(root) == []


# ---------------------------------------------------------------- the summary


def test_a_summary_is_a_table_of_verdicts_with_the_limits_under_it():
    lines = summary(replace(ALL, limits=("one data set",))).splitlines()
    assert (
        lines[0] == "## 5 claims on preset voc: 1 REPRODUCED, 1 CONTRADICTED, 1 UNDECIDED, 1 NOT COMPARABLE, 1 NOT RUN"
    )
    assert lines[2].startswith("| table | verdict | claim | effect |")
    assert lines[4] == (
        "| 1 | REPRODUCED | mixing strong and weak labels in one branch is worse than strong labels alone | -1.2 | "
        "-2.0 to -0.5 | 0.012 | 3 | 2 points in 91 % |"
    )
    assert [line.count(" | ") for line in lines[2:9]] == [7] * 7
    assert lines[-1] == "- one data set"


def test_what_is_in_names_is_shown_as_it_is():
    claim = replace(CLAIMS[0], text=HOSTILE)
    text = summary(ledger(verdict(REPRODUCED, claim=claim)))
    assert "<script" not in text and text.encode("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| 1 |"))
    assert row.count("|") == 9
    assert in_markdown("<b>|*") == "&#60;b&#62;&#124;&#42;"


@pytest.mark.parametrize("most", [MOST_BYTES, 20_000, 1_000])
def test_a_summary_is_never_too_long_and_says_what_is_left_out(most):
    many = ledger(*[verdict(UNDECIDED, claim=replace(CLAIMS[0], text="ü" * 300))] * 4000)
    text = summary(many, most)
    assert len(text.encode()) <= most
    cut = text.splitlines()[-1]
    kept = sum(line.startswith("| 1 |") for line in text.splitlines())
    assert cut.startswith("Cut here") and f"{4000 - kept} of 4000 claims" in cut
    assert kept > 0 or most < 2_000


def test_where_nothing_fits_nothing_is_said():
    assert summary(ALL, 100) == "" == summary(ALL, 0)
    assert summary_line(ledger()) == "no claims"


@pytest.mark.parametrize(("value", "words"), [(None, "–"), (0.00001, "< 0.0001"), (0.0123, "0.012"), (1.0, "1")])
def test_p_values_in_words(value, words):
    assert p_words(value) == words
