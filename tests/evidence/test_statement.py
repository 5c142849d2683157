"""The claims as an in-toto Statement."""

import re

from bundles import contents

from swdb.evidence.bundle_reader import loads
from swdb.evidence.layout import CLAIMS, CRATE, Listed
from swdb.evidence.statement import claim_json, statement

CLAIM = {
    "claim": {"key": "a-claim", "text": "<b>this</b> is worse", "kind": "equivalence", "margin": 1.5, "equal": ["1:a.b", "1:c.b"]},
    "claim_sha256": "c" * 64, "table": 1, "word": "CONTRADICTED", "shown": "MECHANISM NOT SHOWN", "effect": -2.5,
    "seeds_interval": {"low": -3.0, "high": -2.0, "share": 0.95, "basis": "seeds"}, "images_interval": None,
    "p": 0.001, "p_adjusted": 0.01, "look": 3, "seeds": [0, 1, 2], "spread": None, "finds": None, "finds_effect": None,
    "why": "", "registered": "before",
}  # fmt: skip


def test_its_subjects_are_the_other_files_of_the_bundle(ours):
    files = contents(ours)
    found = loads(files[CLAIMS])
    assert found["_type"] == "https://in-toto.io/Statement/v1" and found["predicateType"] == "urn:swdb:claims:v1"
    assert {one["name"] for one in found["subject"]} == files.keys() - {CLAIMS, CRATE}
    assert all(re.fullmatch("[0-9a-f]{64}", one["digest"]["sha256"]) for one in found["subject"])
    ledger = loads(files["reports/tiny/ledger.json"])
    assert [one["name"] for one in found["predicate"]["claims"]] == [one["claim"]["key"] for one in ledger["claims"]]


def test_a_claim_has_the_fields_of_evaluation_results_and_ours():
    found = claim_json(CLAIM, {"family": 20})
    wanted = {"metric", "comparator", "threshold", "passed", "sampleSize", "assuranceLevel", "preregistration"}
    ours = {"verdict", "meanDifference", "interval", "seeds", "pairs", "family", "decidedBy"}
    assert wanted | ours <= found.keys()
    assert found["passed"] is False and found["threshold"] == 1.5 and found["sampleSize"] == 3 and found["family"] == 20
    assert found["preregistration"] == "before" and found["decidedBy"]["p_adjusted"] == 0.01


def test_what_is_not_decided_has_neither_passed_nor_failed():
    for word in ("UNDECIDED", "NOT RUN", "NOT COMPARABLE"):
        assert claim_json({**CLAIM, "word": word}, {})["passed"] is None
    assert claim_json({**CLAIM, "word": "REPRODUCED"}, {})["passed"] is True


def test_it_says_of_how_many_bundles_it_was_merged_and_attests_nothing_that_a_program_cannot_know():
    found = statement(
        {"claims": [CLAIM], "family": 20, "looks": [3]}, {"b": Listed("1" * 64, 1), "a": Listed("2" * 64, 1)}, 2
    )
    assert [one["name"] for one in found["subject"]] == ["a", "b"]
    assert found["predicate"]["mergedFrom"] == 2 and found["predicate"]["looks"] == [3]
    assert found["predicate"]["assuranceLevel"] == "self_attested"
