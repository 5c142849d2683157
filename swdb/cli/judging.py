"""What several commands ask of a study: the ledger of what is finished, and what its open claims would take.

in: a graph, a plan -> out: verdicts from the scores that can be believed; seeds and hours by claim, against a budget
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from swdb.core.errors import MissingArtefact, SwdbError

if TYPE_CHECKING:
    from swdb.reports.results import MeasuredTable
    from swdb.specs.tables import Table
    from swdb.study.graph import Graph
    from swdb.study.plan import Plan
    from swdb.timing.price import Needs, Prices
    from swdb.verdicts.engine import Family
    from swdb.verdicts.power import Expected
    from swdb.verdicts.verdict import Ledger, Verdict

ASSUMED = 1.0  # points by which a run differs, where nothing is measured


@dataclass(frozen=True)
class Judged:
    """A ledger, and what it rests on."""

    ledger: "Ledger"
    measured: tuple["MeasuredTable", ...]
    plan: "Plan"  # without the finished scores that cannot be believed
    problems: tuple[SwdbError, ...]  # what is wrong with these

    @property
    def values(self) -> dict[str, dict[int, float]]:
        """The scores by cell and seed."""
        from swdb.study.plan import mious

        return mious(self.plan.scores)


def judged(graph: "Graph", tables: Mapping[int, "Table"], plan: "Plan", whole: bool = True) -> Judged:
    """Judge all claims from the scores of a plan that can be believed; `whole`: say what a reader wants to know besides."""
    from swdb.reports.ledger import ledger_of
    from swdb.reports.results import measure
    from swdb.reports.sound import sound
    from swdb.study.preregistration import standings

    kept, problems = sound(plan.scores)
    part = replace(plan, scores={place: one for place, one in plan.scores.items() if place in kept or not one.done})
    while True:
        try:
            measured = tuple(measure(table, graph.runs, part.cells(number)) for number, table in tables.items())
            ledger = ledger_of(measured, graph.study.preset, images=whole, powers=whole)
            break
        except MissingArtefact as error:  # of counts, say, which are read there
            wrong = [place for place, score in part.scores.items() if _is_about(error, score.folder)]
            if not wrong:
                raise
            problems.append(error)
            part = replace(part, scores={place: one for place, one in part.scores.items() if place not in wrong})
    try:
        ledger = replace(ledger, registered=standings(graph.study, tables, part))
    except MissingArtefact as error:
        problems.append(error)
    return Judged(ledger, measured, part, tuple(problems))


def _is_about(error: MissingArtefact, folder: Path) -> bool:
    return isinstance(error.subject, Path) and error.subject.is_relative_to(folder)


# ---------------------------------------------------------------- the spread that is expected


@dataclass(frozen=True)
class Spreads:
    """By what runs differ, as measured here, typed or assumed."""

    differences: "Expected"
    runs: "Expected"
    words: str


def spreads_of(family: "Family", tables: Mapping[int, "Table"], found: Judged, typed: float | None) -> Spreads:
    """Return by what runs are expected to differ: as typed, else as measured here, else as assumed."""
    from swdb.specs.tables import measured_cells
    from swdb.verdicts.power import expectations
    from swdb.verdicts.simulation import FEW_STRONG_SPREAD, spread_factor

    sources = measured_cells(tables)

    def supposed(points: float) -> tuple["Expected", "Expected"]:
        factors = {family.arms[cell]: spread_factor(source) for cell, source in sources.items()}
        return expectations(family, {}, {arm: points * factor for arm, factor in factors.items()})

    more = f"{FEW_STRONG_SPREAD:g} times that where strong images are few"
    if typed is not None:
        return Spreads(*supposed(typed), f"{typed:.2f} points a run, as typed; {more}")
    differences, runs = expectations(family, found.values)
    if differences is None or runs is None:
        assumption = f"{ASSUMED:.2f} points a run: an assumption, for nothing is measured here"
        return Spreads(*supposed(ASSUMED), f"{assumption}; {more}")
    return Spreads(differences, runs, f"{differences.variance.mean() ** 0.5:.2f} points a run, as measured here")


# ---------------------------------------------------------------- what claims take


@dataclass(frozen=True)
class Line:
    """What one claim takes."""

    verdict: "Verdict"
    points: float  # the true effect that is to be found
    finds: float | None  # with the seeds at hand
    seeds: int | None  # None: more than anybody runs
    needs: "Needs | None"  # what is left to be done for them; None: nobody knows how long it takes

    @property
    def seconds(self) -> float | None:
        """How long what is left takes, one job at a time."""
        return None if self.needs is None else sum(self.needs.values())


def lines_of(found: Judged, family: "Family", spreads: Spreads, power: float, price: "Prices") -> list[Line]:
    """Return what each claim takes that is open and can be decided on this preset."""
    from swdb.verdicts import power as powers
    from swdb.verdicts.verdict import NOT_RUN, UNDECIDED

    lines = []
    for verdict in found.ledger.verdicts:
        if verdict.word not in (NOT_RUN, UNDECIDED) or not price.can_make(verdict.claim.measured_cells):
            continue
        spread = powers.spread_of(verdict.claim, (spreads.differences, spreads.runs))
        search = powers.search(verdict.claim, family, spread, found.ledger.family)
        one = powers.power(search, len(verdict.seeds), power)
        needs = None if one.seeds_needed is None else price.needs(verdict.claim.measured_cells, range(one.seeds_needed))
        lines.append(Line(verdict, one.points, one.finds, one.seeds_needed, needs))
    return lines


def affordable(lines: Iterable[Line], seconds: float) -> list[Line]:
    """Return the claims that so many seconds of work decide together, the cheapest first: they share runs."""
    left = [line for line in lines if line.needs is not None]
    chosen: list[Line] = []
    begun: set[object] = set()
    while left:
        price, line = min(((_beyond(line, begun), line) for line in left), key=lambda pair: pair[0])
        if price > seconds:
            break
        chosen.append(line)
        left.remove(line)
        begun |= line.needs.keys()
        seconds -= price
    return chosen


def _beyond(line: Line, begun: set[object]) -> float:
    return sum(seconds for piece, seconds in line.needs.items() if piece not in begun)
