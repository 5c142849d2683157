"""`swdb train`: one run with all that it needs, among damaged files, full disks, and other processes."""

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from commands import (
    CPU,
    FP32,
    call,
    contents,
    copied,
    full_disk,
    hinted_command,
    next_command,
    only,
    preset_file,
    succeed,
    the_error,
    the_hint,
)
from conftest import TINY, other_data
from PIL import Image

from swdb.core.lease import Lease
from swdb.data.images import palette_png

LISTS = "data/tiny/VOCdevkit/VOC2012/ImageSets/Segmentation"


def train(work: Path, *words: object):
    return call("train", *words, *FP32, "--workdir", work)


# ---------------------------------------------------------------- a run and what it needs


def test_a_run_is_made_with_all_that_it_needs(prepared):
    result = succeed("train", "dual", "--seed", "1", *FP32, "--workdir", prepared)
    folder = Path(result.stdout.strip())
    assert folder.parent == prepared / "runs" and folder.name.startswith("dual-s1-")
    assert (folder / "weights.pt").is_file() and (folder / "done.json").is_file()
    for needed in ("weights/pretext-*", "classifiers/classifier-*", "cues/cues-*", "proxies/dsrg-1-*"):
        assert (only(prepared, needed) / "done.json").is_file()
    assert len(list((prepared / "runs").glob("[!.]*"))) == 1
    evaluated = succeed(*next_command(result), "--device", "cpu")
    assert folder.name in evaluated.stdout


def test_a_run_is_the_same_with_its_seed_in_its_name(own):
    before = contents(own / "runs")
    folders = {train(own, *name).stdout for name in (["dual"], ["dual-s0"], ["dual", "--seed", "0"])}
    assert folders == {f"{only(own, 'runs/dual-s0-*')}\n"}
    assert contents(own / "runs") == before


def test_the_next_command_finds_the_study_again(own):
    proposed = next_command(train(own, "dual-s0"))
    assert proposed[:4] == ["eval", "dual", "--seed", "0"]
    assert proposed[proposed.index("--workdir") + 1] == str(own)
    assert proposed[proposed.index("--precision") + 1] == "fp32"
    # the directory's own precision is another one; without the option the command would look for another run
    (own / "precision.json").write_text('{"precision": "bf16"}')
    succeed(*proposed, "--device", "cpu")


def test_a_run_is_made_though_another_command_has_begun_it(own):
    # as a kill leaves it: begun, a checkpoint of nothing, no record
    run = only(own, "runs/strong-s0-*")
    before = (run / "weights.pt").read_bytes()
    for name in ("done.json", "weights.pt", "training.json"):
        (run / name).unlink()
    (run / ".weights.pt.0123456789ab.tmp").write_bytes(b"half")
    assert train(own, "strong").exit_code == 0
    assert (run / "weights.pt").read_bytes() == before
    assert not list(run.glob(".*.tmp"))


# ---------------------------------------------------------------- damaged data


def damage_mask(root: Path, image_id: str, folder: str, how: str) -> Path:
    path = root / "VOCdevkit" / "VOC2012" / folder / f"{image_id}.png"
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:60])
    elif how == "value 77":
        path.write_bytes(palette_png(np.full((32, 32), 77, np.uint8)))
    elif how == "wrong size":
        path.write_bytes(palette_png(np.zeros((16, 32), np.uint8)))
    elif how == "colour":
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)
    else:
        path.unlink()
    return path


@pytest.mark.parametrize("how", ["truncated", "value 77", "wrong size", "colour", "missing"])
@pytest.mark.parametrize(
    ("image_id", "folder"), [("0000_000003", "SegmentationClassAug"), ("0000_000035", "SegmentationClass")]
)
def test_a_damaged_mask_is_named_before_anything_is_trained(prepared, how, image_id, folder):
    path = damage_mask(prepared / "data" / "tiny", image_id, folder, how)
    result = train(prepared, "strong")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{path}: ")
    assert hinted_command(result)[:2] == ["prepare-voc", "--again"]
    assert not (prepared / "weights").exists()


def test_a_truncated_image_is_named(prepared):
    path = prepared / "data/tiny/VOCdevkit/VOC2012/JPEGImages/0000_000003.jpg"
    path.write_bytes(path.read_bytes()[:200])
    result = train(prepared, "strong")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{path}: ")


@pytest.mark.parametrize("split", ["train", "train_aug", "val"])
def test_an_empty_list_is_named(prepared, split):
    path = prepared / LISTS / f"{split}.txt"
    path.write_text("")
    result = train(prepared, "strong")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{path}: empty")
    assert hinted_command(result)[0] == "prepare-voc"


def test_data_of_other_settings_are_refused(own, tmp_path):
    path = preset_file(tmp_path, ("image_size = 32", "image_size = 48"))
    result = call("train", "strong", "--preset", path, "--device", "cpu", "--workdir", own)
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{own / 'data' / 'tiny'}: ")
    assert hinted_command(result) == ["prepare-voc", "--again", "--preset", str(path), "--workdir", str(own)]


def test_finished_runs_on_other_data_are_refused(own):
    other_data(own)
    before = contents(own / "runs")
    result = train(own, "strong")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{only(own, 'runs/strong-s0-*')}: ")
    assert hinted_command(result)[2] == "--again"
    assert contents(own / "runs") == before


def test_a_damaged_manifest_is_named(own):
    path = own / "data" / "tiny" / "manifest.json"
    path.write_text("{")
    result = train(own, "dual")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{path}: damaged")


