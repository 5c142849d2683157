"""Dense CRF: labels that follow the edges of an image, by mean-field iterations, on CPU and GPU, a batch at once.

in: energies (B, C, H, W) of the classes, images (B, H, W, 3) -> out: probabilities (B, C, H, W)

Krähenbühl and Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NIPS 2011, as
pydensecrf computes it: Potts compatibility, kernels normalised symmetrically. No gradient flows through it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from swdb.core.errors import BadInput
from swdb.nn.permutohedral import Lattice
from swdb.specs.crf_parameters import CrfSet

EXACT_UP_TO = {"cpu": 400, "cuda": 1681}  # pixels of an image up to which whole kernel matrices are the faster way
MEMORY = 2**30  # bytes, about, that the images of a batch that are worked on together may take
LATTICE_BYTES = 900  # that a lattice takes for each pixel while it is built
TINY = 1e-20  # pydensecrf's, against division by 0

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
    check: raise BadInput where energies are not finite, for which the host waits.
    """
    if check and not torch.isfinite(energy).all():
        raise BadInput(
            "the CRF's energies", "not finite: the network has diverged", "finite ones: lower its learning rates"
        )
    batch, classes, height, width = energy.shape
    pixels = height * width
    if form == "auto":
        form = "exact" if pixels <= EXACT_UP_TO["cuda" if energy.is_cuda else "cpu"] else "lattice"
    together = max(1, MEMORY // (pixels * (LATTICE_BYTES if form == "lattice" else 4 * pixels)))
    believed = -energy.float().permute(0, 2, 3, 1).reshape(batch, pixels, classes).contiguous()  # log p + a constant
    refined = torch.empty_like(believed)
    with torch.autocast(energy.device.type, enabled=False):
        for start in range(0, batch, together):
            part = slice(start, start + together)
            messages = FORMS[form](_kernels(images[part].to(energy.device), crf))
            refined[part] = _iterate(believed[part], messages, crf.iterations)
    return refined.view(batch, height, width, classes).permute(0, 3, 1, 2).contiguous()


def _kernels(images: Tensor, crf: CrfSet) -> list[tuple[float, Tensor]]:
    """Return both kernels' weights and where the points lie, in standard deviations: (B, N, 5), and (1, N, 2) for all."""
    batch, height, width, _ = images.shape
    rows, columns = (torch.arange(length, device=images.device, dtype=torch.float32) for length in (height, width))
    places = torch.stack([columns.repeat(height), rows.repeat_interleave(width)], 1)[None]
    colours = images.reshape(batch, -1, 3).float()
    bilateral = torch.cat([places.expand(batch, -1, 2) / crf.bilateral_xy, colours / crf.bilateral_rgb], 2)
    return [(crf.bilateral_weight, bilateral), (crf.gaussian_weight, places / crf.gaussian_xy)]


def _iterate(believed: Tensor, messages: Messages, iterations: int) -> Tensor:
    """Run the mean-field updates: each point hears what all others are, weighted by how close they are."""
    current = believed.softmax(2)
    for _ in range(iterations):
        torch.softmax(messages(current).add_(believed), 2, out=current)
    return current


def _lattice_messages(kernels: list[tuple[float, Tensor]]) -> Messages:
    """Return what sums up weighted neighbours (B, N, C) on a lattice for each kernel."""
    lattices = []
    for weight, points in kernels:
        lattice = Lattice(points)
        norm = (lattice.filter(torch.ones_like(points[..., :1])) + TINY).rsqrt()
        lattice.scale(norm, weight * norm)
        lattices.append(lattice)
    bilateral, gaussian = lattices
    return lambda current: bilateral.filter(current).add_(gaussian.filter(current))


def _exact_messages(kernels: list[tuple[float, Tensor]]) -> Messages:
    """Return what sums up weighted neighbours (B, N, C) with one matrix (B, N, N), in which both kernels are added up."""
    bilateral, gaussian = (_matrix(points, weight) for weight, points in kernels)
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
