"""A small unpacked tree in the official layout of VOC 2012, built by hand for tests of importing and decoding."""

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse
from PIL import Image

from swdb.data.voc import CLASSES, palette
from swdb.specs.presets import Data

TRAIN = ["2007_000001", "2007_000002"]
TRAIN_AUG = [*TRAIN, "2008_000003", "2008_000004"]
VAL = ["2007_000005", "2007_000006"]
SIZES = [(20, 16), (12, 24), (24, 24), (9, 7), (16, 20), (10, 10)]  # (height, width) in the order of all images
DATA = Data(dataset="voc", name="mini", num_classes=21, num_strong=2, num_train=4, num_val=2, image_size=24)


def kit(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2012"


def image_file(root: Path, image_id: str) -> Path:
    return kit(root) / "JPEGImages" / f"{image_id}.jpg"


def mask_file(root: Path, image_id: str) -> Path:
    """Where an image's mask lies in the tree: VOC's own for train and val, SBD's for the others."""
    own = image_id in TRAIN + VAL
    return kit(root) / ("SegmentationClass" if own else "SegmentationClassAug") / f"{image_id}.png"


def prepared_mask(root: Path, image_id: str) -> Path:
    """Where an image's mask lies in a prepared data set: one folder for training, one for val."""
    return kit(root) / ("SegmentationClass" if image_id in VAL else "SegmentationClassAug") / f"{image_id}.png"


def boxes_file(root: Path, image_id: str) -> Path:
    return kit(root) / "Annotations" / f"{image_id}.xml"


def save_boxes(path: Path, names: list[str]) -> None:
    """Save what an import reads of a VOC annotation, with a part of a body that is not a class."""
    objects = "".join(f"<object><name>{name}</name><part><name>head</name></part></object>" for name in names)
    path.write_text(f"<annotation><folder>VOC2012</folder>{objects}</annotation>")


def list_file(root: Path, split: str) -> Path:
    return kit(root) / "ImageSets" / "Segmentation" / f"{split}.txt"


def save_mask(path: Path, labels: np.ndarray) -> None:
    """Save labels as a palette PNG, through Pillow alone; what was there is replaced, not changed in place."""
    path.unlink(missing_ok=True)
    mask = Image.fromarray(labels.astype(np.uint8))
    mask.putpalette(palette().tobytes())
    mask.save(path)


def save_image(path: Path, height: int, width: int, seed: int = 0) -> None:
    """Save a smooth image of random colours."""
    path.unlink(missing_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=95)


def build(root: Path) -> Path:
    """Build the tree: four training and two val images of different sizes; masks hold 0 to 5 and 255."""
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation", "Annotations"):
        (kit(root) / folder).mkdir(parents=True)
    for seed, (image_id, (height, width)) in enumerate(zip(TRAIN_AUG + VAL, SIZES, strict=True)):
        save_image(image_file(root, image_id), height, width, seed)
        labels = np.zeros((height, width))
        labels[2:6, 1:6] = 255
        labels[3:5, 2:5] = 1 + seed % 5
        labels[-1, -1] = 5
        save_mask(mask_file(root, image_id), labels)
        save_boxes(boxes_file(root, image_id), [CLASSES[label] for label in sorted({1 + seed % 5, 5})])
    for split, ids in (("train", TRAIN), ("train_aug", TRAIN_AUG), ("val", VAL)):
        list_file(root, split).write_text("".join(f"{image_id}\n" for image_id in ids))
    return root


# ---------------------------------------------------------------- as published: VOC 2012 and SBD, whole and packed

NAMES = {"voc": "VOCtrainval_11-May-2012.tar", "sbd": "benchmark.tgz"}


def mat_file(folder: Path, image_id: str) -> Path:
    return folder / "benchmark_RELEASE" / "dataset" / "cls" / f"{image_id}.mat"


def aug_file(folder: Path, image_id: str) -> Path:
    return folder / "SegmentationClassAug" / f"{image_id}.png"


def save_mat(path: Path, labels: np.ndarray) -> None:
    """Save labels as SBD does: GTcls, a struct of boundaries, labels and the classes that are there."""
    labels = labels.astype(np.uint8)
    boundaries = np.empty((20, 1), object)
    for k in range(20):
        boundaries[k, 0] = scipy.sparse.csc_matrix((labels == k + 1).astype(float))
    present = np.array([[label] for label in np.unique(labels) if label], np.uint8)
    truth = {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": present}
    scipy.io.savemat(path, {"GTcls": truth}, do_compression=True)


def build_official(folder: Path) -> Path:
    """Build VOC 2012 and SBD as they are published, side by side: unpacked, packed, and as others converted SBD.

    SBD has masks for VOC's own ids, too, of class 7 all over: whoever imports one of those has imported a wrong one.
    """
    build(folder)
    list_file(folder, "train_aug").unlink()
    list_file(folder, "trainval").write_text("".join(f"{image_id}\n" for image_id in sorted(TRAIN + VAL)))
    (kit(folder) / "SegmentationClassAug").rename(folder / "SegmentationClassAug")
    for part in ("cls", "inst", "img"):
        (folder / "benchmark_RELEASE" / "dataset" / part).mkdir(parents=True)
    for image_id, (height, width) in zip(TRAIN_AUG + VAL, SIZES, strict=True):
        labels = np.full((height, width), 7)
        if image_id not in TRAIN + VAL:
            labels = np.array(Image.open(aug_file(folder, image_id)))
            labels[labels == 255] = 0  # SBD knows no void
        save_mat(mat_file(folder, image_id), labels)
        save_mat(mat_file(folder, image_id).parent.with_name("inst") / f"{image_id}.mat", labels)
        mat_file(folder, image_id).parent.with_name("img").joinpath(f"{image_id}.jpg").write_bytes(b"SBD's own copy")
        save_mask(aug_file(folder, image_id), labels)
    for split, ids in (("train", [TRAIN[0], *TRAIN_AUG[2:]]), ("val", [VAL[0], TRAIN[1], VAL[1]])):
        mat_file(folder, "").parent.with_name(f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids))
    pack(folder)
    return folder


def pack(folder: Path) -> None:
    """Pack what `build_official` built: the two official archives and a zip of the converted masks."""
    for key, mode, top in (("voc", "w", "VOCdevkit"), ("sbd", "w:gz", "benchmark_RELEASE")):
        with tarfile.open(folder / NAMES[key], mode) as archive:
            archive.add(folder / top, top)
    with zipfile.ZipFile(folder / "SegmentationClassAug.zip", "w") as archive:
        for path in sorted((folder / "SegmentationClassAug").iterdir()):
            archive.write(path, path.relative_to(folder))
