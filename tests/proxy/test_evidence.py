"""Cues that speak of other images than their tags: refused where more than a few do, with the likely cause."""

from pathlib import Path

import numpy as np
import pytest
from pickled import REAL

from swdb.core.errors import BadInput
from swdb.proxy.evidence import check_claims
from swdb.proxy.sec_cues import read_cues

NAMES = ["background", "cat", "dog", "person"]
LABELS = REAL.parents[1] / "lists" / "image_labels.csv"


def check(said: np.ndarray, tags: np.ndarray, speaks: np.ndarray | None = None) -> None:
    ids = [f"image{k}" for k in range(len(tags))]
    names = ["background", *(f"class{k}" for k in range(tags.shape[1]))] if tags.shape[1] != 3 else NAMES
    check_claims("--cues c", ids, said, tags, said.any(1) if speaks is None else speaks, names, "another list?")


def refused(*arguments) -> BadInput:
    with pytest.raises(BadInput) as caught:
        check(*arguments)
    assert caught.value.subject == "--cues c" and "another list?" in caught.value.expected
    return caught.value


def world(count: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of one class each; of the first ones another class is said."""
    tags = np.eye(3, dtype=bool)[np.arange(count) % 3]
    said = tags.copy()
    said[:wrong] = np.roll(said[:wrong], 1, axis=1)
    return said, tags


@pytest.mark.parametrize(("count", "wrong"), [(100, 6), (260, 243), (20, 2), (12, 7), (3, 2), (2, 2)])
def test_too_many_contradictions_are_refused_and_the_first_is_named(count, wrong):
    found = refused(*world(count, wrong)).found
    assert f"{wrong} of {count} images" in found and "image0: dog, but tagged cat" in found


@pytest.mark.parametrize(("count", "wrong"), [(100, 5), (260, 8), (20, 1), (12, 6), (2, 1), (1, 1), (0, 0)])
def test_a_few_contradictions_are_none(count, wrong):
    check(*world(count, wrong))


def test_classes_that_are_not_said_contradict_nothing_as_long_as_one_is():
    said, tags = world(100, 0)
    check(said, tags | np.roll(tags, 1, axis=1))


def test_where_one_class_is_kept_cues_of_other_images_lack_it():
    # every image has a cat, and of nine in ten the source says other classes, which the data set has not
    tags, speaks = np.ones((100, 1), bool), np.ones(100, bool)
    said = np.arange(100)[:, None] % 10 == 0
    assert "90 of 100" in refused(said, tags, speaks).found
    check(np.arange(100)[:, None] % 3 != 0, tags, speaks)  # masks are smaller than boxes: a third may be missed


def test_images_of_which_nothing_is_said_do_not_count():
    said, tags = world(12, 0)
    said[3:] = False
    check(said, tags)


@pytest.mark.skipif(not (REAL.is_file() and LABELS.is_file()), reason="the real cues and tags are not at hand")
@pytest.mark.parametrize("kept", [range(1, 21), (8, 10, 12, 13, 15, 17), (8,), (15,), (18,)], ids=str)
def test_the_real_cues_are_of_their_images_and_with_a_moved_list_of_others(kept):
    from swdb.data.voc import CLASSES

    cues = read_cues(Path(REAL))
    rows = [line.split(",") for line in LABELS.read_text().splitlines()[1:]]
    names = {row[0]: {CLASSES.index(word) for word in row[1].split()} for row in rows}
    ids = [image_id for image_id in cues.labels if names[image_id] & set(kept)]

    def as_bools(sets):
        return np.array([[label in one for label in kept] for one in sets])

    tags, speaks = as_bools(names[image_id] for image_id in ids), np.ones(len(ids), bool)
    check(as_bools(cues.labels[image_id] for image_id in ids), tags, speaks)
    everyone = list(cues.labels)
    moved = dict(zip(everyone, everyone[1:] + everyone[:1], strict=True))
    refused(as_bools(cues.labels[moved[image_id]] for image_id in ids), tags, speaks)
