"""The ledger of a study: counts of images read and checked, and the lines that people read."""

from dataclasses import replace

import numpy as np
import pytest
from made_up import SCORES, TABLE, judged, measured_in, preset

from swdb.core.errors import MissingArtefact
from swdb.evaluation.confusion import miou
from swdb.reports import ledger
from swdb.reports.ledger import (
    claim_line,
    claim_lines,
    ledger_of,
    limits,
    read_parts,
    registered_line,
    rule_lines,
    small,
)
from swdb.reports.results import MeasuredTable
from swdb.specs.presets import load_preset
from swdb.specs.tables import load_tables
from swdb.verdicts.verdict import Interval, Ledger, Spread, Verdict


@pytest.fixture
def measured(tmp_path) -> MeasuredTable:
    return measured_in(tmp_path)


# ---------------------------------------------------------------- the made-up table


def test_claims_are_judged_over_the_seeds_of_their_cells(measured):
    found = judged(measured)
    assert [verdict.word for verdict in found.verdicts] == [
        "REPRODUCED", "UNDECIDED", "NOT RUN", "CONTRADICTED", "NOT COMPARABLE",
    ]  # fmt: skip
    assert [len(verdict.seeds) for verdict in found.verdicts] == [3, 3, 0, 3, 3]
    assert [verdict.effect for verdict in found.verdicts[:2]] == [pytest.approx(4.0), pytest.approx(1 / 6)]
    assert found.preset == "tiny" and found.family == 4


def test_at_the_papers_preset_literature_is_judged_too(measured):
    found = judged(measured, comparable=True)
    assert found.family == 5 and found.verdicts[-1].word == "REPRODUCED"  # 51.0 and 40.0
    assert found.verdicts[-1].effect == pytest.approx(11.0)


def test_the_lines_say_verdict_effect_interval_p_seeds_and_spread(measured):
    # differences 4, 4, 4; then -1, 0.5, 1; then none; then -10, -10.5, -10.5: what varies is pooled over five cells
    assert claim_lines(judged(measured), 9) == [
        "MECHANISM SHOWN: the weak branch is worse "
        "(+4.0 points; other trainings +3.0 to +5.0; adjusted p 0.00038; 3 seeds; spread 0.50; "
        "finds a true 2-point effect in 47 %)",
        "UNDECIDED: plain is worse than marked (+0.2 points; other trainings -1.2 to +1.6; adjusted p 1; 3 seeds; spread 0.72; "
        "finds a true 1-point effect in 2 %; would take 12 seeds)"
        " - the difference may be chance (p 0.79 before any adjustment)",
        "NOT RUN: absent is worse than plain (would take 5 seeds) - nobody ran row absent of Table 9; "
        "the paper contradicts itself: it prints 50.0 (9:plain.strong) against 52.0 (9:absent.strong)",
        "MECHANISM NOT SHOWN: the text is worse than plain "
        "(-10.3 points; other trainings -11.3 to -9.4; adjusted p < 0.0001; 3 seeds; spread 0.50; "
        "finds a true 2-point effect in 48 %)"
        " - the paper contradicts itself: it prints 50.0 (9:plain.strong) against 53.0 (9:text.strong)",
        "NOT COMPARABLE: plain is better than Others *[7]*"
        " - another scale than the paper's, so the values of the literature say nothing here",
    ]


def test_a_table_without_claims_has_no_lines(measured):
    assert claim_lines(judged(measured), 8) == []


# ---------------------------------------------------------------- lines


CLAIM = TABLE.claims[0]


def test_a_line_has_everything_that_is_known():
    verdict = Verdict(
        CLAIM, 9, "REPRODUCED", effect=4.04, seeds_interval=Interval(3.04, 5.06), p=1e-9, p_adjusted=1e-7, look=3,
        images_interval=Interval(-0.44, 8.0, basis="images"), seeds=(0, 1, 2), spread=Spread(0.748, 22, 22, ""),
        finds=0.912, finds_effect=2.0,
    )  # fmt: skip
    assert claim_line(verdict) == (
        "REPRODUCED: the weak branch is worse (+4.0 points; other trainings +3.0 to +5.1; other images -0.4 to +8.0; "
        "adjusted p < 0.0001; 3 seeds; spread 0.75; finds a true 2-point effect in 91 %)"
    )


