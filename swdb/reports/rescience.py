"""The metadata of a ReScience C article on these tables: metadata.yaml as the journal's template has it.

What the program does not know (addresses, orcids, the code's place) stays empty, for the authors. The journal marks a title
[Re] where a replication succeeded and [¬Re] where it failed: that is the ledger's to say, at the paper's preset alone.

in: a ledger -> out: YAML
"""

import json
import re
from collections import Counter
from importlib.metadata import metadata

from swdb.reports.regime import titled
from swdb.specs.presets import Preset
from swdb.verdicts.verdict import CONTRADICTED, REPRODUCED, WORDS, Ledger

ORIGINAL = "Improving Semi-supervised Semantic Segmentation via Strong-weak Dual-branch Network"
CITE = f"Wenfeng Luo and Meng Yang. {ORIGINAL}: supplemental material. ECCV 2020."
UNPRINTABLE = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")  # by YAML
EMPTY_PERSON = ("  - name:", "    orcid:", "    role: {role}")


def mark(ledger: Ledger) -> str:
    """Return the mark of the title: [Re], [¬Re], or none where the ledger does not say which."""
    words = {verdict.word for verdict in ledger.verdicts}
    if not ledger.comparable:
        return ""
    if CONTRADICTED in words:
        return "[¬Re] "
    return "[Re] " if words == {REPRODUCED} else ""


def rescience(preset: Preset, ledger: Ledger) -> str:
    """Return metadata.yaml."""
    about = metadata("swdb")
    names = [name.strip() for name in (about["Author"] or "").split(",") if name.strip()]
    urls = dict(part.partition(", ")[::2] for part in about.get_all("Project-URL") or [])
    keywords = [word.strip() for word in (about["Keywords"] or "").split(",") if word.strip()]
    shown = mark(ledger)
    lines = [
        f"# Written by swdb {about['Version']} from the verdicts at preset {json.dumps(preset.name)}; empty: for the authors.",
        *([] if shown else ["# No [Re] or [¬Re] yet: that takes a verdict on every claim, at the paper's preset."]),
        f"title: {_text(shown + ORIGINAL)}",
        "authors:",
        *(line for name in names for line in _person(name)),
        "affiliations:",
        "  - code: 1",
        "    name:",
        "    address:",
        f"keywords: {_text(', '.join(['rescience c', 'python', *keywords]))}",
        *_pairs("code", url=urls.get("Repository", ""), doi="", swh=""),
        *_pairs("data", url="", doi=""),
        *_pairs("replication", cite=CITE, bib="", url="", doi=""),
        f"abstract: {_text(abstract(preset, ledger))}",
        "bibliography: bibliography.bib",
        "type: Replication",
        'domain: "Computer Vision"',
        "language: Python",
        *_pairs("review", url=""),
        "contributors:",
        *(line.format(role=role) for role in ("editor", "reviewer", "reviewer") for line in EMPTY_PERSON),
        *_pairs("dates", received="", accepted="", published=""),
        *_pairs("article", number="", doi="", url=""),
        *_pairs("journal", name="ReScience C", issn="2430-3658", volume="", issue=""),
    ]
    return "\n".join(lines) + "\n"


def abstract(preset: Preset, ledger: Ledger) -> str:
    """Say what was repeated and what became of the claims, in the program's own words."""
    found = Counter(verdict.shown for verdict in ledger.verdicts)
    order = {word: k for k, word in enumerate(WORDS)}
    by_word = {verdict.shown: order[verdict.word] for verdict in ledger.verdicts}
    counted = ", ".join(f"{found[word]} {word}" for word in sorted(found, key=by_word.__getitem__))
    scale = "at the paper's scale" if preset.comparable else "at another scale than the paper's"
    return (
        f"Tables 1-4 of the supplement were repeated {scale} ({titled(preset, ledger)}). "
        f"Of {len(ledger.verdicts)} claims: {counted or 'none was judged'}."
    )


def _person(name: str) -> list[str]:
    return [f"  - name: {_text(name)}", "    orcid:", "    email:", '    affiliations: "1,*"']


def _pairs(key: str, **values: str) -> list[str]:
    """Return a list of pairs, as the template writes them."""
    return [f"{key}:", *(f"  - {name}: {_text(value)}".rstrip() for name, value in values.items())]


def _text(text: str) -> str:
    """Return text in double quotes, in which YAML reads JSON's escapes; nothing for none."""
    quoted = json.dumps(text, ensure_ascii=False) if text else ""
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
