"""Losses against numbers by hand: cross-entropy, equation 1, what void pixels do; maps brought to another size."""

import numpy as np
import pytest
import torch
from slow import cross_entropy_by_hand, kl_by_hand

from swdb.nn.losses import cross_entropy, kl_constraint, resize

VOID = 255


def some_labels(images=4, size=16):
    """Labels with some void pixels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 6, (images, size, size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = VOID
    return labels


# ---------------------------------------------------------------- cross-entropy


def test_cross_entropy_is_the_mean_over_labelled_pixels():
    labels = some_labels()
    logits = torch.randn(4, 6, 16, 16, generator=torch.Generator().manual_seed(1))
    assert (labels == VOID).any()
    assert cross_entropy(logits, labels).item() == pytest.approx(cross_entropy_by_hand(logits, labels), rel=1e-5)


def test_cross_entropy_of_one_pixel_by_hand():
    logits = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).repeat(1, 1, 1, 2)
    labels = torch.tensor([[[0, VOID]]])
    assert cross_entropy(logits, labels).item() == pytest.approx(np.log(1 + np.exp(-1)), rel=1e-6)


def test_a_batch_of_void_alone_costs_nothing_and_its_gradients_are_finite():
    logits = torch.randn(2, 6, 4, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((2, 4, 4), VOID))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


# ---------------------------------------------------------------- equation 1


def test_the_kl_constraint_is_equation_1_without_void_pixels():
    labels = some_labels()
    generator = torch.Generator().manual_seed(2)
    strong, weak = (3 * torch.randn(4, 6, 16, 16, generator=generator) for _ in range(2))
    assert kl_constraint(strong, weak, labels).item() == pytest.approx(kl_by_hand(strong, weak, labels), rel=1e-5)


@pytest.mark.parametrize("classes", [2, 6, 21])
def test_the_kl_constraint_over_pixels_and_classes_is_divided_by_the_classes(classes):
    strong, weak = torch.randn(2, classes, 8, 8), torch.randn(2, classes, 8, 8)
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[0, :4] = VOID
    whole, divided = (kl_constraint(strong, weak, labels, mean) for mean in ("pixels", "pixels-and-classes"))
    assert divided.item() == pytest.approx(whole.item() / classes, rel=1e-6)


def test_the_kl_constraint_of_one_pixel_by_hand():
    strong, weak = (torch.tensor(p).log().reshape(1, 2, 1, 1) for p in ([0.5, 0.5], [0.8, 0.2]))
    expected = 0.5 * np.log(0.5 / 0.8) + 0.5 * np.log(0.5 / 0.2)
    assert kl_constraint(strong, weak, torch.zeros(1, 1, 1)).item() == pytest.approx(expected, rel=1e-6)


def test_the_kl_constraint_is_zero_for_equal_branches_and_positive_for_others():
    logits = torch.randn(2, 6, 4, 4)
    labels = torch.zeros(2, 4, 4)
    assert kl_constraint(logits, logits.clone(), labels).item() == 0
    assert kl_constraint(logits, logits + 5, labels).item() == pytest.approx(0, abs=1e-6)  # softmax ignores constants
    assert kl_constraint(logits, logits.roll(1, 1), labels).item() > 0.1


def test_the_kl_constraint_is_not_symmetric():
    generator = torch.Generator().manual_seed(3)
    strong, weak = (2 * torch.randn(1, 6, 8, 8, generator=generator) for _ in range(2))
    labels = torch.zeros(1, 8, 8)
    forward, backward = kl_constraint(strong, weak, labels).item(), kl_constraint(weak, strong, labels).item()
    assert forward == pytest.approx(kl_by_hand(strong, weak, labels), rel=1e-5)
    assert abs(forward - backward) > 0.01


def test_the_kl_constraint_stays_finite_where_a_branch_is_certain():
    strong = torch.tensor([200.0, 0.0]).reshape(1, 2, 1, 1).requires_grad_()
    weak = torch.tensor([0.0, 200.0]).reshape(1, 2, 1, 1).requires_grad_()
    loss = kl_constraint(strong, weak, torch.zeros(1, 1, 1))
    loss.backward()
    assert loss.item() == pytest.approx(200)
    assert strong.grad.isfinite().all()
    assert weak.grad.isfinite().all()


# ---------------------------------------------------------------- another size


def test_maps_that_have_the_size_already_stay_as_they_are():
    maps = torch.randn(1, 2, 5, 7)
    assert resize(maps, maps.shape[-2:]) is maps


def test_maps_are_resized_bilinearly_and_keep_their_edges():
    maps = torch.tensor([0.0, 4.0]).reshape(1, 1, 1, 2)
    # Centres of pixels lie at 0.25, 0.75, 1.25, 1.75 of two; the value at the edge is held.
    assert resize(maps, (2, 4)).tolist() == [[[[0, 1, 3, 4]] * 2]]


def test_probabilities_are_probabilities_at_another_size():
    resized = resize(torch.randn(2, 5, 6, 8).softmax(1), (17, 13))
    torch.testing.assert_close(resized.sum(1), torch.ones(2, 17, 13))
