"""Opening a work directory: its precision is chosen once, files that a preset needs are named once."""

import json
import os
from pathlib import Path

import pytest
from conftest import TINY

from swdb.core.errors import MissingArtefact, SwdbError
from swdb.core.files import write_json
from swdb.study.plan import Work
from swdb.study.workdir import open_work

# ---------------------------------------------------------------- the work directory's precision


def test_the_precision_is_chosen_once_and_stays(tmp_path):
    chosen = open_work(tmp_path, TINY).precision
    assert chosen in ("fp32", "bf16")
    stored = json.loads((tmp_path / "precision.json").read_text())
    assert stored["precision"] == chosen and stored["because"].keys() == {"processor", "gpu"}
    for kept in ("fp32", "bf16"):  # whatever this processor would have chosen
        write_json(tmp_path / "precision.json", {"precision": kept})
        assert open_work(tmp_path, TINY).precision == kept


def test_a_precision_that_is_asked_for_goes_before_the_stored_one(tmp_path):
    write_json(tmp_path / "precision.json", {"precision": "bf16"})
    assert open_work(tmp_path, TINY, "fp32").precision == "fp32"
    assert open_work(tmp_path, TINY).precision == "bf16"


@pytest.mark.parametrize("content", ["", '{"precision": ', '{"precision": "fp16"}', "{}", "[]", '"fp32"'])
def test_a_damaged_precision_file_is_named_with_its_mend(tmp_path, content):
    (tmp_path / "precision.json").write_text(content)
    with pytest.raises(SwdbError) as caught:
        open_work(tmp_path, TINY)
    assert "precision.json" in str(caught.value) and "delete" in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "precision.json").read_text() == content


def test_proposed_commands_lead_back_to_the_preset_and_the_work_directory(tmp_path):
    assert open_work(tmp_path, TINY, "fp32").where == f"--preset {TINY} --workdir {tmp_path}"
    assert open_work(Path("work"), "synthetic", "fp32").where == "--preset synthetic"


# ---------------------------------------------------------------- files that are named


PRESETS = {
    "weights": ('weights = "pretext"', 'weights = "file"'),
    "cues": ('cues = "classifier"', 'cues = "file"'),
}
OPTIONS = {"weights": "weights_file", "cues": "cues_file"}
NEEDS = pytest.mark.parametrize("kind", OPTIONS)


