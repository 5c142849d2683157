"""Files that are whole or not there, and digests of what they say.

What must be whole is written to a name of its own beside its place, and renamed into it; before the renaming the lease on the
folder is looked at (`lease.py`), so that a process that lost it writes nothing.
"""

import codecs
import contextlib
import glob
import hashlib
import json
import lzma
import os
import re
import secrets
import shutil
import stat
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from swdb.core.errors import DiskRefused, MissingArtefact, disk_error
from swdb.core.lease import check_lease

# All that zipfile, numpy and the file system raise over the bytes of an .npz that they cannot make sense of.
BROKEN_NPZ = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError,
    LookupError, ArithmeticError, RuntimeError, AttributeError, MemoryError,
)  # fmt: skip

MARKS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
OURS = re.compile(
    r"\..+\.[0-9a-f]{12}\.(?:tmp|old)", re.DOTALL
)  # what is written beside its place, and what is to be deleted


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, with a name that nobody else uses, and rename it into place at the end.

    A reader never sees half a file; a kill or an error leaves the old one. Raises DiskRefused for what the disk does not
    take, for a device or a pipe in the place, and LeaseLost.
    """
    _check_replaceable(path)
    temporary = path.with_name(f".{_first_bytes(path.name)}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        check_lease(path)
        os.replace(temporary, path)
    except DiskRefused as error:  # of who wrote the temporary file in the same way: nobody knows that by name
        if error.subject == temporary:
            raise DiskRefused(path, error.found) from error
        raise
    except OSError as error:
        check_lease(path)  # who took this over has perhaps swept what is missing
        raise disk_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_replaceable(path: Path) -> None:
    """Refuse a place that must not be renamed away: a device, a pipe, or a link to an open file, as /dev/stdout is one."""
    try:
        kind = path.stat().st_mode
        open_file = path.is_symlink() and os.readlink(path).startswith("/proc/")
    except OSError:  # nothing is there, or writing will say what is the matter
        return
    if open_file or not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise DiskRefused(path, "is a device or a pipe, which a file would take the place of", "the name of a file")


def _first_bytes(name: str) -> str:
    """Return the beginning of a name, so that something fits behind it: file systems count bytes."""
    return os.fsencode(name)[:150].decode(sys.getfilesystemencoding(), "ignore")


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a stream whose bytes then appear under `path`; raises as `replacing` does.

    They are sent to the disk first, so that not even a power cut leaves an empty file.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, whatever the locale; bytes of paths that are no text are written as escapes."""
    content = text.encode("utf-8", "backslashreplace")
    write_atomic(path, lambda stream: stream.write(content))


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write JSON atomically, indented for people or, with None, as short as it gets."""
    write_text(path, json_text(value, indent) + "\n")


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return JSON with letters as they are, but for paths that are no text: JSON's own escapes give them back as they were."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def decode_text(data: bytes) -> str:
    """Return text from its bytes: UTF-8, with or without a mark in front, or UTF-16 or UTF-32 with one.

    Raises UnicodeDecodeError for anything else: what an unmarked file of another encoding means can only be guessed.
    """
    for mark, encoding in MARKS:
        if data.startswith(mark) and len(data) > len(mark):
            return data.decode(encoding)
    return data.decode("utf-8-sig")


def is_pipe(path: Path) -> bool:
    """Whether a pipe or a device is in the place of a file: whoever reads it may wait for ever."""
    return path.exists() and not (path.is_file() or path.is_dir())


def read_json(path: Path) -> Any:
    """Read a JSON file of ours; raises MissingArtefact if it is missing or damaged."""
    try:
        if is_pipe(path):
            raise ValueError
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingArtefact(path, "missing") from None
    except (ValueError, RecursionError, IsADirectoryError):  # ValueError: no UTF-8, no JSON, a number too long
        raise MissingArtefact(path, "damaged", "JSON") from None


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return what JSON has between braces (`object_pairs_hook`); raises ValueError where a key stands there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


@contextmanager
def damage_of(path: Path, what: str = "a record") -> Iterator[None]:
    """Turn what JSON of another form raises, in a block that only reads from it, into MissingArtefact with the file's name."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ArithmeticError):
        raise MissingArtefact(path, "damaged", what) from None


def sweep_temporary(folder: Path, name: str = "") -> None:
    """Delete what killed writers left half written in a folder; only for whoever holds the lease on it.

    name: of the one file that the lease is on, where others write into the folder.
    """
    with contextlib.suppress(OSError):
        for path in folder.glob(f".{glob.escape(name)}*.tmp"):
            if OURS.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    path.unlink()


def set_aside(folder: Path) -> Path | None:
    """Rename a folder to what `sweep_aside` deletes; returns its new place, None where there is none. Raises OSError."""
    if not folder.exists():
        return None
    return folder.replace(folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.old"))


def sweep_aside(folder: Path) -> None:
    """Delete what was set aside of a folder, by a killed process too, as far as the disk lets us."""
    for old in folder.parent.glob(f".{glob.escape(folder.name)}.*.old"):
        if OURS.fullmatch(old.name):
            shutil.rmtree(old, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that a kill leaves nothing of it that would be taken for whole; raises DiskRefused."""
    try:
        if (aside := set_aside(folder)) is not None:
            if aside.is_symlink():
                aside.unlink()  # what a link leads to is not ours
            else:
                shutil.rmtree(aside)
        sweep_aside(folder)
    except OSError as error:
        raise disk_error(error, folder) from error


def digest(value: Any) -> str:
    """Return the sha256 of a JSON-like value, as hex; keys are sorted, so equal values have equal digests."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_intact(path: Path, sha256: str) -> bool:
    """Whether a file is there with the bytes that were recorded."""
    return path.is_file() and file_digest(path) == sha256


def tree_root(contents: Mapping[Path, str]) -> str:
    """Return one sha256 over relative paths and the digests of their contents, whatever order they come in."""
    total = hashlib.sha256()
    for path, content in sorted(contents.items(), key=lambda item: item[0].parts):
        total.update(f"{path.as_posix()}\0{content}\n".encode())
    return total.hexdigest()
