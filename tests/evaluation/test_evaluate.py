"""Scoring on a validation split made by hand: five images of three sizes, masks known pixel by pixel."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scenes import CLASSES, ODD, SEED, SIZES, STRONG, WEAK, Scene, read, scene_of
from studies import graph_of, runner

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.data.images import palette_png, resize_longest_side
from swdb.evaluation import evaluate as evaluation
from swdb.evaluation.confusion import confusion
from swdb.evaluation.evaluate import confusion_on_device
from swdb.methods.strong_weak import StrongWeakNetwork
from swdb.nn.checkpoints import WEIGHTS
from swdb.nn.networks import Preprocessing
from swdb.specs.crf_parameters import CRF_SETS
from swdb.specs.tables import CellSource
from swdb.specs.tasks import Scoring


@pytest.fixture
def odd(tmp_path) -> Scene:
    return scene_of(ODD, tmp_path)


def refused(scene: Scene) -> SwdbError:
    """Return the error of an evaluation; nothing may be called finished."""
    with pytest.raises(SwdbError) as caught:
        scene.evaluate()
    assert not scene.score(STRONG).done
    return caught.value


# ---------------------------------------------------------------- predictions


def test_predictions_are_palette_pngs_of_the_images_own_size(scene):
    scene.evaluate()
    found = {}
    for path in scene.prediction("a").parent.glob("*.png"):
        with Image.open(path) as prediction:
            found[path.stem] = prediction.size[::-1]
            assert prediction.mode == "P"
            assert prediction.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # VOC's black, maroon, green
    assert found == SIZES


def test_every_image_gets_its_own_prediction(scene):
    # batches are formed by size; an image alone must give what it gave in company
    scene.evaluate()
    for image_id in SIZES:
        alone = scene.run.logits(scene.image(image_id))[0].argmax(0).numpy()
        agreement = (alone == read(scene.prediction(image_id))).mean()
        assert agreement > 0.99, image_id
        assert len(np.unique(alone)) > 1  # a constant would agree with any mix-up


def test_strong_and_weak_branch_of_a_dual_run_predict_by_themselves(scene):
    scene.run.says("strong", 1)
    scene.run.says("weak", 2)
    strong, weak = scene.evaluate(STRONG), scene.evaluate(WEAK)
    assert np.unique(read(scene.prediction("c", STRONG))).tolist() == [1]
    assert np.unique(read(scene.prediction("c", WEAK))).tolist() == [2]
    assert (strong["branch"], weak["branch"]) == ("strong", "weak")
    assert strong["digest"] != weak["digest"]


def test_flip_and_scales_stand_in_the_result(scene):
    result = scene.evaluate(Scoring("strong", (0.5, 1.0), flip=True))
    assert (result["scales"], result["flip"]) == ([0.5, 1.0], True)
    plain = scene.evaluate()
    assert (plain["scales"], plain["flip"]) == ([1.0], False)


def test_a_crf_has_a_folder_of_its_own_and_refines_averaged_probabilities_on_the_whole_image(scene, monkeypatch):
    asked = []
    real = evaluation.refine

    def watched(energy, images, crf, check):
        asked.append((energy, images, crf))
        return real(energy, images, crf, check=check)

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
    np.testing.assert_array_equal(read(scene.prediction(image_id, scoring)), labels)
    np.testing.assert_array_equal(images[0].numpy(), scene.data.image(image_id))


def by_hand(scene: Scene, image_id: str, views) -> np.ndarray:
    """Average softmax over views (scale, mirrored), each computed by itself, and take the best class.

    The stride rounds up; what lies beyond a view's own image is cut off before it is mirrored or resized back.
    """
    image, total = scene.image(image_id), 0
    for scale, mirrored in views:
        seen = F.interpolate(image, scale_factor=scale, mode="bilinear") if scale != 1 else image
        logits = scene.run.logits(torch.flip(seen, [3]) if mirrored else seen)
        logits = torch.flip(logits, [3]) if mirrored else logits
        logits = F.interpolate(logits, size=image.shape[2:], mode="bilinear") if scale != 1 else logits
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
def test_views_of_an_image_that_the_stride_does_not_divide_lie_on_each_other(odd, scoring, views):
    odd.evaluate(scoring)
    for image_id in ODD:
        assert (by_hand(odd, image_id, views) == read(odd.prediction(image_id, scoring))).mean() > 0.99


def test_an_image_that_the_stride_does_not_divide_is_predicted_at_its_size(odd):
    odd.evaluate()
    assert {image_id: read(odd.prediction(image_id)).shape for image_id in ODD} == ODD


# ---------------------------------------------------------------- shrunk images


@pytest.fixture
def seen(scene, monkeypatch) -> list:
    """Heights and widths of the inputs that the network sees."""
    found, features = [], StrongWeakNetwork.features

    def watched(network, inputs):
        found.append(tuple(inputs.shape[2:]))
        return features(network, inputs)

    monkeypatch.setattr(StrongWeakNetwork, "features", watched)
    return found


def test_predictions_from_shrunk_images_have_full_size_and_are_scored_there(scene, seen):
    result = scene.evaluate(longest_side=20)
    assert {image_id: read(scene.prediction(image_id)).shape for image_id in SIZES} == SIZES
    assert set(seen) == {(20, 20), (14, 20), (13, 20)}  # 32x32, 20x28 and 16x24
    miou, ious = slow_score(scene)
    assert result["miou"] == pytest.approx(miou, abs=1e-9) and result["iou"] == pytest.approx(ious, abs=1e-9)


def test_probabilities_of_shrunk_images_are_enlarged_before_the_best_class_is_taken(scene):
    scene.evaluate(longest_side=20)
    for image_id, size in SIZES.items():
        shrunk = torch.from_numpy(resize_longest_side(read(scene.data.image_path(image_id)), 20))
        small = scene.run.logits(shrunk.permute(2, 0, 1)[None].float()).softmax(1)
        wanted = F.interpolate(small, size=size, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
        assert len(np.unique(wanted)) > 1
        assert (wanted == read(scene.prediction(image_id))).mean() > 0.99, image_id


def test_images_that_are_small_enough_are_seen_as_they_are(scene, seen):
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
    with np.load(scene.score(STRONG).folder / "confusion.npz") as saved:
        ids, counts = saved["ids"].tolist(), saved["counts"]
    assert ids == list(SIZES)
    assert counts.dtype == np.int32
    total = counts.sum(0)
    union = total.sum(0) + total.sum(1) - total.diagonal()
    assert result["miou"] == pytest.approx(100 * (total.diagonal()[union > 0] / union[union > 0]).mean(), abs=1e-9)


def test_counts_of_an_image_are_its_pixels_without_void(scene):
    scene.evaluate()
    with np.load(scene.score(STRONG).folder / "confusion.npz") as saved:
        found = dict(zip(saved["ids"].tolist(), saved["counts"].sum((1, 2)).tolist(), strict=True))
    assert found == {image_id: int((read(scene.truth(image_id)) != 255).sum()) for image_id in SIZES}


def test_a_class_that_is_neither_there_nor_predicted_is_null(scene):
    scene.run.says("strong", 1)  # the masks hold 0, 1, 2; so 3, 4, 5 are absent
    result = scene.evaluate()
    assert {name for name, value in result["iou"].items() if value is None} == {"gamma", "delta", "epsilon"}
    on_disk = json.loads(scene.score(STRONG).record.read_text())
    assert on_disk["iou"]["gamma"] is None
    assert (on_disk["iou"]["background"], on_disk["iou"]["beta"]) == (0, 0)


def test_a_constant_prediction_scores_its_share(scene):
    scene.run.says("strong", 1)
    result = scene.evaluate()
    truth = np.concatenate([read(scene.truth(image_id)).ravel() for image_id in SIZES])
    share = 100 * (truth == 1).sum() / (truth != 255).sum()
    assert result["iou"]["alpha"] == pytest.approx(share)
    assert result["miou"] == pytest.approx(share / 3)  # background and beta are there and never hit


def test_a_result_explains_itself(scene):
    result, score = scene.evaluate(), scene.score(STRONG)
    on_disk = json.loads(score.record.read_text())
    assert {name: on_disk[name] for name in result} == result
    assert (on_disk["id"], on_disk["kind"]) == (score.id, "score")
    assert on_disk["inputs"] == {scene.run.artefact.id: scene.run.artefact.digest()}
    assert (result["run"], result["seed"], result["split"]) == (scene.run.artefact.id, SEED, "val")
    assert (result["images"], result["data"]) == (5, "f" * 64)
    assert result["machine"] == {"device": "cpu", "name": f"of dual-s{SEED}"}


def test_progress_ends_at_the_number_of_images(scene):
    scene.evaluate()
    assert scene.total == 5 and scene.told[-1] == (5, 5)
    assert [done for done, _ in scene.told] == sorted({done for done, _ in scene.told})


def test_a_gpu_counts_as_numpy_does():
    rng = np.random.default_rng(0)
    truth = rng.choice(np.array([0, 1, 2, 5, 255], np.uint8), (3, 20, 30))
    prediction = rng.integers(0, 6, (3, 20, 30), np.uint8)
    found = confusion_on_device(torch.from_numpy(truth), torch.from_numpy(prediction), 6)
    assert found.dtype == torch.int64
    wanted = [confusion(one, other, 6) for one, other in zip(truth, prediction, strict=True)]
    np.testing.assert_array_equal(found.numpy(), np.stack(wanted))
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which cannot count beyond 256
        inside = confusion_on_device(torch.from_numpy(truth), torch.from_numpy(prediction), 6)
    assert torch.equal(inside, found)


def test_counts_that_are_known_are_not_read_again(scene, monkeypatch):
    scene.evaluate()
    folder = scene.score(STRONG).folder
    whole = (folder / "confusion.npz").read_bytes()
    with np.load(folder / "confusion.npz") as saved:
        known = dict(zip(saved["ids"].tolist(), saved["counts"], strict=True))
    known.pop("d")
    read_again, real = [], evaluation._count
    monkeypatch.setattr(evaluation, "_count", lambda *given: read_again.append(given[2]) or real(*given))
    evaluation.score(folder, scene.data, known)
    assert read_again == ["d"] and (folder / "confusion.npz").read_bytes() == whole


# ---------------------------------------------------------------- the average of two runs


@pytest.fixture
def two(tmp_path) -> Scene:
    """Two runs of one branch, each with a preprocessing of its own."""
    scene = scene_of(SIZES, tmp_path, ("strong", "mixed"))
    scene.runs[1].preprocessing = Preprocessing("RGB", (100.0, 110.0, 120.0), (50.0, 55.0, 60.0))
    scene.runs[1].save()
    return scene


def test_the_probabilities_of_two_runs_are_averaged(two):
    two.evaluate()
    others, pixels = np.zeros(4), 0
    for image_id in SIZES:
        found = read(two.prediction(image_id))
        logits = torch.stack([run.logits(two.image(image_id))[0] for run in two.runs])
        probabilities = logits.softmax(1)
        assert (probabilities.mean(0).argmax(0).numpy() == found).mean() > 0.99, image_id
        either = [*probabilities, logits.mean(0), probabilities.log().mean(0)]
        others += [(one.argmax(0).numpy() != found).sum() for one in either]
        pixels += found.size
    # one network alone, the mean of logits, and the geometric mean would be seen: they differ by far more than 1 %
    assert (others > 0.03 * pixels).all(), others / pixels


def test_an_average_lies_in_a_folder_of_its_own_and_names_its_runs(two):
    result, score = two.evaluate(), two.score(STRONG)
    first, second = (run.artefact for run in two.runs)
    assert score.name == f"strong-s{SEED}+mixed-s{SEED}-val-strong"
    assert score.folder.parts[-2:] == ("averages", score.id)
    assert sorted(path.stem for path in (score.folder / "predictions").glob("*.png")) == sorted(SIZES)
    assert not any((run.folder / "evals").exists() for run in (first, second))
    assert (result["run"], result["seed"]) == (f"{first.id}+{second.id}", SEED)
    assert result["machine"]["name"] == f"of strong-s{SEED}"
    assert json.loads(score.record.read_text())["inputs"] == {run.id: run.digest() for run in (first, second)}


def test_the_average_of_two_runs_with_one_network_is_that_network(two):
    two.runs[1].network, two.runs[1].preprocessing = two.runs[0].network, two.runs[0].preprocessing
    two.runs[1].save()
    two.evaluate()
    for image_id in SIZES:
        alone = two.run.logits(two.image(image_id))[0].argmax(0).numpy()
        assert (alone == read(two.prediction(image_id))).mean() > 0.99


def test_the_score_of_an_average_is_what_a_slow_loop_over_the_files_gives(two):
    result = two.evaluate()
    miou, ious = slow_score(two)
    assert result["miou"] == pytest.approx(miou, abs=1e-9) and result["iou"] == pytest.approx(ious, abs=1e-9)


# ---------------------------------------------------------------- what a finished run needs to be scored


def test_a_run_is_scored_though_all_that_it_was_made_from_but_the_data_is_gone(finished, tmp_path):
    whole = graph_of(finished).run(graph_of(finished).run_spec("dual"), 0)
    graph = graph_of(tmp_path / "work")
    run = graph.run(graph.run_spec("dual"), 0)
    kept = shutil.ignore_patterns("evals", "training.json", "log.jsonl")
    shutil.copytree(whole.folder, run.folder, ignore=kept)
    shutil.copytree(graph_of(finished).data.folder, graph.data.folder)
    assert not graph.weights.folder.exists() and not graph.proxies(1).folder.exists()
    for branch in run.task.run.branches:
        source = CellSource((run.task.run,), branch)
        score = graph.score(source, 0)
        runner().make([score])
        assert score.read_record()["digest"] == graph_of(finished).score(source, 0).digest()


def test_weights_that_are_not_those_that_were_written_are_not_scored(scene):
    path = scene.run.artefact.folder / WEIGHTS
    with path.open("ab") as stream:
        stream.write(b"x")
    error = refused(scene)
    assert isinstance(error, MissingArtefact) and error.subject == path


# ---------------------------------------------------------------- interrupted, damaged


def test_only_missing_predictions_are_made_again(scene):
    first = scene.evaluate()
    files = {image_id: scene.prediction(image_id) for image_id in SIZES}
    bytes_before = {image_id: path.read_bytes() for image_id, path in files.items()}
    times_before = {image_id: path.stat().st_mtime_ns for image_id, path in files.items()}
    files["b"].unlink()
    files["d"].unlink()
    scene.score(STRONG).record.unlink()

    assert scene.evaluate() == first
    assert {image_id: path.read_bytes() for image_id, path in files.items()} == bytes_before
    assert {k for k, path in files.items() if path.stat().st_mtime_ns != times_before[k]} == {"b", "d"}


def test_a_batch_is_the_same_whatever_was_predicted_before_a_kill(scene, monkeypatch):
    scene.evaluate()
    scene.prediction("b").unlink()
    scene.score(STRONG).record.unlink()
    batches, features = [], StrongWeakNetwork.features

    def watched(network, inputs):
        batches.append(len(inputs))
        return features(network, inputs)

    monkeypatch.setattr(StrongWeakNetwork, "features", watched)
    scene.evaluate()
    assert batches == [2]  # a and b, though a is there


def test_a_truth_of_another_size_is_named_with_both_sizes(scene):
    scene.truth("c").write_bytes(palette_png(np.zeros((19, 28), np.uint8)))
    error = refused(scene)
    assert isinstance(error, BadInput) and error.subject == scene.truth("c")
    assert "28x19" in error.found and "28x20" in error.expected and "c.jpg" in error.expected


def test_a_truth_with_an_unknown_value_is_named(scene):
    scene.truth("d").write_bytes(palette_png(np.full(SIZES["d"], 77, np.uint8)))
    error = refused(scene)
    assert isinstance(error, BadInput) and error.subject == scene.truth("d")
    assert "77" in error.found and error.expected == "0 to 5 and 255"


def test_a_missing_image_is_named_before_anything_is_predicted_and_what_was_predicted_is_kept(scene):
    scene.evaluate()
    scene.score(STRONG).record.unlink()
    scene.prediction("c").unlink()
    scene.data.image_path("e").unlink()
    error = refused(scene)
    assert isinstance(error, MissingArtefact) and error.subject == scene.data.image_path("e")
    assert scene.prediction("a").is_file() and not scene.prediction("c").exists()


def test_a_truncated_image_is_named(scene):
    path = scene.data.image_path("a")
    path.write_bytes(path.read_bytes()[:300])
    error = refused(scene)
    assert isinstance(error, BadInput) and error.subject == path
