import numpy as np
from conftest import TINY
from PIL import Image

from swdb import figures, voc
from swdb.dataset import DataSet
from swdb.figures import GAP, TILE, TITLE
from swdb.pictures import palette_png
from swdb.preset import load_preset

# The VOC palette by hand: background, aeroplane, bicycle, void.
BLACK, MAROON, GREEN, CREAM = (0, 0, 0), (128, 0, 0), (0, 128, 0), (224, 224, 192)
WHITE = (255, 255, 255)


def solid(colour, height=8, width=8):
    return np.full((height, width, 3), colour, np.uint8)


def tile_pixel(sheet, column, row, y, x):
    """The pixel at shares y, x (0..1) of one tile."""
    top, left = TITLE + row * (TILE + GAP), column * (TILE + GAP)
    return tuple(int(value) for value in sheet[top + int(y * TILE), left + int(x * TILE)])


def test_a_grid_has_a_tile_for_every_picture_and_gaps_between():
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


def test_a_picture_keeps_its_aspect():
    sheet = figures.grid({"wide": [solid(GREEN, height=4, width=8)]})  # half as high as wide: a quarter is free above
    assert tile_pixel(sheet, 0, 0, 0.5, 0.02) == GREEN
    assert tile_pixel(sheet, 0, 0, 0.5, 0.98) == GREEN
    assert tile_pixel(sheet, 0, 0, 0.2, 0.5) == WHITE
    assert tile_pixel(sheet, 0, 0, 0.8, 0.5) == WHITE


def test_a_figure_shows_image_truth_and_masks_in_the_palettes_colours(tmp_path):
    truth = np.array([[0, 1], [2, 255]], np.uint8).repeat(8, 0).repeat(8, 1)
    proxy = np.zeros((16, 16), np.uint8)
    proxy[:, 8:] = 1
    for path in (voc.image_path(tmp_path, "a"), voc.mask_path(tmp_path, "a", "val")):
        path.parent.mkdir(parents=True)
    Image.fromarray(solid((200, 30, 90), 16, 16)).save(voc.image_path(tmp_path, "a"), quality=100, subsampling=0)
    voc.mask_path(tmp_path, "a", "val").write_bytes(palette_png(truth))
    data = DataSet(tmp_path, load_preset(TINY).data, {})

    target = tmp_path / "figures" / "run.png"
    figures.figure(target, data, ["a"], {"proxy": {"a": proxy, "b": truth}})

    sheet = np.asarray(Image.open(target).convert("RGB"))
    assert sheet.shape == (TITLE + TILE + GAP, 3 * TILE + 2 * GAP, 3)
    # red must be red: OpenCV writes BGR
    assert np.abs(np.subtract(tile_pixel(sheet, 0, 0, 0.5, 0.5), (200, 30, 90))).max() <= 3
    corners = [tile_pixel(sheet, 1, 0, y, x) for y in (0.2, 0.8) for x in (0.2, 0.8)]
    assert corners == [BLACK, MAROON, GREEN, CREAM]
    assert [tile_pixel(sheet, 2, 0, 0.5, x) for x in (0.2, 0.8)] == [BLACK, MAROON]
