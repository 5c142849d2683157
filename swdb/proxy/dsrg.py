"""Deep seeded region growing (Huang et al., CVPR 2018), the training: a network on seed cues that grow as it learns.

At every step a dense CRF refines what the network says, the cues grow into what it is sure of, and two losses follow
from that. In a second round the same network is trained on the masks of the first as if they were true.
Equations and constants are those of the public code: speedinghzl/DSRG, pylayers.py, train-s/f and solver-s/f.prototxt.

in: pictures, cue maps (N, 41, 41), tags; or pictures and proxy masks -> out: a network with cell logits (B, C, h, w)
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from swdb.core.errors import BadInput
from swdb.data.store import Store, gather
from swdb.data.voc import IGNORE
from swdb.nn.compute import Machine
from swdb.nn.dense_crf import refine
from swdb.nn.losses import cross_entropy
from swdb.nn.networks import Backbone, Preprocessing, head
from swdb.nn.sampling import PLACE, cut, normalise, place, positions, stream, warp
from swdb.nn.trainer import Schedule, optimise
from swdb.proxy.grid import GRID
from swdb.proxy.region_growing import grow
from swdb.specs.crf_parameters import crf_set
from swdb.specs.presets import Dsrg

FLOOR = 1e-4  # is added to every probability, and is the least that the CRF gives
RATIO = (0.05, 20.0)  # how far the constrain-to-boundary loss looks: clip(q / p)
BIASES = 2.0  # lr_mult of biases, which do not decay
CRF_SHRINK = 12.0  # the CRF's pixels are that much larger on the grid of 41 cells: pylayers.py, sxy 80 / 12

COLLAPSE_AFTER = 100  # steps, or a tenth of all, before a network may be called collapsed
COLLAPSE_OVER = 50  # steps over which its predictions are averaged
COLLAPSE_SHARE = 0.02  # of the foreground that its own grown cues have


class DsrgNetwork(nn.Module):
    """A backbone and one head for every dilation, whose logits are summed: train-s.prototxt's fc8_1 + .. + fc8_4."""

    def __init__(self, backbone: Backbone, spec: Dsrg, num_classes: int):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleList(
            head(backbone.channels, spec.head_channels, dilation, spec.dropout, num_classes)
            for dilation in spec.dilations
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Map normalised pictures (B, 3, H, W) to logits of cells (B, C, h, w)."""
        features = self.backbone(pictures)
        return sum(branch(features) for branch in self.heads)

    def groups(self, spec: Dsrg, factor: float = 1.0) -> list[dict]:
        """Return the optimizer's groups: every rate times `factor`; biases take double steps and do not decay."""
        last = [branch[-1] for branch in self.heads]
        body = [layer for branch in self.heads for layer in branch[:-1]]
        parts = ((spec.lr_backbone, [self.backbone]), (spec.lr_new, body), (spec.lr_last, last))
        groups = []
        for rate, modules in parts:
            named = [item for module in modules for item in module.named_parameters()]
            biases = [tensor for name, tensor in named if name.endswith("bias")]
            weights = [tensor for name, tensor in named if not name.endswith("bias")]
            groups.append({"params": weights, "lr": factor * rate})
            groups.append({"params": biases, "lr": factor * rate * BIASES, "weight_decay": 0.0})
        return groups


def train_on_cues(
    folder: Path,
    identity: str,
    network: DsrgNetwork,
    store: Store,
    maps: np.ndarray,
    tags: np.ndarray,
    spec: Dsrg,
    look: Preprocessing,
    machine: Machine,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train on the cues of a store's pictures, the first round; images without any cue are left out.

    maps (N, 41, 41) uint8 with 255 for no cue, tags (N, C-1) bool. Returns the loop's record. Raises BadInput early
    where the network collapses to background, and for a loss that is not finite.
    """
    network = machine.layout(network)
    store = store.to(machine.device)
    cued = np.flatnonzero((maps != IGNORE).any((1, 2)))
    num_classes = tags.shape[1] + 1
    allowed = torch.from_numpy(np.concatenate([np.ones((len(tags), 1), bool), tags], 1))
    watch = _Collapse(identity, spec.steps)

    def rows_at(step: int) -> np.ndarray:
        return cued[positions(len(cued), 0, 0, step, spec.batch)]

    def ids_at(step: int) -> list[str]:
        return [store.ids[row] for row in rows_at(step)]

    def losses_at(step: int) -> dict[str, Tensor]:
        rows = rows_at(step)
        flip = torch.from_numpy(stream(0, PLACE, step).random(len(rows)) < 0.5)
        sizes = store.sizes[torch.from_numpy(rows)]
        squares = warp(gather(store.images, rows, machine.device), sizes, flip, spec.size)
        with machine.autocast():
            cells = network(machine.pictures(normalise(squares, look))).float()
        at = centres(network.backbone, cells.shape[-1], spec.size, machine.device)
        seeds = cells_of_cues(gather(maps, rows, machine.device), flip, at, spec.size, num_classes)
        small = squares[..., at[:, None], at].round().to(torch.uint8).permute(0, 2, 3, 1)
        try:
            terms, shares = seeded_losses(cells, seeds, small, allowed[torch.from_numpy(rows)].to(machine.device), spec)
        except BadInput as error:  # the CRF refuses what is not finite, before the loss could show it
            raise BadInput(f"{identity}: at step {step} (images {', '.join(ids_at(step))}): {error}") from None
        watch.see(step, shares)
        return terms

    schedule = Schedule(
        spec.steps, spec.warmup, spec.decay_every, spec.decay_factor, spec.weight_decay, spec.clip_norm, repeated=True
    )
    groups = network.groups(spec)
    return optimise(folder, identity, network, groups, schedule, losses_at, 0, progress, spec.optimizer, ids_at)


def train_on_masks(
    folder: Path,
    identity: str,
    network: DsrgNetwork,
    store: Store,
    masks: np.ndarray,
    spec: Dsrg,
    look: Preprocessing,
    machine: Machine,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train a network that has had its first round on that round's masks (N, S, S) uint8, the retrain round.

    Crops at the pictures' own scale, mirrored at random, and the poly schedule: train-f and solver-f.prototxt. Unlike
    there, a crop may begin between two pixels, as all crops here do.
    """
    network = machine.layout(network)
    store = store.to(machine.device)

    def rows_at(step: int) -> np.ndarray:
        return positions(len(store.ids), 0, 0, step, spec.retrain_batch)

    def losses_at(step: int) -> dict[str, Tensor]:
        rows = rows_at(step)
        sizes = store.sizes[torch.from_numpy(rows)]
        images, labels = (gather(array, rows, machine.device) for array in (store.images, masks))
        pictures, labels = cut(images, labels, sizes, place(0, step, sizes, spec.size, 1.0, 1.0), spec.size, look)
        with machine.autocast():
            cells = network(machine.pictures(pictures)).float()
        at = centres(network.backbone, cells.shape[-1], spec.size, machine.device)
        return {"masks": cross_entropy(cells, labels[:, at[:, None], at])}

    schedule = Schedule(spec.retrain_steps, 0, 1.0, 1.0, spec.weight_decay, spec.clip_norm, power=spec.retrain_power)
    groups = network.groups(spec, spec.retrain_rate)
    return optimise(
        folder, identity, network, groups, schedule, losses_at, 0, progress, spec.optimizer,
        lambda step: [store.ids[row] for row in rows_at(step)],
    )  # fmt: skip


# ---------------------------------------------------------------- the grid of cells


def centres(backbone: Backbone, cells: int, size: int, device: torch.device) -> Tensor:
    """Return the pixel at the centre of every cell of a side, (cells,) int64, inside a picture of `size` pixels."""
    at = backbone.stride * torch.arange(cells, device=device) + backbone.first_centre
    return at.round().long().clamp(max=size - 1)


def cells_of_cues(maps: Tensor, flip: Tensor, at: Tensor, size: int, num_classes: int) -> Tensor:
    """Take cue maps (B, 41, 41) uint8 to the network's grid, mirrored where the picture is; (B, C, h, w) bool.

    Cell i of 41 lies at i/40 of the picture's extent; every cell of the network takes the nearest one.
    """
    nearest = ((GRID - 1) * at / (size - 1)).round().long()
    mirrored = ((GRID - 1) * (size - 1 - at) / (size - 1)).round().long()
    columns = torch.where(flip.to(maps.device)[:, None], mirrored, nearest)  # (B, w)
    batch = torch.arange(len(maps), device=maps.device)[:, None, None]
    cells = maps[batch, nearest[None, :, None], columns[:, None, :]]
    return cells[:, None] == torch.arange(num_classes, device=maps.device)[None, :, None, None]


# ---------------------------------------------------------------- the losses


def seeded_losses(
    cells: Tensor, seeds: Tensor, pictures: Tensor, tags: Tensor, spec: Dsrg
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
    """Return DSRG's two losses, and the shares of foreground that the network predicts and that its grown cues have.

    cells (B, C, h, w) float logits, seeds (B, C, h, w) bool, pictures (B, h, w, 3) uint8, tags (B, C) bool with background.
    Source: pylayers.py. Mind: here the CRF's energy is -p, not -log p.
    """
    probability = floored(cells.softmax(1) + FLOOR)
    with torch.no_grad():
        crf = crf_set(spec.crf).scaled(cells.shape[-1] / GRID / CRF_SHRINK)
        refined = floored(refine(-probability.detach(), pictures, crf).clamp(min=FLOOR))
        grown = grow(refined, seeds, tags, spec.grow_foreground, spec.grow_background)
        predicted = (probability.argmax(1) != 0).float().mean()
        wanted = grown[:, 1:].any(1).float().mean() / grown.any(1).float().mean().clamp(min=FLOOR)
    terms = {"seeds": balanced_seed_loss(probability, grown), "boundary": boundary_loss(probability, refined)}
    return terms, (predicted, wanted)


def floored(values: Tensor) -> Tensor:
    """Let the classes (dim 1) sum to 1 again."""
    return values / values.sum(1, keepdim=True)


def balanced_seed_loss(probability: Tensor, seeds: Tensor) -> Tensor:
    """Return -1/|S_bg| sum log p_bg - 1/|S_fg| sum log p_fg of every image, and the mean of them: BalancedSeedLoss.

    Background and foreground weigh the same, however many cells each has. probability (B, C, h, w), seeds bool alike.
    """
    wanted = probability.log() * seeds
    background, foreground = wanted[:, :1].sum((1, 2, 3)), wanted[:, 1:].sum((1, 2, 3))
    num_background, num_foreground = seeds[:, :1].sum((1, 2, 3)), seeds[:, 1:].sum((1, 2, 3))
    return -(background / num_background.clamp(min=1) + foreground / num_foreground.clamp(min=1)).mean()


def boundary_loss(probability: Tensor, refined: Tensor) -> Tensor:
    """Return the mean over cells of sum_c q log clip(q / p, 0.05, 20): ConstrainLossLayer. No gradient reaches q.

    (DSRG's own backward pass sends part of it through the CRF; SEC's, from which the loss comes, does not.)
    """
    ratio = (refined / probability).clamp(*RATIO)
    return (refined * ratio.log()).sum(1).mean()


class _Collapse:
    """Watches that a network does not end in predicting background alone, and says so while hours can still be saved.

    A training that goes on after a kill is watched anew from there.
    """

    def __init__(self, identity: str, steps: int):
        self.identity = identity
        self.first = min(COLLAPSE_AFTER, max(COLLAPSE_OVER, steps // 10))
        self.seen: deque[tuple[Tensor, Tensor]] = deque(maxlen=COLLAPSE_OVER)

    def see(self, step: int, shares: tuple[Tensor, Tensor]) -> None:
        """Note the predicted and the wanted share of foreground at a step; raises BadInput where the former vanished."""
        self.seen.append(shares)
        if step < self.first or step % COLLAPSE_OVER or len(self.seen) < COLLAPSE_OVER:
            return
        predicted, wanted = torch.stack([torch.stack(pair) for pair in self.seen]).mean(0).tolist()
        if predicted < COLLAPSE_SHARE * wanted:
            raise BadInput(
                f"{self.identity}: the network predicts background alone: at step {step} {100 * predicted:.2f} % of its cells are "
                f"foreground (mean of {COLLAPSE_OVER} steps), of its cues {100 * wanted:.1f} % are; lower dsrg.lr_new or lr_backbone, "
                f"or look at the cues: cues.json says what they lack"
            )
