"""Bundles of drawn studies, made once (read only)."""

from pathlib import Path

import pytest
from bundles import written
from drawn import OTHER_MACHINE, ROWS, drawn_study

from swdb.study.graph import Graph


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Graph:
    """A finished study of seeds 0 and 1."""
    return drawn_study(tmp_path_factory.mktemp("ours") / "work", [0, 1], rows=ROWS)


@pytest.fixture(scope="session")
def ours(study, tmp_path_factory) -> Path:
    """Its bundle."""
    return written(study, tmp_path_factory.mktemp("bundles") / "ours.zip")


@pytest.fixture(scope="session")
def theirs(tmp_path_factory) -> Path:
    """A bundle of seed 2, from another machine, whose proxies and weights have other bytes."""
    folder = tmp_path_factory.mktemp("theirs")
    return written(drawn_study(folder / "work", [2], OTHER_MACHINE, "theirs", ROWS), folder / "theirs.zip")
