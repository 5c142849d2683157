"""Refined labels are those of pydensecrf, follow the edges of an image, and do not depend on what else is in a batch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, TESTS
from gpu import needs_gpu
from torch.overrides import TorchFunctionMode

from swdb.core.errors import BadInput
from swdb.nn import dense_crf
from swdb.nn.dense_crf import are_finite, energy_of, refine, require_finite
from swdb.specs.crf_parameters import CrfSet, crf_set

# Outputs of pydensecrf (lucasb-eyer/pydensecrf): permutohedral lattice, symmetric normalisation, 10 iterations. The small
# ones, three of swdb's own scenes at the size at which DSRG trains, are at hand everywhere; with ../shared there are twelve.
SMALL_GOLDENS = TESTS / "golden" / "crf_small.npz"
GOLDENS = SHARED / "goldens" / "crf.npz"
NARROW = CrfSet(4, 6, 20, 3, 1)
FORMS = ("lattice", "exact")
needs_goldens = pytest.mark.skipif(not GOLDENS.is_file(), reason="the reference outputs are not at hand")


def scenes(batch: int = 1, height: int = 12, width: int = 14, seed: int = 0) -> torch.Tensor:
    """Make images (batch, height, width, 3) uint8: a slope with noise, and on the right another colour."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    plain = np.stack([rows * 5, columns * 4, np.where(columns > width // 2, 200, 40)], -1)
    return torch.from_numpy((plain + rng.integers(0, 20, (batch, height, width, 3))).clip(0, 255).astype(np.uint8))


def energies(batch: int = 1, classes: int = 4, height: int = 12, width: int = 14, seed: int = 0) -> torch.Tensor:
    logits = np.random.default_rng(seed).normal(0, 1.5, (batch, classes, height, width))
    return energy_of(torch.from_numpy(logits).float().softmax(1))


# ---------------------------------------------------------------- beside pydensecrf and beside loops


@dataclass(frozen=True)
class Golden:
    """One case of the reference: what pydensecrf was given, its labels, and the probability of each label."""

    crf: CrfSet
    energy: torch.Tensor  # (1, 21, H, W)
    image: torch.Tensor  # (1, H, W, 3) uint8
    label: np.ndarray  # (H, W) uint8
    confidence: np.ndarray  # (H, W) float32

    def agreement(self, refined: torch.Tensor) -> tuple[float, float]:
        """Return the share of equal labels, and the mean difference of their probabilities."""
        found = refined[0].cpu().max(0)
        same = (found.indices.numpy() == self.label).mean()
        return same, np.abs(found.values.numpy() - self.confidence).mean()


def golden(path: Path, parameters: np.ndarray, case: str) -> Golden:
    """Read one case of a file of goldens."""
    with np.load(path) as file:
        image, probability, label, confidence = (file[f"{case}_{what}"] for what in ("image", "prob", "label", "conf"))
    energy = energy_of(torch.from_numpy(probability.astype(np.float32)))[None]
    return Golden(CrfSet(*parameters), energy, torch.from_numpy(image)[None], label, confidence.astype(np.float32))


def small_golden(case: int) -> Golden:
    with np.load(SMALL_GOLDENS) as file:
        parameters = file["params"]
    return golden(SMALL_GOLDENS, parameters, str(case))


def shared_golden(name: str, case: int) -> Golden:
    with np.load(GOLDENS) as file:
        parameters = file["params"][list(file["param_names"]).index(name)]
    return golden(GOLDENS, parameters, f"{name}_{case}")


@pytest.mark.parametrize("case", range(3))
def test_at_least_999_of_1000_labels_are_those_of_pydensecrf(case):
    wanted = small_golden(case)
    assert len(np.unique(wanted.label)) >= 2
    same, difference = wanted.agreement(refine(wanted.energy, wanted.image, wanted.crf, "lattice"))
    assert same >= 0.999
    assert difference <= 5e-5  # an iteration more or less would be found out
    unrefined, _ = wanted.agreement((-wanted.energy).softmax(1))
    assert unrefined < 0.99  # the reference tells refined labels from others


