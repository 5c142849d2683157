"""The benchmark as a whole: every kind of work of a preset, by the stages themselves, within its time."""

import json
import math
from dataclasses import replace

import pytest
import torch
from conftest import TINY
from pretended_gpu import pretended_gpu
from studies import CPU, changed

from swdb.core.progress import silent
from swdb.nn import trainer
from swdb.nn.checkpoints import WEIGHTS
from swdb.nn.compute import Compute
from swdb.specs.presets import load_preset
from swdb.timing import benchmark as module
from swdb.timing import operations, stopwatch
from swdb.timing.benchmark import benchmark
from swdb.timing.rates import VERSION

STEPS = {"single", "dual", "dual-kl", "dsrg-1", "dsrg-2", "recognizer", "decoupled"}
IMAGES = {"labels-1", "labels-2", "evaluation"}
BATCHES = {"recognizer": 8}  # where it is another one than that of the preset's other steps


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "usable_cores", lambda: 1)
        patch.setattr(module, "TRAIN_PIXELS", 16_000)
        yield benchmark(load_preset(TINY), CPU, 2, silent)


def test_every_kind_of_work_is_measured(found):
    measured = {kind for kind, one in found["kinds"].items() if one["measured"]}
    assert measured == STEPS | IMAGES | {"classifier", "cues"}
    for kind, one in found["kinds"].items():
        assert one["unit"] == ("image" if kind in IMAGES | {"cues"} else "step")
        assert 0 < one["seconds"] < 60 and one["images_per_second"] > 0
        if kind in STEPS:
            assert one["images_per_second"] == pytest.approx(BATCHES.get(kind, 4) / one["seconds"])
            assert one["share_of_ceiling"] > 0 and one["tflops"] > 0 and 0 < one["data_share"] < 1
            assert one["count"] >= 1 and one["waits"] is None


def test_what_differs_in_shared_layers_alone_is_estimated_from_its_operations(found):
    others = {kind: one["seconds"] for kind, one in found["kinds"].items() if not one["measured"]}
    assert others.keys() == {"dual-n0", "dual-n1", "dual-n2"}
    assert others["dual-n0"] < others["dual-n1"] < others["dual-n2"] < found["kinds"]["dual"]["seconds"]


def test_it_says_on_what_it_was_measured(found):
    assert (found["version"], found["preset"], found["precision"]) == (VERSION, "tiny", "fp32")
    assert found["settings"] == load_preset(TINY).digest()
    assert found["machine"].keys() >= {"device", "name", "threads", "torch", "host", "cores"}
    assert found["ceiling_tflops"].keys() == {"fp32"}
    assert json.loads(json.dumps(found)) == found


def test_the_plain_loop_stands_beside_it(found):
    plain = found["plain"]
    assert plain["images_per_second"] == pytest.approx(4 / plain["seconds"])
    assert plain["ratio"] == pytest.approx(plain["seconds"] / plain["ours"])  # of ours beside it, not minutes before
    assert (plain["workers"], plain["threads"]) == (1, 1) and found["crowd"] is None


def test_bytes_of_weights_are_those_of_finished_ones(found, finished):
    for name, kind in (("dual-s0", "dual"), ("strong-s0", "single"), ("dual-n1-s0", "dual-n1")):
        (path,) = finished.glob(f"runs/{name}-*/{WEIGHTS}")
        assert 0 <= path.stat().st_size - found["weights_bytes"][kind] < 20_000  # names and headers
    assert found["kinds"]["evaluation"]["bytes"] > 100


def test_nothing_of_it_stays_on_the_disk(found, tmp_path, monkeypatch):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "work_of", lambda bench: [lambda: bench.note("dual", "step", None)])
    benchmark(load_preset(TINY), CPU, 1, silent)
    assert list(tmp_path.iterdir()) == []


def test_what_there_is_no_time_for_is_estimated_and_said(monkeypatch):
    monkeypatch.setattr(module, "LIMIT", -1.0)
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    found = benchmark(load_preset(TINY), CPU, 1, silent)
    assert [kind for kind, one in found["kinds"].items() if one["measured"]] == ["dual"]  # one is always measured
    assert all(math.isfinite(one["seconds"]) for one in found["kinds"].values())
    assert found["plain"] is None and found["kinds"].keys() >= STEPS | IMAGES


