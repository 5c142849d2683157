"""A bundle is one zip whose bytes follow from what was recorded."""

import shutil
import zipfile

import pytest
from bundles import contents, findings, packed, written
from drawn import drawn_study
from studies import graph_of

from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json, write_json
from swdb.evidence.bundle import DATE, bytes_of
from swdb.evidence.bundle_reader import loads
from swdb.evidence.layout import ABOUT, Listed
from swdb.study.graph import Graph
from swdb.study.plan import read_plan


def moved(study: Graph, folder) -> Graph:
    """Copy a study to another place."""
    shutil.copytree(study.study.folder, folder / "elsewhere", ignore=shutil.ignore_patterns(".leases"))
    return graph_of(folder / "elsewhere")


def test_equal_studies_have_equal_bundles_wherever_and_whenever_they_are_written(study, ours, tmp_path):
    again = written(moved(study, tmp_path), tmp_path / "another name.zip")
    assert again.read_bytes() == ours.read_bytes()


def test_names_are_sorted_dates_are_fixed_and_nothing_is_packed(ours):
    with zipfile.ZipFile(ours) as archive:
        entries = archive.infolist()
    assert [one.filename for one in entries] == sorted(one.filename for one in entries)
    assert {(one.date_time, one.compress_type, one.external_attr >> 16) for one in entries} == {
        (DATE, zipfile.ZIP_STORED, 0o100644)
    }


def test_a_bundle_of_one_table_holds_its_runs_alone(study, tmp_path):
    from bundles import SPEC

    from swdb.core.progress import silent
    from swdb.evidence.bundle import bundle
    from swdb.specs.tables import load_tables
    from swdb.study.plan import read_plan

    plan = read_plan(study.study)
    part = plan.part({place[:2] for place in plan.scores if place.table == 1})
    bundle(study.study, part, SPEC, load_tables(), [1], tmp_path / "1.zip", silent)
    names = contents(tmp_path / "1.zip").keys()
    assert "reports/tiny/table1.md" in names and "reports/tiny/table2.md" not in names
    assert any("runs/mixed-x6-s0" in name for name in names) and not any("runs/dual" in name for name in names)
    assert findings(tmp_path / "1.zip") == []


def test_what_is_not_finished_is_left_out_and_said(tmp_path):
    graph = drawn_study(tmp_path / "work", [0], rows={"strong", "weak"})
    run = graph.run(graph.run_spec("weak"), 0)
    shutil.rmtree(run.folder)
    path = written(graph, tmp_path / "partly.zip")
    files = contents(path)
    assert {one["id"] for one in loads(files[ABOUT])["missing"]} >= {run.id}
    assert not any(run.id in name for name in files if name.startswith("runs/"))
    assert b"NOT RUN" in files["reports/tiny/table2.md"]
    assert findings(path) == []


def test_nothing_finished_makes_no_bundle(tmp_path):
    graph = drawn_study(tmp_path / "work", [0], rows={"strong"})
    shutil.rmtree(tmp_path / "work" / "runs")
    with pytest.raises(MissingArtefact) as caught:
        written(graph, tmp_path / "none.zip")
    assert caught.value.found == "no score is finished" and not (tmp_path / "none.zip").exists()


def test_a_finished_score_without_its_predictions_is_named(tmp_path):
    graph = drawn_study(tmp_path / "work", [0], rows={"strong"})
    lost = next((tmp_path / "work").glob("runs/*/evals/*/predictions/*.png"))
    lost.unlink()
    with pytest.raises(MissingArtefact) as caught:
        written(graph, tmp_path / "none.zip")
    assert caught.value.subject == lost and not (tmp_path / "none.zip").exists()


@pytest.mark.parametrize("name", ["predictions/*.png", "confusion.npz"])
def test_a_score_whose_files_are_not_those_that_were_scored_is_in_no_bundle(study, tmp_path, name):
    graph = moved(study, tmp_path)
    path = sorted(graph.study.folder.glob(f"runs/*/evals/*/{name}"))[0]
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(MissingArtefact) as caught:
        written(graph, tmp_path / "x.zip")
    assert caught.value.subject in path.parents and "not those that were scored" in caught.value.found
    assert not (tmp_path / "x.zip").exists()


def test_a_score_that_says_another_iou_than_was_counted_is_in_no_bundle(study, tmp_path):
    graph = moved(study, tmp_path)
    path = sorted(graph.study.folder.glob("runs/*/evals/*/result.json"))[0]
    record = read_json(path)
    name, value = next((name, value) for name, value in record["iou"].items() if value is not None)
    write_json(path, {**record, "iou": {**record["iou"], name: value + 0.5}})
    with pytest.raises(MissingArtefact) as caught:
        written(graph, tmp_path / "x.zip")
    assert caught.value.subject == path and not (tmp_path / "x.zip").exists()


def test_sources_are_bytes_files_and_what_reads_them(tmp_path):
    (tmp_path / "one").write_bytes(b"abc")
    assert bytes_of(tmp_path / "one") == bytes_of(b"abc") == bytes_of(lambda: b"abc")
    assert Listed.of(b"abc").size == 3
    with pytest.raises(MissingArtefact):
        bytes_of(tmp_path / "two")
    assert contents(packed(tmp_path / "x.zip", {"b": b"2", "a": b"1"})) == {"a": b"1", "b": b"2"}


def test_a_score_that_no_verdict_believes_is_in_no_bundle(study, tmp_path):
    graph = moved(study, tmp_path)
    first, second = (
        next(score for place, score in read_plan(graph.study).scores.items() if place[1:] == ("strong", "miou", seed))
        for seed in (0, 1)
    )
    run, other = first.find_input("run"), second.find_input("run")
    shutil.rmtree(other.folder)
    shutil.copytree(run.folder, other.folder)  # one training under two names, by hand
    with pytest.raises(MissingArtefact) as caught:
        written(graph, tmp_path / "x.zip")
    assert str(other.folder) in str(caught.value.subject) and not (tmp_path / "x.zip").exists()
    shutil.rmtree(other.folder)
    run.record.unlink()
    with pytest.raises(MissingArtefact) as caught:
        written(graph, tmp_path / "x.zip")
    assert caught.value.subject == run.record and f"missing, and {first.id} is its score" in caught.value.found
