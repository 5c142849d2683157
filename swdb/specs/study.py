"""What is studied: a preset in a work directory, the precision it computes in, and the files that were named to it.

Values alone: opening a work directory is `study/workdir.py`, what is made in it `study/graph.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swdb.core.artefact import Artefact, artefact_id
from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest
from swdb.core.stage import Stage
from swdb.specs.presets import Preset

LAYOUT = "swdb.json"  # the file by which a work directory is known


def seeded(name: str, seed: int) -> str:
    """Return the name of what is made for proxies with a seed; seed 0 has the plain one."""
    return f"{name}-s{seed}" if seed else name


def seed_key(seed: int) -> dict[str, int]:
    """Return what a seed adds to the key of what is made for proxies: nothing for seed 0, as before there were others."""
    return {"seed": seed} if seed else {}


@dataclass(frozen=True)
class NamedFile:
    """A file or folder that the user named, and the sha256 of what was in it then: ids hang on those alone."""

    path: Path  # may be gone by now: only who makes something from it needs it
    digests: Mapping[str, str]

    def verify(self, option: str) -> None:
        """Raise MissingArtefact where the file is gone, BadInput where it has changed since it was named."""
        where = f"{option} {self.path}"
        if not self.path.is_file():
            raise MissingArtefact(where, "no such file")
        if file_digest(self.path) != self.digests["file"]:
            raise BadInput(where, "has changed since it was named", "the contents of then")


@dataclass(frozen=True)
class Study:
    """A preset in a work directory."""

    folder: Path
    preset: Preset
    precision: str  # fp32 or bf16
    files: Mapping[str, NamedFile] = field(default_factory=dict)  # weights, cues, saliency: those that were named
    compile: str = ""  # what compiles the networks that are trained, in torch.compile's words; empty: nothing
    proxy_seeds: bool = False  # whether runs of another seed learn from proxies of their own; else all from seed 0's

    @property
    def arithmetic(self) -> dict[str, str]:
        """What the key of a training says of how numbers are computed."""
        return {"precision": self.precision, **({"compile": self.compile} if self.compile else {})}

    @property
    def reports(self) -> Path:
        """Where tables, figures and the plan go: studies with one pair of proxies and with one for every seed lie apart."""
        shared = self.folder / "reports" / self.preset.name
        return shared / "proxy-seeds" if self.proxy_seeds else shared

    def proxy_seed(self, seed: int) -> int:
        """Return the seed of the proxies that a run with a seed learns from."""
        return seed if self.proxy_seeds else 0

    def artefact(
        self,
        stage: Stage,
        name: str,
        key: Mapping[str, Any],
        inputs: tuple[Artefact, ...] = (),
        task: Any = None,
        **options: Any,
    ) -> Artefact:
        """Plan an artefact of a stage, in a folder of its own; `options` are other fields of Artefact."""
        identity = artefact_id(name, stage.kind, stage.version, key, inputs)
        options.setdefault("folder", self.folder / stage.folder / identity)
        return Artefact(stage.kind, name, identity, key=key, inputs=inputs, task=task, **options)
