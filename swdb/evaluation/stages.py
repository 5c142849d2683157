"""The stages that score runs, and those that only diagnose one: what its recognizer finds, other ways to evaluate it, other
steps of its training.
"""

from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput
from swdb.core.stage import Tools
from swdb.evaluation.choices import choices_of
from swdb.evaluation.definitions import DEFINITIONS
from swdb.specs.runs import RunSpec
from swdb.specs.settings import non_defaults
from swdb.specs.study import Study
from swdb.specs.tasks import LabTask, PeekTask, RecognitionTask, ScoreTask, Scoring

POINTS = 10  # of a training at which it is looked at
LONGEST_NAME = 80  # characters: file systems take 255, with an id behind it


class ScoreStage:
    """The score of one run on the validation split, or of the averaged predictions of several."""

    kind, version, folder = "score", 1, "averages"

    def artefact(self, study: Study, data: Artefact, runs: tuple[Artefact, ...], scoring: Scoring) -> Artefact:
        """Plan a score; that of a single run lies in the run's folder."""
        _require_alike(data, runs)
        task = ScoreTask(scoring, study.preset.training.longest_side)
        key = non_defaults(scoring)
        names = "+".join(run.name for run in runs)
        name = f"{names if len(names) < LONGEST_NAME else f'{len(runs)}-runs'}-{scoring.name}"
        version = "" if self.version == 1 else f"-v{self.version}"
        place = {"folder": runs[0].folder / "evals" / f"{scoring.name}{version}"} if len(runs) == 1 else {}
        return study.artefact(self, name, key, (data, *runs), task, record_name="result.json", **place)

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Predict, and count."""
        from swdb.evaluation.evaluate import evaluate

        return evaluate(artefact, tools)

    def help(self, artefact: Artefact, tools: Tools) -> None:
        """Predict for another process."""
        from swdb.evaluation.evaluate import help_with_predictions

        help_with_predictions(artefact, tools)


def _require_alike(data: Artefact, runs: tuple[Artefact, ...]) -> None:
    """Refuse runs of another data set, or of another list of classes: their probabilities are not of the same things."""
    for run in runs:
        own = run.find_input("data")
        if own is not None and own.id != data.id:
            found = f"was trained on {own.id}, of {_classes(own)}"
            raise BadInput(f"run {run.name}", found, f"a run on {data.id}, of {_classes(data)}")


def _classes(data: Artefact) -> str:
    """Name a data set's classes, as its preset does; all of its kind where it names none."""
    names = data.key.get("classes") or ()
    return f"classes {', '.join(names)}" if names else f"{data.key.get('num_classes', 'all')} classes"


class RecognitionStage:
    """What the recognizer behind a run of DecoupledNet finds: a diagnosis beside its score, which no cell of a table reads."""

    kind, version, folder = "recognition", 1, "runs"

    def artefact(self, study: Study, data: Artefact, run: Artefact, scoring: Scoring) -> Artefact:
        """Plan what lies beside a run's score."""
        task = RecognitionTask(scoring, study.preset.training.longest_side)
        place = {"folder": run.folder / "evals", "record_name": "recognition.json", "shares_folder": True}
        return study.artefact(self, f"{run.name}-recognition", non_defaults(scoring), (data, run), task, **place)

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Ask about every image, with the tags that are found and with the true ones."""
        from swdb.evaluation.recognition import recognise

        return recognise(artefact, tools)


class LabStage:
    """One run evaluated in all ways that are in use: a diagnosis beside its scores, which no table reads."""

    kind, version, folder = "lab", 1, "runs"

    def artefact(self, study: Study, data: Artefact, run: Artefact, score: Artefact, printed: float | None) -> Artefact:
        """Plan what lies beside a run's score, which is ours among the others; printed: what the paper has for it."""
        preset, scoring = study.preset, score.task.scoring
        spec: RunSpec = run.task.run
        task = LabTask(
            scoring,
            preset.training.longest_side,
            preset.training.crop,
            preset.data.image_size,
            preset.name,
            preset.comparable,
            printed,
        )
        key = {
            "scoring": non_defaults(scoring),
            "definitions": [one.key for one in DEFINITIONS],
            "choices": [one.key for one in choices_of(task, spec)],
        }
        name = f"lab{scoring.name.removeprefix('val').removeprefix('-strong')}"
        place = {"folder": run.folder / "evals", "record_name": f"{name}.json", "shares_folder": True}
        return study.artefact(self, f"{run.name}-{name}", key, (data, run, score), task, **place)

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Look at every image in all ways."""
        from swdb.evaluation.lab import examine

        return examine(artefact, tools)


class PeekStage:
    """A run's training once more, scored on its way: what choosing on val would have printed. No table reads it."""

    kind, version, folder = "peek", 1, "peeks"

    def artefact(self, study: Study, run: Artefact, scorings: tuple[Scoring, ...]) -> Artefact:
        """Plan it from a run and all that the run was made from; scorings: one for each branch."""
        task = PeekTask(scorings, study.preset.training.longest_side, POINTS)
        key = {"scorings": [non_defaults(scoring) for scoring in scorings], "points": POINTS}
        return study.artefact(self, f"{run.name}-peek", key, (run, *run.inputs), task, steps=run.steps)

    def room(self, artefact: Artefact, tools: Tools) -> int:
        """Count the weights of the run, which are there while it lasts."""
        from swdb.methods.stages import RunStage

        return RunStage().room(artefact.input("run"), tools)  # the first: it may itself start from another

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Train again, and look."""
        from swdb.evaluation.peek import peek

        return peek(artefact, tools)
