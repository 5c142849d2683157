"""Every form of a source gives the same files, and nothing hostile or broken gets through."""

import errno
import gzip
import io
import os
import random
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from swdb.core.errors import BadInput, MissingArtefact
from swdb.data.sources import archives
from swdb.data.sources.archives import members, zip_reader

FILES = {
    "kit/ImageSets/train.txt": b"2007_000032\n" * 50,
    "kit/JPEGImages/2007_000032.jpg": bytes(range(256)) * 9,
    "kit/JPEGImages/2007_000033.jpg": b"",
    "kit/readme.txt": b"not asked for",
    "kit/" + "long/" * 40 + "name.jpg": b"a name that needs a header of its own",
}
FILES = dict(sorted(FILES.items(), key=lambda item: item[0].split("/")))
FORMS = ("folder", "tar", "tar.gz", "zip")


def everything(name: str) -> bool:
    return True


def wanted(name: str) -> bool:
    return name != "kit/readme.txt"


def pack(path: Path, form: str, files: dict[str, bytes] = FILES) -> Path:
    """Write files as a source of one form; the file's name does not say which."""
    if form == "folder":
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    elif form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("kit/", b"")
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if form == "tar.gz" else "w") as archive:
            add(archive, "kit", type=tarfile.DIRTYPE)
            for name, content in files.items():
                add(archive, name, content)
    return path


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    """Add one member to a tar that is being written; any field of its header can be anything."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(content) if content else None)


def contents(source: Path, choose: Callable[[str], bool] = everything) -> list[tuple[str, bytes]]:
    return [(member.name, member.read()) for member in members(source, choose)]


def refused(source: Path, choose: Callable[[str], bool] = everything, member: str = "") -> BadInput:
    """Read a source to its end; returns the error it is refused with, which names the source, and the member if there is one."""
    with pytest.raises(BadInput) as caught:
        contents(source, choose)
    error = caught.value
    assert error.subject == f"--voc {source}" + (f": the member {member!r}" if member else "")
    assert type(error) is BadInput and error.expected and str(error).isprintable()
    return error


def same_or_refused(source: Path) -> bool:
    """Say whether a source is refused; if it is not, it must still give every byte."""
    try:
        found = contents(source)
    except BadInput as error:
        assert "truncated or damaged" in error.found or error.expected.startswith("a folder, .tar")
        return True
    assert found == list(FILES.items())
    return False


# ---------------------------------------------------------------- whole sources


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_files_in_the_same_order(tmp_path, form):
    assert contents(pack(tmp_path / "source", form)) == list(FILES.items())


@pytest.mark.parametrize("form", FORMS)
def test_only_wanted_files_are_handed_out(tmp_path, form):
    found = contents(pack(tmp_path / "source", form), wanted)
    assert found == [(name, content) for name, content in FILES.items() if wanted(name)]


@pytest.mark.parametrize("form", FORMS)
def test_sizes_are_known_before_reading_and_reading_is_not_needed(tmp_path, form):
    sizes = {member.name: member.size for member in members(pack(tmp_path / "source", form), everything)}
    assert sizes == {name: len(content) for name, content in FILES.items()}


@pytest.mark.parametrize("form", FORMS)
def test_a_member_can_be_read_twice(tmp_path, form):
    for member in members(pack(tmp_path / "source", form), everything):
        assert member.read() == member.read() == FILES[member.name]


@pytest.mark.parametrize("form", FORMS)
def test_a_reader_may_stop_halfway(tmp_path, form):
    # were a file left open, the warning about it would be an error
    found = members(pack(tmp_path / "source", form), everything)
    assert next(found).name == next(iter(FILES))
    found.close()


@pytest.mark.parametrize("form", FORMS)
def test_only_files_of_a_folder_have_a_path(tmp_path, form):
    source = pack(tmp_path / "source", form)
    paths = {member.name: member.path for member in members(source, everything)}
    assert paths == {name: source / name if form == "folder" else None for name in FILES}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_dialect_of_tar_is_read(tmp_path, format):
    with tarfile.open(tmp_path / "source", "w", format=format) as archive:
        for name, content in FILES.items():
            add(archive, name, content)
    assert contents(tmp_path / "source") == list(FILES.items())


def test_a_tar_from_before_there_was_a_magic_word_is_read(tmp_path):
    with tarfile.open(tmp_path / "source", "w", format=tarfile.USTAR_FORMAT) as archive:
        add(archive, "a.txt", b"old")
    data = bytearray((tmp_path / "source").read_bytes())
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "source").write_bytes(data)
    assert contents(tmp_path / "source") == [("a.txt", b"old")]


def test_names_are_given_without_dots_and_doubled_slashes(tmp_path):
    with tarfile.open(tmp_path / "source", "w") as archive:
        add(archive, "./", type=tarfile.DIRTYPE)
        add(archive, "./kit//a.txt", b"a")
    assert contents(tmp_path / "source") == [("kit/a.txt", b"a")]


def test_a_zip_of_stored_members_with_a_comment_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "source", "w") as archive:
        archive.writestr("a.txt", b"a")
        archive.comment = b"official"
    assert contents(tmp_path / "source") == [("a.txt", b"a")]


@pytest.mark.parametrize("tail", [b"\r\n", b"\0" * 100, b"x" * 60_000, b"PK and more"])
@pytest.mark.parametrize("comment", [b"", b"from the mirror"])
def test_a_zip_with_a_tail_is_read_as_unzip_does(tmp_path, tail, comment):
    source = pack(tmp_path / "source", "zip", FILES)
    with zipfile.ZipFile(source, "a") as archive:
        archive.comment = comment
    whole = contents(source)
    source.write_bytes(source.read_bytes() + tail)
    assert contents(source) == whole


def test_a_zip_with_a_long_tail_is_refused_for_what_it_is(tmp_path):
    source = pack(tmp_path / "source", "zip", FILES)
    source.write_bytes(source.read_bytes() + bytes(70_000))
    found = refused(source).found
    assert "a long tail is behind it" in found and "cut short" in found


@pytest.mark.parametrize("tail", [b"\r\n", b"\0" * 100, b"x" * 600])
def test_a_packed_tar_with_a_tail_is_read_as_gunzip_does(tmp_path, tail):
    source = pack(tmp_path / "source", "tar.gz", FILES)
    whole = contents(source)
    source.write_bytes(source.read_bytes() + tail)
    assert contents(source) == whole


def test_an_empty_zip_has_no_members(tmp_path):
    zipfile.ZipFile(tmp_path / "source", "w").close()
    assert contents(tmp_path / "source") == []


# ---------------------------------------------------------------- folders


def test_a_folder_is_walked_in_the_order_of_the_parts_of_its_paths(tmp_path):
    names = ["a/z", "a.b", "a/b/c", "B", "a-b/c"]
    found = [name for name, _ in contents(pack(tmp_path / "source", "folder", dict.fromkeys(names, b"x")))]
    assert found == ["B", "a/b/c", "a/z", "a-b/c", "a.b"]


def test_linked_files_and_folders_are_followed(tmp_path):
    outside = pack(tmp_path / "outside", "folder", {"x.txt": b"x", "images/y.jpg": b"y"})
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "linked.txt").symlink_to(outside / "x.txt")
    (tmp_path / "source" / "images").symlink_to(outside / "images")
    assert contents(tmp_path / "source") == [("images/y.jpg", b"y"), ("linked.txt", b"x")]


def test_a_folder_may_be_a_link_itself(tmp_path):
    (tmp_path / "source").symlink_to(pack(tmp_path / "outside", "folder"))
    assert contents(tmp_path / "source") == list(FILES.items())


def test_a_link_back_up_is_not_followed_forever(tmp_path):
    source = pack(tmp_path / "source", "folder", {"a/b.txt": b"b"})
    (source / "a" / "up").symlink_to(source)
    assert contents(source) == [("a/b.txt", b"b")]


def test_a_wanted_link_that_leads_nowhere_is_refused(tmp_path):
    source = pack(tmp_path / "source", "folder")
    (source / "kit" / "gone.jpg").symlink_to(tmp_path / "gone")
    assert refused(source, member="./kit/gone.jpg").found == "is a link that leads nowhere"


def test_a_wanted_pipe_in_a_folder_is_refused(tmp_path):
    source = pack(tmp_path / "source", "folder")
    os.mkfifo(source / "kit" / "pipe.jpg")
    assert refused(source, member="./kit/pipe.jpg").found == "is a pipe"


def test_what_nobody_wants_of_a_folder_may_be_anything(tmp_path, monkeypatch):
    # the archives themselves often lie in the folder, far larger than any member may be
    source = pack(tmp_path / "source", "folder")
    monkeypatch.setattr(archives, "MAX_MEMBER", 3000)
    monkeypatch.setattr(archives, "MAX_TOTAL", 5000)
    (source / "VOCtrainval.tar").write_bytes(bytes(6000))
    (source / "Icon\r").write_bytes(b"as one system writes them")
    os.mkfifo(source / "pipe")
    (source / "gone").symlink_to(tmp_path / "gone")
    assert contents(source, FILES.__contains__) == list(FILES.items())


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    source = pack(tmp_path / "source", "folder")

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    assert "cannot be read" in refused(source).found


def test_a_file_that_vanishes_before_it_is_read_is_named(tmp_path):
    found = next(members(pack(tmp_path / "source", "folder"), everything))
    found.path.unlink()
    with pytest.raises(BadInput) as caught:
        found.read()
    assert repr(found.name) in caught.value.subject and "cannot be read" in caught.value.found


# ---------------------------------------------------------------- no source at all


def test_a_missing_source_says_which_option_named_it(tmp_path):
    with pytest.raises(MissingArtefact) as caught:
        next(members(tmp_path / "gone.tgz", everything, "--sbd"))
    assert (caught.value.subject, caught.value.found) == (f"--sbd {tmp_path / 'gone.tgz'}", "missing")
    assert caught.value.expected and caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"<html>404 Not Found</html>", "begins with b'<html>40'"),
        (b"\xfd7zXZ\0" + bytes(600), "is packed with xz"),
        (b"BZh9" + bytes(600), "is packed with xz, bzip2"),
        (bytes(range(256)) * 4, "begins with"),
    ],
)
def test_what_is_neither_folder_nor_archive_is_refused(tmp_path, content, found):
    (tmp_path / "source.tar").write_bytes(content)
    error = refused(tmp_path / "source.tar")
    assert found in error.found and error.expected == "a folder, .tar, .tar.gz or .zip"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "source")
    assert "not a plain file" in refused(tmp_path / "source").found


# ---------------------------------------------------------------- unsafe members

UNSAFE_NAMES = [
    ("/etc/passwd", "is an absolute path"),
    ("../outside.txt", "leads out of the archive"),
    ("kit/../../outside.txt", "leads out of the archive"),
    ("kit/..", "leads out of the archive"),
    ("C:/outside.txt", "is an absolute path"),
    ("c:outside.txt", "is an absolute path"),
    ("kit\\..\\outside.txt", "has a backslash"),
    ("kit/two\nlines.txt", "control characters"),
]


@pytest.mark.parametrize("form", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize(("name", "found"), UNSAFE_NAMES)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, form, name, found):
    source = pack(tmp_path / "source", form, {"kit/fine.txt": b"x", name: b"x"})
    assert found in refused(source, member=name).found


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_an_unsafe_member_is_refused_even_if_nobody_wants_it(tmp_path, form):
    source = pack(tmp_path / "source", form, {"kit/fine.txt": b"x", "../outside.txt": b"x"})
    error = refused(source, lambda name: name == "kit/fine.txt", member="../outside.txt")
    assert "leads out of the archive" in error.found


def test_dots_inside_a_name_are_fine(tmp_path):
    files = {"kit/..a..b.txt": b"x", "kit/a:b.txt": b"y"}
    assert contents(pack(tmp_path / "source", "tar", files)) == list(files.items())


def test_a_folder_of_an_unsafe_name_is_refused(tmp_path):
    with tarfile.open(tmp_path / "source", "w") as archive:
        add(archive, "../outside", type=tarfile.DIRTYPE)
    assert "leads out of the archive" in refused(tmp_path / "source", member="../outside").found


@pytest.mark.parametrize("form", ["w", "w:gz"])
@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "kit/fine.txt"}, "is a symbolic link"),
        ({"type": tarfile.LNKTYPE, "linkname": "kit/fine.txt"}, "is a hard link"),
        ({"type": tarfile.CHRTYPE}, "is a device"),
        ({"type": tarfile.BLKTYPE}, "is a device"),
        ({"type": tarfile.FIFOTYPE}, "is a pipe"),
        ({"type": tarfile.GNUTYPE_SPARSE}, "is a sparse file"),
        ({"pax_headers": {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}}, "is a sparse file"),
        ({"type": b"Z"}, "is of the unknown type b'Z'"),
    ],
)
def test_only_files_and_folders_may_be_in_a_tar(tmp_path, form, fields, found):
    with tarfile.open(tmp_path / "source", form) as archive:
        add(archive, "kit/fine.txt", b"x")
        add(archive, "kit/odd", **fields)
    error = refused(tmp_path / "source", member="kit/odd")
    assert error.found == found and "plain files" in error.expected


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (stat.S_IFLNK, "is a symbolic link"),
        (stat.S_IFIFO, "is a pipe"),
        (stat.S_IFCHR, "is a device"),
        (stat.S_IFBLK, "is a device"),
        (stat.S_IFSOCK, "is a socket"),
    ],
)
@pytest.mark.parametrize("name", ["kit/odd", "kit/odd/"])
def test_only_files_and_folders_may_be_in_a_zip(tmp_path, kind, found, name):
    with zipfile.ZipFile(tmp_path / "source", "w") as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = (kind | 0o777) << 16
        archive.writestr(member, b"kit/fine.txt")
    error = refused(tmp_path / "source", member=name)
    assert error.found == found and "plain files" in error.expected


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_members_cannot_be_unpacked_bit_by_bit_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "source", "w", method) as archive:
        archive.writestr("kit/odd", b"x")
    assert f"method {method}" in refused(tmp_path / "source", member="kit/odd").found


def patched_zip(path: Path, at: int, value: bytes, content: bytes = b"fine" * 30) -> Path:
    """Write a zip of one member and change what its directory, not the member's own header, says of it."""
    pack(path, "zip", {"kit/fine.txt": content})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\1\2")
    data[entry + at : entry + at + len(value)] = value
    path.write_bytes(data)
    return path


