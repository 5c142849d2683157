"""The table of a laboratory: one run's score in each way, how far it lies from ours, and who makes that choice.

in: a laboratory's record -> out: rows, lines, Markdown
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from swdb.core.markdown import escaped, markdown_table
from swdb.core.numbers import signed
from swdb.evaluation.confusion import CLOSE

HEADER = ("evaluated", "mIoU", "points", "in use")
DIAGNOSIS = "a diagnosis: nothing of it stands in a table"
SECTIONS = {"definitions": "another definition, on the same predictions", "choices": "evaluated otherwise"}


class Line(NamedTuple):
    """One way of evaluating a run."""

    section: str
    words: str
    miou: float | None  # None where no class is left to be averaged
    points: float | None  # from ours
    where: str


def table(record: Mapping[str, Any]) -> list[Line]:
    """List the ways, ours first. A choice is compared with ours as it came out beside it, on the same machine."""
    found = []
    for section, ours in (("definitions", record["miou"]), ("choices", record["recomputed"])):
        for one in record[section]:
            value = one["miou"]
            found.append(Line(section, one["words"], value, None if value is None else value - ours, one["where"]))
    return found


def cells(line: Line) -> tuple[str, str, str, str]:
    """Return what is shown of one way."""
    if line.miou is None or line.points is None:
        return line.words, "–", "–", line.where
    return line.words, f"{line.miou:.2f}", signed(line.points, 2), line.where


def title(record: Mapping[str, Any]) -> str:
    """Say whose scores these are."""
    return f"{record['run']}, {record['branch']} branch, {record['images']} val images: {DIAGNOSIS}"


def notes(record: Mapping[str, Any]) -> list[str]:
    """Return what belongs under the table; the last sentence says how much of a gap to the paper such choices explain."""
    lines = [
        f"{record['passes']} forward passes an image; every definition is of the predictions that the tables count"
    ]
    if abs(record["recomputed"] - record["miou"]) > CLOSE:
        lines.append(
            f"our own way came out as {record['recomputed']:.2f} here and as {record['miou']:.2f} where it was scored: another "
            "machine; choices are compared with the former, definitions with the latter"
        )
    return [*lines, closing(record)]


def closing(record: Mapping[str, Any]) -> str:
    """Say how much of a gap to the paper such choices explain."""
    most = max((line for line in table(record) if line.points is not None), key=lambda line: line.points)
    gain = f"no way gives more than ours ({record['miou']:.2f})"
    if most.points > 0:
        gain = f"the largest gain is {signed(most.points, 2)} points ({most.words})"
    if not record["comparable"]:
        return f"At preset {record['preset']} {gain}: that is of this preset, whose scores cannot be compared with the paper's."
    if record["paper"] is None:
        return f"At preset {record['preset']} {gain}; the paper prints no score for this run and branch."
    gap = record["paper"] - record["miou"]
    if gap <= 0:
        return f"At preset {record['preset']} {gain}; nothing is missing to the paper's {record['paper']:.1f}."
    explained = min(1.0, max(0.0, most.points) / gap)
    return (
        f"At preset {record['preset']} {gain}: such choices explain at most {explained:.0%} of the {gap:.2f} points that are "
        f"missing to the paper's {record['paper']:.1f}."
    )


def markdown(record: Mapping[str, Any]) -> str:
    """Return the whole as Markdown."""
    lines = [f"**{escaped(title(record))}**"]
    for section, words in SECTIONS.items():
        rows = [cells(line) for line in table(record) if line.section == section]
        header = (words, *HEADER[1:])
        shown = [[escaped(text) for text in (row[0], row[3], row[1], row[2])] for row in rows]
        lines += ["", *markdown_table((header[0], header[3], header[1], header[2]), shown, words=2)]
    return "\n".join([*lines, "", *(f"- {escaped(note)}" for note in notes(record))]) + "\n"
