"""The quality report for people: what the page says in Markdown, and what the picture shows."""

import json
from itertools import pairwise

import numpy as np
import pytest
from mask_sets import MASKS, NETWORK, TRUTHS, VOID, MaskSet, few_cues, many, no_cues
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact
from swdb.evaluation.figures import ABREAST, TILE
from swdb.proxy.quality_page import PICTURE, draw, network_beside, page, read_pair

MAROON, GREEN, GREY = (128, 0, 0), (0, 128, 0), (90, 90, 90)  # VOC's colours of cat and cow here; the images are grey


@pytest.fixture
def made(tmp_path) -> MaskSet:
    return MaskSet(tmp_path)


def picture_of(made: MaskSet) -> np.ndarray:
    return np.asarray(Image.open(made.folder / PICTURE).convert("RGB"))


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Count pixels of about a colour: a JPEG's are never exact."""
    return int((np.abs(picture.astype(int) - colour).max(2) < 12).sum())


# ---------------------------------------------------------------- the page


def test_the_page_is_what_quality_json_says(made):
    found = made.report(few_cues())
    assert page(found) == page(json.loads(json.dumps(found))) == made.markdown
    assert made.markdown.endswith("\n") and not made.markdown.endswith("\n\n")


def test_the_page_begins_with_the_way_from_cues_to_masks(made):
    made.report(few_cues())
    title, _, headline, *_ = made.markdown.splitlines()
    assert title.startswith("# ") and title.endswith("dsrg-1-abc")
    assert headline == "**mIoU: cues 27.8 % → masks 52.4 %**, against the true masks of 2 of 3 images."


def test_without_cues_nothing_is_said_about_any(made):
    made.report()
    assert "cue" not in made.markdown.split("## Made from")[0]


def test_cues_that_are_empty_are_not_scored(made):
    made.report(no_cues(3))
    assert "**mIoU: masks 52.4 %**" in made.markdown


@pytest.mark.parametrize("truths", [{}, {"a": np.full((2, 4), VOID)}], ids=["none", "of void alone"])
def test_without_anything_to_compare_with_nothing_is_called_measured(tmp_path, truths):
    made = MaskSet(tmp_path, truths)
    made.report(few_cues())
    assert "NOT MEASURED" in made.markdown
    assert not any(words in made.markdown for words in ("these masks", "By class", "The worst", "nan", "None"))


def test_the_page_tables_the_classes_with_a_dash_where_one_does_not_occur(made):
    made.report(few_cues())
    assert "| cat | 50.0 | 50.0 | 50.0 | " in made.markdown
    assert "| dog | – | – | – | – |" in made.markdown


def test_the_page_names_the_largest_confusions_and_none_where_there_is_none(made, tmp_path):
    made.report()
    assert "| cow | background | 1 | 10.0 | 50.0 |" in made.markdown
    right = MaskSet(tmp_path / "right", {"a": [[0, 1]]}, {"a": [[0, 1]]}, [[1, 0, 0]])
    right.report()
    assert "Largest confusions" not in right.markdown


def test_the_page_compares_the_masks_with_the_tags(made):
    made.report()
    (line,) = [line for line in made.markdown.splitlines() if "hold all tags" in line]
    assert [word for word in line.replace("%", "").split() if word[0].isdigit()] == ["3", "1", "1", "1", "13.3"]
    assert "| dog | 1 | 1 | 1 | 2 |" in made.markdown


def test_the_page_shows_the_picture_the_sources_and_the_settings(made):
    made.report()
    assert f"]({PICTURE})" in made.markdown
    assert f"| cues | `{'ab' * 32}` |" in made.markdown
    assert "| proxy.steps | 8000 |" in made.markdown and "| dsrg.foreground | 0.85 |" in made.markdown


def test_the_page_names_the_worst_five(tmp_path):
    made = many(tmp_path)
    made.report()
    (line,) = [line for line in made.markdown.splitlines() if line.startswith("The worst")]
    assert [f"i{k:02d}" in line for k in range(30)] == [True] * 5 + [False] * 25


def test_published_figures_stand_beside_ours_and_are_called_no_comparison(made):
    found = made.report()
    figures = [[57.4], [59.0], [51.5], [53.2, 54.3], [55.6, 56.7], [57.0], [60.1]]
    assert [one["miou"] for one in found["published"]] == figures
    for one in found["published"]:
        values = "; ".join(map(str, one["miou"]))
        assert one["source"] and f"| {one['what']} | {one['source']} | val | {values} |" in made.markdown
    assert "not a like-for-like comparison" in found["published_note"] and found["published_note"] in made.markdown
    assert "| **these masks** | measured | training images | **52.4** |" in made.markdown


