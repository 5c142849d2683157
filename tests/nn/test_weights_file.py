"""Files of weights: told by their contents, opened without running anything, refused in words that say what was found."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED

from swdb.core.errors import BadInput, MissingArtefact
from swdb.nn.networks import small
from swdb.nn.weights_file import check_finite, first_answer, read_weights_file
from swdb.specs.preprocessing import IMAGENET_BGR_CAFFE, IMAGENET_RGB, IMAGENET_RGB_CAFFE

REAL = SHARED / "data" / "weights" / "squeezenet1_1_features.npz"  # where it is at hand


def own_values(seed=1):
    torch.manual_seed(seed)
    return small().state_dict()


def refused(path) -> BadInput:
    """Return the error that refuses a file: one line, by the option's name."""
    with pytest.raises(BadInput) as caught:
        read_weights_file(path)
    assert caught.value.subject == f"--weights {path}"
    assert "\n" not in str(caught.value)
    return caught.value


# ---------------------------------------------------------------- what is read


def test_a_pth_and_a_npz_of_the_same_values_are_read_the_same(tmp_path):
    values = own_values()
    torch.save(values, tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in values.items()})
    for name in ("w.pth", "w.npz"):
        tensors = read_weights_file(tmp_path / name)
        assert tensors.keys() == values.keys() and len(values) == 10
        assert all(torch.equal(tensors[key], value) for key, value in values.items())


def test_a_state_dict_inside_a_checkpoint_is_found(tmp_path):
    torch.save({"state_dict": own_values(), "epoch": 3}, tmp_path / "w.pth")
    tensors = read_weights_file(tmp_path / "w.pth")
    assert tensors.keys() == own_values().keys()


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net", "weights"])
def test_tensors_are_found_under_the_names_that_checkpoints_use(tmp_path, wrapper):
    torch.save({"epoch": 3, wrapper: own_values(), "optimizer": {"lr": 0.1}}, tmp_path / "w.pth")
    assert read_weights_file(tmp_path / "w.pth").keys() == own_values().keys()


def test_tensors_two_wrappers_deep_are_found(tmp_path):
    torch.save({"model": {"state_dict": own_values(), "epoch": 1}, "epoch": 3}, tmp_path / "w.pth")
    assert read_weights_file(tmp_path / "w.pth").keys() == own_values().keys()


@pytest.mark.parametrize("name", ["w.npz", "w", "w.pth", "w.weights"])
def test_the_contents_and_not_the_suffix_say_what_a_file_is(tmp_path, name):
    (tmp_path / name).write_bytes(as_pth(own_values()))
    (tmp_path / f"n{name}").write_bytes(as_npz(own_values()))
    assert read_weights_file(tmp_path / name).keys() == read_weights_file(tmp_path / f"n{name}").keys()


def test_arrays_in_another_byte_order_are_read(tmp_path):
    np.savez(tmp_path / "w.npz", **{"0.weight": np.arange(3, dtype=">f4")})
    assert read_weights_file(tmp_path / "w.npz")["0.weight"].tolist() == [0, 1, 2]


def test_torchs_old_format_is_read(tmp_path):
    torch.save(own_values(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert read_weights_file(tmp_path / "w.pth").keys() == own_values().keys()


# ---------------------------------------------------------------- what is refused, and as what


def test_two_sets_of_tensors_in_one_checkpoint_are_refused_by_name(tmp_path):
    torch.save({"state_dict": own_values(), "model": own_values(2)}, tmp_path / "w.pth")
    error = refused(tmp_path / "w.pth")
    assert "'state_dict'" in error.found and "'model'" in error.found


def test_a_whole_pickled_network_is_named_as_one(tmp_path):
    torch.save(small(), tmp_path / "w.pth")
    error = refused(tmp_path / "w.pth")
    assert "swdb.nn.networks.Backbone" in error.found and "state_dict" in error.expected


def test_a_checkpoint_with_tensors_under_another_name_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "generator": own_values()}, tmp_path / "w.pth")
    error = refused(tmp_path / "w.pth")
    assert "epoch (int)" in error.found and "generator (" in error.found and "state_dict" in error.expected


