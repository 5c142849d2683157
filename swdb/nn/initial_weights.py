"""Initial weights of the backbone: torchvision's downloads, a file of the user's, or made here from a pretext.

in: the preset's [network], perhaps a file -> out: `weights/<id>/{weights.pt, done.json}` with a report of every tensor
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.stage import Tools
from swdb.data import synthetic
from swdb.data.store import Store
from swdb.nn.classifier import new_classifier, train_classifier
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, Backbone, Preprocessing, preprocessing_of
from swdb.nn.trainer import WEIGHTS, Job, load_weights, save_tensors, seed_initial
from swdb.specs.tasks import WeightsTask

# Images must be preprocessed as they were when the weights were trained: order, mean and scale belong to the weights.
IMAGENET_RGB = Preprocessing("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # torchvision's own
IMAGENET_RGB_CAFFE = Preprocessing(
    "RGB", (122.99925, 116.9991, 103.9992), (1.0, 1.0, 1.0)
)  # torchvision's IMAGENET1K_FEATURES, times 255
IMAGENET_BGR_CAFFE = Preprocessing("BGR", (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))  # the original Caffe values

PRETEXT_SEED = 500_000  # added to the data set's seed, so that no scene is drawn twice

# torchvision's names of the weights to download, for each backbone and choice.
DOWNLOADS = {
    ("vgg16", "imagenet"): ("VGG16_Weights", "IMAGENET1K_V1", IMAGENET_RGB),
    ("vgg16", "imagenet-caffe"): ("VGG16_Weights", "IMAGENET1K_FEATURES", IMAGENET_RGB_CAFFE),
    ("squeezenet1_1", "imagenet"): ("SqueezeNet1_1_Weights", "IMAGENET1K_V1", IMAGENET_RGB),
}


def make_initial_weights(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Make the initial weights once, with a report of what became of every tensor."""
    task: WeightsTask = artefact.task
    seed_initial(0)
    backbone = BACKBONES[task.backbone]()
    preprocessing = Preprocessing()
    report: list[dict[str, str]] = []
    if task.file is not None:
        task.file.verify("--weights")
        tensors, preprocessing = read_weights_file(task.file.path)
        report = load_into(backbone, tensors)
    elif task.weights == "pretext":
        backbone = _pretext(artefact, backbone, tools)
    elif task.weights != "random":
        tensors, preprocessing = _download(task.backbone, task.weights)
        report = load_into(backbone, tensors)
    state = {name: tensor.cpu() for name, tensor in backbone.state_dict().items()}
    sha256 = save_tensors(artefact.folder / WEIGHTS, state)
    tools.tell(f"initial weights {artefact.id}: {weights_summary(report)}")
    return {"digest": sha256, "preprocessing": asdict(preprocessing), "tensors": report}


def load_initial(artefact: Artefact, backbone: Backbone) -> Preprocessing:
    """Load finished initial weights into a backbone; returns how images are preprocessed for them."""
    load_weights(artefact.folder, artefact.digest(), backbone)
    return preprocessing_of(artefact.read_record())


def read_weights_file(path: Path) -> tuple[dict[str, Tensor], Preprocessing]:
    """Read a .pth or .npz of plain tensors, and the preprocessing that goes with it.

    A .npz is taken for the original Caffe values (BGR, 0..255 minus the mean), a .pth for torchvision's (RGB, scaled).
    """
    where = f"--weights {path}"
    if not path.is_file():
        raise MissingArtefact(where, "no such file", "a .pth or .npz of plain tensors")
    if path.suffix == ".npz":
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                tensors = {
                    name: torch.from_numpy(arrays[name]) for name in arrays.files if arrays[name].dtype.kind == "f"
                }
        except Exception as error:  # zipfile, numpy and the file system have a kind each
            raise BadInput(where, f"cannot be read ({error})", "a .npz of plain arrays") from None
        return tensors, IMAGENET_BGR_CAFFE
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        found = f"damaged, or more than plain tensors ({type(error).__name__})"
        raise BadInput(where, found, "what torch.save(network.state_dict(), ...) writes") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadInput(where, f"holds {type(state).__name__}", "a dict of names and plain tensors")
    return state, IMAGENET_RGB


def load_into(backbone: Backbone, tensors: dict[str, Tensor]) -> list[dict[str, str]]:
    """Copy tensors by name into a backbone; reports each as loaded, skipped or reshaped. Raises BadInput if any is left without."""
    own = backbone.state_dict()
    report = []
    for name, tensor in tensors.items():
        target = own.get(name if name in own else f"features.{name}")
        shapes = "" if target is None else f"found {tuple(tensor.shape)}, expected {tuple(target.shape)}"
        if target is None:
            report.append({"tensor": name, "status": "skipped", "why": "the backbone has no such tensor"})
        elif target.shape == tensor.shape:
            target.copy_(tensor)
            report.append({"tensor": name, "status": "loaded"})
        elif target.squeeze().shape == tensor.squeeze().shape:
            target.copy_(tensor.reshape(target.shape))
            report.append({"tensor": name, "status": "reshaped", "why": shapes})
        else:
            report.append({"tensor": name, "status": "skipped", "why": shapes})
    filled = {entry["tensor"].removeprefix("features.") for entry in report if entry["status"] != "skipped"}
    missing = [name for name in own if name.removeprefix("features.") not in filled]
    if missing:
        found = f"{len(missing)} of the backbone's {len(own)} tensors are not in them (first: {missing[0]})"
        raise BadInput("--weights", found, "weights of this backbone")
    return report


def weights_summary(report: list[dict[str, str]]) -> str:
    """Say in one line what became of every tensor."""
    statuses = [entry["status"] for entry in report]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in ("loaded", "reshaped", "skipped"))
    return f"tensors {counts}" if report else "made here"


def _pretext(artefact: Artefact, backbone: Backbone, tools: Tools) -> Backbone:
    """Train the backbone on the image-level labels of another synthetic world, as ImageNet is another world than VOC.

    Its badges have the same colours but mean other classes; its scenes are never used again.
    """
    task: WeightsTask = artefact.task
    data = task.data
    scene = synthetic.Scene(size=data.image_size, deal=synthetic.PRETEXT_DEAL)
    drawn = [synthetic.draw(PRETEXT_SEED + data.seed, index, scene) for index in range(data.num_train)]
    tags = np.array([[(mask == label).any() for label in range(1, data.num_classes)] for _, mask in drawn])
    store = Store([], np.stack([image for image, _ in drawn]), None, torch.full((len(drawn), 2), data.image_size))
    advance = tools.progress(artefact.name, artefact.steps, counts=True)
    model = Model(new_classifier(backbone, tags.shape[1]), Preprocessing(), tools.compute)
    train_classifier(Job(artefact.folder / "pretext", artefact.id, advance=advance), model, store, tags, task.pretext)
    return model.network.backbone


def _download(backbone: str, weights: str) -> tuple[dict[str, Tensor], Preprocessing]:
    """Fetch torchvision's weights (cached by torch)."""
    import torchvision.models

    if (backbone, weights) not in DOWNLOADS:
        found = f"no download is known for backbone {backbone!r} with weights {weights!r}"
        raise BadInput("key 'network.weights'", found, "a file named with --weights")
    group, member, preprocessing = DOWNLOADS[backbone, weights]
    try:
        states = torchvision.models.get_weight(f"{group}.{member}").get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, or half a download
        found = f"could not be downloaded ({error})"
        raise MissingArtefact(
            f"torchvision's {group}.{member}", found, "a file fetched elsewhere, named with --weights"
        ) from None
    return states, preprocessing
