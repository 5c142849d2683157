"""At which scale the tables run, as values: presets, read strictly from TOML.

in: `swdb/specs/presets/*.toml` -> out: frozen dataclasses, or one error naming file and key

Every hyper-parameter has its one home here, with its unit, where it comes from and a status:
STATED (the paper, or those who quote it, say so), INFERRED (follows from something stated), UNKNOWN (our choice).
"""

import json
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from swdb.core.errors import BadInput, nearest
from swdb.core.files import write_text
from swdb.data import synthetic, voc
from swdb.specs.crf_parameters import CRF_SETS
from swdb.specs.toml import read_dataclass, read_toml

PACKAGE = Path(__file__).parents[1]

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
    """Where seed cues come from: a classifier's activation maps, or a published file."""

    cues: str = knob("classifier or file", INFERRED, "the paper takes DSRG, whose cues are published: CAM and DRFI")
    steps: int = knob("optimizer steps of the classifier", UNKNOWN, "enough to fit the tags")
    batch: int = knob("images", UNKNOWN, "")
    lr: float = knob("Adam's step", UNKNOWN, "")
    threshold: float = knob("share of a map's maximum", INFERRED, "above it a cell is a cue; SEC and DSRG take 0.2")
    decay_at: float = knob("share of the steps", UNKNOWN, "", default=0.7)
    decay_factor: float = knob("factor", UNKNOWN, "", default=0.1)
    pretext_steps: int = knob(
        "optimizer steps", UNKNOWN, "training of the initial weights where they are made here", default=0
    )
    cam_sizes: tuple[int, ...] = knob("pixels, square", UNKNOWN, "maps are averaged over these, mirrored too")
    background_share: float = knob(
        "share of the cells", INFERRED, "the least salient ones are background: SEC's localization.ipynb", default=0.1
    )
    saliency_threshold: float = knob(
        "share of white", INFERRED, "below it a given saliency map says background: DSRG, issue 24", default=0.06
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Dsrg:
    """Deep seeded region growing (Huang et al., CVPR 2018): a network on cues that grow, then a second round on its masks.

    "The paper takes DSRG" is all that it says; the values are those of DSRG's public code.
    """

    size: int = knob("pixels, square", INFERRED, "pictures are warped to it: train-s.prototxt")
    test_sizes: tuple[int, ...] = knob("pixels, square", INFERRED, "logits are summed over these: test-ms.py")
    dilations: tuple[int, ...] = knob("feature cells", INFERRED, "a head each, summed: train-s.prototxt")
    head_channels: int = knob("channels of a head's own layers", INFERRED, "fc6 and fc7: train-s.prototxt")
    dropout: float = knob("probability", INFERRED, "drop6 and drop7: train-s.prototxt")
    optimizer: str = knob("sgd (momentum 0.9) or adam", INFERRED, "solver-s.prototxt")
    steps: int = knob("optimizer steps", INFERRED, "solver-s.prototxt")
    batch: int = knob("images", INFERRED, "train-s.prototxt")
    lr_backbone: float = knob("the optimizer's step", INFERRED, "solver-s.prototxt")
    lr_new: float = knob("the optimizer's step", INFERRED, "for fc6 and fc7: solver-s.prototxt")
    lr_last: float = knob("the optimizer's step", INFERRED, "for fc8, lr_mult 10: train-s.prototxt")
    warmup: int = knob("steps of a linear rise", INFERRED, "none in solver-s.prototxt", default=0)
    decay_every: float = knob("share of the steps", INFERRED, "stepsize 1000 of 8000: solver-s.prototxt", default=0.125)
    decay_factor: float = knob("factor", INFERRED, "gamma: solver-s.prototxt", default=0.33)
    weight_decay: float = knob("per step, L2 in the gradient", INFERRED, "not for biases: solver-s.prototxt")
    clip_norm: float = knob("largest norm of all gradients, 0 for none", INFERRED, "none in the code", default=0.0)
    grow_foreground: float = knob("probability", INFERRED, "above it cues may grow: pylayers.py", default=0.85)
    grow_background: float = knob("probability", INFERRED, "as grow_foreground", default=0.99)
    crf: str = knob(
        "a set of parameters by name",
        INFERRED,
        "pylayers.py and test-ms.py; see swdb/specs/crf_parameters.py",
        default="dsrg",
    )
    tags_only: bool = knob(
        "yes or no", INFERRED, "masks keep background and the image's tags only; not in run.sh", default=False
    )
    retrain_steps: int = knob("optimizer steps", INFERRED, "solver-f.prototxt")
    retrain_batch: int = knob("images", INFERRED, "train-f.prototxt")
    retrain_rate: float = knob("factor of the three steps", INFERRED, "1e-3 after 5e-4: solver-f.prototxt", default=2.0)
    retrain_power: float = knob("power of the poly schedule", INFERRED, "solver-f.prototxt", default=0.9)
    retrain_scales: tuple[float, ...] = knob(
        "factors", INFERRED, "test-ms-f.py, which keeps the aspect", default=(0.75, 1.0, 1.25)
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
    dsrg: Dsrg
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
    return sorted(path.stem for path in (PACKAGE / "specs" / "presets").glob("*.toml"))


def load_preset(name: str) -> Preset:
    """Read a preset by its name, or from a TOML file of the user's."""
    path = Path(name) if name.endswith(".toml") else PACKAGE / "specs" / "presets" / f"{name}.toml"
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
        ("proxy.cues", preset.proxy.cues, ("classifier", "file")),
        ("dsrg.optimizer", preset.dsrg.optimizer, ("sgd", "adam")),
        ("dsrg.crf", preset.dsrg.crf, CRF_SETS),
        *(("data.classes", name, voc.CLASSES[1:]) for name in data.classes),
        *(("data.require", name, data.classes or voc.CLASSES[1:]) for name in data.require),
    )
    for key, word, known in words:
        if word not in known:
            raise BadInput(f"{where}: key {key!r}: unknown {word!r}; {nearest(word, known)}")
    for holds, key, expected in (*_data_ranges(preset), *_training_ranges(preset), *_proxy_ranges(preset)):
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
    training = preset.training
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
        (training.weight_decay >= 0, "training.weight_decay", "0 or more"),
        (training.longest_side >= 0, "training.longest_side", "0 or more"),
        (preset.seeds > 0, "seeds", "1 or more"),
        (all(scale > 0 for scale in preset.evaluation.scales), "evaluation.scales", "factors above 0"),
    )


