"""Files are whole or not there, digests say what they digest, and one process at a time writes a work directory."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import (
    digest,
    disk_error,
    file_digest,
    only_writer,
    read_json,
    tree_root,
    write_atomic,
    write_json,
    write_text,
)


def python(code: str, *arguments: object) -> subprocess.Popen:
    """Start a Python process of its own; its stdout can be read line by line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# ---------------------------------------------------------------- writing


def test_writing_makes_the_folders_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_written_file_can_be_read_by_others(tmp_path):
    # Temporary files are private; a result that only its writer can read is of no use to a colleague.
    write_text(tmp_path / "file.txt", "x")
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644


def test_a_writer_that_raises_leaves_the_old_content(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def half(stream):
        stream.write(b"new, but only ha")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_atomic(path, half)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_kill_while_writing_leaves_the_old_content(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    code = """
import os, signal, sys
from pathlib import Path
from swdb.core.files import write_atomic
def half(stream):
    stream.write(b"new" * 100_000)
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path(sys.argv[1]), half)
"""
    process = python(code, path)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"


def test_a_full_disk_is_one_line_and_leaves_no_temporary_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="the disk is full") as caught:
        write_text(path, "new")
    assert (
        str(path) in str(caught.value) and "\n" not in str(caught.value) and "run the same command" in str(caught.value)
    )
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_file_that_the_system_refuses_to_let_grow_is_a_full_disk_too(tmp_path):
    code = """
import resource, sys
from pathlib import Path
from swdb.core.errors import BadInput
from swdb.core.files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_text(Path(sys.argv[1]), "x" * 100_000)
except BadInput as error:
    print(error)
"""
    out, err = python(code, tmp_path / "file.txt").communicate()
    assert "the disk is full" in out and out.count("\n") == 1, err
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "work").write_text("not a folder")
    with pytest.raises(BadInput, match="--workdir"):
        write_text(tmp_path / "work" / "runs" / "file.txt", "x")


def test_an_error_that_is_no_disk_s_keeps_its_kind(tmp_path):
    # Only what a user can mend becomes a line; everything else is a bug and must keep its traceback.
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "x")


# ---------------------------------------------------------------- JSON


def test_json_comes_back_as_it_was_written(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"ä": True}}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json", "swdb train") == value
    assert "ä" in (tmp_path / "x.json").read_text()


def test_missing_json_names_the_file_and_the_mend(tmp_path):
    with pytest.raises(MissingArtefact, match=r"x\.json is missing; run: swdb train dual"):
        read_json(tmp_path / "x.json", "swdb train dual")


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe\x00"])
def test_damaged_json_names_the_file_and_the_mend(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(MissingArtefact, match=r"x\.json is damaged .* run: swdb train dual"):
        read_json(tmp_path / "x.json", "swdb train dual")


# ---------------------------------------------------------------- digests


def test_a_digest_is_the_sha256_of_the_sorted_compact_json():
    expected = hashlib.sha256(b'{"a":[1,null],"b":"x"}').hexdigest()
    assert digest({"b": "x", "a": [1, None]}) == expected


def test_values_that_differ_have_digests_that_differ():
    values = [{}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": None}, {"a": [1]}, {"a": True}]
    assert len({digest(value) for value in values}) == len(values)


def test_a_file_s_digest_is_the_sha256_of_its_bytes(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(content)
    assert file_digest(tmp_path / "x") == hashlib.sha256(content).hexdigest()


@pytest.fixture
def tree(tmp_path) -> Path:
    """Three small files in two folders."""
    root = tmp_path / "tree"
    for name, text in (("a.txt", "one"), ("b.txt", "two"), ("sub/c.txt", "three")):
        write_text(root / name, text)
    return root


def files_of(root: Path) -> dict[Path, str]:
    files = {path.relative_to(root): file_digest(path) for path in sorted(root.rglob("*")) if path.is_file()}
    assert len(files) == 3
    return files


def test_a_tree_s_root_does_not_hang_on_the_order_or_the_place(tree, tmp_path):
    files = files_of(tree)
    root = tree_root(files)
    assert tree_root(dict(reversed(files.items()))) == root
    tree.rename(tmp_path / "elsewhere")
    assert tree_root(files_of(tmp_path / "elsewhere")) == root


def test_a_tree_s_root_changes_with_one_byte(tree):
    before = tree_root(files_of(tree))
    (tree / "sub/c.txt").write_text("threE")
    assert tree_root(files_of(tree)) != before


def test_a_tree_s_root_changes_with_a_name(tree):
    before = tree_root(files_of(tree))
    (tree / "sub/c.txt").rename(tree / "sub/d.txt")
    assert tree_root(files_of(tree)) != before


def test_a_tree_s_root_changes_with_the_folder_a_file_is_in(tree):
    before = tree_root(files_of(tree))
    (tree / "sub/c.txt").rename(tree / "c.txt")
    assert tree_root(files_of(tree)) != before


def test_a_tree_s_root_changes_where_two_files_swap_their_content(tree):
    before = tree_root(files_of(tree))
    (tree / "a.txt").write_text("two")
    (tree / "b.txt").write_text("one")
    assert tree_root(files_of(tree)) != before


def test_a_tree_s_root_changes_with_a_file_less(tree):
    files = files_of(tree)
    assert tree_root(dict(list(files.items())[:2])) != tree_root(files)


# ---------------------------------------------------------------- one writer

HOLD = """
import sys, time
from pathlib import Path
from swdb.core.files import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that works in tmp_path / "work"."""
    process = python(HOLD, tmp_path / "work")
    assert process.stdout.readline() == "held\n", process.stderr.read()
    yield process
    process.kill()
    process.communicate()


def test_a_second_command_is_refused_and_told_who_is_working(holder, tmp_path):
    with pytest.raises(BadInput) as caught, only_writer(tmp_path / "work"):
        pytest.fail("two commands at once")
    message = str(caught.value)
    assert f"process {holder.pid}" in message and str(tmp_path / "work") in message and "--workdir" in message
    assert "\n" not in message


def test_a_refused_command_does_not_free_the_folder(holder, tmp_path):
    for _ in range(2):
        with pytest.raises(BadInput, match=f"process {holder.pid}"), only_writer(tmp_path / "work"):
            pytest.fail("two commands at once")


def test_another_folder_is_free(holder, tmp_path):
    with only_writer(tmp_path / "other"):
        assert (tmp_path / "other").is_dir()


def test_a_killed_command_frees_the_folder(holder, tmp_path):
    holder.kill()
    assert holder.wait() == -signal.SIGKILL
    with only_writer(tmp_path / "work"):
        assert (tmp_path / "work" / ".lock").read_text() == str(os.getpid())


def test_a_finished_command_frees_the_folder(tmp_path):
    for _ in range(2):
        with only_writer(tmp_path):
            pass


def test_a_command_that_fails_frees_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), only_writer(tmp_path):
        raise ZeroDivisionError
    with only_writer(tmp_path):
        pass


def test_a_work_directory_below_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="--workdir"), only_writer(tmp_path / "file" / "work"):
        pytest.fail("a folder below a file")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO])
def test_a_place_that_cannot_be_used_is_one_line(tmp_path, number):
    found = disk_error(OSError(number, os.strerror(number)), tmp_path / "x")
    assert isinstance(found, BadInput)
    assert f"{tmp_path / 'x'} cannot be used ({os.strerror(number)})" in str(found) and "--workdir" in str(found)
