"""Artefacts: everything that is made once and kept, from the data set to a table, in one form.

An artefact has a kind, a key (the values it is made with) and inputs (other artefacts); its id digests all three, so it
is known before anything is there. Its record is written last: it is there if and only if the artefact is finished, and
says what came out, as a digest. A finished artefact is made again only where somebody asks for it; a changed input is
another id, and an input whose bytes have changed under the same id is refused.

in: kind, name, key, inputs -> out: an id, a folder, a record
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from swdb.core.errors import MissingArtefact
from swdb.core.files import digest, read_json, write_json
from swdb.core.folders import is_elsewhere

# Folders of a work directory in which artefacts lie by their ids.
FOLDERS = ("weights", "heads", "classifiers", "cues", "proxies", "recognizers", "runs", "averages", "peeks")


@dataclass(frozen=True, eq=False)
class Artefact:
    """Something that is made once. `key` and the inputs' ids are what its id digests."""

    kind: str
    name: str  # for people: dual-s0
    id: str
    folder: Path
    key: Mapping[str, Any] = field(default_factory=dict)
    inputs: "tuple[Artefact, ...]" = ()
    task: Any = None  # what its stage needs to make it; None where it was read from a plan
    steps: int = 0  # optimizer steps it takes: the unit of the progress bar
    record_name: str = "done.json"
    shares_folder: bool = False  # with other artefacts: then it is the record alone that nobody else may write

    @property
    def record(self) -> Path:
        """The file that is written last."""
        return self.folder / self.record_name

    @property
    def leased_path(self) -> Path:
        """What a lease protects while it is made."""
        return self.record if self.shares_folder else self.folder

    @property
    def done(self) -> bool:
        """Whether the artefact is finished."""
        return self.record.is_file()

    def read_record(self) -> dict[str, Any]:
        """Read what was written when it was finished; raises MissingArtefact where it was not, or the file is damaged."""
        found = read_json(self.record)
        if not isinstance(found, dict):
            raise MissingArtefact(self.record, "damaged", "a record")
        return found

    def digest(self) -> str:
        """Return the sha256 of what came out."""
        record = self.read_record()
        found = record.get("digest", record.get("tree_root"))  # tree_root: a data set that version 0.1 prepared
        if not isinstance(found, str):
            raise MissingArtefact(self.record, "damaged", "a record with the digest of what came out")
        return found

    def input(self, kind: str) -> "Artefact":
        """Return the first input of a kind; a KeyError is a bug of ours."""
        found = self.find_input(kind)
        if found is None:
            raise KeyError(f"{self.id} has no input of kind {kind!r}")
        return found

    def find_input(self, kind: str) -> "Artefact | None":
        """Return the first input of a kind, None where there is none."""
        return next(iter(self.inputs_of(kind)), None)

    def inputs_of(self, kind: str) -> "list[Artefact]":
        """List the inputs of a kind."""
        return [other for other in self.inputs if other.kind == kind]

    def missing_inputs(self) -> "list[Artefact]":
        """List the inputs that are not finished."""
        return [other for other in self.inputs if not other.done]

    @property
    def is_under_way(self) -> bool:
        """Whether somebody began it, and it can be gone on with."""
        return self.begun.is_file() or (self.folder / "checkpoint.pt").is_file()

    @property
    def begun(self) -> Path:
        """What an artefact under way was begun with."""
        return self.record.with_suffix(".begun.json")

    def begin(self) -> None:
        """Note the digests of its inputs; refuses to go on with what was begun on other bytes."""
        now = {other.id: other.digest() for other in self.inputs}
        if self.begun.is_file() and read_json(self.begun) != now:
            raise MissingArtefact(self.folder, "its inputs have changed since it was begun", "the inputs of then")
        if now:
            write_json(self.begun, now)

    def finish(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Close the artefact: its record says what it was made from and, in `record`, what came out."""
        there = {other.id: other.digest() for other in self.inputs if other.done}
        inputs = read_json(self.begun) if self.begun.is_file() else there
        whole = {"id": self.id, "kind": self.kind, "key": self.key, "inputs": inputs, **record}
        write_json(self.record, whole)
        self.begun.unlink(missing_ok=True)
        return whole

    def check(self) -> None:
        """Refuse a finished artefact that was made from other bytes than its inputs have now; those may also be gone."""
        then = self.read_record().get("inputs", {})
        if not isinstance(then, dict):
            raise MissingArtefact(self.record, "damaged", "a record with its inputs by id")
        for other in self.inputs:
            if other.done and (now := other.digest()) != (before := then.get(other.id)):
                was = f"it was {before[:10]}" if isinstance(before, str) else "its record does not name it"
                found = f"{other.id} has changed since: {was}, it is {now[:10]}"
                raise MissingArtefact(self.folder, found, "the inputs of then")

    @property
    def anew(self) -> "Artefact":
        """The same artefact where it is made again: beside what is there of it, or inside that where it lies on another disk."""
        inside, beside = self.folder / ".again", self.folder.with_name(f".{self.folder.name}.again")
        return replace(self, folder=inside if is_elsewhere(self.folder) else beside)


def artefact_id(name: str, kind: str, version: int, key: Mapping[str, Any], inputs: Iterable[Artefact]) -> str:
    """Return a readable id: the name, and a digest of everything that identifies the artefact."""
    whole = {"kind": kind, "version": version, "key": key, "inputs": [other.id for other in inputs]}
    return f"{name}-{digest(whole)[:10]}"


def still_needed(artefacts: Iterable[Artefact]) -> list[Artefact]:
    """List those of some artefacts, inputs first, that are there or that something unfinished is made from."""
    artefacts = list(artefacts)
    inputs = {other.id for this in artefacts for other in this.inputs}
    kept = {this.id for this in artefacts if this.done or this.id not in inputs}
    for this in reversed(artefacts):
        if this.id in kept and not this.done:
            kept.update(other.id for other in this.inputs)
    return [this for this in artefacts if this.id in kept]


def lacking(artefacts: Iterable[Artefact]) -> Iterator[tuple[Artefact, Artefact]]:
    """Yield artefacts with each input of theirs that is neither finished nor among them."""
    artefacts = list(artefacts)
    planned = {artefact.id for artefact in artefacts}
    for artefact in artefacts:
        yield from ((artefact, other) for other in artefact.missing_inputs() if other.id not in planned)


def with_inputs(*artefacts: Artefact) -> list[Artefact]:
    """List artefacts and all that they are made from, first things first, each once."""
    found: dict[str, Artefact] = {}

    def visit(this: Artefact) -> None:
        if this.id not in found:
            for other in this.inputs:
                visit(other)
            found[this.id] = this

    for artefact in artefacts:
        visit(artefact)
    return list(found.values())
