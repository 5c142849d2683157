"""What the proxies behind the row of weak labels score on the training images, by seed: the regime check reads it, no training.

in: the scores of Table 2, `quality.json` beside the proxies -> out: `MaskScore` values
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, read_json
from swdb.evaluation.confusion import miou
from swdb.specs.regime import WEAK

RECORD = "quality.json"  # beside the masks
ROUNDED = 0.006  # points by which the report's own number may differ from that of its counts


@dataclass(frozen=True)
class MaskScore:
    """The mIoU in % of a set of proxies, or why there is none."""

    proxies: str  # id
    miou: float | None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)


def mask_scores(table: int, scores: Mapping[tuple[str, str], Mapping[int, Artefact]]) -> dict[int, MaskScore]:
    """Return what the proxies of the weak row score, by the seed of its runs; nothing for a table without that row."""
    found, known = {}, {}
    for seed, score in sorted(scores.get(_place(table), {}).items()):
        runs = [one for one in score.inputs if one.kind == "run"]
        proxies = runs[0].find_input("proxies") if score.done and runs else None
        if proxies is not None:
            if proxies.id not in known:
                known[proxies.id] = of_report(proxies.folder / RECORD, proxies.id)
            found[seed] = known[proxies.id]
    return found


def of_report(path: Path, proxies: str) -> MaskScore:
    """Return the score that a quality report gives a set of proxies, added up again from its counts."""
    if not path.is_file():
        return MaskScore(proxies, None, f"{RECORD} of {proxies} is missing; reproduce-table makes it")
    try:
        return MaskScore(proxies, *_checked(read_json(path), path, proxies))
    except MissingArtefact:
        return MaskScore(
            proxies, None, f"{RECORD} of {proxies} is damaged; where there is none, reproduce-table makes it again"
        )


def from_json(found: Mapping[str, Mapping[str, Any]], where: Any) -> dict[int, MaskScore]:
    """Return what `to_json` has written down, by seed; raises MissingArtefact for anything else."""
    with damage_of(where, "a table"):
        scores = {
            int(seed): MaskScore(str(one["proxies"]), one["miou"], str(one["why"])) for seed, one in found.items()
        }
        for one in scores.values():
            if one.miou is not None and (type(one.miou) is not float or not 0 <= one.miou <= 100):
                raise ValueError(one.miou)
        return scores


def _checked(found: Any, path: Path, proxies: str) -> tuple[float | None, str]:
    with damage_of(path, "a quality report"):
        if (found["name"], found["set"]) != (proxies, 1):
            raise ValueError
        said, confusion = found["masks"]["miou"], found["confusion"]
        if said is None and confusion is None:
            return None, f"there are no true masks to score {proxies} with"
        counts = np.array(confusion["true_by_proxy"])
        square = counts.ndim == 2 and len(set(counts.shape)) == 1
        if not square or counts.dtype.kind != "i" or (counts < 0).any() or not counts.any():
            raise ValueError
        counted = float(miou(counts))
        if not abs(counted - said) < ROUNDED:
            raise ValueError
        return counted, ""


def _place(table: int) -> tuple[str, str]:
    """Return row and column of the weak row in a table; one that is not there in any other."""
    number, _, place = WEAK.partition(":")
    row, _, column = place.partition(".")
    return (row, column) if number == str(table) else ("", "")
