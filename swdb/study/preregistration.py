"""What was fixed before a run: claims with their margins, conditions of the regime, settings, seeds, the rule; by digest.

Whoever registers writes them down with the date; a run that begins afterwards says in its record which registrations stood
then. They are in no key: ids, and what is trained, are the same with and without. Nothing here is proof against its own
author, who has the clock and the files; whoever commits the registration before the runs has a witness.

in: claims with their cells, a study -> out: `<work directory>/preregistration.json`, a list that only grows; and back
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, digest, read_json, write_json
from swdb.core.lease import leased
from swdb.reports.results import runs_behind
from swdb.specs import regime
from swdb.specs.study import Study
from swdb.specs.tables import Table, measured_cells, printed_values
from swdb.study.plan import Plan
from swdb.verdicts import rule

VERSION = 1  # of preregistration.json
FILE = "preregistration.json"
NOTE = "registered.json"  # in the folder of a run under way: what stood when it began
RECORDED = "registrations"  # the key of a run's record
BEFORE, AFTER, NOT = "before", "after", "not"


@dataclass(frozen=True)
class Registration:
    """What was fixed at one moment."""

    date: str  # UTC, as this machine's clock said
    preset: str
    settings: str  # the digest of all settings
    seeds: tuple[int, ...]  # at most these
    rule: Mapping[str, Any]  # the rule that decides, with its version and its looks
    claims: Mapping[str, Mapping[str, Any]]  # by key: the claim's values, and what stands in its cells
    regime: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # conditions by key; none in what is older

    @property
    def content(self) -> dict[str, Any]:
        """What is registered, as JSON."""
        return {
            "preset": self.preset,
            "settings": self.settings,
            "seeds": list(self.seeds),
            "rule": dict(self.rule),
            "claims": {key: dict(claim) for key, claim in self.claims.items()},
            **({"regime": {key: dict(one) for key, one in self.regime.items()}} if self.regime else {}),
        }

    @property
    def digest(self) -> str:
        """The sha256 of the content and its date, which is what runs name."""
        return digest({"date": self.date, **self.content})

    def fixes(self, key: str, today: "Registration", seeds: Iterable[int]) -> bool:
        """Whether a claim stood then as it stands `today`, under the same rule and settings, and for these seeds."""
        if not (key in self.claims and key in today.claims):
            return False
        same = (self.settings, self.rule, self.claims[key]) == (today.settings, today.rule, today.claims[key])
        return same and set(seeds) <= set(self.seeds)


def register(workdir: Path, today: Registration) -> tuple[Registration, bool]:
    """Write a registration down, beside the earlier ones; where one of the same content is there, that one stands.

    Returns the one that stands, and whether it is new.
    """
    path = workdir / FILE
    with leased(path, "registering the claims"):
        earlier = read_registrations(workdir)
        for one in earlier:
            if one.content == today.content:
                return one, False
        write_json(path, {"version": VERSION, "registrations": [_entry(one) for one in (*earlier, today)]})
    return today, True


def _entry(one: Registration) -> dict[str, Any]:
    return {"date": one.date, "digest": one.digest, **one.content}


def read_registrations(workdir: Path) -> list[Registration]:
    """Read all registrations of a work directory, first things first; raises MissingArtefact for damage, and where one
    was edited since: its digest no longer fits.
    """
    path = workdir / FILE
    if not path.is_file():
        return []
    whole = read_json(path)
    with damage_of(path, "registrations"):
        if whole["version"] != VERSION:
            found = f"registrations of version {whole['version']}"
            raise MissingArtefact(path, found, f"version {VERSION}")
        found = [_registration(one) for one in whole["registrations"]]
        said = [one["digest"] for one in whole["registrations"]]
    for one, digested in zip(found, said, strict=True):
        if one.digest != digested:
            raise MissingArtefact(path, f"the registration of {one.date} was edited since", "what was registered then")
    return found


def _registration(entry: Mapping[str, Any]) -> Registration:
    names = ("date", "preset", "settings", "rule", "claims")
    values = {name: entry[name] for name in names}
    texts = all(isinstance(values[name], str) for name in names[:3])
    maps = isinstance(values["rule"], dict) and all(isinstance(one, dict) for one in values["claims"].values())
    values["regime"] = entry.get("regime", {})
    maps = maps and all(isinstance(one, dict) for one in values["regime"].values())
    if not (texts and maps and all(type(seed) is int for seed in entry["seeds"])):
        raise TypeError
    return Registration(seeds=tuple(entry["seeds"]), **values)


def registration(study: Study, tables: Mapping[int, Table], seeds: Iterable[int]) -> Registration:
    """Return what can be registered of a study now: every claim with what is trained, or printed, behind its cells."""
    sources, printed = measured_cells(tables), printed_values(tables)

    def cell(name: str) -> dict[str, Any]:
        values = {"printed": printed[name]} if name in printed else {}
        return values if name not in sources else {**asdict(sources[name], dict_factory=_as_said), **values}

    claims = {
        claim.key: {**claim.content(), "cells": {name: cell(name) for name in claim.cells}}
        for table in tables.values()
        for claim in table.claims
    }
    values = json.loads(
        json.dumps({"rule": rule.content(), "claims": claims, "regime": regime.content()})
    )  # as they are read back
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Registration(date, study.preset.name, study.preset.digest(), tuple(seeds), **values)


def _as_said(values: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return what is said of a run, without what was added later and is as it was: so registrations stay what they were."""
    return {name: value for name, value in values if (name, value) not in (("changes", ()), ("few_strong", "images"))}


