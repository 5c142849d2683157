"""Files are whole or not there, folders go whole or not at all, and digests say what they digest."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swdb.core import lease
from swdb.core.errors import DiskRefused, LeaseLost, MissingArtefact, SwdbError
from swdb.core.files import (
    decode_text,
    digest,
    file_digest,
    is_intact,
    read_json,
    remove_folder,
    replacing,
    sweep_temporary,
    tree_root,
    write_atomic,
    write_json,
    write_text,
)


def python(code: str, *arguments: object) -> tuple[int, str]:
    """Run Python in a process of its own; returns its exit status and what it printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    return result.returncode, result.stdout


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def refuse(number: int):
    """A function that fails as the system does."""

    def refused(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return refused


# ---------------------------------------------------------------- writing


def test_writing_makes_the_folders_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert names(path.parent) == ["file.txt"]


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
    assert names(tmp_path) == ["file.txt"]


def test_an_interrupted_writer_leaves_the_old_content(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("new, but only ha")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


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
    assert python(code, path) == (-signal.SIGKILL, "")
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert len(names(tmp_path)) == 2  # what the killed one left half written is swept by whoever holds the lease
    sweep_temporary(tmp_path)
    assert names(tmp_path) == ["file.txt"]


def test_the_bytes_are_on_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    # Otherwise a power cut may leave the new name on an empty file.
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("to the disk"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda source, target: (done.append("renamed"), replace(source, target)))
    write_text(tmp_path / "file.txt", "x")
    assert done == ["to the disk", "renamed"]


def test_two_writers_of_one_file_do_not_share_a_temporary_name(tmp_path):
    path = tmp_path / "file.txt"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.parent == path.parent  # on the same disk, or it could not be renamed
    assert path.read_text() == "first"
    assert names(tmp_path) == ["file.txt"]


def test_a_file_with_the_longest_name_that_there_can_be_is_written(tmp_path):
    write_text(tmp_path / ("x" * 255), "whole")
    assert names(tmp_path) == ["x" * 255]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_from_utf_8_and_from_marked_encodings(encoding):
    assert decode_text("größer, 大\n".encode(encoding)) == "größer, 大\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_text_with_the_mark_of_either_order_is_read(encoding):
    assert decode_text("\ufeffgröße".encode(encoding)) == "größe"


@pytest.mark.parametrize("data", ["größe".encode("latin-1"), b"\xff\xfe", b"\xff\xfea"])
def test_text_of_no_known_encoding_is_refused(data):
    with pytest.raises(UnicodeDecodeError):
        decode_text(data)


def test_sweeping_takes_what_writers_left_and_nothing_else(tmp_path):
    kept = [".hidden", "file.txt", "result.tmp", ".old.tmp.json"]
    for name in (*kept, ".file.txt.0123456789ab.tmp", ".weights.pt.0123456789ab.tmp"):
        (tmp_path / name).write_text("x")
    sweep_temporary(tmp_path)
    assert names(tmp_path) == sorted(kept)
    sweep_temporary(tmp_path / "not there")


def test_what_others_called_alike_is_not_swept(tmp_path):
    for name in (".notes.tmp", ".x.0123.tmp", ".x.0123456789zz.tmp"):
        (tmp_path / name).write_text("precious")
    write_text(tmp_path / ".set.mine.old" / "file.txt", "precious")
    sweep_temporary(tmp_path)
    remove_folder(tmp_path / "set")
    assert names(tmp_path) == [".notes.tmp", ".set.mine.old", ".x.0123.tmp", ".x.0123456789zz.tmp"]


def test_a_name_of_many_bytes_is_written(tmp_path):
    write_text(tmp_path / ("ü" * 120), "whole")
    assert names(tmp_path) == ["ü" * 120]


def test_json_of_a_path_that_is_no_text_comes_back(tmp_path):
    value = {"path": os.fsdecode(b"gr\xf6\xdfe"), "title": "größe"}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    (tmp_path / "x.json").read_bytes().decode("utf-8")


def test_text_with_a_path_that_is_no_text_is_written_with_escapes(tmp_path):
    write_text(tmp_path / "x.md", os.fsdecode(b"gr\xf6"))
    assert (tmp_path / "x.md").read_text(encoding="utf-8") == "gr\\udcf6"


# ---------------------------------------------------------------- disks that refuse


def test_a_full_disk_is_an_error_about_the_file_and_leaves_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    with pytest.raises(DiskRefused) as caught:
        write_text(path, "new")
    assert caught.value.subject == path and "full" in caught.value.found
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_file_that_the_system_refuses_to_let_grow_is_a_full_disk_too(tmp_path):
    code = """
import resource, sys
from pathlib import Path
from swdb.core.errors import DiskRefused
from swdb.core.files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_text(Path(sys.argv[1]), "x" * 100_000)
except DiskRefused as error:
    print(error.found)
"""
    assert python(code, tmp_path / "file.txt") == (0, "the disk is full\n")
    assert names(tmp_path) == []


def test_a_file_in_the_way_of_a_folder_is_an_error_about_the_path(tmp_path):
    (tmp_path / "work").write_text("not a folder")
    path = tmp_path / "work" / "runs" / "file.txt"
    with pytest.raises(DiskRefused) as caught:
        write_text(path, "x")
    assert caught.value.subject == path and "file" in caught.value.found


def test_a_folder_in_the_way_of_a_file_is_an_error_about_the_path(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DiskRefused) as caught:
        write_text(tmp_path / "folder", "x")
    assert caught.value.subject == tmp_path / "folder"
    assert names(tmp_path) == ["folder"]


# ---------------------------------------------------------------- removing folders


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a file in it and a file beside it."""
    write_text(tmp_path / "set" / "sub" / "file.txt", "x")
    write_text(tmp_path / "beside.txt", "x")
    return tmp_path / "set"


def test_a_folder_is_removed_with_all_that_is_in_it(folder):
    remove_folder(folder)
    assert names(folder.parent) == ["beside.txt"]


def test_a_folder_that_is_not_there_is_removed_already(folder):
    remove_folder(folder.with_name("another"))
    assert names(folder.parent) == ["beside.txt", "set"]


def test_a_kill_while_removing_leaves_nothing_under_the_name_and_the_next_one_sweeps(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse(errno.EINTR))  # as if it ended here
        with pytest.raises(DiskRefused):
            remove_folder(folder)
    assert not folder.exists() and len(names(folder.parent)) == 2
    remove_folder(folder)
    assert names(folder.parent) == ["beside.txt"]


@pytest.mark.parametrize("name", ["vgg[1]-0123456789", "a*", "tiny.part"])
def test_what_a_killed_one_left_is_swept_whatever_the_folder_is_called(tmp_path, name):
    write_text(tmp_path / f".{name}.0123456789ab.old" / "file.txt", "x")
    write_text(tmp_path / ".another.0123456789ab.old" / "file.txt", "x")
    remove_folder(tmp_path / name)
    assert names(tmp_path) == [".another.0123456789ab.old"]


def test_of_a_link_the_link_is_removed_and_what_it_leads_to_stays(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    remove_folder(link)
    assert names(tmp_path) == ["beside.txt", "set"]
    assert (folder / "sub" / "file.txt").read_text() == "x"


def test_a_folder_that_the_disk_does_not_let_go_is_an_error_about_it(folder, monkeypatch):
    monkeypatch.setattr(os, "rename", refuse(errno.EROFS))
    monkeypatch.setattr(os, "replace", refuse(errno.EROFS))
    with pytest.raises(DiskRefused) as caught:
        remove_folder(folder)
    assert caught.value.subject == folder and "read-only" in caught.value.found
    assert (folder / "sub" / "file.txt").read_text() == "x"


# ---------------------------------------------------------------- JSON


def test_json_comes_back_as_it_was_written(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"ä": True}}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert "ä" in (tmp_path / "x.json").read_text()


def test_json_is_indented_for_people_or_as_short_as_it_gets(tmp_path):
    for indent, lines in ((2, 4), (None, 1)):
        write_json(tmp_path / "x.json", {"a": 1, "b": 2}, indent)
        assert (tmp_path / "x.json").read_text().count("\n") == lines
        assert read_json(tmp_path / "x.json") == {"a": 1, "b": 2}


def refused(path: Path) -> SwdbError:
    """Return the error with which a JSON file is refused."""
    with pytest.raises(MissingArtefact) as caught:
        read_json(path)
    assert caught.value.subject == path
    return caught.value


def test_json_that_is_missing_is_an_error_about_the_file(tmp_path):
    assert refused(tmp_path / "x.json").found == "missing"


def test_json_below_a_file_is_missing(tmp_path):
    (tmp_path / "x").write_text("")
    assert refused(tmp_path / "x" / "y.json").found == "missing"


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe\x00", b"[" * 100_000, None])
def test_json_that_is_damaged_is_an_error_about_the_file(tmp_path, content):
    path = tmp_path / "x.json"
    path.mkdir() if content is None else path.write_bytes(content)
    error = refused(path)
    assert (error.found, error.expected) == ("damaged", "JSON")


# ---------------------------------------------------------------- digests


def test_a_digest_is_the_sha256_of_the_sorted_compact_json():
    expected = hashlib.sha256(b'{"a":[1,null],"b":"x"}').hexdigest()
    assert digest({"b": "x", "a": [1, None]}) == expected


def test_values_that_differ_have_digests_that_differ():
    values = [{}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": None}, {"a": [1]}, {"a": True}]
    assert len({digest(value) for value in values}) == len(values)


def test_a_value_has_the_digest_of_what_json_gives_back():
    value = {"scales": (0.75, 1.0), "name": "größer", "steps": 6}
    assert digest(json.loads(json.dumps(value))) == digest(value)


def test_a_file_s_digest_is_the_sha256_of_its_bytes(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(content)
    assert file_digest(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_a_file_is_intact_with_the_bytes_that_were_recorded_alone(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    sha256 = file_digest(path)
    assert is_intact(path, sha256)
    path.write_bytes(b"abd")
    assert not is_intact(path, sha256)
    path.unlink()
    assert not is_intact(path, sha256)
    path.mkdir()
    assert not is_intact(path, sha256)


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


def test_a_tree_s_root_does_not_depend_on_the_order_or_the_place(tree, tmp_path):
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


def test_who_lost_its_lease_is_told_that_and_not_what_is_missing(tmp_path):
    folder = tmp_path / "run"
    with lease.leased(folder, "making run") as held, pytest.raises(LeaseLost), replacing(folder / "x.txt") as temporary:
        temporary.write_text("x")
        (held.folder / f"{held.epoch + 1}.epoch").touch()  # another process has taken over
        temporary.unlink()
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(temporary))
    assert not (folder / "x.txt").exists()


def test_what_others_write_into_a_folder_is_left_to_them(tmp_path):
    ours, theirs = (tmp_path / f".{name}.0123456789ab.tmp" for name in ("masks.npy", "quality.jpg"))
    ours.touch(), theirs.touch()
    sweep_temporary(tmp_path, "masks.npy")
    assert theirs.exists() and not ours.exists()
    sweep_temporary(tmp_path)
    assert not theirs.exists()


def test_a_device_a_pipe_and_an_open_file_are_not_replaced(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/proc/self/fd/1")
    for place in (pipe, link):  # and never a real device: a test that fails must not replace it
        before = place.lstat().st_mode
        with pytest.raises(DiskRefused) as caught, replacing(place) as temporary:
            pytest.fail(f"{temporary} would take its place")
        assert caught.value.subject == place and "a device or a pipe" in caught.value.found
        assert place.lstat().st_mode == before


def test_a_pipe_in_place_of_json_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "result.json")
    with pytest.raises(MissingArtefact, match="damaged"):
        read_json(tmp_path / "result.json")
