"""The recognizer: trained on the tags of whole images, black beyond their edges, once for all runs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from decoupled import planned
from studies import CPU, changed, graph_of, runner

from swdb.core.errors import BadInput
from swdb.core.files import file_digest
from swdb.data.store import Store
from swdb.methods.decoupled_network import Recognizer
from swdb.methods.recognizer import (
    WholeImages,
    begin_from,
    load_recognizer,
    recognizer_needs,
    recognizer_schedule,
    tag_loss,
)
from swdb.nn.checkpoints import load_tensors
from swdb.nn.model import Model
from swdb.nn.networks import Preprocessing, valueless
from swdb.specs.preprocessing import Choice
from swdb.specs.presets import load_preset
from swdb.specs.study import NamedFile
from swdb.specs.tasks import RecognizerTask, WeightsTask
from swdb.study.stages import RECOGNIZER

PRESET, NUM_CLASSES = load_preset(TINY), 6
SETTINGS = PRESET.decouplednet
GREY = Preprocessing("RGB", (100.0,) * 3, (10.0,) * 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A work directory with a finished recognizer."""
    folder = tmp_path_factory.mktemp("recognizer") / "work"
    graph, _ = planned(folder)
    runner().make(graph.needed(graph.recognizer))
    return folder


def images(settings=SETTINGS, masks=None, batch=4):
    """White images of 20 x 40 and of 40 x 40 pixels with their tags."""
    store = Store(["wide", "square"], np.full((2, 40, 40, 3), 255, np.uint8), masks, torch.tensor([[20, 40], [40, 40]]))
    tags = np.array([[1, 0, 0, 0, 0], [0, 1, 1, 0, 0]], np.float32)
    model = Model(torch.nn.Identity(), GREY, CPU)
    return WholeImages(store, tags, replace(settings, recognizer_batch=batch), 0, model)


# ---------------------------------------------------------------- training


def test_it_begins_with_the_initial_weights_and_moves_all_its_parts(finished):
    graph, _ = planned(finished)
    initial = load_tensors(graph.weights.folder / "weights.pt")
    last = load_tensors(graph.recognizer.folder / "weights.pt")
    assert {f"backbone.{name}" for name in initial} < last.keys()
    record = graph.recognizer.read_record()
    assert record["digest"] == file_digest(graph.recognizer.folder / "weights.pt")
    assert record["training"]["steps"] == SETTINGS.recognizer_steps == graph.recognizer.steps
    assert record["inputs"].keys() == {graph.data.id, graph.weights.id}
    # Adam's steps are as large as its rate: what began as the initial weights is still near them
    moved = [(last[f"backbone.{name}"] - value).abs().max().item() for name, value in initial.items()]
    assert all(0 < one <= 2 * SETTINGS.recognizer_steps * SETTINGS.recognizer_lr_backbone for one in moved)


def test_trained_twice_it_has_the_same_weights(finished, tmp_path):
    graph, other = planned(finished)[0], planned(tmp_path)[0]
    runner().make(other.needed(other.recognizer))
    assert other.recognizer.digest() == graph.recognizer.digest()


def test_finished_it_comes_with_its_preprocessing(finished):
    graph, _ = planned(finished)
    with valueless():
        network = Recognizer(PRESET.network.backbone, SETTINGS, NUM_CLASSES - 1)
    assert load_recognizer(graph.recognizer, network) == Preprocessing()
    assert all(not value.is_meta for value in network.state_dict().values())


# ---------------------------------------------------------------- fc6 and fc7


def weights_of(folder, channels=4, **tensors) -> WeightsTask:
    """A file with a VGG16's fc6 and fc7, as Caffe calls them, of other widths."""
    own = {
        "net.fc6.weight": torch.full((channels, 512 * 49), 0.5),
        "net.fc6.bias": torch.full((channels,), 2.0),
        "net.fc7.weight": torch.full((channels, channels), 3.0),
        "net.fc7.bias": torch.full((channels,), 4.0),
    }
    torch.save({**own, **tensors}, path := folder / "vgg16.pth")
    file = NamedFile(path, {"file": file_digest(path)})
    return WeightsTask("vgg16", "file", file, PRESET.data, PRESET.proxy, Choice(GREY, "of the test", sure=True))


def whole(channels=4) -> Recognizer:
    return Recognizer("vgg16", replace(SETTINGS, kernel=7, recognizer_channels=channels), 5)


