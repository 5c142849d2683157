"""Initial weights of the backbone: torchvision's downloads, a package's, a file of the user's, or made here from a pretext.

in: the preset's [network], perhaps a file -> out: `weights/<id>/{weights.pt, done.json}` with a report of every tensor
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.stage import Tools
from swdb.data import synthetic
from swdb.data.store import Store
from swdb.nn.checkpoints import WEIGHTS, load_weights, save_tensors
from swdb.nn.classifier import new_classifier, train_classifier
from swdb.nn.efficientnet import folded
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, Backbone, preprocessing_of
from swdb.nn.packaged_weights import PACKAGED
from swdb.nn.trainer import Job, seed_initial
from swdb.nn.weights_file import check_finite, first_answer, named, read_weights_file
from swdb.specs.preprocessing import IMAGENET_RGB, IMAGENET_RGB_CAFFE, NAMED, Preprocessing
from swdb.specs.tasks import WeightsTask

FAINT = 0.07  # the spread of a first layer's answers: fresh random values make 0.3, a scale folded into them 0.03
PRETEXT_SEED = 500_000  # added to the data set's seed, so that no scene is drawn twice

VGG16_BLOCKS = (2, 2, 3, 3, 3)  # convolutions between two pools
CAFFES = re.compile(r"(?:.*\.)?conv(\d)_(\d)\.(weight|bias)", re.ASCII)

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
        report, preprocessing = _from_file(task, backbone), task.preprocessing.preprocessing
    elif task.weights == "pretext":
        backbone = _pretext(artefact, backbone, tools)
    elif task.weights != "random":
        tensors, preprocessing = public_weights(task.backbone, task.weights)
        report = load_into(backbone, tensors)
    state = {name: tensor.cpu() for name, tensor in backbone.state_dict().items()}
    sha256 = save_tensors(artefact.folder / WEIGHTS, state)
    tools.tell(f"initial weights {artefact.id}: {weights_summary(report)}")
    if task.file is not None:
        tools.tell(preprocessing_line(task))
    packaged = None if task.file else PACKAGED.get((task.backbone, task.weights))
    source = {"source": packaged.source()} if packaged else {}
    return {"digest": sha256, "preprocessing": asdict(preprocessing), "tensors": report, **source}


def load_initial(artefact: Artefact, backbone: Backbone) -> Preprocessing:
    """Load finished initial weights into a backbone; returns how images are preprocessed for them."""
    load_weights(artefact.folder, artefact.digest(), backbone)
    return preprocessing_of(artefact.read_record())


def check_weights(task: WeightsTask) -> None:
    """Make sure that a file of weights is the one that was named, and that nothing speaks against its preprocessing.

    Without a file: that the preset's weights are known for its backbone, and a package's installed.
    """
    if task.file is None:
        if (packaged := PACKAGED.get((task.backbone, task.weights))) is not None:
            packaged.path()
        elif task.weights in NAMED:
            _known_download(task.backbone, task.weights)
        return
    task.file.verify("--weights")
    if task.preprocessing.doubt:
        raise BadInput(
            f"--weights {task.file.path}",
            task.preprocessing.doubt,
            f"a word: --preprocessing {', '.join(NAMED)} or a file",
        )


def preprocessing_line(task: WeightsTask) -> str:
    """Say in one line what images are made into for weights from a file, and why."""
    choice = task.preprocessing
    otherwise = "" if choice.sure else "; --preprocessing says otherwise"
    return f"preprocessing for {task.file.path.name}: {choice.preprocessing} ({choice.why}){otherwise}"


def _from_file(task: WeightsTask, backbone: Backbone) -> list[dict[str, str]]:
    """Load the file that was named; returns what became of its tensors. Refuses an assumption that its values contradict."""
    check_weights(task)
    where, choice = f"--weights {task.file.path}", task.preprocessing
    report = load_into(backbone, read_weights_file(task.file.path), where)
    answer = first_answer(next(iter(backbone.state_dict().values())), choice.preprocessing)
    if answer < FAINT and not choice.sure:
        found = f"its first layer hardly answers images as {choice.preprocessing} ({choice.why}): with {answer:.2g} on average"
        raise BadInput(where, found, f"a word on how they are made: --preprocessing {', '.join(NAMED)} or a file")
    return report


def load_into(backbone: Backbone, tensors: Mapping[str, Tensor], where: str = "--weights") -> list[dict[str, str]]:
    """Copy tensors by name into a backbone; reports each as loaded, skipped or reshaped.

    Whatever stands before a backbone's own names (`module.`, `model.features.`, or no `features.` at all) is no matter; a
    VGG16's may be Caffe's (`conv1_1.weight`), an EfficientNet-Lite0's are folded with their batch norms, and reported so.
    Raises BadInput if any of the backbone's is left without, or may be meant by two.
    """
    own = backbone.state_dict()
    tensors, sources = folded(_by_torchvisions_names(tensors), own)
    check_finite({name: tensors[name] for name in sources}, where)
    start = _start(own, tensors, where)
    report = []
    for name, tensor in tensors.items():
        target = own.get(f"features.{name.removeprefix(start)}") if name.startswith(start) else None
        shapes = "" if target is None else f"found {tuple(tensor.shape)}, expected {tuple(target.shape)}"
        if target is None:
            report.append({"tensor": name, "status": "skipped", "why": "the backbone has no such tensor"})
        elif not _fits(tensor, target):
            report.append({"tensor": name, "status": "skipped", "why": shapes})
        elif not tensor.is_floating_point():
            raise BadInput(where, f"tensor {name!r} is of type {str(tensor.dtype).removeprefix('torch.')}", "floats")
        elif target.shape == tensor.shape:
            target.copy_(tensor)
            how = {"status": "folded", "why": sources[name]} if name in sources else {"status": "loaded"}
            report.append({"tensor": name, **how})
        else:
            target.copy_(tensor.reshape(target.shape))
            report.append({"tensor": name, "status": "reshaped", "why": shapes})
    filled = {entry["tensor"].removeprefix(start) for entry in report if entry["status"] != "skipped"}
    missing = {name: tensor for name, tensor in own.items() if name.removeprefix("features.") not in filled}
    if missing:
        found = f"{len(missing)} of the backbone's {len(own)} tensors are not in them (first: {next(iter(missing))})"
        found += f"; they hold {len(tensors)}: {named(tensors)}"
        raise BadInput(where, found, f"weights of this backbone: {named(own)}")
    return report


def _by_torchvisions_names(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename a VGG16's layers from Caffe's names to torchvision's, unless two tensors would then share one."""
    places, layer = {}, 0
    for block, convolutions in enumerate(VGG16_BLOCKS, 1):
        for number in range(1, convolutions + 1):
            places[str(block), str(number)] = layer
            layer += 2  # with its ReLU
        layer += 1  # the pool

    def renamed(name: str) -> str:
        match = CAFFES.fullmatch(name)
        place = places.get((match[1], match[2])) if match else None
        return name if place is None else f"features.{place}.{match[3]}"

    found = {renamed(name): tensor for name, tensor in tensors.items()}
    return found if len(found) == len(tensors) else tensors


