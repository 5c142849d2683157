"""What a network says of images, looked at once for each scale and mirror, however many averages are made of it.

in: a network, its inputs, what is averaged -> out: probabilities (B, C, H, W) of each average
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor

from swdb.methods.method import Method
from swdb.nn.model import Model
from swdb.specs.tasks import Scoring

Way = tuple[str, tuple[float, ...], bool]  # branch, scales, mirror: what is averaged
Look = Callable[[tuple[str, ...], float, bool], dict[str, Tensor]]  # at a view, by some branches


def looking(method: Method, model: Model, inputs: Tensor) -> Look:
    """Return what looks at inputs (B, 3, H, W) with a network, in its precision."""

    def look(branches: tuple[str, ...], scale: float, mirrored: bool) -> dict[str, Tensor]:
        with model.compute.autocast():
            return method.view(model, model.compute.inputs(inputs), branches, scale, mirrored)

    return look


def way_of(scoring: Scoring) -> Way:
    """Return what is averaged for a scoring, before a CRF."""
    return scoring.branch, scoring.scales, scoring.flip


def views_of(ways: Iterable[Way]) -> list[tuple[float, bool]]:
    """List the views that some ways need, each once: scale after scale, each plain and then mirrored, as `predict` adds them up."""
    found = {
        (scale, mirrored)
        for _, scales, flip in ways
        for scale in scales
        for mirrored in ((False, True) if flip else (False,))
    }
    return sorted(found)


def averaged(look: Look, ways: Iterable[Way]) -> Iterator[tuple[Way, Tensor]]:
    """Yield each way with its probabilities (B, C, H, W), as soon as all of its views were looked at; each view is once."""
    totals: dict[Way, Any] = dict.fromkeys(ways, 0)
    left = {way: views_of([way]) for way in totals}
    for view in views_of(list(totals)):
        using = [way for way in left if view in left[way]]
        found = look(tuple(dict.fromkeys(branch for branch, _, _ in using)), *view)
        for way in using:
            branch, scales, flip = way
            for _ in range(scales.count(view[0])):
                totals[way] = totals[way] + found[branch]
            left[way].remove(view)
            if not left[way]:
                yield way, totals.pop(way) / (len(scales) * (2 if flip else 1))
