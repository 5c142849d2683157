"""The share of proxies in the spread over seeds: what is planted is found, and the interval holds what it promises."""

import numpy as np
import pytest

from swdb.verdicts.proxy_spread import proxy_spread


def studies(rng: np.random.Generator, rows: int, seeds: int, noise: float, proxies: float, start: float = 50.0):
    """Draw both studies: each run has noise of its own, and each seed's proxies one effect on all rows."""
    effect = rng.normal(0, proxies, seeds)
    own, shared = {}, {}
    for row in range(rows):
        alone, first = rng.normal(start + row, noise, (2, seeds))
        shared[f"row{row}.value"] = {seed: alone[seed] + effect[0] for seed in range(seeds)}
        with_own = {seed: first[seed] + effect[seed] for seed in range(1, seeds)}
        own[f"row{row}.value"] = {0: shared[f"row{row}.value"][0], **with_own}
    return own, shared


def test_by_hand():
    own = {"a.value": {0: 50.0, 1: 54.0, 2: 58.0}, "b.value": {0: 10.0, 1: 10.0, 2: 10.0}}  # variances 16, 0
    shared = {"a.value": {0: 50.0, 1: 52.0, 2: 54.0}, "b.value": {0: 10.0, 1: 11.0, 2: 9.0}}  # 4, 1
    found = proxy_spread(own, shared)
    assert (found.own, found.shared) == (8**0.5, 2.5**0.5) and found.share == pytest.approx(1 - 2.5 / 8)
    assert found.shift == pytest.approx((2 + 4 - 1 + 1) / 4)  # of seeds 1 and 2; seed 0's proxies are those of both
    assert (found.rows, found.seeds) == (2, 3) and 0 <= found.low < found.share < found.high <= 1
    # F(2, 4): 97.5 % at 10.649, 2.5 % at 1 / 39.248
    assert found.low == 0 and found.high == pytest.approx(1 - 2.5 / 8 / 39.248, abs=1e-4)


def test_columns_of_one_row_count_as_one_and_only_seeds_of_both_studies():
    values = {"a.strong": {0: 50.0, 1: 54.0, 7: 0.0}, "a.weak": {0: 40.0, 1: 41.0}}
    found = proxy_spread(values, {"a.strong": {0: 50.0, 1: 52.0}, "a.weak": {0: 40.0, 1: 40.5}, "b.strong": {0: 1.0}})
    assert (found.rows, found.seeds) == (1, 2)


@pytest.mark.parametrize(
    ("own", "shared"),
    [
        ({}, {}),
        ({"a.value": {0: 1.0, 1: 2.0}}, {}),
        ({"a.value": {0: 1.0, 1: 2.0}}, {"a.value": {1: 2.0, 2: 3.0}}),
        ({"a.value": {0: 1.0, 1: 1.0}}, {"a.value": {0: 1.0, 1: 1.0}}),
    ],
    ids=["nothing", "no other study", "one seed in both", "no spread at all"],
)
def test_nothing_is_said_where_nothing_can_be_known(own, shared):
    assert proxy_spread(own, shared) is None


@pytest.mark.parametrize("seeds", [3, 8])
@pytest.mark.parametrize("proxies", [0.0, 1.0, 3.0])
def test_the_interval_holds_the_planted_share(seeds, proxies):
    rng, noise, times = np.random.default_rng(seeds), 1.0, 400
    true = proxies**2 / (proxies**2 + noise**2)
    found = [proxy_spread(*studies(rng, 6, seeds, noise, proxies)) for _ in range(times)]
    held = sum(one.low <= true <= one.high for one in found) / times
    assert held >= 0.94, held
    if seeds == 8:
        assert abs(np.median([one.share for one in found]) - true) < 0.15


def test_three_seeds_say_little_and_twelve_more():
    rng = np.random.default_rng(1)
    widths = {
        seeds: np.mean([(one := proxy_spread(*studies(rng, 6, seeds, 1.0, 3.0))).high - one.low for _ in range(100)])
        for seeds in (3, 12)
    }
    assert widths[12] < 0.4 < widths[3]


def test_more_proxies_are_seen_and_their_lack_too():
    rng = np.random.default_rng(0)
    strong = proxy_spread(*studies(rng, 6, 12, 0.5, 3.0))
    assert strong.low > 0.5 and f"about {round(100 * strong.share)} % comes from the proxies" in strong.words
    own, shared = studies(rng, 6, 3, 1.0, 0.0)
    flat = {place: {seed: 50.0 + 0.01 * seed for seed in values} for place, values in own.items()}
    words = proxy_spread(flat, shared).words
    assert (
        "nothing can be seen to come from the proxies" in words and "6 rows" in words and "the 3 seeds share" in words
    )
