"""`swdb reproduce-table sensitivity`: what it trains, prints and writes, and what it leaves as it is."""

import csv
import json
import shutil

import pytest
from commands import FP32, call, contents, next_command, only, preset_file, succeed, the_error
from conftest import TINY
from made_up_scores import finish_score, study

from swdb.core.errors import MissingArtefact
from swdb.specs.sensitivity import every_run, load_sensitivity
from swdb.specs.tables import load_tables
from swdb.study.graph import Graph
from swdb.study.readings import plan_readings, questions

TABLES = load_tables()


def readings(work, *words: object):
    return succeed("reproduce-table", "sensitivity", *words, *FP32, "--workdir", work)


def written(work) -> dict:
    return json.loads((work / "reports/tiny/sensitivity.json").read_text())


def line_of(found: dict, reading: str, claim: str) -> dict:
    (read,) = [one for one in found["readings"] if one["key"] == reading]
    return next(one for one in read["claims"] if one["claim"] == claim)


# ---------------------------------------------------------------- trained


def test_it_trains_what_a_reading_changes_and_leaves_everything_else_as_it_is(own):
    before = contents(own / "runs") | contents(own / "proxies")
    result = readings(own, "--rows", "kl-over-classes,same-total", "--seeds", "1", "--format", "csv")
    after = contents(own / "runs") | contents(own / "proxies")
    assert before.items() <= after.items()
    trained = {path.name.rpartition("-s0")[0] for path in (own / "runs").iterdir() if path.is_dir()}
    assert {name for name in trained if name.endswith(("kl-over-classes", "same-total"))} == {
        "dual-kl-kl-over-classes", "weak-same-total", "weak-then-strong-same-total",
    }  # fmt: skip
    half = json.loads(only(own, "runs/weak-then-strong-same-total-s0-*/done.json").read_text())
    assert half["key"]["training"]["steps"] == 3
    lines = [*csv.DictReader(result.stdout.splitlines())]
    assert [(one["reading"], one["claim"]) for one in lines] == [
        ("kl-over-classes", "kl-hurts"),
        ("same-total", "fine-tuning-beats-mixing"),
        ("same-total", "fine-tuning-converges"),
    ]
    kl = json.loads(only(own, "runs/dual-kl-kl-over-classes-s0-*/evals/val-strong/result.json").read_text())["miou"]
    dual = json.loads(only(own, "runs/dual-s0-*/evals/val-strong/result.json").read_text())["miou"]
    assert float(lines[0]["otherwise_effect"]) == pytest.approx(dual - kl, abs=1e-4)
    assert line_of(written(own), "random-neck", "kl-hurts")["default_verdict"] == "NOT RUN"
    assert next_command(result)[:2] == ["reproduce-table", "all"]
    told = json.loads(succeed("status", "--preset", TINY, "--json", "--workdir", own).stdout)
    listed = {entry["name"] for entry in told["artefacts"] if entry["state"] == "done"}
    assert {"dual-kl-kl-over-classes-s0", "weak-same-total-s0", "weak-then-strong-same-total-s0-val-strong"} <= listed


def test_the_tables_say_the_same_before_and_after(own):
    before = succeed("reproduce-table", "all", "--seeds", "1", "--no-train", *FP32, "--workdir", own).stdout
    readings(own, "--rows", "occurrences", "--seeds", "1")
    assert succeed("reproduce-table", "all", "--seeds", "1", "--no-train", *FP32, "--workdir", own).stdout == before


def test_a_training_of_a_reading_can_be_named(own):
    result = call("train", "dual-5-occurrences", *FP32, "--workdir", own)
    assert result.exit_code == 0, result.stderr
    score = call("eval", "dual-5-occurrences-s0", *FP32, "--workdir", own)
    assert score.exit_code == 0, score.stderr
    (identity,) = [path.name for path in (own / "runs").glob("dual-5-occurrences-s0-*")]
    assert succeed("make", identity, *FP32, "--workdir", own).stdout.strip().endswith(identity)


# ---------------------------------------------------------------- planned


def test_a_plan_says_what_is_to_be_made_and_makes_nothing(own):
    before = contents(own)
    result = readings(own, "--rows", "kl-over-classes", "--seeds", "1", "--dry-run")
    assert "dual-kl-kl-over-classes-s0" in result.stdout and "6 optimizer steps are left" in result.stdout
    assert contents(own) == before
    assert "--rows" in next_command(result) and "kl-over-classes" in next_command(result)


def test_the_whole_plan_names_every_training_of_every_reading(own):
    result = readings(own, "--seeds", "1", "--dry-run")
    assert all(run.name in result.stdout for run in load_sensitivity(TABLES).runs.values())


# ---------------------------------------------------------------- from finished scores


@pytest.fixture
def scored(tmp_path):
    """A work directory with scores of three seeds: those of the tables, and those of two readings, higher by 3 points."""
    graph, plan = study(tmp_path / "work")
    at = Graph(graph.study, every_run(TABLES))
    reads = [one for one in load_sensitivity(TABLES).readings if one.reading.key in ("kl-over-classes", "occurrences")]
    places = plan_readings(at, questions(reads, TABLES, False), range(3))
    own = {f"{place.table}:{place.row}.{place.column}": {} for place in plan.scores}
    for place, score in plan.scores.items():
        own[f"{place.table}:{place.row}.{place.column}"][place.seed] = score.read_record()["miou"]
    for other in at.needed(*places.values()):
        if other.kind != "score" and not other.done:
            other.finish({"digest": f"sha256 of {other.id}", "machine": {}})
    for place, score in places.items():
        if not score.done:
            finish_score(score, own[place.cell][place.seed] + 3, place.seed)
    return tmp_path / "work"


