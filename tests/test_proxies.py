"""Proxy masks: only background and the image's tags, scored honestly, made image by image."""

import csv
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import voc_tree
from conftest import TINY
from PIL import Image
from slow import enlarged
from voc_tree import DATA, SIZES, TRAIN_AUG, VAL

from swdb import proxies
from swdb.classifier import Classifier
from swdb.dataset import DataSet
from swdb.errors import BadInput, MissingArtefact
from swdb.loop import machine
from swdb.networks import small
from swdb.pipeline import Pipeline
from swdb.plan import Work
from swdb.prepare import prepare
from swdb.preset import load_preset
from swdb.proxies import proxies_of
from swdb.sources import Sources
from swdb.training import load_trained
from swdb.voc import CLASSES
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
    pipeline.data  # noqa: B018 - audited before the change, which the audit would notice
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


# ---------------------------------------------------------------- proxies from seed cues


LIST = "".join(f"{image_id}.jpg {k}\n" for k, image_id in enumerate([*TRAIN_AUG, *VAL]))
CUES = {  # class, row and column of every cell; the images' tags are 1, 2, 3, 4 (aeroplane .. boat) and 5 (bottle) each
    "0_labels": np.array([1, 5]),
    # right: the corner's background, the object, the bottle in the last pixel; wrong: an aeroplane at the top right;
    # and a car, which is no tag of this image and must be dropped
    "0_cues": np.array([[0, 1, 5, 1, 7], [0, 6, 40, 0, 20], [0, 8, 40, 40, 20]]),
    "1_labels": np.array([2, 5]),
    "1_cues": np.array([[0, 2], [0, 40], [0, 0]]),  # background, right; a bicycle at the bottom left, wrong
    "3_labels": np.array([4, 5]),
    "3_cues": np.zeros((3, 0), np.int64),  # known, but without a cell; of image 2 the file says nothing
    "4_labels": np.array([5]),
    "4_cues": np.array([[5], [0], [0]]),  # a validation image, which nothing is learnt from
}
TAGS = [{1, 5}, {2, 5}, {3, 5}, {4, 5}]  # of TRAIN_AUG


def cued_work(folder: Path, content: dict = CUES, **data) -> Work:
    """A work directory of six prepared photographs with published cues, and a preset of a few steps."""
    sources = folder / "sources"
    if not sources.exists():
        voc_tree.build(sources)
    (sources / "input_list.txt").write_text(LIST)
    (sources / "localization_cues.pickle").write_bytes(pickle.dumps(content, 2))
    tiny = load_preset(TINY)
    preset = replace(
        tiny,
        data=replace(DATA, **data),
        network=replace(tiny.network, weights="random"),
        training=replace(tiny.training, crop=16, longest_side=16),
        proxy=replace(tiny.proxy, method="cues", steps=4, batch=2),
    )
    prepare(preset.data, folder / "work" / "data" / "mini", Sources(sources), lambda *_: lambda done, of: None)
    return Work(folder / "work", preset, "fp32", cues_file=sources / "localization_cues.pickle")


def pipeline_of(work: Work) -> Pipeline:
    return Pipeline(work, CPU, SimpleNamespace(stage=lambda *_, **__: lambda done, of: None))


def made(work: Work) -> Path:
    """Make proxy set 1 and all that it needs; returns its folder."""
    pipeline_of(work).make(work.needed(work.proxies(1)))
    return work.proxies(1).folder


