"""The embedded data set: synthetic scenes, cluttered, in which image-level labels tell only part of the story.

Every object is a plain body with a telling part, a badge in two colours. The pair of colours decides the class:
8 colours make 56 pairs, which are dealt out to 5 classes at random, so that few examples do not show them all.
Bodies look the same in all classes, and like the clutter, which has no badge and is background. A classifier trained on
image-level labels therefore looks at the badge, and its activation maps miss the body or overshoot it: weak labels
that are many and err in a systematic way, beside strong ones that are few and right.
The set was designed to have the paper's conflict in small; it is no evidence about PASCAL VOC.

in: a seed and an index -> out: an image (H, W, 3) uint8 RGB and its mask (H, W) uint8 with the 255 border
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from swdb.data.facts import Facts, Fault
from swdb.data.voc import IGNORE, LAYOUT, palette
from swdb.specs.presets import Data

DRAWING_VERSION = 1  # raised by hand whenever the same seed would draw another scene

CLASSES = ("background", "alpha", "beta", "gamma", "delta", "epsilon")
BADGE_RADIUS = (5.0, 7.0)  # where [data] says nothing of it
PRETEXT_DEAL = 1  # the world that the initial weights come from: the same badges mean other classes


@dataclass(frozen=True, slots=True)
class Scene:
    """How difficult the scenes are. Lengths are in pixels of a 64-pixel image and grow with `size`."""

    size: int = 64  # pixels, square
    max_objects: int = 3  # at least 1
    max_clutter: int = 2  # bodies without a badge, drawn first
    body_radius: tuple[float, float] = (7.0, 12.0)
    badge_radius: tuple[float, ...] = BADGE_RADIUS
    num_colours: int = 8  # of which a badge shows two different ones
    deal: int = 0  # which random dealing of colour pairs to classes
    noise: float = 10.0  # standard deviation in grey levels


def scene_of(settings: Data, deal: int = 0) -> Scene:
    """Return the scenes that [data] asks for."""
    return Scene(size=settings.image_size, badge_radius=settings.badge_radius or BADGE_RADIUS, deal=deal)


def draw(seed: int, index: int, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Draw one scene; the same (seed, index, scene) always gives the same one.

    Returns the image, (size, size, 3) uint8 RGB, and the mask, (size, size) uint8 with 0..5 and 255.
    """
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, index]))
    size = scene.size
    image = _background(rng, size)
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(0, scene.max_clutter + 1)):
        body = _body(rng, scene)
        _paint(image, body, _plain(rng, size))
    for _ in range(rng.integers(1, scene.max_objects + 1)):
        label = int(rng.integers(1, len(CLASSES)))
        body = _free_body(rng, mask, scene)
        _draw_object(rng, image, mask, label, body, scene)
    image += rng.normal(0, scene.noise, image.shape).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 0.5)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _draw_object(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, label: int, body: np.ndarray, scene: Scene
) -> None:
    """Paint a body with its badge over what is there, and its label with a border of one pixel into the mask."""
    _paint(image, body, _plain(rng, scene.size))
    whole = body | _paint_badge(rng, image, body, label, scene)
    border = cv2.dilate(whole, np.ones((3, 3), np.uint8)) - whole
    mask[whole > 0] = label
    mask[border > 0] = IGNORE


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Smooth colours with a little grain, (size, size, 3) float32."""
    coarse = rng.uniform(30, 120, (5, 5, 1)).astype(np.float32) + rng.uniform(-20, 20, (5, 5, 3)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _plain(rng: np.random.Generator, size: int) -> np.ndarray:
    """The texture of bodies and of clutter: one colour with slow shading, (size, size, 3) float32."""
    colour = (rng.uniform(130, 215) + rng.uniform(-30, 30, 3)).astype(np.float32)
    shade = cv2.resize(rng.normal(0, 12, (4, 4)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return colour + shade[..., None]


def _body(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """A smooth random blob, (size, size) uint8 of 0 and 1."""
    size, unit = scene.size, scene.size / 64
    radius = rng.uniform(*scene.body_radius) * unit
    centre = rng.uniform(0.18 * size, 0.82 * size, 2)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    stretch = rng.uniform(0.65, 1.0)
    wobble = 1 + sum(rng.normal(0, 0.10) * np.cos(k * angles + rng.uniform(0, 6.28)) for k in (2, 3, 4))
    turn = rng.uniform(0, np.pi)
    x, y = radius * wobble * np.cos(angles), radius * stretch * wobble * np.sin(angles)
    points = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1) + centre
    blob = np.zeros((size, size), np.uint8)
    cv2.fillPoly(blob, [np.round(points).astype(np.int32)], 1)
    return blob


def _free_body(rng: np.random.Generator, mask: np.ndarray, scene: Scene) -> np.ndarray:
    """A blob that hides little of what is drawn already: the first of a few tries, else the last."""
    for _ in range(6):
        body = _body(rng, scene)
        if (mask[body > 0] > 0).mean() < 0.15:
            break
    return body


def _paint_badge(rng: np.random.Generator, image: np.ndarray, body: np.ndarray, label: int, scene: Scene) -> np.ndarray:
    """Paint a badge in two colours whose centre lies on the body; return where, (size, size) uint8 of 0 and 1."""
    ys, xs = np.nonzero(body)
    k = rng.integers(len(xs))
    centre = int(xs[k]), int(ys[k])
    radius = rng.uniform(*scene.badge_radius) * scene.size / 64
    pairs = badges(scene.num_colours, scene.deal)[label - 1]
    outer, inner = pairs[rng.integers(len(pairs))]
    where = np.zeros_like(body)
    for hue, length in ((outer, radius), (inner, 0.55 * radius)):
        disc = np.zeros_like(body)
        cv2.circle(disc, centre, round(length), 1, -1)
        _paint(image, disc, np.broadcast_to(_saturated(rng, hue / scene.num_colours), image.shape))
        where |= disc
    return where


@cache
def badges(num_colours: int, deal: int) -> list[list[tuple[int, int]]]:
    """Deal all ordered pairs of two different colours out to the classes, in a fixed random order."""
    pairs = [(a, b) for a in range(num_colours) for b in range(num_colours) if a != b]
    order = np.random.Generator(np.random.Philox(key=deal)).permutation(len(pairs))
    num_classes = len(CLASSES) - 1
    return [[pairs[k] for k in order[c::num_classes]] for c in range(num_classes)]


def _saturated(rng: np.random.Generator, hue: float) -> np.ndarray:
    """A saturated colour, (3,) float32 RGB in 0..255; hue in 0..1 with a little jitter."""
    hue = (hue + rng.normal(0, 0.012)) % 1
    hsv = np.array([[[hue * 360, rng.uniform(0.8, 1), rng.uniform(0.75, 1)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255


def _paint(image: np.ndarray, where: np.ndarray, texture: np.ndarray) -> None:
    image[where > 0] = texture[where > 0]


# ---------------------------------------------------------------- facts

# Scenes are drawn in floating point: another version of OpenCV, or another processor, may round a pixel another way.
PUBLISHED = {
    # presets synthetic and synthetic-small-badges
    "51bd5e7b41acd399930120d384824f7029d95f5c9481b272a0d2e758ee5c9c62": "4475c770e58cb6aa7331c2f0200c3f3c8bf83cc8bfefdee14e7ee81ac0d54261",
    "d61b8c022f270cdf0e5623910e937627e1667bd5b6637959dd5fe1d809ff874d": "f061c6849bd6b9839eeda2b1fcb90b6893a0d5db6cc16d36145c82d0790c24ba",
}


def _faults(settings: Data) -> Iterator[Fault]:
    """Yield what of [data] no drawn set can have."""
    if settings.num_classes != len(CLASSES):
        yield Fault("num_classes", f"found {settings.num_classes}", f"{len(CLASSES)}, as drawn")
    for key in ("classes", "require", "available_only", "holdout"):
        if value := getattr(settings, key):
            yield Fault(key, f"found {value}", "none: a synthetic data set has no parts")


SCENES = Facts(
    kind="synthetic",
    title="synthetic scenes",
    classes=CLASSES,
    palette=palette(),
    layout=LAYOUT,
    faults=_faults,
    synthetic=True,
    version={"drawing": DRAWING_VERSION},
    published=PUBLISHED,
)