# ---------------------------------------------------------------- what a run says


def noted_at_begin(workdir: Path, artefact: Artefact, goes_on: bool) -> list[str]:
    """Return the digests of the registrations that stood when a run began, and keep them with it while it is under way.

    goes_on: whether it was begun before, and goes on with what was made then: then what was noted then counts.
    """
    if artefact.kind != "run":
        return []
    path = artefact.folder / NOTE
    if goes_on:
        return _noted(path)
    found = [one.digest for one in read_registrations(workdir)]
    if found:
        write_json(path, found)
    else:
        path.unlink(missing_ok=True)
    return found


def forget_note(artefact: Artefact) -> None:
    """Delete the note of a run whose record has it now."""
    with suppress(OSError):
        (artefact.folder / NOTE).unlink(missing_ok=True)


def _noted(path: Path) -> list[str]:
    """Return what was noted when a run began; nothing for a note that is not there, or is none: nobody knows then."""
    with suppress(MissingArtefact):
        found = read_json(path)
        if isinstance(found, list) and all(isinstance(one, str) for one in found):
            return found
    return []


# ---------------------------------------------------------------- what a ledger says


@dataclass(frozen=True)
class Behind:
    """What stands behind a claim: the seeds, and of each run the registrations that it was begun under."""

    seeds: frozenset[int]
    registrations: tuple[frozenset[str], ...]


def behind(runs: Mapping[int, Iterable[Artefact]]) -> Behind:
    """Read what stands behind a claim from the records of its runs, by seed; also of those that a run starts from."""
    found: dict[str, frozenset[str]] = {}

    def visit(run: Artefact) -> None:
        if run.id in found:
            return
        told = run.read_record().get(RECORDED, [])
        found[run.id] = frozenset(filter(_is_text, told)) if isinstance(told, list) else frozenset()
        for other in run.inputs:
            if other.kind == "run":
                visit(other)

    for several in runs.values():
        for run in several:
            visit(run)
    return Behind(frozenset(runs), tuple(found.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def standings(study: Study, tables: Mapping[int, Table], plan: Plan) -> dict[str, str]:
    """Say of each claim whether it was fixed before the runs behind it, from the finished scores of a plan."""
    registered = read_registrations(study.folder)
    if not registered:
        return {}
    today, by_cell = registration(study, tables, ()), {}
    for place, score in plan.scores.items():
        if score.done:
            by_cell.setdefault(place.cell, {})[place.seed] = runs_behind(score)
    found = {}
    for claim in (claim for table in tables.values() for claim in table.claims):
        runs: dict[int, list[Artefact]] = {}
        for name in claim.measured_cells:
            for seed, several in by_cell.get(name, {}).items():
                runs.setdefault(seed, []).extend(several)
        found[claim.key] = standing(claim.key, today, registered, behind(runs))
    return found


def standing(key: str, today: Registration, registered: Iterable[Registration], what: Behind) -> str:
    """Say whether a claim was fixed before the runs behind it, after (one of) them, or not at all.

    A registration that is gone from the work directory fixes nothing, and a claim that nothing was run for yet is fixed
    before whatever will be.
    """
    registered = list(registered)
    fixing = {one.digest for one in registered if one.fixes(key, today, what.seeds)}
    if any(all(digest in names for names in what.registrations) for digest in fixing):
        return BEFORE
    return AFTER if any(key in one.claims for one in registered) else NOT
