"""Seeds grow over what touches them and is confidently of their class, through any shape, and are never lost."""

import numpy as np
import pytest
import torch
from conftest import SHARED
from goldens import FOLDER
from gpu import needs_gpu
from pretended_gpu import pretended_gpu
from torch import Tensor

from swdb.proxy.region_growing import _components, grow

GOLDENS = {"six cases": FOLDER / "growing_small.npz", "all 24 cases": SHARED / "goldens" / "growing.npz"}
B, O, N = 0, 1, 2  # background and two objects  # noqa: E741


# ---------------------------------------------------------------- a slow reference, image by image and point by point


def slow_grow(probabilities, seeds, tags, foreground=0.85, background=0.99):
    """Grow one image from its own seeds outwards, without ever looking for regions. Arrays (C, h, w) and (C,)."""
    classes, height, width = seeds.shape
    label = {}
    for y in range(height):
        for x in range(width):
            for k in range(classes):
                if seeds[k, y, x]:
                    label[y, x] = k
            best = max((k for k in range(classes) if tags[k]), key=lambda k: probabilities[k, y, x])
            if probabilities[best, y, x] > (foreground if best else background):
                label[y, x] = best
    grown = seeds.copy()
    front = [point for point, k in label.items() if seeds[(k, *point)]]
    seen = set(front)
    while front:
        y, x = front.pop()
        k = label[y, x]
        if seeds[k, y, x] or seeds[:, y, x].sum() != 1:
            grown[k, y, x] = True
        for point in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
            if point not in seen and label.get(point) == k:
                seen.add(point)
                front.append(point)
    return grown


def slow_batch(probabilities, seeds, tags, *thresholds):
    images = zip(probabilities.numpy(), seeds.numpy(), tags.numpy(), strict=True)
    return torch.from_numpy(np.stack([slow_grow(*image, *thresholds) for image in images]))


# ---------------------------------------------------------------- images in letters


def drawing(predicted: str, seeded: str, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Make one image of two drawings: b, o, n are the classes (sure, or seeded), a dot is neither."""
    shown, marks = (np.array([list(line) for line in text.split()]) for text in (predicted, seeded))
    letters = np.array(list("bon")[:classes])[:, None, None]
    probabilities = torch.from_numpy(np.where(shown == letters, np.float32(0.995), np.float32(0.001)))
    return probabilities[None], torch.from_numpy(marks == letters)[None], torch.ones(1, classes, dtype=torch.bool)


def drawn(grown: Tensor) -> str:
    """Draw what one image's seeds grew to; a point of several classes is an x."""
    count = grown[0].sum(0)
    letters = np.where(count.numpy() > 1, "x", np.array(list("bon"))[grown[0].int().argmax(0).numpy()])
    return " ".join("".join(row) for row in np.where(count.numpy() == 0, ".", letters))


def test_a_region_with_a_seed_grows_as_a_whole_and_one_without_does_not():
    predicted = "oo..o oo..o ....o bbbbb"
    assert drawn(grow(*drawing(predicted, "o.... ..... ..... ....b"))) == "oo... oo... ..... bbbbb"


def test_points_that_touch_at_a_corner_are_one_region_in_both_directions():
    assert drawn(grow(*drawing("o.... .o... ..o.. ...o. ....o", "o.... ..... ..... ..... ....."))) == (
        "o.... .o... ..o.. ...o. ....o"
    )
    assert drawn(grow(*drawing("....o ...o. ..o.. .o... o....", "....o ..... ..... ..... ....."))) == (
        "....o ...o. ..o.. .o... o...."
    )


def test_the_end_of_a_row_does_not_touch_the_beginning_of_the_next():
    assert drawn(grow(*drawing("...oo ..... oo...", "....o ..... ....."))) == "...oo ..... ....."
    assert drawn(grow(*drawing("....o o....", "....o ....."))) == "....o ....."


def test_the_last_row_of_an_image_does_not_touch_the_next_image():
    images = [drawing("..... ooooo", "..... o...."), drawing("ooooo .....", "..... .....")]
    grown = grow(*(torch.cat(parts) for parts in zip(*images, strict=True)))
    assert [drawn(grown[:1]), drawn(grown[1:])] == ["..... ooooo", "..... ....."]


def test_regions_of_different_classes_do_not_join():
    assert drawn(grow(*drawing("oonn oonn", "o... ...."))) == "oo.. oo.."


def test_seeds_without_any_prediction_stay_and_join_the_regions_they_touch():
    # the seed at the left bridges to the region; nothing is predicted where it lies
    assert drawn(grow(*drawing("..ooo .....", ".o... ....."))) == ".oooo ....."


def test_a_seed_that_a_sure_prediction_contradicts_stays_but_does_not_grow():
    assert drawn(grow(*drawing("nnnnn", "..o.."))) == "..o.."


def test_a_point_seeded_by_another_class_is_passed_through_but_not_taken():
    grown = grow(*drawing("nnnnn", "n.o.."))
    assert drawn(grown) == "nnonn"
    assert not grown[0, N, 0, 2]


def test_a_point_of_two_seeds_that_a_third_class_covers_gains_it_as_in_dsrgs_code():
    probabilities, seeds, tags = drawing("nnn", "n..")
    seeds[0, [B, O], 0, 1] = True
    assert grow(probabilities, seeds, tags)[0, :, 0].int().tolist() == [[0, 1, 0], [0, 1, 0], [1, 1, 1]]


def test_of_two_seeds_on_one_point_the_last_class_joins_regions():
    probabilities, seeds, tags = drawing("o.n o.n", "... ...")
    seeds[0, [O, N], 0, 1] = True
    assert grow(probabilities, seeds, tags)[0, :, :].int().tolist() == [
        [[0, 0, 0], [0, 0, 0]],
        [[0, 1, 0], [0, 0, 0]],
        [[0, 1, 1], [0, 0, 1]],
    ]


def test_without_seeds_nothing_grows():
    assert not grow(*drawing("ooo bbb", "... ...")).any()


def test_a_class_that_is_not_a_tag_does_not_grow_and_the_next_best_counts():
    probabilities, seeds, tags = drawing("ooo", "on.")
    tags[0, O] = False
    assert drawn(grow(probabilities, seeds, tags)) == "on."
    probabilities[0, N] = 0.9  # less than the 0.995 of the class that is not a tag
    assert grow(probabilities, seeds, tags)[0, N].int().tolist() == [[0, 1, 1]]


def test_an_image_without_tags_grows_background_alone():
    probabilities, seeds, tags = drawing("bbb ooo", "b.. o..")
    tags[0, 1:] = False
    assert drawn(grow(probabilities, seeds, tags)) == "bbb o.."


def test_of_equal_probabilities_the_first_class_wins():
    probabilities, seeds, tags = drawing("... ...", "... ono")
    probabilities[0, [O, N]] = 0.9
    assert drawn(grow(probabilities, seeds, tags)) == "ooo ono"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("label", "threshold"), [(O, 0.75), (B, 0.875)])
