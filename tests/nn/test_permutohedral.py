"""The permutohedral lattice filters as the one of its inventors does, and nearly as exact Gaussians do."""

import numpy as np
import pytest
import torch
from gpu import needs_gpu

from swdb.core.errors import BadInput
from swdb.nn.permutohedral import Lattice


def points(batch: int = 1, count: int = 60, dimensions: int = 5, spread: float = 2.0, seed: int = 0) -> torch.Tensor:
    """Draw features, (batch, count, dimensions)."""
    return torch.from_numpy(np.random.default_rng(seed).normal(0, spread, (batch, count, dimensions))).float()


def values_of(batch: int = 1, count: int = 60, classes: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((batch, count, classes))).float()


def grid(height: int, width: int, sigma: float) -> torch.Tensor:
    """Return the places of an image's pixels in standard deviations, (1, height * width, 2)."""
    rows, columns = np.mgrid[:height, :width]
    return torch.from_numpy(np.stack([columns, rows], -1).reshape(1, -1, 2) / sigma).float()


def exact(features: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    distance = (features[:, :, None] - features[:, None]).square().sum(3)
    return (-distance / 2).exp() @ values


# ---------------------------------------------------------------- a second lattice, from the paper's text


def basis(dimensions: int) -> np.ndarray:
    """Return the paper's matrix E with the customary scaling, (d + 1, d) float64: columns span the plane."""
    matrix = np.zeros((dimensions + 1, dimensions))
    for axis in range(dimensions):
        matrix[: axis + 1, axis] = 1
        matrix[axis + 1, axis] = -(axis + 1)
        matrix[:, axis] /= np.sqrt((axis + 1) * (axis + 2))
    return matrix * np.sqrt(2 / 3) * (dimensions + 1)


def simplex(point: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """Find the vertices around a point of the plane, and its barycentric weights, by walking around its simplex.

    All coordinates begin at the multiple of d + 1 below them. Those nearest to the next multiple are raised until
    they add up to 0: that is the vertex of remainder 0, and the others lie one further on each.
    """
    corners = len(point)
    start = np.floor(point / corners) * corners
    raised = np.argsort(start - point, kind="stable")[: -round(start.sum() / corners)]
    start[raised] += corners
    offset = (point - start) / corners
    order = np.argsort(-offset, kind="stable")
    ascending = offset[order][::-1]
    weights = [1 + ascending[0] - ascending[-1], *np.diff(ascending)]
    around = []
    for remainder, weight in enumerate(weights):
        vertex = start + remainder
        vertex[order[corners - remainder :]] -= corners
        around.append((tuple(int(coordinate) for coordinate in vertex), weight))
    return around


def by_dictionary(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Filter values (N, C) with a dictionary from vertices to sums, in float64."""
    dimensions = features.shape[1]
    simplices = [simplex(point) for point in features @ basis(dimensions).T]
    sums: dict[tuple[int, ...], np.ndarray] = {}
    for around, value in zip(simplices, values, strict=True):
        for vertex, weight in around:
            sums[vertex] = sums.get(vertex, 0) + weight * value
    for axis in range(dimensions + 1):
        step = -np.ones(dimensions + 1, int)
        step[axis] = dimensions
        sums = {
            vertex: total + sum(0.5 * sums.get(tuple(np.add(vertex, sign * step)), 0) for sign in (1, -1))
            for vertex, total in sums.items()
        }
    shared = 1 + 2.0**-dimensions
    return np.stack([sum(weight * sums[vertex] for vertex, weight in around) / shared for around in simplices])


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("spread", [0.3, 2.0, 30.0])
def test_it_gives_what_a_dictionary_of_vertices_gives(dimensions, spread):
    features, values = points(1, 60, dimensions, spread), values_of()
    wanted = by_dictionary(features[0].double().numpy(), values[0].double().numpy())
    assert np.abs(Lattice(features).filter(values)[0].numpy() - wanted).max() < 2e-4 * np.abs(wanted).max()


def test_a_points_weights_add_up_to_one_and_none_is_negative():
    lattice = Lattice(points(2, 500, 5))
    weights = lattice.slice_weights * (1 + 2.0**-5)
    assert weights.shape == (1000, 6)
    assert torch.allclose(weights.sum(1), torch.ones(1000), atol=1e-5)
    assert weights.min() > -1e-5


# ---------------------------------------------------------------- beside exact Gaussians


def test_a_smooth_image_is_blurred_as_by_an_exact_gaussian():
    features = grid(40, 40, 5.0)
    values = torch.sin(features[..., :1]) + 2
    lattice, ones = Lattice(features), torch.ones_like(values)
    ours, wanted = lattice.filter(values) / lattice.filter(ones), exact(features, values) / exact(features, ones)
    assert (ours / wanted - 1).abs().max() < 0.04


def test_places_and_colours_together_are_filtered_nearly_as_exactly():
    smooth = grid(24, 24, 6.0)
    colours = torch.stack([smooth.sum(2).sin(), smooth[..., 0].cos(), smooth[..., 1].sin()], 2)
    features = torch.cat([smooth, colours], 2)
    values = smooth[..., :1].cos() + 2
    lattice, ones = Lattice(features), torch.ones_like(values)
    ours, wanted = lattice.filter(values) / lattice.filter(ones), exact(features, values) / exact(features, ones)
    assert (ours / wanted - 1).abs().mean() < 0.03


def test_points_far_apart_hear_nothing_of_each_other():
    features = torch.tensor([[[0.0, 0.0], [100.0, 0.0]]])
    heard = Lattice(features).filter(torch.tensor([[[1.0], [0.0]]]))[0, :, 0]
    assert heard[0] > 0.3
    assert heard[1] == 0


# ---------------------------------------------------------------- batches, bits, factors


def test_a_batch_gives_the_bits_of_its_images_one_by_one():
    features, values = points(3, 400), values_of(3, 400)
    together = Lattice(features).filter(values)
    alone = [Lattice(features[k : k + 1]).filter(values[k : k + 1]) for k in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_equal_point_sets_in_a_batch_do_not_see_each_other():
    features = points(1, 50).repeat(2, 1, 1)
    values = values_of(2, 50)
    values[1] = 0
    assert not Lattice(features).filter(values)[1].any()


def test_one_point_set_filters_a_batch_of_values():
    features, values = points(1, 80), values_of(4, 80)
    filtered = Lattice(features).filter(values)
    assert filtered.shape == values.shape
    assert torch.allclose(filtered, Lattice(features.repeat(4, 1, 1)).filter(values), atol=1e-6)


def test_the_same_twice_has_the_same_bits():
    features, values = points(2, 1000, spread=0.5), values_of(2, 1000)
    assert torch.equal(Lattice(features).filter(values), Lattice(features).filter(values))


def test_the_order_of_points_does_not_matter():
    features, values = points(1, 300), values_of(1, 300)
    order = torch.from_numpy(np.random.default_rng(5).permutation(300))
    shuffled = Lattice(features[:, order]).filter(values[:, order])
    assert torch.allclose(shuffled, Lattice(features).filter(values)[:, order], atol=1e-5)


def test_values_may_lie_in_memory_in_any_order():
    features, values = points(2, 90), values_of(2, 90)
    lattice, odd = Lattice(features), values.mT.contiguous().mT
    assert not odd.is_contiguous()
    assert torch.equal(lattice.filter(odd), lattice.filter(values))


def test_factors_are_applied_before_and_after():
    features, values = points(2, 90), values_of(2, 90)
    before, after = values_of(2, 90, 1, seed=8), values_of(2, 90, 1, seed=9)
    plain, scaled = Lattice(features), Lattice(features)
    scaled.scale(before, after)
    assert torch.allclose(scaled.filter(values), after * plain.filter(before * values), atol=1e-5)


def test_kernels_too_narrow_to_number_their_vertices_are_refused():
    with pytest.raises(BadInput) as caught:
        Lattice(points(spread=3e5))
    assert caught.value.subject == "the CRF's kernels"
    assert "narrow" in caught.value.found
    assert caught.value.expected


@needs_gpu
def test_a_gpu_gives_nearly_the_same_and_the_same_bits_twice():
    features, values = points(3, 4000), values_of(3, 4000)
    once, again = (Lattice(features.cuda()).filter(values.cuda()) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.allclose(once.cpu(), Lattice(features).filter(values), atol=1e-3)
