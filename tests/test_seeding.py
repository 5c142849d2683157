"""Training on seed cues: cues laid over pictures, the balanced loss by hand, a small training that is cut off."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from conftest import TINY
from slow import enlarge_cues

from swdb import loop
from swdb.cues import GRID
from swdb.loop import Machine
from swdb.method import StrongWeakNetwork
from swdb.networks import Preprocessing
from swdb.preset import load_preset
from swdb.seeding import FLOOR, balanced_seed_loss, spread, train_on_cues
from swdb.store import Store

VOID = 255
CPU = Machine(torch.device("cpu"), "fp32")

# ---------------------------------------------------------------- cues laid over pictures

SIZES = [(1, 1), (1, 9), (2, 3), (41, 41), (40, 43), (81, 21), (60, 64), (17, 96)]
CANVAS = 96


@pytest.fixture
def maps() -> np.ndarray:
    """Cue maps in which every cell is told from its neighbours."""
    return np.random.default_rng(0).integers(0, VOID, (len(SIZES), GRID, GRID)).astype(np.uint8)


@pytest.fixture
def laid(maps) -> np.ndarray:
    labels = spread(torch.from_numpy(maps), torch.tensor(SIZES), CANVAS)
    assert labels.shape == (len(SIZES), CANVAS, CANVAS) and labels.dtype == torch.uint8
    return labels.numpy()


def test_cues_lie_where_the_networks_that_made_them_saw_the_cells(maps, laid):
    def cell(pixel: int, size: int) -> int:
        return round(Fraction((GRID - 1) * pixel, max(size - 1, 1)))  # exact; a tie goes to the even cell

    for k, (height, width) in enumerate(SIZES):
        for y in range(height):
            row = [maps[k, cell(y, height), cell(x, width)] for x in range(width)]
            assert laid[k, y, :width].tolist() == row


def test_cues_are_laid_as_enlarging_them_says(maps, laid):
    for k, (height, width) in enumerate(SIZES):
        np.testing.assert_array_equal(laid[k, :height, :width], enlarge_cues(maps[k], height, width))


def test_outside_the_picture_there_is_no_cue(laid):
    for k, (height, width) in enumerate(SIZES):
        assert (laid[k, height:] == VOID).all() and (laid[k, :, width:] == VOID).all()


def test_cells_without_a_cue_have_none_in_the_picture():
    one = np.full((1, GRID, GRID), VOID, np.uint8)
    one[0, 20, 0] = 7  # the middle row, the left border
    labels = spread(torch.from_numpy(one), torch.tensor([[81, 81]]), 90)[0]
    assert torch.nonzero(labels == 7).tolist() == [
        [y, x] for y in (39, 40, 41) for x in (0, 1)
    ]  # ties go to even cells
    assert ((labels == 7) | (labels == VOID)).all()


# ---------------------------------------------------------------- the loss


def loss_by_hand(logits: np.ndarray, labels: np.ndarray) -> float:
    """DSRG's balanced seed loss, pixel by pixel in float64."""
    images = []
    for scores, wanted in zip(logits.astype(np.float64), labels, strict=True):
        total = {"background": 0.0, "foreground": 0.0}
        count = {"background": 0, "foreground": 0}
        for y in range(wanted.shape[0]):
            for x in range(wanted.shape[1]):
                if wanted[y, x] == VOID:
                    continue
                probability = np.exp(scores[:, y, x] - scores[:, y, x].max())
                probability = probability / probability.sum() + FLOOR
                kind = "foreground" if wanted[y, x] else "background"
                total[kind] -= np.log(probability[wanted[y, x]] / probability.sum())
                count[kind] += 1
        images.append(sum(total[kind] / max(count[kind], 1) for kind in total))
    return float(np.mean(images))


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(0, 3, (4, 6, 7, 5))).float().requires_grad_()


@pytest.fixture
def labels() -> torch.Tensor:
    """Few cues: of both kinds, of background alone, of objects alone, none."""
    found = np.random.default_rng(2).choice([0, 1, 4, 5, VOID], (4, 7, 5), p=[0.1, 0.1, 0.1, 0.1, 0.6])
    found[1] = np.where(found[1] == 0, 0, VOID)
    found[2] = np.where(found[2] == 0, VOID, found[2])
    found[3] = VOID
    return torch.from_numpy(found)


def test_the_loss_is_what_a_slow_loop_gives(logits, labels):
    assert {tuple(np.unique(one)) for one in labels.numpy()} >= {(0, VOID), (VOID,)}
    assert balanced_seed_loss(logits, labels).item() == pytest.approx(loss_by_hand(logits.detach().numpy(), labels))


def test_the_loss_is_computed_in_full_precision(logits, labels):
    rounded = logits.detach().bfloat16()
    found = balanced_seed_loss(rounded, labels)
    assert found.item() == pytest.approx(loss_by_hand(rounded.float().numpy(), labels), rel=1e-5)


def undecided(height: int = 4, width: int = 4) -> torch.Tensor:
    """One picture for whose pixels all of four classes are alike."""
    return torch.zeros(1, 4, height, width, requires_grad=True)


@pytest.mark.parametrize("objects", [1, 5, 15])
def test_background_and_objects_weigh_the_same_however_many_cells_they_have(objects):
    labels = torch.zeros(1, 16, dtype=torch.long)
    labels[0, :objects] = 2
    scores = undecided()
    loss = balanced_seed_loss(scores, labels.view(1, 4, 4))
    assert loss.item() == pytest.approx(2 * np.log(4), rel=1e-5)
    loss.backward()
    of = scores.grad.abs().sum(1).flatten()
    assert of[:objects].sum().item() == pytest.approx(of[objects:].sum().item(), rel=1e-5)


