"""The laboratory: each number is the one that a score of its own gives, each view is looked at once, a kill costs a part."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scenes import SIZES, STRONG, Scene, read, scene_of
from studies import graph_of

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.data.facts import VAL_SPLIT
from swdb.evaluation.choices import choices_of
from swdb.evaluation.confusion import confusion, miou
from swdb.evaluation.definitions import DEFINITIONS
from swdb.evaluation.lab import Bench, examine
from swdb.evaluation.stages import LabStage
from swdb.methods.strong_weak import StrongWeakNetwork
from swdb.specs.tasks import Scoring

MANY = {
    f"{name}{k}": size for k in range(4) for name, size in SIZES.items()
}  # 20 images: three parts, two batches of 16


def planned(scene: Scene, scoring: Scoring = STRONG, longest_side: int = 0) -> Artefact:
    graph = graph_of(scene.data.root.parents[1])
    score = scene.score(scoring)
    score = replace(score, task=replace(score.task, longest_side=longest_side))
    scene.evaluate(scoring, longest_side)
    artefact = LabStage().artefact(graph.study, graph.data, scene.run.artefact, score, 72.2)
    task = replace(artefact.task, longest_side=longest_side, crop=16)
    return replace(artefact, task=task)


def looked_at(scene: Scene, artefact: Artefact) -> dict:
    return artefact.finish(examine(artefact, scene))


@pytest.fixture
def many(tmp_path) -> Scene:
    return scene_of(MANY, tmp_path)


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("longest_side", [0, 20])
def test_every_choice_gives_what_a_score_of_its_own_gives_and_ours_is_the_stored_score(scene, longest_side):
    artefact = planned(scene, longest_side=longest_side)
    record = looked_at(scene, artefact)
    stored = scene.score(STRONG).read_record()["miou"]
    assert record["miou"] == record["recomputed"] == record["definitions"][0]["miou"] == stored
    found = {one["key"]: one["miou"] for one in record["choices"]}
    scored = [one for one in choices_of(artefact.task, scene.run.artefact.task.run) if one.geometry is None][1:]
    assert len(scored) > 14
    expected = {one.key: scene.evaluate(one.scoring, longest_side)["miou"] for one in scored}
    assert {key: found[key] for key in expected} == expected
    assert len(set(expected.values())) > 8  # they differ: else equality would say nothing


def test_ours_is_whatever_was_asked_for(scene):
    scoring = Scoring("weak", (0.75, 1.0), True)
    artefact = planned(scene, scoring)
    record = looked_at(scene, artefact)
    assert artefact.record.name == "lab-weak-0.75-1-flip.json"
    assert record["recomputed"] == record["miou"] == scene.score(scoring).read_record()["miou"]
    assert record["branch"] == "weak"
    found = {one["key"]: one["miou"] for one in record["choices"]}
    assert found["strong-0.75-1-flip"] == scene.evaluate(replace(scoring, branch="strong"))["miou"]


def test_definitions_are_of_the_stored_predictions_void_included(scene):
    record = looked_at(scene, planned(scene))
    counts, void = [], []
    for image_id in SIZES:
        truth, said = read(scene.truth(image_id)), read(scene.prediction(image_id))
        counts.append(confusion(truth, said, 6))
        void.append(np.bincount(said[truth == 255], minlength=6))
    assert np.sum(void) > 100
    expected = {one.key: one.score(np.stack(counts), np.stack(void)) for one in DEFINITIONS}
    assert {one["key"]: one["miou"] for one in record["definitions"]} == expected


def by_hand(scene: Scene, arrange) -> float:
    """Count what the network says of images that are cut or padded by plain indexing."""
    total = np.zeros((6, 6), np.int64)
    for image_id in SIZES:
        image, truth = scene.image(image_id), read(scene.truth(image_id))
        labels, where = arrange(image, lambda shown: scene.run.logits(shown)[0].argmax(0).numpy())
        total += confusion(truth[where], labels, 6)
    return miou(total)


def test_a_centre_crop_is_what_the_network_says_of_the_crop_alone(scene):
    record = looked_at(scene, planned(scene))
    found = {one["key"]: one["miou"] for one in record["choices"]}

    def cropped(image, say):
        top, left = (max(0, round((length - 16) / 2)) for length in image.shape[2:])
        where = slice(top, top + 16), slice(left, left + 16)
        return say(image[..., where[0], where[1]]), where

    assert found["crop-16-seen"] == pytest.approx(by_hand(scene, cropped), abs=0.02)
    assert abs(found["crop-16-seen"] - record["miou"]) > 0.1  # the whole image's score would not do


def test_padding_is_of_the_mean_and_does_not_count(scene):
    record = looked_at(scene, planned(scene))
    found = {one["key"]: one["miou"] for one in record["choices"]}
    side = next(int(key.split("-")[1]) for key in found if key.startswith("pad-"))
    mean = float(scene.run.preprocessing.mean[0])

    def padded(image, say):
        height, width = image.shape[2:]
        shown = torch.full((1, 3, side, side), mean)
        shown[..., :height, :width] = image
        return say(shown)[:height, :width], (slice(height), slice(width))

    assert found[f"pad-{side}-full"] == pytest.approx(by_hand(scene, padded), abs=0.02)


def test_the_grid_is_scored_where_features_have_their_centres(scene):
    record = looked_at(scene, planned(scene))
    found = {one["key"]: one["miou"] for one in record["choices"]}

    def on_grid(image, say):
        where = slice(1, None, 4), slice(1, None, 4)
        return say(image)[where], where

    assert found["whole-grid"] == pytest.approx(by_hand(scene, on_grid), abs=0.02)


# ---------------------------------------------------------------- forward passes


def test_each_scale_and_mirror_is_looked_at_once(scene, monkeypatch):
    artefact = planned(scene)
    seen, features = [], StrongWeakNetwork.features

    def watched(network, inputs):
        seen.append(tuple(inputs.shape))
        return features(network, inputs)

    monkeypatch.setattr(StrongWeakNetwork, "features", watched)
    record = looked_at(scene, artefact)
    sizes = list(SIZES.values())
    batches = 1 + sum(one != other for one, other in pairwise(sizes))  # of neighbours of one size
    whole = 6 * 2  # the scales from 0.5 to 1.75, each plain and mirrored, for both branches and all CRFs
    shown = len(
        {
            one["key"].rpartition("-")[0]
            for one in record["choices"]
            if one["key"][:4] in ("crop", "shor", "pad-", "warp")
        }
    )
    assert record["passes"] == whole + shown
    assert len(seen) == batches * record["passes"]


# ---------------------------------------------------------------- kept, killed, damaged


def test_it_is_kept_as_json_and_markdown_beside_the_scores(scene):
    artefact = planned(scene)
    record = looked_at(scene, artefact)
    assert artefact.record == scene.run.artefact.folder / "evals" / "lab.json"
    assert json.loads(artefact.record.read_text()) == json.loads(json.dumps(record))
    assert "diagnosis" in artefact.record.with_suffix(".md").read_text()
    names = {path.name for path in artefact.folder.iterdir()}
    assert names == {"lab.json", "lab.md", "val-strong"}  # and no parts


def test_the_same_again_gives_the_same_bytes(scene):
    artefact = planned(scene)
    files = (artefact.record, artefact.record.with_suffix(".md"))
    looked_at(scene, artefact)
    before = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    looked_at(scene, artefact)
    assert [path.read_bytes() for path in files] == before


def test_a_kill_costs_one_part(many, monkeypatch):
    artefact = planned(many)
    whole = looked_at(many, artefact)
    artefact.record.unlink()
    counts, batches = Bench.counts, []

    def killed(bench, shown, images, truth):
        if len(batches) == 7:
            raise KeyboardInterrupt
        batches.append(len(shown))
        return counts(bench, shown, images, truth)

    monkeypatch.setattr(Bench, "counts", killed)
    with pytest.raises(KeyboardInterrupt):
        examine(artefact, many)
    (parts,) = artefact.folder.glob(".*.parts")
    kept = len(list(parts.glob("*.npz")))
    assert kept >= 1 and not artefact.done
    (parts / "000000.npz").write_bytes(b"damaged")  # what is no part is made again
    monkeypatch.setattr(Bench, "counts", counts)
    assert looked_at(many, artefact) == whole
    assert not list(artefact.folder.glob(".*.parts"))


@pytest.mark.parametrize("damage", ["missing", "cut off", "other counts", "other images", "no score"])
def test_counts_that_do_not_give_the_score_are_refused(scene, damage):
    artefact = planned(scene)
    path = scene.score(STRONG).folder / "confusion.npz"
    with np.load(path) as saved:
        ids, counts = saved["ids"], saved["counts"]
    if damage == "no score":
        record = scene.score(STRONG).read_record()
        scene.score(STRONG).record.write_text(json.dumps({**record, "miou": float("nan")}))
    elif damage == "missing":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "other counts":
        counts[0, 0, 1] += 7
        np.savez_compressed(path, ids=ids, counts=counts)
    else:
        np.savez_compressed(path, ids=ids[::-1], counts=counts)
    with pytest.raises(MissingArtefact) as caught:
        examine(artefact, scene)
    assert caught.value.subject == path and not artefact.done


def test_a_part_of_another_machine_is_not_taken(scene):
    artefact = planned(scene)
    other = artefact.folder / f".{artefact.id}-00000000.parts"
    other.mkdir()
    shutil.copy(scene.truth("a"), other / "000000.npz")
    looked_at(scene, artefact)
    assert not other.exists()


def test_it_reads_the_validation_split_alone(scene):
    assert scene.data.ids(VAL_SPLIT) == list(SIZES)
    assert looked_at(scene, planned(scene))["images"] == len(SIZES)
