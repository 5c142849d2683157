"""The passport says what a set of masks is worth: every number by hand on a few pixels, nothing where nothing was measured."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import TINY
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact
from swdb.data import voc
from swdb.data.dataset import DataSet
from swdb.data.images import palette_png
from swdb.evaluation.figures import ABREAST, TILE
from swdb.proxy import quality
from swdb.proxy.grid import GRID, cue_quality
from swdb.proxy.quality import write_passport
from swdb.specs.presets import load_preset

NAMES = ["background", "cat", "cow", "dog"]
VOID = 255
MADE = {
    "sources": {"cues": "ab" * 32, "weights": "cd" * 32},
    "settings": {"proxy": {"steps": 8000, "rate": 1e-3}, "dsrg": {"foreground": 0.85}},
    "set": 1,
}

# Truth and mask of three images; the last has no true mask. Scored are 7 + 3 pixels.
TRUTHS = {"a": [[0, 0, 1, 1], [0, 0, 1, VOID]], "b": [[0, 0, 2, 2]]}
MASKS = {"a": [[0, 1, 1, 1], [0, 0, 0, 1]], "b": [[0, VOID, 2, 0]], "c": [[3, 3, 0, 0]]}
TAGS = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]], bool)  # a: cat; b: cow and dog; c: none


class Set:
    """A data set with proxy masks, built from arrays; `write` issues the passport."""

    def __init__(self, root, truths, masks, tags):
        self.ids, self.tags, self.folder, self.done = [*masks], np.asarray(tags, bool), root / "dsrg-1-abc", []
        data = replace(load_preset(TINY).data, num_classes=len(NAMES))
        self.data = DataSet(root / "data", data, {"classes": NAMES}, "--preset tiny")
        for image_id, mask in masks.items():
            self.save(self.folder / f"{image_id}.png", mask)
            picture = voc.image_path(self.data.root, image_id)
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((*np.shape(mask), 3), 90, np.uint8)).save(picture)
        for image_id, truth in truths.items():
            self.save(self.truth(image_id), truth)

    def truth(self, image_id):
        return voc.mask_path(self.data.root, image_id, voc.ALL_SPLIT)

    def save(self, path, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(palette_png(np.array(labels, np.uint8)))

    def write(self, cues=None):
        progress = lambda done, of: self.done.append((done, of))  # noqa: E731
        return write_passport(self.folder, self.data, self.ids, self.tags, MADE, progress, cues)

    def files(self):
        return {path.name: path.read_bytes() for path in self.folder.glob("passport.*")}

    @property
    def markdown(self):
        return (self.folder / "passport.md").read_text()


def no_cues(count):
    return np.full((count, GRID, GRID), VOID, np.uint8)


@pytest.fixture
def made(tmp_path):
    return Set(tmp_path, TRUTHS, MASKS, TAGS)


# ---------------------------------------------------------------- the masks


def test_it_names_the_set_counts_its_images_and_says_what_it_was_made_from(made):
    found = made.write()
    assert found["name"] == "dsrg-1-abc"
    assert (found["images"], found["images_with_true_masks"]) == (3, 2)
    assert {key: found[key] for key in MADE} == MADE
    assert "never read by training" in found["scored_on"]


def test_iou_counts_the_pixels_that_truth_and_mask_both_name(made):
    masks = made.write()["masks"]
    assert masks["iou"] == {"background": 57.14, "cat": 50, "cow": 50, "dog": None}  # 4/7, 2/4, 1/2; dog: not scored
    assert masks["miou"] == pytest.approx((400 / 7 + 50 + 50) / 3, abs=0.006)


def test_shares_of_void_and_of_objects(made):
    masks = made.write()["masks"]
    assert (masks["coverage"], masks["void_share"]) == (93.75, 6.25)  # 1 of 16 pixels, images without truth too
    assert (masks["foreground_share"], masks["true_foreground_share"]) == (40, 50)  # 4 and 5 of 10


def test_confusions_are_pixel_counts_and_the_largest_are_named_as_shares(made):
    found = made.write()
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
    made = Set(tmp_path, {"a": [[0, 1, 1, 2, 2, 2]]}, {"a": [[1, 0, 0, 3, 3, 3]]}, [[1, 0, 1]])
    assert [row["pixels"] for row in made.write()["largest_confusions"]] == [3, 2, 1]


def test_masks_without_a_mistake_have_no_confusions(tmp_path):
    made = Set(tmp_path, {"a": [[0, 1]]}, {"a": [[0, 1]]}, [[1, 0, 0]])
    found = made.write()
    assert found["largest_confusions"] == [] and found["masks"]["miou"] == 100
    assert "Largest confusions" not in made.markdown


# ---------------------------------------------------------------- tags


def test_masks_are_compared_with_the_tags(made):
    tags = made.write()["tags"]
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
    tags = Set(tmp_path, {}, {"a": [[0, VOID]]}, [[0, 0, 0]]).write()["tags"]
    assert tags["images_with_all_tags_and_nothing_else"] == 1
    assert tags["share_of_pixels_beyond_the_tags"] == 0


# ---------------------------------------------------------------- cues


def cued():
    """Right: background and cat in a; wrong: a cat in a, background in b; without a truth: one in a, one in c."""
    cues = no_cues(3)
    cues[0, [0, 0, 40, 40], [0, 40, 0, 40]] = [0, 1, 1, 1]
    cues[1, 0, 40] = 0
    cues[2, 5, 5] = 3
    return cues


def test_cues_are_scored_over_the_cells_that_have_one(made):
    cues = made.write(cued())["cues"]
    assert cues["iou"] == {"background": 33.33, "cat": 50, "cow": 0, "dog": None}
    assert cues["miou"] == pytest.approx((100 / 3 + 50 + 0) / 3, abs=0.006)
    assert cues["precision"] == {"all": 50, "by_class": {"background": 50, "cat": 50, "cow": None, "dog": None}}
    assert cues["coverage"]["all"] == pytest.approx(100 * 6 / (3 * GRID**2), abs=0.006)
    assert list(cues["class_coverage"]) == NAMES


def test_the_quality_of_cues_is_that_of_whole_masks(tmp_path):
    rng = np.random.default_rng(0)
    truths = {name: rng.integers(0, 4, rng.integers(30, 90, 2)) for name in "ab"}
    made = Set(tmp_path, truths, truths, np.ones((2, 3)))
    cues = np.where(rng.random((2, GRID, GRID)) < 0.3, rng.integers(0, 4, (2, GRID, GRID)), VOID).astype(np.uint8)
    found = made.write(cues)["cues"]
    expected = cue_quality([(cues[k], truths[name].astype(np.uint8)) for k, name in enumerate("ab")], 4)
    assert [*found["precision"]["by_class"].values()] == pytest.approx(expected["precision"]["by_class"], abs=0.006)
    assert [*found["class_coverage"].values()] == pytest.approx(expected["class_coverage"], abs=0.006)
    assert found["coverage"] == pytest.approx(expected["coverage"], abs=0.006)


def test_without_cues_nothing_is_said_about_any(made):
    assert made.write()["cues"] is None
    assert "cue" not in made.markdown.split("## Made from")[0]


def test_cues_that_are_empty_have_coverage_and_no_score(made):
    cues = made.write(no_cues(3))["cues"]
    assert (cues["miou"], cues["precision"]["all"], cues["coverage"]["all"]) == (None, None, 0)
    assert "**mIoU: masks 52.4 %**" in made.markdown


# ---------------------------------------------------------------- which images are shown


def many(tmp_path, count=30, without=()):
    """Images of which image k has k of 40 pixels right; its truth is all cat, its mask cat and then cow."""
    names = [f"i{k:02d}" for k in range(count)]
    masks = {name: [[1] * k + [2] * (40 - k)] for k, name in enumerate(names)}
    return Set(tmp_path, {name: [[1] * 40] for name in names if name not in without}, masks, np.ones((count, 3)))


def test_the_worst_images_come_with_their_miou_worst_first(tmp_path):
    worst = many(tmp_path).write()["worst"]
    assert [one["image"] for one in worst] == [f"i{k:02d}" for k in range(20)]
    assert [one["miou"] for one in worst[:3]] == [0, 1.25, 2.5]  # cat k/40, cow 0


def test_among_equal_ones_the_first_id_is_the_worst(tmp_path):
    made = Set(tmp_path, {"b": [[0, 1]], "a": [[0, 1]]}, {"b": [[1, 1]], "a": [[1, 1]]}, np.ones((2, 3)))
    assert [one["image"] for one in made.write()["worst"]] == ["a", "b"]


def test_an_image_of_void_alone_has_no_score_and_is_not_among_the_worst(tmp_path):
    made = Set(tmp_path, {"a": [[VOID, VOID]], "b": [[0, 1]]}, {"a": [[1, 1]], "b": [[1, 1]]}, np.ones((2, 3)))
    found = made.write()
    assert [one["image"] for one in found["worst"]] == ["b"]
    assert {one["image"]: one["miou"] for one in found["random"]} == {"a": None, "b": 25}
    assert found["images_with_true_masks"] == 2


def test_the_lot_falls_on_the_same_images_whatever_the_masks_are(tmp_path):
    first = [one["image"] for one in many(tmp_path / "one").write()["random"]]
    other = many(tmp_path / "two")
    for image_id in other.ids:
        other.save(other.folder / f"{image_id}.png", [[1] * 40])
    assert [one["image"] for one in other.write()["random"]] == first
    assert len(set(first)) == 20 and first != sorted(first)


def test_the_lot_falls_on_images_with_true_masks_where_there_are_any(tmp_path):
    without = [f"i{k:02d}" for k in range(25)]
    assert {one["image"] for one in many(tmp_path, without=without).write()["random"]} == {
        f"i{k}" for k in range(25, 30)
    }


def test_the_picture_has_two_blocks_of_twenty(tmp_path, made):
    big = many(tmp_path / "many")
    big.write()
    picture = np.asarray(Image.open(big.folder / "passport.jpg"))
    assert picture.shape[1] >= ABREAST * 3 * TILE
    assert picture.shape[0] >= 2 * (20 // ABREAST) * TILE
    maroon = (np.abs(picture.astype(int) - (128, 0, 0)).max(2) < 12).sum()
    assert maroon > 20 * 50  # cats of the truths at least
    made.write()
    assert np.asarray(Image.open(made.folder / "passport.jpg")).shape < picture.shape


def test_no_png_is_left_among_the_masks(made):
    made.write()
    assert sorted(path.name for path in made.folder.iterdir()) == [
        *("a.png", "b.png", "c.png", "passport.jpg", "passport.json", "passport.md")
    ]


# ---------------------------------------------------------------- without true masks


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("truths", [TRUTHS, {}, {"a": np.full((2, 4), VOID)}], ids=["two", "none", "of void alone"])
def test_the_file_says_what_was_returned_and_has_no_nan(tmp_path, truths):
    made = Set(tmp_path, truths, MASKS, TAGS)
    found = made.write(cued())
    assert json.loads((made.folder / "passport.json").read_text(), parse_constant=refuse) == found


@pytest.mark.parametrize("truths", [{}, {"a": np.full((2, 4), VOID)}], ids=["none", "of void alone"])
def test_without_anything_to_compare_with_scores_are_null_and_not_measured(tmp_path, truths):
    made = Set(tmp_path, truths, MASKS, TAGS)
    found = made.write(cued())
    assert found["masks"]["miou"] is None and set(found["masks"]["iou"].values()) == {None}
    assert found["masks"]["foreground_share"] is None and found["masks"]["true_foreground_share"] is None
    assert found["masks"]["coverage"] == 93.75  # needs no truth
    assert found["cues"]["miou"] is None and found["cues"]["coverage"]["all"] is not None
    assert (found["confusion"], found["largest_confusions"], found["worst"]) == (None, [], [])
    assert found["tags"]["images_with_all_tags_and_nothing_else"] == 1
    assert "NOT MEASURED" in made.markdown
    assert "these masks" not in made.markdown and "By class" not in made.markdown and "nan" not in made.markdown


# ---------------------------------------------------------------- for people


def test_the_page_begins_with_the_way_from_cues_to_masks(made):
    made.write(cued())
    title, _, headline, *_ = made.markdown.splitlines()
    assert title == "# Passport of the proxy masks dsrg-1-abc"
    assert headline == "**mIoU: cues 27.8 % → masks 52.4 %**, against the true masks of 2 of 3 images."


def test_the_page_tables_the_classes_with_a_dash_where_one_does_not_occur(made):
    made.write(cued())
    assert "| cat | 50.0 | 50.0 | 50.0 | " in made.markdown
    assert "| dog | – | – | – | – |" in made.markdown


def test_the_page_shows_the_picture_the_sources_and_the_settings(made):
    made.write()
    assert "](passport.jpg)" in made.markdown
    assert f"| cues | `{'ab' * 32}` |" in made.markdown
    assert "| proxy.steps | 8000 |" in made.markdown and "| dsrg.foreground | 0.85 |" in made.markdown


def test_published_figures_stand_beside_ours_and_are_called_no_comparison(made):
    found = made.write()
    assert [one["miou"] for one in found["published"]] == [
        [57.4],
        [59.0],
        [51.5],
        [53.2, 54.3],
        [55.6, 56.7],
        [57.0],
        [60.1],
    ]
    assert all(one["source"] for one in found["published"])
    assert "no like-for-like comparison" in found["published_note"] and found["published_note"] in made.markdown
    assert "| **these masks** | measured | training images | **52.4** |" in made.markdown


def test_tables_have_as_many_cells_in_every_row(made):
    made.write(cued())
    widths = [line.count("|") for line in made.markdown.splitlines()]
    for above, below in pairwise(widths):
        assert above == below or not above or not below


# ---------------------------------------------------------------- progress, interruptions, broken files


def test_progress_is_told_of_every_image(made):
    made.write()
    assert made.done == [(1, 3), (2, 3), (3, 3)]


def test_written_again_it_is_the_same_to_the_byte(made):
    made.write(cued())
    first = made.files()
    assert len(first) == 3
    for path in made.folder.glob("passport.*"):
        path.unlink()
    made.write(cued())
    assert made.files() == first


def test_interrupted_it_leaves_no_passport_json_and_is_whole_when_written_again(made, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quality, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            made.write()
    assert "passport.json" not in made.files()
    made.write()
    assert made.files().keys() == {"passport.json", "passport.md", "passport.jpg"}


def test_a_missing_mask_names_it_and_the_command(made):
    (made.folder / "b.png").unlink()
    with pytest.raises(MissingArtefact, match=r"b\.png is missing.*swdb make-proxy --preset tiny --again"):
        made.write()
    assert made.files() == {}


@pytest.mark.parametrize("labels", [[[0, 4, 0, 0]], [[254, 0, 0, 0]]])
def test_a_mask_with_an_unknown_class_names_it_and_the_command(made, labels):
    made.save(made.folder / "b.png", labels)
    with pytest.raises(BadInput, match=r"b\.png has the value .*swdb make-proxy --preset tiny --again"):
        made.write()


def test_a_mask_of_another_size_than_the_truth_is_named_with_both_sizes(made):
    made.save(made.folder / "a.png", [[0, 1]])
    with pytest.raises(BadInput, match=r"a\.png is 2x1, the true mask of its image is 4x2; .*swdb make-proxy"):
        made.write()


def test_a_damaged_true_mask_is_not_taken_for_a_missing_one(made):
    made.truth("a").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"a\.png cannot be read as a mask.*swdb prepare-voc"):
        made.write()


def test_only_the_images_that_are_shown_are_opened(tmp_path):
    made = many(tmp_path)
    shown = {one["image"] for key in ("worst", "random") for one in made.write()[key]}
    hidden = set(made.ids) - shown
    assert hidden
    for image_id in hidden:
        voc.image_path(made.data.root, image_id).unlink()
    made.write()
