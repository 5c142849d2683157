"""What several commands ask of a study: verdicts from sound scores, the spread to plan with, what a budget buys."""

import made_up_scores
import pytest
from simulated import CLAIMS, FAMILY, TABLES

from swdb.cli.judging import ASSUMED, Judged, Line, affordable, judged, lines_of, spreads_of
from swdb.core.errors import MissingArtefact
from swdb.core.files import read_json, write_json
from swdb.timing.price import Prices, prices
from swdb.verdicts.simulation import FEW_STRONG_SPREAD
from swdb.verdicts.verdict import NOT_RUN, UNDECIDED, Verdict


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made_up_scores.study(tmp_path_factory.mktemp("judging") / "work", seeds=3, tables=(1, 2))


def test_verdicts_rest_on_the_scores_that_are_there(study):
    graph, plan = study
    found = judged(graph, TABLES, plan)
    assert found.problems == () and found.plan.scores == plan.scores
    assert found.values["1:mixed.miou"].keys() == {0, 1, 2} and "3:n0.weak" not in found.values
    words = {one.claim.key: one.word for one in found.ledger.verdicts}
    assert words["weak-below-strong"] == "REPRODUCED" and words["weak-branch-rises"] == NOT_RUN
    assert found.ledger.registered == {}
    seen = {one.claim.key: one.images_interval for one in found.ledger.verdicts}
    assert seen["mixing-hurts"] is not None
    blind = judged(graph, TABLES, plan, whole=False)
    assert all(one.images_interval is None for one in blind.ledger.verdicts)


def test_scores_whose_counts_are_damaged_are_left_out(tmp_path):
    graph, plan = made_up_scores.study(tmp_path / "work", seeds=2, tables=(1,))
    place = next(place for place in plan.scores if place.row == "x2" and place.seed == 1)
    (plan.scores[place].folder / "confusion.npz").write_bytes(b"nothing")
    found = judged(graph, TABLES, plan)
    assert plan.scores.keys() - found.plan.scores.keys() == {place}
    (problem,) = found.problems
    assert isinstance(problem, MissingArtefact) and problem.subject.name == "confusion.npz"


def test_what_was_registered_and_damaged_since_is_a_problem_and_no_end(study, tmp_path):
    graph, plan = made_up_scores.study(tmp_path / "work", seeds=1, tables=(4,))
    (tmp_path / "work" / "preregistration.json").write_text("{")
    found = judged(graph, TABLES, plan)
    assert [problem.subject.name for problem in found.problems] == ["preregistration.json"]
    assert len(found.ledger.verdicts) == len(CLAIMS)


# ---------------------------------------------------------------- the spread


def nothing(study) -> Judged:
    graph, plan = study
    return judged(graph, TABLES, plan.part(seeds=()))


def test_the_spread_is_as_typed_else_as_measured_else_as_assumed(study):
    graph, plan = study
    typed = spreads_of(FAMILY, TABLES, judged(graph, TABLES, plan), 0.8)
    quiet, noisy = FAMILY.arms["1:mixed.miou"], FAMILY.arms["4:5.ours"]
    assert typed.differences.variance[quiet] == pytest.approx(0.64) and "as typed" in typed.words
    assert typed.runs.variance[noisy] == pytest.approx(0.64 * FEW_STRONG_SPREAD**2)
    measured = spreads_of(FAMILY, TABLES, judged(graph, TABLES, plan), None)
    assert 0.1 < measured.differences.variance[quiet] < 1.0 and "as measured here" in measured.words
    assumed = spreads_of(FAMILY, TABLES, nothing(study), None)
    assert assumed.differences.variance[quiet] == ASSUMED**2 and "an assumption" in assumed.words


# ---------------------------------------------------------------- what claims take


def test_open_claims_alone_take_something(study):
    graph, plan = study
    found = judged(graph, TABLES, plan)
    spreads = spreads_of(FAMILY, TABLES, found, None)
    lines = lines_of(found, FAMILY, spreads, 0.8, prices(graph, plan, made_up_scores.SOURCES))
    keys = {line.verdict.claim.key for line in lines}
    assert keys == {one.claim.key for one in found.ledger.verdicts if one.word in (UNDECIDED, NOT_RUN)}
    assert all(line.needs is None and line.seconds is None for line in lines)  # nobody knows how long runs take
    assert any(line.seeds for line in lines) and isinstance(prices(graph, plan, made_up_scores.SOURCES), Prices)


def line(key: str, **needs: float) -> Line:
    claim = next(one for one in CLAIMS if one.key == key)
    return Line(Verdict(claim, 1, UNDECIDED), 2.0, None, 8, needs)


def test_a_budget_buys_the_cheapest_first_and_shared_runs_once():
    first, second, third = line("mixing-hurts", a=3.0), line("kl-hurts", a=3.0, b=4.0), line("values-1", c=5.0)
    assert affordable([third, second, first], 2.0) == []
    assert affordable([third, second, first], 3.0) == [first]
    assert affordable([third, second, first], 7.0) == [first, second]  # b alone is left of it
    assert affordable([third, second, first], 12.0) == [first, second, third]
    unknown = Line(first.verdict, 2.0, None, 8, None)
    assert affordable([unknown], 1e9) == [] and unknown.seconds is None and second.seconds == 7.0


def test_hours_follow_what_runs_took(tmp_path):
    graph, plan = made_up_scores.study(tmp_path / "work", seeds=3, tables=(1,))
    for path in (tmp_path / "work").glob("runs/*/done.json"):
        write_json(path, {**read_json(path), "training": {"steps": 6, "seconds": 60.0}})
    found = judged(graph, TABLES, plan)
    spreads = spreads_of(FAMILY, TABLES, found, 1.0)
    lines = lines_of(found, FAMILY, spreads, 0.8, prices(graph, plan, made_up_scores.SOURCES))
    one = next(line for line in lines if line.verdict.claim.key == "fine-tuning-converges")
    assert one.seconds == pytest.approx((one.seeds - 3) * 3 * 60)  # weak, then strong, and strong alone
