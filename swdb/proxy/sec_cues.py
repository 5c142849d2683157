"""Seed cues as SEC and DSRG publish them, read without trusting the file.

in: `localization_cues.pickle[.gz]` and its `input_list.txt` -> out: tags and seeded points of every image
"""

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest
from swdb.data.voc import CLASSES, MAX_CLASS
from swdb.proxy.grid import GRID, cue_map
from swdb.proxy.pickle_reader import Refused, integers, kind_of, read_pickle

CUE_LIST = "input_list.txt"  # stands beside published cues and says which image each belongs to
SEC_LIST = "6be862913abdf55ba827c8ae2b4ccfcb003a2fd3870062902d243312e38dcbbd"  # the sha256 of SEC's own
MAX_BYTES = 2**30  # of the unpacked file; SEC's has 104 MB

KEY = re.compile(r"([0-9]{1,9})_(labels|cues)")
LIST_LINE = re.compile(r"(?:\S*/)?(\w[\w.-]*?)(?:\.jpe?g|\.png)?(?:\s+([0-9]{1,9}))?")


@dataclass(frozen=True)
class Cues:
    """Tags and seeded points by image id; both dicts hold the same ids, in the order of the list."""

    labels: dict[str, tuple[int, ...]]  # class ids 1..20, ascending
    points: dict[str, np.ndarray]  # (3, K) int64: class 0..20 (0 is background), row and column 0..40


def cue_digests(path: Path) -> dict[str, str]:
    """Return the sha256 of published cues, and of the list that says whose they are where it is not SEC's own."""
    digests, id_list = {"file": file_digest(path)}, path.with_name(CUE_LIST)
    if path.suffix != ".npz" and id_list.is_file() and (of_list := file_digest(id_list)) != SEC_LIST:
        digests["list"] = of_list
    return digests


def read_cues(path: Path) -> Cues:
    """Read published cues, gzipped or not, of the images in the `input_list.txt` beside the file.

    A listed image of which the file says nothing is left out. Raises MissingArtefact where a file is missing, BadInput
    for whatever is not plain cues, naming it; nothing that the file says is ever executed.
    Source of the format: kolesman/SEC, training/localization_cues and training/input_list.txt.
    """
    ids = _read(path.with_name(CUE_LIST), _ids)
    return _read(path, lambda content: _by_image(read_pickle(content), ids))


# ---------------------------------------------------------------- what the files say, by image


def _read(path: Path, understand: Callable[[bytes], Any]) -> Any:
    """Read a file, unpacked if it is gzipped, and understand its bytes; turns all that is wrong with it into one error."""
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            content = (gzip.GzipFile(fileobj=stream) if packed else stream).read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise Refused(f"more than {MAX_BYTES:,} bytes", "about 100 MB")
        return understand(content)
    except FileNotFoundError:
        raise MissingArtefact(path, "missing", f"the published {path.name}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(path, f"cannot be read ({error})", "a whole file") from None
    except Refused as refusal:
        raise BadInput(path, refusal.found, refusal.expected) from None


def _ids(content: bytes) -> dict[int, str]:
    """Understand the list of images, index -> id: lines such as `2008_007028.jpg 0`, or names alone, in order."""
    ids: dict[int, str] = {}
    known: set[str] = set()
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        match = LIST_LINE.fullmatch(line.strip())
        image_id, index = (match[1], int(match[2] or len(ids))) if match else ("", -1)
        if line.strip() and (not match or image_id in known or index in ids):
            raise Refused(f"line {number} is {line!r:.80}", "lines such as '2008_007028.jpg 0', each once")
        if match:
            ids[index] = image_id
            known.add(image_id)
    if not ids:
        raise Refused("nothing in it", "lines such as '2008_007028.jpg 0'")
    return ids


def _by_image(content: Any, ids: dict[int, str]) -> Cues:
    """Sort the entries `12_labels` and `12_cues` by image, and check each."""
    if type(content) is not dict:
        raise Refused(f"{kind_of(content)}", "a dict with the keys '0_labels', '0_cues', '1_labels', ...")
    labels: dict[str, tuple[int, ...]] = {}
    points: dict[str, np.ndarray] = {}
    for key, value in content.items():
        text = key.decode("latin-1") if type(key) is bytes else key
        match = KEY.fullmatch(text)
        image_id = ids.get(int(match[1])) if match else None
        if image_id is None:
            raise Refused(f"the key {text!r:.80}", "'0_labels', '0_cues', ..., numbered as in the list")
        where = f"{image_id} ({text})"
        entries, checked = (labels, _checked_labels) if match[2] == "labels" else (points, _checked_points)
        if image_id in entries:
            raise Refused(f"{where}: twice", "once")
        entries[image_id] = checked(integers(value, where), where)
    named = [image_id for image_id in ids.values() if image_id in labels or image_id in points]
    none = np.empty((3, 0), np.int64)
    return Cues({i: labels.get(i, ()) for i in named}, {i: points.get(i, none) for i in named})


def _checked_labels(labels: np.ndarray, where: str) -> tuple[int, ...]:
    if labels.ndim != 1:
        raise Refused(f"{where}: labels of shape {labels.shape}", "a row of class ids")
    present = sorted(set(labels.tolist()))
    if present and not 1 <= present[0] <= present[-1] <= MAX_CLASS:
        raise Refused(f"{where}: the classes {present[0]}..{present[-1]}", f"1..{MAX_CLASS}")
    return tuple(present)


def _checked_points(points: np.ndarray, where: str) -> np.ndarray:
    if points.ndim != 2 or len(points) != 3:
        raise Refused(f"{where}: cues of shape {points.shape}", "(3, K): class, row and column")
    for line, name, most in zip(points, ("class", "row", "column"), (MAX_CLASS, GRID - 1, GRID - 1), strict=True):
        outside = (line < 0) | (line > most)
        if outside.any():
            raise Refused(f"{where}: {name} {line[outside][0]}", f"0..{most}")
    classes, rows, columns = points
    rivals = cue_map(points)[rows, columns] != classes  # each point holds the class that was laid there last
    if rivals.any():
        row, column = rows[rivals][0], columns[rivals][0]
        names = [CLASSES[label] for label in np.unique(classes[(rows == row) & (columns == column)])]
        raise Refused(f"{where}: {' and '.join(names)} in row {row}, column {column}", "one class a point")
    return points
