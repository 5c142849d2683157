"""Makes the development runs of a protocol, and lets its rule choose. `python bench/protocol.py --work work --cues FILE`.

The stages stand in `bench/protocol-voc-animals.toml`. Each candidate is the preset with what earlier stages chose and its own
changes, written below the work directory; `swdb` trains and scores it there, `--jobs` of a stage's at once. What is finished is
not made again, so an interrupted protocol goes on. Of a stage's candidates within `tie` points of the best, the cheapest is
taken, of equally cheap ones the first.

in: a protocol, a work directory with the data set -> out: `results/<preset>/protocol.{md,json}` (or --output), the changes chosen
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swdb.core.errors import BadInput, told_in_one_line
from swdb.core.files import write_json, write_text
from swdb.core.markdown import markdown_table
from swdb.core.processor import usable_cores
from swdb.specs.changes import changed, check_changes
from swdb.specs.presets import Preset, load_preset, write_preset
from swdb.specs.toml import Pairs, read_dataclass, read_toml

PROTOCOL = Path(__file__).parent / "protocol-voc-animals.toml"
MOST_RUNS = 12
STRONG = "strong"  # the run that stages judge: never a dual one
JUDGED = {"run": "mIoU of row strong on the held-out images", "masks": "mIoU of DSRG's masks on the training images"}


@dataclass(frozen=True)
class Candidate:
    """Settings that a stage may choose; those with the changes of an earlier one are the same run."""

    key: str
    cost: float | None  # of one that is shown: none, for it decides nothing
    changes: Pairs


def chosen(candidates: list[Candidate], scores: Mapping[str, float], tie: float) -> Candidate:
    """Return the cheapest of the candidates that are within `tie` points of the best, the first of equally cheap ones."""
    best = max(scores[one.key] for one in candidates)
    return min((one for one in candidates if best - scores[one.key] <= tie), key=lambda one: one.cost)


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

    def score(self, preset: Preset, judged: str) -> float:
        """Train and score a preset's run, or make its masks; returns mIoU in %."""
        path = self.work / "presets" / f"{preset.name}.toml"
        write_preset(path, preset)
        cues = ("--cues", str(self.cues)) if self.cues else ()
        where = ("--preset", str(path), "--workdir", str(self.work), *self.options)
        if judged == "masks":
            (only,) = self._swdb("make-proxy", "--set", "1", *where, *cues, "--json").values()
            return only["masks"]["miou"]
        run = STRONG if judged == "run" else judged
        self._swdb("train", run, "--seed", "0", *where, *cues)
        return self._swdb("eval", run, "--seed", "0", *where, *cues, "--json")["miou"]

    @staticmethod
    def _swdb(*words: str) -> Any:
        done = subprocess.run([sys.executable, "-m", "swdb", *words], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)  # swdb has said why
        return json.loads(done.stdout) if "--json" in words else None


def follow(protocol: Mapping[str, Any], base: Preset, bench: Bench, output: Path) -> dict[str, Any]:
    """Make all runs in order, writing what is known after each; returns the settings that were chosen."""
    taken: dict[str, Any] = {}
    preset, lines = base, []

    def score(stage: str, tries: list[tuple[Candidate, Preset, str]]) -> dict[str, float]:
        """Make the runs of a stage, each by what it is judged, as many at once as there are jobs; returns what came out by key."""
        presets = [replace(own, name=f"{base.name}-{one.key}") for one, own, _ in tries]
        scores: dict[str, float] = {}
        with ThreadPoolExecutor(bench.jobs) as jobs:
            found = jobs.map(bench.score, presets, [judged for *_, judged in tries])
            for (one, _, judged), scores[one.key] in zip(tries, found, strict=True):
                words = judged if judged in JUDGED else f"row {judged}"
                lines.append({"stage": stage, "key": one.key, "judged": words, "cost": one.cost,
                              "changes": dict(one.changes), "miou": scores[one.key], "taken": False})  # fmt: skip
                write(output, protocol, lines, taken)
        return scores

    for stage in protocol["stage"]:
        candidates = candidates_of(stage)
        made = {one.key: changed(preset, one.changes, f"protocol {base.name}, {one.key}") for one in candidates}
        scores = score(stage["key"], [(one, made[one.key], stage["judged"]) for one in candidates])
        one = chosen(candidates, scores, protocol["tie"])
        preset, taken = made[one.key], {**taken, **differences(preset, made[one.key])}
        next(line for line in lines if line["key"] == one.key)["taken"] = True
        write(output, protocol, lines, taken)
    score("shown", [(Candidate(shown["key"], None, ()), preset, shown["run"]) for shown in protocol["shown"]])
    return taken


def differences(before: Preset, after: Preset) -> dict[str, Any]:
    """Return the settings of one preset that another has otherwise, by name."""
    return {
        f"{group}.{name}": getattr(values, name)
        for group, values in after.groups.items()
        for name in values.__dataclass_fields__
        if getattr(values, name) != getattr(before.groups[group], name)
    }


def write(output: Path, protocol: Mapping[str, Any], lines: list[dict[str, Any]], taken: Mapping[str, Any]) -> None:
    """Write the runs that are finished, and what they chose so far, for people and for machines."""
    kept = {"preset": protocol["preset"], "tie": protocol["tie"], "runs": lines, "chosen": dict(taken)}
    write_json(output / "protocol.json", kept)
    rows = [
        [one["stage"], one["key"], JUDGED.get(one["judged"], one["judged"]), f"{one['cost'] or '-'}", f"{one['miou']:.2f}", "yes" if one["taken"] else ""]
        for one in lines
    ]  # fmt: skip
    table = markdown_table(["stage", "run", "judged by", "cost", "mIoU", "taken"], rows, words=3)
    named = ", ".join(f"`{name} = {value}`" for name, value in taken.items()) or "nothing yet"
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
        base = load_preset(protocol["preset"])
        options = ("--device", typed.device, *(("--precision", typed.precision) if typed.precision else ()))
        if count(protocol) > MOST_RUNS:
            raise BadInput(typed.protocol, f"{count(protocol)} runs", f"at most {MOST_RUNS}")
        bench = Bench(typed.work, options, typed.cues, max(1, typed.jobs))
        output = typed.output or Path("results") / base.name
        taken = follow(protocol, base, bench, output)
    print("\n".join(f"{name} = {value}" for name, value in taken.items()))
    print(f"written: {output / 'protocol.md'}", file=sys.stderr)


if __name__ == "__main__":
    main()
