"""From finished scores to the cells of a table."""

import json
from dataclasses import replace
from statistics import stdev

import pytest
from made_up import MACHINE, RUNS, SCORES, TABLE, finish_all, measured_in, preset, scores_in, write_score
from studies import graph_of

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.files import write_json
from swdb.reports.ledger import ledger_of
from swdb.reports.results import NOT_RUN, MeasuredTable, as_json, measure, measured_from_json, runs_behind
from swdb.specs.presets import Preset
from swdb.specs.runs import RunSpec
from swdb.specs.tables import Column, Row, Table, all_runs, load_tables
from swdb.study.graph import Graph
from swdb.study.plan import make_plan


@pytest.fixture
def scores(tmp_path):
    return scores_in(tmp_path)


@pytest.fixture
def measured(scores):
    return measure(TABLE, RUNS, scores)


def said(measured: MeasuredTable, preset: Preset, *others: MeasuredTable) -> dict:
    """Return the JSON of a table with the verdicts on its own claims, which may be about cells of other tables."""
    return as_json(measured, preset, ledger_of([measured, *others], preset))


# ---------------------------------------------------------------- cells


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


def test_a_score_that_is_not_finished_does_not_count(scores):
    scores["plain", "strong"][1].record.unlink()
    cell = measure(TABLE, RUNS, scores).cells["plain", "strong"]
    assert cell.by_seed == {0: 50.0, 2: 52.0} and cell.runs.keys() == {0, 2}


def test_a_literature_cell_is_never_measured_even_where_the_run_is_there(measured):
    cell = measured.cells["plain", "others"]
    assert (cell.measured, cell.by_seed, cell.paper) == ("literature", {}, 40.0)


def test_every_value_comes_with_the_id_of_its_run(scores, measured):
    cell = measured.cells["plain", "weak"]
    assert cell.runs == {seed: scores["plain", "weak"][seed].input("run").id for seed in (0, 1, 2)}
    assert len(set(cell.runs.values())) == 3


def test_branches_of_one_run_are_not_mixed_up(measured):
    found = {(row, column): measured.cells[row, column].by_seed for row, column in SCORES}
    assert found == SCORES


def test_only_the_seeds_that_are_planned_count(scores):
    planned = {place: {seed: one for seed, one in by_seed.items() if seed != 1} for place, by_seed in scores.items()}
    again = measure(TABLE, RUNS, planned)
    assert again.cells["plain", "strong"].by_seed == {0: 50.0, 2: 52.0} and again.seeds == [0, 2]


def test_seeds_are_those_behind_any_cell(measured):
    assert measured.seeds == [0, 1, 2]


def test_a_table_with_a_missing_seed_is_not_complete(measured):
    assert not measured.complete


def test_a_table_with_every_seed_in_every_measured_cell_is_complete(tmp_path):
    scores = {(row.key, branch): {0: 1.0, 1: 2.0} for row in TABLE.rows for branch in ("strong", "weak")}
    assert measured_in(tmp_path, scores=scores).complete


def test_a_table_without_any_value_is_not_complete():
    assert not measure(TABLE, RUNS, {}).complete


# ---------------------------------------------------------------- rows that are not one dual run


ALONE = RunSpec(name="alone", strong_branch="strong")
DUAL = RunSpec(name="both", strong_branch="strong", weak_branch="weak")
MIXED = Table(
    number=8,
    title="Rows of other forms",
    label_titles=("Row",),
    columns=(
        Column(key="strong", title="Strong", branch="strong"),
        Column(key="weak", title="Weak", branch="weak", run="second"),
    ),
    rows=(
        Row(key="alone", labels=("one branch",), run=ALONE, printed=False),
        Row(key="runs", labels=("a run for a column",), runs={"second": DUAL}, printed=False),
        Row(key="average", labels=("averaged",), average=("alone", "both"), printed=False),
    ),
    claims=(),
)


