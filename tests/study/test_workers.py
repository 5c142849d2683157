"""Workers make everything once side by side; what dies, fails or is stopped harms nothing else."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
import toy_worker
import toys

from swdb.core.errors import BadInput, DiskRefused, MissingArtefact, NotMade
from swdb.core.journal import Journal, last_lines
from swdb.core.lease import Lease, process_start
from swdb.study.capacity import Slot
from swdb.study.workers import Workers


class Display:
    """A display that remembers what it was told."""

    def __init__(self, on_stage=lambda name: None):
        self.lines: list[str] = []
        self.on_stage = on_stage

    def lane(self, number: int) -> "Display":
        return self

    def progress(self, name: str, total: int, counts: bool = False):
        self.on_stage(name)
        return lambda done, of: None

    def idle(self) -> None:
        pass

    def tell(self, line: str) -> None:
        self.lines.append(line)


def work(folder, artefacts, count=2, display=None, program=toy_worker.PROGRAM, slots=None):
    slots = slots or [Slot("cpu")] * count
    with Workers(slots, folder, "fp32", 1, "playing", display or Display(), program=program) as workers:
        return workers.make(artefacts)


def names(failures) -> list[str]:
    return [artefact.name for artefact, _ in failures]


def made(folder) -> Counter:
    return Counter(toys.made(folder))


def begun_with_the_root(folder, artefacts, **behaviour) -> tuple[list, Display, list[str]]:
    """Let workers begin with the root alone; returns failures, the display, and what was there before they got the rest."""
    display = Display()
    with Workers([Slot("cpu")] * 2, folder, "fp32", 1, "playing", display, program=toy_worker.PROGRAM) as workers:
        workers.begin(artefacts[:1])
        until = time.monotonic() + 60
        while not toys.made(folder) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.2)  # long enough for what would be made too early
        early = toys.made(folder)
        return workers.make(artefacts), display, early


def test_workers_begin_with_what_they_can_and_wait_for_the_rest(tmp_path):
    artefacts = toy_worker.planned(tmp_path, 3)
    failures, _, early = begun_with_the_root(tmp_path, artefacts)
    assert failures == [] and early == ["root"]
    assert made(tmp_path) == Counter(one.name for one in artefacts)


def test_a_worker_that_dies_before_the_rest_is_known_is_replaced(tmp_path):
    artefacts = toy_worker.planned(tmp_path, 2, root="kill 1")
    failures, display, early = begun_with_the_root(tmp_path, artefacts)
    assert failures == [] and set(early) == {"root"}
    assert all(one.done for one in artefacts)
    assert any("was killed by signal 9" in line for line in display.lines)


def test_what_fails_before_the_rest_is_known_is_left_out_with_what_is_made_from_it(tmp_path):
    artefacts = toy_worker.planned(tmp_path, 2, root="fail")
    failures, _, early = begun_with_the_root(tmp_path, artefacts)
    assert names(failures) == ["root"] and early == ["root"]
    assert not any(one.done for one in artefacts)


def test_everything_is_made_once_by_several_processes(tmp_path):
    artefacts = toy_worker.planned(tmp_path, 6)
    display = Display()
    assert work(tmp_path, artefacts, 3, display) == []
    assert made(tmp_path) == Counter(one.name for one in artefacts)
    assert all(one.done for one in artefacts) and display.lines == []
    assert not [*(tmp_path / "logs").glob("worker-*")]


def test_a_worker_that_is_killed_is_reported_and_what_it_made_is_tried_once_more(tmp_path):
    artefacts = toy_worker.planned(tmp_path, m1="kill 1")
    display = Display()
    assert work(tmp_path, artefacts, 2, display) == []
    assert made(tmp_path)["m1"] == 2 and all(one.done for one in artefacts)
    m1 = next(one for one in artefacts if one.name == "m1")
    told = "\n".join(display.lines)
    assert f"was killed by signal 9 while it made {m1.id}; its last lines:" in told
    assert "  the last words of m1" in told and "it is tried once more" in told


@pytest.mark.parametrize(
    ("behaviour", "found"), [("kill", "was killed by signal 9"), ("exit", "ended with exit code 7")]
)
def test_what_kills_its_worker_twice_is_left_out_with_what_is_made_from_it(tmp_path, behaviour, found):
    artefacts = toy_worker.planned(tmp_path, m1=behaviour)
    display = Display()
    ((artefact, error),) = work(tmp_path, artefacts, 2, display)
    assert artefact.name == "m1" and isinstance(error, MissingArtefact) and found in error.found
    assert {one.name for one in artefacts if not one.done} == {"m1", "e1"}
    assert made(tmp_path)["m1"] == 2
    assert f"error: the process that made it {found}" in last_lines(Journal(tmp_path, artefact.id).path)[0]


@pytest.mark.parametrize(("behaviour", "kind"), [("fail", BadInput), ("bug", ZeroDivisionError)])
def test_what_cannot_be_made_is_left_out_and_everything_else_goes_on(tmp_path, behaviour, kind):
    artefacts = toy_worker.planned(tmp_path, m0=behaviour)
    display = Display()
    ((artefact, error),) = work(tmp_path, artefacts, 2, display)
    assert artefact.name == "m0" and type(error) is kind
    assert f"in {behaviour}\n" in str(error.__cause__)  # the traceback of the worker
    assert {one.name for one in artefacts if not one.done} == {"m0", "e0"}
    assert made(tmp_path)["m0"] == 1, (tmp_path / "made.log").read_text()  # what an error says once, it says again
    (line,) = [line for line in display.lines if line.startswith("failed: ")]
    assert artefact.id in line and line.endswith("left out with it: e0; everything else goes on")


def test_a_full_disk_ends_all_work(tmp_path):
    artefacts = toy_worker.planned(tmp_path, m0="full", m1="slow", m2="slow")
    with pytest.raises(DiskRefused) as caught:
        work(tmp_path, artefacts, 2)
    assert caught.value.found == "the disk is full"
    assert not any(one.done for one in artefacts if one.name.startswith("e"))


def test_what_another_process_took_over_is_left_to_it(tmp_path):
    artefacts = toy_worker.planned(tmp_path, m0="lost 1")
    display = Display()
    assert work(tmp_path, artefacts, 2, display) == []
    assert all(one.done for one in artefacts)
    assert [line for line in display.lines if "taken over by somebody" in line]


def test_one_interrupt_lets_all_workers_save_their_work(tmp_path):
    artefacts = toy_worker.planned(tmp_path, m0="slow", m1="slow", m2="slow")
    begun = []

    def on_stage(name):
        begun.append(name)
        if len(begun) == 2:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    display = Display(on_stage)
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, artefacts, 2, display)
    saved = {path.parent for path in tmp_path.glob("toys/*/saved.txt")}
    assert len(saved) == 2 and display.lines[-1].startswith("stopping: ")
    assert not [one for one in artefacts if one.done and one.name != "root"]


def test_an_interrupt_before_the_rest_is_known_lets_them_save_their_work(tmp_path):
    (root, *_) = toy_worker.planned(tmp_path, root="slow")
    display = Display()
    workers = Workers([Slot("cpu")], tmp_path, "fp32", 1, "playing", display, program=toy_worker.PROGRAM)
    with pytest.raises(KeyboardInterrupt), workers:
        workers.begin([root])
        until = time.monotonic() + 60
        while not toys.made(tmp_path) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)  # from there to where it can be interrupted
        raise KeyboardInterrupt
    assert (root.folder / "saved.txt").exists() and display.lines[-1].startswith("stopping: ")


def test_a_second_interrupt_kills_them(tmp_path):
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import os, signal, sys, time\nfrom multiprocessing.connection import Connection\n"
        "c = Connection(int(sys.argv[-1])); c.recv(); signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "c.send(('stage', str(os.getpid()), 1, False)); time.sleep(600)\n"
    )
    pids = []

    def on_stage(name):
        pids.append(int(name))
        for seconds in (0.2, 0.6):
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, toy_worker.planned(tmp_path), 1, Display(on_stage), (sys.executable, str(stubborn)))
    assert time.monotonic() - began < 300 and process_start(pids[0]) == ""


def test_workers_stop_when_the_command_that_started_them_is_killed(tmp_path):
    artefacts = toy_worker.planned(tmp_path, root="slow")
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\nfrom pathlib import Path; import toy_worker, test_workers\n"
        "folder = Path(sys.argv[1])\n"
        "test_workers.work(folder, toy_worker.planned(folder, root='slow'), 1, test_workers.Display(lambda n: print(n, flush=True)))\n"
    )
    here = str(toy_worker.__file__).rpartition("/")[0]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, f"{here}/study"])}
    command = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), here], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert command.stdout.readline() == "root\n"
    command.kill()
    command.communicate()
    saved = artefacts[0].folder / "saved.txt"
    for _ in range(200):
        if saved.is_file():
            break
        time.sleep(0.05)
    assert saved.is_file()


def test_a_worker_knows_its_gpu_and_its_threads_before_anything_is_loaded(tmp_path):
    speaks = tmp_path / "speaks.py"
    speaks.write_text(
        "import os, sys\nfrom multiprocessing.connection import Connection\n"
        "c = Connection(int(sys.argv[-1])); c.recv()\n"
        "assert 'torch' not in sys.modules\n"
        "c.send(('tell', ' '.join(os.environ.get(name, '-') for name in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS'))))\n"
    )
    display = Display()
    slots = [Slot("cuda", "3"), Slot("cuda", "GPU-5f")]
    with pytest.raises(NotMade):  # they only speak
        work(tmp_path, toy_worker.planned(tmp_path), 2, display, (sys.executable, str(speaks)), slots)
    assert sorted(display.lines) == ["3 1", "GPU-5f 1"]


ALONE = """
import os, sys, time
from multiprocessing.connection import Connection
from pathlib import Path
connection, mark = Connection(int(sys.argv[-1])), Path(__file__).with_suffix(".mark")
root, other, *_ = connection.recv().artefacts
connection.send(("ready",))

