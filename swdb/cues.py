"""Seed cues as SEC and DSRG publish them: read without trusting the file, laid on a grid, compared with true masks.

in: `localization_cues.pickle[.gz]` and its `input_list.txt` -> out: tags and seeded cells of every image

A pickle is a program, and this one comes from a stranger, so Python's own machine never runs it: `pickletools` takes
it apart, and a small machine of ours follows the instructions that plain data and numpy arrays need. A name such as
`numpy.dtype` is a mere word to it: nothing is imported, nothing called, and an array stays a description until its
image is looked at, so that it costs nothing whatever size it claims.
"""

import gzip
import math
import pickletools
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swdb.errors import BadInput, MissingArtefact
from swdb.voc import CLASSES, IGNORE, MAX_CLASS

CUE_LIST = "input_list.txt"  # stands beside published cues and says which image each belongs to
SEC_LIST = "6be862913abdf55ba827c8ae2b4ccfcb003a2fd3870062902d243312e38dcbbd"  # the sha256 of SEC's own
GRID = 41  # cells a side: the networks see a picture of 321 = 8 * 40 + 1 pixels, cell i's centre at pixel 8 * i
MAX_BYTES = 2**30  # of the unpacked file; SEC's has 104 MB
MAX_STEPS = 2**22  # instructions, each of which may make a small object; SEC's file has 390,000
MAX_NUMBERS = 3 * GRID**2  # of one array: class, row and column of every cell

# Instructions: those that push their own argument, those that push a constant, how many items others take from the
# top of the stack, and which take all since the last mark. And the names that the description of an array needs.
VALUES = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
     "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
     "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
)  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TAKE = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2, "BUILD": 1, "STACK_GLOBAL": 2, "REDUCE": 2}
TAKE_MARKED = ("TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS", "INST")
NAMES = frozenset(
    ("numpy.ndarray", "numpy.dtype", "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
     "numpy.core.numeric._frombuffer", "_codecs.encode", "__builtin__.bytes", "builtins.bytes")
)  # fmt: skip
ALLOWED = "expected nothing but dicts, lists, tuples, text, numbers and numpy arrays of integers"

KEY = re.compile(r"([0-9]{1,9})_(labels|cues)")
LIST_LINE = re.compile(r"(?:\S*/)?(\w[\w.-]*?)(?:\.jpe?g|\.png)?(?:\s+([0-9]{1,9}))?")


@dataclass(frozen=True)
class Cues:
    """Tags and seeded cells by image id; both dicts hold the same ids, in the order of the list."""

    labels: dict[str, tuple[int, ...]]  # class ids 1..20, ascending
    cells: dict[str, np.ndarray]  # (3, K) int64: class 0..20 (0 is background), row and column 0..40

    @property
    def without_cues(self) -> list[tuple[str, int]]:
        """List (image id, class) of every tag that no cell of its image is seeded with."""
        return [(i, k) for i, tags in self.labels.items() for k in sorted({*tags} - {*self.cells[i][0].tolist()})]

    @property
    def without_labels(self) -> list[tuple[str, int]]:
        """List (image id, class) of every seeded object class that is no tag of its image."""
        return [(i, k) for i, tags in self.labels.items() for k in sorted({*self.cells[i][0].tolist()} - {0, *tags})]


def read_cues(path: Path, mend: str, id_list: Path | None = None) -> Cues:
    """Read published cues, gzipped or not, of the images in `id_list` (default: `input_list.txt` beside the file).

    A listed image of which the file says nothing is left out. Raises MissingArtefact where a file is missing, BadInput
    for whatever is not plain cues, naming it; nothing that the file says is ever executed.
    Source of the format: kolesman/SEC, training/localization_cues and training/input_list.txt.
    """
    ids = _read(id_list or path.with_name(CUE_LIST), _ids, mend)
    return _read(path, lambda content: _by_image(_unpickle(content), ids), mend)


