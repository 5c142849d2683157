"""Several processes make one artefact together: the bytes are those that one alone makes, each part is done once, and
whoever helps may die.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import helping
import pytest
from conftest import TESTS
from helping import artefacts, contents, unmade
from studies import CPU

from swdb.core.shares import offer_parts, parts_folder


def started(work: Path, *roles: str) -> list[subprocess.Popen]:
    """Start processes, and let them begin when all are ready."""
    command = [sys.executable, str(TESTS / "helping.py"), str(work)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, role], **pipes) for role in roles]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes[::-1]:  # who makes comes last
        process.stdin.write("\n")
        process.stdin.flush()
    return processes


def parts_of(process: subprocess.Popen, status: int = 0) -> Counter:
    """Wait for a process, and count the parts that it did."""
    said, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    return Counter(said.splitlines())


@pytest.fixture(scope="module")
def alone(finished, tmp_path_factory) -> tuple[Path, Counter]:
    """What one process makes alone, in the same batches (read only), and its parts."""
    work = tmp_path_factory.mktemp("alone") / "work"
    unmade(finished, work)
    (process,) = started(work, "alone")
    return work, parts_of(process)


def assert_equal(work: Path, other: Path) -> None:
    for name, artefact in artefacts(work).items():
        found, wanted = contents(artefact), contents(artefacts(other)[name])
        assert found.keys() == wanted.keys() and len(found) > 2, name
        assert {path for path in found if found[path] != wanted[path]} == set(), name
        assert not list(artefact.folder.parent.glob("*.parts")) and not list(artefact.folder.rglob(".*.tmp"))


def test_three_processes_make_the_bytes_of_one_and_each_part_once(alone, finished, tmp_path):
    work, parts = alone
    assert len(parts) == 8 + 8 + 8 + 2 and set(parts.values()) == {1}  # cues, two sets of masks, predictions
    unmade(finished, tmp_path / "work")
    made, *helped = [parts_of(process) for process in started(tmp_path / "work", "make", "help", "help")]
    assert sum(helped, made) == parts
    assert len({json.loads(part)[0] for part in sum(helped, Counter())}) >= 2, helped  # of four artefacts
    assert_equal(tmp_path / "work", work)


def test_who_helps_may_be_killed_within_a_batch(alone, finished, tmp_path):
    work, parts = alone
    unmade(finished, tmp_path / "work")
    maker, victim = started(tmp_path / "work", "make", "die")
    assert parts_of(victim, -9) == Counter()
    assert parts_of(maker) == parts  # the victim's part as well
    assert_equal(tmp_path / "work", work)


@pytest.mark.parametrize("offered", [False, True], ids=["nothing has begun", "other terms"])
def test_nobody_helps_where_nothing_has_begun_or_on_other_terms(finished, tmp_path, offered):
    found = unmade(finished, tmp_path / "work")
    worker = helping.runner()
    for artefact in found.values():
        if offered:
            offer_parts(parts_folder(artefact.folder), lambda: CPU.describe() | {"threads": 99})
        helping.STAGES[artefact.kind].help(artefact, worker)
        assert not list(artefact.folder.rglob("*.png")) and not (artefact.folder / "parts").exists()


def test_who_helps_is_quiet_where_the_artefact_vanished_or_lacks_what_it_is_made_from(finished, tmp_path):
    found = unmade(finished, tmp_path / "work")
    worker = helping.runner()
    weights = found["score"].inputs[1].folder / "weights.pt"
    weights.write_bytes(b"damaged")
    for name, artefact in found.items():
        offer_parts(parts_folder(artefact.folder), CPU.describe)
        if name == "score":
            (artefact.folder / "predictions").mkdir(exist_ok=True)
        else:
            shutil.rmtree(artefact.folder)
        helping.STAGES[artefact.kind].help(artefact, worker)
        assert artefact.folder.exists() == (name == "score") and not list(artefact.folder.rglob("*.png"))
