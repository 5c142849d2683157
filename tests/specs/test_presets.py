"""Presets: one home for every setting, strict reading, ranges."""

import dataclasses
import json
import math
import re
import shutil
import tomllib
import typing
from dataclasses import fields, replace
from pathlib import Path

import pytest
from conftest import TINY

from swdb.core.errors import BadInput
from swdb.core.files import digest
from swdb.data.dataset import data_key
from swdb.specs import presets
from swdb.specs.presets import PRESETS, Preset, classifier_training, load_preset, preset_names, write_preset
from swdb.specs.settings import ANY, fingerprint
from swdb.specs.toml import read_dataclass

SECTIONS = {
    "data": presets.Data,
    "network": presets.Network,
    "training": presets.Training,
    "proxy": presets.Proxy,
    "dsrg": presets.Dsrg,
    "decouplednet": presets.Decoupled,
    "evaluation": presets.Evaluation,
}
SETTINGS = {
    f"{group}.{one.name}": (group, one, typing.get_type_hints(section)[one.name])
    for group, section in SECTIONS.items()
    for one in dataclasses.fields(section)
}


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first `old` of a file, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refused(name: object) -> BadInput:
    """Return the error with which a preset is refused."""
    with pytest.raises(BadInput) as caught:
        load_preset(str(name))
    assert "\n" not in str(caught.value)
    return caught.value


def key_of(error: BadInput) -> str:
    """Return the setting that an error about mine.toml names: training.crop."""
    assert error.subject.startswith("mine.toml, key ")
    return ".".join(re.findall(r"key '([^']+)'", error.subject))


# ---------------------------------------------------------------- the presets that there are


def test_every_preset_file_loads_under_its_own_name():
    names = preset_names()
    assert names == [
        "synthetic", "synthetic-dev", "synthetic-small-badges", "voc", "voc-animals", "voc-animals-dev",
        "voc-animals-poor-proxies", "voc-animals-poor-proxies-dev", "voc-animals-squeezenet", "voc-animals-squeezenet-dev",
    ]  # fmt: skip
    assert [load_preset(name).name for name in names] == names


def test_the_voc_preset_has_the_paper_s_numbers():
    voc = load_preset("voc")
    data, training = voc.data, voc.training
    assert (data.num_classes, data.num_strong, data.num_train, data.num_val) == (21, 1464, 10582, 1449)
    assert (training.batch, training.crop, training.lr_backbone, training.lr_new) == (16, 328, 5e-6, 1e-4)
    assert (training.decay_at, training.decay_factor, training.weight_decay) == (12 / 20, 0.1, 1e-4)
    assert (training.steps - 1) * 16 < 20 * 10582 <= training.steps * 16  # 20 epochs, rounded up
    assert training.kl_weight == 1.0 and voc.network.backbone == "vgg16" and voc.comparable


def test_a_synthetic_data_set_is_never_compared_with_the_paper():
    assert not load_preset("synthetic").comparable and not load_preset("synthetic-dev").comparable


def test_the_development_preset_is_the_synthetic_one_but_for_its_names_and_its_seed():
    used, developed = load_preset("synthetic"), load_preset("synthetic-dev")
    assert (used.name, used.data.name, used.data.seed) != (developed.name, developed.data.name, developed.data.seed)
    # Choices made where val images were seen would not be choices: the two sets must differ.
    assert used.data.seed != developed.data.seed and used.data.name != developed.data.name
    renamed = replace(developed.data, name=used.data.name, seed=used.data.seed)
    assert replace(developed, name=used.name, title=used.title, data=renamed) == used


@pytest.mark.parametrize("name", ["voc-animals", "voc-animals-poor-proxies", "voc-animals-squeezenet"])
def test_the_animals_presets_differ_in_names_counts_and_what_is_held_out_alone(name):
    used, developed = load_preset(name), load_preset(f"{name}-dev")
    held = developed.data.holdout
    assert (used.data.holdout, held) == (0, developed.data.num_val) and held > 0
    # The images that settings are chosen on come from the train list: what is left is learnt from, val is not touched.
    assert developed.data.num_strong + held == used.data.num_strong
    assert developed.data.num_train + held == used.data.num_train
    assert used.data.name != developed.data.name and used.name != developed.name
    counts = {name: getattr(used.data, name) for name in ("name", "num_strong", "num_train", "num_val", "holdout")}
    renamed = replace(developed, name=used.name, title=used.title, data=replace(developed.data, **counts))
    assert renamed == used


