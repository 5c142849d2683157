"""The quality report of a set of proxy masks: what they were made from, how good they are, and where they go wrong.

A diagnosis for people: it reads the true masks of the training images, which no training ever does on weak images,
and nothing reads it back. All shares, IoUs and coverages are in %; `null` stands where there is nothing to measure.

in: a finished set, its cues, the data set -> out: `quality.json`, `quality.md` and `quality.jpg` beside the masks (not a
PNG: those are the masks)
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.files import digest, write_text
from swdb.core.parallel import in_order
from swdb.core.progress import Advance
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.facts import ALL_SPLIT
from swdb.data.voc import IGNORE
from swdb.evaluation.confusion import confusion, iou, known_mean
from swdb.proxy.cues import load_cues
from swdb.proxy.grid import GRID, cue_quality, grid_points
from swdb.proxy.quality_page import PUBLISHED, draw, network_beside, page, read_pair

SHOWN = 20  # images of each kind: the worst, and some chosen at random
SEED = 0  # of the random choice
LARGEST = 15  # confusions that are named

SCORED_ON = "the training images' true masks; a diagnosis, never read by training"
NOT_COMPARABLE = (
    "The published figures are networks' on the validation split; the masks here are scored on the training images, "
    "whose tags were known. They stand side by side for orientation and are not a like-for-like comparison."
)


def make_quality(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Report on a finished set; returns what `quality.json` says.

    The only place where proxies are compared with true masks, after the set is closed: what makes cues and proxies is
    handed images without masks.
    """
    dataset = tools.dataset(artefact.input("data"))
    cues, proxies = artefact.input("cues"), artefact.input("proxies")
    ids = dataset.ids(ALL_SPLIT)
    maps, counts = load_cues(cues, dataset, ids)
    behind = [*with_inputs(cues, proxies)]
    inputs = {
        name: sha256 for one in behind if one.done for name, sha256 in one.read_record().get("inputs", {}).items()
    }
    files = {f"cues, the {key}": cues.key[key] for key in ("file", "list", "saliency") if key in cues.key}
    heads = [one for one in behind if one.kind == "head-weights"]
    made = {
        "set": proxies.task.proxy_set,
        "sources": {**inputs, **files, "masks": proxies.digest()},
        "settings": {_title(one): dict(one.key) for one in behind}
        | {f"{one.kind}, found": {"heads begin": one.read_record()["begin"]} for one in heads},
        "cue_counts": counts,
    }
    advance = tools.progress(artefact.name, len(ids))
    return write_report(artefact.folder, dataset, ids, dataset.tags(ids), made, advance, maps)


def _title(artefact: Artefact) -> str:
    return f"set {artefact.task.proxy_set}" if artefact.kind == "proxies" else artefact.kind


def write_report(
    folder: Path,
    dataset: DataSet,
    ids: list[str],
    tags: np.ndarray,
    made: dict[str, Any],
    advance: Advance,
    cues: np.ndarray | None = None,
) -> dict[str, Any]:
    """Look at the masks `folder/<id>.png`, write the page and its picture beside them, and return what was found.

    tags (N, C-1) bool and cues (N, 41, 41) uint8, 255 where there is none, in the order of the N ids. `made` is taken
    over as it is: {"sources": {name: sha256}, "settings": {key: value}, ...}. Images without a true mask in the data
    set are counted, and left out of all scores. A pixel is scored where truth and mask both name a class.
    Raises MissingArtefact or BadInput for a mask or image that is missing, damaged, or of another size.
    """
    found = _read_all(folder, dataset, ids, advance)
    names = dataset.class_names
    measured = bool(found.counts.any())
    worst, random = _shown(ids, found)
    report = {
        "name": folder.name,
        "images": len(ids),
        "images_with_true_masks": int(found.has_truth.sum()),
        **made,
        "masks": _masks(found, names),
        "cues": None if cues is None else _cues(cues, found.truth_at_points, names),
        "tags": _tags(found.pixels[:, :-1], tags, names),
        "confusion": {"classes": names, "true_by_proxy": found.counts.tolist()} if measured else None,
        "largest_confusions": _largest_confusions(found.counts, names),
        "worst": worst,
        "random": random,
        "published": [*PUBLISHED],
        "published_note": NOT_COMPARABLE,
        "scored_on": SCORED_ON,
    }
    draw(folder, dataset, worst, random)
    text = page(report, network_beside(folder))
    write_text(folder / "quality.md", text)
    return {"digest": digest(report), **report}


# ---------------------------------------------------------------- reading the masks


class _Found(NamedTuple):
    """What is remembered of N images with C classes: numbers, no images."""

    counts: np.ndarray  # (C, C) int64, pixels by true class and the mask's, over all images
    pixels: np.ndarray  # (N, C + 1) int64, pixels of every class in the mask; the last column is void
    scores: np.ndarray  # (N,) float64, mIoU of each image over the classes in its truth or mask; NaN without any
    has_truth: np.ndarray  # (N,) bool
    truth_at_points: np.ndarray  # (N, 41, 41) uint8, the truth at the grid points of cues; void without truth


