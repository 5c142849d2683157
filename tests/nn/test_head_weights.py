"""DSRG's heads begin with VGG16's fc6 and fc7: which filters and taps are kept, which files have them, what is said if none has."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from studies import CPU, Watcher, changed, graph_of, runner

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest
from swdb.nn import initial_weights
from swdb.nn.head_weights import begin_heads, thinned
from swdb.nn.networks import head, vgg16
from swdb.proxy.masks import new_model
from swdb.specs.presets import load_preset
from swdb.specs.study import NamedFile
from swdb.study.graph import Graph

FILTERS, CHANNELS = 8, 4  # in place of 4,096 and 1,024


def layers(six="classifier.0", seven="classifier.3", filters=FILTERS, seed=0) -> dict[str, torch.Tensor]:
    """A VGG16's last layers with fewer filters."""
    draw = torch.Generator().manual_seed(seed)
    return {
        f"{six}.weight": torch.randn(filters, 512 * 49, generator=draw),
        f"{six}.bias": torch.randn(filters, generator=draw),
        f"{seven}.weight": torch.randn(filters, filters, generator=draw),
        f"{seven}.bias": torch.randn(filters, generator=draw),
    }


def file_of(folder, tensors, name="vgg16.pth") -> NamedFile:
    path = folder / name
    if name.endswith(".npz"):
        np.savez(path, **{key: tensor.numpy() for key, tensor in tensors.items()})
    else:
        torch.save(tensors, path)
    return NamedFile(path, {"file": file_digest(path)})


def preset(**network):
    tiny = changed(load_preset(TINY), "network", **{"backbone": "vgg16", "weights": "random", **network})
    return changed(tiny, "dsrg", head_init="fc6-fc7", head_channels=CHANNELS)


def planned(folder, file: NamedFile | None = None, **network) -> Graph:
    return graph_of(folder / "work", preset(**network), **({} if file is None else {"weights": file}))


def made(graph: Graph) -> tuple[dict, str]:
    """Make what the heads begin with; returns its record and what was said."""
    (artefact,), watcher = graph.head_weights, Watcher()
    runner(watcher).make([artefact])
    (line,) = watcher.lines
    return artefact.read_record(), line


# ---------------------------------------------------------------- which filters, which taps


def test_every_step_th_filter_is_kept_and_of_seven_taps_the_first_the_middle_and_the_last():
    tensors = layers()
    values = thinned(tensors, CHANNELS).values
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "fc6.weight": (4, 512, 3, 3), "fc6.bias": (4,), "fc7.weight": (4, 4, 1, 1), "fc7.bias": (4,),
    }  # fmt: skip
    six, seven = tensors["classifier.0.weight"], tensors["classifier.3.weight"]
    for k, filter_ in enumerate((0, 2, 4, 6)):
        assert values["fc6.bias"][k] == tensors["classifier.0.bias"][filter_]
        assert values["fc7.bias"][k] == tensors["classifier.3.bias"][filter_]
        for channel in (0, 17, 511):
            for i, row in enumerate((0, 3, 6)):
                for j, column in enumerate((0, 3, 6)):
                    flat = six[filter_, 49 * channel + 7 * row + column]  # torch and Caffe flatten channel, row, column
                    assert values["fc6.weight"][k, channel, i, j] == flat
        for m, other in enumerate((0, 2, 4, 6)):
            assert values["fc7.weight"][k, m, 0, 0] == seven[filter_, other]


def test_at_the_papers_size_4096_become_1024_without_changing_any_value():
    names = {
        "classifier.0.weight": (4096, 512 * 49),
        "classifier.0.bias": (4096,),
        "classifier.3.weight": (4096, 4096),
        "classifier.3.bias": (4096,),
    }
    tensors = {
        name: torch.arange(shape[0], dtype=torch.float32).reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
        for name, shape in names.items()
    }
    values = thinned(tensors, 1024).values
    assert [tuple(value.shape) for value in values.values()] == [
        (1024, 512, 3, 3),
        (1024,),
        (1024, 1024, 1, 1),
        (1024,),
    ]
    for value in values.values():
        assert torch.equal(value.flatten(1)[:, 0] if value.ndim > 1 else value, torch.arange(0, 4096, 4.0))


