"""What the tests of the command line share: work directories that a test may spoil."""

from pathlib import Path

import pytest
from commands import copied


@pytest.fixture
def own(finished, tmp_path) -> Path:
    """A finished work directory."""
    return copied(finished, tmp_path)


@pytest.fixture
def prepared(finished, tmp_path) -> Path:
    """A work directory in which the data set is prepared, and nothing else is there."""
    made = ("weights", "classifiers", "cues", "proxies", "runs", "averages", "reports", "store")
    return copied(finished, tmp_path, *made)
