"""Initial weights and the classifier as artefacts: what their ids hang on, what is refused, and what making leaves."""

import json
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from conftest import TINY
from studies import CPU, Watcher, changed, graph_of, runner, study_of

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, NotNamed
from swdb.core.files import file_digest
from swdb.data.store import Store
from swdb.nn.checkpoints import load_tensors
from swdb.nn.networks import BACKBONES, preprocessing_of
from swdb.nn.stages import ClassifierStage, WeightsStage, check_tags
from swdb.specs.presets import load_preset
from swdb.specs.study import NamedFile

TINY_PRESET = load_preset(TINY)


def weights(folder, preset=TINY_PRESET, precision="fp32", **files) -> Artefact:
    return WeightsStage().artefact(replace(study_of(folder, preset, **files), precision=precision))


def named(path, digest="a" * 64):
    return NamedFile(path, {"file": digest})


def with_weights(word):
    return changed(TINY_PRESET, "network", weights=word)


# ---------------------------------------------------------------- ids of initial weights


def test_a_file_of_weights_is_known_by_its_bytes(tmp_path):
    one, moved = (
        weights(tmp_path, weights=named(tmp_path / "w.pth")),
        weights(tmp_path, weights=named(tmp_path / "else" / "w.pth")),
    )
    assert one.id == moved.id
    assert one.name == "w"
    assert one.id != weights(tmp_path, weights=named(tmp_path / "w.pth", "b" * 64)).id
    assert one.steps == 0


def test_a_file_stands_for_whatever_the_preset_says(tmp_path):
    found = {
        weights(tmp_path, with_weights(word), precision, weights=named(tmp_path / "w.pth")).id
        for word in ("pretext", "random", "file")
        for precision in ("fp32", "bf16")
    }
    assert len(found) == 1


def test_a_preset_that_needs_a_file_says_which_option_names_it(tmp_path):
    with pytest.raises(NotNamed) as caught:
        weights(tmp_path, with_weights("file"))
    assert caught.value.subject == "--weights"
    assert "'tiny'" in caught.value.found
    assert caught.value.exit_code == 3


def test_a_backbone_has_weights_of_its_own(tmp_path):
    preset = changed(TINY_PRESET, "network", backbone="squeezenet1_1")
    assert weights(tmp_path, preset).id != weights(tmp_path).id
    file = named(tmp_path / "w.pth")
    assert weights(tmp_path, preset, weights=file).id != weights(tmp_path, weights=file).id


@pytest.mark.parametrize("word", ["random", "imagenet", "imagenet-caffe", "imagenet-lite"])
def test_weights_that_are_not_trained_here_hang_on_their_name_alone(tmp_path, word):
    preset = with_weights(word)
    others = [
        weights(tmp_path, changed(preset, "data", seed=9)),
        weights(tmp_path, changed(preset, "training", crop=48)),
        weights(tmp_path, preset, "bf16"),
    ]
    one = weights(tmp_path, preset)
    assert {other.id for other in others} == {one.id}
    assert (one.name, one.steps) == (word, 0)
    assert one.id not in {weights(tmp_path, with_weights(other)).id for other in {"random", "imagenet"} - {word}}


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("data", {"seed": 9}),
        ("data", {"num_train": 33}),
        ("proxy", {"pretext_steps": 5}),
        ("proxy", {"batch": 4}),
        ("proxy", {"lr": 2e-3}),
        ("proxy", {"decay_at": 0.5}),
        ("proxy", {"decay_factor": 0.5}),
        ("training", {"crop": 48}),
        ("training", {"scale_min": 0.5}),
        ("training", {"scale_max": 1.5}),
        ("training", {"clip_norm": 2.0}),
    ],
    ids=str,
)
def test_a_pretext_hangs_on_all_that_it_is_trained_with(tmp_path, group, values):
    assert weights(tmp_path, changed(TINY_PRESET, group, **values)).id != weights(tmp_path).id


def test_a_pretext_hangs_on_the_precision(tmp_path):
    assert weights(tmp_path, precision="bf16").id != weights(tmp_path).id


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("proxy", {"steps": 7}),
        ("proxy", {"threshold": 0.3}),
        ("training", {"lr_new": 1e-4}),
        ("network", {"dropout": 0.2}),
    ],
    ids=str,
)
def test_a_pretext_hangs_on_nothing_else(tmp_path, group, values):
    assert weights(tmp_path, changed(TINY_PRESET, group, **values)).id == weights(tmp_path).id


def test_a_pretext_counts_its_steps(tmp_path):
    assert weights(tmp_path).steps == TINY_PRESET.proxy.pretext_steps == 4


# ---------------------------------------------------------------- making initial weights


def test_made_weights_are_what_their_record_says(tmp_path):
    artefact = weights(tmp_path, with_weights("random"))
    watcher = Watcher()
    runner(watcher).make([artefact])
    assert artefact.digest() == file_digest(artefact.folder / "weights.pt")
    assert artefact.read_record()["tensors"] == []  # none came from elsewhere
    assert load_tensors(artefact.folder / "weights.pt").keys() == BACKBONES["small"]().state_dict().keys()
    assert [line for line in watcher.lines if artefact.id in line]