def report_of(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def cued(tmp_path_factory) -> Work:
    """A work directory in which the proxies were made from cues (read only)."""
    work = cued_work(tmp_path_factory.mktemp("cued"))
    made(work)
    return work


def test_masks_from_cues_hold_background_and_tags_at_the_size_of_the_image(cued):
    folder = cued.proxies(1).folder
    assert folder.name.startswith("cues-1-")
    assert sorted(path.stem for path in folder.glob("*.png")) == TRAIN_AUG
    found = [mask_of(folder, image_id) for image_id in TRAIN_AUG]
    assert [mask.shape for mask in found] == SIZES[:4]  # the network sees pictures of at most 16 pixels a side
    values = [set(np.unique(mask).tolist()) for mask in found]
    assert all(seen <= {0} | tags for seen, tags in zip(values, TAGS, strict=True))
    assert set().union(*values) - {0}  # empty masks would pass as well


def test_the_report_counts_what_the_cues_lack(cued):
    report = report_of(cued.proxies(1).folder)
    found = report["cues"]
    assert found["file"] == "localization_cues.pickle"
    assert found["images_with_a_tag_without_a_cue"] == 3  # image 1 has no cue of its bottle, images 2 and 3 have none
    assert found["images_unknown_to_the_cues"] == 1
    assert (found["images"], found["images_without_cue"]) == (4, 50.0)
    assert report["images"] == 4 and "never read by training" in report["scored_on"]


def test_the_report_says_how_good_the_cues_are(cued):
    found = report_of(cued.proxies(1).folder)["cues"]
    precision, by_class = found["precision"], found["precision"]["by_class"]
    assert precision["all"] == pytest.approx(100 * 4 / 6, abs=0.006)
    assert list(by_class) == list(CLASSES)
    rated = {name: value for name, value in by_class.items() if value is not None}
    assert rated == {"background": 100, "aeroplane": 50, "bicycle": 0, "bottle": 100}
    cells = 4 * 41 * 41 / 100
    assert found["coverage"] == {
        "all": pytest.approx(6 / cells, abs=0.006),
        "foreground": pytest.approx(4 / cells, abs=0.006),
        "background": pytest.approx(2 / cells, abs=0.006),
    }


def test_cues_of_a_preset_of_fewer_classes_are_renumbered_and_others_dropped(tmp_path):
    work = cued_work(tmp_path, classes=("bottle", "aeroplane"), num_classes=3)
    report = report_of(made(work))
    assert list(report["iou"]) == ["background", "bottle", "aeroplane"]
    by_class = {"background": 100, "bottle": 100, "aeroplane": 50}
    assert report["cues"]["precision"] == {"all": 80, "by_class": by_class}  # the bicycle's cell is gone
    # Image 0 has cues of all its tags; without bicycles, birds and boats the others lack the bottle's.
    assert report["cues"]["images_with_a_tag_without_a_cue"] == 3


def test_proxies_from_cues_are_the_same_when_they_are_made_again(cued, tmp_path):
    again = cued_work(tmp_path)
    assert again.proxies(1).id == cued.proxies(1).id
    made(again)
    first, second = (json.loads(work.proxies(1).record.read_text()) for work in (cued, again))
    assert first["masks_sha256"] == second["masks_sha256"]
    assert first["training"]["weights_sha256"] == second["training"]["weights_sha256"]


def test_other_cues_are_other_proxies(cued, tmp_path):
    other = cued_work(tmp_path, {**CUES, "1_cues": np.array([[2], [40], [0]])})
    assert other.proxies(1).id != cued.proxies(1).id


def test_true_masks_are_not_read_before_the_proxies_are_written(tmp_path, monkeypatch):
    work = cued_work(tmp_path)
    pipeline, folder = pipeline_of(work), work.proxies(1).folder
    pipeline.__dict__["store"] = replace(pipeline.store, masks=None)  # whoever looks at them fails
    written, mask = [], DataSet.mask

    def watched(data: DataSet, *arguments) -> np.ndarray:
        written.append(len(list(folder.glob("*.png"))))
        return mask(data, *arguments)

    monkeypatch.setattr(DataSet, "mask", watched)
    pipeline.make(work.needed(work.proxies(1)))
    assert written and set(written) == {4}


def test_true_masks_change_the_report_alone(cued, tmp_path):
    work = cued_work(tmp_path)
    pipeline, artefact = pipeline_of(work), work.proxies(1)
    for image_id, size in zip(TRAIN_AUG, SIZES, strict=False):  # after the audit, which would notice
        voc_tree.save_mask(voc_tree.prepared_mask(pipeline.data.root, image_id), np.zeros(size))
    pipeline.make(work.needed(artefact))
    first, second = (json.loads(one.proxies(1).record.read_text()) for one in (cued, work))
    assert first["masks_sha256"] == second["masks_sha256"]
    precision = report_of(artefact.folder)["cues"]["precision"]["all"]
    assert precision == pytest.approx(100 * 2 / 6, abs=0.006)  # only the two cells of background are right now


@pytest.mark.parametrize(
    "content",
    [{}, {"4_cues": CUES["4_cues"]}, {"0_cues": np.array([[7], [3], [3]])}, {"0_cues": np.array([[0], [3], [3]])}],
    ids=["nothing", "of other images", "of no tag", "of background alone"],
)
def test_without_cues_for_any_object_of_a_training_image_nothing_is_trained(tmp_path, content):
    work = cued_work(tmp_path, content)
    with pytest.raises(BadInput) as caught:
        made(work)
    message = str(caught.value)
    assert f"{work.cues_file} has no cues for any of the 4 training images" in message and "\n" not in message
    assert {path.name for path in work.proxies(1).folder.iterdir()} == {"inputs.json"}


def test_cues_without_their_list_name_it_and_the_command(tmp_path):
    work = cued_work(tmp_path)
    work.cues_file.with_name("input_list.txt").unlink()
    with pytest.raises(MissingArtefact, match=r"input_list\.txt is missing; .*swdb make-proxy .*--cues FILE"):
        made(work)


def test_masks_for_a_look_are_made_by_the_network_that_learnt_from_the_cues(cued, monkeypatch):
    pipeline, seen, real = pipeline_of(cued), [], proxies.probabilities
    monkeypatch.setattr(
        proxies, "probabilities", lambda net, shown, *how: seen.append(tuple(shown.shape[2:])) or real(net, shown, *how)
    )
    found = proxies_of(cued, pipeline.data, [*TRAIN_AUG, *VAL], CPU)
    for image_id in TRAIN_AUG:
        np.testing.assert_array_equal(found[image_id], mask_of(cued.proxies(1).folder, image_id))
    assert [found[image_id].shape for image_id in VAL] == SIZES[4:]
    assert set(np.unique(found[VAL[0]]).tolist()) <= {0, 5}
    assert seen == [(16, 13), (8, 16), (16, 16), (9, 7), (13, 16), (10, 10)]  # shrunk to 16 pixels, as for training
