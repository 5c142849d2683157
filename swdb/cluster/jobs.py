"""What of a study becomes a job of a cluster, and what is noted of the jobs that were submitted.

A job makes one artefact, with what belongs to it: the scores of a run and what its recognizer finds; the quality report of a
set of proxies and its network's score. What needs
no training (the data set, weights and cues that are read from a file) is made before any job is submitted.

in: artefacts to be made -> out: jobs, inputs before what is made from them; `slurm/jobs.json` in the work directory
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, read_json, write_json

FOLDER = "slurm"  # below the work directory
VERSION = 1  # of jobs.json


@dataclass
class Job:
    """One job: the artefacts that it makes, the first of which it is called after."""

    artefacts: list[Artefact]

    @property
    def name(self) -> str:
        """What it is called in the queue."""
        return self.artefacts[0].id

    @property
    def inputs(self) -> list[Artefact]:
        """What must be finished when it begins."""
        own = {artefact.id for artefact in self.artefacts}
        inputs = {other.id: other for artefact in self.artefacts for other in artefact.inputs}
        return [other for other in inputs.values() if other.id not in own]


@dataclass(frozen=True)
class Noted:
    """What is noted of a job that was submitted."""

    job: str  # its number in the queue
    name: str
    submitted: str = ""  # local time, for people


def needs_no_training(artefact: Artefact) -> bool:
    """Whether an artefact is made in the command itself."""
    return not any(one.steps for one in with_inputs(artefact))


def as_jobs(todo: Iterable[Artefact]) -> list[Job]:
    """Put artefacts that are not finished into jobs, in the order given: inputs come first."""
    jobs: dict[str, Job] = {}  # by the id of whose job it is
    for artefact in todo:
        jobs.setdefault(_owner(artefact).id, Job([])).artefacts.append(artefact)
    return list(jobs.values())


def _owner(artefact: Artefact) -> Artefact:
    """Return in whose job an artefact is made: what is said of a run in that of the run, what is said of proxies in theirs."""
    kind = {"score": "run", "recognition": "run", "dsrg-score": "proxies", "quality": "proxies"}.get(artefact.kind, "")
    owners = artefact.inputs_of(kind)
    return owners[0] if len(owners) == 1 else artefact


# ---------------------------------------------------------------- on disk


def jobs_path(workdir: Path) -> Path:
    """Return where the jobs of a work directory are noted."""
    return workdir / FOLDER / "jobs.json"


def read_jobs(workdir: Path) -> dict[str, Noted]:
    """Read which job makes which artefact, or renders which tables; raises MissingArtefact where the file is damaged."""
    path = jobs_path(workdir)
    if not path.is_file():
        return {}
    with damage_of(path, "a list of jobs"):
        found = read_json(path)
        if found["version"] != VERSION:
            raise MissingArtefact(path, f"of version {found['version']}", f"version {VERSION}")
        return {name: Noted(**entry) for name, entry in found["jobs"].items()}


def note_job(workdir: Path, names: Iterable[str], job: str, called: str) -> None:
    """Note a job under all that it makes; only for whoever holds the lease on the file."""
    noted: Mapping[str, Noted] = read_jobs(workdir)
    new = Noted(job, called, f"{datetime.now():%Y-%m-%d %H:%M:%S}")
    entries = {name: vars(one) for name, one in {**noted, **dict.fromkeys(names, new)}.items()}
    write_json(jobs_path(workdir), {"version": VERSION, "jobs": entries})