def mixed_scores(folder):
    graph = Graph(graph_of(folder).study, {"alone": ALONE, "both": DUAL})
    plan = make_plan(graph, [(MIXED, row) for row in MIXED.rows], [0, 1])
    finish_all(plan.scores.values())
    return graph, plan.cells(8)


def test_a_cell_that_no_run_can_fill_is_not_measurable_and_does_not_count_as_missing(tmp_path):
    graph, scores = mixed_scores(tmp_path)
    found = measure(MIXED, graph.runs, scores)
    shown = {place: cell.measured for place, cell in found.cells.items()}
    assert shown == {
        ("alone", "strong"): "50.0 ± 0.0",
        ("alone", "weak"): "–",
        ("runs", "strong"): "–",
        ("runs", "weak"): "50.0 ± 0.0",
        ("average", "strong"): "50.0 ± 0.0",
        ("average", "weak"): "–",  # alone has no weak branch
    }
    assert found.complete
    assert all(cell.paper is None for cell in found.cells.values())


def test_all_runs_of_an_average_are_named(tmp_path):
    graph, scores = mixed_scores(tmp_path)
    found = measure(MIXED, graph.runs, scores)
    ids = [graph.run(run, 1).id for run in (ALONE, DUAL)]
    assert found.cells["average", "strong"].runs[1] == "+".join(ids)
    assert [run.id for run in runs_behind(scores["average", "strong"][1])] == ids
    assert found.proxies == [graph.proxies(1).id]  # of the second run
    rows = said(found, preset())["rows"]
    assert [row["run"] for row in rows] == ["alone", "both", "alone+both"]


# ---------------------------------------------------------------- proxies, machines


def test_only_proxies_that_a_measured_run_used_are_named(tmp_path):
    graph, table = graph_of(tmp_path), load_tables()[2]
    plan = make_plan(graph, [(table, row) for row in table.rows], [0])
    scores = plan.cells(2)
    finish_all([scores["strong", "miou"][0], scores["all-strong", "miou"][0]])
    assert measure(table, graph.runs, scores).proxies == []
    finish_all([scores["mixed", "miou"][0]])
    assert measure(table, graph.runs, scores).proxies == [graph.proxies(1).id]
    finish_all([one[0] for one in scores.values()])
    assert measure(table, graph.runs, scores).proxies == [graph.proxies(1).id, graph.proxies(2).id]


def test_the_machine_is_told_in_words(measured):
    assert measured.machines == ["Made-up 9000 (cpu, fp32, 2 threads), torch 2.11.0"]


def test_two_machines_are_both_named(scores):
    one = scores["plain", "strong"][0]
    write_json(one.record, one.read_record() | {"machine": MACHINE | {"name": "Another"}})
    names = [name.split(" (")[0] for name in measure(TABLE, RUNS, scores).machines]
    assert names == ["Another", "Made-up 9000"]


# ---------------------------------------------------------------- what is refused


def refused(table: Table, runs, scores) -> MissingArtefact:
    with pytest.raises(MissingArtefact) as caught:
        measure(table, runs, scores)
    return caught.value


def test_scores_on_different_data_are_not_put_into_one_table(tmp_path, scores):
    other = write_score(tmp_path, TABLE.rows[2], "strong", 0, 50.0, data="f" * 64)
    error = refused(TABLE, RUNS, scores | {("absent", "strong"): {0: other}})
    assert error.subject == other.folder and "it was ffffffffff, it is dddddddddd" in error.found


def test_scores_on_other_data_than_there_are_now_are_refused(tmp_path, scores):
    data = Artefact("data", "tiny", "tiny-0123456789", tmp_path / "data", record_name="manifest.json")
    known = {
        place: {s: replace(one, inputs=(data, *one.inputs)) for s, one in by.items()} for place, by in scores.items()
    }
    assert measure(TABLE, RUNS, known).data_digest == "d" * 64  # where the data set is gone, that of the scores
    write_json(data.record, {"digest": "f" * 64})
    error = refused(TABLE, RUNS, known)
    assert error.subject == data.folder and "it was dddddddddd, it is ffffffffff" in error.found
    write_json(data.record, {"digest": "d" * 64})
    assert measure(TABLE, RUNS, known) == measure(TABLE, RUNS, scores)


