"""The passport of a set of proxy masks: what they were made from, how good they are, and where they go wrong.

A diagnosis for people: it reads the true masks of the training images, which no training ever does on weak images,
and nothing reads it back. All shares, IoUs and coverages are in %; `null` stands where there is nothing to measure.

in: the masks of a folder, the data set, the tags, what the masks were made from
-> out: `passport.json`, `passport.md` and `passport.jpg` in the folder (no PNG: those are the masks)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from swdb.core.errors import BadInput
from swdb.core.files import Progress, digest, write_json, write_text
from swdb.core.parallel import in_order
from swdb.data import voc
from swdb.data.dataset import DataSet
from swdb.data.images import read_mask, shrink
from swdb.data.voc import IGNORE
from swdb.evaluation.confusion import confusion, iou
from swdb.evaluation.figures import TILE, Example, album, save
from swdb.proxy.grid import GRID, centres, cue_quality

PICTURE = "passport.jpg"
SHOWN = 20  # images of each kind: the worst, and some drawn by lot
SEED = 0  # of the lot
LARGEST = 15  # confusions that are named

SCORED_ON = "the training images' true masks; a diagnosis, never read by training"
PUBLISHED = (  # DSRG with VGG16, mIoU in % on val
    {"what": "DSRG, before retrain", "miou": [57.4], "source": "readme of DSRG-TF (xtudbxk/DSRG-tensorflow)"},
    {"what": "DSRG, after retrain", "miou": [59.0], "source": "the paper, as quoted in issue 8 of the official code"},
    {"what": "independent run, single scale", "miou": [51.5], "source": "DSRG-TF"},
    {"what": "independent runs", "miou": [53.2, 54.3], "source": "official code; result files of Ien001/Point-DSRG"},
    {"what": "independent runs, several scales", "miou": [55.6, 56.7], "source": "DSRG-TF"},
    {"what": "10k weak", "miou": [57.0], "source": "the supplement that is reproduced here"},
    {"what": "10k weak (retrain)", "miou": [60.1], "source": "the supplement that is reproduced here"},
)
NOT_COMPARABLE = (
    "The published figures are networks' on the validation split; the masks here are scored on the training images, "
    "whose tags were known. They stand side by side for orientation and are no like-for-like comparison."
)


def write_passport(
    folder: Path,
    data: DataSet,
    ids: list[str],
    tags: np.ndarray,
    made: dict[str, Any],
    progress: Progress,
    cues: np.ndarray | None = None,
) -> dict[str, Any]:
    """Look at the masks `folder/<id>.png`, write the passport beside them, and return what `passport.json` says.

    tags (N, C-1) bool and cues (N, 41, 41) uint8, 255 where there is none, in the order of the N ids. `made` is taken
    over as it is: {"sources": {name: sha256}, "settings": {key: value}, ...}. Images without a true mask in the data
    set are counted, and left out of all scores. A pixel is scored where truth and mask both name a class.
    Raises MissingArtefact or BadInput for a mask or image that is missing, damaged, or of another size.
    """
    found = _read_all(folder, data, ids, progress)
    names = data.class_names
    measured = bool(found.counts.any())
    worst, lot = _shown(ids, found)
    passport = {
        "name": folder.name,
        "images": len(ids),
        "images_with_true_masks": int(found.has_truth.sum()),
        **made,
        "masks": _masks(found, names),
        "cues": None if cues is None else _cues(cues, found.cells, names),
        "tags": _tags(found.pixels[:, :-1], tags, names),
        "confusion": {"classes": names, "true_by_proxy": found.counts.tolist()} if measured else None,
        "largest_confusions": _largest_confusions(found.counts, names),
        "worst": worst,
        "random": lot,
        "published": [*PUBLISHED],
        "published_note": NOT_COMPARABLE,
        "scored_on": SCORED_ON,
    }
    _draw(folder, data, worst, lot)
    write_text(folder / "passport.md", _markdown(passport))
    write_json(folder / "passport.json", passport)
    return passport


# ---------------------------------------------------------------- reading the masks


class _Found(NamedTuple):
    """What is remembered of N images with C classes: numbers, no picture."""

    counts: np.ndarray  # (C, C) int64, pixels by true class and the mask's, over all images
    pixels: np.ndarray  # (N, C + 1) int64, pixels of every class in the mask; the last column is void
    scores: np.ndarray  # (N,) float64, mIoU of each image over the classes in its truth or mask; NaN without any
    has_truth: np.ndarray  # (N,) bool
    cells: np.ndarray  # (N, 41, 41) uint8, the truth at the centres of the cells that cues have; void without truth


def _read_all(folder: Path, data: DataSet, ids: list[str], progress: Progress) -> _Found:
    """Read all pairs of masks once, on all cores."""
    classes = data.data.num_classes
    found = _Found(
        np.zeros((classes, classes), np.int64),
        np.zeros((len(ids), classes + 1), np.int64),
        np.full(len(ids), np.nan),
        np.zeros(len(ids), bool),
        np.full((len(ids), GRID, GRID), IGNORE, np.uint8),
    )

    def look(image_id: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        mask, truth = _pair(folder, data, image_id)
        pixels = np.bincount(mask.ravel(), minlength=IGNORE + 1)
        pixels = np.append(pixels[:classes], pixels[IGNORE])
        if truth is None:
            return pixels, np.zeros_like(found.counts), None
        scored = np.where(mask == IGNORE, np.uint8(IGNORE), truth)
        return pixels, confusion(scored, mask, classes), truth[centres(truth.shape)]

    for k, (pixels, counts, truth) in enumerate(in_order(look, ids)):
        found.pixels[k] = pixels
        found.counts[:] += counts
        found.scores[k] = _mean(iou(counts))
        if truth is not None:
            found.has_truth[k], found.cells[k] = True, truth
        progress(k + 1, len(ids))
    return found


def _pair(folder: Path, data: DataSet, image_id: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a mask (H, W) uint8 and the true one, None where the data set has none."""
    path, mend = folder / f"{image_id}.png", f"swdb make-proxy {data.where} --again"
    mask = read_mask(path, data.data.num_classes, mend)
    if not voc.mask_path(data.root, image_id, voc.ALL_SPLIT).is_file():
        return mask, None
    truth = data.mask(image_id, voc.ALL_SPLIT)
    if mask.shape != truth.shape:
        sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in (mask, truth)]
        raise BadInput(f"{path} is {sizes[0]}, the true mask of its image is {sizes[1]}; mend it with: {mend}")
    return mask, truth


