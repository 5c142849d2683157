"""Checks a bundle from the pixels up: every hash, every count, every score, every verdict, every byte of the tables.

Needs neither torch nor the work directory; of real images the true masks, which are in no bundle, are named.

in: a bundle, perhaps a data set -> out: what does not hold; the files that follow from what was counted
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact, SwdbError, reason
from swdb.core.files import damage_of, write_json
from swdb.core.progress import Progress
from swdb.data.dataset import DataSet, load
from swdb.evaluation.confusion import iou_by_name, miou, same_score
from swdb.evidence.bundle_reader import Bundle, Finding, check_rest, opened, unpack
from swdb.evidence.derived import derived, derived_names
from swdb.evidence.layout import About, place_of, score_digest, versions_here
from swdb.evidence.records import Recorded, faults, named_below, read_contents, read_recorded
from swdb.evidence.recount import Counted, Truth, bundled_truth, counted_before, named_truth, recount


@dataclass(frozen=True)
class Rescored:
    """What a bundle was found to be, while it is open."""

    bundle: Bundle
    recorded: Recorded | None  # None where not even that can be read
    findings: list[Finding]
    scores: int
    predictions: int

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@contextmanager
def rescored(path: Path, data: Path | None, progress: Progress) -> Iterator[Rescored]:
    """Check a bundle, and keep it open with its small files unpacked; raises BadInput for what is no bundle.

    data: the data set of real images, or a work directory with it; raises MissingArtefact where it is needed and not named.
    """
    with opened(path) as bundle, TemporaryDirectory(prefix="swdb-rescore-") as folder:
        root = Path(folder).resolve()
        unpack(bundle, root)
        recorded, scores, predictions = None, [], 0
        try:
            recorded = read_recorded(bundle.about, root)
            bundle.findings += faults(recorded, bundle.listed)
            scores = recorded.scores
            predictions, as_counted = _check_scores(bundle, recorded, data, progress)
            if as_counted:  # else nothing that was derived from the counts can follow from the pixels
                with named_below(root):
                    _compare_derived(bundle, recorded)
        except SwdbError as error:
            if isinstance(error, DataNeeded):
                raise
            bundle.findings.append(Finding.of(error))
        check_rest(bundle)
        yield Rescored(bundle, recorded, list(dict.fromkeys(bundle.findings)), len(scores), predictions)


class DataNeeded(MissingArtefact):
    """The true masks of real images were not named, or are others; exit code 3."""


def _check_scores(bundle: Bundle, recorded: Recorded, data: Path | None, progress: Progress) -> tuple[int, bool]:
    """Count all predictions again and compare their scores; returns how many there are, and whether all are as counted."""
    root = recorded.study.folder
    with named_below(root):
        dataset = recorded.dataset()
        ids = dataset.ids("val")
    truth = _truth(bundle, recorded, dataset, data)
    known: list[tuple[Artefact, Counted]] = []
    for score in recorded.scores:
        try:
            known.append((score, counted_before(place_of(score, root), score.folder, ids, dataset.num_classes)))
        except MissingArtefact as error:
            bundle.findings.append(Finding.of(error))
    totals, findings = recount(bundle, [one for _, one in known], dataset, truth, progress)
    bundle.findings += findings
    as_counted = len(known) == len(recorded.scores)
    for (score, counted), total in zip(known, totals, strict=True):
        as_counted = as_counted and total is not None and bool((counted.counts.sum(0) == total).all())
        if total is not None:
            with named_below(root):
                bundle.findings += _compare_score(bundle, score, counted, total, dataset)
    return len(ids) * len(known), as_counted


def _truth(bundle: Bundle, recorded: Recorded, dataset: DataSet, data: Path | None) -> Truth:
    if data is None and dataset.facts.synthetic:
        return bundled_truth(bundle, place_of(recorded.data, recorded.study.folder), dataset)
    digest = recorded.data.digest()
    wanted = f"the data set {dataset.settings.name!r} of sha256 {digest[:10]}"
    if data is None:
        raise DataNeeded("--data", "not given, and the true masks of real images are in no bundle", wanted)
    inner = data / "data" / dataset.settings.name
    try:
        named = load(dataset.settings, inner if inner.is_dir() else data)
    except SwdbError as error:
        raise DataNeeded(f"--data {data}", error.found, wanted) from error
    if named.digest != digest:
        raise DataNeeded(f"--data {data}", f"has the sha256 {named.digest[:10]}", wanted)
    return named_truth(named, read_contents(recorded))


def _compare_score(
    bundle: Bundle, score: Artefact, counted: Counted, total: np.ndarray, dataset: DataSet
) -> Iterator[Finding]:
    """Compare a record with the counts; where it says something else, the counts are what is gone on with."""
    record, where = score.read_record(), f"{counted.place}/{score.record_name}"
    with damage_of(score.record, "a score"):
        then, classes = record["miou"], record["iou"]
        now = miou(total)
        found = iou_by_name(total, dataset.class_names)
        others = [name for name, value in found.items() if not same_score(classes[name], value)]
        if not same_score(then, now):
            more = f" (classes: {', '.join(others)})" if others else ""
            yield Finding(where, f"mIoU {then:.6f}, and its predictions come to {now:.6f}{more}", "what they come to")
        elif others:
            yield Finding(where, f"IoU of {', '.join(others)} is not what the predictions come to", "what they come to")
        made = score_digest(bundle.listed, counted.place)
        if record["digest"] != made:
            yield Finding(where, f"digest {str(record['digest'])[:10]}", f"{made[:10]}, of the files that are listed")
        if not same_score(then, now):
            write_json(score.record, {**record, "miou": now, "iou": found})


def _compare_derived(bundle: Bundle, recorded: Recorded) -> None:
    """Derive everything again from what was counted, and compare it byte for byte with what the bundle holds."""
    names = derived_names(recorded.about)
    given = {name: one for name, one in bundle.listed.items() if name not in names}
    try:
        again = derived(recorded.study, recorded.plan, recorded.tables, recorded.about, given)
    except (ValueError, OverflowError) as error:  # of numbers in specs or records that are far beyond any score
        bundle.findings.append(Finding("the tables", f"cannot be judged ({reason(error)})", "finite numbers"))
        return
    for name, text in again.items():
        if name not in bundle.names:
            bundle.findings.append(Finding(name, "missing", "what follows from the scores"))
        elif (there := bundle.read(name)) != text.encode():
            found = f"is not what follows from the scores{_first(there, text)}"
            bundle.findings.append(Finding(name, found, _by_whom(recorded.about)))


def _by_whom(about: About) -> str:
    """Say whose text is expected: another version may judge and print in another way."""
    wrote, here = about.versions.get("swdb"), versions_here().get("swdb")
    return "that" if wrote == here else f"that, as swdb {here} says it; swdb {wrote} wrote the bundle"


def _first(there: bytes, text: str) -> str:
    """Say in which line two texts begin to differ."""
    lines = zip(there.decode("utf-8", "replace").splitlines(), text.splitlines(), strict=False)
    number = next((k for k, (one, other) in enumerate(lines, start=1) if one != other), None)
    return f" (line {number})" if number else ""
