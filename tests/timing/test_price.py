"""What the seeds behind a claim cost: each piece once, what is finished not at all, nothing where nobody knows."""

import made_up_scores
import pytest
from simulated import CLAIMS, SOURCES
from studies import graph_of

from swdb.timing.price import Prices, prices
from swdb.timing.rates import Rates, Work


class Known(Rates):
    """Rates that know everything: a second a step, ten an evaluation, a hundred for what comes before."""

    def __init__(self):
        super().__init__({}, None, 1, 1, 1)

    def work(self, artefact, jobs=1):
        if artefact.kind == "score":
            return Work(0.0, 10.0)
        return Work(float(artefact.steps)) if artefact.kind == "run" else Work(100.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made_up_scores.study(tmp_path_factory.mktemp("price") / "work", seeds=2, tables=(1,))


def claim(key: str):
    return next(one for one in CLAIMS if one.key == key)


def price(study, rates=None) -> Prices:
    graph, plan = study
    return Prices(graph, SOURCES, rates or Known(), frozenset(place.seed for place in plan.scores))


def test_what_is_finished_costs_nothing(study):
    assert price(study).needs(claim("mixing-hurts").cells, range(2)) == {}
    assert price(study).hours(claim("mixing-hurts"), 2) == 0.0


def test_every_further_seed_costs_its_runs_and_their_scores(study):
    one = price(study)
    for seeds, more in ((3, 1), (12, 10)):
        needs = one.needs(claim("mixing-hurts").cells, range(seeds))
        assert len(needs) == 4 * more and sum(needs.values()) == more * 2 * (6 + 10)
        assert one.hours(claim("mixing-hurts"), seeds) == pytest.approx(more * 32 / 3600)


def test_a_run_that_another_one_starts_from_is_paid_with_it(study):
    needs = price(study).needs(("1:fine-tuned.miou",), range(3))
    assert sum(needs.values()) == 6 + 6 + 10


def test_pieces_of_two_claims_are_the_same_where_they_share_them(study):
    one = price(study)
    first, second = (one.needs(claim(key).cells, range(4)) for key in ("mixing-hurts", "oversampling-fails"))
    assert len(first.keys() & second.keys()) == 2 * 2  # strong, and its score, with two seeds


def test_what_does_not_hang_on_the_seed_is_paid_once(tmp_path):
    nothing = Prices(graph_of(tmp_path), SOURCES, Known(), frozenset())
    needs = nothing.needs(("1:strong.miou",), range(3))
    assert sum(needs.values()) == 2 * 100 + 3 * 16  # the data and the initial weights
    with_proxies = nothing.needs(("1:mixed.miou",), range(3))
    before = {key for key in with_proxies if not isinstance(key, tuple)}
    assert len(with_proxies) - len(before) == 3 * 2 and len(before) > 4


def test_where_nobody_knows_nothing_is_said(study):
    class Unknown(Known):
        def work(self, artefact, jobs=1):
            return None if artefact.kind == "run" else super().work(artefact, jobs)

    one = price(study, Unknown())
    assert one.needs(("1:strong.miou",), range(3)) is None and one.hours(claim("mixing-hurts"), 3) is None
    assert one.hours(claim("mixing-hurts"), None) is None
    assert one.needs(("1:strong.miou",), range(2)) == {}


def test_the_rates_of_a_work_directory_are_its_own(study):
    graph, plan = study
    one = prices(graph, plan, SOURCES, jobs=3)
    assert one.planned == {0, 1} and one.jobs == 3 and one.fresh == 2
    assert one.hours(claim("mixing-hurts"), 3) is None  # made-up runs say nothing of their time
