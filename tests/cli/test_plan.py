"""`swdb plan`: seeds and hours for each open claim, from the spread at hand, and what stays undecidable."""

import json
from pathlib import Path

import made_up_scores
import pytest
from commands import call, contents, next_command, succeed, the_error
from conftest import TINY

from swdb.cli.plan import NEVER, OVER, UNKNOWN, WITHIN, sentences
from swdb.core.files import read_json, write_json
from swdb.timing.rates import this_machine


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A study of three seeds, whose runs took a second a step: 6 of them, and their scores nothing."""
    folder = tmp_path_factory.mktemp("plan") / "work"
    made_up_scores.study(folder, seeds=3, sd=1.0)
    for path in folder.glob("runs/*/done.json"):
        write_json(path, {**read_json(path), "training": {"steps": 6, "seconds": 6.0}})
    return folder


def planned(work: Path, *words: object) -> dict:
    return json.loads(succeed("plan", "--json", *words, "--preset", TINY, "--workdir", work, "--jobs", "2").stdout)


def by_claim(found: dict) -> dict[str, dict]:
    return {one["claim"]: one for one in found["claims"]}


def test_open_claims_say_what_they_take_and_nothing_is_written(work):
    before = contents(work)
    found = planned(work)
    assert contents(work) == before
    claims = by_claim(found)
    assert "weak-below-strong" not in claims  # decided
    assert not any(key.startswith("values-") for key in claims)  # not compared at this preset
    kl = claims["kl-hurts"]
    assert kl["points"] == 0.6 and kl["seeds"] == 3 and kl["seeds_needed"] >= 80 and kl["stands"] == WITHIN
    missing = kl["seeds_needed"] - 3
    assert kl["hours"] == pytest.approx(missing * 2 * 6 / 2 / 3600, rel=0.05)  # two runs, two jobs at once
    assert "as measured here" in found["spread"]


def test_more_power_takes_more_seeds(work):
    weak, strong = (by_claim(planned(work, "--power", share)) for share in (0.5, 0.95))
    both = weak.keys() & strong.keys()
    assert all((weak[key]["seeds_needed"] or 999) <= (strong[key]["seeds_needed"] or 999) for key in both)
    assert any(weak[key]["seeds_needed"] != strong[key]["seeds_needed"] for key in both)


def test_what_does_not_fit_the_budget_is_over_it_the_cheapest_first(work):
    found = planned(work, "--budget", "10m")
    stands = {word: [one for one in found["claims"] if one["stands"] == word] for word in (WITHIN, OVER, NEVER)}
    assert stands[WITHIN] and stands[OVER]
    assert max(one["hours"] for one in stands[WITHIN]) <= 600 / 3600
    assert min(one["hours"] for one in stands[OVER]) >= min(one["hours"] for one in stands[WITHIN])
    nothing = planned(work, "--budget", "1s")
    assert not any(one["stands"] == WITHIN and one["hours"] for one in nothing["claims"])


def test_a_spread_that_is_typed_goes_before_what_is_measured(work):
    quiet, noisy = (by_claim(planned(work, "--spread", points)) for points in (0.3, 9.0))
    assert all(
        one["seeds_needed"] is None and one["stands"] == NEVER and one["hours"] is None for one in noisy.values()
    )
    assert quiet["kl-hurts"]["seeds_needed"] < 80
    assert "as typed" in planned(work, "--spread", 0.3)["spread"]


def test_a_file_that_the_preset_needs_is_named_for_this_plan_alone_and_in_what_is_proposed(tmp_path):
    work, cues = tmp_path / "work", tmp_path / "cues.pickle.gz"
    asked = ("plan", "--preset", "voc-animals", "--workdir", work)
    assert "not given" in the_error(call(*asked))
    cues.write_bytes(b"hashed alone: nothing is made of it")
    result = succeed(*asked, "--cues", cues)
    assert f"swdb bench --preset voc-animals --workdir {work} measures it" in " ".join(result.stdout.split())
    assert next_command(result)[-2:] == ["--cues", str(cues)]
    assert not work.exists()


def test_where_nothing_is_measured_the_spread_is_an_assumption_and_hours_are_not_known(tmp_path):
    found = planned(tmp_path / "work")
    assert "an assumption" in found["spread"] and len(found["claims"]) == 25
    assert all(one["finds"] is None and one["hours"] is None for one in found["claims"])
    assert {one["stands"] for one in found["claims"]} <= {UNKNOWN, NEVER}
    assert not (tmp_path / "work").exists()


def test_a_benchmark_says_how_long_runs_take_where_none_is_finished(tmp_path):
    kinds = (
        "single", "dual", "dual-kl", "dual-n0", "dual-n1", "dual-n2", "decoupled", "classifier", "recognizer", "dsrg-1", "dsrg-2",
    )  # fmt: skip
    steps = {kind: {"seconds": 1.0, "unit": "step"} for kind in kinds}
    images = {kind: {"seconds": 0.1, "unit": "image"} for kind in ("cues", "labels-1", "labels-2", "evaluation")}
    from swdb.specs.presets import load_preset

    machine = {**this_machine(), "device": "cpu", "cores": 2}
    bench = {"version": 1, "settings": load_preset(TINY).digest(), "precision": "fp32", "machine": machine}
    write_json(tmp_path / "work" / "bench" / "tiny.json", {**bench, "kinds": {**steps, **images}, "crowd": None})
    write_json(tmp_path / "work" / "precision.json", {"precision": "fp32", "because": {}})
    found = planned(tmp_path / "work", "--budget", "100h")
    known = [one for one in found["claims"] if one["seeds_needed"]]
    assert known and all(one["hours"] > 0 for one in known) and {one["stands"] for one in known} == {WITHIN}


def test_it_is_said_in_words(work):
    result = succeed("plan", "--budget", "10m", "--preset", TINY, "--workdir", work, "--jobs", "1")
    text = " ".join(result.stdout.split())
    assert "of 30 claims are open; power 80 % for an effect of 2 points" in text
    assert "within 10m together, the cheapest first: " in text and "beyond it: " in text
    assert any(line.startswith((" within", " over")) and "kl-hurts" in line for line in result.stdout.splitlines())
    assert next_command(result)[:5] == ["reproduce-table", "all", "--until-decided", "--budget", "10m"]


def test_sentences_name_what_is_out_of_reach_and_what_is_not_known():
    about = {"power": 0.9, "spread": "words", "jobs": 1, "budget": None}
    entries = [{"claim": "one", "stands": NEVER, "hours": None}, {"claim": "two", "stands": UNKNOWN, "hours": None}]
    lines = sentences(entries, 5, about, "swdb bench")
    assert lines[0].startswith("2 of 5 claims are open; power 90 % for an effect of 2 points")
    assert lines[-2:] == [
        "undecidable with 400 seeds: one",
        "how long runs take is not known here yet: swdb bench measures it",
    ]
    assert sentences([], 5, about, "")[0].startswith("0 of 5 claims are open")


def test_where_all_is_decided_nothing_is_planned(tmp_path):
    made_up_scores.study(tmp_path / "work", seeds=12, sd=0.02)
    result = succeed("plan", "--preset", TINY, "--workdir", tmp_path / "work")
    assert result.stdout.startswith("0 of 30 claims are open") and "--no-train" in next_command(result)


def test_what_is_spoilt_is_said_and_left_out(work, tmp_path):
    from commands import copied

    own = copied(work, tmp_path)
    (path,) = own.glob("runs/mixed-s0-*/evals/val-strong/result.json")
    path.write_text("{")
    result = succeed("plan", "--json", "--preset", TINY, "--workdir", own)
    assert len(json.loads(result.stdout)["left_out"]) == 1 and "left out: " in result.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--budget", "soon"), "--budget soon: not a time; expected a number and its unit, as in 90m, 12h or 3d"),
        (("--budget", "0h"), "--budget 0h: not a time; expected a number and its unit, as in 90m, 12h or 3d"),
        (("--jobs", "no"), "--jobs no: not a number of jobs; expected auto, or a whole number from 1"),
    ],
)
def test_what_is_mistyped(tmp_path, words, error):
    result = call("plan", *words, "--preset", TINY, "--workdir", tmp_path)
    assert result.exit_code == 2 and the_error(result) == error
