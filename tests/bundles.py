"""Bundles for tests: written from a study, and written again with something else in them."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from conftest import TINY

from swdb.core.progress import silent
from swdb.evidence.bundle import bundle, packing, put
from swdb.evidence.bundle_reader import Finding
from swdb.evidence.layout import CRATE
from swdb.evidence.rescore import rescored
from swdb.specs.tables import load_tables
from swdb.study.graph import Graph
from swdb.study.plan import read_plan

SPEC = Path(TINY).read_text()


def written(graph: Graph, output: Path, numbers: Iterable[int] = (1, 2, 3, 4)) -> Path:
    """Write the bundle of a study."""
    bundle(graph.study, read_plan(graph.study), SPEC, load_tables(), list(numbers), output, silent)
    return output


def contents(path: Path) -> dict[str, bytes]:
    """Return the files of a bundle."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, files: dict[str, bytes]) -> Path:
    """Write files as a bundle is written."""
    with packing(path) as archive:
        for name in sorted(files):
            put(archive, name, files[name])
    return path


def spoiled(
    path: Path, output: Path, changes: dict[str, Callable[[bytes], bytes] | bytes | None], listed: bool = False
) -> Path:
    """Write a bundle with other contents in some files, None: without it; `listed`: with the sha256 of what is there now."""
    files = contents(path)
    for name, change in changes.items():
        found = change(files[name]) if callable(change) else change
        files.pop(name, None)
        if found is not None:
            files[name] = found
    if listed:
        files[CRATE] = listed_anew(files)
    return packed(output, files)


def listed_anew(files: dict[str, bytes]) -> bytes:
    """Return the crate of some files with their digests as they are: what a careful forger writes."""
    lines = []
    for line in files[CRATE].decode().splitlines():
        entity = json.loads(line.rstrip(",")) if line.startswith('{"@id"') else {}
        if entity.get("@type") == "File" and entity["@id"] in files:
            content = files[entity["@id"]]
            entity |= {"sha256": hashlib.sha256(content).hexdigest(), "contentSize": str(len(content))}
            line = json.dumps(entity, sort_keys=True) + ("," if line.endswith(",") else "")
        lines.append(line)
    return ("\n".join(lines) + "\n").encode()


def findings(path: Path, data: Path | None = None) -> list[Finding]:
    """Return what does not hold in a bundle."""
    with rescored(path, data, silent) as found:
        return found.findings


def the_name(path: Path, part: str) -> str:
    """Return the one name in a bundle, or the first in its order, that has a part."""
    return next(name for name in sorted(contents(path)) if part in name)
