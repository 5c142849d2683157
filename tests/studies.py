"""Studies for tests: the graph of a preset in a work directory, and a runner that nobody watches."""

from dataclasses import replace
from pathlib import Path

from conftest import TINY

from swdb.core.progress import silent
from swdb.nn.compute import Compute, choose_device
from swdb.specs.presets import Preset, load_preset
from swdb.specs.study import NamedFile, Study
from swdb.specs.tables import all_runs, load_tables
from swdb.study.graph import Graph
from swdb.study.runner import Runner

CPU = Compute(choose_device("cpu"), "fp32")


class Watcher:
    """An observer that remembers what it was told, and which stages began."""

    def __init__(self):
        self.lines: list[str] = []
        self.stages: list[str] = []

    def progress(self, name: str, total: int, counts: bool = False):
        self.stages.append(name)
        return silent()

    def tell(self, line: str) -> None:
        self.lines.append(line)


def study_of(folder: Path, preset: Preset | str = TINY, **files: NamedFile) -> Study:
    """Put a study together by hand: nothing is read but the preset."""
    return Study(folder, load_preset(preset) if isinstance(preset, str) else preset, "fp32", files)


def graph_of(folder: Path, preset: Preset | str = TINY, **files: NamedFile) -> Graph:
    """Plan a study with the runs of the four tables."""
    return Graph(study_of(folder, preset, **files), all_runs(load_tables()))


def runner(watcher: Watcher | None = None) -> Runner:
    """A runner on one CPU."""
    return Runner(CPU, watcher or Watcher())


def changed(preset: Preset, group: str, **values) -> Preset:
    """Return a preset with other settings in one of its groups."""
    return replace(preset, **{group: replace(getattr(preset, group), **values)})
