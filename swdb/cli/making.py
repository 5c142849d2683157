"""What `swdb make-proxy` does, what `swdb eval` shows, and the pipeline with its progress bar that commands open.

in: a work directory and what was typed -> out: finished artefacts, and what is shown of them
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swdb.cli import console
from swdb.cli.intake import Shown
from swdb.core.errors import BadInput
from swdb.core.files import read_json
from swdb.reports.tables import proxy_lines
from swdb.study.plan import Artefact, Work

if TYPE_CHECKING:
    from swdb.study.runner import Pipeline


@contextmanager
def opened(work: Work, device: str, todo: list[Artefact]) -> Iterator["Pipeline"]:
    """Open the pipeline, which loads torch, with a progress bar over all steps that are still to do."""
    from swdb.nn import compute
    from swdb.study.runner import Pipeline

    fresh = not work.initial_weights.done
    with console.bar(sum(artefact.steps for artefact in todo if not artefact.done)) as bar:
        yield Pipeline(work, compute.machine(device, work.precision), bar)
    if fresh and work.initial_weights.done:
        console.say(work.weights_summary())


def make_sets(work: Work, which: str, again: bool, device: str) -> Shown:
    """Make proxy sets (`1`, `2` or `all`) and what they need, `again` from their training on; returns their passports."""
    if which not in ("1", "2", "all"):
        raise BadInput(f"--set {which}: expected 1, 2 or all")
    sets = [work.proxies(number) for number in ((1, 2) if which == "all" else (int(which),))]
    for artefact in sets if again else []:
        _forget(artefact.folder)
    todo = work.needed(*sets)
    with opened(work, device, todo) as pipeline:
        pipeline.make(todo)
    passports = {artefact.id: read_json(artefact.passport, "the same command again") for artefact in sets}
    lines = [line for artefact in sets for line in proxy_lines(artefact.folder, passports[artefact.id])]
    return Shown(lines, passports)


def _forget(folder: Path) -> None:
    """Delete a folder so that a kill leaves nothing of it that would be gone on with."""
    going = folder.with_name(f".{folder.name}.old")
    if going.exists():
        shutil.rmtree(going)
    if folder.exists():
        folder.replace(going)
        shutil.rmtree(going)


def shown_score(result: dict[str, Any]) -> Shown:
    """Return what an evaluation's result says, for people: mIoU, and the IoU of every class."""
    crf = result.get("crf")  # results of before have none
    how = f"{result['branch']} branch{f', CRF {crf}' if crf else ''}"
    lines = [f"{result['run']}, {how}: mIoU {result['miou']:.2f} on {result['images']} val images"]
    lines += [f"  {name:<12} {'absent' if value is None else f'{value:.2f}'}" for name, value in result["iou"].items()]
    return Shown(lines, result)
