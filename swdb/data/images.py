"""One image, one mask: reading, checking, resizing and encoding them. Masks are palette PNGs of class ids.

in: a path, or labels -> out: (H, W, 3) uint8 RGB, (H, W) uint8 of 0..C-1 and 255, or one error that names the file
"""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact, reason
from swdb.core.files import digest, file_digest, is_pipe
from swdb.data.voc import IGNORE, VOC2012


def palette_png(labels: np.ndarray, palette: np.ndarray = VOC2012.palette, **encoding: int) -> bytes:
    """Encode labels (H, W) uint8 as a PNG with a palette (256, 3), as the official masks are; `encoding` is Pillow's."""
    mask = Image.fromarray(labels)
    mask.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    mask.save(buffer, format="PNG", **encoding)
    return buffer.getvalue()


def read_image(path: Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB; raises MissingArtefact or BadInput that names the file."""
    image = _decode(_bytes(path, "an image"), path, "an image")
    if image.mode[0] in "IF":  # Pillow would cut their values off at 255: a white picture
        raise BadInput(path, f"an image of mode {image.mode}, more than 8 bits a value", "one of 8 bits")
    return np.asarray(image.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """Return the height and width of an image without decoding it; raises as `read_image` does."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except Exception:  # say what is wrong as reading it would
        height, width = read_image(path).shape[:2]
        return height, width


def read_mask(path: Path, num_classes: int) -> np.ndarray:
    """Read a mask as (H, W) uint8 of 0..num_classes-1 and 255; raises MissingArtefact, or BadInput as `decode_mask` does."""
    return decode_mask(_bytes(path, "a mask"), path, num_classes)


def decode_mask(data: bytes, where: Path | str, num_classes: int, palette: np.ndarray | None = None) -> np.ndarray:
    """Decode a mask's file as (H, W) uint8; raises BadInput that names `where` for damage, colours or other values.

    `palette` (256, 3) uint8 are the colours of the classes where others made the file: one that numbers these colours
    otherwise is read by its colours, and one of other colours is refused. Without it the numbers count.
    """
    image = _decode(data, where, "a mask")
    mode = image.mode if image.format == "PNG" else image.format
    if mode == "L" and data[24] != 8:  # Pillow spreads 4 bits over 8: class 1 became 17
        mode = f"grey {data[24]}-bit"
    if mode not in ("P", "L"):
        raise BadInput(
            where, f"an image of mode {mode}", "a palette PNG of class ids (mode P), not a colour copy of a mask"
        )
    labels = np.asarray(image)
    if mode == "P" and palette is not None:
        labels = _by_colours(labels, _colours_of(image), palette, num_classes, where)
    wrong = np.unique(labels[(labels >= num_classes) & (labels != IGNORE)])
    if wrong.size:
        raise BadInput(where, f"has the value {wrong[0]}", f"0 to {num_classes - 1} and {IGNORE}")
    return labels


def _by_colours(
    labels: np.ndarray, colours: np.ndarray, palette: np.ndarray, num_classes: int, where: Path | str
) -> np.ndarray:
    """Return labels (H, W) uint8 as `palette` numbers them, by the file's own `colours`, which may number them otherwise.

    Programs that make PNGs smaller renumber palettes: such a mask looks the same and says other classes. A palette of
    greys, or one in which values share a colour, cannot be meant to show classes: there the numbers count.
    """
    if _agree(colours, palette, num_classes):
        return labels
    used = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    numbered = used[(used < len(colours)) & (used != IGNORE)]
    if any((colours[numbered] == own).all() for own in (palette[numbered], numbered[:, None])):
        return labels
    if len(np.unique(colours[numbered], axis=0)) < len(numbered):
        return labels
    meant = {tuple(palette[label].tolist()): label for label in (*range(num_classes), IGNORE)}
    table = np.zeros(256, np.uint8)
    for value in used.tolist():
        colour = tuple(colours[value].tolist()) if value < len(colours) else None
        if colour is None and value == IGNORE:  # void often has none
            table[value] = IGNORE
            continue
        if colour not in meant:
            found = (
                f"another palette, in which the value {value} has {f'the colour {colour}' if colour else 'no colour'}"
            )
            raise BadInput(where, found, "the colours of the classes, or a grey PNG of class ids")
        table[value] = meant[colour]
    if len(np.unique(table[used])) < len(used):
        raise BadInput(where, f"another palette, in which {IGNORE} has the colour of a class too", "void's own colour")
    return table[labels]


def _colours_of(image: Image.Image) -> np.ndarray:
    """Return the colours of an image of mode P, (at most 256, 3) uint8 RGB."""
    return np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)


def _agree(colours: np.ndarray, palette: np.ndarray, num_classes: int) -> bool:
    """Whether the first colours of a file, as many as it has, are the classes in their order."""
    first = colours[:num_classes]
    return bool((first == palette[: len(first)]).all())


def has_other_palette(data: bytes, palette: np.ndarray, num_classes: int) -> bool:
    """Whether a mask's file has another palette, told by its header alone; what cannot be read is not said to have one."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.mode == "P" and image.format == "PNG" and not _agree(_colours_of(image), palette, num_classes)
    except Exception:  # Pillow has a kind for every way to be broken; whoever decodes it says so
        return False


def resize_longest_side(image: np.ndarray, longest: int) -> np.ndarray:
    """Shrink an image (H, W, 3) or a mask (H, W) so that its longer side is `longest` pixels; 0 and smaller ones: as they are.

    Images by area, masks by their nearest pixel.
    """
    height, width = image.shape[:2]
    if not longest or max(height, width) <= longest:
        return image
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if image.ndim == 3 else cv2.INTER_NEAREST_EXACT)


def check_sizes(largest: int, image_path: Path, image: np.ndarray, mask_path: Path, mask: np.ndarray) -> None:
    """Refuse a mask of another size than its image, and an image with a side of more than `largest` pixels."""
    if image.shape[:2] != mask.shape:
        raise BadInput(mask_path, f"is {size_text(mask)}", f"{size_text(image)}, as its image {image_path.name}")
    if max(mask.shape) > largest:
        raise BadInput(image_path, f"is {size_text(image)}", f"at most {largest} pixels a side")


def size_text(array: np.ndarray) -> str:
    """Return the size of an image or a mask as people say it: width x height."""
    height, width = array.shape[:2]
    return f"{width}x{height}"


def _bytes(path: Path, what: str) -> bytes:
    try:
        if is_pipe(path):
            raise BadInput(path, "is a pipe or a device", what)
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingArtefact(path, "missing", what) from None
    except OSError as error:
        raise BadInput(path, f"cannot be read ({reason(error)})", what) from None


def _decode(data: bytes, where: Path | str, what: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:  # Pillow has a kind for every way to be broken
        words = "not an image" if "BytesIO" in str(error) else reason(error)
        raise BadInput(where, f"cannot be read ({words})", what) from None
    return image


def masks_digest(folder: Path) -> str:
    """Return one sha256 over all PNGs of a folder."""
    return digest([[path.name, file_digest(path)] for path in sorted(folder.glob("*.png"))])
