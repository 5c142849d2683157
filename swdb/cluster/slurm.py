"""Slurm, through submitit: how jobs are submitted, and what the queue says of them. With `job.py`, which is what
runs in a job, the only module that knows either; both are loaded where they are needed.

The queue, its dependencies, limits and preemption are Slurm's. Nothing of ours stays on the machine that submits.

in: jobs, the options that were typed -> out: their numbers in the queue; errors in Slurm's own words
"""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swdb.cluster.jobs import FOLDER
from swdb.core.errors import BadInput, unknown

PASSED_ON = {  # our word -> sbatch's
    **{word: word for word in ("partition", "account", "qos", "mem", "gres", "constraint", "exclude", "nodelist")},
    "gpus": "gpus_per_node",
}  # fmt: skip
KEYS = (*PASSED_ON, "reservation", "time", "cpus", "probe")
TIME, PROBE = 120, 10  # minutes: a job's limit, after which it is put into the queue again; how long the probe may take
SIGNAL = 120  # seconds before the limit, or a fifth of it: a job is told to save itself
REQUEUES = 1000  # after so many limits a job is given up; one that saved nothing new is given up at once


@dataclass(frozen=True)
class Options:
    """What was typed for `--slurm`, e.g. `partition=gpu,time=2:00:00,exclude=n1,n2`."""

    typed: str
    values: Mapping[str, str]

    @property
    def minutes(self) -> int:
        """The time limit of a job."""
        return _minutes("time", self.values["time"]) if "time" in self.values else TIME

    @property
    def probe(self) -> int:
        """How many minutes the probe job may take; 0: there is none."""
        return _minutes("probe", self.values["probe"], least=0) if "probe" in self.values else PROBE

    @property
    def gpus(self) -> bool:
        """Whether GPUs are asked for."""
        return "gpus" in self.values or "gpu" in self.values.get("gres", "")

    @property
    def cpus(self) -> int:
        """How many cores a job is given: one computes; beside a GPU, others decode."""
        text = self.values.get("cpus", "4" if self.gpus else "1")
        if not text.isdecimal() or not 0 < int(text) < 10_000:
            raise BadInput(f"--slurm cpus={text}", "not a number of cores", "1 or more")
        return int(text)


def read_options(typed: str | None) -> Options:
    """Read `--slurm`; a part without `=` belongs to the value before it. Raises BadInput."""
    values: dict[str, str] = {}
    last = ""
    for part in filter(None, (part.strip() for part in (typed or "").split(","))):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals and last:
            values[last] += f",{part}"
        elif key not in KEYS:
            raise unknown("--slurm: key", key, KEYS)
        elif not value or key in values:
            raise BadInput(f"--slurm {key}", "named twice" if key in values else "without a value", "KEY=VALUE,...")
        else:
            values[key], last = value, key
    options = Options(typed or "", values)
    _ = options.minutes, options.probe, options.cpus  # refused now, not when they are first needed
    return options


