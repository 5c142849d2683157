"""Artefacts: an id says all that one is made from, and a record, written last, what came out."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from swdb.core.artefact import Artefact, artefact_id, still_needed, with_inputs
from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json, write_json


def planned(folder: Path, name: str, *inputs: Artefact, kind: str = "run", **options) -> Artefact:
    """Plan an artefact of a test."""
    key = options.pop("key", {})
    identity = artefact_id(name, kind, 1, key, inputs)
    return Artefact(kind, name, identity, folder / identity, key, inputs, **options)


def made(folder: Path, name: str, *inputs: Artefact, digest: str | None = None, **options) -> Artefact:
    """Plan one and finish it."""
    artefact = planned(folder, name, *inputs, **options)
    artefact.begin()
    artefact.finish({"digest": digest or f"{name:z<64}"})
    return artefact


def refused(function) -> MissingArtefact:
    """Return the error with which something is refused."""
    with pytest.raises(MissingArtefact) as caught:
        function()
    return caught.value


# ---------------------------------------------------------------- ids

KEY = {"steps": 6, "scales": [0.75, 1.0], "crf": None, "run": {"kl": False}}
BASE = {"name": "dual-s0", "kind": "run", "version": 1, "key": KEY, "inputs": ()}


def test_an_id_is_the_name_and_a_short_digest_whatever_the_order_of_the_key():
    name, _, short = artefact_id(**BASE).rpartition("-")
    assert name == "dual-s0" and len(short) == 10 and set(short) <= set("0123456789abcdef")
    assert artefact_id(**BASE | {"key": dict(reversed(KEY.items()))}) == artefact_id(**BASE)


def test_an_id_is_the_same_tomorrow():
    # Whatever changes this orphans every folder that was ever made.
    assert artefact_id("dual-s0", "run", 1, {"steps": 6}, ()) == "dual-s0-ea6ac380b0"


def test_an_id_changes_with_kind_version_key_and_inputs(tmp_path):
    data, weights = planned(tmp_path, "data"), planned(tmp_path, "weights")
    others = [
        {"kind": "score"},
        {"version": 2},
        {"key": KEY | {"steps": 7}},
        {"key": KEY | {"scales": [1.0, 0.75]}},
        {"key": KEY | {"run": {"kl": True}}},
        {"key": {name: value for name, value in KEY.items() if name != "crf"}},
        {"inputs": (data,)},
        {"inputs": (data, weights)},
        {"inputs": (weights, data)},
        {"inputs": (planned(tmp_path, "data", key={"size": 64}),)},
        {"inputs": (planned(tmp_path, "data", planned(tmp_path, "sources")),)},  # an input of an input
    ]
    assert len({artefact_id(**BASE | other) for other in [{}, *others]}) == 1 + len(others)


def test_an_id_changes_with_nothing_else(tmp_path):
    data = planned(tmp_path / "here", "data", task="as planned", steps=6)
    same = planned(tmp_path / "there", "data", steps=7, record_name="manifest.json", shares_folder=True)
    made(tmp_path / "there", "data")  # not even with what came out
    assert artefact_id(**BASE | {"inputs": (data,)}) == artefact_id(**BASE | {"inputs": (same,)})
    # of two names the digest is the same: they are for people
    named = artefact_id(**BASE | {"name": "dual-n3-s0"})
    assert named.rpartition("-")[2] == artefact_id(**BASE).rpartition("-")[2]


def test_two_plans_of_one_artefact_are_two_objects_with_one_id(tmp_path):
    one, other = planned(tmp_path, "data"), planned(tmp_path, "data")
    assert one.id == other.id and one != other and len({one, other}) == 2


# ---------------------------------------------------------------- inputs


def test_inputs_are_found_by_their_kind(tmp_path):
    data, first, second = (
        planned(tmp_path, name, kind=kind) for name, kind in (("d", "data"), ("p1", "proxies"), ("p2", "proxies"))
    )
    run = planned(tmp_path, "run", data, first, second)
    assert run.input("data") is data
    assert run.input("proxies") is first
    assert run.find_input("cues") is None
    with pytest.raises(KeyError, match=r"cues") as caught:
        run.input("cues")
    assert run.id in str(caught.value)


def test_inputs_that_are_not_finished_are_missing(tmp_path):
    data, weights, proxies = made(tmp_path, "data"), planned(tmp_path, "weights"), planned(tmp_path, "proxies")
    proxies.folder.mkdir()  # begun, perhaps
    assert planned(tmp_path, "run", data, weights, proxies).missing_inputs() == [weights, proxies]


def test_what_artefacts_are_made_from_comes_first_and_each_once(tmp_path):
    data = planned(tmp_path, "data")
    weights = planned(tmp_path, "weights", data)
    cues = planned(tmp_path, "cues", data, weights)
    first, second = planned(tmp_path, "first", data, weights, cues), planned(tmp_path, "second", data, weights)
    again = planned(tmp_path, "data")  # the same artefact, planned by somebody else
    third = planned(tmp_path, "third", again, second)
    assert with_inputs(first, second, third, first) == [data, weights, cues, first, second, third]
    assert with_inputs(third, first) == [again, weights, second, third, cues, first]
    assert with_inputs() == []


# ---------------------------------------------------------------- from planned to finished


def test_what_only_finished_artefacts_are_made_from_is_not_needed(tmp_path):
    gone, data = planned(tmp_path, "gone"), made(tmp_path, "data")
    proxies = made(tmp_path, "proxies", data)
    run = planned(tmp_path, "run", proxies, gone)
    score = planned(tmp_path, "score", run)
    assert still_needed([gone, data, proxies, run, score]) == [gone, data, proxies, run, score]
    write_json(run.record, {"digest": "r" * 64})
    assert still_needed([gone, data, proxies, run, score]) == [data, proxies, run, score]
    other = planned(tmp_path, "other", gone)
    assert still_needed([gone, data, proxies, run, score, other]) == [gone, data, proxies, run, score, other]


def test_an_artefact_is_there_only_with_its_record(tmp_path):
    data = made(tmp_path, "data")
    run = planned(tmp_path, "run", data)
    assert not run.done
    run.begin()
    assert not run.done and not run.record.exists()
    (run.folder / "weights.pt").write_bytes(b"weights")
    assert not run.done
    run.finish({"digest": "d" * 64})
    assert run.done and run.digest() == "d" * 64


def test_a_folder_in_place_of_the_record_is_not_a_finished_artefact(tmp_path):
    run = planned(tmp_path, "run")
    run.record.mkdir(parents=True)
    assert not run.done


def test_a_record_says_what_the_artefact_is_and_what_it_was_made_from(tmp_path):
    data, weights = made(tmp_path, "data"), made(tmp_path, "weights")
    run = planned(tmp_path, "run", data, weights, key={"steps": 6})
    run.begin()
    written = run.finish({"digest": "d" * 64, "training": {"loss": 0.5}})
    assert written == {
        "id": run.id,
        "kind": "run",
        "key": {"steps": 6},
        "inputs": {data.id: data.digest(), weights.id: weights.digest()},
        "digest": "d" * 64,
        "training": {"loss": 0.5},
    }
    assert run.read_record() == json.loads((run.folder / "done.json").read_text()) == written


def test_a_record_can_have_another_name(tmp_path):
    score = made(tmp_path, "score", record_name="result.json")
    assert score.record == score.folder / "result.json" and score.done


def test_what_was_begun_is_noted_until_it_is_finished(tmp_path):
    data = made(tmp_path, "data")
    run = planned(tmp_path, "run", data)
    run.begin()
    assert read_json(run.begun) == {data.id: data.digest()}
    assert run.begun.parent == run.folder and run.begun != run.record
    run.begin()  # what was killed goes on
    run.finish({"digest": "d" * 64})
    assert not run.begun.exists()
    assert [path.name for path in run.folder.iterdir()] == ["done.json"]


def test_artefacts_that_share_a_folder_note_what_they_were_begun_with_apart(tmp_path):
    data = made(tmp_path, "data")
    names = ("table1.json", "table2.json")
    one, two = (
        replace(planned(tmp_path, name, data, record_name=name, shares_folder=True), folder=tmp_path) for name in names
    )
    assert one.begun != two.begun
    one.begin()
    two.begin()
    one.finish({"digest": "d" * 64})
    assert two.begun.is_file() and not two.done


def test_what_is_made_from_nothing_notes_nothing(tmp_path):
    data = planned(tmp_path, "data")
    data.begin()
    assert not data.folder.exists()
    assert data.finish({"digest": "d" * 64})["inputs"] == {}


def test_a_finished_artefact_of_inputs_that_were_not_noted_names_those_that_are_there(tmp_path):
    # A table is rendered from the scores that there are.
    there, absent = made(tmp_path, "there"), planned(tmp_path, "absent")
    table = planned(tmp_path, "table", there, absent)
    assert table.finish({"digest": "d" * 64})["inputs"] == {there.id: there.digest()}


def test_an_input_that_is_not_there_cannot_be_begun_with(tmp_path):
    data = planned(tmp_path, "data")
    run = planned(tmp_path, "run", data)
    error = refused(run.begin)
    assert (error.subject, error.found) == (data.record, "missing")
    assert not run.begun.exists()


def test_inputs_that_changed_since_it_was_begun_are_refused(tmp_path):
    data, weights = made(tmp_path, "data"), made(tmp_path, "weights")
    run = planned(tmp_path, "run", data, weights)
    run.begin()
    weights.finish({"digest": "e" * 64})
    error = refused(run.begin)
    assert error.subject == run.folder and "changed" in error.found
    weights.finish({"digest": f"{'weights':z<64}"})
    run.begin()


def test_a_record_names_the_inputs_that_it_was_begun_with(tmp_path):
    # Whatever happens to them meanwhile: what came out was made from those.
    data = made(tmp_path, "data")
    run = planned(tmp_path, "run", data)
    run.begin()
    before = data.digest()
    data.finish({"digest": "e" * 64})
    run.finish({"digest": "d" * 64})
    assert run.read_record()["inputs"] == {data.id: before}
    assert data.id in refused(run.check).found


def test_a_finished_artefact_of_the_same_inputs_passes(tmp_path):
    made(tmp_path, "run", made(tmp_path, "data"), made(tmp_path, "weights")).check()
    made(tmp_path, "alone").check()


def test_a_finished_artefact_whose_input_changed_is_refused_with_both_digests(tmp_path):
    data, weights = made(tmp_path, "data", digest="a" * 64), made(tmp_path, "weights")
    run = made(tmp_path, "run", data, weights)
    data.finish({"digest": "b" * 64})
    error = refused(run.check)
    assert error.subject == run.folder
    assert all(word in error.found for word in (data.id, "a" * 10, "b" * 10)) and "a" * 11 not in error.found


@pytest.mark.parametrize("inputs", [None, {}, {"another-0123456789": "a" * 64}])
def test_a_finished_artefact_that_does_not_name_an_input_is_refused(tmp_path, inputs):
    data = made(tmp_path, "data")
    run = made(tmp_path, "run", data)
    record = {name: value for name, value in run.read_record().items() if name != "inputs"}
    write_json(run.record, record if inputs is None else record | {"inputs": inputs})
    assert data.id in refused(run.check).found


def test_a_finished_artefact_needs_its_inputs_no_more(tmp_path):
    data = made(tmp_path, "data")
    run = made(tmp_path, "run", data)
    data.record.unlink()
    run.check()


# ---------------------------------------------------------------- again


def test_what_is_made_again_is_made_beside_its_place(tmp_path):
    run = made(tmp_path, "run")
    assert (run.anew.id, run.anew.inputs, run.anew.folder) == (
        run.id,
        run.inputs,
        run.folder.with_name(f".{run.id}.again"),
    )
    assert run.done and not run.anew.done


# ---------------------------------------------------------------- records


def test_a_record_that_is_not_there_is_missing(tmp_path):
    run = planned(tmp_path, "run")
    for function in (run.read_record, run.digest, run.check):
        error = refused(function)
        assert (error.subject, error.found) == (run.record, "missing")


@pytest.mark.parametrize("content", ["", "[]", "null", '"digest"'])
def test_a_record_that_is_damaged_is_named(tmp_path, content):
    run = made(tmp_path, "run")
    run.record.write_text(content)
    for function in (run.read_record, run.digest, run.check):
        error = refused(function)
        assert (error.subject, error.found) == (run.record, "damaged")


@pytest.mark.parametrize("record", [{}, {"digest": None}, {"digest": 7, "tree_root": "a" * 64}])
def test_a_record_without_a_digest_is_damaged(tmp_path, record):
    run = made(tmp_path, "run")
    write_json(run.record, record)
    assert refused(run.digest).found == "damaged"
    assert run.read_record() == record


@pytest.mark.parametrize("inputs", [[], "data", 7])
def test_a_record_whose_inputs_are_not_named_by_id_is_damaged(tmp_path, inputs):
    run = made(tmp_path, "run", made(tmp_path, "data"))
    write_json(run.record, run.read_record() | {"inputs": inputs})
    assert refused(run.check).subject == run.record


def test_the_digest_in_a_manifest_of_version_0_1_is_read(tmp_path):
    data = planned(tmp_path, "data", record_name="manifest.json")
    write_json(data.record, {"recipe": {}, "tree_root": "a" * 64, "files": 3})
    assert data.digest() == "a" * 64
    made(tmp_path, "run", data).check()


# ---------------------------------------------------------------- what a lease protects


def test_a_lease_protects_the_folder_or_where_it_is_shared_the_record_alone(tmp_path):
    proxies = planned(tmp_path, "proxies")
    assert proxies.leased_path == proxies.folder
    quality = replace(
        planned(tmp_path, "quality"), folder=proxies.folder, record_name="quality.json", shares_folder=True
    )
    assert quality.leased_path == proxies.folder / "quality.json"
