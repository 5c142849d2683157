"""Files that are whole or not there, digests of what they say, and one writer at a time per work directory."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from swdb.core.errors import BadInput, MissingArtefact

Progress = Callable[[int, int], None]  # is told (done, of)
Stage = Callable[..., Progress]  # begins a stage of long work: (name, total, counts=False)

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; there the user keeps the order himself
    fcntl = None  # type: ignore[assignment]


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to the disk, and rename it into place.

    A reader never sees half a file, a kill leaves the old one. Raises BadInput where the disk is full or read-only.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def disk_error(error: OSError, path: Path) -> Exception:
    """Turn what the disk refuses into a line for the user; anything else stays as it is."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return BadInput(
            f"the disk is full: {path} could not be written; free some space and run the same command again, it continues"
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return BadInput(f"{path} cannot be written (no permission); choose another place with --workdir DIR")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return BadInput(
            f"{path} cannot be written: a part of its path is a file; choose another place with --workdir DIR"
        )
    if error.errno in (errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO):
        return BadInput(f"{path} cannot be used ({error.strerror}); choose another place with --workdir DIR")
    return error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomic(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write JSON atomically, indented for people or, with None, as short as it gets."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def read_json(path: Path, mend: str) -> Any:
    """Read a JSON file of ours; raises MissingArtefact with the command `mend` if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise MissingArtefact(f"{path} is missing; run: {mend}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise MissingArtefact(f"{path} is damaged (not JSON); delete it and run: {mend}") from None


def digest(value: Any) -> str:
    """Return the sha256 of a JSON-like value, as hex; keys are sorted, so equal values have equal digests."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_root(contents: Mapping[Path, str]) -> str:
    """Return one sha256 over relative paths and the digests of their contents, whatever order they come in."""
    total = hashlib.sha256()
    for path, content in sorted(contents.items(), key=lambda item: item[0].parts):
        total.update(f"{path.as_posix()}\0{content}\n".encode())
    return total.hexdigest()


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a work directory for this process; a kill frees it. Raises BadInput if another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("a+")
    except OSError as error:
        raise disk_error(error, folder) from error
    with stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                holder = stream.read().strip() or "unknown"
                raise BadInput(
                    f"another swdb command (process {holder}) is working in {folder}; wait for it, or choose another place with --workdir DIR"
                ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