@pytest.mark.parametrize("content", ['{"miou": 5', "[]", ""])
def test_a_damaged_score_is_named(scores, content):
    damaged = scores["plain", "strong"][1]
    damaged.record.write_text(content)
    error = refused(TABLE, RUNS, scores)
    assert error.subject == damaged.record and error.found == "damaged"


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 100.5])
def test_a_score_that_no_miou_can_be_is_refused(scores, score):
    one = scores["plain", "strong"][1]
    write_json(one.record, one.read_record() | {"miou": score})
    error = refused(TABLE, RUNS, scores)
    assert (error.subject, error.found) == (one.record, f"found a score of {score}")
    assert error.expected == "an mIoU from 0 to 100"


def test_the_same_run_under_two_seeds_is_refused(scores):
    twice = scores["plain", "strong"] | {7: scores["plain", "strong"][1]}
    error = refused(TABLE, RUNS, scores | {("plain", "strong"): twice})
    assert (error.subject, error.found) == (twice[7].record, "its run is that of seed 1, too")
    assert error.expected == "a training of its own for seed 7"


def test_the_same_weights_under_the_ids_of_two_seeds_are_refused(scores):
    for seed in (0, 2):
        one = scores["plain", "strong"][seed]
        write_json(one.record, one.read_record() | {"inputs": {one.input("run").id: "the same weights"}})
    error = refused(TABLE, RUNS, scores)
    assert error.found == "its run is that of seed 0, too" and error.subject == scores["plain", "strong"][2].record


# ---------------------------------------------------------------- JSON


def test_json_has_paper_mean_sd_seeds_and_runs_of_every_cell(scores, measured):
    value = json.loads(json.dumps(said(measured, preset())))  # what a reader of the file gets
    assert [row["key"] for row in value["rows"]] == ["plain", "marked", "absent", "text"]
    cell = value["rows"][0]["values"]["strong"]
    assert (cell["paper"], cell["mean"], cell["sd"], cell["literature"]) == (50.0, 51.0, 1.0, False)
    assert cell["by_seed"] == {"0": 50.0, "1": 51.0, "2": 52.0}
    assert cell["runs"] == {str(seed): one.input("run").id for seed, one in scores["plain", "strong"].items()}


def test_json_marks_literature_in_text_and_not_run(measured):
    rows = said(measured, preset())["rows"]
    assert [row["in_text"] for row in rows] == [False, False, False, True]
    assert [rows[0]["values"][key]["literature"] for key in ("others", "strong", "weak")] == [True, False, False]
    assert (rows[2]["values"]["strong"]["mean"], rows[2]["values"]["strong"]["by_seed"]) == (None, {})


NOT_CHECKED = {"outside": False, "conditions": []}  # the made-up table has none of the cells


def test_json_has_the_claims_with_their_verdicts_and_how_they_were_judged(measured):
    value, ledger = said(measured, preset()), ledger_of([measured], preset())
    assert [claim["word"] for claim in value["claims"]] == [verdict.word for verdict in ledger.verdicts]
    assert value["claims"] == ledger.to_json()["claims"] and len(value["claims"]) == 5
    assert value["judged"] == {"family": 4, "looks": [3], "limits": list(ledger.limits), "regime": NOT_CHECKED}


@pytest.mark.parametrize("comparable", [True, False])
def test_json_says_whether_the_paper_can_be_compared_with(measured, comparable):
    assert said(measured, preset(comparable))["comparable_to_paper"] is comparable


def test_json_says_where_the_quality_of_the_proxies_is_reported(measured):
    value = said(replace(measured, proxies=["dsrg-1-0123456789"]), preset())
    assert value["proxies"] == ["dsrg-1-0123456789"]
    assert value["quality_reports"] == ["proxies/dsrg-1-0123456789/quality.json"]


