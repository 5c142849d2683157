"""Reading other projects' list files, such as `1_8/labeled.txt`: ids, masks, odd lines, and what a name says. No torch.

in: a `.txt` or `.lst` file -> out: a `SplitList`, or why it is none
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

LARGEST = 16 * 2**20  # bytes; the longest list of VOC ids with paths has less than one MiB
MOST_LINES = 1_000_000  # sixteen MiB of one-letter lines would take two GiB of memory

IMAGE_SUFFIX = re.compile(r"\.(?:jpe?g|png|bmp|gif|tiff?|webp|npy)$", re.IGNORECASE)
PATH_END = re.compile(r"\.(?:jpe?g|png|bmp|gif|tiff?|webp|npy)(?=[\"']?(?:\s|$))", re.IGNORECASE)
IDENTIFIER = re.compile(r"(?=.*\d)[\w-]+")  # without a digit it is a word of somebody's prose
HEADER = re.compile(r"[A-Za-z_]+(?:[\t,;] *[A-Za-z_]+)+")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
# `labeled`, `un_labelled`, `sup`, `unsupervised`; the `supervised` of `semi-supervised` names a method, not a list
LABEL = re.compile(r"(?<![a-z])(?<!semi[-_])(un[-_]?)?(?:label(?:l?ed|s)?|sup(?:ervised)?)(?![a-z])")
VALIDATION = re.compile(r"(?<![a-z])val(?:id(?:ation)?)?(?![a-z])")


@dataclass(frozen=True)
class Tally:
    """How many there are, and the first of them."""

    count: int
    first: str | None

    def of(self, noun: str) -> str:
        """Say so: `3 images (first: 2007_000032)`."""
        return f"{counted(self.count, noun)} (first: {self.first})"


@dataclass(frozen=True)
class SplitList:
    """One list file, and where its images are in VOC: None where no reference says so."""

    name: str  # path relative to the folder that is audited
    role: str  # labelled, unlabelled, val or other: what the name says
    ids: tuple[str, ...]  # each once, in the file's order
    duplicates: Tally  # lines that repeat an id
    mismatched: Tally  # lines that give an image the mask of another one
    odd: Tally  # lines that hold no id
    mask_folders: dict[str, int]  # number of lines by the folder that holds their mask
    fine: int | None = None  # images in train
    sbd: int | None = None  # in train_aug only
    val: int | None = None
    unknown: Tally | None = None  # in none of the three

    @property
    def share(self) -> float | None:
        """Finely labelled images in %."""
        return None if self.fine is None else 100 * self.fine / len(self.ids)


def read_list(path: Path, root: Path) -> SplitList | str:
    """Read one list file; return why it is none where it is none.

    A line is an id, an id with numbers behind it, or an image, its mask and perhaps more files of it, parted by blanks, a
    tab, a comma or a semicolon. Paths may hold blanks where they have an image's suffix or begin with /. An id is a file
    name without folder and image suffix. Blank lines and lines that begin with # are skipped.
    """
    try:
        if not path.is_file():  # opening a pipe would wait forever for its writer
            return "not a regular file, or a broken link"
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if len(content) > LARGEST:
        return f"larger than {LARGEST // 2**20} MiB"
    if content.count(b"\n") > MOST_LINES:
        return f"more than {MOST_LINES:,} lines"
    if b"\0" in content:
        return "a binary file"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "not UTF-8 text"
    written = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not written:
        return "empty"
    if HEADER.fullmatch(written[0]):
        return f"a table with a header ({printable(written[0][:60])})"
    entries = [(line, _entry(line)) for line in written]
    odd = [line for line, entry in entries if entry is None]
    if 2 * len(odd) > len(entries):  # a stray id in somebody's prose makes no list
        return f"{len(entries) - len(odd)} of {counted(len(entries), 'line')} with an image id"
    found = [(line, *entry) for line, entry in entries if entry]
    times = Counter(image_id for _, image_id, _ in found)
    name = printable(path.relative_to(root).as_posix())
    return SplitList(
        name=name,
        role=_role(name),
        ids=tuple(times),
        duplicates=tally(image_id for image_id, number in times.items() for _ in range(number - 1)),
        mismatched=tally(line for line, image_id, mask in found if mask and mask[1] != image_id),
        odd=tally(odd),
        mask_folders=dict(Counter(mask[0] or "(none)" for _, _, mask in found if mask)),
    )


def printable(text: str) -> str:
    """Return text that can be printed on one line, whatever bytes a file's name or a line is made of."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _identifier(field: str) -> tuple[str, str] | None:
    """Return folder and id of a path; None for what is no id."""
    folders, _, name = field.replace("\\", "/").rpartition("/")
    image_id = IMAGE_SUFFIX.sub("", name)
    return (folders.rpartition("/")[2], image_id) if IDENTIFIER.fullmatch(image_id) else None


def _entry(line: str) -> tuple[str, tuple[str, str] | None] | None:
    """Return a line's id, and folder and id of its mask where it names one; None for a line that is no entry.

    Of more files than two the first that belongs to another image stands for the mask, so that it is found.
    """
    separator = next(filter(line.__contains__, "\t,;"), None)
    parts = line.split(separator) if separator else _parted_by_blanks(line)
    fields = [stripped for field in parts if (stripped := field.strip(" \"'"))]
    image = _identifier(fields[0]) if fields else None
    if image is None:
        return None
    if all(NUMBER.fullmatch(field) for field in fields[1:]):
        return image[1], None
    others = [_identifier(field) for field in fields[1:] if not NUMBER.fullmatch(field)]
    if not all(others):
        return None
    return image[1], next((other for other in others if other[1] != image[1]), others[0])


def _parted_by_blanks(line: str) -> list[str]:
    """Part a line at blanks, but not within a path, which may hold some: it ends where a suffix does, or before the next root."""
    ends = [0, *(match.end() for match in PATH_END.finditer(line))]
    behind = [word for word in line[ends[-1] :].split() if word.strip("\"'")]
    if len(ends) > 1 and all(map(NUMBER.fullmatch, behind)):
        return [*(line[begin:end] for begin, end in pairwise(ends)), *behind]
    if line.startswith("/"):
        return re.split(r"\s+(?=/|[+-]?\d+(?:\s|$))", line)
    return line.split()


def tally(found: Iterable[str]) -> Tally:
    """Count what was found."""
    found = list(found)
    return Tally(len(found), printable(found[0][:80]) if found else None)


def _role(name: str) -> str:
    """Say what a list is for, by the words in the file's name."""
    stem = PurePosixPath(name.lower()).stem
    if VALIDATION.search(stem) and "train" not in stem:
        return "val"
    label = LABEL.search(stem)
    return "other" if label is None else "unlabelled" if label[1] else "labelled"


def counted(number: int, noun: str) -> str:
    """Say how many there are: `1 line`, `2 lines`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
