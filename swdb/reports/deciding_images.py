"""The images that decide a claim: those of the validation split on which the two rows of the claim differ most.

An image's score is the mean IoU of the classes in it, from the counts that were kept when it was scored; the difference is
the mean over the seeds that both rows have, and what is shown are the predictions of the first of these.

in: a claim, the scores behind its cells, the data set -> out: pictures, each image, truth and both predictions side by side
"""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import read_mask, resize_longest_side
from swdb.reports.ledger import read_parts
from swdb.reports.results import COUNTS
from swdb.specs.claims import Claim
from swdb.verdicts.images import miou_of

EACH_WAY = 2  # images for a claim, and as many against it
MOST = 200  # pictures of a page
TILE = 160  # pixels, longest side
GAP, BETWEEN = 2, 128  # pixels, and their grey
JPEG = {"format": "JPEG", "quality": 82, "subsampling": 0}
PNG = {"format": "PNG", "optimize": False, "compress_level": 9}


@dataclass(frozen=True)
class Picture:
    """An image on which the rows of a claim differ."""

    image: str
    lower: float  # scores of what is shown, in %
    higher: float
    difference: float  # over the seeds
    seed: int
    uri: str
    size: tuple[int, int]  # width and height in pixels


@dataclass
class Images:
    """Finds and draws the images of claims; remembers what it read."""

    dataset: DataSet
    cells: Mapping[str, Mapping[int, Artefact]]  # finished scores by cell, `N:row.column`, and by seed
    drawn: int = 0
    _scores: dict[str, np.ndarray] = field(default_factory=dict)

    def of(self, claim: Claim) -> Iterator[Picture]:
        """Yield a claim's pictures, those that speak for it first; raises SwdbError where something cannot be read."""
        pair = ends_of(claim)
        lower, higher = ({}, {}) if pair is None else (self.cells.get(cell, {}) for cell in pair)
        seeds = sorted(lower.keys() & higher.keys())
        if not seeds or lower[seeds[0]].id == higher[seeds[0]].id:
            return
        by_seed = [self._by_image(higher[seed]) - self._by_image(lower[seed]) for seed in seeds]
        difference = np.mean(by_seed, axis=0)
        order = [k for k in np.argsort(-difference, kind="stable") if np.isfinite(difference[k])]
        speak_for = [k for k in order if difference[k] > 0][:EACH_WAY]
        against = [k for k in reversed(order) if difference[k] < 0][:EACH_WAY]
        for k in (speak_for + against)[: max(0, MOST - self.drawn)]:
            yield self._picture(int(k), lower[seeds[0]], higher[seeds[0]], float(difference[k]), seeds[0])

    def _picture(self, k: int, lower: Artefact, higher: Artefact, difference: float, seed: int) -> Picture:
        image_id, palette = self.dataset.ids(VAL_SPLIT)[k], self.dataset.facts.palette
        masks = [self.dataset.mask(image_id, VAL_SPLIT)]
        masks += [
            read_mask(score.folder / "predictions" / f"{image_id}.png", self.dataset.num_classes)
            for score in (lower, higher)
        ]
        tiles = [self.dataset.image(image_id), *(palette[mask] for mask in masks)]
        strip = _strip([resize_longest_side(tile, TILE) if k == 0 else _nearest(tile) for k, tile in enumerate(tiles)])
        self.drawn += 1
        scores = (float(self._by_image(score)[k]) for score in (lower, higher))
        uri = _uri(strip, PNG if self.dataset.facts.synthetic else JPEG)
        return Picture(image_id, *scores, difference, seed, uri, (strip.shape[1], strip.shape[0]))

    def _by_image(self, score: Artefact) -> np.ndarray:
        """Return the score of each validation image in %, NaN where all of it is void; raises MissingArtefact for damage."""
        if score.id not in self._scores:
            ids, parts = read_parts(path := score.folder / COUNTS)
            if ids.tolist() != self.dataset.ids(VAL_SPLIT):
                raise MissingArtefact(path, "has other images than the data set", "the validation images")
            self._scores[score.id] = np.where(parts[:, 1].any(-1), miou_of(parts), np.nan)
        return self._scores[score.id]


def ends_of(claim: Claim) -> tuple[str, str] | None:
    """Return the two cells whose predictions are compared: of several pairs the first one, of a trend its ends."""
    if claim.kind == "ordering":
        return claim.lower[0], claim.higher[0]
    if claim.kind == "equivalence":
        return claim.equal[0], claim.equal[1]
    return (claim.rising[0], claim.rising[-1]) if claim.kind == "trend" else None


def _nearest(tile: np.ndarray) -> np.ndarray:
    """Shrink the colours of a mask without mixing them."""
    height, width = tile.shape[:2]
    scale = TILE / max(height, width)
    if scale >= 1:
        return tile
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(tile).resize(size, Image.Resampling.NEAREST))


def _strip(tiles: list[np.ndarray]) -> np.ndarray:
    """Put tiles (H, W, 3) uint8 of one size side by side, a grey line between them."""
    gap = np.full((tiles[0].shape[0], GAP, 3), BETWEEN, np.uint8)
    return np.concatenate([part for tile in tiles for part in (gap, tile)][1:], axis=1)


def _uri(strip: np.ndarray, encoding: Mapping[str, object]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, **encoding)
    kind = str(encoding["format"]).lower()
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
