"""What the program says of the paper's claims, as values: a verdict for each, and the ledger that holds all of them.

in: what engine.py found -> out: frozen dataclasses, JSON-ready values
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from swdb.specs.claims import Claim
from swdb.specs.regime import Condition

REPRODUCED, CONTRADICTED, UNDECIDED = "REPRODUCED", "CONTRADICTED", "UNDECIDED"
NOT_COMPARABLE, NOT_RUN = "NOT COMPARABLE", "NOT RUN"
WORDS = (REPRODUCED, CONTRADICTED, UNDECIDED, NOT_COMPARABLE, NOT_RUN)
SHOWN = {REPRODUCED: "MECHANISM SHOWN", CONTRADICTED: "MECHANISM NOT SHOWN"}  # where the preset is not the paper's
MET, NOT_MET, NOT_DECIDED = "shown", "not shown", "not decided"  # of a condition of the regime, or NOT_RUN
DIGITS = 6  # of numbers in JSON: equal on every machine, and more than anybody reads


@dataclass(frozen=True)
class Interval:
    """Where an effect lies, in points of mIoU. Basis: other trainings (`seeds`), or other images (`images`)."""

    low: float
    high: float
    share: float = 0.95
    basis: str = "seeds"


@dataclass(frozen=True)
class Spread:
    """How much one run differs from the next, and from how many cells that is known."""

    sd: float  # points of mIoU, of one run
    degrees: float  # of freedom
    arms: int  # cells, each once, that it is pooled over
    words: str


@dataclass(frozen=True)
class Verdict:
    """What became of a claim."""

    claim: Claim
    table: int
    word: str  # one of WORDS
    comparable: bool = True  # whether the preset is the paper's
    effect: float | None = None  # points of mIoU, over all seeds in common: of several differences the one that decides
    seeds_interval: Interval | None = None
    images_interval: Interval | None = None
    p: float | None = None  # at `look`, of this claim alone
    p_adjusted: float | None = None  # for the number of claims and of looks: decided where it is 0.05 or less
    look: int | None = None  # with how many seeds p was found
    seeds: tuple[int, ...] = ()
    spread: Spread | None = None
    finds: float | None = None  # share of simulations in which a true effect of `finds_effect` points is decided
    finds_effect: float | None = None
    seeds_needed: int | None = None
    hours_needed: float | None = None
    why: str = ""  # one clause: of what is not decided, and of what is not compared or not run
    contrary: str = ""  # one clause: where the paper's own numbers are against its sentence
    discount: str = ""  # one clause: why a contradiction counts for less

    @property
    def shown(self) -> str:
        """What is printed: the word itself at the paper's preset, elsewhere whether the mechanism shows."""
        return self.word if self.comparable else SHOWN.get(self.word, self.word)


@dataclass(frozen=True)
class Checked:
    """What became of a condition of the paper's regime."""

    condition: Condition
    word: str  # MET, NOT_MET, NOT_DECIDED or NOT_RUN
    higher: float | None = None  # means over the seeds, in % of mIoU
    lower: float | None = None
    effect: float | None = None  # their difference
    interval: Interval | None = None  # over seeds
    seeds: tuple[int, ...] = ()
    printed: tuple[float, float] | None = None  # the paper's higher and lower value
    why: str = ""  # one clause: of what is not decided or not run


@dataclass(frozen=True)
class Ledger:
    """All claims of all tables, judged together."""

    preset: str
    comparable: bool
    verdicts: tuple[Verdict, ...]
    family: int  # how many claims the adjustment counts
    looks: tuple[int, ...]  # at how many seeds it was looked
    limits: tuple[str, ...] = ()  # sentences
    registered: Mapping[str, str] = field(default_factory=dict)  # claim's key -> "before", "after" the runs, or "not"
    regime: tuple[Checked, ...] = ()  # no claims: nothing is adjusted for them

    @property
    def outside(self) -> bool:
        """Whether the study is shown to be outside the paper's regime."""
        return any(one.word == NOT_MET for one in self.regime)

    def of_table(self, number: int) -> tuple[Verdict, ...]:
        """Return the verdicts on the claims of one table."""
        return tuple(verdict for verdict in self.verdicts if verdict.table == number)

    def to_json(self) -> dict[str, Any]:
        """Return the ledger as JSON-ready values."""
        return {
            "preset": self.preset,
            "comparable_to_paper": self.comparable,
            "family": self.family,
            "looks": list(self.looks),
            "limits": list(self.limits),
            "regime": {"outside": self.outside, "conditions": [_checked_json(one) for one in self.regime]},
            "claims": [
                {**verdict_json(one), "registered": self.registered.get(one.claim.key, "not")} for one in self.verdicts
            ],
        }


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON-ready values, with all that its claim says and the digest of that."""
    spread = verdict.spread
    return {
        "claim": verdict.claim.content(),
        "claim_sha256": verdict.claim.digest,
        "table": verdict.table,
        "word": verdict.word,
        "shown": verdict.shown,
        "effect": _rounded(verdict.effect),
        "seeds_interval": _interval(verdict.seeds_interval),
        "images_interval": _interval(verdict.images_interval),
        "p": _rounded(verdict.p),
        "p_adjusted": _rounded(verdict.p_adjusted),
        "look": verdict.look,
        "seeds": list(verdict.seeds),
        "spread": None
        if spread is None
        else {
            "sd": _rounded(spread.sd),
            "degrees": _rounded(spread.degrees),
            "arms": spread.arms,
            "words": spread.words,
        },
        "finds": _rounded(verdict.finds),
        "finds_effect": _rounded(verdict.finds_effect),
        "seeds_needed": verdict.seeds_needed,
        "hours_needed": _rounded(verdict.hours_needed),
        "why": verdict.why,
        "contrary": verdict.contrary,
        "discount": verdict.discount,
    }


def _checked_json(checked: Checked) -> dict[str, Any]:
    return {
        "condition": asdict(checked.condition),
        "word": checked.word,
        "higher": _rounded(checked.higher),
        "lower": _rounded(checked.lower),
        "effect": _rounded(checked.effect),
        "interval": _interval(checked.interval),
        "seeds": list(checked.seeds),
        "printed": None if checked.printed is None else list(checked.printed),
        "why": checked.why,
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    low, high = _rounded(interval.low), _rounded(interval.high)
    return {"low": low, "high": high, "share": interval.share, "basis": interval.basis}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
