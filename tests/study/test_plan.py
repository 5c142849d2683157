"""The plan of a study, written down: which score stands behind which cell, made from which run and inputs."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from commands import call, code
from conftest import TINY
from made_up import finish_all
from studies import changed, graph_of

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.errors import DiskRefused, MissingArtefact
from swdb.core.files import write_json
from swdb.core.lease import leased
from swdb.methods.stages import RunStage
from swdb.reports.results import measure
from swdb.specs.presets import load_preset
from swdb.specs.runs import RunSpec
from swdb.specs.study import NamedFile
from swdb.specs.tables import Column, Row, Table, all_runs, load_tables
from swdb.study.graph import Graph
from swdb.study.plan import Plan, identity_of, make_plan, plan_path, read_plan, write_plan

TABLES = load_tables()
WEIGHTS, CUES = NamedFile(Path("gone/mine.pth"), {"file": "1"}), NamedFile(Path("gone/cues.npz"), {"file": "2"})


def rows(*numbers: int, keys: tuple[str, ...] = ()) -> list[tuple[Table, Row]]:
    """The rows of some tables, of all where none is named; of those only some, if `keys` are given."""
    chosen = [TABLES[number] for number in numbers or TABLES]
    return [(table, row) for table in chosen for row in table.rows if not keys or row.key in keys]


def ids(plan: Plan) -> dict[tuple[int, str, str, int], str]:
    return {place: score.id for place, score in plan.scores.items()}


def chain(plan: Plan) -> list[tuple]:
    """All that a plan leads to: what can be said of an artefact without its task."""
    return [
        (
            one.kind, one.name, one.id, one.folder, one.record, one.steps, json.dumps(one.key, sort_keys=True),
            [other.id for other in one.inputs],
        )
        for one in with_inputs(*plan.scores.values())
    ]  # fmt: skip


@pytest.fixture
def at(tmp_path) -> Graph:
    return graph_of(tmp_path)


# ---------------------------------------------------------------- planning


def test_every_measured_cell_of_the_tables_has_a_score_for_each_seed(at):
    plan = make_plan(at, rows(), range(3))
    counts = {number: len(plan.cells(number)) for number in TABLES}
    assert counts == {1: 6, 2: 8, 3: 10, 4: 6}  # literature has none
    assert all(sorted(by_seed) == [0, 1, 2] for number in TABLES for by_seed in plan.cells(number).values())
    assert len({score.id for score in plan.scores.values()}) == 3 * 27  # three cells stand in two tables


def test_a_cell_leads_to_its_score_run_and_inputs(at):
    plan = make_plan(at, rows(3), [0])
    strong, weak = (plan.cells(3)["n0", column][0] for column in ("strong", "weak"))
    assert strong.input("run").id == weak.input("run").id == at.run(at.run_spec("dual-n0"), 0).id
    assert (strong.task.scoring.branch, weak.task.scoring.branch) == ("strong", "weak")
    assert strong.input("run").input("proxies").id == at.proxies(1).id


def test_tables_share_scores_and_runs(at):
    plan = make_plan(at, rows(), [0])
    one, two, three = (plan.cells(number) for number in (1, 2, 3))
    assert one["mixed", "miou"][0].id == two["mixed", "miou"][0].id
    assert one["strong", "miou"][0].id == two["strong", "miou"][0].id
    assert two["dual", "miou"][0].id == three["n3", "strong"][0].id


def test_seeds_follow_each_other_so_that_whoever_stops_has_whole_tables(at):
    plan = make_plan(at, rows(), range(3))
    seeds = [place[-1] for place in plan.scores]
    assert seeds == sorted(seeds) and len(seeds) == 3 * 30
    trained = [one.task.seed for one in with_inputs(*plan.scores.values()) if one.kind == "run"]
    assert trained == sorted(trained)


def test_cells_whose_method_cannot_be_built_on_the_backbone_are_left_out(tmp_path):
    lite0 = changed(load_preset(TINY), "network", backbone="efficientnet_lite0", weights="imagenet-lite")
    plan, whole = (make_plan(graph_of(tmp_path, preset), rows(), [0]) for preset in (lite0, TINY))
    left_out = {place for place in whole.scores if place not in plan.scores}
    assert left_out == {(4, row, "decouplednet-measured", 0) for row in ("5", "10", "25")}


def test_only_the_rows_that_are_asked_for_are_planned(at):
    plan = make_plan(at, rows(1, 2, keys=("mixed",)), [4])
    assert list(plan.scores) == [(1, "mixed", "miou", 4), (2, "mixed", "miou", 4)]


def test_cells_without_a_branch_of_their_run_are_not_planned(at):
    alone = RunSpec(name="alone", strong_branch="strong")
    columns = (
        Column(key="strong", title="Strong", branch="strong"),
        Column(key="other", title="Other", branch="weak", run="other"),
    )
    averaged = Row(key="both", labels=("both",), average=("alone", "other"), paper={}, printed=False)
    dual = RunSpec(name="other", strong_branch="strong", weak_branch="weak")
    table = Table(
        number=5,
        title="",
        label_titles=("row",),
        columns=columns,
        rows=(
            Row(key="alone", labels=("alone",), run=alone),
            Row(key="runs", labels=("runs",), runs={"other": dual}),
            averaged,
        ),
        claims=(),
    )
    graph = Graph(at.study, {"alone": alone, "other": dual})
    plan = make_plan(graph, [(table, row) for row in table.rows], [0])
    assert {(row, column): score.name for (_, row, column, _), score in plan.scores.items()} == {
        ("alone", "strong"): "alone-s0-val-strong",
        ("runs", "other"): "other-s0-val-weak",
        ("both", "strong"): "alone-s0+other-s0-val-strong",  # by the weak branch, alone has no say
    }


# ---------------------------------------------------------------- on disk


def test_a_plan_that_was_written_is_read_again(at):
    plan = make_plan(at, rows(), range(2))
    assert write_plan(at.study, plan) == plan
    again = read_plan(at.study)
    assert again.study == plan.study and list(again.scores) == list(plan.scores)
    assert chain(again) == chain(plan)
    assert plan_path(at.study) == at.study.folder / "reports" / "tiny" / "plan.json"


def test_what_is_made_besides_is_written_and_read_and_belongs_to_no_cell(at):
    plan = make_plan(at, rows(4), [0])
    beside = [one for one in at.needed(*plan.scores.values()) if one not in plan.artefacts]
    assert {"quality", "dsrg-score", "recognition"} <= {one.kind for one in beside}
    first, second = (replace(plan, beside=tuple(part)) for part in (beside[:2], beside[1:]))
    write_plan(at.study, first)
    write_plan(at.study, second)
    again = read_plan(at.study)
    assert ids(again) == ids(plan) and [one.id for one in again.beside] == [one.id for one in beside]
    assert {one.id for one in again.artefacts} == {one.id for one in at.needed(*plan.scores.values())}
    assert again.part().beside == () and ids(again.part()) == ids(plan)


def test_the_file_says_which_runs_stand_behind_a_cell(at):
    write_plan(at.study, make_plan(at, rows(4)[:1], [1]))
    said = json.loads(plan_path(at.study).read_text())
    assert said["version"] == 1 and said["preset"] == "tiny" and said["study"]["precision"] == "fp32"
    (cell,) = (cell for cell in said["cells"] if cell["column"] == "ours")
    (run,) = cell["runs"]
    assert (cell["table"], cell["seed"]) == (4, 1) and said["artefacts"][run]["kind"] == "run"
    assert run in said["artefacts"][cell["score"]]["inputs"]
    assert all(not Path(entry["folder"]).is_absolute() for entry in said["artefacts"].values())


def test_a_work_directory_may_be_moved_with_its_plan(at, tmp_path):
    write_plan(at.study, make_plan(at, rows(1), [0]))
    moved = graph_of(tmp_path / "moved")
    moved.study.reports.mkdir(parents=True)
    plan_path(at.study).rename(plan_path(moved.study))
    assert chain(read_plan(moved.study)) == chain(make_plan(moved, rows(1), [0]))


def test_where_there_is_no_plan_none_is_read(at):
    assert read_plan(at.study) is None


def test_a_plan_is_extended_by_more_rows_and_seeds(at):
    write_plan(at.study, make_plan(at, rows(1), [0]))
    whole = write_plan(at.study, make_plan(at, rows(1, 2), [1]))
    expected = ids(make_plan(at, rows(1), [0])) | ids(make_plan(at, rows(1, 2), [1]))
    assert ids(whole) == ids(read_plan(at.study)) == expected


def test_what_is_planned_now_stands_before_what_was_planned_then(at):
    other = Artefact("score", "other", "other-0123456789", at.study.folder / "runs" / "other")
    place = (1, "mixed", "miou", 0)
    now = make_plan(at, rows(1, keys=("mixed",)), [0])
    then = replace(now, scores={place: other, (1, "mixed", "miou", 1): other})
    both = now.extended(then)
    assert ids(both) == {place: now.scores[place].id, (1, "mixed", "miou", 1): other.id}
    assert now.extended(None) is now


@pytest.mark.parametrize(
    "other",
    [
        lambda folder: replace(graph_of(folder).study, precision="bf16"),
        lambda folder: graph_of(folder, weights=WEIGHTS).study,
        lambda folder: graph_of(folder, weights=NamedFile(WEIGHTS.path, {"file": "3"})).study,
        lambda folder: graph_of(folder, changed(load_preset(TINY), "training", steps=7)).study,
    ],
    ids=["precision", "a file", "other contents", "settings"],
)
def test_plans_of_another_study_in_the_same_place_are_not_mixed(tmp_path, other):
    first = (
        graph_of(tmp_path, weights=WEIGHTS) if other(tmp_path).files.get("weights") != WEIGHTS else graph_of(tmp_path)
    )
    second = Graph(other(tmp_path), all_runs(TABLES))
    assert identity_of(first.study) != identity_of(second.study)
    write_plan(first.study, make_plan(first, rows(1), [0]))
    assert read_plan(second.study).study == identity_of(first.study)  # so that a reader can tell
    plan = make_plan(second, rows(2), [0])
    assert write_plan(second.study, plan) == plan
    assert ids(read_plan(second.study)) == ids(plan)


def test_the_path_of_a_named_file_does_not_tell_studies_apart(tmp_path):
    here, there = (graph_of(tmp_path, weights=NamedFile(Path(p), {"file": "1"})).study for p in ("a.pth", "b.pth"))
    assert identity_of(here) == identity_of(there)


def written(at: Graph) -> dict:
    write_plan(at.study, make_plan(at, rows(1, keys=("mixed",)), [0]))
    return json.loads(plan_path(at.study).read_text())


def refused(at: Graph) -> MissingArtefact:
    with pytest.raises(MissingArtefact) as caught:
        read_plan(at.study)
    assert caught.value.subject == plan_path(at.study) and caught.value.exit_code == 3
    return caught.value


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_plan_of_another_version_is_refused(at, version):
    write_json(plan_path(at.study), written(at) | {"version": version})
    error = refused(at)
    assert str(version) in error.found and "1" in error.expected


def without(values: dict, *keys: str) -> dict:
    return {name: value for name, value in values.items() if name not in keys}


DAMAGED = {
    "a list": lambda said: [],
    "a number": lambda said: 7,
    "nothing": lambda said: {},
    "no cells": lambda said: without(said, "cells"),
    "no artefacts": lambda said: without(said, "artefacts"),
    "no study": lambda said: without(said, "study"),
    "artefacts as a list": lambda said: said | {"artefacts": list(said["artefacts"])},
    "a cell without its seed": lambda said: said | {"cells": [without(said["cells"][0], "seed")]},
    "a cell whose score is not there": lambda said: said | {"cells": [said["cells"][0] | {"score": "no-0123456789"}]},
    "a cell whose run is not there": lambda said: (
        said | {"artefacts": {k: v for k, v in said["artefacts"].items() if v["kind"] != "run"}}
    ),
    "an artefact of no kind": lambda said: (
        said | {"artefacts": {k: without(v, "kind") for k, v in said["artefacts"].items()}}
    ),
    "a seed that is no number": lambda said: said | {"cells": [cell | {"seed": "0"} for cell in said["cells"]]},
    "a seed that no number is that large": lambda said: said | {"cells": [said["cells"][0] | {"seed": 10**30}]},
    "a seed that its runs do not have": lambda said: said | {"cells": [said["cells"][0] | {"seed": 1}]},
    "inputs after what is made from them": lambda said: said | {"artefacts": dict(reversed(said["artefacts"].items()))},
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_plan_is_refused(at, damage):
    write_json(plan_path(at.study), DAMAGED[damage](written(at)))
    assert refused(at).found == "damaged"


@pytest.mark.parametrize("content", [b"", b'{"version": 1, "cel', b"\xff\xfe"])
def test_half_a_plan_is_refused(at, content):
    written(at)
    plan_path(at.study).write_bytes(content)
    assert refused(at).found == "damaged"


@pytest.mark.parametrize("content", ["", "[]", '{"version": 7}'])
def test_what_cannot_be_read_is_replaced_by_the_next_plan(at, content):
    written(at)
    plan_path(at.study).write_text(content)
    plan = make_plan(at, rows(2), [0])
    assert write_plan(at.study, plan) == plan
    assert chain(read_plan(at.study)) == chain(plan)


def test_a_plan_is_whole_or_as_before_where_the_disk_is_full(at, monkeypatch):
    before = written(at)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with leased(plan_path(at.study)), pytest.raises(DiskRefused) as caught:
        monkeypatch.setattr(os, "fsync", full)
        write_plan(at.study, make_plan(at, rows(2), [0]))
    assert caught.value.subject == plan_path(at.study)
    assert json.loads(plan_path(at.study).read_text()) == before


TWO_WRITERS = """
import sys
from pathlib import Path
from swdb.specs.presets import load_preset
from swdb.specs.study import Study
from swdb.specs.tables import all_runs, load_tables
from swdb.study.graph import Graph
from swdb.study.plan import make_plan, write_plan
folder, preset, seed = sys.argv[1:]
tables = load_tables()
graph = Graph(Study(Path(folder), load_preset(preset), "fp32"), all_runs(tables))
plan = make_plan(graph, [(table, row) for table in tables.values() for row in table.rows], [int(seed)])
print("ready", flush=True)
sys.stdin.readline()
write_plan(graph.study, plan)
"""


def test_two_processes_that_plan_at_once_lose_nothing(at):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_WRITERS, str(at.study.folder), TINY, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (0, 1)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.communicate(timeout=60) and writer.returncode for writer in writers] == [0, 0]
    assert ids(read_plan(at.study)) == ids(make_plan(at, rows(), range(2)))


# ---------------------------------------------------------------- a study that is finished


def test_a_finished_study_is_measured_by_its_plan_when_a_later_version_would_plan_other_ids(at, monkeypatch):
    plan = write_plan(at.study, make_plan(at, rows(2), [0, 1]))
    finish_all(plan.scores.values())
    expected = measure(TABLES[2], at.runs, plan.cells(2))
    monkeypatch.setattr(RunStage, "version", 10_000)
    later = graph_of(at.study.folder)
    assert not any(score.done for score in make_plan(later, rows(2), [0, 1]).scores.values())
    found = measure(TABLES[2], later.runs, read_plan(later.study).cells(2))
    assert found == expected and found.complete and found.proxies == [at.proxies(1).id, at.proxies(2).id]


# ---------------------------------------------------------------- without torch

PLANS_AND_READS = """
import sys
from pathlib import Path
from swdb.specs.tables import load_tables, all_runs
from swdb.study.graph import Graph
from swdb.study.plan import make_plan, read_plan, write_plan
from swdb.study.workdir import open_study
from swdb.timing.forecast import forecast
from swdb.timing.rates import read_rates
folder, preset = sys.argv[1:]
tables = load_tables()
graph = Graph(open_study(Path(folder), preset, "fp32"), all_runs(tables))
plan = make_plan(graph, [(table, row) for table in tables.values() for row in table.rows], range(3))
write_plan(graph.study, plan)
forecast(graph.study, graph.needed(*plan.scores.values()), read_rates(graph.study)).lines("")
print(len(read_plan(graph.study).scores), "torch" in sys.modules)
"""


def test_to_plan_and_to_read_plans_loads_no_torch(tmp_path):
    command = [sys.executable, "-c", PLANS_AND_READS, str(tmp_path), TINY]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "90 False\n"


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path):
    result = call("reproduce-table", "all", "--dry-run", "--preset", TINY, "--workdir", tmp_path / "work")
    assert code(result) == 0 and "dual-25-s1" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("folder", "/etc"), ("folder", "../../x"), ("folder", 3), ("record", "../done.json"), ("record", "/etc/passwd")],
)
def test_a_plan_that_leads_out_of_the_work_directory_is_damaged(at, key, value):
    plan = written(at)
    next(iter(plan["artefacts"].values()))[key] = value
    write_json(plan_path(at.study), plan)
    assert refused(at).found == "damaged"
