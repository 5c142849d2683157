"""A measured table as a pandas frame, as Markdown, CSV and JSON files, and the lines that must stand under it. No torch.

in: a MeasuredTable -> out: `reports/<preset>/table<N>.{md,csv,json}`
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from swdb.core.files import write_text
from swdb.proxy.cue_file import lacking_lines
from swdb.reports.results import MeasuredTable, as_json
from swdb.specs.presets import Preset
from swdb.study.plan import Work

FORMATS = ("md", "csv", "json")


def title(measured: MeasuredTable, work: Work) -> str:
    """Return the table's title with the scale it was run at."""
    return f"Table {measured.spec.number}. {measured.spec.title} — {work.preset.title}"


def frame(measured: MeasuredTable, work: Work) -> pd.DataFrame:
    """Return the table as shown: labels, then paper and measured for every column of values (strings).

    A difference to the paper is shown only where the preset is the paper's.
    """
    several = len(measured.spec.columns) > 1
    lines = []
    for row in measured.spec.rows:
        line = dict(zip(measured.spec.label_titles, row.labels, strict=True))
        for column in measured.spec.columns:
            cell = measured.cells[row.key, column.key]
            prefix = f"{column.title} " if several else ""
            line[f"{prefix}paper"] = f"{cell.paper:.1f}"
            if column.branch is None:
                continue
            line[f"{prefix}measured"] = cell.measured
            if work.preset.comparable:
                line[f"{prefix}difference"] = "" if cell.mean is None else f"{cell.mean - cell.paper:+.1f}"
        lines.append(line)
    return pd.DataFrame(lines)


def notes(measured: MeasuredTable, work: Work) -> list[str]:
    """Return what a reader must know to read the numbers, one sentence a line."""
    data = work.preset.data
    lines = []
    if measured.seeds:
        seeds = ", ".join(map(str, measured.seeds))
        lines.append(
            f"measured: val mIoU in %, mean ± standard deviation over seeds {seeds}; last weights; nothing is chosen on the validation split"
        )
    if not measured.complete:
        lines.append(
            f"some cells have fewer seeds or were NOT RUN: swdb reproduce-table {measured.spec.number} {work.options}"
        )
    if not work.preset.comparable:
        scale = f"1.4k strong = {data.num_strong} images, 9k weak = {data.num_train - data.num_strong}, 10k = {data.num_train}"
        what = "not PASCAL VOC"
        if data.dataset == "voc":
            what, scale = f"{data.name}, a part of PASCAL VOC", f"{scale}, val = {data.num_val}"
        lines.append(
            f"{what}: the paper's values stand there for orientation only, and no difference to them is shown; here {scale}"
        )
    for column in measured.spec.columns:
        if column.branch is None:
            lines.append(f"{column.title}: {column.provenance}")
    if measured.data_digest:
        proxies = f"proxies {', '.join(measured.proxies)} (their passport.md says how good they are)"
        lines.append(f"data sha256 {measured.data_digest[:16]}, {proxies if measured.proxies else 'no proxies'}")
    lines += [f"computed on {machine}" for machine in measured.machines]
    return lines


def claim_lines(measured: MeasuredTable) -> list[str]:
    """Return one line a claim: the verdict, the claim, the paired difference it rests on."""
    lines = []
    for claim, verdict in measured.claims:
        basis = ""
        if verdict.difference is not None:
            error = f" ± {verdict.standard_error:.1f}" if verdict.standard_error is not None else ""
            basis = (
                f" ({verdict.difference:+.1f}{error} points, {verdict.num_seeds} seed{'s' * (verdict.num_seeds != 1)})"
            )
        lines.append(f"{verdict.word}: {claim.text}{basis}")
    return lines


