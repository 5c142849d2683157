"""SBD's masks, one MATLAB file each, become palette PNGs on all cores; masks that are PNGs already are rewritten.

Source: SBD's `benchmark_RELEASE`, `dataset/cls/ID.mat`: GTcls, a 1x1 struct of Boundaries (20 sparse matrices),
Segmentation (H x W uint8, 0 to 20) and CategoriesPresent.

in: the bytes of `.mat` or `.png` masks, one by one -> out: a palette PNG each, and which values it holds
"""

import multiprocessing
import os
import signal
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact, SwdbError, reason
from swdb.core.files import replacing
from swdb.core.processor import usable_cores
from swdb.data.images import decode_mask, palette_png
from swdb.data.voc import IGNORE, MAX_CLASS, VOC2012

FEW = 64  # fewer masks are written before a pool would have started
CHUNK = 8  # masks handed to a worker at once: some milliseconds of work, so that handing them over costs little
CHUNKS_AHEAD = 2  # for each worker: the one in hand and the next
LARGEST = 2**24  # bytes a variable may unpack to; real ones have a quarter of a million

# MATLAB's numbers for kinds of elements, its names for classes of matrices, by number.
INT8, UINT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 2, 5, 6, 14, 15
CLASSES = (
    "class 0", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16", "uint16",
)  # fmt: skip
Element = tuple[int, memoryview]  # kind, content


@dataclass(frozen=True)
class Job:
    """One mask to write: the bytes of its file, and how to call that file in an error."""

    image_id: str
    kind: Literal["mat", "png"]
    data: bytes
    where: str


@dataclass(frozen=True)
class Written:
    """One written mask: its size, and the values in it in rising order."""

    image_id: str
    height: int
    width: int
    present: tuple[int, ...]


# ---------------------------------------------------------------- many masks


def write_masks(
    jobs: Iterable[Job],
    target: Callable[[str], Path],
    mapping: np.ndarray | None,
    workers: int | None = None,
) -> Iterator[Written]:
    """Write each job's mask to `target(image_id)`, on all cores or on `workers`; yields what was written, in order.

    `mapping` (256,) uint8 says what becomes of each label. Jobs are taken as they are needed, a few dozen ahead, so
    memory stays flat. A file is there whole or not at all: to resume, leave out the jobs whose file is there.
    Raises BadInput for a mask that cannot be used and where the disk is full, when all masks before it are written.
    """
    jobs, workers = iter(jobs), workers or usable_cores()
    first = list(islice(jobs, FEW)) if workers > 1 else []
    placed = ((job, target(job.image_id)) for job in chain(first, jobs))
    if len(first) < FEW:
        for job, path in placed:
            yield _write(job, path, mapping)
    else:
        yield from _write_in_pool(placed, mapping, workers)


def _write_in_pool(placed: Iterator[tuple[Job, Path]], mapping: np.ndarray | None, workers: int) -> Iterator[Written]:
    # Processes, as threads would wait for Python's lock; spawned, as the fork of a process with threads may hang.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin_worker)
    under_way: deque[Future] = deque()
    try:
        while True:
            while len(under_way) < CHUNKS_AHEAD * workers and (chunk := list(islice(placed, CHUNK))):
                with _interrupts_held():
                    under_way.append(pool.submit(_write_chunk, chunk, mapping))
            if not under_way:
                return
            written, error = under_way.popleft().result()
            yield from written
            if error is not None:
                raise error
    except BrokenProcessPool:
        raise MissingArtefact("a worker process", "killed, perhaps for lack of memory") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _write_chunk(chunk: list[tuple[Job, Path]], mapping: np.ndarray | None) -> tuple[list[Written], SwdbError | None]:
    """Write a chunk up to the first error, which travels as a value: raised, it would lose what was written before it."""
    written = []
    try:
        for job, path in chunk:
            written.append(_write(job, path, mapping))
    except SwdbError as error:
        return written, error
    return written, None


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does: a killed one cannot say goodbye."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # glibc returns memory to the system block by block until it has seen one as large as this; from then on it keeps
    # what a mask needs for the next one. A tenth of the time, more on a busy machine.
    bytearray(2**24)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: a process that starts now never sees one, not even before `_begin_worker`."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where `_begin_worker` must do
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------- one mask


def _write(job: Job, path: Path, mapping: np.ndarray | None) -> Written:
    """Read the mask of a job, apply the mapping, and write it as a palette PNG that is there whole or not at all."""
    labels = read_mat(job.data, job.where) if job.kind == "mat" else _read_png(job)
    if mapping is not None:
        labels = mapping.take(labels)
    # Not flushed to the disk one by one, which would take longer than all the rest: a kill loses nothing, and a mask
    # that a power cut emptied is refused by name when it is read.
    with replacing(path) as temporary:
        # Masks are runs of one value: to look for nothing else takes a third of the time and, for SBD's, no more bytes.
        temporary.write_bytes(palette_png(labels, compress_type=zlib.Z_RLE))
    # Pillow counts bytes as they are; numpy's bincount would widen them first, in three times the time.
    present = np.flatnonzero(Image.fromarray(labels).histogram())
    return Written(job.image_id, *labels.shape, tuple(present.tolist()))


