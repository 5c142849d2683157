"""Parts of one artefact's work that several processes share."""

import os
import subprocess
import sys
from contextlib import closing

import pytest

from swdb.core import shares
from swdb.core.errors import DiskRefused
from swdb.core.folders import put_in_place
from swdb.core.lease import Lease
from swdb.core.shares import (
    adding_to,
    are_offered,
    forget_parts,
    offer_parts,
    open_folder,
    parts_folder,
    replacing_in,
    shared_parts,
    take_parts,
)


def terms_of(**others):
    """Return what says on which terms a process computes."""
    return lambda: {"device": "cpu", "threads": 1} | others


TERMS = terms_of()


@pytest.fixture
def parts(tmp_path):
    return [tmp_path / f"{k}.txt" for k in range(6)]


def take(tmp_path, parts, to_the_end=True):
    offer_parts(tmp_path / ".parts", TERMS)
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
    offer_parts(tmp_path / ".parts", TERMS)
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), kind], stdout=subprocess.PIPE, text=True)
        for kind in ("all", "help", "help")
    ]
    done = [name for process in started for name in process.communicate(timeout=60)[0].split()]
    assert sorted(done, key=int) == [str(k) for k in range(30)]
    assert all(process.returncode == 0 for process in started)


def test_a_part_that_was_not_done_though_it_was_taken_is_not_taken_again(tmp_path, parts):
    assert len(list(take(tmp_path, parts, to_the_end=False))) == len(parts)


def test_an_error_keeps_no_lease(tmp_path, parts):
    with pytest.raises(ValueError, match="x") as kept, closing(take(tmp_path, parts)) as taken:
        for _ in taken:
            raise ValueError("x")
    assert kept.value.__traceback__ is not None  # and with it all that the loop held
    assert Lease(tmp_path / ".parts" / "000000", "another").try_take()


def test_who_waits_sees_soon_that_the_others_are_done(tmp_path, parts, monkeypatch):
    holder = Lease(tmp_path / ".parts" / "000001", "another")
    assert holder.try_take()
    slept = []
    monkeypatch.setattr(shares.time, "sleep", lambda seconds: slept.append(seconds) or parts[1].touch())
    for part in take(tmp_path, parts):
        part.touch()
    assert slept == [shares.POLL / shares.LOOKS]


# ---------------------------------------------------------------- what is offered, and to whom


def test_parts_are_offered_on_terms_until_they_are_forgotten(tmp_path):
    folder = parts_folder(tmp_path / "masks")
    assert folder.parent == tmp_path and not folder.exists()
    assert not are_offered(folder, TERMS)
    offer_parts(folder, TERMS)
    assert are_offered(folder, terms_of()) and not are_offered(folder, terms_of(threads=2))
    offer_parts(folder, terms_of(sizes=(1, 2)))
    assert are_offered(folder, terms_of(sizes=(1, 2))) and not are_offered(folder, TERMS)
    forget_parts(folder)
    assert not are_offered(folder, TERMS) and list(tmp_path.iterdir()) == []
    forget_parts(folder)


def test_parts_are_offered_while_they_are_done_and_forgotten_when_they_are(tmp_path, parts):
    folder = tmp_path / ".parts"
    with shared_parts(folder, TERMS, parts, lambda path: path.is_file(), "test") as taken:
        for part in taken:
            assert are_offered(folder, TERMS)
            part.touch()
    assert sorted(tmp_path.iterdir()) == parts


def test_parts_stay_offered_where_an_error_leaves_some(tmp_path, parts):
    with (
        pytest.raises(ValueError, match="x"),
        shared_parts(tmp_path / ".parts", TERMS, parts, lambda path: path.is_file(), "test") as taken,
    ):
        next(taken)
        raise ValueError("x")
    assert are_offered(tmp_path / ".parts", TERMS)
    assert Lease(tmp_path / ".parts" / "000000", "another").try_take()


def test_a_single_part_is_not_offered(tmp_path, parts):
    for part in parts[1:]:
        part.touch()
    with shared_parts(tmp_path / ".parts", TERMS, parts, lambda path: path.is_file(), "test") as taken:
        assert list(taken) == parts[:1] and not (tmp_path / ".parts").exists()


def test_where_nothing_is_offered_any_more_nothing_is_taken_and_no_folder_made(tmp_path, parts):
    taken = take(tmp_path, parts, to_the_end=False)
    forget_parts(tmp_path / ".parts")
    with pytest.raises(DiskRefused):
        next(taken)
    assert list(tmp_path.iterdir()) == []


def test_leases_may_be_forgotten_while_one_is_held(tmp_path, parts):
    with closing(take(tmp_path, parts, to_the_end=False)) as taken:
        next(taken)
        forget_parts(tmp_path / ".parts")
        with pytest.raises(DiskRefused):
            next(taken)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- adding files


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / "there.png").write_bytes(b"old")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_is_opened_clean_and_one_that_cannot_be_is_an_error(folder, tmp_path):
    half = folder / f".there.png.{'0' * 12}.tmp"
    half.touch()
    open_folder(folder)
    open_folder(tmp_path / "a" / "b")
    assert not half.exists() and (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(DiskRefused) as caught:
        open_folder(tmp_path / "file" / "b")
    assert caught.value.subject == tmp_path / "file" / "b"


def test_files_are_added_and_those_that_are_there_stay(folder):
    with adding_to(folder) as add:
        add("there.png", b"new")
        add("new.png", b"new")
    assert contents(folder) == {"there.png": b"old", "new.png": b"new"}
    assert (folder / "new.png").stat().st_mode == (folder / "there.png").stat().st_mode


def test_whoever_holds_the_lease_replaces_files(folder):
    replacing_in(folder)("there.png", b"new")
    assert contents(folder) == {"there.png": b"new"}


def test_a_folder_that_is_gone_is_not_made_again(folder):
    with adding_to(folder) as add:
        (folder / "there.png").unlink()
        folder.rmdir()
        with pytest.raises(DiskRefused) as caught:
            add("new.png", b"new")
    assert caught.value.subject == folder / "new.png" and not folder.exists()
    with pytest.raises(DiskRefused), adding_to(folder):
        raise AssertionError
    assert not folder.exists()


def test_nothing_is_added_to_another_folder_in_the_same_place(folder, tmp_path):
    other = tmp_path / "again"
    other.mkdir()
    (other / "done.json").write_text("{}")
    with adding_to(folder) as add:
        put_in_place(other, folder, "done.json")
        with pytest.raises(DiskRefused):
            add("new.png", b"new")
    assert contents(folder) == {"done.json": b"{}"}


def test_what_is_exchanged_inside_a_folder_behind_a_link_stays_as_well(folder, tmp_path):
    link, other = tmp_path / "link", tmp_path / "again"
    link.symlink_to(folder)
    other.mkdir()
    (other / "there.png").write_bytes(b"again")
    (other / "done.json").write_bytes(b"{}")
    with adding_to(link) as add:
        put_in_place(other, link, "done.json")
        add("there.png", b"new")
    assert contents(folder) == {"there.png": b"again", "done.json": b"{}"}


def test_a_full_disk_is_named_and_leaves_nothing_half_written(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with adding_to(folder) as add, pytest.raises(DiskRefused) as caught:
        add("new.png", b"new")
    assert "full" in caught.value.found and contents(folder) == {"there.png": b"old"}
