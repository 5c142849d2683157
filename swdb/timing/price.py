"""What the seeds behind a claim cost: the work that is still to be done for them, each piece once.

What does not depend on the seed (the data, the proxies) is found by planning two seeds: it is what both need. Seeds that
nobody has begun all cost the same.

in: a graph, a plan with what is finished, rates -> out: seconds by piece of work
"""

from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from swdb.core.artefact import Artefact
from swdb.core.errors import SwdbError
from swdb.specs.claims import Claim
from swdb.specs.tables import CellSource
from swdb.study.graph import Graph
from swdb.study.plan import Plan
from swdb.timing.rates import Rates, read_rates

Needs = dict[Hashable, float]  # seconds of work that is to be done, by piece


@dataclass
class Prices:
    """What claims cost in one study."""

    graph: Graph
    sources: Mapping[str, CellSource]  # by cell
    rates: Rates
    planned: frozenset[int]  # seeds of which something may be finished
    jobs: int = 1
    _closures: dict[tuple[str, int], dict[str, Artefact]] = field(default_factory=dict, repr=False)

    @property
    def fresh(self) -> int:
        """A seed of which nothing was begun."""
        return 1 + max(self.planned, default=-1)

    def needs(self, cells: Iterable[str], seeds: Iterable[int]) -> Needs | None:
        """Return the work that some cells need for some seeds; None where nobody knows how long it takes."""
        found: Needs = {}
        cells = list(cells)
        with suppress(SwdbError):  # files that planning needs were never named here
            shared = {one for cell in cells for one in self._shared(cell)}
            for seed in seeds:
                known = seed in self.planned
                for cell in cells:
                    for identity, one in self._closure(cell, seed if known else self.fresh).items():
                        if one.done:
                            continue
                        if (work := self.rates.work(one, self.jobs)) is None:
                            return None
                        found[identity if known or identity in shared else (identity, seed)] = sum(work)
            return found
        return None

    def can_make(self, cells: Iterable[str]) -> bool:
        """Whether the methods behind cells can be built on the preset's backbone."""
        return all(self.graph.can_make(*self.sources[cell].runs) for cell in cells)

    def hours(self, claim: Claim, seeds: int | None) -> float | None:
        """Return the hours that so many seeds of a claim still take, one job at a time; None where nobody knows."""
        found = None if seeds is None else self.needs(claim.measured_cells, range(seeds))
        return None if found is None else sum(found.values()) / 3600

    def _shared(self, cell: str) -> set[str]:
        """Return the ids of what a cell needs whatever the seed."""
        return self._closure(cell, self.fresh).keys() & self._closure(cell, self.fresh + 1).keys()

    def _closure(self, cell: str, seed: int) -> dict[str, Artefact]:
        """Return all that is made for a cell with a seed, by id."""
        if (cell, seed) not in self._closures:
            score = self.graph.score(self.sources[cell], seed)
            self._closures[cell, seed] = {one.id: one for one in self.graph.needed(score)}
        return self._closures[cell, seed]


def prices(graph: Graph, plan: Plan, sources: Mapping[str, CellSource], device: str = "auto", jobs: int = 1) -> Prices:
    """Return what claims cost in the study of a graph, from the rates of its work directory."""
    planned = frozenset(place.seed for place in plan.scores)
    return Prices(graph, sources, read_rates(graph.study, device), planned, jobs)
