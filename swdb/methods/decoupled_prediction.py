"""How DecoupledNet predicts: which classes the recognizer finds, where the decoder sees each, and which one has a pixel.

As `DecoupledNet_inference.m` and its deploy prototxt do. No CRF and no other sizes are part of it.

in: inputs (B, 3, H, W) float of images of one size, perhaps their true tags -> out: probabilities (B, C, H, W) float32
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.methods.decoupled_network import DecoupledNetwork, Seen
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
    the recognizer costs; side: another than the size of the settings, in pixels.
    """
    height, width = inputs.shape[-2:]
    longest = max(height, width)
    squares = to_squares(inputs, side or network.settings.size, padding)
    maps = class_maps(network, squares, tags)
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


def tag_probabilities(network: DecoupledNetwork, seen: Seen) -> Tensor:
    """Return how probable each class is in each image, (B, C-1) float32: the scores' average over places."""
    return network.recognizer.maps(seen.features).float().mean((2, 3)).sigmoid()


def class_maps(network: DecoupledNetwork, squares: Tensor, tags: Tensor | None = None) -> Tensor:
    """Return maps of all classes (B, C, S, S) float32 that sum to 1 at every pixel, background first.

    A question for all classes of an image together gives background, one for each class its own map; the backbone looks
    once at an image. Where nothing is found, everything is background.
    """
    threshold = network.settings.threshold
    seen = network.see(squares)
    probable = tag_probabilities(network, seen)
    found = probable > threshold if tags is None else tags
    # A tag that was not found is asked for as the least sure one that is: found ones are asked for as ever.
    strength = probable.clamp(min=threshold)

    together = found.any(1).nonzero()[:, 0]
    image, one = found.nonzero().T
    rows = torch.cat((together, image))
    asked = torch.cat((found[together].float(), F.one_hot(one, found.shape[1]).float()))
    channel = torch.cat((torch.zeros_like(together), one + 1))

    maps = squares.new_zeros(len(squares), network.num_classes, *squares.shape[-2:], dtype=torch.float32)
    at_once = max(1, QUESTION_PIXELS // squares[0, 0].numel())
    for some in torch.arange(len(rows), device=rows.device).split(at_once):
        logits = network.answer(seen[rows[some]], asked[some], strength[rows[some]])
        said = logits.softmax(1)
        of_background = (channel[some] == 0)[:, None, None]
        maps[rows[some], channel[some]] = torch.where(of_background, said[:, 0], said[:, 1])
    total = maps.sum(1, keepdim=True)
    total_found = found.any(1)[:, None, None, None]
    nowhere = (total == 0) & total_found
    maps = torch.where(nowhere, torch.ones_like(maps), maps)
    maps[:, :1] = torch.where(total_found, maps[:, :1], torch.ones_like(maps[:, :1]))
    return maps / maps.sum(1, keepdim=True)