def _read_all(folder: Path, dataset: DataSet, ids: list[str], advance: Advance) -> _Found:
    """Read all pairs of masks once, on all cores."""
    classes = dataset.num_classes
    found = _Found(
        np.zeros((classes, classes), np.int64),
        np.zeros((len(ids), classes + 1), np.int64),
        np.full(len(ids), np.nan),
        np.zeros(len(ids), bool),
        np.full((len(ids), GRID, GRID), IGNORE, np.uint8),
    )

    def compare(image_id: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        mask, truth = read_pair(folder, dataset, image_id)
        pixels = np.bincount(mask.ravel(), minlength=IGNORE + 1)
        pixels = np.append(pixels[:classes], pixels[IGNORE])
        if truth is None:
            return pixels, np.zeros_like(found.counts), None
        scored = np.where(mask == IGNORE, np.uint8(IGNORE), truth)
        return pixels, confusion(scored, mask, classes), truth[grid_points(truth.shape)]

    for k, (pixels, counts, truth) in enumerate(in_order(compare, ids)):
        found.pixels[k] = pixels
        found.counts[:] += counts
        found.scores[k] = known_mean(iou(counts))
        if truth is not None:
            found.has_truth[k], found.truth_at_points[k] = True, truth
        advance(k + 1, len(ids))
    return found


# ---------------------------------------------------------------- what the report says


def _percent(part: int, whole: int) -> float | None:
    return round(100 * float(part) / float(whole), 2) if whole else None


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 2)


def _scores(counts: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Return mIoU and the IoU by class name."""
    by_class = iou(counts)
    return {
        "miou": _rounded(known_mean(by_class)),
        "iou": {name: _rounded(value) for name, value in zip(names, by_class, strict=True)},
    }


def _masks(found: _Found, names: list[str]) -> dict[str, Any]:
    pixels, scored = found.pixels.sum(0), found.counts.sum()
    return {
        **_scores(found.counts, names),
        "coverage": _percent(pixels[:-1].sum(), pixels.sum()),
        "void_share": _percent(pixels[-1], pixels.sum()),
        "foreground_share": _percent(found.counts[:, 1:].sum(), scored),
        "true_foreground_share": _percent(found.counts[1:].sum(), scored),
    }


def _cues(cues: np.ndarray, truth: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Say how right the cues are, and their IoU over the points that have one."""
    counts = confusion(np.where(cues == IGNORE, np.uint8(IGNORE), truth), cues, len(names))
    quality = cue_quality(zip(cues, truth, strict=True), len(names))
    return {
        **_scores(counts, names),
        **_named(quality, names),
    }


def _named(value: Any, names: list[str]) -> Any:
    """Round percentages, and turn lists over classes into values by class name."""
    if isinstance(value, dict):
        return {key: _named(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return {name: _named(inner, names) for name, inner in zip(names, value, strict=True)}
    return round(value, 2) if isinstance(value, float) else value


def _tags(pixels: np.ndarray, tags: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Compare what each mask holds, pixels (N, C), with the image's tags (N, C-1)."""
    objects = pixels[:, 1:]
    silent, beyond = tags & (objects == 0), ~tags & (objects > 0)
    stray = np.where(tags, 0, objects)
    return {
        "images_with_all_tags_and_nothing_else": int((~(silent | beyond).any(1)).sum()),
        "images_with_a_tag_without_pixels": int(silent.any(1).sum()),
        "images_with_a_class_beyond_their_tags": int(beyond.any(1).sum()),
        "share_of_pixels_beyond_the_tags": _percent(stray.sum(), pixels.sum()),
        "by_class": {
            name: {
                "images_tagged": int(tags[:, k].sum()),
                "tagged_without_pixels": int(silent[:, k].sum()),
                "images_beyond_tags": int(beyond[:, k].sum()),
                "pixels_beyond_tags": int(stray[:, k].sum()),
            }
            for k, name in enumerate(names[1:])
        },
    }


def _largest_confusions(counts: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """List what is most often taken for something else, by pixels: as shares of all pixels and of the true class."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:LARGEST]
    return [
        {
            "truth": names[true],
            "mask": names[mask],
            "pixels": int(wrong[true, mask]),
            "share": _percent(wrong[true, mask], counts.sum()),
            "share_of_the_true_class": _percent(wrong[true, mask], counts[true].sum()),
        }
        for true, mask in (divmod(int(place), len(counts)) for place in order)
        if wrong[true, mask]
    ]


def _shown(ids: list[str], found: _Found) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Choose the images that are shown: the worst, and some at random among those with a true mask, if there are any.

    The random choice hangs on the id alone, so that two sets of masks of the same images show the same ones.
    """
    scored = sorted(np.flatnonzero(~np.isnan(found.scores)).tolist(), key=lambda k: (found.scores[k], ids[k]))
    known = np.flatnonzero(found.has_truth).tolist() or range(len(ids))
    random = sorted(known, key=lambda k: digest([SEED, ids[k]]))
    return tuple(
        [{"image": ids[k], "miou": _rounded(found.scores[k])} for k in chosen[:SHOWN]] for chosen in (scored, random)
    )
