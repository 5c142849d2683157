"""Proxy masks: only background and the image's tags, scored honestly, made image by image."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image
from slow import enlarged

from swdb.classifier import Classifier
from swdb.errors import BadInput
from swdb.loop import machine
from swdb.networks import small
from swdb.pipeline import Pipeline
from swdb.proxies import proxies_of
from swdb.training import load_trained
from swdb.workdir import open_work

NUM_TRAIN, NUM_CLASSES, THRESHOLD = 32, 6, 0.4  # as in tiny.toml
CPU = machine("cpu", "fp32")


def opened(folder, quiet):
    """The tiny work directory, and a pipeline on it."""
    work = open_work(folder, TINY, "fp32")
    return work, Pipeline(work, CPU, SimpleNamespace(stage=lambda *_, **__: quiet))


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished work directory that may be changed."""
    return shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns("reports", "evals"))


def tags_of(work):
    """Class ids of every training image, read from the lists by hand."""
    names = json.loads((work.data_root / "manifest.json").read_text())["classes"]
    with (work.data_root / "image_labels.csv").open() as stream:
        labels = {
            row["image"]: {names.index(name) for name in row["classes"].split()} for row in csv.DictReader(stream)
        }
    split = work.data_root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "train_aug.txt"
    ids = split.read_text().split()
    assert len(ids) == NUM_TRAIN
    return {image_id: labels[image_id] for image_id in ids}


def mask_of(folder, image_id):
    return np.asarray(Image.open(folder / f"{image_id}.png"))


def truth_of(work, image_id):
    folder = work.data_root / "VOCdevkit" / "VOC2012" / "SegmentationClassAug"
    return np.asarray(Image.open(folder / f"{image_id}.png"))


def picture_of(work, image_id):
    """A training picture as the tiny preset's network sees it."""
    path = work.data_root / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{image_id}.jpg"
    image = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
    return (image.permute(2, 0, 1)[None].float() - 127.5) / 64


def restricted_argmax(scores, tags):
    """The best class of every pixel among background and the tags; scores (C, H, W)."""
    allowed = sorted({0} | tags)
    return np.array(allowed)[scores[allowed].argmax(0)]


@pytest.mark.parametrize("number", [1, 2])
def test_there_is_a_palette_png_of_the_images_size_for_every_training_image(finished, quiet, number):
    work, _ = opened(finished, quiet)
    folder = work.proxies(number).folder
    assert sorted(path.stem for path in folder.glob("*.png")) == sorted(tags_of(work))
    for image_id in tags_of(work):
        picture = Image.open(folder / f"{image_id}.png")
        assert picture.mode == "P"
        assert picture.size == (32, 32)
        assert picture.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]  # VOC's first four colours


@pytest.mark.parametrize("number", [1, 2])
def test_masks_hold_background_and_the_images_tags_only(finished, quiet, number):
    work, _ = opened(finished, quiet)
    seen = 0
    for image_id, tags in tags_of(work).items():
        values = set(np.unique(mask_of(work.proxies(number).folder, image_id)).tolist())
        assert values <= {0} | tags, image_id
        seen += len(values - {0})
    assert seen > 0  # empty masks would pass as well


def test_set_1_is_the_activation_maps_above_the_threshold(finished, quiet):
    work, _ = opened(finished, quiet)
    folder = work.proxies(1).folder
    classifier = Classifier(small(), NUM_CLASSES - 1).eval()
    classifier.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    different = 0
    for image_id, tags in tags_of(work).items():
        with torch.no_grad():
            maps = classifier(picture_of(work, image_id))[0].clip(min=0)
        maps = maps / maps.amax((1, 2), keepdim=True).clip(min=1e-6)
        maps = enlarged(maps[None], classifier.backbone)[0].numpy()
        scores = np.concatenate([np.full((1, 32, 32), THRESHOLD, np.float32), maps])
        different += (restricted_argmax(scores, tags) != mask_of(folder, image_id)).sum()
    assert different <= 3  # of 32,768 pixels: where a map lies on the threshold, the last digit decides


def test_set_2_is_the_prediction_of_the_net_that_was_trained_on_set_1(finished, quiet):
    work, _ = opened(finished, quiet)
    network, _ = load_trained(work, work.recipe("weak"), 0)
    different = 0
    for image_id, tags in tags_of(work).items():
        with torch.no_grad():
            features = network.neck(network.backbone(picture_of(work, image_id)))
            logits = enlarged(network.heads["strong"](features), network.backbone)[0]
        different += (restricted_argmax(logits.numpy(), tags) != mask_of(work.proxies(2).folder, image_id)).sum()
    assert different <= 3


