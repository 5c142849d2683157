"""Which scores stand behind the readings of what the paper leaves open, and behind the same claims as the tables read them.

in: a graph, readings, seeds -> out: planned scores by reading, cell and seed
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from swdb.core.artefact import Artefact
from swdb.specs.claims import ONLY_COMPARABLE, Claim
from swdb.specs.sensitivity import Read, cells_changed, claims_touched
from swdb.specs.tables import CellSource, Table, cell_name
from swdb.study.graph import Graph


class ReadPlace(NamedTuple):
    """Where a score under a reading stands."""

    reading: str
    cell: str  # as claims name it
    seed: int


@dataclass(frozen=True)
class Question:
    """A reading, the claims that it is judged on, and the cells of these that it changes."""

    read: Read
    claims: tuple[tuple[int, Claim], ...]
    changed: Mapping[str, CellSource]  # whose predictions they score then

    @property
    def cells(self) -> set[str]:
        """All cells that its claims are about."""
        return {cell for _, claim in self.claims for cell in claim.measured_cells}


def questions(reads: Iterable[Read], tables: Mapping[int, Table], comparable: bool) -> list[Question]:
    """List what is asked: of the claims that compare with printed numbers only where the preset is the paper's."""
    found = []
    for read in reads:
        claims = [one for one in claims_touched(read, tables) if comparable or one[1].kind not in ONLY_COMPARABLE]
        cells = {cell for _, claim in claims for cell in claim.measured_cells}
        changed = {cell: source for cell, source in cells_changed(read, tables).items() if cell in cells}
        found.append(Question(read, tuple(claims), changed))
    return found


def reads_so_itself(graph: Graph, read: Read) -> bool:
    """Whether the preset reads the paper as a reading does, so that there is nothing to compare."""
    return not read.reading.row and all(graph.of(run).study.preset == graph.study.preset for run in read.runs.values())


def plan_readings(graph: Graph, asked: Iterable[Question], seeds: Iterable[int]) -> dict[ReadPlace, Artefact]:
    """Plan the scores of the cells that readings change: seed after seed, as plans of tables are; those that can be run."""
    asked = list(asked)
    return {
        ReadPlace(one.read.reading.key, cell, seed): graph.score(source, seed)
        for seed in seeds
        for one in asked
        for cell, source in one.changed.items()
        if graph.can_make(*source.runs)
    }


def rows_of(asked: Iterable[Question], tables: Mapping[int, Table]) -> set[tuple[int, str]]:
    """List the rows, each with its table, whose cells the claims are about: they are measured as the tables read the paper."""
    cells = {cell for one in asked for cell in one.cells}
    return {
        (number, row.key)
        for number, table in tables.items()
        for row in table.rows
        for column in table.columns
        if cell_name(number, row.key, column.key) in cells
    }
