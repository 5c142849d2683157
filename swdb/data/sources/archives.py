"""Archives of the official data: read safely, in the same way packed or unpacked.

Archives are never unpacked as such: members are handed out one by one, and whoever asks for them decides where they
go. What is not a plain file of sane name and size is refused, so that a hostile archive can do no harm.

in: a folder, .tar, .tar.gz or .zip -> out: its members' names and bytes
"""

import gzip
import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from swdb.core.artefact import FOLDERS
from swdb.core.errors import BadInput, MissingArtefact, reason
from swdb.data.dataset import LABELS, MANIFEST, NOTE
from swdb.specs.study import LAYOUT

MIB = 1 << 20
# Far above what VOC and SBD hold.
MAX_MEMBER = 64 * MIB  # bytes of one member
MAX_MEMBERS = 500_000
MAX_TOTAL = 16 << 30  # bytes of all members
MAX_HEADER = MIB  # bytes of what a tar says about one member: names, times, attributes
MAX_TAIL = MIB  # bytes behind a tar's end, where writers fill up their last record
MAX_DIRECTORY = 64 * MIB  # bytes of a zip's list of members
ZIP_END = 22 + (1 << 16) - 1  # bytes at its end in which that list is looked up

FILE, FOLDER = "a file", "a folder"
# Folders of a work directory in which swdb alone writes. Downloads count as sources, and data sets are
# recognised one by one: many people keep their own in a folder of that name.
WRITTEN = (*FOLDERS, "inputs", "reports")
OWN, NOT_OWN = "was made by swdb itself", "a source: what others published"
TAR_KINDS = {
    tarfile.REGTYPE: FILE, tarfile.AREGTYPE: FILE, tarfile.CONTTYPE: FILE, tarfile.DIRTYPE: FOLDER,
    tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link", tarfile.FIFOTYPE: "a pipe",
    tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device",
}  # fmt: skip
MODE_KINDS = {
    0: FILE,  # zips that were not written on Unix know no modes
    stat.S_IFREG: FILE, stat.S_IFDIR: FOLDER, stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket",
}  # fmt: skip
# All that tarfile, gzip, zipfile and the file system raise over bytes they cannot make sense of.
BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError,
    ValueError, LookupError, OverflowError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One file of a source."""

    name: str  # path inside the source, with "/", relative
    size: int  # bytes
    path: Path | None  # where it lies already, so that it can be linked instead of copied; None in archives
    read: Callable[[], bytes]  # valid until the next member is asked for, or no more are


Entries = Iterator[tuple[Member, str]]  # what a source holds, each with its kind, unchecked


def members(
    source: Path, wanted: Callable[[str], bool], option: str = "--voc", largest: int | None = None
) -> Iterator[Member]:
    """Go once through a folder (sorted), .tar, .tar.gz or .zip (in their order) and hand out the wanted files.

    Every member of an archive is checked, wanted or not; of a folder, which may hold anything, only the wanted ones.
    largest: the bytes that one of them may have, where it is not MAX_MEMBER.
    Raises MissingArtefact if the source is not there, BadInput if it is something else, damaged, unsafe or too large.
    """
    where = f"{option} {source}"
    walk = _walk_of(source, where)
    loose = walk is _folder
    packed = "truncated or damaged", "a whole archive"
    damage, expected = ("cannot be read", "files that can be") if loose else packed

    def whole(call: Callable[..., Any], *arguments: Any, at: str = "") -> Any:
        try:
            return call(*arguments)
        except BROKEN as error:
            raise BadInput(f"{where}{at}", f"{damage} ({reason(error)})", expected) from None

    entries = walk(source)
    number = total = 0
    while entry := whole(next, entries, None):
        member, kind = entry
        name = PurePosixPath(member.name).as_posix()  # without "./" and "//"
        asked = wanted(name)
        number += 1
        fault = (f"is number {number:,}", f"at most {MAX_MEMBERS:,}") if number > MAX_MEMBERS else None
        if asked or not loose:
            total += member.size
            fault = fault or _fault(member, kind, total, largest or MAX_MEMBER)
        if fault:
            raise BadInput(f"{where}: the member {member.name[:200]!r}", *fault)
        if asked and kind == FILE:
            yield replace(member, name=name, read=partial(whole, member.read, at=f": the member {name[:200]!r}"))


def _fault(member: Member, kind: str, total: int, largest: int) -> tuple[str, str] | None:
    """Say what is wrong with a member on any system, the `total` bytes up to it included, and what was expected."""
    name = member.name
    if not name or any(ord(character) < 32 for character in name):
        return "has no name or control characters in it", "a plain path"
    if "\\" in name or PureWindowsPath(name).anchor:
        return "is an absolute path or has a backslash", "a relative path with '/'"
    if ".." in name.split("/"):
        return "leads out of the archive with '..'", "a path below its root"
    if kind not in (FILE, FOLDER):
        return f"is {kind}", "plain files and folders"
    if not 0 <= member.size <= largest:
        return f"has {member.size:,} bytes", f"at most {largest:,}"
    if total > MAX_TOTAL:
        return f"makes it {total:,} unpacked bytes", f"at most {MAX_TOTAL:,} in all"
    return None


def _walk_of(source: Path, where: str) -> Callable[[Path], Entries]:
    """Choose how a source is walked, by what it holds: names lie."""
    if not os.path.exists(source):
        raise MissingArtefact(where, "missing", "the official archive or a folder of it")
    if source.is_dir():
        return _folder
    found = "is not a plain file"  # a pipe would keep us waiting
    try:
        if source.is_file():
            with source.open("rb") as stream:
                head = stream.read(tarfile.BLOCKSIZE)
            found = f"begins with {head[:8]!r}" if head else "is empty"
            if head.startswith(b"\x1f\x8b"):
                return partial(_tar, unpack=_Gunzip)
            if head.startswith((b"PK\3\4", b"PK\5\6")):
                return _zip
            if head.startswith((b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd")):
                found = "is packed with xz, bzip2 or zstd"
            elif head[257:262] == b"ustar" or tarfile.is_tarfile(source):  # the oldest tars have no such word
                return _tar
    except BROKEN as error:
        found = f"cannot be read ({reason(error)})"
    raise BadInput(where, found, "a folder, .tar, .tar.gz or .zip")


def is_streamed(source: Path) -> bool:
    """Whether going through a source costs the unpacking of all that is in it, whatever is asked for."""
    with suppress(OSError), source.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"
    return False


# ---------------------------------------------------------------- what swdb made itself


def own_folders(names: Iterable[str]) -> set[str]:
    """Return the folders that swdb writes in work directories, and its data sets, by the names of files that mark them."""
    folders = defaultdict(set)
    for name in names:
        folder, _, file = name.rpartition("/")
        folders[file].add(folder)
    written = {str(PurePosixPath(folder, name)) for folder in folders[LAYOUT] for name in WRITTEN}
    return written | (folders[MANIFEST] & folders[LABELS]) | folders[NOTE]


def refuse_own(path: Path, where: str) -> None:
    """Raise BadInput where a path is a data set of swdb's, a folder that it writes, or something in one."""
    path = Path(os.path.realpath(path))  # unlike resolve() it takes links in a loop
    if any(map(_is_own, (path, *path.parents))):
        raise BadInput(where, OWN, NOT_OWN)