def preset(folder: Path, *kinds: str) -> str:
    """Write the tiny preset, which needs no file, as one that needs these."""
    text = Path(TINY).read_text()
    for old, new in (PRESETS[kind] for kind in kinds):
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def named_file(folder: Path, name: str = "downloaded.npz", content: bytes = b"content", ids: str | None = None) -> Path:
    """A file that the user names, perhaps with the list of images that goes with cues."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    if ids is not None:
        (folder / "input_list.txt").write_text(ids)
    return folder / name


def opened(tmp_path: Path, preset: str, kind: str, path: Path | None = None, **options) -> Path | None:
    """Open a work directory, naming a file or none; returns the file that the work then has."""
    work = open_work(tmp_path / "work", preset, "fp32", **{OPTIONS[kind]: path}, **options)
    return getattr(work, OPTIONS[kind])


def kept(tmp_path: Path, kind: str) -> dict[str, bytes]:
    place = tmp_path / "work" / "inputs" / "tiny" / kind
    return {path.name: path.read_bytes() for path in place.iterdir()} if place.exists() else {}


def needs(work: Work, kind: str):
    """What a work is asked for first where it needs this kind of file."""
    return work.initial_weights if kind == "weights" else work.proxies(1)


@NEEDS
def test_a_file_that_the_preset_needs_is_named_once(tmp_path, kind):
    mine, theirs = preset(tmp_path, kind), named_file(tmp_path / "downloads")
    assert opened(tmp_path, mine, kind, theirs) == theirs
    theirs.unlink()
    again = opened(tmp_path, mine, kind)
    assert again.read_bytes() == b"content" and again.name == "downloaded.npz"
    assert again.parent == tmp_path / "work" / "inputs" / "tiny" / kind


@NEEDS
def test_the_file_that_is_kept_makes_the_same_ids_as_the_one_that_was_named(tmp_path, kind):
    mine, theirs = preset(tmp_path, "weights", "cues"), named_file(tmp_path / "downloads")
    other = {"weights_file": theirs, "cues_file": theirs}
    first = open_work(tmp_path / "work", mine, "fp32", **other)
    later = open_work(tmp_path / "work", mine, "fp32")
    assert needs(later, kind).id == needs(first, kind).id
    assert later.options == first.options  # a command that is proposed needs not name it again


def test_cues_are_kept_with_their_list(tmp_path):
    mine, theirs = preset(tmp_path, "cues"), named_file(tmp_path / "downloads", "cues.pickle.gz", ids="2007_000032 0")
    opened(tmp_path, mine, "cues", theirs)
    assert kept(tmp_path, "cues") == {"cues.pickle.gz": b"content", "input_list.txt": b"2007_000032 0"}
    assert opened(tmp_path, mine, "cues").name == "cues.pickle.gz"


@NEEDS
def test_another_file_takes_the_place_of_the_one_that_is_kept(tmp_path, kind):
    mine = preset(tmp_path, kind)
    opened(tmp_path, mine, kind, named_file(tmp_path / "one", ids="2007_000032 0"))
    opened(tmp_path, mine, kind, named_file(tmp_path / "two", "other.npz", b"other content"))
    assert kept(tmp_path, kind) == {"other.npz": b"other content"}  # nor is the list of the first one left
    assert opened(tmp_path, mine, kind).read_bytes() == b"other content"


@NEEDS
def test_another_file_of_the_same_name_takes_the_place_of_the_one_that_is_kept(tmp_path, kind):
    mine = preset(tmp_path, kind)
    opened(tmp_path, mine, kind, named_file(tmp_path / "one"))
    opened(tmp_path, mine, kind, named_file(tmp_path / "two", content=b"other content"))
    assert kept(tmp_path, kind) == {"downloaded.npz": b"other content"}


@NEEDS
def test_the_file_that_is_kept_may_be_named_itself(tmp_path, kind):
    mine = preset(tmp_path, kind)
    opened(tmp_path, mine, kind, named_file(tmp_path / "downloads", ids="2007_000032 0"))
    before = kept(tmp_path, kind)
    (tmp_path / "link").symlink_to(tmp_path / "work")
    for folder in ("work", "link"):
        again = tmp_path / folder / "inputs" / "tiny" / kind / "downloaded.npz"
        assert opened(tmp_path, mine, kind, again) == again
        assert kept(tmp_path, kind) == before


@NEEDS
def test_what_a_killed_command_left_half_copied_is_not_taken_for_the_file(tmp_path, kind):
    mine, place = preset(tmp_path, kind), tmp_path / "work" / "inputs" / "tiny" / kind
    place.mkdir(parents=True)
    (place / ".downloaded.npz.abcdef.tmp").write_bytes(b"con")
    assert opened(tmp_path, mine, kind) is None
    opened(tmp_path, mine, kind, named_file(tmp_path / "downloads"))
    assert kept(tmp_path, kind) == {"downloaded.npz": b"content"}


@NEEDS
def test_the_file_that_is_kept_stays_where_the_disk_is_full(tmp_path, kind, monkeypatch):
    mine = preset(tmp_path, kind)
    opened(tmp_path, mine, kind, named_file(tmp_path / "one"))
    other = named_file(tmp_path / "two", "other.npz", b"other content")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SwdbError, match=r"the disk is full: .*other\.npz"):
        opened(tmp_path, mine, kind, other)
    assert kept(tmp_path, kind) == {"downloaded.npz": b"content"}


@NEEDS
def test_a_command_that_only_looks_keeps_nothing(tmp_path, kind):
    mine, theirs = preset(tmp_path, kind), named_file(tmp_path / "downloads")
    work = open_work(tmp_path / "work", mine, "fp32", **{OPTIONS[kind]: theirs}, remember=False)
    assert getattr(work, OPTIONS[kind]) == theirs
    assert work.options.endswith(f"--{kind} {theirs}")  # the next command must name it again
    assert not (tmp_path / "work").exists()
    opened(tmp_path, mine, kind, theirs)
    assert opened(tmp_path, mine, kind, remember=False).read_bytes() == b"content"


@NEEDS
def test_a_file_that_is_not_there_is_named_and_the_one_that_is_kept_stays(tmp_path, kind):
    mine = preset(tmp_path, kind)
    opened(tmp_path, mine, kind, named_file(tmp_path / "downloads"))
    work = open_work(tmp_path / "work", mine, "fp32", **{OPTIONS[kind]: tmp_path / "no.npz"})
    with pytest.raises(MissingArtefact) as caught:
        needs(work, kind)
    message = str(caught.value)
    assert f"--{kind} {tmp_path / 'no.npz'}: no such file; expected" in message and "\n" not in message
    assert kept(tmp_path, kind) == {"downloaded.npz": b"content"}


@NEEDS
def test_a_preset_that_needs_a_file_says_the_command_that_names_it(tmp_path, kind):
    mine = preset(tmp_path, kind)
    with pytest.raises(MissingArtefact) as caught:
        needs(open_work(tmp_path / "work", mine, "fp32"), kind)
    message = str(caught.value)
    command = f"swdb make-proxy --preset {mine} --workdir {tmp_path / 'work'} --precision fp32 --{kind} "
    assert "'tiny'" in message and command in message and "\n" not in message


@NEEDS
def test_a_file_that_the_preset_does_without_is_named_each_time(tmp_path, kind):
    theirs = named_file(tmp_path / "downloads")
    work = open_work(tmp_path / "work", TINY, "fp32", **{OPTIONS[kind]: theirs})
    assert getattr(work, OPTIONS[kind]) == theirs
    assert work.options.endswith(f"--{kind} {theirs}")  # so a command that is proposed names it
    assert kept(tmp_path, kind) == {}
    assert opened(tmp_path, TINY, kind) is None


def test_cues_that_are_named_make_the_proxies_of_any_preset(tmp_path):
    theirs = named_file(tmp_path / "downloads")
    plain, cued = open_work(tmp_path, TINY, "fp32"), open_work(tmp_path, TINY, "fp32", cues_file=theirs)
    assert (plain.preset.proxy.cues, cued.preset.proxy.cues) == ("classifier", "file")
    assert plain.cues.id.startswith("cues-classifier-") and cued.cues.id.startswith("cues-file-")
    assert plain.proxies(1).id != cued.proxies(1).id
    assert plain.run(plain.recipe("strong"), 0).id == cued.run(cued.recipe("strong"), 0).id  # needs no proxies


def test_presets_of_other_names_keep_files_of_their_own(tmp_path):
    mine = preset(tmp_path, "weights")
    opened(tmp_path, mine, "weights", named_file(tmp_path / "downloads"))
    text = Path(mine).read_text()
    Path(mine).write_text(text.replace('name = "tiny"', 'name = "other"', 1))
    assert opened(tmp_path, mine, "weights") is None
