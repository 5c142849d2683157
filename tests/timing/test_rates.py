"""How fast each kind of work is: which finished artefacts count, and which benchmark."""

import json
import os
from dataclasses import replace

import pytest
from conftest import TINY
from studies import changed, graph_of

from swdb.core.files import write_json
from swdb.specs.presets import load_preset
from swdb.specs.settings import non_defaults
from swdb.timing import rates
from swdb.timing.rates import bench_path, image_kind, read_bench, read_rates, run_kind, step_kind, this_machine

from .conftest import finish, trained


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        ("strong", "single"), ("mixed-x6", "single"), ("dual", "dual"), ("dual-5", "dual"), ("dual-kl", "dual-kl"),
        ("dual-n0", "dual-n0"), ("dual-n1", "dual-n1"),
    ],
)  # fmt: skip
def test_a_run_has_a_kind_of_step(graph, run, kind):
    assert run_kind(non_defaults(graph.run_spec(run))) == kind
    artefact = graph.run(graph.run_spec(run), 1)
    assert step_kind("run", artefact.key) == kind and image_kind(artefact) is None


def test_every_kind_of_training_has_a_kind_of_step_and_every_other_one_none(graph):
    made = {one.name: one for one in graph.needed(graph.proxies(2))}
    kinds = {name: step_kind(one.kind, one.key) for name, one in made.items()}
    assert {name for name, kind in kinds.items() if kind} == {name for name, one in made.items() if one.steps}
    assert kinds["dsrg-1"] == "dsrg-1" and kinds["dsrg-2"] == "dsrg-2" and kinds["pretext"] == "classifier"
    assert image_kind(made["dsrg-2"]) == "labels-2" and image_kind(made["cues-classifier"]) == "cues"


# ---------------------------------------------------------------- the benchmark


def bench(graph, **changes) -> dict:
    """A benchmark of the tiny preset on this machine."""
    kinds = {
        kind: {"unit": "step", "seconds": 2.0, "peak_mib": 500.0} for kind in ("single", "dual", "classifier", "dsrg-1")
    }
    kinds |= {kind: {"unit": "image", "seconds": 0.5, "bytes": 1000} for kind in ("labels-1", "evaluation", "cues")}
    study = graph.study
    found = {
        "version": rates.VERSION,
        "settings": study.preset.digest(),
        "precision": study.precision,
        "machine": {"device": "cpu", **this_machine()},
        "kinds": kinds,
        "crowd": {"processes": 3, "slowdown": 2.0},
        "weights_bytes": {"single": 100, "dsrg-1": 200, "backbone": 50},
    } | changes
    write_json(bench_path(study.folder, study.preset.name), found)
    return found


def test_where_nothing_is_finished_the_benchmark_says_it(graph):
    bench(graph)
    made, found = {one.name: one for one in graph.needed(graph.proxies(1))}, read_rates(graph.study)
    assert found.work(graph.run(graph.run_spec("mixed"), 0)) == (12.0, 0.0)  # 6 steps of 2 seconds
    assert found.work(made["dsrg-1"]) == (12.0, 16.0)  # and 32 training images of half a second
    assert found.work(made["cues-classifier"]) == (0.0, 16.0)
    assert found.work(made["pretext"]) == (8.0, 0.0)
    assert found.work(made["dsrg-1-val"]) == (6.0, 0.0)  # 6 images of val, each refined twice
    assert found.work(made["dsrg-1-quality"]) == (0.0, 0.0)
    assert found.work(graph.run(graph.run_spec("dual-kl"), 0)) is None  # was not measured
    assert found.peak_mib(made["dsrg-1"]) == 500


def test_a_finished_score_of_a_network_counts_for_networks_of_the_same_settings_alone(graph):
    bench(graph)
    proxies = graph.proxies(1)
    finish(proxies, **trained(6.0, 6))
    score = graph.dsrg_score(proxies)
    finish(score, {"seconds": 9.0, "peak_mib": 10})
    assert read_rates(graph.study).work(score) == (9.0, 0.0)
    other = graph_of(graph.study.folder, changed(graph.study.preset, "dsrg", head_channels=24))
    assert read_rates(graph.study).work(other.dsrg_score(other.proxies(1))) == (6.0, 0.0)
    assert read_rates(graph.study).work(graph.dsrg_score(graph.proxies(2))) != (9.0, 0.0)


def test_workers_beside_each_other_are_slower_by_what_was_measured(graph):
    bench(graph)
    run, found = graph.run(graph.run_spec("mixed"), 0), read_rates(graph.study)
    assert [found.work(run, jobs).alone for jobs in (1, 2, 3, 9)] == [12, 18, 24, 24]


def test_finished_runs_stand_before_the_benchmark(graph):
    bench(graph)
    finish(graph.run(graph.run_spec("strong"), 0), **trained(6.0, 6))
    found = read_rates(graph.study)
    assert found.work(graph.run(graph.run_spec("mixed"), 0), jobs=3) == (
        6.0,
        0.0,
    )  # as it was made, whatever ran beside
    assert found.work(graph.run(graph.run_spec("dual"), 0)) == (12.0, 0.0)


