"""Presets: one home for every setting, strict reading, ranges."""

import dataclasses
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TINY

from swdb.core.errors import BadInput
from swdb.core.files import digest
from swdb.data import dataset
from swdb.specs import presets as presets
from swdb.specs.presets import identity, load_preset, preset_names, write_preset


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first `old` of a file, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_every_preset_file_loads_under_its_own_name():
    names = presets.preset_names()
    assert names == ["synthetic", "synthetic-dev", "voc", "voc-animals", "voc-animals-dev"]
    assert [load_preset(name).name for name in names] == names


def test_the_voc_preset_has_the_paper_s_numbers():
    voc = load_preset("voc")
    data, training = voc.data, voc.training
    assert (data.num_classes, data.num_strong, data.num_train, data.num_val) == (21, 1464, 10582, 1449)
    assert (training.batch, training.crop, training.lr_backbone, training.lr_new) == (16, 328, 5e-6, 1e-4)
    assert (training.decay_at, training.decay_factor, training.weight_decay) == (12 / 20, 0.1, 1e-4)
    assert (training.steps - 1) * 16 < 20 * 10582 <= training.steps * 16  # 20 epochs, rounded up
    assert training.kl_weight == 1.0 and voc.network.backbone == "vgg16" and voc.comparable


def test_a_drawn_data_set_is_never_compared_with_the_paper():
    assert not load_preset("synthetic").comparable and not load_preset("synthetic-dev").comparable


def test_the_development_preset_is_the_synthetic_one_but_for_its_names_and_its_draw():
    used, developed = load_preset("synthetic"), load_preset("synthetic-dev")
    assert (used.name, used.data.name, used.data.seed) != (developed.name, developed.data.name, developed.data.seed)
    # Choices made where val images were seen would not be choices: the two draws must differ.
    assert used.data.seed != developed.data.seed and used.data.name != developed.data.name
    renamed = replace(developed.data, name=used.data.name, seed=used.data.seed)
    assert replace(developed, name=used.name, title=used.title, data=renamed) == used


def test_the_animals_presets_differ_in_names_counts_and_what_is_held_out_alone():
    used, developed = load_preset("voc-animals"), load_preset("voc-animals-dev")
    held = developed.data.holdout
    assert (used.data.holdout, held) == (0, developed.data.num_val) and held > 0
    # The images that settings are chosen on come from the train list: what is left is learnt from, val is not touched.
    assert developed.data.num_strong + held == used.data.num_strong
    assert developed.data.num_train + held == used.data.num_train
    assert used.data.name != developed.data.name and used.name != developed.name
    counts = {name: getattr(used.data, name) for name in ("name", "num_strong", "num_train", "num_val", "holdout")}
    renamed = replace(developed, name=used.name, title=used.title, data=replace(developed.data, **counts))
    assert renamed == used


# ---------------------------------------------------------------- what enters ids


def late(values) -> set[str]:
    return {knob.name for knob in dataclasses.fields(values) if knob.metadata["late"]}


def test_knobs_that_were_added_later_are_marked_and_have_defaults():
    marked = {(section.__name__, name) for section in SECTIONS for name in late(section)}
    assert marked == {
        ("Data", "classes"), ("Data", "require"), ("Data", "available_only"), ("Data", "holdout"),
        ("Training", "longest_side"),
    }  # fmt: skip


@pytest.mark.parametrize("group", ["data", "network", "training", "proxy", "evaluation"])
def test_a_late_knob_at_its_default_stays_out_of_ids_and_all_others_are_in(group):
    values = getattr(load_preset("synthetic"), group)
    assert identity(values).keys() == {knob.name for knob in dataclasses.fields(values)} - late(values)


@pytest.mark.parametrize(
    ("group", "name", "value", "noted"),
    [
        ("data", "classes", ("cat", "dog"), ["cat", "dog"]),
        ("data", "require", ("cat",), ["cat"]),
        ("data", "available_only", True, True),
        ("data", "holdout", 7, 7),
        ("training", "longest_side", 250, 250),
    ],
)
def test_a_late_knob_that_is_set_enters_ids(group, name, value, noted):
    values = getattr(load_preset("voc"), group)
    assert identity(replace(values, **{name: value})) == identity(values) | {name: noted}


