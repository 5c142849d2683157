"""What stands where in a bundle, and what it says of itself.

A bundle holds the small files of a work directory under the same paths, so what reads a work directory reads a bundle
that was unpacked; beside them stands what was derived from them.

in: a study -> out: names of files, `bundle.json`
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.files import digest
from swdb.evaluation.confusion import COUNTS, PREDICTIONS
from swdb.specs.presets import Preset
from swdb.specs.study import NamedFile, Study
from swdb.study import preregistration
from swdb.study.plan import Plan

VERSION = 1  # of the format
FORMAT = "swdb bundle"
ABOUT = "bundle.json"
CRATE = "ro-crate-metadata.json"
CLAIMS = "claims.intoto.json"
DIGESTS, ENVIRONMENT = "digests.json", "environment.json"
CONTENTS, REPORT = "contents.json", "report.json"  # of a data set: the sha256 of each of its files, and the audit
REGISTERED, NOTED = preregistration.FILE, preregistration.NOTE
OTHERS = "others"  # artefacts that other people made under the same ids, by the beginning of their digest
LIBRARIES = ("swdb", "torch", "torchvision", "numpy", "pandas", "scipy", "opencv-python-headless", "pillow")


@dataclass(frozen=True)
class Listed:
    """A file of a bundle, by its contents."""

    sha256: str
    size: int  # bytes

    @classmethod
    def of(cls, content: bytes) -> "Listed":
        """Return how contents are listed."""
        return cls(hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True)
class About:
    """What a bundle says of itself; everything else in it is recorded or derived."""

    preset: str
    tables: tuple[int, ...]  # those that are rendered
    published: str  # the day on which the last of it was finished
    versions: dict[str, str]  # of swdb and libraries, where the bundle was made
    parts: tuple[dict[str, Any], ...] = ()  # the bundles that it was merged from

    def to_json(self, plan: Plan) -> dict[str, Any]:
        """Return what `bundle.json` says, what is missing included."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "preset": self.preset,
            "tables": list(self.tables),
            "published": self.published,
            "seeds": sorted({place.seed for place, score in plan.scores.items() if score.done}),
            "missing": [{"id": one.id, "kind": one.kind} for one in missing(plan)],
            "versions": self.versions,
            "parts": list(self.parts),
        }


def missing(plan: Plan) -> list[Artefact]:
    """List what was planned and is not finished."""
    return [one for one in with_inputs(*plan.scores.values()) if not one.done]


def finished(plan: Plan) -> list[Artefact]:
    """List what is finished, in the order in which it was made."""
    return [one for one in with_inputs(*plan.scores.values()) if one.done]


def versions_here() -> dict[str, str]:
    """Return the versions of what is installed of the libraries that numbers depend on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def preset_name(preset: str) -> str:
    """Name the file of the preset."""
    return f"specs/{preset}.toml"


def table_name(number: int) -> str:
    """Name the file of a table's spec."""
    return f"specs/table{number}.toml"


def reports_folder(preset: str) -> str:
    """Name the folder of the plan and what is rendered."""
    return f"reports/{preset}"


def plan_name(preset: str) -> str:
    """Name the file of the plan."""
    return f"{reports_folder(preset)}/plan.json"


def place_of(artefact: Artefact, root: Path) -> str:
    """Name an artefact's folder in a bundle: where it lies below the work directory."""
    return artefact.folder.relative_to(root).as_posix()


def study_of(root: Path, preset: Preset, planned: dict[str, Any]) -> Study:
    """Return the study of a plan below a folder; the files that were named to it are known by their digests alone.

    Raises what reading JSON of another form does.
    """
    for name, digests in planned["files"].items():
        if type(digests["saliency" if name == "saliency" else "file"]) is not str:
            raise TypeError
    files = {
        name: NamedFile(Path(f"(not in the bundle)/{name}"), digests) for name, digests in planned["files"].items()
    }
    own = bool(planned.get("proxy_seeds"))
    return Study(root, preset, planned["precision"], files, preset.compile, own)


def score_digest(listed: Mapping[str, Listed], place: str) -> str:
    """Return the digest of a score by its files as they are listed, as whoever scored it made it."""
    start = f"{place}/{PREDICTIONS}/"
    masks = sorted((name.removeprefix(start), one.sha256) for name, one in listed.items() if name.startswith(start))
    counts = listed[name].sha256 if (name := f"{place}/{COUNTS}") in listed else ""
    return digest([counts, digest([list(pair) for pair in masks])])


def folders_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Return what lies in each folder, by the folder's name with a slash behind it; the root is `./`."""
    found: dict[str, list[str]] = {"./": []}
    for name in sorted(names):
        parts = name.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth]) + "/"
            if folder not in found:
                found[folder] = []
                found["/".join(parts[: depth - 1]) + "/" if depth > 1 else "./"].append(folder)
        found["/".join(parts[:-1]) + "/" if len(parts) > 1 else "./"].append(name)
    return found
