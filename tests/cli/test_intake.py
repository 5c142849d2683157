"""`swdb prepare-voc` as it is typed: photographs taken in, checked, cut to a part, downloaded; others' lists audited."""

import json
import shlex
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import voc_tree
from commands import call, next_command, the_line
from conftest import REPOSITORY, TINY
from PIL import Image
from voc_tree import NAMES, TRAIN, TRAIN_AUG, VAL, build_official, image_file, list_file, mask_file, prepared_mask

from swdb.data import audit
from swdb.data.sources import download
from swdb.data.sources.download import check_md5
from swdb.specs.presets import PACKAGE, load_preset

WEAK = TRAIN_AUG[2:]


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    """All sources, archives included (read only)."""
    return build_official(tmp_path_factory.mktemp("official"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The folder in which commands are typed, with a preset of as many images as the sources have."""
    monkeypatch.chdir(tmp_path)
    text = (PACKAGE / "specs" / "presets" / "voc.toml").read_text()
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


def take(official: Path, *arguments: object):
    """Take the archives."""
    return voc("--voc", official / NAMES["voc"], "--sbd", official / NAMES["sbd"], *arguments)


@pytest.fixture
def root(official) -> Path:
    """A prepared set that a test may spoil."""
    result = take(official)
    assert result.exit_code == 0, result.stderr
    return Path("work/data/mini")


# ---------------------------------------------------------------- taken and checked


def test_archives_are_prepared_with_a_report_and_the_next_command(official, root):
    result = take(official, "--again")
    assert result.exit_code == 0
    first, *others = result.stdout.splitlines()
    assert first.startswith("work/data/mini: 2 strong, 4 training, 2 validation images, sha256 ")
    assert "images: 2 strong + 2 weak, 2 val; none in both train and val" in others
    manifest = json.loads((root / "manifest.json").read_text())
    assert others[-1] == f"sha256 {manifest['tree_root']}" and first.endswith(manifest["tree_root"][:16])
    assert next_command(result) == ["make-proxy", "--preset", "mini.toml"]


def test_unpacked_sources_and_archives_have_the_same_sha256(official, root):
    unpacked = voc("--voc", official, "--sbd", official / "SegmentationClassAug", "--workdir", "other", "--json")
    assert json.loads(unpacked.stdout)["tree_root"] == json.loads((root / "manifest.json").read_text())["tree_root"]


def test_what_is_prepared_is_audited_and_not_taken_again(official, root):
    before = {path: path.stat().st_ino for path in root.rglob("*.*g")}
    result = take(official)
    assert "is prepared already (--again prepares it anew)" in result.stderr and result.exit_code == 0
    assert {path: path.stat().st_ino for path in root.rglob("*.*g")} == before


def test_the_report_is_json_where_that_is_asked_for(official, root):
    taken = json.loads(take(official, "--json").stdout)
    assert taken["root"] == "work/data/mini" and taken["counts"] == {"train": 2, "train_aug": 4, "val": 2}
    checked = json.loads(voc("--check", "--json").stdout)
    assert checked == taken["audit"] and checked["tree_root"] == taken["tree_root"]
    assert checked["images"] == {"strong": 2, "weak": 2, "val": 2}
    assert checked["image_labels"]["images_by_tag"]["bottle"] == 6


def test_the_choice_of_image_level_labels_is_shown(official):
    result = take(official, "--image-labels", "masks")
    assert "image-level labels from masks: aeroplane 2, bicycle 1" in result.stdout


def test_a_check_of_a_good_set_prints_the_report_of_its_preparation(official, root):
    result = voc("--check")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == take(official).stdout.splitlines()[1:]


def test_a_second_check_opens_no_picture(root, monkeypatch):
    assert voc("--check").exit_code == 0  # the first after the files got their place

    def refuse(path, *arguments):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(audit, "read_image", refuse)
    monkeypatch.setattr(audit, "read_mask", refuse)
    assert voc("--check").exit_code == 0
    image_file(root, VAL[0]).touch()
    assert isinstance(voc("--check").exception, AssertionError)


def change_pixel(path: Path) -> None:
    labels = np.array(Image.open(path))
    labels[0, 0] = 9
    voc_tree.save_mask(path, labels)


def swap(path: Path) -> None:
    path.write_text("".join(f"{line}\n" for line in reversed(path.read_text().split())))


# A name for the change; what is done to the prepared set; words of the line.
CHANGES = {
    "a pixel of a mask": (lambda root: change_pixel(prepared_mask(root, WEAK[0])), ["has changed since it was prepared"]),
    "a pixel of an image": (
        lambda root: voc_tree.save_image(image_file(root, VAL[0]), 16, 20, seed=9), ["has changed since it was prepared"],
    ),
    "a deleted image": (lambda root: image_file(root, VAL[0]).unlink(), [f"JPEGImages/{VAL[0]}.jpg is missing"]),
    "a deleted mask": (lambda root: prepared_mask(root, WEAK[1]).unlink(), [f"{WEAK[1]}.png is missing"]),
    "a broken image": (lambda root: image_file(root, VAL[0]).write_bytes(b"\xff\xd8"), [f"{VAL[0]}.jpg cannot be read"]),
    "a shortened list": (lambda root: list_file(root, "val").write_text(VAL[0]), ["val.txt has 1 ids", "expected 2"]),
    "a list in another order": (lambda root: swap(list_file(root, "val")), ["has changed since it was prepared"]),
    "a list with a strange image": (
        lambda root: list_file(root, "val").write_text(f"{VAL[0]}\n2012_000009\n"), ["2012_000009.jpg is missing"],
    ),
    "a deleted list": (lambda root: list_file(root, "train").unlink(), ["Segmentation/train.txt is missing"]),
    "other image-level labels": (
        lambda root: (root / "image_labels.csv").write_text((root / "image_labels.csv").read_text().replace("bird ", "")),
        ["has changed since it was prepared"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_check_of_a_changed_set_is_one_line_with_the_command_that_prepares_it_anew(official, root, change):
    spoil, words = CHANGES[change]
    spoil(root)
    for _ in range(2):  # what was remembered of the first check hides nothing
        result = voc("--check")
        line = the_line(result)
        assert result.exit_code in (2, 3) and result.stdout == ""
        assert [word for word in words if word not in line] == [], line
        assert "swdb prepare-voc --preset mini.toml" in line and "--again" in line
    assert take(official, "--again").exit_code == 0
    assert voc("--check").exit_code == 0


def test_a_check_of_what_is_not_prepared_says_how_to_come_by_it():
    result = voc("--check")
    assert result.exit_code == 3
    assert "'mini' is not in work/data/mini" in the_line(result) and "--download" in the_line(result)


def test_sources_do_not_go_with_a_drawn_data_set(official):
    for option in (["--voc", official], ["--sbd", official], ["--image-labels", "masks"], ["--download"]):
        result = call("prepare-voc", "--preset", TINY, *option)
        assert result.exit_code == 2 and "go with photographs, but preset 'tiny' is drawn" in the_line(result)


# ---------------------------------------------------------------- a part, on purpose


def part_file(name: str) -> str:
    return f"work/presets/{name}.toml"


def test_a_part_gets_a_data_set_and_a_preset_of_its_own_with_its_counts_in_the_title(official):
    kept = ("--classes", "bottle,aeroplane,bird", "--require", "aeroplane, bird", "--name", "planes")
    result = take(official, *kept)
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
    take(official, "--classes", "bottle", "--name", "bottles")
    by_options = voc("--check", "--classes", "bottle", "--name", "bottles")
    by_preset = call("prepare-voc", "--preset", part_file("bottles"), "--check")
    assert by_options.exit_code == by_preset.exit_code == 0
    assert by_options.stdout == by_preset.stdout != ""


def test_a_part_that_is_prepared_is_not_taken_again(official):
    kept = ("--classes", "bottle", "--name", "bottles")
    first, second = take(official, *kept), take(official, *kept)
    assert "is prepared already" in second.stderr
    assert second.stdout == first.stdout and next_command(second) == next_command(first)


def test_a_part_whose_preset_was_lost_gets_it_back(official):
    kept = ("--classes", "bottle", "--name", "bottles")
    take(official, *kept)
    before = Path(part_file("bottles")).read_text()
    Path(part_file("bottles")).unlink()
    assert take(official, *kept).exit_code == 0
    assert Path(part_file("bottles")).read_text() == before


def test_another_part_under_the_same_name_is_refused_and_leaves_the_first(official):
    take(official, "--classes", "bottle", "--name", "mine")
    result = take(official, "--classes", "bottle,aeroplane", "--name", "mine")
    assert result.exit_code == 3
    line = the_line(result)
    assert "work/data/mine was prepared with other settings" in line
    assert "--classes bottle,aeroplane --name mine --again" in line
    assert load_preset(part_file("mine")).data.classes == ("bottle",)
    assert take(official, "--classes", "bottle,aeroplane", "--name", "mine", "--again").exit_code == 0
    assert load_preset(part_file("mine")).data.classes == ("bottle", "aeroplane")


def test_a_damaged_manifest_of_a_part_is_one_line(official):
    take(official, "--classes", "bottle", "--name", "mine")
    for content in ("{", "[]", "{}", '{"counts": 3}'):
        Path("work/data/mine/manifest.json").write_text(content)
        line = the_line(voc("--check", "--classes", "bottle", "--name", "mine"))
        assert "work/data/mine/manifest.json is damaged" in line and "--again" in line


def test_what_is_there_of_a_partial_copy_is_a_part_named_so(tmp_path):
    own = build_official(tmp_path / "own")
    for path in (image_file(own, TRAIN[0]), mask_file(own, VAL[1]), image_file(own, WEAK[0])):
        path.unlink()
    result = voc("--voc", "own/VOCdevkit", "--sbd", "own/benchmark_RELEASE")
    assert result.exit_code == 2 and "--available-only" in the_line(result)
    result = voc("--voc", "own/VOCdevkit", "--sbd", "own/benchmark_RELEASE", "--available-only")
    assert result.exit_code == 0, result.stderr
    preset = load_preset(part_file("mini-part"))
    assert preset.data.available_only and not preset.comparable
    assert "1 strong, 1 weak, 1 val images" in preset.title


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--classes", "botle"], "--classes: unknown class 'botle'; did you mean 'bottle'?"),
        (["--classes", "bottle", "--require", "aeroplane"], "--require: unknown class 'aeroplane'; known: bottle"),
        (["--available-only", "--name", "mini"], "--name mini: expected a folder's name other than 'mini'"),
    ],
)
def test_a_part_of_unknown_words_is_refused_before_anything_is_read(options, words):
    result = voc("--voc", "nowhere", *options)
    assert result.exit_code == 2 and words in the_line(result)
    assert not Path("work/data").exists()


def test_a_part_without_images_in_one_of_its_lists_is_one_line(official):
    result = take(official, "--classes", "boat")
    assert result.exit_code == 2
    assert "'mini-boat' would have 0 in train.txt, 1 in train_aug.txt, 0 in val.txt" in the_line(result)
    assert not Path("work/presets").exists() and not Path("work/data/mini-boat").exists()


def test_the_command_that_mends_a_part_names_the_part_again(tmp_path):
    own = build_official(tmp_path / "own")
    (own / NAMES["voc"]).write_bytes((own / NAMES["voc"]).read_bytes()[:20000])
    line = the_line(take(own, "--classes", "bottle,bird", "--name", "my part"))
    assert "truncated or damaged" in line
    command = shlex.split(line[line.rindex("swdb prepare-voc") :])
    expected = [
        "--preset",
        "mini.toml",
        "--classes",
        "bottle,bird",
        "--name",
        "my part",
        "--voc",
        str(own / NAMES["voc"]),
    ]
    assert command[2:-2] == expected
    voc_tree.pack(own)
    assert call(*command[1:]).exit_code == 0


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
    assert "swdb prepare-voc --audit-splits lists --voc DIR --sbd DIR" in shown[-1]


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


def test_a_folder_without_lists_is_one_line():
    Path("empty").mkdir()
    result = call("prepare-voc", "--audit-splits", "empty")
    assert result.exit_code == 2 and "empty" in the_line(result)


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
        url, md5 = f"{address}/{published.name}", download._md5(official / published.name, lambda done, of: None)
        monkeypatch.setattr(download, name, replace(published, url=url, md5=md5))


def test_both_archives_are_downloaded_checked_and_taken(official, origin):
    result = voc("--download")
    assert result.exit_code == 0, result.stderr
    assert origin == [f"/{NAMES['voc']}", f"/{NAMES['sbd']}"]
    check_md5(Path("work/downloads") / NAMES["voc"], download.VOC2012, lambda done, of: None, "")
    taken = json.loads(take(official, "--json", "--workdir", "other").stdout)
    assert f"sha256 {taken['tree_root']}" in result.stdout.splitlines()


def test_what_was_downloaded_is_not_downloaded_again(origin):
    voc("--download")
    assert voc("--download", "--again").exit_code == 0 and len(origin) == 2


def test_only_what_no_option_names_is_downloaded(official, origin):
    assert voc("--download", "--voc", official / NAMES["voc"]).exit_code == 0
    assert origin == [f"/{NAMES['sbd']}"]


def test_what_is_prepared_is_not_downloaded(root, origin):
    assert voc("--download").exit_code == 0 and origin == []


def by_hand(line: str) -> list[str]:
    """The arguments of the command that goes on with archives fetched by hand."""
    assert "elsewhere (expected is the md5 " in line
    return shlex.split(line[line.rindex("run: swdb ") :])[2:]


def test_an_archive_of_a_wrong_sum_is_one_line_and_is_deleted(origin, monkeypatch):
    monkeypatch.setattr(download, "SBD", replace(download.SBD, md5="0" * 32))
    result = voc("--download")
    line = the_line(result)
    assert result.exit_code == 2 and f"{NAMES['sbd']} gave a file with md5" in line and "0" * 32 in line
    assert [path.name for path in Path("work/downloads").iterdir()] == [NAMES["voc"]]
    assert not Path("work/data/mini").exists()
    assert by_hand(line)[3:] == ["--voc", f"work/downloads/{NAMES['voc']}", "--sbd", NAMES["sbd"]]


def test_an_archive_changed_on_the_disk_is_one_line(origin):
    voc("--download")
    (Path("work/downloads") / NAMES["voc"]).write_bytes(b"other")
    line = the_line(voc("--download", "--again"))
    assert f"work/downloads/{NAMES['voc']} has the md5" in line and "delete it" in line
    assert Path("work/data/mini/manifest.json").is_file()


def test_a_server_that_is_gone_is_one_line_with_how_to_do_it_by_hand(official, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    publish(monkeypatch, "http://127.0.0.1:9", official)
    result = voc("--download")
    line = the_line(result)
    assert result.exit_code == 3 and f"http://127.0.0.1:9/{NAMES['voc']} could not be downloaded" in line
    assert download.VOC2012.md5 in line
    command = by_hand(line)
    assert command == ["prepare-voc", "--preset", "mini.toml", "--voc", NAMES["voc"], "--sbd", NAMES["sbd"]]
    for name in NAMES.values():  # somebody brings them
        Path(name).write_bytes((official / name).read_bytes())
    assert call(*command).exit_code == 0


def test_a_file_that_the_server_does_not_have_is_one_line(origin, monkeypatch):
    monkeypatch.setattr(download, "SBD", replace(download.SBD, url=download.SBD.url + ".gone"))
    result = voc("--download")
    assert result.exit_code == 3 and "404" in the_line(result)
    assert by_hand(the_line(result))[3:] == ["--voc", f"work/downloads/{NAMES['voc']}", "--sbd", NAMES["sbd"]]


@pytest.mark.parametrize("other", [["--again"], ["--download"], ["--voc", "somewhere"]])
def test_a_check_takes_nothing_in(other):
    result = call("prepare-voc", "--preset", "voc", "--check", *other)
    assert result.exit_code == 2
    assert "--check looks at what is prepared" in result.stderr.splitlines()[-1]


def test_preparing_anew_without_sources_says_the_whole_command(official, tmp_path):
    preset = REPOSITORY / "swdb" / "specs" / "presets" / "voc.toml"
    root = tmp_path / "work" / "data" / "voc"
    root.mkdir(parents=True)
    result = call("prepare-voc", "--preset", preset, "--workdir", tmp_path / "work", "--again")
    assert result.exit_code == 3
    assert f"--workdir {tmp_path / 'work'} --again --download, or with --voc DIR --sbd DIR" in result.stderr
