"""`swdb make`: exactly the artefacts that are named, and nothing else."""

import json
import shutil
from pathlib import Path

import pytest
from commands import FP32, call, contents, hinted_command, only, succeed, the_error, the_hint
from conftest import TINY

from swdb.cli import progress
from swdb.cli.make import find
from swdb.core.lease import Lease
from swdb.specs.tables import CellSource, all_runs, load_tables
from swdb.study import runner
from swdb.study.graph import Graph
from swdb.study.workdir import open_study


def graph_in(work: Path) -> Graph:
    return Graph(open_study(work, TINY, "fp32"), all_runs(load_tables()))


def folders(work: Path) -> set[str]:
    """Name all artefacts that are there, finished or not."""
    kinds = ("data", "weights", "classifiers", "cues", "proxies", "runs", "averages")
    return {path.name for kind in kinds for path in (work / kind).glob("[!.]*")}


def make(work: Path, *words: object):
    return call("make", *words, *FP32, "--workdir", work)


# ---------------------------------------------------------------- exactly these


def test_what_is_named_is_made_and_nothing_else(prepared):
    graph = graph_in(prepared)
    result = succeed("make", graph.weights.id, *FP32, "--workdir", prepared)
    assert result.stdout == f"{graph.weights.folder}\n"
    assert folders(prepared) == {"tiny", graph.weights.id}
    assert not (prepared / "precision.json").exists()  # it was typed


