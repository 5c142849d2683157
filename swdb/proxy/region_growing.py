"""Seeded region growing: seeds spread over the confident predictions that they touch, for a whole batch at once.

A point's class is what the network is sure of there, or else what it is seeded with. Points of one class that touch,
be it at a corner, are a region; a region that holds a seed of its class becomes that class's seed as a whole.

Source: DSRG (Huang et al., CVPR 2018), `DSRGLayer` in pylayers.py of the official code. Its probabilities are those
of a CRF; it grows from the original seeds again in every step.

in: probabilities (B, C, h, w), seeds (B, C, h, w), tags (B, C) -> out: seeds (B, C, h, w), grown
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from swdb.nn.cuda import any_order

NOTHING = -1  # the class of a point that is neither seeded nor predicted with confidence


@torch.no_grad()
def grow(
    probabilities: Tensor, seeds: Tensor, tags: Tensor, foreground: float = 0.85, background: float = 0.99
) -> Tensor:
    """Return the seeds and what they grew to, (B, C, h, w) bool; no seed is ever lost, and the arguments stay as they are.

    probabilities (B, C, h, w) float, seeds (B, C, h, w) bool, tags (B, C) bool, all on one device; class 0 is the
    background, which every image has. A prediction counts where it is more, not equal, than its threshold. As in
    DSRG's code, a point with one seed is never given to another class, though regions are connected through it; a
    point with several seeds may be.
    """
    regions = _regions(probabilities, seeds, tags, foreground, background)
    place = regions.clamp(min=0)[
        :, None
    ]  # of the point's class among all; a point of NOTHING has no seed there, either
    own = seeds.gather(1, place)[:, 0]
    single = seeds.sum(1, dtype=torch.int16) == 1

    component = _components(regions).flatten()
    seeded = torch.zeros(len(component) + 1, dtype=torch.bool, device=component.device)  # the last is nobody's
    seeded.index_fill_(0, torch.where(own.flatten(), component, len(component)), True)
    reached = seeded[component].view_as(own) & ~single
    return seeds.scatter(1, place, (own | reached)[:, None])


def _regions(probabilities: Tensor, seeds: Tensor, tags: Tensor, foreground: float, background: float) -> Tensor:
    """Return the class of every point, (B, h, w) int64, or NOTHING; of several seeds it is the last class."""
    # Of each image its own classes alone, in their order: a few of many. An image with fewer looks at background again.
    most = tags.shape[1] if tags.is_cuda else max(tags.sum(1).tolist(), default=1)
    among = (~tags).byte().argsort(stable=True, dim=1)[:, :most]
    among = among * tags.gather(1, among)
    likeliest, place = probabilities[torch.arange(len(tags), device=tags.device)[:, None], among].max(1)
    predicted = among.gather(1, place.flatten(1)).view_as(place)
    likeliest = likeliest.to(torch.promote_types(likeliest.dtype, torch.float32))  # half precision rounds thresholds
    sure = torch.where(predicted == 0, likeliest > background, likeliest > foreground)
    numbers = torch.arange(1, seeds.shape[1] + 1, dtype=torch.int16, device=seeds.device)
    seeded = (seeds * numbers[:, None, None]).amax(1) - 1  # NOTHING where no product is above 0
    return torch.where(sure, predicted, seeded)


def _components(regions: Tensor, look: bool | None = None) -> Tensor:
    """Return (B, h, w) int64, equal at two points exactly where a path over touching points of one class joins them.

    Every point refers to the first of its neighbours, and then to the root of the tree that this makes. Where trees
    touch, their roots refer to the smallest root they touch, until none touch: a few rounds, even for a long snake.

    look: after each round, see whether it was the last one. A GPU would be waited for; it goes through as many as can be
    needed. Trees of one region have their roots in different squares of 2 x 2 points, for the points of a square touch;
    that bounds them. Two rounds leave at most half of them: a root that is left neither touched a smaller one, nor one
    that went to a smaller one, so those that it touched, one at least, came to it.
    """
    look = not regions.is_cuda if look is None else look
    height, width = regions.shape[1:]
    index = torch.arange(regions.numel(), device=regions.device).view_as(regions)
    differ = [one != other for one, other in _neighbours(regions)]
    first = index.clone()
    for apart, (one, _), (_, other) in zip(differ, _neighbours(index), _neighbours(first), strict=True):
        other.copy_(torch.minimum(one + apart * regions.numel(), other))  # too large where they differ
    root = _flat(first.flatten(), height * width, look)

    pairs = []  # roots of neighbours that are equal but not yet joined
    for apart, (one, other) in zip(differ, _neighbours(root.view_as(regions)), strict=True):
        if look:
            open_ones = (~apart & (one != other)).nonzero(as_tuple=True)
            pairs.append((one[open_ones], other[open_ones]))
        else:
            pairs.append((torch.where(apart, other, one).flatten(), other.flatten()))
    one, other = (torch.cat(side) for side in zip(*pairs, strict=True))
    trees = -(-height // 2) * -(-width // 2)
    for _ in range(2 * (trees.bit_length() - 1)):
        if look and not len(one):
            break
        with any_order():
            root = root.scatter_reduce(0, torch.maximum(one, other), torch.minimum(one, other), "amin")
        root = _flat(root, trees, look)
        one, other = root[one], root[other]
        if look:
            one, other = one[one != other], other[one != other]
    return root.view_as(regions)


def _flat(root: Tensor, depth: int, look: bool) -> Tensor:
    """Let every point refer to the root of its tree, at most `depth` steps away; the ways there halve each time."""
    for _ in range(depth.bit_length()):
        further = root.gather(0, root)
        if look and torch.equal(further, root):
            break
        root = further
    return root


def _neighbours(points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all pairs of neighbours in (B, h, w), corners too, as two equally large parts; each pair once."""
    yield points[:, :, :-1], points[:, :, 1:]
    yield points[:, :-1], points[:, 1:]
    yield points[:, :-1, :-1], points[:, 1:, 1:]
    yield points[:, :-1, 1:], points[:, 1:, :-1]