def test_a_probability_must_be_more_than_its_threshold(dtype, label, threshold):
    # these thresholds are exact in every precision
    probabilities, seeds = torch.zeros(1, 3, 1, 3, dtype=dtype), torch.zeros(1, 3, 1, 3, dtype=torch.bool)
    more = threshold + 2**-8 if dtype != torch.float64 else np.nextafter(threshold, 1)
    probabilities[0, label, 0] = torch.tensor([more, threshold, more], dtype=dtype)
    seeds[0, label, 0, 0] = True
    grown = grow(probabilities, seeds, torch.ones(1, 3, dtype=torch.bool), 0.75, 0.875)
    assert grown[0, label, 0].tolist() == [True, False, False]
    probabilities[0, label, 0, 1] = more
    grown = grow(probabilities, seeds, torch.ones(1, 3, dtype=torch.bool), 0.75, 0.875)
    assert grown[0, label, 0].tolist() == [True, True, True]


def test_the_defaults_are_dsrgs():
    probabilities, seeds, tags = drawing("..... .....", "..... .....")
    probabilities[0, O, 0] = torch.tensor([0.86, 0.86, 0.86, 0.84, 0.86])
    probabilities[0, B, 1] = torch.tensor([0.995, 0.995, 0.98, 0.995, 0.995])
    seeds[0, O, 0, 0] = seeds[0, B, 1, 0] = True
    assert drawn(grow(probabilities, seeds, tags)) == "ooo.. bb..."


def test_half_precision_does_not_round_the_thresholds():
    probabilities, seeds, tags = drawing("...", "o..")
    probabilities[0, O] = 0.85009765625  # the float16 next to 0.85, and above it
    assert drawn(grow(probabilities.half(), seeds, tags)) == "ooo"


def test_the_arguments_stay_as_they_are():
    arguments = drawing("oo..n oo..n", "o.... ....n")
    before = [argument.clone() for argument in arguments]
    grown = grow(*arguments)
    assert all(torch.equal(*pair) for pair in zip(arguments, before, strict=True))
    grown[:] = True
    assert torch.equal(arguments[1], before[1])


def test_no_gradient_is_kept():
    probabilities, seeds, tags = drawing("ooo", "o..")
    grown = grow(probabilities.requires_grad_(), seeds, tags)
    assert grown.dtype == torch.bool and not grown.requires_grad


