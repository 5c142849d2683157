"""Writes a bundle: one zip whose bytes follow from its contents, whoever writes it and whenever.

Names are sorted, dates are fixed, nothing is packed: predictions are packed already, and other libraries pack the rest to
other bytes.

in: recorded files, a study, its plan -> out: a .zip, whole or not there
"""

import zipfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact, NotMade
from swdb.core.files import damage_of, replacing
from swdb.core.parallel import in_order
from swdb.core.progress import Progress
from swdb.evaluation.confusion import COUNTS, iou_by_name, miou, read_counts, same_score
from swdb.evidence.derived import derived
from swdb.evidence.gather import Source, Sources, finished_day, gathered
from swdb.evidence.layout import About, Listed, missing, place_of, score_digest, versions_here
from swdb.reports.sound import check_sound
from swdb.specs.study import Study
from swdb.specs.tables import Table
from swdb.study.plan import Plan, plan_path

DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say
MODE = 0o100644 << 16  # a plain file


def bundle(
    study: Study,
    plan: Plan,
    spec: str,
    tables: Mapping[int, Table],
    numbers: list[int],
    output: Path,
    progress: Progress,
) -> list[Artefact]:
    """Write what is finished of a plan, with some tables rendered; returns what is missing.

    spec: the preset as TOML. Raises MissingArtefact where nothing is finished, or a finished score lacks its files or
    cannot be believed.
    """
    if not any(one.done for one in plan.scores.values()):
        raise NotMade(plan_path(study), "no score is finished", "at least one")
    about = About(study.preset.name, tuple(numbers), finished_day(study, plan), versions_here())
    sources = gathered(study, plan, spec, progress)
    check_sound(plan.scores)
    listed = look_at(sources, progress)
    _check_scored(study, plan, listed)
    write_bundle(study, plan, tables, about, sources, listed, output, progress)
    return missing(plan)


def look_at(sources: Sources, progress: Progress) -> dict[str, Listed]:
    """Return how recorded files are listed, by name."""
    names = sorted(sources)
    advance, listed = progress("look at the files", len(names)), {}
    for done, (name, one) in enumerate(
        zip(names, in_order(lambda name: Listed.of(bytes_of(sources[name])), names), strict=True)
    ):
        listed[name] = one
        advance(done + 1, len(names))
    return listed


def write_bundle(
    study: Study,
    plan: Plan,
    tables: Mapping[int, Table],
    about: About,
    sources: Sources,
    listed: Mapping[str, Listed],
    output: Path,
    progress: Progress,
) -> None:
    """Write recorded files with all that follows from them; the records of the plan lie below the study's folder."""
    texts = derived(study, plan, tables, about, listed)
    whole: Sources = {**sources, **{name: text.encode() for name, text in texts.items()}}
    advance = progress(f"write {output.name}", len(whole))
    with replacing(output) as temporary, packing(temporary) as archive:
        for done, name in enumerate(sorted(whole), start=1):
            content = bytes_of(whole[name])
            if name in listed and Listed.of(content) != listed[name]:
                raise MissingArtefact(name, "has changed while the bundle was written", "a study at rest")
            put(archive, name, content)
            advance(done, len(whole))


def _check_scored(study: Study, plan: Plan, listed: Mapping[str, Listed]) -> None:
    """Refuse scores whose predictions or counts are not those that were scored, or come to something else than they say."""
    for score in {one.id: one for one in plan.scores.values() if one.done}.values():
        record = score.read_record()
        if record.get("digest") != score_digest(listed, place_of(score, study.folder)):
            fault = "its predictions or counts are not those that were scored"
            raise MissingArtefact(score.folder, fault, "the files of its record")
        total = read_counts(score.folder / COUNTS)[1].sum(0)
        with damage_of(score.record, "a score"):
            of_class = iou_by_name(total, record["iou"])
            same = [same_score(record["iou"][name], value) for name, value in of_class.items()]
            if not (all(same) and same_score(record["miou"], miou(total))):
                raise ValueError


def bytes_of(source: Source) -> bytes:
    """Return the contents of a recorded file; raises MissingArtefact where it is gone."""
    if isinstance(source, bytes):
        return source
    if callable(source):
        return source()
    try:
        return source.read_bytes()
    except FileNotFoundError:
        raise MissingArtefact(source, "missing", "a file that was recorded") from None


@contextmanager
def packing(path: Path | IO[bytes]) -> Any:
    """Give a zip that is being written."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, strict_timestamps=True) as archive:
        yield archive


def put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a file to a zip, with nothing of where and when that happened."""
    entry = zipfile.ZipInfo(name, DATE)
    entry.create_system, entry.external_attr = 3, MODE  # as Unix writes it
    archive.writestr(entry, content)
