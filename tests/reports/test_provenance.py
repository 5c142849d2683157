"""What stands behind the cells: runs, costs, machines, digests, and what of it cannot be read."""

import pytest
from studies import graph_of

from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json, write_json
from swdb.reports.provenance import artefacts, iou_by_class, values
from swdb.reports.results import measure
from swdb.specs.tables import load_tables
from swdb.study.costs import read_cost
from swdb.study.plan import make_plan


@pytest.fixture
def study(finished, tmp_path):
    """The finished study with the scores of Table 2, in a place where a test may spoil it."""
    from commands import copied

    work = copied(finished, tmp_path)
    graph, table = graph_of(work), load_tables()[2]
    plan = make_plan(graph, [(table, row) for row in table.rows], [0, 1])
    return graph, table, {2: plan.cells(2)}


def made(study):
    graph, _, scores = study
    return artefacts(scores, lambda name: read_cost(graph.study.folder, name))


def test_every_value_has_its_run_and_the_digest_of_its_score(study):
    graph, table, scores = study
    listed, _ = made(study)
    found = values([measure(table, graph.runs, scores[2])], scores, listed)
    assert len(found) == 8 and {one.seed for one in found} == {0}
    first, score = found[0], scores[2]["weak", "miou"][0]
    assert (first.table, first.row, first.column) == (2, "single, 10k weak", "mIoU (%)")
    assert first.runs == (graph.run(graph.runs["weak"], 0).id,) and first.score == score.id
    spent = {one.id: one.seconds for one in listed}
    assert first.seconds == spent[first.runs[0]] + spent[score.id] > 0
    assert {one.seconds for one in values([measure(table, graph.runs, scores[2])], scores, [])} == {None}
    assert first.miou == score.read_record()["miou"] and score.digest().startswith(first.digest) and first.digest


def test_every_artefact_has_its_cost_its_machine_and_its_digest(study):
    found, problems = made(study)
    kinds = [one.kind for one in found]
    assert problems == [] and kinds[0] == "data" and kinds.index("weights") < kinds.index("run") < kinds.index("score")
    runs = [one for one in found if one.kind == "run"]
    assert len(runs) == 16 and sum(one.done for one in runs) == 8  # seed 1 was never run
    finished = next(one for one in runs if one.done)
    assert finished.seconds > 0 and finished.peak_mib > 0 and finished.machine.endswith("cpu, fp32, 1 threads")
    assert len(finished.digest) == 16
    lacking = next(one for one in runs if not one.done)
    assert (lacking.seconds, lacking.peak_mib, lacking.machine, lacking.digest) == (None, None, "", "")


def test_without_notes_of_costs_a_training_says_its_own_seconds(study):
    _, _, scores = study
    found, _ = artefacts(scores, lambda name: {})
    assert next(one for one in found if one.kind == "run" and one.done).seconds >= 0
    assert next(one for one in found if one.kind == "score" and one.done).seconds is None


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_damaged_record_is_named_and_the_others_are_shown(study, text):
    graph, _, _ = study
    run = graph.run(graph.runs["dual"], 0)
    run.record.write_text(text)
    found, problems = made(study)
    assert problems == [f"{run.id}: its record damaged"]
    assert {one.id: one.digest for one in found}[run.id] == ""


def test_a_record_of_another_form_says_less(study):
    graph, _, _ = study
    run = graph.run(graph.runs["dual"], 0)
    write_json(run.record, {"digest": 7, "machine": ["x"], "training": "long"})
    found, _ = made(study)
    one = {one.id: one for one in found}[run.id]
    assert one.done and (one.machine, one.digest) == ("", "")


def test_the_iou_of_classes_is_gathered_over_seeds(study):
    _, _, scores = study
    score = scores[2]["dual", "miou"][0]
    found = iou_by_class({0: score})
    said = score.read_record()["iou"]
    assert {name: one[0] if one else None for name, one in found.items()} == said
    assert [*found] == ["background", "alpha", "beta", "gamma", "delta", "epsilon"]


@pytest.mark.parametrize("iou", [None, [1.0], {"a": "x"}, {"a": 101.0}, {"a": float("nan")}])
def test_an_iou_that_cannot_be_is_refused(study, iou):
    _, _, scores = study
    score = scores[2]["dual", "miou"][0]
    write_json(score.record, read_json(score.record) | {"iou": iou})
    with pytest.raises(MissingArtefact) as error:
        iou_by_class({0: score})
    assert error.value.subject == score.record
