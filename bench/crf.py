"""How long a dense CRF takes: on a lattice for each parameter set, on whole kernels, on a GPU. `python bench/crf.py`.

Images are synthetic, with as much detail at each scale as real ones have; probabilities of the classes are smooth. All
are medians of five in turns, in one run: ratios between lines hold on a busy machine too, milliseconds on a quiet one.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from swdb.core.processor import usable_cores
from swdb.nn.dense_crf import energy_of, refine
from swdb.nn.permutohedral import Lattice
from swdb.specs.crf_parameters import CRF_SETS, CrfSet, crf_set

ROUNDS = 5
THREADS = 2
WHOLE = (366, 500, 21)  # height, width and classes of an image of VOC
PYDENSECRF = "0.8 s"  # for such an image, compiled, on one core: measured elsewhere, not in this run
SMALL = (
    (16, 16, 7),
    (16, 16, 21),
    (16, 21, 7),
    (16, 21, 21),
    (20, 41, 6),
    (20, 41, 21),
)  # batch, points a side, classes

Case = tuple[torch.Tensor, torch.Tensor]
Line = tuple[str, float, str]  # what, milliseconds, and what to compare it with


def synthetic_image(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw (height, width, 3) uint8: noise whose amplitude falls with its frequency, as in real images, in patches."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) + 1 / max(height, width)
    spectrum = np.fft.rfft2(rng.normal(size=(3, height, width))) / frequency**2
    drawn = np.fft.irfft2(spectrum, (height, width))
    grey, patches = drawn.mean(0), drawn[0] > 0
    drawn = drawn * 0.4 + grey + patches * drawn.std()
    return (128 + 55 * (drawn - drawn.mean()) / drawn.std()).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def case(batch: int, height: int, width: int, classes: int, device: str = "cpu") -> Case:
    """Return energies and images."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(np.stack([synthetic_image(height, width, rng) for _ in range(batch)]))
    coarse = torch.from_numpy(rng.normal(0, 3, (batch, classes, 8, 8))).float()
    probabilities = F.interpolate(coarse, (height, width), mode="bilinear").softmax(1)
    return energy_of(probabilities).to(device), images.to(device)


def milliseconds(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Go all ways in turns; returns the median of each. The first turn warms up and does not count."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                spent[name].append(1000 * (time.perf_counter() - begun))
    return {name: statistics.median(times) for name, times in spent.items()}


def on_real_images(device: str) -> dict[str, float]:
    """Time each parameter set on one image."""
    given = case(1, *WHOLE, device)
    return milliseconds({name: lambda crf=crf: refine(*given, crf, "lattice") for name, crf in CRF_SETS.items()})


def on_grids(device: str) -> list[Line]:
    """Time both forms on the grids of networks."""
    lines = []
    for batch, side, classes in SMALL:
        given, crf = case(batch, side, side, classes, device), at_cells(side)
        times = milliseconds({form: lambda f=form, g=given, c=crf: refine(*g, c, f) for form in ("lattice", "exact")})
        what = f"{device}: {batch} of {side} x {side}, {classes} classes"
        taken = "exact" if torch.equal(refine(*given, crf), refine(*given, crf, "exact")) else "lattice"
        lines.append((f"{what}, lattice", times["lattice"], ""))
        note = f"{times['exact'] / times['lattice']:.2f} of the lattice's; auto takes the {taken} form"
        lines.append((f"{what}, exact", times["exact"], note))
    return lines


def at_cells(side: int) -> CrfSet:
    """Return DSRG's parameters for a grid: at 41 cells a side xy is a twelfth."""
    return crf_set("dsrg").scaled(side / 41 / 12)


def building() -> list[Line]:
    """Time the two halves of the lattice's work: building it, and filtering all classes once."""
    height, width, classes = WHOLE
    images, crf = case(1, height, width, 2)[1], crf_set("dsrg")
    rows, columns = np.mgrid[:height, :width]
    places = torch.from_numpy(np.stack([columns, rows], -1) / crf.bilateral_xy).float()
    features = torch.cat([places, images[0] / crf.bilateral_rgb], 2).view(1, -1, 5)
    lattice, values = Lattice(features), torch.rand(1, height * width, classes)
    times = milliseconds({"build": lambda: Lattice(features), "filter": lambda: lattice.filter(values)})
    return [
        ("cpu: building dsrg's bilateral lattice", times["build"], "once an image"),
        ("cpu: filtering 21 classes with it", times["filter"], f"{crf.iterations} times an image"),
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(THREADS)
    height, width, classes = WHOLE
    image = f"{width} x {height}, {classes} classes, 10 iterations"
    times = on_real_images("cpu")
    lines = [(f"cpu: {image}, {name}", spent, "at most 1600 on 2 quiet cores") for name, spent in times.items()]
    lines += building() + on_grids("cpu")
    if torch.cuda.is_available():
        for name, spent in on_real_images("cuda").items():
            lines.append((f"cuda: {image}, {name}", spent, f"{spent / times[name]:.3f} of the CPU's"))
        lines += on_grids("cuda")
        print(f"GPU: {torch.cuda.get_device_name()}")
    print(f"{THREADS} threads of {usable_cores()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"pydensecrf, one image on one core: {PYDENSECRF}, measured elsewhere\n")
    print("| what | ms | beside |\n| --- | ---: | --- |")
    for what, spent, beside in lines:
        print(f"| {what} | {spent:.1f} | {beside} |")


if __name__ == "__main__":
    main()
