"""A Slurm of one node for tests: on loopback, in a folder of its own, without systemd, control groups or a database.

It is Debian's (slurmctld, slurmd, slurm-client, munge); root starts it. Nothing is written to the machine's own folders,
and it ends with the test, or with the process that started it.
"""

import ctypes
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
START = 30.0  # seconds
PARTITIONS = """\
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=short Nodes={host} MaxTime=10 State=UP PriorityTier=1 PreemptMode=OFF
"""
CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CryptoType=crypto/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
EnforcePartLimits=ALL
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=5
MinJobAge=3600
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1024 {gpus}State=UNKNOWN
"""


def why_not() -> str:
    """Say what this machine lacks; empty where a Slurm can be started."""
    if lost := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"no {', '.join(lost)} here: apt-get install slurmctld slurmd slurm-client munge"
    if os.geteuid() != 0:
        return "a Slurm of one's own is started by root"
    try:
        import submitit  # noqa: F401
    except ImportError:
        return "submitit is not installed"
    return ""


@dataclass
class OneNode:
    """A Slurm that runs."""

    folder: Path
    has_gpus: bool
    daemons: list[subprocess.Popen] = field(default_factory=list)

    def tell(self, *words: object) -> str:
        """Run one of Slurm's commands; returns what it prints."""
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def jobs(self) -> dict[str, tuple[str, str]]:
        """Return the number and the state of each job by its name, of those that ended, too; the last one of a name counts."""
        lines = self.tell("squeue", "--states=all", "--noheader", "--sort=i", "--format=%j|%i|%T").splitlines()
        return {name: (number, state) for name, number, state in (line.split("|") for line in lines)}

    def state(self, number: str) -> str:
        """Return the state of a job."""
        return self.tell("squeue", "--states=all", "--noheader", f"--jobs={number}", "--format=%T")

    def wait(self, what: Callable[[], object], seconds: float = 180) -> None:
        """Wait until something holds."""
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, f"{self.jobs()}\n{self.logs()}"
            time.sleep(0.2)

    def wait_for_all(self, seconds: float = 600) -> None:
        """Wait until the queue is empty."""
        self.wait(lambda: not self.tell("squeue", "--noheader"), seconds)

    def logs(self) -> str:
        """Return what the daemons said last."""
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in sorted(self.folder.glob("*.log")))


@contextmanager
def started(folder: Path) -> Iterator[OneNode]:
    """Start a Slurm in a folder, and point this process to it while the block runs."""
    folder = folder.resolve()
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    os.chmod(folder, 0o755)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host, gpus = platform.node().partition(".")[0], _pretend_gpus(folder)
    text = CONFIGURATION + PARTITIONS
    devices = "Gres=gpu:2 " if gpus else ""
    (folder / "slurm.conf").write_text(text.format(host=host, folder=folder, ports=_free_ports(), gpus=devices))
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1]\n" if gpus else "")
    slurm = OneNode(folder, gpus)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            _start(slurm, host)
            yield slurm
        finally:
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=20, check=False)
                slurm.wait(lambda: not slurm.tell("squeue", "--noheader"), 20)
            for daemon in reversed(slurm.daemons):
                daemon.terminate()
            for daemon in slurm.daemons:
                try:
                    daemon.wait(20)
                except subprocess.TimeoutExpired:
                    daemon.kill()


def _start(slurm: OneNode, host: str) -> None:
    munge = slurm.folder / "munge"
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={munge / name}" for option, name in files.items()]
    _run(slurm, "munged", "--foreground", "--force", "--num-threads=2", *options)
    slurm.wait((munge / "socket").exists, START)
    _run(slurm, "slurmctld", "-D", "-f", slurm.folder / "slurm.conf")
    _run(slurm, "slurmd", "-D", "-f", slurm.folder / "slurm.conf", "-N", host)
    idle = ["sinfo", "--noheader", "--partition=main", "--format=%T"]
    slurm.wait(lambda: subprocess.run(idle, capture_output=True, text=True, check=False).stdout == "idle\n", START)


def _run(slurm: OneNode, *command: object) -> None:
    with (slurm.folder / f"{command[0]}.log").open("wb") as log:
        words = [*map(str, command)]
        slurm.daemons.append(subprocess.Popen(words, stdout=log, stderr=log, preexec_fn=_end_with_the_test))


def _end_with_the_test() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _pretend_gpus(folder: Path) -> bool:
    """Make two device files that Slurm takes for GPUs; False where this machine does not let us."""
    try:
        for k in range(2):
            os.mknod(folder / f"gpu{k}", 0o20666, os.makedev(1, 3))
    except OSError:
        return False
    return True


def _free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in (one, other)]
