"""What became of each artefact of a plan: told from records, leases, journals and the queue alone."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from studies import graph_of

from swdb.cluster import status
from swdb.cluster.jobs import Noted
from swdb.cluster.slurm import Queued
from swdb.cluster.status import WORDS, counts, states
from swdb.core import lease
from swdb.core.journal import Journal
from swdb.core.lease import STALE, Lease
from swdb.specs.tables import CellSource
from swdb.study.plan import Place, Plan


@pytest.fixture
def graph(tmp_path):
    return graph_of(tmp_path / "work")


@pytest.fixture
def work(tmp_path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def planned(graph, *names: str, seeds=(0,)) -> Plan:
    places = {}
    for seed in seeds:
        for name in names:
            run = graph.runs[name]
            places[Place(2, name, "miou", seed)] = graph.score(CellSource((run,), run.branches[0]), seed)
    return Plan({}, places)


def finish(artefact) -> None:
    artefact.folder.mkdir(parents=True, exist_ok=True)
    artefact.record.write_text('{"digest": "0"}')


def the_state(work, plan, artefact, jobs=None, queued=None):
    found = {state.artefact.id: state for state in states(work, plan, jobs or {}, queued)}
    return found[artefact.id]


@pytest.fixture
def case(graph, work):
    """A plan of one run, the run, and a way to ask for its state."""
    plan, run = planned(graph, "strong"), graph.run(graph.runs["strong"], 0)
    return run, lambda jobs=None, queued=None: the_state(work, plan, run, jobs, queued)


def test_all_that_a_plan_is_made_of_is_listed_inputs_first(graph, work):
    found = states(work, planned(graph, "strong"))
    assert [state.artefact.kind for state in found] == ["data", "weights", "run", "score"]
    assert {state.word for state in found} == {"to do"}


def test_what_has_a_record_is_done_whatever_else_there_is(case, work):
    run, ask = case
    finish(run)
    Journal(work, run.id).note("error: an old one")
    assert ask().word == "done"


def test_what_is_made_here_is_running_and_says_where_since_when_and_how_far(case, work):
    run, ask = case
    held = Lease(run.folder, "swdb train strong")
    assert held.try_take()
    try:
        Journal(work, run.id).note("strong-s0: 120 of 400")
        found = ask()
    finally:
        held.release()
    assert (found.word, found.where, found.line) == ("running", lease.platform.node(), "strong-s0: 120 of 400")
    assert found.since == held_since(found)
    assert ask().word == "to do" and ask().line == "strong-s0: 120 of 400"  # as an interrupted one is


def held_since(state) -> str:
    assert time.strptime(state.since, "%Y-%m-%d %H:%M:%S")
    return state.since


def test_a_dead_holder_has_lost_it(case, work, monkeypatch):
    run, ask = case
    held = Lease(run.folder)
    assert held.try_take()
    Journal(work, run.id).note("strong-s0: 120 of 400")
    monkeypatch.setattr(lease, "process_start", lambda pid: "another time")
    found = ask()
    held.release()
    assert found.word == "lost"
    assert found.line == f"process {os.getpid()} is gone; last: strong-s0: 120 of 400"


@pytest.mark.parametrize("hour", [-3600, 0, 3600])
@pytest.mark.parametrize(("silent", "word"), [(0, "running"), (STALE - 20, "running"), (STALE + 20, "lost")])
def test_a_silent_holder_elsewhere_has_lost_it_however_the_clocks_differ(case, monkeypatch, hour, silent, word):
    run, ask = case
    monkeypatch.setattr(lease, "this_machine", lambda: "another")
    held = Lease(run.folder)
    assert held.try_take()
    monkeypatch.setattr(lease, "this_machine", lambda: "this one")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + hour)  # this machine's clock, which nobody asks
    (sign,) = (held.folder / f"{held.epoch}.rw" / "holders").iterdir()
    heard = sign.stat().st_mtime - silent
    os.utime(sign, (heard, heard))
    found = ask()
    held.release()
    assert found.word == word
    assert ("has been silent for" in found.line) == (word == "lost")


def test_on_a_disk_that_takes_nothing_silence_cannot_be_told(case, monkeypatch):
    run, ask = case
    monkeypatch.setattr(lease, "this_machine", lambda: "another")
    held = Lease(run.folder)
    assert held.try_take()
    monkeypatch.setattr(lease, "this_machine", lambda: "this one")
    monkeypatch.setattr(status, "now_on_disk", lambda folder: None)
    assert ask().word == "running"
    held.release()


def test_what_failed_says_why(case, work):
    run, ask = case
    journal = Journal(work, run.id)
    journal.begin()
    journal.note("error: strong-s0: the loss is [nan] at step 3: the training diverged")
    found = ask()
    assert found.word == "failed" and found.line == "strong-s0: the loss is [nan] at step 3: the training diverged"


@pytest.mark.parametrize(
    ("queued", "word", "line"),
    [
        (Queued("NAME", "PENDING", "", "Dependency"), "queued", "Dependency"),
        (Queued("NAME", "RUNNING", "n7", "None"), "running", ""),
        (Queued("NAME", "CANCELLED", "", "DependencyNeverSatisfied"), "lost", "its job is gone (cancelled)"),
        (Queued("another", "PENDING", "", ""), "lost", "its job is gone (the queue knows nothing of it)"),
        (None, "lost", "its job is gone (the queue knows nothing of it)"),
    ],
)
def test_what_has_a_job_is_as_the_queue_says(case, queued, word, line):
    run, ask = case
    jobs = {run.id: Noted("17", run.id, "2026-01-01 00:00:00")}
    known = {} if queued is None else {"17": replace(queued, name=run.id) if queued.name == "NAME" else queued}
    found = ask(jobs, known)
    assert (found.word, found.line, found.job) == (word, line, "17")


def test_a_queue_that_cannot_be_asked_leaves_open_what_became_of_a_job(case):
    run, ask = case
    found = ask({run.id: Noted("17", run.id)}, None)
    assert (found.word, found.line) == ("queued", "no queue can be asked here")


def test_a_failed_one_that_was_submitted_again_is_queued(case, work):
    run, ask = case
    Journal(work, run.id).note("error: the disk is full")
    assert ask({run.id: Noted("17", run.id)}, {}).word == "failed"
    assert ask({run.id: Noted("18", run.id)}, {"18": Queued(run.id, "PENDING", "", "None")}).word == "queued"


def test_states_are_counted(graph, work):
    finish(graph.data)
    assert counts(states(work, planned(graph, "strong"))) == {**dict.fromkeys(WORDS, 0), "done": 1, "to do": 3}


def test_a_study_of_two_thousand_artefacts_is_looked_at_with_few_reads(graph, work, monkeypatch):
    seeds = range(1000)
    plan = planned(graph, "strong", seeds=seeds)
    runs = [graph.run(graph.runs["strong"], seed) for seed in seeds]
    for run in runs[:500]:
        finish(run)
        Journal(work, run.id).note("error: an old one")
    for run in runs[500:510]:
        Journal(work, run.id).note("error: the disk is full")
    held = Lease(runs[510].folder)
    assert held.try_take()
    calls: dict[str, int] = {"listed": 0, "opened": 0}
    listed, opened = os.listdir, Path.open

    def count_listed(path):
        calls["listed"] += 1
        return listed(path)

    def count_opened(path, *arguments, **options):
        calls["opened"] += 1
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "listdir", count_listed)
    monkeypatch.setattr(Path, "open", count_opened)
    found = states(work, plan)
    monkeypatch.undo()
    held.release()
    assert len(found) == 2002
    number = counts(found)
    assert (number["done"], number["failed"], number["running"]) == (500, 10, 1)
    assert calls["opened"] <= 10 + 20 + 5  # journals of what failed; notes and signs of the one lease
    assert calls["listed"] <= 1000 + 20  # one for each folder of a score that is not there yet, at most