def test_a_layer_that_was_thinned_before_is_taken_as_it_is():
    once = thinned(layers(), CHANNELS).values
    again = thinned(once, CHANNELS).values
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert all(once[name].data_ptr() != again[name].data_ptr() for name in once)


@pytest.mark.parametrize(
    ("six", "seven"), [("fc6", "fc7"), ("module.classifier.0", "module.classifier.3"), ("vgg.fc6", "vgg.fc7")]
)
def test_names_are_torchvisions_or_caffes_whatever_stands_before_them(six, seven):
    plain, named = thinned(layers(), CHANNELS), thinned(layers(six, seven), CHANNELS)
    assert all(torch.equal(plain.values[name], named.values[name]) for name in plain.values)
    assert [entry["tensor"] for entry in named.report] == [
        f"{six}.weight",
        f"{six}.bias",
        f"{seven}.weight",
        f"{seven}.bias",
    ]
    assert named.report[0]["why"] == "(8, 25088) to (4, 512, 3, 3)"


def test_convolutions_of_seven_by_seven_are_the_same_layers():
    tensors = layers()
    whole = tensors | {
        "classifier.0.weight": tensors["classifier.0.weight"].reshape(8, 512, 7, 7),
        "classifier.3.weight": tensors["classifier.3.weight"].reshape(8, 8, 1, 1),
    }
    one, other = thinned(tensors, CHANNELS).values, thinned(whole, CHANNELS).values
    assert all(torch.equal(one[name], other[name]) for name in one)


def broken(what):
    tensors = layers()
    if what == "none":
        tensors = {"features.0.weight": torch.zeros(1)}
    elif what == "two":
        tensors |= {f"ema.{name}": tensor for name, tensor in layers(seed=1).items()}
    elif what == "no bias":
        del tensors["classifier.3.bias"]
    elif what == "turned":
        tensors["classifier.0.weight"] = tensors["classifier.0.weight"].T  # as TensorFlow keeps it
    elif what == "another fc7":
        tensors["classifier.3.weight"] = torch.zeros(8, 7)
    elif what == "short bias":
        tensors["classifier.0.bias"] = torch.zeros(3)
    elif what == "filters":
        tensors = layers(filters=6)
    elif what == "NaN":
        tensors["classifier.0.weight"] = torch.full_like(tensors["classifier.0.weight"], float("nan"))
    elif what == "whole numbers":
        tensors["classifier.3.weight"] = tensors["classifier.3.weight"].long()
    elif what == "a number":
        tensors["classifier.3.weight"] = torch.zeros(())
    return tensors


WHY = {
    "none": "no tensor is called classifier.0.weight or fc6.weight",
    "two": "two layers are called classifier.0: classifier.0 and ema.classifier.0",
    "no bias": "classifier.3.bias is missing",
    "turned": "classifier.0.weight is (25088, 8), expected (4096, 25088), (4096, 512, 7, 7) or (1024, 512, 3, 3)",
    "another fc7": "classifier.3.weight is (8, 7), expected (8, 8)",
    "short bias": "classifier.0.bias has 3 values, expected 8",
    "filters": "classifier.0 has 6 filters, which 4 do not divide",
    "NaN": "classifier.0.weight has values that are no finite numbers",
    "whole numbers": "classifier.3.weight has values that are no finite numbers",
    "a number": "classifier.3.weight is (), expected (0, 8)",
}


@pytest.mark.parametrize("what", WHY)
def test_what_is_no_fc6_and_fc7_is_said_and_gives_no_values(what):
    found = thinned(broken(what), CHANNELS)
    assert found.why == WHY[what] and not found.values and not found.report


# ---------------------------------------------------------------- made, and begun with


