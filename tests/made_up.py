"""A made-up table and made-up results for it: what is shown must not depend on any training or machine."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from conftest import TINY

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.files import write_json
from swdb.reports.ledger import ledger_of
from swdb.reports.results import MeasuredTable, measure
from swdb.specs.claims import Claim
from swdb.specs.presets import Preset, load_preset
from swdb.specs.runs import RunSpec
from swdb.specs.tables import Column, Row, Table, runs_of
from swdb.verdicts.verdict import Ledger

MACHINE = {"device": "cpu", "name": "Made-up 9000", "threads": 2, "precision": "fp32", "torch": "2.11.0"}


def ordering(key: str, text: str, lower: str, higher: str) -> Claim:
    """Return the claim that one cell of the made-up table is worse than another one."""
    return Claim(key=key, text=text, place="Table 9", kind="ordering", lower=(f"9:{lower}",), higher=(f"9:{higher}",))


TABLE = Table(
    number=9,
    title="Made-up numbers",
    label_titles=("Training data", "n"),
    columns=(
        Column(key="others", title="Others [7]", provenance="as printed by others; not measured here"),
        Column(key="strong", title="Strong branch", branch="strong"),
        Column(key="weak", title="Weak branch", branch="weak"),
    ),
    rows=(
        Row(
            key="plain",
            labels=("1.4k strong + 9k weak", "0"),
            run=RunSpec(name="plain", strong_branch="strong", weak_branch="strong+weak", shared_layers=0),
            paper={"others": 40.0, "strong": 50.0, "weak": 45.5},
        ),
        Row(
            key="marked",
            labels=("[bold]10k[/bold] | *strong*", "1"),  # what rich and Markdown would take for markup
            run=RunSpec(name="marked", strong_branch="all-strong", weak_branch="all-strong", shared_layers=1),
            paper={"others": 41.0, "strong": 51.0, "weak": 46.0},
        ),
        Row(
            key="absent",
            labels=("never run", "2"),
            run=RunSpec(name="absent", strong_branch="strong", weak_branch="weak", shared_layers=2),
            paper={"others": 42.0, "strong": 52.0, "weak": 47.0},
        ),
        Row(
            key="text",
            labels=("from the text", "3"),
            run=RunSpec(name="text", strong_branch="strong", weak_branch="all-strong"),
            paper={"others": 43.0, "strong": 53.0, "weak": 48.0},
            in_text=True,
        ),
    ),
    claims=(
        ordering("weak-worse", "the weak branch is worse", "plain.weak", "plain.strong"),
        ordering("plain-worse", "plain is worse than marked", "plain.strong", "marked.strong"),
        ordering("absent-worse", "absent is worse than plain", "absent.strong", "plain.strong"),
        ordering("text-worse", "the text is worse than plain", "text.strong", "plain.strong"),
        Claim(
            key="better",
            text="plain is better than Others *[7]*",
            place="Table 9",
            kind="literature",
            lower=("9:plain.others",),
            higher=("9:plain.strong",),
        ),
    ),
)

# mIoU by row, branch and seed. plain.strong: mean 51, sd 1; plain.weak: mean 47, sd 1; both 4 apart in every seed.
SCORES = {
    ("plain", "strong"): {0: 50.0, 1: 51.0, 2: 52.0},
    ("plain", "weak"): {0: 46.0, 1: 47.0, 2: 48.0},
    ("marked", "strong"): {0: 49.0, 1: 51.5, 2: 53.0},  # differences -1, 0.5, 1: within two standard errors
    ("marked", "weak"): {0: 44.25, 1: 44.75},  # mean 44.5, sd 0.354: a seed is missing
    ("text", "strong"): {0: 60.0, 1: 61.5, 2: 62.5},  # differences -10, -10.5, -10.5: the other way round
    ("text", "weak"): {2: 30.0},  # a single seed has no sd
}


RUNS = {run.name: run for row in TABLE.rows for run in runs_of(row)}


def preset(comparable: bool = False) -> Preset:
    """The tiny preset, called comparable to the paper or not."""
    return replace(load_preset(TINY), comparable=comparable)


PRESET = preset()


def write_score(folder: Path, row: Row, branch: str, seed: int, miou: float, data: str = "d" * 64) -> Artefact:
    """Write what an evaluation leaves behind, and return it as planned."""
    name = f"{row.run.name}-s{seed}"
    run = Artefact("run", name, f"{name}-0123456789", folder / "runs" / f"{name}-0123456789")
    place = run.folder / "evals" / f"val-{branch}"
    score = Artefact(
        "score",
        f"{name}-val-{branch}",
        f"{name}-val-{branch}-0123456789",
        place,
        inputs=(run,),
        record_name="result.json",
    )
    values = {"miou": miou, "data": data, "machine": MACHINE, "seed": seed, "branch": branch, "digest": "e" * 64}
    write_json(score.record, values)
    return score


def scores_in(folder: Path, table: Table = TABLE, scores: dict = SCORES) -> dict[tuple[str, str], dict[int, Artefact]]:
    """Write all made-up scores; returns them by row and column, and by seed."""
    rows, found = {row.key: row for row in table.rows}, {}
    for (row, branch), by_seed in scores.items():
        for column in table.columns:
            if column.branch == branch:
                found[row, column.key] = {
                    seed: write_score(folder, rows[row], branch, seed, miou) for seed, miou in by_seed.items()
                }
    return found


def measured_in(folder: Path, table: Table = TABLE, scores: dict = SCORES) -> MeasuredTable:
    """Write all made-up scores and collect them again."""
    return measure(table, RUNS, scores_in(folder, table, scores))


def judged(table: MeasuredTable, comparable: bool = False) -> Ledger:
    """Judge the claims of a made-up table alone."""
    return ledger_of([table], preset(comparable))


def shown_in(folder: Path) -> MeasuredTable:
    """Return the made-up table for showing, with proxies that no run of it has."""
    return replace(measured_in(folder), proxies=["dsrg-1-0123456789"])


def finish_all(artefacts: Iterable[Artefact]) -> None:
    """Leave the records of artefacts and of all their inputs behind, as if they had been made; all scores are 50 %."""
    for one in with_inputs(*artefacts):
        record = {"digest": "d" * 64 if one.kind == "data" else f"sha256 of {one.id}", "machine": MACHINE}
        if one.kind == "score":
            record |= {"miou": 50.0, "data": one.input("data").digest()}
        if not one.done:
            one.finish(record)
