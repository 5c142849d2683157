"""Leases: who is making what in a work directory, among any number of processes and machines.

A lease is a write lock of filelock's SoftReadWriteLock: hard links and renames alone, so that it holds on network file
systems too, where flock excludes nothing. Its holder refreshes it from a thread; a holder that falls silent is evicted
by the next one after `STALE` seconds of that one's own monotonic clock, so clocks that jump or differ do no harm.

On top of it: a note says who holds it and why; a holder that died on this very machine is superseded at once, by
opening the next epoch of the lease (a file that only one can create) instead of breaking its lock; and a holder that
lost its lease finds out before it writes, for every write below the folder asks `check_lease`.

in: the folder (or file) to be made -> out: a `Lease` on it that is held, or who holds it; its files are in `.leases/` beside
"""

import contextlib
import errno
import json
import math
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from swdb.core.errors import DiskRefused, LeaseLost, disk_error


def seconds_said(variable: str, default: float, zero: bool = False) -> float:
    """Return the seconds that a variable of the environment says; the default where that is no number above zero.

    zero: whether it may be zero.
    """
    try:
        seconds = float(os.environ.get(variable, ""))
    except ValueError:
        return default
    return seconds if 0 < seconds < math.inf or (zero and seconds == 0) else default


STALE = seconds_said("SWDB_LEASE_SECONDS", 90.0)  # a silent holder is evicted then
NO_HARD_LINKS = "cannot hold a lease (the file system has no hard links)"
LEASES = ".leases"  # where leases lie, beside what they protect
POLL = 0.5  # seconds between two tries of one who waits


def announce(line: str) -> None:
    """Say for whom this process waits; the command line puts a way to its progress display here."""


def is_colleague(holder: "Holder") -> bool:
    """Whether this process need not say that it waits for a holder; `study/worker.py` puts its own answer here."""
    return False


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    machine: str  # this boot of this machine, or of this container
    host: str
    pid: int
    start: str  # when the process began, in the kernel's words; tells it from a later one of the same number
    since: str  # local time, for people
    doing: str
    token: str  # of this holding

    @property
    def is_dead(self) -> bool:
        """Whether the holder was a process of this machine that is gone; of other machines nobody here can tell."""
        return self.machine == this_machine() and process_start(self.pid) != self.start

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.doing}, since {self.since})"


class Lease:
    """A lease on a folder or file; one object for each holding, used by one thread."""

    def __init__(self, path: Path, doing: str = "swdb", makes_folders: bool = True):
        self.path, self.doing, self.makes_folders = path.absolute(), doing, makes_folders
        self.folder = path.parent / LEASES / path.name
        self.token = secrets.token_hex(8)
        self.epoch = 0  # of the lock that `_lock` is
        self._lock: Any = None
        self._checked = 0.0
        self._suspect: str | None = None  # token of a holder that looked dead at the last try

    def try_take(self) -> bool:
        """Take the lease if it is free, or if whoever held it is gone. Raises DiskRefused."""
        try:
            return self._try_take()
        except OSError as error:
            raise disk_error(error, self.path) from error

    def take(self) -> None:
        """Wait for the lease and take it; says once for whom it waits, and again when that changes."""
        said = None
        while not self.try_take():
            holder = self.holder()
            if holder is not None and holder != said and not (holder.is_dead or is_colleague(holder)):
                announce(f"waiting for {self.path.name}, held by {holder}")
                said = holder
            time.sleep(POLL)

    def release(self) -> None:
        """Give the lease back; does nothing where it was lost."""
        if _held.get(self.path) is self:
            del _held[self.path]
        if self._lock is not None:
            with contextlib.suppress(OSError):
                if (holder := self.holder()) is not None and holder.token == self.token:
                    self._note.unlink(missing_ok=True)
            self._unlock()

    def holder(self) -> Holder | None:
        """Return who holds the lease, as far as a note says so."""
        return _read_note(self.folder / f"{_epoch(self.folder)}.json")

    def silence(self, now: float) -> float:
        """Return for how many seconds nothing was heard of the holder, infinity where nobody holds the lease.

        now: by the file system's clock (`now_on_disk`), as its signs of life are, so that no machine's own clock matters.
        """
        signs = []
        with contextlib.suppress(OSError):
            for path in (self.folder / f"{_epoch(self.folder)}.rw" / "holders").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    signs.append(path.stat().st_mtime)
        return max(0.0, now - max(signs)) if signs else math.inf

    def check(self) -> None:
        """Raise LeaseLost where another process has taken this lease over."""
        lost = self._lock.compromise is not None or _epoch(self.folder) > self.epoch
        if not lost and _uptime() - self._checked > STALE / 3:  # we may have been stopped for hours
            holder = _read_note(self._note)
            lost = holder is None or holder.token != self.token
            if not lost:
                self._checked = _uptime()
        if lost:
            raise LeaseLost(self.path, f"taken over by {self.holder() or 'another process'} while this one stood still")

    @property
    def _note(self) -> Path:
        return self.folder / f"{self.epoch}.json"

    def _try_take(self) -> bool:
        from filelock import SoftFileLockProtocolError, Timeout

        epoch = _epoch(self.folder)
        if epoch != self.epoch:
            self.epoch, self._lock = epoch, self._new_lock(epoch)
        try:
            self._lock.acquire_write(timeout=0)
        except Timeout:
            self._supersede_the_dead()
            return False
        except PermissionError as error:
            if error.errno == errno.EPERM:  # what Linux answers where there are no hard links, as on a FAT disk
                raise DiskRefused(self.path, NO_HARD_LINKS) from None
            raise
        except (SoftFileLockProtocolError, RuntimeError) as error:
            if "hard-link" in getattr(error, "reason", ""):
                raise DiskRefused(self.path, NO_HARD_LINKS) from None
            if isinstance(error, RuntimeError) and type(error).__name__ != "TreeReplacedError":
                raise  # filelock's own name for a file or link where its folders should be is private
            _open_epoch(self.folder, epoch + 1)  # its files are garbage: nobody can hold it any more
            return False
        if _epoch(self.folder) != epoch:  # superseded meanwhile
            self._unlock()
            return False
        try:
            _write_note(self._note, self.token, self.doing)
            _clear_epochs_before(self.folder, epoch)
        except OSError:
            self._unlock()
            raise
        self._checked = _uptime()
        _held[self.path] = self
        return True

    def _unlock(self) -> None:
        """Give the lock back; where a full disk does not take that, supersede ourselves, for which an empty file is enough."""
        try:
            self._lock.release(force=True)
        except (OSError, RuntimeError):
            with contextlib.suppress(OSError):
                _open_epoch(self.folder, self.epoch + 1)

    def _new_lock(self, epoch: int) -> Any:
        from filelock import SoftReadWriteLock

        self.folder.mkdir(parents=self.makes_folders, exist_ok=True)
        return SoftReadWriteLock(
            self.folder / str(epoch),
            is_singleton=False,
            heartbeat_interval=STALE / 3,
            stale_threshold=STALE,
            poll_interval=min(POLL, STALE / 4),
        )

    def _supersede_the_dead(self) -> None:
        """Open the next epoch where the holder is a process of this machine that is gone, seen so at two tries."""
        holder = self.holder()
        if holder is None or not holder.is_dead:
            self._suspect = None
        elif self._suspect == holder.token:
            _open_epoch(self.folder, self.epoch + 1)
        else:
            self._suspect = holder.token  # whoever took the lease just now may not have noted it yet


