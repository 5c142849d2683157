"""Backbones, neck and heads: strides, sizes, LargeFOV's values. Shapes are computed on the meta device, in no time."""

import json
from dataclasses import asdict

import pytest
import torch
import torchvision
from slow import upsample_by_hand
from torch import nn

from swdb.nn.networks import (
    BACKBONES,
    Preprocessing,
    bilinear,
    head,
    neck,
    preprocessing_of,
    small,
    squeezenet1_1,
    upsample,
    valueless,
    vgg16,
)
from swdb.specs import presets

META = torch.device("meta")


def shape(backbone, height, width=None):
    return tuple(backbone(torch.empty(1, 3, height, width or height, device=META)).shape)


def built(name):
    with META:
        return BACKBONES[name]()


@pytest.mark.parametrize("crop", [321, 328])
@pytest.mark.parametrize("name", ["vgg16", "squeezenet1_1"])
def test_the_crops_of_deeplab_and_of_the_paper_give_41_by_41_features(name, crop):
    backbone = built(name)
    assert (backbone.stride, backbone.channels) == (8, 512)
    assert shape(backbone, crop) == (1, 512, 41, 41)


@pytest.mark.parametrize(
    ("name", "stride", "channels"), [("efficientnet_lite0", 16, 320), ("efficientnet_lite0_stride8", 8, 112)]
)
@pytest.mark.parametrize("crop", [160, 161, 321, 328])
def test_efficientnet_lite0_has_stride_16_or_is_cut_at_8(name, stride, channels, crop):
    backbone = built(name)
    assert (backbone.stride, backbone.channels) == (stride, channels)
    assert shape(backbone, crop) == (1, channels, -(-crop // stride), -(-crop // stride))


@pytest.mark.parametrize(("size", "features"), [(48, 12), (64, 16), (32, 8)])
def test_the_small_backbone_has_stride_4(size, features):
    backbone = built("small")
    assert (backbone.stride, backbone.channels) == (4, 64)
    assert shape(backbone, size) == (1, 64, features, features)


@pytest.mark.parametrize("name", BACKBONES)
def test_features_cover_the_image_at_every_size(name):
    # The stride rounds up; were it to round down, a prediction would be smaller than its image.
    backbone = built(name)
    found = {}
    for size in range(16, 520, 2):
        *_, found[size], found[size + 1] = shape(backbone, size, size + 1)
    assert found == {size: -(-size // backbone.stride) for size in range(16, 520)}


def test_presets_can_name_every_backbone_and_no_other():
    assert tuple(BACKBONES) == presets.BACKBONES


def test_height_and_width_may_differ():
    assert shape(built("vgg16"), 375, 500) == (1, 512, 47, 63)


def test_vgg16_has_the_names_and_shapes_of_torchvision():
    with META:
        theirs = torchvision.models.vgg16(weights=None).features.state_dict()
    ours = built("vgg16").state_dict()
    assert len(theirs) == 26
    assert {name: value.shape for name, value in ours.items()} == {
        f"features.{name}": value.shape for name, value in theirs.items()
    }


def test_squeezenet_has_the_names_and_shapes_of_torchvision():
    with META:
        theirs = torchvision.models.squeezenet1_1(weights=None).features.state_dict()
    ours = built("squeezenet1_1").state_dict()
    assert len(theirs) == 50
    assert {name: value.shape for name, value in ours.items()} == {
        f"features.{name}": value.shape for name, value in theirs.items()
    }


def test_vgg16_has_the_pools_and_dilations_of_largefov():
    # (kind, kernel, stride, padding, dilation), from DeepLab-LargeFOV's train.prototxt
    conv, conv5 = ("conv", 3, 1, 1, 1), ("conv", 3, 1, 2, 2)
    halve, keep, average = ("max", 3, 2, 1, 1), ("max", 3, 1, 1, 1), ("avg", 3, 1, 1, 1)
    expected = [
        *[conv] * 2, halve, *[conv] * 2, halve, *[conv] * 3, halve,
        *[conv] * 3, keep, *[conv5] * 3, keep, average,
    ]  # fmt: skip
    one = lambda value: value[0] if isinstance(value, tuple) else value  # noqa: E731
    kinds = {nn.Conv2d: "conv", nn.MaxPool2d: "max", nn.AvgPool2d: "avg"}
    found = [
        (kinds[type(layer)], *(one(getattr(layer, key, 1)) for key in ("kernel_size", "stride", "padding", "dilation")))
        for layer in built("vgg16").features
        if not isinstance(layer, nn.ReLU)
    ]
    assert found == expected
    assert [layer.out_channels for layer in built("vgg16").features if isinstance(layer, nn.Conv2d)] == [
        64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512,
    ]  # fmt: skip


def test_a_head_has_the_layers_of_largefov():
    fc6, *_, fc7, _, _, fc8 = head(512, 1024, 12, 0.5, 21)
    assert (fc6.kernel_size, fc6.dilation, fc6.padding) == ((3, 3), (12, 12), (12, 12))
    assert (fc6.out_channels, fc7.kernel_size, fc7.out_channels) == (1024, (1, 1), 1024)
    assert (fc8.kernel_size, fc8.out_channels) == ((1, 1), 21)
    assert fc8.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (fc8.bias == 0).all()


def test_a_head_drops_out_behind_fc6_and_fc7():
    layers = [type(layer).__name__ for layer in head(8, 8, 2, 0.3, 6)]
    assert layers == ["Conv2d", "ReLU", "Dropout", "Conv2d", "ReLU", "Dropout", "Conv2d"]
    assert {layer.p for layer in head(8, 8, 2, 0.3, 6) if isinstance(layer, nn.Dropout)} == {0.3}


def test_a_head_keeps_the_size_of_the_features():
    assert head(8, 16, 12, 0.0, 6)(torch.zeros(2, 8, 41, 41)).shape == (2, 6, 41, 41)


def test_no_neck_is_empty_and_changes_nothing():
    nothing = neck(64, 32, 0, 0.1)
    assert len(list(nothing.parameters())) == 0
    features = torch.randn(1, 64, 5, 5)
    assert torch.equal(nothing(features), features)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_a_neck_without_spread_is_the_identity(num_layers):
    features = torch.rand(2, 16, 7, 7)  # what a backbone hands over is not negative
    assert torch.equal(neck(16, 16, num_layers, 0.0)(features), features)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_a_neck_begins_near_the_identity(num_layers):
    torch.manual_seed(0)
    features = torch.randn(2, 64, 12, 12).relu()
    change = (neck(64, 64, num_layers, 0.1)(features) - features).norm() / features.norm()
    # He's values alone keep the mean square, so a layer adds about spread * sqrt(2) = 0.14 of the features.
    assert 0.05 < change < 0.15 * num_layers


def test_a_neck_layer_is_the_identity_plus_a_share_of_he():
    torch.manual_seed(0)
    (layer, _) = neck(64, 64, 1, 0.1)
    noise = layer.weight.detach().clone()
    noise[range(64), range(64), 1, 1] -= 1
    assert noise.std().item() == pytest.approx(0.1 * (2 / (64 * 9)) ** 0.5, rel=0.02)
    assert (layer.bias == 0).all()


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_a_random_neck_is_he_alone_and_draws_the_same_numbers(num_layers):
    torch.manual_seed(0)
    near, after = neck(64, 64, num_layers, 0.1), torch.rand(3)
    torch.manual_seed(0)
    random, after_random = neck(64, 64, num_layers, 0.1, "random"), torch.rand(3)
    assert torch.equal(after, after_random)  # so that heads begin with the same values
    for one, other in zip(near[::2], random[::2], strict=True):
        identity = nn.init.dirac_(torch.empty_like(one.weight))
        assert torch.allclose(one.weight, identity + 0.1 * other.weight)
        assert other.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_of_a_neck_whose_first_layer_is_random_all_others_are_near_the_identity():
    torch.manual_seed(0)
    near = neck(64, 64, 3, 0.1)
    torch.manual_seed(0)
    random = neck(64, 64, 3, 0.1, "random")
    torch.manual_seed(0)
    first, *others = neck(64, 64, 3, 0.1, "first-random")[::2]
    assert torch.equal(first.weight, random[0].weight) and not torch.equal(first.weight, near[0].weight)
    assert all(torch.equal(layer.weight, of.weight) for layer, of in zip(others, near[2::2], strict=True))
    assert len(others) == 2 and len(neck(64, 64, 0, 0.1, "first-random")) == 0


def test_what_is_below_0_is_lost_to_the_identity_and_not_to_a_random_first_layer():
    linear = torch.randn(1, 320, 9, 9)
    below = linear.clamp(max=0)
    kept = {init: neck(320, 128, 1, 0.0, init) for init in ("identity", "first-random")}
    assert torch.count_nonzero(kept["identity"](below)) == 0
    assert torch.count_nonzero(kept["first-random"](below)) > 0
    assert torch.count_nonzero(kept["identity"][0].weight.sum((0, 2, 3))) == 128  # of 320 channels
    assert torch.count_nonzero(kept["first-random"][0].weight.sum((0, 2, 3))) == 320


def test_a_neck_may_change_the_width_once():
    layers = [layer for layer in neck(64, 16, 3, 0.1) if isinstance(layer, nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == [(64, 16), (16, 16), (16, 16)]


def test_no_layer_of_ours_normalises_by_the_batch():
    modules = [one for name in BACKBONES for one in built(name).modules()]
    modules += [*neck(8, 8, 3, 0.1).modules(), *head(8, 8, 2, 0.1, 6).modules()]
    assert len(modules) > 20
    assert not any("Norm" in type(module).__name__ for module in modules)


@pytest.mark.parametrize("build", [small, vgg16], ids=["small", "vgg16"])
def test_first_values_are_he_for_relu(build):
    torch.manual_seed(0)
    convolutions = [layer for layer in build().features if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) >= 5
    for layer in convolutions[1:]:  # the first has too few weights for a close estimate
        fan_in = layer.in_channels * 9
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        assert (layer.bias == 0).all()


@pytest.mark.parametrize("name", BACKBONES)
def test_a_network_that_gets_its_values_from_a_file_draws_none(name):
    before = torch.get_rng_state()
    with valueless():
        network = nn.Sequential(BACKBONES[name](), neck(8, 8, 1, 0.1), head(8, 8, 2, 0.1, 6))
    assert all(parameter.is_meta for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), before)
    assert not nn.Linear(1, 1).weight.is_meta  # what is built afterwards has values


def test_squeezenet_keeps_its_detail_and_widens_its_view_instead():
    fires = [layer for layer in squeezenet1_1().features if hasattr(layer, "expand3x3")]
    assert [layer.expand3x3.dilation[0] for layer in fires] == [1, 1, 1, 1, 2, 2, 2, 2]


# ---------------------------------------------------------------- from features to pixels


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [(41, 41), (12, 16), (1, 5)])
def test_upsampling_interpolates_between_the_centres_of_features(name, size):
    backbone = BACKBONES[name]()
    maps = torch.randn(2, 6, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(upsample(maps, backbone), upsample_by_hand(maps, backbone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_feature_sees_the_pixels_around_its_centre(name):
    # The gradient of one feature with all weights positive and equal is symmetric about the pixel that it lies at.
    # A maximum of equal values would favour the first: means over the same windows stand for it. As such a network
    # treats rows and columns apart, a strip that is one feature wide says the same as a square.
    backbone = BACKBONES[name]().double()
    for index, layer in enumerate(backbone.features):
        if isinstance(layer, nn.MaxPool2d):
            backbone.features[index] = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
    for parameter in backbone.parameters():
        nn.init.constant_(parameter, 0.01 if parameter.dim() > 1 else 0.0)
    middle = 15 if backbone.stride < 16 else 45  # its view must not reach beyond the strip
    for axis in (2, 3):
        size = [1, 3, backbone.stride, backbone.stride]
        size[axis] *= 2 * middle
        inputs = torch.ones(size, dtype=torch.double, requires_grad=True)
        backbone(inputs)[0, 0].flatten()[middle].backward()
        weight = inputs.grad.sum([other for other in range(4) if other != axis])
        seen = (weight * torch.arange(len(weight))).sum() / weight.sum()
        assert abs(seen - (middle * backbone.stride + backbone.first_centre)) < 0.01


def test_interpolation_holds_the_ends():
    backbone = small()  # stride 4, the first centre at pixel 1
    matrix = bilinear(3, backbone, torch.tensor([0.0, 1.0, 4.0, 9.0, 11.0]))
    assert matrix.tolist() == [[1, 0, 0], [1, 0, 0], [0.25, 0.75, 0], [0, 0, 1], [0, 0, 1]]


def test_upsampled_maps_are_fp32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert upsample(torch.randn(1, 2, 3, 3).bfloat16(), small()).dtype == torch.float32


# ---------------------------------------------------------------- preprocessing


def test_preprocessing_comes_back_from_a_record_as_it_was():
    preprocessing = Preprocessing("BGR", (103.939, 116.779, 123.68), (1.0, 2.0, 3.0))
    record = json.loads(json.dumps({"preprocessing": asdict(preprocessing)}))
    assert preprocessing_of(record) == preprocessing


def test_preprocessing_that_nobody_changed_maps_0_to_255_around_0():
    plain = Preprocessing()
    assert [(value - plain.mean[0]) / plain.std[0] for value in (0, 127.5, 255)] == pytest.approx(
        [-1.99, 0, 1.99], abs=1e-2
    )
