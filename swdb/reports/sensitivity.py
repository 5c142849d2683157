"""The table of readings: for each question that the paper leaves open, and each claim that it touches, how the claim comes out
as the tables read the paper, and how under the reading. A table of ours. No torch.

in: comparisons by reading -> out: `reports/<preset>/sensitivity.{md,csv,json}`
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, read_json, write_text
from swdb.core.markdown import escaped, markdown_table
from swdb.core.numbers import signed
from swdb.specs.presets import Preset
from swdb.specs.sensitivity import Reading
from swdb.verdicts.readings import TOGETHER, Comparison, Side
from swdb.verdicts.rule import ALPHA
from swdb.verdicts.verdict import NOT_RUN, Interval

FORMATS = ("md", "csv", "json")
FILE = "sensitivity.json"
HEADER = ("Claim", "as the tables read it", "read otherwise", "change", "together")
CSV_HEADER = (
    "reading", "claim", "table", "kind", "seeds",
    "default_effect", "default_low", "default_high", "default_p", "default_verdict",
    "otherwise_effect", "otherwise_low", "otherwise_high", "otherwise_p", "otherwise_verdict",
    "change", "change_low", "change_high", "same_direction", "same_verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A reading, and how the claims that it touches come out."""

    reading: Reading
    runs: tuple[str, ...]  # the trainings behind it, by name
    comparisons: tuple[Comparison, ...]


def title(heading: str, preset: Preset) -> str:
    """Return the table's title with the scale it was run at."""
    return f"Sensitivity. {heading} — {preset.title}"


def words_of(reading: Reading) -> str:
    """Say a reading in one line."""
    return f"{reading.key}: {reading.question} ({reading.place}). Tables: {reading.default}. Here: {reading.otherwise}."


def lines_of(finding: Finding, ends: bool = True) -> list[tuple[str, ...]]:
    """Return a reading's lines, one a claim, in the order of HEADER; `ends`: the ends of intervals, not half their width."""
    return [
        (
            one.claim.key,
            _side(one.default, ends),
            _side(one.otherwise, ends),
            _number(one.change, one.change_interval, ends),
            one.together,
        )
        for one in finding.comparisons
    ]


def by_claim(findings: Iterable[Finding]) -> dict[str, dict[str, list[str]]]:
    """List for each claim which readings agree with the tables on it, and which do not, by TOGETHER."""
    found: dict[str, dict[str, list[str]]] = {}
    for finding in findings:
        for one in finding.comparisons:
            found.setdefault(one.claim.key, {}).setdefault(one.together, []).append(finding.reading.key)
    return found


def seeds_of(findings: Iterable[Finding]) -> list[int]:
    """List the seeds over which anything was compared."""
    return sorted({seed for finding in findings for one in finding.comparisons for seed in one.seeds})


def notes(findings: Sequence[Finding], preset: Preset) -> list[str]:
    """Return what a reader must know to read the lines, one sentence a line."""
    seeds = seeds_of(findings)
    lines = ["a table of ours: the paper has none, and says nothing of these questions"]
    if seeds:
        lines.append(
            f"effects in points of val mIoU with 95 % intervals (±: half of their width) over seeds {', '.join(map(str, seeds))}; where a claim "
            "has several differences, the deciding one is shown, which may differ between readings"
        )
        lines.append(
            "change: what the reading does to the tables' difference, paired by seed; its interval rests on these pairs alone"
        )
    lines.append(
        f"for, against: p {ALPHA} or less, of each line alone. The claims' verdicts under the tables are judged together and "
        "stay what they are; these lines are judged beside them, without any adjustment, and decide nothing"
    )
    if not preset.comparable:
        lines.append("claims that compare with printed numbers are left out: this is another scale than the paper's")
    return lines


def markdown(findings: Sequence[Finding], heading: str, preset: Preset) -> str:
    """Return the table as Markdown: claim by claim which readings agree, then reading by reading."""
    lines = [f"**{escaped(title(heading, preset))}**", ""]
    rows = [
        [claim, *(", ".join(readings.get(word, [])) or "–" for word in TOGETHER)]
        for claim, readings in by_claim(findings).items()
    ]
    lines += markdown_table(["Claim", *TOGETHER], rows, words=1 + len(TOGETHER))
    for finding in findings:
        lines += [
            "",
            f"**{finding.reading.key}**: {_sentence(finding.reading)}  ",
            f"Trained for it: {_trained(finding)}.",
            "",
        ]
        lines += markdown_table([*HEADER], [[escaped(cell) for cell in line] for line in lines_of(finding)])
    lines += ["", *[f"<sub>{line}</sub>  " for line in notes(findings, preset)]]
    return "\n".join(lines) + "\n"


