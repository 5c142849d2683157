"""Reading, checking, resizing and writing one image or one mask."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import voc_tree
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.data.images import (
    check_sizes,
    decode_mask,
    has_other_palette,
    image_size,
    masks_digest,
    palette_png,
    read_image,
    read_mask,
    resize_longest_side,
    size_text,
)
from swdb.data.voc import VOC2012


def refused(call, *arguments, kind: type[SwdbError] = BadInput) -> SwdbError:
    """Return the error that a call ends with."""
    with pytest.raises(kind) as caught:
        call(*arguments)
    return caught.value


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).choice([0, 1, 5, 20, 255], (12, 10)).astype(np.uint8)


def test_an_encoded_mask_is_read_back_and_shows_voc_s_colours(labels, tmp_path):
    (tmp_path / "m.png").write_bytes(palette_png(labels))
    assert np.array_equal(read_mask(tmp_path / "m.png", 21), labels)
    with Image.open(tmp_path / "m.png") as mask:
        shown = np.asarray(mask.convert("RGB"))
    assert (shown[labels == 20] == (0, 64, 128)).all() and (shown[labels == 255] == (224, 224, 192)).all()


def test_a_mask_is_encoded_in_the_palette_of_its_data_set(labels, tmp_path):
    palette = np.arange(256 * 3, dtype=np.uint32).reshape(256, 3).astype(np.uint8)[::-1].copy()
    (tmp_path / "m.png").write_bytes(palette_png(labels, palette))
    assert np.array_equal(read_mask(tmp_path / "m.png", 21), labels)
    with Image.open(tmp_path / "m.png") as mask:
        assert np.array_equal(np.asarray(mask.convert("RGB")), palette[labels])


def test_a_mask_is_read_whatever_its_palette(labels, tmp_path):
    voc_tree.save_mask(tmp_path / "m.png", labels)
    assert np.array_equal(read_mask(tmp_path / "m.png", 21), labels)


def test_a_grey_mask_of_class_ids_is_read(labels, tmp_path):
    Image.fromarray(labels).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png", 21), labels)


def test_a_mask_of_few_classes_packed_in_four_bits_is_read(tmp_path):
    labels = np.random.default_rng(0).integers(0, 6, (7, 9)).astype(np.uint8)
    mask = Image.fromarray(labels)
    mask.putpalette([0, 0, 0, 255, 255, 255] * 8)
    mask.save(tmp_path / "m.png", bits=4)
    assert np.array_equal(read_mask(tmp_path / "m.png", 6), labels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1", "I;16"])
def test_a_mask_in_colours_or_other_depths_is_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "m.png")
    error = refused(read_mask, tmp_path / "m.png", 21)
    assert (
        error.subject == tmp_path / "m.png"
        and error.found == f"an image of mode {mode}"
        and "palette PNG" in error.expected
    )


def test_a_grey_mask_of_few_bits_is_refused_with_its_depth(tmp_path):
    # Pillow spreads few bits over 8, so that the labels would be read as others.
    rows = b"".join(bytes([0, 0x12, 0x34]) for _ in range(2))  # labels 1 2 3 4, four bits each

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 4, 0, 0, 0, 0))
    path = tmp_path / "m.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert np.asarray(Image.open(path)).max() > 4
    assert "4-bit" in refused(read_mask, path, 255).found


def test_a_mask_that_is_not_a_png_is_refused_with_its_format(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "m.png", format="JPEG")
    assert "JPEG" in refused(read_mask, tmp_path / "m.png", 21).found


@pytest.mark.parametrize(("value", "num_classes"), [(6, 6), (7, 6), (21, 21), (254, 21)])
def test_a_mask_value_out_of_range_is_named_with_the_range(tmp_path, value, num_classes):
    voc_tree.save_mask(tmp_path / "m.png", np.array([[0, value], [255, 1]]))
    error = refused(read_mask, tmp_path / "m.png", num_classes)
    assert error.subject == tmp_path / "m.png" and str(value) in error.found.split()
    assert error.expected == f"0 to {num_classes - 1} and 255"


def test_a_mask_from_somewhere_else_is_called_as_its_reader_says():
    error = refused(decode_mask, palette_png(np.full((2, 2), 9, np.uint8)), "an archive: a member", 9)
    assert error.subject == "an archive: a member" and error.expected == "0 to 8 and 255"


def test_a_missing_mask_or_image_is_named(tmp_path):
    for call, name, what in (
        (lambda path: read_mask(path, 21), "m.png", "a mask"),
        (read_image, "i.jpg", "an image"),
        (image_size, "i.jpg", "an image"),
    ):
        error = refused(call, tmp_path / name, kind=MissingArtefact)
        assert (error.subject, error.found, error.expected) == (tmp_path / name, "missing", what)


def test_a_pipe_in_place_of_a_mask_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "mask.png")
    with pytest.raises(BadInput, match="is a pipe or a device"):
        read_mask(tmp_path / "mask.png", 21)


def test_a_folder_in_place_of_an_image_is_named(tmp_path):
    error = refused(read_image, tmp_path)
    assert error.subject == tmp_path and "cannot be read" in error.found and error.expected == "an image"


def cuts(encoded: bytes) -> list[int]:
    """Lengths to cut a file to: every ninth, and all that spare the pixels but not the end."""
    return sorted({*range(0, len(encoded), 9), *range(len(encoded) - 40, len(encoded))})


def test_wherever_a_mask_is_cut_it_is_refused_or_still_whole(labels, tmp_path):
    encoded = palette_png(labels)
    path = tmp_path / "m.png"
    refused = 0
    for length in cuts(encoded):
        path.write_bytes(encoded[:length])
        try:
            found = read_mask(path, 21)
        except BadInput as error:
            refused += 1
            assert error.subject == path and "\n" not in str(error)
        else:
            assert np.array_equal(found, labels), length
    assert refused > 100  # all but the last few bytes, which hold no pixels


def test_wherever_an_image_is_cut_it_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((10, 12), 50).convert("RGB").save(buffer, "JPEG")
    encoded = buffer.getvalue()
    path = tmp_path / "i.jpg"
    assert len(cuts(encoded)) > 100
    for length in cuts(encoded):
        path.write_bytes(encoded[:length])
        error = refused(read_image, path)
        assert (error.subject, error.expected) == (path, "an image") and "cannot be read" in error.found


def test_a_mask_with_one_flipped_byte_of_pixels_is_refused(labels, tmp_path):
    encoded = bytearray(palette_png(labels))
    encoded[encoded.index(b"IDAT") + 12] ^= 0xFF
    (tmp_path / "m.png").write_bytes(encoded)
    error = refused(read_mask, tmp_path / "m.png", 21)
    assert error.expected == "a mask" and "cannot be read" in error.found


def test_a_grey_image_is_read_as_three_channels(tmp_path):
    Image.new("L", (5, 4), 100).save(tmp_path / "i.jpg")
    image = read_image(tmp_path / "i.jpg")
    assert image.shape == (4, 5, 3) and image.dtype == np.uint8 and (image == 100).all()


def test_channels_are_read_in_the_order_red_green_blue(tmp_path):
    Image.new("RGB", (16, 16), (250, 120, 10)).save(tmp_path / "i.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "i.jpg").astype(int) - (250, 120, 10)).max() <= 4


def test_the_digest_of_masks_changes_with_a_pixel_a_name_and_a_missing_mask(labels, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(palette_png(labels))
    digests = [masks_digest(tmp_path)]
    assert masks_digest(tmp_path) == digests[0]
    (tmp_path / "masks.npy").write_bytes(b"the decoded copy is not a mask")
    assert masks_digest(tmp_path) == digests[0]
    (tmp_path / "b.png").write_bytes(palette_png(np.where(labels == 20, 5, labels).astype(np.uint8)))
    digests.append(masks_digest(tmp_path))
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    digests.append(masks_digest(tmp_path))
    (tmp_path / "c.png").unlink()
    digests.append(masks_digest(tmp_path))
    assert len(set(digests)) == 4


# ---------------------------------------------------------------- resizing


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_an_image_is_shrunk_by_area():
    image = noise(24, 36, 3)
    shown = resize_longest_side(image, 12)
    means = image.reshape(8, 3, 12, 3, 3).mean((1, 3))
    assert shown.shape == (8, 12, 3) and shown.dtype == np.uint8
    assert np.abs(shown - means).max() <= 0.5


def test_a_mask_is_shrunk_to_its_nearest_pixels():
    mask = np.random.default_rng(0).choice([0, 1, 20, 255], (27, 36)).astype(np.uint8)
    assert np.array_equal(resize_longest_side(mask, 12), mask[1::3, 1::3])  # the middle of every three


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (333, 500), (101, 77), (51, 50), (500, 3)])
def test_nearest_pixels_are_those_under_the_centres_of_the_smaller_ones(size):
    height, width = size
    mask = noise(height, width)
    small = resize_longest_side(mask, 50)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(small.shape, mask.shape, strict=True)
    )
    assert max(small.shape) == 50
    assert (small == mask[rows[:, None], columns]).mean() > 0.95  # a centre between two pixels may go either way


def test_no_label_is_made_up():
    mask = np.random.default_rng(0).choice([3, 255], (97, 131)).astype(np.uint8)
    assert set(np.unique(resize_longest_side(mask, 40)).tolist()) == {3, 255}


@pytest.mark.parametrize(
    ("size", "small"),
    [((500, 375), (250, 188)), ((375, 500), (188, 250)), ((333, 500), (166, 250)), ((251, 251), (250, 250))],
)
def test_the_longer_side_is_as_asked_for_and_the_aspect_is_kept(size, small):
    image, mask = resize_longest_side(noise(*size, 3), 250), resize_longest_side(noise(*size), 250)
    assert image.shape[:2] == mask.shape == small  # the same, so that labels lie on what they name
    assert abs(small[0] / small[1] - size[0] / size[1]) < 0.005


@pytest.mark.parametrize(("size", "small"), [((1, 400), (1, 40)), ((400, 1), (40, 1)), ((3, 400), (1, 40))])
def test_a_side_is_never_less_than_a_pixel(size, small):
    assert resize_longest_side(noise(*size, 3), 40).shape[:2] == resize_longest_side(noise(*size), 40).shape == small


@pytest.mark.parametrize("longest", [0, 30, 31, 500])
def test_with_0_and_where_they_are_smaller_images_and_masks_stay_as_they_are(longest):
    for image in (noise(20, 30, 3), noise(30, 20)):
        assert resize_longest_side(image, longest) is image


# ---------------------------------------------------------------- sizes


IMAGE, MASK = Path("JPEGImages/a.jpg"), Path("masks/a.png")


def sizes_of(image: tuple[int, int], mask: tuple[int, int]) -> None:
    """Check an image and a mask of these heights and widths against 24 pixels a side."""
    check_sizes(24, IMAGE, noise(*image, 3), MASK, noise(*mask))


@pytest.mark.parametrize("size", [(24, 24), (1, 24), (24, 1), (7, 9)])
def test_a_mask_as_large_as_its_image_is_accepted(size):
    sizes_of(size, size)


@pytest.mark.parametrize("mask", [(16, 20), (20, 15), (21, 16)])
def test_a_mask_of_another_size_than_its_image_is_named_with_both_sizes(mask):
    error = refused(sizes_of, (20, 16), mask)
    assert error.subject == MASK and f"{mask[1]}x{mask[0]}" in error.found
    assert "16x20" in error.expected and IMAGE.name in error.expected


@pytest.mark.parametrize("size", [(25, 24), (10, 25)])
def test_an_image_with_too_long_a_side_is_named_with_its_size(size):
    error = refused(sizes_of, size, size)
    assert error.subject == IMAGE and f"{size[1]}x{size[0]}" in error.found and "24" in error.expected.split()


def test_sizes_are_said_as_width_and_height():
    assert size_text(noise(3, 5)) == size_text(noise(3, 5, 3)) == "5x3"


def test_the_size_of_an_image_is_read_without_decoding_it(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(5, 9, 3)).save(path)
    encoded = path.read_bytes()
    path.write_bytes(encoded[: encoded.index(b"IDAT") + 20])  # hardly any pixels
    refused(read_image, path)
    assert image_size(path) == (5, 9)


def test_an_image_whose_size_cannot_be_read_is_refused_as_reading_it_would_be(tmp_path):
    (tmp_path / "c.png").write_bytes(b"not an image")
    error = refused(image_size, tmp_path / "c.png")
    assert (error.subject, error.expected) == (tmp_path / "c.png", "an image") and "cannot be read" in error.found


# ---------------------------------------------------------------- palettes that others wrote


def with_palette(labels: np.ndarray, colours: np.ndarray, **encoding: int) -> bytes:
    """A mask's file in which the value k has the k-th colour."""
    mask, buffer = Image.fromarray(labels.astype(np.uint8)), io.BytesIO()
    mask.putpalette(np.asarray(colours, np.uint8).tobytes())
    mask.save(buffer, "PNG", **encoding)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return decode_mask(data, "m.png", 21, VOC2012.palette)


