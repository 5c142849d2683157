"""The two streams that commands write to: whatever the terminal can show, whoever reads, and whether anybody does.

Signs that the terminal's encoding lacks become ASCII that looks like them, and bytes of paths that are no text are shown
as escapes, so printing never fails for what is printed. That results cannot be written is an error; that progress
cannot be shown is none, and the work goes on.

in: text -> out: stdout, stderr
"""

import errno
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from swdb.core.errors import DiskRefused, disk_error

STDOUT = "standard output"
# What is printed here, in ASCII: dashes, signs of tables, arrows, quotes, what bars and frames are drawn with.
LOOK_ALIKES = {
    **dict.fromkeys("‐‑‒–−─━╌╴╶╸╺", "-"), "—": "-", "±": "+/-", "×": "x", "→": "->", "←": "<-", "…": "...", "≤": "<=",
    "≥": ">=", "≈": "~", "·": ".", "•": "*", "°": " deg", "µ": "u", **dict.fromkeys("‘’", "'"), **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("│┃", "|"), **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰", "+"), **dict.fromkeys("█▏▎▍▌▋▊▉", "#"), "ß": "ss",
}  # fmt: skip


def shown(text: str, encoding: str) -> str:
    """Return text as an encoding can show it: look-alikes for signs that it lacks, escapes for bytes that are no text."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(character if _fits(character, encoding) else _look_alike(character) for character in text)
    except LookupError:  # an encoding that Python does not know
        return shown(text, "ascii")
    return text


def on_one_line(text: str) -> str:
    """Return text in which control characters are escaped: what files and options say cannot steer a terminal."""
    return "".join(
        character if character.isprintable() or "\udc80" <= character <= "\udcff" else _escaped(character)
        for character in text
    )


def _fits(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _look_alike(character: str) -> str:
    if character in LOOK_ALIKES:
        return LOOK_ALIKES[character]
    base = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()  # ö is shown as o
    return base or _escaped(character)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a path that is no text
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("ascii", "backslashreplace").decode() if number > 127 else repr(character)[1:-1]


class Stream:
    """A text stream over another one, which may be None: closed before the program began."""

    def __init__(self, stream: TextIO | None, needed: bool):
        self._stream, self._needed = stream, needed

    @property
    def encoding(self) -> str:
        """What the stream's bytes are."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    errors = "strict"

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """Return the file's number; raises OSError where there is none."""
        if self._stream is None:
            raise OSError(errno.EBADF, "closed")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write text as the encoding can show it; raises DiskRefused where it is needed and refused."""
        if not isinstance(text, str):
            raise TypeError("text is expected")
        if text:
            self._try(lambda stream: stream.write(shown(text, self.encoding)))
        return len(text)

    def flush(self) -> None:
        """Send on what is written; raises as `write` does."""
        if self._stream is not None:
            self._try(lambda stream: stream.flush())

    def _try(self, do) -> None:
        try:
            if self._stream is None:
                raise ValueError
            do(self._stream)
        except (OSError, ValueError) as error:  # ValueError: closed meanwhile
            _forget(self._stream)
            if not self._needed:
                return
            self._stream = None
            if isinstance(error, BrokenPipeError):
                raise DiskRefused(STDOUT, "nobody reads it any more (Broken pipe)") from None
            raise (
                disk_error(error, STDOUT) if isinstance(error, OSError) else DiskRefused(STDOUT, "it is closed")
            ) from None


def _forget(stream: TextIO | None) -> None:
    """Let what could not be written go, so that it is not tried again when the program ends."""
    with suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()
        if number in (1, 2):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
            stream.flush()


def _occupy_closed() -> None:
    """Open nothing where stdin, stdout or stderr are closed: the next file would get their number, and what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@contextmanager
def prepared() -> Iterator[None]:
    """Put streams that never fail for what is printed in the place of the program's own while the block runs."""
    before = sys.stdout, sys.stderr
    _occupy_closed()
    sys.stdout, sys.stderr = Stream(before[0], needed=True), Stream(before[1], needed=False)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
