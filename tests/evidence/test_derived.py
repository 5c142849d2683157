"""What follows from the recorded files of a bundle."""

import pytest
from bundles import contents
from drawn import MACHINE

from swdb.evidence.bundle_reader import loads
from swdb.evidence.derived import as_json, derived_names, digests, folder_of, machines
from swdb.evidence.layout import About, Listed, finished
from swdb.study.plan import read_plan


def test_every_derived_file_is_named_and_in_the_bundle(ours):
    names = derived_names(About("tiny", (1, 2, 3, 4), "2026-01-01", {}))
    assert names < contents(ours).keys() and len(names) == 4 * 3 + 7


def test_digests_and_machines_are_those_of_the_records(ours, study):
    done = finished(read_plan(study.study))
    files = contents(ours)
    run = study.run(study.run_spec("dual"), 0)
    found = loads(files["digests.json"])
    assert found == digests(done) and found["runs"][run.id] == {one.id: one.digest() for one in run.inputs}
    assert found["proxies"].keys() == {study.proxies(number).id for number in (1, 2)}
    environment = loads(files["environment.json"])
    assert environment["machines"] == machines(done) == [MACHINE] and environment["versions"]["numpy"]


def test_json_has_no_numbers_that_are_none():
    assert as_json({"b": 1, "a": "ü"}) == '{\n "a": "ü",\n "b": 1\n}\n'
    with pytest.raises(ValueError):
        as_json({"a": float("nan")})


def test_names_become_places(tmp_path):
    assert folder_of(tmp_path, "a/b.c") == tmp_path / "a" / "b.c"
    assert Listed.of("ü".encode()).size == 2
