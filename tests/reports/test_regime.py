"""The regime check in words, in every form in which tables are shown; the table of all presets."""

import json
from dataclasses import replace

import pytest
from conftest import PUBLISHED, REPOSITORY
from made_up import PRESET

from swdb.cli import console
from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json, write_json
from swdb.reports import ci
from swdb.reports.ledger import claim_line, ledger_of, rule_lines
from swdb.reports.mask_scores import MaskScore
from swdb.reports.printed import printed
from swdb.reports.regime import OUTSIDE, comparison, condition_line, regime_lines, regime_words, titled
from swdb.reports.results import measured_from_json
from swdb.reports.sentences import lines
from swdb.specs.presets import load_preset
from swdb.specs.sentences import load_sentences
from swdb.verdicts.regime import DISCOUNT
from swdb.verdicts.verdict import CONTRADICTED, NOT_MET, Ledger, Verdict

RESULTS = REPOSITORY / "results"


def measured(weak=0.0, proxies=52.0, preset="synthetic-small-badges"):
    """The published tables with other scores of the weak row and its proxies; 3 seeds."""
    paths = [RESULTS / preset / f"table{number}.json" for number in (1, 2, 3, 4)]
    found = [read_json(path) for path in paths]
    row = next(row for row in found[1]["rows"] if row["key"] == "weak")
    values = row["values"]["miou"]["by_seed"]
    row["values"]["miou"]["by_seed"] = {seed: score + weak for seed, score in values.items()}
    found[1]["mask_scores"] = {seed: MaskScore("dsrg-1-x", proxies).to_json() for seed in values}
    return [measured_from_json(one, path) for one, path in zip(found, paths, strict=True)]


def judged(**changes) -> Ledger:
    return ledger_of(measured(**changes), PRESET, images=False, powers=False)


@pytest.fixture(scope="module")
def inside() -> Ledger:
    return judged()


@pytest.fixture(scope="module")
def outside() -> Ledger:
    """A study in which weak labels are as good as few strong ones: its claims on them are contradicted."""
    return judged(weak=25.0, proxies=80.0)


def contradicted(ledger: Ledger) -> list[Verdict]:
    return [one for one in ledger.verdicts if one.word == CONTRADICTED]


def test_a_study_in_the_regime_says_so_with_numbers_and_intervals(inside):
    head, *conditions = regime_lines(inside)
    assert "in the paper's regime, as far as it is checked" in head and "no claim" in head
    assert len(conditions) == 3 and all(line.startswith("regime check: shown: ") for line in conditions)
    assert "(73.0 - 54.4 = +18.6 points; other trainings +" in conditions[0]
    assert conditions[0].endswith("3 seeds; the paper prints 68.9 - 57.0 = +11.9)")
    assert "paper prints" not in conditions[2]  # of its proxies it prints nothing
    assert titled(PRESET, inside) == PRESET.title
    assert contradicted(inside) and all("regime" not in claim_line(one) for one in inside.verdicts)


def test_a_study_outside_says_so_in_titles_and_in_what_it_contradicts(outside):
    assert OUTSIDE in regime_lines(outside)[0] and regime_words(outside) == OUTSIDE
    assert titled(PRESET, outside) == f"{PRESET.title}; {OUTSIDE}"
    against = contradicted(outside)
    assert against and all(claim_line(one).endswith(DISCOUNT) for one in against)
    assert all("counts for less" not in claim_line(one) for one in outside.verdicts if one not in against)


@pytest.mark.parametrize("form", ["md", "latex", "json", "rescience"])
def test_every_form_of_the_tables_says_it(form, outside, inside):
    tables = measured(weak=25.0, proxies=80.0)
    said = {ledger is outside: printed(tables, PRESET, form, ledger) for ledger in (inside, outside)}
    if form == "json":
        regimes = [table["judged"]["regime"] for table in json.loads(said[True])]
        assert all(one["outside"] is True for one in regimes)
        assert regimes[0]["conditions"][0]["word"] == NOT_MET
        return
    assert said[True].count(f"{PRESET.title}; {OUTSIDE}") == (1 if form == "rescience" else 4)
    assert f"{PRESET.title}; " not in said[False]
    if form != "rescience":
        assert all(text.count("regime check: ") == 4 * 4 for text in said.values())
        assert "not shown: few strong labels are better" in said[True] and DISCOUNT in said[True]


