"""What DSRG's networks say of whole images: views are looked at one by one, their logits summed, the best class taken."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from studies import CPU, graph_of

from swdb.proxy.labeller import best_classes, labeller, looking, refined, summed, views_of
from swdb.proxy.masks import load_model

BOTH = pytest.mark.parametrize("number", [1, 2])


def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 20, 32, 3), dtype=np.uint8))


def set_of(finished, number):
    proxies = graph_of(finished).proxies(number)
    return proxies.task, load_model(proxies, 6, CPU)


@BOTH
def test_the_views_are_the_rounds_own(finished, number):
    task, _ = set_of(finished, number)
    assert views_of(task) == {1: (24, 32), 2: (0.75, 1.0, 1.25)}[number]


@BOTH
def test_a_view_is_as_large_as_the_images_whatever_the_network_saw(finished, number):
    task, model = set_of(finished, number)
    look = looking(task, model, images())
    with torch.no_grad():
        found = [look(view) for view in views_of(task)]
    assert {tuple(one.shape) for one in found} == {(2, 6, 20, 32)}
    assert not torch.equal(found[0], found[1])


@BOTH
def test_labels_are_the_softmax_of_the_sum_refined(finished, number):
    task, model = set_of(finished, number)
    look = looking(task, model, images())
    with torch.no_grad():
        total = summed(map(look, views_of(task)))
    assert torch.equal(labeller(task, model)(images()), refined(task, total.softmax(1), images()))


def test_the_crfs_parameters_shrink_with_the_images(finished):
    task, _ = set_of(finished, 1)
    probabilities = torch.rand(2, 6, 20, 32, generator=torch.manual_seed(0)).softmax(1)
    large = refined(replace(task, image_side=500), probabilities, images())
    assert not torch.equal(refined(task, probabilities, images()), large)


def test_the_best_class_is_taken_at_the_images_own_size_among_those_that_are_allowed():
    probabilities = torch.tensor([[[0.2, 0.1]], [[0.5, 0.3]], [[0.3, 0.6]]])
    assert best_classes(probabilities, (2, 2)).tolist() == [[1, 2], [1, 2]]
    allowed = torch.tensor([True, True, False])
    assert best_classes(probabilities, (1, 2), allowed).tolist() == [[1, 1]]