def test_a_line_says_why_a_claim_is_open_and_what_it_would_take():
    verdict = Verdict(
        CLAIM,
        9,
        "UNDECIDED",
        effect=0.5,
        seeds=(4,),
        seeds_needed=12,
        hours_needed=3.42,
        why="one seed",
        comparable=False,
    )
    assert claim_line(verdict) == (
        "UNDECIDED: the weak branch is worse (+0.5 points; 1 seed; would take 12 seeds, 3.4 h more) - one seed"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"kind": "trend", "rising": ("9:a.x", "9:b.x", "9:c.x"), "lower": (), "higher": ()},
            "(first to last +1.0 points)",
        ),
        (
            {"kind": "robustness", "flat": ("9:a.x", "9:b.x"), "lower": (), "higher": ()},
            "(largest difference +1.0 points)",
        ),
        ({"kind": "value", "printed": ("9:a.x",), "lower": (), "higher": ()}, "(farthest off +1.0 points)"),
        ({"lower": ("9:a.x", "9:b.x"), "higher": ("9:c.x", "9:d.x")}, "(smallest of 2: +1.0 points)"),
    ],
)
def test_of_several_differences_a_line_says_which_one_it_shows(change, words):
    assert words in claim_line(Verdict(replace(CLAIM, **change), 9, "NOT RUN", effect=1.0)).replace("; 0 seeds", "")


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0, "< 0.0001"),
        (0.00012, "0.00012"),
        (0.0499, "0.05"),
        (0.05, "0.05"),
        (0.05037, "0.0504"),
        (0.050001, "0.050001"),
        (0.31, "0.31"),
        (1.0, "1"),
    ],
)
def test_p_values_are_short(p, words):
    assert small(p) == words


def test_how_it_was_judged_names_family_looks_spread_and_limits(measured):
    lines = rule_lines(judged(measured))
    assert "adjusted for all 4 claims of the tables that seeds can decide (Holm) and for looks at 3 seeds" in lines[0]
    assert "squeezed towards that of all cells (5 of them" in lines[0]
    assert "other trainings" in lines[1] and "other images" in lines[1]
    assert lines[2:] == ["registered: no claim was preregistered", *limits(preset())]
    assert "looks, the first at 3 seeds" in rule_lines(Ledger("tiny", False, (), 4, ()))[0]


def test_how_it_was_judged_says_which_claims_were_fixed_before_the_runs():
    def said(**standing: str) -> str:
        return registered_line(Ledger("tiny", False, (), 4, (), registered=standing))

    assert said(a="not", b="not") == said() == "registered: no claim was preregistered"
    assert said(a="before", b="before") == "registered: all 2 claims were fixed before the runs behind them"
    assert said(a="before", b="after").startswith(
        "registered: 1 claims were fixed before the runs behind them; fixed after"
    )
    assert said(a="before", b="after").endswith(": b") and said(a="after", b="after").endswith(": all 2")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ordering", "finds a true 2-point effect in 91 %"),
        ("equivalence", "shows it in 91 % where cells are 2 points apart"),
        ("value", "says so in 91 % where it is true"),
    ],
)
def test_what_is_found_is_said_in_the_words_of_the_claim(kind, words):
    claim = replace(CLAIM, kind=kind)
    known = {"finds": 0.912, "finds_effect": 2.0, "seeds_needed": 8, "hours_needed": 1.26}
    open_line = claim_line(Verdict(claim, 9, "UNDECIDED", **known))
    assert f"({words}; would take 8 seeds, 76 min more)" in open_line
    assert "would take" not in claim_line(Verdict(claim, 9, "REPRODUCED", **known))


def test_the_limits_name_the_one_data_set_and_the_one_set_of_proxies():
    assert limits(preset())[0].startswith("one data set (tiny):")
    assert limits(load_preset("voc"))[0].startswith("one data set (voc):")
    assert "one set of proxies" in limits(preset())[1]


# ---------------------------------------------------------------- counts of images


def stored(folder, measured: MeasuredTable, images: int = 8) -> MeasuredTable:
    """Leave counts beside every score; returns the table with the scores that these counts have."""
    cells = {}
    for place, cell in measured.cells.items():
        by_seed = {}
        for seed, score in cell.by_seed.items():
            counts = counts_of(score, images, seed)
            np.savez_compressed(cell.counts[seed], ids=np.array([f"i{k}" for k in range(images)]), counts=counts)
            by_seed[seed] = miou(counts.sum(0))
        cells[place] = replace(cell, by_seed=by_seed)
    return replace(measured, cells=cells)


