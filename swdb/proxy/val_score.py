"""DSRG's own networks scored on val: one scale and several, without and with their CRF, as its test-ms.py and test-ms-f.py.

The only figures of ours that stand like for like beside those that DSRG's authors published: proxy masks are of training
images, whose tags are known, and a run is another network that learnt from such masks. A diagnosis that nothing is made
from; the quality report, which is there before it, is written once more with it. Tags of val images are never looked at, even
where a preset's masks keep to the tags.

in: a set of proxies, whose network is trained, and its quality -> out: `proxies/<id>/{val.json, quality.md}`
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.files import digest, write_text
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import image_size
from swdb.data.resident import sent
from swdb.evaluation.confusion import iou_by_name, json_number, miou
from swdb.evaluation.definitions import DEFINITIONS
from swdb.evaluation.evaluate import batches_of, counted, images_of, true_masks
from swdb.evaluation.kept import Part, counted_parts
from swdb.nn.dense_crf import are_finite, require_finite
from swdb.nn.labelling import Fitting, parts_of
from swdb.nn.losses import resize
from swdb.nn.model import Model
from swdb.proxy.labeller import View, looking, refined, summed, views_of
from swdb.proxy.masks import load_model
from swdb.proxy.quality_page import PUBLISHED_BY_SET, page
from swdb.specs.tasks import ProxiesTask

WHOLE = 1.0  # the one scale of the retrain round
BY_ITS_SCORER = next(one for one in DEFINITIONS if one.key == "hit")  # DSRG's evaluate.py


@dataclass(frozen=True)
class Way:
    """One way to have an image labelled."""

    key: str
    views: tuple[View, ...]  # whose logits are summed
    crf: bool


def ways_of(task: ProxiesTask) -> list[Way]:
    """List the ways in which a set's network is scored, that of its masks last."""
    one, several = ((task.dsrg.size,) if task.proxy_set == 1 else (WHOLE,)), views_of(task)
    return [
        Way("one", one, False), Way("one-crf", one, True), Way("several", several, False), Way("several-crf", several, True),
    ]  # fmt: skip


def score_network(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Score the network of a finished set in all ways, and show it on the quality report; returns what `val.json` says."""
    proxies = artefact.input("proxies")
    task: ProxiesTask = proxies.task
    dataset = tools.dataset(artefact.input("data"))
    model = load_model(proxies, dataset.num_classes, tools.compute)
    totals = _counts(artefact, dataset, task, model, tools)
    ways = [
        {
            "key": way.key,
            "views": list(way.views),
            "crf": task.dsrg.crf if way.crf else None,
            "miou": miou(total) if total.any() else None,
            "miou_by_its_scorer": json_number(BY_ITS_SCORER.score(total[None], np.zeros((1, len(total)), np.int64))),
            "iou": iou_by_name(total, dataset.class_names),
            "counts": total.tolist(),
        }
        for way, total in zip(ways_of(task), totals, strict=True)
    ]
    found = {
        "digest": digest([(way["key"], way["counts"]) for way in ways]),
        "set": task.proxy_set,
        "split": VAL_SPLIT,
        "images": len(dataset.ids(VAL_SPLIT)),
        "data": dataset.digest,
        "ways": ways,
        "its_scorer": f"{BY_ITS_SCORER.where}: {BY_ITS_SCORER.words}",
        "published": PUBLISHED_BY_SET[task.proxy_set],
        "machine": tools.compute.describe(),
    }
    write_text(proxies.folder / "quality.md", page(artefact.input("quality").read_record(), found))
    return found


def _counts(artefact: Artefact, dataset: DataSet, task: ProxiesTask, model: Model, tools: Tools) -> np.ndarray:
    """Count the pixels of all val images in each way, (ways, C, C) int64."""
    ids, device = dataset.ids(VAL_SPLIT), tools.compute.device
    sizes = [image_size(dataset.image_path(image_id)) for image_id in ids]
    fit = Fitting(tools.tell)

    def count(batch: list[int]) -> np.ndarray:
        shown, images = images_of(dataset, [ids[row] for row in batch], task.longest_side)
        truth = true_masks(dataset, [ids[row] for row in batch], images)
        shown, truth = (sent(torch.from_numpy(one), device) for one in (shown, truth))
        counts = fit(lambda rows: _of_batch(task, model, shown[rows], truth[rows]), len(batch), sizes[batch[0]])
        return torch.stack(counts).sum(0).cpu().numpy()

    def count_part(part: Part) -> tuple[np.ndarray]:
        return (np.sum([count(batch) for batch in part], 0),)

    parts, advance = parts_of(batches_of(sizes, device), device), tools.progress(artefact.name, len(ids))
    found = counted_parts(artefact, tools.compute.describe, parts, count_part, advance)
    return np.sum([counts for (counts,) in found], 0)


@torch.no_grad()
def _of_batch(task: ProxiesTask, model: Model, images: Tensor, truth: Tensor) -> list[Tensor]:
    """Count images (B, H, W, 3) against the truth at full size (B, H', W'); returns (ways, C, C) of each."""
    found = [
        counted(truth, resize(said, tuple(truth.shape[1:])).argmax(1).to(torch.uint8), said.shape[1])
        for said in _said(task, model, images)
    ]
    return list(torch.stack(found, 1))


def _said(task: ProxiesTask, model: Model, images: Tensor) -> Iterator[Tensor]:
    """Yield what is said of images in each way, (B, C, H, W): each view is looked at once, whoever sums it."""
    look, ways = looking(task, model, images), ways_of(task)
    logits = {view: look(view) for view in dict.fromkeys(view for way in ways for view in way.views)}
    for way in ways:
        probabilities = summed(logits[view] for view in way.views).softmax(1)
        if not way.crf:
            yield probabilities
            continue
        smooth = refined(task, probabilities, images)
        require_finite(are_finite(smooth))
        yield smooth