def test_fc6_and_fc7_begin_as_those_of_the_weights(tmp_path):
    network = whole()
    assert begin_from(network, weights_of(tmp_path)) == "as those of vgg16.pth"
    assert [one.detach().unique().item() for one in (*network.fc6.parameters(), *network.fc7.parameters())] == [
        0.5,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize(
    ("channels", "tensors", "why"),
    [
        (8, {}, "those of vgg16.pth have another size"),
        (4, {"net.fc7.bias": torch.zeros(3)}, "net.fc7.bias has 3 values, expected 4"),
    ],
)
def test_they_stay_random_where_the_weights_have_none_that_fit_and_it_is_said(tmp_path, channels, tensors, why):
    network = whole(channels)
    before = network.fc6.weight.clone()
    assert begin_from(network, weights_of(tmp_path, **tensors)) == f"at random: {why}"
    assert torch.equal(network.fc6.weight, before)


def test_weights_that_are_made_here_have_none(tmp_path):
    made_here = replace(weights_of(tmp_path), weights="random", file=None)
    assert begin_from(whole(), made_here) == "at random: weights that are made here (random) have none"


def test_only_a_vgg16_says_in_its_key_how_they_begin():
    vgg16 = changed(PRESET, "network", backbone="vgg16", weights="random")
    keys = [graph_of(Path("w"), one).recognizer.key for one in (PRESET, vgg16)]
    assert [one.get("begin") for one in keys] == [None, "fc6-fc7"]


# ---------------------------------------------------------------- learning


def test_the_loss_is_summed_over_classes_and_averaged_over_images_of_the_average_of_places():
    maps, wanted = torch.randn(3, 5, 2, 2), torch.randint(0, 2, (3, 5)).float()
    by_hand = sum(
        F.binary_cross_entropy_with_logits(maps[image, k].mean(), wanted[image, k])
        for image in range(3)
        for k in range(5)
    )
    torch.testing.assert_close(tag_loss(maps, wanted), by_hand / 3)


def test_it_has_rates_of_its_own_for_the_backbone_and_decays_as_a_run_on_all_strong_images():
    network = Recognizer("small", replace(SETTINGS, recognizer_lr_backbone=0.1, recognizer_lr_new=0.2), 5)
    groups = network.groups(replace(SETTINGS, recognizer_lr_backbone=0.1, recognizer_lr_new=0.2))
    backbone = {id(one) for one in network.backbone.parameters()}
    assert {group["lr"] for group in groups if id(group["params"][0]) in backbone} == {0.1}
    assert {group["lr"] for group in groups if id(group["params"][0]) not in backbone} == {0.2}
    schedule = recognizer_schedule(
        replace(SETTINGS, recognizer_steps=100, warmup=0, decay_at=(0.1, 0.6), decay_factor=0.5)
    )
    assert (schedule.factor(59), schedule.factor(60)) == (1.0, 0.5)


def test_its_needs_are_counted():
    task = RecognizerTask("small", SETTINGS, 0)
    needs = recognizer_needs(task, 5, "fp32")
    network = Recognizer("small", SETTINGS, 5)
    assert needs.weights == sum(value.nbytes for value in network.state_dict().values())
    assert needs.moments == 2 * needs.weights and needs.step > 0


def test_a_class_that_no_image_has_is_refused_before_anything_is_trained(finished, tmp_path):
    graph, _ = planned(tmp_path)
    made = runner()
    tools = SimpleNamespace(dataset=lambda artefact: made.dataset(planned(finished)[0].data))
    dataset = tools.dataset(None)

    RECOGNIZER.check(graph.recognizer, tools)
    hidden = SimpleNamespace(
        ids=dataset.ids, class_names=dataset.class_names, tags=lambda ids: dataset.tags(ids) & [1, 1, 0, 1, 1]
    )
    with pytest.raises(BadInput) as caught:
        RECOGNIZER.check(graph.recognizer, SimpleNamespace(dataset=lambda artefact: hidden))
    assert "'gamma'" in caught.value.found


# ---------------------------------------------------------------- what it sees


def test_images_are_seen_whole_with_black_beyond_their_edges():
    made = images(replace(SETTINGS, recognizer_scale_max=1.0), batch=2)
    drawn = made.draw(0)
    inputs, wanted = made.cut(drawn)
    white, black = 15.5, -10.0  # (255 - 100) / 10, (0 - 100) / 10
    for row, values, tags in zip(drawn["rows"].tolist(), inputs, wanted, strict=True):
        height = 16 if row == 0 else 32
        assert (values[:, :height] == white).all()
        assert (values[:, height:] == black).all()
        assert tags.tolist() == made.tags[row].tolist()


def test_larger_ones_are_cut_and_every_batch_is_a_function_of_its_step():
    made = images(replace(SETTINGS, recognizer_scale_min=2.0, recognizer_scale_max=3.0), batch=8)
    drawn = made.draw(5)
    assert ((drawn["scale"] >= 1.6) & (drawn["scale"] <= 2.4)).all()
    assert (drawn["offset"] >= 0).all() and drawn["flip"].any()
    assert all(torch.equal(value, made.draw(5)[name]) for name, value in drawn.items())
    assert made.ids_at(5) == [made.store.ids[row] for row in drawn["rows"]]


def test_tags_of_crops_are_those_of_the_masks_inside_them():
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[0, 2:6, 2:6], masks[1, 2:6, 2:6], masks[1, 30:34, 30:34] = 3, 1, 255
    made = images(replace(SETTINGS, tags="crop", recognizer_scale_max=1.0), masks, batch=2)
    drawn = made.draw(0)
    _, wanted = made.cut(drawn)
    there = {0: [0, 0, 1, 0, 0], 1: [1, 0, 0, 0, 0]}
    assert [one.tolist() for one in wanted] == [there[row] for row in drawn["rows"].tolist()]


def test_with_tags_of_crops_it_trains_and_is_another(tmp_path):
    digests = set()
    for tags in ("image", "crop"):  # of crops so small that some miss what their images have
        graph, _ = planned(tmp_path, changed(PRESET, "decouplednet", tags=tags, recognizer_scale_max=4.0))
        runner().make(graph.needed(graph.recognizer))
        digests.add(graph.recognizer.digest())
    assert len(digests) == 2
