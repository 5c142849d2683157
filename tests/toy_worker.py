"""Workers that make toys: `planned` lays out a study of no work, and this file, run as a program, is one of its workers.

How an artefact behaves stands in `FOLDER/behaviour.json`, by its name: `kill` (the process kills itself), `exit`, `interrupt`, `fail`
(the stage refuses), `bug`, `full` (the disk is), `lost` (another process took it over), `slow` (a minute, unless it is
interrupted); a number behind it says how often, as in `kill 1`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import toys

from swdb.core.artefact import Artefact, artefact_id
from swdb.core.errors import BadInput, DiskRefused, LeaseLost
from swdb.core.files import write_text
from swdb.study import stages, worker

PROGRAM = (sys.executable, __file__)


class Behaving(toys.Toy):
    """A stage that does what is asked of it before it makes a toy."""

    def make(self, artefact: Artefact, tools: Any) -> dict[str, Any]:
        folder = artefact.folder.parents[1]
        behaviour = json.loads((folder / "behaviour.json").read_text())
        kind, _, times = behaviour.get(artefact.name, "").partition(" ")
        if kind and len([name for name in toys.made(folder) if name == artefact.name]) < int(times or 99):
            with (folder / "made.log").open("a") as log:
                log.write(f"{artefact.name} {os.getpid()}\n")
            getattr(self, kind)(artefact, tools)
        return super().make(artefact, tools)

    def kill(self, artefact, tools):
        print(f"the last words of {artefact.name}", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)

    def exit(self, artefact, tools):
        os._exit(7)

    def interrupt(self, artefact, tools):
        raise KeyboardInterrupt

    def fail(self, artefact, tools):
        raise BadInput(artefact.name, "cannot be made")

    def bug(self, artefact, tools):
        raise ZeroDivisionError("a bug")

    def full(self, artefact, tools):
        raise DiskRefused(artefact.folder, "the disk is full")

    def lost(self, artefact, tools):
        raise LeaseLost(artefact.folder, "taken over by somebody")

    def slow(self, artefact, tools):
        advance = tools.progress(artefact.name, 100)
        try:
            for second in range(60):
                advance(second, 60)
                time.sleep(1)
        except KeyboardInterrupt:
            write_text(artefact.folder / "saved.txt", "saved")
            raise


def planned(folder: Path, count: int = 3, **behaviour: str) -> list[Artefact]:
    """Plan a root, `count` artefacts that are made from it, and an end of each of those."""
    (folder / "behaviour.json").write_text(json.dumps(behaviour))
    root = _toy(folder, "root")
    middle = [_toy(folder, f"m{k}", root) for k in range(count)]
    return [root, *middle, *(_toy(folder, f"e{k}", one) for k, one in enumerate(middle))]


def _toy(folder: Path, name: str, *inputs: Artefact) -> Artefact:
    identity = artefact_id(name, "toy", 1, {}, inputs)
    return Artefact("toy", name, identity, folder / "toys" / identity, inputs=inputs)


if __name__ == "__main__":
    stages.STAGES["toy"] = Behaving()
    sys.exit(worker.main(int(sys.argv[-1])))
