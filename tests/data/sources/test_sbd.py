"""SBD's MATLAB masks and other people's PNG masks become palette PNGs, on one core or all, whatever happens meanwhile."""

import io
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from PIL import Image

from swdb.core.errors import BadInput, DiskRefused, MissingArtefact
from swdb.core.files import sweep_temporary
from swdb.data.images import palette_png
from swdb.data.sources import sbd
from swdb.data.sources.sbd import Job, Written, read_mat, write_masks
from swdb.data.voc import IGNORE, VOC2012

WHERE = "benchmark.tgz: dataset/cls/2008_000002.mat"


def blobs(seed: int = 0, height: int = 40, width: int = 50) -> np.ndarray:
    """Labels of three classes in blobs with curved edges, on background."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((height, width), np.uint8)
    for label in rng.integers(1, 21, 3):
        coarse = Image.fromarray(rng.normal(size=(6, 6)).astype(np.float32))
        labels[np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) > 0.8] = label
    return labels


def official(labels: np.ndarray) -> dict:
    """GTcls as SBD has it."""
    boundaries = np.empty((20, 1), object)
    for k in range(20):
        boundaries[k, 0] = scipy.sparse.csc_matrix(np.diff(labels == k + 1, axis=0, prepend=False))
    present = np.array([[label] for label in np.unique(labels) if label], np.uint8)
    return {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": present}


def mat(compressed: bool = True, **variables) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, do_compression=compressed)
    return buffer.getvalue()


def sbd_mat(labels: np.ndarray, compressed: bool = True) -> bytes:
    return mat(compressed, GTcls=official(labels))


def plainly(data: bytes) -> np.ndarray:
    """The way every other toolbox reads it."""
    return scipy.io.loadmat(io.BytesIO(data))["GTcls"][0]["Segmentation"][0]


def png(labels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def refused(read: Callable[[bytes, str], object], data: bytes) -> BadInput:
    """The error with which a mask's bytes are refused; it calls them as their reader says."""
    with pytest.raises(BadInput) as caught:
        read(data, WHERE)
    assert caught.value.subject == WHERE and "\n" not in str(caught.value)
    return caught.value


# ---------------------------------------------------------------- masks from MATLAB


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("shape", [(40, 50), (50, 40), (1, 1), (1, 7), (7, 1), (2, 2), (3, 1)])
def test_a_mat_file_is_read_as_loadmat_reads_it(shape, compressed):
    data = sbd_mat(blobs(1, *shape), compressed)
    labels = read_mat(data, WHERE)
    assert labels.dtype == np.uint8 and labels.shape == shape and labels.flags.c_contiguous
    assert np.array_equal(labels, plainly(data)) and np.array_equal(labels, blobs(1, *shape))


def test_all_classes_are_read():
    labels = np.arange(21, dtype=np.uint8).reshape(3, 7)
    assert np.array_equal(read_mat(sbd_mat(labels), WHERE), labels)


@pytest.mark.parametrize("compressed", [True, False])
def test_other_variables_in_the_file_do_not_matter(compressed):
    truth = official(blobs())
    for data in (mat(compressed, other=np.ones(3), GTcls=truth), mat(compressed, GTcls=truth, other=np.ones(3))):
        assert np.array_equal(read_mat(data, WHERE), blobs())


def test_fields_may_stand_in_another_order():
    truth = dict(reversed(official(blobs()).items()))
    assert np.array_equal(read_mat(mat(GTcls=truth), WHERE), blobs())


def test_a_struct_that_matlab_itself_wrote_has_the_layout_that_is_looked_for():
    path = Path(scipy.io.matlab.__file__).parent / "tests" / "data" / "teststruct_7.4_GLNX86.mat"
    if not path.is_file():
        pytest.skip("this scipy comes without its test data")
    (variable,) = sbd._variables(path.read_bytes())
    name, of_class, shape, (_, (_, names), *fields) = sbd._matrix(variable)
    assert (name, of_class, shape) == (b"teststruct", "struct", (1, 1))
    assert bytes(names).split(b"\x00")[0] == b"stringfield"
    assert [sbd._matrix(field)[1:3] for field in fields[:2]] == [("char", (1, 26)), ("double", (1, 3))]


