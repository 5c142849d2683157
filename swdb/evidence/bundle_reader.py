"""Opens a bundle without trusting it: nothing in it is used before its name, kind, size and form were looked at.

What cannot be a bundle of this version is refused. What is one, with contents other than its own list says, is told in
findings, so that all of them are known at once.

in: a .zip -> out: its files as they are listed, findings, the small ones in a folder
"""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.core.files import each_once
from swdb.core.journal import LOGS
from swdb.core.names import is_inner_path, is_plain_name
from swdb.data.dataset import MANIFEST
from swdb.data.sources.archives import MIB, members, zip_reader
from swdb.evaluation.confusion import COUNTS, PREDICTIONS
from swdb.evidence.crate import PROFILE
from swdb.evidence.derived import folder_of
from swdb.evidence.layout import ABOUT, CONTENTS, CRATE, FORMAT, NOTED, REGISTERED, VERSION, About, Listed
from swdb.reports.dsrg_networks import RECORD as NETWORK
from swdb.reports.mask_scores import RECORD as QUALITY
from swdb.reports.recognition import RECORD as RECOGNITION

OPTION = "bundle"  # what errors about archives call it
LARGEST = 256 * MIB  # bytes of one file: the crate lists hundreds of thousands of predictions
BUNDLE = "a bundle of swdb's"
READ = (
    "plan.json", "done.json", "result.json", NETWORK, RECOGNITION, QUALITY, COUNTS, MANIFEST, CONTENTS, REGISTERED, NOTED,
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What does not hold in a bundle: where, what was found, what was expected."""

    where: str
    found: str
    expected: str = ""

    def __str__(self) -> str:
        line = f"{self.where}: {self.found}"
        return f"{line}; expected {self.expected}" if self.expected else line

    @staticmethod
    def of(error: SwdbError) -> "Finding":
        """Return an error as what does not hold."""
        return Finding(str(error.subject), error.found, error.expected)


@dataclass
class Bundle:
    """A bundle that is open."""

    path: Path
    about: About
    listed: Mapping[str, Listed]  # as the crate says; itself is not in it
    names: frozenset[str]  # what is there
    read: Callable[[str], bytes]
    findings: list[Finding] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)  # names that were looked for and compared with what is listed

    def content(self, name: str) -> bytes | None:
        """Return a file whose bytes are as they are listed; None, with a finding, where it is not there or is damaged.

        Bytes other than were listed are told and returned: what they change is told further on.
        """
        self.checked.add(name)
        if name not in self.names:
            self.findings.append(Finding(name, "missing", "a file that the bundle lists"))
            return None
        try:
            content = self.read(name)
        except BadInput as error:
            self.findings.append(Finding(name, error.found, error.expected))
            return None
        if fault := self.fault_of(name, content):
            self.findings.append(fault)
        return content

    def fault_of(self, name: str, content: bytes) -> Finding | None:
        """Say where the bytes of a file are not those that are listed."""
        found, listed = Listed.of(content), self.listed.get(name)
        if listed is None or found == listed:
            return None
        if found.sha256 != listed.sha256:
            return Finding(name, f"has other bytes (sha256 {found.sha256[:10]})", f"sha256 {listed.sha256[:10]}")
        return Finding(name, f"has {found.size} bytes", f"{listed.size}, as it is listed")


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """Open a bundle; raises MissingArtefact where it is not there, BadInput where it is none, or an unsafe one."""
    _check_kind(path)
    names = _checked_names(path)
    with zip_reader(path, OPTION) as read:
        if CRATE not in names:
            raise BadInput(f"{OPTION} {path}", f"has no {CRATE}: another archive, or one that was cut off", BUNDLE)
        listed = _listed(_strict(read, path, CRATE), path)
        if ABOUT not in names:
            raise BadInput(f"{OPTION} {path}", f"an RO-Crate without {ABOUT}, which swdb did not make", BUNDLE)
        about = _about(_strict(read, path, ABOUT), path)
        bundle = Bundle(path, about, listed, frozenset(names), read)
        bundle.findings += [
            Finding(name, "is there, and not listed", "the files of the crate alone")
            for name in sorted(names - listed.keys() - {CRATE})
        ]
        yield bundle


def unpack(bundle: Bundle, root: Path) -> None:
    """Look at all files but masks, and write those that are read more than once below a folder; not JSON that is none."""
    for name in sorted(bundle.listed):
        if is_mask(name) or (content := bundle.content(name)) is None:
            continue
        if name.endswith(".json"):
            try:
                loads(content)
            except ValueError as error:
                bundle.findings.append(Finding(name, f"is no JSON ({error})", "JSON of finite numbers"))
                continue
        if is_read(name):
            place = folder_of(root, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def check_rest(bundle: Bundle) -> None:
    """Compare masks that nothing asked for with what is listed: those of no finished score, say."""
    for name in sorted(bundle.listed.keys() - bundle.checked):
        bundle.content(name)


def is_mask(name: str) -> bool:
    """Whether a file of a bundle is a prediction or a true mask: many, and each read once."""
    return f"/{PREDICTIONS}/" in name or (name.startswith("data/") and name.endswith(".png"))


def is_read(name: str) -> bool:
    """Whether a file of a bundle is a spec, the plan, a list, a record, a journal, or counts: what all else follows from."""
    last = name.rpartition("/")[2]
    return (
        last in READ or name.startswith((f"{LOGS}/", "specs/")) or (name.startswith("data/") and last.endswith(".txt"))
    )


def loads(content: bytes) -> Any:
    """Read JSON of UTF-8, in which every key stands once, all text is text and every number is one.

    Raises ValueError with what is wrong.
    """
    try:
        found = json.loads(
            content.decode("utf-8"), parse_constant=_no_number, parse_float=_finite, object_pairs_hook=each_once
        )
        if b"\\u" in content:  # the escapes of half a character are no text, and are not written again
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_number(word: str) -> float:
    raise ValueError(f"holds {word}")


def _finite(word: str) -> float:
    found = float(word)
    return found if math.isfinite(found) else _no_number(word[:20])


def _strict(read: Callable[[str], bytes], path: Path, name: str) -> Any:
    try:
        return loads(read(name))
    except ValueError as error:
        raise BadInput(
            f"{OPTION} {path}: {name}", f"is no JSON ({str(error)[:100]})", "JSON of finite numbers"
        ) from None


# ---------------------------------------------------------------- what it is


def _check_kind(path: Path) -> None:
    where = f"{OPTION} {path}"
    if not path.exists():
        raise MissingArtefact(where, "missing", "a bundle")
    if not path.is_file():
        raise BadInput(where, "is not a plain file", "a .zip")
    with path.open("rb") as stream:
        head = stream.read(4)
    if head not in (b"PK\3\4", b"PK\5\6"):
        raise BadInput(where, f"begins with {head!r}" if head else "is empty", "a .zip")


def _checked_names(path: Path) -> set[str]:
    """Return the names of all files, none of which leads anywhere else, or to the same place as another one."""
    names: dict[str, str] = {}
    for member in members(path, lambda name: True, OPTION, LARGEST):
        where = f"{OPTION} {path}: the member {member.name[:200]!r}"
        if not is_inner_path(member.name):
            raise BadInput(where, "is no plain path", "names without leading dots, blanks or control characters")
        key = unicodedata.normalize("NFC", member.name).casefold()
        if key in names:
            same = "is there twice" if names[key] == member.name else f"differs from {names[key]!r} in capitals alone"
            raise BadInput(where, same, "a name of its own")
        names[key] = member.name
    for key, name in names.items():
        parts = key.split("/")
        if above := next((names[one] for k in range(1, len(parts)) if (one := "/".join(parts[:k])) in names), ""):
            raise BadInput(
                f"{OPTION} {path}: the member {name[:200]!r}", f"lies below the file {above!r}", "a folder there"
            )
    return set(names.values())


def _listed(crate: Any, path: Path) -> dict[str, Listed]:
    """Return the files that a crate lists; raises BadInput for one of another profile, or of another form."""
    where = f"{OPTION} {path}: {CRATE}"
    try:
        entities = crate["@graph"]
        (root,) = [one for one in entities if one["@id"] == "./"]
        if root.get("conformsTo") != {"@id": PROFILE}:
            raise BadInput(where, f"an RO-Crate that conforms to {str(root.get('conformsTo'))[:100]}", PROFILE)
        found: dict[str, Listed] = {}
        for one in entities:
            if one["@type"] == "File":
                name = unquote(one["@id"])
                if name in found:
                    raise BadInput(where, f"lists {name[:200]!r} twice", "every file once")
                found[name] = Listed(str(one["sha256"]), int(one["contentSize"]))
        return found
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(where, "has another form", "the crate of a bundle") from None


def _about(found: Any, path: Path) -> About:
    where = f"{OPTION} {path}: {ABOUT}"
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BadInput(where, "is of another program", BUNDLE)
    if found.get("version") != VERSION:
        raise BadInput(where, f"version {str(found.get('version'))[:20]!r}", f"version {VERSION}")
    try:
        preset, tables, published = found["preset"], tuple(found["tables"]), found["published"]
        versions, parts = dict(found["versions"]), tuple(found["parts"])
        digests = [part["sha256"] for part in parts]
    except (KeyError, TypeError, ValueError):
        raise BadInput(where, "has another form", "what a bundle says of itself") from None
    texts = (published, *versions, *versions.values(), *digests)
    if (
        not is_plain_name(preset)
        or not all(type(one) is int for one in tables)
        or not all(type(t) is str for t in texts)
    ):
        raise BadInput(where, "has another form", "what a bundle says of itself")
    return About(preset, tables, published, versions, parts)
