"""Gaussian filtering in five dimensions: a permutohedral lattice in plain torch, on CPU and GPU, many images at once.

in: features (B, N, d) of N points -> out: each point's sum of values (B, N, C) over all points, weighted by exp(-distance² / 2)

Adams, Baek and Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010, with the
scaling of the code that Krähenbühl and Koltun's dense CRF made customary (pydensecrf): the same numbers come out.
Space is cut into simplices of d + 1 vertices. Each point splats its value onto the vertices around it, the vertices
are blurred along each of the d + 1 axes, and each point slices its sum back from the same vertices.

All three steps are weighted sums of rows, and torch's `embedding_bag` is that: no intermediate array, vectorised, and
without atomic additions, so that the same input gives the same bits on a GPU, too.
"""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.core.errors import BadInput

LARGEST_KEY = 2**63


class Lattice:
    """The vertices around a batch of point sets, ready to filter values; the sets do not see each other."""

    def __init__(self, features: Tensor):
        """Build from features (B, N, d), in standard deviations of the filter. Raises BadInput if their range is absurd."""
        self.batch, count, dimensions = features.shape
        keys, weights, steps = _locate(features.float())
        shared = 1 + 2.0**-dimensions  # what blurring multiplies a sum with, by pydensecrf's convention

        # A stable sort lists each vertex's points in their own order, however many images there are beside this one.
        ordered, order = keys.flatten().sort(stable=True)
        first = torch.ones_like(ordered, dtype=torch.bool)
        torch.ne(ordered[1:], ordered[:-1], out=first[1:])
        number = first.cumsum(0, dtype=torch.int32) - 1
        vertex = torch.empty_like(number)
        vertex[order] = number
        self.splat_starts = first.nonzero()[:, 0].int()
        self.splat_points = (order % (self.batch * count)).int()
        self.splat_weights = weights.flatten()[order]
        self.slice_vertices = vertex.view(dimensions + 1, -1).T.contiguous()
        self.slice_weights = (weights / shared).T.contiguous()
        self.blur_vertices, self.blur_weights = _neighbours(ordered[self.splat_starts], steps)

    def filter(self, values: Tensor) -> Tensor:
        """Filter values (B, N, C) float32; returns the same shape. A point's own value counts as well.

        A lattice of one point set filters the values of any batch.
        """
        if self.batch != len(values):
            batch, count = values.shape[:2]
            side_by_side = values.transpose(0, 1).flatten(1)[None]
            return self.filter(side_by_side).view(count, batch, -1).transpose(0, 1)
        rows = values.reshape(-1, values.shape[2])
        rows = _sums(self.splat_points, rows, self.splat_weights, self.splat_starts)
        for vertices, weights in zip(self.blur_vertices, self.blur_weights, strict=True):
            rows = _sums(vertices, rows, weights)
        return _sums(self.slice_vertices, rows, self.slice_weights).view(values.shape)

    def scale(self, before: Tensor, after: Tensor) -> None:
        """Let `filter` return after * filter(before * values) from now on, at no cost; factors (B, N, 1)."""
        self.splat_weights *= before.flatten()[self.splat_points]
        self.slice_weights *= after.view(-1, 1)


def _sums(indices: Tensor, rows: Tensor, weights: Tensor, starts: Tensor | None = None) -> Tensor:
    """Sum weighted rows: as many for each result as `indices` has columns, or from one start to the next."""
    return F.embedding_bag(indices, rows, starts, mode="sum", per_sample_weights=weights)


def _locate(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the simplex around each of P = B * N points.

    Returns the keys of its vertices (d + 1, P) int64, their barycentric weights (d + 1, P) float32, and what a key
    gains by a step along each axis of the lattice, (d + 1,) int64.
    """
    elevated = _elevate(features)
    corners = len(elevated)
    centre = (elevated / corners).round() * corners  # the vertex of remainder 0 that is closest, or nearly so
    offset = elevated - centre
    rank = (centre.sum(0) / corners).round().int().repeat(corners, 1)  # not 0 where rounding left the plane

    # The order of the offsets, largest first, tells the simplices around a vertex apart.
    for one, other in combinations(range(corners), 2):
        behind = offset[one] < offset[other]
        rank[one] += behind
        rank[other] += ~behind
    back = ((rank < 0).int() - (rank >= corners).int()) * corners  # onto the plane: coordinates add up to 0
    rank = (rank + back).long()
    centre += back

    def by_rank(found: Tensor) -> Tensor:
        return torch.empty_like(found).scatter_(0, rank, found).flip(0)  # smallest offset first

    offset = by_rank((elevated - centre) / corners)
    weights = offset - offset.roll(1, 0)
    weights[0] += 1
    start, strides = _keys(centre, features.shape[0])
    # The next vertex is 1 further on all axes, and a whole edge back on the axis whose turn it is.
    steps = corners * strides - strides.sum()
    keys = torch.cat([start[None], -by_rank(steps[:, None].expand(rank.shape))[:-1]]).cumsum(0)
    return keys, weights, steps


def _elevate(features: Tensor) -> Tensor:
    """Lay features (B, N, d) onto the plane of d + 1 coordinates that add up to 0, in the lattice's units: (d + 1, P)."""
    dimensions = features.shape[2]
    columns = features.reshape(-1, dimensions).T.contiguous()
    deviation = (2 / 3) ** 0.5 * (dimensions + 1)  # splatting, blurring and slicing spread a value by so much
    rest = torch.zeros_like(columns[0])
    rows = []
    for axis in range(dimensions, 0, -1):
        column = columns[axis - 1] * (deviation / (axis * (axis + 1)) ** 0.5)
        rows.append(rest - axis * column)
        rest = rest + column
    return torch.stack([rest, *reversed(rows)])


def _keys(centre: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Number the vertices `centre` (d + 1, P): returns a key each, (P,) int64, and the strides of a key, (d + 1,) int64.

    Coordinates are the digits of a key, and the number of the image is its highest. All vertices that a step or two
    can reach have keys of their own. The last coordinate follows from the others.
    """
    digits = centre[:-1].long()
    lowest, highest = digits.aminmax(dim=1)
    strides = [1]
    for span in (highest - lowest + 1 + 4 * len(digits)).tolist():
        strides.append(strides[-1] * span)
    if strides[-1] * batch >= LARGEST_KEY:
        raise BadInput("the CRF's kernels", "too narrow for its lattice", "widths of a pixel, a grey level or more")
    places = torch.tensor([*strides[:-1], 0], device=centre.device)
    image = torch.arange(batch, device=centre.device).repeat_interleave(centre.shape[1] // batch)
    return ((digits - lowest[:, None]) * places[:-1, None]).sum(0) + image * strides[-1], places


def _neighbours(keys: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for each axis, the rows (d + 1, M, 3) int32 that blurring adds up for each of M vertices, and weights.

    A vertex counts whole, the two beside it half each; one that is not there counts 0.
    """
    count = len(keys)
    own = torch.arange(count, device=keys.device).expand(len(steps), -1)
    wanted = keys + steps[:, None]
    ahead = torch.searchsorted(keys, wanted).clamp_(max=count - 1)
    there = keys[ahead] == wanted
    # what is ahead of a vertex has that vertex behind; one more column takes what has nothing ahead
    behind = own.new_full((len(steps), count + 1), count).scatter_(1, torch.where(there, ahead, count), own)[:, :-1]
    has = behind < count
    vertices = torch.stack([own, torch.where(there, ahead, own), torch.where(has, behind, own)], 2)
    weights = torch.stack([torch.ones_like(has).float(), 0.5 * there, 0.5 * has], 2)
    return vertices.int(), weights