HEADER = sbd_mat(blobs())[:128]


def nothing_but(segmentation) -> bytes:
    return mat(GTcls={"Segmentation": segmentation})


# A name for the fault; the file; words of what was found.
BROKEN = {
    "empty": (b"", ["does not begin as files of MATLAB"]),
    "a web page": (b"<!DOCTYPE html><html>404 Not Found</html>" * 20, ["does not begin as files of MATLAB"]),
    "MATLAB 7.3": (HEADER[:124] + b"\x00\x02IM" + bytes(384), ["does not begin as files of MATLAB"]),
    "a header alone": (HEADER, ["no variable GTcls"]),
    "a header and zeros": (HEADER + bytes(80), ["not a matrix"]),
    "no GTcls": (mat(GTinst=official(blobs())), ["no variable GTcls"]),
    "no variable": (mat(), ["no variable GTcls"]),
    "GTcls is a number": (mat(GTcls=3.0), ["GTcls is double of shape (1, 1), expected a 1x1 struct"]),
    "GTcls is a text": (mat(GTcls="Segmentation"), ["GTcls is char", "1x1 struct"]),
    "GTcls is sparse": (mat(GTcls=scipy.sparse.eye(1, format="csc")), ["GTcls is sparse", "1x1 struct"]),
    "GTcls is a cell": (mat(GTcls=np.array([["a", 1.0]], object)), ["GTcls is cell", "1x1 struct"]),
    "GTcls is empty": (mat(GTcls=np.zeros((0, 0))), ["(0, 0)", "1x1 struct"]),
    "two structs": (
        mat(GTcls=np.array([(blobs(),), (blobs(),)], [("Segmentation", object)])), ["(1, 2)", "1x1 struct"],
    ),
    "no Segmentation": (mat(GTcls={"Boundaries": 1, "CategoriesPresent": 2}), ["no field Segmentation"]),
    "Segmentation is double": (nothing_but(blobs().astype(float)), ["double of shape (40, 50)", "H x W uint8"]),
    "Segmentation is int8": (nothing_but(blobs().astype(np.int8)), ["int8 of shape", "H x W uint8"]),
    "Segmentation is uint16": (nothing_but(blobs().astype(np.uint16)), ["uint16 of shape", "H x W uint8"]),
    "Segmentation is logical": (nothing_but(blobs() > 0), ["class 0x209", "H x W uint8"]),
    "Segmentation is a text": (nothing_but("cat"), ["char of shape (1, 3)", "H x W uint8"]),
    "Segmentation is sparse": (nothing_but(scipy.sparse.csc_matrix(blobs())), ["of shape (40, 50)", "H x W uint8"]),
    "Segmentation is a struct": (nothing_but({"a": 1}), ["struct", "H x W uint8"]),
    "Segmentation is 3-D": (nothing_but(np.zeros((4, 5, 3), np.uint8)), ["(4, 5, 3)", "H x W uint8"]),
    "Segmentation is empty": (nothing_but(np.zeros((0, 0), np.uint8)), ["(0, 0)", "H x W uint8"]),
    "Segmentation has no columns": (nothing_but(np.zeros((4, 0), np.uint8)), ["(4, 0)", "H x W uint8"]),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_mat_file_is_refused_with_what_is_wrong(fault):
    data, words = BROKEN[fault]
    error = refused(read_mat, data)
    assert "cannot be read" in error.found and "SBD" in error.expected
    assert [word for word in words if word not in error.found] == [], error.found


@pytest.mark.parametrize(("value", "compressed"), [(21, True), (255, True), (21, False)])
def test_a_mat_file_with_a_value_that_is_not_a_class_is_refused(value, compressed):
    error = refused(read_mat, sbd_mat(np.full((4, 5), value, np.uint8), compressed))
    assert str(value) in error.found.split() and error.expected == "0 to 20"


def outcome(data: bytes) -> np.ndarray | None:
    """Labels, or None where they are refused; anything else that is raised fails the test."""
    try:
        return read_mat(data, WHERE)
    except BadInput as error:
        assert error.subject == WHERE and "\n" not in str(error)
        return None


@pytest.mark.parametrize("compressed", [True, False])
def test_wherever_a_mat_file_is_cut_it_is_refused(compressed):
    data = sbd_mat(blobs(), compressed)
    for length in [*range(0, len(data) - 64, len(data) // 150), *range(len(data) - 64, len(data))]:
        assert outcome(data[:length]) is None, length


def test_wherever_a_compressed_mat_file_is_damaged_it_is_refused_or_still_right():
    data = bytearray(sbd_mat(blobs()))
    refused = 0
    for at in range(124, len(data)):  # before that is a text that means nothing
        data[at] ^= 0x5A
        labels = outcome(bytes(data))
        assert labels is None or np.array_equal(labels, blobs()), at
        refused += labels is None
        data[at] ^= 0x5A
    assert refused > len(data) - 124 - 5  # a few bits fill up the last byte before the checksum


def repacked(content: bytes) -> bytes:
    """A compressed file with a right checksum around any content."""
    packed = zlib.compress(content)
    return HEADER + struct.pack("<II", 15, len(packed)) + packed


def test_a_file_made_to_mislead_is_refused_or_a_mask():
    # Each byte of the structure is turned into something else, with a checksum that fits: lengths, kinds, shapes.
    truth = {"Segmentation": blobs(0, 4, 5), "CategoriesPresent": np.ones((1, 1), np.uint8)}
    content = bytearray(zlib.decompress(mat(GTcls=truth)[136:]))
    for at in range(len(content)):
        for changed in (0x00, 0x01, 0x7F, 0x80, 0xFF):
            kept, content[at] = content[at], changed
            labels = outcome(repacked(bytes(content)))
            assert labels is None or (labels.ndim == 2 and labels.max() <= 20), at
            content[at] = kept


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(monkeypatch):
    data = sbd_mat(np.zeros((300, 400), np.uint8))
    monkeypatch.setattr(sbd, "LARGEST", 100_000)
    assert "more than" in refused(read_mat, data).found


# ---------------------------------------------------------------- masks that are PNGs


@pytest.fixture
def rewrite(tmp_path) -> Callable[[bytes, str], np.ndarray]:
    """Write the mask that a PNG's bytes are, as others converted it, and read it back; one that is refused writes nothing."""

    def labels_written(data: bytes, where: str) -> np.ndarray:
        path = tmp_path / "a.png"
        path.unlink(missing_ok=True)
        try:
            written(tmp_path, [Job("a", "png", data, where)])
        except BadInput:
            assert list(tmp_path.iterdir()) == []
            raise
        return labels_of(path)

    return labels_written


def test_a_palette_png_and_a_grey_one_are_read_with_the_void_value(rewrite):
    labels = np.random.default_rng(0).choice([0, 1, 20, IGNORE], (12, 10)).astype(np.uint8)
    for data in (palette_png(labels), png(labels)):
        assert np.array_equal(rewrite(data, WHERE), labels)


def hand_made_png(depth: int, colour: int, width: int, rows: list[bytes]) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(48)) if colour == 3 else b""
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\x00" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + pixels + chunk(b"IEND", b"")


def test_a_palette_png_of_four_bits_is_read_as_it_is(rewrite):
    data = hand_made_png(4, 3, 4, [b"\x01\x2f", b"\xf0\x00"])
    assert rewrite(data, WHERE).tolist() == [[0, 1, 2, 15], [15, 0, 0, 0]]


def test_a_grey_png_of_four_bits_is_refused(rewrite):
    # Pillow spreads its values over 0 to 255: class 1 would silently be class 17.
    assert "grey 4-bit" in refused(rewrite, hand_made_png(4, 0, 4, [b"\x01\x01"])).found


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1", "I;16"])
def test_a_png_in_colours_or_other_depths_is_refused(rewrite, mode):
    buffer = io.BytesIO()
    Image.new(mode, (4, 4)).save(buffer, "PNG")
    error = refused(rewrite, buffer.getvalue())
    assert mode in error.found.split() and "palette PNG" in error.expected


@pytest.mark.parametrize("value", [21, 128, 254])
def test_a_png_with_a_value_that_is_not_a_class_is_refused(rewrite, value):
    error = refused(rewrite, palette_png(np.array([[0, value], [255, 1]], np.uint8)))
    assert str(value) in error.found.split() and error.expected == "0 to 20 and 255"


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "found", "expected"),
    [
        (b"", "cannot be read", "a mask"),
        (b"<html>404</html>", "cannot be read", "a mask"),
        (jpeg(), "JPEG", "palette PNG"),
        (hand_made_png(8, 0, 2**31 - 1, [b""] * 2), "cannot be read", "a mask"),
        (hand_made_png(8, 0, 10_000, [b""]), "cannot be read", "a mask"),
    ],
    ids=["empty", "a web page", "a JPEG", "of an impossible size", "without pixels"],
)
def test_what_is_not_a_png_is_refused(rewrite, data, found, expected):
    error = refused(rewrite, data)
    assert found in error.found and expected in error.expected


