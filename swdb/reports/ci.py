"""A ledger as continuous integration reads it: JUnit XML, and a Markdown summary of a step. No torch.

A claim that a comparable preset contradicts is a failure; one that is reproduced, or whose mechanism is shown, passes;
everything else is skipped and says why. Elsewhere than at the paper's scale nothing contradicts the paper.

in: a Ledger -> out: text of a file, whatever is in names
"""

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from swdb.core.markdown import markdown_table
from swdb.core.numbers import signed, span
from swdb.reports.ledger import small
from swdb.reports.regime import regime_lines
from swdb.verdicts.verdict import CONTRADICTED, NOT_RUN, REPRODUCED, Ledger, Verdict

# what XML 1.0 has no way to write, and halves of characters
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SIGNS = re.compile(r"[\\`*_{}\[\]<>&|#~$]")  # of Markdown, of HTML in it
MOST_BYTES = 2**20 - 2**10  # of a summary: what is longer is refused as a whole
COLUMNS = ("table", "verdict", "claim", "effect", "95 % over seeds", "p adjusted", "seeds", "finds")


def shown_text(text: str) -> str:
    """Return text as a file of one line an entry can hold it."""
    return " ".join(FORBIDDEN.sub("�", text).split())


# ---------------------------------------------------------------- numbers in words


def effect_words(verdict: Verdict) -> str:
    """Say how large an effect is, in points; a dash where nothing was measured."""
    return "–" if verdict.effect is None else signed(verdict.effect)


def interval_words(verdict: Verdict) -> str:
    """Say in which interval over seeds it lies."""
    interval = verdict.seeds_interval
    return "–" if interval is None else span(interval.low, interval.high)


def p_words(value: float | None) -> str:
    """Say a p value."""
    return "–" if value is None else small(value)


def finds_words(verdict: Verdict) -> str:
    """Say how likely a true effect is found with what is there."""
    if verdict.finds is None or verdict.finds_effect is None:
        return "–"
    return f"{verdict.finds_effect:.2g} points in {100 * verdict.finds:.0f} %"


def summary_line(ledger: Ledger) -> str:
    """Count the verdicts."""
    shown = [verdict.shown for verdict in ledger.verdicts]
    counts = ", ".join(f"{shown.count(word)} {word}" for word in dict.fromkeys(shown))
    return f"{len(shown)} claims on preset {ledger.preset}: {counts}" if shown else "no claims"


# ---------------------------------------------------------------- JUnit


def is_failure(verdict: Verdict, ledger: Ledger) -> bool:
    """Whether the paper's own preset contradicts a claim."""
    return ledger.comparable and verdict.word == CONTRADICTED


def junit(ledger: Ledger) -> str:
    """Return a ledger as JUnit XML: a suite for each table, a case for each claim."""
    root = ElementTree.Element("testsuites", {"name": "swdb verify", **_counts(ledger, ledger.verdicts)})
    for table in sorted({verdict.table for verdict in ledger.verdicts}):
        mine = [verdict for verdict in ledger.verdicts if verdict.table == table]
        suite = ElementTree.SubElement(root, "testsuite", {"name": f"Table {table}", **_counts(ledger, mine)})
        for verdict in mine:
            _add_case(suite, verdict, ledger)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _counts(ledger: Ledger, verdicts: Iterable[Verdict]) -> dict[str, str]:
    verdicts = list(verdicts)
    failures = sum(is_failure(one, ledger) for one in verdicts)
    passed = sum(one.word == REPRODUCED for one in verdicts)
    counts = {"tests": len(verdicts), "failures": failures, "errors": 0, "skipped": len(verdicts) - failures - passed}
    return {name: str(count) for name, count in counts.items()}


def _add_case(suite: ElementTree.Element, verdict: Verdict, ledger: Ledger) -> None:
    name = shown_text(f"{verdict.claim.key}: {verdict.claim.text}")
    place = shown_text(f"swdb.{ledger.preset}.table{verdict.table}")
    case = ElementTree.SubElement(suite, "testcase", {"classname": place, "name": name, "time": "0"})
    said = shown_text(
        ": ".join(filter(None, (verdict.shown, "; ".join(filter(None, (verdict.why, verdict.discount))))))
    )
    details = shown_text(f"effect {effect_words(verdict)} points, over seeds {interval_words(verdict)}")
    if is_failure(verdict, ledger):
        failure = ElementTree.SubElement(case, "failure", {"message": said, "type": "verdict"})
        failure.text = f"{details}, p adjusted {p_words(verdict.p_adjusted)}, {len(verdict.seeds)} seeds"
    elif verdict.word != REPRODUCED:
        ElementTree.SubElement(case, "skipped", {"message": said if verdict.word == NOT_RUN else f"{said}; {details}"})


# ---------------------------------------------------------------- the summary of a step


def summary(ledger: Ledger, most_bytes: int = MOST_BYTES) -> str:
    """Return a ledger as Markdown of at most so many bytes, cut between lines, which it says then."""
    rows = [
        [
            str(verdict.table),
            verdict.shown,
            in_markdown(verdict.claim.text),
            effect_words(verdict),
            interval_words(verdict),
            p_words(verdict.p_adjusted),
            str(len(verdict.seeds)),
            finds_words(verdict),
        ]
        for verdict in ledger.verdicts
    ]
    head = [f"## {in_markdown(summary_line(ledger))}", "", *markdown_table(COLUMNS, [], words=3)]
    lines = markdown_table(COLUMNS, rows, words=3)[2:]
    foot = [
        "",
        "Effects in points of mIoU, finds: how often a true effect of so many points is found with these seeds (equalities: how often they are shown).",
    ]
    said = [*regime_lines(ledger), *ledger.limits]
    foot += ["", *(f"- {in_markdown(sentence)}" for sentence in said)] if said else []
    if _size([*head, *lines, *foot]) <= most_bytes:
        return "\n".join([*head, *lines, *foot]) + "\n"
    return _cut(head, lines, most_bytes)


def _cut(head: list[str], lines: list[str], most_bytes: int) -> str:
    """Return as many lines as fit, and a sentence that says how many do not."""

    def end(kept: int) -> list[str]:
        left = len(lines) - kept
        return ["", f"Cut here, for a summary has a largest size: {left} of {len(lines)} claims are in the JSON alone."]

    room, kept = most_bytes - _size([*head, *end(0)]), 0
    for line in lines:
        room -= _size([line])
        if room < 0:
            break
        kept += 1
    text = "\n".join([*head, *lines[:kept], *end(kept)]) + "\n"
    return text if len(text.encode()) <= most_bytes else ""


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def in_markdown(text: str) -> str:
    """Return text that Markdown, and the HTML in it, show as it is, on one line."""
    return SIGNS.sub(lambda sign: f"&#{ord(sign.group())};", shown_text(text))