# ---------------------------------------------------------------- the classifier


def classifier(folder, preset=TINY_PRESET, precision="fp32"):
    graph = graph_of(folder, preset)
    study = replace(graph.study, precision=precision)
    return ClassifierStage().artefact(study, graph.data, graph.weights)


def test_a_classifier_hangs_on_data_weights_precision_and_its_training(tmp_path):
    presets = {
        "data": changed(TINY_PRESET, "data", name="other"),
        "weights": with_weights("random"),
        "steps": changed(TINY_PRESET, "proxy", steps=7),
        "batch": changed(TINY_PRESET, "proxy", batch=4),
        "crop": changed(TINY_PRESET, "training", crop=48),
    }
    ids = {name: classifier(tmp_path, preset).id for name, preset in presets.items()}
    ids |= {"": classifier(tmp_path).id, "precision": classifier(tmp_path, precision="bf16").id}
    assert len(set(ids.values())) == len(ids)


def test_a_classifier_does_not_hang_on_what_is_done_with_its_maps(tmp_path):
    # so that cues can be made with another threshold without training again
    later = ("threshold", "cam_sizes", "background_share", "saliency_threshold")
    values = dict(zip(later, (0.3, (24,), 0.2, 0.1), strict=True))
    assert values.keys() <= {f.name for f in fields(TINY_PRESET.proxy)}
    assert classifier(tmp_path, changed(TINY_PRESET, "proxy", **values)).id == classifier(tmp_path).id


class Forbidden:
    """True masks that nobody may look at."""

    def __getitem__(self, index):
        raise AssertionError("a classifier looked at a true mask")


class Tools:
    """A runner's tools, with a data set that the test makes: red and blue squares, and the tags that say so."""

    compute = CPU
    class_names = ("background", "red", "blue")

    def __init__(self, tags):
        self.known, self.stages = tags, []

    def progress(self, name, total, counts=False):
        self.stages.append((name, total, counts))
        return lambda done, of: None

    def dataset(self, artefact):
        return self

    def tags(self, ids):
        return self.known

    def store(self, artefact, longest_side):
        images = np.full((len(self.known), 32, 32, 3), 100, np.uint8)
        images[self.known[:, 0], 4:14, 4:14] = 255, 0, 0
        images[self.known[:, 1], 18:28, 18:28] = 0, 0, 255
        return Store(list("abcdef"), images, Forbidden(), torch.full((len(self.known), 2), 32))


TAGS = np.array([[True, False], [False, True], [True, True]] * 2)


@pytest.fixture
def planned(tmp_path):
    """A planned classifier whose initial weights are there."""
    preset = changed(with_weights("random"), "training", crop=32)
    artefact = classifier(tmp_path, preset)
    runner().make([artefact.input("weights")])
    return artefact


def test_making_a_classifier_trains_it_from_the_initial_weights_on_tags_alone(planned):
    tools = Tools(TAGS)
    made = ClassifierStage().make(planned, tools)
    assert made["digest"] == file_digest(planned.folder / "weights.pt")
    assert made["training"]["steps"] == planned.steps == TINY_PRESET.proxy.steps
    assert preprocessing_of(made) == preprocessing_of(planned.input("weights").read_record())
    assert tools.stages == [(planned.name, planned.steps, True)]
    tensors = load_tensors(planned.folder / "weights.pt")
    assert tensors["scores.weight"].shape == (2, 64, 1, 1)
    before = load_tensors(planned.input("weights").folder / "weights.pt")
    moved = [(tensors[f"backbone.{name}"] - value).abs().max().item() for name, value in before.items()]
    assert all(0 < distance < 0.02 for distance in moved)  # six steps of 0.001 and less away from where they began
    json.dumps(made)


def test_a_classifier_is_the_same_every_time(planned):
    first = ClassifierStage().make(planned, Tools(TAGS))
    shutil.rmtree(planned.folder)
    torch.manual_seed(99)
    assert ClassifierStage().make(planned, Tools(TAGS))["digest"] == first["digest"]


def test_a_class_that_no_image_has_ends_it_before_anything_is_trained(planned):
    tags = TAGS.copy()
    tags[:, 1] = False
    with pytest.raises(BadInput) as caught:
        ClassifierStage().make(planned, Tools(tags))
    assert "'blue'" in caught.value.found
    assert not planned.folder.exists()


# ---------------------------------------------------------------- tags


def test_tags_of_every_class_are_taken():
    check_tags(np.eye(3, dtype=bool), ["background", "cat", "dog", "cow"])


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_without_an_image_is_refused_by_name(missing):
    tags = np.ones((4, 3), bool)
    tags[:, missing] = False
    with pytest.raises(BadInput) as caught:
        check_tags(tags, ["background", "cat", "dog", "cow"])
    assert caught.value.subject == "image_labels.csv"
    assert repr(["cat", "dog", "cow"][missing]) in caught.value.found
    assert caught.value.expected
