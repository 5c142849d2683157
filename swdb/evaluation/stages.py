"""The stage that scores runs."""

from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.stage import Tools
from swdb.specs.settings import non_defaults
from swdb.specs.study import Study
from swdb.specs.tasks import ScoreTask, Scoring

LONGEST_NAME = 80  # characters: file systems take 255, with an id behind it


class ScoreStage:
    """The score of one run on the validation split, or of the averaged predictions of several."""

    kind, version, folder = "score", 1, "averages"

    def artefact(self, study: Study, data: Artefact, runs: tuple[Artefact, ...], scoring: Scoring) -> Artefact:
        """Plan a score; that of a single run lies in the run's folder."""
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
