"""Background cues from saliency maps that were made elsewhere, DSRG's rule: what is hardly salient is background.

DSRG took DRFI's maps (speedinghzl/DSRG, issue 24). The maps are grey pictures.

in: `<folder>/<id>.png` or `.jpg` -> out: (41, 41) bool, where an image is background
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest, tree_root
from swdb.proxy.grid import GRID, centres

SUFFIXES = (".png", ".jpg")
MAX_SIDE = 8192  # pixels; asked before a map is decoded
EXPECTED = "expected an 8-bit grey picture, black where nothing is salient"
MEND = "put the right map there and run the same command again"


def check_saliency(folder: Path, ids: list[str], sizes: Sequence[tuple[int, int]] = ()) -> None:
    """Make sure that every image has a map of its shape, before anything is trained: (height, width) of each in `sizes`.

    Raises MissingArtefact that counts and names, BadInput for a map of another aspect or one that is no picture.
    """
    if not folder.is_dir():
        raise MissingArtefact(f"{folder} is not there, expected a folder with the saliency map of every image; {MEND}")
    present = {path.name for path in folder.iterdir() if _is_map(path)}
    missing = [image_id for image_id in ids if not any(image_id + suffix in present for suffix in SUFFIXES)]
    if missing:
        first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise MissingArtefact(
            f"{folder} lacks {len(missing)} of {len(ids)} saliency maps ({first}), expected <id>.png or <id>.jpg for every image; put them there and run the same command again"
        )

    for image_id, size in zip(ids, sizes, strict=False):
        path = _map_of(folder, image_id)
        try:
            with Image.open(path) as picture:
                _check_shape(path, (picture.height, picture.width), size)
        except OSError as error:
            raise _unreadable(path, error) from None


def _is_map(path: Path) -> bool:
    return path.suffix in SUFFIXES and path.is_file()


def _map_of(folder: Path, image_id: str) -> Path:
    """Return an image's map; raises MissingArtefact where there is none."""
    path = next((path for suffix in SUFFIXES if (path := folder / f"{image_id}{suffix}").is_file()), None)
    if path is None:
        raise MissingArtefact(f"{folder / image_id}.png (or .jpg) is missing, {EXPECTED}; {MEND}")
    return path


def _unreadable(path: Path, error: Exception) -> BadInput:
    reason = " ".join(str(error).split())
    return BadInput(f"{path} cannot be read as a saliency map ({reason}), {EXPECTED}; {MEND}")


def saliency_digest(folder: Path) -> str:
    """Return one sha256 over all maps of a folder, by name and content."""
    return tree_root({Path(path.name): file_digest(path) for path in folder.iterdir() if _is_map(path)})


def background_cells(folder: Path, image_id: str, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Return where the image of `size` (height, width) is background: (41, 41) bool, saliency below the threshold (0..1).

    Cell (i, j) looks at the one pixel of the map at fractions i/40 and j/40, corner on corner, and at no neighbours.
    The map may be larger or smaller than the image, but of its aspect within a pixel. Raises MissingArtefact where
    there is none, BadInput for one that cannot be read, is not grey, or is of another shape: a foreign one.
    """
    grey = _read_grey(_map_of(folder, image_id), size)
    return grey[centres(grey.shape)] < threshold * 255


def _read_grey(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read a map as (h, w) uint8, once its size has been looked at; grey values may be stored as RGB or in a palette."""
    try:
        with Image.open(path) as picture:
            _check_shape(path, (picture.height, picture.width), size)
            mode = picture.mode
            colours = np.asarray(picture.convert("RGB")) if mode in ("L", "P", "RGB") else None
    except (BadInput, MemoryError):
        raise
    except Exception as error:  # Pillow has a kind for every way to be broken
        raise _unreadable(path, error) from None
    if colours is None:
        raise BadInput(f"{path} is a picture of mode {mode}, {EXPECTED}; {MEND}")
    if (colours != colours[..., :1]).any():
        raise BadInput(f"{path} is foreign: a coloured picture, {EXPECTED}; {MEND}")
    return colours[..., 0]


def _check_shape(path: Path, found: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuse a map of another aspect than its image's: scaled to the smaller of the two, a side is a pixel off."""
    (height, width), (image_height, image_width) = found, size
    off = abs(height * image_width - width * image_height)
    fine_enough = min(found) >= min(GRID, *size)
    if off > max(*found, *size) or max(found) > MAX_SIDE or not fine_enough:
        raise BadInput(
            f"{path} is foreign: {width}x{height}, expected {image_width}x{image_height} as its image, or that aspect; {MEND}"
        )