def test_the_terminal_and_the_summary_of_ci_say_it(outside, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    console.print_ledger(outside)
    out = capsys.readouterr().out
    assert out.count("regime check: ") == 4 and "not shown: few strong labels" in out and DISCOUNT in out
    console.print_table(measured(weak=25.0)[1], PRESET, outside)
    assert f"{PRESET.title}; {OUTSIDE}" in capsys.readouterr().out
    assert "regime check: not shown: few strong" in ci.summary(outside)
    assert DISCOUNT in ci.junit(outside)
    assert any(line.endswith(DISCOUNT) for line in lines(load_sentences(), outside))


def test_neither_family_nor_p_hang_on_it(inside, outside):
    kept = {one.claim.key: one for one in inside.verdicts}
    untouched = [one for one in outside.verdicts if "2:weak.miou" not in one.claim.measured_cells]
    assert inside.family == outside.family and len(untouched) > 20
    assert all((one.effect, one.seeds) == (kept[one.claim.key].effect, kept[one.claim.key].seeds) for one in untouched)
    plain = ledger_of([replace(one, masks={}) for one in measured()], PRESET, images=False, powers=False)
    assert plain.verdicts == inside.verdicts  # proxies' scores are read by the check alone


def test_proxies_that_were_not_scored_are_not_run_with_the_reason():
    tables = [replace(one, masks={0: MaskScore("x", None, "quality.json of x is missing")}) for one in measured()]
    ledger = ledger_of(tables, PRESET, images=False, powers=False)
    assert condition_line(ledger.regime[2]).startswith("NOT RUN: ")
    assert condition_line(ledger.regime[2]).endswith(" - quality.json of x is missing")
    assert "is not decided" in regime_words(ledger) and not ledger.outside


def test_nothing_run_is_not_run():
    tables = [replace(one, masks={}, cells={place: replace(cell, by_seed={}) for place, cell in one.cells.items()})
              for one in measured()]  # fmt: skip
    ledger = ledger_of(tables, PRESET, images=False, powers=False)
    assert regime_words(ledger) == "NOT RUN" and len(rule_lines(ledger)) > 4
    assert condition_line(ledger.regime[0]).endswith(" - nobody ran rows weak, strong of Table 2")


# ---------------------------------------------------------------- from files


def test_the_table_of_presets_has_the_paper_first_and_each_preset_with_its_means(tmp_path, outside):
    for name, ledger in (("one", outside), ("two", None)):
        found = read_json(RESULTS / "synthetic" / "table2.json")
        found["judged"]["regime"] = ledger.to_json()["regime"] if ledger else {"conditions": []}
        if ledger is None:
            next(row for row in found["rows"] if row["key"] == "dual")["values"]["miou"]["mean"] = None
        write_json(tmp_path / name / "table2.json", found)
    (tmp_path / "README.md").write_text("no preset")
    head, ruler, paper, one, two = comparison(tmp_path).splitlines()
    assert head == "| preset | weak | mixed | strong | all-strong | dual | regime check |"
    assert ruler == "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert paper == "| the paper | 57.0 | 62.8 | 68.9 | 71.4 | 72.2 | its own |"
    means = {row["key"]: row["values"]["miou"]["mean"] for row in found["rows"]}
    assert one.startswith(f"| one | {means['weak']:.1f} | {means['mixed']:.1f} | {means['strong']:.1f} | ")
    assert one.endswith(f"| {OUTSIDE} |") and two.endswith("| NOT RUN | NOT RUN |")


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"rows": []}', '{"rows": [{"key": "weak", "values": {}}], "judged": {}}']
)
def test_a_damaged_table_is_named(tmp_path, damage):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "table2.json").write_text(damage)
    with pytest.raises(MissingArtefact) as caught:
        comparison(tmp_path)
    assert "table2.json" in str(caught.value.subject)


@pytest.mark.parametrize("preset", PUBLISHED)
def test_published_ledgers_have_the_check(preset):
    ledger = read_json(RESULTS / preset / "ledger.json")
    assert len(ledger["regime"]["conditions"]) == 3
    title = load_preset(preset).title
    assert (OUTSIDE in (RESULTS / preset / "table2.md").read_text().splitlines()[0]) is ledger["regime"]["outside"], (
        title
    )
