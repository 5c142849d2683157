"""Presets: one home for every setting, strict reading, ranges."""

import dataclasses
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TINY

from swdb import preset as presets
from swdb.errors import BadInput
from swdb.preset import load_preset


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


SECTIONS = (presets.Data, presets.Network, presets.Training, presets.Proxy, presets.Evaluation)


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
    assert own == {"name", "title", "comparable", "seeds", "data", "network", "training", "proxy", "evaluation"}


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
    "unknown proxy method": ('method = "cam"', 'method = "came"', ["'proxy.method'", "'came'", "did you mean 'cam'?"]),
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
