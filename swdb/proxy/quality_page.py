"""The quality report for people: a page of Markdown, and a picture of the worst and of some random masks.

in: what `quality.json` says, and `val.json` -> out: `quality.md`, `quality.jpg`
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import damage_of, read_json
from swdb.core.markdown import markdown_table
from swdb.data.dataset import DataSet
from swdb.data.facts import ALL_SPLIT
from swdb.data.images import read_mask, resize_longest_side, size_text
from swdb.data.voc import IGNORE
from swdb.evaluation.figures import TILE, Example, album, save

PICTURE = "quality.jpg"
NETWORK = "val.json"  # beside the masks: `val_score.py`
PUBLISHED = (  # DSRG with VGG16, mIoU in % on val
    {"what": "DSRG, before retrain", "miou": [57.4], "source": "readme of DSRG-TF (xtudbxk/DSRG-tensorflow)"},
    {"what": "DSRG, after retrain", "miou": [59.0], "source": "the paper, as quoted in issue 8 of the official code"},
    {"what": "independent run, single scale", "miou": [51.5], "source": "DSRG-TF"},
    {"what": "independent runs", "miou": [53.2, 54.3], "source": "official code; result files of Ien001/Point-DSRG"},
    {"what": "independent runs, several scales", "miou": [55.6, 56.7], "source": "DSRG-TF"},
    {"what": "10k weak", "miou": [57.0], "source": "the supplement that is reproduced here"},
    {"what": "10k weak (retrain)", "miou": [60.1], "source": "the supplement that is reproduced here"},
)
PUBLISHED_BY_SET = {  # of several views, with CRF
    number: {"miou": found["miou"][0], "source": found["source"]} for number, found in enumerate(PUBLISHED[:2], 1)
}


def read_pair(folder: Path, dataset: DataSet, image_id: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a mask (H, W) uint8 and the true one, None where the data set has none."""
    path = folder / f"{image_id}.png"
    mask = read_mask(path, dataset.num_classes)
    if not dataset.mask_path(image_id, ALL_SPLIT).is_file():
        return mask, None
    truth = dataset.mask(image_id, ALL_SPLIT)
    if mask.shape != truth.shape:
        raise BadInput(path, f"is {size_text(mask)}", f"{size_text(truth)}, as the true mask of its image")
    return mask, truth


def draw(folder: Path, dataset: DataSet, worst: list[dict[str, Any]], random: list[dict[str, Any]]) -> None:
    """Write the picture: image, truth and mask of the worst ones and of those chosen at random."""
    colours = dataset.facts.palette

    def example(entry: dict[str, Any]) -> Example:
        image_id, score = entry["image"], entry["miou"]
        pair = reversed(read_pair(folder, dataset, image_id))
        masks = [None if mask is None else colours[resize_longest_side(mask, TILE)] for mask in pair]
        caption = image_id if score is None else f"{image_id}   {score:.1f} %"
        return caption, [resize_longest_side(dataset.image(image_id), TILE), *masks]

    blocks = {
        f"The {len(worst)} worst: image, truth, mask; mIoU of the image": worst,
        f"{len(random)} chosen at random: image, truth, mask": random,
    }
    legend = {name: colours[k] for k, name in enumerate(dataset.class_names)} | {"void": colours[IGNORE]}
    save(folder / PICTURE, album({title: [*map(example, shown)] for title, shown in blocks.items() if shown}, legend))


def network_beside(folder: Path) -> dict[str, Any] | None:
    """Return what is recorded of the score of the network behind a folder of masks; None where it is not, or damaged."""
    with suppress(MissingArtefact), damage_of(folder / NETWORK):
        found = read_json(folder / NETWORK)
        _network({"network": dict(found)})  # what cannot be laid out is damaged
        return found or None
    return None


def page(report: dict[str, Any], network: dict[str, Any] | None = None) -> str:
    """Return the report as Markdown, from what `quality.json` says and, once the network is scored, `val.json`."""
    report = {**report, "network": network}
    sections = [_headline, _by_class, _pictures, _confusions, _against_tags, _network, _published, _made_from]
    return "\n".join(line for section in sections for line in [*section(report), ""]).rstrip() + "\n"


def _headline(report: dict[str, Any]) -> list[str]:
    masks, cues = report["masks"], report["cues"]
    images, known = report["images"], report["images_with_true_masks"]
    lines = [f"# Quality of the proxy masks {report['name']}", ""]
    if masks["miou"] is None:
        return [*lines, f"**Quality NOT MEASURED**: none of the {images:,} images has a true mask to compare with."]
    way = f"cues {cues['miou']:.1f} % → " if cues and cues["miou"] is not None else ""
    lines.append(
        f"**mIoU: {way}masks {masks['miou']:.1f} %**, against the true masks of {known:,} of {images:,} images."
    )
    if way:
        lines.append(
            f"The cues are scored on the {cues['coverage']['all']:.1f} % of all points that have one; "
            f"{cues['precision']['all']:.1f} % of them are right."
        )
    return [
        *lines,
        f"The masks label {masks['coverage']:.1f} % of all pixels. Of the scored ones they call "
        f"{masks['foreground_share']:.1f} % objects, in truth {masks['true_foreground_share']:.1f} % are.",
        f"Scored on {report['scored_on']}.",
    ]