@pytest.mark.parametrize("end", ["", "-dev"])
def test_the_animals_presets_of_both_backbones_share_their_data_set(end):
    lite, squeezenet = load_preset(f"voc-animals{end}"), load_preset(f"voc-animals-squeezenet{end}")
    assert lite.data == squeezenet.data and lite.data.name == f"voc-animals{end}"
    assert (lite.network.backbone, squeezenet.network.backbone) == ("efficientnet_lite0", "squeezenet1_1")


@pytest.mark.parametrize("end", ["", "-dev"])
def test_poor_proxies_are_all_that_differs_from_the_animals_of_that_backbone(end):
    """So both presets share the runs that learn from strong labels alone."""
    poor, other = load_preset(f"voc-animals-poor-proxies{end}"), load_preset(f"voc-animals{end}")
    dsrg = replace(poor.dsrg, steps=other.dsrg.steps, size=other.dsrg.size, test_sizes=other.dsrg.test_sizes)
    assert replace(poor, name=other.name, title=other.title, dsrg=dsrg) == other and poor.dsrg != other.dsrg


# ---------------------------------------------------------------- what every setting says of itself


def test_every_setting_has_a_unit_a_status_and_a_reason():
    assert len(SETTINGS) >= 65
    for name, (_, one, _) in SETTINGS.items():
        assert one.metadata.get("unit"), f"{name} has no unit"
        assert one.metadata.get("status") in ("STATED", "INFERRED", "UNKNOWN"), name
        # What is stated or inferred says where or why; our own choice may stand without.
        assert one.metadata["status"] == "UNKNOWN" or one.metadata["why"], f"{name} has no reason"


def test_every_setting_has_a_range():
    unchecked = {name for name, (_, one, hint) in SETTINGS.items() if one.metadata["check"] is ANY and hint is not bool}
    assert unchecked == {"data.dataset"}  # what kinds of data sets there are, data/kinds.py knows


def test_the_defaults_are_in_their_ranges():
    for name, (_, one, _) in SETTINGS.items():
        assert one.default is dataclasses.MISSING or one.metadata["check"].admits(one.default), name


def test_a_preset_has_no_settings_outside_its_sections():
    own = {one.name for one in dataclasses.fields(Preset)}
    assert own == {"name", "title", "comparable", "seeds", "precision", "compile", *SECTIONS}
    assert {name: type(values) for name, values in load_preset(TINY).groups.items()} == SECTIONS


# ---------------------------------------------------------------- what enters ids


def omitted(group: str) -> set[str]:
    """Name the settings of a group that stay out of ids at their defaults."""
    return {one.name for of, one, _ in SETTINGS.values() if of == group and one.metadata["omit_default"]}


def test_settings_that_were_added_later_are_marked_and_have_defaults():
    marked = {name for name, (_, one, _) in SETTINGS.items() if one.metadata["omit_default"]}
    assert marked == {
        "data.classes", "data.require", "data.available_only", "data.holdout", "training.longest_side",
        "network.neck_init", "training.kl_mean", "dsrg.crf_gradient",
        "dsrg.head_init", "data.badge_radius",
    }  # fmt: skip
    assert all(SETTINGS[name][1].default is not dataclasses.MISSING for name in marked)


@pytest.mark.parametrize("group", SECTIONS)
def test_what_was_added_later_stays_out_of_ids_at_its_default_and_all_else_is_in(group):
    values = load_preset(TINY).groups[group]
    assert fingerprint(values).keys() == {one.name for one in dataclasses.fields(values)} - omitted(group)


@pytest.mark.parametrize(
    ("group", "name", "value", "noted"),
    [
        ("data", "classes", ("cat", "dog"), ["cat", "dog"]),
        ("data", "require", ("cat",), ["cat"]),
        ("data", "available_only", True, True),
        ("data", "holdout", 7, 7),
        ("data", "badge_radius", (6.0, 8.5), [6.0, 8.5]),
        ("training", "longest_side", 250, 250),
    ],
)
def test_what_was_added_later_enters_ids_where_it_is_set(group, name, value, noted):
    values = load_preset("voc").groups[group]
    assert fingerprint(replace(values, **{name: value})) == fingerprint(values) | {name: noted}


