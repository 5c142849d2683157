"""`swdb bundle`: all that the tables hang on, in one file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swdb.cli import arguments
from swdb.cli.options import Json, PresetName, ProxySeeds, Workdir, say, show
from swdb.cli.outputs import is_bundle, require_replaceable
from swdb.core.errors import MissingArtefact, NotMade

if TYPE_CHECKING:
    from swdb.specs.study import Study
    from swdb.specs.tables import Table as TableSpec
    from swdb.study.plan import Plan

Output = Annotated[
    Path | None, typer.Option("--output", help="The .zip; else bundle.zip beside the tables in the work directory.")
]
Table = Annotated[str, typer.Option("--table", metavar="N", help="1, 2, 3, 4 or all.")]
MOST_NAMED = 5  # of what is missing


def bundle(
    context: typer.Context,
    preset: PresetName = "synthetic",
    workdir: Workdir = Path("work"),
    output: Output = None,
    table: Table = "all",
    proxy_seeds: ProxySeeds = False,
    json: Json = False,
) -> None:
    """Put what is finished into one file that anybody can check: predictions, counts, specs, records, tables, verdicts.

    \b
    swdb bundle
    swdb bundle --preset voc --table 4 --output table4.zip
    """
    from swdb.cli import progress
    from swdb.cli.command_line import joined
    from swdb.evidence.bundle import bundle as write
    from swdb.evidence.layout import ABOUT
    from swdb.specs.tables import load_tables
    from swdb.study.plan import plan_path, read_plan
    from swdb.study.workdir import open_study

    tables = load_tables()
    chosen = [one.number for one in arguments.chosen_tables(tables, table)]
    study = open_study(workdir, preset, remember=False, proxy_seeds=proxy_seeds)
    plan = read_plan(study)
    if plan is None:
        raise NotMade(plan_path(study), "no tables were begun with this preset")
    study = as_planned(study, plan)
    plan = of_tables(plan, tables)
    plan = with_shared(study, plan, [*tables.values()])
    plan = plan.part(None if table == "all" else {place[:2] for place in plan.scores if place.table in chosen})
    place = study.reports / "bundle.zip" if output is None else output
    require_replaceable("--output", place, is_bundle, "bundle")
    with progress.bar() as bar:
        missing = write(study, plan, spec_of(study, preset), tables, chosen, place, bar.progress)
    begun = {one.table for one in plan.scores}
    lines = [f"{place}: {place.stat().st_size:,} bytes, {sum(one.done for one in set(plan.scores.values()))} scores"]
    lines += [f"table {number} was not begun" for number in chosen if number not in begun]
    lines += [f"not finished, and not in it: {one.id}" for one in missing[:MOST_NAMED]]
    if len(missing) > MOST_NAMED:
        lines.append(f"not finished, and not in it: {len(missing) - MOST_NAMED} more, which {ABOUT} names")
    show(lines, {"bundle": str(place), "bytes": place.stat().st_size, "missing": [one.id for one in missing]}, json)
    say(f"next: {joined(['swdb', 'rescore', str(place)])}")


def of_tables(plan: "Plan", tables: Mapping[int, "TableSpec"]) -> "Plan":
    """Return a plan without the cells that the tables do not have any more: a row of one's own, say, that was tried once."""
    from dataclasses import replace

    from swdb.specs.tables import measured_cells

    cells = measured_cells(tables)
    return replace(plan, scores={place: score for place, score in plan.scores.items() if place.cell in cells})


def with_shared(study: "Study", plan: "Plan", tables: list["TableSpec"]) -> "Plan":
    """Return a plan with the cells that nobody asked for, but whose scores are finished: those of runs that tables share.

    So a bundle has what `reproduce-table all --no-train` prints, and no cell more.
    """
    from dataclasses import replace

    from swdb.cli.planning import planned
    from swdb.specs.sensitivity import every_run
    from swdb.study.graph import Graph

    whole = planned(Graph(study, every_run()), tables, range(0), recorded=True)
    shared = {place: score for place, score in whole.scores.items() if place not in plan.scores and score.done}
    return replace(plan, scores={**plan.scores, **shared})


def as_planned(study: "Study", plan: "Plan") -> "Study":
    """Return the study in the settings of its plan: with cues from a file where those were named to it.

    Raises MissingArtefact where the plan is of other settings than the preset.
    """
    from dataclasses import replace

    from swdb.study.plan import plan_path

    preset = study.preset
    for candidate in (preset, replace(preset, proxy=replace(preset.proxy, cues="file"))):
        if candidate.digest() == plan.study.get("settings"):
            return replace(study, preset=candidate, precision=plan.study["precision"])
    raise MissingArtefact(plan_path(study), "was planned with other settings than the preset has", "the preset of then")


def spec_of(study: "Study", name: str) -> str:
    """Return the preset's own file where it says what the study is, else its settings."""
    from swdb.core.files import decode_text
    from swdb.specs.presets import as_toml, load_preset, preset_path

    if load_preset(name) == study.preset:
        return decode_text(preset_path(name).read_bytes())
    return as_toml(study.preset)
