"""Counter-based draws, and the crop against a slow reference that walks pixel by pixel."""

import numpy as np
import pytest
import torch

from swdb.nn.networks import Preprocessing
from swdb.nn.sampling import (
    CROPS,
    DROPOUT,
    ORDER,
    Crops,
    crop_batch,
    normalise,
    rng_for,
    sample_crops,
    sample_indices,
    strong_subset,
    to_inputs,
    warp_to_square,
)

RAW = Preprocessing("RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SCALED = Preprocessing("RGB", (100.0, 110.0, 120.0), (50.0, 60.0, 70.0))
VOID = 255


# ---------------------------------------------------------------- draws


def test_a_draw_depends_on_its_counters_only_whatever_was_drawn_before():
    forward = [sample_indices(10, 3, 0, step, 4).tolist() for step in range(12)]
    backward = [sample_indices(10, 3, 0, step, 4).tolist() for step in reversed(range(12))]
    assert forward == backward[::-1]
    sizes = torch.tensor([[40, 60]] * 4)
    first = [sample_crops(3, step, sizes, 32, 0.5, 1.5) for step in range(6)]
    again = [sample_crops(3, step, sizes, 32, 0.5, 1.5) for step in reversed(range(6))][::-1]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.scale, other.scale)
        assert torch.equal(one.offset, other.offset)
        assert torch.equal(one.flip, other.flip)


def test_seed_purpose_branch_and_step_give_generators_of_their_own():
    counters = [(0, ORDER), (1, ORDER), (0, CROPS), (0, DROPOUT), (0, ORDER, 1), (0, ORDER, 0, 1), (0, CROPS, 1)]
    draws = {tuple(rng_for(*counter).random(3)) for counter in counters}
    assert len(draws) == len(counters)


def test_long_draws_do_not_run_into_the_next_purpose():
    # Philox counts blocks of four values from its first word on; a purpose in that word would repeat its neighbour.
    long = rng_for(0, ORDER).random(4000)
    assert not np.isin(rng_for(0, CROPS).random(50), long).any()


@pytest.mark.parametrize(("size", "count"), [(12, 4), (10, 4), (7, 3), (3, 8), (1, 2)])
def test_every_epoch_is_a_permutation_also_where_a_batch_straddles_epochs(size, count):
    steps = 3 * size  # 3 * count whole epochs
    drawn = np.concatenate([sample_indices(size, 5, 0, step, count) for step in range(steps)])
    epochs = drawn.reshape(-1, size)
    assert len(epochs) == 3 * count
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)


def test_epochs_branches_and_seeds_are_shuffled_differently():
    orders = [
        tuple(sample_indices(40, seed, branch, step, 40)) for seed in (0, 1) for branch in (0, 1) for step in (0, 1, 2)
    ]
    assert len(set(orders)) == 12


def test_scales_are_log_uniform_and_half_of_the_crops_are_mirrored():
    sizes = torch.full((4000, 2), 64)
    drawn = sample_crops(0, 0, sizes, 48, 0.5, 2.0)
    assert drawn.scale.min() >= 0.5
    assert drawn.scale.max() <= 2.0
    # log2 of the scale is uniform in -1..1; 4 standard errors of 4,000 draws
    assert abs(drawn.scale.log2().mean()) < 4 * 3**-0.5 / 4000**0.5
    assert abs((drawn.scale < 1).double().mean() - 0.5) < 4 * 0.5 / 4000**0.5
    assert abs(drawn.flip.double().mean() - 0.5) < 4 * 0.5 / 4000**0.5


def test_a_crop_lies_inside_a_larger_image_and_around_a_smaller_one():
    sizes = torch.tensor([[64, 20], [20, 64]] * 100)
    drawn = sample_crops(1, 7, sizes, 32, 0.8, 1.2)
    room = sizes * drawn.scale[:, None] - 32
    between = (drawn.offset - room.clamp(max=0) >= -1e-4) & (drawn.offset - room.clamp(min=0) <= 1e-4)
    assert between.all()
    assert (room < 0).any()
    assert (room > 0).any()


# ---------------------------------------------------------------- the crop