# ---------------------------------------------------------------- what the passport says


def _percent(part: int, whole: int) -> float | None:
    return round(100 * float(part) / float(whole), 2) if whole else None


def _mean(values: np.ndarray) -> float:
    """Return the mean of all that are numbers; NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 2)


def _scores(counts: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Return mIoU and the IoU by class name."""
    by_class = iou(counts)
    return {
        "miou": _rounded(_mean(by_class)),
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


def _cues(cues: np.ndarray, cells: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Say how right the cues are, and their IoU over the cells that have one."""
    counts = confusion(np.where(cues == IGNORE, np.uint8(IGNORE), cells), cues, len(names))
    quality = cue_quality(zip(cues, cells, strict=True), len(names))
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
    """Choose the images that are shown: the worst, and some by lot among those with a true mask, if there are any.

    The lot hangs on the id alone, so that two sets of masks of the same images show the same ones.
    """
    scored = sorted(np.flatnonzero(~np.isnan(found.scores)).tolist(), key=lambda k: (found.scores[k], ids[k]))
    known = np.flatnonzero(found.has_truth).tolist() or range(len(ids))
    drawn = sorted(known, key=lambda k: digest([SEED, ids[k]]))
    return tuple(
        [{"image": ids[k], "miou": _rounded(found.scores[k])} for k in chosen[:SHOWN]] for chosen in (scored, drawn)
    )


# ---------------------------------------------------------------- for people


def _draw(folder: Path, data: DataSet, worst: list[dict[str, Any]], lot: list[dict[str, Any]]) -> None:
    """Write the picture: image, truth and mask of the worst ones and of those drawn by lot."""
    colours = voc.palette()

    def example(entry: dict[str, Any]) -> Example:
        image_id, score = entry["image"], entry["miou"]
        masks = [None if mask is None else colours[shrink(mask, TILE)] for mask in _pair(folder, data, image_id)[::-1]]
        caption = image_id if score is None else f"{image_id}   {score:.1f} %"
        return caption, [shrink(data.image(image_id), TILE), *masks]

    blocks = {
        f"The {len(worst)} worst: image, truth, mask; mIoU of the image": worst,
        f"{len(lot)} drawn by lot: image, truth, mask": lot,
    }
    legend = {name: colours[k] for k, name in enumerate(data.class_names)} | {"void": colours[IGNORE]}
    save(folder / PICTURE, album({title: [*map(example, shown)] for title, shown in blocks.items() if shown}, legend))


def _markdown(passport: dict[str, Any]) -> str:
    sections = [_headline, _by_class, _pictures, _confusions, _against_tags, _published, _made_from]
    return "\n".join(line for section in sections for line in [*section(passport), ""]).rstrip() + "\n"


def _headline(passport: dict[str, Any]) -> list[str]:
    masks, cues = passport["masks"], passport["cues"]
    images, known = passport["images"], passport["images_with_true_masks"]
    lines = [f"# Passport of the proxy masks {passport['name']}", ""]
    if masks["miou"] is None:
        return [*lines, f"**Quality NOT MEASURED**: none of the {images:,} images has a true mask to compare with."]
    way = f"cues {cues['miou']:.1f} % → " if cues and cues["miou"] is not None else ""
    lines.append(
        f"**mIoU: {way}masks {masks['miou']:.1f} %**, against the true masks of {known:,} of {images:,} images."
    )
    if way:
        lines.append(
            f"The cues are scored on the {cues['coverage']['all']:.1f} % of all cells that have one; "
            f"{cues['precision']['all']:.1f} % of them are right."
        )
    return [
        *lines,
        f"The masks label {masks['coverage']:.1f} % of all pixels. Of the scored ones they call "
        f"{masks['foreground_share']:.1f} % objects, in truth {masks['true_foreground_share']:.1f} % are.",
        f"Scored on {SCORED_ON}.",
    ]


def _table(header: list[str], rows: list[list[Any]], words: int = 1) -> list[str]:
    """Lay out a Markdown table; the first columns hold words, the others numbers, a dash where there is none."""

    def cell(value: Any) -> str:
        forms = {type(None): "–", float: "{:.1f}", int: "{:,}"}
        return forms.get(type(value), "{}").format(value)

    ruler = [" --- " if k < words else " ---: " for k in range(len(header))]
    return [
        f"| {' | '.join(header)} |",
        f"|{'|'.join(ruler)}|",
        *[f"| {' | '.join(map(cell, row))} |" for row in rows],
    ]


def _by_class(passport: dict[str, Any]) -> list[str]:
    """Table the quality by class, with the cues' where there are some; nothing where nothing was measured."""
    masks, cues = passport["masks"], passport["cues"]
    if masks["miou"] is None:
        return []
    header, columns = ["class", "IoU of the masks"], [masks["iou"]]
    if cues:
        header += ["IoU of the cues", "cues that are right", "true cells with a cue"]
        columns += [cues["iou"], cues["precision"]["by_class"], cues["class_coverage"]]
    rows = [[name, *(column[name] for column in columns)] for name in masks["iou"]]
    return ["## By class", "", "In %; – where a class does not occur.", "", *_table(header, rows)]


def _pictures(passport: dict[str, Any]) -> list[str]:
    lines = ["## Pictures", "", f"![image, truth and mask of the worst images and of some drawn by lot]({PICTURE})"]
    if passport["worst"]:
        named = ", ".join(f"{one['image']} ({one['miou']:.1f} %)" for one in passport["worst"][:5])
        lines += ["", f"The worst: {named}; more in passport.json."]
    return lines


def _confusions(passport: dict[str, Any]) -> list[str]:
    if not passport["largest_confusions"]:
        return []
    header = ["truth", "mask says", "pixels", "% of all pixels", "% of the true class"]
    return [
        "## Largest confusions",
        "",
        *_table(header, [[*row.values()] for row in passport["largest_confusions"]], 2),
    ]


def _against_tags(passport: dict[str, Any]) -> list[str]:
    tags = passport["tags"]
    share = tags["share_of_pixels_beyond_the_tags"]
    rows = [[name, *row.values()] for name, row in tags["by_class"].items()]
    return [
        "## Against the image-level tags",
        "",
        f"Of {passport['images']:,} masks {tags['images_with_all_tags_and_nothing_else']:,} hold all tags of their image "
        f"and nothing else; {tags['images_with_a_tag_without_pixels']:,} lack a tag, "
        f"{tags['images_with_a_class_beyond_their_tags']:,} have a class beyond the tags"
        + ("." if share is None else f", in {share:.1f} % of all labelled pixels."),
        "",
        *_table(["class", "images tagged", "without a pixel", "images not tagged, with pixels", "such pixels"], rows),
    ]


def _published(passport: dict[str, Any]) -> list[str]:
    ours = passport["masks"]["miou"]
    rows = [[one["what"], one["source"], "val", "; ".join(map(str, one["miou"]))] for one in passport["published"]]
    if ours is not None:
        rows.insert(0, ["**these masks**", "measured", "training images", f"**{ours:.1f}**"])
    header = ["what", "source", "scored on", "mIoU"]
    return ["## Beside published figures", "", *_table(header, rows, 3), "", passport["published_note"]]


def _made_from(passport: dict[str, Any]) -> list[str]:
    sources = [[name, f"`{sha}`"] for name, sha in _flat(passport.get("sources", {}))]
    settings = [[key, str(value)] for key, value in _flat(passport.get("settings", {}))]
    tables = [_table(["source", "sha256"], sources, 2), _table(["setting", "value"], settings, 2)]
    return ["## Made from", "", *tables[0], "", *tables[1]]


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dicts by dotted name."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value
