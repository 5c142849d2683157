"""Words from the command line become values: runs, rows, tables, scales, parts. Pure: no typer, no torch.

in: what was typed -> out: values, or one error with the nearest known word
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from swdb.core.errors import BadInput, nearest, unknown
from swdb.core.names import PLAIN, fault_of_name
from swdb.specs.crf_parameters import crf_set
from swdb.specs.presets import PRECISIONS, Preset
from swdb.specs.runs import RunSpec
from swdb.specs.settings import SCALE
from swdb.specs.tables import CellSource, Row, Table, all_runs, load_tables
from swdb.study.capacity import MOST_JOBS, Resources

MOST_SCALES = 10  # they are part of a folder's name
MOST_SEED, MOST_SEEDS = 999_999_999, 1_000
DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", re.ASCII)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}  # seconds


def words(text: str | None) -> tuple[str, ...]:
    """Read `cat, cow` as its words."""
    return tuple(word for part in (text or "").split(",") if (word := part.strip()))


def refuse_beside(option: str, others: Mapping[str, object], why: str) -> None:
    """Refuse options beside one that has no use for them."""
    if typed := [name for name, value in others.items() if value]:
        raise BadInput(option, f"{' and '.join(typed)} beside it", f"it alone: {why}")


def precision(text: str | None) -> str | None:
    """Read a precision."""
    if text is not None and text not in PRECISIONS:
        raise unknown("--precision", text, PRECISIONS)
    return text


def form(text: str, known: Sequence[str]) -> None:
    """Refuse a format that is neither known nor `rich`."""
    if text not in ("rich", *known):
        raise unknown("--format", text, ("rich", *known))


def resources(device: str, jobs: str, threads: int | None, devices: str | None, per_device: int) -> Resources:
    """Read where is computed, and how much at once."""
    numbers = words(devices)
    if devices is not None and not (numbers and all(number.isdecimal() and len(number) < 4 for number in numbers)):
        raise BadInput(f"--devices {devices}", "not numbers of GPUs", "numbers, as in 0,1,2")
    if len(set(numbers)) < len(numbers):
        raise BadInput(
            f"--devices {devices}", "a GPU is named twice", "each once; --per-device K lets K workers share one"
        )
    gpus = None if devices is None else tuple(map(int, numbers))
    if jobs == "auto":
        return Resources(device, None, threads, gpus, per_device)
    if not (jobs.isdecimal() and len(jobs) < 9 and int(jobs) > 0):
        raise BadInput(f"--jobs {jobs}", "not a number of jobs", "auto, or a whole number from 1")
    if int(jobs) > MOST_JOBS:
        raise BadInput(f"--jobs {jobs}", "too many", f"at most {MOST_JOBS}")
    return Resources(device, int(jobs), threads, gpus, per_device)


def run_and_seed(runs: Mapping[str, RunSpec], run: str, seed: int | None) -> tuple[RunSpec, int]:
    """Read `dual` or, as plans show it, `dual-s0`."""
    name, dash, number = run.rpartition("-s")
    if dash and number.isdecimal() and run not in runs:
        if seed is not None and seed != int(number):
            raise BadInput(f"run {run}", f"seed {number} in its name, --seed {seed} beside it", "only one of the two")
        if len(number) > 9:
            raise BadInput(f"run {run[:100]}", "a seed of many digits in its name", f"at most {MOST_SEED:,}")
        run, seed = name, int(number)
    if run not in runs and "+" in run:
        raise BadInput(f"run {run}", "an average of runs, which is no run of its own", "one run")
    if run not in runs:
        raise unknown("run", run, runs if nearest(run, runs) else all_runs(load_tables()))  # of readings there are many
    if (seed or 0) > MOST_SEED:
        raise BadInput(f"--seed {seed}", "too large", f"at most {MOST_SEED:,}")
    return runs[run], seed or 0


def source_and_seed(
    runs: Mapping[str, RunSpec], text: str, seed: int | None, branch_name: str
) -> tuple[CellSource, int]:
    """Read whose predictions are scored: those of `dual`, or those of `strong+mixed` (also `strong-s1+mixed-s1`) averaged."""
    if "+" not in text or text in runs:
        run, number = run_and_seed(runs, text, seed)
        return CellSource((run,), branch(branch_name, run)), number
    found = [run_and_seed(runs, part.strip(), seed) for part in text.split("+")]
    specs = [run for run, _ in found]
    if len({run.name for run in specs}) < len(specs):
        raise BadInput(f"run {text}", "one run is named twice", "each run of an average once")
    numbers = {number for _, number in found}
    if len(numbers) > 1:
        raise BadInput(f"run {text}", f"runs of seeds {', '.join(map(str, sorted(numbers)))}", "runs of one seed")
    for run in specs:
        branch(branch_name, run)
    return CellSource(tuple(specs), branch_name), numbers.pop()


def seeds(number: int | None, preset: Preset) -> range:
    """Read how many seeds, from 0; the preset's where none is said."""
    if (number or 0) > MOST_SEEDS:
        raise BadInput(f"--seeds {number}", "too many", f"at most {MOST_SEEDS:,}")
    return range(number or preset.seeds)


