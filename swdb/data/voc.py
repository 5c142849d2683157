"""Facts of PASCAL VOC 2012: classes, palette, the void value, where the files lie.

Sources: the VOC 2012 development kit; folder and list names as in the official archive, and
`SegmentationClassAug` / `train_aug` as in the lists that go with the SBD masks.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

IGNORE = 255  # the void value: the border around objects and what nobody labelled
MAX_CLASS = 20

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

# Splits and how many images the paper's data set has in each.
STRONG_SPLIT = "train"  # 1,464 images with pixel masks: the "1.4k strong"
ALL_SPLIT = "train_aug"  # 10,582 images: the strong ones and the 9,118 that SBD adds
VAL_SPLIT = "val"  # 1,449 images
OFFICIAL_COUNTS = {STRONG_SPLIT: 1464, ALL_SPLIT: 10582, VAL_SPLIT: 1449}
OFFICIAL_LISTS = {  # files.digest of the sorted ids: the development kit's own, and the augmented list in common use
    STRONG_SPLIT: "0dbe5015b4682dfd6fd1ec1c953ca4c23d0d008e643e1140e907696a227a5e2d",
    ALL_SPLIT: "91a7dcef8fa9f41b8d860d43c35c013f7cac45611260c9ad0f9849bb002a789c",
    VAL_SPLIT: "f32f91e8247a8f1cf8737e3ecdb317c945ed9442c6a1dd11f4b9ddf5ed694b32",
}


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


def devkit(root: Path) -> Path:
    """Return the folder of the official layout below a data set's root."""
    return root / "VOCdevkit" / "VOC2012"


def image_path(root: Path, image_id: str) -> Path:
    """Return the path of one image (JPEG)."""
    return devkit(root) / "JPEGImages" / f"{image_id}.jpg"


def mask_path(root: Path, image_id: str, split: str) -> Path:
    """Return the path of one true mask: VOC's own for val, the augmented set's for training."""
    folder = "SegmentationClass" if split == VAL_SPLIT else "SegmentationClassAug"
    return devkit(root) / folder / f"{image_id}.png"


def split_path(root: Path, split: str) -> Path:
    """Return the path of one list of image ids."""
    return devkit(root) / "ImageSets" / "Segmentation" / f"{split}.txt"
