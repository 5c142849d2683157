"""`swdb reproduce-table --until-decided`: the cheapest claim within reach first, a seed at a time, until nothing is left to say.

A claim is looked at 3, 5, 8 and 12 seeds and at no others: what is spent on each look stands in the rule, so whoever stops
when something is decided has looked no more often than the adjustment counts. Every claim gets its first look; after that
one is within reach where the rule would decide it by the 12th seed in 80 % of studies whose cells are as they were measured.

in: a graph, what plans and makes -> out: finished runs, and sentences on how often it was looked and why it ended
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from swdb.cli import arguments
from swdb.cli.judging import Judged, Spreads, judged, spreads_of
from swdb.cli.options import say
from swdb.core.errors import BadInput

if TYPE_CHECKING:
    from swdb.core.artefact import Artefact
    from swdb.specs.tables import Table
    from swdb.study.graph import Graph
    from swdb.study.plan import Plan
    from swdb.timing.price import Prices
    from swdb.verdicts.engine import Family
    from swdb.verdicts.verdict import Verdict


def check_options(
    budget: str | None, until_decided: bool, seeds: int | None, rows: str | None, on: str, dry_run: bool, no_train: bool
) -> float | None:
    """Return the budget in seconds; raises BadInput for what does not go together."""
    if not until_decided:
        if budget is not None:
            raise BadInput(f"--budget {budget}", "says when --until-decided ends", "--until-decided beside it")
        return None
    typed = {"--seeds": seeds is not None, "--rows": rows is not None, f"--on {on}": on != "here"}
    for option, there in {**typed, "--dry-run": dry_run, "--no-train": no_train}.items():
        if there:
            found = "found beside --until-decided, which chooses rows and seeds, and runs them here"
            raise BadInput(option, found, "only one of the two")
    return arguments.duration("--budget", budget)


@dataclass
class Search:
    """Runs the most informative seeds of a study."""

    graph: "Graph"
    tables: Mapping[int, "Table"]
    chosen: frozenset[int]  # tables whose claims are to be decided
    plan: "Callable[[Iterable[int]], Plan]"  # of all tables and some seeds, with all that was planned before
    make: "Callable[[Plan, list[Artefact]], None]"
    device: str  # as typed
    jobs: int
    budget: float | None  # seconds
    began: float = field(default_factory=time.monotonic)
    failed: set[str] = field(default_factory=set)  # ids of what could not be made

    def run(self) -> str:
        """Run seeds until nothing is open, the budget is spent, or nothing more is within reach; returns which it was."""
        from swdb.specs.tables import measured_cells
        from swdb.timing.price import prices
        from swdb.verdicts.engine import family_of

        family = family_of(self.tables)
        while True:
            plan = self.plan(())
            found = judged(self.graph, self.tables, plan, whole=False)
            if found.problems:  # a score that is left out would be looked for again and again
                raise found.problems[0]
            open_claims = [one for one in found.ledger.verdicts if one.table in self.chosen and is_open(one)]
            if not open_claims:
                return self._ended("all is decided", found)
            if self._left() <= 0:
                return self._ended("the budget is spent", found)
            price = prices(self.graph, plan, measured_cells(self.tables), self.device, self.jobs)
            steps = self.steps(found, family, open_claims, price)
            if not steps:
                keys = ", ".join(one.claim.key for one in open_claims)
                makeable = all(price.can_make(one.claim.measured_cells) for one in open_claims)
                why = f"would take more than {last_look()} seeds, as it looks" + (
                    ", or cannot be made" if self.failed or not makeable else ""
                )
                return self._ended(f"nothing more is within reach: {keys} {why}", found)
            steps = [step for step in steps if step.seconds is None or step.seconds / self.jobs <= self._left()]
            if not steps:
                return self._ended("no further seed fits the budget", found)
            self._make(batch(steps, self.jobs))

    def steps(self, found: Judged, family: "Family", open_claims: list["Verdict"], price: "Prices") -> list["Step"]:
        """Return the next seed of each open claim within reach, those that are nearest to their next look first."""
        from swdb.verdicts import rule

        spreads = spreads_of(family, self.tables, found, None)
        steps = []
        for verdict in open_claims:
            if not within_reach(verdict, found, family, spreads):
                continue
            cells, look = verdict.claim.measured_cells, rule.next_look(len(verdict.seeds))
            if look > last_look() or not price.can_make(cells):
                continue
            missing = [seed for seed in range(look + len(verdict.seeds)) if seed not in verdict.seeds]
            missing = missing[: look - len(verdict.seeds)]
            scores = self._scores(cells, missing[0])
            if any(one.id in self.failed for one in scores):
                continue
            whole, now = price.needs(cells, missing), price.needs(cells, missing[:1])
            cost = sum(whole.values()) if whole is not None else float(sum(one.steps for one in self._todo(scores)))
            steps.append(Step(verdict.claim.key, missing[0], scores, cost, None if now is None else sum(now.values())))
        return sorted(steps, key=lambda step: step.cost)

    def _scores(self, cells: Iterable[str], seed: int) -> list["Artefact"]:
        from swdb.specs.tables import measured_cells

        sources = measured_cells(self.tables)
        return [self.graph.score(sources[cell], seed) for cell in cells]

    def _todo(self, scores: Iterable["Artefact"]) -> list["Artefact"]:
        from swdb.core.artefact import still_needed

        return [one for one in still_needed(self.graph.needed(*scores)) if not one.done]

    def _make(self, steps: list["Step"]) -> None:
        scores = {one.id: one for step in steps for one in step.scores}
        seeds = sorted({step.seed for step in steps})
        say(f"seed {', '.join(map(str, seeds))} of {', '.join(step.key for step in steps)}")
        whole = self.plan(seeds)
        kept = {place: one for place, one in whole.scores.items() if one.id in scores or one.done}
        self.make(replace(whole, scores=kept), self._todo(scores.values()))
        self.failed |= {one.id for one in scores.values() if not one.done}

    def _left(self) -> float:
        return float("inf") if self.budget is None else self.budget - (time.monotonic() - self.began)

    def _ended(self, why: str, found: Judged) -> str:
        mine = [one for one in found.ledger.verdicts if one.table in self.chosen]
        looks = sorted({one.look for one in mine if one.look})
        looked = f"looked at {', '.join(map(str, looks))} seeds" if looks else "looked at no number of seeds yet"
        return f"{why}; {looked}, as the rule counts them; {sum(map(is_open, mine))} of {len(mine)} claims are open"


@dataclass(frozen=True)
class Step:
    """The next seed of a claim."""

    key: str
    seed: int
    scores: list["Artefact"]
    cost: float  # of all that its next look takes, in seconds or, where nobody knows them, in optimizer steps
    seconds: float | None  # of this seed


def batch(steps: list[Step], jobs: int) -> list[Step]:
    """Return the first step and, while workers would have nothing to do, those after it."""
    from swdb.reports.results import runs_behind

    chosen: list[Step] = []
    runs: set[str] = set()
    for step in steps:
        chosen.append(step)
        runs |= {run.id for score in step.scores for run in runs_behind(score) if not run.done}
        if len(runs) >= jobs:
            break
    return chosen


def is_open(verdict: "Verdict") -> bool:
    """Whether more seeds could decide a claim."""
    from swdb.verdicts.verdict import NOT_RUN, UNDECIDED

    return verdict.word in (NOT_RUN, UNDECIDED)


def within_reach(verdict: "Verdict", found: Judged, family: "Family", spreads: Spreads) -> bool:
    """Whether more seeds would probably decide a claim, if its cells are as they were measured."""
    from swdb.verdicts import power, rule

    if len(verdict.seeds) < rule.EARLY[0]:
        return True
    spread = power.spread_of(verdict.claim, (spreads.differences, spreads.runs))
    effect = power.as_measured(verdict.claim, found.values, verdict.seeds)
    search = power.search(verdict.claim, family, spread, found.ledger.family, effect)
    needed = power.power(search, len(verdict.seeds)).seeds_needed
    return needed is not None and needed <= last_look()


def last_look() -> int:
    """Return the number of seeds beyond which nothing is run."""
    from swdb.verdicts.rule import EARLY

    return max(EARLY)
