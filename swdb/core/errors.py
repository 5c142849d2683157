"""Errors a user can mend, each with its exit code.

    SwdbError
    ├── BadInput (2)         what was typed or handed over is wrong: a name, a key, a file's contents
    └── MissingArtefact (3)  something a command needs is not there, unfinished or damaged

Every message says what was found, what was expected and which command mends it, in one line.
Anything else that is raised is a bug of ours and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class SwdbError(Exception):
    """Base of all errors that are shown as one line."""

    exit_code = 2


class BadInput(SwdbError):
    """Wrong usage or wrong input; exit code 2."""

    exit_code = 2


class MissingArtefact(SwdbError):
    """A needed artefact is missing or damaged; exit code 3."""

    exit_code = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known word was probably meant, as the end of an error message."""
    known = sorted(known)
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}"
