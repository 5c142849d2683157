"""Writes the page of a preset's results, puts its tables into the README, and all verdicts side by side. Nobody types a number.

`make results` runs it after the tables were taken out of a bundle into `results/<preset>/`: `python -m
swdb.reports.published PRESET`. The tables in README.md stand between markers and are replaced as a whole. With `again`
behind it, the tables are rendered anew from the values in their JSON: claims and rule are today's; intervals over images,
which need a bundle, are kept of claims that come out as they did. Curves are drawn from the same JSON, and the section of
`results/README.md` on all presets together.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from swdb.core.errors import BadInput, MissingArtefact, told_in_one_line
from swdb.core.files import damage_of, read_json, write_json, write_text
from swdb.core.markdown import escaped
from swdb.reports import charts, earlier, second_branch
from swdb.reports.assumptions import settings_page
from swdb.reports.ledger import LEDGER, ledger_of
from swdb.reports.mask_scores import of_report
from swdb.reports.regime import OUTSIDE, comparison
from swdb.reports.results import MeasuredTable, measured_from_json
from swdb.reports.side_by_side import claims_by_preset
from swdb.reports.svg import as_file
from swdb.reports.sweeps import Sweep, sweeps
from swdb.reports.tables import FORMATS, render
from swdb.specs.presets import Preset, load_preset
from swdb.verdicts.verdict import Interval, Ledger, verdict_json

SAME = ("claim_sha256", "effect", "seeds")  # of a claim whose interval over images is still that of its cells
TABLES = (1, 2, 3, 4)
MAIN_TABLES = (1, 2)  # whose claims README.md shows: those on what the paper proposes
CLAIMS = "claims by preset"  # markers of what all presets together say, in README.md and in results/README.md
REGIMES = "regimes"
PAYS = "second branch"
CURVES = (
    "<sub>lines: means over seeds, with one standard deviation; faint points: single seeds; dashed: the paper's printed "
    "values</sub>"
)


def publish(root: Path, preset_name: str, again: bool = False) -> None:
    """Write the page of `results/<preset>/` below `root`, and README's tables; `again`: render the tables first."""
    preset, target = load_preset(preset_name), root / "results" / preset_name
    if again:
        render_again(preset, target)
    for name, sweep in curves(target):
        drawn = charts.sweep(
            name.removesuffix(".svg"), sweep.title, sweep.parameter, sweep.series, not preset.comparable
        )
        write_text(target / name, as_file(drawn))
    write_text(target / "README.md", page(preset, target))
    readme = root / "README.md"
    text = with_tables(readme.read_text(encoding="utf-8"), target, preset_name)
    text = _between(text, CLAIMS, CLAIMS, claims_by_preset(root / "results", MAIN_TABLES))
    write_text(readme, _between(text, REGIMES, REGIMES, comparison(root / "results")))
    compare_presets(root / "results")


def compare_presets(results: Path) -> None:
    """Write what all presets together say: the drawing of what a second branch gains, and two sections of `results/README.md`."""
    cases = second_branch.cases(results)
    write_text(results / second_branch.FIGURE, as_file(second_branch.drawing(cases)))
    readme = results / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8")
        text = _between(text, CLAIMS, CLAIMS, claims_by_preset(results))
        write_text(readme, _between(text, PAYS, PAYS, second_branch.section(cases)))


def curves(target: Path) -> Iterator[tuple[str, Sweep]]:
    """Yield the curves of a folder's tables, each with the name of its drawing; none of what nobody ran."""
    for number in TABLES:
        path = target / f"table{number}.json"
        if path.is_file():
            for one in sweeps(measured_from_json(read_json(path), path)):
                if one.measured:
                    yield f"curve-{number}-{one.key.replace('_', '-')}.svg", one


def render_again(preset: Preset, target: Path) -> None:
    """Write the tables of a folder from the values in their JSON, with the ledger of today's claims, and the settings."""
    paths = [target / f"table{number}.json" for number in TABLES]
    measured = [measured_from_json(read_json(path), path) for path in paths]
    measured = [with_masks(table, target) for table in measured]
    ledger = with_kept(ledger_of(measured, preset, images=False), target / LEDGER)
    for table in measured:
        for form in FORMATS:
            write_text(target / f"table{table.spec.number}.{form}", render([table], preset, form, ledger))
    write_json(target / LEDGER, ledger.to_json())
    write_text(target / "settings.md", settings_page(preset))


