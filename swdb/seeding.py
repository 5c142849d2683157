"""A segmentation network trained on seed cues alone: few cells of each image that are probably right.

The balanced seed loss is DSRG's (pylayers.py, BalancedSeedLoss); growing the cues and the CRF belong to DSRG proper.

in: pictures, cues on a grid of 41 x 41 cells -> out: a single-branch network that predicts whole masks
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from swdb.cues import GRID
from swdb.loop import Machine, Schedule, optimise
from swdb.method import StrongWeakNetwork
from swdb.networks import Preprocessing
from swdb.preset import Preset
from swdb.sampling import cut, place, positions
from swdb.store import Store, gather
from swdb.voc import IGNORE

FLOOR = 1e-4  # is added to every probability, as DSRG does


def train_on_cues(
    folder: Path,
    identity: str,
    network: StrongWeakNetwork,
    store: Store,
    maps: np.ndarray,
    preset: Preset,
    look: Preprocessing,
    machine: Machine,
    progress: Callable[[int, int], None],
) -> tuple[StrongWeakNetwork, dict[str, Any]]:
    """Fit the cues of a store's pictures, maps (N, 41, 41) uint8 with 255 for no cue; images without cues are left out.

    Returns the network and the loop's record.
    """
    training, proxy = preset.training, preset.proxy
    network = machine.layout(network)
    store = store.to(machine.device)
    seeded = np.flatnonzero((maps != IGNORE).any((1, 2)))

    def losses_at(step: int) -> dict[str, Tensor]:
        index = seeded[positions(len(seeded), 0, 0, step, proxy.batch)]
        images = gather(store.images, index, machine.device)
        sizes = store.sizes[torch.from_numpy(index)]
        labels = spread(gather(maps, index, machine.device), sizes.to(machine.device), images.shape[1])
        at = place(0, step, sizes, training.crop, training.scale_min, training.scale_max)
        pictures, labels = cut(images, labels, sizes, at, training.crop, look)
        with machine.autocast():
            logits = network.logits(network.features(machine.pictures(pictures)), "strong")
        return {"seeds": balanced_seed_loss(logits[..., : training.crop, : training.crop], labels)}

    backbone, new = network.groups(training)
    schedule = Schedule(
        proxy.steps,
        training.warmup,
        proxy.decay_at,
        proxy.decay_factor,
        training.weight_decay,
        training.clip_norm,
    )
    groups = [backbone, {**new, "lr": proxy.lr}]
    record = optimise(folder, identity, network, groups, schedule, losses_at, 0, progress)
    return network.eval(), record


def spread(maps: Tensor, sizes: Tensor, canvas: int) -> Tensor:
    """Lay cue maps (B, 41, 41) uint8 over pictures of `sizes` (B, 2) int64 on a canvas; (B, canvas, canvas) uint8.

    The networks that made the cues saw each picture warped to 321 = 8 * 40 + 1 pixels, cell i's centre at pixel 8 * i.
    """
    pixel = torch.arange(canvas, device=maps.device)
    last = (sizes - 1).clamp(min=1)
    cells = ((GRID - 1) * pixel / last[:, :, None]).round().long().clamp(max=GRID - 1)  # (B, 2, canvas)
    batch = torch.arange(len(maps), device=maps.device)[:, None, None]
    labels = maps[batch, cells[:, 0, :, None], cells[:, 1, None, :]]
    inside = pixel < sizes[:, :, None]
    return labels.masked_fill(~(inside[:, 0, :, None] & inside[:, 1, None, :]), IGNORE)


def balanced_seed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """DSRG's seed loss: background and foreground cues each weigh one half of an image, however many there are.

    logits (B, C, H, W), labels (B, H, W) int64 with 255 for no cue; taken over pixels, for crops change the scale of cells.
    """
    probability = F.softmax(logits.float(), 1) + FLOOR
    log = (probability / probability.sum(1, keepdim=True)).log()
    wanted = log.gather(1, labels.clamp(max=logits.shape[1] - 1)[:, None])[:, 0]
    total = logits.new_zeros(())
    for cued in (labels == 0, (labels != 0) & (labels != IGNORE)):
        total = total - ((wanted * cued).sum((1, 2)) / cued.sum((1, 2)).clamp(min=1)).mean()
    return total
