"""`reproduce-table --until-decided`: which seeds are run, in which order, at which looks, and why it ends."""

from dataclasses import replace

import made_up_scores
import numpy as np
import pytest
from commands import FP32, call, next_command, succeed, the_error
from conftest import TINY
from simulated import FAMILY, PRINTED, SOURCES, TABLES, printed_means
from studies import changed

from swdb.cli import until_decided
from swdb.cli.until_decided import Search, Step, batch, check_options, last_look
from swdb.core.errors import BadInput, SwdbError
from swdb.core.files import read_json, write_json
from swdb.study.graph import Graph
from swdb.study.plan import Plan, make_plan
from swdb.verdicts.simulation import draw, exchanged

ROWS = [(table, row) for table in TABLES.values() for row in table.rows]


class World:
    """A study whose runs are made by drawing their scores: which seeds were asked for is remembered."""

    def __init__(self, folder, means=None, sd=0.5, begin=0, tables=(1,), **options):
        means = printed_means(SOURCES, PRINTED) if means is None else means
        self.graph, self.begun = made_up_scores.study(folder, seeds=begin, tables=tables, means=means, sd=sd)
        self.scores = draw(SOURCES, means, sd, 40, 1, np.random.default_rng(1))[0]
        self.made: list[tuple[str, int]] = []
        self.seeds: set[int] = set(range(begin))
        self.broken = options.pop("broken", ())
        chosen = frozenset(options.pop("chosen", tables))
        options = {"device": "cpu", "jobs": 1, "budget": None, **options}
        self.search = Search(self.graph, TABLES, chosen, self.plan, self.make, **options)

    def plan(self, seeds) -> Plan:
        self.seeds |= set(seeds)
        return make_plan(self.graph, ROWS, sorted(self.seeds))

    def make(self, part: Plan, todo) -> None:
        for one in todo:
            if one.name.startswith(tuple(self.broken) or "\0") or any(not other.done for other in one.inputs):
                continue
            if one.kind == "score":
                place = next(place for place, score in part.scores.items() if score.id == one.id)
                arm = FAMILY.arms[f"{place.table}:{place.row}.{place.column}"]
                made_up_scores.finish_score(one, float(self.scores[arm, place.seed]), place.seed)
                self.made.append((f"{place.row}", place.seed))
            else:
                data = one.kind == "data"
                one.finish({"digest": "d" * 64 if data else f"sha256 of {one.id}", "machine": made_up_scores.MACHINE})


def test_large_effects_are_decided_at_an_early_look_and_nothing_more_is_run(tmp_path, monkeypatch):
    only(monkeypatch, "mixing-hurts")
    world = World(tmp_path, sd=0.3)
    ended = world.search.run()
    seeds = len({seed for _, seed in world.made})
    assert seeds in (3, 5)  # two cells alone say little of the spread at 3 seeds
    assert sorted(world.made) == [(row, seed) for row in ("mixed", "strong") for seed in range(seeds)]
    assert ended == f"all is decided; looked at {seeds} seeds, as the rule counts them; 0 of 1 claims are open"


def only(monkeypatch, *keys: str) -> None:
    """Let these claims alone be open."""
    monkeypatch.setattr(
        until_decided, "is_open", lambda one: one.claim.key in keys and one.word in ("UNDECIDED", "NOT RUN")
    )
    judged = until_decided.judged

    def mine(*arguments, **options):
        from dataclasses import replace

        found = judged(*arguments, **options)
        verdicts = tuple(one for one in found.ledger.verdicts if one.claim.key in keys)
        return replace(found, ledger=replace(found.ledger, verdicts=verdicts))

    monkeypatch.setattr(until_decided, "judged", mine)


def test_seeds_go_on_from_look_to_look_and_end_with_the_last_one(tmp_path, monkeypatch):
    only(monkeypatch, "oversampling-fails")
    means = exchanged(dict.fromkeys(SOURCES, 60.0), SOURCES, (), {"1:strong.miou": 1.4})
    known = {"begin": 3, "tables": (2, 3)}  # so that the spread of other cells is known
    world = World(tmp_path, means=means, sd=0.5, chosen=(1,), **known)
    ended = world.search.run()
    seeds = sorted({seed for _, seed in world.made})
    assert len(seeds) in (5, 8, 12) and seeds == list(range(len(seeds)))
    assert f"looked at {len(seeds)} seeds" in ended


def test_a_score_that_cannot_be_believed_ends_it_with_its_name(tmp_path, monkeypatch):
    only(monkeypatch, "mixing-hurts")
    world = World(tmp_path, sd=0.3, begin=3)
    edited = next(score for place, score in world.plan(()).scores.items() if place.row == "mixed")
    record = read_json(edited.record)
    write_json(edited.record, record | {"miou": 101.0})
    with pytest.raises(SwdbError) as caught:
        world.search.run()
    assert caught.value.subject == edited.record and world.made == []


def test_what_is_out_of_reach_gets_its_first_look_and_no_more(tmp_path, monkeypatch):
    only(monkeypatch, "fine-tuning-converges")
    world = World(tmp_path, sd=1.5)
    ended = world.search.run()
    assert {seed for _, seed in world.made} == {0, 1, 2}
    assert "nothing more is within reach: fine-tuning-converges would take more than 12 seeds" in ended
    assert "looked at 3 seeds" in ended and "1 of 1 claims are open" in ended


