"""Scoring on a validation split made by hand: five pictures of three sizes, masks known pixel by pixel."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact
from swdb.data import voc
from swdb.data.dataset import DataSet
from swdb.data.images import palette_png, shrink
from swdb.evaluation import evaluate as evaluation
from swdb.evaluation.evaluate import evaluate
from swdb.methods.strong_weak import StrongWeakNetwork
from swdb.nn.compute import Machine
from swdb.nn.networks import Preprocessing
from swdb.specs.crf_parameters import CRF_SETS
from swdb.specs.presets import load_preset
from swdb.study.plan import Artefact, Scoring, Work

CLASSES = ["background", "alpha", "beta", "gamma", "delta", "epsilon"]
SIZES = {"a": (32, 32), "b": (32, 32), "c": (20, 28), "d": (16, 24), "e": (32, 32)}  # height, width
ODD = {"a": (21, 30), "b": (17, 31)}  # no multiples of the backbone's stride
CPU = Machine(torch.device("cpu"), "fp32")
LOOK = Preprocessing()
STRONG, WEAK = Scoring("strong"), Scoring("weak")


@dataclass
class Scene:
    """All that an evaluation needs."""

    data: DataSet
    artefact: Artefact
    network: StrongWeakNetwork

    def evaluate(self, scoring: Scoring = STRONG, longest_side: int = 0) -> dict:
        return evaluate(self.artefact, scoring, self.data, self.network, LOOK, CPU, lambda done, of: None, longest_side)

    def prediction(self, image_id: str, scoring: Scoring = STRONG) -> Path:
        return scoring.folder(self.artefact) / "predictions" / f"{image_id}.png"

    def truth(self, image_id: str) -> Path:
        return voc.mask_path(self.data.root, image_id, "val")


@pytest.fixture
def scene(tmp_path) -> Scene:
    return scene_of(SIZES, tmp_path)


@pytest.fixture
def odd(tmp_path) -> Scene:
    return scene_of(ODD, tmp_path)


def scene_of(sizes: dict, tmp_path: Path) -> Scene:
    preset = load_preset(TINY)
    root = tmp_path / "data"
    for path in (voc.image_path(root, ""), voc.mask_path(root, "", "val"), voc.split_path(root, "val")):
        path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for image_id, size in sizes.items():
        small = rng.integers(0, 256, (5, 5, 3), np.uint8)
        Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).save(voc.image_path(root, image_id))
        mask = rng.choice(np.array([0, 1, 2, 255], np.uint8), size, p=[0.5, 0.2, 0.2, 0.1])
        voc.mask_path(root, image_id, "val").write_bytes(palette_png(mask))
    voc.split_path(root, "val").write_text("\n".join(sizes) + "\n")
    work = Work(tmp_path / "work", preset, "fp32")
    artefact = work.run(work.recipe("dual"), 3)
    artefact.folder.mkdir(parents=True)
    artefact.record.write_text(json.dumps({"machine": {"device": "cpu"}}))
    torch.manual_seed(1)
    network = StrongWeakNetwork(preset.network, 6, 3, dual=True)
    with torch.no_grad():  # so that an untrained network says different things at different places
        for head in network.heads.values():
            head[-1].weight.normal_(std=3.0)
    manifest = {"classes": CLASSES, "tree_root": "f" * 64, "counts": {"val": len(sizes)}}
    return Scene(DataSet(root, preset.data, manifest), artefact, network.eval())


def says(network: StrongWeakNetwork, branch: str, label: int) -> None:
    """Let a branch predict one class everywhere."""
    last = network.heads[branch][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.nn.functional.one_hot(torch.tensor(label), 6).float())


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


# ---------------------------------------------------------------- predictions


def test_predictions_are_palette_pngs_of_the_pictures_own_size(scene):
    scene.evaluate()
    found = {}
    for path in scene.prediction("a").parent.glob("*.png"):
        with Image.open(path) as picture:
            found[path.stem] = picture.size[::-1]
            assert picture.mode == "P"
            assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # VOC's black, maroon, green
    assert found == SIZES


def test_every_picture_gets_its_own_prediction(scene):
    # batches are formed by size; a picture alone must give what it gave in company
    scene.evaluate()
    for image_id in SIZES:
        image = torch.from_numpy(np.array(Image.open(voc.image_path(scene.data.root, image_id)))).permute(2, 0, 1)
        with torch.no_grad():
            features = scene.network.features((image[None].float() - 127.5) / 64)
            alone = scene.network.logits(features, "strong")[0].argmax(0).numpy()
        height, width = SIZES[image_id]
        agreement = (alone[:height, :width] == read(scene.prediction(image_id))).mean()
        assert agreement > 0.99, image_id
        assert len(np.unique(alone)) > 1  # a constant would agree with any mix-up


def test_strong_and_weak_branch_of_a_dual_run_predict_by_themselves(scene):
    says(scene.network, "strong", 1)
    says(scene.network, "weak", 2)
    strong, weak = scene.evaluate(STRONG), scene.evaluate(WEAK)
    assert np.unique(read(scene.prediction("c", STRONG))).tolist() == [1]
    assert np.unique(read(scene.prediction("c", WEAK))).tolist() == [2]
    assert (strong["branch"], weak["branch"]) == ("strong", "weak")


def test_flip_and_scales_have_folders_of_their_own(scene):
    scorings = [STRONG, WEAK, Scoring("strong", flip=True), Scoring("strong", (0.75, 1.0, 1.25)),
                Scoring("strong", (0.75, 1.0, 1.25), flip=True)]  # fmt: skip
    folders = [scoring.folder(scene.artefact).name for scoring in scorings]
    assert folders == [
        "val-strong",
        "val-weak",
        "val-strong-flip",
        "val-strong-0.75-1-1.25",
        "val-strong-0.75-1-1.25-flip",
    ]


def test_flip_and_scales_stand_in_the_result(scene):
    result = scene.evaluate(Scoring("strong", (0.5, 1.0), flip=True))
    assert (result["scales"], result["flip"]) == ([0.5, 1.0], True)
    plain = scene.evaluate()
    assert (plain["scales"], plain["flip"]) == ([1.0], False)


def test_a_crf_has_a_folder_of_its_own_and_refines_averaged_scores_on_the_whole_picture(scene, monkeypatch):
    asked = []
    real = evaluation.refine

    def watched(energy, images, crf):
        asked.append((energy, images, crf))
        return real(energy, images, crf)

    monkeypatch.setattr(evaluation, "refine", watched)
    scoring = Scoring("strong", crf="irn-labels")
    result = scene.evaluate(scoring)
    assert scoring.name == "val-strong-crf-irn-labels" and result["crf"] == "irn-labels"
    assert scene.evaluate(STRONG)["crf"] is None and STRONG.name == "val-strong"
    assert all(crf == CRF_SETS["irn-labels"] for _, _, crf in asked)
    assert sorted(tuple(images.shape[1:3]) for _, images, _ in asked for _ in images) == sorted(SIZES.values())
    energy, images, crf = asked[0]
    image_id = next(iter(SIZES))
    labels = real(energy, images, crf).argmax(1)[0].numpy()
    np.testing.assert_array_equal(read(scoring.folder(scene.artefact) / "predictions" / f"{image_id}.png"), labels)
    np.testing.assert_array_equal(images[0].numpy(), scene.data.image(image_id))


def by_hand(scene: Scene, image_id: str, views) -> np.ndarray:
    """Average softmax over views (scale, mirrored), each computed by itself, and take the best class.

    The stride rounds up; what lies beyond a view's own picture is cut off before it is mirrored or resized back.
    """
    image = torch.from_numpy(np.array(Image.open(voc.image_path(scene.data.root, image_id)))).permute(2, 0, 1)[None]
    picture, total = (image.float() - 127.5) / 64, 0
    for scale, mirrored in views:
        seen = F.interpolate(picture, scale_factor=scale, mode="bilinear") if scale != 1 else picture
        seen = torch.flip(seen, [3]) if mirrored else seen
        with torch.no_grad():
            logits = scene.network.logits(scene.network.features(seen), "strong")[..., : seen.shape[2], : seen.shape[3]]
        logits = torch.flip(logits, [3]) if mirrored else logits
        logits = F.interpolate(logits, size=picture.shape[2:], mode="bilinear") if scale != 1 else logits
        total = total + logits.softmax(1)
    return total[0].argmax(0).numpy()


VIEWS = pytest.mark.parametrize(
    ("scoring", "views"),
    [
        (Scoring("strong", flip=True), [(1, False), (1, True)]),
        (Scoring("strong", (0.5, 1.0)), [(0.5, False), (1, False)]),
    ],
    ids=["flip", "scales"],
)


@VIEWS
def test_views_are_averaged(scene, scoring, views):
    scene.evaluate(scoring)
    scene.evaluate()
    averaged, plain = read(scene.prediction("a", scoring)), read(scene.prediction("a"))
    assert (by_hand(scene, "a", views) == averaged).mean() > 0.99
    assert (averaged != plain).mean() > 0.01  # otherwise the views would prove nothing


@VIEWS
def test_views_of_a_picture_that_the_stride_does_not_divide_lie_on_each_other(odd, scoring, views):
    odd.evaluate(scoring)
    for image_id in ODD:
        assert (by_hand(odd, image_id, views) == read(odd.prediction(image_id, scoring))).mean() > 0.99


def test_a_picture_that_the_stride_does_not_divide_is_predicted_at_its_size(odd):
    odd.evaluate()
    assert {image_id: read(odd.prediction(image_id)).shape for image_id in ODD} == ODD


# ---------------------------------------------------------------- shrunk pictures


@pytest.fixture
def seen(scene, monkeypatch) -> list:
    """Heights and widths of the pictures that the network sees."""
    found, features = [], scene.network.features
    monkeypatch.setattr(
        scene.network, "features", lambda pictures: found.append(tuple(pictures.shape[2:])) or features(pictures)
    )
    return found


def test_predictions_from_shrunk_pictures_have_full_size_and_are_scored_there(scene, seen):
    result = scene.evaluate(longest_side=20)
    assert {image_id: read(scene.prediction(image_id)).shape for image_id in SIZES} == SIZES
    assert set(seen) == {(20, 20), (14, 20), (13, 20)}  # 32x32, 20x28 and 16x24
    miou, ious = slow_score(scene)
    assert result["miou"] == pytest.approx(miou, abs=1e-9) and result["iou"] == pytest.approx(ious, abs=1e-9)


def test_scores_of_shrunk_pictures_are_enlarged_before_the_best_class_is_taken(scene):
    scene.evaluate(longest_side=20)
    for image_id, size in SIZES.items():
        image = torch.from_numpy(shrink(read(voc.image_path(scene.data.root, image_id)), 20)).permute(2, 0, 1)
        with torch.no_grad():
            features = scene.network.features((image[None].float() - 127.5) / 64)
            small = scene.network.logits(features, "strong")[..., : image.shape[1], : image.shape[2]].softmax(1)
        wanted = F.interpolate(small, size=size, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
        assert len(np.unique(wanted)) > 1
        assert (wanted == read(scene.prediction(image_id))).mean() > 0.99, image_id


def test_pictures_that_are_small_enough_are_seen_as_they_are(scene, seen):
    plain = scene.evaluate()
    before = {image_id: scene.prediction(image_id).read_bytes() for image_id in SIZES}
    for image_id in SIZES:
        scene.prediction(image_id).unlink()
    assert scene.evaluate(longest_side=32) == plain
    assert {image_id: scene.prediction(image_id).read_bytes() for image_id in SIZES} == before
    assert set(seen) == set(SIZES.values())


# ---------------------------------------------------------------- the score


def slow_score(scene: Scene) -> tuple[float, dict]:
    """Count every pixel of the files with plain loops."""
    hits, truths, predicted = [0] * 6, [0] * 6, [0] * 6
    pixels = 0
    for image_id in SIZES:
        for true, said in zip(read(scene.truth(image_id)).flat, read(scene.prediction(image_id)).flat, strict=True):
            if true != 255:
                pixels += 1
                truths[true] += 1
                predicted[said] += 1
                hits[true] += int(true == said)
    assert pixels > 3000
    unions = [t + p - h for t, p, h in zip(truths, predicted, hits, strict=True)]
    ious = {name: 100 * h / u if u else None for name, h, u in zip(CLASSES, hits, unions, strict=True)}
    shown = [value for value in ious.values() if value is not None]
    return sum(shown) / len(shown), ious


def test_the_score_is_what_a_slow_loop_over_the_files_gives(scene):
    result = scene.evaluate()
    miou, ious = slow_score(scene)
    assert result["miou"] == pytest.approx(miou, abs=1e-9)
    assert result["iou"] == pytest.approx(ious, abs=1e-9)


def test_counts_of_all_images_add_up_to_the_score(scene):
    result = scene.evaluate()
    with np.load(STRONG.folder(scene.artefact) / "confusion.npz") as saved:
        ids, counts = saved["ids"].tolist(), saved["counts"]
    assert ids == list(SIZES)
    assert counts.dtype == np.int32
    total = counts.sum(0)
    union = total.sum(0) + total.sum(1) - total.diagonal()
    assert result["miou"] == pytest.approx(100 * (total.diagonal()[union > 0] / union[union > 0]).mean(), abs=1e-9)


def test_counts_of_an_image_are_its_pixels_without_void(scene):
    scene.evaluate()
    with np.load(STRONG.folder(scene.artefact) / "confusion.npz") as saved:
        found = dict(zip(saved["ids"].tolist(), saved["counts"].sum((1, 2)).tolist(), strict=True))
    assert found == {image_id: int((read(scene.truth(image_id)) != 255).sum()) for image_id in SIZES}


def test_a_class_that_is_neither_there_nor_predicted_is_null(scene):
    says(scene.network, "strong", 1)  # the masks hold 0, 1, 2; so 3, 4, 5 are absent
    result = scene.evaluate()
    assert {name for name, value in result["iou"].items() if value is None} == {"gamma", "delta", "epsilon"}
    on_disk = json.loads((STRONG.folder(scene.artefact) / "result.json").read_text())
    assert on_disk["iou"]["gamma"] is None
    assert (on_disk["iou"]["background"], on_disk["iou"]["beta"]) == (0, 0)


def test_a_constant_prediction_scores_its_share(scene):
    says(scene.network, "strong", 1)
    result = scene.evaluate()
    truth = np.concatenate([read(scene.truth(image_id)).ravel() for image_id in SIZES])
    share = 100 * (truth == 1).sum() / (truth != 255).sum()
    assert result["iou"]["alpha"] == pytest.approx(share)
    assert result["miou"] == pytest.approx(share / 3)  # background and beta are there and never hit


def test_a_result_explains_itself(scene):
    result = scene.evaluate()
    assert result == json.loads((STRONG.folder(scene.artefact) / "result.json").read_text())
    assert (result["run"], result["seed"], result["split"]) == (scene.artefact.id, 3, "val")
    assert (result["images"], result["data"], result["machine"]) == (5, "f" * 64, {"device": "cpu"})


def test_progress_ends_at_the_number_of_images(scene):
    seen = []
    evaluate(scene.artefact, STRONG, scene.data, scene.network, LOOK, CPU, lambda *at: seen.append(at))
    assert seen[-1] == (5, 5)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


# ---------------------------------------------------------------- interrupted, damaged


def test_only_missing_predictions_are_made_again(scene):
    first = scene.evaluate()
    files = {image_id: scene.prediction(image_id) for image_id in SIZES}
    bytes_before = {image_id: path.read_bytes() for image_id, path in files.items()}
    times_before = {image_id: path.stat().st_mtime_ns for image_id, path in files.items()}
    files["b"].unlink()
    files["d"].unlink()
    (STRONG.folder(scene.artefact) / "result.json").unlink()

    assert scene.evaluate() == first
    assert {image_id: path.read_bytes() for image_id, path in files.items()} == bytes_before
    assert {k for k, path in files.items() if path.stat().st_mtime_ns != times_before[k]} == {"b", "d"}


def test_a_truth_of_another_size_is_named_with_both_sizes(scene):
    scene.truth("c").write_bytes(palette_png(np.zeros((19, 28), np.uint8)))
    with pytest.raises(
        BadInput, match=r"SegmentationClass/c\.png is 28x19, its image .*is 28x20;.*prepare-voc --again"
    ):
        scene.evaluate()
    assert not (STRONG.folder(scene.artefact) / "result.json").exists()


def test_a_truth_with_an_unknown_value_is_named(scene):
    scene.truth("d").write_bytes(palette_png(np.full(SIZES["d"], 77, np.uint8)))
    with pytest.raises(BadInput, match=r"SegmentationClass/d\.png has the value 77, expected 0 to 5 and 255"):
        scene.evaluate()


def test_a_missing_picture_is_named_and_other_predictions_are_kept(scene):
    voc.image_path(scene.data.root, "e").unlink()
    with pytest.raises(MissingArtefact, match=r"JPEGImages/e\.jpg is missing"):
        scene.evaluate()
    assert scene.prediction("c").is_file()


def test_a_truncated_picture_is_named(scene):
    path = voc.image_path(scene.data.root, "a")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(BadInput, match=r"JPEGImages/a\.jpg cannot be read as an image"):
        scene.evaluate()
