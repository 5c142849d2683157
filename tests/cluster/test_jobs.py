"""What becomes a job: one for each training with what belongs to it; and how jobs are noted."""

import pytest
from studies import graph_of

from swdb.cluster.jobs import Noted, as_jobs, jobs_path, needs_no_training, note_job, read_jobs
from swdb.core.errors import MissingArtefact
from swdb.specs.tables import CellSource


def made_by_jobs(graph, *artefacts):
    return as_jobs(one for one in graph.needed(*artefacts) if not needs_no_training(one))


@pytest.fixture
def graph(tmp_path):
    return graph_of(tmp_path / "work")


def test_what_needs_no_training_needs_no_job(graph):
    assert needs_no_training(graph.data)
    assert not any(
        map(needs_no_training, (graph.weights, graph.cues, graph.proxies(1), graph.run(graph.runs["strong"], 0)))
    )


def test_a_run_is_made_with_its_scores_and_a_set_of_proxies_with_its_report(graph):
    dual = graph.runs["dual"]
    scores = [graph.score(CellSource((dual,), branch), 0) for branch in ("strong", "weak")]
    jobs = made_by_jobs(graph, *scores)
    run, proxies = graph.run(dual, 0), graph.proxies(1)
    by_name = {job.name: [one.id for one in job.artefacts] for job in jobs}
    assert by_name[run.id] == [run.id, *(score.id for score in scores)]
    assert by_name[proxies.id] == [proxies.id, graph.quality(proxies).id, graph.dsrg_score(proxies).id]
    assert [job.artefacts[0].kind for job in jobs] == ["weights", "classifier", "cues", "proxies", "run"]


def test_jobs_come_after_those_that_make_what_they_need(graph):
    jobs = made_by_jobs(graph, *(graph.run(run, seed) for run in graph.runs.values() for seed in (0, 1)))
    assert len(jobs) > 30
    made = {graph.data.id}
    for job in jobs:
        assert {other.id for other in job.inputs} <= made, job.name
        made.update(artefact.id for artefact in job.artefacts)


def test_what_a_job_makes_itself_is_none_of_its_inputs(graph):
    dual = graph.runs["dual"]
    (job,) = (
        one for one in made_by_jobs(graph, graph.score(CellSource((dual,), "weak"), 0)) if one.name.startswith("dual")
    )
    assert [other.kind for other in job.inputs] == ["data", "weights", "proxies"]


def test_a_score_whose_run_is_there_is_a_job_of_its_own(graph):
    dual = graph.runs["dual"]
    scores = [graph.score(CellSource((dual,), branch), 0) for branch in ("strong", "weak")]
    (job,) = as_jobs(scores)
    assert job.name == scores[0].id and [one.id for one in job.artefacts] == [score.id for score in scores]
    assert graph.run(dual, 0).id in {other.id for other in job.inputs}


def test_the_score_of_several_runs_is_a_job_of_its_own(graph):
    source = CellSource((graph.runs["strong"], graph.runs["all-strong"]), "strong")
    jobs = made_by_jobs(graph, graph.score(source, 0))
    assert [job.artefacts[0].kind for job in jobs] == ["weights", "run", "run", "score"]
    assert all(len(job.artefacts) == 1 for job in jobs)


# ---------------------------------------------------------------- on disk


def test_jobs_are_read_as_they_were_noted(tmp_path):
    assert read_jobs(tmp_path) == {}
    note_job(tmp_path, ["dual-s0-1", "dual-s0-val-2"], "17", "dual-s0-1")
    note_job(tmp_path, ["table-4-tiny"], "18", "table-4-tiny")
    note_job(tmp_path, ["dual-s0-1"], "19", "dual-s0-1")
    found = read_jobs(tmp_path)
    assert {name: (one.job, one.name) for name, one in found.items()} == {
        "dual-s0-1": ("19", "dual-s0-1"),
        "dual-s0-val-2": ("17", "dual-s0-1"),
        "table-4-tiny": ("18", "table-4-tiny"),
    }
    assert isinstance(found["table-4-tiny"], Noted) and found["table-4-tiny"].submitted


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 1}', '{"version": 1, "jobs": {"a": {"jab": 1}}}', '{"version": 2, "jobs": {}}']
)
def test_a_damaged_list_of_jobs_is_refused(text, tmp_path):
    jobs_path(tmp_path).parent.mkdir()
    jobs_path(tmp_path).write_text(text)
    with pytest.raises(MissingArtefact) as caught:
        read_jobs(tmp_path)
    assert caught.value.subject == jobs_path(tmp_path)
