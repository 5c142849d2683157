"""Copy what `swdb reproduce-table all` and `swdb eval dual --figure` wrote into results/ and into the README.

`make results` runs it after the tables. Nobody types a number: the README's tables stand between markers and are
replaced as a whole.
"""

import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLES = (1, 2, 3, 4)


def publish(reports: Path, preset: str) -> None:
    """Copy the reports of a preset and put its tables between the README's markers."""
    readme = ROOT / "README.md"
    text = with_tables(readme.read_text(), reports, preset)  # first of all: a README without a place is refused
    target = ROOT / "results" / preset
    target.mkdir(parents=True, exist_ok=True)
    for number in TABLES:
        for form in ("md", "csv", "json"):
            shutil.copyfile(reports / f"table{number}.{form}", target / f"table{number}.{form}")
    for proxies in json.loads((reports / "table2.json").read_text())["proxies"]:
        source = reports.parent.parent / "proxies" / proxies / "report.json"
        shutil.copyfile(source, target / f"proxies-{proxies.rpartition('-')[0]}.json")
    shutil.copyfile(reports / "settings.md", target / "settings.md")
    shutil.copyfile(reports / "figures" / "dual-s0.png", target / "dual-s0.png")
    readme.write_text(text)


def with_tables(text: str, folder: Path, preset: str) -> str:
    """Return the README with the tables of `folder` between its markers."""
    for number in TABLES:
        begin, end = f"<!-- {preset} table {number} -->", f"<!-- end of table {number} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        table = (folder / f"table{number}.md").read_text()
        text, found = pattern.subn(lambda _, block=f"{begin}\n{table}{end}": block, text)
        assert found == 1, f"README.md has {found} places for {preset} table {number}, expected 1"
    return text


if __name__ == "__main__":
    publish(Path(sys.argv[1]), sys.argv[2])
