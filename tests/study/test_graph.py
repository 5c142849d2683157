"""Graphs: what would be made, under which id, from what and in which order, known before anything is there."""

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
from conftest import TINY
from studies import changed, study_of

from swdb.core.artefact import with_inputs
from swdb.core.errors import BadInput, NotNamed
from swdb.core.files import write_json
from swdb.data.synthetic import SCENES
from swdb.specs.presets import Evaluation, Preset, load_preset
from swdb.specs.study import NamedFile
from swdb.specs.tables import CellSource, all_runs, load_tables, runs_of, tables_folder
from swdb.specs.tasks import Scoring
from swdb.study.graph import Graph
from swdb.study.stages import CLASSIFIER, CUES, DATA, PROXIES, RUN, SCORE, WEIGHTS

PRESET = load_preset(TINY)
TABLES = load_tables()
RUNS = all_runs(TABLES)
NAMES = [
    "mixed", "mixed-x2", "mixed-x3", "mixed-x6", "strong", "weak-then-strong", "weak", "weak-retrain", "all-strong",
    "dual", "dual-kl", "dual-all-strong", "dual-n0", "dual-n1", "dual-n2", "dual-5", "dual-10", "dual-25",
]  # fmt: skip
DECOUPLED = ["decoupled-5", "decoupled-10", "decoupled-25"]  # of another method: other settings, other inputs
WITHOUT_PROXIES = {"strong", "all-strong", "dual-all-strong"}  # weak-then-strong begins with weak, so it hangs on them
WITH_PROXIES = set(NAMES) - WITHOUT_PROXIES


def graph(
    preset: Preset = PRESET, folder: Path | str = "work", precision: str = "fp32", runs=RUNS, **files: NamedFile
) -> Graph:
    return Graph(replace(study_of(Path(folder), preset, **files), precision=precision), runs)


def run(at: Graph, name: str, seed: int = 0):
    return at.run(at.run_spec(name), seed)


def ids(at: Graph, seed: int = 0) -> dict[str, str]:
    """The ids of all trainings with one seed, by name."""
    return {name: run(at, name, seed).id for name in NAMES}


def others(at: Graph) -> set[str]:
    """The trainings whose ids differ from those of the plain tiny preset."""
    before, now = ids(graph()), ids(at)
    return {name for name in NAMES if before[name] != now[name]}


def names(artefacts) -> list[str]:
    return [artefact.name for artefact in artefacts]


def named(content: str) -> NamedFile:
    return NamedFile(Path("somewhere/mine.pth"), {"file": content})


# ---------------------------------------------------------------- ids


def test_every_training_of_the_tables_has_an_id_of_its_own():
    at = graph()
    assert sorted(at.runs) == sorted(NAMES + DECOUPLED)
    assert len({run(at, name, seed).id for name in at.runs for seed in range(3)}) == 63


ANOTHER_PROCESS = """
import sys
from pathlib import Path
from swdb.specs.presets import load_preset
from swdb.specs.study import Study
from swdb.specs.tables import all_runs, load_tables
from swdb.study.graph import Graph
at = Graph(Study(Path("work"), load_preset(sys.argv[1]), "fp32"), all_runs(load_tables()))
print(*(at.run(at.run_spec(name), 0).id for name in sys.argv[2:]), "torch" in sys.modules)
"""


def test_ids_are_the_same_in_another_process_that_loads_no_torch():
    # Another hash seed: no id may hang on the order in which a set of strings happens to come.
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", ANOTHER_PROCESS, TINY, *NAMES]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.split() == [*ids(graph()).values(), "False"]


def test_ids_do_not_hang_on_the_order_of_asking():
    expected = ids(graph())
    for attempt in range(3):
        order = list(NAMES)
        random.Random(attempt).shuffle(order)
        at = graph()
        at.needed(*(run(at, order[0], seed) for seed in range(3)))
        assert {name: run(at, name).id for name in order} == expected


def test_ids_do_not_change_with_the_work_directory(tmp_path):
    assert others(graph(folder=tmp_path / "elsewhere")) == set()


def test_ids_do_not_change_with_what_is_made_already(tmp_path):
    at = graph(folder=tmp_path)
    for artefact in at.needed(*(run(at, name) for name in NAMES)):
        write_json(artefact.record, {})
    assert others(graph(folder=tmp_path)) == set()


