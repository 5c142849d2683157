"""What is left of a study: which times add up, which run beside each other, and what nobody knows."""

import random
import sys
from pathlib import Path

import pytest
from conftest import TINY
from studies import graph_of

from swdb.specs.tables import CellSource
from swdb.timing import forecast as module
from swdb.timing.forecast import amount, forecast, remaining_seconds, simulated
from swdb.timing.rates import Rates, Work, read_rates

from .conftest import finish, toy, trained


class Known(Rates):
    """Rates that know the seconds of toys by their names: `a3` takes 3 seconds, `s3` 3 that workers share."""

    def __init__(self):
        super().__init__({}, None, 1, 1, 1)

    def work(self, artefact, jobs=1):
        seconds = float(artefact.name[1:].partition("-")[0])
        return Work(0.0, seconds) if artefact.name[0] == "s" else Work(seconds)


def left_of(*artefacts, jobs: int, **options) -> float:
    return remaining_seconds(artefacts, Known(), jobs, **options)


# ---------------------------------------------------------------- who makes what, and when


def test_one_worker_makes_one_after_the_other():
    assert left_of(toy("a3"), toy("a4"), toy("a5"), jobs=1) == pytest.approx(12)


def test_workers_make_what_does_not_depend_on_each_other_at_once():
    assert left_of(toy("a3"), toy("a4"), toy("a5"), jobs=3) == pytest.approx(5)
    assert left_of(toy("a3"), toy("a4"), toy("a5"), jobs=2) == pytest.approx(8)  # the third one begins after three


def test_a_chain_is_as_long_as_it_is_with_any_number_of_workers():
    first = toy("a3")
    second = toy("a4", first)
    third = toy("a5", second)
    assert left_of(first, second, third, jobs=8) == pytest.approx(12)


def test_others_go_on_beside_a_chain():
    first = toy("a3")
    chain = [first, toy("a4", first)]
    assert left_of(*chain, toy("a6"), toy("a1-x"), jobs=2) == pytest.approx(7)


def test_what_is_finished_holds_nobody_up():
    assert left_of(toy("a4", toy("a3")), jobs=1) == pytest.approx(4)  # its input is not among what is left


def test_idle_workers_share_masks_and_evaluations():
    assert left_of(toy("s8"), jobs=1) == pytest.approx(8)
    assert left_of(toy("s8"), jobs=4) == pytest.approx(2)
    assert left_of(toy("s8"), toy("a4"), jobs=2) == pytest.approx(6)  # the second one helps after its own four


def test_what_is_done_of_an_artefact_is_not_counted():
    assert left_of(toy("a10"), toy("a4"), jobs=1, spent={"a10": 0.75}) == pytest.approx(6.5)


def test_the_time_left_is_never_less_than_all_work_shared_out_nor_more_than_all_of_it():
    rng = random.Random(0)
    for jobs in (1, 2, 3, 7):
        artefacts = []
        for k in range(60):
            inputs = rng.sample(artefacts, min(len(artefacts), rng.randrange(3)))
            artefacts.append(toy(f"{rng.choice('as')}{rng.randrange(1, 9)}-{k}", *inputs))
        total = sum(sum(Known().work(one)) for one in artefacts)
        found = left_of(*artefacts, jobs=jobs)
        assert total / jobs - 1e-6 <= found <= total + 1e-6
        assert jobs > 1 or found == pytest.approx(total)


def lines_run(count: int) -> int:
    """How many lines of the module the simulation of so many artefacts goes through: its time, on any machine."""
    artefacts = []
    for k in range(count):
        artefacts.append(toy(f"a{k % 7 + 1}-{k}", *artefacts[max(0, k - 40) : max(0, k - 38)]))
    works = {one.id: Known().work(one) for one in artefacts}
    lines = 0

    def traced(frame, event, _):
        nonlocal lines
        lines += event == "line"
        return traced

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: traced if frame.f_code.co_filename == module.__file__ else None)
    try:
        simulated(artefacts, works, 8)
    finally:
        sys.settrace(before)
    return lines


def test_ten_times_the_artefacts_take_about_ten_times_the_work():
    assert 0 < lines_run(2000) < 12 * lines_run(200)


def test_nothing_is_left_of_nothing():
    assert left_of(jobs=3) == 0


# ---------------------------------------------------------------- of a study


def runs(graph, *names, seed=0):
    return [graph.run(graph.run_spec(name), seed) for name in names]


