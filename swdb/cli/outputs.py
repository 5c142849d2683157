"""Files that somebody names to be written: nothing is replaced but what the same command wrote there before."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from swdb.core.errors import BadInput, NotOurs

MOST_READ = 2000  # characters of a file that is to be replaced: its head


def require_replaceable(option: str, path: Path, is_ours: Callable[[Path], bool], what: str) -> None:
    """Refuse a folder, a device, and a file that `is_ours` does not know; `what`: a report, say. Empty files are nobody's."""
    if path.is_dir():
        raise BadInput(f"{option} {path}", "is a folder", "the name of a file")
    if path.exists() and not path.is_file():
        raise BadInput(f"{option} {path}", "is no file", "the name of one")
    if path.is_file() and path.stat().st_size and not is_ours(path):
        raise NotOurs(path, f"is no {what} of swdb's", f"a new name, or an earlier {what}")


def head(path: Path) -> str:
    """Return how a file begins."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(MOST_READ)


def is_bundle(path: Path) -> bool:
    """Whether a file is a zip in which a bundle says what it is; whether that holds is another matter."""
    from swdb.evidence.layout import ABOUT

    try:
        with zipfile.ZipFile(path) as packed:
            return ABOUT in packed.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
