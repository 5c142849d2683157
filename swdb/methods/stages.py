"""The stage that trains runs."""

from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.stage import Tools
from swdb.specs.methods import METHODS as WORDS
from swdb.specs.settings import fingerprint, non_defaults
from swdb.specs.study import Study
from swdb.specs.tables import RunSpec
from swdb.specs.tasks import RunTask, run_task


class RunStage:
    """One training with one seed."""

    kind, version, folder = "run", 1, "runs"

    def artefact(self, study: Study, run: RunSpec, seed: int, inputs: tuple[Artefact, ...]) -> Artefact:
        """Plan a run on its inputs: data, weights, and, where it needs them, proxies and the run that it starts from.

        study: as the run changes it.
        """
        preset, task = study.preset, run_task(study.preset, run, seed)
        # a run's own name leads its id anyway; the run that it starts from is among the inputs; what it changes of the
        # preset, the study's preset has
        apart = ("name", "start_from", "changes")
        key = {
            "run": {name: value for name, value in non_defaults(run).items() if name not in apart},
            "seed": seed,
            **{name: fingerprint(getattr(preset, name)) for name in WORDS[run.method].settings},
            **study.arithmetic,
        }
        return study.artefact(self, f"{run.name}-s{seed}", key, inputs, task, steps=task.steps)

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
