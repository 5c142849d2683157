"""`swdb preregister`: the claims, their margins, the settings, the seeds and the rule, written down before the runs."""

from pathlib import Path
from typing import Annotated

import typer

from swdb.cli import arguments
from swdb.cli.options import Json, PresetName, ProxySeeds, Workdir, open_graph, propose, say, show
from swdb.core.errors import MissingArtefact

MostSeeds = Annotated[
    int | None,
    typer.Option(
        "--seeds", min=1, help="Judge by at most so many seeds, from 0; else as many as the early looks take."
    ),
]


def preregister(
    context: typer.Context,
    seeds: MostSeeds = None,
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    proxy_seeds: ProxySeeds = False,
    json: Json = False,
) -> None:
    """Fix what will be judged, and how, before anything is run: every run that begins afterwards says so.

    \b
    swdb preregister
    swdb preregister --preset voc --seeds 12
    """
    from swdb.specs.tables import load_tables
    from swdb.study.plan import read_plan
    from swdb.study.preregistration import FILE, register, registration
    from swdb.verdicts.rule import EARLY

    tables, study = load_tables(), open_graph(workdir, preset, remember=False, proxy_seeds=proxy_seeds).study
    chosen = range(max(EARLY)) if seeds is None else arguments.seeds(seeds, study.preset)
    stands, new = register(workdir, registration(study, tables, chosen))
    path = workdir / FILE
    margins = sum("margin" in claim for claim in stands.claims.values())
    what = f"{len(stands.claims)} claims, {margins} of them with margins, preset {study.preset.name}, at most {len(stands.seeds)} seeds"
    if stands.regime:
        what += f", the regime check's {len(stands.regime)} conditions"
    lines = [
        f"{'registered' if new else 'registered already'}: {what}",
        f"{stands.date}, sha256 {stands.digest}",
        f"in {path}: commit it, for this machine's clock is no witness",
    ]
    show(lines, {"new": new, "date": stands.date, "digest": stands.digest, "file": str(path), **stands.content}, json)
    try:
        plan = read_plan(study)
    except MissingArtefact:  # of another version: what it says of runs nobody can tell
        plan = None
    done = 0 if plan is None else sum(score.done for score in plan.scores.values())
    if new and done:
        say(f"{done} cells were scored before: of these the ledger says that the claims were fixed after the runs")
    propose(context.obj, study, "reproduce-table", "all")
