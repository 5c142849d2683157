"""Proxy masks: made image by image by DSRG's networks and a CRF, never by looking at true masks; passports afterwards."""

import csv
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cued
import numpy as np
import pytest
import torch
import voc_tree
from conftest import TINY
from PIL import Image
from slow import enlarged
from voc_tree import SIZES, TRAIN_AUG, VAL

from swdb.core.errors import MissingArtefact
from swdb.data.dataset import DataSet
from swdb.nn.compute import machine
from swdb.nn.dense_crf import energy_of, refine
from swdb.nn.networks import small
from swdb.proxy import masks
from swdb.proxy.dsrg import DsrgNetwork
from swdb.proxy.masks import proxies_of
from swdb.specs.crf_parameters import crf_set
from swdb.specs.presets import load_preset
from swdb.study.runner import Pipeline
from swdb.study.workdir import open_work

NUM_TRAIN, NUM_CLASSES = 32, 6  # as in tiny.toml
CPU = machine("cpu", "fp32")
BOTH = pytest.mark.parametrize("number", [1, 2])


def opened(folder, quiet, **dsrg):
    """The tiny work directory, and a pipeline on it."""
    work = open_work(folder, TINY, "fp32")
    if dsrg:
        work = replace(work, preset=replace(work.preset, dsrg=replace(work.preset.dsrg, **dsrg)))
    return work, Pipeline(work, CPU, SimpleNamespace(stage=lambda *_, **__: quiet, tell=str))


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


def picture_of(work, image_id):
    path = work.data_root / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{image_id}.jpg"
    return torch.from_numpy(np.array(Image.open(path).convert("RGB")))


def network_of(work, number):
    network = DsrgNetwork(small(), load_preset(TINY).dsrg, NUM_CLASSES).eval()
    network.load_state_dict(torch.load(work.proxies(number).folder / "weights.pt", weights_only=True))
    return network


def resized(values, height, width, align_corners):
    return torch.nn.functional.interpolate(values, (height, width), mode="bilinear", align_corners=align_corners)


@BOTH
def test_there_is_a_palette_png_of_the_images_size_for_every_training_image(finished, quiet, number):
    work, _ = opened(finished, quiet)
    folder = work.proxies(number).folder
    assert folder.name.startswith(f"dsrg-{number}-")
    assert sorted(path.stem for path in folder.glob("*.png")) == sorted(tags_of(work))
    for image_id in tags_of(work):
        picture = Image.open(folder / f"{image_id}.png")
        assert picture.mode == "P"
        assert picture.size == (32, 32)
        assert picture.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]  # VOC's first four colours


def test_set_1_is_the_sum_over_squares_then_the_crf_on_minus_log_p(finished, quiet):
    work, _ = opened(finished, quiet)
    network, different = network_of(work, 1), 0
    for image_id in tags_of(work):
        image = picture_of(work, image_id)
        total = 0
        for side in (24, 32):
            square = resized(image.permute(2, 0, 1)[None].float(), side, side, True)
            with torch.no_grad():
                cells = network((square - 127.5) / 64)
            total = total + resized(enlarged(cells, network.backbone)[..., :side, :side], 32, 32, True)
        crf = crf_set("dsrg").scaled(32 / 500)
        refined = refine(energy_of(total.softmax(1)), image[None], crf)[0]
        different += (refined.argmax(0).numpy() != mask_of(work.proxies(1).folder, image_id)).sum()
    assert different <= 30  # of 32,768 pixels: where two classes are near, the last digit decides


def test_set_2_is_the_retrained_network_at_scales_of_the_pictures_own_aspect(finished, quiet):
    work, _ = opened(finished, quiet)
    network, different = network_of(work, 2), 0
    for image_id in tags_of(work):
        image = picture_of(work, image_id)
        total = 0
        for side in (24, 32, 40):
            scaled = (image.permute(2, 0, 1)[None].float() - 127.5) / 64
            with torch.no_grad():
                cells = network(scaled if side == 32 else resized(scaled, side, side, False))
            grown = enlarged(cells, network.backbone)
            total = total + (grown if side == 32 else resized(grown, 32, 32, False))
        refined = refine(energy_of(total.softmax(1)), image[None], crf_set("dsrg").scaled(32 / 500))[0]
        different += (refined.argmax(0).numpy() != mask_of(work.proxies(2).folder, image_id)).sum()
    assert different <= 30


