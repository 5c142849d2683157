"""Background from saliency maps: below the threshold, at the right pixel; what is not a map is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.core.progress import silent
from swdb.proxy.grid import GRID
from swdb.proxy.saliency import background_by_saliency, check_saliency, judge_saliency, saliency_digest

ID = "2008_000008"


def save(folder: Path, grey: np.ndarray, name: str = f"{ID}.png", **encoding) -> Path:
    Image.fromarray(grey).save(folder / name, **encoding)
    return folder / name


def dark(height: int = 81, width: int = 121) -> np.ndarray:
    return np.zeros((height, width), np.uint8)


def refusal(folder: Path, size=(81, 121), kind: type[SwdbError] = BadInput, suffix: str = ".png") -> SwdbError:
    """Return the error for what must be refused, which is one line, names the file and says what was expected."""
    with pytest.raises(kind) as caught:
        background_by_saliency(folder, ID, size, 0.06)
    assert "\n" not in str(caught.value)
    assert caught.value.subject == folder / f"{ID}{suffix}" and caught.value.expected
    return caught.value


# ---------------------------------------------------------------- which points


def test_a_point_looks_at_the_pixel_at_its_fraction_corner_on_corner(tmp_path):
    # 81 x 121 pixels: point (i, j) is at pixel (2 i, 3 j); all others shine.
    grey = dark() + np.uint8(255)
    grey[::2, ::3] = np.random.default_rng(0).integers(0, 2, (GRID, GRID)) * 255
    save(tmp_path, grey)
    assert np.array_equal(background_by_saliency(tmp_path, ID, (81, 121), 0.06), grey[::2, ::3] == 0)


@pytest.mark.parametrize(
    ("value", "threshold", "expected"), [(15, 0.06, True), (16, 0.06, False), (127, 0.5, True), (128, 0.5, False)]
)
def test_background_is_below_the_threshold(tmp_path, value, threshold, expected):
    save(tmp_path, dark() + np.uint8(value))
    points = background_by_saliency(tmp_path, ID, (81, 121), threshold)
    assert points.dtype == bool
    assert points.shape == (GRID, GRID)
    assert (points == expected).all()


def test_the_threshold_is_dsrg_s_where_none_is_given(tmp_path):
    grey = dark() + np.uint8(15)
    grey[:, 60:] = 16
    save(tmp_path, grey)
    assert np.array_equal(
        background_by_saliency(tmp_path, ID, (81, 121), 0.06), np.broadcast_to(np.arange(GRID) < 20, (GRID, GRID))
    )


def test_an_image_smaller_than_the_grid_has_its_map(tmp_path):
    grey = dark(20, 30)
    grey[:10] = 255
    save(tmp_path, grey)
    points = background_by_saliency(tmp_path, ID, (20, 30), 0.06)
    assert not points[:20].any()
    assert points[21:].all()


# ---------------------------------------------------------------- how it is stored


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_grey_is_grey_however_it_is_stored(tmp_path, mode):
    grey = (np.arange(81 * 121) % 256).astype(np.uint8).reshape(81, 121)
    Image.fromarray(grey).convert(mode).save(tmp_path / f"{ID}.png")
    with Image.open(tmp_path / f"{ID}.png") as stored:
        assert stored.mode == mode
    assert np.array_equal(background_by_saliency(tmp_path, ID, (81, 121), 0.4), grey[::2, ::3] < 102)


def test_a_jpeg_is_a_map_too(tmp_path):
    grey = dark()
    grey[:, 64:] = 255
    save(tmp_path, grey, f"{ID}.jpg", quality=95)
    points = background_by_saliency(tmp_path, ID, (81, 121), 0.06)
    assert points[:, :19].all()
    assert not points[:, 23:].any()


def test_a_coloured_map_is_refused(tmp_path):
    colours = np.repeat(dark()[..., None], 3, 2)
    colours[40, 40] = 10, 10, 11
    save(tmp_path, colours)
    assert "coloured" in refusal(tmp_path).found


@pytest.mark.parametrize("mode", ["LA", "RGBA", "RGB", "P"])
def test_grey_under_an_alpha_channel_that_hides_nothing_is_grey(tmp_path, mode):
    grey = (np.arange(81 * 121) % 256).astype(np.uint8).reshape(81, 121)
    Image.fromarray(grey).convert(mode).save(tmp_path / f"{ID}.png")
    assert np.array_equal(background_by_saliency(tmp_path, ID, (81, 121), 0.4), grey[::2, ::3] < 102)


def test_one_bit_is_black_and_white(tmp_path):
    white = np.random.default_rng(0).random((81, 121)) < 0.5
    Image.fromarray(white).save(tmp_path / f"{ID}.png")
    with Image.open(tmp_path / f"{ID}.png") as stored:
        assert stored.mode == "1"
    assert np.array_equal(background_by_saliency(tmp_path, ID, (81, 121), 0.06), ~white[::2, ::3])


def test_sixteen_bits_are_of_65535(tmp_path):
    grey = np.linspace(0, 65535, 81 * 121).astype(np.uint16).reshape(81, 121)
    Image.fromarray(grey).save(tmp_path / f"{ID}.png")
    assert np.array_equal(background_by_saliency(tmp_path, ID, (81, 121), 0.06), grey[::2, ::3] < 0.06 * 65535)


def test_a_map_that_is_partly_transparent_is_refused(tmp_path):
    alpha = dark() + np.uint8(255)
    alpha[3, 3] = 254
    image = Image.fromarray(dark())
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / f"{ID}.png")
    assert "transparent" in refusal(tmp_path).found


def test_a_map_of_another_mode_is_refused(tmp_path):
    Image.fromarray(dark()).convert("CMYK").save(tmp_path / f"{ID}.jpg")
    assert refusal(tmp_path, suffix=".jpg").found.endswith("mode CMYK")


# ---------------------------------------------------------------- whose map it is


@pytest.mark.parametrize(
    "size",
    [(81, 121), (82, 121), (81, 120), (162, 242), (162, 243), (54, 81), (41, 61)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_a_map_of_its_image_s_size_or_aspect_is_taken(tmp_path, size):
    save(tmp_path, dark(*size))
    assert background_by_saliency(tmp_path, ID, (81, 121), 0.06).all()


def test_the_map_of_a_shrunken_image_is_taken(tmp_path):
    # 500 x 333 pixels shrunk to 64 are 43 high, not 42.6: half a pixel there is more than three in the map.
    save(tmp_path, dark(333, 500))
    assert background_by_saliency(tmp_path, ID, (43, 64), 0.06).all()


@pytest.mark.parametrize(
    "size",
    [(121, 81), (81, 124), (84, 121), (41, 41), (500, 500), (2, 3), (1, 1)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_the_map_of_an_image_of_another_shape_is_refused(tmp_path, size):
    save(tmp_path, dark(*size))
    height, width = size
    error = refusal(tmp_path)
    assert f"{width}x{height}" in error.found and "121x81" in error.expected


def test_a_huge_map_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    save(tmp_path, dark(8200, 8200))
    monkeypatch.setattr(Image.Image, "convert", None)
    assert "8200x8200" in refusal(tmp_path, (100, 100)).found


# ---------------------------------------------------------------- what is broken or not there


def test_a_missing_map_is_named(tmp_path):
    assert "missing" in refusal(tmp_path, kind=MissingArtefact).found


def test_of_a_jpeg_and_a_png_the_png_is_taken_and_a_broken_jpeg_is_named(tmp_path):
    (tmp_path / f"{ID}.jpg").write_bytes(b"")
    assert "cannot be read" in refusal(tmp_path, suffix=".jpg").found
    save(tmp_path, dark())
    assert background_by_saliency(tmp_path, ID, (81, 121), 0.06).all()


@pytest.mark.parametrize("share", [0, 0.2, 0.6])
def test_a_truncated_map_is_named(tmp_path, share):
    grey = np.random.default_rng(0).integers(0, 256, (81, 121)).astype(np.uint8)
    content = save(tmp_path, grey).read_bytes()
    (tmp_path / f"{ID}.png").write_bytes(content[: int(share * len(content))])
    assert "cannot be read" in refusal(tmp_path).found


def test_a_map_that_is_text_is_named(tmp_path):
    (tmp_path / f"{ID}.png").write_text("<html>not found</html>\n")
    assert "cannot be read" in refusal(tmp_path).found


def test_a_map_that_unpacks_to_too_much_is_named(tmp_path, monkeypatch):
    save(tmp_path, dark())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "cannot be read" in refusal(tmp_path).found


# ---------------------------------------------------------------- before training


def names(count: int) -> list[str]:
    return [f"2008_{k:06d}" for k in range(count)]


def refused_early(folder: Path, count: int, sizes=(), kind: type[SwdbError] = MissingArtefact) -> SwdbError:
    with pytest.raises(kind) as caught:
        check_saliency(folder, names(count), sizes)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_folder_with_all_maps_passes(tmp_path):
    for k, image_id in enumerate(names(6)):
        (tmp_path / f"{image_id}{('.png', '.jpg')[k % 2]}").write_bytes(b"")
    check_saliency(tmp_path, names(6))


@pytest.mark.parametrize("is_file", [False, True], ids=["nothing", "a file"])
def test_a_folder_that_is_not_there_is_named(tmp_path, is_file):
    if is_file:
        (tmp_path / "saliency").write_text("")
    error = refused_early(tmp_path / "saliency", 2)
    assert error.subject == f"--saliency {tmp_path / 'saliency'}" and error.found == "no such folder"


def test_missing_maps_are_counted_and_the_first_three_named(tmp_path):
    (tmp_path / "2008_000001.png").write_bytes(b"")
    (tmp_path / "2008_000002.gif").write_bytes(b"")
    (tmp_path / "2008_000003.png").mkdir()  # a folder is not a map
    error = refused_early(tmp_path, 6)
    assert error.subject == f"--saliency {tmp_path}"
    assert error.found == (
        "lacks 5 of 6 saliency maps (2008_000000, 2008_000002, 2008_000003, ...); 1 of those are there as '.gif'"
    )


def test_one_missing_map_is_named_alone(tmp_path):
    (tmp_path / "2008_000000.png").write_bytes(b"")
    assert refused_early(tmp_path, 2).found.endswith("lacks 1 of 2 saliency maps (2008_000001)")


def test_maps_of_other_shapes_are_refused_early_where_the_shapes_of_the_images_are_known(tmp_path):
    save(tmp_path, dark(81, 121), "2008_000000.png")
    save(tmp_path, dark(81, 124), "2008_000001.png")
    check_saliency(tmp_path, names(2), [(81, 121), (81, 124)])
    error = refused_early(tmp_path, 2, [(81, 121), (81, 121)], BadInput)
    assert error.subject == tmp_path / "2008_000001.png" and "124x81" in error.found and "121x81" in error.expected


def test_a_map_that_is_not_an_image_is_refused_early(tmp_path):
    save(tmp_path, dark(), "2008_000000.png")
    (tmp_path / "2008_000001.jpg").write_text("<html>not found</html>\n")
    error = refused_early(tmp_path, 2, [(81, 121)] * 2, BadInput)
    assert error.subject == tmp_path / "2008_000001.jpg" and "cannot be read" in error.found


def test_a_map_that_unpacks_to_too_much_is_refused_early(tmp_path, monkeypatch):
    save(tmp_path, dark(), "2008_000000.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    error = refused_early(tmp_path, 1, [(81, 121)], BadInput)
    assert error.subject == tmp_path / "2008_000000.png" and "cannot be read" in error.found


def test_a_map_of_another_mode_is_refused_early_with_the_number_of_others(tmp_path):
    for image_id in names(4):
        Image.fromarray(dark()).convert("CMYK").save(tmp_path / f"{image_id}.jpg")
    error = refused_early(tmp_path, 4, [(81, 121)] * 4, BadInput)
    assert error.subject == tmp_path / "2008_000000.jpg" and "CMYK" in error.found and "3 more of 4" in error.found


def test_two_maps_of_one_image_are_refused_by_name(tmp_path):
    for image_id in names(3):
        save(tmp_path, dark(), f"{image_id}.png")
    save(tmp_path, dark(), "2008_000001.jpg")
    error = refused_early(tmp_path, 3, kind=BadInput)
    assert "2008_000001.png and 2008_000001.jpg" in error.found


def test_maps_in_a_folder_below_are_missing_and_the_folder_is_named(tmp_path):
    (tmp_path / "maps").mkdir()
    for image_id in names(2):
        save(tmp_path / "maps", dark(), f"{image_id}.png")
    assert refused_early(tmp_path, 2).found.endswith(f"2008_000000 is in {tmp_path / 'maps'}")


# ---------------------------------------------------------------- what the values say


def objects(count: int = 12) -> list[np.ndarray]:
    """Maps with something salient in the middle, now and then reaching the border."""
    maps = []
    for k in range(count):
        grey = dark()
        grey[20 + k : 70, 0 if k % 4 == 0 else 30 : 90] = 255
        maps.append(grey)
    return maps


def judged(folder: Path, maps: list[np.ndarray], threshold: float = 0.06) -> list[str]:
    ids = names(len(maps))
    for image_id, grey in zip(ids, maps, strict=True):
        save(folder, grey, f"{image_id}.png")
    sizes = [grey.shape[:2] for grey in maps]
    check_saliency(folder, ids, sizes)
    return judge_saliency(folder, ids, sizes, threshold, silent())


def misjudged(folder: Path, maps: list[np.ndarray]) -> BadInput:
    with pytest.raises(BadInput) as caught:
        judged(folder, maps)
    line = str(caught.value)
    assert caught.value.subject == f"--saliency {folder}" and "\n" not in line
    assert "saliency" in line and "background" in line
    return caught.value


def test_maps_as_they_should_be_are_judged_in_silence(tmp_path):
    assert judged(tmp_path, objects()) == []
    assert judged(tmp_path, [(grey // 2 + 40).astype(np.uint16) * 257 for grey in objects()], 0.5) == []


@pytest.mark.parametrize("make", [lambda g: g // 255, lambda g: g * 0, lambda g: (g // 255).astype(np.uint16)])
def test_maps_of_0_and_1_are_refused(tmp_path, make):
    assert "above 1" in misjudged(tmp_path, [make(grey) for grey in objects()]).found


@pytest.mark.parametrize(
    "make", [lambda g: 255 - g, lambda g: 200 - g // 2, lambda g: (255 - g).astype(np.uint16) * 257]
)
def test_maps_that_are_the_other_way_round_are_refused(tmp_path, make):
    assert "12 of 12" in misjudged(tmp_path, [make(grey) for grey in objects()]).found


def test_maps_too_dim_to_say_anything_are_refused(tmp_path):
    assert "everywhere" in misjudged(tmp_path, [grey // 25 for grey in objects()]).found


def test_maps_that_say_the_same_everywhere_at_this_threshold_are_told(tmp_path):
    maps = [grey // 2 + 100 for grey in objects()]
    assert judged(tmp_path, maps, 0.95) == ["saliency maps: 12 of 12 say background everywhere"]


@pytest.mark.parametrize("make", [lambda g: g // 2 + 100, lambda g: g * 0 + 255, lambda g: g * 0 + 128])
def test_maps_that_leave_no_background_are_refused(tmp_path, make):
    assert "12 of 12 saliency maps say background nowhere" in misjudged(tmp_path, [make(g) for g in objects()]).found


def test_some_maps_that_say_nothing_are_counted(tmp_path):
    lines = judged(tmp_path, [*objects(), dark(), dark(), dark() + np.uint8(255)])
    assert [line.removeprefix("saliency maps: ") for line in lines] == [
        "2 of 15 are below 64 of 255 throughout: much of them may be taken for background",
        "2 of 15 say background everywhere",
        "1 of 15 say background nowhere",
    ]


def test_of_a_few_maps_nothing_is_concluded_but_something_said(tmp_path):
    (line,) = judged(tmp_path, [255 - grey for grey in objects(4)])
    assert "other way round" in line


# ---------------------------------------------------------------- the digest of a folder


def test_the_digest_is_of_the_maps_by_name_and_content_and_of_nothing_else(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, order in ((first, names(3)), (second, names(3)[::-1])):
        folder.mkdir()
        for image_id in order:
            (folder / f"{image_id}.png").write_bytes(image_id.encode())
    (second / "readme.txt").write_text("not a map")
    (second / "more.png").mkdir()
    whole = saliency_digest(first)
    assert saliency_digest(second) == whole
    (second / "2008_000001.png").write_bytes(b"another")
    assert saliency_digest(second) != whole
    (first / "2008_000001.png").rename(first / "2008_000009.png")
    assert saliency_digest(first) not in (whole, saliency_digest(second))
