"""What runs in a job: a command that is refused, fails, is told to end or is killed. (On a real Slurm: test_cluster.py.)"""

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import TINY

from swdb.cluster import job as cluster_job
from swdb.cluster.job import Make
from swdb.core.identity import Code
from swdb.core.journal import Journal, last_lines

ID = "dual-s0-0123456789"


@pytest.fixture(autouse=True)
def _restored():
    """What a job does to the signals of its process ends with the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def job(work: Path, *words: object, code: Code | None = None, needs: tuple[Path, ...] = ()) -> Make:
    return Make(tuple(map(str, words)), work, (ID,), needs, code or Code.here())


def ended(make: Make) -> int:
    """Run a job that must fail; returns its exit code."""
    with pytest.raises(SystemExit) as caught:
        make()
    return caught.value.code


def said(work: Path) -> str:
    """Return the last line of the journal, without the time."""
    return last_lines(work / "logs" / f"{ID}.log")[0][20:]


def pretended(folder: Path, monkeypatch, script: str) -> None:
    """Let the job's command be a shell script."""
    path = folder / "command"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_a_command_is_run_as_it_is_typed(tmp_path, capfd):
    job(tmp_path, "--version")()
    assert capfd.readouterr().out.startswith("swdb ")
    assert said(tmp_path).startswith("job ")


def test_what_a_command_says_is_wrong_is_the_job_s_last_word(tmp_path, capfd):
    words = ("make", ID, "--preset", TINY, "--workdir", tmp_path, "--precision", "fp32", "--device", "cpu")
    assert ended(job(tmp_path, *words)) == 2
    assert said(tmp_path) == f"error: id '{ID}': unknown"
    assert f"error: id '{ID}': unknown" in capfd.readouterr().err


def test_other_code_is_refused(tmp_path, capfd):
    assert ended(job(tmp_path, "--version", code=Code("0" * 64, Code.here().torch))) == 2
    assert said(tmp_path).startswith("error: the installed package: the code has changed since the job was submitted")
    assert capfd.readouterr().out == ""


def test_an_input_that_another_node_wrote_is_waited_for(tmp_path, monkeypatch):
    record = tmp_path / "weights" / "x" / "done.json"
    monkeypatch.setattr(cluster_job.time, "sleep", lambda seconds: (record.parent.mkdir(parents=True), record.touch()))
    job(tmp_path, "--version", needs=(record,))()


def test_an_input_that_never_comes_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_job, "LATE", 0.0)
    monkeypatch.setattr(cluster_job.time, "sleep", lambda seconds: None)
    record = tmp_path / "weights" / "x" / "done.json"
    assert ended(job(tmp_path, "--version", needs=(record,))) == 3
    assert said(tmp_path).startswith(f"error: {record}: not seen from this node")


def test_a_killed_command_is_begun_once_more(tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch, f"test -f {tmp_path}/again && exit 0; touch {tmp_path}/again; kill -9 $$")
    job(tmp_path)()
    assert (tmp_path / "again").exists()


def test_a_command_that_is_killed_twice_has_failed(tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch, f"echo x >> {tmp_path}/starts; kill -9 $$")
    assert ended(job(tmp_path)) == 128 + signal.SIGKILL
    assert said(tmp_path) == "error: the process was killed twice, by signal 9"
    assert (tmp_path / "starts").read_text() == "x\nx\n"


def test_a_command_that_ends_without_a_word_has_failed_too(tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch, "exit 7")
    assert ended(job(tmp_path)) == 7
    assert said(tmp_path) == "error: the command ended with exit code 7"


def test_a_journal_that_says_why_is_left_as_it_is(tmp_path, monkeypatch):
    line = "2026-01-01 00:00:00 error: the disk is full"
    pretended(
        tmp_path, monkeypatch, f"echo '{line}' >> {Journal(tmp_path, ID).path}; echo 'error: other words' >&2; exit 2"
    )
    assert ended(job(tmp_path)) == 2
    assert said(tmp_path) == "error: the disk is full"


SAVES = "trap 'mkdir -p {0}/runs/{1}; date +%N > {0}/runs/{1}/checkpoint.pt; exit 130' INT; touch {0}/begun; while :; do sleep 0.05; done"
SAVES_NOTHING = "trap 'exit 130' INT; touch {0}/begun; while :; do sleep 0.05; done"


def begun(make: Make, folder: Path) -> threading.Thread:
    """Run a job's command in a thread, and wait until it has begun."""
    thread = threading.Thread(target=make._run)
    thread.start()
    until = time.monotonic() + 30
    while not (folder / "begun").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    return thread


def test_a_job_near_its_limit_lets_its_command_save_itself(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    pretended(tmp_path, monkeypatch, SAVES.format(tmp_path, ID))
    make = job(tmp_path)
    thread = begun(make, tmp_path)
    going_on = make.checkpoint().function
    thread.join(30)
    assert not thread.is_alive()
    assert going_on.words == make.words and going_on.seen > make.seen == 0


def test_a_job_that_saved_nothing_new_is_not_begun_for_ever(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    pretended(tmp_path, monkeypatch, SAVES_NOTHING.format(tmp_path))
    make = job(tmp_path)
    thread = begun(make, tmp_path)
    assert make.checkpoint() is None
    thread.join(30)
    assert said(tmp_path) == "error: the time limit is too short: nothing new was saved before it came again"


def test_what_vanishes_while_it_is_looked_at_is_no_progress(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / ID
    (folder / "gone").mkdir(parents=True)
    (folder / "there").touch()
    walk, expected = os.walk, (folder / "there").lstat().st_mtime

    def vanishing(place):
        for found in walk(place):
            yield found
            shutil.rmtree(folder / "gone", ignore_errors=True)
        yield str(folder), [], ["gone.tmp"]

    monkeypatch.setattr(os, "walk", vanishing)
    assert job(tmp_path)._newest() == expected


def test_the_signs_of_life_of_a_lease_are_no_progress(tmp_path):
    signs = tmp_path / "runs" / ID / "evals" / ".leases" / "x"
    signs.mkdir(parents=True)
    (signs / "holder").touch()
    before = job(tmp_path)._newest()
    time.sleep(0.02)
    (signs / "holder").write_text("x")
    assert job(tmp_path)._newest() == before


def test_a_command_hears_what_its_job_tells_it_and_nothing_else(tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch, f"kill -TERM $$; kill -USR2 $$; kill -CONT $$; echo heard > {tmp_path}/heard")
    job(tmp_path)()
    assert (tmp_path / "heard").exists()


def test_a_job_that_is_told_to_end_twice_interrupts_its_command_once(tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch, f"trap 'echo x >> {tmp_path}/heard' INT; touch {tmp_path}/begun; sleep 1; sleep 1")
    make = job(tmp_path)
    thread = begun(make, tmp_path)
    make._end()
    make._end()
    thread.join(30)
    assert (tmp_path / "heard").read_text() == "x\n"


def test_a_job_that_is_told_to_end_before_its_command_is_known_interrupts_it_all_the_same(tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch, "for k in $(seq 600); do sleep 0.05; done")
    make = job(tmp_path)
    make._end()
    exit_code, _ = make._run()
    assert exit_code == -signal.SIGINT


def test_a_job_that_is_told_to_end_ends_its_command(tmp_path, monkeypatch):
    pretended(tmp_path, monkeypatch, SAVES.format(tmp_path, ID))
    make = job(tmp_path)

    def end() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    threading.Thread(target=end).start()
    assert ended(make) == 128 + signal.SIGTERM
    assert (tmp_path / "runs" / ID / "checkpoint.pt").exists()
