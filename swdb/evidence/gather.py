"""Which files of a work directory go into a bundle: all that is recorded of what is finished, and what it was made with.

Not weights, proxy masks or cues, which are large and are known by their digests. Of real images nothing is taken that
shows them: neither true masks nor pictures; their lists and digests are.

in: a study, its plan -> out: paths or contents, by their names in the bundle
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.journal import LOGS, times_of
from swdb.core.progress import Progress
from swdb.data.audit import contents, verify
from swdb.data.dataset import MANIFEST, DataSet, load
from swdb.data.facts import LISTS, VAL_SPLIT
from swdb.evaluation.confusion import COUNTS, PREDICTIONS
from swdb.evidence.derived import as_json
from swdb.evidence.layout import (
    CONTENTS,
    NOTED,
    REGISTERED,
    REPORT,
    finished,
    place_of,
    plan_name,
    preset_name,
    reports_folder,
)
from swdb.reports.dsrg_networks import RECORD as NETWORK
from swdb.reports.mask_scores import RECORD as QUALITY
from swdb.reports.recognition import RECORD as RECOGNITION
from swdb.specs.study import Study
from swdb.specs.tables import tables_folder
from swdb.study.costs import COSTS
from swdb.study.plan import Plan, to_json

Source = Path | bytes | Callable[[], bytes]  # where the bytes of a file come from
Sources = dict[str, Source]  # by their names in the bundle

# What is kept beside the record of an artefact, where it is there.
KEPT = (
    NOTED, "training.json", "samples.json", "log.jsonl", "cues.json", QUALITY, "quality.md", NETWORK,
    "pretext/training.json", "pretext/log.jsonl", f"evals/{RECOGNITION}",
)  # fmt: skip
PICTURE = re.compile(r"!\[[^]]*\]\(quality\.jpg\)")


def gathered(study: Study, plan: Plan, spec: str, progress: Progress) -> Sources:
    """Return what is recorded of a study; `spec`: its preset as TOML.

    Raises MissingArtefact where a finished score lacks what it was counted from.
    """
    found: Sources = {plan_name(study.preset.name): plan_text(study, plan).encode()}
    found[preset_name(study.preset.name)] = spec.encode()
    found |= {f"specs/{path.name}": path for path in sorted(tables_folder().glob("table*.toml"))}
    done = finished(plan)
    data = next((one for one in done if one.kind == "data"), None)
    if data is None:
        raise MissingArtefact(study.folder / "data" / study.preset.data.name, "missing", "the data set of the scores")
    dataset = load(study.preset.data, data.folder)
    found |= _data(study, dataset, place_of(data, study.folder), progress)
    ids = dataset.ids(VAL_SPLIT)
    for artefact in done:
        place = place_of(artefact, study.folder)
        if artefact.kind == "score":
            found |= _score(artefact, place, ids)
        elif artefact.kind != "data":
            found[f"{place}/{artefact.record_name}"] = artefact.record
            found |= _beside(artefact, place, dataset.facts.synthetic)
        for name in (f"{LOGS}/{artefact.id}.log", f"{COSTS}/{artefact.id}.json"):
            if (study.folder / name).is_file():
                found[name] = study.folder / name
    if (study.folder / REGISTERED).is_file():
        found[REGISTERED] = study.folder / REGISTERED
    if dataset.facts.synthetic:
        for path in sorted((study.reports / "figures").glob("*.png")):
            found[f"{reports_folder(study.preset.name)}/figures/{path.name}"] = path
    return found


def plan_text(study: Study, plan: Plan) -> str:
    """Return the plan as its file has it: in order, for inputs stand before what is made from them."""
    return json.dumps(to_json(study, plan), indent=1, ensure_ascii=False) + "\n"


def finished_day(study: Study, plan: Plan) -> str:
    """Return the day on which the last artefact was finished: as journals say or, where none is kept, as its record's time does."""
    done = finished(plan)
    times = [times_of(study.folder / LOGS / f"{one.id}.log").finished for one in done]
    days = [time.date() for time in times if time is not None]
    days = days or [datetime.fromtimestamp(one.record.stat().st_mtime, UTC).date() for one in done]
    return max(days).isoformat()


def _data(study: Study, dataset: DataSet, place: str, progress: Progress) -> Sources:
    """Return what tells the data set from others, its lists and, of drawn scenes, the true masks that are scored against."""
    report = verify(dataset, progress)
    found: Sources = {
        f"{place}/{MANIFEST}": dataset.root / MANIFEST,
        f"{place}/{CONTENTS}": as_json(contents(dataset)).encode(),
        f"{place}/{REPORT}": as_json({**dataset.manifest, "audit": report}).encode(),
    }
    paths = [dataset.list_path(split) for split in LISTS]
    if dataset.facts.synthetic:
        paths += [dataset.mask_path(image_id, VAL_SPLIT) for image_id in dataset.ids(VAL_SPLIT)]
    return found | {f"{place}/{path.relative_to(dataset.root).as_posix()}": path for path in paths}


def _score(artefact: Artefact, place: str, ids: list[str]) -> Sources:
    names = [artefact.record_name, COUNTS, *(f"{PREDICTIONS}/{image_id}.png" for image_id in ids)]
    for name in names:
        if not (artefact.folder / name).is_file():
            raise MissingArtefact(artefact.folder / name, "missing", "what the score was counted from")
    return {f"{place}/{name}": artefact.folder / name for name in names}


def _beside(artefact: Artefact, place: str, synthetic: bool) -> Sources:
    """Return what stands beside a record; of the quality of proxies for real images not the picture, which shows them."""
    found: Sources = {f"{place}/{name}": path for name in KEPT if (path := artefact.folder / name).is_file()}
    picture, text = artefact.folder / "quality.jpg", artefact.folder / "quality.md"
    if artefact.kind == "proxies" and synthetic and picture.is_file():
        found[f"{place}/{picture.name}"] = picture
    elif artefact.kind == "proxies" and text.is_file():
        shown = PICTURE.sub("(not published: real images)", text.read_text(encoding="utf-8"))
        found[f"{place}/{text.name}"] = shown.encode()
    return found
