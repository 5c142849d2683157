"""How scores are planned: which folder, what the id depends on, and that a stage makes what it planned."""

import json
import shutil
from dataclasses import replace

import pytest
from studies import Watcher, changed, graph_of, runner

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput
from swdb.evaluation.stages import ScoreStage
from swdb.specs.presets import load_preset
from swdb.specs.tables import CellSource
from swdb.specs.tasks import Scoring
from swdb.study.graph import Graph

SCALES = (0.75, 1.0, 1.25)
STRONG = Scoring("strong")
SCORINGS = {
    "val-strong": STRONG,
    "val-weak": Scoring("weak"),
    "val-strong-flip": Scoring("strong", flip=True),
    "val-strong-0.75-1-1.25": Scoring("strong", SCALES),
    "val-strong-0.75-1-1.25-flip": Scoring("strong", SCALES, flip=True),
    "val-strong-crf-irn-labels": Scoring("strong", crf="irn-labels"),
    "val-strong-0.5-flip-crf-dsrg": Scoring("strong", (0.5,), True, "dsrg"),
}


@pytest.fixture
def graph(tmp_path) -> Graph:
    return graph_of(tmp_path / "work")


def runs(graph: Graph, *names: str, seed: int = 0) -> tuple[Artefact, ...]:
    return tuple(graph.run(graph.run_spec(name), seed) for name in names)


def planned(graph: Graph, *names: str, scoring: Scoring = STRONG, seed: int = 0) -> Artefact:
    return ScoreStage().artefact(graph.study, graph.data, runs(graph, *names, seed=seed), scoring)


@pytest.mark.parametrize("name", SCORINGS)
def test_every_way_of_scoring_a_run_has_a_folder_of_its_own_below_the_run(graph, name):
    score, (run,) = planned(graph, "dual", scoring=SCORINGS[name]), runs(graph, "dual")
    assert score.folder == run.folder / "evals" / name
    assert score.record == score.folder / "result.json"
    assert score.name == f"dual-s0-{name}"
    assert score.inputs == (graph.data, run)


def test_the_score_of_an_average_lies_among_the_averages_under_its_id(graph):
    score = planned(graph, "strong", "mixed", seed=1)
    assert score.name == "strong-s1+mixed-s1-val-strong" and score.id.startswith(f"{score.name}-")
    assert score.folder == graph.study.folder / "averages" / score.id
    assert score.record == score.folder / "result.json"
    assert score.inputs == (graph.data, *runs(graph, "strong", "mixed", seed=1))


def test_an_id_tells_scores_apart(graph, tmp_path):
    shrunk = graph_of(tmp_path / "work", changed(load_preset("synthetic"), "training", longest_side=20))
    plain = graph_of(tmp_path / "work", "synthetic")
    scores = [
        *(planned(graph, "dual", scoring=scoring) for scoring in SCORINGS.values()),
        planned(graph, "dual", seed=1),
        planned(graph, "strong"),
        planned(graph, "strong", "mixed"),
        planned(graph, "mixed", "strong"),
        planned(graph, "strong", "mixed", scoring=Scoring("strong", flip=True)),
        planned(plain, "dual"),
        planned(shrunk, "dual"),
    ]
    assert len({score.id for score in scores}) == len({score.folder for score in scores}) == len(scores)
    assert planned(graph, "dual").id == planned(graph_of(graph.study.folder), "dual").id


def test_the_key_says_what_differs_from_the_plain_way_of_scoring(graph):
    # so that a way that is added later leaves the ids of earlier scores as they are
    assert planned(graph, "dual").key == {"branch": "strong"}
    key = planned(graph, "dual", scoring=Scoring("weak", SCALES, True, "dsrg")).key
    assert key == {"branch": "weak", "scales": [0.75, 1.0, 1.25], "flip": True, "crf": "dsrg"}
    assert json.loads(json.dumps(key)) == key


def test_images_are_seen_as_large_as_the_runs_were_trained_on_them(graph):
    shrunk = graph_of(graph.study.folder, changed(load_preset("synthetic"), "training", longest_side=20))
    assert planned(shrunk, "dual").task.longest_side == 20 and planned(graph, "dual").task.longest_side == 0


def test_scores_of_a_later_version_leave_those_of_the_first_where_they_are(graph):
    stage = ScoreStage()
    stage.version = 2
    run = runs(graph, "dual")
    later, first = stage.artefact(graph.study, graph.data, run, STRONG), planned(graph, "dual")
    assert later.id != first.id and later.folder == first.folder.with_name("val-strong-v2")
    average = stage.artefact(graph.study, graph.data, runs(graph, "strong", "mixed"), STRONG)
    assert average.folder != planned(graph, "strong", "mixed").folder


def test_runs_of_another_data_set_or_list_of_classes_are_not_averaged(graph, tmp_path):
    animals = graph_of(tmp_path / "other", "voc-animals")
    (run,) = runs(graph, "mixed")
    mixture = (*runs(graph, "strong"), replace(run, inputs=(animals.data,)))
    with pytest.raises(BadInput) as caught:
        ScoreStage().artefact(graph.study, graph.data, mixture, STRONG)
    error = caught.value
    assert error.subject == "run mixed-s0" and animals.data.id in error.found and graph.data.id in error.expected
    assert "classes cat, cow" in error.found and "6 classes" in error.expected


def test_a_planned_average_is_made_of_finished_runs_and_of_nothing_else(finished, tmp_path):
    made = graph_of(finished)
    graph = graph_of(tmp_path / "work")
    kept = shutil.ignore_patterns("evals")
    for there, here in zip(
        (made.data, *runs(made, "strong", "mixed")), (graph.data, *runs(graph, "strong", "mixed")), strict=True
    ):
        shutil.copytree(there.folder, here.folder, ignore=kept)
    spec = tuple(graph.run_spec(name) for name in ("strong", "mixed"))
    score, watcher = graph.score(CellSource(spec, "strong"), 0), Watcher()
    runner(watcher).make([score])
    assert score.done and score.name in watcher.stages
    record = score.read_record()
    assert record["key"] == score.key and set(record["inputs"]) == {other.id for other in score.inputs}
    assert record["run"] == "+".join(run.id for run in runs(graph, "strong", "mixed")) and 0 <= record["miou"] <= 100
    assert len(list((score.folder / "predictions").glob("*.png"))) == record["images"] == 6
