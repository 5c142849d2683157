"""Names that become paths: what is one plain component of a path, and nothing else.

Presets, data sets, runs, images and files are named by people, in options and in files. Such a name passes here before
it touches the disk: so nothing is written, read or deleted but where the program put it.

in: a name from an option or a file -> out: what is wrong with it, or nothing
"""

import os
import re
import unicodedata

LONGEST = 200  # bytes: file systems take 255, and what is written beside a name is called .<name>.<what it is>
ORDINARY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{,98}[A-Za-z0-9_-])?")  # what nearly all names are
PLAIN = "a plain name: no / or \\, no leading . or -, at most 200 bytes"
# Names that Windows, and disks shared with it, keep for devices, whatever suffix is behind them.
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10))}


def fault_of_name(name: str) -> str:
    """Say why a name cannot be one component of a path; empty where it can."""
    if ORDINARY.fullmatch(name) and name.partition(".")[0].lower() not in RESERVED:
        return ""
    if not name:
        return "empty"
    if "/" in name or "\\" in name:
        return "a path, not a name"
    if name[0] in ".-":
        return f"begins with {name[0]}"
    if name != name.strip() or name.endswith("."):
        return "ends with a dot, or begins or ends with a blank"
    if any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in name):
        return "holds control characters"
    if name.partition(".")[0].lower() in RESERVED:
        return "kept for a device by Windows"
    try:
        encoded = os.fsencode(name)
        name.encode()
    except UnicodeEncodeError:
        return "not text that this system can write as a path (see LC_ALL)"
    return "" if len(encoded) <= LONGEST else f"{len(encoded)} bytes long"


def is_plain_name(name: object) -> bool:
    """Whether a value is one plain component of a path."""
    return isinstance(name, str) and not fault_of_name(name)


def is_inner_path(path: object) -> bool:
    """Whether a value is a relative path of plain components, which leads nowhere but below its folder."""
    return isinstance(path, str) and all(map(is_plain_name, path.split("/")))


def made_plain(name: str) -> str:
    """Return a name as it is where it is plain, else the nearest one that is: for what is called after a user's file."""
    if is_plain_name(name):
        return name
    kept = "".join(letter if letter.isalnum() or letter in " ._-+()[]@,=" else "_" for letter in name)
    kept = kept.encode(errors="replace")[:100].decode(errors="ignore").strip(" .-")
    return next((one for one in (kept, f"file-{kept}") if is_plain_name(one)), "file")
