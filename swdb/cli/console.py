"""All that is printed in a terminal: tables, claims, plans. Only this module and `progress.py` import rich."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from swdb.cli.terminal import on_one_line, shown
from swdb.cluster.status import State
from swdb.core.artefact import Artefact
from swdb.core.numbers import duration
from swdb.reports.ci import summary_line
from swdb.reports.ledger import claim_line, rule_lines
from swdb.reports.notes import notes
from swdb.reports.results import NOT_RUN, MeasuredTable
from swdb.reports.tables import frame, title
from swdb.specs.presets import Preset
from swdb.specs.register import Assumption
from swdb.verdicts.verdict import CONTRADICTED, REPRODUCED, UNDECIDED, Ledger, Verdict

COLOURS = {REPRODUCED: "green", CONTRADICTED: "red", UNDECIDED: "yellow"}  # of verdicts; others are dim
STATUS_COLOURS = {"STATED": "green", "INFERRED": "cyan", "SCALED": "yellow", "UNKNOWN": "magenta"}
STATE_COLOURS = {"done": "green", "running": "cyan", "failed": "red", "lost": "red", "to do": "dim"}
GAP = 2  # blanks between the columns of a grid
MOST_STATES = 200  # of a longer list only what is neither done nor to do
STEPS_IN_WORDS = {
    "single": "single branch",
    "dual": "dual branch",
    "dual-kl": "dual branch with KL",
    "decoupled": "DecoupledNet",
    "recognizer": "recognizer",
    "classifier": "classifier",
    "dsrg-1": "DSRG, round 1",
    "dsrg-2": "DSRG, round 2",
    "labels-1": "masks of round 1",
    "labels-2": "masks of round 2",
    "cues": "seed cues",
    "evaluation": "evaluation",
}


def out() -> Console:
    """Return the console for results (stdout); piped output is 100 columns wide and has no colours."""
    person = sys.stdout.isatty()  # and not FORCE_COLOR: a log file has no control codes
    return Console(highlight=False, markup=False, force_terminal=person, width=None if person else _piped_width())


def err() -> Console:
    """Return the console for progress and errors (stderr)."""
    return Console(stderr=True, highlight=False, markup=False, force_terminal=sys.stderr.isatty())


def plain(text: object, console: Console, style: str = "") -> Text:
    """Return text as it is, never markup, in signs that a console can show: before a table is laid out, for its columns."""
    return Text(shown(on_one_line(str(text)), console.encoding), style=style)


def _piped_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) > 0 else 100


def say(line: str) -> None:
    """Print one line to stderr, as it is."""
    console = err()
    console.print(plain(line, console), soft_wrap=True)


def print_table(measured: MeasuredTable, preset: Preset, ledger: Ledger, console: Console | None = None) -> None:
    """Print a table next to the paper's values, its claims and the notes that belong under it."""
    console = console or out()
    values = frame(measured, preset)
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    num_labels = len(measured.spec.label_titles)
    # Text may break between words, not within them, nor numbers at all - as long as that fits the terminal.
    columns = [[plain(text, console).plain for text in (name, *values[name])] for name in values.columns]
    words = [max(len(word) for text in column for word in text.split()) for column in columns]
    whole = sum(words) + 3 * len(words) <= console.width
    for k, name in enumerate(values.columns):
        justify = "left" if k < num_labels else "right"
        table.add_column(plain(name, console), justify=justify, overflow="fold", min_width=words[k] if whole else None)
    for row, cells in zip(measured.spec.rows, values.itertuples(index=False), strict=True):
        if row is measured.spec.first_below_line:
            table.add_section()
        table.add_row(*[plain(cell, console, "dim" if cell == NOT_RUN else "") for cell in cells])
    console.print(plain(title(measured, preset, ledger), console, "bold"))
    console.print(table)
    verdicts = ledger.of_table(measured.spec.number)
    print_claims(verdicts, console)
    for line in [*(rule_lines(ledger) if verdicts else []), *notes(measured, preset)]:
        console.print(plain(line, console, "dim"))
    console.print()


def print_claims(verdicts: Iterable[Verdict], console: Console) -> None:
    """Print a line for each claim; its verdict in colour."""
    for verdict in verdicts:
        word, _, rest = claim_line(verdict).partition(":")
        colour = COLOURS.get(verdict.word, "dim")
        console.print(Text.assemble((word, colour), plain(f":{rest}", console)))


