"""Arrays of decoded pixels on the disk: written whole, and opened only where their bytes are those that were written.

Whoever trains looks at these and never at the files again, so a damaged one would train to other weights and say nothing.

in: shapes, and whatever fills them -> out: .npy files, memory-mapped; beside them a record of what they are and their sha256
"""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.errors import MissingArtefact
from swdb.core.files import file_digest, read_json, replacing, write_json
from swdb.core.parallel import in_order


@contextmanager
def new_array(path: Path, shape: tuple[int, ...], fill: int) -> Iterator[np.ndarray]:
    """Give a memory-mapped uint8 .npy to be filled, which appears under its name only when it is."""
    with replacing(path) as temporary:
        if shutil.disk_usage(path.parent).free < np.prod(shape):  # a full disk kills a writer of mapped memory
            raise OSError(errno.ENOSPC, "No space left on device")
        array = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        _take_room(temporary)
        if fill:
            array[:] = fill
        yield array
        array.flush()


def _take_room(path: Path) -> None:
    """Take the room on the disk that a file will need, where the system can: raises OSError where it is not there."""
    with path.open("r+b") as stream, suppress(AttributeError):
        try:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise


def record_arrays(record: Path, of: Mapping[str, Any], names: Sequence[str]) -> list[np.ndarray]:
    """Record arrays that lie beside the record, what they were decoded from and the sha256 of each; and open them."""
    write_json(record, {**of, "sha256": _digests(record.parent, names)})
    return _mapped(record.parent, names)


def open_arrays(record: Path, of: Mapping[str, Any], names: Sequence[str]) -> list[np.ndarray] | None:
    """Open recorded arrays, memory-mapped; None where one is missing, damaged, or decoded from anything else than `of`."""
    try:
        found = read_json(record)
        if not isinstance(found, dict) or found != {**of, "sha256": found.get("sha256")}:
            return None  # before gigabytes are read
        return _mapped(record.parent, names) if found["sha256"] == _digests(record.parent, names) else None
    except (MissingArtefact, OSError):
        return None


def _mapped(folder: Path, names: Sequence[str]) -> list[np.ndarray]:
    return [np.load(folder / name, mmap_mode="r") for name in names]


def _digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, in_order(lambda name: file_digest(folder / name), names), strict=True))
