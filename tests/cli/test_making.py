"""Making sets of proxies from the command line: which, anew or not, and what is shown of them and of a score."""

import json
import shutil

import pytest
from conftest import TINY

from swdb.cli import making
from swdb.core.errors import BadInput
from swdb.study.workdir import open_work


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished work directory that may be changed."""
    return shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns("reports", "evals"))


def times(folder) -> dict:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_finished_sets_are_shown_and_left_alone(copied):
    work = open_work(copied, TINY, "fp32")
    before = [times(work.proxies(number).folder) for number in (1, 2)]
    shown = making.make_sets(work, "all", False, "cpu")
    assert [times(work.proxies(number).folder) for number in (1, 2)] == before
    assert list(shown.values) == [work.proxies(1).id, work.proxies(2).id]
    assert shown.values[work.proxies(1).id] == json.loads(work.proxies(1).passport.read_text())
    assert sum(": 32 masks, mIoU" in line for line in shown.lines) == 2
    assert f"passport: {work.proxies(2).folder / 'passport.md'}" in shown.lines


def test_a_set_is_made_anew_with_the_same_masks_and_the_other_one_stays(copied):
    work = open_work(copied, TINY, "fp32")
    first, second = work.proxies(1), work.proxies(2)
    digest, before = first.content_digest(), (times(first.folder), times(second.folder), times(work.cues.folder))
    shown = making.make_sets(work, "1", True, "cpu")
    assert list(shown.values) == [first.id]
    assert first.content_digest() == digest
    assert times(first.folder) != before[0] and (times(second.folder), times(work.cues.folder)) == before[1:]


def test_what_a_kill_left_of_a_set_that_was_going_is_deleted(copied):
    work = open_work(copied, TINY, "fp32")
    folder = work.proxies(1).folder
    shutil.copytree(folder, folder.with_name(f".{folder.name}.old"))
    making.make_sets(work, "1", True, "cpu")
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_a_score_of_before_crfs_came_is_shown():
    result = {"run": "dual-s0-abc", "branch": "weak", "miou": 41.234, "images": 6, "iou": {}}
    assert making.shown_score(result).lines == ["dual-s0-abc, weak branch: mIoU 41.23 on 6 val images"]


def test_an_unknown_set_is_refused(copied):
    with pytest.raises(BadInput, match="--set 3: expected 1, 2 or all"):
        making.make_sets(open_work(copied, TINY, "fp32"), "3", False, "cpu")


def test_a_score_is_shown_with_its_branch_its_crf_and_every_class():
    result = {
        "run": "dual-s0-abc",
        "branch": "weak",
        "crf": None,
        "miou": 41.234,
        "images": 6,
        "iou": {"a": 50, "b": None},
    }
    assert making.shown_score(result).lines == [
        "dual-s0-abc, weak branch: mIoU 41.23 on 6 val images",
        "  a            50.00",
        "  b            absent",
    ]
    assert "weak branch, CRF dsrg: mIoU" in making.shown_score(result | {"crf": "dsrg"}).lines[0]
