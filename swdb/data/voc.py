"""Facts of PASCAL VOC 2012: classes, palette, the void value, where the files lie.

Sources: the VOC 2012 development kit; folder and list names as in the official archive, and
`SegmentationClassAug` / `train_aug` as in the lists that go with the SBD masks.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from swdb.core.errors import unknown
from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT, VAL_SPLIT, Facts, Fault, Layout, Official
from swdb.specs.presets import Data

IGNORE = 255  # the void value of masks, here and everywhere: the border around objects and what nobody labelled
MAX_CLASS = 20

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

DEVKIT = "VOCdevkit/VOC2012"
LAYOUT = Layout(
    images=f"{DEVKIT}/JPEGImages/{{}}.jpg",
    masks={  # VOC's own for val, the augmented set's for training
        VAL_SPLIT: f"{DEVKIT}/SegmentationClass/{{}}.png",
        STRONG_SPLIT: f"{DEVKIT}/SegmentationClassAug/{{}}.png",
        ALL_SPLIT: f"{DEVKIT}/SegmentationClassAug/{{}}.png",
    },
    lists=f"{DEVKIT}/ImageSets/Segmentation/{{}}.txt",
)
OFFICIAL = Official(
    counts={STRONG_SPLIT: 1464, ALL_SPLIT: 10582, VAL_SPLIT: 1449},
    digests={  # files.digest of the sorted ids: the development kit's own, and the augmented list in common use
        STRONG_SPLIT: "0dbe5015b4682dfd6fd1ec1c953ca4c23d0d008e643e1140e907696a227a5e2d",
        ALL_SPLIT: "91a7dcef8fa9f41b8d860d43c35c013f7cac45611260c9ad0f9849bb002a789c",
        VAL_SPLIT: "f32f91e8247a8f1cf8737e3ecdb317c945ed9442c6a1dd11f4b9ddf5ed694b32",
    },
)


def palette() -> np.ndarray:
    """Return the VOC colour map, (256, 3) uint8 RGB: the bits of the label, spread from the top down."""
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((labels >> (3 * bit + channel)) & 1).astype(np.uint8) << (7 - bit)
    return colours


def kept_labels(classes: Sequence[str]) -> np.ndarray | None:
    """Return what VOC's labels become where only some classes are kept, (256,) uint8: the others become void."""
    if not classes:
        return None
    table = np.full(256, IGNORE, np.uint8)
    table[0] = 0
    for label, name in enumerate(classes, start=1):
        table[CLASSES.index(name)] = label
    return table


def _faults(settings: Data) -> Iterator[Fault]:
    """Yield what of [data] no part of VOC can have."""
    for key, names, known in (
        ("classes", settings.classes, CLASSES[1:]),
        ("require", settings.require, settings.classes or CLASSES[1:]),
    ):
        for name in names:
            if name not in known:
                refused = unknown("class", name, known)
                yield Fault(key, f"unknown class {name!r}", refused.expected, refused.near)
    kept = len(settings.classes) + 1 if settings.classes else len(CLASSES)
    if settings.num_classes > len(CLASSES) or (settings.classes and settings.num_classes != kept):
        yield Fault("num_classes", f"found {settings.num_classes}", f"{kept}, background included")
    if settings.badge_radius:
        yield Fault("badge_radius", f"found {settings.badge_radius}", "none: photographs are not drawn")


VOC2012 = Facts(
    kind="voc",
    title="PASCAL VOC 2012",
    classes=CLASSES,
    palette=palette(),
    layout=LAYOUT,
    faults=_faults,
    official=OFFICIAL,
    bordered=(STRONG_SPLIT, VAL_SPLIT),  # all of VOC's own masks have one, none of SBD's
    own_masks="VOC's own masks from SegmentationClass, not SBD's",
)
