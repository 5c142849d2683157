"""A study: a preset in a work directory, and the files that were named to it, known by what was in them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY

from swdb.core.artefact import Artefact, artefact_id
from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest
from swdb.specs.presets import load_preset
from swdb.specs.study import NamedFile, Study

STAGE = SimpleNamespace(kind="run", version=3, folder="runs")


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(tmp_path / "work", load_preset(TINY), "fp32")


# ---------------------------------------------------------------- files that were named


@pytest.fixture
def named(tmp_path) -> NamedFile:
    """A file as it was when it was named."""
    path = tmp_path / "vgg16.pth"
    path.write_bytes(b"weights")
    return NamedFile(path, {"file": file_digest(path)})


def refused(file: NamedFile, kind: type):
    """Return the error with which a file is refused."""
    with pytest.raises(kind) as caught:
        file.verify("--weights")
    assert caught.value.subject == f"--weights {file.path}"
    return caught.value


def test_a_file_that_is_as_it_was_named_passes_wherever_it_is_now(named):
    named.verify("--weights")
    moved = replace(named, path=named.path.rename(named.path.with_name("moved.pth")))
    moved.verify("--weights")


def test_a_file_that_has_changed_is_refused_by_the_option_that_named_it(named):
    named.path.write_bytes(b"weightz")
    assert "changed" in refused(named, BadInput).found


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_that_is_gone_is_missing(named, folder):
    named.path.unlink()
    if folder:
        named.path.mkdir()
    assert refused(named, MissingArtefact).exit_code == 3


# ---------------------------------------------------------------- studies


def test_reports_have_a_folder_for_each_preset(study):
    assert study.reports == study.folder / "reports" / "tiny"


def test_a_study_without_files_has_none(study):
    assert study.files == {}


def test_keys_say_the_precision_and_a_compiler_where_there_is_one(study):
    assert study.arithmetic == {"precision": "fp32"}
    assert replace(study, compile="inductor").arithmetic == {"precision": "fp32", "compile": "inductor"}


def test_an_artefact_lies_in_a_folder_of_its_own_below_that_of_its_stage(study):
    data = study.artefact(SimpleNamespace(kind="data", version=1, folder="data"), "tiny", {"seed": 0})
    run = study.artefact(STAGE, "dual-s0", {"steps": 6}, (data,), task="how", steps=6)
    assert run.id == artefact_id("dual-s0", "run", 3, {"steps": 6}, (data,))
    assert run.folder == study.folder / "runs" / run.id
    assert (run.kind, run.name, run.key, run.inputs) == ("run", "dual-s0", {"steps": 6}, (data,))
    assert (run.task, run.steps, run.record_name, run.shares_folder) == ("how", 6, "done.json", False)


def test_an_artefact_can_lie_elsewhere_and_have_another_record_with_the_same_id(study):
    elsewhere = {"folder": study.reports, "record_name": "table1.json", "shares_folder": True}
    usual, other = study.artefact(STAGE, "table1", {}), study.artefact(STAGE, "table1", {}, **elsewhere)
    assert other.id == usual.id
    assert (other.record, other.leased_path) == (study.reports / "table1.json",) * 2


def test_ids_do_not_depend_on_the_place_or_the_names_of_a_study(study, tmp_path):
    # What is in the key does, and nothing else: a stage takes from the preset what it reads.
    elsewhere = Study(tmp_path / "elsewhere", replace(study.preset, name="other", seeds=9), "bf16", {"weights": None})
    one, other = (here.artefact(STAGE, "dual-s0", {"steps": 6}) for here in (study, elsewhere))
    assert isinstance(one, Artefact) and one.id == other.id and one.folder != other.folder


def test_nothing_is_made_by_planning(study):
    study.artefact(STAGE, "dual-s0", {"steps": 6})
    assert not Path(study.folder).exists()
