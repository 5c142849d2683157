"""The quality report says what a set of masks is worth: every number by hand on a few pixels, nothing where nothing was measured."""

import json
import shutil

import cued
import numpy as np
import pytest
from mask_sets import MADE, MASKS, NAMES, TAGS, TRUTHS, VOID, MaskSet, few_cues, many, no_cues
from studies import graph_of, runner

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.proxy import quality
from swdb.proxy.grid import GRID, cue_quality
from swdb.study.graph import Graph


@pytest.fixture
def made(tmp_path) -> MaskSet:
    return MaskSet(tmp_path)


# ---------------------------------------------------------------- the masks


def test_it_names_the_set_counts_its_images_and_says_what_it_was_made_from(made):
    found = made.report()
    assert found["name"] == "dsrg-1-abc"
    assert (found["images"], found["images_with_true_masks"]) == (3, 2)
    assert {key: found[key] for key in MADE} == MADE
    assert "never read by training" in found["scored_on"]


def test_iou_counts_the_pixels_that_truth_and_mask_both_name(made):
    masks = made.report()["masks"]
    assert masks["iou"] == {"background": 57.14, "cat": 50, "cow": 50, "dog": None}  # 4/7, 2/4, 1/2; dog: not scored
    assert masks["miou"] == pytest.approx((400 / 7 + 50 + 50) / 3, abs=0.006)


def test_shares_of_void_and_of_objects(made):
    masks = made.report()["masks"]
    assert (masks["coverage"], masks["void_share"]) == (93.75, 6.25)  # 1 of 16 pixels, images without truth too
    assert (masks["foreground_share"], masks["true_foreground_share"]) == (40, 50)  # 4 and 5 of 10


def test_confusions_are_pixel_counts_and_the_largest_are_named_as_shares(made):
    found = made.report()
    assert found["confusion"] == {
        "classes": NAMES,
        "true_by_proxy": [[4, 1, 0, 0], [1, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]],
    }
    assert [[*row.values()] for row in found["largest_confusions"]] == [
        ["background", "cat", 1, 10, 20],
        ["cat", "background", 1, 10, 33.33],
        ["cow", "background", 1, 10, 50],
    ]


def test_larger_confusions_come_first(tmp_path):
    made = MaskSet(tmp_path, {"a": [[0, 1, 1, 2, 2, 2]]}, {"a": [[1, 0, 0, 3, 3, 3]]}, [[1, 0, 1]])
    assert [row["pixels"] for row in made.report()["largest_confusions"]] == [3, 2, 1]


def test_masks_without_a_mistake_have_no_confusions(tmp_path):
    made = MaskSet(tmp_path, {"a": [[0, 1]]}, {"a": [[0, 1]]}, [[1, 0, 0]])
    found = made.report()
    assert found["largest_confusions"] == [] and found["masks"]["miou"] == 100


# ---------------------------------------------------------------- tags


def test_masks_are_compared_with_the_tags(made):
    tags = made.report()["tags"]
    assert tags["images_with_all_tags_and_nothing_else"] == 1  # a
    assert tags["images_with_a_tag_without_pixels"] == 1  # b has no dog
    assert tags["images_with_a_class_beyond_their_tags"] == 1  # c
    assert tags["share_of_pixels_beyond_the_tags"] == 13.33  # 2 of 15 labelled pixels
    nothing = {"images_tagged": 0, "tagged_without_pixels": 0, "images_beyond_tags": 0, "pixels_beyond_tags": 0}
    assert tags["by_class"] == {
        "cat": nothing | {"images_tagged": 1},
        "cow": nothing | {"images_tagged": 1},
        "dog": {"images_tagged": 1, "tagged_without_pixels": 1, "images_beyond_tags": 1, "pixels_beyond_tags": 2},
    }


def test_a_mask_of_background_is_all_that_an_image_without_tags_needs(tmp_path):
    tags = MaskSet(tmp_path, {}, {"a": [[0, VOID]]}, [[0, 0, 0]]).report()["tags"]
    assert tags["images_with_all_tags_and_nothing_else"] == 1
    assert tags["share_of_pixels_beyond_the_tags"] == 0


# ---------------------------------------------------------------- cues


def test_cues_are_scored_over_the_points_that_have_one(made):
    cues = made.report(few_cues())["cues"]
    assert cues["iou"] == {"background": 33.33, "cat": 50, "cow": 0, "dog": None}
    assert cues["miou"] == pytest.approx((100 / 3 + 50 + 0) / 3, abs=0.006)
    assert cues["precision"] == {"all": 50, "by_class": {"background": 50, "cat": 50, "cow": None, "dog": None}}
    assert cues["coverage"]["all"] == pytest.approx(100 * 6 / (3 * GRID**2), abs=0.006)
    assert list(cues["class_coverage"]) == NAMES


