"""Which ways of evaluating a run there are: each once, ours first, sizes by what the preset's images are like."""

import pytest

from swdb.evaluation.choices import choices, choices_of, square_side
from swdb.specs.crf_parameters import CRF_SETS
from swdb.specs.runs import RunSpec
from swdb.specs.tasks import LabTask, Scoring

STRONG, BOTH = Scoring("strong"), ("strong", "weak")
DUAL = RunSpec(name="dual", strong_branch="strong", weak_branch="strong+weak")
VOC = {"branches": BOTH, "crop": 328, "longest": 500, "shrunk": False}


def test_ours_is_first_and_nothing_is_there_twice():
    for ours in (STRONG, Scoring("weak"), Scoring("strong", (0.75, 1.0, 1.25), True)):
        found = choices(ours, **VOC)
        assert (found[0].key, found[0].scoring, found[0].geometry) == ("ours", ours, None)
        assert len({one.key for one in found}) == len(found)
        assert len({(one.scoring, one.geometry) for one in found}) == len(found)
        assert all(one.words and one.where for one in found)


def test_every_set_of_crf_parameters_is_tried_with_its_source():
    refined = {one.scoring.crf: one.where for one in choices(STRONG, **VOC) if one.scoring.scales == (1.0,)}
    assert {name: refined[name] for name in CRF_SETS} == {name: crf.source for name, crf in CRF_SETS.items()}


def test_the_mirror_is_turned_round_and_the_other_branch_is_there_where_the_run_has_one():
    assert "strong-flip" in {one.key for one in choices(STRONG, **VOC)}
    mirrored = Scoring("strong", flip=True)
    assert "strong" in {one.key for one in choices(mirrored, **VOC)}
    assert [one.key for one in choices(STRONG, **VOC) if one.scoring.branch == "weak"] == ["weak"]
    alone = choices(STRONG, **{**VOC, "branches": ("strong",)})
    assert not [one for one in alone if one.scoring.branch == "weak"]


def test_scales_go_from_small_to_large():
    # so that averages are added up in the order in which views are looked at
    assert all(list(one.scoring.scales) == sorted(one.scoring.scales) for one in choices(STRONG, **VOC))


@pytest.mark.parametrize(("longest", "side"), [(500, 513), (250, 257), (64, 65), (32, 33), (20, 25), (36, 41)])
def test_deeplab_s_square_holds_the_image_and_is_one_more_than_a_multiple_of_8(longest, side):
    assert square_side(longest) == side >= longest and side % 8 == 1


def test_sizes_are_those_of_what_the_network_sees():
    task = LabTask(STRONG, 250, 160, 500, "part", False, None)
    keys = {one.key for one in choices_of(task, DUAL)}
    assert {"crop-160-seen", "pad-257-full", "warp-160-full", "warp-160-seen", "whole-grid", "whole-seen"} <= keys
    voc = LabTask(STRONG, 0, 328, 500, "voc", True, 72.2)
    keys = {one.key for one in choices_of(voc, DUAL)}
    assert {"crop-328-seen", "pad-513-full", "short-crop-513-seen"} <= keys and "whole-seen" not in keys


def test_a_method_whose_network_predicts_pixels_has_no_points_of_its_own():
    task = LabTask(STRONG, 0, 64, 64, "synthetic", False, None)
    with_points = {one.key for one in choices_of(task, RunSpec(name="strong", strong_branch="strong"))}
    without = {one.key for one in choices_of(task, RunSpec(name="d", method="decouplednet", strong_branch="strong"))}
    assert with_points - without == {"whole-grid"} and without < with_points