def print_ledger(ledger: Ledger) -> None:
    """Print a ledger: a line for each claim under its table, how it was judged, how many of each verdict."""
    console = out()
    for number in dict.fromkeys(verdict.table for verdict in ledger.verdicts):
        console.print(plain(f"Table {number}", console, "bold"))
        print_claims(ledger.of_table(number), console)
    for line in rule_lines(ledger):
        console.print(plain(line, console, "dim"))
    console.print(plain(summary_line(ledger), console))


def print_plan(
    artefacts: list[Artefact], precision: str, seconds: Mapping[str, float | None], lines: Iterable[str]
) -> None:
    """Print what would be made, in order, and what is there already; `precision` in words, `seconds` by id, more lines."""
    console = out()
    rows = []
    for artefact in artefacts:
        if artefact.kind == "score":  # counted below: there is one behind every run
            continue
        state = "done" if artefact.done else "to resume" if artefact.is_under_way else "to do"
        verb = "train" if artefact.kind == "run" else artefact.kind
        stage = artefact.name if verb in artefact.name else f"{verb} {artefact.name}"
        spent = "" if artefact.done else duration(seconds.get(artefact.id))
        rows.append((stage, str(artefact.steps or ""), spent, state, artefact.id))
    scores = [artefact for artefact in artefacts if artefact.kind == "score"]
    left = [score for score in scores if not score.done]
    spent = duration(sum(seconds.get(score.id) or 0.0 for score in left))
    rows.append(("evaluations", "", spent, f"{len(scores) - len(left)} done, {len(left)} to do", ""))
    numbers = ("steps", "time")
    table = _grid(
        ("stage", *numbers, "state", "id"), rows, console, ("id", *numbers), numbers
    )  # ids go into `swdb make`
    for row in rows:
        table.add_row(*[plain(text, console) for text in row])
    console.print(table)
    for artefact in artefacts:
        if artefact.kind == "data":  # the one that lies under a name of its own
            console.print(plain(f"data set: {artefact.folder}", console), soft_wrap=True)
    for line in (f"precision: {precision}", *lines):
        console.print(plain(line, console), soft_wrap=True)


def print_parts(
    title: str, header: tuple[str, ...], parts: Mapping[str, Iterable[tuple[str, ...]]], lines: Iterable[str]
) -> None:
    """Print a table in parts, each under words of its own; the first and the last column hold words, the others numbers."""
    console = out()
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, name in enumerate(header):
        number = 0 < k < len(header) - 1
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for words, rows in parts.items():
        table.add_section()
        table.add_row(plain(words, console, "bold"))
        for row in rows:
            table.add_row(*[plain(cell, console) for cell in row])
    console.print(plain(title, console, "bold"), soft_wrap=True)
    console.print(table)
    for line in lines:
        console.print(plain(line, console), soft_wrap=True)


def print_blocks(
    title: str, header: tuple[str, ...], blocks: Mapping[str, Iterable[tuple[str, ...]]], lines: Iterable[str]
) -> None:
    """Print small tables of the same columns, each under a line of its own; the first and the last column hold words."""
    console = out()
    console.print(plain(title, console, "bold"), soft_wrap=True)
    for words, rows in blocks.items():
        table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for k, name in enumerate(header):
            number = 0 < k < len(header) - 1
            table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number)
        for row in rows:
            table.add_row(*[plain(cell, console) for cell in row])
        console.print()
        console.print(plain(words, console), soft_wrap=True)
        console.print(table)
    for line in lines:
        console.print(plain(line, console), soft_wrap=True)


def print_assumptions(rows: Iterable[Assumption], line: str) -> None:
    """Print a register: settings and choices with their status, then how many there are of each."""
    console, rows = out(), list(rows)
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    longest = max((len(row.key) for row in rows), default=0)
    for name in ("key", "value", "status", "source, reason or place"):
        whole = name == "status" or (name == "key" and console.width >= longest + 48)
        table.add_column(name, overflow="fold", no_wrap=whole)
    last = True
    for row in rows:
        if last and not row.is_setting:
            table.add_section()
        last = row.is_setting
        value = f"{row.value} [{row.unit}]" if row.unit else row.value
        style = STATUS_COLOURS.get(row.status, "")
        cells = (plain(row.key, console), plain(value, console), plain(row.status, console, style))
        table.add_row(*cells, plain(row.about, console))
    console.print(table)
    console.print(plain(line, console), soft_wrap=True)


