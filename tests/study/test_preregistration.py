"""What was fixed before a run: a list that only grows, said by every run that begins afterwards, in no id."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import TESTS
from studies import CPU, Watcher, graph_of, study_of

from swdb.core.errors import MissingArtefact
from swdb.specs import regime
from swdb.specs.tables import load_tables
from swdb.study.preregistration import (
    AFTER,
    BEFORE,
    FILE,
    NOT,
    NOTE,
    RECORDED,
    Registration,
    behind,
    read_registrations,
    register,
    registration,
    standing,
)
from swdb.study.runner import Runner

CLAIM, OTHER = {"text": "two are better", "margin": 1.0}, {"text": "three are better"}
TODAY = Registration(
    "2026-01-01T00:00:00+00:00",
    "tiny",
    "s" * 64,
    (0, 1, 2),
    {"version": 1, "looks": [3]},
    {"two": CLAIM, "three": OTHER},
)


def with_margin(margin: float) -> Registration:
    return replace(TODAY, claims={**TODAY.claims, "two": {**CLAIM, "margin": margin}})


# ---------------------------------------------------------------- the file


def test_what_is_registered_is_read_back(tmp_path):
    assert read_registrations(tmp_path) == []
    assert register(tmp_path, TODAY) == (TODAY, True)
    assert read_registrations(tmp_path) == [TODAY]


def test_the_same_again_changes_nothing_whenever_it_is_registered(tmp_path):
    register(tmp_path, TODAY)
    before = (tmp_path / FILE).read_bytes()
    assert register(tmp_path, replace(TODAY, date="2027-01-01T00:00:00+00:00")) == (TODAY, False)
    assert (tmp_path / FILE).read_bytes() == before


def test_other_content_is_kept_beside_what_was_registered_before(tmp_path):
    register(tmp_path, TODAY)
    other = with_margin(2.0)
    assert register(tmp_path, other) == (other, True)
    assert read_registrations(tmp_path) == [TODAY, other]
    assert register(tmp_path, TODAY) == (TODAY, False)  # the first one stands still


def test_the_regime_check_is_registered_with_its_thresholds_and_fixes_no_claim(tmp_path):
    found = registration(study_of(tmp_path), load_tables(), range(3))
    assert found.content["regime"] == regime.content()
    register(tmp_path, found)
    assert read_registrations(tmp_path) == [found]
    other = replace(found, regime={key: {**one, "points": 1.0} for key, one in found.regime.items()})
    assert register(tmp_path, other) == (other, True) and other.digest != found.digest
    assert all(found.fixes(key, other, range(3)) for key in found.claims)  # it is no claim, so no claim hangs on it


def test_an_older_registration_without_a_regime_is_read_as_it_was_written(tmp_path):
    register(tmp_path, TODAY)
    assert "regime" not in TODAY.content and "regime" not in (tmp_path / FILE).read_text()
    for wrong in ('"regime": 7,', '"regime": {"a": 7},'):
        path = tmp_path / "wrong" / FILE
        path.parent.mkdir(exist_ok=True)
        path.write_text((tmp_path / FILE).read_text().replace('"claims": {', f'{wrong} "claims": {{', 1))
        with pytest.raises(MissingArtefact):
            read_registrations(path.parent)


def test_the_digest_is_of_the_date_too():
    assert replace(TODAY, date="2025-01-01T00:00:00+00:00").digest != TODAY.digest
    assert with_margin(1.5).digest != TODAY.digest


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('"margin": 1.0', '"margin": 3.0', "was edited since"),
        ("2026-01-01", "2025-01-01", "was edited since"),
        ('"version": 1,\n  "registrations"', '"version": 2,\n  "registrations"', "registrations of version 2"),
        ('"registrations": [', '"registrations": [7, ', "damaged"),
        ('"seeds": [', '"seeds": ["0", ', "damaged"),
        ('"claims": {', '"claims": 7, "more": {', "damaged"),
        ("{", "", "damaged"),
    ],
)
def test_what_was_edited_or_damaged_is_refused_and_kept(tmp_path, old, new, found):
    register(tmp_path, TODAY)
    text = (tmp_path / FILE).read_text()
    assert old in text
    (tmp_path / FILE).write_text(text.replace(old, new, 1))
    for use in (lambda: read_registrations(tmp_path), lambda: register(tmp_path, with_margin(2.0))):
        with pytest.raises(MissingArtefact) as caught:
            use()
        assert caught.value.subject == tmp_path / FILE and found in caught.value.found
    assert (tmp_path / FILE).read_text() == text.replace(old, new, 1)


REGISTERING = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from study.test_preregistration import with_margin
from swdb.study.preregistration import register
for k in range(4):
    register(Path(sys.argv[1]), with_margin(float(sys.argv[2]) + k))
"""