def centres(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return an index for the pixels at the centres of all cells, (41, 41), in a picture of (height, width)."""
    rows, columns = (np.rint(np.arange(GRID) * (size - 1) / (GRID - 1)).astype(int) for size in shape)
    return rows[:, None], columns[None]


def cue_map(cells: np.ndarray, mapping: np.ndarray | None = None) -> np.ndarray:
    """Lay cells (3, K) on the grid, (41, 41) uint8; 255 where there is no cue.

    `mapping` (256,) uint8 says what becomes of each class id where a data set has fewer classes; 255 drops it.
    """
    grid = np.full((GRID, GRID), IGNORE, np.uint8)
    classes, rows, columns = cells
    grid[rows, columns] = classes if mapping is None else mapping[classes]
    return grid


def restrict(cue_map: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Drop the cues of all classes that the tags (C-1,) bool do not name; background stays. Same shape, uint8."""
    named = np.zeros(256, bool)
    named[0] = True
    named[1 : len(tags) + 1] = tags
    return np.where(named[cue_map], cue_map, np.uint8(IGNORE))


def cue_quality(pairs: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int) -> dict[str, Any]:
    """Compare cue maps (41, 41) with true masks (H, W): percentages, ready for JSON, null where there is no such cell.

    A cell's truth is the mask at the cell's centre pixel; where that is void, the cell counts for coverage alone.
    precision: of the cues, how many are right, over all and by class 0..C-1
    coverage: of all cells, how many have a cue, any, an object's, background's
    class_coverage: of the cells that truly are of a class 0..C-1, how many have its cue
    """
    images = bare = 0
    seeded = np.zeros(num_classes + 1, np.int64)  # by cue; the last entry is without
    counts = np.zeros((num_classes, num_classes + 1), np.int64)  # by truth and cue, so too
    for cues, mask in pairs:
        truth, found = mask[centres(mask.shape)], np.where(cues == IGNORE, num_classes, cues)
        valid = truth != IGNORE
        np.add.at(counts, (truth[valid], found[valid]), 1)
        np.add.at(seeded, found, 1)
        images, bare = images + 1, bare + bool((cues == IGNORE).all())
    right, cued, true, cells = np.diagonal(counts), counts[:, :-1].sum(0), counts.sum(1), seeded.sum()
    return {
        "images": images,
        "images_without_cue": _percent(bare, images),
        "precision": {"all": _percent(right.sum(), cued.sum()), "by_class": [*map(_percent, right, cued)]},
        "coverage": {
            "all": _percent(seeded[:-1].sum(), cells),
            "foreground": _percent(seeded[1:-1].sum(), cells),
            "background": _percent(seeded[0], cells),
        },
        "class_coverage": [*map(_percent, right, true)],
    }


def _percent(part: int, whole: int) -> float | None:
    return 100 * int(part) / int(whole) if whole else None


# ---------------------------------------------------------------- what the files say, by image


class _Refused(Exception):
    """What a file of cues must not hold: what was found, and what was expected."""


def _read(path: Path, understand: Callable[[bytes], Any], mend: str) -> Any:
    """Read a file, unpacked if it is gzipped, and understand its bytes; turns all that is wrong with it into one line."""
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            content = (gzip.GzipFile(fileobj=stream) if packed else stream).read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _Refused(f"found more than {MAX_BYTES:,} bytes, expected about 100 MB")
        return understand(content)
    except FileNotFoundError:
        raise MissingArtefact(f"{path} is missing; put the published {path.name} there and run: {mend}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} cannot be read ({error}), expected a whole file; mend it and run: {mend}") from None
    except _Refused as refusal:
        raise BadInput(f"{path}: {refusal}; take the published file and run: {mend}") from None


def _ids(content: bytes) -> dict[int, str]:
    """Understand the list of images, index -> id: lines such as `2008_007028.jpg 0`, or names alone, in order."""
    ids: dict[int, str] = {}
    known: set[str] = set()
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        match = LIST_LINE.fullmatch(line.strip())
        image_id, index = (match[1], int(match[2] or len(ids))) if match else ("", -1)
        if line.strip() and (not match or image_id in known or index in ids):
            raise _Refused(f"line {number} is {line!r:.80}, expected lines such as '2008_007028.jpg 0', each once")
        if match:
            ids[index] = image_id
            known.add(image_id)
    if not ids:
        raise _Refused("found nothing in it, expected lines such as '2008_007028.jpg 0'")
    return ids


def _by_image(content: Any, ids: dict[int, str]) -> Cues:
    """Sort the entries `12_labels` and `12_cues` by image, and check each."""
    if type(content) is not dict:
        raise _Refused(f"found {_kind(content)}, expected a dict with the keys '0_labels', '0_cues', '1_labels', ...")
    labels: dict[str, tuple[int, ...]] = {}
    cells: dict[str, np.ndarray] = {}
    for key, value in content.items():
        text = key.decode("latin-1") if type(key) is bytes else key
        match = KEY.fullmatch(text)
        image_id = ids.get(int(match[1])) if match else None
        if image_id is None:
            raise _Refused(f"found the key {text!r:.80}, expected '0_labels', '0_cues', ..., numbered as in the list")
        where = f"{image_id} ({text})"
        entries, checked = (labels, _checked_labels) if match[2] == "labels" else (cells, _checked_cells)
        if image_id in entries:
            raise _Refused(f"{where}: found twice, expected once")
        entries[image_id] = checked(_integers(value, where), where)
    named = [image_id for image_id in ids.values() if image_id in labels or image_id in cells]
    none = np.empty((3, 0), np.int64)
    return Cues({i: labels.get(i, ()) for i in named}, {i: cells.get(i, none) for i in named})


def _checked_labels(labels: np.ndarray, where: str) -> tuple[int, ...]:
    if labels.ndim != 1:
        raise _Refused(f"{where}: found labels of shape {labels.shape}, expected a row of class ids")
    present = sorted(set(labels.tolist()))
    if present and not 1 <= present[0] <= present[-1] <= MAX_CLASS:
        raise _Refused(f"{where}: found the classes {present[0]}..{present[-1]}, expected 1..{MAX_CLASS}")
    return tuple(present)


def _checked_cells(cells: np.ndarray, where: str) -> np.ndarray:
    if cells.ndim != 2 or len(cells) != 3:
        raise _Refused(f"{where}: found cues of shape {cells.shape}, expected (3, K): class, row and column")
    for line, name, most in zip(cells, ("class", "row", "column"), (MAX_CLASS, GRID - 1, GRID - 1), strict=True):
        outside = (line < 0) | (line > most)
        if outside.any():
            raise _Refused(f"{where}: found {name} {line[outside][0]}, expected 0..{most}")
    classes, rows, columns = cells
    rivals = cue_map(cells)[rows, columns] != classes  # each cell holds the class that was laid there last
    if rivals.any():
        row, column = rows[rivals][0], columns[rivals][0]
        names = [CLASSES[label] for label in np.unique(classes[(rows == row) & (columns == column)])]
        raise _Refused(f"{where}: found {' and '.join(names)} in row {row}, column {column}, expected one class a cell")
    return cells


def _integers(value: Any, where: str) -> np.ndarray:
    """Make int64 numbers of an array, or of a tuple or list of integers or of arrays of equal length."""
    if isinstance(value, _Array):
        return _made(value, where)
    if type(value) not in (tuple, list) or len(value) > MAX_NUMBERS:
        raise _Refused(f"{where}: found {_kind(value)}, expected an array of at most {MAX_NUMBERS} integers")
    parts = [_made(part, where) if isinstance(part, _Array) else part for part in value]
    odd = [part for part in parts if type(part) is not np.ndarray and not (type(part) is int and abs(part) < 2**63)]
    if odd or len({np.shape(part) for part in parts}) > 1:
        what = _kind(odd[0]) if odd else "arrays of unequal lengths"
        raise _Refused(f"{where}: found {_kind(value)} with {what} in it, expected integers or three equal arrays")
    return np.array(parts, np.int64)


def _made(array: "_Array", where: str) -> np.ndarray:
    """Make a described array, int64; its claims are checked before anything is made."""
    shape, data = array.shape, array.data
    sizes_fit = len(shape) <= 2 and all(type(size) is int and 0 <= size <= MAX_NUMBERS for size in shape)
    if array.type is None or not sizes_fit or math.prod(shape) > MAX_NUMBERS:
        raise _Refused(f"{where}: found an array that claims the size {_line(shape)}, expected at most {MAX_NUMBERS}")
    dtype = np.dtype(array.type.order + array.type.code)
    if type(data) not in (str, bytes, bytearray) or len(data) != math.prod(shape) * dtype.itemsize:
        found = f"{len(data)} bytes" if type(data) in (str, bytes, bytearray) else _kind(data)
        raise _Refused(f"{where}: found {found} for {dtype} numbers of shape {_line(shape)}, expected as many as fit")
    if type(data) is str:  # how Python 3 sees Python 2's bytes; a letter that is no byte becomes a number out of range
        data = data.encode("latin-1", errors="replace")
    return np.frombuffer(data, dtype).reshape(shape, order=array.order).astype(np.int64, order="C")


# ---------------------------------------------------------------- the pickle, taken apart


@dataclass(frozen=True, slots=True)
class _Name:  # a global name, no more than that
    name: str


@dataclass(slots=True)
class _Type:  # a numpy dtype, described
    code: str
    order: str = "|"


@dataclass(slots=True)
class _Array:  # a numpy array or scalar, described
    shape: tuple = ()
    type: _Type | None = None
    order: str = "C"
    data: str | bytes | bytearray = b""


def _kind(value: Any) -> str:
    return f"a value of type {type(value).__name__.strip('_')}"


def _line(value: Any) -> str:
    """Show something in one line of bearable length; of a shape its first sizes, which may be anything."""
    if type(value) is tuple:
        return f"({', '.join(str(n) if type(n) is int and abs(n) < 10**20 else '?' for n in value[:3])})"
    return " ".join(str(value).split())[:100] or type(value).__name__


def _unpickle(content: bytes) -> Any:
    """Return what a pickle describes, arrays as descriptions; refuses what is cut short, no pickle, or ill composed."""
    try:
        return _follow(content)
    except (ValueError, TypeError, LookupError, MemoryError, Warning) as error:
        raise _Refused(f"damaged or not a pickle ({_line(error)}); {ALLOWED}") from None


def _follow(content: bytes) -> Any:
    """Follow the instructions of a pickle one by one, as far as they describe plain data."""
    stack: list[Any] = []
    marks: list[int] = []  # where on the stack the items of something unfinished begin
    memo: dict[int, Any] = {}
    for step, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if step == MAX_STEPS:
            raise _Refused(f"found more than {MAX_STEPS:,} instructions, expected about 40 for every image")
        name = instruction.name
        start = marks.pop() if name in TAKE_MARKED else len(stack) - TAKE.get(name, 0)
        taken = stack[start:]
        del stack[start:]
        match name:
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if argument is None else argument] = stack[-1]
            case "MARK":
                marks.append(start)
            case "EMPTY_TUPLE" | "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(taken))
            case "EMPTY_LIST" | "LIST":
                stack.append(taken)
            case "EMPTY_DICT" | "DICT":
                stack.append(_filled({}, taken))
            case "APPEND" | "APPENDS" | "SETITEM" | "SETITEMS":
                _filled(stack[-1], taken)
            case "BUILD":
                _complete(stack[-1], *taken)
            case "GLOBAL" | "STACK_GLOBAL":
                stack.append(_known_name(*(argument.split(" ", 1) if argument else taken)))
            case "INST":
                stack.append(_described(_known_name(*argument.split(" ", 1)), tuple(taken)))
            case "REDUCE":
                stack.append(_described(*taken))
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _ if name in VALUES:
                stack.append(argument)
            case _ if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case _:
                raise _Refused(f"the pickle asks for the instruction {name} ({argument!r:.80}); {ALLOWED}")
    return stack[-1]


