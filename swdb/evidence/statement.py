"""The claims and their verdicts as an in-toto Statement v1, which attestation tools sign and pass on.

The fields that in-toto's draft of evaluation results knows keep its names; what it has no word for is ours.

in: the ledger, the files of a bundle -> out: what `claims.intoto.json` says
"""

from collections.abc import Mapping
from typing import Any

from swdb.evidence.layout import Listed

TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:swdb:claims:v1"
METRIC = "mIoU in %, over the classes of the validation split, of the last weights"
ASSURANCE = "self_attested"  # a program cannot know who ran it


def statement(ledger: Mapping[str, Any], listed: Mapping[str, Listed], parts: int) -> dict[str, Any]:
    """Return the statement: the bundle's other files by their digests, and each claim with its verdict."""
    return {
        "_type": TYPE,
        "subject": [{"name": name, "digest": {"sha256": one.sha256}} for name, one in sorted(listed.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "assuranceLevel": ASSURANCE,
            "mergedFrom": parts,
            **{name: value for name, value in ledger.items() if name != "claims"},
            "claims": [claim_json(claim, ledger) for claim in ledger["claims"]],
        },
    }


def claim_json(claim: Mapping[str, Any], ledger: Mapping[str, Any]) -> dict[str, Any]:
    """Return one claim of the ledger in the words of evaluation results."""
    said = claim["claim"]
    decided = claim["word"] in ("REPRODUCED", "CONTRADICTED")
    return {
        "name": said["key"],
        "metric": METRIC,
        "comparator": said["kind"],
        "threshold": said.get("margin", 0.0),
        "passed": claim["word"] == "REPRODUCED" if decided else None,
        "sampleSize": len(claim["seeds"]),
        "assuranceLevel": ASSURANCE,
        "preregistration": claim.get("registered", "not"),
        "claim": said,
        "claimSha256": claim["claim_sha256"],
        "verdict": claim["shown"],
        "discount": claim.get("discount", ""),  # why a contradiction counts for less
        "meanDifference": claim["effect"],
        "interval": claim["seeds_interval"],
        "intervalOverImages": claim["images_interval"],
        "seeds": claim["seeds"],
        "pairs": len(claim["seeds"]),
        "family": ledger.get("family"),
        "decidedBy": {
            name: claim[name] for name in ("p", "p_adjusted", "look", "spread", "finds", "finds_effect", "why")
        },
    }
