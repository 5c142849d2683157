"""What stands behind the cells of tables: runs, what they were made from, what that took, where, and what came out.

in: the scores behind the tables, what is noted of costs -> out: one line for each value, one for each artefact
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.errors import SwdbError
from swdb.core.files import damage_of
from swdb.reports.results import MeasuredTable, Scores, runs_behind
from swdb.specs.tables import Row

Cost = Callable[[str], Mapping[str, float]]  # what is noted of an artefact by its id: `seconds`, `peak_mib`, or neither
DIGEST = 16  # digits of a sha256 that are shown


@dataclass(frozen=True)
class Value:
    """One value behind a cell."""

    table: int
    row: str  # its labels
    column: str
    seed: int
    miou: float
    runs: tuple[str, ...]
    score: str
    digest: str
    seconds: float | None  # of its runs and its score; None where one of them is not noted


@dataclass(frozen=True)
class Made:
    """One artefact: whether it is finished, what making it took, where, and the digest of what came out."""

    id: str
    kind: str
    done: bool
    seconds: float | None
    peak_mib: float | None
    machine: str
    digest: str


def row_words(row: Row) -> str:
    """Name a row by its labels, without those that say nothing."""
    return ", ".join(label for label in row.labels if label != "-")


def values(tables: Iterable[MeasuredTable], scores: Mapping[int, Scores], made: Iterable[Made]) -> list[Value]:
    """List every value of the tables, cell by cell."""
    spent, found = {one.id: one.seconds for one in made}, []
    for measured in tables:
        for (row, column), cell in measured.cells.items():
            planned = scores.get(measured.spec.number, {}).get((row, column), {})
            for seed in sorted(cell.by_seed.keys() & planned.keys()):
                score, miou = planned[seed], cell.by_seed[seed]
                runs = tuple(run.id for run in runs_behind(score))
                parts = [spent.get(one) for one in (*runs, score.id)]
                seconds = None if None in parts else sum(parts)
                place = (measured.spec.number, row_words(cell.row), cell.column.title, seed)
                digest = _short(_record(score)[0].get("digest"))
                found.append(Value(*place, miou, runs, score.id, digest, seconds))
    return found


def artefacts(scores: Mapping[int, Scores], cost: Cost) -> tuple[list[Made], list[str]]:
    """List what the tables are made from, first things first, and what of it cannot be read."""
    found, problems = [], []
    planned = [one for table in scores.values() for by_seed in table.values() for one in by_seed.values()]
    for one in with_inputs(*planned):
        record, problem = _record(one)
        problems += [problem] * bool(problem)
        noted = cost(one.id)
        seconds = noted.get("seconds")
        if seconds is None:
            with suppress(KeyError, TypeError, ValueError):
                seconds = float(record["training"]["seconds"])
        made = _short(record.get("digest", record.get("tree_root")))
        found.append(Made(one.id, one.kind, one.done, seconds, noted.get("peak_mib"), _machine(record), made))
    return found, problems


def _record(artefact: Artefact) -> tuple[dict[str, Any], str]:
    """Return a finished artefact's record, or what is wrong with it."""
    if not artefact.done:
        return {}, ""
    try:
        return artefact.read_record(), ""
    except SwdbError as error:
        return {}, f"{artefact.id}: its record {error.found}"


def _short(digest: Any) -> str:
    return digest[:DIGEST] if isinstance(digest, str) else ""


def _machine(record: Mapping[str, Any]) -> str:
    with suppress(KeyError, TypeError):
        machine = record["machine"]
        return f"{machine['name']}, {machine['device']}, {machine['precision']}, {machine['threads']} threads"
    return ""


def iou_by_class(by_seed: Mapping[int, Artefact]) -> dict[str, list[float]]:
    """Return the IoU of each class over the seeds of a cell; nothing for a class that is absent. Raises MissingArtefact."""
    found: dict[str, list[float]] = {}
    for _, score in sorted(by_seed.items()):
        with damage_of(score.record, "a score"):
            for name, value in score.read_record()["iou"].items():
                known = found.setdefault(name, [])
                if value is not None:
                    if not 0 <= float(value) <= 100:
                        raise ValueError
                    known.append(float(value))
    return found
