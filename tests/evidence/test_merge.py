"""Other people's seeds join ours; two numbers for one seed do not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import contents, findings, spoiled, the_name, written
from conftest import TINY
from drawn import MACHINE, OTHER_MACHINE, ROWS, drawn_study, finish
from studies import graph_of

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.progress import silent
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.evidence.bundle import bundle
from swdb.evidence.bundle_reader import loads
from swdb.evidence.layout import ABOUT
from swdb.evidence.merge import merge
from swdb.specs.presets import as_toml, load_preset
from swdb.specs.tables import load_tables
from swdb.study.graph import Graph
from swdb.study.plan import read_plan
from swdb.study.stages import DATA


def refusal(*paths: Path, output: Path) -> BadInput:
    with pytest.raises((BadInput, MissingArtefact)) as caught:
        merge(paths, output, None, silent)
    assert not output.exists() and list(output.parent.glob(".*tmp")) == []
    return caught.value


def test_seeds_of_two_machines_become_one_table(ours, theirs, tmp_path):
    found = merge([ours, theirs], tmp_path / "c.zip", None, silent)
    assert found.findings == [] and found.seeds == [0, 1, 2]
    assert [one["name"] for one in found.machines] == ["Made-up 9000", "Made-up 9100"]
    files = contents(tmp_path / "c.zip")
    table = files["reports/tiny/table2.md"].decode()
    assert "over seeds 0, 1, 2" in table and "Made-up 9000" in table and "Made-up 9100" in table
    assert findings(tmp_path / "c.zip") == []
    said = loads(files[ABOUT])
    assert [sorted(part["seeds"]) for part in said["parts"]] in ([[0, 1], [2]], [[2], [0, 1]]) and said["missing"] == []


def test_what_differs_under_one_id_is_kept_for_both(ours, theirs, study, tmp_path):
    merge([ours, theirs], tmp_path / "c.zip", None, silent)
    files = contents(tmp_path / "c.zip")
    name = f"proxies/{study.proxies(1).id}/done.json"
    (other,) = [one for one in files if one.startswith("others/") and one.endswith(name)]
    assert loads(files[name])["machine"] == MACHINE and loads(files[other])["machine"] == OTHER_MACHINE
    assert other.split("/")[1] == loads(files[other])["digest"][:12]


def test_the_order_of_bundles_changes_no_number(ours, theirs, tmp_path):
    for name, paths in (("a", [ours, theirs]), ("b", [theirs, ours])):
        merge(paths, tmp_path / f"{name}.zip", None, silent)
    one, two = contents(tmp_path / "a.zip"), contents(tmp_path / "b.zip")
    for number in (1, 2, 3, 4):
        assert one[f"reports/tiny/table{number}.csv"] == two[f"reports/tiny/table{number}.csv"]
    assert one["reports/tiny/ledger.json"] == two["reports/tiny/ledger.json"]


def test_three_bundles_and_a_merged_one_are_merged(ours, theirs, tmp_path):
    third = written(drawn_study(tmp_path / "work", [3], OTHER_MACHINE, "third", ROWS), tmp_path / "third.zip")
    found = merge([ours, theirs, third], tmp_path / "whole.zip", None, silent)
    assert found.findings == [] and found.seeds == [0, 1, 2, 3]
    merge([ours, theirs], tmp_path / "two.zip", None, silent)
    found = merge([tmp_path / "two.zip", third], tmp_path / "steps.zip", None, silent)
    assert found.findings == [] and found.seeds == [0, 1, 2, 3]
    whole, steps = contents(tmp_path / "whole.zip"), contents(tmp_path / "steps.zip")
    assert whole["reports/tiny/table1.md"] == steps["reports/tiny/table1.md"]
    assert loads(whole[ABOUT])["parts"] == loads(steps[ABOUT])["parts"]


def test_equal_seeds_with_equal_numbers_join(ours, study, tmp_path):
    part = written(drawn_study(tmp_path / "work", [1, 4], rows=ROWS), tmp_path / "part.zip")
    found = merge([ours, part], tmp_path / "c.zip", None, silent)
    assert found.findings == [] and found.seeds == [0, 1, 4]


def test_a_seed_with_two_numbers_is_refused_and_named(ours, tmp_path):
    other = written(drawn_study(tmp_path / "work", [1], OTHER_MACHINE, "other", ROWS), tmp_path / "other.zip")
    error = refusal(ours, other, output=tmp_path / "c.zip")
    assert (
        "has other numbers for seed 1: " in error.found
        and str(ours) in error.expected
        and str(other) in str(error.subject)
    )


def test_other_settings_tables_and_data_are_refused(ours, tmp_path):
    preset = load_preset(TINY)
    longer = replace(preset, training=replace(preset.training, steps=7))
    other_data = replace(preset, data=replace(preset.data, seed=1))
    for number, changed in enumerate((longer, other_data)):
        graph = graph_of(tmp_path / f"work{number}", changed)
        prepare(changed.data, DATA.artefact(graph.study).folder, NO_SOURCES, silent)
        finish(graph, [5], rows={"strong"})
        path = tmp_path / f"{number}.zip"
        bundle(graph.study, read_plan(graph.study), as_toml(changed), load_tables(), [1], path, silent)
        assert refusal(ours, path, output=tmp_path / "c.zip").found == "has other settings"
    margin = spoiled(
        ours,
        tmp_path / "d.zip",
        {"specs/table1.toml": lambda text: text.replace(b'title = "', b'title = "Another: ', 1)},
        listed=True,
    )
    assert refusal(ours, margin, output=tmp_path / "c.zip").found == "has other rows, claims or margins in its tables"


def test_a_part_that_does_not_hold_is_named(ours, theirs, tmp_path):
    name = the_name(theirs, "/predictions/")
    changed = spoiled(theirs, tmp_path / "x.zip", {name: lambda content: content + b" "})
    error = refusal(ours, changed, output=tmp_path / "c.zip")
    assert name in str(error.subject) and "x.zip" in str(error.subject) and "has other bytes" in error.found
    assert (
        "missing" in refusal(ours, spoiled(theirs, tmp_path / "y.zip", {name: None}), output=tmp_path / "c.zip").found
    )


def test_what_is_merged_is_rescored_before_it_is_there(ours, theirs, tmp_path):
    name = the_name(theirs, "/evals/val-strong/predictions/")
    other = contents(theirs)[the_name(theirs, "/evals/val-weak/predictions/")]
    found = merge(
        [ours, spoiled(theirs, tmp_path / "x.zip", {name: other}, listed=True)], tmp_path / "c.zip", None, silent
    )
    assert found.findings[0].where == name and "not as counted" in found.findings[0].found
    assert not (tmp_path / "c.zip").exists()


def test_a_score_that_its_counts_do_not_bear_out_is_refused(ours, theirs, tmp_path):
    name = the_name(theirs, "/evals/val-strong/result.json")
    edit = lambda content: json.dumps({**json.loads(content), "miou": 99.0}).encode()  # noqa: E731
    error = refusal(ours, spoiled(theirs, tmp_path / "x.zip", {name: edit}, listed=True), output=tmp_path / "c.zip")
    assert str(error.subject) == name.replace("result.json", "confusion.npz") and "the score 99.0" in error.found


@pytest.mark.parametrize("listed", [False, True], ids=["with the digest of then", "with its digest"])
def test_a_prediction_that_another_bundle_stands_for_is_looked_at_all_the_same(ours, tmp_path, listed):
    name = the_name(ours, "/predictions/")
    forged = spoiled(ours, tmp_path / "x.zip", {name: lambda mask: mask + b"x"}, listed)
    error = refusal(ours, forged, output=tmp_path / "c.zip")
    assert name in str(error) and str(forged) in str(error.subject) and "has other bytes" in error.found
    missing = spoiled(ours, tmp_path / "y.zip", {name: None})
    error = refusal(ours, missing, output=tmp_path / "c.zip")
    assert name in str(error.subject) and error.found == "missing"


def test_proxies_for_every_seed_and_one_set_for_all_are_told_apart(ours, tmp_path):
    graph = graph_of(tmp_path / "work")
    graph = Graph(replace(graph.study, proxy_seeds=True), graph.runs)
    prepare(graph.study.preset.data, DATA.artefact(graph.study).folder, NO_SOURCES, silent)
    finish(graph, [7], rows={"strong"})
    error = refusal(ours, written(graph, tmp_path / "own.zip"), output=tmp_path / "c.zip")
    assert error.found == "has proxies for every seed (--proxy-seeds)"
    assert error.expected == "one set of proxies for all seeds"
