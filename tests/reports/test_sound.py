"""Which scores can be believed: every way of being spoilt is named, and what is sound stays."""

import json
import os
import shutil
from pathlib import Path

import made_up_scores
import pytest

from swdb.core.files import read_json, write_json
from swdb.reports.sound import sound


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "work"
    made_up_scores.study(folder, seeds=2, tables=(1,))
    return folder


@pytest.fixture
def study(whole, tmp_path):
    """A study of Table 1 with two seeds that a test may spoil: its scores by place."""
    shutil.copytree(whole, tmp_path / "work")
    return made_up_scores.study(tmp_path / "work", seeds=2, tables=(1,))[1].scores


def place(scores, row: str, seed: int = 0):
    return next(one for one in scores if one.row == row and one.seed == seed)


def edit(path, **values) -> None:
    write_json(path, {**read_json(path), **values})


def test_a_record_that_cannot_be_read_is_named_as_one(study, monkeypatch):
    one = study[place(study, "strong")]
    (run,) = one.inputs_of("run")
    read_text, access = Path.read_text, os.access

    def refuse(path, **options):
        if path == run.record:
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != run.record and access(path, mode))
    _, problems = sound({place(study, "strong"): one})
    assert [str(problem) for problem in problems] == [
        f"{run.record}: cannot be read (Permission denied); expected a file that can"
    ]


def test_all_that_is_finished_is_sound(study):
    kept, problems = sound(study)
    assert kept == dict(study) and problems == []
    assert sound({}) == ({}, [])


def test_what_is_not_made_is_no_problem(study):
    missing = place(study, "x2")
    study[missing].record.unlink()
    kept, problems = sound(study)
    assert missing not in kept and len(kept) == len(study) - 1 and problems == []


def spoil_half(score):
    score.record.write_text(score.record.read_text()[:40])


def spoil_other_data(score):
    edit(score.record, data="f" * 64)


def spoil_nan(score):
    score.record.write_text(json.dumps({**read_json(score.record), "miou": float("nan")}))


def spoil_impossible(score):
    edit(score.record, miou=123.0)


def spoil_text(score):
    edit(score.record, miou="55")


def spoil_id(score):
    edit(score.record, id="another")


def spoil_run(score):
    edit(score.input("run").record, digest="edited")


def spoil_run_record(score):
    score.input("run").record.write_text("[]")


def spoil_run_id(score):
    edit(score.input("run").record, id="another")


def spoil_run_gone(score):
    score.input("run").record.unlink()


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (spoil_half, "damaged"),
        (spoil_other_data, "was scored on other data: ffffffffff, and it is dddddddddd"),
        (spoil_nan, "found a score of nan"),
        (spoil_impossible, "found a score of 123.0"),
        (spoil_text, "damaged"),
        (spoil_id, "is the record of another score"),
        (spoil_run, "has changed since"),
        (spoil_run_record, "damaged"),
        (spoil_run_id, "is the record of another run"),
        (spoil_run_gone, "missing, and"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_is_spoilt_is_named_and_left_out(study, spoil, found):
    wrong = place(study, "x2")
    spoil(study[wrong])
    kept, problems = sound(study)
    (problem,) = problems
    assert found in problem.found
    assert study[wrong].folder.parent.parent in (problem.subject, *problem.subject.parents)
    assert kept.keys() == study.keys() - {wrong}


def test_one_training_under_the_names_of_two_seeds_is_named(study):
    first, second = (study[place(study, "x2", seed)].input("run") for seed in (0, 1))
    edit(second.record, digest=first.digest())
    score = study[place(study, "x2", 1)]
    edit(score.record, inputs={**read_json(score.record)["inputs"], second.id: first.digest()})
    kept, (problem,) = sound(study)
    assert problem.found == f"has the very weights of {first.id}" and problem.subject == second.folder
    assert place(study, "x2", 1) not in kept and place(study, "x2", 0) in kept


def test_one_run_behind_several_scores_is_named_once_for_each_and_others_stay(study):
    for seed in (0, 1):
        spoil_half(study[place(study, "mixed", seed)])
    kept, problems = sound(study)
    assert len(problems) == 2 and len(kept) == len(study) - 2


def test_where_the_data_is_gone_most_scores_say_what_it_was(study):
    study[place(study, "x2")].input("data").record.unlink()
    edit(study[place(study, "x2")].record, data="f" * 64)
    kept, (problem,) = sound(study)
    assert "other data" in problem.found and len(kept) == len(study) - 1