OWN = VOC2012.palette
SHOWN = np.array([[0, 8, 8, 15], [255, 8, 20, 0]], np.uint8)


def renumbered(labels: np.ndarray, order: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and palette as a program writes them that makes PNGs smaller: `order` lists the labels by new number."""
    table = np.zeros(256, np.uint8)
    table[order] = np.arange(len(order))
    return table[labels], OWN[order]


@pytest.mark.parametrize("seed", range(6))
def test_a_palette_that_numbers_voc_s_colours_otherwise_is_read_by_them(seed):
    order = np.random.default_rng(seed).permutation([0, 8, 15, 20, 255]).tolist()
    data = with_palette(*renumbered(SHOWN, order))
    assert np.array_equal(decoded(data), SHOWN)
    assert has_other_palette(data, OWN, 21)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_mask_of_few_bits_with_a_palette_of_its_own_is_read_by_its_colours(bits):
    data = with_palette(*renumbered(SHOWN, [0, 8, 15, 20, 255]), bits=bits)
    assert np.array_equal(decoded(data), SHOWN)


PALETTES = {
    "all of VOC's": OWN,
    "its classes, the rest black": np.concatenate([OWN[:21], np.zeros((235, 3), np.uint8)]),
    "its classes, void white": np.concatenate([OWN[:21], np.full((235, 3), 255, np.uint8)]),
    "its classes alone": OWN[:21],
    "those that it shows": np.where(np.isin(np.arange(256), SHOWN)[:, None], OWN, 99),
    "greys": np.repeat(np.arange(256)[:, None], 3, 1),
    "black": np.zeros((256, 3)),
    "black and white": np.tile([[0, 0, 0], [255, 255, 255]], (128, 1)),
}


@pytest.mark.parametrize("name", PALETTES)
def test_where_a_palette_does_not_say_other_classes_the_numbers_count(name):
    assert np.array_equal(decoded(with_palette(SHOWN, PALETTES[name])), SHOWN)


@pytest.mark.parametrize("name", ["all of VOC's", "its classes, the rest black", "its classes alone"])
def test_a_palette_of_voc_s_is_told_by_the_header_alone(name):
    assert not has_other_palette(with_palette(SHOWN, PALETTES[name]), OWN, 21)


def test_what_has_no_palette_or_is_no_image_has_no_other_one():
    grey = io.BytesIO()
    Image.fromarray(SHOWN).save(grey, "PNG")
    assert not any(has_other_palette(data, OWN, 21) for data in (grey.getvalue(), b"", b"\x89PNG", b"x" * 99))


def test_a_palette_of_unknown_colours_is_refused_with_value_and_colour():
    colours = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)], 1)
    error = refused(decode_mask, with_palette(SHOWN, colours), "m.png", 21, VOC2012.palette)
    assert error.subject == "m.png" and "the value 0 has the colour (0, 255, 7)" in error.found
    assert "colours of the classes" in error.expected and "grey PNG" in error.expected


def test_a_palette_in_which_void_cannot_be_told_is_refused():
    labels, colours = renumbered(np.where(SHOWN == 255, 0, SHOWN), [8, 0, 15, 20])
    labels[0, 0] = 255  # black, as the rest of the palette is, and as background
    data = with_palette(labels, np.concatenate([colours, np.zeros((252, 3))]))
    assert "255" in refused(decode_mask, data, "m.png", 21, VOC2012.palette).found


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_an_image_of_more_than_8_bits_is_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "i.jpg", format="PNG" if mode == "I;16" else "TIFF")
    error = refused(read_image, tmp_path / "i.jpg")
    assert error.subject == tmp_path / "i.jpg" and "more than 8 bits" in error.found and "8 bits" in error.expected
