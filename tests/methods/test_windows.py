"""Windows: every set of an image's classes is asked for, its pixels and nothing else are 1, and draws hang on the step."""

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY
from studies import CPU

from swdb.core.errors import BadInput
from swdb.data.store import Store
from swdb.methods.material import Material
from swdb.methods.windows import Windows, binary, boxes_of, crops_of, moved_out, questions_of, sets_of
from swdb.nn.model import Model
from swdb.nn.networks import Preprocessing
from swdb.specs.presets import load_preset

VOID, NUM_CLASSES, CANVAS = 255, 4, 40
SETTINGS = replace(load_preset(TINY).decouplednet, size=32, window=34, batch=4, norm_batch=4)
NAMES = ["background", "ant", "bee", "cat"]


def scenes():
    """Three images of different sizes, two with several classes and void, their colours telling row and column."""
    masks = np.full((3, CANVAS, CANVAS), VOID, np.uint8)
    sizes = [(30, 40), (40, 24), (36, 36)]
    for mask, (height, width) in zip(masks, sizes, strict=True):
        mask[:height, :width] = 0
    masks[0, 4:12, 6:20], masks[0, 15:25, 20:38], masks[0, 13:15, 6:20] = 1, 2, VOID
    masks[1, 10:30, 3:20] = 3
    masks[2, 2:6, 2:6], masks[2, 20:30, 4:9], masks[2, 20:34, 20:34] = 1, 2, 3
    places = np.mgrid[:CANVAS, :CANVAS].astype(np.uint8) * 5
    images = np.stack([np.stack([places[0], places[1], np.full((CANVAS, CANVAS), 60 * k)], -1) for k in range(3)])
    return images.astype(np.uint8), masks, torch.tensor(sizes)


def material(strong=(0, 1, 2), masks=None):
    images, drawn, sizes = scenes()
    store = Store(["a", "b", "c"], images, drawn if masks is None else masks, sizes)
    dataset = SimpleNamespace(num_classes=NUM_CLASSES, class_names=NAMES, list_path=lambda split: f"{split}.txt")
    model = Model(torch.nn.Identity(), Preprocessing("RGB", (0.0,) * 3, (1.0,) * 3), CPU)
    return Material(dataset, store, np.array(strong), None, model)


def windows(seed=0, **settings):
    found, chosen = material(), replace(SETTINGS, **settings)
    return Windows(questions_of(found, chosen), found, chosen, seed)


# ---------------------------------------------------------------- what is asked for


def test_every_set_of_an_image_s_classes_is_asked_for_but_the_empty_one():
    found = questions_of(material(), SETTINGS)
    asked = {(row, tuple(np.flatnonzero(flags) + 1)) for row, flags in zip(found.rows, found.asked, strict=True)}
    wanted = {(0, one) for one in [(1,), (2,), (1, 2)]} | {(1, (3,))}
    wanted |= {(2, one) for size in (1, 2, 3) for one in combinations((1, 2, 3), size)}
    assert asked == wanted and len(found.rows) == len(wanted)


def test_or_each_class_alone():
    found = questions_of(material(), replace(SETTINGS, subsets="single"))
    assert found.asked.sum(1).tolist() == [1] * 6
    assert sets_of([], "all") == sets_of([], "single") == []


def test_of_many_classes_those_with_the_most_pixels_are_asked_for():
    found = questions_of(material(), replace(SETTINGS, most_classes=2))
    last = found.asked[found.rows == 2]
    assert len(last) == 3 and not last[:, 0].any()  # class 1 has 16 pixels, the others 50 and 196


def test_a_box_holds_the_pixels_of_its_set_and_void_is_none():
    found = questions_of(material(), SETTINGS)
    boxes = {
        (row, tuple(np.flatnonzero(f) + 1)): box.tolist() for row, f, box in zip(*vars(found).values(), strict=True)
    }
    assert boxes[0, (1,)] == [4, 6, 12, 20]
    assert boxes[0, (1, 2)] == [4, 6, 25, 38]
    assert boxes_of(np.array([[0, VOID], [9, 0]], np.uint8), NUM_CLASSES) == {}


def test_a_class_without_a_strong_image_is_refused_by_name():
    with pytest.raises(BadInput) as caught:
        questions_of(material(strong=(0,)), SETTINGS)
    assert "'cat'" in caught.value.found and caught.value.expected == "a strong image of every class"


def test_strong_images_that_show_nothing_are_refused():
    _, masks, _ = scenes()
    masks[masks != VOID] = 0
    with pytest.raises(BadInput) as caught:
        questions_of(material(masks=masks), SETTINGS)
    assert "'ant'" in caught.value.found


