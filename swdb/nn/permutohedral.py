"""Gaussian filtering in five dimensions: a permutohedral lattice in plain torch, on CPU and GPU, many images at once.

in: features (B, N, d) of N points -> out: each point's sum of values (B, N, C) over all points, weighted by exp(-distance² / 2)

Adams, Baek and Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010, with the
scaling of the code that Krähenbühl and Koltun's dense CRF made customary (pydensecrf): the same numbers come out.
Space is cut into simplices of d + 1 vertices. Each point splats its value onto the vertices around it, the vertices
are blurred along each of the d + 1 axes, and each point slices its sum back from the same vertices.

All three steps are weighted sums of rows, and torch's `embedding_bag` is that: no intermediate array, vectorised, and
without atomic additions, so that the same input gives the same bits on a GPU, too.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.core.errors import BadInput

LARGEST_KEY = 2**63
CUT = 128  # rows that a GPU sums up in one go: some vertices of an image have more than 10,000, most have a few


class Lattice:
    """The vertices around a batch of point sets, ready to filter values; the sets do not see each other."""

    def __init__(self, features: Tensor, reach: Sequence[float] = ()):
        """Build from features (B, N, d), in standard deviations of the filter. Raises BadInput if their range is absurd.

        reach: how far features go from 0 on each of the d dimensions; without it, they are asked.
        """
        corners = _Corners(features, reach)
        self._build(corners, int(corners.count))

    @classmethod
    def together(cls, *point_sets: tuple[Tensor, Sequence[float]]) -> "list[Lattice]":
        """Build lattices of several features, each with its reach; waits once for a GPU, to hear how many vertices there are."""
        drafts = [_Corners(features, reach) for features, reach in point_sets]
        counts = torch.stack([corners.count for corners in drafts]).tolist()
        lattices = [cls.__new__(cls) for _ in drafts]
        for lattice, corners, count in zip(lattices, drafts, counts, strict=True):
            lattice._build(corners, count)
        return lattices

    def _build(self, corners: "_Corners", count: int) -> None:
        self.batch = corners.batch
        shared = 1 + 2.0**-corners.dimensions  # what blurring multiplies a sum with, by pydensecrf's convention
        points = len(corners.number) // (corners.dimensions + 1)
        vertex = torch.empty_like(corners.number).scatter_(0, corners.order, corners.number)
        self.splat_starts = _places(corners.first, corners.number, count)
        self.splat_points = (corners.order % points).int()
        self.splat_weights = corners.weights.flatten()[corners.order]
        self.splat_cuts = _cuts(self.splat_starts, corners.number) if corners.number.is_cuda else None
        self.slice_vertices = vertex.view(corners.dimensions + 1, -1).T.contiguous()
        self.slice_weights = (corners.weights / shared).T.contiguous()
        self.blur_vertices, self.blur_weights = _neighbours(corners.ordered[self.splat_starts], corners.steps)

    def filter(self, values: Tensor) -> Tensor:
        """Filter values (B, N, C) float32; returns the same shape. A point's own value counts as well.

        A lattice of one point set filters the values of any batch.
        """
        if self.batch != len(values):
            batch, count = values.shape[:2]
            side_by_side = values.transpose(0, 1).flatten(1)[None]
            return self.filter(side_by_side).view(count, batch, -1).transpose(0, 1)
        rows = values.reshape(-1, values.shape[2])
        rows = self._splat(rows)
        for vertices, weights in zip(self.blur_vertices, self.blur_weights, strict=True):
            rows = _sums(vertices, rows, weights)
        return _sums(self.slice_vertices, rows, self.slice_weights).view(values.shape)

    def _splat(self, rows: Tensor) -> Tensor:
        """Sum up the values of each vertex's points, rows (B * N, C) -> (M, C); on a GPU piece by piece, then the pieces."""
        if self.splat_cuts is None:
            return _sums(self.splat_points, rows, self.splat_weights, self.splat_starts)
        pieces, first_pieces = self.splat_cuts
        rows = _sums(self.splat_points, rows, self.splat_weights, pieces)
        return F.embedding_bag(torch.arange(len(rows), device=rows.device).int(), rows, first_pieces, mode="sum")

    def scale(self, before: Tensor, after: Tensor) -> None:
        """Let `filter` return after * filter(before * values) from now on, at no cost; factors (B, N, 1)."""
        self.splat_weights *= before.flatten()[self.splat_points]
        self.slice_weights *= after.view(-1, 1)


