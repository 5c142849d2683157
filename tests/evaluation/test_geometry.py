"""What a network is shown, and where that lies on the image."""

import pytest
import torch

from swdb.evaluation.choices import Geometry
from swdb.evaluation.geometry import arranged, brought_back, on_grid, shrunk
from swdb.nn.networks import BACKBONES

IMAGE = torch.arange(6 * 10, dtype=torch.float32).view(1, 1, 6, 10)
MASK = torch.arange(6 * 10, dtype=torch.uint8).view(1, 6, 10)


def test_a_centre_is_cut_and_smaller_sides_stay():
    found = arranged(IMAGE, Geometry("crop", 8))
    assert torch.equal(found, IMAGE[..., :, 1:9])
    assert torch.equal(arranged(MASK, Geometry("crop", 4), nearest=True), MASK[:, 1:5, 3:7])


def test_padding_is_the_mean_and_is_cut_off_again():
    geometry = Geometry("pad", 12)
    found = arranged(IMAGE, geometry)
    assert found.shape == (1, 1, 12, 12)
    assert torch.equal(found[..., :6, :10], IMAGE) and found[..., 6:, :].abs().sum() == found[..., 10:].abs().sum() == 0
    assert torch.equal(brought_back(found, geometry, (6, 10)), IMAGE)


def test_a_warp_does_not_keep_the_aspect_and_the_shorter_side_does():
    assert arranged(IMAGE, Geometry("warp", 4)).shape == (1, 1, 4, 4)
    assert arranged(IMAGE, Geometry("short", 12)).shape == (1, 1, 12, 20)
    assert arranged(IMAGE.mT, Geometry("short", 12)).shape == (1, 1, 20, 12)
    assert arranged(IMAGE, Geometry("short-crop", 12)).shape == (1, 1, 12, 12)


@pytest.mark.parametrize("shown", ["crop", "short", "short-crop", "warp"])
def test_a_mask_is_shown_where_its_image_is(shown):
    # a picture of two halves, and its mask: cut and resized they still lie on each other
    image = (torch.arange(40) >= 20).float().expand(30, 40).clone()[None, None]
    mask = image[:, 0].to(torch.uint8)
    seen, true = arranged(image, Geometry(shown, 16)), arranged(mask, Geometry(shown, 16), nearest=True)
    assert seen.shape[-2:] == true.shape[-2:]
    assert torch.equal(seen[:, 0] > 0.4, true.bool()) and 0 < true.float().mean() < 1


def test_masks_take_their_nearest_pixel():
    assert torch.equal(shrunk(MASK, (6, 10)), MASK)
    assert torch.equal(shrunk(MASK, (3, 5)), MASK[:, 1::2, 1::2])
    assert torch.equal(shrunk(MASK, (12, 20)), MASK.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_the_grid_is_where_a_network_s_features_have_their_centres():
    assert torch.equal(on_grid(MASK, BACKBONES["small"]()), MASK[:, 1::4, 1::4])  # stride 4, first centre 1
