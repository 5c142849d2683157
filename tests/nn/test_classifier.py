"""The classifier on image-level labels, and its class activation maps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from slow import enlarged

from swdb.data.store import Store
from swdb.nn.classifier import Classifier, train_classifier
from swdb.nn.compute import Machine, machine
from swdb.nn.networks import Preprocessing, small
from swdb.specs.presets import load_preset

CPU = machine("cpu", "fp32")


def colours(num_images=24, size=32):
    """Pictures of noise in which a red square means the first tag and a blue one the second."""
    rng = np.random.default_rng(0)
    images = rng.integers(90, 110, (num_images, size, size, 3)).astype(np.uint8)
    tags = rng.random((num_images, 2)) < 0.5
    for k, (red, blue) in enumerate(tags):
        if red:
            images[k, 4:14, 4:14] = 255, 0, 0
        if blue:
            images[k, 18:28, 18:28] = 0, 0, 255
    sizes = torch.full((num_images, 2), size)
    return Store([], images, np.empty((0, 0, 0), np.uint8), sizes), tags


def preset(folder):
    path = folder / "colours.toml"
    path.write_text(Path(TINY).read_text().replace("lr = 1e-3\nthreshold", "lr = 5e-3\nthreshold"))
    return load_preset(str(path))


def fit(folder, steps=40, progress=lambda *_: None):
    store, tags = colours()
    torch.manual_seed(0)
    return train_classifier(
        folder / "c", "colours", small(), store, tags, preset(folder), steps, Preprocessing(), CPU, progress
    )


def test_a_tag_is_scored_by_the_mean_of_its_map():
    torch.manual_seed(0)
    classifier = Classifier(small(), 5).eval()
    pictures = torch.randn(2, 3, 32, 32)
    features = classifier.backbone(pictures).mean((2, 3))  # global average pooling, then the linear layer
    scores = F.linear(features, classifier.scores.weight[:, :, 0, 0], classifier.scores.bias)
    torch.testing.assert_close(classifier(pictures).mean((2, 3)), scores, atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_mean_sigmoid_cross_entropy_over_images_and_tags(tmp_path):
    # One mirror-symmetric picture, seen whole, with one set of tags and steps of length 0: whatever is drawn, the loss
    # is that of this picture under the first values, which the classifier still has afterwards.
    image = np.full((32, 32, 3), 40, np.uint8)
    image[8:24, 10:22] = 250, 30, 30
    images, tags = np.stack([image] * 8), np.array([[True, False]] * 8)
    store = Store([], images, np.empty((0, 0, 0), np.uint8), torch.full((8, 2), 32))
    still = preset(tmp_path)
    still = replace(
        still,
        proxy=replace(still.proxy, lr=0.0),
        training=replace(still.training, scale_min=1.0, scale_max=1.0, crop=32),
    )
    torch.manual_seed(0)
    classifier, _ = train_classifier(
        tmp_path / "c", "still", small(), store, tags, still, 2, Preprocessing(), CPU, lambda *_: None
    )
    picture = (torch.from_numpy(image).permute(2, 0, 1)[None].float() - 127.5) / 64
    with torch.no_grad():
        p = 1 / (1 + np.exp(-classifier(picture).mean((2, 3))[0].double().numpy()))
    lines = [json.loads(line) for line in (tmp_path / "c" / "log.jsonl").read_text().splitlines()]
    expected = -(np.log(p[0]) + np.log(1 - p[1])) / 2
    assert [line["tags"] for line in lines] == pytest.approx([expected] * 2, rel=1e-4)
    assert not classifier.training


def test_tags_are_learned_and_the_maps_show_where_they_come_from(tmp_path):
    classifier, record = fit(tmp_path)
    store, tags = colours()
    pictures = (torch.from_numpy(store.images).permute(0, 3, 1, 2).float() - 127.5) / 64
    with torch.no_grad():
        right = (classifier(pictures).mean((2, 3)) > 0).numpy() == tags
    assert record["steps"] == 40
    assert right.mean() > 0.9
    with torch.no_grad():
        maps = enlarged(classifier(pictures).relu(), classifier.backbone).numpy()
    with_red = tags[:, 0]
    assert with_red.sum() > 5
    assert maps[with_red, 0, 4:14, 4:14].mean() > 2 * maps[with_red, 0].mean()


def test_training_goes_on_after_an_interruption_and_ends_with_the_same_classifier(tmp_path, monkeypatch):
    monkeypatch.setattr("swdb.nn.trainer.CHECKPOINT_SECONDS", 0.0)

    def interrupt(done, of):
        if done == 5:
            raise KeyboardInterrupt

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, _ = fit(tmp_path / "whole", steps=12)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", steps=12, progress=interrupt)
    assert (tmp_path / "parts" / "c" / "checkpoint.pt").is_file()
    parts, _ = fit(tmp_path / "parts", steps=12)
    assert all(torch.equal(value, parts.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_finished_classifier_is_loaded_and_not_trained_again(tmp_path):
    first, _ = fit(tmp_path, steps=3)
    before = (tmp_path / "c" / "weights.pt").stat().st_mtime_ns
    again, record = fit(tmp_path, steps=3)
    assert record["steps"] == 3
    assert (tmp_path / "c" / "weights.pt").stat().st_mtime_ns == before
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_half_precision_leaves_weights_and_losses_in_full_precision(tmp_path):
    store, tags = colours()
    half = Machine(torch.device("cpu"), "bf16")
    classifier, _ = train_classifier(
        tmp_path / "c", "colours", small(), store, tags, preset(tmp_path), 2, Preprocessing(), half, lambda *_: None
    )
    assert {p.dtype for p in classifier.parameters()} == {torch.float32}
    assert len((tmp_path / "c" / "log.jsonl").read_text().splitlines()) == 2
