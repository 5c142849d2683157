"""What a probe job shows, and what is said where it does not answer. (On a real Slurm: test_cluster.py.)"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from swdb.cluster import probe as cluster_probe
from swdb.cluster.probe import Probe, probe
from swdb.cluster.slurm import Options, Queued, read_options
from swdb.core.errors import BadInput
from swdb.core.identity import Code


@dataclass
class Pretended:
    """A cluster that does something else with the probe job."""

    workdir: Path
    does: object = Probe.__call__
    options: Options = field(default_factory=lambda: read_options(""))

    def submit(self, work: Probe, name: str) -> str:
        assert name == "swdb-probe"
        self.does(work)
        return "7"


@pytest.fixture(autouse=True)
def told(monkeypatch) -> list[str]:
    """What the queue says of the job, one word after the other; and nothing is waited for."""
    states = ["PENDING", "RUNNING", "FAILED"]

    def queue():
        state = states.pop(0) if len(states) > 1 else states[0]
        return {"7": Queued("swdb-probe", state, "n1" if state == "RUNNING" else "", "None")}

    monkeypatch.setattr(cluster_probe, "queue", queue)
    monkeypatch.setattr(cluster_probe, "cancel", lambda job: states.append(f"cancelled {job}"))
    monkeypatch.setattr(cluster_probe, "POLL", 0.01)
    monkeypatch.setattr(cluster_probe, "GRACE", 0.05)
    return states


def refused(cluster: Pretended, device: str = "cpu") -> BadInput:
    with pytest.raises(BadInput) as caught:
        probe(cluster, device, lambda line: None)
    assert not list((cluster.workdir / "slurm").glob("probe-*"))
    return caught.value


def test_a_job_answers_in_which_precision_it_computes_and_on_what(tmp_path):
    precision, machine = probe(Pretended(tmp_path), "cpu", lambda line: None)
    assert precision in ("fp32", "bf16") and machine["device"] == "cpu" and machine["torch"]
    assert not list((tmp_path / "slurm").glob("probe-*"))


def test_a_device_that_is_not_there_is_named(tmp_path):
    error = refused(Pretended(tmp_path), "cuda:9")
    assert error.subject == "--on slurm: --device cuda:9" and error.found == "not there, in the probe job 7"


def test_other_code_on_the_node_is_named(tmp_path):
    error = refused(Pretended(tmp_path, lambda work: replace(work, code=Code("0" * 64, work.code.torch))()))
    assert error.subject == "--on slurm: the installed package"


def test_a_job_that_sees_another_folder_of_that_name_is_known_by_its_answer(tmp_path):
    error = refused(Pretended(tmp_path, lambda work: work.answer.write_text(json.dumps({"token": "another"}))))
    assert error.subject == f"--workdir {tmp_path}"


def test_a_job_that_writes_nothing_does_not_see_the_work_directory(tmp_path, told):
    lines = []
    with pytest.raises(BadInput) as caught:
        probe(Pretended(tmp_path, lambda work: None), "cpu", lines.append)
    assert caught.value.subject == f"--workdir {tmp_path}"
    assert caught.value.found == "the probe job 7 ended (failed) and wrote nothing there"
    assert lines == ["the probe job 7: pending", "the probe job 7: running on n1", "the probe job 7: failed"]


def test_a_job_that_dies_with_a_log_is_told_by_its_last_line(tmp_path):
    def die(work: Probe) -> None:
        (tmp_path / "slurm" / "jobs").mkdir()
        (tmp_path / "slurm" / "jobs" / "7_0_log.err").write_text(
            "Traceback\nModuleNotFoundError: No module named 'swdb'\n"
        )

    error = refused(Pretended(tmp_path, die))
    assert error.subject == "--on slurm: probe job 7"
    assert error.found == "failed: ModuleNotFoundError: No module named 'swdb'"


def test_a_job_that_does_not_begin_is_given_up_and_cancelled(tmp_path, told, monkeypatch):
    told[:] = ["PENDING"]
    monkeypatch.setattr(Options, "probe", 0.001)
    error = refused(Pretended(tmp_path, lambda work: None))
    assert error.subject == "--on slurm: probe job 7" and error.found.startswith("pending after ")
    assert told[-1] == "cancelled 7"


def test_a_queue_that_cannot_be_asked_is_waited_for(tmp_path, monkeypatch):
    asked = []

    def queue():
        asked.append(1)
        if len(asked) == 3:
            sent[0]()

    sent: list[Probe] = []
    monkeypatch.setattr(cluster_probe, "queue", queue)
    assert probe(Pretended(tmp_path, sent.append), "cpu", lambda line: None)[1]["device"] == "cpu"
