"""What stands where in a bundle."""

from pathlib import Path

from conftest import TINY
from drawn import drawn_study

from swdb.evidence.layout import About, finished, folders_of, missing, place_of, study_of, versions_here
from swdb.specs.presets import load_preset
from swdb.study.plan import read_plan


def test_folders_hold_folders_and_files_each_once():
    found = folders_of(["a/b/one", "a/b/two", "a/three", "four"])
    assert found == {"./": ["a/", "four"], "a/": ["a/b/", "a/three"], "a/b/": ["a/b/one", "a/b/two"]}


def test_what_is_planned_is_finished_or_missing_and_the_bundle_says_which(tmp_path):
    graph = drawn_study(tmp_path, [0], rows={"strong"})
    plan = read_plan(graph.study)
    score = next(iter(plan.scores.values()))
    score.record.unlink()
    assert [one.id for one in missing(plan)] == [score.id] and score not in finished(plan)
    said = About("tiny", (1,), "2026-01-01", {}).to_json(plan)
    assert said["missing"] == [{"id": score.id, "kind": "score"}] and said["seeds"] == []
    assert said["format"] == "swdb bundle" and said["version"] == 1


def test_an_artefact_lies_where_it_lay_in_the_work_directory(study):
    run = study.run(study.run_spec("dual"), 0)
    assert place_of(run, study.study.folder) == f"runs/{run.id}"


def test_a_study_is_opened_from_what_its_plan_says_without_the_files_that_were_named():
    planned = {"precision": "bf16", "files": {"cues": {"file": "d" * 64}}}
    found = study_of(Path("anywhere"), load_preset(TINY), planned)
    assert found.precision == "bf16" and found.files["cues"].digests == {"file": "d" * 64}
    assert not found.files["cues"].path.exists()


def test_versions_are_those_of_what_is_installed():
    assert {"swdb", "numpy", "scipy"} <= versions_here().keys()
