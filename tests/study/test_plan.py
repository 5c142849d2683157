"""Plans: what would be made, under which id, in which order, known before anything is there."""

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TINY, swdb

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import write_json
from swdb.specs import tables
from swdb.specs.presets import Evaluation, Preset, load_preset
from swdb.study.plan import Saliency, Scoring, Work

PRESET = load_preset(TINY)
NAMES = [
    "mixed", "mixed-x2", "mixed-x3", "mixed-x6", "strong", "weak-then-strong", "weak", "weak-retrain", "all-strong",
    "dual", "dual-kl", "dual-all-strong", "dual-n0", "dual-n1", "dual-n2", "dual-5", "dual-10", "dual-25",
]  # fmt: skip
WITHOUT_PROXIES = {"strong", "all-strong", "dual-all-strong"}  # weak-then-strong begins with weak, so it hangs on them


def work(preset: Preset = PRESET, folder: str = "work", precision: str = "fp32", **options) -> Work:
    return Work(Path(folder), preset, precision, **options)


def ids(at: Work, seed: int = 0) -> dict[str, str]:
    """The ids of all trainings with one seed, by name."""
    return {name: at.run(at.recipe(name), seed).id for name in NAMES}


def changed(at: Work) -> set[str]:
    """The trainings whose ids differ from those of the plain tiny preset."""
    before, now = ids(work()), ids(at)
    return {name for name in NAMES if before[name] != now[name]}


# ---------------------------------------------------------------- ids


def test_every_training_of_the_tables_has_an_id_of_its_own():
    at = work()
    assert sorted(at.recipes) == sorted(NAMES)
    assert len({at.run(at.recipe(name), seed).id for name in NAMES for seed in range(3)}) == 54