def test_an_artefact_lies_below_its_work_directory_under_its_id(tmp_path):
    at = graph(folder=tmp_path)
    found = {
        "runs": (run(at, "dual", 2), "dual-s2"),
        "proxies": (at.proxies(1), "dsrg-1"),
        "weights": (at.weights, "pretext"),
        "cues": (at.cues, "cues-classifier"),
        "classifiers": (at.cues.input("classifier"), "classifier"),
    }
    for folder, (artefact, name) in found.items():
        assert artefact.name == name and artefact.id.startswith(f"{name}-")
        assert artefact.folder == tmp_path / folder / artefact.id
    assert at.data.folder == tmp_path / "data" / "tiny"  # where people look for it
    quality = at.quality(at.proxies(1))
    assert quality.record == at.proxies(1).folder / "quality.json" and quality.leased_path == quality.record


def test_another_seed_is_another_run():
    assert not set(ids(graph(), 0).values()) & set(ids(graph(), 1).values())


@pytest.mark.parametrize("weights", ["pretext", "random"])
def test_another_precision_is_another_run(weights):
    # Random weights are the same at every precision, the runs that begin with them are not.
    preset = changed(PRESET, "network", weights=weights)
    exact, rounded = graph(preset), graph(preset, precision="bf16")
    assert not set(ids(exact).values()) & set(ids(rounded).values())
    assert (exact.weights.id == rounded.weights.id) == (weights == "random")
    assert exact.data.id == rounded.data.id


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (DATA, set(NAMES)),
        (WEIGHTS, set(NAMES)),
        (RUN, set(NAMES)),
        (CLASSIFIER, WITH_PROXIES),
        (CUES, WITH_PROXIES),
        (PROXIES, WITH_PROXIES),
        (SCORE, set()),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_another_version_of_a_stage_makes_other_runs_where_they_hang_on_it(monkeypatch, stage, expected):
    monkeypatch.setattr(type(stage), "version", 10_000)
    now = ids(graph())
    monkeypatch.undo()
    before = ids(graph())
    assert {name for name in NAMES if before[name] != now[name]} == expected