def with_masks(table: MeasuredTable, target: Path) -> MeasuredTable:
    """Return a table that knows what its proxies score, where its JSON does not say: the page of their quality lies beside it."""
    path = target / "quality-1.json"
    if table.masks or table.spec.number != 2 or not path.is_file():
        return table
    by_seed = table.proxy_use.by_seed if table.proxy_use else {}
    first = next((one for one in table.proxies if one.startswith("dsrg-1-")), "")
    ids = {seed: by_seed.get(seed, {}).get("dsrg-1", first) for seed in table.seeds}
    return replace(table, masks={seed: of_report(path, one) for seed, one in ids.items() if one})


def with_kept(ledger: Ledger, path: Path) -> Ledger:
    """Return a ledger with what only a bundle knows, of those claims that are the same as in the ledger that lies there:
    intervals over images, and what was registered.
    """
    if not path.is_file():
        return ledger
    with damage_of(path, "a ledger"):
        kept = {one["claim"]["key"]: one for one in read_json(path)["claims"]}
        verdicts, registered = [], {}
        for verdict in ledger.verdicts:
            now, then = verdict_json(verdict), kept.get(verdict.claim.key, {})
            if all(now[name] == then.get(name) for name in SAME):
                interval = then["images_interval"]
                if interval is not None:
                    verdict = replace(verdict, images_interval=Interval(**interval))
                if then["registered"] != "not":
                    registered[verdict.claim.key] = then["registered"]
            verdicts.append(verdict)
    return replace(ledger, verdicts=tuple(verdicts), registered=registered)


def page(preset: Preset, target: Path) -> str:
    """Return the page of a preset's results: its four tables, and where everything else is."""
    missing = [number for number in TABLES if not (target / f"table{number}.md").is_file()]
    if missing:
        raise MissingArtefact(target / f"table{missing[0]}.md", "not there", f"results of preset {preset.name}")
    tables = [(target / f"table{number}.md").read_text(encoding="utf-8") for number in TABLES]
    reports = sorted(path.name for path in target.glob("quality-*.md"))
    others = {
        "settings": "settings.md",
        **{f"quality of proxy set {name.removeprefix('quality-').removesuffix('.md')}": name for name in reports},
        "data set": "data.json",
        "digests of inputs": "digests.json",
        "machines and versions": "environment.json",
        "ledger of claims": LEDGER,
        "readings of what the paper leaves open": "sensitivity.md",
        "what changed against earlier tables": earlier.PAGE,
        "specs": "specs",
        "lists of image ids": "lists" if (target / "lists").exists() else f"../{preset.data.name}/lists",
    }
    links = [f"[{title}]({name})" for title, name in others.items() if (target / name).exists()]
    found = read_json(target / LEDGER) if (target / LEDGER).is_file() else {}
    outside = f"; {OUTSIDE}" if found.get("regime", {}).get("outside") else ""
    lines = [
        f"# Results on preset {preset.name}",
        "",
        f"{escaped(preset.title[:1].upper() + preset.title[1:])}{outside}. As the program wrote them; in full precision, with the ids of the",
        "runs, in the `.csv` and `.json` beside each table.",
        "",
        f"Behind them: {', '.join(links)}.",
    ]
    if (target / "dual-s0.png").exists():
        lines += ["", "![image, ground truth, proxy, strong branch, weak branch](dual-s0.png)"]
    drawn = [f"![{one.title}]({name})" for name, one in curves(target) if (target / name).exists()]
    if drawn:
        lines += ["", *drawn, "", CURVES]
    return "\n".join([*lines, "", *tables]).rstrip() + "\n"


def with_tables(text: str, folder: Path, preset: str) -> str:
    """Return the README with the tables of `folder` between the markers that name this preset, without claims and notes."""
    for number in TABLES:
        table = (folder / f"table{number}.md").read_text(encoding="utf-8")
        text = _between(text, f"{preset} table {number}", f"table {number}", table.partition("\nClaims:")[0])
    return text


def _between(text: str, begin: str, end: str, block: str) -> str:
    first, last = f"<!-- {begin} -->", f"<!-- end of {end} -->"
    pattern = re.compile(re.escape(first) + ".*?" + re.escape(last), re.DOTALL)
    return pattern.sub(lambda _: f"{first}\n{block}{last}", text)


def main(arguments: list[str]) -> None:
    """Publish a preset's results; raises BadInput for anything but its name, and perhaps `again` behind it."""
    if len(arguments) not in (1, 2) or arguments[1:] not in ([], ["again"]):
        raise BadInput("the arguments", " ".join(arguments) or "none", "a preset, and perhaps the word again")
    publish(Path.cwd(), arguments[0], again=arguments[1:] == ["again"])


if __name__ == "__main__":
    with told_in_one_line():
        main(sys.argv[1:])
