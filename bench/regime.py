"""How the regime of `synthetic` was searched: one line for each trial, from the records of its runs. Nothing is trained here.

A trial is a preset of one's own beside a work directory in which its rows weak, strong, mixed and all-strong were trained
(`swdb train ROW --preset FILE`, `swdb eval ROW --preset FILE`). No other row is read, so that nobody can choose by one.

usage: PYTHONPATH=. python bench/regime.py WORKDIR PRESET.toml ...        (the lines of docs/regime-synthetic.md)
"""

import argparse
from pathlib import Path
from statistics import mean

from swdb.core.artefact import Artefact
from swdb.core.errors import told_in_one_line
from swdb.core.markdown import markdown_table
from swdb.data.synthetic import BADGE_RADIUS
from swdb.specs.presets import Preset, load_preset
from swdb.specs.register import as_text
from swdb.specs.study import Study
from swdb.specs.tables import all_runs, load_tables
from swdb.study.graph import Graph
from swdb.study.plan import make_plan, mious

LEVERS = {
    "strong images": "data.num_strong",
    "badge radius": "data.badge_radius",
    "cues above": "proxy.threshold",
}
ROWS = ("weak", "mixed", "strong", "all-strong")
DIFFERENCES = {"strong - mixed": (2, 1), "all-strong - strong": (3, 2), "strong - weak": (2, 0)}
SEEDS = range(12)


def value_of(preset: Preset, key: str) -> str:
    """Return a setting by its name, as people read it."""
    group, _, name = key.partition(".")
    value = getattr(preset.groups[group], name)
    return as_text(BADGE_RADIUS if value == () else value)


def figures(graph: Graph) -> dict[int, list[float]]:
    """Return the mIoU of the four rows by seed, of the seeds that have all of them."""
    table = load_tables()[2]
    rows = [(table, row) for row in table.rows if row.key in ROWS]
    found = mious(make_plan(graph, rows, SEEDS).scores)
    by_row = [found.get(f"2:{row}.miou", {}) for row in ROWS]
    return {seed: [one[seed] for one in by_row] for seed in SEEDS if all(seed in one for one in by_row)}


def proxies_score(quality: Artefact) -> float:
    """Return what the proxies score on the training images."""
    return quality.read_record()["masks"]["miou"]


def line(words: list[str], proxies: float, scores: list[float]) -> list[str | float]:
    """Return a line of the table."""
    return [*words, proxies, *scores, *(scores[one] - scores[other] for one, other in DIFFERENCES.values())]


def main(workdir: Path, files: list[str]) -> None:
    """Print the table."""
    words, lines = ["trial", *LEVERS, "seed"], []
    for file in files:
        preset = load_preset(file)
        graph = Graph(Study(workdir, preset, "bf16", {}), all_runs(load_tables()))
        named = [preset.name, *(value_of(preset, key) for key in LEVERS.values())]
        proxies = proxies_score(graph.quality(graph.proxies(1)))
        by_seed = figures(graph)
        for seed, scores in by_seed.items():
            lines.append(line([*named, str(seed)], proxies, scores))
        if len(by_seed) > 1:
            means = [mean(one) for one in zip(*by_seed.values(), strict=True)]
            lines.append(line([*named, "mean"], proxies, means))
    print("\n".join(markdown_table([*words, "proxies", *ROWS, *DIFFERENCES], lines, len(words))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("presets", nargs="+", metavar="PRESET.toml")
    typed = parser.parse_args()
    with told_in_one_line():
        main(typed.workdir, typed.presets)
