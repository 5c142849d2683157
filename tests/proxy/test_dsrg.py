"""DSRG's training: features and the grid of cues, both losses by hand, a small training that is cut off, and what it refuses."""

import json
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from conftest import TINY
from studies import CPU

from swdb.core.errors import BadInput
from swdb.data.store import Store
from swdb.nn import trainer
from swdb.nn.compute import StepSettings
from swdb.nn.dense_crf import refine
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, Preprocessing, small
from swdb.nn.trainer import Job, Schedule
from swdb.proxy import dsrg
from swdb.proxy.dsrg import (
    COLLAPSE_OVER,
    FLOOR,
    DsrgNetwork,
    balanced_seed_loss,
    boundary_loss,
    feature_centres,
    renormalise,
    seeded_losses,
    seeds_at_features,
    train_on_cues,
    train_on_masks,
)
from swdb.proxy.grid import GRID
from swdb.proxy.region_growing import grow
from swdb.specs.crf_parameters import crf_set
from swdb.specs.presets import load_preset

VOID = 255
PRESET = load_preset(TINY)

# ---------------------------------------------------------------- the network


def network(**changes) -> DsrgNetwork:
    torch.manual_seed(0)
    return DsrgNetwork(small(), replace(PRESET.dsrg, **changes), 4)


@pytest.mark.parametrize(
    ("backbone", "size", "features"),
    [("small", 64, 16), ("squeezenet1_1", 161, 21), ("vgg16", 321, 41), ("efficientnet_lite0", 161, 11)],
)
def test_a_square_of_the_presets_gives_its_features(backbone, size, features):
    with torch.device("meta"):
        net = DsrgNetwork(BACKBONES[backbone](), replace(PRESET.dsrg, dilations=(1,)), 3)
    assert net(torch.empty(1, 3, size, size, device="meta")).shape == (1, 3, features, features)


def test_the_logits_of_all_dilations_are_summed():
    net = network(dilations=(1, 2, 3), dropout=0.0).eval()
    inputs = torch.randn(2, 3, 32, 32)
    features = net.backbone(inputs)
    torch.testing.assert_close(net(inputs), net.heads[0](features) + net.heads[1](features) + net.heads[2](features))
    assert [head[0].dilation for head in net.heads] == [(1, 1), (2, 2), (3, 3)]


def test_every_parameter_has_one_rate_biases_a_double_one_without_decay():
    net = network()
    settings = replace(PRESET.dsrg, lr_backbone=1.0, lr_new=2.0, lr_last=30.0)
    groups = net.groups(settings, factor=0.5)
    rate = {id(tensor): (group["lr"], group.get("weight_decay")) for group in groups for tensor in group["params"]}
    assert len(rate) == sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    assert rate[id(net.backbone.features[0].weight)] == (0.5, None)
    assert rate[id(net.backbone.features[0].bias)] == (1.0, 0.0)
    for head in net.heads:
        assert [rate[id(head[k].weight)] for k in (0, 3, 6)] == [(1.0, None), (1.0, None), (15.0, None)]
        assert [rate[id(head[k].bias)] for k in (0, 3, 6)] == [(2.0, 0.0), (2.0, 0.0), (30.0, 0.0)]


# ---------------------------------------------------------------- features and the grid of cues


def test_the_centres_of_vgg16s_features_are_every_eighth_pixel():
    with torch.device("meta"):
        backbone = BACKBONES["vgg16"]()
    assert feature_centres(backbone, 41, 321, torch.device("cpu")).tolist() == list(range(0, 321, 8))


def test_at_41_features_cues_are_taken_as_they_are_and_mirrored_with_their_image():
    maps = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (2, GRID, GRID)).astype(np.uint8))
    maps[:, 3, 4] = VOID
    at = 8 * torch.arange(GRID)
    seeds = seeds_at_features(maps, torch.tensor([False, True]), at, 321, 5)
    assert seeds.shape == (2, 5, GRID, GRID) and seeds.dtype == torch.bool
    labels = torch.where(seeds.any(1), seeds.float().argmax(1), VOID).to(torch.uint8)
    assert torch.equal(labels[0], maps[0]) and torch.equal(labels[1], maps[1].flip(1))