def other(value):
    """A value of the same kind that is not this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return "voc" if value == "synthetic" else f"{value}-other"
    return (*value, 2.0) if isinstance(value, tuple) else value + 1


def with_another(group: str, key: str) -> Graph:
    """The tiny preset with one value changed."""
    return graph(changed(PRESET, group, **{key: other(getattr(getattr(PRESET, group), key))}))


def settings(group: str) -> list[str]:
    return [setting.name for setting in dataclasses.fields(getattr(PRESET, group))]


@pytest.mark.parametrize(("group", "number"), [("data", 8), ("network", 7), ("training", 14)])
def test_every_setting_of_data_network_and_training_changes_every_id(group, number):
    keys = settings(group)
    assert len(keys) >= number
    for key in keys:
        assert others(with_another(group, key)) == set(NAMES), f"{group}.{key}"


def test_every_setting_of_the_proxies_changes_the_runs_that_use_them():
    keys = settings("proxy")
    assert len(keys) >= 6
    for key in set(keys) - {"cues", "saliency_threshold"}:  # cues from a file are another test, and so are maps
        assert others(with_another("proxy", key)) >= WITH_PROXIES, key


@pytest.mark.parametrize("key", ["steps", "threshold", "cam_sizes", "background_share"])
def test_a_run_without_proxies_does_not_hang_on_how_cues_are_made(key):
    assert others(with_another("proxy", key)) == WITH_PROXIES


def test_every_setting_of_dsrg_changes_the_runs_that_use_its_masks_and_no_other():
    keys = settings("dsrg")
    assert len(keys) >= 20
    for key in keys:
        expected = {"weak-retrain"} if key.startswith("retrain") else WITH_PROXIES
        assert others(with_another("dsrg", key)) == expected, key


@pytest.mark.parametrize("key", ["steps", "lr_new", "kl_weight"])
def test_proxies_do_not_hang_on_how_runs_are_trained(key):
    assert with_another("training", key).proxies(2).id == graph().proxies(2).id


def test_saliency_maps_are_known_by_their_content():
    def maps(folder: str, sha256: str, preset: Preset = PRESET) -> Graph:
        return graph(preset, saliency=NamedFile(Path(folder), {"saliency": sha256}))

    assert others(maps("maps", "1")) == others(maps("maps", "2")) == WITH_PROXIES
    assert maps("maps", "1").proxies(1).id != maps("maps", "2").proxies(1).id
    assert maps("maps", "1").proxies(1).id == maps("elsewhere", "1").proxies(1).id
    # The threshold counts where there are maps, and only there.
    stricter = changed(PRESET, "proxy", saliency_threshold=0.5)
    assert maps("maps", "1", stricter).proxies(1).id != maps("maps", "1").proxies(1).id
    assert others(graph(stricter)) == set()


def test_how_a_run_is_scored_is_no_part_of_its_id_but_of_its_scores():
    # Training never opens the validation set; a run is scored twice, not trained twice.
    at = graph()
    for key in ("scales", "flip"):
        scored = with_another("evaluation", key)
        assert others(scored) == set()
        source = CellSource((RUNS["dual"],), "weak")
        assert scored.score(source, 0).id != at.score(source, 0).id


def test_the_title_and_the_number_of_seeds_are_no_part_of_an_id():
    assert others(graph(replace(PRESET, name="other", title="other", seeds=9, comparable=True))) == set()


def test_another_drawing_of_the_data_set_is_another_run(monkeypatch):
    before = ids(graph())
    monkeypatch.setitem(SCENES.version, "drawing", 10_000)
    assert not set(before.values()) & set(ids(graph()).values())


def test_a_row_that_is_added_makes_no_other_row_another_run(tmp_path):
    # "Adding a row is editing a TOML file": it must not make other rows other runs.
    folder = Path(shutil.copytree(tables_folder(), tmp_path / "tables"))
    path = folder / "table1.toml"
    path.write_text(
        path.read_text()
        + '\n[[row]]\nkey = "weak-n0"\nlabels = ["9k weak, n = 0"]\nin_text = true\npaper = { miou = 0.0 }\n'
        'run = { name = "weak-n0", strong_branch = "weak", shared_layers = 0 }\n'
    )
    at = graph(runs=all_runs(load_tables(folder)))
    assert "weak-n0" in at.runs and run(at, "weak-n0").id not in ids(at).values()
    assert others(at) == set()


def test_the_name_of_a_run_is_for_people():
    at = graph(runs={**RUNS, "other": replace(RUNS["dual"], name="other")})
    assert run(at, "other").id == run(at, "dual").id.replace("dual", "other")  # one digest: the same training


def test_weights_of_ones_own_are_known_by_their_content():
    one, same, two = (
        graph(weights=file) for file in (named("1"), replace(named("1"), path=Path("mine.pth")), named("2"))
    )
    assert ids(one) == ids(same)
    assert not set(ids(one).values()) & set(ids(graph()).values())
    assert not set(ids(one).values()) & set(ids(two).values())
    assert one.weights.name == "mine" and one.weights.steps == 0  # nothing is trained for them


def test_cues_of_a_file_are_known_by_their_content_and_their_list():
    preset = changed(PRESET, "proxy", cues="file")
    digests = [{"file": "1"}, {"file": "2"}, {"file": "1", "list": "3"}]
    made = [graph(preset, cues=NamedFile(Path("cues.pickle"), one)) for one in digests]
    assert len({at.proxies(1).id for at in made}) == 3
    assert all(others(at) == WITH_PROXIES for at in made)
    assert made[0].cues.name == "cues-file" and made[0].cues.find_input("classifier") is None


@pytest.mark.parametrize(("group", "key", "option"), [("network", "weights", "--weights"), ("proxy", "cues", "--cues")])
def test_a_file_that_the_preset_needs_and_nobody_named_is_asked_for(group, key, option):
    at = graph(changed(PRESET, group, **{key: "file"}))
    with pytest.raises(NotNamed) as caught:
        at.proxies(1)
    assert caught.value.subject == option and "'tiny'" in caught.value.found and caught.value.exit_code == 3
    assert at.data.id == graph().data.id  # what does not need the file can be planned


# ---------------------------------------------------------------- inputs


def test_an_artefact_is_made_from_what_it_reads():
    at = graph()
    classifier, first, second = at.cues.input("classifier"), at.proxies(1), at.proxies(2)
    weak, fine = run(at, "weak", 1), run(at, "weak-then-strong", 1)
    expected = {
        at.data: [],
        at.weights: [],
        classifier: [at.data, at.weights],
        at.cues: [at.data, classifier],
        first: [at.data, at.weights, at.cues],
        second: [at.data, first],
        at.dsrg_score(second): [at.data, second, at.quality(second)],
        at.quality(first): [at.data, at.cues, first],
        run(at, "strong"): [at.data, at.weights],
        run(at, "weak-retrain"): [at.data, at.weights, second],
        fine: [at.data, at.weights, weak],
        at.score(CellSource((RUNS["dual"],), "weak"), 0): [at.data, run(at, "dual")],
    }
    for artefact, inputs in expected.items():
        assert [other.id for other in artefact.inputs] == [other.id for other in inputs], artefact.name


def test_what_a_run_varies_stands_in_its_key():
    made = run(graph(), "weak-retrain", 1)
    assert made.key["seed"] == 1 and made.key["precision"] == "fp32" and made.key["run"]["proxy_set"] == 2
    assert made.key["training"]["steps"] == 6
    assert json.loads(json.dumps(made.key)) == made.key  # a record of it says the same


def test_fine_tuning_starts_from_the_weak_run_of_its_own_seed():
    at = graph()
    for seed in range(3):
        assert run(at, "weak-then-strong", seed).input("run").id == run(at, "weak", seed).id


def test_proxies_are_made_once_for_all_seeds():
    at = graph()
    assert len({run(at, "dual", seed).input("proxies").id for seed in range(5)}) == 1


def test_an_unknown_run_gets_the_nearest_name():
    with pytest.raises(BadInput) as caught:
        graph().run_spec("mixd-x2")
    assert "'mixd-x2'" in caught.value.subject and caught.value.near == "mixed-x2"


# ---------------------------------------------------------------- scores


def test_scores_are_told_apart_by_branch_scales_flip_and_crf():
    at, source = graph(), CellSource((RUNS["dual"],), "weak")
    scorings = {
        "val-strong": Scoring("strong"),
        "val-weak": Scoring("weak"),
        "val-weak-flip": Scoring("weak", flip=True),
        "val-weak-0.75-1-1.25": Scoring("weak", (0.75, 1.0, 1.25)),
        "val-weak-0.75-1-1.25-flip": Scoring("weak", (0.75, 1.0, 1.25), True),
        "val-weak-0.75": Scoring("weak", (0.75,)),
        "val-weak-crf-dsrg": Scoring("weak", crf="dsrg"),
    }
    scores = {name: at.score(source, 0, scoring) for name, scoring in scorings.items()}
    assert len({score.id for score in scores.values()}) == len(scorings)
    for name, score in scores.items():
        assert score.record == run(at, "dual").folder / "evals" / name / "result.json"
        assert score.name == f"dual-s0-{name}"


def test_another_version_of_scoring_lies_beside_the_first(monkeypatch):
    source = CellSource((RUNS["dual"],), "weak")
    before = graph().score(source, 0)
    monkeypatch.setattr(type(SCORE), "version", 3)
    after = graph().score(source, 0)
    assert after.id != before.id and after.folder == before.folder.with_name("val-weak-v3")


def test_a_presets_own_scales_and_flip_are_those_of_its_tables():
    at = graph(replace(PRESET, evaluation=Evaluation(scales=(0.5, 1.0), flip=True)))
    assert at.scoring("weak") == Scoring("weak", (0.5, 1.0), True)
    assert at.score(CellSource((RUNS["dual"],), "weak"), 0).task.scoring == Scoring("weak", (0.5, 1.0), True)


def test_an_average_is_made_from_all_its_runs_in_a_folder_of_its_own(tmp_path):
    at = graph(folder=tmp_path)
    average = at.score(CellSource((RUNS["dual"], RUNS["mixed"]), "strong"), 1)
    assert [other.id for other in average.inputs] == [at.data.id, run(at, "dual", 1).id, run(at, "mixed", 1).id]
    assert average.folder == tmp_path / "averages" / average.id
    assert average.name == "dual-s1+mixed-s1-val-strong"
    assert average.id != at.score(CellSource((RUNS["mixed"], RUNS["dual"]), "strong"), 1).id


# ---------------------------------------------------------------- orders


def test_all_tables_with_three_seeds_are_63_runs_once_each():
    at = graph()
    spelled = [run for table in TABLES.values() for row in table.rows for run in runs_of(row)]
    assert len(spelled) == 24  # 21 trainings; three rows stand in two tables
    plan = at.needed(*(at.run(run, seed) for seed in range(3) for run in spelled))
    runs = [artefact.name for artefact in plan if artefact.kind == "run"]
    assert sorted(runs) == sorted(f"{name}-s{seed}" for name in NAMES + DECOUPLED for seed in range(3))
    assert sorted(artefact.name for artefact in plan if artefact.kind != "run") == [
        "classifier", "cues-classifier", "dsrg-1", "dsrg-1-quality", "dsrg-1-val", "dsrg-2", "dsrg-2-quality", "dsrg-2-val",
        "pretext", "recognizer", "tiny",
    ]  # fmt: skip


def test_everything_is_planned_after_what_it_is_made_from():
    at = graph()
    runs = [run(at, name, seed) for name in NAMES for seed in range(3)]
    for attempt in range(3):
        random.Random(attempt).shuffle(runs)
        plan = at.needed(*runs)
        assert len({artefact.id for artefact in plan}) == len(plan) == 64
        seen: set[str] = set()
        for artefact in plan:
            assert {other.id for other in artefact.inputs} <= seen, artefact.name
            seen.add(artefact.id)


def test_a_single_run_is_planned_with_all_it_needs_and_no_more():
    at = graph()
    start, proxies = ["tiny", "pretext"], ["classifier", "cues-classifier", "dsrg-1", "dsrg-1-quality", "dsrg-1-val"]
    expected = {
        "strong": [*start, "strong-s1"],
        "mixed": [*start, *proxies, "mixed-s1"],
        "weak-then-strong": [*start, *proxies, "weak-s1", "weak-then-strong-s1"],
        "weak-retrain": [*start, *proxies, "dsrg-2", "dsrg-2-quality", "dsrg-2-val", "weak-retrain-s1"],
    }
    for name, plan in expected.items():
        assert names(at.needed(run(at, name, 1))) == plan


def test_what_is_asked_for_twice_is_planned_once():
    at = graph()
    assert names(at.needed(run(at, "strong"), run(at, "strong"))) == ["tiny", "pretext", "strong-s0"]


def test_everything_that_can_be_asked_for_is_listed_seed_after_seed():
    everything = list(graph().everything(range(2)))
    runs = [artefact.name for artefact in everything if artefact.kind == "run"]
    assert runs == [f"{name}-s{seed}" for seed in range(2) for name in RUNS]
    scores = [artefact.name for artefact in everything if artefact.kind == "score"]
    assert scores == [f"{name}-s{seed}-val-{b}" for seed in range(2) for name in RUNS for b in RUNS[name].branches]
    looks = [artefact.name for artefact in everything if artefact.kind == "lab"]
    assert looks == [
        f"{name}-s{seed}-lab{'-weak' * (b == 'weak')}"
        for seed in range(2)
        for name in RUNS
        for b in RUNS[name].branches
    ]
    peeks = [artefact.name for artefact in everything if artefact.kind == "peek"]
    assert peeks == [f"{name}-peek" for name in runs]
    planned = {artefact.id for artefact in everything}
    assert planned >= {artefact.id for artefact in with_inputs(*everything)}
    assert len(planned) == len(everything)


# ---------------------------------------------------------------- proxies of every seed


def with_proxy_seeds(preset: Preset = PRESET, **files: NamedFile) -> Graph:
    at = graph(preset, **files)
    return Graph(replace(at.study, proxy_seeds=True), at.runs)


def test_seed_0_has_the_same_ids_whether_seeds_share_proxies_or_not():
    assert ids(with_proxy_seeds()) == ids(graph())
    assert with_proxy_seeds().proxies(2).id == graph().proxies(2).id == graph().proxies(2, 5).id


def test_another_seed_has_a_chain_of_its_own_and_only_what_learns_from_proxies_is_another_run():
    at, shared = with_proxy_seeds(), graph()
    assert {name for name in NAMES if run(at, name, 1).id != run(shared, name, 1).id} == WITH_PROXIES
    chain = [
        one
        for one in with_inputs(at.proxies(2, 1))
        if one.id not in {other.id for other in with_inputs(shared.proxies(2))}
    ]
    assert names(chain) == ["classifier-s1", "cues-classifier-s1", "dsrg-1-s1", "dsrg-2-s1"]
    assert [one.key.get("seed") for one in chain] == [1, None, 1, 1]
    assert [one.task.seed for one in chain if one.kind != "cues"] == [1, 1, 1]
    assert at.proxies(1, 1).id.startswith("dsrg-1-s1-") and run(at, "dual", 1).input("proxies") is at.proxies(1, 1)
    assert at.quality(at.proxies(1, 1)).input("cues").id == at.proxies(1, 1).input("cues").id
    assert len({at.proxies(1, seed).id for seed in range(5)}) == 5


def test_cues_of_a_file_are_those_of_every_seed():
    cued = with_proxy_seeds(changed(PRESET, "proxy", cues="file"), cues=named("9"))
    assert cued.proxies(1, 1).input("cues") is cued.cues and cued.proxies(1, 1).id != cued.proxies(1).id


def test_everything_of_a_study_holds_the_proxies_of_its_seeds():
    found = {one.name for one in with_proxy_seeds().everything(range(2)) if one.kind == "proxies"}
    assert found == {"dsrg-1", "dsrg-2", "dsrg-1-s1", "dsrg-2-s1"}


def test_reports_of_both_studies_lie_apart():
    assert with_proxy_seeds().study.reports == graph().study.reports / "proxy-seeds"


# ---------------------------------------------------------------- runs that change the preset


def with_changes(name: str, **changes) -> dict:
    """All runs, and one more: `name`, called other, with changes."""
    pairs = tuple(sorted((key.replace("__", "."), value) for key, value in changes.items()))
    return {**RUNS, "other": replace(RUNS[name], name="other", changes=pairs)}


def test_a_run_with_changes_is_the_run_of_a_preset_that_says_so():
    at = graph(runs=with_changes("dual", training__lr_new=0.5))
    plain = graph(changed(PRESET, "training", lr_new=0.5))
    other, same = run(at, "other"), run(plain, "dual")
    assert (other.key, [one.id for one in other.inputs]) == (same.key, [one.id for one in same.inputs])
    assert other.id.rpartition("-")[2] == same.id.rpartition("-")[2] != run(at, "dual").id.rpartition("-")[2]
    assert other.task.training.lr_new == 0.5
    assert other.task.run.changes == (("training.lr_new", 0.5),)


def test_a_factor_and_the_number_that_it_gives_are_one_training():
    one, other = (run(graph(runs=with_changes("dual", training__steps=steps)), "other") for steps in ("x2", 12))
    assert one.id == other.id and one.steps == 12


def test_a_run_with_changes_leaves_all_others_as_they_are():
    assert others(graph(runs=with_changes("dual", training__lr_new=0.5))) == set()


def test_changes_of_dsrg_give_a_run_proxies_of_its_own():
    at = graph(runs=with_changes("weak", dsrg__grow_foreground=0.5))
    own, shared = run(at, "other").input("proxies"), run(at, "weak").input("proxies")
    assert own.id != shared.id
    assert own.task.dsrg.grow_foreground == 0.5 and shared.task.dsrg.grow_foreground == 0.85
    assert own.input("cues").id == shared.input("cues").id
    quality = [one for one in at.needed(run(at, "other")) if one.kind == "quality"]
    assert [one.input("proxies").id for one in quality] == [own.id]
    assert own.id in {one.id for one in at.everything(range(1))}  # so that it can be made by its id


def test_what_a_run_with_changes_starts_from_says_for_itself_what_it_changes():
    runs = with_changes("weak-then-strong", training__steps="x0.5")
    at = graph(runs=runs)
    assert run(at, "other").input("run").id == run(at, "weak").id
    half = replace(RUNS["weak"], name="half", changes=runs["other"].changes)
    at = graph(runs={**runs, "half": half, "other": replace(runs["other"], start_from="half")})
    assert [one.steps for one in with_inputs(run(at, "other")) if one.kind == "run"] == [3, 3]


def test_a_change_that_does_not_fit_the_preset_names_the_run():
    at = graph(runs=with_changes("dual", training__batch="x0.75"))
    with pytest.raises(BadInput, match="found 3") as error:
        run(at, "other")
    assert "preset 'tiny' as run 'other' changes it, training.batch" in str(error.value.subject)


LITE0 = changed(PRESET, "network", backbone="efficientnet_lite0", weights="imagenet-lite")


def test_a_run_that_cannot_be_built_on_the_backbone_is_refused_by_name_and_all_others_are_planned(tmp_path):
    at = graph(LITE0, tmp_path)
    with pytest.raises(BadInput) as caught:
        run(at, "decoupled-10")
    assert caught.value.subject == "run 'decoupled-10'" and "'efficientnet_lite0'" in caught.value.found
    assert [name for name in RUNS if not at.can_make(RUNS[name])] == DECOUPLED
    planned = list(at.everything([0]))
    assert {one.name for one in planned if one.kind == "run"} == {f"{name}-s0" for name in NAMES}
    assert not {"recognizer", "recognition"} & {one.kind for one in planned}
    assert "recognizer" in {one.kind for one in graph(folder=tmp_path).everything([0])}