@pytest.mark.parametrize("name", preset_names())
def test_what_enters_ids_is_as_json_gives_it_back(name):
    for group in load_preset(name).groups.values():
        assert json.loads(json.dumps(fingerprint(group))) == fingerprint(group)


def test_a_data_set_that_version_0_1_prepared_still_has_the_same_key():
    data = load_preset("synthetic-small-badges").data
    assert digest(data_key(data))[:16] == "d61b8c022f270cdf"


def test_what_enters_ids_does_not_change_by_accident():
    # Whatever changes one of these orphans what was made with it.
    digests = {name: digest(fingerprint(group))[:16] for name, group in load_preset("synthetic").groups.items()}
    assert digests == {
        "data": "1a5028514739bb24", "network": "3e7648b109b894d8", "training": "1111525e6b8eae05",
        "proxy": "734c79b33c28e464", "dsrg": "b4311a12cc0b7e7f", "decouplednet": "4904b7c382329f52",
        "evaluation": "993d575d553fe56c",
    }  # fmt: skip


def test_a_preset_s_digest_is_that_of_its_settings_alone():
    tiny = load_preset(TINY)
    renamed = replace(tiny, name="other", title="another", comparable=True, seeds=9, precision="bf16")
    assert renamed.digest() == tiny.digest()
    others = [
        replace(tiny, training=replace(tiny.training, steps=7)),
        replace(tiny, data=replace(tiny.data, holdout=6)),
        replace(tiny, dsrg=replace(tiny.dsrg, tags_only=True)),
        replace(tiny, evaluation=replace(tiny.evaluation, scales=(1.0, 1.25))),
    ]
    assert len({one.digest() for one in (tiny, *others)}) == 5


def test_a_classifier_is_trained_with_its_own_schedule_on_crops_as_any_training_takes_them():
    tiny = load_preset(TINY)
    training = replace(tiny.training, steps=6, batch=4, lr_new=0.25, clip_norm=2.0, longest_side=48)
    proxy = replace(tiny.proxy, batch=8, lr=0.125, decay_at=0.25, decay_factor=0.5)
    found = classifier_training(replace(tiny, training=training, proxy=proxy), 77)
    assert dataclasses.asdict(found) == {
        "steps": 77, "batch": 8, "lr": 0.125, "decay_at": 0.25, "decay_factor": 0.5,
        "crop": 32, "scale_min": 0.75, "scale_max": 1.3, "clip_norm": 2.0, "longest_side": 48,
    }  # fmt: skip


# ---------------------------------------------------------------- a preset of one's own


def test_an_unknown_preset_gets_the_nearest_name():
    error = refused("syntetic")
    assert (error.subject, error.found, error.near) == ("preset 'syntetic'", "unknown", "synthetic")


@pytest.mark.parametrize("name", ["zzz", "there-is-none.toml", "folder.toml"])
def test_a_preset_that_is_not_there_gets_all_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.toml").mkdir()
    error = refused(name)
    assert name in error.subject and error.expected == ", ".join(preset_names())


@pytest.fixture
def preset(tmp_path) -> Path:
    """A preset file that a test may edit."""
    return Path(shutil.copy(TINY, tmp_path / "mine.toml"))


def test_a_preset_can_be_a_file_of_one_s_own(preset):
    edit(preset, "steps = 6\nbatch = 4", "steps = 7\nbatch = 4")
    assert load_preset(str(preset)) == replace(load_preset(TINY), training=replace(load_preset(TINY).training, steps=7))


def test_scales_are_read_as_factors(preset):
    edit(preset, "[evaluation]", "[evaluation]\nscales = [0.75, 1, 1.25]")
    assert load_preset(str(preset)).evaluation.scales == (0.75, 1.0, 1.25)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_a_preset_may_decide_the_precision(preset, precision):
    assert load_preset(str(preset)).precision == "auto"
    edit(preset, "seeds = 2", f'seeds = 2\nprecision = "{precision}"')
    assert load_preset(str(preset)).precision == precision


