"""Background cues from saliency maps that were made elsewhere, DSRG's rule: what is hardly salient is background.

DSRG took DRFI's maps (speedinghzl/DSRG, issue 24). The maps are grey images.

in: `<folder>/<id>.png` or `.jpg` -> out: (41, 41) bool, where an image is background
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest, tree_root
from swdb.proxy.grid import GRID, grid_points

SUFFIXES = (".png", ".jpg")
MAX_SIDE = 8192  # pixels; asked before a map is decoded
GREY = "an 8-bit grey image, black where nothing is salient"


def check_saliency(folder: Path, ids: list[str], sizes: Sequence[tuple[int, int]] = ()) -> None:
    """Make sure that every image has a map of its shape, before anything is trained: (height, width) of each in `sizes`.

    Raises MissingArtefact that counts and names, BadInput for a map of another aspect or one that is not an image.
    """
    where = f"--saliency {folder}"
    if not folder.is_dir():
        raise MissingArtefact(where, "no such folder", "one with the saliency map of every image")
    present = {path.name for path in folder.iterdir() if _is_map(path)}
    missing = [image_id for image_id in ids if not any(image_id + suffix in present for suffix in SUFFIXES)]
    if missing:
        first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        found = f"lacks {len(missing)} of {len(ids)} saliency maps ({first})"
        raise MissingArtefact(where, found, "<id>.png or <id>.jpg for every image")

    for image_id, size in zip(ids, sizes, strict=False):
        path = _map_of(folder, image_id)
        try:
            with Image.open(path) as image:
                shape = image.height, image.width
        except Exception as error:  # Pillow raises many kinds for what is no image
            raise _unreadable(path, error) from None
        _check_shape(path, shape, size)


def _is_map(path: Path) -> bool:
    return path.suffix in SUFFIXES and path.is_file()


def _map_of(folder: Path, image_id: str) -> Path:
    """Return an image's map; raises MissingArtefact where there is none."""
    path = next((path for suffix in SUFFIXES if (path := folder / f"{image_id}{suffix}").is_file()), None)
    if path is None:
        raise MissingArtefact(folder / f"{image_id}.png", "missing (.jpg, too)", GREY)
    return path


def _unreadable(path: Path, error: Exception) -> BadInput:
    return BadInput(path, f"cannot be read ({' '.join(str(error).split())})", GREY)


def saliency_digest(folder: Path) -> str:
    """Return one sha256 over all maps of a folder, by name and content."""
    return tree_root({Path(path.name): file_digest(path) for path in folder.iterdir() if _is_map(path)})


def background_by_saliency(folder: Path, image_id: str, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Return where the image of `size` (height, width) is background: (41, 41) bool, saliency below the threshold (0..1).

    Point (i, j) looks at the one pixel of the map at fractions i/40 and j/40, corner on corner, and at no neighbours.
    The map may be larger or smaller than the image, but of its aspect within a pixel. Raises MissingArtefact where
    there is none, BadInput for one that cannot be read, is not grey, or is of another shape: a foreign one.
    """
    grey = _read_grey(_map_of(folder, image_id), size)
    return grey[grid_points(grey.shape)] < threshold * 255


def _read_grey(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read a map as (h, w) uint8, once its size has been looked at; grey values may be stored as RGB or in a palette."""
    try:
        with Image.open(path) as image:
            _check_shape(path, (image.height, image.width), size)
            mode = image.mode
            colours = np.asarray(image.convert("RGB")) if mode in ("L", "P", "RGB") else None
    except (BadInput, MemoryError):
        raise
    except Exception as error:  # Pillow has a kind for every way to be broken
        raise _unreadable(path, error) from None
    if colours is None:
        raise BadInput(path, f"an image of mode {mode}", GREY)
    if (colours != colours[..., :1]).any():
        raise BadInput(path, "a coloured image", GREY)
    return colours[..., 0]


def _check_shape(path: Path, found: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuse a map of another aspect than its image's: scaled to the smaller of the two, a side is a pixel off."""
    (height, width), (image_height, image_width) = found, size
    off = abs(height * image_width - width * image_height)
    fine_enough = min(found) >= min(GRID, *size)
    if off > max(*found, *size) or max(found) > MAX_SIDE or not fine_enough:
        raise BadInput(path, f"is {width}x{height}", f"{image_width}x{image_height} as its image, or that aspect")
