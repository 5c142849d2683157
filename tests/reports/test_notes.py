"""The lines under a table that follow from its spec: quoted columns, columns and rows of ours."""

from dataclasses import replace

import pytest
from made_up import PRESET, TABLE, measured_in

from swdb.reports.notes import notes
from swdb.reports.results import measure
from swdb.specs.tables import all_runs, load_tables


@pytest.fixture(scope="module")
def real():
    tables = load_tables()
    return {number: measure(table, all_runs(tables), {}) for number, table in tables.items()}


def test_a_row_of_averaged_runs_says_which_and_how(real):
    lines = [line for line in notes(real[3], PRESET) if "averaged (" in line]
    assert len(lines) == 2
    assert "the runs strong and mixed of the same seed" in lines[0] and "strong and weak of" in lines[1]
    assert all("a row of ours, for which the paper has no values" in line for line in lines)
    assert not any("row of ours" in line for number in (1, 2, 4) for line in notes(real[number], PRESET))


def test_a_column_of_ours_says_so_and_a_quoted_one_where_from(real):
    lines = notes(real[4], PRESET)
    assert sum(line.startswith("DecoupledNet [1]: as printed") for line in lines) == 1
    (line,) = [line for line in lines if "a column of ours" in line]
    assert line.startswith("DecoupledNet, trained here: ")


def test_three_runs_are_named_with_commas(real):
    spec = real[3].spec
    row = replace(spec.rows[-1], average=("strong", "mixed", "weak"))
    three = replace(real[3], spec=replace(spec, rows=(*spec.rows[:-1], row)))
    assert any("the runs strong, mixed and weak of" in line for line in notes(three, PRESET))


def test_measured_numbers_come_with_seeds_data_and_machine(tmp_path):
    lines = notes(measured_in(tmp_path), PRESET)
    assert lines[0].startswith("measured: val mIoU in %") and "seeds 0, 1, 2" in lines[0]
    assert any(line.startswith("data sha256 dddd") for line in lines) and lines[-1].startswith("computed on Made-up")
    assert TABLE.columns[0].provenance in " ".join(lines)


def test_a_column_that_no_run_can_stand_behind_says_why(real):
    lite0 = replace(PRESET, network=replace(PRESET.network, backbone="efficientnet_lite0"))
    (line,) = [line for line in notes(real[4], lite0) if "NOT RUN at this preset" in line]
    assert line == (
        "DecoupledNet, trained here: NOT RUN at this preset; it needs pools that keep switches (small, squeezenet1_1, vgg16), "
        "and efficientnet_lite0 has none"
    )
    assert not any("NOT RUN at this preset" in line for number in real for line in notes(real[number], PRESET))
    assert not any("NOT RUN at this preset" in line for number in (1, 2, 3) for line in notes(real[number], lite0))
