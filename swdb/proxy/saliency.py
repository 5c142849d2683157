"""Background cues from saliency maps that were made elsewhere, DSRG's rule: what is hardly salient is background.

DSRG took DRFI's maps (speedinghzl/DSRG, issue 24). The maps are grey images.

Whatever a header tells is asked of all maps before anything is trained, and then the values: whether they are of
0..255, and whether background lies where it mostly does, along the borders.

in: `<folder>/<id>.png` or `.jpg` -> out: (41, 41) bool, where an image is background
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact, reason
from swdb.core.files import file_digest, tree_root
from swdb.core.parallel import in_order
from swdb.core.progress import Advance
from swdb.proxy.grid import GRID, grid_points

SUFFIXES = (".png", ".jpg")
MAX_SIDE = 8192  # pixels; asked before a map is decoded
GREY = "a grey image, black where nothing is salient"
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # 16 bits; Pillow has several names
MODES = ("1", "L", "P", "RGB", "LA", "RGBA", *DEEP)
BORDER, CENTRE = 4, slice(10, 31)  # points of the grid
FEW = 5  # maps of which nothing is concluded
EVERY, MOST = 0.95, 0.6  # shares of the maps that stand for all and for most of them
OTHER_WAY = 0.05 * 255  # brighter along the border than in the centre; of true masks 3 in 100 are so at all
DIM = 64  # the highest value of a map that hardly says anything


def check_saliency(folder: Path, ids: list[str], sizes: Sequence[tuple[int, int]] = ()) -> None:
    """Make sure that every image has a map of its shape, before anything is trained: (height, width) of each in `sizes`.

    Raises MissingArtefact that counts and names, BadInput for a map of another aspect or one that is not an image.
    """
    where = f"--saliency {folder}"
    if not folder.is_dir():
        raise MissingArtefact(where, "no such folder", "one with the saliency map of every image")
    names = [path.name for path in folder.iterdir() if path.is_file()]
    present = {name for name in names if Path(name).suffix in SUFFIXES}
    missing = [image_id for image_id in ids if not any(image_id + suffix in present for suffix in SUFFIXES)]
    if missing:
        first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        found = f"lacks {len(missing)} of {len(ids)} saliency maps ({first}){_elsewhere(folder, names, missing)}"
        raise MissingArtefact(where, found, "<id>.png or <id>.jpg for every image")
    doubled = [image_id for image_id in ids if all(image_id + suffix in present for suffix in SUFFIXES)]
    if doubled:
        both = " and ".join(doubled[0] + suffix for suffix in SUFFIXES)
        raise BadInput(
            where, f"holds two saliency maps for {len(doubled)} of {len(ids)} images ({both})", "one of them"
        )
    faults = [fault for image_id, size in zip(ids, sizes, strict=False) if (fault := _fault(folder, image_id, size))]
    if faults:
        first = faults[0]
        more = f" (and {len(faults) - 1} more of {len(ids)} saliency maps cannot be used)" if len(faults) > 1 else ""
        raise BadInput(first.subject, first.found + more, first.expected)


def _elsewhere(folder: Path, names: list[str], missing: list[str]) -> str:
    """Say where maps that are missing lie instead: under another suffix, or in a folder below."""
    wanted = set(missing)
    suffixes = Counter(Path(name).suffix for name in names if Path(name).stem in wanted)
    if suffixes:
        return f"; {sum(suffixes.values())} of those are there as {', '.join(map(repr, suffixes))}"
    for below in sorted(path for path in folder.iterdir() if path.is_dir()):
        if any((below / f"{missing[0]}{suffix}").is_file() for suffix in SUFFIXES):
            return f"; {missing[0]} is in {below}"
    return ""


def _fault(folder: Path, image_id: str, size: tuple[int, int]) -> BadInput | None:
    """Return what is wrong with a map by its header; nothing is decoded."""
    path = _map_of(folder, image_id)
    try:
        with Image.open(path) as image:
            _check_header(path, image, size)
    except BadInput as error:
        return error
    except Exception as error:  # Pillow raises many kinds for what is no image
        return _unreadable(path, error)
    return None


def judge_saliency(
    folder: Path, ids: list[str], sizes: Sequence[tuple[int, int]], threshold: float, advance: Advance
) -> list[str]:
    """Decode all maps, and judge their values together; returns what people should know of them.

    Raises BadInput for a map that cannot be decoded, and for maps that are the other way round, not of 0..255, or that
    say the same of everything: what they call background would be learnt for hours.
    """
    where, count = f"--saliency {folder}", len(ids)
    brightest, border, centre, background = _values(folder, ids, sizes, threshold, advance)
    dark, bright, around = int((background == 1).sum()), int((background == 0).sum()), int((border > centre).sum())
    if brightest.max() <= 1:
        found = "no saliency map has a value above 1, so all of it is background"
        raise BadInput(where, found, "values of 0..255, not of 0 and 1, and bright where something is salient")
    inverted = border.mean() - centre.mean() > OTHER_WAY and around > MOST * count
    if inverted and count >= FEW:
        found = (
            f"{around} of {count} saliency maps are brighter along the border than in the centre "
            f"({border.mean():.0f} and {centre.mean():.0f} of 255 on average): they seem the other way round"
        )
        raise BadInput(where, found, "maps that are black in the background and bright on objects")
    wanted = f"values of 0..255, background below {threshold:g} of white and objects above it"
    if dark > EVERY * count and brightest.max() < DIM:
        found = (
            f"{dark} of {count} saliency maps say background everywhere, and none is above {brightest.max():.0f} of 255"
        )
        raise BadInput(where, found, wanted)
    if bright > EVERY * count and count >= FEW:
        found = f"{bright} of {count} saliency maps say background nowhere: no value of theirs is below {threshold * 255:.0f}"
        raise BadInput(where, found, wanted)
    told = {
        "are brighter along the border than in the centre: are they the other way round?": around if inverted else 0,
        f"are below {DIM} of 255 throughout: much of them may be taken for background": int((brightest < DIM).sum()),
        "say background everywhere": dark,
        "say background nowhere": bright,
    }
    return [f"saliency maps: {number} of {count} {what}" for what, number in told.items() if number]


def _values(
    folder: Path, ids: list[str], sizes: Sequence[tuple[int, int]], threshold: float, advance: Advance
) -> np.ndarray:
    """Return of every map, (4, N): its highest value, its means along the border and in the centre, the share of background."""

    def look(place: tuple[str, tuple[int, int]]) -> tuple[float, float, float, float]:
        grey = _read_grey(_map_of(folder, place[0]), place[1])
        points = grey[grid_points(grey.shape)].astype(float)
        inner = points[BORDER:-BORDER, BORDER:-BORDER]
        border = (points.sum() - inner.sum()) / (points.size - inner.size)
        return float(grey.max()), border, points[CENTRE, CENTRE].mean(), (points < threshold * 255).mean()

    seen = np.zeros((len(ids), 4))
    for k, values in enumerate(in_order(look, zip(ids, sizes, strict=True))):
        seen[k] = values
        advance(k + 1, len(ids))
    return seen.T


def _is_map(path: Path) -> bool:
    return path.suffix in SUFFIXES and path.is_file()


def _map_of(folder: Path, image_id: str) -> Path:
    """Return an image's map; raises MissingArtefact where there is none."""
    path = next((path for suffix in SUFFIXES if (path := folder / f"{image_id}{suffix}").is_file()), None)
    if path is None:
        raise MissingArtefact(folder / f"{image_id}.png", "missing (.jpg, too)", GREY)
    return path


