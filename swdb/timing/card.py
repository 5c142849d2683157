"""Whether a GPU holds what is left of a study: counted for each kind of training before any of them begins.

in: planned artefacts, a device -> out: what the largest training needs, one line for people
"""

from collections.abc import Iterable

import torch

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput
from swdb.data.resident import free_memory
from swdb.methods.recognizer import recognizer_needs
from swdb.methods.training import run_needs
from swdb.nn.classifier import classifier_needs
from swdb.nn.compute import choose_device
from swdb.nn.memory import Needs
from swdb.nn.networks import BACKBONES
from swdb.proxy.dsrg import dsrg_needs
from swdb.specs.study import Study
from swdb.timing.forecast import amount
from swdb.timing.rates import Rates, step_kind, trained_as


def needs_of_kinds(study: Study, artefacts: Iterable[Artefact]) -> dict[str, Needs]:
    """Count what each kind of training among some artefacts needs on its device; those of an old plan are passed over."""
    first: dict[str, Artefact] = {}
    for artefact in artefacts:
        if artefact.steps and artefact.task is not None and not artefact.done:
            trained = trained_as(artefact)
            first.setdefault(step_kind(trained.kind, trained.key), trained)
    return {kind: _needs(study, artefact) for kind, artefact in first.items()}


def _needs(study: Study, artefact: Artefact) -> Needs:
    task, classes, precision = artefact.task, study.preset.data.num_classes, study.precision
    if artefact.kind == "run":
        return run_needs(task, classes, precision)
    if artefact.kind == "proxies":
        return dsrg_needs(task.backbone, task.dsrg, classes, precision, task.proxy_set)
    if artefact.kind == "recognizer":
        return recognizer_needs(task, classes - 1, precision)
    training = task.pretext if artefact.kind == "weights" else task.training
    return classifier_needs(BACKBONES[task.backbone], classes - 1, training, precision)


def card_lines(study: Study, artefacts: Iterable[Artefact], rates: Rates, device: str) -> list[str]:
    """Say whether the GPU holds what is left; nothing where nothing is left, or the device is no GPU."""
    needs = needs_of_kinds(study, artefacts)
    if not needs:
        return []
    try:
        chosen = choose_device(device)
    except BadInput as error:
        return [f"GPU: {error}"]
    if chosen.type != "cuda":
        return []
    side = study.preset.training.longest_side or study.preset.data.image_size
    store = rates.num_train * side * side * 5  # three colours, a true label, a proxy's
    kind = max(needs, key=lambda kind: needs[kind].least)
    return [verdict(torch.cuda.get_device_name(chosen), free_memory(chosen), kind, needs[kind].with_store(store))]


def refuse_too_small(study: Study, artefacts: Iterable[Artefact], gpus: Iterable[int]) -> None:
    """Raise BadInput where one of some GPUs can never hold the largest training that is left."""
    needs = needs_of_kinds(study, artefacts)
    if not needs:
        return
    kind = max(needs, key=lambda kind: needs[kind].least)
    for gpu in gpus:
        card = torch.cuda.get_device_properties(gpu)
        if card.total_memory < needs[kind].least:
            found = (
                f"{card.name} has {amount(card.total_memory)}, and a {kind} training needs {amount(needs[kind].least)}"
            )
            raise BadInput(f"GPU {gpu}", found, "a larger one, or smaller batches or crops in the preset")


def verdict(name: str, free: int, kind: str, needs: Needs) -> str:
    """Say whether a GPU with so many bytes free holds a training, and all images beside it."""
    found = f"GPU: {name} has {amount(free)} free; a {kind} training needs {amount(needs.least)}"
    if needs.least > free:
        return f"{found}: it does not fit"
    if needs.total > free:
        return f"{found}: it fits, its images ({amount(needs.store)}) stay outside"
    return f"{found}, and {amount(needs.store)} for all images: it fits"
