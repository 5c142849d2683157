"""Initial weights: files of the user's, torchvision's downloads, those made here; a report of every tensor."""

import io
import json
import pickle
import urllib.error
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from conftest import SHARED, TINY, swdb

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest
from swdb.nn.compute import machine
from swdb.nn.initial_weights import DOWNLOADS, load_initial, load_into, make_initial_weights, read_weights_file
from swdb.nn.networks import Preprocessing, small, squeezenet1_1
from swdb.study.workdir import open_work

REAL = SHARED / "data" / "weights" / "squeezenet1_1_features.npz"  # where it is at hand


def own_values(seed=1):
    torch.manual_seed(seed)
    return small().state_dict()


def preset(folder, **network):
    """The tiny preset with other values under [network]."""
    text = Path(TINY).read_text()
    for key, value in network.items():
        old = {"backbone": 'backbone = "small"', "weights": 'weights = "pretext"'}[key]
        assert old in text
        text = text.replace(old, f'{key} = "{value}"')
    path = folder / "changed.toml"
    path.write_text(text)
    return str(path)


def made(folder, preset_file, weights_file, quiet):
    """Make the initial weights of a preset from a file; returns the artefact and its record."""
    work = open_work(folder / "work", preset_file, "fp32", weights_file)
    work.initial_weights.begin({})
    make_initial_weights(work, work.initial_weights, machine("cpu", "fp32"), quiet)
    return work.initial_weights, work.initial_weights.read_record("")


def fates(report):
    return {entry["tensor"]: entry["fate"] for entry in report}


# ---------------------------------------------------------------- reading files


def test_a_pth_and_a_npz_of_the_same_values_load_the_same(tmp_path):
    values = own_values()
    torch.save(values, tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in values.items()})
    loaded = []
    for name in ("w.pth", "w.npz"):
        backbone = small()
        tensors, _ = read_weights_file(tmp_path / name)
        assert set(fates(load_into(backbone, tensors)).values()) == {"loaded"}
        loaded.append(backbone.state_dict())
    assert len(values) == 10
    for name, value in values.items():
        assert torch.equal(loaded[0][name], value)
        assert torch.equal(loaded[1][name], value)


def test_a_state_dict_inside_a_checkpoint_is_found(tmp_path):
    torch.save({"state_dict": own_values(), "epoch": 3}, tmp_path / "w.pth")
    tensors, _ = read_weights_file(tmp_path / "w.pth")
    assert tensors.keys() == own_values().keys()