def test_an_encrypted_zip_is_refused(tmp_path):
    assert refused(patched_zip(tmp_path / "source", 8, b"\1"), member="kit/fine.txt").found == "is encrypted"


def test_a_name_with_a_zero_byte_is_refused(tmp_path):
    source = pack(tmp_path / "source", "zip", {"kit/fine.txtX.exe": b"x"})
    source.write_bytes(source.read_bytes().replace(b"txtX.exe", b"txt\0.exe"))
    assert "control characters" in refused(source, member="kit/fine.txt\0.exe").found


def test_a_member_of_less_than_no_bytes_does_not_send_the_reader_back(tmp_path):
    with tarfile.open(tmp_path / "source", "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "kit/fine.txt", b"x")
        add(archive, "kit/back", size=-1024)
    assert refused(tmp_path / "source", member="kit/back").found == "has -1,024 bytes"


# ---------------------------------------------------------------- bombs


@pytest.mark.parametrize("form", FORMS)
def test_a_member_that_is_too_large_is_refused(tmp_path, form, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBER", 1000)
    source = pack(tmp_path / "source", form, {"a": bytes(1000), "b": bytes(1001)})
    error = refused(source, member="./b" if form == "folder" else "b")
    assert (error.found, error.expected) == ("has 1,001 bytes", "at most 1,000")


@pytest.mark.parametrize("form", FORMS)
def test_too_many_members_are_refused(tmp_path, form, monkeypatch):
    source = pack(tmp_path / "source", form, {"kit/a": b"", "kit/b": b"", "kit/c": b""})
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5 if form == "folder" else 4)  # folders count, in archives too
    assert len(contents(source)) == 3
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    error = refused(source, member="./kit/b" if form == "folder" else "kit/c")
    assert (error.found, error.expected) == ("is number 4", "at most 3")


@pytest.mark.parametrize("form", FORMS)
def test_too_many_bytes_in_all_are_refused(tmp_path, form, monkeypatch):
    source = pack(tmp_path / "source", form, {"a": bytes(600), "b": bytes(600)})
    monkeypatch.setattr(archives, "MAX_TOTAL", 1200)
    assert len(contents(source)) == 2
    monkeypatch.setattr(archives, "MAX_TOTAL", 1199)
    error = refused(source, member="./b" if form == "folder" else "b")
    assert "1,200 unpacked bytes" in error.found and "at most 1,199" in error.expected


def peak_of(source: Path, choose: Callable[[str], bool]) -> int:
    """Go through a source until it ends or is refused; returns the most bytes Python held meanwhile."""
    tracemalloc.start()
    try:
        for member in members(source, choose):
            member.read()
    except BadInput:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("form", ["tar", "tar.gz"])
def test_memory_does_not_grow_with_the_number_of_members(tmp_path, form):
    few = pack(tmp_path / "few", form, {f"kit/{k:05}.jpg": b"x" for k in range(200)})
    many = pack(tmp_path / "many", form, {f"kit/{k:05}.jpg": b"x" for k in range(1500)})
    # the lower of two, for now and then Python makes room for more interned strings, a megabyte at once
    of_few, of_many = (min(peak_of(source, wanted) for _ in range(2)) for source in (few, many))
    assert of_many < of_few + 200_000  # 1,300 remembered members are 700,000 bytes


@pytest.mark.parametrize("form", ["tar", "tar.gz"])
def test_a_large_member_that_nobody_wants_is_not_held(tmp_path, form):
    source = pack(tmp_path / "source", form, {"kit/a": bytes(8 << 20), "kit/b": b"x"})
    assert peak_of(source, lambda name: name == "kit/b") < 4 << 20


def test_a_header_that_claims_to_be_huge_does_not_fill_the_memory(tmp_path):
    with tarfile.open(tmp_path / "source", "w:gz") as archive:
        add(archive, "kit/long", bytes(32 << 20), type=tarfile.GNUTYPE_LONGNAME)
        add(archive, "kit/fine.txt", b"x")
    assert "a header is too long" in refused(tmp_path / "source").found
    assert peak_of(tmp_path / "source", everything) < 8 << 20


def test_a_chain_of_headers_without_end_is_refused(tmp_path):
    with tarfile.open(tmp_path / "source", "w:gz") as archive:
        for _ in range(2000):
            add(archive, "kit/long", b"x", type=tarfile.GNUTYPE_LONGNAME)
    assert "truncated or damaged" in refused(tmp_path / "source").found


def test_a_zip_that_declares_fewer_bytes_than_it_has_is_not_unpacked_further(tmp_path):
    source = patched_zip(tmp_path / "source", 24, struct.pack("<I", 10), bytes(16 << 20))
    assert "truncated or damaged" in refused(source, member="kit/fine.txt").found
    assert peak_of(source, everything) < 4 << 20


def test_a_zip_that_declares_more_bytes_than_it_has_is_refused(tmp_path):
    source = patched_zip(tmp_path / "source", 24, struct.pack("<I", 121))
    assert "120 bytes, not 121" in refused(source, member="kit/fine.txt").found


def test_a_zip_whose_list_of_members_is_huge_does_not_fill_the_memory(tmp_path, monkeypatch):
    source = pack(tmp_path / "source", "zip", {f"kit/{k:05}.jpg": b"" for k in range(200)})
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 4000)
    assert "a header is too long" in refused(source).found


