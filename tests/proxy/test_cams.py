"""Cues from a classifier: where a made-up one sees red and blue is known, and so is what its gradients say."""

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from studies import CPU
from torch import nn

from swdb.core.errors import DiskRefused
from swdb.core.lease import Lease
from swdb.core.shares import offer_parts, parts_folder
from swdb.data.store import Store
from swdb.data.voc import IGNORE
from swdb.nn.classifier import Classifier
from swdb.nn.compute import Compute, choose_device
from swdb.nn.labelling import Fitting
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, Backbone, Preprocessing, small, vgg16
from swdb.nn.sampling import normalise, warp_to_square
from swdb.proxy import cams
from swdb.proxy.cams import (
    CamSettings,
    CueMaking,
    background_points,
    cue_maps,
    inner_layer,
    object_cues,
    resolve_overlaps,
    to_grid,
)
from swdb.proxy.grid import GRID

UNIT = Preprocessing("RGB", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0))  # pixels of 0..1
RED, BLUE = 1, 2


def red_and_blue() -> Classifier:
    """A classifier whose first map is how red every block of 2 x 2 pixels is, and whose second how blue."""
    colours = nn.Conv2d(3, 2, 1)
    backbone = Backbone(nn.Sequential(nn.AvgPool2d(2), colours, nn.ReLU()), channels=2, stride=2, first_centre=0.5)
    classifier = Classifier(backbone, 2).eval()
    with torch.no_grad():
        colours.weight.copy_(torch.tensor([[1.0, -1, -1], [-1, -1, 1]])[:, :, None, None])
        classifier.scores.weight.copy_(torch.eye(2)[:, :, None, None])
        colours.bias.zero_()
        classifier.scores.bias.zero_()
    return classifier


def black(height: int = 81, width: int = 81) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def model(classifier: Classifier, precision: str = "fp32") -> Model:
    return Model(classifier, UNIT, CPU if precision == "fp32" else Compute(choose_device("cpu"), precision))


def settings(sizes=(81,), threshold=0.2, share=0.1) -> CamSettings:
    return CamSettings(sizes, threshold, share)


def tagged(*labels: int) -> np.ndarray:
    return np.isin([[RED, BLUE]], labels)


