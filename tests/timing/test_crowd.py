"""Workers beside each other: processes that begin together and each train a run of their own."""

import pytest
from conftest import TINY
from studies import CPU

from swdb.specs.presets import load_preset
from swdb.timing import benchmark, crowd


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return benchmark.begin(load_preset(TINY), CPU, 2, 0.1, tmp_path_factory.mktemp("crowd"))


def test_two_workers_train_at_once(bench, monkeypatch):
    monkeypatch.setattr(crowd, "SECONDS", 0.2)
    study = bench.graph.study
    assert 0 < crowd.crowded_seconds(study.folder, study.preset, "fp32", "dual", 1, 2) < 20


def test_a_worker_that_dies_is_said(bench, monkeypatch, capfd):
    study = bench.graph.study
    with pytest.raises(RuntimeError, match="a worker of the benchmark ended"):
        crowd.crowded_seconds(study.folder, study.preset, "fp32", "no such run", 1, 1)
