"""The time left of a command: from what is finished, what is under way, and what nobody knows yet."""

import pytest

from swdb.core.errors import MissingArtefact
from swdb.timing import time_left as module
from swdb.timing.time_left import TimeLeft

from .conftest import finish, trained


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_nobody_knows_before_anything_is_finished_then_it_is_counted_from_that(graph, clock):
    runs = [graph.run(graph.run_spec("dual"), seed) for seed in range(3)]
    left = TimeLeft(graph.study, runs, "cpu", 1)
    assert left({}) is None
    finish(runs[0], **trained(60.0, 6))
    clock(5)
    assert left({}) is None  # it is read again after a minute
    clock(60)
    assert left({}) == pytest.approx(120)
    clock(5)
    assert left({"dual-s1": 0.5}) == pytest.approx(90)


def test_the_same_answer_for_a_moment(graph, clock):
    run = graph.run(graph.run_spec("dual"), 0)
    finish(graph.run(graph.run_spec("dual"), 1), **trained(60.0, 6))
    left = TimeLeft(graph.study, [run], "cpu", 2)
    assert left({}) == pytest.approx(60)
    clock(1)
    assert left({"dual-s0": 0.9}) == pytest.approx(60)
    clock(2)
    assert left({"dual-s0": 0.9}) == pytest.approx(6)


def test_what_cannot_be_read_is_not_known(graph, clock, monkeypatch):
    def refuse(*_):
        raise MissingArtefact("x", "damaged")

    monkeypatch.setattr(module, "read_rates", refuse)
    assert TimeLeft(graph.study, [], "cpu", 1)({}) is None