def test_what_the_network_scores_on_val_stands_by_way_and_beside_the_published_figures(made):
    text = page(made.report(), NETWORK)
    assert "on the 1,449 validation images" in text
    assert "| 321 | none | 51.0 | 53.6 |" in text
    assert "| 241, 321, 401 | dsrg | 56.3 | – |" in text
    assert "As its authors count it: evaluate.py: dropped." in text and "like for like" in text
    first, second = [line for line in text.splitlines() if "| measured |" in line]
    assert first == "| **this network**, several views and CRF | measured | val | **56.3** |"
    assert "**these masks**" in second


@pytest.mark.parametrize("content", ["{", "[]", '{"ways": []}', None])
def test_a_record_of_the_network_that_is_damaged_or_not_there_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "val.json").write_text(content)
    assert network_beside(tmp_path) is None


def test_a_report_that_is_written_again_shows_the_network_that_was_scored_before(made):
    (made.folder / "val.json").write_text(json.dumps(NETWORK))
    assert network_beside(made.folder) == NETWORK
    assert page(made.report(), NETWORK) == made.markdown


def test_scales_are_not_called_squares(made):
    assert "| scales of the image's own size | CRF |" in page(made.report(), NETWORK | {"set": 2})


def test_where_the_networks_score_is_not_known_nothing_is_said_of_it(made):
    made.report()
    assert "this network" not in made.markdown and "The network itself" not in made.markdown


def test_tables_have_as_many_cells_in_every_row(made):
    widths = [line.count("|") for line in page(made.report(few_cues()), NETWORK).splitlines()]
    assert sum(map(bool, widths)) > 20
    for above, below in pairwise(widths):
        assert above == below or not above or not below


# ---------------------------------------------------------------- the picture


def test_the_picture_has_two_blocks_of_twenty(tmp_path, made):
    big = many(tmp_path / "many")
    big.report()
    picture = picture_of(big)
    assert picture.shape[1] >= ABREAST * 3 * TILE
    assert picture.shape[0] >= 2 * (20 // ABREAST) * TILE
    assert count(picture, MAROON) > 20 * 50  # cats of the truths at least
    made.report()
    assert picture_of(made).shape < picture.shape


def test_an_example_is_the_image_its_truth_and_its_mask_side_by_side(tmp_path):
    cat, cow = np.full((20, 20), 1), np.full((20, 20), 2)
    made = MaskSet(tmp_path, {"a": cat}, {"a": cow}, np.ones((1, 3)))
    draw(made.folder, made.dataset, [{"image": "a", "miou": 0.0}], [])
    picture = picture_of(made)
    for colour in (GREY, MAROON, GREEN):
        assert 0.95 * TILE**2 < count(picture, colour) < 1.05 * TILE**2
    columns = [np.flatnonzero((np.abs(picture.astype(int) - c).max(2) < 12).any(0)) for c in (GREY, MAROON, GREEN)]
    first = [int(np.median(where)) for where in columns]
    assert first == sorted(first)


def test_an_image_without_a_true_mask_leaves_its_place_empty(tmp_path):
    cow = np.full((20, 20), 2)
    with_truth = MaskSet(tmp_path / "with", {"a": cow}, {"a": cow}, np.ones((1, 3)))
    without = MaskSet(tmp_path / "without", {}, {"a": cow}, np.ones((1, 3)))
    greens = []
    for made in (with_truth, without):
        draw(made.folder, made.dataset, [], [{"image": "a", "miou": None}])
        greens.append(count(picture_of(made), GREEN))
        assert count(picture_of(made), (0, 0, 0)) < 0.1 * TILE**2  # of the legend alone: an empty place is white
    assert [round(green / TILE**2, 1) for green in greens] == [2, 1]


# ---------------------------------------------------------------- pairs


def test_a_pair_is_a_mask_and_the_true_one_or_none(made):
    mask, truth = read_pair(made.folder, made.dataset, "a")
    np.testing.assert_array_equal(mask, MASKS["a"])
    np.testing.assert_array_equal(truth, TRUTHS["a"])
    mask, truth = read_pair(made.folder, made.dataset, "c")
    np.testing.assert_array_equal(mask, MASKS["c"])
    assert truth is None


def test_a_pair_of_different_sizes_or_without_a_mask_is_refused(made):
    made.save(made.mask("a"), [[0, 1]])
    made.mask("b").unlink()
    for image_id, kind in (("a", BadInput), ("b", MissingArtefact)):
        with pytest.raises(kind) as caught:
            read_pair(made.folder, made.dataset, image_id)
        assert caught.value.subject == made.mask(image_id)
