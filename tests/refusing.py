"""A disk that refuses one call: whichever of those that write, rename, link, list or delete comes for the COUNT-th time.

in: a folder, a number, an error -> out: the calls there were, of which one raised the error
"""

import builtins
import errno
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NUMBERS = (1, 2, 5, 12, 13, 16, 17, 18, 20, 21, 22, 23, 26, 27, 28, 30, 31, 36, 37, 38, 39, 40, 95, 110, 116, 122)
CALLS = (
    "replace",
    "rename",
    "mkdir",
    "rmdir",
    "unlink",
    "remove",
    "link",
    "symlink",
    "open",
    "listdir",
    "scandir",
    "utime",
)


@dataclass
class Disk:
    """What was asked of a folder by this thread: the calls, and which of them is refused."""

    folder: Path
    refused: int  # counted from 1; 0: none
    number: int = 5
    calls: list[str] = field(default_factory=list)

    def asked(self, call: str, place: object) -> None:
        """Count a call; raise the error where it is the one."""
        if threading.current_thread() is not threading.main_thread() or not isinstance(
            place, str | bytes | os.PathLike
        ):
            return
        path = os.path.abspath(os.fsdecode(place))
        if (
            not path.startswith(f"{self.folder}/") or "/.leases/" in path
        ):  # where a refusal may mean that another one holds it
            return
        self.calls.append(f"{call} {os.path.relpath(path, self.folder)}")
        if len(self.calls) == self.refused:
            raise OSError(self.number, os.strerror(self.number), path)


@contextmanager
def refusing(folder: Path, count: int = 0, number: int = 5) -> Iterator[Disk]:
    """Let the COUNT-th call below a folder fail while the block runs."""
    disk = Disk(folder, count, number)

    def watched(name: str, function):
        def call(place, *arguments, **options):
            disk.asked(name, arguments[0] if name in ("replace", "rename", "link", "symlink") else place)
            return function(place, *arguments, **options)

        return call

    def opened(function):
        def call(place, mode="r", *arguments, **options):
            if set(mode) & set("wax+"):
                disk.asked("write", place)
            return function(place, mode, *arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, watched(name, getattr(os, name)))
        patch.setattr(io, "open", opened(io.open))
        patch.setattr(builtins, "open", opened(builtins.open))
        yield disk


def read_only(monkeypatch) -> None:
    """Let the disk refuse to change anything, as one that is mounted read-only does: root would be allowed everything."""
    open_path = Path.open

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    def open_to_read(path, mode="r", *arguments, **options):
        return refuse() if set(mode) & set("wax+") else open_path(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_to_read)
    for function in ("replace", "rename", "mkdir", "link", "unlink"):
        monkeypatch.setattr(os, function, refuse)
