"""How fast a data set of real images is prepared, audited and decoded. `python bench/real_images.py [--voc DIR]`.

Without --voc the images are synthetic: as large as VOC's, as many bytes. Rates are scaled to VOC's 12,031 images.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from swdb.core.processor import usable_cores
from swdb.core.progress import silent
from swdb.data import audit
from swdb.data.dataset import DataSet
from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT, VAL_SPLIT
from swdb.data.images import palette_png
from swdb.data.prepare import prepare
from swdb.data.sources.voc2012 import Sources
from swdb.data.voc import DEVKIT, IGNORE, VOC2012
from swdb.specs.presets import load_preset

WHOLE = 12_031  # images: train_aug and val
MEMORY = (300, 1200)  # images


def draw_tree(root: Path, count: int) -> None:
    """Draw images of noise at several scales, with masks that have a border, in VOC's layout."""
    rng = np.random.default_rng(0)
    kit = root / DEVKIT
    for name in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (kit / name).mkdir(parents=True)
    ids = [f"2008_{index:06d}" for index in range(count)]
    for index, image_id in enumerate(ids):
        scales = [cv2.resize(rng.normal(0, 50, (n, n, 3)), (500, 375)) for n in (6, 40, 190)]
        image = np.clip(120 + sum(scales), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(kit / "JPEGImages" / f"{image_id}.jpg", quality=90)
        smooth = cv2.resize(rng.normal(size=(8, 8)), (500, 375), interpolation=cv2.INTER_CUBIC)
        labels = np.where(smooth > 0.5, 1 + index % 20, 0).astype(np.uint8)
        labels[np.abs(smooth - 0.5) < 0.05] = IGNORE
        own = "SegmentationClass" if index % 4 < 2 else "SegmentationClassAug"
        (kit / own / f"{image_id}.png").write_bytes(palette_png(labels))
    for k, split in enumerate((STRONG_SPLIT, VAL_SPLIT)):
        VOC2012.layout.list_path(root, split).write_text("\n".join(ids[k::4]) + "\n")


def prepared(folder: Path, source: Path) -> DataSet:
    """Prepare all that is in a tree."""
    settings = replace(load_preset("voc").data, name="bench", num_strong=0, num_train=0, num_val=0, available_only=True)
    return prepare(settings, folder / "data" / "bench", Sources(source, image_labels="masks"), silent)


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure(folder: Path, source: Path) -> list[tuple[str, str, str]]:
    from swdb.data.store import training_store

    found: list[DataSet] = []
    preparing = seconds(lambda: found.append(prepared(folder, source)))
    dataset = found[0]
    images = sum(dataset.manifest["counts"][split] for split in (ALL_SPLIT, VAL_SPLIT))
    (dataset.root / "audit.json").unlink()
    first, second = (seconds(lambda: audit.verify(dataset, silent)) for _ in range(2))
    decoding = []
    for longest_side in (0, 250):
        before = os.times()
        training_store(dataset, longest_side, silent())
        after = os.times()
        spent = after.elapsed - before.elapsed
        busy = (sum(after[:2]) - sum(before[:2])) / spent / usable_cores()
        size = f"shrunk to {longest_side} pixels" if longest_side else "as they are"
        line = f"{spent:.1f} s, {dataset.manifest['counts'][ALL_SPLIT] / spent:.0f} images a second, {busy:.0%} of all cores"
        decoding.append((f"decoding into the store, {size}", line, "the cores are busy, or the disk is"))
    scaled = WHOLE / images
    return [
        ("images", f"{images}", ""),
        ("prepare, audit included", f"{preparing:.1f} s", ""),
        ("first audit", f"{first:.1f} s, {first * scaled:.0f} s for {WHOLE:,} images", "at most 180 s"),
        ("second audit", f"{second:.2f} s, {second * scaled:.1f} s for {WHOLE:,} images", "at most 10 s"),
        *decoding,
    ]


def peak(count: int) -> str:
    """Return the peak memory of a process that prepares `count` synthetic images."""
    command = [sys.executable, __file__, "--peak-of", str(count)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voc", type=Path, help="a real tree that holds VOCdevkit/VOC2012 with SegmentationClassAug")
    parser.add_argument("--count", type=int, default=600, help="synthetic images")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="swdb-bench-"))
    try:
        source = options.voc or folder / "synthetic"
        if options.voc is None:
            draw_tree(source, options.peak_of or options.count)
        if options.peak_of:
            prepared(folder, source)
            status = Path("/proc/self/status").read_text()  # getrusage would count the parent's peak, too
            print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
            return
        lines = measure(folder, source)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines.append(("peak memory of preparing", " and ".join(f"{peak(n)} MB at {n} images" for n in MEMORY), "flat"))
    print(f"{usable_cores()} cores\n\n| what | measured | target |\n| --- | ---: | --- |")
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