def test_a_preset_may_have_what_is_trained_compiled_and_is_another_one_then(preset):
    before = load_preset(str(preset))
    edit(preset, "seeds = 2", 'seeds = 2\ncompile = "inductor"')
    after = load_preset(str(preset))
    assert (before.compile, after.compile) == ("", "inductor") and before.digest() != after.digest()


@pytest.mark.parametrize("name", [*preset_names(), TINY])
def test_a_preset_that_is_written_is_read_back(name, tmp_path):
    written = replace(load_preset(name), title='a "part" of it: \\ über, # 1')  # what TOML might trip over
    write_preset(tmp_path / "folder" / "mine.toml", written)
    assert load_preset(str(tmp_path / "folder" / "mine.toml")) == written


def test_a_written_preset_keeps_whatever_a_setting_can_hold(tmp_path):
    before = load_preset("voc-animals-dev")
    training = replace(before.training, lr_backbone=5e-6, lr_new=1e-17, steps=10**7, clip_norm=0.1 + 0.2)
    evaluation = replace(before.evaluation, scales=(0.75, 1.0, 1.25), flip=True)
    changed = replace(before, precision="bf16", training=training, evaluation=evaluation)
    write_preset(tmp_path / "mine.toml", changed)
    assert load_preset(str(tmp_path / "mine.toml")) == changed


# ---------------------------------------------------------------- mistakes

