"""The stage that makes data sets."""

from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.stage import Tools
from swdb.data.dataset import MANIFEST, data_key
from swdb.data.prepare import NO_SOURCES, prepare
from swdb.specs.study import Study


class DataStage:
    """A prepared data set, in a folder of its own name."""

    kind, version, folder = "data", 1, "data"

    def artefact(self, study: Study) -> Artefact:
        """Plan the preset's data set."""
        settings = study.preset.data
        place = study.folder / self.folder / settings.name
        return study.artefact(
            self, settings.name, data_key(settings), task=settings, folder=place, record_name=MANIFEST
        )

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Draw it; raises NotMade for photographs, which `prepare-voc` imports. Its manifest is its record."""
        return prepare(artefact.task, artefact.folder, NO_SOURCES, tools.progress).manifest
