"""From scores to the ledger: words, reasons, what is one arm, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from simulated import quoted_values

from swdb.core.errors import BadInput
from swdb.specs.tables import load_tables, measured_cells, printed_values
from swdb.verdicts.engine import collect, family_of, judge
from swdb.verdicts.images import parts
from swdb.verdicts.simulation import printed_means
from swdb.verdicts.verdict import CONTRADICTED, NOT_COMPARABLE, NOT_RUN, REPRODUCED, UNDECIDED, Ledger, Verdict

TABLES = load_tables()
FAMILY = family_of(TABLES)
PRINTED = printed_means(measured_cells(TABLES), {**printed_values(TABLES), **quoted_values(TABLES)})


def made(seeds=3, sd=0.3, change=None, seed=0) -> dict[str, dict[int, float]]:
    """Return scores of all cells about the printed values, or what stands for them; cells that are one arm have one score."""
    random, found = np.random.RandomState(seed), {}
    for cells in FAMILY.cells:
        centre = (change or {}).get(cells[0], PRINTED[cells[0]])
        by_seed = {k: float(centre + random.normal(0, sd)) for k in range(seeds)}
        found |= dict.fromkeys(cells, by_seed)
    return found


def one(ledger: Ledger, key: str) -> Verdict:
    (verdict,) = [verdict for verdict in ledger.verdicts if verdict.claim.key == key]
    return verdict


def words(ledger: Ledger) -> dict[str, str]:
    return {verdict.claim.key: verdict.word for verdict in ledger.verdicts}


# ---------------------------------------------------------------- the family


def test_cells_that_one_prediction_stands_behind_are_one_arm():
    assert FAMILY.arms["1:mixed.miou"] == FAMILY.arms["2:mixed.miou"]
    assert FAMILY.arms["2:dual.miou"] == FAMILY.arms["3:n3.strong"] != FAMILY.arms["3:n3.weak"]
    assert (len(FAMILY.arms), len(FAMILY.cells)) == (30, 27)


def test_the_family_is_that_of_the_specs_whatever_was_run():
    assert judge(FAMILY, {}, True).family == len(FAMILY.claims) == 30
    assert judge(FAMILY, made(), True).family == 30
    assert judge(FAMILY, made(), False).family == 30 - 4 - 1  # values and literature cannot be judged there


# ---------------------------------------------------------------- words


def test_the_printed_values_with_little_noise_bear_out_what_they_can():
    found = words(judge(FAMILY, made(12, 0.15), True))
    open_or_wrong = {key: word for key, word in found.items() if word != REPRODUCED}
    assert open_or_wrong == {
        "weak-branch-over-separate": CONTRADICTED
    }  # the paper's own sentence against its own numbers


def test_no_noise_decides_nothing():
    values = {cell: {seed: score + seed for seed, score in by.items()} for cell, by in made(3, 0.0).items()}
    ledger = judge(FAMILY, values, False)
    assert {verdict.word for verdict in ledger.verdicts} == {UNDECIDED, NOT_COMPARABLE}
    assert one(ledger, "mixing-hurts").why == "the seeds do not differ at all, so nothing says what chance does"
    assert one(ledger, "mixing-hurts").effect == pytest.approx(6.1)


def test_what_is_turned_round_is_contradicted():
    change = {"1:mixed.miou": 68.9, "1:strong.miou": 62.8}
    ledger = judge(FAMILY, made(3, 0.3, change), True)
    verdict = one(ledger, "mixing-hurts")
    assert (verdict.word, verdict.seeds, verdict.look) == (CONTRADICTED, (0, 1, 2), 3)
    assert verdict.effect < -5 and verdict.seeds_interval.high < 0 and verdict.p_adjusted <= 0.05
    assert one(ledger, "dual-over-mixed").word == REPRODUCED


def test_elsewhere_values_and_literature_are_not_compared_and_words_are_those_of_a_mechanism():
    ledger = judge(FAMILY, made(), False)
    assert one(ledger, "values-1").word == NOT_COMPARABLE
    assert one(ledger, "values-1").why == "another scale than the paper's, so the printed values say nothing here"
    assert one(ledger, "better-than-decouplednet").word == NOT_COMPARABLE
    assert one(ledger, "mixing-hurts").shown == "MECHANISM SHOWN"


def test_a_claim_whose_cells_nobody_ran_names_them():
    values = {cell: by for cell, by in made().items() if not cell.startswith("3:n") and cell != "2:dual.miou"}
    ledger = judge(FAMILY, values, True)
    verdict = one(ledger, "strong-branch-robust")
    assert verdict.word == NOT_RUN and verdict.effect is None
    assert verdict.why == "nobody ran rows n0, n1, n2, n3 of Table 3"
    assert one(ledger, "mixing-hurts").word == REPRODUCED


def test_nothing_at_all_is_not_run():
    assert set(words(judge(FAMILY, {}, True)).values()) == {NOT_RUN}
    assert json.dumps(judge(FAMILY, {}, True).to_json())


# ---------------------------------------------------------------- why something is open


@pytest.mark.parametrize(
    ("seeds", "why"),
    [
        (1, "one seed, and nothing says how much the next one differs"),
        (2, "2 seeds: the first look is at 3"),
    ],
)
def test_too_few_seeds_decide_nothing_however_large_the_effect(seeds, why):
    verdict = one(judge(FAMILY, made(seeds), True), "mixing-hurts")
    assert (verdict.word, verdict.why, verdict.p, verdict.look) == (UNDECIDED, why, None, None)
    assert verdict.effect > 5 and (verdict.seeds_interval is None) is (seeds == 1)


def test_cells_without_a_common_seed_are_undecided():
    values = made()
    mixed = {seed + 10: score for seed, score in values["1:mixed.miou"].items()}
    verdict = one(judge(FAMILY, values | {"1:mixed.miou": mixed, "2:mixed.miou": mixed}, True), "mixing-hurts")
    assert (verdict.word, verdict.seeds, verdict.why) == (UNDECIDED, (), "its cells have no seed in common")


def test_what_chance_alone_makes_and_what_is_too_close_are_told_apart():
    ledger = judge(FAMILY, made(4, 1.5, seed=3), True)
    reasons = {verdict.why.split(" (")[0] for verdict in ledger.verdicts if verdict.word == UNDECIDED}
    assert any("too close for 30 claims judged together; 4 seeds, the next look is at 5" in why for why in reasons)
    assert any(why.startswith("the difference may be chance") for why in reasons)
    assert one(ledger, "fine-tuning-converges").why.startswith("within the margin of 1, but chance could do that")


def test_a_trend_that_is_shown_names_a_step_that_goes_down():
    dip = {"1:x2.miou": 64.2, "1:x3.miou": 63.9}  # of 62.8 to 65.9
    found = one(judge(FAMILY, made(seeds=12, sd=0.5, change=dip), True), "oversampling-improves")
    assert found.word == REPRODUCED
    assert found.why == "1:x2.miou to 1:x3.miou falls by 0.3, which chance may do"
    rising = one(judge(FAMILY, made(seeds=12, sd=0.1), True), "oversampling-improves")
    assert (rising.word, rising.why) == (REPRODUCED, "")


def test_a_broken_trend_says_so():
    change = {"1:x2.miou": 66.0, "1:x3.miou": 62.0, "1:x6.miou": 68.0}
    verdict = one(judge(FAMILY, made(3, 0.3, change), True), "oversampling-improves")
    assert (verdict.word, verdict.why) == (UNDECIDED, "it rises, but a step goes clearly down")


def test_values_say_whether_they_are_off_or_unsure():
    wide = one(judge(FAMILY, made(3, 2.0, seed=1), True), "values-2")
    assert wide.word == UNDECIDED and wide.why.startswith("an interval is wider than ± 3 points")
    beside = one(judge(FAMILY, made(3, 0.3, {"2:weak.miou": 59.1}), True), "values-2")
    assert beside.word == UNDECIDED and beside.why.startswith("a value lies outside its interval")
    off = one(judge(FAMILY, made(3, 0.3, {"2:weak.miou": 45.0}), True), "values-2")
    assert off.word == CONTRADICTED and off.effect == pytest.approx(-12, abs=1)


# ---------------------------------------------------------------- numbers


def test_a_part_of_the_runs_is_judged_with_the_spread_that_is_there():
    whole, two = made(3, 0.5), {}
    for cell in ("1:mixed.miou", "1:strong.miou"):
        two[cell] = whole[cell]
    alone, together = (one(judge(FAMILY, values, True), "mixing-hurts") for values in (two, whole))
    assert alone.effect == pytest.approx(together.effect)
    assert (alone.spread.arms, together.spread.arms) == (2, 27) and alone.spread.degrees < together.spread.degrees


def test_the_interval_of_two_arms_is_that_of_a_paired_t_test():
    from scipy import stats

    values = {"1:mixed.miou": {0: 60.0, 1: 62.0, 2: 61.0}, "1:strong.miou": {0: 68.0, 1: 69.0, 2: 70.5}}
    verdict = one(judge(FAMILY, values, True), "mixing-hurts")
    low, high = stats.ttest_1samp([8.0, 7.0, 9.5], 0).confidence_interval(0.95)
    assert (verdict.seeds_interval.low, verdict.seeds_interval.high) == pytest.approx((low, high))
    assert (verdict.spread.degrees, verdict.spread.arms) == (pytest.approx(2.0), 2)


def test_tables_that_share_a_run_share_its_seeds():
    values = made(5)
    values["1:mixed.miou"] = {seed: values["1:mixed.miou"][seed] for seed in (0, 1)}
    assert one(judge(FAMILY, values, True), "mixing-hurts").seeds == (0, 1, 2, 3, 4)


def test_the_largest_difference_of_a_robust_claim_is_shown_without_a_sign():
    verdict = one(judge(FAMILY, made(5, 0.3), True), "strong-branch-robust")
    assert 0.8 < verdict.effect < 1.9 and verdict.seeds_interval.low < verdict.effect < verdict.seeds_interval.high


def test_the_order_in_which_scores_are_given_changes_nothing():
    values = made(5, 1.0)
    turned = {cell: dict(reversed(by.items())) for cell, by in reversed(values.items())}
    assert judge(FAMILY, values, True).to_json() == judge(FAMILY, turned, True).to_json()


# ---------------------------------------------------------------- other images


def counts(score: float, seed: int) -> np.ndarray:
    """Return counts of 30 images of two classes whose mIoU is about a score."""
    random = np.random.RandomState(seed)
    hits = random.binomial(1000, score / 100, (30, 2))
    kept = np.zeros((30, 2, 2), int)
    kept[:, 0, 0], kept[:, 1, 1], kept[:, 0, 1], kept[:, 1, 0] = *hits.T, *(500 - hits // 2).T
    return parts(kept)


def kept_of(values) -> dict[str, dict[int, np.ndarray]]:
    """Return counts for all scores, the same images for all."""
    return {
        cell: {seed: counts(score, FAMILY.arms[cell] * 100 + seed) for seed, score in by.items()}
        for cell, by in values.items()
    }


def test_an_interval_over_images_stands_beside_the_one_over_seeds():
    values = made(3)
    ledger = judge(FAMILY, values, True, counts=kept_of(values))
    verdict = one(ledger, "mixing-hurts")
    assert verdict.images_interval.basis == "images" and verdict.seeds_interval.basis == "seeds"
    assert 0 < verdict.images_interval.low < verdict.images_interval.high
    assert all(v.images_interval is not None for v in ledger.verdicts)
    without = judge(FAMILY, values, True)
    assert [v.word for v in without.verdicts] == [v.word for v in ledger.verdicts]
    assert all(v.images_interval is None for v in without.verdicts)


def test_where_the_counts_of_a_run_are_not_kept_there_is_no_interval_over_images():
    values = made(3)
    kept = kept_of(values)
    for cell in FAMILY.cells[FAMILY.arms["1:mixed.miou"]]:
        del kept[cell][1]
    ledger = judge(FAMILY, values, True, counts=kept)
    assert one(ledger, "mixing-hurts").images_interval is None
    assert one(ledger, "dual-over-strong").images_interval is not None


def test_counts_of_other_images_are_not_compared():
    values = made(3)
    kept = kept_of(values)
    kept["2:weak.miou"][0] = kept["2:weak.miou"][0][:20]
    assert all(v.images_interval is None for v in judge(FAMILY, values, True, counts=kept).verdicts)


# ---------------------------------------------------------------- what is refused


def refused(values) -> BadInput:
    with pytest.raises(BadInput) as caught:
        judge(FAMILY, values, True)
    return caught.value


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.5, 100.1, True, "60.0", None])
def test_a_score_that_cannot_be_is_refused(score):
    error = refused({"1:mixed.miou": {0: score}})
    assert error.subject == "cell '1:mixed.miou', seed 0" and error.found == f"found a score of {score!r}"
    assert error.expected == "an mIoU from 0 to 100"


@pytest.mark.parametrize("score", [0.0, 100.0, 0])
def test_the_ends_of_the_scale_can_be(score):
    assert collect(FAMILY, {"1:mixed.miou": {0: score}})[0] == [0]


@pytest.mark.parametrize("seed", [-1, "0", 1.0, True])
def test_a_seed_that_is_none_is_refused(seed):
    error = refused({"1:mixed.miou": {seed: 60.0}})
    assert (error.subject, error.found) == ("cell '1:mixed.miou'", f"found seed {seed!r}")


def test_a_cell_that_no_table_has_is_refused():
    error = refused({"1:mixd.miou": {0: 60.0}})
    assert (error.subject, error.found) == ("cell '1:mixd.miou'", "unknown")
    assert refused({"4:5.decouplednet": {0: 60.0}}).found == "unknown"  # quoted, never measured


def test_two_scores_of_one_run_are_refused():
    error = refused({"1:mixed.miou": {0: 60.0}, "2:mixed.miou": {0: 61.0}})
    assert error.subject == "cell '2:mixed.miou'"
    assert error.found == "61.0 with seed 0, but 60.0 in '1:mixed.miou', which is the same run"


def test_the_same_seed_under_two_names_is_refused():
    values = {cell: {**by, 9: by[1]} for cell, by in made(3).items()}
    error = refused(values)
    assert (error.subject, error.found) == ("seeds 1 and 9", "the same scores in all 27 cells")
    assert error.expected == "a training of its own for each"


def test_seeds_that_learn_nothing_may_have_equal_scores():
    # networks that say background everywhere: one score for all
    values = {cell: dict.fromkeys(range(3), 21.4) for cell in FAMILY.arms}
    assert one(judge(FAMILY, values, True), "mixing-hurts").word == UNDECIDED


def test_a_ledger_holds_the_margins_it_was_judged_by():
    wider = {
        k: replace(t, claims=tuple(replace(c, margin=c.margin and 5.0) for c in t.claims)) for k, t in TABLES.items()
    }
    before, after = (judge(family_of(tables), made(), True).to_json()["claims"] for tables in (TABLES, wider))
    changed = [a["claim"]["key"] for a, b in zip(before, after, strict=True) if a["claim_sha256"] != b["claim_sha256"]]
    assert changed == ["fine-tuning-converges", "values-1", "values-2", "strong-branch-robust", "values-3", "values-4"]
