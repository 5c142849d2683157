"""Whether labels can be true: many contradictions are refused with the likely cause, a few are what real images have."""

from pathlib import Path

import numpy as np
import pytest

from swdb.core.errors import BadInput
from swdb.data.agreement import (
    UNTAGGED,
    WITHOUT_PIXELS,
    Labelled,
    refuse_backgroundless,
    refuse_borderless,
    refuse_contradictions,
    refuse_shared,
)
from swdb.data.voc import CLASSES, VOC2012

PATH = Path("image_labels.csv")


def labelled(count: int, own: bool = True) -> Labelled:
    """Images that show one class each, and have its tag."""
    shown = np.zeros((count, 20), bool)
    shown[np.arange(count), np.arange(count) % 20] = True
    return Labelled("weak images", [f"i{k:05d}" for k in range(count)], list(CLASSES[1:]), shown.copy(), shown, own)


def spoil(found: Labelled, count: int, how: str) -> Labelled:
    for row in range(count):
        label = row % 20
        if how in ("tag lost", "other"):
            found.tags[row, label] = False
        if how == "pixels lost":
            found.shown[row, label] = False
        if how in ("other", "tag added"):
            found.tags[row, (label + 1) % 20] = True
    return found


def refused(found: Labelled) -> BadInput:
    with pytest.raises(BadInput) as caught:
        refuse_contradictions(PATH, found)
    assert caught.value.subject == PATH and str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize("how", ["tag lost", "pixels lost", "other", "tag added"])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("count", [4, 8, 250, 3000])
def test_where_all_contradict_it_is_refused_whatever_the_number(how, own, count):
    error = refused(spoil(labelled(count, own), count, how))
    assert f"{count} of {count} weak images" in error.found and "first: i00000: " in error.found


@pytest.mark.parametrize("own", [True, False])
def test_what_real_images_have_is_not_refused(own):
    refuse_contradictions(PATH, labelled(250, own))
    refuse_contradictions(PATH, spoil(labelled(869, own), 1, "tag lost"))
    refuse_contradictions(PATH, spoil(labelled(869, own), 1, "tag added"))
    refuse_contradictions(PATH, spoil(labelled(2694, False), 190, "tag added"))  # SBD's masks, all classes


def test_a_few_of_a_few_are_not_refused():
    for count in range(1, 9):
        refuse_contradictions(PATH, spoil(labelled(count), min(count, 2), "other"))
        refuse_contradictions(PATH, spoil(labelled(count, False), min(count, 2), "tag added"))


def test_a_tenth_of_the_tags_lost_is_refused():
    assert "40 of 300" in refused(spoil(labelled(300, False), 40, "tag lost")).found


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("other", "of different images, or the masks have other numbers"),
        ("tag lost", "tags perhaps lack"),
        ("pixels lost", "masks perhaps lack"),
        ("tag added", "masks perhaps lack"),
    ],
)
def test_the_likely_cause_is_said(how, cause):
    assert cause in refused(spoil(labelled(40), 30, how)).expected


def test_the_first_image_is_shown_with_both_labels():
    found = spoil(labelled(10), 10, "other")
    assert "i00000: bicycle by its tags, aeroplane by its mask" in refused(found).found


def test_no_images_contradict_nothing():
    refuse_contradictions(PATH, labelled(0))
    refuse_borderless(VOC2012, PATH, [])


@pytest.mark.parametrize(
    ("without", "of", "is_refused"),
    [(1, 2, False), (2, 2, True), (1, 4, False), (3, 4, True), (0, 1449, False), (20, 1449, False), (150, 1449, True)],
)
def test_masks_without_a_border_are_refused_where_they_are_more_than_a_few(without, of, is_refused):
    bordered = [False] * without + [True] * (of - without)
    if not is_refused:
        refuse_borderless(VOC2012, PATH, bordered)
        return
    with pytest.raises(BadInput) as caught:
        refuse_borderless(VOC2012, PATH, bordered)
    assert caught.value.subject == PATH and "void border" in caught.value.found
    assert caught.value.expected == VOC2012.own_masks


def test_what_chance_makes_of_a_share_is_not_too_many():
    draw = np.random.default_rng(0)
    for limit in (UNTAGGED, *WITHOUT_PIXELS.values()):
        for of in (2, 4, 8, 60, 500, 3000):
            counts = draw.binomial(of, limit.usual, 10_000)
            assert np.mean([limit.exceeded(int(count), of) for count in counts]) < 0.01


# ---------------------------------------------------------------- masks and images themselves


def test_masks_that_mostly_lack_background_are_refused():
    refuse_backgroundless(PATH, [True] * 2 + [False] * 98)
    refuse_backgroundless(PATH, [True, True])  # too few to tell
    with pytest.raises(BadInput) as caught:
        refuse_backgroundless(PATH, [True] * 90 + [False] * 10)
    assert caught.value.found == "90 of its 100 masks have no background (label 0) at all"


def test_val_images_that_are_trained_on_are_refused():
    refuse_shared(PATH, [True, True, *[False] * 98], "a is b")
    with pytest.raises(BadInput) as caught:
        refuse_shared(PATH, [True] * 4, "a is b")
    assert caught.value.found == "4 of its 4 images are training images under other ids (first: a is b)"


def test_tags_without_pixels_may_be_no_matter():
    refuse_contradictions(PATH, spoil(labelled(40, own=None), 40, "pixels lost"))
    assert "40 of 40" in refused(spoil(labelled(40), 40, "pixels lost")).found
