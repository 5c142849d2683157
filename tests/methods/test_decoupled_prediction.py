"""DecoupledNet's prediction: what is found, what is asked, who gets a pixel, and how an image comes to a square and back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY

from swdb.methods.decoupled_network import DecoupledNetwork, estimate_statistics
from swdb.methods.decoupled_prediction import black, class_maps, predict, tag_probabilities, to_squares
from swdb.nn.sampling import to_inputs
from swdb.nn.trainer import seed_initial
from swdb.specs.preprocessing import IMAGENET_RGB, IMAGENET_RGB_CAFFE
from swdb.specs.presets import load_preset

TAGS = 4
SETTINGS = load_preset(TINY).decouplednet
NOTHING = torch.zeros(3, 1, 1)


def pictures(images=3, height=32, width=32, seed=0):
    return torch.randn(images, 3, height, width, generator=torch.Generator().manual_seed(seed))


def network():
    """A network with statistics, which finds about half of all classes and is sure of what it says."""
    seed_initial(0)
    net = DecoupledNetwork("small", SETTINGS, TAGS + 1)
    asked = (torch.rand(4, TAGS, generator=torch.Generator().manual_seed(4)) < 0.5).float()
    with torch.no_grad():
        net.recognizer.scores.weight.mul_(10)
        scores = net.recognizer(pictures(5)).mean((2, 3))
        net.recognizer.scores.bias.copy_(-scores.median(0).values - 0.01)
        net.decoder.scores.weight.mul_(30)
    estimate_statistics(net, [(pictures(4, seed=seed), asked) for seed in (5, 6)])
    return net


class Told(torch.nn.Module):
    """A network whose recognizer finds, and whose decoder says, what a test wants; it counts what it is asked."""

    def __init__(self, probable, says):
        super().__init__()
        self.settings, self.num_classes, self.says = SETTINGS, len(probable[0]) + 1, says
        self.recognizer, self.probable = self, torch.tensor(probable)
        self.looks, self.asked = 0, []

    def maps(self, features):
        return self.probable.logit()[:, :, None, None]

    def see(self, inputs):
        self.looks += 1
        return Image(inputs)

    def answer(self, seen, asked, strength):
        self.asked += [(tuple(row.nonzero()[:, 0].tolist()), s) for row, s in zip(asked, asked * strength, strict=True)]
        foreground = torch.tensor([self.says[tuple(row.nonzero()[:, 0].tolist())] for row in asked])
        foreground = foreground[:, None, None].expand(-1, *seen.features.shape[-2:])
        return torch.stack((1 - foreground, foreground), 1).log()


class Image:
    def __init__(self, features):
        self.features = features

    def __getitem__(self, rows):
        return Image(self.features[rows])


# ---------------------------------------------------------------- what is asked


def test_found_classes_are_asked_for_together_and_one_by_one_with_their_probabilities():
    net = Told([[0.9, 0.2, 0.6], [0.1, 0.2, 0.3]], {(0, 2): 0.7, (0,): 0.6, (2,): 0.2})
    class_maps(net, pictures(2, 8, 8))
    assert [classes for classes, _ in net.asked] == [(0, 2), (0,), (2,)] and net.looks == 1
    torch.testing.assert_close(
        torch.stack([strength for _, strength in net.asked]), torch.tensor([[0.9, 0, 0.6], [0.9, 0, 0], [0, 0, 0.6]])
    )


def test_background_has_a_question_of_its_own_and_maps_are_normalised():
    net = Told([[0.9, 0.2, 0.6]], {(0, 2): 0.7, (0,): 0.6, (2,): 0.2})
    maps = class_maps(net, pictures(1, 8, 8))
    wanted = torch.tensor([0.3, 0.6, 0, 0.2]) / 1.1
    torch.testing.assert_close(maps, wanted[None, :, None, None].expand(1, 4, 8, 8))


def test_two_classes_may_claim_a_pixel_and_the_surer_one_gets_it():
    net = Told([[0.9, 0.9]], {(0, 1): 0.9, (0,): 0.8, (1,): 0.95})
    assert (class_maps(net, pictures(1, 8, 8)).argmax(1) == 2).all()


def test_where_nothing_is_found_all_is_background():
    net = Told([[0.4, 0.5], [0.9, 0.1]], {(0,): 0.8})
    maps = class_maps(net, pictures(2, 8, 8))
    assert (maps[0, 0] == 1).all() and (maps[0, 1:] == 0).all()
    assert (maps[1].argmax(0) == 1).all() and net.asked[0][0] == (0,)


def test_a_whole_batch_without_a_class_asks_nothing():
    net = Told([[0.4, 0.3]], {})
    assert (class_maps(net, pictures(1, 8, 8))[:, 0] == 1).all() and net.asked == []


def test_a_pixel_that_nobody_claims_is_everybody_s():
    net = Told([[0.9, 0.1]], {})
    said = torch.tensor([[-1e4, 1e4], [1e4, -1e4]])  # asked for both: all is foreground; for the one: none is
    net.answer = lambda seen, asked, strength: said[:, :, None, None].expand(2, 2, 8, 8)
    torch.testing.assert_close(class_maps(net, pictures(1, 8, 8)), torch.full((1, 3, 8, 8), 1 / 3))


def test_the_probability_is_of_the_average_and_not_of_the_maximum():
    net = network()
    features = net.see(pictures()).features
    with torch.no_grad():
        scores = net.recognizer.maps(features)
    probable = tag_probabilities(net.recognizer, features)
    assert torch.equal(probable, scores.mean((2, 3)).sigmoid())
    assert (probable < scores.amax((2, 3)).sigmoid()).all()


# ---------------------------------------------------------------- true tags


def test_true_tags_are_asked_for_in_the_place_of_what_is_found():
    net = Told([[0.9, 0.2, 0.6]], {(0, 1): 0.7, (0,): 0.6, (1,): 0.2})
    maps = class_maps(net, pictures(1, 8, 8), torch.tensor([[True, True, False]]))
    assert [classes for classes, _ in net.asked] == [(0, 1), (0,), (1,)]
    assert net.asked[0][1].tolist() == pytest.approx([0.9, 0.5, 0])  # the missed one as the least sure one found
    assert (maps[:, 3] == 0).all()


def test_true_tags_that_are_found_change_nothing():
    net = network()
    found = tag_probabilities(net.recognizer, net.see(pictures()).features) > SETTINGS.threshold
    assert 0 < found.sum() < found.numel()
    assert torch.equal(class_maps(net, pictures(), found), class_maps(net, pictures()))


# ---------------------------------------------------------------- questions of a batch


def slowly(net, squares):
    """As the code asks: image by image, question by question."""
    maps = torch.zeros(len(squares), TAGS + 1, *squares.shape[-2:])
    with torch.no_grad():
        for image, square in enumerate(squares):
            seen = net.see(square[None])
            probable = net.recognizer.maps(seen.features).mean((2, 3)).sigmoid()
            found = (probable > 0.5).float()
            if not found.any():
                maps[image, 0] = 1
                continue
            maps[image, 0] = net.answer(seen, found, probable).softmax(1)[0, 0]
            for one in found[0].nonzero()[:, 0]:
                asked = F.one_hot(one, TAGS)[None].float()
                maps[image, one + 1] = net.answer(seen, asked, probable).softmax(1)[0, 1]
            maps[image] /= maps[image].sum(0)
    return maps


@pytest.mark.parametrize("at_once", [1, 2, 1000], ids="{} at once".format)
def test_questions_that_are_answered_together_get_the_answers_of_one_by_one(at_once, monkeypatch):
    net, squares = network(), pictures(5)
    wanted = slowly(net, squares)
    assert 5 < (wanted[:, 1:].amax((2, 3)) > 0).sum() < 15 and len(wanted.argmax(1).unique()) > 2
    monkeypatch.setattr("swdb.methods.decoupled_prediction.QUESTION_PIXELS", at_once * 32 * 32)
    torch.testing.assert_close(class_maps(net, squares), wanted, rtol=1e-4, atol=1e-5)


def test_an_image_is_looked_at_once_however_many_questions_there_are():
    net, looks = network(), []
    net.backbone.register_forward_hook(lambda *found: looks.append(len(found[1][0])))
    class_maps(net, pictures(), torch.ones(3, TAGS, dtype=torch.bool))
    assert looks == [3]


# ---------------------------------------------------------------- pictures, and back


@pytest.mark.parametrize(("height", "width"), [(32, 32), (21, 30), (50, 33), (16, 64)])
def test_whole_images_get_probabilities_at_their_own_size(height, width):
    said = predict(network(), pictures(2, height, width), NOTHING)
    assert said.shape == (2, TAGS + 1, height, width) and said.dtype == torch.float32
    assert (said >= 0).all()
    torch.testing.assert_close(said.sum(1), torch.ones(2, height, width))


def test_a_square_of_the_right_size_is_predicted_as_it_is():
    net = network()
    torch.testing.assert_close(predict(net, pictures(), NOTHING), class_maps(net, pictures()))


def test_images_are_padded_at_the_bottom_and_on_the_right_and_keep_their_aspect():
    squares = to_squares(torch.ones(1, 3, 16, 32), 32, torch.full((3, 1, 1), -2.0))
    assert (squares[..., :15, :] == 1).all() and (squares[..., 17:, :] == -2).all()
    upright = to_squares(torch.ones(1, 3, 64, 32), 32, NOTHING)
    assert (upright[..., :14] == 1).all() and (upright[..., 18:] == 0).all()


@pytest.mark.parametrize("preprocessing", [IMAGENET_RGB, IMAGENET_RGB_CAFFE], ids=["RGB", "caffe"])
def test_padding_is_black_and_not_the_mean_colour(preprocessing):
    pixel = to_inputs(torch.zeros(1, 1, 1, 3, dtype=torch.uint8), preprocessing)[0]
    assert torch.equal(black(preprocessing), pixel) and (pixel != 0).all()


def test_maps_come_back_by_matlab_s_bicubic():
    # Keys' kernel with a = -0.5, one pixel to four: weights of the pixels around, by hand
    def kernel(x):
        x = abs(x)
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    net = Told([[0.9]], {(0,): 0.0})
    ramp = torch.rand(8, generator=torch.Generator().manual_seed(0)).double()
    net.settings = replace(SETTINGS, size=8)
    both = torch.stack((1 - ramp, ramp)).float()[None, :, None, :].expand(1, 2, 8, 8)
    net.answer = lambda seen, asked, strength: both.log().expand(2, 2, 8, 8)
    said = predict(net, pictures(1, 16, 16), NOTHING)[0, 1, 8]
    places = (np.arange(16) + 0.5) / 2 - 0.5
    inside = slice(4, 12)
    wanted = [sum(kernel(place - i) * ramp[i].item() for i in range(8)) for place in places]
    np.testing.assert_allclose(said[inside].numpy(), np.clip(wanted, 0, 1)[inside], atol=1e-5)


def test_an_image_may_be_looked_at_in_another_size():
    net = network()
    larger = predict(net, pictures(2, 40, 30), NOTHING, side=48)
    assert larger.shape == (2, TAGS + 1, 40, 30)
    assert not torch.equal(larger, predict(net, pictures(2, 40, 30), NOTHING))


@pytest.mark.parametrize("tags", [None, torch.ones(2, TAGS, dtype=torch.bool)], ids=["found", "true tags"])
def test_a_prediction_is_the_same_every_time_and_needs_no_gradients(tags):
    net = network()
    once, again = (predict(net, pictures(2, 20, 28), NOTHING, tags) for _ in range(2))
    assert torch.equal(once, again) and not once.requires_grad
    assert all(p.grad is None for p in net.recognizer.parameters())


def test_a_prediction_in_bf16_is_near_the_one_in_fp32():
    net, tags = network(), torch.ones(2, TAGS, dtype=torch.bool)
    exact = predict(net, pictures(2, 20, 28), NOTHING, tags)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = predict(net.to(memory_format=torch.channels_last), pictures(2, 20, 28), NOTHING, tags)
    assert rough.dtype == torch.float32 and (rough - exact).abs().mean() < 0.05