def test_the_claim_that_costs_least_is_run_first(tmp_path, monkeypatch):
    only(monkeypatch, "oversampling-improves", "mixing-hurts")
    world = World(tmp_path, sd=0.3)
    world.search.run()
    rows = [row for row, _ in world.made]
    assert set(rows[: rows.index("x2")]) == {"mixed", "strong"}  # two runs a seed, and not four
    assert {"x2", "x3", "x6"} == set(rows[rows.index("x2") :]) - {"mixed"}


def test_only_claims_of_the_chosen_tables_are_decided(tmp_path):
    world = World(tmp_path, sd=0.2, tables=(4,))
    ended = world.search.run()
    assert {row for row, _ in world.made} == {"5", "10", "25"} and ended.startswith("all is decided")


def test_a_spent_budget_ends_it(tmp_path):
    world = World(tmp_path, budget=0.0)
    assert world.search.run().startswith("the budget is spent; looked at no number of seeds yet")
    assert world.made == []


def test_a_seed_that_does_not_fit_the_budget_is_not_begun(tmp_path, monkeypatch):
    world = World(tmp_path, budget=60.0)
    monkeypatch.setattr("swdb.timing.rates.Rates.work", lambda *arguments: (1000.0, 0.0))
    assert world.search.run().startswith("no further seed fits the budget") and world.made == []


def test_what_cannot_be_made_is_not_tried_again(tmp_path, monkeypatch):
    only(monkeypatch, "mixing-hurts", "oversampling-fails")
    world = World(tmp_path, sd=0.2, broken=("mixed-s0",))
    ended = world.search.run()
    assert "mixing-hurts would take more than 12 seeds, as it looks, or cannot be made" in ended
    assert ("x6", 2) in world.made and ("mixed", 0) not in world.made


def test_a_claim_whose_method_cannot_be_built_on_the_backbone_is_not_begun(tmp_path, monkeypatch):
    only(monkeypatch, "better-than-decouplednet-here")
    world = World(tmp_path, tables=(4,))
    preset = changed(world.graph.study.preset, "network", backbone="efficientnet_lite0", weights="imagenet-lite")
    world.graph = world.search.graph = Graph(replace(world.graph.study, preset=preset), world.graph.runs)
    ended = world.search.run()
    assert "better-than-decouplednet-here would take more than 12 seeds, as it looks, or cannot be made" in ended
    assert world.made == []


def test_seeds_that_are_there_are_not_run_again(tmp_path, monkeypatch):
    only(monkeypatch, "mixing-hurts")
    world = World(tmp_path, sd=0.3, begin=2)
    world.search.run()
    assert world.made == [("mixed", 2), ("strong", 2)]


def test_workers_without_work_take_the_next_claim_too():
    steps = [
        Step(key, 0, [_score(*runs)], 1.0, None) for key, runs in (("a", "xy"), ("b", "y"), ("c", "z"), ("d", "w"))
    ]
    assert [step.key for step in batch(steps, 1)] == [step.key for step in batch(steps, 2)] == ["a"]
    assert [step.key for step in batch(steps, 3)] == ["a", "b", "c"]
    assert len(batch(steps, 9)) == 4


def _score(*runs: str):
    from pathlib import Path

    from swdb.core.artefact import Artefact

    made_from = tuple(Artefact("run", name, name, Path("nowhere") / name) for name in runs)
    return Artefact("score", "score", "score", Path("nowhere"), inputs=made_from)


# ---------------------------------------------------------------- on the command line


def test_a_study_is_begun_and_ended_by_the_command(tmp_path):
    work = tmp_path / "work"
    result = succeed("reproduce-table", "4", "--until-decided", "--budget", "1s", *FP32, "--workdir", work)
    lines = result.stderr.splitlines()
    assert any(line.startswith("seed 0 of more-strong-") for line in lines)
    assert lines[-2].startswith(("the budget is spent; ", "no further seed fits the budget; "))  # as fast as it is here
    assert next_command(result)[0] == "verify"
    assert "NOT RUN" in result.stdout and (work / "reports" / "tiny" / "table4.json").is_file()
    assert len([*work.glob("runs/*/done.json")]) == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--seeds", "3"), "--seeds: found beside --until-decided"),
        (("--rows", "mixed"), "--rows: found beside --until-decided"),
        (("--dry-run",), "--dry-run: found beside --until-decided"),
        (("--no-train",), "--no-train: found beside --until-decided"),
        (("--on", "slurm"), "--on slurm: found beside --until-decided"),
        (("--budget", "x"), "--budget x: not a time"),
    ],
)
def test_what_does_not_go_together(tmp_path, words, error):
    result = call("reproduce-table", "1", "--until-decided", *words, "--preset", TINY, "--workdir", tmp_path)
    assert result.exit_code == 2 and the_error(result).startswith(error) and list(tmp_path.iterdir()) == []


def test_a_budget_alone_is_refused():
    with pytest.raises(BadInput) as caught:
        check_options("2h", False, None, None, "here", False, False)
    assert caught.value.subject == "--budget 2h"
    assert check_options(None, False, 3, None, "here", True, False) is None
    assert check_options("2h", True, None, None, "here", False, False) == 7200
    assert last_look() == 12