def _is_own(folder: Path) -> bool:
    """Whether a folder is one that swdb writes in a work directory, or a data set of its."""
    if folder.name in WRITTEN and (folder.parent / LAYOUT).is_file():
        return True
    finished = (folder / MANIFEST).is_file() and (folder / LABELS).is_file()
    return finished or (folder / NOTE).is_file()


def _leads_to_own(folder: Path) -> bool:
    """Whether a folder on the way through a source is swdb's own; a link may lead right into one."""
    if not folder.is_symlink():
        return _is_own(folder)
    target = Path(os.path.realpath(folder))
    return any(map(_is_own, (target, *target.parents)))


# ---------------------------------------------------------------- folders, tars, zips


def _folder(source: Path) -> Entries:
    """Walk a folder, sorted by the parts of the paths, through links too, but never into a folder it is already in.

    Nor into one of swdb's own: what was prepared is no source.
    """
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(source, ".", frozenset())]
    while waiting:
        path, name, above = waiting.pop()
        try:
            found = path.stat()
        except OSError:
            yield Member(name, 0, path, path.read_bytes), "a link that leads nowhere"
            continue
        here = (found.st_dev, found.st_ino)
        if here in above:
            continue
        kind = MODE_KINDS.get(stat.S_IFMT(found.st_mode), "of an unknown kind")
        yield Member(name, 0 if kind == FOLDER else found.st_size, path, path.read_bytes), kind
        if kind == FOLDER and (name == "." or not _leads_to_own(path)):
            for inner in sorted(os.listdir(path), reverse=True):
                waiting.append((path / inner, f"{name}/{inner}", above | {here}))


class _Metered(io.BufferedReader):
    """A stream that gives out no more than was allowed: headers that claim to be huge would fill the memory."""

    left = 0  # bytes
    last = b""  # what was read last

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        """Read up to `size` bytes; zipfile asks for all there are near the end of a file only, for less than a MiB."""
        self.last = super().read(min(MIB if size == -1 else size, self.left + 1))
        if len(self.last) > self.left:
            raise tarfile.ReadError("a header is too long")
        self.left -= len(self.last)
        return self.last


