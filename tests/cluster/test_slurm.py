"""Jobs on a Slurm of one node: the same bytes as here, whatever befalls a job. And what is typed for it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import one_node_slurm
import pytest
from commands import call, contents, copied, only, preset_file, succeed, the_error, the_hint
from conftest import REPOSITORY, TINY
from one_node_slurm import OneNode

from swdb.cluster import probe as cluster_probe
from swdb.cluster import slurm as cluster
from swdb.cluster.jobs import read_jobs
from swdb.cluster.slurm import Cluster, Options, Queued, open_cluster, queue, read_options
from swdb.core.errors import BadInput
from swdb.core.lease import Lease
from swdb.nn.checkpoints import load_tensors

FP32 = ("--device", "cpu", "--precision", "fp32")
JOBS = ("--on", "slurm")
UNPROBED = (*JOBS, "--slurm", "probe=0")
STEPS = 600


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[OneNode]:
    """A Slurm of one node with two cores."""
    if reason := one_node_slurm.why_not():
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch, one_node_slurm.started(tmp_path_factory.mktemp("slurm")) as node:
        patch.setenv("PYTHONPATH", str(REPOSITORY))  # where jobs find the package, as an installed one is found
        yield node


@pytest.fixture
def emptied(slurm) -> Iterator[OneNode]:
    """The Slurm, with nothing left in its queue afterwards."""
    yield slurm
    slurm.tell("scontrol", "update", "PartitionName=main", "State=UP")
    slurm.tell("scancel", "--user=root")
    slurm.wait_for_all(30)


def table(work: Path, *words: object, preset: Path | str = TINY, number: int | str = 2):
    """Reproduce a table, by default one row of Table 2 that needs no proxies."""
    rows = () if number != 2 else ("--rows", "strong", "--seeds", "1")
    return call("reproduce-table", number, *rows, "--preset", preset, "--workdir", work, *FP32, *words)


def submitted(result) -> dict[str, str]:
    """Return the numbers of the jobs that a command submitted, by name."""
    assert result.exit_code == 0, result.stderr
    return {name: number for number, name in (line.split() for line in result.stdout.splitlines())}


def states(work: Path, preset: Path | str = TINY) -> dict[str, dict]:
    """Return what `swdb status` says, by id."""
    said = json.loads(succeed("status", "--json", "--preset", preset, "--workdir", work).stdout)
    return {entry["id"]: entry for entry in said["artefacts"]}


def tables_of(work: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (work / "reports" / "tiny").glob("table*")}


# ---------------------------------------------------------------- the same as here


def test_a_table_made_by_jobs_has_the_bytes_of_one_that_was_made_here(emptied, tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    first = submitted(table(there, *JOBS, "--seeds", "2", number=4))
    assert len(first) == 18 and "table-4-tiny" in first  # weights, classifier, cues, proxies, recognizer, twelve runs
    again = table(there, *JOBS, "--seeds", "2", number=4)  # while they are under way
    assert submitted(again) == {}
    assert "0 jobs submitted for artefacts" in again.stderr
    queued = [entry["state"] for entry in states(there).values()]
    assert "queued" in queued and set(queued) <= {"done", "running", "queued"}
    succeed("reproduce-table", "4", "--preset", TINY, "--seeds", "2", "--workdir", here, *FP32)
    emptied.wait_for_all()
    assert {state for _, state in emptied.jobs().values()} == {"COMPLETED"}
    assert tables_of(there) == tables_of(here) and len(tables_of(here)) == 3
    weights = [
        {path.parent.name: path.read_bytes() for path in work.glob("runs/*/weights.pt")} for work in (here, there)
    ]
    assert weights[0] == weights[1] and len(weights[0]) == 12
    assert {entry["state"] for entry in states(there).values()} == {"done"}
    done = table(there, *JOBS, "--seeds", "2", number=4)  # prints the table, and submits nothing
    assert done.exit_code == 0 and done.stdout.startswith("Table 4. ")


@pytest.fixture(scope="module")
def begun(slurm, tmp_path_factory) -> Path:
    """A work directory in which one run of some seconds is all that is left to do, and a preset for it."""
    folder = tmp_path_factory.mktemp("begun")
    preset = preset_file(folder, ("steps = 6\nbatch = 4\ncrop", f"steps = {STEPS}\nbatch = 4\ncrop"))
    here = folder / "here"
    assert table(here, preset=preset).exit_code == 0
    shutil.copytree(here, folder / "work", ignore=shutil.ignore_patterns("runs", "table*", ".leases"))
    return folder


@pytest.fixture
def run(begun, tmp_path):
    """A copy of that work directory, its preset, and the weights that the run must end with."""
    work = Path(shutil.copytree(begun / "work", tmp_path / "work"))
    return work, begun / "changed.toml", only(begun / "here", "runs/strong-s0-*/weights.pt").read_bytes()


def start(slurm: OneNode, work: Path, preset: Path) -> tuple[str, str]:
    """Submit the run and wait until it is in the middle; returns the job's number and the run's id."""
    numbers = submitted(table(work, *UNPROBED, preset=preset))
    (name,) = (name for name in numbers if name.startswith("strong-s0-"))
    slurm.wait((work / "runs" / name / "log.jsonl").exists)
    return numbers[name], name


def kept_step(work: Path, name: str) -> int:
    """Return the step that the run is kept at."""
    step = load_tensors(work / "runs" / name / "checkpoint.pt")["step"]
    assert 0 < step < STEPS
    return step


def assert_ends_as_here(slurm: OneNode, work: Path, number: str, name: str, weights: bytes) -> None:
    slurm.wait_for_all()
    assert slurm.state(number) == "COMPLETED"
    assert (work / "runs" / name / "weights.pt").read_bytes() == weights
    steps = [json.loads(line)["step"] for line in (work / "runs" / name / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(STEPS))


def test_a_job_that_is_out_of_time_then_killed_then_preempted_ends_as_if_nothing_had_been(emptied, run):
    work, preset, weights = run
    number, name = start(emptied, work, preset)

    def restarts(count: int) -> bool:
        return f"Restarts={count} " in emptied.tell("scontrol", "show", "job", number)

    def logged() -> int:
        return len((work / "runs" / name / "log.jsonl").read_text().splitlines())

    emptied.tell("scancel", "--signal=USR2", number)  # what Slurm sends before the time limit
    emptied.wait(lambda: restarts(1))
    out_of_time = kept_step(work, name)  # saved at once, not at the next of every 20 seconds
    emptied.wait(lambda: logged() > out_of_time)

    said = states(work, preset)[name]
    assert said["state"] == "running" and said["job"] == number and said["where"]
    log = work / "runs" / name / "log.jsonl"
    reached, written = logged(), log.stat().st_ino
    os.kill(Lease(work / "runs" / name).holder().pid, signal.SIGKILL)  # begun again within the job
    emptied.wait(lambda: log.stat().st_ino != written)  # cut to the step that was kept
    emptied.wait(lambda: logged() > reached)

    emptied.tell("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap", "true")
    emptied.wait(lambda: emptied.state(number) == "PENDING")
    emptied.wait(lambda: kept_step(work, name) > out_of_time)
    assert states(work, preset)[name]["state"] in ("queued", "running")
    assert_ends_as_here(emptied, work, number, name, weights)
    assert restarts(2)


def test_a_job_whose_processes_are_killed_is_lost_and_submitting_again_makes_it(emptied, run):
    work, preset, weights = run
    number, name = start(emptied, work, preset)
    python = Lease(work / "runs" / name).holder().pid
    parent = int(Path(f"/proc/{python}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)  # submitit's, whose child ends with it
    emptied.wait(lambda: emptied.state(number) == "FAILED")
    emptied.wait(lambda: not Path(f"/proc/{python}").exists())
    assert states(work, preset)[name]["state"] == "lost"
    numbers = submitted(table(work, *UNPROBED, preset=preset))
    assert_ends_as_here(emptied, work, numbers[name], name, weights)


def test_what_was_cancelled_is_named_with_all_that_is_made_from_it_and_submitted_again(emptied, tmp_path):
    work = tmp_path / "work"
    emptied.tell("scontrol", "update", "PartitionName=main", "State=DOWN")
    numbers = submitted(table(work, *UNPROBED))
    assert {name.split("-")[0] for name in numbers} == {"pretext", "strong", "table"}
    (weights, run, rendering) = numbers
    emptied.tell("scancel", numbers[weights])
    emptied.wait(lambda: emptied.state(numbers[run]) == "CANCELLED")
    emptied.wait(lambda: "DependencyNeverSatisfied" not in emptied.tell("squeue", "--noheader", "--format=%r"))
    found = states(work)
    assert [found[name]["state"] for name in (weights, run)] == ["lost", "lost"]
    assert found[run]["job"] == numbers[run] and "cancelled" in found[run]["line"]
    again = submitted(table(work, *UNPROBED))
    assert list(again) == [weights, run, rendering] and not set(again.values()) & set(numbers.values())
    emptied.tell("scontrol", "update", "PartitionName=main", "State=UP")
    emptied.wait_for_all()
    assert {entry["state"] for entry in states(work).values()} == {"done"}
    assert "| " in (work / "reports" / "tiny" / "table2.md").read_text()


def test_a_job_refuses_other_code_than_was_submitted(emptied, finished, tmp_path):
    work = copied(finished, tmp_path, "strong-s0-*", "table*")
    package = tmp_path / "elsewhere"
    shutil.copytree(REPOSITORY / "swdb", package / "swdb", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "tables", package / "swdb" / "tables")
    words = ("reproduce-table", "2", "--rows", "strong", "--seeds", "1", "--preset", TINY, "--workdir", work, *FP32)
    emptied.tell("scontrol", "update", "PartitionName=main", "State=DOWN")
    run = {"cwd": package, "env": os.environ | {"PYTHONPATH": str(package)}, "capture_output": True, "text": True}
    command = [sys.executable, "-m", "swdb", *map(str, words), *UNPROBED]
    done = subprocess.run(command, check=False, timeout=120, **run)
    assert done.returncode == 0, done.stderr
    number, name = done.stdout.splitlines()[0].split()
    with (package / "swdb" / "core" / "stage.py").open("a") as stream:
        stream.write("# another line\n")
    emptied.tell("scontrol", "update", "PartitionName=main", "State=UP")
    emptied.wait(lambda: emptied.state(number) == "FAILED")
    said = states(work)[name]
    assert said["state"] == "failed"
    assert said["line"].startswith("the installed package: the code has changed since the job was submitted: ")
    assert "ExitCode=2:0" in emptied.tell("scontrol", "show", "job", number)
    assert f"error: {said['line']}" in (work / "slurm" / "jobs" / f"{number}_0_log.err").read_text()


@pytest.mark.slow
def test_a_time_limit_shorter_than_the_work(slurm, tmp_path):
    preset = preset_file(tmp_path, ("steps = 6\nbatch = 4\ncrop", "steps = 5000\nbatch = 4\ncrop"))
    work, here = tmp_path / "work", tmp_path / "here"
    numbers = submitted(table(work, *JOBS, "--slurm", "probe=0,time=1", preset=preset))
    (name,) = (name for name in numbers if name.startswith("strong-s0-"))
    assert table(here, preset=preset).exit_code == 0
    slurm.wait_for_all(560)
    assert slurm.state(numbers[name]) == "COMPLETED"
    restarts = slurm.tell("scontrol", "show", "job", numbers[name]).partition("Restarts=")[2].split()[0]
    assert int(restarts) >= 1
    weights = [only(folder, "runs/strong-s0-*/weights.pt").read_bytes() for folder in (here, work)]
    assert weights[0] == weights[1]


# ---------------------------------------------------------------- what the queue and the nodes refuse


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("partition=nowhere", "Invalid partition name specified"),
        ("partition=short,time=2:00:00", "Requested time limit is invalid"),
        ("constraint=tall", "Invalid feature specification"),
    ],
)
def test_what_the_queue_refuses_is_said_in_its_words(emptied, own_work, options, words):
    before = set(emptied.jobs())
    result = table(own_work, *JOBS, "--slurm", options)
    assert result.exit_code == 2
    line = the_error(result)
    assert line.startswith(f"--slurm {options}: Slurm refuses the job ") and words in line
    assert set(emptied.jobs()) == before
    assert not (own_work / "slurm" / "jobs.json").exists()


@pytest.fixture
def own_work(finished, tmp_path) -> Path:
    """A work directory in which one run is left to do."""
    return copied(finished, tmp_path, "strong-s0-*", "table*")


def test_a_job_without_the_gpu_that_was_asked_for_is_known_before_anything_is_submitted(emptied, own_work):
    if not emptied.has_gpus:
        pytest.skip("this machine lets nobody make device files")
    words = ("reproduce-table", "2", "--rows", "strong", "--seeds", "1", "--preset", TINY, "--workdir", own_work)
    result = call(*words, "--precision", "fp32", *JOBS, "--slurm", "gpus=1,cpus=1")  # pretended: torch finds none
    assert result.exit_code == 2
    assert the_error(result).startswith("--on slurm: --device cuda: not there, in the probe job ")
    assert not (own_work / "slurm" / "jobs.json").exists() and not list((own_work / "slurm").glob("probe-*"))


def test_a_work_directory_that_jobs_do_not_see_is_refused(emptied, own_work):
    words = ["reproduce-table", "2", "--rows", "strong", "--seeds", "1", "--preset", TINY, "--workdir", own_work, *FP32]
    python = f"{sys.executable} -m swdb {' '.join(map(str, words))} --on slurm"
    hidden = f"mount -t tmpfs none {own_work} && cp -r {own_work}.kept/. {own_work} && {python}"
    own_work.rename(f"{own_work}.kept")
    own_work.mkdir()
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hidden], capture_output=True, text=True, timeout=120, check=False
    )
    if "unshare" in result.stderr or "mount:" in result.stderr:
        pytest.skip("this machine lets nobody mount")
    assert result.returncode == 2
    assert the_error(result).startswith(f"--workdir {own_work}: the probe job ")
    assert "wrote nothing there" in the_error(result)
    assert not list(own_work.rglob("*"))


def test_a_probe_that_does_not_begin_is_given_up_and_taken_back(emptied, own_work, monkeypatch):
    monkeypatch.setattr(Options, "probe", 0.02)  # minutes
    emptied.tell("scontrol", "update", "PartitionName=main", "State=DOWN")
    result = table(own_work, *JOBS)
    assert result.exit_code == 2
    assert "pending (PartitionDown)" in the_error(result)
    assert emptied.tell("squeue", "--noheader") == ""


def test_the_precision_is_what_the_probe_finds(emptied, finished, tmp_path, monkeypatch):
    work = copied(finished, tmp_path, "precision.json", "plan.json", "runs", "weights", "table*")
    said = cluster_probe.probe(Cluster(work, read_options("")), "cpu", lambda line: None)
    assert said[0] in ("fp32", "bf16") and said[1]["device"] == "cpu"
    words = ("reproduce-table", "2", "--rows", "strong", "--seeds", "1", "--preset", TINY, "--workdir", work)
    emptied.tell("scontrol", "update", "PartitionName=main", "State=UP")
    result = call(*words, "--device", "cpu", *JOBS)
    assert result.exit_code == 0, result.stderr
    assert json.loads((work / "precision.json").read_text())["precision"] == said[0]
    assert result.stderr.count(": running on ") <= 1  # one probe answers both questions
    refused = call(*words[:-1], tmp_path / "other", "--device", "cpu", *UNPROBED)
    assert refused.exit_code == 2 and the_error(refused).startswith("--slurm probe=0: the precision is not known yet")


def test_the_queue_tells_of_jobs_that_wait_and_of_those_that_ended(emptied):
    number = emptied.tell("sbatch", "--parsable", "--hold", "--job-name=held", "--output=/dev/null", "--wrap", "true")
    assert queue()[number] == Queued("held", "PENDING", "", "JobHeldUser")
    cluster.cancel(number)
    emptied.wait(lambda: not queue()[number].is_alive)
    assert queue()[number].state == "CANCELLED"


def test_proxies_are_made_by_jobs_too(emptied, finished, tmp_path):
    work = copied(finished, tmp_path, "dsrg-2-*", "runs", "averages", "reports")
    before = only(finished, "proxies/dsrg-2-*/done.json")
    words = ("make-proxy", "--set", "2", "--preset", TINY, "--workdir", work, *FP32)
    (name,) = numbers = submitted(call(*words, *UNPROBED))
    assert name == before.parent.name
    emptied.wait_for_all()
    assert emptied.state(numbers[name]) == "COMPLETED"
    made = work / "proxies" / name
    assert json.loads((made / "done.json").read_text())["digest"] == json.loads(before.read_text())["digest"]
    assert (made / "quality.md").is_file()


# ---------------------------------------------------------------- without a Slurm


def test_a_machine_that_cannot_submit_says_so(own_work, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    before = contents(own_work)
    result = table(own_work, *JOBS)
    assert result.exit_code == 2
    assert the_error(result) == "--on slurm: there is no sbatch on the PATH; expected a machine that submits to Slurm"
    assert contents(own_work) == before


def pretended(folder: Path, monkeypatch, **programs: str) -> None:
    """Put programs on the PATH that are shell scripts, and nothing else."""
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_path_that_slurm_would_read_otherwise_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    pretended(tmp_path, monkeypatch, sbatch="exit 1", srun="exit 1")
    assert open_cluster(tmp_path / "a b'c", read_options("")).workdir == tmp_path / "a b'c"
    with pytest.raises(BadInput, match="has '%' in its path"):
        open_cluster(tmp_path / "10%j", read_options(""))


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(own_work, tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch, sbatch="exit 1", srun="exit 1")
    monkeypatch.setitem(sys.modules, "submitit", None)
    result = table(own_work, *JOBS)
    assert result.exit_code == 2
    assert the_error(result) == "--on slurm: submitit is not installed; expected the extra swdb[slurm]"
    assert the_hint(result) == "in swdb's checkout: pip install '.[slurm]'"


def test_a_controller_that_is_away_is_said_in_its_words(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    pretended(
        tmp_path, monkeypatch, sbatch="echo 'sbatch: error: Unable to contact slurm controller' >&2; exit 1", srun=""
    )
    with pytest.raises(BadInput, match=r"^--slurm: Slurm refuses the job x \(Unable to contact slurm controller\)$"):
        open_cluster(tmp_path / "work", read_options(None)).submit(print, "x")


def test_nobody_to_ask_is_no_error(tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch)
    assert queue() is None
    pretended(tmp_path, monkeypatch, squeue="exit 1")
    assert queue() is None


def test_a_name_with_bars_in_the_queue_is_a_name(tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch, squeue="echo '7|RUNNING|node1|None|a|b'; echo '8|PENDING||Priority|x-1'")
    assert queue() == {"7": Queued("a|b", "RUNNING", "node1", "None"), "8": Queued("x-1", "PENDING", "", "Priority")}


def test_a_script_asks_for_what_was_typed(tmp_path):
    options = read_options("partition=gpu,time=90,gpus=2,cpus=8,mem=16G,exclude=n1,n2,reservation=r")
    values = Cluster(tmp_path, options)._parameters("x-1", "afterok:7", computes=True)
    wanted = {
        "partition": "gpu",
        "time": 90,
        "gpus_per_node": "2",
        "cpus_per_task": 8,
        "mem": "16G",
        "exclude": "n1,n2",
    }
    assert wanted.items() <= values.items()
    assert values["dependency"] == "afterok:7,singleton"
    assert values["additional_parameters"] == {"kill-on-invalid-dep": "yes", "requeue": True, "reservation": "r"}
    assert values["signal_delay_s"] == 120
    light = Cluster(tmp_path, options)._parameters("table-4-tiny", "", computes=False)
    assert "gpus_per_node" not in light and "mem" not in light and light["cpus_per_task"] == 1
    assert light["dependency"] == "singleton"


@pytest.mark.parametrize(
    ("typed", "minutes"),
    [("", 120), ("time=90", 90), ("time=2:00:00", 120), ("time=1-12", 2160), ("time=1-0:30", 1470), ("time=1:30", 2)],
)
def test_time_is_read_as_slurm_does(typed, minutes):
    assert read_options(typed).minutes == minutes


def test_a_probe_may_take_as_long_as_was_typed():
    assert [read_options(typed).probe for typed in ("", "probe=30", "probe=0", "probe=1:00:00")] == [10, 30, 0, 60]


@pytest.mark.parametrize(
    ("typed", "subject"),
    [
        ("partitoin=gpu", "--slurm: key 'partitoin'"),
        ("nodes=4", "--slurm: key 'nodes'"),
        ("gpu", "--slurm: key 'gpu'"),
        ("partition=", "--slurm partition"),
        ("cpus=1,cpus=2", "--slurm cpus"),
        ("cpus=many", "--slurm cpus=many"),
        ("cpus=0", "--slurm cpus=0"),
        ("time=soon", "--slurm time=soon"),
        ("time=0", "--slurm time=0"),
        ("probe=1:2:3:4", "--slurm probe=1:2:3:4"),
    ],
)
def test_what_cannot_be_meant_is_refused(typed, subject):
    with pytest.raises(BadInput) as caught:
        read_options(typed)
    assert caught.value.subject == subject


def test_a_key_that_is_nearly_right_gets_the_one_that_was_meant():
    with pytest.raises(BadInput) as caught:
        read_options("partitoin=gpu")
    assert caught.value.near == "partition"


def test_gpus_bring_cores_that_decode():
    assert [read_options(typed).cpus for typed in ("", "gpus=1", "gres=gpu:a100:1", "gpus=1,cpus=2")] == [1, 4, 4, 2]


def test_jobs_are_noted_once_they_are_submitted(own_work):
    assert read_jobs(own_work) == {}
