"""The small file of cues: one map of 41 x 41 points for every image, a few MB for the whole of VOC.

It is an .npz that `np.load` opens without pickle: `ids` and `classes` (text), `maps` (N, 41, 41) uint8. Equal contents
make equal bytes. It may come from a stranger, so sizes and headers are checked before anything is unpacked.

in: ids, maps, class names -> out: `<name>.npz`; and back, row by row of the ids and by the names of the classes
"""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact, reason
from swdb.core.files import BROKEN_NPZ, write_atomic
from swdb.data.voc import IGNORE
from swdb.proxy.grid import GRID
from swdb.proxy.pickle_reader import Refused

Contents = tuple[list[str], np.ndarray, list[str]]  # ids, maps, class names

MEMBERS = ("ids.npy", "maps.npy", "classes.npy")
MAX_BYTES = 2**28  # of one member, packed or not; the maps of VOC's 10,582 images have 18 MB
HEADER = re.compile(  # as numpy writes it; everything else is not ours, and is never parsed
    rb"\x93NUMPY\x01\x00..\{'descr': '(\|u1|<U[0-9]{1,4})', 'fortran_order': False, 'shape': \(([0-9, ]{2,40})\), \} *\n",
    re.DOTALL,
)


def write_cue_file(path: Path, ids: Sequence[str], maps: np.ndarray, class_names: Sequence[str]) -> None:
    """Write cue maps (N, 41, 41) uint8 of N images, as `cue_file` has them; raises BadInput where the disk refuses."""
    content = cue_file(ids, maps, class_names)
    write_atomic(path, lambda stream: stream.write(content))


def cue_file(ids: Sequence[str], maps: np.ndarray, class_names: Sequence[str]) -> bytes:
    """Return cue maps (N, 41, 41) uint8 of N images as a file: 0 background, 1..C-1 the classes, 255 no cue.

    `class_names` are all C names, background first. Raises ValueError for contents that do not belong together.
    """
    if fault := _fault(ids, maps, class_names):
        raise ValueError(f"found {fault[0]}, expected {fault[1]}")
    texts = np.array(ids, np.str_), np.array(class_names, np.str_)
    arrays = dict(zip(MEMBERS, (texts[0], np.ascontiguousarray(maps), texts[1]), strict=True))

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(name)  # of 1980: the time would make equal files differ
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as inside:
                np.lib.format.write_array(inside, array, (1, 0), allow_pickle=False)
    return buffer.getvalue()


def read_cue_file(path: Path) -> Contents:
    """Read a cue file: ids (N), maps (N, 41, 41) uint8 as `write_cue_file` took them, and the C class names.

    Raises MissingArtefact where there is no such file, BadInput for one that is damaged or not a cue file.
    """
    if not path.is_file():
        raise MissingArtefact(path, "missing", "a cue file (.npz)")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Refused(f"more than {MAX_BYTES:,} bytes", "a few MB")
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            (ids, id_shape), (maps, map_shape), (classes, class_shape) = (_member(archive, name) for name in MEMBERS)
        found = _texts("ids", ids, id_shape), _numbers("maps", maps, map_shape), _texts("classes", classes, class_shape)
        if fault := _fault(*found):
            raise Refused(*fault)
        return found
    except BROKEN_NPZ as error:
        raise BadInput(path, f"cannot be read ({reason(error)})", "a whole cue file (.npz)") from None
    except Refused as refusal:
        raise BadInput(path, f"not a cue file: {refusal.found}", refusal.expected) from None


def lacking_lines(counts: dict[str, Any]) -> list[str]:
    """Say for people what cues lack, from what was counted when they were made; nothing where they lack nothing."""
    kinds = {
        "images_with_a_tag_without_a_cue": "with a tag without a cue",
        "images_unknown_to_the_cues": "unknown to the cues",
        "images_without_tags": "without tags",
        "images_without_background_cues": "without a cue of background",
    }
    told = [f"{counts[key]} {words}" for key, words in kinds.items() if counts.get(key)]
    lines = [f"training images: {', '.join(told)}"] if told else []
    if counts.get("cues_of_other_images"):
        lines.append(f"left out: the cues of {counts['cues_of_other_images']} images that are not in the training list")
    if counts.get("images_with_cues_beyond_their_tags"):
        count = counts["images_with_cues_beyond_their_tags"]
        lines.append(f"left out: cues of classes that are not among the image's tags, in {count} training images")
    if counts.get("classes_unknown_to_the_data"):
        lines.append(
            f"left out: cues of {', '.join(counts['classes_unknown_to_the_data'])}: no classes of the data set"
        )
    if counts["classes_without_a_cue"]:
        lines.append(f"no cue at all for {', '.join(counts['classes_without_a_cue'])}: nothing can be learnt of it")
    return lines