def _unreadable(path: Path, error: Exception) -> BadInput:
    return BadInput(path, f"cannot be read ({reason(error)})", GREY)


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
    """Read a map as (h, w) of 0..255, uint8 or, of 16 bits, float32, once its header has been looked at.

    Grey may be stored in many ways: as one bit, as RGB, in a palette, with an alpha channel that hides nothing.
    """
    try:
        with Image.open(path) as image:
            _check_header(path, image, size)
            if image.mode == "L":
                return np.asarray(image)
            if image.mode in DEEP:
                return np.asarray(image).astype(np.float32) / 257  # 65535 is white
            hidden = image.mode in ("LA", "RGBA") and np.asarray(image.getchannel("A")).min() < 255
            colours = np.asarray(image.convert("RGB"))
    except (BadInput, MemoryError):
        raise
    except Exception as error:  # Pillow has a kind for every way to be broken
        raise _unreadable(path, error) from None
    if hidden:
        raise BadInput(path, "partly transparent", GREY)
    if (colours != colours[..., :1]).any():
        raise BadInput(path, "a coloured image", GREY)
    return colours[..., 0]


def _check_header(path: Path, image: Image.Image, size: tuple[int, int]) -> None:
    """Refuse a map by its header: its shape, its mode."""
    _check_shape(path, (image.height, image.width), size)
    if image.mode not in MODES:
        raise BadInput(path, f"an image of mode {image.mode}", GREY)


def _check_shape(path: Path, found: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuse a map of another aspect than its image's: scaled to the smaller of the two, a side is a pixel off."""
    (height, width), (image_height, image_width) = found, size
    off = abs(height * image_width - width * image_height)
    fine_enough = min(found) >= min(GRID, *size)
    if off > max(*found, *size) or max(found) > MAX_SIDE or not fine_enough:
        raise BadInput(path, f"is {width}x{height}", f"{image_width}x{image_height} as its image, or that aspect")
