"""What a method's recognizer found on the validation split: lines under a table, which no cell reads.

A method that asks "where is this class?" for the classes that a recognizer found loses whatever that one misses. Its recall,
its mean average precision, and the score with the true tags in its place tell the two apart. (The lines themselves say
"classification network", as its paper does: who reads a table alone knows no recognizer.)

in: the records beside scores -> out: `Recognition` values, a line for each column
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, digest, read_json
from swdb.specs.tables import Table

RECORD = "recognition.json"  # beside the scores of a run
NOT_COUNTED = ("id", "kind", "key", "inputs", "digest", "machine")  # what a record says beyond what was found
AGAIN = f"{RECORD} beside its scores is missing or damaged; where there is none, reproduce-table makes it again"


@dataclass(frozen=True)
class Recognition:
    """What was found with one run; None where its record is missing or damaged."""

    row: str
    column: str
    seed: int
    run: str
    found: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {"row": self.row, "column": self.column, "seed": self.seed, "run": self.run, "found": self.found}


def recognitions(scores: Mapping[tuple[str, str], Mapping[int, Artefact]]) -> Iterator[Recognition]:
    """Yield what lies beside the finished scores of a table, or should lie there."""
    for (row, column), by_seed in scores.items():
        for seed, score in sorted(by_seed.items()):
            runs = score.inputs_of("run")
            path = score.folder.parent / RECORD
            if score.done and len(runs) == 1 and (path.is_file() or runs[0].find_input("recognizer") is not None):
                try:
                    found = checked(read_json(path), path, runs[0].id)
                except MissingArtefact:
                    found = None
                yield Recognition(row, column, seed, runs[0].id, found)


def checked(found: Any, where: Any, run: str | None = None) -> dict[str, Any]:
    """Return what a table says of a recognition; raises MissingArtefact for what is none.

    run: whose whole record it must be, as it was written.
    """
    with damage_of(where, "what a classification network found"):
        if run is not None and (found["run"] != run or found["digest"] != _digest(found)):
            raise ValueError
        recall = {str(name): _within(value, 1) for name, value in found["recall"].items() if value is not None}
        if not recall:
            raise ValueError
        return {
            "map": _within(found["map"], 1),
            "recall": recall,
            "no_class_found": _within(found["no_class_found"], 1),
            "miou_true_tags": _within(found["miou_true_tags"], 100),
        }


def from_json(found: Iterable[Mapping[str, Any]], where: Any) -> tuple[Recognition, ...]:
    """Return what `to_json` has written down; raises MissingArtefact for anything else."""
    with damage_of(where, "a table"):
        return tuple(
            Recognition(
                str(one["row"]),
                str(one["column"]),
                int(one["seed"]),
                str(one["run"]),
                None if one["found"] is None else checked(one["found"], where),
            )
            for one in found
        )


def recognition_lines(spec: Table, found: Iterable[Recognition]) -> Iterator[str]:
    """Say for each column of a table what its recognizer found, as means over seeds; rows may share one."""
    rows, columns = {row.key: row for row in spec.rows}, {column.key: column for column in spec.columns}
    by_column: dict[str, list[Recognition]] = {}
    for one in found:
        by_column.setdefault(one.column, []).append(one)
    for column, those in by_column.items():
        if damaged := ", ".join(one.run for one in those if one.found is None):
            yield f"{columns[column].title}: what its classification network found cannot be read for {damaged} ({AGAIN})"
        by_row: dict[str, list[Mapping[str, Any]]] = {}
        for one in those:
            if one.found is not None:
                by_row.setdefault(rows[one.row].labels[0], []).append(one.found)
        if by_row:
            yield f"{columns[column].title}, a diagnosis that no cell reads: {_words(by_row, spec.label_titles[0])}"


def _words(by_row: Mapping[str, list[Mapping[str, Any]]], what: str) -> str:
    those = [one for of_row in by_row.values() for one in of_row]
    recall = {name: mean(one["recall"].get(name, 0.0) for one in those) for name in those[0]["recall"]}
    lowest = min(recall, key=recall.__getitem__)
    scores = ", ".join(f"{mean(one['miou_true_tags'] for one in of_row):.1f}" for of_row in by_row.values())
    return (
        f"its classification network finds {_percent(mean(recall.values()))} of the classes that are there (least "
        f"{lowest}, {_percent(recall[lowest])}), none at all in {_percent(mean(one['no_class_found'] for one in those))} "
        f"of images; mean average precision {_percent(mean(one['map'] for one in those))}; with the true tags in its "
        f"place mIoU {scores} ({what} {', '.join(by_row)})"
    )


def _digest(found: Mapping[str, Any]) -> str:
    return digest({name: value for name, value in found.items() if name not in NOT_COUNTED})


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _within(value: Any, most: float) -> float:
    if isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(value)
    return float(value)
