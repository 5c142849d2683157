"""The images that decide a claim: which they are, and how they are shown."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from commands import copied
from conftest import TINY
from PIL import Image
from studies import graph_of

from swdb.core.errors import SwdbError
from swdb.data.dataset import load
from swdb.data.facts import VAL_SPLIT
from swdb.reports import deciding_images
from swdb.reports.deciding_images import EACH_WAY, GAP, Images, ends_of
from swdb.specs.claims import Claim
from swdb.specs.presets import load_preset
from swdb.specs.tables import load_tables
from swdb.study.plan import make_plan

CLAIM = Claim(key="a", text="a", place="p", kind="ordering", lower=("2:strong.miou",), higher=("2:dual.miou",))


@pytest.fixture
def images(finished, tmp_path) -> Images:
    work = copied(finished, tmp_path)
    graph, table = graph_of(work), load_tables()[2]
    plan = make_plan(graph, [(table, row) for row in table.rows], [0])
    cells = {f"2:{row}.{column}": by_seed for (row, column), by_seed in plan.cells(2).items()}
    return Images(load(load_preset(TINY).data, work / "data" / "tiny"), cells)


def counted(images: Images, cell: str, hits: list[int]) -> None:
    """Let a score have counts in which each image has so many of its 100 pixels right."""
    counts = np.zeros((len(hits), 6, 6), np.int32)
    counts[:, 1, 1] = hits
    counts[:, 1, 0] = 100 - np.array(hits)
    path = images.cells[cell][0].folder / "confusion.npz"
    np.savez_compressed(path, ids=np.array(images.dataset.ids(VAL_SPLIT)), counts=counts)


def test_the_images_that_differ_most_are_shown_for_and_against(images):
    counted(images, "2:strong.miou", [50, 50, 50, 50, 50, 50])
    counted(images, "2:dual.miou", [50, 90, 10, 70, 60, 45])
    ids = images.dataset.ids(VAL_SPLIT)
    found = [*images.of(CLAIM)]
    assert [one.image for one in found] == [ids[1], ids[3], ids[2], ids[5]] and len(found) == 2 * EACH_WAY
    assert [round(one.difference, 6) for one in found] == [20.0, 10.0, -20.0, -2.5]  # background's IoU is 0: half
    assert (found[0].lower, found[0].higher, found[0].seed) == (25.0, 45.0, 0)


def test_rows_that_predict_alike_decide_nothing(images):
    for cell in ("2:strong.miou", "2:dual.miou"):
        counted(images, cell, [50] * 6)
    assert [*images.of(CLAIM)] == []


def test_an_image_without_a_counted_pixel_is_left_out(images):
    counted(images, "2:strong.miou", [50] * 6)
    counted(images, "2:dual.miou", [60] * 6)
    path = images.cells["2:dual.miou"][0].folder / "confusion.npz"
    with np.load(path) as stored:
        ids, counts = stored["ids"], stored["counts"]
    counts[0] = 0
    np.savez_compressed(path, ids=ids, counts=counts)
    assert ids[0] not in [one.image for one in images.of(CLAIM)]


def test_a_picture_is_image_truth_and_both_predictions(images):
    counted(images, "2:strong.miou", [50] * 6)
    counted(images, "2:dual.miou", [90, *[50] * 5])
    (one,) = images.of(CLAIM)
    kind, data = one.uri.split(",")
    assert kind == "data:image/png;base64"
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    side = 32
    assert one.size == (4 * side + 3 * GAP, side) and strip.shape == (side, 4 * side + 3 * GAP, 3)
    tiles = [strip[:, k * (side + GAP) : k * (side + GAP) + side] for k in range(4)]
    dataset, palette = images.dataset, images.dataset.facts.palette
    predicted = [
        np.asarray(Image.open(images.cells[f"2:{row}.miou"][0].folder / "predictions" / f"{one.image}.png"))
        for row in ("strong", "dual")
    ]
    wanted = [dataset.image(one.image), *(palette[mask] for mask in (dataset.mask(one.image, VAL_SPLIT), *predicted))]
    assert all(np.array_equal(tile, want) for tile, want in zip(tiles, wanted, strict=True))


def test_photographs_are_small_jpegs(images, monkeypatch):
    counted(images, "2:strong.miou", [50] * 6)
    counted(images, "2:dual.miou", [90, *[50] * 5])
    photographs = replace(images.dataset.facts, synthetic=False)
    monkeypatch.setattr("swdb.data.dataset.facts_of", lambda settings: photographs)
    monkeypatch.setattr(deciding_images, "TILE", 16)
    (one,) = images.of(CLAIM)
    assert one.uri.startswith("data:image/jpeg;base64,") and one.size == (4 * 16 + 3 * GAP, 16)


def test_a_page_has_only_so_many(images, monkeypatch):
    counted(images, "2:strong.miou", [50] * 6)
    counted(images, "2:dual.miou", [10, 20, 30, 60, 70, 80])
    monkeypatch.setattr(deciding_images, "MOST", 3)
    assert len([*images.of(CLAIM)]) == 3 and [*images.of(CLAIM)] == []


@pytest.mark.parametrize("name", ["confusion.npz", "predictions"])
def test_what_is_missing_is_refused_with_its_name(images, name):
    counted(images, "2:strong.miou", [50] * 6)
    counted(images, "2:dual.miou", [90, *[50] * 5])
    path = images.cells["2:dual.miou"][0].folder / name
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(SwdbError) as error:
        [*images.of(CLAIM)]
    assert name in str(error.value.subject)


def test_counts_of_other_images_are_refused(images):
    path = images.cells["2:dual.miou"][0].folder / "confusion.npz"
    with np.load(path) as stored:
        np.savez_compressed(path, ids=stored["ids"][::-1], counts=stored["counts"])
    with pytest.raises(SwdbError, match="other images"):
        [*images.of(CLAIM)]


def test_which_two_cells_are_compared():
    of_kind = {claim.kind: claim for table in load_tables().values() for claim in table.claims}
    assert ends_of(of_kind["trend"]) == (of_kind["trend"].rising[0], of_kind["trend"].rising[-1])
    assert ends_of(of_kind["equivalence"]) == of_kind["equivalence"].equal
    assert ends_of(of_kind["ordering"]) == (of_kind["ordering"].lower[0], of_kind["ordering"].higher[0])
    assert ends_of(of_kind["value"]) is None and ends_of(of_kind["robustness"]) is None


def test_a_claim_whose_rows_were_not_run_has_no_image(images):
    images.cells = {}
    assert [*images.of(CLAIM)] == []
