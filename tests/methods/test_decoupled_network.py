"""DecoupledNet's networks: the bridge against layers turned by hand, switches, what learns and what does not, statistics."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from swdb.core.errors import BadInput
from swdb.core.files import digest
from swdb.methods.decoupled_network import (
    MIRRORS,
    BatchNorm,
    DecoupledNetwork,
    Recognizer,
    activation_maps,
    begin,
    estimate_statistics,
)
from swdb.nn.losses import cross_entropy
from swdb.nn.networks import BACKBONES, valueless
from swdb.nn.trainer import seed_initial
from swdb.specs.decoupled import STRIDES
from swdb.specs.presets import load_preset

TAGS = 5
SETTINGS = load_preset(TINY).decouplednet
# The smallest at which a backbone of its own stride can be tried: two cells and more for fc6 of one or more.
SIZES = {"small": 32, "squeezenet1_1": 48, "vgg16": 64}


def settings_of(backbone="small", **changed):
    return replace(SETTINGS, size=SIZES[backbone], kernel=2 if backbone != "small" else 3, **changed)


def network(backbone="small", seed=0, **changed):
    seed_initial(seed)
    return DecoupledNetwork(backbone, settings_of(backbone, **changed), TAGS + 1)


def pictures(images=4, size=32, seed=0):
    return torch.randn(images, 3, size, size, generator=torch.Generator().manual_seed(seed))


def questions(images=4, seed=1):
    """Sets of one to all classes."""
    asked = torch.rand(images, TAGS, generator=torch.Generator().manual_seed(seed)) < 0.4
    asked[:, 0] |= ~asked.any(1)
    return asked.float()


def targets(images=4, size=32, seed=2):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (images, size, size), generator=generator)
    return labels.masked_fill(torch.rand(labels.shape, generator=generator) < 0.2, 255)


def sha256_of(module):
    return digest({name: tensor.tolist() for name, tensor in module.state_dict().items()})


# ---------------------------------------------------------------- backbones with switches


@pytest.mark.parametrize("backbone", MIRRORS)
def test_a_backbone_takes_the_initial_weights_that_there_are(backbone):
    with valueless():
        ours, whole = network(backbone).backbone.state_dict(), BACKBONES[backbone]().state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in whole.items()
    }


def test_the_names_of_vgg16_and_squeezenet_are_torchvision_s():
    from torchvision import models

    for name, build in (("vgg16", models.vgg16), ("squeezenet1_1", models.squeezenet1_1)):
        with valueless():
            ours, whole = network(name).backbone.state_dict(), build().state_dict()
        assert ours.keys() == {key for key in whole if key.startswith("features.")}


def test_vgg16_s_features_are_torchvision_s():
    from torchvision import models

    seed_initial(0)
    theirs = models.vgg16().features
    encoder = network("vgg16").backbone
    encoder.load_state_dict({f"features.{name}": tensor for name, tensor in theirs.state_dict().items()})
    with torch.no_grad():
        assert torch.equal(encoder(pictures(1, 64)).features, theirs(pictures(1, 64)))


@pytest.mark.parametrize("backbone", MIRRORS)
def test_each_unpooling_takes_the_channels_and_the_sides_of_its_pool(backbone):
    net, side = network(backbone), SIZES[backbone]
    seen = net.see(pictures(2, side))
    assert seen.features.shape[-1] * STRIDES[backbone] == side
    taken = []
    for level in net.decoder.levels:
        level.register_forward_pre_hook(lambda _, found: taken.append(found[0].shape))
    assert net(pictures(2, side), questions(2)).shape == (2, 2, side, side)
    assert taken == [
        (2, switch.shape[1], 2 * switch.shape[2], 2 * switch.shape[3]) for switch in reversed(seen.switches)
    ]


@pytest.mark.parametrize(("image", "channel", "row", "column"), [(0, 3, 0, 0), (2, 7, 3, 1)])
def test_a_maximum_goes_back_to_its_own_place_and_all_others_are_nothing(image, channel, row, column):
    net, taken = network(), []
    seen = net.see(pictures())
    net.decoder.levels[0].register_forward_pre_hook(lambda _, found: taken.append(found[0]))
    net.decoder.back.register_forward_hook(lambda *found: found[-1] + 1)  # ReLU may have left nothing
    net(pictures(), questions())
    place, width = seen.switches[-1][image, channel, row, column].item(), taken[0].shape[-1]
    window = {
        (y, x): taken[0][image, channel, y, x].item()
        for y in (2 * row, 2 * row + 1)
        for x in (2 * column, 2 * column + 1)
    }
    assert window.pop(divmod(place, width)) >= 1 and set(window.values()) == {0.0}


def test_a_backbone_without_switches_is_refused_with_those_that_have_them():
    with pytest.raises(BadInput) as caught:
        DecoupledNetwork("resnet50", SETTINGS, 6)
    assert (caught.value.subject, caught.value.expected) == ("backbone 'resnet50'", "small, squeezenet1_1, vgg16")


def test_plans_and_networks_know_the_same_backbones():
    assert STRIDES.keys() == MIRRORS.keys()


# ---------------------------------------------------------------- the recognizer


def test_scores_begin_small_and_biases_at_nothing():
    recognizer = network().recognizer
    assert recognizer.scores.weight.std() < 0.02 and recognizer.fc7.weight.std() > 0.1
    assert all((layer.bias == 0).all() for layer in (recognizer.fc6, recognizer.fc7, recognizer.scores))


def test_the_recognizer_has_no_dropout_and_says_the_same_while_it_learns():
    recognizer = Recognizer("small", SETTINGS, TAGS)
    assert not any(isinstance(layer, nn.Dropout) for layer in recognizer.modules())
    assert torch.equal(recognizer.train()(pictures()), recognizer.eval()(pictures()))


def test_every_part_of_the_recognizer_learns_from_tags_at_its_own_rate():
    recognizer, settings = network().recognizer.requires_grad_(True), replace(SETTINGS, recognizer_lr_new=0.5)
    F.binary_cross_entropy_with_logits(recognizer(pictures()).mean((2, 3)), questions()).backward()
    groups = recognizer.groups(settings)
    assert sorted(map(id, recognizer.parameters())) == sorted(id(p) for group in groups for p in group["params"])
    assert all(p.grad.abs().max() > 0 for group in groups for p in group["params"])
    assert [group["lr"] for group in groups] == [settings.recognizer_lr_backbone] * 2 + [0.5] * 2
    assert [group.get("weight_decay") for group in groups] == [None, 0.0, None, 0.0]
    assert all(p.dim() == 1 for group in groups[1::2] for p in group["params"])


def test_vgg16_s_own_fc6_and_fc7_are_taken_where_they_fit():
    recognizer = Recognizer("small", SETTINGS, TAGS)
    own = {"fc6": recognizer.fc6, "fc7": recognizer.fc7}
    given = {
        f"classifier.{place}.{kind}": torch.randn_like(getattr(own[name], kind)).flatten(1 if kind == "weight" else 0)
        for name, place in (("fc6", 0), ("fc7", 3))
        for kind in ("weight", "bias")
    }
    before, names = sha256_of(recognizer), ("classifier.0", "classifier.3")
    other = given | {"classifier.0.weight": torch.zeros(2, 2)}
    assert not recognizer.begin_fully_connected(other, names)
    assert sha256_of(recognizer) == before
    assert recognizer.begin_fully_connected(given, names)
    assert torch.equal(recognizer.fc6.weight.flatten(1), given["classifier.0.weight"])
    assert torch.equal(recognizer.fc7.bias, given["classifier.3.bias"])


def test_what_begins_as_the_weights_have_it_moves_at_their_rate():
    recognizer, settings = Recognizer("small", SETTINGS, TAGS), replace(SETTINGS, recognizer_lr_new=0.5)
    own = [*recognizer.fc6.state_dict().values(), *recognizer.fc7.state_dict().values()]
    names = [f"{layer}.{kind}" for layer in ("a", "b") for kind in ("weight", "bias")]
    at_random = _rates(recognizer, settings)
    assert recognizer.begin_fully_connected(dict(zip(names, own, strict=True)), ("a", "b"))
    slower = {name for name, rate in _rates(recognizer, settings).items() if rate < at_random[name]}
    assert slower == {f"{layer}.{kind}" for layer in ("fc6", "fc7") for kind in ("weight", "bias")}


def _rates(recognizer, settings) -> dict[str, float]:
    by_id = {id(one): group["lr"] for group in recognizer.groups(settings) for one in group["params"]}
    return {name: by_id[id(one)] for name, one in recognizer.named_parameters()}


# ---------------------------------------------------------------- the bridge


def by_hand(recognizer, features, asked, strength=None):
    """The -bp layers of `fp_bp_network.prototxt`: unpooling, transposed layers without biases, masks of the ReLUs."""
    with torch.no_grad():
        fc6 = recognizer.fc6(features)
        fc7 = recognizer.fc7(F.relu(fc6))
        scores = recognizer.scores(F.relu(fc7))
        highest, switch = F.max_pool2d(scores, scores.shape[-1], return_indices=True)
        strength = highest.sigmoid()[:, :, 0, 0] if strength is None else strength
        back = F.max_unpool2d((strength * asked)[:, :, None, None], switch, scores.shape[-1])
        back = F.conv_transpose2d(back, recognizer.scores.weight) * (fc7 > 0)
        back = F.conv_transpose2d(back, recognizer.fc7.weight) * (fc6 > 0)
        return F.conv_transpose2d(back, recognizer.fc6.weight)


@pytest.mark.parametrize("given", [False, True], ids=["of the maximum", "given"])
def test_the_bridge_is_transposed_layers_to_the_last_bit(given):
    net, asked = network(), questions()
    features = net.see(pictures()).features
    strength = torch.rand(asked.shape) if given else None
    maps = activation_maps(net.recognizer, features, asked, strength)
    assert (maps - by_hand(net.recognizer, features, asked, strength)).abs().max() == 0
    assert maps.abs().max() > 0 and maps.shape == features.shape and not maps.requires_grad


def test_a_union_s_maps_are_the_sum_of_its_classes_maps():
    net = network()
    features, asked = net.see(pictures(1)).features, torch.tensor([[1.0, 0, 1, 0, 0]])
    single = [activation_maps(net.recognizer, features, asked * F.one_hot(torch.tensor(one), TAGS)) for one in (0, 2)]
    torch.testing.assert_close(activation_maps(net.recognizer, features, asked), sum(single))
    assert not torch.equal(*single)


def test_of_equal_scores_one_is_gone_back_from_and_not_all():
    net = network()
    features = torch.ones(1, 64, 4, 4)  # the same at every place
    maps = activation_maps(net.recognizer, features, torch.ones(1, TAGS))
    assert torch.equal(maps, by_hand(net.recognizer, features, torch.ones(1, TAGS)))
    assert (maps[..., 3] == 0).all()  # a window of 3 cells at one of two places does not reach the other side


def test_nothing_asked_for_makes_empty_maps():
    net = network()
    assert (activation_maps(net.recognizer, net.see(pictures()).features, torch.zeros(4, TAGS)) == 0).all()


def test_the_bridge_goes_by_the_maximum_and_not_by_the_average():
    net = network()
    features = net.see(pictures()).features
    with torch.no_grad():
        average = net.recognizer.maps(features).mean((2, 3)).sigmoid()
    of_average = activation_maps(net.recognizer, features, questions(), average)
    assert not torch.equal(of_average, activation_maps(net.recognizer, features, questions()))


# ---------------------------------------------------------------- what learns


def trained(steps=3, **changed):
    net = network(**changed).train()
    optimizer = torch.optim.Adam(net.groups(), weight_decay=1e-4)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(net(pictures(), questions()), targets())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses


def test_frozen_means_frozen():
    before, (net, losses) = network(), trained()
    assert sha256_of(net.recognizer) == sha256_of(before.recognizer)
    assert sha256_of(net.decoder) != sha256_of(before.decoder) and losses[-1] < losses[0]
    assert all(p.grad is None and not p.requires_grad for p in net.recognizer.parameters())
    assert net.training and net.decoder.training and not any(part.training for part in net.recognizer.modules())


def test_all_of_the_decoder_learns_and_filters_alone_decay():
    net = network().train()
    cross_entropy(net(pictures(), questions()), targets()).backward()
    assert all(p.grad.abs().max() > 0 for p in net.decoder.parameters())
    filters, others = net.groups()
    assert sorted(map(id, net.decoder.parameters())) == sorted(map(id, filters["params"] + others["params"]))
    assert (
        all(p.dim() == 4 for p in filters["params"]) and others["weight_decay"] == 0 and "weight_decay" not in filters
    )
    assert filters["lr"] == others["lr"] == SETTINGS.lr


def test_what_is_asked_changes_the_answer():
    net, _ = trained()
    one, other = torch.eye(TAGS)[:1].repeat(4, 1), torch.eye(TAGS)[1:2].repeat(4, 1)
    assert not torch.equal(net(pictures(), one), net(pictures(), other))


def test_a_training_is_the_same_every_time():
    assert trained()[1] == trained()[1]


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_step_in_bf16_is_near_one_in_fp32(channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net, inputs = network(norm_images=0).train().to(memory_format=layout), pictures().contiguous(memory_format=layout)
    exact = net(inputs, questions())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(inputs, questions())
    assert rough.dtype == torch.float32 and (rough - exact).norm() < 0.2 * exact.norm()
    rough.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in net.decoder.parameters())


def test_initial_values_have_the_spread_that_is_set():
    he, gaussian = network(init_std=0.0), network(init_std=0.01)
    assert abs(gaussian.decoder.fc6[0].weight.std() - 0.01) < 0.001
    assert he.decoder.fc6[0].weight.std() > 0.02
    assert begin(nn.Conv2d(64, 64, 3), 0.5).weight.std() > 0.45


# ---------------------------------------------------------------- statistics of batch norms


def test_norms_begin_at_the_code_s_values():
    norms = [layer for layer in network().modules() if isinstance(layer, BatchNorm)]
    assert len(norms) == 2 + 3 + 4 and all(norm.eps == 1e-9 for norm in norms)
    assert all((norm.weight == 1).all() and (norm.bias == 0.001).all() for norm in norms)


def test_a_norm_learns_over_the_images_that_are_set():
    maps = torch.randn(6, 3, 4, 4)
    norm = BatchNorm(3, images=2).train()
    for some in (slice(0, 2), slice(2, 4), slice(4, 6)):
        part = maps[some]
        deviation = (part.var((0, 2, 3), unbiased=False) + 1e-9).sqrt()[:, None, None]
        wanted = (part - part.mean((0, 2, 3))[:, None, None]) / deviation + 0.001
        torch.testing.assert_close(norm(maps)[some], wanted)
    assert not torch.allclose(norm(maps), BatchNorm(3, images=0).train()(maps))


def test_steps_leave_no_trace_in_the_statistics():
    net, _ = trained()
    norms = [layer for layer in net.modules() if isinstance(layer, BatchNorm)]
    assert all((n.running_mean == 0).all() and (n.running_var == 1).all() and n.num_batches_tracked == 0 for n in norms)


def batches(count=3):
    return [(pictures(4, seed=10 + one), questions(4, seed=20 + one)) for one in range(count)]


def test_the_statistics_are_the_mean_over_batches_with_the_correction():
    net, _ = trained()
    estimate_statistics(net, batches())
    seen = [net.see(inputs).features for inputs, _ in batches()]
    mean = torch.stack([features.mean((0, 2, 3)) for features in seen]).mean(0)
    variance = torch.stack([features.var((0, 2, 3), unbiased=True) for features in seen]).mean(0)
    torch.testing.assert_close(net.decoder.norm_features.running_mean, mean)
    torch.testing.assert_close(net.decoder.norm_features.running_var, variance)
    assert not net.training


def test_a_prediction_without_the_statistics_is_another_one():
    net, _ = trained()
    with torch.no_grad():
        before = net.eval()(pictures(), questions())
        estimate_statistics(net, batches())
        after = net(pictures(), questions())
    assert (before - after).abs().max() > 0.01


def test_statistics_hang_on_weights_and_batches_alone_and_leave_weights_as_they_are():
    net, _ = trained()
    weights = {name: tensor.clone() for name, tensor in net.named_parameters()}
    estimate_statistics(net, batches())
    once = sha256_of(net)
    estimate_statistics(net, batches(5))
    estimate_statistics(net, batches())
    assert sha256_of(net) == once
    assert all(torch.equal(tensor, weights[name]) for name, tensor in net.named_parameters())


def test_steps_after_statistics_are_what_they_are_without():
    with_them, without = trained()[0], trained()[0]
    estimate_statistics(with_them, batches())
    outputs = [net.train()(pictures(), questions()) for net in (with_them, without)]
    assert torch.equal(*outputs)


def test_what_is_predicted_of_an_image_does_not_hang_on_its_batch():
    net, _ = trained()
    estimate_statistics(net, batches())
    with torch.no_grad():
        torch.testing.assert_close(net(pictures(), questions())[:1], net(pictures()[:1], questions()[:1]))


# ---------------------------------------------------------------- the paper's scale


def test_the_paper_s_networks_have_its_parameters_and_shapes():
    settings = load_preset("voc").decouplednet
    with FakeTensorMode():
        net = DecoupledNetwork("vgg16", settings, 21)
        count = lambda part: round(sum(p.numel() for p in part.parameters()) / 1e6)  # noqa: E731
        assert (count(net.recognizer), count(net.decoder), count(net.decoder.fc6)) == (134, 173, 103)
        seen = net.see(torch.empty(1, 3, 320, 320))
        assert seen.features.shape == (1, 512, 10, 10)
        assert [switch.shape[1] for switch in seen.switches] == [64, 128, 256, 512, 512]
        assert net.recognizer.maps(seen.features).shape == (1, 20, 4, 4)
        logits = net.train()(torch.empty(2, 3, 320, 320), torch.ones(2, 20))
        assert logits.shape == (2, 2, 320, 320)
        logits.sum().backward()
        assert net.decoder.back[0].weight.shape == (2048, 512, 7, 7)


@pytest.mark.parametrize("name", ["synthetic", "voc-animals-squeezenet"])
def test_every_preset_s_network_answers_at_its_size(name):
    preset = load_preset(name)
    with FakeTensorMode():
        size, classes = preset.decouplednet.size, preset.data.num_classes
        net = DecoupledNetwork(preset.network.backbone, preset.decouplednet, classes)
        assert net(torch.empty(2, 3, size, size), torch.ones(2, classes - 1)).shape == (2, 2, size, size)
