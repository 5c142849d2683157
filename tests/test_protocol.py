"""The protocol by which settings are chosen: its rule, its number of runs, and that its page says what is run."""

import importlib.util
import json
import re
import sys
from dataclasses import replace

import pytest
from conftest import REPOSITORY

from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json
from swdb.specs.presets import load_preset
from swdb.specs.toml import read_toml

SPEC = importlib.util.spec_from_file_location("protocol", REPOSITORY / "bench" / "protocol.py")
protocol = sys.modules["protocol"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(protocol)
RUNS = read_toml(protocol.PROTOCOL)
ALL = [read_toml(path) for path in sorted(protocol.PROTOCOL.parent.glob("protocol-*.toml"), key=lambda path: path.stem)]
each_protocol = pytest.mark.parametrize("runs", ALL, ids=lambda runs: runs["preset"])
DEV = protocol.beginning(RUNS)
MACHINE = {"device": "cpu", "torch": "2.15.0"}


class Made:
    """A bench that makes nothing: scores by the name of a run, 50 where none is given."""

    def __init__(self, jobs=1, **scores):
        self.jobs, self.scores, self.made = jobs, scores, []

    def id_of(self, preset, judged):
        return f"{judged}-{replace(preset, name='any').digest}"

    def score(self, preset, judged):
        key = preset.name.removeprefix(f"{DEV.name}-")
        self.made.append((key, judged, preset))
        return {"miou": self.scores.get(key.replace("-", "_"), 50.0), "machine": MACHINE}


def test_the_cheapest_within_the_tie_is_taken_and_of_equals_the_first():
    one, two, dear = (protocol.Candidate(key, cost, ()) for key, cost in (("one", 1), ("two", 1), ("dear", 2)))
    every = [one, two, dear]
    assert protocol.chosen(every, {"one": 50, "two": 51, "dear": 50}, 1.0) is one
    assert protocol.chosen(every, {"one": 50, "two": 51.1, "dear": 52}, 1.0) is two
    assert protocol.chosen(every, {"one": 50, "two": 51, "dear": 52.1}, 1.0) is dear
    assert protocol.chosen(every, {"one": 50, "two": 51, "dear": 52.1}, 1.0, nearest=50.9) is two


@each_protocol
def test_a_protocol_has_at_most_12_runs_and_never_judges_a_dual_one(runs):
    assert 0 < protocol.count(runs) <= protocol.MOST_RUNS == 12
    assert {stage["judged"] for stage in runs["stage"]} <= set(protocol.JUDGED) and protocol.STRONG == "strong"
    assert not any("dual" in shown["run"] for shown in runs["shown"])


def test_a_stage_may_seek_what_is_near_to_a_score_and_not_the_best(tmp_path):
    runs = read_toml(protocol.PROTOCOL.parent / "protocol-voc-animals-poor-proxies.toml")
    (stage,) = runs["stage"]
    near = stage["nearest"]
    bench = Made(dsrg_60=near - 9, dsrg_120=near + 0.3, dsrg_250=near - 0.2, dsrg_500=near + 9)
    assert protocol.follow(runs, replace(protocol.beginning(runs), name=DEV.name), bench, tmp_path) == {
        "dsrg.steps": 250
    }


def test_the_first_run_is_what_the_protocol_begins_with():
    first = protocol.candidates_of(RUNS["stage"][0])[0]
    assert protocol.changed(DEV, first.changes, "first") == DEV


def test_where_nothing_is_better_the_cheapest_is_kept(tmp_path):
    bench = Made()
    assert protocol.follow(RUNS, DEV, bench, tmp_path) == {"dsrg.steps": 500}
    assert all(preset.data == DEV.data and preset.evaluation == DEV.evaluation for _, _, preset in bench.made)
    assert [judged for _, judged, _ in bench.made[-2:]] == ["weak", "all-strong"]


def test_a_stage_goes_on_from_what_was_chosen_and_every_figure_is_written(tmp_path):
    bench = Made(rate_3e_4=52.0, head_6=52.0, head_as_it_is=52.0, stride_8=55.0, steps_1200=55.5)
    assert protocol.follow(RUNS, DEV, bench, tmp_path) == {
        "training.lr_backbone": 3e-4, "network.backbone": "efficientnet_lite0_stride8", "network.head_dilation": 6,
        "dsrg.dilations": (3, 6, 9, 12), "dsrg.steps": 500,
    }  # fmt: skip
    last = bench.made[-1][2]
    assert last.training.lr_backbone == 3e-4 and last.network.head_dilation == 6 and last.training.steps == 600
    page = (tmp_path / "protocol.md").read_text()
    assert all(f"| {key} |" in page for key, _, _ in bench.made) and "| stride-8 |" in page and "55.50" in page


def test_runs_of_a_stage_at_once_choose_the_same_and_are_listed_in_their_order(tmp_path):
    found = [protocol.follow(RUNS, DEV, Made(jobs, crop_241=53.0), tmp_path / str(jobs)) for jobs in (1, 3)]
    assert found[0] == found[1] == {"training.crop": 241, "dsrg.steps": 500}
    one, three = ((tmp_path / jobs / "protocol.json").read_text() for jobs in "13")
    assert one == three


class Broken(Made):
    """A bench that stops at a run."""

    def __init__(self, at, jobs=1):
        super().__init__(jobs)
        self.at = at

    def score(self, preset, judged):
        if preset.name.endswith(self.at):
            raise SystemExit(1)
        return super().score(preset, judged)


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("at", ["rate-3e-4", "stride-8", "dsrg-1000", "weak"])
def test_what_was_written_is_not_made_again_on_another_machine(tmp_path, at, jobs):
    whole = Made()
    protocol.follow(RUNS, DEV, whole, tmp_path / "whole")
    before, after = Broken(at, jobs), Made()
    with pytest.raises(SystemExit):
        protocol.follow(RUNS, DEV, before, tmp_path)
    protocol.follow(RUNS, DEV, after, tmp_path)
    made = [key for key, *_ in [*before.made, *after.made]]
    assert sorted(made) == sorted(key for key, *_ in whole.made) and at in [key for key, *_ in after.made]
    assert (tmp_path / "protocol.json").read_text() == (tmp_path / "whole" / "protocol.json").read_text()


def test_a_start_that_makes_nothing_loses_no_line(tmp_path):
    with pytest.raises(SystemExit):
        protocol.follow(RUNS, DEV, Broken("stride-8"), tmp_path)
    kept = (tmp_path / "protocol.json").read_text()
    with pytest.raises(SystemExit):
        protocol.follow(RUNS, DEV, Broken(""), tmp_path)
    assert (tmp_path / "protocol.json").read_text() == kept


def test_what_a_stage_took_is_written_before_the_next_one_is_made(tmp_path):
    with pytest.raises(SystemExit):
        protocol.follow(RUNS, DEV, Broken("head-6"), tmp_path)
    lines = read_json(tmp_path / "protocol.json")["runs"]
    assert [line["key"] for line in lines if line["taken"]] == ["rate-1e-4"]


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "protocol.json").write_text('{"runs": [{"key": "rate-1e-4"}]}')
    with pytest.raises(MissingArtefact, match=r"protocol\.json"):
        protocol.follow(RUNS, DEV, Made(), tmp_path)


