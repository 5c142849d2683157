"""What a command hands to the queue: which jobs, after which others, with which words. (On a real Slurm: study/test_cluster.py.)"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from commands import call, contents, copied, next_command, only, the_error, the_hint
from conftest import TINY

from swdb.cluster import slurm as cluster
from swdb.cluster.jobs import read_jobs
from swdb.cluster.slurm import Cluster, Queued
from swdb.core.errors import BadInput
from swdb.specs import tables

FP32 = ("--precision", "fp32", "--device", "cpu")
UNPROBED = ("--on", "slurm", "--slurm", "probe=0")


class Desk:
    """Takes jobs instead of Slurm."""

    def __init__(self):
        self.taken: list[tuple[tuple[str, ...], str, str, bool]] = []
        self.works = []
        self.known: dict[str, Queued] | None = {}
        self.most = 10_000

    def submit(self, cluster, work, name, dependency="", computes=True):
        if len(self.taken) == self.most:
            raise BadInput("--slurm probe=0", f"Slurm refuses the job {name} (QOSMaxSubmitJobPerUserLimit)")
        number = str(100 + len(self.taken))
        self.taken.append((work.words, name, dependency, computes))
        self.works.append(work)
        self.known[number] = Queued(name, "PENDING", "", "None")
        return number


@pytest.fixture
def desk(monkeypatch) -> Desk:
    desk = Desk()
    monkeypatch.setattr(cluster, "open_cluster", lambda workdir, options: Cluster(workdir.absolute(), options))
    monkeypatch.setattr(cluster, "queue", lambda: desk.known)
    monkeypatch.setattr(Cluster, "submit", lambda self, *words, **options: desk.submit(self, *words, **options))
    return desk


def table(work: Path, *words: object, number: object = 2, preset: object = TINY):
    return call(
        "reproduce-table", number, "--seeds", "1", "--preset", preset, "--workdir", work, *FP32, *UNPROBED, *words
    )


@pytest.fixture
def bare(finished, tmp_path) -> Path:
    """A work directory with the data set and initial weights."""
    return copied(finished, tmp_path, "classifiers", "cues", "proxies", "runs", "averages", "reports")


def test_jobs_come_after_those_that_make_what_they_need_and_the_tables_after_all(desk, bare):
    result = table(bare)
    assert result.exit_code == 0, result.stderr
    numbers = {name: number for number, name in (line.split() for line in result.stdout.splitlines())}
    after = {name: dependency for _, name, dependency, _ in desk.taken}
    (dual,) = (name for name in after if name.startswith("dual-s0-"))
    (strong,) = (name for name in after if name.startswith("strong-s0-"))
    (proxies,) = (name for name in after if name.startswith("dsrg-1-"))
    assert after[dual] == f"afterok:{numbers[proxies]}" and after[strong] == ""
    assert (
        after["table-2-tiny"]
        == f"afterany:{':'.join(number for name, number in numbers.items() if name != 'table-2-tiny')}"
    )
    assert [computes for *_, computes in desk.taken] == [True] * (len(after) - 1) + [False]
    assert next_command(result)[0] == "status"


def test_words_lead_to_the_same_study_from_any_folder(desk, bare, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copy(only(bare, "weights/pretext-*/weights.pt"), "own.pth")
    shutil.copy(TINY, "mine.toml")
    result = table(
        Path("work"), "--rows", "strong", "--weights", "own.pth", "--preprocessing", "imagenet", preset="mine.toml"
    )
    assert result.exit_code == 0, result.stderr
    words, name, _, _ = desk.taken[0]
    assert words[:3:2] == ("make", words[2]) and words[1] == name and words[2].startswith("strong-s0-val-strong-")
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options == {
        "--preset": str(tmp_path / "mine.toml"),
        "--workdir": str(bare),
        "--precision": "fp32",
        "--weights": str(tmp_path / "own.pth"),
        "--preprocessing": "imagenet",
        "--device": "cpu",
        "--jobs": "1",
    }
    assert desk.taken[-1][0][:3] == ("reproduce-table", "2", "--no-train")
    assert desk.taken[-1][0][3:5] == ("--rows", "strong")
    monkeypatch.chdir("/")
    done = call(*words)  # what the job runs
    assert done.exit_code == 0, done.stderr


def test_gpus_that_are_asked_for_are_computed_on(desk, bare):
    words = ("reproduce-table", "2", "--rows", "strong", "--preset", TINY, "--workdir", bare, "--precision", "fp32")
    assert call(*words, "--on", "slurm", "--slurm", "probe=0,gpus=1").exit_code == 0
    assert desk.taken[0][0][-4:] == ("--device", "cuda", "--jobs", "1")


def test_what_is_under_way_is_not_submitted_again_but_waited_for(desk, bare):
    assert table(bare, "--rows", "strong").exit_code == 0
    before = len(desk.taken)
    again = table(bare, "--rows", "strong")
    assert (
        again.exit_code == 0
        and len(desk.taken) == before
        and "0 jobs submitted for artefacts, 1 job under way before" in again.stderr
    )
    assert table(bare).exit_code == 0
    new = [name for _, name, _, _ in desk.taken[before:]]
    assert new and not any(name.startswith("strong-s0-") for name in new)
    (strong,) = (
        one.job for name, one in read_jobs(bare).items() if name.startswith("strong-s0-") and "val" not in name
    )
    assert strong in desk.taken[-1][2].removeprefix("afterany:").split(":")  # the tables wait for it, too


def test_what_is_gone_from_the_queue_is_submitted_again(desk, bare):
    assert table(bare, "--rows", "strong").exit_code == 0
    before = [name for _, name, _, _ in desk.taken]
    desk.known = {number: Queued(one.name, "CANCELLED", "", "") for number, one in desk.known.items()}
    assert table(bare, "--rows", "strong").exit_code == 0
    assert [name for _, name, _, _ in desk.taken] == before * 2
    desk.known = {number: Queued("of another cluster", "PENDING", "", "") for number in desk.known}
    assert table(bare, "--rows", "strong").exit_code == 0
    assert [name for _, name, _, _ in desk.taken] == before * 3


def test_what_was_submitted_before_the_queue_refused_is_noted(desk, bare):
    desk.most = 3
    result = table(bare)
    assert result.exit_code == 2
    assert "QOSMaxSubmitJobPerUserLimit" in the_error(result)
    assert len({one.job for one in read_jobs(bare).values()}) == 3
    desk.most = 10_000
    assert table(bare).exit_code == 0
    names = [name for _, name, _, _ in desk.taken]
    assert len(names) == len(set(names))


def test_a_finished_table_is_printed_and_nothing_is_submitted(desk, finished, tmp_path):
    work = copied(finished, tmp_path)
    result = table(work)
    assert result.exit_code == 0 and result.stdout.startswith("Table 2. ") and desk.taken == []


def test_a_score_of_a_finished_run_is_a_job_of_its_own_that_waits_for_nothing(desk, finished, tmp_path):
    work = copied(finished, tmp_path)
    shutil.rmtree(only(work, "runs/strong-s0-*/evals"))
    assert table(work, "--rows", "strong").exit_code == 0
    assert [name.rpartition("-")[0] for _, name, _, _ in desk.taken] == ["strong-s0-val-strong", "table-2"]
    assert desk.taken[0][2] == ""


def test_the_score_of_an_average_is_found_by_the_id_that_its_job_is_given(desk, finished, tmp_path, monkeypatch):
    work, found = copied(finished, tmp_path), tables.load_tables()
    averaged = replace(
        found[2].rows[0], key="averaged", run=None, average=("strong", "all-strong"), paper={}, printed=False
    )
    found[2] = replace(found[2], rows=(*found[2].rows, averaged))
    monkeypatch.setattr(tables, "load_tables", lambda: found)
    assert table(work, "--seeds", "12").exit_code == 0  # more seeds than an id is looked for at once
    words = {name: words for words, name, _, _ in desk.taken if "strong-s0+all-strong-s0" in name or "-s11" in name}
    (average,) = (one for name, one in words.items() if "strong-s0+all-strong-s0" in name)
    done = call(*average)
    assert done.exit_code == 0, done.stderr
    (late,) = (name for name in words if name.startswith("strong-s11+"))
    refused = call(*words[late])
    assert refused.exit_code == 3 and late in the_error(refused)  # found, and its runs are not there


def test_the_data_set_is_prepared_before_anything_is_submitted(desk, tmp_path):
    result = table(tmp_path / "work", "--rows", "strong")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "work" / "data" / "tiny" / "manifest.json").is_file()
    assert [name.split("-")[0] for _, name, _, _ in desk.taken] == ["pretext", "strong", "table"]


def test_a_queue_that_does_not_answer_is_no_empty_one(desk, bare):
    assert table(bare, "--rows", "strong").exit_code == 0
    desk.known = None
    result = table(bare, "--rows", "strong")
    assert result.exit_code == 2 and the_error(result).startswith("--on slurm: squeue does not answer")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--on", "slrum"), "--on 'slrum': unknown"),
        (("--on", "pbs"), "--on 'pbs': unknown; expected here, slurm"),
        (
            ("--slurm", "time=1"),
            "--slurm time=1: says how jobs are submitted, and none are; expected --on slurm beside it",
        ),
        (("--on", "slurm", "--slurm", "partitoin=x"), "--slurm: key 'partitoin': unknown"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(desk, bare, words, error):
    before = contents(bare)
    result = call("reproduce-table", "2", "--preset", TINY, "--workdir", bare, *FP32, *words)
    assert result.exit_code == 2 and the_error(result) == error
    assert contents(bare) == before


def test_a_key_that_is_nearly_right_gets_the_one_that_was_meant(desk, bare):
    result = call(
        "reproduce-table", "2", "--preset", TINY, "--workdir", bare, "--on", "slurm", "--slurm", "partitoin=x"
    )
    assert the_hint(result) == "did you mean 'partition'?"


def test_jobs_replace_nothing(desk, bare):
    result = call("make-proxy", "--again", "--preset", TINY, "--workdir", bare, *FP32, *UNPROBED)
    assert result.exit_code == 2 and the_error(result).startswith("--again: ") and desk.taken == []
