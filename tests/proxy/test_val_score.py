"""DSRG's own networks on val: each score is the one that a hand-made forward pass gives, tags are not looked at."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image
from slow import upsample_by_hand
from studies import changed, graph_of, runner

from swdb.core.errors import MissingArtefact
from swdb.data.dataset import DataSet
from swdb.evaluation import evaluate
from swdb.evaluation.confusion import confusion, miou
from swdb.nn import labelling
from swdb.nn.dense_crf import energy_of, refine
from swdb.nn.networks import small
from swdb.proxy import labeller, val_score
from swdb.proxy.dsrg import DsrgNetwork
from swdb.proxy.quality_page import PUBLISHED_BY_SET, page
from swdb.proxy.val_score import score_network, ways_of
from swdb.specs.crf_parameters import crf_set
from swdb.specs.presets import load_preset
from swdb.study.graph import Graph

NUM_VAL, NUM_CLASSES, SIDE = 6, 6, 32  # as in tiny.toml
BOTH = pytest.mark.parametrize("number", [1, 2])
VIEWS = {1: ((32,), (24, 32)), 2: ((1.0,), (0.75, 1.0, 1.25))}  # one, several


@pytest.fixture
def copied(finished, tmp_path) -> Graph:
    """A copy of the finished work directory that may be changed."""
    return graph_of(shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns("reports", "runs")))


def record_of(folder, number):
    graph = graph_of(folder)
    return graph.dsrg_score(graph.proxies(number)).read_record()


def val_of(graph):
    """Read the images and true masks of val by hand."""
    root = graph.data.folder / "VOCdevkit" / "VOC2012"
    for image_id in (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split():
        image = np.array(Image.open(root / "JPEGImages" / f"{image_id}.jpg").convert("RGB"))
        yield torch.from_numpy(image), np.asarray(Image.open(root / "SegmentationClass" / f"{image_id}.png"))


def logits_by_hand(network, number, image, view):
    inputs, resized = image.permute(2, 0, 1)[None].float(), torch.nn.functional.interpolate
    side = view if number == 1 else round(SIDE * view)
    if side != SIDE:
        seen = resized(
            inputs if number == 1 else (inputs - 127.5) / 64, (side, side), mode="bilinear", align_corners=number == 1
        )
        seen = (seen - 127.5) / 64 if number == 1 else seen
    else:
        seen = (inputs - 127.5) / 64
    with torch.no_grad():
        grown = upsample_by_hand(network(seen), network.backbone)[..., :side, :side]
    return grown if side == SIDE else resized(grown, (SIDE, SIDE), mode="bilinear", align_corners=number == 1)


@BOTH
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("crf", [False, True])
def test_a_score_is_that_of_the_logits_summed_over_its_views_and_refined_by_its_crf(finished, number, several, crf):
    graph, total, pixels = graph_of(finished), np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64), 0
    network = DsrgNetwork(small(), load_preset(TINY).dsrg, NUM_CLASSES).eval()
    network.load_state_dict(torch.load(graph.proxies(number).folder / "weights.pt", weights_only=True))
    for image, truth in val_of(graph):
        logits = sum(logits_by_hand(network, number, image, view) for view in VIEWS[number][several])
        said = logits.softmax(1)
        if crf:
            said = refine(energy_of(said), image[None], crf_set("dsrg").scaled(SIDE / 500))
        total += confusion(truth, said[0].argmax(0).numpy().astype(np.uint8), NUM_CLASSES)
        pixels += (truth != 255).sum()
    key = ("several" if several else "one") + ("-crf" if crf else "")
    (way,) = [one for one in record_of(finished, number)["ways"] if one["key"] == key]
    assert np.sum(way["counts"]) == pixels
    assert np.abs(np.array(way["counts"]) - total).sum() <= 12  # of 6,144 pixels: where two classes are near


@BOTH
def test_the_record_says_what_was_looked_at_and_its_counts_give_its_scores(finished, number):
    found = record_of(finished, number)
    assert (found["set"], found["split"], found["images"]) == (number, "val", NUM_VAL)
    assert [way["key"] for way in found["ways"]] == ["one", "one-crf", "several", "several-crf"]
    assert [tuple(way["views"]) for way in found["ways"]] == [view for view in VIEWS[number] for _ in range(2)]
    assert [way["crf"] for way in found["ways"]] == [None, "dsrg"] * 2
    assert found["published"] == PUBLISHED_BY_SET[number] and "evaluate.py" in found["its_scorer"]
    for way in found["ways"]:
        assert way["miou"] == miou(np.array(way["counts"]))
        assert len(way["iou"]) == NUM_CLASSES
        assert way["miou_by_its_scorer"] >= way["miou"]  # classes without a right pixel are left out


def test_what_is_published_has_a_source():
    assert {number: one["miou"] for number, one in PUBLISHED_BY_SET.items()} == {1: 57.4, 2: 59.0}
    assert all(one["source"] for one in PUBLISHED_BY_SET.values())


@BOTH
def test_a_kill_costs_a_part_and_the_same_again_gives_the_same(copied, number, monkeypatch):
    monkeypatch.setitem(labelling.PART, "cpu", 2)
    monkeypatch.setitem(evaluate.BATCH_PIXELS, "cpu", SIDE * SIDE)
    artefact = copied.dsrg_score(copied.proxies(number))
    whole = artefact.read_record()
    artefact.record.unlink()
    work, seen = val_score._of_batch, []

    def killed(*arguments):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(arguments)
        return work(*arguments)

    monkeypatch.setattr(val_score, "_of_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        runner().make([artefact])
    assert len(list(artefact.folder.glob(".*val*.parts/*.npz"))) == 2
    seen.clear()
    runner().make([artefact])
    assert len(seen) == 2 and not list(artefact.folder.glob(".*.parts"))
    again = artefact.read_record()
    assert again.keys() == whole.keys()
    assert all(
        np.abs(np.array(one["counts"]) - two["counts"]).sum() <= 4
        for one, two in zip(again["ways"], whole["ways"], strict=True)
    )


def test_each_view_is_looked_at_once(finished, monkeypatch):
    graph, seen = graph_of(finished), []
    scaled = labeller._scaled

    def counting(model, images):
        look = scaled(model, images)
        return lambda view: seen.append((len(images), view)) or look(view)

    monkeypatch.setattr(labeller, "_scaled", counting)
    score_network(graph.dsrg_score(graph.proxies(2)), runner())
    assert sum(count for count, _ in seen) == 3 * NUM_VAL
    assert {view for _, view in seen} == {0.75, 1.0, 1.25}


def test_no_tag_is_looked_at_even_where_masks_keep_to_the_tags(copied, monkeypatch):
    graph = graph_of(copied.study.folder, changed(load_preset(TINY), "dsrg", tags_only=True))
    shutil.copytree(copied.proxies(1).folder, graph.proxies(1).folder)  # the network is the same
    score = graph.dsrg_score(graph.proxies(1))
    tools = runner()
    tools.dataset(copied.data)  # audited, which reads tags
    monkeypatch.setattr(DataSet, "tags", None)
    found = score_network(score, tools)
    assert found["ways"] == record_of(copied.study.folder, 1)["ways"]


def test_networks_see_images_as_large_as_the_preset_trains_on_and_are_scored_at_full_size(copied):
    proxies = copied.proxies(2)
    task = replace(proxies.task, longest_side=16, image_side=16)
    proxies = replace(proxies, task=task)
    found = score_network(copied.dsrg_score(proxies), runner())
    whole = record_of(copied.study.folder, 2)
    assert [np.sum(way["counts"]) for way in found["ways"]] == [np.sum(way["counts"]) for way in whole["ways"]]


def test_a_view_that_is_also_the_one_is_not_summed_twice(finished):
    task = graph_of(finished).proxies(1).task
    task = replace(task, dsrg=replace(task.dsrg, size=24, test_sizes=(24,)))
    assert [way.views for way in ways_of(task)] == [(24,)] * 4


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_weights_that_are_not_those_of_the_set_are_refused(copied, damage):
    proxies = copied.proxies(1)
    score, path = copied.dsrg_score(proxies), proxies.folder / "weights.pt"
    score.record.unlink()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MissingArtefact) as caught:
        runner().make([score])
    assert caught.value.subject == path and not score.done


def test_val_images_without_a_scored_pixel_have_no_score(copied):
    dataset = runner().dataset(copied.data)
    proxies = copied.proxies(1)

    class Void(type(dataset)):
        """A data set whose true masks are void alone."""

        def mask(self, image_id, split):
            return np.full_like(super().mask(image_id, split), 255)

    tools = runner()
    tools._datasets[copied.data.id] = Void(dataset.root, dataset.settings, dataset.manifest)
    found = score_network(copied.dsrg_score(proxies), tools)
    assert [way["miou"] for way in found["ways"]] == [None] * 4 and json.dumps(found, allow_nan=False)


def test_it_lies_beside_the_masks_and_leaves_them_as_they_are(finished):
    graph = graph_of(finished)
    proxies = graph.proxies(1)
    assert graph.dsrg_score(proxies).record == proxies.folder / "val.json"
    text = (proxies.folder / "quality.md").read_text()
    assert text == page(graph.quality(proxies).read_record(), graph.dsrg_score(proxies).read_record())
    assert "## The network itself, on val" in text
    assert len(list(proxies.folder.glob("*.png"))) == 32  # the training images' alone