# ---------------------------------------------------------------- long paths


def spiral(side: int) -> np.ndarray:
    """A path of one point's width from the corner to the middle, its turns one point apart, joined nowhere else."""
    path = np.zeros((side, side), bool)
    y = x = 0
    dy, dx = 0, 1
    path[0, 0] = True
    turned = 0
    while turned < 2:
        v, u, w, t = y + dy, x + dx, y + 2 * dy, x + 2 * dx
        free = 0 <= v < side and 0 <= u < side and not (0 <= w < side and 0 <= t < side and path[w, t])
        if free:
            y, x, turned = v, u, 0
            path[y, x] = True
        else:
            dy, dx, turned = dx, -dy, turned + 1
    return path


def snake(side: int) -> np.ndarray:
    """Every other row, joined at the right and at the left in turns."""
    path = np.zeros((side, side), bool)
    path[::2] = True
    path[1::4, -1] = path[3::4, 0] = True
    return path


def comb(side: int) -> np.ndarray:
    path = np.zeros((side, side), bool)
    path[:, ::2] = path[-1] = True
    return path


def zigzag(side: int) -> np.ndarray:
    """Diagonal steps alone, up and down in every other row, the rows joined at alternate ends."""
    path = np.zeros((side, side), bool)
    columns = np.arange(side)
    for top in range(0, side - 1, 4):
        path[top + columns % 2, columns] = True
        if top + 4 < side - 1:
            path[top + 1 : top + 5, -1 if top % 8 == 0 else 0] = True
    return path


SHAPES = {"spiral": spiral, "snake": snake, "comb": comb, "zigzag": zigzag}
SHAPES |= {f"{name}, transposed": (lambda side, make=make: make(side).T) for name, make in SHAPES.items()}
SHAPES |= {f"{name}, turned": (lambda side, make=make: make(side)[::-1, ::-1]) for name, make in SHAPES.items()}


@pytest.mark.parametrize("name", SHAPES)
def test_a_seed_at_one_end_reaches_the_whole_of_a_long_path_and_no_point_beside_it(name):
    path = SHAPES[name](41).copy()
    inside = np.argwhere(path)
    assert len(inside) > 400
    for y, x in (inside[0], inside[-1]):
        probabilities = torch.zeros(1, 3, 41, 41)
        probabilities[0, O] = torch.from_numpy(path) * 0.9
        seeds = torch.zeros(1, 3, 41, 41, dtype=torch.bool)
        seeds[0, O, y, x] = True
        grown = grow(probabilities, seeds, torch.ones(1, 3, dtype=torch.bool))
        np.testing.assert_array_equal(grown[0, O].numpy(), path)
        assert not grown[0, [B, N]].any()


