"""Makes the development runs of a protocol, and lets its rule choose. `python bench/protocol.py --work work --cues FILE`.

The stages stand in `bench/protocol-*.toml`. Each candidate is the preset as it began, with what earlier stages chose and
its own changes, written below the work directory; `swdb` trains and scores it there, `--jobs` of a stage's at once. What is
finished is not made again, so an interrupted protocol goes on; on another machine, too, with `protocol.json` alone. Of a stage's
candidates within `tie` points of the best, the cheapest is taken, of equally cheap ones the first; of a stage that says `nearest`,
the one whose score is nearest to that.

in: a protocol, a work directory with the data set -> out: `results/<preset>/protocol.{md,json}` (or --output), the changes chosen
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swdb.core.errors import BadInput, told_in_one_line
from swdb.core.files import damage_of, read_json, write_json, write_text
from swdb.core.markdown import markdown_table
from swdb.core.processor import usable_cores
from swdb.specs.changes import changed, check_changes
from swdb.specs.presets import Preset, load_preset, write_preset
from swdb.specs.sensitivity import every_run
from swdb.specs.tables import CellSource
from swdb.specs.toml import Pairs, read_dataclass, read_toml
from swdb.study.graph import Graph
from swdb.study.workdir import Named, open_study

PROTOCOL = Path(__file__).parent / "protocol-voc-animals.toml"
MOST_RUNS = 12
STRONG = "strong"  # the run that stages judge: never a dual one
FOUND = ("miou", "machine")  # of a run, once it is made
JUDGED = {"run": "mIoU of row strong on the held-out images", "masks": "mIoU of DSRG's masks on the training images"}


@dataclass(frozen=True)
class Candidate:
    """Settings that a stage may choose; those with the changes of an earlier one are the same run."""

    key: str
    cost: float | None  # of one that is shown: none, for it decides nothing
    changes: Pairs


def chosen(
    candidates: list[Candidate], scores: Mapping[str, float], tie: float, nearest: float | None = None
) -> Candidate:
    """Return the cheapest of the candidates that are within `tie` points of the best, the first of equally cheap ones.

    nearest: a score to be come near to instead, where the best one is not what is sought.
    """
    if nearest is not None:
        return min(candidates, key=lambda one: abs(scores[one.key] - nearest))
    best = max(scores[one.key] for one in candidates)
    return min((one for one in candidates if best - scores[one.key] <= tie), key=lambda one: one.cost)


def beginning(protocol: Mapping[str, Any]) -> Preset:
    """Return the preset of a protocol with the settings that its first stage starts from."""
    begins, where = tuple(protocol["begins"].items()), f"protocol {protocol['preset']}, key 'begins'"
    check_changes(begins, where)
    return changed(load_preset(protocol["preset"]), begins, where)


def candidates_of(stage: Mapping[str, Any]) -> list[Candidate]:
    """Read the candidates of a stage; refuses changes of settings that there are not."""
    where = f"protocol, stage {stage['key']!r}"
    found = [read_dataclass(Candidate, one, where) for one in stage["candidates"]]
    for one in found:
        check_changes(one.changes, f"{where}, candidate {one.key!r}")
    return found


def count(protocol: Mapping[str, Any]) -> int:
    """Return how many runs a protocol makes: a candidate without changes is the run that was chosen before."""
    own = [one for stage in protocol["stage"] for one in stage["candidates"] if one["changes"]]
    return len(own) + len(protocol["shown"])


@dataclass(frozen=True)
class Bench:
    """Where candidates are made, and by which command."""

    work: Path
    options: tuple[str, ...]  # of every command of swdb that computes
    cues: Path | None
    jobs: int = 1
    precision: str | None = None

    def id_of(self, preset: Preset, judged: str) -> str:
        """Return the id of the score, or of the masks, by which a preset is judged: the same for the same data and settings."""
        study = open_study(self.work, str(self._written(preset)), self.precision, Named(cues=self.cues))
        graph = Graph(study, every_run())
        if judged == "masks":
            return graph.proxies(1).id
        run = graph.runs[STRONG if judged == "run" else judged]
        return graph.score(CellSource((run,), STRONG), 0).id

    def score(self, preset: Preset, judged: str) -> Mapping[str, Any]:
        """Train and score a preset's run, or make its masks; returns mIoU in % and the machine that it is from."""
        cues = ("--cues", str(self.cues)) if self.cues else ()
        precision = ("--precision", self.precision) if self.precision else ()
        where = ("--preset", str(self._written(preset)), "--workdir", str(self.work), *self.options, *precision, *cues)
        if judged == "masks":
            (only,) = self._swdb("make-proxy", "--set", "1", *where, "--json").values()
            return {"miou": only["masks"]["miou"], "machine": only["network"]["machine"]}
        run = STRONG if judged == "run" else judged
        self._swdb("train", run, "--seed", "0", *where)
        found = self._swdb("eval", run, "--seed", "0", *where, "--json")
        return {"miou": found["miou"], "machine": found["machine"]}

    def _written(self, preset: Preset) -> Path:
        path = self.work / "presets" / f"{preset.name}.toml"
        write_preset(path, preset)
        return path

    @staticmethod
    def _swdb(*words: str) -> Any:
        done = subprocess.run([sys.executable, "-m", "swdb", *words], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)  # swdb has said why
        return json.loads(done.stdout) if "--json" in words else None


