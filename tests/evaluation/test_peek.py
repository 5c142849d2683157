"""A run's training once more, scored on its way: the same end, val opened here alone, kills that cost nothing."""

import shutil
from dataclasses import replace

import pytest
from conftest import other_data
from studies import CPU, Watcher, graph_of, runner

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import read_json, write_json
from swdb.data.facts import VAL_SPLIT
from swdb.evaluation import peek as peeking
from swdb.evaluation.peek import best, peek, steps_of
from swdb.nn import trainer
from swdb.nn.compute import prepare_process
from swdb.specs.tables import CellSource
from swdb.study.graph import Graph
from swdb.study.runner import Runner


@pytest.fixture
def graph(finished, tmp_path) -> Graph:
    return graph_of(shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns(".leases")))


@pytest.fixture(autouse=True)
def one_thread():
    prepare_process(1)  # as the command line trained what is finished


def planned(graph: Graph, name: str = "dual"):
    return graph.peek(graph.run_spec(name), 0)


def stored(graph: Graph, name: str, branch: str) -> float:
    return graph.score(CellSource((graph.run_spec(name),), branch), 0).read_record()["miou"]


# ---------------------------------------------------------------- what it finds


@pytest.mark.parametrize("name", ["dual-n1", "strong", "weak-then-strong"])
def test_it_ends_with_the_run_s_own_weights_and_with_its_score(graph, name):
    artefact, run = planned(graph, name), graph.run(graph.run_spec(name), 0)
    runner().make([artefact])
    record = artefact.read_record()
    assert (record["run"], record["weights"]) == (run.id, run.digest())
    tables = {
        b: stored(graph, name, b) for b in run.task.run.branches if graph.score(CellSource((run.task.run,), b), 0).done
    }
    assert tables and {branch: record["last"][branch] for branch in tables} == tables
    assert list(record["curve"]) == ["1", "2", "3", "4", "5", "6"] and set(record["last"]) == set(run.task.run.branches)
    for branch, found in record["best"].items():
        values = {int(step): by_branch[branch] for step, by_branch in record["curve"].items()}
        assert found["miou"] == max(values.values()) == values[found["step"]]


def test_nothing_of_it_lies_among_runs_and_no_weights_are_kept(graph):
    artefact = planned(graph)
    runs = {path: path.stat().st_mtime_ns for path in (graph.study.folder / "runs").rglob("*") if path.is_file()}
    runner().make([artefact])
    assert artefact.folder.parent == graph.study.folder / "peeks"
    assert sorted(path.name for path in artefact.folder.iterdir()) == ["curve.json", "done.json", "log.jsonl"]
    assert {
        path: path.stat().st_mtime_ns for path in (graph.study.folder / "runs").rglob("*") if path.is_file()
    } == runs


def test_its_log_is_the_run_s(graph):
    artefact, run = planned(graph), graph.run(graph.run_spec("dual"), 0)
    runner().make([artefact])
    assert (artefact.folder / "log.jsonl").read_bytes() == (run.folder / "log.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("steps", "points", "expected"),
    [(1000, 10, list(range(100, 1001, 100))), (6, 10, [1, 2, 3, 4, 5, 6]), (13, 4, [3, 6, 10, 13]), (1, 10, [1])],
)
def test_a_training_is_looked_at_at_equal_distances_and_at_its_end(steps, points, expected):
    assert steps_of(steps, points) == expected


def test_of_equal_scores_the_first_is_the_best_so_far():
    scores = {
        "100": {"strong": 2.0, "weak": 1.0},
        "20": {"strong": 2.0, "weak": 3.0},
        "3": {"strong": 1.0, "weak": 3.0},
    }
    assert best(scores) == {"strong": {"step": 20, "miou": 2.0}, "weak": {"step": 3, "miou": 3.0}}


# ---------------------------------------------------------------- val, other ends


def test_val_is_opened_by_looking_alone(graph, monkeypatch):
    artefact = planned(graph)
    made_by = runner()
    dataset = made_by.dataset(graph.data)
    for image_id in dataset.ids(VAL_SPLIT):
        dataset.mask_path(image_id, VAL_SPLIT).unlink()
    monkeypatch.setattr(peeking, "scores", lambda *_: {"strong": 1.0, "weak": 1.0})
    made_by.make([artefact])  # the training part does without
    assert artefact.done


def test_another_end_is_refused_whatever_it_scored(graph):
    artefact, run = planned(graph), graph.run(graph.run_spec("dual"), 0)
    write_json(run.record, run.read_record() | {"digest": "0" * 64})
    made_by = runner()
    for _ in range(2):  # and the second time at once
        with pytest.raises(BadInput, match="ended with other weights than dual-s0-"):
            peek(artefact, made_by)
    assert not artefact.done


def test_another_machine_is_said_before_hours_are_spent(graph):
    artefact, run = planned(graph), graph.run(graph.run_spec("strong"), 0)
    artefact = planned(graph, "strong")
    record = run.read_record()
    write_json(run.record, record | {"machine": record["machine"] | {"name": "of another kind"}})
    watcher = Watcher()
    runner(watcher).make([artefact])
    (line,) = [line for line in watcher.lines if "its end may be another one" in line]
    assert "of another kind" in line and artefact.done  # it was the same in the end


def test_a_run_that_was_made_from_other_bytes_is_refused(graph):
    other_data(graph.study.folder)
    with pytest.raises(MissingArtefact):
        runner().make([planned(graph)])


# ---------------------------------------------------------------- kills


def test_after_a_kill_it_goes_on_and_looks_at_no_step_twice(graph, monkeypatch):
    artefact = planned(graph)
    whole = planned(graph_of(graph.study.folder))
    runner().make([whole])
    expected = whole.read_record()
    shutil.rmtree(artefact.folder)
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    real, seen = peeking.scores, []

    def killed(*arguments):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(1)
        return real(*arguments)

    monkeypatch.setattr(peeking, "scores", killed)
    with pytest.raises(KeyboardInterrupt):
        runner().make([artefact])
    assert len(read_json(artefact.folder / "curve.json")["scores"]) == 3 and not artefact.done
    later = []
    monkeypatch.setattr(peeking, "scores", lambda *arguments: later.append(1) or real(*arguments))
    runner().make([artefact])
    assert len(later) == 3
    found = artefact.read_record()
    assert {name: found[name] for name in ("curve", "best", "last", "digest", "weights")} == {
        name: expected[name] for name in ("curve", "best", "last", "digest", "weights")
    }


def test_what_another_machine_began_is_begun_again(graph, monkeypatch):
    artefact = planned(graph, "strong")
    write_json(artefact.folder / "curve.json", {"machine": {"name": "other"}, "scores": {"1": {"strong": 99.0}}})
    (artefact.folder / "checkpoint.pt").write_bytes(b"of another machine")
    runner().make([artefact])
    assert artefact.read_record()["curve"]["1"]["strong"] < 99


def test_a_compute_of_another_kind_is_told(graph):
    watcher = Watcher()
    compute = replace(CPU, precision="bf16")
    artefact = planned(graph, "strong")
    with pytest.raises(BadInput, match="ended with other weights"):
        Runner(compute, watcher).make([artefact])
    assert any("its end may be another one" in line for line in watcher.lines)
