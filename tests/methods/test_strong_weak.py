"""The paper's method against numbers by hand: losses, equation 1, gradients, prediction, and what sharing the backbone saves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from slow import cross_entropy_by_hand, kl_by_hand, softmax, upsample_by_hand
from studies import CPU
from torch.utils.flop_counter import FlopCounterMode

from swdb.methods.strong_weak import StrongWeak
from swdb.nn.model import Model
from swdb.nn.trainer import seed_initial
from swdb.specs.preprocessing import Preprocessing
from swdb.specs.presets import load_preset
from swdb.specs.runs import RunSpec
from swdb.specs.tasks import RunTask, run_task

VOID = 255
SINGLE = RunSpec(name="single", strong_branch="strong")
DUAL = RunSpec(name="dual", strong_branch="strong", weak_branch="strong+weak")
KL = replace(DUAL, name="kl", kl=True)
PRESET = load_preset(TINY)
# Without dropout: losses are compared with values computed apart from the step that made them.
NETWORK, TRAINING = replace(PRESET.network, dropout=0.0), PRESET.training
METHOD = StrongWeak()


def network(dual=True, shared_layers=1, seed=0):
    seed_initial(seed)
    run = replace(DUAL if dual else SINGLE, shared_layers=shared_layers)
    return METHOD.network(RunTask(run, 0, NETWORK, TRAINING), 6)


def losses(net, inputs, labels, num_strong, run, training=TRAINING):
    """The terms of a batch whose first images are the strong branch's."""
    share = {"batch": len(inputs), "strong_share": num_strong / len(inputs)}
    return METHOD.losses(net, (inputs, labels), RunTask(run, 0, NETWORK, replace(training, **share)))


def predict(net, inputs, branch, scales, flip):
    return METHOD.predict(Model(net, Preprocessing(), CPU), inputs, branch, scales, flip)