def slow_crop(image, mask, scale, offset, flip, crop, preprocessing):
    """Walk over the crop's pixels: find each one's place in the image, mix four neighbours, take the nearest label."""
    height, width = mask.shape
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    inputs, labels = np.zeros((3, crop, crop)), np.full((crop, crop), VOID)
    for i in range(crop):
        for j in range(crop):
            y = (i + 0.5 + offset[0]) / scale  # in 0..height, pixel k covers k..k+1
            x = (j + 0.5 + offset[1]) / scale
            if not (0 < y < height and 0 < x < width):
                continue
            x = width - x if flip else x
            labels[i, j] = mask[int(y), int(x)]
            top, left = int(np.floor(y - 0.5)), int(np.floor(x - 0.5))
            down, right = y - 0.5 - top, x - 0.5 - left
            value = np.zeros(3)
            for row, share_y in ((top, 1 - down), (top + 1, down)):
                for column, share_x in ((left, 1 - right), (left + 1, right)):
                    near = image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
                    value += share_y * share_x * near
            inputs[:, i, j] = (value - mean) / std
    return inputs, labels


def scenes(sizes, canvas, rubbish=0, mask_rubbish=VOID):
    """Random images of several sizes in the corner of a canvas; what lies beyond them is rubbish."""
    rng = np.random.default_rng(8)
    images = np.full((len(sizes), canvas, canvas, 3), rubbish, np.uint8)
    masks = np.full((len(sizes), canvas, canvas), mask_rubbish, np.uint8)
    for k, (height, width) in enumerate(sizes):
        images[k, :height, :width] = rng.integers(0, 256, (height, width, 3))
        masks[k, :height, :width] = rng.choice([0, 1, 2, 3, VOID], (height, width))
    return images, masks


def cropped(images, masks, sizes, at, crop, preprocessing=SCALED):
    """Take crops of numpy's arrays."""
    masks = None if masks is None else torch.from_numpy(masks)
    return crop_batch(torch.from_numpy(images), masks, torch.tensor(sizes), at, crop, preprocessing)


def one_crop(scale, offset, flip):
    """Place a single crop by hand."""
    return Crops(torch.tensor([scale]), torch.tensor([offset]), torch.tensor([flip]))


CASES = {
    "as it is": (1.0, (3.0, 5.0), False),
    "mirrored": (1.0, (3.0, 5.0), True),
    "between pixels": (1.0, (2.3, 4.8), False),
    "enlarged": (1.37, (4.21, 9.13), False),
    "enlarged, mirrored": (1.37, (4.21, 9.13), True),
    "shrunk below the crop": (0.6, (-3.17, -1.71), False),
    "shrunk below the crop, mirrored": (0.6, (-3.17, -1.71), True),
    "outside on one side": (1.0, (0.0, -6.0), True),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [(24, 24), (18, 23)], ids=["full canvas", "canvas larger than the image"])
def test_a_crop_is_what_the_slow_reference_cuts(name, size):
    scale, offset, flip = CASES[name]
    images, masks = scenes([size], 24)
    inputs, labels = cropped(images, masks, [size], one_crop(scale, offset, flip), 16)
    height, width = size
    seen, expected = slow_crop(images[0, :height, :width], masks[0, :height, :width], scale, offset, flip, 16, SCALED)
    assert inputs.shape == (1, 3, 16, 16)
    assert labels.dtype == torch.int64
    np.testing.assert_array_equal(labels[0], expected)
    np.testing.assert_allclose(inputs[0], seen, atol=1e-3)


def test_random_crops_of_a_mixed_batch_are_what_the_slow_reference_cuts():
    sizes = [(24, 24), (13, 22), (24, 9), (17, 17)]
    images, masks = scenes(sizes, 24)
    at = sample_crops(4, 9, torch.tensor(sizes), 16, 0.5, 1.5)
    inputs, labels = cropped(images, masks, sizes, at, 16)
    for k, (height, width) in enumerate(sizes):
        seen, expected = slow_crop(
            images[k, :height, :width],
            masks[k, :height, :width],
            at.scale[k].item(),
            at.offset[k].tolist(),
            at.flip[k].item(),
            16,
            SCALED,
        )
        np.testing.assert_array_equal(labels[k], expected)
        np.testing.assert_allclose(inputs[k], seen, atol=1e-3)


