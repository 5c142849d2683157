"""`swdb plan`: how many seeds each claim needs, what they cost, and what stays undecidable."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swdb.cli import arguments
from swdb.cli.judging import Line, affordable, judged, lines_of, spreads_of
from swdb.cli.options import (
    Budget,
    Cues,
    Device,
    Jobs,
    Json,
    Preprocessing,
    PresetName,
    ProxySeeds,
    Weights,
    Workdir,
    open_graph,
    propose,
    say,
    show,
)
from swdb.cli.planning import planned

if TYPE_CHECKING:
    from swdb.verdicts.verdict import Ledger

WITHIN, OVER, NEVER, UNKNOWN = "within", "over", "never", "unknown"
COLOURS = {WITHIN: "green", OVER: "yellow", NEVER: "red", UNKNOWN: "dim"}

PowerShare = Annotated[
    float,
    typer.Option("--power", min=0.05, max=0.99, help="The share of studies in which a true effect should be found."),
]
SpreadPoints = Annotated[
    float | None,
    typer.Option(
        "--spread",
        min=0.01,
        max=50,
        help="Standard deviation of a run from seed to seed, in points; else as measured here, or 1.0.",
    ),
]


def plan(
    context: typer.Context,
    power: PowerShare = 0.8,
    budget: Budget = None,
    spread: SpreadPoints = None,
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    proxy_seeds: ProxySeeds = False,
    device: Device = "auto",
    jobs: Jobs = "auto",
    weights: Weights = None,
    preprocessing: Preprocessing = None,
    cues: Cues = None,
    json: Json = False,
) -> None:
    """Say how many seeds and hours each claim needs to be decided, and what stays undecidable; makes nothing.

    \b
    swdb plan
    swdb plan --preset voc --power 0.9 --budget 12h
    swdb plan --spread 1.5
    """
    from swdb.specs.tables import load_tables, measured_cells
    from swdb.study.capacity import slots
    from swdb.timing.price import prices
    from swdb.verdicts.engine import family_of

    seconds = arguments.duration("--budget", budget)
    resources, tables = arguments.resources(device, jobs, None, None, 1), load_tables()
    files = {"weights": weights, "preprocessing": preprocessing, "cues": cues}
    graph, family = open_graph(workdir, preset, remember=False, proxy_seeds=proxy_seeds, **files), family_of(tables)
    begun = planned(graph, [*tables.values()], range(0), recorded=True)
    found = judged(graph, tables, begun, whole=False)
    spreads = spreads_of(family, tables, found, spread)
    count = len(slots(resources, graph.everything(range(graph.study.preset.seeds)), workdir))
    price = prices(graph, begun, measured_cells(tables), device, count)
    lines = lines_of(found, family, spreads, power, price)
    fits = lines if seconds is None else affordable(lines, seconds * count)
    entries = [entry(line, count, _stands(line, fits)) for line in lines]
    about = {"power": power, "budget": budget, "jobs": count, "spread": spreads.words}
    problems = [str(problem) for problem in found.problems]
    unmade = [one for one in found.ledger.verdicts if not price.can_make(one.claim.measured_cells)]
    problems += [f"{one.claim.key}, which {one.why}" for one in unmade]
    if json:
        show([], {"preset": graph.study.preset.name, **about, "left_out": problems, "claims": entries}, json)
    else:
        print_plan(entries, found.ledger, about, context.obj.other("bench"))
    for problem in problems:
        say(f"left out: {problem}")
    words = ("--until-decided", *(("--budget", budget) if budget else ())) if entries else ("--no-train",)
    propose(context.obj, graph.study, "reproduce-table", "all", *words)


def _stands(line: Line, fits: list[Line]) -> str:
    """Say how a claim stands against the budget."""
    if line.seeds is None:
        return NEVER
    if line.needs is None:
        return UNKNOWN
    return WITHIN if line in fits else OVER


def entry(line: Line, jobs: int, stands: str) -> dict[str, Any]:
    """Return what a claim takes, JSON-ready; hours with so many jobs at once."""
    return {
        "claim": line.verdict.claim.key,
        "table": line.verdict.table,
        "text": line.verdict.claim.text,
        "verdict": line.verdict.shown,
        "points": line.points,
        "seeds": len(line.verdict.seeds),
        "finds": line.finds,
        "seeds_needed": line.seeds,
        "hours": None if line.seconds is None else round(line.seconds / jobs / 3600, 4),
        "stands": stands,
    }


def print_plan(entries: list[dict[str, Any]], ledger: "Ledger", about: dict[str, Any], bench: str) -> None:
    """Print what open claims take, and the sentences that must stand under it."""
    from swdb.cli import console
    from swdb.core.numbers import duration
    from swdb.verdicts.power import MOST_SEEDS

    names = ["budget", "table", "claim", "points", "finds", "seeds", "time"]
    rows = [
        [
            one["stands"],
            str(one["table"]),
            one["claim"],
            f"{one['points']:.2g}",
            "-" if one["finds"] is None else f"{100 * one['finds']:.0f} %",
            f"{one['seeds']} of {f'> {MOST_SEEDS}' if one['seeds_needed'] is None else one['seeds_needed']}",
            "-" if one["hours"] is None else duration(3600 * one["hours"]) or "0 s",
        ]
        for one in entries
    ]
    asked = about["budget"] is not None or any(row[0] in (NEVER, UNKNOWN) for row in rows)
    names, rows = (names, rows) if asked else (names[1:], [row[1:] for row in rows])
    numbers = ("points", "finds", "seeds", "time")
    console.print_rows(names, rows, COLOURS, whole=("claim", *numbers), numbers=numbers)
    for sentence in sentences(entries, len(ledger.verdicts), about, bench):
        typer.echo(sentence)


def sentences(entries: list[dict[str, Any]], claims: int, about: dict[str, Any], bench: str) -> list[str]:
    """Say how the numbers were found, and what stays undecidable."""
    from swdb.verdicts.power import MOST_SEEDS

    by = {word: [one["claim"] for one in entries if one["stands"] == word] for word in COLOURS}
    lines = [
        f"{len(entries)} of {claims} claims are open; power {100 * about['power']:.0f} % for an effect of 2 points, or of what is "
        "printed where that is less (0: equalities and printed values); finds: the power with the seeds at hand; seeds: those "
        "at hand of those needed",
        f"spread: {about['spread']}",
    ]
    jobs = about["jobs"]
    if any(one["hours"] is not None for one in entries):
        lines.append(
            f"time: of what is left for each claim alone, with {jobs} job{'s' * (jobs > 1)} at once; claims share runs"
        )
    if about["budget"] is not None:
        lines.append(f"within {about['budget']} together, the cheapest first: {_listed(by[WITHIN])}")
        lines.append(f"beyond it: {_listed(by[OVER])}")
    if by[NEVER]:
        lines.append(f"undecidable with {MOST_SEEDS} seeds: {_listed(by[NEVER])}")
    if by[UNKNOWN]:
        lines.append(f"how long runs take is not known here yet: {bench} measures it")
    return lines


def _listed(keys: list[str]) -> str:
    return ", ".join(keys) or "none"
