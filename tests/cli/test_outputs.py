"""What a named file may replace: nothing, or what the same command wrote."""

import os
import zipfile

import pytest

from swdb.cli.outputs import head, is_bundle, require_replaceable
from swdb.core.errors import BadInput, NotOurs


def begins_with_ours(path) -> bool:
    return head(path).startswith("ours")


def test_a_new_name_an_empty_file_and_what_we_wrote_may_be_written(tmp_path):
    path = tmp_path / "deep" / "file"
    require_replaceable("--output", path, begins_with_ours, "report")
    path.parent.mkdir()
    for text in ("", "ours, and more"):
        path.write_text(text)
        require_replaceable("--output", path, begins_with_ours, "report")


def test_the_file_of_somebody_else_stays(tmp_path):
    path = tmp_path / "thesis.tex"
    path.write_text("not ours")
    with pytest.raises(NotOurs) as caught:
        require_replaceable("--output", path, begins_with_ours, "report")
    assert str(caught.value) == f"{path}: is no report of swdb's; expected a new name, or an earlier report"


@pytest.mark.parametrize("name", ["", "/", "pipe"])
def test_folders_and_pipes_are_no_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match=r"^--junit "):
        require_replaceable("--junit", type(tmp_path)(name), begins_with_ours, "report")


@pytest.mark.parametrize(("name", "found"), [("bundle.json", True), ("other.json", False)])
def test_a_bundle_is_known_by_what_it_says_of_itself(tmp_path, name, found):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(name, "{}")
    assert is_bundle(tmp_path / "x.zip") is found
    (tmp_path / "y.zip").write_text("no zip")
    assert not is_bundle(tmp_path / "y.zip")
