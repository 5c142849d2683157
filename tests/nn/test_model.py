"""A network with the preprocessing of its weights: what it is handed, in which layout and precision."""

import pytest
import torch
from torch import nn

from swdb.nn.compute import Compute
from swdb.nn.model import Model
from swdb.nn.networks import Preprocessing

BGR = Preprocessing("BGR", (1.0, 2.0, 3.0), (2.0, 4.0, 5.0))


class Watched(nn.Module):
    """A convolution that remembers what it was handed."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, inputs):
        self.seen = inputs
        return self.layer(inputs)


def model(precision, preprocessing=BGR):
    return Model(Watched(), preprocessing, Compute(torch.device("cpu"), precision))


def test_images_become_inputs_as_the_weights_want_them():
    pixel = torch.tensor([[[[10, 20, 30]]]], dtype=torch.uint8)  # one pixel: red 10, green 20, blue 30
    inputs = model("fp32").inputs(pixel)
    assert inputs.shape == (1, 3, 1, 1)
    assert inputs.dtype == torch.float32
    assert inputs.flatten().tolist() == pytest.approx([(30 - 1) / 2, (20 - 2) / 4, (10 - 3) / 5])


def test_float_images_are_normalised_as_uint8_ones_are():
    images = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    asked = model("fp32")
    assert torch.equal(asked.normalise(images.permute(0, 3, 1, 2).float()), asked.inputs(images))


@pytest.mark.parametrize(
    ("precision", "dtype", "last"), [("fp32", torch.float32, False), ("bf16", torch.bfloat16, True)]
)
def test_the_network_runs_in_the_models_precision_and_layout(precision, dtype, last):
    asked, inputs = model(precision), torch.randn(2, 3, 6, 6)
    found = asked(inputs)
    assert found.dtype == dtype
    assert asked.network.seen.is_contiguous(memory_format=torch.channels_last) is last
    assert torch.equal(asked.network.seen, inputs)
    torch.testing.assert_close(found.float(), asked.network.layer(inputs), atol=0.05, rtol=0.05)


def test_a_call_that_is_over_leaves_no_autocast_behind():
    asked = model("bf16")
    asked(torch.randn(1, 3, 4, 4))
    assert not torch.is_autocast_enabled("cpu")
