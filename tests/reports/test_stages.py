"""The stage of tables: rendered from the scores that are finished, again whenever it is asked for."""

import json
from dataclasses import replace

import pytest
from made_up import RUNS, TABLE, judged, scores_in
from studies import study_of

from swdb.core.artefact import Artefact
from swdb.reports.results import as_json, measure
from swdb.reports.stages import TableStage
from swdb.reports.tables import render, report_paths
from swdb.specs.study import Study

STAGE = TableStage()


@pytest.fixture
def study(tmp_path) -> Study:
    return study_of(tmp_path)


@pytest.fixture
def scores(tmp_path):
    return scores_in(tmp_path)


def planned(study: Study, scores, table=TABLE) -> Artefact:
    """Plan a table with the ledger of what is finished of it."""
    return STAGE.artefact(study, table, RUNS, scores, judged(measure(table, RUNS, scores)))


def test_a_table_lies_among_the_reports_of_its_preset(study, scores):
    table = planned(study, scores)
    assert table.record == study.reports / "table9.json" and table.leased_path == table.record
    assert table.kind == "table" and table.steps == 0 and not table.done


def test_a_table_is_made_from_the_scores_behind_its_cells_each_once(study, scores):
    table = planned(study, scores | {("again", "strong"): scores["plain", "strong"]})
    assert len(table.inputs) == 3 + 3 + 3 + 2 + 3 + 1
    assert {one.id for one in table.inputs} == {one.id for by_seed in scores.values() for one in by_seed.values()}


def test_other_scores_another_table_or_preset_are_another_artefact(study, scores):
    fewer = {place: by_seed for place, by_seed in scores.items() if place != ("text", "weak")}
    other = replace(TABLE, title="Other")
    ids = {
        planned(study, scores).id,
        planned(study, fewer).id,
        planned(study, scores, other).id,
    }
    assert len(ids) == 3


def test_a_table_is_rendered_as_text_and_its_record_is_its_json(study, scores):
    table = planned(study, scores)
    measured = table.task.measure()
    table.finish(STAGE.make(table, None))
    said = table.read_record()
    expected = json.loads(json.dumps(as_json(measured, study.preset, table.task.ledger)))
    assert {name: said[name] for name in expected} == expected
    assert said["id"] == table.id and said["inputs"] == {one.id: one.digest() for one in table.inputs}
    for path in report_paths(9, study.reports):
        assert path.is_file()
    assert (study.reports / "table9.md").read_text() == render([measured], study.preset, "md", table.task.ledger)


def test_a_table_is_made_of_what_is_finished_and_again_when_more_is(study, scores):
    last = scores["plain", "strong"][2]
    said = last.read_record()
    last.record.unlink()
    table = planned(study, scores)
    first = table.finish(STAGE.make(table, None))
    assert first["rows"][0]["values"]["strong"]["by_seed"].keys() == {0, 1} and last.id not in first["inputs"]
    last.record.write_text(json.dumps(said))
    table = planned(study, scores)
    second = table.finish(STAGE.make(table, None))
    assert second["rows"][0]["values"]["strong"]["by_seed"].keys() == {0, 1, 2} and last.id in second["inputs"]
    assert first["digest"] != second["digest"]