def test_what_enters_ids_is_as_json_gives_it_back():
    for preset in map(load_preset, preset_names()):
        for group in (preset.data, preset.network, preset.training, preset.proxy, preset.evaluation):
            assert json.loads(json.dumps(identity(group))) == identity(group)


def test_ids_of_what_was_made_before_late_knobs_came_are_unchanged():
    synthetic = load_preset("synthetic")
    groups = (dataset.recipe(synthetic.data), identity(synthetic.network), identity(synthetic.training))
    assert [digest(group)[:16] for group in groups] == ["d61b8c022f270cdf", "d378446a00f33849", "1111525e6b8eae05"]


SECTIONS = (presets.Data, presets.Network, presets.Training, presets.Proxy, presets.Dsrg, presets.Evaluation)


def test_every_setting_has_a_unit_a_status_and_a_reason():
    knobs = [(section.__name__, knob) for section in SECTIONS for knob in dataclasses.fields(section)]
    assert len(knobs) >= 37
    for section, knob in knobs:
        name = f"{section}.{knob.name}"
        assert knob.metadata.get("unit"), f"{name} has no unit"
        assert knob.metadata.get("status") in ("STATED", "INFERRED", "UNKNOWN"), name
        # What is stated or inferred says where or why; our own choice may stand without.
        assert knob.metadata["status"] == "UNKNOWN" or knob.metadata["why"], f"{name} has no reason"


def test_a_preset_has_no_settings_outside_its_sections():
    own = {knob.name for knob in dataclasses.fields(presets.Preset)}
    assert own == {"name", "title", "comparable", "seeds", "data", "network", "training", "proxy", "dsrg", "evaluation"}


def test_an_unknown_preset_gets_the_nearest_name():
    with pytest.raises(BadInput, match=r"unknown preset 'syntetic'; did you mean 'synthetic'\?"):
        load_preset("syntetic")


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


@pytest.mark.parametrize("name", [*presets.preset_names(), TINY])
def test_a_preset_that_is_written_is_read_back(name, tmp_path):
    written = replace(load_preset(name), title='a "part" of it: \\ über, # 1')  # what TOML might trip over
    write_preset(tmp_path / "folder" / "mine.toml", written)
    assert load_preset(str(tmp_path / "folder" / "mine.toml")) == written


def test_a_written_preset_keeps_whatever_a_setting_can_hold(tmp_path):
    before = load_preset("voc-animals-dev")
    training = replace(before.training, lr_backbone=5e-6, lr_new=1e-17, steps=10**7, clip_norm=0.1 + 0.2)
    evaluation = replace(before.evaluation, scales=(0.75, 1.0, 1.25), flip=True)
    changed = replace(before, training=training, evaluation=evaluation)
    write_preset(tmp_path / "mine.toml", changed)
    assert load_preset(str(tmp_path / "mine.toml")) == changed