def test_ids_are_the_same_in_another_process():
    code = (
        "import sys; from pathlib import Path; from swdb.study.plan import Work; from swdb.specs.presets import load_preset\n"
        "at = Work(Path('work'), load_preset(sys.argv[1]), 'fp32')\n"
        "print(*(at.run(at.recipe(name), 0).id for name in sys.argv[2:]))"
    )
    # Another hash seed: no id may hang on the order in which a set of strings happens to come.
    result = subprocess.run(
        [sys.executable, "-c", code, TINY, *NAMES],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert result.stdout.split() == list(ids(work()).values())


def test_ids_do_not_hang_on_the_order_of_asking():
    expected = ids(work())
    for attempt in range(3):
        order = list(NAMES)
        random.Random(attempt).shuffle(order)
        at = work()
        at.plan([at.recipe(order[0])], range(3))
        assert {name: at.run(at.recipe(name), 0).id for name in order} == expected


def test_ids_do_not_change_with_the_work_directory(tmp_path):
    assert changed(work(folder=str(tmp_path / "elsewhere"))) == set()


def test_ids_do_not_change_with_what_is_made_already(tmp_path):
    at = work(folder=str(tmp_path))
    for artefact in at.plan(at.recipes.values(), [0]):
        write_json(artefact.record, {})
    assert changed(work(folder=str(tmp_path))) == set()


def test_a_run_lies_below_its_work_directory_under_its_id(tmp_path):
    at = work(folder=str(tmp_path))
    run, proxies, weights = at.run(at.recipe("dual"), 2), at.proxies(1), at.initial_weights
    assert run.name == "dual-s2" and run.id.startswith("dual-s2-")
    assert run.folder == tmp_path / "runs" / run.id
    assert proxies.folder == tmp_path / "proxies" / proxies.id and proxies.id.startswith("dsrg-1-")
    assert weights.folder == tmp_path / "weights" / weights.id and weights.id.startswith("pretext-")


def test_another_seed_is_another_run():
    assert not set(ids(work(), 0).values()) & set(ids(work(), 1).values())


@pytest.mark.parametrize("weights", ["pretext", "random"])
def test_another_precision_is_another_run(weights):
    # Random weights are the same at every precision, the runs that begin with them are not.
    preset = replace(PRESET, network=replace(PRESET.network, weights=weights))
    exact, rounded = ids(work(preset)), ids(work(preset, precision="bf16"))
    assert all(exact[name] != rounded[name] for name in NAMES)


def test_another_training_version_is_another_run(monkeypatch):
    before = ids(work())
    monkeypatch.setattr("swdb.study.plan.TRAINING_VERSION", 10_000)
    after = ids(work())
    assert all(before[name] != after[name] for name in NAMES)


def other(value):
    """A value of the same kind that is not this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}-other"
    return (*value, 2.0) if isinstance(value, tuple) else value + 1


def with_another(section: str, key: str) -> Work:
    """The tiny preset with one value changed."""
    part = getattr(PRESET, section)
    return work(replace(PRESET, **{section: replace(part, **{key: other(getattr(part, key))})}))


def settings(section: str) -> list[str]:
    return [knob.name for knob in dataclasses.fields(getattr(PRESET, section))]


@pytest.mark.parametrize(("section", "number"), [("data", 8), ("network", 7), ("training", 14)])
def test_every_setting_of_data_network_and_training_changes_every_id(section, number):
    keys = settings(section)
    assert len(keys) >= number
    for key in keys:
        assert changed(with_another(section, key)) == set(NAMES), f"{section}.{key}"


def test_every_setting_of_the_proxies_changes_the_runs_that_use_them():
    keys = settings("proxy")
    assert len(keys) >= 6
    for key in set(keys) - {"cues", "saliency_threshold"}:  # cues from a file are another test, and so are maps
        assert changed(with_another("proxy", key)) >= set(NAMES) - WITHOUT_PROXIES, key


@pytest.mark.parametrize("key", ["steps", "threshold", "cam_sizes", "background_share"])
def test_a_run_without_proxies_does_not_hang_on_how_cues_are_made(key):
    assert changed(with_another("proxy", key)) == set(NAMES) - WITHOUT_PROXIES


def test_every_setting_of_dsrg_changes_the_runs_that_use_its_masks_and_no_other():
    keys = settings("dsrg")
    assert len(keys) >= 20
    for key in keys:
        retrain = key.startswith("retrain")
        expected = {"weak-retrain"} if retrain else set(NAMES) - WITHOUT_PROXIES
        assert changed(with_another("dsrg", key)) == expected, key


def test_saliency_maps_are_known_by_their_content():
    one, two = (work(saliency=Saliency(Path("maps"), sha256)) for sha256 in ("1", "2"))
    assert changed(one) == changed(two) == set(NAMES) - WITHOUT_PROXIES
    assert one.proxies(1).id != two.proxies(1).id
    assert work(saliency=Saliency(Path("elsewhere"), "1")).proxies(1).id == one.proxies(1).id


def test_how_a_run_is_scored_is_no_part_of_its_id():
    # Training never opens the validation set; a run is scored twice, not trained twice.
    assert [changed(with_another("evaluation", key)) for key in ("scales", "flip")] == [set(), set()]


def test_the_title_and_the_number_of_seeds_are_no_part_of_an_id():
    assert changed(work(replace(PRESET, name="other", title="other", seeds=9, comparable=True))) == set()


def test_another_drawing_of_the_data_set_is_another_run(monkeypatch):
    before = ids(work())
    monkeypatch.setattr("swdb.data.synthetic.DRAWING_VERSION", 10_000)
    after = ids(work())
    assert all(before[name] != after[name] for name in NAMES)


def test_a_run_records_what_it_was_made_from():
    at = work()
    run = at.run(at.recipe("weak-retrain"), 1)
    assert run.recipe["proxies"] == at.proxies(2).id and run.recipe["weights"] == at.initial_weights.id
    assert at.proxies(2).recipe["first"] == at.proxies(1).id and at.proxies(1).recipe["cues"] == at.cues.id
    assert run.recipe["seed"] == 1 and run.recipe["precision"] == "fp32" and run.recipe["run"]["proxy_set"] == 2
    assert at.run(at.recipe("strong"), 1).recipe["proxies"] is None
    assert json.loads(json.dumps(run.recipe, sort_keys=True)).keys() == run.recipe.keys()


def test_a_row_that_is_added_makes_no_other_row_another_run(tmp_path, monkeypatch):
    # "Adding a row is editing a TOML file": it must not make other rows other runs.
    before = ids(work())
    folder = Path(shutil.copytree(tables.tables_folder(), tmp_path / "tables"))
    path = folder / "table1.toml"
    path.write_text(
        path.read_text() + '\n[[row]]\nkey = "weak-n0"\nlabels = ["9k weak, n = 0"]\npaper = { miou = 0.0 }\n'
        'run = { name = "weak-n0", strong_branch = "weak", shared_layers = 0 }\n'
    )
    monkeypatch.setattr(tables, "tables_folder", lambda: folder)
    at = work()
    assert "weak-n0" in at.recipes
    assert ids(at) == before


def test_weights_of_one_s_own_are_known_by_their_content(tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"one")
    one = ids(work(weights_file=path))
    assert not set(one.values()) & set(ids(work()).values())
    path.write_bytes(b"two")
    assert not set(ids(work(weights_file=path)).values()) & set(one.values())
    path.write_bytes(b"one")
    assert ids(work(weights_file=path)) == one


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(MissingArtefact, match=r"--weights .*mine\.pth: no such file"):
        ids(work(weights_file=tmp_path / "mine.pth"))


# ---------------------------------------------------------------- plans


def names(plan) -> list[str]:
    return [artefact.name for artefact in plan]


def test_all_tables_with_three_seeds_are_54_runs_once_each():
    at = work()
    rows = [row.run for table in at.tables.values() for row in table.rows]
    assert len(rows) == 21  # 18 trainings; three rows stand in two tables
    plan = at.plan(rows, range(3))
    runs = [artefact.name for artefact in plan if artefact.kind == "run"]
    assert sorted(runs) == sorted(f"{name}-s{seed}" for name in NAMES for seed in range(3)) and len(runs) == 54
    assert sorted(artefact.name for artefact in plan if artefact.kind != "run") == [
        "cues-classifier",
        "dsrg-1",
        "dsrg-2",
        "pretext",
    ]


def test_everything_is_planned_after_what_it_is_made_from():
    at = work()
    rows = list(at.recipes.values())
    for attempt in range(3):
        random.Random(attempt).shuffle(rows)
        plan = at.plan(rows, range(3))
        assert len({artefact.id for artefact in plan}) == len(plan) == 58
        seen: set[str] = set()
        known = {artefact.id for artefact in plan}
        for artefact in plan:
            # Whatever id stands in a recipe is an input: it must have come before.
            inputs = known & {value for value in artefact.recipe.values() if isinstance(value, str)}
            assert inputs <= seen, artefact.name
            assert inputs or artefact.kind == "weights"
            seen.add(artefact.id)


def test_a_single_run_is_planned_with_all_it_needs_and_no_more():
    at = work()
    expected = {
        "strong": ["pretext", "strong-s1"],
        "mixed": ["pretext", "cues-classifier", "dsrg-1", "mixed-s1"],
        "weak-then-strong": ["pretext", "cues-classifier", "dsrg-1", "weak-s1", "weak-then-strong-s1"],
        "weak-retrain": ["pretext", "cues-classifier", "dsrg-1", "dsrg-2", "weak-retrain-s1"],
    }
    for name, plan in expected.items():
        assert names(at.plan([at.recipe(name)], [1])) == plan


def test_fine_tuning_starts_from_the_weak_run_of_its_own_seed():
    at = work()
    for seed in range(3):
        run = at.run(at.recipe("weak-then-strong"), seed)
        assert run.recipe["start"] == at.run(at.recipe("weak"), seed).id
        assert f"weak-s{seed}" in names(at.needed(run))


def test_proxies_are_made_once_for_all_seeds():
    at = work()
    assert len({at.run(at.recipe("dual"), seed).recipe["proxies"] for seed in range(5)}) == 1


def test_seeds_follow_each_other_so_that_whoever_stops_has_whole_tables():
    plan = work().plan(work().recipes.values(), range(3))
    seeds = [artefact.seed for artefact in plan if artefact.kind == "run"]
    assert seeds == sorted(seeds)


def test_asking_twice_for_a_run_plans_it_once():
    at = work()
    dual = at.recipe("dual")
    assert names(at.plan([dual, dual], [0, 0])) == ["pretext", "cues-classifier", "dsrg-1", "dual-s0"]


def test_an_unknown_run_gets_the_nearest_name():
    with pytest.raises(BadInput, match=r"unknown run 'mixd-x2'; did you mean 'mixed-x2'\?"):
        work().recipe("mixd-x2")


def test_an_artefact_is_finished_when_its_record_is_there(tmp_path):
    run = work(folder=str(tmp_path)).run(work().recipe("dual"), 0)
    run.folder.mkdir(parents=True)
    (run.folder / "weights.pt").write_bytes(b"half a run")
    assert not run.done
    with pytest.raises(MissingArtefact, match="run: swdb train dual"):
        run.read_record("swdb train dual")
    write_json(run.record, {"steps": 6})
    assert run.done and run.read_record("swdb train dual") == {"steps": 6}


def test_scorings_are_told_apart_by_branch_scales_and_flip(tmp_path):
    scorings = [
        Scoring("strong"),
        Scoring("weak"),
        Scoring("weak", flip=True),
        Scoring("weak", (0.75, 1.0, 1.25)),
        Scoring("weak", (0.75, 1.0, 1.25), True),
        Scoring("weak", (0.75,)),
    ]
    assert [scoring.name for scoring in scorings] == [
        "val-strong",
        "val-weak",
        "val-weak-flip",
        "val-weak-0.75-1-1.25",
        "val-weak-0.75-1-1.25-flip",
        "val-weak-0.75",
    ]
    run = work(folder=str(tmp_path)).run(work().recipe("dual"), 0)
    assert scorings[0].folder(run) == run.folder / "evals" / "val-strong"


def test_a_score_is_read_where_it_is_finished(tmp_path):
    run = work(folder=str(tmp_path)).run(work().recipe("dual"), 0)
    scoring = Scoring("strong")
    assert scoring.result(run) is None
    write_json(scoring.folder(run) / "result.json", {"miou": 50.0})
    assert scoring.result(run) == {"miou": 50.0} and Scoring("weak").result(run) is None


def test_a_preset_s_own_scales_and_flip_are_those_of_its_tables():
    preset = replace(PRESET, evaluation=Evaluation(scales=(0.5, 1.0), flip=True))
    assert work(preset).scoring("weak") == Scoring("weak", (0.5, 1.0), True)


# ---------------------------------------------------------------- how long it takes


def test_the_time_left_follows_from_the_finished_runs(tmp_path):
    at = work(folder=str(tmp_path))
    plan = at.plan([at.recipe("strong"), at.recipe("all-strong")], [0])
    assert [artefact.steps for artefact in plan] == [4, 6, 6]
    assert "16 optimizer steps are left" in at.estimate(plan) and "minutes" not in at.estimate(plan)
    # Two runs of 6 steps took 90 s: 7.5 s a step, so 10 steps take 75 s, about a minute.
    for name, seconds in (("one", 30.0), ("two", 60.0)):
        write_json(tmp_path / "runs" / name / "training.json", {"steps": 6, "seconds": seconds})
    write_json(plan[1].record, {})
    assert "10 optimizer steps are left, about 1 minutes" in at.estimate(plan)


def test_runs_of_another_length_do_not_count_for_the_time_left(tmp_path):
    at = work(folder=str(tmp_path))
    write_json(tmp_path / "runs" / "other" / "training.json", {"steps": 600, "seconds": 1.0})
    assert "minutes" not in at.estimate(at.plan([at.recipe("strong")], [0]))


def test_nothing_left_is_said_so(tmp_path):
    at = work(folder=str(tmp_path))
    plan = at.plan([at.recipe("strong")], [0])
    for artefact in plan:
        write_json(artefact.record, {})
    assert at.estimate(plan) == "nothing is left to train"


# ---------------------------------------------------------------- without torch


def test_planning_imports_no_torch():
    code = (
        "import sys; from pathlib import Path; from swdb.study.plan import Work; from swdb.specs.presets import load_preset\n"
        "at = Work(Path('work'), load_preset(sys.argv[1]), 'fp32')\n"
        "plan = at.plan(at.recipes.values(), range(3)); at.estimate(plan)\n"
        "print(len(plan), 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code, TINY], capture_output=True, text=True, check=True)
    assert result.stdout == "58 False\n"


def test_a_dry_run_of_the_command_imports_no_torch(tmp_path):
    code = "import sys; from swdb.cli.app import app\ntry:\n    app(sys.argv[1:])\nfinally:\n    print('torch' in sys.modules)"
    arguments = ["reproduce-table", "all", "--dry-run", "--preset", TINY, "--workdir", str(tmp_path)]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert "dual-25-s1" in result.stdout and result.stdout.endswith("False\n")


def test_a_dry_run_makes_nothing(tmp_path):
    result = swdb("reproduce-table", "4", "--dry-run", "--preset", TINY, "--workdir", tmp_path / "work")
    assert result.returncode == 0, result.stderr
    # The precision is chosen once, by the first command: the ids that are shown hang on it.
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"precision.json"}
