"""DecoupledNet's recognizer: trained once on the tags of all training images, then frozen behind every run of the method.

Its images are shown as it is asked about them later: whole, black beyond their edges, at the size of the settings and a
little larger, of which a crop is taken.

in: a recognizer's artefact; data and initial weights are its inputs -> out: `recognizers/<id>/{weights.pt, log.jsonl}`
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swdb.core.artefact import Artefact
from swdb.core.stage import Tools
from swdb.data.store import Store, drawn_rows, taken_rows
from swdb.methods.decoupled_network import Recognizer
from swdb.nn.checkpoints import load_weights
from swdb.nn.compute import Compute
from swdb.nn.head_weights import fully_connected, tensors_behind
from swdb.nn.initial_weights import load_initial
from swdb.nn.memory import Needs, needs_of
from swdb.nn.model import Model
from swdb.nn.networks import Preprocessing, preprocessing_of
from swdb.nn.sampling import CROPS, Crops, crop_drawn, drawn_crops, rng_for, sample_indices
from swdb.nn.step import Drawn, Objective
from swdb.nn.trainer import Job, Schedule, optimise, seed_initial
from swdb.specs.decoupled import Decoupled
from swdb.specs.tasks import RecognizerTask, WeightsTask

AS_IT_IS = Preprocessing("RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # so that beyond an image there is black


def train_recognizer(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Train the recognizer on the tags of all training images; returns what its record says."""
    task, compute = artefact.task, tools.compute
    settings: Decoupled = task.settings
    dataset, store = tools.dataset(artefact.input("data")), tools.store(artefact.input("data"), task.longest_side)
    tags = dataset.tags(store.ids)
    seed_initial(task.seed, branch=1)
    network = Recognizer(task.backbone, settings, tags.shape[1])
    preprocessing = load_initial(artefact.input("weights"), network.backbone)
    begin = begin_from(network, artefact.input("weights").task) if task.begins_whole else ""
    if begin:
        tools.tell(f"the recognizer's fc6 and fc7 begin {begin}")
    model = Model(compute.layout(network), preprocessing, compute)
    store = store if settings.tags == "crop" else store.images_only
    crops = WholeImages(store.to(compute.device), tags.astype(np.float32), settings, task.seed, model)
    losses_of = compute.compiled(lambda inputs, wanted: {"tags": tag_loss(model(inputs), wanted)})
    objective = Objective(crops.draw, lambda batch: losses_of(*batch), cut=crops.cut)
    advance = tools.progress(artefact.name, artefact.steps, counts=True)
    job = Job(artefact.folder, artefact.id, task.seed, advance, crops.ids_at)
    record = optimise(job, network, network.groups(settings), recognizer_schedule(settings), objective, compute.step)
    return {
        "digest": record["weights_sha256"],
        "training": record,
        "preprocessing": asdict(preprocessing),
        **({"begin": begin} if begin else {}),
        "machine": compute.describe(),
    }


def begin_from(network: Recognizer, weights: WeightsTask) -> str:
    """Let fc6 and fc7 be those of the weights that the backbone begins with, if these have them; says what they are."""
    tensors, source = tensors_behind(weights)
    names = f"{source} have none" if tensors is None else fully_connected(tensors)
    if isinstance(names, str):
        return f"at random: {names}"
    fit = network.begin_fully_connected(tensors, names)
    return f"as those of {source}" if fit else f"at random: those of {source} have another size"


def load_recognizer(artefact: Artefact, network: Recognizer) -> Preprocessing:
    """Load a finished recognizer; returns how images are preprocessed for it."""
    load_weights(artefact.folder, artefact.digest(), network)
    return preprocessing_of(artefact.read_record())


def tags_of(masks: Tensor, num_classes: int) -> Tensor:
    """Return which classes are in masks (B, H, W), (B, C-1) bool."""
    return torch.stack([(masks == label).flatten(1).any(1) for label in range(1, num_classes)], 1)


