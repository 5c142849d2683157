"""Words from the command line become values: runs, rows, tables, scales, subsets. Pure: no typer, no torch.

in: what was typed -> out: values, or one error with the nearest known word
"""

from dataclasses import replace

from swdb.core.errors import BadInput, nearest
from swdb.data.voc import CLASSES
from swdb.specs.crf_parameters import crf_set
from swdb.specs.presets import Preset
from swdb.specs.tables import Row, Table
from swdb.study.plan import Work


def words(text: str | None) -> tuple[str, ...]:
    """Read `cat, cow` as its words."""
    return tuple(word for part in (text or "").split(",") if (word := part.strip()))


def run_and_seed(work: Work, run: str, seed: int | None) -> tuple[str, int]:
    """Read `dual` or, as plans show it, `dual-s0`."""
    name, dash, number = run.rpartition("-s")
    if dash and number.isdecimal() and run not in work.recipes:
        if seed is not None and seed != int(number):
            raise BadInput(f"{run} names seed {number}, --seed says {seed}; expected one of them")
        return name, int(number)
    return run, seed or 0


def chosen_tables(work: Work, number: str) -> list[Table]:
    """Read the number of a table, or `all`."""
    known = [*map(str, work.tables), "all"]
    if number not in known:
        raise BadInput(f"unknown table {number!r}; expected {', '.join(known)}")
    return [table for table in work.tables.values() if number in ("all", str(table.number))]


def chosen_rows(tables: list[Table], rows: str | None) -> list[tuple[Table, Row]]:
    """Read the keys of rows; all rows where none is named."""
    known = [(table, row) for table in tables for row in table.rows]
    if rows is None:
        return known
    names = [name.strip() for name in rows.split(",")]
    keys = {row.key for _, row in known}
    for name in names:
        if name not in keys:
            raise BadInput(f"--rows: unknown row {name!r}; {nearest(name, keys)}")
    return [(table, row) for table, row in known if row.key in names]


def scales(text: str) -> tuple[float, ...]:
    """Read factors, as in 0.75,1,1.25."""
    try:
        factors = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"--scales {text}: expected numbers, as in 0.75,1,1.25") from None
    if not all(0.1 <= factor <= 4 for factor in factors):
        raise BadInput(f"--scales {text}: expected factors of 0.1 to 4")
    return factors


def crf(name: str | None) -> str | None:
    """Read the name of a set of CRF parameters."""
    if name is not None:
        crf_set(name)
    return name


def subset(preset: Preset, name: str | None, classes: str | None, require: str | None, available_only: bool) -> Preset:
    """Return a preset for a part of its data set, under a name of its own; how many images that are is counted later."""
    kept = words(classes) or preset.data.classes
    required = words(require) or (() if words(classes) else preset.data.require)  # other classes, other requirements
    available_only = available_only or preset.data.available_only
    for option, given, known in (("--classes", kept, CLASSES[1:]), ("--require", required, kept or CLASSES[1:])):
        for word in given:
            if word not in known:
                raise BadInput(f"{option}: unknown class {word!r}; {nearest(word, known)}")
        if len(set(given)) < len(given):
            raise BadInput(f"{option}: {max(given, key=given.count)} is named twice; expected every class once")
    if preset.data.dataset != "voc":
        raise BadInput(
            f"--available-only, --classes and --require go with photographs, but preset {preset.name!r} is drawn; expected --preset voc"
        )
    named = (*kept, *(("with", *required) if required else ()), *(("part",) if available_only else ()))
    name = name or "-".join((preset.data.name, *named))
    if name == preset.data.name or "/" in name or name.startswith("."):
        raise BadInput(
            f"--name {name}: expected a folder's name other than {preset.data.name!r}, which is the whole set's"
        )
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
