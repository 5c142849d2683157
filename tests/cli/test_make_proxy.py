"""`swdb make-proxy`: which sets are made, again or not, and what is shown of them."""

import json
import shutil
from pathlib import Path

import pytest
from commands import FP32, call, contents, next_command, only, preset_file, succeed, the_error
from PIL import Image


def make_proxy(work: Path, *words: object):
    return succeed("make-proxy", *words, *FP32, "--workdir", work)


def sets(work: Path) -> list[Path]:
    return [only(work, f"proxies/dsrg-{number}-*") for number in (1, 2)]


# ---------------------------------------------------------------- what is made


def test_a_set_has_a_mask_for_every_training_image_and_a_report(prepared):
    result = make_proxy(prepared, "--set", "1")
    assert [path.name[:7] for path in (prepared / "proxies").glob("[!.]*")] == ["dsrg-1-"]
    folder = only(prepared, "proxies/dsrg-1-*")
    train = (prepared / "data/tiny/VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt").read_text().split()
    assert sorted(path.stem for path in folder.glob("*.png")) == sorted(train)
    assert result.stdout.startswith(f"{folder}: 32 masks, mIoU ")
    assert result.stdout.splitlines()[-1] == f"quality report: {folder / 'quality.md'}"
    assert (folder / "quality.md").is_file() and (folder / "quality.json").is_file()
    with Image.open(folder / "quality.jpg") as image:
        image.load()


def test_the_second_set_is_made_with_the_first(own):
    for folder in sets(own):
        shutil.rmtree(folder)
    result = make_proxy(own, "--set", "2")
    assert len(sets(own)) == 2
    assert result.stdout.startswith(f"{sets(own)[1]}: 32 masks")
    assert str(sets(own)[0]) not in result.stdout


def test_finished_sets_are_shown_and_left_alone(own):
    before = contents(own / "proxies")
    result = make_proxy(own)
    assert contents(own / "proxies") == before
    assert result.stdout.count(": 32 masks, mIoU") == 2
    assert [line for line in result.stdout.splitlines() if line.startswith("quality report: ")] == [
        f"quality report: {folder / 'quality.md'}" for folder in sets(own)
    ]


def test_json_is_what_the_reports_say(own):
    shown = json.loads(make_proxy(own, "--json").stdout)
    records = {
        folder.name: [json.loads((folder / name).read_text()) for name in ("quality.json", "val.json")]
        for folder in sets(own)
    }
    assert shown == {name: {**quality, "network": network} for name, (quality, network) in records.items()}


def test_a_lost_report_is_written_again_beside_the_same_masks(own):
    first, _ = sets(own)
    before = contents(first)
    for name in ("quality.json", "quality.md", "quality.jpg"):
        (first / name).unlink()
    make_proxy(own, "--set", "1")
    after = contents(first)
    assert after["quality.json"][1] == before["quality.json"][1]
    assert {name: after[name] for name in after if name.endswith(".png")} == {
        name: before[name] for name in before if name.endswith(".png")
    }


# ---------------------------------------------------------------- again


def test_a_set_is_made_again_with_the_same_masks_and_the_other_one_stays(own):
    first, second = sets(own)
    before = contents(first), contents(second), contents(own / "cues")
    result = make_proxy(own, "--set", "1", "--again")
    assert result.stdout.startswith(f"{first}: ")
    after = contents(first)
    masks = [name for name in before[0] if name.endswith(".png")]
    assert {name: after[name][1] for name in masks} == {name: before[0][name][1] for name in masks}
    assert all(after[name][0] > before[0][name][0] for name in masks)
    assert json.loads(after["done.json"][1])["digest"] == json.loads(before[0]["done.json"][1])["digest"]
    assert (contents(second), contents(own / "cues")) == before[1:]


def test_what_a_kill_left_of_a_set_that_was_being_deleted_goes_too(own):
    first, _ = sets(own)
    shutil.copytree(first, first.with_name(f".{first.name}.0123456789ab.old"))
    make_proxy(own, "--set", "1", "--again")
    assert [path.name for path in first.parent.glob(".*") if path.name != ".leases"] == []


# ---------------------------------------------------------------- the next command, and mistakes


def test_the_next_command_makes_a_table(own, tmp_path):
    path = preset_file(tmp_path, ("seeds = 2", "seeds = 1"))
    result = succeed("make-proxy", "--preset", path, "--precision", "fp32", "--device", "cpu", "--workdir", own)
    proposed = next_command(result)
    assert proposed[:2] == ["reproduce-table", "2"]
    assert "NOT RUN" not in succeed(*proposed).stdout


def test_the_next_command_after_cues_from_a_file_makes_a_table_of_them(own, tmp_path):
    # this preset's cues come from a classifier: a file goes before it only where it is named
    path = preset_file(tmp_path, ("seeds = 2", "seeds = 1"))
    options = ("--preset", path, "--precision", "fp32", "--device", "cpu", "--workdir", own)
    result = succeed("make-proxy", "--set", "1", *options, "--cues", only(own, "cues/cues-*/cues.npz"))
    folder = Path(result.stdout.partition(": ")[0])
    assert folder not in sets_before(own)
    shown = succeed(*next_command(result), "--dry-run").stdout
    assert folder.name in shown


def sets_before(work: Path) -> list[Path]:
    """List the sets of the study whose cues are a classifier's."""
    planned = json.loads((work / "reports" / "tiny" / "plan.json").read_text())["artefacts"]
    return [work / entry["folder"] for entry in planned.values() if entry["kind"] == "proxies"]


@pytest.mark.parametrize("word", ["3", "0", "both"])
def test_an_unknown_set_is_refused_before_anything_is_opened(tmp_path, word):
    result = call("make-proxy", "--set", word, *FP32, "--workdir", tmp_path / "work")
    assert result.exit_code == 2
    assert the_error(result).startswith(f"--set {word}: unknown")
    assert not (tmp_path / "work").exists()


def test_maps_that_are_lacking_are_named_before_anything_is_trained(prepared, tmp_path):
    (tmp_path / "maps").mkdir()
    result = call("make-proxy", *FP32, "--workdir", prepared, "--saliency", tmp_path / "maps")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"--saliency {tmp_path / 'maps'}: lacks 32 of 32 ")
    assert not (prepared / "weights").exists()


def test_a_folder_of_maps_is_remembered_and_forgotten(prepared, tmp_path):
    maps = tmp_path / "maps"
    maps.mkdir()
    for path in (prepared / "data/tiny/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"):
        with Image.open(path) as image:
            image.convert("L").save(maps / f"{path.stem}.png")
    plan = ("reproduce-table", "2", "--dry-run", *FP32, "--workdir", prepared)
    without = succeed(*plan).stdout
    make_proxy(prepared, "--set", "1", "--saliency", maps)
    with_maps = succeed(*plan).stdout
    assert only(prepared, "proxies/dsrg-1-*").name in with_maps
    assert with_maps != without
    call("make-proxy", "--set", "1", *FP32, "--workdir", prepared, "--saliency", "none")
    assert succeed(*plan).stdout.split("evaluations")[0] != with_maps.split("evaluations")[0]
    assert len(list((prepared / "proxies").glob("dsrg-1-*"))) == 2