def test_the_effect_under_a_reading_is_paired_by_seed_with_that_of_the_tables(scored):
    readings(scored, "--seeds", "3", "--no-train")
    kl = line_of(written(scored), "kl-over-classes", "kl-hurts")
    assert kl["seeds"] == [0, 1, 2]
    assert kl["change"] == pytest.approx(-3, abs=0.02)  # the KL row is higher by 3, so the claim's effect is smaller
    assert kl["otherwise_effect"] == pytest.approx(kl["default_effect"] - 3, abs=0.02)
    few = line_of(written(scored), "occurrences", "more-strong-5-10")
    assert few["change"] == pytest.approx(0, abs=0.02)  # both cells are higher
    assert line_of(written(scored), "no-neck", "dual-over-strong")["otherwise_verdict"] == "NOT RUN"


def test_a_report_shows_the_readings_that_somebody_tried(scored):
    path = scored / "reports/tiny/index.html"
    succeed("report", "--preset", TINY, "--workdir", scored)
    assert 'id="readings"' not in path.read_text()
    readings(scored, "--seeds", "3", "--no-train")
    succeed("report", "--preset", TINY, "--workdir", scored)
    shown = path.read_text().partition('id="readings"')[2].partition("<h2")[0]
    assert "<li>kl-over-classes: " in shown and "<li>occurrences: " in shown and "no-neck" not in shown  # NOT RUN
    assert shown.count('<tr><th scope="row">') == 4 and 'scope="col">NOT RUN' not in shown  # a claim each


def test_a_report_leaves_readings_out_that_cannot_be_planned_any_more(scored, monkeypatch):
    readings(scored, "--seeds", "3", "--no-train")

    def gone(*arguments):
        raise MissingArtefact("--weights", "never named")

    monkeypatch.setattr("swdb.study.readings.plan_readings", gone)
    result = succeed("report", "--preset", TINY, "--workdir", scored)
    assert "readings are left out: --weights: never named" in result.stderr
    assert 'id="readings"' not in (scored / "reports/tiny/index.html").read_text()


@pytest.mark.parametrize("form", ["rich", "md", "csv", "json"])
def test_every_form_says_which_claims_of_which_readings(scored, form):
    text = readings(scored, "--seeds", "3", "--no-train", "--rows", "kl-over-classes", "--format", form).stdout
    assert "kl-hurts" in text and "kl-over-classes" in text and "mixing-hurts" not in text


def test_what_is_written_is_about_all_readings_and_seeds_whatever_was_asked(scored):
    readings(scored, "--seeds", "3", "--no-train")
    whole = written(scored)
    readings(scored, "--seeds", "2", "--rows", "occurrences", "--no-train")
    assert written(scored) == whole


def test_a_table_that_says_more_is_kept(scored):
    readings(scored, "--seeds", "3", "--no-train")
    whole = written(scored)
    shutil.rmtree(only(scored, "runs/dual-5-occurrences-s0-*"))
    shutil.rmtree(only(scored, "runs/dual-5-occurrences-s1-*"))
    shutil.rmtree(only(scored, "runs/dual-5-occurrences-s2-*"))
    result = readings(scored, "--seeds", "3", "--no-train")
    assert written(scored) == whole
    assert "which has 2 comparisons that are not found here" in result.stderr


def test_a_score_that_cannot_be_believed_is_named(scored):
    path = only(scored, "runs/dual-5-occurrences-s0-*/evals/val-strong/result.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"miou": 300.0}))
    result = call("reproduce-table", "sensitivity", "--seeds", "3", "--no-train", *FP32, "--workdir", scored)
    assert result.exit_code == 3 and "found a score of 300" in the_error(result)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--rows", "kl-over-clases"), "--rows: reading 'kl-over-clases': unknown"),
        (("--rows", ""), "--rows: empty"),
        (("--rows", "occurrences,"), "--rows: reading '': unknown"),
        (("--rows", "mixed"), "--rows: reading 'mixed': unknown"),
        (("--format", "latex"), "--format 'latex': unknown"),
        (("--until-decided",), "--until-decided: goes with the paper's tables"),
        (("--show-peek",), "--show-peek: goes with the paper's tables"),
    ],
)
def test_what_does_not_go_with_it_is_refused(tmp_path, words, error):
    result = call("reproduce-table", "sensitivity", *words, *FP32, "--workdir", tmp_path / "work")
    assert result.exit_code == 2 and error in the_error(result)
    assert not (tmp_path / "work").exists()


def test_a_misspelt_sensitivity_is_met_with_the_word(tmp_path):
    result = call("reproduce-table", "sensitivty", *FP32, "--workdir", tmp_path / "work")
    assert result.exit_code == 2 and "hint: did you mean 'sensitivity'?" in result.stderr


def test_a_preset_that_reads_the_paper_so_itself_leaves_the_reading_out(tmp_path):
    preset = preset_file(tmp_path, ("[training]", '[training]\nkl_mean = "pixels-and-classes"'))
    words = ("--preset", preset, "--seeds", "1", "--dry-run", "--workdir", tmp_path / "work")
    result = succeed("reproduce-table", "sensitivity", *words)
    assert "kl-over-classes: left out, for preset" in result.stderr
    assert "dual-kl-kl-over-classes" not in result.stdout and "dual-5-occurrences" in result.stdout
