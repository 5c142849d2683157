"""A made-up table and made-up results for it: what is shown must not depend on any training or machine."""

import json
from dataclasses import replace
from pathlib import Path

from conftest import TINY

from swdb.reports.results import MeasuredTable, measure
from swdb.specs.presets import load_preset
from swdb.specs.tables import Claim, Column, Recipe, Row, Table
from swdb.study.plan import Work

MACHINE = {"device": "cpu", "name": "Made-up 9000", "threads": 2, "precision": "fp32", "torch": "2.11.0"}

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
            run=Recipe(name="plain", strong_branch="strong", weak_branch="strong+weak", shared_layers=0),
            paper={"others": 40.0, "strong": 50.0, "weak": 45.5},
        ),
        Row(
            key="marked",
            labels=("[bold]10k[/bold] | *strong*", "1"),  # what rich and Markdown would take for markup
            run=Recipe(name="marked", strong_branch="all-strong", weak_branch="all-strong", shared_layers=1),
            paper={"others": 41.0, "strong": 51.0, "weak": 46.0},
        ),
        Row(
            key="absent",
            labels=("never run", "2"),
            run=Recipe(name="absent", strong_branch="strong", weak_branch="weak", shared_layers=2),
            paper={"others": 42.0, "strong": 52.0, "weak": 47.0},
        ),
        Row(
            key="text",
            labels=("from the text", "3"),
            run=Recipe(name="text", strong_branch="strong", weak_branch="all-strong"),
            paper={"others": 43.0, "strong": 53.0, "weak": 48.0},
            in_text=True,
        ),
    ),
    claims=(
        Claim(text="the weak branch is worse", lower="plain.weak", higher="plain.strong"),
        Claim(text="plain is worse than marked", lower="plain.strong", higher="marked.strong"),
        Claim(text="absent is worse than plain", lower="absent.strong", higher="plain.strong"),
        Claim(text="the text is worse than plain", lower="text.strong", higher="plain.strong"),
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


def work_in(folder: Path, comparable: bool = False) -> Work:
    """Open a work directory at the tiny preset, called comparable to the paper or not."""
    return Work(folder, replace(load_preset(TINY), comparable=comparable), "fp32")


def write_score(work: Work, row: Row, branch: str, seed: int, miou: float, data: str = "d" * 64) -> Path:
    """Write what an evaluation leaves behind."""
    path = work.scoring(branch).folder(work.run(row.run, seed)) / "result.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"miou": miou, "data": data, "machine": MACHINE, "seed": seed, "branch": branch}))
    return path


def measured_in(work: Work, table: Table = TABLE, scores: dict = SCORES) -> MeasuredTable:
    """Write all made-up scores into a work directory and collect them again."""
    rows = {row.key: row for row in table.rows}
    for (row, branch), by_seed in scores.items():
        for seed, miou in by_seed.items():
            write_score(work, rows[row], branch, seed, miou)
    return measure(work, table, [0, 1, 2])


def shown_in(work: Work) -> MeasuredTable:
    """Return the made-up table for showing: without ids, which hang on the preset's every value."""
    return replace(measured_in(work), proxies=["dsrg-1-0123456789"])
