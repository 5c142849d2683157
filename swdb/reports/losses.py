"""The losses of trainings, as their logs say: mean and spread over the seeds of a run.

in: the finished runs of one name by seed -> out: a `Spread` for each branch's loss; what of the logs cannot be read
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact, SwdbError
from swdb.reports.charts import LINES, Spread

LOG = "log.jsonl"
MOST_POINTS = 60  # of a curve: several steps are averaged into one


def loss_curves(runs: Mapping[int, Artefact]) -> tuple[dict[str, Spread], int, list[str]]:
    """Return the losses by name, how many seeds they come from, and what is wrong with the logs of others."""
    logs, problems = [], []
    for _, run in sorted(runs.items()):
        try:
            logs.append(read_log(run.folder / LOG, run.steps))
        except SwdbError as error:
            problems.append(f"{run.id}: {LOG} {error.found}; its losses are left out")
    first = logs[0] if logs else {}
    alike = [log for log in logs if log.keys() == first.keys() and all(map(_same_length, log.values(), first.values()))]
    if len(alike) < len(logs):
        problems.append(
            f"{next(iter(runs.values())).name}: logs of other steps or losses beside each other; they are left out"
        )
    return {name: _spread([log[name] for log in alike]) for name in first}, len(alike), problems


def _same_length(one: np.ndarray, other: np.ndarray) -> bool:
    return len(one) == len(other)


def read_log(path: Path, steps: int) -> dict[str, np.ndarray]:
    """Return each loss of a log by step, those of the branches where there are several; raises MissingArtefact for damage.

    steps: how many lines there must be; 0 where nobody knows.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        names = [name for name in lines[0] if name not in ("step", "loss")] or ["loss"]
        values = [[float(line["step"]), *(float(line[name]) for name in names)] for line in lines]
    except FileNotFoundError:
        raise MissingArtefact(path, "is missing", "a line for every step") from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):
        raise MissingArtefact(path, "is damaged", "a line for every step") from None
    if len(values) != (steps or len(values)):
        raise MissingArtefact(path, f"has {len(values)} lines", f"{steps}, a line for every step")
    if len(names) > len(LINES) or [row[0] for row in values] != [float(step) for step in range(len(values))]:
        raise MissingArtefact(path, "is damaged", "a line for every step")
    if not all(math.isfinite(value) for row in values for value in row):
        raise MissingArtefact(path, "has losses that are no numbers", "a line for every step")
    table = np.array(values)
    return {name: table[:, k + 1] for k, name in enumerate(names)}


def _spread(by_seed: list[np.ndarray]) -> Spread:
    """Average the steps of each seed to MOST_POINTS points, and the seeds."""
    steps = len(by_seed[0])
    parts = np.array_split(np.arange(steps), min(MOST_POINTS, steps))
    smooth = np.array([[values[part].mean() for part in parts] for values in by_seed])
    at = np.array([part.mean() for part in parts])
    return Spread(at, smooth.mean(0), smooth.std(0, ddof=1) if len(by_seed) > 1 else None)
