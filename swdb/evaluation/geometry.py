"""What of an image a network is shown, and where that lies on the image: cut, padded, resized, sampled.

in: maps (B, C, H, W), or masks (B, H, W), and a geometry -> out: maps or masks of another size
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.evaluation.choices import Geometry
from swdb.nn.networks import Backbone

Size = tuple[int, ...]  # height, width


def arranged(maps: Tensor, geometry: Geometry, nearest: bool = False) -> Tensor:
    """Show maps as a geometry says: resized bilinearly, or by the nearest pixel for masks; what is padded is 0, the mean."""
    side, (height, width) = geometry.side, maps.shape[-2:]
    if geometry.shown == "pad":
        return F.pad(maps, (0, max(0, side - width), 0, max(0, side - height)))
    if geometry.shown == "warp":
        return _sized(maps, (side, side), nearest)
    if geometry.shown in ("short", "short-crop"):
        size = (side, int(width * side / height)) if width > height else (int(height * side / width), side)
        maps = _sized(maps, size, nearest)
    if geometry.shown in ("crop", "short-crop"):
        top, left = (max(0, round((length - side) / 2)) for length in maps.shape[-2:])
        maps = maps[..., top : top + side, left : left + side]
    return maps


def brought_back(maps: Tensor, geometry: Geometry, size: Size) -> Tensor:
    """Return what was said of an image that was shown whole, as it lies on the image: without what was padded."""
    return maps[..., : size[0], : size[1]] if geometry.shown == "pad" else maps


def shrunk(masks: Tensor, size: Size) -> Tensor:
    """Bring masks (B, H, W) to a size by their nearest pixel; those that have it stay as they are."""
    return masks if tuple(masks.shape[-2:]) == size else _sized(masks, size, nearest=True)


def on_grid(maps: Tensor, backbone: Backbone) -> Tensor:
    """Return maps or masks at the centres of a network's features."""
    first, stride = round(backbone.first_centre), backbone.stride
    return maps[..., first::stride, first::stride]


def _sized(maps: Tensor, size: Size, nearest: bool) -> Tensor:
    if not nearest:
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=True)
    rows, columns = (
        ((torch.arange(new, device=maps.device) + 0.5) * (old / new)).long().clamp(max=old - 1)
        for new, old in zip(size, maps.shape[-2:], strict=True)
    )
    return maps[..., rows[:, None], columns]
