"""Readings: which trainings each of them changes, and what is refused where they are read."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import REPOSITORY

from swdb.core.errors import BadInput
from swdb.specs import tables
from swdb.specs.sensitivity import (
    FILE,
    OURS,
    cells_changed,
    claims_touched,
    every_run,
    load_sensitivity,
)
from swdb.specs.tables import CellSource, all_runs, load_tables

TABLES = load_tables()
RUNS = all_runs(TABLES)
SENSITIVITY = load_sensitivity(TABLES)
READS = {one.reading.key: one for one in SENSITIVITY.readings}


def test_the_readings_are_those_that_the_paper_leaves_open():
    assert [*READS] == [
        "kl-over-classes", "same-total", "twice-the-steps", "whole-batches", "no-neck", "random-neck", "occurrences",
        "through-crf",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "about"),
    [
        ("kl-over-classes", lambda run: run.kl),
        ("same-total", lambda run: run.start_from is not None),
        ("twice-the-steps", lambda run: run.name == "strong"),
        ("whole-batches", lambda run: run.weak_branch is not None),
        ("no-neck", lambda run: run.method == OURS and run.weak_branch is None),
        ("random-neck", lambda run: run.method == OURS and run.shared_layers > 0),
        ("occurrences", lambda run: run.strong_per_class is not None),
        ("through-crf", lambda run: run.needs_proxies or (run.start_from and RUNS[run.start_from].needs_proxies)),
    ],
)
def test_a_reading_changes_just_the_trainings_that_it_is_about(key, about):
    assert sorted(READS[key].runs) == sorted(name for name, run in RUNS.items() if about(run))


def test_a_training_under_a_reading_differs_in_what_the_reading_says_alone():
    for key, read in READS.items():
        for name, run in (*read.runs.items(), *read.begin.items()):
            own = RUNS[name]
            back = replace(run, name=name, changes=own.changes, start_from=own.start_from)
            back = replace(back, **{field: getattr(own, field) for field, _ in read.reading.row})
            assert (run.name, back) == (f"{name}-{key}", own)
            assert run.changes == read.reading.changes
            assert all(getattr(run, field) == value for field, value in read.reading.row)


@pytest.mark.parametrize("key", ["same-total", "no-neck", "random-neck", "through-crf"])
def test_whoever_starts_from_a_training_starts_from_what_the_reading_made_of_it(key):
    assert READS[key].runs["weak-then-strong"].start_from == f"weak-{key}"
    assert f"weak-{key}" in SENSITIVITY.runs


def test_a_training_to_start_from_stands_for_no_cell():
    read = READS["same-total"]
    assert [*read.begin] == ["weak"] and "weak" not in read.runs
    assert [*cells_changed(read, TABLES)] == ["1:fine-tuned.miou"]


def test_a_cell_is_scored_from_the_trainings_under_the_reading_and_others_stay():
    read = READS["kl-over-classes"]
    both = CellSource((RUNS["dual-kl"], RUNS["strong"]), "strong")
    assert read.source(both).runs == (read.runs["dual-kl"], RUNS["strong"])
    other = CellSource((RUNS["strong"],), "strong")
    assert read.source(other) == other


def test_the_claims_of_a_reading_are_those_that_hang_on_what_it_changes():
    assert [claim.key for _, claim in claims_touched(READS["kl-over-classes"], TABLES)] == ["kl-hurts", "values-2"]
    assert [(table, claim.key) for table, claim in claims_touched(READS["occurrences"], TABLES) if table == 4][:2] == [
        (4, "more-strong-5-10"),
        (4, "more-strong-10-25"),
    ]


def test_every_training_has_one_name_and_those_of_the_tables_come_first():
    runs = every_run(TABLES)
    assert [*runs][: len(RUNS)] == [*RUNS]
    assert len(runs) == len(RUNS) + len(SENSITIVITY.runs)
    assert len({replace(run, name="") for run in runs.values()}) == len(runs)


# ---------------------------------------------------------------- mistakes


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the specs that a test may edit."""
    return Path(shutil.copytree(tables.tables_folder(), tmp_path / "tables"))


