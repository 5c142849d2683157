"""At which scale the tables run, as values: presets, read strictly from TOML.

in: `swdb/specs/presets/*.toml` -> out: frozen dataclasses, or one error naming file and key

Every hyper-parameter has its one home here, with unit, status, source and range (see `settings.py`). What depends on the
kind of data set (its classes, which parts of it there can be) is checked where the data set's facts are: `data/kinds.py`.
"""

import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from swdb.core.errors import BadInput, unknown
from swdb.core.files import digest, write_text
from swdb.specs.decoupled import Decoupled
from swdb.specs.dsrg import Dsrg
from swdb.specs.settings import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_16,
    BATCH,
    BETWEEN_0_AND_1,
    CHANNELS,
    DECAY,
    DILATION,
    EVEN,
    FOLDER_NAME,
    IMAGES,
    INFERRED,
    PROBABILITY,
    RADIUS,
    SCALE,
    SEEDS,
    SHARE,
    SIDE_OR_0,
    STATED,
    UNIQUE,
    UNKNOWN,
    Check,
    each,
    fingerprint,
    one_of,
    setting,
)
from swdb.specs.toml import read_dataclass, read_toml

PRESETS = Path(__file__).parent / "presets"
PRECISIONS = ("fp32", "bf16")
COMPILERS = ("", "inductor", "aot_eager")
BACKBONES = ("small", "squeezenet1_1", "vgg16", "efficientnet_lite0", "efficientnet_lite0_stride8")
NECK_INITS, KL_MEANS = ("identity", "first-random", "random"), ("pixels", "pixels-and-classes")
NUM_CLASSES = Check(lambda value: 2 <= value <= 254, "2 to 254")


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Which data set, and how large its lists must be."""

    dataset: str = setting("synthetic or voc", STATED, "Table 1's caption: PASCAL VOC val")
    name: str = setting(
        "folder below data/", UNKNOWN, "a partial or redrawn data set gets a name of its own", FOLDER_NAME
    )
    num_classes: int = setting("classes with background", STATED, "VOC: 20 and background", NUM_CLASSES)
    num_strong: int = setting("images", INFERRED, "'1.4k strong' is VOC's train list of 1,464", IMAGES)
    num_train: int = setting(
        "images, strong ones included", INFERRED, "'10k' is train_aug, 10,582; '9k' is the rest, 9,118", IMAGES
    )
    num_val: int = setting("images", INFERRED, "VOC's val list of 1,449", IMAGES)
    seed: int = setting(
        "any whole number", UNKNOWN, "draws the synthetic data set; unused for real images", AT_LEAST_0, default=0
    )
    image_size: int = setting(
        "pixels, longest side", INFERRED, "VOC images are at most 500 pixels", AT_LEAST_16, default=500
    )
    classes: tuple[str, ...] = setting(
        "names; none: all", STATED, "VOC's 20; the others become void", UNIQUE, omit_default=True, default=()
    )
    require: tuple[str, ...] = setting(
        "names; none: any kept class",
        UNKNOWN,
        "an image must have one of these tags",
        UNIQUE,
        omit_default=True,
        default=(),
    )
    available_only: bool = setting(
        "yes or no", UNKNOWN, "lists keep the images that are there: a partial VOC", omit_default=True, default=False
    )
    holdout: int = setting(
        "strong images that stand for val",
        UNKNOWN,
        "settings are chosen on them, never on val",
        AT_LEAST_0,
        omit_default=True,
        default=0,
    )
    badge_radius: tuple[float, ...] = setting(
        "pixels of a 64-pixel image, least and largest; none: 5 to 7",
        UNKNOWN,
        "of drawn scenes alone: how much of an object tells its class",
        RADIUS,
        omit_default=True,
        default=(),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """Backbone, neck and heads."""

    backbone: str = setting(
        "small, squeezenet1_1, vgg16, efficientnet_lite0 or efficientnet_lite0_stride8",
        STATED,
        "Table 2: VGG16",
        one_of(BACKBONES),
    )
    weights: str = setting(
        "pretext, imagenet, imagenet-caffe, imagenet-lite, random or file",
        INFERRED,
        "pre-trained VGG16; which copy is not said",
        one_of(("pretext", "imagenet", "imagenet-caffe", "imagenet-lite", "random", "file")),
    )
    neck_channels: int = setting("channels of the n shared layers", UNKNOWN, "VGG16's own width", CHANNELS)
    head_channels: int = setting(
        "channels of a branch's own layers", UNKNOWN, "DeepLab-LargeFOV's fc6 and fc7", CHANNELS
    )
    head_dilation: int = setting("features", UNKNOWN, "DeepLab-LargeFOV's fc6", DILATION)
    dropout: float = setting("probability", UNKNOWN, "DeepLab-LargeFOV's fc6 and fc7", PROBABILITY)
    neck_init_scale: float = setting(
        "share of He's initial values",
        UNKNOWN,
        "neck layers begin as the identity plus this much noise, so that n=3 trains as stably as n=0",
        AT_LEAST_0,
        formerly="neck_spread",
        tables=(3,),
    )
    neck_init: str = setting(
        "identity, first-random or random",
        UNKNOWN,
        "random: neck layers begin with He's values alone, as other new layers do; first-random: the first of them does, for "
        "behind linear features the identity and its ReLU lose all that is below 0",
        one_of(NECK_INITS),
        omit_default=True,
        tables=(3,),
        default="identity",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One schedule for all rows of a preset."""

    steps: int = setting(
        "optimizer steps",
        INFERRED,
        "20 epochs [stated] of 10,582 images at batch 16, the same for all rows",
        AT_LEAST_1,
    )
    batch: int = setting("images", STATED, "16, reported of the main paper by the CENG501 reproduction", EVEN)
    crop: int = setting("pixels, square", STATED, "328, reported as above", AT_LEAST_16)
    scale_min: float = setting("factor", UNKNOWN, "'random scaling'; the range is DeepLab's habit", SCALE)
    scale_max: float = setting("factor", UNKNOWN, "as scale_min", SCALE)
    lr_backbone: float = setting(
        "Adam's step", STATED, "5e-6, quoted from the main paper by the CENG501 reproduction", ABOVE_0
    )
    lr_new: float = setting("Adam's step", STATED, "1e-4 for the newly added layers, quoted as above", ABOVE_0)
    warmup: int = setting("steps of a linear rise", UNKNOWN, "none is mentioned", AT_LEAST_0, default=0)
    clip_norm: float = setting(
        "largest norm of all gradients, 0 for none", UNKNOWN, "none is mentioned", AT_LEAST_0, default=0.0
    )
    decay_at: float = setting("share of the steps", STATED, "12 of 20 epochs, quoted as above", SHARE, default=0.6)
    decay_factor: float = setting("factor", STATED, "'decayed by a factor of ten', quoted as above", DECAY, default=0.1)
    weight_decay: float = setting(
        "per step, L2 in the gradient", STATED, "1e-4, reported by the CENG501 reproduction", AT_LEAST_0, default=1e-4
    )
    kl_weight: float = setting("factor", STATED, "equation 2: L_data + L_kl", AT_LEAST_0, default=1.0)
    kl_mean: str = setting(
        "pixels or pixels-and-classes",
        UNKNOWN,
        "what 1/|s| of equation 1 counts; by pixels the sum over classes is not divided by their number",
        one_of(KL_MEANS),
        omit_default=True,
        tables=(2,),
        default="pixels",
    )
    strong_share: float = setting(
        "share of a dual batch", UNKNOWN, "half from each branch's set", BETWEEN_0_AND_1, tables=(2, 3, 4), default=0.5
    )
    longest_side: int = setting(
        "pixels, 0: as they are",
        UNKNOWN,
        "images are shrunk to this for training and predicting; predictions are scored at full size",
        SIDE_OR_0,
        omit_default=True,
        default=0,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxy:
    """Where seed cues come from: a classifier's activation maps, or a published file."""

    cues: str = setting(
        "classifier or file",
        INFERRED,
        "the paper takes DSRG, whose cues are published: CAM and DRFI",
        one_of(("classifier", "file")),
    )
    steps: int = setting("optimizer steps of the classifier", UNKNOWN, "enough to fit the tags", AT_LEAST_1)
    batch: int = setting("images", UNKNOWN, "", BATCH)
    lr: float = setting("Adam's step", UNKNOWN, "", ABOVE_0)
    threshold: float = setting(
        "share of a map's maximum", INFERRED, "above it a point is a cue; SEC and DSRG take 0.2", BETWEEN_0_AND_1
    )
    decay_at: float = setting("share of the steps", UNKNOWN, "", SHARE, default=0.7)
    decay_factor: float = setting("factor", UNKNOWN, "", DECAY, default=0.1)
    pretext_steps: int = setting(
        "optimizer steps", UNKNOWN, "training of the initial weights where they are made here", AT_LEAST_0, default=0
    )
    cam_sizes: tuple[int, ...] = setting(
        "pixels, square", UNKNOWN, "maps are averaged over these, mirrored too", each(AT_LEAST_16)
    )
    background_share: float = setting(
        "share of the grid",
        INFERRED,
        "the least salient points are background: SEC's localization.ipynb",
        BETWEEN_0_AND_1,
        default=0.1,
    )
    saliency_threshold: float = setting(
        "share of white",
        INFERRED,
        "below it a given saliency map says background: DSRG, issue 24",
        BETWEEN_0_AND_1,
        default=0.06,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How a branch's prediction is scored."""

    scales: tuple[float, ...] = setting(
        "factors", UNKNOWN, "multi-scale testing is not mentioned", each(SCALE), tables=(1, 2, 3, 4), default=(1.0,)
    )
    flip: bool = setting("yes or no", UNKNOWN, "not mentioned", tables=(1, 2, 3, 4), default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A scale at which all tables run."""

    name: str = setting("folder below reports/", UNKNOWN, "", FOLDER_NAME)
    title: str
    comparable: bool  # whether a difference to the paper's values means anything
    seeds: int = setting(
        "runs behind each cell, if nobody asks for others", UNKNOWN, "the paper does not say how many", SEEDS
    )
    precision: str = setting(
        "fp32, bf16 or auto",
        UNKNOWN,
        "auto: the first machine that trains in a work directory decides for it",
        one_of((*PRECISIONS, "auto")),
        default="auto",
    )
    compile: str = setting(
        "inductor, aot_eager or empty",
        UNKNOWN,
        "torch.compile's backend for what is trained; it changes the last digits, and so the ids",
        one_of(COMPILERS),
        omit_default=True,
        default="",
    )
    data: Data
    network: Network
    training: Training
    proxy: Proxy
    dsrg: Dsrg
    decouplednet: Decoupled
    evaluation: Evaluation

    @property
    def groups(self) -> dict[str, Any]:
        """The groups of settings by name: data, network, ..."""
        return {one.name: value for one in fields(self) if is_dataclass(value := getattr(self, one.name))}

    def digest(self) -> str:
        """Return the sha256 of all settings: two presets with one digest plan the same artefacts."""
        compiler = {"compile": self.compile} if self.compile else {}
        return digest({**{name: fingerprint(values) for name, values in self.groups.items()}, **compiler})


@dataclass(frozen=True)
class ClassifierTraining:
    """What a training of a classifier reads: the optimizer's settings, how crops are taken and gradients clipped."""

    steps: int
    batch: int
    lr: float
    decay_at: float
    decay_factor: float
    crop: int
    scale_min: float
    scale_max: float
    clip_norm: float
    longest_side: int


def classifier_training(preset: Preset, steps: int) -> ClassifierTraining:
    """Put together what a classifier is trained with, from [proxy] and [training]."""
    own = {name: getattr(preset.proxy, name) for name in ("batch", "lr", "decay_at", "decay_factor")}
    crops = ("crop", "scale_min", "scale_max", "clip_norm", "longest_side")
    return ClassifierTraining(steps=steps, **own, **{name: getattr(preset.training, name) for name in crops})


def write_preset(path: Path, preset: Preset) -> None:
    """Write a preset as TOML that `load_preset` reads."""
    write_text(path, as_toml(preset))


def as_toml(preset: Preset) -> str:
    """Return a preset as TOML."""
    lines = [f"{f.name} = {_toml(getattr(preset, f.name))}" for f in fields(preset) if f.name not in preset.groups]
    for group, values in preset.groups.items():
        lines += ["", f"[{group}]", *(f"{f.name} = {_toml(getattr(values, f.name))}" for f in fields(values))]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # JSON and TOML write text, numbers and booleans in the same way


def preset_names() -> list[str]:
    """List the presets that can be named."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def preset_path(name: str) -> Path:
    """Return the file of a preset that is called by its name or its file."""
    return Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"


def load_preset(name: str) -> Preset:
    """Read a preset by its name, or from a TOML file of the user's; only a file's path leads anywhere else."""
    known = preset_names()
    path = preset_path(name)
    if name.endswith(".toml") and not path.exists():
        raise BadInput(f"preset {name!r}", "no such file", ", ".join(known))
    if (not name.endswith(".toml") and name not in known) or not path.is_file():
        raise unknown("preset", name, known)
    preset = read_dataclass(Preset, read_toml(path), path.name)
    check_together(preset, path.name)
    return preset


def check_together(preset: Preset, where: str) -> None:
    """Refuse settings that are in their ranges, but do not go together."""
    data, training = preset.data, preset.training
    both = "a share with which both branches get images of each batch"
    from_strong = round(training.batch * training.strong_share)
    checks = (
        (data.num_strong <= data.num_train, "data.num_strong", data.num_strong, "at most data.num_train"),
        (data.holdout in (0, data.num_val), "data.holdout", data.holdout, "0 or data.num_val"),
        (
            training.scale_min <= training.scale_max,
            "training.scale_min",
            training.scale_min,
            "at most training.scale_max",
        ),
        (
            preset.dsrg.head_init == "random" or preset.network.backbone == "vgg16",
            "dsrg.head_init",
            preset.dsrg.head_init,
            "random: of the backbones vgg16 alone has an fc6 and an fc7",
        ),
        (training.warmup < training.steps, "training.warmup", training.warmup, "less than training.steps"),
        (preset.dsrg.warmup < preset.dsrg.steps, "dsrg.warmup", preset.dsrg.warmup, "less than dsrg.steps"),
        (1 <= from_strong < training.batch, "training.strong_share", training.strong_share, both),
        *preset.decouplednet.checks(preset.network.backbone),
    )
    for holds, key, found, expected in checks:
        if not holds:
            raise BadInput(f"{where}, key {key!r}", f"found {found}", expected)