def _known_name(module: str, name: str) -> _Name:
    asked = ".".join((module, name))  # raises for what is not text
    known = asked.replace("numpy._core.", "numpy.core.", 1)  # numpy 2 moved its inner parts
    if known not in NAMES:
        raise _Refused(f"the pickle asks for {asked!r:.80}, which has no place in data; {ALLOWED}")
    return _Name(known)


def _described(called: Any, arguments: Any) -> Any:
    """Describe what a call would make, if it is one of the calls that numpy writes into pickles."""
    name = called.name if isinstance(called, _Name) else _kind(called)
    match name, arguments:
        case "numpy.core.multiarray._reconstruct", (_Name("numpy.ndarray"), (0,), "b" | b"b"):
            return _Array()  # BUILD brings the rest
        case "numpy.core.multiarray.scalar", (_Type() as kind, data):
            return _Array((), kind, "C", data)
        case "numpy.core.numeric._frombuffer", (data, _Type() as kind, tuple() as shape, "C" | "F" as order):
            return _Array(shape, kind, order, data)
        case "numpy.dtype", (str() as code, _, _):
            if not re.fullmatch("[iu][1248]", code):
                raise _Refused(f"found an array of type {code!r:.20}; {ALLOWED}")
            return _Type(code)
        case "_codecs.encode", (str() as text, "latin1"):
            return text  # bytes in old protocols; text serves as well, and is not copied for every mention
        case "__builtin__.bytes" | "builtins.bytes", ():
            return b""
    raise _Refused(f"found a call of {name} that makes no plain array; {ALLOWED}")


def _filled(target: Any, items: list[Any]) -> Any:
    """Give a list its items, or a dict its keys and values in turn; keys are text, as hashing a nest can take for ever."""
    if type(target) is list:
        target.extend(items)
    elif type(target) is dict and all(type(key) in (str, bytes) for key in items[::2]):
        target.update(zip(items[::2], items[1::2], strict=True))
    else:
        raise _Refused(f"found items for {_kind(target)}, or keys that are no text; {ALLOWED}")
    return target


def _complete(target: Any, state: Any) -> None:
    """Give a described array or type the rest of its description."""
    match target, state:
        case _Array(), (_, tuple() as shape, _Type() as kind, fortran, data):
            target.shape, target.type, target.order, target.data = shape, kind, "F" if fortran else "C", data
        case _Type(), (_, "<" | ">" | "|" | "=" as order, None, None, None, *_):
            target.order = order
        case _:
            raise _Refused(f"found a state for {_kind(target)} that is no plain array's; {ALLOWED}")