def _proxy_ranges(preset: Preset) -> Ranges:
    """Return what must hold of cues and DSRG, the key that says it, and what is expected."""
    proxy, dsrg = preset.proxy, preset.dsrg
    sizes = "one or more sizes of 16 pixels or more"
    return (
        (proxy.steps > 0, "proxy.steps", "1 or more"),
        (proxy.batch > 0, "proxy.batch", "1 or more"),
        (proxy.lr > 0, "proxy.lr", "above 0"),
        (0 < proxy.threshold < 1, "proxy.threshold", "between 0 and 1"),
        (bool(proxy.cam_sizes) and min(proxy.cam_sizes) >= 16, "proxy.cam_sizes", sizes),
        (0 < proxy.background_share < 1, "proxy.background_share", "between 0 and 1"),
        (0 < proxy.saliency_threshold < 1, "proxy.saliency_threshold", "between 0 and 1"),
        (dsrg.size >= 16, "dsrg.size", "16 or more"),
        (bool(dsrg.test_sizes) and min(dsrg.test_sizes) >= 16, "dsrg.test_sizes", sizes),
        (bool(dsrg.dilations) and min(dsrg.dilations) > 0, "dsrg.dilations", "one or more, each 1 or more"),
        (dsrg.head_channels > 0, "dsrg.head_channels", "1 or more"),
        (0 <= dsrg.dropout < 1, "dsrg.dropout", "0 to below 1"),
        (min(dsrg.steps, dsrg.batch) > 0, "dsrg.steps", "1 or more, and so dsrg.batch"),
        (min(dsrg.retrain_steps, dsrg.retrain_batch) > 0, "dsrg.retrain_steps", "1 or more, and so dsrg.retrain_batch"),
        (
            min(dsrg.lr_backbone, dsrg.lr_new, dsrg.lr_last) > 0,
            "dsrg.lr_new",
            "above 0, and so lr_backbone and lr_last",
        ),
        (dsrg.warmup >= 0, "dsrg.warmup", "0 or more"),
        (dsrg.decay_every > 0, "dsrg.decay_every", "above 0"),
        (dsrg.decay_factor > 0, "dsrg.decay_factor", "above 0"),
        (min(dsrg.weight_decay, dsrg.clip_norm) >= 0, "dsrg.weight_decay", "0 or more, and so dsrg.clip_norm"),
        (min(dsrg.retrain_rate, dsrg.retrain_power) > 0, "dsrg.retrain_rate", "above 0, and so dsrg.retrain_power"),
        (0 < dsrg.grow_foreground < 1, "dsrg.grow_foreground", "between 0 and 1"),
        (0 < dsrg.grow_background < 1, "dsrg.grow_background", "between 0 and 1"),
        (bool(dsrg.retrain_scales) and min(dsrg.retrain_scales) > 0, "dsrg.retrain_scales", "factors above 0"),
    )