def as_json(findings: Sequence[Finding], heading: str, preset: Preset) -> dict[str, Any]:
    """Return everything a machine may want to read."""
    return {
        "title": heading,
        "preset": preset.name,
        "comparable_to_paper": preset.comparable,
        "adjusted": False,
        "alpha": ALPHA,
        "readings": [
            {
                "key": finding.reading.key,
                "question": finding.reading.question,
                "place": finding.reading.place,
                "default": finding.reading.default,
                "otherwise": finding.reading.otherwise,
                "changes": dict(finding.reading.changes),
                "row": dict(finding.reading.row),
                "runs": list(finding.runs),
                "claims": [dict(zip(CSV_HEADER[1:], line[1:], strict=True)) for line in _values(finding)],
            }
            for finding in findings
        ],
    }


def render(findings: Sequence[Finding], heading: str, preset: Preset, form: str) -> str:
    """Return the table in one of FORMATS."""
    if form == "md":
        return markdown(findings, heading, preset)
    if form == "json":
        return json.dumps(as_json(findings, heading, preset), indent=2, ensure_ascii=False) + "\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for finding in findings:
        for line in _values(finding):
            writer.writerow([" ".join(map(str, value)) if isinstance(value, list) else value for value in line])
    return text.getvalue()


def write(findings: Sequence[Finding], heading: str, preset: Preset, folder: Path) -> list[Path]:
    """Write the table in all formats; returns the files."""
    paths = [folder / f"sensitivity.{form}" for form in FORMATS]
    for path, form in zip(paths, FORMATS, strict=True):
        write_text(path, render(findings, heading, preset, form))
    return paths


def is_kept(folder: Path) -> bool:
    """Whether somebody has tried readings: their table lies in a folder."""
    return (folder / FILE).exists()


def lacks(findings: Iterable[Finding], folder: Path) -> int:
    """Count the comparisons that a table on disk has, and these have not."""
    path = folder / FILE
    there = {
        (one.reading.key, line.claim.key) for one in findings for line in one.comparisons if line.default is not None
    }
    with suppress(MissingArtefact), damage_of(path, "a table of readings"):
        before = {
            (reading["key"], line["claim"])
            for reading in read_json(path)["readings"]
            for line in reading["claims"]
            if line["default_effect"] is not None
        }
        return len(before - there)
    return 0


def _sentence(reading: Reading) -> str:
    return escaped(words_of(reading).removeprefix(f"{reading.key}: "))


def _trained(finding: Finding) -> str:
    return ", ".join(finding.runs)


def _values(finding: Finding) -> Iterator[list[Any]]:
    """Yield a line for each claim, in the order of CSV_HEADER."""
    for one in finding.comparisons:
        sides = [value for side in (one.default, one.otherwise) for value in _side_values(side)]
        change = [_rounded(one.change), *_ends(one.change_interval)]
        yield [
            finding.reading.key, one.claim.key, one.table, one.claim.kind, list(one.seeds), *sides, *change,
            one.same_direction, one.same_verdict,
        ]  # fmt: skip


def _side_values(side: Side | None) -> list[Any]:
    if side is None:
        return [None, None, None, None, NOT_RUN]
    return [_rounded(side.effect), *_ends(side.interval), _rounded(side.p), side.word]


def _ends(interval: Interval | None) -> list[float | None]:
    return [None, None] if interval is None else [_rounded(interval.low), _rounded(interval.high)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _side(side: Side | None, ends: bool) -> str:
    return NOT_RUN if side is None else f"{_number(side.effect, side.interval, ends)} {side.word}"


def _number(value: float | None, interval: Interval | None, ends: bool) -> str:
    if value is None:
        return ""
    if interval is None:
        return signed(value)
    if not ends:
        return f"{signed(value)} ±{(interval.high - interval.low) / 2:.1f}"
    return f"{signed(value)} [{signed(interval.low)}, {signed(interval.high)}]"
