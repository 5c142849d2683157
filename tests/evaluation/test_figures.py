"""Figures: what stands where on a sheet, in which colours, and under which title."""

import numpy as np
from conftest import TINY
from PIL import Image

from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import palette_png
from swdb.evaluation import figures
from swdb.evaluation.figures import GAP, TILE, TITLE
from swdb.specs.presets import load_preset

# The VOC palette by hand: background, aeroplane, bicycle, void.
BLACK, MAROON, GREEN, CREAM = (0, 0, 0), (128, 0, 0), (0, 128, 0), (224, 224, 192)
WHITE = (255, 255, 255)


def solid(colour, height=8, width=8):
    return np.full((height, width, 3), colour, np.uint8)


def tile_pixel(sheet, column, row, y, x):
    """The pixel at shares y, x (0..1) of one tile."""
    top, left = TITLE + row * (TILE + GAP), column * (TILE + GAP)
    return tuple(int(value) for value in sheet[top + int(y * TILE), left + int(x * TILE)])


def test_a_grid_has_a_tile_for_every_image_and_gaps_between():
    sheet = figures.grid({"one": [solid(MAROON)] * 3, "two": [solid(GREEN)] * 3})
    assert sheet.shape == (TITLE + 3 * (TILE + GAP), 2 * TILE + GAP, 3)
    assert sheet.dtype == np.uint8


def test_columns_and_rows_stand_in_their_order():
    sheet = figures.grid({"one": [solid(MAROON), solid(GREEN)], "two": [solid(CREAM), solid(BLACK)]})
    found = [[tile_pixel(sheet, column, row, 0.5, 0.5) for column in (0, 1)] for row in (0, 1)]
    assert found == [[MAROON, CREAM], [GREEN, BLACK]]


def test_tiles_are_filled_to_their_edges_and_gaps_stay_white():
    sheet = figures.grid({"one": [solid(BLACK)], "two": [solid(BLACK)]})
    assert (sheet[TITLE : TITLE + TILE, :TILE] == 0).all()
    assert (sheet[TITLE : TITLE + TILE, TILE : TILE + GAP] == 255).all()
    assert (sheet[TITLE + TILE :] == 255).all()


def test_every_column_has_its_title_in_ink():
    sheet = figures.grid({"image": [solid(WHITE)], "": [solid(WHITE)]})
    assert (sheet[:TITLE, :TILE] < 255).any()
    assert (sheet[:TITLE, TILE + GAP :] == 255).all()  # an empty title leaves no ink: the ink above is the title's


def test_an_image_keeps_its_aspect():
    sheet = figures.grid({"wide": [solid(GREEN, height=4, width=8)]})  # half as high as wide: a quarter is free above
    assert tile_pixel(sheet, 0, 0, 0.5, 0.02) == GREEN
    assert tile_pixel(sheet, 0, 0, 0.5, 0.98) == GREEN
    assert tile_pixel(sheet, 0, 0, 0.2, 0.5) == WHITE
    assert tile_pixel(sheet, 0, 0, 0.8, 0.5) == WHITE


def test_a_figure_shows_image_truth_and_masks_in_the_palettes_colours(tmp_path):
    truth = np.array([[0, 1], [2, 255]], np.uint8).repeat(8, 0).repeat(8, 1)
    proxy = np.zeros((16, 16), np.uint8)
    proxy[:, 8:] = 1
    dataset = DataSet(tmp_path, load_preset(TINY).data, {})
    image_path, mask_path = dataset.image_path("a"), dataset.mask_path("a", VAL_SPLIT)
    for path in (image_path, mask_path):
        path.parent.mkdir(parents=True)
    Image.fromarray(solid((200, 30, 90), 16, 16)).save(image_path, quality=100, subsampling=0)
    mask_path.write_bytes(palette_png(truth))

    target = tmp_path / "figures" / "run.png"
    figures.figure(target, dataset, ["a"], {"proxy": {"a": proxy, "b": truth}})

    sheet = np.asarray(Image.open(target).convert("RGB"))
    assert sheet.shape == (TITLE + TILE + GAP, 3 * TILE + 2 * GAP, 3)
    # red must be red: OpenCV writes BGR
    assert np.abs(np.subtract(tile_pixel(sheet, 0, 0, 0.5, 0.5), (200, 30, 90))).max() <= 3
    corners = [tile_pixel(sheet, 1, 0, y, x) for y in (0.2, 0.8) for x in (0.2, 0.8)]
    assert corners == [BLACK, MAROON, GREEN, CREAM]
    assert [tile_pixel(sheet, 2, 0, 0.5, x) for x in (0.2, 0.8)] == [BLACK, MAROON]


# ---------------------------------------------------------------- albums


def test_an_album_has_blocks_of_examples_one_below_the_other_and_a_legend():
    three, five = (
        figures.album({"": [("", [solid(GREEN)])] * count}, {"": np.array(MAROON, np.uint8)}) for count in (3, 5)
    )
    assert five.shape[0] - three.shape[0] == TITLE + TILE + GAP  # a row more
    assert five.shape[1] - three.shape[1] == TILE + GAP + figures.MARGIN  # four abreast instead of three
    both = figures.album({"a": [("", [solid(GREEN)])] * 3, "b": [("", [solid(GREEN)])] * 5}, {})
    assert both.shape[:2] == (three.shape[0] + five.shape[0] - 2 * TITLE, five.shape[1])
    assert (five == MAROON).all(2).sum() == 14 * 14


def test_the_images_of_an_example_stand_side_by_side_and_none_leaves_its_place_white():
    sheet = figures.album({"": [("", [solid(GREEN), None, solid(MAROON)])]}, {})
    row = sheet[figures.HEADING + TITLE + TILE // 2]
    assert [tuple(row[k * (TILE + GAP) + TILE // 2].tolist()) for k in range(3)] == [GREEN, WHITE, MAROON]


def test_captions_and_titles_are_written_in_ink():
    bare = figures.album({"": [("", [None])]}, {})
    assert (bare == 255).all()
    for blocks, legend in [({"t": [("", [None])]}, {}), ({"": [("c", [None])]}, {})]:
        assert (figures.album(blocks, legend) < 255).any()


def test_a_sheet_is_saved_in_the_format_of_its_name(tmp_path):
    sheet = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    for name, form in (("a.png", "PNG"), ("a.jpg", "JPEG")):
        figures.save(tmp_path / name, sheet)
        found = Image.open(tmp_path / name)
        assert found.format == form
        assert np.abs(np.asarray(found).astype(int) - sheet).max() <= (0 if form == "PNG" else 4)
