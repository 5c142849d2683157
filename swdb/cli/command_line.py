"""The command line as it was typed, and other ones that are proposed: with the options that lead back to the same study.

in: words as typed -> out: commands to print
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PRESET, DEFAULT_WORKDIR = "synthetic", Path("work")
UNUSUAL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
KEPT = ("weights", "cues")  # files that a work directory keeps where its preset cannot do without them
DECIDING = {  # options that decide what is made, by the commands that take them
    **dict.fromkeys(("make-proxy", "train", "eval", "reproduce-table", "make"), ("precision", *KEPT)),
    "plan": KEPT,
    "bench": ("precision",),
}
PROXY_SEEDS = "--proxy-seeds"  # a word that tells one study from another
OF_BOTH = ("prepare-voc", "make", "bench")  # commands that are the same for both studies


def joined(words: Iterable[str]) -> str:
    """Return words as a shell reads them back, whatever they are made of, on one line."""
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """Return a word as a shell reads it back; control characters, and bytes that are no text, as bash's escapes."""
    if not UNUSUAL.search(word):
        return shlex.quote(word)
    letters = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}" for byte in os.fsencode(word))
    return f"$'{''.join(letters)}'"


@dataclass(frozen=True)
class CommandLine:
    """What stands behind `swdb`."""

    words: tuple[str, ...] = ()

    @property
    def verb(self) -> str:
        """The command's name; empty where none was typed."""
        return next((word for word in self.words if not word.startswith("-")), "")

    def option(self, name: str) -> str | None:
        """Return the value of an option, the last one where it was typed twice; None where it was not."""
        found = [value or "" for typed, value in self._options() if typed == f"--{name}"]
        return found[-1] if found else None

    @property
    def empty_option(self) -> str | None:
        """The first option that was given an empty value, as a variable of a script that nobody set gives; None where none was."""
        return next((name for name, value in self._options() if value == ""), None)

    def _options(self) -> Iterator[tuple[str, str | None]]:
        """Yield options as they were typed, each with the value that it has if it takes one; None where nothing follows."""
        for word, following in zip(self.words, (*self.words[1:], None), strict=True):
            name, equals, value = word.partition("=")
            if name.startswith("--"):
                yield name, value if equals else following

    @property
    def preset(self) -> str:
        """The preset's name or file."""
        return self.option("dataset") or self.option("preset") or DEFAULT_PRESET

    @property
    def workdir(self) -> Path:
        """The work directory."""
        found = self.option("workdir")
        return DEFAULT_WORKDIR if found is None else Path(found)

    def place_in_workdir(self, path: Path) -> tuple[str, ...] | None:
        """Return where a path lies in the work directory, part by part; None where it lies elsewhere."""
        try:
            return path.absolute().relative_to(self.workdir.absolute()).parts
        except ValueError:
            return None

    def again(self, *more: str, without: str = "") -> str:
        """Return the same command, with more words behind it, and perhaps without one."""
        kept = [word for word in self.words if word != without]
        return joined(["swdb", *kept, *(word for word in more if word not in kept)])

    def other(self, verb: str, *words: str, preset: str | None = None, kept: Sequence[str] = ()) -> str:
        """Return another command on the same study; `kept` names the files that need not be named again."""
        options = ["--preset", preset or self.preset]
        if self.workdir != DEFAULT_WORKDIR:
            options += ["--workdir", str(self.workdir)]
        deciding = [name for name in DECIDING.get(verb, ()) if name not in kept]
        if "weights" in deciding:
            deciding.append("preprocessing")  # which belongs to the weights, and is kept with them
        for name in deciding:
            if (value := self.option(name)) is not None:
                options += [f"--{name}", value]
        if PROXY_SEEDS in self.words and verb not in OF_BOTH:
            options.append(PROXY_SEEDS)
        return joined(["swdb", verb, *words, *options])

    def __str__(self) -> str:
        return joined(["swdb", *self.words])
