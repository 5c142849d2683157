"""What goes into a bundle, and what does not."""

from pathlib import Path

import pytest
from bundles import contents
from cued import graph as cued_graph
from drawn import drawn_study, finish
from studies import graph_of

from swdb.core.files import tree_root, write_text
from swdb.core.progress import silent
from swdb.evidence.bundle import bundle
from swdb.evidence.bundle_reader import loads
from swdb.evidence.gather import finished_day, gathered, plan_text
from swdb.evidence.rescore import rescored
from swdb.specs.presets import as_toml
from swdb.specs.tables import load_tables
from swdb.study.plan import from_json, read_plan


def test_scores_records_specs_plan_journals_and_true_masks_of_drawn_scenes_are_in_it(ours, study):
    names, dual = contents(ours).keys(), study.run(study.run_spec("dual"), 0)
    place = f"runs/{dual.id}"
    assert {
        f"{place}/done.json",
        f"{place}/evals/val-strong/confusion.npz",
        f"{place}/evals/val-weak/result.json",
    } <= names
    assert {"specs/tiny.toml", "specs/table3.toml", "reports/tiny/plan.json", f"logs/{dual.id}.log"} <= names
    assert sum("predictions/" in name and place in name for name in names) == 2 * 6
    assert sum(name.startswith("data/tiny/VOCdevkit") and name.endswith(".png") for name in names) == 6
    assert not any(name.endswith((".pt", ".npy", ".jpg")) for name in names)


def test_the_digests_of_the_data_set_come_to_its_own(ours):
    files = contents(ours)
    found = tree_root({Path(name): one for name, one in loads(files["data/tiny/contents.json"]).items()})
    assert (
        found
        == loads(files["data/tiny/manifest.json"])["digest"]
        == loads(files["data/tiny/report.json"])["audit"]["tree_root"]
    )


def test_the_plan_is_read_back_as_it_was(study):
    plan = read_plan(study.study)
    again = from_json(study.study, loads(plan_text(study.study, plan).encode()), Path("plan.json"))
    assert {place: one.id for place, one in again.scores.items()} == {
        place: one.id for place, one in plan.scores.items()
    }


def test_the_day_is_that_of_the_last_journal_or_record(tmp_path, study):
    plan = read_plan(study.study)
    day = finished_day(study.study, plan)
    journals = sorted((study.study.folder / "logs").glob("*.log"))
    assert day == max(path.read_text().splitlines()[-1][:10] for path in journals)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A study of six photographs whose runs are drawn, and its bundle."""
    folder = tmp_path_factory.mktemp("photographs")
    graph = cued_graph(folder)
    finish(graph, [0])
    quality = graph.proxies(1).folder / "quality.md"
    write_text(quality, "Quality\n\n![20 worst](quality.jpg)\n")
    (quality.parent / "quality.jpg").write_bytes(b"a picture of photographs")
    write_text(quality.with_suffix(".json"), "{}\n")
    output = folder / "photographs.zip"
    plan = read_plan(graph.study)
    bundle(graph.study, plan, as_toml(graph.study.preset), load_tables(), [1, 2, 3, 4], output, silent)
    return graph, output


def test_of_photographs_neither_masks_nor_pictures_are_in_it_but_lists_and_digests(photographs):
    graph, path = photographs
    files = contents(path)
    assert not any(name.startswith("data/") and name.endswith((".png", ".jpg")) for name in files)
    assert not any(b"a picture of photographs" in content for content in files.values())
    text = files[f"proxies/{graph.proxies(1).id}/quality.md"].decode()
    assert ".jpg" not in text and "not published" in text
    assert files["data/mini/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"].split() == [
        b"2007_000005",
        b"2007_000006",
    ]


def test_photographs_are_rescored_with_their_data_set_or_work_directory(photographs):
    graph, path = photographs
    for data in (graph.study.folder, graph.data.folder):
        with rescored(path, data, silent) as found:
            assert found.findings == [] and found.predictions > 20


def test_named_files_are_known_by_their_digests(photographs):
    graph, path = photographs
    assert loads(contents(path)["digests.json"])["files"] == {"cues": graph.study.files["cues"].digests["file"]}
    assert graph_of(graph.study.folder).study.folder == graph.study.folder
    assert "mini" in str(sorted(gathered(graph.study, read_plan(graph.study), "", silent)))


def test_what_was_registered_before_the_runs_goes_with_them(tmp_path):
    graph = drawn_study(tmp_path, [0], rows={"strong"})
    run = graph.run(graph.run_spec("strong"), 0)
    write_text(tmp_path / "preregistration.json", "[]\n")
    write_text(run.folder / "registered.json", "{}\n")
    found = gathered(graph.study, read_plan(graph.study), "", silent)
    assert found["preregistration.json"] == tmp_path / "preregistration.json"
    assert found[f"runs/{run.id}/registered.json"] == run.folder / "registered.json"