def cues_of(path: Path, ids: Sequence[str], class_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read the maps (N, 41, 41) uint8 of the asked ids, in their order, and which of them the file has, (N,) bool.

    Labels are those of the asked `class_names` (background first), found by name; cues of other classes become 255,
    as does everything of an id that the file lacks. Raises what `read_cue_file` raises.
    """
    return matched(read_cue_file(path), ids, class_names, path)


def matched(
    contents: Contents, ids: Sequence[str], class_names: Sequence[str], where: Path | str
) -> tuple[np.ndarray, np.ndarray]:
    """Take the asked ids out of what `read_cue_file` returned: as `cues_of`, for whoever has read the file already."""
    known, maps, names = contents
    if names[0] in class_names[1:]:
        raise BadInput(where, f"the first class is {names[0]!r:.80}", "background, for the label 0")
    labels = np.full(256, IGNORE, np.uint8)
    labels[0] = 0
    for label, name in enumerate(names[1:], start=1):
        if name in class_names[1:]:
            labels[label] = class_names.index(name, 1)
    rows = {image_id: row for row, image_id in enumerate(known)}
    found = np.array([image_id in rows for image_id in ids], bool)
    wanted = np.full((len(ids), GRID, GRID), IGNORE, np.uint8)
    wanted[found] = labels[maps[[rows[image_id] for image_id in ids if image_id in rows]]]
    return wanted, found


# ---------------------------------------------------------------- distrust


def _check_members(archive: zipfile.ZipFile) -> None:
    """Refuse other members than ours, and any that would unpack to too much; zipfile unpacks no more than announced."""
    members = archive.infolist()
    if sorted(member.filename for member in members) != sorted(MEMBERS):
        names = ", ".join(repr(member.filename) for member in members[:4])
        raise Refused(f"{len(members)} members ({names:.120})", ", ".join(MEMBERS))
    for member in members:
        if member.file_size > MAX_BYTES:
            raise Refused(f"{member.filename} unpacks to {member.file_size:,} bytes", f"at most {MAX_BYTES:,}")


def _member(archive: zipfile.ZipFile, name: str) -> tuple[bytes, tuple[str, list[int]]]:
    """Unpack one member: the numbers behind its header, and the type and shape that the header says."""
    content = archive.read(name)
    header = HEADER.match(content)
    if header is None:
        raise Refused(f"{name} begins with {content[:80]!r}", "a plain array of numpy (format 1.0, no objects)")
    shape = [int(size) for size in header[2].replace(b" ", b"").split(b",") if size]
    return content[header.end() :], (header[1].decode(), shape)


def _numbers(name: str, content: bytes, described: tuple[str, list[int]]) -> np.ndarray:
    kind, shape = described
    if kind != "|u1" or shape[1:] != [GRID, GRID] or len(content) != shape[0] * GRID**2:
        raise Refused(f"{name} has type {kind}, shape {shape}, {len(content)} bytes", f"|u1, [N, {GRID}, {GRID}]")
    return np.frombuffer(content, np.uint8).reshape(shape).copy()  # torch wants to be able to write


def _texts(name: str, content: bytes, described: tuple[str, list[int]]) -> list[str]:
    kind, shape = described
    width = int(kind[2:]) if kind.startswith("<U") else 0
    if not width or len(shape) != 1 or len(content) != 4 * width * shape[0]:
        raise Refused(f"{name} has type {kind}, shape {shape}, {len(content)} bytes", "a row of text (<U)")
    text = content.decode("utf-32-le")
    return [text[first : first + width].rstrip("\0") for first in range(0, len(text), width)]


def _fault(ids: Sequence[str], maps: np.ndarray, class_names: Sequence[str]) -> tuple[str, str] | None:
    """Say what is wrong with contents that do not belong together: what was found, and what was expected."""
    if maps.dtype != np.uint8 or maps.shape != (len(ids), GRID, GRID):
        return f"{len(ids)} ids and {maps.dtype} maps of shape {maps.shape}", "a map for every id"
    for what, texts in (("id", ids), ("class", class_names)):
        text, times = Counter(texts).most_common(1)[0] if texts else ("", 0)
        if times > 1:
            return f"the {what} {text!r:.80} {times} times", "every one once"
    if len(class_names) < 2:
        return f"{len(class_names)} classes", "background and at least one more"
    if len(class_names) > IGNORE:
        return f"{len(class_names)} classes", f"at most {IGNORE}: {IGNORE} itself is no label"
    highest = maps[maps != IGNORE].max(initial=0)
    if highest >= len(class_names):
        return f"the label {highest}", f"0 to {len(class_names) - 1} and {IGNORE}"
    return None
