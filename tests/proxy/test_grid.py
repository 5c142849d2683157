"""The grid of seed cues: maps, their restriction to tags, their quality, by hand."""

import json

import numpy as np
import pytest
from pickled import POINTS
from slow import upsample_cues

from swdb.proxy.grid import GRID, cue_map, cue_quality, restrict

# ---------------------------------------------------------------- maps


def test_a_cue_map_holds_the_points_and_255_elsewhere():
    grid = cue_map(POINTS)
    assert grid.shape == (GRID, GRID) and grid.dtype == np.uint8
    assert [grid[0, 40], grid[1, 2], grid[40, 0], grid[7, 9]] == [0, 8, 18, 0]
    assert (grid == 255).sum() == GRID**2 - 4


def test_a_mapping_renames_classes_and_drops_others():
    mapping = np.full(256, 255, np.uint8)
    mapping[[0, 8]] = 0, 1
    grid = cue_map(POINTS, mapping)
    assert grid.dtype == np.uint8
    assert [grid[0, 40], grid[1, 2], grid[40, 0], grid[7, 9]] == [0, 1, 255, 0]


def test_no_points_make_an_empty_map():
    assert (cue_map(np.empty((3, 0), np.int64)) == 255).all()


def test_at_321_pixels_point_i_is_pixel_8_i():
    numbers = np.arange(GRID, dtype=np.uint8)
    grid = np.where(np.arange(GRID) == 0, numbers[:, None], numbers)  # the first column counts rows, the others columns
    large = upsample_cues(grid, 321, 321)
    assert large.shape == (321, 321) and large.dtype == np.uint8
    for point in range(GRID):
        low, high = max(8 * point - 3, 0), min(8 * point + 3, 320)
        assert (large[low : high + 1, 0] == point).all()
        if point:
            assert (large[0, low : high + 1] == point).all()


def test_enlarging_to_the_grid_itself_changes_nothing():
    grid = cue_map(POINTS)
    np.testing.assert_array_equal(upsample_cues(grid, GRID, GRID), grid)


def test_enlarging_by_hand():
    # 6 pixels a side: pixel y belongs to point y / 5 * 40, that is 0, 8, 16, 24, 32, 40; 3 a side: 0, 20, 40
    grid = np.arange(GRID, dtype=np.uint8)[:, None] + np.arange(GRID, dtype=np.uint8)[None] * 5
    expected = np.array([0, 8, 16, 24, 32, 40])[:, None] + np.array([0, 20, 40]) * 5
    np.testing.assert_array_equal(upsample_cues(grid, 6, 3), expected)


@pytest.mark.parametrize(("height", "width"), [(321, 321), (375, 500), (81, 97), (1, 1), (2, 41)])
def test_a_mirrored_image_has_mirrored_cues(height, width):
    grid = np.random.default_rng(3).integers(0, 21, (GRID, GRID), np.uint8)
    large = upsample_cues(grid, height, width)
    if width > 1:
        np.testing.assert_array_equal(upsample_cues(grid[:, ::-1], height, width), large[:, ::-1])
    assert large.shape == (height, width)
    assert large[0, 0] == grid[0, 0]


def test_restricting_keeps_the_named_classes_and_background():
    tags = np.zeros(20, bool)
    tags[8 - 1] = True
    grid = cue_map(POINTS)
    kept = restrict(grid, tags)
    assert kept.dtype == np.uint8
    assert [kept[0, 40], kept[1, 2], kept[40, 0], kept[7, 9]] == [0, 8, 255, 0]
    assert (kept == 255).sum() == (grid == 255).sum() + 1
    assert grid[40, 0] == 18  # the map that was given is left alone


# ---------------------------------------------------------------- quality


def test_the_quality_of_one_image_by_hand():
    mask = np.zeros((GRID, GRID), np.uint8)  # as large as the grid: a point is the pixel of its place
    mask[0, :10] = 1
    mask[1, :4] = 255
    grid = np.full((GRID, GRID), 255, np.uint8)
    grid[0, :4] = 1  # right
    grid[0, 4:6] = 2  # wrong, of class 1 in truth
    grid[1, :2] = 1  # void in truth: it does not count for precision
    grid[2, :3] = 0  # right
    grid[2, 3] = 1  # wrong, background in truth
    quality = cue_quality([(grid, mask)], 3)
    assert quality["images"] == 1 and quality["images_without_cue"] == 0
    assert quality["precision"] == {"all": 70.0, "by_class": [100.0, 80.0, 0.0]}
    share = 100 / GRID**2
    assert quality["coverage"] == pytest.approx({"all": 12 * share, "foreground": 9 * share, "background": 3 * share})
    assert quality["class_coverage"] == [pytest.approx(100 * 3 / (GRID**2 - 14)), 40.0, None]
    assert json.loads(json.dumps(quality)) == quality


def test_the_truth_of_a_point_is_the_pixel_at_its_place():
    mask = np.full((321, 641), 255, np.uint8)
    mask[::8, ::16] = 1  # all points, nothing but points
    assert cue_quality([(np.ones((GRID, GRID), np.uint8), mask)], 2)["precision"]["all"] == 100
    assert cue_quality([(np.ones((GRID, GRID), np.uint8), mask)], 2)["class_coverage"] == [None, 100.0]


def test_images_without_a_cue_are_counted_and_sums_go_over_all_images():
    mask = np.ones((50, 60), np.uint8)
    bare, full = np.full((GRID, GRID), 255, np.uint8), np.ones((GRID, GRID), np.uint8)
    quality = cue_quality(iter([(bare, mask), (full, mask), (bare, mask), (np.zeros_like(full), mask)]), 2)
    assert quality["images"] == 4 and quality["images_without_cue"] == 50
    assert quality["precision"] == {"all": 50.0, "by_class": [0.0, 100.0]}
    assert quality["coverage"] == {"all": 50.0, "foreground": 25.0, "background": 25.0}
    assert quality["class_coverage"] == [None, 25.0]


def test_no_images_have_no_quality():
    quality = cue_quality([], 2)
    assert quality["images"] == 0 and quality["images_without_cue"] is None
    assert quality["precision"] == {"all": None, "by_class": [None, None]}
