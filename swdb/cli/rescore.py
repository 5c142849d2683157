"""`swdb rescore`: checks somebody's bundle from the pixels up."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swdb.cli.options import Json, say, show
from swdb.core.errors import MissingArtefact

if TYPE_CHECKING:
    from swdb.evidence.rescore import Rescored

BundleFile = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A .zip that swdb bundle wrote.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Real images' data set as prepared, or a work directory with it: for the true masks."),
]
Results = Annotated[
    Path | None, typer.Option("--output", help="A folder for tables, ledger, settings, specs, digests and reports.")
]
MOST_FINDINGS = 50


def rescore(bundle: BundleFile, data: Data = None, output: Results = None, json: Json = False) -> None:
    """Check every hash of a bundle, count every prediction again, and derive scores, verdicts and tables from the counts.

    \b
    swdb rescore bundle.zip
    swdb rescore bundle.zip --data work --output results/voc
    """
    from swdb.cli import progress
    from swdb.cli.command_line import joined
    from swdb.evidence.output import write_results
    from swdb.evidence.rescore import rescored

    with progress.bar() as bar, rescored(bundle, data, bar.progress) as found:
        lines, values = (told(found), as_json(found)) if found.holds else ([], as_json(found))
        written = []
        if found.holds and output is not None and found.recorded is not None:
            written = write_results(found.bundle, found.recorded, output)
    if not found.holds:
        refuse(f"bundle {bundle}", list(map(str, found.findings)), values, json)
    show(lines, values, json)
    if written:
        say(f"written: {len(written)} files into {output}")
    say(f"next: {joined(['swdb', 'merge', str(bundle), 'OTHER.zip', '--output', 'merged.zip'])}")


def refuse(where: str, findings: list[str], values: dict[str, Any], json: bool) -> None:
    """Print what does not hold, and raise the error that counts it."""
    more = len(findings) - MOST_FINDINGS
    show([*findings[:MOST_FINDINGS], *([f"and {more} more"] if more > 0 else [])], values, json)
    count = "one thing does" if len(findings) == 1 else f"{len(findings)} things do"
    raise MissingArtefact(where, f"{count} not hold (first: {findings[0]})", "a bundle as it was written")


def told(found: "Rescored") -> list[str]:
    """Say what holds, in a few lines."""
    from swdb.evidence.derived import machines

    assert found.recorded is not None
    about, done = found.recorded.about, found.recorded.done
    seeds = sorted({place.seed for place, score in found.recorded.plan.scores.items() if score.done})
    tables = ", ".join(map(str, about.tables))
    lines = [
        f"holds: {len(found.bundle.listed):,} files, {found.predictions:,} predictions, {found.scores} scores, tables {tables}",
        f"preset {about.preset}, seeds {', '.join(map(str, seeds))}, written by swdb {about.versions.get('swdb', 'unknown')}",
        *(f"trained on {one.get('name')} ({one.get('device')}, {one.get('precision')})" for one in machines(done)),
    ]
    if about.parts:
        lines.append(f"merged from {len(about.parts)} bundle{'' if len(about.parts) == 1 else 's'}")
    return lines


def as_json(found: "Rescored") -> dict[str, Any]:
    """Return what was found as JSON-ready values."""
    findings = [{"where": one.where, "found": one.found, "expected": one.expected} for one in found.findings]
    values: dict[str, Any] = {
        "holds": found.holds,
        "preset": found.bundle.about.preset,
        "files": len(found.bundle.listed),
        "predictions": found.predictions,
        "scores": found.scores,
        "findings": findings,
    }
    return values
