"""Whether a set's labels can be true: image-level labels against masks, and whose masks they are.

Both kinds of labels come from people who looked at the same images. Where they disagree often, somebody's numbers, lists or
palettes are not what they are taken for, and nothing is trained on them.

in: what tags and masks of some images say -> out: nothing, or one error that counts, names the first and the likely cause
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swdb.core.errors import BadInput
from swdb.data.facts import Facts

BORDERED = 0.5  # share of the masks that must have void pixels, however few masks there are
FEWEST = 3  # images that must be at fault, whatever their share: of few images one is many per cent


@dataclass(frozen=True)
class Limit:
    """Which share of some images may be at fault, and which share is on real images."""

    most: float
    usual: float

    def exceeded(self, count: int, of: int) -> bool:
        """Whether more are at fault than may be, beyond what chance makes of the usual share in so few."""
        chance = 3 * (self.usual * (1 - self.usual) * of) ** 0.5
        return count >= FEWEST and count > self.most * of + chance


# Measured on 1,306 of VOC's own masks: all have a border, none shows a class without its box, and 1 lacks one that has a box.
# Of 2,694 masks of SBD's none shows a class without its box, and 7 % lack one that has: people and furniture, small or hidden.
BORDERLESS = Limit(0.05, 0.001)
UNTAGGED = Limit(0.05, 0.001)
WITHOUT_PIXELS = {  # by whether the masks are the data set's own; None, of both kinds: no matter
    True: Limit(0.05, 0.001), False: Limit(0.25, 0.07), None: Limit(1, 0),
}  # fmt: skip
BACKGROUNDLESS = Limit(0.5, 0.05)  # masks without one pixel of background: 2 in 100 of VOC's own
SHARED = Limit(0.05, 0.001)  # val images that are a training image under another id: none in VOC


@dataclass(frozen=True)
class Labelled:
    """Some images with both kinds of labels."""

    title: str  # for people: "weak images"
    ids: list[str]
    classes: list[str]  # without background
    tags: np.ndarray  # (images, classes) bool
    shown: np.ndarray  # (images, classes) bool: whether the mask has pixels of the class
    own: bool | None  # whether the masks are the data set's own; None: of both kinds

    def said(self, row: int) -> str:
        """Say what both kinds of labels say of one image."""
        tags, shown = (
            " ".join(name for name, there in zip(self.classes, present[row], strict=True) if there) or "nothing"
            for present in (self.tags, self.shown)
        )
        return f"{self.ids[row]}: {tags} by its tags, {shown} by its mask"


def refuse_contradictions(path: Path | str, found: Labelled) -> None:
    """Raise BadInput where more images than can be explained contradict themselves; `path` is that of the tags."""
    untagged, without = (found.shown & ~found.tags).any(1), (found.tags & ~found.shown).any(1)
    for contradicting, limit, what in (
        (untagged, UNTAGGED, "show a class without its tag"),
        (without, WITHOUT_PIXELS[found.own], "have a tag of a class without pixels"),
    ):
        count = int(contradicting.sum())
        if limit.exceeded(count, len(found.ids)):
            first = found.said(int(contradicting.argmax()))
            said = f"{count} of {len(found.ids)} {found.title} {what} (first: {first})"
            raise BadInput(path, said, f"{limit.most:.0%} at most; {_likely(untagged, without)}")


def _likely(untagged: np.ndarray, without: np.ndarray) -> str:
    """Say what is probably wrong, by how the images contradict themselves."""
    if 2 * (untagged & without).sum() >= (untagged | without).sum():
        return (
            "masks and tags are perhaps of different images, or the masks have other numbers, of instances or a palette"
        )
    if untagged.sum() >= without.sum():
        return "the tags perhaps lack some classes"
    return "the masks perhaps lack some classes"


def refuse_backgroundless(path: Path, backgroundless: list[bool]) -> None:
    """Raise BadInput that names a list where too few of its masks, said one by one, have any background."""
    count = backgroundless.count(True)
    if BACKGROUNDLESS.exceeded(count, len(backgroundless)):
        found = f"{count} of its {len(backgroundless)} masks have no background (label 0) at all"
        raise BadInput(path, found, "masks in which 0 is background and 255 is void")


def refuse_shared(path: Path, shared: list[bool], first: str) -> None:
    """Raise BadInput that names the list of val where too many of its images, said one by one, are trained on, too."""
    count = shared.count(True)
    if SHARED.exceeded(count, len(shared)):
        found = f"{count} of its {len(shared)} images are training images under other ids (first: {first})"
        raise BadInput(path, found, "images that nothing was trained on")


def refuse_borderless(facts: Facts, path: Path, bordered: list[bool]) -> None:
    """Raise BadInput that names a list where too few of its masks, said one by one, have a void border."""
    share = np.mean(bordered) if bordered else 1.0
    if share < BORDERED or BORDERLESS.exceeded(bordered.count(False), len(bordered)):
        raise BadInput(path, f"only {share:.0%} of its masks have a void border", facts.own_masks)