def test_outside_the_image_lies_the_mean_colour_and_void():
    images, masks = scenes([(8, 8)], 8, mask_rubbish=0)
    inputs, labels = cropped(images, masks, [[8, 8]], one_crop(1.0, (-4.0, -2.0), False), 16)
    outside = torch.ones(16, 16, dtype=torch.bool)
    outside[4:12, 2:10] = False
    assert (inputs[0][:, outside] == 0).all()
    assert (labels[0][outside] == VOID).all()
    np.testing.assert_array_equal(labels[0, 4:12, 2:10], masks[0])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.9])
def test_what_pads_the_canvas_never_leaks_in(flip, scale):
    size = (15, 11)
    drawn = []
    for rubbish, mask_rubbish in ((0, VOID), (255, 1)):
        images, masks = scenes([size], 24, rubbish, mask_rubbish)
        drawn.append(cropped(images, masks, [size], one_crop(scale, (-2.3, -1.1), flip), 20, RAW))
    # A coordinate that should lie on the last pixel's centre may round past it, by 1e-6 of a pixel's distance.
    assert (drawn[0][0] - drawn[1][0]).abs().max() < 1e-2
    assert torch.equal(drawn[0][1], drawn[1][1])


@pytest.mark.parametrize("flip", [False, True])
def test_a_crop_that_changes_nothing_returns_the_image_itself(flip):
    images, masks = scenes([(32, 32)], 32)
    inputs, labels = cropped(images, masks, [[32, 32]], one_crop(1.0, (0.0, 0.0), flip), 32, RAW)
    seen = (lambda array: array[:, ::-1]) if flip else (lambda array: array)
    np.testing.assert_array_equal(labels[0], seen(masks[0]))
    np.testing.assert_array_equal(inputs[0].permute(1, 2, 0).round(), seen(images[0]))
    np.testing.assert_allclose(inputs[0].permute(1, 2, 0), seen(images[0]), atol=1e-2)


def test_images_without_labels_are_cropped_like_those_with():
    sizes = [(20, 20), (12, 20)]
    images, masks = scenes(sizes, 20)
    at = sample_crops(0, 3, torch.tensor(sizes), 16, 0.7, 1.4)
    with_labels, _ = cropped(images, masks, sizes, at, 16)
    without, labels = cropped(images, None, sizes, at, 16)
    assert labels is None
    assert torch.equal(with_labels, without)


def test_images_are_normalised_in_the_order_of_their_weights():
    image = torch.tensor([[[[10, 20, 30]]]], dtype=torch.uint8)  # one pixel: red 10, green 20, blue 30
    rgb = to_inputs(image, Preprocessing("RGB", (1.0, 2.0, 3.0), (2.0, 4.0, 5.0)))
    bgr = to_inputs(image, Preprocessing("BGR", (1.0, 2.0, 3.0), (2.0, 4.0, 5.0)))
    assert rgb.flatten().tolist() == pytest.approx([(10 - 1) / 2, (20 - 2) / 4, (30 - 3) / 5])
    assert bgr.flatten().tolist() == pytest.approx([(30 - 1) / 2, (20 - 2) / 4, (10 - 3) / 5])


def test_the_mean_colour_becomes_zero():
    pixel = torch.tensor([100.0, 110.0, 120.0]).reshape(1, 3, 1, 1)
    assert (normalise(pixel, SCALED) == 0).all()


def test_a_crop_in_bgr_has_the_first_and_last_channel_exchanged():
    images, _ = scenes([(20, 20)], 20)
    at = one_crop(1.3, (2.2, 3.1), True)
    rgb, _ = cropped(images, None, [[20, 20]], at, 16, RAW)
    bgr, _ = cropped(images, None, [[20, 20]], at, 16, Preprocessing("BGR", RAW.mean, RAW.std))
    assert torch.equal(bgr, rgb.flip(1))


# ---------------------------------------------------------------- the strong subset


def some_tags(num_images=400, num_tags=5):
    """Tags with a rare class: the last has 8 images only."""
    rng = np.random.default_rng(2)
    tags = rng.random((num_images, num_tags)) < 0.25
    tags[:, -1] = False
    tags[rng.choice(num_images, 8, replace=False), -1] = True
    return tags