def batch(*images: np.ndarray, canvas: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay images on a white canvas, which nothing may ever look at."""
    canvas = canvas or max(max(image.shape[:2]) for image in images)
    whole = np.full((len(images), canvas, canvas, 3), 255, np.uint8)
    for place, image in zip(whole, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return torch.from_numpy(whole), torch.tensor([image.shape[:2] for image in images])


def objects(image: np.ndarray, tags: np.ndarray, sizes=(81,), threshold=0.2, canvas=0) -> np.ndarray:
    return object_cues(model(red_and_blue()), *batch(image, canvas=canvas), tags, settings(sizes, threshold))[0]


def background(classifier: Classifier, images: tuple, tags: np.ndarray, side: int, share: float) -> np.ndarray:
    return background_points(model(classifier), *images, tags, settings((side,), share=share))


def random_classifier(num_tags: int = 3) -> Classifier:
    torch.manual_seed(0)
    return Classifier(small(), num_tags).eval()


def noise(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


# ---------------------------------------------------------------- objects, and where they are


@pytest.mark.parametrize("sizes", [(41,), (81,), (121,), (60,), (60, 81, 120)])
def test_an_object_off_the_centre_is_cued_where_it_is_at_every_size(sizes):
    image = black()
    image[10:31, 40:73] = 255, 0, 0  # points 5..15 and 20..36
    cues = objects(image, tagged(RED), sizes)
    assert (cues[6:15, 21:36] == RED).all()
    cues[4:17, 19:38] = IGNORE
    assert (cues == IGNORE).all()


def test_the_cues_of_a_mirrored_image_are_mirrored():
    image = black()
    image[10:31, 40:73] = 255, 0, 0
    image[50:60, 5:20] = 0, 0, 255
    cues = objects(image, tagged(RED, BLUE), (60, 81))
    assert {RED, BLUE} < set(np.unique(cues))
    assert np.array_equal(objects(image[:, ::-1], tagged(RED, BLUE), (60, 81)), cues[:, ::-1])


def test_both_mirrorings_of_an_image_are_looked_at():
    # A network that sees red in its left half only: with the mirrored image it sees red anywhere.
    class LeftHalf(nn.Module):
        def forward(self, features):
            return features * (torch.arange(features.shape[3]) < features.shape[3] / 2)

    classifier = red_and_blue()
    classifier.backbone.features.append(LeftHalf())
    image = black()
    image[20:40, 56:76] = 255, 0, 0
    cues = object_cues(model(classifier), *batch(image), tagged(RED), settings())[0]
    assert (cues[11:19, 29:37] == RED).all()
    assert (cues[:, :27] == IGNORE).all()


def test_points_are_fractions_of_the_image_and_not_of_the_canvas():
    image = black(41, 81)
    image[:, 40:] = 255, 0, 0
    cues = objects(image, tagged(RED), canvas=120)
    assert (cues[:, 21:] == RED).all()
    assert (cues[:, :19] == IGNORE).all()


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_a_feature_s_value_lands_where_the_backbone_has_its_centre(name):
    # Features that say at which pixel they are make points that say at which pixel they are, but for the held ends.
    backbone, side = BACKBONES[name](), 161
    with torch.no_grad():
        size = backbone(torch.zeros(1, 3, side, side)).shape[-1]
    centres = torch.arange(size) * backbone.stride + backbone.first_centre
    points = to_grid(torch.stack(torch.meshgrid(centres, centres, indexing="ij"))[None], backbone, side)
    expected = (torch.arange(GRID) * 4.0).clamp(backbone.first_centre, centres[-1].item())
    torch.testing.assert_close(points[0, 0], expected[:, None].expand(GRID, GRID))
    torch.testing.assert_close(points[0, 1], expected[None].expand(GRID, GRID))


def test_at_321_pixels_the_features_of_vgg16_are_the_points():
    maps = torch.rand(1, 2, GRID, GRID)
    assert torch.equal(to_grid(maps, vgg16(), 321), maps)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_a_point_is_cued_where_the_map_exceeds_its_share_of_the_maximum(threshold):
    image = black()
    image[..., 0] = np.round(np.arange(81) * 2.5)  # redness rises from 0 to 200 of 255: shares of its own maximum
    cues = objects(image, tagged(RED), threshold=threshold)
    first = round(threshold * (GRID - 1))
    assert (cues[:, first + 2 :] == RED).all()
    assert (cues[:, : first - 1] == IGNORE).all()


def test_a_class_that_is_seen_but_not_tagged_has_no_cue():
    image = black()
    image[:30] = 255, 0, 0
    image[50:] = 0, 0, 255
    assert set(np.unique(objects(image, tagged(BLUE)))) == {BLUE, IGNORE}
    assert set(np.unique(objects(image, tagged()))) == {IGNORE}


def test_a_class_that_is_tagged_but_not_seen_has_no_cue():
    assert (objects(black(), tagged(RED, BLUE)) == IGNORE).all()


def test_negative_evidence_is_none():
    # Blue speaks against red here: where it lies beside red, the points between them must not lose their evidence.
    image = black()
    image[10:30, 10:30] = 255, 0, 0
    with_blue = image.copy()
    with_blue[10:30, 30:] = 0, 0, 255
    classifier = red_and_blue()
    with torch.no_grad():
        classifier.scores.weight[0, 1] = -1.0
    cues = [
        object_cues(model(classifier), *batch(one), tagged(RED), settings((60,), 0.1)) for one in (image, with_blue)
    ]
    assert np.array_equal(*cues)


# ---------------------------------------------------------------- conflicts


def claims(*maps: np.ndarray) -> np.ndarray:
    return np.stack(maps)[None]


def test_a_point_of_two_classes_goes_to_the_one_with_fewer_points():
    large, little = np.zeros((2, 5, 5), bool)
    large[:4], little[3:, 2] = True, True
    given = resolve_overlaps(claims(large, little))[0]
    assert given[3, 2] == 2
    assert given[4, 2] == 2
    assert (given == 1).sum() == 19
    assert (given == IGNORE).sum() == 4
    assert resolve_overlaps(claims(little, large))[0, 3, 2] == 1


def test_a_point_of_three_classes_goes_to_the_smallest():
    first, second, third = np.zeros((3, 4, 4), bool)
    first[:3], second[:1], third[:2] = True, True, True
    assert resolve_overlaps(claims(first, second, third))[0, :, 0].tolist() == [2, 3, 1, IGNORE]


def test_of_equal_classes_the_first_gets_the_point():
    whole = np.ones((3, 3), bool)
    assert (resolve_overlaps(claims(whole, whole)) == 1).all()


# ---------------------------------------------------------------- background


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 1.0])
def test_exactly_the_share_of_the_points_is_background(share):
    found = background(random_classifier(), batch(*noise(3)), np.ones((3, 3), bool), 32, share)
    assert found.shape == (3, GRID, GRID)
    assert found.sum((1, 2)).tolist() == [round(share * GRID**2)] * 3


def test_of_points_that_matter_equally_little_the_upper_and_left_ones_are_taken():
    # A black image says nothing anywhere: which points are taken must not depend on how numpy sorts.
    found = background(red_and_blue(), batch(black()), tagged(RED), 81, 0.1)
    assert found.ravel()[:168].all()


def test_background_points_are_those_with_the_lowest_gradient_at_the_inner_layer():
    # The same by another way: the network written out, autograd to what goes into the ReLU, scipy's median.
    classifier, tags = random_classifier(), np.array([[True, False, True], [False, True, False], [False] * 3])
    images, sizes = batch(*noise(3))
    first, second, third, fourth, fifth = (layer for layer in classifier.backbone.features if hasattr(layer, "weight"))
    inputs = normalise(warp_to_square(images, sizes, torch.zeros(3, dtype=torch.bool), 40), UNIT)
    inner = third(torch.max_pool2d(second(first(inputs).relu()).relu(), 2, ceil_mode=True)).detach().requires_grad_()
    logits = classifier.scores(fifth(fourth(inner.relu()).relu()).relu()).mean((2, 3))
    wanted = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 1, 1]])  # no tags: all classes
    (logits * wanted).sum().backward()
    points = to_grid(inner.grad.abs().amax(1, keepdim=True), classifier.backbone, 40)[:, 0].numpy()
    smooth = np.stack([median_filter(one, 3) for one in points])
    found = background(classifier, (images, sizes), tags, 40, 0.1)
    for values, chosen in zip(smooth, found, strict=True):
        assert values[chosen].max() <= values[~chosen].min() * (1 + 1e-4)


def test_what_matters_for_a_tag_is_not_background_and_what_matters_for_others_may_be():
    image = black()
    image[10:30, 10:30] = 255, 0, 0
    image[50:70, 50:70] = 0, 0, 255
    in_red, in_blue = np.s_[0, 6:14, 6:14], np.s_[0, 26:34, 26:34]

    def found(*labels):
        return background(red_and_blue(), batch(image), tagged(*labels), 81, 0.85)

    assert not found(RED)[in_red].any()
    assert found(RED)[in_blue].mean() > 0.8
    assert not found(BLUE)[in_blue].any()
    assert not found()[in_red].any()
    assert not found()[in_blue].any()


def test_the_inner_layer_of_vgg16_is_conv4_1_as_in_sec():
    layers = vgg16().features
    kept = layers[: inner_layer(layers)]
    wide = [layer for layer in kept if getattr(layer, "out_channels", 0) == 512]
    assert len(wide) == 1
    assert isinstance(kept[-1], nn.ReLU)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_the_inner_layer_has_as_many_features_as_the_last(name):
    layers = BACKBONES[name]().features
    inputs, split = torch.zeros(1, 3, 65, 65), inner_layer(layers)
    with torch.no_grad():
        assert layers[:split](inputs).shape[2:] == layers(inputs).shape[2:]
    assert 0 < split < len(layers)


def test_the_gradient_is_fp32_whatever_the_precision():
    arguments = *batch(*noise(2)), np.ones((2, 3), bool), settings((32,))
    found = [background_points(model(random_classifier(), precision), *arguments) for precision in ("bf16", "fp32")]
    assert np.array_equal(*found)


def test_the_classifier_keeps_no_gradient():
    classifier = random_classifier()
    background(classifier, batch(*noise(2)), np.ones((2, 3), bool), 32, 0.1)
    assert all(parameter.grad is None for parameter in classifier.parameters())


# ---------------------------------------------------------------- both together


def test_objects_win_over_background():
    image = black()
    image[10:31, 40:73] = 255, 0, 0
    maps = cue_maps(model(red_and_blue()), *batch(image), tagged(RED), settings((60, 81), share=1.0))[0]
    assert maps.dtype == np.uint8
    assert np.array_equal(maps == RED, objects(image, tagged(RED), (60, 81)) == RED)
    assert np.array_equal(maps == 0, maps != RED)


def test_gradients_are_taken_at_the_middle_size(monkeypatch):
    sides = []

    def watched(images, sizes, flip, side):
        sides.append(side)
        return warp_to_square(images, sizes, flip, side)

    monkeypatch.setattr(cams, "warp_to_square", watched)
    background_points(model(red_and_blue()), *batch(black()), tagged(RED), settings((81, 41, 60)))
    assert sides == [60]
    assert settings((81, 41, 60, 32)).middle_size == 60


def test_an_image_without_tags_has_background_alone():
    maps = cue_maps(model(random_classifier()), *batch(*noise(1)), np.zeros((1, 3), bool), settings((32,)))
    assert (maps == 0).sum() == round(0.1 * GRID**2)
    assert set(np.unique(maps)) == {0, IGNORE}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_images_give_the_same_cues(precision):
    arguments = *batch(*noise(4)), np.ones((4, 3), bool), settings((24, 32), 0.5)
    first, second = (cue_maps(model(random_classifier(), precision), *arguments) for _ in range(2))
    assert np.array_equal(first, second)
    assert set(np.unique(first)) == {0, 1, 2, 3, IGNORE}


# ---------------------------------------------------------------- a whole store

SETTINGS = settings((24, 32), 0.5)
TAGS = np.random.default_rng(1).random((8, 3)) < 0.5


@pytest.fixture
def store(monkeypatch) -> Store:
    """Eight noisy images of two sizes, kept three at a time, seen two at a time."""
    monkeypatch.setattr(cams, "PART", 3)
    monkeypatch.setattr(cams, "BATCH", 2)
    sizes = torch.tensor([[32, 32], [20, 32]] * 4)
    return Store([f"2008_{k:06d}" for k in range(8)], noise(8), None, sizes)


def making(folder, store, background=None) -> CueMaking:
    classifier = model(random_classifier())
    return CueMaking(folder / "parts", store, TAGS, SETTINGS, lambda: classifier, Fitting(print), background)


def make(folder, store, advance=lambda *_: None, background=None) -> np.ndarray:
    return making(folder, store, background).all_parts(parts_folder(folder / "parts"), dict, advance)


@pytest.fixture
def looks(monkeypatch) -> Callable[[], int]:
    """Say how many images were looked at since the last question."""
    counted = []

    def watched(model, images, *others):
        counted.append(len(images))
        return object_cues(model, images, *others)

    def asked() -> int:
        total = sum(counted)
        counted.clear()
        return total

    monkeypatch.setattr(cams, "object_cues", watched)
    return asked


def test_a_store_s_cues_are_those_of_its_images(tmp_path, store):
    maps = make(tmp_path, store)
    assert maps.shape == (8, GRID, GRID)
    for k in (0, 3, 7):
        image, size = torch.from_numpy(store.images[k : k + 1]), store.sizes[k : k + 1]
        alone = cue_maps(model(random_classifier()), image, size, TAGS[k : k + 1], SETTINGS)[0]
        assert (alone == maps[k]).mean() > 0.99  # the size of a batch may move the last bit of a sum


def test_a_run_that_is_killed_and_goes_on_ends_as_one_that_is_not(tmp_path, store, looks):
    whole = make(tmp_path / "whole", store)
    assert looks() == 8

    def kill(done, of):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "killed", store, kill)
    looks()
    assert np.array_equal(make(tmp_path / "killed", store), whole)
    assert looks() == 5  # the first part was there


@pytest.mark.parametrize(
    "harm", [lambda content: b"", lambda content: content[:-9], lambda content: b"x" + content[1:]]
)
def test_a_damaged_part_is_made_again(tmp_path, store, looks, harm):
    whole = make(tmp_path, store)
    part = sorted((tmp_path / "parts").iterdir())[1]
    part.write_bytes(harm(part.read_bytes()))
    looks()
    assert np.array_equal(make(tmp_path, store), whole)
    assert looks() == 3


def test_a_part_of_other_images_is_made_again(tmp_path, store, looks):
    make(tmp_path, store)
    store.ids[4] = "2009_000001"
    looks()
    make(tmp_path, store)
    assert looks() == 3


def test_a_given_background_takes_the_place_of_the_gradients(tmp_path, store, monkeypatch):
    asked = []

    def left(image_id, size):
        asked.append((image_id, size))
        return np.broadcast_to(np.arange(GRID) < 10, (GRID, GRID))

    monkeypatch.setattr(cams, "background_points", None)
    maps = make(tmp_path, store, background=left)
    assert asked == [(image_id, (32, 32) if k % 2 == 0 else (20, 32)) for k, image_id in enumerate(store.ids)]
    assert (maps[:, :, :10] != IGNORE).all()
    assert (maps[:, :, 10:] != 0).all()
    assert np.array_equal(maps == 0, (np.arange(GRID) < 10) & ((maps == 0) | (maps == IGNORE)))


@pytest.mark.parametrize("again", [False, True])
def test_progress_rises_to_all_images(tmp_path, store, again):
    if again:
        make(tmp_path, store)
    told = []
    make(tmp_path, store, lambda done, of: told.append((done, of)))
    assert told == sorted(told)
    assert told[-1] == (8, 8)
    assert {of for _, of in told} == {8}


def test_a_full_disk_is_named(tmp_path, store, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskRefused) as caught:
        make(tmp_path, store)
    assert tmp_path in caught.value.subject.parents and "full" in caught.value.found


def test_who_helps_adds_the_parts_that_are_missing_and_free(tmp_path, store, looks):
    whole = make(tmp_path / "whole", store)
    folder, leases = tmp_path / "parts", tmp_path / "leases"
    folder.mkdir()
    offer_parts(leases, dict)
    another = Lease(leases / "000001", "another")
    assert another.try_take()
    looks()
    making(tmp_path, store).free_parts(leases)
    assert sorted(path.name for path in folder.iterdir()) == ["000000.npz", "000006.npz"] and looks() == 5
    another.release()
    found = making(tmp_path, store).all_parts(leases, dict, lambda *_: None)
    assert np.array_equal(found, whole) and looks() == 3 and not leases.exists()
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "whole" / "parts" / path.name).read_bytes()


def test_what_a_gpu_cannot_take_at_once_is_looked_at_in_pieces(tmp_path, store, monkeypatch):
    whole, told, real = make(tmp_path / "whole", store), [], cams.object_cues

    def small(model, images, *others):
        if len(images) > 1:
            raise torch.OutOfMemoryError
        return real(model, images, *others)

    monkeypatch.setattr(cams, "object_cues", small)
    pieces = replace(making(tmp_path, store), fit=Fitting(told.append)).all_parts(
        tmp_path / "leases", dict, lambda *_: None
    )
    assert (pieces == whole).mean() > 0.99 and len(told) == 1


def test_where_the_inner_layer_is_linear_what_is_below_0_matters_too():
    torch.manual_seed(0)
    classifier = Classifier(BACKBONES["efficientnet_lite0"](), 2).eval()
    layers, split = classifier.backbone.features, inner_layer(classifier.backbone.features)
    assert [layer.stride for layer in layers[2:split]] == [1, 2, 1, 2, 1, 2, 1]  # the first block of the final stride
    inputs = torch.randn(1, 3, 65, 65)
    inner = layers[:split](inputs).detach().requires_grad_()
    assert (inner < 0).any()
    classifier.scores(layers[split:](inner)).mean((2, 3))[0, 0].backward()
    found = cams._gradient(classifier, inputs, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(found, inner.grad.abs().amax(1, keepdim=True))
