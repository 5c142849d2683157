import json
from statistics import stdev

import pytest
from conftest import TINY
from made_up import MACHINE, SCORES, TABLE, measured_in, work_in, write_score

from swdb.core.errors import MissingArtefact
from swdb.reports.results import as_json, measure
from swdb.specs.presets import load_preset
from swdb.specs.tables import load_tables
from swdb.study.plan import Work


@pytest.fixture
def work(tmp_path) -> Work:
    return work_in(tmp_path)


@pytest.fixture
def measured(work):
    return measured_in(work)


def test_mean_over_the_seeds(measured):
    assert measured.cells["plain", "strong"].mean == pytest.approx(51.0)  # 50, 51, 52
    assert measured.cells["marked", "weak"].mean == pytest.approx(44.5)  # 44.25, 44.75


def test_sd_has_n_minus_one_below(measured):
    assert measured.cells["plain", "strong"].sd == pytest.approx(1.0)  # with n it were 0.816
    assert measured.cells["marked", "weak"].sd == pytest.approx(stdev([44.25, 44.75]))


def test_a_single_seed_has_a_mean_and_no_sd(measured):
    cell = measured.cells["text", "weak"]
    assert (cell.mean, cell.sd, cell.measured) == (30.0, None, "30.0")


def test_a_cell_shows_mean_and_sd_with_one_decimal(measured):
    assert measured.cells["plain", "strong"].measured == "51.0 ± 1.0"
    assert measured.cells["text", "strong"].measured == "61.3 ± 1.3"  # mean 61.333, sd 1.258


def test_what_was_not_run_says_so(measured):
    cell = measured.cells["absent", "strong"]
    assert (cell.measured, cell.mean, cell.by_seed, cell.runs) == ("NOT RUN", None, {}, {})


def test_a_literature_cell_is_never_measured_even_where_the_run_is_there(measured):
    cell = measured.cells["plain", "others"]
    assert (cell.measured, cell.by_seed, cell.paper) == ("literature", {}, 40.0)


def test_every_value_comes_with_the_id_of_its_run(work, measured):
    cell = measured.cells["plain", "weak"]
    assert cell.runs == {seed: work.run(TABLE.rows[0].run, seed).id for seed in (0, 1, 2)}
    assert len(set(cell.runs.values())) == 3


def test_branches_of_one_run_are_not_mixed_up(measured):
    found = {(row, column): measured.cells[row, column].by_seed for row, column in SCORES}
    assert found == SCORES


def test_only_the_seeds_that_are_asked_for_count(work, measured):
    again = measure(work, TABLE, [0, 2])
    assert again.cells["plain", "strong"].by_seed == {0: 50.0, 2: 52.0}


def test_seeds_are_those_behind_any_cell(measured):
    assert measured.seeds == [0, 1, 2]


def test_a_table_with_a_missing_seed_is_not_complete(measured):
    assert not measured.complete


def test_a_table_with_every_seed_in_every_measured_cell_is_complete(work):
    scores = {(row.key, branch): {0: 1.0, 1: 2.0} for row in TABLE.rows for branch in ("strong", "weak")}
    assert measured_in(work, scores=scores).complete


def test_a_table_without_any_value_is_not_complete(work):
    assert not measure(work, TABLE, [0]).complete


def test_claims_are_decided_over_the_seeds_of_their_cells(measured):
    # differences: 4, 4, 4; then -1, 0.5, 1; then none; then -10, -10.5, -10.5
    assert [verdict.word for _, verdict in measured.claims] == ["CONFIRMED", "UNDECIDED", "NOT RUN", "CONTRADICTED"]
    assert [verdict.num_seeds for _, verdict in measured.claims] == [3, 3, 0, 3]
    assert measured.claims[1][1].difference == pytest.approx(1 / 6)


def test_only_proxies_that_a_measured_run_used_are_named(work):
    strong_only = {("marked", "strong"): {0: 1.0}}  # all-strong: no proxies
    assert measured_in(work, scores=strong_only).proxies == []
    write_score(work, TABLE.rows[0], "strong", 0, 50.0)
    assert measure(work, TABLE, [0]).proxies == [work.proxies(1).id]