def test_what_dies_beside_it_is_told_and_the_rest_is_kept(monkeypatch):
    def dies(*arguments):
        raise RuntimeError("DataLoader worker (pid 7) is killed")

    monkeypatch.setattr(module, "plain_seconds", dies)
    monkeypatch.setattr(module, "crowded_seconds", dies)
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    monkeypatch.setattr(module, "work_of", lambda bench: [
        lambda: bench.training("dual", bench.graph.run(bench.runs["dual"], 0)), lambda: module._crowd(bench), lambda: module._plain(bench),
    ])  # fmt: skip
    found = benchmark(load_preset(TINY), CPU, 1, silent)
    assert found["crowd"] is None and found["plain"] is None
    assert found["told"] == [
        "2 runs at once: DataLoader worker (pid 7) is killed",
        "the plain loop: DataLoader worker (pid 7) is killed",
    ]


def test_a_study_of_real_images_needs_none_and_has_no_classifier(monkeypatch, tmp_path):
    preset = load_preset("voc-animals-squeezenet")
    small = replace(
        preset,
        training=replace(preset.training, batch=2, crop=64, longest_side=100),
        dsrg=replace(preset.dsrg, size=65, test_sizes=(65,), batch=2, retrain_batch=2, retrain_scales=(1.0,)),
        proxy=replace(preset.proxy, batch=2),
    )
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    monkeypatch.setattr(module, "_plain", lambda bench: None)
    found = benchmark(small, CPU, 1, silent)
    assert {kind for kind, one in found["kinds"].items() if one["measured"]} == STEPS | IMAGES


def test_a_backbone_that_a_method_cannot_be_built_on_is_measured_without_it(monkeypatch):
    preset = changed(load_preset(TINY), "network", backbone="efficientnet_lite0", weights="imagenet-lite")
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    monkeypatch.setattr(module, "_plain", lambda bench: None)
    found = benchmark(preset, CPU, 1, silent)
    measured = {kind for kind, one in found["kinds"].items() if one["measured"]}
    assert measured == (STEPS - {"recognizer", "decoupled"}) | IMAGES | {"classifier", "cues"}
    assert not {"recognizer", "decoupled"} & (found["kinds"].keys() | found["weights_bytes"].keys())


def test_the_same_on_a_gpu_that_is_pretended(monkeypatch):
    """Times and memory mean nothing there; that every kind comes to its end, on the device, does."""
    monkeypatch.setattr(module, "_plain", lambda bench: None)
    monkeypatch.setattr(module, "TRAIN_PIXELS", 4_000)
    monkeypatch.setattr(module, "VAL_PIXELS", 4_000)
    monkeypatch.setattr(stopwatch, "LEAST_ON_GPU", 5)
    for one in (stopwatch, trainer):
        monkeypatch.setattr(one, "LOG_EVERY", 4)
    monkeypatch.setattr(operations, "SIDES", {"cuda": 64})
    monkeypatch.setattr(operations, "CEILING_SECONDS", 0.01)
    for name, answer in (
        ("reset_peak_memory_stats", None),
        ("max_memory_allocated", 3 << 30),
        ("set_sync_debug_mode", None),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    with pretended_gpu():
        found = benchmark(load_preset(TINY), Compute(torch.device("cuda", 0), "bf16"), 2, silent)
    assert {kind for kind, one in found["kinds"].items() if one["measured"]} == STEPS | IMAGES | {"classifier", "cues"}
    for kind in STEPS:
        assert found["kinds"][kind]["waits"] is not None and found["kinds"][kind]["peak_mib"] == 3072
    assert found["machine"]["device"] == "cuda" and found["crowd"] is None


def test_its_own_number_of_threads_stays_as_it_is(found):
    assert torch.get_num_threads() == 1


def test_a_preset_with_another_batch_has_other_operations():
    preset = load_preset(TINY)
    bigger = changed(preset, "training", batch=8)
    assert module.step_flops(bigger, module.all_runs(module.load_tables())["dual"]) > module.step_flops(
        preset, module.all_runs(module.load_tables())["dual"]
    )