@pytest.mark.parametrize("name", SHAPES)
def test_a_path_that_is_cut_grows_on_the_seeds_side_alone(name):
    path = SHAPES[name](21).copy()
    inside = np.argwhere(path)
    path[tuple(inside[len(inside) // 2])] = False
    probabilities = torch.stack([torch.from_numpy(~path) * 0.995, torch.from_numpy(path) * 0.9])[None].float()
    seeds = torch.zeros(1, 2, 21, 21, dtype=torch.bool)
    seeds[0, 1, inside[0][0], inside[0][1]] = True
    arguments = probabilities, seeds, torch.ones(1, 2, dtype=torch.bool)
    assert torch.equal(grow(*arguments), slow_batch(*arguments))


# ---------------------------------------------------------------- against the reference


def random_batch(seed: int, count: int, classes: int, height: int, width: int, several: bool = False):
    """Draw noisy predictions (few classes, so that regions meet), seeds and tags; points of several seeds on demand."""
    rng = np.random.default_rng(seed)
    winner = rng.integers(0, rng.integers(2, classes + 1), (count, 1, height, width))
    chance = np.where(np.arange(classes)[:, None, None] == winner, 0.8 + 0.21 * rng.random(winner.shape), 0.1)
    tags = rng.random((count, classes)) < 0.7
    tags[:, 0] = True
    marks = rng.integers(0, classes, (count, 1, height, width)) == np.arange(classes)[:, None, None]
    seeds = marks & (rng.random((count, 1, height, width)) < rng.choice([0.02, 0.3]))
    if several:
        seeds |= rng.random(seeds.shape) < 0.1
    return torch.from_numpy(chance.astype(np.float32)), torch.from_numpy(seeds), torch.from_numpy(tags)


@pytest.mark.parametrize("several", [False, True], ids=["one seed a point", "several seeds a point"])
@pytest.mark.parametrize("seed", range(12))
def test_random_batches_grow_as_the_slow_reference_has_it(seed, several):
    rng = np.random.default_rng(1000 + seed)
    arguments = random_batch(seed, 4, int(rng.integers(2, 8)), *map(int, rng.integers(1, 24, 2)), several)
    thresholds = (float(rng.uniform(0.8, 0.9)), float(rng.uniform(0.8, 1)))
    grown = grow(*arguments, *thresholds)
    assert torch.equal(grown, slow_batch(*arguments, *thresholds))
    assert (grown >= arguments[1]).all()


def test_random_batches_do_grow():
    batches = [random_batch(seed, 2, 4, 20, 20) for seed in range(4)]
    assert sum((grow(*arguments) & ~arguments[1]).sum() for arguments in batches) > 200


def test_a_batch_grows_as_its_images_do_one_by_one():
    arguments = random_batch(5, 6, 5, 17, 23)
    singles = [grow(*(argument[k : k + 1] for argument in arguments)) for k in range(6)]
    assert torch.equal(grow(*arguments), torch.cat(singles))


def test_a_grid_of_one_point_and_a_batch_of_none():
    assert drawn(grow(*drawing("o", "o"))) == "o"
    empty = [torch.zeros(0, *shape) for shape in ((3, 5, 5), (3, 5, 5), (3,))]
    assert grow(empty[0], empty[1].bool(), empty[2].bool()).shape == (0, 3, 5, 5)


def test_tensors_of_another_memory_order_grow_the_same():
    arguments = random_batch(7, 3, 4, 15, 15)
    probabilities, seeds = (one.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) for one in arguments[:2])
    assert not seeds.is_contiguous()
    assert torch.equal(grow(probabilities, seeds, arguments[2]), grow(*arguments))


def golden(name: str, found, shape) -> Tensor:
    return torch.from_numpy(np.unpackbits(found[name], axis=-1)[..., : shape[-1]].reshape(shape).astype(bool))


@pytest.mark.parametrize("cases", GOLDENS)
def test_seeds_grow_as_in_dsrgs_own_code(cases):
    """Six of the cases are kept here, and stand for all where the others are not at hand."""
    if cases != "six cases" and not GOLDENS[cases].is_file():
        pytest.skip("the other outputs of DSRG's own code are not at hand")
    with np.load(GOLDENS[cases]) as found:
        shape = tuple(found["shape"])
        seeds, expected = golden("seeds", found, shape), golden("grown", found, shape)
        background, foreground = found["thresholds"].tolist()
        probabilities, tags = torch.from_numpy(found["probs"]), torch.from_numpy(found["labels"].astype(bool))
    assert len(seeds) == {"six cases": 6, "all 24 cases": 24}[cases]
    for precision in (torch.float16, torch.float32, torch.float64):
        grown = grow(probabilities.to(precision), seeds, tags, foreground, background)
        assert (grown != expected).flatten(1).sum(1).tolist() == [0] * len(seeds)
    assert ((expected & ~seeds).flatten(1).sum(1) > 500).all()


# ---------------------------------------------------------------- rounds that nobody looks at, as on a GPU


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [5, 16, 41])
def test_as_many_rounds_as_can_be_needed_join_every_path(shape, side):
    regions = torch.from_numpy(np.ascontiguousarray(SHAPES[shape](side))).long()[None]
    found = _components(regions, look=False)
    assert torch.equal(found, _components(regions, look=True))
    assert len(found[regions == 1].unique()) == 1


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(41, 41), (8, 33), (1, 50), (7, 1)])
def test_as_many_rounds_as_can_be_needed_join_what_looking_joins(classes, height, width):
    random = np.random.default_rng(classes)
    regions = torch.from_numpy(random.integers(-1, classes - 1, (12, height, width)))
    assert torch.equal(_components(regions, look=False), _components(regions, look=True))


def test_seeds_grow_the_same_on_a_pretended_gpu_and_nobody_waits():
    for seed in range(3):
        arguments = random_batch(seed, 5, 6, 41, 41, several=seed % 2 == 1)
        with pretended_gpu() as watch:
            grown = grow(*(argument.to("cuda") for argument in arguments))
            assert len(watch.waits["", ""]) == 1  # the arguments went there
            grown = grown.cpu()
        assert torch.equal(grown, grow(*arguments))


@needs_gpu
def test_a_gpu_grows_what_the_processor_does():
    for seed in range(8):
        arguments = random_batch(seed, 20, 6, 41, 41, several=seed % 2 == 1)
        grown = grow(*(argument.cuda() for argument in arguments))
        assert grown.is_cuda and torch.equal(grown.cpu(), grow(*arguments))