def test_each_run_is_written_with_its_id_and_machine(tmp_path):
    protocol.follow(RUNS, DEV, Made(), tmp_path)
    lines = json.loads((tmp_path / "protocol.json").read_text())["runs"]
    assert all(line["machine"] == MACHINE for line in lines)
    assert len({line["id"] for line in lines}) == protocol.count(
        RUNS
    )  # those without changes are the one that was chosen


def test_a_run_is_known_by_what_it_is_made_from_whatever_its_name(tmp_path):
    dev = load_preset("synthetic-dev")
    bench = protocol.Bench(tmp_path, (), None, precision="fp32")
    one, again = (bench.id_of(replace(dev, name=name), "run") for name in ("one", "again"))
    other = bench.id_of(replace(dev, training=replace(dev.training, steps=900)), "run")
    assert one == again != other and one.startswith("strong-s0-val-strong-")
    assert bench.id_of(dev, "masks").startswith("dsrg-1-") and bench.id_of(dev, "weak").startswith("weak-s0-val-")


def published(runs):
    """Return what was written of a protocol's runs; where none is made yet, that nothing was chosen."""
    path = REPOSITORY / "results" / runs["preset"] / "protocol.json"
    if path.exists():
        return read_json(path)
    return {"preset": runs["preset"], "tie": runs["tie"], "runs": [], "chosen": {}}


@each_protocol
def test_what_is_published_was_taken_by_the_rule(runs):
    found = published(runs)
    assert (found["preset"], found["tie"]) == (runs["preset"], runs["tie"])
    for stage in runs["stage"]:
        candidates = protocol.candidates_of(stage)
        lines = {line["key"]: line for line in found["runs"] if line["stage"] == stage["key"]}
        taken = [key for key, line in lines.items() if line["taken"]]
        if lines.keys() == {one.key for one in candidates}:
            scores = {key: line["miou"] for key, line in lines.items()}
            assert taken == [protocol.chosen(candidates, scores, runs["tie"], stage.get("nearest")).key]
        else:
            assert taken == []


@each_protocol
def test_the_presets_are_what_their_protocol_chose(runs):
    """As far as it has come: later stages start from the settings of the preset."""
    now, of_val = load_preset(runs["preset"]), load_preset(runs["preset"].removesuffix("-dev"))
    differences = protocol.differences(protocol.beginning(runs), now)
    assert json.loads(json.dumps(differences)) == published(runs)["chosen"]
    assert {**of_val.groups, "data": None} == {**now.groups, "data": None}


def test_the_page_lists_the_runs_in_their_order():
    page = (REPOSITORY / "docs" / "protocol-voc-animals.md").read_text()
    keys = [one["key"] for runs in ALL for stage in runs["stage"] for one in stage["candidates"]]
    assert re.findall(r"^\|[^|]*\| `([\w-]+)` \|", page, re.MULTILINE) == keys
    assert all(f"`{shown['key']}`" in page for runs in ALL for shown in runs["shown"])