def test_the_quality_of_cues_is_that_of_whole_masks(tmp_path):
    rng = np.random.default_rng(0)
    truths = {name: rng.integers(0, 4, rng.integers(30, 90, 2)) for name in "ab"}
    made = MaskSet(tmp_path, truths, truths, np.ones((2, 3)))
    cues = np.where(rng.random((2, GRID, GRID)) < 0.3, rng.integers(0, 4, (2, GRID, GRID)), VOID).astype(np.uint8)
    found = made.report(cues)["cues"]
    expected = cue_quality([(cues[k], truths[name].astype(np.uint8)) for k, name in enumerate("ab")], 4)
    assert [*found["precision"]["by_class"].values()] == pytest.approx(expected["precision"]["by_class"], abs=0.006)
    assert [*found["class_coverage"].values()] == pytest.approx(expected["class_coverage"], abs=0.006)
    assert found["coverage"] == pytest.approx(expected["coverage"], abs=0.006)


def test_without_cues_nothing_is_said_about_any(made):
    assert made.report()["cues"] is None


def test_cues_that_are_empty_have_coverage_and_no_score(made):
    cues = made.report(no_cues(3))["cues"]
    assert (cues["miou"], cues["precision"]["all"], cues["coverage"]["all"]) == (None, None, 0)


# ---------------------------------------------------------------- which images are shown


def test_the_worst_images_come_with_their_miou_worst_first(tmp_path):
    worst = many(tmp_path).report()["worst"]
    assert [one["image"] for one in worst] == [f"i{k:02d}" for k in range(20)]
    assert [one["miou"] for one in worst[:3]] == [0, 1.25, 2.5]  # cat k/40, cow 0


def test_among_equal_ones_the_first_id_is_the_worst(tmp_path):
    made = MaskSet(tmp_path, {"b": [[0, 1]], "a": [[0, 1]]}, {"b": [[1, 1]], "a": [[1, 1]]}, np.ones((2, 3)))
    assert [one["image"] for one in made.report()["worst"]] == ["a", "b"]


def test_an_image_of_void_alone_has_no_score_and_is_not_among_the_worst(tmp_path):
    made = MaskSet(tmp_path, {"a": [[VOID, VOID]], "b": [[0, 1]]}, {"a": [[1, 1]], "b": [[1, 1]]}, np.ones((2, 3)))
    found = made.report()
    assert [one["image"] for one in found["worst"]] == ["b"]
    assert {one["image"]: one["miou"] for one in found["random"]} == {"a": None, "b": 25}
    assert found["images_with_true_masks"] == 2


def test_the_same_images_are_chosen_at_random_whatever_the_masks_are(tmp_path):
    first = [one["image"] for one in many(tmp_path / "one").report()["random"]]
    other = many(tmp_path / "two")
    for image_id in other.ids:
        other.save(other.mask(image_id), [[1] * 40])
    assert [one["image"] for one in other.report()["random"]] == first
    assert len(set(first)) == 20 and first != sorted(first)


def test_images_with_true_masks_are_chosen_at_random_where_there_are_any(tmp_path):
    without = [f"i{k:02d}" for k in range(25)]
    assert {one["image"] for one in many(tmp_path, without=without).report()["random"]} == {
        f"i{k}" for k in range(25, 30)
    }


def test_no_png_is_left_among_the_masks(made):
    made.report()
    assert sorted(path.name for path in made.folder.iterdir()) == [
        *("a.png", "b.png", "c.png", "quality.jpg", "quality.md")
    ]


# ---------------------------------------------------------------- without true masks


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("truths", [TRUTHS, {}, {"a": np.full((2, 4), VOID)}], ids=["two", "none", "of void alone"])
def test_what_is_returned_is_json_without_nan_and_comes_back_from_it(tmp_path, truths):
    made = MaskSet(tmp_path, truths, MASKS, TAGS)
    found = made.report(few_cues())
    assert json.loads(json.dumps(found), parse_constant=refuse) == found


@pytest.mark.parametrize("truths", [{}, {"a": np.full((2, 4), VOID)}], ids=["none", "of void alone"])
def test_without_anything_to_compare_with_scores_are_null_and_not_measured(tmp_path, truths):
    made = MaskSet(tmp_path, truths, MASKS, TAGS)
    found = made.report(few_cues())
    assert found["masks"]["miou"] is None and set(found["masks"]["iou"].values()) == {None}
    assert found["masks"]["foreground_share"] is None and found["masks"]["true_foreground_share"] is None
    assert found["masks"]["coverage"] == 93.75  # needs no truth
    assert found["cues"]["miou"] is None and found["cues"]["coverage"]["all"] is not None
    assert (found["confusion"], found["largest_confusions"], found["worst"]) == (None, [], [])
    assert found["tags"]["images_with_all_tags_and_nothing_else"] == 1


# ---------------------------------------------------------------- progress, interruptions, broken files


def test_progress_is_told_of_every_image(made):
    made.report()
    assert made.told == [(1, 3), (2, 3), (3, 3)]


def test_written_again_it_is_the_same_to_the_byte(made):
    found, first = made.report(few_cues()), made.files()
    assert first.keys() == {"quality.md", "quality.jpg"}
    for path in made.folder.glob("quality.*"):
        path.unlink()
    assert made.report(few_cues()) == found and made.files() == first