def duration(option: str, text: str | None) -> float | None:
    """Read a time, as in 90m, 12h or 3d, in seconds; None where none is said."""
    if text is None:
        return None
    match = DURATION.fullmatch(text)
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if seconds <= 0:
        raise BadInput(f"{option} {text}", "not a time", "a number and its unit, as in 90m, 12h or 3d")
    return seconds


def branch(text: str, run: RunSpec) -> str:
    """Read a branch that the run has."""
    if text not in ("strong", "weak"):
        raise unknown("--branch", text, ("strong", "weak"))
    if text not in run.branches:
        raise BadInput(f"--branch {text}", f"run {run.name!r} has no such branch", ", ".join(run.branches))
    return text


def chosen_tables(tables: Mapping[int, Table], number: str, *others: str) -> list[Table]:
    """Read the number of a table, or `all`; `others`: what else could have been meant."""
    known = [*map(str, tables), "all"]
    if number not in known:
        near = nearest(number, others)
        raise BadInput(f"table {number!r}", "unknown", "" if near else ", ".join((*known, *others)), near)
    return [table for table in tables.values() if number in ("all", str(table.number))]


def chosen_rows(tables: list[Table], rows: str | None) -> list[tuple[Table, Row]]:
    """Read the keys of rows; all rows where none is named."""
    known = [(table, row) for table in tables for row in table.rows]
    if rows is None:
        return known
    names = [name.strip() for name in rows.split(",")]
    keys = {row.key for _, row in known}
    for name in names:
        if name not in keys:
            raise unknown("--rows: row", name, keys)
    return [(table, row) for table, row in known if row.key in names]


def scales(text: str) -> tuple[float, ...]:
    """Read factors, as in 0.75,1,1.25."""
    try:
        factors = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"--scales {text}", "not numbers", "numbers, as in 0.75,1,1.25") from None
    if len(factors) > MOST_SCALES:
        raise BadInput("--scales", f"{len(factors)} of them", f"at most {MOST_SCALES}")
    if not all(map(SCALE.admits, factors)):
        raise BadInput(f"--scales {text}", "out of range", "factors of 0.1 to 4")
    return factors


def crf(name: str | None) -> str | None:
    """Read the name of a set of CRF parameters."""
    if name is not None:
        crf_set(name)
    return name


def part_of(preset: Preset, name: str | None, classes: str | None, require: str | None, available_only: bool) -> Preset:
    """Return a preset for a part of its data set, under a name of its own; how many images that are is counted later."""
    from swdb.data.kinds import facts_of  # here: it loads more than help may take

    facts = facts_of(preset.data)
    if facts.synthetic:
        where = "--available-only, --classes, --require, --name"
        raise BadInput(where, f"preset {preset.name!r} is synthetic", "--preset voc: they go with real images")
    kept = words(classes) or preset.data.classes
    required = words(require) or (() if words(classes) else preset.data.require)  # other classes, other requirements
    available_only = available_only or preset.data.available_only
    for option, given, known in (
        ("--classes", kept, facts.classes[1:]),
        ("--require", required, kept or facts.classes[1:]),
    ):
        for word in given:
            if word not in known:
                raise unknown(f"{option}: class", word, known)
        if len(set(given)) < len(given):
            raise BadInput(option, f"{max(given, key=given.count)} is named twice", "every class once")
    named = (*kept, *(("with", *required) if required else ()), *(("part",) if available_only else ()))
    name = name or "-".join((preset.data.name, *named))
    if name == preset.data.name:
        expected = f"a folder's name other than {preset.data.name!r}, which is the whole set's"
        raise BadInput(f"--name {name}", "cannot be used", expected)
    if fault := fault_of_name(name):
        raise BadInput(f"--name {name}", fault, PLAIN)
    data = replace(
        preset.data,
        name=name,
        classes=kept,
        num_classes=len(kept) + 1 if kept else preset.data.num_classes,
        require=required,
        available_only=available_only,
        num_strong=0,
        num_train=0,
        num_val=0,
    )
    return replace(preset, name=name, comparable=False, data=data)
