"""Copy what `swdb reproduce-table all` wrote, with all that a number hangs on, into results/ and into the README.

`make results` runs it after the tables. Nobody types a number: the README's tables stand between markers and are
replaced as a whole. Photographs are not copied, nor any picture made from them.
"""

import json
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from swdb.core.files import write_json
from swdb.data import audit
from swdb.data.dataset import LISTS, load
from swdb.data.voc import split_path
from swdb.specs.presets import PACKAGE, load_preset
from swdb.specs.tables import tables_folder

ROOT = Path(__file__).parent.parent
TABLES = (1, 2, 3, 4)
LIBRARIES = ("swdb", "torch", "torchvision", "numpy", "pandas", "opencv-python-headless", "pillow")


def publish(work: Path, preset_name: str) -> None:
    """Copy the reports of a preset and put its tables between the README's markers."""
    reports = work / "reports" / preset_name
    readme = ROOT / "README.md"
    text = with_tables(readme.read_text(), reports, preset_name)  # first of all: a README without a place is refused
    target = ROOT / "results" / preset_name
    target.mkdir(parents=True, exist_ok=True)
    drawn = load_preset(preset_name).data.dataset == "synthetic"
    for number in TABLES:
        for form in ("md", "csv", "json"):
            shutil.copyfile(reports / f"table{number}.{form}", target / f"table{number}.{form}")
    for old in (*target.glob("proxies-*.json"), *target.glob("passport-*")):
        old.unlink()
    for proxies in json.loads((reports / "table2.json").read_text())["proxies"]:
        publish_passport(work / "proxies" / proxies, target, f"passport-{proxies.split('-')[1]}", drawn)
    shutil.copyfile(reports / "settings.md", target / "settings.md")
    if drawn:
        shutil.copyfile(reports / "figures" / "dual-s0.png", target / "dual-s0.png")
    else:
        publish_inputs(work, preset_name, target)
    readme.write_text(text)


def publish_passport(proxies: Path, target: Path, name: str, with_picture: bool) -> None:
    """Copy the passport of a set of proxies; of photographs without its picture, which is made of them."""
    shutil.copyfile(proxies / "passport.json", target / f"{name}.json")
    text = (proxies / "passport.md").read_text()
    picture = re.compile(r"!\[[^]]*\]\(passport\.jpg\)")
    shown = f"![20 worst and 20 random masks]({name}.jpg)" if with_picture else "(not published: photographs)"
    (target / f"{name}.md").write_text(picture.sub(shown, text).replace("passport.json", f"{name}.json"))
    if with_picture:
        shutil.copyfile(proxies / "passport.jpg", target / f"{name}.jpg")


def publish_inputs(work: Path, preset_name: str, target: Path) -> None:
    """Write what the runs were made from: specs, lists of ids, digests, versions."""
    preset = load_preset(preset_name)
    data = load(preset.data, work, "")
    (target / "specs").mkdir(exist_ok=True)
    for path in (PACKAGE / "specs" / "presets" / f"{preset_name}.toml", *sorted(tables_folder().glob("table*.toml"))):
        shutil.copyfile(path, target / "specs" / path.name)
    (target / "lists").mkdir(exist_ok=True)
    for split in LISTS:
        shutil.copyfile(split_path(data.root, split), target / "lists" / f"{split}.txt")
    report = audit.verify(data, lambda name, total: lambda done, of: None)
    write_json(target / "data.json", {**data.manifest, "audit": report})
    tables = [json.loads((target / f"table{number}.json").read_text()) for number in TABLES]
    cells = [cell for table in tables for row in table["rows"] for cell in row["values"].values()]
    runs = {run for cell in cells for run in cell["runs"].values()}
    inputs = {run: json.loads((work / "runs" / run / "inputs.json").read_text()) for run in sorted(runs)}
    proxies = {
        name: json.loads((work / "proxies" / name / "done.json").read_text())
        for table in tables
        for name in table["proxies"]
    }
    made = {name: record["inputs"] for name, record in proxies.items()}
    sources = [(key, record["recipe"].get(key)) for record in proxies.values() for key in ("weights", "cues")]
    files = {
        kind: recipe["file"]
        for kind, name in sources
        if name and "file" in (recipe := json.loads((work / kind / name / "done.json").read_text())["recipe"])
    }
    write_json(target / "digests.json", {"files": files, "runs": inputs, "proxies": made})
    machines = {
        json.dumps(json.loads(path.read_text())["machine"])
        for path in (work / "runs" / run / "done.json" for run in runs)
    }
    versions = {name: version(name) for name in LIBRARIES}
    write_json(target / "environment.json", {"machines": list(map(json.loads, sorted(machines))), "versions": versions})


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
