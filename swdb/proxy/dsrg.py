"""Deep seeded region growing (Huang et al., CVPR 2018), the training: a network on seed cues that grow as it learns.

At every step a dense CRF refines what the network says, the cues grow into what it is sure of, and two losses follow
from that. In a second round the same network is trained on the masks of the first as if they were true.
Equations and constants are those of the public code: speedinghzl/DSRG, pylayers.py, train-s/f and solver-s/f.prototxt.

in: images, cue maps (N, 41, 41), tags; or images and proxy masks -> out: a network with logits (B, C, h, w)
"""

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from swdb.core.errors import BadInput
from swdb.data.resident import resident
from swdb.data.store import Store, drawn_rows, taken_rows
from swdb.data.voc import IGNORE
from swdb.nn.compute import Compute
from swdb.nn.dense_crf import MEMORY as CRF_MEMORY
from swdb.nn.dense_crf import refine
from swdb.nn.losses import cross_entropy
from swdb.nn.memory import Needs, needs_of
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, Backbone, head
from swdb.nn.sampling import CROPS, crop_drawn, drawn_crops, rng_for, sample_crops, sample_indices, warp_to_square
from swdb.nn.step import Drawn, Objective
from swdb.nn.trainer import Job, Schedule, optimise
from swdb.proxy.grid import GRID
from swdb.proxy.region_growing import grow
from swdb.specs.crf_parameters import crf_set
from swdb.specs.dsrg import Dsrg

FLOOR = 1e-4  # is added to every probability, and is the least that the CRF gives
RATIO = (0.05, 20.0)  # how far the constrain-to-boundary loss looks: clip(q / p)
BIASES = 2.0  # lr_mult of biases, which do not decay
CRF_SHRINK = 12.0  # the CRF's pixels are that much larger on the grid of 41 points: pylayers.py, sxy 80 / 12

COLLAPSE_AFTER = 100  # steps, or a tenth of all, before a network may be called collapsed
COLLAPSE_OVER = 50  # steps over which its predictions are averaged
COLLAPSE_SHARE = 0.02  # of the foreground that its own grown cues have


