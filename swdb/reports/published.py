"""Writes the page of a preset's results, and puts its tables into the README. Nobody types a number.

`make results` runs it after the tables were taken out of a bundle into `results/<preset>/`: `python -m
swdb.reports.published PRESET`. The tables in README.md stand between markers and are replaced as a whole. With `again`
behind it, the tables are rendered anew from the values in their JSON: claims and rule are today's, intervals over images
are missing, for they need a bundle.
"""

import re
import sys
from pathlib import Path

from swdb.core.files import read_json, write_json, write_text
from swdb.reports.assumptions import settings_page
from swdb.reports.ledger import ledger_of
from swdb.reports.results import measured_from_json
from swdb.reports.tables import FORMATS, render
from swdb.specs.presets import Preset, load_preset

TABLES = (1, 2, 3, 4)


def publish(root: Path, preset_name: str, again: bool = False) -> None:
    """Write the page of `results/<preset>/` below `root`, and README's tables; `again`: render the tables first."""
    preset, target = load_preset(preset_name), root / "results" / preset_name
    if again:
        render_again(preset, target)
    write_text(target / "README.md", page(preset, target))
    readme = root / "README.md"
    write_text(readme, with_tables(readme.read_text(encoding="utf-8"), target, preset_name))


def render_again(preset: Preset, target: Path) -> None:
    """Write the tables of a folder from the values in their JSON, with the ledger of today's claims, and the settings."""
    paths = [target / f"table{number}.json" for number in TABLES]
    measured = [measured_from_json(read_json(path), path) for path in paths]
    ledger = ledger_of(measured, preset, images=False)
    for table in measured:
        for form in FORMATS:
            write_text(target / f"table{table.spec.number}.{form}", render([table], preset, form, ledger))
    write_json(target / "ledger.json", ledger.to_json())
    write_text(target / "settings.md", settings_page(preset))


def page(preset: Preset, target: Path) -> str:
    """Return the page of a preset's results: its four tables, and where everything else is."""
    tables = [(target / f"table{number}.md").read_text(encoding="utf-8") for number in TABLES]
    reports = sorted(path.name for path in target.glob("quality-*.md"))
    others = {
        "settings": "settings.md",
        **{f"quality of proxy set {name.split('-')[1].removesuffix('.md')}": name for name in reports},
        "data set": "data.json",
        "digests of inputs": "digests.json",
        "machines and versions": "environment.json",
        "ledger of claims": "ledger.json",
        "specs": "specs",
        "lists of image ids": "lists",
    }
    links = [f"[{title}]({name})" for title, name in others.items() if (target / name).exists()]
    lines = [
        f"# Results on preset {preset.name}",
        "",
        f"{preset.title[:1].upper()}{preset.title[1:]}. As the program wrote them; in full precision, with the ids of the",
        "runs, in the `.csv` and `.json` beside each table.",
        "",
        f"Behind them: {', '.join(links)}.",
    ]
    if (target / "dual-s0.png").exists():
        lines += ["", "![image, ground truth, proxy, strong branch, weak branch](dual-s0.png)"]
    return "\n".join([*lines, "", *tables]).rstrip() + "\n"


def with_tables(text: str, folder: Path, preset: str) -> str:
    """Return the README with the tables of `folder` between the markers that name this preset."""
    for number in TABLES:
        begin, end = f"<!-- {preset} table {number} -->", f"<!-- end of table {number} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        table = (folder / f"table{number}.md").read_text(encoding="utf-8")
        text = pattern.sub(lambda _, block=f"{begin}\n{table}{end}": block, text)
    return text


if __name__ == "__main__":
    publish(Path.cwd(), sys.argv[1], again=sys.argv[2:] == ["again"])