@pytest.mark.parametrize("case", range(3))
def test_exact_kernels_give_nearly_the_labels_of_pydensecrf(case):
    wanted = small_golden(case)
    same, difference = wanted.agreement(refine(wanted.energy, wanted.image, wanted.crf, "exact"))
    assert same >= 0.995
    assert difference <= 0.005


@needs_goldens
@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("name", ["largefov", "dsrg", "v1", "train41"])
def test_at_least_999_of_1000_labels_are_those_of_pydensecrf_in_all_twelve_cases(name, case):
    wanted = shared_golden(name, case)
    same, difference = wanted.agreement(refine(wanted.energy, wanted.image, wanted.crf, "lattice"))
    assert same >= 0.999
    assert difference <= 0.001


def by_loops(energy: np.ndarray, image: np.ndarray, crf: CrfSet) -> np.ndarray:
    """Run the mean field of one image, energy (C, H, W), in float64, a pair of pixels at a time."""
    classes, height, width = energy.shape
    count = height * width
    kernels = np.zeros((2, count, count))
    for one, other in np.ndindex(count, count):
        (y, x), (v, u) = divmod(one, width), divmod(other, width)
        place = (y - v) ** 2 + (x - u) ** 2
        colour = sum((int(a) - int(b)) ** 2 for a, b in zip(image[y, x], image[v, u], strict=True))
        kernels[0, one, other] = np.exp(-place / (2 * crf.bilateral_xy**2) - colour / (2 * crf.bilateral_rgb**2))
        kernels[1, one, other] = np.exp(-place / (2 * crf.gaussian_xy**2))
    total = np.zeros((count, count))
    for weight, kernel in zip((crf.bilateral_weight, crf.gaussian_weight), kernels, strict=True):
        sums = kernel.sum(1)
        total += weight * kernel / np.sqrt(np.outer(sums, sums))
    belief = np.exp(-energy.reshape(classes, count))
    current = belief / belief.sum(0)
    for _ in range(crf.iterations):
        current = belief * np.exp(np.einsum("ij,cj->ci", total, current))
        current /= current.sum(0)
    return current.reshape(classes, height, width)


@pytest.mark.parametrize("iterations", [0, 1, 10])
def test_exact_kernels_give_what_loops_over_pairs_give(iterations):
    crf = CrfSet(4, 6, 20, 3, 1, iterations)
    energy, images = energies(2, 3, 8, 8), scenes(2, 8, 8)
    found = refine(energy, images, crf, "exact").numpy()
    for k in range(2):
        assert np.abs(found[k] - by_loops(energy[k].double().numpy(), images[k].numpy(), crf)).max() < 2e-4


def test_a_lattice_gives_nearly_what_exact_kernels_give():
    energy, images = energies(2, 4, 30, 30), scenes(2, 30, 30)
    lattice, exact = (refine(energy, images, NARROW, form) for form in FORMS)
    assert (lattice.argmax(1) == exact.argmax(1)).float().mean() > 0.97


# ---------------------------------------------------------------- what refining is for


@pytest.mark.parametrize("form", FORMS)
def test_lone_pixels_of_another_class_vanish_and_edges_of_colour_stay(form):
    image = torch.full((1, 20, 20, 3), 30, dtype=torch.uint8)
    image[:, :, 10:] = 220
    right = torch.zeros(1, 20, 20)
    right[:, :, 10:] = 1
    truth = right.long()
    noisy = (truth + (torch.from_numpy(np.random.default_rng(0).random((1, 20, 20))) < 0.1)) % 2
    belief = 0.2 + 0.6 * torch.stack([noisy == 0, noisy == 1], 1).float()
    assert not torch.equal(noisy, truth)
    assert torch.equal(refine(energy_of(belief), image, NARROW, form).argmax(1), truth)


