"""Refined labels are those of pydensecrf, follow the edges of a picture, and do not depend on what else is in a batch."""

import numpy as np
import pytest
import torch
from conftest import SHARED

from swdb.core.errors import BadInput
from swdb.nn import dense_crf
from swdb.nn.dense_crf import energy_of, refine
from swdb.specs.crf_parameters import CrfSet, crf_set

GOLDENS = SHARED / "goldens" / "crf.npz"
SMALL = CrfSet(4, 6, 20, 3, 1)
FORMS = ("lattice", "exact")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def pictures(batch: int = 1, height: int = 12, width: int = 14, seed: int = 0) -> torch.Tensor:
    """Draw pictures (batch, height, width, 3) uint8: a slope with noise, and on the right another colour."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    plain = np.stack([rows * 5, columns * 4, np.where(columns > width // 2, 200, 40)], -1)
    return torch.from_numpy((plain + rng.integers(0, 20, (batch, height, width, 3))).clip(0, 255).astype(np.uint8))


def energies(batch: int = 1, classes: int = 4, height: int = 12, width: int = 14, seed: int = 0) -> torch.Tensor:
    logits = np.random.default_rng(seed).normal(0, 1.5, (batch, classes, height, width))
    return energy_of(torch.from_numpy(logits).float().softmax(1))


# ---------------------------------------------------------------- beside pydensecrf and beside loops


def golden(name: str, case: int) -> tuple[CrfSet, torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]:
    """Return one case of the reference: parameters, energies, picture, labels and their probabilities."""
    if not GOLDENS.is_file():
        pytest.skip("the reference outputs are not here")
    with np.load(GOLDENS) as file:
        parameters = file["params"][list(file["param_names"]).index(name)]
        image, probability, label, confidence = (
            file[f"{name}_{case}_{what}"] for what in ("image", "prob", "label", "conf")
        )
    energy = energy_of(torch.from_numpy(probability.astype(np.float32)))[None]
    return CrfSet(*parameters), energy, torch.from_numpy(image)[None], label, confidence.astype(np.float32)


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("name", ["largefov", "dsrg", "v1", "train41"])
def test_the_lattice_gives_what_pydensecrf_gives(name, case):
    crf, energy, image, label, confidence = golden(name, case)
    found = refine(energy, image, crf, "lattice")[0].max(0)
    assert (found.indices.numpy() == label).mean() >= 0.999
    assert np.abs(found.values.numpy() - confidence).mean() <= 0.001


@pytest.mark.parametrize("case", range(3))
def test_exact_kernels_give_nearly_what_pydensecrf_gives(case):
    crf, energy, image, label, confidence = golden("train41", case)
    found = refine(energy, image, crf, "exact")[0].max(0)
    assert (found.indices.numpy() == label).mean() >= 0.995
    assert np.abs(found.values.numpy() - confidence).mean() <= 0.005


def by_loops(energy: np.ndarray, image: np.ndarray, crf: CrfSet) -> np.ndarray:
    """Run the mean field of one picture, energy (C, H, W), in float64, a pair of pixels at a time."""
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
    energy, images = energies(2, 3, 8, 8), pictures(2, 8, 8)
    found = refine(energy, images, crf, "exact").numpy()
    for k in range(2):
        assert np.abs(found[k] - by_loops(energy[k].double().numpy(), images[k].numpy(), crf)).max() < 2e-4


def test_a_lattice_gives_nearly_what_exact_kernels_give():
    energy, images = energies(2, 4, 30, 30), pictures(2, 30, 30)
    lattice, exact = (refine(energy, images, SMALL, form) for form in FORMS)
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
    assert torch.equal(refine(energy_of(belief), image, SMALL, form).argmax(1), truth)


@pytest.mark.parametrize("form", FORMS)
def test_results_are_probabilities_in_the_order_and_type_of_pictures(form):
    refined = refine(energies(2).half(), pictures(2), SMALL, form)
    assert refined.shape == (2, 4, 12, 14)
    assert refined.dtype == torch.float32
    assert refined.is_contiguous()
    assert refined.min() >= 0
    assert torch.allclose(refined.sum(1), torch.ones(2, 12, 14), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_zero_leave_the_softmax_of_the_energies(form):
    energy = energies(2)
    assert torch.allclose(refine(energy, pictures(2), CrfSet(0, 6, 20, 0, 1), form), (-energy).softmax(1), atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_energies_may_be_any_number_up_to_a_constant(form):
    energy, images = energies(1), pictures(1)
    shifted = refine(energy + 50, images, SMALL, form)
    assert torch.allclose(shifted, refine(energy, images, SMALL, form), atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_huge_energies_decide_without_overflow(form):
    energy = torch.full((1, 3, 6, 6), 1e30)
    energy[:, 1] = -1e30
    assert torch.equal(refine(energy, pictures(1, 6, 6), SMALL, form)[:, 1], torch.ones(1, 6, 6))


def test_in_a_picture_of_one_colour_the_width_in_colours_does_not_matter():
    energy, plain = energies(1), torch.full((1, 12, 14, 3), 77, dtype=torch.uint8)
    wide, narrow = (refine(energy, plain, CrfSet(4, 6, rgb, 3, 1), "exact") for rgb in (20, 1))
    assert torch.allclose(wide, narrow, atol=1e-6)


def test_in_a_picture_of_one_colour_a_lattice_gives_nearly_what_exact_kernels_give():
    energy, plain = energies(1), torch.full((1, 12, 14, 3), 77, dtype=torch.uint8)
    lattice, exact = (refine(energy, plain, SMALL, form) for form in FORMS)
    assert (lattice.argmax(1) == exact.argmax(1)).float().mean() > 0.97


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_pictures_may_be_as_small_as_a_pixel(form, size):
    refined = refine(energies(2, 3, *size), pictures(2, *size), SMALL, form)
    assert refined.shape == (2, 3, *size)
    assert torch.allclose(refined.sum(1), torch.ones(2, *size), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_single_class_is_certain(form):
    assert torch.equal(refine(energies(1, 1), pictures(1), SMALL, form), torch.ones(1, 1, 12, 14))


# ---------------------------------------------------------------- batches, bits, memory


def test_a_lattice_gives_a_batch_what_it_gives_its_pictures():
    energy, images = energies(3), pictures(3)
    alone = [refine(energy[k : k + 1], images[k : k + 1], SMALL, "lattice") for k in range(3)]
    assert torch.allclose(refine(energy, images, SMALL, "lattice"), torch.cat(alone), atol=1e-6)


def test_exact_kernels_give_a_batch_what_they_give_its_pictures():
    energy, images = energies(3), pictures(3)
    alone = [refine(energy[k : k + 1], images[k : k + 1], SMALL, "exact") for k in range(3)]
    assert torch.allclose(refine(energy, images, SMALL, "exact"), torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_twice_has_the_same_bits(form):
    once, again = (refine(energies(3), pictures(3), SMALL, form) for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_too_large_for_the_memory_is_refined_in_parts(form, monkeypatch):
    energy, images = energies(5), pictures(5)
    whole = refine(energy, images, SMALL, form)
    started = []
    kernels = dense_crf._kernels
    monkeypatch.setattr(dense_crf, "_kernels", lambda part, crf: started.append(len(part)) or kernels(part, crf))
    monkeypatch.setattr(dense_crf, "MEMORY", 2 * 168 * (900 if form == "lattice" else 4 * 168))
    assert torch.allclose(refine(energy, images, SMALL, form), whole, atol=1e-5)
    assert started == [2, 2, 1]


@pytest.mark.parametrize(("side", "form"), [(20, "exact"), (21, "lattice")])
def test_a_cpu_takes_whole_kernels_for_small_grids_alone(side, form):
    energy, images = energies(1, 2, side, side), pictures(1, side, side)
    assert torch.equal(refine(energy, images, SMALL), refine(energy, images, SMALL, form))
    other = next(word for word in FORMS if word != form)
    assert not torch.equal(refine(energy, images, SMALL), refine(energy, images, SMALL, other))


@pytest.mark.parametrize("form", FORMS)
def test_what_was_handed_over_stays_as_it_was(form):
    energy, images = energies(2), pictures(2)
    before = energy.clone(), images.clone()
    refine(energy, images, SMALL, form)
    assert torch.equal(energy, before[0])
    assert torch.equal(images, before[1])


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_around_it_changes_nothing(form):
    energy, images = energies(2), pictures(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = refine(energy, images, SMALL, form)
    assert torch.equal(inside, refine(energy, images, SMALL, form))


def test_no_gradient_flows_through_it():
    energy = energies(1).requires_grad_()
    assert not refine(energy, pictures(1), SMALL).requires_grad


# ---------------------------------------------------------------- energies


def test_energies_are_negative_logs_of_clipped_probabilities():
    found = energy_of(torch.tensor([0.0, 1e-9, 0.5, 1.0, 1.2]))
    assert torch.allclose(found, torch.tensor([11.5129, 11.5129, 0.6931, 0, 0]), atol=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_energies_that_are_not_finite_are_refused(bad):
    energy = energies(1)
    energy[0, 2, 3, 4] = bad
    with pytest.raises(BadInput, match=r"not finite; .* diverged"):
        refine(energy, pictures(1), SMALL)


# ---------------------------------------------------------------- GPU


@needs_gpu
@pytest.mark.parametrize("form", FORMS)
def test_a_gpu_gives_the_same_bits_twice_and_nearly_those_of_the_cpu(form):
    energy, images = energies(4, 5, 30, 30), pictures(4, 30, 30)
    once, again = (refine(energy.cuda(), images.cuda(), SMALL, form) for _ in range(2))
    assert torch.equal(once, again)
    ours = refine(energy, images, SMALL, form)
    assert (once.cpu().argmax(1) == ours.argmax(1)).float().mean() > 0.998


@needs_gpu
def test_a_gpu_gives_what_pydensecrf_gives():
    crf, energy, image, label, _ = golden("dsrg", 0)
    assert (refine(energy.cuda(), image.cuda(), crf)[0].argmax(0).cpu().numpy() == label).mean() >= 0.999


@needs_gpu
def test_a_gpu_takes_whole_kernels_for_the_grids_of_training():
    crf = crf_set("dsrg").scaled(1 / 12)
    energy, images = energies(2, 3, 41, 41).cuda(), pictures(2, 41, 41).cuda()
    assert torch.equal(refine(energy, images, crf), refine(energy, images, crf, "exact"))
