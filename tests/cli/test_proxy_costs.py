"""What a dry run says of proxies: what it takes to make them for every seed, whether they are or not."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TINY, swdb
from studies import changed, graph_of

from swdb.cli.proxy_costs import proxy_lines
from swdb.specs.presets import load_preset
from swdb.specs.tables import load_tables
from swdb.study.graph import Graph
from swdb.timing.rates import read_rates

ROWS = [(table, row) for table in load_tables().values() for row in table.rows]
PRESET = load_preset(TINY)
CHAIN = PRESET.proxy.steps + PRESET.dsrg.steps + PRESET.dsrg.retrain_steps


def lines(folder: Path, own: bool, rows=ROWS, seeds=range(3), preset=PRESET, **files) -> list[str]:
    graph = graph_of(folder, preset, **files)
    graph = Graph(replace(graph.study, proxy_seeds=own), graph.runs)
    return proxy_lines(graph, rows, seeds, read_rates(graph.study), 1)


def test_from_nothing_it_takes_the_chain_once_more_for_each_further_seed(tmp_path):
    (shared,), (own,) = lines(tmp_path, False), lines(tmp_path, True)
    assert f"{2 * CHAIN} optimizer steps" in shared and f"{2 * CHAIN} optimizer steps" in own
    assert "--proxy-seeds" in shared and "--proxy-seeds" not in own


@pytest.mark.parametrize("own", [False, True])
def test_nothing_is_said_where_it_makes_no_difference(own, tmp_path):
    assert lines(tmp_path, own, seeds=range(1)) == []
    assert lines(tmp_path, own, rows=[(table, row) for table, row in ROWS if row.key == "strong"]) == []


def test_nothing_is_said_where_nothing_can_be_planned(tmp_path):
    assert lines(tmp_path, False, preset=changed(PRESET, "proxy", cues="file")) == []


def test_where_one_pair_is_finished_its_runs_count_too(finished):
    options = ("--preset", TINY, "--precision", "fp32", "--workdir", finished, "--seeds", "2", "--dry-run")
    result = swdb("reproduce-table", "2", "--proxy-seeds", *options)
    assert result.returncode == 0 and "proxies: made for every seed" in result.stdout
    assert "dsrg-2-s1" in result.stdout and result.stderr.rstrip().endswith("--proxy-seeds")