def test_one_kind_of_cues_alone_weighs_as_much_as_beside_the_other():
    only = torch.full((1, 4, 4), VOID)
    only[0, 0, 0] = 2
    assert balanced_seed_loss(undecided(), only).item() == pytest.approx(np.log(4), rel=1e-5)


def test_without_cues_the_loss_is_0_and_moves_nothing(logits):
    loss = balanced_seed_loss(logits, torch.full((4, 7, 5), VOID))
    assert loss.item() == 0
    loss.backward()
    assert (logits.grad == 0).all()


def test_pixels_without_a_cue_are_not_learnt_from(logits, labels):
    loss = balanced_seed_loss(logits, labels)
    loss.backward()
    without = (labels == VOID)[:, None].expand_as(logits)
    assert (logits.grad[without] == 0).all() and (logits.grad[~without] != 0).all()
    changed = torch.where(without, logits.detach() + 50, logits.detach())
    assert balanced_seed_loss(changed, labels).item() == loss.item()


def test_gradients_are_finite_where_the_network_is_sure_and_wrong():
    scores = torch.tensor([1e4, -1e4, -1e4, -1e4]).view(1, 4, 1, 1).repeat(1, 1, 1, 2).requires_grad_()
    loss = balanced_seed_loss(scores, torch.tensor([[[0, 3]]]))
    loss.backward()
    assert scores.grad.isfinite().all()
    assert loss.item() == pytest.approx(
        -np.log(FLOOR / (1 + 4 * FLOOR)), rel=1e-4
    )  # the floor caps what an error costs


# ---------------------------------------------------------------- a small training

PRESET = load_preset(TINY)  # pictures of 32 pixels, crops of 32
UNCUED = [2, 5]
SIDE, HEIGHT = 32, 24  # of the canvas, and of the pictures on it


def settings(steps: int):
    proxy = replace(PRESET.proxy, steps=steps, batch=4, lr=2e-3)
    training = replace(PRESET.training, lr_backbone=2e-3)
    return replace(PRESET, proxy=proxy, training=training)


def pictures() -> tuple[Store, np.ndarray]:
    """Grey pictures with a coloured half, whose colour tells the class; a few cells of each half are cued.

    There are no masks: a training that looked at them would fail.
    """
    random = np.random.default_rng(3)
    images = random.integers(90, 110, (8, SIDE, SIDE, 3)).astype(np.uint8)
    maps = np.full((8, GRID, GRID), VOID, np.uint8)
    for k in range(8):
        label = 1 + k % 2
        images[k, :, SIDE // 2 :, label] = 230
        maps[k, 10:30:5, 5] = 0
        maps[k, 10:30:5, 35] = label
    images[:, HEIGHT:] = 0
    maps[UNCUED] = VOID
    return Store([str(k) for k in range(8)], images, None, torch.tensor([[HEIGHT, SIDE]] * 8)), maps


def train(folder, steps: int = 6, progress=lambda done, of: None, keep=range(8)):
    """Train a small network on some of the pictures, from the same initial values each time."""
    store, maps = pictures()
    keep = list(keep)
    store, maps = Store([str(k) for k in keep], store.images[keep], None, store.sizes[keep]), maps[keep]
    torch.manual_seed(0)
    network = StrongWeakNetwork(PRESET.network, PRESET.data.num_classes, 0, False)
    return train_on_cues(folder, "cues-1-tiny", network, store, maps, settings(steps), Preprocessing(), CPU, progress)


def weights(folder) -> bytes:
    return (folder / "weights.pt").read_bytes()


def test_a_few_steps_lower_the_loss_and_find_the_classes(tmp_path):
    network, record = train(tmp_path, steps=60)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines]
    assert all(list(line) == ["step", "loss", "seeds"] for line in lines) and len(losses) == record["steps"] == 60
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 3
    assert not network.training
    store, _ = pictures()
    shown = (torch.from_numpy(store.images[:2, :HEIGHT]).permute(0, 3, 1, 2).float() - 127.5) / 64
    with torch.no_grad():
        found = network.logits(network.features(shown), "strong").argmax(1)
    assert found[:, 12, 4].tolist() == [0, 0] and found[:, 12, 28].tolist() == [1, 2]


def test_images_without_cues_are_left_out(tmp_path):
    train(tmp_path / "whole")
    train(tmp_path / "cued alone", keep=[k for k in range(8) if k not in UNCUED])
    train(tmp_path / "another less", keep=[k for k in range(8) if k not in [*UNCUED, 0]])
    assert weights(tmp_path / "whole") == weights(tmp_path / "cued alone") != weights(tmp_path / "another less")


@pytest.mark.parametrize("at", [1, 4])
def test_a_training_that_was_cut_off_ends_with_the_same_bytes(tmp_path, monkeypatch, at):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)

    def cut(done: int, of: int) -> None:
        if done == at:
            raise RuntimeError("power cut")

    train(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path / "cut", progress=cut)
    told = []
    train(tmp_path / "cut", progress=lambda done, of: told.append(done))
    assert told[0] in (at - 1, at) and told[-1] == 6
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert (tmp_path / "cut" / "log.jsonl").read_text() == (tmp_path / "whole" / "log.jsonl").read_text()
