"""The claims as the report shows them: each with a number, its verdict, what was measured, and what it would take.

in: a Ledger -> out: plain text for a page, and the drawing of all intervals
"""

from collections.abc import Mapping
from dataclasses import dataclass

from swdb.reports import charts
from swdb.reports.charts import Chart, Range, number, seeds_in_words
from swdb.reports.ledger import finds_words, small, takes_more, what_is_shown
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

LOOKS = {REPRODUCED: "good", CONTRADICTED: "bad", UNDECIDED: "open", NOT_COMPARABLE: "none", NOT_RUN: "none"}
SIGNS = {
    "good": "●",
    "bad": "■",
    "open": "○",
    "none": "–",
}  # as in the drawing: colour is not all that tells them apart
REGISTERED = {"before": "fixed before the runs", "after": "fixed after the runs", "not": "not registered"}


@dataclass(frozen=True)
class ClaimShown:
    """A claim in words."""

    name: str  # table and place in it: 2.4
    table: int
    verdict: Verdict
    look: str
    sign: str
    effect: str
    which: str  # of several differences is the effect; empty where there is one
    seeds_interval: str
    images_interval: str
    p: str
    num_seeds: str
    needs: str  # what would decide it
    finds: str
    spread: str
    registered: str


def claims_shown(ledger: Ledger) -> list[ClaimShown]:
    """Number all claims, table by table."""
    found, places = [], {}
    for verdict in ledger.verdicts:
        places[verdict.table] = places.get(verdict.table, 0) + 1
        found.append(_shown(f"{verdict.table}.{places[verdict.table]}", verdict, ledger.registered))
    return found


def look_of(word: str) -> str:
    """Return how a verdict is shown."""
    return LOOKS.get(word, "none")


def counts(ledger: Ledger) -> list[tuple[str, int, str]]:
    """Count the claims by verdict, as shown: word, how many, look."""
    found = []
    for word in WORDS:
        those = [one for one in ledger.verdicts if one.word == word]
        if those:
            found.append((those[0].shown, len(those), look_of(word)))
    return found


def intervals_chart(claims: list[ClaimShown]) -> Chart | None:
    """Draw all claims that something was measured for; None where there is none."""
    if not any(one.verdict.effect is not None for one in claims):
        return None
    ranges = [
        Range(
            one.name,
            one.look,
            one.verdict.shown,
            one.verdict.effect,
            _ends(one.verdict.seeds_interval),
            _ends(one.verdict.images_interval),
            one.verdict.claim.margin,
        )
        for one in claims
    ]
    return charts.intervals("claims-chart", "The difference behind each claim, with its intervals", ranges)


def _shown(name: str, verdict: Verdict, registered: Mapping[str, str]) -> ClaimShown:
    look = look_of(verdict.word)
    spread = verdict.spread
    return ClaimShown(
        name=name,
        table=verdict.table,
        verdict=verdict,
        look=look,
        sign=SIGNS[look],
        effect=number(verdict.effect, "+.1f"),
        which=what_is_shown(verdict).strip().removesuffix(":"),
        seeds_interval=charts.interval(_ends(verdict.seeds_interval)),
        images_interval=charts.interval(_ends(verdict.images_interval)),
        p="–" if verdict.p_adjusted is None else small(verdict.p_adjusted),
        num_seeds=str(len(verdict.seeds)) if verdict.seeds else "–",
        needs=_needs(verdict),
        finds=finds_words(verdict),
        spread="" if spread is None else spread.words or f"{number(spread.sd, '.2f')} points",
        registered=REGISTERED.get(registered.get(verdict.claim.key, "not"), "not registered"),
    )


def _ends(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else (interval.low, interval.high)


def _needs(verdict: Verdict) -> str:
    """Say what finding the effect that is asked about would take, where a claim is open."""
    if not takes_more(verdict):
        return ""
    cost = "" if verdict.hours_needed is None else f", {verdict.hours_needed:,.1f} hours"
    return f"would take {seeds_in_words(verdict.seeds_needed)}{cost}"
