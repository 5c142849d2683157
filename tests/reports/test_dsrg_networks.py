"""What DSRG's own networks score is said beside the published figures, under Table 2 at the paper's preset alone."""

import copy
from dataclasses import replace

import pytest
from conftest import TINY
from studies import graph_of

from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json, write_json
from swdb.proxy.quality_page import PUBLISHED_BY_SET
from swdb.reports.dsrg_networks import RECORD, WAYS, checked, network_lines, network_words, networks_behind
from swdb.reports.proxy_use import proxy_use
from swdb.specs.presets import load_preset
from swdb.specs.tables import CellSource

VOC = load_preset("voc")


def record(number=1):
    """A record whose counts are small: way k has k wrong pixels of each class."""
    counts = {key: [[90 - k, k], [k, 10 - k]] for k, key in enumerate(WAYS, 1)}
    iou = lambda k: 50 * ((90 - k) / (90 + k) + (10 - k) / (10 + k))  # noqa: E731
    views = {"one": [321], "one-crf": [321], "several": [241, 321, 401], "several-crf": [241, 321, 401]}
    ways = [{"key": key, "views": views[key], "miou": iou(k), "counts": counts[key]} for k, key in enumerate(WAYS, 1)]
    return {"set": number, "ways": ways, "published": PUBLISHED_BY_SET[number]}


def behind(finished, row="weak-retrain"):
    graph = graph_of(finished)
    return graph, graph.score(CellSource((graph.runs[row],), "strong"), 0)


def test_scores_are_those_of_the_counts():
    found = checked(record(), RECORD)
    assert found["set"] == 1 and found["views"] == 3 and found["published"] == PUBLISHED_BY_SET[1]
    assert list(found["miou"]) == [*WAYS]
    assert found["miou"]["one"] == pytest.approx(50 * (89 / 91 + 9 / 11))


def damaged(what):
    found = copy.deepcopy(record())
    if what == "a score by hand":
        found["ways"][3]["miou"] += 1.0
    elif what == "counts by hand":
        found["ways"][0]["counts"][0][0] += 7
    elif what == "a way less":
        del found["ways"][2]
    elif what == "no number":
        found["ways"][1]["miou"] = None
    elif what == "nothing counted":
        found["ways"][0]["counts"] = [[0, 0], [0, 0]]
    elif what == "counts below 0":
        found["ways"][0]["counts"] = [[-1]]
    elif what == "counts of no square":
        found["ways"][0]["counts"] = [[1, 2]]
    elif what == "another set":
        found["set"] = 3
    elif what == "no source":
        del found["published"]
    elif what == "not finite":
        found["ways"][1]["miou"] = float("nan")
    else:
        found = []
    return found


DAMAGE = (
    "a score by hand",
    "counts by hand",
    "a way less",
    "no number",
    "nothing counted",
    "counts below 0",
    "counts of no square",
    "another set",
    "no source",
    "not finite",
    "a list",
)


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_no_record_is_refused(what, tmp_path):
    with pytest.raises(MissingArtefact) as caught:
        checked(damaged(what), tmp_path / RECORD)
    assert caught.value.subject == tmp_path / RECORD


def test_the_words_name_each_way_and_the_published_figure_with_its_source_where_it_compares():
    first, second = (checked(record(number), RECORD) for number in (1, 2))
    assert network_words(first, published=False) == (
        "DSRG's own network before retrain, on val: 67.2 over 3 squares with its CRF (73.7 without), "
        "81.2 at one square with it (89.8 without)"
    )  # made up: more is wrong with every way
    assert network_words(first, published=True).endswith(
        "; published: 57.4 (readme of DSRG-TF (xtudbxk/DSRG-tensorflow))"
    )
    assert "after retrain" in network_words(second, True) and "3 scales" in network_words(second, True)
    assert "59.0 (the paper, as quoted in issue 8 of the official code)" in network_words(second, True)


def test_it_is_said_under_table_2_at_the_papers_preset_and_nowhere_else():
    networks = {"dsrg-1-abc": checked(record(), RECORD), "dsrg-2-def": None}
    first, second = network_lines(networks, VOC, 2)
    assert first.startswith(network_words(networks["dsrg-1-abc"], True)) and first.endswith(
        "no cell reads it (dsrg-1-abc)"
    )
    assert second == "dsrg-2-def: what its network scores on val cannot be read"
    assert [*network_lines(networks, load_preset(TINY), 2)] == [*network_lines(networks, VOC, 1)] == []
    assert [*network_lines(networks, replace(VOC, comparable=False), 2)] == []


def test_the_networks_behind_scores_are_those_whose_masks_their_runs_and_their_proxies_come_from(finished):
    graph, score = behind(finished)
    found = networks_behind([score])
    assert list(found) == sorted([graph.proxies(1).id, graph.proxies(2).id])  # the retrain round begins with the first
    made = graph.dsrg_score(graph.proxies(2)).read_record()
    assert found[graph.proxies(2).id]["miou"] == {way["key"]: way["miou"] for way in made["ways"]}
    assert networks_behind([behind(finished, "strong")[1]]) == {}


def test_a_table_says_them_in_its_json_and_a_damaged_record_is_none(tmp_path):
    graph, score = behind(tmp_path)
    write_json(score.record, {"miou": 50.0})
    assert proxy_use({("weak-retrain", "value"): {0: score}}).networks == {}
    write_json(graph.proxies(1).folder / RECORD, record(1))
    write_json(graph.proxies(2).folder / RECORD, damaged("a score by hand"))
    found = proxy_use({("weak-retrain", "value"): {0: score}}).to_json()["networks"]
    assert found[graph.proxies(2).id] is None
    assert found[graph.proxies(1).id] == checked(read_json(graph.proxies(1).folder / RECORD), RECORD)