class Record:
    """The runs of a protocol as they become known, in `protocol.json` and `.md`; what is there already is not made again."""

    def __init__(self, protocol: Mapping[str, Any], output: Path) -> None:
        self.protocol, self.path = protocol, output / "protocol.json"
        self.lines: list[dict[str, Any]] = []  # of finished stages
        self.taken: dict[str, Any] = {}
        self.grown = False  # whether anything was made that the file did not have
        self.known = {}  # lines by the id of what judges them
        if self.path.exists():
            with damage_of(self.path, "a protocol"):
                self.known = {line["id"]: {name: line[name] for name in FOUND} for line in read_json(self.path)["runs"]}

    def write(self, more: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write what is known, with lines of a stage that is not finished."""
        write(self.path.parent, self.protocol, [*self.lines, *more], self.taken)


def follow(protocol: Mapping[str, Any], base: Preset, bench: Bench, output: Path) -> dict[str, Any]:
    """Make all runs in order, writing what is known after each; returns the settings that were chosen."""
    record, preset = Record(protocol, output), base
    for stage in protocol["stage"]:
        candidates = candidates_of(stage)
        made = {one.key: changed(preset, one.changes, f"protocol {base.name}, {one.key}") for one in candidates}
        tries = [(one, replace(made[one.key], name=f"{base.name}-{one.key}"), stage["judged"]) for one in candidates]
        lines = score(stage["key"], tries, bench, record)
        scores = {key: line["miou"] for key, line in lines.items()}
        one = chosen(candidates, scores, protocol["tie"], stage.get("nearest"))
        lines[one.key]["taken"] = True
        record.taken |= differences(preset, made[one.key])
        preset = made[one.key]
        if record.grown:
            record.write()
    shown = [Candidate(one["key"], None, ()) for one in protocol["shown"]]
    runs = [one["run"] for one in protocol["shown"]]
    named = [replace(preset, name=f"{base.name}-{one.key}") for one in shown]
    score("shown", [*zip(shown, named, runs, strict=True)], bench, record)
    record.write()
    return record.taken


def score(
    stage: str, tries: list[tuple[Candidate, Preset, str]], bench: Bench, record: Record
) -> dict[str, dict[str, Any]]:
    """Make the runs of a stage, each by what it is judged, as many at once as there are jobs; returns their lines by key.

    Nothing is written before something new is known, so an interrupted protocol never says less than it did.
    """
    lines = {}
    for one, preset, judged in tries:
        of_run = {"stage": stage, "key": one.key, "judged": judged if judged in JUDGED else f"row {judged}",
                  "cost": one.cost, "changes": dict(one.changes), "taken": False, "id": bench.id_of(preset, judged)}  # fmt: skip
        lines[one.key] = of_run | record.known.get(of_run["id"], {})
    with ThreadPoolExecutor(bench.jobs) as jobs:
        new = {
            jobs.submit(bench.score, preset, judged): lines[one.key]
            for one, preset, judged in tries
            if "miou" not in lines[one.key]
        }
        for future in as_completed(new):
            if future.exception():  # the others go on, and are written
                continue
            line, found = new[future], future.result()
            line |= found
            record.known[line["id"]], record.grown = found, True
            record.write([line for line in lines.values() if "miou" in line])
    for future in new:
        future.result()
    record.lines += lines.values()
    return lines


def differences(before: Preset, after: Preset) -> dict[str, Any]:
    """Return the settings of one preset that another has otherwise, by name."""
    return {
        f"{group}.{name}": getattr(values, name)
        for group, values in after.groups.items()
        for name in values.__dataclass_fields__
        if getattr(values, name) != getattr(before.groups[group], name)
    }


def setting_lines(taken: Mapping[str, Any]) -> list[str]:
    """Return settings with their values, a line each; lists as a preset has them."""
    return [f"{name} = {list(value) if isinstance(value, tuple) else value}" for name, value in taken.items()]


def write(output: Path, protocol: Mapping[str, Any], lines: list[dict[str, Any]], taken: Mapping[str, Any]) -> None:
    """Write the runs that are finished, and what they chose so far, for people and for machines."""
    kept = {"preset": protocol["preset"], "tie": protocol["tie"], "runs": lines, "chosen": dict(taken)}
    write_json(output / "protocol.json", kept)
    rows = [
        [one["stage"], one["key"], JUDGED.get(one["judged"], one["judged"]), f"{one['cost'] or '-'}", f"{one['miou']:.2f}", "yes" if one["taken"] else ""]
        for one in lines
    ]  # fmt: skip
    table = markdown_table(["stage", "run", "judged by", "cost", "mIoU", "taken"], rows, words=3)
    named = ", ".join(f"`{line}`" for line in setting_lines(taken)) or "nothing yet"
    head = f"# Development runs of {protocol['preset']}\n\nAs bench/protocol.py wrote them; one seed each, nothing scored on val.\n\n"
    write_text(
        output / "protocol.md",
        head + "\n".join(table) + f"\n\nChosen, where it is another value than before: {named}.\n",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--protocol", type=Path, default=PROTOCOL)
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--cues", type=Path)
    parser.add_argument("--output", type=Path, help="else results/<preset>/")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="runs of a stage at once")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", help="of all runs; else the work directory's")
    typed = parser.parse_args()
    with told_in_one_line():
        protocol = read_toml(typed.protocol)
        base = beginning(protocol)
        if count(protocol) > MOST_RUNS:
            raise BadInput(typed.protocol, f"{count(protocol)} runs", f"at most {MOST_RUNS}")
        bench = Bench(typed.work, ("--device", typed.device), typed.cues, max(1, typed.jobs), typed.precision)
        output = typed.output or Path("results") / base.name
        taken = follow(protocol, base, bench, output)
    print("\n".join(setting_lines(taken)))
    print(f"written: {output / 'protocol.md'}", file=sys.stderr)


if __name__ == "__main__":
    main()