def test_several_processes_register_at_once_and_nothing_is_lost(tmp_path):
    command = [sys.executable, "-c", REGISTERING, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(10 * k), str(TESTS)], stderr=subprocess.PIPE) for k in range(3)]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    margins = sorted(one.claims["two"]["margin"] for one in read_registrations(tmp_path))
    assert margins == [10 * k + i for k in range(3) for i in range(4)]


# ---------------------------------------------------------------- what runs say


@pytest.fixture
def untrained(finished, tmp_path):
    ignored = shutil.ignore_patterns("strong-s0-*", "weak-then-strong-s0-*", "dual-s0-*", "reports")
    return shutil.copytree(finished, tmp_path / "work", ignore=ignored)


def runner_in(folder) -> Runner:
    return Runner(CPU, Watcher(), workdir=folder)


def made(folder, name="strong"):
    graph = graph_of(folder)
    run = graph.run(graph.run_spec(name), 0)
    runner_in(folder).make([run])
    return run


def test_a_run_says_what_stood_when_it_began_and_is_the_same_run(finished, untrained):
    first, second = register(untrained, TODAY)[0], register(untrained, with_margin(2.0))[0]
    run = made(untrained)
    record, plain = run.read_record(), json.loads((finished / "runs" / run.id / "done.json").read_text())
    assert record[RECORDED] == [first.digest, second.digest]
    assert record["digest"] == plain["digest"] and record["key"] == plain["key"]
    assert RECORDED not in plain
    assert not (run.folder / NOTE).exists()


def test_without_a_registration_a_run_says_nothing_of_it(untrained):
    assert RECORDED not in made(untrained).read_record()


def test_other_artefacts_say_nothing_of_registrations(untrained):
    register(untrained, TODAY)
    shutil.rmtree(untrained / "cues")
    graph = graph_of(untrained)
    runner_in(untrained).make([graph.cues])
    assert RECORDED not in graph.cues.read_record()


@pytest.mark.parametrize("registered", ["before it began", "while it was interrupted"])
def test_a_run_that_goes_on_says_what_stood_when_it_began(untrained, monkeypatch, registered):
    if registered == "before it began":
        register(untrained, TODAY)
    graph = graph_of(untrained)
    run = graph.run(graph.run_spec("strong"), 0)
    with monkeypatch.context() as patch:
        patch.setattr("swdb.methods.training.optimise", interrupt)
        with pytest.raises(KeyboardInterrupt):
            runner_in(untrained).make([run])
    assert run.begun.is_file()
    register(untrained, with_margin(2.0))
    runner_in(untrained).make([run])
    wanted = [TODAY.digest] if registered == "before it began" else None
    assert run.read_record().get(RECORDED) == wanted


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_a_run_that_is_made_again_says_what_stands_now(untrained):
    run = made(untrained)
    register(untrained, TODAY)
    runner_in(untrained).make_again([run])
    assert run.read_record()[RECORDED] == [TODAY.digest]


def test_with_a_damaged_registration_no_run_begins(untrained):
    (untrained / FILE).write_text("{")
    with pytest.raises(MissingArtefact) as caught:
        made(untrained)
    assert caught.value.subject == untrained / FILE
    assert not any(untrained.glob("runs/strong-s0-*/weights.pt"))