def test_the_retrain_round_goes_on_from_the_first_rounds_weights(finished, quiet):
    work, _ = opened(finished, quiet)
    first, second = network_of(work, 1).state_dict(), network_of(work, 2).state_dict()
    change = max((first[name] - second[name]).abs().max().item() for name in first)
    assert 0 < change < 4 * 2 * 2e-3 * 4  # four steps of Adam at twice the rate move no weight further


def test_masks_are_not_restricted_to_the_tags_unless_asked(finished, copied, quiet):
    work, _ = opened(finished, quiet)
    folder = work.proxies(1).folder
    beyond = [set(np.unique(mask_of(folder, k)).tolist()) - {0} - tags for k, tags in tags_of(work).items()]
    assert any(beyond)  # the official run has no filter
    work, pipeline = opened(copied, quiet, tags_only=True)
    pipeline.make(work.needed(work.proxies(1)))
    assert work.proxies(1).folder != folder
    seen = 0
    for image_id, tags in tags_of(work).items():
        values = set(np.unique(mask_of(work.proxies(1).folder, image_id)).tolist())
        assert values <= {0} | tags, image_id
        seen += len(values - {0})
    assert seen > 0  # empty masks would pass as well


@BOTH
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


def test_batches_hold_pictures_of_one_size_and_are_the_same_whatever_is_done():
    sizes = torch.tensor([[300, 400], [400, 300], [300, 400], [20, 20], [300, 400], [300, 400]])
    assert list(masks._same_size(sizes)) == [
        ([0, 2, 4], (300, 400)), ([5], (300, 400)), ([1], (400, 300)), ([3], (20, 20)),
    ]  # fmt: skip


def test_a_finished_set_is_left_alone(copied, quiet):
    work, pipeline = opened(copied, quiet)
    artefact = work.proxies(1)
    before = {path: path.stat().st_mtime_ns for path in artefact.folder.iterdir()}
    pipeline.make([artefact])
    assert {path: path.stat().st_mtime_ns for path in artefact.folder.iterdir()} == before


def test_masks_of_set_1_that_were_changed_do_not_train_set_2(copied, quiet):
    work, pipeline = opened(copied, quiet)
    first, second = work.proxies(1), work.proxies(2)
    shutil.rmtree(second.folder)
    (first.folder / "masks.npy").unlink(missing_ok=True)
    path = next(first.folder.glob("*.png"))
    path.write_bytes(
        next(p for p in sorted(first.folder.glob("*.png")) if p.read_bytes() != path.read_bytes()).read_bytes()
    )
    with pytest.raises(MissingArtefact, match=r"are not those that were made; run: swdb make-proxy .*--again"):
        pipeline.make([second])


def test_masks_for_a_look_are_made_like_those_for_training(finished, quiet):
    work, pipeline = opened(finished, quiet)
    ids = list(tags_of(work))[:4]
    found = proxies_of(work, pipeline.data, ids, CPU)
    assert list(found) == ids
    for image_id in ids:
        different = (found[image_id] != mask_of(work.proxies(1).folder, image_id)).sum()
        assert different <= 4  # one by one and in batches, the last digit may differ


# ---------------------------------------------------------------- passports


