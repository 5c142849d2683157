"""Initial values of DSRG's heads: fc6 and fc7 of ImageNet's VGG16, thinned to dilated convolutions as DeepLab has them.

DSRG's public code starts from vgg16_20M_mc.caffemodel, DeepLab-LargeFOV's, in which fc6 has 1,024 filters of 3x3 in place of
4,096 of 7x7. Which filters that file kept we found written down nowhere, so the regular choice is taken: every fourth filter,
the taps 0, 3, 6.

in: the weights that the backbone begins with -> out: `heads/<id>/{weights.pt, done.json}`, without values where they have none
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact
from swdb.core.files import is_intact
from swdb.core.stage import Tools
from swdb.nn.checkpoints import WEIGHTS, load_tensors, save_tensors
from swdb.nn.initial_weights import check_weights, downloaded
from swdb.nn.weights_file import read_weights_file
from swdb.specs.tasks import HeadsTask, WeightsTask

NAMES = (("classifier.0", "classifier.3"), ("fc6", "fc7"))  # torchvision's and Caffe's
CHANNELS, WHOLE, TAPS = 512, 7, 3  # of VGG16's pool5; the side of fc6, before and after
PLACES = {"fc6": 0, "fc7": 3}  # in a head (`networks.head`)


@dataclass(frozen=True)
class Heads:
    """What a head's own layers begin with, by name; without values: why there are none."""

    values: Mapping[str, Tensor]
    report: list[dict[str, str]] = field(default_factory=list)  # what became of which tensor
    why: str = ""


def make_head_weights(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Thin the layers once, with a report; says where there are none and heads begin at random."""
    task: HeadsTask = artefact.task
    tensors, source = tensors_behind(task.weights)
    heads = Heads({}, why=f"{source} have none") if tensors is None else thinned(tensors, task.channels)
    begin = f"from fc6 and fc7 of {source}, thinned to {task.channels} channels"
    if heads.why:
        begin = f"at random, for there are no fc6 and fc7 to begin from: {heads.why}"
    sha256 = save_tensors(artefact.folder / WEIGHTS, dict(heads.values))
    tools.tell(f"DSRG's heads begin {begin}")
    return {"digest": sha256, "begin": begin, "tensors": heads.report}


def begin_heads(artefact: Artefact, heads: Iterable[nn.Sequential]) -> None:
    """Copy finished values into every head's fc6 and fc7; where there are none, they stay as they were drawn."""
    path = artefact.folder / WEIGHTS
    if not is_intact(path, artefact.digest()):
        raise MissingArtefact(path, "damaged" if path.is_file() else "missing", "the weights that were written")
    values = load_tensors(path)
    with torch.no_grad():
        for head in heads:
            for name, value in values.items():
                layer, kind = name.split(".")
                getattr(head[PLACES[layer]], kind).copy_(value)


def thinned(tensors: Mapping[str, Tensor], channels: int) -> Heads:
    """Return fc6 (C, 512, 3, 3) and fc7 (C, C, 1, 1) with their biases from a VGG16's, whose first layers come from pool5.

    Layers that are thin already, as in files of DeepLab's, are taken as they are.
    """
    found = fully_connected(tensors)
    if isinstance(found, str):
        return Heads({}, why=found)
    six, seven = (tensors[f"{name}.weight"] for name in found)
    filters, outputs = len(six), len(seven)
    for name, count in zip(found, (filters, outputs), strict=True):
        if count % channels:
            return Heads({}, why=f"{name} has {count} filters, which {channels} do not divide")
    if six.numel() == filters * CHANNELS * WHOLE**2:
        six = six.reshape(filters, CHANNELS, WHOLE, WHOLE)[..., ::TAPS, ::TAPS]
    sixth, seventh = filters // channels, outputs // channels
    biases = [tensors[f"{name}.bias"].flatten() for name in found]
    values = {
        "fc6.weight": six[::sixth], "fc6.bias": biases[0][::sixth],
        "fc7.weight": seven.reshape(outputs, filters, 1, 1)[::seventh, ::sixth], "fc7.bias": biases[1][::seventh],
    }  # fmt: skip
    values = {name: value.float().contiguous().clone() for name, value in values.items()}
    names = [f"{layer}.{kind}" for layer in found for kind in ("weight", "bias")]
    report = [
        {"tensor": name, "status": "thinned", "why": f"{tuple(tensors[name].shape)} to {tuple(value.shape)}"}
        for name, value in zip(names, values.values(), strict=True)
    ]
    return Heads(values, report)


def fully_connected(tensors: Mapping[str, Tensor]) -> tuple[str, str] | str:
    """Return the full names of fc6 and fc7, whatever stands before them; or say why there are none."""
    for six, seven in NAMES:
        starts = [name.removesuffix(f"{six}.weight") for name in tensors if f".{name}".endswith(f".{six}.weight")]
        if len(starts) > 1:
            return f"two layers are called {six}: {starts[0]}{six} and {starts[1]}{six}"
        if starts:
            names = f"{starts[0]}{six}", f"{starts[0]}{seven}"
            return _fault(tensors, *names) or names
    return "no tensor is called classifier.0.weight or fc6.weight"


def _fault(tensors: Mapping[str, Tensor], six: str, seven: str) -> str:
    """Say what keeps two layers from being VGG16's fc6 and fc7; nothing if they are."""
    for name in (f"{six}.bias", f"{seven}.weight", f"{seven}.bias"):
        if name not in tensors:
            return f"{name} is missing"
    shapes = {name: tuple(tensors[f"{name}.weight"].shape) for name in (six, seven)}
    filters, outputs = (shape[0] if shape else 0 for shape in shapes.values())
    fitting = ((CHANNELS * WHOLE**2,), (CHANNELS, WHOLE, WHOLE), (CHANNELS, TAPS, TAPS))
    if shapes[six][1:] not in fitting:
        return f"{six}.weight is {shapes[six]}, expected (4096, 25088), (4096, 512, 7, 7) or (1024, 512, 3, 3)"
    if shapes[seven][1:] not in ((filters,), (filters, 1, 1)):
        return f"{seven}.weight is {shapes[seven]}, expected ({outputs}, {filters})"
    for name, count in ((six, filters), (seven, outputs)):
        if tensors[f"{name}.bias"].numel() != count:
            return f"{name}.bias has {tensors[f'{name}.bias'].numel()} values, expected {count}"
        for tensor in (f"{name}.weight", f"{name}.bias"):
            if not (tensors[tensor].is_floating_point() and bool(torch.isfinite(tensors[tensor]).all())):
                return f"{tensor} has values that are no finite numbers"
    return ""


def tensors_behind(task: WeightsTask) -> tuple[Mapping[str, Tensor] | None, str]:
    """Return all tensors that initial weights are taken from, and what these are called; None where they are made here."""
    if task.file is not None:
        check_weights(task)
        return read_weights_file(task.file.path), task.file.path.name
    if task.weights in ("pretext", "random"):
        return None, f"weights that are made here ({task.weights})"
    return downloaded(task.backbone, task.weights)[0], f"torchvision's {task.weights} weights"
