"""Shown, not shown, not decided, NOT RUN: the conditions of the regime by their intervals, and what hangs on them."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from made_up import TABLE
from simulated import quoted_values

from swdb.specs.regime import ALL_STRONG, CONDITIONS, STRONG, WEAK
from swdb.specs.tables import load_tables, measured_cells, printed_values
from swdb.verdicts.engine import family_of, judge
from swdb.verdicts.regime import DISCOUNT, with_regime
from swdb.verdicts.simulation import printed_means
from swdb.verdicts.verdict import CONTRADICTED, MET, NOT_DECIDED, NOT_MET, NOT_RUN

TABLES = load_tables()
FAMILY = family_of(TABLES)
PRINTED = printed_means(measured_cells(TABLES), {**printed_values(TABLES), **quoted_values(TABLES)})


def made(seeds=3, sd=0.3, seed=0, **change) -> dict[str, dict[int, float]]:
    """Scores of all cells about the printed values; `change`: other centres, by weak, strong, all_strong."""
    centres = {cell: change[name] for name, cell in NAMES.items() if name in change}
    random, found = np.random.RandomState(seed), {}
    for cells in FAMILY.cells:
        centre = next((centres[cell] for cell in cells if cell in centres), PRINTED[cells[0]])
        by_seed = {k: float(centre + random.normal(0, sd)) for k in range(seeds)}
        found |= {cell: dict(by_seed) for cell in cells}
    return found


NAMES = {"weak": WEAK, "strong": STRONG, "all_strong": ALL_STRONG}


def checked(values, masks=None, why="", comparable=False):
    """The ledger of made-up scores with its regime check; proxies of 57 points where nothing else is said."""
    masks = dict.fromkeys(range(20), 57.0) if masks is None else masks
    return with_regime(judge(FAMILY, values, comparable), FAMILY, values, masks, why)


def words(ledger) -> list[str]:
    return [one.word for one in ledger.regime]


def test_where_all_differences_are_clear_the_regime_is_shown():
    ledger = checked(made(all_strong=76.0))
    assert words(ledger) == [MET, MET, MET] and not ledger.outside
    first, _, third = ledger.regime
    assert first.effect == pytest.approx(first.higher - first.lower) and first.seeds == (0, 1, 2)
    assert first.interval.low <= first.effect <= first.interval.high
    assert first.printed == (68.9, 57.0) and third.printed is None and third.lower == 57.0


@pytest.mark.parametrize(
    ("change", "masks", "expected"),
    [
        ({"all_strong": 76.0, "strong": 60.0}, 57.0, [NOT_MET, MET, MET]),  # 3 points instead of 6
        ({"all_strong": 69.0}, 57.0, [MET, NOT_MET, MET]),
        ({"all_strong": 60.0}, 57.0, [MET, NOT_MET, MET]),  # the other way round
        ({"all_strong": 76.0}, 70.0, [MET, MET, NOT_MET]),  # the network is worse than its proxies
        ({"all_strong": 76.0}, 45.0, [MET, MET, NOT_MET]),  # or better
        ({"all_strong": 71.4}, 57.0, [MET, NOT_DECIDED, MET]),  # on the threshold
        ({"all_strong": 76.0}, 65.0, [MET, MET, NOT_DECIDED]),
    ],
)
def test_each_condition_is_decided_by_its_interval(change, masks, expected):
    ledger = checked(made(**change), dict.fromkeys(range(3), masks))
    assert words(ledger) == expected and ledger.outside == (NOT_MET in expected)
    assert all(bool(one.why) == (one.word == NOT_DECIDED) for one in ledger.regime)


def test_the_interval_is_that_of_the_claim_on_the_same_cells():
    ledger = checked(made(5, 1.0))
    claim = next(one for one in ledger.verdicts if one.claim.key == "weak-below-strong")
    assert ledger.regime[0].effect == pytest.approx(claim.effect)
    assert ledger.regime[0].interval.low == pytest.approx(claim.seeds_interval.low)
    assert ledger.regime[0].interval.high == pytest.approx(claim.seeds_interval.high)


def test_intervals_hold_the_truth_in_about_95_of_100_studies():
    held = np.zeros(3)
    for study in range(300):
        regime = checked(made(3, 1.0, seed=study)).regime
        truth = [PRINTED[STRONG] - PRINTED[WEAK], PRINTED[ALL_STRONG] - PRINTED[STRONG], PRINTED[WEAK] - 57.0]
        held += [one.interval.low <= value <= one.interval.high for one, value in zip(regime, truth, strict=True)]
    assert (held / 300 >= 0.92).all(), held / 300


def test_what_nobody_ran_is_not_run():
    values = made()
    assert words(checked({})) == [NOT_RUN] * 3 and not checked({}).outside
    ledger = checked({cell: by_seed for cell, by_seed in values.items() if FAMILY.arms[cell] != FAMILY.arms[WEAK]})
    assert [one.word == NOT_RUN for one in ledger.regime] == [True, False, True]
    assert ledger.regime[0].why == "nobody ran row weak of Table 2"


def test_one_seed_has_numbers_and_decides_nothing():
    ledger = checked(made(1, strong=40.0))
    assert words(ledger) == [NOT_DECIDED] * 3 and not ledger.outside
    assert all(
        one.effect is not None and one.interval is None and one.why.startswith("one seed") for one in ledger.regime
    )


def test_seeds_that_do_not_differ_decide_nothing():
    alike = {cell: {0: value, 1: value} for cell, value in ((WEAK, 57.0), (STRONG, 69.0))}
    first, second, _ = checked(alike).regime
    assert first.word == NOT_DECIDED and first.why.startswith("the seeds do not differ") and first.effect == 12.0
    assert second.word == NOT_RUN


def test_cells_without_a_seed_in_common_decide_nothing():
    values = made(4)
    for cell in FAMILY.cells[FAMILY.arms[WEAK]]:
        values[cell] = {7: 57.0, 8: 57.4}
    first, second, third = checked(values).regime
    assert first.word == NOT_DECIDED and first.why == "its cells have no seed in common" and first.effect is None
    assert second.word != NOT_RUN and third.seeds == (7, 8)


def test_proxies_without_a_score_are_not_run_and_the_reason_is_said():
    ledger = checked(made(), {}, "quality.json of dsrg-1-x is missing")
    assert words(ledger)[2] == NOT_RUN and ledger.regime[2].why == "quality.json of dsrg-1-x is missing"
    assert words(checked(made(), {}))[2] == NOT_RUN
    assert checked(made(), {1: 57.0, 2: 57.0}).regime[2].seeds == (1, 2)  # of those seeds alone that have one


def test_proxies_of_each_seed_widen_the_interval_by_their_own_spread():
    values = made(5)
    shared, own = (checked(values, masks).regime[2] for masks in (
        dict.fromkeys(range(5), 57.0), {0: 55.0, 1: 56.0, 2: 57.0, 3: 58.0, 4: 59.0},
    ))  # fmt: skip
    assert own.effect == pytest.approx(shared.effect)
    assert own.interval.high - own.interval.low > 2 * (shared.interval.high - shared.interval.low)


def test_outside_the_regime_contradictions_count_for_less_and_nothing_else_changes():
    values = made(8, strong=50.0)  # strong below weak: several claims are contradicted
    plain, ledger = judge(FAMILY, values, False), checked(values)
    assert ledger.outside
    against = [one for one in ledger.verdicts if one.word == CONTRADICTED]
    assert against and all(one.discount == DISCOUNT for one in against)
    assert all(not one.discount for one in ledger.verdicts if one.word != CONTRADICTED)
    assert tuple(replace(one, discount="") for one in ledger.verdicts) == plain.verdicts
    assert (ledger.family, ledger.looks) == (plain.family, plain.looks)


def test_inside_the_regime_contradictions_count_in_full():
    values = made(8, all_strong=76.0)
    for cell in FAMILY.cells[FAMILY.arms["2:dual.miou"]]:
        values[cell] = {seed: score - 20 for seed, score in values[cell].items()}
    ledger = checked(values)
    assert not ledger.outside and any(one.word == CONTRADICTED for one in ledger.verdicts)
    assert all(one.discount == "" for one in ledger.verdicts)


def test_tables_without_these_cells_are_not_checked():
    family = family_of({TABLE.number: TABLE})
    ledger = judge(family, {}, False)
    assert with_regime(ledger, family, {}, {}, "") is ledger and ledger.regime == ()


def test_json_says_the_conditions():
    for ledger in (checked(made(all_strong=76.0)), checked({})):
        found = ledger.to_json()["regime"]
        assert found["outside"] is ledger.outside
        assert [one["condition"] for one in found["conditions"]] == [asdict(one) for one in CONDITIONS]
        for one, other in zip(found["conditions"], ledger.regime, strict=True):
            assert (one["word"], one["seeds"], one["why"]) == (other.word, list(other.seeds), other.why)
            assert one["printed"] == (None if other.printed is None else list(other.printed))
            assert one["effect"] == (None if other.effect is None else pytest.approx(other.effect, rel=1e-4))