def test_what_was_finished_last_says_how_fast_the_machine_is_now(graph):
    dual = graph.run_spec("dual")
    for seed, seconds in enumerate([60.0] * 9 + [6.0] * 3):  # the disk lists them in any order
        finish(run := graph.run(dual, seed), **trained(seconds, 6))
        os.utime(run.record, (seed, seed))
    assert read_rates(graph.study).work(graph.run(dual, 20)) == (6.0, 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"settings": "0"},
        {"precision": "bf16"},
        {"machine": {"device": "cpu", "host": "here", "processor": "another one"}},
        {"machine": {"device": "cuda", "host": "another one", "processor": "any"}},
        {"machine": {"device": "cuda"}},
        {"machine": None},
        {"kinds": None},
        {"kinds": {"single": {"unit": "step"}}},
        {"kinds": {"single": {"unit": "step", "seconds": 0}}},
    ],
    ids=str,
)
def test_a_benchmark_of_something_else_or_a_damaged_one_does_not_count(graph, change):
    bench(graph)
    assert read_bench(graph.study) is not None
    bench(graph, **change)
    assert read_bench(graph.study) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"kinds": 3}'])
def test_half_a_benchmark_does_not_count(graph, content):
    bench(graph)
    bench_path(graph.study.folder, "tiny").write_text(content)
    assert read_bench(graph.study) is None


@pytest.mark.parametrize(("device", "counts"), [("auto", True), ("cpu", True), ("cuda", False), ("cuda:1", False)])
def test_a_benchmark_counts_on_its_device(graph, device, counts):
    bench(graph)
    assert (read_bench(graph.study, device) is not None) == counts


def test_where_there_is_none_none_is_read(graph):
    assert read_bench(graph.study) is None


def test_a_benchmark_of_other_settings_does_not_count(graph, tmp_path):
    bench(graph)
    other = graph_of(tmp_path / "work", changed(load_preset(TINY), "training", crop=16))
    assert read_bench(other.study) is None and read_bench(replace(graph.study, precision="bf16")) is None


# ---------------------------------------------------------------- records


@pytest.mark.parametrize(
    "record",
    [
        "{", "[]", "{}", '{"kind": "run"}', '{"kind": "run", "key": {}}', '{"kind": "run", "key": {"run": 3}}',
        '{"kind": "run", "key": {"run": {}}, "id": "x", "training": {"steps": "many", "seconds": 1}}',
        '{"kind": "run", "key": {"run": {}}, "id": "x", "training": 7}', '{"kind": "score", "key": {}, "inputs": 7}',
        '{"kind": "score", "key": {}, "inputs": {}}',
    ],
)  # fmt: skip
def test_a_record_of_another_form_is_passed_over(graph, record):
    run = graph.run(graph.run_spec("strong"), 0)
    finish(run, **trained(6.0, 6))
    odd = graph.study.folder / "runs" / "odd"
    odd.mkdir()
    (odd / "done.json").write_text(record)
    assert read_rates(graph.study).work(graph.run(graph.run_spec("weak"), 1)) == (6.0, 0.0)


def test_work_around_a_training_is_told_from_it(graph):
    finish(graph.proxies(1), **trained(6.0, 6), cost={"seconds": 10.0, "peak_mib": 900.0})
    found = read_rates(graph.study)
    assert found.work(graph.proxies(1)) == (6.0, 4.0) and found.peak_mib(graph.proxies(1)) == 900


def test_a_finished_study_says_how_fast_it_was(finished):
    graph = graph_of(finished)
    found = read_rates(graph.study)
    for name in ("strong", "dual", "dual-kl", "dual-n0"):
        run = graph.run(graph.run_spec(name), 0)
        seconds = json.loads(run.record.read_text())["training"]["seconds"]
        assert 0 < found.work(graph.run(graph.run_spec(name), 5)).alone < 20 * max(seconds, 0.1)
    assert found.folder_like(graph.run(graph.run_spec("dual"), 5)).name.startswith("dual-")


def test_a_peek_takes_what_its_run_takes_and_its_scores_on_the_way(finished):
    graph = graph_of(finished)
    known = read_rates(graph.study)
    run, peek = graph.run(graph.run_spec("dual"), 0), graph.peek(graph.run_spec("dual"), 0)
    assert sum(known.work(peek)) == pytest.approx(sum(known.work(run)))  # scores are not known without a benchmark
    seconds = {"seconds": 2.0}
    benched = replace(known, bench={"kinds": {"evaluation": seconds}, "machine": {"cores": 2}})
    assert sum(benched.work(peek)) == pytest.approx(sum(known.work(run)) + 10 * 2 * 2.0 * known.num_val)


def with_changes(graph, name: str, **changes):
    """A run of the tables that changes settings of its training."""
    pairs = tuple(sorted((f"training.{key}", value) for key, value in changes.items()))
    return graph.run(replace(graph.run_spec(name), name="other", changes=pairs), 0)


def test_a_run_with_more_images_a_step_takes_as_much_longer_than_was_measured(graph):
    bench(graph)
    assert read_rates(graph.study).work(with_changes(graph, "dual", batch="x2")) == (24.0, 0.0)


def test_a_run_of_another_length_is_as_fast_as_finished_ones_of_its_kind(graph):
    finish(graph.run(graph.run_spec("strong"), 0), **trained(6.0, 6))
    found = read_rates(graph.study)
    assert found.work(with_changes(graph, "mixed", steps="x2")) == (12.0, 0.0)
    assert (
        found.work(with_changes(graph, "mixed", batch="x2")) is None
    )  # nobody measured that, and there is no benchmark