def _read_png(job: Job) -> np.ndarray:
    return decode_mask(job.data, job.where, MAX_CLASS + 1, VOC2012.palette)


def has_border(job: Job) -> bool:
    """Whether a mask that is a PNG has void pixels before anything of it becomes void; raises as writing it does."""
    return bool((_read_png(job) == IGNORE).any())


def read_mat(data: bytes, where: str) -> np.ndarray:
    """Read the bytes of a `.mat` file of SBD's as labels (H, W) uint8, 0 to 20; raises BadInput that names `where`."""
    try:
        labels = _segmentation(data)
    except (ValueError, struct.error, zlib.error) as error:
        raise BadInput(where, f"cannot be read ({reason(error)})", "a mask of SBD's folder cls") from None
    wrong = labels[labels > MAX_CLASS]
    if wrong.size:
        raise BadInput(where, f"has the value {wrong.min()}", f"0 to {MAX_CLASS}")
    return labels


# ---------------------------------------------------------------- MATLAB's format
#
# scipy.io.loadmat reads it, too, but in twice the time, as it builds 20 sparse boundaries that nobody asked for, and
# one wrong byte can make it crash the process. Here anything unexpected is a ValueError that says what it is.
# Source: MathWorks, "MAT-File Format", version 5: elements of a kind, a length and a content, one within the other.


def _segmentation(data: bytes) -> np.ndarray:
    """Return the field Segmentation of the variable GTcls, (H, W) uint8."""
    variables = {name: matrix for name, *matrix in map(_matrix, _variables(data))}
    if b"GTcls" not in variables:
        raise ValueError("there is no variable GTcls")
    of_class, shape, content = variables[b"GTcls"]
    if (of_class, shape) != ("struct", (1, 1)):
        raise ValueError(f"GTcls is {of_class} of shape {shape}, expected a 1x1 struct")
    (_, width), (_, names), *fields = content
    (width,) = struct.unpack("<I", width)
    names = [bytes(names[at : at + width]).rstrip(b"\x00") for at in range(0, len(names), width)]
    fields = dict(zip(names, fields, strict=True))
    if b"Segmentation" not in fields:
        raise ValueError("GTcls has no field Segmentation")
    _, of_class, shape, content = _matrix(fields[b"Segmentation"])
    if of_class != "uint8" or len(shape) != 2 or 0 in shape:
        raise ValueError(f"Segmentation is {of_class} of shape {shape}, expected H x W uint8")
    ((kind, labels),) = content
    if kind != UINT8:
        raise ValueError(f"Segmentation holds elements of kind {kind}, expected {UINT8}")
    return np.ascontiguousarray(np.frombuffer(labels, np.uint8).reshape(shape, order="F"))


def _variables(data: bytes) -> Iterator[Element]:
    """Yield each variable of a file, unpacked."""
    if data[124:128] != b"\x00\x01IM":
        raise ValueError("it does not begin as files of MATLAB 5 to 7 do")
    for kind, content in _elements(memoryview(data)[128:]):
        if kind == COMPRESSED:
            unpack = zlib.decompressobj()
            unpacked = unpack.decompress(content, LARGEST)
            if not unpack.eof:  # the end has the checksum
                raise ValueError(f"a variable is cut short, or has more than {LARGEST >> 20} MB")
            yield from _elements(memoryview(unpacked))
        else:
            yield kind, content


def _matrix(element: Element) -> tuple[bytes, str, tuple[int, ...], list[Element]]:
    """Return name, class and shape of a matrix, and the elements that follow: its values, or its fields."""
    kind, content = element
    parts = list(_elements(content))
    if kind != MATRIX or [kind for kind, _ in parts[:3]] != [UINT32, INT32, INT8]:
        raise ValueError("a part is not a matrix, as it should be")
    flags, shape, name = (part for _, part in parts[:3])
    number = struct.unpack("<II", flags)[0]  # the class, and above it what is special: logical, complex
    of_class = CLASSES[number] if number < len(CLASSES) else f"class {number:#x}"
    return bytes(name), of_class, struct.unpack(f"<{len(shape) // 4}I", shape), parts[3:]


def _elements(content: memoryview) -> Iterator[Element]:
    """Yield kind and content of the elements that fill a stretch of bytes."""
    at = 0
    while at < len(content):
        kind, length = struct.unpack_from("<II", content, at)
        begin = at + 8
        if kind >> 16:  # a short one: its length stands above the kind, its content where the length would be
            kind, length, begin = kind & 0xFFFF, kind >> 16, at + 4
        end = begin + length
        if end > len(content):
            raise ValueError("an element is cut short")
        yield kind, content[begin:end]
        at = end if kind == COMPRESSED else end + (at - end) % 8  # the others are filled up to a multiple of 8
