"""The supplement sentence by sentence: the page that is published, and what became of each."""

from pathlib import Path

from simulated import FAMILY

from swdb.reports.sentences import PAGE, as_json, lines, page
from swdb.specs.sentences import load_sentences
from swdb.specs.tables import load_tables
from swdb.verdicts.engine import judge

REPOSITORY = Path(__file__).parents[2]


def test_the_page_is_that_of_the_specs():
    assert (REPOSITORY / PAGE).read_text(encoding="utf-8") == page(load_sentences(), load_tables()), "make sentences"


def test_the_page_has_a_line_for_every_sentence_and_every_claim_in_it():
    text = page(load_sentences(), load_tables())
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(load_sentences())
    for table in load_tables().values():
        assert all(f"`{claim.key}`" in text for claim in table.claims)
    assert all("no claim: " in row or "`" in row for row in rows)


def test_each_sentence_has_the_verdicts_on_its_claims_and_says_where_the_paper_contradicts_itself():
    ledger, sentences = judge(FAMILY, {}, True), load_sentences()
    said = list(lines(sentences, ledger))
    assert sum(not line.startswith(" ") for line in said) == len(sentences)
    (line,) = [one for one in said if "the paper contradicts itself" in one]
    assert line.startswith("  NOT RUN: the weak branch gains over training it separately")
    assert "62.3 (3:n0.weak) against 62.8 (2:mixed.miou)" in line


def test_the_json_has_a_verdict_for_every_claim():
    found = as_json(load_sentences(), judge(FAMILY, {}, False))
    verdicts = {key: word for one in found for key, word in one["claims"].items()}
    assert verdicts["kl-hurts"] == "NOT RUN" and verdicts["values-1"] == "NOT COMPARABLE"
    assert all(bool(one["claims"]) != bool(one["why"]) for one in found)