def test_5_a_class_lie_in_10_a_class_and_those_in_25():
    tags = some_tags()
    five, ten, many = (set(strong_subset(tags, k, 0).tolist()) for k in (5, 10, 25))
    assert five < ten < many


@pytest.mark.parametrize("per_class", [5, 10, 25])
def test_every_class_has_its_images_where_there_are_enough(per_class):
    tags = some_tags()
    drawn = strong_subset(tags, per_class, 3)
    for column in range(tags.shape[1]):
        assert tags[drawn, column].sum() >= min(per_class, tags[:, column].sum())


@pytest.mark.parametrize("per_class", [5, 10, 25])
def test_no_image_is_drawn_twice_nor_more_than_wanted(per_class):
    drawn = strong_subset(some_tags(), per_class, 0)
    assert len(drawn) == len(set(drawn.tolist()))
    assert drawn.tolist() == sorted(drawn.tolist())
    assert len(drawn) <= 5 * per_class


@pytest.mark.parametrize("per_class", [5, 10, 25])
def test_occurrences_are_counted_whoever_drew_the_image(per_class):
    tags = some_tags()
    drawn, images = strong_subset(tags, per_class, 3, "occurrences"), strong_subset(tags, per_class, 3)
    for column in range(tags.shape[1]):
        assert tags[drawn, column].sum() >= min(per_class, tags[:, column].sum())
    assert len(drawn) == len(set(drawn.tolist())) < len(images)  # each image here shows more than one class


def test_subsets_by_occurrences_lie_in_each_other_and_need_every_image_for_some_class():
    tags = some_tags()
    five, ten, many = (set(strong_subset(tags, k, 0, "occurrences").tolist()) for k in (5, 10, 25))
    assert five < ten < many
    last_class = [row for row in five if tags[row, -1]]
    assert len(last_class) == 5  # the rare class: exactly as often as wanted


def test_both_ways_of_counting_agree_where_an_image_has_one_class():
    tags = np.eye(4, dtype=bool)[np.arange(200) % 4]
    assert strong_subset(tags, 10, 0, "occurrences").tolist() == strong_subset(tags, 10, 0).tolist()


def test_a_class_with_enough_images_draws_exactly_its_share_when_tags_do_not_overlap():
    tags = np.eye(4, dtype=bool)[np.arange(200) % 4]  # every image has one class
    assert np.bincount(strong_subset(tags, 10, 0) % 4).tolist() == [10, 10, 10, 10]


def test_the_subset_depends_on_the_seed_only():
    tags = some_tags()
    before = strong_subset(tags, 5, 7)
    np.random.default_rng(0).random(10)
    torch.manual_seed(99)
    strong_subset(tags, 25, 8)
    assert strong_subset(tags, 5, 7).tolist() == before.tolist()
    assert strong_subset(tags, 5, 8).tolist() != before.tolist()


# ---------------------------------------------------------------- whole images, warped


def test_a_warped_image_keeps_its_corners_and_is_mirrored_where_told():
    canvas = torch.zeros(2, 12, 12, 3, dtype=torch.uint8)
    rng = np.random.default_rng(5)
    for k, (height, width) in enumerate([(7, 10), (12, 5)]):
        canvas[k, :height, :width] = torch.from_numpy(rng.integers(0, 255, (height, width, 3)).astype(np.uint8))
    sizes = torch.tensor([[7, 10], [12, 5]])
    plain, mirrored = (warp_to_square(canvas, sizes, torch.tensor([flip] * 2), 9) for flip in (False, True))
    assert plain.shape == (2, 3, 9, 9)
    for k, (height, width) in enumerate(sizes.tolist()):
        inside = canvas[k, :height, :width].float().permute(2, 0, 1)
        corners = inside[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        torch.testing.assert_close(plain[k][:, [0, 0, -1, -1], [0, -1, 0, -1]], corners, atol=1e-3, rtol=1e-4)
        wanted = torch.nn.functional.interpolate(inside[None], (9, 9), mode="bilinear", align_corners=True)[0]
        torch.testing.assert_close(plain[k], wanted, atol=1e-2, rtol=1e-4)  # nothing of the canvas around it
    torch.testing.assert_close(mirrored, plain.flip(-1), atol=1e-2, rtol=1e-4)
