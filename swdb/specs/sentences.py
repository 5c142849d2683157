"""Every sentence of the supplement with the claims that read it, or with the reason why it has none.

in: `tables/sentences.toml`, the tables -> out: frozen dataclasses, or one error naming file, sentence and key
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swdb.core.errors import BadInput, unknown
from swdb.specs.tables import Table, load_tables, tables_folder
from swdb.specs.toml import read_dataclass, read_toml

FILE = "sentences.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """One sentence, by some of its words."""

    place: str  # section or table of the supplement
    words: str
    claims: tuple[str, ...] = ()  # keys
    note: str = ""  # of a sentence with claims: how they read it
    why: str = ""  # it has none


def load_sentences(folder: Path | None = None, tables: Mapping[int, Table] | None = None) -> tuple[Sentence, ...]:
    """Read all sentences; raises BadInput for one without claims and reason, and for a claim that no sentence makes."""
    path = (folder or tables_folder()) / FILE
    raw = read_toml(path)
    for key in raw:
        if key != "sentence":
            raise unknown(f"{FILE}, key", key, ["sentence"])
    entries = raw.get("sentence", [])
    if not isinstance(entries, list) or not entries:
        raise BadInput(FILE, "no [[sentence]]", "at least one")
    found = tuple(read_dataclass(Sentence, one, f"{FILE}, sentence {k}") for k, one in enumerate(entries, 1))
    known = [claim.key for table in (tables or load_tables(folder)).values() for claim in table.claims]
    for k, one in enumerate(found, 1):
        _check(one, known, f"{FILE}, sentence {k}")
    read = {key for one in found for key in one.claims}
    for key in known:
        if key not in read:
            raise BadInput(f"{FILE}, claim {key!r}", "read by no sentence", "one that makes it")
    return found


def _check(sentence: Sentence, known: list[str], where: str) -> None:
    """Refuse a sentence that says nothing of itself, or names a claim that is not there."""
    for key in ("place", "words"):
        if not getattr(sentence, key).strip():
            raise BadInput(f"{where}, key {key!r}", "empty", "words")
    if bool(sentence.claims) == bool(sentence.why.strip()):
        found = "claims and a reason for none" if sentence.claims else "neither claims nor a reason for none"
        raise BadInput(where, found, "one of 'claims' and 'why'")
    if sentence.note and not sentence.claims:
        raise BadInput(f"{where}, key 'note'", "found without claims", "'why' says it")
    for key in sentence.claims:
        if key not in known:
            raise unknown(f"{where}, claim", key, known)
    if len(set(sentence.claims)) < len(sentence.claims):
        raise BadInput(f"{where}, key 'claims'", "one is there twice", "each once")