KL = 'changes = { "training.kl_mean" = "pixels-and-classes" }'
MISTAKES = {
    "an unknown key": ('which = "kl"', 'wich = "kl"', "key 'wich'", "unknown", "which"),
    "no title": ("title = ", "titel = ", "key 'titel'", "unknown", "title"),
    "a key with capitals": ('key = "kl-over-classes"', 'key = "KL"', "'KL', key 'key'", "found 'KL'", "small letters"),
    "a key twice": ('key = "same-total"', 'key = "kl-over-classes"', "'kl-over-classes'", "there twice", "its own"),
    "a word for no trainings": ('which = "kl"', 'which = "kll"', "key 'which' 'kll'", "unknown", "kl"),
    "neither word nor names": ('which = "kl"\n', "", "'kl-over-classes'", "is not said, or twice", "either"),
    "word and names": ('which = "kl"', 'which = "kl"\nruns = ["dual"]', "'kl-over-classes'", "twice", "either"),
    "an unknown run": ('runs = ["strong"]', 'runs = ["stron"]', "run 'stron'", "unknown", "strong"),
    "an unknown run to begin with": ('begin = ["weak"]', 'begin = ["wek"]', "run 'wek'", "unknown", "weak"),
    "nothing changed": (KL, "", "'kl-over-classes'", "changes nothing", "'changes'"),
    "an unknown setting": (KL, KL.replace("kl_mean", "kl_meen"), "setting 'training.kl_meen'", "unknown", "kl_mean"),
    "a value that there is not": (KL, KL.replace("-and-", "-or-"), "setting 'training.kl_mean'", "found", "pixels"),
    "an unknown key of a row": ("{ shared_layers = 0 }", "{ layers = 0 }", "key 'row', key 'layers'", "unknown", ""),
    "what no row varies": ("{ shared_layers = 0 }", '{ method = "x" }', "key 'row', key 'method'", "unknown", ""),
    "text for a number": ("{ shared_layers = 0 }", '{ shared_layers = "0" }', "'shared_layers'", "found '0'", "int"),
    "text where none may be": ("{ shared_layers = 0 }", '{ strong_per_class = "5" }', "'strong_per_class'", "found '5'", "int"),
    "a truth for a number": ("{ shared_layers = 0 }", "{ strong_per_class = true }", "'strong_per_class'", "True", "int"),
    "a number for labels": ("{ shared_layers = 0 }", "{ weak_branch = 3 }", "key 'row', key 'weak_branch'", "found 3", "str"),
    "a list for labels": ("{ shared_layers = 0 }", '{ strong_branch = ["weak"] }', "'strong_branch'", "found ['weak']", "str"),
    "a number that cannot be": ("{ shared_layers = 0 }", "{ shared_layers = -1 }", "'shared_layers'", "found -1", "0 to"),
    "a training that is there": (KL, "row = { kl = false }", "'kl-over-classes'", "is there already, as 'dual'", "values"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_in_one_line(folder, mistake):
    old, new, subject, found, expected = MISTAKES[mistake]
    path = folder / FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput) as caught:
        load_sensitivity(TABLES, folder)
    error = caught.value
    assert error.exit_code == 2 and "\n" not in str(error) and str(error.subject).startswith(FILE)
    assert subject in str(error.subject) and found in error.found and expected in f"{error.expected} {error.near}"


def test_a_reading_that_no_claim_is_about_is_refused():
    without = {number: replace(table, claims=()) for number, table in TABLES.items()}
    with pytest.raises(BadInput, match="no claim is about what it changes"):
        load_sensitivity(without)


def test_a_folder_without_readings_is_named(folder):
    (folder / FILE).unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        load_sensitivity(TABLES, folder)


def test_the_page_names_every_reading_in_order():
    page = (REPOSITORY / "docs/sensitivity.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == [*READS]