def print_bench(found: dict[str, Any]) -> None:
    """Print a benchmark: a line for each kind of work, the plain loop, the machine."""
    console, machine = out(), found["machine"]
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "per", "images/s", "ms", "TFLOP/s", "of ceiling", "data", "waits", "MiB"):
        table.add_column(name, justify="left" if name in ("", "per") else "right", overflow="fold")
    for kind, one in found["kinds"].items():
        name, _, layers = kind.partition("-n")
        words = STEPS_IN_WORDS.get(name, name) + (f", n = {layers}" if layers else "")
        about = "" if one["measured"] else "~"
        table.add_row(
            plain(words, console),
            one["unit"],
            f"{about}{_rounded(one['images_per_second'])}",
            f"{about}{_rounded(1000 * one['seconds'])}",
            _number(one["tflops"], ".3g"),
            _number(one["share_of_ceiling"], ".0%"),
            _number(one["data_share"], ".1%"),
            _number(one.get("waits"), ".1f"),
            _number(one.get("peak_mib"), ",.0f"),
        )
    console.print(table)
    lines = [
        f"{machine['name']}, {machine['device']}, {found['precision']}, {machine['threads']} of {machine['cores']} cores, "
        f"torch {machine['torch']}, {found['date']}",
        "ceiling: " + ", ".join(f"{value:.3g} TFLOP/s in {name}" for name, value in found["ceiling_tflops"].items()),
        *bench_lines(found),
    ]
    for line in lines:
        console.print(plain(line, console), soft_wrap=True)


def bench_lines(found: dict[str, Any]) -> list[str]:
    """Say what a benchmark found of the whole machine, and what it had no time for."""
    crowd, other, lines = found["crowd"], found["plain"], []
    if crowd:
        lines.append(
            f"{crowd['processes']} runs at once: {crowd['images_per_second']:,.0f} images/s together, "
            f"each {crowd['slowdown']:.2f} x as long a step"
        )
    if other:
        whole = f", all cores {other['ratio_of_all_cores']:.2f} x" if "ratio_of_all_cores" in other else ""
        lines.append(
            f"a plain loop (threads: {other['threads']}, workers: {other['workers']}, fp32): "
            f"{other['images_per_second']:,.3g} images/s; a dual run here {other['ratio']:.2f} x as many{whole}"
        )
    left_out = [kind for kind, one in found["kinds"].items() if not one["measured"] and "-n" not in kind]
    if left_out:
        lines.append(f"no time for {', '.join(left_out)}: what stands there (~) is what they would take")
    if any("-n" in kind for kind in found["kinds"]):
        lines.append("n: other numbers of shared layers, estimated (~) from their operations")
    if not other and not found["told"]:
        lines.append("no time for the plain loop")
    return [*lines, *found["told"]]


def _rounded(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def print_status(states: list[State], summary: str) -> None:
    """Print what became of artefacts; of a long list only what is neither done nor to do."""
    shown_states = (
        states if len(states) <= MOST_STATES else [one for one in states if one.word not in ("done", "to do")]
    )
    columns = ("state", "id", "job", "where", "since", "line")
    rows = [(one.word, one.artefact.id, one.job, one.where, one.since, one.line) for one in shown_states]
    kept = [k for k in range(len(columns)) if k < 2 or any(row[k] for row in rows)]
    names = ["" if columns[k] == "line" else columns[k] for k in kept]
    print_rows(names, [[row[k] for k in kept] for row in rows], STATE_COLOURS, whole=("state", "job"))
    console = out()
    console.print(plain(summary, console))


def _grid(
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    console: Console,
    whole: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
) -> RichTable:
    """Return a table that is still to be filled, its columns wide enough for rows.

    Text breaks between words, and those of `whole` nowhere, as long as that fits the console.
    """
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = [[plain(text, console).plain for text in column] for column in zip(names, *rows, strict=True)]
    least = [
        max((len(part) for text in column for part in ([text] if name in whole else text.split())), default=0)
        for name, column in zip(names, columns, strict=True)
    ]
    widths: list[int | None] = [max(map(len, column)) for column in columns]
    room = console.width - GAP * len(least)
    if sum(least) > room:
        widths = [None] * len(least)  # words are folded, by rich
    while None not in widths and sum(widths) > room:  # the widest of those that may yet break
        widest = max((k for k in range(len(least)) if widths[k] > least[k]), key=lambda k: widths[k])
        widths[widest] -= 1
    for name, width in zip(names, widths, strict=True):
        table.add_column(name, overflow="fold", justify="right" if name in numbers else "left", width=width)
    return table


def print_rows(
    names: list[str],
    rows: list[list[str]],
    colours: Mapping[str, str],
    whole: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
) -> None:
    """Print rows under names, the first words in colours; `whole`: columns that never break, `numbers`: to the right."""
    console = out()
    table = _grid(names, rows, console, whole, numbers)
    for row in rows:
        table.add_row(*[plain(text, console, colours.get(row[0], "") if k == 0 else "") for k, text in enumerate(row)])
    if rows:
        console.print(table)
