"""How one run may be evaluated otherwise: scales, mirror, CRF, branch, and what of an image is shown and scored.

Each choice differs from the preset's own in one thing, but for two that are in use as they are. Values alone, no torch.

in: a task: how the preset scores, what its images are like -> out: choices, each with who makes it
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from swdb.specs.crf_parameters import CRF_SETS
from swdb.specs.methods import METHODS
from swdb.specs.runs import RunSpec
from swdb.specs.tasks import LabTask, Scoring

DEEPLAB = 513, 500  # pixels of the square, for images of so many: DeepLab's test.prototxt, VOC's longest side
THREE, MANY = (0.75, 1.0, 1.25), (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
SCALES = {
    (1.0,): "DeepLab v1 and v2 with VGG16: one scale",
    (0.5, 0.75, 1.0): "DeepLab v2's scales; it takes the maximum of their logits",
    THREE: "DSRG's test-ms-f.py",
    (0.5, 0.75, 1.0, 1.25, 1.5): "deeplab-pytorch's scales in training",
    MANY: "mmsegmentation's test-time augmentation",
}


@dataclass(frozen=True)
class Geometry:
    """What of an image the network sees, and where its prediction is scored."""

    shown: str  # whole, pad (at the right and below), crop (the centre), short (shorter side), short-crop, warp
    side: int = 0  # pixels
    scored: str = "full"  # full size; seen: at the size that was shown; grid: at the network's own points


@dataclass(frozen=True)
class Choice:
    """One way to evaluate a run."""

    key: str
    words: str
    where: str
    scoring: Scoring
    geometry: Geometry | None = None  # None: whole images, scored at full size


def choices_of(task: LabTask, run: RunSpec) -> list[Choice]:
    """List the ways in which a run is evaluated; at the network's own points only where it has some."""
    longest = min(task.longest_side or task.largest, task.largest)
    found = choices(task.scoring, run.branches, task.crop, longest, shrunk=longest < task.largest)
    at_points = METHODS[run.method].at_points
    return [one for one in found if at_points or one.geometry is None or one.geometry.scored != "grid"]


def choices(ours: Scoring, branches: tuple[str, ...], crop: int, longest: int, shrunk: bool) -> list[Choice]:
    """List the ways to evaluate a run that are in use, ours first; none is there twice.

    crop: the side of training's crops; longest: of images as the network sees them; shrunk: whether those are smaller than
    the images that are scored.
    """
    found = [Choice("ours", "ours", "this preset", ours)]
    for choice in (*_views(ours), *_refined(ours), *_branches(ours, branches), *_shown(ours, crop, longest, shrunk)):
        if all((choice.scoring, choice.geometry) != (other.scoring, other.geometry) for other in found):
            found.append(choice)
    return found


def _views(ours: Scoring) -> Iterator[Choice]:
    mirror = "mmsegmentation, COIN's DeepLab-LargeFOV, irn (issue 26): the mirrored image, too"
    yield _scored(replace(ours, flip=not ours.flip), "DeepLab v1 and v2: no mirror" if ours.flip else mirror)
    for scales, where in SCALES.items():
        yield _scored(replace(ours, scales=scales), where)
    yield _scored(replace(ours, scales=THREE, flip=True), "DSRG's scales with a mirror")
    yield _scored(replace(ours, scales=MANY, flip=True), SCALES[MANY])


def _refined(ours: Scoring) -> Iterator[Choice]:
    for name, crf in CRF_SETS.items():
        yield _scored(replace(ours, crf=name), crf.source)
    yield _scored(replace(ours, scales=THREE, flip=False, crf="dsrg"), "DSRG, as it tests")
    together = "scales, mirror and CRF at once, as irn's issue 26 says of its score"
    yield _scored(replace(ours, scales=MANY, flip=True, crf="deeplab-vgg16-run-densecrf"), together)


def _branches(ours: Scoring, branches: tuple[str, ...]) -> Iterator[Choice]:
    for branch in branches:
        if branch != ours.branch:
            other = _scored(replace(ours, branch=branch), "the paper's Table 3")
            yield replace(other, words=f"{branch} branch")


def _shown(ours: Scoring, crop: int, longest: int, shrunk: bool) -> Iterator[Choice]:
    square = square_side(longest)
    deeplab = "" if square == DEEPLAB[0] else f" ({DEEPLAB[0]} for VOC's {DEEPLAB[1]})"
    ways = [
        (
            Geometry("crop", crop, "seen"),
            f"the centre of {crop} pixels, the training's crop",
            "PixelSSL's GCT, by mistake",
        ),
        (
            Geometry("short-crop", crop, "seen"),
            f"the shorter side at {crop} pixels, then the centre",
            "pytorch-deeplab-xception's FixScaleCrop",
        ),
        (
            Geometry("short", crop),
            f"the shorter side at {crop} pixels",
            "PixelSSL's DeepLab v2: the training's input size",
        ),
        (
            Geometry("short-crop", square, "seen"),
            f"the shorter side at {square} pixels{deeplab}, then the centre",
            "pytorch-deeplab-xception with crops of 513",
        ),
        (
            Geometry("pad", square),
            f"padded to {square} pixels{deeplab}",
            "DeepLab's test.prototxt, AdvSemiSeg (505), U2PL (a centre crop that VOC fits into)",
        ),
        (
            Geometry("warp", square),
            f"warped to {square} pixels{deeplab}, brought back",
            "nowhere known: 513 without aspect",
        ),
        (Geometry("warp", crop), f"warped to {crop} pixels, brought back", "DSRG's masks: warped to 321"),
        (
            Geometry("warp", crop, "seen"),
            f"warped to {crop} pixels, scored there",
            "the CENG501 reproduction of this paper",
        ),
        (
            Geometry("whole", 0, "grid"),
            "scored at the network's own points",
            "DeepLab's training: labels shrunk by the stride",
        ),
    ]
    if shrunk:
        ways.append(
            (Geometry("whole", 0, "seen"), "scored at the size that the network sees", "whoever shrinks masks as well")
        )
    for geometry, words, where in ways:
        key = "-".join(filter(None, (geometry.shown, str(geometry.side or ""), geometry.scored)))
        yield Choice(key, words, where, ours, geometry)


def square_side(longest: int) -> int:
    """Return the side of DeepLab's square for images of so many pixels: 8k + 1, and 513 for VOC's 500."""
    side, of = DEEPLAB
    return max(8 * round(longest * side / of / 8) + 1, 8 * -(-(longest - 1) // 8) + 1)


def _scored(scoring: Scoring, where: str) -> Choice:
    return Choice(scoring.name.removeprefix("val-"), _words(scoring), where, scoring)


def _words(scoring: Scoring) -> str:
    """Say how a branch's prediction is made."""
    scales = "one scale" if scoring.scales == (1.0,) else f"scales {', '.join(f'{one:g}' for one in scoring.scales)}"
    mirror = ", mirrored too" if scoring.flip else ""
    crf = "" if scoring.crf is None else f", CRF {scoring.crf}"
    return f"{scales}{mirror}{crf}"