def _by_class(report: dict[str, Any]) -> list[str]:
    """Table the quality by class, with the cues' where there are some; nothing where nothing was measured."""
    masks, cues = report["masks"], report["cues"]
    if masks["miou"] is None:
        return []
    header, columns = ["class", "IoU of the masks"], [masks["iou"]]
    if cues:
        header += ["IoU of the cues", "cues that are right", "true points with a cue"]
        columns += [cues["iou"], cues["precision"]["by_class"], cues["class_coverage"]]
    rows = [[name, *(column[name] for column in columns)] for name in masks["iou"]]
    return ["## By class", "", "In %; – where a class does not occur.", "", *markdown_table(header, rows)]


def _pictures(report: dict[str, Any]) -> list[str]:
    lines = ["## Pictures", "", f"![image, truth and mask of the worst images and of some random ones]({PICTURE})"]
    if report["worst"]:
        named = ", ".join(f"{one['image']} ({one['miou']:.1f} %)" for one in report["worst"][:5])
        lines += ["", f"The worst: {named}; more in quality.json."]
    return lines


def _confusions(report: dict[str, Any]) -> list[str]:
    if not report["largest_confusions"]:
        return []
    header = ["truth", "mask says", "pixels", "% of all pixels", "% of the true class"]
    return [
        "## Largest confusions",
        "",
        *markdown_table(header, [[*row.values()] for row in report["largest_confusions"]], 2),
    ]


def _against_tags(report: dict[str, Any]) -> list[str]:
    tags = report["tags"]
    share = tags["share_of_pixels_beyond_the_tags"]
    rows = [[name, *row.values()] for name, row in tags["by_class"].items()]
    return [
        "## Against the image-level tags",
        "",
        f"Of {report['images']:,} masks {tags['images_with_all_tags_and_nothing_else']:,} hold all tags of their image "
        f"and nothing else; {tags['images_with_a_tag_without_pixels']:,} lack a tag, "
        f"{tags['images_with_a_class_beyond_their_tags']:,} have a class beyond the tags"
        + ("." if share is None else f", in {share:.1f} % of all labelled pixels."),
        "",
        *markdown_table(
            ["class", "images tagged", "without a pixel", "images not tagged, with pixels", "such pixels"], rows
        ),
    ]


def _network(report: dict[str, Any]) -> list[str]:
    """Table what the network itself scores on val; nothing where that is not known."""
    network = report["network"]
    if not network:
        return []
    rows = [
        [", ".join(f"{view:g}" for view in way["views"]), way["crf"] or "none", way["miou"], way["miou_by_its_scorer"]]
        for way in network["ways"]
    ]
    seen = "squares of so many pixels" if network["set"] == 1 else "scales of the image's own size"
    return [
        "## The network itself, on val",
        "",
        f"The network behind these masks on the {network['images']:,} validation images, whose tags nobody looked at.",
        "",
        *markdown_table([seen, "CRF", "mIoU", "mIoU as its authors count it"], rows, 2),
        "",
        f"As its authors count it: {network['its_scorer']}.",
        "",
        "These figures are like for like with the published one of the same round where data set and backbone are DSRG's:",
        "PASCAL VOC 2012 and VGG16.",
    ]


def _published(report: dict[str, Any]) -> list[str]:
    ours = report["masks"]["miou"]
    rows = [[one["what"], one["source"], "val", "; ".join(map(str, one["miou"]))] for one in report["published"]]
    if ours is not None:
        rows.insert(0, ["**these masks**", "measured", "training images", _bold(ours)])
    if report["network"]:
        best = report["network"]["ways"][-1]  # as DSRG tests
        rows.insert(0, ["**this network**, several views and CRF", "measured", "val", _bold(best["miou"])])
    header = ["what", "source", "scored on", "mIoU"]
    return ["## Beside published figures", "", *markdown_table(header, rows, 3), "", report["published_note"]]


def _bold(score: float | None) -> str | None:
    return None if score is None else f"**{score:.1f}**"


def _made_from(report: dict[str, Any]) -> list[str]:
    sources = [[name, f"`{sha}`"] for name, sha in _flat(report.get("sources", {}))]
    settings = [[key, str(value)] for key, value in _flat(report.get("settings", {}))]
    tables = [markdown_table(["source", "sha256"], sources, 2), markdown_table(["setting", "value"], settings, 2)]
    return ["## Made from", "", *tables[0], "", *tables[1]]


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dicts by dotted name."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value
