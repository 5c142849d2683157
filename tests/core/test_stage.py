"""Every kind of artefact has a stage that plans and makes it, and some can say early that making it would fail."""

import inspect

import pytest

from swdb.core.stage import ChecksEarly, TakesRoom
from swdb.study.stages import STAGES


def test_there_is_a_stage_for_every_kind():
    assert list(STAGES) == [
        "data",
        "weights",
        "head-weights",
        "classifier",
        "cues",
        "proxies",
        "quality",
        "dsrg-score",
        "recognizer",
        "run",
        "score",
        "recognition",
        "lab",
        "peek",
        "table",
    ]


@pytest.mark.parametrize("kind", STAGES)
def test_a_stage_has_what_planning_and_making_need(kind):
    stage = STAGES[kind]
    assert stage.kind == kind
    assert type(stage.version) is int and stage.version >= 1
    assert stage.folder and "/" not in stage.folder and not stage.folder.startswith(".")
    assert list(inspect.signature(stage.make).parameters) == ["artefact", "tools"]
    assert next(iter(inspect.signature(stage.artefact).parameters)) == "study"


def test_a_stage_that_checks_early_is_recognised():
    assert [kind for kind, stage in STAGES.items() if isinstance(stage, ChecksEarly)] == [
        "weights",
        "classifier",
        "cues",
        "recognizer",
        "run",
    ]


def test_every_stage_that_trains_says_how_much_room_its_weights_take():
    trained = ["classifier", "proxies", "recognizer", "run", "peek"]
    assert [kind for kind, stage in STAGES.items() if isinstance(stage, TakesRoom)] == trained


def test_what_has_a_check_is_one_that_checks_early_and_what_has_none_is_not():
    class Checks:
        def check(self, artefact, tools):
            """Look."""

    class Makes:
        def make(self, artefact, tools):
            """Make."""

    assert isinstance(Checks(), ChecksEarly) and not isinstance(Makes(), ChecksEarly)
