"""What the paper states of its cells, as values: each claim's kind, cells and margin, checked when it is read. Pure Python.

A cell is written `row.column`, or `N:row.column` where it stands in another table; after reading it always has its number.

    ordering      `lower` is worse than `higher`: two cells, or lists of the same length, and then at every pair
    trend         the cells `rising` increase steadily, from the first to the last
    equivalence   the two cells `equal` differ by less than `margin` points
    robustness    no two of the cells `flat` differ by `margin` points or more
    value         the `printed` cells come out as printed (missing: every printed cell of the table); intervals wider than
                  `margin` points on either side would hold nearly any value, and say nothing
    literature    an ordering whose `lower` are quoted from the literature, and not measured

in: `[[claim]]` of `tables/table*.toml` -> out: frozen dataclasses, or one error naming file, claim and key
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import combinations, pairwise
from typing import Any

from swdb.core.errors import BadInput, unknown
from swdb.core.files import digest

CELLS_OF = {  # by kind: the fields that hold its cells, and how many each holds at least
    "ordering": {"lower": 1, "higher": 1},
    "trend": {"rising": 3},
    "equivalence": {"equal": 2},
    "robustness": {"flat": 2},
    "value": {"printed": 1},
    "literature": {"lower": 1, "higher": 1},
}
WITH_MARGIN = ("equivalence", "robustness", "value")
ONLY_COMPARABLE = (
    "value",
    "literature",
)  # kinds that compare with printed numbers: only where the preset is the paper's
KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # of claims, rows and columns
KEY_IN_WORDS = "small letters, digits and single hyphens"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What the paper states of some cells; margins are points of mIoU, fixed before anything is scored."""

    key: str  # unique in all tables
    text: str
    place: str  # where the supplement says so
    kind: str
    lower: tuple[str, ...] = ()
    higher: tuple[str, ...] = ()
    rising: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()
    printed: tuple[str, ...] = ()
    margin: float | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """All cells that it is about, each once."""
        return tuple(dict.fromkeys(cell for name in CELLS_OF[self.kind] for cell in getattr(self, name)))

    @property
    def measured_cells(self) -> tuple[str, ...]:
        """The cells that must have been measured before it can be judged."""
        return tuple(dict.fromkeys(self.higher)) if self.kind == "literature" else self.cells

    def content(self) -> dict[str, Any]:
        """Return all that it says, JSON-ready; what it does not use is left out, so that later kinds change no digest."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {name: value for name, value in lists.items() if value not in ([], None)}

    @property
    def digest(self) -> str:
        """The sha256 of all that it says."""
        return digest(self.content())


def contrary(claim: Claim, printed: Mapping[str, float]) -> list[tuple[str, str]]:
    """List the pairs of cells whose printed values are against the claim, as far as both are printed: the worst of it."""
    pairs = [*zip(claim.lower, claim.higher, strict=True), *pairwise(claim.rising)]
    known = [pair for pair in pairs if all(cell in printed for cell in pair)]
    found = [(low, high) for low, high in known if printed[low] >= printed[high]]
    for low, high in combinations(claim.flat or claim.equal, 2):
        if low in printed and high in printed and abs(printed[high] - printed[low]) >= claim.margin:
            found.append((low, high))
    return found


def prepared(raw: Any) -> Any:
    """Return the TOML of a claim with a list wherever one cell was written alone."""
    names = {name for one in CELLS_OF.values() for name in one}
    if not isinstance(raw, dict):
        return raw
    return {key: [value] if key in names and isinstance(value, str) else value for key, value in raw.items()}


def with_numbers(claim: Claim, table: int, printed: tuple[str, ...]) -> Claim:
    """Return a claim whose cells all name their table; `printed`: what a claim about values without cells of its own means."""
    cells = {
        name: tuple(cell if ":" in cell else f"{table}:{cell}" for cell in getattr(claim, name))
        for one in CELLS_OF.values()
        for name in one
    }
    if claim.kind == "value" and not claim.printed:
        cells["printed"] = printed
    return replace(claim, **cells)


def check_claim(claim: Claim, where: str) -> None:
    """Refuse a claim that its kind cannot decide: without cells, without a margin, or with what belongs to another kind."""
    if not KEY.fullmatch(claim.key):
        raise BadInput(f"{where}, key 'key'", f"found {claim.key!r}", KEY_IN_WORDS)
    if claim.kind not in CELLS_OF:
        raise unknown(f"{where}, kind", claim.kind, CELLS_OF)
    for name in ("text", "place"):
        if not getattr(claim, name).strip():
            raise BadInput(f"{where}, key {name!r}", "empty", "words")
    own = CELLS_OF[claim.kind]
    for name in sorted({name for one in CELLS_OF.values() for name in one} - own.keys()):
        if getattr(claim, name):
            raise BadInput(f"{where}, key {name!r}", f"found in a claim of kind {claim.kind!r}", ", ".join(own))
    for name, least in own.items():
        cells = getattr(claim, name)
        if len(cells) < least and claim.kind != "value":
            found = f"found {len(cells)} cells" if cells else "missing"
            raise BadInput(f"{where}, key {name!r}", found, f"{least} or more" if least > 1 else "a cell, or a list")
    if claim.kind == "equivalence" and len(claim.equal) != 2:
        raise BadInput(f"{where}, key 'equal'", f"found {len(claim.equal)} cells", "2")
    if len(claim.lower) != len(claim.higher):
        expected = f"{len(claim.lower)}, as in 'lower'"
        raise BadInput(f"{where}, key 'higher'", f"found {len(claim.higher)} cells", expected)
    _check_margin(claim, where)


def _check_margin(claim: Claim, where: str) -> None:
    """Refuse a margin where none belongs, and one that is missing or no size."""
    if claim.kind not in WITH_MARGIN:
        if claim.margin is not None:
            raise BadInput(f"{where}, key 'margin'", f"found in a claim of kind {claim.kind!r}", "none")
        return
    if claim.margin is None:
        raise BadInput(f"{where}, key 'margin'", "missing", "points of mIoU, fixed before anything is scored")
    if not 0 < claim.margin <= 100:
        raise BadInput(f"{where}, key 'margin'", f"found {claim.margin}", "more than 0 points, 100 at most")


def check_cells(claim: Claim, measured: Mapping[str, float | None], quoted: Mapping[str, float], where: str) -> None:
    """Refuse unknown cells and the same cell on both sides.

    measured: the cells that runs stand behind, with the printed value, if any. quoted: those from the literature.
    """
    for name in CELLS_OF[claim.kind]:
        known = quoted if claim.kind == "literature" and name == "lower" else measured
        if claim.kind == "value":
            known = {cell: value for cell, value in measured.items() if value is not None}
        for cell in getattr(claim, name):
            if cell not in known:
                raise _unknown_cell(cell, known, where)
    for lower, higher in zip(claim.lower, claim.higher, strict=True):
        if lower == higher:
            raise BadInput(f"{where}, key 'higher'", f"found {higher!r}, which is 'lower', too", "another cell")
    for name in ("rising", "equal", "flat", "printed"):
        cells = getattr(claim, name)
        if len(set(cells)) < len(cells):
            twice = next(cell for cell in cells if cells.count(cell) > 1)
            raise BadInput(f"{where}, key {name!r}", f"found {twice!r} twice", "each cell once")


def _unknown_cell(cell: str, known: Mapping[str, Any], where: str) -> BadInput:
    """Return the error for a cell that is not there; those of its own table are named as one writes them there."""
    return unknown(f"{where}, cell", cell, known)
