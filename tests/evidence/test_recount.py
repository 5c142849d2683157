"""One changed pixel is found, and named by file, image and class."""

import io

import numpy as np
import pytest
from bundles import contents, findings, spoiled, the_name
from PIL import Image

from swdb.core.errors import BadInput, MissingArtefact
from swdb.data.images import palette_png, read_mask
from swdb.evidence.recount import counted_before, decode_prediction, difference

NAMES = ["background", "alpha", "beta", "gamma", "delta", "epsilon"]


@pytest.fixture(scope="module")
def prediction(ours) -> str:
    return the_name(ours, "/evals/val-strong/predictions/")


def labels_of(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)))


def with_pixel(ours, study, name: str, counted: bool) -> tuple[bytes, int, int, int]:
    """Change a pixel of a prediction, one that counts or a void one; returns the file, and true, old and new class."""
    labels = labels_of(contents(ours)[name])
    image_id = name.rpartition("/")[2].removesuffix(".png")
    masks = study.data.folder / "VOCdevkit/VOC2012/SegmentationClass"
    true = read_mask(masks / f"{image_id}.png", 6)
    y, x = np.argwhere((true != 255) == counted)[0]
    old = int(labels[y, x])
    labels[y, x] = (old + 1) % 6
    return palette_png(labels), int(true[y, x]), old, int(labels[y, x])


@pytest.mark.parametrize("listed", [False, True], ids=["with the digest of then", "with its digest"])
def test_one_pixel_is_named_by_file_image_and_class(ours, study, prediction, tmp_path, listed):
    content, true, old, new = with_pixel(ours, study, prediction, True)
    found = findings(spoiled(ours, tmp_path / "x.zip", {prediction: content}, listed))
    first = next(one for one in found if one.where == prediction)
    image = prediction.rpartition("/")[2].removesuffix(".png")
    assert first.found.startswith(f"image {image}: ") and "1 pixel is not as counted" in first.found
    assert (
        f"{NAMES[true]} taken for {NAMES[old]}: " in first.found
        and f"{NAMES[true]} taken for {NAMES[new]}: " in first.found
    )
    assert ("has other bytes" in first.found) != listed
    result = prediction.rpartition("/predictions/")[0] + "/result.json"
    assert any(one.where == result and "mIoU" in one.found for one in found)


def test_a_pixel_in_the_void_is_found_by_its_digest(ours, study, prediction, tmp_path):
    content, *_ = with_pixel(ours, study, prediction, False)
    (found,) = findings(spoiled(ours, tmp_path / "x.zip", {prediction: content}))
    assert found.where == prediction and "no pixel that counts is another one" in found.found
    # a careful forger is found by the digest that the score's own record has
    said = findings(spoiled(ours, tmp_path / "y.zip", {prediction: content}, listed=True))
    assert any(one.where.endswith("result.json") and one.found.startswith("digest ") for one in said)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: b"no picture", "is no PNG"),
        (lambda content: content[:60], "cannot be read"),
        (lambda content: palette_png(np.zeros((3, 4), np.uint8)), "is 4x3"),
        (
            lambda content: palette_png(np.where(labels_of(content) == 0, 255, labels_of(content)).astype(np.uint8)),
            "has the value 255",
        ),
        (lambda content: palette_png(np.full((32, 32), 6, np.uint8)), "has the value 6"),
    ],
    ids=["no picture", "cut", "another size", "void", "another class"],
)
def test_a_prediction_that_is_none_is_named(ours, prediction, tmp_path, change, words):
    found = findings(spoiled(ours, tmp_path / "x.zip", {prediction: change}))
    assert found[0].where == prediction and words in found[0].found and found[0].expected


def test_a_huge_picture_is_refused_before_it_is_unpacked():
    header = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR" + (60_000).to_bytes(4) * 2
    with pytest.raises(BadInput) as caught:
        decode_prediction(header, "a.png", np.zeros((32, 32), np.uint8), 6)
    assert caught.value.found == "is 60000x60000" and caught.value.expected == "a PNG of 32x32, as the true mask"


def test_a_missing_prediction_is_named(ours, prediction, tmp_path):
    found = findings(spoiled(ours, tmp_path / "x.zip", {prediction: None}))
    assert [one.where for one in found if one.found == "missing"] == [prediction]


def test_a_true_mask_that_was_changed_is_named(ours, study, tmp_path):
    name = next(name for name in contents(ours) if name.startswith("data/") and name.endswith(".png"))
    labels = labels_of(contents(ours)[name]).copy()
    labels[0, 0] = (labels[0, 0] + 1) % 6
    found = findings(spoiled(ours, tmp_path / "x.zip", {name: palette_png(labels)}, listed=True))
    assert found[0].where == name and "is not the data set's" in found[0].found


@pytest.mark.parametrize("shape", [(5, 6, 6), (6, 5, 5), (6, 6)])
def test_counts_of_other_images_or_classes_are_refused(tmp_path, shape):
    ids = [f"{k}" for k in range(6)]
    np.savez(tmp_path / "confusion.npz", counts=np.zeros(shape, np.int32), ids=np.array(ids[: shape[0]]))
    with pytest.raises(MissingArtefact) as caught:
        counted_before("runs/x", tmp_path, ids, 6)
    expected = "6 images, 6 classes" if len(shape) == 3 else "counts by image"
    assert caught.value.subject == "runs/x/confusion.npz" and caught.value.expected == expected


def test_counts_that_are_no_numbers_or_a_bomb_are_refused(tmp_path):
    ids = ["a"]
    np.savez(tmp_path / "confusion.npz", counts=np.array([{}]), ids=np.array(ids))
    with pytest.raises(MissingArtefact, match="counts by image"):
        counted_before("runs/x", tmp_path, ids, 6)
    np.savez_compressed(tmp_path / "confusion.npz", counts=np.zeros((10_000, 100)), ids=np.array(ids))
    with pytest.raises(MissingArtefact, match="counts by image"):
        counted_before("runs/x", tmp_path, ids, 6)


def test_differences_of_counts_in_words():
    then = np.diag([5, 4, 3])
    now = then.copy()
    assert difference(then, now, "abc") == ""
    now[0, 0], now[0, 2] = 3, 2
    assert (
        difference(then, now, "abc")
        == "2 pixels are not as counted (a taken for a: 5 counted, 3 found; a taken for c: 0 counted, 2 found)"
    )