@BOTH
def test_a_passport_says_what_the_set_was_made_from(finished, quiet, number):
    work, _ = opened(finished, quiet)
    artefact = work.proxies(number)
    passport, record = json.loads(artefact.passport.read_text()), json.loads(artefact.record.read_text())
    assert passport["set"] == number and passport["images"] == passport["images_with_true_masks"] == NUM_TRAIN
    assert passport["sources"] == {
        **record["inputs"],
        "weights": work.initial_weights.content_digest(),
        "cues": work.cues.content_digest(),
        "masks": record["masks_sha256"],
    }  # fmt: skip
    assert set(record["inputs"]) == ({"data", "weights", "cues"} if number == 1 else {"data", "proxies"})
    assert passport["settings"]["set 1"]["dsrg"]["grow_foreground"] == 0.85
    assert passport["settings"]["cues"]["threshold"] == 0.4 and passport["settings"][f"set {number}"]["set"] == number
    assert passport["cue_counts"] == json.loads(work.cues.record.read_text())["counts"]
    assert passport["masks"]["miou"] is not None and passport["cues"]["precision"]["all"] is not None
    assert (artefact.folder / "passport.md").read_text().startswith(f"# Passport of the proxy masks {artefact.id}")


def test_a_passport_that_is_missing_is_written_without_making_anything_else(copied, quiet):
    work, pipeline = opened(copied, quiet)
    artefact = work.proxies(1)
    passport = artefact.passport.read_bytes()
    artefact.passport.unlink()
    before = {path: path.stat().st_mtime_ns for path in artefact.folder.iterdir() if "passport" not in path.name}
    pipeline.make([artefact])
    assert artefact.passport.read_bytes() == passport
    now = {path: path.stat().st_mtime_ns for path in artefact.folder.iterdir() if "passport" not in path.name}
    assert now == before


# ---------------------------------------------------------------- true masks, and photographs


def test_true_masks_are_not_read_before_the_set_is_closed(tmp_path, monkeypatch):
    work = cued.work(tmp_path)
    pipeline, artefact = cued.pipeline(work), work.proxies(1)
    pipeline.__dict__["store"] = replace(pipeline.store, masks=None)  # whoever looks at them fails
    closed, mask = [], DataSet.mask

    def watched(data: DataSet, *arguments) -> np.ndarray:
        closed.append(artefact.done)
        return mask(data, *arguments)

    monkeypatch.setattr(DataSet, "mask", watched)
    pipeline.make(work.needed(artefact))
    assert closed and all(closed)


def test_true_masks_change_the_passport_alone(photographs, tmp_path):
    work = cued.work(tmp_path)
    pipeline, artefact = cued.pipeline(work), work.proxies(2)
    for image_id, size in zip(TRAIN_AUG, SIZES, strict=False):  # after the audit, which would notice
        voc_tree.save_mask(voc_tree.prepared_mask(pipeline.data.root, image_id), np.zeros(size))
    pipeline.make(work.needed(artefact))
    for number in (1, 2):
        records = [json.loads(one.proxies(number).record.read_text()) for one in (photographs, work)]
        assert records[0]["masks_sha256"] == records[1]["masks_sha256"]
        passports = [json.loads(one.proxies(number).passport.read_text()) for one in (photographs, work)]
        assert passports[0]["cues"]["precision"] != passports[1]["cues"]["precision"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A work directory of photographs whose proxies were made from published cues (read only)."""
    work = cued.work(tmp_path_factory.mktemp("photographs"))
    cued.pipeline(work).make(work.needed(work.proxies(2)))
    return work


@BOTH
def test_masks_have_the_size_of_the_image_though_networks_see_less(photographs, number):
    folder = photographs.proxies(number).folder
    assert sorted(path.stem for path in folder.glob("*.png")) == TRAIN_AUG
    assert [mask_of(folder, image_id).shape for image_id in TRAIN_AUG] == SIZES[:4]
    found = proxies_of(photographs, cued.pipeline(photographs).data, VAL, CPU)
    assert [found[image_id].shape for image_id in VAL] == SIZES[4:]


def test_proxies_are_the_same_when_they_are_made_again(photographs, tmp_path):
    again = cued.work(tmp_path)
    cued.pipeline(again).make(again.needed(again.proxies(2)))
    for number in (1, 2):
        assert again.proxies(number).id == photographs.proxies(number).id
        first, second = (json.loads(one.proxies(number).record.read_text()) for one in (photographs, again))
        assert first["masks_sha256"] == second["masks_sha256"]
        assert first["training"]["weights_sha256"] == second["training"]["weights_sha256"]