def test_the_digest_is_of_what_is_said(made):
    first, other = made.report()["digest"], made.report(few_cues())["digest"]
    assert first == made.report()["digest"] != other and len(first) == 64


def refused(made: MaskSet, kind: type[SwdbError]) -> SwdbError:
    with pytest.raises(kind) as caught:
        made.report()
    assert made.files() == {}
    return caught.value


def test_a_missing_mask_is_named(made):
    made.mask("b").unlink()
    assert refused(made, MissingArtefact).subject == made.mask("b")


@pytest.mark.parametrize("labels", [[[0, 4, 0, 0]], [[254, 0, 0, 0]]])
def test_a_mask_with_an_unknown_class_is_named(made, labels):
    made.save(made.mask("b"), labels)
    error = refused(made, BadInput)
    assert error.subject == made.mask("b") and str(np.max(labels)) in error.found and "0 to 3" in error.expected


def test_a_mask_of_another_size_than_the_truth_is_named_with_both_sizes(made):
    made.save(made.mask("a"), [[0, 1]])
    error = refused(made, BadInput)
    assert error.subject == made.mask("a") and "2x1" in error.found and "4x2" in error.expected


def test_a_damaged_true_mask_is_not_taken_for_a_missing_one(made):
    made.truth("a").write_bytes(b"not an image")
    error = refused(made, BadInput)
    assert error.subject == made.truth("a") and "cannot be read" in error.found


def test_only_the_images_that_are_shown_are_opened(tmp_path):
    made = many(tmp_path)
    shown = {one["image"] for key in ("worst", "random") for one in made.report()[key]}
    hidden = set(made.ids) - shown
    assert hidden
    for image_id in hidden:
        made.dataset.image_path(image_id).unlink()
    made.report()


# ---------------------------------------------------------------- of sets that were made


@pytest.mark.parametrize("number", [1, 2])
def test_a_report_says_what_the_set_was_made_from(finished, number):
    graph = graph_of(finished)
    proxies = graph.proxies(number)
    report = graph.quality(proxies).read_record()
    assert report["name"] == proxies.id and report["set"] == number
    assert report["images"] == report["images_with_true_masks"] == 32
    behind = with_inputs(proxies)
    sources = {other.id: other.digest() for other in behind if other is not proxies}
    assert report["sources"] == {**sources, "masks": proxies.digest()}
    assert report["settings"]["set 1"] == graph.proxies(1).key
    assert report["settings"][f"set {number}"] == proxies.key and report["settings"]["cues"] == graph.cues.key
    assert report["settings"]["classifier"]["training"]["steps"] == graph.study.preset.proxy.steps
    assert len(report["settings"]) == len(behind)
    assert report["cue_counts"] == graph.cues.read_record()["counts"]
    assert report["masks"]["miou"] is not None and report["cues"]["precision"]["all"] is not None
    assert sorted(path.name for path in proxies.folder.glob("quality*")) == [
        "quality.jpg",
        "quality.json",
        "quality.md",
    ]


def test_a_report_on_published_cues_names_their_file_by_its_sha256(tmp_path):
    graph = cued.graph(tmp_path)
    runner().make(graph.needed(graph.proxies(1)))
    report = graph.quality(graph.proxies(1)).read_record()
    assert report["sources"]["cues, the file"] == graph.study.files["cues"].digests["file"]
    # six points of the file lie within the tags of four images
    assert report["cues"]["coverage"]["all"] == pytest.approx(100 * 6 / (4 * GRID**2), abs=0.006)


@pytest.fixture
def copied(finished, tmp_path) -> Graph:
    """A copy of the finished work directory that may be changed."""
    return graph_of(shutil.copytree(finished, tmp_path / "work", ignore=shutil.ignore_patterns("reports", "runs")))


def others_than(report: Artefact) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in report.folder.iterdir() if not p.name.startswith("quality.")}


def test_a_report_that_is_missing_is_written_again_and_nothing_else(copied):
    report = copied.quality(copied.proxies(1))
    whole, before = report.record.read_bytes(), others_than(report)
    report.record.unlink()
    runner().make(copied.needed(copied.proxies(1)))
    assert report.record.read_bytes() == whole and others_than(report) == before


def test_interrupted_it_leaves_no_record_and_is_whole_when_written_again(copied, monkeypatch):
    report = copied.quality(copied.proxies(2))
    whole = {path.name: path.read_bytes() for path in report.folder.glob("quality.*")}
    for name in whole:
        (report.folder / name).unlink()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quality, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            runner().make([report])
    assert not report.done and not (report.folder / "quality.md").exists()
    runner().make([report])
    assert {path.name: path.read_bytes() for path in report.folder.glob("quality.*")} == whole


def test_cues_that_were_changed_are_not_reported_on(copied):
    report = copied.quality(copied.proxies(1))
    report.record.unlink()
    path = copied.cues.folder / "cues.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MissingArtefact) as caught:
        runner().make([report])
    assert caught.value.subject == path and not report.done