def _minutes(key: str, text: str, least: int = 1) -> int:
    """Read a time as Slurm does: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S; rounded up to minutes."""
    days, dash, rest = text.rpartition("-")
    fields = rest.split(":")
    if not all(field.isdecimal() and len(field) < 7 for field in (*fields, days or "0")) or len(fields) > 3:
        raise BadInput(f"--slurm {key}={text}", "not a time", "as Slurm's: 90 (minutes), 2:00:00 or 1-12:00:00")
    units = (60, 1, 1 / 60) if dash or len(fields) == 3 else (1, 1 / 60)
    minutes = int(days or 0) * 1440 + sum(int(field) * unit for field, unit in zip(fields, units, strict=False))
    if minutes < least:
        raise BadInput(f"--slurm {key}={text}", "too short", "at least a minute")
    return int(-(-minutes // 1))


# ---------------------------------------------------------------- submitting


@dataclass(frozen=True)
class Cluster:
    """The cluster that this machine submits to; `open_cluster` opens it."""

    workdir: Path
    options: Options

    def submit(self, work: Callable[[], Any], name: str, dependency: str = "", computes: bool = True) -> str:
        """Submit a job and return its number; `computes`: it gets what the options ask for, else one core and no GPU.

        Raises BadInput in Slurm's words where the queue refuses it.
        """
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedSubmissionError, UncompletedJobError

        executor = SlurmExecutor(self.workdir / FOLDER / "jobs", max_num_timeout=REQUEUES)
        executor.update_parameters(**self._parameters(name, dependency, computes))
        try:
            return executor.submit(work).job_id
        except (FailedSubmissionError, UncompletedJobError) as error:
            found = f"Slurm refuses the job {name} ({_refusal(str(error))})"
            raise BadInput(f"--slurm {self.options.typed}".rstrip(), found) from None

    def _parameters(self, name: str, dependency: str, computes: bool) -> dict[str, Any]:
        options = self.options
        values = {word: options.values[key] for key, word in PASSED_ON.items() if key in options.values}
        cpus = options.cpus
        if not computes:
            cpus = 1
            for word in ("gpus_per_node", "gres", "mem"):
                values.pop(word, None)
        more: dict[str, Any] = {"kill-on-invalid-dep": "yes", "requeue": True}
        if "reservation" in options.values:
            more["reservation"] = options.values["reservation"]
        return {
            **values,
            "job_name": name,
            "time": options.minutes,
            "signal_delay_s": min(SIGNAL, options.minutes * 12),
            "cpus_per_task": cpus,
            "srun_args": [f"--cpus-per-task={cpus}"],  # since 22.05 a step does not ask its job for that
            "dependency": ",".join(filter(None, (dependency, "singleton"))),
            "wckey": None,
            "setup": ["export OMP_NUM_THREADS=1"],  # the bytes of one thread, as everywhere
            "additional_parameters": more,
        }


def open_cluster(workdir: Path, options: Options) -> Cluster:
    """Open the cluster; raises BadInput where this machine cannot submit to one."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise BadInput("--on slurm", "there is no sbatch on the PATH", "a machine that submits to Slurm")
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise BadInput("--on slurm", "submitit is not installed", "the extra swdb[slurm]") from None
    if fault := next((sign for sign in "%\\\n" if sign in str(workdir.absolute())), ""):
        raise BadInput(
            f"--workdir {workdir}", f"has {fault!r} in its path", "one without: Slurm reads it in names of files"
        )
    return Cluster(workdir.absolute(), options)


def _refusal(said: str) -> str:
    """Return the last thing that sbatch complains about."""
    lines = [line.partition("error: ")[2] or line for line in said.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "without a word"


# ---------------------------------------------------------------- the queue


@dataclass(frozen=True)
class Queued:
    """What the queue says of a job."""

    name: str
    state: str  # PENDING, RUNNING, COMPLETED, CANCELLED, ...
    node: str
    reason: str

    @property
    def is_alive(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (
            "PENDING",
            "RUNNING",
            "CONFIGURING",
            "COMPLETING",
            "SUSPENDED",
            "REQUEUED",
            "STOPPED",
        ) or (self.state in ("PREEMPTED", "RESIZING", "SIGNALING", "STAGE_OUT", "REQUEUE_HOLD", "SPECIAL_EXIT"))


def queue() -> dict[str, Queued] | None:
    """Return the user's jobs that Slurm still knows, by number; None where nobody can be asked."""
    command = ["squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%N|%r|%j"]  # a name may hold anything
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = (line.split("|", 4) for line in done.stdout.splitlines())
    return {number: Queued(name, state, node, reason) for number, state, node, reason, name in rows}


def cancel(job: str) -> None:
    """Take a job out of the queue, if it is still there."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["scancel", job], capture_output=True, timeout=60, check=False)
