"""What the proxies behind the weak row score: added up again from the counts of their quality report, or why there is none."""

import json

import pytest
from conftest import PUBLISHED, REPOSITORY
from studies import graph_of

from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json, write_json
from swdb.reports.mask_scores import RECORD, MaskScore, from_json, mask_scores, of_report
from swdb.specs.tables import CellSource

COUNTS = [[30, 10], [20, 40]]  # IoU 30 of 60 and 40 of 70
MIOU = 100 * (30 / 60 + 40 / 70) / 2


def report(name="dsrg-1-x", **changes):
    """A quality report, as far as it is read."""
    confusion = {"classes": ["background", "cat"], "true_by_proxy": COUNTS}
    return {"name": name, "set": 1, "masks": {"miou": round(MIOU, 2)}, "confusion": confusion, **changes}


def scored(folder, seeds=(0, 1)):
    """Finished scores of the rows weak and strong, by row and column."""
    graph = graph_of(folder)
    found = {}
    for row in ("weak", "strong"):
        source = CellSource((graph.runs[row],), "strong")
        found[row, "miou"] = {seed: graph.score(source, seed) for seed in seeds}
        for score in found[row, "miou"].values():
            write_json(score.record, {"miou": 50.0})
    return graph, found


def test_the_score_is_that_of_the_counts_in_full_precision(tmp_path):
    write_json(tmp_path / RECORD, report())
    assert of_report(tmp_path / RECORD, "dsrg-1-x") == MaskScore("dsrg-1-x", pytest.approx(MIOU, abs=1e-9))


@pytest.mark.parametrize("preset", PUBLISHED)
def test_the_published_reports_hold(preset):
    path = REPOSITORY / "results" / preset / "quality-1.json"
    found = read_json(path)
    assert of_report(path, found["name"]).miou == pytest.approx(found["masks"]["miou"], abs=0.006)


def test_it_is_read_for_every_seed_of_the_weak_row(tmp_path):
    graph, scores = scored(tmp_path)
    proxies = graph.proxies(1)
    write_json(proxies.folder / RECORD, report(proxies.id))
    found = mask_scores(2, scores)
    assert found.keys() == {0, 1} and found[0] == found[1] == MaskScore(proxies.id, pytest.approx(MIOU))
    assert mask_scores(1, scores) == {} and mask_scores(2, {}) == {}


def test_a_score_that_is_not_finished_and_a_missing_report_give_none(tmp_path):
    graph, scores = scored(tmp_path)
    scores["weak", "miou"][1].record.unlink()
    found = mask_scores(2, scores)
    assert found.keys() == {0} and found[0].miou is None
    assert graph.proxies(1).id in found[0].why and "missing" in found[0].why


DAMAGE = {
    "no JSON": "{",
    "a list": [],
    "no counts": report(confusion={}),
    "a score edited by hand": report(masks={"miou": 70.0}),
    "no number": report(masks={"miou": "51"}),
    "not a number": report(masks={"miou": float("nan")}),
    "counts that are no square": report(confusion={"true_by_proxy": [[1, 2]]}),
    "counts below zero": report(confusion={"true_by_proxy": [[-30, 10], [20, 40]]}),
    "counts of nothing": report(confusion={"true_by_proxy": [[0, 0], [0, 0]]}),
    "counts that are none": report(confusion={"true_by_proxy": [["a", "b"], ["c", "d"]]}),
    "ragged counts": report(confusion={"true_by_proxy": [[1], [2, 3]]}),
    "of other proxies": report("dsrg-1-y"),
    "of the other set": report(set=2),
    "counts without a score": report(masks={"miou": None}),
    "a score without counts": report(confusion=None),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_report_gives_none_and_says_so(tmp_path, damage):
    (tmp_path / RECORD).write_text(damage if isinstance(damage, str) else json.dumps(damage))
    found = of_report(tmp_path / RECORD, "dsrg-1-x")
    assert found.miou is None and found.why.startswith("quality.json of dsrg-1-x is damaged")


def test_without_true_masks_there_is_no_score_and_no_damage(tmp_path):
    write_json(tmp_path / RECORD, report(masks={"miou": None}, confusion=None))
    found = of_report(tmp_path / RECORD, "dsrg-1-x")
    assert found == MaskScore("dsrg-1-x", None, "there are no true masks to score dsrg-1-x with")


def test_json_gives_it_back_and_refuses_what_cannot_be():
    scores = {0: MaskScore("a", 51.9), 3: MaskScore("b", None, "it is missing")}
    found = json.loads(json.dumps({seed: one.to_json() for seed, one in scores.items()}))
    assert from_json(found, "here") == scores
    for wrong in (120.0, -1.0, "51", float("nan"), True):
        with pytest.raises(MissingArtefact):
            from_json({"0": {"proxies": "a", "miou": wrong, "why": ""}}, "here")
    with pytest.raises(MissingArtefact):
        from_json({"zero": {"proxies": "a", "miou": None, "why": ""}}, "here")