def test_several_are_made_in_the_order_in_which_they_can_be(prepared, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    graph = graph_in(prepared)
    strong, all_strong = (graph.run(graph.runs[name], 1) for name in ("strong", "all-strong"))
    result = succeed("make", all_strong.id, strong.id, graph.weights.id, *FP32, "--workdir", prepared)
    assert folders(prepared) == {"tiny", graph.weights.id, strong.id, all_strong.id}
    assert sorted(result.stdout.splitlines()) == sorted(
        str(artefact.folder) for artefact in (graph.weights, strong, all_strong)
    )
    stages = [line.split(" ...")[0] for line in result.stderr.splitlines() if line.endswith(" ...")]
    assert stages.index("pretext") < stages.index("strong-s1")


def test_a_data_set_that_can_be_drawn_is_made(tmp_path):
    work = tmp_path / "work"
    data = graph_in(work).data
    succeed("make", data.id, *FP32, "--workdir", work)
    assert (data.folder / "manifest.json").is_file()
    assert folders(work) == {"tiny"}


@pytest.mark.parametrize("missing", ["weights/pretext-*", "proxies/dsrg-1-*", "data/tiny"])
def test_what_lacks_an_input_is_refused_with_the_input_s_command(own, missing):
    run = only(own, "runs/dual-s0-*")
    shutil.rmtree(run)
    lost = only(own, missing)
    shutil.rmtree(lost)
    result = make(own, run.name)
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{lost}: ") and run.name in the_error(result)
    assert not run.exists()
    command = hinted_command(result)
    assert command[:2] == (["prepare-voc", "--preset"] if lost.name == "tiny" else ["make", lost.name])


def test_a_score_can_be_made_alone(own):
    graph = graph_in(own)
    score = graph.score(CellSource((graph.runs["dual"],), "weak"), 0)
    before = json.loads(score.record.read_text())["digest"]
    shutil.rmtree(score.folder)
    succeed("make", score.id, *FP32, "--workdir", own)
    assert score.digest() == before


# ---------------------------------------------------------------- what is done


def test_what_is_done_is_left_alone(own):
    named = [only(own, pattern) for pattern in ("runs/dual-s0-*", "proxies/dsrg-2-*", "weights/pretext-*")]
    before = contents(own)
    result = succeed("make", *(path.name for path in named), *FP32, "--workdir", own)
    assert set(result.stdout.splitlines()) == {str(path) for path in named}
    assert result.stderr == ""
    assert contents(own) == before


def test_what_is_done_stays_done_though_its_inputs_are_gone(own):
    run = only(own, "runs/dual-s0-*")
    shutil.rmtree(only(own, "weights/pretext-*"))
    assert make(own, run.name).exit_code == 0


def test_what_is_done_stays_done_beside_what_is_still_to_do(own):
    graph = graph_in(own)
    run = graph.run(graph.runs["dual"], 0)
    score = graph.score(CellSource((graph.runs["dual"],), "weak"), 0)
    shutil.rmtree(score.folder)
    shutil.rmtree(graph.weights.folder)
    succeed("make", run.id, score.id, *FP32, "--workdir", own)
    assert score.done and not graph.weights.folder.exists()


def test_again_makes_the_same_bytes_and_leaves_everything_else(own):
    run = only(own, "runs/dual-s0-*")
    before = contents(own / "runs") | contents(own / "proxies") | contents(own / "weights")
    succeed("make", run.name, "--again", *FP32, "--workdir", own)
    after = contents(own / "runs") | contents(own / "proxies") | contents(own / "weights")
    others = [name for name in before if not name.startswith(run.name)]
    assert len(others) > 100
    assert {name: after[name] for name in others} == {name: before[name] for name in others}
    for name in ("weights.pt", "samples.json"):
        (old_time, old), (new_time, new) = before[f"{run.name}/{name}"], after[f"{run.name}/{name}"]
        assert new == old and new_time > old_time
    assert not (run / "evals").exists()


def test_again_of_a_quality_report_leaves_the_masks(own):
    graph = graph_in(own)
    quality = graph.quality(graph.proxies(1))
    before = contents(quality.folder)
    succeed("make", quality.id, "--again", *FP32, "--workdir", own)
    after = contents(quality.folder)
    assert after["quality.json"][0] > before["quality.json"][0]
    assert after["quality.json"][1] == before["quality.json"][1]
    assert {name: after[name] for name in before if not name.startswith("quality")} == {
        name: before[name] for name in before if not name.startswith("quality")
    }


def test_again_deletes_nothing_that_could_not_be_made_again(own):
    run = only(own, "runs/dual-s0-*")
    lost = only(own, "weights/pretext-*")
    shutil.rmtree(lost)
    before = contents(run)
    result = make(own, run.name, "--again")
    assert result.exit_code == 3
    assert hinted_command(result)[:2] == ["make", lost.name]
    assert contents(run) == before


def test_a_data_set_is_not_deleted(own):
    data = graph_in(own).data
    before = contents(data.folder)
    result = make(own, data.id, "--again")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{data.folder}: ")
    assert hinted_command(result)[:2] == ["prepare-voc", "--again"]
    assert contents(data.folder) == before


def test_nothing_is_deleted_where_one_of_several_is_refused(own):
    data, run = graph_in(own).data, only(own, "runs/strong-s0-*")
    result = make(own, run.name, data.id, "--again")
    assert result.exit_code == 3
    assert (run / "done.json").is_file()


# ---------------------------------------------------------------- ids


def test_ids_are_those_that_a_plan_shows(own):
    plan = succeed("reproduce-table", "all", "--seeds", "1", "--dry-run", *FP32, "--workdir", own).stdout
    shown = [
        words[-1] for line in plan.splitlines() if (words := line.split()) and "-" in words[-1] and " done " in line
    ]
    assert len(shown) > 20
    result = succeed("make", *shown, *FP32, "--workdir", own)
    assert len(result.stdout.splitlines()) == len(shown)


@pytest.mark.parametrize("word", ["nothing", "dual-s0", "dual-s0-0000000000"])
def test_an_id_that_is_not_planned_is_refused(own, word):
    before = contents(own / "runs")
    result = make(own, word)
    assert result.exit_code == 2
    assert the_error(result) == f"id {word!r}: unknown"
    assert contents(own / "runs") == before


def test_an_id_that_is_nearly_right_gets_the_one_that_was_meant(own):
    identity = only(own, "runs/dual-s0-*").name
    assert the_hint(make(own, identity[:-1])) == f"did you mean {identity!r}?"


def test_an_id_that_is_like_nothing_gets_the_command_that_shows_ids(own):
    command = hinted_command(make(own, "nothing"))
    assert command[:3] == ["reproduce-table", "all", "--dry-run"]
    succeed(*command)


# ---------------------------------------------------------------- two at once


def test_what_another_process_makes_is_waited_for_and_not_made_twice(own, tmp_path, monkeypatch):
    run = only(own, "runs/strong-s0-*")
    aside = run.rename(tmp_path / "aside")
    lease = Lease(run, "the other one")
    assert lease.try_take()

    def finish(seconds: float) -> None:  # the other process is done while this one sleeps
        if not run.exists():
            aside.rename(run)
            lease.release()

    monkeypatch.setattr(runner.time, "sleep", finish)
    result = succeed("make", run.name, *FP32, "--workdir", own)
    lines = result.stderr.splitlines()
    assert [line for line in lines if line.startswith("waiting for ")] == lines[-1:]
    assert lines[-1].startswith(f"waiting for {run.name}, held by process ") and "the other one" in lines[-1]
    assert "strong-s0 ..." not in lines


def test_a_run_of_any_seed_is_found_by_its_id(own):
    graph = graph_in(own)
    artefacts = [graph.run(graph.runs["dual"], 4321), graph.score(CellSource((graph.runs["dual"],), "weak"), 123456)]
    assert [one.id for one in find(graph, [one.id for one in artefacts])] == [one.id for one in artefacts]
