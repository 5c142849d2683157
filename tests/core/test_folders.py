"""A folder gets its place when it is whole, also where that is a link or a mount, and never that of a stranger's files."""

import os
from pathlib import Path

import pytest

from swdb.core import folders
from swdb.core.errors import DiskRefused
from swdb.core.files import write_text
from swdb.core.folders import UNDER_WAY, check_place, put_in_place, unfinished


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(params=["folder", "link", "mount"])
def place(request, tmp_path, monkeypatch) -> Path:
    """The place of a set, an empty one where it is not a plain folder."""
    path = tmp_path / "data" / "set"
    path.parent.mkdir()
    if request.param == "link":
        (tmp_path / "big").mkdir()
        path.symlink_to(tmp_path / "big")
    if request.param == "mount":
        path.mkdir()
        ismount = os.path.ismount
        monkeypatch.setattr(folders.os.path, "ismount", lambda folder: folder == path or ismount(folder))
        replace = os.replace

        def busy(source, target, **options):
            if path in (Path(source), Path(target)):
                raise OSError(16, os.strerror(16), str(target))
            replace(source, target, **options)

        monkeypatch.setattr(os, "replace", busy)
        monkeypatch.setattr(os, "rename", busy)
    return path


def fill(place: Path, content: str, *more: str) -> Path:
    new = unfinished(place)
    for name in ("manifest.json", "VOCdevkit/a.jpg", *more):
        write_text(new / name, content)
    return new


def test_a_folder_gets_its_place_and_then_another_one_does(place):
    check_place(place, "manifest.json")
    put_in_place(fill(place, "first", "store/x.npy"), place, "manifest.json")
    assert contents(place) == {"manifest.json": "first", "VOCdevkit/a.jpg": "first", "store/x.npy": "first"}
    link = place.is_symlink()
    check_place(place, "manifest.json")
    put_in_place(fill(place, "second", "parts/b.txt"), place, "manifest.json")
    assert contents(place) == {"manifest.json": "second", "VOCdevkit/a.jpg": "second", "parts/b.txt": "second"}
    assert place.is_symlink() is link and sorted(os.listdir(place)) == ["VOCdevkit", "manifest.json", "parts"]


def test_what_others_put_there_is_not_touched(place):
    place.mkdir(exist_ok=True)
    (place / "thesis.tex").write_text("three years")
    with pytest.raises(DiskRefused) as caught:
        check_place(place, "manifest.json")
    assert caught.value.subject == place and "thesis.tex" in caught.value.found
    assert (place / "thesis.tex").read_text() == "three years"


@pytest.mark.parametrize("name", ["notes.md", "thesis.json", "photos"])
@pytest.mark.parametrize("proof", ["manifest.json", ".exchange"])
def test_what_others_put_beside_ours_is_not_touched(place, name, proof):
    write_text(place / proof, "{}")
    (place / name).mkdir()
    with pytest.raises(DiskRefused) as caught:
        check_place(place, "manifest.json")
    assert caught.value.subject == place and name in caught.value.found


def test_the_old_one_stays_where_the_new_one_cannot_be_put_in_its_place(tmp_path, monkeypatch):
    place = tmp_path / "set"
    put_in_place(fill(place, "first"), place, "manifest.json")
    new, replace = fill(place, "second"), os.replace

    def refuse(source, target, **options):
        if Path(source) == new:
            raise OSError(16, "Device or resource busy")
        replace(source, target, **options)

    with monkeypatch.context() as patch, pytest.raises(DiskRefused):
        patch.setattr(os, "replace", refuse)
        put_in_place(new, place, "manifest.json")
    assert contents(place) == {"manifest.json": "first", "VOCdevkit/a.jpg": "first"} and new.is_dir()


def test_the_new_one_is_there_where_the_old_one_cannot_be_deleted(tmp_path, monkeypatch):
    place = tmp_path / "set"
    put_in_place(fill(place, "first"), place, "manifest.json")

    def refuse(path, **options):
        raise OSError(39, "Directory not empty", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refuse)
        put_in_place(fill(place, "second"), place, "manifest.json")
    assert contents(place) == {"manifest.json": "second", "VOCdevkit/a.jpg": "second"}


def test_what_a_file_system_keeps_in_a_mount_is_nobodys(place):
    place.mkdir(exist_ok=True)
    (place / "lost+found").mkdir()
    (place / ".Trash-1000").mkdir()
    check_place(place, "manifest.json")


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "set").symlink_to(tmp_path / "not mounted")
    with pytest.raises(DiskRefused) as caught:
        check_place(tmp_path / "set", "manifest.json")
    assert "not mounted" in caught.value.found


def test_a_file_in_its_place_is_named(tmp_path):
    (tmp_path / "set").write_text("precious")
    with pytest.raises(DiskRefused):
        check_place(tmp_path / "set", "manifest.json")


def test_nothing_is_deleted_for_what_lies_on_another_disk(tmp_path, monkeypatch):
    (tmp_path / "big").mkdir()
    place = tmp_path / "set"
    place.symlink_to(tmp_path / "big")
    put_in_place(fill(place, "first"), place, "manifest.json")
    new = tmp_path / ".set.again"
    write_text(new / "manifest.json", "second")
    stat = Path.stat

    def far(path, **options):
        found = stat(path, **options)
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:10])) if path == new else found

    with monkeypatch.context() as patch, pytest.raises(DiskRefused):
        patch.setattr(Path, "stat", far)
        put_in_place(new, place, "manifest.json")
    assert contents(place) == {"manifest.json": "first", "VOCdevkit/a.jpg": "first"}


def test_an_exchange_that_was_interrupted_is_done_again(tmp_path, monkeypatch):
    (tmp_path / "big").mkdir()
    place = tmp_path / "set"
    place.symlink_to(tmp_path / "big")
    put_in_place(fill(place, "first"), place, "manifest.json")
    new = fill(place, "second")
    with monkeypatch.context() as patch:
        replace = os.replace

        def refuse(source, target, **options):
            if Path(target).name == "manifest.json":
                raise OSError(5, "Input/output error")
            replace(source, target, **options)

        patch.setattr(os, "replace", refuse)
        with pytest.raises(DiskRefused):
            put_in_place(new, place, "manifest.json")
    assert not (place / "manifest.json").exists() and (place / UNDER_WAY).exists()
    check_place(place, "manifest.json")
    put_in_place(fill(place, "third"), place, "manifest.json")
    assert contents(place) == {"manifest.json": "third", "VOCdevkit/a.jpg": "third"}