def as_torchscript(path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def as_zip_of_files(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pytorch_model.bin", b"")


def as_safetensors(path):
    header = json.dumps({"0.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("write", "found"),
    [
        (as_torchscript, "TorchScript"),
        (as_zip_of_files, "pytorch_model.bin"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
        (lambda path: path.write_bytes(as_npy(own_values())), ".npy"),
        (lambda path: path.write_text("<!DOCTYPE html><html>"), "web page"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: torch.save({}, path), "nothing"),
    ],
)
def test_other_files_are_named_as_what_they_are(tmp_path, write, found):
    write(tmp_path / "w.pth")
    error = refused(tmp_path / "w.pth")
    assert found in error.found and ".pth" in error.expected


def test_a_safetensors_file_is_read_where_its_library_is_there_and_named_where_not(tmp_path):
    as_safetensors(tmp_path / "w.safetensors")
    try:
        import safetensors  # noqa: F401
    except ImportError:
        assert "library safetensors" in refused(tmp_path / "w.safetensors").found
    else:
        assert read_weights_file(tmp_path / "w.safetensors")["0.weight"].tolist() == [0]


def test_arrays_that_are_no_numbers_are_named(tmp_path):
    np.savez(tmp_path / "w.npz", **{"0.weight": np.array(["a"])})
    assert "'0.weight'" in refused(tmp_path / "w.npz").found


# ---------------------------------------------------------------- not finite


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["w.pth", "w.npz"])
def test_a_value_that_is_not_finite_is_named_with_its_tensor(tmp_path, name, value):
    values = own_values()
    values["features.2.bias"][3] = value
    (tmp_path / name).write_bytes(as_pth(values) if name == "w.pth" else as_npz(values))
    error = refused(tmp_path / name)
    assert "'features.2.bias'" in error.found and "1 values of 32" in error.found


def test_a_number_too_large_for_float32_is_not_finite(tmp_path):
    torch.save({"0.weight": torch.tensor([1e300], dtype=torch.float64), "n": torch.tensor(3)}, tmp_path / "w.pth")
    assert "'0.weight'" in refused(tmp_path / "w.pth").found


def test_half_precision_is_finite_where_it_is():
    check_finite({"a": torch.ones(3, dtype=torch.bfloat16), "b": torch.ones(2, dtype=torch.float16)}, "here")
    with pytest.raises(BadInput) as caught:
        check_finite({"a": torch.tensor([torch.inf], dtype=torch.float16)}, "here")
    assert caught.value.subject == "here"


# ---------------------------------------------------------------- the scale of the first layer


def test_a_first_layer_answers_in_proportion_to_its_values_and_its_inputs():
    weight = own_values()["features.0.weight"]
    one = first_answer(weight, IMAGENET_RGB)
    assert 0.3 < one < 4
    assert first_answer(weight / 57, IMAGENET_RGB) == pytest.approx(one / 57)
    assert first_answer(weight / 57, IMAGENET_RGB_CAFFE) == pytest.approx(one, rel=0.03)


def test_a_layer_that_looks_at_differences_answers_less_than_one_that_looks_at_means():
    mean = torch.full((1, 3, 3, 3), 1 / 27)
    edge = mean * torch.tensor([-1.0, 0.0, 1.0])
    assert first_answer(mean, IMAGENET_RGB) == pytest.approx(1, abs=0.1) and first_answer(edge, IMAGENET_RGB) < 0.3


@pytest.mark.skipif(not REAL.is_file(), reason="the real SqueezeNet weights are not at hand")
def test_the_real_weights_answer_as_was_measured_on_real_images():
    weight = read_weights_file(REAL)["features.0.weight"]
    assert first_answer(weight, IMAGENET_BGR_CAFFE) == pytest.approx(54, rel=0.35)  # of eight images of VOC's val


# ---------------------------------------------------------------- strangers' and damaged files


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
    assert "plain" in str(refused(tmp_path / name))
    assert not (tmp_path / "trap").exists()


def test_a_list_of_tensors_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "w.pth")
    error = refused(tmp_path / "w.pth")
    assert "list" in error.found
    assert "dict" in error.expected


def test_a_dict_with_more_than_tensors_is_refused(tmp_path):
    torch.save({**own_values(), "epoch": 3}, tmp_path / "w.pth")
    assert "plain tensors" in refused(tmp_path / "w.pth").expected


@pytest.mark.parametrize("name", ["w.pth", "w.npz"])
def test_a_missing_file_is_missing_and_not_wrong(tmp_path, name):
    with pytest.raises(MissingArtefact) as caught:
        read_weights_file(tmp_path / name)
    assert caught.value.subject == f"--weights {tmp_path / name}"
    assert caught.value.exit_code == 3


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
    refused(tmp_path / name)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pack", [as_pth, as_npz])
def test_an_archive_with_a_file_twice_is_refused(tmp_path, pack):
    path = tmp_path / "twice"
    path.write_bytes(pack(own_values()))
    with zipfile.ZipFile(path, "a") as archive:
        name = archive.namelist()[-1]
        archive.writestr(name, archive.read(name))
    assert refused(path).found == "a zip archive that holds a file twice"


def test_a_npz_with_flipped_bytes_gets_one_line_with_its_name(tmp_path):
    whole = bytearray(as_npz(own_values()))
    with zipfile.ZipFile(io.BytesIO(bytes(whole))) as archive:
        first = archive.infolist()[0]
    whole[first.header_offset + 300] ^= 0xFF  # inside the first array's values; the archive's checksum knows
    (tmp_path / "flipped.npz").write_bytes(whole)
    refused(tmp_path / "flipped.npz")


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (lambda tensor: tensor.to("meta"), "without values"),
        (lambda tensor: tensor.to_sparse() if tensor.ndim == 1 else tensor, "sparse"),
    ],
)
def test_tensors_that_hold_no_plain_values_are_named(tmp_path, changed, found):
    torch.save({name: changed(tensor) for name, tensor in own_values().items()}, tmp_path / "w.pth")
    assert refused(tmp_path / "w.pth").found.endswith(found)


