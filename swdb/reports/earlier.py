"""What became of earlier tables: verdicts that did not stand, values that moved, settings that changed. It says what, not why.

`python -m swdb.reports.earlier EARLIER PRESET-FOLDER` writes the page into the second folder; both are folders such as
`results/<preset>/`, the earlier one taken from the repository's history.

in: two folders of results -> out: a page of Markdown
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swdb.core.errors import BadInput, MissingArtefact, told_in_one_line
from swdb.core.files import damage_of, read_json, write_text
from swdb.core.markdown import escaped, markdown_table
from swdb.reports.charts import interval, number
from swdb.reports.ledger import LEDGER
from swdb.reports.results import MeasuredTable, measured_from_json
from swdb.verdicts.verdict import CONTRADICTED, REPRODUCED

PAGE = "changes.md"
ABSENT = "not there"
DECIDED = (REPRODUCED, CONTRADICTED)
FELL, DECIDED_NOW, OTHERWISE, STAND = (
    "Verdicts that did not stand", "Decided now, and not earlier", "Changed otherwise", "As they were",
)  # fmt: skip


@dataclass(frozen=True)
class _Claim:
    """A claim, and what became of it: its word, and its numbers."""

    text: str
    word: str
    said: str


@dataclass(frozen=True)
class _Results:
    """What a folder holds."""

    name: str
    claims: Mapping[str, _Claim]  # by key
    tables: tuple[MeasuredTable, ...]
    settings: Mapping[str, Any]  # by dotted name


def page(earlier: Path, now: Path) -> str:
    """Return the page; raises MissingArtefact where a folder does not hold results."""
    then, today = _read(earlier), _read(now)
    lines = [
        f"# What changed against earlier tables: {today.name}",
        "",
        "As the program compared them: what differs, and not why.",
        "",
        *markdown_table(("", "earlier", "now"), [*_conditions(then, today)], words=3),
        "",
        *_verdict_lines(then, today),
        "## Values",
        "",
        "mIoU in %, mean ± standard deviation over seeds; cells that both have.",
        "",
        *markdown_table(("table", "row", "column", "earlier", "now", "difference"), [*_values(then, today)], words=3),
    ]
    return "\n".join(lines) + "\n"


def _read(folder: Path) -> _Results:
    path = folder / LEDGER
    found = read_json(path)
    with damage_of(path, "a ledger"):
        name, claims = str(found["preset"]), {one["claim"]["key"]: _claim(one) for one in found["claims"]}
    paths = sorted(folder.glob("table*.json"))
    if not paths:
        raise MissingArtefact(folder, "holds no tables", "table1.json and the like")
    return _Results(name, claims, tuple(measured_from_json(read_json(one), one) for one in paths), _settings(folder))


def _claim(found: Mapping[str, Any]) -> _Claim:
    said, ends = str(found["shown"]), found["seeds_interval"]
    if found["effect"] is not None:
        between = f", {interval((ends['low'], ends['high']))}" if ends else ""
        said += f" ({number(found['effect'], '+.1f')}{between})"
    return _Claim(str(found["claim"]["text"]), str(found["word"]), said)


def _settings(folder: Path) -> dict[str, Any]:
    """Return what the preset's file beside the tables sets, whatever the preset was called then; nothing where there is none."""
    path = next((one for one in sorted(folder.glob("specs/*.toml")) if not one.stem.startswith("table")), None)
    if path is None:
        return {}
    try:
        return dict(_flat(tomllib.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, OSError):
        raise MissingArtefact(path, "is damaged", "a preset") from None


def _flat(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _conditions(then: _Results, today: _Results) -> Iterator[tuple[str, str, str]]:
    """Yield under which conditions each was made: seeds, data, proxies, machine, settings that differ."""
    facts = {
        "seeds": lambda table: map(str, table.seeds),
        "data set, sha256": lambda table: [table.data_digest[:16]],
        "proxies": lambda table: table.proxies,
        "computed on": lambda table: table.machines,
    }
    yield "preset", then.name, today.name
    for title, of in facts.items():
        sides = [sorted({one for table in side.tables for one in of(table) if one}) for side in (then, today)]
        if title == "seeds":
            sides = [[str(len(one))] for one in sides]
        yield title, *(escaped(", ".join(one)) or ABSENT for one in sides)
    names = [*dict.fromkeys((*then.settings, *today.settings))] if then.settings and today.settings else []
    for name in names:
        sides = [escaped(str(side.settings.get(name, "not set"))) for side in (then, today)]
        if sides[0] != sides[1]:
            yield f"`{name}`", *sides


def _verdict_lines(then: _Results, today: _Results) -> Iterator[str]:
    """Yield the claims by what became of their verdicts, those that did not stand first."""
    groups: dict[str, list[tuple[str, ...]]] = {title: [] for title in (FELL, DECIDED_NOW, OTHERWISE, STAND)}
    for key in dict.fromkeys((*then.claims, *today.claims)):
        sides = then.claims.get(key), today.claims.get(key)
        groups[_became(*sides)].append(
            (escaped((sides[1] or sides[0]).text), *(one.said if one else ABSENT for one in sides))
        )
    for title, rows in groups.items():
        yield f"## {title}: {len(rows)}"
        yield ""
        if rows:
            yield from markdown_table(("claim", "earlier", "now"), rows, words=3)
            yield ""


def _became(then: _Claim | None, now: _Claim | None) -> str:
    before, after = (one.word if one else "" for one in (then, now))
    if before in DECIDED and after != before:
        return FELL
    if after in DECIDED and before != after:
        return DECIDED_NOW
    return STAND if before == after else OTHERWISE


def _values(then: _Results, today: _Results) -> Iterator[tuple[str, ...]]:
    earlier = {table.spec.number: table for table in then.tables}
    for table in today.tables:
        before = earlier.get(table.spec.number)
        for (row, column), cell in table.cells.items():
            old = before and before.cells[row, column]
            if old and old.mean is not None and cell.mean is not None:
                difference = number(cell.mean - old.mean, "+.1f")
                yield str(table.spec.number), row, column, old.measured, cell.measured, difference


def main(arguments: list[str]) -> None:
    """Write the page; raises BadInput for anything but two folders."""
    if len(arguments) != 2 or not all(Path(one).is_dir() for one in arguments):
        raise BadInput(
            "the arguments", " ".join(arguments) or "none", "a folder of earlier results, and one of results"
        )
    earlier, now = map(Path, arguments)
    write_text(now / PAGE, page(earlier, now))


if __name__ == "__main__":
    with told_in_one_line():
        main(sys.argv[1:])
