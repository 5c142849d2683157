"""Image-level labels as others write them: VOC's annotations, and CSVs. All that they say is used or refused.

A class may be spelled with other case, blanks, hyphens or underscores ("Dining table", "tv-monitor"): nothing else could be
meant. Any other name is refused, for left out it would be missed.

in: an XML file of boxes, or a CSV of image,classes -> out: names of VOC's classes; or one error that names file and line
"""

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

from swdb.core.errors import BadInput, reason, unknown
from swdb.core.files import decode_text
from swdb.data.sources.archives import Member
from swdb.data.voc import CLASSES

EXPECTED = "a CSV of image,classes"
PARTS = ("head", "hand", "foot")  # of bodies: some of VOC's annotations hold boxes of them
SEPARATORS = re.compile(r"[,;|\t]")  # between classes; or blanks
ID = re.compile(r"[\w-]+")
SUFFIX = re.compile(r"\.(?:jpe?g|png|xml)$", re.IGNORECASE)
LONGEST = 2  # words in the name of a class


def _plain(name: str) -> str:
    """Return a name without what spellings differ in."""
    return re.sub(r"[\s_/-]+", "", name).lower()


BY_NAME = {_plain(name): name for name in CLASSES[1:]}


def class_names(text: str, where: str) -> list[str]:
    """Return the classes that a text names, in its order; raises BadInput for a name that is none of VOC's."""
    found = []
    for part in SEPARATORS.split(text):
        words = part.split()
        if odd := next((word for word in words if not (word[0].isalnum() or word[0] == "_")), ""):
            raise unknown(f"{where}: class", odd, CLASSES[1:])  # -dog is perhaps not a dog
        while words:
            for count in range(min(LONGEST, len(words)), 0, -1):
                if name := BY_NAME.get(_plain("".join(words[:count]))):
                    break
            else:
                raise unknown(f"{where}: class", words[0], CLASSES[1:])
            found.append(name)
            words = words[count:]
    return found


# ---------------------------------------------------------------- annotations


def read_classes(member: Member, where: str) -> list[str] | BadInput:
    """Return the sorted classes of the objects of a VOC annotation, difficult ones included; or what is wrong with it."""
    place = f"{where}: {member.name}"
    try:
        root = _parse(member.read())
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # of encodings, too
        return BadInput(place, f"not XML ({reason(error)})", "a VOC annotation")
    if root.tag != "annotation":
        return BadInput(place, f"XML of <{root.tag[:80]}>", "a VOC annotation")
    names = set()
    for node in root.findall("object"):
        name = (node.findtext("name") or "").strip()
        if name.lower() in PARTS:
            continue
        if _plain(name) not in BY_NAME:
            return unknown(f"{place}: class", name[:80], CLASSES[1:])
        names.add(BY_NAME[_plain(name)])
    return sorted(names)


def _parse(data: bytes) -> ElementTree.Element:
    """Parse XML, also in the encodings that Python knows and its parser does not."""
    try:
        return ElementTree.fromstring(data)
    except (ValueError, LookupError):
        named = re.match(rb"""\s*<\?xml[^>]*?encoding=["']([\w.-]+)["']""", data)
        return ElementTree.fromstring(data.decode(named[1].decode() if named else "utf-8"))


# ---------------------------------------------------------------- CSVs


def read_label_file(path: Path) -> dict[str, list[str]]:
    """Read a CSV of image-level labels: classes by image id.

    One line an image, with classes parted by blanks, commas, semicolons or columns; or one line an object, where the lines
    of an image stand together. Raises BadInput that names the file and the line.
    """
    where = f"--image-labels {path}"
    if not path.is_file():
        raise BadInput(where, "no such file", f"boxes, masks, or {EXPECTED}")
    rows = []
    for number, (name, *fields) in _rows(path):
        image_id = SUFFIX.sub("", name.strip())
        if not ID.fullmatch(image_id):
            raise BadInput(
                f"{where}: line {number}", f"has {name[:80]!r} for an image", "an image id, then its classes"
            )
        rows.append((number, image_id, class_names(",".join(fields), f"{where}: image {image_id}")))
    an_object = all(len(names) <= 1 for _, _, names in rows)  # a line
    tags: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    before = ""
    for number, image_id, names in rows:
        old = tags.get(image_id, names)
        if sorted(old) != sorted(names):
            if not (an_object and old and names and image_id == before):
                found = f"names image {image_id} again, with other classes than line {lines[image_id]}"
                together = "one line an image, or one an object, those of an image together"
                raise BadInput(f"{where}: line {number}", found, together)
            names = list(dict.fromkeys([*old, *names]))
        tags[image_id], lines[image_id], before = names, number, image_id
    return tags


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows below the header, each with the number of its line."""
    try:
        text = decode_text(path.read_bytes())
        if "\0" in text:
            raise ValueError("it holds zero bytes")
    except (ValueError, OSError) as error:
        raise BadInput(path, f"not a CSV ({reason(error)})", EXPECTED) from None
    header = next(iter(text.splitlines()), "")
    separator = next((mark for mark in ",;\t" if mark in header), ",")
    try:
        reader = csv.reader(
            io.StringIO(text.replace("\r\n", "\n").replace("\r", "\n")), delimiter=separator, strict=True
        )
        first = next(reader, [])
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise BadInput(path, f"not a CSV ({reason(error)})", EXPECTED) from None
    named = [field.strip().lower() for field in first]
    if named[:2] != ["image", "classes"] or any(named[2:]):
        raise BadInput(path, f"begins with {first}"[:300], "image,classes")
    return [(number, row) for number, row in rows if any(field.strip() for field in row)]
