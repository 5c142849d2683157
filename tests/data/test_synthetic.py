"""The synthetic scenes: reproducible, correctly labelled, and with the partial evidence they were designed for."""

from dataclasses import fields, replace

import numpy as np
import pytest
from conftest import TINY

from swdb.data.synthetic import CLASSES, DRAWING_VERSION, PRETEXT_DEAL, SCENES, Scene, badges, draw, scene_of
from swdb.data.voc import VOC2012
from swdb.specs.presets import Data, load_preset

SCENE = Scene()
DATA = load_preset(TINY).data  # says nothing of scenes
NUM = 60


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    """Enough scenes to meet all classes and overlaps."""
    return [draw(3, index, SCENE) for index in range(NUM)]


def test_the_same_seed_and_index_draw_the_same_bytes(scenes):
    # Drawn in another order, so that no state is carried from scene to scene.
    for index in reversed(range(NUM)):
        image, mask = draw(3, index, SCENE)
        assert image.tobytes() == scenes[index][0].tobytes() and mask.tobytes() == scenes[index][1].tobytes()


def test_no_two_indices_draw_the_same_image(scenes):
    assert len({image.tobytes() for image, _ in scenes}) == NUM
    assert len({mask.tobytes() for _, mask in scenes}) == NUM


def test_another_seed_draws_another_image(scenes):
    image, mask = draw(4, 0, SCENE)
    assert not np.array_equal(image, scenes[0][0]) and not np.array_equal(mask, scenes[0][1])


@pytest.mark.parametrize("size", [32, 64, 96])
def test_images_and_masks_are_uint8_of_the_scene_s_size(size):
    image, mask = draw(0, 0, Scene(size=size))
    assert image.shape == (size, size, 3) and mask.shape == (size, size)
    assert image.dtype == mask.dtype == np.uint8


def test_masks_hold_the_classes_and_the_void_value_only(scenes):
    seen = {value for _, mask in scenes for value in np.unique(mask).tolist()}
    assert seen == {0, 1, 2, 3, 4, 5, 255}
    assert len(CLASSES) == 6


def test_every_scene_has_an_object_background_and_a_border(scenes):
    for _, mask in scenes:
        present = set(np.unique(mask).tolist())
        assert {0, 255} < present


def neighbours(mask: np.ndarray):
    """Yield all pairs of touching pixels, corners included: two arrays of the same shape for each direction."""
    height, width = mask.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        left = slice(max(0, -dx), width - max(0, dx))
        right = slice(max(0, dx), width - max(0, -dx))
        yield mask[: height - dy, left], mask[dy:, right]


def test_the_border_separates_everything_that_is_different(scenes):
    # As in VOC: no two labels touch, not even at a corner, without void between them.
    pairs = 0
    for _, mask in scenes:
        for one, other in neighbours(mask):
            labelled = (one != 255) & (other != 255)
            assert (one[labelled] == other[labelled]).all()
            pairs += labelled.sum()
    assert pairs > 100_000


def test_the_border_is_thin(scenes):
    void = np.mean([(mask == 255).mean() for _, mask in scenes])
    labelled = np.mean([((mask > 0) & (mask < 255)).mean() for _, mask in scenes])
    assert 0 < void < labelled


def colourful(image: np.ndarray) -> np.ndarray:
    """Tell where a pixel has the saturated colours of a badge, (H, W) bool."""
    channels = image.astype(int)
    return channels.max(2) - channels.min(2) > 110


def test_every_scene_shows_a_telling_part_on_its_objects(scenes):
    assert all(colourful(image)[(mask > 0) & (mask < 255)].any() for image, mask in scenes)


def test_the_telling_part_is_only_a_part(scenes):
    # The point of the set: what tells the class covers much less than the object.
    shares = [colourful(image)[(mask > 0) & (mask < 255)].mean() for image, mask in scenes]
    assert np.mean(shares) < 0.6


def test_clutter_and_background_have_no_telling_part(scenes):
    assert not any(colourful(image)[mask == 0].any() for image, mask in scenes)


def test_a_preset_that_says_nothing_of_scenes_draws_them_as_before():
    assert scene_of(DATA) == Scene(size=32)
    assert scene_of(DATA, PRETEXT_DEAL) == Scene(size=32, deal=PRETEXT_DEAL)


def test_a_preset_s_badges_are_those_of_its_scenes_and_it_says_how_large_they_are_without():
    assert scene_of(replace(DATA, badge_radius=(6.5, 9.0))) == Scene(size=32, badge_radius=(6.5, 9.0))
    unit = next(one for one in fields(Data) if one.name == "badge_radius").metadata["unit"]
    assert unit.endswith("none: {:g} to {:g}".format(*Scene().badge_radius))


def test_larger_badges_tell_the_class_on_more_of_an_object():
    def share(scene: Scene) -> float:
        drawn = (draw(3, index, scene) for index in range(NUM))
        return float(np.mean([colourful(image)[(mask > 0) & (mask < 255)].mean() for image, mask in drawn]))

    assert share(Scene(badge_radius=(6.5, 9.0))) > share(SCENE) + 0.1


def test_badges_are_dealt_out_so_that_each_means_one_class():
    dealt = badges(8, 0)
    assert len(dealt) == 5 and {len(pairs) for pairs in dealt} == {11, 12}
    pairs = [pair for pairs in dealt for pair in pairs]
    assert sorted(pairs) == [(a, b) for a in range(8) for b in range(8) if a != b]


def test_the_pretext_world_has_the_same_badges_with_other_meanings():
    here, there = badges(8, 0), badges(8, PRETEXT_DEAL)
    meaning = [{pair: label for label, pairs in enumerate(dealt) for pair in pairs} for dealt in (here, there)]
    assert len(meaning[0]) == 56 and meaning[0].keys() == meaning[1].keys()
    changed = sum(meaning[0][pair] != meaning[1][pair] for pair in meaning[0])
    assert changed > 28  # more than half of the 56: by chance about 45


def test_a_synthetic_set_lies_in_voc_s_layout_and_shows_its_colours():
    # So that whatever reads a prepared data set of one kind reads the other.
    assert SCENES.layout == VOC2012.layout
    assert np.array_equal(SCENES.palette, VOC2012.palette)


def test_a_synthetic_set_says_that_it_is_one_and_which_version_of_the_drawing_made_it():
    assert SCENES.synthetic and not VOC2012.synthetic
    assert SCENES.version == {"drawing": DRAWING_VERSION} and VOC2012.version == {}
    assert SCENES.classes == CLASSES and SCENES.official is None and SCENES.bordered == ()
