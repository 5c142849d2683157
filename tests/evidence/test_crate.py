"""A bundle is an RO-Crate: by its form here, by the public validator where that can be had."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from bundles import contents

from swdb.evidence.crate import CONTEXT, PROFILE, SPECIFICATION
from swdb.evidence.layout import CRATE
from swdb.study.plan import read_plan


@pytest.fixture(scope="module")
def entities(ours) -> dict[str, dict]:
    graph = json.loads(contents(ours)[CRATE])["@graph"]
    assert len({one["@id"] for one in graph}) == len(graph)
    return {one["@id"]: one for one in graph}


def links(value) -> list[str]:
    found = value if isinstance(value, list) else [value]
    return [one["@id"] for one in found if isinstance(one, dict)]


def test_it_is_a_process_run_crate_on_ro_crate_1_1(entities):
    assert entities[CRATE]["conformsTo"] == {"@id": SPECIFICATION} and entities[CRATE]["about"] == {"@id": "./"}
    assert entities["./"]["conformsTo"] == {"@id": PROFILE} and entities["./"]["@type"] == "Dataset"
    assert {"name", "description", "license", "datePublished"} <= entities["./"].keys()


def test_every_file_is_in_it_with_its_digest_and_reached_from_the_root(ours, entities):
    files = contents(ours)
    assert {name for name, one in entities.items() if one["@type"] == "File"} == files.keys() - {CRATE}
    assert all(int(entities[name]["contentSize"]) == len(files[name]) for name in files.keys() - {CRATE})
    reached, waiting = set(), ["./"]
    while waiting:
        inside = links(entities[waiting.pop()].get("hasPart", []))
        reached |= set(inside)
        waiting += inside
    assert files.keys() - {CRATE} <= reached


def test_every_run_is_an_action_with_program_inputs_results_and_times(entities, study):
    actions = {name: one for name, one in entities.items() if one["@type"] == "CreateAction"}
    runs = {
        run.id: run for score in read_plan(study.study).scores.values() for run in score.inputs if run.kind == "run"
    }
    assert actions.keys() == {f"#{name}" for name in runs} == set(links(entities["./"]["mentions"]))
    dual = study.run(study.run_spec("dual"), 1)
    one = actions[f"#{dual.id}"]
    proxies = study.proxies(1)
    assert f"proxies/{proxies.id}/done.json" in links(one["object"])
    assert {f"runs/{dual.id}/", f"runs/{dual.id}/evals/val-strong/"} <= set(links(one["result"]))
    assert entities[links(one["instrument"])[0]]["@type"] == "SoftwareApplication"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", one["startTime"]) and one["startTime"] <= one["endTime"]
    values = {entities[name]["name"]: entities[name]["value"] for name in links(one["object"]) if name[0] == "#"}
    assert values["seed"] == 1 and values["machine: name"] == "Made-up 9000"


def test_nothing_is_linked_that_is_not_there(entities):
    for one in entities.values():
        for key in ("object", "result", "hasPart", "mentions", "instrument", "license", "about"):
            assert set(links(one.get(key, []))) <= entities.keys(), (one["@id"], key)


# ---------------------------------------------------------------- the public validator

SEED = """
import io, sys
import requests
from requests_cache import CachedSession
from urllib3 import HTTPResponse

class Context(requests.adapters.BaseAdapter):
    def send(self, request, **options):
        body = HTTPResponse(io.BytesIO(open(sys.argv[2], "rb").read()), {"Content-Type": "application/ld+json"}, 200, preload_content=False)
        return requests.adapters.HTTPAdapter().build_response(request, body)
    def close(self): pass

session = CachedSession(cache_name=sys.argv[1], backend="sqlite", expire_after=-1, allowable_methods=("GET",))
session.mount("https://", Context())
assert session.get(sys.argv[3]).ok
"""
# The terms of RO-Crate 1.1 that a bundle uses, by what they mean there: the validator asks w3id.org for all of them.
SCHEMA = (
    "CreateAction", "CreativeWork", "Dataset", "PropertyValue", "SoftwareApplication", "about", "actionStatus", "contentSize",
    "datePublished", "description", "encodingFormat", "endTime", "hasPart", "instrument", "license", "mentions", "name",
    "object", "result", "softwareVersion", "startTime", "value", "version",
)  # fmt: skip
TERMS = {name: f"http://schema.org/{name}" for name in SCHEMA} | {
    "File": "http://schema.org/MediaObject",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
}


def validator() -> list[str] | None:
    """Return the command of roc-validator: from SWDB_ROC_VALIDATOR, a Python that has it, or installed here."""
    python = Path(os.environ.get("SWDB_ROC_VALIDATOR", sys.executable))
    command = python.parent / "rocrate-validator"
    return [str(python), str(command)] if command.is_file() else None


@pytest.mark.skipif(validator() is None, reason="roc-validator is not installed (the extra evidence-test)")
def test_the_public_validator_finds_nothing_that_is_required(ours, tmp_path):
    python, command = validator()
    zipfile.ZipFile(ours).extractall(tmp_path / "crate")
    context = tmp_path / "context.json"
    context.write_text(json.dumps({"@context": TERMS}))
    subprocess.run([python, "-c", SEED, tmp_path / "cache", context, CONTEXT[0]], check=True, timeout=60)
    options = ["--offline", "--cache-path", tmp_path / "cache", "--no-paging", "-p", "process-run-crate-0.5"]
    report = ["--output-format", "json", "--output-file", tmp_path / "report.json"]
    done = subprocess.run(
        [command, "-y", "--disable-color", "validate", *options, *report, tmp_path / "crate"],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["issues"] == [] and found["passed"], done.stdout
    assert found["statistics"]["total_passed_checks"] == found["statistics"]["total_checks"] >= 40
    shutil.rmtree(tmp_path / "crate")
