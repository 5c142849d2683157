"""Settings of DecoupledNet: what its code says, and what must go together."""

from dataclasses import replace

import pytest

from swdb.core.errors import BadInput
from swdb.specs.decoupled import STRIDES
from swdb.specs.presets import BACKBONES, load_preset, preset_names, write_preset


def test_the_paper_s_scale_has_the_numbers_of_its_code():
    ours = load_preset("voc").decouplednet
    assert (ours.size, ours.window, ours.kernel, ours.recognizer_channels, ours.channels) == (320, 350, 7, 4096, 2048)
    assert (ours.optimizer, ours.lr, ours.weight_decay, ours.init_std) == ("sgd", 0.01, 5e-4, 0.01)
    assert (ours.batch, ours.norm_images, ours.norm_batch, ours.threshold) == (64, 4, 16, 0.5)


@pytest.mark.parametrize(("per_class", "steps", "decay"), [(5, 5500, 4000), (10, 7500, 10000), (25, 15000, 10000)])
def test_each_number_of_images_has_its_own_solver(per_class, steps, decay):
    found, share = load_preset("voc").decouplednet.schedule(per_class)
    drops = [step for step in range(found) if step >= share * found]
    assert found == steps and drops == list(range(min(decay, steps), steps))


def test_a_number_between_two_takes_the_larger_one_s_and_more_than_all_the_last():
    ours = load_preset("voc").decouplednet
    assert [ours.schedule(number)[0] for number in (1, 6, 26, 0)] == [5500, 7500, 15000, 15000]


def test_runs_take_as_many_steps_whatever_the_number_of_strong_images_and_never_more_than_ours():
    for name in ("synthetic", "voc-animals-squeezenet"):
        preset = load_preset(name)
        (steps,) = {preset.decouplednet.schedule(number)[0] for number in (5, 10, 25)}
        assert preset.training.steps / 2 <= steps <= preset.training.steps


@pytest.mark.parametrize("name", preset_names())
def test_batches_are_divided_evenly_and_crops_fit_into_windows(name):
    preset = load_preset(name)
    assert all(holds for holds, *_ in preset.decouplednet.checks(preset.network.backbone))


def test_a_preset_whose_backbone_has_no_switches_is_one_and_nothing_of_it_is_checked_against_a_stride():
    voc = load_preset("voc").decouplednet
    assert "efficientnet_lite0" in BACKBONES and "efficientnet_lite0" not in STRIDES
    assert all(holds for holds, *_ in replace(voc, size=333, kernel=99).checks("efficientnet_lite0"))
    refused = {key for holds, key, *_ in replace(voc, size=333, kernel=99).checks("vgg16") if not holds}
    assert refused == {"decouplednet.size", "decouplednet.kernel"}


@pytest.mark.parametrize(
    ("changed", "key", "found", "expected"),
    [
        ({"size": 384}, "size", "384", "at most decouplednet.window"),
        ({"size": 330}, "size", "330", "a multiple of 32, the backbone's stride"),
        ({"kernel": 11}, "kernel", "11", "at most 10, the features of size"),
        ({"steps": (5, 6)}, "steps", "[5, 6]", "one for each of decouplednet.images"),
        ({"decay_at": (0.5,)}, "decay_at", "[0.5]", "one for each of decouplednet.images"),
        ({"images": (5, 5, 25)}, "images", "[5, 5, 25]", "each number larger than the one before"),
        ({"recognizer_scale_min": 2.0}, "recognizer_scale_min", "2.0", "at most decouplednet.recognizer_scale_max"),
        ({"kernel": 10, "norm_images": 1}, "norm_images", "1", "2 or more, as norm_batch: fc6 leaves a single place"),
        ({"warmup": 9999}, "warmup", "9999", "less than the fewest steps, 5500"),
        ({"norm_images": 5}, "norm_images", "5", "0, or a number by which decouplednet.batch can be divided"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_go_together_is_refused_by_name(changed, key, found, expected, tmp_path):
    voc = load_preset("voc")
    write_preset(tmp_path / "mine.toml", replace(voc, decouplednet=replace(voc.decouplednet, **changed)))
    with pytest.raises(BadInput) as caught:
        load_preset(str(tmp_path / "mine.toml"))
    assert caught.value.subject == f"mine.toml, key 'decouplednet.{key}'"
    assert (caught.value.found, caught.value.expected) == (f"found {found}", expected)