def counts_of(score: float, images: int, seed: int) -> np.ndarray:
    right = np.random.RandomState(seed).binomial(1000, score / 100, (images, 2))
    counts = np.zeros((images, 2, 2), np.int32)
    for k in (0, 1):
        counts[:, k, k], counts[:, k, 1 - k] = right[:, k], 1000 - right[:, k]
    return counts


def test_an_interval_over_images_comes_from_the_counts_beside_the_scores(tmp_path, measured):
    found = ledger_of([stored(tmp_path, measured)], preset())
    interval = found.verdicts[0].images_interval
    assert interval.basis == "images" and interval.low < found.verdicts[0].effect < interval.high
    assert ledger_of([stored(tmp_path, measured)], preset(), images=False).verdicts[0].images_interval is None


def test_where_no_counts_are_kept_there_is_no_interval_over_images(measured):
    assert {verdict.images_interval for verdict in judged(measured).verdicts} == {None}


def test_a_score_that_is_not_that_of_its_counts_is_refused(tmp_path, measured):
    table = stored(tmp_path, measured)
    cell = table.cells["plain", "strong"]
    changed = replace(cell, by_seed=cell.by_seed | {1: cell.by_seed[1] + 1.5})
    with pytest.raises(MissingArtefact) as caught:
        ledger_of([replace(table, cells=table.cells | {("plain", "strong"): changed})], preset())
    assert caught.value.subject == cell.counts[1] and caught.value.expected == "the same"
    assert f"the score {cell.by_seed[1] + 1.5:.4f}" in caught.value.found


def test_scores_on_other_images_are_not_resampled_together(tmp_path, measured):
    table = stored(tmp_path, measured)
    path = table.cells["plain", "strong"].counts[1]
    with np.load(path) as kept:
        np.savez_compressed(path, ids=np.array([f"other{k}" for k in range(8)]), counts=kept["counts"])
    assert {verdict.images_interval for verdict in ledger_of([table], preset()).verdicts} == {None}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK\x03\x04 cut off", b"text",
        {"ids": np.array(["a"])},
        {"ids": np.array(["a"]), "counts": np.zeros((1, 2, 3), int)},
        {"ids": np.array(["a", "b"]), "counts": np.zeros((1, 2, 2), int)},
        {"ids": np.array(["a"]), "counts": np.zeros((1, 2, 2))},
        {"ids": np.array(["a"]), "counts": np.full((1, 2, 2), -1)},
        {"ids": np.array([], dtype=str), "counts": np.zeros((0, 2, 2), int)},
        {"ids": np.array([object()]), "counts": np.zeros((1, 2, 2), int)},  # a pickle is not opened
    ],
)  # fmt: skip
def test_damaged_counts_are_named(tmp_path, content):
    path = tmp_path / "confusion.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez_compressed(path, **content)
    with pytest.raises(MissingArtefact) as caught:
        read_parts(path)
    assert (caught.value.subject, caught.value.found) == (path, "damaged")


# ---------------------------------------------------------------- several tables


def test_tables_of_other_data_are_not_judged_together(tmp_path, measured):
    other = replace(measured, spec=replace(TABLE, number=8, claims=()), data_digest="e" * 64)
    with pytest.raises(MissingArtefact) as caught:
        ledger_of([measured, other], preset())
    assert (caught.value.subject, caught.value.expected) == ("Table 9", "the same data")


def test_a_file_of_counts_is_read_once_however_many_cells_it_stands_behind(tmp_path, measured, monkeypatch):
    table, read = stored(tmp_path, measured), []
    monkeypatch.setattr(ledger, "read_parts", lambda path: read.append(path) or read_parts(path))
    ledger_of([table, replace(table, spec=replace(TABLE, number=8, claims=()))], preset())
    assert len(read) == len(set(read)) == sum(len(by_seed) for by_seed in SCORES.values())


def test_a_claim_about_a_method_that_the_backbone_does_not_allow_says_so_and_asks_for_no_seeds():
    tables = [MeasuredTable(table, {}, "", [], []) for table in load_tables().values()]
    (lite0, squeezenet) = (ledger_of(tables, load_preset(f"voc-animals{end}")) for end in ("", "-squeezenet"))
    of = {one.claim.key: one for one in lite0.verdicts}["better-than-decouplednet-here"]
    assert of.word == "NOT RUN" and of.seeds_needed is None
    assert of.why.startswith("cannot be run at this preset: it needs pools") and "efficientnet_lite0" in of.why
    assert not any("cannot be run" in one.why for one in squeezenet.verdicts)
    assert [one for one in lite0.verdicts if "cannot be run" in one.why] == [of] and lite0.family == squeezenet.family
