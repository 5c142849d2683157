"""Our mIoU, and where other definitions in use differ from it, by numbers worked out by hand."""

import os

import numpy as np
import pytest

from swdb.core.errors import MissingArtefact
from swdb.evaluation.confusion import confusion, iou, miou, read_counts, same_score

VOID = 255
# Class 0 and 1 are found, 2 is never hit, 3 is predicted only, 4 does not occur at all.
TRUTHS = [np.array([[0, 0, 0, 0, 1, 1, 2, VOID]]), np.array([[0, 0, 1, 1, 1, 1, 0, 0]])]
PREDICTIONS = [np.array([[0, 0, 0, 3, 1, 0, 0, 1]]), np.array([[0, 0, 1, 1, 1, 0, 0, 1]])]
# Rows are true classes. IoU: 6 / (8 + 9 - 6), 4 / (6 + 5 - 4), 0 / 1, 0 / 1, 0 / 0.
COUNTS = np.array([[6, 1, 0, 1, 0], [2, 4, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
OURS = 100 * (6 / 11 + 4 / 7) / 4  # 27.92


def counts(truths=TRUTHS, predictions=PREDICTIONS, num_classes=5):
    pairs = zip(truths, predictions, strict=True)
    return sum(confusion(t.astype(np.uint8), p.astype(np.uint8), num_classes) for t, p in pairs)


# ---------------------------------------------------------------- the other definitions, each as its source has it


def nan_mean_over_present(h):  # CPS furnace/seg_opr/metric.py, mmsegmentation
    hit = np.diag(h)
    with np.errstate(invalid="ignore"):
        return 100 * np.nanmean(hit / (h.sum(1) + h.sum(0) - hit))


def absent_counts_as_zero(h):  # UniMatch supervised.py
    hit = np.diag(h)
    return 100 * np.mean(hit / (h.sum(1) + h.sum(0) - hit + 1e-10))


def zero_hit_classes_dropped(h):  # DSRG training/tools/evaluate.py, AdvSemiSeg utils/metric.py
    hit = np.diag(h)
    return 100 * np.mean([hit[c] / (h[c].sum() + h[:, c].sum() - hit[c]) for c in range(len(h)) if hit[c]])


def only_classes_in_the_truth(h):  # deeplab-pytorch libs/utils/metric.py
    hit, present = np.diag(h), h.sum(1) > 0
    return 100 * np.mean(hit[present] / (h.sum(1) + h.sum(0) - hit)[present])


def mean_over_batches(batches):  # segmentation-models-pytorch utils/metrics.py: here a batch is an image
    return np.mean([nan_mean_over_present(h) for h in batches])


def test_counts_are_pixels_by_true_and_predicted_class():
    assert counts().tolist() == COUNTS.tolist()


def test_counts_are_integers():
    assert counts().dtype == np.int64


def test_void_pixels_of_the_truth_do_not_count():
    truth, prediction = np.full((3, 3), VOID, np.uint8), np.ones((3, 3), np.uint8)
    assert confusion(truth, prediction, 2).sum() == 0


def test_a_prediction_of_the_last_class_on_the_last_true_class_lands_in_the_corner():
    found = confusion(np.full((2, 2), 20, np.uint8), np.full((2, 2), 20, np.uint8), 21)
    assert (found[20, 20], found.sum()) == (4, 4)  # 20 * 21 + 20 does not fit in a uint8


def test_iou_of_every_class_by_hand():
    assert iou(COUNTS)[:4] == pytest.approx([100 * 6 / 11, 100 * 4 / 7, 0, 0])


def test_a_class_with_neither_truth_nor_prediction_has_no_iou():
    assert np.isnan(iou(COUNTS)).tolist() == [False, False, False, False, True]


def test_iou_of_many_images_at_once_is_that_of_each():
    each = [counts(TRUTHS[k : k + 1], PREDICTIONS[k : k + 1]) for k in (0, 1)]
    np.testing.assert_array_equal(iou(np.stack(each)), [iou(each[0]), iou(each[1])])
    assert iou(each[0])[:4] == pytest.approx([50, 50, 0, 0])


def test_ours_is_the_mean_over_all_classes_that_appear():
    assert miou(COUNTS) == pytest.approx(OURS)


def test_nan_mean_of_cps_and_mmsegmentation_equals_ours():
    assert nan_mean_over_present(COUNTS) == pytest.approx(miou(COUNTS))


def test_unimatch_counts_an_absent_class_as_zero():
    assert absent_counts_as_zero(COUNTS) == pytest.approx(22.338, abs=1e-3)  # 86/385
    assert miou(COUNTS) == pytest.approx(27.922, abs=1e-3)  # 86/308


def test_dsrg_and_advsemiseg_drop_classes_without_a_hit():
    assert zero_hit_classes_dropped(COUNTS) == pytest.approx(55.844, abs=1e-3)  # 43/77: twice ours


def test_one_dead_class_of_21_makes_57_look_like_60_to_dsrg():
    # 20 classes with IoU 59.85 and one of 0: each has 5985 hits of a union of 10000, the misses go to the dead class
    dead = np.diag([5985] * 20 + [0])
    dead[:20, 20] = 10_000 - 5985
    assert miou(dead) == pytest.approx(57.0)
    assert zero_hit_classes_dropped(dead) == pytest.approx(59.85)


def test_deeplab_pytorch_takes_only_classes_of_the_truth():
    assert only_classes_in_the_truth(COUNTS) == pytest.approx(37.229, abs=1e-3)  # 86/231


def test_a_mean_over_batches_is_another_number():
    each = [counts(TRUTHS[k : k + 1], PREDICTIONS[k : k + 1]) for k in (0, 1)]
    assert mean_over_batches(each) == pytest.approx(42.5)  # (25 + 60) / 2
    assert miou(sum(each)) == pytest.approx(OURS)


@pytest.mark.parametrize(
    "other",
    [nan_mean_over_present, absent_counts_as_zero, zero_hit_classes_dropped, only_classes_in_the_truth],
)
def test_all_definitions_over_the_split_agree_where_every_class_is_found(other):
    full = np.array([[8, 2], [1, 9]])  # 8/11 and 9/12
    assert other(full) == pytest.approx(73.864, abs=1e-3)
    assert miou(full) == pytest.approx(73.864, abs=1e-3)


# ---------------------------------------------------------------- as they are kept


def test_counts_that_are_kept_come_back(tmp_path):
    found = np.random.default_rng(0).integers(0, 9, (3, 4, 4)).astype(np.uint32)
    np.savez_compressed(path := tmp_path / "confusion.npz", ids=np.array(["a", "b", "c"]), counts=found)
    ids, kept = read_counts(path)
    assert ids.tolist() == ["a", "b", "c"] and kept.dtype == np.int64 and (kept == found).all()


def test_a_pipe_in_their_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "confusion.npz")
    with pytest.raises(MissingArtefact, match="damaged"):
        read_counts(tmp_path / "confusion.npz")


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [(50.0, 50.0, True), (50.0, 50.0 + 1e-12, True), (50.0, 50.1, False), (None, None, True), (None, 0.0, False),
     (0.0, None, False), ("50", 50.0, False), (10**400, 50.0, False), (float("nan"), 50.0, False)],
)  # fmt: skip
def test_a_record_says_what_was_counted_or_it_does_not(then, now, same):
    assert same_score(then, now) is same


def test_no_byte_of_them_can_be_changed_into_a_crash(tmp_path):
    """A byte within the packed numbers, within a header, within the directory: damaged, or the very same counts."""
    found = np.random.default_rng(0).integers(0, 9, (9, 6, 6))
    np.savez_compressed(path := tmp_path / "confusion.npz", ids=np.array([*"abcdefghi"]), counts=found)
    content, named = path.read_bytes(), 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            _, kept = read_counts(path)
        except MissingArtefact as error:
            named += 1
            assert error.found == "damaged"
        else:
            assert (kept == found).all()
    assert named > len(content) / 2