# ---------------------------------------------------------------- damage


def end_of_members(tar: Path) -> int:
    """Return where the first block of zeros of a tar is."""
    with tarfile.open(tar) as archive:
        archive.getmembers()
        return archive.offset


def test_a_tar_is_refused_wherever_it_is_cut(tmp_path):
    whole = pack(tmp_path / "whole", "tar")
    end = end_of_members(whole)
    for length in [*range(1, end, 97), *range(512, end + 1, 512), end + 1, end + 511]:
        (tmp_path / "cut").write_bytes(whole.read_bytes()[:length])
        assert same_or_refused(tmp_path / "cut"), length


def test_a_tar_cut_between_two_members_says_that_its_end_is_missing(tmp_path):
    whole = pack(tmp_path / "source", "tar")
    end = end_of_members(whole)
    whole.write_bytes(whole.read_bytes()[:end])
    assert f"no header and no end where one should be, at byte {end}" in refused(whole).found


def test_a_member_that_was_cut_off_is_not_handed_out_short(tmp_path):
    source = pack(tmp_path / "source", "tar", {"a.jpg": b"a" * 1000})
    source.write_bytes(source.read_bytes()[: 1024 + 600])
    walk = members(source, everything)
    found = next(walk)
    with pytest.raises(BadInput) as caught:
        found.read()
    walk.close()
    assert caught.value.subject == f"--voc {source}: the member 'a.jpg'"
    assert "truncated or damaged" in caught.value.found and "byte 1624, inside a member" in caught.value.found


