"""What DSRG's own networks score on val, in words: beside the published figures, and in no cell of a table. No torch.

in: the records beside proxies (`proxies/<id>/val.json`) -> out: what they say once their counts were added up again; lines
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of, read_json
from swdb.evaluation.confusion import miou
from swdb.specs.presets import Preset

RECORD = "val.json"  # beside the masks
WAYS = ("one", "one-crf", "several", "several-crf")
COUNTED = 1e-9  # points of mIoU by which a sum may differ

Networks = Mapping[str, Mapping[str, Any] | None]  # by the proxies' ids; None where a record cannot be read


def networks_behind(scores: Iterable[Artefact]) -> dict[str, Mapping[str, Any] | None]:
    """Return what is recorded of the networks whose masks the runs of some scores learnt from."""
    found: dict[str, Mapping[str, Any] | None] = {}
    for proxies in with_inputs(*scores):
        path = proxies.folder / RECORD
        if proxies.kind == "proxies" and path.is_file():
            try:
                found[proxies.id] = checked(read_json(path), path)
            except MissingArtefact:
                found[proxies.id] = None
    return dict(sorted(found.items()))


def checked(found: Any, where: Path) -> dict[str, Any]:
    """Return set, scores by way and the published figure of a record; raises MissingArtefact where its counts say otherwise."""
    with damage_of(where, "a score of DSRG's network"):
        scores = {way["key"]: way["miou"] for way in found["ways"]}
        counted = {way["key"]: miou(_counts(way["counts"])) for way in found["ways"]}
        published = {"miou": float(found["published"]["miou"]), "source": str(found["published"]["source"])}
        if set(scores) != set(WAYS) or found["set"] not in (1, 2):
            raise ValueError
        if any(not abs(scores[key] - counted[key]) < COUNTED for key in WAYS):
            raise MissingArtefact(where, "scores that its counts do not give", "those of its counts")
        views = {way["key"]: len(way["views"]) for way in found["ways"]}
        return {
            "set": found["set"],
            "views": views["several"],
            "miou": {key: float(scores[key]) for key in WAYS},
            "published": published,
        }


def _counts(found: Any) -> np.ndarray:
    counts = np.array(found, np.int64)
    if counts.ndim != 2 or len(set(counts.shape)) > 1 or (counts < 0).any() or not counts.any():
        raise ValueError
    return counts


def network_words(network: Mapping[str, Any], published: bool) -> str:
    """Say what a network scores, beside what was published of it if that compares."""
    scores, retrained = network["miou"], network["set"] == 2
    view = "scale" if retrained else "square"
    views = f"{network['views']} {view}{'s' if network['views'] > 1 else ''}"
    ours = (
        f"DSRG's own network {'after' if retrained else 'before'} retrain, on val: "
        f"{scores['several-crf']:.1f} over {views} with its CRF ({scores['several']:.1f} without), "
        f"{scores['one-crf']:.1f} at one {view} with it ({scores['one']:.1f} without)"
    )
    theirs = network["published"]
    return f"{ours}; published: {theirs['miou']:.1f} ({theirs['source']})" if published else ours


def network_lines(networks: Networks, preset: Preset, table: int) -> Iterator[str]:
    """Say it under Table 2 at the paper's preset: elsewhere the published figures compare with nothing."""
    if table != 2 or not preset.comparable:
        return
    for proxies, network in networks.items():
        if network is None:
            yield f"{proxies}: what its network scores on val cannot be read"
        else:
            yield f"{network_words(network, published=True)}: no row of the paper, and no cell reads it ({proxies})"