def test_numbers_that_torch_does_not_have_are_named(tmp_path):
    values = {name: tensor.numpy() for name, tensor in own_values().items()}
    np.savez(tmp_path / "w.npz", **values, other=np.zeros(3, np.longdouble))
    assert "array 'other' is of type" in refused(tmp_path / "w.npz").found


def test_an_average_beside_the_weights_is_not_dropped_in_silence(tmp_path):
    torch.save({"state_dict": own_values(), "state_dict_ema": own_values(2), "epoch": 3}, tmp_path / "w.pth")
    assert "'state_dict' and 'state_dict_ema'" in refused(tmp_path / "w.pth").found


def test_a_pth_with_flipped_bytes_gets_one_line_with_its_name(tmp_path):
    path = tmp_path / "flipped.pth"
    torch.save(own_values(), path)
    whole = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda one: one.file_size)
    whole[largest.header_offset + largest.file_size // 2] ^= 0xFF  # a value; torch itself reads it
    path.write_bytes(whole)
    assert torch.load(path, weights_only=True).keys() == own_values().keys()
    assert refused(path).found == f"damaged: {largest.filename} is not what was written"


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float4_e2m1fn_x2"])
def test_numbers_of_less_than_sixteen_bits_are_named(tmp_path, kind):
    if (dtype := getattr(torch, kind, None)) is None:
        pytest.skip(f"this torch has no {kind}")
    other = torch.zeros(4, dtype=torch.uint8).view(dtype)
    torch.save({**own_values(), "other": other}, tmp_path / "w.pth")
    assert refused(tmp_path / "w.pth").found == f"tensor 'other' is of type {kind}"


def test_a_tensor_that_claims_more_values_than_its_file_has_is_named(tmp_path):
    torch.save({**own_values(), "other": torch.ones(1).expand(10**11)}, tmp_path / "w.pth")
    assert refused(tmp_path / "w.pth").found == "tensor 'other' claims 100,000,000,000 values and has fewer"