class DsrgNetwork(nn.Module):
    """A backbone and one head for every dilation, whose logits are summed: train-s.prototxt's fc8_1 + .. + fc8_4."""

    def __init__(self, backbone: Backbone, settings: Dsrg, num_classes: int):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleList(
            head(backbone.channels, settings.head_channels, dilation, settings.dropout, num_classes)
            for dilation in settings.dilations
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map normalised inputs (B, 3, H, W) to logits (B, C, h, w)."""
        features = self.backbone(inputs)
        return sum(branch(features) for branch in self.heads)

    def groups(self, settings: Dsrg, factor: float = 1.0) -> list[dict]:
        """Return the optimizer's groups: every rate times `factor`; biases take double steps and do not decay."""
        last = [branch[-1] for branch in self.heads]
        body = [layer for branch in self.heads for layer in branch[:-1]]
        parts = ((settings.lr_backbone, [self.backbone]), (settings.lr_new, body), (settings.lr_last, last))
        groups = []
        for rate, modules in parts:
            named = [item for module in modules for item in module.named_parameters()]
            biases = [tensor for name, tensor in named if name.endswith("bias")]
            weights = [tensor for name, tensor in named if not name.endswith("bias")]
            groups.append({"params": weights, "lr": factor * rate})
            groups.append({"params": biases, "lr": factor * rate * BIASES, "weight_decay": 0.0})
        return groups


def train_on_cues(
    job: Job, model: Model, store: Store, maps: np.ndarray, tags: np.ndarray, settings: Dsrg
) -> dict[str, Any]:
    """Train on the cues of a store's images, the first round; images without any cue are left out.

    maps (N, 41, 41) uint8 with 255 for no cue, tags (N, C-1) bool. Returns the loop's record. Raises BadInput early
    where the network collapses to background, and for a loss that is not finite.
    """
    device = model.compute.device
    network: DsrgNetwork = model.compute.layout(model.network)
    store = store.to(device)
    cued = np.flatnonzero((maps != IGNORE).any((1, 2)))
    num_classes = tags.shape[1] + 1
    allowed = torch.from_numpy(np.concatenate([np.ones((len(tags), 1), bool), tags], 1))
    watch = _Collapse(job.id, settings.steps)

    def rows_at(step: int) -> np.ndarray:
        return cued[sample_indices(len(cued), job.seed, 0, step, settings.batch)]

    def ids_at(step: int) -> list[str]:
        return [store.ids[row] for row in rows_at(step)]

    def draw(step: int) -> Drawn:
        rows = rows_at(step)
        flip = torch.from_numpy(rng_for(job.seed, CROPS, step).random(len(rows)) < 0.5)
        at = torch.from_numpy(rows)
        drawn = {"rows": at, "sizes": store.sizes[at], "flip": flip, "tags": allowed[at]}
        return drawn | drawn_rows("images", store.images, rows) | drawn_rows("cues", maps, rows)

    network_logits = model.compute.compiled(lambda inputs: model(inputs).float())

    def losses(drawn: Drawn) -> dict[str, Tensor]:
        images, flip = taken_rows("images", store.images, drawn), drawn["flip"]
        squares = warp_to_square(images, drawn["sizes"], flip, settings.size)
        logits = network_logits(model.normalise(squares))
        at = feature_centres(network.backbone, logits.shape[-1], settings.size, device)
        seeds = seeds_at_features(drawn["cues"], flip, at, settings.size, num_classes)
        small = squares[..., at[:, None], at].round().to(torch.uint8).permute(0, 2, 3, 1)
        terms, (predicted, wanted) = seeded_losses(logits, seeds, small, drawn["tags"], settings)
        return {**terms, "predicted": predicted, "wanted": wanted}

    schedule = Schedule(
        settings.steps, settings.warmup, settings.decay_every, settings.decay_factor, settings.weight_decay,
        settings.clip_norm, repeated=True, optimizer=settings.optimizer,
    )  # fmt: skip
    objective = Objective(draw, losses, ("predicted", "wanted"), watch.see)
    job = replace(job, ids_at=ids_at)
    return optimise(job, network, network.groups(settings), schedule, objective, model.compute.step)


def train_on_masks(job: Job, model: Model, store: Store, masks: np.ndarray, settings: Dsrg) -> dict[str, Any]:
    """Train a network that has had its first round on that round's masks (N, S, S) uint8, the retrain round.

    Crops at the images' own scale, mirrored at random, and the poly schedule: train-f and solver-f.prototxt. Unlike
    there, a crop may begin between two pixels, as all crops here do.
    """
    device = model.compute.device
    network: DsrgNetwork = model.compute.layout(model.network)
    store = store.to(device)
    (masks,) = resident((masks,), device)

    def rows_at(step: int) -> np.ndarray:
        return sample_indices(len(store.ids), job.seed, 0, step, settings.retrain_batch)

    def draw(step: int) -> Drawn:
        rows = rows_at(step)
        at = torch.from_numpy(rows)
        crops = sample_crops(job.seed, step, store.sizes[at], settings.size, 1.0, 1.0)
        drawn = {"rows": at, **drawn_crops(crops, store.sizes[at])}
        return drawn | drawn_rows("images", store.images, rows) | drawn_rows("masks", masks, rows)

    def mask_loss(inputs: Tensor, labels: Tensor) -> Tensor:
        logits = model(inputs).float()
        at = feature_centres(network.backbone, logits.shape[-1], settings.size, device)
        return cross_entropy(logits, labels[:, at[:, None], at])

    mask_loss = model.compute.compiled(mask_loss)

    def losses(drawn: Drawn) -> dict[str, Tensor]:
        images, labels = (
            taken_rows(name, array, drawn) for name, array in (("images", store.images), ("masks", masks))
        )
        return {"masks": mask_loss(*crop_drawn(images, labels, drawn, settings.size, model.preprocessing))}

    schedule = Schedule(
        settings.retrain_steps, 0, 1.0, 1.0, settings.weight_decay, settings.clip_norm,
        power=settings.retrain_power, optimizer=settings.optimizer,
    )  # fmt: skip
    job = replace(job, ids_at=lambda step: [store.ids[row] for row in rows_at(step)])
    groups = network.groups(settings, settings.retrain_rate)
    return optimise(job, network, groups, schedule, Objective(draw, losses), model.compute.step)


def dsrg_needs(backbone: str, settings: Dsrg, num_classes: int, precision: str, proxy_set: int) -> Needs:
    """Count what a round of a proxy set needs on its device."""
    batch = settings.batch if proxy_set == 1 else settings.retrain_batch

    def losses(network: nn.Module, compute: Compute) -> dict[str, Tensor]:
        inputs = torch.empty(batch, 3, settings.size, settings.size)
        with compute.autocast():
            logits = network(compute.inputs(inputs))
        logits = logits.float()
        if proxy_set == 2:
            return {"masks": cross_entropy(logits, logits.new_empty(logits[:, 0].shape, dtype=torch.int64))}
        probability = renormalise(logits.softmax(1) + FLOOR)
        points = logits.shape[-2] * logits.shape[-1]
        kernels = torch.empty(
            2, min(batch * points**2, CRF_MEMORY["cuda"] // 4)
        )  # the CRF's, whole, and as much to make them
        del kernels
        refined = torch.empty_like(probability)
        seeds = torch.empty(probability.shape, dtype=torch.bool)
        return {"seeds": balanced_seed_loss(probability, seeds), "boundary": boundary_loss(probability, refined)}

    network = lambda: DsrgNetwork(BACKBONES[backbone](), settings, num_classes)  # noqa: E731
    return needs_of(network, losses, precision, settings.optimizer)


# ---------------------------------------------------------------- features and the grid of cues


def feature_centres(backbone: Backbone, count: int, size: int, device: torch.device) -> Tensor:
    """Return the pixel at the centre of every feature of a side, (count,) int64, inside an image of `size` pixels."""
    at = backbone.stride * torch.arange(count, device=device) + backbone.first_centre
    return at.round().long().clamp(max=size - 1)


def seeds_at_features(maps: Tensor, flip: Tensor, at: Tensor, size: int, num_classes: int) -> Tensor:
    """Take cue maps (B, 41, 41) uint8 to the network's features, mirrored where the image is; (B, C, h, w) bool.

    Point i of 41 lies at i/40 of the image's extent; every feature takes the nearest one.
    """
    nearest = ((GRID - 1) * at / (size - 1)).round().long()
    mirrored = ((GRID - 1) * (size - 1 - at) / (size - 1)).round().long()
    columns = torch.where(flip[:, None], mirrored, nearest)  # (B, w)
    batch = torch.arange(len(maps), device=maps.device)[:, None, None]
    cues = maps[batch, nearest[None, :, None], columns[:, None, :]]
    return cues[:, None] == torch.arange(num_classes, device=maps.device)[None, :, None, None]


# ---------------------------------------------------------------- the losses


def seeded_losses(
    logits: Tensor, seeds: Tensor, images: Tensor, tags: Tensor, settings: Dsrg
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
    """Return DSRG's two losses, and the shares of foreground that the network predicts and that its grown cues have.

    logits (B, C, h, w) float, seeds (B, C, h, w) bool, images (B, h, w, 3) uint8, tags (B, C) bool with background.
    Source: pylayers.py. Mind: here the CRF's energy is -p, not -log p.
    """
    probability = renormalise(logits.softmax(1) + FLOOR)
    with torch.no_grad():
        crf = crf_set(settings.crf).scaled(logits.shape[-1] / GRID / CRF_SHRINK)
        check = not probability.is_cuda  # a GPU is not waited for: the log looks at the losses
        refined = renormalise(refine(-probability.detach(), images, crf, check=check).clamp(min=FLOOR))
        grown = grow(refined, seeds, tags, settings.grow_foreground, settings.grow_background)
        predicted = (probability.argmax(1) != 0).float().mean()
        wanted = grown[:, 1:].any(1).float().mean() / grown.any(1).float().mean().clamp(min=FLOOR)
    terms = {"seeds": balanced_seed_loss(probability, grown), "boundary": boundary_loss(probability, refined)}
    return terms, (predicted, wanted)


def renormalise(values: Tensor) -> Tensor:
    """Let the classes (dim 1) sum to 1 again."""
    return values / values.sum(1, keepdim=True)


def balanced_seed_loss(probability: Tensor, seeds: Tensor) -> Tensor:
    """Return -1/|S_bg| sum log p_bg - 1/|S_fg| sum log p_fg of every image, and the mean of them: BalancedSeedLoss.

    Background and foreground weigh the same, however many points each has. probability and seeds (bool): (B, C, h, w).
    """
    wanted = probability.log() * seeds
    background, foreground = wanted[:, :1].sum((1, 2, 3)), wanted[:, 1:].sum((1, 2, 3))
    num_background, num_foreground = seeds[:, :1].sum((1, 2, 3)), seeds[:, 1:].sum((1, 2, 3))
    return -(background / num_background.clamp(min=1) + foreground / num_foreground.clamp(min=1)).mean()


def boundary_loss(probability: Tensor, refined: Tensor) -> Tensor:
    """Return the mean over points of sum_c q log clip(q / p, 0.05, 20): ConstrainLossLayer. No gradient reaches q.

    (DSRG's own backward pass sends part of it through the CRF; SEC's, from which the loss comes, does not.)
    """
    ratio = (refined / probability).clamp(*RATIO)
    return (refined * ratio.log()).sum(1).mean()


class _Collapse:
    """Watches that a network does not end in predicting background alone, and says so while hours can still be saved.

    A training that goes on after a kill is watched from there.
    """

    def __init__(self, artefact_id: str, steps: int):
        self.artefact_id = artefact_id
        self.first = min(COLLAPSE_AFTER, max(COLLAPSE_OVER, steps // 10))
        self.seen: deque[tuple[float, float]] = deque(maxlen=COLLAPSE_OVER)

    def see(self, step: int, values: dict[str, float]) -> None:
        """Note the predicted and the wanted share of foreground at a step; raises BadInput where the former vanished."""
        self.seen.append((values["predicted"], values["wanted"]))
        if step < self.first or step % COLLAPSE_OVER or len(self.seen) < COLLAPSE_OVER:
            return
        predicted, wanted = (sum(share) / len(self.seen) for share in zip(*self.seen, strict=True))
        if predicted < COLLAPSE_SHARE * wanted:
            found = (
                f"the network predicts background alone: at step {step} {100 * predicted:.2f} % of its predictions are "
                f"foreground (mean of {COLLAPSE_OVER} steps), of its cues {100 * wanted:.1f} % are"
            )
            raise BadInput(self.artefact_id, found, "objects: lower dsrg.lr_new or lr_backbone, or look at cues.json")