def markdown(measured: MeasuredTable, work: Work) -> str:
    """Return the table with its claims and notes as Markdown."""
    shown = frame(measured, work)
    lines = [f"**{title(measured, work)}**", "", "| " + " | ".join(shown.columns) + " |"]
    num_labels = len(measured.spec.label_titles)
    lines.append("|" + "".join(" --- |" if k < num_labels else " ---: |" for k in range(len(shown.columns))))
    lines += [
        "| " + " | ".join(str(value).replace("*", r"\*").replace("|", r"\|") for value in row) + " |"
        for row in shown.itertuples(index=False)
    ]
    lines += ["", "Claims (mean paired difference ± standard error; decided beyond 2 standard errors):", ""]
    lines += [f"- {line}" for line in claim_lines(measured)]
    lines += ["", *[f"<sub>{line}</sub>  " for line in notes(measured, work)]]
    return "\n".join(lines) + "\n"


def cells(measured: MeasuredTable) -> list[dict[str, Any]]:
    """List the table's cells in full precision, one cell and seed an entry."""
    lines = []
    for (row_key, column_key), cell in measured.cells.items():
        labels = " | ".join(cell.row.labels)
        fixed = {
            "table": measured.spec.number,
            "row": row_key,
            "labels": labels,
            "column": column_key,
            "paper": cell.paper,
        }
        for seed in measured.seeds if cell.column.branch else []:
            lines.append({**fixed, "seed": seed, "measured": cell.by_seed.get(seed), "run": cell.runs.get(seed)})
        if not (cell.column.branch and measured.seeds):
            lines.append({**fixed, "seed": None, "measured": None, "run": None})
    return lines


def render(tables: list[MeasuredTable], work: Work, form: str) -> str:
    """Return tables in one of FORMATS; JSON of several tables is a list."""
    if form == "md":
        return "\n".join(markdown(table, work) for table in tables)
    if form == "csv":
        lines = [cell for table in tables for cell in cells(table)]
        return pd.DataFrame(lines).astype({"seed": "Int64"}).to_csv(index=False)
    values = [as_json(table, work) for table in tables]
    return json.dumps(values if len(values) > 1 else values[0], indent=2, ensure_ascii=False) + "\n"


def proxy_lines(folder: Path, found: dict[str, Any]) -> list[str]:
    """Return what a set of proxies' passport says, for people in a hurry: the masks, and the cues they were made from."""
    masks, cues, counts = found["masks"], found["cues"], found["cue_counts"]
    scored = (
        "no true masks to score them" if masks["miou"] is None else f"mIoU {masks['miou']:.1f} against the true ones"
    )
    lines = [f"{folder}: {found['images']} masks, {scored} (a diagnosis, not read by training)"]
    if cues and cues["precision"]["all"] is not None:
        coverage = cues["coverage"]
        lines.append(
            f"cues: {cues['precision']['all']:.1f} % right, on {coverage['all']:.1f} % of the cells ({coverage['foreground']:.1f} % foreground)"
        )
    lines += lacking_lines(counts)
    lines.append(f"passport: {folder / 'passport.md'}")
    return lines


def settings(preset: Preset) -> str:
    """List every hyper-parameter of a preset with unit, status and source, as Markdown."""
    lines = [
        f"# Settings of preset {preset.name}",
        "",
        "| key | value | unit | status | source or reason |",
        "| --- | --- | --- | --- | --- |",
    ]
    for group in ("data", "network", "training", "proxy", "dsrg", "evaluation"):
        values = getattr(preset, group)
        for knob in fields(values):
            about = knob.metadata
            lines.append(
                f"| {group}.{knob.name} | {getattr(values, knob.name)} | {about['unit']} | {about['status']} | {about['why']} |"
            )
    return (
        "\n".join(lines)
        + "\n\nThe status is that of the paper's own value (preset voc); other presets scale it down.\n"
    )


def write_report(measured: MeasuredTable, work: Work) -> list[Path]:
    """Write the table in all formats; returns the paths."""
    paths = [work.reports / f"table{measured.spec.number}.{form}" for form in FORMATS]
    write_text(work.reports / "settings.md", settings(work.preset))
    for path, form in zip(paths, FORMATS, strict=True):
        write_text(path, render([measured], work, form))
    return paths