def test_wherever_a_png_is_cut_it_is_refused_or_still_whole(rewrite):
    data = palette_png(blobs())
    refused = 0
    for length in range(len(data)):
        try:
            assert np.array_equal(rewrite(data[:length], WHERE), blobs()), length
        except BadInput:
            refused += 1
    assert refused > len(data) - 30  # all but the end, which holds no pixels


# ---------------------------------------------------------------- writing


def job(image_id: str, labels: np.ndarray, kind: str = "mat") -> Job:
    data = sbd_mat(labels) if kind == "mat" else palette_png(labels)
    return Job(image_id, kind, data, f"archive: {image_id}.{kind}")


def jobs(count: int) -> list[Job]:
    """Jobs of both kinds and of several sizes."""
    made = [job("", blobs(seed, 20 + seed, 30), ("mat", "png")[seed % 2]) for seed in range(6)]
    names = [f"2008_{index:06d}" for index in range(count)]
    return [Job(name, *(lambda m: (m.kind, m.data, name))(made[index % 6])) for index, name in enumerate(names)]


def target(folder: Path):
    return lambda image_id: folder / f"{image_id}.png"


def written(folder: Path, work, mapping: np.ndarray | None = None, workers: int | None = 1) -> list[Written]:
    return list(write_masks(work, target(folder), mapping, workers))


