"""Errors that a user can do something about, each with what it is about, what was found and what was expected.

    SwdbError
    ├── BadInput (2)              what was typed or handed over is wrong: a name, a key, a file's contents
    │   ├── IncompleteSource      a source lacks files that its own lists name
    │   ├── OtherStudy            a bundle that does not belong with the others: of other settings, data or numbers
    │   └── DiskRefused           the disk is full, read-only, or the system refuses the path for another reason
    │       └── NotOurs           in the place of what is to be made is what the program did not make
    └── MissingArtefact (3)       something a command needs is not there, unfinished or damaged
        ├── NotMade               it has not been made yet, or is under way: nothing is wrong with what is there
        ├── NotNamed              a file that the preset cannot do without has never been named
        └── LeaseLost             another process took over what this one was making

Nothing here knows the command line: `cli/hints.py` turns an error into the command that helps. Every OSError about a path
is a DiskRefused, whatever its number. Anything else that is raised is a bug of ours, and its traceback is kept in a file.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

MOST_LISTED = 30  # known words that fit an error's line


class SwdbError(Exception):
    """Base of all errors that are shown as one line: `subject: found; expected ...`.

    subject: a path, an option as it was typed, or a name. near: the known word that was probably meant, if any.
    """

    exit_code = 2

    def __init__(self, subject: Path | str, found: str, expected: str = "", near: str = ""):
        super().__init__(subject, found, expected, near)  # as arguments, so that errors travel between processes
        self.subject, self.found, self.expected, self.near = subject, found, expected, near

    def __str__(self) -> str:
        line = f"{self.subject}: {self.found}"
        return f"{line}; expected {self.expected}" if self.expected else line


class BadInput(SwdbError):
    """Wrong usage or wrong input; exit code 2."""


class IncompleteSource(BadInput):
    """A source of a data set lacks what its own lists promise; exit code 2."""


class OtherStudy(BadInput):
    """A bundle that does not belong with those that it is to join; exit code 2."""


class DiskRefused(BadInput):
    """The disk does not take what is to be written; exit code 2."""


class NotOurs(DiskRefused):
    """What the program did not make is in the place of what it is to make; exit code 2."""


class MissingArtefact(SwdbError):
    """A needed artefact is missing or damaged; exit code 3."""

    exit_code = 3


class NotMade(MissingArtefact):
    """What a command needs has not been made yet; exit code 3."""


class NotNamed(MissingArtefact):
    """A file that the preset needs was never named; the subject is the option that names it; exit code 3."""


class LeaseLost(MissingArtefact):
    """Another process has taken over what this one was making; exit code 3."""


def unknown(what: str, word: str, known: Iterable[str]) -> BadInput:
    """Return the error for a word that is not among the known ones, with the one that was probably meant."""
    known = sorted(known)
    if near := nearest(word, known):
        return BadInput(f"{what} {word!r}", "unknown", near=near)
    return BadInput(f"{what} {word!r}", "unknown", ", ".join(known) if len(known) <= MOST_LISTED else "")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that was probably meant; empty where none is like it."""
    return next(iter(get_close_matches(word, known, n=1, cutoff=0.5)), "")


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """End a program with an error's line in place of its traceback: for tools that are no commands of swdb, which has hints, too."""
    try:
        yield
    except SwdbError as error:
        raise SystemExit(f"error: {error}") from None


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSALS = {  # in words that say more than the system's
    **dict.fromkeys(FULL, "the disk is full"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "cannot be written (no permission)"),
    errno.EROFS: "cannot be written (the disk is read-only)",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "cannot be written (a part of its path is a file)"),
}


def disk_error(error: OSError, path: Path | str) -> DiskRefused:
    """Turn whatever the system refuses about a path into an error for the user, in the system's words where we have none."""
    known = REFUSALS.get(error.errno) if error.errno is not None else None
    return DiskRefused(path, known or f"cannot be used ({reason(error)})")


def system_error(error: OSError, path: Path | str) -> BadInput:
    """Turn what the system refuses, in reading or writing, into an error for the user, about the file that it names if it does."""
    name = error.filename
    place = Path(os.fsdecode(name)) if isinstance(name, str | bytes) and name else path
    forbidden = error.errno in (errno.EACCES, errno.EPERM)
    if forbidden and os.path.isfile(place) and not os.access(place, os.R_OK):
        return BadInput(place, f"cannot be read ({reason(error)})", "a file that can")
    return disk_error(error, place)


def reason(error: BaseException) -> str:
    """Return an error's own words in one short line, or its kind where it has none."""
    words = str(getattr(error, "strerror", None) or error)[:200]
    return " ".join("".join(sign if sign.isprintable() else " " for sign in words).split()) or type(error).__name__
