"""Leases: one process at a time makes a thing, whoever dies, falls silent or leaves garbage, and whoever lost stops."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import filelock  # looks once at what the system can do: before tests let it refuse hard links
import pytest

from swdb.core import lease
from swdb.core.errors import DiskRefused, LeaseLost
from swdb.core.files import replacing, write_atomic, write_text
from swdb.core.lease import Holder, Lease, check_lease, leased, process_start, this_machine

SILENCE = 0.6  # seconds after which a silent holder is evicted, where a test is about that

PRELUDE = """
import os, random, signal, sys, time
from pathlib import Path
from swdb.core import files, lease
from swdb.core.errors import LeaseLost
def say(line):
    print(line, flush=True)
signal.alarm(60)  # whoever reads what a process says waits no longer than that
lease.POLL, lease.announce, path = 0.01, say, Path(sys.argv[1])
"""
HOLD = """
with lease.leased(path, "training dual-s0"):
    say("held")
    sys.stdin.readline()
say("released")
"""
ON_ANOTHER_MACHINE = "lease.this_machine = lambda: 'another'\n"


@pytest.fixture
def start():
    """A function that starts a process which works below a path; none outlives the test."""
    started = []

    def start(code: str, *arguments: object, silence: float = 90) -> subprocess.Popen:
        command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
        environment = os.environ | {"SWDB_LEASE_SECONDS": str(silence)}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def hear(process: subprocess.Popen) -> str:
    """Return the next line that a process says."""
    return process.stdout.readline().removesuffix("\n")


def tell(process: subprocess.Popen) -> None:
    """Let a process go on."""
    process.stdin.write("\n")


def kill(process: subprocess.Popen) -> None:
    """End a process as the system does where memory runs out: it cleans nothing up."""
    process.kill()
    process.wait()


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what must come sooner or later."""
    for _ in range(6000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it did not come")


@pytest.fixture(autouse=True)
def nothing_is_held_in_the_end():
    yield
    assert lease._held == {}


@pytest.fixture
def path(tmp_path) -> Path:
    """What leases are about: a folder of a work directory, which need not be there."""
    return tmp_path / "runs" / "dual-s0"


@pytest.fixture
def clock(monkeypatch):
    """Let this process's clock stand still until a test moves it."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(lease, "STALE", SILENCE)
    return Clock


def folder_of(path: Path) -> Path:
    """Where the files of a lease are."""
    return path.parent / ".leases" / path.name


def tries(mine: Lease, most: int = 6) -> int:
    """Try until a lease is taken; returns how many tries that took."""
    for number in range(1, most + 1):
        if mine.try_take():
            return number
    pytest.fail(f"not taken with {most} tries")


def is_free(path: Path) -> bool:
    """Whether a lease can be taken at the first try; gives it back."""
    mine = Lease(path)
    if not mine.try_take():
        return False
    mine.release()
    return True


# ---------------------------------------------------------------- two processes


def test_the_second_process_waits_and_says_for_whom(start, path):
    first = start(HOLD, path)
    assert hear(first) == "held"
    second = start(HOLD, path)
    said = hear(second)
    assert said.startswith("waiting for dual-s0, held by ")
    assert f"process {first.pid} on {os.uname().nodename} (training dual-s0, since 20" in said
    tell(first)
    assert [hear(first), hear(second)] == ["released", "held"]


def test_who_waits_says_so_once_and_again_when_another_holds(path, monkeypatch):
    said, slept = [], []
    first, second, mine = Lease(path, "preparing"), Lease(path, "training"), Lease(path)
    assert first.try_take()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 5:
            first.release()
            assert second.try_take()
        if len(slept) == 10:
            second.release()

    monkeypatch.setattr(lease, "announce", said.append)
    monkeypatch.setattr(lease.time, "sleep", sleep)
    mine.take()
    assert len(slept) == 10 and len(said) == 2
    assert "(preparing, " in said[0] and "(training, " in said[1]
    mine.release()


def test_who_holds_a_lease_can_be_read(start, path):
    assert Lease(path).holder() is None
    first = start(HOLD, path)
    assert hear(first) == "held"
    holder = Lease(path).holder()
    assert (holder.machine, holder.pid, holder.doing) == (this_machine(), first.pid, "training dual-s0")
    assert holder.start == process_start(first.pid) and not holder.is_dead


def test_a_holder_that_lives_is_not_superseded_however_often_one_tries(start, path):
    first = start(HOLD, path)
    assert hear(first) == "held"
    mine = Lease(path)
    assert not any(mine.try_take() for _ in range(20))
    assert mine.holder().pid == first.pid


def test_leases_on_other_paths_do_not_wait(start, path):
    first = start(HOLD, path)
    assert hear(first) == "held"
    assert is_free(path.with_name("dual-s1"))
    assert is_free(path.parent)
    assert is_free(path / "evals" / "result.json")


def test_what_is_leased_need_not_be_there_and_stays_untouched(path):
    with leased(path):
        assert not path.exists()
    assert [entry.name for entry in path.parent.iterdir()] == [".leases"]


# ---------------------------------------------------------------- giving back


def test_release_leaves_nothing_held(start, path):
    threads = threading.active_count()
    with leased(path) as held:
        assert held.holder().pid == os.getpid()
        assert threading.active_count() == threads + 1  # refreshes it
        assert not is_free(path)
    assert threading.active_count() == threads
    assert Lease(path).holder() is None
    assert list((folder_of(path) / "1.rw" / "holders").iterdir()) == []
    assert hear(start(HOLD, path)) == "held"


def test_a_lease_is_given_back_where_the_work_fails(path):
    with pytest.raises(ZeroDivisionError), leased(path):
        raise ZeroDivisionError
    assert is_free(path)


def test_a_lease_can_be_taken_again_and_given_back_twice(path):
    mine = Lease(path)
    for _ in range(2):
        assert mine.try_take()
        mine.release()
        mine.release()
    Lease(path.with_name("never-taken")).release()


def test_a_process_that_ends_gives_its_leases_back(start, path):
    # Without a word, as where an error ends it: nobody waits for the silence of a process that ended in peace.
    start("lease.Lease(path).take()", path).wait()
    mine = Lease(path)
    assert tries(mine) <= 3
    mine.release()


def test_leased_is_reentrant_in_one_process(start, path, monkeypatch):
    with leased(path) as held:
        monkeypatch.chdir(path.parent)
        with leased(Path(path.name)) as again:  # the same path, said in another way
            assert again is held
        assert not is_free(path)
        held.check()
        second = start(HOLD, path)
        assert hear(second).startswith("waiting for dual-s0")
    assert hear(second) == "held"


def test_who_gives_back_what_another_holds_takes_nothing_away(path):
    with leased(path):
        other = Lease(path)
        assert not other.try_take()
        other.release()
        assert not is_free(path)
        supersede(path)
        lost(lambda: check_lease(path))


# ---------------------------------------------------------------- holders that died


def test_a_holder_that_was_killed_is_superseded_at_once_on_its_machine(start, path, clock):
    first = start(HOLD, path)
    assert hear(first) == "held"
    mine = Lease(path)
    assert not mine.try_take()
    kill(first)
    assert mine.holder().is_dead
    assert tries(mine) == 3  # twice it looks dead; the clock has not moved
    assert mine.holder().pid == os.getpid()
    mine.check()
    mine.release()
    assert is_free(path)


def test_a_killed_holder_that_is_still_listed_is_dead_too(start, path, clock):
    # A process that was killed is listed until its parent asks for its end.
    first = start(HOLD, path)
    assert hear(first) == "held"
    first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert process_start(first.pid) == "" and Lease(path).holder().is_dead
    mine = Lease(path)
    assert tries(mine) == 3
    mine.release()


def test_nobody_is_told_to_wait_for_the_dead(start, path, monkeypatch):
    said = []
    monkeypatch.setattr(lease, "announce", said.append)
    monkeypatch.setattr(lease, "POLL", 0.01)
    first = start(HOLD, path)
    assert hear(first) == "held"
    kill(first)
    with leased(path):
        assert said == []


def test_the_dead_are_superseded_again_and_again_and_leave_nothing_behind(start, path, clock):
    for _ in range(2):
        process = start(HOLD, path)
        assert hear(process) == "held"
        kill(process)
    mine = Lease(path)
    assert tries(mine) == 3
    numbers = {entry.name.partition(".")[0] for entry in folder_of(path).iterdir()}
    assert len(numbers) == 1  # what the first two left is gone
    mine.release()


def test_a_holder_is_dead_where_its_number_means_another_process_or_none():
    now = {"host": "h", "since": "", "doing": "", "token": "t"}
    own = Holder(machine=this_machine(), pid=os.getpid(), start=process_start(os.getpid()), **now)
    assert not own.is_dead
    assert replace(own, start="1").is_dead  # a later process of the same number
    assert replace(own, pid=2**22 + 1).is_dead  # above the largest number that Linux gives out
    for pid in (own.pid, 2**22 + 1):
        assert not replace(own, pid=pid, machine="another").is_dead  # nobody here can tell


# ---------------------------------------------------------------- holders that fell silent


@pytest.fixture
def silent_holder(start, path) -> subprocess.Popen:
    """A process of another machine that took the lease and died: from here it has fallen silent."""
    process = start(ON_ANOTHER_MACHINE + HOLD, path, silence=SILENCE)
    assert hear(process) == "held"
    kill(process)
    return process


def test_a_silent_holder_of_another_machine_is_evicted_after_its_time_and_not_before(silent_holder, path, clock):
    mine = Lease(path)
    for passed in (0, SILENCE / 3, SILENCE / 2, SILENCE - 0.001):
        clock.now = 1000 + passed
        assert not mine.try_take(), passed
        assert mine.holder().pid == silent_holder.pid and not mine.holder().is_dead
    clock.now = 1000 + SILENCE
    assert mine.try_take()
    assert mine.holder().pid == os.getpid()
    mine.release()


def test_everybody_waits_the_whole_time_from_when_they_first_looked(silent_holder, path, clock):
    # Nobody knows how long a holder was silent before: another's clock, or the time of a file, tells nothing.
    first, second = Lease(path), Lease(path)
    assert not first.try_take()
    clock.now += SILENCE - 0.001
    assert not second.try_take()
    clock.now += 0.002
    assert not second.try_take() and first.try_take()
    first.release()


def test_a_holder_that_said_that_it_speaks_less_often_is_given_its_time(start, path, clock):
    process = start(ON_ANOTHER_MACHINE + HOLD, path, silence=90)
    assert hear(process) == "held"
    kill(process)
    mine = Lease(path)
    for passed in (0, 10 * SILENCE, 89.9):
        clock.now = 1000 + passed
        assert not mine.try_take(), passed
    clock.now = 1000 + 90
    assert mine.try_take()
    mine.release()


def test_a_holder_that_refreshes_its_lease_is_not_evicted(start, path, clock, monkeypatch):
    monkeypatch.setattr(lease, "STALE", 0.3)
    process = start(ON_ANOTHER_MACHINE + HOLD, path, silence=0.3)
    assert hear(process) == "held"
    mine = Lease(path)
    assert not mine.try_take()
    (record,) = (folder_of(path) / "1.rw" / "holders").iterdir()
    seen = record.read_bytes()
    wait_until(lambda: record.read_bytes() != seen)
    clock.now += 1000
    assert not mine.try_take()
    tell(process)
    assert hear(process) == "released"
    assert is_free(path)


def test_wall_clocks_that_jump_or_differ_change_nothing(silent_holder, path, clock, monkeypatch):
    mine = Lease(path)
    for jump in (0, 1e9, -1e9, 4e9):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.7e9 + jump)
        for entry in folder_of(path).rglob("*"):
            os.utime(entry, (1e9 + jump, 1e9 + jump))
        assert not mine.try_take(), jump
    monkeypatch.setattr(time, "time", lambda: 0.0)
    clock.now += SILENCE
    assert mine.try_take()
    for jump in (1e9, -1e9):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.7e9 + jump)
        mine.check()
        assert not is_free(path)
    mine.release()


# ---------------------------------------------------------------- whoever lost its lease stops

WRITE = """
try:
    with lease.leased(path, "training dual-s0"):
        say("held")
        for text in (line.strip() for line in sys.stdin):
            files.write_text(path / "done.json", text)
            say("written " + text)
except LeaseLost as error:
    say(f"lost {error.subject} {error.found}")
sys.stdin.readline()
"""


def test_a_process_that_stood_still_and_lost_its_lease_writes_nothing(start, path):
    first = start(ON_ANOTHER_MACHINE + WRITE, path, silence=SILENCE)
    assert hear(first) == "held"
    first.stdin.write("old\n")
    assert hear(first) == "written old"
    first.send_signal(signal.SIGSTOP)
    second = start(WRITE, path, silence=SILENCE)
    assert hear(second).startswith("waiting for dual-s0, held by process ")
    assert hear(second) == "held"
    second.stdin.write("new\n")
    assert hear(second) == "written new"
    first.stdin.write("late\n")
    first.send_signal(signal.SIGCONT)
    said = hear(first)
    assert said.startswith(f"lost {path} ") and f"process {second.pid}" in said
    assert (path / "done.json").read_text() == "new"
    assert [entry.name for entry in path.iterdir()] == ["done.json"]
    # It gave back what it had lost: that takes nothing away from the second one.
    assert Lease(path).holder().pid == second.pid and not is_free(path)
    second.stdin.write("newer\n")
    assert hear(second) == "written newer"


def supersede(path: Path, epoch: int = 2) -> None:
    """Open another epoch of a lease, as whoever finds its holder dead, or its files damaged, does."""
    (folder_of(path) / f"{epoch}.epoch").touch()


def lost(function: Callable) -> LeaseLost:
    """Return the error of who lost its lease."""
    with pytest.raises(LeaseLost) as caught:
        function()
    return caught.value


def test_nothing_is_renamed_under_a_lease_that_was_lost(path):
    target = path / "evals" / "result.json"
    with leased(path):
        write_text(target, "old")
        supersede(path)
        assert lost(lambda: check_lease(target)).subject == path
        assert lost(lambda: write_text(target, "new")).subject == path
        assert lost(lambda: write_atomic(target, lambda stream: stream.write(b"new"))).subject == path
        with pytest.raises(LeaseLost), replacing(target) as temporary:
            temporary.write_text("new")
    assert target.read_text() == "old"
    assert [entry.name for entry in target.parent.iterdir()] == ["result.json"]


def test_a_lease_that_is_lost_between_begin_and_end_of_a_write_stops_the_write(path):
    target = path / "weights.pt"
    with leased(path):
        write_text(target, "old")
        with pytest.raises(LeaseLost), replacing(target) as temporary:
            temporary.write_text("new")
            supersede(path)
    assert target.read_text() == "old"


def test_a_lost_lease_stops_only_what_lies_below_its_path(path):
    other = path.with_name("dual-s1")
    with leased(path), leased(other):
        supersede(path)
        for place in (path, path / "a" / "b.txt"):
            lost(lambda place=place: check_lease(place))
        for place in (other, other / "b.txt", path.parent, path.with_name("dual-s0.json"), Path("elsewhere")):
            check_lease(place)
        write_text(other / "b.txt", "x")
        assert lost(lambda: write_text(path / "b.txt", "x")).subject == path


def test_a_lease_on_a_file_stops_the_writing_of_that_file_alone(path):
    record = path / "quality.json"
    with leased(record):
        supersede(record)
        write_text(path / "done.json", "x")
        assert lost(lambda: write_text(record, "x")).subject == record
    assert not record.exists()


def test_the_lease_on_a_folder_protects_what_has_a_lease_of_its_own_in_it_too(path):
    with leased(path), leased(path / "quality.json"):
        write_text(path / "quality.json", "old")
        supersede(path)
        assert lost(lambda: write_text(path / "quality.json", "new")).subject == path


def test_a_holder_finds_out_however_many_came_after_it(path):
    # Whoever takes an epoch deletes what earlier ones left, also the file that opened the one before.
    with leased(path) as held:
        supersede(path, 3)
        assert lost(held.check).subject == path


def test_who_holds_nothing_may_write(path):
    write_text(path / "a.txt", "x")
    check_lease(path)
    with leased(path):
        check_lease(path)
    supersede(path)
    check_lease(path)


@pytest.fixture
def stand_still(monkeypatch):
    """A function that lets this process have been stopped for long; its refreshing thread has noticed nothing yet."""
    clock = lease._uptime

    def stand_still() -> None:
        monkeypatch.setattr(lease, "_uptime", lambda: clock() + 1e5)

    return stand_still


def test_the_note_of_another_holder_is_seen_after_having_stood_still(path, stand_still):
    with leased(path) as held:
        note = folder_of(path) / "1.json"
        note.write_text(json.dumps(json.loads(note.read_text()) | {"token": "another", "doing": "training"}))
        held.check()  # so soon after it was taken nobody can have evicted it
        stand_still()
        error = lost(held.check)
        assert error.subject == path and "(training, " in error.found
        assert lost(lambda: write_text(path / "a.txt", "x")).subject == path  # and lost it stays


def test_a_note_that_is_gone_after_having_stood_still_is_another_s_doing(path, stand_still):
    with leased(path) as held:
        (folder_of(path) / "1.json").unlink()
        stand_still()
        assert lost(held.check).subject == path


def test_a_holder_that_stood_still_and_lost_nothing_goes_on(path, stand_still):
    with leased(path) as held:
        stand_still()
        held.check()
        write_text(path / "a.txt", "x")


def test_the_refreshing_thread_finds_out_that_the_holder_was_evicted(path, monkeypatch):
    monkeypatch.setattr(lease, "STALE", 0.15)
    monkeypatch.setattr(lease, "_uptime", lambda: 0.0)
    with leased(path) as held:
        held.check()
        shutil.rmtree(folder_of(path) / "1.rw" / "holders")  # of which whoever evicts it deletes its record
        wait_until(lambda: held._lock.compromise is not None)
        assert lost(held.check).subject == path
        assert lost(lambda: write_text(path / "a.txt", "x")).subject == path


# ---------------------------------------------------------------- garbage

NOTES = {
    "empty": b"",
    "no JSON": b"held by me",
    "no text": b"\xff\xfe\x00",
    "a list": b"[1]",
    "a number": b"7",
    "nothing said": b"{}",
    "a key too many": json.dumps(asdict(Holder("m", "h", 1, "1", "s", "d", "t")) | {"x": 1}).encode(),
    "a number that is none": json.dumps(asdict(Holder("m", "h", 1, "1", "s", "d", "t")) | {"pid": "1"}).encode(),
    "a truth for a number": json.dumps(asdict(Holder("m", "h", 1, "1", "s", "d", "t")) | {"pid": True}).encode(),
    "a machine that is none": json.dumps(asdict(Holder("m", "h", 1, "1", "s", "d", "t")) | {"machine": None}).encode(),
    "a folder": None,
}


def put(path: Path, content: bytes | None) -> None:
    """Put garbage in a place: bytes or, for None, a folder with something in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if content is None:
        (path / "folder").mkdir(parents=True)
    else:
        path.write_bytes(content)


def proves_to_be_a_lease(path: Path) -> None:
    """A lease can be taken after at most a few tries, by one alone, and by others after that."""
    first, second = Lease(path), Lease(path)
    tries(first)
    assert first.holder().token == first.token
    first.check()
    assert not any(second.try_take() for _ in range(3))
    first.check()
    first.release()
    assert tries(second) <= 2
    second.release()
    assert Lease(path).holder() is None and is_free(path)


@pytest.mark.parametrize("note", NOTES)
def test_garbage_in_the_note_of_a_holder_that_lives_changes_nothing_but_what_is_said(path, note):
    first, second = Lease(path), Lease(path)
    assert first.try_take()
    put(folder_of(path) / "1.json", NOTES[note])
    assert second.holder() is None
    assert not any(second.try_take() for _ in range(5))
    first.check()
    first.release()
    proves_to_be_a_lease(path)


def test_a_dead_holder_with_a_damaged_note_is_evicted_after_its_time(start, path, clock):
    process = start(HOLD, path, silence=SILENCE)
    assert hear(process) == "held"
    (folder_of(path) / "1.json").write_text("garbage")
    kill(process)
    mine = Lease(path)
    assert not any(mine.try_take() for _ in range(5))
    clock.now += SILENCE
    assert mine.try_take()
    mine.release()


GARBAGE = (
    "x.epoch",
    ".epoch",
    "-1.epoch",
    "0.epoch",
    "2x.epoch",
    "1.5.epoch",
    "2.epoch.bak",
    "²",
    "².epoch",
    "1e9.epoch",
)


def test_files_whose_names_are_not_epochs_are_passed_over(path):
    for name in GARBAGE:
        write_text(folder_of(path) / name, "garbage")
    with leased(path) as held:
        assert held.epoch == 1
        held.check()
    proves_to_be_a_lease(path)


@pytest.mark.parametrize("name", ["007.epoch", "٣.epoch", f"{10**60}.epoch"])
def test_a_number_written_in_another_way_is_an_epoch_like_others(path, name):
    write_text(folder_of(path) / name, "garbage")
    proves_to_be_a_lease(path)


@pytest.mark.parametrize("name", ["0.json", "0.rw", "0.epoch", "2.epoch", "3.epoch"])
@pytest.mark.parametrize("content", [b"garbage", None], ids=["file", "folder"])
def test_what_lies_in_the_place_of_an_epoch_s_files_is_no_obstacle(path, name, content):
    folder_of(path).mkdir(parents=True)
    put(folder_of(path) / name, content)
    proves_to_be_a_lease(path)
    supersede(path, 4)
    proves_to_be_a_lease(path)


def newest(folder: Path) -> Path:
    """The file that says who holds a lock."""
    return max((folder / "1.rw" / "gen").glob("0*"))


LOCKS = {
    "who holds it, garbage": lambda folder: newest(folder).write_bytes(b"garbage"),
    "who holds it, empty": lambda folder: newest(folder).write_bytes(b""),
    "who holds it, a folder": lambda folder: put(newest(folder), None),
    "all of it, garbage": lambda folder: [put(file, b"garbage") for file in (folder / "1.rw" / "gen").iterdir()],
    "its head, garbage": lambda folder: put(folder / "1.rw" / "gen" / "HEAD", b"garbage"),
    "its identity, garbage": lambda folder: put(folder / "1.rw" / "gen" / "epoch", b"\xff"),
    "files of others": lambda folder: [put(folder / "1.rw" / "gen" / name, b"") for name in ("1", "x", ".commit-")],
    "holders of others": lambda folder: put(folder / "1.rw" / "holders" / ("a" * 32), b"garbage"),
    "gone": lambda folder: shutil.rmtree(folder / "1.rw"),
    "gone in part": lambda folder: shutil.rmtree(folder / "1.rw" / "gen"),
    "a file": lambda folder: put(folder / "1.rw", b""),
    "a file for its states": lambda folder: put(folder / "1.rw" / "gen", b""),
    "a file for its holders": lambda folder: put(folder / "1.rw" / "holders", b""),
    "a link": lambda folder: (folder / "1.rw").rename(folder / "x") and (folder / "1.rw").symlink_to(folder / "x"),
}


@pytest.mark.parametrize("damage", LOCKS)
def test_garbage_in_the_lock_s_own_files_is_got_over(path, damage):
    assert is_free(path)  # its files are there now
    LOCKS[damage](folder_of(path))
    proves_to_be_a_lease(path)


def test_garbage_is_got_over_whatever_the_work_directory_is_called(tmp_path):
    path = tmp_path / "hard links" / "dual-s0"
    assert is_free(path)
    newest(folder_of(path)).write_bytes(b"garbage")
    proves_to_be_a_lease(path)


def test_a_holder_whose_lock_is_damaged_finds_out_that_another_took_over(path):
    with leased(path) as held:
        newest(folder_of(path)).write_bytes(b"garbage")
        held.check()
        second = Lease(path)
        assert tries(second) == 2
        assert lost(held.check).subject == path
        second.check()
        second.release()


# ---------------------------------------------------------------- disks that refuse


def refused(function: Callable) -> DiskRefused:
    """Return the error of a disk that takes nothing."""
    with pytest.raises(DiskRefused) as caught:
        function()
    return caught.value


@pytest.fixture
def refuse(monkeypatch):
    """A function that lets the disk take nothing any more: no folder and no file is made, written or renamed."""

    def refuse(number: int) -> None:
        def fail(*arguments, **options):
            raise OSError(number, os.strerror(number))

        opened = os.open

        def open_to_read(name, flags, *arguments, **options):
            return opened(name, flags, *arguments, **options) if flags & os.O_ACCMODE == os.O_RDONLY else fail()

        for function in ("mkdir", "link", "rename", "replace", "unlink"):
            monkeypatch.setattr(os, function, fail)
        monkeypatch.setattr(os, "open", open_to_read)

    return refuse


@pytest.mark.parametrize("leased_before", [False, True], ids=["the first time", "again"])
@pytest.mark.parametrize(
    ("number", "fragment"),
    [
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no permission"),
        (errno.ENOSPC, "full"),
        (errno.EIO, "cannot be used"),
    ],
)
def test_a_disk_that_takes_nothing_is_an_error_about_the_lease(
    path, refuse, monkeypatch, number, fragment, leased_before
):
    if leased_before:
        assert is_free(path)
    refuse(number)
    for function in (Lease(path).try_take, Lease(path).take, leased(path).__enter__):
        error = refused(function)
        assert error.subject == path and fragment in error.found
    monkeypatch.undo()
    proves_to_be_a_lease(path)


def test_a_file_in_the_way_is_an_error_about_the_lease(path):
    write_text(path.parent / ".leases", "a file")
    error = refused(Lease(path).try_take)
    assert error.subject == path and "file" in error.found


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_is_refused(path, monkeypatch, number):
    def link(*arguments, **options):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        error = refused(Lease(path).try_take)
        assert error.subject == path and "hard links" in error.found
    proves_to_be_a_lease(path)


def test_a_lease_whose_note_cannot_be_written_is_not_held(path, monkeypatch):
    def write_text(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    threads, mine = threading.active_count(), Lease(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", write_text)
        assert "full" in refused(mine.try_take).found
    assert threading.active_count() == threads  # nobody refreshes it
    proves_to_be_a_lease(path)


# ---------------------------------------------------------------- processes and machines


def test_a_process_is_known_by_when_it_began_whatever_it_calls_itself(start, path):
    process = start('Path("/proc/self/comm").write_text(") Z 1 (")\nsay("renamed")\nsys.stdin.readline()', path)
    before = process_start(process.pid)
    assert hear(process) == "renamed"
    assert before.isdecimal() and process_start(process.pid) == before != process_start(os.getppid())
    kill(process)
    assert process_start(process.pid) == ""


def test_without_a_list_of_processes_one_is_running_or_is_not(start, path, monkeypatch):
    process = start("say(0)\nsys.stdin.readline()", path)
    assert hear(process) == "0"
    monkeypatch.setattr(Path, "exists", lambda self: False)
    monkeypatch.setattr(Path, "read_text", lambda self, **options: (_ for _ in ()).throw(FileNotFoundError(self)))
    assert process_start(process.pid) == "unknown"
    kill(process)
    assert process_start(process.pid) == "" and process_start(10**30) == "unknown"


def test_a_machine_is_named_by_its_boot_and_by_where_process_numbers_mean_one_process():
    assert this_machine() == this_machine()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for part in (os.uname().nodename, boot, os.readlink("/proc/self/ns/pid")):
        assert part in this_machine()


# ---------------------------------------------------------------- many at once

# Each of many rounds takes a lease at random, proves with a file that only one can create that nobody else has it, and
# counts one up. A process that is told to dies in one of its rounds: its file names it, and the next one may remove it.
CONTEND = """
name, rounds, last = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
own = path / f"{name}.claim"
own.write_text(str(os.getpid()))
say("ready")
sys.stdin.readline()
for k in range(rounds):
    thing = path / f"thing-{random.randrange(3)}"
    with lease.leased(thing, name):
        guard, counter = thing.with_suffix(".guard"), thing.with_suffix(".count")
        if guard.exists() and lease.process_start(int(guard.read_text())) == "":
            guard.unlink()
        os.link(own, guard)  # fails where it is there
        before = int(counter.read_text()) if counter.exists() else 0
        if k == last:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.001)
        files.write_text(counter, str(before + 1))
        guard.unlink()
say("done")
"""


def contend(start, folder: Path, rounds: int, dying: tuple[int, ...], living: int) -> None:
    """Let processes contend; those that are to die do so in the given rounds."""
    lasts = [*dying, *[-1] * living]
    processes = [start(CONTEND, folder, f"p{k}", rounds, last) for k, last in enumerate(lasts)]
    assert [hear(process) for process in processes] == ["ready"] * len(processes)
    for process in processes:
        tell(process)
    for process, last in zip(processes, lasts, strict=True):
        said = [line for line in process.stdout.read().splitlines() if not line.startswith("waiting for ")]
        assert (said, process.wait()) == (([], -signal.SIGKILL) if last >= 0 else (["done"], 0))
    counted = sum(int(file.read_text()) for file in folder.glob("*.count"))
    assert counted == sum(dying) + living * rounds
    assert lease._held == {}


def test_processes_that_contend_for_leases_never_hold_one_at_the_same_time(start, tmp_path):
    contend(start, tmp_path, rounds=12, dying=(), living=3)


def test_nor_do_they_where_some_are_killed_while_they_hold_one(start, tmp_path):
    contend(start, tmp_path, rounds=8, dying=(0, 2), living=2)
    for k in range(3):
        mine = Lease(tmp_path / f"thing-{k}")
        assert tries(mine) <= 3
        mine.release()


def test_the_parent_of_a_process_is_known():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert lease.parent_of(child.pid) == os.getpid()
    finally:
        child.communicate(b"\n")
    assert lease.parent_of(2**22 + 1) == 0


# ---------------------------------------------------------------- signs of life


def test_the_silence_of_a_holder_is_told_by_the_disks_clock(tmp_path):
    held = Lease(tmp_path / "x")
    assert held.silence(lease.now_on_disk(tmp_path)) == math.inf
    assert held.try_take()
    assert held.silence(lease.now_on_disk(tmp_path)) < 30
    (sign,) = (held.folder / "1.rw" / "holders").iterdir()
    heard = lease.now_on_disk(tmp_path) - 500
    os.utime(sign, (heard, heard))
    assert 499 < Lease(tmp_path / "x").silence(lease.now_on_disk(tmp_path)) < 530
    held.release()
    assert held.silence(lease.now_on_disk(tmp_path)) == math.inf


def test_a_holder_at_work_is_never_silent_for_long(start, tmp_path):
    holder = start(HOLD, tmp_path / "x", silence=0.6)
    assert hear(holder) == "held"
    for _ in range(10):
        time.sleep(0.2)
        assert Lease(tmp_path / "x").silence(lease.now_on_disk(tmp_path)) < 0.6
    tell(holder)


def test_the_disks_clock_leaves_nothing_behind_and_needs_a_disk_that_can_be_written(tmp_path):
    assert lease.now_on_disk(tmp_path) == pytest.approx(time.time(), abs=10)
    assert list(tmp_path.iterdir()) == []
    assert lease.now_on_disk(tmp_path / "nowhere") is None


@pytest.mark.parametrize("note_too", [False, True])
def test_a_full_disk_at_the_end_of_a_holding_keeps_nobody_waiting(tmp_path, monkeypatch, note_too):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    first = Lease(tmp_path / "x")
    if note_too:
        monkeypatch.setattr(lease, "_write_note", full)
    monkeypatch.setattr(filelock.SoftReadWriteLock, "release", full)
    if note_too:
        with pytest.raises(DiskRefused):
            first.try_take()
    else:
        assert first.try_take()
        first.release()
    monkeypatch.undo()
    second = Lease(tmp_path / "x")
    assert second.try_take()
    second.release()


@pytest.mark.parametrize(
    ("said", "zero", "seconds"),
    [("30", False, 30.0), ("0", False, 90.0), ("0", True, 0.0), ("20s", True, 90.0), ("nan", True, 90.0), ("inf", True, 90.0), ("-1", True, 90.0), ("", True, 90.0)],
)  # fmt: skip
def test_seconds_of_the_environment_are_numbers_or_the_default(monkeypatch, said, zero, seconds):
    monkeypatch.setenv("SWDB_TEST_SECONDS", said)
    assert lease.seconds_said("SWDB_TEST_SECONDS", 90.0, zero) == seconds
