"""The stages that make initial weights, of the backbone and of DSRG's heads, and the classifier."""

from dataclasses import asdict
from typing import Any

import numpy as np

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, NotNamed
from swdb.core.names import made_plain
from swdb.core.stage import Tools
from swdb.data.dataset import LABELS, data_key
from swdb.data.facts import ALL_SPLIT
from swdb.specs.preprocessing import by_suffix, choose, written
from swdb.specs.presets import classifier_training
from swdb.specs.study import Study, seed_key, seeded
from swdb.specs.tasks import ClassifierTask, HeadsTask, WeightsTask


class WeightsStage:
    """The backbone's initial weights, the same for every row."""

    kind, version, folder = "weights", 1, "weights"

    def artefact(self, study: Study) -> Artefact:
        """Plan the weights that the preset names, or those of a file."""
        preset, file = study.preset, study.files.get("weights")
        network = preset.network
        training = classifier_training(preset, preset.proxy.pretext_steps)
        choice = None if file is None else choose(file.path, file.digests, network.weights)
        task = WeightsTask(network.backbone, network.weights, file, preset.data, training, choice)
        key: dict[str, Any] = {"backbone": network.backbone}
        if file is not None:
            key["file"] = file.digests["file"]
            if choice.preprocessing != by_suffix(file.path):
                key["preprocessing"] = written(choice.preprocessing)
            return study.artefact(self, made_plain(file.path.stem), key, task=task)
        if network.weights == "file":
            found = f"not given, and preset {preset.name!r} takes its initial weights from a file"
            raise NotNamed("--weights", found, "a .pth or .npz of plain tensors, named once")
        key["weights"] = network.weights
        if network.weights != "pretext":
            return study.artefact(self, network.weights, key, task=task)
        key |= {"data": data_key(preset.data), "training": asdict(training), **study.arithmetic}
        return study.artefact(self, network.weights, key, task=task, steps=training.steps)

    def check(self, artefact: Artefact, tools: Tools) -> None:
        """Look at the file that was named and at its preprocessing, before anything is trained."""
        from swdb.nn.initial_weights import check_weights

        check_weights(artefact.task)

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Read, fetch or train them."""
        from swdb.nn.initial_weights import make_initial_weights

        return make_initial_weights(artefact, tools)


class HeadWeightsStage:
    """What DSRG's heads begin with, where that is fc6 and fc7 of the weights that the backbone begins with."""

    kind, version, folder = "head-weights", 1, "heads"

    def artefact(self, study: Study, weights: Artefact) -> Artefact:
        """Plan them: from the same file or download as the backbone's."""
        channels = study.preset.dsrg.head_channels
        task = HeadsTask(weights.task, channels)
        return study.artefact(self, f"{weights.name}-heads", {**weights.key, "channels": channels}, task=task)

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Read or fetch the layers, and thin them."""
        from swdb.nn.head_weights import make_head_weights

        return make_head_weights(artefact, tools)


class ClassifierStage:
    """A classifier of image-level labels, from which cues are made."""

    kind, version, folder = "classifier", 1, "classifiers"

    def artefact(self, study: Study, data: Artefact, weights: Artefact, seed: int = 0) -> Artefact:
        """Plan the training that the preset's [proxy] describes; a seed other than 0 is part of its name and key."""
        preset = study.preset
        training = classifier_training(preset, preset.proxy.steps)
        task = ClassifierTask(preset.network.backbone, training, seed)
        key = {"training": asdict(training), **seed_key(seed), **study.arithmetic}
        return study.artefact(self, seeded("classifier", seed), key, (data, weights), task, steps=training.steps)

    def check(self, artefact: Artefact, tools: Tools) -> None:
        """Look for images of every class, before anything is trained."""
        dataset = tools.dataset(artefact.input("data"))
        check_tags(dataset.tags(dataset.ids(ALL_SPLIT)), dataset.class_names)

    def room(self, artefact: Artefact, tools: Tools) -> int:
        """Count the network's values."""
        from swdb.nn.checkpoints import room_for
        from swdb.nn.classifier import new_classifier
        from swdb.nn.networks import BACKBONES, valueless

        with valueless():
            num_tags = tools.dataset(artefact.input("data")).num_classes - 1
            return room_for(new_classifier(BACKBONES[artefact.task.backbone](), num_tags))

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Train it on the tags of all training images."""
        from swdb.nn.classifier import new_classifier, train_classifier
        from swdb.nn.initial_weights import load_initial
        from swdb.nn.model import Model
        from swdb.nn.networks import BACKBONES
        from swdb.nn.trainer import Job

        task: ClassifierTask = artefact.task
        dataset, store = (
            tools.dataset(artefact.input("data")),
            tools.store(artefact.input("data"), task.training.longest_side),
        )
        tags = dataset.tags(store.ids)
        check_tags(tags, dataset.class_names)
        backbone = BACKBONES[task.backbone]()
        preprocessing = load_initial(artefact.input("weights"), backbone)
        model = Model(new_classifier(backbone, tags.shape[1], task.seed), preprocessing, tools.compute)
        advance = tools.progress(artefact.name, artefact.steps, counts=True)
        job = Job(artefact.folder, artefact.id, task.seed, advance)
        training = train_classifier(job, model, store.images_only, tags, task.training)
        return {
            "digest": training["weights_sha256"],
            "training": training,
            "preprocessing": asdict(preprocessing),
            "machine": tools.compute.describe(),
        }


def check_tags(tags: np.ndarray, class_names: list[str]) -> None:
    """Refuse tags (N, C-1) bool in which a class is missing: a classifier cannot learn it."""
    for column, name in enumerate(class_names[1:]):
        if not tags[:, column].any():
            raise BadInput(LABELS, f"no training image has the class {name!r}", "images of every class")
