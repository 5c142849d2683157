"""Parts of one artefact's work that several processes share."""

import subprocess
import sys

import pytest

from swdb.core import shares
from swdb.core.lease import Lease
from swdb.core.shares import forget_parts, take_parts


@pytest.fixture
def parts(tmp_path):
    return [tmp_path / f"{k}.txt" for k in range(6)]


def take(tmp_path, parts, to_the_end=True):
    return take_parts(tmp_path / ".parts", parts, lambda path: path.is_file(), "test", to_the_end)


def test_one_process_does_all_parts_in_order_but_those_that_are_done(tmp_path, parts):
    parts[2].touch()
    done = []
    for part in take(tmp_path, parts):
        part.touch()
        done.append(part)
    assert done == [part for part in parts if part != parts[2]]
    forget_parts(tmp_path / ".parts")
    assert not (tmp_path / ".parts").exists()


def test_who_helps_leaves_what_others_are_at_and_does_not_wait(tmp_path, parts):
    holder = Lease(tmp_path / ".parts" / "000001", "another")
    assert holder.try_take()
    done = []
    for part in take(tmp_path, parts, to_the_end=False):
        part.touch()
        done.append(part)
    assert done == [part for part in parts if part != parts[1]]
    holder.release()


def test_who_makes_the_artefact_waits_for_the_others_and_takes_over_what_they_leave(tmp_path, parts, monkeypatch):
    holder = Lease(tmp_path / ".parts" / "000001", "another")
    assert holder.try_take()
    monkeypatch.setattr(shares.time, "sleep", lambda _: holder.release())
    done = []
    for part in take(tmp_path, parts):
        part.touch()
        done.append(part)
    assert done[-1] == parts[1] and sorted(done) == parts


def test_three_processes_do_every_part_once(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from swdb.core.shares import take_parts\n"
        "root = Path(sys.argv[1]); parts = [root / f'{k}' for k in range(30)]\n"
        "for part in take_parts(root / '.parts', parts, lambda p: p.is_file(), 'test', sys.argv[2] == 'all'):\n"
        "    time.sleep(0.01); part.touch(); print(part.name)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), kind], stdout=subprocess.PIPE, text=True)
        for kind in ("all", "help", "help")
    ]
    done = [name for process in started for name in process.communicate(timeout=60)[0].split()]
    assert sorted(done, key=int) == [str(k) for k in range(30)]
    assert all(process.returncode == 0 for process in started)


def test_a_part_that_was_not_done_though_it_was_taken_is_not_taken_again(tmp_path, parts):
    assert len(list(take(tmp_path, parts, to_the_end=False))) == len(parts)
