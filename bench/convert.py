"""How fast SBD's masks become PNGs, beside the loop that other toolboxes ship. `python bench/convert.py`.

Both sides read the same `.mat` files and take turns; medians of three. The masks are synthetic: as large as SBD's, as many
objects, in the layout and the compression of the official archive, a few hundred of them written again and again.
"""

import argparse
import io
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from swdb.core.processor import usable_cores
from swdb.data import voc
from swdb.data.sources.sbd import Job, write_masks

ROUNDS = 3
TIMES = 10  # each file is written so often: with 400 files a third of what SBD has
INNER = "benchmark_RELEASE/dataset/cls"
MEMORY = (200, 800)  # masks


# ---------------------------------------------------------------- files as SBD has them


def draw(rng: np.random.Generator) -> np.ndarray:
    """Draw labels (H, W) uint8: one to three classes in blobs with ragged edges, on background."""
    height, width = (375, 500) if rng.random() < 0.7 else (500, 375)
    labels = np.zeros((height, width), np.uint8)
    for label in rng.choice(np.arange(1, voc.MAX_CLASS + 1), rng.integers(1, 4)):
        coarse, fine = (
            Image.fromarray(rng.normal(size=(n, n)).astype(np.float32)).resize(
                (width, height), Image.Resampling.BICUBIC
            )
            for n in (8, 40)
        )
        labels[np.asarray(coarse) + 0.15 * np.asarray(fine) > 0.9] = label
    return labels


def mat_file(labels: np.ndarray) -> bytes:
    """Return labels as a `.mat` file of the official layout, compressed, with a sparse boundary for each class."""
    import scipy.io
    import scipy.sparse

    boundaries = np.empty((voc.MAX_CLASS, 1), object)
    for k in range(voc.MAX_CLASS):
        inside = labels == k + 1
        edge = np.zeros_like(inside)
        edge[:, 1:] |= inside[:, 1:] != inside[:, :-1]
        edge[1:] |= inside[1:] != inside[:-1]
        boundaries[k, 0] = scipy.sparse.csc_matrix(edge)
    present = np.array([[label] for label in np.unique(labels) if label], np.uint8)
    truth = {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": present}
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"GTcls": truth}, do_compression=True)
    return buffer.getvalue()


def make(folder: Path, count: int) -> None:
    """Write the `.mat` files, and one archive of them."""
    rng = np.random.default_rng(0)
    (folder / INNER).mkdir(parents=True)
    for index in range(count):
        (folder / INNER / f"2008_{index:06d}.mat").write_bytes(mat_file(draw(rng)))
    with tarfile.open(folder / "benchmark.tgz", "w:gz", compresslevel=1) as archive:
        archive.add(folder / INNER, INNER)


# ---------------------------------------------------------------- three ways


def one_by_one(folder: Path) -> None:
    """Do what other toolboxes do: loadmat, Pillow as it comes, one file after the other."""
    import scipy.io

    palette = voc.palette().tobytes()
    (folder / "plain").mkdir()
    for turn in range(TIMES):
        for path in sorted((folder / INNER).iterdir()):
            labels = scipy.io.loadmat(path)["GTcls"][0]["Segmentation"][0]
            mask = Image.fromarray(labels)
            mask.putpalette(palette)
            mask.save(folder / "plain" / f"{path.stem}-{turn}.png")


def files(folder: Path) -> Iterator[Job]:
    for turn in range(TIMES):
        for path in sorted((folder / INNER).iterdir()):
            yield Job(f"{path.stem}-{turn}", "mat", path.read_bytes(), path.name)


def members(folder: Path) -> Iterator[Job]:
    for turn in range(TIMES):
        with tarfile.open(folder / "benchmark.tgz", "r|gz") as archive:
            for member in archive:
                if member.isfile():
                    data = archive.extractfile(member).read()
                    yield Job(f"{Path(member.name).stem}-{turn}", "mat", data, member.name)


def on_all_cores(folder: Path, jobs: Iterator[Job]) -> None:
    for _ in write_masks(jobs, lambda image_id: folder / "swdb" / f"{image_id}.png", None):
        pass


# ---------------------------------------------------------------- measuring


def spent(folder: Path, name: str) -> tuple[float, float]:
    """Go one way into an empty folder; returns seconds on the clock, and seconds of all processors."""
    ways = {
        "one by one": lambda: one_by_one(folder),
        "files": lambda: on_all_cores(folder, files(folder)),
        "archive": lambda: on_all_cores(folder, members(folder)),
    }
    shutil.rmtree(folder / ("plain" if name == "one by one" else "swdb"), ignore_errors=True)
    before = os.times()
    ways[name]()
    after = os.times()
    return after.elapsed - before.elapsed, sum(after[:4]) - sum(before[:4])


def check_equal(folder: Path) -> None:
    """A race between masks that differ would be none."""
    names = sorted(path.name for path in (folder / "plain").iterdir())
    assert names == sorted(path.name for path in (folder / "swdb").iterdir())
    for name in names:
        plain, ours = (np.asarray(Image.open(folder / way / name)) for way in ("plain", "swdb"))
        assert np.array_equal(plain, ours), name


def peak(folder: Path, masks: int) -> float:
    """Return the peak memory in MB of a process that writes some masks, and of its workers, all added up."""
    shutil.rmtree(folder / "swdb", ignore_errors=True)
    command = [sys.executable, __file__, "--peak-of", str(masks), "--folder", str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(folder: Path, masks: int) -> None:
    """What `peak` runs. Workers count as much as the largest of them."""
    on_all_cores(folder, islice(files(folder), masks))
    status = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))  # Linux alone says it so
    workers = usable_cores() * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print((own + workers) / 2**10)


def measure(folder: Path, count: int) -> list[tuple[str, str, str, str]]:
    make(folder, count)
    rounds = {name: [] for name in ("one by one", "files", "archive")}
    for _ in range(ROUNDS):
        for name, found in rounds.items():
            found.append(spent(folder, name))
        check_equal(folder)
    masks = count * TIMES
    clock, processor = (
        {name: statistics.median(pair[k] for pair in found) / masks for name, found in rounds.items()} for k in (0, 1)
    )
    titles = {
        "one by one": "loadmat and Pillow, one by one",
        "files": "swdb, from the files",
        "archive": "swdb, from the .tgz",
    }
    lines = [
        (title, f"{1 / clock[name]:.0f} masks a second", f"{1000 * processor[name]:.2f} ms a mask", "")
        for name, title in titles.items()
    ]
    faster, cheaper = (side["one by one"] / side["files"] for side in (clock, processor))
    lines.append(("swdb / one by one", f"{faster:.2f}", f"{cheaper:.2f}", "at least 2.5 on 2 quiet cores"))
    peaks = [(f"peak memory of swdb, {n} masks", f"{peak(folder, n):.0f} MB", "", "the same for all") for n in MEMORY]
    return lines + peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="different files; each is written ten times")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print_peak(options.folder, options.peak_of)
        return
    folder = Path(tempfile.mkdtemp(prefix="swdb-bench-"))
    try:
        lines = measure(folder, options.count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{usable_cores()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| what | measured | processor time | target |\n| --- | ---: | ---: | --- |")
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
