"""What the strong-weak method shows a run: which images with which labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image
from studies import CPU, graph_of, runner

from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT
from swdb.data.store import proxy_masks
from swdb.methods.material import Material, strong_rows
from swdb.methods.strong_weak import StrongWeak, label_set
from swdb.nn.model import Model
from swdb.nn.networks import Preprocessing
from swdb.specs.presets import load_preset
from swdb.specs.tasks import run_task

PRESET = load_preset(TINY)
NUM_TRAIN, BATCH = 32, 4  # as in tiny.toml

# ---------------------------------------------------------------- label sets

STRONG = np.array([1, 4, 5])  # of 10 images


def rows(labels, is_proxy):
    return sorted(labels.index[labels.is_proxy == is_proxy].tolist())


def test_strong_is_the_strong_images_with_their_masks():
    found = label_set("strong", STRONG, 10, 1)
    assert (rows(found, False), rows(found, True)) == ([1, 4, 5], [])


def test_weak_is_every_image_with_its_proxy():
    found = label_set("weak", STRONG, 10, 1)
    assert (rows(found, False), rows(found, True)) == ([], list(range(10)))


def test_all_strong_is_every_image_with_its_mask():
    found = label_set("all-strong", STRONG, 10, 1)
    assert (rows(found, False), rows(found, True)) == (list(range(10)), [])


@pytest.mark.parametrize("oversample", [1, 2, 3, 6])
def test_a_mixed_set_repeats_the_strong_images_and_has_proxies_for_the_others(oversample):
    found = label_set("strong+weak", STRONG, 10, oversample)
    assert rows(found, False) == sorted([1, 4, 5] * oversample)
    assert rows(found, True) == [0, 2, 3, 6, 7, 8, 9]


# ---------------------------------------------------------------- batches


@pytest.fixture(scope="module")
def at_hand(finished):
    """The finished graph, its data set and its store: read only."""
    graph, opened = graph_of(finished), runner()
    return graph, opened.dataset(graph.data), opened.store(graph.data, 0)


def batches(at_hand, name, steps, **training):
    """Batches of a run whose crops are whole images: (image id, mirrored, labels) of all, and num_strong."""
    graph, dataset, store = at_hand
    run = graph.run_spec(name)
    proxies = proxy_masks(graph.proxies(run.proxy_set), dataset, store) if run.needs_proxies else None
    model = Model(torch.nn.Identity(), Preprocessing(), CPU)  # the preprocessing of weights made here
    whole = replace(PRESET.training, scale_min=1.0, scale_max=1.0, **training)
    material = Material(dataset, store, strong_rows(dataset, store, run, 0), proxies, model)
    task = run_task(replace(PRESET, training=whole), run)
    made = StrongWeak().batches(task, material)
    seen = {}
    for image_id in dataset.ids(ALL_SPLIT):
        image = np.asarray(Image.open(dataset.image_path(image_id)).convert("RGB"))
        seen[image_id] = (image.transpose(2, 0, 1).astype(np.float32) - 127.5) / 64
    assert len(seen) == NUM_TRAIN
    found = []
    for step in range(steps):
        inputs, labels = made.cut(made.draw(step))
        assert inputs.shape == (BATCH, 3, 32, 32)
        for one, mask in zip(inputs.numpy(), labels.numpy(), strict=True):
            found.append((*which(one, seen), mask))
    return found, task.num_strong


def which(inputs, seen):
    """Find the training image that a whole-image crop shows, and whether it is mirrored."""
    for image_id, image in seen.items():
        for mirrored in (False, True):
            if np.abs(inputs - (image[:, :, ::-1] if mirrored else image)).max() < 1e-3:
                return image_id, mirrored
    raise AssertionError("a crop shows no training image")


def kinds_of(at_hand, image_id, mirrored, mask):
    """Say which masks of an image these labels are: true, proxy 1, proxy 2; several where they are equal."""
    graph, dataset, _ = at_hand
    paths = {"true": dataset.mask_path(image_id, ALL_SPLIT)}
    paths |= {f"proxy {number}": graph.proxies(number).folder / f"{image_id}.png" for number in (1, 2)}
    masks = {kind: np.asarray(Image.open(path)) for kind, path in paths.items()}
    return {kind for kind, values in masks.items() if np.array_equal(values[:, ::-1] if mirrored else values, mask)}


@pytest.mark.parametrize(
    ("name", "proxy"), [("dual", "proxy 1"), ("mixed-x6", "proxy 1"), ("weak", "proxy 1"), ("weak-retrain", "proxy 2")]
)
def test_strong_images_come_with_true_masks_and_the_others_with_proxies(at_hand, name, proxy):
    found, _ = batches(at_hand, name, 12)
    strong = set(at_hand[1].ids(STRONG_SPLIT)) if not name.startswith("weak") else set()
    assert len(found) == 12 * BATCH
    for image_id, mirrored, mask in found:
        assert ("true" if image_id in strong else proxy) in kinds_of(at_hand, image_id, mirrored, mask), image_id
    proxied = [k for k in found if k[0] not in strong]
    assert any(kinds_of(at_hand, *k) == {proxy} for k in proxied)  # else true masks would pass for proxies


def test_with_all_strong_labels_every_mask_is_a_true_one(at_hand):
    found, _ = batches(at_hand, "dual-all-strong", 8)
    assert len(found) == 8 * BATCH
    assert all("true" in kinds_of(at_hand, *k) for k in found)
    assert {image_id for image_id, *_ in found} - set(at_hand[1].ids(STRONG_SPLIT))


def test_half_of_a_dual_batch_comes_from_the_strong_set(at_hand):
    found, num_strong = batches(at_hand, "dual", 8)
    assert num_strong == BATCH // 2
    strong = set(at_hand[1].ids(STRONG_SPLIT))
    assert all(image_id in strong for k, (image_id, *_) in enumerate(found) if k % BATCH < num_strong)
    assert any(image_id not in strong for k, (image_id, *_) in enumerate(found) if k % BATCH >= num_strong)


def test_the_strong_share_of_a_dual_batch_is_the_presets(at_hand):
    _, num_strong = batches(at_hand, "dual", 1, strong_share=0.25)
    assert num_strong == 1


def test_a_single_branch_fills_the_batch_from_its_one_set(at_hand):
    found, num_strong = batches(at_hand, "strong", 3)
    assert num_strong == BATCH
    # 3 batches of 4 are one epoch of the 12 strong images
    assert sorted(image_id for image_id, *_ in found) == sorted(at_hand[1].ids(STRONG_SPLIT))


def test_some_crops_are_mirrored_and_some_are_not(at_hand):
    found, _ = batches(at_hand, "strong", 8)
    assert {mirrored for _, mirrored, _ in found} == {False, True}