def test_weights_that_were_named_and_are_not_there(prepared, tmp_path):
    result = train(prepared, "dual", "--weights", tmp_path / "no.pth")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"--weights {tmp_path / 'no.pth'}: ")
    assert not (prepared / "weights").exists()


@pytest.mark.parametrize("command", [["make-proxy"], ["train", "dual"], ["reproduce-table", "1"]], ids=lambda c: c[0])
def test_without_real_images_nothing_is_downloaded_and_nothing_begun(tmp_path, monkeypatch, command):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    result = call(*command, "--preset", "voc", "--device", "cpu", "--workdir", tmp_path / "work")
    assert result.exit_code == 3
    assert the_error(result).startswith(f"{tmp_path / 'work' / 'data' / 'voc'}: ")
    assert hinted_command(result)[:2] == ["prepare-voc", "--download"]
    assert not (tmp_path / "torch").exists()
    assert not (tmp_path / "work").exists()


# ---------------------------------------------------------------- a full disk


def test_a_full_disk_while_weights_are_written_is_named_and_a_second_start_succeeds(prepared):
    with full_disk(300_000):
        result = train(prepared, "strong")
    assert result.exit_code == 2
    assert "the disk is full" in the_error(result) and "weights.pt" in the_error(result)
    assert "train strong" in the_hint(result)
    assert not list(prepared.glob("weights/*/done.json"))
    succeed(*hinted_command(result))


def test_a_full_disk_while_images_are_decoded_is_named_and_a_second_start_succeeds(own):
    shutil.rmtree(own / "data" / "tiny" / "store")
    with full_disk(50_000):  # 32 images of 32 x 32 x 3
        result = train(own, "strong", "--seed", "1")
    assert result.exit_code == 2
    assert "the disk is full" in the_error(result) and "images.npy" in the_error(result)
    succeed(*hinted_command(result))


# ---------------------------------------------------------------- several processes in one work directory


@dataclass
class Crowd:
    """Two processes that want a run which somebody else is making, and a third one that wants another run meanwhile."""

    folder: Path  # of the run that both want
    waiting: list[str]  # what the two said while they waited
    meanwhile: object  # what the third one answered
    ended: list[subprocess.CompletedProcess]


def read_until(process: subprocess.Popen, word: str) -> str:
    """Read what a process says until a line has a word in it, or it ends."""
    read = ""
    for line in process.stderr:
        read += line
        if word in line:
            break
    return read


def ended(process: subprocess.Popen, read: str) -> subprocess.CompletedProcess:
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, read + err)


@pytest.fixture(scope="module")
def crowd(finished, tmp_path_factory) -> Crowd:
    work = copied(finished, tmp_path_factory.mktemp("crowd"), "runs", "reports")
    folder = work / "runs" / only(finished, "runs/strong-s0-*").name
    lease = Lease(folder, "the test")
    assert lease.try_take()
    command = [sys.executable, "-m", "swdb", "train", "strong-s0", *FP32, "--workdir", str(work)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    watchdog = threading.Timer(120, lambda: [process.kill() for process in both])
    watchdog.start()
    try:
        waiting = [read_until(process, "waiting for") for process in both]
        meanwhile = train(work, "all-strong-s0")
        lease.release()
        return Crowd(folder, waiting, meanwhile, [ended(*pair) for pair in zip(both, waiting, strict=True)])
    finally:
        lease.release()
        watchdog.cancel()
        for process in both:
            process.kill()


def test_who_waits_says_for_what_and_for_whom(crowd):
    expected = f"waiting for {crowd.folder.name}, held by process {os.getpid()} on "
    for said in crowd.waiting:
        last = said.splitlines()[-1]
        assert last.startswith(expected)
        assert "(the test, since " in last


def test_another_run_is_made_meanwhile(crowd):
    assert crowd.meanwhile.exit_code == 0, crowd.meanwhile.stderr
    assert "all-strong-s0: 6 of 6" in crowd.meanwhile.stderr.splitlines()
    assert "waiting" not in crowd.meanwhile.stderr
    assert (Path(crowd.meanwhile.stdout.strip()) / "done.json").is_file()


def test_of_two_that_want_the_same_run_one_makes_it_and_the_other_finds_it_made(crowd):
    assert [process.returncode for process in crowd.ended] == [0, 0], [process.stderr for process in crowd.ended]
    assert {process.stdout for process in crowd.ended} == {f"{crowd.folder}\n"}
    assert sum("strong-s0: 6 of 6" in process.stderr.splitlines() for process in crowd.ended) == 1


def test_runs_made_in_a_crowd_are_those_that_are_made_alone(crowd, finished):
    for pattern in ("strong-s0-*", "all-strong-s0-*"):
        alone, together = only(finished / "runs", pattern), only(crowd.folder.parent, pattern)
        assert (together / "weights.pt").read_bytes() == (alone / "weights.pt").read_bytes()


def test_reading_waits_for_nobody(own):
    with_leases = [
        Lease(only(own, pattern), "somebody") for pattern in ("runs/dual-s0-*", "data/tiny", "proxies/dsrg-1-*")
    ]
    assert all(lease.try_take() for lease in with_leases)
    try:
        for command in (["train", "dual"], ["eval", "dual"], ["reproduce-table", "all", "--seeds", "1"]):
            assert "waiting" not in succeed(*command, *FP32, "--workdir", own).stderr
        succeed("reproduce-table", "all", "--seeds", "2", "--dry-run", *CPU, "--workdir", own)
        assert call("prepare-voc", "--check", "--preset", TINY, "--workdir", own).exit_code == 0
    finally:
        for lease in with_leases:
            lease.release()