@pytest.mark.parametrize(
    ("name", "size", "count"),
    [("small", 64, 16), ("small", 32, 8), ("squeezenet1_1", 161, 21), ("efficientnet_lite0", 161, 11)],
)
def test_of_another_number_every_feature_takes_the_nearest_cue(name, size, count):
    backbone = BACKBONES[name]()
    maps = torch.from_numpy(np.random.default_rng(1).integers(0, 200, (1, GRID, GRID)).astype(np.uint8))
    at = feature_centres(backbone, count, size, torch.device("cpu"))
    found = seeds_at_features(maps, torch.tensor([False]), at, size, 200)[0].float().argmax(0)

    def nearest(k: int) -> int:
        return round(Fraction((GRID - 1) * round(backbone.stride * k + backbone.first_centre), size - 1))

    wanted = [[int(maps[0, nearest(y), nearest(x)]) for x in range(count)] for y in range(count)]
    assert found.tolist() == wanted


# ---------------------------------------------------------------- the losses


def random_case(images: int = 3, classes: int = 4, side: int = 6):
    """Probabilities, multi-hot seeds of both kinds, of background alone, and none."""
    random = np.random.default_rng(2)
    probability = torch.from_numpy(random.dirichlet(np.ones(classes), (images, side, side))).permute(0, 3, 1, 2).float()
    seeds = torch.from_numpy(random.random((images, classes, side, side)) < 0.15)
    seeds[1, 1:] = False
    seeds[2] = False
    return probability, seeds


def seed_loss_by_hand(probability, seeds) -> float:
    """DSRG's balanced seed loss, point by point in float64."""
    total = 0.0
    for p, s in zip(probability.double().numpy(), seeds.numpy(), strict=True):
        for classes in (range(1), range(1, len(p))):
            logs = [
                np.log(p[c, y, x]) for c in classes for y in range(p.shape[1]) for x in range(p.shape[2]) if s[c, y, x]
            ]
            total -= sum(logs) / max(len(logs), 1)
    return total / len(probability)


def test_the_seed_loss_is_what_a_slow_loop_gives():
    probability, seeds = random_case()
    assert balanced_seed_loss(probability, seeds).item() == pytest.approx(
        seed_loss_by_hand(probability, seeds), rel=1e-5
    )


@pytest.mark.parametrize("objects", [1, 5, 15])
def test_background_and_objects_weigh_the_same_however_many_points_they_have(objects):
    scores = torch.zeros(1, 4, 4, 4, requires_grad=True)
    seeds = torch.zeros(1, 4, 16, dtype=torch.bool)
    seeds[0, 2, :objects], seeds[0, 0, objects:] = True, True
    loss = balanced_seed_loss(scores.softmax(1), seeds.view(1, 4, 4, 4))
    assert loss.item() == pytest.approx(2 * np.log(4), rel=1e-5)
    loss.backward()
    of = scores.grad.abs().sum(1).flatten()
    assert of[:objects].sum().item() == pytest.approx(of[objects:].sum().item(), rel=1e-5)


