"""Backbones, the neck and the head: the parts that the method puts together.

in: normalised inputs (B, 3, H, W) float -> out: features (B, D, h, w) or logits (B, C, h, w), h = ceil(H / stride)
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from swdb.nn.efficientnet import lite0_layers
from swdb.specs.preprocessing import Preprocessing


def valueless() -> torch.device:
    """Return the context in which networks are built that get all their values from a file: none are drawn for them."""
    return torch.device("meta")


def preprocessing_of(record: Mapping[str, Any]) -> Preprocessing:
    """Read the preprocessing that stands in the record of trained weights."""
    found = record["preprocessing"]
    return Preprocessing(found["order"], tuple(found["mean"]), tuple(found["std"]))


class Grid(NamedTuple):
    """Where features lie among pixels: feature i's centre at pixel `stride * i + first_centre`."""

    stride: int
    first_centre: float


class Backbone(nn.Module):
    """A feature extractor that ends at `stride` with `channels` channels.

    The centre of feature i lies at pixel `stride * i + first_centre`: kernels and padding decide that.
    """

    def __init__(self, features: nn.Sequential, channels: int, stride: int, first_centre: float):
        super().__init__()
        self.features, self.channels, self.stride, self.first_centre = features, channels, stride, first_centre

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, channels, h, w)."""
        return self.features(inputs)


def small() -> Backbone:
    """A VGG-style network of five layers at stride 4, for images of about 64 pixels."""
    relu = lambda: nn.ReLU(inplace=True)  # noqa: E731
    features = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1), relu(),
        nn.Conv2d(32, 32, 3, padding=1), relu(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(32, 64, 3, padding=1), relu(),
        nn.Conv2d(64, 64, 3, padding=1), relu(),
        nn.Conv2d(64, 64, 3, padding=2, dilation=2), relu(),
    )  # fmt: skip
    return Backbone(_he(features), channels=64, stride=4, first_centre=1.0)


def vgg16() -> Backbone:
    """VGG16 as DeepLab-LargeFOV has it, stride 8; tensor names are torchvision's (`features.0.weight` ...).

    Source: DeepLab-LargeFOV train.prototxt: pools of 3x3, the last two with stride 1, conv5 with dilation 2,
    and an average pool behind pool5. 321 and 328 pixels both give 41 x 41.
    """
    from torchvision.models.vgg import cfgs, make_layers

    features = make_layers(cfgs["D"])
    for index in (4, 9, 16):
        features[index] = nn.MaxPool2d(3, stride=2, padding=1)
    for index in (23, 30):
        features[index] = nn.MaxPool2d(3, stride=1, padding=1)
    for index in (24, 26, 28):
        features[index].dilation, features[index].padding = (2, 2), (2, 2)
    features.append(nn.AvgPool2d(3, stride=1, padding=1))
    return Backbone(_he(features), channels=512, stride=8, first_centre=0.0)


def squeezenet1_1() -> Backbone:
    """SqueezeNet 1.1's features at stride 8: the last pool keeps its stride of 1, the fires behind it dilate by 2."""
    from torchvision.models import squeezenet1_1 as build

    features = build(weights=None).features
    features[0].padding = (1, 1)  # so that every stage rounds up: 321 and 328 pixels give 41 x 41, as with VGG16
    for index in (2, 5):
        features[index] = nn.MaxPool2d(3, stride=2, padding=1)
    features[8] = nn.MaxPool2d(3, stride=1, padding=1)
    for index in (9, 10, 11, 12):
        features[index].expand3x3.dilation, features[index].expand3x3.padding = (2, 2), (2, 2)
    return Backbone(features, channels=512, stride=8, first_centre=0.0)


def efficientnet_lite0() -> Backbone:
    """EfficientNet-Lite0's seven stages at stride 16: stage 6 keeps the size of stage 5, what follows dilates by 2."""
    return Backbone(_he(lite0_layers(stages=7, stride=16)), channels=320, stride=16, first_centre=0.0)


def efficientnet_lite0_stride8() -> Backbone:
    """Its first five stages at stride 8: stage 4 keeps the size of stage 3, what follows dilates by 2. For GPUs."""
    return Backbone(_he(lite0_layers(stages=5, stride=8)), channels=112, stride=8, first_centre=0.0)


BACKBONES = {
    "small": small,
    "squeezenet1_1": squeezenet1_1,
    "vgg16": vgg16,
    "efficientnet_lite0": efficientnet_lite0,
    "efficientnet_lite0_stride8": efficientnet_lite0_stride8,
}


def neck(in_channels: int, channels: int, num_layers: int, init_scale: float, init: str = "identity") -> nn.Sequential:
    """Build the n shared layers behind the backbone: 3x3 convolutions with ReLU, without batch norm.

    They begin as the identity plus `init_scale` of He's noise: n layers then start out as none, and train as stably. Where
    `init` is random they begin as He's noise alone, where it is first-random the first of them does.
    """
    layers: list[nn.Module] = []
    for index in range(num_layers):
        layers += [nn.Conv2d(channels if index else in_channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
    stack = _he(nn.Sequential(*layers))
    random = {"identity": 0, "first-random": 1, "random": num_layers}[init]
    with torch.no_grad():
        for layer in stack[::2][random:]:
            layer.weight.mul_(init_scale).add_(nn.init.dirac_(torch.empty_like(layer.weight)))
    return stack


def head(in_channels: int, channels: int, dilation: int, dropout: float, num_classes: int) -> nn.Sequential:
    """Build a branch's own layers, in LargeFOV's form: fc6 (3x3, dilated), fc7 (1x1), fc8 (1x1 to the classes)."""
    fc6 = nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation)
    fc7 = nn.Conv2d(channels, channels, 1)
    fc8 = nn.Conv2d(channels, num_classes, 1)
    relu, drop = nn.ReLU(inplace=True), nn.Dropout(dropout)
    layers = _he(nn.Sequential(fc6, relu, drop, fc7, relu, drop, fc8))
    if not fc8.weight.is_meta:
        nn.init.normal_(fc8.weight, std=0.01)  # as fc8 of LargeFOV
    return layers


def upsample(maps: Tensor, backbone: Backbone | Grid) -> Tensor:
    """Upsample maps of features (B, C, h, w) bilinearly to pixels, (B, C, h * stride, w * stride) float32.

    Two matrix products, whose backward pass is deterministic on a GPU too; each feature's value lands on its centre.
    """
    with torch.autocast("cuda" if maps.is_cuda else "cpu", enabled=False):  # bf16 would make ties of near values
        maps = maps.float()
        rows, columns = (
            bilinear(size, backbone, torch.arange(size * backbone.stride, device=maps.device))
            for size in maps.shape[-2:]
        )
        return rows @ maps @ columns.T


def bilinear(size: int, backbone: Backbone | Grid, pixels: Tensor) -> Tensor:
    """The matrix (P, size) that interpolates at `pixels` (P,) between the centres of `size` features and holds the ends."""
    place = ((pixels - backbone.first_centre) / backbone.stride).clamp(0, size - 1)
    return (1 - (place[:, None] - torch.arange(size, device=pixels.device)).abs()).clamp(min=0)


def _he(module: nn.Sequential) -> nn.Sequential:
    """Initialise for ReLU (He et al., ICCV 2015); biases begin at 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:  # (torch loads its compiler for those first)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return module
