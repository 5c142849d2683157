"""Puts what people read of a bundle into a folder: tables, ledger, settings, quality reports, and what they hang on.

in: a bundle that holds, unpacked -> out: a folder such as `results/<preset>/`
"""

import re
from contextlib import suppress
from pathlib import Path

from swdb.core.errors import MissingArtefact, NotOurs
from swdb.core.files import damage_of, read_json, write_atomic
from swdb.data.facts import LISTS
from swdb.evidence.bundle_reader import Bundle
from swdb.evidence.layout import DIGESTS, ENVIRONMENT, REPORT, place_of, reports_folder
from swdb.evidence.records import Recorded
from swdb.reports.ledger import LEDGER

QUALITY = re.compile(r"proxies/dsrg-(\d+(?:-s\d+)?)-[^/-]+/quality\.(json|md|jpg)")  # a set, perhaps of one seed
REPORTED = re.compile(r"quality-\d+(?:-s\d+)?\.(?:json|md|jpg)")  # the same in the folder


def write_results(bundle: Bundle, recorded: Recorded, target: Path) -> list[Path]:
    """Write the readable part of a bundle; returns the files. Of what else is in the folder old quality reports alone go.

    Raises NotOurs where another file would be replaced, and the folder does not hold what was written of the same preset.
    """
    contents = {
        target / place: _content(bundle, name, place) for name, place in sorted(_places(bundle, recorded).items())
    }
    if _preset_in(target) == recorded.about.preset:
        for old in target.glob("quality-*"):
            if REPORTED.fullmatch(old.name):
                old.unlink()
    elif others := [path for path, content in contents.items() if path.exists() and not _has(path, content)]:
        expected = "an empty folder, or one with results of the same preset"
        raise NotOurs(others[0], "is not of this preset's results", expected)
    for path, content in contents.items():
        write_atomic(path, lambda stream, content=content: stream.write(content))
    return list(contents)


def _content(bundle: Bundle, name: str, place: str) -> bytes:
    """Return what is written of a file of a bundle: its bytes, with the names that neighbours have in the folder."""
    content = bundle.read(name)
    if not (QUALITY.fullmatch(name) and name.endswith(".md")):
        return content
    stem = Path(place).stem
    text = content.decode("utf-8").replace("quality.json", f"{stem}.json").replace("quality.jpg", f"{stem}.jpg")
    return text.encode()


def _preset_in(folder: Path) -> str | None:
    """Return whose results lie in a folder; None where it holds none that can be read."""
    path = folder / LEDGER
    with suppress(MissingArtefact), damage_of(path):
        return read_json(path)["preset"]
    return None


def _has(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _places(bundle: Bundle, recorded: Recorded) -> dict[str, str]:
    """Return where files of a bundle go, by their names in it."""
    reports, data = f"{reports_folder(recorded.about.preset)}/", place_of(recorded.data, recorded.study.folder)
    found = {DIGESTS: DIGESTS, ENVIRONMENT: ENVIRONMENT, f"{data}/{REPORT}": "data.json"}
    dataset = recorded.dataset()
    if not dataset.facts.synthetic:  # what is drawn, anybody can draw again
        for split in LISTS:
            found[f"{data}/{dataset.list_path(split).relative_to(dataset.root).as_posix()}"] = f"lists/{split}.txt"
    for name in bundle.listed:
        if name.startswith(reports) and not name.endswith("/plan.json"):
            found[name] = name.rpartition("/")[2]
        elif name.startswith("specs/"):
            found[name] = name
        elif match := QUALITY.fullmatch(name):
            found[name] = f"quality-{match[1]}.{match[2]}"
    return {name: place for name, place in found.items() if name in bundle.names}