# ---------------------------------------------------------------- the real tables


def all_measured(folder):
    tables = load_tables()
    graph = graph_of(folder)
    plan = make_plan(graph, [(table, row) for table in tables.values() for row in table.rows], [0])
    return {number: measure(table, all_runs(tables), plan.cells(number)) for number, table in tables.items()}


def test_finished_runs_fill_every_measured_cell_of_all_four_tables(finished):
    found = all_measured(finished)
    filled = {number: sum(bool(cell.by_seed) for cell in one.cells.values()) for number, one in found.items()}
    assert filled == {1: 6, 2: 8, 3: 10, 4: 6}
    assert all(one.complete for one in found.values())
    manifest = json.loads((finished / "data" / "tiny" / "manifest.json").read_text())
    assert {one.data_digest for one in found.values()} == {manifest["digest"]}
    assert all((finished / path).is_file() for path in said(found[2], preset(), found[1], found[3])["quality_reports"])


def test_tables_share_runs(finished):
    tables = all_measured(finished)
    assert tables[1].cells["mixed", "miou"].runs == tables[2].cells["mixed", "miou"].runs
    assert tables[1].cells["strong", "miou"].runs == tables[2].cells["strong", "miou"].runs
    assert tables[2].cells["dual", "miou"].by_seed == tables[3].cells["n3", "strong"].by_seed


# ---------------------------------------------------------------- back from JSON


@pytest.fixture
def on_paper(finished) -> dict:
    """What the report of Table 3 says, as a reader of the file gets it."""
    found = all_measured(finished)
    return json.loads(json.dumps(said(found[3], preset(), found[1], found[2])))


def test_a_table_comes_back_from_its_json(finished, on_paper):
    before, after = all_measured(finished)[3], measured_from_json(on_paper, "table3.json")
    assert (after.spec, after.data_digest, after.machines, after.proxies) == (
        before.spec, before.data_digest, before.machines, before.proxies,
    )  # fmt: skip
    for place, cell in before.cells.items():
        assert after.cells[place] == replace(cell, counts={})


def test_rows_of_ours_that_are_younger_than_a_file_are_not_run(finished, on_paper):
    on_paper["rows"] = [row for row in on_paper["rows"] if not row["key"].startswith("strong-and-")]
    after = measured_from_json(on_paper, "table3.json")
    assert after.cells["strong-and-mixed", "strong"].measured == NOT_RUN
    assert after.cells["n0", "strong"].by_seed == all_measured(finished)[3].cells["n0", "strong"].by_seed


def a_seed_twice(table):
    table["rows"][0]["values"]["strong"]["by_seed"]["00"] = 50.0


def a_run_twice(table):
    cell = table["rows"][0]["values"]["strong"]
    cell["by_seed"]["1"], cell["runs"]["1"] = 51.0, cell["runs"]["0"]


def no_score(table):
    table["rows"][0]["values"]["strong"]["by_seed"]["0"] = float("nan")


def another_row(table):
    table["rows"][0]["key"] = "n9"


def a_printed_row_less(table):
    del table["rows"][0]


def no_rows(table):
    del table["rows"]


def another_table(table):
    table["table"] = 12


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (a_seed_twice, "damaged"),
        (a_run_twice, "row 'n0' has one training under two seeds"),
        (no_score, "found a score of nan"),
        (another_row, "has other rows or columns than the specs"),
        (a_printed_row_less, "has other rows or columns than the specs"),
        (no_rows, "damaged"),
        (another_table, "damaged"),
    ],
)
def test_json_that_is_no_such_table_is_refused(on_paper, change, found):
    change(on_paper)
    with pytest.raises(MissingArtefact) as caught:
        measured_from_json(on_paper, "table3.json")
    assert str(caught.value.subject) == "table3.json" and caught.value.found == found