def tag_loss(maps: Tensor, wanted: Tensor) -> Tensor:
    """Return the sigmoid cross-entropy of the maps' averages (B, C-1, h, w), summed over classes, a mean over images."""
    found = F.binary_cross_entropy_with_logits(maps.float().mean((2, 3)), wanted, reduction="none")
    return found.sum(1).mean()


def recognizer_schedule(settings: Decoupled) -> Schedule:
    """Return how its steps are taken: its rate decays as that of a run on all strong images."""
    _, decay_at = settings.schedule(0)
    return schedule_of(settings, settings.recognizer_steps, decay_at)


def schedule_of(settings: Decoupled, steps: int, decay_at: float) -> Schedule:
    """Return how steps of either network are taken; decay_at: the share of them after which the rate is lower."""
    return Schedule(
        steps,
        settings.warmup,
        decay_at,
        settings.decay_factor,
        settings.weight_decay,
        settings.clip_norm,
        optimizer=settings.optimizer,
    )


def recognizer_needs(task: RecognizerTask, num_tags: int, precision: str) -> Needs:
    """Count what training it needs on its device."""
    settings = task.settings

    def losses(network: nn.Module, compute: Compute) -> dict[str, Tensor]:
        inputs = torch.empty(settings.recognizer_batch, 3, settings.size, settings.size)
        with compute.autocast():
            maps = network(compute.inputs(inputs))
        return {"tags": tag_loss(maps, torch.empty(settings.recognizer_batch, num_tags))}

    return needs_of(
        lambda: Recognizer(task.backbone, settings, num_tags),
        losses,
        precision,
        recognizer_schedule(settings).optimizer,
    )


@dataclass(frozen=True)
class WholeImages:
    """Whole images, a little enlarged, with their tags; a batch is a function of its step."""

    store: Store
    tags: np.ndarray  # (N, C-1) float32
    settings: Decoupled
    seed: int
    model: Model

    def rows_at(self, step: int) -> np.ndarray:
        """Return which images a step sees."""
        return sample_indices(len(self.tags), self.seed, 0, step, self.settings.recognizer_batch)

    def ids_at(self, step: int) -> list[str]:
        """Name the images of a step."""
        return [self.store.ids[row] for row in self.rows_at(step)]

    def draw(self, step: int) -> Drawn:
        """Draw a batch on the host: images whose longer side fits the size, times a factor, and where crops of them lie."""
        settings, rows = self.settings, self.rows_at(step)
        sizes = self.store.sizes[torch.from_numpy(rows)]
        draws = torch.from_numpy(rng_for(self.seed, CROPS, step).random((len(rows), 4)))
        least, most = settings.recognizer_scale_min, settings.recognizer_scale_max
        scale = settings.size / sizes.amax(1) * least * (most / least) ** draws[:, 0]
        # Where an image is smaller than the crop it begins at the top and the left, as when it is asked about.
        offset = draws[:, 1:3] * (sizes * scale[:, None] - settings.size).clamp(min=0)
        crops = Crops(scale.float(), offset.float(), draws[:, 3] < 0.5)
        drawn = {
            "rows": torch.from_numpy(rows),
            "wanted": torch.from_numpy(self.tags[rows]),
            **drawn_crops(crops, sizes),
        }
        drawn |= drawn_rows("images", self.store.images, rows)
        return drawn if self.store.masks is None else drawn | drawn_rows("masks", self.store.masks, rows)

    def cut(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Return inputs (B, 3, S, S) and tags (B, C-1) on the device."""
        images = taken_rows("images", self.store.images, drawn)
        masks = None if self.store.masks is None else taken_rows("masks", self.store.masks, drawn)
        raw, labels = crop_drawn(images, masks, drawn, self.settings.size, AS_IT_IS)
        wanted = drawn["wanted"]
        if labels is not None:
            wanted = tags_of(labels, 1 + wanted.shape[1]).to(wanted)
        return self.model.normalise(raw), wanted
