"""The job that goes before all others: it shows that jobs see the work directory, run this code, and have a device.

in: a cluster, the device that jobs compute on -> out: in which precision that computes; errors, before hours in a queue
"""

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swdb.cluster.jobs import FOLDER
from swdb.cluster.slurm import Cluster, Queued, cancel, queue
from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.core.files import read_json, write_json
from swdb.core.identity import Code

NAME = "swdb-probe"
POLL = 1.0  # seconds between two looks
GRACE = 10.0  # seconds for an answer to be seen here after its job has ended
LOG_BYTES = 2048  # at the end of a job's log


@dataclass(frozen=True)
class Probe:
    """What the job does."""

    question: Path  # a file in the work directory
    device: str
    code: Code

    @property
    def answer(self) -> Path:
        """Where it answers."""
        return self.question.with_suffix(".answer.json")

    def __call__(self) -> None:
        """Answer."""
        from swdb.nn.compute import Compute, choose_device, preferred_precision

        said = {"token": read_json(self.question)["token"]}
        try:
            self.code.check()
            device = choose_device(self.device)
            precision = preferred_precision(device)
            said |= {"precision": precision, "machine": Compute(device, precision).describe()}
        except SwdbError as error:
            said |= {"subject": str(error.subject), "found": error.found, "expected": error.expected}
        write_json(self.answer, said)


def probe(cluster: Cluster, device: str, tell: Callable[[str], None]) -> tuple[str, dict[str, Any]]:
    """Send the probe job and wait for it; returns the precision in which a job would compute, and on what.

    Raises BadInput where it does not see the work directory, has other code or no such device, or does not begin.
    """
    token = secrets.token_hex(8)
    sent = Probe(cluster.workdir / FOLDER / f"probe-{token}.json", device, Code.here())
    job = None
    try:
        write_json(sent.question, {"token": token})
        job = cluster.submit(sent, NAME)
        said = _wait(cluster, sent, job, tell)
    finally:
        if job is not None and not sent.answer.exists():
            cancel(job)
        for path in (sent.question, sent.answer):
            with suppress(OSError):
                path.unlink(missing_ok=True)
    if said.get("token") != token:
        raise _unseen(cluster, job, "wrote something else")
    if "found" in said:
        raise BadInput(f"--on slurm: {said['subject']}", f"{said['found']}, in the probe job {job}", said["expected"])
    return said["precision"], said["machine"]


def _wait(cluster: Cluster, sent: Probe, job: str, tell: Callable[[str], None]) -> dict[str, Any]:
    began, ended, last = time.monotonic(), None, ""
    while True:
        with suppress(MissingArtefact):
            os.listdir(sent.answer.parent)  # makes a network file system look again
            return read_json(sent.answer)
        known = queue()
        state = None if known is None else known.get(job, Queued(NAME, "gone", "", ""))
        if state is not None and not state.is_alive:
            ended = ended or time.monotonic()
            if time.monotonic() - ended > GRACE:
                raise _unanswered(cluster, job, state)
        if state is not None and (now := _words(state)) != last:
            tell(f"the probe job {job}: {now}")
            last = now
        if ended is None and time.monotonic() - began > 60 * cluster.options.probe:
            expected = "an answer; probe=TIME waits longer, probe=0 goes without one"
            raise BadInput(f"--on slurm: probe job {job}", f"{last} after {cluster.options.probe} minutes", expected)
        time.sleep(POLL)


def _words(state: Queued) -> str:
    reason = f" ({state.reason})" if state.reason not in ("", "None") else ""
    return f"{state.state.lower()}{f' on {state.node}' if state.node else ''}{reason}"


def _unanswered(cluster: Cluster, job: str, state: Queued) -> BadInput:
    """Return the error for a job that ended and said nothing: it wrote no log here either, or died with one."""
    log = cluster.workdir / FOLDER / "jobs" / f"{job}_0_log.err"
    with suppress(OSError):
        lines = log.read_bytes()[-LOG_BYTES:].decode("utf-8", "replace").strip().splitlines()
        if lines:
            return BadInput(
                f"--on slurm: probe job {job}", f"{_words(state)}: {lines[-1].strip()}", f"no error; see {log}"
            )
    return _unseen(cluster, job, f"ended ({_words(state)}) and wrote nothing there")


def _unseen(cluster: Cluster, job: str | None, found: str) -> BadInput:
    where = f"--workdir {cluster.workdir}"
    return BadInput(
        where, f"the probe job {job} {found}", "a folder that the nodes of the cluster share with this machine"
    )
