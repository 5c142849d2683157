"""The stages that train runs, and DecoupledNet's recognizer."""

from collections.abc import Iterable
from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput
from swdb.core.stage import Tools
from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT
from swdb.nn.stages import check_tags
from swdb.specs.methods import METHODS as WORDS
from swdb.specs.presets import Preset
from swdb.specs.runs import RunSpec
from swdb.specs.settings import fingerprint, non_defaults
from swdb.specs.study import Study
from swdb.specs.tasks import RecognizerTask, RunTask, run_task


def settings_of(preset: Preset, names: Iterable[str]) -> dict[str, Any]:
    """Return what the key of a run says of a preset's settings: whole groups, and single ones where they are set."""
    found: dict[str, Any] = {}
    for name in names:
        group, _, setting = name.partition(".")
        values = fingerprint(getattr(preset, group))
        if not setting:
            found[group] = values
        elif setting in values:
            found.setdefault(group, {})[setting] = values[setting]
    return found


class RecognizerStage:
    """DecoupledNet's recognizer: one for all runs of a preset, whatever their seeds and strong images."""

    kind, version, folder = "recognizer", 1, "recognizers"

    def artefact(self, study: Study, data: Artefact, weights: Artefact) -> Artefact:
        """Plan the training that the preset's [decouplednet] describes."""
        preset = study.preset
        task = RecognizerTask(preset.network.backbone, preset.decouplednet, preset.training.longest_side)
        key = {
            "decouplednet": preset.decouplednet.of_recognizer,
            **settings_of(preset, ("training.longest_side",)),
            **({"begin": "fc6-fc7"} if task.begins_whole else {}),
            **study.arithmetic,
        }
        steps = preset.decouplednet.recognizer_steps
        return study.artefact(self, "recognizer", key, (data, weights), task, steps=steps)

    def check(self, artefact: Artefact, tools: Tools) -> None:
        """Look for images of every class, before anything is trained."""
        dataset = tools.dataset(artefact.input("data"))
        check_tags(dataset.tags(dataset.ids(ALL_SPLIT)), dataset.class_names)

    def room(self, artefact: Artefact, tools: Tools) -> int:
        """Count the network's values."""
        from swdb.methods.decoupled_network import Recognizer
        from swdb.nn.checkpoints import room_for
        from swdb.nn.networks import valueless

        task: RecognizerTask = artefact.task
        with valueless():
            num_tags = tools.dataset(artefact.input("data")).num_classes - 1
            return room_for(Recognizer(task.backbone, task.settings, num_tags))

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Train it on the tags of all training images."""
        from swdb.methods.recognizer import train_recognizer

        return train_recognizer(artefact, tools)


class RunStage:
    """One training with one seed."""

    kind, version, folder = "run", 1, "runs"

    def artefact(self, study: Study, run: RunSpec, seed: int, inputs: tuple[Artefact, ...]) -> Artefact:
        """Plan a run on its inputs: data, what its method begins with, proxies where it needs them, the run it starts from.

        study: as the run changes it.
        """
        task = run_task(study.preset, run, seed)
        # a run's own name leads its id anyway; the run that it starts from is among the inputs; what it changes of the
        # preset, the study's preset has
        apart = ("name", "start_from", "changes")
        key = {
            "run": {name: value for name, value in non_defaults(run).items() if name not in apart},
            "seed": seed,
            **settings_of(study.preset, WORDS[run.method].settings),
            **study.arithmetic,
        }
        return study.artefact(self, f"{run.name}-s{seed}", key, inputs, task, steps=task.steps)

    def check(self, artefact: Artefact, tools: Tools) -> None:
        """Look for a strong image of every class, before hours of training, where a method learns from those alone."""
        run: RunSpec = artefact.task.run
        if not WORDS[run.method].every_class:
            return
        dataset = tools.dataset(artefact.input("data"))
        tags = dataset.tags(dataset.ids(STRONG_SPLIT))
        for column, name in enumerate(dataset.class_names[1:]):
            if not tags[:, column].any():
                found = f"no strong image has the class {name!r}, and run {run.name!r} learns from those alone"
                if dataset.facts.synthetic:  # prepared again, it would be drawn as it is
                    raise BadInput("key 'data.num_strong'", found, "more strong images, or another data.seed")
                raise BadInput(dataset.list_path(STRONG_SPLIT), found, "a strong image of every class")

    def room(self, artefact: Artefact, tools: Tools) -> int:
        """Count the network's values."""
        from swdb.methods.method import METHODS
        from swdb.nn.checkpoints import room_for
        from swdb.nn.networks import valueless

        task: RunTask = artefact.task
        with valueless():
            num_classes = tools.dataset(artefact.input("data")).num_classes
            return room_for(METHODS[task.run.method].network(task, num_classes))

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Train it."""
        from swdb.methods.training import train_run

        return train_run(artefact, tools)