def batch(images=4, size=16, seed=0):
    """Inputs and labels with some void pixels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(images, 3, size, size, generator=generator)
    labels = torch.randint(0, 6, (images, size, size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = VOID
    return inputs, labels


def gradient(part):
    return max((p.grad.abs().max().item() for p in part.parameters() if p.grad is not None), default=0.0)


@pytest.mark.parametrize("run", [SINGLE, DUAL, KL], ids=lambda run: run.name)
def test_a_training_step_on_void_alone_is_finite(run):
    net = network(run.dual)
    inputs, labels = batch()
    terms = losses(net, inputs, torch.full_like(labels, VOID), 2, run)
    sum(terms.values()).backward()
    assert [term.item() for term in terms.values()] == [0] * len(terms)
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


# ---------------------------------------------------------------- which image teaches which head


def test_a_single_branch_sends_all_images_through_the_strong_head():
    net, (inputs, labels) = network(dual=False), batch()
    terms = losses(net, inputs, labels, 4, SINGLE)
    logits = upsample_by_hand(net.heads["strong"](net.neck(net.backbone(inputs))), net.backbone)
    assert list(terms) == ["strong"]
    assert terms["strong"].item() == pytest.approx(cross_entropy_by_hand(logits, labels), rel=1e-5)
    assert list(net.heads) == ["strong"]


@pytest.mark.parametrize("num_strong", [2, 1])
def test_a_dual_batch_is_split_between_the_heads(num_strong):
    net, (inputs, labels) = network(), batch()
    terms = losses(net, inputs, labels, num_strong, DUAL)
    features = net.neck(net.backbone(inputs))
    strong, weak = (upsample_by_hand(net.heads[b](features), net.backbone) for b in ("strong", "weak"))
    assert list(terms) == ["strong", "weak"]
    assert terms["strong"].item() == pytest.approx(
        cross_entropy_by_hand(strong[:num_strong], labels[:num_strong]), rel=1e-5
    )
    assert terms["weak"].item() == pytest.approx(
        cross_entropy_by_hand(weak[num_strong:], labels[num_strong:]), rel=1e-5
    )


@pytest.mark.parametrize("run", [DUAL, KL], ids=lambda run: run.name)
@pytest.mark.parametrize(("branch", "other"), [("strong", "weak"), ("weak", "strong")])
def test_a_branch_learns_from_its_own_loss_and_both_teach_what_they_share(run, branch, other):
    net, (inputs, labels) = network(), batch()
    losses(net, inputs, labels, 2, run)[branch].backward()
    assert gradient(net.heads[branch]) > 0
    assert gradient(net.heads[other]) == 0
    assert gradient(net.neck) > 0
    assert gradient(net.backbone) > 0


@pytest.mark.parametrize("changed", ["strong", "weak"])
def test_the_labels_of_one_half_do_not_move_the_loss_of_the_other(changed):
    net, (inputs, labels) = network(), batch()
    before = losses(net, inputs, labels, 2, DUAL)
    half = slice(0, 2) if changed == "strong" else slice(2, 4)
    labels[half] = (labels[half] + 1) % 6
    after = losses(net, inputs, labels, 2, DUAL)
    same = "weak" if changed == "strong" else "strong"
    assert after[same].item() == before[same].item()
    assert after[changed].item() != before[changed].item()


def test_the_kl_term_sees_all_images_and_reaches_both_heads():
    net, (inputs, labels) = network(), batch()
    term = losses(net, inputs, labels, 2, KL)["kl"]
    features = net.neck(net.backbone(inputs))
    strong, weak = (upsample_by_hand(net.heads[b](features), net.backbone) for b in ("strong", "weak"))
    assert term.item() == pytest.approx(kl_by_hand(strong, weak, labels), rel=1e-3, abs=1e-7)
    term.backward()
    assert gradient(net.heads["strong"]) > 0
    assert gradient(net.heads["weak"]) > 0


def test_equation_2_adds_the_constraint_by_its_weight_and_leaves_the_data_terms():
    net, (inputs, labels) = network(), batch()
    plain = losses(net, inputs, labels, 2, DUAL)
    once = losses(net, inputs, labels, 2, KL)
    thrice = losses(net, inputs, labels, 2, KL, replace(TRAINING, kl_weight=3.0))
    assert list(once) == ["strong", "weak", "kl"]
    for branch in ("strong", "weak"):
        assert once[branch].item() == pytest.approx(plain[branch].item(), rel=1e-6)
    assert thrice["kl"].item() == pytest.approx(3 * once["kl"].item(), rel=1e-6)


# ---------------------------------------------------------------- the network


def test_one_seed_gives_single_and_dual_the_same_backbone_neck_and_strong_head():
    single, dual = network(dual=False, seed=3).state_dict(), network(dual=True, seed=3).state_dict()
    assert len(single) > 10
    assert {name for name in dual if name not in single} == {name for name in dual if name.startswith("heads.weak.")}
    assert all(torch.equal(value, dual[name]) for name, value in single.items())


def test_another_seed_gives_other_values():
    one, other = network(seed=3).state_dict(), network(seed=4).state_dict()
    weights = [name for name in one if name.endswith("weight")]
    assert len(weights) > 10
    assert not any(torch.equal(one[name], other[name]) for name in weights)


@pytest.mark.parametrize("shared_layers", [0, 1, 2, 3])
def test_n_is_the_number_of_shared_layers_and_the_heads_are_equal_in_form(shared_layers):
    net = network(shared_layers=shared_layers)
    assert len([layer for layer in net.neck if hasattr(layer, "weight")]) == shared_layers
    shapes = [[(name, value.shape) for name, value in net.heads[b].state_dict().items()] for b in ("strong", "weak")]
    assert shapes[0] == shapes[1]
    assert net.logits(net.features(torch.zeros(1, 3, 16, 16)), "weak").shape == (1, 6, 16, 16)


def test_the_heads_begin_with_values_of_their_own():
    heads = network().heads
    assert not torch.equal(heads["strong"][0].weight, heads["weak"][0].weight)


def test_the_backbone_takes_smaller_steps_than_what_is_new():
    net = network()
    backbone, new = METHOD.groups(net, RunTask(DUAL, 0, NETWORK, replace(TRAINING, lr_backbone=1e-5, lr_new=1e-3)))
    assert (backbone["lr"], new["lr"]) == (1e-5, 1e-3)
    ids = [{id(p) for p in group["params"]} for group in (backbone, new)]
    assert ids[0] == {id(p) for p in net.backbone.parameters()}
    assert ids[0] | ids[1] == {id(p) for p in net.parameters()}
    assert not ids[0] & ids[1]


# ---------------------------------------------------------------- steps


def test_the_schedule_is_the_presets():
    training = replace(TRAINING, steps=10, warmup=4, decay_at=0.5, decay_factor=0.2, weight_decay=0.3, clip_norm=7.0)
    schedule = METHOD.schedule(RunTask(DUAL, 0, NETWORK, training))
    assert [schedule.factor(step) for step in range(10)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, *[0.2] * 5])
    assert (schedule.weight_decay, schedule.clip_norm, schedule.optimizer) == (0.3, 7.0, "adam")


# ---------------------------------------------------------------- prediction


def slow_probabilities(net, inputs, branch, scales, flip):
    """Mean of softmax over scales and mirrors: resize, predict, crop to the resized image, mirror back, resize back."""
    found = []
    for scale in scales:
        scaled = inputs if scale == 1 else F.interpolate(inputs, scale_factor=scale, mode="bilinear")
        for mirrored in [False, True] if flip else [False]:
            seen = torch.flip(scaled, [3]) if mirrored else scaled
            logits = net.heads[branch](net.neck(net.backbone(seen)))
            logits = upsample_by_hand(logits, net.backbone)
            logits = logits[:, :, : seen.shape[2], : seen.shape[3]]
            logits = torch.flip(logits, [3]) if mirrored else logits
            if scale != 1:
                logits = F.interpolate(logits, size=inputs.shape[2:], mode="bilinear")
            found.append(softmax(logits))
    return np.mean(found, 0)


# On whole strides and beyond them; VOC's images are 500 pixels wide, which is no multiple of 8.
SIZES = {"whole strides": (24, 32), "beyond": (20, 26)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("flip", [False, True], ids=["", "flip"])
@pytest.mark.parametrize("scales", [(1.0,), (0.75, 1.0, 1.25)], ids=["", "scales"])
def test_a_prediction_is_the_mean_over_scales_and_mirrors(size, flip, scales):
    net = network(seed=1).eval()
    inputs = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(5))
    found = predict(net, inputs, "weak", scales, flip)
    assert found.shape == (2, 6, *size)
    np.testing.assert_allclose(found, slow_probabilities(net, inputs, "weak", scales, flip), atol=1e-5)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_with_flip_the_mirrored_image_gives_the_mirrored_prediction(size):
    net = network(seed=1).eval()
    inputs = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(6))
    plain = predict(net, inputs, "strong", (1.0,), True)
    mirrored = predict(net, inputs.flip(-1), "strong", (1.0,), True)
    torch.testing.assert_close(mirrored.flip(-1), plain, atol=1e-5, rtol=0)
    assert (predict(net, inputs, "strong", (1.0,), False) - plain).abs().max() > 1e-4


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.3)])
def test_probabilities_are_probabilities(scales, flip):
    found = predict(network().eval(), torch.randn(2, 3, 21, 30), "strong", scales, flip)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 21, 30))
    assert (found >= 0).all()


def test_branches_predict_by_their_own_heads():
    net = network().eval()
    inputs, _ = batch()
    strong, weak = (predict(net, inputs, branch, (1.0,), False) for branch in ("strong", "weak"))
    assert (strong - weak).abs().max() > 1e-4


# ---------------------------------------------------------------- what sharing saves


def step_flops(preset, run):
    """Count a training step, forward and backward, without computing anything."""
    with torch.device("meta"):
        task, classes = run_task(preset, run), preset.data.num_classes
        net = METHOD.network(task, classes)
        with FlopCounterMode(display=False) as counter:
            sum(METHOD.losses(net, METHOD.blank(task, classes), task).values()).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["voc", "synthetic"])
def test_a_dual_step_costs_less_than_a_quarter_more_than_a_single_one(name):
    # With the constraint every image goes through both heads; without, each through its own.
    preset = load_preset(name)
    single, halves, both = (step_flops(preset, run) for run in (SINGLE, DUAL, KL))
    assert single > 0
    assert halves == pytest.approx(single, rel=0.02)
    assert 1.02 * single < both < 1.25 * single


def test_flops_are_counted_forward_and_backward():
    # One head's fc6 (3x3, 512 to 1024 channels, 41 x 41 features, 16 images): 2 flops a multiplication, and twice that back.
    preset = load_preset("voc")
    fc6 = 3 * 2 * 16 * 41 * 41 * 9 * 512 * 1024
    more = step_flops(preset, KL) - step_flops(preset, SINGLE)
    assert fc6 < more < 1.4 * fc6


@pytest.mark.parametrize("size", [(1, 1), (4, 64), (9, 2)])
def test_no_side_of_a_small_image_vanishes_at_a_small_scale(size):
    found = predict(network().eval(), torch.rand(1, 3, *size), "strong", (0.1, 1.0), True)
    assert found.shape == (1, 6, *size)
    assert torch.allclose(found.sum(1), torch.ones(1, *size), atol=1e-5)