def test_a_tar_without_filling_at_its_end_is_whole(tmp_path):
    whole = pack(tmp_path / "source", "tar")
    whole.write_bytes(whole.read_bytes()[: end_of_members(whole) + 1024])
    assert contents(whole) == list(FILES.items())


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_a_compressed_archive_is_refused_wherever_it_is_cut(tmp_path, form):
    whole = pack(tmp_path / "whole", form).read_bytes()
    for length in range(1, len(whole), 3):
        (tmp_path / "cut").write_bytes(whole[:length])
        assert same_or_refused(tmp_path / "cut"), length
    (tmp_path / "cut").write_bytes(whole[:-1])
    assert same_or_refused(tmp_path / "cut")


def test_a_cut_is_seen_even_if_all_that_is_wanted_came_before_it(tmp_path):
    whole = pack(tmp_path / "source", "tar.gz")
    whole.write_bytes(whole.read_bytes()[:-4])
    assert "truncated or damaged" in refused(whole, lambda name: name == next(iter(FILES))).found


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_no_flipped_byte_of_a_compressed_archive_changes_what_is_read(tmp_path, form):
    whole = pack(tmp_path / "whole", form).read_bytes()
    refused = 0
    for at in range(0, len(whole), 2):
        data = bytearray(whole)
        data[at] ^= 0x41
        (tmp_path / "flipped").write_bytes(data)
        refused += flipped_is_refused(tmp_path / "flipped")
    assert refused > len(whole) // 2 * 0.5  # the others are dates, modes and the like


