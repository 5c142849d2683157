"""Rows that differ in one number alone: n, oversampling, strong images a class."""

from conftest import REPOSITORY
from made_up import TABLE, measured_in

from swdb.core.files import read_json
from swdb.reports.results import measure, measured_from_json
from swdb.reports.sweeps import sweeps
from swdb.specs.tables import all_runs, load_tables


def curves(number: int) -> list:
    tables = load_tables()
    return [*sweeps(measure(tables[number], all_runs(tables), {}))]


def test_oversampling_is_table_1s_curve():
    (one,) = curves(1)
    (series,) = one.series
    assert (one.table, one.key, one.parameter, series.name) == (
        1,
        "oversample",
        "oversampling of strong images",
        "ours",
    )
    assert one.title == "Table 1, by oversampling of strong images" and not one.measured
    assert series.at == (1.0, 2.0, 3.0, 6.0) and series.paper == (62.8, 63.5, 64.2, 65.9)
    assert series.by_seed == ((), (), (), ())


def test_n_is_table_3s_curve_with_both_branches():
    (one,) = curves(3)
    assert [(series.name, series.at, series.paper) for series in one.series] == [
        ("Strong branch", (0.0, 1.0, 2.0, 3.0), (70.9, 71.5, 72.2, 72.2)),
        ("Weak branch", (0.0, 1.0, 2.0, 3.0), (62.3, 63.1, 63.8, 64.0)),
    ]


def test_table_4_has_the_literatures_curve_beside_its_method_as_trained_here_and_ours():
    (one,) = curves(4)
    assert [(series.name, series.paper) for series in one.series] == [
        ("DecoupledNet [1]", (53.1, 57.4, 62.1)),
        ("DecoupledNet, trained here", (None, None, None)),
        ("Ours", (60.8, 64.8, 68.1)),
    ]


def test_rows_that_differ_in_more_are_no_curve(tmp_path):
    assert curves(2) == [] and [*sweeps(measured_in(tmp_path, TABLE))] == []


def test_what_was_run_is_in_the_curve_by_seed():
    path = REPOSITORY / "results" / "synthetic" / "table1.json"
    (one,) = sweeps(measured_from_json(read_json(path), path))
    assert one.measured and all(len(values) > 1 for values in one.series[0].by_seed)
