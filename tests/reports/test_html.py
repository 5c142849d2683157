"""The report: what stands in it, that it needs nothing but itself, and that whatever is named in it stays text."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from commands import copied
from conftest import TINY
from pages import Page

from swdb.cli.judging import judged
from swdb.cli.options import open_graph
from swdb.cli.report import evidence_of, plan_of
from swdb.core.files import read_json, write_json
from swdb.core.progress import silent
from swdb.reports.html import Evidence, hours, page
from swdb.reports.sensitivity import Finding
from swdb.specs.sensitivity import load_sensitivity
from swdb.specs.tables import load_tables
from swdb.verdicts.readings import FOR, Comparison, Side
from swdb.verdicts.verdict import Interval, Ledger, Verdict

HOSTILE = '</td></svg><script>alert("1")</script><img src=x onerror=alert(1)>{{ 7*7 }}&amp;'


def evidence_in(work: Path, photographs: bool = False) -> Evidence:
    graph = open_graph(work, TINY, remember=False)
    return evidence_of(graph, judged(graph, load_tables(), plan_of(graph)), TINY, photographs)


def few(evidence: Evidence) -> Evidence:
    """Leave two rows of Table 2 behind: what is drawn of them is seen in a second."""
    rows = {place: by_seed for place, by_seed in evidence.scores[2].items() if place[0] in ("strong", "dual")}
    return replace(evidence, scores={2: rows})


@pytest.fixture(scope="module")
def evidence(finished) -> Evidence:
    return evidence_in(finished)


@pytest.fixture(scope="module")
def text(evidence) -> str:
    return page(evidence, silent)


@pytest.fixture(scope="module")
def whole(text) -> Page:
    return Page(text)


@pytest.fixture
def own(finished, tmp_path) -> Path:
    return copied(finished, tmp_path)


# ---------------------------------------------------------------- it needs nothing but itself


def test_it_forbids_and_has_no_script_and_nothing_from_elsewhere(text, whole):
    (policy,) = whole.all("meta", http_equiv="Content-Security-Policy")
    assert policy.attributes["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not [one for one in whole.elements if one.name in ("script", "link", "iframe", "object", "base", "form")]
    assert not [name for one in whole.elements for name in one.attributes if name.startswith("on")]
    assert all(one.attributes["src"].startswith("data:image/") for one in whole.all("img"))
    assert all(one.attributes["href"].startswith("#") for one in whole.all("a"))
    assert (
        "http:" not in text
        and "https:" not in text
        and "@import" not in text
        and "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)
    )


def test_every_link_leads_somewhere_and_no_id_stands_twice(whole):
    ids = [one.attributes["id"] for one in whole.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids)) > 100
    named = {one.attributes[name][1:] for one in whole.elements for name in ("href",) if name in one.attributes}
    assert named <= set(ids)


def test_the_same_records_give_the_same_bytes(text, own):
    assert page(evidence_in(own), silent) == text  # in another folder


# ---------------------------------------------------------------- who reads it


def test_every_drawing_has_a_name_a_description_and_its_numbers(whole):
    drawings = whole.all("svg", role="img")
    names = {
        one.attributes["id"]: one.text
        for one in whole.elements
        if one.name in ("title", "desc") and "id" in one.attributes
    }
    assert len(drawings) > 40
    for one in drawings:
        assert all(names[name].strip() for name in one.attributes["aria-labelledby"].split())
    assert len(whole.all("details")) >= len(drawings)
    assert all(one.attributes.get("alt") for one in whole.all("img"))


def test_headings_are_in_order_and_the_language_is_named(whole):
    levels = [int(one.name[1]) for one in whole.elements if re.fullmatch("h[1-6]", one.name)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert whole.all("html")[0].attributes["lang"] == "en"
    assert whole.all("a")[0].attributes == {"class": "skip", "href": "#content"}


def test_every_table_scrolls_within_a_region_that_the_keyboard_reaches(whole):
    regions = whole.all("section", tabindex="0")
    assert len(regions) == len(whole.all("table")) and all(one.attributes["aria-label"] for one in regions)
    assert all("scope" in one.attributes for one in whole.all("th"))


# ---------------------------------------------------------------- what stands in it


def test_every_claim_stands_on_the_first_screen_with_its_verdict(evidence, whole):
    rows = [one.text for one in whole.all("tr") if one.attributes.get("id", "").startswith("claim-")]
    assert len(rows) == len(evidence.ledger.verdicts) > 20
    for row, verdict in zip(rows, evidence.ledger.verdicts, strict=True):
        assert verdict.claim.text in row and verdict.shown in row


def test_the_regime_check_stands_on_the_first_screen(evidence, whole):
    from swdb.reports.regime import regime_lines, regime_words

    text, said = whole.text(), regime_lines(evidence.ledger)
    assert len(said) == 4 and all(line in text for line in said)
    assert regime_words(evidence.ledger) in text


def test_readings_stand_beside_their_claims_with_the_words_that_there_are(evidence):
    (read, other) = (one.reading for one in load_sensitivity(load_tables()).readings[:2])
    (claim,) = [one.claim for one in evidence.ledger.verdicts if one.claim.key == "kl-hurts"]
    side = Side(1.26, Interval(0.5, 2.02), 0.004, FOR)
    compared = Comparison(claim, 2, (0, 1), side, side, 0.0, None)
    read = replace(read, question=HOSTILE)
    found = replace(few(evidence), readings=[Finding(one, (), (compared,)) for one in (read, other)])
    shown = Page(text := page(found, silent))
    (table,) = [one for one in shown.all("section", tabindex="0") if one.attributes["aria-label"].endswith("otherwise")]
    assert f"{read.key}, {other.key}" in text and "same-total: " in text and HOSTILE not in text
    assert (
        table
        and "over seeds 0, 1." in text
        and 'scope="col">agrees<' in text
        and 'scope="col">other verdict<' not in text
    )
    levels = [int(one.name[1]) for one in shown.elements if re.fullmatch("h[1-6]", one.name)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_tables_are_those_that_are_printed(evidence, whole):
    from swdb.reports.tables import frame, notes, title

    text = whole.text()
    for measured in evidence.tables:
        assert title(measured, evidence.preset, evidence.ledger) in text
        assert all(note in text for note in notes(measured, evidence.preset))
        for value in frame(measured, evidence.preset).to_numpy().ravel():
            assert str(value) in text


def test_runs_costs_settings_and_commands_are_there(evidence, whole):
    text = whole.text()
    runs = [run for by_seed in evidence.runs.values() for run in by_seed.values()]
    assert len(runs) == 21 and all(
        f"made-{run.id}" in {one.attributes.get("id") for one in whole.all("tr")} for run in runs
    )
    assert (
        "training.lr_backbone" in text
        and "INFERRED" in text
        and "SCALED" in text
        and "the paper is silent: our choice" in text
    )
    assert "swdb reproduce-table all --seeds 2 --preset tiny.toml --precision fp32" in text
    assert "swdb train dual --seed 0 --preset tiny.toml --precision fp32" in text
    assert "swdb reproduce-table 2 --rows dual --seeds 2 --preset tiny.toml" in text
    assert str(Path(TINY).parent) not in text


def test_a_shared_run_is_drawn_once(evidence, whole):
    assert (
        len(evidence.arms) == 27
        and len([one for one in whole.all("figcaption") if "Table 1, Table 2: " in one.text]) == 2
    )


def test_what_lacks_seeds_is_said(whole):
    assert "30 cells lack seeds, listed below" in whole.text()  # the preset has two, one was run
    assert "Table 3, n = 0, Weak branch: seed 1" in whole.text()


def test_hours_have_as_many_digits_as_mean_something():
    assert [hours(seconds) for seconds in (36.0, 1800, 3600 * 2.04, 3600 * 1234)] == [
        "0.01 hours",
        "0.5 hours",
        "2.0 hours",
        "1,234 hours",
    ]


def test_verdicts_of_any_ledger_are_shown(evidence):
    claims = [one.claim for one in evidence.ledger.verdicts]
    words = ("REPRODUCED", "CONTRADICTED", "UNDECIDED", "NOT COMPARABLE", "NOT RUN")
    verdicts = tuple(
        Verdict(
            claim,
            1,
            words[k % 5],
            True,
            2.0 - k,
            Interval(1.0 - k, 3.0 - k),
            seeds=(0, 1, 2),
            seeds_needed=7,
            hours_needed=1.5,
        )
        for k, claim in enumerate(claims)
    )
    ledger = Ledger("tiny", True, verdicts, 20, (3, 5), ("one data set",), {claims[0].key: "before"})
    text = Page(page(replace(few(evidence), ledger=ledger), silent)).text()
    assert all(word in text for word in words) and "would take 7 seeds, 1.5 hours" in text
    assert "fixed before the runs" in text and "one data set" in text


# ---------------------------------------------------------------- hostile, damaged, missing


def rename_classes(work: Path, names: list[str]) -> None:
    """Let the classes be called otherwise, in the data set and in all scores."""
    manifest = work / "data" / "tiny" / "manifest.json"
    before = read_json(manifest)["classes"]
    write_json(manifest, read_json(manifest) | {"classes": names})
    for path in work.glob("runs/*/evals/*/result.json"):
        record = read_json(path)
        write_json(path, record | {"iou": {new: record["iou"][old] for old, new in zip(before, names, strict=True)}})


def test_a_class_name_full_of_html_stays_text(own):
    rename_classes(own, ["background", HOSTILE, "$\\frac$", "a\nb\x07", "類", "  "])
    text = page(few(evidence_in(own)), silent)
    shown = Page(text)
    assert not [one for one in shown.elements if one.name == "script"] and "{{ 7*7 }}" in shown.text()
    assert all(one.attributes["src"].startswith("data:") for one in shown.all("img"))
    assert HOSTILE in shown.all("body")[0].text


def test_a_log_line_full_of_html_stays_text(own):
    (log,) = own.glob("runs/strong-s0-*/log.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps({"step": line["step"], HOSTILE: line["loss"]}) + "\n" for line in lines))
    shown = Page(page(few(evidence_in(own)), silent))
    assert not [one for one in shown.elements if one.name == "script"]
    assert HOSTILE in shown.all("body")[0].text


def test_what_is_damaged_is_named_and_everything_else_is_shown(own):
    (log,) = own.glob("runs/strong-s0-*/log.jsonl")
    log.write_text("{\n")
    (record,) = own.glob("runs/dual-s0-*/done.json")
    record.write_text("[]")
    text = Page(page(few(evidence_in(own)), silent)).text()
    assert "What could not be read" in text
    assert f"{log.parent.name}: log.jsonl is damaged; its losses are left out" in text
    assert f"runs/{record.parent.name}/done.json: damaged; expected a record" in text
    assert "Run dual" not in text and "Run strong" not in text


def test_a_prediction_that_is_gone_is_named(own):
    rows = np.array([90, 80, 70, 60, 50, 40])
    for name, hits in (("strong", rows), ("dual", rows[::-1])):
        (path,) = own.glob(f"runs/{name}-s0-*/evals/val-strong/confusion.npz")
        with np.load(path) as stored:
            ids, counts = stored["ids"], np.zeros_like(stored["counts"])
        counts[:, 1, 1], counts[:, 1, 0] = hits, 100 - hits
        np.savez_compressed(path, ids=ids, counts=counts)
        score = read_json(path.with_name("result.json"))
        write_json(path.with_name("result.json"), score | {"miou": float(hits.sum() / 12)})
    strips = Page(page(few(evidence_in(own)), silent)).all("img")
    assert len(strips) == 4 and strips[0].attributes["alt"].startswith("Image 0000_0000")
    (gone,) = own.glob("runs/dual-s0-*/evals/val-strong/predictions/*_000032.png")
    for path in gone.parent.glob("*.png"):
        path.unlink()
    text = Page(page(few(evidence_in(own)), silent)).text()
    assert "images of claim 2.4" in text and "predictions" in text


def test_a_data_set_that_is_gone_leaves_a_page_without_images(own):
    (own / "data" / "tiny" / "manifest.json").unlink()
    text = Page(page(few(evidence_in(own)), silent)).text()
    assert "The data set is not at hand, so no image is shown." in text and "Run dual" in text


def test_photographs_are_left_out_unless_asked_for(evidence, monkeypatch):
    photographs = replace(evidence.dataset.facts, synthetic=False)
    monkeypatch.setattr("swdb.data.dataset.facts_of", lambda settings: photographs)
    shown = Page(page(few(evidence), silent))
    assert not shown.all("img") and "left out unless asked for" in shown.text()
    asked = Page(page(replace(few(evidence), photographs=True), silent))
    assert "left out unless asked for" not in asked.text()
    assert all(one.attributes["src"].startswith("data:image/jpeg;") for one in asked.all("img"))


def test_a_report_of_no_runs_says_so(tmp_path):
    shown = Page(page(evidence_in(tmp_path / "work"), silent))
    text = shown.text()
    assert "Nothing has been run yet" in text and text.count("NOT RUN") > 40
    assert not shown.all("svg", role="img", class_="chart") or "Curves beside the paper" in text
    assert "0 of 42 planned" in text


def test_progress_is_told_to_the_end(evidence):
    told = []
    page(evidence, lambda name, total, counts=False: lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1] == max(done for done, _ in told) and len(told) > 40
