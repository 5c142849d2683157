"""Copies what `swdb reproduce-table all` wrote, with all that a number hangs on, into `results/`, and writes its pages.

`make results` runs it after the tables: `python -m swdb.reports.bundle PRESET WORKDIR`; without a work directory the pages
are written again from what is published. Nobody types a number: the tables in README.md stand between markers and are
replaced as a whole. Real images are not copied, nor any picture made from them.
"""

import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from swdb.core.files import read_json, write_json, write_text
from swdb.core.progress import silent
from swdb.data.audit import verify
from swdb.data.dataset import load
from swdb.data.facts import LISTS
from swdb.data.kinds import facts_of
from swdb.specs.presets import PRESETS, Preset, load_preset
from swdb.specs.tables import tables_folder

TABLES = (1, 2, 3, 4)
LIBRARIES = ("swdb", "torch", "torchvision", "numpy", "pandas", "opencv-python-headless", "pillow")


def publish(root: Path, preset_name: str, work: Path | None) -> None:
    """Fill `results/<preset>/` below `root` from a work directory, if one is given, and write its page and README's tables."""
    preset, target = load_preset(preset_name), root / "results" / preset_name
    if work is not None:
        target.mkdir(parents=True, exist_ok=True)
        publish_reports(work, preset, target)
        publish_inputs(work, preset, target)
    write_text(target / "README.md", page(preset, target))
    readme = root / "README.md"
    write_text(readme, with_tables(readme.read_text(encoding="utf-8"), target, preset_name))


def publish_reports(work: Path, preset: Preset, target: Path) -> None:
    """Copy tables, settings, the quality reports of the proxies and, of synthetic data, the figure."""
    reports, synthetic = work / "reports" / preset.name, facts_of(preset.data).synthetic
    for name in ("settings.md", *(f"table{number}.{form}" for number in TABLES for form in ("md", "csv", "json"))):
        shutil.copyfile(reports / name, target / name)
    for old in (*target.glob("passport-*"), *target.glob("quality-*")):
        old.unlink()
    for proxies in read_json(reports / "table2.json")["proxies"]:
        publish_quality(work / "proxies" / proxies, target, f"quality-{proxies.split('-')[1]}", synthetic)
    if synthetic:
        shutil.copyfile(reports / "figures" / "dual-s0.png", target / "dual-s0.png")


def publish_quality(proxies: Path, target: Path, name: str, with_picture: bool) -> None:
    """Copy the quality report of a set of proxies; of real images without its picture, which is made of them."""
    shutil.copyfile(proxies / "quality.json", target / f"{name}.json")
    text = (proxies / "quality.md").read_text(encoding="utf-8")
    picture = re.compile(r"!\[[^]]*\]\(quality\.jpg\)")
    shown = f"![20 worst and 20 random masks]({name}.jpg)" if with_picture else "(not published: real images)"
    write_text(target / f"{name}.md", picture.sub(shown, text).replace("quality.json", f"{name}.json"))
    if with_picture:
        shutil.copyfile(proxies / "quality.jpg", target / f"{name}.jpg")


def publish_inputs(work: Path, preset: Preset, target: Path) -> None:
    """Write what the runs were made from: specs, the audited data set, its lists where they are not drawn, digests, versions."""
    dataset = load(preset.data, work / "data" / preset.data.name)
    (target / "specs").mkdir(exist_ok=True)
    for path in (PRESETS / f"{preset.name}.toml", *sorted(tables_folder().glob("table*.toml"))):
        shutil.copyfile(path, target / "specs" / path.name)
    if not dataset.facts.synthetic:
        (target / "lists").mkdir(exist_ok=True)
        for split in LISTS:
            shutil.copyfile(dataset.list_path(split), target / "lists" / f"{split}.txt")
    write_json(target / "data.json", {**dataset.manifest, "audit": verify(dataset, silent)})
    tables = [read_json(target / f"table{number}.json") for number in TABLES]
    runs = {run for table in tables for one in _cells(table) for ids in one["runs"].values() for run in ids.split("+")}
    records = {run: read_json(work / "runs" / run / "done.json") for run in sorted(runs)}
    proxies = {name: read_json(work / "proxies" / name / "done.json") for table in tables for name in table["proxies"]}
    made = [*records.values(), *proxies.values()]
    digests = {
        "files": _files(work, {name for record in made for name in record["inputs"]}),
        "runs": {run: record["inputs"] for run, record in records.items()},
        "proxies": {name: record["inputs"] for name, record in proxies.items()},
    }
    write_json(target / "digests.json", digests)
    machines = {str(sorted(record["machine"].items())): record["machine"] for record in records.values()}
    versions = {name: version(name) for name in LIBRARIES}
    write_json(
        target / "environment.json", {"machines": [machines[key] for key in sorted(machines)], "versions": versions}
    )


def _cells(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for row in table["rows"] for cell in row["values"].values()]


def _files(work: Path, inputs: set[str]) -> dict[str, str]:
    """Return the sha256 of the named files that weights and cues among the inputs were made from."""
    found = {}
    for kind in ("weights", "cues"):
        for path in work.glob(f"{kind}/*/done.json"):
            record = read_json(path)
            if path.parent.name in inputs and "file" in record["key"]:
                found[kind] = record["key"]["file"]
    return found


# ---------------------------------------------------------------- pages


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
    publish(Path.cwd(), sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
