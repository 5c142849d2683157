"""A measured table as a pandas frame, as Markdown, CSV and JSON files, and the lines that must stand under it. No torch.

in: a MeasuredTable -> out: `reports/<preset>/table<N>.{md,csv}`, and what `table<N>.json` says
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swdb.core.files import digest, write_text
from swdb.core.markdown import escaped, markdown_table
from swdb.core.numbers import signed
from swdb.proxy.cue_file import lacking_lines
from swdb.reports.assumptions import settings_page
from swdb.reports.dsrg_networks import RECORD, checked, network_words
from swdb.reports.ledger import claim_lines, rule_lines
from swdb.reports.notes import notes
from swdb.reports.regime import titled
from swdb.reports.results import NOT_MEASURABLE, MeasuredTable, as_json
from swdb.specs.presets import Preset
from swdb.verdicts.verdict import Ledger

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("md", "csv", "json")


def title(measured: MeasuredTable, preset: Preset, ledger: Ledger) -> str:
    """Return the table's title with the scale it was run at, and whether that is outside the paper's regime."""
    return f"Table {measured.spec.number}. {measured.spec.title} — {titled(preset, ledger)}"


def frame(measured: MeasuredTable, preset: Preset) -> "pd.DataFrame":
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
            if column.printed:
                line[f"{prefix}paper"] = NOT_MEASURABLE if cell.paper is None else f"{cell.paper:.1f}"
            if column.branch is None:
                continue
            line[f"{prefix}measured" if column.printed or not several else column.title] = cell.measured
            if preset.comparable and (column.printed or column.quoted):
                known = cell.mean is not None and cell.compared is not None
                line[f"{prefix}difference"] = signed(cell.mean - cell.compared) if known else ""
        lines.append(line)
    import pandas as pd  # here: it takes longer to load than a ledger to judge

    return pd.DataFrame(lines)


def markdown(measured: MeasuredTable, preset: Preset, ledger: Ledger) -> str:
    """Return the table with its claims and notes as Markdown."""
    shown = frame(measured, preset)
    rows = [[escaped(str(value)) for value in row] for row in shown.itertuples(index=False)]
    lines = [f"**{escaped(title(measured, preset, ledger))}**", ""]
    lines += markdown_table([*shown.columns], rows, words=len(measured.spec.label_titles))
    if claims := claim_lines(ledger, measured.spec.number):
        lines += ["", "Claims:", "", *[f"- {escaped(line)}" for line in claims]]
    said = [*(rule_lines(ledger) if claims else []), *notes(measured, preset)]
    lines += ["", *[f"<sub>{escaped(line)}</sub>  " for line in said]]
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
        for seed in measured.seeds if cell.measurable else []:
            lines.append({**fixed, "seed": seed, "measured": cell.by_seed.get(seed), "run": cell.runs.get(seed)})
        if not (cell.measurable and measured.seeds):
            lines.append({**fixed, "seed": None, "measured": None, "run": None})
    return lines


def render(tables: list[MeasuredTable], preset: Preset, form: str, ledger: Ledger) -> str:
    """Return tables in one of FORMATS; JSON of several tables is a list."""
    if form == "md":
        return "\n".join(markdown(table, preset, ledger) for table in tables)
    if form == "csv":
        lines = [cell for table in tables for cell in cells(table)]
        import pandas as pd

        return pd.DataFrame(lines).astype({"seed": "Int64"}).to_csv(index=False)
    values = [as_json(table, preset, ledger) for table in tables]
    return json.dumps(values if len(values) > 1 else values[0], indent=2, ensure_ascii=False) + "\n"


def proxy_lines(folder: Path, found: dict[str, Any], network: dict[str, Any], preset: Preset) -> list[str]:
    """Return what a quality report says, for people in a hurry: the masks, the cues they were made from, the network."""
    masks, cues, counts = found["masks"], found["cues"], found["cue_counts"]
    scored = (
        "no true masks to score them" if masks["miou"] is None else f"mIoU {masks['miou']:.1f} against the true ones"
    )
    lines = [f"{folder}: {found['images']} masks, {scored} (a diagnosis, not read by training)"]
    file = found["sources"].get("cues, the file")
    lines.append(
        f"cues come from {f'the file of sha256 {file[:16]}' if file else 'the activation maps of a classifier'}"
    )
    if cues and cues["precision"]["all"] is not None:
        coverage = cues["coverage"]
        lines.append(
            f"cues: {cues['precision']['all']:.1f} % right, on {coverage['all']:.1f} % of the grid ({coverage['foreground']:.1f} % foreground)"
        )
    lines += lacking_lines(counts)
    lines.append(network_words(checked(network, folder / RECORD), preset.comparable))
    lines.append(f"quality report: {folder / 'quality.md'}")
    return lines


def write_report(measured: MeasuredTable, preset: Preset, folder: Path, ledger: Ledger) -> dict[str, Any]:
    """Write the table as Markdown and CSV, and the preset's settings; returns its JSON, with the digest of all three."""
    texts = {form: render([measured], preset, form, ledger) for form in FORMATS}
    write_text(folder / "settings.md", settings_page(preset))
    for form in ("md", "csv"):
        write_text(folder / f"table{measured.spec.number}.{form}", texts[form])
    return {"digest": digest(texts), **as_json(measured, preset, ledger)}


def report_paths(number: int, folder: Path) -> list[Path]:
    """Return the files of a table's report."""
    return [folder / f"table{number}.{form}" for form in FORMATS]
