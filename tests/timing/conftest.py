"""What the tests of times share: planned artefacts with times of our choosing."""

from pathlib import Path

import pytest
from studies import graph_of

from swdb.core.artefact import Artefact
from swdb.core.files import write_json
from swdb.study.graph import Graph


@pytest.fixture
def graph(tmp_path) -> Graph:
    return graph_of(tmp_path / "work")


def toy(name: str, *inputs: Artefact, steps: int = 0) -> Artefact:
    """An artefact of no kind that anybody knows."""
    return Artefact("toy", name, name, Path("nowhere") / name, inputs=inputs, steps=steps)


def finish(artefact: Artefact, cost: dict | None = None, **record) -> None:
    """Write the record of an artefact, as if it had been made below `work`, and what that took."""
    if cost is not None:
        work = next(folder for folder in artefact.folder.parents if folder.name == "work")
        write_json(work / "costs" / f"{artefact.id}.json", {"kind": artefact.kind} | cost)
    inputs = {other.id: "0" for other in artefact.inputs}
    write_json(
        artefact.record, {"id": artefact.id, "kind": artefact.kind, "key": artefact.key, "inputs": inputs} | record
    )


def trained(seconds: float, steps: int, **more) -> dict:
    """What the record of a training says of its time."""
    return {"training": {"steps": steps, "seconds": seconds}} | more
