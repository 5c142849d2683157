"""The classifier on image-level labels, and its class activation maps."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from slow import upsample_by_hand
from studies import CPU

from swdb.core.errors import BadInput
from swdb.data.store import Store
from swdb.nn.classifier import Classifier, new_classifier, train_classifier
from swdb.nn.compute import Compute
from swdb.nn.model import Model
from swdb.nn.networks import Preprocessing, small
from swdb.nn.sampling import sample_indices
from swdb.nn.trainer import Job
from swdb.specs.presets import ClassifierTraining

SETTINGS = ClassifierTraining(
    steps=40,
    batch=8,
    lr=5e-3,
    decay_at=0.7,
    decay_factor=0.1,
    crop=32,
    scale_min=0.75,
    scale_max=1.3,
    clip_norm=1.0,
    longest_side=0,
)


def colours(num_images=24, size=32):
    """Images of noise in which a red square means the first tag and a blue one the second."""
    rng = np.random.default_rng(0)
    images = rng.integers(90, 110, (num_images, size, size, 3)).astype(np.uint8)
    tags = rng.random((num_images, 2)) < 0.5
    for k, (red, blue) in enumerate(tags):
        if red:
            images[k, 4:14, 4:14] = 255, 0, 0
        if blue:
            images[k, 18:28, 18:28] = 0, 0, 255
    return Store([], images, None, torch.full((num_images, 2), size)), tags


def fit(folder, advance=lambda done, of: None, compute=CPU, ids=(), **settings):
    """Train a new classifier on the colours; returns it with its record."""
    store, tags = colours()
    torch.manual_seed(0)
    model = Model(new_classifier(small(), 2), Preprocessing(), compute)
    job = Job(folder, "colours", advance=advance)
    record = train_classifier(job, model, replace(store, ids=list(ids)), tags, replace(SETTINGS, **settings))
    return model.network, record


def inputs_of(images):
    """Turn images into inputs by hand."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127.5) / 64


def test_a_tag_is_scored_by_the_mean_of_its_map():
    torch.manual_seed(0)
    classifier = Classifier(small(), 5).eval()
    inputs = torch.randn(2, 3, 32, 32)
    features = classifier.backbone(inputs).mean((2, 3))  # global average pooling, then the linear layer
    scores = F.linear(features, classifier.scores.weight[:, :, 0, 0], classifier.scores.bias)
    torch.testing.assert_close(classifier(inputs).mean((2, 3)), scores, atol=1e-5, rtol=1e-4)


def test_a_new_classifier_has_the_same_scores_every_time_and_keeps_the_backbone():
    backbone = small()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    torch.manual_seed(1)
    one = new_classifier(backbone, 3)
    torch.manual_seed(2)
    other = new_classifier(small(), 3)
    assert one.backbone is backbone
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert torch.equal(one.scores.weight, other.scores.weight)


def test_the_loss_is_the_mean_sigmoid_cross_entropy_over_images_and_tags(tmp_path):
    # One mirror-symmetric image, seen whole, with one set of tags and steps of length 0: whatever is drawn, the loss
    # is that of this image under the first values, which the classifier still has afterwards.
    image = np.full((32, 32, 3), 40, np.uint8)
    image[8:24, 10:22] = 250, 30, 30
    images, tags = np.stack([image] * 8), np.array([[True, False]] * 8)
    still = replace(SETTINGS, steps=2, lr=0.0, scale_min=1.0, scale_max=1.0)
    torch.manual_seed(0)
    model = Model(new_classifier(small(), 2), Preprocessing(), CPU)
    train_classifier(Job(tmp_path, "still"), model, Store([], images, None, torch.full((8, 2), 32)), tags, still)
    with torch.no_grad():
        p = 1 / (1 + np.exp(-model.network(inputs_of(image[None])).mean((2, 3))[0].double().numpy()))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    expected = -(np.log(p[0]) + np.log(1 - p[1])) / 2
    assert [line["tags"] for line in lines] == pytest.approx([expected] * 2, rel=1e-4)
    assert not model.network.training


def test_tags_are_learned_and_the_maps_show_where_they_come_from(tmp_path):
    classifier, record = fit(tmp_path)
    store, tags = colours()
    with torch.no_grad():
        found = classifier(inputs_of(store.images))
        maps = upsample_by_hand(found.relu(), classifier.backbone).numpy()
    right = (found.mean((2, 3)) > 0).numpy() == tags
    assert record["steps"] == 40
    assert right.mean() > 0.9
    with_red = tags[:, 0]
    assert with_red.sum() > 5
    assert maps[with_red, 0, 4:14, 4:14].mean() > 2 * maps[with_red, 0].mean()


def test_training_goes_on_after_an_interruption_and_ends_with_the_same_classifier(tmp_path, monkeypatch):
    monkeypatch.setattr("swdb.nn.trainer.CHECKPOINT_SECONDS", 0.0)

    def interrupt(done, of):
        if done == 5:
            raise KeyboardInterrupt

    whole, _ = fit(tmp_path / "whole", steps=12)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", interrupt, steps=12)
    assert (tmp_path / "parts" / "checkpoint.pt").is_file()
    parts, _ = fit(tmp_path / "parts", steps=12)
    assert all(torch.equal(value, parts.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_finished_classifier_is_loaded_and_not_trained_again(tmp_path):
    first, _ = fit(tmp_path, steps=3)
    before = (tmp_path / "weights.pt").stat().st_mtime_ns
    again, record = fit(tmp_path, steps=3)
    assert record["steps"] == 3
    assert (tmp_path / "weights.pt").stat().st_mtime_ns == before
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_half_precision_leaves_weights_and_losses_in_full_precision(tmp_path):
    classifier, _ = fit(tmp_path, compute=Compute(torch.device("cpu"), "bf16"), steps=2)
    assert {p.dtype for p in classifier.parameters()} == {torch.float32}
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_a_training_that_diverges_names_the_images_of_its_step(tmp_path):
    ids = [f"image{k}" for k in range(24)]
    with pytest.raises(BadInput) as caught:
        fit(tmp_path, ids=ids, steps=20, lr=1e30)
    assert caught.value.subject == "colours"
    step = int(re.search(r"at step (\d+)", caught.value.found).group(1))
    named = re.findall(r"image\d+", caught.value.found)
    assert named == [ids[row] for row in sample_indices(24, 0, 0, step, SETTINGS.batch)]
