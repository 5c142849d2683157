"""Which proxies stand behind a table, said either way."""

import json
import shutil
from dataclasses import replace

import pytest
from conftest import TINY, swdb
from studies import graph_of

from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json, write_json
from swdb.reports.proxy_use import ProxyUse, proxy_use, proxy_use_from_json
from swdb.specs.tables import CellSource
from swdb.study.graph import Graph
from swdb.verdicts.proxy_spread import proxy_spread

ROWS = ("mixed", "strong", "weak-then-strong", "weak-retrain")


def scored(folder, own: bool, seeds, miou=lambda row, seed: 50.0 + seed) -> dict:
    """Plan scores of some rows, and finish them with numbers that are made up."""
    graph = graph_of(folder)
    graph = Graph(replace(graph.study, proxy_seeds=own), graph.runs)
    found = {
        (row, "value"): {seed: graph.score(CellSource((graph.runs[row],), "strong"), seed) for seed in seeds}
        for row in ROWS
    }
    for (row, _), by_seed in found.items():
        for seed, score in by_seed.items():
            if not score.done:
                write_json(score.record, {"miou": miou(row, seed)})
    return found


def test_all_seeds_share_a_pair_and_it_is_said(tmp_path):
    found, graph = proxy_use(scored(tmp_path, False, range(3))), graph_of(tmp_path)
    assert found.by_seed == {seed: {"dsrg-1": graph.proxies(1).id, "dsrg-2": graph.proxies(2).id} for seed in range(3)}
    assert not found.own and found.words.startswith("proxies: all seeds share one set of each round")


def test_a_row_counts_whose_run_starts_from_one_that_learns_from_proxies(tmp_path):
    scores = scored(tmp_path, False, range(2))
    found = proxy_use({("weak-then-strong", "value"): scores["weak-then-strong", "value"]})
    assert found.by_seed[1] == {"dsrg-1": graph_of(tmp_path).proxies(1).id}
    assert proxy_use({("strong", "value"): scores["strong", "value"]}).words == ""


def test_rows_that_are_not_finished_make_no_pair_of_two(tmp_path):
    scores = scored(tmp_path, False, range(2))
    parts = {
        ("mixed", "value"): {0: scores["mixed", "value"][0]},
        ("weak-retrain", "value"): {1: scores["weak-retrain", "value"][1]},
    }
    found = proxy_use(parts)
    assert [set(ids) for ids in found.by_seed.values()] == [{"dsrg-1"}, {"dsrg-2"}] and not found.own


def test_json_gives_it_back_and_refuses_what_is_none(tmp_path):
    own, shared = (scored(tmp_path / name, own, range(3)) for name, own in (("own", True), ("shared", False)))
    for found in (proxy_use(own, shared), proxy_use(shared)):
        assert proxy_use_from_json(json.loads(json.dumps(found.to_json())), "here") == found
    assert proxy_use_from_json(None, "here") is None
    for wrong in ({}, {"by_seed": {"zero": {}}}, {"by_seed": {}, "spread": {"more": 1}, "networks": {}}, [7]):
        with pytest.raises(MissingArtefact):
            proxy_use_from_json(wrong, "here")


def test_one_seed_knows_nothing_of_others(tmp_path):
    found = proxy_use(scored(tmp_path, True, [0]))
    assert not found.own and "one seed" in found.words


def test_proxies_of_every_seed_with_nothing_to_compare(tmp_path):
    found = proxy_use(scored(tmp_path, True, range(3)), {})
    assert found.own and found.spread is None and "is not known" in found.words


def test_proxies_of_every_seed_are_compared_with_one_pair_in_the_rows_that_learn_from_them(tmp_path):
    shared = scored(tmp_path, False, range(3))
    own = scored(tmp_path, True, range(3), lambda row, seed: 50.0 + 4 * seed)
    assert own["strong", "value"][2].id == shared["strong", "value"][2].id  # it learns from none
    assert own["mixed", "value"][0].id == shared["mixed", "value"][0].id  # seed 0's are those of both
    found = proxy_use(own, shared)
    rows = {f"{row}.value": {seed: 50.0 + 4 * seed for seed in range(3)} for row in ROWS if row != "strong"}
    assert found.own and found.spread == proxy_spread(rows, {place: {s: 50.0 + s for s in range(3)} for place in rows})
    assert found.spread.rows == 3 and found.spread.words in found.words
    assert json.loads(json.dumps(found.to_json()))["spread"]["share"] == pytest.approx(1 - 1 / 16)


def test_a_score_that_says_no_number_is_left_out(tmp_path):
    shared, own = scored(tmp_path, False, range(3)), scored(tmp_path, True, range(3), lambda row, seed: 4.0 * seed)
    write_json(shared["mixed", "value"][1].record, {"miou": "x"})
    assert proxy_use(own, shared).spread.rows == 3


def test_nothing_at_all():
    assert ProxyUse({}).words == "" and not ProxyUse({}).own


def test_both_kinds_of_studies_live_in_one_work_directory(finished, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(finished, work)
    options = ("--preset", TINY, "--precision", "fp32", "--workdir", work)
    before = read_json(work / "reports" / "tiny" / "plan.json")
    result = swdb(
        "reproduce-table",
        "2",
        "--rows",
        "weak-retrain,weak",
        "--seeds",
        "2",
        "--proxy-seeds",
        "--device",
        "cpu",
        *options,
    )
    assert result.returncode == 0 and "proxies: made for every seed" in " ".join(result.stdout.split()), result.stderr
    assert read_json(work / "reports" / "tiny" / "plan.json") == before
    own = read_json(work / "reports" / "tiny" / "proxy-seeds" / "plan.json")
    assert own["study"] == {**before["study"], "proxy_seeds": True}
    names = sorted(path.name.rpartition("-")[0] for path in (work / "proxies").glob("dsrg-*"))
    assert names == ["dsrg-1", "dsrg-1-s1", "dsrg-2", "dsrg-2-s1"]
    for kind, count in (("proxies", 4), ("classifiers", 2), ("cues", 2)):  # a seed of their own made other bytes of all
        records = [read_json(path) for path in (work / kind).glob("*/done.json")]
        assert len({record["digest"] for record in records}) == len(records) == count
    assert "--proxy-seeds" in result.stderr.splitlines()[-1]  # the next command is on the same study