def test_without_seeds_the_seed_loss_is_0_and_moves_nothing():
    scores = torch.randn(2, 4, 5, 5, requires_grad=True)
    loss = balanced_seed_loss(scores.softmax(1), torch.zeros(2, 4, 5, 5, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and (scores.grad == 0).all()


def test_the_boundary_loss_is_the_clipped_divergence():
    p = torch.tensor([0.9, 0.0999, 0.0001]).view(1, 3, 1, 1)
    q = torch.tensor([0.02, 0.08, 0.9]).view(1, 3, 1, 1)  # ratios 1/45, below 0.05; 0.8; 9000, above 20
    wanted = 0.02 * np.log(0.05) + 0.08 * np.log(0.08 / 0.0999) + 0.9 * np.log(20)
    assert boundary_loss(p, q).item() == pytest.approx(wanted, rel=1e-5)
    assert boundary_loss(q, q).item() == 0


def test_the_crf_in_training_takes_minus_p_and_narrow_kernels_and_its_floor(monkeypatch):
    asked = {}

    def watched(energy, images, crf, check):
        asked.update(energy=energy, crf=crf, check=check)
        return refine(energy, images, crf)

    monkeypatch.setattr(dsrg, "refine", watched)
    logits = torch.randn(2, 6, 41, 41)
    images = torch.randint(0, 255, (2, 41, 41, 3), dtype=torch.uint8)
    seeds = torch.rand(2, 6, 41, 41) < 0.02
    terms, (predicted, wanted) = seeded_losses(logits, seeds, images, torch.ones(2, 6, dtype=torch.bool), PRESET.dsrg)
    p = renormalise(logits.softmax(1) + FLOOR)
    torch.testing.assert_close(asked["energy"], -p)
    assert asked["crf"] == crf_set("dsrg").scaled(1 / 12) and asked["check"]
    q = renormalise(refine(-p, images, asked["crf"]).clamp(min=FLOOR))
    grown = grow(q, seeds, torch.ones(2, 6, dtype=torch.bool))
    assert terms["boundary"].item() == pytest.approx(boundary_loss(p, q).item())
    assert terms["seeds"].item() == pytest.approx(balanced_seed_loss(p, grown).item())
    assert predicted.item() == pytest.approx((p.argmax(1) != 0).float().mean().item()) and 0 < wanted < 1


def test_no_gradient_flows_through_the_crf():
    logits = torch.randn(1, 6, 8, 8, requires_grad=True)
    images = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    seeds = torch.zeros(1, 6, 8, 8, dtype=torch.bool)
    terms, _ = seeded_losses(logits, seeds, images, torch.ones(1, 6, dtype=torch.bool), PRESET.dsrg)
    terms["boundary"].backward()
    p = renormalise(logits.detach().softmax(1) + FLOOR)
    q = renormalise(refine(-p, images, crf_set("dsrg").scaled(8 / GRID / 12)).clamp(min=FLOOR))
    inside = ((q / p) > 0.05) & ((q / p) < 20)
    again = logits.detach().requires_grad_()
    (-(q * inside * renormalise(again.softmax(1) + FLOOR).log()).sum(1).mean()).backward()
    torch.testing.assert_close(logits.grad, again.grad)


def test_the_gradient_through_the_crf_is_that_of_the_public_code():
    settings = replace(PRESET.dsrg, crf_gradient=True)
    logits = torch.randn(2, 6, 8, 8, requires_grad=True)
    images = torch.randint(0, 255, (2, 8, 8, 3), dtype=torch.uint8)
    seeds = torch.zeros(2, 6, 8, 8, dtype=torch.bool)
    tags = torch.ones(2, 6, dtype=torch.bool)
    terms, _ = seeded_losses(logits, seeds, images, tags, settings)
    plain, _ = seeded_losses(logits.detach(), seeds, images, tags, PRESET.dsrg)
    assert torch.equal(terms["boundary"].detach(), plain["boundary"])  # the loss is the same, its gradient is not
    terms["boundary"].backward()

    # ConstrainLossLayer gives dL/dp and dL/d(log q); CRFLayer.backward hands (1 - q) times the latter to p.
    p = renormalise(logits.detach().softmax(1) + FLOOR).requires_grad_()
    q = renormalise(refine(-p.detach(), images, crf_set("dsrg").scaled(8 / GRID / 12)).clamp(min=FLOOR))
    log_q = q.log().requires_grad_()
    loss = (log_q.exp() * (log_q.exp() / p).clamp(0.05, 20).log()).sum(1).mean()
    to_p, to_log_q = torch.autograd.grad(loss, (p, log_q))
    again = logits.detach().requires_grad_()
    renormalise(again.softmax(1) + FLOOR).backward(to_p + (1 - q) * to_log_q)
    torch.testing.assert_close(logits.grad, again.grad)
    assert not torch.allclose(to_p, to_p + (1 - q) * to_log_q)


# ---------------------------------------------------------------- a small training

UNCUED = [2, 5]
SIDE, HEIGHT = 32, 24  # of the canvas, and of the images on it


def coloured() -> tuple[Store, np.ndarray, np.ndarray]:
    """Grey images with a coloured half, whose colour tells the class; a few points of each half are cued.

    There are no masks: a training that looked at them would fail.
    """
    random = np.random.default_rng(3)
    images = random.integers(90, 110, (8, SIDE, SIDE, 3)).astype(np.uint8)
    maps = np.full((8, GRID, GRID), VOID, np.uint8)
    tags = np.zeros((8, 3), bool)
    for k in range(8):
        label = 1 + k % 2
        images[k, :, SIDE // 2 :, label] = 230
        maps[k, 10:30, 4:9] = 0
        maps[k, 10:30, 31:38] = label
        tags[k, label - 1] = True
    images[:, HEIGHT:] = 0
    maps[UNCUED] = VOID
    return Store([f"image{k}" for k in range(8)], images, None, torch.tensor([[HEIGHT, SIDE]] * 8)), maps, tags


def model_of(net: DsrgNetwork) -> Model:
    return Model(net, Preprocessing(), CPU)


def train(folder, advance=lambda done, of: None, keep=range(8), **changes):
    """Train a small network on some of the images, from the same initial values each time."""
    store, maps, tags = coloured()
    keep = list(keep)
    store = Store([store.ids[k] for k in keep], store.images[keep], None, store.sizes[keep])
    settings = replace(PRESET.dsrg, dropout=0.0, lr_backbone=2e-3, lr_new=2e-3, lr_last=2e-3, **changes)
    net = network()
    job = Job(folder, "dsrg-1-tiny", advance=advance)
    record = train_on_cues(job, model_of(net), store, maps[keep], tags[keep], settings)
    return net, record


def weights(folder) -> bytes:
    return (folder / "weights.pt").read_bytes()


def halves(net) -> list:
    store, _, _ = coloured()
    inputs = (torch.from_numpy(store.images[:2, :HEIGHT]).permute(0, 3, 1, 2).float() - 127.5) / 64
    with torch.no_grad():
        labels = net.eval()(inputs).argmax(1)
    return [labels[:, 3, 1].tolist(), labels[:, 3, 6].tolist()]


def test_a_few_steps_lower_the_loss_and_find_the_classes(tmp_path):
    net, record = train(tmp_path, steps=80)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(list(line) == ["step", "loss", "seeds", "boundary"] for line in lines)
    losses = [line["loss"] for line in lines]
    assert len(losses) == record["steps"] == 80 and np.mean(losses[-5:]) < np.mean(losses[:5]) / 3
    assert halves(net) == [[0, 0], [1, 2]]


def test_each_round_takes_the_presets_schedule_and_rates(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(dsrg, "optimise", lambda job, net, groups, schedule, *_: asked.append((groups, schedule)))
    settings = replace(
        PRESET.dsrg, optimizer="sgd", steps=11, warmup=3, decay_every=0.3, decay_factor=0.2, weight_decay=0.04,
        clip_norm=5.0, retrain_steps=7, retrain_rate=3.0, retrain_power=0.8, lr_backbone=1.0, lr_new=2.0, lr_last=4.0,
    )  # fmt: skip
    store, maps, tags = coloured()
    train_on_cues(Job(tmp_path, "first"), model_of(network()), store, maps, tags, settings)
    train_on_masks(Job(tmp_path, "second"), model_of(network()), store, np.zeros((8, SIDE, SIDE), np.uint8), settings)
    (first, rises_and_drops), (second, poly) = asked
    assert rises_and_drops == Schedule(11, 3, 0.3, 0.2, 0.04, 5.0, repeated=True, optimizer="sgd")
    assert (poly.steps, poly.warmup, poly.power, poly.optimizer) == (7, 0, 0.8, "sgd")
    assert (poly.weight_decay, poly.clip_norm) == (0.04, 5.0)
    assert [poly.factor(step) for step in range(7)] == pytest.approx([(1 - step / 7) ** 0.8 for step in range(7)])
    assert [group["lr"] for group in first] == [1, 2, 2, 4, 4, 8]
    assert [group["lr"] for group in second] == [3, 6, 6, 12, 12, 24]


def test_compiled_networks_of_both_rounds_end_nearly_where_plain_ones_do(tmp_path):
    store, maps, tags = coloured()
    masks = np.random.default_rng(0).integers(0, 3, (8, SIDE, SIDE), np.uint8)
    settings = replace(PRESET.dsrg, dropout=0.0)
    ends = []
    for compiler in ("", "aot_eager"):
        net = network(dropout=0.0)
        model = Model(net, Preprocessing(), replace(CPU, step=StepSettings(compile=compiler)))
        first = train_on_cues(Job(tmp_path / f"first{compiler}", "dsrg-1"), model, store, maps, tags, settings)
        second = train_on_masks(Job(tmp_path / f"second{compiler}", "dsrg-2"), model, store, masks, settings)
        assert first["step"]["compile"] == second["step"]["compile"] == (compiler or "none")
        ends.append(net.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-4, atol=1e-5)


def test_sgd_trains_too(tmp_path):
    train(tmp_path, steps=60, optimizer="sgd", clip_norm=0.0)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_images_without_cues_are_left_out(tmp_path):
    train(tmp_path / "whole")
    train(tmp_path / "cued alone", keep=[k for k in range(8) if k not in UNCUED])
    train(tmp_path / "another less", keep=[k for k in range(8) if k not in [*UNCUED, 0]])
    assert weights(tmp_path / "whole") == weights(tmp_path / "cued alone") != weights(tmp_path / "another less")


@pytest.mark.parametrize("at", [1, 4])
def test_a_training_that_was_cut_off_ends_with_the_same_bytes(tmp_path, monkeypatch, at):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)

    def cut(done: int, of: int) -> None:
        if done == at:
            raise RuntimeError("power cut")

    for optimizer in ("adam", "sgd"):
        whole, part = tmp_path / f"whole-{optimizer}", tmp_path / f"cut-{optimizer}"
        train(whole, optimizer=optimizer)
        with pytest.raises(RuntimeError, match="power cut"):
            train(part, cut, optimizer=optimizer)
        train(part, optimizer=optimizer)
        assert weights(part) == weights(whole)
        assert (part / "log.jsonl").read_text() == (whole / "log.jsonl").read_text()


def test_the_retrain_round_learns_from_masks_alone(tmp_path):
    store, _, _ = coloured()
    masks = np.full((8, SIDE, SIDE), VOID, np.uint8)
    masks[:, :HEIGHT, : SIDE // 2] = 0
    for k in range(8):
        masks[k, :HEIGHT, SIDE // 2 :] = 1 + k % 2
    settings = replace(PRESET.dsrg, retrain_steps=60, dropout=0.0, lr_backbone=1e-3, lr_new=1e-3, lr_last=1e-3)
    net = network()
    record = train_on_masks(Job(tmp_path, "dsrg-2-tiny"), model_of(net), store, masks, settings)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert record["steps"] == 60 and all(list(line) == ["step", "loss", "masks"] for line in lines)
    assert halves(net) == [[0, 0], [1, 2]]


def test_a_network_that_collapses_to_background_is_stopped_early_with_the_numbers(tmp_path, monkeypatch):
    def poisoned(logits, *rest):
        terms, (_, wanted) = seeded_losses(logits, *rest)
        return terms, (torch.zeros(()), wanted)

    monkeypatch.setattr(dsrg, "seeded_losses", poisoned)
    told = []
    with pytest.raises(BadInput) as caught:
        train(tmp_path, lambda done, of: told.append(done), steps=1000)
    error = caught.value
    assert error.subject == "dsrg-1-tiny" and "\n" not in str(error)
    assert "at step 100 0.00 %" in error.found and "cues" in error.found and "dsrg.lr_new" in error.expected
    assert max(told) <= 100 + COLLAPSE_OVER


def test_a_training_that_finds_objects_is_not_called_collapsed(tmp_path):
    train(tmp_path, steps=101)  # looked at after 50 and after 100


def test_an_image_that_breaks_the_numbers_is_named_with_its_step(tmp_path, monkeypatch):
    normal = Model.normalise
    monkeypatch.setattr(Model, "normalise", lambda model, squares: normal(model, squares) * torch.nan)
    with pytest.raises(BadInput) as caught:
        train(tmp_path)
    error = caught.value
    assert "dsrg-1-tiny, step 0 (images image" in error.subject and "not finite" in error.found
    assert "\n" not in str(error)
    assert not (tmp_path / "weights.pt").exists() and not (tmp_path / "checkpoint.pt").exists()


def test_a_loss_that_is_not_finite_is_named_with_step_and_images(tmp_path, monkeypatch):
    monkeypatch.setattr(dsrg, "boundary_loss", lambda p, q: p.sum() * torch.inf)
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    with pytest.raises(BadInput) as caught:
        train(tmp_path)
    assert caught.value.subject == "dsrg-1-tiny"
    assert re.search(r"(inf|nan).*\] at step 0 \(images image\d, image\d", caught.value.found)
