"""What all tests share: a quiet terminal of fixed width, the tiny preset, and one finished tiny work directory."""

import os

for name in ("FORCE_COLOR", "NO_COLOR", "GITHUB_ACTIONS", "CLICOLOR_FORCE"):
    os.environ.pop(name, None)
os.environ.update(COLUMNS="100", TERMINAL_WIDTH="100", _TYPER_FORCE_DISABLE_TERMINAL="1", OMP_NUM_THREADS="1")
os.environ["SWDB_JOBS"] = "1"  # a test that wants workers says so

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
PUBLISHED = sorted(path.parent.name for path in (REPOSITORY / "results").glob("*/table2.json"))  # presets
SHARED = REPOSITORY.parent / "shared"  # reference data; where it is not at hand, the tests that use it are skipped
TINY = str(TESTS / "tiny.toml")

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell ignores it for jobs in the background, and for all below


def swdb(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Run the real command line in a process of its own."""
    command = [sys.executable, "-m", "swdb", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, **options)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A work directory in which all four tables of the tiny preset are finished with one seed (read only)."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # made by the first process that asks, for all of them
        folder = folder.parent
    work = folder / "finished" / "work"
    options = ("--preset", TINY, "--workdir", work, "--seeds", "1", "--precision", "fp32", "--device", "cpu")
    with FileLock(folder / "finished.lock"):
        if not (work / "reports" / "tiny" / "table4.json").is_file():
            result = swdb("reproduce-table", "all", *options)
            assert result.returncode == 0, result.stderr
    return work


def other_data(work: Path) -> None:
    """Let the tiny data set be another one, as preparing it again from another source would: a pixel more in a mask."""
    import voc_tree

    from swdb.core.files import write_json
    from swdb.core.progress import silent
    from swdb.data import audit
    from swdb.data.dataset import load
    from swdb.data.facts import ALL_SPLIT
    from swdb.specs.presets import load_preset

    dataset = load(load_preset(TINY).data, work / "data" / "tiny")
    image_id = dataset.ids(ALL_SPLIT)[0]
    mask = dataset.mask(image_id, ALL_SPLIT).copy()
    mask[0, 0] = 1 - mask[0, 0].clip(0, 1)
    voc_tree.save_mask(dataset.mask_path(image_id, ALL_SPLIT), mask)
    root = audit.audit(dataset, silent)["tree_root"]
    write_json(dataset.root / "manifest.json", dataset.manifest | {"digest": root})


@pytest.fixture
def quiet():
    """A function that is told how far the work is, and does not care."""
    return lambda done, of: None