_held: dict[Path, Lease] = {}  # what this process holds, by what it protects


@contextmanager
def leased(path: Path, doing: str = "swdb") -> Iterator[Lease]:
    """Hold the lease on a folder or file while the block runs, waiting for it where another process holds it.

    Where this process holds it already, the block runs under that.
    """
    if (held := _held.get(path.absolute())) is not None:
        yield held
        return
    lease = Lease(path, doing)
    lease.take()
    try:
        yield lease
    finally:
        lease.release()


def check_lease(path: Path) -> None:
    """Raise LeaseLost where `path` lies below a folder whose lease this process held and lost."""
    if not _held:
        return
    path = path.absolute()
    for folder in (path, *path.parents):
        if (lease := _held.get(folder)) is not None:
            lease.check()


def now_on_disk(folder: Path) -> float | None:
    """Return the time by the clock of a folder's file system, which stamps the files of all machines; None if read-only."""
    path = folder / f".now.{secrets.token_hex(6)}.tmp"
    try:
        path.touch()
        try:
            return path.stat().st_mtime
        finally:
            path.unlink()
    except OSError:
        return None


# ---------------------------------------------------------------- epochs and notes


def _epoch(folder: Path) -> int:
    """Return the current epoch of a lease; the first one needs no file."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 1
    numbers = (int(stem) for name in names if name.endswith(".epoch") and (stem := name[:-6]).isdecimal())
    return max(1, max(numbers, default=1))


def _open_epoch(folder: Path, epoch: int) -> None:
    """Open an epoch, unless somebody else just did."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(folder / f"{epoch}.epoch", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def _clear_epochs_before(folder: Path, epoch: int) -> None:
    """Delete what earlier epochs left: their holders are gone, or find out that they lost."""
    for path in folder.iterdir():
        number = path.name.lstrip(".").partition(".")[0]  # a note half written begins with a dot
        if number.isdecimal() and int(number) < epoch:
            _remove(path)


def _remove(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write_note(path: Path, token: str, doing: str) -> None:
    pid, now = os.getpid(), datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    holder = Holder(this_machine(), platform.node(), pid, process_start(pid), now, doing, token)
    temporary = path.with_name(f".{path.name}.{token}.tmp")
    temporary.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    if path.is_dir():  # garbage
        _remove(path)
    os.replace(temporary, path)


def _read_note(path: Path) -> Holder | None:
    """Read who holds a lease; None where nobody says so, or what is said is garbage."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        holder = Holder(**noted)
    except (OSError, ValueError, TypeError):
        return None
    return holder if type(holder.pid) is int and all(type(v) is str for k, v in noted.items() if k != "pid") else None


# ---------------------------------------------------------------- processes and machines


@cache
def this_machine() -> str:
    """Name this boot of this machine, and this container on it: where a process number means one process."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def process_start(pid: int) -> str:
    """Return when a process of this machine began, in the kernel's words; empty where there is none (or no /proc)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in ("Z", "X") else fields[19]
    except (OSError, IndexError):
        return "" if Path("/proc/self/stat").exists() or not _is_running(pid) else "unknown"


def parent_of(pid: int) -> int:
    """Return the number of the process that started a process of this machine; 0 where nobody says so."""
    try:
        return int(
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
        )
    except (OSError, IndexError, ValueError):
        return 0


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _uptime() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
