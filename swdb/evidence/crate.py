"""A bundle as an RO-Crate that any reader of such crates understands: Process Run Crate 0.5 on RO-Crate 1.1.

Written by hand, sorted and with dates from records, so that equal contents have equal bytes. One action a run: made by
swdb, from specs, data and proxies, with a score as its result.

in: the files of a bundle, its plan -> out: what `ro-crate-metadata.json` says
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from swdb.core.artefact import Artefact
from swdb.core.journal import LOGS, times_of
from swdb.evidence.layout import CRATE, About, Listed, finished, folders_of, place_of, preset_name, table_name
from swdb.specs.presets import Preset
from swdb.study.plan import Plan

CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    {"sha256": "http://schema.org/sha256"},
]  # which 1.1 does not know yet
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
LICENSE = "https://spdx.org/licenses/MIT"
MEDIA = {
    ".csv": "text/csv", ".jpg": "image/jpeg", ".json": "application/json", ".jsonl": "application/jsonl",
    ".log": "text/plain", ".md": "text/markdown", ".npz": "application/zip", ".png": "image/png",
    ".toml": "application/toml", ".txt": "text/plain",
}  # fmt: skip

Entity = dict[str, Any]


def crate(root: Path, about: About, preset: Preset, plan: Plan, listed: Mapping[str, Listed]) -> dict[str, Any]:
    """Return the crate of a bundle whose other files are `listed`; records and journals lie below `root`."""
    done = finished(plan)
    by_run = _scores_by_run(done)
    folders = folders_of(listed)
    program = _program(about)
    actions = [_action(root, about, one, by_run[one.id], listed, program["@id"]) for one in done if one.kind == "run"]
    machines = [value for action in actions for value in action.pop("values")]
    entities = [
        {"@id": CRATE, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": {"@id": SPECIFICATION}},
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        {"@id": LICENSE, "@type": "CreativeWork", "name": "MIT License", "description": "the license of swdb"},
        program,
        _root(about, preset, folders.pop("./"), actions),
        *actions,
        *{value["@id"]: value for value in machines}.values(),
        *(_folder(name, inside) for name, inside in folders.items()),
        *(_file(name, one) for name, one in listed.items()),
    ]
    return {"@context": CONTEXT, "@graph": sorted(entities, key=lambda one: one["@id"])}


def as_text(value: Mapping[str, Any]) -> str:
    """Return the crate as JSON, an entity a line: tens of thousands of files stay readable and small."""
    lines = ",\n".join(json.dumps(one, sort_keys=True, ensure_ascii=False) for one in value["@graph"])
    return f'{{"@context": {json.dumps(value["@context"])}, "@graph": [\n{lines}\n]}}\n'


def _scores_by_run(done: list[Artefact]) -> dict[str, list[Artefact]]:
    found: dict[str, list[Artefact]] = {one.id: [] for one in done if one.kind == "run"}
    for score in done:
        for run in score.inputs:
            if score.kind == "score" and run.id in found:
                found[run.id].append(score)
    return found


def _link(name: str) -> dict[str, str]:
    return {"@id": quote(name)}


def _root(about: About, preset: Preset, inside: list[str], actions: list[Entity]) -> Entity:
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Runs, scores and tables of swdb, preset {preset.name}",
        "description": (
            f"{preset.title[:1].upper()}{preset.title[1:]}: predictions, counts, specs, plan, records, journals and the tables "
            "that follow from them. Every score, verdict and table can be computed again from what is here."
        ),
        "datePublished": about.published,
        "license": {"@id": LICENSE},
        "conformsTo": {"@id": PROFILE},
        "hasPart": [_link(name) for name in inside],
        "mentions": [{"@id": action["@id"]} for action in actions],
    }


def _program(about: About) -> Entity:
    number = about.versions.get("swdb", "unknown")
    return {
        "@id": f"#swdb-{number}",
        "@type": "SoftwareApplication",
        "name": "swdb",
        "description": "reproduces tables of a paper on semi-supervised semantic segmentation",
        "softwareVersion": number,
    }


def _action(
    root: Path, about: About, run: Artefact, scores: list[Artefact], listed: Mapping[str, Listed], program: str
) -> Entity:
    """Describe one run; `values` are the entities of its machine and seed, which stand beside it."""
    made = [f"{place_of(one, root)}/" for one in (run, *scores)]
    read = [preset_name(about.preset), *(table_name(number) for number in about.tables)]
    read += [name for other in run.inputs if (name := f"{place_of(other, root)}/{other.record_name}") in listed]
    values = _values(run)
    action: Entity = {
        "@id": f"#{quote(run.id)}",
        "@type": "CreateAction",
        "name": f"train and score {run.name}",
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        "instrument": {"@id": program},
        "object": [*map(_link, read), *({"@id": value["@id"]} for value in values)],
        "result": [_link(name) for name in dict.fromkeys(made)],
        "values": values,
    }
    times = times_of(root / LOGS / f"{run.id}.log")
    if times.begun is not None:
        action["startTime"] = times.begun.isoformat()
    if times.finished is not None:
        action["endTime"] = times.finished.isoformat()
    return action


def _values(run: Artefact) -> list[Entity]:
    """Return the seed of a run, and the machine that it was trained on, as values with a name."""
    found = {"seed": run.key.get("seed"), **{f"machine: {name}": value for name, value in _machine(run).items()}}
    return [
        {"@id": f"#{quote(f'{name}={value}', safe='')}", "@type": "PropertyValue", "name": name, "value": value}
        for name, value in found.items()
    ]


def _machine(run: Artefact) -> dict[str, Any]:
    machine = run.read_record().get("machine")
    return machine if isinstance(machine, dict) else {}


def _folder(name: str, inside: list[str]) -> Entity:
    path = PurePosixPath(name)
    return {"@id": quote(name), "@type": "Dataset", "name": path.name, "hasPart": [_link(one) for one in inside]}


def _file(name: str, listed: Listed) -> Entity:
    path = PurePosixPath(name)
    return {
        "@id": quote(name),
        "@type": "File",
        "name": path.name,
        "contentSize": str(listed.size),
        "encodingFormat": MEDIA.get(path.suffix, "application/octet-stream"),
        "sha256": listed.sha256,
    }