def test_the_machine_is_told_in_words(measured):
    assert measured.machines == ["Made-up 9000 (cpu, fp32, 2 threads), torch 2.11.0"]


def test_two_machines_are_both_named(work, measured):
    path = write_score(work, TABLE.rows[2], "strong", 0, 50.0)
    path.write_text(json.dumps({"miou": 1.0, "data": "d" * 64, "machine": MACHINE | {"name": "Another"}}))
    assert [name.split(" (")[0] for name in measure(work, TABLE, [0]).machines] == ["Another", "Made-up 9000"]


def test_runs_on_different_data_are_not_put_into_one_table(work, measured):
    write_score(work, TABLE.rows[2], "strong", 0, 50.0, data="e" * 64)
    with pytest.raises(
        MissingArtefact, match=r"table 9 would mix runs on 2 different contents.*swdb reproduce-table 9"
    ):
        measure(work, TABLE, [0, 1, 2])


def test_a_damaged_result_is_named_with_the_command_that_mends_it(work, measured):
    path = work.scoring("strong").folder(work.run(TABLE.rows[0].run, 1)) / "result.json"
    path.write_text('{"miou": 5')
    with pytest.raises(MissingArtefact, match=r"result\.json is damaged.*swdb eval plain-s1"):
        measure(work, TABLE, [0, 1, 2])


def test_json_has_paper_mean_sd_seeds_and_runs_of_every_cell(work, measured):
    value = json.loads(json.dumps(as_json(measured, work)))  # what a reader of the file gets
    assert [row["key"] for row in value["rows"]] == ["plain", "marked", "absent", "text"]
    cell = value["rows"][0]["values"]["strong"]
    assert (cell["paper"], cell["mean"], cell["sd"], cell["literature"]) == (50.0, 51.0, 1.0, False)
    assert cell["by_seed"] == {"0": 50.0, "1": 51.0, "2": 52.0}
    assert cell["runs"] == {str(seed): work.run(TABLE.rows[0].run, seed).id for seed in (0, 1, 2)}


def test_json_marks_literature_in_text_and_not_run(work, measured):
    rows = as_json(measured, work)["rows"]
    assert [row["in_text"] for row in rows] == [False, False, False, True]
    assert [rows[0]["values"][key]["literature"] for key in ("others", "strong", "weak")] == [True, False, False]
    assert (rows[2]["values"]["strong"]["mean"], rows[2]["values"]["strong"]["by_seed"]) == (None, {})


def test_json_has_the_claims_with_their_verdicts(work, measured):
    claims = as_json(measured, work)["claims"]
    assert len(claims) == 4
    assert claims[0] == {
        "text": "the weak branch is worse",
        "lower": "plain.weak",
        "higher": "plain.strong",
        "equal": False,
        "word": "CONFIRMED",
        "difference": 4.0,
        "standard_error": 0.0,
        "num_seeds": 3,
    }


@pytest.mark.parametrize("comparable", [True, False])
def test_json_says_whether_the_paper_can_be_compared_with(tmp_path, comparable):
    work = work_in(tmp_path, comparable)
    assert as_json(measured_in(work), work)["comparable_to_paper"] is comparable


def test_finished_runs_fill_every_measured_cell_of_all_four_tables(finished):
    work = Work(finished, load_preset(TINY), "fp32")
    filled = {}
    for number, table in load_tables().items():
        measured = measure(work, table, [0])
        filled[number] = sum(bool(cell.by_seed) for cell in measured.cells.values())
        assert measured.complete
    assert filled == {1: 6, 2: 8, 3: 8, 4: 3}


def test_tables_share_runs(finished):
    work = Work(finished, load_preset(TINY), "fp32")
    tables = {number: measure(work, table, [0]) for number, table in load_tables().items()}
    assert tables[1].cells["mixed", "miou"].runs == tables[2].cells["mixed", "miou"].runs
    assert tables[1].cells["strong", "miou"].runs == tables[2].cells["strong", "miou"].runs
    assert tables[2].cells["dual", "miou"].by_seed == tables[3].cells["n3", "strong"].by_seed
