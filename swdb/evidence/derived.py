"""What a bundle holds that follows from the rest of it: tables, verdicts, digests, machines, the claims, the crate.

Whoever makes a bundle derives it, and whoever checks one derives it again: every byte must be the same.

in: the recorded files of a bundle, below a folder and as a list -> out: texts by name
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.files import damage_of
from swdb.evidence.crate import as_text, crate
from swdb.evidence.layout import ABOUT, CLAIMS, CRATE, DIGESTS, ENVIRONMENT, About, Listed, finished, reports_folder
from swdb.evidence.rendered import FORMATS, SETTINGS, rendered
from swdb.evidence.statement import statement
from swdb.reports.ledger import LEDGER
from swdb.specs.study import Study
from swdb.specs.tables import Table
from swdb.study.plan import Plan


def derived(
    study: Study, plan: Plan, tables: Mapping[int, Table], about: About, recorded: Mapping[str, Listed]
) -> dict[str, str]:
    """Return the texts that follow from what was recorded, by name: the crate, which lists all others, last."""
    seen = rendered(study, plan, tables, about.tables)
    folder = reports_folder(about.preset)
    done = finished(plan)
    found = {
        **{f"{folder}/{name}": text for name, text in seen.files.items()},
        f"{folder}/{LEDGER}": as_json(seen.ledger),
        DIGESTS: as_json(digests(done)),
        ENVIRONMENT: as_json({"machines": machines(done), "versions": about.versions}),
        ABOUT: as_json(about.to_json(plan)),
    }
    listed = {**recorded, **{name: Listed.of(text.encode()) for name, text in found.items()}}
    found[CLAIMS] = as_json(statement(seen.ledger, listed, len(about.parts)))
    listed[CLAIMS] = Listed.of(found[CLAIMS].encode())
    found[CRATE] = as_text(crate(study.folder, about, study.preset, plan, dict(sorted(listed.items()))))
    return found


def derived_names(about: About) -> set[str]:
    """Name what is derived."""
    folder = reports_folder(about.preset)
    tables = {f"{folder}/table{number}.{form}" for number in about.tables for form in FORMATS}
    return tables | {f"{folder}/{SETTINGS}", f"{folder}/{LEDGER}", DIGESTS, ENVIRONMENT, ABOUT, CLAIMS, CRATE}


def as_json(value: Any) -> str:
    """Return JSON as a bundle has it: sorted, and without numbers that are none."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def digests(done: list[Artefact]) -> dict[str, Any]:
    """Return what runs and proxies were made from, by digest, and the files that were named to their inputs."""
    records = {one.id: one.read_record() for one in done}
    named = {}
    for one in done:
        with damage_of(one.record):
            if one.kind in ("weights", "cues") and "file" in (key := records[one.id].get("key", {})):
                named[one.kind] = key["file"]
    inputs = {
        kind: {one.id: records[one.id].get("inputs", {}) for one in done if one.kind == kind}
        for kind in ("run", "proxies")
    }
    return {"files": named, "runs": inputs["run"], "proxies": inputs["proxies"]}


def machines(done: list[Artefact]) -> list[dict[str, Any]]:
    """List the machines that trained runs, each once."""
    found = {}
    for one in done:
        machine = one.read_record().get("machine") if one.kind == "run" else None
        if isinstance(machine, dict):
            found[json.dumps(machine, sort_keys=True)] = machine
    return [found[key] for key in sorted(found)]


def folder_of(root: Path, name: str) -> Path:
    """Return where a file of a bundle lies below a folder that it was unpacked into."""
    return root.joinpath(*name.split("/"))