class _Corners:
    """Which vertices lie around each point, sorted by vertex, before anybody knows how many vertices there are."""

    def __init__(self, features: Tensor, reach: Sequence[float]):
        self.batch, _, self.dimensions = features.shape
        keys, self.weights, self.steps = _locate(features.float(), reach)
        # A stable sort lists each vertex's points in their own order, however many images there are beside this one.
        self.ordered, self.order = keys.flatten().sort(stable=True)
        self.first = torch.ones_like(self.ordered, dtype=torch.bool)
        torch.ne(self.ordered[1:], self.ordered[:-1], out=self.first[1:])
        self.number = self.first.cumsum(0, dtype=torch.int32) - 1

    @property
    def count(self) -> Tensor:
        """How many vertices there are, a tensor of no dimension."""
        return self.number[-1] + 1


def _places(first: Tensor, number: Tensor, count: int) -> Tensor:
    """Return where each of `count` numbers begins, (count,) int32: as `first.nonzero()`, which waits for a GPU."""
    places = torch.arange(len(first), device=first.device, dtype=torch.int32)
    found = torch.full((count + 1,), len(first), device=first.device, dtype=torch.int32)
    return found.scatter_(0, torch.where(first, number, count).long(), places)[:count]  # the last one takes the rest


def _cuts(starts: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the rows of every vertex into pieces of at most `CUT`.

    Returns where the pieces start, and which piece is the first of each of M vertices; behind the last piece come empty
    ones, for how many there are only the GPU knows.
    """
    places = torch.arange(len(number), device=number.device, dtype=torch.int32)
    first = (places - starts[number]) % CUT == 0
    piece = first.cumsum(0, dtype=torch.int32) - 1
    return _places(first, piece, len(starts) + len(number) // CUT), piece[starts]


def _sums(indices: Tensor, rows: Tensor, weights: Tensor, starts: Tensor | None = None) -> Tensor:
    """Sum weighted rows: as many for each result as `indices` has columns, or from one start to the next."""
    return F.embedding_bag(indices, rows, starts, mode="sum", per_sample_weights=weights)


def _locate(features: Tensor, reach: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
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
    start, strides = _keys(centre, features.shape[0], reach)
    # The next vertex is 1 further on all axes, and a whole edge back on the axis whose turn it is.
    filled = [torch.full((), corners * stride - sum(strides), device=centre.device) for stride in strides]
    steps = torch.stack(filled)  # each filled by the GPU itself: to copy a list there would wait for it
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


def _keys(centre: Tensor, batch: int, reach: Sequence[float]) -> tuple[Tensor, list[int]]:
    """Number the vertices `centre` (d + 1, P): returns a key each, (P,) int64, and the d + 1 strides of a key.

    Coordinates are the digits of a key, and the number of the image is its highest. All vertices that a step or two
    can reach have keys of their own. The last coordinate follows from the others. Where `reach` says how far features
    go, nobody waits for a GPU to hear it; where that leaves no room for all keys, they are asked all the same.
    """
    digits = centre[:-1].long()
    ranges = _ranges(reach) if len(reach) else _ranges_of(digits)
    if len(reach) and _strides(ranges)[-1] * batch >= LARGEST_KEY:
        ranges = _ranges_of(digits)
    *strides, of_image = _strides(ranges)
    if of_image * batch >= LARGEST_KEY:
        raise BadInput("the CRF's kernels", "too narrow for its lattice", "widths of a pixel, a grey level or more")
    image = torch.arange(batch, device=centre.device).repeat_interleave(centre.shape[1] // batch)
    places = [(digit - low) * stride for digit, (low, _), stride in zip(digits, ranges, strides, strict=True)]
    return sum(places) + image * of_image, [*strides, 0]


def _strides(ranges: list[tuple[int, int]]) -> list[int]:
    """Return what each digit of a key counts, and the image behind them."""
    strides = [1]
    for lowest, highest in ranges:
        strides.append(strides[-1] * (highest - lowest + 1 + 4 * len(ranges)))
    return strides


def _ranges_of(digits: Tensor) -> list[tuple[int, int]]:
    """Return the lowest and the highest of each of d digits (d, P)."""
    lowest, highest = torch.stack(digits.aminmax(dim=1)).tolist()
    return list(zip(lowest, highest, strict=True))


def _ranges(reach: Sequence[float]) -> list[tuple[int, int]]:
    """Return between what the first d coordinates of vertices lie where features lie between 0 and `reach`: as `_elevate`."""
    corners = len(reach) + 1
    highest, rows = 0.0, []
    for axis in range(len(reach), 0, -1):
        column = reach[axis - 1] * (2 / 3) ** 0.5 * corners / (axis * (axis + 1)) ** 0.5
        rows.append((-axis * column, highest))
        highest += column
    rows = [(0.0, highest), *reversed(rows)][:-1]
    margin = 2 * corners  # a vertex is nearer than that to its points
    return [(math.floor(low) - margin, math.ceil(high) + margin) for low, high in rows]


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