def labels_of(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        assert (mask.format, mask.mode) == ("PNG", "P")
        return np.array(mask)


def test_a_written_mask_has_the_labels_and_voc_s_palette(tmp_path):
    assert written(tmp_path / "new", [job("a", blobs())]) == [
        Written("a", 40, 50, tuple(np.unique(blobs()).tolist())),
    ]
    assert np.array_equal(labels_of(tmp_path / "new" / "a.png"), blobs())
    with Image.open(tmp_path / "new" / "a.png") as mask:
        colours = np.reshape(mask.getpalette(), (-1, 3))
        assert np.array_equal(colours, VOC2012.palette[: len(colours)])
        assert np.array_equal(np.asarray(mask.convert("RGB")), VOC2012.palette[blobs()])


def test_a_mask_is_encoded_in_about_as_many_bytes_as_by_default(tmp_path):
    labels = blobs(3, 375, 500)
    written(tmp_path, [job("a", labels)])
    assert (tmp_path / "a.png").stat().st_size < 1.1 * len(png(labels)) + 800  # and a palette


@pytest.mark.parametrize("kind", ["mat", "png"])
def test_the_mapping_is_applied_before_writing(tmp_path, kind):
    labels = np.array([[0, 8, 12], [20, 8, 0]], np.uint8)
    mapping = np.full(256, IGNORE, np.uint8)
    mapping[[0, 8, 12]] = 0, 1, 2
    assert written(tmp_path, [job("a", labels, kind)], mapping) == [Written("a", 2, 3, (0, 1, 2, 255))]
    assert labels_of(tmp_path / "a.png").tolist() == [[0, 1, 2], [255, 1, 0]]


def test_the_void_value_of_a_png_goes_through_the_mapping(tmp_path):
    mapping = np.arange(256, dtype=np.uint8)
    mapping[255], mapping[3] = 7, 255
    assert written(tmp_path, [job("a", np.array([[255, 3, 0]], np.uint8), "png")], mapping)[0].present == (0, 7, 255)


def test_a_file_that_is_there_is_replaced_and_another_name_of_it_left(tmp_path):
    kept = tmp_path / "kept.png"
    kept.write_bytes(b"a file of the user's, of which a.png is another name")
    os.link(kept, tmp_path / "a.png")
    written(tmp_path, [job("a", blobs())])
    assert np.array_equal(labels_of(tmp_path / "a.png"), blobs())
    assert kept.read_bytes().startswith(b"a file of the user's")


def test_an_interrupt_in_the_middle_of_writing_leaves_nothing(tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def half(path: Path, data: bytes) -> None:
        write_bytes(path, data[: len(data) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, [job("a", blobs())])
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_file_never_has_the_masks_name(tmp_path, monkeypatch):
    seen = []
    write_bytes = Path.write_bytes

    def watched(path: Path, data: bytes) -> None:
        write_bytes(path, data)
        seen.extend(entry.name for entry in tmp_path.iterdir())

    monkeypatch.setattr(Path, "write_bytes", watched)
    written(tmp_path, [job("a", blobs())])
    (name,) = seen
    assert name.startswith(".a.png.") and name.endswith(".tmp")


def test_a_place_below_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskRefused) as caught:
        written(tmp_path / "file" / "masks", [job("a", blobs())])
    assert caught.value.subject == tmp_path / "file" / "masks" / "a.png"


# ---------------------------------------------------------------- on all cores


@pytest.fixture
def no_worker_left():
    """After the test, every worker has ended."""
    yield
    assert multiprocessing.active_children() == []


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_pool_and_one_process_give_the_same_files_and_results_in_order(tmp_path, no_worker_left):
    work = jobs(101)
    mapping = np.where(np.arange(256) < 10, np.arange(256), 255).astype(np.uint8)
    alone, pooled = (written(tmp_path / str(n), iter(work), mapping, n) for n in (1, 2))
    assert alone == pooled and [entry.image_id for entry in pooled] == [entry.image_id for entry in work]
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2") and len(files_of(tmp_path / "1")) == 101


@pytest.mark.parametrize(("count", "workers"), [(0, None), (1, 2), (sbd.FEW - 1, 2), (sbd.FEW + 1, 1)])
def test_few_jobs_and_one_worker_start_no_pool(tmp_path, monkeypatch, count, workers):
    monkeypatch.setattr(sbd, "ProcessPoolExecutor", None)
    assert len(written(tmp_path, jobs(count), None, workers)) == count


def test_without_a_number_of_workers_all_cores_are_used(tmp_path, monkeypatch):
    class Enough(Exception):
        pass

    def pool(workers, *_, **__):
        raise Enough(workers)

    monkeypatch.setattr(sbd, "usable_cores", lambda: 5)
    monkeypatch.setattr(sbd, "ProcessPoolExecutor", pool)
    with pytest.raises(Enough, match="5"):
        written(tmp_path, jobs(sbd.FEW), None, None)


def test_jobs_are_taken_as_they_are_needed(tmp_path, no_worker_left):
    taken = 0

    def counted():
        nonlocal taken
        for taken, entry in enumerate(jobs(400), start=1):  # noqa: B007 - the count is what is looked at
            yield entry

    ahead = sbd.CHUNK * sbd.CHUNKS_AHEAD * 2
    for done, _ in enumerate(write_masks(counted(), target(tmp_path), None, 2)):
        assert taken - done <= max(sbd.FEW, ahead) + 1
    assert taken == 400


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_mask_is_refused_after_all_masks_before_it(tmp_path, no_worker_left, workers):
    work = jobs(100)
    work[77] = Job("2008_000077", "mat", work[76].data[:-5], "archive: 2008_000077.mat")
    done = []
    with pytest.raises(BadInput) as caught:
        for entry in write_masks(work, target(tmp_path), None, workers):
            done.append(entry.image_id)
    assert caught.value.subject == "archive: 2008_000077.mat" and "cannot be read" in caught.value.found
    assert "SBD" in caught.value.expected and "\n" not in str(caught.value)
    assert done == [entry.image_id for entry in work[:77]]
    assert not (tmp_path / "2008_000077.png").exists()


def test_an_error_of_the_archive_ends_the_pool_and_comes_through(tmp_path, no_worker_left):
    raised = BadInput("archive.tgz", "cut short")

    def archive():
        yield from jobs(90)
        raise raised

    with pytest.raises(BadInput) as caught:
        written(tmp_path, archive(), None, 2)
    assert caught.value is raised


def test_who_stops_listening_ends_the_pool(tmp_path, no_worker_left):
    results = write_masks(jobs(200), target(tmp_path), None, 2)
    next(results)
    assert len(multiprocessing.active_children()) > 0
    results.close()
    assert multiprocessing.active_children() == []
    assert not list(tmp_path.glob(".*"))


def test_a_killed_worker_is_told(tmp_path, no_worker_left):
    with pytest.raises(MissingArtefact) as caught:
        for _ in write_masks(jobs(400), target(tmp_path), None, 2):
            multiprocessing.active_children()[0].kill()
    assert "worker" in caught.value.subject and "killed" in caught.value.found


# ---------------------------------------------------------------- kills, Ctrl-C, full disks

# Writes masks forever; says when the pool is about to start, and when it has written a hundred.
ENDLESS = """
import itertools, sys
from pathlib import Path
from swdb.core.errors import SwdbError
from swdb.data.sources.sbd import FEW, Job, write_masks

def jobs():
    data = Path(sys.argv[1]).read_bytes()
    for index in itertools.count():
        if index == FEW - 1:
            print("starting", flush=True)
        yield Job(f"{index:06d}", "mat", data, f"{index:06d}.mat")

def main():
    try:
        for done, _ in enumerate(write_masks(jobs(), lambda name: Path(sys.argv[2], name + ".png"), None, 2)):
            if done == 100:
                print("writing", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    except SwdbError as error:
        print(type(error).__name__, error.subject, flush=True)

if __name__ == "__main__":
    if len(sys.argv) > 3:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))  # no file may grow beyond: as on a full disk
    main()
"""


@pytest.fixture
def endless(tmp_path):
    """Start the program in a process group of its own, and wait until it says something; the test's end is its end."""
    started = []

    def start(until: str, *options: str) -> subprocess.Popen:
        program, data = tmp_path / "endless.py", tmp_path / "mask.mat"
        program.write_text(ENDLESS)
        data.write_bytes(sbd_mat(blobs(0, 375, 500)))
        process = subprocess.Popen(
            [sys.executable, program, data, tmp_path / "masks", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        while (line := process.stdout.readline()) != f"{until}\n":
            assert line, process.stderr.read()
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def alive(group: int) -> list[str]:
    """The processes of a group that still run, by their command lines."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append((stat.parent / "cmdline").read_text().replace("\x00", " "))
        except OSError:  # ended while we looked
            continue
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()


def assert_group_ends(group: int) -> None:
    wait_for(lambda: not alive(group))


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


@needs_proc
@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["the parent", "all processes"])
def test_a_kill_leaves_whole_masks_no_worker_and_a_folder_to_go_on_with(tmp_path, endless, kill):
    process = endless("writing")
    kill(process.pid, signal.SIGKILL)
    process.wait()
    assert_group_ends(process.pid)
    process.communicate()
    masks = sorted((tmp_path / "masks").glob("*.png"))
    assert len(masks) > 100
    for path in masks:
        assert np.array_equal(labels_of(path), blobs(0, 375, 500)), path
    halves = list((tmp_path / "masks").glob(".*"))
    assert len(halves) <= 2 and all(path.suffix == ".tmp" for path in halves)  # one a worker
    sweep_temporary(tmp_path / "masks")
    assert sorted((tmp_path / "masks").iterdir()) == masks


@needs_proc
@pytest.mark.parametrize(
    ("until", "processes"), [("starting", 1), ("starting", 2), ("starting", 3), ("starting", 4), ("writing", 4)]
)
def test_ctrl_c_reaches_the_parent_alone(tmp_path, endless, until, processes):
    process = endless(until)
    wait_for(lambda: len(alive(process.pid)) >= processes)  # the parent, Python's resource tracker, two workers
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    assert_group_ends(process.pid)
    said, complained = process.communicate()
    assert said.endswith("interrupted\n") and complained == ""
    assert not list((tmp_path / "masks").glob(".*"))


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, endless):
    process = endless("starting", "full")
    said, complained = process.communicate(timeout=60)
    assert (said, complained) == (f"DiskRefused {tmp_path / 'masks' / '000000.png'}\n", "")
    assert list((tmp_path / "masks").iterdir()) == []
