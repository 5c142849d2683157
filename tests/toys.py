"""Artefacts that are made in no time, to see what a runner does: `python toys.py FOLDER [NAME]` works at all of them.

What is made is noted in `FOLDER/made.log`, a line each time. A process that is given a NAME says so when it comes to
making that artefact, and goes on when it is sent a line.
"""

import os
import sys
from pathlib import Path
from typing import Any

from swdb.core.artefact import Artefact, artefact_id
from swdb.core.files import digest, write_text
from swdb.study import runner, stages

NAMES = ("root", "a", "b", "c", "end")  # a, b and c are made from the root, the end from those


class Toy:
    """A stage that writes down what it is handed."""

    kind, version, folder = "toy", 1, "toys"

    def __init__(self, halts_at: str = ""):
        self.halts_at = halts_at

    def make(self, artefact: Artefact, tools: Any) -> dict[str, Any]:
        with (artefact.folder.parents[1] / "made.log").open("a") as log:
            log.write(f"{artefact.name} {os.getpid()}\n")
        if artefact.name == self.halts_at:
            print(f"making {artefact.name}", flush=True)
            sys.stdin.readline()
        write_text(artefact.folder / "result.txt", artefact.name)
        return {"digest": digest([artefact.name, *(other.digest() for other in artefact.inputs)])}


def planned(folder: Path) -> dict[str, Artefact]:
    """Plan the five artefacts, by name."""
    found: dict[str, Artefact] = {}
    for name in NAMES:
        inputs = {"root": (), "end": tuple(found[one] for one in "abc" if one in found)}.get(name, (found.get("root"),))
        identity = artefact_id(name, "toy", 1, {}, inputs)
        found[name] = Artefact("toy", name, identity, folder / "toys" / identity, inputs=inputs)
    return found


def made(folder: Path) -> list[str]:
    """Return the names of what was made, in order."""
    path = folder / "made.log"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


class Speaker:
    """An observer that prints what it is told."""

    def progress(self, name: str, total: int, counts: bool = False):
        return lambda done, of: None

    def tell(self, line: str) -> None:
        print(line, flush=True)


if __name__ == "__main__":
    folder, halts_at = Path(sys.argv[1]), "".join(sys.argv[2:])
    stages.STAGES["toy"] = Toy(halts_at)
    runner.POLL = 0.02
    worker = runner.Runner(None, Speaker(), doing="playing")
    print("ready", flush=True)
    sys.stdin.readline()
    worker.make(planned(folder).values())
