"""Official archives, fetched from where they are published: resumed, retried, and compared with their md5.

in: an official URL -> out: `<folder>/<archive>` with the right sum, or half of it as `.<archive>.part`
"""

import hashlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from swdb.core.errors import BadInput, DiskRefused, MissingArtefact, disk_error, reason
from swdb.core.progress import Advance, silent
from swdb.data.sources.archives import MIB

CHUNK = MIB  # bytes moved at once
TIMEOUT = 30.0  # seconds without a byte, then a connection is given up


@dataclass(frozen=True)
class Download:
    """A published archive."""

    name: str  # file name it is kept under
    url: str
    md5: str


# URLs as on the pages of VOC 2012 and SBD; sums as torchvision.datasets has them.
VOC2012 = Download(
    "VOCtrainval_11-May-2012.tar",
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "6cd6e144f989b92b3379bac3b3de84fd",
)
SBD = Download(
    "benchmark.tgz",
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    "82b4d87ceb2ed10f6038a1cba92111cb",
)


class _Failed(Exception):
    """A try that came to nothing; the next one may go better."""


def fetch(download: Download, folder: Path, advance: Advance, retries: int = 5, pause: float = 1.0) -> Path:
    """Fetch an archive into a folder, going on where an earlier try was cut off; returns its path once its sum is right.

    Waits `pause` seconds before the first of the retries, twice as long before each next. Raises BadInput for a wrong
    sum or a full disk, and MissingArtefact if the archive does not come.
    """
    path, part = folder / download.name, folder / f".{download.name}.part"
    if path.exists():
        check_md5(path, download, advance)
        return path
    for attempt in range(retries + 1):
        try:
            _try_once(download.url, part, advance)
            break
        except (_Failed, HTTPError) as error:
            if attempt == retries or isinstance(error, HTTPError):
                found = f"could not be downloaded ({reason(error)})"
                raise MissingArtefact(download.url, found, f"a file with the md5 {download.md5}") from None
        time.sleep(pause * 2**attempt)
    found = _md5(part, silent())
    if found != download.md5:
        part.unlink()
        raise BadInput(download.url, f"gave a file with the md5 {found}, which was deleted", f"md5 {download.md5}")
    os.replace(part, path)
    return path


def check_md5(path: Path, download: Download, advance: Advance) -> None:
    """Compare a file's md5 with the published one; raises BadInput if it is another, MissingArtefact if there is no file."""
    try:
        found = _md5(path, advance)
    except OSError as error:
        raise MissingArtefact(path, f"cannot be read ({reason(error)})") from None
    if found != download.md5:
        raise BadInput(path, f"has the md5 {found}", f"{download.md5}")


def _md5(path: Path, advance: Advance) -> str:
    """Return a file's md5 as hex."""
    digest = hashlib.md5(usedforsecurity=False)
    size, done = path.stat().st_size, 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            advance(done, size)
    return digest.hexdigest()


def _try_once(url: str, part: Path, advance: Advance) -> None:
    """Fetch what is still missing of a file; raises _Failed if it does not come whole, HTTPError if it never will.

    Should the file have changed since the part came, the sum will tell: no If-Range is needed.
    """
    done = part.stat().st_size if part.exists() else 0
    asked = {"Range": f"bytes={done}-"} if done else {}
    try:
        response = urlopen(Request(url, headers=asked), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and done:
            return  # there is nothing behind the part: it is whole, or the sum will say that it is wrong
        if error.code in (408, 429) or error.code >= 500:  # may pass
            raise _Failed(str(error)) from None
        raise
    except (OSError, HTTPException) as error:
        raise _Failed(str(getattr(error, "reason", error))) from None
    with response:
        _append(response, part, *_extent(response, done), advance)


def _extent(response: HTTPResponse, done: int) -> tuple[int, int | None]:
    """Return where the body begins in the file and how many bytes the file has, None if the server does not say."""
    if response.status == 200:  # a server that knows no ranges begins again
        return 0, response.length
    answer = response.headers["Content-Range"] or ""
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", answer)
    start, last, size = map(int, match.groups()) if match else (-1, -1, -1)
    if response.status != 206 or start != done or last >= size or response.length not in (None, last + 1 - start):
        found = f"HTTP {response.status}, range {answer!r}, {response.length} bytes"
        raise _Failed(f"asked for the bytes from {done} on, the server answered {found}")
    return start, size


def _append(response: HTTPResponse, part: Path, start: int, size: int | None, advance: Advance) -> None:
    """Write the body to the part from byte `start` on, up to the announced size; what came is kept whatever happens."""
    done = start
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if start else "wb") as stream:
            free = shutil.disk_usage(part.parent).free
            if size is not None and free < size - start:
                room = f"{free / MIB:,.0f} MiB are free, {(size - start) / MIB:,.0f} are needed"
                raise DiskRefused(part, f"the disk is full ({room})")
            while done != size and (chunk := _receive(response)):
                if size is not None and done + len(chunk) > size:
                    raise _Failed(f"the server sends more than the {size:,} bytes it announced")
                stream.write(chunk)
                done += len(chunk)
                advance(done, done if size is None else size)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise disk_error(error, part) from error
    if size is not None and done < size:
        raise _Failed(f"the connection ended after {done:,} of {size:,} bytes")


def _receive(response: HTTPResponse) -> bytes:
    """Return the next bytes of a body, as they come; empty at its end."""
    try:
        return response.read1(CHUNK)
    except (OSError, HTTPException) as error:
        raise _Failed(str(error) or type(error).__name__) from None
