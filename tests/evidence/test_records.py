"""Records fit together, or it is said where they do not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import findings, spoiled
from conftest import TINY
from studies import graph_of

from swdb.core.errors import MissingArtefact
from swdb.evidence.bundle_reader import opened, unpack
from swdb.evidence.layout import About, study_of
from swdb.evidence.records import Recorded, _planned, faults, named_below, read_contents, read_recorded
from swdb.specs.study import NamedFile
from swdb.specs.tables import load_tables
from swdb.study.plan import make_plan, read_plan

TABLES = load_tables()


def edited(**values):
    """Return a change of a JSON file."""
    return lambda content: json.dumps({**json.loads(content), **values}).encode()


def replaced(old: str, new: str):
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode())

    return change


def the_findings(ours: Path, tmp_path: Path, **changes) -> str:
    path = spoiled(ours, tmp_path / "x.zip", changes, listed=True)
    return "\n".join(map(str, findings(path)))


def test_a_bundle_is_read_as_the_study_that_it_was(ours, tmp_path, study):
    with opened(ours) as bundle:
        unpack(bundle, tmp_path)
        recorded = read_recorded(bundle.about, tmp_path)
        assert recorded.study.preset == study.study.preset and {one.id for one in recorded.scores} == {
            one.id for one in read_plan(study.study).scores.values()
        }
        assert recorded.data.digest() == study.data.digest() == recorded.dataset().digest
        assert list(faults(recorded, bundle.listed)) == []
        assert len(read_contents(recorded)) == 2 * 38 + 4


def test_a_setting_that_was_not_planned_with_is_found(ours, tmp_path):
    said = the_findings(
        ours, tmp_path, **{"specs/tiny.toml": replaced("steps = 6\nbatch = 4\ncrop", "steps = 7\nbatch = 4\ncrop")}
    )
    assert "specs/tiny.toml: has the settings " in said and "made with other values than the specs say" in said


def test_weights_that_were_named_are_known_by_their_bytes_alone(tmp_path):
    # ... for what their file was called is not in the bundle.
    def planned(**digests: str):
        files = {"weights": NamedFile(Path("gone/mine.npz"), digests)}
        graph = graph_of(tmp_path, TINY, **files)
        return graph, make_plan(graph, [(TABLES[4], row) for row in TABLES[4].rows], [0])

    (graph, plan), (_, other) = planned(file="1"), planned(file="2")
    study = study_of(tmp_path, graph.study.preset, plan.study)
    about = About(TINY, (4,), "2026-01-31", {})
    assert list(_planned(Recorded(about, study, plan, TABLES))) == []
    found = list(_planned(Recorded(about, study, replace(plan, scores=other.scores), TABLES)))
    assert len(found) == len(plan.scores) and all("mine-" in str(one) for one in found)


def test_a_row_that_trains_something_else_is_found(ours, tmp_path):
    said = the_findings(ours, tmp_path, **{"specs/table1.toml": replaced("oversample = 6", "oversample = 5")})
    assert "mixed-x6" in said and "made with other values than the specs say" in said


def test_the_record_of_another_run_is_found(ours, tmp_path, study):
    run = study.run(study.run_spec("strong"), 0)
    said = the_findings(ours, tmp_path, **{f"runs/{run.id}/done.json": edited(id="another-s0-0123456789")})
    assert (
        f"runs/{run.id}/done.json: is the record of another-s0-0123456789, or of other values; expected {run.id}"
        in said
    )


def test_a_run_that_was_made_from_other_bytes_is_found(ours, tmp_path, study):
    proxies = study.proxies(1)
    said = the_findings(ours, tmp_path, **{f"proxies/{proxies.id}/done.json": edited(digest="0" * 64)})
    assert f"was made from {proxies.id} of digest {proxies.digest()[:10]}; expected one that is in the bundle" in said


def test_a_list_that_is_not_the_data_sets_is_found(ours, tmp_path):
    name = "data/tiny/VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    assert f"{name}: is not the data set's" in the_findings(ours, tmp_path, **{name: lambda text: text[13:]})


def test_digests_that_do_not_come_to_the_data_sets_are_found(ours, tmp_path):
    def change(content: bytes) -> bytes:
        found = json.loads(content)
        return json.dumps({**found, min(found): "0" * 64}).encode()

    assert "data/tiny/contents.json: its digests come to" in the_findings(
        ours, tmp_path, **{"data/tiny/contents.json": change}
    )


@pytest.mark.parametrize(
    "name", ["specs/tiny.toml", "specs/table2.toml", "reports/tiny/plan.json", "data/tiny/manifest.json"]
)
def test_what_cannot_be_read_is_named_as_the_bundle_names_it(ours, tmp_path, name):
    said = the_findings(ours, tmp_path, **{name: b"{]"})
    assert Path(name).name in said and str(tmp_path) not in said and "/tmp/" not in said


def test_errors_name_files_below_a_folder_alone(tmp_path):
    with pytest.raises(MissingArtefact) as caught, named_below(tmp_path):
        raise MissingArtefact(tmp_path / "a" / "b", "missing")
    assert caught.value.subject == "a/b"