def flipped_is_refused(source: Path) -> bool:
    """Say whether a source is refused for any reason; if it is not, it must give the right bytes under their names."""
    try:
        found = contents(source)
    except BadInput as error:
        assert str(error).isprintable()
        return True
    assert [content for _, content in found] == [*FILES.values()]  # a zip has no sum over its names
    return False


def test_a_flipped_byte_in_a_later_header_of_a_tar_is_not_taken_for_its_end(tmp_path):
    whole = pack(tmp_path / "whole", "tar").read_bytes()
    header = whole.index(b"kit/JPEGImages/2007_000033.jpg")
    for at in range(header, header + 345, 5):
        data = bytearray(whole)
        data[at] ^= 0x41
        (tmp_path / "flipped").write_bytes(data)
        assert same_or_refused(tmp_path / "flipped") or 148 <= at - header < 156, at - header


def test_a_hole_of_zeros_is_not_taken_for_the_end_of_a_tar(tmp_path):
    # what a download leaves that reserved its room first
    source = pack(tmp_path / "source", "tar", {"kit/a": b"a", "kit/b": b"b" * (2 << 20)})
    data = bytearray(source.read_bytes())
    data[1536:] = bytes(len(data) - 1536)  # from the header of the second on
    source.write_bytes(data)
    assert "but the file goes on" in refused(source).found