# ---------------------------------------------------------------- what a ledger says


def test_a_claim_is_fixed_before_the_runs_that_began_under_it(untrained):
    register(untrained, TODAY)
    run = made(untrained)
    what = behind({0: [run]})
    assert what.seeds == {0} and what.registrations == (frozenset([TODAY.digest]),)
    stands = lambda today, key="two": standing(key, today, read_registrations(untrained), what)  # noqa: E731
    assert stands(TODAY) == BEFORE
    assert stands(with_margin(2.0)) == AFTER  # the margin was changed since
    assert stands(with_margin(2.0), "three") == BEFORE  # and another claim was not
    assert stands(replace(TODAY, rule={"version": 2})) == AFTER
    assert stands(replace(TODAY, settings="t" * 64)) == AFTER
    register(untrained, with_margin(2.0))
    assert stands(with_margin(2.0)) == AFTER  # registering afterwards helps nothing
    assert stands(TODAY, "four") == NOT


def test_a_run_from_before_the_registration_is_not_helped_by_it(untrained, finished):
    register(untrained, TODAY)
    graph = graph_of(untrained)
    started = made(untrained, "weak-then-strong")  # begun after, but from a run of before
    assert started.read_record()[RECORDED] == [TODAY.digest]
    registered = read_registrations(untrained)
    assert standing("two", TODAY, registered, behind({0: [started]})) == AFTER
    assert standing("two", TODAY, registered, behind({0: [graph.run(graph.run_spec("weak"), 0)]})) == AFTER
    assert standing("two", TODAY, [], behind({0: [started]})) == NOT


def test_more_seeds_than_were_registered_are_a_second_thought(untrained):
    register(untrained, TODAY)
    run, registered = made(untrained), read_registrations(untrained)
    assert standing("two", TODAY, registered, behind({0: [run], 2: [run]})) == BEFORE
    assert standing("two", TODAY, registered, behind({0: [run], 3: [run]})) == AFTER


def test_a_registration_that_is_gone_fixes_nothing(untrained):
    register(untrained, TODAY)
    what = behind({0: [made(untrained)]})
    (untrained / FILE).unlink()
    register(untrained, replace(TODAY, date="2027-01-01T00:00:00+00:00"))
    assert standing("two", TODAY, read_registrations(untrained), what) == AFTER


def test_what_was_not_run_yet_is_fixed_before_whatever_will_be(tmp_path):
    register(tmp_path, TODAY)
    assert standing("two", TODAY, read_registrations(tmp_path), behind({})) == BEFORE
    assert standing("two", TODAY, [], behind({})) == NOT


@pytest.mark.parametrize("told", ["x", {"a": 1}, 7, None])
def test_a_record_that_was_edited_counts_as_one_that_says_nothing(untrained, told):
    register(untrained, TODAY)
    run = made(untrained)
    run.record.write_text(json.dumps({**run.read_record(), RECORDED: told}))
    assert standing("two", TODAY, read_registrations(untrained), behind({0: [run]})) == AFTER


def test_what_was_added_later_to_runs_is_registered_only_where_it_is_used(tmp_path):
    tables = load_tables()
    study = study_of(tmp_path)
    (dual,) = registration(study, tables, range(3)).claims["dual-over-mixed"]["cells"]["2:dual.miou"]["runs"]
    assert not {"changes", "few_strong"} & dual.keys() and dual["name"] == "dual"
    row = next(row for row in tables[2].rows if row.key == "dual")
    other = replace(row, run=replace(row.run, name="other", changes=(("training.steps", "x2"),)))
    table = replace(tables[2], rows=tuple(other if one is row else one for one in tables[2].rows))
    found = registration(study, {**tables, 2: table}, range(3)).claims["dual-over-mixed"]["cells"]["2:dual.miou"]
    assert found["runs"][0]["changes"] == [["training.steps", "x2"]]
