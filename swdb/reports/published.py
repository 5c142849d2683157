"""Writes the page of a preset's results, and puts its tables and verdicts into the README. Nobody types a number.

`make results` runs it after the tables were taken out of a bundle into `results/<preset>/`: `python -m
swdb.reports.published PRESET`. The tables in README.md stand between markers and are replaced as a whole. With `again`
behind it, the tables are rendered anew from the values in their JSON: claims and rule are today's, intervals over images
are missing, for they need a bundle.
"""

import re
import sys
from pathlib import Path
from typing import Any

from swdb.core.files import read_json, write_json, write_text
from swdb.reports.assumptions import settings_page
from swdb.reports.ledger import ledger_of
from swdb.reports.results import measured_from_json
from swdb.reports.tables import FORMATS, render
from swdb.specs.presets import Preset, load_preset
from swdb.verdicts.verdict import WORDS

TABLES = (1, 2, 3, 4)
MOST_NAMED = 12  # claims of one verdict


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
        "readings of what the paper leaves open": "sensitivity.md",
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
    """Return the README with what `folder` has for it between the markers that name this preset.

    Tables without their claims and notes, which the preset's page has, and all claims by their verdicts.
    """
    for number in TABLES:
        table = (folder / f"table{number}.md").read_text(encoding="utf-8")
        text = _between(text, f"{preset} table {number}", f"table {number}", table.partition("\nClaims:")[0])
    ledger = folder / "ledger.json"
    if ledger.is_file():
        text = _between(text, f"{preset} claims", "claims", "\n".join(claim_lines(read_json(ledger))) + "\n")
    return text


def _between(text: str, begin: str, end: str, block: str) -> str:
    first, last = f"<!-- {begin} -->", f"<!-- end of {end} -->"
    pattern = re.compile(re.escape(first) + ".*?" + re.escape(last), re.DOTALL)
    return pattern.sub(lambda _: f"{first}\n{block}{last}", text)


def claim_lines(ledger: dict[str, Any]) -> list[str]:
    """Return a line for each verdict that a ledger (its JSON) has: how many claims there are of it, and which."""
    texts: dict[str, list[str]] = {}
    for claim in sorted(ledger["claims"], key=lambda claim: WORDS.index(claim["word"])):
        texts.setdefault(claim["shown"], []).append(claim["claim"]["text"])
    lines = []
    for word, those in texts.items():
        named = f": {'; '.join(dict.fromkeys(those))}" if len(those) <= MOST_NAMED else ""
        lines.append(f"- **{len(those)} {word}**{named}")
    return lines


if __name__ == "__main__":
    publish(Path.cwd(), sys.argv[1], again=sys.argv[2:] == ["again"])