def said():
    while not isinstance(found := connection.recv(), bool):
        pass
    return found

try:
    os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
except FileExistsError:  # the second one takes something up when the first has heard that it has not
    while not mark.with_suffix(".heard").exists():
        time.sleep(0.01)
    connection.send(("begin", other.id))
    time.sleep(0.5)
    sys.exit()
connection.send(("begin", root.id))
connection.send(("tell", f"idle: {said()}"))
mark.with_suffix(".heard").touch()
connection.send(("tell", f"idle: {said()}"))
"""


def test_who_works_alone_is_told_that_a_core_is_idle(tmp_path):
    speaks = tmp_path / "speaks.py"
    speaks.write_text(ALONE)
    display = Display()
    with pytest.raises(NotMade):  # they only speak
        work(tmp_path, toy_worker.planned(tmp_path), 2, display, (sys.executable, str(speaks)))
    assert display.lines[:2] == ["idle: True", "idle: False"]


def test_workers_that_cannot_begin_are_an_error_with_their_last_words(tmp_path):
    program = (sys.executable, "-c", "import sys; sys.exit('no such library')")
    display = Display()
    with pytest.raises(MissingArtefact) as caught:
        work(tmp_path, toy_worker.planned(tmp_path), 1, display, program)
    assert caught.value.found == "workers cannot be started"
    assert "  no such library" in display.lines


def test_workers_that_die_while_they_wait_are_replaced_as_long_as_others_work(tmp_path):
    artefacts = toy_worker.planned(tmp_path, root="slow")
    display = Display()
    with Workers([Slot("cpu")] * 2, tmp_path, "fp32", 1, "playing", display, program=toy_worker.PROGRAM) as workers:
        killing = threading.Thread(target=kill_two_idle, args=(workers, artefacts[0], display))
        killing.start()
        with pytest.raises(KeyboardInterrupt):
            workers.make(artefacts)
        killing.join()
    assert sum("was killed by signal 9" in line for line in display.lines) == 2
    assert display.lines.count("another one is started") == 2


def kill_two_idle(workers, making, display) -> None:
    """Kill the worker that waits for what another one is making, then its successor, then interrupt them all."""
    holder, end = None, time.monotonic() + 50
    for deaths in (1, 2):
        while sum("was killed" in line for line in display.lines) < deaths and time.monotonic() < end:
            holder = holder or Lease(making.folder).holder()
            for worker in [*workers._workers]:
                if holder is not None and worker.ready and worker.process.pid != holder.pid:
                    worker.process.kill()
            time.sleep(0.05)
    while sum(worker.ready for worker in [*workers._workers]) < 2 and time.monotonic() < end:
        time.sleep(0.05)  # not while a successor is being started: then nobody knows it yet
    os.kill(os.getpid(), signal.SIGINT)


def test_a_worker_that_somebody_else_interrupts_is_replaced(tmp_path):
    artefacts = toy_worker.planned(tmp_path, m0="interrupt 1")
    display = Display()
    assert work(tmp_path, artefacts, 1, display) == []
    assert all(one.done for one in artefacts)
    assert any("ended with exit code 130 while it made" in line for line in display.lines)


def test_workers_that_end_before_all_is_made_are_not_taken_for_success(tmp_path):
    program = (sys.executable, "-c", "pass")
    artefacts = toy_worker.planned(tmp_path)
    with pytest.raises(NotMade) as caught:
        work(tmp_path, artefacts, 2, None, program)
    assert caught.value.subject == artefacts[0].folder