def test_set_2_differs_from_set_1(finished, quiet):
    work, _ = opened(finished, quiet)
    first, second = (work.proxies(number) for number in (1, 2))
    assert first.id != second.id
    ids = list(tags_of(work))
    changed = [not np.array_equal(mask_of(first.folder, k), mask_of(second.folder, k)) for k in ids]
    assert len(changed) == NUM_TRAIN
    assert any(changed)


@pytest.mark.parametrize("number", [1, 2])
def test_the_report_says_how_good_the_masks_are(finished, quiet, number):
    work, _ = opened(finished, quiet)
    folder = work.proxies(number).folder
    hits, true, found = (np.zeros(NUM_CLASSES) for _ in range(3))
    silent = 0
    for image_id, tags in tags_of(work).items():
        proxy, truth = mask_of(folder, image_id), truth_of(work, image_id)
        silent += any(not (proxy == tag).any() for tag in tags)
        proxy, truth = proxy[truth != 255], truth[truth != 255]
        for label in range(NUM_CLASSES):
            hits[label] += ((proxy == label) & (truth == label)).sum()
            true[label] += (truth == label).sum()
            found[label] += (proxy == label).sum()
    per_class = 100 * hits / (true + found - hits)
    report = json.loads((folder / "report.json").read_text())
    assert report.keys() == {
        "images",
        "miou",
        "iou",
        "foreground_share",
        "true_foreground_share",
        "images_with_a_tag_without_pixels",
        "scored_on",
    }
    assert report["images"] == NUM_TRAIN
    assert list(report["iou"]) == ["background", "alpha", "beta", "gamma", "delta", "epsilon"]
    assert list(report["iou"].values()) == pytest.approx(per_class.tolist(), abs=0.006)
    assert report["miou"] == pytest.approx(per_class.mean(), abs=0.006)
    assert report["foreground_share"] == pytest.approx(1 - found[0] / found.sum(), abs=6e-5)
    assert report["true_foreground_share"] == pytest.approx(1 - true[0] / true.sum(), abs=6e-5)
    assert report["images_with_a_tag_without_pixels"] == silent
    assert "training" in report["scored_on"]


@pytest.mark.parametrize("number", [1, 2])
def test_only_masks_that_are_missing_are_made_again(copied, quiet, number):
    work, pipeline = opened(copied, quiet)
    artefact = work.proxies(number)
    record = json.loads(artefact.record.read_text())
    paths = sorted(artefact.folder.glob("*.png"))
    assert len(paths) == NUM_TRAIN
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    lost = {path.name for path in paths[5:9]}
    for path in [*paths[5:9], artefact.record]:
        path.unlink()
    pipeline.make([artefact])
    again = {path.name for path in paths if path.stat().st_mtime_ns != before[path.name][1]}
    assert again == lost
    assert all(path.read_bytes() == before[path.name][0] for path in paths)
    assert json.loads(artefact.record.read_text())["masks_sha256"] == record["masks_sha256"]


def test_a_finished_set_is_left_alone(copied, quiet):
    work, pipeline = opened(copied, quiet)
    artefact = work.proxies(1)
    before = {path: path.stat().st_mtime_ns for path in artefact.folder.iterdir()}
    pipeline.make([artefact])
    assert {path: path.stat().st_mtime_ns for path in artefact.folder.iterdir()} == before


def test_a_class_without_any_image_is_named_before_the_classifier_is_trained(copied, quiet):
    work, pipeline = opened(copied, quiet)
    labels = work.data_root / "image_labels.csv"
    labels.write_text(labels.read_text().replace("gamma", ""))
    artefact = work.proxies(1)
    shutil.rmtree(artefact.folder)
    with pytest.raises(BadInput, match=r"no training image has the class 'gamma'.*image_labels\.csv"):
        pipeline.make([artefact])
    assert {path.name for path in artefact.folder.glob("*")} <= {"inputs.json"}


def test_masks_for_a_look_are_made_like_those_for_training(finished, quiet):
    work, pipeline = opened(finished, quiet)
    ids = list(tags_of(work))[:4]
    found = proxies_of(work, pipeline.data, ids, CPU)
    assert list(found) == ids
    for image_id in ids:
        np.testing.assert_array_equal(found[image_id], mask_of(work.proxies(1).folder, image_id))
