"""Each view is looked at once, and averages are added up as a prediction adds them up."""

import pytest
import torch

from swdb.evaluation.views import averaged, views_of, way_of
from swdb.specs.tasks import Scoring


def test_a_crf_does_not_change_what_is_averaged():
    assert way_of(Scoring("weak", (0.5, 1.0), True, "dsrg")) == ("weak", (0.5, 1.0), True)


def test_views_are_looked_at_in_the_order_in_which_a_prediction_adds_them_up():
    ways = [("strong", (0.75, 1.0), True), ("weak", (1.0,), False), ("strong", (1.0,), False)]
    assert views_of(ways) == [(0.75, False), (0.75, True), (1.0, False), (1.0, True)]
    asked = []

    def look(branches, scale, mirrored):
        asked.append((branches, scale, mirrored))
        return {branch: torch.tensor(scale + 10 * mirrored + 100 * (branch == "weak")) for branch in branches}

    found = {way: float(value) for way, value in averaged(look, ways)}
    assert found == {ways[0]: (0.75 + 10.75 + 1 + 11) / 4, ways[1]: 101.0, ways[2]: 1.0}
    assert asked == [
        (("strong",), 0.75, False), (("strong",), 0.75, True), (("strong", "weak"), 1.0, False), (("strong",), 1.0, True),
    ]  # fmt: skip


def test_a_scale_that_is_named_twice_counts_twice():
    found = dict(
        averaged(
            lambda branches, scale, mirrored: {"strong": torch.tensor(scale)}, [("strong", (1.0, 1.0, 2.0), False)]
        )
    )
    assert [float(value) for value in found.values()] == [pytest.approx(4 / 3)]
