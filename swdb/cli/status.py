"""`swdb status`: how far a study is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from swdb.cli.options import Json, PresetName, ProxySeeds, Workdir, show
from swdb.core.errors import NotMade

if TYPE_CHECKING:
    from swdb.cluster.status import State


def status(
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    proxy_seeds: ProxySeeds = False,
    json: Json = False,
) -> None:
    """Show what became of each artefact that reproduce-table planned: here, on other machines, in the queue of a cluster.

    \b
    swdb status
    swdb status --json
    """
    from swdb.cli import console
    from swdb.cluster.jobs import read_jobs
    from swdb.cluster.slurm import queue
    from swdb.cluster.status import counts, states
    from swdb.study.plan import plan_path, read_plan
    from swdb.study.workdir import open_study

    study = open_study(workdir, preset, remember=False, proxy_seeds=proxy_seeds)
    plan = read_plan(study)
    if plan is None:
        raise NotMade(plan_path(study), "no tables were begun with this preset")
    jobs = read_jobs(workdir)
    found = states(workdir, plan, jobs, queue() if jobs else {})

    number = counts(found)
    if json:
        show([], {"preset": study.preset.name, "counts": number, "artefacts": list(map(_entry, found))}, json)
        return
    summary = ", ".join(f"{count} {word}" for word, count in number.items() if count)
    console.print_status(found, f"{len(found)} artefacts: {summary}")


def _entry(state: "State") -> dict[str, Any]:
    artefact = state.artefact
    named = {"id": artefact.id, "kind": artefact.kind, "name": artefact.name, "state": state.word}
    more = {"where": state.where, "since": state.since, "line": state.line, "job": state.job}
    return named | {name: value for name, value in more.items() if value}