def test_pictures_look_as_the_file_format_says(tmp_path):
    torch.save(own_values(), tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in own_values().items()})
    assert read_weights_file(tmp_path / "w.pth")[1].order == "RGB"
    caffe = read_weights_file(tmp_path / "w.npz")[1]
    assert (caffe.order, caffe.mean, caffe.std) == ("BGR", (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("key", DOWNLOADS, ids="-".join)
def test_pictures_look_as_torchvision_says_for_its_downloads(key):
    group, member, look = DOWNLOADS[key]
    theirs = torchvision.models.get_weight(f"{group}.{member}").transforms()
    assert look.order == "RGB"
    assert look.mean == pytest.approx([255 * value for value in theirs.mean], abs=0.01)
    assert look.std == pytest.approx([255 * value for value in theirs.std], abs=0.01)


class _Planted:
    """Would write a file if anything unpickled it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled(path, trap):
    path.write_bytes(pickle.dumps({"features.0.weight": _Planted(trap)}))


def saved_object(path, trap):
    torch.save({"features.0.weight": _Planted(trap)}, path)


def arrays_with_object(path, trap):
    np.savez(path, **{"features.0.weight": np.array([_Planted(trap)], object)})


@pytest.mark.parametrize(
    ("write", "name"), [(pickled, "w.pth"), (saved_object, "w.pth"), (arrays_with_object, "w.npz")]
)
def test_a_file_with_an_object_in_it_is_refused_and_never_unpickled(tmp_path, write, name):
    write(tmp_path / name, tmp_path / "trap")
    with pytest.raises(BadInput, match=r"--weights .*plain") as refused:
        read_weights_file(tmp_path / name)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "trap").exists()


def test_a_list_of_tensors_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "w.pth")
    with pytest.raises(BadInput, match="expected a dict of names and plain tensors, found list"):
        read_weights_file(tmp_path / "w.pth")


def truncated(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def as_pth(values):
    stream = io.BytesIO()
    torch.save(values, stream)
    return stream.getvalue()


def as_npz(values):
    stream = io.BytesIO()
    np.savez(stream, **{name: value.numpy() for name, value in values.items()})
    return stream.getvalue()


def as_npy(values):
    stream = io.BytesIO()
    np.save(stream, values["features.0.weight"].numpy())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("truncated.pth", lambda values: truncated(as_pth(values))),
        ("truncated.npz", lambda values: truncated(as_npz(values))),
        ("empty.pth", lambda _: b""),
        ("empty.npz", lambda _: b""),
        ("noise.pth", lambda _: bytes(range(256))),
        ("noise.npz", lambda _: bytes(range(256))),
        ("one-array.npz", as_npy),
    ],
)
def test_a_damaged_file_gets_one_line_with_its_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content(own_values()))
    with pytest.raises(BadInput, match=name) as refused:
        read_weights_file(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_npz_with_flipped_bytes_gets_one_line_with_its_name(tmp_path):
    whole = bytearray(as_npz(own_values()))
    with zipfile.ZipFile(io.BytesIO(bytes(whole))) as archive:
        first = archive.infolist()[0]
    whole[first.header_offset + 300] ^= 0xFF  # inside the first array's values; the archive's checksum knows
    (tmp_path / "flipped.npz").write_bytes(whole)
    with pytest.raises(BadInput, match=r"flipped\.npz"):
        read_weights_file(tmp_path / "flipped.npz")


# ---------------------------------------------------------------- by name into a backbone


def test_tensors_behind_the_backbone_are_reported_as_skipped():
    values = {**own_values(), "classifier.0.weight": torch.zeros(3, 3)}
    report = load_into(small(), values)
    assert Counter(fates(report).values()) == {"loaded": 10, "skipped": 1}
    assert fates(report)["classifier.0.weight"] == "skipped"


def test_names_without_the_first_word_are_loaded_too():
    values = {name.removeprefix("features."): value for name, value in own_values().items()}
    backbone = small()
    assert set(fates(load_into(backbone, values)).values()) == {"loaded"}
    assert torch.equal(backbone.features[0].weight, values["0.weight"])


def test_a_bias_with_empty_axes_is_reshaped_and_reported():
    values = own_values()
    values["features.0.bias"] = torch.arange(32.0).reshape(1, 32, 1, 1)
    backbone = small()
    report = load_into(backbone, values)
    entry = next(entry for entry in report if entry["tensor"] == "features.0.bias")
    assert entry["fate"] == "reshaped"
    assert "(1, 32, 1, 1)" in entry["why"]
    assert "(32,)" in entry["why"]
    assert backbone.features[0].bias.tolist() == list(range(32))
    assert Counter(fates(report).values()) == {"loaded": 9, "reshaped": 1}


def test_a_kernel_with_its_axes_in_another_order_is_not_poured_in():
    # TensorFlow's order (height, width, in, out) has as many values; reshaped they would be rubbish without a word.
    values = own_values()
    values["features.0.weight"] = values["features.0.weight"].permute(2, 3, 1, 0).contiguous()
    with pytest.raises(BadInput, match=r"features\.0\.weight"):
        load_into(small(), values)


def test_a_tensor_of_a_wrong_shape_is_refused_with_its_name():
    values = own_values()
    values["features.5.weight"] = torch.zeros(7, 7)
    with pytest.raises(BadInput, match=r"1 of its 10 tensors.*features\.5\.weight"):
        load_into(small(), values)


def test_missing_tensors_are_refused_with_the_first_name_and_their_number():
    values = {name: value for name, value in own_values().items() if name.startswith("features.0.")}
    with pytest.raises(BadInput, match=r"8 of its 10 tensors.*features\.2\.weight"):
        load_into(small(), values)


@pytest.mark.skipif(not REAL.is_file(), reason="the real SqueezeNet weights are not at hand")
def test_real_squeezenet_weights_load_completely():
    tensors, look = read_weights_file(REAL)
    backbone = squeezenet1_1()
    report = load_into(backbone, tensors)
    assert Counter(fates(report).values()) == {"loaded": 50}
    with np.load(REAL) as arrays:
        np.testing.assert_array_equal(backbone.features[0].weight.detach(), arrays["features.0.weight"])
    assert look.order == "BGR"


# ---------------------------------------------------------------- the artefact


def test_a_file_of_the_users_becomes_the_initial_weights_with_a_report(tmp_path, quiet):
    torch.save({**own_values(), "classifier.weight": torch.zeros(2)}, tmp_path / "mine.pth")
    artefact, record = made(tmp_path, TINY, tmp_path / "mine.pth", quiet)
    assert Counter(fates(record["tensors"]).values()) == {"loaded": 10, "skipped": 1}
    assert record["weights_sha256"] == file_digest(artefact.folder / "weights.pt")
    backbone = small()
    look = load_initial(artefact, backbone)
    for name, value in own_values().items():
        assert torch.equal(backbone.state_dict()[name], value)
    assert look == Preprocessing("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def test_other_bytes_in_the_file_are_other_initial_weights(tmp_path):
    ids = set()
    for seed in (1, 2):
        torch.save(own_values(seed), tmp_path / "mine.pth")
        ids.add(open_work(tmp_path / "work", TINY, "fp32", tmp_path / "mine.pth").initial_weights.id)
    assert len(ids) == 2


def test_bytes_that_changed_later_are_noticed(tmp_path, quiet):
    torch.save(own_values(), tmp_path / "mine.pth")
    artefact, _ = made(tmp_path, TINY, tmp_path / "mine.pth", quiet)
    path = artefact.folder / "weights.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(MissingArtefact, match="damaged; delete the folder"):
        load_initial(artefact, small())


def test_initial_weights_that_were_deleted_are_noticed(tmp_path, quiet):
    torch.save(own_values(), tmp_path / "mine.pth")
    artefact, _ = made(tmp_path, TINY, tmp_path / "mine.pth", quiet)
    (artefact.folder / "weights.pt").unlink()
    with pytest.raises(MissingArtefact, match="missing or damaged; delete the folder"):
        load_initial(artefact, small())


def test_a_missing_weights_file_ends_the_command_with_one_line(tmp_path):
    result = swdb("train", "strong", "--preset", TINY, "--workdir", tmp_path, "--weights", tmp_path / "none.pth")
    assert result.returncode == 3
    assert result.stderr.splitlines() == [
        f"swdb: --weights {tmp_path / 'none.pth'}: no such file; expected a .pth or .npz of plain tensors"
    ]


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route to host"),
        OSError("connection reset"),
        RuntimeError('invalid hash value (expected "397923af", got "e3b0c442")'),  # torch.hub, after half a download
    ],
    ids=["no network", "reset", "half a download"],
)
def test_a_failed_download_is_one_line_that_names_the_way_out(tmp_path, monkeypatch, quiet, error):
    def unreachable(**_):
        raise error

    monkeypatch.setattr(torchvision.models, "get_weight", lambda _: SimpleNamespace(get_state_dict=unreachable))
    file = preset(tmp_path, backbone="vgg16", weights="imagenet")
    with pytest.raises(MissingArtefact, match=r"VGG16_Weights\.IMAGENET1K_V1 .*--weights FILE") as refused:
        made(tmp_path, file, None, quiet)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("work/weights/*/done.json"))


def test_a_backbone_without_download_says_so(tmp_path, quiet):
    with pytest.raises(BadInput, match=r"'small'.*'imagenet'.*--weights FILE"):
        made(tmp_path, preset(tmp_path, weights="imagenet"), None, quiet)


def test_random_initial_weights_are_the_same_every_time(tmp_path, quiet):
    digests = {
        made(tmp_path / name, preset(tmp_path, weights="random"), None, quiet)[1]["weights_sha256"]
        for name in ("a", "b")
    }
    assert len(digests) == 1


def test_weights_from_a_pretext_are_trained_weights(finished):
    (folder,) = (finished / "weights").glob("pretext-*")
    steps = [json.loads(line)["step"] for line in (folder / "pretext" / "log.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2, 3]
    work = open_work(finished, TINY, "fp32")
    backbone = small()
    load_initial(work.initial_weights, backbone)
    assert all(torch.isfinite(value).all() for value in backbone.state_dict().values())
    trained = torch.load(folder / "pretext" / "weights.pt", weights_only=True)
    for name, value in backbone.state_dict().items():
        assert torch.equal(trained[f"backbone.{name}"], value)
