"""The report: one HTML file that says what became of every claim, and all that this rests on.

It needs nothing but itself: no script, no font, no picture from elsewhere, and its own policy forbids them; so a name or a
line of a log can say what it likes. The same evidence gives the same bytes. No torch.

in: measured tables, the scores behind them, their ledger -> out: the text of `reports/<preset>/index.html`
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import SwdbError
from swdb.core.progress import Advance
from swdb.data.dataset import DataSet
from swdb.data.voc import IGNORE
from swdb.reports import charts
from swdb.reports.charts import Chart, number
from swdb.reports.deciding_images import Images, Picture, ends_of
from swdb.reports.html_claims import ClaimShown, claims_shown, counts, intervals_chart
from swdb.reports.ledger import rule_lines
from swdb.reports.losses import loss_curves
from swdb.reports.notes import notes
from swdb.reports.provenance import Cost, Made, artefacts, iou_by_class, row_words, values
from swdb.reports.regime import regime_words, titled
from swdb.reports.results import MeasuredTable, Scores, runs_behind
from swdb.reports.sensitivity import Finding, by_claim, seeds_of, words_of
from swdb.reports.sweeps import sweeps
from swdb.reports.tables import frame, title
from swdb.specs.presets import Preset
from swdb.specs.register import STATUSES, register
from swdb.specs.sentences import load_sentences
from swdb.specs.tables import cell_name
from swdb.verdicts.readings import TOGETHER
from swdb.verdicts.verdict import Ledger

GENERATOR = "swdb"  # in the page's head: told from files that are not ours
PAPER = "Luo and Yang, Improving Semi-supervised Semantic Segmentation via Strong-weak Dual-branch Network, ECCV 2020"
HOUR = 3600


@dataclass(frozen=True)
class Commands:
    """What is typed to make the numbers again: before all, for everything, for a row of a table, for a run and its seed."""

    before: tuple[str, ...]
    everything: tuple[str, ...]
    of_row: Callable[[int, str], str]
    of_run: Callable[[str, int], str]


@dataclass(frozen=True)
class Evidence:
    """All that a report is made from."""

    preset: Preset
    precision: str
    files: Mapping[str, Mapping[str, str]]  # the files that were named, by kind: their digests
    tables: Sequence[MeasuredTable]
    scores: Mapping[int, Scores]  # by table
    ledger: Ledger
    cost: Cost
    commands: Commands
    dataset: DataSet | None  # None: it is not there any more
    photographs: bool = False  # whether images that are not drawn are shown
    readings: Sequence[Finding] = ()  # the paper read otherwise, as far as somebody tried
    left_out: Sequence[str] = ()  # what is wrong with scores that are not believed

    @cached_property
    def cells(self) -> dict[str, dict[int, Artefact]]:
        """The finished scores by cell, `N:row.column`, and by seed."""
        found = {}
        for number_of_table, table in self.scores.items():
            for (row, column), by_seed in table.items():
                found[cell_name(number_of_table, row, column)] = {
                    seed: one for seed, one in by_seed.items() if one.done
                }
        return found

    @cached_property
    def arms(self) -> dict[tuple[str, ...], list[str]]:
        """Cells that show the same scores, by the ids of these."""
        found: dict[tuple[str, ...], list[str]] = {}
        for cell, by_seed in self.cells.items():
            if by_seed:
                found.setdefault(tuple(one.id for one in by_seed.values()), []).append(cell)
        return found

    @cached_property
    def runs(self) -> dict[str, dict[int, Artefact]]:
        """The finished trainings by name and by seed."""
        found: dict[str, dict[int, Artefact]] = {}
        for by_seed in self.cells.values():
            for seed, score in by_seed.items():
                for run in runs_behind(score):
                    found.setdefault(run.name.removesuffix(f"-s{seed}"), {})[seed] = run
        return found

    def words(self, cell: str) -> str:
        """Name a cell by the labels of its row, and its column where there are several."""
        number_of_table, _, place = cell.partition(":")
        for measured in self.tables:
            found = measured.cells.get(tuple(place.rsplit(".", 1)))
            if str(measured.spec.number) == number_of_table and found is not None:
                several = sum(column.branch is not None for column in measured.spec.columns) > 1
                labels = [one for one in found.row.labels if one != "-"]
                if len(measured.spec.label_titles) == 1 and found.row.labels[0].isdecimal():
                    labels = [f"{measured.spec.label_titles[0]} = {found.row.labels[0]}"]
                return ", ".join([*labels, *([found.column.title] if several else [])])
        return cell


@dataclass
class _Work:
    """How far a report is: each thing that is drawn or read counts as one."""

    advance: Advance
    total: int
    done: int = 0
    problems: list[str] = field(default_factory=list)

    def step(self) -> None:
        """One thing more is done."""
        self.done += 1
        self.advance(min(self.done, self.total), self.total)


@dataclass(frozen=True)
class _Shown:
    """A claim with the images that decide it."""

    claim: ClaimShown
    lower: str
    higher: str
    pictures: list[Picture]


def page(evidence: Evidence, progress: Callable[..., Advance]) -> str:
    """Return the report as HTML; `progress` is told how far it is."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    claims = claims_shown(evidence.ledger)
    total = 1 + len(evidence.arms) + len(evidence.runs) + len(claims)
    work = _Work(progress("draw the report", total), total)
    made, unreadable = artefacts(evidence.scores, evidence.cost)
    work.problems += [*evidence.left_out, *unreadable]
    views = {
        "claims": claims,
        "claims_chart": intervals_chart(claims),
        "sentences": [*_sentences(claims)],
        "readings": _readings(evidence.readings, claims),
        "tables": [_table(measured, evidence, claims) for measured in evidence.tables],
        "sweeps": _sweeps(evidence),
        "classes": [*_classes(evidence, work)],
        "losses": [*_losses(evidence, work)],
        **_pictures(evidence, claims, work),
        "values": values(evidence.tables, evidence.scores, made),
        "made": made,
        "repeat": _repeat(evidence),
    }
    environment = Environment(
        loader=PackageLoader("swdb.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["num"] = number
    text = environment.get_template("report.html.j2").render(
        **views,
        **_about(evidence, made),
        assumptions=register(evidence.preset),
        statuses=STATUSES,
        problems=work.problems,
    )
    work.step()
    return text


# ---------------------------------------------------------------- the first screen


def _about(evidence: Evidence, made: list[Made]) -> dict[str, Any]:
    """Return what the page says of itself: what was run, what was not, what it took."""
    preset, ledger = evidence.preset, evidence.ledger
    runs = [one for one in made if one.kind == "run"]
    seconds = [one.seconds for one in made if one.done and one.seconds is not None]
    machines = sorted({machine for measured in evidence.tables for machine in measured.machines})
    digests = sorted({measured.data_digest for measured in evidence.tables if measured.data_digest})
    done = sum(one.done for one in runs)
    seeds = sorted({seed for measured in evidence.tables for seed in measured.seeds})
    not_run = [*_not_run(evidence)]
    facts = [
        ("Preset", f"{preset.name}: {titled(preset, ledger)}"),
        (
            "Scale",
            "the paper's" if ledger.comparable else "not the paper's: its printed values are for orientation only",
        ),
        ("Regime", regime_words(ledger) if ledger.regime else "not checked"),
        ("Runs", f"{done} of {len(runs)} planned" if runs else "none: nothing has been run"),
        ("NOT RUN", _lacking_words(not_run, done)),
        ("Seeds", ", ".join(map(str, seeds)) or "none"),
        ("Cost", f"{hours(sum(seconds))} of computing" if seconds else "not noted"),
        ("Computed on", "; ".join(machines) or "–"),
        (
            "Data set",
            f"{preset.data.name}, sha256 {digests[0][:16]}" if digests else f"{preset.data.name}, not scored on yet",
        ),
    ]
    return {
        "title": f"Tables 1–4 on {preset.name}",
        "paper": PAPER,
        "preset": preset,
        "rules": rule_lines(ledger),
        "counts": counts(ledger),
        "facts": facts,
        "not_run": not_run,
        "cells_lack": _cells_lack(len(not_run)),
        "anything": done > 0,
        "generator": f"{GENERATOR} {version('swdb')}",
        "seconds": sum(seconds),
        "total_hours": hours(sum(seconds)),
        "untimed": sum(one.done and one.seconds is None for one in made),
        "precision": evidence.precision,
        "files": evidence.files,
    }


def _sentences(claims: Sequence[ClaimShown]) -> Iterator[dict[str, Any]]:
    """Yield the supplement's sentences, each with its claims as they are shown."""
    by_key = {one.verdict.claim.key: one for one in claims}
    for one in load_sentences():
        read = [by_key[key] for key in one.claims if key in by_key]
        yield {"place": one.place, "words": one.words, "note": one.note or one.why, "claims": read}


def _readings(findings: Sequence[Finding], claims: Sequence[ClaimShown]) -> dict[str, Any]:
    """Return what each claim becomes where the paper is read otherwise: a column for each word that there is."""
    found = by_claim(findings)
    words = [word for word in TOGETHER if any(word in readings for readings in found.values())]
    rows = [
        (one, [", ".join(found[key].get(word, [])) or "–" for word in words])
        for one in claims
        if (key := one.verdict.claim.key) in found
    ]
    asked = [words_of(one.reading) for one in findings]
    return {"words": words, "rows": rows, "seeds": seeds_of(findings), "asked": asked}


def _cells_lack(count: int) -> str:
    return "1 cell lacks" if count == 1 else f"{count} cells lack"


def _lacking_words(not_run: Sequence[str], done: int) -> str:
    if not done:
        return "all of it"
    return f"{_cells_lack(len(not_run))} seeds, listed below" if not_run else "nothing: every cell has all its seeds"


def hours(seconds: float) -> str:
    """Say how many hours something took, in as many digits as mean something."""
    value = seconds / HOUR
    text = f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
    return f"{text} hours"


def _not_run(evidence: Evidence) -> Iterator[str]:
    """Yield the cells that lack seeds that were planned, one line each."""
    planned = sorted({seed for table in evidence.scores.values() for by_seed in table.values() for seed in by_seed})
    for measured in evidence.tables:
        for (row, column), cell in measured.cells.items():
            lacking = [seed for seed in planned if seed not in cell.by_seed]
            if cell.measurable and lacking:
                seeds = f"seed{'s' * (len(lacking) > 1)} {', '.join(map(str, lacking))}"
                name = evidence.words(cell_name(measured.spec.number, row, column))
                yield f"Table {measured.spec.number}, {name}: {'no seed' if not cell.by_seed else seeds}"


# ---------------------------------------------------------------- tables and drawings


def _table(measured: MeasuredTable, evidence: Evidence, claims: list[ClaimShown]) -> dict[str, Any]:
    """Return a table as it is shown, with its notes and the numbers of its claims."""
    shown = frame(measured, evidence.preset)
    return {
        "number": measured.spec.number,
        "title": title(measured, evidence.preset, evidence.ledger),
        "header": [*shown.columns],
        "labels": len(measured.spec.label_titles),
        "rows": [
            {"cells": [*map(str, line)], "first_below_line": row is measured.spec.first_below_line}
            for row, line in zip(measured.spec.rows, shown.itertuples(index=False), strict=True)
        ],
        "notes": notes(measured, evidence.preset),
        "claims": [one for one in claims if one.table == measured.spec.number],
    }


def _sweeps(evidence: Evidence) -> list[Chart]:
    found = [sweep for measured in evidence.tables for sweep in sweeps(measured)]
    orientation = not evidence.preset.comparable
    return [
        charts.sweep(f"sweep-{k}", one.title, one.parameter, one.series, orientation) for k, one in enumerate(found, 1)
    ]


def _classes(evidence: Evidence, work: _Work) -> Iterator[Chart]:
    """Yield a drawing for each arm: cells that show the same scores are drawn once."""
    for k, cells in enumerate(evidence.arms.values(), 1):
        by_seed = evidence.cells[cells[0]]
        try:
            found = iou_by_class(by_seed)
        except SwdbError as error:
            work.problems.append(f"IoU by class of {cells[0]}: {error}")
        else:
            where = ", ".join(dict.fromkeys(f"Table {cell.partition(':')[0]}" for cell in cells))
            known = [sum(one) / len(one) for one in found.values() if one]
            if known:
                name = f"{where}: {evidence.words(cells[0])}"
                yield charts.classes(f"classes-{k}", name, found, sum(known) / len(known))
        work.step()


def _losses(evidence: Evidence, work: _Work) -> Iterator[Chart]:
    for k, (name, runs) in enumerate(evidence.runs.items(), 1):
        curves, num_seeds, problems = loss_curves(runs)
        work.problems += problems
        if curves:
            yield charts.losses(f"losses-{k}", f"Run {name}", curves, num_seeds)
        work.step()


def _pictures(evidence: Evidence, claims: list[ClaimShown], work: _Work) -> dict[str, Any]:
    """Return the images that decide each claim, the colours of the classes, or why there are none."""
    dataset = evidence.dataset
    if dataset is None:
        return {"deciding": [], "legend": [], "no_images": "The data set is not at hand, so no image is shown."}
    if not (dataset.facts.synthetic or evidence.photographs):
        return {
            "deciding": [],
            "legend": [],
            "no_images": "The images are photographs and are left out unless asked for.",
        }
    images, deciding = Images(dataset, evidence.cells), []
    for claim in claims:
        try:
            pictures = [*images.of(claim.verdict.claim)]
        except SwdbError as error:
            work.problems.append(f"images of claim {claim.name}: {error}")
        else:
            if pictures:
                lower, higher = map(evidence.words, ends_of(claim.verdict.claim) or ("", ""))
                deciding.append(_Shown(claim, lower, higher, pictures))
        work.step()
    legend = [(name, _colour(dataset, k)) for k, name in enumerate(dataset.class_names)]
    legend.append(("void", _colour(dataset, IGNORE)))
    return {
        "deciding": deciding,
        "legend": legend,
        "no_images": "" if deciding else "No claim has both its rows scored.",
    }


def _colour(dataset: DataSet, value: int) -> str:
    return "#" + "".join(f"{int(one):02x}" for one in dataset.facts.palette[value])


def _repeat(evidence: Evidence) -> dict[str, Any]:
    """Return the commands that make each number again."""
    rows = [
        (measured.spec.number, row_words(row), evidence.commands.of_row(measured.spec.number, row.key))
        for measured in evidence.tables
        for row in measured.spec.rows
    ]
    runs = [
        (run.id, evidence.commands.of_run(name, seed))
        for name, by_seed in evidence.runs.items()
        for seed, run in sorted(by_seed.items())
    ]
    return {"before": evidence.commands.before, "everything": evidence.commands.everything, "rows": rows, "runs": runs}