def backbone_with(tensors) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {**vgg16().state_dict(), **tensors}


def test_of_a_file_that_has_them_every_head_begins_with_the_same_layers(tmp_path):
    graph = planned(tmp_path, file_of(tmp_path, backbone_with(layers())), weights="file")
    record, line = made(graph)
    assert line == "DSRG's heads begin from fc6 and fc7 of vgg16.pth, thinned to 4 channels" and record["begin"] in line
    assert [entry["status"] for entry in record["tensors"]] == ["thinned"] * 4
    runner().make(graph.needed(graph.weights))
    network, wanted = new_model(graph.proxies(1), 6, CPU).network, thinned(layers(), CHANNELS).values
    for branch in network.heads:
        assert torch.equal(branch[0].weight, wanted["fc6.weight"]) and torch.equal(branch[0].bias, wanted["fc6.bias"])
        assert torch.equal(branch[3].weight, wanted["fc7.weight"]) and torch.equal(branch[3].bias, wanted["fc7.bias"])
    first, second = network.heads
    assert not torch.equal(first[-1].weight, second[-1].weight)  # fc8 is new, and drawn
    assert first[0].dilation != second[0].dilation


def test_what_is_drawn_beside_them_is_what_it_was_without(tmp_path):
    file = file_of(tmp_path, backbone_with(layers()))
    graph = planned(tmp_path, file, weights="file")
    made(graph)
    plain = graph_of(graph.study.folder, changed(preset(weights="file"), "dsrg", head_init="random"), weights=file)
    runner().make(graph.needed(graph.weights))
    begun, drawn = (new_model(one.proxies(1), 6, CPU).network.state_dict() for one in (graph, plain))
    other = {name for name in begun if not torch.equal(begun[name], drawn[name])}
    assert other == {f"heads.{k}.{layer}.{kind}" for k in (0, 1) for layer in (0, 3) for kind in ("weight", "bias")}


@pytest.mark.parametrize("name", ["vgg16_20M.npz", "vgg16_20M.pth"])
def test_a_file_in_caffes_names_is_a_backbone_and_has_its_layers(tmp_path, name):
    theirs = {f"conv{key}": value for key, value in caffes(backbone_with({})).items()}
    values = thinned(layers(), CHANNELS).values
    file = file_of(tmp_path, {**theirs, **values}, name)
    graph = planned(tmp_path, file, weights="file")
    record, _ = made(graph)
    assert record["tensors"][0]["why"] == "(4, 512, 3, 3) to (4, 512, 3, 3)"
    network = vgg16()
    report = initial_weights.load_into(network, theirs)
    assert {entry["status"] for entry in report} == {"loaded"} and len(report) == 26
    expected = backbone_with({})
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def caffes(state) -> dict[str, torch.Tensor]:
    """Name VGG16's convolutions by block and place: 1_1, 1_2, 2_1, ..."""
    blocks = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3")
    numbers = sorted({int(name.split(".")[1]) for name in state})
    assert len(numbers) == len(blocks)
    return {
        f"{block}.{kind}": state[f"features.{number}.{kind}"]
        for number, block in zip(numbers, blocks, strict=True)
        for kind in ("weight", "bias")
    }


def test_a_file_with_both_kinds_of_names_is_taken_by_torchvisions(tmp_path):
    state = backbone_with({})
    both = {**{f"conv{key}": value + 1 for key, value in caffes(state).items()}, **state}
    network = vgg16()
    initial_weights.load_into(network, both)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("weights", ["random", "pretext"])
def test_weights_that_are_made_here_have_none_and_it_is_said(tmp_path, weights):
    graph = planned(tmp_path, weights=weights)
    record, line = made(graph)
    assert line == (
        "DSRG's heads begin at random, for there are no fc6 and fc7 to begin from: "
        f"weights that are made here ({weights}) have none"
    )
    assert record["tensors"] == []
    branch = head(512, CHANNELS, 1, 0.0, 6)
    before = {name: tensor.clone() for name, tensor in branch.state_dict().items()}
    begin_heads(graph.head_weights[0], [branch])
    assert all(torch.equal(tensor, before[name]) for name, tensor in branch.state_dict().items())