def _fits(tensor: Tensor, target: Tensor) -> bool:
    """Whether a tensor is the target's, but for axes of 1."""
    return target.squeeze().shape == tensor.squeeze().shape


def _start(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str) -> str:
    """Find what stands before the names of a backbone's tensors in a file, in place of `features.`; refuses two of them."""
    tails = {name.removeprefix("features."): target for name, target in own.items()}
    first = next(iter(tails))
    starts = [name.removesuffix(first) for name in tensors if name == first or name.endswith(f".{first}")]
    whole = [
        start
        for start in starts
        if all(start + tail in tensors and _fits(tensors[start + tail], target) for tail, target in tails.items())
    ]
    for other in whole[1:]:
        if not all(torch.equal(tensors[whole[0] + tail], tensors[other + tail]) for tail in tails):
            found = f"hold two networks that fit, {whole[0] + first} and {other + first}"
            raise BadInput(where, found, "one: save the one that is meant as a file of its own")
    return whole[0] if whole else "features." if any(name in own for name in tensors) else ""


def weights_summary(report: list[dict[str, str]]) -> str:
    """Say in one line what became of every tensor."""
    statuses = [entry["status"] for entry in report]
    counts = [f"{statuses.count(status)} {status}" for status in ("loaded", "reshaped", "skipped")]
    if "folded" in statuses:
        counts.insert(0, f"{statuses.count('folded')} folded")
    return f"tensors {', '.join(counts)}" if report else "made here"


def _pretext(artefact: Artefact, backbone: Backbone, tools: Tools) -> Backbone:
    """Train the backbone on the image-level labels of another synthetic world, as ImageNet is another world than VOC.

    Its badges have the same colours but mean other classes; its scenes are never used again.
    """
    task: WeightsTask = artefact.task
    data = task.data
    scene = synthetic.scene_of(data, synthetic.PRETEXT_DEAL)
    drawn = [synthetic.draw(PRETEXT_SEED + data.seed, index, scene) for index in range(data.num_train)]
    tags = np.array([[(mask == label).any() for label in range(1, data.num_classes)] for _, mask in drawn])
    store = Store([], np.stack([image for image, _ in drawn]), None, torch.full((len(drawn), 2), data.image_size))
    advance = tools.progress(artefact.name, artefact.steps, counts=True)
    model = Model(new_classifier(backbone, tags.shape[1]), Preprocessing(), tools.compute)
    train_classifier(Job(artefact.folder / "pretext", artefact.id, advance=advance), model, store, tags, task.pretext)
    return model.network.backbone


def public_weights(backbone: str, weights: str) -> tuple[dict[str, Tensor], Preprocessing]:
    """Return public weights by the preset's word: an installed package's, or torchvision's."""
    if (packaged := PACKAGED.get((backbone, weights))) is not None:
        return packaged.tensors(), packaged.preprocessing
    return downloaded(backbone, weights)


def _known_download(backbone: str, weights: str) -> tuple[str, str, Preprocessing]:
    if (backbone, weights) not in DOWNLOADS:
        words = [word for known, word in (*DOWNLOADS, *PACKAGED) if known == backbone]
        found = f"no download is known for backbone {backbone!r} with weights {weights!r}"
        raise BadInput("key 'network.weights'", found, " or ".join((*words, "a file named with --weights")))
    return DOWNLOADS[backbone, weights]


def downloaded(backbone: str, weights: str) -> tuple[dict[str, Tensor], Preprocessing]:
    """Fetch torchvision's weights (cached by torch), of which a backbone's are finite: of some the classifier never was."""
    import torchvision.models

    group, member, preprocessing = _known_download(backbone, weights)
    where = f"torchvision's {group}.{member}"
    chosen = torchvision.models.get_weight(f"{group}.{member}")
    try:
        states = chosen.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # no network, half a download, or a damaged one of earlier
        found = f"could not be downloaded ({' '.join(str(error).split()):.200})"
        source = getattr(chosen, "url", "")
        expected = f"a file fetched elsewhere{f', {source}' if source else ''}, named with --weights"
        raise MissingArtefact(where, found, expected) from None
    check_finite({name: tensor for name, tensor in states.items() if name.startswith("features.")}, where)
    return states, preprocessing
