"""One picture, one mask: reading, checking and writing them. Masks are palette PNGs of class ids.

in: a path, or labels -> out: (H, W, 3) uint8 RGB, (H, W) uint8 of 0..C-1 and 255, or one error that names the file
"""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import digest, file_digest, write_atomic
from swdb.data import voc

MEND = "swdb prepare-voc --again"
PALETTE = voc.palette().tobytes()


def palette_png(labels: np.ndarray, **encoding: int) -> bytes:
    """Encode labels (H, W) uint8 as a PNG with VOC's palette, as the official masks are; `encoding` is Pillow's."""
    picture = Image.fromarray(labels)
    picture.putpalette(PALETTE)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", **encoding)
    return buffer.getvalue()


def write_mask(path: Path, labels: np.ndarray) -> None:
    """Write a mask (H, W) uint8 as a palette PNG, atomically."""
    encoded = palette_png(labels)
    write_atomic(path, lambda stream: stream.write(encoded))


def read_image(path: Path, mend: str = MEND) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 RGB; raises MissingArtefact or BadInput that names the file."""
    return np.asarray(_decode(_bytes(path, "an image", mend), str(path), "an image", mend).convert("RGB"))


def image_size(path: Path, mend: str = MEND) -> tuple[int, int]:
    """Return the height and width of a picture without decoding it; raises as `read_image` does."""
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except Exception:  # say what is wrong as reading it would
        return read_image(path, mend).shape[:2]


def read_mask(path: Path, num_classes: int, mend: str = MEND) -> np.ndarray:
    """Read a mask as (H, W) uint8 of 0..num_classes-1 and 255; raises MissingArtefact, or BadInput as `decode_mask` does."""
    return decode_mask(_bytes(path, "a mask", mend), str(path), num_classes, mend)


def decode_mask(data: bytes, where: str, num_classes: int, mend: str) -> np.ndarray:
    """Decode a mask's file as (H, W) uint8; raises BadInput that names `where` for damage, colours or other values."""
    picture = _decode(data, where, "a mask", mend)
    mode = picture.mode if picture.format == "PNG" else picture.format
    if mode == "L" and data[24] != 8:  # Pillow spreads 4 bits over 8: class 1 became 17
        mode = f"grey {data[24]}-bit"
    if mode not in ("P", "L"):
        raise BadInput(
            f"{where} is a {mode} picture, expected a palette PNG of class ids (mode P); a colour copy of a mask cannot be used; mend it with: {mend}"
        )
    labels = np.asarray(picture)
    wrong = np.unique(labels[(labels >= num_classes) & (labels != voc.IGNORE)])
    if wrong.size:
        raise BadInput(
            f"{where} has the value {wrong[0]}, expected 0 to {num_classes - 1} and {voc.IGNORE}; mend it with: {mend}"
        )
    return labels


def shrink(picture: np.ndarray, longest: int) -> np.ndarray:
    """Shrink a picture (H, W, 3) or a mask (H, W) so that its longer side is `longest` pixels; 0 and smaller ones: as they are.

    Pictures by area, masks by their nearest pixel.
    """
    height, width = picture.shape[:2]
    if not longest or max(height, width) <= longest:
        return picture
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if picture.ndim == 3 else cv2.INTER_NEAREST_EXACT)


def check_sizes(largest: int, picture: Path, image: np.ndarray, mask_path: Path, mask: np.ndarray, mend: str) -> None:
    """Refuse a mask of another size than its image, and an image with a side of more than `largest` pixels."""
    (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape
    if (height, width) != (mask_height, mask_width):
        raise BadInput(
            f"{mask_path} is {mask_width}x{mask_height}, its image {picture.name} is {width}x{height}; mend it with: {mend}"
        )
    if max(height, width) > largest:
        raise BadInput(f"{picture} is {width}x{height}, expected at most {largest} pixels a side; mend it with: {mend}")


def _bytes(path: Path, what: str, mend: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingArtefact(f"{path} is missing, expected {what}; mend it with: {mend}") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read as {what} ({error}); mend it with: {mend}") from None


def _decode(data: bytes, where: str, what: str, mend: str) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except Exception as error:  # Pillow has a kind for every way to be broken
        reason = "no picture" if "BytesIO" in str(error) else " ".join(str(error).split())
        raise BadInput(f"{where} cannot be read as {what} ({reason}); mend it with: {mend}") from None
    return picture


def masks_digest(folder: Path) -> str:
    """Return one sha256 over all PNGs of a folder."""
    return digest([[path.name, file_digest(path)] for path in sorted(folder.glob("*.png"))])
