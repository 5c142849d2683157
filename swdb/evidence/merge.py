"""Puts bundles of one study together: other people's seeds join ours, and their machines are shown.

Everything that numbers hang on must be the same: settings, tables, precision, named files, the data set. What people make
under one id on different machines may differ in its bytes (proxies, say): a training says by digest which of them it had,
and all of them are kept. A run, which is a number in a table, may not: two numbers for one seed are refused.

in: bundles -> out: one bundle, rescored before it is in its place
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact, OtherStudy
from swdb.core.files import file_digest, replacing
from swdb.core.journal import LOGS
from swdb.core.progress import Progress
from swdb.evaluation.confusion import COUNTS
from swdb.evidence.bundle import look_at, write_bundle
from swdb.evidence.bundle_reader import OPTION, Bundle, Finding, is_mask, is_read, opened, unpack
from swdb.evidence.derived import derived_names, folder_of, machines
from swdb.evidence.gather import Sources, plan_text
from swdb.evidence.layout import OTHERS, About, place_of, plan_name, study_of, versions_here
from swdb.evidence.records import Recorded, named_below, read_recorded
from swdb.evidence.rescore import rescored
from swdb.specs.study import Study
from swdb.study.costs import COSTS
from swdb.study.plan import Plan, from_json, to_json

_PROXIES = {True: "proxies for every seed (--proxy-seeds)", False: "one set of proxies for all seeds"}
NUMBERS = ("run", "score")  # kinds that may not differ under one id


@dataclass(frozen=True)
class Part:
    """One of the bundles that are merged, with its small files in a folder of its own."""

    bundle: Bundle
    recorded: Recorded

    @property
    def where(self) -> str:
        """How errors call it."""
        return f"{OPTION} {self.bundle.path}"

    def described(self) -> dict[str, Any]:
        """Return what the merged bundle says of it."""
        seeds = {place.seed for place, score in self.recorded.plan.scores.items() if score.done}
        digest, there = file_digest(self.bundle.path), machines(self.recorded.done)
        return {"sha256": digest, "seeds": sorted(seeds), "machines": there}


@dataclass(frozen=True)
class Merged:
    """What came of merging: where something does not hold, nothing was written."""

    findings: list[Finding]
    seeds: list[int]
    machines: list[dict[str, Any]]


def merge(paths: Sequence[Path], output: Path, data: Path | None, progress: Progress) -> Merged:
    """Merge bundles into one; raises OtherStudy where they disagree. data: the true masks of real images, for rescoring."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="swdb-merge-"))).resolve()
        parts = [_part(stack.enter_context(opened(path)), folder / str(k)) for k, path in enumerate(paths)]
        for other in parts[1:]:
            _check_same(parts[0], other)
        sources = _joined(parts)
        root = folder / "whole"
        for name, source in sources.items():
            if is_read(name):
                place = folder_of(root, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(source() if callable(source) else source)
        first = parts[0].recorded
        study = study_of(root, first.study.preset, first.plan.study)
        path = root / plan_name(first.about.preset)
        plans = [from_json(study, to_json(one.recorded.study, one.recorded.plan), path) for one in parts]
        plan = plans[0]
        for other in plans[1:]:
            plan = plan.extended(other)
        sources[plan_name(first.about.preset)] = plan_text(study, plan).encode()
        try:
            return _write(output, study, plan, parts, sources, data, progress)
        except DoesNotHold as error:
            return Merged(error.findings, [], [])


class DoesNotHold(Exception):
    """A merged bundle does not hold: it is not put in its place."""

    def __init__(self, findings: list[Finding]):
        super().__init__(findings)
        self.findings = findings


def _write(
    output: Path,
    study: Study,
    plan: Plan,
    parts: Sequence[Part],
    sources: Sources,
    data: Path | None,
    progress: Progress,
) -> Merged:
    """Write the merged bundle, rescore it, and put it in its place; raises DoesNotHold."""
    with replacing(output) as temporary:
        with named_below(study.folder):
            write_bundle(
                study,
                plan,
                parts[0].recorded.tables,
                _about(parts),
                sources,
                look_at(sources, progress),
                temporary,
                progress,
            )
        with rescored(temporary, data, progress) as found:
            if not found.holds or found.recorded is None:
                raise DoesNotHold(found.findings)
            seeds = {place.seed for place, score in found.recorded.plan.scores.items() if score.done}
            return Merged([], sorted(seeds), machines(found.recorded.done))


def _part(bundle: Bundle, root: Path) -> Part:
    root.mkdir()
    unpack(bundle, root)
    if bundle.findings:
        raise MissingArtefact(f"{OPTION} {bundle.path}: {bundle.findings[0].where}", *_words(bundle.findings[0]))
    return Part(bundle, read_recorded(bundle.about, root))


def _words(finding: Finding) -> tuple[str, str]:
    return finding.found, finding.expected


def _about(parts: Sequence[Part]) -> About:
    abouts = [one.recorded.about for one in parts]
    described = [part for one in parts for part in (one.recorded.about.parts or (one.described(),))]
    unique = {part["sha256"]: part for part in described}
    return replace(
        abouts[0],
        tables=tuple(sorted({number for one in abouts for number in one.tables})),
        published=max(one.published for one in abouts),
        versions=versions_here(),
        parts=tuple(unique[key] for key in sorted(unique)),
    )


def _check_same(first: Part, other: Part) -> None:
    """Refuse bundles whose numbers do not stand beside each other in a table."""
    one, two = first.recorded, other.recorded
    checks = (
        (one.about.preset == two.about.preset, f"the preset {two.about.preset!r}", repr(one.about.preset)),
        (one.study.preset == two.study.preset, "other settings", f"those of {first.bundle.path}"),
        (one.tables == two.tables, "other rows, claims or margins in its tables", f"those of {first.bundle.path}"),
        (_own(one) == _own(two), _PROXIES[_own(two)], _PROXIES[_own(one)]),
        (one.plan.study == two.plan.study, "another precision, or other named files", f"those of {first.bundle.path}"),
    )
    for same, found, expected in checks:
        if not same:
            raise OtherStudy(other.where, f"has {found}", expected)
    digests = [part.recorded.data.digest() for part in (first, other)]
    if digests[0] != digests[1]:
        raise OtherStudy(
            other.where, f"is of data {digests[1][:10]}", f"data {digests[0][:10]}, of {first.bundle.path}"
        )


def _own(one: Recorded) -> bool:
    return bool(one.plan.study.get("proxy_seeds"))


def _joined(parts: Sequence[Part]) -> Sources:
    """Return the recorded files of all bundles; of what several have, the first one's."""
    sources: Sources = {}
    digests: dict[str, tuple[str, Part]] = {}  # by id: of what is taken, and whose it is
    for part in parts:
        root = part.recorded.study.folder
        aside = {}
        taken = {}
        for one in part.recorded.done:
            digest = one.digest()
            known, owner = digests.setdefault(one.id, (digest, part))
            if known != digest and one.kind in NUMBERS:
                raise OtherStudy(part.where, _disagrees(one), f"that of {owner.bundle.path}, or another seed")
            taken[one.id] = owner is part
            if known != digest:
                aside[one.id] = f"{OTHERS}/{digest[:12]}/"
        for name, owner in _owners(part, root):
            if owner in taken and not taken[owner] and owner not in aside:
                _check_alike(part, digests[owner][1], name)
            if owner is None or taken[owner]:
                sources.setdefault(name, partial(_read, part, name))
            elif owner in aside:
                sources.setdefault(f"{aside[owner]}{name}", partial(_read, part, name))
    return sources


def _check_alike(part: Part, first: Part, name: str) -> None:
    """Refuse a file of a part that another one's stands for where it does not hold, or is another prediction or count."""
    _read(part, name)
    listed, other = part.bundle.listed[name], first.bundle.listed.get(name)
    if (is_mask(name) or name.endswith(f"/{COUNTS}")) and (other is None or listed.sha256 != other.sha256):
        found = f"has other bytes in {name}, under the same digest of the score"
        raise OtherStudy(part.where, found, f"those of {first.bundle.path}")


def _disagrees(one: Artefact) -> str:
    seed = (
        one.key.get("seed")
        if one.kind == "run"
        else next((run.key.get("seed") for run in one.inputs if run.kind == "run"), None)
    )
    return f"has other numbers for seed {seed}: {one.id} has the digest {one.digest()[:10]}"


def _owners(part: Part, root: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the recorded files of a bundle, each with the id of the artefact that it belongs to."""
    by_place = {place_of(one, root): one.id for one in part.recorded.done}
    beside = {name: one.id for one in part.recorded.done for name in (f"{LOGS}/{one.id}.log", f"{COSTS}/{one.id}.json")}
    skipped = derived_names(part.recorded.about) | {plan_name(part.recorded.about.preset)}
    for name in part.bundle.listed:
        if name in skipped:
            continue
        folders = ["/".join(name.split("/")[:k]) for k in range(name.count("/"), 0, -1)]
        owner = beside.get(name) or next((by_place[folder] for folder in folders if folder in by_place), None)
        yield name, owner


def _read(part: Part, name: str) -> bytes:
    """Read a file of a bundle, in any thread; raises MissingArtefact where it is not what its list says."""
    where = f"{part.where}: {name}"
    if name not in part.bundle.names:
        raise MissingArtefact(where, "missing", "a file that the bundle lists")
    content = part.bundle.read(name)
    if fault := part.bundle.fault_of(name, content):
        raise MissingArtefact(where, *_words(fault))
    return content
