"""At which scale the tables run, as values: presets, read strictly from TOML.

in: `swdb/presets/*.toml` -> out: frozen dataclasses, or one error naming file and key

Every hyper-parameter has its one home here, with its unit, where it comes from and a status:
STATED (the paper, or those who quote it, say so), INFERRED (follows from something stated), UNKNOWN (our choice).
"""

import json
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from swdb import synthetic, voc
from swdb.errors import BadInput, nearest
from swdb.files import write_text
from swdb.strict import read_dataclass, read_toml

PACKAGE = Path(__file__).parent

STATED, INFERRED, UNKNOWN = "STATED", "INFERRED", "UNKNOWN"

Ranges = tuple[tuple[bool, str, str], ...]  # what must hold, of which key, and what is expected there


def knob(unit: str, status: str, why: str, late: bool = False, **options: Any) -> Any:
    """Declare a hyper-parameter of a preset: its unit, status and reason (or source); `late`: see `identity`."""
    return field(metadata={"unit": unit, "status": status, "why": why, "late": late}, **options)


def identity(values: Any) -> dict[str, Any]:
    """Return the values of a group of a preset as they enter ids.

    A late knob at its default stays out: a knob that is added leaves the ids of what was made before it as they are.
    """
    found = {knob.name: getattr(values, knob.name) for knob in fields(values)}
    late = {knob.name for knob in fields(values) if knob.metadata["late"] and found[knob.name] == knob.default}
    # as JSON would give them back, so that what is noted can be compared
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in found.items() if name not in late
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Which data set, and how large its lists must be."""

    dataset: str = knob("synthetic or voc", STATED, "Table 1's caption: PASCAL VOC val")
    name: str = knob("folder below data/", UNKNOWN, "a partial or redrawn data set gets a name of its own")
    num_classes: int = knob("classes with background", STATED, "VOC: 20 and background")
    num_strong: int = knob("images", INFERRED, "'1.4k strong' is VOC's train list of 1,464")
    num_train: int = knob(
        "images, strong ones included", INFERRED, "'10k' is train_aug, 10,582; '9k' is the rest, 9,118"
    )
    num_val: int = knob("images", INFERRED, "VOC's val list of 1,449")
    seed: int = knob("any whole number", UNKNOWN, "draws the synthetic data set; unused for photographs", default=0)
    image_size: int = knob("pixels, longest side", INFERRED, "VOC images are at most 500 pixels", default=500)
    classes: tuple[str, ...] = knob(
        "names; none: all", STATED, "VOC's 20; the others become void", late=True, default=()
    )
    require: tuple[str, ...] = knob(
        "names; none: any kept class", UNKNOWN, "an image must have one of these tags", late=True, default=()
    )
    available_only: bool = knob(
        "yes or no", UNKNOWN, "lists keep the images that are there: a partial VOC", late=True, default=False
    )
    holdout: int = knob(
        "strong images that stand for val", UNKNOWN, "settings are chosen on them, never on val", late=True, default=0
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """Backbone, neck and heads."""

    backbone: str = knob("small, squeezenet1_1 or vgg16", STATED, "Table 2: VGG16")
    weights: str = knob(
        "pretext, imagenet, imagenet-caffe, random or file", INFERRED, "pre-trained VGG16; which copy is not said"
    )
    neck_channels: int = knob("channels of the n shared layers", UNKNOWN, "VGG16's own width")
    head_channels: int = knob("channels of a branch's own layers", UNKNOWN, "DeepLab-LargeFOV's fc6 and fc7")
    head_dilation: int = knob("feature cells", UNKNOWN, "DeepLab-LargeFOV's fc6")
    dropout: float = knob("probability", UNKNOWN, "DeepLab-LargeFOV's fc6 and fc7")
    neck_spread: float = knob(
        "share of He's initial values",
        UNKNOWN,
        "neck layers begin as the identity plus this much noise, so that n=3 trains as stably as n=0",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One schedule for all rows of a preset."""

    steps: int = knob(
        "optimizer steps", INFERRED, "20 epochs [stated] of 10,582 images at batch 16, the same for all rows"
    )
    batch: int = knob("images", STATED, "16, quoted from the main paper by the CENG501 reproduction")
    crop: int = knob("pixels, square", STATED, "328, quoted as above")
    scale_min: float = knob("factor", UNKNOWN, "'random scaling'; the range is DeepLab's habit")
    scale_max: float = knob("factor", UNKNOWN, "as scale_min")
    lr_backbone: float = knob("Adam's step", STATED, "5e-6, quoted as above")
    lr_new: float = knob("Adam's step", STATED, "1e-4 for the newly added layers, quoted as above")
    warmup: int = knob("steps of a linear rise", UNKNOWN, "none is mentioned", default=0)
    clip_norm: float = knob("largest norm of all gradients, 0 for none", UNKNOWN, "none is mentioned", default=0.0)
    decay_at: float = knob("share of the steps", STATED, "12 of 20 epochs, quoted as above", default=0.6)
    decay_factor: float = knob("factor", STATED, "'decayed by a factor of ten', quoted as above", default=0.1)
    weight_decay: float = knob("per step, L2 in the gradient", STATED, "1e-4, quoted as above", default=1e-4)
    kl_weight: float = knob("factor", STATED, "equation 2: L_data + L_kl", default=1.0)
    strong_share: float = knob("share of a dual batch", UNKNOWN, "half from each branch's set", default=0.5)
    longest_side: int = knob(
        "pixels, 0: as they are",
        UNKNOWN,
        "pictures are shrunk to this for training and predicting; predictions are scored at full size",
        late=True,
        default=0,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxy:
    """How image-level labels become proxy masks."""

    method: str = knob(
        "cam or cues", INFERRED, "the paper uses DSRG; class activation maps and seed cues are its first step"
    )
    steps: int = knob("optimizer steps of the classifier, or of the network on cues", UNKNOWN, "enough to fit the tags")
    batch: int = knob("images", UNKNOWN, "")
    lr: float = knob("Adam's step", UNKNOWN, "")
    threshold: float = knob(
        "share of a map's maximum", UNKNOWN, "below it a pixel is background; SEC and DSRG take 0.2 for cues"
    )
    decay_at: float = knob("share of the steps", UNKNOWN, "", default=0.7)
    decay_factor: float = knob("factor", UNKNOWN, "", default=0.1)
    pretext_steps: int = knob(
        "optimizer steps", UNKNOWN, "training of the initial weights where they are made here", default=0
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How a branch's prediction is scored."""

    scales: tuple[float, ...] = knob("factors", UNKNOWN, "multi-scale testing is not mentioned", default=(1.0,))
    flip: bool = knob("yes or no", UNKNOWN, "not mentioned", default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A scale at which all tables run."""

    name: str
    title: str
    comparable: bool  # whether a difference to the paper's values means anything
    seeds: int
    data: Data
    network: Network
    training: Training
    proxy: Proxy
    evaluation: Evaluation


def write_preset(path: Path, preset: Preset) -> None:
    """Write a preset as TOML that `load_preset` reads."""
    groups = [group.name for group in fields(preset) if is_dataclass(getattr(preset, group.name))]
    lines = [f"{f.name} = {_toml(getattr(preset, f.name))}" for f in fields(preset) if f.name not in groups]
    for group in groups:
        values = getattr(preset, group)
        lines += ["", f"[{group}]", *(f"{f.name} = {_toml(getattr(values, f.name))}" for f in fields(values))]
    write_text(path, "\n".join(lines) + "\n")


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # texts, numbers and yes or no are written alike


def preset_names() -> list[str]:
    """List the presets that can be named."""
    return sorted(path.stem for path in (PACKAGE / "presets").glob("*.toml"))


def load_preset(name: str) -> Preset:
    """Read a preset by its name, or from a TOML file of the user's."""
    path = Path(name) if name.endswith(".toml") else PACKAGE / "presets" / f"{name}.toml"
    if not path.is_file():
        raise BadInput(f"unknown preset {name!r}; {nearest(name, preset_names())}")
    preset = read_dataclass(Preset, read_toml(path), path.name)
    _check_ranges(preset, path.name)
    return preset


def _check_ranges(preset: Preset, where: str) -> None:
    """Refuse values that no run could be made with."""
    data = preset.data
    words = (
        ("data.dataset", data.dataset, ("synthetic", "voc")),
        ("network.backbone", preset.network.backbone, ("small", "squeezenet1_1", "vgg16")),
        ("network.weights", preset.network.weights, ("pretext", "imagenet", "imagenet-caffe", "random", "file")),
        ("proxy.method", preset.proxy.method, ("cam", "cues")),
        *(("data.classes", name, voc.CLASSES[1:]) for name in data.classes),
        *(("data.require", name, data.classes or voc.CLASSES[1:]) for name in data.require),
    )
    for key, word, known in words:
        if word not in known:
            raise BadInput(f"{where}: key {key!r}: unknown {word!r}; {nearest(word, known)}")
    for holds, key, expected in (*_data_ranges(preset), *_training_ranges(preset)):
        if not holds:
            raise BadInput(f"{where}: key {key!r} is out of range; expected {expected}")


def _data_ranges(preset: Preset) -> Ranges:
    """Return what must hold of the data set and the network, the key that says it, and what is expected."""
    data, network = preset.data, preset.network
    photographs, num_kept, drawn = data.dataset == "voc", len(data.classes) + 1, len(synthetic.CLASSES)
    subset = data.classes or data.require or data.available_only or data.holdout
    return (
        (data.name not in ("", ".", "..") and "/" not in data.name, "data.name", "a folder's name"),
        (data.image_size > 0, "data.image_size", "1 or more"),
        (2 <= data.num_classes <= 21, "data.num_classes", "2 to 21"),
        (photographs or data.num_classes == drawn, "data.num_classes", f"{drawn}, as drawn"),
        (not data.classes or data.num_classes == num_kept, "data.num_classes", f"{num_kept}, as data.classes says"),
        (len(set(data.classes)) == len(data.classes), "data.classes", "every name once"),
        (photographs or not subset, "data.classes", "none, nor another part, of a drawn data set"),
        (0 < data.num_strong <= data.num_train, "data.num_strong", "1 to data.num_train"),
        (data.num_val > 0, "data.num_val", "1 or more"),
        (data.holdout in (0, data.num_val), "data.holdout", "0 or data.num_val"),
        (0 <= network.dropout < 1, "network.dropout", "0 to below 1"),
        (network.neck_channels > 0, "network.neck_channels", "1 or more"),
        (network.head_dilation > 0, "network.head_dilation", "1 or more"),
        (network.weights != "pretext" or not photographs, "network.weights", "another than pretext"),
    )


def _training_ranges(preset: Preset) -> Ranges:
    """Return what must hold of the schedules, the key that says it, and what is expected."""
    training, proxy = preset.training, preset.proxy
    both = "between 0 and 1, so that both branches get images of each batch"
    return (
        (training.steps > 0, "training.steps", "1 or more"),
        (training.batch >= 2 and training.batch % 2 == 0, "training.batch", "an even number, 2 or more"),
        (training.crop >= 16, "training.crop", "16 or more"),
        (0 < training.scale_min <= training.scale_max, "training.scale_min", "above 0 and at most training.scale_max"),
        (1 <= round(training.batch * training.strong_share) < training.batch, "training.strong_share", both),
        (training.lr_backbone > 0, "training.lr_backbone", "above 0"),
        (training.lr_new > 0, "training.lr_new", "above 0"),
        (training.warmup >= 0, "training.warmup", "0 or more"),
        (0 <= training.decay_at <= 1, "training.decay_at", "0 to 1"),
        (training.longest_side >= 0, "training.longest_side", "0 or more"),
        (proxy.steps > 0, "proxy.steps", "1 or more"),
        (proxy.batch > 0, "proxy.batch", "1 or more"),
        (proxy.lr > 0, "proxy.lr", "above 0"),
        (preset.seeds > 0, "seeds", "1 or more"),
        (all(scale > 0 for scale in preset.evaluation.scales), "evaluation.scales", "factors above 0"),
    )