def test_a_file_without_them_is_taken_and_the_heads_are_drawn(tmp_path):
    record, line = made(planned(tmp_path, file_of(tmp_path, backbone_with({})), weights="file"))
    assert line.endswith("no tensor is called classifier.0.weight or fc6.weight") and "at random" in record["begin"]


@pytest.mark.parametrize(("weights", "spoilt"), [("imagenet", False), ("imagenet-caffe", True)])
def test_of_a_download_they_are_taken_where_they_are_finite(tmp_path, weights, spoilt, monkeypatch):
    tensors = backbone_with(broken("NaN") if spoilt else layers())

    class Chosen:
        def get_state_dict(self, **options):
            return tensors

    monkeypatch.setattr("torchvision.models.get_weight", lambda name: Chosen())
    graph = planned(tmp_path, weights=weights)
    record, line = made(graph)
    assert ("no finite numbers" in line) == spoilt and bool(record["tensors"]) != spoilt
    runner().make([graph.weights])  # whatever its classifier is
    assert graph.weights.done


def test_a_file_that_is_not_finite_is_refused_as_a_whole(tmp_path):
    graph = planned(tmp_path, file_of(tmp_path, backbone_with(broken("NaN"))), weights="file")
    with pytest.raises(BadInput) as caught:
        made(graph)
    assert "classifier.0.weight" in caught.value.found and not graph.head_weights[0].done


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_values_that_are_not_those_that_were_written_are_refused(tmp_path, damage):
    graph = planned(tmp_path, file_of(tmp_path, backbone_with(layers())), weights="file")
    made(graph)
    path = graph.head_weights[0].folder / "weights.pt"
    path.unlink() if damage == "missing" else path.write_bytes(b"x")
    with pytest.raises(MissingArtefact) as caught:
        begin_heads(graph.head_weights[0], [head(512, CHANNELS, 1, 0.0, 6)])
    assert (caught.value.subject, caught.value.found) == (path, damage)


def test_the_record_is_the_same_again(tmp_path):
    file = file_of(tmp_path, backbone_with(layers()))
    graph = planned(tmp_path, file, weights="file")
    first, _ = made(graph)
    shutil.rmtree(graph.head_weights[0].folder)
    assert made(graph)[0] == first


# ---------------------------------------------------------------- planned


def test_they_enter_ids_only_where_they_are_set():
    assert graph_of(Path("w")).head_weights == () and "head_init" not in graph_of(Path("w")).proxies(1).key["dsrg"]
    with_heads = graph_of(Path("w"), preset())
    drawn = graph_of(Path("w"), changed(preset(), "dsrg", head_init="random"))
    assert drawn.head_weights == () and with_heads.weights.id == drawn.weights.id
    assert with_heads.proxies(1).id != drawn.proxies(1).id
    assert [one.kind for one in with_heads.proxies(1).inputs] == ["data", "weights", "cues", "head-weights"]
    assert with_heads.run(with_heads.runs["strong"], 0).id == drawn.run(drawn.runs["strong"], 0).id


def test_a_backbone_without_such_layers_is_refused(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text(Path(TINY).read_text().replace("[dsrg]\n", '[dsrg]\nhead_init = "fc6-fc7"\n'))
    with pytest.raises(BadInput) as caught:
        load_preset(str(path))
    assert "dsrg.head_init" in str(caught.value.subject) and "vgg16" in caught.value.expected


def test_the_papers_preset_begins_its_heads_with_them():
    voc = load_preset("voc")
    assert voc.dsrg.head_init == "fc6-fc7"
    (heads,) = graph_of(Path("w"), voc).head_weights
    assert (
        heads.key == {"backbone": "vgg16", "weights": "imagenet", "channels": 1024} and heads.name == "imagenet-heads"
    )
