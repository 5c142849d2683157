"""What making an artefact took, in time and memory: read for forecasts and for how many workers there are, never for a result.

It lies beside the work, not in records: those are the same whenever, and beside whatever else, an artefact is made.

in: an artefact that was made -> out: `<work directory>/costs/<id>.json`; and back
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import SwdbError
from swdb.core.files import digest, read_json, write_json

COSTS = "costs"
MIB = 2**20
OF_ONE = ("run", "seed", "set")  # what tells artefacts of a kind at one preset apart


def note_cost(workdir: Path, artefact: Artefact, seconds: float | None, peak: int) -> None:
    """Note what an artefact took; seconds: None where not all of its making was seen; peak: bytes of the process."""
    found: dict[str, Any] = {"kind": artefact.kind, "settings": settings_of(artefact), "peak_mib": peak // MIB}
    if seconds is not None:
        found["seconds"] = round(seconds, 3)
    with suppress(SwdbError):  # a disk that does not take it
        write_json(workdir / COSTS / f"{artefact.id}.json", found)


def read_cost(workdir: Path, artefact_id: str) -> dict[str, float]:
    """Return what is noted of an artefact: `peak_mib`, `seconds`, or neither."""
    with suppress(SwdbError, ValueError, TypeError, AttributeError, OverflowError):
        found = read_json(workdir / COSTS / f"{artefact_id}.json")
        return {name: float(found[name]) for name in ("peak_mib", "seconds") if name in found}
    return {}


def settings_of(artefact: Artefact) -> str:
    """Return a digest of the settings that rows and seeds of one preset share: what takes about as much memory."""
    shared = {name: value for name, value in artefact.key.items() if name not in OF_ONE}
    return digest({"kind": artefact.kind, **shared})[:10]


def peaks(workdir: Path, artefacts: Iterable[Artefact]) -> list[int | None]:
    """Return the bytes of memory that artefacts of each kind and settings among some took here at most; None: none was made."""
    found: dict[str, int | None] = {settings_of(one): None for one in artefacts}
    for path in (workdir / COSTS).glob("*.json") if found else ():
        with suppress(SwdbError, ValueError, TypeError, KeyError, OverflowError):
            cost = read_json(path)
            if cost["settings"] in found and cost["peak_mib"] > 0:
                found[cost["settings"]] = max(found[cost["settings"]] or 0, int(cost["peak_mib"]) * MIB)
    return [*found.values()]
