"""What a diagnosis has counted is kept part by part: a kill costs one part, damage makes it anew, nothing is left behind."""

import numpy as np
import pytest

from swdb.core.artefact import Artefact
from swdb.evaluation.kept import counted_parts

PARTS = [[[0, 1], [2]], [[3]], [[4, 5]]]
TERMS = {"device": "cpu"}


class Counting:
    """Counts a part, and remembers which; is killed at one of them."""

    def __init__(self, killed_at: int | None = None):
        self.killed_at, self.seen, self.told = killed_at, [], []

    def __call__(self, part):
        if len(self.seen) == self.killed_at:
            raise KeyboardInterrupt
        self.seen.append(part)
        rows = np.array([row for batch in part for row in batch])
        return rows.sum(), rows[:, None] * 2

    def run(self, artefact, terms=TERMS):
        advance = lambda done, of: self.told.append((done, of))  # noqa: E731
        return [
            [one.tolist() for one in found] for found in counted_parts(artefact, lambda: terms, PARTS, self, advance)
        ]


WHOLE = [[3, [[0], [2], [4]]], [3, [[6]]], [9, [[8], [10]]]]


@pytest.fixture
def artefact(tmp_path) -> Artefact:
    return Artefact("lab", "lab", "lab-1", tmp_path / "lab-1")


def parts_of(artefact):
    return sorted(artefact.folder.glob(".*.parts"))


def test_every_part_is_counted_in_its_order_and_nothing_is_left_behind(artefact):
    counting = Counting()
    assert counting.run(artefact) == WHOLE
    assert counting.seen == PARTS and counting.told == [(3, 6), (4, 6), (6, 6)]
    assert not parts_of(artefact)


def test_what_was_counted_before_a_kill_is_not_counted_again(artefact):
    with pytest.raises(KeyboardInterrupt):
        Counting(killed_at=2).run(artefact)
    again = Counting()
    assert again.run(artefact) == WHOLE and again.seen == PARTS[2:]
    assert not parts_of(artefact)


def test_a_damaged_part_is_counted_again(artefact):
    with pytest.raises(KeyboardInterrupt):
        Counting(killed_at=2).run(artefact)
    (folder,) = parts_of(artefact)
    (folder / "000001.npz").write_bytes(b"damaged")
    np.savez_compressed(folder / "000000.npz", other=np.zeros(2))
    again = Counting()
    assert again.run(artefact) == WHOLE and again.seen == PARTS


def test_what_was_counted_on_other_terms_is_not_taken(artefact):
    with pytest.raises(KeyboardInterrupt):
        Counting(killed_at=2).run(artefact)
    again = Counting()
    assert again.run(artefact, terms={"device": "cuda"}) == WHOLE and again.seen == PARTS
    assert not parts_of(artefact)
