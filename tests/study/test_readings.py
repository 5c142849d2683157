"""Scores of readings: which are planned, and that the tables' own are left as they are."""

from pathlib import Path

import pytest
from conftest import TINY
from studies import changed, study_of

from swdb.specs.presets import load_preset
from swdb.specs.sensitivity import every_run, load_sensitivity
from swdb.specs.tables import all_runs, load_tables, measured_cells
from swdb.study.graph import Graph
from swdb.study.readings import ReadPlace, plan_readings, questions, reads_so_itself, rows_of

TABLES = load_tables()
READS = load_sensitivity(TABLES).readings
PRESET = load_preset(TINY)
BY_KEY = {one.reading.key: one for one in READS}


def graph(preset=PRESET) -> Graph:
    return Graph(study_of(Path("work"), preset), every_run(TABLES))


def test_claims_about_printed_numbers_are_asked_of_the_papers_preset_alone():
    here, there = questions(READS, TABLES, False), questions(READS, TABLES, True)
    assert not [claim for one in here for _, claim in one.claims if claim.kind in ("value", "literature")]
    assert [claim for one in there for _, claim in one.claims if claim.kind in ("value", "literature")]
    assert all(one.claims and set(one.changed) <= one.cells for one in here)


def test_each_cell_that_a_reading_changes_has_a_score_for_each_seed():
    asked = questions([BY_KEY["kl-over-classes"], BY_KEY["occurrences"]], TABLES, False)
    found = plan_readings(graph(), asked, range(2))
    cells = [("kl-over-classes", "2:dual-kl.miou"), *(("occurrences", f"4:{k}.ours") for k in (5, 10, 25))]
    assert {*found} >= {ReadPlace(*cell, seed) for cell in cells for seed in (0, 1)}
    assert {place.seed for place in found} == {0, 1}
    score = found["kl-over-classes", "2:dual-kl.miou", 1]
    (run,) = [one for one in score.inputs if one.kind == "run"]
    assert run.name == "dual-kl-kl-over-classes-s1" and run.task.training.kl_mean == "pixels-and-classes"


def test_no_score_of_a_reading_is_one_of_the_tables():
    at = graph()
    own = {at.score(source, 0).id for source in measured_cells(TABLES).values()}
    found = plan_readings(at, questions(READS, TABLES, True), range(1))
    assert own.isdisjoint(one.id for one in found.values())
    assert {place.reading for place in found} == set(BY_KEY)


def test_what_a_reading_needs_is_made_from_its_own_proxies_and_no_others():
    asked = questions([BY_KEY["through-crf"]], TABLES, False)
    at = graph()
    needed = at.needed(*plan_readings(at, asked, range(1)).values())
    proxies = [one for one in needed if one.kind == "proxies"]
    assert [one.key["set"] for one in proxies] == [1, 2] and proxies[0].task.dsrg.crf_gradient
    assert not {one.id for one in proxies} & {at.proxies(1).id, at.proxies(2).id}
    assert len([one for one in needed if one.kind == "quality"]) == 2


def test_all_that_readings_need_can_be_found_by_its_id():
    at = graph()
    needed = at.needed(*plan_readings(at, questions(READS, TABLES, True), range(1)).values())
    averages = {one.id for one in needed if one.kind == "score" and len(one.inputs) > 2}
    assert {one.id for one in needed} - averages <= {one.id for one in at.everything(range(1))}


def test_the_rows_behind_the_claims_are_measured_as_the_tables_read_the_paper():
    assert rows_of(questions([BY_KEY["kl-over-classes"]], TABLES, False), TABLES) == {(2, "dual"), (2, "dual-kl")}


@pytest.mark.parametrize(
    ("key", "group", "values"),
    [("kl-over-classes", "training", {"kl_mean": "pixels-and-classes"}), ("random-neck", "network", {"neck_init": "random"})],
)  # fmt: skip
def test_a_preset_that_reads_the_paper_so_itself_has_nothing_to_compare(key, group, values):
    other = graph(changed(PRESET, group, **values))
    assert reads_so_itself(other, BY_KEY[key])
    assert [one for one in BY_KEY if reads_so_itself(other, BY_KEY[one])] == [key]
    assert not any(reads_so_itself(graph(), one) for one in READS)


def test_readings_do_not_move_the_ids_of_what_the_tables_need():
    at, plain = graph(), Graph(study_of(Path("work"), PRESET), all_runs(TABLES))
    assert len(at.runs) > len(plain.runs)
    for run in plain.runs.values():
        assert at.run(run, 0).id == plain.run(run, 0).id


def test_a_reading_leaves_out_runs_that_cannot_be_built_on_the_backbone():
    lite0 = graph(changed(PRESET, "network", backbone="efficientnet_lite0", weights="imagenet-lite"))
    asked = questions([BY_KEY["occurrences"]], TABLES, False)
    left_out = plan_readings(graph(), asked, [0]).keys() - plan_readings(lite0, asked, [0]).keys()
    assert {place.cell for place in left_out} == {f"4:{k}.decouplednet-measured" for k in (5, 10, 25)}
