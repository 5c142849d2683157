"""Every sentence of the supplement with what became of it: a page of the documentation, and the lines of a ledger.

`make sentences` writes the page: `python -m swdb.reports.sentences`.

in: the sentences, the tables, perhaps a ledger -> out: Markdown, lines
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from swdb.core.files import write_text
from swdb.core.markdown import escaped, markdown_table
from swdb.specs.sentences import Sentence, load_sentences
from swdb.specs.tables import Table, load_tables
from swdb.verdicts.verdict import Ledger

PAGE = Path("docs/sentences.md")
HEAD = """\
# The supplement, sentence by sentence

Each sentence of the supplement by some of its words, with the claims that read it, or with the reason why it has none. Written
from [tables/sentences.toml](../tables/sentences.toml) by `make sentences`; a test holds it against the supplement's text where that
is at hand, and every claim must stand in it. What became of each says `verify --sentences`.
"""


def page(sentences: Sequence[Sentence], tables: Mapping[int, Table]) -> str:
    """Return the page of the documentation."""
    claims = {claim.key: claim for table in tables.values() for claim in table.claims}
    rows = []
    for one in sentences:
        read = [f"`{key}`: {escaped(claims[key].text)}" for key in one.claims]
        said = "; ".join([*read, *([f"({escaped(one.note)})"] if one.note else [])]) or f"no claim: {escaped(one.why)}"
        rows.append([one.place, f"… {escaped(one.words)} …", said])
    return "\n".join([HEAD, *markdown_table(["place", "sentence", "claims, or why none"], rows, words=3)]) + "\n"


def lines(sentences: Sequence[Sentence], ledger: Ledger) -> Iterator[str]:
    """Yield a line for each sentence and below it one for each of its claims, with the verdict."""
    shown = {verdict.claim.key: verdict for verdict in ledger.verdicts}
    for one in sentences:
        yield f"{one.place}: … {one.words} …"
        if one.why:
            yield f"  no claim: {one.why}"
        for key in one.claims:
            clauses = "; ".join(filter(None, (shown[key].contrary, shown[key].discount)))
            yield f"  {shown[key].shown}: {shown[key].claim.text}{f' - {clauses}' if clauses else ''}"
        if one.note:
            yield f"  ({one.note})"


def as_json(sentences: Sequence[Sentence], ledger: Ledger) -> list[dict[str, Any]]:
    """Return the sentences JSON-ready, each with the verdicts on its claims."""
    shown = {verdict.claim.key: verdict for verdict in ledger.verdicts}
    return [
        {
            "place": one.place,
            "words": one.words,
            "claims": {key: shown[key].shown for key in one.claims},
            "note": one.note,
            "why": one.why,
        }
        for one in sentences
    ]


if __name__ == "__main__":
    write_text(PAGE, page(load_sentences(), load_tables()))
