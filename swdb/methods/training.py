"""One run: a row's values and a seed become a trained network.

Opens training images only; the validation split is not read here. The last weights are the ones that count.

in: a run's artefact; data, initial weights, proxies are its inputs -> out: `runs/<id>/{weights.pt, log.jsonl, samples.json}`
"""

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from swdb.core.artefact import Artefact
from swdb.core.files import write_json
from swdb.core.stage import Tools
from swdb.methods.material import gather
from swdb.methods.method import METHODS
from swdb.nn.checkpoints import load_weights
from swdb.nn.compute import Compute
from swdb.nn.memory import Needs, needs_of
from swdb.nn.model import Model
from swdb.nn.networks import preprocessing_of, valueless
from swdb.nn.step import Objective
from swdb.nn.trainer import Job, Stops, optimise, seed_initial
from swdb.specs.tasks import RunTask

NOBODY = Stops()


def train_run(artefact: Artefact, tools: Tools, name: str = "", stops: Stops = NOBODY) -> dict[str, Any]:
    """Train one run to its end, going on from its last checkpoint; returns what its record says.

    name: what it is called where somebody watches; stops: who looks at its network on the way, which changes nothing.
    """
    task: RunTask = artefact.task
    method, compute = METHODS[task.run.method], tools.compute
    dataset, store = (
        tools.dataset(artefact.input("data")),
        tools.store(artefact.input("data"), task.training.longest_side),
    )
    model = build(artefact, dataset.num_classes, compute)
    network = compute.layout(model.network)
    material = gather(artefact, dataset, store, model, tools.progress)
    write_json(artefact.folder / "samples.json", {"strong_images": material.strong_ids})
    batches = method.batches(task, material)

    def losses_of(inputs: Tensor, *others: Tensor) -> dict[str, Tensor]:
        with compute.autocast():
            return method.losses(network, (compute.inputs(inputs), *others), task)

    def settle(network: nn.Module) -> None:
        method.settle(network, batches, task, model, tools.progress)

    losses_of = compute.compiled(losses_of)
    objective = Objective(batches.draw, lambda batch: losses_of(*batch), cut=batches.cut)
    advance = tools.progress(name or artefact.name, artefact.steps, counts=True)
    job = Job(artefact.folder, artefact.id, task.seed, advance, stops=stops, settle=settle)
    record = optimise(job, network, method.groups(network, task), method.schedule(task), objective, compute.step)
    return {
        "digest": record["weights_sha256"],
        "training": record,
        "preprocessing": asdict(model.preprocessing),
        "machine": compute.describe(),
    }


def run_needs(task: RunTask, num_classes: int, precision: str) -> Needs:
    """Count what training a run needs on its device."""
    method = METHODS[task.run.method]

    def losses(network: nn.Module, compute: Compute) -> dict[str, Tensor]:
        inputs, *others = method.blank(task, num_classes)
        with compute.autocast():
            return method.losses(network, (compute.inputs(inputs), *others), task)

    return needs_of(lambda: method.network(task, num_classes), losses, precision, method.schedule(task).optimizer)


def build(artefact: Artefact, num_classes: int, compute: Compute) -> Model:
    """Build a run's network with its first values: the method's, then those of the run it starts from."""
    task: RunTask = artefact.task
    seed_initial(task.seed)
    network = METHODS[task.run.method].network(task, num_classes)
    preprocessing = METHODS[task.run.method].begin(network, artefact)
    if (start := artefact.find_input("run")) is not None:
        load_weights(start.folder, start.digest(), network)
    return Model(network, preprocessing, compute)


def load_trained(artefact: Artefact, num_classes: int, compute: Compute) -> Model:
    """Load a finished run's network with its last weights, and the preprocessing that goes with it, to predict."""
    task: RunTask = artefact.task
    with valueless():
        network = METHODS[task.run.method].network(task, num_classes)
    load_weights(artefact.folder, artefact.digest(), network)
    return Model(compute.layout(network).eval(), preprocessing_of(artefact.read_record()), compute)
