"""How DecoupledNet predicts: which classes the recognizer finds, where the decoder sees each, and which one has a pixel.

As `DecoupledNet_inference.m` and its deploy prototxt do. No CRF and no other sizes are part of it.

in: inputs (B, 3, H, W) float of images of one size, perhaps their true tags -> out: probabilities (B, C, H, W) float32
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.methods.decoupled_network import DecoupledNetwork, Recognizer
from swdb.nn.sampling import normalise
from swdb.specs.preprocessing import Preprocessing

QUESTION_PIXELS = 1_000_000  # of the questions that are answered at once


def black(preprocessing: Preprocessing) -> Tensor:
    """Return what a black pixel is to the network, (3, 1, 1): images are padded with it, not with the mean colour."""
    return normalise(torch.zeros(1, 3, 1, 1), preprocessing)[0]


@torch.no_grad()
def predict(
    network: DecoupledNetwork, inputs: Tensor, padding: Tensor, tags: Tensor | None = None, side: int = 0
) -> Tensor:
    """Return class probabilities (B, C, H, W) float32 of whole images of one size.

    padding: (3, 1, 1), see `black`; tags: true tags (B, C-1) bool, asked for in the place of what is found, which shows what
    the recognizer costs; side: another than the size of the settings, in pixels, a multiple of the backbone's stride.
    """
    height, width = inputs.shape[-2:]
    longest = max(height, width)
    maps = class_maps(network, to_squares(inputs, side or network.settings.size, padding), tags)
    # MATLAB's imresize is bicubic, with the coefficients that torch takes together with antialiasing.
    back = F.interpolate(maps, size=(longest, longest), mode="bicubic", antialias=True, align_corners=False)
    cut = back[..., :height, :width].clamp(min=0)
    return cut / cut.sum(1, keepdim=True)


def to_squares(inputs: Tensor, side: int, padding: Tensor) -> Tensor:
    """Pad images at the bottom and on the right to squares of their longer side, and bring them to (B, 3, side, side)."""
    batch, channels, height, width = inputs.shape
    longest = max(height, width)
    squares = padding.to(inputs).expand(batch, channels, longest, longest).clone()
    squares[..., :height, :width] = inputs
    return F.interpolate(squares, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


@torch.no_grad()
def tag_probabilities(recognizer: Recognizer, features: Tensor) -> Tensor:
    """Return how probable each class is in each image, (B, C-1) float32: by the average of its scores over places."""
    return recognizer.maps(features).float().mean((2, 3)).sigmoid()


@torch.no_grad()
def class_maps(network: DecoupledNetwork, squares: Tensor, tags: Tensor | None = None) -> Tensor:
    """Return maps of all classes (B, C, S, S) float32 that sum to 1 at every pixel, background first.

    A question for all classes of an image together gives background, one for each class its own map; the backbone looks
    once at an image. Where nothing is found, everything is background.
    """
    threshold, seen = network.settings.threshold, network.see(squares)
    probable = tag_probabilities(network.recognizer, seen.features)
    found = probable > threshold if tags is None else tags
    # A true tag that was not found is asked for as the least sure one that is; found ones are asked for as ever.
    strength = probable.clamp(min=threshold)

    together, (rows, classes) = found.any(1).nonzero()[:, 0], found.nonzero().T
    images = torch.cat((together, rows))
    asked = torch.cat((found[together], F.one_hot(classes, found.shape[1]).bool())).float()
    channels = torch.cat((torch.zeros_like(together), classes + 1))

    maps = torch.zeros(len(squares), network.num_classes, *squares.shape[-2:], device=squares.device)
    for some in torch.arange(len(images), device=images.device).split(max(1, QUESTION_PIXELS // squares[0, 0].numel())):
        image, channel = images[some], channels[some]
        said = network.answer(seen[image], asked[some], strength[image]).softmax(1)
        maps[image, channel] = torch.where(channel[:, None, None] == 0, said[:, 0], said[:, 1])
    maps[:, 0].masked_fill_(~found.any(1)[:, None, None], 1)
    maps = torch.where(maps.sum(1, keepdim=True) == 0, 1.0, maps)  # nobody claims the pixel: all do
    return maps / maps.sum(1, keepdim=True)