RADIUS = "none, or two values above 0, the least and the largest"
# A name for the mistake: what is replaced by what, the setting that the error names, what it found, what it expected.
MISTAKES = {
    "wrong type": ("crop = 32", 'crop = "32"', "training.crop", "'32'", "int"),
    "wrong type in a list": (
        "[evaluation]", "[evaluation]\nscales = [1.0, '2']", "evaluation.scales", "'2'", "float",
    ),
    "truth for a number": ("seeds = 2", "seeds = true", "seeds", "True", "int"),
    "section that is a list": ("[evaluation]", "[[evaluation]]", "evaluation", "[{}]", "a table of keys"),
    "more strong than training images": (
        "num_strong = 12", "num_strong = 33", "data.num_strong", "33", "at most data.num_train",
    ),
    "no strong images": ("num_strong = 12", "num_strong = 0", "data.num_strong", "0", "1 or more"),
    "no training images": ("num_train = 32", "num_train = 0", "data.num_train", "0", "1 or more"),
    "no val images": ("num_val = 6", "num_val = 0", "data.num_val", "0", "1 or more"),
    "one class": ("num_classes = 6", "num_classes = 1", "data.num_classes", "1", "2 to 254"),
    "more classes than labels": ("num_classes = 6", "num_classes = 255", "data.num_classes", "255", "2 to 254"),
    "a seed below nothing": ("num_val = 6", "num_val = 6\nseed = -1", "data.seed", "-1", "0 or more"),
    "no pixels": ("image_size = 32", "image_size = 0", "data.image_size", "0", "16 or more"),
    "less than nothing held out": ("num_val = 6", "num_val = 6\nholdout = -6", "data.holdout", "-6", "0 or more"),
    "more held out than val is": (
        "num_val = 6", "num_val = 6\nholdout = 7", "data.holdout", "7", "0 or data.num_val",
    ),
    "fewer held out than val is": (
        "num_val = 6", "num_val = 6\nholdout = 5", "data.holdout", "5", "0 or data.num_val",
    ),
    "a class twice": (
        "num_val = 6", 'num_val = 6\nclasses = ["cat", "cat"]', "data.classes", "['cat', 'cat']", "every name once",
    ),
    "a requirement twice": (
        "num_val = 6", 'num_val = 6\nrequire = ["a", "b", "a"]', "data.require", "['a', 'b', 'a']", "every name once",
    ),
    "classes that are not a list": ("num_val = 6", 'num_val = 6\nclasses = "cat"', "data.classes", "'cat'", "a list"),
    "one radius": (
        "num_val = 6", "num_val = 6\nbadge_radius = [6]", "data.badge_radius", "[6.0]", RADIUS,
    ),
    "radii upside down": (
        "num_val = 6", "num_val = 6\nbadge_radius = [9, 7]", "data.badge_radius", "[9.0, 7.0]", RADIUS,
    ),
    "a radius of nothing": (
        "num_val = 6", "num_val = 6\nbadge_radius = [0, 7]", "data.badge_radius", "[0.0, 7.0]", RADIUS,
    ),
    "a radius beyond the image": (
        "num_val = 6", "num_val = 6\nbadge_radius = [9, 70]", "data.badge_radius", "[9.0, 70.0]", "at most 32",
    ),
    "available in part": ("num_val = 6", "num_val = 6\navailable_only = 1", "data.available_only", "1", "bool"),
    "no steps": ("steps = 6\nbatch = 4", "steps = 0\nbatch = 4", "training.steps", "0", "1 or more"),
    "a rise without an end": ("warmup = 2", "warmup = 6", "training.warmup", "6", "less than training.steps"),
    "odd batch": ("batch = 4", "batch = 5", "training.batch", "5", "an even number, 2 or more"),
    "no batch": ("batch = 4", "batch = 0", "training.batch", "0", "an even number, 2 or more"),
    "tiny crop": ("crop = 32", "crop = 8", "training.crop", "8", "16 or more"),
    "scales upside down": (
        "scale_min = 0.75", "scale_min = 1.5", "training.scale_min", "1.5", "at most training.scale_max",
    ),
    "scale of nothing": ("scale_min = 0.75", "scale_min = 0.0", "training.scale_min", "0.0", "0.1 or more"),
    "no weak half": ("warmup = 2", "strong_share = 1.0", "training.strong_share", "1.0", "between 0 and 1"),
    "no strong image in a batch": (
        "warmup = 2", "strong_share = 0.1", "training.strong_share", "0.1", "a share with which both branches get images",
    ),
    "no weak image in a batch": (
        "warmup = 2", "strong_share = 0.9", "training.strong_share", "0.9", "a share with which both branches get images",
    ),
    "late decay": ("warmup = 2", "decay_at = 1.5", "training.decay_at", "1.5", "0 to 1"),
    "unshrinkable": ("warmup = 2", "longest_side = -1", "training.longest_side", "-1", "0, or 16 or more"),
    "a side of one pixel": ("warmup = 2", "longest_side = 1", "training.longest_side", "1", "0, or 16 or more"),
    "no rate of the backbone": (
        "lr_backbone = 1e-3", "lr_backbone = 0.0", "training.lr_backbone", "0.0", "above 0",
    ),
    "no rate of what is new": ("lr_new = 1e-3", "lr_new = -1e-3", "training.lr_new", "-0.001", "above 0"),
    "negative warmup": ("warmup = 2", "warmup = -2", "training.warmup", "-2", "0 or more"),
    "no seeds": ("seeds = 2", "seeds = 0", "seeds", "0", "1 or more"),
    "unknown precision": (
        "seeds = 2", 'seeds = 2\nprecision = "fp16"', "precision", "'fp16'", "fp32, bf16, auto",
    ),
    "evaluation at no size": (
        "[evaluation]", "[evaluation]\nscales = [0]", "evaluation.scales", "[0.0]", "one or more values, each 0.1 or more",
    ),
    "evaluation at no scale": (
        "[evaluation]", "[evaluation]\nscales = []", "evaluation.scales", "[]", "one or more values, each 0.1 or more",
    ),
    "dropout above one": ("dropout = 0.1", "dropout = 1.5", "network.dropout", "1.5", "0 to below 1"),
    "dropout of all": ("dropout = 0.1", "dropout = 1", "network.dropout", "1.0", "0 to below 1"),
    "neck without channels": (
        "neck_channels = 16", "neck_channels = 0", "network.neck_channels", "0", "1 or more",
    ),
    "dilation of nothing": ("head_dilation = 2", "head_dilation = 0", "network.head_dilation", "0", "1 or more"),
    "unknown backbone": (
        'backbone = "small"', 'backbone = "vgg17"', "network.backbone", "'vgg17'",
        "small, squeezenet1_1, vgg16, efficientnet_lite0, efficientnet_lite0_stride8",
    ),
    "unknown weights": (
        'weights = "pretext"', 'weights = "imagnet"', "network.weights", "'imagnet'",
        "pretext, imagenet, imagenet-caffe, imagenet-lite, random, file",
    ),
    "classifier batch of nothing": ("batch = 8", "batch = 0", "proxy.batch", "0", "1 or more"),
    "no proxy steps": ("steps = 6\nbatch = 8", "steps = 0\nbatch = 8", "proxy.steps", "0", "1 or more"),
    "no proxy rate": ("lr = 1e-3\nthreshold", "lr = 0.0\nthreshold", "proxy.lr", "0.0", "above 0"),
    "unknown cues": ('cues = "classifier"', 'cues = "clasifier"', "proxy.cues", "'clasifier'", "classifier, file"),
    "no size of maps": (
        "cam_sizes = [24, 32]", "cam_sizes = []", "proxy.cam_sizes", "[]", "one or more values, each 16 or more",
    ),
    "a tiny size of maps": (
        "cam_sizes = [24, 32]", "cam_sizes = [24, 8]", "proxy.cam_sizes", "[24, 8]", "one or more values, each 16 or more",
    ),
    "unknown CRF": (
        'optimizer = "adam"', 'optimizer = "adam"\ncrf = "drsg"', "dsrg.crf", "'drsg'",
        "deeplab-largefov-deploy, deeplab-vgg16-run-densecrf, deeplab-v1-pytorch, deeplab-v2-resnet101, dsrg, irn-labels",
    ),
    "unknown optimizer": ('optimizer = "adam"', 'optimizer = "sgdd"', "dsrg.optimizer", "'sgdd'", "sgd, adam"),
    "a head without dilation": (
        "dilations = [1, 2]", "dilations = [0]", "dsrg.dilations", "[0]", "one or more values, each 1 or more",
    ),
    "growing at any probability": (
        'optimizer = "adam"', 'optimizer = "adam"\ngrow_foreground = 1.0', "dsrg.grow_foreground", "1.0",
        "between 0 and 1",
    ),
    "a rate below nothing": (
        'optimizer = "adam"', 'optimizer = "adam"\nretrain_rate = -1.0', "dsrg.retrain_rate", "-1.0", "above 0",
    ),
    "decay below nothing": ("weight_decay = 1e-4", "weight_decay = -1.0", "dsrg.weight_decay", "-1.0", "0 or more"),
    "warmup below nothing": ("warmup = 2\ndecay", "warmup = -2\ndecay", "dsrg.warmup", "-2", "0 or more"),
    "no retrain steps": ("retrain_steps = 4", "retrain_steps = 0", "dsrg.retrain_steps", "0", "1 or more"),
    "no rate of DSRG": ("lr_last = 1e-3", "lr_last = 0.0", "dsrg.lr_last", "0.0", "above 0"),
    # Preparing a data set replaces its folder: a name that leads elsewhere would delete what lies there.
    "a data set named after the folder above": (
        'name = "tiny"\nnum', 'name = ".."\nnum', "data.name", "'..'", "a folder's name",
    ),
    "a data set without a name": ('name = "tiny"\nnum', 'name = ""\nnum', "data.name", "''", "a folder's name"),
    "a data set with a path for a name": (
        'name = "tiny"\nnum', 'name = "a/b"\nnum', "data.name", "'a/b'", "a folder's name",
    ),
    "a preset with a path for a name": ('name = "tiny"\ntitle', 'name = "a/b"\ntitle', "name", "'a/b'", "a folder's name"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_preset_is_named_with_file_key_and_what_was_found(preset, mistake):
    old, new, key, found, expected = MISTAKES[mistake]
    edit(preset, old, new)
    error = refused(preset)
    assert (key_of(error), error.found) == (key, f"found {found}")
    assert error.expected.startswith(expected) if key == "training.strong_share" else error.expected == expected


@pytest.mark.parametrize(
    ("old", "new", "near"),
    [
        ('backbone = "small"', 'backbone = "vgg17"', "vgg16"),
        ('cues = "classifier"', 'cues = "clasifier"', "classifier"),
        ("dropout = 0.1", "dropout = 1.5", ""),
    ],
    ids=["backbone", "cues", "number"],
)
def test_an_unknown_word_is_named_with_the_nearest_known_one(preset, old, new, near):
    edit(preset, old, new)
    assert refused(preset).near == near


@pytest.mark.parametrize(
    ("old", "new", "key", "near"),
    [("crop = 32", "corp = 32", "training.corp", "crop"), ("[proxy]", "[proxi]", "proxi", "proxy")],
    ids=["key", "section"],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(preset, old, new, key, near):
    edit(preset, old, new)
    error = refused(preset)
    assert (key_of(error), error.found, error.near) == (key, "unknown", near)


@pytest.mark.parametrize(("line", "key"), [("crop = 32", "training.crop"), ("[evaluation]", "evaluation")])
def test_a_missing_key_is_named(preset, line, key):
    edit(preset, line, "")
    error = refused(preset)
    assert (key_of(error), error.found) == (key, "missing")


def test_a_preset_that_is_not_toml_is_named(preset):
    edit(preset, "seeds = 2", "seeds = ")
    error = refused(preset)
    assert error.subject == "mine.toml" and "TOML" in error.found and "line 5" in error.found


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "name", [name for name, (_, _, hint) in SETTINGS.items() if hint in (float, tuple[float, ...])]
)
def test_a_number_that_is_not_finite_is_refused_everywhere(name, value):
    group, one, hint = SETTINGS[name]
    values = fingerprint(load_preset(TINY).groups[group]) | {one.name: value if hint is float else [1.0, value]}
    with pytest.raises(BadInput) as caught:
        read_dataclass(SECTIONS[group], values, "mine.toml")
    assert key_of(caught.value) == one.name
    assert str(value) in caught.value.found and caught.value.expected == one.metadata["check"].expected


def test_presets_of_real_images_are_read_as_strictly(tmp_path):
    path = Path(shutil.copy(PRESETS / "voc-animals-dev.toml", tmp_path / "mine.toml"))
    edit(path, "holdout = 100", "holdout = 101")
    error = refused(path)
    assert (key_of(error), error.found) == ("data.holdout", "found 101")


# ---------------------------------------------------------------- every value of every setting

ODD = (
    -1, 0, 10**9 + 1, 2**31, 2**63, 10**400, -(10**400), 16**9999, -0.5, 1e300, 5e-324, float("nan"), float("inf"), -float("inf"),
    True, "", "../x", "x\0", [], {}, [[]], ["x"], [1e300], [-1], [0] * 1000, [float("nan")], [10**400],
)  # fmt: skip
PLACES = [(group, one.name) for group, values in load_preset(TINY).groups.items() for one in fields(values)]


@pytest.mark.parametrize(("group", "name"), PLACES, ids=lambda value: value)
def test_whatever_stands_for_a_setting_it_is_taken_or_refused_in_one_line(group, name):
    # what is taken is finite, and small enough to compute with
    whole = tomllib.loads(Path(TINY).read_text(encoding="utf-8"))
    for odd in ODD:
        changed = whole | {group: whole[group] | {name: odd}}
        try:
            preset = read_dataclass(Preset, changed, "odd.toml")
        except BadInput as error:
            assert f"key {name!r}" in error.subject and error.expected and len(str(error)) < 1000
            continue
        value = getattr(getattr(preset, group), name)
        assert all(
            abs(one) <= 1e9 for one in (value if isinstance(value, tuple) else [value]) if not isinstance(one, str)
        )


@pytest.mark.parametrize("name", ["../synthetic", "presets/../synthetic", "/etc/passwd", "", ".", "synthetic/"])
def test_a_preset_s_name_is_no_path(name):
    with pytest.raises(BadInput):
        load_preset(name)


def test_a_preset_is_found_by_its_name_or_its_file_and_written_as_toml(tmp_path):
    assert presets.preset_path("voc") == presets.PRESETS / "voc.toml"
    assert presets.preset_path("mine.toml") == Path("mine.toml")
    preset = presets.load_preset("synthetic")
    (tmp_path / "again.toml").write_text(presets.as_toml(preset))
    assert presets.load_preset(str(tmp_path / "again.toml")) == preset


def test_a_preset_from_before_a_group_of_settings_is_told_what_it_lacks(tmp_path):
    before, _, rest = Path(TINY).read_text().partition("[decouplednet]")
    path = tmp_path / "older.toml"
    path.write_text(before + rest[rest.index("[evaluation]") :])
    with pytest.raises(BadInput) as error:
        load_preset(str(path))
    assert str(error.value).startswith("older.toml, key 'decouplednet': missing; expected a table [decouplednet]")
