"""The next artefact whose inputs are there and whose lease is free."""

import pytest
import toy_worker

from swdb.core.errors import BadInput
from swdb.core.lease import Lease
from swdb.study.queue import MOST_NAMED, Queue, made_from, without


@pytest.fixture
def toys(tmp_path):
    return {one.name: one for one in toy_worker.planned(tmp_path, 2)}


def finish(artefact):
    artefact.finish({"digest": artefact.name})


def test_inputs_come_first_and_each_artefact_is_taken_with_its_lease(toys):
    queue = Queue([*toys.values()])
    artefact, lease = queue.take()
    assert artefact.name == "root" and Lease(artefact.leased_path).try_take() is False
    finish(artefact)
    lease.release()
    assert queue.take() == (artefact, None)  # to be checked once
    queue.settled.add(artefact.id)
    assert queue.take()[0].name == "m0"


def test_what_others_hold_is_passed_over_and_noted(toys):
    finish(toys["root"])
    other = Lease(toys["m0"].folder, "another command")
    assert other.try_take()
    queue = Queue([toys[name] for name in ("m0", "m1", "e0")])
    artefact, _ = queue.take()
    assert artefact.name == "m1"
    ((held, holder),) = queue.held
    assert held.name == "m0" and holder.doing == "another command"
    finish(toys["m1"])
    queue.settled.add(toys["m1"].id)
    assert queue.take() is None and [one.name for one in queue.left()] == ["m0", "e0"]


def test_what_was_finished_and_deleted_is_left_again(toys):
    queue = Queue([toys["root"]])
    finish(toys["root"])
    queue.settled.add(toys["root"].id)
    assert queue.left() == []
    toys["root"].record.unlink()
    assert queue.left() == [toys["root"]]


def test_what_cannot_be_made_is_left_out_with_all_that_is_made_from_it(toys):
    queue = Queue([*toys.values()])
    finish(toys["root"])
    assert [one.name for one in queue.leave_out(toys["m1"])] == ["e1"]
    queue.settled.add(toys["root"].id)
    assert [one.name for one in queue.left()] == ["m0", "e0"]


def test_what_is_finished_needs_nothing_any_more(toys):
    assert {one.name for one in made_from(toys.values(), {toys["root"].id})} == {"m0", "m1", "e0", "e1"}
    assert made_from(reversed(toys.values()), {toys["m0"].id}) == [toys["e0"]]  # in whatever order
    finish(toys["root"]), finish(toys["m0"])
    assert {one.name for one in made_from(toys.values(), {toys["root"].id})} == {"m1", "e1"}


def test_the_line_about_it_names_a_few(toys):
    error = BadInput("m0", "broken")
    assert without(toys["m0"], error, []) == f"failed: {toys['m0'].id}: m0: broken; everything else goes on"
    many = without(toys["m0"], error, [toys["e0"]] * (MOST_NAMED + 3))
    assert many.count("e0") == MOST_NAMED and "e0 and 3 more; everything" in many


def test_what_is_left_out_while_its_lease_is_taken_is_given_back(toys, monkeypatch):
    finish(toys["root"])
    queue = Queue([toys["m0"], toys["m1"]])
    take = Lease.try_take

    def left_out_meanwhile(self):
        queue.left_out.add(toys["m0"].id)
        return take(self)

    monkeypatch.setattr(Lease, "try_take", left_out_meanwhile)
    assert queue.take()[0].name == "m1"
    monkeypatch.undo()
    assert Lease(toys["m0"].folder).try_take()