class _Gunzip(gzip.GzipFile):
    """Unpacks a file, and takes what is no gzip behind the end of one for its tail, as gunzip does."""

    def readinto(self, buffer: Any) -> int:
        """Fill a part of the buffer; an error loses nothing that was unpacked before it, since it comes alone."""
        try:
            content = self.read1(len(buffer))
        except gzip.BadGzipFile as error:
            if "Not a gzipped file" not in str(error):  # a wrong sum, for one
                raise
            content = b""
        buffer[: len(content)] = content
        return len(content)


def _tar(source: Path, unpack: Callable[[Path], Any] = io.FileIO) -> Entries:
    """Walk a tar from front to back, seeking over what nobody reads; a compressed one is unpacked on the way."""
    with unpack(source) as raw, _Metered(raw) as stream:
        stream.left = MAX_HEADER
        with tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape") as tar:
            while (found := tar.next()) is not None:
                kind = TAR_KINDS.get(found.type, f"of the unknown type {found.type!r}")
                kind = "a sparse file" if found.issparse() else kind
                read = partial(_read_tar, stream, found.offset_data, found.size)
                yield Member(found.name, found.size, None, read), kind
                tar.members = []  # else it remembers all of them
                stream.left = MAX_HEADER
            # tarfile takes a damaged header or a cut for the end, but only a block of zeros is one. Behind it comes
            # some filling; more means a hole in the file. Reading on brings gzip to its sum, which it then checks.
            if stream.last != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"no header and no end where one should be, at byte {tar.offset}")
            stream.left = MAX_TAIL + 1
            if len(stream.read(MAX_TAIL + 1)) > MAX_TAIL:
                raise tarfile.ReadError(f"it ends at byte {tar.offset}, but the file goes on")


def _read_tar(stream: _Metered, offset: int, size: int) -> bytes:
    stream.seek(offset)
    stream.left = size
    if len(content := stream.read(size)) < size:
        raise EOFError(f"it ends at byte {offset + len(content)}, inside a member")
    return content


def _zip(source: Path) -> Entries:
    """Walk a zip in the order of its directory."""
    with io.FileIO(source) as raw, _Metered(raw) as stream:
        stream.left = MAX_DIRECTORY
        # The record at the end, wherever in the last 64 KiB zipfile looks for it: mail gateways and browsers put some bytes
        # behind it. What it says of the number of members zipfile believes unseen.
        stream.seek(max(stream.seek(0, io.SEEK_END) - ZIP_END, 0))
        end = stream.read(ZIP_END)
        if (at := end.rfind(b"PK\5\6")) < 0:
            raise zipfile.BadZipFile("no end of a zip in its last 64 KiB: it is cut short, or a long tail is behind it")
        count = int.from_bytes(end[at + 10 : at + 12], "little")
        with zipfile.ZipFile(stream) as archive:
            stream.left = 1 << 62  # from here on zipfile asks for no more than a member's size
            if count not in (len(archive.infolist()) % (1 << 16), (1 << 16) - 1):  # more of them are counted elsewhere
                raise zipfile.BadZipFile(f"its directory has {len(archive.infolist())} of {count} members")
            for found in archive.infolist():
                kind = MODE_KINDS.get(stat.S_IFMT(found.external_attr >> 16), "of an unknown kind")
                if kind in (FILE, FOLDER):  # told apart by their names, as zipfile does
                    kind = FOLDER if found.is_dir() else FILE
                if found.flag_bits & 1:
                    kind = "encrypted"
                elif found.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    kind = f"packed in a rare way (method {found.compress_type})"
                # orig_filename: zipfile cuts the other one at a zero byte
                yield Member(found.orig_filename, found.file_size, None, partial(_read_zip, archive, found)), kind


@contextmanager
def zip_reader(source: Path, option: str) -> Iterator[Callable[[str], bytes]]:
    """Give a function that reads members of a zip by name, in any order; `members` has gone through it before.

    Raises BadInput where a member is damaged, or not as large as the zip's list says.
    """
    with zipfile.ZipFile(source) as archive:
        by_name = {PurePosixPath(found.orig_filename).as_posix(): found for found in archive.infolist()}

        def read(name: str) -> bytes:
            try:
                return _read_zip(archive, by_name[name])
            except BROKEN as error:
                where = f"{option} {source}: the member {name[:200]!r}"
                raise BadInput(where, f"truncated or damaged ({reason(error)})", "a whole archive") from None

        yield read


def _read_zip(archive: zipfile.ZipFile, found: zipfile.ZipInfo) -> bytes:
    with archive.open(found) as stream:
        content = stream.read(found.file_size + 1)
    if len(content) != found.file_size:
        raise zipfile.BadZipFile(f"{found.filename!r} has {len(content)} bytes, not {found.file_size} as announced")
    return content
