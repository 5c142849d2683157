"""Processes that share the work on four artefacts: `python helping.py WORK ROLE` with batches of a few images.

ROLE is `alone` or `make` (makes cues, both sets of proxies and a score, where their trainings are done; leaves others time
to help), `help` (does parts of what another process makes, until all is finished) or `die` (is killed within the first batch
that it helps with). A process says `ready`, and begins when it is sent a line; then it says a line for every part that it did.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from studies import graph_of, runner

from swdb.core.artefact import Artefact
from swdb.core.lease import Lease
from swdb.specs.tables import CellSource
from swdb.study.stages import STAGES

PAUSE = {"make": 0.3, "alone": 0.0, "help": 0.05, "die": 0.0}  # seconds after a batch, so that others have their turn


def artefacts(work: Path) -> dict[str, Artefact]:
    """Return what is shared, in the order in which it is made."""
    graph = graph_of(work)
    score = graph.score(CellSource((graph.run_spec("dual"),), "strong"), 0)
    return {"cues": graph.cues, "dsrg-1": graph.proxies(1), "dsrg-2": graph.proxies(2), "score": score}


def unmade(finished: Path, work: Path) -> dict[str, Artefact]:
    """Copy a finished work directory, and take away of the four artefacts all that no training made."""
    shutil.copytree(
        finished, work, ignore=shutil.ignore_patterns("reports", "quality.*", "masks.npy", "masks.json", "passport.*")
    )
    found = artefacts(work)
    for artefact in found.values():
        for path in artefact.folder.rglob("*"):
            if path.is_file() and path.name not in ("training.json", "weights.pt", "log.jsonl"):
                path.unlink()
    return found


def contents(artefact: Artefact) -> dict[str, bytes]:
    """Return all files of an artefact by name, but for logs, leases and what can be decoded again."""
    found = {path.relative_to(artefact.folder): path for path in artefact.folder.rglob("*") if path.is_file()}
    return {
        name.as_posix(): path.read_bytes()
        for name, path in found.items()
        if ".leases" not in name.parts and path.suffix not in (".npy", ".jsonl")
    }


def in_small_parts(note, role: str) -> None:
    """Let parts be small, take their time, and be noted; kill this process within a batch if that is its role."""
    from swdb.evaluation import evaluate
    from swdb.nn import labelling
    from swdb.proxy import cams, masks

    masks.BATCH_PIXELS["cpu"], evaluate.BATCH_PIXELS["cpu"] = 4 * 32 * 32, 1 * 32 * 32
    cams.PART, cams.BATCH = 4, 2
    labelling.PART["cpu"] = 4

    def die(name: str, content: bytes) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def watched(owner, name: str, label) -> None:
        real = getattr(owner, name)

        def slow(self, part, add) -> Iterator[int]:
            for done in real(self, part, die if role == "die" else add):
                time.sleep(PAUSE[role])
                yield done
            note(label(self, part))

        setattr(owner, name, slow)

    watched(
        labelling.Labelling,
        "_do",
        lambda this, part: [this.folder.name, [this.names[row] for rows in part for row in rows]],
    )
    watched(cams.CueMaking, "_make", lambda this, part: ["cues", [this.store.ids[row] for row in part]])


def main(work: Path, role: str) -> None:
    found = list(artefacts(work).values())
    in_small_parts(lambda part: print(json.dumps(part), flush=True), role)
    worker = runner()
    worker.dataset(found[0].input("data"))
    print("ready", flush=True)
    sys.stdin.readline()
    if role in ("make", "alone"):
        worker.make(found)
        return
    while not all(artefact.done for artefact in found):
        for artefact in found:
            if not artefact.done and Lease(artefact.leased_path).holder() is not None:
                STAGES[artefact.kind].help(artefact, worker)
        time.sleep(0.02)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