def test_the_time_follows_from_the_finished_runs_of_the_same_kind(graph):
    finish(*runs(graph, "strong"), **trained(30.0, 6))
    finish(*runs(graph, "dual"), **trained(60.0, 6))
    found = forecast(graph.study, runs(graph, "mixed", "dual-kl", "dual-5"), read_rates(graph.study))
    mixed, _, small = runs(graph, "mixed", "dual-kl", "dual-5")
    assert found.seconds[mixed.id] == pytest.approx(30) and found.seconds[small.id] == pytest.approx(60)
    assert found.steps == 18 and found.finished == 2


def test_a_kind_that_nobody_has_trained_is_taken_for_what_runs_took(graph):
    finish(*runs(graph, "strong"), **trained(30.0, 6))
    assert forecast(graph.study, runs(graph, "dual-kl"), read_rates(graph.study)).total == pytest.approx(30)


def test_what_nobody_knows_is_said(graph):
    found = forecast(graph.study, runs(graph, "strong", "dual"), read_rates(graph.study))
    assert found.total is None and found.work is None
    (line,) = found.lines("somebody tells it")
    assert line == "12 optimizer steps are left; how long they take is not known here yet: somebody tells it"


def test_runs_of_other_settings_do_not_count(graph, tmp_path):
    other = graph_of(tmp_path / "work", _longer(tmp_path))
    finish(*runs(other, "strong"), **trained(1.0, 600))
    assert forecast(graph.study, runs(graph, "mixed"), read_rates(graph.study)).total is None


def _longer(folder):
    path = folder / "longer.toml"
    path.write_text(Path(TINY).read_text().replace("batch = 4\ncrop", "batch = 2\ncrop"))
    return str(path)


def test_time_around_a_training_counts(graph):
    finish(*runs(graph, "strong"), **trained(30.0, 6), cost={"seconds": 37.0})
    assert forecast(graph.study, runs(graph, "mixed"), read_rates(graph.study)).total == pytest.approx(37)


def test_scores_count_with_the_runs_of_their_settings(graph):
    spec = graph.run_spec("strong")
    run, score = graph.run(spec, 0), graph.score(CellSource((spec,), "strong"), 0)
    finish(run, **trained(30.0, 6))
    finish(score, cost={"seconds": 9.0})
    other = graph.score(CellSource((spec,), "strong"), 1)
    found = forecast(graph.study, [graph.run(spec, 1), other], read_rates(graph.study))
    assert found.seconds[other.id] == pytest.approx(9) and found.total == pytest.approx(39)


def test_two_jobs_take_half_the_time_of_two_runs(graph):
    finish(*runs(graph, "strong"), **trained(60.0, 6))
    found = forecast(graph.study, runs(graph, "mixed", "weak"), read_rates(graph.study), jobs=2)
    assert (found.total, found.work) == (pytest.approx(60), pytest.approx(120))
    assert found.lines("")[0] == (
        "12 optimizer steps are left, about 60 s with 2 jobs, 2 min of work, at the rate of 1 finished runs"
    )


def test_nothing_left_is_said_so(graph):
    run = runs(graph, "strong")
    finish(*run, **trained(60.0, 6))
    found = forecast(graph.study, run, read_rates(graph.study))
    assert found.lines("") == ["nothing is left to train"] and found.total == 0


# ---------------------------------------------------------------- memory and disk


def test_memory_is_that_of_the_worker_that_needs_most(graph):
    finish(*runs(graph, "strong"), **trained(30.0, 6), cost={"peak_mib": 700.0})
    finish(*runs(graph, "weak"), **trained(30.0, 6), cost={"peak_mib": 1536.0})
    found = forecast(graph.study, runs(graph, "mixed"), read_rates(graph.study))
    assert found.peak_mib == 1536 and "memory: up to 1.5 GiB a worker" in found.lines("")


def test_disk_is_what_finished_ones_take_and_checkpoints_come_on_top(graph):
    made, left = runs(graph, "all-strong", "strong")
    finish(made, **trained(30.0, 6))
    (made.folder / "weights.pt").write_bytes(bytes(10 * 2**20))
    found = forecast(graph.study, [left], read_rates(graph.study))
    decoded = 4 * 32 * 32 * 32  # 32 images of 32 x 32 pixels, three colours and a label
    assert found.lasting == 10 * 2**20 + decoded
    assert found.passing == module.CHECKPOINTS * 10 * 2**20
    assert found.lines("")[-1] == "disk: about 10 MiB, and 60 MiB of checkpoints while trainings last"


def test_disk_that_nobody_knows_is_not_said(graph):
    found = forecast(graph.study, runs(graph, "strong"), read_rates(graph.study))
    assert found.lasting is None and not any("disk" in line for line in found.lines(""))


@pytest.mark.parametrize(("size", "words"), [(2**20, "1 MiB"), (2**31, "2.0 GiB")])
def test_an_amount_in_words(size, words):
    assert amount(size) == words
