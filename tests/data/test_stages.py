"""The stage of data sets: how one is planned, and that its manifest is its record."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from studies import changed, study_of
from voc_tree import DATA

from swdb.core.artefact import Artefact
from swdb.core.errors import NotMade
from swdb.core.files import read_json, write_json
from swdb.core.progress import silent
from swdb.data.dataset import data_key, open_artefact
from swdb.data.stages import DataStage
from swdb.data.synthetic import SCENES
from swdb.specs.presets import Data, Preset


def planned(folder: Path, settings: Data | None = None, preset: Preset | None = None) -> Artefact:
    """Plan the tiny preset's data set, or another one."""
    study = study_of(folder) if preset is None else study_of(folder, preset)
    if settings is not None:
        study = replace(study, preset=replace(study.preset, data=settings))
    return DataStage().artefact(study)


def tools() -> SimpleNamespace:
    return SimpleNamespace(progress=silent)


@pytest.fixture
def made(tmp_path) -> Artefact:
    """The tiny data set, made as the runner makes it."""
    artefact = planned(tmp_path)
    artefact.begin()
    artefact.finish(DataStage().make(artefact, tools()))
    return artefact


# ---------------------------------------------------------------- planned


def test_a_data_set_lies_in_a_folder_of_its_name_and_its_manifest_is_its_record(tmp_path):
    artefact = planned(tmp_path)
    assert (artefact.kind, artefact.name) == ("data", "tiny")
    assert artefact.folder == artefact.leased_path == tmp_path / "data" / "tiny"
    assert artefact.record == artefact.folder / "manifest.json"
    assert (artefact.inputs, artefact.steps, artefact.done) == ((), 0, False)


def test_its_key_is_that_of_its_settings_which_are_its_task(tmp_path):
    settings = study_of(tmp_path).preset.data
    artefact = planned(tmp_path)
    assert artefact.key == data_key(settings) and artefact.task == settings


@pytest.mark.parametrize("values", [{"seed": 1}, {"num_strong": 11}, {"image_size": 64}, {"name": "other"}])
def test_other_settings_of_the_data_are_another_id(tmp_path, values):
    settings = study_of(tmp_path).preset.data
    assert planned(tmp_path, replace(settings, **values)).id != planned(tmp_path).id


def test_another_drawing_is_another_id(tmp_path, monkeypatch):
    before = planned(tmp_path).id
    monkeypatch.setitem(SCENES.version, "drawing", SCENES.version["drawing"] + 1)
    assert planned(tmp_path).id != before


def test_neither_the_other_settings_nor_the_work_directory_are_in_its_id(tmp_path):
    other = changed(study_of(tmp_path).preset, "training", steps=99)
    assert planned(tmp_path / "elsewhere", preset=other).id == planned(tmp_path).id


# ---------------------------------------------------------------- made


def test_what_is_made_is_finished_and_its_digest_is_that_of_the_contents(made):
    manifest = read_json(made.folder / "manifest.json")
    dataset = open_artefact(made)
    assert made.done and made.read_record() == manifest == dataset.manifest
    assert made.digest() == dataset.digest == manifest["digest"]
    assert (manifest["id"], manifest["kind"], manifest["inputs"]) == (made.id, "data", {})
    assert not made.begun.exists()


def test_making_tells_the_same_as_the_manifest_that_was_written_with_the_set(tmp_path):
    artefact = planned(tmp_path)
    record = DataStage().make(artefact, tools())
    assert record == read_json(artefact.record) and artefact.done


def test_real_images_are_left_to_prepare_voc(tmp_path):
    artefact = planned(tmp_path, DATA)
    with pytest.raises(NotMade) as caught:
        DataStage().make(artefact, tools())
    assert caught.value.subject == artefact.folder and not artefact.done


def test_a_data_set_of_version_0_1_is_finished_and_has_the_digest_it_had(made):
    digest, record = made.digest(), made.read_record()
    old = {"kind": "data", "recipe": record["key"], "tree_root": record["digest"]}
    write_json(made.record, old | {name: record[name] for name in ("classes", "counts", "image_labels")})
    assert made.done and made.digest() == digest == open_artefact(made).digest
    made.check()
