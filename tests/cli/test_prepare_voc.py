"""`swdb prepare-voc` as it is typed: real images imported, checked, cut to a part, downloaded; others' lists audited."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import voc_tree
from commands import (
    call,
    contents,
    copied,
    full_disk,
    hinted_command,
    next_command,
    run_hinted_rm,
    succeed,
    the_error,
    the_hint,
)
from conftest import TINY
from PIL import Image
from voc_tree import NAMES, TRAIN, TRAIN_AUG, VAL, build_official, image_file, list_file, mask_file, prepared_mask

from swdb.core import lease
from swdb.core.progress import silent
from swdb.data import audit
from swdb.data.sources import download
from swdb.data.sources.download import check_md5
from swdb.specs.presets import PRESETS, load_preset

WEAK = TRAIN_AUG[2:]


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    """All sources, archives included (read only)."""
    return build_official(tmp_path_factory.mktemp("official"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The folder in which commands are typed, with a preset of as many images as the sources have."""
    monkeypatch.chdir(tmp_path)
    text = (PRESETS / "voc.toml").read_text()
    numbers = (("strong = 1464", "strong = 2"), ("train = 10582", "train = 4"), ("val = 1449", "val = 2"))
    for old, new in (
        ('name = "voc"\ntitle', 'name = "mini"\ntitle'),
        ('name = "voc"\nnum', 'name = "mini"\nnum'),
        *numbers,
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    Path("mini.toml").write_text(text)
    return tmp_path


def voc(*arguments: object):
    return call("prepare-voc", "--preset", "mini.toml", *arguments)


def from_archives(official: Path, *arguments: object):
    """Import the archives."""
    return voc("--voc", official / NAMES["voc"], "--sbd", official / NAMES["sbd"], *arguments)


@pytest.fixture
def root(official) -> Path:
    """A prepared set that a test may spoil."""
    result = from_archives(official)
    assert result.exit_code == 0, result.stderr
    return Path("work/data/mini")


# ---------------------------------------------------------------- a synthetic data set


def test_a_synthetic_data_set_is_drawn_and_counted():
    result = succeed("prepare-voc", "--preset", TINY)
    assert result.stdout.startswith("work/data/tiny: 12 strong, 32 training, 6 validation images, sha256 ")
    assert len(list(Path("work/data/tiny/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))) == 38
    assert {path.name for path in Path("work").iterdir()} == {"data", "swdb.json"}  # and nothing about a precision


def test_what_is_drawn_is_not_drawn_again(own):
    options = ("--preset", TINY, "--workdir", own)
    succeed("prepare-voc", *options, "--check")  # files that were copied are audited once more
    before = contents(own / "data")
    result = succeed("prepare-voc", *options)
    assert "prepared already" in result.stderr
    assert contents(own / "data") == before


def test_what_is_drawn_again_is_the_same_bytes(own):
    def drawn() -> dict[str, bytes]:
        return {name: content for name, (_, content) in contents(own / "data" / "tiny" / "VOCdevkit").items()}

    manifest = own / "data" / "tiny" / "manifest.json"
    before, digest = drawn(), json.loads(manifest.read_text())["digest"]
    succeed("prepare-voc", "--preset", TINY, "--workdir", own, "--again")
    assert json.loads(manifest.read_text())["digest"] == digest
    assert drawn() == before


def test_the_next_command_survives_a_blank_in_a_path(own, folder):
    work = copied(own, folder / "my place")
    proposed = next_command(succeed("prepare-voc", "--preset", TINY, "--workdir", work))
    assert proposed == ["make-proxy", "--preset", TINY, "--workdir", str(work)]
    assert succeed(*proposed, "--device", "cpu").stdout.count(": 32 masks") == 2


HOLD = """
import sys
from pathlib import Path
from swdb.core.lease import leased
with leased(Path(sys.argv[1]), "the other one"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_data_set_that_another_process_prepares_is_waited_for(prepared, monkeypatch):
    root = prepared / "data" / "tiny"
    before = contents(root / "VOCdevkit")
    aside = root.rename(prepared / "aside")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"

        def finish(seconds: float) -> None:  # the other process is done while this one sleeps
            if not root.exists():
                aside.rename(root)
                other.communicate("\n", timeout=60)

        monkeypatch.setattr(lease.time, "sleep", finish)
        monkeypatch.setattr(lease, "announce", lambda line: None)  # as in a process of its own
        result = succeed("prepare-voc", "--preset", TINY, "--workdir", prepared)
    assert contents(root / "VOCdevkit") == before
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("waiting for ")]
    assert line.startswith(f"waiting for tiny, held by process {other.pid} on ") and "the other one" in line


def test_a_full_disk_while_images_are_drawn_is_named_and_a_second_start_succeeds():
    with full_disk(1024):  # an image has about 1,500 bytes
        result = call("prepare-voc", "--preset", TINY)
    assert result.exit_code == 2
    assert "the disk is full" in the_error(result)
    assert not Path("work/data/tiny").exists()
    succeed(*hinted_command(result))
    for path in Path("work/data/tiny/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"):
        with Image.open(path) as image:
            image.load()


# ---------------------------------------------------------------- imported and checked


def test_archives_are_prepared_with_a_report_and_the_next_command(official, root):
    result = from_archives(official, "--again")
    assert result.exit_code == 0
    first, *others = result.stdout.splitlines()
    assert first.startswith("work/data/mini: 2 strong, 4 training, 2 validation images, sha256 ")
    assert "images: 2 strong + 2 weak, 2 val; none in both train and val" in others
    manifest = json.loads((root / "manifest.json").read_text())
    assert others[-1] == f"sha256 {manifest['digest']}" and first.endswith(manifest["digest"][:16])
    assert next_command(result) == ["make-proxy", "--preset", "mini.toml"]


def test_unpacked_sources_and_archives_have_the_same_sha256(official, root):
    unpacked = voc("--voc", official, "--sbd", official / "SegmentationClassAug", "--workdir", "other", "--json")
    assert json.loads(unpacked.stdout)["digest"] == json.loads((root / "manifest.json").read_text())["digest"]


def test_what_is_prepared_is_audited_and_not_imported_again(official, root):
    before = {path: path.stat().st_ino for path in root.rglob("*.*g")}
    result = from_archives(official)
    assert "is prepared already (--again prepares it again)" in result.stderr and result.exit_code == 0
    assert {path: path.stat().st_ino for path in root.rglob("*.*g")} == before


def test_the_report_is_json_where_that_is_asked_for(official, root):
    imported = json.loads(from_archives(official, "--json").stdout)
    assert imported["root"] == "work/data/mini" and imported["counts"] == {"train": 2, "train_aug": 4, "val": 2}
    checked = json.loads(voc("--check", "--json").stdout)
    assert checked == imported["audit"] and checked["tree_root"] == imported["digest"]
    assert checked["images"] == {"strong": 2, "weak": 2, "val": 2}
    assert checked["image_labels"]["images_by_tag"]["bottle"] == 6


def test_the_choice_of_image_level_labels_is_shown(official):
    result = from_archives(official, "--image-labels", "masks")
    assert "image-level labels from masks: aeroplane 2, bicycle 1" in result.stdout


def test_a_check_of_a_good_set_prints_the_report_of_its_preparation(official, root):
    result = voc("--check")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == from_archives(official).stdout.splitlines()[1:]


def test_a_second_check_opens_no_image(root, monkeypatch):
    assert voc("--check").exit_code == 0  # the first after the files got their place

    def refuse(path, *arguments):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(audit, "read_image", refuse)
    monkeypatch.setattr(audit, "read_mask", refuse)
    assert voc("--check").exit_code == 0
    image_file(root, VAL[0]).touch()
    assert "was read again" in voc("--check").stderr


def change_pixel(path: Path) -> None:
    labels = np.array(Image.open(path))
    labels[0, 0] = 9
    voc_tree.save_mask(path, labels)


def swap(path: Path) -> None:
    path.write_text("".join(f"{line}\n" for line in reversed(path.read_text().split())))


# A name for the change; what is done to the prepared set; what the error is about; a part of what it says was found.
CHANGES = {
    "a pixel of a mask": (lambda root: change_pixel(prepared_mask(root, WEAK[0])), "", "has changed since"),
    "a pixel of an image": (
        lambda root: voc_tree.save_image(image_file(root, VAL[0]), 16, 20, seed=9), "", f"{VAL[0]}.jpg",
    ),
    "a deleted image": (lambda root: image_file(root, VAL[0]).unlink(), f"{VAL[0]}.jpg", "missing"),
    "a deleted mask": (lambda root: prepared_mask(root, WEAK[1]).unlink(), f"{WEAK[1]}.png", "missing"),
    "a broken image": (lambda root: image_file(root, VAL[0]).write_bytes(b"\xff\xd8"), f"{VAL[0]}.jpg", "cannot be read"),
    "a shortened list": (lambda root: list_file(root, "val").write_text(VAL[0]), "val.txt", "1"),
    "a list in another order": (lambda root: swap(list_file(root, "val")), "", "val.txt"),
    "a list with a strange image": (
        lambda root: list_file(root, "val").write_text(f"{VAL[0]}\n2012_000009\n"), "2012_000009.jpg", "missing",
    ),
    "a deleted list": (lambda root: list_file(root, "train").unlink(), "train.txt", "missing"),
    "other image-level labels": (
        lambda root: (root / "image_labels.csv").write_text((root / "image_labels.csv").read_text().replace("bird ", "")),
        "", "image_labels.csv",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_check_of_a_changed_set_names_the_file_and_the_command_that_prepares_it_again(official, root, change):
    spoil, name, found = CHANGES[change]
    spoil(root)
    for _ in range(2):  # what was remembered of the first check hides nothing
        result = voc("--check")
        assert result.exit_code in (2, 3) and result.stdout == ""
        subject, _, said = the_error(result).partition(": ")
        assert Path(subject).is_relative_to(root) and subject.endswith(name)
        assert found in said
        command = hinted_command(result)
        assert command[:3] == ["prepare-voc", "--preset", "mini.toml"] and "--again" in command
    assert from_archives(official, "--again").exit_code == 0
    assert voc("--check").exit_code == 0


def test_the_hint_after_a_check_prepares_the_set_again_from_the_sources_that_it_leaves_to_be_named(official, root):
    image_file(root, VAL[0]).unlink()
    command = hinted_command(voc("--check"))
    assert "--check" not in command  # which would only look
    sources = ["--voc", official / NAMES["voc"], "--sbd", official / NAMES["sbd"]]
    succeed(*[word for word in command if word != "--download"], *sources)
    assert voc("--check").exit_code == 0


def test_a_check_of_what_is_not_prepared_says_how_to_come_by_it():
    result = voc("--check")
    assert result.exit_code == 3
    assert the_error(result).startswith("work/data/mini: ") and "'mini'" in the_error(result)
    command = hinted_command(result)
    assert command == ["prepare-voc", "--preset", "mini.toml", "--download"]


def test_sources_do_not_go_with_a_synthetic_data_set(official):
    for option in (["--voc", official], ["--sbd", official], ["--image-labels", "masks"], ["--download"]):
        result = call("prepare-voc", "--preset", TINY, *option)
        assert result.exit_code == 2 and "preset 'tiny' is synthetic" in the_error(result)
        assert not Path("work/data").exists()


# ---------------------------------------------------------------- a part, on purpose


def part_file(name: str) -> str:
    return f"work/presets/{name}.toml"


def test_a_part_gets_a_data_set_and_a_preset_of_its_own_with_its_counts_in_the_title(official):
    kept = ("--classes", "bottle,aeroplane,bird", "--require", "aeroplane, bird", "--name", "planes")
    result = from_archives(official, *kept)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("work/data/planes: 1 strong, 2 training, 1 validation images")
    preset = load_preset(part_file("planes"))
    assert (preset.name, preset.data.name, preset.comparable) == ("planes", "planes", False)
    assert (preset.data.classes, preset.data.require) == (("bottle", "aeroplane", "bird"), ("aeroplane", "bird"))
    assert (preset.data.num_strong, preset.data.num_train, preset.data.num_val) == (1, 2, 1)
    assert "bottle, aeroplane, bird" in preset.title and "1 strong, 1 weak, 1 val images" in preset.title
    assert preset.training == load_preset("voc").training
    assert next_command(result) == ["make-proxy", "--preset", part_file("planes")]
    assert not Path("work/data/mini").exists()


def test_a_part_is_checked_by_its_preset_and_by_the_options_that_made_it(official):
    from_archives(official, "--classes", "bottle", "--name", "bottles")
    by_options = voc("--check", "--classes", "bottle", "--name", "bottles")
    by_preset = call("prepare-voc", "--preset", part_file("bottles"), "--check")
    assert by_options.exit_code == by_preset.exit_code == 0
    assert by_options.stdout == by_preset.stdout != ""


def test_a_part_that_is_prepared_is_not_imported_again(official):
    kept = ("--classes", "bottle", "--name", "bottles")
    first, second = from_archives(official, *kept), from_archives(official, *kept)
    assert "is prepared already" in second.stderr
    assert second.stdout == first.stdout and next_command(second) == next_command(first)


def test_a_part_whose_preset_was_lost_gets_it_back(official):
    kept = ("--classes", "bottle", "--name", "bottles")
    from_archives(official, *kept)
    before = Path(part_file("bottles")).read_text()
    Path(part_file("bottles")).unlink()
    assert from_archives(official, *kept).exit_code == 0
    assert Path(part_file("bottles")).read_text() == before


def test_another_part_under_the_same_name_is_refused_and_leaves_the_first(official):
    from_archives(official, "--classes", "bottle", "--name", "mine")
    result = from_archives(official, "--classes", "bottle,aeroplane", "--name", "mine")
    assert result.exit_code == 3
    assert the_error(result).startswith("work/data/mine: prepared with other settings")
    assert load_preset(part_file("mine")).data.classes == ("bottle",)
    command = hinted_command(result)
    assert command[-1] == "--again"
    succeed(*command)
    assert load_preset(part_file("mine")).data.classes == ("bottle", "aeroplane")


def test_a_damaged_manifest_of_a_part_is_one_line(official):
    from_archives(official, "--classes", "bottle", "--name", "mine")
    for content in ("{", "[]", "{}", '{"counts": 3}'):
        Path("work/data/mine/manifest.json").write_text(content)
        result = voc("--check", "--classes", "bottle", "--name", "mine")
        assert the_error(result).startswith("work/data/mine/manifest.json: damaged")
        assert "--again" in hinted_command(result)


def test_what_is_there_of_a_partial_copy_is_a_part_named_so(tmp_path):
    own = build_official(tmp_path / "own")
    for path in (image_file(own, TRAIN[0]), mask_file(own, VAL[1]), image_file(own, WEAK[0])):
        path.unlink()
    result = voc("--voc", "own/VOCdevkit", "--sbd", "own/benchmark_RELEASE")
    assert result.exit_code == 2
    command = hinted_command(result)
    assert command[-3:] == ["--available-only", "--name", "NAME"]
    result = succeed(*command[:-1], "mini-part")
    preset = load_preset(part_file("mini-part"))
    assert preset.data.available_only and not preset.comparable
    assert "1 strong, 1 weak, 1 val images" in preset.title


@pytest.mark.parametrize(
    ("options", "subject", "helps"),
    [
        (["--classes", "botle"], "--classes: class 'botle'", "bottle"),
        (["--classes", "bottle", "--require", "aeroplane"], "--require: class 'aeroplane'", ""),
        (["--available-only", "--name", "mini"], "--name mini", ""),
    ],
)
def test_a_part_of_unknown_words_is_refused_before_anything_is_read(options, subject, helps):
    result = voc("--voc", "nowhere", *options)
    assert result.exit_code == 2
    assert the_error(result).startswith(f"{subject}: ")
    assert helps in the_hint(result)
    assert not Path("work").exists()


def test_a_part_without_images_in_one_of_its_lists_is_one_line(official):
    result = from_archives(official, "--classes", "boat")
    assert result.exit_code == 2
    assert all(
        part in the_error(result) for part in ("'mini-boat'", "0 in train.txt", "1 in train_aug.txt", "0 in val.txt")
    )
    assert not Path("work/presets").exists() and not Path("work/data/mini-boat").exists()


def test_the_hint_about_a_part_names_the_part_again(tmp_path):
    own = build_official(tmp_path / "own")
    (own / NAMES["voc"]).write_bytes((own / NAMES["voc"]).read_bytes()[:20000])
    typed = ["--classes", "bottle,bird", "--name", "my part"]
    result = from_archives(own, *typed)
    assert the_error(result).startswith(f"--voc {own / NAMES['voc']}: truncated or damaged")
    command = hinted_command(result)
    assert [word for word in command if word in typed] == typed
    voc_tree.pack(own)
    succeed(*command)
    assert load_preset(part_file("my part")).data.classes == ("bottle", "bird")


# ---------------------------------------------------------------- other projects' lists


@pytest.fixture
def lists() -> Path:
    """Lists of a project: an image in both, one of val, one that VOC does not have."""
    folder = Path("lists/1_2")
    folder.mkdir(parents=True)
    (folder / "labeled.txt").write_text(f"{TRAIN[0]}\n{WEAK[0]}\n")
    unlabelled = [TRAIN[1], WEAK[0], VAL[0], "2009_000001"]
    (folder / "unlabeled.txt").write_text(
        "".join(f"JPEGImages/{i}.jpg SegmentationClassAug/{i}.png\n" for i in unlabelled)
    )
    return Path("lists")


# list, images, finely labelled (%), only in SBD, in val, not in VOC
KNOWN = [["1_2/labeled.txt", "2", "50.0", "1", "0", "0"], ["1_2/unlabeled.txt", "4", "25.0", "1", "1", "1"]]


def rows(result) -> list[list[str]]:
    """The table's rows below its titles."""
    return [line.split() for line in result.stdout.splitlines()[1:3]]


def test_lists_are_audited_without_voc_as_far_as_that_goes(lists):
    result = call("prepare-voc", "--audit-splits", "lists")
    assert result.exit_code == 0
    shown = result.stdout.splitlines()
    assert rows(result) == [[*row[:2], *["unknown"] * 4] for row in KNOWN]
    assert any(line.startswith("leak: ") and WEAK[0] in line for line in shown)
    assert hinted_command(result) == ["prepare-voc", "--audit-splits", "lists", "--voc", "DIR", "--sbd", "DIR"]
    assert not Path("work").exists()


@pytest.mark.parametrize(
    "sources",
    [(NAMES["voc"], NAMES["sbd"]), ("VOCdevkit", "SegmentationClassAug.zip"), ("VOCdevkit", "benchmark_RELEASE")],
)
def test_lists_are_compared_with_voc_s_own_from_any_form_of_the_sources(official, lists, sources):
    result = call(
        "prepare-voc", "--audit-splits", "lists", "--voc", official / sources[0], "--sbd", official / sources[1]
    )
    assert result.exit_code == 0
    assert rows(result) == KNOWN
    assert any(line.startswith("leak: ") and VAL[0] in line for line in result.stdout.splitlines())
    assert any(line.startswith("unknown: ") and "2009_000001" in line for line in result.stdout.splitlines())
    assert not Path("work/data").exists()


def test_lists_are_compared_with_a_prepared_set_too(root, lists):
    assert rows(call("prepare-voc", "--audit-splits", "lists", "--voc", root)) == KNOWN
    root.rename("work/data/voc")
    assert rows(call("prepare-voc", "--audit-splits", "lists")) == KNOWN


def test_the_audit_of_lists_is_json_where_that_is_asked_for(root, lists):
    found = json.loads(call("prepare-voc", "--audit-splits", "lists", "--voc", root, "--json").stdout)
    assert [(entry["ids"], entry["fine"], entry["val"]) for entry in found["lists"]] == [(2, 1, 0), (4, 1, 1)]
    assert found["pairs"][0]["overlap"] == {"count": 1, "first": WEAK[0]}


def test_a_folder_without_lists_is_named():
    Path("empty").mkdir()
    result = call("prepare-voc", "--audit-splits", "empty")
    assert result.exit_code == 2 and the_error(result).startswith("--audit-splits empty: ")


# ---------------------------------------------------------------- downloads


@pytest.fixture
def origin(official, monkeypatch) -> Iterator[list[str]]:
    """A server on this machine that publishes the archives; returns the paths that it was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(official))

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        publish(monkeypatch, f"http://127.0.0.1:{server.server_port}", official)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


def publish(monkeypatch, address: str, official: Path) -> None:
    """Let the official archives be the small ones, at another address."""
    for name in ("VOC2012", "SBD"):
        published = getattr(download, name)
        url, md5 = f"{address}/{published.name}", download._md5(official / published.name, silent())
        monkeypatch.setattr(download, name, replace(published, url=url, md5=md5))


def test_both_archives_are_downloaded_checked_and_imported(official, origin):
    result = voc("--download")
    assert result.exit_code == 0, result.stderr
    assert origin == [f"/{NAMES['voc']}", f"/{NAMES['sbd']}"]
    check_md5(Path("work/downloads") / NAMES["voc"], download.VOC2012, silent())
    imported = json.loads(from_archives(official, "--json", "--workdir", "other").stdout)
    assert f"sha256 {imported['digest']}" in result.stdout.splitlines()


def test_what_was_downloaded_is_not_downloaded_again(origin):
    voc("--download")
    assert voc("--download", "--again").exit_code == 0 and len(origin) == 2


def test_only_what_no_option_names_is_downloaded(official, origin):
    assert voc("--download", "--voc", official / NAMES["voc"]).exit_code == 0
    assert origin == [f"/{NAMES['sbd']}"]


def test_what_is_prepared_is_not_downloaded(root, origin):
    assert voc("--download").exit_code == 0 and origin == []


def test_what_came_before_a_server_went_is_not_downloaded_again(origin, monkeypatch):
    url = download.SBD.url
    monkeypatch.setattr(download, "SBD", replace(download.SBD, url=f"{url}.gone"))
    result = voc("--download")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{url}.gone: ") and "404" in the_error(result)
    assert download.SBD.md5 in the_error(result)
    monkeypatch.setattr(download, "SBD", replace(download.SBD, url=url))
    assert voc("--download").exit_code == 0
    assert [path for path in origin if not path.endswith(".gone")] == [f"/{NAMES['voc']}", f"/{NAMES['sbd']}"]


def test_an_archive_of_a_wrong_sum_is_named_and_deleted(origin, monkeypatch):
    monkeypatch.setattr(download, "SBD", replace(download.SBD, md5="0" * 32))
    result = voc("--download")
    assert result.exit_code == 2
    assert the_error(result).startswith(f"{download.SBD.url}: ") and "0" * 32 in the_error(result)
    assert [path.name for path in Path("work/downloads").iterdir()] == [NAMES["voc"]]
    assert not Path("work/data/mini").exists()


def test_an_archive_changed_on_the_disk_is_named_and_the_hint_helps(origin):
    voc("--download")
    path = Path("work/downloads") / NAMES["voc"]
    path.write_bytes(b"other")
    result = voc("--download", "--again")
    assert the_error(result).startswith(f"{path}: ") and download.VOC2012.md5 in the_error(result)
    assert Path("work/data/mini/manifest.json").is_file()
    run_hinted_rm(result)
    assert voc("--download", "--again").exit_code == 0


def test_a_server_that_is_gone_is_named_and_the_hint_says_how_to_do_it_by_hand(official, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    publish(monkeypatch, "http://127.0.0.1:9", official)
    result = voc("--download")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"http://127.0.0.1:9/{NAMES['voc']}: ")
    assert download.VOC2012.md5 in the_error(result)
    for name in NAMES.values():  # somebody brings them
        shutil.copy(official / name, name)
    succeed(*hinted_command(result))


# ---------------------------------------------------------------- what does not go together


@pytest.mark.parametrize("other", [["--again"], ["--download"], ["--voc", "somewhere"], ["--sbd", "somewhere"]])
def test_a_check_imports_nothing(other):
    result = call("prepare-voc", "--preset", "voc", "--check", *other)
    assert result.exit_code == 2
    assert the_error(result).startswith("--check: ")
    assert not Path("work").exists()


def test_preparing_again_without_sources_says_the_whole_command():
    Path("work/data/mini").mkdir(parents=True)
    result = voc("--again")
    assert result.exit_code == 3
    assert hinted_command(result) == ["prepare-voc", "--preset", "mini.toml", "--again", "--download"]


def test_a_folder_that_holds_no_voc_is_refused(official):
    Path("empty").mkdir()
    result = voc("--voc", "empty", "--sbd", official / NAMES["sbd"])
    assert result.exit_code == 2
    assert the_error(result).startswith("--voc empty: ") and "train.txt" in the_error(result)
    assert not Path("work/data/mini").exists()


def test_an_unknown_preset_is_not_taken_for_a_source():
    result = call("prepare-voc", "--dataset", "imagenet")
    assert result.exit_code == 2
    assert the_error(result).startswith("preset 'imagenet': unknown")
    assert "source" not in result.stderr
    assert not Path("work").exists()


def test_a_hint_is_not_the_command_that_was_just_refused(official):
    result = call("prepare-voc", "--preset", TINY, "--voc", official)
    assert "run again" not in result.stderr


def test_the_next_command_names_files_that_were_never_named(official):
    text = Path("mini.toml").read_text().replace('weights = "imagenet"', 'weights = "file"')
    Path("mini.toml").write_text(text)
    assert next_command(from_archives(official)) == ["make-proxy", "--weights", "FILE", "--preset", "mini.toml"]
