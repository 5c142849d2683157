"""What it costs to make proxies for every seed: said by every dry run, whether they are or not.

in: a planned study -> out: a line, or none where it makes no difference
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from swdb.core.errors import MissingArtefact

if TYPE_CHECKING:
    from swdb.specs.tables import Row, Table
    from swdb.study.graph import Graph
    from swdb.timing.forecast import Forecast
    from swdb.timing.rates import Rates


def proxy_lines(
    graph: "Graph", rows: Iterable[tuple["Table", "Row"]], seeds: Iterable[int], rates: "Rates", jobs: int
) -> list[str]:
    """Compare what is left of these rows where all seeds share one pair of proxies, and where each has its own."""
    from swdb.core.numbers import duration
    from swdb.study.graph import Graph

    other = Graph(replace(graph.study, proxy_seeds=not graph.study.proxy_seeds), graph.runs)
    rows, seeds = list(rows), list(seeds)
    try:
        here, there = (_left(one, rows, seeds, rates, jobs) for one in (graph, other))
    except MissingArtefact:  # a file that planning needs was never named here
        return []
    own, shared = (here, there) if graph.study.proxy_seeds else (there, here)
    if own.steps <= shared.steps:
        return []
    known = own.work is not None and shared.work is not None
    time = f", about {duration(own.work - shared.work)} of work," if known and own.work > shared.work else ""
    more = f"{own.steps - shared.steps} optimizer steps{time} more than what is left with one pair for all"
    if graph.study.proxy_seeds:
        return [f"proxies: made for every seed, {more}"]
    return [f"proxies: one pair for all seeds; --proxy-seeds makes them for every seed, {more}"]


def _left(graph: "Graph", rows: list[tuple["Table", "Row"]], seeds: list[int], rates: "Rates", jobs: int) -> "Forecast":
    from swdb.core.artefact import still_needed
    from swdb.study.plan import make_plan
    from swdb.timing.forecast import forecast

    scores = make_plan(graph, rows, seeds).scores.values()
    return forecast(graph.study, still_needed(graph.needed(*scores)), rates, jobs)
