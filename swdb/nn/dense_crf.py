"""Dense CRF: labels that follow the edges of an image, by mean-field iterations, on CPU and GPU, a batch at once.

in: energies (B, C, H, W) of the classes, images (B, H, W, 3) -> out: probabilities (B, C, H, W)

Krähenbühl and Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NIPS 2011, as
pydensecrf computes it: Potts compatibility, kernels normalised symmetrically. No gradient flows through it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from swdb.core.errors import BadInput
from swdb.nn.permutohedral import Lattice
from swdb.specs.crf_parameters import CrfSet

EXACT_UP_TO = {"cpu": 400, "cuda": 1681}  # pixels of an image up to which whole kernel matrices are the faster way
# Bytes, about, that the images that are worked on together may take: on a CPU what its cache holds is faster.
MEMORY = {"cpu": 2**25, "cuda": 2**31}
LATTICE_BYTES = 900  # that a lattice takes for each pixel while it is built
TINY = 1e-20  # pydensecrf's, against division by 0
FEW_CLASSES = 16  # below so many, a CPU's vectors are better filled by points than by classes


class Kernel(NamedTuple):
    """A Gaussian kernel: its weight, where points lie, in standard deviations (B, N, d), and how far they go from 0."""

    weight: float
    points: Tensor
    reach: list[float]


Messages = Callable[[Tensor], Tensor]  # from what the points are (B, N, C) to what they hear of each class


def energy_of(probabilities: Tensor, floor: float = 1e-5) -> Tensor:
    """Return -log of probabilities that are at least `floor`, as pydensecrf's `unary_from_softmax` has it."""
    return -probabilities.float().clamp(floor, 1).log()


@torch.no_grad()
def refine(energy: Tensor, images: Tensor, crf: CrfSet, form: str = "auto", check: bool = True) -> Tensor:
    """Refine class probabilities, returned as (B, C, H, W) float32 where `energy` lies.

    energy (B, C, H, W): -log p (`energy_of`) at test time; inside DSRG's training it is -p, see there.
    images (B, H, W, 3) uint8 RGB of the same sizes. `crf` has its widths in pixels of these images.
    form: `lattice` approximates the kernels, as pydensecrf does, in time that grows with the pixels; `exact` computes
    them whole, in time that grows with the pixels' square; `auto` takes the faster one.
    check: whether to raise BadInput for energies that are not finite, which waits for a GPU. Without it, what is not
    finite stays so in what is returned: whoever reads that from the GPU anyway looks then, with `are_finite`.
    """
    if check:
        require_finite(are_finite(energy))
    batch, classes, height, width = energy.shape
    pixels = height * width
    if form == "auto":
        form = "exact" if pixels <= EXACT_UP_TO["cuda" if energy.is_cuda else "cpu"] else "lattice"
    together = max(
        1,
        MEMORY["cuda" if energy.is_cuda else "cpu"] // (pixels * (LATTICE_BYTES if form == "lattice" else 4 * pixels)),
    )
    believed = -energy.float().permute(0, 2, 3, 1).reshape(batch, pixels, classes).contiguous()  # log p + a constant
    refined = torch.empty_like(believed)
    with torch.autocast(energy.device.type, enabled=False):
        for start in range(0, batch, together):
            part = slice(start, start + together)
            messages = FORMS[form](_kernels(images[part].to(energy.device, non_blocking=True), crf))
            refined[part] = _iterate(believed[part], messages, crf.iterations)
    return refined.view(batch, height, width, classes).permute(0, 3, 1, 2).contiguous()


def are_finite(values: Tensor) -> Tensor:
    """Say whether values are finite, in a bool tensor of no dimension that nobody waits for."""
    return torch.isfinite(values).all()


def require_finite(finite: Tensor) -> None:
    """Raise BadInput where energies, or what was refined from them, were not finite."""
    if not finite:
        raise BadInput(
            "the CRF's energies", "not finite: the network has diverged", "finite ones: lower its learning rates"
        )


def _kernels(images: Tensor, crf: CrfSet) -> list[Kernel]:
    """Return both kernels of images: the first sees places and colours, (B, N, 5), the second places, (1, N, 2) for all."""
    batch, height, width, _ = images.shape
    rows, columns = (torch.arange(length, device=images.device, dtype=torch.float32) for length in (height, width))
    places = torch.stack([columns.repeat(height), rows.repeat_interleave(width)], 1)[None]
    colours = images.reshape(batch, -1, 3).float()
    bilateral = torch.cat([places.expand(batch, -1, 2) / crf.bilateral_xy, colours / crf.bilateral_rgb], 2)
    far, wide = [(width - 1), (height - 1)], [255 / crf.bilateral_rgb] * 3
    return [
        Kernel(crf.bilateral_weight, bilateral, [*(side / crf.bilateral_xy for side in far), *wide]),
        Kernel(crf.gaussian_weight, places / crf.gaussian_xy, [side / crf.gaussian_xy for side in far]),
    ]


def _iterate(believed: Tensor, messages: Messages, iterations: int) -> Tensor:
    """Run the mean-field updates: each point hears what all others are, weighted by how close they are."""
    current = _softmax(believed)
    for _ in range(iterations):
        current = _softmax(messages(current).add_(believed))
    return current


def _softmax(values: Tensor) -> Tensor:
    """Return the softmax over classes of points (B, N, C)."""
    if values.is_cuda or values.shape[2] >= FEW_CLASSES:
        return values.softmax(2)
    return values.mT.contiguous().softmax(1).mT.contiguous()


def _lattice_messages(kernels: list[Kernel]) -> Messages:
    """Return what sums up weighted neighbours (B, N, C) on a lattice for each kernel."""
    lattices = Lattice.together(*((kernel.points, kernel.reach) for kernel in kernels))
    for kernel, lattice in zip(kernels, lattices, strict=True):
        norm = (lattice.filter(torch.ones_like(kernel.points[..., :1])) + TINY).rsqrt()
        lattice.scale(norm, kernel.weight * norm)
    bilateral, gaussian = lattices
    return lambda current: bilateral.filter(current).add_(gaussian.filter(current))


def _exact_messages(kernels: list[Kernel]) -> Messages:
    """Return what sums up weighted neighbours (B, N, C) with one matrix (B, N, N), in which both kernels are added up."""
    bilateral, gaussian = (_matrix(kernel.points, kernel.weight) for kernel in kernels)
    total = bilateral.add_(gaussian)
    # The matrix is symmetric, and with it on the right a CPU takes a third of the time.
    return lambda current: (current.mT @ total).mT


def _matrix(points: Tensor, weight: float) -> Tensor:
    """Return the kernel between all points (B, N, d), normalised and weighted."""
    points = points - points.mean(1, keepdim=True)  # small numbers, as -|a - b|² / 2 = ab - a² / 2 - b² / 2 cancels
    half = points.square().sum(2) / 2
    matrix = (points @ points.mT).sub_(half[:, :, None]).sub_(half[:, None]).clamp_(max=0).exp_()
    norm = (matrix.sum(2) + TINY).rsqrt()
    return matrix.mul_(weight * norm[:, :, None]).mul_(norm[:, None])


FORMS = {"lattice": _lattice_messages, "exact": _exact_messages}
