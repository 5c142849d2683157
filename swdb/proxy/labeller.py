"""What DSRG's networks say of whole images: logits at several sizes or scales, summed, then softmax and CRF.

Network and CRF see images as large as the preset trains on them; the CRF's parameters shrink with them.

in: images (B, H, W, 3) uint8 RGB -> out: logits of a view, refined probabilities, the best class of every pixel
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.nn.dense_crf import energy_of, refine
from swdb.nn.losses import resize
from swdb.nn.model import Model
from swdb.nn.networks import upsample
from swdb.nn.sampling import warp_to_square
from swdb.specs.crf_parameters import crf_set
from swdb.specs.tasks import ProxiesTask

VOC_SIDE = 500  # pixels: of the images that the CRF's parameters are for

View = float  # the first round's: the side of a square; the second's: a factor of the image's own size
Look = Callable[[View], Tensor]  # logits (B, C, H, W) of the images that are looked at
Labeller = Callable[[Tensor], Tensor]  # images (B, H, W, 3) uint8 RGB -> probabilities (B, C, H, W) after the CRF


def labeller(task: ProxiesTask, model: Model) -> Labeller:
    """Return the function that labels images: logits over several views, softmax, CRF: test-ms.py, test-ms-f.py.

    Whether what comes back is finite, nobody has looked: `dense_crf.are_finite`.
    """

    @torch.no_grad()
    def label(images: Tensor) -> Tensor:
        images = images.to(model.compute.device)
        look = looking(task, model, images)
        return refined(task, summed(map(look, views_of(task))).softmax(1), images)

    return label


def views_of(task: ProxiesTask) -> tuple[View, ...]:
    """List the views whose logits are summed: squares as the first round saw them, scales as the second did."""
    return task.dsrg.test_sizes if task.proxy_set == 1 else task.dsrg.retrain_scales


def looking(task: ProxiesTask, model: Model, images: Tensor) -> Look:
    """Return what looks at images on the model's device, one view at a time."""
    return _squares(model, images) if task.proxy_set == 1 else _scaled(model, images)


def summed(logits: Iterable[Tensor]) -> Tensor:
    """Add up the logits of views."""
    total = torch.zeros(())
    for one in logits:
        total = total + one  # a number's place is no matter
    return total


def refined(task: ProxiesTask, probabilities: Tensor, images: Tensor) -> Tensor:
    """Refine probabilities (B, C, H, W) by the CRF of the preset's set, with the energy -log p."""
    crf = crf_set(task.dsrg.crf).scaled(task.image_side / VOC_SIDE)
    return refine(energy_of(probabilities), images, crf, check=False)


def best_classes(probabilities: Tensor, size: tuple[int, int], allowed: Tensor | None = None) -> Tensor:
    """Return the best class of every pixel at an image's own size, (H, W) uint8; among the `allowed` (C,), if given."""
    whole = resize(probabilities[None], size)[0]
    if allowed is not None:
        whole = whole.masked_fill(~allowed[:, None, None], -torch.inf)
    return whole.argmax(0).to(torch.uint8)


def _squares(model: Model, images: Tensor) -> Look:
    """Look at images warped to a square, as the first round saw them: test-ms.py."""
    size, device = images.shape[1:3], images.device
    upright = torch.zeros(len(images), dtype=torch.bool, device=device)
    whole = torch.stack([torch.full((len(images),), side, device=device) for side in size], 1)

    def look(side: View) -> Tensor:
        logits = model(model.normalise(warp_to_square(images, whole, upright, side)))
        logits = upsample(logits, model.network.backbone)[..., :side, :side]
        return F.interpolate(logits, size, mode="bilinear", align_corners=True)

    return look


def _scaled(model: Model, images: Tensor) -> Look:
    """Look at images at a scale of their own aspect, as the retrain round saw them: test-ms-f.py."""
    inputs, size = model.inputs(images), images.shape[1:3]

    def look(scale: View) -> Tensor:
        height, width = (max(1, round(side * scale)) for side in size)
        logits = model(resize(inputs, (height, width)))
        return resize(upsample(logits, model.network.backbone)[..., :height, :width], size)

    return look