def test_a_zip_directory_that_lost_a_member_is_refused(tmp_path):
    # one entry's comment swallows the next entry: zipfile would not miss it
    source = pack(tmp_path / "source", "zip", {"kit/a": b"a", "kit/b": b"b", "kit/c": b"c"})
    data = bytearray(source.read_bytes())
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second + 32 : second + 34] = struct.pack("<H", 46 + len("kit/b"))
    source.write_bytes(data)
    assert "3 of 4 members" in refused(source).found


def test_a_gzip_of_something_else_is_refused(tmp_path):
    (tmp_path / "source").write_bytes(gzip.compress(b"not a tar" * 1000))
    assert "truncated or damaged" in refused(tmp_path / "source").found


@pytest.mark.parametrize("form", ["tar", "tar.gz", "zip"])
def test_whatever_is_done_to_an_archive_it_is_read_or_refused(tmp_path, form):
    rng = random.Random(0)
    whole = pack(tmp_path / "whole", form).read_bytes()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.choice([0, 255, 48, 55, 128, rng.randrange(256)])
        (tmp_path / "source").write_bytes(data)
        try:
            contents(tmp_path / "source")
        except BadInput as error:
            assert str(error).isprintable()


def test_a_plain_tar_is_not_read_where_nobody_looks(tmp_path):
    class Counted(io.FileIO):
        taken = 0

        def readinto(self, buffer):
            Counted.taken += (count := super().readinto(buffer))
            return count

    source = pack(tmp_path / "source", "tar", {"kit/a": bytes(1 << 20), "kit/b": b"b"})
    with_data = [member.name for member, _ in archives._tar(source, Counted)]
    assert with_data == ["kit", "kit/a", "kit/b"] and 0 < Counted.taken < 100_000


def test_members_of_a_zip_are_read_in_any_order_by_the_names_that_were_handed_out(tmp_path):
    path = pack(tmp_path / "a", "zip")
    with zip_reader(path, "--voc") as read:
        for name in reversed(FILES):
            assert read(name) == FILES[name]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"nothing is packed")
    path.write_bytes(path.read_bytes().replace(b"nothing is packed", b"something else is"))
    with zip_reader(path, "--voc") as read, pytest.raises(BadInput) as caught:
        read("a")
    assert "truncated or damaged (Bad CRC-32" in caught.value.found and "the member 'a'" in str(caught.value.subject)


def test_how_large_a_member_may_be_is_said_by_who_asks(tmp_path):
    path = pack(tmp_path / "a", "zip")
    with pytest.raises(BadInput) as caught:
        list(members(path, everything, "--voc", 1000))
    assert caught.value.found == "has 2,304 bytes" and caught.value.expected == "at most 1,000"


def test_links_in_a_loop_are_a_source_that_is_not_there(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    archives.refuse_own(tmp_path / "a", "--voc a")  # which is none of ours
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "a").symlink_to(tmp_path / "a")
    assert "a link that leads nowhere" in [why for _, why in archives._folder(tmp_path / "kit")]
