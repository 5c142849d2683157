"""Stages: who plans and makes one kind of artefact. A new kind is one stage, and one entry in `study/stages.py`.

A stage is light: it is loaded to plan, so torch is imported inside `make`.
"""

from typing import Any, Protocol, runtime_checkable

from swdb.core.artefact import Artefact
from swdb.core.progress import Progress


class Tools(Protocol):
    """What a stage is handed to work with; opened when first asked for, and shared by all stages of a command."""

    progress: Progress
    compute: Any  # nn.compute.Compute: device and precision

    def tell(self, line: str) -> None:
        """Say something that people should know before the work is over."""

    def dataset(self, artefact: Artefact) -> Any:
        """Open the data set of a finished artefact, audited once (data.dataset.DataSet)."""

    def store(self, artefact: Artefact, longest_side: int) -> Any:
        """Open its decoded training images (data.store.Store)."""


class Stage(Protocol):
    """One kind of artefact: how it is planned (`artefact`, whose arguments differ by kind), and how it is made."""

    kind: str
    version: int  # raised by hand when the same key and inputs would give other bytes
    folder: str  # below the work directory

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Make it in its folder; returns what its record says, with the `digest` of what came out."""


@runtime_checkable
class ChecksEarly(Protocol):
    """A stage that can say before hours of other work begin that its own would fail."""

    def check(self, artefact: Artefact, tools: Tools) -> None:
        """Raise what making it would raise for files that are missing, changed or of another form."""


@runtime_checkable
class TakesRoom(Protocol):
    """A stage that can say how much of the disk what it makes will take."""

    def room(self, artefact: Artefact, tools: Tools) -> int:
        """Return the bytes of the weights that making it leaves; a training needs six times as much while it lasts."""


@runtime_checkable
class Shared(Protocol):
    """A stage whose work several processes may share; see `core/shares.py`."""

    def help(self, artefact: Artefact, tools: Tools) -> None:
        """Do parts of an artefact that another process is making, until none is free.

        Returns at once where none are offered: not yet, no more, or not on the terms of `tools.compute`. What is wrong
        with the artefact or the disk, and that it vanished, is left for its maker to say.
        """
