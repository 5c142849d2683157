"""Initial weights of the backbone: torchvision's downloads, a file of the user's, or made here from a pretext.

in: the preset's [network], perhaps a file -> out: `weights/<id>/{weights.pt, done.json}` with a report of every tensor
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest
from swdb.data import synthetic
from swdb.data.store import Store
from swdb.nn.classifier import train_classifier
from swdb.nn.compute import Machine
from swdb.nn.networks import BACKBONES, Backbone, Preprocessing
from swdb.nn.trainer import load_tensors, save_tensors, seed_initial
from swdb.study.plan import Artefact, Work

# Pictures must look as they did when the weights were trained: order, mean and scale belong to the weights.
IMAGENET_RGB = Preprocessing("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # torchvision's own
IMAGENET_RGB_CAFFE = Preprocessing(
    "RGB", (122.99925, 116.9991, 103.9992), (1.0, 1.0, 1.0)
)  # torchvision's IMAGENET1K_FEATURES, times 255
IMAGENET_BGR_CAFFE = Preprocessing("BGR", (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))  # the original Caffe values

PRETEXT_SEED = 500_000  # added to the data set's seed, so that no picture is drawn twice

# torchvision's names of the weights to download, for each backbone and choice.
DOWNLOADS = {
    ("vgg16", "imagenet"): ("VGG16_Weights", "IMAGENET1K_V1", IMAGENET_RGB),
    ("vgg16", "imagenet-caffe"): ("VGG16_Weights", "IMAGENET1K_FEATURES", IMAGENET_RGB_CAFFE),
    ("squeezenet1_1", "imagenet"): ("SqueezeNet1_1_Weights", "IMAGENET1K_V1", IMAGENET_RGB),
}


def make_initial_weights(
    work: Work, artefact: Artefact, machine: Machine, progress: Callable[[int, int], None]
) -> None:
    """Make the initial weights once, with a report of what became of every tensor."""
    network = work.preset.network
    seed_initial(0)
    backbone = BACKBONES[network.backbone]()
    look = Preprocessing()
    report: list[dict[str, str]] = []
    if work.weights_file is not None:
        tensors, look = read_weights_file(work.weights_file)
        report = load_into(backbone, tensors)
    elif network.weights == "pretext":
        backbone = _pretext(work, artefact, backbone, machine, progress)
    elif network.weights != "random":
        tensors, look = _download(network.backbone, network.weights)
        report = load_into(backbone, tensors)
    state = {name: tensor.cpu() for name, tensor in backbone.state_dict().items()}
    save_tensors(artefact.folder / "weights.pt", state)
    digest = file_digest(artefact.folder / "weights.pt")
    artefact.finish({"preprocessing": asdict(look), "weights_sha256": digest, "tensors": report})


def load_initial(artefact: Artefact, backbone: Backbone) -> Preprocessing:
    """Load finished initial weights into a backbone; returns how pictures must look for them."""
    record = artefact.read_record("swdb make-proxy")
    path = artefact.folder / "weights.pt"
    if not path.is_file() or file_digest(path) != record["weights_sha256"]:
        raise MissingArtefact(
            f"{path} is missing or damaged; delete the folder {artefact.folder} and run the same command again"
        )
    backbone.load_state_dict(load_tensors(path))
    look = record["preprocessing"]
    return Preprocessing(look["order"], tuple(look["mean"]), tuple(look["std"]))


def read_weights_file(path: Path) -> tuple[dict[str, Tensor], Preprocessing]:
    """Read a .pth or .npz of plain tensors, and the preprocessing that goes with it.

    A .npz is taken for the original Caffe values (BGR, 0..255 minus the mean), a .pth for torchvision's (RGB, scaled).
    """
    if path.suffix == ".npz":
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                tensors = {
                    name: torch.from_numpy(arrays[name]) for name in arrays.files if arrays[name].dtype.kind == "f"
                }
        except Exception as error:  # zipfile, numpy and the file system have a kind each
            raise BadInput(f"--weights {path}: not a .npz of plain arrays ({error})") from None
        return tensors, IMAGENET_BGR_CAFFE
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadInput(
            f"--weights {path}: damaged, or not plain tensors ({type(error).__name__}); save it with torch.save(network.state_dict(), ...)"
        ) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadInput(f"--weights {path}: expected a dict of names and plain tensors, found {type(state).__name__}")
    return state, IMAGENET_RGB


def load_into(backbone: Backbone, tensors: dict[str, Tensor]) -> list[dict[str, str]]:
    """Copy tensors by name into a backbone; reports each as loaded, skipped or reshaped. Raises BadInput if any is left without."""
    own = backbone.state_dict()
    report = []
    for name, tensor in tensors.items():
        target = own.get(name if name in own else f"features.{name}")
        if target is None:
            report.append({"tensor": name, "fate": "skipped", "why": "the backbone has no such tensor"})
        elif target.shape == tensor.shape:
            target.copy_(tensor)
            report.append({"tensor": name, "fate": "loaded"})
        elif target.squeeze().shape == tensor.squeeze().shape:
            target.copy_(tensor.reshape(target.shape))
            report.append(
                {"tensor": name, "fate": "reshaped", "why": f"{tuple(tensor.shape)} to {tuple(target.shape)}"}
            )
        else:
            report.append(
                {
                    "tensor": name,
                    "fate": "skipped",
                    "why": f"found {tuple(tensor.shape)}, expected {tuple(target.shape)}",
                }
            )
    filled = {entry["tensor"].removeprefix("features.") for entry in report if entry["fate"] != "skipped"}
    missing = [name for name in own if name.removeprefix("features.") not in filled]
    if missing:
        raise BadInput(
            f"the weights do not fit the backbone: {len(missing)} of its {len(own)} tensors are not in them (first: {missing[0]})"
        )
    return report


def _pretext(
    work: Work, artefact: Artefact, backbone: Backbone, machine: Machine, progress: Callable[[int, int], None]
) -> Backbone:
    """Train the backbone on the image-level labels of another drawn world, as ImageNet is another world than VOC.

    Its badges have the same colours but mean other classes; its pictures are never used again.
    """
    data, proxy = work.preset.data, work.preset.proxy
    scene = synthetic.Scene(size=data.image_size, deal=synthetic.PRETEXT_DEAL)
    drawn = [synthetic.draw(PRETEXT_SEED + data.seed, index, scene) for index in range(data.num_train)]
    tags = np.array([[(mask == label).any() for label in range(1, data.num_classes)] for _, mask in drawn])
    images = np.stack([image for image, _ in drawn])
    sizes = torch.full((len(images), 2), data.image_size)
    store = Store([], images, None, sizes)
    classifier, _ = train_classifier(
        artefact.folder / "pretext",
        artefact.id,
        backbone,
        store,
        tags,
        work.preset,
        proxy.pretext_steps,
        Preprocessing(),
        machine,
        progress,
    )
    return classifier.backbone


def _download(backbone: str, weights: str) -> tuple[dict[str, Tensor], Preprocessing]:
    """Fetch torchvision's weights (cached by torch)."""
    import torchvision.models

    if (backbone, weights) not in DOWNLOADS:
        raise BadInput(
            f"no download is known for network.backbone {backbone!r} with network.weights {weights!r}; name a file with --weights FILE"
        )
    group, member, look = DOWNLOADS[backbone, weights]
    try:
        return torchvision.models.get_weight(f"{group}.{member}").get_state_dict(progress=False, check_hash=True), look
    except (OSError, RuntimeError) as error:  # no network, or half a download
        raise MissingArtefact(
            f"torchvision's {group}.{member} could not be downloaded ({error}); fetch it elsewhere and name it with --weights FILE"
        ) from None