@pytest.mark.parametrize("form", FORMS)
def test_results_are_probabilities_of_the_energies_shape(form):
    refined = refine(energies(2).half(), scenes(2), NARROW, form)
    assert refined.shape == (2, 4, 12, 14)
    assert refined.dtype == torch.float32
    assert refined.is_contiguous()
    assert refined.min() >= 0
    assert torch.allclose(refined.sum(1), torch.ones(2, 12, 14), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_zero_leave_the_softmax_of_the_energies(form):
    energy = energies(2)
    assert torch.allclose(refine(energy, scenes(2), CrfSet(0, 6, 20, 0, 1), form), (-energy).softmax(1), atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_energies_may_be_any_number_up_to_a_constant(form):
    energy, images = energies(1), scenes(1)
    shifted = refine(energy + 50, images, NARROW, form)
    assert torch.allclose(shifted, refine(energy, images, NARROW, form), atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_huge_energies_decide_without_overflow(form):
    energy = torch.full((1, 3, 6, 6), 1e30)
    energy[:, 1] = -1e30
    assert torch.equal(refine(energy, scenes(1, 6, 6), NARROW, form)[:, 1], torch.ones(1, 6, 6))


def test_in_an_image_of_one_colour_the_width_in_colours_does_not_matter():
    energy, plain = energies(1), torch.full((1, 12, 14, 3), 77, dtype=torch.uint8)
    wide, narrow = (refine(energy, plain, CrfSet(4, 6, rgb, 3, 1), "exact") for rgb in (20, 1))
    assert torch.allclose(wide, narrow, atol=1e-6)


def test_in_an_image_of_one_colour_a_lattice_gives_nearly_what_exact_kernels_give():
    energy, plain = energies(1), torch.full((1, 12, 14, 3), 77, dtype=torch.uint8)
    lattice, exact = (refine(energy, plain, NARROW, form) for form in FORMS)
    assert (lattice.argmax(1) == exact.argmax(1)).float().mean() > 0.97


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_images_may_be_as_small_as_a_pixel(form, size):
    refined = refine(energies(2, 3, *size), scenes(2, *size), NARROW, form)
    assert refined.shape == (2, 3, *size)
    assert torch.allclose(refined.sum(1), torch.ones(2, *size), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_single_class_is_certain(form):
    assert torch.equal(refine(energies(1, 1), scenes(1), NARROW, form), torch.ones(1, 1, 12, 14))


# ---------------------------------------------------------------- batches, bits, memory


def test_a_lattice_gives_a_batch_what_it_gives_its_images():
    energy, images = energies(3), scenes(3)
    alone = [refine(energy[k : k + 1], images[k : k + 1], NARROW, "lattice") for k in range(3)]
    assert torch.allclose(refine(energy, images, NARROW, "lattice"), torch.cat(alone), atol=1e-6)


def test_exact_kernels_give_a_batch_what_they_give_its_images():
    energy, images = energies(3), scenes(3)
    alone = [refine(energy[k : k + 1], images[k : k + 1], NARROW, "exact") for k in range(3)]
    assert torch.allclose(refine(energy, images, NARROW, "exact"), torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_twice_has_the_same_bits(form):
    once, again = (refine(energies(3), scenes(3), NARROW, form) for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_too_large_for_the_memory_is_refined_in_parts(form, monkeypatch):
    energy, images = energies(5), scenes(5)
    whole = refine(energy, images, NARROW, form)
    started = []
    kernels = dense_crf._kernels
    monkeypatch.setattr(dense_crf, "_kernels", lambda part, crf: started.append(len(part)) or kernels(part, crf))
    monkeypatch.setitem(dense_crf.MEMORY, "cpu", 2 * 168 * (900 if form == "lattice" else 4 * 168))
    assert torch.allclose(refine(energy, images, NARROW, form), whole, atol=1e-5)
    assert started == [2, 2, 1]


@pytest.mark.parametrize(("side", "form"), [(20, "exact"), (21, "lattice")])
def test_a_cpu_takes_whole_kernels_for_small_grids_alone(side, form):
    energy, images = energies(1, 2, side, side), scenes(1, side, side)
    assert torch.equal(refine(energy, images, NARROW), refine(energy, images, NARROW, form))
    other = next(word for word in FORMS if word != form)
    assert not torch.equal(refine(energy, images, NARROW), refine(energy, images, NARROW, other))


@pytest.mark.parametrize("form", FORMS)
def test_what_was_handed_over_stays_as_it_was(form):
    energy, images = energies(2), scenes(2)
    before = energy.clone(), images.clone()
    refine(energy, images, NARROW, form)
    assert torch.equal(energy, before[0])
    assert torch.equal(images, before[1])


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_around_it_changes_nothing(form):
    energy, images = energies(2), scenes(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = refine(energy, images, NARROW, form)
    assert torch.equal(inside, refine(energy, images, NARROW, form))


def test_no_gradient_flows_through_it():
    energy = energies(1).requires_grad_()
    assert not refine(energy, scenes(1), NARROW).requires_grad


# ---------------------------------------------------------------- energies


def test_energies_are_negative_logs_of_clipped_probabilities():
    found = energy_of(torch.tensor([0.0, 1e-9, 0.5, 1.0, 1.2]))
    assert torch.allclose(found, torch.tensor([11.5129, 11.5129, 0.6931, 0, 0]), atol=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_energies_that_are_not_finite_are_refused(bad):
    energy = energies(1)
    energy[0, 2, 3, 4] = bad
    with pytest.raises(BadInput) as caught:
        refine(energy, scenes(1), NARROW)
    assert caught.value.subject == "the CRF's energies"
    assert "not finite" in caught.value.found


@pytest.mark.parametrize("form", FORMS)
def test_energies_that_nobody_looks_at_are_seen_in_what_comes_back(form):
    energy = energies(2)
    energy[0, 2, 3, 4] = float("nan")
    refined = refine(energy, scenes(2), NARROW, form, check=False)
    assert [bool(are_finite(one)) for one in refined] == [False, True]
    with pytest.raises(BadInput):
        require_finite(are_finite(refined))
    assert torch.allclose(refined[1:], refine(energy[1:], scenes(2)[1:], NARROW, form), atol=1e-5)


# ---------------------------------------------------------------- what a GPU is waited for


HOST_READS = (
    "tolist",
    "item",
    "__bool__",
    "__int__",
    "__float__",
    "numpy",
    "cpu",
    "equal",
    "nonzero",
    "tensor",
    "new_tensor",
)


class Reads(TorchFunctionMode):
    """Notes whatever makes the host wait for a GPU: what is read from it, and what is copied there."""

    def __init__(self):
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in HOST_READS:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("form", "check", "reads"),
    [
        ("exact", False, []),
        ("exact", True, ["__bool__"]),
        ("lattice", False, ["tolist"]),
        ("lattice", True, ["__bool__", "tolist"]),
    ],
)
def test_a_gpu_is_waited_for_once_to_hear_how_large_a_lattice_is_and_once_if_energies_are_checked(form, check, reads):
    energy, images = energies(2), scenes(2)
    with Reads() as found:
        refine(energy, images, NARROW, form, check)
    assert found.seen == reads


# ---------------------------------------------------------------- GPU


@needs_gpu
@pytest.mark.parametrize("form", FORMS)
def test_a_gpu_gives_the_same_bits_twice_and_nearly_those_of_the_cpu(form):
    energy, images = energies(4, 5, 30, 30), scenes(4, 30, 30)
    once, again = (refine(energy.cuda(), images.cuda(), NARROW, form) for _ in range(2))
    assert torch.equal(once, again)
    ours = refine(energy, images, NARROW, form)
    assert (once.cpu().argmax(1) == ours.argmax(1)).float().mean() > 0.998


@needs_gpu
@pytest.mark.parametrize("case", range(2))
def test_a_gpu_gives_at_least_999_of_1000_labels_of_pydensecrf(case):
    wanted = small_golden(case)
    same, _ = wanted.agreement(refine(wanted.energy.cuda(), wanted.image.cuda(), wanted.crf, "lattice"))
    assert same >= 0.999


@needs_gpu
@needs_goldens
def test_a_gpu_gives_at_least_999_of_1000_labels_of_pydensecrf_on_larger_images():
    wanted = shared_golden("dsrg", 0)
    same, _ = wanted.agreement(refine(wanted.energy.cuda(), wanted.image.cuda(), wanted.crf))
    assert same >= 0.999


@needs_gpu
def test_a_gpu_takes_whole_kernels_for_the_grids_of_training():
    crf = crf_set("dsrg").scaled(1 / 12)
    energy, images = energies(2, 3, 41, 41).cuda(), scenes(2, 41, 41).cuda()
    assert torch.equal(refine(energy, images, crf), refine(energy, images, crf, "exact"))