DRAWN = ["'data.classes'", "of a drawn data set"]
PRESET_MISTAKES = {
    "unknown key": ("crop = 32", "corp = 32", ["key 'training'", "'corp'", "did you mean 'crop'?"]),
    "unknown section": ("[proxy]", "[proxi]", ["'proxi'", "did you mean 'proxy'?"]),
    "wrong type": ("crop = 32", 'crop = "32"', ["key 'training'", "key 'crop'", "found '32'", "expected int"]),
    "wrong type in a list": (
        "[evaluation]", "[evaluation]\nscales = [1.0, '2']", ["key 'evaluation'", "key 'scales'", "found '2'"],
    ),
    "missing key": ("crop = 32", "", ["key 'training'", "key 'crop' is missing"]),
    "missing section": ("[evaluation]", "", ["key 'evaluation' is missing"]),
    "section that is a list": (
        "[evaluation]", "[[evaluation]]", ["key 'evaluation'", "found [{}]", "expected a table"],
    ),
    "not TOML": ("seeds = 2", "seeds = ", ["not valid TOML"]),
    "more strong than training images": ("num_strong = 12", "num_strong = 33", ["'data.num_strong'", "data.num_train"]),
    "no strong images": ("num_strong = 12", "num_strong = 0", ["'data.num_strong'"]),
    "one class": ("num_classes = 6", "num_classes = 1", ["'data.num_classes'", "2 to 21"]),
    "too many classes": ("num_classes = 6", "num_classes = 22", ["'data.num_classes'", "2 to 21"]),
    "no val images": ("num_val = 6", "num_val = 0", ["'data.num_val'", "1 or more"]),
    "no pixels": ("image_size = 32", "image_size = 0", ["'data.image_size'"]),
    "no steps": ("steps = 6\nbatch = 4", "steps = 0\nbatch = 4", ["'training.steps'", "1 or more"]),
    "odd batch": ("batch = 4", "batch = 5", ["'training.batch'", "even"]),
    "tiny crop": ("crop = 32", "crop = 8", ["'training.crop'", "16 or more"]),
    "scales upside down": ("scale_min = 0.75", "scale_min = 1.5", ["'training.scale_min'", "scale_max"]),
    "scale of nothing": ("scale_min = 0.75", "scale_min = 0.0", ["'training.scale_min'"]),
    "no weak half": ("warmup = 2", "strong_share = 1.0", ["'training.strong_share'", "between 0 and 1"]),
    "late decay": ("warmup = 2", "decay_at = 1.5", ["'training.decay_at'", "0 to 1"]),
    "no seeds": ("seeds = 2", "seeds = 0", ["'seeds'", "1 or more"]),
    "evaluation at no size": ("[evaluation]", "[evaluation]\nscales = [0]", ["'evaluation.scales'"]),
    "dropout above one": ("dropout = 0.1", "dropout = 1.5", ["'network.dropout'"]),
    "neck without channels": ("neck_channels = 16", "neck_channels = 0", ["'network.neck_channels'"]),
    "classifier batch of nothing": ("batch = 8", "batch = 0", ["'proxy.batch'"]),
    "unknown data set": (
        'dataset = "synthetic"', 'dataset = "sinthetic"',
        ["'data.dataset'", "'sinthetic'", "did you mean 'synthetic'?"],
    ),
    "unknown backbone": (
        'backbone = "small"', 'backbone = "vgg17"', ["'network.backbone'", "'vgg17'", "did you mean 'vgg16'?"],
    ),
    "unknown weights": (
        'weights = "pretext"', 'weights = "imagnet"', ["'network.weights'", "'imagnet'", "did you mean 'imagenet'?"],
    ),
    "unknown cues": (
        'cues = "classifier"', 'cues = "clasifier"', ["'proxy.cues'", "'clasifier'", "did you mean 'classifier'?"],
    ),
    "unknown CRF": ('optimizer = "adam"', 'optimizer = "adam"\ncrf = "drsg"', ["'dsrg.crf'", "did you mean 'dsrg'?"]),
    "unknown optimizer": ('optimizer = "adam"', 'optimizer = "sgdd"', ["'dsrg.optimizer'", "did you mean 'sgd'?"]),
    "no size of maps": ("cam_sizes = [24, 32]", "cam_sizes = []", ["'proxy.cam_sizes'", "16 pixels or more"]),
    "a head without dilation": ("dilations = [1, 2]", "dilations = [0]", ["'dsrg.dilations'", "1 or more"]),
    "growing at any probability": (
        'optimizer = "adam"', 'optimizer = "adam"\ngrow_foreground = 1.0', ["'dsrg.grow_foreground'", "between 0 and 1"],
    ),
    "a rate below nothing": (
        'optimizer = "adam"', 'optimizer = "adam"\nretrain_rate = -1.0', ["'dsrg.retrain_rate'", "above 0"],
    ),
    "decay below nothing": ("weight_decay = 1e-4", "weight_decay = -1.0", ["'dsrg.weight_decay'", "0 or more"]),
    "warmup below nothing": ("warmup = 2\ndecay", "warmup = -2\ndecay", ["'dsrg.warmup'", "0 or more"]),
    "no retrain steps": ("retrain_steps = 4", "retrain_steps = 0", ["'dsrg.retrain_steps'", "1 or more"]),
    "no rate of DSRG": ("lr_last = 1e-3", "lr_last = 0.0", ["'dsrg.lr_new'", "above 0"]),
    "unshrinkable": ("warmup = 2", "longest_side = -1", ["'training.longest_side'", "0 or more"]),
    "no rate of the backbone": ("lr_backbone = 1e-3", "lr_backbone = 0.0", ["'training.lr_backbone'", "above 0"]),
    "no rate of what is new": ("lr_new = 1e-3", "lr_new = -1e-3", ["'training.lr_new'", "above 0"]),
    "negative warmup": ("warmup = 2", "warmup = -2", ["'training.warmup'", "0 or more"]),
    "no proxy steps": ("steps = 6\nbatch = 8", "steps = 0\nbatch = 8", ["'proxy.steps'", "1 or more"]),
    "no proxy rate": ("lr = 1e-3\nthreshold", "lr = 0.0\nthreshold", ["'proxy.lr'", "above 0"]),
    "head cells apart by nothing": ("head_dilation = 2", "head_dilation = 0", ["'network.head_dilation'"]),
    "drawn classes in another number": ("num_classes = 6", "num_classes = 5", ["'data.num_classes'", "6, as drawn"]),
    "classes of a drawn set": ("num_classes = 6", 'num_classes = 6\nclasses = ["cat","cow","dog","bus","car"]', DRAWN),
    "requirements of a drawn set": ("num_val = 6", 'num_val = 6\nrequire = ["cat"]', DRAWN),
    "what is available of a drawn set": ("num_val = 6", "num_val = 6\navailable_only = true", DRAWN),
    "held out of a drawn set": ("num_val = 6", "num_val = 6\nholdout = 6", DRAWN),
    # Preparing a data set replaces its folder: a name that leads elsewhere would delete what lies there.
    "a data set named after the folder above": ('name = "tiny"\nnum', 'name = ".."\nnum', ["'data.name'"]),
    "a data set without a name": ('name = "tiny"\nnum', 'name = ""\nnum', ["'data.name'"]),
    "a data set with a path for a name": ('name = "tiny"\nnum', 'name = "a/b"\nnum', ["'data.name'"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", PRESET_MISTAKES)
def test_a_mistake_in_a_preset_is_named_with_file_and_key(preset, mistake):
    old, new, words = PRESET_MISTAKES[mistake]
    edit(preset, old, new)
    with pytest.raises(BadInput) as caught:
        load_preset(str(preset))
    message = str(caught.value)
    assert "\n" not in message and "mine.toml" in message
    assert [word for word in words if word not in message] == [], message


PHOTOGRAPH_MISTAKES = {
    "unknown class": ('"sheep", "person"', '"sheep", "persona"', ["'data.classes'", "'persona'", "'person'?"]),
    "background as a class": ('"sheep", "person"', '"sheep", "background"', ["'data.classes'", "'background'"]),
    "a class twice": ('"sheep", "person"', '"sheep", "sheep"', ["'data.classes'", "every name once"]),
    "more classes than are counted": ("num_classes = 7", "num_classes = 6", ["'data.num_classes'", "7, as data.classes"]),
    "fewer classes than are counted": ("num_classes = 7", "num_classes = 21", ["'data.num_classes'", "7, as data.class"]),
    "a required class that is not kept": ('require = ["cat"', 'require = ["bus"', ["'data.require'", "'bus'"]),
    "more held out than val is": ("holdout = 100", "holdout = 101", ["'data.holdout'", "0 or data.num_val"]),
    "fewer held out than val is": ("holdout = 100", "holdout = 99", ["'data.holdout'", "0 or data.num_val"]),
    "classes that are no list": ('classes = ["cat", ', 'classes = "cat" #', ["'data'", "key 'classes'", "found 'cat'"]),
    "available in part": ("available_only = true", "available_only = 1", ["'data'", "key 'available_only'", "bool"]),
    "drawn weights for photographs": ('weights = "file"', 'weights = "pretext"', ["'network.weights'", "pretext"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", PHOTOGRAPH_MISTAKES)
def test_a_mistake_in_a_preset_of_photographs_is_named_with_file_and_key(tmp_path, mistake):
    path = Path(shutil.copy(presets.PACKAGE / "specs" / "presets" / "voc-animals-dev.toml", tmp_path / "mine.toml"))
    old, new, words = PHOTOGRAPH_MISTAKES[mistake]
    edit(path, old, new)
    with pytest.raises(BadInput) as caught:
        load_preset(str(path))
    message = str(caught.value)
    assert "\n" not in message and "mine.toml" in message
    assert [word for word in words if word not in message] == [], message
