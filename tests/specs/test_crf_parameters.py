"""The parameter sets of dense CRFs have unmistakable names, the published values and a source each."""

from dataclasses import astuple

import pytest

from swdb.core.errors import BadInput
from swdb.specs.crf_parameters import CRF_SETS, CrfSet, crf_set

PUBLISHED = {
    "deeplab-largefov-deploy": (5, 50, 10, 3, 3),
    "deeplab-vgg16-run-densecrf": (4, 49, 5, 3, 3),
    "deeplab-v1-pytorch": (5, 140, 5, 3, 3),
    "deeplab-v2-resnet101": (4, 67, 3, 3, 1),
    "dsrg": (10, 80, 13, 3, 3),
    "irn-labels": (10, 50, 5, 3, 3),
}


def test_there_are_these_sets_and_no_other():
    assert list(CRF_SETS) == list(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_set_has_the_published_values(name):
    *values, iterations, source = astuple(crf_set(name))
    assert tuple(values) == PUBLISHED[name]
    assert iterations == 10
    assert len(source) > 10


def test_scaling_changes_the_widths_in_pixels_and_nothing_else():
    small = crf_set("dsrg").scaled(1 / 12)
    assert small.bilateral_xy == pytest.approx(80 / 12)
    assert small.gaussian_xy == pytest.approx(3 / 12)
    same = ("bilateral_weight", "bilateral_rgb", "gaussian_weight", "iterations", "source")
    assert all(getattr(small, name) == getattr(crf_set("dsrg"), name) for name in same)


def test_scaling_leaves_the_set_itself_alone():
    crf_set("dsrg").scaled(0.5)
    assert crf_set("dsrg").bilateral_xy == 80


def test_a_set_of_ones_own_needs_no_source():
    assert CrfSet(1, 2, 3, 4, 5).iterations == 10


def refused(name: str) -> BadInput:
    """Return the error with which a name is refused."""
    with pytest.raises(BadInput) as caught:
        crf_set(name)
    assert caught.value.subject == f"CRF parameters {name!r}" and caught.value.found == "unknown"
    return caught.value


def test_an_unknown_name_is_answered_with_the_nearest():
    assert refused("dsgr").near == "dsrg"


def test_a_name_like_none_is_answered_with_all_names():
    assert refused("x").expected == ", ".join(sorted(PUBLISHED))
