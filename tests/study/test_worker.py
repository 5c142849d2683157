"""One worker, from its own side: what it prints, what of its errors travels, and how it ends."""

import os
import pickle
import subprocess
import sys
import threading
from multiprocessing.connection import Pipe

import toy_worker

from swdb.core.errors import BadInput
from swdb.core.journal import Journal
from swdb.study.queue import Queue
from swdb.study.worker import _hear, _output_to, sendable, traceback_of
from swdb.study.workers import Assignment


class Stubborn(Exception):
    """An error that cannot be put together again."""

    def __init__(self, one, other):
        super().__init__(one)


def test_errors_travel_as_they_are_or_as_words():
    error = sendable(BadInput("a", "b", "c"))
    assert type(error) is BadInput and error.args == ("a", "b", "c", "")
    error = sendable(Stubborn("in the way", 2))
    assert type(error) is RuntimeError and str(error) == "Stubborn: in the way"
    assert pickle.loads(pickle.dumps(error)).args == error.args


def test_the_traceback_travels_as_text():
    try:
        raise ZeroDivisionError("here")
    except ZeroDivisionError as error:
        assert "test_worker.py" in traceback_of(error) and "ZeroDivisionError: here" in traceback_of(error)


def test_what_is_printed_by_whatever_prints_it_goes_into_the_journal(tmp_path, capfd):
    journal = Journal(tmp_path, "x")
    with _output_to(journal):
        os.write(2, b"from a library\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    os.write(1, b"after\n")
    assert journal.path.read_text() == "from a library\nfrom a child\n"
    assert capfd.readouterr().out == "after\n"


def test_a_journal_that_cannot_be_opened_stops_nobody(tmp_path, capfd):
    (tmp_path / "logs").write_text("in the way")
    with _output_to(Journal(tmp_path, "x")):
        os.write(1, b"here\n")
    assert capfd.readouterr().out == "here\n"


def start(*sent: object) -> tuple[int, list]:
    """Start a worker, send it things, close the connection; returns its exit code and what it said."""
    here, there = Pipe()
    process = subprocess.Popen([*toy_worker.PROGRAM, str(there.fileno())], pass_fds=(there.fileno(),))
    there.close()
    heard = []
    for thing in sent:
        here.send(thing)
    if sent:
        try:
            while True:
                heard.append(here.recv())
        except EOFError:
            pass
    here.close()
    return process.wait(60), heard


def test_a_worker_whose_command_ends_first_ends_quietly():
    assert start() == (0, [])


def test_a_worker_says_what_it_begins_and_what_it_made(tmp_path):
    artefacts = toy_worker.planned(tmp_path, 1)
    code, heard = start(Assignment(artefacts, frozenset(), tmp_path, "cpu", "fp32", 1, "playing"))
    assert code == 0 and heard == [
        ("ready",),
        *(event for one in artefacts for event in (("begin", one.id), ("made",))),
    ]


def test_what_is_left_out_from_the_start_is_not_made(tmp_path):
    root, middle, end = toy_worker.planned(tmp_path, 1)
    todo = Assignment([root, middle, end], frozenset({middle.id, end.id}), tmp_path, "cpu", "fp32", 1, "playing")
    assert start(todo) == (0, [("ready",), ("begin", root.id), ("made",)])
    assert root.done and not middle.done


def test_what_would_end_all_work_is_told_with_its_traceback(tmp_path):
    todo = Assignment(toy_worker.planned(tmp_path, root="full"), frozenset(), tmp_path, "cpu", "fp32", 1, "playing")
    code, heard = start(todo)
    kind, error, account = heard[-1]
    assert (code, kind, error.found) == (0, "fatal", "the disk is full") and "in full" in account


def test_a_worker_hears_of_idle_cores_and_of_what_is_left_out():
    queue, idle = Queue([], "playing"), threading.Event()
    for said in (True, frozenset({"a"}), False, frozenset({"b"}), True):
        _hear(said, queue, idle)
    assert idle.is_set() and queue.left_out == {"a", "b"}
    _hear(False, queue, idle)
    assert not idle.is_set()
