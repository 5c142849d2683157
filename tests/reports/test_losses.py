"""The losses of trainings: what a log says, its mean and spread over seeds, and what is wrong with it."""

import json
from pathlib import Path

import numpy as np
import pytest

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.reports.losses import LOG, loss_curves, read_log


def run_in(folder: Path, seed: int, lines: list[str], steps: int | None = None) -> Artefact:
    run = Artefact(
        "run",
        f"dual-s{seed}",
        f"dual-s{seed}-abc",
        folder / f"dual-s{seed}",
        steps=len(lines) if steps is None else steps,
    )
    run.folder.mkdir()
    (run.folder / LOG).write_text("".join(f"{line}\n" for line in lines))
    return run


def line(step: int, **losses: float) -> str:
    return json.dumps({"step": step, "loss": sum(losses.values()), **losses})


def test_the_branches_are_read_in_place_of_their_sum(tmp_path):
    run = run_in(tmp_path, 0, [line(0, strong=1.0, weak=2.0), line(1, strong=0.5, weak=1.5)])
    found = read_log(run.folder / LOG, 2)
    assert {name: values.tolist() for name, values in found.items()} == {"strong": [1.0, 0.5], "weak": [2.0, 1.5]}


def test_a_loss_alone_is_read_as_it_is_called(tmp_path):
    run = run_in(tmp_path, 0, ['{"step": 0, "loss": 3.0}'])
    assert read_log(run.folder / LOG, 1)["loss"].tolist() == [3.0]


def test_seeds_are_averaged_with_their_standard_deviation(tmp_path):
    runs = {seed: run_in(tmp_path, seed, [line(k, strong=float(seed)) for k in range(5)]) for seed in (1, 2, 3)}
    curves, seeds, problems = loss_curves(runs)
    assert (seeds, problems) == (3, [])
    assert curves["strong"].mean.tolist() == [2.0] * 5 and curves["strong"].sd.tolist() == [1.0] * 5


def test_a_single_seed_has_no_spread(tmp_path):
    curves, _, _ = loss_curves({0: run_in(tmp_path, 0, [line(0, strong=1.0)])})
    assert curves["strong"].sd is None


def test_many_steps_are_averaged_to_few_points(tmp_path):
    curves, _, _ = loss_curves({0: run_in(tmp_path, 0, [line(k, strong=float(k)) for k in range(600)])})
    one = curves["strong"]
    assert len(one.at) == 60 and np.array_equal(one.at, one.mean) and one.at[0] == 4.5


@pytest.mark.parametrize(
    ("lines", "steps", "found"),
    [
        (["{"], 1, "is damaged"),
        (['{"step": 0}'], 1, "is damaged"),
        (["[1, 2]"], 1, "is damaged"),
        (['{"step": 0, "loss": "x"}'], 1, "is damaged"),
        (['{"step": 0, "loss": NaN}'], 1, "has losses that are no numbers"),
        (['{"step": 1, "loss": 1}'], 1, "is damaged"),
        (['{"step": 0, "loss": 1}', '{"step": 0, "loss": 1}'], 2, "is damaged"),
        (['{"step": 0, "loss": 1}'], 5, "has 1 lines"),
        ([], 0, "is damaged"),
        ([json.dumps({"step": 0, **{f"l{k}": 1.0 for k in range(9)}})], 1, "is damaged"),
        (["[" * 100_000], 1, "is damaged"),
    ],
)
def test_a_damaged_log_is_refused_with_its_name(tmp_path, lines, steps, found):
    run = run_in(tmp_path, 0, lines, steps)
    with pytest.raises(MissingArtefact) as error:
        read_log(run.folder / LOG, steps)
    assert error.value.subject == run.folder / LOG and error.value.found == found


def test_a_log_that_is_no_text_or_not_there_is_refused(tmp_path):
    run = run_in(tmp_path, 0, [line(0, strong=1.0)])
    (run.folder / LOG).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MissingArtefact, match="is damaged"):
        read_log(run.folder / LOG, 1)
    (run.folder / LOG).unlink()
    with pytest.raises(MissingArtefact, match="is missing"):
        read_log(run.folder / LOG, 1)


def test_what_is_wrong_is_named_and_the_other_seeds_are_shown(tmp_path):
    runs = {0: run_in(tmp_path, 0, [line(0, strong=1.0)]), 1: run_in(tmp_path, 1, ["{"])}
    curves, seeds, problems = loss_curves(runs)
    assert seeds == 1 and curves["strong"].mean.tolist() == [1.0]
    assert problems == ["dual-s1-abc: log.jsonl is damaged; its losses are left out"]


def test_logs_that_do_not_fit_each_other_are_named(tmp_path):
    runs = {0: run_in(tmp_path, 0, [line(0, strong=1.0)], 0), 1: run_in(tmp_path, 1, [line(0, weak=1.0)], 0)}
    curves, seeds, problems = loss_curves(runs)
    assert (seeds, [*curves], len(problems)) == (1, ["strong"], 1)


def test_no_log_at_all_is_no_curve(tmp_path):
    curves, seeds, problems = loss_curves({0: run_in(tmp_path, 0, ["{"])})
    assert (curves, seeds, len(problems)) == ({}, 0, 1)