# ---------------------------------------------------------------- where windows lie


def test_sides_move_outwards_by_a_share_of_the_free_space():
    box, size = np.array([[4.0, 6.0, 12.0, 20.0]]), np.array([[30, 40]])
    assert moved_out(box, size, np.zeros((1, 4))).tolist() == box.tolist()
    assert moved_out(box, size, np.ones((1, 4))).tolist() == [[0, 0, 30, 40]]
    assert moved_out(box, size, np.array([[0.5, 0.5, 0.5, 0.25]])).tolist() == [[2, 3, 21, 25]]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_crop_shows_some_of_what_it_asks_for_wherever_it_lies(flip, place):
    # a class at the edge of a window that is mostly cut away: without being moved, a crop could miss it
    windows = np.array([[0.0, 0.0, 40.0, 40.0]] * 4)
    boxes = np.array([[0, 0, 1, 1], [39, 39, 40, 40], [0, 39, 1, 40], [18, 18, 22, 22]], float)
    sizes, size, window = np.array([[40, 40]] * 4), 20, 80
    crops = crops_of(windows, boxes, sizes, np.full((4, 2), place), np.full(4, flip), window, size)
    for k, (y0, x0, y1, x1) in enumerate(boxes):
        x0, x1 = (40 - x1, 40 - x0) if flip else (x0, x1)
        for offset, low, high in zip(crops.offset[k].tolist(), (2 * y0, 2 * x0), (2 * y1, 2 * x1), strict=True):
            assert 0 <= offset <= window - size
            assert offset < high and offset + size > low


def test_a_window_is_warped_without_keeping_its_aspect_and_mask_and_image_agree():
    made = windows(room=0.0, window=32, batch=11)
    inputs, masks, asked = made.cut(made.draw(0))
    assert inputs.shape == (11, 3, 32, 32) and masks.shape == (11, 32, 32) and asked.shape == (11, 3)
    _, labels, _ = scenes()
    for values, mask, flags in zip(inputs.round().long(), masks, asked, strict=True):
        row = int(values[2].unique().item() // 60)
        ys, xs = (values[k].float() / 5 for k in (0, 1))
        # what lies between two pixels may be rounded to either
        clear = ((ys - ys.round()).abs() < 0.3) & ((xs - xs.round()).abs() < 0.3)
        true = torch.from_numpy(labels[row].astype(np.int64))[ys.round().long(), xs.round().long()]
        wanted = torch.tensor([0, *flags.long().tolist()] + [0] * 251 + [VOID])[true]
        assert clear.float().mean() > 0.2
        assert (mask == wanted)[clear].float().mean() > 0.97
        assert (mask == 1).any()
        # tight: the pixels asked for reach all four sides
        for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
            assert (side == 1).any()


def test_masks_are_one_where_asked_for_void_where_void_and_zero_elsewhere():
    labels = torch.tensor([[[0, 1, 2], [3, VOID, 1]], [[0, 1, 2], [3, VOID, 1]]])
    asked = torch.tensor([[1.0, 0, 1], [0, 1.0, 0]])
    assert binary(labels, asked).tolist() == [[[0, 1, 0], [1, VOID, 1]], [[0, 0, 1], [0, VOID, 0]]]


# ---------------------------------------------------------------- draws


def test_a_batch_is_a_function_of_seed_and_step_alone():
    one, again, other = windows(), windows(), windows(seed=1)
    for step in (0, 7):
        first, second = one.draw(step), again.draw(step)
        assert all(torch.equal(value, second[name]) for name, value in first.items())
        assert not torch.equal(first["offset"], other.draw(step)["offset"])
    assert not torch.equal(one.draw(0)["offset"], one.draw(1)["offset"])


def test_every_question_is_asked_once_before_one_is_asked_again():
    made = windows(batch=11)
    drawn = made.draw(3)
    asked = sorted((int(row), tuple(flags.tolist())) for row, flags in zip(drawn["rows"], drawn["asked"], strict=True))
    assert len(set(asked)) == 11


def test_batches_for_statistics_are_other_ones_of_their_own_size_from_the_middle():
    made = windows(norm_batch=6, room=0.0)
    drawn = made.draw_for_statistics(0)
    assert len(drawn["rows"]) == 6 and torch.equal(
        drawn["offset"], windows(norm_batch=6, room=0.0).draw_for_statistics(0)["offset"]
    )
    assert drawn["flip"].any() and not drawn["flip"].all()
    for offset, scale in zip(drawn["offset"], drawn["scale"], strict=True):
        start = (offset - 1) / scale  # of a window of 34, one pixel of which is cut off on each side
        assert torch.allclose(start, start.round(), atol=1e-4)
