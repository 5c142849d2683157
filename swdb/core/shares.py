"""Work on one artefact that several processes share: parts, each done by one of them.

Whoever holds the artefact's lease offers the parts and goes through them; so does whoever is idle and computes on the same
terms (device, precision, libraries), so that the bytes are those that the holder alone would have made. Each part is done
under a small lease of its own: nobody hands out work, and the parts of a process that died are done by the others.

Who helps holds no lease on the artefact. It may be suspended for hours and resume after the folder was replaced, so all
that it does is to add files that are missing, to the very folder that it opened; and it makes no folder.

in: parts, how to see that one is done -> out: the parts that this process should do, one after the other
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from swdb.core.errors import MissingArtefact, disk_error
from swdb.core.files import read_json, set_aside, sweep_aside, sweep_temporary, write_atomic, write_json
from swdb.core.lease import LEASES, POLL, Lease

LOOKS = 10  # at what others are doing, between two tries to take their leases

Part = TypeVar("Part")
Terms = Callable[[], Any]  # asked only where they matter: libraries are loaded to answer
Add = Callable[[str, bytes], None]  # adds a file: its name, and all that is in it


def parts_folder(folder: Path) -> Path:
    """Return where the leases of an artefact's parts lie: beside its folder, which may be exchanged for another one."""
    return folder.with_name(f".{folder.name}.parts")


def offer_parts(folder: Path, terms: Terms) -> None:
    """Let others take parts who compute on the same terms; for whoever holds the artefact's lease."""
    open_folder(folder / LEASES)
    write_json(folder / "terms.json", terms())


@contextmanager
def shared_parts(
    folder: Path, terms: Terms, parts: Sequence[Part], is_done: Callable[[Part], bool], doing: str
) -> Iterator[Iterator[Part]]:
    """Give whoever holds the artefact's lease the parts to do, and offer them to others until all are done.

    A single part is not worth it: it is done without.
    """
    left = [part for part in parts if not is_done(part)]
    if len(left) > 1:
        offer_parts(folder, terms)
        with closing(take_parts(folder, parts, is_done, doing, to_the_end=True)) as taken:
            yield taken
    else:
        yield iter(left)
    forget_parts(folder)


def are_offered(folder: Path, terms: Terms) -> bool:
    """Whether there are parts to be taken on these terms."""
    with suppress(MissingArtefact):
        return read_json(folder / "terms.json") == json.loads(json.dumps(terms()))
    return False


def take_parts(
    folder: Path, parts: Sequence[Part], is_done: Callable[[Part], bool], doing: str, to_the_end: bool
) -> Iterator[Part]:
    """Yield the parts that are to be done here, each while its lease is held; a part counts once `is_done` says so.

    folder: where the leases lie, once they are offered; where it has vanished, DiskRefused is raised. to_the_end: whether
    to wait for the parts that others are at, and to take those over that they leave undone: for whoever holds the
    artefact's lease, who calls `forget_parts` at the end. Close it (`contextlib.closing`), so that an error keeps no lease.
    """
    left = dict(enumerate(parts))
    leases: dict[int, Lease] = {}
    while left:
        before = len(left)
        for number, part in list(left.items()):
            if is_done(part):
                del left[number]
                continue
            lease = leases.setdefault(number, Lease(folder / f"{number:06d}", doing, makes_folders=False))
            if not lease.try_take():
                continue
            try:
                if not is_done(part):
                    yield part
            finally:
                lease.release()
            del left[number], leases[number]
        if not to_the_end:
            return
        if len(left) == before:
            _wait(lambda: any(is_done(part) for part in left.values()))


def do_free_parts(
    leases: Path,
    folder: Path,
    parts: Sequence[Part],
    is_done: Callable[[Part], bool],
    do: Callable[[Part, Add], Iterable[Any]],
    doing: str,
) -> None:
    """Do the parts that nobody is at, for a process that holds no lease on `folder`, to which `do` adds what is missing."""
    taken = take_parts(leases, parts, is_done, doing, to_the_end=False)
    with adding_to(folder) as add, closing(taken):
        for part in taken:
            for _ in do(part, add):  # nobody here watches how far it is
                pass


def _wait(is_over: Callable[[], bool]) -> None:
    """Wait as long as it takes to try leases again, or until something is done: which is cheaper to find out."""
    for _ in range(LOOKS):
        time.sleep(POLL / LOOKS)
        if is_over():
            return


def forget_parts(folder: Path) -> None:
    """Delete the leases of an artefact's parts, once all are done: under another name first, so that nobody adds to them."""
    with suppress(OSError):
        set_aside(folder)
        sweep_aside(folder)
    shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------- what is done is a file


def open_folder(folder: Path) -> None:
    """Make a folder, if need be, and sweep what killed processes left half written; raises DiskRefused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from error
    sweep_temporary(folder)


def replacing_in(folder: Path) -> Add:
    """Return what writes files into a folder, for whoever holds the lease on it."""
    return lambda name, content: write_atomic(folder / name, lambda stream: stream.write(content))


@contextmanager
def adding_to(folder: Path) -> Iterator[Add]:
    """Return what adds files to a folder as it is now, whatever lies under its name later; those that are there stay.

    Raises DiskRefused, also where the folder is gone.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise disk_error(error, folder) from error

    def add(name: str, content: bytes) -> None:
        temporary = f".{secrets.token_hex(6)}.{secrets.token_hex(6)}.tmp"
        try:
            _write(temporary, content, descriptor)
            with suppress(FileExistsError):
                os.link(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        except OSError as error:
            raise disk_error(error, folder / name) from error
        finally:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=descriptor)

    try:
        yield add
    finally:
        os.close(descriptor)


def _write(name: str, content: bytes, folder: int) -> None:
    """Write a new file into an open folder, and send it to the disk."""
    opened = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666, dir_fd=folder)
    with os.fdopen(opened, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
