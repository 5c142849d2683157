"""The drawings of the report: what they show in words, and their numbers."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from swdb.reports import charts
from swdb.reports.charts import Range, Series, Spread, interval, number

RANGES = [
    Range("1.1", "good", "REPRODUCED", 4.0, (3.0, 5.0), (2.0, 6.0)),
    Range("1.2", "bad", "CONTRADICTED", -2.0, (-3.0, -1.0), None),
    Range("1.3", "open", "UNDECIDED", 0.5, (-90.0, 91.0), None, 1.0),
    Range("1.4", "none", "NOT RUN", None, None, None, 2.0),
]


def texts(one: charts.Chart) -> list[str]:
    return [element.text for element in ET.fromstring(one.svg).iter("text")]


def test_numbers_have_a_true_minus_and_a_dash_where_there_is_none():
    assert (number(-1.25, "+.1f"), number(None), number(float("nan")), number(3.0)) == ("−1.2", "–", "–", "3.0")
    assert (interval((-1.0, 2.0)), interval(None)) == ("−1.0 to +2.0", "–")


def test_the_intervals_have_a_line_for_every_claim_and_say_what_was_not_run():
    one = charts.intervals("c", "Claims", RANGES)
    assert {"1.1", "1.2", "1.3", "1.4"} <= set(texts(one)) and any("NOT RUN" in text for text in texts(one))
    assert one.rows[0] == ("1.1", "REPRODUCED", "+4.0", "+3.0 to +5.0", "+2.0 to +6.0", "–")
    assert one.rows[3] == ("1.4", "NOT RUN", "–", "–", "–", "2.0")
    assert one.description.startswith("3 of 4 claims have a measured difference.")
    for colour in ("--good", "--bad", "--open"):
        assert f"var({colour})" in one.svg


def test_an_interval_without_end_does_not_squeeze_the_others():
    ticks = [text for text in texts(charts.intervals("c", "Claims", RANGES)) if re.fullmatch(r"−?\d+", text)]
    assert len(ticks) > 2 and max(int(text.replace("−", "-")) for text in ticks) < 20
    endless = [RANGES[0], Range("2.1", "open", "UNDECIDED", 1.0, (float("-inf"), float("inf")), None)]
    assert charts.intervals("c", "Claims", endless).rows[1][3] == "– to –"


def test_losses_tell_mean_and_spread():
    at = np.arange(40.0)
    one = charts.losses(
        "l", "Run dual", {"strong": Spread(at, 2 - at / 40, np.full(40, 0.1)), "weak": Spread(at, at, None)}, 3
    )
    assert one.header == ("step", "strong: mean", "strong: sd", "weak: mean", "weak: sd")
    assert one.rows[0] == ("0", "2.000", "0.100", "0.000", "–") and one.rows[-1][0] == "39" and len(one.rows) == 11
    assert "strong from 2.00 to 1.02" in one.description and "3 seeds" in one.description
    assert {"strong", "weak"} <= set(texts(one))


def test_a_single_seed_has_no_band():
    one = charts.losses("l", "Run", {"loss": Spread(np.arange(3.0), np.ones(3), None)}, 1)
    assert "band" not in one.description and "1 seed:" in one.description


def test_classes_have_mean_and_range_and_say_what_is_absent():
    one = charts.classes("c", "Row", {"background": [90.0, 92.0], "cat": [10.0], "dog": []}, 50.5)
    assert one.rows == (("background", "91.0", "90.0", "92.0"), ("cat", "10.0", "10.0", "10.0"), ("dog", "–", "–", "–"))
    assert " absent" in texts(one)
    assert one.description.endswith("Lowest: cat 10.0; highest: background 91.0.")


def test_all_classes_absent_is_a_drawing_too():
    assert "Lowest" not in charts.classes("c", "Row", {"cat": []}, 0.0).description


@pytest.mark.parametrize("orientation", [True, False])
def test_a_sweep_stands_beside_the_papers_values(orientation):
    ours = Series("strong", (0.0, 1.0, 3.0), ((50.0, 52.0), (53.0,), ()), (70.0, None, 72.0))
    one = charts.sweep("s", "Table 3", "n", [ours], orientation)
    assert one.rows == (
        ("strong", "0", "51.0", "1.4", "2", "70.0"),
        ("strong", "1", "53.0", "–", "1", "–"),
        ("strong", "3", "–", "–", "0", "72.0"),
    )
    assert ("orientation" in one.description) is orientation
    assert {"strong", "paper"} <= set(texts(one))


def test_a_sweep_of_nothing_measured_shows_the_papers_values():
    series = [Series("a", (1.0, 2.0), ((), ()), (60.0, 61.0)), Series("b", (1.0, 2.0), ((), ()), (None, None))]
    assert "a, paper" in texts(charts.sweep("s", "T", "n", series, True))


def marks(one: charts.Chart) -> int:
    return len([*ET.fromstring(one.svg).iter("use")])


def test_a_sweep_has_single_seeds_beside_their_mean_and_says_its_values():
    of_one, of_three = (
        charts.sweep("s", "T", "n", [Series("ours", (0.0, 1.0), (values, (60.0,)), (70.0, None))], True)
        for values in ((50.0,), (49.0, 50.0, 51.0))
    )
    assert marks(of_three) - marks(of_one) >= 3
    assert "ours: 50.0 (paper 70.0) at 0, 60.0 (paper –) at 1." in of_three.description
    assert of_three.svg != of_one.svg


def test_several_series_have_signs_and_places_of_their_own():
    alike = [Series(name, (0.0, 1.0), ((50.0, 52.0), (51.0, 53.0)), (None, None)) for name in ("a", "b")]
    uses = [*ET.fromstring(charts.sweep("s", "T", "n", alike, False).svg).iter("use")]
    assert len({one.attrib["x"] for one in uses}) > 6 and len({one.attrib["href"] for one in uses}) > 3
